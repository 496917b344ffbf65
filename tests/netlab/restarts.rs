//! Programs beside the game server that die in play and come back: coordinator, endpoint and the host
//! of a zone in one namespace, launcher and client in another, 10 ms apart.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use warp_lab::{LinkEmulator, Namespace, Profile};
use warp_tests::digests::{compare_all, compare_ends_before_map};
use warp_tests::hosted;
use warp_tests::house::{House, NodePlan, Place, Plan, on_map};
use warp_tests::process::{PATIENCE, Process};
use warp_tests::watch::{
    LONG, ends_well_after, goes_on_over, hosts_the_zone, logged, until_standby,
};

/// What every client here is told: it plays on one map, patiently.
const PLAYS: [&str; 6] = [
    "--rate",
    "20",
    "--change-every",
    "0",
    "--answer-timeout",
    "100",
];

/// Servers and players, each in a namespace.
struct Lab {
    // Processes end before the network that they use.
    house: House,
    _uplink: LinkEmulator,
}

fn place(namespace: Namespace) -> (Arc<Namespace>, Place) {
    let namespace = Arc::new(namespace);
    let within = Arc::clone(&namespace);
    let place: Place = Arc::new(move |program: &Path| within.command(program));
    (namespace, place)
}

impl Lab {
    /// `None`: not possible here; the reason has been printed.
    fn new(plan: Plan<'_>) -> Option<Self> {
        if let Err(reason) = warp_lab::available() {
            println!("SKIPPED: {reason}");
            return None;
        }
        let (servers, beside_game) = place(Namespace::new("servers").unwrap());
        let (players, at_home) = place(Namespace::new("players").unwrap());
        let uplink = LinkEmulator::new(&servers, &players, Profile::delay_ms(10), 7).unwrap();
        let house = House::with(Plan {
            servers: beside_game,
            players: at_home,
            ip: uplink.address_a().into(),
            ..plan
        });
        Some(Self {
            house,
            _uplink: uplink,
        })
    }

    /// The endpoint is a process of its own.
    fn with_endpoint() -> Option<Self> {
        Self::new(Plan {
            coordinator: json!({"endpoint": {"mode": "remote"}}),
            ..Plan::default()
        })
    }

    fn client(&self, login: SocketAddr, more: &[&str]) -> Process {
        let client = self
            .house
            .client(login, "test1", &[&PLAYS[..], more].concat());
        on_map(&client);
        client
    }

    fn closed(&self) -> usize {
        self.house.server.events("connection-closed").len()
    }
}

impl Lab {
    /// Waits until the client that lost its server at `lost` is on the map again. Its own connection was
    /// never closed: it would have had to make another one.
    fn back(&self, node: &Process, client: &mut Process, from: usize, lost: Instant, what: &str) {
        client.event_from(0, "reentered", LONG, |_| true);
        let took = lost.elapsed().as_millis();
        node.event_from(from, "reentry-done", LONG, |_| true);
        println!("{what}: back on the map {took} ms after it");
        ends_well_after(client, 1);
        compare_ends_before_map(&[&*client], &self.house.server);
        assert_eq!(node.events("reentry-failed"), Vec::<Value>::new());
        assert_eq!(node.events("stopped"), Vec::<Value>::new());
    }

    /// Ends a client that nothing happened to: no byte of its differs, and the game server has closed no
    /// more than the `closed` sockets of before.
    fn unharmed(&self, node: &Process, client: &mut Process, closed: usize, what: &str) {
        assert_eq!(
            self.closed(),
            closed,
            "a socket of the game server was closed"
        );
        let summary = ends_well_after(client, 0);
        let endpoint = self.house.endpoint.as_ref().unwrap();
        compare_all(&[&*client], &[node], &self.house.server, endpoint);
        assert_eq!(node.events("stopped"), Vec::<Value>::new());
        println!(
            "{what}: largest gap {:.1} ms",
            summary["largest_gap_ms"].as_f64().unwrap()
        );
    }
}

#[test]
fn the_coordinator_is_killed_and_the_game_goes_on() {
    let Some(mut lab) = Lab::with_endpoint() else {
        return;
    };
    let (node, login) = lab.house.playing(&NodePlan::default());
    let mut client = lab.client(login, &["--seconds", "0"]);
    let at = goes_on_over(&node, 0, "direct");
    until_standby(&node, at, "wss");
    let closed = lab.closed();
    lab.house.coordinator.kill();
    lab.house.coordinator.exit(PATIENCE);
    let at = goes_on_over(&node, node.mark(), "direct");
    lab.house.restart_coordinator();
    // The session of before, and none that was ended meanwhile.
    assert_eq!(lab.house.endpoint_serves(0), (1, 0));
    logged(&lab.house.coordinator, 0, "signaling socket open");
    until_standby(&node, at, "wss");
    goes_on_over(&node, node.mark(), "direct");
    lab.unharmed(&node, &mut client, closed, "kill -9 of the coordinator");
}

/// The direct path is not used; a volunteer's host carries the game, which needs the coordinator for its
/// lease.
#[test]
fn the_coordinator_is_killed_while_a_host_carries_the_game() {
    let plan = Plan {
        coordinator: json!({"endpoint": {"mode": "remote"}}),
        ..hosted::plan()
    };
    let Some(mut lab) = Lab::new(plan) else {
        return;
    };
    lab.house.add_user("bob");
    let host = lab.house.host_with("bob", &[]);
    hosts_the_zone(&host, 0);
    let (mut node, login) = lab.house.playing(&NodePlan {
        config: json!({"p2p": {"paths": ["host", "wss"]}}),
        ..NodePlan::default()
    });
    let mut client = lab.client(login, &["--seconds", "0"]);
    let at = hosted::until_ready(&node, 0, &["host", "wss"]);
    hosted::use_host(&mut node);
    let at = goes_on_over(&node, at, "host");
    until_standby(&node, at, "wss");
    let closed = lab.closed();
    let killed = node.mark();
    lab.house.coordinator.kill();
    lab.house.coordinator.exit(PATIENCE);
    goes_on_over(&node, node.mark(), "host");
    let told = host.mark();
    lab.house.restart_coordinator();
    assert_eq!(lab.house.endpoint_serves(0), (1, 0));
    logged(&lab.house.coordinator, 0, "signaling socket open");
    host.event_from(told, "host-state", LONG, |event| {
        event["host"]["state"] == "serving" && event["host"]["signaling"] == true
    });
    // The coordinator has the host and its routes from the endpoint: nobody is moved, then or now.
    until_standby(&node, node.mark(), "wss");
    goes_on_over(&node, node.mark(), "host");
    assert_eq!(hosted::later(&node, killed, "moved"), [json!(null); 0]);
    lab.unharmed(
        &node,
        &mut client,
        closed,
        "kill -9 of the coordinator beside a host",
    );
}

#[test]
fn the_endpoint_is_killed_and_the_player_is_on_the_map_again() {
    let Some(mut lab) = Lab::with_endpoint() else {
        return;
    };
    let (node, login) = lab.house.playing(&NodePlan::default());
    let mut client = lab.client(login, &["--seconds", "0", "--reentry"]);
    goes_on_over(&node, 0, "direct");
    let (from, lost) = (node.mark(), Instant::now());
    let endpoint = lab.house.endpoint.as_mut().unwrap();
    endpoint.kill();
    endpoint.exit(PATIENCE);
    lab.house.start_endpoint();
    lab.back(
        &node,
        &mut client,
        from,
        lost,
        "kill -9 of the endpoint, which is started again",
    );
}

/// A hosted zone, whose host dies while the client of `more` plays on it.
fn the_host_of_a_zone_dies(server: &[&str], more: &[&str], before: &str, what: &str) {
    let plan = Plan {
        server_arguments: server,
        ..Plan::default()
    };
    let Some(mut lab) = Lab::new(plan) else {
        return;
    };
    lab.house.add_user("bob");
    let upstreams = lab.house.make_hosted();
    let mut host = lab.house.host_with("bob", &upstreams);
    hosts_the_zone(&host, 0);
    let (node, login) = lab.house.playing(&NodePlan::default());
    let more = [&["--seconds", "0", "--reentry"], more].concat();
    let mut client = lab.client(login, &more);
    // It is the host that dials the game server.
    logged(&host, 0, "session granted");
    client.event(before);
    let (from, lost) = (node.mark(), Instant::now());
    host.kill();
    host.exit(PATIENCE);
    lab.back(&node, &mut client, from, lost, what);
}

#[test]
fn the_host_of_a_zone_is_killed_while_its_player_walks() {
    the_host_of_a_zone_dies(&[], &[], "on-map", "kill -9 of a zone's host");
}

#[test]
fn the_host_of_a_zone_is_killed_while_its_player_fights() {
    // The game server refuses whoever is in a fight for its ten seconds.
    let what = "kill -9 of a zone's host in a fight";
    the_host_of_a_zone_dies(&[], &["--attacks", "1"], "attacked", what);
}

#[test]
fn the_host_of_a_zone_is_killed_and_its_player_has_a_pin_code() {
    let pin = ["--pin", "4821"];
    let what = "kill -9 of a zone's host, with a pin code";
    the_host_of_a_zone_dies(&pin, &pin, "on-map", what);
}
