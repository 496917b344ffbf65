//! What goes into an endpoint, and what it says of itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use warp_link::peer::PortOpener;
use warp_link_core::{Identity, LinkConfig, State, Trust};
use warp_protocol::carrier::PathKind;
use warp_protocol::endpoint::LinkFigures;
use warp_protocol::identity::RefusedReason;
use warp_protocol::rest::IceServer;
use warp_protocol::signal::{ClientSignal, ServerSignal};
use warp_protocol::stream::{KEEP_ALIVE_AFTER, KEEP_ALIVE_LIMIT};
use warp_protocol::zone::GameServer;

/// Signaling messages that wait each way. Full: whoever sends waits; the endpoint drops candidates
/// of a connection that is still being set up.
pub const SIGNALS: usize = 64;

/// How long a link without any path is held at most: the longest that a launcher may wish
/// (`p2p.hold_seconds`). The shorter wish of both sides counts.
const MAX_HOLD: Duration = Duration::from_secs(300);

/// How an endpoint is set up.
#[derive(Debug)]
pub struct EndpointConfig {
    /// The key that launchers know it by.
    pub identity: Identity,
    /// Whose certificates it believes; `None`: it takes the word of whoever grants sessions.
    pub trust: Option<EndpointTrust>,
    /// Limits.
    pub limits: EndpointLimits,
    /// How WebRTC connections are made.
    pub webrtc: WebRtcOptions,
}

/// How an endpoint knows launchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointTrust {
    /// Belief in the coordinator's key.
    pub trust: Trust,
    /// Sessions need a device certificate, and WebRTC offers a signature. Where it is false a
    /// certificate may be missing, and then also the signatures.
    pub require_certificates: bool,
}

/// A certificate with the account that it has to be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedDevice {
    /// Row id of the account at the coordinator.
    pub account: u64,
    /// The certificate.
    pub certificate: Vec<u8>,
}

/// Limits of an endpoint; see the crate's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointLimits {
    /// Sessions at once.
    pub sessions: usize,
    /// Hosts at once.
    pub hosts: usize,
    /// Connections to game servers at once in one session.
    pub connections: usize,
    /// How long a stream may take to say which server it wants.
    pub request: Duration,
    /// How long a game server may take to accept.
    pub dial: Duration,
    /// How long the answer to a message that wants to be alone is waited for.
    pub alone: Duration,
    /// How long nothing is written to a game server before the packet that the client left for that
    /// is written.
    pub keep_alive_after: Duration,
    /// How long after the client's last message that goes on.
    pub keep_alive_limit: Duration,
    /// How long a session may be without its first connection before its grant ends.
    pub unused: Duration,
    /// Numbers of the session link.
    pub link: LinkConfig,
}

impl Default for EndpointLimits {
    fn default() -> Self {
        Self {
            sessions: 2_000,
            hosts: 256,
            connections: 32,
            request: Duration::from_secs(5),
            dial: Duration::from_secs(5),
            alone: Duration::from_secs(2),
            keep_alive_after: KEEP_ALIVE_AFTER,
            keep_alive_limit: KEEP_ALIVE_LIMIT,
            unused: Duration::from_secs(120),
            link: LinkConfig {
                hold: MAX_HOLD,
                ..LinkConfig::default()
            },
        }
    }
}

/// How WebRTC connections are made.
#[derive(Debug, Clone)]
pub struct WebRtcOptions {
    /// Also offer the loopback address, for a launcher on the same machine.
    pub include_loopback: bool,
    /// Addresses to bind; empty means every usable address of this machine.
    pub bind: Vec<IpAddr>,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// Has the router open a port for each connection; none: nobody is asked.
    pub ports: Option<Arc<dyn PortOpener>>,
}

impl Default for WebRtcOptions {
    fn default() -> Self {
        Self {
            include_loopback: false,
            bind: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            ports: None,
        }
    }
}

/// Who may open a session link, and what it may reach.
#[derive(Debug, Clone)]
pub struct GrantSpec {
    /// The session, as the coordinator names it.
    pub session_id: String,
    /// Public key of the launcher: Ed25519 SubjectPublicKeyInfo in DER (RFC 8410), 44 bytes.
    pub device_key: Vec<u8>,
    /// The certificate of that key.
    pub certified: Option<CertifiedDevice>,
    /// The servers that may be dialled.
    pub game: GameServer,
    /// May WebRTC be used.
    pub p2p_enabled: bool,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
}

/// The endpoint's place in the session's signaling room. It speaks as any other member does.
#[derive(Debug)]
pub struct SignalPort {
    /// What others send it. [`SIGNALS`] fit in.
    pub to_endpoint: mpsc::Sender<ServerSignal>,
    /// What it sends to others. Ends when the session does.
    pub from_endpoint: mpsc::Receiver<ClientSignal>,
}

/// A session was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefused {
    /// There are as many sessions as there may be.
    #[error("the endpoint has as many sessions as it may have; try again later")]
    TooManySessions,
    /// A session of that name is there already.
    #[error("there is a session with this id already")]
    SessionExists,
    /// Not a key that a link could be opened with.
    #[error("the device key is not an Ed25519 public key in DER")]
    BadDeviceKey,
    /// The device's certificate is not believed.
    #[error("the device is not trusted: {0}")]
    Untrusted(RefusedReason),
    /// The system gave no randomness, or the numbers of the link are out of range.
    #[error("the session link cannot be set up; look at the endpoint's link configuration")]
    LinkSetup,
    /// The zone's signed policy does not let this endpoint serve it, or dial its game servers.
    #[error("the zone's policy does not allow it here")]
    NotAllowed,
    /// The endpoint is being shut down.
    #[error("the endpoint is being shut down")]
    ShuttingDown,
}

/// A carrier was not taken, and is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachRefused {
    /// There is no such session, or not any more.
    #[error("the endpoint has no such session; join the zone again")]
    UnknownSession,
}

/// A session as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionView {
    /// The session.
    pub session_id: String,
    /// State of its link.
    pub state: State,
    /// The path in use.
    pub path: Option<PathKind>,
    /// Connections to game servers that are open or being opened.
    pub streams: usize,
    /// Bytes from the client to game servers.
    pub up_bytes: u64,
    /// Bytes from game servers to the client.
    pub down_bytes: u64,
}

impl SessionView {
    /// The part that game masters see.
    pub fn figures(&self) -> LinkFigures {
        LinkFigures {
            path: self.path,
            streams: u32::try_from(self.streams).unwrap_or(u32::MAX),
            up_bytes: self.up_bytes,
            down_bytes: self.down_bytes,
        }
    }
}
