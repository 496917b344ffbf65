//! Bodies of the routes that the older coordinator had too: hosts, zones and sessions with the field
//! names of its contract. What is shown beside them is ours.
//!
//! A *session* of this contract says that one host serves one zone, with the players that it carries
//! there. What a launcher is granted when it joins a zone is called a session link; see
//! [`crate::rest::SessionGrant`].
//!
//! Numbers that nobody knows yet are `null`: an unmeasured host is unknown, not perfect.

use serde::{Deserialize, Serialize};

use crate::hosting::{HostGrant, HostView};
use crate::zone::{GameServer, HostedZone, PlainTcp, ZoneFile, ZoneRule, ZoneView};

/// Items of a list when nobody asks for a number of them.
pub const DEFAULT_LIMIT: u32 = 100;
/// Items of a list at most.
pub const MAX_LIMIT: u32 = 1000;
/// The header that says how many items there are in all.
pub const TOTAL_COUNT: &str = "x-total-count";
/// Players that may be named when a session is made.
pub const MAX_NAMED: usize = 1000;

/// A host, with everything that the caller may see of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostResponse {
    /// A number made from the host's id; it never changes.
    pub id: i64,
    /// As everybody sees it.
    #[serde(flatten)]
    pub host: HostView,
    /// Whose it is: the name of an account.
    pub player_id: String,
    /// Where it registered from; to its owner, game masters and operators only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    /// The port there; to the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The same address where it is a public one; to the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_ip: Option<String>,
    /// Zones that it serves at most.
    pub max_zones: u32,
    /// Zones of which it carries players now.
    pub current_zones: u32,
    /// When it was last heard of, RFC 3339.
    pub last_heartbeat: String,
}

/// Answer to a registration: the host's place, and the host as [`HostResponse`] shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostRegistered {
    /// Its place.
    #[serde(flatten)]
    pub grant: HostGrant,
    /// How it is shown.
    #[serde(flatten)]
    pub shown: HostResponse,
}

/// A zone to be made or replaced.
///
/// What the older contract knows is replaced as it stands here; the rest (`maps`, `fallback_zone`,
/// `hosted`, `game`) stays as it was where it is absent. A new zone wants its `game`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ZoneCreate {
    /// Stable id, 1..=64 characters of `a-z 0-9 - _`.
    pub zone_id: String,
    /// Short name, 1..=64 bytes.
    pub zone_name: String,
    /// Name shown to players, 1..=128 bytes.
    pub zone_display_name: String,
    /// Main map of the zone, without `.gat`.
    pub map_name: String,
    /// Players that it holds, at least 1; default 100.
    #[serde(default)]
    pub max_players: Option<u32>,
    /// Players above which another zone is better, at least 1; default 50.
    #[serde(default)]
    pub recommended_players: Option<u32>,
    /// Default true.
    #[serde(default)]
    pub p2p_enabled: Option<bool>,
    /// 1..=10, higher is listed first; default 1.
    #[serde(default)]
    pub p2p_priority: Option<u8>,
    /// Default true.
    #[serde(default)]
    pub fallback_enabled: Option<bool>,
    /// 0 to 100; default 7.
    #[serde(default)]
    pub min_host_quality_score: Option<f64>,
    /// Mbit/s; default 100.
    #[serde(default)]
    pub min_bandwidth_mbps: Option<u32>,
    /// Milliseconds; default 100.
    #[serde(default)]
    pub max_latency_ms: Option<u32>,
    /// Free text for players.
    #[serde(default)]
    pub description: Option<String>,
    /// All maps of the zone.
    #[serde(default)]
    pub maps: Option<Vec<String>>,
    /// Where players go whose session here was lost.
    #[serde(default)]
    pub fallback_zone: Option<String>,
    /// A host may be its endpoint.
    #[serde(default)]
    pub hosted: Option<HostedZone>,
    /// Where launchers may dial the game servers themselves.
    #[serde(default)]
    pub plain_tcp: Option<PlainTcp>,
    /// The game server behind it.
    #[serde(default)]
    pub game: Option<GameServer>,
}

impl ZoneCreate {
    /// The zone that this makes of what was there before.
    ///
    /// # Errors
    /// A rule is broken, or a new zone has no `game`.
    pub fn onto(self, before: Option<ZoneFile>) -> Result<ZoneFile, ZoneRule> {
        let before = before.as_ref();
        let maps = before.map_or_else(Vec::new, |zone| zone.maps.clone());
        let maps = self.maps.unwrap_or(maps);
        let fallback_zone = self.fallback_zone;
        let fallback_zone =
            fallback_zone.or_else(|| before.and_then(|zone| zone.fallback_zone.clone()));
        let hosted = self.hosted;
        let hosted = hosted.or_else(|| before.and_then(|zone| zone.hosted.clone()));
        let plain_tcp = self.plain_tcp;
        let plain_tcp = plain_tcp.or_else(|| before.and_then(|zone| zone.plain_tcp.clone()));
        let game = self.game.or_else(|| before.map(|zone| zone.game.clone()));
        let Some(game) = game else {
            return Err(ZoneRule {
                field: "game",
                why: "a new zone names its game servers",
            });
        };
        let zone = ZoneFile {
            zone_id: self.zone_id,
            zone_name: self.zone_name,
            zone_display_name: self.zone_display_name,
            map_name: self.map_name,
            maps,
            max_players: self.max_players.unwrap_or(100),
            recommended_players: self.recommended_players.unwrap_or(50),
            p2p_enabled: self.p2p_enabled.unwrap_or(true),
            p2p_priority: self.p2p_priority.unwrap_or(1),
            fallback_enabled: self.fallback_enabled.unwrap_or(true),
            min_host_quality_score: self.min_host_quality_score.unwrap_or(7.0),
            min_bandwidth_mbps: self.min_bandwidth_mbps.unwrap_or(100),
            max_latency_ms: self.max_latency_ms.unwrap_or(100),
            description: self.description,
            fallback_zone,
            hosted,
            plain_tcp,
            game,
        };
        zone.check()?;
        Ok(zone)
    }
}

/// A zone, with its counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZoneResponse {
    /// A number made from the zone's id; it never changes.
    pub id: i64,
    /// As players see it.
    #[serde(flatten)]
    pub zone: ZoneView,
    /// Sessions that there were in it, of all hosts.
    pub total_sessions: u64,
    /// Sessions that are active in it.
    pub active_sessions: u64,
    /// Players that hosts carried in it; one that comes again counts again.
    pub total_players_served: u64,
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SessionStatus {
    /// Made; the host carries nobody of the zone yet.
    Pending,
    /// The host serves the zone.
    Active,
    /// The host serves the zone no more for a while: its players there were moved off it.
    Paused,
    /// Over, in good order.
    Ended,
    /// Over, because the host was lost or nobody was there for too long.
    Failed,
}

impl SessionStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Active,
        Self::Paused,
        Self::Ended,
        Self::Failed,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Whether it goes on.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Active | Self::Paused)
    }
}

/// POST sessions/.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionCreate {
    /// The host.
    pub host_id: String,
    /// The zone.
    pub zone_id: String,
    /// Players of the zone that are moved to the host at once: names of accounts, at most
    /// [`MAX_NAMED`]. Only game masters and operators may name any.
    #[serde(default)]
    pub player_ids: Vec<String>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionResponse {
    /// Row id; routes take it as well as `session_id`.
    pub id: i64,
    /// `session-` and 16 hex digits.
    pub session_id: String,
    /// The host, by the id that every route takes.
    pub host_id: String,
    /// The zone, by the id that every route takes.
    pub zone_id: String,
    /// Players that the host carries there now: names of accounts, each once.
    pub connected_players: Vec<String>,
    /// How many those are.
    pub current_players: u32,
    /// How many they may be: the zone's limit and the host's, whichever is lower.
    pub max_players: u32,
    /// Where it is in its life.
    pub status: SessionStatus,
    /// As its players measure it, else as it was told.
    pub average_latency_ms: Option<f64>,
    /// The same of loss.
    pub average_packet_loss_percent: Option<f64>,
    /// As it was told.
    pub bandwidth_usage_mbps: Option<f64>,
    /// Why it is paused or over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was first active, RFC 3339 with microseconds.
    pub started_at: Option<String>,
    /// When it was over.
    pub ended_at: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

/// PATCH sessions/{id}/metrics. What is absent stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SessionMetrics {
    /// Milliseconds, at least 0.
    #[serde(default, alias = "average_latency_ms")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub avg_latency_ms: Option<f64>,
    /// 0 to 100.
    #[serde(default, alias = "average_packet_loss_percent")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 100))]
    pub packet_loss_percent: Option<f64>,
    /// At least 0.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub bandwidth_usage_mbps: Option<f64>,
}

/// POST sessions/{id}/players.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionPlayer {
    /// Name of an account that plays in the zone.
    pub player_id: String,
}

/// What was done, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Done {
    /// English text.
    pub message: String,
}

/// GET signaling/stats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignalingStats {
    /// Open signaling sockets.
    pub active_connections: u64,
    /// Rooms that somebody may enter.
    pub active_sessions: u64,
}

/// GET monitoring/hosts/stats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostStats {
    /// Hosts that are not offline.
    pub total_online: u64,
    /// How good those are.
    pub quality_distribution: QualityDistribution,
}

/// Hosts by score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QualityDistribution {
    /// 90 and more.
    pub excellent: u64,
    /// 70 to below 90.
    pub good: u64,
    /// 50 to below 70.
    pub fair: u64,
    /// Below 50.
    pub poor: u64,
    /// Nothing was measured yet.
    pub unknown: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(more: &str) -> ZoneCreate {
        serde_json::from_str(&format!(
            r#"{{"zone_id":"a","zone_name":"A","zone_display_name":"A","map_name":"prontera"{more}}}"#
        ))
        .unwrap()
    }

    const GAME: &str =
        r#","game":{"login":"192.0.2.1:6900","char":["192.0.2.1:6121"],"map":["192.0.2.1:5121"]}"#;

    #[test]
    fn a_new_zone_wants_its_game_and_a_known_one_keeps_it() {
        assert_eq!(create("").onto(None).unwrap_err().field, "game");
        let made = create(&format!(r#"{GAME},"maps":["prontera","izlude"]"#));
        let zone = made.onto(None).unwrap();
        assert_eq!((zone.max_players, zone.p2p_priority), (100, 1));
        let again = create(r#","max_players":7"#)
            .onto(Some(zone.clone()))
            .unwrap();
        assert_eq!((&again.game, &again.maps), (&zone.game, &zone.maps));
        assert_eq!(again.max_players, 7);
    }

    #[test]
    fn the_rules_of_a_zone_hold_for_one_that_is_made_here() {
        let bad = create(&format!(r#"{GAME},"p2p_priority":11"#));
        assert_eq!(bad.onto(None).unwrap_err().field, "p2p_priority");
    }

    #[test]
    fn the_names_of_states_are_those_on_the_wire() {
        for status in SessionStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
    }
}
