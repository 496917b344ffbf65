//! When a lost connection is tried again.

use std::time::Duration;

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconnectConfig {
    /// How many attempts may fail in a row; `None`: any number.
    pub attempts: Option<u32>,
}

impl Default for ReconnectConfig {
    fn default() -> Self {
        Self { attempts: Some(10) }
    }
}

/// Waiting times in seconds, the last one for all further attempts.
const SCHEDULE: [u64; 6] = [1, 2, 4, 8, 16, 30];

/// The schedule: 1, 2, 4, 8, 16, 30 s, and up to a second more, so that many peers that lost each
/// other at the same moment do not all come back at the same moment.
#[derive(Debug, Clone)]
pub struct Reconnects {
    config: ReconnectConfig,
    failures: u32,
    /// State of a SplitMix64 generator (Steele, Lea, Flood 2014).
    random: u64,
}

impl Reconnects {
    /// `seed` decides the jitter.
    pub fn new(config: ReconnectConfig, seed: u64) -> Self {
        Self {
            config,
            failures: 0,
            random: seed,
        }
    }

    /// An attempt failed, or an open connection was lost. How long to wait; `None`: give up.
    pub fn failed(&mut self) -> Option<Duration> {
        if self
            .config
            .attempts
            .is_some_and(|attempts| self.failures >= attempts)
        {
            return None;
        }
        let step = (self.failures as usize).min(SCHEDULE.len() - 1);
        self.failures = self.failures.saturating_add(1);
        Some(Duration::from_secs(SCHEDULE[step]) + self.jitter())
    }

    /// A connection is open.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How many attempts failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn jitter(&mut self) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_micros((mixed ^ (mixed >> 31)) % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_are_those_of_the_schedule_with_up_to_a_second_more() {
        let config = ReconnectConfig { attempts: Some(8) };
        let mut reconnects = Reconnects::new(config, 7);
        for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
            let wait = reconnects.failed().unwrap();
            let jitter = wait - Duration::from_secs(seconds);
            assert!(jitter < Duration::from_secs(1), "{wait:?}");
        }
        assert_eq!(reconnects.failed(), None);
        reconnects.succeeded();
        assert!(reconnects.failed().unwrap() < Duration::from_secs(2));
    }

    #[test]
    fn two_seeds_do_not_come_back_together() {
        let wait = |seed| Reconnects::new(ReconnectConfig::default(), seed).failed();
        let waits: std::collections::HashSet<_> = (0..100).map(wait).collect();
        assert!(waits.len() > 90);
    }
}
