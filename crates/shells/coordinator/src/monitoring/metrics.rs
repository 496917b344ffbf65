//! The counters, where the rest of the crate counts.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};
use warp_protocol::signal::{ClientSignal, EndedReason, ServerSignal};

use super::{Label, Latencies, MAX_ZONES, latencies};

type Count<const N: usize> = Family<[(&'static str, Cow<'static, str>); N], Counter>;
pub(crate) type CountBy = Family<Label, Counter>;

/// Which socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketKind {
    /// Signaling of a launcher.
    Signaling,
    /// Signaling of a host.
    HostSignaling,
    /// Link of a session.
    Link,
    /// Link of a host.
    HostLink,
    /// Relay.
    Relay,
    /// Control of a remote endpoint.
    Endpoint,
}

impl SocketKind {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Signaling,
        Self::HostSignaling,
        Self::Link,
        Self::HostLink,
        Self::Relay,
        Self::Endpoint,
    ];

    /// Its label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Signaling => "signaling",
            Self::HostSignaling => "host-signaling",
            Self::Link => "link",
            Self::HostLink => "host-link",
            Self::Relay => "relay",
            Self::Endpoint => "endpoint",
        }
    }
}

/// Counts an open socket for as long as it lives.
pub(crate) struct OpenSocket(Gauge);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What happens to signaling messages; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct SignalCounters {
    pub(crate) offers: Counter,
    pub(crate) answers: Counter,
    pub(crate) candidates: Counter,
    /// From the moment in which the sender's message was read until the receiver's socket takes it.
    pub(crate) latency: Histogram,
}

impl Default for SignalCounters {
    fn default() -> Self {
        Self {
            offers: Counter::default(),
            answers: Counter::default(),
            candidates: Counter::default(),
            latency: Histogram::new([
                0.000_01, 0.000_05, 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                0.5, 1.0,
            ]),
        }
    }
}

impl SignalCounters {
    /// What counts a signal that is put into a mailbox, if it is what one peer says to another.
    pub(crate) fn of(&self, signal: &ServerSignal) -> Option<&Counter> {
        match signal {
            ServerSignal::Offer { .. } => Some(&self.offers),
            ServerSignal::Answer { .. } => Some(&self.answers),
            ServerSignal::IceCandidate { .. } => Some(&self.candidates),
            _ => None,
        }
    }

    /// A socket takes a signal that has waited for so long.
    pub(crate) fn taken(&self, signal: &ServerSignal, waited: Duration) {
        if self.of(signal).is_some() {
            self.latency.observe(waited.as_secs_f64());
        }
    }

    /// Messages relayed since the start.
    pub(crate) fn total(&self) -> u64 {
        self.offers.get() + self.answers.get() + self.candidates.get()
    }
}

/// All counters of one coordinator; clones count together.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

pub(super) struct Inner {
    pub(super) connections: Gauge,
    pub(super) connections_refused: CountBy,
    pub(super) connections_cut: CountBy,
    pub(super) sockets: Family<Label, Gauge>,
    /// Kind, and the code that it was closed with.
    pub(super) sockets_closed: Count<2>,
    pub(super) signals: SignalCounters,
    /// Messages and bytes on signaling sockets: direction, kind.
    pub(super) messages: Family<[(&'static str, &'static str); 2], Counter>,
    pub(super) message_bytes: Family<[(&'static str, &'static str); 2], Counter>,
    pub(super) signals_refused: Count<1>,
    pub(super) datagrams: CountBy,
    pub(super) datagram_bytes: Counter,
    pub(super) joins: Count<2>,
    pub(super) sign_ins: Count<2>,
    /// Refresh tokens that came a second time.
    pub(super) refresh_reused: Counter,
    pub(super) refused: Count<1>,
    pub(super) rate_limited: CountBy,
    pub(super) requests: Latencies<[(&'static str, Cow<'static, str>); 3]>,
    pub(super) sessions_ended: CountBy,
    pub(super) notices: Counter,
    pub(super) npc_answers: CountBy,
    pub(super) npc_changes: Counter,
    /// Zones that have labels of their own.
    zones: Mutex<HashSet<String>>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        super::process::started();
        Self(Arc::new(Inner {
            connections: Gauge::default(),
            connections_refused: Family::default(),
            connections_cut: Family::default(),
            sockets: Family::default(),
            sockets_closed: Family::default(),
            signals: SignalCounters::default(),
            messages: Family::default(),
            message_bytes: Family::default(),
            signals_refused: Family::default(),
            datagrams: Family::default(),
            datagram_bytes: Counter::default(),
            joins: Family::default(),
            sign_ins: Family::default(),
            refresh_reused: Counter::default(),
            refused: Family::default(),
            rate_limited: Family::default(),
            requests: Family::new_with_constructor(latencies as fn() -> Histogram),
            sessions_ended: Family::default(),
            notices: Counter::default(),
            npc_answers: Family::default(),
            npc_changes: Counter::default(),
            zones: Mutex::default(),
        }))
    }

    /// What the hub counts.
    pub(crate) fn signals(&self) -> SignalCounters {
        self.0.signals.clone()
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    /// A connection was let in.
    pub(crate) fn connected(&self) {
        self.0.connections.inc();
    }

    /// It has ended.
    pub(crate) fn disconnected(&self) {
        self.0.connections.dec();
    }

    /// A connection was turned away. Gives how many were for that reason.
    pub(crate) fn turned_away(&self, reason: &'static str) -> u64 {
        let refused = &self.0.connections_refused;
        let counter = refused.get_or_create_owned(&[("reason", reason)]);
        counter.inc() + 1
    }

    /// A connection was closed for what its client did, or did not do in time.
    pub(crate) fn cut(&self, reason: &'static str) {
        let label = [("reason", reason)];
        self.0.connections_cut.get_or_create(&label).inc();
    }

    /// The coordinator closed a socket, with this code.
    pub(crate) fn closed(&self, kind: SocketKind, code: u16) {
        let labels = [
            ("kind", Cow::Borrowed(kind.name())),
            ("code", Cow::Owned(code.to_string())),
        ];
        self.0.sockets_closed.get_or_create(&labels).inc();
    }

    /// A refresh token came a second time.
    pub(crate) fn refresh_reused(&self) {
        self.0.refresh_reused.inc();
    }

    /// Counts a socket until the answer is dropped.
    pub(crate) fn open(&self, kind: SocketKind) -> OpenSocket {
        let label = [("kind", kind.name())];
        let gauge = self.0.sockets.get_or_create_owned(&label);
        gauge.inc();
        OpenSocket(gauge)
    }

    /// Sockets that are open.
    pub(crate) fn sockets(&self, kind: SocketKind) -> i64 {
        let label = [("kind", kind.name())];
        self.0.sockets.get_or_create(&label).get()
    }

    /// A signaling frame was read; none: it was not understood.
    pub(crate) fn received(&self, signal: Option<&ClientSignal>, bytes: usize) {
        self.message("in", signal.map_or("invalid", kind_of_client), bytes);
    }

    /// A signaling frame is written.
    pub(crate) fn sent(&self, signal: &ServerSignal, bytes: usize) {
        self.message("out", kind_of_server(signal), bytes);
        if let ServerSignal::Error { code, .. } = signal {
            let label = [("code", Cow::Owned(code.name()))];
            self.0.signals_refused.get_or_create(&label).inc();
            if *code == warp_protocol::ProblemCode::TooManyRequests {
                self.rate_limited("signal");
            }
        }
    }

    fn message(&self, direction: &'static str, kind: &'static str, bytes: usize) {
        let labels = [("direction", direction), ("kind", kind)];
        self.0.messages.get_or_create(&labels).inc();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.0.message_bytes.get_or_create(&labels).inc_by(bytes);
    }

    /// Signaling messages that peers said to peers since the start.
    pub(crate) fn relayed_signals(&self) -> u64 {
        self.0.signals.total()
    }

    /// What became of a datagram on the relay: `passed`, `away`, `full` or `over-rate`.
    pub(crate) fn datagram(&self, result: &'static str, bytes: u64) {
        self.0.datagrams.get_or_create(&[("result", result)]).inc();
        match result {
            "passed" => {
                self.0.datagram_bytes.inc_by(bytes);
            }
            "over-rate" => self.rate_limited("relay"),
            _ => {}
        }
    }

    /// Datagrams and bytes that the relay passed on since the start.
    pub(crate) fn relayed_datagrams(&self) -> (u64, u64) {
        let passed = self.0.datagrams.get_or_create(&[("result", "passed")]);
        (passed.get(), self.0.datagram_bytes.get())
    }

    /// Something was over a rate: a `request`, a `signal`, or a datagram of the `relay`.
    pub(crate) fn rate_limited(&self, what: &'static str) {
        self.0.rate_limited.get_or_create(&[("what", what)]).inc();
    }

    /// A join of a zone that there is, or of none; `result` is `ok` or a code.
    pub(crate) fn joined(&self, zone: Option<&str>, result: String) {
        let zone = zone.map_or(Cow::Borrowed("unknown"), |zone| self.zone(zone));
        let labels = [("zone", zone), ("result", Cow::Owned(result))];
        self.0.joins.get_or_create(&labels).inc();
    }

    /// The label of a zone that there is.
    pub(super) fn zone(&self, zone: &str) -> Cow<'static, str> {
        let mut zones = self.0.zones.lock();
        if zones.contains(zone) || zones.len() < MAX_ZONES {
            zones.insert(zone.to_owned());
            return Cow::Owned(zone.to_owned());
        }
        Cow::Borrowed("other")
    }

    /// `how` is `login`, `register` or `refresh`; `result` is `ok` or a code.
    pub(crate) fn signed_in(&self, how: &'static str, result: String) {
        let labels = [("how", Cow::Borrowed(how)), ("result", Cow::Owned(result))];
        self.0.sign_ins.get_or_create(&labels).inc();
    }

    /// A request was refused with this code.
    pub(crate) fn refused(&self, code: String) {
        let label = [("code", Cow::Owned(code))];
        self.0.refused.get_or_create(&label).inc();
    }

    /// A request was answered. `route` is a template, `class` is such as `2xx`.
    pub(crate) fn answered(
        &self,
        route: Cow<'static, str>,
        method: &'static str,
        class: &'static str,
        took: Duration,
    ) {
        let labels = [
            ("route", route),
            ("method", Cow::Borrowed(method)),
            ("status", Cow::Borrowed(class)),
        ];
        let latency = self.0.requests.get_or_create(&labels);
        latency.observe(took.as_secs_f64());
    }

    /// A session has ended.
    pub(crate) fn session_ended(&self, reason: EndedReason) {
        let label = [("reason", reason.name())];
        self.0.sessions_ended.get_or_create(&label).inc();
    }

    /// What the AI service answered for one NPC: `state`, `unchanged`, `unknown`, `wrong` or `none`.
    pub(crate) fn npc_answer(&self, result: &'static str) {
        let label = [("result", result)];
        self.0.npc_answers.get_or_create(&label).inc();
    }

    /// So many states of NPCs are others than before.
    pub(crate) fn npc_changes(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.0.npc_changes.inc_by(count);
    }

    /// Staff has sent a notice.
    pub(crate) fn notice(&self) {
        self.0.notices.inc();
    }
}

fn kind_of_client(signal: &ClientSignal) -> &'static str {
    match signal {
        ClientSignal::Join { .. } => "join",
        ClientSignal::Leave => "leave",
        ClientSignal::Offer { .. } => "offer",
        ClientSignal::Answer { .. } => "answer",
        ClientSignal::IceCandidate { .. } => "ice-candidate",
        ClientSignal::HostReport { .. } => "host-report",
        ClientSignal::MemberReport { .. } => "member-report",
    }
}

fn kind_of_server(signal: &ServerSignal) -> &'static str {
    match signal {
        ServerSignal::SessionJoined { .. } => "session-joined",
        ServerSignal::PeerJoined { .. } => "peer-joined",
        ServerSignal::PeerLeft { .. } => "peer-left",
        ServerSignal::SessionLeft { .. } => "session-left",
        ServerSignal::Offer { .. } => "offer",
        ServerSignal::Answer { .. } => "answer",
        ServerSignal::IceCandidate { .. } => "ice-candidate",
        ServerSignal::Hosts { .. } => "hosts",
        ServerSignal::Policy { .. } => "policy",
        ServerSignal::SessionEnded { .. } => "session-ended",
        ServerSignal::Notice { .. } => "notice",
        ServerSignal::NpcState { .. } => "npc-state",
        ServerSignal::Serve { .. } => "serve",
        ServerSignal::Unserve { .. } => "unserve",
        ServerSignal::Drained => "drained",
        ServerSignal::Error { .. } => "error",
    }
}

/// A counter that is kept elsewhere is set to what it is there.
pub(super) fn set(counter: &Counter, value: u64) {
    let inner: &AtomicU64 = counter.inner();
    inner.store(value, std::sync::atomic::Ordering::Relaxed);
}
