//! The endpoint: where game streams end. It alone holds the TCP connections to the game server.
//!
//! # How it works
//! * The coordinator grants sessions: who may open the session link (a device key), and which game
//!   servers it may reach. Nobody else gets a connection, and nothing else is dialled.
//! * The device's certificate is checked against the coordinator's key before a link is made, and a
//!   WebRTC offer against the device's key before it is looked into; the answer is signed. What is
//!   refused is counted by its reason ([`Endpoint::refusals`]).
//! * Carriers come as WebSockets that the coordinator hands over ([`Endpoint::attach_wss`]), and as
//!   WebRTC connections that the other side offers through the session's signaling ([`SignalPort`]).
//!   The newest offer counts: a connection that is still being made is given up for it, one that
//!   works is closed when the new one is open.
//! * Each game stream begins with a request naming a server. Towards the server one message is one
//!   write to the socket, because rAthena closes a connection whose packet comes in two pieces; after
//!   a message flagged *alone* nothing is written before the server has answered. Towards the client
//!   one read of the socket is one message.
//! * A client may leave a packet that keeps its session alive: it is written when nothing else was
//!   for 45 s, so that the server (60 s) does not close while the client or the path is away, at most
//!   until 10 minutes after the client's last message. It is not part of the stream's digest.
//! * Hosts connect in the same two ways, in a room of their own ([`Endpoint::grant_host`]). What they
//!   bring is given to the sessions' links by routes ([`Endpoint::route`]), each as a carrier of its
//!   own; a host without a right to host, a slot without a route and a lease of the past bring
//!   nothing.
//! * Half-closing and resetting pass in both directions. A digest of each direction is logged at the
//!   end of each stream, so that both ends of a session can be compared.
//!
//! # Borders
//! What one read of the game server's socket yields, up to 65,535 bytes, is one message; the bridge
//! writes it at once. What one message brings is one write to the server. TCP has no borders of its
//! own, so this keeps a side's writes apart exactly as far as its TCP does: two writes that have
//! come together before the read are one, and a write that came in two segments may be two.
//!
//! # Whole writes
//! A message is written when the socket is writable. Linux calls a socket writable when at least a
//! third of its send buffer is free, and the buffer is [`game::SEND_BUFFER`] large, so a third is
//! more than the longest message (65,535 bytes). If a write is cut in two nevertheless, the rest
//! follows, and it is counted and warned about.
//!
//! # Bounds ([`EndpointLimits`])
//! | what | default | when full |
//! |---|---|---|
//! | sessions | 2,000 | [`GrantRefused::TooManySessions`] |
//! | hosts | 256 | [`GrantRefused::TooManySessions`] |
//! | routes of a host | 2,000 | [`RouteRefused::TooManyRoutes`] |
//! | datagrams from a host, for one member's link | 256 KiB | the newest is dropped |
//! | datagrams to a host, of all its members | 256 KiB | the newest is dropped, whoever's it is |
//! | connections of a session | 32 | [`TooManyConnections`](warp_protocol::stream::OpenRefused::TooManyConnections) |
//! | signaling messages each way | 64 | the sender waits, or candidates are dropped |
//! | WebRTC connections of a session | one open, one being made | see above |
//! | bytes from the client, for a server that does not read | one message and one read | the stream is not read, QUIC pushes back |
//! | bytes from the server, for a client that does not read | one read of 64 KiB | the socket is not read, TCP pushes back |
//! | packets kept for a silent client | one of a stream, 64 KiB | the newest counts |

mod config;
pub mod control;
mod endpoint;
pub mod game;
mod hosts;
mod keep_alive;
mod lanes;
mod session;

pub use config::{
    AttachRefused, CertifiedDevice, EndpointConfig, EndpointLimits, EndpointTrust, GrantRefused,
    GrantSpec, SIGNALS, SessionView, SignalPort, WebRtcOptions,
};
pub use endpoint::{Endpoint, generate_identity_der};
pub use hosts::{HostGrantSpec, HostRoute, HostRoutes, HostTraffic, RouteRefused};
pub use warp_link_core::{Identity, IdentityError, Trust};
