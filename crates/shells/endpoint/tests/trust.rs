//! Whom an endpoint believes: certificates of grants, keys of links, signatures of offers.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use serde_json::{Value, json};
use support::{SESSION, game_at, soon, wire};
use tokio_util::sync::CancellationToken;
use warp_endpoint::{
    CertifiedDevice, Endpoint, EndpointConfig, EndpointLimits, EndpointTrust, GrantRefused,
    GrantSpec, Identity, SignalPort, Trust, WebRtcOptions, generate_identity_der,
};
use warp_link::peer::{Offerer, PeerConfig};
use warp_link_core::descriptions::{check_answer, sign_offer};
use warp_link_core::{CloseReason, Link, LinkConfig};
use warp_link_driver::{LinkEnd, spawn};
use warp_protocol::carrier::PathKind;
use warp_protocol::identity::{Certificate, CertificateRole, RefusedReason, Serial};
use warp_protocol::signal::{ClientSignal, ServerSignal, SignedDescription};
use warp_protocol::stream::reset;

const ACCOUNT: u64 = 5;

fn identity() -> Identity {
    Identity::from_pkcs8_der(&generate_identity_der()).unwrap()
}

fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

struct Case {
    coordinator: Identity,
    device: Identity,
    endpoint: Endpoint,
}

impl Case {
    fn new(require_certificates: bool) -> Self {
        let coordinator = identity();
        let endpoint = Endpoint::start(EndpointConfig {
            identity: identity(),
            trust: Some(EndpointTrust {
                trust: Trust::new(coordinator.key()),
                require_certificates,
            }),
            limits: EndpointLimits::default(),
            webrtc: WebRtcOptions {
                include_loopback: true,
                ..WebRtcOptions::default()
            },
        });
        Self {
            coordinator,
            device: identity(),
            endpoint,
        }
    }

    fn says(&self) -> Certificate {
        let now = unix_now();
        Certificate {
            serial: Serial([1; 16]),
            account: ACCOUNT,
            name: "alice".into(),
            key: self.device.key(),
            role: CertificateRole::Player,
            may_host: false,
            issued: now,
            expires: now + 600,
            issuer: self.coordinator.key().id(),
        }
    }

    fn grant(&self, certificate: Option<Vec<u8>>) -> Result<SignalPort, GrantRefused> {
        self.endpoint.grant(GrantSpec {
            session_id: SESSION.to_owned(),
            device_key: self.device.public_key().to_vec(),
            certified: certificate.map(|certificate| CertifiedDevice {
                account: ACCOUNT,
                certificate,
            }),
            game: game_at("127.0.0.1:1".parse().unwrap()),
            p2p_enabled: true,
            ice_servers: Vec::new(),
        })
    }

    fn granted(&self) -> SignalPort {
        let certificate = self.coordinator.certify(&self.says()).unwrap();
        self.grant(Some(certificate)).unwrap()
    }

    /// The launcher's end of a link with this key, over a carrier in memory.
    fn link(&self, identity: &Identity) -> warp_link_driver::LinkHandle {
        let key = self.endpoint.public_key();
        let link = Link::client(LinkConfig::default(), identity, &key, [7; 32]).unwrap();
        let (link, _notices, _incoming) = spawn(link);
        let (ours, theirs) = wire(&CancellationToken::new());
        self.endpoint.attach_wss(SESSION, theirs).unwrap();
        link.attach(PathKind::Wss, ours);
        link
    }

    async fn until_refused(&self, reason: RefusedReason, count: u64) {
        soon(reason.name(), async {
            while !self.endpoint.refusals().contains(&(reason, count)) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_session_is_granted_to_a_certified_device_only() {
    let case = Case::new(true);
    let says = case.says();
    let sign = |by: &Identity, says: &Certificate| Some(by.certify(says).unwrap());
    let old = Certificate {
        issued: says.issued - 7200,
        expires: says.issued - 3600,
        ..says.clone()
    };
    let of_another = Certificate {
        account: ACCOUNT + 1,
        ..says.clone()
    };
    let of_another_key = Certificate {
        key: identity().key(),
        ..says.clone()
    };
    for (certificate, reason) in [
        (None, RefusedReason::CertificateMissing),
        (Some(vec![0; 100]), RefusedReason::CertificateMalformed),
        (sign(&identity(), &says), RefusedReason::CertificateForged),
        (
            sign(&case.coordinator, &old),
            RefusedReason::CertificateExpired,
        ),
        (
            sign(&case.coordinator, &of_another),
            RefusedReason::CertificateMisused,
        ),
        (
            sign(&case.coordinator, &of_another_key),
            RefusedReason::CertificateMisused,
        ),
    ] {
        let refused = case.grant(certificate).unwrap_err();
        assert_eq!(refused, GrantRefused::Untrusted(reason));
    }
    assert!(case.endpoint.sessions().is_empty());
    let counted = case.endpoint.refusals();
    assert!(counted.contains(&(RefusedReason::CertificateMisused, 2)));
    assert_eq!(counted.len(), 5);
    case.granted();
    assert_eq!(case.endpoint.sessions().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_another_key_than_the_certified_one_is_refused_and_counted() {
    let case = Case::new(true);
    let _port = case.granted();
    let link = case.link(&identity());
    let end = soon("the end", link.closed()).await;
    assert_eq!(end, LinkEnd::Closed(CloseReason::Untrusted));
    case.until_refused(RefusedReason::LinkUnproven, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_with_a_code_tells_it_to_the_launcher() {
    let case = Case::new(true);
    let _port = case.granted();
    let link = case.link(&case.device);
    let mut status = link.watch_status();
    let connected = status.wait_for(|status| status.path.is_some());
    soon("the link", connected).await.unwrap();
    case.endpoint.end(SESSION, reset::DEVICE_REVOKED);
    let code = u64::from(reset::DEVICE_REVOKED);
    let end = soon("the end", link.closed()).await;
    assert_eq!(end, LinkEnd::Closed(CloseReason::Peer(code)));
    soon("shutting down", case.endpoint.shutdown()).await;
}

/// An offer, and the peer that made it.
async fn an_offer() -> (Offerer, String) {
    let config = PeerConfig {
        include_loopback: true,
        ..PeerConfig::default()
    };
    let (offerer, _found) = Offerer::new(config).await.unwrap();
    let sdp = offerer.create_offer().await.unwrap();
    (offerer, sdp)
}

async fn send(port: &SignalPort, sdp: Value) {
    let offer = ServerSignal::Offer {
        from: "engine".to_owned(),
        sdp,
        timestamp: String::new(),
    };
    port.to_endpoint.send(offer).await.unwrap();
}

async fn answer(port: &mut SignalPort) -> Value {
    soon("an answer", async {
        loop {
            if let ClientSignal::Answer { sdp, .. } = port.from_endpoint.recv().await.unwrap() {
                return sdp;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_devices_own_newest_offer_is_answered_and_the_answer_is_signed() {
    let case = Case::new(true);
    let mut port = case.granted();
    let (_peer, sdp) = an_offer().await;
    let (offer, made) = sign_offer(&case.device, SESSION, 2, sdp.clone());
    let swapped = SignedDescription {
        sdp: sdp.replace("sha-256 ", "sha-256 00:"),
        ..offer.clone()
    };
    let (foreign, _) = sign_offer(&identity(), SESSION, 3, sdp.clone());
    let (elsewhere, _) = sign_offer(&case.device, "session-2", 3, sdp.clone());
    for (sdp, reason, count) in [
        (json!(sdp), RefusedReason::DescriptionUnsigned, 1),
        (
            json!({"type": "offer", "sdp": sdp}),
            RefusedReason::DescriptionUnsigned,
            2,
        ),
        (swapped.to_value(), RefusedReason::DescriptionForged, 1),
        (foreign.to_value(), RefusedReason::DescriptionForged, 2),
        (elsewhere.to_value(), RefusedReason::DescriptionForged, 3),
    ] {
        send(&port, sdp).await;
        case.until_refused(reason, count).await;
    }
    send(&port, offer.to_value()).await;
    let signed = SignedDescription::read(&answer(&mut port).await).unwrap();
    let endpoint = case.endpoint.key();
    assert_eq!(check_answer(&endpoint, SESSION, &made, &signed), Ok(()));
    send(&port, offer.to_value()).await;
    case.until_refused(RefusedReason::DescriptionReplayed, 1)
        .await;
    let (older, _) = sign_offer(&case.device, SESSION, 1, sdp);
    send(&port, older.to_value()).await;
    case.until_refused(RefusedReason::DescriptionReplayed, 2)
        .await;
    soon("shutting down", case.endpoint.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_required_older_launchers_are_answered_in_kind() {
    let case = Case::new(false);
    let mut port = case.grant(None).unwrap();
    let (_peer, sdp) = an_offer().await;
    send(&port, json!(sdp)).await;
    assert!(answer(&mut port).await.is_string());
    send(&port, json!({"type": "offer", "sdp": sdp})).await;
    let object = answer(&mut port).await;
    assert_eq!(object["type"], "answer");
    assert!(object.get("signature").is_none());
    // A signature that is there has to be right.
    let bad = json!({"type": "offer", "sdp": sdp, "signature": "00"});
    send(&port, bad).await;
    case.until_refused(RefusedReason::DescriptionUnsigned, 1)
        .await;
    let (foreign, _) = sign_offer(&identity(), SESSION, 1, sdp);
    send(&port, foreign.to_value()).await;
    case.until_refused(RefusedReason::DescriptionForged, 1)
        .await;
    soon("shutting down", case.endpoint.shutdown()).await;
}
