//! Numbers and states as they are shown.

use serde::{Deserialize, Serialize};
use warp_protocol::carrier::PathKind;

pub use warp_link_core::State as LinkState;
pub use warp_link_core::view::{PathPhase, PathView, SwitchReason};

/// The numbers of a session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ts_rs::TS)]
pub struct Metrics {
    /// Milliseconds since Play.
    #[ts(type = "number")]
    pub at_ms: u64,
    /// The state.
    pub state: LinkState,
    /// The path in use.
    pub path: Option<PathKind>,
    /// Smoothed round trip of that path, ms.
    pub rtt_ms: Option<f64>,
    /// Mean deviation of the round trip, ms.
    pub jitter_ms: Option<f64>,
    /// Packets lost of those sent on that path in the last 10 s, percent.
    pub loss_percent: Option<f64>,
    /// Every path.
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
