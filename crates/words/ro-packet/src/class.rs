//! What a packet is about, and what is known about single ids.

use serde::{Deserialize, Serialize};

use crate::Direction;

/// What a packet is about. Policy code compares classes, never ids: ids differ from
/// version to version.
///
/// The class of an id comes from the version's table, [`crate::PacketTable::class_of`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum PacketClass {
    /// Where units are: walk requests and moves, turns, stops, units that come into sight or leave it.
    Movement,
    /// Text that players send each other: public, whisper, party, guild.
    Chat,
    /// Emotions.
    Emote,
    /// Skills: use, cast, effect, list.
    Skill,
    /// Items: on the floor, in the bag, worn, used.
    Item,
    /// Everything else, and every id that the version's table does not class.
    #[default]
    Other,
}

impl PacketClass {
    /// All classes, in the order of [`PacketClass::index`].
    pub const ALL: [PacketClass; 6] = [
        PacketClass::Movement,
        PacketClass::Chat,
        PacketClass::Emote,
        PacketClass::Skill,
        PacketClass::Item,
        PacketClass::Other,
    ];

    /// The place of this class in [`PacketClass::ALL`], for tables of counters.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The stable name that configuration, events and metrics use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PacketClass::Movement => "movement",
            PacketClass::Chat => "chat",
            PacketClass::Emote => "emote",
            PacketClass::Skill => "skill",
            PacketClass::Item => "item",
            PacketClass::Other => "other",
        }
    }
}

/// What a version's table says about one id beside its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketInfo {
    /// The packet's id.
    pub id: u16,
    /// The way it travels.
    pub direction: Direction,
    /// What it is about.
    pub class: PacketClass,
    /// Its name as emulators write it, for logs and the inspector.
    pub name: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_names_the_place_in_all() {
        for (place, class) in PacketClass::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), place);
        }
    }
}
