//! A launcher or a host of somebody who changed the program: our engine, with something around its
//! carriers that does to the datagrams what it is told.
//!
//! Takes the arguments of `warp-node play` and `warp-node host` that the tests use, and prints the
//! same events. A line on standard input says what happens from then on to what passes, in both
//! directions:
//!
//! | line | what is done |
//! |---|---|
//! | `good` | nothing; so it starts |
//! | `drop` | every second one is lost |
//! | `delay` | each leaves 150 ms later |
//! | `reorder` | each leaves 0 to 120 ms later, by chance |
//! | `replay` | each leaves again after 100, 500 and 1000 ms |
//! | `alter` | one bit of each is another |
//! | `flood` | each is followed by 200 of the same length, of chance |
//! | `lie` | beside that: its heartbeats say that it carries nobody, loses nothing and has no delay |
//! | `/quit` | the end, at once |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test program: it fails by panicking, and its output is its result"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Parser, Subcommand};
use rand::Rng;
use tokio::io::{AsyncBufReadExt, BufReader};
use warp_engine::{Command, EngineHandle, EngineOptions, Event};
use warp_link::{Carrier, CarrierSender, CarrierUse, CloseReason};
use warp_protocol::Secret;
use warp_protocol::hosting::HostHeartbeat;

/// How often it is looked whether the program let go of a carrier.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Play(Person),
    Host(Person),
}

#[derive(Args)]
struct Person {
    #[arg(long)]
    config: PathBuf,
    #[arg(long)]
    user: String,
    #[arg(long)]
    zone: String,
    #[arg(long)]
    upload_mbps: Option<u32>,
    /// They are what it does anyway.
    #[arg(long)]
    json: bool,
    #[arg(long)]
    password_stdin: bool,
    #[arg(long)]
    no_game: bool,
}

#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
enum Mischief {
    Good,
    Drop,
    Delay,
    Reorder,
    Replay,
    Alter,
    Flood,
}

const ALL: [(&str, Mischief); 7] = [
    ("good", Mischief::Good),
    ("drop", Mischief::Drop),
    ("delay", Mischief::Delay),
    ("reorder", Mischief::Reorder),
    ("replay", Mischief::Replay),
    ("alter", Mischief::Alter),
    ("flood", Mischief::Flood),
];

#[derive(Default)]
struct Mood {
    now: AtomicU8,
    lies: AtomicBool,
    passed: AtomicU64,
}

/// What becomes of a datagram: after how long, and what.
fn meddle(mood: &Mood, datagram: &Bytes) -> Vec<(Duration, Bytes)> {
    let number = mood.passed.fetch_add(1, Ordering::Relaxed);
    let ms = Duration::from_millis;
    let mut rng = rand::rng();
    let now = ALL[usize::from(mood.now.load(Ordering::Relaxed))].1;
    let same = |after: u64| (ms(after), datagram.clone());
    match now {
        Mischief::Good => vec![same(0)],
        Mischief::Drop if number.is_multiple_of(2) => Vec::new(),
        Mischief::Drop => vec![same(0)],
        Mischief::Delay => vec![same(150)],
        Mischief::Reorder => vec![same(rng.random_range(0..120))],
        Mischief::Replay => vec![same(0), same(100), same(500), same(1000)],
        Mischief::Alter => {
            // By chance, or what is altered on its way in is put right on its way out.
            let mut altered = datagram.to_vec();
            let at = altered.len() - 1 - rng.random_range(0..altered.len().min(16));
            altered[at] ^= 1 << rng.random_range(0..8);
            vec![(ms(0), altered.into())]
        }
        Mischief::Flood => {
            let mut all = vec![same(0)];
            for _ in 0..200 {
                let mut rubbish = vec![0; datagram.len()];
                rng.fill(&mut rubbish[..]);
                all.push((ms(0), rubbish.into()));
            }
            all
        }
    }
}

/// Puts the mood around a carrier.
fn wrap(mood: &Arc<Mood>, real: Carrier) -> Carrier {
    let Carrier { tx, mut rx } = real;
    let runtime = tokio::runtime::Handle::current();
    let (outwards, out) = (Arc::clone(mood), tx.clone());
    let send = move |datagram: Bytes| {
        for (after, what) in meddle(&outwards, &datagram) {
            if after.is_zero() {
                out.try_send(what)?;
            } else {
                let out: CarrierSender = out.clone();
                runtime.spawn(async move {
                    tokio::time::sleep(after).await;
                    let _ = out.try_send(what);
                });
            }
        }
        Ok(())
    };
    let (outer, feed) = Carrier::through(send);
    let (inwards, feed) = (Arc::clone(mood), Arc::new(feed));
    tokio::spawn(async move {
        loop {
            let datagram = tokio::select! {
                datagram = rx.recv() => datagram,
                () = tokio::time::sleep(LOOK) => {
                    if feed.is_ended() {
                        return tx.close();
                    }
                    continue;
                }
            };
            let Some(datagram) = datagram else {
                return feed.end(rx.close_reason().unwrap_or(CloseReason::Remote));
            };
            for (after, what) in meddle(&inwards, &datagram) {
                if after.is_zero() {
                    feed.deliver(what);
                } else {
                    let feed = Arc::clone(&feed);
                    tokio::spawn(async move {
                        tokio::time::sleep(after).await;
                        feed.deliver(what);
                    });
                }
            }
        }
    });
    outer
}

#[tokio::main]
async fn main() {
    let (person, hosts) = match Cli::parse().what {
        What::Play(person) => (person, false),
        What::Host(person) => (person, true),
    };
    let _log = warp_observe::init(warp_observe::ObserveConfig::default()).unwrap();
    let name = person.config.display().to_string();
    let text = std::fs::read_to_string(&person.config).unwrap();
    let mut config = warp_engine_core::config::parse(&name, &text)
        .unwrap()
        .config;
    config.hosting.enabled = false;
    config.relative_to(person.config.parent().unwrap());
    let mood = Arc::new(Mood::default());
    let mut options = EngineOptions::new(config);
    let around = Arc::clone(&mood);
    options.wrap_carriers = Some(Arc::new(move |purpose, carrier| match purpose {
        // Its own way to the endpoint is not what a wicked player would spoil.
        CarrierUse::Link(kind) if !matches!(kind.name(), "host" | "host-2") => carrier,
        _ => wrap(&around, carrier),
    }));
    let liar = Arc::clone(&mood);
    options.alter_heartbeats = Some(Arc::new(move |beat| {
        if !liar.lies.load(Ordering::Relaxed) {
            return beat;
        }
        HostHeartbeat {
            latency_ms: Some(0.0),
            packet_loss_percent: Some(0.0),
            bandwidth_usage_mbps: 0.0,
            current_players: 0,
            current_zones: 0,
            paused: false,
        }
    }));
    let engine = EngineHandle::start(options).unwrap();
    let mut events = engine.subscribe();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let password = lines.next_line().await.unwrap().expect("a password");
    let sign_in = Command::SignIn {
        user: person.user,
        password: Secret::new(password),
        remember: false,
    };
    engine.send(sign_in).unwrap();
    let mut signed_in = false;
    loop {
        tokio::select! {
            line = lines.next_line() => match line.unwrap().as_deref() {
                None | Some("/quit") => return,
                Some("lie") => mood.lies.store(true, Ordering::Relaxed),
                Some(word) => {
                    let at = ALL.iter().position(|(name, _)| *name == word);
                    let at = at.unwrap_or_else(|| panic!("{word} is nothing that it does"));
                    tracing::info!(word, "from now on");
                    mood.now.store(at as u8, Ordering::Relaxed);
                }
            },
            event = events.recv() => {
                let Some(event) = event else { return };
                println!("{}", serde_json::to_string(&event).unwrap());
                if matches!(event, Event::SignedIn { .. }) && !std::mem::replace(&mut signed_in, true) {
                    let zone = person.zone.clone();
                    engine.send(match hosts {
                        true => Command::HostStart {
                            zones: vec![zone],
                            max_players: None,
                            upload_mbps: person.upload_mbps,
                            upstreams: None,
                        },
                        false => Command::Play { zone, launch: false },
                    }).unwrap();
                }
            }
        }
    }
}
