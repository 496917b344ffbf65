//! A program that runs: its lines as they come, its end.
//!
//! Every wait has a generous limit and ends with all that the program wrote when it was in vain. A
//! process ends with its value: SIGTERM, then SIGKILL. One that panicked or logged an error fails
//! the test that started it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that anything is waited for, unless a test knows better.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long a process may take to end before it is killed, when its value ends.
const GRACE: Duration = Duration::from_secs(3);
/// Time between two looks at whether a process has ended.
const LOOK: Duration = Duration::from_millis(2);

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

#[derive(Default)]
struct Written {
    lines: Vec<Line>,
    /// Outputs that have ended.
    ended: usize,
}

#[derive(Default)]
struct Transcript {
    written: Mutex<Written>,
    changed: Condvar,
}

impl Transcript {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Line) {
        self.lock().lines.push(line);
        self.changed.notify_all();
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; `None`: by a signal.
    pub code: Option<i32>,
    /// From the beginning of the wait.
    pub took: Duration,
}

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    transcript: Arc<Transcript>,
    started: Instant,
    ended: Option<ExitStatus>,
    killed: bool,
}

impl Process {
    /// Starts `command`; `name` is what failures call it.
    pub fn start(name: &str, mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{name}: cannot start {command:?}: {error}; `cargo build --workspace --bins` makes the programs")
        });
        let transcript = Arc::new(Transcript::default());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        read(out.expect("piped"), Source::Out, &transcript, started);
        read(err.expect("piped"), Source::Err, &transcript, started);
        Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            transcript,
            started,
            ended: None,
            killed: false,
        }
    }

    /// What failures call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes the first line, a password, which the transcript does not keep.
    pub fn password(&mut self, password: &str) {
        self.write(password);
    }

    /// Writes a line to standard input.
    pub fn line(&mut self, line: &str) {
        self.transcript.push(Line {
            at: self.started.elapsed(),
            source: Source::In,
            text: line.to_owned(),
            event: None,
        });
        self.write(line);
    }

    fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        // A process that has ended says why by itself; the wait that follows shows it.
        let _ = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.transcript.lock().lines.clone()
    }

    /// How many lines there are: a place in the transcript from which to wait.
    pub fn mark(&self) -> usize {
        self.transcript.lock().lines.len()
    }

    /// All events so far whose name is `name`.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let written = self.transcript.lock();
        let events = written.lines.iter().filter_map(|line| line.event.clone());
        events.filter(|event| is(event, name)).collect()
    }

    /// Waits for the first line at or after `from` that `pick` takes, and gives the place behind it
    /// and what was picked.
    pub fn wait_line<T>(
        &self,
        from: usize,
        what: &str,
        limit: Duration,
        mut pick: impl FnMut(&Line) -> Option<T>,
    ) -> (usize, T) {
        let deadline = Instant::now() + limit;
        let mut at = from;
        let mut written = self.transcript.lock();
        loop {
            while let Some(line) = written.lines.get(at) {
                at += 1;
                if let Some(picked) = pick(line) {
                    return (at, picked);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let over = written.ended == 2;
            if over || left.is_zero() {
                drop(written);
                let why = if over { "it ended" } else { "time ran out" };
                panic!("{}: waited in vain for {what}: {why}", self.name);
            }
            written = self
                .transcript
                .changed
                .wait_timeout(written, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits for the first event at or after `from` with this name that `test` accepts.
    pub fn event_from(
        &self,
        from: usize,
        name: &str,
        limit: Duration,
        test: impl Fn(&Value) -> bool,
    ) -> (usize, Value) {
        let what = format!("a fitting event {name:?}");
        self.wait_line(from, &what, limit, |line| {
            line.event
                .clone()
                .filter(|event| is(event, name) && test(event))
        })
    }

    /// The first event with this name, whenever it came.
    pub fn event(&self, name: &str) -> Value {
        self.event_from(0, name, PATIENCE, |_| true).1
    }

    /// Waits until `count` further events of this name have come that `test` accepts; gives the
    /// place behind the last.
    pub fn events_more(
        &self,
        from: usize,
        name: &str,
        count: usize,
        test: impl Fn(&Value) -> bool,
    ) -> usize {
        (0..count).fold(from, |at, _| self.event_from(at, name, PATIENCE, &test).0)
    }

    /// Waits for an event `problem` with this code; gives the problem.
    pub fn problem(&self, code: &str) -> Value {
        let fits = |event: &Value| event["problem"]["code"] == code;
        let what = format!("a problem {code:?}");
        let picked = self.wait_line(0, &what, PATIENCE, |line| {
            let event = line.event.as_ref()?;
            (is(event, "problem") && fits(event)).then(|| event["problem"].clone())
        });
        picked.1
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::Term);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.killed = true;
        self.signal(Signal::Kill);
    }

    fn signal(&self, signal: Signal) {
        if self.ended.is_some() {
            return;
        }
        #[cfg(unix)]
        {
            use rustix::process::{Pid, Signal as Sig, kill_process};
            let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
            let signal = match signal {
                Signal::Term => Sig::TERM,
                Signal::Kill => Sig::KILL,
            };
            // It may have ended in between.
            let _ = pid.map(|pid| kill_process(pid, signal));
        }
        #[cfg(not(unix))]
        let _ = signal;
    }

    /// Waits for its end and for the end of its output.
    pub fn exit(&mut self, limit: Duration) -> Exit {
        let began = Instant::now();
        while began.elapsed() < limit {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                let took = began.elapsed();
                self.ended = Some(status);
                self.drain();
                let code = status.code();
                return Exit { code, took };
            }
            std::thread::sleep(LOOK);
        }
        panic!("{}: did not end within {limit:?}", self.name);
    }

    /// Waits until both outputs have ended too, unless somebody else holds them.
    fn drain(&self) {
        let written = self.transcript.lock();
        let waited = self
            .transcript
            .changed
            .wait_timeout_while(written, GRACE, |written| written.ended < 2);
        drop(waited);
    }

    /// What it wrote, for people.
    fn show(&self) -> String {
        let mut text = format!("---- {} (process {})\n", self.name, self.pid());
        for line in self.lines() {
            let mark = match line.source {
                Source::Out => ' ',
                Source::Err => '!',
                Source::In => '>',
            };
            text += &format!("{:9.3} {mark} {}\n", line.at.as_secs_f64(), line.text);
        }
        text
    }

    /// A line that no good run has.
    fn alarm(&self) -> Option<String> {
        let bad = |line: &Line| {
            line.source == Source::Err
                && (line.text.contains("panicked at") || line.text.contains(" ERROR "))
        };
        let lines = self.lines();
        let line = lines.into_iter().find(bad);
        line.map(|line| line.text)
    }
}

enum Signal {
    Term,
    Kill,
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.terminate();
            let began = Instant::now();
            while self.ended.is_none() && began.elapsed() < GRACE {
                self.ended = self.child.try_wait().ok().flatten();
                std::thread::sleep(LOOK);
            }
            if self.ended.is_none() {
                // The last resort; what follows shows it.
                let _ = self.child.kill();
                self.ended = self.child.wait().ok();
                if !self.killed && !std::thread::panicking() {
                    panic!("{}: had to be killed\n{}", self.name, self.show());
                }
            }
            self.drain();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.show());
        } else if let Some(line) = self.alarm() {
            panic!("{}: {line}\n{}", self.name, self.show());
        }
    }
}

/// True for an event of this name.
pub fn is(event: &Value, name: &str) -> bool {
    event["event"] == name
}

fn read(
    from: impl Read + Send + 'static,
    source: Source,
    transcript: &Arc<Transcript>,
    started: Instant,
) {
    let transcript = Arc::clone(transcript);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut bytes = Vec::new();
        while let Ok(1..) = reader.read_until(b'\n', &mut bytes) {
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim_end_matches(['\r', '\n']).to_owned();
            let event = (source == Source::Out)
                .then(|| serde_json::from_str(&text).ok())
                .flatten();
            transcript.push(Line {
                at: started.elapsed(),
                source,
                text,
                event,
            });
            bytes.clear();
        }
        transcript.lock().ended += 1;
        transcript.changed.notify_all();
    });
}
