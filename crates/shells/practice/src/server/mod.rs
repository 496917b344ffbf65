//! The stand-in server: login, char and one or two map servers in one process.
//!
//! # How bytes must arrive (ro-protocol section 6)
//!
//! The server does one read per readiness of a socket, up to [`READ_BUFFER`] bytes, and looks at
//! what it got:
//!
//! | what is in the buffer | login | char | map |
//! |---|---|---|---|
//! | whole packets | handled | handled | handled |
//! | one byte of a packet | waits | waits | waits |
//! | three bytes of a variable packet | waits | waits | waits |
//! | any other part of a packet | closed | waits | closed |
//! | whole packets and a part of the next | handled, then closed | waits | handled, then closed |
//! | the packet that enters a map (0436) with less or more than its bytes | | | 006A code 1, closed |
//! | an unknown id | closed | closed | closed |
//!
//! # Behind a shield
//!
//! With [`ServerConfig::shield`] the map connections are enciphered from the first byte on, as a
//! stand-in for a game shield. What either end writes at once is one record (a `u16` length and
//! that many bytes, all of it enciphered); a read that does not end at a record's end closes the
//! connection ([`CloseReason::SplitRecord`]), and the table above goes for each record. A report
//! counts records instead of packets then.
//!
//! # Session numbers (ro-protocol section 8)
//!
//! Every ticket works once: the login's at the char server, the char server's at the map server
//! that it named. 00B2 makes the login's ticket good for the char server once more, and 0AC7
//! (0092) makes one for the other map server.
//!
//! Who attacks (0437 action 0 or 7) is in a fight for 10 s: leaving is refused (018B code 1), and an
//! account whose connection ends meanwhile stays online until then; its unit is taken off the map at
//! the next login. An account whose connection ends between the packet that enters a map and the end of
//! loading is locked for 30 s. Logins get 0081 code 8 for as long.
//!
//! With [`ServerConfig::pin`] the char server asks for it (08B9 state 1), once for each login; before
//! the right one it takes only 0065, 0187, 08B8, 08BE, 08C5 and 09A1, and closes at anything else.
//!
//! # Bounds
//!
//! At most [`MAX_CONNECTIONS`] connections; at most [`OUTBOX_BUDGET`] unsent bytes for each, after
//! which the slow reader is dropped; events are kept in a ring, whose reader is told how many it
//! missed.

mod char_server;
mod connection;
mod events;
mod login_server;
mod map_server;
mod outbox;
mod state;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_ro_packet::Role;

pub use connection::READ_BUFFER;
pub use events::{CloseReason, EventReceiver, ServerEvent};
pub use outbox::OUTBOX_BUDGET;

use crate::game::Account;
use crate::version::DEFAULT_VERSION;
use crate::wire::Dialect;
use connection::Connection;
use events::EventSender;
use state::World;

/// How many connections the server holds at a time; more wait in the listener's backlog.
pub const MAX_CONNECTIONS: usize = 1024;

/// How long [`Server::shutdown`] waits for its connections to end.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(1_500);

/// How the server is set up.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where the login server listens; port 0 takes a free one.
    pub login: SocketAddr,
    /// Where the char server listens.
    pub char: SocketAddr,
    /// Where the first map server listens.
    pub map: SocketAddr,
    /// Where the second map server listens, if there is one.
    pub map2: Option<SocketAddr>,
    /// What the login server says the char server's address is; by default where it listens, and
    /// if that is every interface, the address that the client reached the login server at.
    pub announce_char: Option<SocketAddrV4>,
    /// The same for the first map server.
    pub announce_map: Option<SocketAddrV4>,
    /// The same for the second map server.
    pub announce_map2: Option<SocketAddrV4>,
    /// A map connection without client data for this long is closed. The real server: 60 s.
    pub idle_limit: Duration,
    /// The packet version that is spoken: one of [`crate::version::versions`].
    pub version: u32,
    /// The ids that clients send to a map server are enciphered with the version's keys.
    pub obfuscate: bool,
    /// Map connections are enciphered as if a game shield were there.
    pub shield: bool,
    /// Every account has this pin, four digits, which the char server asks for.
    pub pin: Option<[u8; 4]>,
    /// Tell each line of public chat ([`ServerEvent::Chat`]).
    pub tell_chat: bool,
    /// How many events are kept for a slow reader before the oldest are dropped (at least 1).
    pub event_capacity: usize,
}

impl ServerConfig {
    /// Free loopback ports for everything, with a second map server.
    #[must_use]
    pub fn loopback() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::new(any, any, any, Some(any))
    }

    /// The given addresses, and the real server's limits.
    #[must_use]
    pub fn new(
        login: SocketAddr,
        char: SocketAddr,
        map: SocketAddr,
        map2: Option<SocketAddr>,
    ) -> Self {
        Self {
            login,
            char,
            map,
            map2,
            announce_char: None,
            announce_map: None,
            announce_map2: None,
            idle_limit: Duration::from_secs(60),
            version: DEFAULT_VERSION,
            obfuscate: false,
            shield: false,
            pin: None,
            tell_chat: false,
            event_capacity: 1024,
        }
    }
}

/// Which of the four listeners a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Login,
    Char,
    /// Map server 0 or 1.
    Map(usize),
}

impl Door {
    fn role(self) -> Role {
        match self {
            Door::Login => Role::Login,
            Door::Char => Role::Char,
            Door::Map(_) => Role::Map,
        }
    }
}

/// What every connection of a server shares.
struct Shared {
    world: World,
    events: EventSender,
    idle_limit: Duration,
    dialect: Arc<Dialect>,
    shield: bool,
    /// Four ASCII digits.
    pin: Option<[u8; 4]>,
    tell_chat: bool,
    chat_lines: AtomicU64,
    stop: CancellationToken,
}

impl Shared {
    /// A line of public chat has come.
    fn count_line(&self, account: Account, text: &[u8]) {
        self.chat_lines.fetch_add(1, Ordering::Relaxed);
        if self.tell_chat {
            let text = text.strip_suffix(&[0]).unwrap_or(text);
            self.events.send(ServerEvent::Chat {
                user: account.user(),
                text: String::from_utf8_lossy(text).into_owned(),
            });
        }
    }
}

/// A running practice server. Dropping it stops it without waiting.
pub struct Server {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    login: SocketAddr,
    char: SocketAddr,
    map: SocketAddr,
    map2: Option<SocketAddr>,
}

impl Server {
    /// Binds the listeners and starts to serve on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// If an address cannot be bound; if char or map servers listen on an IPv6 address without an
    /// IPv4 address to announce: the game's packets carry IPv4 only; or if the version cannot be
    /// spoken as configured ([`crate::version::check`]).
    pub async fn start(config: ServerConfig) -> io::Result<Server> {
        let dialect = Dialect::of(config.version, config.obfuscate)
            .map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
        let login = bind("login", config.login).await?;
        let char = bind("char", config.char).await?;
        let map = bind("map", config.map).await?;
        let map2 = match config.map2 {
            Some(address) => Some(bind("map2", address).await?),
            None => None,
        };
        let local = |listener: &TcpListener| listener.local_addr();
        let addresses = (
            local(&login)?,
            local(&char)?,
            local(&map)?,
            map2.as_ref().map(local).transpose()?,
        );
        let announced_map2 = match addresses.3 {
            Some(address) => Some(announced("map2", config.announce_map2, address)?),
            None => None,
        };
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            world: World::new(
                announced("char", config.announce_char, addresses.1)?,
                announced("map", config.announce_map, addresses.2)?,
                announced_map2,
            ),
            events: EventSender::new(config.event_capacity.max(1)),
            idle_limit: config.idle_limit,
            dialect,
            shield: config.shield,
            pin: config.pin,
            tell_chat: config.tell_chat,
            chat_lines: AtomicU64::new(0),
            stop,
        });
        let tasks = TaskTracker::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let doors = [
            (Door::Login, login),
            (Door::Char, char),
            (Door::Map(0), map),
        ];
        for (door, listener) in doors
            .into_iter()
            .chain(map2.map(|map2| (Door::Map(1), map2)))
        {
            let accepting = accept(
                Arc::clone(&shared),
                tasks.clone(),
                Arc::clone(&places),
                listener,
                door,
            );
            tasks.spawn(accepting);
        }
        let (login, char, map, map2) = addresses;
        tracing::info!(%login, %char, %map, ?map2, "practice server listens");
        Ok(Server {
            shared,
            tasks,
            login,
            char,
            map,
            map2,
        })
    }

    /// Where the login server listens.
    #[must_use]
    pub fn login_addr(&self) -> SocketAddr {
        self.login
    }

    /// Where the char server listens.
    #[must_use]
    pub fn char_addr(&self) -> SocketAddr {
        self.char
    }

    /// Where the first map server listens.
    #[must_use]
    pub fn map_addr(&self) -> SocketAddr {
        self.map
    }

    /// Where the second map server listens, if there is one.
    #[must_use]
    pub fn map2_addr(&self) -> Option<SocketAddr> {
        self.map2
    }

    /// A reader of the events from now on. It ends when the server does.
    #[must_use]
    pub fn events(&self) -> EventReceiver {
        self.shared.events.subscribe()
    }

    /// How many players stand on a map at the moment.
    #[must_use]
    pub fn players_online(&self) -> usize {
        self.shared.world.players_online()
    }

    /// How many lines of public chat have come to the map servers.
    #[must_use]
    pub fn chat_lines(&self) -> u64 {
        self.shared.chat_lines.load(Ordering::Relaxed)
    }

    /// Closes every connection and listener; waits for them for at most 1.5 s.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_LIMIT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("practice server: connections did not end in time and are dropped");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.tasks.close();
    }
}

async fn bind(name: &str, address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let message = format!("cannot listen on {address} for the {name} server: {error}");
        io::Error::new(error.kind(), message)
    })
}

fn announced(
    name: &str,
    configured: Option<SocketAddrV4>,
    listening: SocketAddr,
) -> io::Result<SocketAddrV4> {
    match (configured, listening) {
        (Some(address), _) => Ok(address),
        (None, SocketAddr::V4(address)) => Ok(address),
        (None, SocketAddr::V6(address)) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the {name} server listens on {address}; give the IPv4 address to announce"),
        )),
    }
}

/// The address to announce to a client that reached us at `reached`.
fn reachable(announced: SocketAddrV4, reached: IpAddr) -> SocketAddrV4 {
    match reached {
        IpAddr::V4(ip) if announced.ip().is_unspecified() => {
            SocketAddrV4::new(ip, announced.port())
        }
        _ => announced,
    }
}

async fn accept(
    shared: Arc<Shared>,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
    listener: TcpListener,
    door: Door,
) {
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let (accepted, place) = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => return,
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = Connection::new(Arc::clone(&shared), door, stream, peer);
                tasks.spawn(async move {
                    connection.run().await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors or a connection reset in the backlog: neither ends the server.
                tracing::warn!(role = ?door.role(), %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_interface_announces_where_it_was_reached() {
        let any: SocketAddrV4 = "0.0.0.0:5121".parse().unwrap();
        let fixed: SocketAddrV4 = "10.0.0.9:5121".parse().unwrap();
        let reached: IpAddr = "192.168.1.4".parse().unwrap();
        assert_eq!(reachable(any, reached).to_string(), "192.168.1.4:5121");
        assert_eq!(reachable(fixed, reached), fixed);
        assert_eq!(
            announced("map", Some(fixed), "[::]:1".parse().unwrap()).unwrap(),
            fixed
        );
        let refused = announced("map", None, "[::1]:1".parse().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("IPv4"));
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let server = Server::start(ServerConfig::loopback()).await.unwrap();
        let mut config = ServerConfig::loopback();
        config.char = server.char_addr();
        let Err(error) = Server::start(config).await else {
            panic!("the port was free");
        };
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(
            error.to_string().contains(&server.char_addr().to_string()),
            "{error}"
        );
        server.shutdown().await;
    }
}
