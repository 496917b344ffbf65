//! What a person, a script or the window may ask of the engine.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use warp_protocol::Secret;
use warp_protocol::carrier::PathKind;

use crate::config::RedundantSending;
use crate::staff::StaffAsk;

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
    /// Forget the sign-in that is kept here for `user`. Whoever is signed in stays so.
    ForgetAccount {
        /// Account name.
        user: String,
    },
    /// Leave the account and keep its sign-in where it is kept, so that it can be resumed.
    LeaveAccount,
    /// End every sign-in of the account, on all machines; this one's too.
    SignOutEverywhere,
    /// Ask the coordinator for the zones.
    RefreshZones,
    /// Open the paths of this zone beforehand, so that Play finds them; instead of those of any other
    /// that was prepared. `None`: none is wanted any more. Does nothing while a zone is played.
    Prepare {
        /// Zone id.
        zone: Option<String>,
    },
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
    /// A console line; see [`P2pCommand::WORDS`].
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
    /// Something for game masters and operators; the coordinator decides whether the account may.
    Staff {
        /// What.
        ask: StaffAsk,
    },
    /// Show the packets of the game's connections as they pass, decoded and without their secrets;
    /// where the coordinator takes the account for a game master's or an operator's.
    Inspect {
        /// From now on, or no longer.
        on: bool,
    },
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
    Debug {
        /// Which.
        on: bool,
        /// For so long, minutes; `None`: until it is switched off.
        minutes: Option<u32>,
    },
    /// Open the WebRTC path anew.
    Reconnect,
    /// Move to the standby now.
    FailOver,
    /// New keys for the session link.
    Rekey,
    /// The game goes over this path; `None`: over the best, as without a person's choice.
    Use(Option<PathKind>),
    /// When small packets are sent twice, until the engine ends.
    Redundant(RedundantSending),
    /// What there is.
    Help,
}

impl P2pCommand {
    /// Every command, as it is typed; for completion and help.
    pub const WORDS: [&'static str; 15] = [
        "/p2p status",
        "/p2p metrics",
        "/p2p debug on",
        "/p2p debug off",
        "/p2p reconnect",
        "/p2p failover",
        "/p2p rekey",
        "/p2p use direct",
        "/p2p use host",
        "/p2p use wss",
        "/p2p use auto",
        "/p2p redundant auto",
        "/p2p redundant always",
        "/p2p redundant off",
        "/p2p help",
    ];

    /// Longest that debug logging may be asked for, minutes.
    pub const MAX_DEBUG_MINUTES: u32 = 240;

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
            (Some("debug"), Some("on")) => Self::Debug {
                on: true,
                minutes: match words.next() {
                    None => None,
                    Some(word) => Some(minutes(word)?),
                },
            },
            (Some("debug"), Some("off")) => Self::Debug {
                on: false,
                minutes: None,
            },
            (Some("reconnect"), None) => Self::Reconnect,
            (Some("failover"), None) => Self::FailOver,
            (Some("rekey"), None) => Self::Rekey,
            (Some("use"), Some("auto")) => Self::Use(None),
            (Some("use"), Some(word)) => Self::Use(Some(path(word)?)),
            (Some("redundant"), Some("auto")) => Self::Redundant(RedundantSending::Auto),
            (Some("redundant"), Some("always")) => Self::Redundant(RedundantSending::Always),
            (Some("redundant"), Some("off")) => Self::Redundant(RedundantSending::Off),
            (Some("help"), None) => Self::Help,
            _ => return None,
        };
        words.next().is_none().then_some(command)
    }
}

fn minutes(word: &str) -> Option<u32> {
    let minutes = word.parse().ok()?;
    (1..=P2pCommand::MAX_DEBUG_MINUTES)
        .contains(&minutes)
        .then_some(minutes)
}

fn path(word: &str) -> Option<PathKind> {
    PathKind::ALL.into_iter().find(|kind| kind.name() == word)
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
            "/p2p use",
            "/p2p use pigeon",
            "/p2p redundant",
            "/p2p debug on 0",
            "/p2p debug on 241",
            "/p2p debug on 10 20",
            "hello /p2p",
        ] {
            assert_eq!(P2pCommand::parse(other), None, "{other}");
        }
    }
    #[test]
    fn paths_and_minutes_are_understood() {
        let parse = P2pCommand::parse;
        assert_eq!(
            parse("/p2p use host-2"),
            Some(P2pCommand::Use(Some(PathKind::Host2)))
        );
        assert_eq!(parse("/p2p use auto"), Some(P2pCommand::Use(None)));
        let debug = |minutes| Some(P2pCommand::Debug { on: true, minutes });
        assert_eq!(parse("/p2p debug on"), debug(None));
        assert_eq!(parse("/p2p debug on 240"), debug(Some(240)));
    }
}
