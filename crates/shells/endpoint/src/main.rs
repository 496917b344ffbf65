//! `warp-endpoint`: an endpoint as a process of its own, beside the game server.
#![allow(
    clippy::print_stderr,
    reason = "standard error is where a program says why it does not start"
)]

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio_util::sync::CancellationToken;
use warp_endpoint::control::{Remote, RemoteConfig, token};
use warp_endpoint::{Identity, WebRtcOptions, generate_identity_der};
use warp_link::proxy::ProxyPolicy;
use warp_link::tls::client_config;
use warp_link::websocket::WsTarget;
use warp_observe::ObserveConfig;
use warp_protocol::identity::PublicKey;

/// Name of the endpoint's key in the data directory, PKCS#8 DER.
const KEY: &str = "endpoint.key";
/// Name of the file with the coordinator's key as text, as it was proven first.
const COORDINATOR: &str = "coordinator.pub";
/// Largest file that is read, bytes.
const MAX_FILE: u64 = 4096;
/// Longest that opening the control socket may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The same where there are other nodes to try.
const NODE_CONNECT_TIME: Duration = Duration::from_secs(3);

/// Warp Launcher's endpoint as a process of its own: it holds the connections to the game server, and
/// keeps them while the coordinator is away.
///
/// The coordinator has to run with `endpoint.mode` = `remote`. The first line on standard output is the
/// endpoint's public key. Exit codes: 0 it was asked to end; 1 it could not start. Logs go to standard
/// error; the environment variable WARP_LOG is their filter.
#[derive(Parser)]
#[command(name = "warp-endpoint", version, max_term_width = 100)]
struct Cli {
    /// The coordinator, such as https://play.example or http://127.0.0.1:8001. Repeated for the nodes of
    /// a cluster: when one is gone, the next one is tried.
    #[arg(long, value_name = "URL", required = true)]
    coordinator: Vec<String>,
    /// Where its key is kept; made with mode 0700 where it is missing.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The enrolment token: a copy of `endpoint-token` in the coordinator's data directory.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Its name in certificates and logs: 1 to 32 letters, digits, `_`, `-`, `.`.
    #[arg(long, default_value = "endpoint")]
    name: String,
    /// The coordinator's public key (`warp-coordinator key`). Without it the first key that is proven
    /// is kept in the data directory, and no other is believed from then on.
    #[arg(long, value_name = "HEX")]
    coordinator_key: Option<String>,
    /// Address to use for WebRTC, repeated for several [default: all usable ones].
    #[arg(long, value_name = "IP")]
    bind: Vec<IpAddr>,
    /// Also offer the loopback, for launchers on this machine. On where the coordinator's address is
    /// the loopback.
    #[arg(long)]
    loopback: bool,
    /// PEM file of the authority behind the coordinator's TLS certificate, where the system does not
    /// trust it.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// One JSON object per line of the log.
    #[arg(long)]
    log_json: bool,
}

fn main() -> ExitCode {
    match start(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("warp-endpoint: {why}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> Result<(), String> {
    let observe = ObserveConfig {
        json: cli.log_json,
        ..ObserveConfig::default()
    };
    let _observe = warp_observe::init(observe).map_err(|e| e.to_string())?;
    let (remote, known) = remote(&cli)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        // Asked for before the key is printed: whoever reads it may end us at once.
        let mut signals = warp_platform::Signals::listen().map_err(|e| e.to_string())?;
        let asked = stop.clone();
        tokio::spawn(async move {
            signals.next().await;
            asked.cancel();
        });
        remote
            .serve(stop, |key| remember(known.as_deref(), key))
            .await;
        Ok(())
    })
}

/// The endpoint, and where to remember the coordinator's key.
fn remote(cli: &Cli) -> Result<(Remote, Option<PathBuf>), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !(1..=32).contains(&cli.name.len()) || !cli.name.chars().all(allowed) {
        return Err("--name: 1 to 32 letters, digits, `_`, `-` and `.`".to_owned());
    }
    make_dir(&cli.data)?;
    let identity = identity(&cli.data.join(KEY))?;
    let file = cli.data.join(COORDINATOR);
    let (coordinator_key, known) = match &cli.coordinator_key {
        Some(text) => (Some(key_of("--coordinator-key", text)?), None),
        None if file.exists() => {
            let text = text_of(&file)?;
            (Some(key_of(&file.display().to_string(), &text)?), None)
        }
        None => (None, Some(file)),
    };
    let secret = token(&text_of(&cli.token_file)?);
    let tls = client_config(cli.ca.as_deref()).map_err(|e| e.to_string())?;
    let bases = cli.coordinator.iter().map(|url| url.trim_end_matches('/'));
    let loopback = cli.loopback || bases.clone().all(is_loopback);
    let mut out = std::io::stdout();
    // A reader that has gone away is no reason not to serve.
    let _ = writeln!(out, "{}", identity.key()).and_then(|()| out.flush());
    let remote = Remote::new(RemoteConfig {
        target: WsTarget {
            url: String::new(),
            bearer_token: Some(secret),
            tls,
            proxy: ProxyPolicy::none(),
            timeout: if cli.coordinator.len() > 1 {
                NODE_CONNECT_TIME
            } else {
                CONNECT_TIME
            },
        },
        bases: bases.map(|base| format!("{base}/api/v1")).collect(),
        name: cli.name.clone(),
        identity,
        coordinator_key,
        hosted: None,
        webrtc: WebRtcOptions {
            include_loopback: loopback,
            bind: cli.bind.clone(),
            ..WebRtcOptions::default()
        },
    });
    Ok((remote, known))
}

fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    ["127.", "localhost", "[::1]"]
        .iter()
        .any(|host| rest.starts_with(host))
}

fn key_of(whose: &str, text: &str) -> Result<PublicKey, String> {
    PublicKey::from_hex(text.trim()).ok_or_else(|| format!("{whose}: 88 hex digits are wanted"))
}

/// Keeps the first key that was proven; it is written once.
fn remember(file: Option<&Path>, key: &PublicKey) {
    let Some(file) = file.filter(|file| !file.exists()) else {
        return;
    };
    tracing::info!(%key, "this is the coordinator from now on");
    if let Err(error) = write_new(file, format!("{key}\n").as_bytes()) {
        tracing::warn!(file = %file.display(), %error, "the coordinator's key could not be kept");
    }
}

fn make_dir(dir: &Path) -> Result<(), String> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    warp_platform::make_private_folder(&mut builder)
        .create(dir)
        .map_err(|e| at(dir, &e))
}

fn identity(file: &Path) -> Result<Identity, String> {
    if !file.exists() {
        write_new(file, &generate_identity_der()).map_err(|e| at(file, &e))?;
    }
    let der = bytes_of(file)?;
    Identity::from_pkcs8_der(&der)
        .map_err(|_| format!("{}: not an Ed25519 key in PKCS#8 DER", file.display()))
}

fn bytes_of(file: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    let length = fs::metadata(file).map_err(|e| at(file, &e))?.len();
    if length > MAX_FILE {
        return Err(format!("{}: too large", file.display()));
    }
    fs::read(file)
        .map(zeroize::Zeroizing::new)
        .map_err(|e| at(file, &e))
}

fn text_of(file: &Path) -> Result<String, String> {
    String::from_utf8(bytes_of(file)?.to_vec()).map_err(|_| format!("{}: no text", file.display()))
}

/// Writes beside and renames into place, so that a crash leaves no half file; only its owner may
/// read it.
fn write_new(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = file.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    let mut written = warp_platform::make_private(&mut options).open(&fresh)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    fs::rename(&fresh, file)
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
