//! Why a peer connection was not made.

use std::time::Duration;

/// Why a peer connection was not made, or a message from signaling not taken.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// There is no address to talk from.
    #[error("no network address of this machine can be used: check the network connection")]
    NoLocalAddress,
    /// The library refused to start, for instance because of the list of ICE servers.
    #[error("the peer connection could not be set up ({cause}): check the list of ICE servers")]
    Setup {
        /// What the library said.
        cause: String,
    },
    /// The other side's description cannot be used. Give this attempt up.
    #[error("the other side's session description cannot be used ({cause})")]
    BadDescription {
        /// What is wrong with it.
        cause: String,
    },
    /// One candidate cannot be used; the others still count.
    #[error("a candidate of the other side cannot be used ({cause})")]
    BadCandidate {
        /// What is wrong with it.
        cause: String,
    },
    /// The other side sent more candidates than a machine has.
    #[error("the other side sent more than {limit} candidates; the rest is ignored")]
    TooManyCandidates {
        /// How many are taken.
        limit: usize,
    },
    /// No way was found in time.
    #[error("no connection to the other side within {after:?}: a firewall may block UDP")]
    Timeout {
        /// The time allowed.
        after: Duration,
    },
    /// ICE tried everything and gave up.
    #[error("no way to the other side works: a firewall may block UDP")]
    Unreachable,
    /// The connection was closed before it was open, here or there.
    #[error("the peer connection was closed before it was open")]
    Closed,
    /// The carrier was handed out already.
    #[error("the carrier of this peer connection was taken already")]
    AlreadyTaken,
}

impl PeerError {
    /// Stable code for events and logs.
    pub fn code(&self) -> &'static str {
        match self {
            PeerError::NoLocalAddress => "p2p-no-local-address",
            PeerError::Setup { .. } => "p2p-setup",
            PeerError::BadDescription { .. } => "p2p-bad-description",
            PeerError::BadCandidate { .. } => "p2p-bad-candidate",
            PeerError::TooManyCandidates { .. } => "p2p-too-many-candidates",
            PeerError::Timeout { .. } => "p2p-timeout",
            PeerError::Unreachable => "p2p-unreachable",
            PeerError::Closed => "p2p-closed",
            PeerError::AlreadyTaken => "p2p-already-taken",
        }
    }
}
