//! What was read from a client's socket and not handed on yet.

use std::io;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use warp_protocol::stream::MAX_MESSAGE;

/// Most bytes that wait: what fits in one message, so that one read is one message.
const ROOM: usize = MAX_MESSAGE;
/// Most reads whose borders are kept; what comes later counts to the last one.
const BORDERS: usize = 64;

/// Bytes with the borders of the reads that they came in. On an opaque connection one read is one
/// write at the endpoint.
#[derive(Default)]
pub(crate) struct Reads {
    bytes: BytesMut,
    ends: Vec<usize>,
}

impl Reads {
    /// Reads what is there; 0 at the end of the stream. There must be [room](Reads::is_full). Safe
    /// to cancel.
    pub(crate) async fn read(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<usize> {
        let room = ROOM.saturating_sub(self.bytes.len());
        self.bytes.reserve(room);
        let count = socket.read_buf(&mut (&mut self.bytes).limit(room)).await?;
        if count > 0 {
            if self.ends.len() >= BORDERS {
                self.ends.pop();
            }
            self.ends.push(self.bytes.len());
        }
        Ok(count)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= ROOM
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of each read, in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().filter_map(move |&end| {
            let piece = self.bytes.get(start..end);
            start = end;
            piece
        })
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(reads: &mut Reads, pieces: &[&[u8]]) {
        for piece in pieces {
            let mut piece = *piece;
            while !piece.is_empty() {
                assert!(reads.read(&mut piece).await.unwrap() > 0);
            }
        }
    }

    #[tokio::test]
    async fn each_read_is_a_piece() {
        let mut reads = Reads::default();
        read_all(&mut reads, &[b"one", b"two and", b"3"]).await;
        let pieces: Vec<&[u8]> = reads.pieces().collect();
        assert_eq!(pieces, [&b"one"[..], b"two and", b"3"]);
        assert_eq!(reads.bytes(), b"onetwo and3");
        assert_eq!(reads.read(&mut &b""[..]).await.unwrap(), 0);
        assert_eq!(reads.pieces().count(), 3);
        reads.clear();
        assert!(reads.is_empty());
        assert_eq!(reads.pieces().count(), 0);
    }

    #[tokio::test]
    async fn no_byte_is_lost_when_there_are_many_reads() {
        let mut reads = Reads::default();
        read_all(&mut reads, &[&b"x"[..]; 200]).await;
        assert_eq!(reads.pieces().count(), BORDERS);
        assert_eq!(reads.pieces().map(<[u8]>::len).sum::<usize>(), 200);
    }

    #[tokio::test]
    async fn it_takes_no_more_than_one_message() {
        let mut reads = Reads::default();
        let mut much = &vec![7; ROOM + 10][..];
        while !reads.is_full() {
            reads.read(&mut much).await.unwrap();
        }
        assert_eq!(reads.bytes().len(), ROOM);
        assert_eq!(much.len(), 10);
    }
}
