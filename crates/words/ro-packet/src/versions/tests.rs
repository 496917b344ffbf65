use std::collections::HashSet;

use super::known::client::CLIENT;
use super::known::server::SERVER;
use super::*;
use crate::table::PacketLength;
use crate::{Direction, PacketClass};

/// What a player does, whatever the version's ids are.
const DONE_BY_PLAYERS: &[(&str, PacketClass)] = &[
    ("CA_LOGIN", PacketClass::System),
    ("CH_ENTER", PacketClass::System),
    ("CH_SELECT_CHAR", PacketClass::System),
    ("CZ_ENTER", PacketClass::System),
    ("CZ_NOTIFY_ACTORINIT", PacketClass::System),
    ("CZ_REQUEST_TIME", PacketClass::System),
    ("CZ_RESTART", PacketClass::System),
    ("CZ_REQ_DISCONNECT", PacketClass::System),
    ("CZ_REQUEST_MOVE", PacketClass::Movement),
    ("CZ_CHANGE_DIRECTION", PacketClass::Movement),
    ("CZ_REQUEST_ACT", PacketClass::Other),
    ("CZ_REQNAME", PacketClass::Other),
    ("CZ_REQUEST_CHAT", PacketClass::Chat),
    ("CZ_WHISPER", PacketClass::Chat),
    ("CZ_REQUEST_CHAT_PARTY", PacketClass::Chat),
    ("CZ_GUILD_CHAT", PacketClass::Chat),
    ("CZ_REQ_EMOTION", PacketClass::Emote),
    ("CZ_USE_SKILL", PacketClass::Skill),
    ("CZ_USE_SKILL_TOGROUND", PacketClass::Skill),
    ("CZ_UPGRADE_SKILLLEVEL", PacketClass::Skill),
    ("CZ_ITEM_PICKUP", PacketClass::Item),
    ("CZ_ITEM_THROW", PacketClass::Item),
    ("CZ_USE_ITEM", PacketClass::Item),
    ("CZ_REQ_WEAR_EQUIP", PacketClass::Item),
    ("CZ_REQ_TAKEOFF_EQUIP", PacketClass::Item),
    ("CZ_MOVE_ITEM_FROM_BODY_TO_STORE", PacketClass::Item),
    ("CZ_MOVE_ITEM_FROM_STORE_TO_BODY", PacketClass::Item),
    ("CZ_CLOSE_STORE", PacketClass::Item),
    ("CZ_CONTACTNPC", PacketClass::Npc),
    ("CZ_REQ_NEXT_SCRIPT", PacketClass::Npc),
    ("CZ_CLOSE_DIALOG", PacketClass::Npc),
    ("CZ_CHOOSE_MENU", PacketClass::Npc),
    ("CZ_INPUT_EDITDLG", PacketClass::Npc),
    ("CZ_INPUT_EDITDLGSTR", PacketClass::Npc),
    ("CZ_MAKE_GROUP", PacketClass::Group),
    ("CZ_PARTY_JOIN_REQ", PacketClass::Group),
    ("CZ_PARTY_JOIN_REQ_ACK", PacketClass::Group),
    ("CZ_REQ_LEAVE_GROUP", PacketClass::Group),
    ("CZ_REQ_GUILD_MENU", PacketClass::Group),
    ("CZ_REQ_JOIN_GUILD", PacketClass::Group),
];

#[test]
fn the_lists_are_in_order_and_say_nothing_twice() {
    let mut lists = vec![CLIENT, SERVER];
    lists.extend(COMPILED.iter().flat_map(|one| one.known));
    for list in lists {
        for pair in list.windows(2) {
            assert!(pair[0].id < pair[1].id, "{:04X}", pair[1].id);
        }
    }
    for compiled in &COMPILED {
        let mut seen = HashSet::new();
        for info in known::with(compiled.known) {
            assert!(
                seen.insert(info.id),
                "{}: {:04X} twice",
                compiled.version,
                info.id
            );
        }
    }
}

#[test]
fn every_shuffled_id_has_a_length_in_its_version_and_every_other_in_one() {
    for (compiled, table) in COMPILED.iter().zip(all()) {
        for info in compiled.known.iter().copied().flatten() {
            let length = table.length_of(info.id);
            assert!(
                length.is_some_and(|length| length != PacketLength::Fixed(2))
                    || info.name.ends_with("_PAGE")
                    || info.name.starts_with("CZ_REQ_CLOSE"),
                "{}: {:04X} {}",
                compiled.version,
                info.id,
                info.name
            );
        }
    }
    for info in [CLIENT, SERVER].into_iter().flatten() {
        assert!(
            all().iter().any(|table| table.length_of(info.id).is_some()),
            "{:04X} {}",
            info.id,
            info.name
        );
    }
}

#[test]
fn every_version_knows_what_players_do() {
    for table in all() {
        for (name, class) in DONE_BY_PLAYERS {
            let known: Vec<_> = (table.known().iter())
                .filter(|info| info.name == *name)
                .collect();
            assert!(!known.is_empty(), "{}: no {name}", table.version());
            for info in known {
                assert_eq!(info.direction, Direction::ClientToServer);
                assert_eq!(info.class, *class, "{name}");
                assert_eq!(table.class_of(info.id), *class, "{name}");
            }
        }
    }
}

#[test]
fn one_packet_has_one_length_wherever_it_was_shuffled_to() {
    // Those whose layout did not change from 2013 to 2021.
    for (name, length) in [
        ("CZ_REQUEST_MOVE", 5),
        ("CZ_REQUEST_TIME", 6),
        ("CZ_CHANGE_DIRECTION", 5),
        ("CZ_REQUEST_ACT", 7),
        ("CZ_ITEM_PICKUP", 6),
        ("CZ_ITEM_THROW", 6),
        ("CZ_USE_SKILL", 10),
        ("CZ_REQNAME", 6),
        ("CZ_REQNAME_BYGID", 6),
        ("CZ_PARTY_JOIN_REQ", 26),
        ("CZ_ADD_FRIENDS", 26),
        ("CZ_ACK_STORE_PASSWORD", 36),
        ("CZ_COMMAND_MER", 5),
        ("CZ_MOVE_ITEM_FROM_BODY_TO_STORE", 8),
        ("CZ_MOVE_ITEM_FROM_STORE_TO_BODY", 8),
        ("CZ_GANGSI_RANK", 4),
        ("CZ_JOIN_BATTLE_FIELD", 8),
    ] {
        for table in all() {
            let info = (table.known().iter()).find(|info| info.name == name);
            let id = info
                .unwrap_or_else(|| panic!("{}: no {name}", table.version()))
                .id;
            assert_eq!(
                table.length_of(id),
                Some(PacketLength::Fixed(length)),
                "{}: {id:04X} {name}",
                table.version()
            );
        }
    }
}

#[test]
fn roles_name_the_packets_that_they_are_about() {
    for (table, enter_length) in all().iter().zip([19, 19, 19, 19, 19, 23]) {
        let roles = *table.roles();
        for (role, name, direction) in [
            (roles.map_enter, "CZ_ENTER", Direction::ClientToServer),
            (
                roles.map_loaded,
                "CZ_NOTIFY_ACTORINIT",
                Direction::ClientToServer,
            ),
            (
                roles.time_sync,
                "CZ_REQUEST_TIME",
                Direction::ClientToServer,
            ),
            (
                roles.public_chat,
                "CZ_REQUEST_CHAT",
                Direction::ClientToServer,
            ),
            (
                roles.system_chat,
                "ZC_NOTIFY_PLAYERCHAT",
                Direction::ServerToClient,
            ),
            (roles.char_enter, "CH_ENTER", Direction::ClientToServer),
            (roles.restart, "CZ_RESTART", Direction::ClientToServer),
        ] {
            let named = role.and_then(|id| table.name_of(id, direction));
            assert_eq!(named, Some(name), "{}", table.version());
        }
        assert_eq!(
            roles.map_enter.and_then(|id| table.length_of(id)),
            Some(PacketLength::Fixed(enter_length))
        );
    }
}

#[test]
fn only_the_versions_before_march_2018_hide_ids() {
    for table in all() {
        assert_eq!(
            table.cipher().is_some(),
            table.version() < 20_180_307,
            "{}",
            table.version()
        );
    }
}

#[test]
fn a_character_is_as_long_as_the_packet_about_a_new_one_says() {
    for table in all() {
        let id = if table.version() < 20_211_103 {
            0x006D
        } else {
            0x0B6F
        };
        let record = table.char_record().unwrap();
        assert_eq!(
            table.length_of(id),
            Some(PacketLength::Fixed(record + 2)),
            "{}",
            table.version()
        );
    }
}

#[test]
fn the_nearest_version_is_the_newest_that_is_not_newer() {
    for (asked, found) in [
        (0, 20_130_807),
        (20_130_807, 20_130_807),
        (20_151_028, 20_130_807),
        (20_190_101, 20_180_621),
        (20_211_103, 20_211_103),
        (20_990_101, 20_211_103),
    ] {
        assert_eq!(nearest(asked).version(), found, "{asked}");
    }
}

#[test]
fn a_class_never_depends_on_the_way_to_it() {
    for table in all() {
        for (id, _) in table.ids() {
            let class = table.info(id).map_or(PacketClass::Other, |info| info.class);
            assert_eq!(table.class_of(id), class, "{id:04X}");
        }
        assert_eq!(table.class_of(0xFFFF), PacketClass::Other);
    }
}
