//! The last resort: no path to the zone's endpoint, so that the launcher dials the game servers itself, in
//! plain TCP. Real processes; the practice client checks every byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use serde_json::{Value, json};
use warp_tests::digests::compare_all;
use warp_tests::house::{House, NodePlan, Plan, bridge, good_end, on_map};
use warp_tests::process::{PATIENCE, Process};

const LONG: Duration = Duration::from_secs(120);

/// A house whose zone names its game servers' addresses as players reach them.
fn open_house(plan: Plan<'_>) -> House {
    let house = House::with(plan);
    let mut zone = house.zone();
    let game = &zone["game"];
    zone["plain_tcp"] = json!({"login": game["login"], "char": game["char"], "map": game["map"]});
    house.put_zone(&zone, None);
    house
}

/// Plays to the end over plain TCP.
fn plays(house: &House, node: &Process, why: &str) {
    let told = node.problem("plain-tcp");
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.starts_with(why), "{told}");
    let login = bridge(node);
    let mut client = house.client(login, "test1", &["--seconds", "6", "--rate", "10"]);
    on_map(&client);
    let (_, event) = node.event_from(0, "metrics", LONG, |event| {
        event["metrics"]["path"] == "tcp" && event["metrics"]["bytes_up"].as_u64() > Some(0)
    });
    // Nothing is said to be measured that is not.
    let metrics = &event["metrics"];
    for figure in ["rtt_ms", "jitter_ms", "loss_percent", "quality"] {
        assert_eq!(metrics[figure], Value::Null, "{figure}: {metrics}");
        assert_eq!(
            metrics["paths"][0][figure],
            Value::Null,
            "{figure}: {metrics}"
        );
    }
    good_end(&mut client, LONG);
    // The endpoint is the launcher's own here.
    compare_all(&[&client], &[node], &house.server, node);
}

#[test]
fn the_endpoint_is_away_and_the_zone_is_played_over_plain_tcp() {
    let mut house = open_house(Plan {
        coordinator: json!({"endpoint": {"mode": "remote"}}),
        ..Plan::default()
    });
    let mut endpoint = house.endpoint.take().unwrap();
    endpoint.kill();
    endpoint.exit(PATIENCE);
    let node = house.node(&NodePlan::default());
    plays(&house, &node, "endpoint-unreachable");
}

#[test]
fn a_player_may_want_nothing_else() {
    let house = open_house(Plan::default());
    let node = house.node(&NodePlan {
        config: json!({"p2p": {"paths": ["tcp"]}}),
        ..NodePlan::default()
    });
    plays(&house, &node, "no-path");
}

#[test]
fn a_zone_that_does_not_allow_it_is_not_dialled() {
    let house = House::new();
    let mut node = house.node(&NodePlan {
        config: json!({"p2p": {"paths": ["tcp"]}}),
        ..NodePlan::default()
    });
    node.problem("no-path");
    assert_ne!(node.exit(PATIENCE).code, Some(0));
    assert!(house.server.events("connection-closed").is_empty());
}
