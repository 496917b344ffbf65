//! Loopback listeners: one for the login server, one for each char and map server.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use warp_bridge_core::AddressBook;
use warp_protocol::stream::ServerRole;
use warp_protocol::zone::{GameServer, ReadLevel};
use warp_ro_packet::Role;

use crate::bridge::Shared;
use crate::connection;
use crate::error::BridgeError;
use crate::notice::{BridgeNotice, RefusedReason};

/// How long no connection is accepted after accepting failed: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A game server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub(crate) role: ServerRole,
    pub(crate) target: SocketAddr,
}

/// What is behind a listener; `None`: nothing, whoever comes is reset.
pub(crate) type Behind = Option<Upstream>;

#[derive(Debug, Default)]
struct Announced {
    /// Doors by server. The zone's servers and at most `limit` others.
    doors: HashMap<SocketAddr, SocketAddrV4>,
    /// How many of them the zone does not name.
    others: usize,
    /// That doors are missing was told; once is enough.
    told: bool,
}

/// The doors of a bridge.
#[derive(Debug)]
pub(crate) struct Doors {
    login: SocketAddr,
    /// Where nothing is: for servers that can have no door.
    nowhere: SocketAddrV4,
    limit: usize,
    announced: Mutex<Announced>,
}

impl Doors {
    /// Listens at the login address and for the servers that the zone names. Nothing is rewritten
    /// in an opaque zone: its servers have to be found where they announce themselves, at their own
    /// port of 127.0.0.1.
    pub(crate) fn bind(
        login: SocketAddr,
        game: &GameServer,
        limit: usize,
    ) -> Result<(Self, Vec<(TcpListener, Behind)>), BridgeError> {
        if !login.ip().is_loopback() {
            return Err(BridgeError::NotLoopback { address: login });
        }
        let fixed = game.level == ReadLevel::Opaque;
        let login = match login.port() {
            0 if fixed => SocketAddr::new(login.ip(), game.login.port()),
            _ => login,
        };
        let mut listeners = Vec::new();
        let listener = listen(login).map_err(|cause| BridgeError::listen(login, cause))?;
        let refused = |cause| BridgeError::PortRefused {
            address: any_port().into(),
            cause,
        };
        let login = listener.local_addr().map_err(refused)?;
        let upstream = Upstream {
            role: ServerRole::Login,
            target: game.login,
        };
        listeners.push((listener, Some(upstream)));
        let (listener, nowhere) = listen_anywhere().map_err(refused)?;
        listeners.push((listener, None));
        let mut doors = HashMap::new();
        // A server that is the login server as well is found at the login address.
        let others = |target: &&SocketAddr| !fixed || **target != game.login;
        let named = [(ServerRole::Char, &game.char), (ServerRole::Map, &game.map)];
        for (role, targets) in named {
            for &target in targets.iter().filter(others) {
                if doors.contains_key(&target) {
                    continue;
                }
                let upstream = Upstream { role, target };
                let (listener, door) = if fixed {
                    listen_fixed(upstream)?
                } else {
                    listen_anywhere().map_err(refused)?
                };
                doors.insert(target, door);
                listeners.push((listener, Some(upstream)));
            }
        }
        let announced = Announced {
            doors,
            ..Announced::default()
        };
        let doors = Self {
            login,
            nowhere,
            limit,
            announced: Mutex::new(announced),
        };
        Ok((doors, listeners))
    }

    pub(crate) fn login(&self) -> SocketAddr {
        self.login
    }

    pub(crate) fn of(&self, role: ServerRole, target: SocketAddr) -> Option<SocketAddr> {
        match role {
            ServerRole::Login => Some(self.login),
            ServerRole::Char | ServerRole::Map => {
                let announced = self.announced.lock();
                announced.doors.get(&target).copied().map(SocketAddr::V4)
            }
        }
    }

    /// The door for a server; a new listener if it needs one, or what kept it from having one.
    fn find_or_bind(
        &self,
        upstream: Upstream,
    ) -> Result<(SocketAddrV4, Option<TcpListener>), Missing> {
        let mut announced = self.announced.lock();
        if let Some(door) = announced.doors.get(&upstream.target) {
            return Ok((*door, None));
        }
        let bound = if announced.others >= self.limit {
            Err(None)
        } else {
            listen_anywhere().map_err(Some)
        };
        match bound {
            Ok((listener, door)) => {
                announced.others += 1;
                announced.doors.insert(upstream.target, door);
                Ok((door, Some(listener)))
            }
            Err(cause) => Err(Missing {
                cause,
                first: !std::mem::replace(&mut announced.told, true),
            }),
        }
    }
}

/// A server has no door.
struct Missing {
    /// `None`: there are as many as there may be.
    cause: Option<io::Error>,
    /// It was not told yet.
    first: bool,
}

fn any_port() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)
}

/// Listens at once, without the runtime: the client may connect as soon as it knows the address.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn listen_anywhere() -> io::Result<(TcpListener, SocketAddrV4)> {
    let listener = listen(any_port().into())?;
    match listener.local_addr()? {
        SocketAddr::V4(door) => Ok((listener, door)),
        SocketAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

fn listen_fixed(upstream: Upstream) -> Result<(TcpListener, SocketAddrV4), BridgeError> {
    let Upstream { role, target } = upstream;
    let door = SocketAddrV4::new(Ipv4Addr::LOCALHOST, target.port());
    match listen(door.into()) {
        Ok(listener) => Ok((listener, door)),
        Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {
            Err(BridgeError::FixedPortInUse {
                address: door.into(),
                role: role.name(),
                target,
            })
        }
        Err(cause) => Err(BridgeError::PortRefused {
            address: door.into(),
            cause,
        }),
    }
}

/// Where the client is told to find the servers that are announced.
pub(crate) struct Book<'a> {
    shared: &'a Arc<Shared>,
    /// At most one: it is told once.
    missing: Vec<BridgeNotice>,
}

impl<'a> Book<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>) -> Self {
        Self {
            shared,
            missing: Vec::new(),
        }
    }

    /// Tells what is missing; not while the connection is locked.
    pub(crate) fn tell(self) {
        for notice in self.missing {
            self.shared.tell(notice);
        }
    }
}

impl AddressBook for Book<'_> {
    fn loopback_for(&mut self, role: Role, upstream: SocketAddrV4) -> SocketAddrV4 {
        let shared = self.shared;
        let upstream = Upstream {
            role: server_role(role),
            target: SocketAddr::V4(upstream),
        };
        match shared.doors.find_or_bind(upstream) {
            Ok((door, listener)) => {
                if let Some(listener) = listener {
                    serve(shared, listener, Some(upstream));
                }
                door
            }
            Err(missing) => {
                if missing.first {
                    tracing::warn!(server = %upstream.target, cause = ?missing.cause, "no door");
                    self.missing.push(BridgeNotice::DoorMissing {
                        role: upstream.role,
                        target: upstream.target,
                        cause: missing.cause.map(|cause| cause.to_string()),
                    });
                }
                // Left as it is, the client would go around the bridge, seen by everybody.
                shared.doors.nowhere
            }
        }
    }
}

pub(crate) fn server_role(role: Role) -> ServerRole {
    match role {
        Role::Login => ServerRole::Login,
        Role::Char => ServerRole::Char,
        Role::Map => ServerRole::Map,
    }
}

/// Accepts at a door until the bridge stops.
pub(crate) fn serve(shared: &Arc<Shared>, listener: TcpListener, behind: Behind) {
    let owner = Arc::clone(shared);
    shared.tasks.spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = owner.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match (accepted, behind) {
                (Ok((stream, peer)), Some(upstream)) => admit(&owner, stream, peer, upstream),
                (Ok((stream, _)), None) => reset(&stream),
                (Err(error), _) => {
                    tracing::warn!(%error, "the bridge cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
}

fn admit(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr, upstream: Upstream) {
    let n = shared.number();
    let upstream = shared.home.behind(upstream);
    let owner = Arc::clone(shared);
    // Room is taken here, so that a flood of connections makes no tasks.
    let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
        reset(&stream);
        shared.tell(BridgeNotice::Refused {
            n,
            role: upstream.role,
            target: upstream.target,
            reason: RefusedReason::TooManyConnections,
        });
        return;
    };
    shared.tasks.spawn(async move {
        connection::run(&owner, stream, n, peer, upstream).await;
        drop(place);
    });
}

/// The socket is reset instead of closed when it is dropped.
pub(crate) fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a socket cannot be reset, only closed");
    }
}
