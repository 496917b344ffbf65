//! A connection to one server: one write per packet, frames out of whatever arrives.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use warp_ro_packet::Role;

use super::{ClientError, Deviation, DeviationCode};
use crate::report::{ConnectionReport, role_name};
use crate::wire::shield::{Opener, Sealer, Way};
use crate::wire::{Cutter, Dialect, Head, StreamDigest, id_of};

/// The most that is read at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// A connection of the client.
pub(super) struct Socket {
    pub(super) role: Role,
    /// The key of its report, known once the session numbers are.
    pub(super) key: String,
    stream: TcpStream,
    /// Gives what is sent the ids that it travels with.
    sending: Cutter,
    receiving: Cutter,
    shield: Option<(Sealer, Opener)>,
    /// Received and not yet taken: at most one packet's part beside the last read.
    received: Vec<u8>,
    chunk: Vec<u8>,
    c2s: StreamDigest,
    s2c: StreamDigest,
    timeout: Duration,
}

impl Socket {
    pub(super) async fn connect(
        role: Role,
        address: SocketAddr,
        dialect: &Dialect,
        shield: bool,
        limit: Duration,
    ) -> Result<Self, ClientError> {
        let stream = timeout(limit, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()))
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| ClientError::Connect {
                role,
                address,
                source,
            })?;
        let (raw, sending) = match role {
            Role::Login => (0, dialect.cutter()),
            Role::Char => (4, dialect.cutter()),
            Role::Map => (0, dialect.map_cutter()),
        };
        let shield = shield && role == Role::Map;
        let (c2s, s2c) = if shield {
            (
                StreamDigest::of_records(dialect),
                StreamDigest::of_records(dialect),
            )
        } else {
            (
                StreamDigest::new(dialect, sending.clone(), 0),
                StreamDigest::new(dialect, dialect.cutter(), raw),
            )
        };
        Ok(Self {
            role,
            key: String::new(),
            stream,
            sending,
            receiving: dialect.cutter(),
            shield: shield.then(|| (Sealer::new(Way::ToServer), Opener::new(Way::ToClient))),
            received: Vec::new(),
            chunk: vec![0; CHUNK],
            c2s,
            s2c,
            timeout: limit,
        })
    }

    /// Bytes sent and received so far.
    pub(super) fn traffic(&self) -> (u64, u64) {
        (self.c2s.bytes(), self.s2c.bytes())
    }

    fn lost(&self, what: &str) -> Deviation {
        let message = format!("{} connection {what}", role_name(self.role));
        Deviation::new(DeviationCode::ConnectionLost, message)
    }

    /// Sends one packet with one write (more only if the system takes a part of it).
    pub(super) async fn send(&mut self, packet: &[u8]) -> Result<(), Deviation> {
        let mut wire = self.sending.pass(packet);
        if let Some((sealer, _)) = &mut self.shield {
            // No packet of a client is longer than a record.
            wire = Cow::Owned(sealer.seal(&mut wire.into_owned()));
        }
        let sending = timeout(self.timeout, self.stream.write_all(&wire)).await;
        match sending {
            Ok(Ok(())) => {
                self.c2s.feed(&wire);
                if self.shield.is_some() {
                    self.c2s.count();
                }
                Ok(())
            }
            Ok(Err(error)) => Err(self.lost(&format!("broke while sending: {error}"))),
            Err(_late) => Err(Deviation::new(
                DeviationCode::AnswerMissing,
                format!(
                    "the {} server did not take a packet in time",
                    role_name(self.role)
                ),
            )),
        }
    }

    /// The next bytes that are no packet: the char server's account id. Cancel safe.
    pub(super) async fn raw<const N: usize>(&mut self) -> Result<[u8; N], Deviation> {
        loop {
            if let Some((bytes, rest)) = self.received.split_first_chunk::<N>() {
                let (bytes, rest) = (*bytes, rest.to_vec());
                self.received = rest;
                return Ok(bytes);
            }
            if !self.read().await? {
                return Err(self.lost("was closed by the server"));
            }
        }
    }

    /// The next packet. Cancel safe.
    pub(super) async fn frame(&mut self) -> Result<Vec<u8>, Deviation> {
        match self.frame_or_end().await? {
            Some(frame) => Ok(frame),
            None => Err(self.lost("was closed by the server")),
        }
    }

    /// The next packet, or `None` at the end of the stream. Cancel safe.
    async fn frame_or_end(&mut self) -> Result<Option<Vec<u8>>, Deviation> {
        loop {
            match self.receiving.head(&self.received) {
                Head::Whole(length) => {
                    let rest = self.received.split_off(length);
                    return Ok(Some(std::mem::replace(&mut self.received, rest)));
                }
                Head::Unsure | Head::Part(_) => {}
                Head::Unknown(id) => {
                    let message = format!(
                        "the {} server sent {id:04X}, which is no packet of this version",
                        role_name(self.role)
                    );
                    return Err(Deviation::new(DeviationCode::BrokenFrame, message));
                }
                Head::BadLength(id) => {
                    let message = format!(
                        "the {} server sent {id:04X} with an impossible length",
                        role_name(self.role)
                    );
                    return Err(Deviation::new(DeviationCode::BrokenFrame, message));
                }
            }
            if !self.read().await? {
                if let Some((_, opener)) = &self.shield
                    && !opener.at_border()
                {
                    return Err(self.lost("ended inside of a record of the shield"));
                }
                return match id_of(&self.received) {
                    None if self.received.is_empty() => Ok(None),
                    id => {
                        let id = id.unwrap_or_default();
                        Err(self.lost(&format!("ended inside of packet {id:04X}")))
                    }
                };
            }
        }
    }

    /// One read; `false` at the end of the stream.
    async fn read(&mut self) -> Result<bool, Deviation> {
        loop {
            let result = match self.stream.readable().await {
                Ok(()) => self.stream.try_read(&mut self.chunk),
                Err(error) => Err(error),
            };
            match result {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    let bytes = self.chunk.get(..count).unwrap_or(&[]);
                    self.s2c.feed(bytes);
                    match &mut self.shield {
                        None => self.received.extend_from_slice(bytes),
                        Some((_, opener)) => {
                            opener.read(bytes);
                            while let Some(record) = opener.record() {
                                self.s2c.count();
                                self.received.extend_from_slice(&record);
                            }
                        }
                    }
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.lost(&format!("broke: {error}"))),
            }
        }
    }

    /// Closes the sending side and takes what still comes, to the end of the stream.
    pub(super) async fn close(
        &mut self,
        mut leftover: impl FnMut(&[u8]) -> Result<(), Deviation>,
    ) -> Result<(), Deviation> {
        if let Err(error) = self.stream.shutdown().await {
            return Err(self.lost(&format!("broke while closing: {error}")));
        }
        let deadline = Instant::now() + self.timeout;
        loop {
            match tokio::time::timeout_at(deadline, self.frame_or_end()).await {
                Ok(Ok(Some(frame))) => leftover(&frame)?,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(deviation)) => return Err(deviation),
                Err(_late) => {
                    let message = format!(
                        "the {} server did not close its side in time",
                        role_name(self.role)
                    );
                    return Err(Deviation::new(DeviationCode::NotClosed, message));
                }
            }
        }
    }

    pub(super) fn report(self, reason: &str) -> ConnectionReport {
        ConnectionReport {
            role: self.role,
            key: self.key,
            reason: reason.to_owned(),
            c2s: self.c2s.finish(),
            s2c: self.s2c.finish(),
        }
    }
}
