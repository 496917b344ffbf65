//! What the loopback bridge does with the bytes of one TCP connection of the game client.
//!
//! Pure: bytes come in as arguments, what to forward goes out through closures, facts are polled
//! as events. One [`BridgeConnection`] per TCP connection; it knows both directions.
//!
//! # Levels
//!
//! | level | client to server | server to client |
//! |---|---|---|
//! | [`Level::Assist`] | as *rewrite*; reported apart, for connections that may be given copies from other players | as *rewrite* |
//! | [`Level::Rewrite`] | whole packets, one [`ToServer`] each, with their class | announced server addresses become loopback ones |
//! | [`Level::Opaque`] | one [`ToServer`] per call, as the client wrote it | untouched |
//!
//! A level only ever steps down, for both directions at once, and each step is one
//! [`BridgeEvent::SteppedDown`] with its reason. If one direction cannot be framed, the other one
//! cannot be trusted to be either: a shield encrypts both, and waiting for the rest of a packet
//! that is none would hold bytes back.
//!
//! # What is kept
//!
//! - Concatenated, the messages for the server are the client's bytes, exactly. Concatenated, the
//!   bytes for the client are the server's, with only address fields changed. At the end of a
//!   stream, `finish_client` and `finish_server` hand out the beginning of an unfinished packet.
//! - A packet leaves as soon as its last byte is in. What waits is less than one packet, so less
//!   than 64 KiB per direction: the length field is 16 bits.
//! - Writes to the server: rAthena closes a login or map connection whose packet comes in two
//!   pieces, and a map connection whose 0436 comes together with anything else. So each framed
//!   [`ToServer`] is one write, and one with `alone` set is followed by nothing before the server
//!   has answered.
//!
//! # What the owner of a connection does
//!
//! After each call: poll events until `None`. After a `SteppedDown` to opaque: call
//! [`BridgeConnection::release_to_server`] and [`BridgeConnection::release_to_client`], because the
//! other direction may have been waiting for the rest of a packet. If a direction keeps
//! [`BridgeConnection::waiting`] bytes for seconds, it is not what the table says: step down with
//! [`StepDownReason::Stalled`].

mod connection;
mod counters;
mod event;

pub use connection::{AddressBook, BridgeConnection, ToServer};
pub use counters::{Counter, Counters, DirectionCounters};
pub use event::{BridgeEvent, Level, MAX_EVENTS, StepDownReason};
