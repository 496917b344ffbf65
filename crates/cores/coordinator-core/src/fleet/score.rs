//! How good a host is.
//!
//! | part | points | at most |
//! |---|---|---|
//! | latency | 30 - ms/10 | 30 |
//! | loss | 20 - 2 * percent | 20 |
//! | free places | 25 * (1 - members/places) | 25 |
//! | processor | 10 * cores/4 | 10 |
//! | memory | 10 * MB/8192 | 10 |
//! | network | 5 * Mbit/s / 100 | 5 |
//!
//! Latency and loss have at least 0 points, the sum is 0 to 100, with two decimals. What is not measured has no
//! points: a host of which nobody knows latency and loss comes to 50 at best, and its score is shown
//! as unknown. Of a host that is not believed only latency and loss count, as its members measured
//! them: free places and what it has are its word.

use warp_protocol::hosting::HostHardware;

/// What is known of a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Milliseconds; none: not measured.
    pub latency_ms: Option<f64>,
    /// Percent; none: not measured.
    pub loss_percent: Option<f64>,
    /// Members that it carries.
    pub members: u32,
    /// Members at most.
    pub places: u32,
    /// What it says that it has; none: it is not believed.
    pub said: Option<HostHardware>,
}

impl Scored {
    /// The points of what is known, 0 to 100, two decimals.
    pub fn points(&self) -> f64 {
        let latency = self
            .latency_ms
            .map_or(0.0, |ms| (30.0 - ms / 10.0).max(0.0));
        let loss = self
            .loss_percent
            .map_or(0.0, |percent| (20.0 - 2.0 * percent).max(0.0));
        let sum = latency.min(30.0) + loss.min(20.0) + self.by_its_word();
        (sum.clamp(0.0, 100.0) * 100.0).round() / 100.0
    }

    fn by_its_word(&self) -> f64 {
        let Some(hardware) = &self.said else {
            return 0.0;
        };
        let used = f64::from(self.members) / f64::from(self.places.max(1));
        // Below 0 where a host carries more than it may.
        let free = 25.0 * (1.0 - used);
        let cores = (f64::from(hardware.cpu_cores) / 4.0 * 10.0).min(10.0);
        let memory = (f64::from(hardware.memory_mb) / 8192.0 * 10.0).min(10.0);
        let network = (f64::from(hardware.network_speed_mbps) / 100.0 * 5.0).min(5.0);
        free + cores + memory + network
    }

    /// Whether anything of the network was measured.
    pub fn is_measured(&self) -> bool {
        self.latency_ms.is_some() || self.loss_percent.is_some()
    }

    /// The score; none while nothing is measured.
    pub fn score(&self) -> Option<f64> {
        self.is_measured().then(|| self.points())
    }
}

/// The middle of some numbers, of an even count the lower one: of two, the one that is no worse.
pub(super) fn lower_median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len().checked_sub(1)? / 2).copied()
}

/// The middle of some numbers.
pub(super) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let upper = numbers.get(numbers.len() / 2)?;
    let lower = numbers.get((numbers.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        measured: Option<(f64, f64)>,
        members: u32,
        cores: u32,
        memory: u32,
        mbps: u32,
    ) -> Scored {
        Scored {
            latency_ms: measured.map(|m| m.0),
            loss_percent: measured.map(|m| m.1),
            members,
            places: 50,
            said: Some(HostHardware {
                cpu_cores: cores,
                cpu_frequency_mhz: 3000,
                memory_mb: memory,
                network_speed_mbps: mbps,
            }),
        }
    }

    #[test]
    fn the_documented_inputs_give_the_documented_scores() {
        assert_eq!(
            of(Some((25.5, 0.1)), 10, 8, 16384, 1000).score(),
            Some(92.25)
        );
        assert_eq!(of(Some((0.0, 0.0)), 0, 2, 4096, 50).score(), Some(87.5));
        assert_eq!(of(Some((0.0, 0.0)), 0, 1, 1, 1).score(), Some(77.55));
        assert_eq!(of(Some((400.0, 50.0)), 1000, 1, 1, 1).score(), Some(0.0));
    }

    #[test]
    fn an_unmeasured_host_is_unknown_and_never_perfect() {
        let fresh = of(None, 0, 64, 1 << 20, 10_000);
        assert_eq!(fresh.score(), None);
        assert_eq!(fresh.points(), 50.0);
        let half = Scored {
            latency_ms: Some(0.0),
            ..fresh
        };
        assert_eq!(half.score(), Some(80.0));
    }

    #[test]
    fn of_a_host_that_is_not_believed_only_what_others_measured_counts() {
        let boasts = Scored {
            said: None,
            ..of(Some((0.0, 0.0)), 0, 64, 1 << 20, 10_000)
        };
        assert_eq!(boasts.points(), 50.0);
        let slow = Scored {
            latency_ms: Some(200.0),
            ..boasts
        };
        assert_eq!(slow.points(), 30.0);
    }

    #[test]
    fn the_middle_of_numbers() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }
}
