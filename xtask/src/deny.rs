//! cargo-deny: found, or built once into a folder outside of the work tree.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::exec;
use crate::summary::Outcome;
use crate::workspace::Workspace;

/// The version that is installed where none is found.
const VERSION: &str = "0.20.2";
/// Where the advisories come from.
const ADVISORIES: &str = "https://github.com/RustSec/advisory-db";

/// Licences, bans and sources always; advisories only where their database can be fetched.
pub(crate) fn check(workspace: &Workspace) -> Result<Outcome> {
    let program = match find_or_install(workspace) {
        Ok(program) => program,
        Err(error) => {
            return Ok(Outcome::Skipped(format!(
                "cargo-deny is missing and could not be installed: {error:#}"
            )));
        }
    };
    let deny = |what: &[&str]| {
        let mut command = workspace.program(&program);
        command.args(["--workspace", "check", "--hide-inclusion-graph"]);
        exec::run(command.args(what))
    };
    deny(&["licenses", "bans", "sources"])?;
    if advisories_reachable() {
        deny(&["advisories"])?;
        Ok(Outcome::Passed(String::new()))
    } else {
        Ok(Outcome::Passed(format!(
            "advisories not checked: {ADVISORIES} cannot be reached"
        )))
    }
}

fn advisories_reachable() -> bool {
    exec::succeeds(
        Command::new("git")
            .args(["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=10"])
            .args(["ls-remote", "--exit-code", ADVISORIES, "HEAD"])
            .env("GIT_TERMINAL_PROMPT", "0"),
    )
}

fn find_or_install(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(program) = exec::which("cargo-deny") {
        return Ok(program);
    }
    let tools = tools_folder()?;
    let program = tools.join(format!("bin/cargo-deny{}", std::env::consts::EXE_SUFFIX));
    if !program.is_file() {
        println!(
            "building cargo-deny {VERSION} once, into {}",
            tools.display()
        );
        // Not optimised: it builds in about a minute instead of many, and checks as well.
        exec::run(
            (workspace.cargo())
                .args([
                    "install",
                    "--locked",
                    "-q",
                    "cargo-deny",
                    "--version",
                    VERSION,
                ])
                .arg("--root")
                .arg(&tools)
                .env("CARGO_TARGET_DIR", tools.join("build"))
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
                .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256"),
        )?;
        std::fs::remove_dir_all(tools.join("build")).ok();
    }
    Ok(program)
}

/// `~/.cache/warp-launcher/tools`, outside of every clone so that all of them use it.
fn tools_folder() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("warp-launcher/tools"))
}
