//! The properties of one direction of a link.

use std::time::Duration;

use rand::Rng;

/// How one direction of an emulated link treats packets.
///
/// - A packet is lost with probability `loss`, independently of all others.
/// - One that is not lost arrives after `delay` plus or minus up to `jitter`, evenly distributed,
///   but never before a packet that was sent earlier: queues on real paths keep the order, and
///   packets that overtake each other would be held against TCP as loss.
/// - At most `queue_bytes` are under way; a packet that does not fit is dropped, like at a router.
/// - The rate is not limited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// One-way delay.
    pub delay: Duration,
    /// Largest deviation from `delay`, both ways; the part that would be negative is zero.
    pub jitter: Duration,
    /// Probability of loss, 0 to 1.
    pub loss: f64,
    /// Bytes of IP packets that may be under way.
    pub queue_bytes: usize,
}

impl Profile {
    /// Room for 4 MiB under way: 100 Mbit/s for a third of a second.
    pub const DEFAULT_QUEUE_BYTES: usize = 4 << 20;

    /// No jitter, no loss, this one-way delay in milliseconds.
    #[must_use]
    pub const fn delay_ms(milliseconds: u64) -> Self {
        Self {
            delay: Duration::from_millis(milliseconds),
            jitter: Duration::ZERO,
            loss: 0.0,
            queue_bytes: Self::DEFAULT_QUEUE_BYTES,
        }
    }

    /// The same with this jitter in milliseconds.
    #[must_use]
    pub const fn with_jitter_ms(mut self, milliseconds: u64) -> Self {
        self.jitter = Duration::from_millis(milliseconds);
        self
    }

    /// The same with this probability of loss, 0 to 1; what lies outside is taken to the nearest.
    #[must_use]
    pub const fn with_loss(mut self, loss: f64) -> Self {
        self.loss = loss.clamp(0.0, 1.0);
        self
    }

    /// The same with this bound of bytes under way.
    #[must_use]
    pub const fn with_queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Throws the dice for one packet: its delay, or `None` if it is lost. The dice are thrown the
    /// same number of times for every packet, so that a seed gives the same fates at any profile.
    pub(crate) fn fate(&self, dice: &mut impl Rng) -> Option<Duration> {
        let (lost, shift): (f64, f64) = (dice.random(), dice.random_range(-1.0..=1.0));
        if lost < self.loss {
            return None;
        }
        let deviation = self.jitter.mul_f64(shift.abs());
        Some(if shift < 0.0 {
            self.delay.saturating_sub(deviation)
        } else {
            self.delay.saturating_add(deviation)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn fates_have_the_chosen_loss_mean_and_range() {
        let profile = Profile::delay_ms(20).with_jitter_ms(5).with_loss(0.02);
        let mut dice = StdRng::seed_from_u64(7);
        let fates: Vec<_> = (0..100_000).map(|_| profile.fate(&mut dice)).collect();
        let delays: Vec<f64> = (fates.iter().flatten())
            .map(Duration::as_secs_f64)
            .collect();
        let lost = fates.len() - delays.len();
        assert!((1_800..=2_200).contains(&lost), "{lost}");
        let mean = delays.iter().sum::<f64>() / delays.len() as f64;
        assert!((mean - 0.020).abs() < 0.000_1, "{mean}");
        assert!(delays.iter().all(|delay| (0.015..=0.025).contains(delay)));
    }

    #[test]
    fn delay_is_never_negative() {
        let profile = Profile::delay_ms(1).with_jitter_ms(50);
        let mut dice = StdRng::seed_from_u64(7);
        let early = (0..100)
            .filter_map(|_| profile.fate(&mut dice))
            .any(|delay| delay.is_zero());
        assert!(early);
    }
}
