//! One node's side of the lease on a shard.
//!
//! The store keeps, per shard, who holds the lease and until when by the store's clock, and the
//! fencing number and holder of the latest tenure. Its side, which runs at once or not at all:
//!
//! * [`Ask::Acquire`]: while another holds the lease, [`Answer::Held`]. For [`LeaseTimes::guard`]
//!   after its own start the store gives no lease to anybody ([`Answer::TooEarly`]): it may have
//!   forgotten one. After it stood still it waits for the latest holder for two beats. Otherwise the
//!   caller has it, with a fencing number larger than all before.
//! * [`Ask::Renew`], which only a node sends that may act: it goes on while the caller holds it, and
//!   also when the store has forgotten it and nobody has had a later one. [`Answer::Held`] otherwise.
//!
//! The node's side:
//!
//! * It may act from the answer that gives it the lease until [`LeaseTimes::own`] after the moment at
//!   which it *sent* what was answered. Answers that come later change nothing.
//! * When that time is over without a renewal, it is *suspended*: it may not act, and keeps what it
//!   has. It asks again. When the store says that nobody else held the lease meanwhile, it goes on
//!   where it was; otherwise, or after [`LeaseTimes::keep`], what it had is lost.
//!
//! Times are durations since any fixed start of the node's own monotonic clock.

use std::time::Duration;

/// The rate of each clock differs from true time by at most so much.
pub const MAX_DRIFT_PERCENT: u32 = 1;

/// The times that follow from the length of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// Length of a lease in the store.
    pub lease: Duration,
}

impl LeaseTimes {
    /// How long the node may act, counted from when it asked: shorter by the drift of two clocks,
    /// and a percent more.
    pub fn own(&self) -> Duration {
        self.lease * (100 - 2 * MAX_DRIFT_PERCENT - 1) / 100
    }

    /// How often a node asks: three times per lease, and at least every second, so that it is known
    /// within two whether the store answers.
    pub fn beat(&self) -> Duration {
        (self.lease / 3).min(Duration::from_secs(1))
    }

    /// For so long after its start the store gives no lease. Longer than any that it may have
    /// forgotten, and whole seconds, in which stores tell how long they have been up.
    pub fn guard(&self) -> Duration {
        let longest = self.lease * (100 + 2 * MAX_DRIFT_PERCENT) / 100;
        Duration::from_secs(longest.as_secs() + 2)
    }

    /// For so long a suspended node keeps what it has.
    pub fn keep(&self) -> Duration {
        self.lease * 10
    }
}

/// What the store is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// To have the lease.
    Acquire,
    /// To keep it, under this fencing number.
    Renew {
        /// Of the present tenure.
        fence: u64,
    },
}

/// What the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The lease is the caller's.
    Granted {
        /// Fencing number of the tenure that begins.
        fence: u64,
        /// The latest tenure before was the caller's own too.
        unbroken: bool,
    },
    /// It is the caller's for another lease's length.
    Renewed,
    /// Another has it, or has had it since.
    Held {
        /// How much of it is left at most.
        remaining: Duration,
    },
    /// The store has not been up for long enough.
    TooEarly,
}

/// What has become of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The node owns the shard, and begins with nothing.
    Gained {
        /// Of the tenure.
        fence: u64,
    },
    /// It may not act until it hears more; what it has stays.
    Suspended,
    /// It may act again, on what it has.
    Resumed {
        /// Of the tenure that goes on.
        fence: u64,
    },
    /// What it had is void.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Held { fence: u64, until: Duration },
    Suspended { fence: u64, since: Duration },
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    number: u64,
    ask: Ask,
    at: Duration,
}

/// One node's side of one lease.
#[derive(Debug)]
pub struct Lease {
    times: LeaseTimes,
    state: State,
    asked: Option<Asked>,
    asks: u64,
    /// When the store is asked next.
    next: Duration,
}

impl Lease {
    /// A node that holds nothing, and asks at once.
    pub fn new(times: LeaseTimes) -> Self {
        Self {
            times,
            state: State::Free,
            asked: None,
            asks: 0,
            next: Duration::ZERO,
        }
    }

    /// The fencing number under which the node may act at `now`; none: it may not.
    pub fn may_act(&self, now: Duration) -> Option<u64> {
        match self.state {
            State::Held { fence, until } if now < until => Some(fence),
            _ => None,
        }
    }

    /// Until when the node may act, if it may.
    pub fn until(&self) -> Option<Duration> {
        match self.state {
            State::Held { until, .. } => Some(until),
            _ => None,
        }
    }

    /// What is over at `now`. To be called before anything else that happens at `now`.
    pub fn tick(&mut self, now: Duration) -> Option<Change> {
        match self.state {
            State::Held { fence, until } if now >= until => {
                self.state = State::Suspended {
                    fence,
                    since: until,
                };
                // At once: it may be a matter of one lost answer.
                self.next = self.next.min(now);
                Some(Change::Suspended)
            }
            State::Suspended { since, .. } if now >= since + self.times.keep() => {
                self.state = State::Free;
                Some(Change::Lost)
            }
            _ => None,
        }
    }

    /// What the store is to be asked at `now`, with a number for the answer; none: nothing yet. What
    /// was asked before and not answered is given up.
    pub fn ask(&mut self, now: Duration) -> Option<(u64, Ask)> {
        if now < self.next {
            return None;
        }
        let ask = match self.state {
            State::Held { fence, until } if now < until => Ask::Renew { fence },
            _ => Ask::Acquire,
        };
        self.next = now + self.times.beat();
        self.asks += 1;
        let number = self.asks;
        self.asked = Some(Asked {
            number,
            ask,
            at: now,
        });
        Some((number, ask))
    }

    /// The store is to be asked at once, because something has happened there.
    pub fn hurry(&mut self) {
        self.next = Duration::ZERO;
    }

    /// When [`Lease::tick`] or [`Lease::ask`] has something to do next.
    pub fn next(&self) -> Duration {
        match self.state {
            State::Free => self.next,
            State::Held { until, .. } => self.next.min(until),
            State::Suspended { since, .. } => self.next.min(since + self.times.keep()),
        }
    }

    /// The store has answered the ask of this number, or has not (`None`).
    pub fn answered(&mut self, now: Duration, number: u64, answer: Option<Answer>) -> Vec<Change> {
        let mut changes: Vec<Change> = self.tick(now).into_iter().collect();
        let Some(asked) = self.asked.take_if(|asked| asked.number == number) else {
            return changes;
        };
        let until = asked.at + self.times.own();
        let in_time = now < until;
        match (answer, asked.ask) {
            (None, _) => {}
            (Some(Answer::Renewed), Ask::Renew { fence }) => match self.state {
                State::Held {
                    fence: now_held, ..
                } if now_held == fence => {
                    self.state = State::Held { fence, until };
                }
                State::Suspended { fence: kept, .. } if kept == fence && in_time => {
                    self.state = State::Held { fence, until };
                    changes.push(Change::Resumed { fence });
                }
                _ => {}
            },
            (Some(Answer::Granted { fence, unbroken }), Ask::Acquire) => {
                changes.extend(self.granted(fence, unbroken, until, in_time));
            }
            (Some(Answer::Held { remaining }), ask) => {
                if self.state != State::Free {
                    self.state = State::Free;
                    changes.push(Change::Lost);
                }
                if ask == Ask::Acquire {
                    // When the other's lease ends is when it is worth asking.
                    let end = now + remaining + Duration::from_millis(10);
                    self.next = self.next.min(end);
                }
            }
            (Some(Answer::TooEarly), Ask::Acquire) => {}
            // No answer to what was asked.
            (Some(_), _) => {}
        }
        changes
    }

    fn granted(
        &mut self,
        fence: u64,
        unbroken: bool,
        until: Duration,
        in_time: bool,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if let State::Suspended { since, .. } = self.state {
            match (unbroken, in_time) {
                (true, true) => {
                    self.state = State::Held { fence, until };
                    return vec![Change::Resumed { fence }];
                }
                (true, false) => {
                    self.state = State::Suspended { fence, since };
                    return changes;
                }
                (false, _) => {
                    self.state = State::Free;
                    changes.push(Change::Lost);
                }
            }
        }
        // One that comes too late is the store's to forget, or this node's to ask for again.
        if in_time && self.state == State::Free {
            self.state = State::Held { fence, until };
            changes.push(Change::Gained { fence });
        }
        changes
    }
}
