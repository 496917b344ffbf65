//! The bridge as its owner holds it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_bridge_core::Level;
use warp_protocol::stream::ServerRole;
use warp_protocol::zone::GameServer;
use warp_ro_packet::PacketTable;

use crate::connection::{Connection, ConnectionView};
use crate::doors::Doors;
use crate::error::BridgeError;
use crate::notice::BridgeNotice;
use crate::opener::StreamOpener;
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
}

impl Default for BridgeLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            announced_doors: 128,
            stall_after: Duration::from_secs(5),
        }
    }
}

/// How a bridge is set up.
#[derive(Debug, Clone)]
pub struct BridgeConfig {
    /// Where the game client looks for the login server; loopback. Port 0 takes a free one.
    pub login_listen: SocketAddr,
    /// The servers behind the zone.
    pub game: GameServer,
    /// How far connections are read at first.
    pub level: Level,
    /// The client's packet version. Without a table for it connections are opaque.
    pub packet_version: u32,
    /// Limits.
    pub limits: BridgeLimits,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) opener: Arc<dyn StreamOpener>,
    pub(crate) notify: Notify,
    pub(crate) level: Level,
    pub(crate) table: Option<&'static PacketTable>,
    pub(crate) limits: BridgeLimits,
    pub(crate) doors: Doors,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) places: Arc<Semaphore>,
    next: AtomicU64,
    live: Mutex<BTreeMap<u64, Arc<Connection>>>,
    /// Of connections that have ended, and the counts that are no connection's.
    ended: Mutex<BridgeCounters>,
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
        self.live
            .lock()
            .insert(connection.n, Arc::clone(connection));
    }

    pub(crate) fn leave(&self, connection: &Connection) {
        // Both locks, so that no reader of the counters sees it twice or not at all.
        let mut live = self.live.lock();
        self.ended.lock().add(&connection.counters());
        live.remove(&connection.n);
    }
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
            level,
            packet_version,
            limits,
        } = config;
        let (doors, listeners) = Doors::bind(login_listen, &game, limits.announced_doors)?;
        let login = doors.login();
        let shared = Arc::new(Shared {
            opener,
            notify,
            level,
            table: PacketTable::for_version(packet_version),
            places: Arc::new(Semaphore::new(limits.connections)),
            limits,
            doors,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            next: AtomicU64::new(1),
            live: Mutex::new(BTreeMap::new()),
            ended: Mutex::new(BridgeCounters::default()),
        });
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

    /// The door behind which a server is, if it has one by now.
    pub fn door_of(&self, role: ServerRole, target: SocketAddr) -> Option<SocketAddr> {
        self.shared.doors.of(role, target)
    }

    /// The connections that are open.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.shared
            .live
            .lock()
            .values()
            .map(|connection| connection.view())
            .collect()
    }

    /// The counters since the start, connections that have ended included.
    pub fn counters(&self) -> BridgeCounters {
        let live = self.shared.live.lock();
        let mut sum = *self.shared.ended.lock();
        for connection in live.values() {
            sum.add(&connection.counters());
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
