//! QUIC's packets, counted by path with their numbers: of the other side how many came, and up to which;
//! of our own which numbers were never used.
//!
//! The numbers in labels tell the same of a carrier, but a host writes labels; and what QUIC finds lost
//! contains what was merely overtaken, and acknowledgements that came all the same. Packet numbers
//! cannot be forged, and a late packet is counted when it comes, as RFC 3550, A.3, counts its sequence
//! numbers. QUIC skips a number now and then (RFC 9000, 21.4), which only its sender knows; so each side
//! tells what came and how many it skipped, and both work out what was lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use noq_proto::PathId;
use noq_proto::crypto::{CryptoError, KeyPair, PacketKey};

/// Numbers below the highest one that are told apart. What comes later counts as lost.
const WINDOW: u64 = 128;
/// Skipped numbers that are remembered. The library skips one of the first 64, one of the next 64, one of
/// the next 128, and so on: there are never more.
const SKIPPED: usize = 64;

/// Counts of the other side's packets on one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Numbers {
    /// Numbers up to the highest one that came.
    pub(crate) numbers: u64,
    /// Of those, the ones that came.
    pub(crate) arrived: u64,
}

#[derive(Debug, Default)]
struct Path {
    heard: Numbers,
    /// Bit 0: the highest number, bit n: that minus n.
    seen: u128,
    /// The next number of ours.
    next: u64,
    /// Numbers of ours that were not used.
    skipped: Vec<u64>,
}

impl Path {
    fn send(&mut self, number: u64) {
        let unused = (self.next..number).take(SKIPPED.saturating_sub(self.skipped.len()));
        self.skipped.extend(unused);
        self.next = self.next.max(number + 1);
    }

    fn arrive(&mut self, number: u64) {
        let Some(behind) = self.heard.numbers.checked_sub(number + 1) else {
            let ahead = number + 1 - self.heard.numbers;
            self.seen = match u32::try_from(ahead) {
                Ok(ahead) => self.seen.checked_shl(ahead).unwrap_or(0) | 1,
                Err(_) => 1,
            };
            self.heard.numbers = number + 1;
            self.heard.arrived += 1;
            return;
        };
        if behind < WINDOW && self.seen & (1 << behind) == 0 {
            self.seen |= 1 << behind;
            self.heard.arrived += 1;
        }
    }
}

/// Over all paths of a link.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packets(Arc<Mutex<BTreeMap<PathId, Path>>>);

impl Packets {
    fn paths(&self) -> MutexGuard<'_, BTreeMap<PathId, Path>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self, path: PathId, number: u64) {
        self.paths().entry(path).or_default().arrive(number);
    }

    fn send(&self, path: PathId, number: u64) {
        self.paths().entry(path).or_default().send(number);
    }

    /// What came on a path; `None` before the first packet.
    pub(crate) fn heard(&self, path: PathId) -> Option<Numbers> {
        let heard = self.paths().get(&path)?.heard;
        (heard.arrived > 0).then_some(heard)
    }

    /// How many of our packets on a path had numbers below this.
    pub(crate) fn sent_below(&self, path: PathId, number: u64) -> u64 {
        let paths = self.paths();
        let Some(path) = paths.get(&path) else {
            return 0;
        };
        let number = number.min(path.next);
        let skipped = path.skipped.iter().filter(|skipped| **skipped < number);
        number - skipped.count() as u64
    }

    /// How many numbers below the next one were not used on a path.
    pub(crate) fn skipped(&self, path: PathId) -> u32 {
        let paths = self.paths();
        // At most SKIPPED of them.
        (paths.get(&path)).map_or(0, |path| path.skipped.len() as u32)
    }

    /// The path is gone.
    pub(crate) fn forget(&self, path: PathId) {
        self.paths().remove(&path);
    }

    /// Keys whose packets are counted.
    pub(crate) fn count(&self, pair: KeyPair<Box<dyn PacketKey>>) -> KeyPair<Box<dyn PacketKey>> {
        let counted = |key| {
            let packets = self.clone();
            Box::new(Counted { key, packets })
        };
        KeyPair {
            local: counted(pair.local),
            remote: counted(pair.remote),
        }
    }
}

/// Hands everything on.
struct Counted {
    key: Box<dyn PacketKey>,
    packets: Packets,
}

impl PacketKey for Counted {
    fn encrypt(&self, path_id: PathId, packet: u64, buf: &mut [u8], header_len: usize) {
        self.packets.send(path_id, packet);
        self.key.encrypt(path_id, packet, buf, header_len);
    }

    fn decrypt(
        &self,
        path_id: PathId,
        packet: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        self.key.decrypt(path_id, packet, header, payload)?;
        self.packets.arrive(path_id, packet);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        self.key.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.key.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.key.integrity_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(came: impl IntoIterator<Item = u64>) -> Numbers {
        let packets = Packets::default();
        for number in came {
            packets.arrive(PathId::ZERO, number);
        }
        packets.heard(PathId::ZERO).unwrap()
    }

    #[test]
    fn late_packets_and_second_copies_are_no_losses() {
        let of_five = |arrived| Numbers {
            numbers: 5,
            arrived,
        };
        assert_eq!(after(0..5), of_five(5));
        assert_eq!(after([1, 0, 4, 3, 2]), of_five(5));
        assert_eq!(after([0, 0, 1, 2, 1, 3, 4, 4, 0]), of_five(5));
        assert_eq!(after([0, 1, 3, 4]), of_five(4));
    }

    #[test]
    fn what_comes_far_too_late_stays_lost() {
        let last = WINDOW + 5;
        let arrived = |late: u64| after([0, last, late]).arrived;
        assert_eq!(arrived(5), 2, "beyond the window");
        assert_eq!(arrived(6), 3, "the last one within");
        assert_eq!(arrived(0), 2, "again, and long ago");
        let far = after([3, u64::MAX >> 2]);
        assert_eq!((far.numbers, far.arrived), ((u64::MAX >> 2) + 1, 2));
    }

    #[test]
    fn skipped_numbers_were_not_sent() {
        let packets = Packets::default();
        for number in [0, 1, 3, 4, 7] {
            packets.send(PathId::ZERO, number);
        }
        let below = |number| packets.sent_below(PathId::ZERO, number);
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 7, 8].map(below),
            [0, 1, 2, 2, 3, 4, 4, 5]
        );
        assert_eq!(below(u64::MAX), 5, "what a wrong report says");
        assert_eq!(packets.sent_below(PathId::MAX, 9), 0, "no such path");
        assert_eq!(packets.skipped(PathId::ZERO), 3);
        assert_eq!(packets.skipped(PathId::MAX), 0);
        packets.send(PathId::ZERO, u64::MAX >> 2);
        assert!(below(u64::MAX >> 2) > 8, "no more are remembered");
    }

    #[test]
    fn each_path_has_numbers_of_its_own() {
        let packets = Packets::default();
        packets.arrive(PathId::ZERO, 7);
        packets.arrive(PathId::MAX, 0);
        packets.send(PathId::MAX, 0);
        let numbers = |path| packets.heard(path).map(|heard| heard.numbers);
        assert_eq!(numbers(PathId::ZERO), Some(8));
        assert_eq!(numbers(PathId::MAX), Some(1));
        packets.forget(PathId::ZERO);
        assert_eq!(numbers(PathId::ZERO), None);
    }
}
