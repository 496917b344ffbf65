//! What is measured beside: raw UDP, and raw UDP with every packet sealed by AES-256-GCM.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use tokio::net::UdpSocket;

/// After this long a packet was lost; none is on the loopback, unless a queue overflows.
const LOST: Duration = Duration::from_millis(200);

/// Two sockets that know each other, and perhaps a key.
pub(crate) struct Plain {
    near: UdpSocket,
    far: UdpSocket,
    key: Option<LessSafeKey>,
}

/// The nonce of a measurement: the key lives as long as the measurement, the counter as well.
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl Plain {
    pub(crate) fn name(sealed: bool) -> &'static str {
        if sealed { "UDP, AES-256-GCM" } else { "UDP" }
    }

    pub(crate) async fn open(sealed: bool) -> Result<Self> {
        let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        near.connect(far.local_addr()?).await?;
        far.connect(near.local_addr()?).await?;
        let key = UnboundKey::new(&AES_256_GCM, &rand::random::<[u8; 32]>());
        let key = key.map_err(|_| anyhow!("the key was refused"))?;
        Ok(Self {
            near,
            far,
            key: sealed.then(|| LessSafeKey::new(key)),
        })
    }

    /// Counter and payload, sealed if there is a key.
    fn pack(&self, counter: u64, payload: &[u8]) -> Result<Vec<u8>> {
        let mut body = payload.to_vec();
        if let Some(key) = &self.key {
            key.seal_in_place_append_tag(nonce(counter), Aad::empty(), &mut body)
                .map_err(|_| anyhow!("a packet was not sealed"))?;
        }
        let mut packet = counter.to_be_bytes().to_vec();
        packet.append(&mut body);
        Ok(packet)
    }

    /// Opens a packet if there is a key.
    fn unpack(&self, packet: &mut [u8]) -> Result<()> {
        let (counter, body) = packet
            .split_first_chunk_mut::<8>()
            .ok_or_else(|| anyhow!("a packet is too short"))?;
        if let Some(key) = &self.key {
            key.open_in_place(nonce(u64::from_be_bytes(*counter)), Aad::empty(), body)
                .map_err(|_| anyhow!("a packet is not genuine"))?;
        }
        Ok(())
    }

    /// A packet of 20 bytes there and back, one at a time, at a steady pace.
    pub(crate) async fn round_trips(
        &self,
        period: Duration,
        span: Duration,
    ) -> Result<Vec<Duration>> {
        let echo = async {
            let mut buffer = [0; 2048];
            // Counters of the way back begin where those of the way there never come to.
            for counter in 1 << 63.. {
                let length = self.far.recv(&mut buffer).await?;
                self.unpack(&mut buffer[..length])?;
                self.far.send(&self.pack(counter, &[7; 20])?).await?;
            }
            anyhow::Ok(Vec::new())
        };
        let ask = async {
            let mut times = Vec::new();
            let mut clock = tokio::time::interval(period);
            let mut buffer = [0; 2048];
            let until = Instant::now() + span;
            while Instant::now() < until {
                clock.tick().await;
                let begun = Instant::now();
                self.near
                    .send(&self.pack(times.len() as u64, &[7; 20])?)
                    .await?;
                let length = tokio::time::timeout(LOST, self.near.recv(&mut buffer)).await??;
                self.unpack(&mut buffer[..length])?;
                times.push(begun.elapsed());
            }
            anyhow::Ok(times)
        };
        tokio::select! {
            times = ask => times,
            none = echo => none,
        }
    }

    /// As many packets of 100 bytes as go; counts those that arrive within the time.
    pub(crate) async fn flood(self, span: Duration) -> Result<u64> {
        let this = std::sync::Arc::new(self);
        let sender = tokio::spawn({
            let this = this.clone();
            async move {
                for counter in 0.. {
                    let Ok(packet) = this.pack(counter, &[7; 100]) else {
                        return;
                    };
                    if this.near.send(&packet).await.is_err() {
                        return;
                    }
                }
            }
        });
        let mut arrived = 0;
        let receive = async {
            let mut buffer = [0; 2048];
            loop {
                let length = this.far.recv(&mut buffer).await?;
                this.unpack(&mut buffer[..length])?;
                arrived += 1;
            }
        };
        let outcome: std::result::Result<Result<()>, _> = tokio::time::timeout(span, receive).await;
        sender.abort();
        match outcome {
            // The time is the end of it.
            Err(_) => Ok(arrived),
            Ok(failed) => failed.map(|()| arrived),
        }
    }
}
