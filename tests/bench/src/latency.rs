//! `latency`: round trips of a 20-byte packet at 50 Hz, four ways at once.
//!
//! The four connections lead to the same echo server and send side by side in the same seconds, 5 ms
//! apart, so that whatever the machine does besides meets all of them alike:
//!
//! 1. direct TCP;
//! 2. TCP through `socat` in the servers' place;
//! 3. TCP to our bridge, from there over wss (TLS, `p2p.enabled` false);
//! 4. TCP to our bridge, from there over a WebRTC data channel; wss stands by.
//!
//! Once on the loopback, and then between two network namespaces over an emulated link with delay
//! and loss. Everything is set up anew for each, on a link without loss; the loss begins with the
//! warm-up, whose samples do not count.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use warp_lab::{LinkEmulator, Namespace, Profile};
use warp_protocol::carrier::PathKind;

use crate::echo::Echo;
use crate::flow::{Flow, Pace, Timed};
use crate::house::{House, Node, Relay};
use crate::place::Place;
use crate::stats::Spread;

/// Time between two packets of a connection: 50 Hz.
const PERIOD: Duration = Duration::from_millis(20);
/// Between the connections: a quarter of it.
const SLOT: Duration = Duration::from_millis(5);
/// See [`Pace::jitter`].
const JITTER: Duration = Duration::from_millis(3);
/// How far our p99 may lie above plain TCP's where nothing is lost, ms: encryption and two more
/// programs are on the way. Under loss it may not lie above it at all.
const MARGIN_MS: f64 = 1.0;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measured time of each condition, seconds; 50 samples a second and connection.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Time before it that does not count, seconds.
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// One-way delay of the emulated link, milliseconds.
    #[arg(long, default_value_t = 20)]
    one_way: u64,
    /// Loss each way on the emulated link, percent, one condition each.
    #[arg(long, value_delimiter = ',', default_value = "0,1,2,5")]
    loss: Vec<f64>,
    /// Leave the loopback out.
    #[arg(long)]
    no_loopback: bool,
    /// Of the emulated link's dice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only to see that it works: 4 s on the loopback and at the first loss, and times are not
    /// judged.
    #[arg(long)]
    quick: bool,
}

/// The whole result.
#[derive(Serialize)]
pub(crate) struct Outcome {
    bytes_per_packet: usize,
    packets_per_second: f64,
    conditions: Vec<Condition>,
    /// Our p99 over WebRTC is where it must be, under every condition.
    pub(crate) holds: bool,
}

/// What was measured under one condition.
#[derive(Serialize)]
struct Condition {
    name: String,
    one_way_ms: f64,
    loss_percent: f64,
    seconds: u64,
    warm_up_seconds: u64,
    ways: Vec<Way>,
    webrtc: Proof,
    /// Our p99 over WebRTC minus that of direct TCP, ms.
    p99_above_tcp_ms: f64,
    /// Not more than `p99_allowed_above_ms`.
    holds: bool,
    p99_allowed_above_ms: f64,
}

/// One of the four.
#[derive(Serialize)]
struct Way {
    name: &'static str,
    #[serde(flatten)]
    spread: Spread,
    p50_over_tcp: f64,
    p99_over_tcp: f64,
    p50_above_tcp_ms: f64,
    p99_above_tcp_ms: f64,
}

/// What the launcher said of the connection that should be over WebRTC.
#[derive(Serialize)]
struct Proof {
    /// The path in use when it was over.
    path: String,
    /// Moves to another path, and states other than connected, while it was measured.
    disturbances: usize,
    /// Datagrams that were sent a second time.
    duplicated: u64,
}

/// Link and loss.
#[derive(Clone, Copy)]
enum Net<'a> {
    Loopback,
    Link {
        link: &'a LinkEmulator,
        players: &'a Namespace,
        servers: &'a Namespace,
        lossy: Profile,
    },
}

/// Measures all conditions and prints a table for each.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let mut plan = Plan {
        seconds: args.seconds,
        warm_up: args.warm_up,
        one_way: args.one_way,
        losses: args.loss.clone(),
        loopback: !args.no_loopback,
        seed: args.seed,
        judge: !args.quick,
    };
    if !plan.judge {
        (plan.seconds, plan.warm_up) = (4, 1);
        plan.losses.truncate(1);
    }
    println!(
        "Round trip of a 20-byte packet at {} Hz, four connections at once; {} s counted after {} s of warm-up. Times in ms.",
        1000 / PERIOD.as_millis(),
        plan.seconds,
        plan.warm_up
    );
    let mut conditions = Vec::new();
    if plan.loopback {
        conditions.push(measure(&plan, "loopback".into(), (0, 0.0), Net::Loopback)?);
    }
    for loss in &plan.losses {
        conditions.push(over_link(&plan, *loss)?);
    }
    let holds = conditions.iter().all(|condition| condition.holds);
    Ok(Outcome {
        bytes_per_packet: crate::packet::SIZE,
        packets_per_second: 1.0 / PERIOD.as_secs_f64(),
        conditions,
        holds: holds || !plan.judge,
    })
}

/// The arguments as they are used.
struct Plan {
    seconds: u64,
    warm_up: u64,
    one_way: u64,
    losses: Vec<f64>,
    loopback: bool,
    seed: u64,
    judge: bool,
}

fn over_link(plan: &Plan, loss: f64) -> Result<Condition> {
    ensure!((0.0..=50.0).contains(&loss), "--loss {loss}: 0 to 50");
    warp_lab::available().map_err(|reason| anyhow::anyhow!("no network lab here: {reason}"))?;
    let players = Namespace::new("players")?;
    let servers = Namespace::new("servers")?;
    let clean = Profile::delay_ms(plan.one_way);
    let link = LinkEmulator::new(&players, &servers, clean, plan.seed)?;
    let net = Net::Link {
        link: &link,
        players: &players,
        servers: &servers,
        lossy: clean.with_loss(loss / 100.0),
    };
    let name = format!("{} ms one way, {loss} % loss each way", plan.one_way);
    measure(plan, name, (plan.one_way, loss), net)
}

fn measure(
    plan: &Plan,
    name: String,
    (one_way, loss): (u64, f64),
    net: Net<'_>,
) -> Result<Condition> {
    let (players, servers, ip) = match net {
        Net::Loopback => (Place::Here, Place::Here, Ipv4Addr::LOCALHOST),
        Net::Link {
            link,
            players,
            servers,
            ..
        } => (
            Place::Inside(players),
            Place::Inside(servers),
            link.address_b(),
        ),
    };
    let ip = IpAddr::from(ip);
    let context = || format!("condition {name:?}");
    let echo = Echo::start(servers, ip)?;
    let relay = Relay::start(servers, ip, echo.address).with_context(context)?;
    let house = House::start(servers, players, ip, echo.address).with_context(context)?;
    let wss = house
        .node("wss", false, PathKind::Wss)
        .with_context(context)?;
    let webrtc = house
        .node("webrtc", true, PathKind::Direct)
        .with_context(context)?;
    if let Net::Link { link, lossy, .. } = net {
        link.set_both(lossy);
    }
    let targets = [
        ("direct TCP", echo.address),
        ("TCP relay (socat)", relay.address),
        ("bridge over wss", wss.login),
        ("bridge over WebRTC", webrtc.login),
    ];
    // All connections are there before the first packet: under loss that takes seconds.
    let start = Instant::now() + Duration::from_secs(3);
    let flows = start_flows(players, targets, start).with_context(context)?;
    let began = start + Duration::from_secs(plan.warm_up);
    let ended = began + Duration::from_secs(plan.seconds);
    sleep_until(began);
    let (wss_mark, mark) = (wss.mark(), webrtc.mark());
    while Instant::now() < ended && flows.iter().all(Flow::is_whole) {
        sleep_until(ended.min(Instant::now() + Duration::from_millis(100)));
    }
    let proof = prove(&webrtc, mark)?;
    ensure!(
        wss.disturbances(wss_mark) == 0,
        "the launcher over wss lost its path"
    );
    let mut spreads = Vec::new();
    for (flow, (way, _)) in flows.into_iter().zip(targets) {
        let timed = flow.finish().with_context(context)?;
        spreads.push((way, Spread::of(&round_trips(&timed, began, ended))));
    }
    ensure!(echo.faults().is_empty(), "{:?}", echo.faults());
    let allowed = if loss > 0.0 { 0.0 } else { MARGIN_MS };
    let ways = compare(spreads);
    let above = ways.last().map_or(0.0, |way| way.p99_above_tcp_ms);
    let condition = Condition {
        name,
        one_way_ms: one_way as f64,
        loss_percent: loss,
        seconds: plan.seconds,
        warm_up_seconds: plan.warm_up,
        ways,
        webrtc: proof,
        p99_above_tcp_ms: above,
        holds: above <= allowed,
        p99_allowed_above_ms: allowed,
    };
    show(&condition, plan.judge);
    Ok(condition)
}

/// One connection to each target, side by side.
fn start_flows(
    players: Place<'_>,
    targets: [(&'static str, SocketAddr); 4],
    start: Instant,
) -> Result<Vec<Flow>> {
    let numbered = (0_u32..).zip(targets);
    numbered
        .map(|(at, (way, target))| {
            let pace = Pace {
                start: start + SLOT * at,
                period: PERIOD,
                jitter: JITTER,
            };
            Flow::start(way, players, target, pace, u64::from(at))
        })
        .collect()
}

pub(crate) fn sleep_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}

/// That the packets went over WebRTC, by the launcher's own events.
fn prove(node: &Node, mark: usize) -> Result<Proof> {
    let metrics = node.metrics().context("the launcher told no numbers")?;
    let path = metrics.path.map_or("none".into(), |path| path.to_string());
    let disturbances = node.disturbances(mark);
    ensure!(
        metrics.path == Some(PathKind::Direct) || disturbances > 0,
        "the connection that should be over WebRTC is over {path}"
    );
    Ok(Proof {
        path,
        disturbances,
        duplicated: metrics.duplicated,
    })
}

/// Of the packets that were sent in this time.
pub(crate) fn round_trips(timed: &Timed, from: Instant, to: Instant) -> Vec<Duration> {
    let pairs = timed.sent.iter().zip(&timed.answered);
    pairs
        .filter(|(sent, _)| (from..to).contains(*sent))
        .map(|(sent, answered)| answered.saturating_duration_since(*sent))
        .collect()
}

/// Sets all beside the first, which is direct TCP.
fn compare(spreads: Vec<(&'static str, Spread)>) -> Vec<Way> {
    let (p50, p99) = spreads
        .first()
        .map_or((0.0, 0.0), |(_, tcp)| (tcp.p50, tcp.p99));
    let way = |(name, spread): (&'static str, Spread)| Way {
        name,
        p50_over_tcp: spread.p50 / p50,
        p99_over_tcp: spread.p99 / p99,
        p50_above_tcp_ms: spread.p50 - p50,
        p99_above_tcp_ms: spread.p99 - p99,
        spread,
    };
    spreads.into_iter().map(way).collect()
}

fn show(condition: &Condition, judge: bool) {
    println!("\n{}", condition.name);
    println!(
        "{:<20}{:>9}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}{:>8}{:>8}",
        "", "samples", "p50", "p99", "p99.9", "max", "p50-TCP", "p99-TCP", "p50/TCP", "p99/TCP"
    );
    for way in &condition.ways {
        let Spread {
            samples,
            p50,
            p99,
            p999,
            max,
        } = &way.spread;
        println!(
            "{:<20}{samples:>9}{p50:>9.3}{p99:>9.3}{p999:>9.3}{max:>9.3}{:>+10.3}{:>+10.3}{:>8.2}{:>8.2}",
            way.name,
            way.p50_above_tcp_ms,
            way.p99_above_tcp_ms,
            way.p50_over_tcp,
            way.p99_over_tcp
        );
    }
    let proof = &condition.webrtc;
    println!(
        "WebRTC: path in use {}, {} moves or other disturbances, {} datagrams sent twice",
        proof.path, proof.disturbances, proof.duplicated
    );
    if judge {
        println!(
            "{}: p99 over WebRTC is {:+.3} ms beside direct TCP's (allowed: {:+.1})",
            if condition.holds { "holds" } else { "FAILS" },
            condition.p99_above_tcp_ms,
            condition.p99_allowed_above_ms
        );
    }
}
