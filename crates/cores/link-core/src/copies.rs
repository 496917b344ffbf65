//! Second copies of small packets, while the path in use loses some or is uneven.
//!
//! QUIC drops what it has seen, so a copy costs its bytes and nothing else. Game traffic is a few kB a
//! second; the copies have a rate of their own, beyond which a packet is sent once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::link::Unlabelled;

/// On the same path the second copy follows the first by this much: longer than a burst of loss on a
/// radio link, shorter than a game's tick. Over another path it goes at once.
pub(crate) const COPY_DELAY: Duration = Duration::from_millis(12);
/// Packets up to this size are sent twice; larger ones are bulk.
pub(crate) const COPY_MAX: usize = 600;
/// How long the copies go on after the last loss.
pub(crate) const COPY_HOLD: Duration = Duration::from_secs(60);
/// Jitter from which packets are sent twice, whether or not they are lost: twice the time between the
/// copies, so that the second often is the first to arrive.
pub(crate) const COPY_JITTER: Duration = Duration::from_millis(24);
/// Copies that wait, bytes. Full: the packet is sent once.
const BUDGET: usize = 64 * 1024;

struct Copy {
    due: Instant,
    datagram: Unlabelled,
}

/// The copies that wait, in the order in which they fall due.
#[derive(Default)]
pub(crate) struct Copies {
    waiting: VecDeque<Copy>,
    bytes: usize,
    /// Bytes that may be sent twice now, and since when that is so.
    allowance: Option<(f64, Instant)>,
}

impl Copies {
    /// Takes a copy that falls due at `due`; `rate` is in bytes a second. Beyond the rate, or when too
    /// many wait, it is dropped.
    pub(crate) fn push(&mut self, due: Instant, datagram: Unlabelled, rate: u32, now: Instant) {
        let length = datagram.datagram.len();
        if self.bytes + length > BUDGET || !self.allows(length, f64::from(rate), now) {
            return;
        }
        self.bytes += length;
        let after = self.waiting.partition_point(|copy| copy.due <= due);
        self.waiting.insert(after, Copy { due, datagram });
    }

    /// A token bucket of one second.
    fn allows(&mut self, length: usize, rate: f64, now: Instant) -> bool {
        let (left, since) = self.allowance.unwrap_or((rate, now));
        let passed = now.saturating_duration_since(since).as_secs_f64();
        let left = (left + passed * rate).min(rate);
        let length = length as f64;
        let enough = left >= length;
        self.allowance = Some((if enough { left - length } else { left }, now));
        enough
    }

    /// The next copy that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Unlabelled> {
        if self.waiting.front()?.due > now {
            return None;
        }
        let Copy { datagram, .. } = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(datagram.datagram.len());
        Some(datagram)
    }

    /// When the next copy falls due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|copy| copy.due)
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use warp_protocol::carrier::{PathKind, PathLabel};

    fn copy(mark: u8, length: usize) -> Unlabelled {
        Unlabelled {
            carrier: PathKind::Direct,
            path: PathLabel {
                kind: PathKind::Direct,
                generation: mark,
            },
            datagram: BytesMut::from(&vec![mark; length][..]),
        }
    }

    #[test]
    fn copies_leave_in_the_order_in_which_they_fall_due() {
        let now = Instant::now();
        let mut copies = Copies::default();
        copies.push(now + COPY_DELAY, copy(1, 10), 10_000, now);
        copies.push(now, copy(2, 10), 10_000, now);
        assert_eq!(copies.deadline(), Some(now));
        assert_eq!(copies.pop(now).unwrap().path.generation, 2);
        assert!(copies.pop(now).is_none());
        assert_eq!(copies.pop(now + COPY_DELAY).unwrap().path.generation, 1);
        assert_eq!(copies.deadline(), None);
    }

    #[test]
    fn no_more_is_sent_twice_than_the_rate_allows() {
        let start = Instant::now();
        let mut copies = Copies::default();
        let mut taken = 0;
        // Ten seconds of a hundred packets of 100 bytes each: ten times the rate.
        for step in 0..1000u32 {
            let now = start + Duration::from_millis(10) * step;
            copies.push(now, copy(1, 100), 1000, now);
            while copies.pop(now).is_some() {
                taken += 1;
            }
        }
        // The first second's allowance, and ten more.
        assert!((100..=111).contains(&taken), "{taken}");
    }
}
