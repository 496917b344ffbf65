//! `updates`.

use serde::{Deserialize, Serialize};
use warp_protocol::update::Channel;

use super::Wrong;

/// `updates`: newer versions of the launcher, from the coordinator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdatesSection {
    /// Whose releases are followed: `stable`, or `canary` for those who want them earlier.
    pub channel: Channel,
    /// The public key that updates are signed with, one line of base64 as `warp-release key` prints it;
    /// empty: the one that the launcher was built with. Without either it takes no updates.
    pub public_key: String,
}

impl UpdatesSection {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        // 42 bytes: algorithm, number and key.
        let key = &self.public_key;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/' || b == b'=';
        if !key.is_empty() && (key.len() != 56 || !key.bytes().all(plain)) {
            let allowed = "the 56 characters that `warp-release key` prints, or empty";
            return Err(Wrong::new("updates.public_key", key, allowed));
        }
        Ok(())
    }
}
