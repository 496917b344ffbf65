//! A stand-in for a game in the tests of supervision: it does what its arguments say, in their
//! order, and tells a test about itself over a TCP connection. That the connection ends is how a
//! test sees that the process is gone.
//!
//! | argument | does |
//! |---|---|
//! | `--report ADDRESS` | connects, tells `NAME PID PARENT` |
//! | `--name NAME` | its name in the reports after this (`game`) |
//! | `--tell` | tells its folder and all its arguments, one line each |
//! | `--ignore-term` | SIGTERM does nothing from now on |
//! | `--child ARGUMENT...` | starts itself with the arguments up to `--end`, and goes on |
//! | `--read-stdin` | tells the first line of its standard input, or `stdin ended` |
//! | `--stderr TEXT` | writes a line there |
//! | `--log FILE TEXT` | appends a line to the file |
//! | `--exit N`, `--abort` | ends |
//! | `--wait` | lives until the test says `exit N`; answers `ping`; ends when the test does |
//! | `client --login ADDRESS ..` | stands for the practice client: reports to ADDRESS |
//! | anything else | nothing |
// Children are left to themselves: that is what the tests are about.
#![allow(clippy::print_stderr, clippy::expect_used, clippy::zombie_processes)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio, exit};

struct Report(Option<TcpStream>);

impl Report {
    fn tell(&mut self, line: &str) {
        let mut stream = self.0.as_ref().expect("--report comes first");
        stream
            .write_all(format!("{line}\n").as_bytes())
            .expect("the test listens");
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let all: Vec<String> = std::env::args().skip(1).collect();
    let mut arguments = all.iter();
    let mut next = || arguments.next().map(String::as_str);
    let mut name = "game".to_owned();
    let mut report = Report(None);
    let mut ignored = Vec::new();
    while let Some(argument) = next() {
        match argument {
            "--report" | "--login" => {
                let address = next().expect("an address");
                report.0 = Some(TcpStream::connect(address).expect("the test listens"));
                report.tell(&format!("{name} {} {}", std::process::id(), parent()));
            }
            "--name" => name = next().expect("a name").to_owned(),
            "--tell" => {
                let folder = std::env::current_dir().expect("a folder");
                report.tell(&format!("folder {}", folder.display()));
                for argument in &all {
                    report.tell(&format!("argument {argument}"));
                }
                report.tell("told");
            }
            "--ignore-term" => ignored.push(warp_platform::Signals::listen().expect("handlers")),
            "--child" => {
                let program = std::env::current_exe().expect("a path");
                let mut command = Command::new(program);
                while let Some(argument) = next().filter(|argument| *argument != "--end") {
                    command.arg(argument);
                }
                command.stdin(Stdio::null()).spawn().expect("a child");
            }
            "--read-stdin" | "--password-stdin" => {
                let mut line = String::new();
                let count = std::io::stdin()
                    .lock()
                    .read_line(&mut line)
                    .expect("standard input");
                match count {
                    0 => report.tell("stdin ended"),
                    _ => report.tell(&format!("stdin {}", line.trim_end())),
                }
            }
            "--stderr" => eprintln!("{}", next().expect("a text")),
            "--log" => {
                let file = next().expect("a file");
                let mut file = std::fs::File::options()
                    .create(true)
                    .append(true)
                    .open(file)
                    .expect("the log");
                writeln!(file, "{}", next().expect("a text")).expect("the log");
            }
            "--exit" => exit(next().and_then(|code| code.parse().ok()).expect("a code")),
            "--abort" => std::process::abort(),
            "--wait" => wait(&mut report),
            _ => {}
        }
    }
}

fn wait(report: &mut Report) {
    let stream = report.0.as_ref().expect("--report comes first");
    let lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
    for line in lines {
        match line.ok().as_deref() {
            Some("ping") => report.tell("pong"),
            Some(line) => {
                let code = line
                    .strip_prefix("exit ")
                    .and_then(|code| code.parse().ok());
                report.tell("bye");
                exit(code.expect("a code"));
            }
            None => break,
        }
    }
    exit(99)
}

#[cfg(unix)]
fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

#[cfg(not(unix))]
fn parent() -> u32 {
    0
}
