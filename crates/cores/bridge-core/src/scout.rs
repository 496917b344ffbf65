//! Looking ahead while the packet version is not certain.

use bytes::BytesMut;
use warp_ro_packet::{Direction, MAX_PACKET, Role};

use crate::reading::{Reading, Versions};

/// Bytes that a char server sends before its first packet.
const RAW_AID: usize = 4;

/// Stands in front of one direction of a connection with plain ids, and lets pass what every version
/// that may be cuts alike. Holds at most [`MAX_PACKET`] bytes once it was asked what may pass: where
/// as much does not tell versions apart, nothing will.
#[derive(Debug)]
pub struct Scout {
    role: Role,
    direction: Direction,
    /// Not passed yet, from a packet border on, `ahead` bytes without an id before it.
    held: BytesMut,
    ahead: usize,
    undecided: bool,
    /// Something passed of which nobody knows where it ends: nothing can be learned here any more.
    adrift: bool,
}

impl Scout {
    /// For a direction of which nothing was passed yet.
    #[must_use]
    pub fn new(role: Role, direction: Direction) -> Scout {
        let raw_aid = (role, direction) == (Role::Char, Direction::ServerToClient);
        Scout {
            role,
            direction,
            held: BytesMut::new(),
            ahead: if raw_aid { RAW_AID } else { 0 },
            undecided: false,
            adrift: false,
        }
    }

    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// What may pass now, and how the connection is read from there on, if that has changed.
    /// `settled`: nothing more has come for a moment, or nothing will.
    pub fn pass(&mut self, versions: &mut Versions, settled: bool) -> (Option<Reading>, BytesMut) {
        if versions.certain() {
            // Another connection may have told.
            self.undecided = false;
            return (Some(versions.guess()), self.held.split());
        }
        if self.adrift {
            return (None, self.held.split());
        }
        let Some(packets) = self.held.get(self.ahead..) else {
            return (None, BytesMut::new());
        };
        let settled = settled || packets.len() > MAX_PACKET;
        let agreement = versions.on_later(self.role, self.direction, packets, settled);
        self.undecided = agreement.undecided && !settled;
        let bytes = if agreement.undecided && settled {
            // Nothing tells: the newest is as good as any.
            self.adrift = true;
            packets.len()
        } else {
            agreement.bytes
        };
        let reading = agreement.learned.then(|| versions.guess());
        if bytes == 0 {
            return (reading, BytesMut::new());
        }
        let passed = self.held.split_to(self.ahead + bytes);
        self.ahead = 0;
        (reading, passed)
    }

    /// Everything that is held, for a connection that is not read by packets any more or has ended.
    pub fn give_up(&mut self) -> BytesMut {
        self.undecided = false;
        self.held.split()
    }

    /// How many bytes are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// A packet is held that has come whole by one version and not by another. More will come at
    /// once if it was cut short; see [`Scout::pass`].
    #[must_use]
    pub fn undecided(&self) -> bool {
        self.undecided
    }
}
