//! Class, direction and name of the ids that are known by more than their length.
//!
//! One list per direction holds what all versions have in common ([`client::CLIENT`],
//! [`server::SERVER`]), [`shuffled`] what differs from version to version; a version is the two
//! plus its own, without the ids that its length table does not have. Lists are put together
//! once, when the compiled-in tables are first used.
//!
//! Names are those that emulators and clients use; the generations of one packet share theirs.
//! Of the client's packets from before 2010-11-24 (0085, 0089, 009B, ...), which later clients have in their
//! tables but do not send, none is named.

use crate::Direction;
use crate::class::{PacketClass, PacketInfo};

pub(crate) mod client;
pub(crate) mod server;
pub(crate) mod shuffled;

const fn c(id: u16, class: PacketClass, name: &'static str) -> PacketInfo {
    PacketInfo {
        id,
        direction: Direction::ClientToServer,
        class,
        name,
    }
}

const fn s(id: u16, class: PacketClass, name: &'static str) -> PacketInfo {
    PacketInfo {
        id,
        direction: Direction::ServerToClient,
        class,
        name,
    }
}

/// What all versions have in common, and `own`.
pub(crate) fn with(own: &[&[PacketInfo]]) -> Vec<PacketInfo> {
    let mut all = [client::CLIENT, server::SERVER].concat();
    for list in own {
        all.extend_from_slice(list);
    }
    all
}
