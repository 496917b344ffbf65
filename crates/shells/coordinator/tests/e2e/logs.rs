//! What the real program writes into its log file.

use std::{path::Path, process::Stdio, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::common::{Client, next_of, text, within, zone};

const BINARY: &str = env!("CARGO_BIN_EXE_warp-coordinator");

async fn serve(dir: &Path, log: Value) -> (Child, Client) {
    let config = json!({"listen": "127.0.0.1:0", "data_dir": "data", "log": log});
    let file = dir.join("coordinator.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut child = Command::new(BINARY)
        .args(["serve", "--config"])
        .arg(&file)
        .env("WARP_LOG", "info,warp_coordinator=debug")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = within(lines.next_line()).await.unwrap().expect("a line");
    (child, Client::new(&url))
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("warp.log.")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn every_line_of_a_request_and_of_a_socket_names_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let log = json!({"format": "json", "file": "logs/warp.log"});
    let (mut child, client) = serve(dir.path(), log).await;
    let body = json!({"username": "anna", "password": "sesame"});
    let register = client.request(Method::POST, "/api/v1/auth/register");
    let register = register.header("x-request-id", "my-request").json(&body);
    let answer: Value = register.send().await.unwrap().json().await.unwrap();
    let token = text(&answer["access_token"]);

    let data = dir.path().join("data");
    let file = dir.path().join("zone.json");
    std::fs::write(&file, json!(zone("prontera")).to_string()).unwrap();
    let put = Command::new(BINARY)
        .args(["zone", "put", file.to_str().unwrap(), "--data"])
        .arg(&data)
        .output();
    assert!(within(put).await.unwrap().status.success());
    let grant = client.granted(&token, 1).await;
    let mut socket = client.signaling(&grant, &token).await;
    next_of(&mut socket, "session-joined").await;
    drop(socket);

    let lines = within(async {
        loop {
            let logs = dir.path().join("logs");
            let names = files(&logs);
            let [name] = names.as_slice() else {
                panic!("{names:?}")
            };
            let all = std::fs::read_to_string(logs.join(name)).unwrap();
            if all.contains("signaling socket closed") {
                break all;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let id_of = |message: &str| {
        let line = lines
            .iter()
            .find(|line| line["fields"]["message"] == message);
        let line = line.unwrap_or_else(|| panic!("no line says {message}"));
        text(&line["span"]["request_id"])
    };
    assert_eq!(id_of("account registered"), "my-request");
    let open = id_of("signaling socket open");
    assert_eq!(open.len(), 16);
    assert_eq!(id_of("signaling socket closed"), open);
    let all = json!(lines).to_string();
    assert!(!all.contains("sesame") && !all.contains(&token));
    let _ = child.start_kill();
}

#[tokio::test]
async fn old_files_go_and_a_wrong_place_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for day in 10..20 {
        let old = dir.path().join(format!("warp.log.2020-01-{day}"));
        std::fs::write(old, "old\n").unwrap();
    }
    let log = json!({"file": "warp.log", "keep": 3});
    let (mut child, _client) = serve(dir.path(), log).await;
    let names = files(dir.path());
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.iter().any(|name| !name.contains("2020")), "{names:?}");
    let _ = child.start_kill();

    std::fs::write(dir.path().join("plain"), "").unwrap();
    let file = dir.path().join("wrong.json");
    std::fs::write(&file, r#"{"log": {"file": "plain/warp.log"}}"#).unwrap();
    let refused = Command::new(BINARY)
        .args(["serve", "--config"])
        .arg(&file)
        .output();
    let refused = within(refused).await.unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("warp-coordinator: config-value: log file "),
        "{text}"
    );
}
