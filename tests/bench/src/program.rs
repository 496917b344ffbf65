//! A program that runs beside the measurement: its lines, its end.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use warp_tests::transcript::{Line, Transcript, ask_to_end, wait_end};

/// How long a program may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(4);
/// Lines of it that a failure shows.
const SHOWN: usize = 12;

/// The folder of the programs that are measured: `WARP_BIN_DIR`, else where this one lies.
///
/// # Errors
/// This program does not know where it lies.
pub(crate) fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("WARP_BIN_DIR") {
        return Ok(PathBuf::from(folder));
    }
    let own = std::env::current_exe()?;
    Ok(own.parent().context("no folder")?.to_owned())
}

/// One of our programs.
///
/// # Errors
/// It is not there.
pub(crate) fn ours(name: &str) -> Result<PathBuf> {
    let file = folder()?.join(name);
    if !file.is_file() {
        bail!(
            "{name} is not built: run `cargo xtask bench`, which builds the programs it measures"
        );
    }
    Ok(file)
}

/// A running program; it ends with its value.
pub(crate) struct Program {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    transcript: Arc<Transcript>,
}

impl Program {
    /// Starts it; `name` is what failures call it.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let transcript = Transcript::of(&mut child);
        Ok(Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            transcript,
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    /// It does not read any more.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("no standard input")?;
        writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .with_context(|| format!("{} does not read its input", self.name))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is not there any more.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok();
        let id = id.and_then(Pid::from_raw).context("no process id")?;
        kill_process(id, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// How many lines there are: a place from which to look.
    pub(crate) fn mark(&self) -> usize {
        self.transcript.mark()
    }

    /// The lines from this place on.
    pub(crate) fn lines_from(&self, from: usize) -> Vec<Line> {
        self.transcript.lines_from(from)
    }

    /// When this line came.
    pub(crate) fn time_of(&self, line: &Line) -> Instant {
        self.transcript.time_of(line)
    }

    /// Waits for the first line from this place on that `pick` takes.
    ///
    /// # Errors
    /// The program ended, or time ran out; the text holds its last lines.
    pub(crate) fn wait<T>(
        &self,
        from: usize,
        what: &str,
        limit: Duration,
        pick: impl FnMut(&Line) -> Option<T>,
    ) -> Result<T> {
        match self.transcript.wait(from, limit, pick) {
            Ok((_, picked)) => Ok(picked),
            Err(why) => {
                let lines = self.lines_from(0);
                let first = lines.len().saturating_sub(SHOWN);
                let last: Vec<_> = (lines.iter().skip(first))
                    .map(|line| line.text.as_str())
                    .collect();
                bail!(
                    "{}: waited in vain for {what}: {why}; its last lines:\n{}",
                    self.name,
                    last.join("\n")
                );
            }
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It ended with another code than 0, or not at all.
    pub(crate) fn succeed(mut self, limit: Duration) -> Result<()> {
        self.stdin = None;
        match wait_end(&mut self.child, limit) {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                self.transcript.drain(GRACE);
                let lines = self.lines_from(0);
                let text: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
                bail!("{} ended with {status}: {}", self.name, text.join("\n"));
            }
            None => bail!("{} did not end", self.name),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            ask_to_end(&self.child);
        }
        if wait_end(&mut self.child, GRACE).is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
