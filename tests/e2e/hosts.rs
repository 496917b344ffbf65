//! Play over volunteers' machines: coordinator, two hosts, two players, all real processes on the
//! loopback.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use serde_json::json;
use warp_tests::hosted::{
    Hosted, LONG, ask, goes_on, host_id, later, plan, told_hosts, until_gone, until_left,
    until_ready, until_told,
};
use warp_tests::house::{House, NODE, NodePlan, good_end, here, on_map};
use warp_tests::process::PATIENCE;

/// Play without the direct way, so that a host carries it.
const NOT_DIRECT: [&str; 2] = ["host", "wss"];

fn hosted(paths: &[&str]) -> Hosted {
    let mut all = Hosted::new(plan(), here(), 2, paths);
    if !paths.contains(&"direct") {
        all.use_hosts();
    }
    all
}

#[test]
fn a_killed_host_is_left_and_another_one_takes_its_place() {
    let mut all = hosted(&NOT_DIRECT);
    let status = ask(&mut all.nodes[0], "/p2p status");
    assert_eq!(status["state"], "connected", "{status}");
    let mut ready = status["standby"].as_array().unwrap().clone();
    ready.push(status["path"].clone());
    for kind in ["host", "host-2", "wss"] {
        assert!(ready.contains(&json!(kind)), "{status}");
    }
    let (path, victim) = all.host_in_use(&all.nodes[0]);
    let gone = host_id(&all.hosts[victim]);
    let marks: Vec<usize> = all.nodes.iter().map(|node| node.mark()).collect();
    all.hosts[victim].kill();
    let (at, moved) = until_left(&all.nodes[0], marks[0], &path);
    assert!(
        moved["reason"] == "silence" || moved["reason"] == "carrier-closed",
        "{moved}"
    );
    goes_on(&all.nodes[0], at, |now| now != path);
    for (node, from) in all.nodes.iter().zip(&marks) {
        until_told(node, *from, |ids| !ids.contains(&gone));
    }
    // Somebody else begins to host, and is given to both.
    all.add_host();
    let next = host_id(&all.hosts[2]);
    for (node, from) in all.nodes.iter().zip(&marks) {
        let at = until_told(node, *from, |ids| ids.contains(&next) && ids.len() == 2);
        let at = until_ready(node, at, &all.kinds);
        goes_on(node, at, |path| path.starts_with("host"));
    }
    all.finish("kill -9 of the host");
}

#[test]
fn a_host_that_hangs_is_left_and_given_again_when_it_is_back() {
    let mut all = hosted(&NOT_DIRECT);
    let (path, victim) = all.host_in_use(&all.nodes[0]);
    let hung = host_id(&all.hosts[victim]);
    let marks: Vec<usize> = all.nodes.iter().map(|node| node.mark()).collect();
    all.hosts[victim].freeze();
    let (at, moved) = until_left(&all.nodes[0], marks[0], &path);
    assert_eq!(moved["reason"], "silence", "{moved}");
    goes_on(&all.nodes[0], at, |now| now != path);
    let gone: Vec<usize> = (all.nodes.iter().zip(&marks))
        .map(|(node, from)| until_told(node, *from, |ids| !ids.contains(&hung)))
        .collect();
    all.hosts[victim].thaw();
    for (node, from) in all.nodes.iter().zip(gone) {
        let at = until_told(node, from, |ids| ids.contains(&hung));
        until_ready(node, at, &all.kinds);
    }
    all.finish("SIGSTOP of the host");
}

#[test]
fn a_host_that_is_asked_to_end_has_its_players_moved_first() {
    let mut all = hosted(&NOT_DIRECT);
    let (path, leaving) = all.host_in_use(&all.nodes[0]);
    let id = host_id(&all.hosts[leaving]);
    let marks: Vec<usize> = all.nodes.iter().map(|node| node.mark()).collect();
    all.hosts[leaving].terminate();
    let (at, _) = until_left(&all.nodes[0], marks[0], &path);
    goes_on(&all.nodes[0], at, |now| now != path);
    let exit = all.hosts[leaving].exit(LONG);
    assert_eq!(exit.code, Some(0));
    println!("the host ended after {} ms", exit.took.as_millis());
    for (node, from) in all.nodes.iter().zip(&marks) {
        until_told(node, *from, |ids| !ids.contains(&id));
        for moved in later(node, *from, "moved") {
            let reason = &moved["reason"];
            assert!(
                reason != "silence" && reason != "carrier-closed",
                "a player felt it: {moved}"
            );
        }
    }
    all.finish("SIGTERM of the host");
}

#[test]
fn the_operators_switch_takes_hosts_and_webrtc_away_and_gives_them_back() {
    let mut all = hosted(&["direct", "host", "wss"]);
    let marks: Vec<usize> = all.nodes.iter().map(|node| node.mark()).collect();
    println!("{}", all.house.admin(&["p2p", "off"]));
    let mut off = Vec::new();
    for (node, from) in all.nodes.iter().zip(&marks) {
        let at = until_gone(node, *from, &["direct", "host", "host-2"]);
        off.push(goes_on(node, at, |path| path == "wss"));
    }
    // Who joins now has the direct way later too.
    all.house.add_user("late");
    let (late, _) = all.house.playing(&NodePlan {
        user: "late",
        ..NodePlan::default()
    });
    let joined = until_ready(&late, 0, &["wss"]);
    println!("{}", all.house.admin(&["p2p", "on"]));
    until_ready(&late, joined, &["direct"]);
    for (node, from) in all.nodes.iter().zip(&off) {
        let at = until_ready(node, *from, &all.kinds);
        goes_on(node, at, |path| path != "wss");
    }
    for (node, from) in all.nodes.iter().zip(&marks) {
        for moved in later(node, *from, "moved") {
            assert_ne!(moved["reason"], "silence", "{moved}");
        }
    }
    all.finish("p2p off and on");
}

#[test]
fn a_zones_own_switch_counts_for_who_is_in_play_whatever_it_was_when_they_came() {
    let mut plan = plan();
    plan.zone["p2p_enabled"] = false.into();
    let house = House::with(plan);
    let (node, login) = house.playing(&NodePlan::default());
    let arguments = ["--rate", "20", "--change-every", "0", "--seconds", "0"];
    let mut client = house.client(login, "test1", &arguments);
    on_map(&client);
    let joined = until_ready(&node, 0, &["wss"]);
    let mut zone = house.zone();
    for _ in 0..2 {
        zone["p2p_enabled"] = true.into();
        let mark = node.mark();
        house.put_zone(&zone, None);
        let on = until_ready(&node, mark, &["direct", "wss"]);
        goes_on(&node, on, |path| path == "direct");
        zone["p2p_enabled"] = false.into();
        house.put_zone(&zone, None);
        let off = until_gone(&node, on, &["direct"]);
        goes_on(&node, off, |path| path == "wss");
    }
    for moved in later(&node, joined, "moved") {
        assert_ne!(moved["reason"], "silence", "{moved}");
    }
    client.terminate();
    good_end(&mut client, PATIENCE);
}

#[cfg(target_os = "linux")]
#[test]
fn a_host_has_no_chat_line_in_its_memory() {
    let mut all = hosted(&NOT_DIRECT);
    let (path, host) = all.host_in_use(&all.nodes[0]);
    for _ in 0..3 {
        goes_on(&all.nodes[0], all.nodes[0].mark(), |now| now == path);
        assert_eq!(memory::count(all.hosts[host].pid()), 0, "a chat line");
    }
    // The same search finds the lines where they are read and written.
    let found = memory::count(all.clients[0].pid());
    println!("the host's memory has no chat line, that of the client {found}");
    assert!(found > 0, "the search finds nothing anywhere");
    all.finish("searched");
}

#[cfg(target_os = "linux")]
mod memory {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    /// What every chat line of the practice client contains.
    const MARKER: &[u8] = b"practice line";

    /// How often it stands in what a process has written to its memory. Parts that belong to a file
    /// are left out: the text is one of the program's own constants.
    pub(crate) fn count(pid: u32) -> usize {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let (mut found, mut read) = (0, 0);
        for line in maps.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let of_file = words.get(5).is_some_and(|name| name.starts_with('/'));
            if of_file || !words[1].starts_with("rw") {
                continue;
            }
            let (from, to) = words[0].split_once('-').unwrap();
            let address = |text: &str| u64::from_str_radix(text, 16).unwrap();
            let (from, to) = (address(from), address(to));
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            // A part may have been given back since the list was read.
            if memory.read_exact_at(&mut bytes, from).is_ok() {
                read += bytes.len();
                found += bytes
                    .windows(MARKER.len())
                    .filter(|window| *window == MARKER)
                    .count();
            }
        }
        assert!(read > 1 << 20, "only {read} bytes could be read");
        found
    }
}

#[test]
fn a_host_takes_no_more_peers_than_it_may_have() {
    let house = House::with(plan());
    for user in ["bob", "carol"] {
        house.add_user(user);
    }
    let limit = json!({"webrtc": {"max_peers": 1}, "hosting": {"max_players": 9}});
    let host = house.host("carol", &here(), NODE, &limit);
    let (_, serving) = host.event_from(0, "host-state", LONG, |event| {
        event["host"]["state"] == "serving" && event["host"]["signaling"] == true
    });
    assert_eq!(serving["host"]["max_members"], 1);
    let player = |user| {
        let config = json!({"p2p": {"paths": NOT_DIRECT}});
        house.node(&NodePlan {
            user,
            config,
            ..NodePlan::default()
        })
    };
    let mut alice = player("alice");
    until_ready(&alice, 0, &["host", "wss"]);
    // The next one plays without; and over the host once there is room.
    let bob = player("bob");
    until_ready(&bob, 0, &["wss"]);
    assert_eq!(
        told_hosts(&bob, 0)
            .iter()
            .filter(|(_, ids, _)| !ids.is_empty())
            .count(),
        0
    );
    alice.line("/quit");
    alice.exit(PATIENCE);
    until_ready(&bob, 0, &["host", "wss"]);
    let members = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(event["host"]["members"].as_array()?.len())
    };
    let most = host
        .lines()
        .iter()
        .filter_map(|line| members(&line.text))
        .max();
    assert_eq!(most, Some(1));
}
