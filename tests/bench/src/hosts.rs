//! `failover`, the part with hosts: the one that carries play is killed, or stands still.
//!
//! Two hosts of other accounts stand beside the endpoint, behind the emulated link like it; the
//! launcher may use hosts and wss, so play goes over one host, and the other stands by. Each round:
//!
//! 1. Play runs over one host for at least two seconds, a random part of a heartbeat more, and the
//!    other host stands by. Which one carries it is seen in what the hosts tell of their traffic.
//! 2. That host's process is killed (SIGKILL), or stopped (SIGSTOP): nobody is told, and its sockets
//!    stay.
//! 3. The launcher tells that play has moved. If it went to wss, it is waited for until it is over the
//!    other host.
//! 4. A stopped host goes on (SIGCONT) and is ended. The coordinator gives a host that its member
//!    found silent no lease for 30 s, so that in each round a new process of the same account takes
//!    the place of the old one, with a device key and an id of its own.
//! 5. The new host stands by.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::json;
use warp_protocol::carrier::PathKind;

use crate::failover::{
    HEARTBEAT, Kind, Lab, MOVE_LIMIT, Round, STEADY, Tally, longest_silence, repeat,
};
use crate::flow::Flow;
use crate::house::{Host, Node, WAYS};

/// Accounts of the hosts.
const USERS: [&str; 2] = ["host-1", "host-2"];
/// How long a stopped host stands still after play has moved.
const HELD: Duration = Duration::from_millis(500);
/// How long it may take until two hosts carry the player.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// How often it is looked which host carries play, before that is given up.
const LOOKS: u32 = 10;
/// What the p99 of the gap has to be below, ms: a kernel tells of a process that is gone, and only
/// time tells of one that stands still.
const KILLED_BELOW_MS: f64 = 300.0;
const STOPPED_BELOW_MS: f64 = 1000.0;

struct Bench<'a> {
    lab: &'a Lab<'a>,
    hosts: [Host; 2],
    node: Node,
    flow: Flow,
    dice: StdRng,
    /// Hosts that were ended: they take their time.
    ending: Vec<std::thread::JoinHandle<()>>,
}

/// Kills so many hosts and stops so many.
pub(crate) fn deaths(
    lab: &Lab<'_>,
    rounds: u32,
    seed: u64,
    kinds: &mut Vec<Kind>,
) -> Result<Tally> {
    let hosts = [
        lab.house.host(USERS[0], true)?,
        lab.house.host(USERS[1], true)?,
    ];
    let p2p = json!({ "paths": ["host", "wss"] });
    let node = lab.house.player("hosted", &p2p, &WAYS)?;
    let mut bench = Bench {
        lab,
        hosts,
        flow: lab.play(&node)?,
        node,
        dice: StdRng::seed_from_u64(seed),
        ending: Vec::new(),
    };
    for (name, signal, limit) in [
        ("host killed", Signal::KILL, KILLED_BELOW_MS),
        ("host stopped", Signal::STOP, STOPPED_BELOW_MS),
    ] {
        let rounds = repeat(name, rounds, || bench.round(signal))?;
        kinds.push(Kind::of(name, &rounds, Some(limit)));
    }
    for thread in bench.ending {
        thread.join().ok().context("ending a host panicked")?;
    }
    lab.end(bench.flow)
}

impl Bench<'_> {
    fn round(&mut self, signal: Signal) -> Result<Round> {
        let (victim, used) = self.carrying()?;
        let mark = self.node.mark();
        let cut = Instant::now();
        self.hosts[victim].signal(signal)?;
        let (moved, to) = self.node.moved(mark, MOVE_LIMIT, |from, _| from == used)?;
        let safe = if WAYS.contains(&to) {
            moved
        } else {
            let back = |_, to| WAYS.contains(&to);
            self.node.moved(mark, READY_LIMIT, back)?.0
        };
        std::thread::sleep(HELD);
        let restored = Instant::now();
        if signal == Signal::STOP {
            self.hosts[victim].signal(Signal::CONT)?;
        }
        let new = self.lab.house.host(USERS[victim], false)?;
        let old = std::mem::replace(&mut self.hosts[victim], new);
        // Its end may take seconds, in which it gives its place back.
        self.ending.push(std::thread::spawn(move || drop(old)));
        let mark = self.node.mark();
        self.node.has_two_hosts(mark, READY_LIMIT)?;
        let ready = Instant::now();
        ensure!(self.flow.is_whole(), "the game's connection has ended");
        let answers = self.flow.answers();
        Ok(Round {
            gap: longest_silence(&answers, cut, safe + HELD)?,
            told: moved.saturating_duration_since(cut),
            return_gap: longest_silence(&answers, safe + HELD, ready)?,
            back: ready.saturating_duration_since(restored),
            to,
        })
    }

    /// Waits until play is steady over one host with the other one standing by; gives which of them
    /// carries it, and the name of its way.
    fn carrying(&mut self) -> Result<(usize, PathKind)> {
        for _ in 0..LOOKS {
            let mark = self.node.mark();
            let used = self.node.has_two_hosts(mark, READY_LIMIT)?;
            let mark = self.node.mark();
            let marks = [self.hosts[0].mark(), self.hosts[1].mark()];
            std::thread::sleep(STEADY + HEARTBEAT.mul_f64(self.dice.random()));
            let rates = [
                self.hosts[0].carries(marks[0])?,
                self.hosts[1].carries(marks[1])?,
            ];
            if self.node.disturbances(mark) > 0 {
                continue;
            }
            // The other one carries no more than heartbeats.
            if rates[0] > 2.0 * rates[1] {
                return Ok((0, used));
            }
            if rates[1] > 2.0 * rates[0] {
                return Ok((1, used));
            }
            println!("both hosts carry alike ({rates:?} bytes/s): looking again");
        }
        bail!("it cannot be told which host carries play");
    }
}
