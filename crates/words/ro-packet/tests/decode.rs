//! Decoding of recorded packets: the values that the recordings are known to hold, and whatever
//! else may arrive.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::LazyLock;

use common::{Recording, recordings, table};
use proptest::prelude::*;
use warp_ro_packet::{
    Decoded, Direction, Field, FieldValue, FrameKind, Framer, PacketClass, PacketTable, decode,
};

static RECORDINGS: LazyLock<Vec<Recording>> = LazyLock::new(recordings);

/// Every packet of the recording called `name`, decoded.
fn decoded(name: &str) -> Vec<Decoded> {
    let recording = RECORDINGS.iter().find(|one| one.name == name).unwrap();
    let table = table();
    let mut framer = Framer::new(table.clone(), recording.role, recording.direction);
    framer.push(&recording.bytes);
    std::iter::from_fn(|| framer.next_frame())
        .filter(|frame| matches!(frame.kind, FrameKind::Packet(_)))
        .map(|frame| decode(&table, recording.direction, &frame.bytes))
        .collect()
}

/// All packets with this id in that recording.
fn all(name: &str, id: u16) -> Vec<Decoded> {
    let found: Vec<_> = decoded(name)
        .into_iter()
        .filter(|one| one.id == id)
        .collect();
    assert!(!found.is_empty(), "{name} has no {id:04X}");
    found
}

/// The first packet with this id in that recording, its fields as `name=value` in one line.
fn line(name: &str, id: u16) -> String {
    show(&all(name, id)[0].fields)
}

fn show(fields: &[Field]) -> String {
    let words: Vec<String> = fields.iter().map(ToString::to_string).collect();
    words.join(" ")
}

fn value<'a>(decoded: &'a Decoded, name: &str) -> &'a FieldValue {
    let field = decoded.fields.iter().find(|field| field.name == name);
    &field
        .unwrap_or_else(|| panic!("{:04X} has no {name}", decoded.id))
        .value
}

fn records<'a>(decoded: &'a Decoded, name: &str) -> &'a [Vec<Field>] {
    match value(decoded, name) {
        FieldValue::Records(records) => records,
        other => panic!("{name} is {other:?}"),
    }
}

fn text(text: &str) -> FieldValue {
    FieldValue::Text(text.to_owned())
}

fn local(port: u16) -> FieldValue {
    FieldValue::Address(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}
#[test]
fn login_packets_show_who_but_no_secret() {
    assert_eq!(
        line("mk-001-login-C", 0x0064),
        r#"version=20 user="bot4" password=*** client_type=1"#
    );
    let accept = &all("s1-001-login-S", 0x0AC4)[0];
    assert_eq!(value(accept, "AID"), &FieldValue::Number(2_000_001));
    assert_eq!(accept.length, 224);
    for secret in ["login_id1", "login_id2", "token"] {
        assert_eq!(value(accept, secret), &FieldValue::Hidden);
    }
    let servers = records(accept, "servers");
    assert_eq!(servers.len(), 1);
    assert_eq!(
        show(&servers[0]),
        r#"address=127.0.0.1:6121 name="ROProbe" users=0 type=0 new=0 host="""#
    );
}

#[test]
fn char_packets() {
    assert_eq!(
        line("mk-002-char-C", 0x0065),
        "AID=2000004 login_id1=*** login_id2=*** sex=0"
    );
    assert_eq!(
        line("mk-002-char-C", 0x0A39),
        r#"name="BotFour" slot=0 hair_color=4 hair=4 job=0 sex=0"#
    );
    assert_eq!(line("mk-002-char-S", 0x006E), "code=0");
    assert_eq!(
        line("s1-003-char-S", 0x082D),
        "normal=15 premium=0 billing=0 producible=15 valid=15"
    );
    assert_eq!(line("s1-003-char-S", 0x09A0), "pages=5");
    assert_eq!(
        line("s1-003-char-S", 0x0AC5),
        r#"GID=150001 map="prontera.gat" address=127.0.0.1:5121 host="""#
    );
    let pin = &all("pin-002-char-S", 0x08B9)[0];
    assert_eq!(value(pin, "state"), &FieldValue::Number(0));
    let characters = &all("s1-003-char-S", 0x006B)[0];
    let characters = records(characters, "characters");
    assert_eq!(characters.len(), 1);
    let of = |name: &str| {
        let field = characters[0].iter().find(|field| field.name == name);
        &field.unwrap().value
    };
    assert_eq!(of("GID"), &FieldValue::Number(150_001));
    assert_eq!(of("name"), &text("BotOne"));
    assert_eq!(of("map"), &text("prontera.gat"));
    assert_eq!(of("zeny"), &FieldValue::Number(10_000));
    assert_eq!(of("hp"), &FieldValue::Number(93));
    assert_eq!(of("base_level"), &FieldValue::Number(10));
    assert_eq!(of("luk"), &FieldValue::Number(9));
    assert_eq!(of("slot"), &FieldValue::Number(0));
    assert_eq!(of("sex"), &FieldValue::Number(1));
}

#[test]
fn map_packets() {
    let enter = &all("s1-005-map-C", 0x0436)[0];
    assert_eq!(
        show(&enter.fields),
        "AID=2000002 GID=150002 login_id1=*** tick=0 tick2=13837203 sex=0"
    );
    assert_eq!(enter.name, Some("CZ_ENTER"));
    for (name, id, fields) in [
        ("s1-005-map-S", 0x0283, "AID=2000002"),
        ("s1-005-map-C", 0x0360, "tick=13837215"),
        ("s1-005-map-C", 0x00BF, "type=3"),
        ("s1-005-map-C", 0x0361, "head_dir=0 dir=3"),
        // First Aid is skill 0x8E.
        ("s1-005-map-C", 0x0438, "level=250 skill=142 target=2000002"),
        ("s1-005-map-C", 0x0362, "floor_item=3"),
        ("s1-005-map-C", 0x018A, "type=0"),
        ("s1-005-map-C", 0x0096, r#"name="BotOne" text="answer""#),
        ("s1-005-map-C", 0x00F3, r#"text="BotTwo : @jump 153 188""#),
        ("s1-005-map-C", 0x035F, "position=(158,186,0)"),
    ] {
        assert_eq!(line(name, id), fields, "{name} {id:04X}");
    }
    let other_map_server: Vec<String> = ["s1-006-map-S", "s1-007-map-S", "s1-008-map-S"]
        .into_iter()
        .flat_map(decoded)
        .filter(|one| one.id == 0x0AC7)
        .map(|one| show(&one.fields))
        .collect();
    assert!(
        other_map_server
            .contains(&r#"map="geffen.gat" x=120 y=70 address=127.0.0.1:5122 host="""#.to_owned()),
        "{other_map_server:?}"
    );
}

/// Clients of 2013 send under other ids; names and layouts are the same.
#[test]
fn shuffled_ids_decode_by_their_names() {
    let table = PacketTable::for_version(20_130_807).unwrap();
    let client = |frame: &[u8]| {
        let decoded = decode(&table, Direction::ClientToServer, frame);
        (decoded.name, show(&decoded.fields))
    };
    let walk = [0x37, 0x04, 0x27, 0x0B, 0x90];
    assert_eq!(
        client(&walk),
        (Some("CZ_REQUEST_MOVE"), "position=(156,185,0)".to_owned())
    );
    let mut enter = vec![0x2D, 0x02];
    for number in [2_000_001u32, 150_001, 7, 5000] {
        enter.extend(number.to_le_bytes());
    }
    enter.push(1);
    assert_eq!(
        client(&enter),
        (
            Some("CZ_ENTER"),
            "AID=2000001 GID=150001 login_id1=*** tick=5000 sex=1".to_owned()
        )
    );
    // The id of a walk in later versions is the time here.
    assert_eq!(
        client(&[0x5F, 0x03, 1, 0, 0, 0]),
        (Some("CZ_REQUEST_TIME"), "tick=1".to_owned())
    );
}

#[test]
fn units() {
    let mut moves = 0;
    for recording in RECORDINGS.iter() {
        for unit in decoded(&recording.name) {
            if ![0x09FD, 0x09FE, 0x09FF].contains(&unit.id) {
                continue;
            }
            assert_eq!(unit.class, PacketClass::Movement);
            // The name lies at the very end: one wrong width and it is another text.
            let &FieldValue::Number(kind) = value(&unit, "type") else {
                panic!("type");
            };
            let player = [
                text("BotOne"),
                text("BotTwo"),
                text("BotFour"),
                text("BotThree"),
            ];
            assert_eq!(kind == 0, player.contains(value(&unit, "name")), "{unit:?}");
            assert_eq!(value(&unit, "max_hp"), &FieldValue::Number(-1));
            if unit.id == 0x09FD {
                moves += 1;
                assert!(matches!(value(&unit, "move"), FieldValue::Move { .. }));
                assert_eq!(value(&unit, "speed"), &FieldValue::Number(150));
            }
        }
    }
    assert!(moves > 50, "{moves} moves");
}

#[test]
fn no_secret_of_any_recording_comes_out() {
    // From the recordings, by the offsets that the protocol describes, not by the code under test.
    let mut secrets: Vec<Vec<u8>> = Vec::new();
    for recording in RECORDINGS.iter() {
        match recording.bytes.get(..2) {
            Some([0x64, 0x00]) => {
                let field = &recording.bytes[30..54];
                secrets.push(field.split(|byte| *byte == 0).next().unwrap().to_vec());
            }
            Some([0xC4, 0x0A]) => {
                secrets.push(recording.bytes[4..8].to_vec());
                secrets.push(recording.bytes[12..16].to_vec());
            }
            _ => {}
        }
    }
    assert_eq!(secrets.len(), 18, "six logins");
    for recording in RECORDINGS.iter() {
        let all = format!("{:?}", decoded(&recording.name));
        for secret in &secrets {
            let number = secret.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
            let forms = [
                String::from_utf8(secret.clone()).ok(),
                Some(hex::encode(secret)),
                number.map(|number| number.to_string()),
            ];
            for form in forms.into_iter().flatten() {
                assert!(!all.contains(&form), "{}: {form}", recording.name);
            }
        }
    }
}

#[test]
fn the_header_agrees_with_the_names_of_the_fixtures() {
    for recording in recordings() {
        let mut parts = recording.name.rsplit('-');
        let server = match parts.next() {
            Some("C") => Direction::ClientToServer,
            _ => Direction::ServerToClient,
        };
        assert_eq!(recording.direction, server, "{}", recording.name);
        let role = format!("{:?}", recording.role).to_lowercase();
        assert_eq!(parts.next(), Some(&*role), "{}", recording.name);
    }
}

/// Both generations, with all their servers.
#[test]
fn address_packets_of_both_generations() {
    let servers = [
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6121),
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6122),
    ];
    for (version, id, head, record, with_text) in [
        (20_130_807, 0x0069u16, 47usize, 32usize, false),
        (20_151_029, 0x0069, 47, 32, false),
        (20_170_614, 0x0AC4, 64, 160, true),
        (20_211_103, 0x0AC4, 64, 160, true),
    ] {
        let mut frame = vec![0u8; head + 2 * record];
        frame[..2].copy_from_slice(&id.to_le_bytes());
        let length = u16::try_from(frame.len()).unwrap();
        frame[2..4].copy_from_slice(&length.to_le_bytes());
        frame[8..12].copy_from_slice(&7u32.to_le_bytes());
        for (server, at) in servers.iter().zip([head, head + record]) {
            frame[at..at + 4].copy_from_slice(&server.ip().octets());
            frame[at + 4..at + 6].copy_from_slice(&server.port().to_le_bytes());
            frame[at + 6..at + 9].copy_from_slice(b"Ymi");
            frame[at + 26] = 9;
        }
        let table = PacketTable::for_version(version).unwrap();
        let decoded = decode(&table, Direction::ServerToClient, &frame);
        assert_eq!(value(&decoded, "AID"), &FieldValue::Number(7));
        let servers = records(&decoded, "servers");
        let host = if with_text { r#" host="""# } else { "" };
        for (server, port) in servers.iter().zip([6121, 6122]) {
            assert_eq!(
                show(server),
                format!(r#"address=127.0.0.1:{port} name="Ymi" users=9 type=0 new=0{host}"#),
                "{version}"
            );
        }
        assert_eq!(servers.len(), 2, "{version}");
    }
    for (version, zone, moved, length) in [
        (20_130_807, 0x0071u16, 0x0092u16, 28),
        (20_200_401, 0x0AC5, 0x0AC7, 156),
    ] {
        let table = PacketTable::for_version(version).unwrap();
        for (id, at) in [(zone, 6), (moved, 2)] {
            let mut frame = vec![0u8; length];
            frame[..2].copy_from_slice(&id.to_le_bytes());
            frame[at..at + 5].copy_from_slice(b"a.gat");
            frame[22..28].copy_from_slice(&[127, 0, 0, 1, 0x01, 0x14]);
            let decoded = decode(&table, Direction::ServerToClient, &frame);
            assert_eq!(value(&decoded, "map"), &text("a.gat"), "{id:04X}");
            assert_eq!(value(&decoded, "address"), &local(5121), "{id:04X}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_decoded_without_a_panic(
        version in proptest::sample::select(PacketTable::versions().collect::<Vec<_>>()),
        id in any::<proptest::sample::Index>(),
        to_server in any::<bool>(),
        mut bytes in proptest::collection::vec(any::<u8>(), 0..700),
        known in any::<bool>(),
    ) {
        let table = PacketTable::for_version(version).unwrap();
        if known && let Some(head) = bytes.first_chunk_mut() {
            let ids: Vec<u16> = table.ids().map(|(id, _)| id).collect();
            *head = id.get(&ids).to_le_bytes();
        }
        let direction = if to_server { Direction::ClientToServer } else { Direction::ServerToClient };
        let decoded = decode(&table, direction, &bytes);
        prop_assert_eq!(decoded.length, bytes.len());
        prop_assert!(decoded.fields.len() <= bytes.len() + 1);
        prop_assert!(!show(&decoded.fields).contains('\n'));
    }
}
