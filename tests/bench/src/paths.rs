//! `paths`: what each path adds to plain TCP, by delay and loss, with packets sent once and twice.
//!
//! Seven connections to the same echo server send side by side in the same seconds: direct TCP, and
//! through a launcher each over WebRTC straight to the endpoint, over a host, and over wss, each
//! with `p2p.redundant_sending` `off` and `always`, which the endpoint follows for what it sends. A
//! launcher may use its one path alone (`p2p.paths`), so no other helps out. Where nothing is lost no
//! path may cost more than 2 ms beside direct TCP.
//!
//! Players are in one network namespace; coordinator, endpoint, echo server and the host are in
//! another, with the emulated link between. The host stands beside the endpoint, so its path has
//! the same delay and the same loss as the direct one, and what it adds is its work alone.
//!
//! For each delay all is set up anew on a link without loss; then the losses follow each other, each
//! with connections of its own and a time that does not count.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;
use warp_lab::{LinkEmulator, Namespace, Profile};
use warp_protocol::carrier::PathKind;

use crate::echo::Echo;
use crate::flow::{Flow, Pace};
use crate::house::{House, Node};
use crate::latency::{round_trips, sleep_until};
use crate::place::Place;
use crate::stats::Spread;

/// Time between two packets of a connection: 50 Hz.
const PERIOD: Duration = Duration::from_millis(20);
/// Between the connections: about a seventh of it.
const SLOT: Duration = Duration::from_micros(2_800);
/// See [`Pace::jitter`].
const JITTER: Duration = Duration::from_millis(2);
/// From when the connections are made until the first packet: under loss that takes seconds.
const CONNECT: Duration = Duration::from_secs(4);
/// What a path may cost beside direct TCP where nothing is lost, milliseconds.
const BOUND_MS: f64 = 2.0;

/// One of the paths.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    Direct,
    Host,
    Wss,
}

impl Only {
    fn path(self) -> PathKind {
        match self {
            Self::Direct => PathKind::Direct,
            Self::Host => PathKind::Host,
            Self::Wss => PathKind::Wss,
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measured time of each condition, seconds; 50 samples a second and connection.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Time before it that does not count, seconds.
    #[arg(long, default_value_t = 3)]
    warm_up: u64,
    /// One-way delays of the emulated link, milliseconds.
    #[arg(long, value_delimiter = ',', default_value = "0,20,80")]
    one_way: Vec<u64>,
    /// Loss each way, percent.
    #[arg(long, value_delimiter = ',', default_value = "0,1,5")]
    loss: Vec<f64>,
    /// Only these paths, beside direct TCP.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Only>,
    /// Of the emulated link's dice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only to see that it works: 2 s at the first delay and the last loss.
    #[arg(long)]
    quick: bool,
}

/// The whole result.
#[derive(Serialize)]
pub(crate) struct Outcome {
    bytes_per_packet: usize,
    packets_per_second: f64,
    seconds: u64,
    warm_up_seconds: u64,
    host_stands: &'static str,
    conditions: Vec<Condition>,
    /// What costs more than the bound where nothing is lost; `None`: the run was too short to judge.
    above_bound: Option<Vec<String>>,
}

impl Outcome {
    /// No path was seen to cost more than the bound.
    pub(crate) fn holds(&self) -> bool {
        self.above_bound.as_ref().is_none_or(Vec::is_empty)
    }
}

/// What was measured under one condition.
#[derive(Serialize)]
struct Condition {
    one_way_ms: u64,
    loss_percent: f64,
    ways: Vec<Way>,
}

/// One connection.
#[derive(Serialize)]
struct Way {
    name: String,
    #[serde(flatten)]
    spread: Spread,
    p50_above_tcp_ms: f64,
    p99_above_tcp_ms: f64,
    /// Moves, and states other than connected, meanwhile.
    disturbances: usize,
    /// Datagrams that the launcher sent a second time meanwhile, to about a second.
    duplicated: u64,
}

/// A launcher that may use one path.
struct Player {
    name: String,
    path: PathKind,
    node: Node,
}

impl Player {
    fn duplicated(&self) -> Result<u64> {
        let metrics = self
            .node
            .metrics()
            .context("the launcher told no numbers")?;
        Ok(metrics.duplicated)
    }
}

/// Measures all conditions and prints a table for each.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let (mut delays, mut losses) = (args.one_way.clone(), args.loss.clone());
    let (mut seconds, mut warm_up) = (args.seconds, args.warm_up);
    if args.quick {
        delays.truncate(1);
        losses.drain(..losses.len().saturating_sub(1));
        (seconds, warm_up) = (2, 1);
    }
    for loss in &losses {
        ensure!((0.0..=50.0).contains(loss), "--loss {loss}: 0 to 50");
    }
    warp_lab::available().map_err(|reason| anyhow::anyhow!("no network lab here: {reason}"))?;
    println!(
        "Round trip of a 20-byte packet at 50 Hz, all connections at once; {seconds} s counted after {warm_up} s of warm-up; the host beside the endpoint. Times in ms."
    );
    let plan = Plan {
        seconds: Duration::from_secs(seconds),
        warm_up: Duration::from_secs(warm_up),
        losses,
        only: args.only.clone(),
        seed: args.seed,
    };
    let mut conditions = Vec::new();
    for delay in delays {
        let measured = plan.with_delay(delay);
        conditions.extend(measured.with_context(|| format!("{delay} ms one way"))?);
    }
    let above_bound = (!args.quick).then(|| above(&conditions));
    match &above_bound {
        None => println!("\nToo short to judge."),
        Some(above) if above.is_empty() => println!(
            "\nHolds: without loss no path costs more than {BOUND_MS} ms at the p50 or the p99."
        ),
        Some(above) => println!(
            "\nDoes not hold: without loss no path may cost more than {BOUND_MS} ms.\n{}",
            above.join("\n")
        ),
    }
    Ok(Outcome {
        bytes_per_packet: crate::packet::SIZE,
        packets_per_second: 1.0 / PERIOD.as_secs_f64(),
        seconds,
        warm_up_seconds: warm_up,
        host_stands: "beside the endpoint",
        conditions,
        above_bound,
    })
}

/// What costs more than [`BOUND_MS`] where nothing is lost, in words.
fn above(conditions: &[Condition]) -> Vec<String> {
    let lossless = conditions.iter().filter(|one| one.loss_percent == 0.0);
    let figures = lossless.flat_map(|one| {
        let ways = one.ways.iter();
        ways.flat_map(|way| {
            let (p50, p99) = (way.p50_above_tcp_ms, way.p99_above_tcp_ms);
            [("p50", p50), ("p99", p99)]
                .map(|(which, above)| (one.one_way_ms, &way.name, which, above))
        })
    });
    figures
        .filter(|(.., above)| *above > BOUND_MS)
        .map(|(one_way, name, which, above)| {
            format!("{name}, {one_way} ms one way: {which} {above:+.2} ms")
        })
        .collect()
}

/// The arguments as they are used.
struct Plan {
    seconds: Duration,
    warm_up: Duration,
    losses: Vec<f64>,
    only: Vec<Only>,
    seed: u64,
}

impl Plan {
    fn with_delay(&self, one_way: u64) -> Result<Vec<Condition>> {
        let players = Namespace::new("players")?;
        let servers = Namespace::new("servers")?;
        let clean = Profile::delay_ms(one_way);
        let link = LinkEmulator::new(&players, &servers, clean, self.seed)?;
        let ip = link.address_b().into();
        let (here, there) = (Place::Inside(&players), Place::Inside(&servers));
        let echo = Echo::start(there, ip)?;
        let house = House::start(there, here, ip, echo.address)?;
        let wanted = |one: &Only| self.only.is_empty() || self.only.contains(one);
        let paths: Vec<Only> = (Only::value_variants().iter().copied())
            .filter(wanted)
            .collect();
        let _host = paths
            .contains(&Only::Host)
            .then(|| house.host("host", true))
            .transpose()?;
        let mut launchers = Vec::new();
        for path in paths.into_iter().map(Only::path) {
            for (twice, setting) in [("once", "off"), ("twice", "always")] {
                let p2p = json!({ "paths": [path], "redundant_sending": setting });
                let user = format!("{path}-{twice}");
                launchers.push(Player {
                    name: format!("{path}, {twice}"),
                    path,
                    node: house.player(&user, &p2p, &[path])?,
                });
            }
        }
        let mut conditions = Vec::new();
        for loss in &self.losses {
            link.set_both(clean.with_loss(loss / 100.0));
            let measured = self.measure(here, &echo, &launchers);
            let ways = measured.with_context(|| format!("{loss} % loss"))?;
            link.set_both(clean);
            let condition = Condition {
                one_way_ms: one_way,
                loss_percent: *loss,
                ways,
            };
            condition.show();
            conditions.push(condition);
        }
        ensure!(echo.faults().is_empty(), "{:?}", echo.faults());
        Ok(conditions)
    }

    fn measure(&self, here: Place<'_>, echo: &Echo, players: &[Player]) -> Result<Vec<Way>> {
        let start = Instant::now() + CONNECT;
        let targets: Vec<(&str, SocketAddr)> = std::iter::once(("direct TCP", echo.address))
            .chain(
                players
                    .iter()
                    .map(|one| (one.name.as_str(), one.node.login)),
            )
            .collect();
        let flows: Vec<Flow> = (0_u32..)
            .zip(&targets)
            .map(|(at, (name, target))| {
                let pace = Pace {
                    start: start + SLOT * at,
                    period: PERIOD,
                    jitter: JITTER,
                };
                Flow::start(name, here, *target, pace, u64::from(at))
            })
            .collect::<Result<_>>()?;
        let began = start + self.warm_up;
        let ended = began + self.seconds;
        sleep_until(began);
        let marks: Vec<usize> = players.iter().map(|one| one.node.mark()).collect();
        let before: Vec<u64> = players
            .iter()
            .map(Player::duplicated)
            .collect::<Result<_>>()?;
        while Instant::now() < ended && flows.iter().all(Flow::is_whole) {
            sleep_until(ended.min(Instant::now() + Duration::from_millis(100)));
        }
        let mut ways: Vec<Way> = Vec::new();
        for (flow, (name, _)) in flows.into_iter().zip(&targets) {
            let spread = Spread::of(&round_trips(&flow.finish()?, began, ended));
            let (p50, p99) = ways.first().map_or((spread.p50, spread.p99), |tcp| {
                (tcp.spread.p50, tcp.spread.p99)
            });
            ways.push(Way {
                name: (*name).to_owned(),
                p50_above_tcp_ms: spread.p50 - p50,
                p99_above_tcp_ms: spread.p99 - p99,
                spread,
                disturbances: 0,
                duplicated: 0,
            });
        }
        let numbers = marks.into_iter().zip(before);
        for ((way, player), (mark, before)) in ways.iter_mut().skip(1).zip(players).zip(numbers) {
            way.disturbances = player.node.disturbances(mark);
            way.duplicated = player.duplicated()?.saturating_sub(before);
            let path = player.node.metrics().and_then(|metrics| metrics.path);
            ensure!(
                path == Some(player.path) || way.disturbances > 0,
                "{} is over {path:?}",
                way.name
            );
        }
        Ok(ways)
    }
}

impl Condition {
    fn show(&self) {
        println!(
            "\n{} ms one way, {} % loss each way\n{:<16}{:>8}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}{:>12}{:>13}",
            self.one_way_ms,
            self.loss_percent,
            "",
            "samples",
            "p50",
            "p99",
            "p99.9",
            "max",
            "p50-TCP",
            "p99-TCP",
            "sent twice",
            "disturbances"
        );
        for way in &self.ways {
            let Spread {
                samples,
                p50,
                p99,
                p999,
                max,
            } = &way.spread;
            println!(
                "{:<16}{samples:>8}{p50:>9.2}{p99:>9.2}{p999:>9.2}{max:>9.2}{:>+10.2}{:>+10.2}{:>12}{:>13}",
                way.name,
                way.p50_above_tcp_ms,
                way.p99_above_tcp_ms,
                way.duplicated,
                way.disturbances
            );
        }
    }
}
