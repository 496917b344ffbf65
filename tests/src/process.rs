//! A program that runs: its lines as they come, its end.
//!
//! Every wait has a generous limit and ends with all that the program wrote when it was in vain. A
//! process ends with its value: SIGTERM, then SIGKILL. One that panicked or logged an error fails
//! the test that started it.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use crate::transcript::{Line, Source};
use crate::transcript::{Transcript, ask_to_end, wait_end};

/// The longest that anything is waited for, unless a test knows better.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long a process may take to end before it is killed, when its value ends.
const GRACE: Duration = Duration::from_secs(3);
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
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{name}: cannot start {command:?}: {error}; `cargo build --workspace --bins` makes the programs")
        });
        let transcript = Transcript::of(&mut child);
        Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            transcript,
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
        self.transcript.note(line);
        self.write(line);
    }

    fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        // A process that has ended says why by itself; the wait that follows shows it.
        let _ = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.transcript.lines_from(0)
    }

    /// How many lines there are: a place in the transcript from which to wait.
    pub fn mark(&self) -> usize {
        self.transcript.mark()
    }

    /// All events so far whose name is `name`.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let lines = self.lines().into_iter();
        let events = lines.filter_map(|line| line.event);
        events.filter(|event| is(event, name)).collect()
    }

    /// Waits for the first line at or after `from` that `pick` takes, and gives the place behind it
    /// and what was picked.
    pub fn wait_line<T>(
        &self,
        from: usize,
        what: &str,
        limit: Duration,
        pick: impl FnMut(&Line) -> Option<T>,
    ) -> (usize, T) {
        let waited = self.transcript.wait(from, limit, pick);
        waited.unwrap_or_else(|why| panic!("{}: waited in vain for {what}: {why}", self.name))
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
        if self.ended.is_none() {
            ask_to_end(&self.child);
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.killed = true;
        if self.ended.is_none() {
            // It may have ended in between.
            let _ = self.child.kill();
        }
    }

    /// Stops it where it is, as a machine that hangs: its sockets stay open and say nothing.
    #[cfg(unix)]
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Has it go on after [`Process::freeze`].
    #[cfg(unix)]
    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the process runs");
    }

    /// Waits for its end and for the end of its output.
    pub fn exit(&mut self, limit: Duration) -> Exit {
        let began = Instant::now();
        let Some(status) = wait_end(&mut self.child, limit) else {
            panic!("{}: did not end within {limit:?}", self.name);
        };
        let took = began.elapsed();
        self.ended = Some(status);
        self.transcript.drain(GRACE);
        let code = status.code();
        Exit { code, took }
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

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            if cfg!(windows) {
                // There nobody can be asked.
                self.kill();
            } else {
                self.terminate();
            }
            self.ended = wait_end(&mut self.child, GRACE);
            if self.ended.is_none() {
                // The last resort; what follows shows it.
                let _ = self.child.kill();
                self.ended = self.child.wait().ok();
                if !self.killed && !std::thread::panicking() {
                    panic!("{}: had to be killed\n{}", self.name, self.show());
                }
            }
            self.transcript.drain(GRACE);
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
