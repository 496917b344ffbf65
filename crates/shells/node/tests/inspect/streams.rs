//! Streams of older clients: other ids, older packets, ids behind a cipher.

use std::path::PathBuf;

use tempfile::TempDir;
use warp_ro_packet::{IdCipher, PacketTable};

use crate::run::{Ran, fixture, inspect, word};

/// A made-up session of a client of 2013, one recording for each stream.
struct Session {
    folder: TempDir,
    paths: Vec<PathBuf>,
}

impl Session {
    fn new() -> Session {
        Session {
            folder: tempfile::tempdir().unwrap(),
            paths: Vec::new(),
        }
    }

    /// Adds a stream of which each packet was read on its own.
    fn stream(mut self, role: &str, client: bool, packets: &[Vec<u8>]) -> Session {
        let (direction, side) = if client {
            ("(client to server)", "C")
        } else {
            ("(server to client)", "S")
        };
        let mut text = format!("# tag=old conn=1 role={role} {direction} epoch0=1\n");
        for (packet, time) in packets.iter().zip(1..) {
            text += &format!("{time} {side} {}\n", hex::encode(packet));
        }
        let path = self.folder.path().join(format!("{role}-{side}.txt"));
        std::fs::write(&path, text).unwrap();
        self.paths.push(path);
        self
    }

    fn inspect(&self, flags: &[&str]) -> Ran {
        let paths = self.paths.iter().map(|path| path.to_str().unwrap());
        inspect(flags.iter().copied().chain(paths))
    }
}

/// A packet: an id, then parts.
fn packet(id: u16, parts: &[&[u8]]) -> Vec<u8> {
    let mut packet = id.to_le_bytes().to_vec();
    for part in parts {
        packet.extend_from_slice(part);
    }
    packet
}

/// CZ_ENTER, time, two walks and a turn, by their ids of 2013-08-07.
fn map_client() -> Vec<Vec<u8>> {
    let number = |number: u32| number.to_le_bytes();
    vec![
        packet(
            0x022D,
            &[
                &number(2_000_001),
                &number(150_001),
                &number(99),
                &number(500),
                &[1],
            ],
        ),
        packet(0x007D, &[]),
        packet(0x035F, &[&number(501)]),
        packet(0x0437, &[&[0x27, 0x0B, 0x90]]),
        packet(0x0202, &[&[0, 0, 3]]),
        packet(0x0437, &[&[0x26, 0x4B, 0xC0]]),
    ]
}

/// The same behind the cipher of that version.
fn hidden(packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let keys = PacketTable::for_version(20_130_807).unwrap().cipher();
    let mut cipher = IdCipher::new(keys.unwrap());
    packets
        .into_iter()
        .map(|mut packet| {
            let id = u16::from_le_bytes([packet[0], packet[1]]);
            packet[..2].copy_from_slice(&cipher.apply(id).to_le_bytes());
            packet
        })
        .collect()
}

const NAMES: [&str; 6] = [
    "CZ_ENTER",
    "CZ_NOTIFY_ACTORINIT",
    "CZ_REQUEST_TIME",
    "CZ_REQUEST_MOVE",
    "CZ_CHANGE_DIRECTION",
    "CZ_REQUEST_MOVE",
];

fn assert_walked(lines: &[String]) {
    let names: Vec<&str> = lines.iter().map(|line| word(line, 4)).collect();
    assert_eq!(names, NAMES);
    assert!(
        lines[0].contains(
            "C>S 022D CZ_ENTER system 19 AID=2000001 GID=150001 login_id1=*** tick=500 sex=1"
        ),
        "{lines:#?}"
    );
    assert!(
        lines[3].ends_with("C>S 0437 CZ_REQUEST_MOVE movement 5 position=(156,185,0)"),
        "{lines:#?}"
    );
}

#[test]
fn an_old_client_is_read_by_its_own_ids() {
    let session = Session::new().stream("map", true, &map_client());
    let ran = session.inspect(&["--packetver", "20130807"]);
    assert_eq!(ran.errors, "");
    assert_walked(&ran.sound());
    // Another version has other packets under these ids.
    let ran = session.inspect(&["--packetver", "20211103"]);
    assert_eq!(ran.code, Some(1));
}

#[test]
fn ids_behind_a_cipher_are_read_through_it() {
    let session = Session::new().stream("map", true, &hidden(map_client()));
    assert_walked(&session.inspect(&["--packetver", "20130807"]).sound());
    // Its cipher alone tells the version.
    let ran = session.inspect(&[]);
    assert_eq!(
        ran.errors,
        "warp-node: packet version 20130807: the only known version that fits\n"
    );
    assert_walked(&ran.sound());
}

#[test]
fn an_unfinished_packet_behind_a_cipher_names_no_id() {
    let mut packets = map_client();
    packets.push(packet(0x0437, &[&[0x27]]));
    let session = Session::new().stream("map", true, &hidden(packets));
    let ran = session.inspect(&[]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.lines[6].ends_with("!! unfinished-packet at byte 42: the stream ends after 3 bytes"),
        "{:#?}",
        ran.lines
    );
}

#[test]
fn the_old_generation_of_address_packets_is_read() {
    let mut accept = vec![0u8; 47 + 2 * 32];
    accept[..2].copy_from_slice(&[0x69, 0x00]);
    accept[2] = 47 + 64;
    accept[8..12].copy_from_slice(&2_000_001u32.to_le_bytes());
    for (at, port) in [(47, 6121u16), (79, 6122)] {
        accept[at..at + 4].copy_from_slice(&[127, 0, 0, 1]);
        accept[at + 4..at + 6].copy_from_slice(&port.to_le_bytes());
        accept[at + 6..at + 9].copy_from_slice(b"Ymi");
    }
    let mut zone = vec![0u8; 28];
    zone[..2].copy_from_slice(&[0x71, 0x00]);
    zone[6..18].copy_from_slice(b"prontera.gat");
    zone[22..28].copy_from_slice(&[127, 0, 0, 1, 0x01, 0x14]);
    let session = Session::new()
        .stream("login", false, &[accept])
        .stream("char", false, &[vec![1, 0, 0, 0], zone])
        .stream("map", true, &map_client());
    let ran = session.inspect(&[]);
    assert!(
        ran.errors
            .starts_with("warp-node: packet version 20151029: the newest version that fits"),
        "plain ids of 2013 and 2015 are the same: {}",
        ran.errors
    );
    let lines = ran.sound();
    assert!(
        lines[0].contains(r#"servers=[{address=127.0.0.1:6121 name="Ymi" users=0 type=0 new=0} {address=127.0.0.1:6122"#),
        "{lines:#?}"
    );
    assert!(
        lines[2].ends_with(r#"map="prontera.gat" address=127.0.0.1:5121"#),
        "{lines:#?}"
    );
    assert_walked(&lines[3..]);
}

#[test]
fn the_version_that_was_chosen_is_told() {
    let certain = inspect([fixture("s1-005-map-S")]);
    assert_eq!(
        certain.errors,
        "warp-node: packet version 20211103: the only known version that fits\n"
    );
    let newest = inspect([fixture("s1-001-login-C")]);
    assert_eq!(
        newest.errors,
        "warp-node: packet version 20211103: the newest version that fits; --packetver chooses another\n"
    );
    let session = Session::new().stream("map", true, &[vec![0xEE]]);
    let ran = session.inspect(&[]);
    assert!(
        ran.errors
            .contains("20211103: the newest version; no stream tells another"),
        "{}",
        ran.errors
    );
    assert_eq!(ran.code, Some(1));
}
