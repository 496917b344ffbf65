//! Carriers: the datagram pipes under the session link.
//!
//! The session link (a QUIC connection with several paths) does not know sockets. It hands datagrams
//! to carriers and takes datagrams from them. There are four kinds, and all become a [`Carrier`]:
//!
//! | kind | made by | what it is |
//! |---|---|---|
//! | WebRTC | [`peer::Offerer`], [`peer::Answerer`] | one peer connection with one unordered data channel that never retransmits |
//! | WebSocket | [`websocket::connect`]; a server uses [`Carrier::from_parts`] | one binary message per datagram, over TLS |
//! | within the program | [`Carrier::pair`] | the launcher's own endpoint, when there is no path to the zone's |
//! | inside another | [`Carrier::through`] | at the endpoint, one member's share of a host's carrier |
//!
//! What they have in common stands in [`Carrier`]: sending never waits, queues are bounded in bytes,
//! the end comes once with a [`CloseReason`]. Whether a carrier that says nothing is dead is judged
//! by the session link, which hears of it long before ICE or TCP do.

pub mod manager;
pub mod peer;
pub mod proxy;
pub mod tls;
pub mod websocket;

mod carrier;
mod pump;
mod queue;

pub use carrier::{
    Carrier, CarrierFeed, CarrierReceiver, CarrierSender, CarrierStats, CarrierUse, CloseReason,
    MAX_DATAGRAM, QUEUE_BYTES, SendRefused, WrapCarrier,
};
pub use pump::Inbound;
