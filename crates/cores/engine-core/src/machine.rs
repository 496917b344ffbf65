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

use warp_protocol::carrier::PathKind;
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode, Secret};

use crate::command::Command;
use crate::config::Config;
use crate::event::Event;
use crate::games::Games;
use crate::levels::Thresholds;
use crate::roaming::{Roaming, RoamingSettings};
use crate::snapshot::Snapshot;
use crate::text;
use crate::view::{LinkState, SwitchReason};

pub use crate::effect::{Asked, Asker, Effect, HostEnd, LinkId, MapStream, Outcome, Routes, Way};

mod console;
mod hosting;
mod numbers;
mod plain;
mod play;
mod prepare;
mod rejoin;

use hosting::Hosting;
pub use hosting::HostingSettings;
pub use numbers::MEASURE_EVERY;
use numbers::Numbers;
use plain::Plain;
use prepare::Prepared;
use rejoin::Rejoin;
pub use rejoin::{SERVERS_AWAY, servers_away};

/// What the configuration says to the machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Game clients at once.
    pub max_games: u32,
    /// How zones follow the map.
    pub roaming: RoamingSettings,
    /// Time between two tellings of the numbers while nobody watches.
    pub metrics_interval: Duration,
    /// From where on a figure is fair, and poor.
    pub thresholds: Thresholds,
    /// Whether and for whom to be a host.
    pub hosting: HostingSettings,
    /// Game clients on a map are kept when their server is lost.
    pub reentry: bool,
    /// How long a lost link is asked for again.
    pub rejoin_within: Duration,
    /// Game servers may be dialled from here where a zone allows it and there is no path to its endpoint.
    pub plain_tcp: bool,
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
            metrics_interval: Duration::from_millis(config.p2p.metrics_interval_ms),
            thresholds: config.p2p.thresholds,
            hosting: HostingSettings {
                enabled: config.hosting.enabled,
                zones: config.hosting.zones.clone(),
                not_while_playing: config.hosting.not_while_playing,
            },
            reentry: config.bridge.reentry,
            rejoin_within: Duration::from_millis(config.bridge.reentry_timeout_ms),
            plain_tcp: config.paths().contains(&PathKind::Tcp),
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
    /// Number of the newest sign-in.
    attempt: u64,
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
    /// This machine and its network are being looked at.
    diagnosing: bool,
    reentry: bool,
    rejoin_within: Duration,
    plain: Plain,
    rejoin: Option<Rejoin>,
    /// Zones that were left for their fallback, and when.
    fled: Vec<(String, Duration)>,
    /// The zone whose paths are open before Play; only while nothing is played.
    prepared: Option<Prepared>,
    /// Debug logging ends by then.
    debug_until: Option<Duration>,
    /// Packets are shown, or the coordinator is being asked whether they may be.
    inspecting: bool,
    /// The engine is ending: by then, or as soon as every game has.
    ending: Option<Duration>,
    over: bool,
    numbers: Numbers,
    hosting: Hosting,
    /// What staff said last.
    last_notice: Option<Event>,
    snapshot: Snapshot,
    effects: VecDeque<Effect>,
}

impl Machine {
    /// Signed out, at the zone list.
    pub fn new(settings: Settings) -> Self {
        Self {
            account: Account::Out,
            attempt: 0,
            play: Play::Idle,
            played_since: Duration::ZERO,
            login: None,
            games: Games::new(settings.max_games),
            first_game: None,
            roaming: Roaming::new(settings.roaming),
            statuses: BTreeMap::new(),
            shown: LinkId::CHOSEN,
            diagnosing: false,
            last_notice: None,
            reentry: settings.reentry,
            rejoin_within: settings.rejoin_within,
            plain: Plain::new(settings.plain_tcp),
            rejoin: None,
            fled: Vec::new(),
            prepared: None,
            debug_until: None,
            inspecting: false,
            ending: None,
            over: false,
            numbers: Numbers::new(&settings),
            hosting: Hosting::new(settings.hosting),
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
        let rejoin = self.rejoin_next();
        let all = [
            self.roaming.next_time(),
            ending,
            rejoin,
            self.prepared_until(),
            self.debug_until,
        ];
        all.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Duration) {
        self.rejoin_on_time(now);
        self.prepared_on_time(now);
        self.debug_on_time(now);
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
                    let attempt = self.begin_sign_in();
                    self.effects.push_back(Effect::Resume { attempt, user });
                } else {
                    self.refuse("resume", "somebody is signed in already");
                }
            }
            Command::SignOut => self.sign_out(Effect::SignOut),
            Command::ForgetAccount { user } => {
                self.effects.push_back(Effect::ForgetAccount { user });
            }
            Command::LeaveAccount => self.sign_out(Effect::LeaveAccount),
            Command::SignOutEverywhere => self.sign_out(Effect::SignOutEverywhere),
            Command::RefreshZones => {
                if self.account == Account::In {
                    self.effects.push_back(Effect::FetchZones);
                } else {
                    self.problem(Problem::new(ProblemCode::NotSignedIn, "zones"));
                }
            }
            Command::Prepare { zone } => self.prepare(now, zone),
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
            Command::Watch { on } => self.numbers.watch(on),
            Command::Console { line } => self.console(
                now,
                Asked {
                    line,
                    by: Asker::Console,
                },
            ),
            Command::Staff { ask } => {
                if self.account == Account::In {
                    self.effects.push_back(Effect::Staff(ask));
                } else {
                    self.problem(Problem::new(ProblemCode::NotSignedIn, "staff"));
                }
            }
            Command::Inspect { on } => self.inspect(on),
            Command::HostStart {
                zones,
                max_players,
                upload_mbps,
                upstreams,
            } => self.start_host(zones, max_players, upload_mbps, upstreams),
            Command::HostStop => self.stop_host(),
            Command::Diagnose => {
                if std::mem::replace(&mut self.diagnosing, true) {
                    self.refuse("diagnose", "one is under way");
                } else {
                    self.effects.push_back(Effect::Diagnose);
                }
            }
            Command::Quit => {
                self.ending = Some(now + GAMES_END);
                self.end_host(HostEnd::Soon);
                self.unprepare();
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
        let attempt = self.begin_sign_in();
        self.effects.push_back(Effect::SignIn {
            attempt,
            user,
            password,
            remember,
            register,
        });
    }

    /// What comes of an attempt of before counts no more.
    fn begin_sign_in(&mut self) -> u64 {
        self.account = Account::SigningIn;
        self.attempt += 1;
        self.attempt
    }

    fn sign_out(&mut self, how: Effect) {
        if self.play != Play::Idle {
            self.stop_play();
        }
        self.unprepare();
        self.end_host(HostEnd::Now);
        self.inspect(false);
        if self.account != Account::Out {
            self.account = Account::Out;
            self.effects.push_back(how);
        }
        self.emit(Event::SignedOut);
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

    /// Whether packets may be shown is the coordinator's to say, so there is no telling before.
    fn inspect(&mut self, on: bool) {
        if on && self.account != Account::In {
            return self.problem(Problem::new(ProblemCode::NotSignedIn, "inspect"));
        }
        if std::mem::replace(&mut self.inspecting, on) || on {
            self.effects.push_back(Effect::Inspect { on });
        }
    }

    fn has_link(&self) -> bool {
        matches!(self.play, Play::Bridging { .. } | Play::Playing { .. })
    }

    /// A notice to all players comes once for each session; it is told once.
    fn on_told(&mut self, event: Event) {
        if self.play == Play::Idle && matches!(event, Event::SessionEnded { .. }) {
            // Nobody has pressed Play yet: the link says the rest.
            return;
        }
        if let Event::Notice {
            text, from, zone, ..
        } = &event
        {
            if self.last_notice.as_ref() == Some(&event) {
                return;
            }
            let lines = text::notice_lines(text, from, zone.as_deref());
            self.effects.push_back(Effect::TellGames { lines });
            self.last_notice = Some(event.clone());
        }
        self.emit(event);
    }

    /// An effect is done, or something happened.
    pub fn on_outcome(&mut self, now: Duration, outcome: Outcome) {
        match outcome {
            Outcome::SignedIn { attempt, .. } | Outcome::SignInFailed { attempt, .. }
                if self.account != Account::SigningIn || attempt != self.attempt =>
            {
                // It was given up meanwhile.
            }
            Outcome::SignedIn {
                account,
                kept,
                device,
                ..
            } => {
                self.account = Account::In;
                self.emit(Event::SignedIn { account, kept });
                if let Some((key, kept)) = device {
                    self.emit(Event::Device { key, kept });
                }
                self.plain.list_asked();
                self.effects.push_back(Effect::FetchZones);
                self.host_by_itself();
            }
            Outcome::SignInFailed { problem, .. } => {
                self.account = Account::Out;
                self.problem(problem);
            }
            Outcome::SignedOut(problem) => {
                self.account = Account::Out;
                self.end_host(HostEnd::Now);
                self.unprepare();
                self.inspect(false);
                self.problem(problem);
                self.emit(Event::SignedOut);
            }
            Outcome::Zones(zones) => {
                self.emit(Event::Zones { zones });
                self.list_came();
            }
            Outcome::Failed(problem) => {
                self.problem(problem);
                // It may have been the list.
                self.list_came();
            }
            Outcome::PlayFailed(problem) => self.play_failed(problem),
            Outcome::BridgeReady(login) => self.on_bridge_ready(now, login),
            Outcome::Joined { link, grant } if link.is_chosen() => self.on_joined(grant),
            Outcome::LinkReady { link } if link.is_chosen() => self.on_link_ready(),
            Outcome::LinkFailed { link, problem } if link.is_chosen() => {
                if self.is_preparing() {
                    self.prepare_failed(problem);
                } else if !self.rejoin_failed(now, &problem) && !self.play_plain(&problem) {
                    self.play_failed(problem);
                }
            }
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
            Outcome::ServersAway { client } => self.servers_away(now, client),
            Outcome::Metrics(metrics) => self.on_metrics(now, metrics),
            Outcome::Measured {
                asked,
                link,
                metrics,
            } => self.on_measured(asked, link, metrics),
            Outcome::Bridge(event) => self.emit(event),
            Outcome::Told(event) => self.on_told(event),
            Outcome::GameCommand {
                connection,
                client,
                line,
            } => self.console(
                now,
                Asked {
                    line,
                    by: Asker::Game { connection, client },
                },
            ),
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
            Outcome::HostState(host) => self.on_host_state(host),
            Outcome::Prepared {
                path,
                rtt_ms,
                quality,
            } => self.prepared_measured(path, rtt_ms, quality),
            Outcome::Staff { ask, answer } => self.emit(Event::Staff { ask, answer }),
            Outcome::Inspecting(true) if !self.inspecting => {
                // Nobody wants them any more.
                self.effects.push_back(Effect::Inspect { on: false });
            }
            Outcome::Inspecting(on) => {
                self.inspecting = on;
                self.emit(Event::Inspecting { on });
            }
            Outcome::NotInspecting(problem) => {
                self.inspecting = false;
                self.problem(problem);
                self.emit(Event::Inspecting { on: false });
            }
            Outcome::Packets { packets, dropped } if self.inspecting => {
                self.emit(Event::Packets { packets, dropped });
            }
            Outcome::Packets { .. } => {}
            Outcome::Diagnosed { diagnosis, export } => {
                self.diagnosing = false;
                self.emit(Event::Diagnosed { diagnosis, export });
            }
        }
        self.pause_host();
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
}

#[cfg(test)]
mod tests;
