//! The WebRTC carrier between two peers in one process, over real sockets on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test program")]

mod support;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use support::{config, connect, connect_through_relay, trickle, without_candidates};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use warp_link::peer::{Answerer, MAX_REMOTE_CANDIDATES, Offerer, PeerConfig, PeerState};
use warp_link::{CarrierReceiver, CarrierSender, CloseReason, MAX_DATAGRAM};

/// Datagram `number`: its number and a filling that depends on it. Lengths run from 4 to 1210.
fn datagram(number: u32) -> Bytes {
    let len = if number.is_multiple_of(3) {
        1210
    } else {
        4 + number as usize % 1200
    };
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((4..len).map(|at| (at as u32).wrapping_mul(31).wrapping_add(number) as u8));
    Bytes::from(bytes)
}

/// How far a sender may be ahead of the receiver: a queue is what is tested elsewhere.
const WINDOW: usize = 64;

/// A test that takes longer has lost something.
const PATIENCE: Duration = Duration::from_secs(20);

async fn send_all(tx: &CarrierSender, count: u32, window: &Semaphore) {
    for number in 0..count {
        window.acquire().await.unwrap().forget();
        tx.try_send(datagram(number)).unwrap();
    }
}

async fn receive_all(rx: &mut CarrierReceiver, count: u32, window: &Semaphore) {
    let mut missing: HashSet<u32> = (0..count).collect();
    while !missing.is_empty() {
        let got = tokio::time::timeout(PATIENCE, rx.recv()).await;
        let got = got.expect("nothing is lost").expect("the carrier works");
        let number = u32::from_be_bytes(got[..4].try_into().unwrap());
        assert_eq!(got, datagram(number));
        assert!(missing.remove(&number), "datagram {number} came twice");
        window.add_permits(1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_datagrams_arrive_both_ways_as_they_were() {
    let mut pair = connect().await;
    let (there, back) = (Semaphore::new(WINDOW), Semaphore::new(WINDOW));
    tokio::join!(
        send_all(&pair.near.tx, 1000, &there),
        send_all(&pair.far.tx, 1000, &back),
        receive_all(&mut pair.near.rx, 1000, &back),
        receive_all(&mut pair.far.rx, 1000, &there),
    );
    // A datagram is counted a moment after it is there.
    let counted = async {
        loop {
            let stats = pair.near.tx.stats();
            if (stats.sent, stats.received) == (1000, 1000) {
                return stats;
            }
            tokio::task::yield_now().await;
        }
    };
    let stats = tokio::time::timeout(PATIENCE, counted).await.unwrap();
    assert_eq!(stats.sent_bytes, stats.received_bytes);
    assert_eq!(
        (stats.dropped_full, stats.dropped_lagging, stats.ignored),
        (0, 0, 0)
    );
    let used = pair.offerer.selected_pair().await.unwrap();
    assert_eq!(used.local.kind, "host");
    assert_ne!(used.local.port, used.remote.port);
    assert_eq!(*pair.answerer.states().borrow(), PeerState::Connected);
    assert_eq!(
        pair.offerer.opened().await.unwrap_err().code(),
        "p2p-already-taken"
    );
    pair.close().await;
}

#[tokio::test]
async fn the_longest_datagram_goes_and_an_empty_one_harms_nothing() {
    let mut pair = connect().await;
    pair.near.tx.try_send(Bytes::new()).unwrap();
    let longest = Bytes::from(vec![9; MAX_DATAGRAM]);
    pair.near.tx.try_send(longest.clone()).unwrap();
    let mut got = pair.far.rx.recv().await.unwrap();
    if got.is_empty() {
        got = pair.far.rx.recv().await.unwrap();
    }
    assert_eq!(got, longest);
    pair.close().await;
}

#[tokio::test]
async fn the_machines_own_addresses_work_without_loopback() {
    let (offerer, near_candidates) = match Offerer::new(PeerConfig::default()).await {
        Ok(made) => made,
        // A machine without any network is what this error is for.
        Err(error) => return assert_eq!(error.code(), "p2p-no-local-address"),
    };
    let offer = offerer.create_offer().await.unwrap();
    assert!(!offer.contains("127.0.0.1"), "{offer}");
    let (answerer, answer, far_candidates) = Answerer::accept(PeerConfig::default(), &offer)
        .await
        .unwrap();
    offerer.accept_answer(&answer).await.unwrap();
    let ((), (), near, far) = tokio::join!(
        trickle(near_candidates, &answerer),
        trickle(far_candidates, &offerer),
        offerer.opened(),
        answerer.opened(),
    );
    let (near, mut far) = (near.unwrap(), far.unwrap());
    near.tx.try_send(datagram(3)).unwrap();
    assert_eq!(far.rx.recv().await.unwrap(), datagram(3));
    tokio::join!(offerer.close(), answerer.close());
}

#[tokio::test]
async fn candidates_may_come_after_the_answer_or_before_it() {
    let (offerer, near_candidates) = Offerer::new(config()).await.unwrap();
    let offer = without_candidates(&offerer.create_offer().await.unwrap());
    let (answerer, answer, mut far_candidates) = Answerer::accept(config(), &offer).await.unwrap();
    // The offerer hears of the candidate first, then of the answer.
    let early = far_candidates.next().await.unwrap();
    offerer.add_remote_candidate(&early).await.unwrap();
    offerer
        .accept_answer(&without_candidates(&answer))
        .await
        .unwrap();
    // The answerer hears of its candidates last.
    trickle(near_candidates, &answerer).await;
    let end = json!({"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0});
    answerer.add_remote_candidate(&end).await.unwrap();
    let (near, far) = tokio::join!(offerer.opened(), answerer.opened());
    let (near, mut far) = (near.unwrap(), far.unwrap());
    near.tx.try_send(datagram(3)).unwrap();
    assert_eq!(far.rx.recv().await.unwrap(), datagram(3));
    tokio::join!(offerer.close(), answerer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_is_one_packet_and_is_never_sent_again() {
    let (mut pair, relay) = connect_through_relay().await;
    relay.drop_every.store(5, Ordering::Relaxed);
    const COUNT: u32 = 300;
    // A full datagram of the session link, and the longest that a carrier takes.
    let send = |tx: CarrierSender| async move {
        for number in 0..COUNT {
            let len = if number % 2 == 0 { 1210 } else { MAX_DATAGRAM };
            let mut bytes = vec![0; len];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            tx.try_send(Bytes::from(bytes)).unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let expected = COUNT - COUNT / 5;
    let receive = async |rx: &mut CarrierReceiver| {
        for got in 0..expected {
            let next = tokio::time::timeout(PATIENCE, rx.recv()).await;
            assert!(next.is_ok_and(|next| next.is_some()), "only {got} came");
        }
    };
    tokio::join!(
        send(pair.near.tx.clone()),
        send(pair.far.tx.clone()),
        receive(&mut pair.near.rx),
        receive(&mut pair.far.rx),
    );
    for seen in [&relay.from_near, &relay.from_far] {
        // The last datagram is one that the relay drops: nobody receives it.
        let all = async {
            while seen.large.load(Ordering::Relaxed) < u64::from(COUNT) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, all).await;
        let large = seen.large.load(Ordering::Relaxed);
        let dropped = seen.dropped.load(Ordering::Relaxed);
        assert_eq!(large, u64::from(COUNT), "split or sent again");
        assert_eq!(dropped, u64::from(COUNT / 5));
        // MAX_DATAGRAM, 1 of our header, 3 of padding, 28 of SCTP, 37 of DTLS.
        let longest = seen.longest.load(Ordering::Relaxed);
        assert!(longest <= MAX_DATAGRAM as u64 + 69, "{longest}");
    }
    pair.close().await;
}

#[tokio::test]
async fn when_one_side_closes_the_other_hears_why() {
    let mut pair = connect().await;
    pair.near.tx.try_send(datagram(6)).unwrap();
    assert_eq!(pair.far.rx.recv().await.unwrap(), datagram(6));
    pair.offerer.close().await;
    assert_eq!(pair.near.rx.recv().await, None);
    assert_eq!(pair.near.rx.close_reason(), Some(CloseReason::Local));
    assert_eq!(pair.far.rx.recv().await, None);
    assert_eq!(pair.far.tx.closed().await, CloseReason::Remote);
    assert_eq!(*pair.offerer.states().borrow(), PeerState::Closed);
    // Freed without being asked, and closing it nevertheless is fine.
    pair.answerer.close().await;
    assert_eq!(pair.far.tx.close_reason(), Some(CloseReason::Remote));
}

#[tokio::test]
async fn dropping_the_carrier_or_the_peer_closes_the_other_side() {
    let mut pair = connect().await;
    drop(pair.near);
    assert_eq!(pair.far.rx.recv().await, None);
    assert_eq!(pair.far.rx.closed().await, CloseReason::Remote);

    let mut pair = connect().await;
    drop(pair.answerer);
    assert_eq!(pair.near.rx.recv().await, None);
    assert_eq!(pair.near.rx.closed().await, CloseReason::Remote);
    assert_eq!(pair.far.rx.closed().await, CloseReason::Local);
}

#[tokio::test]
async fn without_an_answer_the_time_runs_out() {
    let config = PeerConfig {
        connect_timeout: Duration::from_millis(50),
        ..config()
    };
    let (offerer, _candidates) = Offerer::new(config).await.unwrap();
    offerer.create_offer().await.unwrap();
    let error = offerer.opened().await.unwrap_err();
    assert_eq!(error.code(), "p2p-timeout");
    offerer.close().await;
    assert_eq!(offerer.opened().await.unwrap_err().code(), "p2p-closed");
}

#[tokio::test]
async fn waiting_can_be_abandoned_and_closing_ends_a_wait() {
    let (offerer, mut candidates) = Offerer::new(config()).await.unwrap();
    let offer = offerer.create_offer().await.unwrap();
    // The answering side connects to nobody, and its owner loses interest.
    let (answerer, _answer, _candidates) = Answerer::accept(config(), &offer).await.unwrap();
    tokio::select! {
        biased;
        opened = answerer.opened() => panic!("nobody is there: {opened:?}"),
        () = tokio::task::yield_now() => {}
    }
    drop(answerer);
    let (opened, ()) = tokio::join!(offerer.opened(), offerer.close());
    assert_eq!(opened.unwrap_err().code(), "p2p-closed");
    while candidates.next().await.is_some() {}
}

#[tokio::test]
async fn a_bad_answer_or_candidate_is_an_error_and_no_more() {
    let (offerer, _candidates) = Offerer::new(config()).await.unwrap();
    let offer = offerer.create_offer().await.unwrap();
    for bad in ["", "v=0\r\n", &offer.replace("m=application", "m=audio")] {
        let error = offerer.accept_answer(bad).await.unwrap_err();
        assert_eq!(error.code(), "p2p-bad-description");
    }
    let error = Answerer::accept(config(), "v=0\r\nm=application 9 x y\r\n")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "p2p-bad-description");

    let (answerer, answer, _candidates) = Answerer::accept(config(), &offer).await.unwrap();
    let bad = json!({"candidate": "candidate:1 1 udp notanumber 127.0.0.1 9 typ host"});
    let error = answerer.add_remote_candidate(&bad).await.unwrap_err();
    assert_eq!(error.code(), "p2p-bad-candidate");
    for port in 1_u16..16 {
        let candidate =
            json!({"candidate": format!("candidate:1 1 udp 1 192.0.2.1 {port} typ host")});
        answerer.add_remote_candidate(&candidate).await.unwrap();
    }
    let one_more = json!({"candidate": "candidate:1 1 udp 1 192.0.2.2 1 typ host"});
    let error = answerer.add_remote_candidate(&one_more).await.unwrap_err();
    assert_eq!(error.code(), "p2p-too-many-candidates");
    // After all that the good ones still work.
    offerer.accept_answer(&answer).await.unwrap();
    let (near, far) = tokio::join!(offerer.opened(), answerer.opened());
    near.unwrap();
    far.unwrap();
    tokio::join!(offerer.close(), answerer.close());
}

#[tokio::test]
async fn early_candidates_and_those_of_the_description_count_together() {
    let (offerer, _candidates) = Offerer::new(config()).await.unwrap();
    let offer = offerer.create_offer().await.unwrap();
    let (answerer, answer, _candidates) = Answerer::accept(config(), &offer).await.unwrap();
    let mut sockets = Vec::new();
    for _ in 0..=MAX_REMOTE_CANDIDATES {
        sockets.push(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    }
    let candidate = |socket: &UdpSocket| {
        let port = socket.local_addr().unwrap().port();
        json!({"candidate": format!("candidate:1 1 udp 1 127.0.0.1 {port} typ host")})
    };
    let (one_more, early) = sockets.split_last().unwrap();
    for socket in early {
        offerer
            .add_remote_candidate(&candidate(socket))
            .await
            .unwrap();
    }
    for answered in [false, true] {
        if answered {
            // Its candidate is tried, and takes the place of the last early one.
            offerer.accept_answer(&answer).await.unwrap();
        }
        let error = offerer.add_remote_candidate(&candidate(one_more)).await;
        assert_eq!(error.unwrap_err().code(), "p2p-too-many-candidates");
    }
    for socket in &early[..MAX_REMOTE_CANDIDATES - 1] {
        assert!(socket.recv(&mut [0; 1500]).await.unwrap() > 0);
    }
    let (near, far) = tokio::join!(offerer.opened(), answerer.opened());
    near.unwrap();
    far.unwrap();
    for socket in &sockets[MAX_REMOTE_CANDIDATES - 1..] {
        let nothing = socket.try_recv(&mut [0; 1500]).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    }
    tokio::join!(offerer.close(), answerer.close());
}

/// One change to a text: what a careless or hostile signaling could do to it.
#[derive(Debug, Clone)]
enum Change {
    DropLine(prop::sample::Index),
    DoubleLine(prop::sample::Index),
    CutAt(prop::sample::Index),
    Replace(prop::sample::Index, String),
    Number(prop::sample::Index, String),
}

fn change() -> impl Strategy<Value = Change> {
    let number = prop_oneof![
        Just("0".to_owned()),
        Just("-1".to_owned()),
        Just("99999999999999999999".to_owned()),
        any::<u32>().prop_map(|number| number.to_string()),
        Just(String::new()),
    ];
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Change::DropLine),
        any::<prop::sample::Index>().prop_map(Change::DoubleLine),
        any::<prop::sample::Index>().prop_map(Change::CutAt),
        (any::<prop::sample::Index>(), "\\PC{0,8}")
            .prop_map(|(at, text)| Change::Replace(at, text)),
        (any::<prop::sample::Index>(), number).prop_map(|(at, text)| Change::Number(at, text)),
    ]
}

fn apply(text: &str, change: &Change) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    if lines.is_empty() {
        return String::new();
    }
    match change {
        Change::DropLine(at) => {
            let at = at.index(lines.len());
            let kept = lines.iter().enumerate().filter(|(index, _)| *index != at);
            kept.map(|(_, line)| *line).collect()
        }
        Change::DoubleLine(at) => {
            let line = lines[at.index(lines.len())];
            text.replacen(line, &line.repeat(2), 1)
        }
        Change::CutAt(at) => text.chars().take(at.index(text.len())).collect(),
        Change::Replace(at, with) => {
            let mut chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len().max(1)).min(chars.len());
            chars.splice(at..(at + 1).min(chars.len()), with.chars());
            chars.into_iter().collect()
        }
        Change::Number(at, with) => {
            let numbers: Vec<&str> = text
                .split(|c: char| !c.is_ascii_digit())
                .filter(|number| !number.is_empty())
                .collect();
            if numbers.is_empty() {
                return text.to_owned();
            }
            text.replacen(numbers[at.index(numbers.len())], with, 1)
        }
    }
}

/// Runs one case on a runtime of its own, and fails if the library left a task behind.
fn on_runtime(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(case);
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn changed_descriptions_never_panic_and_leave_nothing_behind(
        changes in proptest::collection::vec(change(), 1..4),
    ) {
        on_runtime(async {
            let (offerer, _candidates) = Offerer::new(config()).await.unwrap();
            let offer = offerer.create_offer().await.unwrap();
            let bad_offer = changes.iter().fold(offer.clone(), |text, change| apply(&text, change));
            if let Ok((answerer, _answer, _candidates)) = Answerer::accept(config(), &bad_offer).await {
                answerer.close().await;
            }
            let (answerer, answer, _candidates) =
                Answerer::accept(config(), &offer).await.unwrap();
            let bad_answer = changes.iter().fold(answer, |text, change| apply(&text, change));
            // Whether it is taken depends on what was changed.
            let _ = offerer.accept_answer(&bad_answer).await;
            tokio::join!(offerer.close(), answerer.close());
        });
    }

    #[test]
    fn changed_candidates_never_panic(
        changes in proptest::collection::vec(change(), 1..4),
        wild in "\\PC{0,80}",
    ) {
        on_runtime(async {
            let (offerer, _candidates) = Offerer::new(config()).await.unwrap();
            let offer = offerer.create_offer().await.unwrap();
            let (answerer, _answer, _candidates) =
                Answerer::accept(config(), &offer).await.unwrap();
            let good = "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ srflx raddr 0.0.0.0 rport 9";
            let bad = changes.iter().fold(good.to_owned(), |text, change| apply(&text, change));
            for text in [bad, wild] {
                let _ = answerer
                    .add_remote_candidate(&json!({"candidate": text}))
                    .await;
            }
            tokio::join!(offerer.close(), answerer.close());
        });
    }
}
