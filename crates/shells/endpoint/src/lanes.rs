//! The two directions of a stream.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;
use warp_link_driver::{ReadEvent, StreamReader, StreamWriter, WriteError};
use warp_protocol::stream::{Decoder, MessageFlags, encode_message, reset};

/// Most bytes that are read from a game server at once.
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
    alone: Duration,
}

impl Lanes {
    /// `alone`: how long the answer to a message that wants to be alone is waited for.
    pub(crate) fn new(alone: Duration) -> Self {
        Self {
            heard: watch::Sender::new(Heard::default()),
            split: AtomicU64::new(0),
            alone,
        }
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
        loop {
            while let Some(message) = decoder.next_message().map_err(|_| Broken::Framing)? {
                let before = self.heard.borrow().bytes;
                if self.write_whole(&server, &message.body).await.is_err() {
                    // The other direction learns from the socket how it ended.
                    reader.stop(reset::CONNECTION_RESET);
                    return Ok(UpEnd::ServerGone);
                }
                tally.add(&message.body);
                if message.flags.alone {
                    self.wait_for_answer(before).await;
                }
            }
            match reader.read().await {
                ReadEvent::Data(bytes) => decoder.push(&bytes),
                ReadEvent::Finished if decoder.buffered() > 0 => return Err(Broken::Framing),
                ReadEvent::Finished => {
                    // A server that has closed already needs no end.
                    let _ = server.shutdown().await;
                    return Ok(UpEnd::Finished);
                }
                ReadEvent::Reset(_) => return Err(Broken::Client),
                ReadEvent::Closed => return Err(Broken::Link),
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
        loop {
            tokio::select! {
                biased;
                stopped = writer.stopped() => {
                    return Err(stopped.map_or(Broken::Link, |_code| Broken::Client));
                }
                // An error shows in the read.
                _ = server.readable() => {}
            }
            match server.try_read(&mut buffer) {
                Ok(0) => {
                    self.heard.send_modify(|heard| heard.ended = true);
                    writer.finish();
                    return Ok(());
                }
                Ok(count) => {
                    let body = buffer.get(..count).unwrap_or_default();
                    self.heard.send_modify(|heard| {
                        heard.bytes = heard.bytes.saturating_add(count as u64)
                    });
                    tally.add(body);
                    let mut wire = BytesMut::new();
                    encode_message(&mut wire, body, MessageFlags::default());
                    writer
                        .write(wire.freeze())
                        .await
                        .map_err(|error| match error {
                            WriteError::Stopped(_) => Broken::Client,
                            WriteError::Closed => Broken::Link,
                        })?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.heard.send_modify(|heard| heard.ended = true);
                    return Err(Broken::Server);
                }
            }
        }
    }
}
