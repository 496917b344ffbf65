//! Packet tables in the format of `recvpackets.txt`.
//!
//! Input: the version (its compiled-in table is the model), then the text.

use std::fmt::Write as _;

use warp_ro_packet::{PacketLength, PacketTable, RecvPacketsError};

use crate::input::Input;

/// A table that was read prints as a text that reads as the same table.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let version = input.table().version();
    let Ok(text) = std::str::from_utf8(input.rest()) else {
        return;
    };
    let table = match PacketTable::from_recvpackets(version, text) {
        Ok(table) => table,
        Err(RecvPacketsError::Line { line, .. }) => {
            assert!((1..=text.lines().count()).contains(&line), "line {line}");
            return;
        }
        Err(RecvPacketsError::Empty) => return,
    };
    let mut printed = String::new();
    for (id, length) in table.ids() {
        let length = match length {
            PacketLength::Fixed(length) => {
                assert!(length >= 2, "{id:04X} {length}");
                i32::from(length)
            }
            PacketLength::Variable => -1,
        };
        writeln!(printed, "{id:04X} {length}").expect("text takes text");
        assert_eq!(
            table.info(id).map(|info| info.class),
            known_class(&table, id)
        );
    }
    let again = PacketTable::from_recvpackets(version, &printed).expect("what was printed");
    assert!(table.ids().eq(again.ids()), "another table");
    assert_eq!(table.roles(), again.roles());
    for role in [table.roles().map_enter, table.roles().public_chat]
        .into_iter()
        .flatten()
    {
        assert!(
            table.length_of(role).is_some(),
            "role of an id without a length"
        );
    }
}

/// The class of an id that is known by name.
fn known_class(table: &PacketTable, id: u16) -> Option<warp_ro_packet::PacketClass> {
    table.info(id).map(|_| table.class_of(id))
}
