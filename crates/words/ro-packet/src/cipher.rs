//! The rolling xor of packet ids that game clients of some dates use towards the map server.

/// The three numbers that the xor of one client version starts from.
///
/// `key = key * k1 + k2` makes each following key, in `u32` that wraps; see [`IdCipher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdKeys(pub [u32; 3]);

impl IdKeys {
    /// Whether these keys change any id. Versions that switched the xor off have all zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 3]
    }
}

/// Rolling xor of the ids that a client sends on one map connection; its own inverse.
///
/// Only the two bytes of the id are changed, and only from client to server. The first packet
/// of a connection, the map login, uses the key `k0 * k1 + k2`; each packet after it uses
/// `key * k1 + k2` of the key before, so the second one's key is not the first one's. An id is
/// xored with bits 16 to 30 of the key.
///
/// Source: rAthena's `clif.cpp`. `clif_parse` reads the id of a connection without a player by
/// `k0 * k1 + k2`, `clif_parse_WantToConnection_sub` then gives the player the key that follows, and
/// `clif_parse` moves it on once for every packet of a player. OpenKore does the same on its side.
#[derive(Debug, Clone)]
pub struct IdCipher {
    key: u32,
    factor: u32,
    offset: u32,
}

impl IdCipher {
    /// A cipher in front of the first packet of a map connection.
    #[must_use]
    pub fn new(keys: IdKeys) -> IdCipher {
        let [start, factor, offset] = keys.0;
        IdCipher {
            key: start.wrapping_mul(factor).wrapping_add(offset),
            factor,
            offset,
        }
    }

    /// The other form of `id` (plain for xored, xored for plain) at the present packet, without
    /// going on to the next.
    #[must_use]
    pub fn peek(&self, id: u16) -> u16 {
        let [_, _, low, high] = self.key.to_le_bytes();
        id ^ (u16::from_le_bytes([low, high]) & 0x7FFF)
    }

    /// Goes on to the next packet.
    pub fn advance(&mut self) {
        self.key = self.key.wrapping_mul(self.factor).wrapping_add(self.offset);
    }

    /// The other form of the id of the present packet; goes on to the next packet.
    pub fn apply(&mut self, id: u16) -> u16 {
        let other = self.peek(id);
        self.advance();
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::PacketTable;

    /// Computed from the rule by a program of its own.
    #[test]
    fn the_first_ids_of_a_map_connection() {
        for (version, plain, hidden) in [
            (
                20_130_807,
                [0x022D, 0x007D, 0x035F],
                [0x7F57, 0x015F, 0x1495],
            ),
            (
                20_151_029,
                [0x022D, 0x007D, 0x035F],
                [0x5A35, 0x077C, 0x4368],
            ),
            (
                20_170_614,
                [0x0944, 0x007D, 0x0866],
                [0x05D3, 0x3C4D, 0x1952],
            ),
        ] {
            let keys = PacketTable::for_version(version).unwrap().cipher().unwrap();
            let mut there = IdCipher::new(keys);
            let mut back = IdCipher::new(keys);
            for (plain, hidden) in plain.into_iter().zip(hidden) {
                assert_eq!(there.peek(plain), hidden, "{version}");
                assert_eq!(there.apply(plain), hidden, "{version}");
                assert_eq!(back.apply(hidden), plain, "{version}");
            }
        }
    }

    #[test]
    fn zero_keys_change_nothing() {
        assert!(IdKeys([0; 3]).is_zero());
        let mut cipher = IdCipher::new(IdKeys([0; 3]));
        for id in [0x0436, 0x007D, 0xFFFF] {
            assert_eq!(cipher.apply(id), id);
        }
    }

    #[test]
    fn the_highest_bit_stays() {
        let mut cipher = IdCipher::new(IdKeys([u32::MAX, 0x5E80_5581, 0x8765_4321]));
        for _ in 0..1000 {
            assert_eq!(cipher.peek(0x8000) & 0x8000, 0x8000);
            assert_eq!(cipher.apply(0) & 0x8000, 0);
        }
    }
}
