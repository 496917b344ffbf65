//! `warp-keeper PROGRAM ARGS...`: starts a game, watches it, and ends it with its launcher.
//!
//! A launcher that is killed cannot end its games itself. So it starts this program between itself
//! and the game, and holds the other end of its standard input: that end closes with the launcher,
//! however it ends. Everything on the command line is the game's.
//!
//! The game gets a process group of its own, the environment and the current folder of the keeper,
//! no standard output, and the keeper's standard error, to which the keeper itself writes nothing
//! once the game runs.
//!
//! **Standard input**: lines, at most [`MAX_LINE`] bytes each.
//!
//! | line | meaning |
//! |---|---|
//! | `stdin HEX` | these bytes go to the game's standard input; at most [`WAITING`] such lines wait for a game that does not read |
//! | `close` | the game's standard input ends, after what was sent before |
//! | `stop` | end the game |
//! | end of input | the launcher is gone: end the game |
//!
//! SIGHUP, SIGINT, SIGQUIT and SIGTERM mean `stop` too.
//!
//! Ending is: SIGTERM (and SIGCONT, for a stopped game) to the whole process group, and SIGKILL to
//! what is left of it after [`GRACE`]. Processes that left the group on purpose are not touched:
//! under Wine they belong to other programs of the same prefix as well.
//!
//! **Standard output**: one JSON object per line.
//!
//! | line | when |
//! |---|---|
//! | `{"event":"started","pid":N}` | the game runs; N is its process and its process group |
//! | `{"event":"not-started","kind":K,"message":M}` | it does not; K is `not-found`, `permission-denied` or `other`. The last line |
//! | `{"event":"exited","code":N,"signal":N,"asked":B}` | the started process has ended; the number that does not apply is null. B: the keeper had been asked to end it |
//! | `{"event":"refused","why":W}` | a line of the input was not understood or not carried out |
//! | `{"event":"ended","all":B}` | nothing of the process group is left (B false: something could not be killed). The last line |
//!
//! A started process may hand over to another one of its group and end; the keeper stays until the
//! whole group has ended or it is asked to end it.
//!
//! **Exit code**: 0 when the group has ended, 1 when the game was not started or could not be
//! killed, 2 for a wrong command line.

#[cfg(unix)]
mod group;
#[cfg(unix)]
mod input;
#[cfg(unix)]
mod keep;
#[cfg(unix)]
mod report;

use std::process::ExitCode;

#[cfg(all(doc, unix))]
use crate::{
    input::{MAX_LINE, WAITING},
    keep::GRACE,
};

/// Wrong command line.
const USAGE: u8 = 2;

#[cfg(unix)]
fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        return refuse(
            "usage: warp-keeper PROGRAM [ARGUMENT...] (started by the launcher)",
            USAGE,
        );
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("warp-keeper: {error}"), 1),
    };
    let code = match runtime.block_on(keep::keep(&program, arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => refuse(&format!("warp-keeper: {error}"), 1),
    };
    // The thread that reads standard input may still wait for a line.
    runtime.shutdown_background();
    code
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    refuse(
        "warp-keeper is not needed here: the launcher puts its games into a Job Object",
        USAGE,
    )
}

/// No game runs at this point, so standard error is the keeper's.
#[allow(clippy::print_stderr)]
fn refuse(text: &str, code: u8) -> ExitCode {
    eprintln!("{text}");
    ExitCode::from(code)
}
