//! A side's Ed25519 key.

use std::sync::Arc;

use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
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
    public: Vec<u8>,
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
        let public = key.public_key().ok_or(IdentityError::NotEd25519)?;
        let public = public.as_ref().to_vec();
        Ok(Self { key, public })
    }

    /// The public key: SubjectPublicKeyInfo in DER, 44 bytes.
    pub fn public_key(&self) -> &[u8] {
        &self.public
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
