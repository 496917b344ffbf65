//! A coordinator on PostgreSQL: what it does is what it does on SQLite, two of them share one
//! database, and a database that is gone is said and survived.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::json;
use warp_coordinator::{Coordinator, CoordinatorConfig, Running};
use warp_lab::Postgres;

use crate::common::{Client, config, next, refused, text, zone};

/// Longest that anybody may wait for the word that the database does not answer.
const TOLD: Duration = Duration::from_secs(2);

fn on(url: &str, dir: &std::path::Path) -> CoordinatorConfig {
    CoordinatorConfig {
        database: Some(url.parse().unwrap()),
        ..config(dir)
    }
}

async fn started(url: &str) -> (tempfile::TempDir, Running, Client) {
    let dir = tempfile::tempdir().unwrap();
    let running = Coordinator::start(on(url, dir.path())).await.unwrap();
    let client = Client::new(&running.url);
    (dir, running, client)
}

#[tokio::test]
async fn two_coordinators_on_one_database_are_one() {
    let url = match Postgres::shared() {
        Ok(server) => server.database(),
        Err(reason) => return println!("SKIPPED: {reason}"),
    };
    // Started at the same time on an empty database.
    let (first, second) = tokio::join!(started(&url), started(&url));
    first.1.put_zone(&zone("prontera")).await.unwrap();
    let alice = first.2.register("Alice").await;
    let again = json!({"username": "ALICE", "password": "sesame"});
    refused(
        &second.2.post("auth/register", again).await,
        409,
        "name-taken",
    );
    // The other one knows account and zone; players join and talk there.
    let (status, body) = second.2.login("alice", "sesame").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let token = text(&body["access_token"]);
    let grant = second.2.granted(&token, 1).await;
    let mut socket = second.2.signaling(&grant, &token).await;
    assert_eq!(next(&mut socket).await["type"], "session-joined");

    // One refresh token, traded by many at both: one wins, and its sign-in ends with the second.
    let request = json!({"refresh_token": alice["refresh_token"]});
    let mut trades = tokio::task::JoinSet::new();
    for n in 0..12 {
        let client = if n % 2 == 0 { &first.2 } else { &second.2 };
        let (client, request) = (client.clone(), request.clone());
        trades.spawn(async move { client.post("auth/refresh", request).await });
    }
    let mut winners = Vec::new();
    for answer in trades.join_all().await {
        match answer {
            (StatusCode::OK, body) => winners.push(body),
            other => refused(&other, 401, "token-expired"),
        }
    }
    assert_eq!(winners.len(), 1);
    let next = json!({"refresh_token": winners[0]["refresh_token"]});
    let ended = first.2.post("auth/refresh", next).await;
    refused(&ended, 401, "token-expired");
    first.1.shutdown().await;
    second.1.shutdown().await;
}

#[tokio::test]
async fn a_frozen_or_stopped_database_is_a_503_within_2_s_and_used_again_afterwards() {
    let mut server = match Postgres::start() {
        Ok(server) => server,
        Err(reason) => return println!("SKIPPED: {reason}"),
    };
    let (_dir, running, client) = started(&server.database()).await;
    running.put_zone(&zone("prontera")).await.unwrap();
    let alice = client.register("alice").await;
    let token = text(&alice["access_token"]);
    let mut kept = text(&alice["refresh_token"]);
    for frozen in [true, false] {
        if frozen {
            server.freeze().unwrap();
        } else {
            server.stop();
        }
        let began = Instant::now();
        let mut asking = tokio::task::JoinSet::new();
        for n in 0..40 {
            let (client, token, kept) = (client.clone(), token.clone(), kept.clone());
            asking.spawn(async move {
                let began = Instant::now();
                let answer = match n % 4 {
                    0 => client.login("alice", "sesame").await,
                    1 => client.get("zones", &token).await,
                    2 => {
                        let body = json!({"refresh_token": kept});
                        client.post("auth/refresh", body).await
                    }
                    _ => client.register_as("bob").await,
                };
                (answer, began.elapsed())
            });
        }
        let health = crate::common::answer(client.request(Method::GET, "/health")).await;
        let health_took = began.elapsed();
        assert_eq!(health.0, StatusCode::SERVICE_UNAVAILABLE, "{}", health.1);
        assert!(health_took < TOLD, "health took {health_took:?}");
        for (answer, took) in asking.join_all().await {
            refused(&answer, 503, "coordinator-fault");
            assert!(took < TOLD, "frozen {frozen}: {took:?} until {answer:?}");
        }
        if frozen {
            server.thaw().unwrap();
        } else {
            server.start_again().unwrap();
        }
        let back = Instant::now();
        let body = loop {
            let (status, body) = client.login("alice", "sesame").await;
            if status == StatusCode::OK {
                break body;
            }
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
            assert!(back.elapsed() < Duration::from_secs(10), "{body}");
        };
        println!("frozen {frozen}: in use again after {:?}", back.elapsed());
        kept = text(&body["refresh_token"]);
    }
    running.shutdown().await;
}

const BINARY: &str = env!("CARGO_BIN_EXE_warp-coordinator");

/// Runs the binary to its end on the database `url`.
fn run(url: &str, data: &std::path::Path, args: &[&str], input: &str) -> Output {
    use std::io::Write;
    let mut child = std::process::Command::new(BINARY)
        .args(args)
        .arg("--data")
        .arg(data)
        .env("WARP_DATABASE_URL", url)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn the_subcommands_work_on_it_and_never_print_its_password() {
    let url = match Postgres::shared() {
        Ok(server) => server.database(),
        Err(reason) => return println!("SKIPPED: {reason}"),
    };
    assert!(url.contains("hunter2"));
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let add = ["user", "add", "keeper", "--password-stdin", "--role", "gm"];
    let file = dir.path().join("zone.json");
    std::fs::write(&file, json!(zone("prontera")).to_string()).unwrap();
    let put = ["zone", "put", file.to_str().unwrap()];
    for (args, input, expected) in [
        (&add[..], "sesame\n", "keeper\n"),
        (&put[..], "", "prontera\n"),
        (&["p2p", "off"][..], "", "off\n"),
        (&["user", "revoke-devices", "keeper"][..], "", "keeper\n"),
    ] {
        let output = run(&url, &data, args, input);
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
    let list = run(&url, &data, &["zone", "list"], "");
    assert!(list.stdout.starts_with(b"prontera\tenabled\t"), "{list:?}");
    assert!(!data.join("coordinator.sqlite").exists());

    let (_dir, running, client) = started(&url).await;
    let (status, body) = client.login("keeper", "sesame").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["account"]["role"], "gm");
    running.shutdown().await;

    // Nowhere in what is printed when it cannot be used.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let down = format!("postgres://warp:hunter2@127.0.0.1:{port}/t");
    for (url, exit) in [(down.as_str(), 1), ("postgres://warp:hunter2@:x/", 2)] {
        let output = run(url, &data, &["zone", "list"], "");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
