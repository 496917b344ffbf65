//! Play: the steps from Join to the open bridge, what the links say meanwhile, and the way back.

use std::net::SocketAddr;
use std::time::Duration;

use warp_link_core::{CloseReason, LinkEvent};
use warp_protocol::rest::SessionGrant;
use warp_protocol::stream::reset;
use warp_protocol::{Problem, ProblemCode};

use super::rejoin::may_come_back;
use super::{Account, Effect, LinkId, Machine, Play};
use crate::event::{Event, PlayStep};
use crate::view::{LinkState, SwitchReason};

impl Machine {
    pub(super) fn start_play(&mut self, zone: String, launch: bool) {
        if self.account != Account::In {
            return self.problem(Problem::new(ProblemCode::NotSignedIn, zone));
        }
        if self.play != Play::Idle {
            return self.refuse("play", "a zone is being played already; stop it first");
        }
        let prepared = self.take_prepared(&zone);
        self.statuses.clear();
        self.plain.over();
        self.shown = LinkId::CHOSEN;
        self.emit(Event::Playing {
            zone: zone.clone(),
            step: PlayStep::Joining,
        });
        self.emit(Event::State {
            state: LinkState::Connecting,
            path: None,
            reason: None,
        });
        match prepared {
            Some(prepared) => self.play_prepared(prepared, launch),
            None => {
                self.effects.push_back(Effect::Join {
                    link: LinkId::CHOSEN,
                    zone: zone.clone(),
                });
                self.play = Play::Joining { zone, launch };
            }
        }
    }

    pub(super) fn step(&mut self, step: PlayStep) {
        if let Some(zone) = self.play.zone() {
            let zone = zone.to_owned();
            self.emit(Event::Playing { zone, step });
        }
    }

    /// Undoes what Play has done so far, newest first.
    pub(super) fn stop_play(&mut self) {
        for game in self.games.to_stop() {
            self.games.stop(game);
            self.effects.push_back(Effect::StopGame { game });
        }
        let link = LinkId::CHOSEN;
        match std::mem::replace(&mut self.play, Play::Idle) {
            Play::Idle | Play::Joining { .. } => {}
            Play::Opening { .. } => self.effects.push_back(Effect::CloseLink { link }),
            Play::Bridging { .. } | Play::Playing { .. } => {
                self.effects.push_back(Effect::CloseBridge);
                self.roaming.stop();
                self.drain_roaming();
                self.effects.push_back(Effect::CloseLink { link });
            }
        }
        self.login = None;
        self.rejoin = None;
        self.fled.clear();
        self.emit(Event::State {
            state: LinkState::Disconnected,
            path: None,
            reason: None,
        });
        self.numbers.forget();
        self.emit(Event::Stopped);
    }

    pub(super) fn play_failed(&mut self, problem: Problem) {
        if self.play != Play::Idle {
            self.problem(problem);
            self.stop_play();
        }
    }

    pub(super) fn on_joined(&mut self, grant: Box<SessionGrant>) {
        if self.rejoin_granted(&grant) {
            return;
        }
        let Some(grant) = self.prepare_granted(grant) else {
            return;
        };
        let link = LinkId::CHOSEN;
        let Play::Joining { launch, .. } = self.play else {
            // Stopped meanwhile: give the session back.
            self.effects.push_back(Effect::CloseLink { link });
            return;
        };
        self.play = Play::Opening {
            zone: Box::new(grant.zone.clone()),
            launch,
        };
        self.step(PlayStep::OpeningPath);
        self.effects.push_back(Effect::OpenLink { link, grant });
    }

    pub(super) fn on_link_ready(&mut self) {
        self.prepare_ready();
        let Play::Opening { zone, launch } = &self.play else {
            return;
        };
        let (zone, launch) = (zone.clone(), *launch);
        self.play = Play::Bridging {
            zone: zone.clone(),
            launch,
        };
        self.step(PlayStep::OpeningBridge);
        self.effects.push_back(Effect::OpenBridge { zone });
    }

    pub(super) fn on_bridge_ready(&mut self, now: Duration, login: SocketAddr) {
        let Play::Bridging { zone, launch } = &self.play else {
            return;
        };
        let (zone, launch) = (zone.clone(), *launch);
        let id = zone.zone.zone_id.clone();
        self.roaming.start(&zone.zone);
        self.play = Play::Playing { zone };
        self.played_since = now;
        self.login = Some(login);
        self.emit(Event::BridgeReady { zone: id, login });
        if launch {
            self.step(PlayStep::StartingGame);
            self.first_game = self.launch();
        }
        self.step(PlayStep::Ready);
        self.host_this_zone();
    }

    pub(super) fn on_link_event(&mut self, now: Duration, link: LinkId, event: LinkEvent) {
        if link.is_chosen() && self.is_preparing() {
            return self.prepared_link(event);
        }
        if self.play == Play::Idle || !(link.is_chosen() || self.roaming.has(link)) {
            return;
        }
        match event {
            LinkEvent::State {
                state,
                path,
                reason,
            } => {
                let played = matches!(self.play, Play::Playing { .. });
                if state == LinkState::Authenticating && link.is_chosen() && !played {
                    self.step(PlayStep::Authenticating);
                }
                if state == LinkState::Connected && link.is_chosen() {
                    self.rejoined();
                }
                if state != LinkState::Disconnected {
                    self.statuses.insert(link, (state, path, reason));
                    if link == self.shown {
                        self.emit(Event::State {
                            state,
                            path,
                            reason,
                        });
                    }
                }
            }
            LinkEvent::Moved {
                from,
                to,
                reason,
                silent,
                costs,
            } if link == self.shown => self.emit(Event::Moved {
                from,
                to,
                reason,
                silent_ms: match reason {
                    SwitchReason::Silence | SwitchReason::CarrierClosed => {
                        silent.as_secs_f64() * 1000.0
                    }
                    // A healthy path says something once a heartbeat: no silence to tell of.
                    _ => 0.0,
                },
                costs,
            }),
            LinkEvent::Tampered(path) => {
                self.problem(Problem::new(ProblemCode::PathTampered, path.name()));
            }
            LinkEvent::Closed(reason) if link.is_chosen() => {
                let code = match reason {
                    CloseReason::Untrusted => ProblemCode::EndpointUntrusted,
                    CloseReason::Peer(code) if code == u64::from(reset::DEVICE_REVOKED) => {
                        ProblemCode::DeviceRevoked
                    }
                    CloseReason::Peer(code) if code == u64::from(reset::BANNED) => {
                        ProblemCode::Banned
                    }
                    _ => ProblemCode::LinkLost,
                };
                let zone = self.play.zone().unwrap_or_default().to_owned();
                let problem = Problem::new(code, zone).with_detail(close_detail(&reason));
                if may_come_back(&reason) && self.rejoin(now, &problem) {
                    return;
                }
                self.problem(problem);
                self.stop_play();
            }
            LinkEvent::Closed(reason) => self.roaming.closed(now, link, close_detail(&reason)),
            _ => {}
        }
    }
}

fn close_detail(reason: &CloseReason) -> String {
    match reason {
        CloseReason::Local => "closed here".into(),
        CloseReason::Peer(code) => format!("closed by the endpoint, code {code}"),
        CloseReason::Lost => "nothing was heard on any path for the hold time".into(),
        CloseReason::Untrusted => {
            "the other side did not prove the key that the coordinator named".into()
        }
        CloseReason::Protocol => "the other side broke the protocol".into(),
    }
}
