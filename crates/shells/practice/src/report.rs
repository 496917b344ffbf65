//! What each end says about a connection, in one shape.
//!
//! Both ends print, for every connection, `{"key":...,"c2s":{...},"s2c":{...}}`. Two reports with
//! the same key describe the same connection; its streams arrived whole if the reports are equal.

use serde::{Deserialize, Serialize};
pub use warp_ro_packet::Role;

/// One direction of one connection.
///
/// The digest is over the bytes as they travelled, with the address fields of 0AC4, 0AC5 and 0AC7
/// (IPv4, port and text; in older versions of 0069, 0071 and 0092) zeroed, so that it is the same
/// on both sides of a bridge that rewrites addresses. Enciphered packet ids are hashed as they
/// are, and so are the bytes behind a shield.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReport {
    /// Bytes that travelled.
    pub bytes: u64,
    /// Whole packets among them; behind a shield whole records.
    pub packets: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// A closed connection as one end saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// Which server the connection led to.
    pub role: Role,
    /// Names the connection at both ends: see [`session_key`].
    pub key: String,
    /// Why it was closed, in kebab case; each end has its own words.
    pub reason: String,
    /// Client to server.
    pub c2s: StreamReport,
    /// Server to client.
    pub s2c: StreamReport,
}

/// The key of the `n`-th connection (from 1) that a login session opened to servers of a role:
/// `<role>:<user>:<login_id1>-<n>`, with the session number in hex. Both ends see all four: the
/// login server hands `login_id1` out and the other two are shown it.
#[must_use]
pub fn session_key(role: Role, user: &str, login_id1: u32, n: u32) -> String {
    format!("{}:{user}:{login_id1:08x}-{n}", role_name(role))
}

/// `login`, `char` or `map`.
#[must_use]
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Login => "login",
        Role::Char => "char",
        Role::Map => "map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_names_role_user_session_and_number() {
        assert_eq!(
            session_key(Role::Map, "test7", 0xabc, 2),
            "map:test7:00000abc-2"
        );
        assert_eq!(serde_json::to_string(&Role::Char).unwrap(), "\"char\"");
    }
}
