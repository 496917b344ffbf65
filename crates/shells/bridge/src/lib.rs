//! The loopback bridge: what the game client connects to instead of the game servers.
//!
//! # How it works
//! * It listens on the login address, and on one loopback port ("door") for every char and map
//!   server: at once for those that the zone names, when it is announced for any other. The same
//!   server has the same door as long as the bridge lives. Only loopback is ever listened on.
//! * For each connection of the client it opens one game stream ([`StreamOpener`]) and says which
//!   server to dial. Until the endpoint has answered, the client's first bytes wait in its socket.
//! * Between socket and stream sits one [`BridgeConnection`](warp_bridge_core::BridgeConnection): it
//!   cuts the client's bytes into packets, one message each, and puts the doors' addresses where the
//!   server announces servers.
//! * Half-closing and resetting pass in both directions. A stream that is not opened, or breaks,
//!   resets the client's connection.
//!
//! # Bounds ([`BridgeLimits`])
//! | what | default | when full |
//! |---|---|---|
//! | connections at once | 64 | the new one is reset, [`BridgeNotice::Refused`] |
//! | doors for servers that the zone does not name | 128 | the client is sent to a door that refuses, [`BridgeNotice::DoorMissing`] |
//! | bytes read from a client's socket and not yet taken by the stream | 16 KiB | the socket is not read, TCP pushes back |
//! | bytes read from a stream and not yet taken by the client's socket | one read of the stream | the stream is not read, QUIC pushes back |
//! | bytes that wait for the rest of their packet | 64 KiB | no packet is longer |
//! | how long they wait | 5 s | the connection steps down to opaque |

mod bridge;
mod connection;
mod doors;
mod error;
mod lanes;
mod notice;
mod opener;
mod reads;
mod totals;

pub use bridge::{Bridge, BridgeConfig, BridgeLimits, ClientView, Notify};
pub use connection::ConnectionView;
pub use error::BridgeError;
pub use notice::{BridgeNotice, Carried, RefusedReason};
pub use opener::{
    GameRead, GameReader, GameWriter, LinkGone, OpenedStream, Origin, PathNow, StreamOpener,
    WriteGone,
};
pub use totals::BridgeCounters;
// What notices and views are made of.
pub use warp_bridge_core::{Counter, Counters, Level, StepDownReason};
pub use warp_ro_packet::{Direction, PacketClass, PacketTable};
