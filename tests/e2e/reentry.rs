//! Game clients that lose their server and are signed in again: the client's own connection stays open,
//! and it finds itself on the map. Real processes; the practice client checks every byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use warp_tests::house::{House, NodePlan, Plan, address, good_end, on_map};
use warp_tests::process::{PATIENCE, Process};
use warp_tests::relay::Relay;

/// How long a play of half a minute, or the lock of an account, may take to its end.
const LONG: Duration = Duration::from_secs(120);

/// What every client here is told: it plays on the first map, patiently.
const PLAYS: [&str; 7] = [
    "--rate",
    "10",
    "--change-every",
    "0",
    "--answer-timeout",
    "100",
    "--reentry",
];

/// Waits until the client that lost its server at `lost` is back. Gives what the launcher told of it.
fn back(node: &Process, client: &Process, from: usize, lost: Instant) -> Value {
    let (_, reentered) = client.event_from(0, "reentered", LONG, |_| true);
    let took = lost.elapsed();
    let (_, done) = node.event_from(from, "reentry-done", LONG, |_| true);
    println!(
        "back {} ms after it was lost: {done}, {reentered}",
        took.as_millis()
    );
    done
}

fn steps(node: &Process) -> Vec<String> {
    let steps = node.events("reentry-step");
    let steps = steps.iter().map(|event| event["step"].as_str().unwrap());
    steps.map(str::to_owned).collect()
}

/// The client was signed in again once, and had no other connections than a client has that was not:
/// login, char and map, and char and map again, because it goes back to the character selection.
fn good_end_after_reentry(client: &mut Process) -> Value {
    let summary = good_end(client, LONG);
    assert_eq!(summary["reentries"], 1, "{summary}");
    assert_eq!(summary["connections"], 5, "{summary}");
    summary
}

/// A house in which the first map server can be cut off, and a client that plays in it.
struct Cut {
    house: House,
    relay: Relay,
    node: Process,
    client: Process,
}

fn cut_house(server: &[&str], more: &[&str], config: Value) -> Cut {
    let relay = Relay::new();
    let house = House::with(Plan {
        map_relay: Some(&relay),
        server_arguments: server,
        ..Plan::default()
    });
    let (node, login) = house.playing(&NodePlan {
        config,
        ..NodePlan::default()
    });
    let client = house.client(login, "test1", &[&PLAYS, more].concat());
    Cut {
        house,
        relay,
        node,
        client,
    }
}

#[test]
fn the_endpoint_is_killed_and_comes_back() {
    let mut house = House::new();
    let (node, login) = house.playing(&NodePlan::default());
    let arguments = [&PLAYS[..], &["--seconds", "25"]].concat();
    let mut client = house.client(login, "test1", &arguments);
    on_map(&client);
    let (from, lost) = (node.mark(), Instant::now());
    house.coordinator.kill();
    house.coordinator.exit(PATIENCE);
    house.restart_coordinator();
    back(&node, &client, from, lost);
    let summary = good_end_after_reentry(&mut client);
    println!("{summary}");
    assert_eq!(node.events("stopped"), Vec::<Value>::new());
    let lost = |event: &&Value| event["problem"]["code"] == "link-lost";
    assert_eq!(node.events("problem").iter().filter(lost).count(), 0);
}

#[test]
fn the_game_server_is_killed_and_comes_back() {
    let mut house = House::new();
    let (node, login) = house.playing(&NodePlan::default());
    let arguments = [&PLAYS[..], &["--seconds", "12"]].concat();
    let mut client = house.client(login, "test1", &arguments);
    on_map(&client);
    let (from, lost) = (node.mark(), Instant::now());
    house.server.kill();
    house.server.exit(PATIENCE);
    house.restart_server(&[]);
    back(&node, &client, from, lost);
    good_end_after_reentry(&mut client);
    assert_eq!(node.events("problem"), Vec::<Value>::new());
}

#[test]
fn the_map_server_alone_is_lost_and_later_servers_know_the_player() {
    let more = ["--seconds", "12", "--change-every", "2"];
    let relay = Relay::new();
    let house = House::with(Plan {
        map_relay: Some(&relay),
        ..Plan::default()
    });
    let (node, login) = house.playing(&NodePlan::default());
    let arguments = ["--rate", "10", "--answer-timeout", "100", "--reentry"];
    let mut client = house.client(login, "test1", &[&arguments[..], &more].concat());
    on_map(&client);
    let (from, lost) = (node.mark(), Instant::now());
    relay.cut();
    relay.restore();
    back(&node, &client, from, lost);
    // Its own session numbers are used up by then: those of the new sign-in are put in their place.
    let summary = good_end(&mut client, LONG);
    assert_eq!(summary["reentries"], 1, "{summary}");
    assert!(summary["server_changes"].as_u64() >= Some(2), "{summary}");
    assert_eq!(node.events("reentry-started").len(), 1);
    assert_eq!(node.events("reentry-failed"), Vec::<Value>::new());
}

#[test]
fn a_player_in_a_fight_is_back_when_the_fight_is_over() {
    let more = ["--seconds", "25", "--attacks", "1"];
    let mut cut = cut_house(&[], &more, json!({}));
    cut.client.event("attacked");
    let (from, lost) = (cut.node.mark(), Instant::now());
    cut.relay.cut();
    cut.relay.restore();
    back(&cut.node, &cut.client, from, lost);
    let steps = steps(&cut.node);
    assert!(steps.contains(&"still-online".to_owned()), "{steps:?}");
    let summary = good_end_after_reentry(&mut cut.client);
    // What was said meanwhile was kept.
    assert!(summary["kept_lines"].as_u64() > Some(0), "{summary}");
    let refused = cut.house.server.events("connection-closed");
    let refused = refused.iter().filter(|event| {
        let key = event["key"].as_str().unwrap_or_default();
        key.starts_with("login:test1:refused")
    });
    println!("{} logins were refused", refused.count());
}

#[test]
fn the_pin_code_is_sent_under_the_new_keypad() {
    let more = ["--seconds", "8", "--pin", "4821"];
    let mut cut = cut_house(&["--pin", "4821"], &more, json!({}));
    on_map(&cut.client);
    let (from, lost) = (cut.node.mark(), Instant::now());
    cut.relay.cut();
    cut.relay.restore();
    back(&cut.node, &cut.client, from, lost);
    good_end_after_reentry(&mut cut.client);
    assert_eq!(cut.node.events("reentry-failed"), Vec::<Value>::new());
}

#[test]
fn a_client_that_loads_is_waited_for_and_so_is_the_lock() {
    let more = ["--seconds", "45", "--load-seconds", "2"];
    let mut cut = cut_house(&[], &more, json!({}));
    cut.client.event("loading");
    let (from, lost) = (cut.node.mark(), Instant::now());
    cut.relay.cut();
    cut.relay.restore();
    // The client expects the answer to its 007D, and is told to load once more instead.
    let (_, done) = cut.node.event_from(from, "reentry-done", LONG, |_| true);
    println!(
        "back {} ms after it was lost: {done}",
        lost.elapsed().as_millis()
    );
    let steps = steps(&cut.node);
    assert_eq!(
        steps[..3],
        ["loading", "login", "still-online"],
        "{steps:?}"
    );
    on_map(&cut.client);
    cut.client.terminate();
    let summary = good_end(&mut cut.client, LONG);
    assert_eq!(summary["reentries"], 1, "{summary}");
}

#[test]
fn who_is_kicked_is_not_signed_in_again() {
    let house = House::new();
    let (node, login) = house.playing(&NodePlan::default());
    let arguments = [&PLAYS[..], &["--seconds", "60"]].concat();
    let mut client = house.client(login, "test1", &arguments);
    on_map(&client);
    // Somebody else signs in with the account, past the launcher.
    let straight = address(&house.listening["login"]);
    let mut other = house.client(
        straight,
        "test1",
        &["--seconds", "5", "--change-every", "0"],
    );
    assert_ne!(client.exit(PATIENCE).code, Some(0));
    let summary = client.event("summary");
    assert_eq!(summary["errors"][0]["code"], "kicked", "{summary}");
    good_end(&mut other, LONG);
    assert_eq!(node.events("reentry-started"), Vec::<Value>::new());
}

#[test]
fn without_reentry_the_client_is_told_by_the_end_of_its_connection() {
    let config = json!({"bridge": {"reentry": false}});
    let mut cut = cut_house(&[], &["--seconds", "60"], config);
    on_map(&cut.client);
    cut.relay.cut();
    assert_ne!(cut.client.exit(PATIENCE).code, Some(0));
    let summary = cut.client.event("summary");
    assert_eq!(summary["errors"][0]["code"], "connection-lost", "{summary}");
    assert_eq!(cut.node.events("reentry-started"), Vec::<Value>::new());
}

#[test]
fn a_server_that_does_not_come_back_ends_it_in_time() {
    let config = json!({"bridge": {"reentry_timeout_ms": 3000}});
    let mut cut = cut_house(&[], &["--seconds", "60"], config);
    on_map(&cut.client);
    cut.relay.cut();
    let (_, failed) = cut.node.event_from(0, "reentry-failed", PATIENCE, |_| true);
    assert_eq!(failed["reason"], "timed-out", "{failed}");
    assert_ne!(cut.client.exit(PATIENCE).code, Some(0));
}

#[test]
fn a_zone_that_is_gone_is_left_for_its_fallback() {
    let mut house = House::with(Plan {
        zone: json!({"fallback_zone": "second"}),
        ..Plan::default()
    });
    let mut second = house.zone();
    second["zone_id"] = json!("second");
    second.as_object_mut().unwrap().remove("fallback_zone");
    house.put_zone(&second, None);
    let (node, login) = house.playing(&NodePlan::default());
    let arguments = [&PLAYS[..], &["--seconds", "25"]].concat();
    let mut client = house.client(login, "test1", &arguments);
    on_map(&client);
    let (from, lost) = (node.mark(), Instant::now());
    house.coordinator.kill();
    house.coordinator.exit(PATIENCE);
    house.put_zone(&house.zone(), Some("disabled"));
    house.restart_coordinator();
    back(&node, &client, from, lost);
    node.event_from(from, "playing", PATIENCE, |event| event["zone"] == "second");
    good_end_after_reentry(&mut client);
    assert_eq!(node.events("stopped"), Vec::<Value>::new());
}

#[test]
fn every_client_of_a_launcher_is_signed_in_again() {
    let mut cut = cut_house(&[], &["--seconds", "12"], json!({}));
    let login = address(&cut.node.event("bridge-ready")["login"]);
    let arguments = [&PLAYS[..], &["--seconds", "12"]].concat();
    let mut others: Vec<Process> = (2..=4)
        .map(|number| {
            cut.house
                .client(login, &format!("test{number}"), &arguments)
        })
        .collect();
    on_map(&cut.client);
    others.iter().for_each(on_map);
    cut.relay.cut();
    cut.relay.restore();
    good_end_after_reentry(&mut cut.client);
    for client in &mut others {
        good_end_after_reentry(client);
    }
    let mut done: Vec<u64> = (cut.node.events("reentry-done").iter())
        .map(|event| event["client"].as_u64().unwrap())
        .collect();
    done.sort_unstable();
    done.dedup();
    assert_eq!(done.len(), 4, "each is a client of its own");
    assert_eq!(cut.node.events("reentry-failed"), Vec::<Value>::new());
}

#[test]
fn a_client_that_hides_its_ids_is_signed_in_again() {
    let relay = Relay::new();
    let house = House::with(Plan {
        map_relay: Some(&relay),
        packet_version: 20_130_807,
        server_arguments: &["--obfuscate"],
        ..Plan::default()
    });
    let (node, login) = house.playing(&NodePlan::default());
    let arguments = [&PLAYS[..], &["--seconds", "8", "--obfuscate"]].concat();
    let mut client = house.client(login, "test1", &arguments);
    on_map(&client);
    let (from, lost) = (node.mark(), Instant::now());
    relay.cut();
    relay.restore();
    back(&node, &client, from, lost);
    good_end_after_reentry(&mut client);
}

#[test]
fn a_client_whose_version_was_found_out_is_signed_in_again() {
    let relay = Relay::new();
    let house = House::with(Plan {
        map_relay: Some(&relay),
        zone: json!({"game": {"packet_version": 0}}),
        ..Plan::default()
    });
    let (node, login) = house.playing(&NodePlan::default());
    let arguments = [&PLAYS[..], &["--seconds", "8"]].concat();
    let mut client = house.client(login, "test1", &arguments);
    on_map(&client);
    node.event_from(0, "version-known", PATIENCE, |event| {
        event["certain"] == true
    });
    let (from, lost) = (node.mark(), Instant::now());
    relay.cut();
    relay.restore();
    back(&node, &client, from, lost);
    good_end_after_reentry(&mut client);
}
