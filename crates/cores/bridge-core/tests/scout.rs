//! Versions that no beginning tells apart: later packets are not cut wrongly.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use warp_bridge_core::{Reading, Scout, Versions};
use warp_ro_packet::{Direction, MAX_PACKET, PacketLength, PacketTable, Role};

const LOOK_ALIKE: [u32; 2] = [20_180_621, 20_200_401];
const DOWN: Direction = Direction::ServerToClient;

fn table(version: u32) -> Arc<PacketTable> {
    PacketTable::for_version(version).unwrap()
}

fn packet(table: &PacketTable, id: u16, more: usize) -> Vec<u8> {
    let mut bytes = match table.length_of(id).unwrap() {
        PacketLength::Fixed(length) => vec![0; usize::from(length)],
        PacketLength::Variable => {
            let length = 4 + more;
            let mut bytes = vec![0; length];
            bytes[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
            bytes
        }
    };
    bytes[..2].copy_from_slice(&id.to_le_bytes());
    bytes
}

/// Versions that have seen a map login of one of [`LOOK_ALIKE`], and so have both left.
fn undecided() -> Versions {
    let mut versions = Versions::new(0, &[]);
    let [_, newer] = LOOK_ALIKE;
    let table = table(newer);
    let enter = packet(&table, table.roles().map_enter.unwrap(), 0);
    let reading = versions.on_client(Role::Map, &enter);
    assert!(matches!(reading, Some(Reading::Framed { .. })));
    assert!(!versions.certain());
    versions
}

fn read_as(reading: Option<Reading>) -> Option<u32> {
    match reading {
        Some(Reading::Framed { table, .. }) => Some(table.version()),
        Some(Reading::Opaque(reason)) => panic!("{reason}"),
        None => None,
    }
}

#[test]
fn an_item_on_the_floor_tells_at_once_when_more_stands_behind_it() {
    for version in LOOK_ALIKE {
        let table = table(version);
        let mut stream = packet(&table, 0x0087, 0);
        let agreed = stream.len();
        stream.extend(packet(&table, 0x009D, 0));
        stream.extend(packet(&table, 0x0087, 0));
        stream.extend(packet(&table, 0x0087, 0));
        let (mut versions, mut scout) = (undecided(), Scout::new(Role::Map, DOWN));
        scout.push(&stream[..agreed]);
        let (reading, passed) = scout.pass(&mut versions, false);
        assert_eq!((read_as(reading), passed.len()), (None, agreed));
        scout.push(&stream[agreed..]);
        let (reading, passed) = scout.pass(&mut versions, false);
        assert_eq!(read_as(reading), Some(version));
        assert_eq!(passed, stream[agreed..]);
        assert!(versions.certain() && scout.held() == 0);
    }
}

#[test]
fn one_that_comes_alone_is_held_for_a_moment_and_then_its_end_tells() {
    for version in LOOK_ALIKE {
        let table = table(version);
        let stream = packet(&table, 0x009D, 0);
        let (mut versions, mut scout) = (undecided(), Scout::new(Role::Map, DOWN));
        scout.push(&stream);
        let (reading, passed) = scout.pass(&mut versions, false);
        let newer = version == LOOK_ALIKE[1];
        if newer {
            // By the older one it ends within, behind two bytes that are no packet of a server.
            assert_eq!(read_as(reading), Some(version));
        } else {
            assert_eq!((read_as(reading), passed.len()), (None, 0));
            assert!(scout.undecided());
            let (reading, passed) = scout.pass(&mut versions, true);
            assert_eq!(read_as(reading), Some(version));
            assert_eq!(passed, stream);
        }
        assert!(versions.certain());
    }
}

#[test]
fn no_more_is_held_than_the_longest_packet_however_long_it_stays_undecided() {
    let [older, _] = LOOK_ALIKE;
    let (mut versions, mut scout) = (undecided(), Scout::new(Role::Map, DOWN));
    // Read two bytes further on, this is a chat line of 65,535 bytes that has not all come.
    let mut line = packet(&table(older), 0x008D, 0x8D - 4);
    line[4..6].copy_from_slice(&[0xFF, 0xFF]);
    let mut stream = packet(&table(older), 0x009D, 0);
    let mut passed = Vec::new();
    scout.push(&stream);
    while !versions.certain() {
        scout.push(&line);
        stream.extend_from_slice(&line);
        passed.extend_from_slice(&scout.pass(&mut versions, false).1);
        assert!(scout.held() <= MAX_PACKET);
        assert!(stream.len() < 2 * MAX_PACKET, "it never ends");
    }
    assert!(stream.len() > MAX_PACKET);
    assert_eq!(read_as(Some(versions.guess())), Some(older));
    assert_eq!(passed, stream);
}

#[test]
fn what_is_no_packet_of_any_version_passes() {
    let (mut versions, mut scout) = (undecided(), Scout::new(Role::Map, DOWN));
    scout.push(&[0xFF; 64]);
    let (reading, passed) = scout.pass(&mut versions, false);
    assert_eq!((read_as(reading), passed.len()), (None, 64));
    assert!(!scout.undecided() && scout.held() == 0);
}

#[test]
fn what_another_connection_told_counts_here() {
    let (mut versions, mut scout) = (undecided(), Scout::new(Role::Map, DOWN));
    let [older, _] = LOOK_ALIKE;
    let item = packet(&table(older), 0x009D, 0);
    scout.push(&item[..5]);
    assert_eq!(scout.pass(&mut versions, false).1.len(), 0);
    let mut other = Scout::new(Role::Map, DOWN);
    other.push(&item);
    other.pass(&mut versions, true);
    let (reading, passed) = scout.pass(&mut versions, false);
    assert_eq!((read_as(reading), passed.len()), (Some(older), 5));
}

proptest! {
    /// Whatever a server of either version says, in whatever pieces: nothing is lost, nothing but whole
    /// packets passes before it is certain, and what is certain is right.
    #[test]
    fn no_stream_is_cut_wrongly(
        which in 0..2usize,
        packets in prop::collection::vec((any::<Index>(), 0..40usize), 1..40),
        cuts in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let version = LOOK_ALIKE[which];
        let table = table(version);
        let ids: Vec<u16> = table
            .ids()
            .map(|(id, _)| id)
            .filter(|id| table.info(*id).is_some_and(|info| info.direction == DOWN))
            .collect();
        let mut stream = Vec::new();
        let mut borders = vec![0];
        for (which, more) in &packets {
            stream.extend(packet(&table, *which.get(&ids), *more));
            borders.push(stream.len());
        }
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        let (mut versions, mut scout) = (undecided(), Scout::new(Role::Map, DOWN));
        let (mut passed, mut start) = (Vec::new(), 0);
        // What passed though nothing told how it ends; from there on nobody knows the borders.
        let mut adrift = false;
        for end in ends {
            scout.push(&stream[start..end]);
            start = end;
            // Only at the end of a write does nothing follow.
            for settled in [false, true] {
                if settled && !borders.contains(&end) {
                    continue;
                }
                let (reading, now) = scout.pass(&mut versions, settled);
                passed.extend_from_slice(&now);
                if versions.certain() {
                    prop_assert!(read_as(reading).is_none_or(|read| read == version));
                    prop_assert_eq!(read_as(Some(versions.guess())), Some(version));
                } else if settled {
                    adrift |= !now.is_empty();
                } else if !adrift {
                    prop_assert!(borders.contains(&passed.len()));
                }
            }
        }
        passed.extend_from_slice(&scout.give_up());
        prop_assert_eq!(passed, stream);
    }
}
