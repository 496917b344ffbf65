//! The keeper by itself: what it reads and what it tells.

use std::process::{ExitStatus, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::stage::{Stage, example, send, soon};

struct Keeper {
    child: Child,
    stdin: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Keeper {
    fn start(program: &str, arguments: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_warp-keeper"))
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the keeper");
        let stdout = child.stdout.take().expect("a pipe");
        Self {
            stdin: child.stdin.take(),
            reports: BufReader::new(stdout).lines(),
            child,
        }
    }

    fn game(stage: &Stage, arguments: &[&str]) -> Self {
        Self::start(
            &example("game").display().to_string(),
            &stage.arguments(arguments),
        )
    }

    fn pid(&self) -> i32 {
        self.child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .expect("it runs")
    }

    async fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("not closed");
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .expect("it reads");
    }

    async fn report(&mut self) -> Value {
        let line = soon("a report of the keeper", self.reports.next_line()).await;
        let line = line.expect("a line").expect("one more line");
        serde_json::from_str(&line).expect("JSON")
    }

    /// No more reports, and the keeper itself ends.
    async fn end(mut self) -> ExitStatus {
        let rest = soon("the end of its output", self.reports.next_line()).await;
        assert_eq!(rest.expect("an end"), None);
        soon("the keeper ends", self.child.wait())
            .await
            .expect("a status")
    }
}

fn started(pid: i32) -> Value {
    json!({"event": "started", "pid": pid})
}

fn exited(code: Option<i32>, signal: Option<i32>, asked: bool) -> Value {
    json!({"event": "exited", "code": code, "signal": signal, "asked": asked})
}

fn all_ended() -> Value {
    json!({"event": "ended", "all": true})
}

#[tokio::test]
async fn input_goes_to_the_game_and_lines_that_are_not_understood_are_told() {
    let stage = Stage::new().await;
    let reads = ["--read-stdin", "--read-stdin", "--exit", "4"];
    let mut keeper = Keeper::game(&stage, &reads);
    let mut game = stage.next().await;
    assert_eq!(keeper.report().await, started(game.pid));
    keeper.say("stdin").await;
    let refused = json!({"event": "refused", "why": "not understood"});
    assert_eq!(keeper.report().await, refused);
    keeper.say("stdin 706f72").await;
    keeper.say("stdin 696e670a").await;
    assert_eq!(game.line().await.as_deref(), Some("stdin poring"));
    keeper.say("close").await;
    assert_eq!(game.line().await.as_deref(), Some("stdin ended"));
    assert_eq!(keeper.report().await, exited(Some(4), None, false));
    assert_eq!(keeper.report().await, all_ended());
    assert_eq!(keeper.end().await.code(), Some(0));
}

#[tokio::test]
async fn the_end_of_its_input_is_the_end_of_the_game() {
    let stage = Stage::new().await;
    let mut keeper = Keeper::game(&stage, &["--wait"]);
    let game = stage.next().await;
    assert_eq!(keeper.report().await, started(game.pid));
    keeper.stdin = None;
    game.gone().await;
    let term = Signal::TERM.as_raw();
    assert_eq!(keeper.report().await, exited(None, Some(term), true));
    assert_eq!(keeper.report().await, all_ended());
    assert_eq!(keeper.end().await.code(), Some(0));
}

#[tokio::test]
async fn every_signal_of_a_terminal_ends_the_game_and_then_the_keeper() {
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        let stage = Stage::new().await;
        let child = [
            "--child", "--name", "child", "--report", "ADDRESS", "--wait", "--end",
        ];
        let arguments = [&child[..], &["--wait"]].concat();
        let mut keeper = Keeper::game(&stage, &arguments);
        let (game, child) = stage.family().await;
        assert_eq!(keeper.report().await, started(game.pid));
        send(keeper.pid(), signal);
        game.gone().await;
        child.gone().await;
        let term = Signal::TERM.as_raw();
        assert_eq!(keeper.report().await, exited(None, Some(term), true));
        assert_eq!(keeper.report().await, all_ended());
        assert_eq!(keeper.end().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_stopped_game_is_ended_without_waiting_for_the_kill() {
    let stage = Stage::new().await;
    let mut keeper = Keeper::game(&stage, &["--wait"]);
    let game = stage.next().await;
    assert_eq!(keeper.report().await, started(game.pid));
    game.kill(Signal::STOP);
    keeper.say("stop").await;
    game.gone().await;
    let term = Signal::TERM.as_raw();
    assert_eq!(keeper.report().await, exited(None, Some(term), true));
}

#[tokio::test]
async fn what_cannot_be_started_is_told() {
    let stage = Stage::new().await;
    let missing = stage.path("missing").display().to_string();
    let mut keeper = Keeper::start(&missing, &[]);
    let report = keeper.report().await;
    assert_eq!(report["event"], "not-started");
    assert_eq!(report["kind"], "not-found");
    assert_eq!(keeper.end().await.code(), Some(1));

    let plain = stage.path("plain");
    std::fs::write(&plain, "no program").expect("a file");
    let mut keeper = Keeper::start(&plain.display().to_string(), &[]);
    assert_eq!(keeper.report().await["kind"], "permission-denied");
    assert_eq!(keeper.end().await.code(), Some(1));
}

#[tokio::test]
async fn without_a_program_it_says_how_it_is_used() {
    let output = Command::new(env!("CARGO_BIN_EXE_warp-keeper"))
        .output()
        .await
        .expect("a run");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("usage: warp-keeper PROGRAM"));
    assert!(output.stdout.is_empty());
}
