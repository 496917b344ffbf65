//! Which version does a client speak?
//!
//! A [`Detector`] starts with the versions that may be (the candidates) and drops those that
//! contradict what it sees. What counts as evidence:
//!
//! | beginning of | evidence |
//! |---|---|
//! | login, client | the login packet: its id is in the version's table, with that length |
//! | login, server | acceptance by 0069 (clients before 2017-03-15) or 0AC4 (from then on) |
//! | char, client | CH_ENTER |
//! | char, server | size of a character in 006B, 099D and 0B72; 006D, 08E3, 099D or 0B6F, 0B71, 0B72; 0071 or 0AC5 |
//! | map, client | the map login: its id, in plain or through the version's cipher, and its length |
//! | any server | a version whose table cannot frame the bytes gives way to one that can |
//! | any side, later | a packet whose length the versions do not agree on: those that find known packets and a border behind it |
//!
//! Source of the dates, packets and sizes: rAthena and Hercules, which both switch by client date. Sizes of
//! a character: 144 bytes at 20130807, 147 at 20151029 and 20170614, 155 at 20180621 and
//! 20200401, 175 at 20211103 (only the last was seen on a wire here).
//!
//! Two versions that look the same in everything seen so far are both left, and then nothing is
//! certain: 20180621 and 20200401 differ in no login and no character, only in what the
//! map server sends. Until that is seen nothing may be cut by one of them where they disagree: see
//! [`Detector::note_later`].

use std::sync::Arc;

use crate::cipher::IdCipher;
use crate::framer::{Head, head};
use crate::table::PacketTable;
use crate::{Direction, Role};

/// First client date (version) with the newer generation of address packets.
const NEW_ADDRESSES: u32 = 20_170_315;

/// Bytes that a char server sends before its first packet.
const RAW_AID: usize = 4;

/// What a client may send first to a login server.
const LOGIN_OPENERS: [u16; 14] = [
    0x0064, 0x01DB, 0x01DD, 0x01FA, 0x0200, 0x0204, 0x0277, 0x027C, 0x02B0, 0x0825, 0x0987, 0x0A76,
    0x0AAC, 0x0ACF,
];

/// Lists of characters: id, and bytes before the first character.
const CHAR_LISTS: [(u16, u16); 3] = [(0x006B, 27), (0x099D, 4), (0x0B72, 4)];

/// Packets with characters that came together with the newest size of one, and those whose place they
/// took. (006B stayed.)
const NEWEST: ([u16; 3], u16) = ([0x0B6F, 0x0B71, 0x0B72], 175);
const BEFORE_NEWEST: [u16; 3] = [0x006D, 0x08E3, 0x099D];

/// What one look at the beginning of a connection says.
#[derive(Debug, Clone)]
pub enum Detection {
    /// The head is too short to say; ask again with more. That is so until the first packet's id is
    /// there (a char server sends it behind four other bytes), and with a client's first packet
    /// until it is whole: its length tells versions apart.
    NeedMore,
    /// The newest version that fits all evidence so far.
    Table {
        /// Its table.
        table: Arc<PacketTable>,
        /// No other candidate fits.
        certain: bool,
        /// The client's ids on this connection are xored with the version's keys. Only the
        /// client's side of a map connection shows that.
        ciphered: bool,
    },
    /// No candidate fits; what was known before stays.
    Unknown {
        /// The id of the connection's first packet, as it came.
        id: u16,
    },
}

/// How far the candidates agree on where packets end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// Bytes that may be read by the table of any candidate that is left: whole packets, or
    /// everything when only one is left or none can go on.
    pub bytes: usize,
    /// Behind them stands a packet that the candidates cut differently, and what has come does not
    /// say which of them is right.
    pub undecided: bool,
    /// Candidates were dropped.
    pub learned: bool,
}

/// How far a candidate gets with what follows a packet that is cut differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// To something that is no packet of this side.
    Broken,
    /// Into a packet whose rest has not come.
    Within,
    /// To the end of what has come.
    Border,
}

/// How a candidate fits one head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// Contradicted.
    No,
    /// The rest of the first packet may contradict.
    Unsure,
    Yes {
        ciphered: bool,
        /// All that was looked at could be framed.
        framed: bool,
    },
}

impl Fit {
    const PLAIN: Fit = Fit::Yes {
        ciphered: false,
        framed: true,
    };
}

/// Finds the version that the clients of a zone speak, from the beginnings of their connections.
///
/// One zone is taken to have clients of one version: evidence from all of them is put together.
#[derive(Debug, Clone)]
pub struct Detector {
    /// Those that fit all evidence so far, oldest first; as many as there were in the beginning at most.
    candidates: Vec<Arc<PacketTable>>,
}

impl Detector {
    /// How much of a head is looked at, in bytes; a list of 40 characters fits.
    pub const MAX_HEAD: usize = 8192;

    /// A detector that chooses among `candidates`. They are put in the order of their versions.
    #[must_use]
    pub fn new(mut candidates: Vec<Arc<PacketTable>>) -> Detector {
        candidates.sort_by_key(|table| table.version());
        Detector { candidates }
    }

    /// Takes the beginning of one side of a connection as evidence. `head` is what that side has
    /// sent so far, from its first byte; of a long one, the first [`Detector::MAX_HEAD`] bytes count.
    ///
    /// The same connection may be noted again as more of it comes.
    pub fn note(&mut self, role: Role, direction: Direction, head: &[u8]) -> Detection {
        let bytes = head.get(..Self::MAX_HEAD).unwrap_or(head);
        let packets = match (role, direction) {
            (Role::Char, Direction::ServerToClient) => bytes.get(RAW_AID..),
            _ => Some(bytes),
        };
        let Some((packets, id)) = packets.and_then(|packets| Some((packets, first_u16(packets)?)))
        else {
            return Detection::NeedMore;
        };
        let fits: Vec<Fit> = (self.candidates.iter())
            .map(|table| fit(table, role, direction, packets))
            .collect();
        if fits.iter().all(|fit| *fit == Fit::No) {
            return Detection::Unknown { id };
        }
        let any_framed = (fits.iter()).any(|fit| matches!(fit, Fit::Yes { framed: true, .. }));
        let left: Vec<(Arc<PacketTable>, bool)> = (self.candidates.iter().zip(fits))
            .filter_map(|(table, fit)| match fit {
                Fit::Yes { ciphered, framed } if framed || !any_framed => {
                    Some((Arc::clone(table), ciphered))
                }
                _ => None,
            })
            .collect();
        let Some((table, ciphered)) = left.last().cloned() else {
            return Detection::NeedMore;
        };
        self.candidates = left.into_iter().map(|(table, _)| table).collect();
        Detection::Table {
            table,
            certain: self.certain(),
            ciphered,
        }
    }

    /// Takes as evidence what a side has sent behind the beginning of its stream. `packets` begin at
    /// a packet border and have their ids in plain.
    ///
    /// Peers write whole packets, but a write may come in two reads. `settled`: nothing more has come
    /// for a while, so the end of what is here is a border.
    pub fn note_later(&mut self, direction: Direction, packets: &[u8], settled: bool) -> Agreement {
        let before = self.candidates.len();
        let mut bytes = 0;
        let mut undecided = false;
        while self.candidates.len() > 1 {
            let rest = packets.get(bytes..).unwrap_or_default();
            if rest.len() < 2 {
                break;
            }
            let mut heads = self.candidates.iter().map(|table| head(table, None, rest));
            let first = heads.next();
            let alike = heads.all(|other| Some(other) == first);
            match first {
                Some(Head::Whole { length, .. }) if alike => bytes += length,
                Some(Head::Incomplete) if alike => break,
                _ if self.drop_worse(direction, rest, settled) => {}
                // None of them can go on.
                _ if self
                    .reach(direction, rest)
                    .all(|reach| reach == Reach::Broken) =>
                {
                    bytes = packets.len();
                    break;
                }
                _ => {
                    undecided = true;
                    break;
                }
            }
        }
        if self.candidates.len() <= 1 {
            bytes = packets.len();
        }
        Agreement {
            bytes,
            undecided,
            learned: self.candidates.len() < before,
        }
    }

    /// Drops the candidates that get less far than others; `false` if none does.
    fn drop_worse(&mut self, direction: Direction, rest: &[u8], settled: bool) -> bool {
        let reach: Vec<Reach> = self.reach(direction, rest).collect();
        let best = reach.iter().max().copied().unwrap_or(Reach::Broken);
        // Until nothing more comes, a packet that is cut short may be the right one.
        let least = if settled {
            best
        } else {
            best.min(Reach::Within)
        };
        let before = self.candidates.len();
        let mut reach = reach.into_iter();
        self.candidates
            .retain(|_| reach.next().is_some_and(|reach| reach >= least));
        self.candidates.len() < before
    }

    fn reach(&self, direction: Direction, rest: &[u8]) -> impl Iterator<Item = Reach> {
        self.candidates
            .iter()
            .map(move |table| reach(table, direction, rest))
    }

    /// The newest version that fits all evidence so far; `None` if there are no candidates.
    #[must_use]
    pub fn best(&self) -> Option<&Arc<PacketTable>> {
        self.candidates.last()
    }

    /// Whether only one candidate is left.
    #[must_use]
    pub fn certain(&self) -> bool {
        self.candidates.len() == 1
    }
}

/// `packets` holds at least an id.
fn fit(table: &PacketTable, role: Role, direction: Direction, packets: &[u8]) -> Fit {
    match (role, direction) {
        (Role::Login, Direction::ClientToServer) => opened(table, packets, &LOGIN_OPENERS),
        (Role::Char, Direction::ClientToServer) => {
            opened(table, packets, table.roles().char_enter.as_slice())
        }
        (Role::Map, Direction::ClientToServer) => map_login(table, packets),
        (_, Direction::ServerToClient) => answered(table, packets),
    }
}

/// A client's side in plain: it begins with one of `openers`.
fn opened(table: &PacketTable, packets: &[u8], openers: &[u16]) -> Fit {
    if first_u16(packets).is_none_or(|id| !openers.contains(&id)) {
        return Fit::No;
    }
    match head(table, None, packets) {
        Head::Whole { .. } => Fit::PLAIN,
        Head::Incomplete => Fit::Unsure,
        Head::Unframeable(_) => Fit::No,
    }
}

/// The client's side of a map connection. Clients send the map login whole and wait for the answer.
fn map_login(table: &PacketTable, packets: &[u8]) -> Fit {
    let Some(enter) = table.roles().map_enter else {
        return Fit::No;
    };
    let first = first_u16(packets);
    let mut cipher = table.cipher().map(IdCipher::new);
    if first == Some(enter) {
        cipher = None;
    } else if first
        .zip(cipher.as_ref())
        .map(|(id, cipher)| cipher.peek(id))
        != Some(enter)
    {
        return Fit::No;
    }
    let length = match head(table, cipher.as_ref(), packets) {
        Head::Whole { length, .. } => length,
        Head::Incomplete => return Fit::Unsure,
        Head::Unframeable(_) => return Fit::No,
    };
    // Every form ends in the sex, 0 or 1. Else this is the beginning of a longer form.
    let sex = packets.get(length - 1);
    let ciphered = cipher.is_some();
    let next = packets.get(length..).and_then(first_u16).map(|id| {
        cipher.map_or(id, |mut cipher| {
            cipher.advance();
            cipher.peek(id)
        })
    });
    let known_next = next.is_none_or(|id| is_from(table, id, Direction::ClientToServer));
    if matches!(sex, Some(0 | 1)) && known_next {
        Fit::Yes {
            ciphered,
            framed: true,
        }
    } else {
        Fit::No
    }
}

/// A server's side, behind the raw account id.
fn answered(table: &PacketTable, packets: &[u8]) -> Fit {
    if first_u16(packets).is_none_or(|id| !is_from(table, id, Direction::ServerToClient)) {
        return Fit::No;
    }
    let mut rest = packets;
    while let Some(id) = first_u16(rest) {
        if contradicts(table, id, rest) {
            return Fit::No;
        }
        match head(table, None, rest) {
            Head::Whole { length, .. } => rest = rest.get(length..).unwrap_or_default(),
            Head::Incomplete => break,
            Head::Unframeable(_) => {
                return Fit::Yes {
                    ciphered: false,
                    framed: false,
                };
            }
        }
    }
    Fit::PLAIN
}

/// How far `table` gets with `rest`, which begins at a packet border.
fn reach(table: &PacketTable, direction: Direction, mut rest: &[u8]) -> Reach {
    while !rest.is_empty() {
        let Some(id) = first_u16(rest) else {
            return Reach::Within;
        };
        if !is_from(table, id, direction) {
            return Reach::Broken;
        }
        match head(table, None, rest) {
            Head::Whole { length, .. } => rest = rest.get(length..).unwrap_or_default(),
            Head::Incomplete => return Reach::Within,
            Head::Unframeable(_) => return Reach::Broken,
        }
    }
    Reach::Border
}

/// The number at the front; of a packet, its id.
fn first_u16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|id| u16::from_le_bytes(*id))
}

/// Whether a server of this version would not send the packet `id` like this. `bytes` begin with
/// the packet, which may be cut short.
fn contradicts(table: &PacketTable, id: u16, bytes: &[u8]) -> bool {
    let newer = table.version() >= NEW_ADDRESSES;
    match id {
        0x0069 | 0x0071 | 0x0092 => return newer,
        0x0AC4 | 0x0AC5 | 0x0AC7 => return !newer,
        _ => {}
    }
    let Some(record) = table.char_record() else {
        return false;
    };
    let (newest, size) = NEWEST;
    let wrong_packet =
        (newest.contains(&id) && record != size) || (BEFORE_NEWEST.contains(&id) && record == size);
    let list = CHAR_LISTS.iter().find(|(list, _)| *list == id);
    let wrong_size = list.is_some_and(|(_, before)| {
        let length = bytes.get(2..).and_then(first_u16);
        length.is_some_and(|length| {
            let records = length.checked_sub(*before);
            records.is_none_or(|records| records % record != 0)
        })
    });
    wrong_packet || wrong_size
}

/// Whether the table has this id, and nothing is known against its travelling in `direction`.
fn is_from(table: &PacketTable, id: u16, direction: Direction) -> bool {
    table.length_of(id).is_some()
        && table
            .info(id)
            .is_none_or(|info| info.direction == direction)
}

#[cfg(test)]
mod tests;
