//! Asking for a place, and checking what was granted before anything is made of it.

use warp_host_core::{Lack, Minimums, Policies, PolicyRefused};
use warp_link_core::{Holder, Trust, verify};
use warp_protocol::hosting::{
    HostGrant, HostHardware, HostRegister, MAX_POLICY, SignedPolicy, ZonePolicy, policy_message,
};
use warp_protocol::identity::{RefusedReason, SIGNATURE};
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode};

use crate::access::{Access, Certified};
use crate::config::HostConfig;

/// Asks for a place, for those zones that this machine will do for.
pub(crate) async fn register(
    access: &dyn Access,
    config: &HostConfig,
    hardware: HostHardware,
) -> Result<(HostGrant, Certified), Problem> {
    let certified = access.certified().await?;
    let zones = fitting(&config.zones, &access.zones().await?, &hardware)?;
    let body = HostRegister {
        host_id: config.host_id.clone(),
        zones,
        hardware,
        max_players: config.members(),
        device_key: certified.identity.key(),
        certificate: certified.certificate.clone(),
        hosted: None,
    };
    let grant = access.register(&body).await?;
    Ok((grant, certified))
}

/// The wanted zones that this machine will do for.
///
/// # Errors
/// None of them, and why: of the first one.
fn fitting(
    wanted: &[String],
    zones: &[ZoneView],
    hardware: &HostHardware,
) -> Result<Vec<String>, Problem> {
    let mut fit = Vec::new();
    let mut first = None;
    for id in wanted {
        let zone = zones.iter().find(|zone| zone.zone.zone_id == *id);
        let problem = match zone {
            None => Problem::new(ProblemCode::UnknownZone, id),
            Some(zone) => {
                let lacks = Minimums::of(&zone.zone).lacks(hardware);
                if lacks.is_empty() {
                    fit.push(id.clone());
                    continue;
                }
                let lacks: Vec<String> = lacks.iter().map(Lack::to_string).collect();
                Problem::new(ProblemCode::Forbidden, id).with_detail(lacks.join(", "))
            }
        };
        tracing::warn!(zone = id, code = ?problem.code, detail = ?problem.detail, "not offered");
        first.get_or_insert(problem);
    }
    match first {
        Some(problem) if fit.is_empty() => Err(problem),
        None if fit.is_empty() => Err(Problem::new(ProblemCode::UnknownZone, "hosting.zones")),
        _ => Ok(fit),
    }
}

/// The policy in what the coordinator signed.
///
/// # Errors
/// It is not the coordinator's.
pub(crate) fn read_policy(trust: &Trust, signed: &SignedPolicy) -> Result<ZonePolicy, Problem> {
    let bad =
        |why: &str| Problem::new(ProblemCode::CoordinatorProtocol, "zone policy").with_detail(why);
    if signed.policy.len() > MAX_POLICY {
        return Err(bad("longer than a policy may be"));
    }
    let mut signature = [0; SIGNATURE];
    let message = policy_message(&signed.policy);
    if hex::decode_to_slice(&signed.signature, &mut signature).is_err()
        || !verify(trust.coordinator(), &message, &signature)
    {
        return Err(
            Problem::new(ProblemCode::CoordinatorUnproven, "zone policy")
                .with_detail("not signed with the coordinator's key"),
        );
    }
    serde_json::from_str(&signed.policy).map_err(|error| bad(&error.to_string()))
}

/// Checks a grant's policies and endpoint; gives the policies.
///
/// # Errors
/// A policy or the endpoint's certificate is not believed, or no policy names that endpoint. That P2P is
/// switched off just now is none: the place stays, nobody is carried, and the next policy may allow it.
pub(crate) fn check_grant(trust: &Trust, grant: &HostGrant, now: u64) -> Result<Policies, Problem> {
    let refused = |reason: RefusedReason| {
        Problem::new(reason.problem(), "endpoint").with_detail(reason.name())
    };
    let certificate = hex::decode(&grant.endpoint_certificate)
        .map_err(|_| refused(RefusedReason::CertificateMalformed))?;
    trust
        .check(&certificate, &grant.endpoint_key, Holder::Endpoint, now)
        .map_err(refused)?;
    let mut policies = Policies::default();
    for signed in &grant.policies {
        policies.take(read_policy(trust, signed)?);
    }
    match policies.refusal(&grant.endpoint_key, now) {
        None | Some(PolicyRefused::NoPeers) => Ok(policies),
        Some(refused) => Err(not_allowed(refused)),
    }
}

/// What a person is told of a policy that does not allow to forward.
pub(crate) fn not_allowed(refused: PolicyRefused) -> Problem {
    let code = match refused {
        PolicyRefused::NoPeers => ProblemCode::ZoneClosed,
        PolicyRefused::Missing => ProblemCode::UnknownZone,
        PolicyRefused::Expired | PolicyRefused::OtherEndpoint => ProblemCode::EndpointUntrusted,
    };
    Problem::new(code, "zone policy").with_detail(refused.code())
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::Ed25519KeyPair;
    use warp_link_core::Identity;
    use warp_protocol::hosting::{HostStatus, HostView};
    use warp_protocol::identity::{Certificate, CertificateRole, PublicKey, Serial};

    use super::*;

    const NOW: u64 = 1_000;

    fn identity() -> Identity {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Identity::from_pkcs8_der(der.as_ref()).unwrap()
    }

    fn policy(coordinator: &Identity, endpoint: PublicKey, p2p: bool) -> SignedPolicy {
        let policy = ZonePolicy {
            zone_id: "prontera".into(),
            p2p,
            fallback: true,
            min_host_score: 0.0,
            max_latency_ms: 100,
            endpoints: vec![endpoint],
            upstreams: Vec::new(),
            issued: NOW,
            expires: NOW + 100,
        };
        let policy = serde_json::to_string(&policy).unwrap();
        let signature = coordinator.sign(&policy_message(&policy)).unwrap();
        SignedPolicy {
            policy,
            signature: hex::encode(signature),
        }
    }

    fn grant(
        coordinator: &Identity,
        endpoint: &Identity,
        policies: Vec<SignedPolicy>,
    ) -> HostGrant {
        let says = Certificate {
            serial: Serial([1; 16]),
            account: 0,
            name: "endpoint".into(),
            key: endpoint.key(),
            role: CertificateRole::Endpoint,
            may_host: false,
            issued: NOW,
            expires: NOW + 1_000,
            issuer: coordinator.key().id(),
        };
        HostGrant {
            host: HostView {
                host_id: "h".into(),
                player_name: "alice".into(),
                status: HostStatus::Online,
                zones: vec!["prontera".into()],
                hardware: HostHardware {
                    cpu_cores: 1,
                    cpu_frequency_mhz: 1,
                    memory_mb: 1,
                    network_speed_mbps: 1,
                },
                max_players: 5,
                current_players: 0,
                latency_ms: None,
                packet_loss_percent: None,
                bandwidth_usage_mbps: 0.0,
                quality_score: None,
            },
            session_id: "room".into(),
            peer_id: "host".into(),
            endpoint_peer_id: "endpoint".into(),
            endpoint_key: endpoint.key(),
            endpoint_certificate: hex::encode(coordinator.certify(&says).unwrap()),
            ice_servers: Vec::new(),
            heartbeat_seconds: 10,
            policies,
        }
    }

    #[test]
    fn only_the_coordinators_own_endpoint_and_policies_are_believed() {
        let (coordinator, endpoint, mallory) = (identity(), identity(), identity());
        let trust = Trust::new(coordinator.key());
        let key = endpoint.key();
        let good = vec![policy(&coordinator, key, true)];
        let check = |grant: &HostGrant| check_grant(&trust, grant, NOW).map(|_| ());
        let code = |grant: &HostGrant| check(grant).unwrap_err().code;
        assert_eq!(check(&grant(&coordinator, &endpoint, good.clone())), Ok(()));

        // An endpoint that somebody else certified, or a certificate of another key.
        let foreign = grant(&mallory, &endpoint, good.clone());
        assert_eq!(code(&foreign), ProblemCode::CertificateInvalid);
        let other = HostGrant {
            endpoint_key: mallory.key(),
            ..grant(&coordinator, &endpoint, good.clone())
        };
        assert_eq!(code(&other), ProblemCode::CertificateInvalid);

        // A policy that somebody else signed, or that was changed.
        let forged = grant(&coordinator, &endpoint, vec![policy(&mallory, key, true)]);
        assert_eq!(code(&forged), ProblemCode::CoordinatorUnproven);
        let mut changed = policy(&coordinator, key, false);
        changed.policy = changed.policy.replace("false", "true");
        let changed = grant(&coordinator, &endpoint, vec![changed]);
        assert_eq!(code(&changed), ProblemCode::CoordinatorUnproven);

        // Good ones that do not allow it.
        let elsewhere = vec![policy(&coordinator, mallory.key(), true)];
        let elsewhere = check(&grant(&coordinator, &endpoint, elsewhere)).unwrap_err();
        assert_eq!(elsewhere.code, ProblemCode::EndpointUntrusted);
        assert_eq!(elsewhere.detail.as_deref(), Some("policy-other-endpoint"));
        let closed = vec![policy(&coordinator, key, false)];
        let closed = grant(&coordinator, &endpoint, closed);
        assert_eq!(check(&closed), Ok(()), "it may be switched on again");
        let none = grant(&coordinator, &endpoint, Vec::new());
        assert_eq!(code(&none), ProblemCode::UnknownZone);
        let late = check_grant(&trust, &grant(&coordinator, &endpoint, good), NOW + 100);
        let late = late.unwrap_err();
        assert_eq!(late.detail.as_deref(), Some("policy-expired"));
    }
}
