//! The packets of the practice game beside units. Layouts: ro-protocol sections 2 to 5.
//!
//! The server sends them and the client builds the same bytes to compare with. Fixed parts that
//! mean nothing to either end (status, hotkeys) are as recorded (`s1-006`, `s1-007`).

use std::net::SocketAddrV4;

use warp_ro_packet::coords::{pack_move, pack_pos};

use super::Packet;
use crate::game::{Account, Place, Portal};

/// A pin state of the 08B9 packet: no pin is asked for.
const PIN_OFF: u16 = 0;

/// Number of list pages that 09A0 announces; the client asks for each.
pub(crate) const LIST_PAGES: u32 = 5;

/// Hit points and spell points of every practice character.
const HP: u32 = 93;
const SP: u32 = 22;

// ---- client to server ----

/// 0064 CA_LOGIN. Cut to fit: names and passwords of the practice game are short.
pub(crate) fn login(user: &str, password: &str) -> Vec<u8> {
    Packet::new(0x0064)
        .u32(20)
        .text(user, 24)
        .text(password, 24)
        .u8(1)
        .done()
}

/// 0065 CH_ENTER.
pub(crate) fn char_enter(aid: u32, login_id1: u32, login_id2: u32, sex: u8) -> Vec<u8> {
    Packet::new(0x0065)
        .u32(aid)
        .u32(login_id1)
        .u32(login_id2)
        .u16(0)
        .u8(sex)
        .done()
}

/// 09A1: ask for a page of the character list.
pub(crate) fn ask_list_page() -> Vec<u8> {
    Packet::new(0x09A1).done()
}

/// 0066 CH_SELECT_CHAR.
pub(crate) fn select_char(slot: u8) -> Vec<u8> {
    Packet::new(0x0066).u8(slot).done()
}

/// 0436 CZ_ENTER.
pub(crate) fn map_enter(aid: u32, gid: u32, login_id1: u32, tick: u32, sex: u8) -> Vec<u8> {
    Packet::new(0x0436)
        .u32(aid)
        .u32(gid)
        .u32(login_id1)
        .u32(tick)
        .u32(0)
        .u8(sex)
        .done()
}

/// 007D CZ_NOTIFY_ACTORINIT.
pub(crate) fn map_loaded() -> Vec<u8> {
    Packet::new(0x007D).done()
}

/// 0447: the client is ready.
pub(crate) fn client_ready() -> Vec<u8> {
    Packet::new(0x0447).done()
}

/// 0360: time sync.
pub(crate) fn ask_time(tick: u32) -> Vec<u8> {
    Packet::new(0x0360).u32(tick).done()
}

/// 035F CZ_REQUEST_MOVE.
pub(crate) fn walk_to(x: u16, y: u16) -> Vec<u8> {
    Packet::new(0x035F).bytes(&pack_pos(x, y, 0)).done()
}

/// 00F3: public chat, `Name : message` and a zero.
pub(crate) fn chat(text: &str) -> Vec<u8> {
    Packet::sized(0x00F3).bytes(text.as_bytes()).u8(0).finish()
}

/// 00BF: emotion.
pub(crate) fn emote(kind: u8) -> Vec<u8> {
    Packet::new(0x00BF).u8(kind).done()
}

/// 0437: action 2 sit, 3 stand.
pub(crate) fn action(action: u8) -> Vec<u8> {
    Packet::new(0x0437).u32(0).u8(action).done()
}

/// 0361: turn.
pub(crate) fn look(head: u16, direction: u8) -> Vec<u8> {
    Packet::new(0x0361).u16(head).u8(direction).done()
}

/// 0368: who is that?
pub(crate) fn ask_name(id: u32) -> Vec<u8> {
    Packet::new(0x0368).u32(id).done()
}

/// 018A: quit.
pub(crate) fn quit() -> Vec<u8> {
    Packet::new(0x018A).u16(0).done()
}

/// 00B2 type 1: back to the character selection.
pub(crate) fn to_char_select() -> Vec<u8> {
    Packet::new(0x00B2).u8(1).done()
}

// ---- login and char server to client ----

/// What 0AC4 hands out: the session numbers that the char and map servers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoginIds {
    pub(crate) login_id1: u32,
    pub(crate) login_id2: u32,
    pub(crate) sex: u8,
}

/// 0AC4 AC_ACCEPT_LOGIN with one char server.
pub(crate) fn accept_login(account: Account, ids: LoginIds, char_server: SocketAddrV4) -> Vec<u8> {
    Packet::sized(0x0AC4)
        .u32(ids.login_id1)
        .u32(account.aid())
        .u32(ids.login_id2)
        .zeros(30) // last login, its time
        .u8(ids.sex)
        .zeros(17) // web token
        .bytes(&char_server.ip().octets())
        .u16(char_server.port())
        .text("Practice", 20)
        .zeros(6) // users, type, new
        .zeros(128)
        .finish()
}

/// 083E AC_REFUSE_LOGIN: 0 unknown account, 1 wrong password.
pub(crate) fn refuse_login(code: u32) -> Vec<u8> {
    Packet::new(0x083E).u32(code).zeros(20).done()
}

/// 006A: the map server's answer to a malformed 0436.
pub(crate) fn malformed_enter(code: u8) -> Vec<u8> {
    Packet::new(0x006A).u8(code).zeros(20).done()
}

/// 0081 SC_NOTIFY_BAN.
pub(crate) fn notify_ban(code: u8) -> Vec<u8> {
    Packet::new(0x0081).u8(code).done()
}

/// 006C HC_REFUSE_ENTER.
pub(crate) fn refuse_char(code: u8) -> Vec<u8> {
    Packet::new(0x006C).u8(code).done()
}

/// The 175 bytes of a character record.
fn character(account: Account) -> Vec<u8> {
    let packet = Packet::new(0)
        .u32(account.gid())
        .u64(0) // base experience
        .u32(10_000) // zeny
        .u64(0) // job experience
        .u32(10) // job level
        .zeros(20) // body, health, option, karma, manner
        .u16(48) // status points
        .u64(u64::from(HP))
        .u64(u64::from(HP))
        .u64(u64::from(SP))
        .u64(u64::from(SP))
        .u16(150) // speed
        .u16(0) // class
        .u16(account.hair())
        .zeros(4) // body, weapon
        .u16(10) // base level
        .zeros(14) // skill points to clothes colour
        .text(&account.character(), 24)
        .bytes(&[9; 6]) // str agi vit int dex luk
        .u8(0) // slot
        .u8(0) // hair colour
        .u16(1) // renamed
        .text(Place::HOME.map.name(), 16)
        .zeros(16) // delete date, robe, moves, renames
        .u8(account.sex())
        .done();
    packet.get(2..).unwrap_or(&[]).to_vec()
}

/// The burst after the raw AID: 082D 006B 09A0 020D 08B9.
pub(crate) fn char_burst(account: Account, login_id1: u32) -> Vec<u8> {
    const SLOTS: u8 = 15;
    [
        Packet::sized(0x082D)
            .bytes(&[SLOTS, 0, 0, SLOTS, SLOTS])
            .zeros(20)
            .finish(),
        Packet::sized(0x006B)
            .bytes(&[SLOTS; 3])
            .zeros(20)
            .bytes(&character(account))
            .finish(),
        Packet::new(0x09A0).u32(LIST_PAGES).done(),
        Packet::sized(0x020D).finish(),
        Packet::new(0x08B9)
            .u32(login_id1 & 0xFFFF)
            .u32(account.aid())
            .u16(PIN_OFF)
            .done(),
    ]
    .concat()
}

/// 0B72: the whole character list, one answer per 09A1.
pub(crate) fn list_page(account: Account) -> Vec<u8> {
    Packet::sized(0x0B72).bytes(&character(account)).finish()
}

/// 0AC5 HC_NOTIFY_ZONESVR.
pub(crate) fn go_to_map_server(account: Account, map: &str, server: SocketAddrV4) -> Vec<u8> {
    Packet::new(0x0AC5)
        .u32(account.gid())
        .text(map, 16)
        .bytes(&server.ip().octets())
        .u16(server.port())
        .zeros(128)
        .done()
}

// ---- map server to client ----

/// 0283: the AID, sent before the credentials are looked at.
pub(crate) fn map_aid(aid: u32) -> Vec<u8> {
    Packet::new(0x0283).u32(aid).done()
}

/// 0B18: extra bag slots.
pub(crate) fn bag_slots() -> Vec<u8> {
    Packet::new(0x0B18).u16(0).done()
}

/// 02EB ZC_ACCEPT_ENTER.
pub(crate) fn accept_enter(tick: u32, at: Place) -> Vec<u8> {
    Packet::new(0x02EB)
        .u32(tick)
        .bytes(&pack_pos(at.x, at.y, 0))
        .bytes(&[5, 5])
        .u16(0)
        .done()
}

/// 008E: own chat and system lines.
pub(crate) fn own_line(text: &str) -> Vec<u8> {
    Packet::sized(0x008E).bytes(text.as_bytes()).u8(0).finish()
}

/// 0091 ZC_NPCACK_MAPMOVE.
pub(crate) fn load_map(to: Place) -> Vec<u8> {
    Packet::new(0x0091)
        .text(to.map.name(), 16)
        .u16(to.x)
        .u16(to.y)
        .done()
}

/// 0AC7 ZC_NPCACK_SERVERMOVE.
pub(crate) fn change_server(to: Place, server: SocketAddrV4) -> Vec<u8> {
    Packet::new(0x0AC7)
        .text(to.map.name(), 16)
        .u16(to.x)
        .u16(to.y)
        .bytes(&server.ip().octets())
        .u16(server.port())
        .zeros(128)
        .done()
}

/// 00B0: one number of the status window.
fn status(kind: u16, value: u32) -> Vec<u8> {
    Packet::new(0x00B0).u16(kind).u32(value).done()
}

/// 0141: one of the six basic attributes.
fn attribute(kind: u32) -> Vec<u8> {
    Packet::new(0x0141).u32(kind).u32(9).u32(1).done()
}

/// 0201: an empty friend list, right behind 02EB.
pub(crate) fn friends() -> Vec<u8> {
    Packet::sized(0x0201).finish()
}

/// The status that follows 0091 at a login, or 0201 after a change of map server.
pub(crate) fn entry_status() -> Vec<u8> {
    let mut burst = status(0x19, 22_700);
    (13..=18).for_each(|kind| burst.extend(attribute(kind)));
    let numbers = [
        (0x31, 20),
        (0x32, 20),
        (0x35, 475),
        (0x29, 15),
        (0x2e, 10),
        (0x33, 2),
        (0x34, 4),
        (0x2b, 14),
        (0x2c, 11),
        (0x30, 10),
    ];
    for (kind, value) in numbers {
        burst.extend(status(kind, value));
    }
    burst.extend(Packet::new(0x013A).u16(1).done());
    for (kind, value) in [(6, HP), (8, SP), (5, HP), (7, SP)] {
        burst.extend(status(kind, value));
    }
    burst.extend(Packet::new(0x09E7).u8(0).done());
    burst.extend(Packet::new(0x0ADE).u32(50).done());
    burst
}

/// The first part of the answer to 007D, before the units in sight.
pub(crate) fn load_head(account: Account) -> Vec<u8> {
    [
        looks_changed(account.aid()),
        Packet::sized(0x0B08).zeros(2).finish(),
        Packet::new(0x0B0B).u8(0).u8(0).done(),
        Packet::sized(0x0A9B).finish(),
        status(0x18, 0),
        status(0x19, 22_700),
        Packet::new(0x099B).u16(9).u32(6).done(),
    ]
    .concat()
}

/// The last part of the answer to 007D, behind the units in sight.
pub(crate) fn load_tail() -> Vec<u8> {
    let setting = |kind: u32| Packet::new(0x02D9).u32(kind).u32(0).done();
    [
        Packet::new(0x02C9).u8(0).done(),
        Packet::new(0x02DA).u8(0).done(),
        setting(2),
        setting(1),
        setting(3),
        Packet::sized(0x0B8D).u8(1).finish(),
    ]
    .concat()
}

/// 01D7: a unit's weapon, sent with every arrival.
pub(crate) fn looks_changed(aid: u32) -> Vec<u8> {
    Packet::new(0x01D7).u32(aid).u8(2).zeros(8).done()
}

/// 0B1B: load confirmed.
pub(crate) fn load_confirmed() -> Vec<u8> {
    Packet::new(0x0B1B).done()
}

/// 007F: the server's tick.
pub(crate) fn server_time(tick: u32) -> Vec<u8> {
    Packet::new(0x007F).u32(tick).done()
}

/// 0087 ZC_NOTIFY_PLAYERMOVE.
pub(crate) fn own_walk(tick: u32, from: (u16, u16), to: (u16, u16)) -> Vec<u8> {
    Packet::new(0x0087)
        .u32(tick)
        .bytes(&pack_move(from.0, from.1, to.0, to.1))
        .done()
}

/// 008D ZC_NOTIFY_CHAT.
pub(crate) fn others_line(aid: u32, text: &[u8]) -> Vec<u8> {
    Packet::sized(0x008D).u32(aid).bytes(text).u8(0).finish()
}

/// 00C0: somebody's emotion.
pub(crate) fn unit_emote(aid: u32, kind: u8) -> Vec<u8> {
    Packet::new(0x00C0).u32(aid).u8(kind).done()
}

/// 009C: somebody turns; the one who turns does not get it.
pub(crate) fn unit_looks(aid: u32, head: u16, direction: u8) -> Vec<u8> {
    Packet::new(0x009C).u32(aid).u16(head).u8(direction).done()
}

/// The status number of sitting in 0983 and 0196.
const SITTING: u16 = 0x026E;

/// 0983 and 08C8: somebody sits down.
pub(crate) fn unit_sits(aid: u32) -> Vec<u8> {
    [sits_status(aid), posture_action(aid, 2)].concat()
}

/// 0196 and 08C8: somebody stands up.
pub(crate) fn unit_stands(aid: u32) -> Vec<u8> {
    [stands_status(aid), posture_action(aid, 3)].concat()
}

/// 0983: the sitting status begins (9999 ms of 9999 left, which means without end).
pub(crate) fn sits_status(aid: u32) -> Vec<u8> {
    Packet::new(0x0983)
        .u16(SITTING)
        .u32(aid)
        .u8(1)
        .u32(9_999)
        .u32(9_999)
        .zeros(12)
        .done()
}

/// 0196: the sitting status ends.
pub(crate) fn stands_status(aid: u32) -> Vec<u8> {
    Packet::new(0x0196).u16(SITTING).u32(aid).u8(0).done()
}

/// 08C8 with type 2 (sits) or 3 (stands).
pub(crate) fn posture_action(aid: u32, kind: u8) -> Vec<u8> {
    Packet::new(0x08C8)
        .u32(aid)
        .zeros(23)
        .u8(kind)
        .zeros(4)
        .done()
}

/// 0080 ZC_NOTIFY_VANISH.
pub(crate) fn vanish(aid: u32, why: Vanish) -> Vec<u8> {
    Packet::new(0x0080).u32(aid).u8(why as u8).done()
}

/// The last byte of 0080.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vanish {
    /// Went to another map server (as recorded at a portal).
    OutOfSight = 0,
    LoggedOff = 2,
    /// Went to another map of the same server.
    Teleported = 3,
}

/// 0A30: a player's name.
pub(crate) fn player_name(account: Account) -> Vec<u8> {
    Packet::new(0x0A30)
        .u32(account.aid())
        .text(&account.character(), 24)
        .zeros(76)
        .done()
}

/// 0ADF: an npc's name.
pub(crate) fn npc_name(portal: &Portal) -> Vec<u8> {
    Packet::new(0x0ADF)
        .u32(portal.id)
        .u32(0)
        .text(portal.name, 24)
        .zeros(24)
        .done()
}

/// 00B3: back to the character selection.
pub(crate) fn char_select_granted() -> Vec<u8> {
    Packet::new(0x00B3).u8(1).done()
}

/// 018B: quitting is granted.
pub(crate) fn quit_granted() -> Vec<u8> {
    Packet::new(0x018B).u16(0).done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::game::Map;
    use crate::wire::{Head, head, id_of, table};

    fn frames(mut stream: &[u8]) -> Vec<&[u8]> {
        let table = table().unwrap();
        let mut frames = Vec::new();
        while !stream.is_empty() {
            let Head::Whole(length) = head(table, stream) else {
                panic!("{:?} at {:02x?}", head(table, stream), stream);
            };
            let (frame, rest) = stream.split_at(length);
            frames.push(frame);
            stream = rest;
        }
        frames
    }

    #[test]
    fn every_packet_is_one_packet_of_the_table() {
        let account = Account::numbered(42).unwrap();
        let here: SocketAddrV4 = "10.1.2.3:5121".parse().unwrap();
        let ids = LoginIds {
            login_id1: 1,
            login_id2: 2,
            sex: 1,
        };
        let singles = [
            login("test42", "test42"),
            char_enter(1, 2, 3, 1),
            ask_list_page(),
            select_char(0),
            map_enter(1, 2, 3, 4, 1),
            map_loaded(),
            client_ready(),
            ask_time(1),
            walk_to(1, 2),
            chat("a : b"),
            emote(1),
            action(2),
            look(1, 2),
            ask_name(1),
            quit(),
            to_char_select(),
            accept_login(account, ids, here),
            refuse_login(1),
            malformed_enter(1),
            notify_ban(8),
            refuse_char(0),
            list_page(account),
            go_to_map_server(account, "prontera.gat", here),
            map_aid(1),
            bag_slots(),
            accept_enter(1, Place::HOME),
            own_line("x"),
            load_map(Place::HOME),
            change_server(Place::HOME, here),
            friends(),
            looks_changed(1),
            load_confirmed(),
            server_time(1),
            own_walk(1, (1, 2), (3, 4)),
            others_line(1, b"x"),
            unit_emote(1, 2),
            unit_looks(1, 2, 3),
            sits_status(1),
            stands_status(1),
            posture_action(1, 2),
            vanish(1, Vanish::Teleported),
            player_name(account),
            npc_name(Map::Geffen.portal()),
            char_select_granted(),
            quit_granted(),
        ];
        for packet in singles {
            assert_eq!(frames(&packet).len(), 1, "{packet:02x?}");
        }
        let ids_of =
            |stream: &[u8]| -> Vec<u16> { frames(stream).into_iter().filter_map(id_of).collect() };
        assert_eq!(
            ids_of(&char_burst(account, 7)),
            [0x082D, 0x006B, 0x09A0, 0x020D, 0x08B9]
        );
        assert_eq!(ids_of(&unit_sits(1)), [0x0983, 0x08C8]);
        assert_eq!(ids_of(&unit_stands(1)), [0x0196, 0x08C8]);
        assert_eq!(
            ids_of(&load_head(account)),
            [0x01D7, 0x0B08, 0x0B0B, 0x0A9B, 0x00B0, 0x00B0, 0x099B]
        );
        assert_eq!(
            ids_of(&load_tail()),
            [0x02C9, 0x02DA, 0x02D9, 0x02D9, 0x02D9, 0x0B8D]
        );
        assert_eq!(frames(&entry_status()).len(), 24);
    }

    /// Against the recordings named in each line.
    #[test]
    fn packets_are_as_recorded() {
        let account = Account::numbered(1).unwrap();
        let check = |packet: Vec<u8>, recorded: &str| assert_eq!(hex::encode(packet), recorded);
        // s1-001
        check(
            login("bot1", "pw"),
            &format!(
                "640014000000626f7431{}7077{}01",
                "00".repeat(20),
                "00".repeat(22)
            ),
        );
        let ids = LoginIds {
            login_id1: 0xfa88_63bc,
            login_id2: 0xeacf_bc67,
            sex: 1,
        };
        let login_answer = hex::encode(accept_login(
            account,
            ids,
            "127.0.0.1:6121".parse().unwrap(),
        ));
        assert!(login_answer.starts_with("c40ae000bc6388fa81841e0067bccfea0000000000"));
        assert!(login_answer.contains("7f000001e917"));
        assert_eq!(login_answer.len(), 224 * 2);
        // s1-003
        check(
            char_enter(account.aid(), ids.login_id1, ids.login_id2, 1),
            "650081841e00bc6388fa67bccfea000001",
        );
        let burst = hex::encode(char_burst(account, 0xf0a5));
        assert!(burst.starts_with("2d081d000f00000f0f00000000000000000000000000000000000000006b00ca000f0f0f0000000000000000000000000000000000000000f149020000000000000000001027000000000000000000000a000000000000000000000000000000000000000000000030005d000000000000005d0000000000000016000000000000001600000000000000960000000100000000000a000000000000000000000000000000"));
        assert!(burst.ends_with("0909090909090000010070726f6e746572612e676174000000000000000000000000000000000000000001a009050000000d020400b908a5f0000081841e000000"));
        // s1-007
        check(
            accept_enter(0x0028_9877, Place::new(Map::Geffen, 120, 70)),
            "eb02779828001e046005050000",
        );
        check(
            map_enter(account.aid(), account.gid(), ids.login_id1, 0, 1),
            "360481841e00f1490200bc6388fa000000000000000001",
        );
        // s1-006
        check(
            own_walk(0x0027_7178, (156, 191), (156, 185)),
            "870078712700270bf270b988",
        );
        check(
            load_map(Place::new(Map::Prontera, 156, 191)),
            "910070726f6e746572612e676174000000009c00bf00",
        );
        check(
            unit_sits(account.aid()),
            "83096e0281841e00010f2700000f270000000000000000000000000000c80881841e0000000000000000000000000000000000000000000000000200000000",
        );
        check(
            unit_stands(account.aid()),
            "96016e0281841e0000c80881841e0000000000000000000000000000000000000000000000000300000000",
        );
        check(vanish(2_000_002, Vanish::Teleported), "800082841e0003");
        check(unit_looks(2_000_002, 0, 3), "9c0082841e00000003");
        check(
            load_tail(),
            "c90200da0200d9020200000000000000d9020100000000000000d90203000000000000008d0b050001",
        );
        // s1-006: the portal to the second map server
        let zone = change_server(
            Place::new(Map::Geffen, 120, 70),
            "127.0.0.1:5122".parse().unwrap(),
        );
        check(
            zone,
            &format!(
                "c70a67656666656e2e676174000000000000780046007f0000010214{}",
                "00".repeat(128)
            ),
        );
    }
}
