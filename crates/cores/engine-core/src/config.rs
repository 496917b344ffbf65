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
use warp_protocol::{Problem, ProblemCode};

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
        "there is one data channel and nothing to bundle",
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
    /// The WebRTC path.
    pub webrtc: WebRtcSection,
    /// The session link.
    pub p2p: P2pSection,
    /// The loopback side.
    pub bridge: BridgeSection,
    /// The game.
    pub game: GameSection,
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
            reconnect_backoff_ms: 1000,
        }
    }
}

/// `webrtc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebRtcSection {
    /// STUN servers beside those that the coordinator names, `stun:host:port`.
    pub stun_servers: Vec<String>,
    /// Longest wait for a WebRTC path to open, 500..=120000 ms.
    pub connection_timeout_ms: u64,
    /// Offer loopback addresses too: for a coordinator on this machine.
    pub loopback: bool,
}

impl Default for WebRtcSection {
    fn default() -> Self {
        Self {
            stun_servers: Vec::new(),
            connection_timeout_ms: 15_000,
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
    /// Paths, best first, of `direct` and `wss`; one that is missing is not used.
    pub paths: Vec<PathKind>,
    /// Time between heartbeats, 50..=5000 ms.
    pub heartbeat_ms: u64,
    /// Missed heartbeats after which a path counts as silent, 2..=20.
    pub silence_heartbeats: u32,
    /// How long the game is held without any path, 5..=300 s.
    pub hold_seconds: u64,
    /// Send small packets twice while packets are lost.
    pub redundant_sending: RedundantSending,
    /// How long Play waits for the best path before it starts on another, 0..=30000 ms.
    pub prefer_wait_ms: u64,
}

impl Default for P2pSection {
    fn default() -> Self {
        Self {
            enabled: true,
            paths: vec![PathKind::Direct, PathKind::Wss],
            heartbeat_ms: 250,
            silence_heartbeats: 3,
            hold_seconds: 30,
            redundant_sending: RedundantSending::Auto,
            prefer_wait_ms: 3000,
        }
    }
}

/// `p2p.redundant_sending`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedundantSending {
    /// While packets are lost.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// `bridge`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BridgeSection {
    /// Loopback address that the game is pointed at; port 0: any free one.
    pub login_listen: SocketAddr,
}

impl Default for BridgeSection {
    fn default() -> Self {
        Self {
            login_listen: SocketAddr::from(([127, 0, 0, 1], 6900)),
        }
    }
}

/// `game`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GameSection {
    /// Program to start; empty: none, unless `practice` is set.
    pub executable: String,
    /// Its arguments; `{login}` becomes the bridge's address.
    pub arguments: Vec<String>,
    /// Where it is started; empty: its own folder.
    pub working_directory: String,
    /// Start the practice client as the game.
    pub practice: Option<PracticeSection>,
}

/// `game.practice`: what Play starts where no game is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PracticeSection {
    /// Account on the practice server, `test1`..`test99`; its password is its name.
    pub account: String,
    /// Requests per second, 1..=100.
    pub rate: u32,
    /// How long it plays, 1..=86400 s.
    pub seconds: u64,
}

impl Default for PracticeSection {
    fn default() -> Self {
        Self {
            account: "test1".into(),
            rate: 10,
            seconds: 600,
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
    /// One line per key that does nothing: its path, and why.
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
            Problem::new(ProblemCode::ConfigValue, format!("{name}: {path}"))
                .with_detail(inner.to_string())
        } else {
            Problem::new(ProblemCode::ConfigUnreadable, name).with_detail(inner.to_string())
        }
    })?;
    json.end().map_err(|error| {
        Problem::new(ProblemCode::ConfigUnreadable, name).with_detail(error.to_string())
    })?;
    check(name, &config)?;
    let warnings = ignored.into_iter().map(|path| warning(&path)).collect();
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

fn check(name: &str, config: &Config) -> Result<(), Problem> {
    let refuse = |key: &str, value: &dyn std::fmt::Display, allowed: &str| {
        Err(
            Problem::new(ProblemCode::ConfigValue, format!("{name}: {key}"))
                .with_detail(format!("{value} is not allowed here: {allowed}")),
        )
    };
    let url = &config.coordinator.rest_api_url;
    if !(url.starts_with("http://") || url.starts_with("https://")) {
        return refuse("coordinator.rest_api_url", url, "http://... or https://...");
    }
    let socket = &config.coordinator.websocket_url;
    if !(socket.is_empty() || socket.starts_with("ws://") || socket.starts_with("wss://")) {
        return refuse(
            "coordinator.websocket_url",
            socket,
            "ws://..., wss://... or empty",
        );
    }
    let ranges: [(&str, u64, std::ops::RangeInclusive<u64>); 8] = [
        (
            "coordinator.timeout_seconds",
            config.coordinator.timeout_seconds,
            1..=300,
        ),
        (
            "coordinator.reconnect_backoff_ms",
            config.coordinator.reconnect_backoff_ms,
            100..=60_000,
        ),
        (
            "webrtc.connection_timeout_ms",
            config.webrtc.connection_timeout_ms,
            500..=120_000,
        ),
        ("p2p.heartbeat_ms", config.p2p.heartbeat_ms, 50..=5000),
        (
            "p2p.silence_heartbeats",
            u64::from(config.p2p.silence_heartbeats),
            2..=20,
        ),
        ("p2p.hold_seconds", config.p2p.hold_seconds, 5..=300),
        ("p2p.prefer_wait_ms", config.p2p.prefer_wait_ms, 0..=30_000),
        (
            "game.practice.rate",
            u64::from(
                config
                    .game
                    .practice
                    .as_ref()
                    .map_or(1, |practice| practice.rate),
            ),
            1..=100,
        ),
    ];
    for (key, value, range) in ranges {
        if !range.contains(&value) {
            let allowed = format!("{} to {}", range.start(), range.end());
            return refuse(key, &value, &allowed);
        }
    }
    if !config.bridge.login_listen.ip().is_loopback() {
        return refuse(
            "bridge.login_listen",
            &config.bridge.login_listen,
            "a loopback address such as 127.0.0.1:6900; the bridge is never open to others",
        );
    }
    if config.p2p.paths.is_empty() {
        return refuse("p2p.paths", &"[]", "at least one of direct, wss");
    }
    Ok(())
}

impl Config {
    /// The paths that may be used, best first.
    pub fn paths(&self) -> Vec<PathKind> {
        self.p2p
            .paths
            .iter()
            .copied()
            .filter(|kind| self.p2p.enabled || *kind == PathKind::Wss)
            .collect()
    }

    /// The numbers of the session link.
    pub fn link(&self) -> LinkConfig {
        LinkConfig {
            heartbeat: Duration::from_millis(self.p2p.heartbeat_ms),
            silence_heartbeats: self.p2p.silence_heartbeats,
            hold: Duration::from_secs(self.p2p.hold_seconds),
            preference: self.paths(),
            redundancy: match self.p2p.redundant_sending {
                RedundantSending::Auto => Redundancy::Auto,
                RedundantSending::Off => Redundancy::Off,
            },
            ..LinkConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_object_is_a_whole_configuration() {
        let loaded = parse("p2p_config.json", "{}").unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.warnings.is_empty());
    }

    #[test]
    fn unknown_and_retired_keys_are_named() {
        let text = r#"{"p2p": {"max_perrs": 5}, "webrtc": {"enable_dtls": true},
                       "performance": {"worker_threads": 4}, "overlay": {}}"#;
        let warnings = parse("c.json", text).unwrap().warnings;
        assert!(
            warnings
                .iter()
                .any(|line| line.starts_with("p2p.max_perrs: unknown key"))
        );
        assert!(
            warnings
                .iter()
                .any(|line| line.starts_with("webrtc.enable_dtls: no longer"))
        );
        assert!(
            warnings
                .iter()
                .any(|line| line.starts_with("performance: no longer"))
        );
        assert!(
            warnings
                .iter()
                .any(|line| line.starts_with("overlay: unknown key"))
        );
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_path_the_value_and_what_is_allowed() {
        for (text, path, value) in [
            (r#"{"p2p": {"heartbeat_ms": 1}}"#, "p2p.heartbeat_ms", "1 "),
            (
                r#"{"p2p": {"heartbeat_ms": "soon"}}"#,
                "p2p.heartbeat_ms",
                "soon",
            ),
            (
                r#"{"p2p": {"paths": ["tunnel"]}}"#,
                "p2p.paths[0]",
                "tunnel",
            ),
            (r#"{"p2p": {"paths": []}}"#, "p2p.paths", "[]"),
            (
                r#"{"bridge": {"login_listen": "0.0.0.0:6900"}}"#,
                "bridge.login_listen",
                "0.0.0.0",
            ),
            (
                r#"{"coordinator": {"rest_api_url": "ftp://x"}}"#,
                "coordinator.rest_api_url",
                "ftp://x",
            ),
        ] {
            let problem = parse("c.json", text).unwrap_err();
            assert_eq!(problem.code, ProblemCode::ConfigValue, "{text}");
            assert_eq!(problem.subject, format!("c.json: {path}"));
            let detail = problem.detail.unwrap();
            assert!(detail.contains(value), "{detail}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_the_place() {
        for text in ["", "{", "[] x", "{} {}"] {
            let problem = parse("c.json", text).unwrap_err();
            assert!(problem.detail.unwrap().contains("line"), "{text}");
        }
    }

    #[test]
    fn p2p_off_leaves_the_websocket() {
        let config = parse("c", r#"{"p2p": {"enabled": false}}"#).unwrap().config;
        assert_eq!(config.link().preference, vec![PathKind::Wss]);
    }
}
