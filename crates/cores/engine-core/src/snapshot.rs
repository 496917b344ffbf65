//! Everything that a window needs to draw itself at once: the sum of all events so far.
//!
//! A listener that joins late takes a [`Snapshot`] and then folds every further [`Event`] into it
//! with [`Snapshot::apply`]. The front end has the same fold in TypeScript; both are held against
//! the same recorded events, so that they cannot come to differ.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use warp_protocol::{carrier::PathKind, rest::AccountView, zone::ZoneView};

use crate::{
    event::{ConsoleAnswer, Event, PlayStep},
    view::{LinkState, Metrics, SwitchReason},
};

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
    /// Process id of the game, while it runs.
    pub game: Option<u32>,
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
            Event::Metrics { metrics } => self.metrics = Some(metrics.clone()),
            Event::GameStarted { pid, .. } => self.game = Some(*pid),
            Event::GameExited { .. } => self.game = None,
            Event::Console {
                answer: ConsoleAnswer::Debug { on },
                ..
            } => self.debug = *on,
            Event::Stopped => {
                let kept = Self {
                    account: self.account.take(),
                    zones: std::mem::take(&mut self.zones),
                    debug: self.debug,
                    ..Self::default()
                };
                *self = kept;
            }
            Event::Ended => *self = Self::default(),
            Event::StreamOpened { .. }
            | Event::StreamClosed { .. }
            | Event::SteppedDown { .. }
            | Event::Console { .. }
            | Event::Problem { .. } => {}
        }
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
                pid: 77,
                program: "game".into(),
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
        assert_eq!(snapshot.game, Some(77));
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
        });
        snapshot.apply(&state(LinkState::Connected, Some(PathKind::Direct), None));
        assert_eq!(snapshot.reason, Some(SwitchReason::Better));
        snapshot.apply(&state(LinkState::Reconnecting, None, None));
        assert_eq!((snapshot.path, snapshot.reason), (None, None));
    }
}
