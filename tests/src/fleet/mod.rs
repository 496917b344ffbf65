//! Fifty launchers, five hosts, an endpoint and the coordinator's fleet, in virtual time.
//!
//! The cores are the real ones: both ends of every session link, the launcher's decisions about its
//! hosts ([`HostWay`](warp_engine_core::hosts::HostWay)), the hosts' [`Forwarder`], the coordinator's
//! [`Fleet`]. Ours here is the network between them, what sockets and WebRTC would do, and the faults. A
//! run is decided by its seed, but for the TLS key shares, whose sizes do not vary.

mod coordinator;
mod faults;
mod network;
mod player;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use warp_coordinator_core::fleet::{Fleet, FleetLimits, HeldHost, HostRecord, Report};
use warp_host_core::{Forwarder, ForwarderConfig, Routes};
use warp_link_core::Identity;
use warp_protocol::carrier::PathKind;
use warp_protocol::hosting::{HostHardware, HostHeartbeat, HostOffer};
use warp_protocol::identity::PublicKey;
use warp_protocol::signal::ServerSignal;

pub use faults::Fault;
use network::{Events, What};
use player::Player;

/// The one zone.
const ZONE: &str = "zone";
/// One way between a launcher or a host and the coordinator.
const SIGNALING: Duration = Duration::from_millis(15);
/// What setting up a WebRTC connection takes.
const SET_UP: Duration = Duration::from_millis(90);
/// When a set-up that finds nobody is given up.
const SET_UP_LIMIT: Duration = Duration::from_millis(1500);
/// How long it takes a peer to notice that the other side's process is gone without a word: ours are
/// its own heartbeats, so never by WebRTC itself in a run's time.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The longest pause once all is well: three heartbeats of silence, and the round trip that tells the
/// other path's state.
const HICCUP: Duration = Duration::from_secs(1);

/// The longest pause in the troubles, while some way is open: a hiccup, the time between two packets
/// of the game, and the wait until a WebSocket that was cut is opened again.
const PAUSE: Duration = Duration::from_millis(1500);

/// What it takes from the moment that a host is given to members again until all have it: the round in
/// which the coordinator looks at all places, and the set-up.
const RECOVERY: Duration = Duration::from_secs(15);

/// Members that a host takes.
const PLACES: u32 = 50;

/// How a seed plays.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Launchers.
    pub players: usize,
    /// Hosts.
    pub hosts: usize,
    /// Faults begin and end within this time.
    pub troubled: Duration,
    /// The run's end.
    pub end: Duration,
    /// Faults drawn.
    pub faults: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            players: 50,
            hosts: 5,
            troubled: Duration::from_secs(6),
            end: Duration::from_millis(13_500),
            faults: 6,
        }
    }
}

/// A host, as a process.
struct Host {
    id: String,
    key: PublicKey,
    forwarder: Forwarder,
    /// Counts up with each start; what was meant for an older life is lost.
    life: u32,
    alive: bool,
    /// Stopped: it does nothing and notices nothing, and its sockets stay.
    frozen: bool,
    /// Its signaling socket is up.
    attached: bool,
    /// Its socket went with the coordinator, and it has its place still.
    waits: bool,
    beat_at: Instant,
    /// Its members are being moved away, before it starts anew.
    draining: bool,
    /// The rooms that it has had.
    rooms: Vec<usize>,
    /// Its way to the coordinator is cut.
    cut_off: bool,
    /// What it passes on is altered, one in so many; 0: never.
    alters: u32,
    /// Gets another opening's number in its label, one in so many; 0: never.
    relabels: u32,
    /// Every datagram waits here for so long.
    delays: Duration,
    /// What goes from it to members vanishes: it looks alive to everybody but them.
    half_open: bool,
    /// It has altered or delayed datagrams at some time.
    meddled: bool,
}

/// A slot of a host's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    room: usize,
    slot: u32,
}

/// Whose datagrams go by a place.
#[derive(Debug, Clone, Copy)]
struct Route {
    player: usize,
    way: PathKind,
}

/// A host, as the endpoint knows it.
struct Granted {
    record: HostRecord,
    held: HeldHost,
}

/// What a run came to.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Datagrams that both ends of all links sent.
    pub datagrams: u64,
    /// The longest pause of each player's game in which some way was open, ms.
    pub gaps_ms: Vec<f64>,
    /// Moves between paths, over all players.
    pub moves: u64,
    /// Datagrams that the endpoint refused for their epoch or slot.
    pub refused_routes: u64,
    /// Hosts that could be given a member at the end: those with a lease and a free place.
    pub available: usize,
    /// Times that the coordinator found a host's word to be wrong; an honest one's fails the run.
    pub contradictions: u64,
    /// Virtual time from the end of the troubles until every launcher was connected and had its hosts
    /// again, ms.
    pub converged_ms: f64,
    /// Players that played over a host at some time.
    pub hosted: usize,
    /// When a player gave a host up last, since the start.
    pub given_up: Duration,
}

/// The world.
pub struct World {
    now: Instant,
    start: Instant,
    plan: Plan,
    rng: StdRng,
    events: Events,
    /// Players for which datagrams came at this instant.
    heard: Vec<usize>,
    players: Vec<Player>,
    by_session: HashMap<String, usize>,
    by_peer: HashMap<String, usize>,
    hosts: Vec<Host>,
    host_by_id: HashMap<String, usize>,
    room_by_name: HashMap<String, usize>,
    /// Whose room it is.
    rooms: Vec<usize>,
    /// `None` while the coordinator is down.
    fleet: Option<Fleet>,
    fleet_start: Instant,
    /// The coordinator's clock is ahead by this much.
    skew: Duration,
    /// The endpoint's hosts, by room.
    granted: BTreeMap<usize, Granted>,
    /// Its routes, by room.
    routes: HashMap<usize, Routes<Route>>,
    /// The route that each way of a session goes out by: the newest that the member has used.
    outward: HashMap<(usize, PathKind), Place>,
    /// Routes over which something has come.
    used: HashSet<Place>,
    refused_routes: u64,
    contradictions: u64,
    datagrams: u64,
    /// Each of the coordinator's messages comes twice.
    doubled: bool,
    generation: u32,
    /// Of each player; kept by whoever touches its links or ways.
    deadlines: Vec<Instant>,
}

impl World {
    /// Everything up, nobody connected yet.
    pub fn new(seed: u64, plan: Plan, keys: &[(Identity, Identity)]) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = Instant::now();
        let hosts: Vec<Host> = (0..plan.hosts).map(|n| Host::new(n, now)).collect();
        let players: Vec<Player> = (0..plan.players)
            .map(|n| Player::new(n, &keys[n % keys.len()], &mut rng))
            .collect();
        let mut world = Self {
            now,
            start: now,
            plan,
            events: Events::default(),
            heard: Vec::new(),
            by_session: players.iter().map(|p| (p.session.clone(), p.n)).collect(),
            by_peer: players.iter().map(|p| (p.peer.clone(), p.n)).collect(),
            host_by_id: hosts
                .iter()
                .enumerate()
                .map(|(n, h)| (h.id.clone(), n))
                .collect(),
            room_by_name: HashMap::new(),
            rooms: Vec::new(),
            players,
            hosts,
            fleet: None,
            fleet_start: now,
            skew: Duration::ZERO,
            granted: BTreeMap::new(),
            routes: HashMap::new(),
            outward: HashMap::new(),
            used: HashSet::new(),
            refused_routes: 0,
            contradictions: 0,
            datagrams: 0,
            doubled: rng.random_bool(0.3),
            generation: 0,
            deadlines: vec![now; plan.players],
            rng,
        };
        world.start_coordinator();
        for n in 0..plan.players {
            let wait = Duration::from_millis(world.rng.random_range(0..400));
            world.at(wait, What::Begin { player: n });
        }
        world
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn beat(&mut self, n: usize) {
        let now = self.fleet_now();
        let generation = self.generation;
        let host = &mut self.hosts[n];
        host.beat_at = self.now + HEARTBEAT;
        let reachable = host.alive && !host.frozen && !host.cut_off;
        if let Some(fleet) = self.fleet.as_mut().filter(|_| reachable) {
            let beat = HostHeartbeat {
                latency_ms: Some(10.0),
                packet_loss_percent: Some(0.0),
                bandwidth_usage_mbps: 1.0,
                current_players: host.forwarder.len() as u32,
                current_zones: 1,
                paused: false,
            };
            let account = n as i64 + 1;
            let known = fleet.heartbeat(now, &host.id, account, beat).is_ok();
            let waits = std::mem::take(&mut host.waits);
            let again = known && waits && !host.attached;
            let anew = !again && (!known || !host.attached);
            if again {
                // The same process in the same place: its socket is open again.
                host.forwarder.on_signaling(self.now);
                fleet.attached(now, &host.id);
                host.attached = true;
            }
            if anew {
                // A coordinator that knows the host gives it its old place, in whatever life it is.
                let fresh = || {
                    (
                        format!("room-{n}-{generation}"),
                        format!("host-peer-{n}-{generation}"),
                    )
                };
                let place = fleet.record(&host.id);
                let place = place.map(|record| (record.room.clone(), record.peer_id.clone()));
                let (room, peer_id) = place.unwrap_or_else(fresh);
                let rooms = &mut self.rooms;
                let at = *self.room_by_name.entry(room.clone()).or_insert_with(|| {
                    rooms.push(n);
                    rooms.len() - 1
                });
                host.draining = false;
                let record = HostRecord {
                    host_id: host.id.clone(),
                    account,
                    name: host.id.clone(),
                    device_key: host.key,
                    certificate: String::new(),
                    valid_until: None,
                    hardware: HostHardware {
                        cpu_cores: 4,
                        cpu_frequency_mhz: 3000,
                        memory_mb: 8192,
                        network_speed_mbps: 100,
                    },
                    zones: vec![ZONE.into()],
                    max_players: PLACES,
                    room,
                    peer_id,
                    hosted: None,
                };
                let granted = self.granted.entry(at).or_insert_with(|| Granted {
                    record: record.clone(),
                    held: HeldHost {
                        next_slot: 0,
                        last_epoch: 0,
                    },
                });
                granted.record = record.clone();
                if host.rooms.last() != Some(&at) {
                    host.rooms.push(at);
                    // A new place: what was carried under the old one is not any more.
                    host.forwarder = Forwarder::new(ForwarderConfig::default(), self.now);
                }
                host.forwarder.on_signaling(self.now);
                fleet.register(now, record).expect("a host that fits");
                fleet.attached(now, &host.id);
                host.attached = true;
                let _ = fleet.heartbeat(now, &host.id, account, beat);
            }
            if anew {
                for player in 0..self.players.len() {
                    self.close_lines_to(player, n);
                }
            }
            self.carry_out();
        }
        self.let_go(n);
        let life = self.hosts[n].life;
        self.at(HEARTBEAT, What::Beat { host: n, life });
    }

    /// The host reaches the coordinator again, with all that it carried.
    fn reattach(&mut self, n: usize) {
        let now = self.fleet_now();
        let host = &mut self.hosts[n];
        if let Some(fleet) = self.fleet.as_mut().filter(|_| host.alive && host.attached) {
            fleet.detached(now, &host.id);
            fleet.attached(now, &host.id);
            host.forwarder.on_signaling(self.now);
        }
        self.carry_out();
    }

    /// The host closes its connections to those whom it does not carry any more.
    fn let_go(&mut self, n: usize) {
        while let Some(peer_id) = self.hosts[n].forwarder.poll_gone(self.now) {
            let player = self.by_peer[&*peer_id];
            self.close_lines_to(player, n);
        }
    }

    // ---- hosts

    fn host_signal(&mut self, n: usize, signal: ServerSignal) {
        let now = self.now;
        match signal {
            ServerSignal::Serve { member } => {
                let taken = self.hosts[n].forwarder.serve(now, &member);
                taken.expect("the coordinator keeps to the host's capacity");
                self.let_go(n);
            }
            ServerSignal::Unserve { peer_id, .. } => {
                self.hosts[n].forwarder.unserve(now, &peer_id);
                let player = self.by_peer[&peer_id];
                self.close_lines_to(player, n);
            }
            _ => {}
        }
    }

    /// The host closes its connection to a member.
    fn close_lines_to(&mut self, player: usize, host: usize) {
        let now = self.now;
        let ways: Vec<PathKind> = self.players[player]
            .lines
            .iter()
            .filter(|(_, line)| line.up && line.host == Some(host))
            .map(|(kind, _)| *kind)
            .collect();
        for kind in ways {
            let since = now.duration_since(self.start);
            let others = self.players[player].others_carry();
            self.players[player].way(kind).lost(since, others);
            self.drain_ways(player);
        }
    }

    // ---- the launchers' ways over hosts

    fn told(&mut self, n: usize, signal: ServerSignal) {
        let ServerSignal::Hosts { hosts, .. } = signal else {
            return;
        };
        let now = self.elapsed();
        for kind in [PathKind::Host, PathKind::Host2] {
            let offer = hosts.iter().find(|host| host.way == kind).cloned();
            let chance = self.rng.random();
            self.players[n].way(kind).told(now, offer, chance);
        }
        self.drain(n);
    }

    fn drain_ways(&mut self, n: usize) {
        use warp_engine_core::hosts::WayAction;
        for kind in [PathKind::Host, PathKind::Host2] {
            for action in self.players[n].way(kind).drain() {
                match action {
                    WayAction::Connect(offer) => self.connect(n, kind, &offer),
                    WayAction::Disconnect => self.players[n].disconnect(kind, self.now),
                    WayAction::Report {
                        host_id,
                        epoch,
                        verdict,
                    } => {
                        if self.players[n].signaling {
                            let report =
                                self.players[n].report(kind, self.now, host_id, epoch, verdict);
                            self.at(SIGNALING, What::Reported { player: n, report });
                        }
                    }
                }
            }
        }
    }

    fn connect(&mut self, n: usize, kind: PathKind, offer: &HostOffer) {
        let line = self.players[n].lines.entry(kind).or_default();
        line.opening += 1;
        let opening = line.opening;
        let host = self.host_by_id[&offer.host_id];
        let what = |wait: Duration| {
            (
                wait,
                What::Attempted {
                    player: n,
                    kind,
                    opening,
                    host,
                },
            )
        };
        let wait = if self.players[n].signaling && self.can_meet(n, host) {
            SET_UP
        } else {
            SET_UP_LIMIT
        };
        let (wait, what) = what(wait);
        self.at(wait, what);
    }

    /// Whether a WebRTC connection would come about now.
    fn can_meet(&self, n: usize, host: usize) -> bool {
        let (player, host) = (&self.players[n], &self.hosts[host]);
        let served = host
            .forwarder
            .members()
            .any(|(peer, ..)| **peer == *player.peer);
        host.alive && !host.frozen && !host.half_open && served && !player.udp_cut
    }

    fn attempted(&mut self, n: usize, kind: PathKind, opening: u32, host: usize) {
        let now = self.elapsed();
        let current = self.players[n].lines.get(&kind).map(|line| line.opening);
        if current != Some(opening) {
            return;
        }
        if self.can_meet(n, host) {
            let at = self.now;
            let player = &mut self.players[n];
            if let Some(line) = player.lines.get_mut(&kind) {
                (line.up, line.host) = (true, Some(host));
            }
            player.link(true).carrier_up(kind, at);
            player.way(kind).opened(now);
        } else {
            self.players[n].way(kind).failed(now);
        }
        self.drain(n);
    }

    fn reported(&mut self, n: usize, report: Report) {
        let now = self.fleet_now();
        let session = self.players[n].session.clone();
        if let Some(fleet) = &mut self.fleet {
            fleet.report(now, &session, &report);
        }
        self.carry_out();
    }

    // ---- time

    /// Runs the whole seed.
    ///
    /// # Panics
    /// An invariant is broken: a byte lost, doubled or out of order, a link that ended, a pause longer
    /// than failing over takes.
    pub fn run(mut self, faults: &[(Duration, Fault)]) -> Outcome {
        for (at, fault) in faults {
            self.at(*at, What::Fault(*fault));
        }
        self.at(self.plan.troubled, What::Heal);
        let mut end = self.start + self.plan.end;
        let healed = self.start + self.plan.troubled;
        // A host that was found bad is given to nobody for a while. Where the others have no room that they
        // give to a second way, whoever lost it waits for that host.
        let latest = end.max(healed + FleetLimits::default().shun + RECOVERY);
        let mut converged: Option<Instant> = None;
        let mut looked = healed;
        while self.now < end {
            self.step(end);
            if self.now >= healed && self.now >= looked {
                looked = self.now + Duration::from_millis(50);
                if converged.is_none() && self.is_well() {
                    converged = Some(self.now);
                }
                if converged.is_some() {
                    self.look_after_all();
                } else if self.now + HICCUP > end {
                    end = (end + HICCUP).min(latest);
                }
            }
        }
        if converged.is_some() {
            self.look_after_all();
        }
        self.conclude(converged.map(|at| at - healed))
    }

    /// All was well before. From then on ways may still be led elsewhere, for the better, and whoever
    /// plays over one at that moment has to go on over another.
    fn look_after_all(&mut self) {
        let now = self.now;
        for player in &mut self.players {
            if player.is_connected() {
                player.ill_since = None;
                continue;
            }
            let since = *player.ill_since.get_or_insert(now);
            let condition = || player.condition();
            assert!(now - since < HICCUP, "ill again: {}", condition());
        }
    }

    /// Everybody is connected, has said nothing that did not arrive lately, and has two ways over
    /// living hosts.
    fn is_well(&self) -> bool {
        let alive: Vec<bool> = self
            .hosts
            .iter()
            .map(|host| host.alive && host.attached)
            .collect();
        let enough = alive.iter().filter(|alive| **alive).count() >= 2;
        self.players.iter().all(|player| {
            let over = |kind: &PathKind| {
                let line = player.lines.get(kind);
                line.is_some_and(|line| line.up && line.host.is_some_and(|host| alive[host]))
            };
            let ways = [PathKind::Host, PathKind::Host2]
                .iter()
                .filter(|kind| over(kind));
            let ways = ways.count();
            player.is_connected() && (!enough || ways == 2)
        })
    }

    fn conclude(mut self, converged: Option<Duration>) -> Outcome {
        let mut outcome = Outcome {
            refused_routes: self.refused_routes,
            contradictions: self.contradictions,
            available: self
                .fleet
                .as_ref()
                .map_or(0, |fleet| fleet.available().len()),
            datagrams: self.datagrams,
            ..Outcome::default()
        };
        let Some(converged) = converged else {
            let hosts: Vec<(bool, bool, usize)> = self
                .hosts
                .iter()
                .map(|host| (host.alive, host.attached, host.forwarder.len()))
                .collect();
            let ill: Vec<String> = self.players.iter().filter_map(Player::illness).collect();
            panic!("not well at the end: hosts {hosts:?}; {ill:#?}");
        };
        outcome.converged_ms = converged.as_secs_f64() * 1000.0;
        for player in &mut self.players {
            player.check_all_arrived();
            let longest = player.longest_gap;
            let condition = || player.condition();
            assert!(longest < PAUSE, "paused for {longest:?}: {}", condition());
            outcome.bytes += player.arrived();
            outcome.moves += player.moves;
            outcome
                .gaps_ms
                .push(player.longest_gap.as_secs_f64() * 1000.0);
            outcome.hosted += usize::from(player.used_host);
            outcome.given_up = outcome.given_up.max(player.given_up);
        }
        for host in &self.hosts {
            assert!(
                host.forwarder.len() <= PLACES as usize,
                "more members than a host takes"
            );
        }
        outcome
    }
}

impl Host {
    fn new(n: usize, now: Instant) -> Self {
        Self {
            id: format!("host-{n}"),
            key: PublicKey::from_raw([n as u8 + 1; 32]),
            forwarder: Forwarder::new(ForwarderConfig::default(), now),
            life: 0,
            alive: true,
            frozen: false,
            attached: false,
            waits: false,
            beat_at: now,
            draining: false,
            rooms: Vec::new(),
            cut_off: false,
            alters: 0,
            relabels: 0,
            delays: Duration::ZERO,
            half_open: false,
            meddled: false,
        }
    }
}
