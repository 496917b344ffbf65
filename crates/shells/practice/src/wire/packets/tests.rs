use super::*;
use crate::game::{Account, Map, Place};
use crate::wire::dialect::tests::{all, newest};
use crate::wire::requests::*;
use crate::wire::units::{Looks, Posture};
use crate::wire::{Dialect, Head, id_of};

use std::net::SocketAddrV4;

fn frames<'a>(dialect: &Dialect, mut stream: &'a [u8]) -> Vec<&'a [u8]> {
    let cutter = dialect.cutter();
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let Head::Whole(length) = cutter.head(stream) else {
            panic!("{:?} at {stream:02x?}", cutter.head(stream));
        };
        let (frame, rest) = stream.split_at(length);
        frames.push(frame);
        stream = rest;
    }
    frames
}

/// Everything that either end can send, packet by packet.
fn everything(dialect: &Dialect) -> Vec<Vec<u8>> {
    let account = Account::numbered(42).unwrap();
    let here: SocketAddrV4 = "10.1.2.3:5121".parse().unwrap();
    let ids = LoginIds {
        login_id1: 1,
        login_id2: 2,
        sex: 1,
    };
    let looks = Looks::player(account);
    let mut packets = vec![
        login("test42", "test42"),
        char_enter(1, 2, 3, 1),
        ask_list_page(),
        select_char(0),
        dialect.map_enter(1, 2, 3, 4, 1),
        map_loaded(),
        client_ready(),
        dialect.ask_time(1),
        dialect.walk_to(1, 2),
        dialect.chat("a : b"),
        emote(1),
        dialect.action(2),
        dialect.look(1, 2),
        dialect.ask_name(1),
        quit(),
        to_char_select(),
        dialect.accept_login(account, ids, here),
        refuse_login(1),
        malformed_enter(1),
        notify_ban(8),
        refuse_char(0),
        dialect.list_page(account),
        dialect.go_to_map_server(account, "prontera.gat", here),
        map_aid(1),
        dialect.accept_enter(1, Place::HOME, 1),
        own_line("x"),
        load_map(Place::HOME),
        dialect.change_server(Place::HOME, here),
        friends(),
        dialect.looks_changed(1),
        server_time(1),
        own_walk(1, (1, 2), (3, 4)),
        others_line(1, b"x"),
        unit_emote(1, 2),
        unit_looks(1, 2, 3),
        sits_status(1),
        stands_status(1),
        dialect.posture_action(1, 2),
        vanish(1, Vanish::Teleported),
        dialect.player_name(account),
        dialect.npc_name(Map::Geffen.portal()),
        char_select_granted(),
        quit_granted(),
        dialect.standing(&looks, (1, 2), 3, Posture::Standing),
        dialect.arriving(&looks, (1, 2), 3),
        dialect.walking(&looks, 1, (1, 2), (3, 4)),
    ];
    packets.extend(dialect.load_confirmed());
    let slots = dialect.bag_slots();
    packets.extend((!slots.is_empty()).then_some(slots));
    packets
}

#[test]
fn every_packet_is_one_packet_of_its_version() {
    for dialect in all() {
        for packet in everything(&dialect) {
            let frames = frames(&dialect, &packet);
            let version = dialect.facts.version;
            assert_eq!(frames.len(), 1, "{version}: {packet:02x?}");
        }
    }
}

#[test]
fn every_burst_is_a_row_of_packets_of_its_version() {
    let account = Account::numbered(42).unwrap();
    for dialect in all() {
        let ids = |stream: &[u8]| -> Vec<u16> {
            frames(&dialect, stream)
                .into_iter()
                .filter_map(id_of)
                .collect()
        };
        assert_eq!(
            ids(&[dialect.char_burst(account), pin_state(account, 7, PIN_OFF)].concat()),
            [0x082D, 0x006B, 0x09A0, 0x020D, 0x08B9]
        );
        assert_eq!(ids(&dialect.load_head(account))[0], 0x01D7);
        assert_eq!(
            ids(&dialect.load_tail())[..5],
            [0x02C9, 0x02DA, 0x02D9, 0x02D9, 0x02D9]
        );
        assert!(frames(&dialect, &dialect.entry_status()).len() >= 22);
    }
    let dialect = newest();
    let ids = |stream: &[u8]| -> Vec<u16> {
        frames(&dialect, stream)
            .into_iter()
            .filter_map(id_of)
            .collect()
    };
    assert_eq!(ids(&dialect.unit_sits(1).concat()), [0x0983, 0x08C8]);
    assert_eq!(ids(&dialect.unit_stands(1).concat()), [0x0196, 0x08C8]);
    assert_eq!(
        ids(&dialect.load_head(account)),
        [0x01D7, 0x0B08, 0x0B0B, 0x0A9B, 0x00B0, 0x00B0, 0x099B]
    );
    assert_eq!(ids(&dialect.load_tail())[5..], [0x0B8D]);
    assert_eq!(frames(&dialect, &dialect.entry_status()).len(), 24);
}

/// The sizes that rAthena's structures have at these dates, counted by hand.
#[test]
fn what_the_length_table_leaves_open_has_the_size_of_its_date() {
    let account = Account::numbered(7).unwrap();
    let looks = Looks::player(account);
    let ids = LoginIds {
        login_id1: 1,
        login_id2: 2,
        sex: 1,
    };
    let here: SocketAddrV4 = "10.1.2.3:6121".parse().unwrap();
    let sizes = all().map(|dialect| {
        [
            dialect.list_page(account).len() - 4,
            dialect.accept_login(account, ids, here).len(),
            dialect.standing(&looks, (1, 2), 3, Posture::Standing).len(),
            dialect.arriving(&looks, (1, 2), 3).len(),
            dialect.walking(&looks, 1, (1, 2), (3, 4)).len(),
        ]
    });
    assert_eq!(
        sizes.collect::<Vec<_>>(),
        [
            [144, 79, 74, 73, 80],
            [147, 79, 104, 103, 110],
            [147, 224, 104, 103, 110],
            [155, 224, 104, 103, 110],
            [155, 224, 108, 107, 114],
            [175, 224, 108, 107, 114],
        ]
    );
}

/// Against the recordings named in each line.
#[test]
fn packets_are_as_recorded() {
    let dialect = newest();
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
    let login_answer =
        hex::encode(dialect.accept_login(account, ids, "127.0.0.1:6121".parse().unwrap()));
    assert!(login_answer.starts_with("c40ae000bc6388fa81841e0067bccfea0000000000"));
    assert!(login_answer.contains("7f000001e917"));
    assert_eq!(login_answer.len(), 224 * 2);
    // s1-003
    check(
        char_enter(account.aid(), ids.login_id1, ids.login_id2, 1),
        "650081841e00bc6388fa67bccfea000001",
    );
    let burst = hex::encode(
        [
            dialect.char_burst(account),
            pin_state(account, 0xf0a5, PIN_OFF),
        ]
        .concat(),
    );
    assert!(burst.starts_with("2d081d000f00000f0f00000000000000000000000000000000000000006b00ca000f0f0f0000000000000000000000000000000000000000f149020000000000000000001027000000000000000000000a000000000000000000000000000000000000000000000030005d000000000000005d0000000000000016000000000000001600000000000000960000000100000000000a000000000000000000000000000000"));
    assert!(burst.ends_with("0909090909090000010070726f6e746572612e676174000000000000000000000000000000000000000001a009050000000d020400b908a5f0000081841e000000"));
    // s1-007
    check(
        dialect.accept_enter(0x0028_9877, Place::new(Map::Geffen, 120, 70), 1),
        "eb02779828001e046005050000",
    );
    check(
        dialect.map_enter(account.aid(), account.gid(), ids.login_id1, 0, 1),
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
        dialect.unit_sits(account.aid()).concat(),
        "83096e0281841e00010f2700000f270000000000000000000000000000c80881841e0000000000000000000000000000000000000000000000000200000000",
    );
    check(
        dialect.unit_stands(account.aid()).concat(),
        "96016e0281841e0000c80881841e0000000000000000000000000000000000000000000000000300000000",
    );
    check(vanish(2_000_002, Vanish::Teleported), "800082841e0003");
    check(unit_looks(2_000_002, 0, 3), "9c0082841e00000003");
    check(
        dialect.load_tail(),
        "c90200da0200d9020200000000000000d9020100000000000000d90203000000000000008d0b050001",
    );
    // s1-006: the portal to the second map server
    let zone = dialect.change_server(
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
