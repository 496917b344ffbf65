//! What is measured of one carrier, by the stamps of its datagrams.
//!
//! QUIC's own counters do not say how good a carrier is: while every packet is sent twice a loss
//! shows only where both copies vanish, packets travel over other carriers while a path is suspect,
//! and the answer to a path's packet may come over another path. So every datagram of a carrier has
//! a number and the time it was sent at ([`Stamp`]), and copies have their own.
//!
//! # Definitions
//! * **Round trip**: now, minus the own clock that a datagram brings back, which does not contain
//!   how long the other side held it. Shown is the mean of the last 5 s.
//! * **Loss** of a direction: numbers that did not arrive, of those up to the highest that did, in
//!   the last 10 s. What is lost after the highest number is not known to be lost yet.
//! * **Late** (reordering): arrived after one with a higher number.
//! * **Jitter** of a direction: transit times are known but for the offset of the two clocks, which
//!   a difference does not contain. Shown is the 95th percentile of the distance from their median
//!   over the last 10 s; on a link that delays by `d` plus or minus up to `j`, evenly distributed,
//!   that is 0.95 `j`. Clocks that run apart by 100 ppm add at most 0.5 ms.
//!
//! Each of these is `None` below [`MIN_SAMPLES`] datagrams (the round trip: below one).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use warp_protocol::carrier::{CLOCK_WRAP, Stamp};
use warp_protocol::report::Heard;

/// Length of the window of loss, jitter and rates.
const WINDOW: Duration = Duration::from_secs(10);
/// Time between two snapshots of the counts; bounds them to twelve.
const STEP: Duration = Duration::from_secs(1);
/// Length of the window of round trips: what the metrics are told after, by default.
const TRIP_WINDOW: Duration = Duration::from_secs(5);
/// Most samples of a time, the oldest goes: 50 a second for the whole window, 8 KiB each.
const MAX_SAMPLES: usize = 512;
/// Datagrams below which a share or a percentile says nothing: two seconds of heartbeats.
const MIN_SAMPLES: usize = 8;
/// Numbers further away than this are a new beginning and no loss (RFC 3550 A.1: MAX_DROPOUT).
const MAX_GAP: u16 = 3000;
/// So many refused datagrams within [`WINDOW`] are somebody's work: a few come by themselves, of keys
/// and paths that have just gone.
const TAMPERED: usize = 16;
/// How long a carrier is not called tampered with again.
const TOLD_AGAIN: Duration = Duration::from_secs(60);
/// Half the range of a told clock: beyond it, before and after cannot be told apart.
const HALF_CLOCK: u32 = CLOCK_WRAP / 2;

/// Counts since the carrier was opened.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    /// Sent to this side as far as known, or sent by it.
    datagrams: u64,
    lost: u64,
    late: u64,
    /// That arrived or were sent, labels included.
    bytes: u64,
}

/// Counts with what they were a window ago.
#[derive(Debug, Default)]
struct Counts {
    totals: Totals,
    before: VecDeque<(Instant, Totals)>,
}

impl Counts {
    /// Call before a change.
    fn keep(&mut self, now: Instant) {
        if let Some((at, _)) = self.before.back()
            && now.saturating_duration_since(*at) < STEP
        {
            return;
        }
        self.before.push_back((now, self.totals));
        while let Some((at, _)) = self.before.front()
            && now.saturating_duration_since(*at) > WINDOW
        {
            self.before.pop_front();
        }
    }

    /// The start of the window and the counts then.
    fn start(&self, now: Instant) -> Option<(Instant, Totals)> {
        let fresh = |at: Instant| now.saturating_duration_since(at) <= WINDOW;
        self.before.iter().find(|(at, _)| fresh(*at)).copied()
    }

    fn recent(&self, now: Instant) -> Totals {
        let then = self.start(now).map_or(self.totals, |(_, then)| then);
        let Totals {
            datagrams,
            lost,
            late,
            bytes,
        } = self.totals;
        let datagrams = datagrams.saturating_sub(then.datagrams);
        Totals {
            datagrams,
            // What was lost before the window and arrived in it was counted back.
            lost: lost.saturating_sub(then.lost).min(datagrams),
            late: late.saturating_sub(then.late).min(datagrams),
            bytes: bytes.saturating_sub(then.bytes),
        }
    }

    /// Bytes a second; `None` until a second has passed.
    fn rate(&self, now: Instant) -> Option<f64> {
        let (since, then) = self.start(now)?;
        let passed = now.saturating_duration_since(since);
        let bytes = self.totals.bytes.saturating_sub(then.bytes);
        (passed >= STEP).then(|| bytes as f64 / passed.as_secs_f64())
    }
}

/// Times of the last while, microseconds.
#[derive(Debug, Default)]
struct Samples(VecDeque<(Instant, i64)>);

impl Samples {
    fn push(&mut self, now: Instant, value: i64) {
        if self.0.len() >= MAX_SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((now, value));
    }

    /// The newest first.
    fn within(&self, now: Instant, window: Duration) -> impl Iterator<Item = i64> {
        let fresh = move |at: Instant| now.saturating_duration_since(at) <= window;
        let newest = self.0.iter().rev();
        newest
            .take_while(move |(at, _)| fresh(*at))
            .map(|(_, value)| *value)
    }
}

/// The value below which `share` of the values lie (nearest rank).
fn percentile(values: &mut [i64], share: f64) -> Option<i64> {
    values.sort_unstable();
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

/// 95th percentile of the distance from the median.
fn jitter_us(transits: impl Iterator<Item = i64>) -> Option<u32> {
    let mut transits: Vec<i64> = transits.collect();
    if transits.len() < MIN_SAMPLES {
        return None;
    }
    let median = percentile(&mut transits, 0.5)?;
    for value in &mut transits {
        *value = (*value - median).abs();
    }
    let distance = percentile(&mut transits, 0.95)?;
    // The largest number means unknown.
    u32::try_from(distance)
        .ok()
        .filter(|value| *value < u32::MAX)
}

/// Which of the numbers have come.
#[derive(Debug)]
struct Numbers {
    highest: u16,
    /// The 128 numbers up to the highest; bit 0 is the highest itself.
    seen: u128,
}

/// What the next number means.
enum Arrival {
    /// It came before, or so long ago that it cannot be told.
    Known,
    /// The highest yet, with so many missing before it.
    Next(u16),
    /// One that was missing.
    Late,
    /// The sender counts from elsewhere now.
    Anew,
}

impl Numbers {
    fn beginning(number: u16) -> Self {
        Self {
            highest: number,
            // What was sent before the first that arrived is not ours to count.
            seen: u128::MAX,
        }
    }

    fn arrive(&mut self, number: u16) -> Arrival {
        let ahead = number.wrapping_sub(self.highest);
        let behind = self.highest.wrapping_sub(number);
        if (1..=MAX_GAP).contains(&ahead) {
            self.seen = self.seen.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.highest = number;
            return Arrival::Next(ahead - 1);
        }
        if behind > MAX_GAP {
            *self = Self::beginning(number);
            return Arrival::Anew;
        }
        match 1u128.checked_shl(u32::from(behind)) {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                Arrival::Late
            }
            _ => Arrival::Known,
        }
    }
}

/// One carrier, both directions.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Number of the next datagram; goes on when the carrier is opened anew.
    next: u16,
    sent: Counts,
    numbers: Option<Numbers>,
    heard: Counts,
    trips: Samples,
    transits: Samples,
    /// The told clock of the newest transit, to unwrap the next, and the transit.
    transit: Option<(u32, i64)>,
    /// To be brought back by the next datagram: the other side's clock, and when it came.
    echo: Option<(u32, Instant)>,
    /// What the other side said of the datagrams that are sent from here, and when.
    told: Option<(Instant, Heard)>,
    /// When the last [`TAMPERED`] datagrams came that were refused.
    refused: VecDeque<Instant>,
    /// When there were too many of them.
    tampered: Option<Instant>,
}

impl Flow {
    /// The carrier was opened anew: what is known of the old one says nothing of it.
    pub(crate) fn reopen(&mut self) {
        *self = Self {
            next: self.next,
            tampered: self.tampered,
            ..Self::default()
        };
    }

    /// The stamp of a datagram of `len` bytes that leaves now; `clock_us` is the own clock.
    pub(crate) fn stamp(&mut self, now: Instant, clock_us: u32, len: usize) -> Stamp {
        self.sent.keep(now);
        self.sent.totals.datagrams += 1;
        self.sent.totals.bytes += len as u64;
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let echo = self.echo.take().and_then(|(clock, at)| {
            let held = micros(now.saturating_duration_since(at));
            let value = clock.wrapping_add(held) % CLOCK_WRAP;
            // Zero means none; a microsecond more is no error.
            (held < HALF_CLOCK).then_some(value.max(1))
        });
        Stamp {
            number,
            sent: clock_us % CLOCK_WRAP,
            echo,
        }
    }

    /// A datagram of `len` bytes came in.
    pub(crate) fn hear(&mut self, stamp: Stamp, now: Instant, clock_us: u32, len: usize) {
        self.heard.keep(now);
        let arrival = match &mut self.numbers {
            Some(numbers) => numbers.arrive(stamp.number),
            None => {
                self.numbers = Some(Numbers::beginning(stamp.number));
                Arrival::Anew
            }
        };
        let totals = &mut self.heard.totals;
        match arrival {
            Arrival::Known => return,
            Arrival::Next(missing) => {
                totals.datagrams += u64::from(missing) + 1;
                totals.lost += u64::from(missing);
            }
            Arrival::Late => {
                totals.lost = totals.lost.saturating_sub(1);
                totals.late += 1;
            }
            Arrival::Anew => totals.datagrams += 1,
        }
        totals.bytes += len as u64;
        if !matches!(arrival, Arrival::Late) {
            self.echo = Some((stamp.sent, now));
        }
        if let Some(echo) = stamp.echo {
            let trip = clock_us.wrapping_sub(echo) % CLOCK_WRAP;
            // More is a clock that went back, which no honest side has.
            if trip < HALF_CLOCK {
                self.trips.push(now, i64::from(trip));
            }
        }
        let told = clock_us.wrapping_sub(stamp.sent) % CLOCK_WRAP;
        let transit = self.transit.map_or(0, |(before, transit)| {
            let step = told.wrapping_sub(before) % CLOCK_WRAP;
            let step = i64::from(step);
            let back = i64::from(CLOCK_WRAP);
            transit + if step < back / 2 { step } else { step - back }
        });
        self.transit = Some((told, transit));
        self.transits.push(now, transit);
    }

    /// A datagram of this carrier was refused. True when there are too many of them, once in
    /// [`TOLD_AGAIN`].
    pub(crate) fn on_refused(&mut self, now: Instant) -> bool {
        self.refused.push_back(now);
        if self.refused.len() < TAMPERED {
            return false;
        }
        let first = self.refused.pop_front();
        let within = |at: Option<Instant>, span| {
            at.is_some_and(|at| now.saturating_duration_since(at) <= span)
        };
        if !within(first, WINDOW) || within(self.tampered, TOLD_AGAIN) {
            return false;
        }
        self.tampered = Some(now);
        true
    }

    /// The other side's count of what is sent from here.
    pub(crate) fn on_told(&mut self, now: Instant, heard: Heard) {
        self.told = Some((now, heard));
    }

    /// What came in by the labels, for the other side. `None` before anything did.
    pub(crate) fn heard(&self, now: Instant) -> Option<Heard> {
        self.numbers.as_ref()?;
        let recent = self.heard.recent(now);
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Some(Heard {
            recent: small(recent.datagrams),
            recent_lost: small(recent.lost),
            recent_late: small(recent.late),
            jitter_us: jitter_us(self.transits.within(now, WINDOW)),
            total: self.heard.totals.datagrams,
            total_lost: self.heard.totals.lost,
            ..Heard::default()
        })
    }

    /// What the other side said, not longer than `fresh` ago.
    pub(crate) fn told(&self, now: Instant, fresh: Duration) -> Option<Heard> {
        let (at, heard) = self.told?;
        (now.saturating_duration_since(at) <= fresh).then_some(heard)
    }

    /// When the other side last brought a stamp of ours back: it had heard us over this carrier.
    pub(crate) fn answered(&self) -> Option<Instant> {
        self.trips.0.back().map(|(at, _)| *at)
    }

    /// Mean round trip of the last 5 s.
    pub(crate) fn trip(&self, now: Instant) -> Option<Duration> {
        let (mut sum, mut count) = (0, 0);
        for trip in self.trips.within(now, TRIP_WINDOW) {
            sum += trip;
            count += 1;
        }
        let mean = (count > 0).then(|| sum / count)?;
        Some(Duration::from_micros(mean.unsigned_abs()))
    }

    /// Bytes a second that were sent and that came in, labels included.
    pub(crate) fn rates(&self, now: Instant) -> (Option<f64>, Option<f64>) {
        (self.sent.rate(now), self.heard.rate(now))
    }
}

/// Share of `part`, percent; `None` of too few.
pub(crate) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole >= MIN_SAMPLES as u64).then(|| part as f64 / whole as f64 * 100.0)
}

/// Microseconds, saturating.
pub(crate) fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn stamp(number: u16) -> Stamp {
        Stamp {
            number,
            ..Stamp::default()
        }
    }

    #[test]
    fn losses_late_ones_and_copies_are_told_apart() {
        let start = Instant::now();
        let mut flow = Flow::default();
        assert_eq!(flow.heard(start), None, "nothing is known");
        // 65530 is the first; 65533 is lost; 2 and 3 change places; 5 comes twice.
        for (step, number) in [65530, 65531, 65532, 65534, 65535, 0, 1, 3, 2, 4, 5, 5]
            .into_iter()
            .enumerate()
        {
            flow.hear(stamp(number), start + MS * step as u32, 0, 100);
        }
        // Older than the first: not ours to count.
        flow.hear(stamp(65529), start + MS * 20, 0, 100);
        let heard = flow.heard(start + MS * 20).unwrap();
        assert_eq!(
            (heard.recent, heard.recent_lost, heard.recent_late),
            (12, 1, 1)
        );
        assert_eq!((heard.total, heard.total_lost), (12, 1));
        flow.hear(stamp(40_000), start + MS * 30, 0, 100);
        let heard = flow.heard(start + MS * 30).unwrap();
        assert_eq!((heard.total, heard.total_lost), (13, 1), "a new beginning");
    }

    #[test]
    fn the_window_forgets_and_then_nothing_is_known() {
        let start = Instant::now();
        let mut flow = Flow::default();
        for step in 0..60u16 {
            // Every third of the first half is lost.
            if step < 30 && step % 3 == 2 {
                continue;
            }
            flow.hear(stamp(step), start + MS * 500 * u32::from(step), 0, 100);
        }
        let now = start + MS * 29_500;
        let heard = flow.heard(now).unwrap();
        assert_eq!((heard.recent_lost, heard.total_lost), (0, 10));
        assert!((19..=22).contains(&heard.recent), "{heard:?}");
        let later = flow.heard(now + MS * 11_000).unwrap();
        assert_eq!((later.recent, later.jitter_us), (0, None));
        assert_eq!(
            share(u64::from(later.recent_lost), u64::from(later.recent)),
            None
        );
    }

    #[test]
    fn a_round_trip_leaves_out_how_long_the_other_side_held_it() {
        let start = Instant::now();
        let (mut here, mut there) = (Flow::default(), Flow::default());
        // The clocks are unlike, and both wrap on the way.
        let clock = |now: Instant, offset: u32| {
            micros(now.saturating_duration_since(start)).wrapping_add(offset) % CLOCK_WRAP
        };
        let (ours, theirs) = (CLOCK_WRAP - 30_000, CLOCK_WRAP - 1_000_000);
        assert_eq!(here.trip(start), None);
        for round in 0..20u32 {
            let sent = start + MS * 100 * round;
            let out = here.stamp(sent, clock(sent, ours), 50);
            let there_at = sent + MS * 25;
            there.hear(out, there_at, clock(there_at, theirs), 50);
            let answered = there_at + MS * 40;
            let back = there.stamp(answered, clock(answered, theirs), 50);
            let here_at = answered + MS * 15;
            here.hear(back, here_at, clock(here_at, ours), 50);
        }
        let now = start + MS * 2_000;
        assert_eq!(here.trip(now), Some(MS * 40));
        assert_eq!(here.heard(now).unwrap().jitter_us, Some(0));
        assert_eq!(here.trip(now + MS * 6_000), None, "old news");
    }

    #[test]
    fn jitter_is_the_distance_from_the_middle_that_95_of_100_keep() {
        let start = Instant::now();
        let mut flow = Flow::default();
        for step in 0..400u32 {
            let sent = step * 20_000;
            // 20 ms plus or minus up to 5 ms, evenly.
            let transit = 15_000 + (step * 7_919 % 400) * 25;
            let arrived = sent + transit;
            let stamp = Stamp {
                number: step as u16,
                sent: sent % CLOCK_WRAP,
                echo: None,
            };
            let now = start + Duration::from_micros(u64::from(arrived));
            flow.hear(stamp, now, arrived % CLOCK_WRAP, 50);
        }
        let jitter = flow.heard(start + MS * 8_100).unwrap().jitter_us.unwrap();
        assert!((4_700..=4_800).contains(&jitter), "{jitter}");
    }

    #[test]
    fn rates_are_of_the_window_and_unknown_at_first() {
        let start = Instant::now();
        let mut flow = Flow::default();
        flow.stamp(start, 0, 100);
        assert_eq!(flow.rates(start + MS * 500), (None, None));
        for step in 1..=40u32 {
            flow.stamp(start + MS * 250 * step, 0, 100);
        }
        let (up, down) = flow.rates(start + MS * 10_000);
        assert!((up.unwrap() - 400.0).abs() < 50.0, "{up:?}");
        assert_eq!(down, None);
    }
}
