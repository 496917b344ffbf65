//! `coordinator`: what a coordinator does in a second, and what a socket costs it.
//!
//! A real `warp-coordinator` runs on one core, and this process, which asks it, on another. Each rate
//! is measured by connections that ask again as soon as they are answered; relays are sent at a steady
//! rate, and the time of each counts from when it was to be sent, so that waiting is not hidden. Beside
//! it, in the same run, stands a bare axum server with the same shape of requests and answers: what
//! the framework costs.

mod http;
mod plain;
mod relay;
mod subject;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;
use serde_json::json;

use crate::coordinator::http::{Rate, Request, measure};
use crate::coordinator::subject::Subject;
use crate::stats::Spread;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each figure is measured, seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Connections that ask at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Only these parts.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Only to see that it works.
    #[arg(long)]
    quick: bool,
    /// Serves as the bare server instead; what this program starts by itself.
    #[arg(long, hide = true)]
    plain: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Requests a second.
    Rates,
    /// Signals between sockets.
    Relay,
    /// Memory of idle sockets.
    Memory,
}

/// The whole result.
#[derive(Serialize)]
pub(crate) struct Outcome {
    seconds_per_figure: u64,
    connections: u16,
    rates: Vec<RateRow>,
    relay: Vec<relay::Row>,
    highest: Option<relay::Highest>,
    memory: Vec<relay::Memory>,
    /// Every target of the plan was reached.
    pub(crate) holds: bool,
}

#[derive(Serialize)]
struct RateRow {
    what: &'static str,
    /// Bytes of one answer.
    bytes: usize,
    per_s: f64,
    ms: Spread,
    /// Processor time of the coordinator for one, microseconds: what does not depend on what else the
    /// machine does.
    processor_us: f64,
    /// The bare server with requests and answers of this shape.
    bare_per_s: Option<f64>,
    /// The Python coordinator on such a machine.
    anchor_per_s: Option<f64>,
}

/// Measures everything and prints tables.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    if args.plain {
        plain::serve()?;
        bail!("the bare server ended");
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().unwrap_or_default().parse()?;
    if load > 1.0 {
        eprintln!("warning: load average {load}: other programs run, the figures mean little");
    }
    let descriptors = raise_descriptors()?;
    let span = if args.quick {
        Duration::from_millis(500)
    } else {
        Duration::from_secs(args.seconds)
    };
    let wants = |part| args.only.is_empty() || args.only.contains(&part);
    let cores = Cores::look()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut outcome = Outcome {
        seconds_per_figure: args.seconds,
        connections: args.connections,
        rates: Vec::new(),
        relay: Vec::new(),
        highest: None,
        memory: Vec::new(),
        holds: true,
    };
    if wants(Part::Rates) {
        let subject = Subject::start(&cores)?;
        let bare = plain::Bare::start(&cores)?;
        let measured = rates(&subject, &bare, args.connections, span, args.quick);
        outcome.rates = runtime.block_on(Box::pin(measured))?;
        show_rates(&outcome.rates);
    }
    let sizes = |all: &[usize]| -> Vec<usize> {
        let most = if args.quick { 200 } else { usize::MAX };
        all.iter().copied().filter(|n| *n <= most).collect()
    };
    if wants(Part::Relay) {
        for sockets in sizes(&[50, 200, 1000, 10_000]) {
            let subject = Subject::start(&cores)?;
            let bare = plain::Bare::start(&cores)?;
            let measured = relay::measure(&subject, &bare, sockets, span);
            let row = runtime.block_on(Box::pin(measured))?;
            outcome.relay.push(row);
        }
        let subject = Subject::start(&cores)?;
        let highest = runtime.block_on(Box::pin(relay::highest(&subject, span)))?;
        relay::show(&outcome.relay, &highest);
        outcome.highest = Some(highest);
    }
    if wants(Part::Memory) {
        let sizes = if args.quick {
            vec![500]
        } else {
            vec![1000, 10_000, 20_000]
        };
        for sockets in sizes {
            let sockets = sockets.min(descriptors);
            let subject = Subject::start(&cores)?;
            let row = runtime.block_on(Box::pin(relay::memory(&subject, sockets)))?;
            outcome.memory.push(row);
        }
        relay::show_memory(&outcome.memory);
    }
    outcome.holds = holds(&outcome);
    Ok(outcome)
}

/// A core for what is measured, and one for what measures.
pub(crate) struct Cores {
    subject: CpuSet,
    own: CpuSet,
}

impl Cores {
    fn look() -> Result<Self> {
        let all = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
        let (first, second) = (cores.next(), cores.next());
        let (Some(first), Some(second)) = (first, second) else {
            bail!("two cores are needed: one for the coordinator, one for what asks it");
        };
        let one = |cpu| {
            let mut set = CpuSet::new();
            set.set(cpu);
            set
        };
        let this = Self {
            subject: one(first),
            own: one(second),
        };
        sched_setaffinity(None, &this.own)?;
        Ok(this)
    }

    /// Starts something on the core of what is measured: a child has its parent's core.
    fn on_subject<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        sched_setaffinity(None, &self.subject)?;
        let started = start();
        sched_setaffinity(None, &self.own)?;
        started
    }
}

/// Each socket is a descriptor, here and in what is measured, which inherits the limit. Gives how many
/// sockets fit.
fn raise_descriptors() -> Result<usize> {
    // Beside sockets: the database, the runtime, logs.
    let (wanted, others) = (25_000, 300);
    let fits = |limit: Option<u64>| {
        let limit = limit.unwrap_or(wanted).saturating_sub(others);
        usize::try_from(limit).unwrap_or(usize::MAX)
    };
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    let limit = getrlimit(Resource::Nofile);
    if enough(limit.current) {
        return Ok(fits(limit.current));
    }
    // Whoever may, raises the hard limit as well.
    let both = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum.map(|most| most.max(wanted)),
    };
    if setrlimit(Resource::Nofile, both).is_ok() {
        return Ok(fits(Some(wanted)));
    }
    let current = limit.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).context("the limit of open files")?;
    if !enough(current) {
        eprintln!(
            "warning: only {current:?} open files are allowed, {wanted} are wanted: fewer sockets"
        );
    }
    Ok(fits(current))
}

async fn rates(
    subject: &Subject,
    bare: &plain::Bare,
    connections: u16,
    span: Duration,
    quick: bool,
) -> Result<Vec<RateRow>> {
    let many = usize::from(connections);
    let mut rows: Vec<RateRow> = Vec::new();
    let mut asked = Vec::new();
    let token = subject.token(subject::PLAYER).await?;
    let volunteer = subject.token(subject::VOLUNTEER).await?;
    let hosts = subject.hosts(0..20, &volunteer).await?;
    // So that there is one to choose.
    let _attached = subject.attach(&hosts, &volunteer).await?;
    let beat = json!({"latency_ms": 12.5, "packet_loss_percent": 0.1, "bandwidth_usage_mbps": 3.5,
                      "current_players": 0, "current_zones": 1});
    let zone = subject::ZONE;
    let get = |path: &str| Request::get(&format!("/api/v1/{path}"), &token);
    let staff = subject.token(subject::STAFF).await?;
    let plan = [
        ("health", Request::get("/health", ""), Some(1902.0)),
        ("hosts, 20", get("hosts/?limit=1000"), Some(582.0)),
        (
            "heartbeat",
            Request::post("/api/v1/hosts/bench-0/heartbeat", &volunteer, &beat),
            Some(339.0),
        ),
        (
            "best host",
            get(&format!("hosts/available/best?zone_id={zone}")),
            Some(487.0),
        ),
        ("zones", get("zones/"), None),
        (
            "dashboard",
            Request::get("/api/v1/monitoring/dashboard", &staff),
            Some(315.0),
        ),
    ];
    for (what, request, anchor) in plan {
        let measuring = measure(subject.address, vec![request.clone(); many], span);
        rows.push(row(what, subject, measuring, anchor).await?);
        asked.push(request);
    }
    subject
        .hosts(20..if quick { 100 } else { 1000 }, &volunteer)
        .await?;
    for (what, path, anchor) in [
        ("hosts, 1,000", "hosts/?limit=1000", Some(25.0)),
        ("hosts, 1,000, a page of 100", "hosts/?limit=100", None),
    ] {
        let request = get(path);
        let measuring = measure(subject.address, vec![request.clone(); many], span);
        rows.push(row(what, subject, measuring, anchor).await?);
        asked.push(request);
    }
    // The bare server with the same requests: as many bytes there and back.
    for (row, request) in rows.iter_mut().zip(asked) {
        let request = request.at(&format!("/bytes/{}", row.bytes));
        let rate = measure(bare.address, vec![request; many], span).await?;
        row.bare_per_s = Some(rate.per_s);
    }
    let sign_ins = subject.sign_ins(4, span);
    rows.push(row("sign-in", subject, sign_ins, None).await?);
    let refreshes = subject.refreshes(many, span);
    rows.push(row("refresh", subject, refreshes, None).await?);
    let joins = subject.joins(many, span, &token);
    rows.push(row("join", subject, joins, None).await?);
    Ok(rows)
}

async fn row(
    what: &'static str,
    subject: &Subject,
    measuring: impl Future<Output = Result<Rate>>,
    anchor_per_s: Option<f64>,
) -> Result<RateRow> {
    let before = subject.processor()?;
    let rate = measuring.await?;
    let spent = subject.processor()?.saturating_sub(before);
    Ok(RateRow {
        what,
        bytes: rate.bytes,
        per_s: rate.per_s,
        ms: rate.ms,
        processor_us: spent.as_secs_f64() * 1e6 / rate.asked.max(1) as f64,
        bare_per_s: None,
        anchor_per_s,
    })
}

/// Whether the plan's targets were reached: ten times each rate, a tenth of each p99 and of the memory.
fn holds(outcome: &Outcome) -> bool {
    let mut missed = Vec::new();
    let mut must = |reached: bool, what: String| {
        if !reached {
            missed.push(what);
        }
    };
    for row in &outcome.rates {
        if let Some(anchor) = row.anchor_per_s {
            must(
                row.per_s >= 10.0 * anchor,
                format!("{}: {:.0}/s of {:.0}", row.what, row.per_s, 10.0 * anchor),
            );
        }
    }
    for row in &outcome.relay {
        if let Some(anchor) = row.anchor_p99_ms {
            let (p99, most) = (row.ms.p99, anchor / 10.0);
            must(
                p99 <= most,
                format!(
                    "relay, {} sockets: p99 {p99:.3} ms of {most:.3}",
                    row.sockets
                ),
            );
        }
    }
    for row in &outcome.memory {
        let kib = row.kib_per_socket;
        must(
            kib <= 3.0,
            format!("memory, {} sockets: {kib:.1} KiB of 3", row.sockets),
        );
    }
    if missed.is_empty() {
        println!("Every target holds.");
    } else {
        println!("Targets that do not hold: {}.", missed.join("; "));
    }
    missed.is_empty()
}

fn show_rates(rows: &[RateRow]) {
    println!(
        "| | bytes | requests/s | p50 ms | p99 ms | processor us each | bare server/s | Python/s | \
         times Python |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    for row in rows {
        println!(
            "| {} | {} | {:.0} | {:.2} | {:.2} | {:.0} | {} | {} | {} |",
            row.what,
            row.bytes,
            row.per_s,
            row.ms.p50,
            row.ms.p99,
            row.processor_us,
            number(row.bare_per_s, 0),
            number(row.anchor_per_s, 0),
            number(row.anchor_per_s.map(|anchor| row.per_s / anchor), 1),
        );
    }
    println!("\nA sign-in costs one argon2id hash (19 MiB, 2 passes, 1 lane) by design.\n");
}
