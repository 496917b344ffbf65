//! Whole sessions with the shipped programs on Windows, or under Wine.
#![cfg(windows)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use warp_tests::digests::compare_ends;
use warp_tests::house::{House, NODE, NodePlan, PASSWORD, Plan, ZONE, bridge, good_end, program};
use warp_tests::process::{PATIENCE, Process};

/// How long a play of a few seconds may take to its end.
const PLAY: Duration = Duration::from_secs(90);

#[test]
fn a_player_plays_a_whole_session_over_webrtc() {
    let house = House::new();
    let mut node = house.node(&NodePlan::default());
    let arguments = ["--seconds", "6", "--rate", "10", "--change-every", "1"];
    let mut client = house.client(bridge(&node), "test1", &arguments);
    let summary = good_end(&mut client, PLAY);
    assert!(summary["server_changes"].as_u64() > Some(0), "{summary}");
    compare_ends(&[&client], &house.server);
    let direct = |event: &serde_json::Value| event["metrics"]["path"] == "direct";
    node.event_from(0, "metrics", PATIENCE, direct);
    node.line("/quit");
    assert_eq!(node.exit(PATIENCE).code, Some(0));
}

#[test]
fn a_started_game_that_ends_well_ends_the_launcher_well() {
    let house = House::new();
    let practice = json!({"account": "test5", "rate": 10, "seconds": 2});
    let mut node = house.node(&NodePlan {
        config: json!({"game": {"practice": practice}}),
        game: true,
        ..NodePlan::default()
    });
    assert!(node.event("game-started")["pid"].as_u64() > Some(0));
    let exited = node.event_from(0, "game-exited", PLAY, |_| true).1;
    assert_eq!(
        exited,
        json!({"event": "game-exited", "game": 1, "code": 0, "ok": true})
    );
    assert_eq!(node.exit(PATIENCE).code, Some(0));
}

#[test]
fn a_sign_in_is_kept_in_the_credential_store() {
    let house = House::new();
    let file = house.dir().join("kept.json");
    std::fs::write(&file, house.node_config().to_string()).unwrap();
    // The first time with a password, then with what the store gives back.
    for first in [true, false] {
        let mut command = Command::new(program(NODE));
        command.args(["play", "--json", "--no-game", "--remember"]);
        command.args(["--user", "alice", "--zone", ZONE, "--config"]);
        command.arg(&file).env("WARP_LOG", "info");
        if first {
            command.arg("--password-stdin");
        }
        let mut node = Process::start(if first { "first" } else { "again" }, command);
        if first {
            node.password(PASSWORD);
        }
        node.event("bridge-ready");
        assert_eq!(node.events("problem").len(), 0);
        node.line("/quit");
        assert_eq!(node.exit(PATIENCE).code, Some(0));
    }
}

#[test]
fn configuration_and_log_may_lie_under_names_of_any_script() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("Jürgens Spiele เกม");
    std::fs::create_dir(&folder).unwrap();
    let log = folder.join("coordinator.log");
    let house = House::with(Plan {
        coordinator: json!({"log": {"file": log}}),
        ..Plan::default()
    });
    let config = folder.join("p2p_config.json");
    std::fs::write(&config, house.node_config().to_string()).unwrap();
    let mut command = Command::new(program(NODE));
    command.args(["play", "--json", "--no-game", "--password-stdin"]);
    command.args(["--user", "alice", "--zone", ZONE, "--config"]);
    command.arg(&config);
    let mut node = Process::start("node", command);
    node.password(PASSWORD);
    node.event("bridge-ready");
    node.line("/quit");
    assert_eq!(node.exit(PATIENCE).code, Some(0));
    // The day is part of the name.
    let written = std::fs::read_dir(&folder).unwrap().flatten();
    let written: Vec<_> = written
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("coordinator.log")
        })
        .collect();
    assert_eq!(written.len(), 1, "{written:?}");
    assert!(written[0].metadata().unwrap().len() > 0);
}
