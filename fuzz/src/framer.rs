//! Cutting a stream into packets.
//!
//! Input: version, connection (its switch: ids are xored), cutting, then the stream.

use std::sync::Arc;

use warp_ro_packet::{
    FrameKind, Framer, IdCipher, IdKeys, OpaqueReason, PacketLength, PacketTable, Role,
};

use crate::input::{Input, pieces};

/// What came of a stream. Raw bytes come out as they came in, so neighbours are joined.
#[derive(PartialEq, Eq, Debug, Default)]
struct Cut {
    frames: Vec<(FrameKind, Vec<u8>)>,
    reason: Option<OpaqueReason>,
}

impl Cut {
    fn drain(&mut self, framer: &mut Framer) {
        while let Some(frame) = framer.next_frame() {
            assert!(!frame.bytes.is_empty(), "an empty frame");
            self.take(frame.kind, &frame.bytes);
        }
        self.reason = framer.opaque_reason();
    }

    fn take(&mut self, kind: FrameKind, bytes: &[u8]) {
        match self.frames.last_mut() {
            Some((FrameKind::Raw, before)) if kind == FrameKind::Raw => before.extend(bytes),
            _ => self.frames.push((kind, bytes.to_vec())),
        }
    }
}

/// No byte is lost, doubled or moved; pieces give the same frames as the whole; a packet is as
/// long as its table says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let table = input.table();
    let (role, direction, xored) = input.connection();
    let seed = input.byte();
    let stream = input.rest();
    let keys = xored.then(|| {
        table
            .cipher()
            .unwrap_or(IdKeys([0x1234_5678, 0x9ABC_DEF1, 77]))
    });
    let framer = || {
        let table = Arc::clone(&table);
        match keys {
            Some(keys) => Framer::with_cipher(table, role, direction, IdCipher::new(keys)),
            None => Framer::new(table, role, direction),
        }
    };

    let mut whole = Cut::default();
    let mut one = framer();
    one.push(stream);
    whole.drain(&mut one);

    let mut parts = Cut::default();
    let mut many = framer();
    for (at, piece) in pieces(seed, stream).enumerate() {
        if at % 2 == 0 {
            many.push(piece);
        } else {
            many.push_owned(bytes::Bytes::copy_from_slice(piece));
        }
        parts.drain(&mut many);
    }
    assert_eq!(many.pending(), one.pending());
    for (cut, framer) in [(&mut whole, &mut one), (&mut parts, &mut many)] {
        if let Some(rest) = framer.finish() {
            cut.take(rest.kind, &rest.bytes);
        }
        assert_eq!(framer.finish(), None);
    }
    assert_eq!(whole, parts);

    let all: Vec<u8> = whole
        .frames
        .iter()
        .flat_map(|(_, bytes)| bytes.clone())
        .collect();
    assert!(all == stream, "the frames are not the stream");
    check(&whole, &table, role, keys);
}

/// What the frames say of themselves against the table.
fn check(cut: &Cut, table: &PacketTable, role: Role, keys: Option<IdKeys>) {
    let mut cipher = keys.map(IdCipher::new);
    for (at, (kind, bytes)) in cut.frames.iter().enumerate() {
        match kind {
            FrameKind::Packet(id) => {
                let length = match table.length_of(*id) {
                    Some(PacketLength::Fixed(length)) => usize::from(length),
                    Some(PacketLength::Variable) => {
                        usize::from(u16::from_le_bytes([bytes[2], bytes[3]]))
                    }
                    None => panic!("packet {id:04X} is not in the table"),
                };
                assert_eq!(bytes.len(), length, "packet {id:04X}");
                let wire = u16::from_le_bytes([bytes[0], bytes[1]]);
                let plain = cipher.as_mut().map_or(wire, |cipher| cipher.apply(wire));
                assert_eq!(plain, *id);
            }
            FrameKind::RawAid => {
                assert_eq!((at, bytes.len(), role), (0, 4, Role::Char));
            }
            FrameKind::Raw => assert_eq!(at, cut.frames.len() - 1, "framed behind raw bytes"),
        }
    }
}
