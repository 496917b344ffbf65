//! Peer managers in one process, with signaling by queues; with a relay between each two of them where
//! that is wanted.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;
use warp_link::manager::trust::SignedSignal;
use warp_link::manager::{ManagerConfig, NamedSignal, PeerEvent, PeerManager};
use warp_link::peer::{Channels, PeerConfig, SelectedPair};
use warp_peer_core::{AttemptId, PeerState, RefusalCode, Signal};

use super::{Relay, address_of, without_candidates};

/// Carries signals between managers by their names.
#[derive(Clone, Default)]
pub struct Hub {
    inboxes: Arc<Mutex<HashMap<String, mpsc::Sender<NamedSignal>>>>,
    relayed: bool,
    between: Arc<tokio::sync::Mutex<HashMap<Round, Between>>>,
    /// What a signaling that lies does with what it carries.
    lie: Arc<Mutex<Option<Lie>>>,
}

/// Of a pair, an attempt and its round.
type Round = (String, AttemptId, u32);

type Lie = Box<dyn Fn(&mut SignedSignal) + Send>;

/// The two sides of an attempt's round.
#[derive(Default)]
struct Between {
    /// The first candidate of each, by name.
    candidates: Vec<(String, Value)>,
    relay: Option<Relay>,
}

/// A manager with its events.
pub struct Node {
    pub name: String,
    pub manager: PeerManager,
    pub events: mpsc::Receiver<PeerEvent>,
}

/// Loopback only.
pub fn config(name: &str, max_peers: usize) -> ManagerConfig {
    ManagerConfig {
        max_peers,
        peer: PeerConfig {
            include_loopback: true,
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            ..PeerConfig::default()
        },
        ..ManagerConfig::new(name)
    }
}

impl Hub {
    /// With relays.
    pub fn relayed() -> Self {
        Self {
            relayed: true,
            ..Self::default()
        }
    }

    /// From now on signaling does this to all that it carries.
    pub fn lie(&self, lie: impl Fn(&mut SignedSignal) + Send + 'static) {
        *self.lie.lock() = Some(Box::new(lie));
    }

    /// From now on the relays lose so many of a thousand datagrams.
    pub async fn lose(&self, loss: u64) {
        let between = self.between.lock().await;
        for relay in between.values().filter_map(|one| one.relay.as_ref()) {
            relay.loss.store(loss, Ordering::Relaxed);
        }
    }

    /// How many datagrams the relays have lost.
    pub async fn lost(&self) -> u64 {
        let between = self.between.lock().await;
        let relays = between
            .values()
            .filter_map(|between| between.relay.as_ref());
        relays
            .flat_map(|relay| [&relay.from_near, &relay.from_far])
            .map(|direction| direction.lost.load(Ordering::Relaxed))
            .sum()
    }

    /// Carries a signal, by way of a relay where there are relays.
    async fn carry(&self, from: &str, to: &str, mut said: SignedSignal) {
        if let Some(lie) = &*self.lie.lock() {
            lie(&mut said);
        }
        if !self.relayed {
            return self.deliver(from, to, said);
        }
        match said.signal {
            Signal::Offer { ref mut sdp, .. }
            | Signal::Answer { ref mut sdp, .. }
            | Signal::Restart { ref mut sdp, .. }
            | Signal::Restarted { ref mut sdp, .. } => {
                *sdp = without_candidates(sdp);
                self.deliver(from, to, said);
            }
            Signal::Candidate {
                id,
                round,
                candidate,
            } => {
                let mut all = self.between.lock().await;
                let seed = all.len() as u64 + 1;
                // Attempts of different pairs may have one id.
                let pair = format!("{} {}", from.min(to), from.max(to));
                let between = all.entry((pair, id, round)).or_default();
                let candidate = serde_json::from_str(&candidate).unwrap();
                between.candidates.push((from.to_owned(), candidate));
                let [(near, of_near), (far, of_far)] = &between.candidates[..] else {
                    return;
                };
                assert!(*near != *far, "loopback is one address");
                let (near_at, far_at) = (address_of(of_near), address_of(of_far));
                let relay = Relay::seeded(near_at, far_at, seed).await;
                let (for_far, for_near) = relay.candidates(of_near, of_far);
                for (from, to, candidate) in [(near, far, for_far), (far, near, for_near)] {
                    let candidate = candidate.to_string();
                    let signal = Signal::Candidate {
                        id,
                        round,
                        candidate,
                    };
                    self.deliver(from, to, signal);
                }
                between.relay = Some(relay);
            }
            Signal::Refuse { .. } | Signal::WantRestart { .. } => self.deliver(from, to, said),
        }
    }

    /// A manager that the others can reach; one of the same name before is reached no more.
    pub fn node(&self, config: ManagerConfig) -> Node {
        let name = config.local.clone();
        let (inbox, inbound) = mpsc::channel(1024);
        let (outbound, mut outbox) = mpsc::channel::<NamedSignal>(1024);
        self.inboxes.lock().insert(name.clone(), inbox);
        let (manager, events) = PeerManager::start(config, inbound, outbound);
        let (hub, from) = (self.clone(), name.clone());
        tokio::spawn(async move {
            while let Some((to, signal)) = outbox.recv().await {
                hub.carry(&from, &to, signal).await;
            }
        });
        Node {
            name,
            manager,
            events,
        }
    }

    /// Signals as somebody.
    pub fn deliver(&self, from: &str, to: &str, said: impl Into<SignedSignal>) {
        if let Some(inbox) = self.inboxes.lock().get(to) {
            let _ = inbox.try_send((from.to_owned(), said.into()));
        }
    }
}

impl Node {
    /// The next open connection, with the name of its peer.
    pub async fn open(&mut self) -> (String, Channels) {
        loop {
            match self.events.recv().await.expect("the manager runs") {
                PeerEvent::Open { peer, channels, .. } => return (peer, channels),
                _ => continue,
            }
        }
    }

    /// Waits until a peer refuses.
    pub async fn refused(&mut self) -> (String, RefusalCode) {
        loop {
            match self.events.recv().await.expect("the manager runs") {
                PeerEvent::Refused { peer, code } => return (peer, code),
                PeerEvent::Open { peer, .. } => panic!("{peer} took the connection"),
                PeerEvent::State { .. } | PeerEvent::Moved { .. } => continue,
            }
        }
    }

    /// Waits until the channels of a peer go another way.
    pub async fn moved(&mut self) -> SelectedPair {
        loop {
            match self.events.recv().await.expect("the manager runs") {
                PeerEvent::Moved { way, .. } => return way.expect("it is in use"),
                PeerEvent::Open { peer, .. } => panic!("another connection with {peer}"),
                _ => continue,
            }
        }
    }

    /// Waits until a peer stands somewhere.
    pub async fn state(&mut self, wanted: PeerState) {
        loop {
            match self.events.recv().await.expect("the manager runs") {
                PeerEvent::State { state, .. } if state == wanted => return,
                _ => continue,
            }
        }
    }
}
