//! A cluster of coordinators: which node holds the live state, and until when it may act on it.
//!
//! * Live state (sessions, rooms, hosts) belongs to one node per *shard*, the one that holds the
//!   shard's lease ([`lease`]). All zones belong to the shard [`DEFAULT_SHARD`].
//! * Any node answers what needs no live state; the rest goes to the owner ([`served_by`]).
//! * A lease is counted from before it was asked for, by the node's own monotonic clock, and ends
//!   for the node before it ends in the store ([`LeaseTimes::own`]). While no two clocks differ in
//!   rate by more than [`MAX_DRIFT_PERCENT`] each, no two nodes may act at once.
//! * Each tenure has a fencing number, larger than that of every tenure before it. Whoever is told
//!   what to do by an owner refuses a smaller one.

pub mod lease;

pub use lease::{Answer, Ask, Change, Lease, LeaseTimes, MAX_DRIFT_PERCENT};

/// The shard of zones that name no other.
pub const DEFAULT_SHARD: &str = "default";

/// First parts of the routes under the API's base that any node answers, with the database alone.
/// Bans are not among them: the owner ends what it bans before it answers.
const ANYWHERE: [&str; 4] = ["accounts", "audit", "auth", "identity"];

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedBy {
    /// Whichever node it reaches.
    AnyNode,
    /// The node that it reaches, with what it knows of itself, whatever it owns.
    ThisNode,
    /// The owner of its shard: it needs the live state.
    Owner,
}

/// Who answers a request. `path` is the path of the URL alone.
///
/// Routes that are not known here are the owner's, so that a new one is right before it is fast.
pub fn served_by(path: &str) -> ServedBy {
    let Some(rest) = path.strip_prefix("/api/") else {
        return match path {
            "/metrics" => ServedBy::ThisNode,
            _ => ServedBy::AnyNode,
        };
    };
    let rest = rest.strip_prefix("v1/").unwrap_or(rest);
    let first = rest.split('/').next().unwrap_or_default();
    match rest {
        "devices/certificate" | "monitoring/health" => ServedBy::AnyNode,
        "monitoring/metrics" => ServedBy::ThisNode,
        _ if ANYWHERE.contains(&first) => ServedBy::AnyNode,
        _ => ServedBy::Owner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_live_state_is_answered_anywhere() {
        for path in [
            "/",
            "/health",
            "/dashboard",
            "/openapi.json",
            "/api/auth/login",
            "/api/v1/auth/refresh",
            "/api/v1/identity",
            "/api/v1/devices/certificate",
            "/api/v1/monitoring/health",
            "/api/v1/accounts",
            "/api/v1/accounts/a/role",
            "/api/audit/",
        ] {
            assert_eq!(served_by(path), ServedBy::AnyNode, "{path}");
        }
        // Else a scraper of all nodes would count the owner as often as there are nodes.
        for path in ["/metrics", "/api/v1/monitoring/metrics"] {
            assert_eq!(served_by(path), ServedBy::ThisNode, "{path}");
        }
        for path in [
            "/api/v1/zones/a/join",
            "/api/zones",
            "/api/v1/signaling/ws",
            "/api/v1/devices/revoke",
            "/api/v1/devices/refusals",
            "/api/v1/hosts/register",
            "/api/v1/sessions/",
            "/api/v1/sessions/1/end",
            "/api/v1/links/",
            "/api/v1/links/a/move",
            "/api/v1/bans/",
            "/api/v1/notices",
            "/api/v1/npc/a/states",
            "/api/v1/fleet/p2p",
            "/api/v1/monitoring/events",
            "/api/v1/monitoring/hosts/stats",
            "/api/v1/anything/new",
            "/api/v1/devices/certificate/..",
        ] {
            assert_eq!(served_by(path), ServedBy::Owner, "{path}");
        }
    }
}

#[cfg(test)]
mod lease_tests;
