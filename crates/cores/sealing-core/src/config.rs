//! Numbers of a lane; see the table in the crate's documentation.

use std::time::Duration;

/// Most members that a lane can be made for.
pub const MAX_MEMBERS: usize = 256;
/// Most frames that may be sealed under one key: NIST SP 800-38D 8.3 sets 2^32 for nonces that are
/// counted; we stay far below.
pub const MAX_FRAMES_PER_KEY: u64 = 1 << 20;

/// How a lane behaves. Members may use different values, but for `overlap`, which has to be longer
/// than the others' `switch_after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneConfig {
    /// Time after which the sender key changes.
    pub key_interval: Duration,
    /// Frames after which it changes, at most [`MAX_FRAMES_PER_KEY`].
    pub frames_per_key: u64,
    /// How long a sender waits for confirmations of a new key before it uses it all the same. Not
    /// when somebody has left: then the new key is used at once.
    pub switch_after: Duration,
    /// How long a receiver keeps a key that was replaced.
    pub overlap: Duration,
    /// Members who join within this time share one change of key.
    pub gather: Duration,
    /// Members, this one too; at most [`MAX_MEMBERS`].
    pub max_members: usize,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self {
            key_interval: Duration::from_secs(3600),
            frames_per_key: MAX_FRAMES_PER_KEY,
            switch_after: Duration::from_secs(2),
            overlap: Duration::from_secs(5),
            gather: Duration::from_secs(1),
            max_members: MAX_MEMBERS,
        }
    }
}

/// A number that a lane cannot work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `frames_per_key` is 0 or above [`MAX_FRAMES_PER_KEY`].
    #[error("frames per key: 1 to 2^20")]
    FramesPerKey,
    /// `overlap` is not longer than `switch_after`.
    #[error("the overlap has to be longer than the wait for confirmations")]
    Overlap,
    /// `max_members` is 0 or above [`MAX_MEMBERS`].
    #[error("members: 1 to 256")]
    MaxMembers,
}

impl LaneConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !(1..=MAX_FRAMES_PER_KEY).contains(&self.frames_per_key) {
            return Err(ConfigError::FramesPerKey);
        }
        if self.overlap <= self.switch_after {
            return Err(ConfigError::Overlap);
        }
        if !(1..=MAX_MEMBERS).contains(&self.max_members) {
            return Err(ConfigError::MaxMembers);
        }
        Ok(())
    }

    /// Frames after which the change of key begins, so that it is done before the last one.
    pub(crate) fn early(&self) -> u64 {
        self.frames_per_key - self.frames_per_key / 16
    }
}
