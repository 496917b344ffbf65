//! What the bridge tells its owner.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use warp_bridge_core::{Level, StepDownReason};
use warp_protocol::ProblemCode;
use warp_protocol::stream::{OpenRefused, ServerRole};
use warp_ro_packet::Direction;

/// What one direction of a connection carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of them, lower-case hex. Towards the client: as the server sent them, before
    /// addresses were replaced. So both are what the endpoint counts for the same connection.
    pub sha256: String,
}

/// Why a connection of the client was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedReason {
    /// The endpoint did not open the connection.
    Endpoint(OpenRefused),
    /// The session link has ended.
    LinkGone,
    /// The endpoint's answer could not be read.
    BadAnswer,
    /// The client has as many connections as it may have.
    TooManyConnections,
}

impl RefusedReason {
    /// The code that a person is shown.
    pub fn code(self) -> ProblemCode {
        match self {
            RefusedReason::Endpoint(OpenRefused::NotAllowed) => ProblemCode::AddressNotAllowed,
            RefusedReason::Endpoint(OpenRefused::ServerRefused) => ProblemCode::GameServerRefused,
            RefusedReason::Endpoint(OpenRefused::ServerTimeout) => ProblemCode::GameServerTimeout,
            RefusedReason::Endpoint(OpenRefused::Unreachable) => ProblemCode::GameServerUnreachable,
            RefusedReason::Endpoint(OpenRefused::TooManyConnections)
            | RefusedReason::TooManyConnections => ProblemCode::TooManyConnections,
            RefusedReason::Endpoint(OpenRefused::BadRequest) | RefusedReason::BadAnswer => {
                ProblemCode::Internal
            }
            RefusedReason::LinkGone => ProblemCode::LinkLost,
        }
    }
}

/// Something that happened. `n` numbers the connections, and `client` the game clients that they
/// belong to, both from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "notice", rename_all = "kebab-case")]
pub enum BridgeNotice {
    /// The endpoint opened the connection to the server.
    Opened {
        /// Which connection.
        n: u64,
        /// Which server.
        role: ServerRole,
        /// Where it really is.
        target: SocketAddr,
        /// The client's address.
        peer: SocketAddr,
        /// Whose it is, as far as that is known by now.
        client: Option<u64>,
    },
    /// A connection that was open has ended.
    Closed {
        /// Which connection.
        n: u64,
        /// Which server.
        role: ServerRole,
        /// Where it really is.
        target: SocketAddr,
        /// Both directions ended in good order; otherwise something was reset.
        clean: bool,
        /// From the client.
        up: Carried,
        /// To the client.
        down: Carried,
    },
    /// A connection of the client was reset, because none to the server could be opened.
    Refused {
        /// Which connection.
        n: u64,
        /// Which server.
        role: ServerRole,
        /// Where it really is.
        target: SocketAddr,
        /// Why.
        reason: RefusedReason,
    },
    /// A connection is read less than before.
    SteppedDown {
        /// Which connection.
        n: u64,
        /// Before.
        from: Level,
        /// Now.
        to: Level,
        /// Why.
        reason: StepDownReason,
    },
    /// A server announced another one, and the client was sent to a door of the bridge.
    ServerAnnounced {
        /// Which connection.
        n: u64,
        /// Which server was announced.
        role: ServerRole,
        /// Where it really is.
        target: SocketAddr,
        /// The door.
        door: SocketAddr,
    },
    /// No door could be made for a server: connections to it will fail.
    DoorMissing {
        /// Which server.
        role: ServerRole,
        /// Where it really is.
        target: SocketAddr,
        /// What the system said; `None` when there are as many doors as there may be.
        cause: Option<String>,
    },
    /// The server sent the player to a map.
    MapChanged {
        /// Which connection.
        n: u64,
        /// Whose it is.
        client: Option<u64>,
        /// The map, without `.gat`.
        map: String,
    },
    /// A game client appeared: it connects to the login server, or is there already.
    ClientSeen {
        /// Its number.
        client: u64,
    },
    /// A game client has been without connections for two minutes, could not log in, or turned out
    /// to be an older one: then its connection goes on as that one's.
    ClientGone {
        /// Its number.
        client: u64,
    },
    /// The player typed a command into the game's chat; [`crate::Bridge::answer`] answers.
    Command {
        /// Which connection.
        n: u64,
        /// Whose it is.
        client: Option<u64>,
        /// What was typed, from the `/p2p` or `@p2p` on, in the case it was typed in.
        line: String,
    },
    /// Which packet version the clients speak: found out, or said by the zone and now seen.
    VersionKnown {
        /// The version; the newest that fits, unless it is certain.
        version: u32,
        /// The clients hide the packet ids of map connections.
        ciphered: bool,
        /// No other version fits.
        certain: bool,
    },
    /// A map connection has lost its server, and the client, which is still connected, is signed in
    /// again. `Closed` was told of the lost one before.
    ReEntryStarted {
        /// Which connection.
        n: u64,
        /// Whose it is.
        client: Option<u64>,
    },
    /// How far that is.
    ReEntryStep {
        /// Which connection.
        n: u64,
        /// Whose it is.
        client: Option<u64>,
        /// The step's name, see [`warp_bridge_core::ReEntryStep`].
        step: &'static str,
    },
    /// None of the game servers can be reached for a client that is signed in again, or its endpoint may
    /// not dial them; told with every try from then on. It goes on trying: see [`crate::Bridge::lead_to`].
    ServersAway {
        /// Which connection.
        n: u64,
        /// Whose it is.
        client: Option<u64>,
    },
    /// The client has loaded the map of the new session. `Opened` was told of its connection before.
    ReEntryDone {
        /// Which connection.
        n: u64,
        /// Whose it is.
        client: Option<u64>,
        /// Since the server was lost.
        took: Duration,
        /// Lines of chat from the time without a server, which were sent.
        kept: usize,
        /// Packets from that time that were not.
        dropped: u64,
    },
    /// The client could not be kept: its connection is reset.
    ReEntryFailed {
        /// Which connection.
        n: u64,
        /// Whose it is.
        client: Option<u64>,
        /// The stable code of why, see [`warp_bridge_core::GaveUp::code`].
        reason: &'static str,
        /// The same for people.
        detail: String,
    },
    /// A direction ended inside a packet; the bytes were passed on.
    Partial {
        /// Which connection.
        n: u64,
        /// Which direction.
        direction: Direction,
        /// Bytes of the unfinished packet.
        bytes: usize,
    },
}
