//! `warp-node`: the engine in a terminal.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program's output"
)]

mod doctor;
mod host;
mod inspect;
mod play;
mod setup;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// The launcher's engine without a window.
#[derive(Parser)]
#[command(name = "warp-node", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  ended as asked, or the game ended well
  1  play ended because of a problem, or the game failed; inspect: a stream is not whole packets
  2  wrong arguments, or a configuration or file that cannot be used
  3  not signed in: name, password or token refused
  4  the coordinator cannot be reached or is not trusted
  5  the zone could not be played: unknown, closed, no path, port in use";

#[derive(Subcommand)]
enum Subcommands {
    /// Sign in, join a zone, open the bridge, start the game.
    ///
    /// Standard input, one line each: `/p2p ...` as in the game's chat, `/launch` for another game
    /// client, `/stop-game N` to end one, `/quit`.
    Play(PlayArgs),
    /// Be a host: forward sealed datagrams of other players until Ctrl-C or SIGTERM.
    ///
    /// Both have the players moved away to other hosts first. Standard input: `/quit` does the same.
    /// Exit code 3: this account or machine is not taken as a host, with the reason.
    Host(HostArgs),
    /// Everything on this machine: embedded coordinator, one zone, the practice game.
    Try(TryArgs),
    /// Check what play needs: this machine, the coordinator, the router, STUN and TURN servers.
    ///
    /// Takes five seconds at most. Exit code 1: play cannot work.
    Doctor(DoctorArgs),
    /// Show the packets of recorded or captured game connections.
    Inspect(inspect::InspectArgs),
}

#[derive(Args)]
struct SignInArgs {
    /// Configuration file.
    #[arg(long, default_value = "p2p_config.json")]
    config: PathBuf,
    /// Account name.
    #[arg(long)]
    user: String,
    /// Read the password from the first line of standard input; without it the sign-in that the
    /// system's secret store kept is used.
    #[arg(long)]
    password_stdin: bool,
    /// Keep the sign-in in the system's secret store.
    #[arg(long)]
    remember: bool,
    /// Make the account first.
    #[arg(long)]
    register: bool,
}

#[derive(Args)]
struct HostArgs {
    #[command(flatten)]
    sign_in: SignInArgs,
    /// Zone id; may be given several times. Without it hosting.zones of the configuration counts.
    #[arg(long = "zone", value_name = "ID")]
    zones: Vec<String>,
    /// Players to carry at once, webrtc.max_peers of the configuration (50) at most; without it its
    /// hosting.max_players counts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_players: Option<u32>,
    /// Upload to give, Mbit/s; without it hosting.upload_mbps of the configuration counts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    upload_mbps: Option<u32>,
    /// Game server beside this machine: be the endpoint of the one zone that is named, and dial this;
    /// all of the zone's have to be given. The zone has to be a hosted one. Without it: forward for
    /// others.
    #[arg(long = "upstream", value_name = "ADDR", requires = "zones")]
    upstreams: Vec<std::net::SocketAddr>,
    /// One JSON event per line on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct PlayArgs {
    #[command(flatten)]
    sign_in: SignInArgs,
    /// Zone id.
    #[arg(long)]
    zone: String,
    /// Only open the bridge; start no game.
    #[arg(long)]
    no_game: bool,
    /// Start so many game clients; the practice game gives each the next account.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "no_game",
          value_parser = clap::value_parser!(u32).range(1..=16))]
    clients: u32,
    /// One JSON event per line on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct TryArgs {
    /// Where accounts are kept; a folder that is removed afterwards when not given.
    #[arg(long)]
    data: Option<PathBuf>,
    /// End after this many seconds.
    #[arg(long, default_value_t = 86_400)]
    seconds: u64,
    /// Requests per second of the practice game.
    #[arg(long, default_value_t = 10)]
    rate: u32,
    /// One JSON event per line on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct DoctorArgs {
    /// Configuration file; the defaults when it is missing.
    #[arg(long, default_value = "p2p_config.json")]
    config: PathBuf,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
    /// Write all of it as JSON to this file, without passwords, tokens and the user's name.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("warp-node: cannot start its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(Cli::parse().command));
    // Standard input is read on a thread that cannot be stopped while whoever holds the other end
    // writes nothing; waiting for it would hold up the end.
    runtime.shutdown_background();
    code
}

async fn run(command: Subcommands) -> ExitCode {
    match command {
        Subcommands::Play(args) => play::play(args).await,
        Subcommands::Host(args) => host::host(args).await,
        Subcommands::Try(args) => play::try_out(args).await,
        Subcommands::Doctor(args) => doctor::doctor(args).await,
        Subcommands::Inspect(args) => inspect::inspect(args),
    }
}
