//! Where the stand-ins play: their programs, and the connections they report over.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use warp_engine::game::{self, Ended, Game, Games};
use warp_engine_core::config::GameSection;
use warp_protocol::Problem;

/// Limit of every wait; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `event`, and fails with `what` when it does not come.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, event).await {
        Ok(result) => result,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// The folder of `warp-keeper`.
pub(crate) fn programs() -> PathBuf {
    let keeper = Path::new(env!("CARGO_BIN_EXE_warp-keeper"));
    keeper.parent().expect("a folder").to_path_buf()
}

/// A program of `examples/`.
pub(crate) fn example(name: &str) -> PathBuf {
    let program = programs().join("examples").join(name);
    assert!(
        program.is_file(),
        "{} is not built: cargo build -p warp-keeper --examples",
        program.display()
    );
    program
}

pub(crate) struct Stage {
    listener: TcpListener,
    /// A folder for whatever a test needs.
    pub(crate) folder: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The stand-in's arguments: it reports here, then does as `arguments` say. `ADDRESS` among
    /// them is this stage's, for children.
    pub(crate) fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let address = self.address().to_string();
        ["--report", "ADDRESS"]
            .iter()
            .chain(arguments)
            .map(|argument| argument.replace("ADDRESS", &address))
            .collect()
    }

    /// A section that starts the stand-in.
    pub(crate) fn section(&self, arguments: &[&str]) -> GameSection {
        GameSection {
            executable: example("game").display().to_string(),
            arguments: self.arguments(arguments),
            ..GameSection::default()
        }
    }

    /// The next process that reports.
    pub(crate) async fn next(&self) -> Actor {
        let (stream, _) = soon("a process reports", self.listener.accept())
            .await
            .expect("a connection");
        let mut actor = Actor {
            name: String::new(),
            pid: 0,
            parent: 0,
            stream: BufReader::new(stream),
        };
        let line = actor.line().await.expect("its name and numbers");
        let mut words = line.split(' ');
        actor.name = words.next().expect("a name").to_owned();
        let mut number = || words.next().and_then(|word| word.parse().ok());
        actor.pid = number().expect("its number");
        actor.parent = number().expect("its parent's number");
        actor
    }

    /// The next two, the one called `child` last.
    pub(crate) async fn family(&self) -> (Actor, Actor) {
        let (one, other) = (self.next().await, self.next().await);
        if one.name == "child" {
            (other, one)
        } else {
            (one, other)
        }
    }
}

/// A process that reported.
pub(crate) struct Actor {
    pub(crate) name: String,
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    stream: BufReader<TcpStream>,
}

impl Actor {
    /// What it tells next; `None`: it is gone.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = soon("a report", self.stream.read_line(&mut line)).await;
        // A process that is killed with unread bytes resets its connection.
        let told = read.is_ok_and(|count| count > 0);
        told.then(|| line.trim_end().to_owned())
    }

    pub(crate) async fn say(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.stream
            .write_all(line.as_bytes())
            .await
            .expect("it lives");
    }

    /// It lives and answers.
    pub(crate) async fn lives(&mut self) {
        self.say("ping").await;
        assert_eq!(self.line().await.as_deref(), Some("pong"), "{}", self.name);
    }

    /// It is gone, and had not been told to go.
    pub(crate) async fn gone(mut self) {
        assert_eq!(self.line().await, None, "{}", self.name);
    }

    pub(crate) fn kill(&self, signal: Signal) {
        send(self.pid, signal);
    }
}

pub(crate) fn send(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process number");
    kill_process(pid, signal).expect("the process is there");
}

/// The engine's games, with the keeper.
pub(crate) fn games() -> Games {
    Games::new(Some(programs()))
}

/// The bridge's address.
pub(crate) fn login() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 6900))
}

pub(crate) async fn start(games: &Games, section: &GameSection) -> Result<Game, Problem> {
    let program = game::program(section, Some(&programs())).expect("a program");
    soon("the game starts", games.start(section, &program, login())).await
}

/// A game that is watched.
pub(crate) struct Watched {
    pub(crate) stop: CancellationToken,
    ended: JoinHandle<Ended>,
}

impl Watched {
    pub(crate) async fn start(games: &Games, section: &GameSection) -> Self {
        Self::watch(start(games, section).await.expect("it starts"))
    }

    pub(crate) fn watch(game: Game) -> Self {
        let stop = CancellationToken::new();
        let ended = tokio::spawn(game.watch(stop.clone()));
        Self { stop, ended }
    }

    pub(crate) async fn ended(self) -> Ended {
        soon("the game ends", self.ended).await.expect("no panic")
    }
}
