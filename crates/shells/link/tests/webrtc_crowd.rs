//! A node with 50 and with 200 peers, and with 50 over ways that lose datagrams: all connect, all
//! messages arrive by the rules of their channels, one more is refused. A program of its own, because it
//! prints the memory of the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test program, which prints its figures"
)]

mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use support::hub::{Hub, Node, config};
use warp_link::manager::ManagerConfig;
use warp_link::peer::Channels;
use warp_peer_core::{Channel, RefusalCode};

const PATIENCE: Duration = Duration::from_secs(240);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

/// What a peer sends on each channel.
const FRAMES: usize = 20;

/// Those of the unreliable channel are shorter: it has no longer ones than a datagram.
fn frame(name: &str, channel: Channel, number: usize) -> Bytes {
    let seed = Sha256::digest(format!("{name} {} {number}", channel.label()));
    let longer = if channel.is_reliable() { 3 } else { 1 };
    Bytes::from(seed.repeat(1 + number * longer))
}

async fn send_all(name: String, channels: &Channels) {
    for number in 0..FRAMES {
        for channel in Channel::ALL {
            let frame = frame(&name, channel, number);
            channels.tx.send(channel, frame).await.unwrap();
        }
    }
}

/// The reliable channels bring all, in order. Returns how many frames the unreliable one brought, each
/// of them whole, as it was sent, and once.
async fn receive_all(name: String, mut channels: Channels) -> (Channels, usize) {
    let rx = &mut channels.rx;
    for (channel, rx) in [
        (Channel::Control, &mut rx.control),
        (Channel::Reliable, &mut rx.reliable),
        (Channel::File, &mut rx.file),
    ] {
        let (mut got, mut sent) = (Sha256::new(), Sha256::new());
        for number in 0..FRAMES {
            let Some(frame_got) = in_time(rx.recv()).await else {
                panic!("{name}: {}", channels.tx.closed().await);
            };
            got.update(frame_got);
            sent.update(frame(&name, channel, number));
        }
        assert_eq!(
            got.finalize(),
            sent.finalize(),
            "{name} {}",
            channel.label()
        );
    }
    let unreliable = |number| frame(&name, Channel::Unreliable, number);
    let mut sent: HashSet<Bytes> = (0..FRAMES).map(unreliable).collect();
    // What has not come before all the rest is not waited for.
    while let Some(Some(got)) = rx.unreliable.recv().now_or_never() {
        assert!(
            sent.remove(&got),
            "{name}: {} bytes, never sent or twice",
            got.len()
        );
    }
    (channels, FRAMES - sent.len())
}

/// How many arrive at the same moment.
const ARRIVING: usize = 20;

/// How many peers there may be is looked at here, and not how fast a busy machine connects them.
fn patient(name: &str, max_peers: usize) -> ManagerConfig {
    let mut config = config(name, max_peers);
    config.peer.connect_timeout = Duration::from_secs(60);
    config.peer.given_up_after = Duration::from_secs(60);
    config.machine.connect_timeout = Duration::from_secs(60);
    config
}

/// Of a thousand datagrams `loss` are lost once all are connected.
async fn crowd(count: usize, hub: Hub, loss: u64) {
    let mut host = hub.node(patient("host", count));
    let before = (resident(), Instant::now());
    // Events are taken all the time: a node waits for who does not take them.
    let ours = tokio::spawn(async move {
        let mut ours = Vec::new();
        for _ in 0..count {
            ours.push(in_time(host.open()).await);
        }
        (host, ours)
    });
    let (mut guests, mut theirs) = (Vec::<Node>::new(), Vec::new());
    while guests.len() < count {
        let arriving = guests.len()..count.min(guests.len() + ARRIVING);
        for number in arriving.clone() {
            let guest = hub.node(patient(&format!("guest {number}"), 1));
            guest.manager.connect("host").await.unwrap();
            guests.push(guest);
        }
        for guest in &mut guests[arriving] {
            theirs.push(in_time(guest.open()).await.1);
        }
    }
    let (host, ours) = ours.await.unwrap();
    assert_eq!(host.manager.count(), count);
    let took = before.1.elapsed();
    let per_peer = resident().saturating_sub(before.0) / (2 * count as u64);
    println!("{count} peers connected in {took:?}, {per_peer} KiB per end");

    let mut one_more = hub.node(patient("one more", 1));
    one_more.manager.connect("host").await.unwrap();
    let refused = in_time(one_more.refused()).await;
    assert_eq!(refused, ("host".to_owned(), RefusalCode::Full));

    hub.lose(loss).await;
    let mut tasks = tokio::task::JoinSet::new();
    for (name, channels) in ours {
        tasks.spawn(async move {
            send_all(format!("host to {name}"), &channels).await;
            receive_all(name, channels).await
        });
    }
    for (guest, channels) in guests.iter().zip(theirs) {
        let name = guest.name.clone();
        tasks.spawn(async move {
            send_all(name.clone(), &channels).await;
            receive_all(format!("host to {name}"), channels).await
        });
    }
    let held = in_time(tasks.join_all()).await;
    assert_eq!(held.len(), 2 * count);
    let unreliable: usize = held.iter().map(|(_, unreliable)| unreliable).sum();
    println!(
        "{unreliable} of {} unreliable frames, {} datagrams lost",
        2 * count * FRAMES,
        hub.lost().await
    );
    assert!(unreliable > 0);
    let per_peer = resident().saturating_sub(before.0) / (2 * count as u64);
    println!("{count} peers after their messages: {per_peer} KiB per end");
    in_time(host.manager.close()).await;
    for guest in guests.iter().chain([&one_more]) {
        in_time(guest.manager.close()).await;
    }
}

#[test]
fn fifty_and_two_hundred_peers_connect_and_one_more_is_refused() {
    for count in [50, 200] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(crowd(count, Hub::default(), 0));
    }
}

#[test]
fn fifty_peers_lose_five_in_a_hundred_datagrams_and_no_reliable_frame() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let hub = Hub::relayed();
    runtime.block_on(async {
        crowd(50, hub.clone(), 50).await;
        assert!(hub.lost().await > 0);
    });
}
