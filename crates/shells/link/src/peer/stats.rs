//! What can be said about a peer connection: its state and the pair of addresses it uses.

use serde::Serialize;
use webrtc::peer_connection::{PeerConnection, RTCIceCandidate, RTCPeerConnectionState};

/// The state of a peer connection, as the library sees it. It is slow to notice silence (seconds);
/// judge by what the session link hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerState {
    /// Nothing has been sent yet.
    New,
    /// Looking for a way, or shaking hands.
    Connecting,
    /// ICE and DTLS are through.
    Connected,
    /// Nothing has been heard for five seconds; may still recover.
    Disconnected,
    /// Given up.
    Failed,
    /// Closed.
    Closed,
}

impl PeerState {
    pub(super) fn from_rtc(state: RTCPeerConnectionState) -> Self {
        match state {
            RTCPeerConnectionState::Connecting => PeerState::Connecting,
            RTCPeerConnectionState::Connected => PeerState::Connected,
            RTCPeerConnectionState::Disconnected => PeerState::Disconnected,
            RTCPeerConnectionState::Failed => PeerState::Failed,
            RTCPeerConnectionState::Closed => PeerState::Closed,
            _ => PeerState::New,
        }
    }
}

/// One end of the pair in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CandidateInfo {
    /// `host`, `srflx`, `prflx` or `relay`.
    pub kind: String,
    /// IP address.
    pub address: String,
    /// UDP port.
    pub port: u16,
}

impl CandidateInfo {
    fn from_rtc(candidate: &RTCIceCandidate) -> Self {
        Self {
            kind: candidate.typ.to_string(),
            address: candidate.address.clone(),
            port: candidate.port,
        }
    }
}

/// The pair of addresses in use. The library counts no round trips on it; the session link does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SelectedPair {
    /// Our end.
    pub local: CandidateInfo,
    /// The other side's end.
    pub remote: CandidateInfo,
}

/// The selected pair; `None` while there is none.
pub(super) async fn selected_pair(pc: &dyn PeerConnection) -> Option<SelectedPair> {
    let ice = pc.sctp().await?.transport().ice_transport();
    let pair = ice.get_selected_candidate_pair().await.ok()??;
    Some(SelectedPair {
        local: CandidateInfo::from_rtc(pair.local()),
        remote: CandidateInfo::from_rtc(pair.remote()),
    })
}
