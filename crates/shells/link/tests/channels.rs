//! The four channels between two peers in one process, over real sockets on loopback: by their rules
//! under loss, with a reader that stops, and with a way that goes dark.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test program")]

mod support;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use support::{Pair, connect, connect_through_relay};
use warp_link::CloseReason;
use warp_link::peer::{
    ChannelReceiver, ChannelReceivers, ChannelSender, Channels, SILENT_AFTER, SendError,
};
use warp_peer_core::{Channel, Class, MAX_FRAME, Refused, WINDOWS};

/// A test that takes longer has lost something.
const PATIENCE: Duration = Duration::from_secs(120);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

async fn channels_of(pair: &Pair) -> (Channels, Channels) {
    let (near, far) = tokio::join!(pair.offerer.channels(), pair.answerer.channels());
    (near.unwrap(), far.unwrap())
}

/// Bytes that do not compress.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = u64::from(seed);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Frame `number` of a channel: half of them compressible. Lengths up to `longest`.
fn frame(number: u32, longest: usize) -> Bytes {
    let len = (number as usize).wrapping_mul(104_729) % (longest - 3);
    let mut bytes = number.to_be_bytes().to_vec();
    if number.is_multiple_of(2) {
        bytes.resize(4 + len, 7);
    } else {
        bytes.extend(noise(len, number));
    }
    Bytes::from(bytes)
}

/// Sends `count` frames and returns their digest.
async fn send_all(tx: ChannelSender, channel: Channel, count: u32, longest: usize) -> Vec<u8> {
    let mut digest = Sha256::new();
    for number in 0..count {
        let frame = frame(number, longest);
        digest.update(&frame);
        tx.send(channel, frame).await.unwrap();
    }
    digest.finalize().to_vec()
}

/// The digest of `count` frames as they came.
async fn receive_all(mut rx: ChannelReceiver, count: u32) -> Vec<u8> {
    let mut digest = Sha256::new();
    for _ in 0..count {
        digest.update(in_time(rx.recv()).await.expect("it is open"));
    }
    digest.finalize().to_vec()
}

const UNRELIABLE: u32 = 2000;

/// One frame a millisecond.
async fn send_unreliable(tx: ChannelSender) {
    let mut clock = tokio::time::interval(Duration::from_millis(1));
    for number in 0..UNRELIABLE {
        clock.tick().await;
        tx.send(Channel::Unreliable, frame(number, 600))
            .await
            .unwrap();
    }
}

/// How many came within the time; each whole and once.
async fn receive_unreliable(mut rx: ChannelReceiver) -> usize {
    let mut seen = HashSet::new();
    // The last ones may be lost: nothing for longer than SCTP is silent by itself is the end.
    while let Ok(got) = tokio::time::timeout(Duration::from_secs(8), rx.recv()).await {
        let got = got.expect("it is open");
        let number = u32::from_be_bytes(got[..4].try_into().unwrap());
        assert_eq!(got, frame(number, 600));
        assert!(seen.insert(number), "{number} came twice");
    }
    seen.len()
}

/// All four channels at once in one direction; returns how many unreliable frames came.
async fn one_way(tx: ChannelSender, rx: ChannelReceivers) -> usize {
    let send =
        |channel, count, longest| tokio::spawn(send_all(tx.clone(), channel, count, longest));
    let control = send(Channel::Control, 200, 1000);
    let reliable = send(Channel::Reliable, 100, 20_000);
    let file = send(Channel::File, 4, 400_000);
    let unreliable = tokio::spawn(send_unreliable(tx));
    let (control_got, reliable_got, file_got, some) = tokio::join!(
        receive_all(rx.control, 200),
        receive_all(rx.reliable, 100),
        receive_all(rx.file, 4),
        receive_unreliable(rx.unreliable),
    );
    assert_eq!(control_got, control.await.unwrap());
    assert_eq!(reliable_got, reliable.await.unwrap());
    assert_eq!(file_got, file.await.unwrap());
    unreliable.await.unwrap();
    some
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_kinds_deliver_by_their_rules_under_five_percent_loss() {
    let (pair, relay) = connect_through_relay().await;
    let (near, far) = channels_of(&pair).await;
    relay.loss.store(50, Ordering::Relaxed);
    let (near_tx, far_tx) = (near.tx.clone(), far.tx.clone());
    let (near_ends, far_ends) = (near.tx.clone(), far.tx.clone());
    let (there, back) = tokio::select! {
        some = async { tokio::join!(one_way(near.tx, far.rx), one_way(far.tx, near.rx)) } => some,
        reason = near_ends.closed() => panic!("{reason} {:?} {:?}", near_ends.stats(), far_ends.stats()),
        reason = far_ends.closed() => panic!("{reason} {:?} {:?}", near_ends.stats(), far_ends.stats()),
    };
    for (some, sender) in [(there, near_tx), (back, far_tx)] {
        // Five in a hundred messages are lost, and a message holds some frames. While SCTP sends bulk
        // again, it takes nothing else, and the outbox drops what is stale.
        let left = sender.stats().sent.frames[Channel::Unreliable as usize];
        println!("{some} of {left} of {UNRELIABLE}, {:?}", sender.stats());
        assert!(some < UNRELIABLE as usize, "nothing is sent again");
        assert!(some as f64 > 0.8 * left as f64, "{some} of {left}");
    }
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_holds_up_no_other_channel_and_costs_its_sender_bounded_memory() {
    let pair = connect().await;
    let (near, mut far) = channels_of(&pair).await;
    let frame = Bytes::from(noise(MAX_FRAME / 4, 1));
    // Nobody reads file. More than is ever taken.
    let mut refused = 0;
    let patience = Instant::now();
    while refused < 100 {
        let sent = near
            .tx
            .try_send(Channel::File, Class::Normal, frame.clone());
        if sent == Err(SendError::Refused(Refused::Full)) {
            refused += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(patience.elapsed() < PATIENCE);
    }
    let queued = near.tx.stats().queued;
    assert!(queued <= 17 * 1024 * 1024, "{queued}");
    for number in 0..100_u8 {
        near.tx
            .send(Channel::Control, Bytes::from(vec![number]))
            .await
            .unwrap();
        let got = in_time(far.rx.control.recv()).await.unwrap();
        assert_eq!(got[..], [number]);
        near.tx
            .send(Channel::Reliable, Bytes::from(vec![number; 2000]))
            .await
            .unwrap();
        let got = in_time(far.rx.reliable.recv()).await.unwrap();
        assert_eq!(got[..], [number; 2000]);
    }
    // A sender that waits goes on when somebody reads.
    let mut waiting = tokio::spawn({
        let (tx, frame) = (near.tx.clone(), frame.clone());
        async move { tx.send(Channel::File, frame).await }
    });
    let mut held = 0;
    loop {
        tokio::select! {
            sent = &mut waiting => {
                sent.unwrap().unwrap();
                break;
            }
            got = in_time(far.rx.file.recv()) => held += got.unwrap().len(),
        }
    }
    assert!(held > WINDOWS[2] / 2, "{held}");
    pair.close().await;
}

#[tokio::test]
async fn who_waits_to_send_hears_of_the_end() {
    let pair = connect().await;
    let (near, _far) = channels_of(&pair).await;
    let tx = near.tx.clone();
    let waiting = tokio::spawn(async move {
        loop {
            let frame = Bytes::from(noise(MAX_FRAME, 1));
            if let Err(error) = near.tx.send(Channel::File, frame).await {
                return error;
            }
        }
    });
    // Nobody reads: the queue fills up, and who sends waits.
    let full = async {
        while tx.stats().queued < 11 * MAX_FRAME {
            tokio::task::yield_now().await;
        }
    };
    in_time(full).await;
    pair.close().await;
    assert_eq!(in_time(waiting).await.unwrap(), SendError::Closed);
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_noticed_within_a_second_and_given_up_later() {
    let (pair, relay) = connect_through_relay().await;
    let (near, mut far) = channels_of(&pair).await;
    near.tx
        .send(Channel::Control, Bytes::from_static(b"x"))
        .await
        .unwrap();
    in_time(far.rx.control.recv()).await.unwrap();
    let mut silent = near.tx.silent();
    assert!(!*silent.borrow());
    relay.dark.store(true, Ordering::Relaxed);
    in_time(silent.wait_for(|silent| *silent)).await.unwrap();
    relay.dark.store(false, Ordering::Relaxed);
    in_time(silent.wait_for(|silent| !*silent)).await.unwrap();
    relay.dark.store(true, Ordering::Relaxed);
    assert_eq!(in_time(near.tx.closed()).await, CloseReason::Unreachable);
    assert!(SILENT_AFTER < Duration::from_secs(1));
    pair.close().await;
}

#[tokio::test]
async fn carrier_and_channels_share_a_connection() {
    let mut pair = connect().await;
    let (near, mut far) = channels_of(&pair).await;
    let datagram = Bytes::from(vec![5; 1202]);
    pair.near.tx.try_send(datagram.clone()).unwrap();
    near.tx
        .send(Channel::Unreliable, Bytes::from_static(b"frame"))
        .await
        .unwrap();
    assert_eq!(pair.far.rx.recv().await.unwrap(), datagram);
    assert_eq!(
        in_time(far.rx.unreliable.recv()).await.unwrap(),
        b"frame"[..]
    );
    let error = pair.offerer.channels().await.unwrap_err();
    assert_eq!(error.code(), "p2p-already-taken");
    pair.close().await;
    assert_eq!(far.rx.file.recv().await, None);
}
