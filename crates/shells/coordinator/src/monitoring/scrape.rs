//! The figures in the OpenMetrics text format, which Prometheus reads.

use std::{borrow::Cow, fmt::Write as _};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use warp_coordinator_core::fleet::{Claim, FleetCounters, FleetTally, LeaseEnd};
use warp_protocol::hosting::HostsReason;

use super::{
    DATABASE, Label,
    metrics::{CountBy, set},
    process,
    recent::is_failover,
};
use crate::app::App;

/// Media type of what [`text`] gives.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const REASONS: [(HostsReason, &str); 7] = [
    (HostsReason::First, "first"),
    (HostsReason::Silent, "silent"),
    (HostsReason::Reported, "reported"),
    (HostsReason::Draining, "draining"),
    (HostsReason::Gone, "gone"),
    (HostsReason::Better, "better"),
    (HostsReason::Policy, "policy"),
];

const LEASE_ENDS: [(LeaseEnd, &str); 5] = [
    (LeaseEnd::Silent, "silent"),
    (LeaseEnd::Reported, "reported"),
    (LeaseEnd::Draining, "draining"),
    (LeaseEnd::Removed, "removed"),
    (LeaseEnd::Policy, "policy"),
];

/// Moves that a failed host forced, since the start.
pub(crate) fn failovers(counters: &FleetCounters) -> u64 {
    by_reason(counters)
        .filter(|(reason, ..)| is_failover(*reason))
        .map(|(.., count)| count)
        .sum()
}

/// Moves since the start, by reason.
pub(crate) fn by_reason(
    counters: &FleetCounters,
) -> impl Iterator<Item = (HostsReason, &'static str, u64)> {
    let counts = counters.moves;
    REASONS.into_iter().map(move |(reason, name)| {
        let count = counts.get(reason as usize).copied().unwrap_or(0);
        (reason, name, count)
    })
}

/// All figures, as [`MEDIA_TYPE`]; empty if they cannot be written, which only a full memory does.
pub(crate) fn exposition(app: &App) -> String {
    let mut out = String::new();
    let _ = text::encode(&mut out, &registry(app));
    out
}

/// The ten figures under the names that the older coordinator gave them; `zones` and how many of them
/// allow peer-to-peer paths.
pub(crate) fn old_names(app: &App, zones: usize, p2p_zones: usize) -> String {
    let FleetTally {
        online,
        offline,
        busy,
        maintenance,
        score,
        latency_ms,
    } = app.live.hosting.tally();
    let (sessions, used) = app.live.tally();
    let figures = [
        (
            "hosts_total",
            f64::from(online + offline + busy + maintenance),
        ),
        ("hosts_online", f64::from(online)),
        ("host_quality_score_avg", two_decimals(score)),
        ("zones_total", float(zones)),
        ("zones_enabled", float(p2p_zones)),
        ("sessions_total", float(sessions)),
        ("sessions_active", float(used)),
        ("players_total", float(used)),
        ("session_latency_ms_avg", two_decimals(latency_ms)),
        ("coordinator_up", 1.0),
    ];
    let mut out = String::new();
    for (name, value) in figures {
        let _ = writeln!(out, "# TYPE p2p_{name} gauge\np2p_{name} {value}");
    }
    out
}

pub(crate) fn two_decimals(value: Option<f64>) -> f64 {
    (value.unwrap_or(0.0) * 100.0).round() / 100.0
}

/// Counts of things in tables are far below 2^52.
#[allow(clippy::cast_precision_loss)]
fn float(count: usize) -> f64 {
    count as f64
}

fn registry(app: &App) -> Registry {
    let mut all = Registry::default();
    of_process(&mut all);
    let ours = all.sub_registry_with_prefix("warp");
    counters(ours, app);
    fleet(ours, app);
    tables(ours, app);
    all
}

fn of_process(all: &mut Registry) {
    let gauge = |value: i64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        gauge
    };
    let process = all.sub_registry_with_prefix("process");
    let started: Gauge<f64, std::sync::atomic::AtomicU64> = Gauge::default();
    started.set(process::started());
    let help = "When the process started, unix time";
    process.register_with_unit("start_time", help, Unit::Seconds, started);
    if let Some(bytes) = process::resident_bytes() {
        let help = "Resident memory";
        process.register_with_unit("resident_memory", help, Unit::Bytes, gauge(bytes));
    }
    if let Some(files) = process::open_files() {
        process.register("open_fds", "Open file descriptors", gauge(files));
    }
    let build: Family<[(&str, &str); 1], Gauge> = Family::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    build.get_or_create(&version).set(1);
    all.register("warp_build_info", "1, with the version as a label", build);
}

fn counters(all: &mut Registry, app: &App) {
    let m = app.metrics.inner();
    let connections = m.connections.clone();
    all.register("connections", "Open TCP connections", connections);
    all.register(
        "connections_refused",
        "Connections that were turned away: an address had as many as it may, or all were taken",
        m.connections_refused.clone(),
    );
    all.register(
        "connections_cut",
        "Connections that were closed for what their client did: no whole head of a request in time, \
         no end of the TLS handshake in time, nothing read of what was written, or no HTTP",
        m.connections_cut.clone(),
    );
    let sockets = m.sockets.clone();
    all.register("sockets", "Open WebSockets by kind", sockets);
    all.register(
        "sockets_closed",
        "Signaling sockets that the coordinator closed, by kind and close code",
        m.sockets_closed.clone(),
    );
    let relayed = CountBy::default();
    for (kind, counter) in [
        ("offer", &m.signals.offers),
        ("answer", &m.signals.answers),
        ("ice-candidate", &m.signals.candidates),
    ] {
        set(&relayed.get_or_create(&[("kind", kind)]), counter.get());
    }
    all.register(
        "signals_relayed",
        "Signaling messages handed from one peer to another, by kind",
        relayed,
    );
    all.register_with_unit(
        "signal_relay_latency",
        "From the reading of a peer's message until the receiver's socket takes it",
        Unit::Seconds,
        m.signals.latency.clone(),
    );
    all.register(
        "signal_messages",
        "Frames on signaling sockets by direction (seen from the coordinator) and kind",
        m.messages.clone(),
    );
    all.register_with_unit(
        "signal",
        "Bytes of frames on signaling sockets by direction and kind",
        Unit::Bytes,
        m.message_bytes.clone(),
    );
    all.register(
        "signals_refused",
        "Signaling messages answered with an error, by its code",
        m.signals_refused.clone(),
    );
    all.register(
        "relay_datagrams",
        "Datagrams on the relay by what became of them",
        m.datagrams.clone(),
    );
    all.register_with_unit(
        "relay",
        "Bytes that the relay passed on",
        Unit::Bytes,
        m.datagram_bytes.clone(),
    );
    let joins = m.joins.clone();
    all.register("joins", "Joins by zone and result", joins);
    all.register(
        "sign_ins",
        "Sign-ins, registrations and refreshes by result",
        m.sign_ins.clone(),
    );
    all.register(
        "refresh_reused",
        "Refresh tokens that came a second time; each ends a sign-in",
        m.refresh_reused.clone(),
    );
    all.register(
        "requests_refused",
        "Refused requests by code",
        m.refused.clone(),
    );
    all.register(
        "rate_limited",
        "What was over a rate: requests, signals, datagrams of the relay",
        m.rate_limited.clone(),
    );
    all.register_with_unit(
        "request_duration",
        "Time to answer a request, by route, method and class of status",
        Unit::Seconds,
        m.requests.clone(),
    );
    all.register_with_unit(
        "database_call_duration",
        "Time that calls of the database took, by result",
        Unit::Seconds,
        DATABASE.clone(),
    );
    all.register(
        "sessions_ended",
        "Sessions that have ended, by reason",
        m.sessions_ended.clone(),
    );
    all.register("notices", "Notices that staff has sent", m.notices.clone());
    all.register(
        "npc_answers",
        "What the AI service answered for single NPCs",
        m.npc_answers.clone(),
    );
    let changes = m.npc_changes.clone();
    all.register("npc_changes", "Changed states of NPCs", changes);
    let viewers: Gauge = Gauge::default();
    viewers.set(i64::try_from(app.viewers.count()).unwrap_or(i64::MAX));
    all.register("dashboard_viewers", "Open dashboards", viewers);
}

fn fleet(all: &mut Registry, app: &App) {
    let counters = app.live.hosting.counters();
    let tally = app.live.hosting.tally();
    let hosts: Family<[(&str, &str); 1], Gauge> = Family::default();
    for (status, count) in [
        ("online", tally.online),
        ("offline", tally.offline),
        ("busy", tally.busy),
        ("maintenance", tally.maintenance),
    ] {
        let gauge = hosts.get_or_create(&[("status", status)]);
        gauge.set(i64::from(count));
    }
    all.register("hosts", "Hosts by status", hosts);
    let (moves, failed) = (CountBy::default(), CountBy::default());
    for (reason, name, count) in by_reason(&counters) {
        let family = if is_failover(reason) { &failed } else { &moves };
        set(&family.get_or_create(&[("reason", name)]), count);
    }
    all.register(
        "failovers",
        "Ways of sessions that moved because a host failed, by reason",
        failed,
    );
    all.register(
        "moves",
        "Ways of sessions that lead elsewhere for another reason",
        moves,
    );
    let leases = CountBy::default();
    for (end, name) in LEASE_ENDS {
        let count = counters.leases_ended.get(end as usize).copied();
        let counter = leases.get_or_create(&[("reason", name)]);
        set(&counter, count.unwrap_or(0));
    }
    all.register("leases_ended", "Ended leases by reason", leases);
    let granted: Counter = Counter::default();
    set(&granted, counters.leases_granted);
    all.register("leases_granted", "Leases granted", granted);
    let flooded: Counter = Counter::default();
    set(&flooded, counters.flooded);
    let help = "Datagrams of flooding members that hosts dropped, as they tell";
    all.register("flooded_datagrams", help, flooded);
    let contradicted = CountBy::default();
    for (claim, count) in Claim::ALL.into_iter().zip(counters.contradicted) {
        set(
            &contradicted.get_or_create(&[("claim", claim.name())]),
            count,
        );
    }
    let help = "What hosts said of themselves and their players know better, by claim";
    all.register("hosts_contradicted", help, contradicted);
}

fn tables(all: &mut Registry, app: &App) {
    let sessions: Family<[(&str, Cow<'static, str>); 1], Gauge> = Family::default();
    for (zone, count) in app.live.by_zone() {
        let label = [("zone", app.metrics.zone(&zone))];
        sessions.get_or_create(&label).inc_by(i64::from(count));
    }
    all.register("sessions", "Sessions by zone", sessions);
    let refusals: Family<[(&str, Cow<'static, str>); 1], Counter> = Family::default();
    for (reason, count) in app.live.endpoint.refusals() {
        let name = serde_json::to_value(reason).unwrap_or_default();
        let name = name.as_str().unwrap_or("other").to_owned();
        let label = [("reason", Cow::Owned(name))];
        set(&refusals.get_or_create(&label), count);
    }
    all.register(
        "endpoint_refusals",
        "What the endpoint refused, by reason",
        refusals,
    );
    let refusals: Family<Label, Counter> = Family::default();
    for (reason, count) in app.authority.refusals() {
        set(&refusals.get_or_create(&[("reason", reason.name())]), count);
    }
    all.register(
        "identity_refusals",
        "Proofs and certificates that were refused here, by reason",
        refusals,
    );
}
