//! `p2p`: what a peer connection costs, between two peers in this process, on the loopback.
//!
//! Set-up, round trips at 50 Hz and at 1 kHz, short messages, bulk with control beside it, fifty peers on
//! one host, memory. Beside ours stand str0m, raw UDP or TCP, and those with AES-256-GCM, in turns and
//! several times, so that all meet the same moments of the machine. Of the rounds the medians count.

mod crowd;
mod crypto;
mod line;
mod ours;
mod plain;
mod rival;
mod show;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::stats::Spread;
use crowd::Crowd;
use line::{Line, Stack};
use ours::Ours;
use plain::{Tcp, Udp};
use rival::Rival;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each figure is measured in each round, seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often everything is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// Connections that are set up one after the other, in each round.
    #[arg(long, default_value_t = 20)]
    setups: usize,
    /// Only this.
    #[arg(long)]
    only: Option<Part>,
    /// Only to see that it works.
    #[arg(long)]
    quick: bool,
    /// For the program itself: memory per end of a stack with so many peers, in a process of its own.
    #[arg(long, hide = true, value_names = ["STACK", "PEERS"], num_args = 2)]
    memory_of: Option<Vec<String>>,
    /// For the program itself: milliseconds of so many set-ups of a stack, in a process of its own.
    #[arg(long, hide = true, value_names = ["STACK", "SET-UPS"], num_args = 2)]
    set_ups_of: Option<Vec<String>>,
}

/// What can be measured by itself.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Part {
    SetUp,
    RoundTrips,
    ShortMessages,
    Bulk,
    Crowd,
    Memory,
}

/// The whole result. Times of all rounds count together; of rates the median of the rounds stands.
#[derive(Serialize, Default)]
pub(crate) struct Outcome {
    seconds_per_figure: u64,
    rounds: u64,
    set_up: Vec<Times>,
    /// The same while one datagram in twenty is lost, each way.
    set_up_under_loss: Vec<Times>,
    round_trips: Vec<RoundTrips>,
    short_messages: Vec<Flood>,
    bulk: Vec<Bulk>,
    control_beside_bulk: Vec<Times>,
    crowd: Vec<Crowd>,
    memory: Vec<Memory>,
}

#[derive(Serialize)]
struct Times {
    over: &'static str,
    ms: Spread,
}

#[derive(Serialize)]
struct RoundTrips {
    over: String,
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
struct Bulk {
    over: &'static str,
    mb_per_s: f64,
    cpu_s_per_gb: f64,
}

#[derive(Serialize)]
struct Memory {
    over: &'static str,
    peers: usize,
    kib_per_end: u64,
}

/// Samples of one row, over all rounds.
struct Samples<T> {
    over: String,
    taken: Vec<T>,
}

/// Rows in the order in which they first came.
struct Rows<T>(Vec<Samples<T>>);

impl<T> Rows<T> {
    fn add(&mut self, over: impl Into<String>, samples: impl IntoIterator<Item = T>) {
        let over = over.into();
        if let Some(row) = self.0.iter_mut().find(|row| row.over == over) {
            row.taken.extend(samples);
        } else {
            let taken = samples.into_iter().collect();
            self.0.push(Samples { over, taken });
        }
    }
}

/// Measures everything and prints a table.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if let Some([stack, peers]) = args.memory_of.as_deref() {
        let peers = peers.parse()?;
        let kib = runtime.block_on(async {
            match stack.as_str() {
                Rival::NAME => memory::<Rival>(peers).await,
                _ => memory::<Ours>(peers).await,
            }
        })?;
        println!("{kib}");
        return Ok(Outcome::default());
    }
    if let Some([stack, times]) = args.set_ups_of.as_deref() {
        let times = times.parse()?;
        let taken = runtime.block_on(async {
            match stack.as_str() {
                Rival::NAME => times_of_set_ups::<Rival>(times).await,
                _ => times_of_set_ups::<Ours>(times).await,
            }
        })?;
        for time in taken {
            println!("{}", time.as_micros());
        }
        return Ok(Outcome::default());
    }
    let outcome = runtime.block_on(Box::pin(measure(args)))?;
    show::show(&outcome);
    Ok(outcome)
}

async fn measure(args: &Args) -> Result<Outcome> {
    let (seconds, rounds) = if args.quick {
        (1, 1)
    } else {
        (args.seconds, args.rounds)
    };
    let span = Duration::from_secs(seconds);
    let mut outcome = Outcome {
        seconds_per_figure: seconds,
        rounds,
        ..Outcome::default()
    };
    let wanted = |part| args.only.is_none_or(|only| only == part);
    if wanted(Part::SetUp) {
        let setups = rounds as usize * if args.quick { 3 } else { args.setups };
        outcome.set_up = vec![
            set_ups::<Rival>(setups).await?,
            set_ups::<Ours>(setups).await?,
        ];
        match warp_lab::available() {
            Ok(()) => {
                for over in [Rival::NAME, Ours::NAME] {
                    let times = set_ups_under_loss(over, setups * 5)?;
                    outcome.set_up_under_loss.push(times);
                }
            }
            Err(why) => println!("SKIPPED: set-up under loss: {why}"),
        }
    }
    if wanted(Part::RoundTrips) {
        for hertz in [50, 1000] {
            let trips = trips(hertz, rounds, span).await?;
            outcome.round_trips.extend(trips);
        }
    }
    if wanted(Part::ShortMessages) {
        outcome.short_messages = floods(rounds, span).await?;
    }
    if wanted(Part::Bulk) {
        (outcome.bulk, outcome.control_beside_bulk) = bulks(rounds, span).await?;
    }
    if wanted(Part::Crowd) {
        let (peers, span) = (if args.quick { 5 } else { 50 }, span * rounds as u32);
        outcome.crowd = vec![
            crowd::of_udp(peers, span).await?,
            crowd::of_stack::<Rival>(peers, span).await?,
            crowd::of_stack::<Ours>(peers, span).await?,
        ];
    }
    if wanted(Part::Memory) {
        for peers in if args.quick { vec![5] } else { vec![50, 200] } {
            for over in [Rival::NAME, Ours::NAME] {
                outcome.memory.push(memory_of(over, peers)?);
            }
        }
    }
    Ok(outcome)
}

/// From the first socket of the offerer to open channels on both sides.
async fn set_ups<S: Stack>(times: usize) -> Result<Times> {
    let taken = times_of_set_ups::<S>(times).await?;
    Ok(Times {
        over: S::NAME,
        ms: Spread::of(&taken),
    })
}

async fn times_of_set_ups<S: Stack>(times: usize) -> Result<Vec<Duration>> {
    let mut taken = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        let (stack, ..) = S::open(Handle::current()).await?;
        taken.push(begun.elapsed());
        stack.close().await;
    }
    Ok(taken)
}

/// In a network namespace whose loopback loses datagrams, by a process of its own.
fn set_ups_under_loss(over: &'static str, times: usize) -> Result<Times> {
    let namespace = warp_lab::Namespace::new("lossy")?;
    let _lossy = namespace.drop_incoming("meta l4proto udp numgen random mod 100 < 5")?;
    let asked = namespace
        .command(std::env::current_exe()?)
        .args(["p2p", "--set-ups-of", over, &times.to_string()])
        .output()?;
    let said = String::from_utf8(asked.stdout)?;
    let taken: Vec<Duration> = said
        .lines()
        .filter_map(|line| line.parse().ok().map(Duration::from_micros))
        .collect();
    if taken.len() != times {
        let why = String::from_utf8_lossy(&asked.stderr);
        bail!(
            "{over} set up {} connections of {times}: {why}",
            taken.len()
        );
    }
    Ok(Times {
        over,
        ms: Spread::of(&taken),
    })
}

async fn trips(hertz: u64, rounds: u64, span: Duration) -> Result<Vec<RoundTrips>> {
    let period = Duration::from_micros(1_000_000 / hertz);
    let mut rows = Rows(Vec::new());
    for _ in 0..rounds {
        for sealed in [false, true] {
            let (mut near, mut far) = Udp::open(sealed, &Handle::current())?;
            let times = line::round_trips((&mut near, &mut far), period, span).await?;
            rows.add(Udp::name(sealed), times);
        }
        trips_of::<Rival>(&mut rows, period, span).await?;
        trips_of::<Ours>(&mut rows, period, span).await?;
    }
    let row = |row: Samples<Duration>| RoundTrips {
        over: row.over,
        hertz,
        ms: Spread::of(&row.taken),
    };
    Ok(rows.0.into_iter().map(row).collect())
}

async fn trips_of<S: Stack>(
    rows: &mut Rows<Duration>,
    period: Duration,
    span: Duration,
) -> Result<()> {
    let (stack, mut near, mut far) = S::open(Handle::current()).await?;
    let ends = (&mut near.unreliable, &mut far.unreliable);
    let times = line::round_trips(ends, period, span).await?;
    rows.add(format!("{}, unreliable", S::NAME), times);
    let ends = (&mut near.control, &mut far.control);
    let times = line::round_trips(ends, period, span).await?;
    rows.add(format!("{}, control", S::NAME), times);
    stack.close().await;
    Ok(())
}

async fn floods(rounds: u64, span: Duration) -> Result<Vec<Flood>> {
    let mut of = [const { Vec::new() }; 4];
    let [udp, sealed, rival, ours] = &mut of;
    for _ in 0..rounds {
        for (taken, seal) in [(&mut *udp, false), (&mut *sealed, true)] {
            let (near, far) = Udp::open(seal, &Handle::current())?;
            taken.push(flood(near, far, span).await?);
        }
        let (stack, near, far) = Rival::open(Handle::current()).await?;
        rival.push(flood(near.unreliable, far.unreliable, span).await?);
        stack.close().await;
        let (stack, near, far) = Ours::open(Handle::current()).await?;
        ours.push(flood(near.unreliable, far.unreliable, span).await?);
        stack.close().await;
    }
    let names = [Udp::name(false), Udp::name(true), Rival::NAME, Ours::NAME];
    let row = |(over, taken): (&'static str, &Vec<(f64, f64)>)| Flood {
        over,
        arrived_per_s: median(taken.iter().map(|(rate, _)| *rate)),
        cpu_s_per_million: median(taken.iter().map(|(_, cpu)| *cpu)),
    };
    Ok(names.into_iter().zip(&of).map(row).collect())
}

/// How many arrived a second, and processor seconds per million.
async fn flood<L: Line>(near: L, far: L, span: Duration) -> Result<(f64, f64)> {
    let before = cpu();
    let arrived = line::flood(near, far, span).await? as f64;
    let spent = (cpu() - before).as_secs_f64();
    Ok((arrived / span.as_secs_f64(), spent * 1e6 / arrived.max(1.0)))
}

async fn bulks(rounds: u64, span: Duration) -> Result<(Vec<Bulk>, Vec<Times>)> {
    let mut of = [const { Vec::new() }; 4];
    let [tcp, sealed, rival, ours] = &mut of;
    let (mut rival_control, mut our_control) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (taken, seal) in [(&mut *tcp, false), (&mut *sealed, true)] {
            let (near, far) = Tcp::open(seal).await?;
            let alone = async {
                tokio::time::sleep(span).await;
                Ok(())
            };
            let (rates, ()) = bulk(near, far, alone).await?;
            taken.push(rates);
        }
        rival.push(bulk_of::<Rival>(span, &mut rival_control).await?);
        ours.push(bulk_of::<Ours>(span, &mut our_control).await?);
    }
    let names = [Tcp::name(false), Tcp::name(true), Rival::NAME, Ours::NAME];
    let row = |(over, taken): (&'static str, &Vec<(f64, f64)>)| Bulk {
        over,
        mb_per_s: median(taken.iter().map(|(rate, _)| *rate)),
        cpu_s_per_gb: median(taken.iter().map(|(_, cpu)| *cpu)),
    };
    let rates = names.into_iter().zip(&of).map(row).collect();
    let control = [(Rival::NAME, rival_control), (Ours::NAME, our_control)];
    let control = control.map(|(over, taken)| Times {
        over,
        ms: Spread::of(&taken),
    });
    Ok((rates, control.into()))
}

/// MB/s and processor seconds per GB, and control at 200 Hz meanwhile.
async fn bulk_of<S: Stack>(span: Duration, control: &mut Vec<Duration>) -> Result<(f64, f64)> {
    let (stack, mut near, mut far) = S::open(Handle::current()).await?;
    let ends = (&mut near.control, &mut far.control);
    let asked = line::round_trips(ends, Duration::from_millis(5), span);
    let (rates, mut times) = bulk(near.file, far.file, asked).await?;
    control.append(&mut times);
    stack.close().await;
    Ok(rates)
}

async fn bulk<L: Line, T>(
    near: L,
    far: L,
    meanwhile: impl Future<Output = Result<T>>,
) -> Result<((f64, f64), T)> {
    let (before, begun) = (cpu(), Instant::now());
    let (bytes, outcome) = line::bulk(near, far, meanwhile).await?;
    let spent = (cpu() - before).as_secs_f64();
    let rate = bytes as f64 / 1e6 / begun.elapsed().as_secs_f64();
    Ok(((rate, spent * 1e9 / bytes as f64), outcome))
}

/// Asks a process of its own: what this one has freed would be used again, and not show.
fn memory_of(over: &'static str, peers: usize) -> Result<Memory> {
    let asked = std::process::Command::new(std::env::current_exe()?)
        .args(["p2p", "--memory-of", over, &peers.to_string()])
        .output()?;
    let said = String::from_utf8(asked.stdout)?;
    let kib = said.lines().last().and_then(|line| line.parse().ok());
    Ok(Memory {
        over,
        peers,
        kib_per_end: kib.with_context(|| format!("no figure in: {said}"))?,
    })
}

/// KiB per end.
async fn memory<S: Stack>(peers: usize) -> Result<u64> {
    let before = resident()?;
    let mut open = Vec::new();
    for _ in 0..peers {
        open.push(S::open(Handle::current()).await?);
    }
    let kib_per_end = resident()?.saturating_sub(before) / (2 * peers as u64);
    for (stack, ..) in open {
        stack.close().await;
    }
    Ok(kib_per_end)
}

/// Memory of this process, KiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
        .context("the kernel does not tell the memory")
}

/// Processor time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// The middle one, of an even number the lower middle one; zero of none.
fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = of.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len().saturating_sub(1) / 2;
    sorted.get(middle).copied().unwrap_or_default()
}
