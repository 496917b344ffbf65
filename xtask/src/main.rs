//! `cargo xtask`: the project's commands. README and `.ci/run` call nothing else.
//!
//! - `run`: builds and starts the launcher (without a display: the same engine in the terminal).
//! - `test`: every check that `main` must pass, in groups, with a table at the end.
//! - `bench`: the measurements.
//! - `bindings`: writes (or checks) the TypeScript types generated from Rust.
//! - `purity`: proves that cores and words touch no runtime, socket, clock or file.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool: the terminal is its output"
)]

mod deny;
mod exec;
mod groups;
mod launch;
mod nextest;
mod packages;
mod purity;
mod source_scan;
mod summary;
mod test;
mod ui;
mod workspace;

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
        /// Which one, for example `latency` or `failover`.
        name: String,
        /// Also write the figures to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<String>,
        /// Further arguments for the benchmark.
        #[arg(last = true)]
        args: Vec<String>,
    },
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
