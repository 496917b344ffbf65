//! Making a peer connection may be cancelled at any moment, and leaves nothing behind. A program of its
//! own, because it counts the open files of the process.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use support::config;
use tokio::runtime::Runtime;
use warp_link::peer::{Answerer, Offerer};

/// After this long a task is one that was left behind.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often each side is made and cancelled.
const ATTEMPTS: usize = 300;

/// More polls than that making either side takes.
const MOST_POLLS: usize = 30;

/// Polls `work` so often, then drops it; `None` when it was not done by then.
async fn polled<T>(work: impl Future<Output = T>, times: usize) -> Option<T> {
    let (mut work, mut polls) = (pin!(work), 0);
    poll_fn(|context| {
        if polls == times {
            return Poll::Ready(None);
        }
        polls += 1;
        match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if polls == times => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn open_files() -> Option<usize> {
    std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

/// A task says that it is done a moment before the runtime has put it away.
fn wait_for_no_task(runtime: &Runtime, attempt: usize) {
    let patience = Instant::now();
    while runtime.metrics().num_alive_tasks() > 0 {
        assert!(
            patience.elapsed() < PATIENCE,
            "tasks left after attempt {attempt}"
        );
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_whose_making_is_cancelled_leaves_no_task_and_no_socket() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let offer = runtime.block_on(async {
        let (offerer, _candidates) = Offerer::new(config()).await.unwrap();
        let offer = offerer.create_offer().await.unwrap();
        offerer.close().await;
        offer
    });
    wait_for_no_task(&runtime, 0);
    let files = open_files();
    let mut unfinished = [0, 0];
    for attempt in 0..ATTEMPTS {
        let polls = attempt % MOST_POLLS;
        let (offerer, answerer) = runtime.block_on(async {
            tokio::join!(
                polled(Offerer::new(config()), polls),
                polled(Answerer::accept(config(), &offer), polls)
            )
        });
        unfinished[0] += usize::from(offerer.is_none());
        unfinished[1] += usize::from(answerer.is_none());
        // What was made in time is dropped as well.
        drop((offerer, answerer));
        wait_for_no_task(&runtime, attempt);
        assert_eq!(open_files(), files, "after attempt {attempt}");
    }
    // Polled at least once, beside those that were never begun.
    let never_begun = ATTEMPTS / MOST_POLLS;
    assert!(
        unfinished
            .iter()
            .all(|&unfinished| unfinished > never_begun)
    );
}
