//! Many peers: one task each, which carries out what [`warp_peer_core::Machine`] decides.
//!
//! - **Signaling is two queues** of [`Signal`]s with the name of the other side; whoever owns them
//!   carries them, for instance through the rooms of the coordinator ([`signal`]). They may be lost,
//!   doubled and reordered. Descriptions are signed ([`trust`]), and who forges one gets no place.
//! - **At most [`ManagerConfig::max_peers`]**, those included that are being connected. An offer beyond
//!   is refused with a code, and costs nothing but the answer.
//! - **Commands are not lost**, however much a peer has to do: a peer that is closed and connected
//!   again before its task gets to it is closed, and then connected.
//! - **A lost connection is made anew** by the schedule of the core, under the same name.
//! - **On another network** ([`PeerManager::network_changed`]) a connection looks for another way and
//!   keeps its channels; where it finds none in time it is made anew.
//! - **Closing frees everything**: [`PeerManager::close`] returns when all tasks and sockets are gone.

mod attempt;
pub mod signal;
pub mod trust;
mod worker;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_peer_core::{AttemptId, Machine, MachineConfig, PeerState, RefusalCode, Signal};
use warp_protocol::identity::{Refusals, RefusedReason};

use crate::peer::{Channels, PeerConfig, SelectedPair};
use trust::{Notary, SignedSignal, Trust, Verdict};
use worker::{Order, Orders, Worker};

/// How many peers by default.
pub const MAX_PEERS: usize = 50;

/// How many signals wait for one peer. Full: further ones are dropped. Commands are not among them.
const SIGNALS: usize = 128;

/// How many commands wait for the manager; more wait at the caller.
const COMMANDS: usize = 64;

/// How many events wait for the application. Full: the peers wait that have more to say.
const EVENTS: usize = 256;

/// How many peers that have left are remembered. Full: the next ones are not.
const REMEMBERED: usize = 4096;

/// What can be set.
#[derive(Debug, Clone)]
pub struct ManagerConfig {
    /// Our name; every other one is different.
    pub local: String,
    /// How many peers there may be.
    pub max_peers: usize,
    /// How connections are made.
    pub peer: PeerConfig,
    /// Timeouts and attempts.
    pub machine: MachineConfig,
    /// Who is who; `None`: whoever carries signaling is believed.
    pub trust: Option<Arc<dyn Trust>>,
}

impl ManagerConfig {
    /// Defaults for everything but the name.
    pub fn new(local: impl Into<String>) -> Self {
        Self {
            local: local.into(),
            max_peers: MAX_PEERS,
            peer: PeerConfig::default(),
            machine: MachineConfig::default(),
            trust: None,
        }
    }
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ManagerError {
    /// There are as many peers as may be.
    #[error("there are {limit} peers already, and no more may be")]
    Full {
        /// How many.
        limit: usize,
    },
    /// The name is our own.
    #[error("a peer cannot connect to itself")]
    Ourselves,
    /// The manager is closed.
    #[error("the peer manager is closed")]
    Closed,
}

impl ManagerError {
    /// Stable code for events and logs.
    pub fn code(self) -> &'static str {
        match self {
            ManagerError::Full { .. } => RefusalCode::Full.code(),
            ManagerError::Ourselves => "p2p-ourselves",
            ManagerError::Closed => RefusalCode::Closed.code(),
        }
    }
}

/// What happens.
#[derive(Debug)]
pub enum PeerEvent {
    /// A peer stands elsewhere.
    State {
        /// Its name.
        peer: String,
        /// Where; after *closed* nothing more is heard of it.
        state: PeerState,
    },
    /// The channels of a peer are open. Those of an earlier connection have ended.
    Open {
        /// Its name.
        peer: String,
        /// The channels.
        channels: Channels,
        /// The way that they took; `None`: it has gone again.
        way: Option<SelectedPair>,
    },
    /// The channels of a peer go another way, after the network of either side has changed.
    Moved {
        /// Its name.
        peer: String,
        /// The way; `None`: it has gone again.
        way: Option<SelectedPair>,
    },
    /// A peer refused the connection.
    Refused {
        /// Its name.
        peer: String,
        /// Why.
        code: RefusalCode,
    },
}

enum Command {
    Connect(String, oneshot::Sender<Result<(), ManagerError>>),
    Disconnect(String),
    NetworkChanged,
}

/// Signals to or from a peer, with its name.
pub type NamedSignal = (String, SignedSignal);

/// What was not believed.
#[derive(Debug, Default)]
struct Refused(Refusals);

impl Refused {
    fn count(&self, peer: &str, reason: RefusedReason) {
        let count = self.0.count(reason);
        let reason = reason.name();
        tracing::warn!(peer, reason, count, "a peer is not believed");
    }
}

/// See the module's documentation. Dropping it closes all connections.
#[derive(Debug)]
pub struct PeerManager {
    commands: mpsc::Sender<Command>,
    count: Arc<AtomicUsize>,
    refused: Arc<Refused>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for PeerManager {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl PeerManager {
    /// Starts without peers. Those who offer are answered.
    ///
    /// The manager ends when it is closed or dropped, or when `inbound` ends.
    pub fn start(
        config: ManagerConfig,
        inbound: mpsc::Receiver<NamedSignal>,
        outbound: mpsc::Sender<NamedSignal>,
    ) -> (Self, mpsc::Receiver<PeerEvent>) {
        let (commands, rx) = mpsc::channel(COMMANDS);
        let (events, events_rx) = mpsc::channel(EVENTS);
        let manager = Self {
            commands,
            count: Arc::default(),
            refused: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let run = Run {
            config: Arc::new(config),
            outbound,
            events,
            peers: HashMap::new(),
            workers: JoinSet::new(),
            left: HashMap::new(),
            count: manager.count.clone(),
            refused: manager.refused.clone(),
            stop: manager.stop.clone(),
            tasks: manager.tasks.clone(),
            incarnation: incarnation(),
        };
        manager.tasks.spawn(run.run(rx, inbound));
        manager.tasks.close();
        (manager, events_rx)
    }

    /// Wants a connection to `peer`; does nothing where there is one, or one is being made.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub async fn connect(&self, peer: impl Into<String>) -> Result<(), ManagerError> {
        let (answer, outcome) = oneshot::channel();
        self.command(Command::Connect(peer.into(), answer)).await?;
        outcome.await.map_err(|_| ManagerError::Closed)?
    }

    /// Ends the connection to `peer` for good, and tells it so.
    ///
    /// # Errors
    /// [`ManagerError::Closed`].
    pub async fn disconnect(&self, peer: impl Into<String>) -> Result<(), ManagerError> {
        self.command(Command::Disconnect(peer.into())).await
    }

    /// The addresses of this machine are others now: all connections look for another way at once.
    ///
    /// # Errors
    /// [`ManagerError::Closed`].
    pub async fn network_changed(&self) -> Result<(), ManagerError> {
        self.command(Command::NetworkChanged).await
    }

    /// How many peers there are, those that are being connected included.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Why descriptions were not believed, and how often.
    pub fn refusals(&self) -> Vec<(RefusedReason, u64)> {
        self.refused.0.view()
    }

    /// Ends all connections, and waits until nothing is left of them.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    async fn command(&self, command: Command) -> Result<(), ManagerError> {
        self.commands
            .send(command)
            .await
            .map_err(|_| ManagerError::Closed)
    }
}

/// Grows from start to start, as long as the clock is not set back. If it is, the core copes; but those who
/// know us by our key, and have seen us leave, take our offers for old ones until it is past that time
/// again, and have to offer themselves.
fn incarnation() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// The task of a peer.
struct Handle {
    signals: mpsc::Sender<SignedSignal>,
    orders: Arc<Orders>,
}

struct Run {
    config: Arc<ManagerConfig>,
    outbound: mpsc::Sender<NamedSignal>,
    events: mpsc::Sender<PeerEvent>,
    peers: HashMap<String, Handle>,
    workers: JoinSet<(String, Option<AttemptId>)>,
    /// The newest attempt of those who have left and are known by their keys: what is older is said again
    /// by somebody else. At most [`REMEMBERED`].
    left: HashMap<String, AttemptId>,
    count: Arc<AtomicUsize>,
    refused: Arc<Refused>,
    stop: CancellationToken,
    tasks: TaskTracker,
    incarnation: u64,
}

impl Run {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut inbound: mpsc::Receiver<NamedSignal>,
    ) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(gone) = self.workers.join_next() => self.on_gone(gone),
                Some(command) = commands.recv() => self.on_command(command),
                signal = inbound.recv() => match signal {
                    Some((from, signal)) => self.on_signal(from, signal),
                    None => break,
                },
            }
        }
        // Those that wait for the application to take an event are told as well.
        self.stop.cancel();
        while self.workers.join_next().await.is_some() {}
        self.count.store(0, Ordering::Relaxed);
    }

    fn on_gone(&mut self, gone: Result<(String, Option<AttemptId>), tokio::task::JoinError>) {
        let gone: Vec<(String, Handle)> = match gone {
            Ok((name, newest)) => {
                if let Some(newest) = newest.filter(|_| self.config.trust.is_some())
                    && (self.left.len() < REMEMBERED || self.left.contains_key(&name))
                {
                    let known = self.left.entry(name.clone()).or_insert(newest);
                    *known = newest.max(*known);
                }
                self.peers.remove_entry(&name).into_iter().collect()
            }
            Err(error) => {
                tracing::warn!(%error, "the task of a peer failed");
                let gone = |_: &String, handle: &mut Handle| handle.signals.is_closed();
                self.peers.extract_if(gone).collect()
            }
        };
        self.count.store(self.peers.len(), Ordering::Relaxed);
        for (name, handle) in gone {
            // Ordered while the task was about to end, and promised.
            if handle.orders.wants_connection() && self.peer(&name).is_ok() {
                self.order(&name, Order::Connect);
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect(peer, answer) => {
                let outcome = self.peer(&peer);
                if outcome.is_ok() {
                    self.order(&peer, Order::Connect);
                }
                // Nobody may be waiting any more.
                let _ = answer.send(outcome);
            }
            Command::Disconnect(peer) => self.order(&peer, Order::Close),
            Command::NetworkChanged => {
                for handle in self.peers.values() {
                    handle.orders.put(Order::NetworkChanged);
                }
            }
        }
    }

    fn on_signal(&mut self, from: String, said: SignedSignal) {
        if !self.peers.contains_key(&from) {
            // Only an offer makes a peer of somebody unknown, and only a believed one.
            let Signal::Offer { id, .. } = &said.signal else {
                return;
            };
            let id = *id;
            let mut notary = Notary::new(self.config.trust.clone(), &self.config.local, &from);
            let verdict = match notary.check(&said) {
                Verdict::Offered(_) if self.left.get(&from).is_some_and(|newest| id <= *newest) => {
                    Verdict::Refused(RefusedReason::DescriptionReplayed)
                }
                verdict => verdict,
            };
            if let Verdict::Refused(reason) = verdict {
                return self.refused.count(&from, reason);
            }
            if let Err(error) = self.peer(&from) {
                tracing::debug!(from, code = error.code(), "an offer is refused");
                let code = RefusalCode::Full;
                let refusal = notary.sign(Signal::Refuse { id, code });
                // Signals may be lost; this one is worth no waiting.
                let _ = self.outbound.try_send((from, refusal));
                return;
            }
        }
        if let Some(handle) = self.peers.get(&from)
            && handle.signals.try_send(said).is_err()
        {
            tracing::debug!(from, "a peer takes no more signals, one was dropped");
        }
    }

    fn order(&self, peer: &str, order: Order) {
        if let Some(handle) = self.peers.get(peer) {
            handle.orders.put(order);
        }
    }

    /// Makes sure that there is a task for `peer`.
    fn peer(&mut self, peer: &str) -> Result<(), ManagerError> {
        if peer == self.config.local {
            return Err(ManagerError::Ourselves);
        }
        if self.peers.contains_key(peer) {
            return Ok(());
        }
        let limit = self.config.max_peers;
        if self.peers.len() >= limit {
            return Err(ManagerError::Full { limit });
        }
        let (signals, rx) = mpsc::channel(SIGNALS);
        let orders: Arc<Orders> = Arc::default();
        let (config, name) = (&self.config, peer.to_owned());
        let seed = RandomState::new().build_hasher().finish();
        // Each machine has its own, so that no attempt has the name of an earlier one.
        self.incarnation = incarnation().max(self.incarnation + 1);
        let mut machine = Machine::new(config.machine, &config.local, peer, self.incarnation, seed);
        if let Some(newest) = self.left.get(peer) {
            machine.remember(*newest);
        }
        let worker = Worker::new(
            name.clone(),
            machine,
            worker::Links {
                config: config.clone(),
                outbound: self.outbound.clone(),
                events: self.events.clone(),
                tasks: self.tasks.clone(),
                refused: self.refused.clone(),
            },
        );
        let stop = self.stop.clone();
        self.workers.spawn(worker.run(rx, orders.clone(), stop));
        self.peers.insert(name, Handle { signals, orders });
        self.count.store(self.peers.len(), Ordering::Relaxed);
        Ok(())
    }
}
