//! Supervision on Windows, where the launcher's Job Object does what `warp-keeper` does elsewhere:
//! the engine's game module with the stand-ins of `examples/`.
#![cfg(windows)]
// Helpers of tests are tests: what cannot happen may panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use warp_engine::game::{Ended, Game, Games};
use warp_engine_core::config::GameSection;
use warp_protocol::ProblemCode;

/// Limit of every wait; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, event).await {
        Ok(result) => result,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// A program of `examples/`.
fn example(name: &str) -> PathBuf {
    let program = match std::env::var_os("WARP_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => (Path::new(env!("CARGO_BIN_EXE_warp-keeper")).parent())
            .expect("a folder")
            .to_path_buf(),
    };
    let program = program.join("examples").join(format!("{name}.exe"));
    assert!(program.is_file(), "{} is not built", program.display());
    program
}

/// A place that stand-ins report to.
struct Stage(TcpListener);

impl Stage {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    /// A section that starts the stand-in; `ADDRESS` is this stage's, for children.
    fn section(&self, arguments: &[&str]) -> GameSection {
        let address = self.0.local_addr().expect("an address").to_string();
        let arguments = ["--report", "ADDRESS"].iter().chain(arguments);
        GameSection {
            executable: example("game").display().to_string(),
            arguments: arguments
                .map(|argument| argument.replace("ADDRESS", &address))
                .collect(),
            ..GameSection::default()
        }
    }

    /// The game and its child.
    async fn family(&self) -> (Actor, Actor) {
        let (one, other) = (self.next().await, self.next().await);
        match one.name.as_str() {
            "child" => (other, one),
            _ => (one, other),
        }
    }

    async fn next(&self) -> Actor {
        let accepted = soon("a process reports", self.0.accept()).await;
        let mut actor = Actor {
            name: String::new(),
            stream: BufReader::new(accepted.expect("a connection").0),
        };
        let line = actor.line().await.expect("its name");
        actor.name = line.split(' ').next().expect("a name").to_owned();
        actor
    }
}

/// A process that reported.
struct Actor {
    name: String,
    stream: BufReader<TcpStream>,
}

impl Actor {
    /// What it tells next; `None`: it is gone.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = soon("a report", self.stream.read_line(&mut line)).await;
        let told = read.is_ok_and(|count| count > 0);
        told.then(|| line.trim_end().to_owned())
    }

    async fn say(&mut self, line: &str) {
        let line = format!("{line}\n");
        let written = self.stream.write_all(line.as_bytes()).await;
        written.expect("it lives");
    }

    /// It lives and answers.
    async fn lives(&mut self) {
        self.say("ping").await;
        assert_eq!(self.line().await.as_deref(), Some("pong"), "{}", self.name);
    }

    /// It is gone, and had not been told to go.
    async fn gone(mut self) {
        assert_eq!(self.line().await, None, "{}", self.name);
    }
}

/// A child in the game's job.
const CHILD: &[&str] = &[
    "--child", "--name", "child", "--report", "ADDRESS", "--wait", "--end",
];

async fn start(section: &GameSection) -> Game {
    let program = Path::new(&section.executable);
    let login = ([127, 0, 0, 1], 6900).into();
    let games = Games::new(None);
    let started = games.start(section, program, login);
    soon("the game starts", started).await.expect("it starts")
}

async fn ended(game: Game, stop: CancellationToken) -> Ended {
    soon("the game ends", game.watch(stop)).await
}

#[tokio::test]
async fn a_failure_is_told_with_its_code_and_its_last_lines() {
    let stage = Stage::new().await;
    let section = stage.section(&["--stderr", "no graphics card", "--exit", "3"]);
    let ended = ended(start(&section).await, CancellationToken::new()).await;
    assert_eq!((ended.code, ended.asked), (Some(3), false));
    assert_eq!(ended.last_lines, ["no graphics card"]);
}

#[tokio::test]
async fn what_cannot_be_started_is_a_problem_with_a_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("game.exe");
    std::fs::write(&program, "not a program").expect("a file");
    let section = GameSection {
        executable: program.display().to_string(),
        ..GameSection::default()
    };
    let games = Games::new(None);
    let started = games.start(&section, &program, ([127, 0, 0, 1], 6900).into());
    let problem = soon("the answer", started).await.err().expect("a problem");
    assert_eq!(problem.code, ProblemCode::GameNotStarted);
}

#[tokio::test]
async fn a_game_is_ended_with_all_that_it_started() {
    let stage = Stage::new().await;
    let started = start(&stage.section(&[CHILD, &["--wait"]].concat())).await;
    let (mut game, mut child) = stage.family().await;
    game.lives().await;
    child.lives().await;
    let stop = CancellationToken::new();
    stop.cancel();
    assert!(ended(started, stop).await.asked);
    game.gone().await;
    child.gone().await;
}

#[tokio::test]
async fn a_killed_launcher_takes_its_game_along() {
    let stage = Stage::new().await;
    let section = stage.section(&[CHILD, &["--wait"]].concat());
    let mut launcher = Command::new(example("launcher"))
        .arg(".")
        .arg(serde_json::to_string(&section).expect("JSON"))
        .stdin(Stdio::null())
        .spawn()
        .expect("a launcher");
    let (mut game, mut child) = stage.family().await;
    game.lives().await;
    child.lives().await;
    launcher.start_kill().expect("it runs");
    game.gone().await;
    child.gone().await;
    soon("the launcher ends", launcher.wait())
        .await
        .expect("a status");
}

#[tokio::test]
async fn a_starter_may_hand_over_to_the_game() {
    let stage = Stage::new().await;
    let started = start(&stage.section(&[CHILD, &["--exit", "0"]].concat())).await;
    let watched = tokio::spawn(ended(started, CancellationToken::new()));
    let (starter, mut game) = stage.family().await;
    starter.gone().await;
    game.lives().await;
    game.say("exit 0").await;
    // Killed, it would not have said so.
    assert_eq!(game.line().await.as_deref(), Some("bye"));
    let ended = watched.await.expect("no panic");
    assert_eq!((ended.code, ended.asked), (Some(0), false));
}
