//! Numbers and states as they are shown.

use serde::{Deserialize, Serialize};
use warp_protocol::carrier::PathKind;
use warp_protocol::stream::ServerRole;

use crate::config::RedundantSending;

pub use warp_link_core::State as LinkState;
pub use warp_link_core::choice::Costs;
pub use warp_link_core::quality::{Quality, QualityCause, Towards};
pub use warp_link_core::view::{DirectionView, PathPhase, PathView, SwitchReason};

/// The numbers of play.
///
/// `state`, `path`, the figures of that path and `paths` are of one link: the one that carries the
/// newest map connection, or the chosen zone's while there is none. Everything else is the sum over
/// all links and clients. A figure that is `None` is not known: nothing was measured lately.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ts_rs::TS)]
pub struct Metrics {
    /// Milliseconds since Play.
    #[ts(type = "number")]
    pub at_ms: u64,
    /// The state.
    pub state: LinkState,
    /// The path in use.
    pub path: Option<PathKind>,
    /// Mean round trip of that path over the last 5 s, ms.
    pub rtt_ms: Option<f64>,
    /// Jitter of that path's worse direction, ms.
    pub jitter_ms: Option<f64>,
    /// Datagrams lost of those sent on that path in the last 10 s, both directions together,
    /// percent.
    pub loss_percent: Option<f64>,
    /// How good that path is.
    pub quality: Option<Quality>,
    /// That path from the player to the endpoint.
    pub to_endpoint: DirectionView,
    /// That path from the endpoint to the player.
    pub to_player: DirectionView,
    /// Every path of that link.
    pub paths: Vec<PathView>,
    /// Open connections of the game.
    pub streams: u32,
    /// Game bytes from the client.
    #[ts(type = "number")]
    pub bytes_up: u64,
    /// Game bytes to the client.
    #[ts(type = "number")]
    pub bytes_down: u64,
    /// Moves from one path to another because of silence or loss.
    pub failovers: u32,
    /// Datagrams that were refused: not authentic, replayed, or not understood.
    #[ts(type = "number")]
    pub refused: u64,
    /// Datagrams sent a second time over the standby.
    #[ts(type = "number")]
    pub duplicated: u64,
    /// When small packets are sent twice.
    #[serde(default)]
    pub redundant: RedundantSending,
    /// Packets and bytes by class and path; rows that are not zero, at most 40.
    pub classes: Vec<ClassCount>,
    /// The game clients, at most 64.
    pub clients: Vec<ClientMetrics>,
}

/// Packets and bytes since Play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
pub struct Counter {
    /// Whole packets; of bytes that are not framed, the pieces they came in.
    #[ts(type = "number")]
    pub packets: u64,
    /// Bytes.
    #[ts(type = "number")]
    pub bytes: u64,
}

/// What one class of packets carried over one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct ClassCount {
    /// Name of the class, as `p2p.packet_types` has it; `raw` for bytes that are not framed.
    pub class: String,
    /// `p2p.packet_types` has it: it may use the peer lane.
    pub lane: bool,
    /// The path that carried them; `None`: there was none at that moment.
    pub path: Option<PathKind>,
    /// From the clients.
    pub up: Counter,
    /// To the clients.
    pub down: Counter,
}

/// The numbers of one game client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct ClientMetrics {
    /// Its number on the bridge.
    #[ts(type = "number")]
    pub client: u64,
    /// Its map, where that is known.
    pub map: Option<String>,
    /// Its open connections.
    pub connections: u32,
    /// Bytes from it.
    #[ts(type = "number")]
    pub bytes_up: u64,
    /// Bytes to it.
    #[ts(type = "number")]
    pub bytes_down: u64,
    /// Packets from it.
    #[ts(type = "number")]
    pub packets_up: u64,
    /// Packets to it.
    #[ts(type = "number")]
    pub packets_down: u64,
}

/// A game client that was started here and runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct GameView {
    /// Its number, counting from 1 while the engine runs.
    #[ts(type = "number")]
    pub game: u64,
    /// Process id.
    pub pid: u32,
    /// The program.
    pub program: String,
    /// When it was started, milliseconds of play.
    #[ts(type = "number")]
    pub since_ms: u64,
}

/// A game client that the bridge sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct ClientView {
    /// Its number on the bridge.
    #[ts(type = "number")]
    pub client: u64,
    /// Its map, once it was sent to one.
    pub map: Option<String>,
    /// The zone of that map, when it has one and that is joined; `None`: the chosen zone carries it.
    pub zone: Option<String>,
}

/// What went through one direction of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
pub struct StreamDigest {
    /// Bytes.
    #[ts(type = "number")]
    pub bytes: u64,
    /// SHA-256 over them, hex.
    pub sha256: String,
}

/// A packet of the game, as the inspector shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct PacketView {
    /// Its number since the bridge was opened; packets that were not kept have one too.
    #[ts(type = "number")]
    pub n: u64,
    /// Milliseconds since the bridge was opened.
    pub at_ms: f64,
    /// Number of the connection.
    #[ts(type = "number")]
    pub stream: u64,
    /// To which server.
    pub server: ServerRole,
    /// The game client, where it is known.
    #[ts(type = "number | null")]
    pub client: Option<u64>,
    /// From the client; false: to it.
    pub up: bool,
    /// Its id, four hex digits.
    pub id: String,
    /// Its name, where the version's table has one.
    pub name: Option<String>,
    /// Its class, as `p2p.packet_types` has it.
    pub class: String,
    /// The path that carried it.
    pub path: Option<PathKind>,
    /// Its length.
    pub bytes: u32,
    /// What stands in it, as far as its layout is known. Secrets are `***`.
    pub fields: Vec<PacketField>,
}

/// One field of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct PacketField {
    /// Its usual name.
    pub name: String,
    /// What stands in it, as text.
    pub value: String,
}
