//! From start to end of one game.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

use crate::group::{Group, adopt_orphans};
use crate::input::{Ask, Feed, asks};
use crate::report::Report;

/// How long the game may take to end when it is asked to, and after that to be killed.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// After the started process has ended, the end of processes that are not the keeper's children is
/// found by looking this often.
const LOOK: Duration = Duration::from_millis(500);

/// How far ending has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    /// Asked; killed at the instant.
    Asked(Instant),
    /// Killed; given up at the instant.
    Killed(Instant),
}

impl Ending {
    fn due(self) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::Asked(at) | Self::Killed(at) => Some(at),
        }
    }
}

/// Starts `program` and stays until it has ended. True: it ran and nothing of it is left.
pub(crate) async fn keep(
    program: &OsStr,
    arguments: impl Iterator<Item = OsString>,
) -> io::Result<bool> {
    // Before the game is there, so that neither its end nor a signal can be missed.
    let mut child_ended = signal(SignalKind::child())?;
    let mut wishes = Wishes::new()?;
    adopt_orphans();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => "not-found",
                io::ErrorKind::PermissionDenied => "permission-denied",
                _ => "other",
            };
            let message = error.to_string();
            Report::NotStarted { kind, message }.tell();
            return Ok(false);
        }
    };
    let mut group = Group::of(&child)?;
    let mut feed = Feed::new(child.stdin.take());
    Report::Started { pid: group.id() }.tell();

    let mut asks = asks();
    let mut ending = Ending::No;
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let stop = tokio::select! {
            _ = child_ended.recv() => false,
            _ = looks.tick(), if group.leader_ended() => false,
            () = wishes.recv(), if ending == Ending::No => true,
            ask = asks.recv(), if ending == Ending::No => match ask {
                Some(Ask::Stdin(bytes)) => { feed.give(bytes); false }
                Some(Ask::Close) => { feed.close(); false }
                Some(Ask::Unknown) => { Report::Refused { why: "not understood" }.tell(); false }
                Some(Ask::Stop) | None => true,
            },
            () = until(ending.due()) => match ending {
                Ending::Killed(_) => {
                    Report::Ended { all: false }.tell();
                    return Ok(false);
                }
                _ => {
                    group.send(Signal::KILL);
                    ending = Ending::Killed(Instant::now() + GRACE);
                    false
                }
            },
        };
        // What ended before it was asked to was not asked to.
        let empty = group.look(ending != Ending::No);
        if stop && !empty {
            group.send(Signal::TERM);
            group.send(Signal::CONT);
            ending = Ending::Asked(Instant::now() + GRACE);
        }
        if empty {
            Report::Ended { all: true }.tell();
            return Ok(true);
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Signals that ask to end.
struct Wishes {
    hangup: Signals,
    interrupt: Signals,
    quit: Signals,
    terminate: Signals,
}

impl Wishes {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => (),
            _ = self.interrupt.recv() => (),
            _ = self.quit.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}
