//! What the bridge does for the people in front of the game: many clients at one launcher, commands
//! in game chat, a session kept while its client is held.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::time::Duration;

use serde_json::{Value, json};
use warp_engine_core::event::ConsoleAnswer;
use warp_engine_core::text::answer_lines;
use warp_tests::digests::compare_all;
use warp_tests::house::{House, NodePlan, PASSWORD, Plan, address, bridge, good_end, on_map};
use warp_tests::process::{PATIENCE, Process};
use warp_tests::relay::http;

/// How long a play of a few seconds may take to its end.
const PLAY: Duration = Duration::from_secs(90);

/// Eight clients on one launcher, with a few changes of map and map server each.
fn eight_play(version: u32) {
    let house = House::with(Plan {
        packet_version: version,
        ..Plan::default()
    });
    let (node, login) = house.playing(&NodePlan::default());
    let arguments = ["--seconds", "6", "--rate", "5", "--change-every", "1"];
    let mut clients: Vec<Process> = (1..=8)
        .map(|number| house.client(login, &format!("test{number}"), &arguments))
        .collect();
    clients.iter().for_each(on_map);
    // Each has its own row of numbers, and what they carried adds up.
    let (_, event) = node.event_from(0, "metrics", PLAY, |event| {
        let rows = event["metrics"]["clients"].as_array().unwrap();
        rows.iter()
            .filter(|row| row["bytes_down"].as_u64() > Some(0) && row["map"].is_string())
            .count()
            == 8
    });
    let rows = event["metrics"]["clients"].as_array().unwrap();
    let mut numbers: Vec<u64> = rows
        .iter()
        .map(|row| row["client"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 8, "{rows:?}");
    let sum: u64 = rows
        .iter()
        .map(|row| row["bytes_up"].as_u64().unwrap())
        .sum();
    assert_eq!(Some(sum), event["metrics"]["bytes_up"].as_u64(), "{event}");
    for client in &mut clients {
        good_end(client, PLAY);
    }
    let ends: Vec<&Process> = clients.iter().collect();
    compare_all(&ends, &[&node], &house.server, &house.coordinator);
    assert_eq!(node.events("client-seen").len(), 8);
    assert_eq!(node.events("problem"), Vec::<Value>::new());
    assert_eq!(node.events("stepped-down"), Vec::<Value>::new());
}

#[test]
fn eight_clients_play_on_one_launcher() {
    eight_play(20_211_103);
}

#[test]
fn eight_clients_of_2013_play_on_one_launcher() {
    eight_play(20_130_807);
}

#[test]
fn eight_clients_of_2018_play_on_one_launcher() {
    eight_play(20_180_621);
}

#[test]
fn the_launcher_starts_three_games_and_the_end_of_one_touches_no_other() {
    let house = House::new();
    let practice = json!({"account": "test1", "rate": 5, "seconds": 600});
    let mut node = house.node(&NodePlan {
        config: json!({"game": {"practice": practice}}),
        game: true,
        clients: 3,
        ..NodePlan::default()
    });
    let mut at = 0;
    let mut pids = Vec::new();
    for game in 1..=3 {
        let (next, started) = node.event_from(at, "game-started", PLAY, |_| true);
        at = next;
        assert_eq!(started["game"], game, "{started}");
        pids.push(started["pid"].as_u64().unwrap());
    }
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 3);
    let playing = |rows: usize| {
        move |event: &Value| {
            let clients = event["metrics"]["clients"].as_array().unwrap();
            let on_map = |row: &&Value| row["map"].is_string() && row["connections"] == 1;
            clients.iter().filter(on_map).count() == rows
        }
    };
    node.event_from(0, "metrics", PLAY, playing(3));
    node.line("/stop-game 2");
    let (at, exited) = node.event_from(at, "game-exited", PLAY, |_| true);
    assert_eq!((&exited["game"], &exited["ok"]), (&json!(2), &json!(true)));
    node.event_from(at, "metrics", PLAY, playing(2));
    // And another one.
    node.line("/launch");
    let (at, started) = node.event_from(at, "game-started", PLAY, |_| true);
    assert_eq!(started["game"], 4);
    node.event_from(at, "metrics", PLAY, playing(3));
    node.line("/quit");
    assert_eq!(node.exit(PATIENCE).code, Some(0));
    assert_eq!(node.events("game-exited").len(), 4);
    assert_eq!(node.events("problem"), Vec::<Value>::new());
}

#[cfg(unix)]
#[test]
fn a_game_that_cannot_be_started_ends_no_other() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    let game = house.dir().join("game.sh");
    std::fs::write(&game, "#!/bin/sh\nexec sleep 600\n").unwrap();
    let allow = |mode| std::fs::set_permissions(&game, PermissionsExt::from_mode(mode)).unwrap();
    allow(0o755);
    let mut node = house.node(&NodePlan {
        config: json!({"game": {"executable": game}}),
        game: true,
        ..NodePlan::default()
    });
    let (at, _) = node.event_from(0, "game-started", PLAY, |_| true);
    allow(0o644);
    node.line("/launch");
    let (at, _) = node.event_from(at, "problem", PLAY, |event| {
        event["problem"]["code"] == "game-not-started"
    });
    // The first goes on, and another one can join it.
    allow(0o755);
    node.line("/launch");
    let (_, started) = node.event_from(at, "game-started", PLAY, |_| true);
    assert_eq!(started["game"], 3, "{started}");
    assert_eq!(node.events("game-exited"), Vec::<Value>::new());
    node.line("/quit");
    assert_eq!(node.exit(PATIENCE).code, Some(1), "one was not started");
}

/// The lines that the practice client said, with their answers.
fn said(client: &Process, text: &str) -> (f64, Vec<String>) {
    let (_, event) = client.event_from(0, "said", PATIENCE, |event| event["text"] == text);
    let lines = event["lines"].as_array().unwrap();
    let lines = lines.iter().map(|line| line.as_str().unwrap().to_owned());
    (event["answered_ms"].as_f64().unwrap(), lines.collect())
}

/// What the chat showed is what the launcher counted, and that lies between what the connections
/// before had carried and what all had carried in the end, which is compared with the game server's
/// own count elsewhere.
fn assert_true_values(node: &Process, client: &Process) {
    let (_, lines) = said(client, "@P2P Metrics");
    let (_, console) = node.event_from(0, "console", PATIENCE, |event| {
        event["answer"]["answer"] == "metrics"
    });
    let answer: ConsoleAnswer = serde_json::from_value(console["answer"].clone()).unwrap();
    assert_eq!(lines, answer_lines(&answer));
    let ConsoleAnswer::Metrics { metrics } = answer else {
        panic!("{console}");
    };
    node.events_more(0, "stream-closed", 3, |_| true);
    let closed = node.events("stream-closed");
    let carried = |direction: &str, streams: usize| -> u64 {
        let bytes = closed
            .iter()
            .map(|event| event[direction]["bytes"].as_u64());
        bytes.take(streams).map(Option::unwrap).sum()
    };
    let (up, down) = (metrics.bytes_up, metrics.bytes_down);
    // Login and char server, then the map server.
    assert!(
        (carried("up", 2)..=carried("up", 3)).contains(&up),
        "{closed:?}"
    );
    assert!(
        (carried("down", 2)..=carried("down", 3)).contains(&down),
        "{closed:?}"
    );
    // One player is on a map with one connection; the commands that were typed are no chat for the
    // server.
    assert_eq!(metrics.streams, 1);
    let [row] = metrics.clients.as_slice() else {
        panic!("{:?}", metrics.clients);
    };
    assert_eq!(
        (
            row.map.as_deref(),
            row.connections,
            row.bytes_up,
            row.bytes_down
        ),
        (Some("prontera"), 1, up, down)
    );
    let chat_up: u64 = (metrics.classes.iter())
        .filter(|row| row.class == "chat")
        .map(|row| row.up.packets)
        .sum();
    assert_eq!(chat_up, 0, "{:?}", metrics.classes);
    let sum: u64 = metrics.classes.iter().map(|row| row.up.bytes).sum();
    assert_eq!(sum, up, "the classes add up");
}

fn commands(version: u32, more: &[&str]) {
    let house = House::with(Plan {
        packet_version: version,
        server_arguments: &[&["--tell-chat"], more].concat(),
        ..Plan::default()
    });
    let (node, login) = house.playing(&NodePlan::default());
    let commands = [
        "/p2p status",
        "@P2P Metrics",
        "/p2p debug on",
        "/p2p debug off",
        "/p2p help",
        "/p2p fly",
        "/p2p failover",
        "/p2p reconnect",
    ];
    let usual = [
        "/p2px status",
        "how do I use /p2p status here",
        "@p2pstatus",
    ];
    let mut arguments = vec!["--seconds", "4", "--rate", "10", "--change-every", "0"];
    for text in commands.iter().chain(&usual) {
        arguments.extend(["--say", text]);
    }
    arguments.extend(more);
    let mut client = house.client(login, "test1", &arguments);
    good_end(&mut client, PLAY);
    let mut slowest = 0.0_f64;
    for text in commands {
        let (ms, lines) = said(&client, text);
        println!("{text}: {ms:.1} ms, {lines:?}");
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.len() <= 100),
            "{text}"
        );
        slowest = slowest.max(ms);
    }
    // Bounded by the issue's promise, far from what is measured; a failure limit, not a figure.
    assert!(slowest < 100.0, "an answer took {slowest} ms");
    let (_, status) = said(&client, "/p2p status");
    let status = status.join("\n");
    assert!(
        status.contains("direct") && status.contains("practice"),
        "{status}"
    );
    assert!(
        status.contains("prontera"),
        "the player's own map: {status}"
    );
    assert_true_values(&node, &client);

    // What reached the server: the usual lines, and none of the commands.
    let told = house.server.events("chat");
    let reached = |text: &str| {
        (told.iter()).any(|event| {
            event["text"]
                .as_str()
                .unwrap()
                .ends_with(&format!(": {text}"))
        })
    };
    for text in usual {
        assert!(reached(text), "{text} did not reach the server: {told:?}");
    }
    for text in commands {
        assert!(!reached(text), "{text} reached the server");
    }
    // The launcher tells of them as of its own console.
    let console = node.events("console");
    let answers: Vec<&str> = console
        .iter()
        .map(|event| event["answer"]["answer"].as_str().unwrap())
        .collect();
    assert_eq!(
        answers,
        [
            "status",
            "metrics",
            "debug",
            "debug",
            "help",
            "unknown",
            "failed-over",
            "reconnecting"
        ]
    );
    node.event_from(0, "moved", PATIENCE, |event| event["to"] == "wss");
}

#[test]
fn commands_typed_in_game_chat_are_answered_and_never_reach_the_server() {
    commands(20_211_103, &[]);
}

#[test]
fn commands_work_for_a_client_of_2013() {
    commands(20_130_807, &[]);
}

#[test]
fn commands_work_where_ids_are_obfuscated() {
    commands(20_130_807, &["--obfuscate"]);
}

#[test]
fn what_staff_says_is_seen_in_the_chat_of_every_game_on_a_map() {
    let house = House::new();
    let (node, login) = house.playing(&NodePlan::default());
    // A launcher whose player keeps it out of the chat.
    house.add_user("quiet");
    let silent = house.node(&NodePlan {
        user: "quiet",
        config: json!({"bridge": {"commands": false}}),
        ..NodePlan::default()
    });
    let silent_login = bridge(&silent);
    let arguments = ["--seconds", "20", "--rate", "5", "--change-every", "0"];
    let with_notices = [&arguments[..], &["--notices"]].concat();
    let mut clients: Vec<Process> = ["test1", "test2"]
        .into_iter()
        .map(|account| house.client(login, account, &with_notices))
        .collect();
    // It takes an unexpected line for a fault.
    let mut strict = house.client(silent_login, "test3", &arguments);
    clients.iter().chain([&strict]).for_each(on_map);

    house.add_user("boss");
    house.admin(&["user", "role", "boss", "gm"]);
    let server = house.address;
    let body = json!({"username": "boss", "password": PASSWORD}).to_string();
    let (status, body) = http(server, "POST", "/api/v1/auth/login", "", &body);
    assert_eq!(status, 200, "{body}");
    let tokens: Value = serde_json::from_str(&body).unwrap();
    let token = tokens["access_token"].as_str().unwrap();
    let notice = json!({"text": "The server restarts in ten minutes.\nGo to town."}).to_string();
    let (status, body) = http(server, "POST", "/api/v1/notices", token, &notice);
    assert_eq!((status, body.as_str()), (200, r#"{"told":2}"#));

    for client in &clients {
        let lines = [
            "notice from boss:",
            "  The server restarts in ten minutes.",
            "  Go to town.",
        ];
        let mut from = 0;
        for line in lines {
            (from, _) = client.event_from(from, "notice", PATIENCE, |event| event["line"] == line);
        }
    }
    for launcher in [&node, &silent] {
        launcher.event_from(0, "notice", PATIENCE, |event| event["from"] == "boss");
    }
    for client in clients.iter_mut().chain([&mut strict]) {
        good_end(client, PLAY);
    }
    assert_eq!(clients[0].events("notice").len(), 3, "shown once");
    let problems = node.events("problem");
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn a_held_client_is_not_logged_out() {
    // The server closes after 60 s of silence; the client says nothing for 75 s.
    let house = House::new();
    let (node, login) = house.playing(&NodePlan::default());
    let mut arguments = vec!["--seconds", "80", "--rate", "10", "--change-every", "0"];
    arguments.extend(["--pause-after", "2", "--pause-seconds", "75"]);
    let mut client = house.client(login, "test1", &arguments);
    // Without a bridge the same client is closed: the pause is as long as it has to be.
    let straight = address(&house.listening["login"]);
    let mut without = house.client(straight, "test2", &arguments);
    let summary = good_end(&mut client, Duration::from_secs(150));
    assert!(summary["extra_time"].as_u64() > Some(0), "{summary}");
    assert_eq!(node.events("problem"), Vec::<Value>::new());
    assert_ne!(without.exit(Duration::from_secs(150)).code, Some(0));
}
