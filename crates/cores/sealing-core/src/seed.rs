//! Randomness that cannot be run backwards.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// Generators from one seed, each from another part of it.
///
/// The seed is overwritten by its own output at every draw, so whoever reads the memory later learns
/// nothing of what was drawn before ("fast key erasure").
#[derive(ZeroizeOnDrop)]
pub(crate) struct Seed([u8; 32]);

impl Seed {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// A fresh generator; wiped when it is dropped.
    pub(crate) fn draw(&mut self) -> ChaCha20Rng {
        let mut from = ChaCha20Rng::from_seed(self.0);
        from.fill_bytes(&mut self.0);
        let mut seed = Zeroizing::new([0; 32]);
        from.fill_bytes(seed.as_mut());
        ChaCha20Rng::from_seed(*seed)
    }

    /// 32 fresh bytes.
    pub(crate) fn bytes(&mut self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        self.draw().fill_bytes(bytes.as_mut());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ_and_are_decided_by_the_seed() {
        let (mut one, mut two) = (Seed::new([7; 32]), Seed::new([7; 32]));
        let first = one.bytes();
        assert_eq!(first, two.bytes());
        assert_ne!(first, one.bytes());
        assert_ne!(one.0, [7; 32], "the seed itself is gone");
    }
}
