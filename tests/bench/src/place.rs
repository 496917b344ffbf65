//! Where programs and sockets live: this machine as it is, or a network namespace.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::Result;
use warp_lab::Namespace;

/// Where something runs.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// This machine.
    Here,
    /// A namespace.
    Inside(&'a Namespace),
}

impl Place<'_> {
    /// A command whose process lives here.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Place::Here => Command::new(program),
            Place::Inside(namespace) => namespace.command(program),
        }
    }

    /// Runs `task` here; sockets that it makes stay here.
    pub(crate) fn within<T: Send>(self, task: impl FnOnce() -> T + Send) -> Result<T> {
        match self {
            Place::Here => Ok(task()),
            Place::Inside(namespace) => namespace.within(task),
        }
    }
}
