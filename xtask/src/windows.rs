//! `cargo xtask windows`: the code of the launcher for Windows, checked on Debian.
//!
//! What is made lies in `windows` in the build directory, which several clones may share.
//! docs/windows.md is the guide.

mod toolchain;

use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::summary::Outcome;
use crate::workspace::Workspace;
use crate::{exec, packages, ui};

use toolchain::Toolchain;

/// What is done.
#[derive(Args)]
pub(crate) struct Options {
    /// Clippy over all libraries and programs, the launcher too; a warning is an error.
    #[arg(long, required = true)]
    check: bool,
}

/// Does what the options say.
pub(crate) fn run(workspace: &Workspace, _: &Options) -> Result<()> {
    check(workspace)
}

/// The group of `cargo xtask test`, where an earlier run has checked the dependencies. Its packages are
/// its own: not every Debian has them, and nobody else needs a second compiler.
pub(crate) fn group(workspace: &Workspace) -> Result<Outcome> {
    if !Toolchain::was_used(workspace) {
        return Ok(Outcome::Skipped(
            "nothing was checked for Windows here yet, which takes long the first time; \
             `cargo xtask windows --check` does it"
                .into(),
        ));
    }
    if let Err(error) = packages::ensure(packages::WINDOWS) {
        return Ok(Outcome::Skipped(format!("{error:#}")));
    }
    if !Toolchain::is_warm(workspace) {
        return Ok(Outcome::Skipped(
            "the compiler for Windows is another one than was used before; \
             `cargo xtask windows --check` begins anew"
                .into(),
        ));
    }
    check(workspace)?;
    Ok(Outcome::Passed("clippy".into()))
}

fn check(workspace: &Workspace) -> Result<()> {
    step("packages", || packages::ensure(packages::WINDOWS))?;
    step("front end", || ui::build(workspace))?;
    let tools = step("standard library", || Toolchain::prepare(workspace))?;
    step("clippy", || {
        let mut clippy = tools.cargo(&["clippy", "--lib", "--bins"]);
        exec::run(clippy.args(["--", "-D", "warnings"]))
    })?;
    tools.set_warm()
}

/// Says what is done, and how long it took.
fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("--> {what}");
    let began = Instant::now();
    let done = work()?;
    println!("--> {what}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(done)
}
