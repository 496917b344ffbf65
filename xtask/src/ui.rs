//! The front end in `ui/`: installed and built with npm, only when its sources changed.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use crate::exec;
use crate::workspace::Workspace;

/// The oldest Node.js that the front end's tools run on.
const NODE_MAJOR: u32 = 20;

/// The script of `package.json` that runs the tests in a browser.
const BROWSER_TESTS: &str = "test:browser";

/// Whether this work tree has a front end.
pub(crate) fn exists(workspace: &Workspace) -> bool {
    workspace.root.join("ui/package.json").is_file()
}

/// npm, started in `ui/`.
fn npm(workspace: &Workspace) -> Command {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.current_dir(workspace.root.join("ui"));
    command
}

/// Fails with advice if Node.js or npm is missing or too old.
pub(crate) fn check_node() -> Result<()> {
    let advice = format!("Node.js {NODE_MAJOR} or newer with npm is needed: https://nodejs.org");
    let version = exec::capture(Command::new("node").arg("--version")).context(advice.clone())?;
    let major = version.trim().trim_start_matches('v').split('.').next();
    let major: u32 = (major.and_then(|text| text.parse().ok()))
        .with_context(|| format!("`node --version` said {version:?}"))?;
    if major < NODE_MAJOR {
        bail!("Node.js {} is too old. {advice}", version.trim());
    }
    exec::capture(Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" }).arg("--version"))
        .context(advice)?;
    Ok(())
}

/// Installs the packages of the lock file and builds `ui/dist`, where needed.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let ui = workspace.root.join("ui");
    check_node()?;
    let installed = modified(&ui.join("node_modules/.package-lock.json"));
    let wanted = modified(&ui.join("package-lock.json")).max(modified(&ui.join("package.json")));
    if installed.is_none() || installed < wanted {
        exec::run(npm(workspace).args(["ci", "--no-audit", "--no-fund"]))?;
    }
    let built = modified(&ui.join("dist/index.html"));
    if built.is_none() || built < newest_source(&ui)? {
        exec::run(npm(workspace).args(["run", "build"]))?;
    }
    Ok(())
}

/// Type check and tests; [`build`] comes before.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    exec::run(npm(workspace).args(["run", "check"]))?;
    exec::run(npm(workspace).arg("test"))
}

/// Whether the front end has tests for a browser.
pub(crate) fn has_browser_tests(workspace: &Workspace) -> bool {
    let manifest = std::fs::read_to_string(workspace.root.join("ui/package.json"));
    manifest.is_ok_and(|text| text.contains(&format!("\"{BROWSER_TESTS}\":")))
}

/// The tests of the built front end and of the coordinator's page in a browser; [`build`] and the programs
/// come before.
pub(crate) fn browser_tests(workspace: &Workspace) -> Command {
    let mut command = npm(workspace);
    command.args(["run", BROWSER_TESTS]);
    command.env("WARP_BIN_DIR", workspace.programs("debug"));
    command
}

fn modified(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|data| data.modified()).ok()
}

/// When the youngest file of the front end was changed, outputs aside.
fn newest_source(folder: &Path) -> Result<Option<SystemTime>> {
    let mut newest = None;
    let entries = std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            let outputs = ["node_modules", "dist", "test-results"];
            if !outputs.iter().any(|name| entry.file_name() == *name) {
                newest = newest.max(newest_source(&path)?);
            }
        } else {
            newest = newest.max(modified(&path));
        }
    }
    Ok(newest)
}
