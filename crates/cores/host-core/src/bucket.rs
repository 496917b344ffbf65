//! A token bucket.

use std::time::Instant;

/// Fills by itself at a steady rate up to its depth.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) level: f64,
    pub(crate) depth: f64,
    pub(crate) per_second: f64,
    at: Instant,
}

impl Bucket {
    /// Full.
    pub(crate) fn full(per_second: f64, depth: f64, now: Instant) -> Self {
        Self {
            level: depth,
            depth,
            per_second,
            at: now,
        }
    }

    /// Empty.
    pub(crate) fn empty(per_second: f64, depth: f64, now: Instant) -> Self {
        Self {
            level: 0.0,
            ..Self::full(per_second, depth, now)
        }
    }

    /// Brings it to `now`; a time before the last one changes nothing.
    pub(crate) fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = self.depth.min(self.level + passed * self.per_second);
        self.at = self.at.max(now);
    }

    /// Another rate and depth from now on.
    pub(crate) fn change(&mut self, per_second: f64, depth: f64, now: Instant) {
        self.fill(now);
        self.per_second = per_second;
        self.depth = depth;
        self.level = self.level.min(depth);
    }

    pub(crate) fn holds(&self, amount: f64) -> bool {
        self.level >= amount
    }
}
