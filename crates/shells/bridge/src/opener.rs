//! What the bridge needs of the session link.

use async_trait::async_trait;
use bytes::Bytes;
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
#[async_trait]
pub trait GameWriter: Send {
    /// Waits until the link has taken all of `data`.
    async fn write(&mut self, data: Bytes) -> Result<(), WriteGone>;
    /// Waits until the endpoint does not want more; `None` at the link's end. Must be safe to cancel.
    async fn stopped(&mut self) -> Option<u32>;
    /// Nothing more will be written.
    fn finish(&mut self);
    /// Breaks the stream off.
    fn reset(&mut self, code: u32);
}

/// The reading half of a game stream. Dropped before its end, it must stop the stream.
#[async_trait]
pub trait GameReader: Send {
    /// The next bytes, or the end. Must be safe to cancel.
    async fn read(&mut self) -> GameRead;
    /// No more is wanted.
    fn stop(&mut self, code: u32);
}

/// A stream, nothing written or read yet.
pub struct OpenedStream {
    /// Towards the endpoint.
    pub writer: Box<dyn GameWriter>,
    /// From the endpoint.
    pub reader: Box<dyn GameReader>,
}

/// Opens game streams.
#[async_trait]
pub trait StreamOpener: Send + Sync + 'static {
    /// Opens a stream for a connection to the server that `request` names; waits while the link is
    /// not connected. It does not write the request. Dropped when the client gives up.
    async fn open(&self, request: &OpenRequest) -> Result<OpenedStream, LinkGone>;
}
