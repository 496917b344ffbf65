//! The figures that the launcher shows, against what the link was set to.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use warp_lab::{Direction, LinkEmulator, Namespace, Profile};
use warp_tests::house::{House, NodePlan, Place, Plan, on_map};
use warp_tests::process::{PATIENCE, Process};

/// How far a figure may be off, of what the link did.
const TOLERANCE: f64 = 0.10;

/// A launcher and a client in play over an emulated link.
struct Lab {
    // Processes end before the network that they use.
    _client: Process,
    node: Process,
    _house: House,
    link: LinkEmulator,
}

/// Programs go before whatever else the machine does: a process that waits for its turn adds to the
/// round trip, and is no property of the link.
fn place(namespace: &Arc<Namespace>) -> Place {
    let namespace = Arc::clone(namespace);
    Arc::new(move |program: &Path| {
        let mut command = namespace.command("nice");
        command.args(["-n", "-15"]).arg(program);
        command
    })
}

impl Lab {
    /// In play over the direct path with so many requests a second. `None`: not possible here; the
    /// reason has been printed.
    fn new(profile: Profile, rate: u32) -> Option<Self> {
        if let Err(reason) = warp_lab::available() {
            println!("SKIPPED: {reason}");
            return None;
        }
        let servers = Arc::new(Namespace::new("servers").unwrap());
        let players = Arc::new(Namespace::new("players").unwrap());
        let link = LinkEmulator::new(&servers, &players, profile, 11).unwrap();
        let house = House::with(Plan {
            servers: place(&servers),
            players: place(&players),
            ip: link.address_a().into(),
            ..Plan::default()
        });
        // One path alone: the heartbeats of all paths leave in the same moment, and of packets that
        // enter the link together the later one waits for the earlier, which adds to its jitter.
        let (node, login) = house.playing(&NodePlan {
            config: json!({ "p2p": { "paths": ["direct"] } }),
            ..NodePlan::default()
        });
        let rate = rate.to_string();
        let arguments = ["--rate", &rate, "--change-every", "0", "--seconds", "0"];
        let patient = ["--answer-timeout", "60"];
        let client = house.client(login, "test1", &[&arguments[..], &patient].concat());
        on_map(&client);
        node.event_from(0, "metrics", PATIENCE, |event| {
            event["metrics"]["path"] == "direct"
        });
        Some(Self {
            _client: client,
            node,
            _house: house,
            link,
        })
    }

    /// The path in use in the next `count` events, one a second, after `skip` others.
    fn figures(&self, skip: usize, count: usize) -> Vec<Value> {
        let direct = |event: &Value| event["metrics"]["path"] == "direct";
        let mut at = self
            .node
            .events_more(self.node.mark(), "metrics", skip, direct);
        let mut figures = Vec::new();
        for _ in 0..count {
            let (next, event) = self.node.event_from(at, "metrics", PATIENCE, direct);
            figures.push(event["metrics"].clone());
            at = next;
        }
        figures
    }
}

fn mean(figures: &[Value], key: &str) -> f64 {
    let values = figures.iter().map(|one| one[key].as_f64().unwrap());
    values.sum::<f64>() / figures.len() as f64
}

/// The jitter of a direction as `docs/quality.md` defines it, ms: the 95th percentile of the distance
/// from the median, here of everything that the link delivered.
fn jitter_ms(delays: &[Duration]) -> f64 {
    let mut ms: Vec<f64> = (delays.iter().map(Duration::as_secs_f64))
        .map(|seconds| seconds * 1e3)
        .collect();
    assert!(ms.len() >= 1_000, "only {} datagrams", ms.len());
    ms.sort_by(f64::total_cmp);
    let median = ms[ms.len() / 2];
    let mut distances: Vec<f64> = ms.iter().map(|one| (one - median).abs()).collect();
    distances.sort_by(f64::total_cmp);
    distances[distances.len() * 95 / 100]
}

fn close(what: &str, shown: f64, real: f64) {
    let off = (shown - real) / real * 100.0;
    println!("{what}: shown {shown:.2}, real {real:.2}, off {off:+.1} %");
    assert!(
        off.abs() <= TOLERANCE * 100.0,
        "{what} is off by {off:.1} %"
    );
}

#[test]
fn round_trip_and_jitter_are_those_of_the_link() {
    // Few enough requests that seldom a packet waits for an earlier one that took longer.
    let Some(lab) = Lab::new(Profile::delay_ms(50).with_jitter_ms(10), 20) else {
        return;
    };
    // The figures of a moment look back over ten seconds: so long the link is recorded before.
    lab.figures(0, 5);
    lab.link.record_delays();
    let figures = lab.figures(10, 40);
    close("round trip, ms", mean(&figures, "rtt_ms"), 100.0);
    // Set is 9.5 ms: of delays even to 10 ms on either side, 95 of 100 are so near to the middle. What
    // the link did is a little more, as a packet that would overtake waits; the worse direction is
    // shown.
    let [up, down] = [Direction::AToB, Direction::BToA]
        .map(|direction| jitter_ms(&lab.link.recorded_delays(direction)));
    close("jitter of the link, ms", up.max(down), 9.5);
    close("jitter, ms", mean(&figures, "jitter_ms"), up.max(down));
}

#[test]
fn loss_is_that_of_the_link() {
    // At 500 requests a second 2 % are 10 a second: 50 s are needed for 500 of them, whose number
    // is off by 4 % in the mean. Packets are sent twice meanwhile, which hides no loss of the link.
    let Some(lab) = Lab::new(Profile::delay_ms(10).with_loss(0.02), 500) else {
        return;
    };
    let figures = lab.figures(10, 50);
    close("loss, %", mean(&figures, "loss_percent"), 2.0);
}
