//! What a program writes, line by line as it comes, and its end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Time between two looks at whether a process has ended.
pub(crate) const LOOK: Duration = Duration::from_millis(2);

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// What we wrote to standard input (not the first line, which is a password).
    In,
}

/// A line of a process.
#[derive(Debug, Clone)]
pub struct Line {
    /// Since the process was started.
    pub at: Duration,
    /// Where it came from.
    pub source: Source,
    /// Without its end.
    pub text: String,
    /// The text as JSON, if it is an object on standard output.
    pub event: Option<Value>,
}

/// Why a wait was in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vain {
    /// Both outputs have ended.
    Ended,
    /// Time ran out.
    Time,
}

impl std::fmt::Display for Vain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Vain::Ended => "it ended",
            Vain::Time => "time ran out",
        })
    }
}

#[derive(Default)]
struct Written {
    lines: Vec<Line>,
    /// Outputs that have ended.
    ended: usize,
}

/// All that a process wrote, and was written.
pub struct Transcript {
    started: Instant,
    written: Mutex<Written>,
    changed: Condvar,
}

impl Transcript {
    /// Of a child that was just started with both outputs piped.
    pub fn of(child: &mut Child) -> Arc<Self> {
        let transcript = Arc::new(Self {
            started: Instant::now(),
            written: Mutex::default(),
            changed: Condvar::new(),
        });
        let (out, err) = (child.stdout.take(), child.stderr.take());
        read(out.expect("piped"), Source::Out, &transcript);
        read(err.expect("piped"), Source::Err, &transcript);
        transcript
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, source: Source, text: String) {
        let event = (source == Source::Out)
            .then(|| serde_json::from_str(&text).ok())
            .flatten();
        self.lock().lines.push(Line {
            at: self.started.elapsed(),
            source,
            text,
            event,
        });
        self.changed.notify_all();
    }

    /// Notes a line that is written to the process.
    pub fn note(&self, line: &str) {
        self.push(Source::In, line.to_owned());
    }

    /// When this line came.
    pub fn time_of(&self, line: &Line) -> Instant {
        self.started + line.at
    }

    /// How many lines there are: a place from which to look.
    pub fn mark(&self) -> usize {
        self.lock().lines.len()
    }

    /// The lines from this place on.
    pub fn lines_from(&self, from: usize) -> Vec<Line> {
        self.lock().lines.get(from..).unwrap_or_default().to_vec()
    }

    /// Waits for the first line at or after `from` that `pick` takes, and gives the place behind it
    /// and what was picked.
    ///
    /// # Errors
    /// It did not come.
    pub fn wait<T>(
        &self,
        from: usize,
        limit: Duration,
        mut pick: impl FnMut(&Line) -> Option<T>,
    ) -> Result<(usize, T), Vain> {
        let deadline = Instant::now() + limit;
        let mut at = from;
        let mut written = self.lock();
        loop {
            while let Some(line) = written.lines.get(at) {
                at += 1;
                if let Some(picked) = pick(line) {
                    return Ok((at, picked));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if written.ended == 2 {
                return Err(Vain::Ended);
            }
            if left.is_zero() {
                return Err(Vain::Time);
            }
            written = self
                .changed
                .wait_timeout(written, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits until both outputs have ended, unless somebody else holds them.
    pub fn drain(&self, limit: Duration) {
        let written = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(written, limit, |written| written.ended < 2);
        drop(waited);
    }
}

fn read(from: impl Read + Send + 'static, source: Source, transcript: &Arc<Transcript>) {
    let transcript = Arc::clone(transcript);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut bytes = Vec::new();
        while let Ok(1..) = reader.read_until(b'\n', &mut bytes) {
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim_end_matches(['\r', '\n']).to_owned();
            transcript.push(source, text);
            bytes.clear();
        }
        transcript.lock().ended += 1;
        transcript.changed.notify_all();
    });
}

/// Waits for the end of `child`; `None` if it does not come in time.
pub fn wait_end(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if began.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

/// Asks `child` to end. On Windows nobody can be asked.
pub fn ask_to_end(child: &Child) {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // It may have ended in between.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
    }
    #[cfg(not(unix))]
    let _ = child;
}
