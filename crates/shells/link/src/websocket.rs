//! The WebSocket carrier's client side: one binary message is one datagram.
//!
//! The stages of connecting are separate so that their failures can be told apart: name lookup, TCP
//! (all addresses of the name raced with a quarter second between them), the tunnel through a proxy
//! where [`ProxyPolicy`] names one, TLS, the upgrade request. Through a proxy the first two stages
//! are the way to the proxy, which looks the host's name up itself. No redirect is followed. There is
//! no compression: QUIC's packets are ciphertext.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt, future};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;
use warp_protocol::Secret;

use crate::carrier::{Carrier, CloseReason};
use crate::proxy::{Proxy, ProxyPolicy, TunnelFault, authority, tunnel};
use crate::pump::Inbound;

/// Longest message that is read, bytes; what is longer than a datagram but within this limit is
/// dropped and counted, what is beyond it ends the carrier.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// How long one address of a name has the field to itself before the next is tried beside it
/// (RFC 8305, section 5: 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Watches over a socket: one whose other side is gone without a word, or whose address is, says
/// nothing, not even that it broke. So it is pinged, and has ended when nothing was heard for too long.
#[derive(Debug)]
pub struct Pulse {
    pings: Interval,
    quiet: Duration,
    heard: Instant,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Send a ping.
    Ping,
    /// Nothing was heard for so long, not even an answer to a ping: the socket is dead.
    Dead,
}

impl Pulse {
    /// Pings `every` so often, the first time at once; dead after `quiet` without a word.
    pub fn new(every: Duration, quiet: Duration) -> Self {
        let mut pings = tokio::time::interval(every);
        // After a pause of the process, one ping is enough.
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            pings,
            quiet,
            heard: Instant::now(),
        }
    }

    /// Something came, whatever it was.
    pub fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Waits for what is to be done next. May be dropped and called again.
    pub async fn next(&mut self) -> Beat {
        let now = self.pings.tick().await;
        self.beat(now)
    }

    fn beat(&self, now: Instant) -> Beat {
        if now.saturating_duration_since(self.heard) >= self.quiet {
            Beat::Dead
        } else {
            Beat::Ping
        }
    }
}

/// Where and how to connect.
#[derive(Debug, Clone)]
pub struct WsTarget {
    /// `ws://` or `wss://`; [`ws_url`] makes one of a base URL.
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub bearer_token: Option<Secret>,
    /// For `wss://`; see [`crate::tls::client_config`].
    pub tls: Arc<ClientConfig>,
    /// Which proxy to go through, if any.
    pub proxy: ProxyPolicy,
    /// For all stages together.
    pub timeout: Duration,
}

/// What is wrong with the server's certificate or its TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The certificate does not lead to a root that this machine trusts.
    #[error("its certificate is signed by nobody this machine trusts; name the operator's CA file")]
    UntrustedIssuer,
    /// The certificate is for another name.
    #[error("its certificate is for another name; check the address")]
    WrongName,
    /// The certificate is expired or not valid yet.
    #[error("its certificate is not valid today; check the clock, then the server's certificate")]
    OutOfDate,
    /// Anything else, in rustls's words.
    #[error("{0}")]
    Other(String),
}

/// Why a WebSocket carrier could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not a `ws://` or `wss://` URL with a host.
    #[error("{url:?} is no WebSocket address ({cause})")]
    BadUrl {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The token has characters that a header cannot carry.
    #[error("the access token cannot be sent in a header: sign in again")]
    BadToken,
    /// The name has no address.
    #[error("{host} was not found ({cause}): check the name and the network")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        cause: std::io::Error,
    },
    /// Nobody listens there.
    #[error("{host} refused the connection: is the server running?")]
    Refused {
        /// Host and port.
        host: String,
    },
    /// There is no way to the host.
    #[error("{host} cannot be reached ({cause}): check the network")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// TLS failed.
    #[error("{host} could not prove who it is: {fault}")]
    Tls {
        /// Host and port.
        host: String,
        /// In which way.
        fault: TlsFault,
    },
    /// The server answered with something other than 101.
    #[error("{host} answered with HTTP status {status} instead of opening a WebSocket")]
    Status {
        /// Host and port.
        host: String,
        /// The status.
        status: u16,
    },
    /// The time was up before the WebSocket was open.
    #[error("{host} did not open a WebSocket within {after:?}")]
    Timeout {
        /// Host and port.
        host: String,
        /// The whole time allowed.
        after: Duration,
    },
    /// There is no way to the proxy.
    #[error("the proxy {proxy} cannot be reached ({cause}): check the proxy's address")]
    ProxyUnreachable {
        /// The proxy, without credentials.
        proxy: String,
        /// Which stage failed, and how.
        cause: String,
    },
    /// The proxy wants a name and password, or other ones.
    #[error("the proxy {proxy} wants a name and password, or does not take the given ones")]
    ProxyPassword {
        /// The proxy, without credentials.
        proxy: String,
    },
    /// The proxy opens no tunnel to the host.
    #[error("the proxy {proxy} opened no tunnel to {host}: HTTP status {status}")]
    ProxyRefused {
        /// The proxy, without credentials.
        proxy: String,
        /// Host and port.
        host: String,
        /// The proxy's status.
        status: u16,
    },
    /// The proxy is of a kind that is not spoken here.
    #[error("the proxy {proxy} is no HTTP proxy; name one, or `none`, in the configuration")]
    ProxyUnsupported {
        /// The proxy, without credentials.
        proxy: String,
    },
    /// The proxy does not answer as one.
    #[error("the proxy {proxy} did not answer as an HTTP proxy does ({cause})")]
    ProxyProtocol {
        /// The proxy, without credentials.
        proxy: String,
        /// What went wrong.
        cause: String,
    },
    /// The server does not speak WebSocket, or hung up in the middle of it.
    #[error("{host} did not complete the WebSocket handshake ({cause})")]
    Protocol {
        /// Host and port.
        host: String,
        /// What went wrong.
        cause: String,
    },
}

impl ConnectError {
    /// Stable code for events and logs.
    pub fn code(&self) -> &'static str {
        match self {
            ConnectError::BadUrl { .. } => "ws-bad-url",
            ConnectError::BadToken => "ws-bad-token",
            ConnectError::Dns { .. } => "ws-dns",
            ConnectError::Refused { .. } => "ws-refused",
            ConnectError::Unreachable { .. } => "ws-unreachable",
            ConnectError::Tls { fault, .. } => match fault {
                TlsFault::UntrustedIssuer => "ws-tls-untrusted",
                TlsFault::WrongName => "ws-tls-wrong-name",
                TlsFault::OutOfDate => "ws-tls-out-of-date",
                TlsFault::Other(_) => "ws-tls",
            },
            ConnectError::Status { status, .. } => match status {
                401 => "ws-unauthorized",
                403 => "ws-forbidden",
                404 => "ws-not-found",
                429 => "ws-too-many-requests",
                500..=599 => "ws-server-error",
                _ => "ws-http-status",
            },
            ConnectError::Timeout { .. } => "ws-timeout",
            ConnectError::ProxyUnreachable { .. } => "ws-proxy-unreachable",
            ConnectError::ProxyPassword { .. } => "ws-proxy-password",
            ConnectError::ProxyRefused { status, .. } => match status {
                403 => "ws-proxy-forbidden",
                500..=599 => "ws-proxy-no-way",
                _ => "ws-proxy-status",
            },
            ConnectError::ProxyUnsupported { .. } => "ws-proxy-unsupported",
            ConnectError::ProxyProtocol { .. } => "ws-proxy-protocol",
            ConnectError::Protocol { .. } => "ws-protocol",
        }
    }

    /// Whether a fresh access token is what is missing.
    pub fn needs_sign_in(&self) -> bool {
        matches!(
            self,
            ConnectError::BadToken | ConnectError::Status { status: 401, .. }
        )
    }

    /// Whether the same attempt may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            ConnectError::Dns { .. }
            | ConnectError::Refused { .. }
            | ConnectError::Unreachable { .. }
            | ConnectError::Timeout { .. }
            | ConnectError::ProxyUnreachable { .. }
            | ConnectError::ProxyProtocol { .. }
            | ConnectError::Protocol { .. } => true,
            ConnectError::Status { status, .. } => *status == 429 || *status >= 500,
            ConnectError::ProxyRefused { status, .. } => *status >= 500,
            ConnectError::BadUrl { .. }
            | ConnectError::BadToken
            | ConnectError::ProxyPassword { .. }
            | ConnectError::ProxyUnsupported { .. }
            | ConnectError::Tls { .. } => false,
        }
    }
}

/// The WebSocket address of `path` under a base URL: `http` becomes `ws`, `https` becomes `wss`,
/// `ws` and `wss` stay, and exactly one slash stands between the two.
///
/// # Errors
/// [`ConnectError::BadUrl`] for another scheme, no host, or a user name in the URL.
pub fn ws_url(base: &str, path: &str) -> Result<String, ConnectError> {
    let base = base.trim();
    let (scheme, rest) = base
        .split_once("://")
        .ok_or_else(|| bad_url(base, "it has no scheme"))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        _ => return Err(bad_url(base, "the scheme must be http, https, ws or wss")),
    };
    let url = format!(
        "{scheme}://{}/{}",
        rest.trim_end_matches('/'),
        path.trim_start_matches('/')
    );
    parse(&url)?;
    Ok(url)
}

/// A byte stream over TCP, a tunnel or TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A WebSocket whose handshake is done.
pub type Socket = WebSocketStream<Box<dyn Stream>>;

/// Opens a carrier to `target`; it lives until it is closed or `stop` is cancelled.
///
/// # Errors
/// The stage that failed: see [`ConnectError`]. Dropping the future abandons the attempt.
pub async fn connect(target: &WsTarget, stop: CancellationToken) -> Result<Carrier, ConnectError> {
    let socket = connect_socket(target, limits()).await?;
    Ok(carrier_over(socket, stop))
}

/// Opens a WebSocket to `target`, for messages that are no datagrams.
///
/// # Errors
/// The stage that failed: see [`ConnectError`]. Dropping the future abandons the attempt.
pub async fn connect_socket(
    target: &WsTarget,
    limits: WebSocketConfig,
) -> Result<Socket, ConnectError> {
    let place = parse(&target.url)?;
    let request = request(target)?;
    // Boxed: the state of a TLS handshake and an upgrade is large.
    let attempt = Box::pin(async {
        let stream = open(target, &place).await?;
        upgrade(stream, &place, request, limits).await
    });
    match tokio::time::timeout(target.timeout, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectError::Timeout {
            host: place.name(),
            after: target.timeout,
        }),
    }
}

/// The part of a URL that says where to connect.
struct Place {
    host: String,
    port: u16,
    secure: bool,
}

impl Place {
    fn name(&self) -> String {
        authority(&self.host, self.port)
    }
}

fn bad_url(url: &str, cause: impl Into<String>) -> ConnectError {
    ConnectError::BadUrl {
        url: url.to_owned(),
        cause: cause.into(),
    }
}

fn parse(url: &str) -> Result<Place, ConnectError> {
    let uri: Uri = url
        .parse()
        .map_err(|error| bad_url(url, format!("{error}")))?;
    let secure = match uri.scheme_str() {
        Some("ws") => false,
        Some("wss") => true,
        _ => return Err(bad_url(url, "the scheme must be ws or wss")),
    };
    let authority = uri
        .authority()
        .ok_or_else(|| bad_url(url, "it has no host"))?;
    if authority.as_str().contains('@') {
        // The URL stands in logs and errors, so it must not carry a password.
        return Err(bad_url("(hidden)", "it holds a user name"));
    }
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    if host.is_empty() {
        return Err(bad_url(url, "it has no host"));
    }
    let port = match (uri.port_u16(), secure) {
        (Some(port), _) => port,
        (None, true) => 443,
        (None, false) => 80,
    };
    Ok(Place { host, port, secure })
}

fn request(target: &WsTarget) -> Result<Request<()>, ConnectError> {
    let mut request = target
        .url
        .as_str()
        .into_client_request()
        .map_err(|error| bad_url(&target.url, error.to_string()))?;
    if let Some(token) = &target.bearer_token {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
            .map_err(|_| ConnectError::BadToken)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

/// Everything below the WebSocket.
async fn open(target: &WsTarget, place: &Place) -> Result<Box<dyn Stream>, ConnectError> {
    let stream = match target.proxy.proxy_for(&target.url) {
        None => Box::new(connect_tcp(place).await?),
        Some(proxy) => through(&proxy, &target.tls, place).await?,
    };
    if place.secure {
        Ok(Box::new(secure(stream, &target.tls, place).await?))
    } else {
        Ok(stream)
    }
}

/// A tunnel to `place`.
async fn through(
    proxy: &Proxy,
    tls: &Arc<ClientConfig>,
    place: &Place,
) -> Result<Box<dyn Stream>, ConnectError> {
    let name = || proxy.name();
    if !proxy.is_http() {
        return Err(ConnectError::ProxyUnsupported { proxy: proxy.url() });
    }
    let door = Place {
        host: proxy.host().to_owned(),
        port: proxy.port(),
        secure: proxy.is_secure(),
    };
    let unreachable = |error: ConnectError| ConnectError::ProxyUnreachable {
        proxy: name(),
        cause: error.to_string(),
    };
    let tcp = connect_tcp(&door).await.map_err(unreachable)?;
    let stream: Box<dyn Stream> = if door.secure {
        Box::new(secure(tcp, tls, &door).await.map_err(unreachable)?)
    } else {
        Box::new(tcp)
    };
    match tunnel(stream, proxy, &place.host, place.port).await {
        Ok(tunnel) => Ok(Box::new(tunnel)),
        Err(TunnelFault::Status(407)) => Err(ConnectError::ProxyPassword { proxy: name() }),
        Err(TunnelFault::Status(status)) => Err(ConnectError::ProxyRefused {
            proxy: name(),
            host: place.name(),
            status,
        }),
        Err(TunnelFault::Protocol(cause)) => Err(ConnectError::ProxyProtocol {
            proxy: name(),
            cause,
        }),
    }
}

async fn secure<S: Stream>(
    stream: S,
    tls: &Arc<ClientConfig>,
    place: &Place,
) -> Result<tokio_rustls::client::TlsStream<S>, ConnectError> {
    let fault = |fault| ConnectError::Tls {
        host: place.name(),
        fault,
    };
    let name = ServerName::try_from(place.host.clone())
        .map_err(|error| fault(TlsFault::Other(error.to_string())))?;
    tokio_rustls::TlsConnector::from(tls.clone())
        .connect(name, stream)
        .await
        .map_err(|error| fault(tls_fault(&error)))
}

fn tls_fault(error: &std::io::Error) -> TlsFault {
    use rustls::CertificateError as Cert;
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(fault)) => match fault {
            Cert::UnknownIssuer | Cert::BadSignature => TlsFault::UntrustedIssuer,
            Cert::NotValidForName | Cert::NotValidForNameContext { .. } => TlsFault::WrongName,
            Cert::Expired
            | Cert::ExpiredContext { .. }
            | Cert::NotValidYet
            | Cert::NotValidYetContext { .. } => TlsFault::OutOfDate,
            other => TlsFault::Other(other.to_string()),
        },
        Some(other) => TlsFault::Other(other.to_string()),
        None => TlsFault::Other(error.to_string()),
    }
}

/// Looks the name up and races its addresses, the first one first.
async fn connect_tcp(place: &Place) -> Result<TcpStream, ConnectError> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((place.host.as_str(), place.port))
        .await
        .map_err(|cause| ConnectError::Dns {
            host: place.host.clone(),
            cause,
        })?
        .collect();
    let mut attempts: FuturesUnordered<_> = addresses
        .iter()
        .enumerate()
        .map(|(index, address)| async move {
            let turn = u32::try_from(index).unwrap_or(u32::MAX);
            tokio::time::sleep(NEXT_ADDRESS_AFTER.saturating_mul(turn)).await;
            TcpStream::connect(*address).await
        })
        .collect();
    let mut last = None;
    while let Some(attempt) = attempts.next().await {
        match attempt {
            // Datagrams are small and must not wait for each other.
            Ok(stream) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(error) => last = Some(error),
            },
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        None => ConnectError::Dns {
            host: place.host.clone(),
            cause: std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"),
        },
        Some(cause) if cause.kind() == std::io::ErrorKind::ConnectionRefused => {
            ConnectError::Refused { host: place.name() }
        }
        Some(cause) => ConnectError::Unreachable {
            host: place.name(),
            cause,
        },
    })
}

/// The limits of our side of a WebSocket.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        // The queue with a budget is ours; here only what one flush gathers.
        .write_buffer_size(16 * 1024)
        .max_write_buffer_size(256 * 1024)
}

async fn upgrade(
    stream: Box<dyn Stream>,
    place: &Place,
    request: Request<()>,
    limits: WebSocketConfig,
) -> Result<Socket, ConnectError> {
    let host = place.name();
    match client_async_with_config(request, stream, Some(limits)).await {
        Ok((socket, _response)) => Ok(socket),
        Err(WsError::Http(response)) => Err(ConnectError::Status {
            host,
            status: response.status().as_u16(),
        }),
        Err(error) => Err(ConnectError::Protocol {
            host,
            cause: error.to_string(),
        }),
    }
}

/// A carrier over a WebSocket whose handshake is done. Its message limit is the caller's to set:
/// see [`MAX_MESSAGE`].
pub fn carrier_over<S>(socket: WebSocketStream<S>, stop: CancellationToken) -> Carrier
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sink, stream) = socket.split();
    let sink = sink.with(|datagram: Bytes| future::ok::<_, WsError>(Message::Binary(datagram)));
    let stream = stream.map(|message| match message {
        Ok(Message::Binary(datagram)) => Inbound::Datagram(datagram),
        Ok(Message::Close(_)) => Inbound::Closed(CloseReason::Remote),
        Ok(_) => Inbound::Other,
        Err(error) => {
            tracing::debug!(%error, "websocket carrier: read failed");
            Inbound::Closed(match error {
                WsError::ConnectionClosed => CloseReason::Remote,
                WsError::Capacity(_) | WsError::Protocol(_) | WsError::Utf8(_) => {
                    violation_or_cut(&error)
                }
                _ => CloseReason::Broken,
            })
        }
    });
    Carrier::from_parts(sink, stream, stop)
}

/// A connection that is cut without a farewell shows up as a protocol error, and is none.
fn violation_or_cut(error: &WsError) -> CloseReason {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error {
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => CloseReason::Broken,
        _ => CloseReason::Violation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_pinged_at_once_and_dead_after_a_silence() {
        let seconds = Duration::from_secs;
        let mut pulse = Pulse::new(seconds(10), seconds(30));
        assert_eq!(pulse.next().await, Beat::Ping);
        pulse.heard();
        assert_eq!(pulse.beat(pulse.heard + seconds(29)), Beat::Ping);
        assert_eq!(pulse.beat(pulse.heard + seconds(30)), Beat::Dead);
    }

    #[test]
    fn base_urls_become_websocket_urls() {
        for (base, path, expected) in [
            (
                "http://a.example",
                "v1/carrier",
                "ws://a.example/v1/carrier",
            ),
            ("https://a.example/", "/v1/c", "wss://a.example/v1/c"),
            (
                "HTTPS://a.example:8443/base/",
                "c",
                "wss://a.example:8443/base/c",
            ),
            ("ws://[::1]:9", "/c?x=1", "ws://[::1]:9/c?x=1"),
        ] {
            assert_eq!(ws_url(base, path).unwrap(), expected);
        }
        for base in [
            "a.example",
            "ftp://a.example",
            "http://",
            "http://u:p@a.example",
        ] {
            let error = ws_url(base, "c").unwrap_err();
            assert_eq!(error.code(), "ws-bad-url", "{base}");
            assert!(!error.to_string().contains("u:p"), "{error}");
        }
    }

    #[test]
    fn places_have_the_schemes_ports_and_bare_hosts() {
        let place = parse("wss://[::1]/x").unwrap();
        assert_eq!(
            (place.host.as_str(), place.port, place.secure),
            ("::1", 443, true)
        );
        assert_eq!(place.name(), "[::1]:443");
        let place = parse("ws://host/x").unwrap();
        assert_eq!((place.port, place.secure), (80, false));
    }
}
