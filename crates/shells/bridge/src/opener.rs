//! What the bridge needs of the session link.
//!
//! The halves of a stream are polled instead of awaited, so that a packet costs no allocation: a
//! future behind a `dyn` trait would have to be boxed.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use warp_bridge_core::Level;
use warp_protocol::carrier::PathKind;
use warp_protocol::stream::OpenRequest;

/// The session link has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session link has ended")]
pub struct LinkGone;

/// A stream takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteGone {
    /// The endpoint does not want more, for this reason ([`warp_protocol::stream::reset`]).
    #[error("the endpoint stopped reading the stream (code {0})")]
    Stopped(u32),
    /// The link has ended.
    #[error("the stream is closed")]
    Closed,
}

/// What came from a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GameRead {
    /// The next bytes, at least one.
    Data(Bytes),
    /// The endpoint has written everything; all was read.
    Finished,
    /// The endpoint broke the stream off, with this code.
    Reset(u32),
    /// The link has ended.
    Closed,
}

/// The writing half of a game stream. Dropped before it is finished, it must reset the stream.
pub trait GameWriter: Send {
    /// Takes from `data` what the link has room for, and moves it past that; ready when all of it
    /// was taken.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &mut &[u8])
    -> Poll<Result<(), WriteGone>>;
    /// Ready when the endpoint does not want more, with its code; with `None` at the link's end.
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<Option<u32>>;
    /// Nothing more will be written.
    fn finish(&mut self);
    /// Breaks the stream off.
    fn reset(&mut self, code: u32);
}

/// The reading half of a game stream. Dropped before its end, it must stop the stream.
pub trait GameReader: Send {
    /// The next bytes, or the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<GameRead>;
    /// No more is wanted.
    fn stop(&mut self, code: u32);
}

/// Waits until the link has taken all of `data`.
pub(crate) async fn write(writer: &mut dyn GameWriter, mut data: &[u8]) -> Result<(), WriteGone> {
    poll_fn(|cx| writer.poll_write(cx, &mut data)).await
}

/// Waits for the next bytes, or the end. Safe to cancel.
pub(crate) async fn read(reader: &mut dyn GameReader) -> GameRead {
    poll_fn(|cx| reader.poll_read(cx)).await
}

/// Waits until the endpoint does not want more. Safe to cancel.
pub(crate) async fn stopped(writer: &mut dyn GameWriter) -> Option<u32> {
    poll_fn(|cx| writer.poll_stopped(cx)).await
}

/// The path that carries a stream now; `None` while there is none.
pub type PathNow = Arc<dyn Fn() -> Option<PathKind> + Send + Sync>;

/// A stream, nothing written or read yet.
pub struct OpenedStream {
    /// Towards the endpoint.
    pub writer: Box<dyn GameWriter>,
    /// From the endpoint.
    pub reader: Box<dyn GameReader>,
    /// Asked for every read of the client and the server; must not wait.
    pub path: PathNow,
    /// Read the connection no further than this: the level of the zone whose link carries it.
    pub at_most: Level,
}

/// Where a connection belongs, as far as that is known when its stream is opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The game client, see [`crate::BridgeNotice::ClientSeen`]; `None` on opaque connections, and
    /// where the client had not said who it is in time.
    pub client: Option<u64>,
    /// The map that the client enters, without `.gat`: on map connections, the one that was
    /// announced to it with this server.
    pub map: Option<String>,
}

/// Opens game streams.
#[async_trait]
pub trait StreamOpener: Send + Sync + 'static {
    /// Opens a stream for a connection to the server that `request` names; waits while the link is
    /// not connected. It does not write the request. Dropped when the client gives up.
    async fn open(&self, request: &OpenRequest, origin: &Origin) -> Result<OpenedStream, LinkGone>;
}
