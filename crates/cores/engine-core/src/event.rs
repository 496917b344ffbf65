//! What the engine tells: one event per thing that happened, the same for every listener.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use warp_host_core::HostStatusView;
use warp_protocol::{
    Problem, ProblemCode, carrier::PathKind, rest::AccountView, signal::EndedReason,
    stream::ServerRole, zone::ZoneView,
};
use warp_reach_core::Diagnosis;

use crate::config::RedundantSending;
use crate::levels::{Figure, Level};
use crate::staff::{StaffAnswer, StaffAsk};
use crate::view::{Costs, LinkState, Metrics, PacketView, Quality, StreamDigest, SwitchReason};

/// Where the refresh token, or the device key, is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum TokenStore {
    /// In the system's secret store.
    Keyring,
    /// In memory only: it is not wanted kept.
    Memory,
    /// In memory only: the system has no secret store that works.
    MemoryNoKeyring,
}

/// An event. One JSON object each: `{"event":"bridge-ready",...}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Somebody signed in.
    SignedIn {
        /// Who.
        account: AccountView,
        /// Where the refresh token is.
        kept: TokenStore,
    },
    /// The key of this device was certified: what it is revoked by. Told after a sign-in.
    Device {
        /// Its public key, as `warp-coordinator device list` prints it.
        key: String,
        /// Where the key is kept; in memory it is another one with the next start.
        kept: TokenStore,
    },
    /// Nobody is signed in any more.
    SignedOut,
    /// The zones as the coordinator lists them.
    Zones {
        /// All of them, best first.
        zones: Vec<ZoneView>,
    },
    /// A step of Play began.
    Playing {
        /// Zone id.
        zone: String,
        /// What is being done.
        step: PlayStep,
    },
    /// The bridge listens: the game may be pointed at this address.
    BridgeReady {
        /// Zone id.
        zone: String,
        /// Loopback address of the login server.
        #[ts(type = "string")]
        login: SocketAddr,
    },
    /// The connection changed its state or its path.
    State {
        /// The state.
        state: LinkState,
        /// The path in use, if any.
        path: Option<PathKind>,
        /// Why it changed, where there is a reason to tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        reason: Option<SwitchReason>,
    },
    /// Play moved from one path to another.
    Moved {
        /// From.
        from: PathKind,
        /// To.
        to: PathKind,
        /// Why.
        reason: SwitchReason,
        /// Silence on the old path before the move, ms; 0 when it was moved by choice.
        silent_ms: f64,
        /// What both paths cost by what was measured, where both are known.
        costs: Option<Costs>,
    },
    /// The numbers while a link is open, every `p2p.metrics_interval_ms`; once a second while
    /// somebody [watches](crate::command::Command::Watch) or debug logging is on.
    Metrics {
        /// Them.
        metrics: Box<Metrics>,
    },
    /// A figure of the path in use became better or worse, for good: see [`crate::levels`].
    LevelChanged {
        /// Which figure.
        figure: Figure,
        /// How it was.
        from: Level,
        /// How it is.
        to: Level,
        /// The figure, in its own unit.
        value: f64,
        /// The path in use.
        path: Option<PathKind>,
    },
    /// A connection of the game client was opened.
    StreamOpened {
        /// Number of the connection on this bridge, counting from 1.
        #[ts(type = "number")]
        stream: u64,
        /// To which server.
        role: ServerRole,
        /// Its address as the zone names it.
        #[ts(type = "string")]
        target: SocketAddr,
    },
    /// A connection of the game client ended.
    StreamClosed {
        /// Number of the connection.
        #[ts(type = "number")]
        stream: u64,
        /// To which server.
        role: ServerRole,
        /// True when both directions ended by a half-close.
        clean: bool,
        /// Bytes of the client as they were handed to the link.
        up: StreamDigest,
        /// Bytes of the server as they came from the link, before addresses are rewritten.
        down: StreamDigest,
    },
    /// A map connection lost its server, and its game client, which is still connected, is signed in
    /// again.
    ReentryStarted {
        /// The connection's number.
        #[ts(type = "number")]
        stream: u64,
        /// The client; 0 where it is not known.
        #[ts(type = "number")]
        client: u64,
    },
    /// How far that is.
    ReentryStep {
        /// The connection's number.
        #[ts(type = "number")]
        stream: u64,
        /// The client; 0 where it is not known.
        #[ts(type = "number")]
        client: u64,
        /// `loading`, `login`, `still-online`, `character` or `map`.
        step: String,
    },
    /// The client has loaded its map in the new session.
    ReentryDone {
        /// The connection's number.
        #[ts(type = "number")]
        stream: u64,
        /// The client; 0 where it is not known.
        #[ts(type = "number")]
        client: u64,
        /// Milliseconds since the server was lost.
        ms: f64,
        /// Lines of chat from that time, sent now.
        #[ts(type = "number")]
        kept: u64,
        /// Packets from that time that were dropped.
        #[ts(type = "number")]
        dropped: u64,
    },
    /// The client could not be kept; its connection is closed.
    ReentryFailed {
        /// The connection's number.
        #[ts(type = "number")]
        stream: u64,
        /// The client; 0 where it is not known.
        #[ts(type = "number")]
        client: u64,
        /// Stable code of why.
        reason: String,
        /// The same in words.
        detail: String,
    },
    /// A game client showed itself on the bridge: its first connection, before it is known which
    /// account it plays.
    ClientSeen {
        /// Its number on this bridge, counting from 1. Not the number of a process.
        #[ts(type = "number")]
        client: u64,
    },
    /// A game client has had no connection for two minutes, or turned out to be one that was seen
    /// before.
    ClientGone {
        /// Its number.
        #[ts(type = "number")]
        client: u64,
    },
    /// A game client was sent to a map. Told once when the server announces it, and again when the
    /// zone that the map is played in changes meanwhile.
    MapChanged {
        /// The client; 0 when it is not known which.
        #[ts(type = "number")]
        client: u64,
        /// The map, without `.gat`.
        map: String,
        /// Its zone, when it has one and that is joined now; `None`: the chosen zone carries it.
        zone: Option<String>,
    },
    /// A session in a zone beside the chosen one is open.
    ZoneJoined {
        /// Zone id.
        zone: String,
    },
    /// A session in a zone beside the chosen one has ended.
    ZoneLeft {
        /// Zone id.
        zone: String,
    },
    /// Staff of the server says something to the players.
    Notice {
        /// What.
        text: String,
        /// Account name of who says it.
        from: String,
        /// To the players of this zone; `None`: to all.
        zone: Option<String>,
        /// When it was said, RFC 3339.
        timestamp: String,
    },
    /// The coordinator ended a session, and not because this launcher asked for it.
    SessionEnded {
        /// Its zone.
        zone: String,
        /// Why.
        reason: EndedReason,
        /// What a person is told.
        code: ProblemCode,
    },
    /// The bridge found out, from what the clients of this zone sent, which version they speak.
    VersionKnown {
        /// Packet version.
        version: u32,
        /// The ids of packets to the map server are ciphered.
        ciphered: bool,
        /// No other version fits.
        certain: bool,
    },
    /// A connection's handling stepped down a level.
    SteppedDown {
        /// Number of the connection.
        #[ts(type = "number")]
        stream: u64,
        /// The level now: `rewrite` or `opaque`.
        level: String,
        /// Stable reason, for instance `unknown-id`.
        reason: String,
    },
    /// A game client was started.
    GameStarted {
        /// Its number, counting from 1 while the engine runs.
        #[ts(type = "number")]
        game: u64,
        /// Process id.
        pid: u32,
        /// The program.
        program: String,
        /// Milliseconds of play, counted like [`Metrics::at_ms`].
        #[ts(type = "number")]
        since_ms: u64,
    },
    /// A game client ended.
    GameExited {
        /// Its number.
        #[ts(type = "number")]
        game: u64,
        /// Exit code; `None`: ended by a signal.
        code: Option<i32>,
        /// True for exit code 0 or an end that was asked for.
        ok: bool,
    },
    /// The answer to a console line.
    Console {
        /// The line.
        line: String,
        /// The answer.
        answer: ConsoleAnswer,
    },
    /// A problem. Nothing else stops because of it, unless another event says so.
    Problem {
        /// It.
        problem: Problem,
    },
    /// Play ended; the engine is back at the zone list. Sessions in other zones, clients and games
    /// are forgotten with it.
    Stopped,
    /// What a look at this machine and its network found.
    Diagnosed {
        /// All of it.
        diagnosis: Box<Diagnosis>,
        /// The same as JSON text that may be given to others: it names nobody and holds no secret.
        export: String,
    },
    /// How hosting goes: once a second while this launcher is a host, at each change of state, and a
    /// last time when it is one no longer (`stopped`).
    HostState {
        /// All of it.
        host: Box<HostStatusView>,
    },
    /// The zone whose paths are being opened beforehand: at each change and once a second; a last time
    /// when they are kept no longer without Play (`disconnected`).
    Prepared {
        /// Zone id.
        zone: String,
        /// The state of its link.
        state: LinkState,
        /// The best path so far.
        path: Option<PathKind>,
        /// Its round trip, ms.
        rtt_ms: Option<f64>,
        /// How good it is, once that is measured.
        quality: Option<Quality>,
        /// Why there is none.
        problem: Option<Problem>,
    },
    /// What the coordinator answered to [`Command::Staff`](crate::command::Command::Staff).
    Staff {
        /// What was asked.
        ask: StaffAsk,
        /// The answer.
        answer: Box<StaffAnswer>,
    },
    /// Whether the packets of the game are shown.
    Inspecting {
        /// They are.
        on: bool,
    },
    /// Packets that passed since the last of these events, while they are shown.
    Packets {
        /// Them, oldest first.
        packets: Vec<PacketView>,
        /// Those between that were not kept, because there were too many.
        #[ts(type = "number")]
        dropped: u64,
    },
    /// The engine has ended; no event follows.
    Ended,
}

/// What Play is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum PlayStep {
    /// Asking the coordinator for a session.
    Joining,
    /// Opening the first path to the endpoint.
    OpeningPath,
    /// Proving who is who.
    Authenticating,
    /// Listening on the loopback.
    OpeningBridge,
    /// Starting the game.
    StartingGame,
    /// Done.
    Ready,
}

/// Answer to a console line; each listener puts it into words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum ConsoleAnswer {
    /// Which path, why, what stands by.
    Status {
        /// The state.
        state: LinkState,
        /// The path in use.
        path: Option<PathKind>,
        /// Why that one.
        reason: Option<SwitchReason>,
        /// Paths that could take over at once.
        standby: Vec<PathKind>,
        /// The zone that was chosen, when one is played.
        zone: Option<String>,
        /// The map of the client that asked, or of the only one that there is.
        map: Option<String>,
        /// The zone of that map, when it has one and that is joined.
        map_zone: Option<String>,
        /// Game clients that were started here and run.
        games: u32,
        /// How good the path in use is; `None`: not known.
        quality: Option<Quality>,
    },
    /// The numbers.
    Metrics {
        /// Them.
        metrics: Box<Metrics>,
    },
    /// Debug logging was switched.
    Debug {
        /// On or off.
        on: bool,
    },
    /// The WebRTC path is being opened anew.
    Reconnecting,
    /// Play was moved to the standby.
    FailedOver {
        /// From.
        from: PathKind,
        /// To.
        to: PathKind,
    },
    /// There is no other path to move to.
    NoStandby,
    /// The path that was asked for is in use already, and is kept as one that was chosen by hand.
    Kept {
        /// The path.
        path: PathKind,
    },
    /// There is no WebRTC path to the endpoint that could be opened anew.
    NoDirect,
    /// The path is chosen by what is measured, as without a person's choice.
    Automatic,
    /// When small packets are sent twice from now on.
    Redundant {
        /// When.
        mode: RedundantSending,
    },
    /// New keys come with the next packet, or as soon as the last ones are 5 s old.
    KeysUpdating,
    /// There is no connection now.
    NotConnected,
    /// The commands there are.
    Help,
    /// No such command.
    Unknown,
}
