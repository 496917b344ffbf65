//! A stand-in for a game shield: the bytes of a map connection, enciphered from the first one on.
//!
//! Each write is one record: a little-endian `u16` length and that many bytes, all of it (the
//! length, too) enciphered with ChaCha20 under a key that both ends have built in, so nothing on
//! the wire can be framed by anybody else. A connection uses the same key stream as any other: it
//! hides nothing from who has this program, and is not meant to.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};

const KEY: [u8; 32] = *b"the practice game's built-in key";

/// The longest payload of a record in bytes.
const MAX_PAYLOAD: usize = u16::MAX as usize;

/// Which way the records of a shield travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

fn cipher(way: Way) -> ChaCha20 {
    let nonce = match way {
        Way::ToServer => b"to server 00",
        Way::ToClient => b"to client 00",
    };
    ChaCha20::new(&KEY.into(), nonce.into())
}

/// Enciphers, or deciphers, the next bytes of a stream. The key stream ends after 256 GiB; what
/// comes then stays as it is and is no record at the other end.
fn apply(cipher: &mut ChaCha20, bytes: &mut [u8]) {
    if cipher.try_apply_keystream(bytes).is_err() {
        tracing::warn!("the shield's key stream is used up");
    }
}

/// The sending side.
pub(crate) struct Sealer(ChaCha20);

impl Sealer {
    pub(crate) fn new(way: Way) -> Self {
        Self(cipher(way))
    }

    /// Takes as much of `payload` as goes into one record, which is to be sent with one write.
    pub(crate) fn seal(&mut self, payload: &mut Vec<u8>) -> Vec<u8> {
        let length = payload.len().min(MAX_PAYLOAD);
        // At most MAX_PAYLOAD.
        let mut record = (length as u16).to_le_bytes().to_vec();
        record.extend(payload.drain(..length));
        apply(&mut self.0, &mut record);
        record
    }
}

/// The receiving side. Holds what was read and not yet taken: at most one record's part beside the
/// last read.
pub(crate) struct Opener {
    cipher: ChaCha20,
    plain: Vec<u8>,
}

impl Opener {
    pub(crate) fn new(way: Way) -> Self {
        Self {
            cipher: cipher(way),
            plain: Vec::new(),
        }
    }

    /// Takes the bytes of one read.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        let start = self.plain.len();
        self.plain.extend_from_slice(bytes);
        if let Some(new) = self.plain.get_mut(start..) {
            apply(&mut self.cipher, new);
        }
    }

    /// The payload of the next whole record.
    pub(crate) fn record(&mut self) -> Option<Vec<u8>> {
        let (length, rest) = self.plain.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length));
        let payload = rest.get(..length)?.to_vec();
        self.plain.drain(..2 + length);
        Some(payload)
    }

    /// Whether nothing is left of what was read.
    pub(crate) fn at_border(&self) -> bool {
        self.plain.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dialect::tests::all;
    use crate::wire::{Head, requests};
    use proptest::prelude::*;

    #[test]
    fn what_is_sealed_cannot_be_framed() {
        for dialect in all() {
            for way in [Way::ToServer, Way::ToClient] {
                let mut packet = dialect.map_enter(2_000_001, 150_001, 7, 8, 1);
                let record = Sealer::new(way).seal(&mut packet);
                assert!(packet.is_empty());
                let head = dialect.cutter().head(&record);
                assert!(matches!(head, Head::Unknown(_)), "{way:?}: {head:?}");
            }
        }
    }

    #[test]
    fn a_long_payload_is_several_records() {
        let mut payload = vec![7; MAX_PAYLOAD + 5];
        let mut sealer = Sealer::new(Way::ToClient);
        let mut opener = Opener::new(Way::ToClient);
        for length in [MAX_PAYLOAD, 5] {
            let record = sealer.seal(&mut payload);
            assert_eq!(record.len(), 2 + length);
            opener.read(&record);
            assert_eq!(opener.record(), Some(vec![7; length]));
        }
        assert!(payload.is_empty() && opener.at_border());
    }

    proptest! {
        #[test]
        fn records_come_out_as_they_went_in(
            payloads in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..80), 1..8),
            cut in 1usize..50,
        ) {
            let mut sealer = Sealer::new(Way::ToServer);
            let mut opener = Opener::new(Way::ToServer);
            let wire: Vec<u8> = payloads
                .iter()
                .flat_map(|payload| sealer.seal(&mut payload.clone()))
                .collect();
            let mut opened = Vec::new();
            for piece in wire.chunks(cut) {
                opener.read(piece);
                opened.extend(std::iter::from_fn(|| opener.record()));
            }
            prop_assert_eq!(opened, payloads);
            prop_assert!(opener.at_border());
        }
    }

    #[test]
    fn both_ways_have_their_own_key_stream() {
        let mut one = requests::map_loaded();
        let mut other = one.clone();
        assert_ne!(
            Sealer::new(Way::ToServer).seal(&mut one),
            Sealer::new(Way::ToClient).seal(&mut other)
        );
    }
}
