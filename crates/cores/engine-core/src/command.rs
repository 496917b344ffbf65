//! What a person, a script or the window may ask of the engine.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use warp_protocol::Secret;

/// A command. The same type for the window, `warp-node` and the tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Make an account at the coordinator and sign in with it.
    Register {
        /// Account name.
        user: String,
        /// Password.
        password: Secret,
        /// Keep the refresh token in the system's secret store.
        remember: bool,
    },
    /// Sign in.
    SignIn {
        /// Account name.
        user: String,
        /// Password.
        password: Secret,
        /// Keep the refresh token in the system's secret store.
        remember: bool,
    },
    /// Sign in with the refresh token kept for `user`.
    Resume {
        /// Account name.
        user: String,
    },
    /// Revoke the tokens and forget them.
    SignOut,
    /// Ask the coordinator for the zones.
    RefreshZones,
    /// Join the zone, open the link and the bridge, and start the first game client if there is a
    /// program to start.
    Play {
        /// Zone id.
        zone: String,
        /// Start the game; false: only open the bridge (`--no-game`).
        launch: bool,
    },
    /// Start another game client beside those that run; only while a zone is played.
    Launch,
    /// End one game client; bridge, link and the other clients stay.
    StopGame {
        /// Its number, from [`Event::GameStarted`](crate::event::Event::GameStarted).
        #[ts(type = "number")]
        game: u64,
    },
    /// End every game client and close bridge and links; stay signed in.
    Stop,
    /// Whether somebody looks at the numbers: while so they are told once a second.
    Watch {
        /// From now on, or no longer.
        on: bool,
    },
    /// A console line:
    /// `/p2p status | metrics | debug on | debug off | reconnect | failover | rekey | help`.
    Console {
        /// As it was typed.
        line: String,
    },
    /// Become a host: forward sealed datagrams of other players while signed in. What is not given is
    /// as the configuration says.
    HostStart {
        /// Zone ids; empty: those of the configuration, else the one that is played.
        zones: Vec<String>,
        /// Players to carry at once.
        max_players: Option<u32>,
        /// Upload to give, 10^6 bits a second.
        upload_mbps: Option<u32>,
        /// Game servers on this machine or beside it: be the endpoint of the one zone that is named,
        /// and dial these. Without it: forward for others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "string[]")]
        upstreams: Option<Vec<SocketAddr>>,
    },
    /// Be a host no longer: the players that are carried are moved away first.
    HostStop,
    /// Look at this machine and its network; takes five seconds at most.
    Diagnose,
    /// End the engine.
    Quit,
}

/// A `/p2p` command, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum P2pCommand {
    /// Which path, why, what stands by.
    Status,
    /// The numbers.
    Metrics,
    /// More in the log, or less.
    Debug(bool),
    /// Open the WebRTC path anew.
    Reconnect,
    /// Move to the standby now.
    FailOver,
    /// New keys for the session link.
    Rekey,
    /// What there is.
    Help,
}

impl P2pCommand {
    /// Every command, as it is typed; for completion and help.
    pub const WORDS: [&'static str; 8] = [
        "/p2p status",
        "/p2p metrics",
        "/p2p debug on",
        "/p2p debug off",
        "/p2p reconnect",
        "/p2p failover",
        "/p2p rekey",
        "/p2p help",
    ];

    /// Parses a console line; `/p2p` alone is `status`. `None`: not a `/p2p` command that exists.
    pub fn parse(line: &str) -> Option<Self> {
        // In game chat a line belongs to the launcher whatever its case, so any is understood.
        let line = line.to_ascii_lowercase();
        let mut words = line.split_ascii_whitespace();
        if !matches!(words.next()?, "/p2p" | "@p2p") {
            return None;
        }
        let command = match (words.next(), words.next()) {
            (None | Some("status"), None) => Self::Status,
            (Some("metrics"), None) => Self::Metrics,
            (Some("debug"), Some("on")) => Self::Debug(true),
            (Some("debug"), Some("off")) => Self::Debug(false),
            (Some("reconnect"), None) => Self::Reconnect,
            (Some("failover"), None) => Self::FailOver,
            (Some("rekey"), None) => Self::Rekey,
            (Some("help"), None) => Self::Help,
            _ => return None,
        };
        words.next().is_none().then_some(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_help_parses_and_others_do_not() {
        for word in P2pCommand::WORDS {
            assert!(P2pCommand::parse(word).is_some(), "{word}");
            assert!(P2pCommand::parse(&word.to_uppercase()).is_some(), "{word}");
        }
        for other in [
            "",
            "/p2px status",
            "/p2p statusx",
            "/p2p debug",
            "/p2p status now",
            "hello /p2p",
        ] {
            assert_eq!(P2pCommand::parse(other), None, "{other}");
        }
    }
}
