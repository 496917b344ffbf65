//! Where the first packet of a buffer ends, by the length table of `warp-ro-packet`.

use warp_ro_packet::{PacketLength, PacketTable};

/// The packet version that the practice game speaks.
pub(crate) const PACKET_VERSION: u32 = 20_211_103;

/// The length table of [`PACKET_VERSION`].
///
/// # Errors
///
/// If the program was built without that table.
pub(crate) fn table() -> std::io::Result<&'static PacketTable> {
    PacketTable::for_version(PACKET_VERSION).ok_or_else(|| {
        std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            format!("this build has no packet lengths for version {PACKET_VERSION}"),
        )
    })
}

/// What stands at the front of a buffer.
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

/// Looks at the first packet of `buffer`.
pub(crate) fn head(table: &PacketTable, buffer: &[u8]) -> Head {
    let Some(id) = id_of(buffer) else {
        return Head::Unsure;
    };
    let length = match table.length_of(id) {
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

/// The packet id at the front of `buffer`, if two bytes are there.
pub(crate) fn id_of(buffer: &[u8]) -> Option<u16> {
    match buffer {
        [low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let table = table().unwrap();
        assert_eq!(head(table, &[]), Head::Unsure);
        assert_eq!(head(table, &[0x5f]), Head::Unsure);
        assert_eq!(head(table, &[0x5f, 0x03]), Head::Part(5));
        assert_eq!(head(table, &[0x5f, 0x03, 1, 2, 3, 0x7d]), Head::Whole(5));
        assert_eq!(head(table, &[0xf3, 0x00, 9]), Head::Unsure);
        assert_eq!(head(table, &[0xf3, 0x00, 9, 0]), Head::Part(9));
        assert_eq!(head(table, &[0xf3, 0x00, 4, 0]), Head::Whole(4));
        assert_eq!(head(table, &[0xf3, 0x00, 3, 0]), Head::BadLength(0xf3));
        assert_eq!(head(table, &[0xff, 0xff]), Head::Unknown(0xffff));
    }
}
