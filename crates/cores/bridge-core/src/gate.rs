//! What a client says while no server is behind its connection, and until it has loaded the map that
//! it is put on again.
//!
//! A server that has just let a player in hears nothing before the map is loaded (007D), and what was
//! meant for the world before the break has lost its meaning: where units stood, what lay in which
//! place of the bag. So until the 007D of the new session has passed:
//!
//! | the client says | what becomes of it |
//! |---|---|
//! | a line of chat: public, whisper, party, guild, clan, battleground | kept in order, sent right behind the 007D |
//! | a command to the bridge | answered as ever |
//! | 007D | passed on; where no server is there, it only tells that loading is over |
//! | 018A, or 00B2 to the character selection | the player wants to go: not signed in again |
//! | anything else: walking, skills, items, time sync | dropped, and counted |
//!
//! At most [`MAX_HELD`] lines of [`MAX_HELD_BYTES`] bytes together are kept; what is more is dropped and
//! counted.

use bytes::BytesMut;
use warp_ro_packet::Roles;

/// Lines of chat that are kept at most.
pub const MAX_HELD: usize = 32;
/// Bytes that they may have together.
pub const MAX_HELD_BYTES: usize = 8192;

/// Whisper, party, guild, battleground and clan; the public one is the table's.
const SPOKEN: [u16; 5] = [0x0096, 0x0108, 0x017E, 0x02DB, 0x098D];
const QUIT: u16 = 0x018A;

/// How far a client without a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Away {
    /// It has loaded the map that it was told to load before the break.
    pub loaded: bool,
    /// It asked to leave the game or the map.
    pub left: bool,
}

/// What is done with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It goes to the server, and the gate opens behind it.
    Opens,
    /// It does not go to the server.
    Stays,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// There is a server again.
    pub(crate) server: bool,
    pub(crate) away: Away,
    held: Vec<BytesMut>,
    held_bytes: usize,
    pub(crate) dropped: u64,
}

impl Gate {
    pub(crate) fn client(&mut self, roles: &Roles, id: u16, packet: BytesMut) -> Passage {
        if roles.map_loaded == Some(id) {
            if self.server {
                return Passage::Opens;
            }
            self.away.loaded = true;
        } else if id == QUIT || (roles.restart == Some(id) && packet.get(2) == Some(&1)) {
            self.away.left = true;
        } else if (roles.public_chat == Some(id) || SPOKEN.contains(&id))
            && self.held.len() < MAX_HELD
            && self.held_bytes + packet.len() <= MAX_HELD_BYTES
        {
            self.held_bytes += packet.len();
            self.held.push(packet);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
        Passage::Stays
    }

    /// The lines that were kept, oldest first, with plain ids.
    pub(crate) fn take_held(&mut self) -> Vec<BytesMut> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }
}
