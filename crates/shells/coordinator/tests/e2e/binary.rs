use std::{
    io::Write,
    path::Path,
    process::{Output, Stdio},
};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::common::{Client, close_code, next, text, within, zone};

const BINARY: &str = env!("CARGO_BIN_EXE_warp-coordinator");

/// Runs the binary to its end.
fn run(args: &[&str], data: &Path, input: &str) -> Output {
    let mut child = std::process::Command::new(BINARY)
        .args(args)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn refused(output: &Output, exit: i32, start: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with(start), "{text}");
}

#[tokio::test]
async fn serves_until_sigterm_and_is_looked_after_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut child = Command::new(BINARY)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = within(lines.next_line()).await.unwrap().expect("a line");
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");

    let add = ["user", "add", "keeper", "--password-stdin", "--role", "gm"];
    let output = run(&add, &data, "sesame\n");
    assert!(output.status.success(), "{output:?}");
    refused(
        &run(&add, &data, "sesame\n"),
        1,
        "warp-coordinator: name-taken: ",
    );
    let add = ["user", "add", "other", "--password-stdin"];
    refused(
        &run(&add, &data, "short\n"),
        1,
        "warp-coordinator: bad-password: ",
    );

    let file = dir.path().join("zone.json");
    std::fs::write(&file, json!(zone("prontera")).to_string()).unwrap();
    let output = run(&["zone", "put", file.to_str().unwrap()], &data, "");
    assert!(output.status.success(), "{output:?}");
    let list = run(&["zone", "list", "--json"], &data, "");
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list[0]["zone_id"], "prontera");
    for switch in ["off", "on"] {
        let output = run(&["p2p", switch], &data, "");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, format!("{switch}\n").into_bytes());
    }
    assert_eq!(list[0]["status"], "enabled");
    let lines_list = run(&["zone", "list"], &data, "");
    assert!(lines_list.stdout.starts_with(b"prontera\tenabled\tp2p\t"));

    // The server sees it all.
    let client = Client::new(&url);
    let (status, body) = client.login("keeper", "sesame").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["account"]["role"], "gm");
    let token = text(&body["access_token"]);
    let grant = client.granted(&token, 1).await;
    let mut socket = client.signaling(&grant, &token).await;
    assert_eq!(next(&mut socket).await["type"], "session-joined");

    let pid = child.id().unwrap().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(killed.unwrap().success());
    assert_eq!(close_code(&mut socket).await, 1012);
    let output = within(child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!log.contains(&token) && !log.contains("sesame"), "{log}");
    assert!(!log.contains(" ERROR "), "{log}");
}

#[tokio::test]
async fn wrong_input_is_refused_with_its_name_and_a_code() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let config = file("c.json", r#"{"listen": "here"}"#);
    refused(
        &run(&["serve", "--config", &config], &data, ""),
        2,
        "warp-coordinator: config-value: listen = \"here\": ",
    );
    refused(
        &run(&["serve", "--config", "/nonexistent"], &data, ""),
        2,
        "warp-coordinator: config-unreadable: /nonexistent: ",
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let unknown = file("u.json", r#"{"lisen": 1}"#);
    let output = run(
        &["serve", "--listen", &address, "--config", &unknown],
        &data,
        "",
    );
    refused(
        &output,
        1,
        &format!("warp-coordinator: port-in-use: cannot listen on {address}: "),
    );
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("WARN") && log.contains("lisen"), "{log}");
    assert!(output.stdout.is_empty());

    let mut zone = json!(zone("prontera"));
    zone["p2p_priority"] = json!(11);
    let path = file("z.json", &zone.to_string());
    let start = format!("warp-coordinator: config-value: {path}: p2p_priority: ");
    refused(&run(&["zone", "put", &path], &data, ""), 1, &start);
    zone["p2p_priority"] = json!(1);
    zone["game"]["login"] = json!("here");
    let path = file("z.json", &zone.to_string());
    let start = format!("warp-coordinator: config-value: {path}: game.login: ");
    refused(&run(&["zone", "put", &path], &data, ""), 1, &start);
    zone["gmae"] = json!(1);
    zone["game"]["login"] = json!("127.0.0.1:1");
    let path = file("z.json", &zone.to_string());
    let output = run(&["zone", "put", &path], &data, "");
    refused(
        &output,
        1,
        &format!("warp-coordinator: config-value: {path}: "),
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("gmae"));
}
