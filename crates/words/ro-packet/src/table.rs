//! Packet lengths, classes, names and roles of one client version.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::cipher::IdKeys;
use crate::class::{PacketClass, PacketInfo};
use crate::roles::Roles;
use crate::{Direction, versions};

/// The cell of a length row that means "length at offset 2". No fixed length comes near it.
pub(crate) const VARIABLE: u16 = u16::MAX;

/// How long a packet of a known id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketLength {
    /// Always this many bytes, the id included (at least 2).
    Fixed(u16),
    /// The whole length is a little-endian `u16` at offset 2, the id and itself included (at least 4).
    Variable,
}

/// What is known about the packets of one client version (its "PACKETVER", a date as a number).
///
/// Tables are compiled into the program, or read from an operator's file by
/// [`PacketTable::from_recvpackets`]. Length and class of an id are each one index into an
/// array, names and directions a binary search.
pub struct PacketTable {
    version: u32,
    /// Sixteen ids a row, see the version's module.
    lengths: Cow<'static, [[u16; 16]]>,
    /// One per id, from 0 to the last id with a length.
    classes: Box<[PacketClass]>,
    /// Sorted by id.
    known: Box<[PacketInfo]>,
    roles: Roles,
    keys: Option<IdKeys>,
    char_record: Option<u16>,
}

/// What [`PacketTable::assemble`] makes a table of.
pub(crate) struct TableParts {
    pub(crate) version: u32,
    /// Sixteen ids a row.
    pub(crate) lengths: Cow<'static, [[u16; 16]]>,
    /// In any order.
    pub(crate) known: Vec<PacketInfo>,
    pub(crate) roles: Roles,
    pub(crate) keys: Option<IdKeys>,
    pub(crate) char_record: Option<u16>,
}

impl fmt::Debug for PacketTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketTable")
            .field("version", &self.version)
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}

impl PacketTable {
    /// Puts a table together. Known packets without a length are left out.
    pub(crate) fn assemble(parts: TableParts) -> PacketTable {
        let TableParts {
            version,
            lengths,
            mut known,
            roles,
            keys,
            char_record,
        } = parts;
        known.retain(|info| length_in(&lengths, info.id).is_some());
        known.sort_unstable_by_key(|info| info.id);
        let mut classes = vec![PacketClass::Other; lengths.len() * 16].into_boxed_slice();
        for info in &known {
            if let Some(class) = classes.get_mut(usize::from(info.id)) {
                *class = info.class;
            }
        }
        PacketTable {
            version,
            lengths,
            classes,
            known: known.into_boxed_slice(),
            roles,
            keys,
            char_record,
        }
    }

    /// The table of a client version such as `20211103`, or `None` if this program has none.
    #[must_use]
    pub fn for_version(version: u32) -> Option<Arc<PacketTable>> {
        versions::all()
            .iter()
            .find(|table| table.version == version)
            .map(Arc::clone)
    }

    /// The versions that [`PacketTable::for_version`] knows, oldest first.
    pub fn versions() -> impl Iterator<Item = u32> {
        versions::all().iter().map(|table| table.version)
    }

    /// The client version that this table describes.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The length of packet `id`, or `None` if this version has no such packet.
    #[must_use]
    pub fn length_of(&self, id: u16) -> Option<PacketLength> {
        length_in(&self.lengths, id)
    }

    /// Every id of this version with its length, ascending.
    pub fn ids(&self) -> impl Iterator<Item = (u16, PacketLength)> {
        let last = u16::try_from(self.lengths.len() * 16 - 1).unwrap_or(u16::MAX);
        (0..=last).filter_map(|id| Some((id, self.length_of(id)?)))
    }

    /// Class, direction and name of packet `id`, or `None` if only its length (or nothing) is known.
    #[must_use]
    pub fn info(&self, id: u16) -> Option<&PacketInfo> {
        let place = self.known.binary_search_by_key(&id, |info| info.id).ok()?;
        self.known.get(place)
    }

    /// What packet `id` is about; [`PacketClass::Other`] for every id without a class of its own.
    #[must_use]
    pub fn class_of(&self, id: u16) -> PacketClass {
        self.classes
            .get(usize::from(id))
            .copied()
            .unwrap_or_default()
    }

    /// The name of a packet that travels in `direction`. `None` for ids without a known name and
    /// for a packet that is known to travel the other way.
    #[must_use]
    pub fn name_of(&self, id: u16, direction: Direction) -> Option<&'static str> {
        let info = self.info(id)?;
        (info.direction == direction).then_some(info.name)
    }

    /// Everything that [`PacketTable::info`] knows, ascending by id.
    #[must_use]
    pub fn known(&self) -> &[PacketInfo] {
        &self.known
    }

    /// The ids that the bridge acts upon.
    #[must_use]
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The keys that clients of this version xor their ids with on a map connection
    /// ([`crate::IdCipher`]), where they are known and not zero.
    ///
    /// A server can be built with the xor switched off, or with keys of its own; then its
    /// clients are patched to match. [`crate::Detector`] tells from the first packet.
    #[must_use]
    pub fn cipher(&self) -> Option<IdKeys> {
        self.keys
    }

    /// Bytes of one character in the lists of the char server (006B, 099D, 0B72), where it is known.
    pub(crate) fn char_record(&self) -> Option<u16> {
        self.char_record
    }
}

fn length_in(lengths: &[[u16; 16]], id: u16) -> Option<PacketLength> {
    let row = lengths.get(usize::from(id >> 4))?;
    match row[usize::from(id & 0x0F)] {
        0 => None,
        VARIABLE => Some(PacketLength::Variable),
        fixed => Some(PacketLength::Fixed(fixed)),
    }
}

/// The name of a packet that travels in `direction`, for logs and the inspector, by the newest
/// version this program knows; see [`PacketTable::name_of`].
#[must_use]
pub fn packet_name(id: u16, direction: Direction) -> Option<&'static str> {
    versions::all().last()?.name_of(id, direction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{ClientToServer, ServerToClient};

    fn table() -> Arc<PacketTable> {
        PacketTable::for_version(20_211_103).unwrap()
    }

    #[test]
    fn lengths_of_the_described_packets() {
        let table = table();
        for (id, length) in [
            (0x0064, 55),
            (0x0065, 17),
            (0x0066, 3),
            (0x0436, 23),
            (0x007D, 2),
            (0x035F, 5),
            (0x0087, 12),
            (0x0091, 22),
            (0x0AC5, 156),
            (0x0AC7, 156),
            (0x0B41, 70),
            (0x0B74, 1026),
        ] {
            assert_eq!(
                table.length_of(id),
                Some(PacketLength::Fixed(length)),
                "{id:04X}"
            );
        }
        for id in [0x0AC4, 0x00F3, 0x008D, 0x08E, 0x09FD, 0x09FE, 0x09FF] {
            assert_eq!(
                table.length_of(id),
                Some(PacketLength::Variable),
                "{id:04X}"
            );
        }
        for id in [0x0000, 0x0063, 0x0BAF, 0x0C32, 0xFFFF] {
            assert_eq!(table.length_of(id), None, "{id:04X}");
        }
    }

    #[test]
    fn the_table_is_complete_and_sane() {
        let table = table();
        assert_eq!(table.ids().count(), 1585);
        assert_eq!(table.ids().last().map(|(id, _)| id), Some(0x0BAE));
        for (id, length) in table.ids() {
            if let PacketLength::Fixed(bytes) = length {
                assert!((2..=1042).contains(&bytes), "{id:04X} is {bytes} bytes");
            }
        }
    }

    #[test]
    fn versions_are_sorted_and_found() {
        let all: Vec<u32> = PacketTable::versions().collect();
        assert_eq!(
            all,
            [
                20_130_807, 20_151_029, 20_170_614, 20_180_621, 20_200_401, 20_211_103
            ]
        );
        assert_eq!(table().version(), 20_211_103);
        assert!(PacketTable::for_version(1).is_none());
    }

    #[test]
    fn classes_of_the_playing_packets() {
        let table = table();
        for (id, class) in [
            (0x035F, PacketClass::Movement),
            (0x0087, PacketClass::Movement),
            (0x09FD, PacketClass::Movement),
            (0x00F3, PacketClass::Chat),
            (0x008D, PacketClass::Chat),
            (0x0096, PacketClass::Chat),
            (0x00BF, PacketClass::Emote),
            (0x00C0, PacketClass::Emote),
            (0x0438, PacketClass::Skill),
            (0x0B1A, PacketClass::Skill),
            (0x0362, PacketClass::Item),
            (0x0ADD, PacketClass::Item),
            (0x00B4, PacketClass::Npc),
            (0x0146, PacketClass::Npc),
            (0x00FE, PacketClass::Group),
            (0x014C, PacketClass::Group),
            (0x0108, PacketClass::Chat),
            (0x0436, PacketClass::System),
            (0x0360, PacketClass::System),
            (0x00B0, PacketClass::System),
            (0x0437, PacketClass::Other),
            (0xFFFF, PacketClass::Other),
        ] {
            assert_eq!(table.class_of(id), class, "{id:04X}");
        }
    }

    #[test]
    fn names_follow_the_direction() {
        assert_eq!(packet_name(0x035F, ClientToServer), Some("CZ_REQUEST_MOVE"));
        assert_eq!(packet_name(0x035F, ServerToClient), None);
        assert_eq!(
            packet_name(0x0AC5, ServerToClient),
            Some("HC_NOTIFY_ZONESVR")
        );
        assert_eq!(packet_name(0x0BAE, ClientToServer), None);
        let old = PacketTable::for_version(20_170_614).unwrap();
        assert_eq!(old.name_of(0x0361, ClientToServer), Some("CZ_REQUEST_MOVE"));
        assert_eq!(old.name_of(0x035F, ClientToServer), None);
    }
}
