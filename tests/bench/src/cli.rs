//! The command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::machine::Machine;
use crate::{bridge, coordinator, failover, host, latency, launcher, p2p, paths};

/// Measurements. Exit codes: 0 measured, and what must hold held; 1 something failed or did not
/// hold; 2 wrong arguments.
#[derive(Parser)]
#[command(name = "warp-bench", version)]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
    /// Also write the result as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Bench {
    /// Round trips of a 20-byte packet: direct TCP, a TCP relay, our bridge over wss and over
    /// WebRTC, all at once.
    Latency(latency::Args),
    /// The silence that a cut of the WebRTC path makes, and the death of a host.
    Failover(failover::Args),
    /// Round trips over each path (direct, host, wss) beside direct TCP, at three delays and three
    /// losses, with packets sent once and twice.
    Paths(paths::Args),
    /// What a packet costs in the bridge: time and allocations, beside a plain copy.
    Bridge(bridge::Args),
    /// A peer connection on the loopback: set-up, round trips, short messages, bulk, memory; beside raw
    /// UDP with and without AES-256-GCM.
    P2p(p2p::Args),
    /// A host on the loopback: processor time, memory and added round trip for 10, 50 and 200 members.
    Host(host::Args),
    /// A coordinator on one core: requests a second, signals between sockets, memory of an idle socket.
    Coordinator(coordinator::Args),
    /// The launcher's window beside a bare one: start, memory, idle processor time.
    Launcher(launcher::Args),
}

/// What a JSON file holds.
#[derive(Serialize)]
struct Report<'a, T> {
    bench: &'a str,
    machine: &'a Machine,
    #[serde(flatten)]
    result: T,
}

/// Runs what was asked for.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("warp-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    let machine = Machine::look();
    println!("{machine}\n");
    let json = cli.json.as_deref();
    match &cli.bench {
        Bench::Latency(args) => {
            let result = latency::run(args)?;
            write(json, "latency", &machine, &result)?;
            Ok(result.holds)
        }
        Bench::Failover(args) => {
            let result = failover::run(args)?;
            write(json, "failover", &machine, &result)?;
            Ok(result.holds)
        }
        Bench::Paths(args) => {
            let result = paths::run(args)?;
            write(json, "paths", &machine, &result)?;
            Ok(result.holds())
        }
        Bench::Bridge(args) => {
            let result = bridge::run(args)?;
            write(json, "bridge", &machine, &result)?;
            Ok(result.holds)
        }
        Bench::P2p(args) => {
            let result = p2p::run(args)?;
            write(json, "p2p", &machine, &result)?;
            Ok(true)
        }
        Bench::Coordinator(args) => {
            let result = coordinator::run(args)?;
            write(json, "coordinator", &machine, &result)?;
            Ok(result.holds)
        }
        Bench::Launcher(args) => {
            let result = launcher::run(args)?;
            write(json, "launcher", &machine, &result)?;
            Ok(result.holds)
        }
        Bench::Host(args) => {
            let result = host::run(args)?;
            write(json, "host", &machine, &result)?;
            Ok(true)
        }
    }
}

fn write<T: Serialize>(
    file: Option<&Path>,
    bench: &str,
    machine: &Machine,
    result: T,
) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let report = Report {
        bench,
        machine,
        result,
    };
    let mut text = serde_json::to_string_pretty(&report)?;
    text.push('\n');
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
