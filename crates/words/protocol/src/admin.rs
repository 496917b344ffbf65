//! Bodies of the routes for operators (role admin) and game masters (role gm or admin).
//!
//! | route | who | request | answer |
//! |---|---|---|---|
//! | GET bans/?limit=&offset= | gm | | 200 `[`[`BanView`]`]`, the newest first |
//! | POST bans/ | admin | [`BanRequest`] | 201 [`BanView`] |
//! | DELETE bans/{id} | admin | | 200 [`BanView`], lifted |
//! | GET accounts/?limit=&offset= | admin | | 200 `[`[`AccountInfo`]`]`, by name |
//! | PATCH accounts/{name}/role | admin | [`RoleRequest`] | 200 [`AccountInfo`] |
//! | GET accounts/{name}/devices | admin | | 200 `[`[`DeviceInfo`]`]`, the newest first |
//! | GET links/?limit=&offset= | gm | | 200 `[`[`SessionInfo`]`]` |
//! | DELETE links/{session_id} | gm, or its owner | | 204 |
//! | POST links/{session_id}/move | gm | [`MoveRequest`] | 200 [`SessionInfo`] |
//! | GET audit/?limit=&offset=&since= | admin | | 200 `[`[`AuditEntry`]`]`, the newest first |
//!
//! Lists are arrays; the header `x-total-count` says how many there are in all. `limit` is 1 to 1000,
//! by default 100.

use serde::{Deserialize, Serialize};

use crate::endpoint::LinkFigures;
use crate::rest::AccountRole;

/// Longest reason of a ban, bytes.
pub const MAX_REASON: usize = 400;

/// Whom to ban: an account or a device, not both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BanRequest {
    /// Name of an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A device: its key (88 hex digits), or the serial of a certificate (32 hex digits).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Why, in words that the player is shown; 1 to [`MAX_REASON`] bytes.
    pub reason: String,
    /// When it ends, unix seconds; none: when it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BanView {
    /// Its number.
    #[ts(type = "number")]
    pub id: i64,
    /// The account, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub account: Option<String>,
    /// The device, by its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub device: Option<String>,
    /// Why.
    pub reason: String,
    /// Who set it, as in the audit log.
    pub by: String,
    /// When it was set, unix seconds.
    #[ts(type = "number")]
    pub since: i64,
    /// When it ends, unix seconds; none: when it is lifted.
    #[ts(type = "number | null")]
    pub until: Option<i64>,
    /// When it was lifted, unix seconds.
    #[ts(type = "number | null")]
    pub lifted: Option<i64>,
}

/// An account, as its operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountInfo {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: AccountRole,
    /// When it was made, unix seconds.
    pub created_at: i64,
    /// A ban of the account is in force.
    pub banned: bool,
}

/// A new role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleRequest {
    /// What the account may do from now on.
    pub role: AccountRole,
}

/// A device that was certified for an account in the last week or so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceInfo {
    /// Its key, 88 hex digits.
    pub key: String,
    /// Serial of its newest certificate, 32 hex digits.
    pub serial: String,
    /// When that was issued, unix seconds.
    pub issued_at: i64,
    /// It was revoked.
    pub revoked: bool,
    /// A ban of the device is in force.
    pub banned: bool,
}

/// A session, as game masters see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionInfo {
    /// Its id.
    pub session_id: String,
    /// Name of the account; its number where the account is gone.
    pub account: String,
    /// Its zone.
    pub zone_id: String,
    /// The device, by its key.
    pub device: String,
    /// The player's peer id.
    pub peer_id: String,
    /// Something is attached to it.
    pub live: bool,
    /// The hosts that it may go over, the first way first. Empty: it goes to the endpoint.
    pub hosts: Vec<String>,
    /// What its link carries; none until its endpoint has said so, and for a session of another node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub link: Option<LinkFigures>,
}

/// Where to move a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MoveRequest {
    /// `endpoint`: away from all hosts; or `host`: away from the hosts that it has now, to others as
    /// far as there are any.
    pub to: MoveTo,
    /// With `host`: to this one, or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
}

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum MoveTo {
    /// Over no host.
    Endpoint,
    /// Over another host.
    Host,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Its number; they count up.
    #[ts(type = "number")]
    pub id: i64,
    /// When, unix seconds.
    #[ts(type = "number")]
    pub at: i64,
    /// Who: the name of an account, or `command line as USER`.
    pub who: String,
    /// What: `ban`, `unban`, `role`, `zone-status` and so on.
    pub action: String,
    /// On what: `account alice`, `device 302a...`, `zone prontera`.
    pub target: String,
    /// What was before, where it was something.
    #[ts(type = "unknown")]
    pub before: Option<serde_json::Value>,
    /// What is now.
    #[ts(type = "unknown")]
    pub after: Option<serde_json::Value>,
    /// The address that it was asked from; none on the command line.
    pub address: Option<String>,
    /// `done`, or the code of the refusal.
    pub outcome: String,
}
