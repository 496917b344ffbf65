//! Players whose sessions are carried by hosts, as real processes.
//!
//! Everything is waited for by what the programs tell: the launchers' numbers and moves, the hosts'
//! states, and the launchers' log of the hosts that the coordinator names.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::digests::compare_all;
use crate::house::{House, NODE, NodePlan, Place, Plan, bridge, good_end, merge, on_map};
use crate::process::{PATIENCE, Process, Source, is};

/// How long something may take that waits for reports, leases and new connections.
pub const LONG: Duration = Duration::from_secs(90);
/// When every launcher keeps to a policy that was changed.
pub const POLICY: Duration = Duration::from_secs(60);
/// Accounts of hosts, in the order in which they are started.
const HOSTS: [&str; 3] = ["carol", "dave", "erin"];
/// Accounts of players.
const PLAYERS: [&str; 2] = ["alice", "bob"];

/// A house with two hosts and players in play.
pub struct Hosted {
    // Dropped in this order: what depends on another goes first.
    /// Practice clients, one for each launcher, on one map at 20 requests a second.
    pub clients: Vec<Process>,
    /// Launchers.
    pub nodes: Vec<Process>,
    /// `warp-node host`.
    pub hosts: Vec<Process>,
    /// Coordinator with the endpoint, and the practice server.
    pub house: House,
    host_place: Place,
    host_program: &'static str,
    /// Paths that a launcher has when all is well.
    pub kinds: Vec<&'static str>,
}

/// What a house needs to be told for hosts: low wishes, and heartbeats once a second.
pub fn plan() -> Plan<'static> {
    Plan {
        zone: json!({"min_bandwidth_mbps": 1, "max_latency_ms": 2000}),
        coordinator: json!({"hosts": {"heartbeat_seconds": 1, "silent_seconds": 3}}),
        ..Plan::default()
    }
}

impl Hosted {
    /// Two hosts in `host_place`, and so many players, whose launchers have all of `paths`
    /// (`p2p.paths`) proven and carry a client each.
    pub fn new(plan: Plan<'_>, host_place: Place, players: usize, paths: &[&str]) -> Self {
        Self::with_programs(plan, host_place, &[NODE; 2][..players], NODE, paths)
    }

    /// The same with a program for each player, and one for the hosts: `warp-node`, or what takes its
    /// arguments.
    pub fn with_programs(
        plan: Plan<'_>,
        host_place: Place,
        players: &[&str],
        host_program: &'static str,
        paths: &[&str],
    ) -> Self {
        let house = House::with(plan);
        for user in PLAYERS.iter().skip(1).chain(&HOSTS) {
            house.add_user(user);
        }
        let mut kinds = Vec::new();
        for (name, ways) in [
            ("direct", &["direct"][..]),
            ("host", &["host", "host-2"]),
            ("wss", &["wss"]),
        ] {
            if paths.contains(&name) {
                kinds.extend_from_slice(ways);
            }
        }
        let mut all = Self {
            clients: Vec::new(),
            nodes: Vec::new(),
            hosts: Vec::new(),
            house,
            host_place,
            host_program,
            kinds,
        };
        all.add_host();
        all.add_host();
        for (user, program) in PLAYERS.iter().zip(players) {
            let mut config = json!({"p2p": {"paths": paths}});
            merge(
                &mut config,
                &json!({"coordinator": {"reconnect_backoff_ms": 500}}),
            );
            all.nodes.push(all.house.node(&NodePlan {
                user,
                program,
                config,
                ..NodePlan::default()
            }));
        }
        for (at, node) in all.nodes.iter().enumerate() {
            let arguments = ["--rate", "20", "--change-every", "0", "--seconds", "0"];
            let arguments = [&arguments[..], &["--answer-timeout", "60"]].concat();
            let account = format!("test{}", at + 1);
            let client = all.house.client(bridge(node), &account, &arguments);
            all.clients.push(client);
        }
        for client in &all.clients {
            on_map(client);
        }
        for node in &all.nodes {
            until_ready(node, 0, &all.kinds);
        }
        all
    }

    /// Has all players play over their first host, whatever a busy machine adds to it.
    pub fn use_hosts(&mut self) {
        self.nodes.iter_mut().for_each(use_host);
    }

    /// Starts the next host and waits until it serves.
    pub fn add_host(&mut self) {
        let host = self.house.host(
            HOSTS[self.hosts.len()],
            &self.host_place.clone(),
            self.host_program,
            &json!({}),
        );
        host.event_from(0, "host-state", LONG, |event| {
            let host = &event["host"];
            host["state"] == "serving" && host["signaling"] == true && host["upstream"] == "webrtc"
        });
        self.hosts.push(host);
    }

    /// Waits until `node` plays over a host now: the path, and which of the hosts it is.
    pub fn host_in_use(&self, node: &Process) -> (String, usize) {
        let (_, event) = node.event_from(node.mark(), "metrics", LONG, |event| {
            let path = event["metrics"]["path"].as_str().unwrap_or_default();
            event["metrics"]["state"] == "connected" && path.starts_with("host")
        });
        let path = event["metrics"]["path"].as_str().unwrap().to_owned();
        let ids = told_hosts(node, 0).pop().expect("hosts were told").1;
        let id = &ids[usize::from(path == "host-2")];
        let at = self.hosts.iter().position(|host| host_id(host) == *id);
        (path, at.expect("it is one of ours"))
    }

    /// Ends the clients; each has to have seen every byte it expected over one map connection that
    /// nobody closed before it did, and both ends of every connection have seen the same. Then ends
    /// the hosts that are left. Gives the clients' summaries.
    pub fn finish(&mut self, what: &str) -> Vec<Value> {
        for client in &self.clients {
            client.terminate();
        }
        let clients = self.clients.iter_mut();
        let summaries: Vec<Value> = clients.map(|client| good_end(client, PATIENCE)).collect();
        let clients: Vec<&Process> = self.clients.iter().collect();
        let nodes: Vec<&Process> = self.nodes.iter().collect();
        let (server, coordinator) = (&self.house.server, &self.house.coordinator);
        let compared = compare_all(&clients, &nodes, server, coordinator);
        let count = clients.len();
        assert_eq!(compared.maps, count, "one map connection for each");
        for (end, reason) in clients
            .iter()
            .map(|client| (*client, "done"))
            .chain([(server, "client-closed")])
        {
            let reports = end.events("connection-closed");
            let maps = reports.iter().filter(|one| one["role"] == "map");
            for map in maps {
                assert_eq!(map["reason"], reason, "{}: {map}", end.name());
            }
        }
        for (client, summary) in clients.iter().zip(&summaries) {
            assert_eq!(summary["login_retries"], 0);
            println!(
                "{what}: {}: largest gap {:.1} ms, round trip p50 {} us, p99 {} us, {} answered",
                client.name(),
                summary["largest_gap_ms"].as_f64().unwrap(),
                summary["rtt_us"]["p50"],
                summary["rtt_us"]["p99"],
                summary["answered"],
            );
        }
        for node in &self.nodes {
            for moved in node.events("moved") {
                println!("{what}: {}: {moved}", node.name());
            }
        }
        for host in &mut self.hosts {
            // Nobody has to be moved at the end of a test.
            host.kill();
        }
        summaries
    }
}

/// Has a launcher that has a way over a host play over it. By itself it would do so as long as that is no
/// 2 ms worse than another, and leave it for one that is better by 5 ms: so much a busy machine adds to what
/// an unoptimised host does.
pub fn use_host(node: &mut Process) {
    let start = Instant::now();
    loop {
        let answer = ask(node, "/p2p use host");
        // Until it is proven, which a busy machine may undo: the way is no standby for a moment.
        let (_, event) = node.event_from(node.mark(), "metrics", LONG, |_| true);
        if event["metrics"]["path"] == "host" {
            return;
        }
        assert!(start.elapsed() < LONG, "{}: {answer}", node.name());
    }
}

/// The host's id.
pub fn host_id(host: &Process) -> String {
    let id = host.event("host-state")["host"]["host_id"].clone();
    id.as_str().expect("an id").to_owned()
}

/// The hosts that the coordinator has named to a launcher: where in its transcript, their ids in the
/// order of the ways, and why.
pub fn told_hosts(node: &Process, from: usize) -> Vec<(usize, Vec<String>, String)> {
    let lines = node.lines().into_iter().enumerate().skip(from);
    lines
        .filter(|(_, line)| is_told(&line.source, &line.text))
        .map(|(at, line)| (at, quoted(&line.text), line.text))
        .collect()
}

fn is_told(source: &Source, text: &str) -> bool {
    *source == Source::Err && text.contains("hosts of the session")
}

fn quoted(text: &str) -> Vec<String> {
    let parts = text.split('"').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

/// Waits until the coordinator names hosts that `test` accepts.
pub fn until_told(node: &Process, from: usize, test: impl Fn(&[String]) -> bool) -> usize {
    let (at, line) = node.wait_line(from, "other hosts", LONG, |line| {
        let fits = is_told(&line.source, &line.text) && test(&quoted(&line.text));
        fits.then(|| line.text.clone())
    });
    println!("{}: {line}", node.name());
    at
}

fn phase<'a>(event: &'a Value, kind: &str) -> &'a str {
    let paths = event["metrics"]["paths"].as_array().expect("paths");
    let path = paths.iter().find(|path| path["kind"] == kind);
    path.and_then(|path| path["phase"].as_str())
        .unwrap_or("none")
}

/// Waits until all of these paths are in use or could take over at once.
pub fn until_ready(node: &Process, from: usize, kinds: &[&str]) -> usize {
    let (at, _) = node.event_from(from, "metrics", LONG, |event| {
        let ready = |kind: &&str| matches!(phase(event, kind), "standby" | "in-use");
        kinds.iter().all(ready)
    });
    at
}

/// Waits until the launcher has none of these paths, as long as a policy may take to be in force.
pub fn until_gone(node: &Process, from: usize, kinds: &[&str]) -> usize {
    let (at, _) = node.event_from(from, "metrics", POLICY, |event| {
        let gone = |kind: &&str| matches!(phase(event, kind), "none" | "down");
        kinds.iter().all(gone)
    });
    at
}

/// Waits until the game has gone on three times as long as the numbers are apart, over a path that
/// `fits`.
pub fn goes_on(node: &Process, from: usize, fits: impl Fn(&str) -> bool) -> usize {
    let (mut at, mut bytes) = (from, 0);
    for _ in 0..3 {
        let (next, event) = node.event_from(at, "metrics", LONG, |event| {
            let metrics = &event["metrics"];
            metrics["state"] == "connected"
                && fits(metrics["path"].as_str().unwrap_or_default())
                && metrics["bytes_up"].as_u64() > Some(bytes)
        });
        (at, bytes) = (next, event["metrics"]["bytes_up"].as_u64().unwrap());
    }
    at
}

/// Waits until the game leaves `path`; the event.
pub fn until_left(node: &Process, from: usize, path: &str) -> (usize, Value) {
    let (at, moved) = node.event_from(from, "moved", LONG, |event| event["from"] == path);
    println!("{}: {moved}", node.name());
    (at, moved)
}

/// Events of this name at or after `from`.
pub fn later(node: &Process, from: usize, name: &str) -> Vec<Value> {
    let lines = node.lines().split_off(from);
    let events = lines.into_iter().filter_map(|line| line.event);
    events.filter(|event| is(event, name)).collect()
}

/// Types a console line and gives the answer.
pub fn ask(node: &mut Process, line: &str) -> Value {
    let from = node.mark();
    node.line(line);
    let (_, event) = node.event_from(from, "console", PATIENCE, |event| event["line"] == line);
    event["answer"].clone()
}
