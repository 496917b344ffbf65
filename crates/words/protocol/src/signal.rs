//! Messages of the signaling WebSocket, `/api/v1/signaling/ws`: JSON objects in text frames.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ProblemCode;
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
    /// The last message could not be carried out.
    Error {
        /// Stable code.
        code: ProblemCode,
        /// English text for a log.
        message: String,
    },
}
