//! Reading of OpenKore's `recvpackets.txt`, so that an operator can add a client version.
//!
//! One packet a line: `ID LENGTH [MIN [REPEAT [NAME...]]]`, the id in hex without `0x`, the
//! length in bytes in decimal, `0` or `-1` for a variable one (tables up to 2018 or so write `0`,
//! later ones `-1`). `MIN` and `REPEAT` are about OpenKore's own use and only have to be numbers,
//! what follows them is a description. `#` begins a comment, blank lines count for nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::table::{PacketLength, PacketTable, TableParts, VARIABLE};
use crate::versions::{self, SHUFFLED};

/// The most packets that one file may name; the public tables of 2021 have about 1600.
const MAX_ROWS: usize = 8192;

/// The longest line in bytes.
const MAX_LINE: usize = 200;

/// What is wrong with a `recvpackets.txt`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecvPacketsError {
    /// A line is not a packet.
    #[error("line {line}: {what}: {text:?}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The line as it stands, without its comment; at most 200 bytes of it.
        text: String,
        /// What is wrong and what is expected.
        what: RecvPacketsProblem,
    },
    /// The file names no packet.
    #[error("the table is empty: at least one line `ID LENGTH` is expected, for example `0064 55`")]
    Empty,
}

/// What is wrong with one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecvPacketsProblem {
    /// The line has more than 200 bytes.
    #[error("the line is longer than {MAX_LINE} bytes")]
    LongLine,
    /// The first word is not an id.
    #[error("a packet id is expected first: one to four hex digits, for example 0064")]
    BadId,
    /// The second word is missing or not a length.
    #[error(
        "the packet's length in bytes is expected after its id: 2 to 65534, or 0 or -1 for a length field at offset 2"
    )]
    BadLength,
    /// A third or fourth word is not a number.
    #[error("after the length, the least length and a repeat count may follow, as numbers")]
    BadRest,
    /// An earlier line gives the same id another length.
    #[error("this id has another length in line {0}; one of the two has to go")]
    Contradicts(usize),
    /// More than 8192 packets.
    #[error("the table has more than {MAX_ROWS} packets")]
    TooMany,
}

impl PacketTable {
    /// Reads a table of at most 8192 packets in the format of OpenKore's `recvpackets.txt` as client version `version`.
    ///
    /// The file says lengths only. Classes, names and roles come from the compiled-in table of the
    /// same version, else from the nearest older one (the oldest if all are newer), for those ids
    /// whose length is the same in both; so a role may be absent. Clients of 2011 to March 2018 shuffled
    /// ids in every build: of one whose version is not compiled in, the map login and the time request
    /// are not known, its names and classes can be wrong, and its map connections cannot be read. The
    /// keys of the id xor come from the same version only.
    ///
    /// # Errors
    ///
    /// The first line that is wrong, or that the table is empty.
    pub fn from_recvpackets(version: u32, text: &str) -> Result<PacketTable, RecvPacketsError> {
        let rows = read(text)?;
        let last = rows.keys().next_back().ok_or(RecvPacketsError::Empty)?;
        let mut lengths = vec![[0; 16]; usize::from(last >> 4) + 1];
        for (id, (_, cell)) in &rows {
            if let Some(row) = lengths.get_mut(usize::from(id >> 4)) {
                row[usize::from(id & 0x0F)] = *cell;
            }
        }
        let model = versions::nearest(version);
        let same = |id: u16| {
            let cell = rows.get(&id).map(|(_, cell)| *cell);
            match model.length_of(id) {
                None => false,
                Some(PacketLength::Fixed(length)) => cell == Some(length),
                Some(PacketLength::Variable) => cell == Some(VARIABLE),
            }
        };
        let known = model
            .known()
            .iter()
            .filter(|info| same(info.id))
            .copied()
            .collect();
        let mut roles = model.roles().only(same);
        if model.version() != version && SHUFFLED.contains(&version) {
            roles = roles.without_shuffled();
        }
        let keys = (model.version() == version)
            .then(|| model.cipher())
            .flatten();
        let char_record = (model.version() == version)
            .then(|| model.char_record())
            .flatten();
        Ok(PacketTable::assemble(TableParts {
            version,
            lengths: Cow::Owned(lengths),
            known,
            roles,
            keys,
            char_record,
        }))
    }
}

/// Line and length cell by id.
fn read(text: &str) -> Result<BTreeMap<u16, (usize, u16)>, RecvPacketsError> {
    let mut rows = BTreeMap::new();
    for (place, line) in text.lines().enumerate() {
        let number = place + 1;
        let wrong = |what| RecvPacketsError::Line {
            line: number,
            text: shown(line),
            what,
        };
        if line.len() > MAX_LINE {
            return Err(wrong(RecvPacketsProblem::LongLine));
        }
        let Some((id, cell)) = row(line).map_err(wrong)? else {
            continue;
        };
        match rows.get(&id) {
            Some((_, first)) if *first == cell => {}
            Some((earlier, _)) => return Err(wrong(RecvPacketsProblem::Contradicts(*earlier))),
            None if rows.len() == MAX_ROWS => return Err(wrong(RecvPacketsProblem::TooMany)),
            None => {
                rows.insert(id, (number, cell));
            }
        }
    }
    Ok(rows)
}

/// Id and length cell of one line; `None` if it is blank or a comment.
fn row(line: &str) -> Result<Option<(u16, u16)>, RecvPacketsProblem> {
    // Some editors put a byte order mark in front of the first line.
    let line = line.trim_start_matches('\u{FEFF}');
    let mut words = line
        .split('#')
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace();
    let Some(id) = words.next() else {
        return Ok(None);
    };
    let plain_hex = (1..=4).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u16::from_str_radix(id, 16)
        .ok()
        .filter(|_| plain_hex)
        .ok_or(RecvPacketsProblem::BadId)?;
    let cell = match words.next().and_then(|word| word.parse::<i64>().ok()) {
        Some(0 | -1) => VARIABLE,
        Some(length) => u16::try_from(length)
            .ok()
            .filter(|length| (2..VARIABLE).contains(length))
            .ok_or(RecvPacketsProblem::BadLength)?,
        None => return Err(RecvPacketsProblem::BadLength),
    };
    if words.take(2).any(|word| word.parse::<i64>().is_err()) {
        return Err(RecvPacketsProblem::BadRest);
    }
    Ok(Some((id, cell)))
}

/// A line as an error shows it.
fn shown(line: &str) -> String {
    let line = line.split('#').next().unwrap_or_default().trim();
    let mut end = line.len().min(MAX_LINE);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
