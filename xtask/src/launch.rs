//! `cargo xtask run` and `cargo xtask bench`: build, then start.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;
use crate::{exec, packages, ui};

/// The programs that the launcher starts; they must lie beside it.
const COMPANIONS: [&str; 4] = [
    "warp-node",
    "warp-coordinator",
    "warp-practice",
    "warp-keeper",
];
const WINDOW: &str = "warp-launcher";
const BENCH: &str = "warp-bench";
/// The profile of the benchmarks, and the name of its folder.
const BENCH_PROFILE: &str = "bench-fast";
/// That of the coordinator's, whose figures are held against targets: as operators have it.
const SHIPPED_PROFILE: &str = "release";

fn has_display() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(windows) || cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

/// Builds and starts the launcher, or without a display `warp-node try`.
pub(crate) fn run(workspace: &Workspace, release: bool, args: &[String]) -> Result<ExitCode> {
    let window = has_display();
    if !window {
        println!(
            "No display (DISPLAY and WAYLAND_DISPLAY are not set): the same engine in the terminal."
        );
    }
    if cfg!(target_os = "linux") {
        packages::ensure(if window {
            packages::BUILD_WINDOW
        } else {
            packages::BUILD
        })?;
    }
    if window {
        ui::build(workspace)?;
    }
    let mut build = workspace.cargo();
    build.args(["build", "--bins"]);
    for package in COMPANIONS.iter().chain(window.then_some(&WINDOW)) {
        build.args(["-p", package]);
    }
    let folder = if release { "release" } else { "debug" };
    if release {
        build.arg("--release");
    }
    println!("Building; the first time this takes several minutes.");
    exec::run(&mut build)?;
    let programs = workspace.programs(folder);
    let mut command = if window {
        Command::new(programs.join(WINDOW))
    } else {
        let mut command = Command::new(programs.join("warp-node"));
        command.arg("try");
        command
    };
    start(command.args(args))
}

/// Builds the benchmarks and the programs they measure, and runs the benchmark `name`.
pub(crate) fn bench(
    workspace: &Workspace,
    name: &str,
    json: Option<&str>,
    args: &[String],
) -> Result<ExitCode> {
    // They measure code that they are linked with; the others measure programs, most over networks.
    let alone = matches!(name, "bridge" | "p2p" | "host");
    let window = name == "launcher";
    let networks = !alone && !window && name != "coordinator";
    if cfg!(target_os = "linux") {
        packages::ensure(packages::BUILD)?;
        if networks {
            packages::ensure(packages::NETLAB)?;
        }
        if window {
            packages::ensure(packages::BUILD_WINDOW)?;
            packages::ensure(packages::WINDOW)?;
        }
    }
    if window {
        ui::build(workspace)?;
        let mut bare = workspace.cargo();
        bare.args(["build", "--profile", BENCH_PROFILE, "-p", WINDOW]);
        bare.args([
            "--bins",
            "--example",
            "bare",
            "--features",
            "custom-protocol",
        ]);
        exec::run(&mut bare)?;
    }
    let coordinator = name == "coordinator";
    let profile = if coordinator {
        SHIPPED_PROFILE
    } else {
        BENCH_PROFILE
    };
    let mut build = workspace.cargo();
    build.args(["build", "--bins", "--profile", profile, "-p", BENCH]);
    let needs = |package: &str| !alone && (!coordinator || package == "warp-coordinator");
    for package in COMPANIONS.iter().filter(|package| needs(package)) {
        build.args(["-p", package]);
    }
    exec::run(&mut build)?;
    let programs = workspace.programs(profile);
    let mut command = if window {
        // A display and a session bus of its own: nobody's desktop takes part.
        let mut command = Command::new("xvfb-run");
        command.args([
            "-a",
            "--server-args=-screen 0 1280x900x24",
            "dbus-run-session",
            "--",
        ]);
        command.arg(programs.join(BENCH));
        command
    } else {
        Command::new(programs.join(BENCH))
    };
    command.env("WARP_BIN_DIR", &programs).arg(name);
    if let Some(file) = json {
        command.args(["--json", file]);
    }
    start(command.args(args))
}

/// Runs the program in the caller's folder and passes its exit code on.
pub(crate) fn start(command: &mut Command) -> Result<ExitCode> {
    let text = exec::shown(command);
    println!("$ {text}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{text}`"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
