//! Game streams of a link, and what is shown of it.

use std::time::Instant;

use bytes::Bytes;
use noq_proto::{Dir, ReadError, ReadableError, StreamId, VarInt, WriteError};

use crate::link::Link;
use crate::view::PathView;

/// Result of a write to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// So many bytes were taken.
    Written(usize),
    /// None were taken; [`Writable`](crate::LinkEvent::Writable) will tell.
    Blocked,
    /// The stream takes no more.
    Closed,
}

/// Result of a read from a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Bytes in order.
    Data(Bytes),
    /// None now; [`Readable`](crate::LinkEvent::Readable) will tell.
    Blocked,
    /// The other side ended the stream; all was read.
    Finished,
    /// The other side reset the stream with this code.
    Reset(u64),
    /// The stream is not open.
    Closed,
}

impl Link {
    // ---- streams

    /// Opens a stream; `None` while as many are open as may be, or before the link is connected.
    pub fn open_stream(&mut self) -> Option<StreamId> {
        let (_, connection) = self.connection.as_mut()?;
        if connection.is_handshaking() {
            return None;
        }
        self.quiet = false;
        connection.streams().open(Dir::Bi)
    }

    /// Writes to a stream.
    pub fn write(&mut self, id: StreamId, data: &[u8]) -> WriteOutcome {
        let Some((_, connection)) = &mut self.connection else {
            return WriteOutcome::Closed;
        };
        self.quiet = false;
        match connection.send_stream(id).write(data) {
            Ok(count) => WriteOutcome::Written(count),
            Err(WriteError::Blocked) => WriteOutcome::Blocked,
            Err(WriteError::Stopped(_) | WriteError::ClosedStream) => WriteOutcome::Closed,
        }
    }

    /// What is written to a stream of a higher priority goes before what waits on others; streams
    /// of one priority take turns. Each side decides for what it sends; 0 at first.
    pub fn prioritise(&mut self, id: StreamId, priority: i32) {
        if let Some((_, connection)) = &mut self.connection {
            // A stream that is closed has nothing to send.
            let _ = connection.send_stream(id).set_priority(priority);
            self.quiet = false;
        }
    }

    /// Reads at most `max` bytes from a stream.
    pub fn read(&mut self, id: StreamId, max: usize) -> ReadOutcome {
        let Some((_, connection)) = &mut self.connection else {
            return ReadOutcome::Closed;
        };
        let mut stream = connection.recv_stream(id);
        let mut chunks = match stream.read(true) {
            Ok(chunks) => chunks,
            Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => {
                return ReadOutcome::Closed;
            }
        };
        let outcome = match chunks.next(max) {
            Ok(Some(chunk)) => ReadOutcome::Data(chunk.bytes),
            Ok(None) => ReadOutcome::Finished,
            Err(ReadError::Blocked) => ReadOutcome::Blocked,
            Err(ReadError::Reset(code)) => ReadOutcome::Reset(code.into_inner()),
        };
        // New window may have to be told.
        if chunks.finalize().should_transmit() {
            self.quiet = false;
        }
        outcome
    }

    /// Half-closes a stream: no more will be written.
    pub fn finish(&mut self, id: StreamId) {
        if let Some((_, connection)) = &mut self.connection {
            // Stopped or closed already: nothing is left to finish.
            let _ = connection.send_stream(id).finish();
            self.quiet = false;
        }
    }

    /// Breaks off what was written to a stream.
    pub fn reset(&mut self, id: StreamId, code: u32) {
        if let Some((_, connection)) = &mut self.connection {
            let _ = connection.send_stream(id).reset(VarInt::from_u32(code));
            self.quiet = false;
        }
    }

    /// Tells the other side that no more of a stream is wanted.
    pub fn stop(&mut self, id: StreamId, code: u32) {
        if let Some((_, connection)) = &mut self.connection {
            let _ = connection.recv_stream(id).stop(VarInt::from_u32(code));
            self.quiet = false;
        }
    }

    // ---- views

    /// Every path as it is shown.
    pub fn paths(&mut self, now: Instant) -> Vec<PathView> {
        let Some((_, connection)) = &mut self.connection else {
            return Vec::new();
        };
        let stats: Vec<_> = self
            .books
            .keys()
            .map(|id| connection.path_stats(*id).unwrap_or_default())
            .collect();
        self.books
            .values()
            .zip(&stats)
            .map(|(book, stats)| self.view_of(book, stats, now))
            .collect()
    }

    /// Datagrams that were refused: not authentic, replayed, or not understood. The copies that the
    /// other side sends on purpose are not among them.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Datagrams that this side sent a second time.
    pub fn sent_twice(&self) -> u64 {
        self.duplicated
    }

    /// Datagrams that were sent a second time, by this side and, as far as it has told, by the other.
    pub fn duplicated(&self) -> u64 {
        self.duplicated.saturating_add(self.sent_twice_there)
    }

    /// True when the link has ended.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// True when nothing more has to be sent for a closed link.
    pub fn is_drained(&self) -> bool {
        self.connection
            .as_ref()
            .is_none_or(|(_, connection)| connection.is_drained())
    }
}
