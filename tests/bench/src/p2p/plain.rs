//! What is measured beside: raw UDP and raw TCP, and both with everything sealed by AES-256-GCM.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use bytes::{Bytes, BytesMut};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;

use super::line::Line;

/// Longest record of TCP that is sealed as one, bytes: as in TLS.
const RECORD: usize = 16 * 1024;

/// What stands before a sealed body: the counter.
const HEADER: usize = 8;

/// The nonce of a measurement: the key lives as long as the measurement, the counter as well.
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// A key that both ends have, and what was sealed with it; the two directions count apart.
struct Seal {
    key: Option<Arc<LessSafeKey>>,
    counter: u64,
}

impl Seal {
    fn pair(sealed: bool) -> Result<[Self; 2]> {
        let key = UnboundKey::new(&AES_256_GCM, &rand::random::<[u8; 32]>());
        let key = key.map_err(|_| anyhow!("the key was refused"))?;
        let key = sealed.then(|| Arc::new(LessSafeKey::new(key)));
        Ok([0, 1 << 63].map(|counter| Self {
            key: key.clone(),
            counter,
        }))
    }

    /// Counter and payload, sealed if there is a key.
    fn pack(&mut self, payload: &[u8]) -> Result<Vec<u8>> {
        let mut packet = self.counter.to_be_bytes().to_vec();
        packet.extend_from_slice(payload);
        if let Some(key) = &self.key {
            let (_, body) = packet.split_at_mut(HEADER);
            let tag = key
                .seal_in_place_separate_tag(nonce(self.counter), Aad::empty(), body)
                .map_err(|_| anyhow!("a packet was not sealed"))?;
            packet.extend_from_slice(tag.as_ref());
        }
        self.counter += 1;
        Ok(packet)
    }

    /// The payload, opened if there is a key.
    fn unpack(&self, packet: &mut [u8]) -> Result<Bytes> {
        let (counter, body) = packet
            .split_first_chunk_mut::<HEADER>()
            .ok_or_else(|| anyhow!("a packet is too short"))?;
        let Some(key) = &self.key else {
            return Ok(Bytes::copy_from_slice(body));
        };
        let opened = key
            .open_in_place(nonce(u64::from_be_bytes(*counter)), Aad::empty(), body)
            .map_err(|_| anyhow!("a packet is not genuine"))?;
        Ok(Bytes::copy_from_slice(opened))
    }
}

/// An end of two UDP sockets that know each other.
pub(super) struct Udp {
    socket: UdpSocket,
    seal: Seal,
}

impl Udp {
    pub(super) fn name(sealed: bool) -> &'static str {
        if sealed { "UDP, AES-256-GCM" } else { "UDP" }
    }

    /// The second end lives on `far`.
    pub(super) fn open(sealed: bool, far: &Handle) -> Result<(Self, Self)> {
        let sockets = [(); 2].map(|()| std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
        let [one, two] = sockets;
        let (one, two) = (one?, two?);
        one.connect(two.local_addr()?)?;
        two.connect(one.local_addr()?)?;
        one.set_nonblocking(true)?;
        two.set_nonblocking(true)?;
        let [one_seal, two_seal] = Seal::pair(sealed)?;
        let near = Self {
            socket: UdpSocket::from_std(one)?,
            seal: one_seal,
        };
        let entered = far.enter();
        let far = Self {
            socket: UdpSocket::from_std(two)?,
            seal: two_seal,
        };
        drop(entered);
        Ok((near, far))
    }
}

impl Line for Udp {
    async fn send(&mut self, frame: Bytes) -> Result<()> {
        self.socket.send(&self.seal.pack(&frame)?).await?;
        Ok(())
    }

    async fn recv(&mut self) -> Result<Bytes> {
        let mut buffer = [0; 2048];
        let length = self.socket.recv(&mut buffer).await?;
        self.seal.unpack(&mut buffer[..length])
    }
}

/// An end of a TCP connection.
pub(super) struct Tcp {
    stream: TcpStream,
    seal: Seal,
    buffer: BytesMut,
}

impl Tcp {
    pub(super) fn name(sealed: bool) -> &'static str {
        if sealed { "TCP, AES-256-GCM" } else { "TCP" }
    }

    pub(super) async fn open(sealed: bool) -> Result<(Self, Self)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let [one_seal, two_seal] = Seal::pair(sealed)?;
        let end = |stream, seal| Self {
            stream,
            seal,
            buffer: BytesMut::with_capacity(4 * RECORD),
        };
        Ok((end(near?, one_seal), end(far?.0, two_seal)))
    }
}

impl Line for Tcp {
    async fn send(&mut self, frame: Bytes) -> Result<()> {
        if self.seal.key.is_none() {
            self.stream.write_all(&frame).await?;
            return Ok(());
        }
        for record in frame.chunks(RECORD) {
            let packet = self.seal.pack(record)?;
            let length = u32::try_from(packet.len())?;
            self.stream.write_all(&length.to_be_bytes()).await?;
            self.stream.write_all(&packet).await?;
        }
        Ok(())
    }

    async fn recv(&mut self) -> Result<Bytes> {
        loop {
            if self.seal.key.is_none() {
                if !self.buffer.is_empty() {
                    return Ok(self.buffer.split().freeze());
                }
            } else if let Some(length) = self.buffer.first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                if self.buffer.len() >= 4 + length {
                    let mut record = self.buffer.split_to(4 + length);
                    return self.seal.unpack(&mut record[4..]);
                }
            }
            self.buffer.reserve(4 * RECORD);
            let read = self.stream.read_buf(&mut self.buffer).await?;
            (read > 0).then_some(()).context("the peer is gone")?;
        }
    }
}
