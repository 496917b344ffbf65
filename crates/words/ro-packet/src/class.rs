//! What a packet is about, and what is known about single ids.

use serde::{Deserialize, Serialize};

use crate::Direction;

/// What a packet is about. Policy code compares classes, never ids: ids differ from
/// version to version.
///
/// The class of an id comes from the version's table, [`crate::PacketTable::class_of`]. Where a
/// packet could be in two, the first of chat, npc, group, item, skill wins: what members of a
/// party say is chat, what an NPC sells is npc, the storage of a guild is item.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum PacketClass {
    /// Where units are: walk requests and moves, turns, stops, units that come into sight or leave it.
    Movement,
    /// Text for people to read: public, whisper, party, guild, announcements; chat rooms and
    /// what concerns whispering.
    Chat,
    /// Emotions of players.
    Emote,
    /// Skills: use, cast, effect, list.
    Skill,
    /// Items: on the floor, in the bag, worn, used, made and refined; carts, storages, trade, shops of
    /// players and the cash shop.
    Item,
    /// Talking to an NPC, its shop included: dialog, menus, input, cutins.
    Npc,
    /// Parties, guilds and clans: membership, invitations, positions and health of members, alliances.
    #[serde(rename = "party-guild")]
    Group,
    /// The session itself and the player's own state: login, character selection, entering and
    /// leaving maps, time sync, restart, quit, ban notices, status and parameter changes,
    /// settings and hotkeys, messages by number.
    System,
    /// Everything else (fights, names, effects, quests, mail, friends, pets, ...), and every id
    /// that the version's table does not class. Attacking, sitting and standing share one id
    /// and are here.
    #[default]
    Other,
}

impl PacketClass {
    /// All classes, in the order of [`PacketClass::index`].
    pub const ALL: [PacketClass; 9] = [
        PacketClass::Movement,
        PacketClass::Chat,
        PacketClass::Emote,
        PacketClass::Skill,
        PacketClass::Item,
        PacketClass::Npc,
        PacketClass::Group,
        PacketClass::System,
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
            PacketClass::Npc => "npc",
            PacketClass::Group => "party-guild",
            PacketClass::System => "system",
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

    #[test]
    fn names_are_the_stable_ones() {
        let names: Vec<_> = PacketClass::ALL
            .into_iter()
            .map(PacketClass::as_str)
            .collect();
        assert_eq!(
            names.join(" "),
            "movement chat emote skill item npc party-guild system other"
        );
    }
}
