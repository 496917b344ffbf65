//! A side's Ed25519 key.

use std::sync::Arc;

use ring::signature::{ED25519, UnparsedPublicKey};
use rustls::SignatureScheme;
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use warp_protocol::identity::{PublicKey, SIGNATURE};
use zeroize::Zeroizing;

/// The key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not an Ed25519 key in PKCS#8 DER.
    #[error("the key is not an Ed25519 key in PKCS#8 DER")]
    NotEd25519,
}

/// An Ed25519 key pair.
#[derive(Clone)]
pub struct Identity {
    key: Arc<dyn SigningKey>,
    public: PublicKey,
    spki: Vec<u8>,
}

impl Identity {
    /// Reads a PKCS#8 DER document, as `ring::signature::Ed25519KeyPair::generate_pkcs8` makes it.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, IdentityError> {
        let copy = Zeroizing::new(der.to_vec());
        let document = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(copy.as_slice()));
        let key = rustls::crypto::ring::sign::any_supported_type(&document)
            .map_err(|_| IdentityError::NotEd25519)?;
        if key.algorithm() != rustls::SignatureAlgorithm::ED25519 {
            return Err(IdentityError::NotEd25519);
        }
        let spki = key.public_key().ok_or(IdentityError::NotEd25519)?;
        let spki = spki.as_ref().to_vec();
        let public = PublicKey::from_spki(&spki).ok_or(IdentityError::NotEd25519)?;
        Ok(Self { key, public, spki })
    }

    /// The public key: SubjectPublicKeyInfo in DER, 44 bytes.
    pub fn public_key(&self) -> &[u8] {
        &self.spki
    }

    /// The public key.
    pub fn key(&self) -> PublicKey {
        self.public
    }

    /// Signs a message (Ed25519). `None` only if the library fails, for which it has no reason.
    pub fn sign(&self, message: &[u8]) -> Option<[u8; SIGNATURE]> {
        let signer = self.key.choose_scheme(&[SignatureScheme::ED25519])?;
        signer.sign(message).ok()?.try_into().ok()
    }

    pub(crate) fn signing_key(&self) -> Arc<dyn SigningKey> {
        Arc::clone(&self.key)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity([secret])")
    }
}

/// True when the holder of `key` signed `message` (Ed25519).
pub fn verify(key: &PublicKey, message: &[u8], signature: &[u8; SIGNATURE]) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, key.raw());
    key.verify(message, signature).is_ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A key of this number: PKCS#8 v1 (RFC 8410, section 7) around a seed.
    pub(crate) fn identity(number: u8) -> Identity {
        let mut der = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        der.extend([number; 32]);
        Identity::from_pkcs8_der(&der).unwrap()
    }

    #[test]
    fn what_is_signed_is_believed_from_its_key_only() {
        let (ours, other) = (identity(1), identity(2));
        let signature = ours.sign(b"words").unwrap();
        assert!(verify(&ours.key(), b"words", &signature));
        assert!(!verify(&ours.key(), b"word", &signature));
        assert!(!verify(&other.key(), b"words", &signature));
        assert_eq!(ours.key().spki(), ours.public_key());
    }
}
