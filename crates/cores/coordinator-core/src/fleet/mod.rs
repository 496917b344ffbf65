//! Volunteer hosts: who they are, which have a lease, and which session goes over which.
//!
//! # Rules
//! * A host is *alive* while its heartbeats come ([`FleetLimits::silent`]) and its signaling socket is
//!   up, or not away for longer than [`FleetLimits::detached`]. One that registered and has no socket
//!   yet is alive too, and is not chosen.
//! * A living, attached host that does not drain has a *lease* in each of its zones with P2P. Its
//!   epoch counts up in the zone with each lease. It ends as [`LeaseEnd`] says.
//! * Each session of such a zone is given up to two hosts, one per way. A host that stays keeps its
//!   way. Chosen is the one with the highest score ([`score`]) among those that the zone's rules let
//!   in: score, bandwidth, latency, room; never one of the asker's own account, never one that is
//!   dead, paused, full or drains. Measured hosts come before unmeasured ones. What members measured
//!   in the last minute (its median) outweighs what a host says of itself.
//! * A session's second host comes out of the first three quarters of a host's places, so that the
//!   last quarter is left for sessions that have none.
//! * When many sessions look for a host at once, they take, among the hosts within 20 points of the
//!   best, the one that is least full: a dead host's members spread over the others by capacity.
//! * A host is replaced for a better one when that is better by [`FleetLimits::margin`] in
//!   [`FleetLimits::rounds`] evaluations in a row; at most a tenth of a host's members (at least one)
//!   in one evaluation.
//! * A member that finds its host bad is given another one. When at least half of the members (those
//!   of one account count as one), and where it has more than one at least two, found it bad within
//!   [`FleetLimits::report`], its leases end and it has none for [`FleetLimits::shun`]. Of one account
//!   at most [`FleetLimits::reports`] bad hosts count in [`FleetLimits::report_window`].
//! * A host that registers after its socket went is another process: its leases end, its members are
//!   moved, and that it was silent is forgotten once in [`FleetLimits::report_window`]; that it
//!   tampered is not.
//! * A host that drains gives its members away first, goes on carrying them for
//!   [`FleetLimits::grace`], and is told when the last one is gone. The same grace holds when a better
//!   host takes over. In all other cases it ends at once.
//! * A host over which its members lose more than [`MAX_LOSS`] percent is not chosen. Who is on it for
//!   [`FleetLimits::rounds`] evaluations is moved to another one, or to the endpoint where the zone
//!   lets it carry players.
//! * A host whose word does not fit with what is known otherwise ([`Claim`]) is no longer believed:
//!   nothing that it says of itself counts, what members measured last holds on, and hosts that are
//!   believed come first and take its members over.
//! * A host can be kept out of a zone ([`Fleet::hold`]): it has no lease there until it is let in again.
//! * A session that an operator moves leaves the hosts that it has, which carry it on for the grace. It
//!   is given others and not those again for [`FleetLimits::shun`]; or, moved to the endpoint, none
//!   until it ends or is moved again.
//! * A slot of a host is never given twice.
//! * A fleet that begins anew beside an endpoint that holds hosts and routes takes them over
//!   ([`Fleet::adopt`], [`Fleet::rejoin`]): under the same room, slots and epochs, where the rules let
//!   the host carry that session at all. It is given nothing new until all was named
//!   ([`Fleet::adopted`]), has [`FleetLimits::silent`] to be heard of, and slots and epochs go on behind
//!   those that the endpoint ever had.
//! * All tables are bounded ([`FleetLimits`]). What there is to do is to be taken out with
//!   [`Fleet::poll`] after each call; nothing is dropped from it.
//!
//! Time is an argument: a [`Duration`] since any fixed start, which never goes back. There is no
//! randomness: the names of rooms and peers come in with the records.

mod choice;
mod claims;
mod held;
mod hosts;
mod leases;
mod model;
mod moves;
mod policy;
mod reports;
pub mod score;
mod steer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use warp_protocol::hosting::{HostHeartbeat, HostOffer, HostsReason, WAYS};
use warp_protocol::signal::ServerSignal;

pub use choice::MAX_LOSS;
pub use hosts::HostFilter;
pub use model::{
    Claim, FleetCounters, FleetEvent, FleetLimits, FleetOutput, FleetTally, HeldHost, HeldPlace,
    HostMinimum, HostRecord, HostRefused, Lacking, LeaseEnd, Report, Routed, SessionRef, WAY,
    ZoneRules,
};
pub use policy::POLICY_LIFETIME;
pub use steer::CannotServe;

#[derive(Debug)]
struct Zone {
    /// None: the zone is gone, and its counter stays.
    rules: Option<ZoneRules>,
    last_epoch: u32,
}

#[derive(Debug)]
struct Host {
    record: HostRecord,
    /// Last heartbeat, registration or opening of its socket.
    heard: Duration,
    attached: bool,
    /// Since when its socket is away; none: it is there, or never was.
    detached_at: Option<Duration>,
    offline_since: Option<Duration>,
    /// It was taken over, and not all that it carries was named yet: it is given nothing new.
    awaits: bool,
    beat: Option<HostHeartbeat>,
    draining: bool,
    /// Its certificate counts no more.
    expired: bool,
    /// It was told that it is drained.
    drained: bool,
    /// Zone and epoch.
    leases: BTreeMap<String, u32>,
    /// Zones that it is kept out of; see [`Fleet::hold`].
    held: BTreeSet<String>,
    next_slot: u32,
    members: BTreeSet<String>,
    /// Members that were given another host, and are still carried.
    retiring: u32,
    /// Accounts that found it bad, and when.
    bad: BTreeMap<i64, Duration>,
    shunned_until: Duration,
    /// A member found that it altered something, since it was last shunned.
    tampered: bool,
    /// When a new start last ended its being shunned.
    forgiven: Option<Duration>,
    quality: Quality,
    /// Accounts whose members measured it of late.
    voices: usize,
    /// What each account's members measured of late.
    measured: BTreeMap<i64, Sample>,
    /// What members measured last, the middle of it.
    found: Quality,
    doubts: claims::Doubts,
}

/// As members measure it, else as the host says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Quality {
    latency_ms: Option<f64>,
    loss_percent: Option<f64>,
}

impl Quality {
    /// What is not known of it is as in `other`.
    fn or(self, other: Self) -> Self {
        Self {
            latency_ms: self.latency_ms.or(other.latency_ms),
            loss_percent: self.loss_percent.or(other.loss_percent),
        }
    }
}

#[derive(Debug)]
struct Session {
    who: SessionRef,
    ways: [Option<Place>; WAYS],
    /// Hosts that this member found bad, and until when it is not given them.
    avoid: BTreeMap<String, Duration>,
    /// An operator wants it on the endpoint: it is given no host.
    held: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Place {
    host_id: String,
    epoch: u32,
    slot: u32,
    /// Evaluations in a row in which another host was better by far.
    better: u8,
    /// The member has found it bad.
    bad: bool,
    sample: Option<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    at: Duration,
    quality: Quality,
}

#[derive(Debug)]
struct Retiring {
    due: Duration,
    routed: Routed,
    reason: HostsReason,
}

/// All hosts, zones and sessions.
#[derive(Debug)]
pub struct Fleet {
    limits: FleetLimits,
    p2p: bool,
    zones: BTreeMap<String, Zone>,
    hosts: BTreeMap<String, Host>,
    sessions: BTreeMap<String, Session>,
    retiring: Vec<Retiring>,
    /// When each account's bad reports were acted on.
    reports: BTreeMap<i64, VecDeque<Duration>>,
    out: VecDeque<FleetOutput>,
    counters: FleetCounters,
    fill_at: Option<Duration>,
    evaluate_at: Duration,
    policy_at: Duration,
}

impl Fleet {
    /// An empty fleet, switched on.
    pub fn new(limits: FleetLimits) -> Self {
        Self {
            p2p: true,
            zones: BTreeMap::new(),
            hosts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            retiring: Vec::new(),
            reports: BTreeMap::new(),
            out: VecDeque::new(),
            counters: FleetCounters::default(),
            fill_at: None,
            evaluate_at: limits.evaluate,
            policy_at: limits.policy,
            limits,
        }
    }

    /// A session begins: it is told the policy and its hosts. One beyond the table's bound is given
    /// none.
    pub fn join(&mut self, now: Duration, who: SessionRef) {
        self.rejoin(now, who, &[]);
    }

    /// The same of a session that an endpoint holds, with the routes that lead to it there, the better
    /// ones first. What is not taken over of those is not in [`Fleet::routes`].
    pub fn rejoin(&mut self, now: Duration, who: SessionRef, held: &[HeldPlace]) {
        self.leave(now, &who.session_id.clone());
        if self.sessions.len() >= self.limits.sessions {
            return;
        }
        let session_id = who.session_id.clone();
        let session = Session {
            who,
            ways: [None, None],
            avoid: BTreeMap::new(),
            held: false,
        };
        self.sessions.insert(session_id.clone(), session);
        for held in held {
            self.take_over(now, &session_id, held);
        }
        self.fill_session(now, &session_id, choice::Mode::Best, HostsReason::First);
        self.entered(&session_id);
    }

    /// A session's launcher has entered its room, perhaps not for the first time: it is told again.
    pub fn entered(&mut self, session_id: &str) {
        let Some(session) = self.sessions.get(session_id) else {
            return;
        };
        self.out.push_back(FleetOutput::PolicyToMember {
            session_id: session_id.to_owned(),
            zone_id: session.who.zone_id.clone(),
        });
        self.tell(session_id, HostsReason::First);
    }

    /// A session has ended.
    pub fn leave(&mut self, now: Duration, session_id: &str) {
        for way in 0..WAYS {
            let change = leases::Change::now(HostsReason::Gone);
            self.release(now, session_id, way, change);
        }
        let (gone, stay) = std::mem::take(&mut self.retiring)
            .into_iter()
            .partition(|retiring| retiring.routed.session_id == session_id);
        self.retiring = stay;
        self.retire(gone);
        if self.sessions.remove(session_id).is_some() && !self.hosts.is_empty() {
            // Its place may be what another one waits for.
            self.fill_soon(now);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        let (due, stay) = std::mem::take(&mut self.retiring)
            .into_iter()
            .partition(|retiring| retiring.due <= now);
        self.retiring = stay;
        self.retire(due);
        self.look_after_hosts(now);
        if self.fill_at.is_some_and(|at| at <= now) {
            self.fill_at = None;
            self.fill(now);
        }
        if self.evaluate_at <= now {
            self.evaluate_at = now + self.limits.evaluate;
            self.evaluate(now);
        }
        if self.policy_at <= now {
            self.tell_policies(now);
        }
    }

    /// When [`Fleet::handle_timeout`] wants to be called next; none: not before something happens.
    pub fn next_deadline(&self) -> Option<Duration> {
        let retiring = self.retiring.iter().map(|retiring| retiring.due);
        let hosts = self
            .hosts
            .values()
            .filter_map(|host| host.deadline(&self.limits));
        let busy = !self.hosts.is_empty() || !self.sessions.is_empty();
        let regular = [self.evaluate_at, self.policy_at]
            .into_iter()
            .filter(|_| busy);
        retiring
            .chain(hosts)
            .chain(regular)
            .chain(self.fill_at)
            .min()
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<FleetOutput> {
        self.out.pop_front()
    }

    /// What has happened since the start.
    pub fn counters(&self) -> FleetCounters {
        self.counters
    }

    /// The hosts of a session.
    pub fn assigned(&self, session_id: &str) -> Vec<HostOffer> {
        let Some(session) = self.sessions.get(session_id) else {
            return Vec::new();
        };
        let placed = WAY.into_iter().zip(&session.ways);
        placed
            .filter_map(|(way, place)| {
                let place = place.as_ref()?;
                let record = &self.hosts.get(&place.host_id)?.record;
                Some(HostOffer {
                    way,
                    host_id: place.host_id.clone(),
                    peer_id: record.peer_id.clone(),
                    epoch: place.epoch,
                    device_key: record.device_key,
                    certificate: record.certificate.clone(),
                })
            })
            .collect()
    }

    fn tell(&mut self, session_id: &str, reason: HostsReason) {
        if self.sessions.contains_key(session_id) {
            let hosts = self.assigned(session_id);
            self.out.push_back(FleetOutput::ToMember {
                session_id: session_id.to_owned(),
                signal: ServerSignal::Hosts { hosts, reason },
            });
        }
    }

    fn event(&mut self, event: FleetEvent) {
        self.out.push_back(FleetOutput::Event(event));
    }

    fn fill_soon(&mut self, now: Duration) {
        self.fill_at = Some(self.fill_at.map_or(now, |at| at.min(now)));
    }
}

#[cfg(test)]
mod held_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
