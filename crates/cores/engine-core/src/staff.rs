//! What game masters and operators ask of the coordinator. Whether an account may is the
//! coordinator's to say, at each request; a role that is known here only decides what is shown.

use serde::{Deserialize, Serialize};
use warp_protocol::Problem;
use warp_protocol::admin::{AuditEntry, BanView, MoveTo, SessionInfo};
use warp_protocol::hosting::HostView;
use warp_protocol::rest::RefusalCount;
use warp_protocol::zone::ZoneStatus;

/// Entries of a list that are asked for at once.
pub const LISTED: u32 = 500;

/// A question or an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum StaffAsk {
    /// The session links of players; game masters.
    Sessions,
    /// The hosts with their scores.
    Hosts,
    /// The bans; game masters.
    Bans,
    /// How often what was refused; operators.
    Refusals,
    /// The newest lines of the audit log; operators.
    Audit,
    /// The switch of peer-to-peer paths in all zones.
    Fleet,
    /// End a session link; game masters.
    EndSession {
        /// Which.
        session_id: String,
    },
    /// Move a session link; game masters.
    MoveSession {
        /// Which.
        session_id: String,
        /// Where to.
        to: MoveTo,
    },
    /// Move a host's players away; operators.
    DrainHost {
        /// Which.
        host_id: String,
    },
    /// Ban an account or a device; operators.
    Ban {
        /// Name of the account.
        account: Option<String>,
        /// Key of the device, 88 hex digits.
        device: Option<String>,
        /// Why, in words that the player is shown.
        reason: String,
        /// When it ends, unix seconds; `None`: when it is lifted.
        #[ts(type = "number | null")]
        until: Option<i64>,
    },
    /// End a ban; operators.
    LiftBan {
        /// Its number.
        #[ts(type = "number")]
        id: i64,
    },
    /// Open or close a zone; game masters.
    ZoneStatus {
        /// Zone id.
        zone: String,
        /// What it is to be.
        status: ZoneStatus,
    },
    /// Switch peer-to-peer paths in a zone; game masters.
    ZoneP2p {
        /// Zone id.
        zone: String,
        /// On or off.
        on: bool,
    },
    /// Switch peer-to-peer paths in all zones; operators.
    SetFleet {
        /// On: each zone's own switch counts.
        on: bool,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum StaffAnswer {
    /// The session links, [`LISTED`] at most.
    Sessions {
        /// Them.
        sessions: Vec<SessionInfo>,
    },
    /// The hosts, [`LISTED`] at most.
    Hosts {
        /// Them, the best first.
        hosts: Vec<HostView>,
    },
    /// The bans, [`LISTED`] at most.
    Bans {
        /// Them, the newest first.
        bans: Vec<BanView>,
    },
    /// How often what was refused since the coordinator started.
    Refusals {
        /// By reason.
        refusals: Vec<RefusalCount>,
    },
    /// The audit log's newest lines, [`LISTED`] at most.
    Audit {
        /// Them, the newest first.
        entries: Vec<AuditEntry>,
    },
    /// The switch of all zones.
    Fleet {
        /// On: each zone's own switch counts.
        on: bool,
    },
    /// It was done.
    Done,
    /// It was not.
    Refused {
        /// Why.
        problem: Problem,
    },
}
