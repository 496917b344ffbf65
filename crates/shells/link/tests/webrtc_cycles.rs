//! Opening and closing peer connections over and over leaves nothing behind. A program of its own,
//! because it counts the open files of the process.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use support::connect;

/// After this long a task is one that was left behind.
const PATIENCE: Duration = Duration::from_secs(20);

fn open_files() -> Option<usize> {
    std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

#[test]
fn fifty_cycles_leave_no_task_and_no_socket() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut files = None;
    for cycle in 0..50 {
        runtime.block_on(async {
            let mut pair = connect().await;
            pair.near.tx.try_send(Bytes::from_static(b"x")).unwrap();
            assert_eq!(pair.far.rx.recv().await.as_deref(), Some(&b"x"[..]));
            if cycle % 2 == 0 {
                pair.close().await;
            } else {
                // One side closes; the other frees itself.
                pair.offerer.close().await;
                pair.far.tx.closed().await;
                pair.answerer.close().await;
            }
        });
        // A task says that it is done a moment before the runtime has put it away.
        let patience = Instant::now();
        while runtime.metrics().num_alive_tasks() > 0 {
            assert!(patience.elapsed() < PATIENCE, "tasks left in cycle {cycle}");
            std::thread::yield_now();
        }
        match (files, open_files()) {
            (Some(before), Some(now)) => assert_eq!(now, before, "cycle {cycle}"),
            (None, now) => files = now,
            (Some(_), None) => {}
        }
    }
}
