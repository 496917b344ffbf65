//! The coordinator that is measured, as a process of its own, and its accounts, hosts and sessions.

use std::net::SocketAddr;
use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use rand::RngCore as _;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use warp_link_core::Identity;
use warp_protocol::identity::device_message;
use warp_protocol::rest::{CertificateRequest, IdentityProof};

use super::Cores;
use super::http::{Connection, Rate, Request, measure_with, once};
use crate::program::{Program, ours};

pub(crate) const ZONE: &str = "bench";
/// Who plays, and who hosts: nobody is given a host of his own.
pub(crate) const PLAYER: &str = "player";
pub(crate) const VOLUNTEER: &str = "volunteer";
/// Who may see the dashboard.
pub(crate) const STAFF: &str = "staff";
const PASSWORD: &str = "correct horse";
/// How long starting may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// DER in front of the 32 bytes of an Ed25519 key (RFC 8410).
const SPKI: &str = "302a300506032b6570032100";

pub(crate) type Socket = WebSocketStream<TcpStream>;

pub(crate) struct Subject {
    pub(crate) address: SocketAddr,
    program: Program,
    _dir: tempfile::TempDir,
}

/// A session: where its owner may send signals.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) peer: String,
}

impl Subject {
    /// Starts one with an account and a zone; limits of rate and number are out of the way.
    pub(crate) fn start(cores: &Cores) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let plenty = json!({"burst": 1_000_000_000, "per_minute": 1_000_000_000});
        let config = json!({
            // Each session is one request this way, and not two.
            "require_certificates": false,
            "limits": {"address": plenty, "account": plenty, "signals": plenty, "relay_bytes": plenty,
                       "requests": plenty, "address_requests": plenty},
            "capacity": {"sessions": 100_000, "sessions_per_account": 100_000,
                         "hosts": 2000, "hosts_per_account": 2000,
                         "connections": 40_000, "connections_per_address": 40_000},
            "keep_alive": {"ping_seconds": 20, "idle_seconds": 600},
            "hosts": {"heartbeat_seconds": 60, "silent_seconds": 600},
        });
        let file = dir.path().join("config.json");
        std::fs::write(&file, config.to_string())?;
        let zone = dir.path().join("zone.json");
        let zone_file = json!({
            "zone_id": ZONE, "zone_name": "Bench", "zone_display_name": "Bench", "map_name": "bench",
            "maps": [], "max_players": 1_000_000, "recommended_players": 100, "p2p_enabled": true,
            "p2p_priority": 5, "fallback_enabled": true, "min_host_quality_score": 7,
            "min_bandwidth_mbps": 20, "max_latency_ms": 100, "description": "",
            "game": {"packet_version": 20_211_103, "login": "127.0.0.1:1",
                     "char": ["127.0.0.1:2"], "map": ["127.0.0.1:3"]},
        });
        std::fs::write(&zone, zone_file.to_string())?;
        let binary = ours("warp-coordinator")?;
        let command = |arguments: &[&str]| {
            let mut command = Command::new(&binary);
            command.args(arguments);
            command.arg("--data").arg(dir.path().join("data"));
            command.env("WARP_LOG", "warn");
            command
        };
        let zone = zone.to_str().context("a path")?;
        let put = Program::start("zone put", command(&["zone", "put", zone]))?;
        put.succeed(PATIENCE)?;
        for (name, role) in [(PLAYER, "player"), (VOLUNTEER, "host"), (STAFF, "gm")] {
            let add = command(&["user", "add", name, "--password-stdin", "--role", role]);
            let mut add = Program::start("user add", add)?;
            add.line(PASSWORD)?;
            add.succeed(PATIENCE)?;
        }
        let file = file.to_str().context("a path")?;
        let serve = command(&["serve", "--listen", "127.0.0.1:0", "--config", file]);
        let program = cores.on_subject(|| Program::start("the coordinator", serve))?;
        let address = program.wait(0, "its address", PATIENCE, |line| {
            line.text.strip_prefix("http://")?.parse().ok()
        })?;
        Ok(Self {
            address,
            program,
            _dir: dir,
        })
    }

    /// Resident memory, KiB.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_ascii_whitespace().nth(1));
        Ok(number
            .context("the kernel does not tell the memory")?
            .parse()?)
    }

    /// Processor time that it has had, all threads together; counted by the kernel in steps of 10 ms.
    pub(crate) fn processor(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.program.id()))?;
        // The name stands in parentheses and may hold anything; utime is the 12th field behind it.
        let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
        let mut ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
        let (Some(Ok(user)), Some(Ok(system))) = (ticks.next(), ticks.next()) else {
            anyhow::bail!("the kernel does not tell the processor time");
        };
        Ok(Duration::from_millis(10 * (user + system)))
    }

    fn sign_in(name: &str) -> Request {
        let body = json!({"username": name, "password": PASSWORD});
        Request::post("/api/v1/auth/login", "", &body)
    }

    async fn tokens(&self, name: &str) -> Result<Value> {
        let (status, tokens) = once(self.address, &Self::sign_in(name)).await?;
        ensure!(status == 200, "sign-in: {tokens}");
        Ok(tokens)
    }

    /// An access token of this account.
    pub(crate) async fn token(&self, name: &str) -> Result<String> {
        text(&self.tokens(name).await?["access_token"])
    }

    /// Registers the volunteer's hosts `bench-N`; gives their peer ids.
    pub(crate) async fn hosts(&self, numbers: Range<usize>, token: &str) -> Result<Vec<String>> {
        let nonce = format!("/api/v1/identity?nonce={}", "00".repeat(16));
        let (_, proof) = once(self.address, &Request::get(&nonce, "")).await?;
        let proof: IdentityProof = serde_json::from_value(proof)?;
        let device = Identity::from_pkcs8_der(&warp_endpoint::generate_identity_der())?;
        let key = device.key();
        let message = device_message(&proof.public_key, VOLUNTEER, &key, proof.time);
        let request = CertificateRequest {
            device_key: key,
            time: proof.time,
            proof: hex::encode(device.sign(&message).context("a device signs")?),
        };
        let request = serde_json::to_value(request)?;
        let request = Request::post("/api/v1/devices/certificate", token, &request);
        let (status, certified) = once(self.address, &request).await?;
        ensure!(status == 200, "certificate: {certified}");
        let mut connection = Connection::open(self.address).await?;
        let mut peers = Vec::new();
        for number in numbers {
            let body = json!({
                "host_id": format!("bench-{number}"), "zones": [ZONE], "cpu_cores": 8,
                "cpu_frequency_mhz": 3600, "memory_mb": 16_384, "network_speed_mbps": 1000,
                "max_players": 50, "device_key": key.to_string(),
                "certificate": certified["certificate"],
            });
            let request = Request::post("/api/v1/hosts/register", token, &body);
            let (status, body) = connection.ask(&request).await?;
            let said: Value = serde_json::from_slice(body)?;
            ensure!(status == 201, "host {number}: {said}");
            peers.push(text(&said["peer_id"])?);
        }
        Ok(peers)
    }

    /// Opens the sockets of hosts, and reads what comes.
    pub(crate) async fn attach(&self, peers: &[String], token: &str) -> Result<Attached> {
        let mut tasks = tokio::task::JoinSet::new();
        for peer in peers {
            let mut socket = self.socket(&format!("peer_id={peer}"), token, 0).await?;
            tasks.spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
        }
        Ok(Attached { _tasks: tasks })
    }

    /// Opens a signaling socket; `number` spreads them over source addresses, each of which has a
    /// bounded number of ports.
    pub(crate) async fn socket(&self, query: &str, token: &str, number: usize) -> Result<Socket> {
        let path = format!("api/v1/signaling/ws?{query}");
        connect(self.address, &path, Some(token), number).await
    }

    fn join(token: &str) -> Request {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        let body = json!({"device_key": format!("{SPKI}{}", hex::encode(key))});
        Request::post(&format!("/api/v1/zones/{ZONE}/join"), token, &body)
    }

    /// So many sessions.
    pub(crate) async fn sessions(&self, count: usize, token: &str) -> Result<Vec<Session>> {
        let mut connection = Connection::open(self.address).await?;
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            let (status, body) = connection.ask(&Self::join(token)).await?;
            let grant: Value = serde_json::from_slice(body)?;
            ensure!(status == 201, "join: {grant}");
            all.push(Session {
                id: text(&grant["session_id"])?,
                peer: text(&grant["peer_id"])?,
            });
        }
        Ok(all)
    }

    /// Lets the second of each pair into the room of the first.
    pub(crate) async fn pair(&self, sessions: &[Session], token: &str) -> Result<()> {
        let mut connection = Connection::open(self.address).await?;
        for pair in sessions.chunks_exact(2) {
            let path = format!("/api/v1/links/{}/guests", pair[0].id);
            let request = Request::post(&path, token, &json!({"peer_id": pair[1].peer}));
            let (status, body) = connection.ask(&request).await?;
            ensure!(status == 204, "guest: {}", String::from_utf8_lossy(body));
        }
        Ok(())
    }

    pub(crate) async fn sign_ins(&self, connections: usize, span: Duration) -> Result<Rate> {
        let requests = vec![Self::sign_in(PLAYER); connections];
        measure_with(self.address, requests, span, |_, _| Ok(None)).await
    }

    /// Each connection trades the token that it was given by the trade before.
    pub(crate) async fn refreshes(&self, connections: usize, span: Duration) -> Result<Rate> {
        let trade = |tokens: &Value| {
            let body = json!({"refresh_token": tokens["refresh_token"]});
            Request::post("/api/v1/auth/refresh", "", &body)
        };
        let mut requests = Vec::new();
        // Not of the account that has just signed in many times a second: of those the newest 32 count, and
        // which are the newest is known to the second.
        for _ in 0..connections {
            requests.push(trade(&self.tokens(VOLUNTEER).await?));
        }
        let next = move |_, body: &[u8]| Ok(Some(trade(&serde_json::from_slice(body)?)));
        measure_with(self.address, requests, span, next).await
    }

    /// A new device each time.
    pub(crate) async fn joins(
        &self,
        connections: usize,
        span: Duration,
        token: &str,
    ) -> Result<Rate> {
        let requests = (0..connections).map(|_| Self::join(token)).collect();
        let token = token.to_owned();
        let next = move |_, _: &[u8]| Ok(Some(Self::join(&token)));
        measure_with(self.address, requests, span, next).await
    }
}

/// Opens a WebSocket. `number`: how many there are already; an address has so many ports only.
pub(crate) async fn connect(
    to: SocketAddr,
    path: &str,
    token: Option<&str>,
    number: usize,
) -> Result<Socket> {
    let mut request = format!("ws://{to}/{path}").into_client_request()?;
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse()?;
        request.headers_mut().insert("authorization", bearer);
    }
    let tcp = tokio::net::TcpSocket::new_v4()?;
    let source = [127, 0, 0, u8::try_from(2 + number / 5000)?];
    tcp.bind((source, 0).into())?;
    let stream = tcp.connect(to).await?;
    stream.set_nodelay(true)?;
    let small = WebSocketConfig::default().read_buffer_size(1024);
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(small));
    Ok(opened.await.context("WebSocket")?.0)
}

/// Sockets of hosts; they close when this is dropped.
pub(crate) struct Attached {
    _tasks: tokio::task::JoinSet<()>,
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("text was expected")?.to_owned())
}
