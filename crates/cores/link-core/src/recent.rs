//! Packets that were accepted lately, to know the second copy of one when it comes over another
//! carrier.
//!
//! QUIC drops a second copy without a word, so a carrier that is always a little slower than the
//! other would look silent while packets travel over both.

use std::collections::VecDeque;

use warp_protocol::carrier::PathKind;

/// Packets remembered. At game rates some seconds; a copy over a slower carrier comes well within.
const REMEMBERED: usize = 128;
/// Bytes at a packet's end that name it: the AES-GCM tag (RFC 9001 5.3).
const TAG: usize = 16;

#[derive(Debug)]
struct Entry {
    tag: [u8; TAG],
    /// Carriers that have brought it, one bit a kind.
    brought: u8,
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
    pub(crate) fn remember(&mut self, carrier: PathKind, packet: &[u8]) {
        let Some(tag) = packet.last_chunk::<TAG>() else {
            return;
        };
        if self.entries.len() == REMEMBERED {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry {
            tag: *tag,
            brought: bit(carrier),
        });
    }

    /// True once per packet and carrier, for a packet that another carrier brought first.
    pub(crate) fn is_first_copy(&mut self, carrier: PathKind, packet: &[u8]) -> bool {
        let Some(tag) = packet.last_chunk::<TAG>() else {
            return false;
        };
        let entry = self
            .entries
            .iter_mut()
            .rev()
            .find(|entry| entry.tag == *tag);
        match entry {
            Some(entry) if entry.brought & bit(carrier) == 0 => {
                entry.brought |= bit(carrier);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_counts_once_and_only_over_another_carrier() {
        let mut recent = Recent::default();
        let packet = [7u8; 40];
        assert!(
            !recent.is_first_copy(PathKind::Wss, &packet),
            "never accepted"
        );
        recent.remember(PathKind::Direct, &packet);
        assert!(!recent.is_first_copy(PathKind::Direct, &packet), "a replay");
        assert!(recent.is_first_copy(PathKind::Wss, &packet));
        assert!(!recent.is_first_copy(PathKind::Wss, &packet), "a replay");
        assert!(!recent.is_first_copy(PathKind::Wss, &[7u8; 8]), "too short");
        for index in 0..REMEMBERED {
            let mut other = [9u8; 20];
            other[19] = index as u8;
            recent.remember(PathKind::Direct, &other);
        }
        assert!(!recent.is_first_copy(PathKind::Host, &packet), "forgotten");
    }
}
