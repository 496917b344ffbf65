//! Counters over all connections.

use warp_bridge_core::{Counter, Counters};
use warp_protocol::carrier::PathKind;
use warp_ro_packet::{Direction, PacketClass};

/// Counters of a bridge since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BridgeCounters {
    /// Connections that the endpoint opened.
    pub opened: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// What all connections carried.
    pub traffic: Counters,
}

impl BridgeCounters {
    /// Framed packets of one class that one path carried.
    pub fn counter(
        &self,
        direction: Direction,
        class: PacketClass,
        path: Option<PathKind>,
    ) -> Counter {
        self.traffic.counter(direction, class, path)
    }

    /// What one path carried without its being framed.
    pub fn raw(&self, direction: Direction, path: Option<PathKind>) -> Counter {
        self.traffic.raw(direction, path)
    }

    /// Everything of one direction.
    pub fn total(&self, direction: Direction) -> Counter {
        self.traffic.total(direction)
    }
}
