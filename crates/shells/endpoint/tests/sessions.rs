//! Granting and ending sessions, and WebRTC through signaling.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::time::Duration;

use support::{SESSION, Setup, World, accept, connect, game_at, listener, soon};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;
use warp_bridge::BridgeNotice;
use warp_endpoint::{
    AttachRefused, Endpoint, EndpointConfig, EndpointLimits, GrantRefused, GrantSpec, Identity,
    SIGNALS, WebRtcOptions, generate_identity_der,
};
use warp_link::peer::{Offerer, PeerConfig};
use warp_link_core::State;
use warp_protocol::carrier::PathKind;
use warp_protocol::signal::{ClientSignal, ServerSignal};

/// How often is looked at what nobody tells.
const LOOK: Duration = Duration::from_millis(5);

fn endpoint(limits: EndpointLimits) -> Endpoint {
    Endpoint::start(EndpointConfig {
        identity: Identity::from_pkcs8_der(&generate_identity_der()).unwrap(),
        trust: None,
        limits,
        webrtc: WebRtcOptions::default(),
    })
}

fn spec(session_id: &str) -> GrantSpec {
    let device = Identity::from_pkcs8_der(&generate_identity_der()).unwrap();
    GrantSpec {
        session_id: session_id.to_owned(),
        device_key: device.public_key().to_vec(),
        certified: None,
        game: game_at("127.0.0.1:1".parse().unwrap()),
        p2p_enabled: true,
        ice_servers: Vec::new(),
    }
}

#[tokio::test]
async fn grants_are_checked() {
    let endpoint = endpoint(EndpointLimits {
        sessions: 2,
        ..EndpointLimits::default()
    });
    let bad = GrantSpec {
        device_key: vec![1; 44],
        ..spec("a")
    };
    assert_eq!(endpoint.grant(bad).unwrap_err(), GrantRefused::BadDeviceKey);
    let _first = endpoint.grant(spec("a")).unwrap();
    assert_eq!(
        endpoint.grant(spec("a")).unwrap_err(),
        GrantRefused::SessionExists
    );
    let mut second = endpoint.grant(spec("b")).unwrap();
    assert_eq!(
        endpoint.grant(spec("c")).unwrap_err(),
        GrantRefused::TooManySessions
    );
    endpoint.revoke("b");
    assert!(soon("the end", second.from_endpoint.recv()).await.is_none());
    let (carrier, _other) = support::wire(&CancellationToken::new());
    assert_eq!(
        endpoint.attach_wss("nobody", carrier).unwrap_err(),
        AttachRefused::UnknownSession
    );
    soon("shutting down", endpoint.shutdown()).await;
    assert_eq!(
        endpoint.grant(spec("d")).unwrap_err(),
        GrantRefused::ShuttingDown
    );
    assert!(endpoint.sessions().is_empty());
}

#[tokio::test]
async fn a_grant_that_nobody_uses_ends() {
    let endpoint = endpoint(EndpointLimits {
        unused: Duration::from_millis(20),
        ..EndpointLimits::default()
    });
    let mut port = endpoint.grant(spec("a")).unwrap();
    assert!(soon("the end", port.from_endpoint.recv()).await.is_none());
    soon("the view", async {
        while !endpoint.sessions().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_closes_the_link_and_the_servers_connection() {
    let (listener, address) = listener().await;
    let mut world = World::start(Setup::new(game_at(address))).await;
    let mut client = connect(world.bridge.login_addr()).await;
    let mut server = accept(&listener).await;
    let opened = world.notice("the opening", |notice| match notice {
        BridgeNotice::Opened { n, .. } => Some(*n),
        _ => None,
    });
    assert_eq!(opened.await, 1);
    let view = world.endpoint.sessions().remove(0);
    assert_eq!(
        (view.state, view.path),
        (State::Connected, Some(PathKind::Wss))
    );
    world.endpoint.revoke(SESSION);
    assert_eq!(
        soon("the server", server.read(&mut [0; 8])).await.unwrap(),
        0
    );
    // The client sees a reset or an end, depending on what comes first.
    let read = soon("the client", client.read(&mut [0; 8])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert!(!world.closed_clean().await);
    soon("the link", world.link.closed()).await;
    assert!(
        soon("signaling", world.signals.from_endpoint.recv())
            .await
            .is_none()
    );
    world.shutdown().await;
}

fn from_engine(signal: ClientSignal) -> ServerSignal {
    let (from, timestamp) = ("engine".to_owned(), String::new());
    match signal {
        ClientSignal::Offer { sdp, .. } => ServerSignal::Offer {
            from,
            sdp,
            timestamp,
        },
        ClientSignal::IceCandidate { candidate, .. } => ServerSignal::IceCandidate {
            from,
            candidate,
            timestamp,
        },
        other => panic!("{other:?}"),
    }
}

fn offer(sdp: String) -> ServerSignal {
    from_engine(ClientSignal::Offer {
        to: "endpoint".to_owned(),
        sdp: sdp.into(),
    })
}

/// Offers, and attaches the carrier of the connection that opens.
async fn open_direct(world: &mut World) -> Offerer {
    let config = PeerConfig {
        include_loopback: true,
        ..PeerConfig::default()
    };
    let (offerer, mut found) = Offerer::new(config).await.unwrap();
    let sdp = offerer.create_offer().await.unwrap();
    let to_endpoint = world.signals.to_endpoint.clone();
    to_endpoint.send(offer(sdp)).await.unwrap();
    let trickle = tokio::spawn(async move {
        while let Some(candidate) = found.next().await {
            let signal = from_engine(ClientSignal::IceCandidate {
                to: "endpoint".to_owned(),
                candidate,
            });
            if to_endpoint.send(signal).await.is_err() {
                return;
            }
        }
    });
    let mut opened = Box::pin(offerer.opened());
    let carrier = soon("a peer connection", async {
        loop {
            tokio::select! {
                carrier = &mut opened => return carrier.unwrap(),
                signal = world.signals.from_endpoint.recv() => match signal.unwrap() {
                    ClientSignal::Answer { to, sdp } => {
                        assert_eq!(to, "engine");
                        offerer.accept_answer(sdp.as_str().unwrap()).await.unwrap();
                    }
                    ClientSignal::IceCandidate { to, candidate } => {
                        assert_eq!(to, "engine");
                        // A late candidate of an older connection does no harm.
                        let _ = offerer.add_remote_candidate(&candidate).await;
                    }
                    other => panic!("{other:?}"),
                },
            }
        }
    })
    .await;
    drop(opened);
    trickle.abort();
    world.link.attach(PathKind::Direct, carrier);
    offerer
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_are_answered_and_the_newest_replaces_the_older() {
    let (_listener, address) = listener().await;
    let mut world = World::start(Setup::new(game_at(address))).await;
    let mut status = world.link.watch_status();
    let first = open_direct(&mut world).await;
    soon(
        "the direct path",
        status.wait_for(|status| status.path == Some(PathKind::Direct)),
    )
    .await
    .unwrap();
    let mut states = first.states();
    let second = open_direct(&mut world).await;
    // The endpoint closes the older connection; so does our link, whose carrier was replaced.
    soon(
        "the end of the first",
        states.wait_for(|state| *state == warp_link::peer::PeerState::Closed),
    )
    .await
    .unwrap();
    // Which of two good paths is used depends on how quick they are here; that one may be used does not.
    soon("the new path", async {
        while world.link.use_path(PathKind::Direct).is_none()
            && world.link.status().path != Some(PathKind::Direct)
        {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    soon("the session over the new path", async {
        while world.endpoint.sessions()[0].path != Some(PathKind::Direct) {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    assert!(second.selected_pair().await.is_some());
    // What cannot be read is not answered and ends nothing.
    world
        .signals
        .to_endpoint
        .send(offer("garbage".to_owned()))
        .await
        .unwrap();
    let third = open_direct(&mut world).await;
    drop((first, second, third));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_without_p2p_answers_no_offer() {
    let mut setup = Setup::new(game_at("127.0.0.1:1".parse().unwrap()));
    setup.p2p_enabled = false;
    let mut world = World::start(setup).await;
    let (offerer, _found) = Offerer::new(PeerConfig {
        include_loopback: true,
        ..PeerConfig::default()
    })
    .await
    .unwrap();
    let sdp = offerer.create_offer().await.unwrap();
    let to_endpoint = world.signals.to_endpoint.clone();
    to_endpoint.send(offer(sdp)).await.unwrap();
    soon("the offer being taken", async {
        while to_endpoint.capacity() < SIGNALS {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.endpoint.revoke(SESSION);
    assert_eq!(
        soon("signaling", world.signals.from_endpoint.recv()).await,
        None
    );
    world.shutdown().await;
}
