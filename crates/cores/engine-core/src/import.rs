//! Settings out of the files of the older client: `p2p_config.json`, `config.ini`,
//! `resourceinfo.ini`.
//!
//! What they say becomes values for keys of [`Config`](crate::config::Config); every line that does
//! not is told with its reason, so that nothing is lost in silence. A value that is not allowed is told
//! too, and left out. Keys and files that run programs or hold secrets are never taken from such a file.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use warp_protocol::{Problem, ProblemCode};

use crate::config::{self, RETIRED};

/// Longest file that is read, bytes.
pub const MAX_FILE: usize = 256 * 1024;
/// Most lines that are told as left out; the rest is only counted.
const MAX_LEFT: usize = 200;

/// What a file says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ts_rs::TS)]
pub struct Imported {
    /// Values for keys, in the order of the file.
    pub values: Vec<KeyValue>,
    /// What was not taken over, and why.
    pub left: Vec<LeftOut>,
}

/// A value for a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct KeyValue {
    /// Path of the key: `p2p.enabled`.
    pub key: String,
    /// The value.
    #[ts(type = "unknown")]
    pub value: Value,
}

/// A key of the file that is not taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct LeftOut {
    /// As the file has it: `P2P.MaxRetries`.
    pub key: String,
    /// Why, in English.
    pub why: String,
}

/// Keys that a file from somewhere else may set. Programs, their arguments, files and passwords are
/// not among them: whoever wrote the file would choose what runs here.
pub const IMPORTABLE: &[&str] = &[
    "coordinator.rest_api_url",
    "coordinator.timeout_seconds",
    "coordinator.reconnect_backoff_ms",
    "coordinator.public_key",
    "security.require_certificates",
    "security.key_rotation_interval_seconds",
    "webrtc.stun_servers",
    "webrtc.port_mapping",
    "webrtc.connection_timeout_ms",
    "webrtc.max_peers",
    "p2p.enabled",
    "p2p.paths",
    "p2p.heartbeat_ms",
    "p2p.silence_heartbeats",
    "p2p.hold_seconds",
    "p2p.reconnect_attempts",
    "p2p.reconnect_delay_ms",
    "p2p.redundant_sending",
    "p2p.prefer_wait_ms",
    "p2p.packet_types",
    "p2p.follow_map",
    "p2p.zone_linger_seconds",
    "p2p.metrics_interval_ms",
    "bridge.commands",
    "bridge.reentry",
    "bridge.reentry_timeout_ms",
    "bridge.login_listen",
    "game.max_instances",
    "hosting.enabled",
    "hosting.max_players",
    "hosting.not_while_playing",
    "logging.level",
];

/// Reads a file by its content: JSON where it begins with a brace, else sections of `key=value`.
///
/// # Errors
/// [`ProblemCode::ConfigUnreadable`] when it is longer than [`MAX_FILE`], not well formed JSON, or has
/// no line that could be one of these files'.
pub fn read(name: &str, text: &str) -> Result<Imported, Problem> {
    let unreadable = |why: &str| Problem::new(ProblemCode::ConfigUnreadable, name).with_detail(why);
    if text.len() > MAX_FILE {
        return Err(unreadable("it is longer than 256 KiB"));
    }
    let text = text.trim_start_matches('\u{feff}');
    let mut reading = Reading::default();
    if text.trim_start().starts_with('{') {
        let file: Value = serde_json::from_str(text).map_err(|error| {
            Problem::new(ProblemCode::ConfigUnreadable, name).with_detail(error.to_string())
        })?;
        reading.json("", &file);
    } else if !reading.ini(text) {
        return Err(unreadable(
            "neither JSON nor sections with lines such as EnableP2P=1",
        ));
    }
    Ok(reading.imported)
}

/// Whether a configuration with this one value would be accepted.
///
/// # Errors
/// `config-value` with the key and what is allowed.
pub fn check(key: &str, value: &Value) -> Result<(), Problem> {
    let mut file = Value::Object(serde_json::Map::new());
    set(&mut file, key, Some(value.clone()));
    config::parse("settings", &file.to_string()).map(drop)
}

/// Puts `value` at the dotted path `key` of `file`; `None` takes it away, and the sections that are
/// empty then.
pub fn set(file: &mut Value, key: &str, value: Option<Value>) {
    if !file.is_object() {
        *file = json!({});
    }
    let Some(object) = file.as_object_mut() else {
        return;
    };
    let Some((section, rest)) = key.split_once('.') else {
        match value {
            Some(value) => object.insert(key.to_owned(), value),
            None => object.remove(key),
        };
        return;
    };
    if value.is_none() && !object.contains_key(section) {
        return;
    }
    let inner = object.entry(section).or_insert_with(|| json!({}));
    set(inner, rest, value);
    if inner.as_object().is_some_and(serde_json::Map::is_empty) {
        object.remove(section);
    }
}

#[derive(Default)]
struct Reading {
    imported: Imported,
}

impl Reading {
    fn leave(&mut self, key: &str, why: impl Into<String>) {
        if self.imported.left.len() < MAX_LEFT {
            self.imported.left.push(LeftOut {
                key: key.to_owned(),
                why: why.into(),
            });
        }
    }

    /// Takes a value if it is allowed. `from`: what the file calls the key.
    fn take(&mut self, from: &str, key: &str, value: Value) {
        if let Err(problem) = check(key, &value) {
            return self.leave(from, problem.detail.unwrap_or_default());
        }
        self.imported.values.retain(|one| one.key != key);
        self.imported.values.push(KeyValue {
            key: key.to_owned(),
            value,
        });
    }

    fn json(&mut self, path: &str, value: &Value) {
        if IMPORTABLE.contains(&path) {
            return self.take(path, path, value.clone());
        }
        if let Some((_, why)) = RETIRED.iter().find(|(key, _)| *key == path) {
            return self.leave(path, *why);
        }
        match (path, value) {
            ("p2p.max_peers", value) => self.take(path, "webrtc.max_peers", value.clone()),
            ("coordinator.websocket_url", Value::String(_)) => {
                self.leave(path, "made from the coordinator's address");
            }
            (_, Value::Object(object)) => {
                for (key, value) in object {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    self.json(&path, value);
                }
            }
            _ => self.leave(path, "no longer has a meaning, or is not taken from a file"),
        }
    }

    /// False: no line was understood as `key=value` in a section.
    fn ini(&mut self, text: &str) -> bool {
        let mut section = String::new();
        let mut any = false;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with([';', '#']) || line.starts_with("//") {
                continue;
            }
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                section = name.trim().to_ascii_uppercase();
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| !section.is_empty()) else {
                continue;
            };
            any = true;
            let value = value.split(" ;").next().unwrap_or(value).trim();
            self.line(&section, key.trim(), value.trim_matches('"'));
        }
        any
    }

    fn line(&mut self, section: &str, key: &str, value: &str) {
        let from = format!("{section}.{key}");
        let number = || {
            value
                .parse::<u64>()
                .map_or_else(|_| json!(value), |n| json!(n))
        };
        let flag = || match value.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => json!(true),
            "0" | "false" | "no" | "off" => json!(false),
            _ => json!(value),
        };
        let lower = key.to_ascii_lowercase();
        match (section, lower.as_str()) {
            ("P2P", "enablep2p" | "enabled") => self.take(&from, "p2p.enabled", flag()),
            ("P2P", "preferp2phosting") => self.take(&from, "hosting.enabled", flag()),
            ("P2P", "coordinatorurl") => self.coordinator(&from, value),
            ("P2P_HOSTS", "0") => self.coordinator(&from, value),
            ("P2P_HOSTS", _) => self.leave(
                &from,
                "one coordinator is named; its operator runs several behind one address",
            ),
            ("P2P", "connectiontimeout") | ("P2P_NETWORK", "timeoutms") => {
                self.take(&from, "webrtc.connection_timeout_ms", number());
            }
            ("P2P" | "P2P_NETWORK", "reconnectdelay") => {
                self.take(&from, "coordinator.reconnect_backoff_ms", number());
            }
            ("P2P" | "P2P_NETWORK", "maxretries") => {
                self.take(&from, "p2p.reconnect_attempts", number());
            }
            ("P2P" | "P2P_NETWORK", "keyrotationinterval") => {
                self.take(&from, "security.key_rotation_interval_seconds", number());
            }
            ("P2P", "maxconnections") => {
                self.take(&from, "hosting.max_players", number());
                self.take(&from, "webrtc.max_peers", number());
            }
            ("P2P_SECURITY" | "SECURITY", "requirecertificates") => {
                self.take(&from, "security.require_certificates", flag());
            }
            ("STUN", _) => {
                let url = if value.starts_with("stun:") || value.starts_with("stuns:") {
                    value.to_owned()
                } else {
                    format!("stun:{value}")
                };
                let mut servers = vec![json!(url)];
                let known = self.imported.values.iter();
                if let Some(Value::Array(before)) = known
                    .filter(|one| one.key == "webrtc.stun_servers")
                    .map(|one| one.value.clone())
                    .next()
                {
                    servers.splice(0..0, before);
                }
                self.take(&from, "webrtc.stun_servers", Value::Array(servers));
            }
            ("TURN", _) => self.leave(
                &from,
                "the coordinator gives TURN servers with their passwords",
            ),
            ("DEBUG", "loglevel") => {
                self.take(&from, "logging.level", json!(value.to_ascii_lowercase()));
            }
            ("P2P" | "P2P_NETWORK" | "SECURITY", "enableencryption")
            | ("P2P_SECURITY", "encryptionalgorithm") => {
                self.leave(&from, "encryption is always on");
            }
            ("CONNECTION", _) => self.leave(&from, "the zone names the game servers"),
            ("P2P_ZONES", _) => self.leave(&from, "each zone says so at the coordinator"),
            _ => self.leave(&from, "no longer has a meaning"),
        }
    }

    /// A signaling socket's address of the older client names the coordinator.
    fn coordinator(&mut self, from: &str, value: &str) {
        let with_scheme = match value.split_once("://") {
            Some(("ws", rest)) => Some(("http", rest)),
            Some(("wss", rest)) => Some(("https", rest)),
            Some((scheme @ ("http" | "https"), rest)) => Some((scheme, rest)),
            _ => None,
        };
        let Some((scheme, rest)) = with_scheme else {
            return self.leave(from, "not an address that begins with ws:// or http://");
        };
        let host = rest.split('/').next().unwrap_or(rest);
        let url = format!("{scheme}://{host}/api/v1");
        self.take(from, "coordinator.rest_api_url", json!(url));
    }
}

#[cfg(test)]
#[path = "import/tests.rs"]
mod tests;
