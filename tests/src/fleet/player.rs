//! One launcher with its session: both ends of the link, its game, its ways.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use warp_coordinator_core::fleet::{Report, SessionRef};
use warp_engine_core::hosts::{HostWay, Tries};
use warp_link_core::{
    CloseReason, Identity, Link, LinkConfig, LinkEvent, ReadOutcome, State, StreamId, WriteOutcome,
};
use warp_protocol::carrier::PathKind;
use warp_protocol::hosting::HostVerdict;
use warp_protocol::identity::PublicKey;

use super::network::Weather;

/// A packet of the game, bytes.
const PACKET: usize = 20;
/// Bytes that may wait to be taken by the link: what a stream's window and a minute of play are.
const BUDGET: usize = 96 * 1024;

/// Events that a diary holds.
const DIARY: usize = 12;

/// A carrier, as the launcher's side has it.
#[derive(Debug, Default, Clone)]
pub(super) struct Line {
    pub(super) up: bool,
    pub(super) opening: u32,
    /// Over which host.
    pub(super) host: Option<usize>,
}

/// One direction of the game's stream.
#[derive(Debug, Default)]
struct Flow {
    sent: Vec<u8>,
    taken: usize,
    received: usize,
}

pub(super) struct Player {
    pub(super) n: usize,
    pub(super) session: String,
    pub(super) peer: String,
    pub(super) key: PublicKey,
    pub(super) engine: Link,
    pub(super) endpoint: Link,
    pub(super) lines: BTreeMap<PathKind, Line>,
    ways: [HostWay; 2],
    /// Straight to the endpoint, and by WebSocket.
    pub(super) weather: BTreeMap<PathKind, Weather>,
    /// It has a way to the endpoint over UDP.
    pub(super) has_direct: bool,
    /// No UDP passes.
    pub(super) udp_cut: bool,
    /// Its signaling socket is up.
    pub(super) signaling: bool,
    pub(super) begun: bool,
    id: Option<StreamId>,
    endpoint_open: bool,
    up: Flow,
    down: Flow,
    /// When something came last, or a way was open again; `None` before the first: the link is set up
    /// meanwhile.
    last_arrival: Option<Instant>,
    /// No way is open at all; that time is nobody's fault.
    cut_off: bool,
    pub(super) longest_gap: Duration,
    /// Not connected since then, though it was when all was well.
    pub(super) ill_since: Option<Instant>,
    pub(super) moves: u64,
    pub(super) used_host: bool,
    /// When a host was given up last, since the start.
    pub(super) given_up: Duration,
    closed: Option<CloseReason>,
    /// What its link told last, for a failure's message.
    diary: VecDeque<(Duration, LinkEvent)>,
    /// Engine and endpoint: something was done with the link since it was last asked what it has to
    /// send or tell.
    pub(super) touched: [bool; 2],
    /// When each falls due by itself.
    pub(super) due: [Option<Instant>; 2],
}

impl Player {
    /// As the coordinator knows its session.
    pub(super) fn who(&self) -> SessionRef {
        SessionRef {
            session_id: self.session.clone(),
            peer_id: self.peer.clone(),
            device_key: self.key,
            zone_id: super::ZONE.into(),
            account: 100 + self.n as i64,
        }
    }

    pub(super) fn new(n: usize, keys: &(Identity, Identity), rng: &mut StdRng) -> Self {
        let config = LinkConfig::default();
        let engine = Link::client(config.clone(), &keys.0, keys.1.public_key(), rng.random())
            .expect("a configuration that is allowed");
        let endpoint = Link::server(config, &keys.1, keys.0.public_key(), rng.random())
            .expect("a configuration that is allowed");
        let tries = Tries {
            attempts: 3,
            delay: Duration::from_millis(500),
        };
        let weather = BTreeMap::from([
            (PathKind::Direct, Weather::new(15, 3, 0.002)),
            (PathKind::Wss, Weather::ordered(25)),
        ]);
        Self {
            n,
            session: format!("session-{n}"),
            peer: format!("player-{n}"),
            key: PublicKey::from_raw([n as u8 + 100; 32]),
            engine,
            endpoint,
            lines: BTreeMap::new(),
            ways: [HostWay::new(tries), HostWay::new(tries)],
            weather,
            has_direct: n % 10 < 7,
            udp_cut: false,
            signaling: false,
            begun: false,
            id: None,
            endpoint_open: false,
            up: Flow::default(),
            down: Flow::default(),
            last_arrival: None,
            cut_off: false,
            longest_gap: Duration::ZERO,
            ill_since: None,
            moves: 0,
            used_host: false,
            given_up: Duration::ZERO,
            closed: None,
            diary: VecDeque::new(),
            touched: [true; 2],
            due: [None; 2],
        }
    }

    /// One end of the link, to do something with.
    pub(super) fn link(&mut self, engine: bool) -> &mut Link {
        self.touched[usize::from(!engine)] = true;
        if engine {
            &mut self.engine
        } else {
            &mut self.endpoint
        }
    }

    pub(super) fn way(&mut self, kind: PathKind) -> &mut HostWay {
        match kind {
            PathKind::Host2 => &mut self.ways[1],
            _ => &mut self.ways[0],
        }
    }

    pub(super) fn way_deadline(&self) -> Option<Duration> {
        self.ways.iter().filter_map(HostWay::deadline).min()
    }

    pub(super) fn disconnect(&mut self, kind: PathKind, now: Instant) {
        let line = self.lines.entry(kind).or_default();
        line.opening += 1;
        line.host = None;
        if std::mem::take(&mut line.up) {
            self.link(true).carrier_down(kind, now);
        }
    }

    pub(super) fn report(
        &mut self,
        kind: PathKind,
        now: Instant,
        host_id: String,
        epoch: u32,
        verdict: HostVerdict,
    ) -> Report {
        let good = verdict == HostVerdict::Good;
        let view = self.engine.paths(now);
        let path = view.iter().find(|path| good && path.kind == kind);
        Report {
            host_id,
            epoch,
            verdict,
            rtt_ms: path.and_then(|path| path.rtt_ms),
            loss_percent: path.and_then(|path| path.loss_percent),
        }
    }

    /// The game says something, both ways.
    pub(super) fn say(&mut self, rng: &mut StdRng) {
        if self.id.is_none() {
            if self.engine.state() != State::Connected {
                return;
            }
            self.id = self.engine.open_stream();
        }
        for flow in [&mut self.up, &mut self.down] {
            flow.sent.extend((0..PACKET).map(|_| rng.random::<u8>()));
        }
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        let Some(id) = self.id else { return };
        let [engine, endpoint] = &mut self.touched;
        let sides = [
            (&mut self.engine, &mut self.up, true, engine),
            (
                &mut self.endpoint,
                &mut self.down,
                self.endpoint_open,
                endpoint,
            ),
        ];
        for (link, flow, open, touched) in sides {
            *touched |= open && flow.taken < flow.sent.len();
            while open && flow.taken < flow.sent.len() {
                match link.write(id, &flow.sent[flow.taken..]) {
                    WriteOutcome::Written(count) => flow.taken += count,
                    WriteOutcome::Blocked => break,
                    WriteOutcome::Closed => panic!("player {}: a stream closed", self.n),
                }
            }
            let waiting = flow.sent.len() - flow.taken;
            assert!(waiting <= BUDGET, "{waiting} bytes wait");
        }
    }

    pub(super) fn on_engine(&mut self, event: LinkEvent, now: Duration) -> Option<PathKind> {
        if matches!(
            event,
            LinkEvent::State { .. } | LinkEvent::Moved { .. } | LinkEvent::GivenUp(_)
        ) {
            if self.diary.len() == DIARY {
                self.diary.pop_front();
            }
            self.diary.push_back((now, event.clone()));
        }
        match event {
            LinkEvent::Readable(id) => self.read(id, true),
            LinkEvent::Writable(_) => self.flush(),
            LinkEvent::Closed(reason) => self.closed = Some(reason),
            LinkEvent::Moved { to, .. } => {
                self.moves += 1;
                self.used_host |= to.is_host();
            }
            LinkEvent::GivenUp(kind) if kind.is_host() => {
                self.given_up = now;
                let others = self.others_carry();
                self.way(kind).lost(now, others);
            }
            LinkEvent::GivenUp(kind) => return Some(kind),
            LinkEvent::Tampered(kind) if kind.is_host() => self.way(kind).tampered(now),
            _ => {}
        }
        None
    }

    pub(super) fn on_endpoint(&mut self, event: LinkEvent, now: Instant) {
        match event {
            LinkEvent::StreamOpened(id) => {
                self.endpoint_open = true;
                self.read(id, false);
                self.arrived_at(now);
            }
            LinkEvent::Readable(id) => {
                self.read(id, false);
                self.arrived_at(now);
            }
            LinkEvent::Writable(_) => self.flush(),
            LinkEvent::Closed(reason) => self.closed = Some(reason),
            _ => {}
        }
    }

    fn arrived_at(&mut self, now: Instant) {
        self.note_pause(now);
        self.last_arrival = Some(now);
    }

    /// How long nothing has come, if something could.
    fn note_pause(&mut self, now: Instant) {
        if let Some(since) = self.last_arrival
            && !self.cut_off
        {
            self.longest_gap = self.longest_gap.max(now - since);
        }
    }

    /// Whether some way is open just now.
    pub(super) fn has_a_way(&mut self, open: bool, now: Instant) {
        if open == self.cut_off {
            self.note_pause(now);
            self.last_arrival = self.last_arrival.map(|_| now);
            self.cut_off = !open;
        }
    }

    /// Every byte arrives once, in order, unchanged.
    fn read(&mut self, id: StreamId, at_engine: bool) {
        self.touched[usize::from(!at_engine)] = true;
        loop {
            let (link, flow) = if at_engine {
                (&mut self.engine, &mut self.down)
            } else {
                (&mut self.endpoint, &mut self.up)
            };
            match link.read(id, 4096) {
                ReadOutcome::Data(bytes) => {
                    let expected = flow.sent.get(flow.received..flow.received + bytes.len());
                    assert!(
                        expected == Some(&bytes[..]),
                        "player {}: {} bytes at {} are not what was sent",
                        self.n,
                        bytes.len(),
                        flow.received
                    );
                    flow.received += bytes.len();
                }
                ReadOutcome::Blocked => break,
                other => panic!("player {}: the stream ended: {other:?}", self.n),
            }
        }
        self.flush();
    }

    /// The hosts that it is connected with.
    pub(super) fn hosts(&self) -> impl Iterator<Item = usize> {
        let up = self.lines.values().filter(|line| line.up);
        up.filter_map(|line| line.host)
    }

    /// Whether the launcher has a way that carries just now.
    pub(super) fn others_carry(&self) -> bool {
        matches!(self.engine.state(), State::Connected | State::FailingOver)
    }

    pub(super) fn is_connected(&self) -> bool {
        let behind = |flow: &Flow| flow.sent.len() - flow.received;
        self.engine.state() == State::Connected
            && self.id.is_some()
            && behind(&self.up) <= 4 * PACKET
            && behind(&self.down) <= 4 * PACKET
    }

    /// What keeps it from being well.
    pub(super) fn illness(&self) -> Option<String> {
        let connected = self.is_connected();
        let ups = self.lines.iter().filter(|(k, l)| k.is_host() && l.up);
        (!connected || ups.count() < 2).then(|| self.condition())
    }

    /// All about it, for a failure's message.
    pub(super) fn condition(&self) -> String {
        let lines: Vec<_> = self.lines.iter().map(|(k, l)| (*k, l.up, l.host)).collect();
        format!(
            "player {}: {:?} in use {:?}, up {}/{}, down {}/{}, lines {lines:?}, ways {:?}, last {:#?}",
            self.n,
            self.engine.state(),
            self.engine.in_use(),
            self.up.received,
            self.up.sent.len(),
            self.down.received,
            self.down.sent.len(),
            self.ways,
            self.diary
        )
    }

    /// The invariants at the end.
    pub(super) fn check_all_arrived(&mut self) {
        assert_eq!(self.closed, None, "player {}: the link ended", self.n);
        for flow in [&self.up, &self.down] {
            let behind = flow.sent.len() - flow.received;
            assert!(
                behind <= 4 * PACKET,
                "player {}: {behind} bytes behind",
                self.n
            );
        }
    }

    pub(super) fn arrived(&self) -> u64 {
        (self.up.received + self.down.received) as u64
    }
}
