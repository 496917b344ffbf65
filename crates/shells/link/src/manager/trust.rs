//! Descriptions that are signed by the device keys of the two peers, so that whoever carries signaling
//! cannot put a DTLS fingerprint of its own into them.
//!
//! What is signed is that of [`warp_link_core::descriptions`]. Its session names the two peers and the
//! attempt, its number the round, so that a description is good for its own place only; an answer
//! also names the offer that it answers. Refusals and the wish for another round are signed in the same
//! way, because they end a connection or interrupt it, which whoever carries signaling cannot do
//! otherwise. Candidates are not signed: a false one leads nowhere, because DTLS fails there.

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
    /// Ed25519, 128 hexadecimal digits; `None` for a candidate, and where nothing is signed.
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
        let Words {
            kind,
            at,
            said,
            text,
        } = words(signal)?;
        let names = [&*self.ours, &*self.theirs];
        match kind {
            DescriptionKind::Offer => {
                let session = session(&**trust, said, at.0, names);
                let (signed, offered) = sign_offer(trust.identity(), &session, nonce(at.1), text);
                if said == OFFER {
                    self.made = Some(Deed { at, offered });
                }
                Some(signed.signature)
            }
            DescriptionKind::Answer => {
                let session = session(&**trust, said, at.0, names);
                // Only an offer that was believed is answered.
                let deed = self.believed.filter(|deed| deed.at == at)?;
                let signed = sign_answer(trust.identity(), &session, &deed.offered, text);
                Some(signed.signature)
            }
        }
    }

    /// Whether the peer has said this.
    pub(super) fn check(&self, signed: &SignedSignal) -> Verdict {
        let (Some(trust), Some(words)) = (&self.trust, words(&signed.signal)) else {
            return Verdict::Said;
        };
        let Words {
            kind,
            at,
            said,
            text,
        } = words;
        let Some(key) = trust.key(&self.theirs) else {
            return Verdict::Refused(RefusedReason::CertificateMissing);
        };
        let Some(signature) = signed.signature.clone() else {
            return Verdict::Refused(RefusedReason::DescriptionUnsigned);
        };
        let description = SignedDescription {
            kind,
            sdp: text,
            nonce: nonce(at.1),
            signature,
        };
        let session = session(&**trust, said, at.0, [&self.theirs, &self.ours]);
        match kind {
            // Which offers are old news the machine knows.
            DescriptionKind::Offer => {
                match check_offer(&key, &session, u64::from(at.1), &description) {
                    Ok(offered) if said == OFFER => Verdict::Offered(Deed { at, offered }),
                    Ok(_) => Verdict::Said,
                    Err(reason) => Verdict::Refused(reason),
                }
            }
            DescriptionKind::Answer => {
                let Some(made) = self.made.filter(|made| made.at == at) else {
                    return Verdict::Old;
                };
                match check_answer(&key, &session, &made.offered, &description) {
                    Ok(()) => Verdict::Said,
                    Err(reason) => Verdict::Refused(reason),
                }
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

/// What comes of what claims to be the peer's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    /// It has said it.
    Said,
    /// The same, and it is an offer: for [`Notary::believe`] once it is taken.
    Offered(Deed),
    /// An answer to an offer that was not our last one: of no use to anybody.
    Old,
    /// It has not said it.
    Refused(RefusedReason),
}

/// What is signed of a signal.
struct Words {
    kind: DescriptionKind,
    /// Attempt and round.
    at: (AttemptId, u32),
    /// Keeps what is said to one end from being taken for something else.
    said: &'static str,
    text: String,
}

/// What an offer says.
const OFFER: &str = "offer";

/// `None`: it is not signed.
fn words(signal: &Signal) -> Option<Words> {
    use DescriptionKind::{Answer, Offer};
    let (kind, at, said, text) = match signal {
        Signal::Offer { id, sdp } => (Offer, (*id, 0), OFFER, sdp.clone()),
        Signal::Restart { id, round, sdp } => (Offer, (*id, *round), OFFER, sdp.clone()),
        Signal::Answer { id, newest, sdp } => {
            let newest = newest.map_or_else(String::new, written);
            (Answer, (*id, 0), "answer", format!("{newest}\n{sdp}"))
        }
        Signal::Restarted { id, round, sdp } => {
            (Answer, (*id, *round), "answer", format!("\n{sdp}"))
        }
        Signal::WantRestart { id, round } => (Offer, (*id, *round), "want", String::new()),
        Signal::Refuse { id, code } => (Offer, (*id, 0), "refuse", code.code().to_owned()),
        Signal::Candidate { .. } => return None,
    };
    Some(Words {
        kind,
        at,
        said,
        text,
    })
}

fn written(id: AttemptId) -> String {
    let AttemptId {
        incarnation,
        number,
        greater,
    } = id;
    format!("{incarnation}.{number}.{greater}")
}

fn nonce(round: u32) -> u64 {
    u64::from(round) + 1
}

/// Names who says what to whom, and the attempt. The lengths keep names apart that have each other's
/// letters.
fn session(trust: &dyn Trust, said: &str, id: AttemptId, [from, to]: [&str; 2]) -> String {
    format!(
        "{} {said} {}:{from} {}:{to} {}",
        trust.session(),
        from.len(),
        to.len(),
        written(id),
    )
}
