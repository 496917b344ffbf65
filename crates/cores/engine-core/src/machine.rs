//! The launcher's state machine.
//!
//! Commands and results go in, events and effects come out; nothing is performed here. The shell
//! carries out each effect and hands its result back.
//!
//! ```text
//! account   out ──SignIn──▶ signing in ──▶ in ──SignOut──▶ out
//! play      idle ──Play──▶ joining ──▶ opening ──▶ bridging ──▶ playing ──Stop──▶ idle
//! ```
//!
//! A failure at any step of Play undoes the steps before it, newest first, and tells one problem.
//! While a zone is played, game clients come and go by themselves, and so do sessions in other
//! zones (`roaming`).
//!
//! Time is an argument of every call and never goes back. After each call carry out the effects,
//! tell which map connections are open ([`Machine::set_streams`]), call [`Machine::on_time`] and
//! carry out again; then sleep until [`Machine::next_time`].
//!
//! What is told of the connection ([`Event::State`], [`Event::Moved`]) is of the *shown* link: the
//! one that carries the newest map connection, else the chosen zone's.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use warp_link_core::{CloseReason, LinkEvent};
use warp_protocol::carrier::PathKind;
use warp_protocol::rest::SessionGrant;
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode, Secret};

use crate::command::Command;
use crate::config::Config;
use crate::event::{Event, PlayStep};
use crate::games::Games;
use crate::roaming::{Roaming, RoamingSettings};
use crate::snapshot::Snapshot;
use crate::view::{LinkState, SwitchReason};

pub use crate::effect::{Asked, Asker, Effect, LinkId, MapStream, Outcome, Routes, Way};

mod console;

/// What the configuration says to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Game clients at once.
    pub max_games: u32,
    /// How zones follow the map.
    pub roaming: RoamingSettings,
}

impl Settings {
    /// Those of `config`.
    pub fn of(config: &Config) -> Self {
        Self {
            max_games: config.game.max_instances,
            roaming: RoamingSettings {
                follow: config.p2p.follow_map,
                linger: Duration::from_secs(config.p2p.zone_linger_seconds),
            },
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Account {
    Out,
    SigningIn,
    In,
}

#[derive(Debug, Clone, PartialEq)]
enum Play {
    Idle,
    Joining { zone: String, launch: bool },
    Opening { zone: Box<ZoneView>, launch: bool },
    Bridging { zone: Box<ZoneView>, launch: bool },
    Playing { zone: Box<ZoneView> },
}

impl Play {
    fn zone(&self) -> Option<&str> {
        match self {
            Self::Idle => None,
            Self::Joining { zone, .. } => Some(zone),
            Self::Opening { zone, .. } | Self::Bridging { zone, .. } | Self::Playing { zone } => {
                Some(&zone.zone.zone_id)
            }
        }
    }
}

/// How long the end of the engine waits for the games that it has asked to end.
const GAMES_END: Duration = Duration::from_millis(1200);

/// State, path and reason of a link.
type Status = (LinkState, Option<PathKind>, Option<SwitchReason>);

/// The machine.
#[derive(Debug)]
pub struct Machine {
    account: Account,
    play: Play,
    /// When the bridge began to listen.
    played_since: Duration,
    login: Option<SocketAddr>,
    games: Games,
    /// The game client that Play itself asked for.
    first_game: Option<u64>,
    roaming: Roaming,
    /// What each link said last.
    statuses: BTreeMap<LinkId, Status>,
    /// The link whose state is told.
    shown: LinkId,
    /// The engine is ending: by then, or as soon as every game has.
    ending: Option<Duration>,
    over: bool,
    snapshot: Snapshot,
    effects: VecDeque<Effect>,
}

impl Machine {
    /// Signed out, at the zone list.
    pub fn new(settings: Settings) -> Self {
        Self {
            account: Account::Out,
            play: Play::Idle,
            played_since: Duration::ZERO,
            login: None,
            games: Games::new(settings.max_games),
            first_game: None,
            roaming: Roaming::new(settings.roaming),
            statuses: BTreeMap::new(),
            shown: LinkId::CHOSEN,
            ending: None,
            over: false,
            snapshot: Snapshot::default(),
            effects: VecDeque::new(),
        }
    }

    /// Everything a listener that comes late has to know.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The link whose numbers are shown.
    pub fn shown_link(&self) -> LinkId {
        self.shown
    }

    /// Milliseconds of play; 0 before the bridge listens.
    pub fn play_ms(&self, now: Duration) -> u64 {
        if !matches!(self.play, Play::Playing { .. }) {
            return 0;
        }
        let played = now.saturating_sub(self.played_since);
        u64::try_from(played.as_millis()).unwrap_or(u64::MAX)
    }

    /// When [`Machine::on_time`] has something to do by itself.
    pub fn next_time(&self) -> Option<Duration> {
        let ending = self.ending.filter(|_| !self.over);
        self.roaming.next_time().into_iter().chain(ending).min()
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Duration) {
        self.roaming.on_time(now);
        self.drain_roaming();
        let ended = self
            .ending
            .is_some_and(|by| now >= by || self.games.is_empty());
        if ended && !std::mem::replace(&mut self.over, true) {
            self.emit(Event::Ended);
            self.effects.push_back(Effect::End);
        }
    }

    /// The map connections that are open now.
    pub fn set_streams(&mut self, streams: Vec<MapStream>) {
        self.roaming.set_streams(streams);
        self.show();
    }

    fn emit(&mut self, event: Event) {
        self.snapshot.apply(&event);
        self.effects.push_back(Effect::Emit(event));
    }

    fn problem(&mut self, problem: Problem) {
        self.emit(Event::Problem { problem });
    }

    fn refuse(&mut self, command: &str, why: impl Into<String>) {
        self.problem(Problem::new(ProblemCode::BadCommand, command).with_detail(why));
    }

    /// A command came in.
    pub fn on_command(&mut self, now: Duration, command: Command) {
        if self.ending.is_some() {
            return;
        }
        match command {
            Command::Register {
                user,
                password,
                remember,
            } => self.sign_in(user, password, remember, true),
            Command::SignIn {
                user,
                password,
                remember,
            } => self.sign_in(user, password, remember, false),
            Command::Resume { user } => {
                if self.account == Account::Out {
                    self.account = Account::SigningIn;
                    self.effects.push_back(Effect::Resume { user });
                } else {
                    self.refuse("resume", "somebody is signed in already");
                }
            }
            Command::SignOut => self.sign_out(),
            Command::RefreshZones => {
                if self.account == Account::In {
                    self.effects.push_back(Effect::FetchZones);
                } else {
                    self.problem(Problem::new(ProblemCode::NotSignedIn, "zones"));
                }
            }
            Command::Play { zone, launch } => self.start_play(zone, launch),
            Command::Launch => {
                self.launch();
            }
            Command::StopGame { game } => {
                if self.games.stop(game) {
                    self.effects.push_back(Effect::StopGame { game });
                } else {
                    self.refuse("stop-game", format!("no game {game} runs here"));
                }
            }
            Command::Stop => {
                if self.play == Play::Idle {
                    self.refuse("stop", "nothing is being played");
                } else {
                    self.stop_play();
                }
            }
            Command::Console { line } => self.console(Asked {
                line,
                by: Asker::Console,
            }),
            Command::Quit => {
                self.ending = Some(now + GAMES_END);
                if self.play != Play::Idle {
                    self.stop_play();
                }
            }
        }
        self.drain_roaming();
    }

    fn sign_in(&mut self, user: String, password: Secret, remember: bool, register: bool) {
        if self.account != Account::Out {
            return self.refuse("sign-in", "somebody is signed in already");
        }
        self.account = Account::SigningIn;
        self.effects.push_back(Effect::SignIn {
            user,
            password,
            remember,
            register,
        });
    }

    fn sign_out(&mut self) {
        if self.play != Play::Idle {
            self.stop_play();
        }
        if self.account != Account::Out {
            self.account = Account::Out;
            self.effects.push_back(Effect::SignOut);
        }
        self.emit(Event::SignedOut);
    }

    fn start_play(&mut self, zone: String, launch: bool) {
        if self.account != Account::In {
            return self.problem(Problem::new(ProblemCode::NotSignedIn, zone));
        }
        if self.play != Play::Idle {
            return self.refuse("play", "a zone is being played already; stop it first");
        }
        self.statuses.clear();
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
        self.effects.push_back(Effect::Join {
            link: LinkId::CHOSEN,
            zone: zone.clone(),
        });
        self.play = Play::Joining { zone, launch };
    }

    /// Starts another game client, and gives its number.
    fn launch(&mut self) -> Option<u64> {
        let (Play::Playing { .. }, Some(login)) = (&self.play, self.login) else {
            self.refuse("launch", "no zone is being played");
            return None;
        };
        let Some((game, slot)) = self.games.launch() else {
            let max = self.games.max();
            let why = format!("{max} games run already; game.max_instances allows no more");
            self.refuse("launch", why);
            return None;
        };
        self.effects
            .push_back(Effect::StartGame { game, slot, login });
        Some(game)
    }

    fn step(&mut self, step: PlayStep) {
        if let Some(zone) = self.play.zone() {
            let zone = zone.to_owned();
            self.emit(Event::Playing { zone, step });
        }
    }

    /// Undoes what Play has done so far, newest first.
    fn stop_play(&mut self) {
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
        self.emit(Event::State {
            state: LinkState::Disconnected,
            path: None,
            reason: None,
        });
        self.emit(Event::Stopped);
    }

    fn has_link(&self) -> bool {
        matches!(self.play, Play::Bridging { .. } | Play::Playing { .. })
    }

    /// An effect is done, or something happened.
    pub fn on_outcome(&mut self, now: Duration, outcome: Outcome) {
        match outcome {
            Outcome::SignedIn { account, kept } => {
                if self.account == Account::SigningIn {
                    self.account = Account::In;
                    self.emit(Event::SignedIn { account, kept });
                    self.effects.push_back(Effect::FetchZones);
                }
            }
            Outcome::SignInFailed(problem) => {
                self.account = Account::Out;
                self.problem(problem);
            }
            Outcome::SignedOut(problem) => {
                self.account = Account::Out;
                self.problem(problem);
                self.emit(Event::SignedOut);
            }
            Outcome::Zones(zones) => self.emit(Event::Zones { zones }),
            Outcome::Failed(problem) => self.problem(problem),
            Outcome::PlayFailed(problem) => self.play_failed(problem),
            Outcome::BridgeReady(login) => self.on_bridge_ready(now, login),
            Outcome::Joined { link, grant } if link.is_chosen() => self.on_joined(grant),
            Outcome::LinkReady { link } if link.is_chosen() => self.on_link_ready(),
            Outcome::LinkFailed { link, problem } if link.is_chosen() => self.play_failed(problem),
            Outcome::Link { link, event } => self.on_link_event(now, link, event),
            Outcome::Joined { link, grant } => self.roaming.joined(link, grant),
            Outcome::LinkReady { link } => self.roaming.ready(now, link),
            Outcome::LinkFailed { link, problem } => self.roaming.failed(now, link, &problem),
            Outcome::LinkLeft { link } => self.roaming.left(link),
            Outcome::ZonesFound { map, zones } => self.roaming.zones_found(now, &map, &zones),
            Outcome::LookupFailed { map, problem } => {
                self.roaming.lookup_failed(now, &map, problem);
            }
            Outcome::MapChanged { client, map } => self.roaming.map_changed(now, client, map),
            Outcome::ClientGone { client } => {
                self.emit(Event::ClientGone { client });
                self.roaming.client_gone(now, client);
            }
            Outcome::Metrics(metrics) => {
                if self.has_link() {
                    self.emit(Event::Metrics { metrics: *metrics });
                }
            }
            Outcome::Measured {
                asked,
                link,
                metrics,
            } => self.on_measured(asked, link, *metrics),
            Outcome::Bridge(event) => self.emit(event),
            Outcome::GameCommand {
                connection,
                client,
                line,
            } => self.console(Asked {
                line,
                by: Asker::Game { connection, client },
            }),
            Outcome::ConnectionRefused { role, target, code } => {
                let subject = format!("{} server {target}", role.name());
                self.problem(Problem::new(code, subject));
            }
            Outcome::GameStarted { game, pid, program } => {
                self.games.started(game);
                self.emit(Event::GameStarted {
                    game,
                    pid,
                    program,
                    since_ms: self.play_ms(now),
                });
            }
            Outcome::GameExited {
                game,
                code,
                ok,
                how,
                last_lines,
            } => {
                let ok = self.games.ended(game) || ok;
                self.emit(Event::GameExited { game, code, ok });
                if !ok {
                    let mut lines = vec![how];
                    lines.extend(last_lines);
                    let problem = Problem::new(ProblemCode::GameFailed, format!("game {game}"));
                    self.problem(problem.with_detail(lines.join("\n")));
                }
            }
            Outcome::GameFailed { game, problem } => {
                self.games.ended(game);
                self.problem(problem);
            }
            Outcome::NoGame { game } => {
                let stopped = self.games.ended(game);
                // Play opens the bridge alone where there is nothing to start; a person who asks
                // for a game is told.
                if !stopped && self.first_game != Some(game) {
                    self.refuse("launch", "no game is configured; set game.executable");
                }
            }
            Outcome::Answered { asked, answer } => self.tell_answer(asked, answer),
        }
        self.drain_roaming();
    }

    /// Takes over what roaming wants done, and tells of another link if that is the shown one now.
    fn drain_roaming(&mut self) {
        while let Some(effect) = self.roaming.poll() {
            match effect {
                Effect::Emit(event) => self.emit(event),
                other => self.effects.push_back(other),
            }
        }
        let roaming = &self.roaming;
        self.statuses
            .retain(|link, _| link.is_chosen() || roaming.has(*link));
        self.show();
    }

    /// The link of the newest map connection, or the chosen zone's, is the shown one.
    fn show(&mut self) {
        if !self.has_link() {
            return;
        }
        let newest = self.roaming.newest(None);
        let link = if self.statuses.contains_key(&newest) {
            newest
        } else {
            LinkId::CHOSEN
        };
        if std::mem::replace(&mut self.shown, link) == link {
            return;
        }
        let Some((state, path, reason)) = self.statuses.get(&link).copied() else {
            return;
        };
        if (state, path) != (self.snapshot.state, self.snapshot.path) {
            self.emit(Event::State {
                state,
                path,
                reason,
            });
        }
    }

    fn play_failed(&mut self, problem: Problem) {
        if self.play != Play::Idle {
            self.problem(problem);
            self.stop_play();
        }
    }

    fn on_joined(&mut self, grant: Box<SessionGrant>) {
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

    fn on_link_ready(&mut self) {
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

    fn on_bridge_ready(&mut self, now: Duration, login: SocketAddr) {
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
    }

    fn on_link_event(&mut self, now: Duration, link: LinkId, event: LinkEvent) {
        if self.play == Play::Idle || !(link.is_chosen() || self.roaming.has(link)) {
            return;
        }
        match event {
            LinkEvent::State {
                state,
                path,
                reason,
            } => {
                if state == LinkState::Authenticating && link.is_chosen() {
                    self.step(PlayStep::Authenticating);
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
            } if link == self.shown => self.emit(Event::Moved {
                from,
                to,
                reason,
                silent_ms: match reason {
                    SwitchReason::Silence | SwitchReason::CarrierClosed => {
                        silent.as_secs_f64() * 1000.0
                    }
                    // A healthy path says something once a heartbeat: no silence to tell of.
                    SwitchReason::First | SwitchReason::Better | SwitchReason::Asked => 0.0,
                },
            }),
            LinkEvent::Closed(reason) if link.is_chosen() => {
                let code = match reason {
                    CloseReason::Untrusted => ProblemCode::EndpointUntrusted,
                    _ => ProblemCode::LinkLost,
                };
                let zone = self.play.zone().unwrap_or_default().to_owned();
                self.problem(Problem::new(code, zone).with_detail(close_detail(&reason)));
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

#[cfg(test)]
mod tests;
