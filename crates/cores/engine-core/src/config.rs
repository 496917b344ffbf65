//! `p2p_config.json`.
//!
//! The sections and keys of the older client keep their names where they still mean something
//! ([`RETIRED`] lists those that do not); new keys stand beside them. Every key has a default, so an
//! empty object is a whole configuration. A key that is not known is a warning with its name; a
//! value that is not allowed refuses the file with the path of the key, the value and what is
//! allowed.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use warp_link_core::{LinkConfig, Redundancy};
use warp_protocol::carrier::PathKind;
use warp_protocol::hosting::MAX_MEMBERS;
use warp_protocol::identity::PublicKey;
use warp_protocol::rest::IceServer;
use warp_protocol::{Problem, ProblemCode, Secret};
use warp_ro_packet::PacketClass;

use crate::levels::{Limits, Thresholds};

mod game;
mod hosting;
mod updates;

pub use game::{ClientInfoSection, GameSection, PracticeSection, has_separator};
pub use hosting::HostingSection;
pub use updates::UpdatesSection;

/// Keys of the older client that have no meaning here, with the reason.
pub const RETIRED: &[(&str, &str)] = &[
    (
        "coordinator.quic_address",
        "the session link runs over WebRTC and WebSocket",
    ),
    (
        "coordinator.quic_port",
        "the session link runs over WebRTC and WebSocket",
    ),
    ("webrtc.enable_dtls", "DTLS is always on"),
    (
        "webrtc.enable_rtp_data_channels",
        "RTP data channels no longer exist",
    ),
    (
        "webrtc.bundle_policy",
        "there are data channels only, which are one stream",
    ),
    ("webrtc.rtcp_mux_policy", "there is no media"),
    ("security.enable_encryption", "encryption is always on"),
    (
        "security.tls_version",
        "TLS 1.3 is always used on the session link",
    ),
    ("performance", "the runtime sizes itself"),
];

/// All of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where the coordinator is.
    pub coordinator: CoordinatorSection,
    /// Whom to believe, and keys.
    pub security: SecuritySection,
    /// The WebRTC path.
    pub webrtc: WebRtcSection,
    /// The session link.
    pub p2p: P2pSection,
    /// The loopback side.
    pub bridge: BridgeSection,
    /// The game.
    pub game: GameSection,
    /// Being a host for others.
    pub hosting: HostingSection,
    /// Newer versions of the launcher.
    pub updates: UpdatesSection,
    /// Logs.
    pub logging: LoggingSection,
}

/// `coordinator`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CoordinatorSection {
    /// Base of the REST routes, `http(s)://host:port/api/v1`.
    pub rest_api_url: String,
    /// Signaling socket; empty: made from `rest_api_url`.
    pub websocket_url: String,
    /// Longest wait for an answer, 1..=300 s.
    pub timeout_seconds: u64,
    /// PEM file with further root certificates, for coordinators with a certificate of their own.
    pub ca_file: String,
    /// The coordinator's public key, as `warp-coordinator key` prints it; empty: the one that it has
    /// when it is met first.
    pub public_key: String,
    /// HTTP proxy of all connections to the coordinator: `system` (the environment's variables, and
    /// the network settings on Windows and macOS; never for this machine itself), `none`, or
    /// `http(s)://host:port`.
    pub proxy: String,
    /// Name for the proxy; empty: none. Without a colon.
    pub proxy_user: String,
    /// Password for the proxy.
    pub proxy_password: Secret,
    /// First wait before a path is opened anew, 100..=60000 ms; it doubles up to 30 s.
    pub reconnect_backoff_ms: u64,
}

impl Default for CoordinatorSection {
    fn default() -> Self {
        Self {
            rest_api_url: "http://127.0.0.1:8001/api/v1".into(),
            websocket_url: String::new(),
            timeout_seconds: 10,
            ca_file: String::new(),
            public_key: String::new(),
            proxy: "system".into(),
            proxy_user: String::new(),
            proxy_password: Secret::new(""),
            reconnect_backoff_ms: 1000,
        }
    }
}

/// `security`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecuritySection {
    /// Play only where the coordinator proves its key, the endpoint has a certificate and signs its
    /// WebRTC descriptions; false: also with an older coordinator, which then is believed.
    pub require_certificates: bool,
    /// Time after which this side updates the keys of the session link, 60..=86400 s.
    #[serde(alias = "KeyRotationInterval")]
    pub key_rotation_interval_seconds: u64,
}

impl Default for SecuritySection {
    fn default() -> Self {
        Self {
            require_certificates: true,
            key_rotation_interval_seconds: 3600,
        }
    }
}

/// `webrtc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebRtcSection {
    /// STUN servers beside those that the coordinator names, `stun:host:port`.
    pub stun_servers: Vec<String>,
    /// TURN servers beside those that the coordinator names, with their credentials.
    pub turn_servers: Vec<IceServer>,
    /// Ask the router to open a port (PCP, NAT-PMP, UPnP-IGD), and offer it.
    pub port_mapping: bool,
    /// Longest wait for a WebRTC path to open, 500..=120000 ms.
    pub connection_timeout_ms: u64,
    /// Most peers that may be connected with this machine at once, 1..=1000: as a host it takes no more
    /// players, whatever `hosting.max_players` says.
    pub max_peers: u32,
    /// Offer loopback addresses too: for a coordinator on this machine.
    pub loopback: bool,
}

impl Default for WebRtcSection {
    fn default() -> Self {
        Self {
            stun_servers: Vec::new(),
            turn_servers: Vec::new(),
            port_mapping: false,
            connection_timeout_ms: 15_000,
            max_peers: 50,
            loopback: true,
        }
    }
}

/// `p2p`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct P2pSection {
    /// May WebRTC be used at all; false: WebSocket only.
    pub enabled: bool,
    /// Paths, best first, of `direct`, `host` and `wss`; one that is missing is not used.
    pub paths: Vec<PathKind>,
    /// Time between heartbeats, 200..=1000 ms: the endpoint says something four times a second.
    pub heartbeat_ms: u64,
    /// Missed heartbeats after which a path counts as silent, 2..=20.
    pub silence_heartbeats: u32,
    /// How long the game is held without any path, 5..=300 s.
    pub hold_seconds: u64,
    /// How often a host is tried before the coordinator is told, 1..=20.
    pub reconnect_attempts: u32,
    /// Time between two tries, 50..=30000 ms.
    pub reconnect_delay_ms: u64,
    /// Send small packets twice: `auto` while packets are lost or take unlike times, `always`, `off`.
    pub redundant_sending: RedundantSending,
    /// How long Play waits for the best path before it starts on another, 0..=30000 ms.
    pub prefer_wait_ms: u64,
    /// Classes of packets that may use the peer lane: `movement`, `chat`, `emote`, `skill`, `item`,
    /// `npc`, `party-guild`, `system`, `other`.
    pub packet_types: Vec<String>,
    /// Join the zone of the map that a player is sent to; false: the chosen zone carries all maps.
    pub follow_map: bool,
    /// How long a zone that nobody needs any more stays joined, 0..=600 s.
    pub zone_linger_seconds: u64,
    /// Time between two tellings of the numbers while nobody watches them, 1000..=60000 ms.
    pub metrics_interval_ms: u64,
    /// From where on a figure is fair, and poor.
    pub thresholds: Thresholds,
}

impl Default for P2pSection {
    fn default() -> Self {
        Self {
            enabled: true,
            paths: vec![
                PathKind::Direct,
                PathKind::Host,
                PathKind::Wss,
                PathKind::Tcp,
            ],
            heartbeat_ms: 250,
            silence_heartbeats: 3,
            hold_seconds: 30,
            reconnect_attempts: 3,
            reconnect_delay_ms: 500,
            redundant_sending: RedundantSending::Auto,
            prefer_wait_ms: 3000,
            packet_types: [PacketClass::Movement, PacketClass::Chat, PacketClass::Emote]
                .map(|class| class.as_str().to_owned())
                .into(),
            follow_map: true,
            zone_linger_seconds: 20,
            metrics_interval_ms: 5000,
            thresholds: Thresholds::default(),
        }
    }
}

/// `p2p.redundant_sending`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "lowercase")]
pub enum RedundantSending {
    /// While packets are lost, or take unlike times.
    #[default]
    Auto,
    /// All the time.
    Always,
    /// Never.
    Off,
}

impl From<RedundantSending> for Redundancy {
    fn from(mode: RedundantSending) -> Self {
        match mode {
            RedundantSending::Auto => Self::Auto,
            RedundantSending::Always => Self::Always,
            RedundantSending::Off => Self::Off,
        }
    }
}

/// `bridge`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BridgeSection {
    /// Loopback address that the game is pointed at; port 0: any free one.
    pub login_listen: SocketAddr,
    /// Packet tables of one's own, at most 16 of different versions. One of a version that is
    /// compiled in takes its place.
    pub packet_tables: Vec<PacketTableFile>,
    /// Answer `/p2p` and `@p2p` lines that are typed in the game's chat.
    pub commands: bool,
    /// Sign a game client in again whose map server's connection is lost, instead of ending its
    /// connection. What it said to sign in is kept in memory for that.
    pub reentry: bool,
    /// How long that may take, and joining the zone again if its link is lost; milliseconds.
    pub reentry_timeout_ms: u64,
}

/// One of `bridge.packet_tables`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketTableFile {
    /// Packet version of the clients that it describes, for instance 20211103.
    pub version: u32,
    /// File in OpenKore's `recvpackets.txt` format; see [`Config::relative_to`].
    pub file: String,
}

impl Default for BridgeSection {
    fn default() -> Self {
        Self {
            login_listen: SocketAddr::from(([127, 0, 0, 1], 6900)),
            packet_tables: Vec::new(),
            commands: true,
            reentry: true,
            reentry_timeout_ms: 45_000,
        }
    }
}

/// `logging`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoggingSection {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: LogLevel,
}

impl Default for LoggingSection {
    fn default() -> Self {
        Self {
            level: LogLevel::Warn,
        }
    }
}

/// `logging.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// And what a person should look at.
    Warn,
    /// And one line per change of state.
    Info,
    /// And details.
    Debug,
    /// And packets.
    Trace,
}

impl LogLevel {
    /// As a log filter names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// A configuration with what was odd about its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// One line per key that does nothing, or not all that it says: its path, and why.
    pub warnings: Vec<String>,
}

/// Reads the text of a configuration file; `name` is what the problem calls the file.
///
/// # Errors
/// [`ProblemCode::ConfigUnreadable`] when it is not JSON, [`ProblemCode::ConfigValue`] when a value
/// is not allowed; the subject is `file: key path`.
pub fn parse(name: &str, text: &str) -> Result<Loaded, Problem> {
    let mut ignored: Vec<String> = Vec::new();
    let mut json = serde_json::Deserializer::from_str(text);
    let mut note = |path: serde_ignored::Path<'_>| {
        ignored.push(path.to_string().replace(".?", ""));
    };
    let noting = serde_ignored::Deserializer::new(&mut json, &mut note);
    let config: Config = serde_path_to_error::deserialize(noting).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            // The words repeat the value, and people write passwords there.
            let detail = if path.starts_with("webrtc.turn_servers") {
                r#"allowed is {"urls": ["turn:host:port"], "username": "...", "credential": "..."}"#
                    .into()
            } else if path.ends_with("password") {
                "[secret] is not allowed here: text".into()
            } else {
                inner.to_string()
            };
            Problem::new(ProblemCode::ConfigValue, format!("{name}: {path}")).with_detail(detail)
        } else {
            Problem::new(ProblemCode::ConfigUnreadable, name).with_detail(inner.to_string())
        }
    })?;
    json.end().map_err(|error| {
        Problem::new(ProblemCode::ConfigUnreadable, name).with_detail(error.to_string())
    })?;
    check(name, &config)?;
    let mut warnings: Vec<String> = ignored.iter().map(|path| warning(path)).collect();
    let (players, peers) = (config.hosting.max_players, config.webrtc.max_peers);
    if players > peers {
        warnings.push(format!(
            "hosting.max_players: of {players} players {peers} are carried, which is webrtc.max_peers"
        ));
    }
    Ok(Loaded { config, warnings })
}

fn warning(path: &str) -> String {
    let retired = RETIRED
        .iter()
        .find(|(key, _)| path == *key || path.starts_with(&format!("{key}.")));
    match retired {
        Some((_, why)) => format!("{path}: no longer has a meaning ({why})"),
        None => format!("{path}: unknown key, ignored"),
    }
}

/// A value that is not allowed.
pub(crate) struct Wrong {
    /// Path of the key.
    pub(crate) key: String,
    /// The value.
    pub(crate) value: String,
    /// What is allowed.
    pub(crate) allowed: String,
}

impl Wrong {
    pub(crate) fn new(
        key: &str,
        value: &dyn std::fmt::Display,
        allowed: impl Into<String>,
    ) -> Self {
        Self {
            key: key.to_owned(),
            value: value.to_string(),
            allowed: allowed.into(),
        }
    }

    /// `Err` when `value` is outside `range`.
    pub(crate) fn unless_in(
        key: &str,
        value: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<(), Self> {
        if range.contains(&value) {
            return Ok(());
        }
        let allowed = format!("{} to {}", range.start(), range.end());
        Err(Self::new(key, &value, allowed))
    }
}

fn check(name: &str, config: &Config) -> Result<(), Problem> {
    config
        .coordinator
        .check()
        .and_then(|()| {
            let timeout = config.webrtc.connection_timeout_ms;
            Wrong::unless_in("webrtc.connection_timeout_ms", timeout, 500..=120_000)
        })
        .and_then(|()| config.webrtc.check())
        .and_then(|()| config.p2p.check())
        .and_then(|()| config.bridge.check())
        .and_then(|()| config.game.check())
        .and_then(|()| config.security.check())
        .and_then(|()| config.hosting.check())
        .and_then(|()| config.updates.check())
        .map_err(|wrong| {
            Problem::new(ProblemCode::ConfigValue, format!("{name}: {}", wrong.key)).with_detail(
                format!("{} is not allowed here: {}", wrong.value, wrong.allowed),
            )
        })
}

impl CoordinatorSection {
    fn check(&self) -> Result<(), Wrong> {
        let url = &self.rest_api_url;
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            let allowed = "http://... or https://...";
            return Err(Wrong::new("coordinator.rest_api_url", url, allowed));
        }
        let socket = &self.websocket_url;
        if !(socket.is_empty() || socket.starts_with("ws://") || socket.starts_with("wss://")) {
            let allowed = "ws://..., wss://... or empty";
            return Err(Wrong::new("coordinator.websocket_url", socket, allowed));
        }
        let key = &self.public_key;
        if !key.is_empty() && PublicKey::from_hex(key).is_none() {
            let allowed = "the 88 hex digits that `warp-coordinator key` prints, or empty";
            return Err(Wrong::new("coordinator.public_key", key, allowed));
        }
        self.check_proxy()?;
        Wrong::unless_in("coordinator.timeout_seconds", self.timeout_seconds, 1..=300)?;
        Wrong::unless_in(
            "coordinator.reconnect_backoff_ms",
            self.reconnect_backoff_ms,
            100..=60_000,
        )
    }
}

impl SecuritySection {
    fn check(&self) -> Result<(), Wrong> {
        let interval = self.key_rotation_interval_seconds;
        Wrong::unless_in(
            "security.key_rotation_interval_seconds",
            interval,
            60..=86_400,
        )
    }
}

impl CoordinatorSection {
    fn check_proxy(&self) -> Result<(), Wrong> {
        let proxy = &self.proxy;
        let url = proxy.starts_with("http://") || proxy.starts_with("https://");
        if !(url || proxy == "system" || proxy == "none") || proxy.contains('@') {
            // People write passwords into such addresses.
            let shown = if proxy.contains('@') {
                "[secret]"
            } else {
                proxy
            };
            let allowed = "system, none or http(s)://host:port; \
                           name and password stand in proxy_user and proxy_password";
            return Err(Wrong::new("coordinator.proxy", &shown, allowed));
        }
        let lone = self.proxy_user.is_empty() && !self.proxy_password.is_empty();
        if lone || self.proxy_user.contains(':') {
            let allowed = "a name without a colon, which proxy_password needs beside it";
            let user = &self.proxy_user;
            return Err(Wrong::new("coordinator.proxy_user", user, allowed));
        }
        Ok(())
    }
}

impl WebRtcSection {
    fn check(&self) -> Result<(), Wrong> {
        let peers = u64::from(self.max_peers);
        Wrong::unless_in("webrtc.max_peers", peers, 1..=u64::from(MAX_MEMBERS))?;
        for (place, server) in self.turn_servers.iter().enumerate() {
            let key = format!("webrtc.turn_servers[{place}]");
            let wrong = server.urls.iter().find(|url| !url.starts_with("turn"));
            if let Some(url) = wrong {
                let allowed = "turn:host:port; its name and password stand beside it";
                return Err(Wrong::new(&format!("{key}.urls"), url, allowed));
            }
            if server.username.is_none() || server.credential.is_none() {
                let allowed = "username and credential beside urls";
                return Err(Wrong::new(&key, &"an incomplete server", allowed));
            }
        }
        Ok(())
    }

    /// The servers of the configuration, as the coordinator writes its own.
    pub fn ice_servers(&self) -> Vec<IceServer> {
        let mut servers = self.turn_servers.clone();
        if !self.stun_servers.is_empty() {
            servers.push(IceServer {
                urls: self.stun_servers.clone(),
                username: None,
                credential: None,
            });
        }
        servers
    }
}

impl P2pSection {
    fn check(&self) -> Result<(), Wrong> {
        Wrong::unless_in("p2p.heartbeat_ms", self.heartbeat_ms, 200..=1000)?;
        let silence = u64::from(self.silence_heartbeats);
        Wrong::unless_in("p2p.silence_heartbeats", silence, 2..=20)?;
        Wrong::unless_in("p2p.hold_seconds", self.hold_seconds, 5..=300)?;
        let attempts = u64::from(self.reconnect_attempts);
        Wrong::unless_in("p2p.reconnect_attempts", attempts, 1..=20)?;
        Wrong::unless_in(
            "p2p.reconnect_delay_ms",
            self.reconnect_delay_ms,
            50..=30_000,
        )?;
        Wrong::unless_in("p2p.prefer_wait_ms", self.prefer_wait_ms, 0..=30_000)?;
        Wrong::unless_in("p2p.zone_linger_seconds", self.zone_linger_seconds, 0..=600)?;
        let interval = self.metrics_interval_ms;
        Wrong::unless_in("p2p.metrics_interval_ms", interval, 1000..=60_000)?;
        check_thresholds(&self.thresholds)?;
        if self.paths.is_empty() {
            let allowed = "at least one of direct, host, wss, tcp";
            return Err(Wrong::new("p2p.paths", &"[]", allowed));
        }
        let names = PacketClass::ALL.map(PacketClass::as_str);
        match self
            .packet_types
            .iter()
            .enumerate()
            .find(|(_, name)| !names.contains(&name.as_str()))
        {
            Some((place, name)) => Err(Wrong::new(
                &format!("p2p.packet_types[{place}]"),
                name,
                format!("one of {}", names.join(", ")),
            )),
            None => Ok(()),
        }
    }
}

/// Limits lie in their figure's range, and poor beyond fair.
fn check_thresholds(thresholds: &Thresholds) -> Result<(), Wrong> {
    let Thresholds {
        quality,
        rtt_ms,
        jitter_ms,
        loss_percent,
    } = thresholds;
    let rising = |limits: &Limits, most: f64| {
        limits.fair > 0.0 && limits.fair < limits.poor && limits.poor <= most
    };
    let turned = Limits {
        fair: 100.0 - quality.fair,
        poor: 100.0 - quality.poor,
    };
    for (key, limits, good, allowed) in [
        (
            "quality",
            quality,
            rising(&turned, 100.0),
            "100 > fair > poor >= 0",
        ),
        (
            "rtt_ms",
            rtt_ms,
            rising(rtt_ms, 60_000.0),
            "0 < fair < poor <= 60000",
        ),
        (
            "jitter_ms",
            jitter_ms,
            rising(jitter_ms, 60_000.0),
            "0 < fair < poor <= 60000",
        ),
        (
            "loss_percent",
            loss_percent,
            rising(loss_percent, 100.0),
            "0 < fair < poor <= 100",
        ),
    ] {
        if !good {
            let value = format!("fair {}, poor {}", limits.fair, limits.poor);
            return Err(Wrong::new(
                &format!("p2p.thresholds.{key}"),
                &value,
                allowed,
            ));
        }
    }
    Ok(())
}

/// Most `bridge.packet_tables`.
const MAX_TABLES: usize = 16;
/// Versions are dates, and the game is not older.
const TABLE_VERSIONS: std::ops::RangeInclusive<u32> = 20_000_101..=99_991_231;

impl BridgeSection {
    fn check(&self) -> Result<(), Wrong> {
        if !self.login_listen.ip().is_loopback() {
            return Err(Wrong::new(
                "bridge.login_listen",
                &self.login_listen,
                "a loopback address such as 127.0.0.1:6900; the bridge is never open to others",
            ));
        }
        if self.packet_tables.len() > MAX_TABLES {
            let allowed = format!("at most {MAX_TABLES} tables");
            let count = self.packet_tables.len();
            return Err(Wrong::new("bridge.packet_tables", &count, allowed));
        }
        Wrong::unless_in(
            "bridge.reentry_timeout_ms",
            self.reentry_timeout_ms,
            1000..=300_000,
        )?;
        for (place, table) in self.packet_tables.iter().enumerate() {
            let before = self.packet_tables.iter().take(place);
            let twice = before
                .map(|other| other.version)
                .any(|version| version == table.version);
            if twice || !TABLE_VERSIONS.contains(&table.version) {
                let key = format!("bridge.packet_tables[{place}].version");
                let allowed = "a date such as 20190605, which no other table of the list has";
                return Err(Wrong::new(&key, &table.version, allowed));
            }
        }
        Ok(())
    }
}

impl Config {
    /// Makes relative paths absolute by `folder`, the configuration file's: those of the game
    /// ([`GameSection::relative_to`]) and of `bridge.packet_tables`.
    pub fn relative_to(&mut self, folder: &std::path::Path) {
        self.game.relative_to(folder);
        for table in &mut self.bridge.packet_tables {
            if let Some(rooted) = folder.join(&table.file).to_str() {
                table.file = rooted.to_owned();
            }
        }
    }

    /// The paths that may be used, best first. Where hosts may be, both ways over hosts are.
    pub fn paths(&self) -> Vec<PathKind> {
        let mut paths = Vec::with_capacity(PathKind::ALL.len());
        let is_p2p = |kind: PathKind| !matches!(kind, PathKind::Wss | PathKind::Tcp);
        let allowed = |kind: &PathKind| self.p2p.enabled || !is_p2p(*kind);
        for kind in self.p2p.paths.iter().copied().filter(allowed) {
            let ways = if kind.is_host() {
                [PathKind::Host, PathKind::Host2]
            } else {
                [kind, kind]
            };
            for way in ways {
                if !paths.contains(&way) {
                    paths.push(way);
                }
            }
        }
        paths
    }

    /// The numbers of the session link.
    pub fn link(&self) -> LinkConfig {
        let mut preference = self.paths();
        // That one leads past the endpoint.
        preference.retain(|kind| *kind != PathKind::Tcp);
        let heartbeat = Duration::from_millis(self.p2p.heartbeat_ms);
        let numbers = LinkConfig::default();
        LinkConfig {
            heartbeat,
            silence_heartbeats: self.p2p.silence_heartbeats,
            // A path is left before it is given up.
            give_up: numbers
                .give_up
                .max(heartbeat * self.p2p.silence_heartbeats * 2),
            hold: Duration::from_secs(self.p2p.hold_seconds),
            preference,
            redundancy: self.p2p.redundant_sending.into(),
            key_interval: Duration::from_secs(self.security.key_rotation_interval_seconds),
            ..numbers
        }
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
