//! A cluster of coordinators: which node holds the live state, and until when it may act on it.
//!
//! * Live state (sessions, rooms, hosts) belongs to one node per *shard*, the one that holds the
//!   shard's lease ([`lease`]). All zones belong to the shard [`DEFAULT_SHARD`].
//! * Any node answers what needs no live state; the rest goes to the owner ([`needs_owner`]).
//! * A lease is counted from before it was asked for, by the node's own monotonic clock, and ends
//!   for the node before it ends in the store ([`LeaseTimes::own`]). While no two clocks differ in
//!   rate by more than [`MAX_DRIFT_PERCENT`] each, no two nodes may act at once.
//! * Each tenure has a fencing number, larger than that of every tenure before it. Whoever is told
//!   what to do by an owner refuses a smaller one.

pub mod lease;

pub use lease::{Answer, Ask, Change, Lease, LeaseTimes, MAX_DRIFT_PERCENT};

/// The shard of zones that name no other.
pub const DEFAULT_SHARD: &str = "default";

/// Routes under the API's base that any node answers.
const ANYWHERE: [&str; 3] = ["auth", "identity", "openapi.json"];

/// Whether a request needs the live state of its shard. `path` is the path of the URL alone.
///
/// Routes that are not known here need it, so that a new one is right before it is fast.
pub fn needs_owner(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/api/") else {
        return false;
    };
    let rest = rest.strip_prefix("v1/").unwrap_or(rest);
    let first = rest.split('/').next().unwrap_or_default();
    !ANYWHERE.contains(&first) && rest != "devices/certificate"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_live_state_is_answered_anywhere() {
        for path in [
            "/",
            "/health",
            "/metrics",
            "/api/auth/login",
            "/api/v1/auth/refresh",
            "/api/v1/identity",
            "/api/v1/devices/certificate",
        ] {
            assert!(!needs_owner(path), "{path}");
        }
        for path in [
            "/api/v1/zones/a/join",
            "/api/zones",
            "/api/v1/signaling/ws",
            "/api/v1/devices/revoke",
            "/api/v1/anything/new",
            "/api/v1/devices/certificate/..",
        ] {
            assert!(needs_owner(path), "{path}");
        }
    }
}

#[cfg(test)]
mod lease_tests;
