//! Bodies of the coordinator's REST routes under `/api/v1/`.
//!
//! | route | request | answer |
//! |---|---|---|
//! | POST auth/register | [`Credentials`] | 201 [`Tokens`] |
//! | POST auth/login | [`Credentials`] | 200 [`Tokens`] |
//! | POST auth/token | [`TokenRequest`] | 200 [`Tokens`] |
//! | POST auth/refresh | [`RefreshRequest`] | 200 [`Tokens`], the old refresh token is used up |
//! | POST auth/logout | [`RefreshRequest`] | 204 |
//! | POST auth/logout/everywhere | | 204; no kept sign-in of the account counts any more |
//! | GET zones/ | | 200 `[ZoneView]` |
//! | GET zones/?map=NAME | | 200 `[ZoneView]` of the enabled zones that have the map, best first |
//! | GET zones/{zone_id} | | 200 `ZoneView` |
//! | POST zones/{zone_id}/join | [`JoinRequest`] | 201 [`SessionGrant`] |
//! | DELETE links/{session_id} | | 204 |
//! | GET identity?nonce=HEX | | 200 [`IdentityProof`] |
//! | POST devices/certificate | [`CertificateRequest`] | 200 [`CertificateAnswer`] |
//! | POST devices/revoke | [`RevokeRequest`], by an operator | 200 [`RevokeAnswer`] |
//! | GET devices/refusals | by a game master or operator | 200 `[`[`RefusalCount`]`]` |
//! | POST links/{session_id}/guests | [`GuestRequest`] | 204; the peer may enter the session's room |
//! | PATCH zones/{zone_id}/status?new_status=enabled\|disabled\|maintenance | by a game master or operator | 200 `ZoneView` |
//! | POST zones/{zone_id}/enable-p2p, zones/{zone_id}/disable-p2p | by a game master or operator | 200 `ZoneView` |
//! | GET fleet/p2p | | 200 [`FleetSwitch`] |
//! | POST fleet/p2p | [`FleetSwitch`], by an operator | 200 [`FleetSwitch`] |
//! | POST hosts/register | [`HostRegister`](crate::hosting::HostRegister) | 201 [`HostGrant`](crate::hosting::HostGrant) |
//! | POST hosts/{host_id}/heartbeat | [`HostHeartbeat`](crate::hosting::HostHeartbeat) | 200 [`HostView`](crate::hosting::HostView) |
//! | GET hosts/?status=&min_quality_score= | | 200 `[HostView]` |
//! | GET hosts/available/list | | 200 `[HostView]` that could be given a member now, best first |
//! | GET hosts/available/best?zone_id= | | 200 `HostView`: the caller's best host in the zone |
//! | GET hosts/{host_id} | | 200 `HostView` |
//! | POST hosts/{host_id}/drain | by its owner or an operator | 200 `HostView` |
//! | DELETE hosts/{host_id} | by its owner or an operator | 204 |
//! | GET signaling/ws?peer_id=&session_id= | WebSocket, [`crate::signal`] | |
//! | GET link/ws?session_id= | WebSocket, binary frames, [`crate::carrier`] | |
//! | GET relay/ws?session_id=&peer_id=&to= | WebSocket, binary frames, [`crate::relay`] | |
//!
//! The routes of operators and game masters stand in [`crate::admin`]. All but register, login, token,
//! refresh and identity want `Authorization: Bearer <access token>`.
//! Every refusal is an [`ErrorBody`].

use serde::{Deserialize, Serialize};

use crate::{
    ProblemCode, Secret,
    identity::{PublicKey, RefusedReason},
    zone::ZoneView,
};

/// Longest account name, bytes.
pub const MAX_NAME: usize = 32;
/// Shortest password, characters.
pub const MIN_PASSWORD: usize = 6;
/// Longest password, bytes; bounds what argon2 is asked to hash.
pub const MAX_PASSWORD: usize = 128;

/// What an account may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ts_rs::TS,
)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AccountRole {
    /// Plays.
    Player,
    /// Plays and may serve zones.
    Host,
    /// Game master.
    Gm,
    /// Operator.
    Admin,
}

/// Name and password.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Credentials {
    /// 1..=32 bytes of letters, digits, `_`, `-` and `.`.
    pub username: String,
    /// 6..=128 bytes.
    pub password: Secret,
}

/// An account as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountView {
    /// Name, as it was registered.
    pub name: String,
    /// What it may do.
    pub role: AccountRole,
}

/// Answer to a sign-in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// JWT, short-lived.
    pub access_token: Secret,
    /// Opaque, works once.
    pub refresh_token: Secret,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds that the access token lives.
    pub expires_in: u64,
    /// Whose they are.
    pub account: AccountView,
}

/// A request for tokens, as in the older contract.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenRequest {
    /// Name of the account.
    pub player_id: String,
    /// Of no use; older clients send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// An API key that is good for tokens; it may stand in the header as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// The account's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// A refresh token, to be traded or revoked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefreshRequest {
    /// As it was issued.
    pub refresh_token: Secret,
}

/// Asks for a session in a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinRequest {
    /// The launcher's public key, hex: Ed25519 SubjectPublicKeyInfo in DER. The endpoint will
    /// accept a session link from the holder of this key only.
    pub device_key: String,
    /// The certificate of that key, hex. A coordinator that requires certificates refuses to go
    /// without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// Asks for a certificate of the launcher's device key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertificateRequest {
    /// The key to be certified.
    pub device_key: PublicKey,
    /// When it asks, by the coordinator's clock: unix seconds.
    pub time: u64,
    /// [`crate::identity::device_message`] signed with that key, hex.
    pub proof: String,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertificateAnswer {
    /// [`crate::identity::Certificate`], hex.
    pub certificate: String,
    /// Seconds that it is valid from now.
    pub expires_in: u64,
}

/// The coordinator's key, proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IdentityProof {
    /// The key that signs certificates.
    pub public_key: PublicKey,
    /// The coordinator's clock, unix seconds.
    pub time: u64,
    /// [`crate::identity::identity_message`] signed with that key, hex.
    pub signature: String,
}

/// The switch of peer-to-peer paths in all zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FleetSwitch {
    /// On: each zone's own switch counts. Off: no zone has them.
    pub enabled: bool,
}

/// What staff says to the players; see [`crate::signal::ServerSignal::Notice`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NoticeRequest {
    /// 1 to [`crate::signal::MAX_NOTICE`] characters.
    pub text: String,
    /// To the players of this zone; none: to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<String>,
}

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NoticeSent {
    /// Launchers that it was sent to.
    pub told: u64,
}

/// States of NPCs, as the AI service pushes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NpcStates {
    /// Those that are named; the others stay as they were.
    pub npcs: Vec<crate::signal::NpcView>,
}

/// What became of pushed states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NpcStatesTaken {
    /// How many were others than before.
    pub changed: u64,
}

/// Whom to revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RevokeRequest {
    /// One device, for ever: its key, or the serial of one of its certificates.
    Device(String),
    /// Every device of this account, until somebody signs in on it with the password.
    Account(String),
}

/// What a revocation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevokeAnswer {
    /// Accounts whose kept sign-ins count no more.
    pub accounts: Vec<String>,
    /// Sessions that were ended at once.
    pub sessions_ended: usize,
}

/// How often something was refused since the coordinator started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefusalCount {
    /// Why.
    pub reason: RefusedReason,
    /// How often.
    #[ts(type = "number")]
    pub count: u64,
}

/// Lets the holder of another session of the same zone into a session's room, for signaling and
/// [`crate::relay`]. Only the session's owner may ask, and only in a zone with P2P.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GuestRequest {
    /// The peer id of the other session's grant.
    pub peer_id: String,
}

/// What a launcher needs to reach the endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionGrant {
    /// The session; room of the signaling socket and key of the link socket.
    pub session_id: String,
    /// The launcher's peer id in the room.
    pub peer_id: String,
    /// The endpoint's peer id in the room.
    pub endpoint_peer_id: String,
    /// The endpoint's public key, hex: Ed25519 SubjectPublicKeyInfo in DER.
    pub endpoint_key: String,
    /// The certificate of that key, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_certificate: Option<String>,
    /// The zone as it is now.
    pub zone: ZoneView,
    /// STUN and TURN servers for the WebRTC path.
    pub ice_servers: Vec<IceServer>,
}

/// A STUN or TURN server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IceServer {
    /// `stun:host:port`, `turn:host:port`.
    pub urls: Vec<String>,
    /// TURN user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Secret>,
}

/// Body of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// English text for a log.
    pub detail: String,
    /// Stable code.
    pub code: ProblemCode,
}
