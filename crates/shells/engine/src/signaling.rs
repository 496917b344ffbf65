//! One WebRTC set-up with the endpoint or a host, through the session's signaling socket.
//!
//! The offer is signed with the device key, and the answer has to be signed with the key that the
//! other side was certified for: whoever carries signaling can hinder the set-up, and not stand in the
//! middle of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use warp_link::Carrier;
use warp_link::peer::{LocalCandidates, Offerer, PeerConfig, PeerError};
use warp_link::websocket::ConnectError;
use warp_link_core::Identity;
use warp_link_core::descriptions::{Offered, check_answer, sign_offer};
use warp_protocol::identity::{PublicKey, RefusedReason};
use warp_protocol::signal::{ClientSignal, ServerSignal, SignedDescription};

use crate::room::{Room, Talk};

/// Why a WebRTC path did not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("signaling socket: {0}")]
    Connect(ConnectError),
    #[error("the access token was refused")]
    Unauthorized,
    #[error("signaling ended before the path was open")]
    Ended,
    #[error("the coordinator refused a message: {0}")]
    Refused(String),
    #[error("the answer is not believed: {0}")]
    Untrusted(RefusedReason),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl From<ConnectError> for SetupError {
    fn from(error: ConnectError) -> Self {
        if error.needs_sign_in() {
            Self::Unauthorized
        } else {
            Self::Connect(error)
        }
    }
}

/// The keys of the descriptions that are exchanged with one peer.
pub(crate) struct Signing {
    session_id: String,
    device: Identity,
    peer: PublicKey,
    /// An answer without a signature is refused.
    required: bool,
    /// Number of the last offer.
    offers: AtomicU64,
    refused: AtomicBool,
}

fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

impl Signing {
    pub(crate) fn new(session_id: &str, device: Identity, peer: PublicKey, required: bool) -> Self {
        Self {
            session_id: session_id.to_owned(),
            device,
            peer,
            required,
            // A host that is connected to again has believed offers of this session before, and numbers
            // from the clock are above those.
            offers: AtomicU64::new(unix_millis()),
            refused: AtomicBool::new(false),
        }
    }

    /// True the first time.
    pub(crate) fn is_first_refusal(&self) -> bool {
        !self.refused.swap(true, Ordering::Relaxed)
    }

    fn sign(&self, offer: String) -> (SignedDescription, Offered) {
        let number = self.offers.fetch_add(1, Ordering::Relaxed) + 1;
        sign_offer(&self.device, &self.session_id, number, offer)
    }

    /// The text of an answer that is believed.
    fn believe(&self, offered: &Offered, answer: &Value) -> Result<String, RefusedReason> {
        match SignedDescription::read(answer) {
            Ok(signed) => {
                check_answer(&self.peer, &self.session_id, offered, &signed)?;
                Ok(signed.sdp)
            }
            Err(reason) if self.required || answer.get("signature").is_some() => Err(reason),
            // An endpoint that does not sign yet: text, or an object as browsers write it.
            Err(reason) => answer
                .as_str()
                .or_else(|| answer.get("sdp").and_then(Value::as_str))
                .map(str::to_owned)
                .ok_or(reason),
        }
    }
}

/// Offers to `peer` in the session's room and waits until the data channel is open. The offerer has to
/// live as long as the carrier.
pub(crate) async fn open_peer(
    room: &Room,
    peer: &str,
    signing: &Signing,
    config: PeerConfig,
) -> Result<(Carrier, Offerer), SetupError> {
    let limit = config.connect_timeout;
    let talk = tokio::time::timeout(limit, room.talk(peer))
        .await
        .map_err(|_| SetupError::Timeout(limit))??;
    let (offerer, candidates) = Offerer::new(config).await?;
    let negotiation = negotiate(talk, &offerer, candidates, signing);
    let outcome = tokio::time::timeout(limit, Box::pin(negotiation))
        .await
        .unwrap_or(Err(SetupError::Timeout(limit)));
    match outcome {
        Ok(carrier) => Ok((carrier, offerer)),
        Err(error) => {
            offerer.close().await;
            Err(error)
        }
    }
}

async fn negotiate(
    mut talk: Talk,
    offerer: &Offerer,
    mut candidates: LocalCandidates,
    signing: &Signing,
) -> Result<Carrier, SetupError> {
    let peer = talk.peer.clone();
    let candidate_for = |candidate| ClientSignal::IceCandidate {
        to: peer.clone(),
        candidate,
    };
    let (offer, offered) = signing.sign(offerer.create_offer().await?);
    talk.say(ClientSignal::Offer {
        to: peer.clone(),
        sdp: offer.to_value(),
    })
    .await?;
    let mut more = true;
    loop {
        tokio::select! {
            carrier = offerer.opened() => return Ok(carrier?),
            candidate = candidates.next(), if more => match candidate {
                Some(candidate) => talk.say(candidate_for(candidate)).await?,
                None => more = false,
            },
            signal = talk.next() => match signal? {
                ServerSignal::Answer { sdp, .. } => {
                    let answer = signing
                        .believe(&offered, &sdp)
                        .map_err(SetupError::Untrusted)?;
                    offerer.accept_answer(&answer).await?;
                }
                ServerSignal::IceCandidate { candidate, .. } => {
                    if let Err(error) = offerer.add_remote_candidate(&candidate).await {
                        tracing::debug!(%error, "a candidate of the other side was not taken");
                    }
                }
                ServerSignal::Error { code, message, .. } => {
                    return Err(SetupError::Refused(format!("{code:?}: {message}")));
                }
                _ => {}
            }
        }
    }
}
