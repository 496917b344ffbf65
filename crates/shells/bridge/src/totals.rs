//! Counters over all connections.

use serde::Serialize;
use warp_bridge_core::{Counter, Counters};
use warp_ro_packet::{Direction, PacketClass};

/// What one direction carried, over all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DirectionTotals {
    /// Framed packets by class, in the order of [`PacketClass::ALL`].
    pub classes: [Counter; PacketClass::ALL.len()],
    /// What was passed on without being framed.
    pub raw: Counter,
}

impl DirectionTotals {
    /// Framed packets of one class.
    pub fn class(&self, class: PacketClass) -> Counter {
        self.classes.get(class.index()).copied().unwrap_or_default()
    }

    /// Everything.
    pub fn total(&self) -> Counter {
        let mut total = self.raw;
        for class in self.classes {
            add(&mut total, class);
        }
        total
    }

    fn add(&mut self, counters: &Counters, direction: Direction) {
        let counters = counters.of(direction);
        for (total, class) in self.classes.iter_mut().zip(PacketClass::ALL) {
            add(total, counters.class(class));
        }
        add(&mut self.raw, counters.raw());
    }
}

/// Counters of a bridge since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BridgeCounters {
    /// Connections that the endpoint opened.
    pub opened: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// From the clients.
    pub up: DirectionTotals,
    /// To the clients.
    pub down: DirectionTotals,
}

impl BridgeCounters {
    pub(crate) fn add(&mut self, counters: &Counters) {
        self.up.add(counters, Direction::ClientToServer);
        self.down.add(counters, Direction::ServerToClient);
    }
}

fn add(total: &mut Counter, more: Counter) {
    total.packets = total.packets.saturating_add(more.packets);
    total.bytes = total.bytes.saturating_add(more.bytes);
}
