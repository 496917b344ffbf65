use super::*;
use crate::{Direction, PacketClass};
use proptest::prelude::*;

fn problem(text: &str) -> (usize, RecvPacketsProblem) {
    match PacketTable::from_recvpackets(20_211_103, text).unwrap_err() {
        RecvPacketsError::Line { line, what, .. } => (line, what),
        RecvPacketsError::Empty => panic!("empty"),
    }
}

/// A version as OpenKore would print it.
fn printed(version: u32, variable: &str) -> String {
    let table = PacketTable::for_version(version).unwrap();
    let mut text = String::from("# a comment\r\n\n");
    for (id, length) in table.ids() {
        let length = match length {
            PacketLength::Fixed(length) => length.to_string(),
            PacketLength::Variable => variable.to_owned(),
        };
        text.push_str(&format!("{id:04X} {length}\r\n"));
    }
    text
}

#[test]
fn every_compiled_version_survives_being_printed_and_read() {
    for version in PacketTable::versions() {
        let table = PacketTable::for_version(version).unwrap();
        for variable in ["0", "-1"] {
            let read = PacketTable::from_recvpackets(version, &printed(version, variable)).unwrap();
            assert_eq!(read.version(), version);
            assert!(read.ids().eq(table.ids()), "{version}");
            assert_eq!(read.known(), table.known());
            assert_eq!(read.roles(), table.roles());
            assert_eq!(read.cipher(), table.cipher());
            assert_eq!(read.char_record(), table.char_record());
        }
    }
}

#[test]
fn another_version_takes_what_agrees_from_the_nearest_older_one() {
    // 035F has the length of 20180621, 0360 has not; 0B8D is only known by 20211103.
    let text = "0064 55\n035F 5\n0360 7\n00F3 -1\n0B8D -1\n0436 19";
    let table = PacketTable::from_recvpackets(20_190_605, text).unwrap();
    assert_eq!(table.version(), 20_190_605);
    assert_eq!(table.class_of(0x035F), PacketClass::Movement);
    assert_eq!(
        table.name_of(0x035F, Direction::ClientToServer),
        Some("CZ_REQUEST_MOVE")
    );
    assert_eq!(table.info(0x0360), None);
    assert_eq!(table.info(0x0B8D), None);
    assert_eq!(table.roles().time_sync, None);
    assert_eq!(table.roles().map_enter, Some(0x0436));
    assert_eq!(table.roles().public_chat, Some(0x00F3));
    assert_eq!(table.roles().restart, None);
    assert_eq!(table.cipher(), None);
    assert_eq!(table.char_record(), None);
    assert_eq!(table.length_of(0x0065), None);
    // Keys are those of one build.
    let text = printed(20_170_614, "0");
    let table = PacketTable::from_recvpackets(20_170_621, &text).unwrap();
    assert_eq!(table.cipher(), None);
    // So are the ids of packets to a map server.
    assert_eq!(table.roles().map_enter, None);
    assert_eq!(table.roles().time_sync, None);
    assert_eq!(table.roles().map_loaded, Some(0x007D));
}

#[test]
fn the_forms_that_the_ecosystem_writes_are_read() {
    let text = "\u{FEFF}0064 55 55 1 master login\n\
                \t0065\t17\t17\n\
                66 3 # select\n\
                   \n\
                #0067 1\n\
                fffe 0\n\
                ffFF -1 4\n\
                0064 55";
    let table = PacketTable::from_recvpackets(1, text).unwrap();
    let ids: Vec<_> = table.ids().collect();
    assert_eq!(
        ids,
        [
            (0x0064, PacketLength::Fixed(55)),
            (0x0065, PacketLength::Fixed(17)),
            (0x0066, PacketLength::Fixed(3)),
            (0xFFFE, PacketLength::Variable),
            (0xFFFF, PacketLength::Variable),
        ]
    );
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, line, what) in [
        ("0064 55\nxyz 3", 2, RecvPacketsProblem::BadId),
        ("0x64 55", 1, RecvPacketsProblem::BadId),
        ("00064 55", 1, RecvPacketsProblem::BadId),
        ("+64 55", 1, RecvPacketsProblem::BadId),
        ("0064: 55", 1, RecvPacketsProblem::BadId),
        ("\n\n0064", 3, RecvPacketsProblem::BadLength),
        ("0064 1", 1, RecvPacketsProblem::BadLength),
        ("0064 -2", 1, RecvPacketsProblem::BadLength),
        ("0064 65535", 1, RecvPacketsProblem::BadLength),
        ("0064 65536", 1, RecvPacketsProblem::BadLength),
        (
            "0064 99999999999999999999",
            1,
            RecvPacketsProblem::BadLength,
        ),
        ("0064 0x37", 1, RecvPacketsProblem::BadLength),
        ("0064 55 a", 1, RecvPacketsProblem::BadRest),
        ("0064 55 1 b", 1, RecvPacketsProblem::BadRest),
        (
            "0064 55\n# x\n0064 56",
            3,
            RecvPacketsProblem::Contradicts(1),
        ),
        ("0064 55\n0064 0", 2, RecvPacketsProblem::Contradicts(1)),
    ] {
        assert_eq!(problem(text), (line, what), "{text:?}");
    }
    assert_eq!(
        problem(&format!("0064 55 #{}", "x".repeat(200))),
        (1, RecvPacketsProblem::LongLine)
    );
    for text in ["", "\n\n", "# nothing\n"] {
        let error = PacketTable::from_recvpackets(1, text).unwrap_err();
        assert_eq!(error, RecvPacketsError::Empty);
    }
    let error = PacketTable::from_recvpackets(1, "0064 55\n  0065 one # why\n").unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with("line 2: "), "{told}");
    assert!(told.ends_with("\"0065 one\""), "{told}");
}

#[test]
fn a_table_has_a_bound() {
    let rows = |count: usize| -> String { (0..count).map(|id| format!("{id:04X} 2\n")).collect() };
    assert!(PacketTable::from_recvpackets(1, &rows(8192)).is_ok());
    assert_eq!(problem(&rows(8193)), (8193, RecvPacketsProblem::TooMany));
}

proptest! {
    #[test]
    fn arbitrary_text_does_not_panic(text in "(\\PC|\n| |#){0,200}") {
        let _ = PacketTable::from_recvpackets(20_211_103, &text);
    }

    #[test]
    fn lines_of_odd_words_do_not_panic(
        lines in proptest::collection::vec("[0-9A-Fa-f]{1,5} (-1|0|[0-9]{1,6})( -?[0-9]{1,4}){0,3}", 0..40),
    ) {
        if let Ok(table) = PacketTable::from_recvpackets(20_211_103, &lines.join("\n")) {
            for info in table.known() {
                prop_assert!(table.length_of(info.id).is_some());
            }
            prop_assert!(table.ids().count() > 0);
        }
    }
}
