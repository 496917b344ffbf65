//! Hosts and players that do not keep to the rules, as real processes: what they do is noticed and
//! told, the game goes another way, and nobody else is worse off.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use serde_json::{Value, json};
use warp_tests::hosted::{
    Hosted, LONG, goes_on, host_id, later, plan, told_hosts, until_left, until_ready, until_told,
};
use warp_tests::house::{NODE, NodePlan, here};
use warp_tests::process::Process;
use warp_tests::relay::http;

/// Keeps to the rules until it is told otherwise.
const WICKED: &str = "warp-wicked";

/// What the coordinator does about a host.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// Its players are given others by what they measure, and so is who comes.
    Avoided,
    /// It is named to nobody any more.
    Banned,
}

/// The host in use begins to do `what`: the game leaves its path and loses nothing, its players are
/// told other hosts, and a path that is not over it is not found wanting by anybody.
fn host_that(what: &str, then: Then) {
    let mut all = Hosted::with_programs(plan(), here(), &[NODE; 2], WICKED, &["host", "wss"]);
    if then == Then::Avoided {
        // Somewhere to be sent to.
        all.add_host();
    }
    let (path, victim) = all.host_in_use(&all.nodes[0]);
    let id = host_id(&all.hosts[victim]);
    let marks: Vec<usize> = all.nodes.iter().map(|node| node.mark()).collect();
    // Both players have both hosts; each may play over either.
    let over = |node: &Process| {
        let ids = told_hosts(node, 0).pop().expect("hosts were told").1;
        let at = ids.iter().position(|one| *one == id).expect("it has it");
        ["host", "host-2"][at]
    };
    let over: Vec<&str> = all.nodes.iter().map(over).collect();
    all.hosts[victim].line(what);
    let (at, _) = until_left(&all.nodes[0], marks[0], &path);
    for (node, from) in all.nodes.iter().zip(&marks) {
        until_told(node, *from, |ids| !ids.is_empty() && !ids.contains(&id));
    }
    // Where another host has come in its place, that one's path has its name.
    goes_on(&all.nodes[0], at, |now| {
        now != path || then == Then::Avoided
    });
    for ((node, from), bad) in all.nodes.iter().zip(&marks).zip(over) {
        let faults = ["silence", "carrier-closed", "tampering"];
        let mut moves = later(node, *from, "moved");
        moves.retain(|moved| {
            moved["from"] != bad && faults.contains(&moved["reason"].as_str().unwrap())
        });
        assert_eq!(
            moves,
            Vec::<Value>::new(),
            "a path that was not over it was affected"
        );
    }
    // Who comes now is not sent to it.
    all.house.add_user("frank");
    let newcomer = all.house.node(&NodePlan {
        user: "frank",
        config: json!({"p2p": {"paths": ["host", "wss"]}}),
        ..NodePlan::default()
    });
    until_ready(&newcomer, 0, &["host", "wss"]);
    let told = told_hosts(&newcomer, 0);
    assert!(!told.is_empty());
    for (_, ids, line) in told {
        assert!(!ids.contains(&id), "{line}");
    }
    all.finish(&format!("a host that does {what}"));
}

#[test]
fn a_host_that_drops_is_left_and_given_to_nobody_new() {
    host_that("drop", Then::Avoided);
}

#[test]
fn a_host_that_delays_is_left_and_given_to_nobody_new() {
    host_that("delay", Then::Avoided);
}

#[test]
fn a_host_that_reorders_is_left_and_given_to_nobody_new() {
    host_that("reorder", Then::Avoided);
}

#[test]
fn a_host_that_replays_is_left_and_named_to_nobody_any_more() {
    host_that("replay", Then::Banned);
}

#[test]
fn a_host_that_alters_is_left_and_named_to_nobody_any_more() {
    host_that("alter", Then::Banned);
}

#[test]
fn a_host_that_floods_is_left_and_named_to_nobody_any_more() {
    host_that("flood", Then::Banned);
}

/// It keeps its players waiting and tells the coordinator that it is idle and quick. They and the
/// coordinator know better; somebody new is given the others.
#[test]
fn a_host_that_lies_about_its_load_is_contradicted_and_given_to_nobody_new() {
    let mut all = Hosted::with_programs(plan(), here(), &[NODE; 2], WICKED, &["host", "wss"]);
    all.add_host();
    let (path, victim) = all.host_in_use(&all.nodes[0]);
    let id = host_id(&all.hosts[victim]);
    let marks: Vec<usize> = all.nodes.iter().map(|node| node.mark()).collect();
    let from = all.house.coordinator.mark();
    all.hosts[victim].line("lie");
    all.hosts[victim].line("delay");
    for claim in ["latency", "players"] {
        let coordinator = &all.house.coordinator;
        let (_, told) = coordinator.wait_line(from, "the contradiction", LONG, |line| {
            let text = &line.text;
            let fits = text.contains("what a host says of itself is not so")
                && text.contains(&id)
                && text.contains(claim);
            fits.then(|| text.clone())
        });
        println!("{told}");
    }
    let (at, _) = until_left(&all.nodes[0], marks[0], &path);
    goes_on(&all.nodes[0], at, |now| now != path);
    // Its players are given the third host instead.
    for (node, from) in all.nodes.iter().zip(&marks) {
        until_told(node, *from, |ids| ids.len() == 2 && !ids.contains(&id));
    }
    // By its word it is the best host there is. Who comes now is given the other two.
    all.house.add_user("frank");
    let newcomer = all.house.node(&NodePlan {
        user: "frank",
        config: json!({"p2p": {"paths": ["host", "wss"]}}),
        ..NodePlan::default()
    });
    until_ready(&newcomer, 0, &["host", "host-2"]);
    let told = told_hosts(&newcomer, 0);
    assert!(!told.is_empty());
    for (_, ids, line) in told {
        assert!(!ids.contains(&id), "{line}");
    }
    let (status, figures) = http(all.house.address, "GET", "/metrics", "", "");
    assert_eq!(status, 200, "{figures}");
    for claim in ["latency", "players"] {
        let row = format!("warp_hosts_contradicted_total{{claim=\"{claim}\"}} 1");
        assert!(figures.contains(&row), "{row} is missing in\n{figures}");
    }
    all.finish("a host that lies about its load");
}

#[test]
fn a_member_that_floods_is_throttled_and_the_others_of_its_host_play_on() {
    let mut all = Hosted::with_programs(plan(), here(), &[NODE, WICKED], NODE, &["host", "wss"]);
    let (path, _) = all.host_in_use(&all.nodes[0]);
    let marks: Vec<usize> = all.nodes.iter().map(|node| node.mark()).collect();
    all.nodes[1].line("flood");
    // Its host throttles it, and tells the coordinator, whose log names the player's account.
    let coordinator = &all.house.coordinator;
    let (_, told) = coordinator.wait_line(0, "the flood", LONG, |line| {
        let fits = line.text.contains("member reported");
        fits.then(|| line.text.clone())
    });
    println!("{told}");
    goes_on(&all.nodes[0], marks[0], |now| now == path);
    let moved = later(&all.nodes[0], marks[0], "moved");
    assert_eq!(moved, Vec::<Value>::new(), "the other player felt it");
    // What it says of its hosts counts for itself: they are still given to the other.
    goes_on(&all.nodes[0], all.nodes[0].mark(), |now| now == path);
    all.finish("a member that floods");
}
