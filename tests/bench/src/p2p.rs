//! `p2p`: what a peer connection costs, between two peers in this process, on the loopback.
//!
//! Set-up, round trips at 50 Hz and at 1 kHz, short messages, bulk, and control beside bulk, memory.
//! Round trips and short messages stand beside raw UDP and raw UDP with AES-256-GCM, measured in turns
//! with ours, so that all meet the same moments of the machine.

mod plain;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde::Serialize;
use warp_link::peer::{
    Answerer, ChannelReceiver, ChannelSender, Channels, LocalCandidates, Offerer, Peer, PeerConfig,
    SendError,
};
use warp_peer_core::{Channel, Class};

use crate::stats::Spread;
use plain::Plain;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each figure is measured, seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Connections that are set up one after the other.
    #[arg(long, default_value_t = 50)]
    setups: usize,
    /// Only to see that it works.
    #[arg(long)]
    quick: bool,
}

/// The whole result.
#[derive(Serialize)]
pub(crate) struct Outcome {
    seconds_per_figure: u64,
    /// From the first socket of the offerer to open channels on both sides.
    set_up_ms: Spread,
    round_trips: Vec<RoundTrips>,
    short_messages: Vec<Flood>,
    bulk_mb_per_s: f64,
    /// Round trips on control while the bulk transfer runs.
    control_beside_bulk_ms: Spread,
    memory: Vec<Memory>,
}

#[derive(Serialize)]
struct RoundTrips {
    over: &'static str,
    hertz: u64,
    ms: Spread,
}

#[derive(Serialize)]
struct Flood {
    over: &'static str,
    arrived_per_s: f64,
    cpu_s_per_million: f64,
}

#[derive(Serialize)]
struct Memory {
    peers: usize,
    kib_per_end: u64,
}

/// An open connection.
struct Pair {
    offerer: Offerer,
    answerer: Answerer,
    near: Channels,
    far: Channels,
}

impl Pair {
    async fn open() -> Result<Self> {
        let config = || PeerConfig {
            include_loopback: true,
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            ..PeerConfig::default()
        };
        let (offerer, near) = Offerer::new(config()).await?;
        let offer = offerer.create_offer().await?;
        let (answerer, answer, far) = Answerer::accept(config(), &offer).await?;
        offerer.accept_answer(&answer).await?;
        let ((), (), near, far) = tokio::join!(
            trickle(near, &answerer),
            trickle(far, &offerer),
            offerer.channels(),
            answerer.channels(),
        );
        let (near, far) = (near?, far?);
        Ok(Self {
            offerer,
            answerer,
            near,
            far,
        })
    }

    async fn close(self) {
        tokio::join!(self.offerer.close(), self.answerer.close());
    }
}

async fn trickle(mut candidates: LocalCandidates, to: &Peer) {
    while let Some(candidate) = candidates.next().await {
        if let Err(error) = to.add_remote_candidate(&candidate).await {
            println!("a candidate was not taken: {error}");
        }
    }
}

/// Measures everything and prints a table.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(Box::pin(measure(args)))?;
    show(&outcome);
    Ok(outcome)
}

async fn measure(args: &Args) -> Result<Outcome> {
    let seconds = if args.quick { 1 } else { args.seconds };
    let span = Duration::from_secs(seconds);
    let mut set_up = Vec::new();
    for _ in 0..if args.quick { 3 } else { args.setups } {
        let begun = Instant::now();
        let pair = Pair::open().await?;
        set_up.push(begun.elapsed());
        pair.close().await;
    }
    let mut round_trips = Vec::new();
    let mut short_messages = Vec::new();
    for hertz in [50, 1000] {
        let period = Duration::from_micros(1_000_000 / hertz);
        for sealed in [false, true] {
            let times = Plain::open(sealed).await?.round_trips(period, span).await?;
            let over = Plain::name(sealed);
            round_trips.push(RoundTrips {
                over,
                hertz,
                ms: Spread::of(&times),
            });
        }
        let mut pair = Pair::open().await?;
        for channel in [Channel::Unreliable, Channel::Control] {
            let (near, far) = (&mut pair.near, &mut pair.far);
            let (near_rx, far_rx) = match channel {
                Channel::Control => (&mut near.rx.control, &mut far.rx.control),
                _ => (&mut near.rx.unreliable, &mut far.rx.unreliable),
            };
            let way = Way {
                channel,
                near: &near.tx,
                near_rx,
                far: &far.tx,
                far_rx,
            };
            let times = round_trips_on(way, period, span).await?;
            round_trips.push(RoundTrips {
                over: channel.label(),
                hertz,
                ms: Spread::of(&times),
            });
        }
        pair.close().await;
    }
    for sealed in [false, true] {
        let before = cpu();
        let arrived = Plain::open(sealed).await?.flood(span).await?;
        short_messages.push(flood(Plain::name(sealed), arrived, span, cpu() - before));
    }
    let mut pair = Pair::open().await?;
    let before = cpu();
    let arrived = flood_channel(&mut pair, span).await;
    short_messages.push(flood("unreliable", arrived, span, cpu() - before));
    pair.close().await;
    let (bulk_mb_per_s, control) = bulk(Pair::open().await?, span).await?;
    let mut memory = Vec::new();
    for peers in if args.quick { vec![5] } else { vec![50, 200] } {
        memory.push(memory_of(peers).await?);
    }
    Ok(Outcome {
        seconds_per_figure: seconds,
        set_up_ms: Spread::of(&set_up),
        round_trips,
        short_messages,
        bulk_mb_per_s,
        control_beside_bulk_ms: Spread::of(&control),
        memory,
    })
}

fn flood(over: &'static str, arrived: u64, span: Duration, cpu: f64) -> Flood {
    Flood {
        over,
        arrived_per_s: arrived as f64 / span.as_secs_f64(),
        cpu_s_per_million: cpu * 1e6 / (arrived.max(1) as f64),
    }
}

/// One channel between two peers, both ends.
struct Way<'a> {
    channel: Channel,
    near: &'a ChannelSender,
    near_rx: &'a mut ChannelReceiver,
    far: &'a ChannelSender,
    far_rx: &'a mut ChannelReceiver,
}

/// A frame there and back, one at a time, at a steady pace.
async fn round_trips_on(way: Way<'_>, period: Duration, span: Duration) -> Result<Vec<Duration>> {
    let channel = way.channel;
    let echo = async {
        while let Some(frame) = way.far_rx.recv().await {
            if way.far.try_send(channel, Class::Critical, frame).is_err() {
                break;
            }
        }
    };
    let ask = async {
        let mut times = Vec::new();
        let mut clock = tokio::time::interval(period);
        let until = Instant::now() + span;
        while Instant::now() < until {
            clock.tick().await;
            let begun = Instant::now();
            let frame = Bytes::from_static(&[7; 20]);
            way.near.try_send(channel, Class::Critical, frame)?;
            way.near_rx.recv().await.context("the peer is gone")?;
            times.push(begun.elapsed());
        }
        anyhow::Ok(times)
    };
    tokio::select! {
        times = ask => times,
        () = echo => anyhow::bail!("the peer is gone"),
    }
}

/// As many frames of 100 bytes as go; counts those that arrive within the time.
async fn flood_channel(pair: &mut Pair, span: Duration) -> u64 {
    let tx = pair.near.tx.clone();
    let sender = tokio::spawn(async move {
        let frame = Bytes::from_static(&[7; 100]);
        loop {
            // What the queue drops is not counted.
            for _ in 0..256 {
                if let Err(SendError::Closed) =
                    tx.try_send(Channel::Unreliable, Class::Normal, frame.clone())
                {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    });
    let mut arrived = 0;
    let receive = async {
        while pair.far.rx.unreliable.recv().await.is_some() {
            arrived += 1;
        }
    };
    // The time is the end of it.
    let _ = tokio::time::timeout(span, receive).await;
    sender.abort();
    arrived
}

/// Bulk on file for a while, and control beside it: MB/s, round trips.
async fn bulk(mut pair: Pair, span: Duration) -> Result<(f64, Vec<Duration>)> {
    let tx = pair.near.tx.clone();
    let sender = tokio::spawn(async move {
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..256 * 1024)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let frame = Bytes::from(noise);
        while tx.send(Channel::File, frame.clone()).await.is_ok() {}
    });
    let mut arrived = 0_usize;
    let (near, far) = (&mut pair.near, &mut pair.far);
    let way = Way {
        channel: Channel::Control,
        near: &near.tx,
        near_rx: &mut near.rx.control,
        far: &far.tx,
        far_rx: &mut far.rx.control,
    };
    let file = &mut far.rx.file;
    let counting = async {
        while let Some(frame) = file.recv().await {
            arrived += frame.len();
        }
        anyhow::bail!("the peer is gone")
    };
    let control: Result<Vec<Duration>> = tokio::select! {
        none = counting => none,
        times = round_trips_on(way, Duration::from_millis(5), span) => times,
    };
    sender.abort();
    pair.close().await;
    Ok((arrived as f64 / 1e6 / span.as_secs_f64(), control?))
}

async fn memory_of(peers: usize) -> Result<Memory> {
    let before = resident()?;
    let mut pairs = Vec::new();
    for _ in 0..peers {
        pairs.push(Pair::open().await?);
    }
    let kib_per_end = resident()?.saturating_sub(before) / (2 * peers as u64);
    for pair in pairs {
        pair.close().await;
    }
    Ok(Memory { peers, kib_per_end })
}

/// Memory of this process, KiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
        .context("the kernel does not tell the memory")
}

/// Processor time of this process, seconds, in the kernel's ticks of 10 ms; zero if it does not tell.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in parentheses: utime and stime are the 12th and 13th field.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    ticks as f64 / 100.0
}

fn show(outcome: &Outcome) {
    let row = |name: &str, spread: &Spread| {
        println!(
            "{name:<28} {:>8.3} {:>8.3} {:>8.3} {:>8.3}   {}",
            spread.p50, spread.p99, spread.p999, spread.max, spread.samples
        );
    };
    println!("ms                                p50      p99    p99.9      max   samples");
    row("set-up", &outcome.set_up_ms);
    for trips in &outcome.round_trips {
        row(&format!("{} at {} Hz", trips.over, trips.hertz), &trips.ms);
    }
    row("control beside bulk", &outcome.control_beside_bulk_ms);
    println!("\nbulk on file: {:.1} MB/s", outcome.bulk_mb_per_s);
    for flood in &outcome.short_messages {
        println!(
            "100 bytes over {}: {:.0} a second, {:.2} s of CPU per million",
            flood.over, flood.arrived_per_s, flood.cpu_s_per_million
        );
    }
    for memory in &outcome.memory {
        println!("{} peers: {} KiB per end", memory.peers, memory.kib_per_end);
    }
}
