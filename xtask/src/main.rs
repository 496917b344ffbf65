//! `cargo xtask`: the project's commands. README and `.ci/run` call nothing else.
//!
//! - `run`: builds and starts the launcher (without a display: the same engine in the terminal).
//! - `test`: every check that `main` must pass, in groups, with a table at the end.
//! - `bench`: the measurements.
//! - `release`: builds and signs the launcher's packages, and checks them as a launcher would.
//! - `windows`: the launcher for Windows, built, tested and packed on Linux.
//! - `fuzz`: decoders under libFuzzer.
//! - `bindings`: writes (or checks) the TypeScript types generated from Rust.
//! - `purity`: proves that cores and words touch no runtime, socket, clock or file.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool: the terminal is its output"
)]

mod deny;
mod exec;
mod fuzz;
mod groups;
mod launch;
mod nextest;
mod packages;
mod purity;
mod release;
mod source_scan;
mod summary;
mod test;
mod ui;
mod windows;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::groups::Group;
use crate::workspace::Workspace;

/// The project's commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up what is missing, build, and start the launcher; without a display, `warp-node try`.
    Run {
        /// Build with optimisation (slower to build, faster to run).
        #[arg(long)]
        release: bool,
        /// Arguments for the program that is started.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run the checks, in groups, and print a table of their results.
    ///
    /// Exit code 0: no group failed. 1: at least one group failed.
    Test {
        /// Run only this group; may be given several times.
        #[arg(long, value_name = "GROUP")]
        only: Vec<Group>,
        /// List the groups of this work tree and end.
        #[arg(long)]
        list: bool,
    },
    /// Build the benchmarks with optimisation and run one of them.
    Bench {
        /// Which one: `latency`, `failover`, `paths`, `bridge`, `p2p`, `host`, `coordinator` or
        /// `launcher`.
        name: String,
        /// Also write the figures to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<String>,
        /// Further arguments for the benchmark.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Feed decoders with inputs that libFuzzer makes up, guided by what they reach.
    ///
    /// Exit code 0: nothing found. 1: something found; the input is in fuzz/artifacts, the command
    /// that repeats it is printed.
    Fuzz {
        /// Only this target; may be given several times.
        #[arg(long, value_name = "NAME")]
        target: Vec<String>,
        /// How long each target runs.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// How many targets run at once.
        #[arg(long, default_value_t = 1)]
        jobs: usize,
        /// Run the target once with this input instead, with a backtrace.
        #[arg(long, value_name = "FILE")]
        input: Option<PathBuf>,
        /// List the targets and end.
        #[arg(long)]
        list: bool,
        /// Further arguments for libFuzzer, for example `-merge=1`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Build the launcher's packages, sign them, put them into a folder for the coordinator, and check
    /// what was published as a launcher would: asked for, downloaded and verified.
    Release(release::Options),
    /// Build the launcher for Windows, test it under Wine, and make its installer.
    Windows(windows::Options),
    /// Generate the TypeScript types of the window from Rust.
    Bindings {
        /// Write nothing; fail if the files in the repository differ.
        #[arg(long)]
        check: bool,
    },
    /// Check that words and cores reach no runtime, socket, clock, random source or file.
    Purity,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    match cli.command {
        Command::Run { release, args } => launch::run(&workspace, release, &args),
        Command::Test { list: true, .. } => {
            test::list(&workspace);
            Ok(ExitCode::SUCCESS)
        }
        Command::Test { only, .. } => Ok(test::run(&workspace, &only)),
        Command::Bench { name, json, args } => {
            launch::bench(&workspace, &name, json.as_deref(), &args)
        }
        Command::Fuzz { list: true, .. } => {
            fuzz::list(&workspace)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Fuzz {
            target,
            seconds,
            jobs,
            input,
            list: false,
            args,
        } => fuzz::run(
            &workspace,
            &fuzz::Options {
                targets: &target,
                seconds,
                jobs,
                input: input.as_deref(),
                extra: &args,
            },
        ),
        Command::Release(options) => {
            release::run(&workspace, &options)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Windows(options) => {
            windows::run(&workspace, &options)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bindings { check } => {
            test::bindings(&workspace, check)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Purity => {
            println!("{}", purity::check(&workspace)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}
