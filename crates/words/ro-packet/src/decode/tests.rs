//! The layouts agree with themselves and with the tables.

use std::collections::HashSet;

use super::layout::{ANY, Key, Layout, NEXT, Slot, V, find, width};
use super::unit::{CHARACTER, MOVING, NEW, STANDING};
use super::{Field, FieldValue, client, decode, session, world};
use crate::{Direction, PacketLength, PacketTable};

fn layouts() -> impl Iterator<Item = &'static Layout> {
    client::LAYOUTS
        .iter()
        .chain(session::LAYOUTS)
        .chain(world::LAYOUTS)
}

fn tables() -> impl Iterator<Item = std::sync::Arc<PacketTable>> {
    PacketTable::versions().map(|version| PacketTable::for_version(version).unwrap())
}

fn names(fields: &[Field]) -> Vec<&'static str> {
    fields.iter().map(|field| field.name).collect()
}

#[test]
fn no_layout_comes_twice() {
    let mut seen = HashSet::new();
    for layout in layouts() {
        let key = match layout.key {
            Key::Id(id) => format!("{id:04X}"),
            Key::Name(name) => name.to_owned(),
        };
        assert!(seen.insert((key.clone(), layout.length)), "{key}");
    }
}

#[test]
fn fields_lie_inside_their_packet_in_order_and_have_names_of_their_own() {
    for table in tables() {
        for layout in layouts() {
            let frame = vec![1; 4096];
            let fields = layout.read(table.version(), &frame);
            let mut lists: Vec<Vec<&str>> = vec![names(&fields)];
            for field in &fields {
                if let FieldValue::Records(records) = &field.value {
                    lists.extend(records.iter().map(|record| names(record)));
                }
            }
            for list in lists {
                let unique: HashSet<_> = list.iter().collect();
                assert_eq!(unique.len(), list.len(), "{:?}: {list:?}", layout.key);
            }
            if ![V, ANY].contains(&layout.length) {
                let end = width(layout.slots, table.version());
                assert!(end <= usize::from(layout.length), "{:?}", layout.key);
            }
            let mut last = 0;
            for slot in layout.slots.iter().filter(|slot| slot.at != NEXT) {
                assert!(slot.at >= last.max(2), "{:?} {}", layout.key, slot.name);
                last = slot.at;
            }
        }
    }
}

#[test]
fn every_layout_belongs_to_a_packet_of_some_version() {
    for layout in layouts() {
        let found = tables().any(|table| {
            table.ids().any(|(id, _)| {
                [Direction::ClientToServer, Direction::ServerToClient]
                    .into_iter()
                    .any(|direction| {
                        let name = table.name_of(id, direction);
                        find(&table, direction, id, name)
                            .is_some_and(|found| std::ptr::eq(found, layout))
                    })
            })
        });
        assert!(found, "{:?} with length {}", layout.key, layout.length);
    }
}

#[test]
fn server_packets_with_a_layout_travel_to_the_client_in_every_version() {
    for table in tables() {
        for layout in session::LAYOUTS.iter().chain(world::LAYOUTS) {
            if let Key::Id(id) = layout.key
                && let Some(info) = table.info(id)
            {
                assert_eq!(
                    info.direction,
                    Direction::ServerToClient,
                    "{id:04X} at {}",
                    table.version()
                );
            }
        }
    }
}

fn unit_widths(version: u32) -> [usize; 3] {
    [STANDING, NEW, MOVING].map(|slots: &[Slot]| width(slots, version))
}

/// The lengths that were seen, and those that the emulators' structures add up to.
#[test]
fn units_and_characters_are_as_wide_as_the_versions_say() {
    assert_eq!(unit_widths(20_211_103), [108, 107, 114]);
    assert_eq!(unit_widths(20_180_621), [104, 103, 110]);
    for table in tables() {
        let record = u16::try_from(width(CHARACTER, table.version())).unwrap();
        assert_eq!(table.char_record(), Some(record), "{}", table.version());
    }
    // The packet that carries one character is its id and the record.
    for (version, id) in [
        (20_130_807, 0x006D),
        (20_180_621, 0x006D),
        (20_211_103, 0x0B6F),
    ] {
        let table = PacketTable::for_version(version).unwrap();
        let whole = u16::try_from(width(CHARACTER, version) + 2).unwrap();
        assert_eq!(
            table.length_of(id),
            Some(PacketLength::Fixed(whole)),
            "{version}"
        );
    }
}

#[test]
fn a_packet_cut_short_has_its_first_fields() {
    let table = PacketTable::for_version(20_211_103).unwrap();
    let mut frame = vec![0x91, 0x00];
    frame.extend_from_slice(b"prontera.gat\0\0\0\0\x9C\x00\xB9\x00");
    let whole = decode(&table, Direction::ServerToClient, &frame);
    assert_eq!(names(&whole.fields), ["map", "x", "y"]);
    for length in 0..frame.len() {
        let cut = decode(&table, Direction::ServerToClient, &frame[..length]);
        let expected = usize::from(length >= 18) + usize::from(length >= 20);
        assert_eq!(cut.fields, whole.fields[..expected], "{length} bytes");
        assert_eq!(cut.length, length);
        assert_eq!(cut.id, if length < 2 { 0 } else { 0x0091 });
    }
}

#[test]
fn text_that_is_not_utf8_is_readable_and_marked() {
    let table = PacketTable::for_version(20_211_103).unwrap();
    let frame = b"\x8E\x00\x0B\x00a\xB0\xA1\n\"\x00z";
    let decoded = decode(&table, Direction::ServerToClient, frame);
    let text = &decoded.fields[0];
    assert_eq!(
        text.value,
        FieldValue::Text("a\\xB0\\xA1\n\"".to_owned()),
        "up to the zero byte"
    );
    assert_eq!(text.to_string(), r#"text="a\\xB0\\xA1\n\"""#);
}
