//! The loop: one owner of the state machine, commands and outcomes in, effects carried out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_bridge::Bridge;
use warp_engine_core::command::Command;
use warp_engine_core::config::Config;
use warp_engine_core::event::{ConsoleAnswer, Event, TokenStore};
use warp_engine_core::machine::{Effect, Machine, Outcome};
use warp_engine_core::snapshot::Snapshot;
use warp_engine_core::view::SwitchReason;
use warp_link_core::{Identity, LinkEvent};
use warp_protocol::rest::{AccountView, JoinRequest, SessionGrant};
use warp_protocol::{Problem, ProblemCode, Secret};

use crate::coordinator::Coordinator;
use crate::game;
use crate::handle::EngineOptions;
use crate::play::{self, Outbox, Session, Tagged};
use crate::tokens;

/// Outcomes that may wait; senders wait too when it is full.
const OUTCOMES: usize = 512;
/// Time between two sets of numbers.
const METRICS: Duration = Duration::from_secs(1);
/// How long closing the bridge, and giving sessions back at the end, may hold the loop.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Everything of one play that has to be closed.
#[derive(Default)]
struct Held {
    identity: Option<Identity>,
    /// Granted, and not yet a session.
    granted: Option<SessionGrant>,
    session: Option<Session>,
    bridge: Option<Bridge>,
    since: Option<Instant>,
    game: CancellationToken,
    failovers: u32,
}

pub(crate) struct Engine {
    config: Config,
    keyring: bool,
    programs: Option<PathBuf>,
    set_debug: Box<dyn Fn(bool) + Send>,
    coordinator: Arc<Coordinator>,
    machine: Machine,
    events: broadcast::Sender<Event>,
    snapshot: Arc<Mutex<Snapshot>>,
    outcomes: mpsc::Sender<Tagged>,
    inbox: mpsc::Receiver<Tagged>,
    /// Number of the present play; outcomes of earlier ones are dropped.
    play: u64,
    held: Held,
    signed_in_as: Option<String>,
    /// Sessions that are being given back; the engine does not end before them.
    closing: TaskTracker,
}

impl Engine {
    pub(crate) fn new(
        options: EngineOptions,
        events: broadcast::Sender<Event>,
        snapshot: Arc<Mutex<Snapshot>>,
    ) -> Result<Self, Problem> {
        let coordinator = Arc::new(Coordinator::new(&options.config.coordinator)?);
        let (outcomes, inbox) = mpsc::channel(OUTCOMES);
        Ok(Self {
            config: options.config,
            keyring: options.keyring,
            programs: options.programs,
            set_debug: options.set_debug,
            coordinator,
            machine: Machine::new(),
            events,
            snapshot,
            outcomes,
            inbox,
            play: 0,
            held: Held::default(),
            signed_in_as: None,
            closing: TaskTracker::new(),
        })
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut ticks = tokio::time::interval(METRICS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = ticks.tick(), if self.held.bridge.is_some() => self.collect_metrics(),
                command = commands.recv() => {
                    // Every handle is gone: nobody can ask for anything any more.
                    self.machine.on_command(command.unwrap_or(Command::Quit));
                }
                Some((play, outcome)) = self.inbox.recv() => self.on_outcome(play, outcome),
            }
            if self.carry_out().await {
                self.closing.close();
                if tokio::time::timeout(CLOSE_LIMIT, self.closing.wait())
                    .await
                    .is_err()
                {
                    tracing::debug!("the session was not given back in time");
                }
                return;
            }
        }
    }

    fn on_outcome(&mut self, play: u64, outcome: Outcome) {
        match &outcome {
            // A grant is kept even when it comes too late, so that it can be given back.
            Outcome::Joined(grant) => {
                self.held.granted = Some(SessionGrant::clone(grant));
            }
            _ if play != 0 && play != self.play => return,
            Outcome::Link(LinkEvent::Moved {
                reason: SwitchReason::Silence | SwitchReason::CarrierClosed,
                ..
            }) => self.held.failovers += 1,
            Outcome::SignedIn { account, .. } => self.signed_in_as = Some(account.name.clone()),
            _ => {}
        }
        self.machine.on_outcome(outcome);
    }

    fn collect_metrics(&mut self) {
        let (Some(session), Some(bridge), Some(since)) =
            (&self.held.session, &self.held.bridge, self.held.since)
        else {
            return;
        };
        let at_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let link = &session.paths.link;
        let metrics = play::metrics(link, bridge, at_ms, self.held.failovers);
        self.machine.on_outcome(Outcome::Metrics(Box::new(metrics)));
    }

    /// True when the engine has ended.
    async fn carry_out(&mut self) -> bool {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Emit(event) => self.emit(event),
                Effect::End => return true,
                Effect::CloseBridge => self.close_bridge().await,
                other => self.start(other),
            }
        }
        false
    }

    fn emit(&self, event: Event) {
        self.snapshot.lock().apply(&event);
        // Nobody listens: the snapshot has it.
        let _ = self.events.send(event);
    }

    fn outbox(&self) -> Outbox {
        Outbox {
            play: self.play,
            sender: self.outcomes.clone(),
        }
    }

    /// Runs something of the account side, which belongs to no play.
    fn spawn(&self, work: impl Future<Output = Outcome> + Send + 'static) {
        let outbox = Outbox {
            play: 0,
            sender: self.outcomes.clone(),
        };
        tokio::spawn(async move { outbox.send(work.await).await });
    }

    fn start(&mut self, effect: Effect) {
        match effect {
            Effect::SignIn {
                user,
                password,
                remember,
                register,
            } => {
                let sign_in = SignIn {
                    coordinator: self.coordinator.clone(),
                    server: self.config.coordinator.rest_api_url.clone(),
                    keyring: self.keyring && remember,
                    remember,
                };
                self.spawn(sign_in.with_password(user, password, register));
            }
            Effect::Resume { user } => {
                let sign_in = SignIn {
                    coordinator: self.coordinator.clone(),
                    server: self.config.coordinator.rest_api_url.clone(),
                    keyring: self.keyring,
                    remember: true,
                };
                self.spawn(sign_in.with_kept_token(user));
            }
            Effect::SignOut => self.sign_out(),
            Effect::FetchZones => {
                let coordinator = self.coordinator.clone();
                self.spawn(async move {
                    match coordinator.zones().await {
                        Ok(zones) => Outcome::Zones(zones),
                        Err(problem) => signed_out_or(problem, Outcome::Failed),
                    }
                });
            }
            Effect::Join { zone } => self.join(zone),
            Effect::OpenLink { grant } => self.open_link(*grant),
            Effect::OpenBridge { zone } => self.open_bridge(&zone),
            Effect::StartGame { login } => self.start_game(login),
            Effect::StopGame => self.held.game.cancel(),
            Effect::CloseLink => self.close_link(),
            Effect::FailOver { line } => self.fail_over(line),
            Effect::Reconnect { line } => self.reconnect(line),
            Effect::SetDebug(on) => (self.set_debug)(on),
            Effect::Emit(_) | Effect::End | Effect::CloseBridge => {}
        }
    }

    fn sign_out(&mut self) {
        let coordinator = self.coordinator.clone();
        let user = self.signed_in_as.take();
        let server = self.config.coordinator.rest_api_url.clone();
        let keyring = self.keyring;
        tokio::spawn(async move {
            coordinator.sign_out().await;
            if let Some(user) = user.filter(|_| keyring)
                && let Err(problem) = tokens::forget(&server, &user).await
            {
                // Nothing was kept there, or there is no store.
                tracing::debug!(detail = ?problem.detail, "no kept sign-in to forget");
            }
        });
    }

    fn join(&mut self, zone: String) {
        self.play += 1;
        self.held = Held::default();
        let outbox = self.outbox();
        let coordinator = self.coordinator.clone();
        match play::device_key() {
            Ok((identity, device_key)) => {
                self.held.identity = Some(identity);
                tokio::spawn(async move {
                    let request = JoinRequest { device_key };
                    let outcome = match coordinator.join(&zone, &request).await {
                        Ok(grant) => Outcome::Joined(Box::new(grant)),
                        Err(problem) => Outcome::PlayFailed(about(problem, zone)),
                    };
                    outbox.send(outcome).await;
                });
            }
            Err(problem) => self.machine.on_outcome(Outcome::PlayFailed(problem)),
        }
    }

    fn open_link(&mut self, grant: SessionGrant) {
        let opened = match &self.held.identity {
            Some(identity) => Session::open(
                self.coordinator.clone(),
                &self.config,
                grant,
                identity,
                &self.outbox(),
            ),
            None => Err(Problem::new(ProblemCode::Internal, "device key")),
        };
        match opened {
            Ok(session) => {
                self.held.granted = None;
                self.held.session = Some(session);
            }
            Err(problem) => self.machine.on_outcome(Outcome::PlayFailed(problem)),
        }
    }

    fn open_bridge(&mut self, zone: &warp_protocol::zone::ZoneView) {
        let outbox = self.outbox();
        let Some(session) = &self.held.session else {
            return;
        };
        let link = session.paths.link.clone();
        match play::open_bridge(&self.config, zone, link, &outbox) {
            Ok(bridge) => {
                let login = bridge.login_addr();
                self.held.bridge = Some(bridge);
                self.held.since = Some(Instant::now());
                self.machine.on_outcome(Outcome::BridgeReady(login));
            }
            Err(problem) => self.machine.on_outcome(Outcome::PlayFailed(problem)),
        }
    }

    fn start_game(&mut self, login: std::net::SocketAddr) {
        let Some(program) = game::program(&self.config.game, self.programs.as_deref()) else {
            return;
        };
        let section = self.config.game.clone();
        let stop = self.held.game.clone();
        // The game's end matters also after Stop, so its outcomes belong to no play.
        let outbox = Outbox {
            play: 0,
            sender: self.outcomes.clone(),
        };
        tokio::spawn(async move {
            match game::start(&section, &program, login).await {
                Ok(game) => {
                    let (pid, program) = (game.pid, game.program.clone());
                    outbox.send(Outcome::GameStarted { pid, program }).await;
                    let ended = game.watch(stop).await;
                    outbox
                        .send(Outcome::GameExited {
                            code: ended.code,
                            last_lines: ended.last_lines,
                        })
                        .await;
                }
                Err(problem) => outbox.send(Outcome::GameFailed(problem)).await,
            }
        });
    }

    async fn close_bridge(&mut self) {
        if let Some(bridge) = self.held.bridge.take()
            && tokio::time::timeout(CLOSE_LIMIT, bridge.shutdown())
                .await
                .is_err()
        {
            tracing::warn!("the bridge did not close in time");
        }
    }

    fn close_link(&mut self) {
        if let Some(session) = self.held.session.take() {
            self.closing.spawn(session.close());
        } else if let Some(grant) = self.held.granted.take() {
            let coordinator = self.coordinator.clone();
            self.closing
                .spawn(async move { coordinator.leave(&grant.session_id).await });
        }
    }

    fn fail_over(&mut self, line: String) {
        let moved = self
            .held
            .session
            .as_ref()
            .and_then(|session| session.paths.link.fail_over());
        let answer = match moved {
            Some((from, to)) => ConsoleAnswer::FailedOver { from, to },
            None => ConsoleAnswer::NoStandby,
        };
        self.machine.on_outcome(Outcome::Console { line, answer });
    }

    fn reconnect(&mut self, line: String) {
        let answer = match &self.held.session {
            Some(session) => {
                session.paths.link.unbench();
                session.paths.renew_direct.notify_one();
                ConsoleAnswer::Reconnecting
            }
            None => ConsoleAnswer::NotConnected,
        };
        self.machine.on_outcome(Outcome::Console { line, answer });
    }
}

/// A problem of Play is about the zone, unless it names something closer.
fn about(mut problem: Problem, zone: String) -> Problem {
    let of_the_zone = matches!(
        problem.code,
        ProblemCode::UnknownZone | ProblemCode::ZoneClosed | ProblemCode::NotFound
    );
    if of_the_zone {
        problem.subject = zone;
    }
    problem
}

/// An expired sign-in signs out; everything else is what it is.
fn signed_out_or(problem: Problem, otherwise: impl FnOnce(Problem) -> Outcome) -> Outcome {
    if problem.code.needs_sign_in() {
        Outcome::SignedOut(problem)
    } else {
        otherwise(problem)
    }
}

struct SignIn {
    coordinator: Arc<Coordinator>,
    server: String,
    keyring: bool,
    remember: bool,
}

impl SignIn {
    async fn with_password(self, user: String, password: Secret, register: bool) -> Outcome {
        match self.coordinator.sign_in(&user, password, register).await {
            Ok(account) => self.keep(account).await,
            Err(mut problem) => {
                if problem.code == ProblemCode::WrongPassword
                    || problem.code == ProblemCode::NameTaken
                {
                    problem.subject = user;
                }
                Outcome::SignInFailed(problem)
            }
        }
    }

    async fn with_kept_token(self, user: String) -> Outcome {
        let token = match tokens::read(&self.server, &user).await {
            Ok(token) => token,
            Err(problem) => return Outcome::SignInFailed(problem),
        };
        match self.coordinator.resume(token).await {
            Ok(account) => self.keep(account).await,
            Err(problem) => Outcome::SignInFailed(problem),
        }
    }

    async fn keep(self, account: AccountView) -> Outcome {
        let kept = match self.coordinator.refresh_token() {
            Some(token) if self.keyring => {
                match tokens::keep(&self.server, &account.name, token).await {
                    Ok(()) => TokenStore::Keyring,
                    Err(problem) => {
                        tracing::info!(detail = ?problem.detail, "no secret store; kept in memory");
                        TokenStore::MemoryNoKeyring
                    }
                }
            }
            _ if self.remember => TokenStore::MemoryNoKeyring,
            _ => TokenStore::Memory,
        };
        Outcome::SignedIn { account, kept }
    }
}
