//! Ragnarok Online packets as the bridge, the endpoint and the practice game need them.
//!
//! This crate is pure: bytes are arguments, nothing here touches a socket, a clock or a
//! file. It holds six small parts:
//!
//! - [`PacketTable`]: packet lengths, classes and names of one client version;
//! - [`Framer`]: cuts one direction of one TCP connection into whole packets;
//! - [`PacketClass`]: what a packet is about, so that policy code never compares ids;
//! - [`packet_name`]: names for logs and the packet inspector;
//! - [`announced_addresses`] and [`rewrite_addresses`]: the server addresses inside 0AC4, 0AC5 and 0AC7;
//! - [`map_name`]: the map a packet sends the player to;
//! - [`coords`]: packed positions and moves.
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

mod address;
mod class;
pub mod coords;
mod framer;
mod map;
mod table;
mod versions;

pub use address::{Announced, announced_addresses, announces_addresses, rewrite_addresses};
pub use class::{PacketClass, PacketInfo};
pub use framer::{Frame, FrameKind, Framer, OpaqueReason};
pub use map::map_name;
pub use table::{PacketLength, PacketTable, packet_name};

use serde::{Deserialize, Serialize};

/// The longest packet in bytes: the length field is a `u16`.
pub const MAX_PACKET: usize = u16::MAX as usize;

/// CZ_ENTER, the client's first packet to a map server (23 bytes at 20211103).
///
/// rAthena refuses it when anything else lies in its receive buffer, so it has to travel
/// alone in its TCP segment.
pub const MAP_ENTER: u16 = 0x0436;

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
