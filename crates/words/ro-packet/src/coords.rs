//! Packed map coordinates.
//!
//! `x` and `y` take 10 bits each (0 to 1023), a direction takes 4 bits. The most
//! significant bit comes first:
//!
//! | form | layout, bits from the first byte on |
//! |---|---|
//! | 3 bytes, one position | x (10), y (10), direction (4) |
//! | 6 bytes, a move | x0 (10), y0 (10), x1 (10), y1 (10), sub-cell x (4), sub-cell y (4) |
//!
//! Directions 0 to 7 go counter-clockwise from north: 0 N, 1 NW, 2 W, 3 SW, 4 S, 5 SE,
//! 6 E, 7 NE. Checked against recordings: `27 0b 90` is (156,185) looking north,
//! `27 0b f2 70 b9 88` is the move from (156,191) to (156,185).

/// The sub-cell that every recorded move carries: the middle of the cell, for x and y.
pub const SUB_CELL: u8 = 0x88;

const TEN_BITS: u16 = 0x3FF;

/// Packs a position. Only the low 10 bits of `x` and `y` and the low 4 bits of `dir` are kept.
#[must_use]
pub fn pack_pos(x: u16, y: u16, dir: u8) -> [u8; 3] {
    let bits = u32::from(x & TEN_BITS) << 14 | u32::from(y & TEN_BITS) << 4 | u32::from(dir & 0x0F);
    let [_, a, b, c] = bits.to_be_bytes();
    [a, b, c]
}

/// Unpacks a position to `(x, y, direction)`.
#[must_use]
pub fn unpack_pos(packed: [u8; 3]) -> (u16, u16, u8) {
    let [a, b, c] = packed;
    let bits = u32::from_be_bytes([0, a, b, c]);
    let ten = |shift: u32| (bits >> shift) as u16 & TEN_BITS;
    (ten(14), ten(4), c & 0x0F)
}

/// Packs a move from `(x0, y0)` to `(x1, y1)` with the sub-cell [`SUB_CELL`]. Only the low
/// 10 bits of each number are kept.
#[must_use]
pub fn pack_move(x0: u16, y0: u16, x1: u16, y1: u16) -> [u8; 6] {
    let ten = |value: u16, shift: u32| u64::from(value & TEN_BITS) << shift;
    let bits = ten(x0, 38) | ten(y0, 28) | ten(x1, 18) | ten(y1, 8) | u64::from(SUB_CELL);
    let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
    [a, b, c, d, e, f]
}

/// Unpacks a move to `(x0, y0, x1, y1)`; the sub-cell is left out.
#[must_use]
pub fn unpack_move(packed: [u8; 6]) -> (u16, u16, u16, u16) {
    let [a, b, c, d, e, f] = packed;
    let bits = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    let ten = |shift: u32| (bits >> shift) as u16 & TEN_BITS;
    (ten(38), ten(28), ten(18), ten(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn recorded_examples_read_as_they_were_seen() {
        assert_eq!(unpack_pos([0x27, 0x0b, 0x90]), (156, 185, 0));
        assert_eq!(pack_pos(156, 185, 0), [0x27, 0x0b, 0x90]);
        assert_eq!(
            unpack_move([0x27, 0x0b, 0xf2, 0x70, 0xb9, 0x88]),
            (156, 191, 156, 185)
        );
        assert_eq!(
            pack_move(156, 191, 156, 185),
            [0x27, 0x0b, 0xf2, 0x70, 0xb9, 0x88]
        );
    }

    proptest! {
        #[test]
        fn positions_round_trip(x in 0u16..1024, y in 0u16..1024, dir in 0u8..16) {
            prop_assert_eq!(unpack_pos(pack_pos(x, y, dir)), (x, y, dir));
        }

        #[test]
        fn every_packed_position_round_trips(packed in any::<[u8; 3]>()) {
            let (x, y, dir) = unpack_pos(packed);
            prop_assert_eq!(pack_pos(x, y, dir), packed);
        }

        #[test]
        fn moves_round_trip(x0 in 0u16..1024, y0 in 0u16..1024, x1 in 0u16..1024, y1 in 0u16..1024) {
            prop_assert_eq!(unpack_move(pack_move(x0, y0, x1, y1)), (x0, y0, x1, y1));
        }

        #[test]
        fn numbers_out_of_range_keep_their_low_bits(x in any::<u16>(), y in any::<u16>(), dir in any::<u8>()) {
            prop_assert_eq!(unpack_pos(pack_pos(x, y, dir)), (x & 1023, y & 1023, dir & 15));
            prop_assert_eq!(unpack_move(pack_move(x, y, y, x)), (x & 1023, y & 1023, y & 1023, x & 1023));
        }
    }
}
