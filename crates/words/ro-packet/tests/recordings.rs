//! Framing and rewriting of recorded sessions, and of anything else that may arrive.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::LazyLock;

use bytes::Bytes;
use common::{Recording, joined, recordings, table};
use proptest::prelude::*;
use proptest::sample::Index;
use warp_ro_packet::{
    Direction, Frame, FrameKind, Framer, OpaqueReason, PacketLength, Role, announced_addresses,
    announces_addresses, map_name, rewrite_addresses,
};

static RECORDINGS: LazyLock<Vec<Recording>> = LazyLock::new(recordings);

/// Frames `bytes` cut at `cuts`, drained after each push; the last frame may be what was left at the end.
fn frame_in_pieces(
    role: Role,
    direction: Direction,
    bytes: &[u8],
    cuts: &[usize],
) -> (Vec<Frame>, Framer) {
    let mut framer = Framer::new(table(), role, direction);
    let mut frames = Vec::new();
    let mut from = 0;
    for (turn, to) in cuts.iter().copied().chain([bytes.len()]).enumerate() {
        let piece = &bytes[from..to];
        if turn % 2 == 0 {
            framer.push(piece);
        } else {
            framer.push_owned(Bytes::copy_from_slice(piece));
        }
        while let Some(frame) = framer.next_frame() {
            assert!(!frame.bytes.is_empty());
            frames.push(frame);
        }
        assert!(framer.pending() < warp_ro_packet::MAX_PACKET);
        from = to;
    }
    let rest = framer.finish();
    frames.extend(rest);
    (frames, framer)
}

fn cuts_of(indices: &[Index], length: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = indices
        .iter()
        .map(|index| index.index(length + 1))
        .collect();
    cuts.sort_unstable();
    cuts
}

/// Every frame is a whole packet of the table's length, and nothing is left over.
fn assert_framed_to_the_end(recording: &Recording, frames: &[Frame]) {
    for (place, frame) in frames.iter().enumerate() {
        match frame.kind {
            FrameKind::RawAid => {
                assert_eq!(place, 0, "{}", recording.name);
                assert_eq!(frame.bytes.len(), 4, "{}", recording.name);
            }
            FrameKind::Packet(id) => {
                assert_eq!(frame.bytes[..2], id.to_le_bytes(), "{}", recording.name);
                match table().length_of(id) {
                    Some(PacketLength::Fixed(length)) => {
                        assert_eq!(frame.bytes.len(), usize::from(length));
                    }
                    Some(PacketLength::Variable) => {
                        let stated = u16::from_le_bytes([frame.bytes[2], frame.bytes[3]]);
                        assert_eq!(frame.bytes.len(), usize::from(stated));
                    }
                    None => panic!("{}: {id:04X} is not in the table", recording.name),
                }
            }
            FrameKind::Raw => panic!("{}: {} raw bytes", recording.name, frame.bytes.len()),
        }
    }
}

#[test]
fn every_recording_frames_to_its_end_whole_and_byte_by_byte() {
    for recording in RECORDINGS.iter() {
        let Recording {
            role,
            direction,
            bytes,
            ..
        } = recording;
        let (whole, _) = frame_in_pieces(*role, *direction, bytes, &[]);
        assert_framed_to_the_end(recording, &whole);
        assert_eq!(joined(&whole), *bytes, "{}", recording.name);
        let every: Vec<usize> = (1..bytes.len()).collect();
        let (single, _) = frame_in_pieces(*role, *direction, bytes, &every);
        assert_eq!(single, whole, "{}", recording.name);
    }
}

#[test]
fn recorded_packets_travel_the_way_the_table_says() {
    let mut named = 0;
    for recording in RECORDINGS.iter() {
        let (frames, _) =
            frame_in_pieces(recording.role, recording.direction, &recording.bytes, &[]);
        for frame in frames {
            if let FrameKind::Packet(id) = frame.kind {
                let table = table();
                let info = table.info(id);
                let info = info.unwrap_or_else(|| panic!("{id:04X} was recorded but has no name"));
                assert_eq!(info.direction, recording.direction, "{id:04X}");
                named += 1;
            }
        }
    }
    assert!(named > 1000, "{named} packets");
}

#[test]
fn rewriting_a_recording_changes_address_fields_only() {
    let mut announced = [0usize; 3];
    for recording in RECORDINGS
        .iter()
        .filter(|one| one.direction == Direction::ServerToClient)
    {
        let (frames, _) =
            frame_in_pieces(recording.role, recording.direction, &recording.bytes, &[]);
        for frame in frames {
            let mut rewritten = frame.bytes.to_vec();
            let mut port = 50_000;
            let changed = rewrite_addresses(&mut rewritten, &mut |_, _| {
                port += 1;
                SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
            });
            // From the layouts of the packets, not from the code under test.
            let fields: Vec<std::ops::Range<usize>> = match frame.kind {
                FrameKind::Packet(0x0AC4) => {
                    announced[0] += 1;
                    (0..(frame.bytes.len() - 64) / 160)
                        .map(|server| 64 + 160 * server..70 + 160 * server)
                        .collect()
                }
                FrameKind::Packet(id @ (0x0AC5 | 0x0AC7)) => {
                    announced[usize::from(id == 0x0AC7) + 1] += 1;
                    std::iter::once(22..28).collect()
                }
                _ => Vec::new(),
            };
            assert_eq!(changed, fields.len(), "{}", recording.name);
            assert_eq!(rewritten.len(), frame.bytes.len());
            for (at, (old, new)) in frame.bytes.iter().zip(&rewritten).enumerate() {
                let inside = fields.iter().any(|field| field.contains(&at));
                assert!(
                    old == new || inside,
                    "{}: byte {at} changed",
                    recording.name
                );
            }
            for (nth, field) in fields.into_iter().enumerate() {
                let port = 50_001 + u16::try_from(nth).unwrap();
                let [low, high] = port.to_le_bytes();
                assert_eq!(rewritten[field], [127, 0, 0, 1, low, high]);
            }
        }
    }
    assert_eq!(
        announced,
        [6, 7, 2],
        "0AC4, 0AC5 and 0AC7 in the recordings"
    );
}

#[test]
fn recorded_map_names_are_read() {
    let mut maps = std::collections::BTreeSet::new();
    for recording in RECORDINGS.iter() {
        let (frames, _) =
            frame_in_pieces(recording.role, recording.direction, &recording.bytes, &[]);
        for frame in frames {
            let names = matches!(frame.kind, FrameKind::Packet(0x0AC5 | 0x0AC7 | 0x0091));
            assert_eq!(
                map_name(&frame.bytes).is_some(),
                names,
                "{}",
                recording.name
            );
            maps.extend(map_name(&frame.bytes).map(str::to_owned));
        }
    }
    assert!(maps.contains("prontera.gat"), "{maps:?}");
    assert!(maps.iter().all(|map| map.ends_with(".gat")), "{maps:?}");
}

fn any_role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Login), Just(Role::Char), Just(Role::Map)]
}

fn any_direction() -> impl Strategy<Value = Direction> {
    prop_oneof![
        Just(Direction::ClientToServer),
        Just(Direction::ServerToClient)
    ]
}

proptest! {
    #[test]
    fn segmentation_does_not_matter(which in any::<Index>(), cuts in proptest::collection::vec(any::<Index>(), 0..60)) {
        let recording = which.get(&RECORDINGS);
        let cuts = cuts_of(&cuts, recording.bytes.len());
        let (frames, framer) = frame_in_pieces(recording.role, recording.direction, &recording.bytes, &cuts);
        assert_framed_to_the_end(recording, &frames);
        prop_assert!(!framer.is_opaque());
        let (whole, _) = frame_in_pieces(recording.role, recording.direction, &recording.bytes, &[]);
        prop_assert_eq!(frames, whole);
    }

    #[test]
    fn bytes_put_in_anywhere_lose_nothing(
        which in any::<Index>(),
        at in any::<Index>(),
        extra in proptest::collection::vec(any::<u8>(), 1..40),
        cuts in proptest::collection::vec(any::<Index>(), 0..30),
    ) {
        let recording = which.get(&RECORDINGS);
        let at = at.index(recording.bytes.len() + 1);
        let mut bytes = recording.bytes.clone();
        bytes.splice(at..at, extra);
        let cuts = cuts_of(&cuts, bytes.len());
        let (frames, _) = frame_in_pieces(recording.role, recording.direction, &bytes, &cuts);
        prop_assert_eq!(joined(&frames), bytes);
    }

    #[test]
    fn an_unknown_id_at_a_packet_border_keeps_what_came_before_framed(
        which in any::<Index>(),
        after in any::<Index>(),
        cuts in proptest::collection::vec(any::<Index>(), 0..30),
    ) {
        let recording = which.get(&RECORDINGS);
        let (whole, _) = frame_in_pieces(recording.role, recording.direction, &recording.bytes, &[]);
        // At least one frame first: the four raw bytes of a char server have no id to be wrong.
        let kept = 1 + after.index(whole.len());
        let border: usize = whole[..kept].iter().map(|frame| frame.bytes.len()).sum();
        let mut bytes = recording.bytes.clone();
        bytes.splice(border..border, [0xEE, 0xFF]);
        let cuts = cuts_of(&cuts, bytes.len());
        let (frames, framer) = frame_in_pieces(recording.role, recording.direction, &bytes, &cuts);
        prop_assert_eq!(&frames[..kept], &whole[..kept]);
        prop_assert!(frames[kept..].iter().all(|frame| frame.kind == FrameKind::Raw));
        prop_assert_eq!(framer.opaque_reason(), Some(OpaqueReason::UnknownId(0xFFEE)));
        prop_assert_eq!(joined(&frames), bytes);
    }

    #[test]
    fn arbitrary_bytes_come_out_as_they_went_in(
        role in any_role(),
        direction in any_direction(),
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        cuts in proptest::collection::vec(any::<Index>(), 0..20),
    ) {
        let cuts = cuts_of(&cuts, bytes.len());
        let (frames, _) = frame_in_pieces(role, direction, &bytes, &cuts);
        prop_assert_eq!(joined(&frames), bytes);
    }

    #[test]
    fn streams_of_known_ids_with_arbitrary_content_do_not_panic(
        ids in proptest::collection::vec((any::<Index>(), proptest::collection::vec(any::<u8>(), 0..200)), 1..20),
        direction in any_direction(),
    ) {
        let known: Vec<u16> = table().ids().map(|(id, _)| id).collect();
        let mut bytes = Vec::new();
        for (id, body) in ids {
            bytes.extend(id.get(&known).to_le_bytes());
            bytes.extend(body);
        }
        let (frames, _) = frame_in_pieces(Role::Map, direction, &bytes, &[]);
        prop_assert_eq!(joined(&frames), bytes);
    }

    #[test]
    fn reading_arbitrary_bytes_does_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), id in any::<u16>()) {
        for id in [
            0x0AC4, 0x0AC5, 0x0AC7, 0x0069, 0x0071, 0x0092, 0x0091, id,
        ] {
            if let Some(head) = bytes.first_chunk_mut() {
                *head = u16::to_le_bytes(id);
            }
            let count = announced_addresses(&bytes).count();
            prop_assert!(count == 0 || announces_addresses(id));
            let name = map_name(&bytes).map(str::len).unwrap_or_default();
            prop_assert!(name <= 16);
            let mut rewritten = bytes.clone();
            let changed = rewrite_addresses(&mut rewritten, &mut |_, address| {
                SocketAddrV4::new(*address.ip(), address.port() ^ 1)
            });
            prop_assert_eq!(changed, count);
        }
    }
}
