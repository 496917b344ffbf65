//! Peer managers that meet over a signaling which cannot be believed: descriptions are signed by the
//! device keys, and what was forged is refused, counted, and gets no place.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test program")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ring::signature::Ed25519KeyPair;
use support::hub::{Hub, Node, config};
use warp_link::manager::trust::{SignedSignal, Trust};
use warp_link_core::Identity;
use warp_peer_core::{AttemptId, Channel, GaveUp, PeerState, RefusalCode, Signal};
use warp_protocol::identity::{PublicKey, RefusedReason};

const PATIENCE: Duration = Duration::from_secs(60);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

/// The members of a session, as one of them knows them.
#[derive(Debug)]
struct Members {
    session: &'static str,
    identity: Identity,
    keys: HashMap<&'static str, PublicKey>,
}

impl Trust for Members {
    fn session(&self) -> &str {
        self.session
    }
    fn identity(&self) -> &Identity {
        &self.identity
    }
    fn key(&self, peer: &str) -> Option<PublicKey> {
        self.keys.get(peer).copied()
    }
}

fn identity() -> Identity {
    let random = ring::rand::SystemRandom::new();
    let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    Identity::from_pkcs8_der(document.as_ref()).unwrap()
}

/// Everybody's keys.
struct World {
    hub: Hub,
    identities: HashMap<&'static str, Identity>,
}

impl World {
    fn new() -> Self {
        let names = ["anna", "berta", "mallory"];
        Self {
            hub: Hub::default(),
            identities: names.into_iter().map(|name| (name, identity())).collect(),
        }
    }

    /// A member that knows the keys of anna and berta, and signs with those of `holder`.
    fn member(&self, name: &'static str, holder: &str, session: &'static str) -> Node {
        let keys = ["anna", "berta"].map(|name| (name, self.identities[name].key()));
        let mut config = config(name, 5);
        config.trust = Some(Arc::new(Members {
            session,
            identity: self.identities[holder].clone(),
            keys: keys.into(),
        }));
        config.machine.connect_timeout = Duration::from_secs(3);
        self.hub.node(config)
    }

    fn both(&self) -> (Node, Node) {
        let member = |name| self.member(name, name, "session 1");
        (member("anna"), member("berta"))
    }
}

async fn until_refused(node: &Node, reason: RefusedReason, least: u64) {
    until_counted(node, reason, least).await;
    let only = node.manager.refusals();
    assert!(only.iter().all(|(it, _)| *it == reason), "{only:?}");
}

async fn until_counted(node: &Node, reason: RefusedReason, least: u64) {
    in_time(async {
        let count = || {
            let refusals = node.manager.refusals();
            refusals
                .iter()
                .any(|(it, count)| *it == reason && *count >= least)
        };
        while !count() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// The text of a description.
fn sdp(signal: &mut Signal) -> Option<&mut String> {
    match signal {
        Signal::Offer { sdp, .. }
        | Signal::Answer { sdp, .. }
        | Signal::Restart { sdp, .. }
        | Signal::Restarted { sdp, .. } => Some(sdp),
        _ => None,
    }
}

/// What somebody in the middle does: another fingerprint.
fn swap(sdp: &mut String) {
    let at = sdp.find("a=fingerprint:sha-256 ").unwrap() + "a=fingerprint:sha-256 ".len();
    let other = if sdp[at..].starts_with('0') { "1" } else { "0" };
    sdp.replace_range(at..=at, other);
}

async fn opens(anna: &mut Node, berta: &mut Node) {
    let (one, two) = in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
    let (one, mut two) = (one.1, two.1);
    let hello = Bytes::from_static(b"hello");
    one.tx.send(Channel::Control, hello.clone()).await.unwrap();
    assert_eq!(in_time(two.rx.control.recv()).await.unwrap(), hello);
    for (node, channels) in [(&mut *anna, one), (berta, two)] {
        assert_eq!(node.manager.refusals(), []);
        drop(channels);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_meet_and_move_to_another_network() {
    let world = World::new();
    let (mut anna, mut berta) = world.both();
    anna.manager.connect("berta").await.unwrap();
    let (one, two) = in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
    for mover in [true, false] {
        let mover = if mover { &anna } else { &berta };
        mover.manager.network_changed().await.unwrap();
        in_time(async { tokio::join!(anna.moved(), berta.moved()) }).await;
    }
    assert_eq!(anna.manager.refusals(), []);
    assert_eq!(berta.manager.refusals(), []);
    drop((one, two));
    in_time(async { tokio::join!(anna.manager.close(), berta.manager.close()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_offer_at_once_and_are_believed() {
    for _ in 0..5 {
        let world = World::new();
        let (mut anna, mut berta) = world.both();
        let both = tokio::join!(anna.manager.connect("berta"), berta.manager.connect("anna"));
        assert_eq!(both, (Ok(()), Ok(())));
        opens(&mut anna, &mut berta).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_fingerprint_is_refused_in_an_offer_and_gets_no_place() {
    let world = World::new();
    let (anna, berta) = world.both();
    world.hub.lie(|said| {
        if let Signal::Offer { sdp, .. } = &mut said.signal {
            swap(sdp);
        }
    });
    anna.manager.connect("berta").await.unwrap();
    until_refused(&berta, RefusedReason::DescriptionForged, 1).await;
    assert_eq!(berta.manager.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_fingerprint_is_refused_in_an_answer() {
    let world = World::new();
    let (mut anna, mut berta) = world.both();
    world.hub.lie(|said| {
        if let Signal::Answer { sdp, .. } = &mut said.signal {
            swap(sdp);
        }
    });
    anna.manager.connect("berta").await.unwrap();
    until_refused(&anna, RefusedReason::DescriptionForged, 1).await;
    // Once nobody lies they meet.
    world.hub.lie(|_| {});
    in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_is_signed_too() {
    let world = World::new();
    let (mut anna, mut berta) = world.both();
    anna.manager.connect("berta").await.unwrap();
    let open = in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
    world.hub.lie(|said| {
        if let Signal::Restart { sdp, .. } = &mut said.signal {
            swap(sdp);
        }
    });
    anna.manager.network_changed().await.unwrap();
    until_refused(&berta, RefusedReason::DescriptionForged, 1).await;
    // It is said again, and nobody lies any more.
    world.hub.lie(|_| {});
    in_time(async { tokio::join!(anna.moved(), berta.moved()) }).await;
    drop(open);
}

/// Whoever carries signaling can neither end a connection nor have it look for another way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_false_farewell_and_a_false_wish_are_refused() {
    let world = World::new();
    let (mut anna, mut berta) = world.both();
    let (told, mut tells) = tokio::sync::mpsc::unbounded_channel::<SignedSignal>();
    world.hub.lie(move |said| {
        let _ = told.send(said.clone());
    });
    anna.manager.connect("berta").await.unwrap();
    let (one, mut two) = in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
    let offer = std::iter::from_fn(|| tells.try_recv().ok())
        .find(|said| matches!(said.signal, Signal::Offer { .. }))
        .unwrap();
    let Signal::Offer { id, .. } = offer.signal else {
        unreachable!("an offer")
    };
    let code = RefusalCode::Closed;
    for (number, signature) in [None, offer.signature].into_iter().enumerate() {
        for signal in [
            Signal::Refuse { id, code },
            Signal::WantRestart { id, round: 1 },
        ] {
            let signature = signature.clone();
            world
                .hub
                .deliver("berta", "anna", SignedSignal { signal, signature });
        }
        let reason = match number {
            0 => RefusedReason::DescriptionUnsigned,
            _ => RefusedReason::DescriptionForged,
        };
        until_counted(&anna, reason, 2).await;
    }
    let hello = Bytes::from_static(b"still here");
    one.1
        .tx
        .send(Channel::Control, hello.clone())
        .await
        .unwrap();
    assert_eq!(in_time(two.1.rx.control.recv()).await.unwrap(), hello);
    // A true one is believed.
    anna.manager.disconnect("berta").await.unwrap();
    let farewell = PeerState::Closed(GaveUp::Remote(RefusalCode::Closed));
    in_time(berta.state(farewell)).await;
    assert_eq!(berta.manager.refusals(), []);
}

/// The offer of somebody who has left, said again, gets no place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_comes_again_is_refused() {
    let world = World::new();
    let (mut anna, mut berta) = world.both();
    let (told, mut tells) = tokio::sync::mpsc::unbounded_channel::<SignedSignal>();
    world.hub.lie(move |said| {
        let _ = told.send(said.clone());
    });
    anna.manager.connect("berta").await.unwrap();
    let open = in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
    let offer = std::iter::from_fn(|| tells.try_recv().ok())
        .find(|said| matches!(said.signal, Signal::Offer { .. }))
        .unwrap();
    anna.manager.disconnect("berta").await.unwrap();
    let farewell = PeerState::Closed(GaveUp::Remote(RefusalCode::Closed));
    in_time(berta.state(farewell)).await;
    drop(open);
    in_time(async {
        while berta.manager.count() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    world.hub.deliver("anna", "berta", offer);
    until_refused(&berta, RefusedReason::DescriptionReplayed, 1).await;
    assert_eq!(berta.manager.count(), 0);
    // And a new one is taken.
    anna.manager.connect("berta").await.unwrap();
    in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
    let replayed = (RefusedReason::DescriptionReplayed, 1);
    assert_eq!(berta.manager.refusals(), [replayed], "only the one before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_signed_or_by_nobody_known_is_refused() {
    let world = World::new();
    let (anna, berta) = world.both();
    let mut stranger = config("mallory", 5);
    stranger.machine.connect_timeout = PATIENCE;
    let stranger = world.hub.node(stranger);
    stranger.manager.connect("berta").await.unwrap();
    until_refused(&berta, RefusedReason::CertificateMissing, 1).await;
    world.hub.lie(|said| said.signature = None);
    stranger.manager.disconnect("berta").await.unwrap();
    drop(stranger);
    berta.manager.connect("anna").await.unwrap();
    until_refused(&anna, RefusedReason::DescriptionUnsigned, 1).await;
    assert_eq!(anna.manager.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_and_another_session_are_refused() {
    let world = World::new();
    let berta = world.member("berta", "berta", "session 1");
    let false_anna = world.member("anna", "mallory", "session 1");
    false_anna.manager.connect("berta").await.unwrap();
    until_refused(&berta, RefusedReason::DescriptionForged, 1).await;
    in_time(false_anna.manager.close()).await;
    // What it has still said is counted before another one speaks.
    let id = AttemptId {
        incarnation: 0,
        number: 0,
        greater: false,
    };
    let sdp = String::new();
    let last = Signal::Offer { id, sdp };
    world.hub.deliver("anna", "berta", last);
    until_counted(&berta, RefusedReason::DescriptionUnsigned, 1).await;
    let before = berta.manager.refusals();
    let elsewhere = world.member("anna", "anna", "session 2");
    elsewhere.manager.connect("berta").await.unwrap();
    let forged = RefusedReason::DescriptionForged;
    let so_far = before.iter().find(|(it, _)| *it == forged).unwrap().1;
    until_counted(&berta, forged, so_far + 1).await;
    assert_eq!(berta.manager.count(), 0);
}

/// What anna said to berta comes back to her as berta's, and under another attempt's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reflected_or_renamed_is_refused() {
    let world = World::new();
    let anna = world.member("anna", "anna", "session 1");
    let (told, mut tells) = tokio::sync::mpsc::unbounded_channel::<SignedSignal>();
    world.hub.lie(move |said| {
        let _ = told.send(said.clone());
    });
    anna.manager.connect("berta").await.unwrap();
    let offer = loop {
        let said = in_time(tells.recv()).await.unwrap();
        if let Signal::Offer { .. } = said.signal {
            break said;
        }
    };
    let id = |said: &SignedSignal| match said.signal {
        Signal::Offer { id, .. } => id,
        _ => unreachable!("an offer"),
    };
    let mut reflected = offer.clone();
    let theirs = AttemptId {
        greater: true,
        ..id(&offer)
    };
    let text = sdp(&mut reflected.signal).unwrap().clone();
    reflected.signal = Signal::Offer {
        id: theirs,
        sdp: text.clone(),
    };
    world.hub.deliver("berta", "anna", reflected);
    until_refused(&anna, RefusedReason::DescriptionForged, 1).await;
    let answer = |id, signature: &Option<String>| SignedSignal {
        signal: Signal::Answer {
            id,
            newest: None,
            sdp: text.clone(),
        },
        signature: signature.clone(),
    };
    let own = answer(id(&offer), &offer.signature);
    world.hub.deliver("berta", "anna", own);
    until_refused(&anna, RefusedReason::DescriptionForged, 2).await;
}
