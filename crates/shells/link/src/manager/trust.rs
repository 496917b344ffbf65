//! Descriptions that are signed by the device keys of the two peers, so that whoever carries signaling
//! cannot put a DTLS fingerprint of its own into them.
//!
//! What is signed is that of [`warp_link_core::descriptions`]. Its session names the two peers and the
//! attempt, its number the round, so that a description is good for its own place only; an answer
//! also names the offer that it answers. Candidates and refusals are not signed: what a false one can
//! do, whoever drops true ones can do as well.

use std::fmt::Debug;
use std::sync::Arc;

use warp_link_core::Identity;
use warp_link_core::descriptions::{Offered, check_answer, check_offer, sign_answer, sign_offer};
use warp_peer_core::{AttemptId, Signal};
use warp_protocol::identity::{DescriptionKind, PublicKey, RefusedReason};
use warp_protocol::signal::SignedDescription;

/// What is said to a peer, with the signature of a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSignal {
    /// What is said.
    pub signal: Signal,
    /// Ed25519, 128 hexadecimal digits; `None` for what is not signed.
    pub signature: Option<String>,
}

impl From<Signal> for SignedSignal {
    fn from(signal: Signal) -> Self {
        Self {
            signal,
            signature: None,
        }
    }
}

/// Who is who among the peers.
pub trait Trust: Debug + Send + Sync {
    /// What the peers have in common, such as the session that they meet in; the same at both ends.
    fn session(&self) -> &str;

    /// Our own device key.
    fn identity(&self) -> &Identity;

    /// The device key that a peer is certified for; `None`: it is nobody.
    fn key(&self, peer: &str) -> Option<PublicKey>;
}

/// Signs and checks what is said between us and one peer.
#[derive(Debug)]
pub(super) struct Notary {
    trust: Option<Arc<dyn Trust>>,
    ours: String,
    theirs: String,
    /// The offer that we signed last, and the one of theirs that counts.
    made: Option<Deed>,
    believed: Option<Deed>,
}

/// An offer: of an attempt and a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deed {
    at: (AttemptId, u32),
    offered: Offered,
}

impl Notary {
    /// Without `trust` nothing is signed, and everything believed.
    pub(super) fn new(trust: Option<Arc<dyn Trust>>, ours: &str, theirs: &str) -> Self {
        Self {
            trust,
            ours: ours.to_owned(),
            theirs: theirs.to_owned(),
            made: None,
            believed: None,
        }
    }

    /// Signs what is a description.
    pub(super) fn sign(&mut self, signal: Signal) -> SignedSignal {
        let signature = self.signature(&signal);
        SignedSignal { signal, signature }
    }

    fn signature(&mut self, signal: &Signal) -> Option<String> {
        let trust = self.trust.as_ref()?;
        match place(signal)? {
            (DescriptionKind::Offer, at, sdp) => {
                let session = session(&**trust, at.0, [&self.ours, &self.theirs]);
                let (signed, offered) =
                    sign_offer(trust.identity(), &session, nonce(at.1), sdp.to_owned());
                self.made = Some(Deed { at, offered });
                Some(signed.signature)
            }
            (DescriptionKind::Answer, at, sdp) => {
                let session = session(&**trust, at.0, [&self.theirs, &self.ours]);
                // Only an offer that was believed is answered.
                let deed = self.believed.filter(|deed| deed.at == at)?;
                let signed = sign_answer(trust.identity(), &session, &deed.offered, sdp.to_owned());
                Some(signed.signature)
            }
        }
    }

    /// Whether the peer has said this; yields an offer, for [`Notary::believe`] once it is taken.
    ///
    /// # Errors
    /// It has not.
    pub(super) fn check(&self, said: &SignedSignal) -> Result<Option<Deed>, RefusedReason> {
        let (Some(trust), Some((kind, at, sdp))) = (&self.trust, place(&said.signal)) else {
            return Ok(None);
        };
        let key = trust.key(&self.theirs);
        let key = key.ok_or(RefusedReason::CertificateMissing)?;
        let description = SignedDescription {
            kind,
            sdp: sdp.to_owned(),
            nonce: nonce(at.1),
            signature: (said.signature.clone()).ok_or(RefusedReason::DescriptionUnsigned)?,
        };
        match kind {
            DescriptionKind::Offer => {
                let session = session(&**trust, at.0, [&self.theirs, &self.ours]);
                // Which offers are old news the machine knows.
                let offered = check_offer(&key, &session, u64::from(at.1), &description)?;
                Ok(Some(Deed { at, offered }))
            }
            DescriptionKind::Answer => {
                let session = session(&**trust, at.0, [&self.ours, &self.theirs]);
                let made = self.made.filter(|made| made.at == at);
                let made = made.ok_or(RefusedReason::DescriptionReplayed)?;
                check_answer(&key, &session, &made.offered, &description)?;
                Ok(None)
            }
        }
    }

    /// The offer is the one to be answered, if it is of the connection that counts.
    pub(super) fn believe(&mut self, deed: Deed, current: Option<AttemptId>) {
        let older = |known: &Deed| known.at.0 == deed.at.0 && known.at.1 > deed.at.1;
        if current == Some(deed.at.0) && !self.believed.as_ref().is_some_and(older) {
            self.believed = Some(deed);
        }
    }
}

/// Kind and text of a description, and the attempt and round that it is of.
fn place(signal: &Signal) -> Option<(DescriptionKind, (AttemptId, u32), &str)> {
    match signal {
        Signal::Offer { id, sdp } => Some((DescriptionKind::Offer, (*id, 0), sdp)),
        Signal::Answer { id, sdp, .. } => Some((DescriptionKind::Answer, (*id, 0), sdp)),
        Signal::Restart { id, round, sdp } => Some((DescriptionKind::Offer, (*id, *round), sdp)),
        Signal::Restarted { id, round, sdp } => Some((DescriptionKind::Answer, (*id, *round), sdp)),
        Signal::WantRestart { .. } | Signal::Candidate { .. } | Signal::Refuse { .. } => None,
    }
}

fn nonce(round: u32) -> u64 {
    u64::from(round) + 1
}

/// Names the attempt. The lengths keep names apart that have each other's letters.
fn session(trust: &dyn Trust, id: AttemptId, [offerer, answerer]: [&str; 2]) -> String {
    let AttemptId {
        incarnation,
        number,
        greater,
    } = id;
    format!(
        "{} {}:{offerer} {}:{answerer} {incarnation}.{number}.{greater}",
        trust.session(),
        offerer.len(),
        answerer.len(),
    )
}
