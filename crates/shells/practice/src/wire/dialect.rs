//! What differs between the client versions that the practice game speaks.
//!
//! The game logic of both ends knows no ids and no offsets that depend on the version: it asks a
//! [`Dialect`], whose packets are built in `packets`, `requests` and `units`.
//!
//! | | 20130807 | 20151029 | 20170614 | 20180621 | 20200401 | 20211103 |
//! |---|---|---|---|---|---|---|
//! | enter a map | 022D, 19 bytes | 022D, 19 | 0944, 19 | 0436, 19 | 0436, 19 | 0436, 23 |
//! | time, walk | 035F 0437 | 035F 0437 | 0866 0361 | 0360 035F | 0360 035F | 0360 035F |
//! | turn, act, name | 0202 0369 096A | 0202 0369 096A | 087E 083C 0936 | 0361 0437 0368 | 0361 0437 0368 | 0361 0437 0368 |
//! | a chat line ends with a zero | yes | no | no | no | no | yes |
//! | addresses | 0069 0071 0092 | 0069 0071 0092 | 0AC4 0AC5 0AC7 | 0AC4 0AC5 0AC7 | 0AC4 0AC5 0AC7 | 0AC4 0AC5 0AC7 |
//! | character record | 144 bytes | 147 | 147 | 155 | 155 | 175 |
//! | list page | 099D | 099D | 099D | 099D | 099D | 0B72 |
//! | number of pages, 09A0 | 6 bytes | 6 | 10 | 6 | 6 | 6 |
//! | accepted on a map | 02EB | 0A18 | 02EB | 02EB | 02EB | 02EB |
//! | units | 0915 090F 0914 | 09FF 09FE 09FD | 09FF 09FE 09FD | 09FF 09FE 09FD | the same with a shield | the same with a shield |
//! | sits, stands | 02E1 | 08C8 | 08C8 | 08C8 | 08C8 | 08C8 |
//! | name of a player, of an npc | 0195 0095 | 0A30 0095 | 0A30 0095 | 0A30 0ADF | 0A30 0ADF | 0A30 0ADF |
//!
//! Sources: ro-protocol for 20211103; for the others the dates at which rAthena and Hercules
//! change an id or a layout. Clients have sent chat lines without a zero since October 2015;
//! 20211103 has it here because the recorded client sends it.

use std::sync::Arc;

use warp_ro_packet::{IdKeys, PacketTable};

use super::frame::Cutter;
use crate::version::VersionError;

/// The packets that announce a server's address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announcing {
    /// The login server's: id, and where its only record begins with the address.
    pub(crate) login: (u16, usize),
    /// The char server's.
    pub(crate) map_server: u16,
    /// The map server's.
    pub(crate) change_server: u16,
    /// Bytes at the end of each, for the address as text.
    pub(crate) text: usize,
}

impl Announcing {
    /// IPv4 and port, then name and three numbers.
    const RECORD: usize = 32;
    /// Where the address stands in the packets of the char server and the map server.
    pub(crate) const ZONE: usize = 22;

    /// Where a packet of this id has its first address, and where the text that goes with it.
    pub(crate) fn places(&self, id: u16) -> Option<(usize, usize)> {
        if id == self.login.0 {
            Some((self.login.1, self.login.1 + Self::RECORD))
        } else if id == self.map_server || id == self.change_server {
            Some((Self::ZONE, Self::ZONE + 6))
        } else {
            None
        }
    }
}

/// Until March 2017.
const OLD_ADDRESSES: Announcing = Announcing {
    login: (0x0069, 47),
    map_server: 0x0071,
    change_server: 0x0092,
    text: 0,
};

/// Since then.
const NEW_ADDRESSES: Announcing = Announcing {
    login: (0x0AC4, 64),
    map_server: 0x0AC5,
    change_server: 0x0AC7,
    text: 128,
};

/// The packets that show a unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnitFacts {
    pub(crate) standing: u16,
    pub(crate) arriving: u16,
    pub(crate) walking: u16,
    /// The unit id is followed by the character's id.
    pub(crate) character: bool,
    /// The shield has a field of its own.
    pub(crate) shield: bool,
    /// Body style and name stand at the end.
    pub(crate) name: bool,
}

/// Fields of a character record that came or grew with time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CharacterFacts {
    /// Body style and sex.
    pub(crate) body: bool,
    /// Bytes of base and job experience.
    pub(crate) experience: usize,
    /// Bytes of hit points, and of spell points.
    pub(crate) points: (usize, usize),
}

/// What a client is told about its bag when a map is loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bag {
    /// Two lists, both empty.
    Lists([u16; 2]),
    /// 0B08 and 0B0B, with no list between them.
    Bracketed,
}

/// Everything that a version fixes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) version: u32,

    // What a client sends to a map server.
    pub(crate) enter: u16,
    /// Bytes between the tick and the sex of the packet that enters a map.
    pub(crate) enter_gap: usize,
    pub(crate) time: u16,
    pub(crate) walk: u16,
    pub(crate) turn: u16,
    pub(crate) act: u16,
    pub(crate) name: u16,
    pub(crate) chat_zero: bool,

    // What a client is sent.
    pub(crate) announcing: Announcing,
    pub(crate) character: CharacterFacts,
    pub(crate) list_page: u16,
    /// 09A0 says the number of slots, too.
    pub(crate) slots_with_pages: bool,
    pub(crate) accept_enter: u16,
    /// The sex stands at the end of the packet above.
    pub(crate) accept_sex: bool,
    pub(crate) units: UnitFacts,
    /// Who sits down or stands up: id, bytes between the unit and what it does.
    pub(crate) posture: (u16, usize),
    /// Bytes of each of the two values of 01D7.
    pub(crate) looks: usize,
    /// Id, bytes before and behind the name.
    pub(crate) player_name: (u16, usize, usize),
    /// The same for an npc.
    pub(crate) npc_name: (u16, usize, usize),
    pub(crate) bag: Bag,
    /// 0B18, the size of the bag, before a client is accepted on a map.
    pub(crate) bag_size: bool,
    /// 0B1B, the answer to 0447.
    pub(crate) confirms_load: bool,
    /// 0A9B, equipment to switch to.
    pub(crate) switch_list: bool,
    /// 09E7, whether there is unread mail.
    pub(crate) mail: bool,
    /// 0ADE, the weight from which on a character is slow.
    pub(crate) weight: bool,
    /// 0B8D at the end of loading.
    pub(crate) load_end: bool,
}

const V20130807: Facts = Facts {
    version: 20_130_807,
    enter: 0x022D,
    enter_gap: 0,
    time: 0x035F,
    walk: 0x0437,
    turn: 0x0202,
    act: 0x0369,
    name: 0x096A,
    chat_zero: true,
    announcing: OLD_ADDRESSES,
    character: CharacterFacts {
        body: false,
        experience: 4,
        points: (4, 2),
    },
    list_page: 0x099D,
    slots_with_pages: false,
    accept_enter: 0x02EB,
    accept_sex: false,
    units: UnitFacts {
        standing: 0x0915,
        arriving: 0x090F,
        walking: 0x0914,
        character: false,
        shield: false,
        name: false,
    },
    posture: (0x02E1, 22),
    looks: 2,
    player_name: (0x0195, 0, 72),
    npc_name: (0x0095, 0, 0),
    bag: Bag::Lists([0x0991, 0x0992]),
    bag_size: false,
    confirms_load: false,
    switch_list: false,
    mail: false,
    weight: false,
    load_end: false,
};

const V20151029: Facts = Facts {
    version: 20_151_029,
    chat_zero: false,
    character: CharacterFacts {
        body: true,
        ..V20130807.character
    },
    accept_enter: 0x0A18,
    accept_sex: true,
    units: UnitFacts {
        standing: 0x09FF,
        arriving: 0x09FE,
        walking: 0x09FD,
        character: true,
        shield: false,
        name: true,
    },
    posture: (0x08C8, 23),
    player_name: (0x0A30, 0, 76),
    bag: Bag::Lists([0x0991, 0x0A0D]),
    mail: true,
    ..V20130807
};

const V20170614: Facts = Facts {
    version: 20_170_614,
    enter: 0x0944,
    time: 0x0866,
    walk: 0x0361,
    turn: 0x087E,
    act: 0x083C,
    name: 0x0936,
    announcing: NEW_ADDRESSES,
    slots_with_pages: true,
    accept_enter: 0x02EB,
    accept_sex: false,
    switch_list: true,
    ..V20151029
};

const V20180621: Facts = Facts {
    version: 20_180_621,
    enter: 0x0436,
    time: 0x0360,
    walk: 0x035F,
    turn: 0x0361,
    act: 0x0437,
    name: 0x0368,
    character: CharacterFacts {
        experience: 8,
        ..V20170614.character
    },
    slots_with_pages: false,
    npc_name: (0x0ADF, 4, 24),
    weight: true,
    ..V20170614
};

const V20200401: Facts = Facts {
    version: 20_200_401,
    units: UnitFacts {
        shield: true,
        ..V20180621.units
    },
    looks: 4,
    bag: Bag::Bracketed,
    bag_size: true,
    confirms_load: true,
    ..V20180621
};

const V20211103: Facts = Facts {
    version: 20_211_103,
    enter_gap: 4,
    chat_zero: true,
    character: CharacterFacts {
        points: (8, 8),
        ..V20200401.character
    },
    list_page: 0x0B72,
    load_end: true,
    ..V20200401
};

/// Oldest first.
static ALL: [Facts; 6] = [
    V20130807, V20151029, V20170614, V20180621, V20200401, V20211103,
];

/// A version with its length table, and whether the ids of a map connection are enciphered.
pub(crate) struct Dialect {
    pub(crate) facts: &'static Facts,
    pub(crate) table: Arc<PacketTable>,
    keys: Option<IdKeys>,
}

impl Dialect {
    pub(crate) fn versions() -> impl Iterator<Item = u32> {
        ALL.iter().map(|facts| facts.version)
    }

    /// The dialect of a version; `obfuscate` enciphers the ids that a client sends to a map
    /// server.
    pub(crate) fn of(version: u32, obfuscate: bool) -> Result<Arc<Self>, VersionError> {
        let unknown = VersionError::Unknown { version };
        let facts = ALL.iter().find(|facts| facts.version == version);
        let facts = facts.ok_or(unknown)?;
        let table = PacketTable::for_version(version).ok_or(unknown)?;
        let keys = match (obfuscate, table.cipher()) {
            (false, _) => None,
            (true, Some(keys)) => Some(keys),
            (true, None) => return Err(VersionError::NoKeys { version }),
        };
        Ok(Arc::new(Self { facts, table, keys }))
    }

    /// Cuts everything but what [`Dialect::map_cutter`] cuts.
    pub(crate) fn cutter(&self) -> Cutter {
        Cutter::new(Arc::clone(&self.table), None)
    }

    /// Cuts what a client sends to a map server.
    pub(crate) fn map_cutter(&self) -> Cutter {
        Cutter::new(Arc::clone(&self.table), self.keys)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every dialect, with plain ids.
    pub(crate) fn all() -> impl Iterator<Item = Arc<Dialect>> {
        Dialect::versions().map(|version| Dialect::of(version, false).unwrap())
    }

    /// What is spoken by default.
    pub(crate) fn newest() -> Arc<Dialect> {
        Dialect::of(crate::version::DEFAULT_VERSION, false).unwrap()
    }

    /// Two sources for the same ids: the roles that the bridge acts upon, and the facts above.
    #[test]
    fn the_ids_that_a_bridge_acts_upon_are_ours() {
        for dialect in all() {
            let (facts, roles) = (dialect.facts, dialect.table.roles());
            let theirs = [
                roles.map_enter,
                roles.time_sync,
                roles.map_loaded,
                roles.public_chat,
                roles.system_chat,
                roles.char_enter,
                roles.restart,
            ];
            let ours = [
                facts.enter,
                facts.time,
                0x007D,
                0x00F3,
                0x008E,
                0x0065,
                0x00B2,
            ];
            assert_eq!(theirs, ours.map(Some), "{}", facts.version);
        }
    }

    #[test]
    fn every_version_with_a_length_table_is_spoken() {
        let ours: Vec<u32> = Dialect::versions().collect();
        let tables: Vec<u32> = PacketTable::versions().collect();
        assert_eq!(ours, tables);
    }
}
