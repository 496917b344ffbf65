//! What each side of a session link has heard of each carrier, told to the other one.
//!
//! Either side can count what reaches it and not what it loses on the way out. So each
//! tells the other once a second, in a QUIC datagram of the session link: sealed, never sent
//! again, and each report stands for itself, so that a lost one costs nothing. With it comes when the
//! engine wishes small packets to be sent twice, which the endpoint follows.
//!
//! ```text
//! byte 0    version, 3
//! byte 1    copies: 0 by what is measured, 1 never, 2 always; of the endpoint without meaning
//! 2..10     packets that this side sent a second time so far
//! then for each carrier, at most 5, 54 bytes, integers big-endian:
//!   0       path kind (PathKind as u8)
//!   1       generation
//!   2..6    datagrams that were sent to it in the last 10 s, as far as their numbers tell
//!   6..10   of those, lost
//!   10..14  of those, arrived after one that was sent later
//!   14..18  jitter, microseconds; 0xffffffff: not known
//!   18..26  datagrams that were sent to it since the carrier was opened
//!   26..34  of those, lost
//!   34..42  packet numbers of its QUIC path, up to the highest one that came
//!   42..50  of those, the ones that came, over whichever carrier
//!   50..54  packet numbers that this side has not used on that path
//! ```
//!
//! A report of another version is ignored: what it would tell is unknown then, and shown as such.

use crate::carrier::{PathKind, PathLabel};

/// First byte of a report.
const VERSION: u8 = 3;
/// Bytes before the first carrier.
const HEADER: usize = 10;
/// Bytes of one carrier.
const ENTRY: usize = 54;
/// Longest report, bytes.
pub const MAX_REPORT: usize = HEADER + ENTRY * PathKind::ALL.len();

/// When small packets are to be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum CopyWish {
    /// By what is measured.
    #[default]
    Auto = 0,
    /// Never.
    Never = 1,
    /// All the time.
    Always = 2,
}

/// What one side tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The engine's wish.
    pub copies: CopyWish,
    /// Packets that this side sent a second time so far.
    pub sent_twice: u64,
    /// What it heard.
    pub entries: Vec<Entry>,
}

/// What was heard of one direction of a carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// Datagrams of the last 10 s, lost ones too.
    pub recent: u32,
    /// Of those, lost.
    pub recent_lost: u32,
    /// Of those, arrived after one that was sent later.
    pub recent_late: u32,
    /// 95th percentile of the transit time's distance from its median, microseconds.
    pub jitter_us: Option<u32>,
    /// Datagrams since the carrier was opened, lost ones too.
    pub total: u64,
    /// Of those, lost.
    pub total_lost: u64,
    /// Packet numbers of its QUIC path, up to the highest one that came. No carrier can alter them, as
    /// it can the numbers that the counts above are made of.
    pub packet_numbers: u64,
    /// Of those, the ones that came, over whichever carrier.
    pub packets: u64,
    /// Numbers that the teller has not used for its own packets on that path, and never will.
    pub skipped: u32,
}

/// One carrier of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which opening of which carrier.
    pub carrier: PathLabel,
    /// What was heard of it.
    pub heard: Heard,
}

/// Writes a report, of as many entries as there are kinds of carriers at most.
pub fn encode(report: &Report) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAX_REPORT);
    out.extend([VERSION, report.copies as u8]);
    out.extend(report.sent_twice.to_be_bytes());
    for Entry { carrier, heard } in report.entries.iter().take(PathKind::ALL.len()) {
        out.extend([carrier.kind as u8, carrier.generation]);
        let jitter = heard.jitter_us.unwrap_or(u32::MAX);
        for number in [heard.recent, heard.recent_lost, heard.recent_late, jitter] {
            out.extend(number.to_be_bytes());
        }
        let large = [
            heard.total,
            heard.total_lost,
            heard.packet_numbers,
            heard.packets,
        ];
        for number in large {
            out.extend(number.to_be_bytes());
        }
        out.extend(heard.skipped.to_be_bytes());
    }
    out
}

/// Reads a report. `None`: another version, a wrong length, an unknown wish, an unknown or repeated kind,
/// or more lost or arrived than sent.
pub fn decode(bytes: &[u8]) -> Option<Report> {
    let ([version, copies], rest) = bytes.split_first_chunk::<2>()?;
    let (sent_twice, rest) = rest.split_first_chunk::<8>()?;
    if *version != VERSION || bytes.len() > MAX_REPORT || !rest.len().is_multiple_of(ENTRY) {
        return None;
    }
    let copies = match copies {
        0 => CopyWish::Auto,
        1 => CopyWish::Never,
        2 => CopyWish::Always,
        _ => return None,
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(PathKind::ALL.len());
    for entry in rest.chunks_exact(ENTRY) {
        let entry = decode_entry(entry)?;
        let kind = entry.carrier.kind;
        if entries.iter().any(|other| other.carrier.kind == kind) {
            return None;
        }
        entries.push(entry);
    }
    Some(Report {
        copies,
        sent_twice: u64::from_be_bytes(*sent_twice),
        entries,
    })
}

fn decode_entry(bytes: &[u8]) -> Option<Entry> {
    let ([kind, generation], rest) = bytes.split_first_chunk::<2>()?;
    let mut rest = rest;
    let mut small = [0u32; 4];
    for number in &mut small {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        *number = u32::from_be_bytes(*head);
        rest = tail;
    }
    let mut large = [0u64; 4];
    for number in &mut large {
        let (head, tail) = rest.split_first_chunk::<8>()?;
        *number = u64::from_be_bytes(*head);
        rest = tail;
    }
    let [recent, recent_lost, recent_late, jitter] = small;
    let [total, total_lost, packet_numbers, packets] = large;
    let (skipped, _) = rest.split_first_chunk::<4>()?;
    let heard = Heard {
        recent,
        recent_lost,
        recent_late,
        jitter_us: (jitter != u32::MAX).then_some(jitter),
        total,
        total_lost,
        packet_numbers,
        packets,
        skipped: u32::from_be_bytes(*skipped),
    };
    let possible = recent_lost <= recent
        && recent_late <= recent
        && total_lost <= total
        && packets <= packet_numbers;
    let carrier = PathLabel {
        kind: PathKind::from_byte(*kind)?,
        generation: *generation,
    };
    possible.then_some(Entry { carrier, heard })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let heard = Heard {
            recent: 500,
            recent_lost: 20,
            recent_late: 3,
            jitter_us: Some(4_700),
            total: 90_000,
            total_lost: 1_800,
            packet_numbers: 70_000,
            packets: 69_999,
            skipped: 9,
        };
        let entry = |kind| Entry {
            carrier: PathLabel {
                kind,
                generation: 3,
            },
            heard,
        };
        Report {
            copies: CopyWish::Always,
            sent_twice: 1_234_567_890_123,
            entries: PathKind::ALL.map(entry).into(),
        }
    }

    #[test]
    fn a_report_round_trips_and_is_bounded() {
        for count in 0..=PathKind::ALL.len() {
            for copies in [CopyWish::Auto, CopyWish::Never, CopyWish::Always] {
                let mut report = report();
                report.entries.truncate(count);
                report.copies = copies;
                let bytes = encode(&report);
                assert!(bytes.len() <= MAX_REPORT);
                assert_eq!(decode(&bytes), Some(report));
            }
        }
        let mut unknown = report();
        unknown.entries[0].heard.jitter_us = None;
        assert_eq!(decode(&encode(&unknown)), Some(unknown));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let good = encode(&report());
        for (place, value, what) in [(0, 1, "version"), (1, 3, "wish"), (HEADER, 77, "kind")] {
            let mut other = good.clone();
            other[place] = value;
            assert_eq!(decode(&other), None, "{what}");
        }
        for length in 0..HEADER {
            assert_eq!(decode(&good[..length]), None, "{length} bytes");
        }
        assert_eq!(decode(&good[..good.len() - 1]), None, "cut off");
        let long = [&good[..], &good[HEADER..]].concat();
        assert_eq!(decode(&long), None, "too long");
        let mut twice = report();
        twice.entries = vec![twice.entries[0], twice.entries[0]];
        assert_eq!(decode(&encode(&twice)), None, "one kind twice");
        let mut more = report();
        more.entries[1].heard.recent_lost = 501;
        assert_eq!(decode(&encode(&more)), None, "more lost than sent");
        let mut more = report();
        more.entries[1].heard.packets = 70_001;
        assert_eq!(decode(&encode(&more)), None, "more came than sent");
    }
}
