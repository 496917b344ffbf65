//! Framing of generated packet sequences, for every compiled-in client version.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use common::{joined, recordings};
use proptest::prelude::*;
use proptest::sample::Index;
use warp_ro_packet::{
    Detection, Detector, Direction, Frame, FrameKind, Framer, IdCipher, IdKeys, OpaqueReason,
    PacketLength, PacketTable, Role,
};

static TABLES: LazyLock<Vec<Arc<PacketTable>>> = LazyLock::new(|| {
    PacketTable::versions()
        .filter_map(PacketTable::for_version)
        .collect()
});

/// A stream in plain: what its frames are, and their bytes.
type Stream = Vec<(FrameKind, Vec<u8>)>;

/// Packets of `table` with random bodies and the lengths that the table says. `seeds` are an id
/// and what the body is made of.
fn stream(
    table: &PacketTable,
    role: Role,
    direction: Direction,
    seeds: &[(Index, Vec<u8>)],
) -> Stream {
    let ids: Vec<(u16, PacketLength)> = table.ids().collect();
    let mut stream = Stream::new();
    if (role, direction) == (Role::Char, Direction::ServerToClient) {
        stream.push((FrameKind::RawAid, vec![0x81, 0x84, 0x1E, 0x00]));
    }
    for (which, body) in seeds {
        let (id, length) = *which.get(&ids);
        let length = match length {
            PacketLength::Fixed(length) => usize::from(length),
            PacketLength::Variable => 4 + body.len(),
        };
        let mut packet: Vec<u8> = (id.to_le_bytes().into_iter())
            .chain(body.iter().copied().cycle())
            .take(length)
            .collect();
        packet.resize(length, 0);
        if table.length_of(id) == Some(PacketLength::Variable) {
            packet[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
        }
        stream.push((FrameKind::Packet(id), packet));
    }
    stream
}

/// The bytes on the wire, and the frames that are to come out of them.
fn on_the_wire(stream: &Stream, mut cipher: Option<IdCipher>) -> (Vec<u8>, Stream) {
    let mut hidden = stream.clone();
    for (kind, packet) in &mut hidden {
        if let (FrameKind::Packet(id), Some(cipher)) = (*kind, &mut cipher) {
            packet[..2].copy_from_slice(&cipher.apply(id).to_le_bytes());
        }
    }
    let bytes = (hidden.iter().flat_map(|(_, packet)| packet.clone())).collect();
    (bytes, hidden)
}

/// Frames `bytes` in pieces, drained after each.
fn frame(framer: &mut Framer, bytes: &[u8], cuts: &[Index]) -> Vec<Frame> {
    let mut ends: Vec<usize> = (cuts.iter().map(|cut| cut.index(bytes.len() + 1)))
        .chain([bytes.len()])
        .collect();
    ends.sort_unstable();
    let mut frames = Vec::new();
    let mut from = 0;
    for (turn, to) in ends.into_iter().enumerate() {
        if turn % 2 == 0 {
            framer.push(&bytes[from..to]);
        } else {
            framer.push_owned(Bytes::copy_from_slice(&bytes[from..to]));
        }
        frames.extend(std::iter::from_fn(|| framer.next_frame()));
        from = to;
    }
    frames.extend(framer.finish());
    frames
}

fn seen(frames: &[Frame]) -> Stream {
    (frames.iter())
        .map(|frame| (frame.kind, frame.bytes.to_vec()))
        .collect()
}

fn any_connection() -> impl Strategy<Value = (Role, Direction)> {
    (
        prop_oneof![Just(Role::Login), Just(Role::Char), Just(Role::Map)],
        prop_oneof![
            Just(Direction::ClientToServer),
            Just(Direction::ServerToClient)
        ],
    )
}

fn any_seeds() -> impl Strategy<Value = Vec<(Index, Vec<u8>)>> {
    proptest::collection::vec(
        (
            any::<Index>(),
            proptest::collection::vec(any::<u8>(), 0..80),
        ),
        0..25,
    )
}

fn any_cuts() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 0..40)
}

/// The version's own keys, or any.
fn any_keys() -> impl Strategy<Value = Option<IdKeys>> {
    proptest::option::of(any::<[u32; 3]>().prop_map(IdKeys))
}

proptest! {
    #[test]
    fn in_any_segmentation_the_frames_are_the_same(
        (role, direction) in any_connection(),
        seeds in any_seeds(),
        cuts in any_cuts(),
    ) {
        for table in TABLES.iter() {
            let stream = stream(table, role, direction, &seeds);
            let (bytes, _) = on_the_wire(&stream, None);
            let mut framer = Framer::new(Arc::clone(table), role, direction);
            let frames = frame(&mut framer, &bytes, &cuts);
            prop_assert_eq!(seen(&frames), stream);
            prop_assert!(!framer.is_opaque());
            prop_assert_eq!(joined(&frames), bytes);
        }
    }

    #[test]
    fn through_a_cipher_the_frames_carry_plain_ids_and_the_bytes_as_they_came(
        keys in any_keys(),
        seeds in any_seeds(),
        cuts in any_cuts(),
        late in any::<bool>(),
    ) {
        let (role, direction) = (Role::Map, Direction::ClientToServer);
        for table in TABLES.iter() {
            let Some(keys) = keys.or_else(|| table.cipher()) else {
                continue;
            };
            let cipher = IdCipher::new(keys);
            let stream = stream(table, role, direction, &seeds);
            let (bytes, hidden) = on_the_wire(&stream, Some(cipher.clone()));
            let mut framer = if late {
                let mut framer = Framer::new(Arc::clone(table), role, direction);
                framer.set_cipher(cipher);
                framer
            } else {
                Framer::with_cipher(Arc::clone(table), role, direction, cipher)
            };
            let frames = frame(&mut framer, &bytes, &cuts);
            prop_assert_eq!(seen(&frames), hidden);
            prop_assert!(!framer.is_opaque());
            prop_assert_eq!(joined(&frames), bytes);
        }
    }

    #[test]
    fn an_unknown_id_at_any_point_loses_nothing(
        (role, direction) in any_connection(),
        hide in any::<bool>(),
        seeds in any_seeds(),
        unknown in any::<Index>(),
        at in any::<Index>(),
        rest in proptest::collection::vec(any::<u8>(), 0..60),
        cuts in any_cuts(),
    ) {
        for table in TABLES.iter() {
            let none: Vec<u16> = (0..=u16::MAX).filter(|id| table.length_of(*id).is_none()).collect();
            let unknown = *unknown.get(&none);
            let keys = table.cipher().filter(|_| hide && (role, direction) == (Role::Map, Direction::ClientToServer));
            let mut stream = stream(table, role, direction, &seeds);
            // Behind the raw account id, which has no id to be wrong.
            let raw = stream.iter().filter(|(kind, _)| *kind == FrameKind::RawAid).count();
            let place = raw + at.index(stream.len() - raw + 1);
            let mut packet = unknown.to_le_bytes().to_vec();
            packet.extend(&rest);
            stream.insert(place, (FrameKind::Packet(unknown), packet));
            let (bytes, hidden) = on_the_wire(&stream, keys.map(IdCipher::new));
            let mut framer = Framer::new(Arc::clone(table), role, direction);
            if let Some(keys) = keys {
                framer.set_cipher(IdCipher::new(keys));
            }
            let frames = frame(&mut framer, &bytes, &cuts);
            prop_assert_eq!(&seen(&frames)[..place], &hidden[..place]);
            prop_assert!(frames[place..].iter().all(|frame| frame.kind == FrameKind::Raw));
            prop_assert_eq!(framer.opaque_reason(), Some(OpaqueReason::UnknownId(unknown)));
            prop_assert_eq!(joined(&frames), bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_come_out_of_every_version_as_they_went_in(
        (role, direction) in any_connection(),
        keys in any_keys(),
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        cuts in any_cuts(),
    ) {
        for table in TABLES.iter() {
            let mut framer = Framer::new(Arc::clone(table), role, direction);
            if let Some(keys) = keys {
                framer.set_cipher(IdCipher::new(keys));
            }
            let frames = frame(&mut framer, &bytes, &cuts);
            prop_assert_eq!(joined(&frames), &bytes[..]);
        }
    }
}

/// Every id of every version once, byte by byte.
#[test]
fn every_id_of_every_version_is_framed() {
    for table in TABLES.iter() {
        for (id, length) in table.ids() {
            let length = match length {
                PacketLength::Fixed(length) => usize::from(length),
                PacketLength::Variable => 7,
            };
            let mut packet = vec![0; length];
            packet[..2].copy_from_slice(&id.to_le_bytes());
            if table.length_of(id) == Some(PacketLength::Variable) {
                packet[2] = 7;
            }
            let mut framer = Framer::new(Arc::clone(table), Role::Map, Direction::ServerToClient);
            for byte in &packet {
                assert!(framer.next_frame().is_none());
                framer.push(&[*byte]);
            }
            let frame = framer.next_frame().unwrap();
            assert_eq!(frame.kind, FrameKind::Packet(id));
            assert_eq!(&frame.bytes[..], &packet[..]);
        }
    }
}

#[test]
fn recorded_connections_are_found_to_be_of_their_version() {
    let all = || Detector::new(TABLES.clone());
    let mut of_all = all();
    for recording in recordings() {
        let mut alone = all();
        for (detector, what) in [(&mut alone, "alone"), (&mut of_all, "together")] {
            for length in [1, 2, 6, 30, recording.bytes.len()] {
                let head = recording.bytes.get(..length).unwrap_or(&recording.bytes);
                let detection = detector.note(recording.role, recording.direction, head);
                let name = &recording.name;
                match detection {
                    Detection::NeedMore => {
                        assert!(head.len() < recording.bytes.len(), "{name} {what}");
                    }
                    Detection::Table {
                        table, ciphered, ..
                    } => {
                        assert_eq!(table.version(), 20_211_103, "{name} {what}");
                        assert!(!ciphered, "{name} {what}");
                    }
                    Detection::Unknown { id } => panic!("{name} {what}: {id:04X}"),
                }
            }
        }
        // What a map login and a list of characters prove, they prove alone.
        let proves = match (recording.role, recording.direction) {
            (Role::Map, Direction::ClientToServer) => true,
            (Role::Char, Direction::ServerToClient) => recording.bytes.len() > 100,
            _ => false,
        };
        assert!(alone.certain() || !proves, "{}", recording.name);
    }
    assert!(of_all.certain());
}
