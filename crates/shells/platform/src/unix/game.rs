//! Unix: a process group, kept by `warp-keeper`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Take};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::game::{Exit, Launch, NotStarted};

/// How long the game may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long the keeper may take until it tells that the game was started.
const START: Duration = Duration::from_secs(10);
/// How long the keeper may take to end a game: [`GRACE`] to ask, as much to kill, and a margin.
const KEEPER: Duration = Duration::from_secs(6);
/// Most that a keeper may tell, in bytes; it has five lines to tell.
const REPORTS: u64 = 64 * 1024;

/// A game that was started. Dropped: it is ended.
pub struct Process {
    group: Pid,
    stderr: Option<ChildStderr>,
    how: How,
}

enum How {
    Kept(Kept),
    /// There is no keeper: it outlives a launcher that is killed.
    Bare {
        child: Child,
        ended: bool,
    },
}

/// The launcher's side of a keeper. Its module documentation is the protocol.
struct Kept {
    keeper: Child,
    /// Closed, also by our end: the game is ended.
    stdin: ChildStdin,
    reports: Lines<BufReader<Take<ChildStdout>>>,
    exit: Option<Exit>,
}

/// A line of the keeper.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Report {
    Started {
        pid: i32,
    },
    NotStarted {
        message: String,
    },
    Exited {
        code: Option<i32>,
        signal: Option<i32>,
        asked: bool,
    },
    Refused {
        why: String,
    },
    Ended {
        all: bool,
    },
}

impl Process {
    /// Starts it, with `keeper` if that program is there.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(launch: &Launch, keeper: Option<&Path>) -> Result<Self, NotStarted> {
        if let Some(program) = keeper {
            let mut command = Command::new(program);
            command.arg(&launch.program).args(&launch.arguments);
            command.stdout(Stdio::piped());
            match spawn(launch, &mut command) {
                Ok(child) => return Kept::started(child, launch).await,
                Err(error) => {
                    let program = program.display();
                    tracing::warn!(%error, %program, "the keeper cannot be started");
                }
            }
        }
        tracing::warn!("without warp-keeper the game goes on when the launcher is killed");
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments);
        command.stdout(Stdio::null()).process_group(0);
        let mut child = spawn(launch, &mut command)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A game need not read.
            let input = launch.input.clone();
            tokio::spawn(async move { stdin.write_all(&input).await });
        }
        let group = child.id().and_then(|pid| i32::try_from(pid).ok());
        Ok(Self {
            group: group.and_then(Pid::from_raw).ok_or_else(no_number)?,
            stderr: child.stderr.take(),
            how: How::Bare {
                child,
                ended: false,
            },
        })
    }

    /// Number of the process, and of its group.
    pub fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its error output, once.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.stderr.take()
    }

    /// Waits for its end; a program that hands over to another one of its group and ends well has
    /// ended when that has. May be dropped and called again.
    pub async fn wait(&mut self) -> Exit {
        match &mut self.how {
            How::Kept(kept) => kept.wait(self.group).await,
            How::Bare { child, ended } => {
                let status = child.wait().await;
                *ended = true;
                status.map_or_else(|_| Exit::default(), Exit::from)
            }
        }
    }

    /// Ends it: asked first, then killed, with all of its group.
    pub async fn end(&mut self) -> Exit {
        let exit = match &mut self.how {
            How::Kept(kept) => kept.end(self.group).await,
            How::Bare { child, ended } => {
                signal(self.group, Signal::TERM);
                signal(self.group, Signal::CONT);
                let status = timeout(GRACE, child.wait()).await;
                // What is left of the group, or all of it.
                signal(self.group, Signal::KILL);
                let status = match status {
                    Ok(status) => status,
                    Err(_) => child.wait().await,
                };
                *ended = true;
                status.map_or_else(|_| Exit::default(), Exit::from)
            }
        };
        Exit {
            asked: true,
            ..exit
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A keeper notices by its standard input, and is more patient.
        if let How::Bare { ended: false, .. } = self.how {
            signal(self.group, Signal::KILL);
        }
    }
}

/// What both ways have in common.
fn spawn(launch: &Launch, command: &mut Command) -> std::io::Result<Child> {
    if let Some(folder) = &launch.folder {
        command.current_dir(folder);
    }
    command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

fn signal(group: Pid, signal: Signal) {
    // Gone already: waiting tells.
    let _ = kill_process_group(group, signal);
}

fn no_number() -> NotStarted {
    NotStarted("it ended before its process number was known".into())
}

impl Kept {
    async fn started(mut keeper: Child, launch: &Launch) -> Result<Process, NotStarted> {
        let stderr = keeper.stderr.take();
        let (Some(stdin), Some(stdout)) = (keeper.stdin.take(), keeper.stdout.take()) else {
            return Err(NotStarted("no pipes to warp-keeper".into()));
        };
        let mut kept = Self {
            keeper,
            stdin,
            reports: BufReader::new(stdout.take(REPORTS)).lines(),
            exit: None,
        };
        let first = timeout(START, kept.report()).await;
        let group = match first {
            Ok(Some(Report::Started { pid })) => Pid::from_raw(pid).ok_or_else(no_number)?,
            Ok(Some(Report::NotStarted { message })) => return Err(NotStarted(message)),
            other => {
                tracing::warn!(?other, "warp-keeper did not tell that the game was started");
                return Err(NotStarted("warp-keeper did not start it".into()));
            }
        };
        let input = format!("stdin {}\nclose\n", hex::encode(&launch.input));
        if let Err(error) = kept.stdin.write_all(input.as_bytes()).await {
            tracing::warn!(%error, "the game got nothing on its standard input");
        }
        Ok(Process {
            group,
            stderr,
            how: How::Kept(kept),
        })
    }

    /// The next line; `None`: the keeper has ended. May be dropped.
    async fn report(&mut self) -> Option<Report> {
        loop {
            let line = self.reports.next_line().await.ok()??;
            match serde_json::from_str(&line) {
                Ok(Report::Refused { why }) => tracing::debug!(%why, "warp-keeper"),
                Ok(report) => return Some(report),
                Err(error) => tracing::warn!(%error, %line, "warp-keeper"),
            }
        }
    }

    async fn wait(&mut self, group: Pid) -> Exit {
        loop {
            let handed_over = Exit {
                code: Some(0),
                ..Exit::default()
            };
            if let Some(exit) = self.exit.as_ref().filter(|exit| **exit != handed_over) {
                return exit.clone();
            }
            match self.report().await {
                Some(Report::Ended { .. }) => return self.exit.clone().unwrap_or_default(),
                Some(report) => self.note(report),
                None => return self.lost(group),
            }
        }
    }

    async fn end(&mut self, group: Pid) -> Exit {
        // It has ended already: reading tells.
        let _ = self.stdin.write_all(b"stop\n").await;
        let ended = timeout(KEEPER, async {
            loop {
                match self.report().await {
                    Some(Report::Ended { all }) => return all,
                    Some(report) => self.note(report),
                    None => return false,
                }
            }
        });
        match ended.await {
            Ok(true) => self.exit.clone().unwrap_or_default(),
            _ => self.lost(group),
        }
    }

    fn note(&mut self, report: Report) {
        if let Report::Exited {
            code,
            signal,
            asked,
        } = report
        {
            self.exit = Some(Exit {
                code,
                signal,
                asked,
                note: None,
            });
        }
    }

    /// The keeper is gone or stuck, and nobody else would end the game with the launcher.
    fn lost(&mut self, group: Pid) -> Exit {
        tracing::warn!("warp-keeper was ended; the game is ended too");
        signal(group, Signal::KILL);
        let _ = self.keeper.start_kill();
        let exit = self.exit.clone().unwrap_or_default();
        Exit {
            note: Some("warp-keeper, which watched the game, was ended; the game was ended too"),
            ..exit
        }
    }
}
