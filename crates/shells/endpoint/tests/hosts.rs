//! Hosts at the endpoint: who may be one, and what of theirs reaches a member's session.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use support::{game_at, soon, wire};
use tokio_util::sync::CancellationToken;
use warp_endpoint::{
    AttachRefused, CertifiedDevice, Endpoint, EndpointConfig, EndpointLimits, EndpointTrust,
    GrantRefused, GrantSpec, HostGrantSpec, HostRoute, HostTraffic, Identity, RouteRefused,
    SignalPort, Trust, WebRtcOptions, generate_identity_der,
};
use warp_link::peer::{Offerer, PeerConfig};
use warp_link::{Carrier, SendRefused};
use warp_link_core::descriptions::{check_answer, sign_offer};
use warp_link_core::{Link, LinkConfig, State};
use warp_link_driver::{LinkHandle, LinkNotice, LinkNotices, spawn};
use warp_protocol::carrier::PathKind;
use warp_protocol::hosting::{FORWARD_LEN, Forwarded};
use warp_protocol::identity::{Certificate, CertificateRole, RefusedReason, Serial};
use warp_protocol::signal::{ClientSignal, ServerSignal, SignedDescription};

const ACCOUNT: u64 = 5;
const HOST: &str = "host-room";
const SESSION: &str = "session-1";

fn identity() -> Identity {
    Identity::from_pkcs8_der(&generate_identity_der()).unwrap()
}

struct Case {
    coordinator: Identity,
    /// The host's key, and the launchers'.
    device: Identity,
    endpoint: Endpoint,
}

impl Case {
    fn new() -> Self {
        let coordinator = identity();
        let endpoint = Endpoint::start(EndpointConfig {
            identity: identity(),
            trust: Some(EndpointTrust {
                trust: Trust::new(coordinator.key()),
                require_certificates: true,
            }),
            limits: EndpointLimits {
                hosts: 2,
                ..EndpointLimits::default()
            },
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
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        Certificate {
            serial: Serial([1; 16]),
            account: ACCOUNT,
            name: "alice".into(),
            key: self.device.key(),
            role: CertificateRole::Player,
            may_host: true,
            issued: now,
            expires: now + 600,
            issuer: self.coordinator.key().id(),
        }
    }

    fn certified(&self, says: &Certificate) -> CertifiedDevice {
        CertifiedDevice {
            account: ACCOUNT,
            certificate: self.coordinator.certify(says).unwrap(),
        }
    }

    fn grant_host(&self, room: &str, says: &Certificate) -> Result<SignalPort, GrantRefused> {
        self.endpoint.grant_host(HostGrantSpec {
            session_id: room.to_owned(),
            device_key: self.device.public_key().to_vec(),
            certified: self.certified(says),
            ice_servers: Vec::new(),
        })
    }

    fn grant_session(&self, session: &str) -> SignalPort {
        let granted = self.endpoint.grant(GrantSpec {
            session_id: session.to_owned(),
            device_key: self.device.public_key().to_vec(),
            certified: Some(self.certified(&self.says())),
            game: game_at("127.0.0.1:1".parse().unwrap()),
            p2p_enabled: true,
            ice_servers: Vec::new(),
        });
        granted.unwrap()
    }

    fn route(&self, slot: u32, epoch: u32, way: PathKind) -> Result<(), RouteRefused> {
        self.endpoint.route(HostRoute {
            host: HOST.into(),
            slot,
            epoch,
            session_id: SESSION.into(),
            way,
        })
    }

    /// The host's end of a carrier to the endpoint.
    fn connect_host(&self, cut: &CancellationToken) -> Carrier {
        let (ours, theirs) = wire(cut);
        self.endpoint.attach_host_wss(HOST, theirs).unwrap();
        ours
    }

    /// The launcher's end of the session's link.
    fn link(&self) -> (LinkHandle, LinkNotices) {
        let key = self.endpoint.public_key();
        let link = Link::client(LinkConfig::default(), &self.device, &key, [7; 32]).unwrap();
        let (link, notices, _incoming) = spawn(link);
        (link, notices)
    }

    fn traffic(&self) -> HostTraffic {
        let of = self.endpoint.host_traffic();
        of.into_iter().find(|(room, _)| room == HOST).unwrap().1
    }

    async fn until(&self, what: &str, holds: impl Fn(&HostTraffic) -> bool) {
        soon(what, async {
            while !holds(&self.traffic()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A host that forwards for one member, in memory: gives the member's carrier.
fn forward(host: Carrier, slot: u32, epoch: Arc<AtomicU32>) -> Carrier {
    let Carrier { tx, mut rx } = host;
    let to_endpoint = Arc::clone(&epoch);
    let (member, feed) = Carrier::through(move |datagram| {
        let epoch = to_endpoint.load(Ordering::Relaxed);
        let head = Forwarded { epoch, slot }.to_bytes();
        tx.try_send(Bytes::from([&head[..], &datagram].concat()))
            .map_err(|_| SendRefused::Full)
    });
    tokio::spawn(async move {
        while let Some(datagram) = rx.recv().await {
            let (head, _) = Forwarded::split(&datagram).unwrap();
            assert_eq!(head.slot, slot);
            // What is of another epoch is dropped, as a host does.
            if head.epoch == epoch.load(Ordering::Relaxed) {
                feed.deliver(datagram.slice(FORWARD_LEN..));
            }
        }
    });
    member
}

async fn connected(link: &LinkHandle, over: PathKind) {
    let mut status = link.watch_status();
    let wanted =
        status.wait_for(|status| status.state == State::Connected && status.path == Some(over));
    soon("connected", wanted).await.unwrap();
}

async fn carrier_ended(notices: &mut LinkNotices, way: PathKind) {
    soon("the carrier's end", async {
        loop {
            match notices.recv().await.unwrap() {
                LinkNotice::CarrierEnded { kind, .. } if kind == way => return,
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_host_is_granted_to_a_device_with_the_right_to_host_only() {
    let case = Case::new();
    let says = case.says();
    let refused = |reason| Some(GrantRefused::Untrusted(reason));
    let without = Certificate {
        may_host: false,
        ..says.clone()
    };
    let misused = RefusedReason::CertificateMisused;
    let grant = |room: &str, says: &Certificate| case.grant_host(room, says).err();
    assert_eq!(grant(HOST, &without), refused(misused));
    let old = Certificate {
        issued: says.issued - 7200,
        expires: says.issued - 3600,
        ..says.clone()
    };
    let expired = RefusedReason::CertificateExpired;
    assert_eq!(grant(HOST, &old), refused(expired));
    let of_another_key = Certificate {
        key: identity().key(),
        ..says.clone()
    };
    assert_eq!(grant(HOST, &of_another_key), refused(misused));
    assert_eq!(case.endpoint.refusals(), [(expired, 1), (misused, 2)]);
    assert!(case.endpoint.host_traffic().is_empty());

    assert_eq!(grant(HOST, &says), None);
    assert_eq!(grant(HOST, &says), Some(GrantRefused::SessionExists));
    assert_eq!(grant("second", &says), None);
    assert_eq!(grant("third", &says), Some(GrantRefused::TooManySessions));
    case.endpoint.end_host("second");
    assert_eq!(grant("third", &says), None);
    soon("the end", case.endpoint.shutdown()).await;
    assert_eq!(grant("fourth", &says), Some(GrantRefused::ShuttingDown));
}

#[tokio::test]
async fn routes_need_a_host_a_session_and_a_way_over_a_host() {
    let case = Case::new();
    assert_eq!(
        case.route(1, 1, PathKind::Host),
        Err(RouteRefused::UnknownHost)
    );
    let _port = case.grant_host(HOST, &case.says()).unwrap();
    assert_eq!(
        case.route(1, 1, PathKind::Host),
        Err(RouteRefused::UnknownSession)
    );
    let _session = case.grant_session(SESSION);
    for way in [PathKind::Direct, PathKind::Wss] {
        assert_eq!(case.route(1, 1, way), Err(RouteRefused::NotAHostWay));
    }
    for slot in 0..2000 {
        assert_eq!(case.route(slot, 1, PathKind::Host2), Ok(()));
    }
    let full = Err(RouteRefused::TooManyRoutes);
    assert_eq!(case.route(2000, 1, PathKind::Host), full);
    assert_eq!(case.route(0, 2, PathKind::Host), Ok(()), "replaces");
    case.endpoint.unroute(HOST, 1);
    assert_eq!(case.route(2000, 1, PathKind::Host), Ok(()));
    let (_ours, theirs) = wire(&CancellationToken::new());
    assert_eq!(
        case.endpoint.attach_host_wss("nobody", theirs),
        Err(AttachRefused::UnknownSession)
    );
    soon("the end", case.endpoint.shutdown()).await;
}

#[tokio::test]
async fn a_member_plays_through_a_host_and_a_new_epoch_is_not_noticed() {
    let case = Case::new();
    let _port = case.grant_host(HOST, &case.says()).unwrap();
    let _session = case.grant_session(SESSION);
    for way in [PathKind::Host, PathKind::Host2] {
        case.route(7, 1, way).unwrap();
        let host = case.connect_host(&CancellationToken::new());
        let epoch = Arc::new(AtomicU32::new(1));
        let member = forward(host, 7, Arc::clone(&epoch));
        let (link, mut notices) = case.link();
        let session = case.endpoint.sessions();
        assert_eq!(session.len(), 1);
        link.attach(way, member);
        connected(&link, way).await;
        let before = case.traffic();
        assert!(before.up > 0 && before.down > 0, "{before:?}");
        assert_eq!((before.unrouted, before.malformed), (0, 0), "{before:?}");

        // The lease gets another epoch: first at the endpoint, a moment later at the host.
        case.route(7, 2, way).unwrap();
        case.until("something of the old epoch", |now| now.stale > before.stale)
            .await;
        epoch.store(2, Ordering::Relaxed);
        let renewed = case.traffic();
        case.until("traffic goes on", |now| {
            now.up > renewed.up + 3 && now.down > renewed.down + 3
        })
        .await;
        assert_eq!(link.status().state, State::Connected);
        assert_eq!(link.status().path, Some(way));

        // The session ends, and its routes with it.
        case.endpoint.revoke(SESSION);
        soon("the link's end", link.closed()).await;
        while notices.recv().await.is_some() {}
        soon("the session's end", async {
            while !case.endpoint.sessions().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // For the next turn; without a room its carriers work all the same.
        drop(case.grant_session(SESSION));
    }
    soon("the end", case.endpoint.shutdown()).await;
}

#[tokio::test]
async fn what_has_no_route_is_counted_by_its_reason() {
    let case = Case::new();
    let _port = case.grant_host(HOST, &case.says()).unwrap();
    let _session = case.grant_session(SESSION);
    case.route(1, 5, PathKind::Host).unwrap();
    let host = case.connect_host(&CancellationToken::new());
    let send = |epoch, slot, inner: &[u8]| {
        let head = Forwarded { epoch, slot }.to_bytes();
        let datagram = Bytes::from([&head[..], inner].concat());
        host.tx.try_send(datagram).unwrap();
    };
    send(5, 2, b"no such slot");
    send(4, 1, b"of the last lease");
    send(6, 1, b"of the next lease");
    send(5, 1, b"");
    host.tx.try_send(Bytes::from_static(b"short")).unwrap();
    host.tx.try_send(Bytes::from(vec![0; 1280])).unwrap();
    send(5, 1, b"good, though no datagram of a link");
    case.until("all of it", |now| now.up == 1).await;
    assert_eq!(
        case.traffic(),
        HostTraffic {
            up: 1,
            up_bytes: 34,
            unrouted: 1,
            stale: 2,
            malformed: 3,
            ..HostTraffic::default()
        }
    );
    case.endpoint.unroute(HOST, 1);
    send(5, 1, b"no longer");
    case.until("the last", |now| now.unrouted == 2).await;
    soon("the end", case.endpoint.shutdown()).await;
}

#[tokio::test]
async fn carriers_of_routes_come_and_go_with_the_hosts_own() {
    let case = Case::new();
    let _port = case.grant_host(HOST, &case.says()).unwrap();
    let _session = case.grant_session(SESSION);
    let cut = CancellationToken::new();
    let epoch = Arc::new(AtomicU32::new(1));
    let first = case.connect_host(&cut);
    case.route(1, 1, PathKind::Host).unwrap();
    let (link, mut notices) = case.link();
    link.attach(PathKind::Host, forward(first, 1, Arc::clone(&epoch)));
    connected(&link, PathKind::Host).await;

    // Cut off: the member's own end of it is told, and a new one works.
    cut.cancel();
    carrier_ended(&mut notices, PathKind::Host).await;
    let second = case.connect_host(&CancellationToken::new());
    link.attach(PathKind::Host, forward(second, 1, Arc::clone(&epoch)));
    connected(&link, PathKind::Host).await;

    // A newer carrier takes the place of one that works.
    let third = case.connect_host(&CancellationToken::new());
    carrier_ended(&mut notices, PathKind::Host).await;
    link.attach(PathKind::Host, forward(third, 1, epoch));
    connected(&link, PathKind::Host).await;

    // The host ends: nothing comes through any more.
    case.endpoint.end_host(HOST);
    carrier_ended(&mut notices, PathKind::Host).await;
    assert!(case.endpoint.host_traffic().is_empty());
    soon("the end", case.endpoint.shutdown()).await;
}

#[tokio::test]
async fn a_way_stays_with_its_host_until_the_member_comes_over_the_next_one() {
    let case = Case::new();
    let _ports = ["other", HOST].map(|room| case.grant_host(room, &case.says()).unwrap());
    let _session = case.grant_session(SESSION);
    let epoch = Arc::new(AtomicU32::new(1));
    let host = case.connect_host(&CancellationToken::new());
    case.route(1, 1, PathKind::Host).unwrap();
    let (link, _notices) = case.link();
    link.attach(PathKind::Host, forward(host, 1, Arc::clone(&epoch)));
    connected(&link, PathKind::Host).await;

    // Another host is connected and has the same way, and the member does not know yet.
    let (ours, theirs) = wire(&CancellationToken::new());
    case.endpoint.attach_host_wss("other", theirs).unwrap();
    let route = HostRoute {
        host: "other".into(),
        slot: 5,
        epoch: 1,
        session_id: SESSION.into(),
        way: PathKind::Host,
    };
    case.endpoint.route(route).unwrap();
    let before = case.traffic();
    case.until("both directions go on over the first", |now| {
        now.up > before.up + 3 && now.down > before.down + 3
    })
    .await;
    let traffic = case.endpoint.host_traffic();
    let other = traffic.iter().find(|(room, _)| room == "other").unwrap();
    assert_eq!((other.1.up, other.1.down), (0, 0), "{other:?}");

    // It comes over the other one: that carries now, both ways.
    link.attach(PathKind::Host, forward(ours, 5, epoch));
    let other = || {
        let traffic = case.endpoint.host_traffic();
        let other = traffic.into_iter().find(|(room, _)| room == "other");
        other.unwrap().1
    };
    let goes_on = async |what| {
        let before = other();
        soon(what, async {
            loop {
                let now = other();
                if now.up > before.up + 3 && now.down > before.down + 3 {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    goes_on("both directions over the other").await;
    // The first one connects anew, and does not take the way back.
    let _again = case.connect_host(&CancellationToken::new());
    goes_on("both directions still over the other").await;
    assert_eq!(other().unrouted, 0);
    soon("the end", case.endpoint.shutdown()).await;
}

#[tokio::test]
async fn a_hosts_signed_offer_is_answered_and_others_are_refused() {
    let case = Case::new();
    let mut port = case.grant_host(HOST, &case.says()).unwrap();
    let _session = case.grant_session(SESSION);
    case.route(3, 1, PathKind::Host).unwrap();
    let (offerer, _candidates) = Offerer::new(PeerConfig {
        include_loopback: true,
        ..PeerConfig::default()
    })
    .await
    .unwrap();
    let sdp = offerer.create_offer().await.unwrap();
    let offer = |sdp: serde_json::Value| ServerSignal::Offer {
        from: "host".into(),
        sdp,
        timestamp: String::new(),
    };
    let send = |signal| port.to_endpoint.try_send(signal).unwrap();
    let (forged, _) = sign_offer(&identity(), HOST, 1, sdp.clone());
    let (elsewhere, _) = sign_offer(&case.device, SESSION, 1, sdp.clone());
    let (signed, made) = sign_offer(&case.device, HOST, 1, sdp.clone());
    send(offer(serde_json::Value::String(sdp)));
    send(offer(forged.to_value()));
    send(offer(elsewhere.to_value()));
    send(offer(signed.to_value()));
    send(offer(signed.to_value()));
    let answer = soon("the answer", async {
        // Candidates may come first.
        loop {
            if let ClientSignal::Answer { to, sdp } = port.from_endpoint.recv().await.unwrap() {
                assert_eq!(to, "host");
                return SignedDescription::read(&sdp).unwrap();
            }
        }
    })
    .await;
    assert_eq!(
        check_answer(&case.endpoint.key(), HOST, &made, &answer),
        Ok(())
    );
    offerer.accept_answer(&answer.sdp).await.unwrap();
    let host = soon("the carrier", offerer.opened()).await.unwrap();
    let (link, _notices) = case.link();
    link.attach(
        PathKind::Host,
        forward(host, 3, Arc::new(AtomicU32::new(1))),
    );
    connected(&link, PathKind::Host).await;
    assert_eq!(
        case.endpoint.refusals(),
        [
            (RefusedReason::DescriptionUnsigned, 1),
            (RefusedReason::DescriptionForged, 2),
            (RefusedReason::DescriptionReplayed, 1)
        ]
    );
    soon("the end", case.endpoint.shutdown()).await;
    offerer.close().await;
}
