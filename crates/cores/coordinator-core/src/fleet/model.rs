//! What goes into the fleet and what comes out of it.

use std::net::SocketAddr;
use std::time::Duration;

use warp_protocol::carrier::PathKind;
use warp_protocol::hosting::{
    HostHardware, HostVerdict, HostedOffer, HostsReason, MemberVerdict, WAYS,
};
use warp_protocol::identity::PublicKey;
use warp_protocol::signal::ServerSignal;

/// The two ways of a session, in the order in which they are filled.
pub const WAY: [PathKind; WAYS] = [PathKind::Host, PathKind::Host2];

/// Bounds and times of the fleet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FleetLimits {
    /// Hosts that are remembered; a full table forgets the host that has been offline for longest,
    /// and refuses when there is none.
    pub hosts: usize,
    /// Hosts of one account.
    pub hosts_per_account: usize,
    /// Zones, those included that were removed: their counters are kept.
    pub zones: usize,
    /// Sessions; one beyond is given no host.
    pub sessions: usize,
    /// A host is told to send a heartbeat this often.
    pub heartbeat: Duration,
    /// Without a heartbeat for so long a host is silent.
    pub silent: Duration,
    /// Without its signaling socket for so long, too.
    pub detached: Duration,
    /// An offline host, and whose it is, is remembered for so long.
    pub forget: Duration,
    /// How often places are looked at anew.
    pub evaluate: Duration,
    /// How long a host goes on carrying a member that was given another one.
    pub grace: Duration,
    /// Bad reports count for so long.
    pub report: Duration,
    /// How long a host has no lease after its members ended it, and how long a member that found a
    /// host bad is not given it again.
    pub shun: Duration,
    /// Bad reports of one session that are acted on in [`FleetLimits::report_window`].
    pub reports: usize,
    /// See [`FleetLimits::reports`].
    pub report_window: Duration,
    /// What members measured counts for so long.
    pub measured: Duration,
    /// A host is not believed when what it says has not fitted for so long.
    pub doubt: Duration,
    /// And then until so long after the last time that it did not.
    pub disbelief: Duration,
    /// A host is better by far when its score is by so much higher.
    pub margin: f64,
    /// In so many evaluations in a row.
    pub rounds: u8,
    /// Policies are told anew this often: well before they expire.
    pub policy: Duration,
}

impl Default for FleetLimits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            hosts: 1000,
            hosts_per_account: 8,
            zones: 1024,
            sessions: 4096,
            heartbeat: seconds(5),
            silent: seconds(15),
            detached: seconds(3),
            forget: seconds(24 * 3600),
            evaluate: seconds(5),
            grace: seconds(2),
            report: seconds(10),
            shun: seconds(30),
            reports: 3,
            report_window: seconds(300),
            measured: seconds(60),
            doubt: seconds(10),
            disbelief: seconds(600),
            margin: 15.0,
            rounds: 3,
            policy: seconds(1800),
        }
    }
}

/// What a machine needs to host in a zone, beside the bandwidth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostMinimum {
    /// Cores.
    pub cpu_cores: u32,
    /// MHz.
    pub cpu_frequency_mhz: u32,
    /// MiB.
    pub memory_mb: u32,
}

impl Default for HostMinimum {
    /// No more than that there is a machine: forwarding is little work.
    fn default() -> Self {
        Self {
            cpu_cores: 1,
            cpu_frequency_mhz: 1,
            memory_mb: 1,
        }
    }
}

/// What an operator says of a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneRules {
    /// Its id.
    pub zone_id: String,
    /// Its own switch.
    pub p2p: bool,
    /// The endpoint may carry players when no host can.
    pub fallback: bool,
    /// Hosts with a lower score are not chosen, 0 to 100.
    pub min_score: f64,
    /// Hosts with a slower network are not taken, Mbit/s.
    pub min_bandwidth_mbps: u32,
    /// Hosts over which the round trip takes longer are not chosen, milliseconds.
    pub max_latency_ms: u32,
    /// Hosts with less are not taken.
    pub minimum: HostMinimum,
    /// Addresses that hosts of a hosted zone may dial; empty: the zone is not hosted.
    pub upstreams: Vec<SocketAddr>,
}

/// A host that registers, and the place that the caller made for it.
#[derive(Debug, Clone, PartialEq)]
pub struct HostRecord {
    /// The id that it chose.
    pub host_id: String,
    /// Row id of its account.
    pub account: i64,
    /// Name of its account.
    pub name: String,
    /// Its device key.
    pub device_key: PublicKey,
    /// The certificate of that key, hex.
    pub certificate: String,
    /// Until when that counts: from then on it is given no members until it registers with another.
    /// None: for ever.
    pub valid_until: Option<Duration>,
    /// What it has.
    pub hardware: HostHardware,
    /// Zones that it wants to serve.
    pub zones: Vec<String>,
    /// Members at most.
    pub max_players: u32,
    /// Its own room.
    pub room: String,
    /// Its peer id there, and in its members' rooms.
    pub peer_id: String,
    /// It is the endpoint of a hosted zone: it has no members, but whoever plays there.
    pub hosted: Option<HostedOffer>,
}

/// A session, as the fleet knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRef {
    /// Its id.
    pub session_id: String,
    /// The launcher's peer id.
    pub peer_id: String,
    /// The launcher's device key.
    pub device_key: PublicKey,
    /// The zone.
    pub zone_id: String,
    /// Row id of the account.
    pub account: i64,
}

/// What an endpoint that outlived the coordinator says of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldHost {
    /// Every slot that ever had a route is below this.
    pub next_slot: u32,
    /// The highest epoch that a route ever had.
    pub last_epoch: u32,
}

/// A route that an endpoint that outlived the coordinator has, of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPlace {
    /// The host's own room.
    pub room: String,
    /// The slot.
    pub slot: u32,
    /// Epoch of the lease.
    pub epoch: u32,
    /// As which way.
    pub way: PathKind,
}

/// What a launcher tells of a host of its session.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The host.
    pub host_id: String,
    /// Epoch of the lease that it is about.
    pub epoch: u32,
    /// How it is found.
    pub verdict: HostVerdict,
    /// Round trip over it to the endpoint, milliseconds.
    pub rtt_ms: Option<f64>,
    /// Percent.
    pub loss_percent: Option<f64>,
}

/// What a machine has too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lacking {
    /// Cores.
    CpuCores,
    /// MHz.
    CpuFrequency,
    /// MiB.
    Memory,
    /// Mbit/s.
    Bandwidth,
}

impl Lacking {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::CpuCores => ("processor cores", ""),
            Self::CpuFrequency => ("processor frequency", " MHz"),
            Self::Memory => ("memory", " MB"),
            Self::Bandwidth => ("upload", " Mbit/s"),
        }
    }
}

/// Why something about a host was refused; nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostRefused {
    /// There is no such host.
    #[error("there is no such host; register it")]
    UnknownHost,
    /// It belongs to another account.
    #[error("that host belongs to another account; choose another host id")]
    NotYours,
    /// The id is not one.
    #[error("a host id is 1 to 64 of A-Z, a-z, 0-9, '-', '_' and '.'")]
    BadId,
    /// It names no zone, or too many.
    #[error("a host names 1 to 16 zones")]
    BadZones,
    /// A value that cannot be.
    #[error("`{field}` is {allowed}")]
    Impossible {
        /// Which.
        field: &'static str,
        /// What it can be.
        allowed: &'static str,
    },
    /// There is no such zone.
    #[error("there is no zone `{0}`")]
    UnknownZone(String),
    /// The machine has less than the zone wants.
    #[error("{}", below(.zone_id, *.what, *.has, *.wants))]
    BelowMinimum {
        /// The zone.
        zone_id: String,
        /// What is too little.
        what: Lacking,
        /// What it has.
        has: u32,
        /// What the zone wants.
        wants: u32,
    },
    /// The zone's policy does not allow what the host would dial.
    #[error("zone `{0}` is not hosted at that address")]
    NotHosted(String),
    /// The endpoint names one that is registered under another room.
    #[error("a host of that id is registered already")]
    Registered,
    /// The account has as many hosts as it may.
    #[error("the account has as many hosts as it may; remove one of them")]
    TooManyOfAccount,
    /// The coordinator has as many hosts as it may.
    #[error("the coordinator has as many hosts as it may; try again later")]
    Full,
}

fn below(zone_id: &str, what: Lacking, has: u32, wants: u32) -> String {
    let (words, unit) = what.words();
    let short = wants.saturating_sub(has);
    format!(
        "zone `{zone_id}` wants {wants}{unit} of {words}; the host has {has}{unit}, {short}{unit} too little"
    )
}

/// Where a host carries a member; what the endpoint routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    /// The host.
    pub host_id: String,
    /// The host's own room.
    pub room: String,
    /// The host's peer id.
    pub host_peer: String,
    /// The slot.
    pub slot: u32,
    /// Epoch of the lease.
    pub epoch: u32,
    /// The member's session.
    pub session_id: String,
    /// Its zone.
    pub zone_id: String,
    /// The member's peer id.
    pub peer_id: String,
    /// As which way.
    pub way: PathKind,
}

/// Why a lease has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeaseEnd {
    /// The host was not heard of.
    Silent,
    /// Its members reported it.
    Reported,
    /// It drains.
    Draining,
    /// It was removed, or registered anew as another.
    Removed,
    /// The zone's policy or the fleet's switch.
    Policy,
}

impl LeaseEnd {
    /// What members are told.
    pub fn reason(self) -> HostsReason {
        match self {
            Self::Silent => HostsReason::Silent,
            Self::Reported => HostsReason::Reported,
            Self::Draining => HostsReason::Draining,
            Self::Removed => HostsReason::Gone,
            Self::Policy => HostsReason::Policy,
        }
    }
}

/// What a host says of itself and others know better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Claim {
    /// It carries fewer members than have just measured something over it.
    Players,
    /// Its round trip to the endpoint, ms: all members' own are longer by more than a way to the host
    /// takes.
    Latency,
    /// What it loses, percent; or, without a word on that, that it can carry whom it is given: all
    /// members lose far more.
    Loss,
}

impl Claim {
    /// All, in the order of the counts of `FleetCounters`.
    pub const ALL: [Self; 3] = [Self::Players, Self::Latency, Self::Loss];

    /// Its name in figures and on the live page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Players => "players",
            Self::Latency => "latency",
            Self::Loss => "loss",
        }
    }
}

/// Something for the log and the counters.
#[derive(Debug, Clone, PartialEq)]
pub enum FleetEvent {
    /// A host has a lease.
    LeaseGranted {
        /// The zone.
        zone_id: String,
        /// The host.
        host_id: String,
        /// Its number in the zone.
        epoch: u32,
    },
    /// A lease has ended.
    LeaseEnded {
        /// The zone.
        zone_id: String,
        /// The host.
        host_id: String,
        /// Its number in the zone.
        epoch: u32,
        /// Why.
        reason: LeaseEnd,
    },
    /// A way of a session leads elsewhere.
    Moved {
        /// The session.
        session_id: String,
        /// Which way.
        way: PathKind,
        /// Over which host it led.
        from: Option<String>,
        /// Over which host it leads.
        to: Option<String>,
        /// Why.
        reason: HostsReason,
    },
    /// A host was not heard of for too long.
    HostOffline {
        /// The host.
        host_id: String,
    },
    /// A host's last member was moved.
    Drained {
        /// The host.
        host_id: String,
    },
    /// A report about a lease that is no more, or about a host that is not the session's.
    StaleReport {
        /// Who reported.
        session_id: String,
    },
    /// What a host says of itself is not so: it is not believed for a while.
    Contradicted {
        /// The host.
        host_id: String,
        /// About what.
        claim: Claim,
        /// What it said last, in the claim's unit.
        said: f64,
        /// What is known otherwise.
        found: f64,
    },
    /// A host tells of a member.
    MemberReported {
        /// The host.
        host_id: String,
        /// The member.
        peer_id: String,
        /// What it does.
        verdict: MemberVerdict,
        /// Datagrams dropped since the last report.
        dropped: u64,
    },
}

/// Something to do. They come in the order in which they have to be done: the endpoint, the host,
/// the member.
#[derive(Debug, Clone, PartialEq)]
pub enum FleetOutput {
    /// The endpoint takes the slot's datagrams for the session; the host has a seat in the
    /// session's room.
    Route(Routed),
    /// The same of a route that the endpoint has already, and holds.
    Held(Routed),
    /// Not any more.
    Unroute(Routed),
    /// To a host's signaling socket.
    ToHost {
        /// The host, whose socket is up.
        host_id: String,
        /// What.
        signal: ServerSignal,
    },
    /// To a session's signaling socket, where it has one.
    ToMember {
        /// The session.
        session_id: String,
        /// What.
        signal: ServerSignal,
    },
    /// The zone's policy, signed by the caller, to a host's socket.
    PolicyToHost {
        /// The host, whose socket is up.
        host_id: String,
        /// The zone.
        zone_id: String,
    },
    /// The zone's policy, signed by the caller, to a session's socket, where it has one.
    PolicyToMember {
        /// The session.
        session_id: String,
        /// The zone.
        zone_id: String,
    },
    /// A host's room is no longer needed.
    EndHost {
        /// The host.
        host_id: String,
        /// Its own room.
        room: String,
    },
    /// For the log.
    Event(FleetEvent),
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FleetCounters {
    /// Leases granted.
    pub leases_granted: u64,
    /// Leases ended, by [`LeaseEnd`].
    pub leases_ended: [u64; 5],
    /// Ways that lead elsewhere, by [`HostsReason`].
    pub moves: [u64; 7],
    /// Reports about what is no more.
    pub stale_reports: u64,
    /// Bad reports beyond what one session may bring.
    pub ignored_reports: u64,
    /// Datagrams of flooding members, as their hosts tell.
    pub flooded: u64,
    /// What hosts said and is not so, by [`Claim`].
    pub contradicted: [u64; Claim::ALL.len()],
}

impl FleetCounters {
    pub(super) fn ended(&mut self, reason: LeaseEnd) {
        if let Some(count) = self.leases_ended.get_mut(reason as usize) {
            *count += 1;
        }
    }

    pub(super) fn contradicted(&mut self, claim: Claim) {
        if let Some(count) = self.contradicted.get_mut(claim as usize) {
            *count += 1;
        }
    }

    pub(super) fn moved(&mut self, reason: HostsReason) {
        if let Some(count) = self.moves.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

/// How the fleet stands now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FleetTally {
    /// Hosts that can be chosen.
    pub online: u32,
    /// Hosts that were not heard of for too long.
    pub offline: u32,
    /// Hosts that carry as many as they may.
    pub busy: u32,
    /// Hosts that drain.
    pub maintenance: u32,
    /// Mean score of the online ones whose score is known, 0 to 100.
    pub score: Option<f64>,
    /// Mean of what members last measured over their hosts, milliseconds.
    pub latency_ms: Option<f64>,
}
