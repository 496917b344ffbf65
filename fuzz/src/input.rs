//! The settings in front of an input, and cutting the rest into pieces.

use std::sync::Arc;

use warp_ro_packet::{Direction, PacketTable, Role};

/// The input from its front to its end.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// The next byte; zero behind the end.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    /// What is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// A packet table, by one byte.
    pub(crate) fn table(&mut self) -> Arc<PacketTable> {
        let versions: Vec<u32> = PacketTable::versions().collect();
        let version = versions[usize::from(self.byte()) % versions.len()];
        PacketTable::for_version(version).expect("a version of the list")
    }

    /// Role, direction and a switch, by one byte: the role in the low two bits, then one bit each.
    pub(crate) fn connection(&mut self) -> (Role, Direction, bool) {
        let byte = self.byte();
        let role = match byte & 3 {
            0 => Role::Login,
            1 => Role::Char,
            _ => Role::Map,
        };
        let direction = if byte & 4 == 0 {
            Direction::ClientToServer
        } else {
            Direction::ServerToClient
        };
        (role, direction, byte & 8 != 0)
    }
}

/// Cuts `bytes` into pieces that are not empty: all in one with `seed` zero, else of sizes that
/// follow from the seed (a linear congruence), at most as many bytes as the seed says.
pub(crate) fn pieces(seed: u8, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut state = u32::from(seed);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = match seed {
            0 => rest.len(),
            seed => 1 + (state >> 16) as usize % usize::from(seed),
        };
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        Some(piece)
    })
}
