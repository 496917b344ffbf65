//! An endpoint that is a process of its own, `warp-endpoint`: what survives whose end. Real processes;
//! the practice client checks every byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::time::Instant;

use serde_json::{Value, json};
use warp_tests::digests::compare_all;
use warp_tests::hosted::later;
use warp_tests::house::{House, NodePlan, Plan, good_end, on_map};
use warp_tests::process::{PATIENCE, Process};
use warp_tests::watch::{
    LONG, ends_well_after, goes_on_over, good_end_without_reentry, hosts_the_zone, logged,
    until_standby,
};

fn house() -> House {
    House::with(Plan {
        coordinator: json!({"endpoint": {"mode": "remote"}}),
        ..Plan::default()
    })
}

/// Everything is as if nothing had been; gives the largest gap between answers, ms.
fn unharmed(house: &House, node: &Process, client: &mut Process) -> f64 {
    let summary = good_end_without_reentry(client);
    same_at_both_ends(house, node, client);
    summary["largest_gap_ms"].as_f64().unwrap()
}

fn same_at_both_ends(house: &House, node: &Process, client: &Process) {
    compare_all(
        &[client],
        &[node],
        &house.server,
        house.endpoint.as_ref().unwrap(),
    );
    for event in ["reentry-started", "stopped"] {
        assert_eq!(node.events(event), Vec::<Value>::new());
    }
    let lost = |event: &&Value| event["problem"]["code"] == "link-lost";
    assert_eq!(node.events("problem").iter().filter(lost).count(), 0);
}

const PLAYS: [&str; 6] = [
    "--rate",
    "10",
    "--change-every",
    "0",
    "--answer-timeout",
    "100",
];

fn client_of(house: &House, login: std::net::SocketAddr, more: &[&str]) -> Process {
    let client = house.client(login, "test1", &[&PLAYS[..], more].concat());
    on_map(&client);
    client
}

#[test]
fn the_coordinator_is_killed_and_the_game_goes_on_over_the_direct_path() {
    let mut house = house();
    let (node, login) = house.playing(&NodePlan::default());
    let mut client = client_of(&house, login, &["--seconds", "30"]);
    let at = goes_on_over(&node, 0, "direct");
    until_standby(&node, at, "wss");
    let closed = house.server.events("connection-closed").len();

    let endpoint = house.endpoint.as_ref().unwrap().mark();
    house.coordinator.kill();
    house.coordinator.exit(PATIENCE);
    let away = Instant::now();
    logged(
        house.endpoint.as_ref().unwrap(),
        endpoint,
        "not connected to the coordinator",
    );
    let at = goes_on_over(&node, node.mark(), "direct");
    house.restart_coordinator();
    println!("the coordinator was away {} ms", away.elapsed().as_millis());
    assert_eq!(house.endpoint_serves(0), (1, 0));
    // The same session again: its signaling socket, its WebSocket carrier, its standby.
    logged(&house.coordinator, 0, "signaling socket open");
    logged(&house.coordinator, 0, "link socket attached");
    println!(
        "signaling and wss were back {} ms after the end",
        away.elapsed().as_millis()
    );
    until_standby(&node, at, "wss");
    assert_eq!(house.server.events("connection-closed").len(), closed);

    let gap = unharmed(&house, &node, &mut client);
    println!("largest gap between answers {gap} ms");
}

#[test]
fn the_coordinator_is_killed_and_a_player_without_udp_waits_for_it() {
    for killed in [true, false] {
        let mut house = house();
        let (node, login) = house.playing(&NodePlan {
            config: json!({"p2p": {"enabled": false}}),
            ..NodePlan::default()
        });
        let mut client = client_of(&house, login, &["--seconds", "25"]);
        goes_on_over(&node, 0, "wss");
        let closed = house.server.events("connection-closed").len();
        if killed {
            house.coordinator.kill();
        } else {
            house.coordinator.terminate();
        }
        house.coordinator.exit(PATIENCE);
        // All carriers are gone, and the launcher says so.
        node.event_from(0, "state", PATIENCE, |event| {
            event["state"] == "reconnecting"
        });
        house.restart_coordinator();
        assert_eq!(house.endpoint_serves(0), (1, 0));
        goes_on_over(&node, node.mark(), "wss");
        assert_eq!(house.server.events("connection-closed").len(), closed);
        let gap = unharmed(&house, &node, &mut client);
        println!("killed: {killed}; largest gap between answers {gap} ms");
    }
}

#[test]
fn signaling_makes_a_direct_path_after_the_coordinator_was_restarted() {
    let mut house = house();
    let (mut node, login) = house.playing(&NodePlan::default());
    let mut client = client_of(&house, login, &["--seconds", "30"]);
    goes_on_over(&node, 0, "direct");
    house.coordinator.kill();
    house.coordinator.exit(PATIENCE);
    house.restart_coordinator();
    assert_eq!(house.endpoint_serves(0), (1, 0));
    logged(&house.coordinator, 0, "signaling socket open");
    let endpoint = house.endpoint.as_ref().unwrap();
    let (from, at) = (endpoint.mark(), node.mark());
    // A new direct carrier is talked about over the new signaling socket.
    node.line("/p2p reconnect");
    logged(endpoint, from, "carrier ended");
    goes_on_over(&node, at, "direct");
    unharmed(&house, &node, &mut client);
}

#[test]
fn a_host_carries_on_while_the_coordinator_is_restarted() {
    for killed in [true, false] {
        let mut house = house();
        house.add_user("bob");
        house.add_user("carol");
        let host = house.host_with("bob", &[]);
        let serving = |from| {
            host.event_from(from, "host-state", LONG, |event| {
                let host = &event["host"];
                host["state"] == "serving"
                    && !host["upstream"].is_null()
                    && host["signaling"] == true
            })
        };
        serving(0);
        let over_host = NodePlan {
            config: json!({"p2p": {"paths": ["host", "wss"]}}),
            ..NodePlan::default()
        };
        let (node, login) = house.playing(&over_host);
        let mut client = client_of(&house, login, &["--seconds", "0"]);
        goes_on_over(&node, 0, "host");
        let closed = house.server.events("connection-closed").len();
        let (from, at) = (host.mark(), node.mark());
        if killed {
            house.coordinator.kill();
        } else {
            house.coordinator.terminate();
        }
        house.coordinator.exit(PATIENCE);
        house.restart_coordinator();
        assert_eq!(house.endpoint_serves(0), (1, 0));
        logged(&house.coordinator, 0, "host entered again");
        serving(from);
        until_standby(&node, node.mark(), "wss");
        goes_on_over(&node, node.mark(), "host");
        assert_eq!(later(&node, at, "moved"), [json!(null); 0]);
        // The host is given others too, and a new connection to it is talked about over the new sockets.
        let (carol, _) = house.playing(&NodePlan {
            user: "carol",
            ..over_host
        });
        logged(&carol, 0, "carrier open path=host");
        assert_eq!(house.server.events("connection-closed").len(), closed);
        let summary = ends_well_after(&mut client, 0);
        same_at_both_ends(&house, &node, &client);
        let gap = &summary["largest_gap_ms"];
        println!("killed: {killed}; largest gap between answers {gap} ms");
    }
}

#[test]
fn the_host_of_a_zone_is_killed_and_the_coordinators_endpoint_takes_over() {
    let mut house = House::new();
    house.add_user("bob");
    let upstreams = house.make_hosted();
    let host = house.host_with("bob", &upstreams);
    hosts_the_zone(&host, 0);
    let (node, login) = house.playing(&NodePlan::default());
    let more = ["--seconds", "25", "--reentry"];
    let mut client = client_of(&house, login, &more);
    goes_on_over(&node, 0, "direct");
    // It is the host that dials the game server.
    logged(&host, 0, "session granted");
    let mut host = host;
    let (from, lost) = (node.mark(), Instant::now());
    host.kill();
    host.exit(PATIENCE);
    client.event_from(0, "reentered", LONG, |_| true);
    let took = lost.elapsed().as_millis();
    let (_, done) = node.event_from(from, "reentry-done", LONG, |_| true);
    println!("back on the map {took} ms after the kill: {done}");
    let summary = good_end(&mut client, LONG);
    assert_eq!(summary["reentries"], 1, "{summary}");
    assert_eq!(summary["connections"], 5, "{summary}");
    assert_eq!(node.events("stopped"), Vec::<Value>::new());
}

/// A house whose zone is hosted and names "second" as its fallback: another zone, with a practice server of
/// its own. Gives the host, and that server.
fn hosted_with_fallback(second: &Value) -> (House, Process, Process) {
    let mut house = House::with(Plan {
        zone: json!({"fallback_zone": "second"}),
        ..Plan::default()
    });
    house.add_user("bob");
    let elsewhere = house.zone_elsewhere("second", second);
    let upstreams = house.make_hosted();
    let host = house.host_with("bob", &upstreams);
    hosts_the_zone(&host, 0);
    (house, host, elsewhere)
}

/// Zones that a launcher has said to play in.
fn zones_played(node: &Process) -> Vec<String> {
    let ready = node.events("playing").into_iter();
    let ready = ready.filter(|event| event["step"] == "ready");
    let zones = ready.map(|event| event["zone"].as_str().unwrap_or_default().to_owned());
    zones.collect()
}

#[test]
fn the_machine_of_a_hosted_zone_dies_and_its_player_goes_on_in_the_fallback() {
    let (mut house, mut host, elsewhere) = hosted_with_fallback(&json!({}));
    let (node, login) = house.playing(&NodePlan::default());
    let more = ["--seconds", "30", "--reentry"];
    let mut client = client_of(&house, login, &more);
    goes_on_over(&node, 0, "direct");
    logged(&host, 0, "session granted");
    let (from, lost) = (node.mark(), Instant::now());
    host.kill();
    house.server.kill();
    host.exit(PATIENCE);
    house.server.exit(PATIENCE);
    client.event_from(0, "reentered", LONG, |_| true);
    let took = lost.elapsed().as_millis();
    let (_, done) = node.event_from(from, "reentry-done", LONG, |_| true);
    println!("on the fallback's map {took} ms after the kill: {done}");
    assert_eq!(zones_played(&node).last().unwrap(), "second");
    // Back to the character selection at the end, through the door of a char server that is no more.
    let summary = good_end(&mut client, LONG);
    assert_eq!(summary["reentries"], 1, "{summary}");
    assert_eq!(summary["connections"], 5, "{summary}");
    let closed = elsewhere.events("connection-closed");
    let maps = closed.iter().filter(|event| event["role"] == "map");
    println!("connections of the fallback's servers: {}", closed.len());
    assert!(maps.count() >= 2, "{closed:?}");
    assert_eq!(node.events("stopped"), Vec::<Value>::new());
    assert_eq!(node.events("reentry-failed"), Vec::<Value>::new());
    let told = |event: &&Value| {
        let code = &event["problem"]["code"];
        code == "link-lost" || code == "game-server-unreachable"
    };
    assert_eq!(node.events("problem").iter().filter(told).count(), 0);
    // Somebody who signs in now finds the fallback's login server.
    let mut next = house.client(login, "test2", &["--seconds", "3", "--change-every", "0"]);
    good_end(&mut next, LONG);
}

#[test]
fn where_the_fallback_has_no_servers_either_the_client_is_told_in_time() {
    // It names the first zone in turn, and is not gone back from.
    let (mut house, mut host, mut elsewhere) =
        hosted_with_fallback(&json!({"fallback_zone": "practice"}));
    let (node, login) = house.playing(&NodePlan {
        config: json!({"bridge": {"reentry_timeout_ms": 20_000}}),
        ..NodePlan::default()
    });
    let mut client = client_of(&house, login, &["--seconds", "90", "--reentry"]);
    goes_on_over(&node, 0, "direct");
    let before = zones_played(&node).len();
    let lost = Instant::now();
    for process in [&mut host, &mut house.server, &mut elsewhere] {
        process.kill();
        process.exit(PATIENCE);
    }
    let (_, failed) = node.event_from(0, "reentry-failed", LONG, |_| true);
    println!(
        "told {} ms after the kill: {failed}",
        lost.elapsed().as_millis()
    );
    assert_eq!(failed["reason"], "timed-out", "{failed}");
    assert_ne!(client.exit(PATIENCE).code, Some(0));
    assert_eq!(zones_played(&node)[before..], ["second"]);
    assert_eq!(node.events("stopped"), Vec::<Value>::new());
}

#[test]
fn the_coordinator_is_killed_and_a_hosted_zone_goes_on() {
    let mut house = House::new();
    house.add_user("bob");
    let upstreams = house.make_hosted();
    let host = house.host_with("bob", &upstreams);
    hosts_the_zone(&host, 0);
    let (node, login) = house.playing(&NodePlan::default());
    let mut client = client_of(&house, login, &["--seconds", "30"]);
    let at = goes_on_over(&node, 0, "direct");
    until_standby(&node, at, "wss");
    let closed = house.server.events("connection-closed").len();
    let from = host.mark();
    house.coordinator.kill();
    house.coordinator.exit(PATIENCE);
    let at = goes_on_over(&node, node.mark(), "direct");
    house.restart_coordinator();
    assert_eq!(house.endpoint_serves(0), (1, 0));
    hosts_the_zone(&host, from);
    logged(&house.coordinator, 0, "link socket attached");
    until_standby(&node, at, "wss");
    assert_eq!(house.server.events("connection-closed").len(), closed);
    let summary = good_end_without_reentry(&mut client);
    compare_all(&[&client], &[&node], &house.server, &host);
    assert_eq!(node.events("reentry-started"), Vec::<Value>::new());
    println!(
        "largest gap between answers {} ms",
        summary["largest_gap_ms"]
    );
}

#[test]
fn who_may_not_be_the_endpoint_of_a_zone() {
    let mut house = House::new();
    house.add_user("bob");
    let all = house.listening.clone();
    let login = [
        "--upstream".to_owned(),
        all["login"].as_str().unwrap().to_owned(),
    ];
    // A zone that is not hosted, and then not all that it has.
    let host = house.host_with("bob", &login);
    logged(&host, 0, "host-refused");
    let upstreams = house.make_hosted();
    let from = host.mark();
    logged(&host, from, "host-refused");
    drop(host);
    // A device that is revoked while it serves: its sessions go back to the coordinator's endpoint.
    let mut host = house.host_with("bob", &upstreams);
    hosts_the_zone(&host, 0);
    let from = house.coordinator.mark();
    house.admin(&["user", "revoke-devices", "bob"]);
    logged(&house.coordinator, from, "its device was revoked");
    let (_node, _) = house.playing(&NodePlan::default());
    let granted = |line: &str| line.contains("session granted");
    assert!(!host.lines().iter().any(|line| granted(&line.text)));
    host.kill();
    host.exit(PATIENCE);
}

#[test]
fn the_endpoint_is_killed_and_the_player_is_signed_in_again() {
    let mut house = house();
    let (node, login) = house.playing(&NodePlan::default());
    let more = ["--seconds", "25", "--reentry"];
    let mut client = client_of(&house, login, &more);
    let (from, lost) = (node.mark(), Instant::now());
    let endpoint = house.endpoint.as_mut().unwrap();
    endpoint.kill();
    endpoint.exit(PATIENCE);
    house.start_endpoint();
    client.event_from(0, "reentered", LONG, |_| true);
    let took = lost.elapsed().as_millis();
    let (_, done) = node.event_from(from, "reentry-done", LONG, |_| true);
    println!("back on the map {took} ms after the kill: {done}");
    let summary = good_end(&mut client, LONG);
    assert_eq!(summary["reentries"], 1, "{summary}");
    assert_eq!(summary["connections"], 5, "{summary}");
    assert_eq!(node.events("stopped"), Vec::<Value>::new());
}

#[test]
fn who_is_revoked_while_the_coordinator_is_away_is_out_when_it_is_back() {
    let mut house = house();
    house.add_user("bob");
    let (mut alice, login) = house.playing(&NodePlan::default());
    let (bob, bobs_login) = house.playing(&NodePlan {
        user: "bob",
        ..NodePlan::default()
    });
    let client = client_of(&house, login, &["--seconds", "0"]);
    let bobs = house.client(
        bobs_login,
        "test2",
        &[&PLAYS[..], &["--seconds", "20"]].concat(),
    );
    on_map(&bobs);
    let mut bobs = bobs;
    goes_on_over(&alice, 0, "direct");
    house.coordinator.kill();
    house.coordinator.exit(PATIENCE);
    house.admin(&["user", "revoke-devices", "alice"]);
    // Until somebody can say so, her game goes on.
    goes_on_over(&alice, alice.mark(), "direct");
    house.restart_coordinator();
    assert_eq!(house.endpoint_serves(0), (1, 1));
    alice.problem("device-revoked");
    assert_eq!(alice.exit(PATIENCE).code, Some(1));
    drop(client);
    good_end_without_reentry(&mut bobs);
    assert_eq!(bob.events("stopped"), Vec::<Value>::new());
}

#[test]
fn without_its_endpoint_the_coordinator_says_so() {
    let mut house = house();
    let mut endpoint = house.endpoint.take().unwrap();
    let from = house.coordinator.mark();
    endpoint.terminate();
    assert_eq!(endpoint.exit(PATIENCE).code, Some(0));
    logged(&house.coordinator, from, "control socket ended");
    let mut node = house.node(&NodePlan::default());
    let problem = node.problem("endpoint-unreachable");
    println!("{problem}");
    node.exit(PATIENCE);
    house.start_endpoint();
    house.playing(&NodePlan::default());
}

#[test]
fn an_endpoint_without_the_token_is_not_let_in() {
    let house = house();
    let token = house.dir().join("wrong-token");
    std::fs::write(&token, "0".repeat(64)).unwrap();
    let mut command = std::process::Command::new(warp_tests::house::program("warp-endpoint"));
    command.args(["--coordinator", &format!("http://{}", house.address)]);
    command.arg("--data").arg(house.dir().join("stranger"));
    command.arg("--token-file").arg(token);
    let stranger = Process::start("stranger", command);
    logged(&stranger, 0, "HTTP status 401");
    // One with the token and another key does not take the first one's place.
    let mut command = std::process::Command::new(warp_tests::house::program("warp-endpoint"));
    command.args(["--coordinator", &format!("http://{}", house.address)]);
    command.arg("--data").arg(house.dir().join("stranger"));
    command
        .arg("--token-file")
        .arg(house.data().join("endpoint-token"));
    let second = Process::start("second", command);
    logged(&second, 0, "another endpoint serves here");
    house.playing(&NodePlan::default());
}
