//! Compression of single frames: LZ4 blocks, because they cost a fraction of what the encryption of
//! the same bytes costs, in code without `unsafe`.

use bytes::Bytes;

use crate::violation::Violation;

/// Compresses `frame` if that makes it shorter by at least an eighth; less is not worth the
/// receiver's work.
pub(crate) fn pack(frame: &[u8]) -> Option<Bytes> {
    let block = lz4_flex::block::compress(frame);
    (block.len() <= frame.len() - frame.len() / 8).then(|| Bytes::from(block))
}

/// Unpacks a block to exactly `unpacked` bytes, which the caller has checked against the limit.
/// Nothing longer is ever written: a block that wants to grow beyond is refused on the way.
///
/// # Errors
/// [`Violation::Packed`].
pub(crate) fn unpack(block: &[u8], unpacked: usize) -> Result<Bytes, Violation> {
    // LZ4 makes at most 255 bytes of one: a short block cannot claim a long frame, and so costs no
    // allocation that it does not pay for.
    if unpacked > block.len().saturating_mul(255) {
        return Err(Violation::Packed);
    }
    let mut frame = vec![0; unpacked];
    let written = lz4_flex::block::decompress_into(block, &mut frame);
    if written.is_ok_and(|written| written == unpacked) {
        Ok(Bytes::from(frame))
    } else {
        Err(Violation::Packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        let noise: Vec<u8> = (0..4096).map(|_| next()).collect();
        assert_eq!(pack(&noise), None);
        assert_eq!(pack(b""), None);
        let text = b"Prontera 156 191 ".repeat(64);
        let block = pack(&text).unwrap();
        assert!(block.len() < text.len() / 4, "{}", block.len());
        assert_eq!(unpack(&block, text.len()).unwrap(), text);
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let zeros = pack(&vec![0; 1 << 20]).unwrap();
        assert!(zeros.len() < 8192);
        // It claims less than it holds, more than it holds, and more than LZ4 can make of it.
        for claimed in [1 << 10, (1 << 20) - 1, (1 << 20) + 1] {
            assert_eq!(unpack(&zeros, claimed), Err(Violation::Packed));
        }
        assert_eq!(unpack(&zeros[..16], 1 << 20), Err(Violation::Packed));
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(frame in proptest::collection::vec(0_u8..4, 0..5000)) {
            if let Some(block) = pack(&frame) {
                prop_assert!(block.len() < frame.len() || frame.is_empty());
                prop_assert_eq!(unpack(&block, frame.len()).unwrap(), Bytes::from(frame));
            }
        }

        #[test]
        fn any_block_is_unpacked_or_refused(
            block in proptest::collection::vec(any::<u8>(), 0..300),
            unpacked in 0_usize..100_000,
        ) {
            if let Ok(frame) = unpack(&block, unpacked) {
                prop_assert_eq!(frame.len(), unpacked);
            }
        }
    }
}
