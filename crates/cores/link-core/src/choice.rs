//! Which path is the better one, by what is measured.
//!
//! # Cost
//! ```text
//! cost = round trip + jitter + 10 ms × share of exchanges that lose a packet, in percent
//! ```
//! in milliseconds: what a player feels of a path, its tail included. The jitter is that of the worse
//! direction; ten milliseconds for each percent is what a loss of one percent adds to the 99th
//! percentile of a packet that is sent twice ([`crate::LinkConfig::redundancy`]), rounded up
//! (docs/bench: 12 ms at 1 %). A path of which one of the figures is not known has no cost, and cannot
//! win.
//!
//! Figures of a carrier are those of its own datagrams (`flow`), which a host that forwards them can
//! falsify. So those of the path in use are never better than the round trip that QUIC saw and the share
//! of its packets that came (`packets`), which nobody on the way can falsify: a host that lies is chosen
//! once, found out in use, left, and not tried again for a while that doubles each time.
//!
//! # Choice
//! The path in use stays until another costs less by a margin (`margin_ms`) in each of
//! `WINDOWS` windows of a second, one after the other, or by `SLIGHT_MS` in each of
//! `PATIENT_WINDOWS`: in the long run nobody is worse off than that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use warp_protocol::carrier::PathKind;

/// Windows that a challenger has to win without a break.
pub(crate) const WINDOWS: u32 = 4;
/// And one whose advantage is slight.
pub(crate) const PATIENT_WINDOWS: u32 = 30;
/// Length of a window.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);
/// Milliseconds that each percent of lost exchanges costs.
const LOSS_MS: f64 = 10.0;
/// The least advantage that counts, ms: below it nobody feels a difference, and a move has a cost too.
const MARGIN_MS: f64 = 5.0;
/// The same as a share of the cost of the path in use.
const MARGIN_SHARE: f64 = 0.1;
/// An advantage that counts when it lasts, ms; and how much more a path may cost that is preferred.
pub(crate) const SLIGHT_MS: f64 = 2.0;
/// A path that was left for its cost so soon after it was taken for it had promised too much.
const PROMISE: Duration = Duration::from_secs(60);
/// How long such a path is not tried again, the first time; doubles each time.
const FIRST_BENCH: Duration = Duration::from_secs(60);
/// Doublings at most: sixteen minutes.
const MAX_DOUBLINGS: u32 = 4;

/// What two paths cost when the game was moved from one to the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct Costs {
    /// Of the path that was left, ms.
    pub from_ms: f64,
    /// Of the path that was taken, ms.
    pub to_ms: f64,
}

/// Figures of one path; see [`cost_ms`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    pub(crate) rtt_ms: f64,
    pub(crate) jitter_ms: f64,
    /// Towards the endpoint and towards the player.
    pub(crate) loss_percent: [f64; 2],
}

/// See the module's documentation.
pub(crate) fn cost_ms(measured: &Measured) -> f64 {
    let [there, back] = measured
        .loss_percent
        .map(|percent| 1.0 - percent.clamp(0.0, 100.0) / 100.0);
    let lost_percent = (1.0 - there * back) * 100.0;
    measured.rtt_ms + measured.jitter_ms + LOSS_MS * lost_percent
}

/// What a challenger has to be better by.
pub(crate) fn margin_ms(incumbent: f64) -> f64 {
    MARGIN_MS.max(incumbent * MARGIN_SHARE)
}

/// Windows that a challenger has won in a row, up to the last one.
#[derive(Debug, Clone, Copy, Default)]
struct Wins {
    by_margin: u32,
    slightly: u32,
}

impl Wins {
    /// After one more window.
    fn after(self, by_margin: bool, slightly: bool) -> Self {
        let count = |wins: u32, won: bool| if won { wins.saturating_add(1) } else { 0 };
        Self {
            by_margin: count(self.by_margin, by_margin),
            slightly: count(self.slightly, slightly),
        }
    }

    fn enough(self) -> bool {
        self.by_margin >= WINDOWS || self.slightly >= PATIENT_WINDOWS
    }
}

/// Who has won how many windows in a row, and who promised too much.
#[derive(Debug, Default)]
pub(crate) struct Contest {
    /// When the next window ends.
    next: Option<Instant>,
    wins: BTreeMap<PathKind, Wins>,
    /// When the path in use was taken for its cost.
    taken: Option<(PathKind, Instant)>,
    /// By kind: promises that were not kept.
    broken: BTreeMap<PathKind, u32>,
}

impl Contest {
    /// When the next window ends; `None` before the first.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// True once a window has ended; the next one begins.
    pub(crate) fn window_ends(&mut self, now: Instant) -> bool {
        match self.next {
            Some(at) if now < at => false,
            Some(_) => {
                self.next = Some(now + WINDOW);
                true
            }
            None => {
                self.next = Some(now + WINDOW);
                false
            }
        }
    }

    /// A window has ended: `challengers` with their cost, beside the path in use. Gives the one that
    /// has won often enough.
    pub(crate) fn judge(
        &mut self,
        incumbent_ms: f64,
        challengers: &[(PathKind, f64)],
    ) -> Option<PathKind> {
        let limit = incumbent_ms - margin_ms(incumbent_ms);
        let after = |(kind, cost): &(PathKind, f64)| {
            let before = self.wins.get(kind).copied().unwrap_or_default();
            let slightly = *cost < incumbent_ms - SLIGHT_MS;
            (*kind, before.after(*cost < limit, slightly))
        };
        self.wins = challengers.iter().map(after).collect();
        challengers
            .iter()
            .filter(|(kind, _)| self.wins.get(kind).is_some_and(|wins| wins.enough()))
            .min_by(|(_, one), (_, other)| one.total_cmp(other))
            .map(|(kind, _)| *kind)
    }

    /// The path in use is another one; windows count from the start. Gives how long the one that was
    /// left is not to be tried, when it promised too much.
    pub(crate) fn moved(
        &mut self,
        from: PathKind,
        to: PathKind,
        by_cost: bool,
        now: Instant,
    ) -> Option<Duration> {
        self.wins.clear();
        let kept = self.taken.take();
        if by_cost {
            self.taken = Some((to, now));
        }
        let (kind, since) = kept?;
        if !by_cost || kind != from || now.saturating_duration_since(since) > PROMISE {
            return None;
        }
        let broken = self.broken.entry(from).or_default();
        let bench = FIRST_BENCH * 2u32.pow((*broken).min(MAX_DOUBLINGS));
        *broken = broken.saturating_add(1);
        Some(bench)
    }

    /// Whether the path in use was taken lately because it costs less, and not for a failure or by
    /// order. After that a preferred path that costs no more may take the game back.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) <= PROMISE;
        self.taken.is_some_and(|(_, at)| lately(at))
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: PathKind = PathKind::Host;
    const TWO: PathKind = PathKind::Wss;

    #[test]
    fn a_challenger_wins_by_the_margin_in_windows_without_a_break() {
        let mut contest = Contest::default();
        for _ in 1..WINDOWS {
            assert_eq!(contest.judge(40.0, &[(ONE, 30.0), (TWO, 36.0)]), None);
        }
        // One window that it does not win, and it starts again.
        assert_eq!(contest.judge(40.0, &[(ONE, 35.5), (TWO, 36.0)]), None);
        for _ in 1..WINDOWS {
            assert_eq!(contest.judge(40.0, &[(ONE, 30.0), (TWO, 20.0)]), None);
        }
        assert_eq!(
            contest.judge(40.0, &[(ONE, 30.0), (TWO, 20.0)]),
            Some(TWO),
            "the cheapest of those that have won"
        );
    }

    #[test]
    fn a_slight_advantage_wins_when_it_lasts() {
        let mut contest = Contest::default();
        let mut windows = |count: u32, cost: f64| {
            let judge = |_| contest.judge(100.0, &[(TWO, cost)]);
            (0..count).map(judge).find_map(|winner| winner)
        };
        assert_eq!(windows(PATIENT_WINDOWS - 1, 97.5), None);
        assert_eq!(windows(1, 98.5), None, "too slight, and it starts again");
        assert_eq!(windows(PATIENT_WINDOWS - 1, 97.5), None);
        assert_eq!(windows(1, 97.5), Some(TWO));
    }

    #[test]
    fn a_broken_promise_benches_longer_each_time() {
        let start = Instant::now();
        let mut contest = Contest::default();
        let (direct, host) = (PathKind::Direct, PathKind::Host);
        let second = Duration::from_secs(1);
        assert_eq!(contest.moved(direct, host, true, start), None);
        assert!(contest.holds(start + second * 59));
        assert!(!contest.holds(start + second * 61));
        let bench = contest.moved(host, direct, true, start + second * 10);
        assert_eq!(bench, Some(FIRST_BENCH));
        let later = start + second * 500;
        assert_eq!(contest.moved(direct, host, true, later), None);
        assert_eq!(
            contest.moved(host, direct, true, later + second),
            Some(FIRST_BENCH * 2)
        );
        // Left for a failure, or after it has kept its promise for long: no bench.
        let later = later + second * 500;
        assert_eq!(contest.moved(direct, host, true, later), None);
        assert_eq!(contest.moved(host, direct, false, later + second), None);
        let later = later + second * 500;
        assert_eq!(contest.moved(direct, host, true, later), None);
        let kept = later + PROMISE + second;
        assert_eq!(contest.moved(host, direct, true, kept), None);
    }

    #[test]
    fn loss_and_jitter_cost_as_documented() {
        let measured = Measured {
            rtt_ms: 40.0,
            jitter_ms: 3.0,
            loss_percent: [1.0, 0.0],
        };
        assert!((cost_ms(&measured) - 53.0).abs() < 1e-9);
    }

    proptest! {
        /// Two paths whose costs stay within the margin of each other never take the game in turns.
        #[test]
        fn paths_that_are_about_as_good_do_not_take_turns(
            costs in prop::collection::vec((20.0..24.0f64, 20.0..24.0f64), 1..200),
        ) {
            let mut contest = Contest::default();
            for (incumbent, challenger) in costs {
                prop_assert_eq!(contest.judge(incumbent, &[(ONE, challenger)]), None);
            }
        }
    }
}
