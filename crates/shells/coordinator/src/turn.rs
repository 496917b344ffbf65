//! Time-limited credentials for a TURN server, by the scheme that coturn calls `use-auth-secret`
//! (draft-uberti-behave-turn-rest-00, section 2.2): the user name is the second in which it expires
//! (Unix time), a colon and whose it is; the password is the base64 of the HMAC-SHA1 of the user name
//! under a secret that TURN server and coordinator share.
//!
//! Nobody who holds such a pair learns the secret, and a pair that leaks is worth nothing after its
//! time. The TURN server judges the time when an allocation is made; one that stands lives on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::hmac;
use warp_protocol::{Secret, rest::IceServer};

/// How long credentials are good for by default.
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);

/// A TURN server that shares a secret with the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnConfig {
    /// Its addresses, `turn:host:port`.
    pub urls: Vec<String>,
    /// What coturn's configuration calls `static-auth-secret`.
    pub shared_secret: Secret,
    /// How long credentials are good for.
    pub ttl: Duration,
}

impl TurnConfig {
    /// The server with credentials for `whose`, which expire [`TurnConfig::ttl`] after `now`.
    pub fn server_for(&self, whose: &str, now: SystemTime) -> IceServer {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let username = format!("{}:{whose}", (since + self.ttl).as_secs());
        let key = hmac::Key::new(
            // The scheme's own choice; nothing else hangs on it.
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            self.shared_secret.reveal().as_bytes(),
        );
        let tag = hmac::sign(&key, username.as_bytes());
        IceServer {
            urls: self.urls.clone(),
            username: Some(username),
            credential: Some(Secret::new(BASE64_STANDARD.encode(tag))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_as_another_implementation_makes_them() {
        let turn = TurnConfig {
            urls: vec!["turn:192.0.2.1:3478".into()],
            shared_secret: Secret::new("north"),
            ttl: Duration::from_secs(600),
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let server = turn.server_for("player-alice-1", now);
        assert_eq!(
            server.username.as_deref(),
            Some("1700000600:player-alice-1")
        );
        // printf 1700000600:player-alice-1 | openssl dgst -sha1 -hmac north -binary | base64
        let credential = server.credential.unwrap();
        assert_eq!(credential.reveal(), "jc2J91WdgkB2qctUvngr0mxp+Zk=");
        assert_eq!(server.urls, turn.urls);
    }
}
