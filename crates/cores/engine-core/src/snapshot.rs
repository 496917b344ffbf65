//! Everything that a window needs to draw itself at once: the sum of all events so far.
//!
//! A listener that joins late takes a [`Snapshot`] and then folds every further [`Event`] into it
//! with [`Snapshot::apply`]. The front end has the same fold in TypeScript; both are held against
//! the same recorded events, so that they cannot come to differ.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use warp_host_core::HostStatusView;
use warp_protocol::{carrier::PathKind, rest::AccountView, zone::ZoneView};

use crate::{
    event::{ConsoleAnswer, Event, PlayStep},
    view::{ClientView, GameView, LinkState, Metrics, SwitchReason},
};

/// Game clients of the bridge that a snapshot holds; further ones are not shown.
pub const MAX_CLIENTS: usize = 64;

/// The present state, without its history. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ts_rs::TS)]
pub struct Snapshot {
    /// Who is signed in.
    pub account: Option<AccountView>,
    /// The zones as the coordinator listed them last.
    pub zones: Vec<ZoneView>,
    /// The zone that is played, from the first step of Play on.
    pub zone: Option<String>,
    /// The step of Play that was begun last.
    pub step: Option<PlayStep>,
    /// Loopback address of the login server, while the bridge listens.
    #[ts(type = "string | null")]
    pub bridge: Option<SocketAddr>,
    /// State of the connection.
    pub state: LinkState,
    /// The path in use.
    pub path: Option<PathKind>,
    /// Why that path is in use.
    pub reason: Option<SwitchReason>,
    /// The latest numbers.
    pub metrics: Option<Metrics>,
    /// The game clients that were started here and run, oldest first.
    pub games: Vec<GameView>,
    /// The game clients that the bridge sees, by number; at most [`MAX_CLIENTS`].
    pub clients: Vec<ClientView>,
    /// Zones beside the chosen one in which there is a session, in the order they were joined.
    pub joined: Vec<String>,
    /// Hosting, as it was told last; none: there was none since the start.
    pub host: Option<HostStatusView>,
    /// Debug logging is on.
    pub debug: bool,
}

impl Snapshot {
    /// Folds `event` in.
    ///
    /// The reason belongs to the path: it stays while the path stays, is replaced by a newer one,
    /// and goes when the path changes or goes without a reason being told.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::SignedIn { account, .. } => self.account = Some(account.clone()),
            Event::SignedOut => {
                self.account = None;
                self.zones.clear();
            }
            Event::Zones { zones } => self.zones.clone_from(zones),
            Event::Playing { zone, step } => {
                self.zone = Some(zone.clone());
                self.step = Some(*step);
            }
            Event::BridgeReady { zone, login } => {
                self.zone = Some(zone.clone());
                self.bridge = Some(*login);
            }
            Event::State {
                state,
                path,
                reason,
            } => {
                self.state = *state;
                if reason.is_some() || *path != self.path {
                    self.reason = *reason;
                }
                self.path = *path;
            }
            Event::Moved { to, reason, .. } => {
                self.path = Some(*to);
                self.reason = Some(*reason);
            }
            Event::Metrics { metrics } => self.metrics = Some(Metrics::clone(metrics)),
            Event::GameStarted {
                game,
                pid,
                program,
                since_ms,
            } => self.games.push(GameView {
                game: *game,
                pid: *pid,
                program: program.clone(),
                since_ms: *since_ms,
            }),
            Event::GameExited { game, .. } => self.games.retain(|view| view.game != *game),
            Event::ClientSeen { client } => {
                self.client(*client);
            }
            Event::ClientGone { client } => self.clients.retain(|view| view.client != *client),
            Event::MapChanged { client, map, zone } => {
                if let Some(view) = self.client(*client) {
                    view.map = Some(map.clone());
                    view.zone.clone_from(zone);
                }
            }
            Event::ZoneJoined { zone } => {
                if !self.joined.contains(zone) {
                    self.joined.push(zone.clone());
                }
            }
            Event::ZoneLeft { zone } => self.joined.retain(|joined| joined != zone),
            Event::Console {
                answer: ConsoleAnswer::Debug { on },
                ..
            } => self.debug = *on,
            Event::Stopped => {
                let kept = Self {
                    account: self.account.take(),
                    zones: std::mem::take(&mut self.zones),
                    host: self.host.take(),
                    debug: self.debug,
                    ..Self::default()
                };
                *self = kept;
            }
            Event::HostState { host } => self.host = Some(HostStatusView::clone(host)),
            Event::Ended => *self = Self::default(),
            Event::ReentryStarted { .. }
            | Event::ReentryStep { .. }
            | Event::ReentryDone { .. }
            | Event::ReentryFailed { .. }
            | Event::StreamOpened { .. }
            | Event::StreamClosed { .. }
            | Event::Device { .. }
            | Event::SteppedDown { .. }
            | Event::LevelChanged { .. }
            | Event::VersionKnown { .. }
            | Event::Notice { .. }
            | Event::SessionEnded { .. }
            | Event::Console { .. }
            | Event::Diagnosed { .. }
            | Event::Prepared { .. }
            | Event::Staff { .. }
            | Event::Inspecting { .. }
            | Event::Packets { .. }
            | Event::Problem { .. } => {}
        }
    }

    /// The view of a client, made if there is none yet; `None` for client 0, which is nobody, and
    /// when there are [`MAX_CLIENTS`] others.
    fn client(&mut self, client: u64) -> Option<&mut ClientView> {
        let place = match self
            .clients
            .binary_search_by_key(&client, |view| view.client)
        {
            Ok(place) => place,
            Err(_) if client == 0 || self.clients.len() >= MAX_CLIENTS => return None,
            Err(place) => {
                self.clients.insert(
                    place,
                    ClientView {
                        client,
                        map: None,
                        zone: None,
                    },
                );
                place
            }
        };
        self.clients.get_mut(place)
    }
}

/// What a window says of itself and of the server behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct About {
    /// Version of the launcher.
    pub version: String,
    /// Version of the web view that draws the window, where the system tells it.
    pub webview: Option<String>,
    /// Operating system and processor.
    pub platform: String,
    /// The coordinator's address; `None` while it is not known yet.
    pub coordinator: Option<String>,
    /// The coordinator runs inside the launcher, with a practice game behind it.
    pub embedded: bool,
    /// The configuration file in use; `None`: there is none.
    pub config: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_protocol::rest::AccountRole;

    fn play() -> Snapshot {
        let mut snapshot = Snapshot::default();
        for event in [
            Event::SignedIn {
                account: AccountView {
                    name: "poring".into(),
                    role: AccountRole::Player,
                },
                kept: crate::event::TokenStore::Memory,
            },
            Event::Playing {
                zone: "prontera".into(),
                step: PlayStep::OpeningPath,
            },
            Event::State {
                state: LinkState::Connected,
                path: Some(PathKind::Wss),
                reason: Some(SwitchReason::First),
            },
            Event::BridgeReady {
                zone: "prontera".into(),
                login: ([127, 0, 0, 1], 6900).into(),
            },
            Event::GameStarted {
                game: 1,
                pid: 77,
                program: "game".into(),
                since_ms: 5,
            },
        ] {
            snapshot.apply(&event);
        }
        snapshot
    }

    #[test]
    fn play_adds_up_and_stop_leaves_only_the_account() {
        let mut snapshot = play();
        assert_eq!(snapshot.zone.as_deref(), Some("prontera"));
        assert_eq!(snapshot.step, Some(PlayStep::OpeningPath));
        assert_eq!(snapshot.bridge, Some(([127, 0, 0, 1], 6900).into()));
        assert_eq!(snapshot.games.len(), 1);
        assert_eq!((snapshot.games[0].pid, snapshot.games[0].since_ms), (77, 5));
        snapshot.apply(&Event::Console {
            line: "/p2p debug on".into(),
            answer: ConsoleAnswer::Debug { on: true },
        });
        snapshot.apply(&Event::Stopped);
        let expected = Snapshot {
            account: snapshot.account.clone(),
            debug: true,
            ..Snapshot::default()
        };
        assert!(expected.account.is_some());
        assert_eq!(snapshot, expected);
        snapshot.apply(&Event::SignedOut);
        assert_eq!(snapshot.account, None);
    }

    #[test]
    fn games_and_clients_and_zones_come_and_go_one_by_one() {
        let mut snapshot = play();
        snapshot.apply(&Event::GameStarted {
            game: 2,
            pid: 78,
            program: "game".into(),
            since_ms: 9,
        });
        snapshot.apply(&Event::GameExited {
            game: 1,
            code: Some(0),
            ok: true,
        });
        let pids: Vec<u32> = snapshot.games.iter().map(|game| game.pid).collect();
        assert_eq!(pids, [78]);

        for client in [2, 1] {
            snapshot.apply(&Event::ClientSeen { client });
        }
        for client in [0, 2] {
            snapshot.apply(&Event::MapChanged {
                client,
                map: "geffen".into(),
                zone: Some("west".into()),
            });
        }
        snapshot.apply(&Event::ClientGone { client: 1 });
        let expected = ClientView {
            client: 2,
            map: Some("geffen".into()),
            zone: Some("west".into()),
        };
        assert_eq!(snapshot.clients, [expected]);
        for client in 3..200 {
            snapshot.apply(&Event::ClientSeen { client });
        }
        assert_eq!(snapshot.clients.len(), MAX_CLIENTS);

        let west = || String::from("west");
        snapshot.apply(&Event::ZoneJoined { zone: west() });
        snapshot.apply(&Event::ZoneJoined { zone: west() });
        assert_eq!(snapshot.joined, [west()]);
        snapshot.apply(&Event::ZoneLeft { zone: west() });
        assert!(snapshot.joined.is_empty());
    }

    #[test]
    fn the_reason_stays_with_its_path() {
        let mut snapshot = play();
        let state = |state, path, reason| Event::State {
            state,
            path,
            reason,
        };
        snapshot.apply(&state(LinkState::Reconnecting, Some(PathKind::Wss), None));
        assert_eq!(snapshot.reason, Some(SwitchReason::First));
        snapshot.apply(&Event::Moved {
            from: PathKind::Wss,
            to: PathKind::Direct,
            reason: SwitchReason::Better,
            silent_ms: 0.0,
            costs: None,
        });
        snapshot.apply(&state(LinkState::Connected, Some(PathKind::Direct), None));
        assert_eq!(snapshot.reason, Some(SwitchReason::Better));
        snapshot.apply(&state(LinkState::Reconnecting, None, None));
        assert_eq!((snapshot.path, snapshot.reason), (None, None));
    }
}
