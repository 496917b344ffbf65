//! How much of reliable and file may lie in SCTP at a time.
//!
//! What lies there goes before everything that comes later, so the window is as large as it must be
//! to keep the way busy and no larger. It grows while the time from handing a message over to its
//! acknowledgement stays near the shortest seen, and shrinks when that time exceeds it by more than
//! the target: the idea of LEDBAT (RFC 6817), with the times measured on our side of SCTP.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much our own bulk may delay what comes after it; on long ways a sixteenth of the time there and
/// back, below which a burst cannot be told from a queue.
const TARGET: Duration = Duration::from_millis(2);

/// Smallest window, bytes: a few packets, so that acknowledgements are not delayed (RFC 9260, 6.2:
/// at least every second packet is acknowledged at once).
const MIN_WINDOW: usize = 16 * 1024;

/// Largest window, bytes: 20 MB/s at 50 ms.
const MAX_WINDOW: usize = 1024 * 1024;

/// Largest window on the shortest ways, and up to here it doubles in the beginning, bytes: what the
/// usual socket buffer (212,992 bytes, counted twice by Linux) holds of a burst that the sender hands over
/// in large pieces, measured: half that buffer loses some. The library's SCTP hardly recovers from many
/// losses at once. A larger window brings more per second and delays control by more than a few
/// milliseconds.
const SAFE_WINDOW: usize = 256 * 1024;

/// For each such time there and back the window may be [`SAFE_WINDOW`] larger: that much is spread
/// over the way.
const SPREAD: Duration = Duration::from_millis(10);

/// Least and most of the window that a piece takes: so many pieces make one.
const LEAST_SHARE: usize = 16;
const MOST_SHARE: usize = 8;

/// Shortest and longest piece of a frame, bytes. The longest stays well below what SCTP's other side
/// takes as one message, [`crate::MAX_MESSAGE`]; twice as long brings nothing more.
const MIN_PIECE: usize = 4 * 1024;
const MAX_PIECE: usize = 32 * 1024;
const _: () = assert!(MAX_PIECE + crate::wire::LONGEST_HEADER <= crate::MAX_MESSAGE);

/// Window to begin with, bytes.
const FIRST_WINDOW: usize = 32 * 1024;

/// For how long a shortest time counts; the way may have become another. Two such spans are kept.
const BASE_SPAN: Duration = Duration::from_secs(10);

/// The shortest of so many last times counts (RFC 6817, 2.4.2: a filter against noise): a process that
/// had to wait for the processor is no queue.
const FILTER: usize = 4;

/// Most messages in flight that are timed; the window holds no more of the smallest piece.
const MAX_TIMED: usize = 4096;

/// See the module's documentation.
#[derive(Debug)]
pub struct Pacer {
    window: usize,
    in_flight: usize,
    sent: u64,
    timed: VecDeque<(u64, Instant)>,
    /// Shortest times of this span and the one before.
    base: [Option<Duration>; 2],
    base_since: Option<Instant>,
    /// Doubling until the first delay.
    starting: bool,
    last_cut: Option<Instant>,
    latest: Option<Duration>,
    /// The last [`FILTER`] times.
    recent: VecDeque<Duration>,
}

impl Default for Pacer {
    fn default() -> Self {
        Self {
            window: FIRST_WINDOW,
            in_flight: 0,
            sent: 0,
            timed: VecDeque::new(),
            base: [None, None],
            base_since: None,
            starting: true,
            last_cut: None,
            latest: None,
            recent: VecDeque::new(),
        }
    }
}

/// What our own bulk may delay on a way with this shortest time.
fn target(base: Duration) -> Duration {
    TARGET.max(base / 16)
}

impl Pacer {
    /// Bytes that may still be handed over now.
    pub fn room(&self) -> usize {
        self.window.saturating_sub(self.in_flight)
    }

    /// How long the pieces of a frame are: short beside the window, because the time that a piece
    /// takes by itself counts as delay; not shorter, because each costs the same whatever its length.
    /// An eighth of the window takes an eighth of the time there and back, which is too much where
    /// that is beyond the target.
    pub fn piece(&self) -> usize {
        let share = self.base().map_or(LEAST_SHARE, |base| {
            let times = base.as_secs_f64() / target(base).as_secs_f64();
            (times as usize).clamp(MOST_SHARE, LEAST_SHARE)
        });
        (self.window / share).clamp(MIN_PIECE, MAX_PIECE)
    }

    /// The window, bytes.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The shortest time of the last two spans.
    fn base(&self) -> Option<Duration> {
        self.base.iter().flatten().min().copied()
    }

    /// The last time from handing over to acknowledgement.
    pub fn latest(&self) -> Option<Duration> {
        self.latest
    }

    /// A message of `bytes` was handed over.
    pub fn on_sent(&mut self, bytes: usize, now: Instant) {
        self.in_flight = self.in_flight.saturating_add(bytes);
        self.sent = self.sent.saturating_add(bytes as u64);
        if self.timed.len() < MAX_TIMED {
            self.timed.push_back((self.sent, now));
        }
    }

    /// `outstanding` bytes are not acknowledged yet.
    pub fn on_outstanding(&mut self, outstanding: usize, now: Instant) {
        let acknowledged = self.in_flight.saturating_sub(outstanding);
        // The window was in use; a window that nobody needs does not grow.
        let limited = self.room() < self.piece();
        self.in_flight = outstanding;
        if acknowledged == 0 {
            return;
        }
        let delivered = self.sent.saturating_sub(outstanding as u64);
        let mut time = None;
        while let Some((until, at)) = self.timed.front().copied() {
            if until > delivered {
                break;
            }
            time = Some(now.saturating_duration_since(at));
            self.timed.pop_front();
        }
        if let Some(time) = time {
            self.on_time(time, acknowledged, limited, now);
        }
    }

    fn on_time(&mut self, time: Duration, acknowledged: usize, limited: bool, now: Instant) {
        self.latest = Some(time);
        if self.recent.len() >= FILTER {
            self.recent.pop_front();
        }
        self.recent.push_back(time);
        let time = self.recent.iter().min().copied().unwrap_or(time);
        let since = *self.base_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= BASE_SPAN {
            self.base = [None, self.base[0]];
            self.base_since = Some(now);
        }
        self.base[0] = Some(self.base[0].map_or(time, |base| base.min(time)));
        let base = self.base().unwrap_or(time);
        let queued = time.saturating_sub(base);
        let target = target(base);
        if queued > target {
            self.starting = false;
            // Once per round trip: what is in flight was sent before the cut.
            let due = self
                .last_cut
                .is_none_or(|cut| now.saturating_duration_since(cut) > time);
            if due {
                self.last_cut = Some(now);
                // To what the target allows, and by half at most.
                let fits = self.window as f64 * (base + target).as_secs_f64() / time.as_secs_f64();
                self.window = (fits as usize).max(self.window / 2);
            }
        } else if limited && self.starting {
            self.window = self.window.saturating_add(acknowledged);
            self.starting = self.window < SAFE_WINDOW;
        } else if limited {
            // By an eighth and two packets per round trip, less the nearer the target is.
            let off = 1.0 - queued.as_secs_f64() / target.as_secs_f64();
            let share = acknowledged as f64 / self.window as f64;
            let step = off * share * (2048.0 + self.window as f64 / 8.0);
            self.window = self.window.saturating_add(step as usize);
        }
        let spread = SAFE_WINDOW as f64 * base.as_secs_f64() / SPREAD.as_secs_f64();
        let most = MAX_WINDOW.min(SAFE_WINDOW + spread as usize);
        self.window = self.window.clamp(MIN_WINDOW, most);
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "a test needs an instant to start from"
)]
mod tests {
    use super::*;

    /// A way of `rate` bytes a second and a delay; returns what was delivered in `span` and the
    /// longest queueing time after the first second.
    fn run(rate: f64, delay: Duration, span: Duration) -> (f64, Duration) {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        let step = Duration::from_micros(100);
        let (mut now, mut free_at, mut delivered) = (start, start, 0_usize);
        let mut wire: VecDeque<(Instant, usize)> = VecDeque::new();
        let (mut outstanding, mut worst) = (0_usize, Duration::ZERO);
        while now < start + span {
            while wire.front().is_some_and(|(at, _)| *at <= now) {
                let (_, bytes) = wire.pop_front().unwrap();
                outstanding -= bytes;
                delivered += bytes;
            }
            pacer.on_outstanding(outstanding, now);
            while pacer.room() >= pacer.piece() {
                let bytes = pacer.piece();
                pacer.on_sent(bytes, now);
                outstanding += bytes;
                free_at = free_at.max(now) + Duration::from_secs_f64(bytes as f64 / rate);
                wire.push_back((free_at + delay, bytes));
                if now > start + Duration::from_secs(1) {
                    worst = worst.max(free_at - now);
                }
            }
            now += step;
        }
        (delivered as f64 / span.as_secs_f64(), worst)
    }

    #[test]
    fn the_way_is_kept_busy_and_its_queue_short() {
        for (rate, delay) in [(1e6, 20), (1e7, 20), (1e8, 1), (5e6, 100), (1e8, 0)] {
            let (got, worst) = run(rate, Duration::from_millis(delay), Duration::from_secs(6));
            assert!(got > 0.6 * rate, "{got} of {rate} at {delay} ms");
            // The smallest window alone takes 16 ms at 1 MB/s.
            let least = Duration::from_secs_f64(1.3 * MIN_WINDOW as f64 / rate);
            let bound = least.max(4 * TARGET.max(Duration::from_millis(delay) / 16));
            assert!(worst < bound, "{worst:?} at {rate} B/s, {delay} ms");
        }
    }

    #[test]
    fn a_piece_stays_a_message_that_the_other_side_takes() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        let mut now = start;
        let mut widest = 0;
        // A long way that is never full: the window becomes as large as it may.
        for _ in 0..200 {
            while pacer.room() >= pacer.piece() {
                let bytes = pacer.piece();
                pacer.on_sent(bytes, now);
                widest = widest.max(bytes + crate::wire::LONGEST_HEADER);
            }
            now += Duration::from_millis(100);
            pacer.on_outstanding(0, now);
        }
        assert_eq!(pacer.window(), MAX_WINDOW);
        assert!(widest <= crate::MAX_MESSAGE, "{widest}");
    }

    #[test]
    fn a_way_that_stalls_gets_less() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.on_sent(1000, start);
        pacer.on_outstanding(0, start + Duration::from_millis(1));
        let before = pacer.window();
        let mut now = start + Duration::from_millis(1);
        pacer.on_sent(64_000, now);
        now += Duration::from_secs(1);
        pacer.on_outstanding(0, now);
        // One late acknowledgement may be chance, many are not.
        assert_eq!(pacer.latest(), Some(Duration::from_secs(1)));
        assert!(pacer.window() >= before);
        for _ in 0..12 {
            pacer.on_sent(64_000, now);
            now += Duration::from_millis(1100);
            pacer.on_outstanding(0, now);
        }
        assert_eq!(pacer.window(), MIN_WINDOW);
    }
}
