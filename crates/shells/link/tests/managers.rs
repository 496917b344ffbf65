//! Peer managers in one process, over real sockets on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test program")]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use support::hub::{Hub, Node, config};
use tokio::sync::mpsc;
use warp_link::manager::{ManagerError, NamedSignal, PeerEvent, PeerManager};
use warp_link::peer::{Channels, SelectedPair};
use warp_peer_core::{AttemptId, Channel, GaveUp, PeerState, RefusalCode, Signal};

const PATIENCE: Duration = Duration::from_secs(60);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

async fn talk(one: &mut Channels, two: &mut Channels) {
    let hello = Bytes::from_static(b"hello");
    one.tx.send(Channel::Control, hello.clone()).await.unwrap();
    two.tx.send(Channel::Control, hello.clone()).await.unwrap();
    assert_eq!(in_time(one.rx.control.recv()).await.unwrap(), hello);
    assert_eq!(in_time(two.rx.control.recv()).await.unwrap(), hello);
}

async fn close(nodes: &[&Node]) {
    for node in nodes {
        in_time(node.manager.close()).await;
        assert_eq!(node.manager.count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_offer_at_once_and_get_one_connection() {
    for _ in 0..10 {
        let hub = Hub::default();
        let (mut anna, mut berta) = (hub.node(config("anna", 5)), hub.node(config("berta", 5)));
        let both = tokio::join!(anna.manager.connect("berta"), berta.manager.connect("anna"));
        assert_eq!(both, (Ok(()), Ok(())));
        let (one, two) = in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
        assert_eq!((&*one.0, &*two.0), ("berta", "anna"));
        talk(&mut { one.1 }, &mut { two.1 }).await;
        close(&[&anna, &berta]).await;
        // Nothing came after it but the end.
        while let Ok(event) = anna.events.try_recv() {
            assert!(
                matches!(event, warp_link::manager::PeerEvent::State { .. }),
                "{event:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_too_many_is_refused_with_a_code() {
    let hub = Hub::default();
    let mut host = hub.node(config("host", 2));
    let mut guests = Vec::new();
    for name in ["one", "two"] {
        let mut guest = hub.node(config(name, 5));
        guest.manager.connect("host").await.unwrap();
        let theirs = in_time(guest.open()).await.1;
        let ours = in_time(host.open()).await.1;
        guests.push((guest, theirs, ours));
    }
    let mut third = hub.node(config("three", 5));
    third.manager.connect("host").await.unwrap();
    let refused = in_time(third.refused()).await;
    assert_eq!(refused, ("host".to_owned(), RefusalCode::Full));
    assert_eq!(
        host.manager.connect("four").await,
        Err(ManagerError::Full { limit: 2 })
    );
    assert_eq!(
        host.manager.connect("host").await,
        Err(ManagerError::Ourselves)
    );
    // The others do not notice; and when one leaves, its place is free.
    for (_, theirs, ours) in &mut guests {
        talk(theirs, ours).await;
    }
    guests[0].0.manager.disconnect("host").await.unwrap();
    let (name, mut ours) = in_time(host.open()).await;
    assert_eq!(name, "three");
    talk(&mut in_time(third.open()).await.1, &mut ours).await;
    close(&[&host, &third, &guests[0].0, &guests[1].0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_was_started_anew_is_connected_anew() {
    let hub = Hub::default();
    let (mut anna, mut berta) = (hub.node(config("anna", 5)), hub.node(config("berta", 5)));
    anna.manager.connect("berta").await.unwrap();
    let (one, two) = in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
    talk(&mut { one.1 }, &mut { two.1 }).await;
    // Killed: no farewell through signaling.
    let mut again = hub.node(config("berta", 5));
    drop(berta);
    again.manager.connect("anna").await.unwrap();
    let (one, two) = in_time(async { tokio::join!(anna.open(), again.open()) }).await;
    talk(&mut { one.1 }, &mut { two.1 }).await;
    close(&[&anna, &again]).await;
}

/// Every message of a stream of numbers on *reliable*, in order, while rounds go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_network_keeps_the_channels_and_what_is_on_them() {
    const EACH: u32 = 200;
    let hub = Hub::default();
    let (mut anna, mut berta) = (hub.node(config("anna", 5)), hub.node(config("berta", 5)));
    anna.manager.connect("berta").await.unwrap();
    let (one, two) = in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
    let (mut one, mut two) = (one.1, two.1);
    talk(&mut one, &mut two).await;
    let mut ways: HashMap<String, SelectedPair> = HashMap::new();
    let (tx, mut numbers) = (one.tx.clone(), 0_u32..);
    let mut expected = 0_u32..;
    // The side that offered, the other one, both.
    for round in 0..3 {
        if round != 1 {
            anna.manager.network_changed().await.unwrap();
        }
        if round != 0 {
            berta.manager.network_changed().await.unwrap();
        }
        let say = async {
            for number in numbers.by_ref().take(EACH as usize) {
                let number = Bytes::copy_from_slice(&number.to_be_bytes());
                tx.send(Channel::Reliable, number).await.unwrap();
            }
        };
        let hear = async {
            for number in expected.by_ref().take(EACH as usize) {
                let heard = two.rx.reliable.recv().await.unwrap();
                assert_eq!(heard, number.to_be_bytes()[..]);
            }
        };
        let moved = async {
            for node in [&mut anna, &mut berta] {
                node.state(PeerState::Restarting).await;
                let (before, now) = (ways.remove(&node.name), node.moved().await);
                // New sockets, here and there.
                assert_ne!(before.as_ref().map(ports), Some(ports(&now)));
                ways.insert(node.name.clone(), now);
            }
        };
        in_time(async { tokio::join!(say, hear, moved) }).await;
    }
    talk(&mut one, &mut two).await;
    for node in [&mut anna, &mut berta] {
        while let Ok(event) = node.events.try_recv() {
            assert!(
                matches!(event, PeerEvent::State { .. } | PeerEvent::Moved { .. }),
                "{event:?}"
            );
        }
    }
    close(&[&anna, &berta]).await;
}

fn ports(way: &SelectedPair) -> [u16; 2] {
    [way.local.port, way.remote.port]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_signaling_loses_ends_in_another_connection() {
    let hub = Hub::default();
    let mut quick = config("anna", 5);
    quick.machine.restart_timeout = Duration::from_millis(300);
    let (mut anna, mut berta) = (hub.node(quick), hub.node(config("berta", 5)));
    anna.manager.connect("berta").await.unwrap();
    in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
    hub.lie(|said| {
        if let Signal::Restart { round, .. } = &mut said.signal {
            // A round that was done before.
            *round = 0;
        }
    });
    anna.manager.network_changed().await.unwrap();
    let (one, two) = in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
    talk(&mut { one.1 }, &mut { two.1 }).await;
    close(&[&anna, &berta]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_disconnects_tells_the_other_for_good() {
    let hub = Hub::default();
    let (mut anna, mut berta) = (hub.node(config("anna", 5)), hub.node(config("berta", 5)));
    anna.manager.connect("berta").await.unwrap();
    in_time(async { tokio::join!(anna.open(), berta.open()) }).await;
    berta.manager.disconnect("anna").await.unwrap();
    let told = PeerState::Closed(GaveUp::Remote(RefusalCode::Closed));
    in_time(anna.state(told)).await;
    in_time(berta.state(PeerState::Closed(GaveUp::Local))).await;
    close(&[&anna, &berta]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_signals_that_are_no_offer_make_no_peer() {
    let hub = Hub::default();
    let anna = hub.node(config("anna", 5));
    let id = AttemptId {
        incarnation: 1,
        number: 1,
        // "stranger" is greater than "anna".
        greater: true,
    };
    for number in 0..100 {
        let (candidate, sdp) = ("{}".to_owned(), "v=0".to_owned());
        let name = format!("stranger {number}");
        let candidate = Signal::Candidate {
            id,
            round: 0,
            candidate,
        };
        hub.deliver(&name, "anna", candidate);
        hub.deliver(
            &name,
            "anna",
            Signal::Answer {
                id,
                newest: None,
                sdp,
            },
        );
        hub.deliver(
            &name,
            "anna",
            Signal::Refuse {
                id,
                code: RefusalCode::Closed,
            },
        );
    }
    // A bad offer makes one, which gives up by itself.
    hub.deliver(
        "stranger",
        "anna",
        Signal::Offer {
            id,
            sdp: "v=0".to_owned(),
        },
    );
    in_time(async {
        while anna.manager.count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(anna.manager.count(), 1);
    close(&[&anna]).await;
}

/// What a manager says to signaling is taken by nobody until it is full.
struct Stuck {
    manager: PeerManager,
    events: mpsc::Receiver<PeerEvent>,
    inbound: mpsc::Sender<NamedSignal>,
    outbound: mpsc::Sender<NamedSignal>,
    outbox: mpsc::Receiver<NamedSignal>,
    offers: u32,
}

impl Stuck {
    /// Has a task of a peer that waits for signaling, with as many signals as may wait for it.
    async fn flood(&mut self) {
        while self.outbound.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..400 {
            self.offers += 1;
            let id = AttemptId {
                incarnation: 1,
                number: self.offers,
                greater: false,
            };
            // Each is answered by our own offer, which wins.
            let sdp = String::new();
            let offer = ("anna".to_owned(), Signal::Offer { id, sdp }.into());
            self.inbound.send(offer).await.unwrap();
        }
        while self.inbound.capacity() < self.inbound.max_capacity() {
            tokio::task::yield_now().await;
        }
    }

    /// Returns when all commands before have come to the peers.
    async fn commanded(&self) {
        let ourselves = self.manager.connect("berta").await;
        assert_eq!(ourselves, Err(ManagerError::Ourselves));
    }
}

#[tokio::test]
async fn commands_reach_a_peer_that_is_flooded_with_signals() {
    let (outbound, outbox) = mpsc::channel(1);
    let (inbound, signals) = mpsc::channel(1024);
    let mut config = config("berta", 1);
    // Nothing is tried again by itself meanwhile.
    config.machine.connect_timeout = 2 * PATIENCE;
    let (manager, events) = PeerManager::start(config, signals, outbound.clone());
    let mut stuck = Stuck {
        manager,
        events,
        inbound,
        outbound,
        outbox,
        offers: 0,
    };
    stuck.manager.connect("anna").await.unwrap();
    in_time(stuck.flood()).await;
    stuck.manager.network_changed().await.unwrap();
    stuck.commanded().await;
    // The connection is offered anew.
    in_time(async {
        while !matches!(
            stuck.outbox.recv().await.unwrap().1.signal,
            Signal::Offer { id, .. } if id.number == 2
        ) {}
    })
    .await;
    in_time(stuck.flood()).await;
    stuck.manager.disconnect("anna").await.unwrap();
    stuck.manager.connect("anna").await.unwrap();
    stuck.commanded().await;
    let taken = async { while stuck.outbox.recv().await.is_some() {} };
    let changed = async {
        let mut states = Vec::new();
        while let Some(event) = stuck.events.recv().await {
            if let PeerEvent::State { state, .. } = event {
                states.push(state);
                if states.ends_with(&[PeerState::Closed(GaveUp::Local), PeerState::Offering]) {
                    break;
                }
            }
        }
    };
    in_time(async {
        tokio::select! {
            () = taken => unreachable!("the manager runs"),
            () = changed => {}
        }
    })
    .await;
    assert_eq!(stuck.manager.count(), 1);
    in_time(stuck.manager.close()).await;
}
