//! HTTP proxies: which one a connection goes through, and the tunnel through it.
//!
//! - **Which one.** [`ProxyPolicy`] is asked with the URL of the connection. The system's rule is
//!   what `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, and on Windows and macOS the
//!   proxy of the network settings where no variable says otherwise; a script that chooses a proxy
//!   (PAC) is not run. Under that rule this machine itself is never asked for through a proxy, as
//!   browsers have it: most proxies stand on another machine, where its loopback is another one.
//! - **How.** A tunnel by `CONNECT` (RFC 9110, section 9.3.6), for `ws` and `wss` alike (RFC 6455,
//!   section 4.1), to a proxy over plain TCP or TLS. Credentials go as Basic (RFC 7617), in a header
//!   that is marked as sensitive; they stand in no error and no log.
//! - SOCKS proxies are recognised and refused with a code of their own.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Request, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use warp_protocol::Secret;

/// Name and password for a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyCredentials {
    /// The name; without a colon, which Basic cannot carry in it.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// The proxy of the configuration cannot be used. The address is not repeated: people write
/// passwords into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProxy {
    /// It is not an address of the form that is wanted.
    #[error("the proxy's address must be http://host:port or https://host:port")]
    Address,
    /// Credentials belong beside the address.
    #[error("the proxy's address holds a user name; name and password have keys of their own")]
    UserInAddress,
    /// The credentials cannot be sent.
    #[error("the proxy's user name holds a colon, or there is a password without a user name")]
    Credentials,
}

/// Which proxy connections go through; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ProxyPolicy {
    rule: Rule,
    /// Ready for the header; used where the proxy's address came without any.
    authorization: Option<HeaderValue>,
}

#[derive(Debug, Clone, Default)]
enum Rule {
    #[default]
    Never,
    System(Arc<Matcher>),
    Always(Arc<Matcher>),
}

impl ProxyPolicy {
    /// No proxy at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// The system's rule as it is now.
    ///
    /// # Errors
    /// [`BadProxy::Credentials`].
    pub fn system(credentials: Option<&ProxyCredentials>) -> Result<Self, BadProxy> {
        Self::by(Arc::new(Matcher::from_system()), credentials)
    }

    fn by(matcher: Arc<Matcher>, credentials: Option<&ProxyCredentials>) -> Result<Self, BadProxy> {
        Ok(Self {
            rule: Rule::System(matcher),
            authorization: credentials.map(basic).transpose()?,
        })
    }

    /// This proxy for every connection: `http://host:port` or `https://host:port`.
    ///
    /// # Errors
    /// See [`BadProxy`].
    pub fn fixed(url: &str, credentials: Option<&ProxyCredentials>) -> Result<Self, BadProxy> {
        if url.contains('@') {
            return Err(BadProxy::UserInAddress);
        }
        let uri: Uri = url.parse().map_err(|_| BadProxy::Address)?;
        let http = matches!(uri.scheme_str(), Some("http" | "https"));
        let bare = uri.path_and_query().is_none_or(|path| path == "/");
        if !http || !bare || uri.host().is_none_or(str::is_empty) {
            return Err(BadProxy::Address);
        }
        Ok(Self {
            rule: Rule::Always(Arc::new(Matcher::builder().all(url).build())),
            authorization: credentials.map(basic).transpose()?,
        })
    }

    /// The proxy for a connection to `url` (`http`, `https`, `ws` or `wss`); `None`: none.
    pub fn proxy_for(&self, url: &str) -> Option<Proxy> {
        let uri: Uri = as_http(url).parse().ok()?;
        let intercept = match &self.rule {
            Rule::Never => return None,
            Rule::System(_) if is_this_machine(uri.host()?) => return None,
            Rule::System(matcher) | Rule::Always(matcher) => matcher.intercept(&uri)?,
        };
        Proxy::new(&intercept, self.authorization.as_ref())
    }
}

/// The matcher knows `http` and `https` only.
fn as_http(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => format!("http://{rest}"),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("wss") => format!("https://{rest}"),
        _ => url.to_owned(),
    }
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn basic(credentials: &ProxyCredentials) -> Result<HeaderValue, BadProxy> {
    if credentials.user.is_empty() || credentials.user.contains(':') {
        return Err(BadProxy::Credentials);
    }
    // The matcher makes the header of an address with user info, of which no part is special then.
    let url = format!(
        "http://{}:{}@proxy.invalid",
        percent_encoded(&credentials.user),
        percent_encoded(credentials.password.reveal())
    );
    let probe = Uri::from_static("http://destination.invalid");
    let made = Matcher::builder().all(url).build();
    made.intercept(&probe)
        .and_then(|intercept| intercept.basic_auth().cloned())
        .ok_or(BadProxy::Credentials)
}

/// Every byte that is no letter and no digit as `%XX` (RFC 3986, section 2.1).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// One proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    scheme: String,
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
}

impl Proxy {
    fn new(intercept: &Intercept, fallback: Option<&HeaderValue>) -> Option<Self> {
        let uri = intercept.uri();
        let scheme = uri.scheme_str()?.to_owned();
        let port = uri.port_u16().unwrap_or(match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => 1080,
        });
        Some(Self {
            host: uri.host()?.trim_matches(['[', ']']).to_owned(),
            port,
            scheme,
            authorization: intercept.basic_auth().or(fallback).cloned(),
        })
    }

    /// `scheme://host:port`, without credentials.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.name())
    }

    /// `Proxy-Authorization`, marked as sensitive.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// True for one that is spoken to by HTTP.
    pub fn is_http(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }

    /// True when the way to the proxy itself is TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.scheme == "https"
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`.
    pub(crate) fn name(&self) -> String {
        authority(&self.host, self.port)
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Why there is no tunnel.
pub(crate) enum TunnelFault {
    /// The proxy answered with this status.
    Status(u16),
    /// It did not answer as a proxy does.
    Protocol(String),
}

/// Asks the proxy behind `stream` for a tunnel to `host:port`. Dropping the future hangs up.
pub(crate) async fn tunnel<S>(
    stream: S,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<TokioIo<hyper::upgrade::Upgraded>, TunnelFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let protocol = |error: hyper::Error| TunnelFault::Protocol(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(protocol)?;
    let target = authority(host, port);
    let mut request = Request::connect(target.as_str())
        .header(HOST, target.as_str())
        .body(String::new())
        .map_err(|error| TunnelFault::Protocol(error.to_string()))?;
    if let Some(authorization) = proxy.authorization() {
        request
            .headers_mut()
            .insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(protocol)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(TunnelFault::Status(status.as_u16()));
        }
        hyper::upgrade::on(answer).await.map_err(protocol)
    };
    let connection = connection.with_upgrades();
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        outcome = &mut exchange => outcome,
        // The exchange learns of the connection's end, whichever it was.
        _ = connection => exchange.await,
    }
    .map(TokioIo::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: &str) -> ProxyCredentials {
        ProxyCredentials {
            user: user.to_owned(),
            password: Secret::new(password),
        }
    }

    fn system(matcher: Matcher) -> ProxyPolicy {
        ProxyPolicy::by(Arc::new(matcher), None).unwrap()
    }

    #[test]
    fn without_a_rule_nothing_goes_through_a_proxy() {
        assert_eq!(ProxyPolicy::none().proxy_for("wss://a.example/x"), None);
    }

    #[test]
    fn a_configured_proxy_takes_everything_with_its_credentials() {
        let policy =
            ProxyPolicy::fixed("http://proxy:3128", Some(&credentials("a b", "p:/@%"))).unwrap();
        for url in [
            "ws://127.0.0.1:8001/x",
            "wss://h/x",
            "http://h",
            "https://h",
        ] {
            let proxy = policy.proxy_for(url).unwrap();
            assert_eq!(proxy.url(), "http://proxy:3128");
            let header = proxy.authorization().unwrap();
            // "a b:p:/@%" in base64.
            assert_eq!(header, "Basic YSBiOnA6L0Al");
            assert!(header.is_sensitive());
            assert!(!format!("{policy:?} {proxy:?}").contains("YSBi"));
        }
        let v6 = ProxyPolicy::fixed("https://[::1]", None).unwrap();
        let proxy = v6.proxy_for("wss://h").unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("::1", 443));
        assert!(proxy.is_secure());
        assert_eq!(proxy.url(), "https://[::1]:443");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_without_its_text() {
        for url in [
            "",
            "proxy",
            "ftp://proxy:1",
            "socks5://p:1",
            "http://p/x",
            "http://",
        ] {
            assert_eq!(
                ProxyPolicy::fixed(url, None).unwrap_err(),
                BadProxy::Address
            );
        }
        let error = ProxyPolicy::fixed("http://u:hunter2@p:1", None).unwrap_err();
        assert_eq!(error, BadProxy::UserInAddress);
        assert!(!error.to_string().contains("hunter2"));
        for (user, password) in [("", "p"), ("a:b", "p")] {
            let error = ProxyPolicy::system(Some(&credentials(user, password))).unwrap_err();
            assert_eq!(error, BadProxy::Credentials);
        }
    }

    #[test]
    fn the_systems_rule_knows_schemes_exceptions_and_this_machine() {
        let policy = system(
            Matcher::builder()
                .http("http://plain:1")
                .https("http://name:secret@tunnel:2")
                .no("inside.example, 10.0.0.0/8")
                .build(),
        );
        let url = |target| policy.proxy_for(target).map(|proxy: Proxy| proxy.url());
        assert_eq!(url("ws://a.example/x").as_deref(), Some("http://plain:1"));
        assert_eq!(url("wss://a.example/x").as_deref(), Some("http://tunnel:2"));
        assert_eq!(url("https://a.example").as_deref(), Some("http://tunnel:2"));
        for target in [
            "wss://x.inside.example/",
            "https://10.1.2.3/",
            "http://127.0.0.1:8001/api",
            "ws://localhost:8001",
            "wss://[::1]:1/",
        ] {
            assert_eq!(url(target), None, "{target}");
        }
        let own = policy.proxy_for("wss://a.example/").unwrap();
        assert_eq!(own.authorization().unwrap(), "Basic bmFtZTpzZWNyZXQ=");
        assert!(!own.url().contains("secret"));
        let socks = system(Matcher::builder().all("socks5://p:1080").build());
        let proxy = socks.proxy_for("wss://a.example/").unwrap();
        assert!(!proxy.is_http());
    }
}
