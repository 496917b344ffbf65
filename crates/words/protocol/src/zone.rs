//! Zones: a named set of maps with one P2P policy, and the game server addresses behind them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What an operator writes: `warp-coordinator zone put FILE.json`.
///
/// The first part has the field names and limits of the coordinator contract (ZoneCreate); `game`
/// is what the endpoint may dial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
    /// Hosts below this score are not chosen, 0 to 100: the scale of
    /// [`HostView::quality_score`](crate::hosting::HostView). The default 7 lets in all but the
    /// hopeless; older documents have this number on a scale of 10.
    #[serde(default = "default_min_score")]
    pub min_host_quality_score: f64,
    /// Hosts with less upload are not taken, Mbit/s. The default 5 lets in a launcher as it is
    /// (`hosting.upload_mbps` 10); a zone that is made over the older contract has that one's 100.
    #[serde(default = "default_bandwidth")]
    pub min_bandwidth_mbps: u32,
    /// Hosts over which the round trip takes longer are not chosen, ms.
    #[serde(default = "default_hundred")]
    pub max_latency_ms: u32,
    /// Free text for players.
    #[serde(default)]
    pub description: Option<String>,
    /// The zone that players whose session here was lost are taken to when this one is gone, or none of
    /// its game servers is there: its own know the same accounts and characters. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub fallback_zone: Option<String>,
    /// A host of the zone may be its endpoint: it then carries the sessions of the zone, and the
    /// coordinator's own endpoint does while none is there. Absent: only the latter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub hosted: Option<HostedZone>,
    /// Where launchers reach the game servers themselves, in plain TCP, while no path to the endpoint can be
    /// opened. Absent: they may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub plain_tcp: Option<PlainTcp>,
    /// The game server behind the zone.
    pub game: GameServer,
}

/// The addresses of a zone's game servers as players reach them, and as the servers announce them to
/// whoever comes from there. A connection to them is not sealed and ends with its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlainTcp {
    /// The login server.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    #[ts(type = "string")]
    pub login: SocketAddr,
    /// The char servers, at least one.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    #[ts(type = "string[]")]
    pub char: Vec<SocketAddr>,
    /// The map servers, at least one.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    #[ts(type = "string[]")]
    pub map: Vec<SocketAddr>,
}

/// What the endpoint of a hosted zone may dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostedZone {
    /// Every address of the zone's game servers, and no other.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    #[ts(type = "string[]")]
    pub upstreams: Vec<SocketAddr>,
}

/// How far the bridge reads the connections of a zone. Each reads less than the one before it; a
/// connection may step down, never up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ReadLevel {
    /// Frames and rewrites; copies of other players' packets may be given to this client.
    #[default]
    Assist,
    /// Frames, and rewrites announced addresses.
    Rewrite,
    /// Forwards untouched bytes: what game shields need. The game servers themselves then have to
    /// announce 127.0.0.1, with their own ports, where the bridge listens.
    Opaque,
}

impl ReadLevel {
    /// The name used in events and configuration.
    pub fn name(self) -> &'static str {
        match self {
            ReadLevel::Assist => "assist",
            ReadLevel::Rewrite => "rewrite",
            ReadLevel::Opaque => "opaque",
        }
    }

    /// Whether this level reads less than `other`.
    pub fn is_below(self, other: ReadLevel) -> bool {
        self as u8 > other as u8
    }
}

/// The addresses that a zone's endpoint may dial, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GameServer {
    /// Packet version of the game client, for instance 20211103; 0: find out from its first
    /// packets.
    #[serde(default)]
    pub packet_version: u32,
    /// How far the bridge reads the connections of this zone.
    #[serde(default)]
    pub level: ReadLevel,
    /// The login server.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    #[ts(type = "string")]
    pub login: SocketAddr,
    /// The char servers, at least one.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    #[ts(type = "string[]")]
    pub char: Vec<SocketAddr>,
    /// The map servers, at least one.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    #[ts(type = "string[]")]
    pub map: Vec<SocketAddr>,
}

impl GameServer {
    /// True when the endpoint may dial `address`.
    pub fn allows(&self, address: SocketAddr) -> bool {
        self.addresses().any(|allowed| allowed == address)
    }

    /// Every address, as often as it is named.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.login)
            .chain(self.char.iter().copied())
            .chain(self.map.iter().copied())
    }

    /// Whether two different servers have the same port, so that they cannot both be found at
    /// 127.0.0.1.
    fn shares_a_port(&self) -> bool {
        let others = |address: SocketAddr| {
            self.addresses()
                .any(|other| other != address && other.port() == address.port())
        };
        self.addresses().any(others)
    }
}

/// Whether a zone can be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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

/// Game servers that one zone may have: a login server, 16 char servers, 64 map servers.
pub const MAX_UPSTREAMS: usize = 81;

/// A rule that a zone file breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct ZoneRule {
    /// Path of the field in the file.
    pub field: &'static str,
    /// What is allowed.
    pub why: &'static str,
}

/// Whether `name` can be a map's, without its `.gat`: 1..=24 graphic ASCII characters.
pub fn is_map_name(name: &str) -> bool {
    (1..=24).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_zone_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

impl ZoneFile {
    /// The game server as a launcher dials it itself; `None`: it may not.
    pub fn plain_game(&self) -> Option<GameServer> {
        let plain = self.plain_tcp.clone()?;
        Some(GameServer {
            login: plain.login,
            char: plain.char,
            map: plain.map,
            ..self.game.clone()
        })
    }

    /// True when the map, named without its `.gat`, belongs to the zone.
    pub fn has_map(&self, map: &str) -> bool {
        if self.maps.is_empty() {
            self.map_name == map
        } else {
            self.maps.iter().any(|one| one == map)
        }
    }

    /// Checks the limits that the types cannot hold.
    pub fn check(&self) -> Result<(), ZoneRule> {
        let rule = |field, why| Err(ZoneRule { field, why });
        if !is_zone_id(&self.zone_id) {
            return rule("zone_id", "1 to 64 characters of a-z, 0-9, - and _");
        }
        if let Some(fallback) = &self.fallback_zone
            && (!is_zone_id(fallback) || *fallback == self.zone_id)
        {
            return rule("fallback_zone", "the id of another zone");
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
        check_game(&self.game, ["game", "game.char", "game.map", "game.level"])?;
        if let Some(plain) = self.plain_game() {
            check_game(
                &plain,
                ["plain_tcp", "plain_tcp.char", "plain_tcp.map", "plain_tcp"],
            )?;
        }
        if let Some(hosted) = &self.hosted {
            let (game, named) = (&self.game, &hosted.upstreams);
            let same = game.addresses().all(|address| named.contains(&address))
                && named.iter().all(|address| game.allows(*address));
            if !same || named.len() > MAX_UPSTREAMS {
                return rule(
                    "hosted.upstreams",
                    "every address of `game`, and no other, each once",
                );
            }
        }
        Ok(())
    }
}

/// `fields`: what the rules name: all of it, the char and the map servers, and the level.
fn check_game(game: &GameServer, fields: [&'static str; 4]) -> Result<(), ZoneRule> {
    let [all, char, map, level] = fields;
    let rule = |field, why| Err(ZoneRule { field, why });
    if game.char.is_empty() {
        return rule(char, "at least one address");
    }
    if game.map.is_empty() {
        return rule(map, "at least one address");
    }
    if game.char.len() > 16 || game.map.len() > 64 {
        return rule(all, "at most 16 char and 64 map servers");
    }
    if game.addresses().any(|address| address.port() == 0) {
        return rule(all, "every address needs its port");
    }
    if game.level == ReadLevel::Opaque && game.shares_a_port() {
        return rule(
            level,
            "opaque needs a port of its own for every server: each is found at 127.0.0.1 \
             under its own port",
        );
    }
    Ok(())
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
fn default_bandwidth() -> u32 {
    5
}
fn default_hundred() -> u32 {
    100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(game: &str) -> ZoneFile {
        let json = format!(
            r#"{{"zone_id":"a","zone_name":"A","zone_display_name":"A","map_name":"prontera","game":{game}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn game(level: &str, login: &str, char: &str, maps: [&str; 2]) -> String {
        format!(
            r#"{{"level":"{level}","login":"{login}","char":["{char}"],"map":["{}","{}"]}}"#,
            maps[0], maps[1]
        )
    }

    #[test]
    fn a_fallback_is_another_zone() {
        let mut zone = file(
            r#"{"login":"192.0.2.1:6900","char":["192.0.2.1:6121"],"map":["192.0.2.1:5121"]}"#,
        );
        assert_eq!((zone.check(), &zone.fallback_zone), (Ok(()), &None));
        for (fallback, good) in [("b", true), ("a", false), ("B", false), ("", false)] {
            zone.fallback_zone = Some(fallback.to_owned());
            assert_eq!(zone.check().is_ok(), good, "{fallback}");
        }
    }

    #[test]
    fn a_hosted_zone_names_its_game_servers_and_nothing_else() {
        let mut zone = file(
            r#"{"login":"192.0.2.1:6900","char":["192.0.2.1:6121"],"map":["192.0.2.1:5121"]}"#,
        );
        let all = ["192.0.2.1:6900", "192.0.2.1:6121", "192.0.2.1:5121"];
        let more = [&all[..], &["192.0.2.2:22"]].concat();
        for (named, good) in [(&all[..], true), (&all[1..], false), (&more[..], false)] {
            let upstreams = named.iter().map(|one| one.parse().unwrap()).collect();
            zone.hosted = Some(HostedZone { upstreams });
            assert_eq!(zone.check().is_ok(), good, "{named:?}");
        }
    }

    #[test]
    fn a_file_without_the_newer_keys_is_valid() {
        let zone = file(
            r#"{"packet_version":20211103,"login":"192.0.2.1:6900","char":["192.0.2.1:6121"],"map":["192.0.2.1:5121"]}"#,
        );
        assert_eq!(zone.game.level, ReadLevel::Assist);
        assert_eq!(zone.check(), Ok(()));
        let zone = file(&game(
            "rewrite",
            "192.0.2.1:6900",
            "192.0.2.1:6121",
            ["192.0.2.1:5121", "192.0.2.2:5121"],
        ));
        assert_eq!(zone.game.packet_version, 0);
        assert_eq!(zone.game.level, ReadLevel::Rewrite);
        assert_eq!(zone.check(), Ok(()));
    }

    #[test]
    fn servers_of_an_opaque_zone_have_ports_of_their_own() {
        let of = |login, char, maps| file(&game("opaque", login, char, maps)).check();
        let apart = ["192.0.2.1:5121", "192.0.2.2:5122"];
        assert_eq!(of("192.0.2.1:6900", "192.0.2.1:6121", apart), Ok(()));
        // The same server named twice is one server.
        let twice = ["192.0.2.1:5121", "192.0.2.1:5121"];
        assert_eq!(of("192.0.2.1:6900", "192.0.2.1:6121", twice), Ok(()));
        let shared = ["192.0.2.1:5121", "192.0.2.2:5121"];
        for refused in [
            of("192.0.2.1:6900", "192.0.2.1:6121", shared),
            of("192.0.2.1:6121", "192.0.2.2:6121", apart),
        ] {
            assert_eq!(refused.unwrap_err().field, "game.level");
        }
    }

    #[test]
    fn an_address_without_a_port_is_refused() {
        let maps = ["192.0.2.1:0", "192.0.2.2:5122"];
        let zone = file(&game("assist", "192.0.2.1:6900", "192.0.2.1:6121", maps));
        assert_eq!(zone.check().unwrap_err().field, "game");
    }

    #[test]
    fn levels_go_down_from_assist_to_opaque() {
        assert!(ReadLevel::Rewrite.is_below(ReadLevel::Assist));
        assert!(ReadLevel::Opaque.is_below(ReadLevel::Rewrite));
        assert!(!ReadLevel::Assist.is_below(ReadLevel::Assist));
        assert!(!ReadLevel::Assist.is_below(ReadLevel::Opaque));
        for level in [ReadLevel::Assist, ReadLevel::Rewrite, ReadLevel::Opaque] {
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        }
    }
}
