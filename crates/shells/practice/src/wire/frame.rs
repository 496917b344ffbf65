//! Where the first packet of a buffer ends, by the length table of `warp-ro-packet`.

use std::borrow::Cow;
use std::sync::Arc;

use warp_ro_packet::{IdCipher, IdKeys, PacketLength, PacketTable};

/// What stands at the front of a buffer. Ids are plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// Too few bytes to know the length: none or one, or fewer than four of a variable packet.
    Unsure,
    /// A packet of this many bytes, of which only some are there.
    Part(usize),
    /// A whole packet of this many bytes.
    Whole(usize),
    /// No packet of this version has this id.
    Unknown(u16),
    /// A variable packet whose length field is smaller than its own header.
    BadLength(u16),
}

/// Cuts one direction of one connection into packets, also where their ids are enciphered.
#[derive(Clone)]
pub(crate) struct Cutter {
    table: Arc<PacketTable>,
    cipher: Option<IdCipher>,
}

impl Cutter {
    /// With `keys`, ids are enciphered from the first packet on.
    pub(crate) fn new(table: Arc<PacketTable>, keys: Option<IdKeys>) -> Self {
        Self {
            table,
            cipher: keys.map(IdCipher::new),
        }
    }

    /// The plain id at the front of `buffer`, if two bytes are there.
    pub(crate) fn id(&self, buffer: &[u8]) -> Option<u16> {
        let id = id_of(buffer)?;
        Some(match &self.cipher {
            Some(cipher) => cipher.peek(id),
            None => id,
        })
    }

    /// Looks at the first packet of `buffer`.
    pub(crate) fn head(&self, buffer: &[u8]) -> Head {
        let Some(id) = self.id(buffer) else {
            return Head::Unsure;
        };
        let length = match self.table.length_of(id) {
            None => return Head::Unknown(id),
            Some(PacketLength::Fixed(length)) => usize::from(length),
            Some(PacketLength::Variable) => match buffer.get(2..4) {
                Some(&[low, high]) => match u16::from_le_bytes([low, high]) {
                    0..=3 => return Head::BadLength(id),
                    length => usize::from(length),
                },
                _ => return Head::Unsure,
            },
        };
        if buffer.len() < length {
            Head::Part(length)
        } else {
            Head::Whole(length)
        }
    }

    /// Goes past a whole packet, and gives it with the other form of its id: plain for
    /// enciphered, and the other way round.
    pub(crate) fn pass<'a>(&mut self, packet: &'a [u8]) -> Cow<'a, [u8]> {
        let (Some(cipher), Some(id)) = (&mut self.cipher, id_of(packet)) else {
            return Cow::Borrowed(packet);
        };
        let mut turned = packet.to_vec();
        if let Some(field) = turned.get_mut(..2) {
            field.copy_from_slice(&cipher.apply(id).to_le_bytes());
        }
        Cow::Owned(turned)
    }
}

/// The id at the front of `buffer` as it stands there, if two bytes are there.
pub(crate) fn id_of(buffer: &[u8]) -> Option<u16> {
    match buffer {
        [low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Dialect;
    use crate::wire::dialect::tests::newest;

    #[test]
    fn heads() {
        let cutter = newest().cutter();
        for (bytes, head) in [
            (&[][..], Head::Unsure),
            (&[0x5f], Head::Unsure),
            (&[0x5f, 0x03], Head::Part(5)),
            (&[0x5f, 0x03, 1, 2, 3, 0x7d], Head::Whole(5)),
            (&[0xf3, 0x00, 9], Head::Unsure),
            (&[0xf3, 0x00, 9, 0], Head::Part(9)),
            (&[0xf3, 0x00, 4, 0], Head::Whole(4)),
            (&[0xf3, 0x00, 3, 0], Head::BadLength(0xf3)),
            (&[0xff, 0xff], Head::Unknown(0xffff)),
        ] {
            assert_eq!(cutter.head(bytes), head, "{bytes:02x?}");
        }
    }

    #[test]
    fn enciphered_ids_are_read_and_turned_packet_by_packet() {
        let dialect = Dialect::of(20_130_807, true).unwrap();
        let (mut client, mut server) = (dialect.map_cutter(), dialect.map_cutter());
        let packets = [
            dialect.map_enter(1, 2, 3, 4, 1),
            vec![0x7d, 0x00],
            vec![0x7d, 0x00],
            dialect.chat("a"),
        ];
        let mut seen = Vec::new();
        for packet in packets {
            let sent = client.pass(&packet).into_owned();
            assert_ne!(sent[..2], packet[..2]);
            assert_eq!(sent[2..], packet[2..]);
            assert_eq!(server.head(&sent), Head::Whole(packet.len()));
            // Looking does not turn the key.
            assert_eq!(server.id(&sent), id_of(&packet));
            assert_eq!(*server.pass(&sent), packet);
            seen.push(sent[..2].to_vec());
        }
        assert_ne!(seen[1], seen[2], "the key rolls");
    }
}
