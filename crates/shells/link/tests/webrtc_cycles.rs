//! Opening and closing peer connections over and over leaves nothing behind. A program of its own,
//! because it counts the open files and the memory of the process.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use support::connect;
use warp_peer_core::Channel;

/// After this long a task is one that was left behind.
const PATIENCE: Duration = Duration::from_secs(20);

const CYCLES: usize = 1000;

/// From this cycle on memory is compared: allocators and runtimes have what they keep.
const WARM: usize = 200;

/// Cycles over which the least memory counts. What the allocator has not given back at one moment makes
/// 3 MiB, up and down; what is leaked is there at each.
const SPAN: usize = 200;

/// How much more memory may be there in the end, KiB. A connection that is left behind holds some
/// 500, so one cycle in a hundred that leaks is noticed.
const MORE: u64 = 1000;

fn open_files() -> Option<usize> {
    std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

/// KiB; `None` where the system does not tell.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

async fn cycle(number: usize) {
    let mut pair = connect().await;
    pair.near.tx.try_send(Bytes::from_static(b"x")).unwrap();
    assert_eq!(pair.far.rx.recv().await.as_deref(), Some(&b"x"[..]));
    let (near, far) = tokio::join!(pair.offerer.channels(), pair.answerer.channels());
    let (near, mut far) = (near.unwrap(), far.unwrap());
    let frame = Bytes::from(vec![3; 20_000]);
    near.tx.send(Channel::File, frame.clone()).await.unwrap();
    assert_eq!(far.rx.file.recv().await, Some(frame));
    match number % 3 {
        0 => pair.close().await,
        1 => {
            // One side closes; the other frees itself.
            pair.offerer.close().await;
            pair.far.tx.closed().await;
            pair.answerer.close().await;
        }
        // In the middle of a transfer that nobody reads.
        _ => {
            for _ in 0..8 {
                let frame = Bytes::from(vec![3; 1_000_000]);
                near.tx.send(Channel::File, frame).await.unwrap();
            }
            pair.close().await;
        }
    }
}

#[test]
fn a_thousand_cycles_leave_no_task_no_socket_and_no_memory() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut files = None;
    let (mut warm, mut cold) = (None, None);
    for number in 0..CYCLES {
        runtime.block_on(cycle(number));
        // A task says that it is done a moment before the runtime has put it away.
        let patience = Instant::now();
        while runtime.metrics().num_alive_tasks() > 0 {
            assert!(
                patience.elapsed() < PATIENCE,
                "tasks left in cycle {number}"
            );
            std::thread::yield_now();
        }
        match (files, open_files()) {
            (Some(before), Some(now)) => assert_eq!(now, before, "cycle {number}"),
            (None, now) => files = now,
            (Some(_), None) => {}
        }
        let least = match number {
            WARM.. if number < WARM + SPAN => Some(&mut warm),
            _ if number >= CYCLES - SPAN => Some(&mut cold),
            _ => None,
        };
        if let (Some(least), Some(now)) = (least, resident()) {
            *least = Some(least.map_or(now, |least: u64| least.min(now)));
        }
        if number % 100 == 0
            && let Some(resident) = resident()
        {
            println!("cycle {number}: {resident} KiB resident");
        }
    }
    if let (Some(warm), Some(cold)) = (warm, cold) {
        println!("at least {warm} KiB in cycle {WARM} and after, {cold} KiB in the last {SPAN}");
        assert!(cold < warm + MORE, "{warm} KiB, then {cold} KiB");
    }
}
