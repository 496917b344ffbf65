//! What the client counts and measures.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::{Deviation, DeviationCode};

/// How many round trips are kept; older ones make room for newer ones (8 MiB).
const SAMPLES: usize = 1 << 20;

/// Round trips of requests, from the write to the arrival of the first answer, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RoundTrips {
    /// How many were measured (the last million are looked at).
    pub samples: u64,
    /// The shortest.
    pub min: u64,
    /// Half of them were not longer.
    pub p50: u64,
    /// 99 of 100 were not longer.
    pub p99: u64,
    /// 999 of 1000 were not longer.
    #[serde(rename = "p99.9")]
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

/// The outcome of a session.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Every byte was as expected, and all of [`ClientConfig::say`] was answered.
    ///
    /// [`ClientConfig::say`]: super::ClientConfig::say
    pub ok: bool,
    /// The character has stood on a map.
    pub entered: bool,
    /// Who played.
    pub user: String,
    /// Ended early by request.
    pub interrupted: bool,
    /// Connections made, of all three kinds.
    pub connections: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Packets among the received that were about other players.
    pub about_others: u64,
    /// Requests that were answered as expected.
    pub answered: u64,
    /// Changes of map on the same server (0091).
    pub map_changes: u64,
    /// Changes of map server (0AC7).
    pub server_changes: u64,
    /// How often the login server said that the account is still online before it let us in.
    pub login_retries: u64,
    /// Lines of [`ClientConfig::say`] that were answered.
    ///
    /// [`ClientConfig::say`]: super::ClientConfig::say
    pub said: u64,
    /// Server ticks (007F) that nothing of ours had asked for.
    pub extra_time: u64,
    /// How often a bridge has signed the client in again.
    pub reentries: u64,
    /// Lines of chat from before that which were answered after it.
    pub kept_lines: u64,
    /// Round trips in microseconds.
    pub rtt_us: RoundTrips,
    /// The longest time between two expected answers while playing, in milliseconds.
    pub largest_gap_ms: f64,
    /// What was not as expected.
    pub errors: Vec<Deviation>,
}

impl Summary {
    /// Whether the session ended before the character stood on a map, for want of a connection or
    /// of an answer: nothing that came was wrong.
    #[must_use]
    pub fn never_entered(&self) -> bool {
        let without_bytes = |error: &Deviation| {
            matches!(
                error.code,
                DeviationCode::ConnectionLost | DeviationCode::AnswerMissing
            )
        };
        !self.entered && !self.errors.is_empty() && self.errors.iter().all(without_bytes)
    }
}

/// Counts as the session goes on.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) entered: bool,
    pub(super) interrupted: bool,
    pub(super) connections: u64,
    pub(super) packets_sent: u64,
    pub(super) packets_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) about_others: u64,
    pub(super) map_changes: u64,
    pub(super) server_changes: u64,
    pub(super) login_retries: u64,
    pub(super) said: u64,
    pub(super) extra_time: u64,
    pub(super) reentries: u64,
    pub(super) kept_lines: u64,
    answered: u64,
    samples: Vec<u64>,
    last_answer: Option<Instant>,
    largest_gap: Duration,
}

impl Tally {
    /// A request sent at `sent` got its first answer at `now`.
    pub(super) fn answered(&mut self, sent: Instant, now: Instant) {
        let sample = u64::try_from((now - sent).as_micros()).unwrap_or(u64::MAX);
        let place = usize::try_from(self.answered % SAMPLES as u64).unwrap_or(0);
        match self.samples.get_mut(place) {
            Some(old) => *old = sample,
            None => self.samples.push(sample),
        }
        self.answered += 1;
    }

    /// An expected answer came while playing.
    pub(super) fn answer_in_play(&mut self, now: Instant) {
        if let Some(last) = self.last_answer.replace(now) {
            self.largest_gap = self.largest_gap.max(now - last);
        }
    }

    /// Playing is over: what comes now leaves no gap.
    pub(super) fn end_of_play(&mut self) {
        self.last_answer = None;
    }

    /// `to_say`: how many lines had to be answered.
    pub(super) fn summary(
        mut self,
        user: String,
        to_say: usize,
        errors: Vec<Deviation>,
    ) -> Summary {
        self.samples.sort_unstable();
        Summary {
            ok: errors.is_empty() && self.entered && self.said == to_say as u64,
            entered: self.entered,
            user,
            interrupted: self.interrupted,
            connections: self.connections,
            packets_sent: self.packets_sent,
            packets_received: self.packets_received,
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            about_others: self.about_others,
            answered: self.answered,
            map_changes: self.map_changes,
            server_changes: self.server_changes,
            login_retries: self.login_retries,
            said: self.said,
            extra_time: self.extra_time,
            reentries: self.reentries,
            kept_lines: self.kept_lines,
            rtt_us: round_trips(self.answered, &self.samples),
            largest_gap_ms: self.largest_gap.as_secs_f64() * 1e3,
            errors,
        }
    }
}

/// Percentiles by nearest rank over sorted samples.
fn round_trips(count: u64, sorted: &[u64]) -> RoundTrips {
    let rank = |per_mille: usize| {
        let place = (sorted.len() * per_mille).div_ceil(1000).max(1) - 1;
        sorted.get(place).copied().unwrap_or(0)
    };
    RoundTrips {
        samples: count,
        min: rank(0),
        p50: rank(500),
        p99: rank(990),
        p999: rank(999),
        max: rank(1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let sorted: Vec<u64> = (1..=1000).collect();
        let trips = round_trips(1000, &sorted);
        assert_eq!(
            (trips.min, trips.p50, trips.p99, trips.p999, trips.max),
            (1, 500, 990, 999, 1000)
        );
        assert_eq!(round_trips(0, &[]), RoundTrips::default());
        let one = round_trips(1, &[7]);
        assert_eq!((one.min, one.p50, one.p999, one.max), (7, 7, 7, 7));
    }

    #[test]
    fn who_never_entered_is_told_from_who_saw_wrong_bytes() {
        let ended = |entered: bool, codes: &[DeviationCode]| {
            let tally = Tally {
                entered,
                ..Tally::default()
            };
            let errors = codes.iter().map(|code| Deviation::new(*code, ""));
            tally.summary("test1".into(), 0, errors.collect())
        };
        let lost = DeviationCode::ConnectionLost;
        assert!(ended(false, &[lost]).never_entered());
        assert!(ended(false, &[DeviationCode::AnswerMissing]).never_entered());
        assert!(!ended(true, &[lost]).never_entered());
        assert!(!ended(false, &[lost, DeviationCode::WrongBytes]).never_entered());
        assert!(!ended(false, &[]).never_entered());
    }

    #[test]
    fn a_line_without_an_answer_is_not_ok() {
        let tally = || Tally {
            entered: true,
            said: 1,
            ..Tally::default()
        };
        assert!(tally().summary("test1".into(), 1, Vec::new()).ok);
        assert!(!tally().summary("test1".into(), 2, Vec::new()).ok);
    }

    #[test]
    fn the_largest_gap_is_between_answers_of_one_play() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut tally = Tally {
            entered: true,
            ..Tally::default()
        };
        for ms in [0, 50, 300, 310] {
            tally.answered(at(ms), at(ms + 1));
            tally.answer_in_play(at(ms + 1));
        }
        tally.end_of_play();
        tally.answer_in_play(at(9_000));
        let summary = tally.summary("test1".into(), 0, Vec::new());
        assert!((summary.largest_gap_ms - 250.0).abs() < 1e-9);
        assert_eq!(summary.rtt_us.max, 1000);
        assert!(summary.ok);
    }
}
