//! The two directions of a stream.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use warp_link_driver::{ReadEvent, StreamReader, StreamWriter, WriteError};
use warp_protocol::stream::{Decoder, MAX_MESSAGE, MessageKind, encode_message, reset};

use crate::config::EndpointLimits;
use crate::keep_alive::KeepAlive;

/// Bytes that are read from a game server at once, unless more are there: then up to
/// [`MAX_MESSAGE`], so that one read is one message.
const READ_SIZE: usize = 16 * 1024;

/// Why a stream did not end in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The client's side reset or stopped the stream.
    Client,
    /// The server's socket was reset.
    Server,
    /// The session link has ended.
    Link,
    /// The client's side broke the framing.
    Framing,
    /// The session is over.
    SessionEnd,
}

impl Broken {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Broken::Client => "client-reset",
            Broken::Server => "server-reset",
            Broken::Link => "link-gone",
            Broken::Framing => "bad-framing",
            Broken::SessionEnd => "session-ended",
        }
    }
}

/// How the direction towards the server ended, if nothing broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpEnd {
    /// The client closed it, and all was passed on.
    Finished,
    /// The server takes no more. What it has said still goes to the client.
    ServerGone,
}

/// Bytes and digest of one direction.
pub(crate) struct Tally<'a> {
    bytes: u64,
    digest: Sha256,
    /// The session's sum.
    sum: &'a AtomicU64,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(sum: &'a AtomicU64) -> Self {
        Self {
            bytes: 0,
            digest: Sha256::new(),
            sum,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        self.bytes = self.bytes.saturating_add(count);
        self.sum.fetch_add(count, Ordering::Relaxed);
        self.digest.update(bytes);
    }

    /// Bytes, and their SHA-256 in lower-case hex.
    pub(crate) fn finish(self) -> (u64, String) {
        (self.bytes, hex::encode(self.digest.finalize()))
    }
}

/// What was heard of the server.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    bytes: u64,
    ended: bool,
}

/// What both directions of a stream share.
pub(crate) struct Lanes {
    heard: watch::Sender<Heard>,
    split: AtomicU64,
    kept_alive: AtomicU64,
    alone: Duration,
    keep_alive_after: Duration,
    keep_alive_limit: Duration,
}

impl Lanes {
    pub(crate) fn new(limits: &EndpointLimits) -> Self {
        Self {
            heard: watch::Sender::new(Heard::default()),
            split: AtomicU64::new(0),
            kept_alive: AtomicU64::new(0),
            alone: limits.alone,
            keep_alive_after: limits.keep_alive_after,
            keep_alive_limit: limits.keep_alive_limit,
        }
    }

    /// How often the kept packet was written.
    pub(crate) fn kept_alive(&self) -> u64 {
        self.kept_alive.load(Ordering::Relaxed)
    }

    /// Messages that could not be written in one piece.
    pub(crate) fn split_writes(&self) -> u64 {
        self.split.load(Ordering::Relaxed)
    }

    /// From the stream to the server. `decoder`: what was read already.
    pub(crate) async fn up(
        &self,
        reader: &mut StreamReader,
        mut decoder: Decoder,
        mut server: WriteHalf<'_>,
        tally: &mut Tally<'_>,
    ) -> Result<UpEnd, Broken> {
        // The other direction learns from the socket how it ended.
        let server_gone = |reader: &mut StreamReader| {
            reader.stop(reset::CONNECTION_RESET);
            Ok(UpEnd::ServerGone)
        };
        let (after, limit) = (self.keep_alive_after, self.keep_alive_limit);
        let mut keep = KeepAlive::new(after, limit, Instant::now());
        loop {
            while let Some(message) = decoder.next_message().map_err(|_| Broken::Framing)? {
                if message.kind == MessageKind::KeepAlive {
                    keep.keep(&message.body);
                    continue;
                }
                let before = self.heard.borrow().bytes;
                if self.write_whole(&server, &message.body).await.is_err() {
                    return server_gone(reader);
                }
                keep.client_wrote(Instant::now());
                tally.add(&message.body);
                if message.kind == MessageKind::Alone {
                    self.wait_for_answer(before).await;
                }
            }
            let due = keep.due();
            let silence = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = reader.read() => match event {
                    ReadEvent::Data(bytes) => decoder.push(&bytes),
                    ReadEvent::Finished if decoder.buffered() > 0 => return Err(Broken::Framing),
                    ReadEvent::Finished => {
                        // A server that has closed already needs no end.
                        let _ = server.shutdown().await;
                        return Ok(UpEnd::Finished);
                    }
                    ReadEvent::Reset(_) => return Err(Broken::Client),
                    ReadEvent::Closed => return Err(Broken::Link),
                },
                () = silence => {
                    if self.write_whole(&server, keep.packet()).await.is_err() {
                        return server_gone(reader);
                    }
                    keep.written(Instant::now());
                    self.kept_alive.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// One write, if the system lets us.
    async fn write_whole(&self, server: &WriteHalf<'_>, body: &[u8]) -> io::Result<()> {
        let mut rest = body;
        while !rest.is_empty() {
            server.writable().await?;
            match server.try_write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    if !rest.is_empty() {
                        self.split.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until the server has said something since, or will say nothing more.
    async fn wait_for_answer(&self, before: u64) {
        let mut heard = self.heard.subscribe();
        let answered = heard.wait_for(|heard| heard.ended || heard.bytes > before);
        if timeout(self.alone, answered).await.is_err() {
            tracing::warn!(
                after = ?self.alone,
                "the game server did not answer the packet that enters a map; going on"
            );
        }
    }

    /// From the server to the stream.
    pub(crate) async fn down(
        &self,
        server: ReadHalf<'_>,
        writer: &mut StreamWriter,
        tally: &mut Tally<'_>,
    ) -> Result<(), Broken> {
        let mut buffer = vec![0; READ_SIZE];
        let mut wire = BytesMut::new();
        loop {
            tokio::select! {
                biased;
                stopped = writer.stopped() => {
                    return Err(stopped.map_or(Broken::Link, |_code| Broken::Client));
                }
                // An error shows in the read.
                _ = server.readable() => {}
            }
            let Read { count, ended } = read_some(&server, &mut buffer);
            let body = buffer.get(..count).unwrap_or_default();
            self.heard.send_modify(|heard| {
                heard.bytes = heard.bytes.saturating_add(count as u64);
                heard.ended |= ended.is_some();
            });
            if !body.is_empty() {
                tally.add(body);
                wire.clear();
                encode_message(&mut wire, body, false);
                write(writer, &wire).await?;
            }
            match ended {
                Some(Ended::Closed) => {
                    writer.finish();
                    return Ok(());
                }
                Some(Ended::Broken) => return Err(Broken::Server),
                None => {}
            }
        }
    }
}

/// How the server's side ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Closed,
    Broken,
}

/// What one read yielded.
struct Read {
    count: usize,
    ended: Option<Ended>,
}

/// Reads all that is there, up to one message; `buffer` grows if it has to.
fn read_some(server: &ReadHalf<'_>, buffer: &mut Vec<u8>) -> Read {
    let mut count = 0;
    let ended = loop {
        let room = buffer.get_mut(count..).unwrap_or_default();
        if room.is_empty() {
            if count >= MAX_MESSAGE {
                break None;
            }
            buffer.resize(MAX_MESSAGE, 0);
            continue;
        }
        let asked = room.len();
        match server.try_read(room) {
            Ok(0) => break Some(Ended::Closed),
            Ok(more) => {
                count += more;
                if more < asked {
                    break None;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
            Err(_) => break Some(Ended::Broken),
        }
    };
    Read { count, ended }
}

async fn write(writer: &mut StreamWriter, mut data: &[u8]) -> Result<(), Broken> {
    let written = poll_fn(|cx| writer.poll_write(cx, &mut data)).await;
    written.map_err(|error| match error {
        WriteError::Stopped(_) => Broken::Client,
        WriteError::Closed => Broken::Link,
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A socket in which `bytes` wait, all of them.
    async fn waiting(bytes: &[u8]) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut far = TcpStream::connect(address).await.unwrap();
        let (near, _) = listener.accept().await.unwrap();
        far.write_all(bytes).await.unwrap();
        let mut seen = vec![0; bytes.len()];
        while near.peek(&mut seen).await.unwrap() < bytes.len() {
            tokio::task::yield_now().await;
        }
        (near, far)
    }

    #[tokio::test]
    async fn one_read_takes_what_is_there_up_to_one_message() {
        let bytes: Vec<u8> = (0..80_000_u32).map(|at| (at % 251) as u8).collect();
        for length in [1, READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 40_000] {
            let (mut near, _far) = waiting(&bytes[..length]).await;
            let (read, _) = near.split();
            let mut buffer = vec![0; READ_SIZE];
            let Read { count, ended } = read_some(&read, &mut buffer);
            assert_eq!((count, ended), (length, None));
            assert_eq!(buffer[..count], bytes[..length]);
        }
        let (mut near, _far) = waiting(&bytes).await;
        let (read, _) = near.split();
        let mut buffer = vec![0; READ_SIZE];
        assert_eq!(read_some(&read, &mut buffer).count, MAX_MESSAGE);
        assert_eq!(buffer[..], bytes[..MAX_MESSAGE]);
        let rest = read_some(&read, &mut buffer).count;
        assert_eq!(buffer[..rest], bytes[MAX_MESSAGE..]);
    }

    #[tokio::test]
    async fn what_came_before_the_end_comes_with_it() {
        let (mut near, far) = waiting(b"last words").await;
        drop(far);
        let (read, _) = near.split();
        let mut buffer = vec![0; 4];
        // The end has arrived when a longer look shows no more.
        let mut seen = Vec::new();
        let ended = loop {
            read.readable().await.unwrap();
            let Read { count, ended } = read_some(&read, &mut buffer);
            seen.extend_from_slice(&buffer[..count]);
            if ended.is_some() {
                break ended;
            }
        };
        assert_eq!(ended, Some(Ended::Closed));
        assert_eq!(seen, b"last words");
    }
}
