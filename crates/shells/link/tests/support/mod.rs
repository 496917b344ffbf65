//! Two peers in one process, with signaling by function calls, and a UDP relay between them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "shared by several test programs and the probe, each of which uses a part"
)]

pub mod hub;
pub mod raw;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;
use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};
use warp_link::Carrier;
use warp_link::peer::{Answerer, LocalCandidates, Offerer, Peer, PeerConfig};

/// Loopback only, so that the tests need no network.
pub fn config() -> PeerConfig {
    PeerConfig {
        include_loopback: true,
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        ..PeerConfig::default()
    }
}

/// Two peers whose channel is open.
pub struct Pair {
    pub offerer: Offerer,
    pub answerer: Answerer,
    pub near: Carrier,
    pub far: Carrier,
}

impl Pair {
    pub async fn close(&self) {
        tokio::join!(self.offerer.close(), self.answerer.close());
    }
}

pub async fn connect() -> Pair {
    let (offerer, near_candidates) = Offerer::new(config()).await.unwrap();
    let offer = offerer.create_offer().await.unwrap();
    let (answerer, answer, far_candidates) = Answerer::accept(config(), &offer).await.unwrap();
    offerer.accept_answer(&answer).await.unwrap();
    let ((), (), near, far) = tokio::join!(
        trickle(near_candidates, &answerer),
        trickle(far_candidates, &offerer),
        offerer.opened(),
        answerer.opened(),
    );
    Pair {
        near: near.unwrap(),
        far: far.unwrap(),
        offerer,
        answerer,
    }
}

/// Carries all candidates over.
pub async fn trickle(mut candidates: LocalCandidates, to: &Peer) {
    while let Some(candidate) = candidates.next().await {
        to.add_remote_candidate(&candidate).await.unwrap();
    }
}

/// A description as a side would send it that does not know its addresses yet.
pub fn without_candidates(sdp: &str) -> String {
    sdp.split_inclusive('\n')
        .filter(|line| !line.starts_with("a=candidate:") && !line.starts_with("a=end-of-"))
        .collect()
}

/// Address and port of a candidate.
pub fn address_of(candidate: &Value) -> SocketAddr {
    let text = candidate["candidate"].as_str().unwrap();
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    format!("{}:{}", fields[4], fields[5]).parse().unwrap()
}

/// The candidate with another port.
pub fn with_port(candidate: &Value, port: u16) -> Value {
    let text = candidate["candidate"].as_str().unwrap();
    let mut fields: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
    fields[5] = port.to_string();
    let mut changed = candidate.clone();
    changed["candidate"] = fields.join(" ").into();
    changed
}

/// From this length on a datagram counts as a large one: longer than any handshake packet of one
/// flight and than any check, shorter than a full datagram.
pub const LARGE: usize = 1230;

/// What one direction of the relay saw.
#[derive(Debug, Default)]
pub struct Direction {
    /// Datagrams of at least [`LARGE`] bytes.
    pub large: AtomicU64,
    /// Those of them that were dropped.
    pub dropped: AtomicU64,
    /// Datagrams of any length that were dropped.
    pub lost: AtomicU64,
    /// The longest datagram, bytes.
    pub longest: AtomicU64,
}

/// A UDP relay between two peers, each of which sees it as the other.
pub struct Relay {
    pub from_near: Arc<Direction>,
    pub from_far: Arc<Direction>,
    /// Drop every n-th large datagram; 0 drops none.
    pub drop_every: Arc<AtomicU64>,
    /// Of a thousand datagrams of any length so many are dropped, at random.
    pub loss: Arc<AtomicU64>,
    /// Drop everything.
    pub dark: Arc<AtomicBool>,
    facing_near: Arc<UdpSocket>,
    facing_far: Arc<UdpSocket>,
    _stop: DropGuard,
}

/// The candidate, which leads to a socket of a relay instead.
fn leading_to(candidate: &Value, socket: &UdpSocket) -> Value {
    with_port(candidate, socket.local_addr().unwrap().port())
}

impl Relay {
    /// Where each peer is told that the other one is, given their candidates: for far, and for near.
    pub fn candidates(&self, near: &Value, far: &Value) -> (Value, Value) {
        (
            leading_to(near, &self.facing_far),
            leading_to(far, &self.facing_near),
        )
    }

    /// `near` and `far` are the addresses of the peers.
    pub async fn start(near: SocketAddr, far: SocketAddr) -> Self {
        Self::seeded(near, far, 1).await
    }

    /// The same; relays of different seeds lose different datagrams.
    pub async fn seeded(near: SocketAddr, far: SocketAddr, seed: u64) -> Self {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let stop = CancellationToken::new();
        let relay = Self {
            from_near: Arc::default(),
            from_far: Arc::default(),
            drop_every: Arc::default(),
            loss: Arc::default(),
            dark: Arc::default(),
            facing_near: Arc::new(bind().await.unwrap()),
            facing_far: Arc::new(bind().await.unwrap()),
            _stop: stop.clone().drop_guard(),
        };
        let (a, b) = (relay.facing_near.clone(), relay.facing_far.clone());
        let (there, back) = (relay.from_near.clone(), relay.from_far.clone());
        relay.forward((a.clone(), b.clone()), far, there, seed, &stop);
        relay.forward((b, a), near, back, seed, &stop);
        relay
    }

    fn forward(
        &self,
        (from, through): (Arc<UdpSocket>, Arc<UdpSocket>),
        to: SocketAddr,
        seen: Arc<Direction>,
        seed: u64,
        stop: &CancellationToken,
    ) {
        let (drop_every, dark) = (self.drop_every.clone(), self.dark.clone());
        let loss = self.loss.clone();
        let mut random = seed;
        let work = async move {
            let mut buffer = vec![0; 65536];
            loop {
                let Ok((len, _)) = from.recv_from(&mut buffer).await else {
                    continue;
                };
                seen.longest.fetch_max(len as u64, Ordering::Relaxed);
                // Knuth's MMIX generator; the upper bits are the good ones.
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let lost = (random >> 33) % 1000 < loss.load(Ordering::Relaxed);
                let mut keep = !dark.load(Ordering::Relaxed) && !lost;
                if len >= LARGE {
                    let number = seen.large.fetch_add(1, Ordering::Relaxed) + 1;
                    let every = drop_every.load(Ordering::Relaxed);
                    if every > 0 && number.is_multiple_of(every) {
                        keep = false;
                    }
                    if !keep {
                        seen.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                if keep {
                    let _ = through.send_to(&buffer[..len], to).await;
                } else {
                    seen.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let stop = stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(work).await });
    }
}

/// Two peers whose every packet goes through a relay.
pub async fn connect_through_relay() -> (Pair, Relay) {
    let (offerer, mut near_candidates) = Offerer::new(config()).await.unwrap();
    let offer = without_candidates(&offerer.create_offer().await.unwrap());
    let (answerer, answer, mut far_candidates) = Answerer::accept(config(), &offer).await.unwrap();
    offerer
        .accept_answer(&without_candidates(&answer))
        .await
        .unwrap();
    let near = near_candidates.next().await.unwrap();
    let far = far_candidates.next().await.unwrap();
    let relay = Relay::start(address_of(&near), address_of(&far)).await;
    let (for_far, for_near) = relay.candidates(&near, &far);
    answerer.add_remote_candidate(&for_far).await.unwrap();
    offerer.add_remote_candidate(&for_near).await.unwrap();
    let (near, far) = tokio::join!(offerer.opened(), answerer.opened());
    let pair = Pair {
        near: near.unwrap(),
        far: far.unwrap(),
        offerer,
        answerer,
    };
    (pair, relay)
}
