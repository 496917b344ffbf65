//! Packets that were accepted lately, to know the second copy of one when it comes over another
//! carrier.
//!
//! QUIC drops a second copy without a word, so a carrier that is always a little slower than the
//! other would look silent while packets travel over both. And the copy that the other side sends
//! on purpose, a little later on the same carrier, is no replay: it would be counted as one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use warp_protocol::carrier::PathKind;

/// Packets remembered. At game rates some seconds; a copy over a slower carrier comes well within.
const REMEMBERED: usize = 128;
/// Bytes at a packet's end that name it: the AES-GCM tag (RFC 9001 5.3).
const TAG: usize = 16;

/// When a copy on the same carrier is the other side's own: it is sent 12 ms after the first, and
/// both wander on their way. Sooner or later it is a replay.
const OWN_COPY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(6)..=Duration::from_millis(60);

#[derive(Debug)]
struct Entry {
    tag: [u8; TAG],
    /// Carriers that have brought it, one bit a kind.
    brought: u8,
    /// When the first one did.
    at: Instant,
    copied: bool,
}

/// A ring of packet names.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    entries: VecDeque<Entry>,
}

fn bit(carrier: PathKind) -> u8 {
    1 << (carrier as u8)
}

impl Recent {
    /// `packet` was accepted.
    pub(crate) fn remember(&mut self, carrier: PathKind, packet: &[u8], now: Instant) {
        let Some(tag) = packet.last_chunk::<TAG>() else {
            return;
        };
        if self.entries.len() == REMEMBERED {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry {
            tag: *tag,
            brought: bit(carrier),
            at: now,
            copied: false,
        });
    }

    /// What a packet is that changed nothing: a copy, or something to refuse.
    pub(crate) fn judge(&mut self, carrier: PathKind, packet: &[u8], now: Instant) -> Again {
        let Some(tag) = packet.last_chunk::<TAG>() else {
            return Again::Refused;
        };
        let Some(entry) = self
            .entries
            .iter_mut()
            .rev()
            .find(|entry| entry.tag == *tag)
        else {
            return Again::Refused;
        };
        if entry.brought & bit(carrier) == 0 {
            entry.brought |= bit(carrier);
            return Again::OtherCarrier;
        }
        let after = now.saturating_duration_since(entry.at);
        if !entry.copied && OWN_COPY.contains(&after) {
            entry.copied = true;
            return Again::OwnCopy;
        }
        Again::Refused
    }
}

/// A packet that changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// Another carrier brought it first; this one is alive all the same.
    OtherCarrier,
    /// The copy that the other side sends on purpose.
    OwnCopy,
    /// Not authentic, or a replay.
    Refused,
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_copy_over_another_carrier_counts_once() {
        let now = Instant::now();
        let mut recent = Recent::default();
        let packet = [7u8; 40];
        let (direct, wss) = (PathKind::Direct, PathKind::Wss);
        assert_eq!(
            recent.judge(wss, &packet, now),
            Again::Refused,
            "never accepted"
        );
        recent.remember(direct, &packet, now);
        assert_eq!(
            recent.judge(direct, &packet, now),
            Again::Refused,
            "a replay"
        );
        assert_eq!(recent.judge(wss, &packet, now), Again::OtherCarrier);
        assert_eq!(recent.judge(wss, &packet, now), Again::Refused, "a replay");
        assert_eq!(
            recent.judge(wss, &[7u8; 8], now),
            Again::Refused,
            "too short"
        );
        for index in 0..REMEMBERED {
            let mut other = [9u8; 20];
            other[19] = index as u8;
            recent.remember(direct, &other, now);
        }
        assert_eq!(
            recent.judge(PathKind::Host, &packet, now),
            Again::Refused,
            "forgotten"
        );
    }

    #[test]
    fn the_other_sides_own_copy_is_known_by_its_time_and_counts_once() {
        let now = Instant::now();
        let mut recent = Recent::default();
        recent.remember(PathKind::Direct, &[1u8; 40], now);
        let mut at = |after| recent.judge(PathKind::Direct, &[1u8; 40], now + after);
        assert_eq!(at(MS), Again::Refused, "too soon");
        assert_eq!(at(13 * MS), Again::OwnCopy);
        assert_eq!(at(14 * MS), Again::Refused, "a replay");
        recent.remember(PathKind::Direct, &[2u8; 40], now);
        let late = recent.judge(PathKind::Direct, &[2u8; 40], now + 200 * MS);
        assert_eq!(late, Again::Refused, "too late");
    }
}
