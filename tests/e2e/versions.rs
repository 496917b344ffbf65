//! Client versions, old and new, told or found out, and connections that nobody can read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::time::Duration;

use serde_json::{Value, json};
use warp_tests::digests::{compare_all, compare_ends, compare_streams};
use warp_tests::house::{House, NodePlan, Plan, address, bridge, good_end};
use warp_tests::process::{PATIENCE, Process};

/// How long a play of a few seconds may take to its end.
const PLAY: Duration = Duration::from_secs(60);
/// Every map and both map servers, in about five seconds.
const ROUND: [&str; 6] = ["--seconds", "4", "--rate", "10", "--change-every", "1"];

/// Plays a whole session of `version` in a zone that names `told`, and gives the launcher.
fn play(version: u32, told: u32, server: &[&str], client: &[&str]) -> (House, Process) {
    let house = House::with(Plan {
        packet_version: version,
        server_arguments: server,
        zone: json!({"game": {"packet_version": told}}),
        ..Plan::default()
    });
    let (node, login) = house.playing(&NodePlan::default());
    let arguments = [&ROUND[..], client].concat();
    let mut client = house.client(login, "test1", &arguments);
    let summary = good_end(&mut client, PLAY);
    assert!(summary["server_changes"].as_u64() > Some(0), "{summary}");
    assert!(summary["map_changes"].as_u64() > Some(0), "{summary}");
    compare_all(&[&client], &[&node], &house.server, &house.coordinator);
    // The client was sent to the bridge's own addresses, never to the servers'.
    let servers = ["login", "char", "map", "map2"].map(|name| address(&house.listening[name]));
    for event in client.events("connected") {
        assert!(!servers.contains(&address(&event["address"])), "{event}");
    }
    (house, node)
}

fn no_step_down(node: &Process) {
    assert_eq!(node.events("stepped-down"), Vec::<Value>::new());
    assert_eq!(node.events("problem"), Vec::<Value>::new());
}

#[test]
fn a_client_of_2013_plays_with_the_old_address_packets() {
    let (_house, node) = play(20_130_807, 20_130_807, &[], &[]);
    no_step_down(&node);
}

#[test]
fn a_client_of_2018_plays() {
    let (_house, node) = play(20_180_621, 20_180_621, &[], &[]);
    no_step_down(&node);
}

#[test]
fn the_version_is_found_out_where_the_zone_names_none() {
    for version in [20_130_807, 20_180_621, 20_211_103] {
        let (_house, node) = play(version, 0, &[], &[]);
        no_step_down(&node);
        let known = node.events("version-known");
        let last = known
            .last()
            .unwrap_or_else(|| panic!("{version}: no version was told"));
        println!("{version}: found {last}");
        // Logins and map logins of 2018 and 2020 are the same; the launcher says that it is not sure.
        let told = last["version"].as_u64().unwrap();
        assert!(
            told == u64::from(version) || last["certain"] == false,
            "{last}"
        );
        assert!(told >= u64::from(version), "{last}");
    }
}

#[test]
fn obfuscated_ids_are_read_where_their_keys_are_known() {
    for told in [20_130_807, 0] {
        let (_house, node) = play(20_130_807, told, &["--obfuscate"], &["--obfuscate"]);
        no_step_down(&node);
        let known = node.events("version-known");
        assert!(
            known.iter().any(|event| event["ciphered"] == true),
            "{known:?}"
        );
    }
}

#[test]
fn a_version_that_the_operator_added_plays() {
    let house = House::with(Plan {
        zone: json!({"game": {"packet_version": 20_990_101}}),
        ..Plan::default()
    });
    let table = house.dir().join("recvpackets.txt");
    let mut text = String::from("# the practice game under another name\n");
    let lengths = include_str!("../fixtures/recvpackets-20211103.txt");
    text.push_str(lengths);
    std::fs::write(&table, text).unwrap();
    let tables = json!([{"version": 20_990_101, "file": table}]);
    let (node, login) = house.playing(&NodePlan {
        config: json!({"bridge": {"packet_tables": tables}}),
        ..NodePlan::default()
    });
    let mut client = house.client(login, "test1", &ROUND);
    good_end(&mut client, PLAY);
    compare_all(&[&client], &[&node], &house.server, &house.coordinator);
    no_step_down(&node);

    // One bad line is told with its file and number, and nothing starts.
    std::fs::write(&table, "0064 55\n0065 seventeen\n").unwrap();
    let mut node = house.node(&NodePlan {
        config: json!({"bridge": {"packet_tables": tables}}),
        ..NodePlan::default()
    });
    let problem = node.problem("config-value");
    let told = problem.to_string();
    assert!(
        told.contains("recvpackets.txt") && told.contains("line 2"),
        "{told}"
    );
    assert_eq!(node.exit(PATIENCE).code, Some(2));
}

#[test]
fn a_version_without_a_table_is_carried_untouched_and_said_so() {
    // Nothing can be rewritten then, so the servers announce what the client can reach by itself.
    let house = House::with(Plan {
        zone: json!({"game": {"packet_version": 20_010_101}}),
        ..Plan::default()
    });
    let (node, login) = house.playing(&NodePlan::default());
    let mut client = house.client(login, "test1", &ROUND);
    good_end(&mut client, PLAY);
    compare_ends(&[&client], &house.server);
    let down = node.event("stepped-down");
    assert_eq!(down["level"], "opaque");
    assert_eq!(down["reason"], "no-packet-table");
}

/// A zone whose map connections are enciphered by a stand-in for a game shield.
fn shielded() -> House {
    House::with(Plan {
        server_arguments: &["--shield"],
        announced_on_loopback: Some([127, 0, 0, 2].into()),
        zone: json!({"game": {"level": "opaque"}}),
        ..Plan::default()
    })
}

#[test]
fn an_opaque_zone_carries_a_shielded_game_byte_for_byte_with_its_writes() {
    let house = shielded();
    let node = house.node(&NodePlan {
        // The port of the server, as in every opaque zone.
        config: json!({"bridge": {"login_listen": address(&house.listening["login"]).to_string()
            .replace("127.0.0.2", "127.0.0.1")}}),
        ..NodePlan::default()
    });
    let login = bridge(&node);
    // Fixed: the client finds every server at 127.0.0.1 and its own port.
    assert_eq!(login.port(), address(&house.listening["login"]).port());
    let arguments = [&ROUND[..], &["--shield"]].concat();
    let mut client = house.client(login, "test1", &arguments);
    // A record of the shield that comes in two pieces ends the session.
    good_end(&mut client, PLAY);
    let compared = compare_ends(&[&client], &house.server);
    assert!(compared.maps > 1);
    assert_eq!(
        compare_streams(&[&node], &house.coordinator),
        compared.connections
    );
    for event in client.events("connected") {
        let role = event["role"].as_str().unwrap();
        let here = address(&event["address"]);
        let ports =
            ["login", "char", "map", "map2"].map(|name| address(&house.listening[name]).port());
        assert!(
            here.ip().is_loopback() && ports.contains(&here.port()),
            "{role} {here}"
        );
    }
    let down = node.events("stepped-down");
    assert!(!down.is_empty());
    for event in down {
        assert_eq!(
            (&event["level"], &event["reason"]),
            (&json!("opaque"), &json!("by-zone"))
        );
    }
    println!(
        "{} connections, opaque, equal at every end",
        compared.connections
    );
}

#[test]
fn eight_clients_play_in_an_opaque_zone() {
    let house = shielded();
    let login = address(&house.listening["login"]);
    let (node, login) = house.playing(&NodePlan {
        config: json!({"bridge": {"login_listen": format!("127.0.0.1:{}", login.port())}}),
        ..NodePlan::default()
    });
    let arguments = [
        "--seconds",
        "3",
        "--rate",
        "5",
        "--change-every",
        "1",
        "--shield",
    ];
    let mut clients: Vec<Process> = (1..=8)
        .map(|number| house.client(login, &format!("test{number}"), &arguments))
        .collect();
    for client in &mut clients {
        good_end(client, PLAY);
    }
    let clients: Vec<&Process> = clients.iter().collect();
    compare_all(&clients, &[&node], &house.server, &house.coordinator);
}
