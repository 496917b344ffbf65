//! A node with 50 and with 200 peers: all connect, all messages arrive, one more is refused. A program
//! of its own, because it prints the memory of the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test program, which prints its figures"
)]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
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

/// What a peer sends on each reliable channel, and its digest.
const FRAMES: usize = 20;

fn frame(name: &str, channel: Channel, number: usize) -> Bytes {
    let seed = Sha256::digest(format!("{name} {} {number}", channel.label()));
    Bytes::from(seed.repeat(1 + number * 3))
}

async fn send_all(name: String, channels: &Channels) {
    for number in 0..FRAMES {
        for channel in [Channel::Control, Channel::Reliable, Channel::File] {
            let frame = frame(&name, channel, number);
            channels.tx.send(channel, frame).await.unwrap();
        }
    }
}

async fn receive_all(name: String, mut channels: Channels) -> Channels {
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
    channels
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

async fn crowd(count: usize) {
    let hub = Hub::default();
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
        runtime.block_on(crowd(count));
    }
}
