//! Game streams.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use warp_link_core::{ReadOutcome, StreamId, WriteOutcome};
use warp_protocol::stream::reset;

use crate::shared::{Inner, Shared};

/// Most bytes that one read yields.
pub const READ_MAX: usize = 16 * 1024;

/// What came from a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadEvent {
    /// The next bytes, 1 to [`READ_MAX`] of them.
    Data(Bytes),
    /// The other side has written everything; all was read.
    Finished,
    /// The other side broke the stream off, with this code.
    Reset(u32),
    /// The link has ended, or the stream was ended by this side.
    Closed,
}

/// A stream takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The other side does not want more, for this reason.
    #[error("the other side stopped reading the stream (code {0})")]
    Stopped(u32),
    /// The link has ended, or the stream was ended by this side.
    #[error("the stream is closed")]
    Closed,
}

/// A stream in both directions.
#[derive(Debug)]
pub struct GameStream {
    writer: StreamWriter,
    reader: StreamReader,
}

impl GameStream {
    pub(crate) fn new(shared: Arc<Shared>, id: StreamId) -> Self {
        let half = Half { shared, id };
        Self {
            writer: StreamWriter {
                half: half.clone(),
                ended: false,
            },
            reader: StreamReader { half, ended: false },
        }
    }

    /// Its number on the link, from 0; both sides see the same.
    pub fn number(&self) -> u64 {
        self.writer.half.id.index()
    }

    /// Puts the halves of one stream together again.
    pub fn join(writer: StreamWriter, reader: StreamReader) -> Self {
        Self { writer, reader }
    }

    /// Takes it apart.
    pub fn split(self) -> (StreamWriter, StreamReader) {
        (self.writer, self.reader)
    }
}

#[derive(Clone)]
struct Half {
    shared: Arc<Shared>,
    id: StreamId,
}

impl std::fmt::Debug for Half {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.id)
    }
}

impl Half {
    /// One half was dropped; `end` tells the other side if it was not told before.
    fn release(&self, end: impl FnOnce(&mut Inner)) {
        self.shared.change(|inner| {
            end(inner);
            if let Some(entry) = inner.streams.get_mut(&self.id) {
                entry.halves = entry.halves.saturating_sub(1);
                if entry.halves == 0 {
                    inner.streams.remove(&self.id);
                }
            }
        });
    }
}

/// Keeps the waker of the task that waits.
fn park(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *place = Some(cx.waker().clone()),
    }
}

/// The writing half. Dropped before it is finished or reset, it resets the stream.
#[derive(Debug)]
pub struct StreamWriter {
    half: Half,
    ended: bool,
}

impl StreamWriter {
    /// What is written from now on goes before what waits on streams of a lower priority; 0 at
    /// first.
    pub fn prioritise(&mut self, priority: i32) {
        let id = self.half.id;
        self.half
            .shared
            .with(|inner| inner.link.prioritise(id, priority));
    }

    /// Waits until the link has taken all of `data`. What was taken is sent at once.
    ///
    /// Cancelled, it may have taken a part.
    ///
    /// # Errors
    /// See [`WriteError`]; the stream takes nothing more then.
    pub async fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        let mut rest: &[u8] = &data;
        poll_fn(|cx| self.poll_write(cx, &mut rest)).await
    }

    /// Takes from `data` what the link has room for, and moves it past that; ready when all of it
    /// was taken.
    ///
    /// # Errors
    /// As [`StreamWriter::write`].
    pub fn poll_write(
        &mut self,
        cx: &Context<'_>,
        data: &mut &[u8],
    ) -> Poll<Result<(), WriteError>> {
        if self.ended {
            return Poll::Ready(Err(WriteError::Closed));
        }
        let id = self.half.id;
        let result = self.half.shared.with(|inner| {
            while !data.is_empty() {
                let stopped = inner.streams.get(&id).and_then(|entry| entry.stopped);
                if let Some(code) = stopped {
                    return Poll::Ready(Err(WriteError::Stopped(code)));
                }
                if inner.ended || inner.link.is_closed() {
                    return Poll::Ready(Err(WriteError::Closed));
                }
                match inner.link.write(id, data) {
                    WriteOutcome::Written(count) => {
                        *data = data.get(count..).unwrap_or_default();
                    }
                    WriteOutcome::Closed => return Poll::Ready(Err(WriteError::Closed)),
                    WriteOutcome::Blocked => {
                        if let Some(entry) = inner.streams.get_mut(&id) {
                            park(&mut entry.writer, cx);
                        }
                        return Poll::Pending;
                    }
                }
            }
            Poll::Ready(Ok(()))
        });
        self.half.shared.work.notify_one();
        result.unwrap_or(Poll::Ready(Err(WriteError::Closed)))
    }

    /// Waits until the other side does not want more, and says its code; `None` at the link's end.
    /// Safe to cancel.
    pub async fn stopped(&mut self) -> Option<u32> {
        poll_fn(|cx| self.poll_stopped(cx)).await
    }

    /// Ready when the other side does not want more, with its code; with `None` at the link's end.
    pub fn poll_stopped(&mut self, cx: &Context<'_>) -> Poll<Option<u32>> {
        let id = self.half.id;
        let result = self.half.shared.with(|inner| {
            let over = inner.ended || inner.link.is_closed();
            let Some(entry) = inner.streams.get_mut(&id) else {
                return Poll::Ready(None);
            };
            if entry.stopped.is_some() || over {
                return Poll::Ready(entry.stopped);
            }
            park(&mut entry.stop_watcher, cx);
            Poll::Pending
        });
        result.unwrap_or(Poll::Ready(None))
    }

    /// Nothing more will be written (half-close). What was written still arrives.
    pub fn finish(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            let id = self.half.id;
            self.half.shared.change(|inner| inner.link.finish(id));
        }
    }

    /// Breaks the stream off: what was written may not arrive. Also after [`StreamWriter::finish`].
    pub fn reset(&mut self, code: u32) {
        self.ended = true;
        let id = self.half.id;
        self.half.shared.change(|inner| inner.link.reset(id, code));
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        let (id, ended) = (self.half.id, self.ended);
        self.half.release(|inner| {
            if !ended {
                inner.link.reset(id, reset::CONNECTION_RESET);
            }
        });
    }
}

/// The reading half. Dropped before its end was read, it stops the stream.
#[derive(Debug)]
pub struct StreamReader {
    half: Half,
    ended: bool,
}

impl StreamReader {
    /// The next bytes, or the end. Bytes are taken from QUIC only here. Safe to cancel.
    pub async fn read(&mut self) -> ReadEvent {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// Ready with the next bytes, or the end; see [`StreamReader::read`].
    pub fn poll_read(&mut self, cx: &Context<'_>) -> Poll<ReadEvent> {
        if self.ended {
            return Poll::Ready(ReadEvent::Closed);
        }
        let id = self.half.id;
        let result = self.half.shared.with(|inner| {
            Poll::Ready(match inner.link.read(id, READ_MAX) {
                ReadOutcome::Data(bytes) => ReadEvent::Data(bytes),
                ReadOutcome::Finished => ReadEvent::Finished,
                ReadOutcome::Reset(code) => {
                    ReadEvent::Reset(u32::try_from(code).unwrap_or(u32::MAX))
                }
                ReadOutcome::Closed => ReadEvent::Closed,
                ReadOutcome::Blocked if inner.ended || inner.link.is_closed() => ReadEvent::Closed,
                ReadOutcome::Blocked => {
                    if let Some(entry) = inner.streams.get_mut(&id) {
                        park(&mut entry.reader, cx);
                    }
                    return Poll::Pending;
                }
            })
        });
        let event = result.unwrap_or(Poll::Ready(ReadEvent::Closed));
        if let Poll::Ready(event) = &event {
            self.ended |= !matches!(event, ReadEvent::Data(_));
            // The window that was freed, or the stream itself, has to be given back.
            self.half.shared.work.notify_one();
        }
        event
    }

    /// Tells the other side that no more is wanted, and why.
    pub fn stop(&mut self, code: u32) {
        if !std::mem::replace(&mut self.ended, true) {
            let id = self.half.id;
            self.half.shared.change(|inner| inner.link.stop(id, code));
        }
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        let (id, ended) = (self.half.id, self.ended);
        self.half.release(|inner| {
            if !ended {
                inner.link.stop(id, reset::CONNECTION_RESET);
            }
        });
    }
}
