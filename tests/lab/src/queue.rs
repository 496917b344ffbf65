//! Packets under way in one direction: a queue bounded in bytes, in the order of sending.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A packet, when it was sent and when it arrives.
pub(crate) struct UnderWay {
    pub(crate) sent: Instant,
    due: Instant,
    pub(crate) packet: Vec<u8>,
}

/// Packets under way. As they keep their order, the first is always the next one due.
///
/// Full (the bytes under way and the new packet are more than the bound): the new packet is
/// dropped, like at the tail of a router's queue.
#[derive(Default)]
pub(crate) struct Queue {
    packets: VecDeque<UnderWay>,
    bytes: usize,
}

impl Queue {
    /// Takes a packet that arrives `delay` after `now`, but not before the one ahead of it.
    /// Answers `false` if it does not fit into `bound` bytes.
    pub(crate) fn push(
        &mut self,
        packet: &[u8],
        now: Instant,
        delay: Duration,
        bound: usize,
    ) -> bool {
        if self.bytes.saturating_add(packet.len()) > bound {
            return false;
        }
        let ahead = self.packets.back().map(|last| last.due);
        let due = (now + delay).max(ahead.unwrap_or(now));
        self.bytes += packet.len();
        self.packets.push_back(UnderWay {
            sent: now,
            due,
            packet: packet.to_vec(),
        });
        true
    }

    /// When the next packet arrives.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.packets.front().map(|first| first.due)
    }

    /// The next packet, if it has arrived by `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<UnderWay> {
        if self.next_due()? > now {
            return None;
        }
        let first = self.packets.pop_front()?;
        self.bytes -= first.packet.len();
        Some(first)
    }

    /// Empties the queue.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Vec<u8>> + use<> {
        std::mem::take(self)
            .packets
            .into_iter()
            .map(|entry| entry.packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_and_the_bound() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut queue = Queue::default();
        let popped = |queue: &mut Queue, at| {
            let first = queue.pop_due(start + ms(at))?;
            Some((first.sent, first.packet))
        };
        assert!(queue.push(&[1; 40], start, ms(20), 100));
        assert!(queue.push(&[2; 40], start + ms(1), ms(5), 100));
        assert!(!queue.push(&[3; 21], start + ms(2), ms(5), 100));
        assert_eq!(queue.next_due(), Some(start + ms(20)));
        assert_eq!(popped(&mut queue, 19), None);
        assert_eq!(popped(&mut queue, 20), Some((start, vec![1; 40])));
        assert_eq!(popped(&mut queue, 20), Some((start + ms(1), vec![2; 40])));
        assert_eq!(queue.next_due(), None);
        assert!(queue.push(&[4; 100], start + ms(21), ms(5), 100));
        assert_eq!(queue.take_all().count(), 1);
        assert!(queue.push(&[5; 100], start + ms(21), ms(5), 100));
    }
}
