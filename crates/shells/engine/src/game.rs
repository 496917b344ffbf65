//! The game's process: started, watched, ended.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio_util::sync::CancellationToken;
use warp_engine_core::config::{GameSection, PracticeSection};
use warp_protocol::{Problem, ProblemCode};

/// How long the game may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);
/// Last lines of its error output that are told when it fails, and how long one may be.
const LAST_LINES: usize = 8;
const LINE: usize = 400;

/// A game that runs.
pub(crate) struct Game {
    pub(crate) pid: u32,
    pub(crate) program: String,
    child: Child,
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) last_lines: Vec<String>,
}

/// What Play starts: the configured program, else the practice client. `None`: nothing.
pub(crate) fn program(section: &GameSection, programs: Option<&Path>) -> Option<PathBuf> {
    if !section.executable.is_empty() {
        return Some(PathBuf::from(&section.executable));
    }
    section.practice.as_ref()?;
    let folder = match programs {
        Some(folder) => folder.to_path_buf(),
        None => std::env::current_exe()
            .ok()
            .and_then(|program| program.parent().map(Path::to_path_buf))
            .unwrap_or_default(),
    };
    Some(folder.join(format!("warp-practice{}", std::env::consts::EXE_SUFFIX)))
}

/// Starts `program`, which [`program`] named.
pub(crate) async fn start(
    section: &GameSection,
    program: &Path,
    login: SocketAddr,
) -> Result<Game, Problem> {
    if !program.is_file() {
        return Err(Problem::new(
            ProblemCode::GameMissing,
            program.display().to_string(),
        ));
    }
    match &section.practice {
        Some(practice) if section.executable.is_empty() => {
            start_practice(practice, program, login).await
        }
        _ => start_configured(section, program, login),
    }
}

fn start_configured(
    section: &GameSection,
    program: &Path,
    login: SocketAddr,
) -> Result<Game, Problem> {
    let mut command = Command::new(program);
    for argument in &section.arguments {
        command.arg(argument.replace("{login}", &login.to_string()));
    }
    let folder = if section.working_directory.is_empty() {
        program.parent().map(Path::to_path_buf)
    } else {
        Some(PathBuf::from(&section.working_directory))
    };
    if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) {
        command.current_dir(folder);
    }
    command.stdin(Stdio::null());
    spawn(command, program)
}

async fn start_practice(
    practice: &PracticeSection,
    program: &Path,
    login: SocketAddr,
) -> Result<Game, Problem> {
    let mut command = Command::new(program);
    command
        .arg("client")
        .args(["--login", &login.to_string()])
        .args(["--user", &practice.account])
        .arg("--password-stdin")
        .args(["--rate", &practice.rate.to_string()])
        .args(["--seconds", &practice.seconds.to_string()])
        .stdin(Stdio::piped());
    let mut game = spawn(command, program)?;
    if let Some(mut stdin) = game.child.stdin.take() {
        // The practice accounts' passwords are their names: no secret, and still not an argument.
        let line = format!("{}\n", practice.account);
        if let Err(error) = stdin.write_all(line.as_bytes()).await {
            tracing::warn!(%error, "the practice client took no password");
        }
    }
    Ok(game)
}

fn spawn(mut command: Command, program: &Path) -> Result<Game, Problem> {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command.spawn().map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::NotFound => ProblemCode::GameMissing,
            _ => ProblemCode::GameNotStarted,
        };
        Problem::new(code, program.display().to_string()).with_detail(error.to_string())
    })?;
    Ok(Game {
        pid: child.id().unwrap_or_default(),
        program: program.display().to_string(),
        child,
    })
}

impl Game {
    /// Waits until the game ends, or ends it when `stop` is cancelled: asked first, then killed.
    pub(crate) async fn watch(mut self, stop: CancellationToken) -> Ended {
        let stderr = self.child.stderr.take();
        let lines = tokio::spawn(last_lines(stderr));
        let status = tokio::select! {
            status = self.child.wait() => status.ok(),
            () = stop.cancelled() => self.end().await,
        };
        Ended {
            code: status.and_then(|status| status.code()),
            last_lines: lines.await.unwrap_or_default(),
        }
    }

    async fn end(&mut self) -> Option<ExitStatus> {
        ask_to_end(&mut self.child);
        match tokio::time::timeout(GRACE, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                tracing::warn!(pid = self.pid, "the game did not end when asked; killed");
                // It may have ended in between; wait() tells either way.
                let _ = self.child.start_kill();
                self.child.wait().await.ok()
            }
        }
    }
}

#[cfg(unix)]
fn ask_to_end(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // Gone already: wait() tells.
        let _ = kill_process(pid, Signal::TERM);
    }
}

#[cfg(not(unix))]
fn ask_to_end(child: &mut Child) {
    let _ = child.start_kill();
}

/// The last lines of the error output; what is longer is cut.
async fn last_lines(stderr: Option<ChildStderr>) -> Vec<String> {
    let mut kept = VecDeque::new();
    if let Some(stderr) = stderr {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        // A line without end is read in pieces of the buffer's size, so memory stays bounded.
        while let Ok(bytes) = reader.fill_buf().await {
            if bytes.is_empty() {
                break;
            }
            let count = bytes.len();
            for byte in bytes {
                if *byte == b'\n' {
                    push_line(&mut kept, &mut line);
                } else if line.len() < LINE {
                    line.push(*byte);
                }
            }
            reader.consume(count);
        }
        push_line(&mut kept, &mut line);
    }
    kept.into()
}

fn push_line(kept: &mut VecDeque<String>, line: &mut Vec<u8>) {
    if line.is_empty() {
        return;
    }
    if kept.len() == LAST_LINES {
        kept.pop_front();
    }
    kept.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
    line.clear();
}
