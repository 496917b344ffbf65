//! Single cases, and random clusters: nodes with clocks of different rates, messages that are late or
//! lost, nodes and stores that stand still, stores that begin anew with nothing.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const TIMES: LeaseTimes = LeaseTimes {
    lease: Duration::from_secs(3),
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A node that was granted a lease at 0.
fn owner() -> Lease {
    let mut lease = Lease::new(TIMES);
    let (number, ask) = lease.ask(ms(0)).unwrap();
    assert_eq!(ask, Ask::Acquire);
    let granted = Answer::Granted {
        fence: 7,
        unbroken: false,
    };
    let gained = lease.answered(ms(5), number, Some(granted));
    assert_eq!(gained, [Change::Gained { fence: 7 }]);
    lease
}

#[test]
fn a_lease_counts_from_the_question_and_ends_before_the_stores() {
    let lease = owner();
    assert_eq!(lease.until(), Some(ms(2910)));
    assert_eq!(lease.may_act(ms(2909)), Some(7));
    assert_eq!(lease.may_act(ms(2910)), None);
}

#[test]
fn without_answers_an_owner_is_suspended_and_goes_on_when_nobody_else_was() {
    let mut lease = owner();
    let (number, ask) = lease.ask(ms(1000)).unwrap();
    assert_eq!(ask, Ask::Renew { fence: 7 });
    assert_eq!(lease.answered(ms(1300), number, None), []);
    assert_eq!(lease.tick(ms(3000)), Some(Change::Suspended));
    let (number, ask) = lease.ask(ms(3000)).unwrap();
    assert_eq!(ask, Ask::Acquire);
    let granted = Answer::Granted {
        fence: 8,
        unbroken: true,
    };
    let resumed = lease.answered(ms(3010), number, Some(granted));
    assert_eq!(resumed, [Change::Resumed { fence: 8 }]);
    assert_eq!(lease.may_act(ms(3010)), Some(8));
}

#[test]
fn whoever_was_frozen_finds_its_lease_gone_before_it_acts() {
    let mut lease = owner();
    // It wakes up an hour later, and another has the lease.
    let now = ms(3_600_000);
    assert_eq!(lease.may_act(now), None);
    // Too long to keep anything.
    assert_eq!(lease.tick(now), Some(Change::Suspended));
    assert_eq!(lease.tick(now), Some(Change::Lost));
    let mut lease = owner();
    let now = ms(6000);
    assert_eq!(lease.tick(now), Some(Change::Suspended));
    let (number, _) = lease.ask(now).unwrap();
    let held = Answer::Held {
        remaining: ms(2000),
    };
    assert_eq!(lease.answered(now, number, Some(held)), [Change::Lost]);
    assert_eq!(lease.next(), now + TIMES.beat());
}

#[test]
fn an_answer_that_comes_too_late_gives_nothing() {
    let mut lease = Lease::new(TIMES);
    let (number, _) = lease.ask(ms(0)).unwrap();
    let granted = Answer::Granted {
        fence: 1,
        unbroken: false,
    };
    assert_eq!(lease.answered(ms(2910), number, Some(granted)), []);
    // Nor does one to a question that was given up.
    let (old, _) = lease.ask(ms(3000)).unwrap();
    lease.ask(ms(4000)).unwrap();
    assert_eq!(lease.answered(ms(4001), old, Some(granted)), []);
    assert_eq!(lease.may_act(ms(4001)), None);
}

/// The store, as its side of the rules has it. Times are ms of its own clock.
#[derive(Debug, Clone)]
struct Store {
    started: f64,
    held: Option<(usize, f64)>,
    last: Option<(u64, usize)>,
}

impl Store {
    fn carry_out(&mut self, now: f64, node: usize, ask: Ask) -> Answer {
        if self.held.is_some_and(|(_, until)| now >= until) {
            self.held = None;
        }
        let lease = TIMES.lease.as_secs_f64() * 1000.0;
        let last = self.last.map_or(0, |(fence, _)| fence);
        let held = || Answer::Held {
            remaining: ms(self.held.map_or(0, |(_, until)| (until - now) as u64)),
        };
        match ask {
            Ask::Renew { fence } => {
                let mine = self.held.is_some_and(|(by, _)| by == node);
                let forgotten = self.held.is_none()
                    && (last < fence || self.last.is_some_and(|(_, by)| by == node));
                if !(mine || forgotten && last <= fence) {
                    return held();
                }
                self.held = Some((node, now + lease));
                self.last = Some((fence, node));
                Answer::Renewed
            }
            Ask::Acquire if self.held.is_some_and(|(by, _)| by != node) => held(),
            Ask::Acquire
                if ((now - self.started) / 1000.0).floor() < TIMES.guard().as_secs_f64() =>
            {
                Answer::TooEarly
            }
            Ask::Acquire => {
                // Numbers never fall behind the store's wall clock, so they grow over its restarts.
                let fence = (last + 1).max(now as u64);
                let unbroken = self.last.is_some_and(|(_, by)| by == node);
                self.held = Some((node, now + lease));
                self.last = Some((fence, node));
                Answer::Granted { fence, unbroken }
            }
        }
    }
}

/// What happens from outside, ms of true time.
#[derive(Debug, Clone)]
struct Plan {
    /// Rates of the nodes' clocks and of the store's.
    rates: [f64; 4],
    /// Node, from, for how long it stands still.
    pauses: Vec<(usize, u32, u32)>,
    /// The store stands still.
    freezes: Vec<(u32, u32)>,
    /// The store begins anew: with nothing, or with what it had some time before.
    restarts: Vec<(u32, bool)>,
    /// Delay of a question and of its answer; above 900 it is lost.
    delays: Vec<(u32, u32)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let rate = || 0.99..1.01_f64;
    let from = 0..24_000_u32;
    let delay = || prop_oneof![6 => 0..20_u32, 2 => 0..1000_u32];
    (
        (rate(), rate(), rate(), rate()),
        prop::collection::vec((0..3_usize, from.clone(), 0..8000_u32), 0..6),
        prop::collection::vec((from.clone(), 0..6000_u32), 0..3),
        prop::collection::vec((from, any::<bool>()), 0..3),
        prop::collection::vec((delay(), delay()), 40),
    )
        .prop_map(|(rates, pauses, freezes, restarts, delays)| Plan {
            rates: rates.into(),
            pauses,
            freezes,
            restarts,
            delays,
        })
}

enum Post {
    Question(usize, u64, Ask, u32),
    Answered(usize, u64, Answer),
}

/// Runs a plan for 30 s of true time. Gives the tenures, as node and fencing number, in their order.
fn run(plan: &Plan) -> Result<Vec<(usize, u64)>, TestCaseError> {
    let mut nodes = [0, 1, 2].map(|_| Lease::new(TIMES));
    let clock = |node: usize, t: u64| Duration::from_secs_f64(t as f64 * plan.rates[node] / 1000.0);
    let stores_clock = |t: u64| 1e9 + t as f64 * plan.rates[3];
    let mut store = Store {
        started: stores_clock(0) - 1e6,
        held: None,
        last: None,
    };
    let mut snapshot = store.clone();
    let mut post: Vec<(u64, Post)> = Vec::new();
    let mut tenures = Vec::new();
    let mut sent = 0;
    let within =
        |from: u32, time: u32, t: u64| (u64::from(from)..u64::from(from + time)).contains(&t);
    for t in 0..30_000_u64 {
        for (at, empty) in &plan.restarts {
            if u64::from(*at) == t {
                store = if *empty {
                    Store {
                        started: 0.0,
                        held: None,
                        last: None,
                    }
                } else {
                    snapshot.clone()
                };
                store.started = stores_clock(t);
                // Connections break, and with them what was on the way.
                post.clear();
            }
        }
        if t % 2500 == 0 {
            snapshot = store.clone();
        }
        let frozen = plan
            .freezes
            .iter()
            .any(|(from, time)| within(*from, *time, t));
        let mut due = Vec::new();
        post.retain_mut(|(at, one)| {
            let waits = *at > t || (frozen && matches!(one, Post::Question(..)));
            if !waits {
                due.push(std::mem::replace(
                    one,
                    Post::Answered(0, 0, Answer::TooEarly),
                ));
            }
            waits
        });
        for one in due {
            match one {
                Post::Question(node, number, ask, back) => {
                    let answer = store.carry_out(stores_clock(t), node, ask);
                    if back < 900 {
                        post.push((t + u64::from(back), Post::Answered(node, number, answer)));
                    }
                }
                Post::Answered(node, number, answer) => {
                    // A node that stands still finds it when it goes on.
                    let paused = |t| {
                        plan.pauses
                            .iter()
                            .any(|(n, f, d)| *n == node && within(*f, *d, t))
                    };
                    if paused(t) {
                        post.push((t + 1, Post::Answered(node, number, answer)));
                        continue;
                    }
                    let changes = nodes[node].answered(clock(node, t), number, Some(answer));
                    for change in changes {
                        if let Change::Gained { fence } | Change::Resumed { fence } = change {
                            tenures.push((node, fence));
                        }
                    }
                }
            }
        }
        for (node, lease) in nodes.iter_mut().enumerate() {
            let paused = plan
                .pauses
                .iter()
                .any(|(n, f, d)| *n == node && within(*f, *d, t));
            if paused {
                continue;
            }
            let now = clock(node, t);
            while lease.tick(now).is_some() {}
            if let Some((number, ask)) = lease.ask(now) {
                let (there, back) = plan.delays[sent % plan.delays.len()];
                sent += 1;
                if there < 900 {
                    let question = Post::Question(node, number, ask, back);
                    post.push((t + u64::from(there), question));
                }
            }
        }
        // Also of those that stand still just now: they may wake up in this very moment.
        let acting: Vec<_> = nodes
            .iter()
            .enumerate()
            .filter(|(node, lease)| lease.may_act(clock(*node, t)).is_some())
            .map(|(node, _)| node)
            .collect();
        prop_assert!(acting.len() <= 1, "at {} ms nodes {:?} may act", t, acting);
    }
    Ok(tenures)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn never_two_nodes_may_act_and_fencing_numbers_grow(plan in plan()) {
        let tenures = run(&plan)?;
        for pair in tenures.windows(2) {
            let [(one, before), (other, after)] = pair else { unreachable!() };
            prop_assert!(after > before || (one == other && after == before), "{:?}", tenures);
        }
    }
}

#[test]
fn undisturbed_one_node_owns_and_goes_on_owning() {
    let plan = Plan {
        rates: [1.0, 1.01, 0.99, 1.0],
        pauses: Vec::new(),
        freezes: Vec::new(),
        restarts: Vec::new(),
        delays: vec![(1, 1)],
    };
    assert_eq!(run(&plan).unwrap().len(), 1);
}

#[test]
fn a_frozen_owner_is_followed_by_another_within_the_lease_and_a_moment() {
    let plan = Plan {
        rates: [1.0; 4],
        pauses: vec![(0, 5000, 10_000)],
        freezes: Vec::new(),
        restarts: Vec::new(),
        delays: vec![(1, 1)],
    };
    let tenures = run(&plan).unwrap();
    assert_eq!(tenures.len(), 2);
    assert_eq!(tenures[0].0, 0);
    assert_ne!(tenures[1].0, 0);
    // The store's clock is in the number: within a lease and a beat.
    let took = tenures[1].1 - 1_000_000_000 - 5000;
    assert!((2000..=3100).contains(&took), "{took} ms");
}

#[test]
fn a_store_that_forgot_everything_interrupts_no_owner() {
    for empty in [true, false] {
        let plan = Plan {
            rates: [1.0; 4],
            pauses: Vec::new(),
            freezes: Vec::new(),
            restarts: vec![(6100, empty)],
            delays: vec![(1, 1)],
        };
        assert_eq!(run(&plan).unwrap().len(), 1);
    }
}
