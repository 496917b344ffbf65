//! How much a connection carried, by direction and class.

use serde::{Deserialize, Serialize};
use warp_ro_packet::{Direction, PacketClass};

/// Packets and bytes, from the beginning of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counter {
    /// Whole packets; for raw bytes, the pieces they came in.
    pub packets: u64,
    /// Bytes, packet heads included.
    pub bytes: u64,
}

impl Counter {
    fn add(&mut self, bytes: usize) {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}

/// What one direction handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DirectionCounters {
    /// Framed packets by class, in the order of [`PacketClass::ALL`].
    classes: [Counter; PacketClass::ALL.len()],
    /// What was forwarded without being framed: opaque bytes, and partial packets at the end.
    raw: Counter,
}

impl DirectionCounters {
    /// Framed packets of one class.
    #[must_use]
    pub fn class(&self, class: PacketClass) -> Counter {
        self.classes[class.index()]
    }

    /// What was forwarded without being framed: opaque bytes, and partial packets at the end.
    #[must_use]
    pub fn raw(&self) -> Counter {
        self.raw
    }

    /// Everything, framed and raw.
    #[must_use]
    pub fn total(&self) -> Counter {
        let mut total = self.raw;
        for class in self.classes {
            total.packets = total.packets.saturating_add(class.packets);
            total.bytes = total.bytes.saturating_add(class.bytes);
        }
        total
    }
}

/// What both directions handed on. Bytes that still wait for the rest of their packet are not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    to_server: DirectionCounters,
    to_client: DirectionCounters,
}

impl Counters {
    /// The counters of one direction.
    #[must_use]
    pub fn of(&self, direction: Direction) -> &DirectionCounters {
        match direction {
            Direction::ClientToServer => &self.to_server,
            Direction::ServerToClient => &self.to_client,
        }
    }

    pub(crate) fn packet(&mut self, direction: Direction, class: PacketClass, bytes: usize) {
        self.of_mut(direction).classes[class.index()].add(bytes);
    }

    pub(crate) fn raw(&mut self, direction: Direction, bytes: usize) {
        self.of_mut(direction).raw.add(bytes);
    }

    fn of_mut(&mut self, direction: Direction) -> &mut DirectionCounters {
        match direction {
            Direction::ClientToServer => &mut self.to_server,
            Direction::ServerToClient => &mut self.to_client,
        }
    }
}
