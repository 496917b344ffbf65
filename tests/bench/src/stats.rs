//! Order statistics.

use std::time::Duration;

use serde::Serialize;

/// A distribution of times, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Spread {
    /// How many.
    pub(crate) samples: usize,
    /// Median.
    pub(crate) p50: f64,
    /// 99 of 100 are not above it.
    pub(crate) p99: f64,
    /// 999 of 1,000 are not above it.
    pub(crate) p999: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of any number of times; all zero of none.
    pub(crate) fn of(times: &[Duration]) -> Self {
        let mut sorted: Vec<f64> = times.iter().map(|time| ms(*time)).collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            samples: sorted.len(),
            p50: percentile(&sorted, 0.5),
            p99: percentile(&sorted, 0.99),
            p999: percentile(&sorted, 0.999),
            max: sorted.last().copied().unwrap_or_default(),
        }
    }
}

/// The smallest value that this share of all is not above ("nearest rank").
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let value = sorted.get(rank.saturating_sub(1));
    value.copied().unwrap_or_default()
}

/// In milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_ranks() {
        let times: Vec<_> = (1..=1000).rev().map(Duration::from_millis).collect();
        let spread = Spread::of(&times);
        assert_eq!(
            (spread.p50, spread.p99, spread.p999, spread.max),
            (500.0, 990.0, 999.0, 1000.0)
        );
        let one = Spread::of(&times[..1]);
        assert_eq!((one.p50, one.p999, one.max), (1000.0, 1000.0, 1000.0));
        assert_eq!(Spread::of(&[]).samples, 0);
    }
}
