//! How fast frames below *critical* leave on the unreliable channel.
//!
//! A token bucket whose rate follows what the other side says has arrived:
//!
//! | measured | rate |
//! |---|---|
//! | more than a tenth lost, or queueing of more than 50 ms | down to 0.85 of what arrived |
//! | 2 to 10 % lost | stays: a radio link loses that much without being full |
//! | less, and the rate was in use | up: doubled until the first congestion, then by 8 % |

use std::time::{Duration, Instant};

/// Rate to begin with, bytes a second; doubled by every report until something is lost.
const FIRST_RATE: f64 = 4e6;
/// The rate never falls below, bytes a second.
const MIN_RATE: f64 = 16e3;
/// Nor rises above.
const MAX_RATE: f64 = 1e9;
/// The bucket holds this much of the rate, so that a burst within a tick passes.
const BURST: Duration = Duration::from_millis(50);
/// And never less than this, bytes.
const MIN_BURST: f64 = 16.0 * 1024.0;
/// Queueing that counts as congestion.
const QUEUEING: Duration = Duration::from_millis(50);
/// Loss that counts as congestion, and loss that forbids to go faster.
const HIGH_LOSS: f64 = 0.10;
const SOME_LOSS: f64 = 0.02;
/// Fewer messages in a report than this say nothing about loss.
pub const MIN_REPORT: u64 = 10;

/// See the module's documentation.
#[derive(Debug)]
pub struct Bandwidth {
    rate: f64,
    tokens: f64,
    filled: Instant,
    starting: bool,
    /// Something had to wait since the last report.
    limited: bool,
    sent: (u64, u64),
    /// What had been sent and had arrived at the last report, and when that was.
    reported: Option<Reported>,
    shortest: Option<Duration>,
    latest: Option<Duration>,
    loss: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Reported {
    at: Instant,
    sent: (u64, u64),
    arrived: (u64, u64),
}

impl Bandwidth {
    /// Full to begin with.
    pub fn new(now: Instant) -> Self {
        Self {
            rate: FIRST_RATE,
            tokens: MIN_BURST,
            filled: now,
            starting: true,
            limited: false,
            sent: (0, 0),
            reported: None,
            shortest: None,
            latest: None,
            loss: None,
        }
    }

    /// Bytes a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Share of the messages that was lost between the last two reports; `None`: not measured.
    pub fn loss(&self) -> Option<f64> {
        self.loss
    }

    /// The last round trip of a ping; `None`: not measured.
    pub fn round_trip(&self) -> Option<Duration> {
        self.latest
    }

    /// Whether a frame below *critical* may go now; remembers that one had to wait.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        self.fill(now);
        let allowed = self.tokens > 0.0;
        self.limited |= !allowed;
        allowed
    }

    /// When [`Bandwidth::allows`] says yes next.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        let missing = (1.0 - self.tokens).max(0.0) / self.rate;
        now + Duration::from_secs_f64(missing).max(Duration::from_micros(100))
    }

    /// A message has left; a critical one may leave a debt, at most a burst of it.
    pub(crate) fn on_sent(&mut self, bytes: usize) {
        self.tokens = (self.tokens - bytes as f64).max(-self.burst());
        self.sent = (self.sent.0 + 1, self.sent.1 + bytes as u64);
    }

    /// A ping was answered.
    pub fn on_round_trip(&mut self, time: Duration) {
        self.latest = Some(time);
        self.shortest = Some(self.shortest.map_or(time, |shortest| shortest.min(time)));
    }

    /// The other side says what has arrived so far. Numbers that cannot be are not believed: no more
    /// can arrive than was sent, and never less than before.
    pub fn on_report(&mut self, messages: u64, bytes: u64, now: Instant) {
        let current = Reported {
            at: now,
            sent: self.sent,
            arrived: (messages.min(self.sent.0), bytes.min(self.sent.1)),
        };
        let Some(last) = self.reported.replace(current) else {
            return;
        };
        let span = now.saturating_duration_since(last.at).as_secs_f64();
        // What was sent until the last report has arrived by now or never will. What is on the way
        // now was not there then, or as much of something else was.
        let sent = current.sent.0.saturating_sub(last.sent.0);
        let arrived = current.arrived.0.saturating_sub(last.arrived.0);
        if span <= 0.0 || sent < MIN_REPORT {
            return;
        }
        let loss = 1.0 - (arrived as f64 / sent as f64).min(1.0);
        self.loss = Some(loss);
        let goodput = current.arrived.1.saturating_sub(last.arrived.1) as f64 / span;
        let queueing = self
            .latest
            .zip(self.shortest)
            .map_or(Duration::ZERO, |(latest, shortest)| latest - shortest);
        let limited = std::mem::take(&mut self.limited);
        if loss > HIGH_LOSS || queueing > QUEUEING {
            self.starting = false;
            self.rate = self.rate.min(0.85 * goodput);
        } else if loss > SOME_LOSS {
            self.starting = false;
        } else if limited {
            self.rate *= if self.starting { 2.0 } else { 1.08 };
        }
        self.rate = self.rate.clamp(MIN_RATE, MAX_RATE);
    }

    fn burst(&self) -> f64 {
        (self.rate * BURST.as_secs_f64()).max(MIN_BURST)
    }

    fn fill(&mut self, now: Instant) {
        let span = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + span * self.rate).min(self.burst());
    }
}
