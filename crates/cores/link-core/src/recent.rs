//! Packets that were accepted lately, to know the second copy of one when it comes over another
//! carrier.
//!
//! QUIC drops a second copy without a word, so a carrier that is always a little slower than the
//! other would look silent while packets travel over both. And the copy that the other side sends
//! on purpose, a little later on the same carrier, is no replay: it would be counted as one. It is
//! known by the number in its label, which a datagram that is sent again bit by bit does not have.

use std::collections::VecDeque;

use warp_protocol::carrier::PathKind;

/// Packets remembered. At game rates some seconds; a copy over a slower carrier comes well within.
const REMEMBERED: usize = 256;
/// Bytes at a packet's end that name it: the AES-GCM tag (RFC 9001 5.3).
const TAG: usize = 16;

#[derive(Debug)]
struct Entry {
    tag: [u8; TAG],
    /// By kind: the number of the datagram that brought it first over that carrier.
    brought: [Option<u16>; PathKind::ALL.len()],
    copied: bool,
}

/// A ring of packet names.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    entries: VecDeque<Entry>,
}

fn place(carrier: PathKind) -> usize {
    match carrier {
        PathKind::Direct => 0,
        PathKind::Host => 1,
        PathKind::Host2 => 2,
        PathKind::Wss => 3,
        PathKind::Tcp => 4,
    }
}

impl Recent {
    /// `packet` was accepted, in the datagram of this number.
    pub(crate) fn remember(&mut self, carrier: PathKind, number: u16, packet: &[u8]) {
        let Some(tag) = packet.last_chunk::<TAG>() else {
            return;
        };
        if self.entries.len() == REMEMBERED {
            self.entries.pop_front();
        }
        let mut brought = [None; PathKind::ALL.len()];
        brought[place(carrier)] = Some(number);
        self.entries.push_back(Entry {
            tag: *tag,
            brought,
            copied: false,
        });
    }

    /// What a packet is that changed nothing: a copy, or something to refuse.
    pub(crate) fn judge(&mut self, carrier: PathKind, number: u16, packet: &[u8]) -> Again {
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
        let brought = &mut entry.brought[place(carrier)];
        match *brought {
            None => {
                *brought = Some(number);
                Again::OtherCarrier
            }
            Some(first) if first != number && !entry.copied => {
                entry.copied = true;
                Again::OwnCopy
            }
            Some(_) => Again::Refused,
        }
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
mod tests {
    use super::*;

    #[test]
    fn a_copy_over_another_carrier_counts_once() {
        let mut recent = Recent::default();
        let packet = [7u8; 40];
        let (direct, wss) = (PathKind::Direct, PathKind::Wss);
        let never = recent.judge(wss, 4, &packet);
        assert_eq!(never, Again::Refused, "never accepted");
        recent.remember(direct, 9, &packet);
        let replay = recent.judge(direct, 9, &packet);
        assert_eq!(replay, Again::Refused, "a replay");
        assert_eq!(recent.judge(wss, 4, &packet), Again::OtherCarrier);
        let replay = recent.judge(wss, 4, &packet);
        assert_eq!(replay, Again::Refused, "a replay");
        let short = recent.judge(wss, 5, &[7u8; 8]);
        assert_eq!(short, Again::Refused, "too short");
        for index in 0..REMEMBERED {
            let mut other = [9u8; 20];
            other[19] = index as u8;
            recent.remember(direct, 10, &other);
        }
        let old = recent.judge(PathKind::Host, 1, &packet);
        assert_eq!(old, Again::Refused, "forgotten");
    }

    #[test]
    fn the_other_sides_own_copy_is_known_by_its_number_and_counts_once() {
        let mut recent = Recent::default();
        recent.remember(PathKind::Direct, 7, &[1u8; 40]);
        let mut judge = |number| recent.judge(PathKind::Direct, number, &[1u8; 40]);
        assert_eq!(judge(7), Again::Refused, "the first again");
        assert_eq!(judge(9), Again::OwnCopy);
        assert_eq!(judge(9), Again::Refused, "the copy again");
        assert_eq!(judge(11), Again::Refused, "there is one copy");
    }
}
