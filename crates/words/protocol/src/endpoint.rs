//! The control socket of an endpoint that is a process of its own: `endpoints/ws?nonce=`.
//!
//! # Order of things
//! 1. The endpoint opens the socket with the enrolment token (`Authorization: Bearer`) and 16 random
//!    bytes in the query. The coordinator proves its key over them, and asks with bytes of its own
//!    ([`ToEndpoint::Challenge`]).
//! 2. The endpoint proves its key ([`FromEndpoint::Hello`]), and is certified
//!    ([`ToEndpoint::Welcome`]; anew before half of the time is over, [`ToEndpoint::Certificate`]) or
//!    refused ([`ToEndpoint::Refused`]).
//! 3. The endpoint names what it holds, one message each: first the hosts ([`FromEndpoint::HeldHost`]),
//!    then the sessions ([`FromEndpoint::Held`]) with the routes that lead to them, and then says
//!    [`FromEndpoint::Ready`]. The coordinator enters what it accepts in its tables again, ends the
//!    rest, and says [`ToEndpoint::Adopted`]. Then it says each route that there is from now on
//!    ([`ToEndpoint::Route`]), and takes away those that are not to be ([`ToEndpoint::Unroute`]).
//! 4. From then on both say what happens. Each side says at least [`ALIVE_EVERY`] that it is there; a
//!    side that has heard nothing for [`SILENT_AFTER`] ends the socket. Each step before that has
//!    [`STEP_TIME`].
//!
//! # Hosted zones
//! The endpoint of one zone may be a volunteer's machine. It shows the access token of its account
//! instead of the enrolment token, its key is its device key, and it shows the certificate of that key,
//! with the right to host ([`HostedClaim`]). It serves sessions of that zone only, and dials only what
//! the zone's signed policy names (`upstreams`): it checks that itself, before each grant.
//!
//! # Frames
//! Text frames are JSON objects of at most [`MAX_CONTROL`] bytes, read by [`read`]. A binary frame is a
//! datagram of a relayed WebSocket carrier:
//!
//! ```text
//! byte 0..4   number of the carrier, big-endian; the coordinator counts them up for each socket
//! byte 4..    the datagram, 1 to 1280 bytes
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ProblemCode;
use crate::carrier::PathKind;
use crate::hosting::{HostRegister, SignedPolicy};
use crate::identity::{PublicKey, RefusedReason};
use crate::relay::MAX_DATAGRAM;
use crate::rest::{IceServer, IdentityProof, RefusalCount};
use crate::signal::{ClientSignal, MAX_SIGNAL, ServerSignal};
use crate::zone::GameServer;

/// Version of what is said here. Since 2 hosts are named too.
pub const VERSION: u32 = 2;
/// Longest text frame, bytes: a signaling message with something around it.
pub const MAX_CONTROL: usize = MAX_SIGNAL + 64 * 1024;
/// Sessions that an endpoint may name as held, and as many hosts; those beyond end the socket.
pub const MAX_HELD: usize = 4096;
/// Routes of hosts that are named of a session at most: two, and those that are about to go.
pub const MAX_HELD_WAYS: usize = 16;
/// Bytes in front of a relayed datagram.
pub const RELAYED_LEN: usize = 4;
/// Each side says so often that it is there.
pub const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// The other side is gone when nothing was heard for so long.
pub const SILENT_AFTER: Duration = Duration::from_secs(15);
/// Longest that the next step of the beginning may take.
pub const STEP_TIME: Duration = Duration::from_secs(10);
/// Longest that an answer to a grant is waited for.
pub const GRANT_TIME: Duration = Duration::from_secs(5);

/// What the endpoint signs to prove its key to `coordinator`, which made up `nonce`.
pub fn endpoint_message(coordinator: &PublicKey, nonce: &[u8; 16], name: &str) -> Vec<u8> {
    [
        &b"warp endpoint 1\0"[..],
        coordinator.raw(),
        nonce,
        name.as_bytes(),
    ]
    .concat()
}

/// A text frame that is none of the control socket's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadControl {
    /// Longer than [`MAX_CONTROL`].
    #[error("a control message has at most {MAX_CONTROL} bytes")]
    TooLong,
    /// Not a known message, or one with a field that it may not have so.
    #[error("not a control message of this version")]
    Malformed,
}

/// Reads a text frame. Nothing is allocated that the frame does not hold.
///
/// # Errors
/// [`BadControl`].
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, BadControl> {
    if text.len() > MAX_CONTROL {
        return Err(BadControl::TooLong);
    }
    serde_json::from_str(text).map_err(|_| BadControl::Malformed)
}

/// Puts a carrier's number in front of its datagram.
pub fn relayed(carrier: u32, datagram: &[u8]) -> Vec<u8> {
    [&carrier.to_be_bytes()[..], datagram].concat()
}

/// The carrier's number in front of a relayed datagram; `None` when it holds no datagram, or one that
/// is too long.
pub fn carrier_of(frame: &[u8]) -> Option<u32> {
    let (number, datagram) = frame.split_first_chunk::<RELAYED_LEN>()?;
    let fits = (1..=MAX_DATAGRAM).contains(&datagram.len());
    fits.then(|| u32::from_be_bytes(*number))
}

/// A session, as the endpoint has to know it. It names it again with the same words in
/// [`HeldSession`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// Whose it is.
    pub who: SessionHolder,
    /// The servers that may be dialled.
    pub game: GameServer,
    /// Are offers of WebRTC answered. A coordinator whose switches may change while the session lasts
    /// says yes, and passes no offer on while one is off.
    pub p2p_enabled: bool,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHolder {
    /// The session.
    pub session_id: String,
    /// The launcher's peer id.
    pub peer_id: String,
    /// The zone.
    pub zone_id: String,
    /// Row id of the account at the coordinator.
    pub account: u64,
    /// The launcher's device key.
    pub device_key: PublicKey,
    /// The certificate of that key, hex, as it was when the session began: it is what makes the
    /// coordinator believe, after its own restart, that the session was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// A session that the endpoint holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSession {
    /// Whose it is.
    pub who: SessionHolder,
    /// Its link is up, or waits for a path to come back.
    pub up: bool,
    /// The routes of hosts that lead to it, those first that carry; at most [`MAX_HELD_WAYS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<HeldWay>,
}

/// A route of a host to a session, as the endpoint has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldWay {
    /// The host's room.
    pub host: String,
    /// The slot.
    pub slot: u32,
    /// Epoch of the lease.
    pub epoch: u32,
    /// As which way of the session.
    pub way: PathKind,
}

/// A host that may connect to the endpoint, in a room of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostSpec {
    /// The room.
    pub room: String,
    /// The host's peer id there, and in its members' rooms.
    pub peer_id: String,
    /// Row id of its account.
    pub account: u64,
    /// What it registered with, among that its device key and the certificate of that.
    pub registration: HostRegister,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
}

/// A host that the endpoint holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldHost {
    /// As it was told last, without the STUN and TURN servers.
    pub spec: HostSpec,
    /// Every slot that ever had a route is below this.
    pub next_slot: u32,
    /// The highest epoch that a route ever had.
    pub last_epoch: u32,
}

/// What the endpoint of a hosted zone shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostedClaim {
    /// The zone.
    pub zone_id: String,
    /// The certificate of its device key, hex.
    pub certificate: String,
    /// What it is ready to dial; at most [`MAX_UPSTREAMS`](crate::zone::MAX_UPSTREAMS).
    pub upstreams: Vec<SocketAddr>,
}

/// What a session's link carries, as its endpoint sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LinkFigures {
    /// The path that the endpoint sends on; none while none is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub path: Option<PathKind>,
    /// Connections to game servers that are open or being opened.
    pub streams: u32,
    /// Bytes from the client to game servers, since the session began.
    #[ts(type = "number")]
    pub up_bytes: u64,
    /// Bytes from game servers to the client, since then.
    #[ts(type = "number")]
    pub down_bytes: u64,
}

/// What a host has brought to the endpoint and taken, since it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostTraffic {
    /// Datagrams from members.
    pub up: u64,
    /// Bytes of those, without the heads.
    pub up_bytes: u64,
    /// Datagrams to members.
    pub down: u64,
    /// Bytes of those, without the heads.
    pub down_bytes: u64,
    /// Refused: the slot has no route.
    pub unrouted: u64,
    /// Refused: of another epoch than its route.
    pub stale: u64,
    /// Refused: not a forwarded datagram.
    pub malformed: u64,
}

/// What the coordinator grants at most at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointCapacity {
    /// Sessions.
    pub sessions: u32,
    /// Hosts.
    pub hosts: u32,
}

/// What the coordinator says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToEndpoint {
    /// The coordinator proves its key, and asks for the same.
    Challenge {
        /// Over the bytes of the query.
        proof: IdentityProof,
        /// 16 random bytes, hex.
        nonce: String,
    },
    /// The endpoint is the one that serves this coordinator's zones.
    Welcome {
        /// The certificate of its key, hex.
        certificate: String,
        /// Sessions need a device certificate.
        require_certificates: bool,
        /// The keys of a session link are renewed after so long, seconds.
        key_rotation_seconds: u64,
        /// How much it may be asked for at once; none: as much as it is made for by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        capacity: Option<EndpointCapacity>,
        /// To the endpoint of a hosted zone: what it may dial.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<SignedPolicy>,
        /// In a cluster: fencing number of the node's tenure. The endpoint refuses one that is smaller
        /// than the largest that it was told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fence: Option<u64>,
        /// In a cluster: after so long without a word, ms, another node is to be looked for, instead of
        /// [`SILENT_AFTER`]; the node says at least four times as often that it is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        silent_after_ms: Option<u64>,
    },
    /// The zone's policy from now on.
    Policy {
        /// Signed by the coordinator.
        policy: SignedPolicy,
    },
    /// It is not; the socket ends.
    Refused {
        /// Why.
        code: ProblemCode,
        /// English text for a log.
        message: String,
    },
    /// A newer certificate.
    Certificate {
        /// Hex.
        certificate: String,
    },
    /// The held sessions were looked at.
    Adopted {
        /// Entered again, or still there.
        accepted: u32,
        /// Revoked.
        revoked: u32,
    },
    /// The coordinator is there.
    Alive,
    /// Let a launcher open a link. Answered.
    Grant {
        /// What it may.
        spec: SessionSpec,
    },
    /// End a session.
    Revoke {
        /// Which.
        session_id: String,
        /// What its link is closed with; none: it just ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u32>,
    },
    /// Something that was said in a room.
    Signal {
        /// The session, or the host's room.
        room: String,
        /// What.
        signal: ServerSignal,
    },
    /// Let a host connect. Answered.
    GrantHost {
        /// Which.
        spec: HostSpec,
    },
    /// What is to be named of a host from now on, because it has registered again.
    RenewHost {
        /// Of the same room, and the same device.
        spec: HostSpec,
    },
    /// End a host and its routes.
    EndHost {
        /// Its room.
        room: String,
    },
    /// Route a slot of a host to a session.
    Route {
        /// The host's room.
        host: String,
        /// The slot.
        slot: u32,
        /// Epoch of the lease.
        epoch: u32,
        /// The session.
        session_id: String,
        /// As which way of it.
        way: PathKind,
    },
    /// Take a route away.
    Unroute {
        /// The host's room.
        host: String,
        /// The slot.
        slot: u32,
    },
    /// A WebSocket carrier has opened at the coordinator.
    CarrierOpen {
        /// Its number.
        carrier: u32,
        /// The session, or the host's room.
        room: String,
        /// It is a host's.
        host: bool,
    },
    /// It has ended there.
    CarrierClose {
        /// Its number.
        carrier: u32,
    },
}

/// What the endpoint says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromEndpoint {
    /// Who it is.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// Its name, as certificates have them.
        name: String,
        /// Its key.
        key: PublicKey,
        /// [`endpoint_message`] signed with that key, hex.
        proof: String,
        /// It is the endpoint of a hosted zone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hosted: Option<HostedClaim>,
    },
    /// A host that it holds.
    HeldHost {
        /// Which.
        host: HeldHost,
    },
    /// A session that it holds.
    Held {
        /// Which.
        session: HeldSession,
    },
    /// It has named all that it holds.
    Ready,
    /// The endpoint is there.
    Alive,
    /// A session or host was granted.
    Granted {
        /// The session, or the host's room.
        room: String,
    },
    /// It was not.
    GrantRefused {
        /// The session, or the host's room.
        room: String,
        /// The device is not believed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        untrusted: Option<RefusedReason>,
        /// English text for a log.
        message: String,
    },
    /// Something for the room.
    Signal {
        /// The session, or the host's room.
        room: String,
        /// What.
        signal: ClientSignal,
    },
    /// A session or host has ended at the endpoint.
    Ended {
        /// The session, or the host's room.
        room: String,
    },
    /// A relayed carrier has ended at the endpoint.
    CarrierClosed {
        /// Its number.
        carrier: u32,
    },
    /// The link of a session: at once when it is up or is not any more, else every [`ALIVE_EVERY`] where
    /// its figures have changed.
    Link {
        /// The session.
        session_id: String,
        /// It is up, or waits for a path to come back.
        up: bool,
        /// What it carries; none from an endpoint that does not say so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        figures: Option<LinkFigures>,
    },
    /// Counts, every now and then.
    Figures {
        /// What was refused, by reason, since the endpoint started.
        refusals: Vec<RefusalCount>,
    },
    /// Counts of one host.
    HostFigures {
        /// The host's room.
        room: String,
        /// What it brought and took.
        traffic: HostTraffic,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relayed_datagram_names_its_carrier_and_bad_ones_are_refused() {
        let frame = relayed(0x0102_0304, &[7; MAX_DATAGRAM]);
        assert_eq!(carrier_of(&frame), Some(0x0102_0304));
        assert_eq!(carrier_of(&relayed(1, &[7])), Some(1));
        assert_eq!(carrier_of(&relayed(1, &[])), None, "holds nothing");
        assert_eq!(carrier_of(&relayed(1, &[7; MAX_DATAGRAM + 1])), None);
        assert_eq!(carrier_of(&[0; 3]), None, "too short");
    }

    #[test]
    fn messages_round_trip_and_others_are_refused() {
        let revoke = ToEndpoint::Revoke {
            session_id: "session-1".into(),
            code: Some(4),
        };
        let text = serde_json::to_string(&revoke).unwrap();
        assert_eq!(read::<ToEndpoint>(&text), Ok(revoke));
        assert_eq!(read::<FromEndpoint>(&text), Err(BadControl::Malformed));
        for bad in ["", "{}", "[]", r#"{"type":"nothing"}"#, "\"alive\""] {
            assert_eq!(read::<ToEndpoint>(bad), Err(BadControl::Malformed), "{bad}");
        }
        let long = format!(r#"{{"type":"alive","x":"{}"}}"#, "x".repeat(MAX_CONTROL));
        assert_eq!(read::<FromEndpoint>(&long), Err(BadControl::TooLong));
    }

    #[test]
    fn what_is_signed_differs_by_coordinator_nonce_and_name() {
        let key = |n| PublicKey::from_raw([n; 32]);
        let base = endpoint_message(&key(1), &[2; 16], "a");
        assert_ne!(base, endpoint_message(&key(2), &[2; 16], "a"));
        assert_ne!(base, endpoint_message(&key(1), &[3; 16], "a"));
        assert_ne!(base, endpoint_message(&key(1), &[2; 16], "b"));
    }
}
