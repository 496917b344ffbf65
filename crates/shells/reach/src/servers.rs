//! Names of STUN and TURN servers become addresses.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;
use warp_protocol::Secret;
use warp_protocol::rest::IceServer;
use warp_reach_core::report::ServerKind;

/// How many servers are looked at; further ones are left out.
const MAX_SERVERS: usize = 8;
/// How long a name may take.
const RESOLVE: Duration = Duration::from_millis(800);
/// Where STUN and TURN listen when a URL names no port (RFC 7064, RFC 7065).
const PORT: u16 = 3478;

/// A server as it was configured.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) url: String,
    pub(crate) kind: ServerKind,
    /// Host and port; `None` where the URL asks for TCP or TLS, or is none.
    pub(crate) target: Option<(String, u16)>,
    pub(crate) credentials: Option<(String, Secret)>,
}

/// The first [`MAX_SERVERS`] URLs of `list`, each once.
pub(crate) fn named(list: &[IceServer]) -> Vec<Named> {
    let mut servers: Vec<Named> = Vec::new();
    for server in list {
        for url in &server.urls {
            if servers.len() == MAX_SERVERS || servers.iter().any(|one| one.url == *url) {
                continue;
            }
            let credentials = server.username.clone().zip(server.credential.clone());
            servers.push(Named {
                url: url.clone(),
                kind: if url.starts_with("turn") {
                    ServerKind::Turn
                } else {
                    ServerKind::Stun
                },
                target: target(url),
                credentials,
            });
        }
    }
    servers
}

/// Host and port of `stun:host:port` or `turn:host:port?transport=udp`.
fn target(url: &str) -> Option<(String, u16)> {
    let rest = url
        .strip_prefix("stun:")
        .or_else(|| url.strip_prefix("turn:"))?;
    let host_port = match rest.split_once('?') {
        None | Some((_, "transport=udp")) => rest.split('?').next()?,
        Some(_) => return None,
    };
    if let Ok(address) = host_port.parse::<SocketAddr>() {
        return Some((address.ip().to_string(), address.port()));
    }
    let (host, port) = match host_port.strip_prefix('[') {
        Some(six) => (six.strip_suffix(']')?, PORT),
        None => match host_port.split_once(':') {
            None => (host_port, PORT),
            Some((host, port)) => (host, port.parse().ok()?),
        },
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// A server's first address of each family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) v4: Option<SocketAddr>,
    pub(crate) v6: Option<SocketAddr>,
}

pub(crate) async fn resolve(server: &Named) -> Addresses {
    let Some((host, port)) = &server.target else {
        return Addresses::default();
    };
    let found = timeout(RESOLVE, lookup_host((host.as_str(), *port))).await;
    let Ok(Ok(found)) = found else {
        return Addresses::default();
    };
    let mut addresses = Addresses::default();
    for address in found {
        let slot = match address {
            SocketAddr::V4(_) => &mut addresses.v4,
            SocketAddr::V6(_) => &mut addresses.v6,
        };
        slot.get_or_insert(address);
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_hosts_and_ports() {
        let of = |url| target(url).map(|(host, port)| format!("{host} {port}"));
        for (url, expected) in [
            ("stun:a.example", Some("a.example 3478")),
            ("stun:a.example:19302", Some("a.example 19302")),
            ("turn:192.0.2.1:3479?transport=udp", Some("192.0.2.1 3479")),
            ("stun:[2001:db8::1]:5", Some("2001:db8::1 5")),
            ("stun:[2001:db8::1]", Some("2001:db8::1 3478")),
            ("turn:a?transport=tcp", None),
            ("turns:a:5349", None),
            ("stun:", None),
            ("stun:a:port", None),
            ("stun:[2001:db8::1", None),
            ("http://a", None),
        ] {
            assert_eq!(of(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_long_list_is_cut_and_doubles_are_one() {
        let list = [IceServer {
            urls: (0..20).map(|at| format!("stun:host{}", at / 2)).collect(),
            username: None,
            credential: None,
        }];
        assert_eq!(named(&list).len(), MAX_SERVERS);
    }
}
