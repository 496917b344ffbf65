//! The zone follows the map: two zones and a map of none, as the coordinator sees it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use warp_tests::digests::compare_all;
use warp_tests::house::{House, NodePlan, Plan, ZONE, good_end, merge};
use warp_tests::process::{PATIENCE, Process, Source};

/// How long a play of a few seconds may take to its end.
const PLAY: Duration = Duration::from_secs(90);
/// The second zone.
const TOWN: &str = "geffen-town";

/// Prontera belongs to the chosen zone, geffen to the second, izlude to none.
fn two_zones(town: &Value, status: Option<&str>) -> House {
    let house = House::with(Plan {
        zone: json!({"maps": ["prontera"]}),
        ..Plan::default()
    });
    let mut zone = house.zone();
    zone["zone_id"] = json!(TOWN);
    zone["zone_name"] = json!("Geffen");
    zone["map_name"] = json!("geffen");
    zone["maps"] = json!(["geffen"]);
    merge(&mut zone, town);
    house.put_zone(&zone, status);
    house
}

/// Sessions that the coordinator granted and ended, in order: what, and in which zone.
fn sessions(house: &House) -> Vec<(String, String)> {
    let mut zones = std::collections::BTreeMap::new();
    let mut seen = Vec::new();
    for line in house.coordinator.lines() {
        if line.source != Source::Err {
            continue;
        }
        let field = |name: &str| {
            (line.text.split(' '))
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                .map(|value| value.trim_matches('"').to_owned())
        };
        if line.text.contains("session granted") && field("zone").is_some() {
            let (session, zone) = (field("session").unwrap(), field("zone").unwrap());
            zones.insert(session, zone.clone());
            seen.push(("granted".to_owned(), zone));
        } else if line.text.contains("session ended")
            && let Some(zone) = field("session").and_then(|session| zones.remove(&session))
        {
            seen.push(("ended".to_owned(), zone));
        }
    }
    seen
}

/// The sessions that carried streams, as the endpoint tells.
fn stream_sessions(house: &House) -> BTreeSet<String> {
    (house.coordinator.lines().iter())
        .filter(|line| line.source == Source::Err && line.text.contains(" stream closed "))
        .filter_map(|line| {
            (line.text.split(' '))
                .find_map(|word| word.strip_prefix("session="))
                .map(str::to_owned)
        })
        .collect()
}

fn walk(house: &House, config: Value, seconds: &str) -> (Process, Value) {
    let (node, login) = house.playing(&NodePlan {
        config,
        ..NodePlan::default()
    });
    let arguments = ["--rate", "10", "--change-every", "2", "--seconds", seconds];
    let mut client = house.client(login, "test1", &arguments);
    let summary = good_end(&mut client, PLAY);
    compare_all(&[&client], &[&node], &house.server, &house.coordinator);
    (node, summary)
}

#[test]
fn a_walk_over_two_zones_and_a_map_of_none_joins_and_leaves() {
    let house = two_zones(&json!({}), None);
    let linger = json!({"p2p": {"zone_linger_seconds": 0}});
    let (mut node, summary) = walk(&house, linger, "16");
    println!("{summary}");
    let changes = node.events("map-changed");
    let zone_of = |map: &str| {
        let of_map = changes.iter().filter(|event| event["map"] == map);
        let mut zones: Vec<&Value> = of_map.map(|event| &event["zone"]).collect();
        zones.dedup();
        zones.into_iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(zone_of("prontera"), [json!(ZONE)]);
    assert_eq!(zone_of("geffen"), [json!(TOWN)]);
    assert_eq!(zone_of("izlude"), [Value::Null]);
    let joined = node.events("zone-joined").len();
    assert!(joined >= 1, "the second zone was never joined");
    node.event_from(0, "zone-left", PATIENCE, |event| event["zone"] == TOWN);
    assert_eq!(node.events("problem"), Vec::<Value>::new());
    node.line("/quit");
    assert_eq!(node.exit(PATIENCE).code, Some(0));
    let left = node.events("zone-left").len();

    // The same as the coordinator saw it: each visit begins and ends inside the whole play.
    let seen = sessions(&house);
    println!("{seen:?}");
    let count = |what: &str, zone: &str| {
        let wanted = (what.to_owned(), zone.to_owned());
        seen.iter().filter(|one| **one == wanted).count()
    };
    assert_eq!(count("granted", ZONE), 1);
    assert_eq!(count("granted", TOWN), joined);
    assert_eq!(count("ended", TOWN), joined);
    assert_eq!(left, joined);
    assert_eq!(seen.first(), Some(&("granted".to_owned(), ZONE.to_owned())));
}

#[test]
fn connections_of_the_second_zone_go_over_its_own_session() {
    let house = two_zones(&json!({}), None);
    let (node, _) = walk(&house, json!({}), "12");
    let sessions = stream_sessions(&house);
    assert_eq!(sessions.len(), 2, "streams of both sessions: {sessions:?}");
    assert_eq!(node.events("problem"), Vec::<Value>::new());
}

#[test]
fn a_closed_zone_is_not_joined() {
    let house = two_zones(&json!({}), Some("maintenance"));
    let (node, _) = walk(&house, json!({}), "10");
    assert_eq!(node.events("zone-joined"), Vec::<Value>::new());
    assert_eq!(node.events("problem"), Vec::<Value>::new());
    assert_eq!(sessions(&house).len(), 1);
    assert_eq!(stream_sessions(&house).len(), 1);
}

#[test]
fn a_zone_whose_endpoint_may_not_dial_the_server_carries_none_of_its_connections() {
    let elsewhere = json!({"packet_version": 20_211_103, "login": "127.0.0.1:9",
                           "char": ["127.0.0.1:9"], "map": ["127.0.0.1:9"]});
    let house = two_zones(&json!({ "game": elsewhere }), None);
    let (node, _) = walk(&house, json!({}), "10");
    assert!(!node.events("zone-joined").is_empty());
    assert_eq!(stream_sessions(&house).len(), 1, "the chosen zone's alone");
    assert_eq!(node.events("problem"), Vec::<Value>::new());
}

#[test]
fn a_connection_is_read_as_far_as_the_zone_allows_that_carries_it() {
    let house = two_zones(&json!({"game": {"level": "rewrite"}}), None);
    let (node, _) = walk(&house, json!({}), "10");
    let down = node.events("stepped-down");
    assert!(
        !down.is_empty(),
        "every connection was read as the chosen zone's"
    );
    for event in down {
        assert_eq!(event["level"], "rewrite", "{event}");
        assert_eq!(event["reason"], "by-zone", "{event}");
    }
}

#[test]
fn following_can_be_switched_off() {
    let house = two_zones(&json!({}), None);
    let (node, _) = walk(&house, json!({"p2p": {"follow_map": false}}), "10");
    assert_eq!(node.events("zone-joined"), Vec::<Value>::new());
    assert_eq!(sessions(&house).len(), 1);
}
