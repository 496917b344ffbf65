//! How a sender key comes to another member, and how that member says so.
//!
//! HPKE (RFC 9180) seals it to the recipient's session key in base mode: who sent it is proven by
//! the signature of the sender's device around everything, which also works for members who have
//! never met. The text that is signed, and HPKE's `info`, name both ends by their session keys and
//! their times of joining, so nothing fits another pair, another zone or an earlier membership.

use hpke::aead::AesGcm256;
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::refusal::Refusal;
use crate::roster::{Member, Zone};
use crate::seed::Seed;
use crate::wire::{CONFIRM_LEN, Common, HANDOVER_LEN, Kind, Message, SEALED_KEY, SIGNATURE, TAG};

type Private = <X25519HkdfSha256 as Kem>::PrivateKey;
type Public = <X25519HkdfSha256 as Kem>::PublicKey;
type Encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey;
type Tag = hpke::aead::AeadTag<AesGcm256>;

/// Bytes of an encapsulated X25519 key.
const ENCAPSULATED: usize = 32;

/// The device key of this install.
pub struct DeviceKey(Ed25519KeyPair);

/// Not an Ed25519 key in PKCS#8 DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device key is not an Ed25519 key in PKCS#8 DER")]
pub struct NotEd25519;

impl DeviceKey {
    /// Reads a PKCS#8 DER document, as `ring::signature::Ed25519KeyPair::generate_pkcs8` makes it.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, NotEd25519> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map(Self)
            .map_err(|_| NotEd25519)
    }

    /// The public key, as [`Member::device`] has it.
    pub fn public(&self) -> [u8; 32] {
        let mut public = [0; 32];
        public.copy_from_slice(self.0.public_key().as_ref());
        public
    }

    pub(crate) fn sign(&self, text: &[u8]) -> [u8; SIGNATURE] {
        let mut signature = [0; SIGNATURE];
        signature.copy_from_slice(self.0.sign(text).as_ref());
        signature
    }
}

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceKey([secret])")
    }
}

/// The key pair of one lane. The private half wipes itself.
pub(crate) struct SessionKey {
    private: Private,
    pub(crate) public: [u8; 32],
}

impl SessionKey {
    pub(crate) fn new(seed: &mut Seed) -> Self {
        let (private, public) = X25519HkdfSha256::gen_keypair_with_rng(&mut seed.draw());
        Self {
            private,
            public: public.to_bytes().into(),
        }
    }
}

/// A text for one purpose, one zone, one sender and one recipient.
fn bound(purpose: &[u8], zone: &Zone, from: &Member, to: &Member) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(purpose);
    text.extend_from_slice(zone.digest());
    for member in [from, to] {
        text.extend_from_slice(&member.joined.to_be_bytes());
        text.extend_from_slice(&member.device);
        text.extend_from_slice(&member.session);
    }
    text
}

fn info(zone: &Zone, from: &Member, to: &Member) -> Vec<u8> {
    bound(b"warp sealing sender key 1", zone, from, to)
}

fn signed_text(kind: Kind, zone: &Zone, from: &Member, to: &Member, signed: &[u8]) -> Vec<u8> {
    let purpose: &[u8] = match kind {
        Kind::Handover => b"warp sealing handover 1",
        Kind::Frame | Kind::Confirm => b"warp sealing confirm 1",
    };
    let mut text = bound(purpose, zone, from, to);
    text.extend_from_slice(signed);
    text
}

/// Who sends what to whom.
pub(crate) struct Route<'a> {
    pub(crate) zone: &'a Zone,
    pub(crate) from: &'a Member,
    pub(crate) to: &'a Member,
}

impl Route<'_> {
    fn sign(&self, kind: Kind, device: &DeviceKey, out: &mut Vec<u8>) {
        let text = signed_text(kind, self.zone, self.from, self.to, out);
        out.extend_from_slice(&device.sign(&text));
    }

    /// Did the sender's device sign this?
    pub(crate) fn verify(&self, message: &Message<'_>) -> Result<(), Refusal> {
        let text = signed_text(message.kind, self.zone, self.from, self.to, message.signed);
        UnparsedPublicKey::new(&ED25519, &self.from.device)
            .verify(&text, message.signature)
            .map_err(|_| Refusal::Tampered)
    }

    /// A handover. `None`: the recipient's session key is none that anything can be sealed to.
    pub(crate) fn handover(
        &self,
        common: Common,
        key: &[u8; 32],
        device: &DeviceKey,
        seed: &mut Seed,
    ) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(HANDOVER_LEN);
        common.write_message(Kind::Handover, self.to.id, &mut out);
        let public = Public::from_bytes(&self.to.session).ok()?;
        let mut sealed = Zeroizing::new(*key);
        let (encapsulated, tag) = hpke::single_shot_seal_inout_detached_with_rng::<
            AesGcm256,
            HkdfSha256,
            X25519HkdfSha256,
        >(
            &OpModeS::Base,
            &public,
            &info(self.zone, self.from, self.to),
            InOutBuf::from(sealed.as_mut_slice()),
            &out,
            &mut seed.draw(),
        )
        .ok()?;
        out.extend_from_slice(&encapsulated.to_bytes());
        out.extend_from_slice(sealed.as_slice());
        out.extend_from_slice(&tag.to_bytes());
        self.sign(Kind::Handover, device, &mut out);
        Some(out)
    }

    /// The key in a handover whose signature was verified.
    pub(crate) fn take_key(
        &self,
        message: &Message<'_>,
        session: &SessionKey,
    ) -> Result<Zeroizing<[u8; 32]>, Refusal> {
        let open = || {
            let (encapsulated, sealed) = message.body.split_at_checked(ENCAPSULATED)?;
            let (sealed, tag) = sealed.split_at_checked(SEALED_KEY - TAG)?;
            let mut key = Zeroizing::new([0; SEALED_KEY - TAG]);
            key.copy_from_slice(sealed);
            hpke::single_shot_open_inout_detached::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
                &OpModeR::Base,
                &session.private,
                &Encapsulated::from_bytes(encapsulated).ok()?,
                &info(self.zone, self.from, self.to),
                InOutBuf::from(key.as_mut_slice()),
                message.head,
                &Tag::from_bytes(tag).ok()?,
            )
            .ok()?;
            Some(key)
        };
        open().ok_or(Refusal::Tampered)
    }

    /// Says that a handover has come.
    pub(crate) fn confirm(&self, common: Common, device: &DeviceKey) -> Vec<u8> {
        let mut out = Vec::with_capacity(CONFIRM_LEN);
        common.write_message(Kind::Confirm, self.to.id, &mut out);
        self.sign(Kind::Confirm, device, &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use hpke::aead::AesGcm128;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// RFC 9180 A.1.1. It has no vectors of this key exchange with AES-256-GCM; that cipher has its
    /// own in the `key` module.
    #[test]
    fn the_key_exchange_is_that_of_rfc_9180() {
        let (private, public) = X25519HkdfSha256::derive_keypair(&bytes(
            "6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037",
        ));
        assert_eq!(
            hex::encode(public.to_bytes()),
            "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d"
        );
        let encapsulated = Encapsulated::from_bytes(&bytes(
            "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
        ))
        .unwrap();
        let sealed = bytes(concat!(
            "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a9",
            "6d8770ac83d07bea87e13c512a"
        ));
        let (text, tag) = sealed.split_at(sealed.len() - TAG);
        let mut text = text.to_vec();
        hpke::single_shot_open_inout_detached::<AesGcm128, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private,
            &encapsulated,
            &bytes("4f6465206f6e2061204772656369616e2055726e"),
            InOutBuf::from(text.as_mut_slice()),
            &bytes("436f756e742d30"),
            &hpke::aead::AeadTag::<AesGcm128>::from_bytes(tag).unwrap(),
        )
        .unwrap();
        assert_eq!(text, b"Beauty is truth, truth beauty");
    }
}
