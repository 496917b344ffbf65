//! What goes wrong, one thing at a time: each has its own stable code in the event, the documented
//! exit code of `warp-node`, and stops nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use warp_tests::digests::{compare_all, compare_ends, compare_streams};
use warp_tests::house::{House, NodePlan, Plan, address, bridge, good_end, on_map};
use warp_tests::process::{PATIENCE, Process, Source};
use warp_tests::relay::{Relay, http};

/// How long a play of a few seconds may take to its end.
const PLAY: Duration = Duration::from_secs(60);

/// The launcher tells this problem first and alone, and ends with this exit code.
fn refused(mut node: Process, code: &str, exit: i32) -> Value {
    let problem = node.problem(code);
    assert_eq!(node.exit(PATIENCE).code, Some(exit), "{problem}");
    let problems = node.events("problem");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(node.events("bridge-ready"), Vec::<Value>::new());
    println!("{code}: {problem}, exit code {exit}");
    problem
}

/// The launcher still answers.
fn lives(node: &mut Process) {
    let from = node.mark();
    node.line("/p2p status");
    let (_, event) = node.event_from(from, "console", PATIENCE, |_| true);
    assert_eq!(event["answer"]["state"], "connected", "{event}");
}

/// Ends a launcher that is in play, in good order.
fn quit(node: &mut Process) {
    node.line("/quit");
    assert_eq!(node.exit(PATIENCE).code, Some(0));
}

/// Waits for the end of a connection; whatever comes before it is dropped.
fn closed(mut socket: &TcpStream) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("the socket was not closed: {error}"),
        }
    }
}

#[test]
fn sign_in_and_zone_problems() {
    let house = House::new();
    let wrong_password = NodePlan {
        password: "something else",
        ..NodePlan::default()
    };
    let problem = refused(house.node(&wrong_password), "wrong-password", 3);
    assert_eq!(problem["subject"], "alice");
    let unknown_user = NodePlan {
        user: "nobody",
        ..NodePlan::default()
    };
    // The same code: the coordinator does not tell strangers who has an account.
    refused(house.node(&unknown_user), "wrong-password", 3);
    let no_password = NodePlan {
        password: "",
        ..NodePlan::default()
    };
    refused(house.node(&no_password), "bad-password", 3);
    let unknown_zone = NodePlan {
        zone: "atlantis",
        ..NodePlan::default()
    };
    let problem = refused(house.node(&unknown_zone), "unknown-zone", 5);
    assert_eq!(problem["subject"], "atlantis");
    for status in ["maintenance", "disabled"] {
        house.put_other_zone("closed", status);
        let closed = NodePlan {
            zone: "closed",
            ..NodePlan::default()
        };
        let problem = refused(house.node(&closed), "zone-closed", 5);
        assert_eq!(problem["subject"], "closed");
    }
    // And nothing of it stands in the way of a player.
    let (mut node, _) = house.playing(&NodePlan::default());
    lives(&mut node);
    quit(&mut node);
}

#[test]
fn the_coordinator_is_down_at_start() {
    let house = House::new();
    // tcpmux (RFC 1078): nobody has that any more, and nobody gets the port by asking for any.
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let plan = NodePlan {
        coordinator: Some(address),
        ..NodePlan::default()
    };
    let problem = refused(house.node(&plan), "coordinator-unreachable", 4);
    let subject = problem["subject"].as_str().unwrap();
    assert!(subject.contains(&address.to_string()), "{problem}");
}

#[test]
fn something_else_answers_in_the_coordinators_place() {
    let house = House::new();
    // The practice login server closes at once: it does not speak HTTP.
    let plan = NodePlan {
        coordinator: Some(address(&house.listening["login"])),
        ..NodePlan::default()
    };
    refused(house.node(&plan), "coordinator-unreachable", 4);
}

#[test]
fn the_coordinator_is_killed_in_play() {
    let mut house = House::new();
    let (mut node, login) = house.playing(&NodePlan {
        // Without re-entry: what it does is in reentry.rs.
        config: json!({"p2p": {"hold_seconds": 5}, "bridge": {"reentry": false, "reentry_timeout_ms": 5000}}),
        ..NodePlan::default()
    });
    let mut client = house.client(
        login,
        "test1",
        &["--seconds", "0", "--answer-timeout", "60"],
    );
    on_map(&client);
    let from = node.mark();
    let killed = Instant::now();
    house.coordinator.kill();
    house.coordinator.exit(PATIENCE);
    // Held, while it may come back.
    node.event_from(from, "state", PATIENCE, |event| {
        event["state"] == "reconnecting"
    });
    node.problem("coordinator-unreachable");
    let problem = node.problem("link-lost");
    println!(
        "link-lost {} ms after the kill: {problem}",
        killed.elapsed().as_millis()
    );
    assert_eq!(problem["subject"], "practice");
    node.event_from(from, "stopped", PATIENCE, |_| true);
    assert_eq!(node.exit(PATIENCE).code, Some(1));
    // The game is told by the end of its connection.
    assert_ne!(client.exit(PATIENCE).code, Some(0));
    let summary = client.event("summary");
    assert_eq!(summary["errors"][0]["code"], "connection-lost", "{summary}");
}

#[test]
fn the_login_port_is_in_use() {
    let house = House::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let plan = NodePlan {
        config: json!({"bridge": {"login_listen": address}}),
        ..NodePlan::default()
    };
    let problem = refused(house.node(&plan), "port-in-use", 5);
    assert_eq!(problem["subject"], address);
}

/// A launcher with this game; ends with exit code 1 and this problem.
fn game_problem(house: &House, executable: &str, code: &str) -> Value {
    let mut node = house.node(&NodePlan {
        config: json!({"game": {"executable": executable}}),
        game: true,
        ..NodePlan::default()
    });
    // The bridge was there already: it is the game that failed.
    bridge(&node);
    let problem = node.problem(code);
    assert_eq!(node.exit(PATIENCE).code, Some(1), "{problem}");
    assert_eq!(node.events("stopped").len(), 1);
    println!("{code}: {problem}");
    problem
}

#[cfg(unix)]
#[test]
fn the_game_is_missing_or_not_executable_or_fails() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    let missing = house.dir().join("no-such-game");
    let missing = missing.to_str().unwrap();
    assert_eq!(
        game_problem(&house, missing, "game-missing")["subject"],
        missing
    );

    let plain = house.dir().join("not-executable");
    std::fs::write(&plain, "not a program").unwrap();
    let plain = plain.to_str().unwrap();
    assert_eq!(
        game_problem(&house, plain, "game-not-started")["subject"],
        plain
    );

    let failing = house.dir().join("failing");
    std::fs::write(&failing, "#!/bin/sh\necho no graphics card >&2\nexit 7\n").unwrap();
    std::fs::set_permissions(&failing, PermissionsExt::from_mode(0o755)).unwrap();
    let problem = game_problem(&house, failing.to_str().unwrap(), "game-failed");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("exit code 7") && detail.contains("no graphics card"));
}

#[test]
fn garbage_from_a_client_is_passed_on_and_disturbs_nobody() {
    let house = House::new();
    let (mut node, login) = house.playing(&NodePlan::default());
    let mut player = house.client(login, "test1", &["--seconds", "0", "--rate", "20"]);
    on_map(&player);
    for garbage in [
        vec![0xee; 300],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 5000],
    ] {
        let from = node.mark();
        let server_from = house.server.mark();
        let mut socket = TcpStream::connect(login).unwrap();
        socket.write_all(&garbage).unwrap();
        let (_, stepped) = node.event_from(from, "stepped-down", PATIENCE, |_| true);
        assert_eq!(stepped["level"], "opaque", "{stepped}");
        println!("stepped-down: {stepped}");
        // The server's strictness answers it, at the other end of the bridge.
        let (_, report) =
            (house.server).event_from(server_from, "connection-closed", PATIENCE, |event| {
                event["role"] == "login"
            });
        assert_eq!(report["reason"], "unknown-packet", "{report}");
        closed(&socket);
        drop(socket);
        let ours = |event: &Value| event["stream"] == stepped["stream"];
        let (_, event) = node.event_from(from, "stream-closed", PATIENCE, ours);
        assert_eq!(event["up"]["bytes"], garbage.len(), "{event}");
    }
    player.terminate();
    good_end(&mut player, PLAY);
    compare_ends(&[&player], &house.server);
    compare_streams(&[&node], &house.coordinator);
    lives(&mut node);
    assert_eq!(node.events("problem"), Vec::<Value>::new());
}

#[test]
fn the_game_server_is_down() {
    let mut house = House::new();
    let (mut node, login) = house.playing(&NodePlan::default());
    house.server.terminate();
    house.server.exit(PATIENCE);
    let socket = TcpStream::connect(login).unwrap();
    let problem = node.problem("game-server-refused");
    println!("{problem}");
    let server = house.listening["login"].as_str().unwrap();
    assert!(
        problem["subject"].as_str().unwrap().contains(server),
        "{problem}"
    );
    closed(&socket);
    // A client of the game is refused in the same way, and the launcher is none the worse.
    let mut client = house.client(login, "test1", &["--seconds", "1"]);
    assert_ne!(client.exit(PATIENCE).code, Some(0));
    assert_eq!(
        client.event("summary")["errors"][0]["code"],
        "connection-lost"
    );
    lives(&mut node);
    quit(&mut node);
}

#[test]
fn the_game_server_is_killed_in_play() {
    let mut house = House::new();
    let (mut node, login) = house.playing(&NodePlan {
        config: json!({"bridge": {"reentry": false}}),
        ..NodePlan::default()
    });
    let mut client = house.client(login, "test1", &["--seconds", "0"]);
    on_map(&client);
    house.server.kill();
    house.server.exit(PATIENCE);
    assert_eq!(client.exit(PATIENCE).code, Some(1));
    let summary = client.event("summary");
    assert_eq!(summary["errors"][0]["code"], "connection-lost", "{summary}");
    lives(&mut node);
    // What was under way to the server is lost with it; the connections are not left open.
    let opened = node.events("stream-opened").len();
    node.events_more(0, "stream-closed", opened, |_| true);
    quit(&mut node);
}

#[test]
fn an_address_that_the_zone_does_not_name_is_not_dialled() {
    let house = House::with(Plan {
        second_map_in_zone: false,
        ..Plan::default()
    });
    let (mut node, login) = house.playing(&NodePlan::default());
    let mut stays = house.client(
        login,
        "test1",
        &["--seconds", "0", "--rate", "20", "--change-every", "0"],
    );
    on_map(&stays);
    let mut leaves = house.client(login, "test2", &["--seconds", "4", "--change-every", "1"]);
    let problem = node.problem("address-not-allowed");
    let map2 = house.listening["map2"].as_str().unwrap();
    assert!(
        problem["subject"].as_str().unwrap().contains(map2),
        "{problem}"
    );
    println!("{problem}");
    assert_eq!(leaves.exit(PATIENCE).code, Some(1));
    // Nothing else stops, and nobody knocked at the second map server.
    lives(&mut node);
    let bytes = |event: &Value| event["metrics"]["bytes_up"].as_u64();
    let (at, now) = node.event_from(node.mark(), "metrics", PATIENCE, |_| true);
    node.event_from(at, "metrics", PATIENCE, |event| bytes(event) > bytes(&now));
    stays.terminate();
    good_end(&mut stays, PLAY);
    let opened = house.server.events("connection-opened");
    compare_ends(&[&stays], &house.server);
    let maps = opened.iter().filter(|event| event["role"] == "map");
    assert_eq!(
        maps.count(),
        2,
        "one map connection for each of the two clients"
    );
}

#[test]
fn configuration_errors() {
    let house = House::new();
    let plan = NodePlan::default();
    let mut config = house.node_config();
    config["p2p"]["heartbeat_ms"] = json!(1);
    let problem = refused(
        house.node_with(&plan, &config.to_string()),
        "config-value",
        2,
    );
    let subject = problem["subject"].as_str().unwrap();
    assert!(subject.ends_with(": p2p.heartbeat_ms"), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains('1') && detail.contains("200 to 1000"),
        "{problem}"
    );

    let problem = refused(house.node_with(&plan, "{\"p2p\": "), "config-unreadable", 2);
    assert!(problem["detail"].as_str().unwrap().contains("line 1"));

    let mut config = house.node_config();
    config["p2p"]["max_perrs"] = json!(5);
    config["webrtc"]["enable_dtls"] = json!(true);
    let mut node = house.node_with(&plan, &config.to_string());
    bridge(&node);
    let lines = node.lines();
    for key in ["p2p.max_perrs", "webrtc.enable_dtls"] {
        let named = |line: &&warp_tests::process::Line| {
            line.source == Source::Err && line.text.contains(key)
        };
        let warning = lines.iter().find(named).expect(key);
        println!("{}", warning.text);
    }
    quit(&mut node);
}

/// A text in the first answer that has it, for instance a token.
fn told_by(relay: &Relay, key: &str) -> String {
    let start = format!("\"{key}\":\"");
    let found = relay.recordings().into_iter().find_map(|recording| {
        let text = String::from_utf8_lossy(&recording.to_client).into_owned();
        let (_, rest) = text.split_once(&start)?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    });
    found.unwrap_or_else(|| panic!("no {key} was told"))
}

/// Waits until the coordinator no longer takes this access token.
fn until_expired(coordinator: SocketAddr, token: &str) {
    let began = Instant::now();
    loop {
        let (status, body) = http(coordinator, "GET", "/api/v1/zones/", token, "");
        if status == 401 {
            assert!(body.contains("\"token-expired\""), "{body}");
            return;
        }
        assert_eq!(status, 200, "{body}");
        assert!(
            began.elapsed() < Duration::from_secs(90),
            "the token still counts"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The shortest life of an access token is a minute, and so is this test.
#[test]
fn an_expired_sign_in_is_renewed_or_told() {
    let many = json!({"burst": 1000, "per_minute": 60_000});
    let house = House::with(Plan {
        coordinator: json!({"tokens": {"access_seconds": 60}, "limits": {"address": many}}),
        ..Plan::default()
    });
    house.add_user("bob");
    // Both sign in, and their requests for a session are held back until the tokens have expired.
    let relays = [Relay::to(house.address), Relay::to(house.address)];
    let start = |user, relay: &Relay| {
        relay.hold("/join");
        let node = house.node(&NodePlan {
            user,
            coordinator: Some(relay.address()),
            config: json!({"coordinator": {"timeout_seconds": 200}}),
            ..NodePlan::default()
        });
        relay.until_held();
        (node, told_by(relay, "access_token"))
    };
    let (alice, alices_token) = start("alice", &relays[0]);
    let (bob, bobs_token) = start("bob", &relays[1]);
    // Bob's sign-in is revoked as well.
    let refresh = json!({"refresh_token": told_by(&relays[1], "refresh_token")}).to_string();
    let logout = "/api/v1/auth/logout";
    assert_eq!(
        http(house.address, "POST", logout, &bobs_token, &refresh).0,
        204
    );
    for token in [&alices_token, &bobs_token] {
        until_expired(house.address, token);
    }
    for relay in &relays {
        relay.release();
    }
    refused(bob, "token-expired", 3);
    let login = bridge(&alice);
    let mut client = house.client(login, "test1", &["--seconds", "1"]);
    good_end(&mut client, PLAY);
    compare_all(&[&client], &[&alice], &house.server, &house.coordinator);
    assert_eq!(alice.events("problem"), Vec::<Value>::new());
}
