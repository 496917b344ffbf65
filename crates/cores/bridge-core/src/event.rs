//! The reasons for leaving a level, and the events of a connection.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};
use warp_protocol::zone::ReadLevel;
use warp_ro_packet::{Direction, OpaqueReason, Role};

/// How far the bridge reads a connection. See the crate's table.
pub type Level = ReadLevel;

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
    /// None of the packet tables fits the first packet of the client.
    #[error(
        "no packet table fits a client that begins with packet id {id:04X}; the connection is \
         forwarded untouched; set the packet version of the zone, or add a packet table"
    )]
    UnknownVersion {
        /// The id that the connection began with.
        id: u16,
    },
    /// The operator's table does not say which packet is the map login.
    #[error(
        "which packet of this version is the map login is not known, so its map connections cannot \
         be read (the first begins with {id:04X}); they are forwarded untouched"
    )]
    UnknownMapLogin {
        /// The id that the connection began with.
        id: u16,
    },
    /// The client shuffles its packet ids by a key that is not known.
    #[error(
        "the client hides its packet ids with a key that is not known (the first reads {id:04X}); \
         the connection is forwarded untouched; use a client without packet obfuscation"
    )]
    ObfuscatedIds {
        /// The id that the connection began with, as it came.
        id: u16,
    },
    /// The operator's choice for the zone.
    #[error("the zone asks for this level")]
    ByZone,
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
            StepDownReason::UnknownVersion { .. } => "unknown-version",
            StepDownReason::UnknownMapLogin { .. } => "unknown-map-login",
            StepDownReason::ObfuscatedIds { .. } => "obfuscated-ids",
            StepDownReason::ByZone => "by-zone",
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
        /// For a map server: the map that the player enters there, without its `.gat`.
        map: Option<String>,
    },
    /// The connection belongs to this account. Told once in a connection.
    Account {
        /// The account id (AID).
        account: u32,
    },
    /// The player typed a command into the public chat; the packet was withheld from the server.
    Command {
        /// What was typed, from the `/p2p` or `@p2p` on; at most [`crate::MAX_COMMAND`] bytes of it,
        /// bytes that are no UTF-8 replaced.
        line: String,
    },
    /// So many lines of an answer were dropped, because [`crate::MAX_ANSWERS`] waited already.
    AnswersDropped {
        /// How many lines.
        lines: usize,
    },
    /// A stream ended inside a packet; the bytes were forwarded as they are.
    Partial {
        /// Which stream.
        direction: Direction,
        /// How many bytes of the unfinished packet there were.
        bytes: usize,
    },
    /// The client, which has no server, loaded its map or wants to leave: see
    /// [`crate::BridgeConnection::away`]. Told once for each.
    Away,
    /// A client that was given another server has loaded the map there.
    Resumed {
        /// Lines of chat from the time without a server, which were sent now.
        kept: usize,
        /// Packets from that time that were not.
        dropped: u64,
    },
    /// The server sent the player to a map other than the last one on this connection.
    MapChanged {
        /// The map's name without its `.gat`, at most 16 bytes of printable ASCII.
        map: String,
    },
}

impl BridgeEvent {
    /// Whether any number of them may come, so that one has to give way when too many wait.
    fn may_be_lost(&self) -> bool {
        match self {
            BridgeEvent::ServerAnnounced { .. }
            | BridgeEvent::MapChanged { .. }
            | BridgeEvent::Command { .. }
            | BridgeEvent::Away
            | BridgeEvent::Resumed { .. }
            | BridgeEvent::AnswersDropped { .. } => true,
            BridgeEvent::SteppedDown { .. }
            | BridgeEvent::Account { .. }
            | BridgeEvent::Partial { .. } => false,
        }
    }
}

/// How many events wait at most for being polled, about 90 KiB with the longest command lines.
///
/// When that many wait, the oldest of those that may come any number of times is dropped and counted
/// ([`crate::BridgeConnection::events_lost`]). `SteppedDown` comes at most twice in a connection,
/// `Account` once and `Partial` once per direction, so they always find room.
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
            StepDownReason::UnknownVersion { id: 1 },
            StepDownReason::UnknownMapLogin { id: 1 },
            StepDownReason::ObfuscatedIds { id: 1 },
            StepDownReason::ByZone,
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
