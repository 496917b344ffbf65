//! Runs a session link: one [`Link`](warp_link_core::Link), its carriers, and the game streams on it.
//!
//! # How it works
//! * One task per link. A turn of it takes everything that has come in, then drains every datagram
//!   and event that the link has to say, with one reading of the clock, and sleeps until the link's
//!   next deadline.
//! * Handles change the link in place, under its lock, and wake the task, which sends what came of
//!   it. So there is no queue of commands or stream bytes that could grow: a write waits until QUIC's
//!   window takes it, and bytes are read from QUIC only when the reader of the stream asks, so that
//!   QUIC's flow control pushes back to whoever sends them.
//! * Nobody makes the task wait: a full carrier loses the datagram (QUIC sends it again), and a slow
//!   listener loses the oldest notices and is told how many. The present state is always right in
//!   [`LinkHandle::status`].
//!
//! [`Answering`] answers the WebRTC offers of a room, and checks and signs what has to be.
//!
//! # Bounds
//! | what | bound | when full |
//! |---|---|---|
//! | datagrams taken per carrier and turn | [`BATCH`] | the rest waits in the carrier's queue |
//! | notices per listener | [`NOTICES`] | the oldest are lost, [`LinkNotice::Missed`] tells how many |
//! | carriers that wait to be taken in | one of each kind | the newest replaces the older |
//! | streams that wait in [`IncomingStreams`] | the link's `max_streams` | QUIC admits no more |
//! | bytes on a stream | the link's windows | writers wait |
//!
//! # The end
//! A link ends when either side closes it, when it is lost, when its last [`LinkHandle`] is dropped
//! (with code 0), or when the task itself fails ([`LinkEnd::Fault`]). Every handle then says so.
//! What had arrived on a stream can still be read. The task lingers for at most [`LINGER`] to see its
//! farewell off; [`LinkHandle::gone`] waits for that.

mod answering;
mod driver;
mod handle;
mod notice;
mod shared;
mod stream;

pub use answering::{Answering, Room, RoomKeys};
pub use driver::{BATCH, LINGER};
pub use handle::{IncomingStreams, LinkCounters, LinkHandle, spawn};
pub use notice::{LinkEnd, LinkNotice, LinkNotices, LinkStatus, NOTICES};
pub use stream::{GameStream, READ_MAX, ReadEvent, StreamReader, StreamWriter, WriteError};
