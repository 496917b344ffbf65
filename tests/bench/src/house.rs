//! The product around a measurement: a coordinator with TLS and its endpoint, a zone whose game
//! server is the echo server, launchers without a game, and a TCP relay for comparison.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use warp_engine_core::event::Event;
use warp_engine_core::view::{LinkState, PathPhase};
use warp_host_core::{HostState, UpstreamKind};
use warp_protocol::carrier::PathKind;
use warp_tests::transcript::{Line, Source};

use crate::place::Place;
use crate::program::{Program, ours};

/// The longest that anything is waited for while a house is set up.
const PATIENCE: Duration = Duration::from_secs(30);
const ZONE: &str = "bench";
/// The two ways over hosts.
pub(crate) const WAYS: [PathKind; 2] = [PathKind::Host, PathKind::Host2];
/// Accounts live as long as the house; their password protects nothing.
const PASSWORD: &str = "measured and forgotten";

/// Coordinator and endpoint.
pub(crate) struct House<'a> {
    // Before the folder: it is dropped first.
    _coordinator: Program,
    url: String,
    servers: Place<'a>,
    players: Place<'a>,
    dir: TempDir,
}

impl<'a> House<'a> {
    /// Starts the coordinator in `servers`, listening on `ip`, with a zone whose only game server
    /// is `game`.
    ///
    /// # Errors
    /// A program does not start; the text holds what it said.
    pub(crate) fn start(
        servers: Place<'a>,
        players: Place<'a>,
        ip: IpAddr,
        game: SocketAddr,
    ) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let certified = rcgen::generate_simple_self_signed(vec![ip.to_string()])?;
        std::fs::write(dir.path().join("cert.pem"), certified.cert.pem())?;
        let key = certified.signing_key.serialize_pem();
        std::fs::write(dir.path().join("key.pem"), key)?;
        let config = json!({
            "listen": format!("{ip}:0"),
            "data_dir": "data",
            "tls": { "cert": "cert.pem", "key": "key.pem" },
            // Hosts that are killed and started again sign in more often than people do.
            "limits": {
                "address": { "burst": 1000, "per_minute": 1000 },
                "account": { "burst": 100, "per_minute": 100 },
            },
        });
        write(&dir.path().join("coordinator.json"), &config)?;
        let zone = json!({
            "zone_id": ZONE,
            "zone_name": "Bench",
            "zone_display_name": "Measurement",
            "map_name": "prontera",
            "min_host_quality_score": 0.0,
            "min_bandwidth_mbps": 5,
            "max_latency_ms": 1000,
            "game": {
                "packet_version": 20_211_103,
                "login": game, "char": [game], "map": [game],
            },
        });
        write(&dir.path().join("zone.json"), &zone)?;
        let file = |name| dir.path().join(name);
        let mut put = servers.command(ours("warp-coordinator")?);
        put.args(["zone", "put"]).arg(file("zone.json"));
        put.arg("--config").arg(file("coordinator.json"));
        Program::start("zone put", put)?.succeed(PATIENCE)?;
        let mut serve = servers.command(ours("warp-coordinator")?);
        serve.arg("serve");
        serve.arg("--config").arg(file("coordinator.json"));
        let coordinator = Program::start("warp-coordinator", serve)?;
        let url = coordinator.wait(0, "its address", PATIENCE, |line| {
            (line.source == Source::Out).then(|| line.text.clone())
        })?;
        Ok(Self {
            _coordinator: coordinator,
            url,
            servers,
            players,
            dir,
        })
    }

    /// Starts a launcher for a new account and waits until it plays over `path`. Without `p2p` it
    /// may only use wss.
    ///
    /// # Errors
    /// It does not come so far; the text holds what it said.
    pub(crate) fn node(&self, user: &str, p2p: bool, path: PathKind) -> Result<Node> {
        self.player(user, &json!({ "enabled": p2p }), &[path])
    }

    /// The same with these settings of `p2p`, playing over one of `paths`.
    ///
    /// # Errors
    /// As [`House::node`].
    pub(crate) fn player(&self, user: &str, p2p: &Value, paths: &[PathKind]) -> Result<Node> {
        let mut command = self.players.command(ours("warp-node")?);
        command.args(["play", "--json", "--no-game", "--zone", ZONE]);
        let mut settings = json!({ "prefer_wait_ms": 15_000, "metrics_interval_ms": 1000 });
        if let (Some(all), Some(more)) = (settings.as_object_mut(), p2p.as_object()) {
            all.extend(more.clone());
        }
        let program = self.sign_in(command, user, true, &settings)?;
        let mut login = None;
        let mut there = false;
        let names: Vec<String> = paths.iter().map(ToString::to_string).collect();
        let wanted = format!("play over {}", names.join(" or "));
        let login = program.wait(0, &wanted, PATIENCE, |line| {
            match event(line) {
                Some(Event::BridgeReady { login: address, .. }) => login = Some(address),
                Some(Event::State { state, path, .. }) => {
                    let fits = path.is_some_and(|path| paths.contains(&path));
                    there = state == LinkState::Connected && fits;
                }
                _ => {}
            }
            login.filter(|_| there)
        })?;
        Ok(Node { program, login })
    }

    /// Starts a host in the servers' place and waits until it serves, with a connection to the
    /// endpoint over WebRTC. `new`: the account is made first.
    ///
    /// # Errors
    /// It does not come so far; the text holds what it said.
    pub(crate) fn host(&self, user: &str, new: bool) -> Result<Host> {
        let mut command = self.servers.command(ours("warp-node")?);
        command.args(["host", "--json", "--zone", ZONE]);
        command.args(["--max-players", "50", "--upload-mbps", "100"]);
        let program = self.sign_in(command, user, new, &json!({}))?;
        program.wait(0, "hosting", PATIENCE, |line| match event(line) {
            Some(Event::HostState { host }) => (host.state == HostState::Serving
                && host.signaling
                && host.upstream == Some(UpstreamKind::Webrtc))
            .then_some(()),
            _ => None,
        })?;
        Ok(Host { program })
    }

    /// Starts `warp-node` so that it signs in.
    fn sign_in(&self, mut command: Command, user: &str, new: bool, p2p: &Value) -> Result<Program> {
        let config = json!({
            "coordinator": {
                "rest_api_url": format!("{}/api/v1", self.url),
                "ca_file": self.dir.path().join("cert.pem"),
                "reconnect_backoff_ms": 200,
            },
            "bridge": { "login_listen": "127.0.0.1:0" },
            "p2p": p2p,
        });
        let file = self.dir.path().join(format!("{user}.json"));
        write(&file, &config)?;
        if new {
            command.arg("--register");
        }
        command.args(["--user", user, "--password-stdin"]);
        command.arg("--config").arg(file);
        let mut program = Program::start(&format!("warp-node ({user})"), command)?;
        program.line(PASSWORD)?;
        Ok(program)
    }
}

/// A host.
pub(crate) struct Host {
    program: Program,
}

impl Host {
    /// Sends the process a signal.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.program.signal(signal)
    }

    /// A place from which to look for what it tells.
    pub(crate) fn mark(&self) -> usize {
        self.program.mark()
    }

    /// What its members send, bytes a second, as it tells next from this place on.
    ///
    /// # Errors
    /// It tells nothing.
    pub(crate) fn carries(&self, from: usize) -> Result<f64> {
        self.program
            .wait(from, "its state", PATIENCE, |line| match event(line) {
                Some(Event::HostState { host }) => {
                    Some(host.members.iter().map(|one| one.up_bytes_per_s).sum())
                }
                _ => None,
            })
    }
}

/// A launcher that plays.
pub(crate) struct Node {
    program: Program,
    /// Where the game would connect to.
    pub(crate) login: SocketAddr,
}

impl Node {
    /// A place from which to look for events.
    pub(crate) fn mark(&self) -> usize {
        self.program.mark()
    }

    /// Types a line into its console.
    ///
    /// # Errors
    /// It does not read any more.
    pub(crate) fn console(&mut self, line: &str) -> Result<()> {
        self.program.line(line)
    }

    /// Waits for a move between paths that fits, from this place on; gives when it was told, and
    /// where play went.
    ///
    /// # Errors
    /// It did not come in time.
    pub(crate) fn moved(
        &self,
        from: usize,
        limit: Duration,
        fits: impl Fn(PathKind, PathKind) -> bool,
    ) -> Result<(Instant, PathKind)> {
        self.program
            .wait(from, "a move", limit, |line| match event(line) {
                Some(Event::Moved { from, to, .. }) if fits(from, to) => {
                    Some((self.program.time_of(line), to))
                }
                _ => None,
            })
    }

    /// Waits until play has been over the way of one host, with the other host's standing by, in two
    /// tellings of the numbers in a row.
    ///
    /// # Errors
    /// It did not come to that.
    pub(crate) fn has_two_hosts(&self, from: usize, limit: Duration) -> Result<PathKind> {
        let mut times = 0;
        self.program.wait(from, "two hosts", limit, |line| {
            match event(line) {
                Some(Event::Moved { .. }) => times = 0,
                Some(Event::Metrics { metrics }) => {
                    let phase = |way| {
                        let path = metrics.paths.iter().find(|path| path.kind == way);
                        path.map(|path| path.phase)
                    };
                    let phases = WAYS.map(phase);
                    let steady = phases.contains(&Some(PathPhase::InUse))
                        && phases.contains(&Some(PathPhase::Standby));
                    times = if steady { times + 1 } else { 0 };
                    return metrics.path.filter(|_| times == 2);
                }
                _ => {}
            }
            None
        })
    }

    /// How often play moved between paths, or stood still without one, since this place.
    pub(crate) fn disturbances(&self, from: usize) -> usize {
        let lines = self.program.lines_from(from);
        let events = lines.iter().filter_map(event);
        events
            .filter(|event| match event {
                Event::Moved { .. } => true,
                Event::State { state, .. } => *state != LinkState::Connected,
                _ => false,
            })
            .count()
    }

    /// What the launcher counts itself, as it was last told.
    pub(crate) fn metrics(&self) -> Option<warp_engine_core::view::Metrics> {
        let lines = self.program.lines_from(0);
        lines.iter().rev().find_map(|line| match event(line) {
            Some(Event::Metrics { metrics }) => Some(*metrics),
            _ => None,
        })
    }
}

fn event(line: &Line) -> Option<Event> {
    (line.source == Source::Out)
        .then(|| serde_json::from_str(&line.text).ok())
        .flatten()
}

fn write(file: &Path, value: &serde_json::Value) -> Result<()> {
    std::fs::write(file, value.to_string()).with_context(|| format!("{}", file.display()))
}

/// A TCP relay before the echo server, in the servers' place.
pub(crate) struct Relay {
    _program: Program,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Relay {
    /// Starts `socat`, without Nagle's algorithm on both sides, for one connection.
    ///
    /// # Errors
    /// There is no `socat`, or it does not listen.
    pub(crate) fn start(place: Place<'_>, ip: IpAddr, to: SocketAddr) -> Result<Self> {
        let mut command = place.command("socat");
        // -t: after the end of one direction the other may take as long as it likes.
        command.args(["-d", "-d", "-t", "60"]);
        command.arg(format!("TCP-LISTEN:0,bind={ip},nodelay"));
        command.arg(format!("TCP:{to},nodelay"));
        let program = Program::start("socat", command)?;
        let address = program.wait(0, "its address", PATIENCE, |line| {
            let (_, rest) = line.text.split_once("listening on ")?;
            rest.rsplit(' ').next()?.parse().ok()
        })?;
        Ok(Self {
            _program: program,
            address,
        })
    }
}
