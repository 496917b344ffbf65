//! The six states that players see.

use serde::{Deserialize, Serialize};

/// State of a session link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "LinkState")]
pub enum State {
    /// No link.
    #[default]
    Disconnected,
    /// The first carrier is being opened.
    Connecting,
    /// The two sides are proving who they are.
    Authenticating,
    /// A path carries the game.
    Connected,
    /// No path can carry the game now, or the best one is being opened anew on request; the
    /// streams are held.
    Reconnecting,
    /// The path in use failed and the game moves to another.
    FailingOver,
}
