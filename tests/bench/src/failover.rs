//! `failover`: the silence that the game sees when its WebRTC path dies.
//!
//! Launcher and game client in one network namespace, coordinator, endpoint and echo server in
//! another, an emulated link between them. The client sends a numbered packet 50 times a second over
//! one connection that stays open all the time. Each round:
//!
//! 1. Play runs over WebRTC for a second and a random part of a heartbeat.
//! 2. The path dies: nftables drops all UDP where it arrives, on both sides, and tells nobody; or
//!    `/p2p reconnect` closes the carrier.
//! 3. The launcher tells that play has moved to wss. The UDP is let through again.
//! 4. The launcher tells that play is back on WebRTC.
//!
//! The gap is the longest time between two consecutive answers from the cut until play is back; the
//! gap of the way back is given apart. Every packet is checked at the server and at the client.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;
use warp_lab::{LinkEmulator, Namespace, Profile};
use warp_protocol::carrier::PathKind;

use crate::echo::Echo;
use crate::flow::{Flow, Pace};
use crate::house::{House, Node};
use crate::packet;
use crate::place::Place;
use crate::stats::{Spread, ms};

/// How long play runs over WebRTC before a cut, at least.
const STEADY: Duration = Duration::from_secs(1);
/// At most this much longer, by chance: the default time between heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// How long the UDP stays dropped after play has moved.
const HELD: Duration = Duration::from_millis(200);
/// How long a move may take.
const MOVE_LIMIT: Duration = Duration::from_secs(20);
/// How long the way back may take.
const RETURN_LIMIT: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often the UDP is dropped.
    #[arg(long, default_value_t = 100)]
    cuts: u32,
    /// How often the carrier is closed by `/p2p reconnect`.
    #[arg(long, default_value_t = 20)]
    reconnects: u32,
    /// Packets per second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    rate: u32,
    /// One-way delay of the emulated link, milliseconds.
    #[arg(long, default_value_t = 20)]
    one_way: u64,
    /// Of the emulated link's dice and the moments of the cuts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only to see that it works: two cuts and one reconnect.
    #[arg(long)]
    quick: bool,
}

/// The whole result.
#[derive(Serialize)]
pub(crate) struct Outcome {
    one_way_ms: u64,
    packets_per_second: u32,
    packets: usize,
    /// Of packets that were lost, doubled, damaged or out of order.
    bytes_lost: usize,
    /// Of the client and of the server.
    sockets_closed: u32,
    kinds: Vec<Kind>,
    pub(crate) holds: bool,
}

/// All rounds of one kind of death.
#[derive(Serialize)]
struct Kind {
    name: &'static str,
    /// Longest silence from the cut until play is back on WebRTC.
    gap: Spread,
    /// From the cut until the launcher tells that play has moved.
    told: Spread,
    /// Longest silence from the return's beginning on.
    return_gap: Spread,
    /// From the end of the outage until play is back on WebRTC.
    back: Spread,
    gaps_ms: Vec<f64>,
}

/// How a path dies.
#[derive(Clone, Copy, PartialEq)]
enum Death {
    UdpDropped,
    CarrierClosed,
}

/// One round.
struct Round {
    gap: Duration,
    told: Duration,
    return_gap: Duration,
    back: Duration,
}

struct Bench<'a> {
    players: &'a Namespace,
    servers: &'a Namespace,
    node: Node,
    flow: Flow,
    dice: StdRng,
}

/// Measures, and prints a table.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let (cuts, reconnects) = if args.quick {
        (2, 1)
    } else {
        (args.cuts, args.reconnects)
    };
    warp_lab::available().map_err(|reason| anyhow::anyhow!("no network lab here: {reason}"))?;
    let players = Namespace::new("players")?;
    let servers = Namespace::new("servers")?;
    let link = LinkEmulator::new(
        &players,
        &servers,
        Profile::delay_ms(args.one_way),
        args.seed,
    )?;
    let ip = IpAddr::from(link.address_b());
    let (here, there) = (Place::Inside(&players), Place::Inside(&servers));
    let echo = Echo::start(there, ip)?;
    let house = House::start(there, here, ip, echo.address)?;
    let node = house.node("webrtc", true, PathKind::Direct)?;
    let pace = Pace {
        start: Instant::now() + Duration::from_millis(500),
        period: Duration::from_secs(1) / args.rate,
        jitter: Duration::ZERO,
    };
    let flow = Flow::start("game client", here, node.login, pace, args.seed)?;
    println!(
        "{} packets a second, {} ms one way; {cuts} cuts, {reconnects} reconnects. Times in ms.",
        args.rate, args.one_way
    );
    let mut bench = Bench {
        players: &players,
        servers: &servers,
        node,
        flow,
        dice: StdRng::seed_from_u64(args.seed),
    };
    let mut kinds = Vec::new();
    for (name, death, rounds) in [
        ("UDP dropped", Death::UdpDropped, cuts),
        ("/p2p reconnect", Death::CarrierClosed, reconnects),
    ] {
        if rounds == 0 {
            continue;
        }
        kinds.push(bench.rounds(name, death, rounds)?);
    }
    let whole = bench.flow.is_whole();
    let closed = echo.ended() + u32::from(!whole) + echo.accepted().saturating_sub(1);
    // Fails with what happened if a single byte was not as it must be.
    let timed = bench.flow.finish()?;
    ensure!(echo.faults().is_empty(), "{:?}", echo.faults());
    let lost = timed.sent.len().saturating_sub(timed.answered.len());
    let outcome = Outcome {
        one_way_ms: args.one_way,
        packets_per_second: args.rate,
        packets: timed.sent.len(),
        bytes_lost: lost * packet::SIZE,
        sockets_closed: closed,
        kinds,
        holds: closed == 0 && lost == 0,
    };
    show(&outcome);
    Ok(outcome)
}

impl Bench<'_> {
    fn rounds(&mut self, name: &'static str, death: Death, count: u32) -> Result<Kind> {
        let mut rounds = Vec::new();
        for number in 1..=count {
            let round = self.round(death);
            let round = round.with_context(|| format!("{name}, round {number}"))?;
            println!(
                "{name} {number:>3}: gap {:>7.1}, moved after {:>7.1}, back after {:>7.1} with a gap of {:>5.1}",
                ms(round.gap),
                ms(round.told),
                ms(round.back),
                ms(round.return_gap)
            );
            rounds.push(round);
        }
        let of = |pick: fn(&Round) -> Duration| rounds.iter().map(pick).collect::<Vec<_>>();
        let gaps = of(|round| round.gap);
        Ok(Kind {
            name,
            gap: Spread::of(&gaps),
            told: Spread::of(&of(|round| round.told)),
            return_gap: Spread::of(&of(|round| round.return_gap)),
            back: Spread::of(&of(|round| round.back)),
            gaps_ms: gaps.into_iter().map(ms).collect(),
        })
    }

    fn round(&mut self, death: Death) -> Result<Round> {
        std::thread::sleep(STEADY + HEARTBEAT.mul_f64(self.dice.random()));
        let mark = self.node.mark();
        let cut = Instant::now();
        let mut rules = Vec::new();
        match death {
            Death::UdpDropped => {
                rules.push(self.players.drop_incoming("meta l4proto udp")?);
                rules.push(self.servers.drop_incoming("meta l4proto udp")?);
            }
            Death::CarrierClosed => self.node.console("/p2p reconnect")?,
        }
        let moved = self.node.moved(mark, MOVE_LIMIT, |from, to| {
            (from, to) == (PathKind::Direct, PathKind::Wss)
        })?;
        if death == Death::UdpDropped {
            std::thread::sleep(HELD);
        }
        let restored = Instant::now();
        for rule in rules {
            rule.remove()?;
        }
        let back = self
            .node
            .moved(mark, RETURN_LIMIT, |_, to| to == PathKind::Direct)?;
        // The answers to what was sent around the return.
        std::thread::sleep(STEADY / 2);
        ensure!(self.flow.is_whole(), "the game's connection has ended");
        let answers = self.flow.answers();
        Ok(Round {
            gap: longest_silence(&answers, cut, back)?,
            told: moved.saturating_duration_since(cut),
            return_gap: longest_silence(&answers, back, Instant::now())?,
            back: back.saturating_duration_since(restored),
        })
    }
}

/// The longest time between two consecutive answers of which the second came in this time.
fn longest_silence(answers: &[Instant], from: Instant, to: Instant) -> Result<Duration> {
    answers
        .windows(2)
        .filter_map(|pair| match pair {
            [first, second] if (from..to).contains(second) => Some(*second - *first),
            _ => None,
        })
        .max()
        .context("no answer came")
}

fn show(outcome: &Outcome) {
    println!(
        "\n{:<34}{:>8}{:>9}{:>9}{:>9}",
        "", "rounds", "p50", "p99", "worst"
    );
    for kind in &outcome.kinds {
        for (what, spread) in [
            ("gap between two answers", &kind.gap),
            ("until the move is told", &kind.told),
            ("gap of the return", &kind.return_gap),
            ("until the return", &kind.back),
        ] {
            println!(
                "{:<34}{:>8}{:>9.1}{:>9.1}{:>9.1}",
                format!("{}: {what}", kind.name),
                spread.samples,
                spread.p50,
                spread.p99,
                spread.max
            );
        }
    }
    println!(
        "{}: {} packets, {} bytes lost, doubled or out of order, {} sockets closed",
        if outcome.holds { "holds" } else { "FAILS" },
        outcome.packets,
        outcome.bytes_lost,
        outcome.sockets_closed
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_silence_that_ends_in_the_window_counts() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let answers = [at(0), at(500), at(520), at(1320), at(1340), at(3000)];
        let longest = |from, to| longest_silence(&answers, at(from), at(to)).unwrap();
        assert_eq!(longest(510, 2000), Duration::from_millis(800));
        assert_eq!(longest(1330, 2000), Duration::from_millis(20));
        assert!(longest_silence(&answers, at(1350), at(2000)).is_err());
    }
}
