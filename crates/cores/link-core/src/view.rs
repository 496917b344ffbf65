//! What the link shows of its paths.

use serde::{Deserialize, Serialize};
use warp_protocol::carrier::PathKind;

use crate::quality::Quality;

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

/// What is measured of one direction of a path's own carrier; `None` is not known.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ts_rs::TS)]
pub struct DirectionView {
    /// Datagrams lost of those sent in the last 10 s, percent. Copies count, so it is the carrier's
    /// loss also while what is lost once arrives by its copy.
    pub loss_percent: Option<f64>,
    /// 95th percentile of the transit time's distance from its median over the last 10 s, ms.
    pub jitter_ms: Option<f64>,
    /// Datagrams that arrived after one that was sent later, of those of the last 10 s, percent.
    pub late_percent: Option<f64>,
    /// Bytes a second over the last 10 s, labels and copies included: sent, where this side sends.
    pub bytes_per_second: Option<f64>,
    /// Datagrams since the carrier was opened, lost ones too.
    #[ts(type = "number | null")]
    pub datagrams: Option<u64>,
    /// Of those, lost.
    #[ts(type = "number | null")]
    pub lost: Option<u64>,
}

/// One path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct PathView {
    /// The way.
    pub kind: PathKind,
    /// How far it has come.
    pub phase: PathPhase,
    /// Mean round trip over the last 5 s, ms; how long the other side took to answer is not in it.
    pub rtt_ms: Option<f64>,
    /// Jitter of the worse direction, ms.
    pub jitter_ms: Option<f64>,
    /// Datagrams lost of those sent in the last 10 s, both directions together, percent.
    pub loss_percent: Option<f64>,
    /// How good it is, when all that it takes is known.
    pub quality: Option<Quality>,
    /// What it costs in the choice between paths, ms ([`crate::choice`]), when all that it takes is
    /// known.
    pub cost_ms: Option<f64>,
    /// From the player to the endpoint.
    pub to_endpoint: DirectionView,
    /// From the endpoint to the player.
    pub to_player: DirectionView,
    /// Packets of this side that were taken for lost, and whose contents were sent again.
    #[ts(type = "number")]
    pub resent_packets: u64,
    /// Bytes that wait in front of the carrier, 64 bytes of overhead per datagram included.
    #[ts(type = "number | null")]
    pub queued_bytes: Option<u64>,
    /// The longest that a datagram of the last second or two waited there, ms, or has waited so far.
    pub queue_ms: Option<f64>,
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
    /// Another path was measured to be better, several times in a row.
    Measured,
    /// What came over the path in use was altered or replayed on the way.
    Tampering,
    /// The path in use is not to be used any more: its host leaves, the operator forbids it, or it is made
    /// anew.
    Withdrawn,
}
