//! `cargo xtask windows`: the launcher for Windows, built, tested and packed on Debian.
//!
//! ```text
//! toolchain   Debian's compiler with a standard library for Windows
//! wine        a prefix of its own; programs started in it
//! checks      everything compiled with clippy, and the tests that make sense under Wine
//! installer   installer, portable archive, checksums; installed, used and removed under Wine
//! ```
//!
//! What is made lies in `windows` in the build directory, which several clones may share.
//! docs/windows.md is the guide.

mod checks;
mod installer;
mod toolchain;
mod wine;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::packages::{self, Package};
use crate::summary::Outcome;
use crate::ui;
use crate::workspace::Workspace;

use toolchain::Toolchain;

pub(crate) use toolchain::DATE;

pub(crate) use installer::{Made, Release, write_sums};

/// What is done; without a word, all of it.
#[derive(Args)]
pub(crate) struct Options {
    /// Only compiles libraries, programs and tests, the launcher too, with clippy; a warning is an error.
    #[arg(long)]
    check: bool,
    /// Only the tests under Wine.
    #[arg(long)]
    test: bool,
    /// Only the installer and the portable archive, and their check under Wine.
    #[arg(long)]
    installer: bool,
    /// Only what Microsoft's own target compiles to, without linking.
    #[arg(long)]
    msvc: bool,
    /// Version of the packages; without it, the one in Cargo.toml.
    #[arg(long)]
    version: Option<String>,
    /// Cargo's profile of what is packed; `dev` is what the tests use, for trying this command.
    #[arg(long, default_value = "release")]
    profile: String,
    /// Program that signs the file that is its argument (Authenticode); called for each program, the
    /// uninstaller and the installer.
    #[arg(long, value_name = "PROGRAM")]
    sign: Option<PathBuf>,
}

/// Does what the options say.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let all = !(options.check || options.test || options.installer || options.msvc);
    if all || options.check {
        let tools = prepare(workspace, &[])?;
        checks::compile(&tools)?;
    }
    if all || options.msvc {
        checks::msvc(workspace)?;
    }
    if all || options.test {
        let tools = prepare(workspace, packages::WINE)?;
        let ran = checks::tests(&tools)?;
        println!("{ran} tests passed under Wine");
    }
    if all || options.installer {
        let release = Release {
            version: match &options.version {
                Some(version) => version.clone(),
                None => workspace.version()?,
            },
            key: None,
            profile: options.profile.clone(),
            sign: whole(options.sign.as_deref())?,
        };
        let made = packed(workspace, &release)?;
        for (file, _) in &made.files {
            let size = std::fs::metadata(file)?.len();
            println!("{} ({:.1} MB)", file.display(), size as f64 / 1e6);
        }
    }
    Ok(())
}

/// A program that was named by somebody who stands in another folder.
pub(crate) fn whole(program: Option<&Path>) -> Result<Option<PathBuf>> {
    let whole = program.map(std::fs::canonicalize).transpose();
    whole.with_context(|| format!("{}", program.unwrap_or(Path::new("")).display()))
}

/// Makes what players and operators get, and checks it under Wine.
pub(crate) fn packed(workspace: &Workspace, release: &Release) -> Result<Made> {
    let wanted = [packages::WINE, packages::INSTALLER].concat();
    let tools = prepare(workspace, &wanted)?;
    installer::make(&tools.with_profile(&release.profile), release)
}

/// The packages that a Windows release takes and this system lacks.
pub(crate) fn missing() -> Vec<&'static str> {
    let wanted = [packages::WINDOWS, packages::WINE, packages::INSTALLER].concat();
    packages::missing(&wanted)
}

/// The group of `cargo xtask test`, where an earlier run has compiled the dependencies. Its packages are
/// its own: not every Debian has them, and nobody else needs a second compiler.
pub(crate) fn group(workspace: &Workspace) -> Result<Outcome> {
    if !Toolchain::was_used(workspace) {
        return Ok(Outcome::Skipped(
            "nothing was compiled for Windows here yet, which takes long the first time; \
             `cargo xtask windows` does it"
                .into(),
        ));
    }
    let wanted = [packages::WINDOWS, packages::WINE].concat();
    if let Err(error) = packages::ensure(&wanted) {
        return Ok(Outcome::Skipped(format!("{error:#}")));
    }
    if !Toolchain::is_warm(workspace) {
        return Ok(Outcome::Skipped(
            "the compiler for Windows is another one than was used before; \
             `cargo xtask windows` begins anew"
                .into(),
        ));
    }
    let tools = prepare(workspace, packages::WINE)?;
    let ran = checks::tests(&tools)?;
    Ok(Outcome::Passed(format!("clippy, {ran} tests under Wine")))
}

/// What everything begins with.
fn prepare<'a>(workspace: &'a Workspace, further: &[Package]) -> Result<Toolchain<'a>> {
    let wanted = [packages::WINDOWS, further].concat();
    step("packages", || packages::ensure(&wanted))?;
    step("front end", || ui::build(workspace))?;
    step("standard library", || Toolchain::prepare(workspace))
}

/// Says what is done, and how long it took.
fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("--> {what}");
    let began = Instant::now();
    let done = work()?;
    println!("--> {what}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(done)
}
