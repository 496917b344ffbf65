//! Two peer machines in virtual time, over a signaling that loses, doubles and reorders, through
//! simultaneous offers, restarts, lost connections and changes of the network: 1,000 seeds.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test program, which needs an instant to start from"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use warp_peer_core::{
    Action, AttemptId, Machine, MachineConfig, PeerState, ReconnectConfig, Signal,
};

const NAMES: [&str; 2] = ["anna", "berta"];

/// How long the storm lasts, and how long after it everything must have settled: the longest wait
/// of the schedule, one attempt that was begun with a lost signal, and one more.
const STORM: Duration = Duration::from_secs(60);
const SETTLED: Duration = Duration::from_secs(60 + 31 + 10 + 31 + 10);
const END: Duration = Duration::from_secs(60 + 31 + 10 + 31 + 10 + 60);

#[derive(Debug, Clone)]
enum Event {
    Signal {
        to: usize,
        signal: Signal,
    },
    Opened {
        at: usize,
        id: AttemptId,
    },
    Lost {
        at: usize,
        id: AttemptId,
    },
    Offered {
        at: usize,
        id: AttemptId,
    },
    Answered {
        at: usize,
        id: AttemptId,
    },
    RoundOffered {
        at: usize,
        id: AttemptId,
        round: u32,
    },
    RoundAnswered {
        at: usize,
        id: AttemptId,
        round: u32,
    },
    Restarted {
        at: usize,
        id: AttemptId,
        round: u32,
    },
    /// This side is on another network.
    Moved {
        at: usize,
    },
    Mischief,
    Tick,
}

/// The one connection of a side.
#[derive(Debug, Clone, Copy)]
struct Connection {
    id: AttemptId,
    /// Both descriptions are there.
    described: bool,
    opening: bool,
    /// The newest round that this side has begun, and the newest that it has both descriptions of.
    round: u32,
    round_described: u32,
}

struct World {
    random: SmallRng,
    start: Instant,
    now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    count: u64,
    machines: [Machine; 2],
    incarnations: [u64; 2],
    connections: [Option<Connection>; 2],
    opened: [u64; 2],
    /// Rounds that were done, and connections that were dropped.
    restarted: u64,
    dropped: u64,
    last_change: Instant,
    loss: f64,
    /// So many of the next signals are lost.
    lose_next: u32,
}

fn machine(at: usize, incarnation: u64, seed: u64) -> Machine {
    let config = MachineConfig {
        reconnect: ReconnectConfig { attempts: None },
        ..MachineConfig::default()
    };
    Machine::new(config, NAMES[at], NAMES[1 - at], incarnation, seed)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let start = Instant::now();
        let loss = random.random_range(0.0..0.4);
        let mut world = Self {
            start,
            now: start,
            events: BTreeMap::new(),
            count: 0,
            machines: [
                machine(0, 1, random.random()),
                machine(1, 1, random.random()),
            ],
            incarnations: [1, 1],
            connections: [None, None],
            opened: [0, 0],
            restarted: 0,
            dropped: 0,
            last_change: start,
            loss,
            lose_next: 0,
            random,
        };
        // Both at once, or one first, or only one of them.
        let first = world.random.random_range(0..2);
        world.machines[first].connect(start);
        if world.random.random_bool(0.7) {
            world.machines[1 - first].connect(start);
        }
        world.at(Duration::from_secs(1), Event::Mischief);
        world.drain();
        world
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.count += 1;
        self.events.insert((self.now + after, self.count), event);
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.random.random_range(from..to))
    }

    fn stormy(&self) -> bool {
        self.now < self.start + STORM
    }

    fn send(&mut self, to: usize, signal: Signal) {
        let stormy = self.stormy();
        if self.lose_next > 0 {
            self.lose_next -= 1;
            return;
        }
        if stormy && self.random.random_bool(self.loss) {
            return;
        }
        let copies = if stormy && self.random.random_bool(0.2) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            // A straggler now and then.
            let after = if stormy && self.random.random_bool(0.1) {
                self.millis(1000, 15_000)
            } else {
                self.millis(5, 300)
            };
            let signal = signal.clone();
            self.at(after, Event::Signal { to, signal });
        }
    }

    fn drain(&mut self) {
        for at in 0..2 {
            while let Some(action) = self.machines[at].poll_action() {
                self.carry_out(at, action);
            }
        }
    }

    fn carry_out(&mut self, at: usize, action: Action) {
        match action {
            Action::Offer(id) | Action::Answer(id, _) => {
                assert!(self.connections[at].is_none(), "two connections at once");
                self.connections[at] = Some(Connection {
                    id,
                    described: false,
                    opening: false,
                    round: 0,
                    round_described: 0,
                });
                let after = self.millis(1, 50);
                let event = if matches!(action, Action::Offer(_)) {
                    Event::Offered { at, id }
                } else {
                    Event::Answered { at, id }
                };
                self.at(after, event);
            }
            Action::AcceptAnswer(id, _) => {
                let connection = self.connections[at].as_mut().unwrap();
                assert_eq!(connection.id, id);
                connection.described = true;
                self.try_open();
            }
            Action::Restart(id, round) | Action::AnswerRestart(id, round, _) => {
                let connection = self.connections[at].as_mut().unwrap();
                assert_eq!(connection.id, id);
                assert!(round > connection.round, "rounds count up");
                connection.round = round;
                let after = self.millis(1, 50);
                let event = if matches!(action, Action::Restart(..)) {
                    Event::RoundOffered { at, id, round }
                } else {
                    Event::RoundAnswered { at, id, round }
                };
                self.at(after, event);
            }
            Action::Hold(id) => assert_eq!(self.connections[at].unwrap().id, id),
            Action::AcceptRestart(id, round, _) => self.round_described(at, id, round),
            Action::AddCandidate(id, _) => {
                assert_eq!(self.connections[at].unwrap().id, id);
            }
            Action::Drop(id) => {
                self.dropped += 1;
                assert_eq!(self.connections[at].take().unwrap().id, id);
                let after = self.millis(1, 500);
                self.at(after, Event::Lost { at: 1 - at, id });
            }
            Action::Send(signal) => self.send(1 - at, signal),
            Action::State(state) => {
                self.last_change = self.now;
                if state == PeerState::Open {
                    self.opened[at] += 1;
                }
            }
        }
    }

    /// A connection opens when both sides have one of the same attempt, with both descriptions.
    fn try_open(&mut self) {
        let [Some(one), Some(two)] = self.connections else {
            return;
        };
        if one.id != two.id || !one.described || !two.described || one.opening {
            return;
        }
        for at in 0..2 {
            self.connections[at].as_mut().unwrap().opening = true;
            let after = self.millis(5, 200);
            self.at(after, Event::Opened { at, id: one.id });
        }
    }

    /// Another way is found when both sides have both descriptions of a round.
    fn round_described(&mut self, at: usize, id: AttemptId, round: u32) {
        let connection = self.connections[at].as_mut().unwrap();
        assert_eq!((connection.id, connection.round), (id, round));
        connection.round_described = round;
        let done = |connection: Option<Connection>| {
            connection.is_some_and(|one| one.id == id && one.round_described == round)
        };
        if self.connections.into_iter().all(done) {
            for at in 0..2 {
                let after = self.millis(5, 200);
                self.at(after, Event::Restarted { at, id, round });
            }
        }
    }

    fn in_round(&self, at: usize, id: AttemptId, round: u32) -> bool {
        self.connections[at].is_some_and(|one| one.id == id && one.round == round)
    }

    fn holds(&self, at: usize, id: AttemptId) -> bool {
        self.connections[at].is_some_and(|connection| connection.id == id)
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Signal { to, signal } => self.machines[to].handle_signal(signal, now),
            Event::Offered { at, id } => {
                if self.holds(at, id) {
                    self.machines[at].offered(id, "offer".to_owned());
                    self.machines[at].found(id, 0, "candidate".to_owned());
                }
            }
            Event::Answered { at, id } => {
                if self.holds(at, id) {
                    self.machines[at].answered(id, "answer".to_owned());
                    self.connections[at].as_mut().unwrap().described = true;
                    self.try_open();
                }
            }
            Event::Opened { at, id } => {
                if self.holds(at, id) && self.holds(1 - at, id) {
                    self.machines[at].opened(id);
                }
            }
            Event::RoundOffered { at, id, round } => {
                if self.in_round(at, id, round) {
                    self.machines[at].restart_offered(id, round, "offer".to_owned());
                    self.machines[at].found(id, round, "candidate".to_owned());
                }
            }
            Event::RoundAnswered { at, id, round } => {
                if self.in_round(at, id, round) {
                    self.machines[at].restart_answered(id, round, "answer".to_owned());
                    self.round_described(at, id, round);
                }
            }
            Event::Restarted { at, id, round } => {
                if self.in_round(at, id, round) && self.holds(1 - at, id) {
                    self.restarted += 1;
                    self.machines[at].restarted(id, round);
                }
            }
            Event::Lost { at, id } => {
                if self.holds(at, id) {
                    self.machines[at].lost(id, now);
                }
            }
            Event::Moved { at } => self.machines[at].network_changed(now),
            Event::Mischief => self.mischief(),
            Event::Tick => {}
        }
        for at in 0..2 {
            self.machines[at].handle_timeout(now);
        }
        self.drain();
    }

    fn mischief(&mut self) {
        if !self.stormy() {
            return;
        }
        let next = self.millis(100, 8000);
        self.at(next, Event::Mischief);
        let at = self.random.random_range(0..2);
        match self.random.random_range(0..4) {
            0 => {
                // The program is killed and started anew; the other side notices by silence.
                self.incarnations[at] += 1;
                let seed = self.random.random();
                self.machines[at] = machine(at, self.incarnations[at], seed);
                if let Some(connection) = self.connections[at].take() {
                    let id = connection.id;
                    self.at(Duration::from_secs(1), Event::Lost { at: 1 - at, id });
                }
                if self.random.random_bool(0.7) {
                    self.machines[at].connect(self.now);
                }
            }
            1 => {
                // The way breaks: both notice, not at the same time.
                for at in 0..2 {
                    if let Some(connection) = self.connections[at] {
                        let after = self.millis(0, 2000);
                        self.at(
                            after,
                            Event::Lost {
                                at,
                                id: connection.id,
                            },
                        );
                    }
                }
            }
            2 => self.machines[at].network_changed(self.now),
            _ => {
                self.machines[0].connect(self.now);
                self.machines[1].connect(self.now);
            }
        }
    }

    fn run(&mut self) {
        let end = self.start + END;
        let mut calm = false;
        loop {
            if !calm && !self.stormy() {
                // Whoever was started anew and waited wants the connection in the end.
                calm = true;
                self.machines[0].connect(self.now);
                self.drain();
            }
            for at in 0..2 {
                if let Some(deadline) = self.machines[at].poll_timeout() {
                    let after = deadline.saturating_duration_since(self.now);
                    self.at(after, Event::Tick);
                }
            }
            let Some(((when, _), event)) = self.events.pop_first() else {
                // Both are open, and nothing is on its way.
                return;
            };
            if when > end {
                return;
            }
            self.now = when;
            self.handle(event);
        }
    }
}

#[test]
fn storms_end_in_one_connection_over_a_thousand_seeds() {
    let (mut opened, mut restarted) = (0, 0);
    for seed in 0..1000 {
        let mut world = World::new(seed);
        world.run();
        let [one, two] = &world.machines;
        assert_eq!(one.state(), PeerState::Open, "seed {seed}: {one:?} {two:?}");
        assert_eq!(two.state(), PeerState::Open, "seed {seed}: {one:?} {two:?}");
        assert_eq!(one.current(), two.current(), "seed {seed}");
        assert_ne!(one.is_offerer(), two.is_offerer(), "seed {seed}");
        let settled = world.last_change - world.start;
        assert!(settled < SETTLED, "seed {seed}: settled after {settled:?}");
        opened += world.opened[0];
        restarted += world.restarted;
    }
    // The storm has opened and broken many, and moved some.
    assert!(opened > 3000, "{opened}");
    assert!(restarted > 500, "{restarted}");
}

/// Both offer at the same moment, and signaling works: one connection, by the first attempt of one of
/// them, within its own delays.
#[test]
fn glare_alone_costs_no_second_attempt() {
    for seed in 0..1000 {
        let mut world = World::new(seed);
        world.loss = 0.0;
        world.start -= STORM;
        world.machines = [machine(0, 1, seed), machine(1, 1, seed + 1)];
        world.connections = [None, None];
        world.events.clear();
        let now = world.now;
        world.machines[0].connect(now);
        world.machines[1].connect(now);
        world.drain();
        world.run();
        for machine in &world.machines {
            assert_eq!(machine.state(), PeerState::Open, "seed {seed}");
            assert_eq!(machine.current().unwrap().number, 1);
        }
        // The greater id offers.
        assert!(world.machines[1].is_offerer());
        assert!(
            world.last_change - now < Duration::from_secs(3),
            "seed {seed}"
        );
    }
}

/// Where signaling works, or loses a few signals, changes of the network on either side or both are
/// rounds of the connection that there is.
#[test]
fn another_network_keeps_the_connection() {
    for seed in 0..1000 {
        let mut world = World::new(seed);
        world.loss = 0.0;
        world.start -= STORM;
        world.run();
        assert_eq!(world.machines[0].state(), PeerState::Open, "seed {seed}");
        let (before, dropped) = (world.machines[0].current(), world.dropped);
        let changed = world.now;
        // One, the other, both; once or twice in a row.
        for at in 0..2 {
            if seed % 3 == 2 || seed % 3 == at {
                world.at(Duration::ZERO, Event::Moved { at: at as usize });
                if seed % 2 == 0 {
                    let after = world.millis(0, 300);
                    world.at(after, Event::Moved { at: at as usize });
                }
            }
        }
        world.lose_next = seed as u32 % 5 / 2;
        let lost = world.lose_next;
        world.run();
        for machine in &world.machines {
            assert_eq!(machine.state(), PeerState::Open, "seed {seed}");
            assert_eq!(machine.current(), before, "seed {seed}");
        }
        assert_eq!(world.dropped, dropped, "seed {seed}: the connection stayed");
        assert!(world.restarted >= 2, "seed {seed}");
        // What was lost is said again after a second.
        let most = Duration::from_secs(2 + u64::from(lost));
        let took = world.last_change - changed;
        assert!(took < most, "seed {seed}: {took:?}");
    }
}
