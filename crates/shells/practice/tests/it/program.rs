//! The program: command line, standard output, exit codes, signals.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::raw::PATIENCE;
use crate::relay::{Flip, Way, relayed};

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warp-practice"));
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = timeout(PATIENCE, lines.next_line())
        .await
        .expect("in time")
        .unwrap()
        .unwrap();
    serde_json::from_str(&line).unwrap()
}

async fn start_server() -> (Child, Lines<BufReader<ChildStdout>>, String) {
    start_server_with(&[]).await
}

async fn start_server_with(more: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>, String) {
    let any = "127.0.0.1:0";
    let common = [
        "server", "--login", any, "--char", any, "--map", any, "--map2", any,
    ];
    let mut child = program(&[&common[..], more].concat()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let listening = next(&mut lines).await;
    assert_eq!(listening["event"], "listening");
    for door in ["login", "char", "map", "map2"] {
        let address: std::net::SocketAddr = listening[door].as_str().unwrap().parse().unwrap();
        assert_ne!(address.port(), 0);
    }
    let login = listening["login"].as_str().unwrap().to_owned();
    (child, lines, login)
}

async fn client(login: &str, user: &str, password: &str, more: &[&str]) -> Output {
    let common = [
        "client",
        "--login",
        login,
        "--user",
        user,
        "--password-stdin",
    ];
    let mut child = program(&[&common[..], more].concat()).spawn().unwrap();
    let line = format!("{password}\r\n");
    // A program that refuses its command line does not read its input.
    let _unread = child.stdin.take().unwrap().write_all(line.as_bytes()).await;
    timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("in time")
        .unwrap()
}

fn events(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn client_and_server_report_the_same_and_exit_codes_tell() {
    let (server, mut lines, login) = start_server().await;
    let played = client(
        &login,
        "test7",
        "test7",
        &["--seconds", "1", "--rate", "20", "--json"],
    )
    .await;
    let told = events(&played);
    assert_eq!(played.status.code(), Some(0), "{told:?}");
    let summary = told.last().unwrap();
    assert_eq!(
        (&summary["event"], &summary["ok"]),
        (&Value::from("summary"), &Value::from(true))
    );
    for figure in ["min", "p50", "p99", "p99.9", "max"] {
        assert!(summary["rtt_us"][figure].is_u64(), "{figure} in {summary}");
    }
    assert!(summary["largest_gap_ms"].is_number());
    let closed: Vec<&Value> = told
        .iter()
        .filter(|event| event["event"] == "connection-closed")
        .collect();
    assert_eq!(closed.len(), 7);
    for report in closed {
        let same = loop {
            let event = next(&mut lines).await;
            if event["event"] == "connection-closed" {
                break event;
            }
            assert_eq!(event["event"], "connection-opened");
        };
        for field in ["role", "key", "c2s", "s2c"] {
            assert_eq!(report[field], same[field]);
        }
        assert_eq!(same["reason"], "client-closed");
    }

    let readable = client(
        &login,
        "test7",
        "test7",
        &["--seconds", "1", "--echo-probe"],
    )
    .await;
    assert_eq!(readable.status.code(), Some(0));
    assert!(
        String::from_utf8(readable.stdout)
            .unwrap()
            .contains("test7 ok: ")
    );

    let refused = client(&login, "test7", "nonsense", &["--json"]).await;
    assert_eq!(refused.status.code(), Some(3));
    assert_eq!(events(&refused).last().unwrap()["code"], "wrong-password");
    drop(server);

    let many = ["--say", "x"].repeat(17);
    for (wrong, told) in [
        (&["--rate", "0"][..], "--rate"),
        (&["--packetver", "20010101"], "20130807, "),
        (&["--packetver", "new"], "20211103"),
        (&["--obfuscate"], "20130807"),
        (&["--say", "@go 1"], "another map"),
        (&["--pause-after", "1"], "--pause-seconds"),
        (&many, "at most 16"),
    ] {
        let usage = client(&login, "test7", "x", wrong).await;
        assert_eq!(usage.status.code(), Some(2), "{wrong:?}");
        let error = String::from_utf8(usage.stderr).unwrap();
        assert!(error.contains(told), "{wrong:?}: {error}");
    }
}

#[tokio::test]
async fn the_help_names_every_version() {
    let help = program(&["--help"]).output().await.unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    for version in warp_practice::version::versions() {
        assert!(text.contains(&version.to_string()), "{version}: {text}");
    }
}

#[tokio::test]
async fn a_login_connection_that_is_cut_is_told_as_never_entered() {
    // What a bridge does whose game server cannot be reached.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let login = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            drop(connection);
        }
    });
    let played = client(&login, "test1", "test1", &["--json"]).await;
    assert_eq!(played.status.code(), Some(3));
    let told = events(&played);
    let summary = told.last().unwrap();
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["entered"], Value::from(false));
    assert_eq!(summary["errors"][0]["code"], "connection-lost");
}

#[tokio::test]
async fn both_programs_speak_an_old_version_and_tell_what_was_said() {
    let speech = ["--packetver", "20130807", "--obfuscate", "--shield"];
    let (server, mut lines, login) =
        start_server_with(&[&speech[..], &["--tell-chat"]].concat()).await;
    let more = ["--seconds", "1", "--say", "good morning", "--json"];
    let played = client(&login, "test2", "test2", &[&speech[..], &more].concat()).await;
    let told = events(&played);
    assert_eq!(played.status.code(), Some(0), "{told:?}");
    let said: Vec<&Value> = told
        .iter()
        .filter(|event| event["event"] == "said")
        .collect();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["text"], "good morning");
    assert_eq!(said[0]["lines"][0], "Practice 2 : good morning");
    assert!(said[0]["answered_ms"].is_f64());
    let chat = loop {
        let event = next(&mut lines).await;
        if event["event"] == "chat" {
            break event;
        }
    };
    assert_eq!(chat["user"], "test2");
    assert_eq!(chat["text"], "Practice 2 : good morning");
    drop(server);
}

#[tokio::test]
async fn a_changed_byte_makes_the_client_fail() {
    let flip = Flip {
        door: 2,
        way: Way::ToClient,
        at: 40, // in the greeting
    };
    let (server, login) = relayed(Some(flip)).await;
    let played = client(
        &login.to_string(),
        "test1",
        "test1",
        &["--seconds", "1", "--json"],
    )
    .await;
    assert_eq!(played.status.code(), Some(1));
    let told = events(&played);
    let summary = told.last().unwrap();
    assert_eq!(summary["ok"], Value::from(false));
    assert_eq!(summary["errors"][0]["code"], "wrong-bytes");
    server.shutdown().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_termination_signal_ends_both_properly() {
    async fn terminate(child: &Child) {
        let id = child.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .await
                .unwrap()
                .success()
        );
    }
    let (mut server, mut server_lines, login) = start_server().await;
    let args = [
        "client",
        "--login",
        &login,
        "--user",
        "test8",
        "--password-stdin",
        "--seconds",
        "0",
        "--json",
    ];
    let mut player = program(&args).spawn().unwrap();
    player
        .stdin
        .take()
        .unwrap()
        .write_all(b"test8\n")
        .await
        .unwrap();
    let mut lines = BufReader::new(player.stdout.take().unwrap()).lines();
    while next(&mut lines).await["event"] != "on-map" {}
    terminate(&player).await;
    let summary = loop {
        let event = next(&mut lines).await;
        if event["event"] == "summary" {
            break event;
        }
    };
    assert_eq!(
        (&summary["ok"], &summary["interrupted"]),
        (&Value::from(true), &Value::from(true))
    );
    let status = timeout(PATIENCE, player.wait())
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(status.code(), Some(0));

    terminate(&server).await;
    let status = timeout(PATIENCE, server.wait())
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(status.code(), Some(0));
    let mut closed = 0;
    while let Some(line) = server_lines.next_line().await.unwrap() {
        closed += usize::from(line.contains("\"connection-closed\""));
    }
    assert_eq!(closed, 3);
}
