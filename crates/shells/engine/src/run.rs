//! The loop: one owner of the state machine, commands and outcomes in, effects carried out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;
use warp_bridge::{Bridge, PacketTable};
use warp_engine_core::command::Command;
use warp_engine_core::config::Config;
use warp_engine_core::event::{ConsoleAnswer, Event};
use warp_engine_core::machine::{
    Asked, Effect, HostEnd, LinkId, MEASURE_EVERY, Machine, Outcome, Settings,
};
use warp_engine_core::snapshot::Snapshot;
use warp_engine_core::view::{Metrics, SwitchReason};
use warp_link_core::LinkEvent;
use warp_protocol::Problem;
use warp_protocol::rest::SessionGrant;
use warp_protocol::zone::ZoneView;

use crate::account::{Attempts, SignIn, signed_out_or};
use crate::coordinator::Coordinator;
use crate::doctor::{InPlay, doctor, export};
use crate::handle::{EngineOptions, Keeping};
use crate::hosting::Hosting;
use crate::instances::Instances;
use crate::links::Links;
use crate::outbox::{Outbox, Tagged};
use crate::router::Router;
use crate::{packets, play, staff, tables, tokens};

/// Outcomes that may wait; senders wait too when it is full.
const OUTCOMES: usize = 512;
/// How long closing the bridge may hold the end.
const BRIDGE_LIMIT: Duration = Duration::from_millis(2500);
/// And giving sessions back and leaving as a host: two seconds for the members of a host, and as much again
/// for a router that takes its ports back slowly.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Everything of one play that has to be closed.
struct Held {
    links: Links,
    router: Option<Arc<Router>>,
    bridge: Option<Bridge>,
    failovers: u32,
}

pub(crate) struct Engine {
    config: Config,
    programs: Option<PathBuf>,
    keeping: Keeping,
    tables: Vec<Arc<PacketTable>>,
    set_debug: Box<dyn Fn(bool) + Send>,
    coordinator: Arc<Coordinator>,
    machine: Machine,
    /// The machine's time counts from here.
    start: Instant,
    events: broadcast::Sender<Event>,
    snapshot: Arc<Mutex<Snapshot>>,
    outcomes: mpsc::Sender<Tagged>,
    inbox: mpsc::Receiver<Tagged>,
    /// Number of the present play; outcomes of earlier ones are dropped.
    play: u64,
    held: Held,
    /// Rings when a map connection came or went.
    streams_changed: Arc<Notify>,
    games: Instances,
    hosting: Hosting,
    /// Packets of the game are shown.
    inspecting: bool,
    signed_in_as: Option<String>,
    attempts: Attempts,
    /// Sessions that are being given back; the engine does not end before them.
    closing: TaskTracker,
}

impl Engine {
    /// To be called on a tokio runtime.
    pub(crate) fn new(
        options: EngineOptions,
        events: broadcast::Sender<Event>,
        snapshot: Arc<Mutex<Snapshot>>,
    ) -> Result<Self, Problem> {
        let coordinator = Arc::new(Coordinator::new(&options.config, &options.keeping)?);
        let tables = tables::read(&options.config.bridge)?;
        let (outcomes, inbox) = mpsc::channel(OUTCOMES);
        let outbox = |play| Outbox {
            play,
            sender: outcomes.clone(),
        };
        let config = options.config;
        let wrap = options.wrap_carriers;
        let links = Links::new(coordinator.clone(), config.clone(), wrap.clone(), outbox(0));
        let programs = options.programs;
        let games = Instances::new(config.game.clone(), programs.clone(), outbox(0));
        let hosting = Hosting::new(
            coordinator.clone(),
            config.clone(),
            wrap,
            options.alter_heartbeats,
        );
        Ok(Self {
            machine: Machine::new(Settings::of(&config)),
            config,
            programs,
            tables,
            keeping: options.keeping,
            set_debug: options.set_debug,
            coordinator,
            start: Instant::now(),
            events,
            snapshot,
            outcomes,
            inbox,
            play: 0,
            held: Held {
                links,
                router: None,
                bridge: None,
                failovers: 0,
            },
            streams_changed: Arc::new(Notify::new()),
            games,
            hosting,
            inspecting: false,
            signed_in_as: None,
            attempts: Attempts::default(),
            closing: TaskTracker::new(),
        })
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut ticks = tokio::time::interval(MEASURE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut looks = tokio::time::interval(packets::EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let streams_changed = self.streams_changed.clone();
        let mut held = true;
        loop {
            let wake = self.machine.next_time();
            let wake_at = tokio::time::Instant::from_std(self.start + wake.unwrap_or_default());
            tokio::select! {
                _ = ticks.tick(), if self.measures() => self.collect_metrics(),
                _ = looks.tick(), if self.inspecting => self.look_at_packets(),
                command = commands.recv(), if held => {
                    // Every handle is gone: nobody can ask for anything any more.
                    held = command.is_some();
                    let now = self.now();
                    self.machine.on_command(now, command.unwrap_or(Command::Quit));
                }
                Some((play, outcome)) = self.inbox.recv() => self.on_outcome(play, outcome),
                () = streams_changed.notified() => {}
                () = tokio::time::sleep_until(wake_at), if wake.is_some() => {}
            }
            if self.carry_out().await || self.settle().await {
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

    /// Lets the machine join and leave zones, once the router works by its newest routes; true when
    /// the engine has ended.
    async fn settle(&mut self) -> bool {
        if let Some(router) = &self.held.router {
            self.machine.set_streams(router.streams());
        }
        let now = self.now();
        self.machine.on_time(now);
        self.carry_out().await
    }

    fn on_outcome(&mut self, play: u64, outcome: Outcome) {
        match &outcome {
            Outcome::Joined { grant, .. } if play != self.play => {
                let (coordinator, session) = (self.coordinator.clone(), grant.session_id.clone());
                self.closing
                    .spawn(async move { coordinator.leave(&session).await });
                return;
            }
            _ if play != 0 && play != self.play => return,
            Outcome::Failed(problem) if play != 0 && self.machine.is_preparing() => {
                // Nobody has asked for these paths yet; Play will say what is wrong with them.
                tracing::debug!(code = ?problem.code, detail = ?problem.detail, "a path that is prepared");
                return;
            }
            Outcome::Inspecting(on) => self.inspect(*on),
            Outcome::Joined { link, grant } => self.held.links.granted(*link, grant),
            Outcome::Link {
                event:
                    LinkEvent::Moved {
                        reason: SwitchReason::Silence | SwitchReason::CarrierClosed,
                        ..
                    },
                ..
            } => self.held.failovers += 1,
            Outcome::SignedIn {
                attempt, account, ..
            } if self.attempts.is_newest(*attempt) => {
                self.signed_in_as = Some(account.name.clone());
            }
            Outcome::GameExited { game, .. }
            | Outcome::GameFailed { game, .. }
            | Outcome::NoGame { game } => self.games.forget(*game),
            _ => {}
        }
        self.tell(outcome);
    }

    /// Hands an outcome to the machine.
    fn tell(&mut self, outcome: Outcome) {
        let now = self.now();
        self.machine.on_outcome(now, outcome);
    }

    /// There is something to measure: a play, or paths that are open beforehand.
    fn measures(&self) -> bool {
        self.held.bridge.is_some() || self.machine.is_preparing()
    }

    fn look_at_packets(&mut self) {
        if let Some(outcome) = self.held.bridge.as_ref().and_then(packets::take) {
            self.tell(outcome);
        }
    }

    /// Shows packets, or no longer; those of a bridge that is opened later too.
    fn inspect(&mut self, on: bool) {
        self.inspecting = on;
        if let Some(bridge) = &self.held.bridge {
            bridge.inspect(on);
        }
    }

    fn collect_metrics(&mut self) {
        if self.held.bridge.is_none() {
            if let Some(link) = self.held.links.handle(LinkId::CHOSEN) {
                let outcome = play::prepared(link);
                self.tell(outcome);
            }
            return;
        }
        if let Some(metrics) = self.numbers(self.machine.shown_link()) {
            self.tell(Outcome::Metrics(Box::new(metrics)));
        }
    }

    /// The numbers as they are now; paths and state of `link`, or of the chosen zone's where that is
    /// gone.
    fn numbers(&self, link: LinkId) -> Option<Metrics> {
        let Held {
            links,
            bridge,
            failovers,
            ..
        } = &self.held;
        let handle = links
            .handle(link)
            .or_else(|| links.handle(LinkId::CHOSEN))?;
        let (refused, duplicated) = links.counted();
        Some(Metrics {
            at_ms: self.machine.play_ms(self.now()),
            failovers: *failovers,
            redundant: links.redundancy(),
            refused,
            duplicated,
            ..play::metrics(&self.config, handle, bridge.as_ref()?)
        })
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

    fn outbox(&self, play: u64) -> Outbox {
        Outbox {
            play,
            sender: self.outcomes.clone(),
        }
    }

    /// Runs something whose outcome belongs to `play`; to none, if that is 0.
    fn spawn(&self, play: u64, work: impl Future<Output = Outcome> + Send + 'static) {
        let outbox = self.outbox(play);
        tokio::spawn(async move { outbox.send(work.await).await });
    }

    fn start(&mut self, effect: Effect) {
        match effect {
            Effect::SignIn {
                attempt,
                user,
                password,
                remember,
                register,
            } => {
                let sign_in = self.sign_in(attempt, remember);
                self.spawn(0, sign_in.with_password(user, password, register));
            }
            Effect::Resume { attempt, user } => {
                let sign_in = self.sign_in(attempt, true);
                self.spawn(0, sign_in.with_kept_token(user));
            }
            Effect::SignOut => self.sign_out(false),
            Effect::SignOutEverywhere => self.sign_out(true),
            Effect::ForgetAccount { user } => {
                if self.keeping.keyring {
                    let server = self.config.coordinator.rest_api_url.clone();
                    tokio::spawn(async move { tokens::forget_if_kept(&server, &user).await });
                }
            }
            Effect::LeaveAccount => {
                self.signed_in_as = None;
                self.attempts.give_up();
                self.coordinator.leave_account();
            }
            Effect::FetchZones => {
                let coordinator = self.coordinator.clone();
                self.spawn(0, async move {
                    match coordinator.zones().await {
                        Ok(zones) => Outcome::Zones(zones),
                        Err(problem) => signed_out_or(problem, Outcome::Failed),
                    }
                });
            }
            Effect::FindZones { map } => {
                let coordinator = self.coordinator.clone();
                self.spawn(self.play, async move {
                    match coordinator.zones_with_map(&map).await {
                        Ok(zones) => Outcome::ZonesFound { map, zones },
                        Err(problem) => Outcome::LookupFailed { map, problem },
                    }
                });
            }
            Effect::Join { link, zone } => self.join(link, zone),
            Effect::Rejoin { zone } => self.held.links.join(LinkId::CHOSEN, zone),
            Effect::OpenLink { link, grant } => self.open_link(link, *grant),
            Effect::OpenPlain { link, zone } => {
                if let Err(problem) = self.held.links.open_plain(link, &zone) {
                    self.tell(Outcome::LinkFailed { link, problem });
                }
            }
            Effect::CloseLink { link } => self.close_link(link),
            Effect::SetRoutes(routes) => {
                if let Some(router) = &self.held.router {
                    router.set_routes(routes);
                }
            }
            Effect::OpenBridge { zone } => self.open_bridge(&zone),
            Effect::StartGame { game, slot, login } => self.games.start(game, slot, login),
            Effect::StopGame { game } => self.games.stop(game),
            Effect::StartHost {
                zones,
                max_players,
                upload_mbps,
                upstreams,
            } => {
                let outbox = self.outbox(0);
                match (upstreams, zones.first()) {
                    (Some(upstreams), Some(zone)) => {
                        self.hosting.start_endpoint(zone, upstreams, outbox);
                    }
                    _ => self.hosting.start(zones, max_players, upload_mbps, outbox),
                }
            }
            Effect::PauseHost { on } => self.hosting.pause(on),
            Effect::StopHost {
                how: HostEnd::Drained,
            } => self.hosting.drain(),
            Effect::StopHost { how: HostEnd::Soon } => {
                self.closing.spawn(self.hosting.leave());
            }
            Effect::StopHost { how: HostEnd::Now } => self.hosting.end(),
            Effect::Diagnose => {
                let config = self.config.clone();
                let programs = self.programs.clone();
                let keeping = self.keeping.clone();
                let now = InPlay {
                    bridge_open: self.held.bridge.is_some(),
                    ice_servers: self.held.links.ice_servers(),
                };
                self.spawn(0, async move {
                    let looked = doctor(&config, &keeping, programs.as_deref(), &now);
                    let diagnosis = Box::new(Box::pin(looked).await);
                    let export = format!("{:#}", export(&diagnosis, &config, &now));
                    Outcome::Diagnosed { diagnosis, export }
                });
            }
            Effect::Measure { asked, link } => self.measure(asked, link),
            Effect::FailOver { asked, links } => {
                let answer = self.held.links.fail_over(&links);
                self.tell(Outcome::Answered { asked, answer });
            }
            Effect::Reconnect { asked, links } => {
                let answer = self.held.links.reconnect(&links);
                self.tell(Outcome::Answered { asked, answer });
            }
            Effect::UsePath { asked, links, path } => {
                let answer = self.held.links.use_path(&links, path);
                self.tell(Outcome::Answered { asked, answer });
            }
            Effect::SetRedundancy { asked, mode } => {
                self.held.links.set_redundancy(mode);
                let answer = ConsoleAnswer::Redundant { mode };
                self.tell(Outcome::Answered { asked, answer });
            }
            Effect::Staff(ask) => {
                let coordinator = self.coordinator.clone();
                self.spawn(0, async move { staff::ask(&coordinator, ask).await });
            }
            Effect::Inspect { on: false } => {
                self.inspect(false);
                self.tell(Outcome::Inspecting(false));
            }
            Effect::Inspect { on: true } => {
                let coordinator = self.coordinator.clone();
                self.spawn(0, async move {
                    match staff::is_staff(&coordinator).await {
                        Ok(()) => Outcome::Inspecting(true),
                        Err(problem) => Outcome::NotInspecting(problem),
                    }
                });
            }
            Effect::UpdateKeys { asked, links } => {
                let answer = self.held.links.update_keys(&links);
                self.tell(Outcome::Answered { asked, answer });
            }
            Effect::AnswerGame { connection, lines } => {
                if let Some(bridge) = &self.held.bridge
                    && !bridge.answer(connection, &lines)
                {
                    tracing::debug!(connection, "whoever asked in the game is gone");
                }
            }
            Effect::TellGames { lines } => {
                // Whoever does not want the launcher in the chat has it in the window alone.
                if self.config.bridge.commands
                    && let Some(bridge) = &self.held.bridge
                {
                    bridge.tell_all(&lines);
                }
            }
            Effect::SetDebug(on) => (self.set_debug)(on),
            Effect::Emit(_) | Effect::End | Effect::CloseBridge => {}
        }
    }

    fn sign_in(&self, attempt: u64, remember: bool) -> SignIn {
        self.attempts.begin(attempt);
        SignIn {
            attempt,
            attempts: self.attempts.clone(),
            coordinator: self.coordinator.clone(),
            server: self.config.coordinator.rest_api_url.clone(),
            keyring: self.keeping.keyring && remember,
            remember,
        }
    }

    fn sign_out(&mut self, everywhere: bool) {
        let outbox = self.outbox(0);
        let coordinator = self.coordinator.clone();
        let user = self.signed_in_as.take();
        self.attempts.give_up();
        let server = self.config.coordinator.rest_api_url.clone();
        let keyring = self.keeping.keyring;
        tokio::spawn(async move {
            if everywhere {
                if let Err(problem) = coordinator.sign_out_everywhere().await {
                    outbox.send(Outcome::Failed(problem)).await;
                }
            } else {
                coordinator.sign_out().await;
            }
            if let Some(user) = user.filter(|_| keyring) {
                tokens::forget_if_kept(&server, &user).await;
            }
        });
    }

    fn join(&mut self, link: LinkId, zone: String) {
        if link.is_chosen() {
            self.play += 1;
            let outbox = self.outbox(self.play);
            self.held = Held {
                links: self.held.links.anew(outbox),
                router: None,
                bridge: None,
                failovers: 0,
            };
        }
        self.held.links.join(link, zone);
    }

    fn open_link(&mut self, link: LinkId, grant: SessionGrant) {
        let game = grant.zone.zone.game.clone();
        let away = play::away(&self.config, &grant.zone);
        match self.held.links.open(link, grant) {
            Ok(handle) => match &self.held.router {
                Some(router) if link.is_chosen() => {
                    // First, so that the new link is not asked for the servers of before.
                    if let Some(bridge) = &self.held.bridge {
                        bridge.lead_to(game, away);
                    }
                    router.set_chosen(handle);
                }
                Some(router) => router.add(link, handle, game),
                None => {}
            },
            Err(problem) => self.tell(Outcome::LinkFailed { link, problem }),
        }
    }

    fn open_bridge(&mut self, zone: &ZoneView) {
        let Some(chosen) = self.held.links.handle(LinkId::CHOSEN) else {
            return;
        };
        let router = Router::new(chosen.clone(), self.streams_changed.clone());
        let outbox = self.outbox(self.play);
        let tables = self.tables.clone();
        match play::open_bridge(&self.config, tables, zone, router.clone(), &outbox) {
            Ok(bridge) => {
                let login = bridge.login_addr();
                bridge.inspect(self.inspecting);
                self.held.bridge = Some(bridge);
                self.held.router = Some(router);
                self.tell(Outcome::BridgeReady(login));
            }
            Err(problem) => self.tell(Outcome::PlayFailed(problem)),
        }
    }

    async fn close_bridge(&mut self) {
        if let Some(bridge) = self.held.bridge.take()
            && tokio::time::timeout(BRIDGE_LIMIT, bridge.shutdown())
                .await
                .is_err()
        {
            tracing::warn!("the bridge did not close in time");
        }
        self.held.router = None;
    }

    fn close_link(&mut self, link: LinkId) {
        if let Some(router) = &self.held.router {
            router.remove(link);
        }
        self.held.links.close(link, &self.closing);
    }

    fn measure(&mut self, asked: Asked, link: LinkId) {
        let outcome = match self.numbers(link) {
            Some(metrics) => Outcome::Measured {
                asked,
                link,
                metrics: Box::new(metrics),
            },
            None => Outcome::Answered {
                asked,
                answer: ConsoleAnswer::NotConnected,
            },
        };
        self.tell(outcome);
    }
}
