//! What is compiled for Windows with clippy, and the tests that make sense under Wine.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::step;
use super::toolchain::Toolchain;
use super::wine::{Wine, windows_path};
use crate::workspace::Workspace;
use crate::{exec, packages, ui};

/// What runs under Wine. Linking takes the longest, so these are few: data channels on the loopback,
/// session links, the bridge, the endpoint, the supervision of a game, and whole sessions of the shipped
/// programs.
const TESTS: [(&str, &str); 7] = [
    ("crates/shells/link", "webrtc"),
    ("crates/shells/link-driver", "streams"),
    ("crates/shells/bridge", "doors"),
    ("crates/shells/endpoint", "sessions"),
    ("crates/shells/updates", "program"),
    ("crates/shells/keeper", "supervision"),
    ("tests", "windows_play"),
];
/// Tests of these that want a program to learn that its connection was reset. Wine 8 reads the error off
/// the socket itself (`SO_ERROR`) and does not hand it on, so the program sees an ordinary end.
const SKIPPED: [&str; 2] = [
    "a_client_that_gives_up_ends_its_attempt_and_frees_its_place",
    "without_a_link_the_client_is_reset_and_the_owner_told",
];
/// Programs that tests start, beside those that are shipped.
const EXAMPLES: [&str; 2] = ["game", "launcher"];
/// The longest that one test program may take, in seconds.
const LIMIT: u32 = 300;

/// Compiles libraries, programs and tests with clippy; a warning is an error.
pub(super) fn compile(tools: &Toolchain<'_>) -> Result<Vec<Built>> {
    let built = step("libraries, programs and tests, with clippy", || {
        build(tools)
    })?;
    tools.set_warm()?;
    Ok(built)
}

/// Whether programs and libraries compile for Microsoft's own target. Nothing is linked: that takes
/// Microsoft's libraries.
pub(super) fn msvc(workspace: &Workspace) -> Result<()> {
    let wanted = [packages::WINDOWS, packages::MSVC].concat();
    step("packages", || packages::ensure(&wanted))?;
    step("front end", || ui::build(workspace))?;
    let tools = step("standard library for msvc", || {
        Toolchain::prepare_msvc(workspace)
    })?;
    step("check for msvc", || {
        exec::run(&mut tools.strict_cargo(&["check", "--lib", "--bins"]))
    })
}

/// Builds and runs the tests; gives how many passed.
pub(super) fn tests(tools: &Toolchain<'_>) -> Result<usize> {
    let built = compile(tools)?;
    let wine = step("wine", || Wine::prepare(tools))?;
    let ran = built.iter().map(|test| {
        let name = test.target.name.clone();
        step(&name, || run(tools, &wine, test)).with_context(|| format!("{name} under Wine"))
    });
    let ran: Vec<Result<usize>> = ran.collect();
    wine.end()?;
    // All ran; the first failure is told.
    ran.into_iter().sum()
}

/// A line of cargo about a program that it built.
#[derive(Deserialize)]
pub(super) struct Built {
    manifest_path: PathBuf,
    target: Target,
    executable: Option<PathBuf>,
}

impl Built {
    /// Whether it is one of [`TESTS`]: other folders may have tests of these names.
    fn is_ours(&self) -> bool {
        let folder = self.manifest_path.parent();
        self.executable.is_some()
            && self.target.kind == ["test"]
            && TESTS.iter().any(|(of, name)| {
                self.target.name == *name && folder.is_some_and(|folder| folder.ends_with(of))
            })
    }
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Everything at once: what tests ask of a dependency would have cargo build it a second time otherwise.
fn build(tools: &Toolchain<'_>) -> Result<Vec<Built>> {
    let mut cargo = tools.strict_cargo(&["build", "--lib", "--bins"]);
    for (_, name) in TESTS {
        cargo.args(["--test", name]);
    }
    for name in EXAMPLES {
        cargo.args(["--example", name]);
    }
    cargo.arg("--message-format=json-render-diagnostics");
    println!("$ {}", exec::shown(&cargo));
    let said = exec::capture(cargo.stderr(Stdio::inherit()))?;
    let lines = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let built: Vec<Built> = lines.filter(Built::is_ours).collect();
    if built.len() != TESTS.len() {
        bail!("{} of {} tests were built", built.len(), TESTS.len());
    }
    Ok(built)
}

/// Runs one test program; gives how many of its tests passed.
fn run(tools: &Toolchain<'_>, wine: &Wine, test: &Built) -> Result<usize> {
    let folder = test.manifest_path.parent().context("no folder")?;
    let program = test.executable.as_deref().context("no program")?;
    let mut command = wine.start(folder, LIMIT, program);
    // Wine on two cores: one test at a time, or some wait longer than they have patience.
    command.args(["--test-threads", "1"]);
    for name in SKIPPED {
        command.args(["--skip", name]);
    }
    command.env("WARP_BIN_DIR", windows_path(&tools.programs()));
    let mut passed = None;
    exec::run_lines(&mut command, |line| {
        if let Some(rest) = line.trim().strip_prefix("test result: ok. ") {
            passed = rest.split(' ').next().and_then(|count| count.parse().ok());
        }
    })?;
    // A program that Wine ends early may end with 0 all the same.
    match passed {
        Some(0) | None => bail!("{} did not run its tests to their end", program.display()),
        Some(passed) => Ok(passed),
    }
}
