//! Hosts and players that do not keep to the rules, as real processes: what they do is noticed and
//! told, the game goes another way, and nobody else is worse off.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use serde_json::Value;
use warp_tests::hosted::{Hosted, LONG, goes_on, host_id, later, plan, until_left, until_told};
use warp_tests::house::{NODE, here};

/// Keeps to the rules until it is told otherwise.
const WICKED: &str = "warp-wicked";

/// The host in use begins to do `what`: the game leaves its path and loses nothing. `banned`: the
/// coordinator names the host to nobody any more.
fn host_that(what: &str, banned: bool) {
    let mut all = Hosted::with_programs(plan(), here(), &[NODE; 2], WICKED, &["host", "wss"]);
    let (path, victim) = all.host_in_use(&all.nodes[0]);
    let id = host_id(&all.hosts[victim]);
    let marks: Vec<usize> = all.nodes.iter().map(|node| node.mark()).collect();
    all.hosts[victim].line(what);
    let (at, _) = until_left(&all.nodes[0], marks[0], &path);
    goes_on(&all.nodes[0], at, |now| now != path);
    if banned {
        for (node, from) in all.nodes.iter().zip(&marks) {
            until_told(node, *from, |ids| !ids.contains(&id));
        }
    }
    all.finish(&format!("a host that does {what}"));
}

#[test]
fn a_host_that_drops_is_left() {
    host_that("drop", false);
}

#[test]
fn a_host_that_delays_is_left() {
    host_that("delay", false);
}

#[test]
fn a_host_that_reorders_is_left() {
    host_that("reorder", false);
}

#[test]
fn a_host_that_replays_is_left_and_named_to_nobody_any_more() {
    host_that("replay", true);
}

#[test]
fn a_host_that_alters_is_left_and_named_to_nobody_any_more() {
    host_that("alter", true);
}

#[test]
fn a_host_that_floods_is_left_and_named_to_nobody_any_more() {
    host_that("flood", true);
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
