//! `failover`: the silence that the game sees when its WebRTC path dies, or the host that carries it.
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
//! The deaths of hosts are in [`crate::hosts`].

use std::collections::BTreeMap;
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
use crate::place::Place;
use crate::stats::{Spread, ms};
use crate::{hosts, packet};

/// How long play runs over WebRTC before a cut, at least.
pub(crate) const STEADY: Duration = Duration::from_secs(1);
/// At most this much longer, by chance: the default time between heartbeats.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(250);
/// How long the UDP stays dropped after play has moved.
const HELD: Duration = Duration::from_millis(200);
/// How long a move may take.
pub(crate) const MOVE_LIMIT: Duration = Duration::from_secs(20);
/// How long the way back may take.
const RETURN_LIMIT: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often a host is killed, how often one is stopped, and how often the UDP is dropped.
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// How often the UDP is dropped, if not as often.
    #[arg(long)]
    cuts: Option<u32>,
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
    /// Leave the hosts out.
    #[arg(long)]
    no_hosts: bool,
    /// Only to see that it works: two rounds of each kind, one reconnect.
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
    /// Nothing was lost, and each kind of death is within its limit.
    pub(crate) holds: bool,
}

/// All rounds of one kind of death.
#[derive(Serialize)]
pub(crate) struct Kind {
    name: &'static str,
    /// Longest silence from the cut until play is back on WebRTC.
    gap: Spread,
    /// From the cut until the launcher tells that play has moved.
    told: Spread,
    /// Longest silence from the return's beginning on.
    return_gap: Spread,
    /// From the end of the outage until all is as before: until play is back on WebRTC; with hosts,
    /// until the new one stands by.
    back: Spread,
    gaps_ms: Vec<f64>,
    /// Where play went, and how often.
    moved_to: BTreeMap<String, usize>,
    /// What the gap's p99 has to be below, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_below_ms: Option<f64>,
    holds: bool,
}

impl Kind {
    pub(crate) fn of(name: &'static str, rounds: &[Round], p99_below_ms: Option<f64>) -> Self {
        let of = |pick: fn(&Round) -> Duration| rounds.iter().map(pick).collect::<Vec<_>>();
        let gaps = of(|round| round.gap);
        let gap = Spread::of(&gaps);
        let mut moved_to = BTreeMap::new();
        for round in rounds {
            *moved_to.entry(round.to.to_string()).or_default() += 1;
        }
        Self {
            name,
            told: Spread::of(&of(|round| round.told)),
            return_gap: Spread::of(&of(|round| round.return_gap)),
            back: Spread::of(&of(|round| round.back)),
            gaps_ms: gaps.into_iter().map(ms).collect(),
            moved_to,
            p99_below_ms,
            holds: p99_below_ms.is_none_or(|limit| gap.p99 < limit),
            gap,
        }
    }
}

/// How a path dies.
#[derive(Clone, Copy, PartialEq)]
enum Death {
    UdpDropped,
    CarrierClosed,
}

/// One round.
pub(crate) struct Round {
    pub(crate) gap: Duration,
    pub(crate) told: Duration,
    pub(crate) return_gap: Duration,
    pub(crate) back: Duration,
    /// Where play went first.
    pub(crate) to: PathKind,
}

impl Round {
    fn show(&self, name: &str, number: u32) {
        println!(
            "{name} {number:>3}: gap {:>7.1}, moved to {} after {:>7.1}, back after {:>7.1} with a gap of {:>5.1}",
            ms(self.gap),
            self.to,
            ms(self.told),
            ms(self.back),
            ms(self.return_gap)
        );
    }
}

/// Runs and shows so many rounds.
pub(crate) fn repeat(
    name: &'static str,
    count: u32,
    mut round: impl FnMut() -> Result<Round>,
) -> Result<Vec<Round>> {
    (1..=count)
        .map(|number| {
            let round = round().with_context(|| format!("{name}, round {number}"))?;
            round.show(name, number);
            Ok(round)
        })
        .collect()
}

/// The network, with a coordinator and an echo server.
pub(crate) struct Lab<'a> {
    pub(crate) house: House<'a>,
    pub(crate) echo: Echo,
    place: Place<'a>,
    rate: u32,
    seed: u64,
}

impl Lab<'_> {
    /// The game client begins to play.
    pub(crate) fn play(&self, node: &Node) -> Result<Flow> {
        let pace = Pace {
            start: Instant::now() + Duration::from_millis(500),
            period: Duration::from_secs(1) / self.rate,
            jitter: Duration::ZERO,
        };
        Flow::start("game client", self.place, node.login, pace, self.seed)
    }

    /// Ends play; fails with what happened if a single byte was not as it must be.
    pub(crate) fn end(&self, flow: Flow) -> Result<Tally> {
        let whole = flow.is_whole();
        let closed = self.echo.ended() + u32::from(!whole) + self.echo.accepted().saturating_sub(1);
        let timed = flow.finish()?;
        ensure!(self.echo.faults().is_empty(), "{:?}", self.echo.faults());
        Ok(Tally {
            packets: timed.sent.len(),
            lost: timed.sent.len().saturating_sub(timed.answered.len()),
            closed,
        })
    }
}

/// What became of the packets of a connection.
#[derive(Default)]
pub(crate) struct Tally {
    packets: usize,
    lost: usize,
    closed: u32,
}

struct Cuts<'a> {
    players: &'a Namespace,
    servers: &'a Namespace,
    node: Node,
    flow: Flow,
    dice: StdRng,
}

/// Measures, and prints a table.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let cuts = args.cuts.unwrap_or(args.rounds);
    let (rounds, cuts, reconnects) = if args.quick {
        (2, 2, 1)
    } else {
        (args.rounds, cuts, args.reconnects)
    };
    let rounds = if args.no_hosts { 0 } else { rounds };
    warp_lab::available().map_err(|reason| anyhow::anyhow!("no network lab here: {reason}"))?;
    println!(
        "{} packets a second, {} ms one way; {cuts} cuts, {reconnects} reconnects, {rounds} hosts killed, {rounds} stopped. Times in ms.",
        args.rate, args.one_way
    );
    let mut kinds = Vec::new();
    let mut tallies = Vec::new();
    if cuts + reconnects > 0 {
        tallies.push(in_lab(args, |lab, players, servers| {
            let node = lab.house.node("webrtc", true, PathKind::Direct)?;
            let mut bench = Cuts {
                players,
                servers,
                flow: lab.play(&node)?,
                node,
                dice: StdRng::seed_from_u64(args.seed),
            };
            for (name, death, count) in [
                ("UDP dropped", Death::UdpDropped, cuts),
                ("/p2p reconnect", Death::CarrierClosed, reconnects),
            ] {
                if count > 0 {
                    let rounds = repeat(name, count, || bench.round(death))?;
                    kinds.push(Kind::of(name, &rounds, None));
                }
            }
            lab.end(bench.flow)
        })?);
    }
    if rounds > 0 {
        tallies.push(in_lab(args, |lab, _, _| {
            hosts::deaths(lab, rounds, args.seed, &mut kinds)
        })?);
    }
    let lost: usize = tallies.iter().map(|tally| tally.lost).sum();
    let closed = tallies.iter().map(|tally| tally.closed).sum();
    let outcome = Outcome {
        one_way_ms: args.one_way,
        packets_per_second: args.rate,
        packets: tallies.iter().map(|tally| tally.packets).sum(),
        bytes_lost: lost * packet::SIZE,
        sockets_closed: closed,
        holds: closed == 0 && lost == 0 && kinds.iter().all(|kind| kind.holds),
        kinds,
    };
    show(&outcome);
    Ok(outcome)
}

/// Makes the network and all that does not die, for as long as `task` takes.
fn in_lab<T>(
    args: &Args,
    task: impl FnOnce(&Lab<'_>, &Namespace, &Namespace) -> Result<T>,
) -> Result<T> {
    let players = Namespace::new("players")?;
    let servers = Namespace::new("servers")?;
    let clean = Profile::delay_ms(args.one_way);
    let link = LinkEmulator::new(&players, &servers, clean, args.seed)?;
    let ip = link.address_b().into();
    let (here, there) = (Place::Inside(&players), Place::Inside(&servers));
    let echo = Echo::start(there, ip)?;
    let lab = Lab {
        house: House::start(there, here, ip, echo.address)?,
        echo,
        place: here,
        rate: args.rate,
        seed: args.seed,
    };
    task(&lab, &players, &servers)
}

impl Cuts<'_> {
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
        let (moved, _) = self.node.moved(mark, MOVE_LIMIT, |from, to| {
            (from, to) == (PathKind::Direct, PathKind::Wss)
        })?;
        if death == Death::UdpDropped {
            std::thread::sleep(HELD);
        }
        let restored = Instant::now();
        for rule in rules {
            rule.remove()?;
        }
        let (back, _) = self
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
            to: PathKind::Wss,
        })
    }
}

/// The longest time between two consecutive answers of which the second came in this time.
///
/// # Errors
/// None came.
pub(crate) fn longest_silence(answers: &[Instant], from: Instant, to: Instant) -> Result<Duration> {
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
        let moved: Vec<_> = kind.moved_to.iter().collect();
        println!("{}: moved to {moved:?}", kind.name);
        if let Some(limit) = kind.p99_below_ms {
            println!(
                "{}: {}: p99 of the gap is {:.1}, wanted below {limit}",
                kind.name,
                verdict(kind.holds),
                kind.gap.p99
            );
        }
    }
    println!(
        "{}: {} packets, {} bytes lost, doubled or out of order, {} sockets closed",
        verdict(outcome.holds),
        outcome.packets,
        outcome.bytes_lost,
        outcome.sockets_closed
    );
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "does not hold" }
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
