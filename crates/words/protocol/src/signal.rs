//! Messages of the signaling WebSocket, `/api/v1/signaling/ws`: JSON objects in text frames.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ProblemCode;
use crate::hosting::{HostOffer, HostVerdict, HostsReason, Member, MemberVerdict, SignedPolicy};
use crate::identity::{DescriptionKind, RefusedReason, SIGNATURE};

/// Largest signaling frame that either side takes, bytes. Descriptions are about 1 KiB.
pub const MAX_SIGNAL: usize = 64 * 1024;

/// A session description with its sender's signature: the `sdp` of an offer or answer. The
/// coordinator passes it on and cannot change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedDescription {
    /// Offer or answer, as browsers write it.
    #[serde(rename = "type")]
    pub kind: DescriptionKind,
    /// The description's text.
    pub sdp: String,
    /// See [`crate::identity::DescriptionWords::nonce`].
    pub nonce: u64,
    /// Over [`crate::identity::DescriptionWords::message`], hex.
    pub signature: String,
}

impl SignedDescription {
    /// Reads what came as `sdp`. The signature is for the caller to check.
    ///
    /// # Errors
    /// [`RefusedReason::DescriptionUnsigned`] for text, and for an object without a signature.
    pub fn read(sdp: &Value) -> Result<Self, RefusedReason> {
        Self::deserialize(sdp).map_err(|_| RefusedReason::DescriptionUnsigned)
    }

    /// As it is sent.
    pub fn to_value(&self) -> Value {
        // An object of texts and a number always has a JSON form.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The bytes of the signature; `None` when it cannot be one.
    pub fn signature_bytes(&self) -> Option<[u8; SIGNATURE]> {
        let mut bytes = [0; SIGNATURE];
        hex::decode_to_slice(&self.signature, &mut bytes).ok()?;
        Some(bytes)
    }
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ClientSignal {
    /// Enter the room of a session.
    Join {
        /// The session, as its grant named it.
        session_id: String,
    },
    /// Leave the room.
    Leave,
    /// A WebRTC offer for another member of the room.
    Offer {
        /// Peer id of the receiver.
        to: String,
        /// Session description: text, or any non-empty JSON value, passed on unchanged.
        sdp: Value,
    },
    /// The answer to an offer.
    Answer {
        /// Peer id of the receiver.
        to: String,
        /// Session description, passed on unchanged.
        sdp: Value,
    },
    /// One ICE candidate; the empty candidate says that there are no more.
    IceCandidate {
        /// Peer id of the receiver.
        to: String,
        /// `{candidate, sdpMid, sdpMLineIndex}`, passed on unchanged.
        candidate: Value,
    },
    /// A launcher tells how a host of its session is doing.
    HostReport {
        /// The host.
        host_id: String,
        /// Epoch of the lease that it is about.
        epoch: u32,
        /// How it is found.
        verdict: HostVerdict,
        /// Through it to the endpoint and back, the middle of the last seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rtt_ms: Option<f64>,
        /// 95 of 100 datagrams keep within this of the middle.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jitter_ms: Option<f64>,
        /// Of the worse direction.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        loss_percent: Option<f64>,
    },
    /// A host tells that one of its members misbehaves.
    MemberReport {
        /// The member.
        peer_id: String,
        /// What it does.
        verdict: MemberVerdict,
        /// Datagrams that were dropped for it since the last report.
        dropped: u64,
    },
}

/// Longest notice, characters.
pub const MAX_NOTICE: usize = 500;

/// Why a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum EndedReason {
    /// No reason was told.
    #[default]
    Ended,
    /// Its player left.
    Left,
    /// The same device joined the zone anew.
    Replaced,
    /// Nothing attached to it in time.
    Unused,
    /// The endpoint ended it.
    Endpoint,
    /// Its device or account was revoked.
    Revoked,
    /// Its account or device is banned.
    Banned,
    /// Staff ended it.
    Staff,
    /// It could not be set up.
    Fault,
    /// The coordinator stops.
    Stopped,
}

impl EndedReason {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Left => "left",
            Self::Replaced => "replaced",
            Self::Unused => "unused",
            Self::Endpoint => "endpoint",
            Self::Revoked => "revoked",
            Self::Banned => "banned",
            Self::Staff => "staff",
            Self::Fault => "fault",
            Self::Stopped => "stopped",
        }
    }

    /// What a person is told.
    pub fn code(self) -> ProblemCode {
        match self {
            Self::Revoked => ProblemCode::DeviceRevoked,
            Self::Banned => ProblemCode::Banned,
            Self::Fault => ProblemCode::CoordinatorFault,
            Self::Endpoint => ProblemCode::LinkLost,
            Self::Staff => ProblemCode::Forbidden,
            Self::Ended | Self::Left | Self::Replaced | Self::Unused | Self::Stopped => {
                ProblemCode::UnknownSession
            }
        }
    }
}

/// An NPC, as the AI service says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NpcView {
    /// Its id there.
    pub npc_id: String,
    /// Its state, an object whose fields are the AI service's; `null`: there is no such NPC any more.
    pub state: Value,
    /// When the AI service said so, as it wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// What the coordinator sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ServerSignal {
    /// The room was entered.
    SessionJoined {
        /// The session.
        session_id: String,
        /// Members that were there before.
        peers: Vec<String>,
    },
    /// Somebody entered the room.
    PeerJoined {
        /// Who.
        peer_id: String,
    },
    /// Somebody left the room.
    PeerLeft {
        /// Who.
        peer_id: String,
    },
    /// The room was left.
    SessionLeft {
        /// The session.
        session_id: String,
    },
    /// A relayed offer.
    Offer {
        /// Who sent it, as the coordinator knows it.
        from: String,
        /// As it was sent.
        sdp: Value,
        /// When it was relayed, RFC 3339.
        timestamp: String,
    },
    /// A relayed answer.
    Answer {
        /// Who sent it.
        from: String,
        /// As it was sent.
        sdp: Value,
        /// When it was relayed, RFC 3339.
        timestamp: String,
    },
    /// A relayed candidate.
    IceCandidate {
        /// Who sent it.
        from: String,
        /// As it was sent.
        candidate: Value,
        /// When it was relayed, RFC 3339.
        timestamp: String,
    },
    /// To a launcher: the hosts of its session from now on. Those that are not named are to be left.
    Hosts {
        /// At most one for each way.
        hosts: Vec<HostOffer>,
        /// Why they are others than before.
        reason: HostsReason,
    },
    /// To launchers and hosts: what is allowed in the zone from now on.
    Policy {
        /// Signed by the coordinator.
        policy: SignedPolicy,
    },
    /// To a launcher: the session has ended. The last signal about it; `session-left` follows for
    /// whoever was in its room.
    SessionEnded {
        /// What a person is told.
        code: ProblemCode,
        /// Why.
        #[serde(default)]
        reason: EndedReason,
    },
    /// To launchers: staff says something to the players.
    Notice {
        /// What, 1 to [`MAX_NOTICE`] characters; line breaks are the only control characters.
        text: String,
        /// Account name of who says it.
        from: String,
        /// To the players of this zone; none: to all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone_id: Option<String>,
        /// When it was said, RFC 3339.
        timestamp: String,
    },
    /// To launchers: what the AI service says of NPCs of the session's zone. Those that are not named
    /// are as they were.
    NpcState {
        /// The zone.
        zone_id: String,
        /// Those that have changed; to a newcomer all, perhaps in several signals.
        npcs: Vec<NpcView>,
    },
    /// To a host: carry this member. Told again when its epoch changes.
    Serve {
        /// The member.
        member: Member,
    },
    /// To a host: no longer carry this member.
    Unserve {
        /// The member.
        peer_id: String,
        /// Why.
        reason: HostsReason,
    },
    /// To a host that drains: its last member was moved.
    Drained,
    /// The last message could not be carried out.
    Error {
        /// Stable code.
        code: ProblemCode,
        /// English text for a log.
        message: String,
        /// The receiver that it was for, where that is what is wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
}
