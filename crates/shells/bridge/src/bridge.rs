//! The bridge as its owner holds it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify as Bell, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_bridge_core::{
    ClientChange, Clients, Counters, FORGET_AFTER, Level, ReEntryLimits, Versions,
};
use warp_protocol::stream::ServerRole;
use warp_protocol::zone::GameServer;
use warp_ro_packet::PacketTable;

use crate::connection::{Connection, ConnectionView};
use crate::doors::Doors;
use crate::error::BridgeError;
use crate::home::Home;
use crate::inspect::{Inspected, Inspector};
use crate::notice::BridgeNotice;
use crate::opener::StreamOpener;
use crate::recalls::Recalls;
use crate::totals::BridgeCounters;

/// Takes the notices, in order for each connection. Called from many tasks; must not wait.
pub type Notify = Arc<dyn Fn(BridgeNotice) + Send + Sync>;

/// Limits of a bridge; see the crate's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeLimits {
    /// Connections at once.
    pub connections: usize,
    /// Doors for servers that the zone does not name.
    pub announced_doors: usize,
    /// How long bytes may wait for the rest of their packet.
    pub stall_after: Duration,
    /// How long a connection waits for the client's first packet before its stream is opened. That
    /// packet says who the client is, and how it is to be read.
    pub first_packet: Duration,
    /// How long a game client without connections is remembered, and what it said to sign in.
    pub forget_after: Duration,
    /// How long signing a client in again may take, and each answer of a server in it. How long the servers
    /// may be away is said anew by [`Bridge::lead_to`].
    pub reentry: ReEntryLimits,
}

impl Default for BridgeLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            announced_doors: 128,
            stall_after: Duration::from_secs(5),
            first_packet: Duration::from_millis(250),
            forget_after: FORGET_AFTER,
            reentry: ReEntryLimits::default(),
        }
    }
}

/// How a bridge is set up.
#[derive(Debug, Clone)]
pub struct BridgeConfig {
    /// Where the game client looks for the login server; loopback. Port 0 takes a free one, in an
    /// opaque zone the login server's own.
    pub login_listen: SocketAddr,
    /// The servers behind the zone, the version that its clients speak, and how far they are read.
    pub game: GameServer,
    /// The operator's packet tables. They win over compiled-in ones of the same version.
    pub tables: Vec<Arc<PacketTable>>,
    /// Whether `/p2p` in the game's chat is a command ([`BridgeNotice::Command`]).
    pub commands: bool,
    /// Whether a client whose map server's connection is lost is signed in again.
    pub reentry: bool,
    /// Limits.
    pub limits: BridgeLimits,
}

/// A game client, as far as the bridge has seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientView {
    /// Its number, from 1.
    pub client: u64,
    /// How many connections it has now.
    pub connections: u32,
    /// The map that it was last sent to, without `.gat`.
    pub map: Option<String>,
    /// Which server its newest connection goes to.
    pub role: Option<ServerRole>,
    /// How far that one is read.
    pub level: Option<Level>,
    /// What all its connections carried, those that have ended included.
    pub counters: Counters,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) opener: Arc<dyn StreamOpener>,
    pub(crate) notify: Notify,
    pub(crate) level: Level,
    pub(crate) commands: bool,
    pub(crate) reentry: bool,
    pub(crate) recalls: Recalls,
    pub(crate) inspector: Inspector,
    pub(crate) limits: BridgeLimits,
    pub(crate) doors: Doors,
    pub(crate) home: Home,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) places: Arc<Semaphore>,
    next: AtomicU64,
    // Locks are taken in this order, and none is held across an await.
    /// Keeps the clients' notices in order.
    telling: Mutex<()>,
    live: Mutex<BTreeMap<u64, Arc<Connection>>>,
    clients: Mutex<Clients>,
    /// Of connections that have ended, and the counts that are no connection's.
    ended: Mutex<BridgeCounters>,
    versions: Mutex<Versions>,
    /// Time for the clients is counted from here.
    start: Instant,
    /// Rings when a client is without connections.
    idle: Bell,
}

impl Shared {
    pub(crate) fn tell(&self, notice: BridgeNotice) {
        match notice {
            BridgeNotice::Opened { .. } => self.ended.lock().opened += 1,
            BridgeNotice::Refused { .. } => self.ended.lock().refused += 1,
            _ => {}
        }
        (self.notify)(notice);
    }

    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn enter(&self, connection: &Arc<Connection>) {
        let mut live = self.live.lock();
        live.insert(connection.n, Arc::clone(connection));
        // Under the lock, so that one who switches it meanwhile does not miss this connection.
        let on = self.inspector.is_on();
        connection.core.lock().inspect(on);
    }

    /// The connection has ended.
    pub(crate) fn leave(&self, connection: &Connection) {
        let _order = self.telling.lock();
        let now = self.start.elapsed();
        let changes = {
            // All locks, so that no reader of the counters sees it twice or not at all.
            let mut live = self.live.lock();
            let mut clients = self.clients.lock();
            let carried = connection.counters();
            self.ended.lock().traffic.add(&carried);
            clients.ended(connection.n, &carried, now);
            live.remove(&connection.n);
            changes(&mut clients)
        };
        self.tell_clients(changes);
    }

    /// Does something with the clients, and tells who came and went.
    pub(crate) fn with_clients<R>(&self, work: impl FnOnce(&mut Clients, Duration) -> R) -> R {
        let _order = self.telling.lock();
        let now = self.start.elapsed();
        let (result, changes) = {
            let mut clients = self.clients.lock();
            let result = work(&mut clients, now);
            (result, changes(&mut clients))
        };
        self.tell_clients(changes);
        result
    }

    fn tell_clients(&self, changes: Vec<ClientChange>) {
        for change in changes {
            if let ClientChange::Gone(client) = change {
                self.recalls.forget(client);
            }
            (self.notify)(match change {
                ClientChange::Seen(client) => BridgeNotice::ClientSeen { client },
                ClientChange::Gone(client) => BridgeNotice::ClientGone { client },
            });
        }
        self.idle.notify_one();
    }

    pub(crate) fn client_of(&self, n: u64) -> Option<u64> {
        self.clients.lock().of(n)
    }

    /// The time that the machines of the core count in.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Asks about the packet version, and tells what is known of it if that is new.
    pub(crate) fn with_versions<R>(&self, work: impl FnOnce(&mut Versions) -> R) -> R {
        let (result, known) = {
            let mut versions = self.versions.lock();
            (work(&mut versions), versions.poll_change())
        };
        if let Some(known) = known {
            tracing::info!(
                version = known.version,
                ciphered = known.ciphered,
                certain = known.certain,
                "packet version of the game clients"
            );
            (self.notify)(BridgeNotice::VersionKnown {
                version: known.version,
                ciphered: known.ciphered,
                certain: known.certain,
            });
        }
        result
    }

    /// Whether nothing more is to be learned of the packet version.
    pub(crate) fn versions_certain(&self) -> bool {
        self.versions.lock().certain()
    }

    /// Forgets clients that do not come back, until the bridge stops.
    async fn forget_clients(self: Arc<Self>) {
        loop {
            let next = self.clients.lock().next_expiry();
            let over = async {
                match next {
                    Some(next) => tokio::time::sleep_until(self.start + next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.idle.notified() => {}
                () = over => self.with_clients(Clients::expire),
            }
        }
    }
}

fn changes(clients: &mut Clients) -> Vec<ClientChange> {
    std::iter::from_fn(|| clients.poll_change()).collect()
}

/// A running bridge. Dropping it closes everything without waiting.
pub struct Bridge {
    shared: Arc<Shared>,
    login: SocketAddr,
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bridge")
            .field("login", &self.login)
            .field("connections", &self.shared.live.lock().len())
            .finish_non_exhaustive()
    }
}

impl Bridge {
    /// Listens, on the present tokio runtime.
    ///
    /// # Errors
    /// [`BridgeError`]: nothing is listened on then.
    pub fn start(
        config: BridgeConfig,
        opener: Arc<dyn StreamOpener>,
        notify: Notify,
    ) -> Result<Bridge, BridgeError> {
        let BridgeConfig {
            login_listen,
            game,
            tables,
            commands,
            reentry,
            limits,
        } = config;
        let (doors, listeners) = Doors::bind(login_listen, &game, limits.announced_doors)?;
        let login = doors.login();
        let shared = Arc::new(Shared {
            opener,
            notify,
            level: game.level,
            commands,
            reentry,
            recalls: Recalls::default(),
            inspector: Inspector::default(),
            places: Arc::new(Semaphore::new(limits.connections)),
            clients: Mutex::new(Clients::new(limits.forget_after)),
            home: Home::new(game.clone(), limits.reentry.away),
            limits,
            doors,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            next: AtomicU64::new(1),
            telling: Mutex::new(()),
            live: Mutex::new(BTreeMap::new()),
            ended: Mutex::new(BridgeCounters::default()),
            versions: Mutex::new(Versions::new(game.packet_version, &tables)),
            start: Instant::now(),
            idle: Bell::new(),
        });
        shared.tasks.spawn(Arc::clone(&shared).forget_clients());
        for (listener, door) in listeners {
            crate::doors::serve(&shared, listener, door);
        }
        tracing::info!(%login, target_server = %game.login, "the bridge listens");
        Ok(Bridge { shared, login })
    }

    /// Where the game client finds the login server.
    pub fn login_addr(&self) -> SocketAddr {
        self.login
    }

    /// The game servers are these from now on, clients that are being signed in again included: behind the
    /// doors of login and char servers that clients know are the present ones. Connections that are
    /// open stay where they are. `away`: how long none of them may be there before that is told
    /// ([`BridgeNotice::ServersAway`]); `None`: it is not. They are read as far as those before.
    pub fn lead_to(&self, game: GameServer, away: Option<Duration>) {
        self.shared.home.set(game, away);
    }

    /// The door behind which a server is, if it has one by now.
    pub fn door_of(&self, role: ServerRole, target: SocketAddr) -> Option<SocketAddr> {
        self.shared.doors.of(role, target)
    }

    /// The connections that are open.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let live = self.shared.live.lock();
        let clients = self.shared.clients.lock();
        live.values()
            .map(|connection| connection.view(clients.of(connection.n)))
            .collect()
    }

    /// The game clients, ascending by number; at most [`warp_bridge_core::MAX_CLIENTS`].
    pub fn clients(&self) -> Vec<ClientView> {
        let live = self.shared.live.lock();
        let clients = self.shared.clients.lock();
        let view = |(number, client): (u64, &warp_bridge_core::Client)| {
            let mut open = client.connections.iter().filter_map(|n| live.get(n));
            let mut counters = client.ended;
            for connection in open.clone() {
                counters.add(&connection.counters());
            }
            let newest = open.next_back();
            ClientView {
                client: number,
                connections: u32::try_from(client.connections.len()).unwrap_or(u32::MAX),
                map: client.map.clone(),
                role: newest.map(|connection| connection.upstream.role),
                level: newest.map(|connection| connection.core.lock().level()),
                counters,
            }
        };
        clients.iter().map(view).collect()
    }

    /// Shows lines in the game's chat of the client behind connection `n`, as soon as the player is
    /// on a map. At most [`warp_bridge_core::MAX_ANSWERS`] lines wait, each of at most
    /// [`warp_ro_packet::chat::MAX_LINE`] bytes; what is more is cut off.
    ///
    /// Returns `false` if the connection has gone, or has no chat: only framed map connections do.
    pub fn answer(&self, n: u64, lines: &[String]) -> bool {
        let connection = self.shared.live.lock().get(&n).cloned();
        connection.is_some_and(|connection| connection.answer(lines))
    }

    /// The same for every connection that has a chat.
    pub fn tell_all(&self, lines: &[String]) {
        for connection in self.shared.live.lock().values() {
            connection.answer(lines);
        }
    }

    /// Shows the packets of all connections from now on, or no longer. Reading costs nothing while they
    /// are not shown.
    pub fn inspect(&self, on: bool) {
        let live = self.shared.live.lock();
        self.shared.inspector.set(on);
        for connection in live.values() {
            connection.core.lock().inspect(on);
        }
    }

    /// The packets that passed while they are shown, `most` of the oldest, and how many were dropped
    /// since the last call: [`crate::MAX_INSPECTED`] are kept.
    pub fn take_inspected(&self, most: usize) -> (Vec<Inspected>, u64) {
        self.shared.inspector.take(most)
    }

    /// The counters since the start, connections that have ended included.
    pub fn counters(&self) -> BridgeCounters {
        let live = self.shared.live.lock();
        let mut sum = *self.shared.ended.lock();
        for connection in live.values() {
            sum.traffic.add(&connection.counters());
        }
        sum
    }

    /// Closes all sockets and waits until they are closed.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
    }
}
