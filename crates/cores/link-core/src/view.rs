//! What the link shows of its paths.

use serde::{Deserialize, Serialize};
use warp_protocol::carrier::PathKind;

/// How far a path has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum PathPhase {
    /// Its carrier is up; QUIC is validating it.
    Opening,
    /// Validated, and still proving that it is steady.
    Proving,
    /// Ready to take over at once.
    Standby,
    /// Carries the game.
    InUse,
    /// Silent beyond its deadline; its datagrams also travel over the standby.
    Suspect,
    /// Its carrier is gone, or it was given up.
    Down,
}

impl PathPhase {
    /// True for the path in use, also while an answer is overdue.
    pub fn carries_game(self) -> bool {
        matches!(self, Self::InUse | Self::Suspect)
    }
}

/// One path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct PathView {
    /// The way.
    pub kind: PathKind,
    /// How far it has come.
    pub phase: PathPhase,
    /// Smoothed round trip, ms.
    pub rtt_ms: Option<f64>,
    /// Mean deviation of the round trip, ms.
    pub jitter_ms: Option<f64>,
    /// Packets lost of those sent in the last 10 s, percent.
    pub loss_percent: f64,
    /// QUIC bytes sent.
    #[ts(type = "number")]
    pub sent_bytes: u64,
    /// QUIC bytes received.
    #[ts(type = "number")]
    pub received_bytes: u64,
    /// Milliseconds since something was heard on its own carrier.
    pub silent_ms: Option<f64>,
}

/// Why a path was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum SwitchReason {
    /// It was the first to open.
    First,
    /// A better path has proven itself.
    Better,
    /// The path in use fell silent.
    Silence,
    /// The carrier of the path in use closed.
    CarrierClosed,
    /// A person asked for it.
    Asked,
}
