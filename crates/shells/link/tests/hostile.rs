//! Peers that flood, that send garbage, that read nothing: each costs bounded memory, and others do
//! not notice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test program, which prints its figures"
)]

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use support::raw::Stranger;
use support::{Pair, address_of, config, connect, trickle};
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use warp_link::CloseReason;
use warp_link::peer::{Answerer, Channels, Offerer};
use warp_peer_core::{Channel, MAX_FRAME, wire};

const PATIENCE: Duration = Duration::from_secs(60);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

/// One test at a time: they measure the memory of the process, and what is slow in it.
static ALONE: Mutex<()> = Mutex::const_new(());

/// How many rounds the bystanders talk before the attack.
const BEFORE: usize = 100;

/// How much slower their slowest round may be beside an attack: the attacker's own work is done by the
/// same two threads. What is lost and sent again by a timer takes a second, on a quiet machine too.
const SLOWER: u32 = 10;
const SLOW: Duration = Duration::from_secs(2);

/// How much more memory there may be at any time during an attack, KiB: of the credit of a peer (4 MiB on
/// a channel) what is on its way and waits, at both ends, and what the allocator keeps.
const MORE: u64 = 20_000;

/// A pair of honest peers that talk all the time.
struct Bystanders {
    pair: Pair,
    stop: CancellationToken,
    talk: AbortOnDropHandle<()>,
    rounds: Arc<Rounds>,
    slowest_before: Duration,
    memory_before: Option<u64>,
    _alone: MutexGuard<'static, ()>,
}

/// How long each round took.
#[derive(Default)]
struct Rounds {
    took: parking_lot::Mutex<Vec<Duration>>,
    more: Notify,
}

impl Rounds {
    /// Waits for so many, and takes them.
    async fn take(&self, count: usize) -> Vec<Duration> {
        while self.took.lock().len() < count {
            in_time(self.more.notified()).await;
        }
        std::mem::take(&mut *self.took.lock())
    }
}

impl Bystanders {
    async fn start() -> Self {
        let alone = ALONE.lock().await;
        let pair = connect().await;
        let (near, far) = tokio::join!(pair.offerer.channels(), pair.answerer.channels());
        let (near, far) = (near.unwrap(), far.unwrap());
        let (stop, rounds) = (CancellationToken::new(), Arc::<Rounds>::default());
        let talk = tokio::spawn(talk(near, far, rounds.clone(), stop.clone()));
        let before = rounds.take(BEFORE).await;
        Self {
            pair,
            stop,
            talk: AbortOnDropHandle::new(talk),
            rounds,
            slowest_before: before.into_iter().max().unwrap(),
            memory_before: memory("VmRSS:"),
            _alone: alone,
        }
    }

    /// The attack is over; they have been heard all the time, and memory has been bounded.
    async fn did_not_notice(self) {
        let memory_now = memory("VmHWM:");
        let during = self.rounds.take(1).await;
        self.stop.cancel();
        in_time(self.talk).await.unwrap();
        self.pair.close().await;
        let (before, slowest) = (self.slowest_before, during.iter().max().unwrap());
        let rounds = during.len();
        println!("slowest round {before:?} before, {slowest:?} in {rounds} rounds of the attack");
        assert!(
            *slowest < before * SLOWER + SLOW,
            "{slowest:?}, {before:?} before"
        );
        if let (Some(before), Some(most)) = (self.memory_before, memory_now) {
            println!("{before} KiB before, {most} KiB at most");
            assert!(most < before + MORE, "{before} KiB, then {most} KiB");
        }
    }
}

async fn talk(near: Channels, mut far: Channels, rounds: Arc<Rounds>, stop: CancellationToken) {
    let mut round = 0_u32;
    while !stop.is_cancelled() {
        let began = Instant::now();
        let frame = Bytes::from(round.to_be_bytes().repeat(100));
        near.tx
            .send(Channel::Reliable, frame.clone())
            .await
            .unwrap();
        assert_eq!(in_time(far.rx.reliable.recv()).await.unwrap(), frame);
        near.tx.send(Channel::Control, frame.clone()).await.unwrap();
        assert_eq!(in_time(far.rx.control.recv()).await.unwrap(), frame);
        round += 1;
        rounds.took.lock().push(began.elapsed());
        rounds.more.notify_one();
    }
}

/// Memory of this process, KiB; `None` where the system does not tell.
fn memory(which: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(which))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_beyond_the_credit_ends_the_connection_and_nothing_else() {
    let bystanders = Bystanders::start().await;
    let stranger = Stranger::connect().await;
    let mut message = vec![wire::VERSION << 4 | 1];
    message.resize(60_000, 7);
    // Nobody of ours reads. It is allowed 4 MiB, and tries 64.
    let flood = async {
        for _ in 0..1000 {
            if !stranger.say(Channel::File, &message).await {
                break;
            }
        }
    };
    let (reason, ()) = in_time(async { tokio::join!(stranger.ours.tx.closed(), flood) }).await;
    assert_eq!(reason, CloseReason::Violation);
    stranger.answerer.close().await;
    bystanders.did_not_notice().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unreliable_frames_is_dropped_and_the_connection_lives() {
    let bystanders = Bystanders::start().await;
    let mut stranger = Stranger::connect().await;
    let mut message = vec![wire::VERSION << 4 | 1];
    message.resize(1200, 7);
    for _ in 0..20_000 {
        assert!(stranger.say(Channel::Unreliable, &message).await);
    }
    // Only now somebody reads: a queue full of them, the rest was dropped and counted.
    stranger
        .say(Channel::Control, &[wire::VERSION << 4 | 1, 9])
        .await;
    assert_eq!(
        in_time(stranger.ours.rx.control.recv()).await.unwrap()[..],
        [9]
    );
    let lagged = stranger.ours.tx.stats().lagged;
    assert!(lagged > 0);
    stranger.answerer.close().await;
    let mut held = 0;
    while in_time(stranger.ours.rx.unreliable.recv()).await.is_some() {
        held += 1;
    }
    assert!(held <= warp_link::QUEUE_BYTES / 1200, "{held}");
    bystanders.did_not_notice().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_channel_ends_that_connection_and_no_other() {
    let bystanders = Bystanders::start().await;
    let version = wire::VERSION << 4;
    let packed_bomb = [
        &[version | 5][..],
        &(MAX_FRAME as u32).to_be_bytes(),
        &[0x1f, 0, 1, 0, 255, 255, 255],
    ]
    .concat();
    for (channel, garbage) in [
        (Channel::Control, &b"\xff\xff\xff"[..]),
        (Channel::Control, &[version | 7, 99]),
        (Channel::Unreliable, b"GET / HTTP/1.1"),
        (Channel::Reliable, &[version | 4, 1, 2, 3]),
        (Channel::Reliable, &[version | 2, 255, 255, 0]),
        (Channel::File, &[version | 3, 255, 255, 255, 255, 0]),
        (Channel::File, &packed_bomb),
    ] {
        let stranger = Stranger::connect().await;
        assert!(stranger.say(channel, garbage).await);
        let reason = in_time(stranger.ours.tx.closed()).await;
        assert_eq!(reason, CloseReason::Violation, "{channel:?} {garbage:?}");
        stranger.answerer.close().await;
        let _ = stranger.pc.close().await;
    }
    bystanders.did_not_notice().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_nobody_agreed_on_ends_that_connection_and_no_other() {
    let bystanders = Bystanders::start().await;
    let stranger = Stranger::connect().await;
    let work = async {
        for number in 0..100 {
            let label = format!("another {number}");
            let Ok(channel) = stranger.pc.create_data_channel(&label, None).await else {
                break;
            };
            // Kept by nobody, and never read.
            let _ = channel.send(BytesMut::from(&[7; 60_000][..])).await;
        }
    };
    let (reason, ()) = in_time(async { tokio::join!(stranger.ours.tx.closed(), work) }).await;
    assert_eq!(reason, CloseReason::Violation);
    stranger.answerer.close().await;
    bystanders.did_not_notice().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_below_the_channels_is_passed_over() {
    let _alone = ALONE.lock().await;
    let (offerer, mut near_candidates) = Offerer::new(config()).await.unwrap();
    let offer = offerer.create_offer().await.unwrap();
    let (answerer, answer, far_candidates) = Answerer::accept(config(), &offer).await.unwrap();
    offerer.accept_answer(&answer).await.unwrap();
    let candidate = near_candidates.next().await.unwrap();
    let target = address_of(&candidate);
    answerer.add_remote_candidate(&candidate).await.unwrap();
    trickle(near_candidates, &answerer).await;
    trickle(far_candidates, &offerer).await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let stop = CancellationToken::new();
    // First bytes of STUN, DTLS, TURN channels, RTP and nothing (RFC 7983), each with garbage.
    let garbage = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut state = 1_u64;
            let mut sent = 0_u32;
            while !stop.is_cancelled() {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let length = 1 + (state >> 40) as usize % 1300;
                let mut packet: Vec<u8> =
                    (0..length).map(|at| (state >> (at % 56)) as u8).collect();
                packet[0] = [0, 1, 20, 22, 23, 25, 64, 128, 255][sent as usize % 9];
                socket.send_to(&packet, target).await.unwrap();
                sent += 1;
                if sent.is_multiple_of(50) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            sent
        }
    });
    let (near, far) = tokio::join!(offerer.channels(), answerer.channels());
    let (near, mut far) = (near.unwrap(), far.unwrap());
    for number in 0..2000_u32 {
        let frame = Bytes::from(number.to_be_bytes().repeat(50));
        near.tx
            .send(Channel::Reliable, frame.clone())
            .await
            .unwrap();
        assert_eq!(in_time(far.rx.reliable.recv()).await.unwrap(), frame);
    }
    stop.cancel();
    assert!(garbage.await.unwrap() > 100);
    tokio::join!(offerer.close(), answerer.close());
}
