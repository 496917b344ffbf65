//! A started game: held so that it ends with the launcher.
//!
//! Unix has process groups, and nothing that ends one when its launcher is killed; the program
//! `warp-keeper` stands in between for that. Windows has Job Objects.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

pub use crate::system::game::Process;

/// One start of a game. Its environment is the launcher's.
#[derive(Debug, Default)]
pub struct Launch {
    /// The program: the game's, or what runs it.
    pub program: OsString,
    /// Its command line, which everybody on this machine may read.
    pub arguments: Vec<OsString>,
    /// Where it is started; `None`: where the launcher runs.
    pub folder: Option<PathBuf>,
    /// What its standard input holds, to its end.
    pub input: Vec<u8>,
}

/// How a process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; `None`: it did not end by itself, or that is not known.
    pub code: Option<i32>,
    /// Unix signal that ended it.
    pub signal: Option<i32>,
    /// Somebody had asked for its end: this launcher, or who asked the keeper.
    pub asked: bool,
    /// What was odd about it.
    pub note: Option<&'static str>,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self {
            code: status.code(),
            signal: crate::signal_of(status),
            ..Self::default()
        }
    }
}

/// The system's words for why a program did not start.
#[derive(Debug)]
pub struct NotStarted(pub String);

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}
