//! Text that must not reach a log, an event or a debug print.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A password or token: printed as `[secret]`, wiped from memory when dropped.
///
/// It serialises to its plain text, because it has to travel in request bodies; events and
/// snapshots therefore never contain a `Secret`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop, ts_rs::TS)]
#[serde(transparent)]
#[ts(type = "string")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The plain text. Name it where you use it, so that a reader sees it leave.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True when there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_text() {
        let shown = format!("{:?}", Secret::new("hunter2"));
        assert_eq!(shown, "[secret]");
    }
}
