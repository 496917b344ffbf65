//! What goes wrong, and how it is put right.

use std::time::Duration;

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use warp_protocol::carrier::PathKind;

use super::network::What;
use super::{Plan, World};

/// Something that goes wrong at a time, for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// A host's process is gone at once, and starts again after the time.
    Crash(usize, Duration),
    /// A host's process stops, and goes on after the time: silent, with its sockets open.
    Freeze(usize, Duration),
    /// What a host sends to its members vanishes.
    HalfOpen(usize, Duration),
    /// A host's way to the coordinator is cut.
    Partition(usize, Duration),
    /// A host drains, and registers anew.
    Drain(usize),
    /// A host alters one datagram in four.
    Alter(usize, Duration),
    /// A host writes another number of the opening into the label of one datagram in four; not drawn.
    Relabel(usize, Duration),
    /// A host keeps every datagram for 80 ms, each way.
    Delay(usize, Duration),
    /// No UDP passes to or from a player.
    NoUdp(usize, Duration),
    /// A player's direct way is cut.
    CutDirect(usize, Duration),
    /// A player's direct way loses everything in one direction: to the endpoint, or from it.
    OneWay(usize, bool, Duration),
    /// A player's direct way loses one datagram in twenty and mixes them up.
    Rough(usize, Duration),
    /// A player's WebSocket is cut.
    CutWss(usize, Duration),
    /// The coordinator is gone, and starts again after the time, knowing nothing.
    Coordinator(Duration),
    /// The coordinator's clock jumps ahead.
    Clock(Duration),
}

impl Fault {
    /// One by chance, over before the plan's troubles end.
    fn draw(rng: &mut StdRng, plan: &Plan, at: Duration) -> Self {
        let left = plan.troubled.saturating_sub(at).as_millis() as u64;
        let span = Duration::from_millis(rng.random_range(400..=left.clamp(401, 5000)));
        let host = rng.random_range(0..plan.hosts);
        let player = rng.random_range(0..plan.players);
        match rng.random_range(0..15) {
            0 => Self::Crash(host, span),
            1 => Self::Freeze(host, span),
            2 => Self::HalfOpen(host, span),
            3 => Self::Partition(host, span),
            4 => Self::Drain(host),
            5 => Self::Alter(host, span),
            6 => Self::Delay(host, span),
            7 => Self::NoUdp(player, span),
            8 | 9 => Self::CutDirect(player, span),
            10 => Self::OneWay(player, rng.random(), span),
            11 => Self::Rough(player, span),
            12 => Self::CutWss(player, span),
            13 => Self::Coordinator(span.min(Duration::from_secs(3))),
            _ => Self::Clock(Duration::from_millis(rng.random_range(100..20_000))),
        }
    }

    /// All faults of a seed, with their times.
    pub fn all(seed: u64, plan: &Plan) -> Vec<(Duration, Self)> {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
        (0..plan.faults)
            .map(|_| {
                let last = plan.troubled.as_millis() as u64 - 500;
                let at = Duration::from_millis(rng.random_range(1500..last));
                (at, Self::draw(&mut rng, plan, at))
            })
            .collect()
    }
}

impl World {
    pub(super) fn strike(&mut self, fault: Fault) {
        let span = match fault {
            Fault::Crash(n, span) => {
                let host = &mut self.hosts[n];
                host.alive = false;
                host.frozen = false;
                host.waits = false;
                host.life += 1;
                let id = host.id.clone();
                if std::mem::take(&mut host.attached) {
                    // The system closes a dead process's socket.
                    let now = self.fleet_now();
                    if let Some(fleet) = &mut self.fleet {
                        fleet.detached(now, &id);
                    }
                    self.carry_out();
                }
                Some(span)
            }
            Fault::Freeze(n, span) => {
                self.hosts[n].frozen = true;
                Some(span)
            }
            Fault::HalfOpen(n, span) => {
                self.hosts[n].half_open = true;
                Some(span)
            }
            Fault::Partition(n, span) => {
                self.hosts[n].cut_off = true;
                Some(span)
            }
            Fault::Drain(n) => {
                let (now, id) = (self.fleet_now(), self.hosts[n].id.clone());
                self.hosts[n].draining = true;
                self.hosts[n].waits = false;
                if let Some(fleet) = &mut self.fleet {
                    fleet.drain(now, &id);
                }
                self.carry_out();
                Some(Duration::from_secs(3))
            }
            Fault::Alter(n, span) => {
                (self.hosts[n].alters, self.hosts[n].meddled) = (4, true);
                Some(span)
            }
            Fault::Relabel(n, span) => {
                (self.hosts[n].relabels, self.hosts[n].meddled) = (4, true);
                Some(span)
            }
            Fault::Delay(n, span) => {
                self.hosts[n].delays = Duration::from_millis(80);
                self.hosts[n].meddled = true;
                Some(span)
            }
            Fault::NoUdp(n, span) => {
                self.players[n].udp_cut = true;
                Some(span)
            }
            Fault::CutDirect(n, span) => self.cut(n, PathKind::Direct, [true; 2], span),
            Fault::OneWay(n, up, span) => self.cut(n, PathKind::Direct, [up, !up], span),
            Fault::CutWss(n, span) => self.cut(n, PathKind::Wss, [true; 2], span),
            Fault::Rough(n, span) => {
                if let Some(weather) = self.players[n].weather.get_mut(&PathKind::Direct) {
                    weather.loss = 0.05;
                    weather.jitter = Duration::from_millis(40);
                }
                Some(span)
            }
            Fault::Coordinator(span) => {
                self.stop_coordinator();
                Some(span)
            }
            Fault::Clock(ahead) => {
                self.skew += ahead;
                None
            }
        };
        self.look_at_ways();
        if let Some(span) = span {
            self.at(span, What::Undo(fault));
        }
    }

    fn cut(
        &mut self,
        n: usize,
        kind: PathKind,
        cut: [bool; 2],
        span: Duration,
    ) -> Option<Duration> {
        if let Some(weather) = self.players[n].weather.get_mut(&kind) {
            weather.cut = cut;
        }
        Some(span)
    }

    pub(super) fn undo(&mut self, fault: Fault) {
        match fault {
            Fault::Crash(n, _) => {
                let now = self.now;
                let host = &mut self.hosts[n];
                if !host.alive {
                    host.alive = true;
                    host.forwarder = warp_host_core::Forwarder::new(
                        warp_host_core::ForwarderConfig::default(),
                        now,
                    );
                    host.beat_at = now;
                    let life = host.life;
                    self.at(Duration::ZERO, What::Beat { host: n, life });
                }
            }
            Fault::Freeze(n, _) => self.hosts[n].frozen = false,
            Fault::HalfOpen(n, _) => self.hosts[n].half_open = false,
            Fault::Partition(n, _) => {
                if std::mem::take(&mut self.hosts[n].cut_off) {
                    self.reattach(n);
                }
            }
            // It has started anew meanwhile: drained twice, or crashed.
            Fault::Drain(n) if !self.hosts[n].draining => {}
            Fault::Drain(n) => {
                // It registers anew with its next heartbeat.
                let host = &mut self.hosts[n];
                host.attached = false;
                host.beat_at = self.now;
                let life = host.life;
                self.at(Duration::ZERO, What::Beat { host: n, life });
            }
            Fault::Alter(n, _) => self.hosts[n].alters = 0,
            Fault::Relabel(n, _) => self.hosts[n].relabels = 0,
            Fault::Delay(n, _) => self.hosts[n].delays = Duration::ZERO,
            Fault::NoUdp(n, _) => self.players[n].udp_cut = false,
            Fault::CutDirect(n, _) | Fault::OneWay(n, ..) => {
                self.cut(n, PathKind::Direct, [false; 2], Duration::ZERO);
            }
            Fault::CutWss(n, _) => {
                self.cut(n, PathKind::Wss, [false; 2], Duration::ZERO);
            }
            Fault::Rough(n, _) => {
                let calm = super::network::Weather::new(15, 3, 0.002);
                self.players[n].weather.insert(PathKind::Direct, calm);
            }
            Fault::Coordinator(_) => {
                if self.fleet.is_none() {
                    self.start_coordinator();
                }
            }
            Fault::Clock(_) => {}
        }
        self.look_at_ways();
    }

    /// Everything that is still wrong is put right.
    pub(super) fn heal(&mut self) {
        let second = Duration::from_secs(1);
        for n in 0..self.hosts.len() {
            for fault in [
                Fault::Crash(n, second),
                Fault::Freeze(n, second),
                Fault::HalfOpen(n, second),
                Fault::Partition(n, second),
                Fault::Alter(n, second),
                Fault::Relabel(n, second),
                Fault::Delay(n, second),
            ] {
                self.undo(fault);
            }
        }
        for n in 0..self.players.len() {
            for fault in [
                Fault::NoUdp(n, second),
                Fault::CutDirect(n, second),
                Fault::CutWss(n, second),
                Fault::Rough(n, second),
            ] {
                self.undo(fault);
            }
        }
        self.undo(Fault::Coordinator(second));
    }

    /// Notes which players have no way at all just now.
    fn look_at_ways(&mut self) {
        for n in 0..self.players.len() {
            self.look_at_ways_of(n);
        }
    }

    /// The time without any way is not counted as a pause; what follows it is, from its end.
    pub(super) fn look_at_ways_of(&mut self, n: usize) {
        let hosts = &self.hosts;
        let player = &mut self.players[n];
        let open = |kind: PathKind| player.weather[&kind].cut == [false; 2];
        let carries = |host: usize| {
            let host = &hosts[host];
            host.alive && !host.frozen && !host.half_open
        };
        let direct = player.has_direct && !player.udp_cut && open(PathKind::Direct);
        let over_hosts = !player.udp_cut && player.hosts().any(carries);
        player.has_a_way(open(PathKind::Wss) || direct || over_hosts, self.now);
    }
}
