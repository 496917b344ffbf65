//! The product around a measurement: a coordinator with TLS and its endpoint, a zone whose game
//! server is the echo server, launchers without a game, and a TCP relay for comparison.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use tempfile::TempDir;
use warp_engine_core::event::Event;
use warp_engine_core::view::LinkState;
use warp_protocol::carrier::PathKind;
use warp_tests::transcript::{Line, Source};

use crate::place::Place;
use crate::program::{Program, ours};

/// The longest that anything is waited for while a house is set up.
const PATIENCE: Duration = Duration::from_secs(30);
const ZONE: &str = "bench";
/// Accounts live as long as the house; their password protects nothing.
const PASSWORD: &str = "measured and forgotten";

/// Coordinator and endpoint.
pub(crate) struct House<'a> {
    // Before the folder: it is dropped first.
    _coordinator: Program,
    url: String,
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
        servers: Place<'_>,
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
        });
        write(&dir.path().join("coordinator.json"), &config)?;
        let zone = json!({
            "zone_id": ZONE,
            "zone_name": "Bench",
            "zone_display_name": "Measurement",
            "map_name": "prontera",
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
        let config = json!({
            "coordinator": {
                "rest_api_url": format!("{}/api/v1", self.url),
                "ca_file": self.dir.path().join("cert.pem"),
                "reconnect_backoff_ms": 200,
            },
            "bridge": { "login_listen": "127.0.0.1:0" },
            "p2p": { "enabled": p2p, "prefer_wait_ms": 15_000, "metrics_interval_ms": 1000 },
        });
        let file = self.dir.path().join(format!("{user}.json"));
        write(&file, &config)?;
        let mut command = self.players.command(ours("warp-node")?);
        command.args(["play", "--json", "--register", "--no-game"]);
        command.args(["--user", user, "--password-stdin", "--zone", ZONE]);
        command.arg("--config").arg(file);
        let mut program = Program::start(&format!("warp-node ({user})"), command)?;
        program.line(PASSWORD)?;
        let mut login = None;
        let mut there = false;
        let login = program.wait(0, &format!("play over {path}"), PATIENCE, |line| {
            match event(line) {
                Some(Event::BridgeReady { login: address, .. }) => login = Some(address),
                Some(Event::State {
                    state, path: now, ..
                }) => {
                    there = state == LinkState::Connected && now == Some(path);
                }
                _ => {}
            }
            login.filter(|_| there)
        })?;
        Ok(Node { program, login })
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

    /// Waits for a move between paths that fits, from this place on; gives when it was told.
    ///
    /// # Errors
    /// It did not come in time.
    pub(crate) fn moved(
        &self,
        from: usize,
        limit: Duration,
        fits: impl Fn(PathKind, PathKind) -> bool,
    ) -> Result<Instant> {
        self.program.wait(from, "a move", limit, |line| {
            let fits = matches!(event(line), Some(Event::Moved { from, to, .. }) if fits(from, to));
            fits.then(|| self.program.time_of(line))
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
