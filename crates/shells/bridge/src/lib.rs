//! The loopback bridge: what the game clients connect to instead of the game servers.
//!
//! # How it works
//! * It listens on the login address, and on one loopback port ("door") for every char and map
//!   server: at once for those that the zone names, when it is announced for any other. The same
//!   server has the same door for every client, as long as the bridge lives. Only loopback is ever
//!   listened on.
//! * A new connection waits up to 250 ms for the client's first packet. It says who the client is
//!   (its account), and which packet version it speaks. Opaque connections do not wait.
//! * Then one game stream is opened ([`StreamOpener`]), with what is known of its [`Origin`], and the
//!   endpoint is told which server to dial. Until it has answered, the client's bytes wait.
//! * Between socket and stream sits one [`BridgeConnection`](warp_bridge_core::BridgeConnection): it
//!   cuts the client's bytes into packets, one message each, puts the doors' addresses where the
//!   server announces servers, and reads commands in the chat ([`BridgeNotice::Command`],
//!   [`Bridge::answer`]).
//! * Half-closing and resetting pass in both directions. A stream that is not opened, or breaks,
//!   resets the client's connection.
//!
//! # Clients
//! Several game clients may be connected at once. Connections of the same account belong to the same
//! client, which has a number, a map and counters of its own ([`ClientView`]). A connection to the login
//! server begins a new client; when the account turns out to be one that is known, it goes on as that
//! one. A client without connections is forgotten after two minutes, and at once if it never logged in.
//!
//! # When the server is gone
//! A map connection whose server went without a word (the link or its endpoint died, the server crashed)
//! keeps its client: with [`BridgeConfig::reentry`] the client is signed in again over streams of the
//! same [`StreamOpener`], and loads its map anew ([`BridgeNotice::ReEntryStarted`] and what follows). When
//! none of the servers is there ([`BridgeNotice::ServersAway`]) the owner may lead the bridge to others
//! ([`Bridge::lead_to`]). A
//! server that has said why it ends the session, and a client on its way out, have their end as they
//! always had. A client that loses its server three times within ten seconds of being back is not
//! kept any longer.
//!
//! # Opaque zones
//! Nothing is read and nothing is rewritten: what game shields need. The game servers have to announce
//! 127.0.0.1 themselves, and the door of each server is 127.0.0.1 with the server's own port.
//!
//! What one read of a client's socket yields, up to 65,535 bytes, is one message and one write at the
//! endpoint; what one read of the server's socket yielded there is one write to the client. TCP has no
//! borders of its own, so the client's writes stay apart exactly as far as its TCP keeps them apart: two
//! writes that have come together before they are read are one, as they could be at the server itself,
//! and a long write that arrives in pieces may be several.
//!
//! # Bounds ([`BridgeLimits`])
//! | what | default | when full |
//! |---|---|---|
//! | connections at once | 64 | the new one is reset, [`BridgeNotice::Refused`] |
//! | clients that are remembered | 64 | the longest unused is forgotten; while all are connected, a new one has no number |
//! | doors for servers that the zone does not name | 128 | the client is sent to a door that refuses, [`BridgeNotice::DoorMissing`] |
//! | bytes read from a client's socket and not yet taken by the stream | 64 KiB | the socket is not read, TCP pushes back |
//! | bytes read from a stream and not yet taken by the client's socket | one read of the stream and one message | the stream is not read, QUIC pushes back |
//! | bytes that wait for the rest of their packet | 64 KiB | no packet is longer |
//! | how long they wait | 5 s | the connection steps down to opaque |
//! | lines of answers that wait for a client | 64 | the rest is dropped |
//! | lines of chat of a client without a server | 32, 8 KiB | the rest is dropped and counted |
//! | time without a server | 45 s | the client's connection is reset, [`BridgeNotice::ReEntryFailed`] |
//! | what clients said to sign in | as many as clients, 4 KiB a packet | a longer packet is not recorded |
//! | the server's first bytes, looked at for the packet version | 4 KiB | no more is looked at |
//! | packets that wait for the inspector | 2048 | the oldest go, and are counted |

mod bridge;
mod connection;
mod doors;
mod error;
mod home;
mod inspect;
mod lanes;
mod notice;
mod opener;
mod reads;
mod recalls;
mod reentry;
mod totals;
mod watch;

pub use bridge::{Bridge, BridgeConfig, BridgeLimits, ClientView, Notify};
pub use connection::ConnectionView;
pub use error::BridgeError;
pub use inspect::{Inspected, MAX_INSPECTED};
pub use notice::{BridgeNotice, Carried, RefusedReason};
pub use opener::{
    GameRead, GameReader, GameWriter, LinkGone, OpenedStream, Origin, PathNow, StreamOpener,
    WriteGone,
};
pub use totals::BridgeCounters;
// What notices and views are made of.
pub use warp_bridge_core::{Counter, Counters, Level, ReEntryLimits, StepDownReason};
pub use warp_ro_packet::{Direction, PacketClass, PacketTable};
