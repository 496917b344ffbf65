//! The device key: what this install proves itself by. Made once, kept in the system's secret store.
//!
//! Without a store that works the key lives as long as the engine, which tells so. The bytes that are
//! read and written are wiped; the key inside the signing library lives until the engine
//! ends.

use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use warp_engine_core::event::TokenStore;
use warp_link_core::Identity;
use warp_protocol::{Problem, ProblemCode, Secret};

use crate::tokens;

/// The key of this install, and where it is kept.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) identity: Identity,
    pub(crate) kept: TokenStore,
}

/// Gives the install's key, making it where there is none yet.
///
/// # Errors
/// The system gave no random numbers.
pub(crate) async fn load(keyring: bool) -> Result<Device, Problem> {
    if keyring && let Some(identity) = kept().await {
        let kept = TokenStore::Keyring;
        return Ok(Device { identity, kept });
    }
    let (identity, secret) = make()?;
    let kept = if !keyring {
        TokenStore::Memory
    } else if let Err(problem) = tokens::keep_device(secret).await {
        tracing::info!(detail = ?problem.detail, "no secret store for the device key");
        TokenStore::MemoryNoKeyring
    } else {
        TokenStore::Keyring
    };
    tracing::info!(device = %identity.key(), ?kept, "a new device key");
    Ok(Device { identity, kept })
}

/// Forgets the key, which was revoked; the next one is new.
pub(crate) async fn forget(keyring: bool) {
    if keyring && let Err(problem) = tokens::forget_device().await {
        // None was kept there, or there is no store.
        tracing::debug!(detail = ?problem.detail, "no kept device key to forget");
    }
}

async fn kept() -> Option<Identity> {
    let secret = match tokens::read_device().await {
        Ok(secret) => secret?,
        Err(problem) => {
            tracing::debug!(detail = ?problem.detail, "the kept device key cannot be read");
            return None;
        }
    };
    let identity = read(&secret);
    if identity.is_none() {
        tracing::warn!("the kept device key is not one; a new one takes its place");
    }
    identity
}

fn read(secret: &Secret) -> Option<Identity> {
    let der = zeroize::Zeroizing::new(hex::decode(secret.reveal()).ok()?);
    Identity::from_pkcs8_der(&der).ok()
}

fn make() -> Result<(Identity, Secret), Problem> {
    let fault = |why: &str| Problem::new(ProblemCode::Internal, "device key").with_detail(why);
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .map_err(|_| fault("the system gave no random numbers"))?;
    let der = zeroize::Zeroizing::new(der.as_ref().to_vec());
    let identity = Identity::from_pkcs8_der(&der).map_err(|error| fault(&error.to_string()))?;
    Ok((identity, Secret::new(hex::encode(&*der))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_kept_is_the_same_again_and_rubbish_is_none() {
        let (identity, secret) = make().unwrap();
        assert_eq!(read(&secret).unwrap().key(), identity.key());
        assert_ne!(make().unwrap().0.key(), identity.key());
        for rubbish in ["", "zz", "00", &"00".repeat(85)] {
            assert!(read(&Secret::new(rubbish)).is_none(), "{rubbish}");
        }
    }

    #[tokio::test]
    async fn without_a_store_each_load_makes_a_key() {
        let first = load(false).await.unwrap();
        assert_eq!(first.kept, TokenStore::Memory);
        let second = load(false).await.unwrap();
        assert_ne!(second.identity.key(), first.identity.key());
    }
}
