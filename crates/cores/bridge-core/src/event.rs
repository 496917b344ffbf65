//! Levels, the reasons for leaving them, and the events of a connection.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};
use warp_ro_packet::{Direction, OpaqueReason, Role};

/// How far the bridge reads a connection. See the crate's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Frames and rewrites; other players' copies may be given to this client.
    Assist,
    /// Frames, and rewrites announced addresses.
    Rewrite,
    /// Forwards untouched bytes.
    Opaque,
}

impl Level {
    /// The name used in events and configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Assist => "assist",
            Level::Rewrite => "rewrite",
            Level::Opaque => "opaque",
        }
    }

    /// Whether this level reads less than `other`.
    #[must_use]
    pub fn is_below(self, other: Level) -> bool {
        self as u8 > other as u8
    }
}

/// Why a connection stepped down a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum StepDownReason {
    /// A packet's id is not in the table of the client's version.
    #[error(
        "packet id {id:04X} is not known for this client version; the connection is forwarded \
         untouched; check the packet version in the configuration"
    )]
    UnknownPacketId {
        /// Where it came.
        direction: Direction,
        /// The id.
        id: u16,
    },
    /// A variable packet states a length shorter than its head.
    #[error(
        "packet {id:04X} states an impossible length of {length} bytes; the connection is \
         forwarded untouched; check the packet version in the configuration"
    )]
    BadPacketLength {
        /// Where it came.
        direction: Direction,
        /// The packet's id.
        id: u16,
        /// What its length field says.
        length: u16,
    },
    /// There is no packet table for the client's version.
    #[error(
        "there is no packet table for this client version; the connection is forwarded untouched; \
         set a known packet version in the configuration"
    )]
    NoPacketTable,
    /// A packet stayed unfinished for too long; the owner of the connection decides how long that is.
    #[error(
        "{waiting} bytes waited too long for the rest of their packet; the connection is \
         forwarded untouched; check the packet version in the configuration"
    )]
    Stalled {
        /// Where they waited.
        direction: Direction,
        /// How many bytes waited.
        waiting: usize,
    },
    /// The owner of the connection asked for it, by configuration or command.
    #[error("the lower level was asked for")]
    Requested,
}

impl StepDownReason {
    pub(crate) fn unframeable(direction: Direction, reason: OpaqueReason) -> StepDownReason {
        match reason {
            OpaqueReason::UnknownId(id) => StepDownReason::UnknownPacketId { direction, id },
            OpaqueReason::BadLength { id, length } => StepDownReason::BadPacketLength {
                direction,
                id,
                length,
            },
        }
    }

    /// The stable code, the same as in the serialized form.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            StepDownReason::UnknownPacketId { .. } => "unknown-packet-id",
            StepDownReason::BadPacketLength { .. } => "bad-packet-length",
            StepDownReason::NoPacketTable => "no-packet-table",
            StepDownReason::Stalled { .. } => "stalled",
            StepDownReason::Requested => "requested",
        }
    }
}

/// Something that the owner of a connection may want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum BridgeEvent {
    /// The connection reads less than before. There is no way back up.
    SteppedDown {
        /// The level it had.
        from: Level,
        /// The level it has now.
        to: Level,
        /// Why.
        reason: StepDownReason,
    },
    /// The server announced another server, and the client was told `loopback` instead.
    ServerAnnounced {
        /// Which kind of server.
        role: Role,
        /// Where it really is.
        upstream: SocketAddrV4,
        /// Where the client was told that it is.
        loopback: SocketAddrV4,
    },
    /// A stream ended inside a packet; the bytes were forwarded as they are.
    Partial {
        /// Which stream.
        direction: Direction,
        /// How many bytes of the unfinished packet there were.
        bytes: usize,
    },
    /// The server sent the player to a map other than the last one on this connection.
    MapChanged {
        /// The map's name without its `.gat`, at most 16 bytes of printable ASCII.
        map: String,
    },
}

impl BridgeEvent {
    /// Whether a later event of the kind makes up for the loss of this one.
    fn may_be_lost(&self) -> bool {
        matches!(
            self,
            BridgeEvent::ServerAnnounced { .. } | BridgeEvent::MapChanged { .. }
        )
    }
}

/// How many events wait at most for being polled, about 16 KiB.
///
/// When that many wait, the oldest `ServerAnnounced` or `MapChanged` is dropped and counted
/// ([`crate::BridgeConnection::events_lost`]). `SteppedDown` comes at most twice in a connection and
/// `Partial` once per direction, so they always find room.
pub const MAX_EVENTS: usize = 256;

/// The events that wait for being polled, bounded by [`MAX_EVENTS`].
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    waiting: VecDeque<BridgeEvent>,
    lost: u64,
}

impl EventQueue {
    pub(crate) fn push(&mut self, event: BridgeEvent) {
        if self.waiting.len() >= MAX_EVENTS {
            self.lost = self.lost.saturating_add(1);
            match self.waiting.iter().position(BridgeEvent::may_be_lost) {
                Some(oldest) => {
                    self.waiting.remove(oldest);
                }
                None => return,
            }
        }
        self.waiting.push_back(event);
    }

    pub(crate) fn pop(&mut self) -> Option<BridgeEvent> {
        self.waiting.pop_front()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_go_down_from_assist_to_opaque() {
        assert!(Level::Rewrite.is_below(Level::Assist));
        assert!(Level::Opaque.is_below(Level::Rewrite));
        assert!(!Level::Assist.is_below(Level::Assist));
        assert!(!Level::Assist.is_below(Level::Opaque));
    }

    #[test]
    fn codes_are_the_serialized_tags() {
        let direction = Direction::ServerToClient;
        for reason in [
            StepDownReason::UnknownPacketId { direction, id: 1 },
            StepDownReason::BadPacketLength {
                direction,
                id: 1,
                length: 2,
            },
            StepDownReason::NoPacketTable,
            StepDownReason::Stalled {
                direction,
                waiting: 3,
            },
            StepDownReason::Requested,
        ] {
            let json = serde_json::to_value(reason).unwrap();
            assert_eq!(json["code"], reason.code());
        }
    }

    #[test]
    fn a_full_queue_drops_the_oldest_that_may_be_lost() {
        let mut queue = EventQueue::default();
        let step = BridgeEvent::SteppedDown {
            from: Level::Rewrite,
            to: Level::Opaque,
            reason: StepDownReason::Requested,
        };
        queue.push(step.clone());
        for number in 0..1000 {
            queue.push(BridgeEvent::MapChanged {
                map: number.to_string(),
            });
        }
        let all: Vec<BridgeEvent> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(all.len(), MAX_EVENTS);
        assert_eq!(all[0], step);
        assert_eq!(
            all.last(),
            Some(&BridgeEvent::MapChanged {
                map: "999".to_owned()
            })
        );
        assert_eq!(queue.lost(), 1001 - MAX_EVENTS as u64);
    }
}
