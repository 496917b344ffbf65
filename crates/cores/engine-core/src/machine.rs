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

use std::collections::VecDeque;
use std::net::SocketAddr;

use warp_link_core::{CloseReason, LinkEvent};
use warp_protocol::carrier::PathKind;
use warp_protocol::rest::{AccountView, SessionGrant};
use warp_protocol::stream::ServerRole;
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode, Secret};

use crate::command::{Command, P2pCommand};
use crate::event::{ConsoleAnswer, Event, PlayStep, TokenStore};
use crate::snapshot::Snapshot;
use crate::view::{LinkState, Metrics, PathPhase, SwitchReason};

/// Something for the shell to do. Each is answered by the [`Outcome`] named in its text.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Tell everybody.
    Emit(Event),
    /// Sign in or register: [`Outcome::SignedIn`] or [`Outcome::SignInFailed`].
    SignIn {
        /// Account name.
        user: String,
        /// Password.
        password: Secret,
        /// Keep the refresh token.
        remember: bool,
        /// Make the account first.
        register: bool,
    },
    /// Sign in with the kept refresh token: same outcomes.
    Resume {
        /// Account name.
        user: String,
    },
    /// Revoke and forget the tokens.
    SignOut,
    /// [`Outcome::Zones`] or [`Outcome::Failed`].
    FetchZones,
    /// [`Outcome::Joined`] or [`Outcome::PlayFailed`].
    Join {
        /// Zone id.
        zone: String,
    },
    /// Open carriers and link: [`Outcome::LinkReady`] or [`Outcome::PlayFailed`], and
    /// [`Outcome::Link`] events all along.
    OpenLink {
        /// What the coordinator granted.
        grant: Box<SessionGrant>,
    },
    /// [`Outcome::BridgeReady`] or [`Outcome::PlayFailed`].
    OpenBridge {
        /// The zone.
        zone: Box<ZoneView>,
    },
    /// [`Outcome::GameStarted`], [`Outcome::GameExited`] or [`Outcome::GameFailed`].
    StartGame {
        /// Where the bridge listens.
        login: SocketAddr,
    },
    /// End the game process.
    StopGame,
    /// Close the loopback listeners and their connections.
    CloseBridge,
    /// Close link and carriers, and leave the session at the coordinator.
    CloseLink,
    /// Move to the standby: [`Outcome::Console`].
    FailOver {
        /// The console line that asked.
        line: String,
    },
    /// Open the WebRTC carrier anew: [`Outcome::Console`].
    Reconnect {
        /// The console line that asked.
        line: String,
    },
    /// More in the log, or less.
    SetDebug(bool),
    /// Everything is closed: end the loop.
    End,
}

/// What became of an effect, or what happened by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Signed in.
    SignedIn {
        /// Who.
        account: AccountView,
        /// Where the refresh token is.
        kept: TokenStore,
    },
    /// Not signed in.
    SignInFailed(Problem),
    /// The tokens were refused meanwhile.
    SignedOut(Problem),
    /// The zones.
    Zones(Vec<ZoneView>),
    /// Something failed that nothing waits for.
    Failed(Problem),
    /// The coordinator granted a session.
    Joined(Box<SessionGrant>),
    /// A step of Play failed.
    PlayFailed(Problem),
    /// The link is connected, over the preferred path if that came in time.
    LinkReady,
    /// The bridge listens.
    BridgeReady(SocketAddr),
    /// Something happened on the link.
    Link(LinkEvent),
    /// The numbers of the last second.
    Metrics(Box<Metrics>),
    /// An event of the bridge that is told as it is.
    Bridge(Event),
    /// A connection of the game was refused.
    ConnectionRefused {
        /// Which server it wanted.
        role: ServerRole,
        /// Its address.
        target: SocketAddr,
        /// Why.
        code: ProblemCode,
    },
    /// The game runs.
    GameStarted {
        /// Process id.
        pid: u32,
        /// The program.
        program: String,
    },
    /// The game ended.
    GameExited {
        /// Exit code, `None` for a signal.
        code: Option<i32>,
        /// The last lines of its error output.
        last_lines: Vec<String>,
    },
    /// The game could not be started.
    GameFailed(Problem),
    /// The answer to a console line.
    Console {
        /// The line.
        line: String,
        /// The answer.
        answer: ConsoleAnswer,
    },
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

/// The machine.
#[derive(Debug)]
pub struct Machine {
    account: Account,
    play: Play,
    game_running: bool,
    game_stopping: bool,
    ending: bool,
    snapshot: Snapshot,
    effects: VecDeque<Effect>,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// Signed out, at the zone list.
    pub fn new() -> Self {
        Self {
            account: Account::Out,
            play: Play::Idle,
            game_running: false,
            game_stopping: false,
            ending: false,
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

    fn emit(&mut self, event: Event) {
        self.snapshot.apply(&event);
        self.effects.push_back(Effect::Emit(event));
    }

    fn problem(&mut self, problem: Problem) {
        self.emit(Event::Problem { problem });
    }

    fn refuse(&mut self, command: &str, why: &str) {
        self.problem(Problem::new(ProblemCode::BadCommand, command).with_detail(why));
    }

    /// A command came in.
    pub fn on_command(&mut self, command: Command) {
        if self.ending {
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
            Command::Stop => {
                if self.play == Play::Idle {
                    self.refuse("stop", "nothing is being played");
                } else {
                    self.stop_play();
                }
            }
            Command::Console { line } => self.console(line),
            Command::Quit => {
                self.ending = true;
                if self.play != Play::Idle {
                    self.stop_play();
                }
                self.emit(Event::Ended);
                self.effects.push_back(Effect::End);
            }
        }
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
        self.emit(Event::Playing {
            zone: zone.clone(),
            step: PlayStep::Joining,
        });
        self.emit(Event::State {
            state: LinkState::Connecting,
            path: None,
            reason: None,
        });
        self.effects.push_back(Effect::Join { zone: zone.clone() });
        self.play = Play::Joining { zone, launch };
    }

    fn step(&mut self, step: PlayStep) {
        if let Some(zone) = self.play.zone() {
            let zone = zone.to_owned();
            self.emit(Event::Playing { zone, step });
        }
    }

    /// Undoes what Play has done so far, newest first.
    fn stop_play(&mut self) {
        if self.game_running {
            self.game_stopping = true;
            self.effects.push_back(Effect::StopGame);
        }
        match std::mem::replace(&mut self.play, Play::Idle) {
            Play::Idle | Play::Joining { .. } => {}
            Play::Opening { .. } => self.effects.push_back(Effect::CloseLink),
            Play::Bridging { .. } | Play::Playing { .. } => {
                self.effects.push_back(Effect::CloseBridge);
                self.effects.push_back(Effect::CloseLink);
            }
        }
        self.emit(Event::State {
            state: LinkState::Disconnected,
            path: None,
            reason: None,
        });
        self.emit(Event::Stopped);
    }

    fn console(&mut self, line: String) {
        let answer = match P2pCommand::parse(&line) {
            None => ConsoleAnswer::Unknown,
            Some(P2pCommand::Help) => ConsoleAnswer::Help,
            Some(P2pCommand::Debug(on)) => {
                self.snapshot.debug = on;
                self.effects.push_back(Effect::SetDebug(on));
                ConsoleAnswer::Debug { on }
            }
            Some(P2pCommand::Status) => self.status(),
            Some(P2pCommand::Metrics) => match &self.snapshot.metrics {
                Some(metrics) => ConsoleAnswer::Metrics {
                    metrics: metrics.clone(),
                },
                None => ConsoleAnswer::NotConnected,
            },
            Some(P2pCommand::FailOver) if self.has_link() => {
                return self.effects.push_back(Effect::FailOver { line });
            }
            Some(P2pCommand::Reconnect) if self.has_link() => {
                return self.effects.push_back(Effect::Reconnect { line });
            }
            Some(P2pCommand::FailOver | P2pCommand::Reconnect) => ConsoleAnswer::NotConnected,
        };
        self.emit(Event::Console { line, answer });
    }

    fn has_link(&self) -> bool {
        matches!(self.play, Play::Bridging { .. } | Play::Playing { .. })
    }

    /// An effect is done, or something happened.
    pub fn on_outcome(&mut self, outcome: Outcome) {
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
            Outcome::Joined(grant) => self.on_joined(grant),
            Outcome::PlayFailed(problem) => {
                if self.play != Play::Idle {
                    self.problem(problem);
                    self.stop_play();
                }
            }
            Outcome::LinkReady => self.on_link_ready(),
            Outcome::BridgeReady(login) => self.on_bridge_ready(login),
            Outcome::Link(event) => self.on_link_event(event),
            Outcome::Metrics(metrics) => {
                if self.has_link() {
                    self.emit(Event::Metrics { metrics: *metrics });
                }
            }
            Outcome::Bridge(event) => self.emit(event),
            Outcome::ConnectionRefused { role, target, code } => {
                let subject = format!("{} server {target}", role.name());
                self.problem(Problem::new(code, subject));
            }
            Outcome::GameStarted { pid, program } => {
                self.game_running = true;
                self.emit(Event::GameStarted { pid, program });
            }
            Outcome::GameExited { code, last_lines } => self.on_game_exited(code, &last_lines),
            Outcome::GameFailed(problem) => {
                self.game_running = false;
                self.problem(problem);
            }
            Outcome::Console { line, answer } => self.emit(Event::Console { line, answer }),
        }
    }

    fn on_joined(&mut self, grant: Box<SessionGrant>) {
        let Play::Joining { launch, .. } = self.play else {
            // Stopped meanwhile: give the session back.
            self.effects.push_back(Effect::CloseLink);
            return;
        };
        self.play = Play::Opening {
            zone: Box::new(grant.zone.clone()),
            launch,
        };
        self.step(PlayStep::OpeningPath);
        self.effects.push_back(Effect::OpenLink { grant });
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

    fn on_bridge_ready(&mut self, login: SocketAddr) {
        let Play::Bridging { zone, launch } = &self.play else {
            return;
        };
        let (zone, launch) = (zone.clone(), *launch);
        let id = zone.zone.zone_id.clone();
        self.play = Play::Playing { zone };
        self.emit(Event::BridgeReady { zone: id, login });
        if launch {
            self.step(PlayStep::StartingGame);
            self.effects.push_back(Effect::StartGame { login });
        }
        self.step(PlayStep::Ready);
    }

    fn on_link_event(&mut self, event: LinkEvent) {
        if self.play == Play::Idle {
            return;
        }
        match event {
            LinkEvent::State {
                state,
                path,
                reason,
            } => {
                if state == LinkState::Authenticating {
                    self.step(PlayStep::Authenticating);
                }
                if state != LinkState::Disconnected {
                    self.emit(Event::State {
                        state,
                        path,
                        reason,
                    });
                }
            }
            LinkEvent::Moved {
                from,
                to,
                reason,
                silent,
            } => self.emit(Event::Moved {
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
            LinkEvent::Closed(reason) => {
                let code = match reason {
                    CloseReason::Untrusted => ProblemCode::EndpointUntrusted,
                    _ => ProblemCode::LinkLost,
                };
                let zone = self.play.zone().unwrap_or_default().to_owned();
                self.problem(Problem::new(code, zone).with_detail(close_detail(&reason)));
                self.stop_play();
            }
            _ => {}
        }
    }

    fn on_game_exited(&mut self, code: Option<i32>, last_lines: &[String]) {
        self.game_running = false;
        let asked = std::mem::take(&mut self.game_stopping);
        let ok = asked || code == Some(0);
        self.emit(Event::GameExited { code, ok });
        if !ok {
            let mut how = code.map_or("ended by a signal".to_owned(), |code| {
                format!("exit code {code}")
            });
            for line in last_lines {
                how.push('\n');
                how.push_str(line);
            }
            self.problem(Problem::new(ProblemCode::GameFailed, "game").with_detail(how));
        }
    }

    fn status(&self) -> ConsoleAnswer {
        let shown = &self.snapshot;
        ConsoleAnswer::Status {
            state: shown.state,
            path: shown.path,
            reason: shown.reason,
            standby: shown.metrics.as_ref().map(standby).unwrap_or_default(),
            zone: shown.zone.clone(),
        }
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
#[path = "machine_tests.rs"]
mod tests;
