//! The game servers that the bridge leads to, which are others when play goes on in another zone.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use warp_protocol::stream::ServerRole;
use warp_protocol::zone::GameServer;

use crate::doors::Upstream;

/// What of them concerns a client that is signed in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Servers {
    pub(crate) login: SocketAddr,
    /// How long they may be away before others are asked for; `None`: there are none.
    pub(crate) away: Option<Duration>,
}

#[derive(Debug)]
struct Now {
    game: GameServer,
    away: Option<Duration>,
    /// They are not those that the bridge began with.
    moved: bool,
    /// The char server that a client was led to since.
    char: Option<SocketAddr>,
}

/// See the module. Watchers are woken when the servers are others.
#[derive(Debug)]
pub(crate) struct Home(watch::Sender<Now>);

impl Home {
    pub(crate) fn new(game: GameServer, away: Option<Duration>) -> Self {
        let now = Now {
            game,
            away,
            moved: false,
            char: None,
        };
        Self(watch::Sender::new(now))
    }

    pub(crate) fn set(&self, game: GameServer, away: Option<Duration>) {
        self.0.send_if_modified(|now| {
            now.away = away;
            if now.game == game {
                return false;
            }
            *now = Now {
                game,
                away,
                moved: true,
                char: None,
            };
            true
        });
    }

    /// A client that is signed in again was led to this char server.
    pub(crate) fn led_to_char(&self, server: SocketAddr) {
        self.0.send_if_modified(|now| {
            now.char = Some(server);
            false
        });
    }

    /// Where a door leads now. Clients know the doors of the servers that they signed in at: behind those
    /// of login and char are the present ones. To map servers they are sent anew by each char server.
    pub(crate) fn behind(&self, door: Upstream) -> Upstream {
        let now = self.0.borrow();
        let target = match door.role {
            ServerRole::Login => Some(now.game.login),
            ServerRole::Char if now.moved && !now.game.char.contains(&door.target) => {
                now.char.or_else(|| now.game.char.first().copied())
            }
            ServerRole::Char | ServerRole::Map => None,
        };
        Upstream {
            target: target.unwrap_or(door.target),
            ..door
        }
    }

    pub(crate) fn watch(&self) -> Watcher {
        Watcher(self.0.subscribe())
    }
}

/// Waits for other servers.
pub(crate) struct Watcher(watch::Receiver<Now>);

impl Watcher {
    /// What they are; from here on others are waited for.
    pub(crate) fn servers(&mut self) -> Servers {
        let now = self.0.borrow_and_update();
        Servers {
            login: now.game.login,
            away: now.away,
        }
    }

    /// Waits for others. Safe to cancel.
    pub(crate) async fn moved(&mut self) -> Servers {
        match self.0.changed().await {
            Ok(()) => self.servers(),
            // The bridge has ended; whoever waits is told otherwise.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_protocol::zone::ReadLevel;

    fn server(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn game(base: u16) -> GameServer {
        GameServer {
            packet_version: 0,
            level: ReadLevel::Assist,
            login: server(base),
            char: vec![server(base + 1), server(base + 2)],
            map: vec![server(base + 3)],
        }
    }

    #[test]
    fn old_doors_lead_to_the_present_servers() {
        let home = Home::new(game(100), None);
        let behind = |role, port| {
            let target = server(port);
            home.behind(Upstream { role, target }).target
        };
        let (login, char, map) = (ServerRole::Login, ServerRole::Char, ServerRole::Map);
        // Also one that was announced and that the zone does not name.
        for (role, port) in [(login, 100), (char, 101), (char, 109), (map, 103)] {
            assert_eq!(behind(role, port), server(port));
        }
        home.set(game(200), None);
        assert_eq!(behind(login, 100), server(200));
        assert_eq!(behind(char, 101), server(201));
        home.led_to_char(server(202));
        assert_eq!(behind(char, 101), server(202));
        assert_eq!(behind(char, 201), server(201));
        assert_eq!(behind(map, 103), server(103));
    }

    #[test]
    fn only_other_servers_wake_who_waits() {
        let home = Home::new(game(100), None);
        let mut watcher = home.watch();
        let away = Some(Duration::from_secs(8));
        home.set(game(100), away);
        home.led_to_char(server(101));
        assert!(watcher.0.has_changed().is_ok_and(|changed| !changed));
        home.set(game(200), away);
        assert!(watcher.0.has_changed().is_ok_and(|changed| changed));
        let login = server(200);
        assert_eq!(watcher.servers(), Servers { login, away });
        assert!(watcher.0.has_changed().is_ok_and(|changed| !changed));
    }
}
