//! The pin code of the char server: four digits that travel through a keypad which every seed
//! arranges anew.
//!
//! The arrangement is the one that the public sources of rAthena, Hercules and OpenKore agree on:
//! the ten digits, swapped nine times by a linear congruential generator that begins at the seed.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Digits of a pin code.
const DIGITS: usize = 4;
/// The generator's factor and summand.
const FACTOR: u32 = 0x3498;
const SUMMAND: u32 = 0x0088_1234;

/// A pin code as the player knows it; shown by no `Debug`, wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Pin([u8; DIGITS]);

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What each key of the keypad stands for.
fn keypad(seed: u32) -> [u8; 10] {
    let mut keys = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let mut state = seed;
    for (at, choices) in (1..keys.len()).zip(2_u32..) {
        state = SUMMAND.wrapping_add(state.wrapping_mul(FACTOR));
        let other = usize::try_from(state % choices).unwrap_or(0);
        keys.swap(at, other);
    }
    keys
}

impl Pin {
    /// The pin behind the four ASCII digits that were sent under `seed`; `None` for anything else.
    pub(crate) fn read(seed: u32, sent: &[u8]) -> Option<Pin> {
        let sent: &[u8; DIGITS] = sent.first_chunk()?;
        let keys = keypad(seed);
        let mut pin = Pin([0; DIGITS]);
        for (digit, sent) in pin.0.iter_mut().zip(sent) {
            let key = usize::from(sent.checked_sub(b'0')?);
            *digit = *keys.get(key)?;
        }
        Some(pin)
    }

    /// The four ASCII digits to send under `seed`.
    pub(crate) fn to_send(&self, seed: u32) -> [u8; DIGITS] {
        let keys = keypad(seed);
        self.0.map(|digit| {
            let key = keys.iter().position(|key| *key == digit);
            b'0' + u8::try_from(key.unwrap_or(0)).unwrap_or(0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_keypad_is_worked_out_by_hand_for_seed_0() {
        // 0x881234 = 8917556: mod 2 = 0, so keys 1 and 0 change places, and so on.
        let keys = keypad(0);
        let mut by_hand: Vec<u8> = (0..10).collect();
        let mut state: u64 = 0;
        for at in 1..10_u64 {
            state = (0x88_1234 + state * 0x3498) & 0xFFFF_FFFF;
            by_hand.swap(at as usize, (state % (at + 1)) as usize);
        }
        assert_eq!(keys[..], by_hand);
        assert_ne!(keys, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn what_is_no_pin_is_none() {
        assert_eq!(Pin::read(7, b"123"), None);
        assert_eq!(Pin::read(7, b"12a4"), None);
        assert_eq!(Pin::read(7, b"12/4"), None);
        assert_eq!(format!("{:?}", Pin::read(7, b"1234")), "Some([secret])");
    }

    proptest! {
        #[test]
        fn a_pin_that_is_sent_under_one_seed_can_be_sent_under_another(
            old: u32, new: u32, number in 0..10_000_u32,
        ) {
            let sent = format!("{number:04}");
            let pin = Pin::read(old, sent.as_bytes()).unwrap();
            prop_assert_eq!(&pin.to_send(old)[..], sent.as_bytes());
            let again = pin.to_send(new);
            prop_assert_eq!(Pin::read(new, &again), Some(pin));
        }
    }
}
