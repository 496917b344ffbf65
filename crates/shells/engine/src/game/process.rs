//! A started game: held so that it ends with the launcher.
//!
//! Unix has process groups, and nothing that ends one when its launcher is killed; the program
//! `warp-keeper` stands in between for that. Windows has Job Objects.

use std::io;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::Process;
#[cfg(windows)]
pub(super) use windows::Process;

/// How long the game may take to end when it is asked to.
#[cfg(unix)]
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// How a process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Exit {
    /// Exit code; `None`: it did not end by itself, or that is not known.
    pub(super) code: Option<i32>,
    /// Unix signal that ended it.
    pub(super) signal: Option<i32>,
    /// Somebody had asked for its end: this launcher, or who asked the keeper.
    pub(super) asked: bool,
    /// What was odd about it.
    pub(super) note: Option<&'static str>,
}

impl From<std::process::ExitStatus> for Exit {
    fn from(status: std::process::ExitStatus) -> Self {
        #[cfg(unix)]
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        #[cfg(not(unix))]
        let signal = None;
        Self {
            code: status.code(),
            signal,
            ..Self::default()
        }
    }
}

/// The system's words for why a program did not start.
#[derive(Debug)]
pub(super) struct NotStarted(pub(super) String);

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}
