//! Numbers of a link; see the table in the crate's documentation.

use std::time::Duration;

use warp_protocol::carrier::PathKind;
use warp_protocol::report::CopyWish;

/// When small packets are sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redundancy {
    /// Never.
    Off,
    /// While the path in use loses packets, or they take unlike times.
    #[default]
    Auto,
    /// All the time, by choice.
    Always,
}

impl From<Redundancy> for CopyWish {
    fn from(redundancy: Redundancy) -> Self {
        match redundancy {
            Redundancy::Off => Self::Never,
            Redundancy::Auto => Self::Auto,
            Redundancy::Always => Self::Always,
        }
    }
}

/// How a link behaves. Both sides may use different values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// Time between heartbeats on every path.
    pub heartbeat: Duration,
    /// Missed heartbeats after which a path counts as silent.
    pub silence_heartbeats: u32,
    /// How long a path proves itself before it takes the game for the first time.
    pub prove_first: Duration,
    /// The same after it has failed once.
    pub prove_again: Duration,
    /// Silence after which a path is given up and its carrier has to be opened anew.
    pub give_up: Duration,
    /// How long the link lives without any path.
    pub hold: Duration,
    /// How long a path that a person left stays unused.
    pub bench: Duration,
    /// Paths, best first; a kind that is not in it is never used.
    pub preference: Vec<PathKind>,
    /// When small packets are sent twice. The engine's side tells the endpoint's, which follows it unless
    /// it says `Auto`.
    pub redundancy: Redundancy,
    /// Most that is sent a second time, bytes a second.
    pub copy_rate: u32,
    /// A host's path with a longer round trip does not take the game while there is another; `None`:
    /// however long.
    pub host_max_rtt: Option<Duration>,
    /// Game streams that may be open at once.
    pub max_streams: u32,
    /// Receive window of one stream, bytes.
    pub stream_window: u32,
    /// Receive and send window of the session, bytes.
    pub session_window: u32,
    /// Time after which the keys are updated; in effect a little more than 5 s at least.
    pub key_interval: Duration,
    /// Packets of this side after which the keys are updated.
    pub key_packets: u64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            silence_heartbeats: 3,
            prove_first: Duration::from_millis(300),
            prove_again: Duration::from_secs(3),
            give_up: Duration::from_millis(2500),
            hold: Duration::from_secs(30),
            bench: Duration::from_secs(60),
            preference: PathKind::ALL.to_vec(),
            redundancy: Redundancy::Auto,
            copy_rate: 64 * 1024,
            host_max_rtt: None,
            max_streams: 32,
            stream_window: 64 * 1024,
            session_window: 2 * 1024 * 1024,
            key_interval: Duration::from_secs(3600),
            key_packets: 1 << 20,
        }
    }
}

impl LinkConfig {
    /// Silence after which the game leaves a path.
    pub fn silence(&self) -> Duration {
        self.heartbeat * self.silence_heartbeats
    }
}
