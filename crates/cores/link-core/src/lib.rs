//! The session link: one end-to-end QUIC connection between engine and endpoint, with a path for
//! every carrier, and the policy that decides which path carries the game.
//!
//! # Rules
//! * No IO and no clock: [`Link`] is fed datagrams and the time, and is drained of datagrams,
//!   events and its next deadline. After every `handle_*`, stream or command call, drain
//!   [`Link::poll_transmit`] and [`Link::poll_event`] until they are empty, then sleep until
//!   [`Link::poll_timeout`].
//! * To QUIC a path is a made-up address. Which carrier takes a datagram is decided here, so a
//!   datagram names its path in a [label](warp_protocol::carrier) and any carrier can carry it.
//! * Exactly one path is *available*, all others are *backup*. The engine's side decides; the
//!   endpoint's side follows the status that it is told, unless it hears nothing on a path at all:
//!   then it says so by marking that path backup, and the engine moves.
//! * What a carrier is like is measured by its own datagrams, copies included, and each direction by
//!   the side that it leads to; the endpoint's side tells what it measured (`flow`, `measure`). What
//!   is not measured is `None`.
//! * TLS 1.3 with AES-256-GCM only, both sides prove the Ed25519 key that the coordinator named
//!   (raw public keys, RFC 7250). There is no other way to a connection. Whose key that is says a
//!   certificate of the coordinator, which is checked before the link is set up ([`Trust`]).
//!
//! # Numbers ([`LinkConfig`])
//! | what | default | source |
//! |---|---|---|
//! | heartbeat on every path, all at once | 250 ms | architecture: silence must be noticed below 1 s |
//! | silence that moves the game | 3 heartbeats | one lost heartbeat is noise, three are not |
//! | suspicion | 0.9 probe timeouts (RFC 9002 6.2.1), at least 30 ms | so that QUIC's own probe leaves over the standby too |
//! | proving, first time / after a failure | 0.3 s / 3 s | a flapping path must not flap the game |
//! | hold time without any path | 30 s | how long the game's sockets stay open |
//! | new keys | 3600 s, or 2^20 packets of one side, or on demand; 5 s after the last were acknowledged | the `keys` module |
//! | given up | 2.5 s of silence | SCTP backs off: after 1.5 s of silence its first packet took 1.5 s, after 4 s 3 s; a new carrier is quicker |
//! | report of the endpoint | 1 s | as often as figures are shown at most |
//! | stream / session window | 64 KiB / 2 MiB | game traffic is a few kB a second; 32 streams that nobody reads fit the session window, so they block no other |

mod acks;
mod books;
pub mod choice;
mod config;
mod copies;
pub mod descriptions;
mod flow;
mod identity;
mod keys;
mod kinds;
mod link;
mod measure;
mod packets;
mod paths;
mod policy;
pub mod quality;
mod recent;
mod setup;
mod state;
mod streams;
mod tls;
mod told;
mod trust;
pub mod view;

pub use config::{LinkConfig, Redundancy};
pub use identity::{Identity, IdentityError, verify};
pub use link::{CloseReason, Link, LinkError, LinkEvent, Outgoing};
pub use noq_proto::StreamId;
pub use state::State;
pub use streams::{ReadOutcome, WriteOutcome};
pub use trust::{Holder, Trust};
