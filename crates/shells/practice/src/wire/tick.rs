//! Server ticks that carry their own check byte.
//!
//! A real tick is a free-running millisecond counter that a client cannot predict, so a damaged
//! one would pass every comparison. The practice server replaces the low byte with a CRC-8
//! (polynomial 0x07, as in SMBus) of the other three: ticks keep their meaning with a resolution
//! of 256 ms, never go backwards, and any change of a single byte is noticed.

/// The tick for a time in milliseconds.
pub(crate) fn tick_at(milliseconds: u64) -> u32 {
    let [_, _, _, _, a, b, c, _] = milliseconds.to_be_bytes();
    u32::from_be_bytes([a, b, c, crc8([a, b, c])])
}

/// Whether the check byte of a tick is right.
pub(crate) fn is_sound(tick: u32) -> bool {
    let [a, b, c, check] = tick.to_be_bytes();
    crc8([a, b, c]) == check
}

fn crc8(bytes: [u8; 3]) -> u8 {
    bytes.into_iter().fold(0, |crc: u8, byte| {
        (0..8).fold(crc ^ byte, |crc, _| {
            let shifted = crc << 1;
            if crc & 0x80 == 0 {
                shifted
            } else {
                shifted ^ 0x07
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(at: u32, byte in 0u32..4, change in 1u32..256) {
            let tick = tick_at(u64::from(at));
            prop_assert!(is_sound(tick));
            prop_assert!(!is_sound(tick ^ (change << (8 * byte))));
        }

        #[test]
        fn never_backwards(at in 0u64..u64::from(u32::MAX) - 5_000, later in 0u64..5_000) {
            prop_assert!(tick_at(at) <= tick_at(at + later));
            prop_assert!(at.abs_diff(u64::from(tick_at(at))) < 256);
        }
    }
}
