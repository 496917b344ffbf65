//! `/p2p` lines: from the window, the terminal, and the chat of the game.
//!
//! A line from the game is about the link that carries the newest map connection of its client; any
//! other about the shown link. `failover`, `reconnect` and `rekey` from elsewhere act on every link.

use std::time::Duration;

use warp_protocol::carrier::PathKind;

use super::{Asked, Asker, Effect, LinkId, Machine};
use crate::command::P2pCommand;
use crate::event::{ConsoleAnswer, Event};
use crate::text;
use crate::view::{Metrics, PathPhase, SwitchReason};

impl Machine {
    /// Answers a line, now or when the shell has looked.
    pub(super) fn console(&mut self, now: Duration, asked: Asked) {
        let command = P2pCommand::parse(&asked.line);
        if self.has_link() {
            let link = match asked.by {
                Asker::Console => self.shown,
                Asker::Game { client, .. } => {
                    client.map_or(LinkId::CHOSEN, |client| self.roaming.newest(Some(client)))
                }
            };
            let links = match asked.by {
                Asker::Console => {
                    let mut links = self.roaming.links();
                    // The shown one answers.
                    links.sort_by_key(|other| *other != link);
                    links
                }
                Asker::Game { .. } => vec![link],
            };
            match command {
                Some(P2pCommand::Status | P2pCommand::Metrics) => {
                    return self.effects.push_back(Effect::Measure { asked, link });
                }
                Some(P2pCommand::FailOver) => {
                    return self.effects.push_back(Effect::FailOver { asked, links });
                }
                Some(P2pCommand::Reconnect) => {
                    return self.effects.push_back(Effect::Reconnect { asked, links });
                }
                Some(P2pCommand::Rekey) => {
                    return self.effects.push_back(Effect::UpdateKeys { asked, links });
                }
                Some(P2pCommand::Use(path)) => {
                    let effect = Effect::UsePath { asked, links, path };
                    return self.effects.push_back(effect);
                }
                _ => {}
            }
        }
        let answer = match command {
            None => ConsoleAnswer::Unknown,
            Some(P2pCommand::Help) => ConsoleAnswer::Help,
            Some(P2pCommand::Debug { on, minutes }) => {
                self.debug_until =
                    minutes.map(|minutes| now + Duration::from_secs(60 * u64::from(minutes)));
                self.effects.push_back(Effect::SetDebug(on));
                ConsoleAnswer::Debug { on }
            }
            Some(P2pCommand::Redundant(mode)) => {
                let effect = Effect::SetRedundancy { asked, mode };
                return self.effects.push_back(effect);
            }
            Some(P2pCommand::Status) => self.status(asked.by, LinkId::CHOSEN, None),
            Some(
                P2pCommand::Metrics
                | P2pCommand::FailOver
                | P2pCommand::Reconnect
                | P2pCommand::Rekey
                | P2pCommand::Use(_),
            ) => ConsoleAnswer::NotConnected,
        };
        self.tell_answer(asked, answer);
    }

    /// Debug logging that was asked for a while ends by itself.
    pub(super) fn debug_on_time(&mut self, now: Duration) {
        if self.debug_until.is_some_and(|until| now >= until) {
            self.debug_until = None;
            self.effects.push_back(Effect::SetDebug(false));
            self.emit(Event::Console {
                line: "/p2p debug off".into(),
                answer: ConsoleAnswer::Debug { on: false },
            });
        }
    }

    /// The shell has looked.
    pub(super) fn on_measured(&mut self, asked: Asked, link: LinkId, metrics: Box<Metrics>) {
        let answer = match P2pCommand::parse(&asked.line) {
            Some(P2pCommand::Metrics) => ConsoleAnswer::Metrics { metrics },
            _ => self.status(asked.by, link, Some(&metrics)),
        };
        self.tell_answer(asked, answer);
    }

    pub(super) fn tell_answer(&mut self, asked: Asked, answer: ConsoleAnswer) {
        if let Asker::Game { connection, .. } = asked.by {
            let lines = text::answer_lines(&answer);
            self.effects
                .push_back(Effect::AnswerGame { connection, lines });
        }
        let line = asked.line;
        self.emit(Event::Console { line, answer });
    }

    /// State, path and standby as `metrics` has them, which are newer than what was told.
    fn status(&self, by: Asker, link: LinkId, metrics: Option<&Metrics>) -> ConsoleAnswer {
        let shown = &self.snapshot;
        let (state, path) = metrics.map_or((shown.state, shown.path), |now| (now.state, now.path));
        let at = match by {
            Asker::Game { client, .. } => shown
                .clients
                .iter()
                .find(|view| Some(view.client) == client),
            Asker::Console => match shown.clients.as_slice() {
                [only] => Some(only),
                _ => None,
            },
        };
        ConsoleAnswer::Status {
            state,
            path,
            reason: self.reason(link, path),
            standby: metrics.map(standby).unwrap_or_default(),
            zone: shown.zone.clone(),
            map: at.and_then(|view| view.map.clone()),
            map_zone: at.and_then(|view| view.zone.clone()),
            games: self.games.count(),
            quality: metrics.and_then(|metrics| metrics.quality),
        }
    }

    /// Why `path` is in use, where that was told.
    fn reason(&self, link: LinkId, path: Option<PathKind>) -> Option<SwitchReason> {
        if link == self.shown {
            // The event of a move has the reason, and the state that follows it need not.
            return self.snapshot.reason.filter(|_| self.snapshot.path == path);
        }
        let (_, told, reason) = self.statuses.get(&link)?;
        reason.filter(|_| *told == path)
    }
}

/// Paths that could take over at once.
fn standby(metrics: &Metrics) -> Vec<PathKind> {
    metrics
        .paths
        .iter()
        .filter(|path| path.phase == PathPhase::Standby)
        .map(|path| path.kind)
        .collect()
}
