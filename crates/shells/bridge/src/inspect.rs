//! The packets of all connections, for the inspector.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use warp_bridge_core::Seen;
use warp_protocol::carrier::PathKind;
use warp_protocol::stream::ServerRole;
use warp_ro_packet::{Decoded, Direction};

/// Packets that wait to be taken; then the oldest go, and are counted.
pub const MAX_INSPECTED: usize = 2048;

/// A packet that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Its number since packets are shown; those that were not kept have one too.
    pub number: u64,
    /// When, since the bridge was opened.
    pub at: Duration,
    /// Number of the connection.
    pub n: u64,
    /// Whose it is.
    pub client: Option<u64>,
    /// To which server.
    pub role: ServerRole,
    /// Which way.
    pub direction: Direction,
    /// What carried it.
    pub path: Option<PathKind>,
    /// What stands in it; secrets are hidden.
    pub packet: Decoded,
}

#[derive(Debug, Default)]
struct Kept {
    on: bool,
    packets: VecDeque<Inspected>,
    next: u64,
    dropped: u64,
}

/// What is kept between two looks.
#[derive(Debug, Default)]
pub(crate) struct Inspector {
    kept: Mutex<Kept>,
}

impl Inspector {
    pub(crate) fn set(&self, on: bool) {
        let mut kept = self.kept.lock();
        let next = kept.next;
        *kept = Kept {
            on,
            next,
            ..Kept::default()
        };
    }

    pub(crate) fn is_on(&self) -> bool {
        self.kept.lock().on
    }

    pub(crate) fn keep(
        &self,
        at: Duration,
        (n, client, role): (u64, Option<u64>, ServerRole),
        (seen, lost): (Vec<Seen>, u64),
    ) {
        let mut kept = self.kept.lock();
        if !kept.on {
            return;
        }
        for Seen {
            direction,
            path,
            packet,
        } in seen
        {
            if kept.packets.len() >= MAX_INSPECTED {
                kept.packets.pop_front();
                kept.dropped += 1;
            }
            let number = kept.next;
            kept.next += 1;
            kept.packets.push_back(Inspected {
                number,
                at,
                n,
                client,
                role,
                direction,
                path,
                packet,
            });
        }
        kept.next += lost;
        kept.dropped += lost;
    }

    /// At most `most` of the oldest, and how many were dropped since the last call.
    pub(crate) fn take(&self, most: usize) -> (Vec<Inspected>, u64) {
        let mut kept = self.kept.lock();
        let count = kept.packets.len().min(most);
        let packets = kept.packets.drain(..count).collect();
        (packets, std::mem::take(&mut kept.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_ro_packet::PacketClass;

    fn seen(length: usize) -> Seen {
        Seen {
            direction: Direction::ClientToServer,
            path: None,
            packet: Decoded {
                id: 0x0436,
                name: None,
                class: PacketClass::System,
                length,
                fields: Vec::new(),
            },
        }
    }

    #[test]
    fn the_newest_are_kept_and_the_rest_is_counted() {
        let inspector = Inspector::default();
        let of = (1, Some(1), ServerRole::Map);
        inspector.keep(Duration::ZERO, of, (vec![seen(1)], 0));
        assert_eq!(inspector.take(10), (Vec::new(), 0), "nobody looks");
        inspector.set(true);
        let many = (0..MAX_INSPECTED + 3).map(seen).collect();
        inspector.keep(Duration::ZERO, of, (many, 2));
        let (packets, dropped) = inspector.take(2);
        assert_eq!(dropped, 5);
        let lengths: Vec<_> = packets.iter().map(|one| one.packet.length).collect();
        assert_eq!(lengths, [3, 4], "the oldest that was kept");
        assert_eq!(inspector.take(usize::MAX).0.len(), MAX_INSPECTED - 2);
        inspector.set(false);
        inspector.keep(Duration::ZERO, of, (vec![seen(1)], 0));
        assert_eq!(inspector.take(10), (Vec::new(), 0));
    }
}
