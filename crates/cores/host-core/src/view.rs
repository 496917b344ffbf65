//! What the volunteer is shown. It names no member and no address.

use serde::{Deserialize, Serialize};
use warp_protocol::Problem;

/// Where a host is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// Asks the coordinator for a place.
    #[default]
    Registering,
    /// Has one, and takes members.
    Serving,
    /// Keeps its members and takes no new ones: its player plays, or the network is not the allowed
    /// one.
    Paused,
    /// Its members are moved away; then it ends.
    Draining,
    /// Over: asked for, or refused.
    Stopped,
}

/// How a host reaches the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamKind {
    /// A WebRTC data channel.
    Webrtc,
    /// A WebSocket: no UDP passes.
    Wss,
}

/// A member, by number only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct MemberView {
    /// A number that the coordinator gave.
    pub slot: u32,
    /// Its zone.
    pub zone: String,
    /// It is connected to this host now.
    pub connected: bool,
    /// From it to the endpoint.
    pub up_bytes_per_s: f64,
    /// From the endpoint to it.
    pub down_bytes_per_s: f64,
}

/// A host as its owner sees it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ts_rs::TS)]
pub struct HostStatusView {
    /// Its id.
    pub host_id: String,
    /// Where it is in its life.
    pub state: HostState,
    /// Zones that it offers itself for.
    pub zones: Vec<String>,
    /// Zones in which the coordinator's policies let it forward now.
    pub allowed: Vec<String>,
    /// Members that it may carry at once.
    pub max_members: u32,
    /// Its members, by slot.
    pub members: Vec<MemberView>,
    /// How it reaches the endpoint; none: it does not now.
    pub upstream: Option<UpstreamKind>,
    /// The signaling socket is open.
    pub signaling: bool,
    /// To the endpoint and back, ms; none: not measured.
    pub latency_ms: Option<f64>,
    /// Of what the endpoint sent, 0 to 100; none: nothing came.
    pub loss_percent: Option<f64>,
    /// All that is sent, to members and endpoint.
    pub upload_bytes_per_s: f64,
    /// All that is received, from members and endpoint.
    pub download_bytes_per_s: f64,
    /// Bytes sent since the start.
    #[ts(type = "number")]
    pub uploaded_bytes: u64,
    /// Bytes received since the start.
    #[ts(type = "number")]
    pub downloaded_bytes: u64,
    /// Of one core, by this whole program; none: not measured.
    pub cpu_percent: Option<f64>,
    /// Since the start.
    #[ts(type = "number")]
    pub uptime_ms: u64,
    /// Datagrams dropped because a member sent more than it may.
    #[ts(type = "number")]
    pub dropped_rate: u64,
    /// Datagrams dropped because the upload limit was reached.
    #[ts(type = "number")]
    pub dropped_upload: u64,
    /// Datagrams dropped for any other reason.
    #[ts(type = "number")]
    pub dropped_other: u64,
    /// Reports of members that sent far more than a game does.
    #[ts(type = "number")]
    pub floods: u64,
    /// Why it does not serve, or what keeps it from telling the coordinator.
    pub problem: Option<Problem>,
}
