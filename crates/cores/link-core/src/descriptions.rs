//! WebRTC descriptions that are signed by the keys of the session link.
//!
//! Whoever carries signaling could put another DTLS fingerprint into a description and stand in the
//! middle of the data channel. So the launcher signs its offer with its device key and the endpoint
//! its answer with its own: session, number and the whole text, and in an answer also which offer it
//! answers. Candidates are not signed; a false one leads nowhere, because DTLS fails there.

use ring::digest::{SHA256, digest};
use warp_protocol::identity::{DescriptionKind, DescriptionWords, PublicKey, RefusedReason};
use warp_protocol::signal::SignedDescription;

use crate::identity::{Identity, verify};

/// An offer that was made or believed: what its answer has to name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered {
    nonce: u64,
    digest: [u8; 32],
}

impl Offered {
    /// Number of the offer in its session.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn message(
    kind: DescriptionKind,
    session_id: &str,
    nonce: u64,
    sdp: &str,
    offer: [u8; 32],
) -> Vec<u8> {
    let words = DescriptionWords {
        kind,
        session_id,
        nonce,
        sdp: sha256(sdp.as_bytes()),
        offer,
    };
    words.message()
}

fn signed(
    identity: &Identity,
    kind: DescriptionKind,
    nonce: u64,
    sdp: String,
    message: &[u8],
) -> SignedDescription {
    // A key that cannot sign gives a description that nobody believes.
    let signature = identity.sign(message).unwrap_or([0; 64]);
    SignedDescription {
        kind,
        sdp,
        nonce,
        signature: hex::encode(signature),
    }
}

fn believe(
    key: &PublicKey,
    message: &[u8],
    description: &SignedDescription,
) -> Result<(), RefusedReason> {
    let signature = description.signature_bytes();
    match signature {
        Some(signature) if verify(key, message, &signature) => Ok(()),
        _ => Err(RefusedReason::DescriptionForged),
    }
}

/// Signs an offer. Its number has to be greater than that of every offer of the session before.
pub fn sign_offer(
    identity: &Identity,
    session_id: &str,
    nonce: u64,
    sdp: String,
) -> (SignedDescription, Offered) {
    let kind = DescriptionKind::Offer;
    let message = message(kind, session_id, nonce, &sdp, [0; 32]);
    let offered = Offered {
        nonce,
        digest: sha256(&message),
    };
    (signed(identity, kind, nonce, sdp, &message), offered)
}

/// Checks an offer of the holder of `key`; `last` is the number of the last one that was believed in
/// this session, or 0.
///
/// # Errors
/// It is not believed, and why.
pub fn check_offer(
    key: &PublicKey,
    session_id: &str,
    last: u64,
    offer: &SignedDescription,
) -> Result<Offered, RefusedReason> {
    let kind = DescriptionKind::Offer;
    let message = message(kind, session_id, offer.nonce, &offer.sdp, [0; 32]);
    believe(key, &message, offer)?;
    if offer.kind != kind {
        return Err(RefusedReason::DescriptionForged);
    }
    if offer.nonce <= last {
        return Err(RefusedReason::DescriptionReplayed);
    }
    Ok(Offered {
        nonce: offer.nonce,
        digest: sha256(&message),
    })
}

/// Signs the answer to an offer that was believed.
pub fn sign_answer(
    identity: &Identity,
    session_id: &str,
    offered: &Offered,
    sdp: String,
) -> SignedDescription {
    let kind = DescriptionKind::Answer;
    let message = message(kind, session_id, offered.nonce, &sdp, offered.digest);
    signed(identity, kind, offered.nonce, sdp, &message)
}

/// Checks the answer of the holder of `key` to the offer that was made.
///
/// # Errors
/// It is not believed, and why.
pub fn check_answer(
    key: &PublicKey,
    session_id: &str,
    offered: &Offered,
    answer: &SignedDescription,
) -> Result<(), RefusedReason> {
    let kind = DescriptionKind::Answer;
    if answer.kind != kind {
        return Err(RefusedReason::DescriptionForged);
    }
    if answer.nonce != offered.nonce {
        return Err(RefusedReason::DescriptionReplayed);
    }
    let message = message(kind, session_id, offered.nonce, &answer.sdp, offered.digest);
    believe(key, &message, answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::identity;

    const SDP: &str = "v=0\r\na=fingerprint:sha-256 AA\r\na=ice-ufrag:abcd\r\n";
    const FORGED: RefusedReason = RefusedReason::DescriptionForged;
    const REPLAYED: RefusedReason = RefusedReason::DescriptionReplayed;

    #[test]
    fn an_offer_and_its_answer_are_believed() {
        let (device, endpoint) = (identity(1), identity(2));
        let (offer, made) = sign_offer(&device, "s", 3, SDP.into());
        let read = SignedDescription::read(&offer.to_value()).unwrap();
        let believed = check_offer(&device.key(), "s", 2, &read).unwrap();
        assert_eq!(believed, made);
        let answer = sign_answer(&endpoint, "s", &believed, SDP.into());
        let read = SignedDescription::read(&answer.to_value()).unwrap();
        assert_eq!(check_answer(&endpoint.key(), "s", &made, &read), Ok(()));
    }

    #[test]
    fn a_changed_foreign_or_repeated_offer_is_refused() {
        let (device, mallory) = (identity(1), identity(4));
        let (offer, _) = sign_offer(&device, "s", 3, SDP.into());
        let check = |session: &str, last, offer: &SignedDescription| {
            check_offer(&device.key(), session, last, offer).unwrap_err()
        };
        let swapped = SignedDescription {
            sdp: SDP.replace("AA", "BB"),
            ..offer.clone()
        };
        assert_eq!(check("s", 0, &swapped), FORGED);
        let renumbered = SignedDescription {
            nonce: 4,
            ..offer.clone()
        };
        assert_eq!(check("s", 3, &renumbered), FORGED);
        let called_answer = SignedDescription {
            kind: DescriptionKind::Answer,
            ..offer.clone()
        };
        assert_eq!(check("s", 0, &called_answer), FORGED);
        for signature in ["", "00", &"0".repeat(128), &"z".repeat(128)] {
            let bad = SignedDescription {
                signature: signature.into(),
                ..offer.clone()
            };
            assert_eq!(check("s", 0, &bad), FORGED, "{signature}");
        }
        assert_eq!(check("another session", 0, &offer), FORGED);
        let (foreign, _) = sign_offer(&mallory, "s", 3, SDP.into());
        assert_eq!(check("s", 0, &foreign), FORGED);
        assert_eq!(check("s", 3, &offer), REPLAYED);
        assert_eq!(check("s", u64::MAX, &offer), REPLAYED);
    }

    #[test]
    fn an_answer_to_another_offer_or_the_offer_itself_is_refused() {
        let (device, endpoint) = (identity(1), identity(2));
        let (offer, made) = sign_offer(&device, "s", 3, SDP.into());
        let (_, newer) = sign_offer(&device, "s", 4, SDP.into());
        let (_, other) = sign_offer(&device, "s", 3, "v=0\r\n".into());
        let answer = sign_answer(&endpoint, "s", &made, SDP.into());
        let check = |session: &str, made: &Offered, answer: &SignedDescription| {
            check_answer(&endpoint.key(), session, made, answer).unwrap_err()
        };
        assert_eq!(check("s", &newer, &answer), REPLAYED);
        assert_eq!(check("s", &other, &answer), FORGED);
        assert_eq!(check("t", &made, &answer), FORGED);
        let swapped = SignedDescription {
            sdp: SDP.replace("AA", "BB"),
            ..answer.clone()
        };
        assert_eq!(check("s", &made, &swapped), FORGED);
        // Reflected: what the launcher signed comes back to it.
        assert_eq!(check("s", &made, &offer), FORGED);
        let as_answer = SignedDescription {
            kind: DescriptionKind::Answer,
            ..offer
        };
        let own = check_answer(&device.key(), "s", &made, &as_answer);
        assert_eq!(own, Err(FORGED), "even with one key on both sides");
    }

    #[test]
    fn text_and_objects_without_a_signature_are_unsigned() {
        for json in [
            r#""v=0""#,
            "null",
            "7",
            "[]",
            r#"{"type":"offer","sdp":"v=0"}"#,
            r#"{"type":"offer","sdp":"v=0","nonce":1}"#,
            r#"{"type":"offer","sdp":"v=0","nonce":-1,"signature":""}"#,
            r#"{"type":"dance","sdp":"v=0","nonce":1,"signature":""}"#,
        ] {
            let value = serde_json::from_str(json).unwrap();
            let read = SignedDescription::read(&value);
            assert_eq!(read, Err(RefusedReason::DescriptionUnsigned), "{json}");
        }
    }
}
