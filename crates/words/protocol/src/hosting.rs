//! Hosts: volunteers that forward the sealed datagrams of session links.
//!
//! # Who tells whom
//! * A host registers over REST ([`HostRegister`]), is answered with its place ([`HostGrant`]), tells
//!   how it is doing ([`HostHeartbeat`]), and keeps a signaling socket open
//!   (`signaling/ws?peer_id=&session_id=` with the grant's peer id and session).
//! * For each zone that a host serves the coordinator holds a *lease* with an *epoch*: a number that
//!   counts up, in the zone, with each lease. It ends with the host's silence, with the members'
//!   reports, when the host drains or is removed, and with the zone's policy.
//! * For each session of a zone the coordinator chooses up to two hosts, one for each way
//!   ([`PathKind::Host`], [`PathKind::Host2`]), tells the session's launcher
//!   ([`ServerSignal::Hosts`](crate::signal::ServerSignal::Hosts)), the host
//!   ([`Serve`](crate::signal::ServerSignal::Serve)) and the endpoint, in the order endpoint, host,
//!   launcher, so that each finds the next one ready.
//! * The launcher makes a WebRTC connection to the host in its own session's room, where the
//!   coordinator seats the host under the host's peer id. The host makes one to the endpoint, in
//!   the host's own room, and puts the datagrams of all its members on it.
//!
//! # Layout of a forwarded datagram
//! Between host and endpoint, in both directions, in front of the member's datagram. Integers are
//! big-endian.
//!
//! ```text
//! byte 0..4   epoch of the lease under which it is forwarded
//! byte 4..8   slot: which member, a number of the host's that the coordinator gave
//! byte 8..    the member's datagram, with its label: at most 1210 bytes
//! ```
//!
//! A slot is never used again while the host is registered. The endpoint refuses and counts a
//! datagram whose slot is not routed, and one of another epoch than the route's.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::carrier::{MAX_CARRIER_DATAGRAM, PathKind};
use crate::identity::PublicKey;
use crate::rest::IceServer;

/// Bytes in front of a forwarded datagram.
pub const FORWARD_LEN: usize = 8;
/// Largest forwarded datagram, bytes; still below what a carrier takes (1280).
pub const MAX_FORWARDED: usize = FORWARD_LEN + MAX_CARRIER_DATAGRAM;
/// Hosts that a session is given at most: one for each way.
pub const WAYS: usize = 2;
/// Zones that one host may offer itself for.
pub const MAX_ZONES: usize = 16;
/// Members that one host may offer to carry.
pub const MAX_MEMBERS: u32 = 1000;

/// The head of a forwarded datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarded {
    /// Epoch of the lease.
    pub epoch: u32,
    /// Which member.
    pub slot: u32,
}

impl Forwarded {
    /// The bytes in front of the member's datagram.
    pub fn to_bytes(self) -> [u8; FORWARD_LEN] {
        let [a, b, c, d] = self.epoch.to_be_bytes();
        let [e, f, g, h] = self.slot.to_be_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// Splits a forwarded datagram into its head and the member's datagram; `None` when it is too
    /// short, too long, or holds none.
    pub fn split(datagram: &[u8]) -> Option<(Self, &[u8])> {
        if datagram.len() > MAX_FORWARDED {
            return None;
        }
        let (head, inner) = datagram.split_first_chunk::<FORWARD_LEN>()?;
        if inner.is_empty() {
            return None;
        }
        let [a, b, c, d, e, f, g, h] = *head;
        let head = Self {
            epoch: u32::from_be_bytes([a, b, c, d]),
            slot: u32::from_be_bytes([e, f, g, h]),
        };
        Some((head, inner))
    }
}

/// What a machine has, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostHardware {
    /// At least 1.
    pub cpu_cores: u32,
    /// At least 1.
    pub cpu_frequency_mhz: u32,
    /// At least 1.
    pub memory_mb: u32,
    /// Upload, at least 1.
    pub network_speed_mbps: u32,
}

/// POST hosts/register. The same host again replaces what it said before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostRegister {
    /// Stable id that the host chose: 1 to 64 of `A-Z a-z 0-9 - _ .`. It belongs to the account that
    /// registered it first.
    pub host_id: String,
    /// Zones it wants to serve, 1 to [`MAX_ZONES`].
    pub zones: Vec<String>,
    /// What it has.
    #[serde(flatten)]
    pub hardware: HostHardware,
    /// Members it takes at once, 1 to [`MAX_MEMBERS`].
    pub max_players: u32,
    /// Its device key.
    pub device_key: PublicKey,
    /// The certificate of that key, hex; it has to hold the right to host.
    pub certificate: String,
    /// It is the endpoint itself, for the game server on its own machine (a *hosted* zone).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosted: Option<HostedOffer>,
}

/// What a host of a hosted zone dials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostedOffer {
    /// Its map server, as the zone's policy has to allow it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub upstream: SocketAddr,
}

/// POST hosts/{host_id}/heartbeat, at least every [`HostGrant::heartbeat_seconds`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostHeartbeat {
    /// To the endpoint and back, at least 0; none: not measured.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub latency_ms: Option<f64>,
    /// 0 to 100; none: not measured.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 100))]
    pub packet_loss_percent: Option<f64>,
    /// At least 0.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub bandwidth_usage_mbps: f64,
    /// Members it carries.
    pub current_players: u32,
    /// Zones it carries members of.
    pub current_zones: u32,
    /// It takes no new member just now: its player plays, or its network is not the allowed one.
    #[serde(default)]
    pub paused: bool,
}

/// Whether a host can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum HostStatus {
    /// It can.
    Online,
    /// Nothing was heard of it for too long.
    Offline,
    /// It carries as many as it may, or paused itself.
    Busy,
    /// It drains: its members are moved away.
    Maintenance,
}

/// A host as others see it. Where it is on the network is nobody's business.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostView {
    /// Its id.
    pub host_id: String,
    /// Whose it is.
    pub player_name: String,
    /// Whether it can be chosen.
    pub status: HostStatus,
    /// Zones it serves.
    pub zones: Vec<String>,
    /// What it has.
    #[serde(flatten)]
    pub hardware: HostHardware,
    /// Members at most.
    pub max_players: u32,
    /// Members now, as the coordinator gave them out.
    pub current_players: u32,
    /// As members measure it, else as it says itself; none: not known.
    pub latency_ms: Option<f64>,
    /// The same of loss.
    pub packet_loss_percent: Option<f64>,
    /// As it says itself.
    pub bandwidth_usage_mbps: f64,
    /// 0 to 100; none while nothing is measured.
    pub quality_score: Option<f64>,
}

/// A host's place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostGrant {
    /// As others see it now.
    pub host: HostView,
    /// Its own room, and the key of its link socket.
    pub session_id: String,
    /// Its peer id, in its own room and in its members' rooms.
    pub peer_id: String,
    /// The endpoint's peer id in its own room.
    pub endpoint_peer_id: String,
    /// The endpoint's public key.
    pub endpoint_key: PublicKey,
    /// The certificate of that key, hex.
    pub endpoint_certificate: String,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// Heartbeats are due this often, seconds.
    pub heartbeat_seconds: u64,
    /// The policy of each zone that was accepted.
    pub policies: Vec<SignedPolicy>,
}

/// What the coordinator allows in a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZonePolicy {
    /// The zone.
    pub zone_id: String,
    /// Peer-to-peer paths may be used: the zone's own switch and that of the whole fleet.
    pub p2p: bool,
    /// The endpoint may carry players when no host can.
    pub fallback: bool,
    /// Hosts below this score are not chosen, 0 to 100.
    pub min_host_score: f64,
    /// Host paths slower than this are not used, milliseconds of round trip.
    pub max_latency_ms: u32,
    /// Keys of the endpoints that a host may forward to.
    pub endpoints: Vec<PublicKey>,
    /// Addresses that the host of a hosted zone may dial; empty: the zone is not hosted.
    #[serde(default)]
    pub upstreams: Vec<SocketAddr>,
    /// Unix seconds.
    pub issued: u64,
    /// Unix seconds; from then on it counts no more.
    pub expires: u64,
}

/// Longest policy, bytes.
pub const MAX_POLICY: usize = 8 * 1024;

/// A policy with the coordinator's signature: the text is what was signed, so that there is no
/// question of how it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedPolicy {
    /// [`ZonePolicy`] in JSON, at most [`MAX_POLICY`] bytes.
    pub policy: String,
    /// Over [`policy_message`] with the coordinator's identity key, hex.
    pub signature: String,
}

/// What the coordinator signs of a policy.
pub fn policy_message(policy: &str) -> Vec<u8> {
    [b"warp zone policy 1\0", policy.as_bytes()].concat()
}

/// A host for a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostOffer {
    /// Which of the two ways it is.
    pub way: PathKind,
    /// The host.
    pub host_id: String,
    /// Its peer id in the session's room.
    pub peer_id: String,
    /// Epoch of its lease.
    pub epoch: u32,
    /// Its device key, which signs its answers.
    pub device_key: PublicKey,
    /// The certificate of that key, hex.
    pub certificate: String,
}

/// A session that a host carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The launcher's peer id.
    pub peer_id: String,
    /// The session, whose name is in what the launcher signs.
    pub session_id: String,
    /// The zone.
    pub zone_id: String,
    /// In front of every forwarded datagram.
    pub epoch: u32,
    /// In front of every forwarded datagram.
    pub slot: u32,
    /// The launcher's device key, which signs its offers.
    pub device_key: PublicKey,
}

/// Why the hosts of a session are others than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum HostsReason {
    /// Told for the first time.
    First,
    /// A host was not heard of for too long.
    Silent,
    /// Members report that it does not carry what it should.
    Reported,
    /// A host goes, and moves its members before.
    Draining,
    /// A host is gone.
    Gone,
    /// Another is better by far, or there is room on it.
    Better,
    /// The zone's policy, the fleet's switch, or an operator who moves the session.
    Policy,
}

/// How a launcher finds a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostVerdict {
    /// It carries.
    Good,
    /// No connection to it comes about.
    Unreachable,
    /// It was connected, and nothing comes through it any more.
    Silent,
    /// What comes through it was altered or replayed.
    Tampering,
}

/// What a host finds wrong with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberVerdict {
    /// It sends far more than a game does; what is beyond its rate is dropped.
    Flooding,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_datagram_round_trips_and_bad_ones_are_refused() {
        let head = Forwarded {
            epoch: 0x0102_0304,
            slot: 0xfffe_fdfc,
        };
        let mut datagram = head.to_bytes().to_vec();
        assert_eq!(Forwarded::split(&datagram), None, "holds nothing");
        datagram.extend_from_slice(&[7; MAX_CARRIER_DATAGRAM]);
        assert_eq!(Forwarded::split(&datagram), Some((head, &datagram[8..])));
        datagram.push(0);
        assert_eq!(Forwarded::split(&datagram), None, "too long");
        assert_eq!(Forwarded::split(&datagram[..7]), None, "too short");
    }

    #[test]
    fn a_policy_survives_its_text() {
        let policy = ZonePolicy {
            zone_id: "prontera".into(),
            p2p: true,
            fallback: true,
            min_host_score: 50.0,
            max_latency_ms: 100,
            endpoints: vec![PublicKey::from_raw([3; 32])],
            upstreams: Vec::new(),
            issued: 1,
            expires: 2,
        };
        let text = serde_json::to_string(&policy).unwrap();
        assert!(text.len() <= MAX_POLICY);
        assert_eq!(serde_json::from_str::<ZonePolicy>(&text).unwrap(), policy);
        assert!(policy_message(&text).starts_with(b"warp zone policy 1\0{"));
    }
}
