//! Ragnarok Online packets as the bridge, the endpoint and the practice game need them.
//!
//! This crate is pure: bytes are arguments, nothing here touches a socket, a clock or a
//! file. It holds these small parts:
//!
//! - [`PacketTable`]: packet lengths, classes, names and roles of one client version, compiled in
//!   or read from an operator's `recvpackets.txt`;
//! - [`Detector`]: which of these versions a client speaks;
//! - [`Framer`]: cuts one direction of one TCP connection into whole packets;
//! - [`PacketClass`] and [`Roles`]: what a packet is about and which ones the bridge acts upon, so
//!   that policy code never compares ids;
//! - [`IdCipher`]: the xor that hides a client's packet ids on a map connection;
//! - [`announced_addresses`] and [`rewrite_addresses`]: the server addresses inside the packets of
//!   both generations (0069, 0071, 0092 and 0AC4, 0AC5, 0AC7);
//! - [`map_name`] and [`account_of`]: the map and the account that a packet names;
//! - [`chat`]: what a player typed, and lines said to the player;
//! - [`decode()`] and [`recording`]: packets and recorded connections for people to read;
//! - [`coords`]: packed positions and moves.
//!
//! # Versions
//!
//! | version | client's ids | ids on a map connection | addresses | character |
//! |---|---|---|---|---|
//! | 20130807 | shuffled | xored | 0069, 0071, 0092 | 144 bytes |
//! | 20151029 | shuffled | xored | 0069, 0071, 0092 | 147 bytes |
//! | 20170614 | shuffled | xored | 0AC4, 0AC5, 0AC7 | 147 bytes |
//! | 20180621 | plain | plain | 0AC4, 0AC5, 0AC7 | 155 bytes |
//! | 20200401 | plain | plain | 0AC4, 0AC5, 0AC7 | 155 bytes |
//! | 20211103 | plain | plain | 0AC4, 0AC5, 0AC7 | 175 bytes |
//!
//! Only 20211103 was checked against recordings; what is known of the others is what the public
//! sources of OpenKore, rAthena and Hercules state. A server may be built without the xor.
//!
//! # The wire
//!
//! A packet is a little-endian `u16` id, then either a length known from the version's
//! table, or a little-endian `u16` total length at offset 2. Both directions and all
//! three servers (login, char, map) share one id space. All integers are little-endian
//! except IPv4 addresses, which lie in network order. One thing breaks the framing: the
//! char server sends the account id as four raw bytes before its first packet, also
//! before a refusal; [`Framer`] knows that.
//!
//! # Rules that this crate keeps
//!
//! - Not one byte is lost, doubled or reordered, whatever arrives: what cannot be framed
//!   is handed on raw ([`FrameKind::Raw`]) with one reason ([`OpaqueReason`]).
//! - No input panics, and no allocation is sized by a number that the peer sent.
//! - A framer holds at most one unfinished packet, which the format bounds to
//!   [`MAX_PACKET`] bytes, beside what was pushed since the last drain.
//! - `Debug` of anything that carries packet bytes prints ids and lengths, never content:
//!   login packets carry passwords.

mod account;
mod address;
pub mod chat;
mod cipher;
mod class;
pub mod coords;
mod decode;
mod detector;
mod framer;
mod map;
pub mod recording;
mod recvpackets;
mod roles;
mod table;
mod versions;

pub use account::account_of;
pub use address::{Announced, announced_addresses, announces_addresses, rewrite_addresses};
pub use cipher::{IdCipher, IdKeys};
pub use class::{PacketClass, PacketInfo};
pub use decode::{Decoded, Field, FieldValue, MAX_SHOWN_BYTES, decode};
pub use detector::{Agreement, Detection, Detector};
pub use framer::{Frame, FrameKind, Framer, OpaqueReason};
pub use map::map_name;
pub use recvpackets::{RecvPacketsError, RecvPacketsProblem};
pub use roles::Roles;
pub use table::{PacketLength, PacketTable, packet_name};
pub use versions::SHUFFLED;

use serde::{Deserialize, Serialize};

/// The longest packet in bytes: the length field is a `u16`.
pub const MAX_PACKET: usize = u16::MAX as usize;

/// Which of the three game servers a connection leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The login server (usually port 6900).
    Login,
    /// The char server (usually port 6121).
    Char,
    /// A map server (usually port 5121; there may be several).
    Map,
}

/// Which way bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the game client to a game server.
    ClientToServer,
    /// From a game server to the game client.
    ServerToClient,
}
