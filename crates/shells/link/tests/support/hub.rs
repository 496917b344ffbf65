//! Peer managers in one process, with signaling by queues.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use warp_link::manager::{ManagerConfig, NamedSignal, PeerEvent, PeerManager};
use warp_link::peer::{Channels, PeerConfig};
use warp_peer_core::{PeerState, RefusalCode, Signal};

/// Carries signals between managers by their names.
#[derive(Clone, Default)]
pub struct Hub {
    inboxes: Arc<Mutex<HashMap<String, mpsc::Sender<NamedSignal>>>>,
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
                hub.deliver(&from, &to, signal);
            }
        });
        Node {
            name,
            manager,
            events,
        }
    }

    /// Signals as somebody.
    pub fn deliver(&self, from: &str, to: &str, signal: Signal) {
        if let Some(inbox) = self.inboxes.lock().get(to) {
            let _ = inbox.try_send((from.to_owned(), signal));
        }
    }
}

impl Node {
    /// The next open connection, with the name of its peer.
    pub async fn open(&mut self) -> (String, Channels) {
        loop {
            match self.events.recv().await.expect("the manager runs") {
                PeerEvent::Open { peer, channels } => return (peer, channels),
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
                PeerEvent::State { .. } => continue,
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
