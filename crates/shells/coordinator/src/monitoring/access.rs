//! Who may see what.
//!
//! * The metrics hold sums only. Whoever is on this machine may read them, so that a scraper beside the
//!   coordinator needs no secret; elsewhere it is an address of the list, the configured token, or the
//!   access token of a game master or operator.
//! * The dashboard names hosts, so it is for game masters and operators by their access token; with
//!   `monitoring.open_on_loopback` for anybody on this machine too. That is off by default, because the
//!   players' own launchers embed a coordinator, and any program on their machine could look.
//! * A request counts as one of this machine only when it comes from a loopback address, names no
//!   other client (a reverse proxy beside us does), and was sent to a loopback address by name: a page
//!   of a stranger whose domain was pointed at this machine names its domain.

use std::net::IpAddr;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use sha2::{Digest, Sha256};
use warp_protocol::{ProblemCode, Secret, rest::AccountRole};

use crate::{
    app::App,
    extract::{Bearer, ClientAddr, caller_of},
    problem::Refused,
};

/// Headers in which proxies say for whom they ask.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// May read the metrics.
pub(crate) struct Scraper;

impl FromRequestParts<App> for Scraper {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let config = &app.config.monitoring;
        let ClientAddr(from) = ClientAddr::from_request_parts(parts, app).await?;
        let from = from.ip().to_canonical();
        // A list names machines, so what a proxy asks for is not theirs.
        let listed = config.allow.iter().any(|one| one.to_canonical() == from);
        if is_local(from, &parts.headers) || listed && !is_forwarded(&parts.headers) {
            return Ok(Self);
        }
        let Bearer(shown) = Bearer::from_request_parts(parts, app).await?;
        if config.token.as_ref().is_some_and(|t| is_same(t, &shown)) {
            return Ok(Self);
        }
        staff(app, &shown).map(|()| Self)
    }
}

/// May see the dashboard.
pub(crate) struct Viewer;

impl FromRequestParts<App> for Viewer {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let ClientAddr(from) = ClientAddr::from_request_parts(parts, app).await?;
        if app.config.monitoring.open_on_loopback && is_local(from.ip(), &parts.headers) {
            return Ok(Self);
        }
        let Bearer(shown) = Bearer::from_request_parts(parts, app).await?;
        staff(app, &shown).map(|()| Self)
    }
}

fn staff(app: &App, token: &Secret) -> Result<(), Refused> {
    if caller_of(app, token)?.role >= AccountRole::Gm {
        return Ok(());
    }
    let text = "only game masters and operators (roles gm and admin) may see that";
    Err(Refused::new(ProblemCode::Forbidden, text))
}

/// Of hashes, so that the time that it takes tells nothing of the token.
pub(crate) fn is_same(wanted: &Secret, shown: &Secret) -> bool {
    let hash = |secret: &Secret| Sha256::digest(secret.reveal().as_bytes());
    hash(wanted) == hash(shown)
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

fn is_local(from: IpAddr, headers: &HeaderMap) -> bool {
    from.to_canonical().is_loopback() && !is_forwarded(headers) && names_loopback(headers)
}

fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|h| h.to_str().ok()) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_what_comes_from_this_machine_to_this_machine_is_local() {
        let is = |from: &str, headers: &[(&'static str, &'static str)]| {
            let pairs = headers.iter().map(|(name, value)| {
                let value = HeaderValue::from_static(value);
                (HeaderName::from_static(name), value)
            });
            is_local(from.parse().unwrap(), &pairs.collect())
        };
        let host = |host| [("host", host)];
        assert!(is("127.0.0.1", &host("127.0.0.1:8001")));
        assert!(is("::1", &host("[::1]:8001")));
        assert!(is("::1", &host("[::1]")));
        assert!(is("::ffff:127.0.0.1", &host("localhost:8001")));
        assert!(!is("192.0.2.1", &host("127.0.0.1:8001")));
        assert!(!is("127.0.0.1", &host("evil.example:8001")));
        assert!(!is("127.0.0.1", &[]));
        let proxied = [("host", "localhost"), ("x-forwarded-for", "127.0.0.1")];
        assert!(!is("127.0.0.1", &proxied));
    }
}
