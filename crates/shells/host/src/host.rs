//! The loop: one owner of the host's life, its place and its members.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant as TokioInstant, MissedTickBehavior, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use warp_host_core::{Act, ForwarderConfig, HostState, HostStatusView, Life, Phase, Policies};
use warp_link::WrapCarrier;
use warp_link::peer::PeerConfig;
use warp_protocol::Problem;
use warp_protocol::hosting::{HostGrant, HostHardware, HostHeartbeat, MemberVerdict};
use warp_protocol::signal::{ClientSignal, ServerSignal};

use crate::access::{Access, Certified};
use crate::config::{HostConfig, is_here};
use crate::figures::{Figures, LOOK_EVERY};
use crate::hardware::read_hardware;
use crate::members::Members;
use crate::place::{check_grant, not_allowed, read_policy, register};
use crate::plane::Plane;
use crate::seat::{SIGNALS, Seat, SeatEvent, chance};
use crate::upstream::{Upstream, UpstreamStatus};

/// Orders and outcomes that may wait; there is one of each at a time, hardly more.
const WAITING: usize = 16;
/// How long telling the coordinator of the end may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the connections may take to close at the end.
const GOODBYE: Duration = Duration::from_secs(3);

/// What its owner wants.
enum Order {
    Drain,
    Pause(bool),
}

/// What came of a question to the coordinator.
enum Outcome {
    Registered(Box<Result<(HostGrant, Certified), Problem>>),
    Heartbeat(Result<(), Problem>),
    /// Registered again, under a newer certificate or for newer policies.
    Renewed(Box<(HostGrant, Certified)>),
    DrainAsked(Result<(), Problem>),
}

/// A host that runs. Dropping the last handle ends it at once, without draining.
#[derive(Clone)]
pub struct HostHandle {
    orders: mpsc::Sender<Order>,
    view: watch::Receiver<HostStatusView>,
    gone: CancellationToken,
    _running: Arc<DropGuard>,
}

impl std::fmt::Debug for HostHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostHandle")
            .field("state", &self.view.borrow().state)
            .finish_non_exhaustive()
    }
}

impl HostHandle {
    /// Starts a host on the current tokio runtime.
    pub fn start(access: Arc<dyn Access>, config: HostConfig) -> Self {
        Self::start_wrapped(access, config, None)
    }

    /// The same with something around each of its carriers.
    pub fn start_wrapped(
        access: Arc<dyn Access>,
        config: HostConfig,
        wrap: Option<WrapCarrier>,
    ) -> Self {
        let (orders, inbox) = mpsc::channel(WAITING);
        let (told, view) = watch::channel(HostStatusView {
            host_id: config.host_id.clone(),
            zones: config.zones.clone(),
            max_members: config.members(),
            ..HostStatusView::default()
        });
        let stop = CancellationToken::new();
        let gone = CancellationToken::new();
        let host = Host::new(access, config, wrap, told);
        let (stopped, freed) = (stop.clone(), gone.clone().drop_guard());
        tokio::spawn(async move {
            // The guard goes last, also when the host panics.
            let _freed = freed;
            Box::pin(host.run(inbox, stopped)).await;
        });
        Self {
            orders,
            view,
            gone,
            _running: Arc::new(stop.drop_guard()),
        }
    }

    /// The present state, once a second and at each change.
    pub fn view(&self) -> watch::Receiver<HostStatusView> {
        self.view.clone()
    }

    /// Has its members moved away, and ends it then.
    pub fn drain(&self) {
        self.order(Order::Drain);
    }

    /// Takes no new members for now, or takes them again.
    pub fn pause(&self, on: bool) {
        self.order(Order::Pause(on));
    }

    fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::debug!("the host has ended");
        }
    }

    /// Waits until it has ended and its connections are closed. Safe to cancel.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

/// What was granted, and all that lives as long as that.
struct Place {
    grant: HostGrant,
    certified: Certified,
    policies: Policies,
    seat: Seat,
    events: mpsc::Receiver<SeatEvent>,
    upstream: Arc<Mutex<UpstreamStatus>>,
    to_upstream: mpsc::Sender<ServerSignal>,
    members: Members,
    /// Ends seat and upstream.
    _stop: DropGuard,
}

struct Host {
    access: Arc<dyn Access>,
    config: HostConfig,
    hardware: HostHardware,
    plane: Arc<Plane>,
    life: Life,
    figures: Figures,
    told: watch::Sender<HostStatusView>,
    place: Option<Place>,
    outcomes: mpsc::Sender<Outcome>,
    inbox: mpsc::Receiver<Outcome>,
    /// By its owner, and because this machine is elsewhere.
    paused: bool,
    elsewhere: bool,
    /// As of the last heartbeat.
    loss_percent: Option<f64>,
}

impl Host {
    fn new(
        access: Arc<dyn Access>,
        config: HostConfig,
        wrap: Option<WrapCarrier>,
        told: watch::Sender<HostStatusView>,
    ) -> Self {
        let (outcomes, inbox) = mpsc::channel(WAITING);
        let rules = ForwarderConfig {
            max_members: config.members() as usize,
            upload_mbps: config.upload_mbps,
            ..ForwarderConfig::default()
        };
        let plane = Plane::wrapped(rules, wrap);
        Self {
            access,
            hardware: read_hardware(config.upload_mbps),
            life: Life::new(Instant::now(), config.drain_limit),
            config,
            plane,
            figures: Figures::new(),
            told,
            place: None,
            outcomes,
            inbox,
            paused: false,
            elsewhere: false,
            loss_percent: None,
        }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let now = Instant::now();
            self.life.set_members(now, self.plane.member_count());
            while let Some(act) = self.life.poll(now) {
                if self.start(act) {
                    self.end().await;
                    return;
                }
            }
            let due = self.life.next_time();
            let due_at = TokioInstant::from_std(due.unwrap_or(now));
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.end().await;
                    return;
                }
                Some(order) = orders.recv() => self.on_order(order),
                Some(outcome) = self.inbox.recv() => self.on_outcome(outcome),
                event = next_event(&mut self.place) => self.on_event(event),
                _ = looks.tick() => self.look(),
                () = sleep_until(due_at), if due.is_some() => {}
            }
        }
    }

    /// Carries out an act; true: it is over.
    fn start(&mut self, act: Act) -> bool {
        let access = Arc::clone(&self.access);
        let host_id = self.config.host_id.clone();
        let outcomes = self.outcomes.clone();
        match act {
            Act::Leave => return true,
            Act::Register => {
                let (config, hardware) = (self.config.clone(), self.hardware);
                tokio::spawn(async move {
                    let outcome = register(&*access, &config, hardware).await;
                    let _ = outcomes.send(Outcome::Registered(Box::new(outcome))).await;
                });
            }
            Act::Heartbeat => {
                let body = self.heartbeat();
                let place = self.place.as_ref();
                let known = place.map(|place| place.certified.certificate.clone());
                let due = place.is_some_and(|place| {
                    let now = self.unix_now(&place.certified);
                    place.policies.is_due(now)
                });
                let (config, hardware) = (self.config.clone(), self.hardware);
                tokio::spawn(async move {
                    let outcome = access.heartbeat(&host_id, &body).await;
                    let heard = outcome.is_ok();
                    let _ = outcomes.send(Outcome::Heartbeat(outcome)).await;
                    if !heard {
                        return;
                    }
                    // A host whose certificate has expired gets no members any more.
                    let now = access.certified().await.map(|now| now.certificate);
                    let newer = now.is_ok_and(|now| Some(now) != known);
                    if !(due || newer) {
                        return;
                    }
                    match register(&*access, &config, hardware).await {
                        Ok(granted) => {
                            let _ = outcomes.send(Outcome::Renewed(Box::new(granted))).await;
                        }
                        // Tried again with the next heartbeat.
                        Err(problem) => {
                            tracing::warn!(code = ?problem.code, "the place was not renewed");
                        }
                    }
                });
            }
            Act::Drain => {
                tokio::spawn(async move {
                    let outcome = access.drain(&host_id).await;
                    let _ = outcomes.send(Outcome::DrainAsked(outcome)).await;
                });
            }
        }
        self.tell();
        false
    }

    fn heartbeat(&mut self) -> HostHeartbeat {
        self.loss_percent = self.plane.take_loss_percent();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        HostHeartbeat {
            latency_ms: self.latency_ms(),
            packet_loss_percent: self.loss_percent,
            bandwidth_usage_mbps: self.figures.upload_mbps(),
            current_players: count(self.plane.member_count()),
            current_zones: count(self.plane.zone_count()),
            paused: self.is_paused(),
        }
    }

    fn latency_ms(&self) -> Option<f64> {
        let latency = self.place.as_ref()?.upstream.lock().latency()?;
        Some(latency.as_secs_f64() * 1e3)
    }

    fn is_paused(&self) -> bool {
        self.paused || self.elsewhere
    }

    fn on_order(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Drain => self.life.drain(now),
            Order::Pause(on) => {
                self.paused = on;
                self.life.hurry(now);
            }
        }
        self.tell();
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        let now = Instant::now();
        match outcome {
            Outcome::Registered(outcome) => match *outcome {
                Ok((grant, certified)) => self.on_registered(grant, certified),
                Err(problem) => {
                    tracing::warn!(code = ?problem.code, detail = ?problem.detail, "no place as a host");
                    self.life.on_refused(now, problem, chance());
                }
            },
            Outcome::Heartbeat(outcome) => self.life.on_heartbeat(now, outcome, chance()),
            Outcome::Renewed(granted) => {
                let (grant, certified) = *granted;
                if self.life.phase() == Phase::Serving {
                    self.take_place(grant, certified);
                }
            }
            Outcome::DrainAsked(outcome) => self.life.on_drain_asked(now, outcome),
        }
        self.tell();
    }

    fn on_registered(&mut self, grant: HostGrant, certified: Certified) {
        if self.life.phase() != Phase::Registering {
            return;
        }
        let every = Duration::from_secs(grant.heartbeat_seconds);
        if self.take_place(grant, certified) {
            self.life.on_registered(Instant::now(), every);
        }
    }

    /// Checks what was granted, and settles there; false: it is refused, and that is the end.
    fn take_place(&mut self, grant: HostGrant, certified: Certified) -> bool {
        let now = Instant::now();
        let unix = self.unix_now(&certified);
        let policies = match check_grant(&certified.trust, &grant, unix) {
            Ok(policies) => policies,
            Err(problem) => {
                tracing::warn!(code = ?problem.code, detail = ?problem.detail, "the place is refused");
                self.life.fail(now, problem);
                return false;
            }
        };
        if let Some(place) = &mut self.place
            && place.grant.session_id == grant.session_id
            && place.grant.peer_id == grant.peer_id
            && place.grant.endpoint_key == grant.endpoint_key
        {
            // The same place still: what is connected stays.
            place.policies = policies;
            place.grant = grant;
            place.certified = certified;
            return true;
        }
        if let Some(mut older) = self.place.take() {
            older.members.clear();
        }
        tracing::info!(host = self.config.host_id, "registered as a host");
        self.place = Some(self.settle(grant, certified, policies));
        true
    }

    /// Opens the seat and the way to the endpoint.
    fn settle(&self, grant: HostGrant, certified: Certified, policies: Policies) -> Place {
        let stop = CancellationToken::new();
        let (tell, events) = mpsc::channel(SIGNALS);
        let seat = Seat::take(
            Arc::clone(&self.access),
            (grant.peer_id.clone(), grant.session_id.clone()),
            tell,
            stop.clone(),
        );
        let mut ice_servers = grant.ice_servers.clone();
        ice_servers.extend(self.config.ice_servers.iter().cloned());
        let config = PeerConfig {
            ice_servers,
            include_loopback: self.config.include_loopback,
            bind: self.config.bind.clone(),
            connect_timeout: self.config.connect_timeout,
            ..PeerConfig::default()
        };
        // The endpoint can be reached without; members are behind routers of their own.
        let to_members = PeerConfig {
            ports: self.access.ports(),
            ..config.clone()
        };
        let (to_upstream, inbox) = mpsc::channel(SIGNALS);
        let status = Arc::new(Mutex::new(UpstreamStatus::default()));
        let upstream = Upstream {
            access: Arc::clone(&self.access),
            plane: Arc::clone(&self.plane),
            status: Arc::clone(&status),
            ours: certified.identity.clone(),
            session_id: grant.session_id.clone(),
            endpoint_peer_id: grant.endpoint_peer_id.clone(),
            endpoint_key: grant.endpoint_key,
            config,
            outbox: seat.outbox.clone(),
            seated: seat.open.clone(),
            inbox,
            // The endpoint may have believed offers of an earlier life of this host in the same
            // room; numbers from the clock are above those.
            offers: unix_millis(),
            wss: None,
            stop: stop.clone(),
        };
        tokio::spawn(Box::pin(upstream.run()));
        let ours = certified.identity.clone();
        Place {
            members: Members::new(Arc::clone(&self.plane), ours, to_members),
            grant,
            certified,
            policies,
            seat,
            events,
            upstream: status,
            to_upstream,
            _stop: stop.drop_guard(),
        }
    }

    fn unix_now(&self, certified: &Certified) -> u64 {
        self.access.unix_now().unwrap_or(certified.now)
    }

    fn on_event(&mut self, event: SeatEvent) {
        let now = Instant::now();
        let signal = match event {
            SeatEvent::Lost => return self.life.on_place_lost(now, chance()),
            SeatEvent::Open => {
                if let Some(place) = &mut self.place {
                    place.members.on_signaling();
                }
                return;
            }
            SeatEvent::Signal(signal) => signal,
        };
        let access = Arc::clone(&self.access);
        let Some(place) = &mut self.place else { return };
        match signal {
            ServerSignal::Offer { ref from, .. }
            | ServerSignal::Answer { ref from, .. }
            | ServerSignal::IceCandidate { ref from, .. } => place.pass(&from.clone(), signal),
            ServerSignal::Serve { member } => {
                let unix = access.unix_now().unwrap_or(place.certified.now);
                let key = &place.grant.endpoint_key;
                match place.policies.check(&member.zone_id, key, unix) {
                    Ok(()) => place.members.serve(member, place.seat.outbox.clone()),
                    Err(refused) => {
                        let zone = member.zone_id;
                        tracing::warn!(zone, code = refused.code(), "a member is refused");
                    }
                }
            }
            ServerSignal::Unserve { peer_id, reason } => {
                tracing::debug!(?reason, "a member goes");
                place.members.unserve(&peer_id);
            }
            ServerSignal::Policy { policy } => match read_policy(&place.certified.trust, &policy) {
                Ok(policy) => {
                    place.policies.take(policy);
                    self.keep_to_policies();
                }
                Err(problem) => {
                    tracing::warn!(code = ?problem.code, detail = ?problem.detail, "a policy is refused");
                }
            },
            ServerSignal::Drained => self.life.on_drained(now),
            ServerSignal::Error { code, message, .. } => {
                tracing::debug!(?code, message, "signaling refused a message");
            }
            ServerSignal::SessionEnded { code, .. } => {
                tracing::info!(?code, "the place ended");
                self.life.on_place_lost(now, chance());
            }
            ServerSignal::SessionJoined { .. }
            | ServerSignal::PeerJoined { .. }
            | ServerSignal::PeerLeft { .. }
            | ServerSignal::SessionLeft { .. }
            | ServerSignal::Hosts { .. }
            | ServerSignal::Notice { .. }
            | ServerSignal::NpcState { .. } => {}
        }
    }

    /// Leaves the members of zones in which nothing may be forwarded any more.
    fn keep_to_policies(&mut self) -> Vec<String> {
        let Some(place) = &mut self.place else {
            return Vec::new();
        };
        let unix = self.access.unix_now().unwrap_or(place.certified.now);
        let allowed = place.policies.allowed(&place.grant.endpoint_key, unix);
        place.members.keep_zones(&allowed);
        allowed
    }

    /// Once a second.
    fn look(&mut self) {
        if let Some(network) = &self.config.only_on_network {
            let elsewhere = !is_here(network);
            if std::mem::replace(&mut self.elsewhere, elsewhere) != elsewhere {
                self.life.hurry(Instant::now());
            }
        }
        while let Some(flood) = self.plane.poll_flood() {
            tracing::warn!(dropped = flood.dropped, "a member floods");
            if let Some(place) = &self.place {
                let report = ClientSignal::MemberReport {
                    peer_id: flood.peer_id.to_string(),
                    verdict: MemberVerdict::Flooding,
                    dropped: flood.dropped,
                };
                // Full: the next report tells of the next five seconds.
                let _ = place.seat.outbox.try_send(report);
            }
        }
        if let Some(place) = &mut self.place {
            place.members.look();
        }
        let allowed = self.keep_to_policies();
        let mut view = self.told.borrow().clone();
        view.allowed = allowed;
        self.figures.look(&self.plane, &mut view);
        self.fill(&mut view);
        self.told.send_replace(view);
    }

    /// Tells what changed, without counting anew.
    fn tell(&self) {
        let mut view = self.told.borrow().clone();
        self.fill(&mut view);
        self.told.send_replace(view);
    }

    fn fill(&self, view: &mut HostStatusView) {
        view.state = match self.life.phase() {
            Phase::Registering => HostState::Registering,
            Phase::Serving if self.is_paused() => HostState::Paused,
            Phase::Serving => HostState::Serving,
            Phase::Draining => HostState::Draining,
            Phase::Stopped => HostState::Stopped,
        };
        view.latency_ms = self.latency_ms();
        view.loss_percent = self.loss_percent;
        let place = self.place.as_ref();
        view.upstream = place.and_then(|place| place.upstream.lock().kind());
        view.signaling = place.is_some_and(|place| *place.seat.open.borrow());
        view.problem = self.life.problem().cloned();
        if view.problem.is_none()
            && let Some(place) = place
        {
            let unix = self.unix_now(&place.certified);
            let refused = place.policies.refusal(&place.grant.endpoint_key, unix);
            view.problem = refused.map(not_allowed);
        }
    }

    /// Closes everything.
    async fn end(mut self) {
        if let Some(place) = self.place.take() {
            // So that nobody has to find out by silence. What it still carries is given to others.
            let leaving = self.access.leave(&self.config.host_id);
            if let Ok(Err(problem)) = tokio::time::timeout(FAREWELL, leaving).await {
                tracing::debug!(code = ?problem.code, "the coordinator was not told of the end");
            }
            // Seat and endpoint first, so that nothing new comes; then the members' connections.
            let Place { members, _stop, .. } = place;
            drop(_stop);
            if tokio::time::timeout(GOODBYE, members.gone()).await.is_err() {
                tracing::warn!("members' connections did not close in time");
            }
        }
        let mut view = self.told.borrow().clone();
        self.figures.look(&self.plane, &mut view);
        self.fill(&mut view);
        view.state = HostState::Stopped;
        view.members.clear();
        self.told.send_replace(view);
        tracing::info!(host = self.config.host_id, "the host ended");
    }
}

impl Place {
    /// A description or candidate goes to whom it is for.
    fn pass(&mut self, from: &str, signal: ServerSignal) {
        if from == self.grant.endpoint_peer_id {
            if self.to_upstream.try_send(signal).is_err() {
                tracing::debug!("a message of the endpoint was dropped");
            }
        } else if !self.members.on_signal(from, signal) {
            tracing::debug!(from, "a message of somebody who is no member");
        }
    }
}

/// The seat's next event; waits for ever without one.
async fn next_event(place: &mut Option<Place>) -> SeatEvent {
    if let Some(place) = place
        && let Some(event) = place.events.recv().await
    {
        return event;
    }
    std::future::pending().await
}

/// Unix milliseconds; 0 with a clock before 1970.
fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
