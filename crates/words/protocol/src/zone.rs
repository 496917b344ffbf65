//! Zones: a named set of maps with one P2P policy, and the game server addresses behind them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What an operator writes: `warp-coordinator zone put FILE.json`.
///
/// The first part has the field names and limits of the coordinator contract (ZoneCreate); `game`
/// is what the endpoint may dial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[serde(deny_unknown_fields)]
pub struct ZoneFile {
    /// Stable id, 1..=64 characters of `a-z 0-9 - _`.
    pub zone_id: String,
    /// Short name, 1..=64 characters.
    pub zone_name: String,
    /// Name shown to players, 1..=128 characters.
    pub zone_display_name: String,
    /// Main map of the zone, without `.gat`.
    pub map_name: String,
    /// All maps of the zone; empty: just `map_name`.
    #[serde(default)]
    pub maps: Vec<String>,
    /// Players that one session holds, at least 1.
    #[serde(default = "default_max_players")]
    pub max_players: u32,
    /// Players above which another zone is better, at least 1.
    #[serde(default = "default_recommended_players")]
    pub recommended_players: u32,
    /// May WebRTC paths be used at all.
    #[serde(default = "yes")]
    pub p2p_enabled: bool,
    /// 1..=10, higher is listed first.
    #[serde(default = "one")]
    pub p2p_priority: u8,
    /// May players be served by the endpoint when no host can.
    #[serde(default = "yes")]
    pub fallback_enabled: bool,
    /// Hosts below this score (0..=100) are not chosen.
    #[serde(default = "default_min_score")]
    pub min_host_quality_score: f64,
    /// Hosts with less are not chosen, Mbit/s.
    #[serde(default = "default_hundred")]
    pub min_bandwidth_mbps: u32,
    /// Hosts slower than this are not chosen, ms.
    #[serde(default = "default_hundred")]
    pub max_latency_ms: u32,
    /// Free text for players.
    #[serde(default)]
    pub description: Option<String>,
    /// The game server behind the zone.
    pub game: GameServer,
}

/// The addresses that a zone's endpoint may dial, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(deny_unknown_fields)]
pub struct GameServer {
    /// Packet version of the game client, for instance 20211103.
    pub packet_version: u32,
    /// The login server.
    #[ts(type = "string")]
    pub login: SocketAddr,
    /// The char servers, at least one.
    #[ts(type = "string[]")]
    pub char: Vec<SocketAddr>,
    /// The map servers, at least one.
    #[ts(type = "string[]")]
    pub map: Vec<SocketAddr>,
}

impl GameServer {
    /// True when the endpoint may dial `address`.
    pub fn allows(&self, address: SocketAddr) -> bool {
        self.login == address || self.char.contains(&address) || self.map.contains(&address)
    }
}

/// Whether a zone can be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "lowercase")]
pub enum ZoneStatus {
    /// Open.
    Enabled,
    /// Closed.
    Disabled,
    /// Closed for a while.
    Maintenance,
}

/// What a player sees of a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct ZoneView {
    /// What the operator wrote.
    #[serde(flatten)]
    pub zone: ZoneFile,
    /// Whether it can be played.
    pub status: ZoneStatus,
    /// Players in it now.
    pub players: u32,
}

/// A rule that a zone file breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct ZoneRule {
    /// Path of the field in the file.
    pub field: &'static str,
    /// What is allowed.
    pub why: &'static str,
}

impl ZoneFile {
    /// Checks the limits that the types cannot hold.
    pub fn check(&self) -> Result<(), ZoneRule> {
        let rule = |field, why| Err(ZoneRule { field, why });
        let id_ok = (1..=64).contains(&self.zone_id.len())
            && self
                .zone_id
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if !id_ok {
            return rule("zone_id", "1 to 64 characters of a-z, 0-9, - and _");
        }
        if self.zone_name.is_empty() || self.zone_name.len() > 64 {
            return rule("zone_name", "1 to 64 bytes");
        }
        if self.zone_display_name.is_empty() || self.zone_display_name.len() > 128 {
            return rule("zone_display_name", "1 to 128 bytes");
        }
        if self.max_players == 0 || self.recommended_players == 0 {
            return rule("max_players", "at least 1, like recommended_players");
        }
        if !(1..=10).contains(&self.p2p_priority) {
            return rule("p2p_priority", "1 to 10");
        }
        if !(0.0..=100.0).contains(&self.min_host_quality_score) {
            return rule("min_host_quality_score", "0 to 100");
        }
        if self.game.char.is_empty() {
            return rule("game.char", "at least one address");
        }
        if self.game.map.is_empty() {
            return rule("game.map", "at least one address");
        }
        if self.game.char.len() > 16 || self.game.map.len() > 64 {
            return rule("game", "at most 16 char and 64 map servers");
        }
        Ok(())
    }
}

fn yes() -> bool {
    true
}
fn one() -> u8 {
    1
}
fn default_max_players() -> u32 {
    100
}
fn default_recommended_players() -> u32 {
    50
}
fn default_min_score() -> f64 {
    7.0
}
fn default_hundred() -> u32 {
    100
}
