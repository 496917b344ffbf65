//! `warp-practice`: the practice game's server and client as programs.
//!
//! Standard output carries the answers (JSON lines, or readable ones for the client without
//! `--json`), standard error the log (`WARP_LOG`, default `warn`).
#![allow(clippy::print_stderr)] // where the program's own failures are told

use std::io::{BufRead, Write};
use std::net::{SocketAddr, SocketAddrV4};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use warp_platform::Signals;
use warp_practice::client::{
    self, ClientConfig, ClientError, ClientEvent, MAX_LINES, Mode, Pause, Summary,
};
use warp_practice::report::role_name;
use warp_practice::server::{Server, ServerConfig};
use warp_practice::version::{self, DEFAULT_VERSION, VersionError};
use zeroize::Zeroizing;

/// The session deviated from what was expected, or something else failed.
const FAILED: u8 = 1;
/// The client never got onto a map.
const NOT_ENTERED: u8 = 3;

/// The practice game: a stand-in Ragnarok server and its client.
///
/// Both speak packet versions 20130807, 20151029, 20170614, 20180621, 20200401 and 20211103.
#[derive(Parser)]
#[command(version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  all went well (client: every byte was as expected)
  1  client: something was not as expected; server: it could not start
  2  wrong command line
  3  client: it never got onto a map (no connection, or one that was lost or silent before;
     wrong password; refused)

SIGTERM and Ctrl-C end both within 2 s. The log goes to standard error; WARP_LOG sets its
filter (default: warn).";

#[derive(Subcommand)]
enum Command {
    /// Serve login, char and one or two map servers.
    ///
    /// Accounts are test1 to test99, the password is the name. As strict as the real server about
    /// how bytes arrive and which session numbers it takes.
    ///
    /// Standard output: a line {"event":"listening","login":..,"char":..,"map":..,"map2":..}, then
    /// a line for each connection opened and closed. The closing line has the bytes, packets and
    /// SHA-256 of both directions (announced addresses left out) under the same "key" as in the
    /// client's output. With --tell-chat also a line {"event":"chat","user":..,"text":..} for each
    /// line of public chat that came.
    Server(ServerArgs),
    /// Play a session and check every byte of it.
    ///
    /// Logs in, plays (walk, chat, emote, sit, look, time, names, changes of map and of map
    /// server), goes back to the character selection, enters once more and quits. Ends at the
    /// first byte that is not as expected.
    ///
    /// Standard output with --json: a line for each connection, for each map entered
    /// {"event":"on-map","map":..,"x":..,"y":..}, for each line of --say
    /// {"event":"said","text":..,"answered_ms":..,"lines":[..]}, for a pause {"event":"paused",..}
    /// and {"event":"resumed"}, with --notices {"event":"notice","line":..}, and at the end
    /// {"event":"summary","ok":..,"entered":..,..}, or {"event":"error","code":..,"message":..} if it
    /// could not log in, connect or enter.
    Client(ClientArgs),
}

/// What both ends have to agree on.
#[derive(Args)]
struct Speech {
    /// The packet version that is spoken.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_VERSION, value_parser = spoken)]
    packetver: u32,
    /// The ids of what clients send to map servers are enciphered, as clients of 2011 to 2018 do
    /// it; only with a version whose keys are known (20130807 is one).
    #[arg(long)]
    obfuscate: bool,
    /// Map connections are enciphered from the first byte on, as a stand-in for a game shield:
    /// nothing can be framed or rewritten, and the server closes a connection ("split-record") on
    /// which a client's write did not arrive in one piece.
    #[arg(long)]
    shield: bool,
}

/// A version that can be spoken, with plain ids.
fn spoken(text: &str) -> Result<u32> {
    let version = text.parse().context("a version is a date like 20211103")?;
    version::check(version, false)?;
    Ok(version)
}

/// A pin code.
fn pin(text: &str) -> Result<[u8; 4]> {
    let digits = text.as_bytes();
    let pin = <[u8; 4]>::try_from(digits).context("a pin code has four digits")?;
    anyhow::ensure!(
        pin.iter().all(u8::is_ascii_digit),
        "a pin code has four digits"
    );
    Ok(pin)
}

/// A line that can be said.
fn said(text: &str) -> Result<String, ClientError> {
    client::check_line(text)?;
    Ok(text.to_owned())
}

impl Command {
    /// What the parser cannot tell about the command line by itself.
    fn check(&self) -> Result<(), String> {
        let (Command::Server(ServerArgs { speech, .. })
        | Command::Client(ClientArgs { speech, .. })) = self;
        version::check(speech.packetver, speech.obfuscate)
            .map_err(|error: VersionError| error.to_string())?;
        match self {
            Command::Client(args) if args.say.len() > MAX_LINES => {
                let count = args.say.len();
                Err(ClientError::Lines { count }.to_string())
            }
            _ => Ok(()),
        }
    }
}

#[derive(Args)]
struct ServerArgs {
    /// Where the login server listens (IP:PORT; port 0 takes a free one).
    #[arg(long, value_name = "ADDR")]
    login: SocketAddr,
    /// Where the char server listens.
    #[arg(long, value_name = "ADDR")]
    char: SocketAddr,
    /// Where the map server listens.
    #[arg(long, value_name = "ADDR")]
    map: SocketAddr,
    /// Where the second map server (geffen) listens; without it there is one map server.
    #[arg(long, value_name = "ADDR")]
    map2: Option<SocketAddr>,
    /// The char server's address as clients are told it, if it is not the one it listens on.
    #[arg(long, value_name = "IP4:PORT")]
    announce_char: Option<SocketAddrV4>,
    /// The same for the map server.
    #[arg(long, value_name = "IP4:PORT")]
    announce_map: Option<SocketAddrV4>,
    /// The same for the second map server.
    #[arg(long, value_name = "IP4:PORT", requires = "map2")]
    announce_map2: Option<SocketAddrV4>,
    /// Close a map connection after this many seconds without client data.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    idle_seconds: u64,
    #[command(flatten)]
    speech: Speech,
    /// Ask every account for this pin code of four digits.
    #[arg(long, value_name = "DIGITS", value_parser = pin)]
    pin: Option<[u8; 4]>,
    /// Print each line of public chat that came.
    #[arg(long)]
    tell_chat: bool,
}

#[derive(Args)]
struct ClientArgs {
    /// The login server's address (IP:PORT).
    #[arg(long, value_name = "ADDR")]
    login: SocketAddr,
    /// The account, test1 to test99.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// Read the password from the first line of standard input (there is no other way to give it).
    #[arg(long, required = true)]
    password_stdin: bool,
    /// Requests per second while playing.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// How long to play; 0 plays until SIGTERM or Ctrl-C. A round of map changes that was begun is
    /// finished first.
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// Seconds between two changes of map (less if a round of changes would not fit into
    /// --seconds); 0 stays on the first map.
    #[arg(long, value_name = "N", default_value_t = 2)]
    change_every: u64,
    /// How many seconds an answer may take.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    answer_timeout: u64,
    /// Only send 20-byte chat lines and measure their round trips (19 bytes in the versions whose
    /// chat lines end without a zero: 20151029 to 20200401).
    #[arg(long)]
    echo_probe: bool,
    #[command(flatten)]
    speech: Speech,
    /// Say this line of public chat on the first map and wait for its answer (at most 16 times).
    /// A line that begins with the word /p2p or @p2p is a command: a bridge has to answer it with
    /// system lines, and it must not reach the server. Any other line the server has to answer.
    #[arg(long, value_name = "TEXT", value_parser = said, allow_hyphen_values = true)]
    say: Vec<String>,
    /// A bridge may show notices of the server's staff at any time: each line of one is told.
    #[arg(long)]
    notices: bool,
    /// After this many seconds of play, send nothing for --pause-seconds while reading on, like a
    /// client whose window is held. The pause is a part of --seconds; play does not end in it.
    #[arg(long, value_name = "N", requires = "pause_seconds", value_parser = clap::value_parser!(u64).range(..=86_400))]
    pause_after: Option<u64>,
    /// How long the pause lasts, at most a day.
    #[arg(long, value_name = "M", requires = "pause_after", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pause_seconds: Option<u64>,
    /// The account's pin code, four digits, for a server that asks for it.
    #[arg(long, value_name = "DIGITS", value_parser = pin)]
    pin: Option<[u8; 4]>,
    /// Attack instead of the first so many emotions; who attacks cannot leave for 10 s.
    #[arg(long, value_name = "N", default_value_t = 0)]
    attacks: u32,
    /// How many seconds loading a map takes.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3600))]
    load_seconds: u64,
    /// Expect that a bridge may sign the client in again in the middle of play.
    #[arg(long)]
    reentry: bool,
    /// One JSON object per line instead of readable lines.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(message) = cli.command.check() {
        Cli::command()
            .error(ErrorKind::ValueValidation, message)
            .exit();
    }
    let observe = warp_observe::ObserveConfig {
        default_filter: "warn".to_owned(),
        ..warp_observe::ObserveConfig::default()
    };
    let outcome = warp_observe::init(observe)
        .context("logging")
        .and_then(|_log| Ok(tokio::runtime::Runtime::new()?))
        .and_then(|runtime| match cli.command {
            Command::Server(args) => runtime.block_on(serve(args)),
            Command::Client(args) => runtime.block_on(play(args)),
        });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("warp-practice: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// One line on standard output, at once.
fn line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}

/// The server's first line; `map2` is null without a second map server.
#[derive(Serialize)]
struct Listening {
    event: &'static str,
    login: SocketAddr,
    char: SocketAddr,
    map: SocketAddr,
    map2: Option<SocketAddr>,
}

async fn serve(args: ServerArgs) -> Result<ExitCode> {
    let mut config = ServerConfig::new(args.login, args.char, args.map, args.map2);
    config.announce_char = args.announce_char;
    config.announce_map = args.announce_map;
    config.announce_map2 = args.announce_map2;
    config.idle_limit = Duration::from_secs(args.idle_seconds);
    config.version = args.speech.packetver;
    config.obfuscate = args.speech.obfuscate;
    config.shield = args.speech.shield;
    config.tell_chat = args.tell_chat;
    config.pin = args.pin;
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let server = Server::start(config).await?;
    let mut events = server.events();
    let listening = Listening {
        event: "listening",
        login: server.login_addr(),
        char: server.char_addr(),
        map: server.map_addr(),
        map2: server.map2_addr(),
    };
    line(&serde_json::to_string(&listening)?)?;
    let ended = signals.next();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => line(&serde_json::to_string(&event)?)?,
                None => break,
            },
            () = &mut ended => break,
        }
    }
    server.shutdown().await;
    while let Some(event) = events.recv().await {
        line(&serde_json::to_string(&event)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn play(args: ClientArgs) -> Result<ExitCode> {
    let password = tokio::task::spawn_blocking(read_password).await??;
    let seconds = |count: u64| (count > 0).then(|| Duration::from_secs(count));
    let mut config = ClientConfig::new(args.login, &args.user, &password);
    config.rate = args.rate;
    config.play_for = seconds(args.seconds);
    config.change_every = seconds(args.change_every);
    config.answer_timeout = Duration::from_secs(args.answer_timeout);
    config.mode = if args.echo_probe {
        Mode::EchoProbe
    } else {
        Mode::Session
    };
    config.version = args.speech.packetver;
    config.obfuscate = args.speech.obfuscate;
    config.shield = args.speech.shield;
    config.say = args.say;
    config.pin = args.pin;
    config.attacks = args.attacks;
    config.load_time = Duration::from_secs(args.load_seconds);
    config.reentry = args.reentry;
    config.notices = args.notices;
    config.pause = args
        .pause_after
        .zip(args.pause_seconds)
        .map(|(after, length)| Pause {
            after: Duration::from_secs(after),
            length: Duration::from_secs(length),
        });
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let stop: CancellationToken = config.stop.clone();
    tokio::spawn(async move {
        signals.next().await;
        stop.cancel();
    });
    let mut written = Ok(());
    let show = |event: &ClientEvent| {
        if written.is_ok() {
            written = show_event(event, args.json);
        }
    };
    let outcome = client::run(config, show).await;
    written?;
    match outcome {
        Ok(summary) => {
            let code = match summary.ok {
                true => 0,
                false if summary.never_entered() => NOT_ENTERED,
                false => FAILED,
            };
            show_event(&ClientEvent::Summary(Box::new(summary)), args.json)?;
            Ok(ExitCode::from(code))
        }
        Err(error) => {
            if args.json {
                let code = error.code();
                let event = serde_json::json!({
                    "event": "error", "code": code, "message": error.to_string(),
                });
                line(&event.to_string())?;
            } else {
                eprintln!("warp-practice: {error}");
            }
            Ok(ExitCode::from(NOT_ENTERED))
        }
    }
}

/// The first line of standard input, without its end.
fn read_password() -> Result<Zeroizing<String>> {
    let mut password = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .read_line(&mut password)
        .context("cannot read the password from standard input")?;
    let length = password.trim_end_matches(['\r', '\n']).len();
    password.truncate(length);
    Ok(password)
}

fn show_event(event: &ClientEvent, json: bool) -> Result<()> {
    if json {
        return line(&serde_json::to_string(event)?);
    }
    match event {
        ClientEvent::Connected { role, address } => line(&format!(
            "connected to the {} server at {address}",
            role_name(*role)
        )),
        ClientEvent::OnMap { map, x, y } => line(&format!("on {map} at {x},{y}")),
        ClientEvent::ConnectionClosed(report) => {
            let stream = |stream: &warp_practice::report::StreamReport| {
                let digest = stream.sha256.get(..16).unwrap_or(&stream.sha256);
                format!(
                    "{} bytes in {} packets ({digest}..)",
                    stream.bytes, stream.packets
                )
            };
            line(&format!(
                "closed {} ({}): sent {}, received {}",
                report.key,
                report.reason,
                stream(&report.c2s),
                stream(&report.s2c)
            ))
        }
        ClientEvent::Said {
            text,
            answered_ms,
            lines,
        } => {
            let mut told = format!("said {text:?}, answered after {answered_ms:.1} ms:");
            for line in lines {
                told.push_str("\n  ");
                told.push_str(line);
            }
            line(&told)
        }
        ClientEvent::Notice { line: told } => line(told),
        ClientEvent::Paused { seconds } => line(&format!("pauses for {seconds} s")),
        ClientEvent::Resumed => line("goes on"),
        ClientEvent::Attacked => line("attacked"),
        ClientEvent::Loading => line("loads"),
        ClientEvent::Reentered { given_up } => line(&format!(
            "signed in again by the bridge; {given_up} answers are not waited for"
        )),
        ClientEvent::Summary(summary) => line(&readable(summary)),
    }
}

fn readable(summary: &Summary) -> String {
    let Summary { rtt_us: rtt, .. } = summary;
    let ms = |us: u64| us as f64 / 1e3;
    let mut text = format!(
        "{} {}: {} packets sent, {} received ({} about others), {} requests answered\n\
         map changes: {} on the same server, {} to another; {} lines said, {} server ticks unasked\n\
         round trip in ms: min {:.3}, p50 {:.3}, p99 {:.3}, p99.9 {:.3}, max {:.3}; largest gap {:.1} ms",
        summary.user,
        if summary.ok { "ok" } else { "FAILED" },
        summary.packets_sent,
        summary.packets_received,
        summary.about_others,
        summary.answered,
        summary.map_changes,
        summary.server_changes,
        summary.said,
        summary.extra_time,
        ms(rtt.min),
        ms(rtt.p50),
        ms(rtt.p99),
        ms(rtt.p999),
        ms(rtt.max),
        summary.largest_gap_ms,
    );
    for error in &summary.errors {
        text.push_str("\nerror: ");
        text.push_str(&error.message);
    }
    text
}
