//! Prints how long a WebRTC carrier takes to open on loopback, its round trip at 50 datagrams a
//! second, and how many small datagrams a second it carries.
//!
//! `cargo run --release -p warp-link --example carrier_probe -- [CONNECTIONS] [ROUND_TRIPS]`
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measuring tool: its output is the figures, and it may stop at the first failure"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use support::{connect, connect_through_relay};
use warp_link::SendRefused;

fn print(what: &str, mut samples: Vec<Duration>) {
    samples.sort();
    let at = |percent: usize| {
        let index = (samples.len() * percent / 100).min(samples.len() - 1);
        samples[index]
    };
    println!(
        "{what}: p50 {:?}, p90 {:?}, p99 {:?}, longest {:?} ({} samples)",
        at(50),
        at(90),
        at(99),
        at(100),
        samples.len()
    );
}

async fn set_up(connections: usize) {
    let (mut opening, mut closing) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        let start = Instant::now();
        let pair = connect().await;
        opening.push(start.elapsed());
        let start = Instant::now();
        pair.close().await;
        closing.push(start.elapsed());
    }
    print("set-up, sockets and offer to both ends open", opening);
    print("close, both ends", closing);
}

/// `quiet` is the time between two datagrams.
async fn round_trips(what: &str, count: usize, quiet: Duration, len: usize) {
    let mut pair = connect().await;
    let tx = pair.far.tx.clone();
    let mut rx = pair.far.rx;
    let echo = tokio::spawn(async move {
        while let Some(datagram) = rx.recv().await {
            // A refused echo shows as a loss.
            let _ = tx.try_send(datagram);
        }
    });
    let mut clock = tokio::time::interval(quiet);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut samples, mut lost) = (Vec::new(), 0);
    for _ in 0..count {
        clock.tick().await;
        let start = Instant::now();
        pair.near
            .tx
            .try_send(Bytes::from(vec![7; len]))
            .expect("an empty queue");
        match tokio::time::timeout(Duration::from_secs(1), pair.near.rx.recv()).await {
            Ok(Some(_)) => samples.push(start.elapsed()),
            _ => lost += 1,
        }
    }
    print(what, samples);
    println!("  lost: {lost}");
    tokio::join!(pair.offerer.close(), pair.answerer.close());
    echo.await.expect("echo");
}

async fn flood(count: u32, len: usize) {
    let mut pair = connect().await;
    let mut rx = pair.far.rx;
    let counter = tokio::spawn(async move {
        let mut got = 0_u32;
        while let Some(_datagram) = rx.recv().await {
            got += 1;
        }
        got
    });
    let start = Instant::now();
    let mut sent = 0;
    while sent < count {
        match pair.near.tx.try_send(Bytes::from(vec![7; len])) {
            Ok(()) => sent += 1,
            Err(SendRefused::Full) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(refused) => {
                println!("  stopped: {refused}");
                break;
            }
        }
    }
    while pair.near.tx.queued_bytes() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let elapsed = start.elapsed();
    let stats = pair.near.tx.stats();
    let per_second = f64::from(sent) / elapsed.as_secs_f64();
    // What is still inside SCTP must not be cut off by the close.
    let _ = tokio::time::timeout(Duration::from_millis(300), pair.near.rx.recv()).await;
    tokio::join!(pair.offerer.close(), pair.answerer.close());
    let got = counter.await.expect("counter");
    println!(
        "{len}-byte datagrams: {per_second:.0} a second; sent {sent}, arrived {got}, {stats:?}"
    );
}

/// How long after a silence of `silence` the first datagram comes through, at 50 Hz.
async fn after_silence(silence: Duration) {
    let (mut pair, relay) = connect_through_relay().await;
    let tx = pair.near.tx.clone();
    let sender = tokio::spawn(async move {
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        loop {
            clock.tick().await;
            if tx.try_send(Bytes::from(vec![7; 100])) == Err(SendRefused::Closed) {
                break;
            }
        }
    });
    for _ in 0..50 {
        pair.far.rx.recv().await.expect("the carrier works");
    }
    relay.dark.store(true, Ordering::Relaxed);
    tokio::time::sleep(silence).await;
    while pair.far.rx.try_recv().is_some() {}
    relay.dark.store(false, Ordering::Relaxed);
    let start = Instant::now();
    match tokio::time::timeout(Duration::from_secs(60), pair.far.rx.recv()).await {
        Ok(Some(_)) => println!(
            "after {silence:?} of silence the first datagram came after {:?}",
            start.elapsed()
        ),
        Ok(None) => println!(
            "after {silence:?} of silence the carrier had ended: {:?}",
            pair.far.rx.close_reason()
        ),
        Err(_) => println!("after {silence:?} of silence nothing came for a minute"),
    }
    pair.close().await;
    sender.await.expect("sender");
}

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok());
    let connections: usize = numbers.next().unwrap_or(50).max(1);
    let trips: usize = numbers.next().unwrap_or(500).max(1);
    set_up(connections).await;
    round_trips(
        "round trip, 100 bytes at 50 Hz",
        trips,
        Duration::from_millis(20),
        100,
    )
    .await;
    round_trips(
        "round trip, 1210 bytes at 50 Hz",
        trips,
        Duration::from_millis(20),
        1210,
    )
    .await;
    round_trips(
        "round trip, 100 bytes at 1 kHz",
        trips * 4,
        Duration::from_millis(1),
        100,
    )
    .await;
    flood(200_000, 100).await;
    flood(50_000, 1210).await;
    for millis in [500, 1500, 4000, 8000] {
        after_silence(Duration::from_millis(millis)).await;
    }
}
