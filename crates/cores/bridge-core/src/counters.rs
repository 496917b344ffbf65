//! How much a connection carried, by direction, class and path.

use serde::{Deserialize, Serialize};
use warp_protocol::carrier::PathKind;
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
    fn count(&mut self, bytes: usize) {
        self.add(Counter {
            packets: 1,
            bytes: bytes as u64,
        });
    }

    fn add(&mut self, more: Counter) {
        self.packets = self.packets.saturating_add(more.packets);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// The classes, and behind them what was not framed.
const KINDS: usize = PacketClass::ALL.len() + 1;
const RAW: usize = PacketClass::ALL.len();
/// No path, and each kind of path.
const PATHS: usize = 1 + PathKind::ALL.len();

/// What both directions handed on, by the path that carried it. `None` as the path: none was in use
/// then, what was handed on waited for one.
///
/// Not in it: bytes that still wait for the rest of their packet, commands that were withheld from
/// the server, and answers that the bridge itself gave to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    cells: [[[Counter; PATHS]; KINDS]; 2],
}

impl Counters {
    /// Framed packets of one class that one path carried.
    #[must_use]
    pub fn counter(
        &self,
        direction: Direction,
        class: PacketClass,
        path: Option<PathKind>,
    ) -> Counter {
        self.cells[way(direction)][class.index()][place(path)]
    }

    /// What one path carried without its being framed: opaque bytes, and partial packets at the end.
    #[must_use]
    pub fn raw(&self, direction: Direction, path: Option<PathKind>) -> Counter {
        self.cells[way(direction)][RAW][place(path)]
    }

    /// Framed packets of one class, over all paths.
    #[must_use]
    pub fn class(&self, direction: Direction, class: PacketClass) -> Counter {
        sum(&self.cells[way(direction)][class.index()])
    }

    /// What was not framed, over all paths.
    #[must_use]
    pub fn raw_total(&self, direction: Direction) -> Counter {
        sum(&self.cells[way(direction)][RAW])
    }

    /// Everything of one direction.
    #[must_use]
    pub fn total(&self, direction: Direction) -> Counter {
        sum(self.cells[way(direction)].as_flattened())
    }

    /// Adds what another connection carried.
    pub fn add(&mut self, more: &Counters) {
        let cells = self.cells.as_flattened_mut().as_flattened_mut();
        let more = more.cells.as_flattened().as_flattened();
        for (cell, more) in cells.iter_mut().zip(more) {
            cell.add(*more);
        }
    }

    pub(crate) fn count_packet(
        &mut self,
        direction: Direction,
        class: PacketClass,
        path: Option<PathKind>,
        bytes: usize,
    ) {
        self.cells[way(direction)][class.index()][place(path)].count(bytes);
    }

    pub(crate) fn count_raw(&mut self, direction: Direction, path: Option<PathKind>, bytes: usize) {
        self.cells[way(direction)][RAW][place(path)].count(bytes);
    }
}

fn way(direction: Direction) -> usize {
    match direction {
        Direction::ClientToServer => 0,
        Direction::ServerToClient => 1,
    }
}

fn place(path: Option<PathKind>) -> usize {
    match path {
        None => 0,
        Some(PathKind::Direct) => 1,
        Some(PathKind::Host) => 2,
        Some(PathKind::Wss) => 3,
        Some(PathKind::Host2) => 4,
        Some(PathKind::Tcp) => 5,
    }
}

fn sum(cells: &[Counter]) -> Counter {
    let mut total = Counter::default();
    for cell in cells {
        total.add(*cell);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_its_own_and_sums_add_up() {
        let mut counters = Counters::default();
        let paths = [
            None,
            Some(PathKind::Direct),
            Some(PathKind::Host),
            Some(PathKind::Host2),
            Some(PathKind::Wss),
            Some(PathKind::Tcp),
        ];
        let directions = [Direction::ClientToServer, Direction::ServerToClient];
        let mut size = 0_u64;
        for direction in directions {
            for path in paths {
                for class in PacketClass::ALL {
                    size += 1;
                    counters.count_packet(direction, class, path, size as usize);
                }
                size += 1;
                counters.count_raw(direction, path, size as usize);
            }
        }
        let mut twice = counters;
        twice.add(&counters);
        size = 0;
        for direction in directions {
            let mut total = 0;
            for path in paths {
                for class in PacketClass::ALL {
                    size += 1;
                    total += size;
                    let counter = counters.counter(direction, class, path);
                    assert_eq!((counter.packets, counter.bytes), (1, size));
                    let counter = twice.counter(direction, class, path);
                    assert_eq!((counter.packets, counter.bytes), (2, 2 * size));
                }
                size += 1;
                total += size;
                assert_eq!(counters.raw(direction, path).bytes, size);
            }
            assert_eq!(counters.total(direction).bytes, total);
            assert_eq!(counters.raw_total(direction).packets, paths.len() as u64);
            for class in PacketClass::ALL {
                assert_eq!(counters.class(direction, class).packets, paths.len() as u64);
            }
        }
    }
}
