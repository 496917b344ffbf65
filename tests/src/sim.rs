//! Two session links in virtual time over a network of our own making.
//!
//! Nothing here waits: time jumps to the next datagram, deadline or planned fault. A run is decided
//! by its seed, but for the TLS key shares, whose sizes do not vary.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use warp_link_core::{
    CloseReason, Identity, Link, LinkConfig, LinkEvent, ReadOutcome, State, StreamId, WriteOutcome,
};
use warp_protocol::carrier::{Label, PathKind};

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The engine's.
    Engine,
    /// The endpoint's.
    Endpoint,
}

/// How a carrier treats datagrams of one direction.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// One way, before jitter.
    pub delay: Duration,
    /// Added at random, 0 to this much; reorders unless `ordered`.
    pub jitter: Duration,
    /// Share of datagrams that vanish, 0 to 1.
    pub loss: f64,
    /// Nothing passes.
    pub cut: bool,
    /// Like a WebSocket: nothing is lost or reordered, a cut only delays.
    pub ordered: bool,
}

impl Weather {
    /// A clean line.
    pub fn clean(delay_ms: u64) -> Self {
        Self {
            delay: Duration::from_millis(delay_ms),
            jitter: Duration::ZERO,
            loss: 0.0,
            cut: false,
            ordered: false,
        }
    }
}

struct Flight {
    at: Instant,
    order: u64,
    to: Side,
    carrier: PathKind,
    opening: u32,
    datagram: Bytes,
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Flight {}
impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flight {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// A carrier between the two sides.
#[derive(Debug, Default, Clone, Copy)]
struct Line {
    up: bool,
    opening: u32,
    reopen_at: Option<Instant>,
}

/// One direction of one stream as its receiver sees it.
#[derive(Debug, Default)]
struct Stream {
    sent: Vec<u8>,
    pending: Vec<u8>,
    received: usize,
    /// The sender knows the stream.
    open: bool,
}

/// The world.
pub struct World {
    /// Virtual now.
    pub now: Instant,
    /// When the world began.
    pub epoch: Instant,
    /// The engine's link.
    pub engine: Link,
    /// The endpoint's link.
    pub endpoint: Link,
    /// Weather per carrier, engine to endpoint and back.
    pub weather: BTreeMap<(PathKind, Side), Weather>,
    /// Moves as the engine told them, with the time since the epoch.
    pub moves: Vec<(Duration, LinkEvent)>,
    /// States as the engine told them, with the time since the epoch.
    pub states: Vec<(Duration, State, Option<PathKind>)>,
    /// Why a side closed, if one did.
    pub closed: Option<(Side, CloseReason)>,
    /// Largest time between two deliveries to one side.
    pub largest_gap: Duration,
    /// Datagrams on the wire, for tests that replay or alter them.
    pub tap: Option<Vec<(Side, PathKind, Bytes)>>,
    /// Datagrams that a side sent over an open carrier, and those of them that vanished by chance.
    pub fates: BTreeMap<(PathKind, Side), (u64, u64)>,
    /// This carrier hides what it loses: it numbers the labels of what it carries anew.
    pub hides_losses: Option<PathKind>,
    renumbered: BTreeMap<Side, u16>,
    lines: BTreeMap<PathKind, Line>,
    last_ordered: BTreeMap<(PathKind, Side), Instant>,
    flights: BinaryHeap<Flight>,
    order: u64,
    rng: StdRng,
    up: BTreeMap<StreamId, Stream>,
    down: BTreeMap<StreamId, Stream>,
    last_delivery: BTreeMap<Side, Instant>,
}

/// A pair of identities.
pub fn identities() -> (Identity, Identity) {
    (identity(), identity())
}

/// A fresh Ed25519 identity.
pub fn identity() -> Identity {
    let rng = ring::rand::SystemRandom::new();
    let der = ring::signature::Ed25519KeyPair::generate_pkcs8(&rng).expect("the system's RNG");
    Identity::from_pkcs8_der(der.as_ref()).expect("a key that was just made")
}

impl World {
    /// Two links that trust each other, with no carrier yet.
    pub fn new(seed: u64, config: LinkConfig, keys: &(Identity, Identity)) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let engine = Link::client(config.clone(), &keys.0, keys.1.public_key(), rng.random())
            .expect("a configuration that is allowed");
        let endpoint = Link::server(config, &keys.1, keys.0.public_key(), rng.random())
            .expect("a configuration that is allowed");
        let epoch = Instant::now();
        Self {
            now: epoch,
            epoch,
            engine,
            endpoint,
            weather: BTreeMap::new(),
            moves: Vec::new(),
            states: Vec::new(),
            closed: None,
            largest_gap: Duration::ZERO,
            tap: None,
            fates: BTreeMap::new(),
            hides_losses: None,
            renumbered: BTreeMap::new(),
            lines: BTreeMap::new(),
            last_ordered: BTreeMap::new(),
            flights: BinaryHeap::new(),
            order: 0,
            rng,
            up: BTreeMap::new(),
            down: BTreeMap::new(),
            last_delivery: BTreeMap::new(),
        }
    }

    /// Sets the same weather both ways.
    pub fn set_weather(&mut self, kind: PathKind, weather: Weather) {
        self.weather.insert((kind, Side::Engine), weather);
        self.weather.insert((kind, Side::Endpoint), weather);
    }

    /// Cuts or restores a carrier both ways; the sides are not told.
    pub fn cut(&mut self, kind: PathKind, cut: bool) {
        for side in [Side::Engine, Side::Endpoint] {
            if let Some(weather) = self.weather.get_mut(&(kind, side)) {
                weather.cut = cut;
            }
        }
    }

    /// Opens a carrier on both sides.
    pub fn open(&mut self, kind: PathKind) {
        let line = self.lines.entry(kind).or_default();
        line.up = true;
        line.opening += 1;
        line.reopen_at = None;
        self.endpoint.carrier_up(kind, self.now);
        self.engine.carrier_up(kind, self.now);
        self.drain();
    }

    /// Closes a carrier on both sides, as when a WebRTC connection or a socket closes; what is
    /// under way on it is gone.
    pub fn close(&mut self, kind: PathKind, reopen_in: Option<Duration>) {
        let now = self.now;
        let line = self.lines.entry(kind).or_default();
        line.up = false;
        line.reopen_at = reopen_in.map(|wait| now + wait);
        self.endpoint.carrier_down(kind, self.now);
        self.engine.carrier_down(kind, self.now);
        self.drain();
    }

    /// Since the epoch.
    pub fn elapsed(&self) -> Duration {
        self.now - self.epoch
    }

    /// Opens a stream at the engine.
    pub fn open_stream(&mut self) -> StreamId {
        let id = self.engine.open_stream().expect("a free stream");
        let open = Stream {
            open: true,
            ..Stream::default()
        };
        self.up.insert(id, open);
        self.down.insert(id, Stream::default());
        id
    }

    /// Queues random bytes from one side on a stream.
    pub fn say(&mut self, from: Side, id: StreamId, count: usize) {
        let bytes: Vec<u8> = (0..count).map(|_| self.rng.random()).collect();
        let streams = match from {
            Side::Engine => &mut self.up,
            Side::Endpoint => &mut self.down,
        };
        let stream = streams.get_mut(&id).expect("an open stream");
        stream.sent.extend_from_slice(&bytes);
        stream.pending.extend_from_slice(&bytes);
        self.flush(from, id);
        self.drain();
    }

    fn flush(&mut self, from: Side, id: StreamId) {
        let (link, streams) = match from {
            Side::Engine => (&mut self.engine, &mut self.up),
            Side::Endpoint => (&mut self.endpoint, &mut self.down),
        };
        let Some(stream) = streams.get_mut(&id) else {
            return;
        };
        while stream.open && !stream.pending.is_empty() {
            match link.write(id, &stream.pending) {
                WriteOutcome::Written(count) => {
                    stream.pending.drain(..count);
                }
                WriteOutcome::Blocked => break,
                WriteOutcome::Closed => panic!("a stream closed under a test"),
            }
        }
    }

    /// True when every byte that was said has arrived.
    pub fn all_arrived(&self) -> bool {
        self.up
            .values()
            .chain(self.down.values())
            .all(|stream| stream.received == stream.sent.len())
    }

    /// Bytes of a stream that have arrived at a side.
    pub fn arrived(&self, at: Side, id: StreamId) -> usize {
        let streams = match at {
            Side::Endpoint => &self.up,
            Side::Engine => &self.down,
        };
        streams.get(&id).map_or(0, |stream| stream.received)
    }

    /// Per stream and direction: said, not yet taken by the link, arrived. For a failure's message.
    pub fn ledger(&self) -> String {
        let line = |(id, stream): (&StreamId, &Stream)| {
            format!(
                "{id:?}: {} said, {} waiting, {} arrived",
                stream.sent.len(),
                stream.pending.len(),
                stream.received
            )
        };
        let up: Vec<String> = self.up.iter().map(line).collect();
        let down: Vec<String> = self.down.iter().map(line).collect();
        format!("up {up:?} down {down:?}")
    }

    /// A random number below `limit`.
    pub fn roll(&mut self, limit: u64) -> u64 {
        self.rng.random_range(0..limit)
    }

    /// Runs until `until` (since the epoch) or until `done` says so; true if it said so.
    pub fn run(&mut self, until: Duration, mut done: impl FnMut(&World) -> bool) -> bool {
        loop {
            self.drain();
            if done(self) {
                return true;
            }
            let end = self.epoch + until;
            let reopen = self.lines.values().filter_map(|line| line.reopen_at).min();
            let next = [
                self.flights.peek().map(|flight| flight.at),
                self.engine.poll_timeout(self.now).map(|(at, _)| at),
                self.endpoint.poll_timeout(self.now).map(|(at, _)| at),
                reopen,
            ]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(end);
            if next >= end {
                self.now = end;
                return done(self);
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn step(&mut self) {
        while self.flights.peek().is_some_and(|f| f.at <= self.now) {
            let Some(flight) = self.flights.pop() else {
                break;
            };
            self.deliver(flight);
        }
        for side in [Side::Engine, Side::Endpoint] {
            let now = self.now;
            let link = self.link(side);
            if link.poll_timeout(now).is_some_and(|(at, _)| at <= now) {
                link.handle_timeout(now);
            }
        }
        let due: Vec<PathKind> = self
            .lines
            .iter()
            .filter(|(_, line)| line.reopen_at.is_some_and(|at| at <= self.now))
            .map(|(kind, _)| *kind)
            .collect();
        for kind in due {
            self.open(kind);
        }
    }

    fn link(&mut self, side: Side) -> &mut Link {
        match side {
            Side::Engine => &mut self.engine,
            Side::Endpoint => &mut self.endpoint,
        }
    }

    fn deliver(&mut self, flight: Flight) {
        let line = self.lines.get(&flight.carrier).copied().unwrap_or_default();
        if !line.up || line.opening != flight.opening {
            return;
        }
        let now = self.now;
        self.link(flight.to)
            .handle_datagram(flight.carrier, &flight.datagram, now);
        self.drain();
    }

    fn drain(&mut self) {
        for side in [Side::Engine, Side::Endpoint] {
            loop {
                let mut idle = true;
                while let Some(event) = self.link(side).poll_event() {
                    idle = false;
                    self.on_event(side, event);
                }
                let now = self.now;
                while let Some(outgoing) = self.link(side).poll_transmit(now) {
                    idle = false;
                    self.send(side, outgoing.carrier, outgoing.datagram);
                }
                if idle {
                    break;
                }
            }
        }
    }

    fn send(&mut self, from: Side, carrier: PathKind, datagram: Bytes) {
        if let Some(tap) = &mut self.tap {
            tap.push((from, carrier, datagram.clone()));
        }
        let line = self.lines.get(&carrier).copied().unwrap_or_default();
        let Some(weather) = self.weather.get(&(carrier, from)).copied() else {
            return;
        };
        if !line.up || weather.cut {
            return;
        }
        let lost = weather.loss > 0.0 && self.rng.random_bool(weather.loss);
        let (all, vanished) = self.fates.entry((carrier, from)).or_default();
        *all += 1;
        if lost {
            *vanished += 1;
            return;
        }
        let datagram = if self.hides_losses == Some(carrier) {
            let number = self.renumbered.entry(from).or_default();
            *number = number.wrapping_add(1);
            let (mut label, packet) = Label::split(&datagram).expect("a label");
            label.stamp.number = *number;
            [&label.to_bytes()[..], packet].concat().into()
        } else {
            datagram
        };
        let jitter = weather.jitter.mul_f64(self.rng.random::<f64>());
        let mut at = self.now + weather.delay + jitter;
        if weather.ordered {
            let last = self.last_ordered.entry((carrier, from)).or_insert(at);
            at = at.max(*last);
            *last = at;
        }
        self.order += 1;
        let to = match from {
            Side::Engine => Side::Endpoint,
            Side::Endpoint => Side::Engine,
        };
        self.flights.push(Flight {
            at,
            order: self.order,
            to,
            carrier,
            opening: line.opening,
            datagram,
        });
    }

    fn on_event(&mut self, side: Side, event: LinkEvent) {
        match event {
            LinkEvent::StreamOpened(id) => {
                if let Some(stream) = self.down.get_mut(&id) {
                    stream.open = true;
                }
                self.read(side, id);
            }
            LinkEvent::Readable(id) => self.read(side, id),
            LinkEvent::Writable(id) => self.flush(side, id),
            LinkEvent::Closed(reason) => self.closed = Some((side, reason)),
            LinkEvent::GivenUp(kind) if side == Side::Engine => {
                let wait = Duration::from_millis(200 + self.rng.random_range(0..800));
                self.close(kind, Some(wait));
            }
            LinkEvent::Moved { .. } if side == Side::Engine => {
                self.moves.push((self.elapsed(), event));
            }
            LinkEvent::State { state, path, .. } if side == Side::Engine => {
                self.states.push((self.elapsed(), state, path));
            }
            _ => {}
        }
    }

    fn read(&mut self, side: Side, id: StreamId) {
        loop {
            match self.link(side).read(id, 4096) {
                ReadOutcome::Data(bytes) => self.check(side, id, &bytes),
                ReadOutcome::Blocked => break,
                other => panic!("stream {id:?} ended: {other:?}"),
            }
        }
        // What is said before the stream was accepted waits until then.
        self.flush(side, id);
    }

    /// The invariant: every byte arrives once, in order, unchanged.
    fn check(&mut self, reader: Side, id: StreamId, bytes: &[u8]) {
        let now = self.now;
        let last = self.last_delivery.insert(reader, now);
        if let Some(last) = last {
            self.largest_gap = self.largest_gap.max(now - last);
        }
        let streams = match reader {
            Side::Endpoint => &mut self.up,
            Side::Engine => &mut self.down,
        };
        let stream = streams.get_mut(&id).expect("a stream that was opened");
        let end = stream.received + bytes.len();
        let expected = stream.sent.get(stream.received..end);
        assert_eq!(
            expected,
            Some(bytes),
            "bytes of {id:?} lost, doubled or out of order"
        );
        stream.received = end;
    }
}
