//! Backup and restore of the SQLite file by the binary, and the move to PostgreSQL.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::StatusCode;
use serde_json::json;
use warp_coordinator::{Coordinator, CoordinatorConfig};

use crate::common::{config, refused, text, zone};

const BINARY: &str = env!("CARGO_BIN_EXE_warp-coordinator");

fn run(args: &[&str], data: &Path, database: Option<&str>) -> Output {
    let mut command = Command::new(BINARY);
    command.args(args).arg("--data").arg(data);
    command.stdin(Stdio::null()).env_remove("WARP_DATABASE_URL");
    if let Some(url) = database {
        command.env("WARP_DATABASE_URL", url);
    }
    command.output().unwrap()
}

#[track_caller]
fn done(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[track_caller]
fn fails(output: &Output, code: &str, word: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let last = errors.lines().last().unwrap_or_default();
    assert!(
        last.starts_with(&format!("warp-coordinator: {code}: ")),
        "{errors}"
    );
    assert!(last.contains(word), "{errors}");
}

/// On the SQLite file in `dir`, whatever database the other tests run on.
fn sqlite(dir: &Path) -> CoordinatorConfig {
    CoordinatorConfig {
        database: None,
        ..config(dir)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_writes_holds_all_that_was_answered_before_and_can_be_restored() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let running = Coordinator::start(sqlite(&data)).await.unwrap();
    let client = crate::common::Client::new(&running.url);
    running.put_zone(&zone("prontera")).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    let answered = Arc::new(std::sync::Mutex::new(Vec::new()));
    for writer in 0..4 {
        let (client, stop, answered) = (client.clone(), stop.clone(), answered.clone());
        writers.spawn(async move {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let name = format!("w{writer}-{n}");
                client.register(&name).await;
                answered.lock().unwrap().push(name);
            }
        });
    }
    let enough = async || {
        let so_far = answered.lock().unwrap().len();
        while answered.lock().unwrap().len() < so_far + 20 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    enough().await;
    let before = answered.lock().unwrap().clone();
    let file = dir.path().join("backup.sqlite");
    let args = ["backup", file.to_str().unwrap()];
    let output = {
        let data = data.clone();
        let args = args.map(str::to_owned);
        let run = move || run(&[&args[0], &args[1]], &data, None);
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    assert_eq!(done(&output), file.to_str().unwrap());
    client.register("afterwards").await;
    enough().await;
    stop.store(true, Ordering::Relaxed);
    writers.join_all().await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    fails(&run(&args, &data, None), "bad-request", "--force");
    let forced = ["backup", file.to_str().unwrap(), "--force"];
    let second = dir.path().join("second.sqlite");
    std::fs::copy(&file, &second).unwrap();
    done(&run(&forced, &data, None));

    // Not while a coordinator runs on it.
    let restore = ["restore", second.to_str().unwrap()];
    fails(
        &run(&restore, &data, None),
        "bad-request",
        "stop the coordinator",
    );
    running.shutdown().await;

    // What is no whole backup changes nothing.
    let unfit = dir.path().join("unfit");
    let whole = std::fs::read(&second).unwrap();
    let mut torn = whole.clone();
    let middle = torn.len() / 2;
    torn[4096..middle].fill(0x5a);
    for (bytes, word) in [
        (
            b"not a database at all, but long enough to be looked at".to_vec(),
            "unfit",
        ),
        (whole[..whole.len() / 2].to_vec(), "unfit"),
        (torn, "unfit"),
        (Vec::new(), "not a coordinator's"),
    ] {
        std::fs::write(&unfit, bytes).unwrap();
        let output = run(&["restore", unfit.to_str().unwrap()], &data, None);
        fails(&output, "bad-request", word);
    }
    let missing = run(&["restore", "/nonexistent"], &data, None);
    fails(&missing, "coordinator-fault", "/nonexistent");

    let kept = done(&run(&restore, &data, None));
    assert!(Path::new(&kept).exists(), "{kept}");
    let running = Coordinator::start(sqlite(&data)).await.unwrap();
    let client = crate::common::Client::new(&running.url);
    for name in &before {
        let (status, body) = client.login(name, "sesame").await;
        assert_eq!(status, StatusCode::OK, "{name}: {body}");
    }
    // It is the moment of the backup.
    let later = client.login("afterwards", "sesame").await;
    refused(&later, 401, "wrong-password");
    running.shutdown().await;

    // And back: the file of before is a whole database, too.
    done(&run(&["restore", &kept], &data, None));
    let running = Coordinator::start(sqlite(&data)).await.unwrap();
    let client = crate::common::Client::new(&running.url);
    let (status, body) = client.login("afterwards", "sesame").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    running.shutdown().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn everything_moves_to_postgres_and_is_counted() {
    let url = match warp_lab::Postgres::shared() {
        Ok(server) => server.database(),
        Err(reason) => return println!("SKIPPED: {reason}"),
    };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fails(
        &run(&["migrate"], &data, Some(&url)),
        "bad-request",
        "there is no",
    );
    let running = Coordinator::start(sqlite(&data)).await.unwrap();
    let client = crate::common::Client::new(&running.url);
    running.put_zone(&zone("prontera")).await.unwrap();
    let mut tokens = Vec::new();
    for n in 0..120 {
        let answer = client.register(&format!("Player{n}")).await;
        tokens.push(text(&answer["refresh_token"]));
    }
    let token = client.player("device-owner").await;
    client.granted(&token, 1).await;
    fails(
        &run(&["migrate"], &data, None),
        "bad-request",
        "WARP_DATABASE_URL",
    );
    fails(
        &run(&["migrate"], &data, Some(&url)),
        "bad-request",
        "in use",
    );
    running.shutdown().await;

    let printed = done(&run(&["migrate"], &data, Some(&url)));
    for line in [
        "accounts\t121",
        "refresh_tokens\t121",
        "zones\t1",
        "certificates\t1",
    ] {
        assert!(printed.lines().any(|l| l == line), "{line} in {printed}");
    }
    fails(
        &run(&["migrate"], &data, Some(&url)),
        "bad-request",
        "not empty",
    );

    // Goes on where it was: passwords, refresh tokens, and numbers that are not given out twice.
    let there = CoordinatorConfig {
        database: Some(url.parse().unwrap()),
        ..config(&data)
    };
    let running = Coordinator::start(there).await.unwrap();
    let client = crate::common::Client::new(&running.url);
    assert_eq!(client.login("player7", "sesame").await.0, StatusCode::OK);
    let body = json!({"refresh_token": tokens[119]});
    let (status, body) = client.post("auth/refresh", body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let token = client.player("newcomer").await;
    client.granted(&token, 2).await;
    running.shutdown().await;
}
