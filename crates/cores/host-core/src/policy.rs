//! What the coordinator's policies allow a host. Their signatures are checked before they come here.

use std::collections::BTreeMap;

use warp_protocol::hosting::{MAX_ZONES, ZonePolicy};
use warp_protocol::identity::PublicKey;

/// Why a host may not forward in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefused {
    /// The coordinator gave no policy for the zone.
    #[error("no policy of this zone was given")]
    Missing,
    /// The policy counts no more.
    #[error("the policy of this zone has expired")]
    Expired,
    /// The zone is without peer-to-peer paths.
    #[error("the policy of this zone allows no peer-to-peer paths")]
    NoPeers,
    /// The endpoint is not one that may be forwarded to.
    #[error("the policy of this zone does not name the endpoint")]
    OtherEndpoint,
}

impl PolicyRefused {
    /// Stable code for logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "policy-missing",
            Self::Expired => "policy-expired",
            Self::NoPeers => "policy-no-peers",
            Self::OtherEndpoint => "policy-other-endpoint",
        }
    }
}

/// The newest policy of each zone; at most [`MAX_ZONES`], as many as a host may offer itself for.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    zones: BTreeMap<String, ZonePolicy>,
}

impl Policies {
    /// Takes a policy; false: it is older than the one there is, or one of too many zones.
    pub fn take(&mut self, policy: ZonePolicy) -> bool {
        let full = self.zones.len() >= MAX_ZONES;
        match self.zones.get(&policy.zone_id) {
            Some(known) if known.issued > policy.issued => return false,
            None if full => return false,
            _ => {}
        }
        self.zones.insert(policy.zone_id.clone(), policy);
        true
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.zones.clear();
    }

    /// Whether a host may forward to this endpoint in this zone, at `now` (unix seconds).
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, zone: &str, endpoint: &PublicKey, now: u64) -> Result<(), PolicyRefused> {
        let policy = self.zones.get(zone).ok_or(PolicyRefused::Missing)?;
        if now >= policy.expires {
            Err(PolicyRefused::Expired)
        } else if !policy.p2p {
            Err(PolicyRefused::NoPeers)
        } else if !policy.endpoints.contains(endpoint) {
            Err(PolicyRefused::OtherEndpoint)
        } else {
            Ok(())
        }
    }

    /// Whether two thirds of the life of a policy are over: time to ask for newer ones.
    pub fn is_due(&self, now: u64) -> bool {
        self.zones.values().any(|policy| {
            let life = policy.expires.saturating_sub(policy.issued);
            now >= policy.expires.saturating_sub(life / 3)
        })
    }

    /// The zones whose policies allow to forward to this endpoint now, by name.
    pub fn allowed(&self, endpoint: &PublicKey, now: u64) -> Vec<String> {
        let names = self.zones.keys();
        let allowed = names.filter(|zone| self.check(zone, endpoint, now).is_ok());
        allowed.cloned().collect()
    }

    /// Why none of the zones may be forwarded in: the first refusal; `None` when one may.
    pub fn refusal(&self, endpoint: &PublicKey, now: u64) -> Option<PolicyRefused> {
        let mut checks = self
            .zones
            .keys()
            .map(|zone| self.check(zone, endpoint, now));
        match checks.next() {
            None => Some(PolicyRefused::Missing),
            Some(Ok(())) => None,
            Some(Err(first)) => (!checks.any(|check| check.is_ok())).then_some(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(zone: &str, issued: u64) -> ZonePolicy {
        ZonePolicy {
            zone_id: zone.into(),
            p2p: true,
            fallback: true,
            min_host_score: 0.0,
            max_latency_ms: 100,
            endpoints: vec![PublicKey::from_raw([1; 32])],
            upstreams: Vec::new(),
            issued,
            expires: issued + 100,
        }
    }

    #[test]
    fn only_a_named_endpoint_in_a_zone_with_peers_and_in_time() {
        let (endpoint, other) = (PublicKey::from_raw([1; 32]), PublicKey::from_raw([2; 32]));
        let mut policies = Policies::default();
        let refused = |it: &Policies, zone: &str, key, now| it.check(zone, key, now).err();
        assert_eq!(
            policies.refusal(&endpoint, 10),
            Some(PolicyRefused::Missing)
        );
        assert!(policies.take(policy("a", 10)));
        assert_eq!(refused(&policies, "a", &endpoint, 109), None);
        assert!(!policies.is_due(76) && policies.is_due(77));
        assert_eq!(
            refused(&policies, "a", &endpoint, 110),
            Some(PolicyRefused::Expired)
        );
        assert_eq!(
            refused(&policies, "a", &other, 10),
            Some(PolicyRefused::OtherEndpoint)
        );
        assert_eq!(
            refused(&policies, "b", &endpoint, 10),
            Some(PolicyRefused::Missing)
        );
        let closed = ZonePolicy {
            p2p: false,
            ..policy("a", 20)
        };
        assert!(policies.take(closed));
        assert!(!policies.take(policy("a", 19)), "an older one");
        let no_peers = Some(PolicyRefused::NoPeers);
        assert_eq!(refused(&policies, "a", &endpoint, 30), no_peers);
        assert_eq!(policies.refusal(&endpoint, 30), no_peers);
        assert!(policies.take(policy("b", 20)));
        assert_eq!(policies.refusal(&endpoint, 30), None);
        assert_eq!(policies.allowed(&endpoint, 30), ["b"]);
        for number in 0..MAX_ZONES {
            policies.take(policy(&format!("zone{number}"), 20));
        }
        assert!(!policies.take(policy("one too many", 20)));
    }
}
