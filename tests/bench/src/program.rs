//! A program that runs beside the measurement: its lines, its end.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

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

/// A line that a program wrote.
#[derive(Clone)]
pub(crate) struct Line {
    /// When it was read.
    pub(crate) at: Instant,
    /// To standard output (else to standard error).
    pub(crate) out: bool,
    /// Without its end.
    pub(crate) text: String,
}

#[derive(Default)]
struct Written {
    lines: Vec<Line>,
    /// Outputs that have ended.
    ended: usize,
}

#[derive(Default)]
struct Output {
    written: Mutex<Written>,
    changed: Condvar,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running program; it ends with its value.
pub(crate) struct Program {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
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
        let output = Arc::new(Output::default());
        if let Some(out) = child.stdout.take() {
            read(out, true, &output);
        }
        if let Some(err) = child.stderr.take() {
            read(err, false, &output);
        }
        Ok(Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            output,
        })
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

    /// How many lines there are: a place from which to look.
    pub(crate) fn mark(&self) -> usize {
        self.output.lock().lines.len()
    }

    /// The lines from this place on.
    pub(crate) fn lines_from(&self, from: usize) -> Vec<Line> {
        let written = self.output.lock();
        written.lines.get(from..).unwrap_or_default().to_vec()
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
        mut pick: impl FnMut(&Line) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        let mut at = from;
        let mut written = self.output.lock();
        loop {
            while let Some(line) = written.lines.get(at) {
                at += 1;
                if let Some(picked) = pick(line) {
                    return Ok(picked);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if written.ended == 2 || left.is_zero() {
                let first = written.lines.len().saturating_sub(SHOWN);
                let last = written.lines.iter().skip(first);
                let last: Vec<_> = last.map(|line| line.text.as_str()).collect();
                let name = &self.name;
                bail!(
                    "{name}: waited in vain for {what}; its last lines:\n{}",
                    last.join("\n")
                );
            }
            let waited = self.output.changed.wait_timeout(written, left);
            written = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It ended with another code than 0, or not at all.
    pub(crate) fn succeed(mut self, limit: Duration) -> Result<()> {
        self.stdin = None;
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    let lines = self.lines_from(0);
                    let text: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
                    bail!("{} ended with {status}: {}", self.name, text.join("\n"));
                }
                None if Instant::now() >= deadline => bail!("{} did not end", self.name),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok();
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw)
            && matches!(self.child.try_wait(), Ok(None))
        {
            // It may end by itself in between.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        let deadline = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                self.child.kill().ok();
                self.child.wait().ok();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn read(from: impl Read + Send + 'static, out: bool, output: &Arc<Output>) {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut bytes = Vec::new();
        while let Ok(1..) = reader.read_until(b'\n', &mut bytes) {
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim_end_matches(['\r', '\n']).to_owned();
            let at = Instant::now();
            output.lock().lines.push(Line { at, out, text });
            output.changed.notify_all();
            bytes.clear();
        }
        output.lock().ended += 1;
        output.changed.notify_all();
    });
}
