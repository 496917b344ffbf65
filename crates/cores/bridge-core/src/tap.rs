//! Packets that are shown to somebody as they pass.

use warp_protocol::carrier::PathKind;
use warp_ro_packet::{Decoded, Direction, PacketTable, decode};

/// Most packets that wait to be polled; what is more is only counted. One call rarely brings more than
/// a few dozen.
pub const MAX_SEEN: usize = 512;

/// A packet that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which way.
    pub direction: Direction,
    /// What carried it.
    pub path: Option<PathKind>,
    /// What stands in it; its id is the plain one, and its secrets are hidden.
    pub packet: Decoded,
}

/// Nothing while nobody looks.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    pub(crate) on: bool,
    seen: Vec<Seen>,
    lost: u64,
}

impl Tap {
    pub(crate) fn see(
        &mut self,
        table: &PacketTable,
        direction: Direction,
        path: Option<PathKind>,
        packet: &[u8],
    ) {
        if !self.on {
            return;
        }
        if self.seen.len() >= MAX_SEEN {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        let packet = decode(table, direction, packet);
        self.seen.push(Seen {
            direction,
            path,
            packet,
        });
    }

    /// What passed since the last call, oldest first, and how many more there were.
    pub(crate) fn take(&mut self) -> (Vec<Seen>, u64) {
        (
            std::mem::take(&mut self.seen),
            std::mem::take(&mut self.lost),
        )
    }
}
