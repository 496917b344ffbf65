//! The endpoint of one zone, on a volunteer's machine beside the game server.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use warp_link_core::verify;
use warp_protocol::Secret;
use warp_protocol::endpoint::{HostedClaim, SessionSpec};
use warp_protocol::hosting::{MAX_POLICY, SignedPolicy, ZonePolicy, policy_message};
use warp_protocol::identity::{PublicKey, SIGNATURE};

use super::{Broken, Remote};
use crate::GrantRefused;
use crate::endpoint::unix_now;

/// How it shows whose it is.
#[async_trait]
pub trait HostedAccess: Send + Sync {
    /// The account's access token; `None`: nobody is signed in.
    fn token(&self) -> Option<Secret>;
    /// Gets a new access token in place of one that was refused.
    async fn renew(&self);
    /// The certificate of its device key, hex; `None`: there is none now.
    async fn certificate(&self) -> Option<String>;
}

/// Which zone, and as whom.
#[derive(Clone)]
pub struct Hosted {
    /// The zone.
    pub zone_id: String,
    /// What it is ready to dial.
    pub upstreams: Vec<SocketAddr>,
    /// As whom.
    pub access: Arc<dyn HostedAccess>,
}

impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted")
            .field("zone_id", &self.zone_id)
            .field("upstreams", &self.upstreams)
            .finish_non_exhaustive()
    }
}

impl Remote {
    /// What it shows in its first message.
    pub(super) async fn claim(&self) -> Result<Option<HostedClaim>, Broken> {
        let Some(hosted) = &self.inner.config.hosted else {
            return Ok(None);
        };
        let certificate = hosted.access.certificate().await;
        Ok(Some(HostedClaim {
            zone_id: hosted.zone_id.clone(),
            certificate: certificate.ok_or(Broken::NotSignedIn)?,
            upstreams: hosted.upstreams.clone(),
        }))
    }

    /// Gets a new access token when the old one was the reason.
    pub(super) async fn renew_access(&self, broken: &Broken) {
        if let (Some(hosted), Broken::Connect(error)) = (&self.inner.config.hosted, broken)
            && error.needs_sign_in()
        {
            hosted.access.renew().await;
        }
    }

    /// Takes what the coordinator says that it may dial.
    pub(super) fn take_policy(
        &self,
        coordinator: &PublicKey,
        signed: Option<&SignedPolicy>,
    ) -> Result<(), Broken> {
        let Some(hosted) = &self.inner.config.hosted else {
            return Ok(());
        };
        let policy = signed
            .and_then(|signed| read(coordinator, signed))
            .filter(|policy| policy.zone_id == hosted.zone_id)
            .ok_or(Broken::Unexpected("a policy that is not the zone's"))?;
        *self.inner.policy.lock() = Some(policy);
        Ok(())
    }

    /// The endpoint of a hosted zone takes sessions of that zone, and dials what its policy and its
    /// owner both named.
    pub(super) fn check_hosted(&self, spec: &SessionSpec) -> Result<(), GrantRefused> {
        let Some(hosted) = &self.inner.config.hosted else {
            return Ok(());
        };
        let policy = self.inner.policy.lock();
        let allowed = policy.as_ref().is_some_and(|policy| {
            policy.expires > unix_now()
                && spec.who.zone_id == policy.zone_id
                && spec.game.addresses().all(|address| {
                    policy.upstreams.contains(&address) && hosted.upstreams.contains(&address)
                })
        });
        allowed.then_some(()).ok_or(GrantRefused::NotAllowed)
    }
}

/// A policy that the coordinator signed.
fn read(coordinator: &PublicKey, signed: &SignedPolicy) -> Option<ZonePolicy> {
    let mut signature = [0; SIGNATURE];
    let message = policy_message(&signed.policy);
    let good = signed.policy.len() <= MAX_POLICY
        && hex::decode_to_slice(&signed.signature, &mut signature).is_ok()
        && verify(coordinator, &message, &signature);
    if !good {
        return None;
    }
    serde_json::from_str(&signed.policy).ok()
}
