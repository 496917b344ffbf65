//! Hosts as they live: the fleet's decisions are carried out here, in their order, by the endpoint, the
//! signaling hub and the log.
//!
//! One lock holds the fleet and what belongs to it, so that what one call decides is done before the
//! next one decides. Inside it the hub's and the endpoint's locks are taken, never the other way.

mod outputs;
pub(crate) mod serving;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warp_coordinator_core::{
    ConnId, Fleet, HostSessions, NewSession, Revoked,
    fleet::{
        CannotServe, FleetCounters, FleetTally, HeldHost, HeldPlace, HostFilter, HostRecord,
        HostRefused, Report, SessionRef, ZoneRules,
    },
};
use warp_protocol::{
    ProblemCode,
    endpoint::HostSpec,
    hosting::{HostHeartbeat, HostRegister, HostView, MemberVerdict, SignedPolicy, ZonePolicy},
    identity::PublicKey,
    rest::IceServer,
    signal::ClientSignal,
    zone::ZoneFile,
};

use crate::{
    authority::Authority,
    endpoint_port::{EndpointPort, SignalPort},
    hosts_config::HostsConfig,
    hub::{Closing, Hub, Seat},
    live::{CarrierStop, ENDPOINT_PEER},
    monitoring::recent::Recent,
    problem::{Refused, internal},
    tokens::{random_hex, unix_now},
    ws::close,
};

/// All hosts of this process.
pub(crate) struct Hosting {
    hub: Arc<Hub>,
    endpoint: EndpointPort,
    authority: Arc<Authority>,
    config: HostsConfig,
    state: Mutex<State>,
    /// Link sockets of hosts, by room.
    carriers: Mutex<HashMap<String, CarrierStop>>,
    /// Start of the time that the fleet counts in.
    start: Instant,
    /// The same by the wall clock.
    started_at: SystemTime,
    deadlines_changed: Notify,
    /// There are sessions to be stored.
    sessions_changed: Notify,
    /// Held while they are.
    storing: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
    /// What happened last, for whoever watches.
    pub(crate) recent: Recent,
}

struct State {
    fleet: Fleet,
    /// Place of each registered host.
    places: HashMap<String, HostPlace>,
    /// Peer id of each session.
    peers: HashMap<String, String>,
    /// Seats of hosts in their members' rooms, by the host's room and the slot.
    seats: HashMap<(String, u32), Seat>,
    /// The same by the host and the member's peer id.
    members: HashMap<(String, String), (String, u32)>,
    policies: BTreeMap<String, (ZonePolicy, SignedPolicy)>,
    /// Sessions of the contract; see [`serving`].
    sessions: HostSessions,
    /// Players that each zone holds.
    zone_limits: HashMap<String, u32>,
    /// The coordinator stops and the endpoint does not: nobody is told anything any more, so that what
    /// hosts carry goes on.
    let_go: bool,
}

/// Where a host is.
struct HostPlace {
    room: String,
    peer_id: String,
    account: i64,
    device_key: PublicKey,
    /// When its certificate was issued, unix seconds.
    certified: u64,
    /// Where it registered from; not known of one that an endpoint named, until it registers again.
    from: Option<SocketAddr>,
    /// Its [`number_of`](serving::number_of).
    number: i64,
    /// Its signaling socket.
    socket: Option<ConnId>,
}

/// A host that registers, with what was found out about it.
pub(crate) struct Registering {
    /// Room and peer id are made here, and the time is filled in.
    pub(crate) record: HostRecord,
    /// When the certificate was issued, unix seconds.
    pub(crate) certified: u64,
    /// When it expires, unix seconds.
    pub(crate) expires: u64,
    pub(crate) ice_servers: Vec<IceServer>,
    /// Where it asks from.
    pub(crate) from: SocketAddr,
}

/// A host that the endpoint names, with what was found out about it.
pub(crate) struct Adopted {
    /// With the room and the peer id that it had; the time is filled in.
    pub(crate) record: HostRecord,
    /// When the certificate was issued, unix seconds.
    pub(crate) certified: u64,
    /// When it expires, unix seconds.
    pub(crate) expires: u64,
    pub(crate) held: HeldHost,
    /// Its place at the endpoint.
    pub(crate) port: SignalPort,
}

/// A host that has registered.
pub(crate) struct Registered {
    pub(crate) view: HostView,
    pub(crate) room: String,
    pub(crate) peer_id: String,
    pub(crate) policies: Vec<SignedPolicy>,
}

impl Hosting {
    pub(crate) fn new(
        hub: Arc<Hub>,
        endpoint: EndpointPort,
        authority: Arc<Authority>,
        config: HostsConfig,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            hub,
            endpoint,
            authority,
            state: Mutex::new(State {
                fleet: Fleet::new(config.limits),
                places: HashMap::new(),
                peers: HashMap::new(),
                seats: HashMap::new(),
                members: HashMap::new(),
                policies: BTreeMap::new(),
                sessions: HostSessions::default(),
                zone_limits: HashMap::new(),
                let_go: false,
            }),
            config,
            carriers: Mutex::new(HashMap::new()),
            start: Instant::now(),
            started_at: SystemTime::now(),
            deadlines_changed: Notify::new(),
            sessions_changed: Notify::new(),
            storing: tokio::sync::Mutex::default(),
            tasks,
            recent: Recent::default(),
        })
    }

    /// Enters what is known of zones and the switch. The same again does nothing.
    pub(crate) fn put_zone(&self, zone: &ZoneFile) {
        let rules = self.rules(zone);
        self.with(|state, now| {
            let limit = (zone.zone_id.clone(), zone.max_players);
            state.zone_limits.extend([limit]);
            state.fleet.put_zone(now, rules);
        });
    }

    /// Brings everything in line with what is stored.
    pub(crate) fn sync(&self, zones: &[&ZoneFile], p2p_on: bool) {
        let all: Vec<ZoneRules> = zones.iter().map(|zone| self.rules(zone)).collect();
        self.with(|state, now| {
            let limits = zones
                .iter()
                .map(|zone| (zone.zone_id.clone(), zone.max_players));
            state.zone_limits = limits.collect();
            state.fleet.switch(now, p2p_on);
            for gone in state.fleet.zone_ids() {
                if all.iter().all(|rules| rules.zone_id != gone) {
                    state.fleet.remove_zone(now, &gone);
                }
            }
            for rules in all {
                state.fleet.put_zone(now, rules);
            }
        });
    }

    fn rules(&self, zone: &ZoneFile) -> ZoneRules {
        ZoneRules {
            zone_id: zone.zone_id.clone(),
            p2p: zone.p2p_enabled,
            fallback: zone.fallback_enabled,
            min_score: zone.min_host_quality_score,
            min_bandwidth_mbps: zone.min_bandwidth_mbps,
            max_latency_ms: zone.max_latency_ms,
            minimum: self.config.minimum,
            upstreams: zone
                .hosted
                .as_ref()
                .map_or_else(Vec::new, |hosted| hosted.upstreams.clone()),
        }
    }

    /// Whether the fleet has a zone.
    pub(crate) fn knows_zone(&self, zone_id: &str) -> bool {
        self.state.lock().fleet.has_zone(zone_id)
    }

    /// Whether peer-to-peer paths may be used in a zone.
    pub(crate) fn is_p2p(&self, zone_id: &str) -> bool {
        self.state.lock().fleet.is_p2p(zone_id)
    }

    /// Whether the fleet's switch is on.
    pub(crate) fn is_on(&self) -> bool {
        self.state.lock().fleet.is_on()
    }

    /// Whether a session of this account in the zone could be carried.
    pub(crate) fn can_carry(&self, zone_id: &str, account: i64) -> bool {
        self.state.lock().fleet.can_carry(zone_id, account)
    }

    /// A session begins, or is one that an endpoint names, with the hosts' routes that lead to it there.
    pub(crate) fn join(&self, new: &NewSession, held: &[HeldPlace]) {
        let Some(device_key) = PublicKey::from_spki(&new.device_key) else {
            return;
        };
        let who = SessionRef {
            session_id: new.session_id.clone(),
            peer_id: new.peer_id.clone(),
            device_key,
            zone_id: new.zone_id.clone(),
            account: new.account,
        };
        self.with(|state, now| {
            let (session, peer) = (who.session_id.clone(), who.peer_id.clone());
            state.peers.insert(session, peer);
            state.fleet.rejoin(now, who, held);
        });
    }

    /// A session has ended.
    pub(crate) fn leave(&self, session_id: &str) {
        self.with(|state, now| state.fleet.leave(now, session_id));
        self.state.lock().peers.remove(session_id);
    }

    /// A launcher has sent a join: if it is in its session's room now, it is told its hosts.
    pub(crate) fn entered(&self, session_id: &str, peer_id: &str) {
        if self.hub.is_in(session_id, peer_id) {
            self.with(|state, _| state.fleet.entered(session_id));
        }
    }

    /// Registers a host, and makes its room where it has none.
    pub(crate) fn register(self: &Arc<Self>, new: Registering) -> Result<Registered, Refused> {
        let Registering {
            mut record,
            certified,
            expires,
            ice_servers,
            from,
        } = new;
        let (host_id, account) = (record.host_id.clone(), record.account);
        let device_key = record.device_key;
        let mut spec = spec_of(&record, ice_servers);
        let fresh = (
            format!("hosting-{}", random_hex::<8>()?),
            // Short, whatever the host calls itself: errors repeat peer ids up to 64 characters.
            format!("host-{}", random_hex::<8>()?),
        );
        let left = left_until(expires);
        let made = self.with(|state, now| {
            record.valid_until = Some(now + left);
            let place = state.places.get(&host_id);
            let place = place.filter(|p| p.account == account && p.device_key == device_key);
            let is_new = place.is_none();
            (record.room, record.peer_id) =
                place.map_or(fresh, |place| (place.room.clone(), place.peer_id.clone()));
            let (room, peer_id) = (record.room.clone(), record.peer_id.clone());
            let view = state.fleet.register(now, record)?;
            // Takes an older place of the host away.
            self.carry_out(state);
            let place = HostPlace {
                room: room.clone(),
                peer_id: peer_id.clone(),
                account,
                device_key,
                certified,
                from: Some(from),
                number: serving::number_of("host", &host_id),
                socket: state.places.get(&host_id).and_then(|place| place.socket),
            };
            state.places.insert(host_id.clone(), place);
            Ok((is_new, view, room, peer_id))
        });
        let (is_new, view, room, peer_id) =
            made.map_err(|refused: HostRefused| refuse(&refused))?;
        (spec.room, spec.peer_id) = (room.clone(), peer_id.clone());
        if is_new {
            let seated = self.make_room(&room, &peer_id, |endpoint| {
                endpoint.grant_host(spec.clone())
            });
            if let Err(refused) = seated {
                self.remove(&host_id);
                return Err(refused);
            }
        } else {
            self.endpoint.renew_host(spec);
        }
        tracing::info!(host = host_id, account, room, is_new, "host registered");
        let policies = view.zones.iter();
        let policies = policies.filter_map(|zone| self.policy(zone)).collect();
        Ok(Registered {
            view,
            room,
            peer_id,
            policies,
        })
    }

    /// Enters a host that the endpoint holds, in the room that it had.
    pub(crate) fn adopt(self: &Arc<Self>, adopted: Adopted) -> Result<(), Refused> {
        let Adopted {
            mut record,
            certified,
            expires,
            held,
            port,
        } = adopted;
        let (host_id, room) = (record.host_id.clone(), record.room.clone());
        let peer_id = record.peer_id.clone();
        let place = HostPlace {
            room: room.clone(),
            peer_id: peer_id.clone(),
            account: record.account,
            device_key: record.device_key,
            certified,
            from: None,
            number: serving::number_of("host", &host_id),
            socket: None,
        };
        self.with(|state, now| {
            record.valid_until = Some(now + left_until(expires));
            state.fleet.adopt(now, record, held)?;
            state.places.insert(host_id.clone(), place);
            Ok(())
        })
        .map_err(|refused: HostRefused| refuse(&refused))?;
        if let Err(refused) = self.make_room(&room, &peer_id, |_| Ok(port)) {
            self.remove(&host_id);
            return Err(refused);
        }
        tracing::info!(host = host_id, room, "host entered again");
        Ok(())
    }

    /// Says all routes to the endpoint, which has just come to serve; `held` are those that it had, by
    /// host's room and slot.
    pub(crate) fn say_routes(&self, held: &[(String, u32)]) {
        self.with(|state, now| {
            // What was decided up to now is said before, and what comes after.
            self.carry_out(state);
            let routes = state.fleet.routes();
            // A route that is about to go stays, and is not said: it would take its way back.
            let stay = routes.iter().chain(state.fleet.retiring_routes());
            let stay: HashSet<(&str, u32)> = stay
                .map(|route| (route.room.as_str(), route.slot))
                .collect();
            for (room, slot) in held {
                if !stay.contains(&(room.as_str(), *slot)) {
                    self.endpoint.unroute(room, *slot);
                }
            }
            for routed in &routes {
                self.route_at_endpoint(routed);
            }
            state.fleet.adopted(now);
        });
    }

    fn make_room(
        self: &Arc<Self>,
        room: &str,
        peer_id: &str,
        grant: impl FnOnce(&EndpointPort) -> Result<SignalPort, Refused>,
    ) -> Result<(), Refused> {
        self.hub
            .open(room, &[peer_id])
            .map_err(|error| Refused::new(ProblemCode::CoordinatorFault, error.to_string()))?;
        let SignalPort {
            to_endpoint,
            mut from_endpoint,
        } = grant(&self.endpoint)?;
        let seat = self
            .hub
            .connect_service(room, ENDPOINT_PEER, to_endpoint)
            .map_err(|_| internal("the endpoint could not enter the host's room"))?;
        let (hosting, room) = (Arc::clone(self), room.to_owned());
        self.tasks.spawn(async move {
            while let Some(signal) = from_endpoint.recv().await {
                seat.handle(signal);
            }
            hosting.room_ended(&room);
        });
        Ok(())
    }

    /// The endpoint has let go of a host: it has to register anew.
    fn room_ended(&self, room: &str) {
        let host_id = self.state.lock().host_in(room);
        if let Some(host_id) = host_id {
            tracing::info!(host = host_id, room, "the endpoint ended a host");
            self.remove(&host_id);
        }
    }

    /// A host tells how it is doing.
    pub(crate) fn heartbeat(
        &self,
        host_id: &str,
        account: i64,
        beat: HostHeartbeat,
    ) -> Result<HostView, Refused> {
        self.with(|state, now| state.fleet.heartbeat(now, host_id, account, beat))
            .map_err(|refused| refuse(&refused))
    }

    /// Checks that an account may decide over a host.
    pub(crate) fn may_manage(
        &self,
        host_id: &str,
        account: i64,
        operator: bool,
    ) -> Result<(), Refused> {
        match self.state.lock().fleet.owner(host_id) {
            None => Err(refuse(&HostRefused::UnknownHost)),
            Some(owner) if owner != account && !operator => Err(refuse(&HostRefused::NotYours)),
            Some(_) => Ok(()),
        }
    }

    /// Moves a host's members away.
    pub(crate) fn drain(&self, host_id: &str) -> Result<HostView, Refused> {
        self.with(|state, now| {
            state.fleet.drain(now, host_id);
            state.fleet.host(host_id)
        })
        .ok_or_else(|| refuse(&HostRefused::UnknownHost))
    }

    /// Takes a host out.
    pub(crate) fn remove(&self, host_id: &str) {
        self.with(|state, now| state.fleet.remove(now, host_id));
    }

    /// Moves a session off its hosts, to others or to the endpoint. False: no host could carry it
    /// anyway.
    pub(crate) fn move_session(&self, session_id: &str, to_endpoint: bool) -> bool {
        self.with(|state, now| state.fleet.move_session(now, session_id, to_endpoint))
    }

    /// Moves a session to a host.
    pub(crate) fn move_to_host(&self, session_id: &str, host_id: &str) -> Result<(), CannotServe> {
        self.with(|state, now| state.fleet.move_to_host(now, session_id, host_id))
    }

    /// The hosts that a session may go over.
    pub(crate) fn hosts_of(&self, session_id: &str) -> Vec<String> {
        let offers = self.state.lock().fleet.assigned(session_id);
        offers.into_iter().map(|offer| offer.host_id).collect()
    }

    /// Takes out what a revocation or a ban ends; `why` closes the signaling sockets.
    pub(crate) fn end_revoked(&self, by: &Revoked, why: Closing) {
        let ends = |place: &HostPlace| match by {
            Revoked::Device(key) => place.device_key.spki() == *key,
            Revoked::Account { account, at } => place.account == *account && place.certified <= *at,
        };
        self.with(|state, now| {
            let places = state.places.iter().filter(|(_, place)| ends(place));
            let revoked: Vec<String> = places.map(|(host_id, _)| host_id.clone()).collect();
            for host_id in revoked {
                tracing::info!(
                    host = host_id,
                    ?why,
                    "host ends: its device or account was revoked or banned"
                );
                if let Some(place) = state.places.get(&host_id) {
                    self.hub.expel(&place.peer_id, why);
                }
                state.fleet.remove(now, &host_id);
            }
        });
    }

    /// Account and device key (SPKI) of each host.
    pub(crate) fn owners(&self) -> Vec<(i64, Vec<u8>)> {
        let state = self.state.lock();
        let places = state.places.values();
        let owners = places.map(|place| (place.account, place.device_key.spki()));
        owners.collect()
    }

    /// Takes all hosts out, because the coordinator stops. Those of an endpoint that goes on are not
    /// told: it names them to the next run.
    pub(crate) fn end_all(&self) {
        self.with(|state, now| {
            state.let_go = self.endpoint.remote().is_some();
            let all: Vec<String> = state.places.keys().cloned().collect();
            for host_id in all {
                state.fleet.remove(now, &host_id);
            }
        });
    }

    pub(crate) fn host(&self, host_id: &str) -> Result<HostView, Refused> {
        let view = self.state.lock().fleet.host(host_id);
        view.ok_or_else(|| refuse(&HostRefused::UnknownHost))
    }

    pub(crate) fn hosts(&self, filter: HostFilter) -> Vec<HostView> {
        self.state.lock().fleet.hosts(filter)
    }

    pub(crate) fn available(&self) -> Vec<HostView> {
        self.state.lock().fleet.available()
    }

    pub(crate) fn best(&self, zone_id: &str, account: i64) -> Option<HostView> {
        self.state.lock().fleet.best(zone_id, account)
    }

    pub(crate) fn counters(&self) -> FleetCounters {
        self.state.lock().fleet.counters()
    }

    /// How the fleet stands now.
    pub(crate) fn tally(&self) -> FleetTally {
        self.state.lock().fleet.tally()
    }

    /// Whether there is such a host.
    pub(crate) fn knows_host(&self, host_id: &str) -> bool {
        self.state.lock().fleet.owner(host_id).is_some()
    }

    /// Whether there is such a zone.
    pub(crate) fn has_zone(&self, zone_id: &str) -> bool {
        self.state.lock().fleet.has_zone(zone_id)
    }

    /// The host and the room that a peer id belongs to, if it is that account's.
    pub(crate) fn of_peer(&self, peer_id: &str, account: i64) -> Option<(String, String)> {
        let state = self.state.lock();
        let mut places = state.places.iter();
        let found = places.find(|(_, p)| p.peer_id == peer_id && p.account == account);
        found.map(|(host_id, place)| (host_id.clone(), place.room.clone()))
    }

    /// Whether a room is the own one of a host of that account.
    pub(crate) fn owns_room(&self, room: &str, account: i64) -> bool {
        let state = self.state.lock();
        let mut places = state.places.values();
        places.any(|place| place.room == room && place.account == account)
    }

    /// A host's signaling socket is up; an older one of it no longer counts.
    pub(crate) fn attached(&self, host_id: &str, peer_id: &str, socket: ConnId) {
        self.with(|state, now| {
            let place = state.places.get_mut(host_id);
            if let Some(place) = place.filter(|place| place.peer_id == peer_id) {
                place.socket = Some(socket);
                state.fleet.attached(now, host_id);
            }
        });
    }

    /// A host's signaling socket is gone.
    pub(crate) fn detached(&self, host_id: &str, socket: ConnId) {
        self.with(|state, now| {
            let place = state.places.get_mut(host_id);
            if let Some(place) = place.filter(|place| place.socket == Some(socket)) {
                place.socket = None;
                state.fleet.detached(now, host_id);
            }
        });
    }

    /// Carries a host's signal into the room of the member that it is for. Gives it back when it is
    /// for none of its members.
    pub(crate) fn relay(&self, host_id: &str, signal: ClientSignal) -> Option<ClientSignal> {
        let (ClientSignal::Offer { to, .. }
        | ClientSignal::Answer { to, .. }
        | ClientSignal::IceCandidate { to, .. }) = &signal
        else {
            return Some(signal);
        };
        let state = self.state.lock();
        let slot = state.members.get(&(host_id.to_owned(), to.clone()));
        match slot.and_then(|slot| state.seats.get(slot)) {
            Some(seat) => {
                seat.handle(signal);
                None
            }
            None => Some(signal),
        }
    }

    /// A launcher tells how a host of its session is doing.
    pub(crate) fn report(&self, session_id: &str, report: &Report) {
        self.with(|state, now| state.fleet.report(now, session_id, report));
    }

    /// A host tells what a member does.
    pub(crate) fn member_report(
        &self,
        host_id: &str,
        peer_id: &str,
        verdict: MemberVerdict,
        dropped: u64,
    ) {
        self.with(|state, now| {
            let fleet = &mut state.fleet;
            fleet.member_report(now, host_id, peer_id, verdict, dropped);
        });
    }

    /// A host's link socket is about to attach; an older one is closed. None: it is gone.
    pub(crate) fn carrier_opens(&self, room: &str) -> Option<CarrierStop> {
        let state = self.state.lock();
        state.host_in(room)?;
        let stop = CarrierStop::new();
        let older = self.carriers.lock().insert(room.to_owned(), stop.clone());
        if let Some(older) = older {
            older.stop(close::REPLACED);
        }
        Some(stop)
    }

    /// A host's link socket has ended.
    pub(crate) fn carrier_closed(&self, room: &str, stop: &CarrierStop) {
        let mut carriers = self.carriers.lock();
        if carriers.get(room).is_some_and(|carrier| carrier.is(stop)) {
            carriers.remove(room);
        }
    }

    /// The policy of a zone, signed.
    pub(crate) fn policy(&self, zone_id: &str) -> Option<SignedPolicy> {
        self.state.lock().policy(self, zone_id)
    }

    /// Does what falls due in the fleet; runs until `stop`.
    pub(crate) async fn watch(&self, stop: CancellationToken) {
        loop {
            let next = self.state.lock().fleet.next_deadline();
            let deadline = async {
                match next {
                    Some(at) => tokio::time::sleep_until((self.start + at).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.deadlines_changed.notified() => continue,
                () = deadline => {}
            }
            self.with(|state, now| state.fleet.handle_timeout(now));
        }
    }

    /// Decides something and does what follows from it, before anything else is decided.
    fn with<T>(&self, decide: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.state.lock();
        let decided = decide(&mut state, self.start.elapsed());
        self.carry_out(&mut state);
        if state.sessions.has_changes() {
            self.sessions_changed.notify_one();
        }
        drop(state);
        self.deadlines_changed.notify_one();
        decided
    }
}

impl State {
    fn host_in(&self, room: &str) -> Option<String> {
        let mut places = self.places.iter();
        let found = places.find(|(_, place)| place.room == room);
        found.map(|(host_id, _)| host_id.clone())
    }
}

/// What the endpoint is told of a host; room and peer id are filled in.
fn spec_of(record: &HostRecord, ice_servers: Vec<IceServer>) -> HostSpec {
    HostSpec {
        room: String::new(),
        peer_id: String::new(),
        account: u64::try_from(record.account).unwrap_or(0),
        registration: HostRegister {
            host_id: record.host_id.clone(),
            zones: record.zones.clone(),
            hardware: record.hardware,
            max_players: record.max_players,
            device_key: record.device_key,
            certificate: record.certificate.clone(),
            hosted: record.hosted.clone(),
        },
        ice_servers,
    }
}

fn left_until(expires: u64) -> Duration {
    let now = u64::try_from(unix_now()).unwrap_or(0);
    Duration::from_secs(expires.saturating_sub(now))
}

/// A refusal with its code.
pub(crate) fn refuse(refused: &HostRefused) -> Refused {
    let code = match refused {
        HostRefused::UnknownHost => ProblemCode::NotFound,
        HostRefused::NotYours => ProblemCode::HostNotYours,
        HostRefused::Full => ProblemCode::CoordinatorFault,
        HostRefused::BadId
        | HostRefused::BadZones
        | HostRefused::Impossible { .. }
        | HostRefused::UnknownZone(_)
        | HostRefused::BelowMinimum { .. }
        | HostRefused::NotHosted(_)
        | HostRefused::Registered
        | HostRefused::TooManyOfAccount => ProblemCode::HostRefused,
    };
    Refused::new(code, refused.to_string())
}
