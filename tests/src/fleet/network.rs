//! What is on its way, and how it gets there.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::Rng;
use warp_coordinator_core::fleet::Report;
use warp_host_core::Unrouted;
use warp_link_core::Outgoing;
use warp_protocol::carrier::PathKind;
use warp_protocol::hosting::Forwarded;
use warp_protocol::signal::ServerSignal;

use super::faults::Fault;
use super::{Place, Route, World};

/// How one line treats datagrams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) loss: f64,
    /// Nothing passes: to the endpoint, and from it.
    pub(super) cut: [bool; 2],
    /// Nothing is lost or reordered; a cut only delays.
    pub(super) ordered: bool,
}

impl Weather {
    pub(super) fn new(delay_ms: u64, jitter_ms: u64, loss: f64) -> Self {
        Self {
            delay: Duration::from_millis(delay_ms),
            jitter: Duration::from_millis(jitter_ms),
            loss,
            cut: [false; 2],
            ordered: false,
        }
    }

    pub(super) fn ordered(delay_ms: u64) -> Self {
        Self {
            ordered: true,
            ..Self::new(delay_ms, 0, 0.0)
        }
    }
}

/// Between a member and a host, and between a host and the endpoint.
const LEG: Duration = Duration::from_millis(6);

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum What {
    Begin {
        player: usize,
    },
    Open {
        player: usize,
        kind: PathKind,
    },
    Rejoin {
        player: usize,
    },
    Say {
        player: usize,
    },
    Beat {
        host: usize,
        life: u32,
    },
    ToEndpoint {
        player: usize,
        kind: PathKind,
        opening: u32,
        datagram: Bytes,
    },
    ToEngine {
        player: usize,
        kind: PathKind,
        opening: u32,
        datagram: Bytes,
    },
    AtHostUp {
        player: usize,
        kind: PathKind,
        opening: u32,
        host: usize,
        life: u32,
        datagram: Bytes,
    },
    FromHostUp {
        host: usize,
        framed: Bytes,
    },
    AtHostDown {
        host: usize,
        life: u32,
        framed: Bytes,
    },
    HostSignal {
        host: usize,
        life: u32,
        signal: ServerSignal,
    },
    Told {
        player: usize,
        signal: ServerSignal,
    },
    Reported {
        player: usize,
        report: Report,
    },
    Attempted {
        player: usize,
        kind: PathKind,
        opening: u32,
        host: usize,
    },
    Fault(Fault),
    Undo(Fault),
    Heal,
}

/// What is to happen, by time; what falls due at once happens in the order in which it was entered.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Time, order, and the place of what happens: the heap moves its entries about, and a signal is
    /// large.
    times: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    places: Vec<Option<What>>,
    free: Vec<usize>,
    order: u64,
}

impl Events {
    fn push(&mut self, at: Instant, what: What) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(what);
        self.order += 1;
        self.times.push(Reverse((at, self.order, place)));
    }

    fn next_at(&self) -> Option<Instant> {
        self.times.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next one that is due.
    fn pop(&mut self, now: Instant) -> Option<What> {
        if self.next_at()? > now {
            return None;
        }
        let Reverse((.., place)) = self.times.pop()?;
        self.free.push(place);
        self.places[place].take()
    }
}

impl World {
    pub(super) fn at(&mut self, wait: Duration, what: What) {
        self.events.push(self.now + wait, what);
    }

    /// To the next thing that happens.
    pub(super) fn step(&mut self, end: Instant) {
        let mut next = self.events.next_at().map_or(end, |at| at.min(end));
        let mut due: Vec<usize> = Vec::new();
        for (n, at) in self.deadlines.iter().enumerate() {
            match at.cmp(&next) {
                Ordering::Less => {
                    next = *at;
                    due.clear();
                    due.push(n);
                }
                Ordering::Equal => due.push(n),
                Ordering::Greater => {}
            }
        }
        let fleet = self.fleet.as_ref().and_then(|fleet| fleet.next_deadline());
        // The coordinator's clock may be ahead.
        let fleet = fleet.map(|at| self.fleet_start + at.saturating_sub(self.skew));
        if let Some(at) = fleet
            && at < next
        {
            next = at;
            due.clear();
        }
        self.now = self.now.max(next);
        if fleet.is_some_and(|at| at <= self.now) {
            let now = self.fleet_now();
            if let Some(fleet) = &mut self.fleet {
                fleet.handle_timeout(now);
            }
            self.carry_out();
        }
        while let Some(what) = self.events.pop(self.now) {
            self.happen(what);
        }
        // As the driver does, which takes all that has come before it answers.
        while let Some(player) = self.heard.pop() {
            self.drain(player);
        }
        for n in due {
            let (now, since) = (self.now, self.elapsed());
            let player = &mut self.players[n];
            for (side, engine) in [(0, true), (1, false)] {
                if player.due[side].is_some_and(|at| at <= now) {
                    player.link(engine).handle_timeout(now);
                }
            }
            for kind in [PathKind::Host, PathKind::Host2] {
                player.way(kind).on_time(since);
            }
            self.drain_ways(n);
            self.drain(n);
        }
    }

    /// Takes everything that a player's links have to say.
    pub(super) fn drain(&mut self, n: usize) {
        loop {
            let now = self.now;
            let [engine, endpoint] = std::mem::take(&mut self.players[n].touched);
            if !engine && !endpoint {
                self.look_at_ways_of(n);
                self.deadlines[n] = self.deadline_of(n);
                return;
            }
            if engine {
                while let Some(out) = self.players[n].engine.poll_transmit(now) {
                    self.engine_sends(n, out);
                }
                let since = self.elapsed();
                while let Some(event) = self.players[n].engine.poll_event() {
                    if let Some(kind) = self.players[n].on_engine(event, since) {
                        self.players[n].disconnect(kind, now);
                        self.players[n].link(false).carrier_down(kind, now);
                        let wait = Duration::from_millis(self.rng.random_range(200..1000));
                        self.at(wait, What::Open { player: n, kind });
                    }
                }
                self.players[n].due[0] = self.players[n].engine.poll_timeout(now).map(|(at, _)| at);
            }
            if endpoint {
                while let Some(out) = self.players[n].endpoint.poll_transmit(now) {
                    self.endpoint_sends(n, out);
                }
                while let Some(event) = self.players[n].endpoint.poll_event() {
                    self.players[n].on_endpoint(event, now);
                }
                let due = self.players[n].endpoint.poll_timeout(now);
                self.players[n].due[1] = due.map(|(at, _)| at);
            }
            self.drain_ways(n);
        }
    }

    /// When something of a player falls due by itself.
    fn deadline_of(&mut self, n: usize) -> Instant {
        let player = &mut self.players[n];
        let deadlines = [
            player.due[0],
            player.due[1],
            player.way_deadline().map(|at| self.start + at),
        ];
        let never = self.start + self.plan.end + Duration::from_secs(1);
        deadlines.into_iter().flatten().min().unwrap_or(never)
    }

    fn engine_sends(&mut self, n: usize, out: Outgoing) {
        self.datagrams += 1;
        let kind = out.carrier;
        let player = &self.players[n];
        let Some(line) = player.lines.get(&kind).filter(|line| line.up) else {
            return;
        };
        let opening = line.opening;
        if let Some(host) = line.host {
            if player.udp_cut {
                return;
            }
            let life = self.hosts[host].life;
            let what = What::AtHostUp {
                player: n,
                kind,
                opening,
                host,
                life,
                datagram: out.datagram,
            };
            self.at(LEG, what);
            return;
        }
        let weather = player.weather[&kind];
        let udp_cut = player.udp_cut && kind != PathKind::Wss;
        let what = What::ToEndpoint {
            player: n,
            kind,
            opening,
            datagram: out.datagram,
        };
        self.send(weather, udp_cut || weather.cut[0], what);
    }

    fn endpoint_sends(&mut self, n: usize, out: Outgoing) {
        self.datagrams += 1;
        let kind = out.carrier;
        if kind.is_host() {
            let Some(place) = self.outward.get(&(n, kind)).copied() else {
                return;
            };
            let routes = self.routes.get(&place.room);
            let Some((epoch, _)) = routes.and_then(|routes| routes.get(place.slot)) else {
                return;
            };
            let head = Forwarded {
                epoch,
                slot: place.slot,
            };
            let mut framed = head.to_bytes().to_vec();
            framed.extend_from_slice(&out.datagram);
            let host = self.rooms[place.room];
            let life = self.hosts[host].life;
            self.at(
                LEG,
                What::AtHostDown {
                    host,
                    life,
                    framed: framed.into(),
                },
            );
            return;
        }
        let player = &self.players[n];
        let Some(line) = player.lines.get(&kind).filter(|line| line.up) else {
            return;
        };
        let (opening, weather) = (line.opening, player.weather[&kind]);
        let udp_cut = player.udp_cut && kind != PathKind::Wss;
        let what = What::ToEngine {
            player: n,
            kind,
            opening,
            datagram: out.datagram,
        };
        self.send(weather, udp_cut || weather.cut[1], what);
    }

    fn send(&mut self, weather: Weather, cut: bool, what: What) {
        if cut && !weather.ordered {
            return;
        }
        if !weather.ordered && self.rng.random_bool(weather.loss) {
            return;
        }
        let jitter = weather.jitter.as_micros() as u64;
        let jitter = Duration::from_micros(self.rng.random_range(0..=jitter));
        // A socket delivers after the cut what was sent in it, which the launcher gives up first.
        let wait = if cut {
            Duration::from_secs(60)
        } else {
            weather.delay + jitter
        };
        self.at(wait, what);
    }

    fn happen(&mut self, what: What) {
        let now = self.now;
        match what {
            What::Begin { player } => {
                self.players[player].begun = true;
                self.join(player);
                self.at(
                    Duration::ZERO,
                    What::Open {
                        player,
                        kind: PathKind::Wss,
                    },
                );
                if self.players[player].has_direct {
                    let wait = Duration::from_millis(90);
                    self.at(
                        wait,
                        What::Open {
                            player,
                            kind: PathKind::Direct,
                        },
                    );
                }
                self.at(Duration::from_millis(300), What::Say { player });
            }
            What::Open { player, kind } => self.open(player, kind),
            What::Rejoin { player } => self.enter_again(player),
            What::Say { player } => {
                let period = Duration::from_millis(self.rng.random_range(200..300));
                let quiet = self.plan.end - Duration::from_secs(1);
                if self.elapsed() < quiet {
                    let rng = &mut self.rng;
                    self.players[player].say(rng);
                    self.drain(player);
                    self.at(period, What::Say { player });
                }
            }
            What::Beat { host, life } if self.hosts[host].life == life => {
                if self.hosts[host].beat_at <= now {
                    self.beat(host);
                }
            }
            What::Beat { .. } => {}
            What::ToEndpoint {
                player,
                kind,
                opening,
                datagram,
            } => {
                if self.players[player]
                    .lines
                    .get(&kind)
                    .is_some_and(|l| l.up && l.opening == opening)
                {
                    self.players[player]
                        .link(false)
                        .handle_datagram(kind, &datagram, now);
                    self.heard.push(player);
                }
            }
            What::ToEngine {
                player,
                kind,
                opening,
                datagram,
            } => {
                if self.players[player]
                    .lines
                    .get(&kind)
                    .is_some_and(|l| l.up && l.opening == opening)
                {
                    self.players[player]
                        .link(true)
                        .handle_datagram(kind, &datagram, now);
                    self.heard.push(player);
                }
            }
            What::AtHostUp {
                player,
                kind,
                opening,
                host,
                life,
                datagram,
            } => {
                self.at_host_up(player, (kind, opening), (host, life), &datagram);
            }
            What::FromHostUp { host, framed } => self.at_endpoint(host, &framed),
            What::AtHostDown { host, life, framed } => self.at_host_down(host, life, &framed),
            What::HostSignal { host, life, signal } => {
                let node = &self.hosts[host];
                if node.alive && node.life == life && !node.frozen {
                    self.host_signal(host, signal);
                } else if node.alive && node.life == life {
                    // Its socket keeps what a stopped process does not read.
                    self.at(
                        Duration::from_millis(100),
                        What::HostSignal { host, life, signal },
                    );
                }
            }
            What::Told { player, signal } => self.told(player, signal),
            What::Reported { player, report } => self.reported(player, report),
            What::Attempted {
                player,
                kind,
                opening,
                host,
            } => {
                self.attempted(player, kind, opening, host);
                self.drain(player);
            }
            What::Fault(fault) => self.strike(fault),
            What::Undo(fault) => self.undo(fault),
            What::Heal => self.heal(),
        }
    }

    fn open(&mut self, n: usize, kind: PathKind) {
        let now = self.now;
        let player = &mut self.players[n];
        let weather = player.weather[&kind];
        let passes = weather.cut == [false; 2] && !(player.udp_cut && kind != PathKind::Wss);
        if !passes {
            let wait = Duration::from_millis(self.rng.random_range(300..1000));
            return self.at(wait, What::Open { player: n, kind });
        }
        let line = player.lines.entry(kind).or_default();
        line.up = true;
        line.opening += 1;
        player.link(false).carrier_up(kind, now);
        player.link(true).carrier_up(kind, now);
        self.drain(n);
    }

    fn at_host_up(
        &mut self,
        n: usize,
        (kind, opening): (PathKind, u32),
        (host, life): (usize, u32),
        datagram: &Bytes,
    ) {
        let now = self.now;
        let player = &self.players[n];
        let current = player.lines.get(&kind).map(|line| line.opening) == Some(opening);
        let alters = self.hosts[host].alters;
        let altered = alters > 0 && self.rng.random_ratio(1, alters);
        let relabels = self.hosts[host].relabels;
        let relabelled = relabels > 0 && self.rng.random_ratio(1, relabels);
        let node = &mut self.hosts[host];
        if !current || !node.alive || node.frozen || node.life != life {
            return;
        }
        let datagram = if altered {
            flipped(datagram)
        } else if relabelled {
            relabelled_one(datagram)
        } else {
            datagram.clone()
        };
        if let Some(framed) = node.forwarder.from_member(now, &player.peer, &datagram) {
            let wait = LEG + node.delays;
            self.at(wait, What::FromHostUp { host, framed });
        }
    }

    fn at_endpoint(&mut self, host: usize, framed: &Bytes) {
        let now = self.now;
        // The room that the host is in now: its connection to the endpoint is of that.
        let room = self.hosts[host].rooms.last().copied();
        let routes = room.and_then(|room| self.routes.get(&room));
        let found = routes.map_or(Err(Unrouted::Nobody), |routes| routes.find(framed));
        if let (Ok((Route { player, way }, _)), Some((head, _)), Some(room)) =
            (&found, Forwarded::split(framed), room)
        {
            let slot = head.slot;
            // The member is there: from now on its way goes out over this host.
            if self.used.insert(Place { room, slot }) {
                self.outward.insert((*player, *way), Place { room, slot });
                self.players[*player].link(false).carrier_up(*way, now);
            }
        }
        // Another host may have taken over that way of the session.
        let found = found.and_then(|(route, inner)| {
            let newest = self.outward.get(&(route.player, route.way));
            let here = newest.is_some_and(|newest| Some(newest.room) == room);
            here.then_some((route, inner)).ok_or(Unrouted::Nobody)
        });
        let (Route { player, way }, inner) = match found {
            Ok((route, inner)) => (*route, inner),
            Err(Unrouted::Malformed) => panic!("a forwarder made what is no forwarded datagram"),
            Err(Unrouted::Nobody | Unrouted::Stale) => {
                self.refused_routes += 1;
                return;
            }
        };
        self.players[player]
            .link(false)
            .handle_datagram(way, inner, now);
        self.heard.push(player);
    }

    fn at_host_down(&mut self, host: usize, life: u32, framed: &Bytes) {
        let now = self.now;
        let alters = self.hosts[host].alters;
        let altered = alters > 0 && self.rng.random_ratio(1, alters);
        let node = &mut self.hosts[host];
        if !node.alive || node.frozen || node.life != life || node.half_open {
            return;
        }
        let delays = node.delays;
        let Some((peer, datagram)) = node.forwarder.from_endpoint(now, framed) else {
            return;
        };
        let n = self.by_peer[&*peer];
        let player = &self.players[n];
        if player.udp_cut {
            return;
        }
        let line = player
            .lines
            .iter()
            .find(|(_, line)| line.up && line.host == Some(host));
        if let Some((kind, line)) = line {
            let (kind, opening) = (*kind, line.opening);
            let datagram = if altered {
                flipped(&datagram)
            } else {
                datagram
            };
            self.at(
                LEG + delays,
                What::ToEngine {
                    player: n,
                    kind,
                    opening,
                    datagram,
                },
            );
        }
    }
}

/// The same as of a much later opening of its carrier, which is in the label and not sealed.
fn relabelled_one(datagram: &Bytes) -> Bytes {
    let mut bytes = datagram.to_vec();
    if let Some(opening) = bytes.get_mut(1) {
        *opening = opening.wrapping_add(100);
    }
    bytes.into()
}

/// The same with one bit of its sealed part turned.
fn flipped(datagram: &Bytes) -> Bytes {
    let mut bytes = datagram.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes.into()
}
