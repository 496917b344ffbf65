//! Whole sessions with real processes on the loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::time::Duration;

use serde_json::{Value, json};
use warp_tests::digests::{compare_all, compare_ends};
use warp_tests::house::{House, NodePlan, Plan, address, bridge, good_end, on_map};
use warp_tests::process::{PATIENCE, Process, is};
use warp_tests::relay::{Relay, Tamper, find, websocket_payload};
use warp_tests::watch::{goes_on_over, until_standby};

/// How long a play of a few seconds may take to its end.
const PLAY: Duration = Duration::from_secs(60);
/// What every chat line of the practice client contains.
const MARKER: &[u8] = b"practice line";

/// Waits until `node` plays over `path`, from `from` on.
fn moved_to(node: &Process, from: usize, path: &str) -> (usize, Value) {
    node.event_from(from, "moved", PLAY, |event| event["to"] == path)
}

/// From the opened bridge to now the launcher was connected over `path`, and said nothing else.
fn stayed_on(node: &Process, path: &str) {
    let mut ready = false;
    let mut seen = 0;
    let mut state = Value::Null;
    for event in node.lines().into_iter().filter_map(|line| line.event) {
        match event["event"].as_str().unwrap_or_default() {
            "bridge-ready" => {
                assert_eq!(state["state"], "connected", "bridge before connection");
                assert_eq!(state["path"], path, "bridge over another path");
                ready = true;
            }
            "state" if ready => panic!("the state changed in play: {event}"),
            "moved" if ready => panic!("it moved: {event}"),
            "state" => state = event,
            "metrics" => {
                assert_eq!(event["metrics"]["state"], "connected", "{event}");
                assert_eq!(event["metrics"]["path"], path, "{event}");
                seen += 1;
            }
            "problem" => panic!("{event}"),
            _ => {}
        }
    }
    assert!(ready && seen > 0, "no numbers were told");
}

/// Both ways were measured, so that there was a score.
fn measured(node: &Process) {
    let known = |metrics: &Value| {
        let way = |name: &str| metrics[name]["loss_percent"].is_number();
        let score = metrics["quality"]["score"].as_u64();
        way("to_endpoint") && way("to_player") && score.is_some_and(|score| score <= 100)
    };
    let told = node.events("metrics");
    let first = &told.first().expect("numbers")["metrics"];
    assert!(told.iter().any(|event| known(&event["metrics"])), "{first}");
}

fn print_gap(what: &str, summary: &Value) {
    println!(
        "{what}: largest gap {:.1} ms, round trip p50 {} us, p99 {} us, max {} us",
        summary["largest_gap_ms"].as_f64().unwrap(),
        summary["rtt_us"]["p50"],
        summary["rtt_us"]["p99"],
        summary["rtt_us"]["max"],
    );
}

#[test]
fn two_players_play_whole_sessions_over_webrtc() {
    let house = House::new();
    house.add_user("bob");
    let plans = [
        NodePlan::default(),
        NodePlan {
            user: "bob",
            ..NodePlan::default()
        },
    ];
    let nodes = plans.each_ref().map(|plan| house.node(plan));
    let mut number = 0;
    let mut clients = nodes.each_ref().map(|node| {
        number += 1;
        let arguments = ["--seconds", "6", "--rate", "10", "--change-every", "1"];
        house.client(bridge(node), &format!("test{number}"), &arguments)
    });
    for client in &mut clients {
        let summary = good_end(client, PLAY);
        assert!(summary["server_changes"].as_u64() > Some(0), "{summary}");
        assert!(summary["map_changes"].as_u64() > Some(0), "{summary}");
        print_gap(client.name(), &summary);
    }
    let (clients, nodes) = (clients.each_ref(), nodes.each_ref());
    let compared = compare_all(&clients, &nodes, &house.server, &house.coordinator);
    // Login, twice char, and for each of the clients at least one change of map server.
    assert!(compared.connections >= 12, "{compared:?}");
    for node in nodes {
        stayed_on(node, "direct");
        measured(node);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_player_signs_in_joins_and_plays_with_the_coordinator_on_postgres() {
    let server = match warp_lab::Postgres::start() {
        Ok(server) => server,
        Err(reason) => return println!("SKIPPED: {reason}"),
    };
    let url = server.database();
    // Coordinator and subcommands alike.
    let on_postgres = move |program: &std::path::Path| {
        let mut command = std::process::Command::new(program);
        command.env("WARP_DATABASE_URL", &url);
        command
    };
    let house = House::with(Plan {
        servers: std::sync::Arc::new(on_postgres),
        ..Plan::default()
    });
    let node = house.node(&NodePlan::default());
    let arguments = ["--seconds", "4", "--rate", "10", "--change-every", "1"];
    let mut client = house.client(bridge(&node), "test1", &arguments);
    let summary = good_end(&mut client, PLAY);
    print_gap(client.name(), &summary);
    let compared = compare_all(&[&client], &[&node], &house.server, &house.coordinator);
    assert!(compared.connections >= 4, "{compared:?}");
    stayed_on(&node, "direct");
    assert!(!house.data().join("coordinator.sqlite").exists());
}

#[test]
fn console_lines_are_answered_and_failover_moves_the_game_and_back() {
    let house = House::new();
    let (mut node, login) = house.playing(&NodePlan::default());
    let arguments = ["--rate", "20", "--change-every", "0", "--seconds", "0"];
    let mut client = house.client(login, "test1", &arguments);
    on_map(&client);
    goes_on_over(&node, 0, "direct");
    // Failover needs a standby that has proven itself.
    until_standby(&node, 0, "wss");
    for (line, answer) in [
        ("/p2p status", "status"),
        ("/p2p", "status"),
        ("/p2p metrics", "metrics"),
        ("/p2p debug on", "debug"),
        ("/p2p debug off", "debug"),
        ("/p2p rekey", "keys-updating"),
        ("/p2p help", "help"),
        ("/p2p fly", "unknown"),
        ("hello there", "unknown"),
        ("\u{0}\u{7f} %s {\"command\":\"quit\"}", "unknown"),
    ] {
        let told = ask(&mut node, line);
        assert_eq!(told["answer"], answer, "{line}");
        match line {
            "/p2p status" => {
                assert_eq!(told["state"], "connected");
                assert_eq!(told["path"], "direct");
                assert_eq!(told["standby"], json!(["wss"]));
                assert_eq!(told["zone"], "practice");
            }
            "/p2p metrics" => {
                assert!(told["metrics"]["bytes_up"].as_u64() > Some(0));
                assert!(told["metrics"]["rtt_ms"].as_f64() > Some(0.0));
            }
            "/p2p debug on" => assert_eq!(told["on"], true),
            "/p2p debug off" => assert_eq!(told["on"], false),
            _ => {}
        }
    }

    let before = node.mark();
    let told = ask(&mut node, "/p2p failover");
    assert_eq!(
        told,
        json!({"answer": "failed-over", "from": "direct", "to": "wss"})
    );
    let (at, moved) = moved_to(&node, before, "wss");
    assert_eq!(moved["reason"], "asked");
    let at = goes_on_over(&node, at, "wss");

    let told = ask(&mut node, "/p2p reconnect");
    assert_eq!(told["answer"], "reconnecting");
    let (at, _) = moved_to(&node, at, "direct");
    goes_on_over(&node, at, "direct");

    client.terminate();
    let summary = good_end(&mut client, PLAY);
    print_gap("failover and reconnect at 20 requests a second", &summary);
    let compared = compare_all(&[&client], &[&node], &house.server, &house.coordinator);
    assert_eq!(compared.maps, 1, "its one map connection was never closed");
    assert_eq!(node.events("problem"), Vec::<Value>::new());
}

/// Types a line and gives the answer.
fn ask(node: &mut Process, line: &str) -> Value {
    let from = node.mark();
    node.line(line);
    let (_, event) = node.event_from(from, "console", PATIENCE, |event| event["line"] == line);
    event["answer"].clone()
}

#[test]
fn sigterm_and_quit_end_a_launcher_in_play() {
    let house = House::new();
    for quit in [false, true] {
        let (mut node, login) = house.playing(&NodePlan::default());
        let account = if quit { "test2" } else { "test1" };
        let from = house.server.mark();
        let mut client = house.client(login, account, &["--seconds", "0"]);
        on_map(&client);
        let opened = |event: &Value| event["role"] == "map";
        let (_, map) = house
            .server
            .event_from(from, "connection-opened", PATIENCE, opened);
        if quit {
            node.line("/quit");
        } else {
            node.terminate();
        }
        let exit = node.exit(Duration::from_secs(5));
        let how = if quit { "/quit" } else { "SIGTERM" };
        println!("{how}: ended after {} ms", exit.took.as_millis());
        assert_eq!(exit.code, Some(0), "{how}");
        assert_eq!(node.events("stopped").len(), 1, "{how}");
        assert_eq!(node.events("ended").len(), 1, "{how}");
        // The game server learns of it, and the client too.
        let closed = |event: &Value| event["id"] == map["id"];
        (house.server).event_from(from, "connection-closed", PATIENCE, closed);
        assert_ne!(client.exit(PATIENCE).code, Some(0), "{how}");
    }
    let House {
        mut coordinator,
        mut server,
        ..
    } = house;
    for process in [&mut coordinator, &mut server] {
        process.terminate();
        let exit = process.exit(Duration::from_secs(5));
        println!(
            "{}: ended after {} ms",
            process.name(),
            exit.took.as_millis()
        );
        assert_eq!(exit.code, Some(0), "{}", process.name());
    }
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

/// Traffic between launcher and endpoint over the WebSocket, and between endpoint and game server.
struct Tapped {
    house: House,
    /// In front of the coordinator.
    link: Relay,
    /// In front of the map server.
    game: Relay,
}

impl Tapped {
    fn new() -> Self {
        let game = Relay::new();
        let house = House::with(Plan {
            map_relay: Some(&game),
            ..Plan::default()
        });
        let link = Relay::to(house.address);
        Self { house, link, game }
    }

    /// A launcher that has nothing but the WebSocket, which leads through the relay.
    fn node(&self) -> (Process, std::net::SocketAddr) {
        self.house.playing(&NodePlan {
            coordinator: Some(self.link.address()),
            config: json!({"p2p": {"enabled": false}}),
            ..NodePlan::default()
        })
    }
}

#[test]
fn no_chat_line_can_be_read_between_launcher_and_endpoint() {
    let tapped = Tapped::new();
    let (node, login) = tapped.node();
    let arguments = ["--rate", "20", "--seconds", "3", "--change-every", "0"];
    let mut client = tapped.house.client(login, "test1", &arguments);
    let summary = good_end(&mut client, PLAY);
    compare_all(
        &[&client],
        &[&node],
        &tapped.house.server,
        &tapped.house.coordinator,
    );
    stayed_on(&node, "wss");

    // The search finds what is there: the game server's side has the chat, both ways.
    let game = tapped.game.recordings();
    assert!(game.iter().any(|one| find(&one.to_server, MARKER)));
    assert!(game.iter().any(|one| find(&one.to_client, MARKER)));

    let carried: u64 = ["bytes_sent", "bytes_received"]
        .iter()
        .map(|direction| summary[*direction].as_u64().unwrap())
        .sum();
    let mut payload = 0;
    for one in tapped.link.recordings() {
        assert!(!find(&one.to_server, MARKER) && !find(&one.to_client, MARKER));
        if find(&one.to_server, b"/link/ws?") {
            for direction in [&one.to_server, &one.to_client] {
                let plain = websocket_payload(direction);
                assert!(!find(&plain, MARKER), "a chat line in clear");
                payload += plain.len() as u64;
            }
        }
    }
    assert!(
        payload > carried,
        "only {payload} bytes of {carried} passed the relay: the game went elsewhere"
    );
    println!("{payload} bytes of link traffic for {carried} bytes of game: no chat line in clear");
}

#[test]
fn a_changed_or_repeated_datagram_is_refused_and_the_game_goes_on() {
    let tapped = Tapped::new();
    let (node, login) = tapped.node();
    let arguments = ["--rate", "20", "--seconds", "0", "--change-every", "0"];
    let mut client = tapped.house.client(login, "test1", &arguments);
    on_map(&client);
    goes_on_over(&node, 0, "wss");
    let refused = || {
        let (_, event) = node.event_from(node.mark(), "metrics", PATIENCE, |_| true);
        event["metrics"]["refused"].as_u64().unwrap()
    };
    // Repeated first: a lost datagram makes the endpoint send copies, and one that comes late may
    // pass for a replay.
    for tamper in [Tamper::RepeatEvery(7), Tamper::FlipEvery(7)] {
        let before = refused();
        let done = tapped.link.tampered();
        tapped.link.tamper(tamper);
        goes_on_over(&node, node.mark(), "wss");
        tapped.link.tamper(Tamper::No);
        let done = (tapped.link.tampered() - done) as u64;
        goes_on_over(&node, node.mark(), "wss");
        let counted = refused() - before;
        println!("{tamper:?}: {done} datagrams, {counted} refused");
        assert!(done > 0);
        match tamper {
            Tamper::RepeatEvery(_) => assert_eq!(counted, done),
            _ => assert!(counted >= done, "{counted} refused of {done} changed"),
        }
    }
    client.terminate();
    let summary = good_end(&mut client, PLAY);
    print_gap("with changed and repeated datagrams", &summary);
    compare_ends(&[&client], &tapped.house.server);
    // So many of them are somebody's work, which a person is told, once.
    let problems = node.events("problem");
    let told = |problem: &Value| problem["problem"]["code"] == "path-tampered";
    assert!(
        problems.len() <= 1 && problems.iter().all(told),
        "{problems:?}"
    );
}

#[test]
fn a_killed_carrier_in_use_moves_the_game_at_once() {
    let house = House::new();
    let relay = Relay::to(house.address);
    let (mut node, login) = house.playing(&NodePlan {
        coordinator: Some(relay.address()),
        ..NodePlan::default()
    });
    let arguments = ["--rate", "20", "--seconds", "0", "--change-every", "0"];
    let mut client = house.client(login, "test1", &arguments);
    on_map(&client);
    until_standby(&node, 0, "wss");
    let from = node.mark();
    assert_eq!(ask(&mut node, "/p2p failover")["answer"], "failed-over");
    let (at, _) = moved_to(&node, from, "wss");
    goes_on_over(&node, at, "wss");
    let from = node.mark();
    relay.cut();
    let (at, moved) = moved_to(&node, from, "direct");
    println!("{moved}");
    assert_eq!(moved["reason"], "carrier-closed");
    goes_on_over(&node, at, "direct");
    client.terminate();
    print_gap("carrier killed", &good_end(&mut client, PLAY));
    let compared = compare_all(&[&client], &[&node], &house.server, &house.coordinator);
    assert_eq!(compared.maps, 1);
}

#[test]
fn a_killed_carrier_without_a_standby_is_held_and_resumed() {
    let tapped = Tapped::new();
    let (node, login) = tapped.node();
    let arguments = ["--rate", "20", "--seconds", "0", "--change-every", "0"];
    let mut client = tapped.house.client(login, "test1", &arguments);
    on_map(&client);
    goes_on_over(&node, 0, "wss");
    for _ in 0..3 {
        let from = node.mark();
        tapped.link.cut();
        let (at, _) = node.event_from(from, "state", PATIENCE, |event| {
            event["state"] == "reconnecting"
        });
        tapped.link.restore();
        let (at, _) = node.event_from(at, "state", PATIENCE, |event| event["state"] == "connected");
        goes_on_over(&node, at, "wss");
    }
    client.terminate();
    print_gap(
        "only carrier killed three times",
        &good_end(&mut client, PLAY),
    );
    let house = &tapped.house;
    let compared = compare_all(&[&client], &[&node], &house.server, &house.coordinator);
    assert_eq!(compared.maps, 1);
}

#[test]
fn play_goes_on_while_the_coordinator_cannot_be_reached() {
    let house = House::new();
    let relay = Relay::to(house.address);
    let (node, login) = house.playing(&NodePlan {
        coordinator: Some(relay.address()),
        ..NodePlan::default()
    });
    let arguments = ["--rate", "20", "--seconds", "0", "--change-every", "0"];
    let mut client = house.client(login, "test1", &arguments);
    on_map(&client);
    let playing = goes_on_over(&node, 0, "direct");
    relay.cut();
    node.problem("coordinator-unreachable");
    let at = goes_on_over(&node, node.mark(), "direct");
    relay.restore();
    until_standby(&node, at, "wss");
    client.terminate();
    print_gap("without a coordinator", &good_end(&mut client, PLAY));
    compare_all(&[&client], &[&node], &house.server, &house.coordinator);
    let moved = |event: &Value| is(event, "moved");
    let later = node.lines().split_off(playing);
    assert!(
        !later
            .iter()
            .filter_map(|line| line.event.as_ref())
            .any(moved)
    );
    assert_eq!(node.events("problem").len(), 1);
    // The address that the client was given is the bridge's, never the server's.
    let connected = client.events("connected");
    let servers = ["login", "char", "map", "map2"].map(|name| address(&house.listening[name]));
    assert!(!connected.is_empty());
    for event in connected {
        assert!(!servers.contains(&address(&event["address"])), "{event}");
    }
}
