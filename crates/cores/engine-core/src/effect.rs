//! What the machine wants done, and what it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use warp_host_core::HostStatusView;
use warp_link_core::LinkEvent;
use warp_protocol::carrier::PathKind;
use warp_protocol::rest::{AccountView, SessionGrant};
use warp_protocol::stream::ServerRole;
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode, Secret};
use warp_reach_core::Diagnosis;

use crate::config::RedundantSending;
use crate::event::{ConsoleAnswer, Event, TokenStore};
use crate::snapshot::MAX_CLIENTS;
use crate::staff::{StaffAnswer, StaffAsk};
use crate::view::{Metrics, PacketView, Quality};

/// A session link of this play: that of the chosen zone, or of a visit to another one. Numbers of
/// visits are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

impl LinkId {
    /// The link of the zone that was chosen.
    pub const CHOSEN: Self = Self(0);

    /// The link of the `number`-th visit, counting from 1.
    pub fn visit(number: u64) -> Self {
        Self(number)
    }

    /// True for the link of the chosen zone.
    pub fn is_chosen(self) -> bool {
        self == Self::CHOSEN
    }

    /// For logs: 0 is the chosen zone's.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A map connection that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapStream {
    /// Grows with every map connection.
    pub number: u64,
    /// Whose it is.
    pub client: Option<u64>,
    /// The link that carries it.
    pub link: LinkId,
}

/// Where the map connections of the clients go; at most [`MAX_CLIENTS`] of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes {
    clients: BTreeMap<u64, Route>,
}

/// Where the map connection of a client goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    map: String,
    to: Way,
}

/// The way of a map connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Over the chosen zone's link.
    Chosen,
    /// Not decided yet: wait a little.
    Wait,
    /// Over this visit's link.
    Visit(LinkId),
}

impl Routes {
    /// The way for `client`, whom a server has just sent to `map`. While another map is entered
    /// here the news of this one is still on its way: wait.
    pub fn way(&self, client: u64, map: &str) -> Way {
        match self.clients.get(&client) {
            Some(route) if route.map == map => route.to,
            None if self.clients.len() >= MAX_CLIENTS => Way::Chosen,
            _ => Way::Wait,
        }
    }

    /// Sends `client` `to` that way, when it connects for `map`.
    pub fn enter(&mut self, client: u64, map: &str, to: Way) {
        let map = map.to_owned();
        self.clients.insert(client, Route { map, to });
    }
}

/// Who asked for something on the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The window or the terminal.
    Console,
    /// A player, in the chat of the game.
    Game {
        /// The connection that the line came on, and that the answer goes to.
        connection: u64,
        /// The game client, where it is known.
        client: Option<u64>,
    },
}

/// A console line, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// As it was typed.
    pub line: String,
    /// By whom.
    pub by: Asker,
}

/// How being a host ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostEnd {
    /// When all players have been moved away.
    Drained,
    /// The launcher ends: the players are moved away as far as that is done in a moment.
    Soon,
    /// At once.
    Now,
}

/// Something for the shell to do. Each is answered by the [`Outcome`] named in its text.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Tell everybody.
    Emit(Event),
    /// Sign in or register: [`Outcome::SignedIn`] or [`Outcome::SignInFailed`]. Attempts of before are over.
    SignIn {
        /// Number of the attempt, which the outcome bears.
        attempt: u64,
        /// Account name.
        user: String,
        /// Password.
        password: Secret,
        /// Keep the refresh token.
        remember: bool,
        /// Make the account first.
        register: bool,
    },
    /// Sign in with the kept refresh token: same outcomes.
    Resume {
        /// Number of the attempt, which the outcome bears.
        attempt: u64,
        /// Account name.
        user: String,
    },
    /// Revoke and forget the tokens.
    SignOut,
    /// [`Outcome::Zones`] or [`Outcome::Failed`].
    FetchZones,
    /// Become a host: [`Outcome::HostState`] from then on. One that is draining is ended at once.
    StartHost {
        /// Zone ids, at least one.
        zones: Vec<String>,
        /// Players to carry at once; none: as the configuration says.
        max_players: Option<u32>,
        /// Upload to give, 10^6 bits a second; none: as the configuration says.
        upload_mbps: Option<u32>,
        /// Be the endpoint of the one zone, and dial these.
        upstreams: Option<Vec<SocketAddr>>,
    },
    /// Take no new players for now, or take them again.
    PauseHost {
        /// Which.
        on: bool,
    },
    /// Be a host no longer.
    StopHost {
        /// How much of a farewell there is.
        how: HostEnd,
    },
    /// Ask for a session, with the device key and its certificate: [`Outcome::Joined`] or
    /// [`Outcome::LinkFailed`].
    Join {
        /// For which link.
        link: LinkId,
        /// Zone id.
        zone: String,
    },
    /// Ask again for a session for the chosen zone's link, in this zone, while the bridge stays open:
    /// the same outcomes. The bridge uses the new link, and leads to the game servers of its grant, from
    /// [`Effect::OpenLink`] on.
    Rejoin {
        /// Zone id.
        zone: String,
    },
    /// Open carriers and link: [`Outcome::LinkReady`] or [`Outcome::LinkFailed`], and
    /// [`Outcome::Link`] events all along.
    OpenLink {
        /// Which.
        link: LinkId,
        /// What the coordinator granted.
        grant: Box<SessionGrant>,
    },
    /// Open a link to an endpoint within this program, which dials the game servers itself: the same
    /// outcomes as those of [`Effect::OpenLink`].
    OpenPlain {
        /// Which.
        link: LinkId,
        /// The zone, with the addresses that are dialled.
        zone: Box<ZoneView>,
    },
    /// Close link and carriers, and leave the session at the coordinator: [`Outcome::LinkLeft`]
    /// when there was a session. A session that is being asked for is granted all the same; it is
    /// closed by another of these.
    CloseLink {
        /// Which.
        link: LinkId,
    },
    /// Ask the coordinator for the zones of a map: [`Outcome::ZonesFound`] or
    /// [`Outcome::LookupFailed`].
    FindZones {
        /// The map.
        map: String,
    },
    /// New map connections go this way from now on.
    SetRoutes(Routes),
    /// [`Outcome::BridgeReady`] or [`Outcome::PlayFailed`].
    OpenBridge {
        /// The zone.
        zone: Box<ZoneView>,
    },
    /// Close the loopback listeners and their connections.
    CloseBridge,
    /// [`Outcome::GameStarted`] and later [`Outcome::GameExited`]; else [`Outcome::GameFailed`] or
    /// [`Outcome::NoGame`].
    StartGame {
        /// Its number.
        game: u64,
        /// The lowest place, from 0, that no other game client has.
        slot: u32,
        /// Where the bridge listens.
        login: SocketAddr,
    },
    /// End that game client, also one that is still being started.
    StopGame {
        /// Its number.
        game: u64,
    },
    /// Look at this machine and its network: [`Outcome::Diagnosed`].
    Diagnose,
    /// Take the numbers now: [`Outcome::Measured`].
    Measure {
        /// For whom.
        asked: Asked,
        /// The link that paths and state are taken from.
        link: LinkId,
    },
    /// Move to the standby on these links: [`Outcome::Answered`] with the first that moved.
    FailOver {
        /// For whom.
        asked: Asked,
        /// Which.
        links: Vec<LinkId>,
    },
    /// Open the WebRTC carriers of these links anew: [`Outcome::Answered`].
    Reconnect {
        /// For whom.
        asked: Asked,
        /// Which.
        links: Vec<LinkId>,
    },
    /// Update the keys of these links: [`Outcome::Answered`].
    UpdateKeys {
        /// For whom.
        asked: Asked,
        /// Which.
        links: Vec<LinkId>,
    },
    /// Show these lines in every game that is on a map.
    TellGames {
        /// ASCII, at most [`crate::text::MAX_LINE`] bytes each.
        lines: Vec<String>,
    },
    /// Show these lines in the game, on that connection.
    AnswerGame {
        /// The connection.
        connection: u64,
        /// ASCII, at most [`crate::text::MAX_LINE`] bytes each.
        lines: Vec<String>,
    },
    /// The game goes over this path on these links, or over the best again: [`Outcome::Answered`].
    UsePath {
        /// For whom.
        asked: Asked,
        /// Which.
        links: Vec<LinkId>,
        /// The path.
        path: Option<PathKind>,
    },
    /// On every link, those of later too: [`Outcome::Answered`].
    SetRedundancy {
        /// For whom.
        asked: Asked,
        /// When small packets are sent twice.
        mode: RedundantSending,
    },
    /// Forget the kept sign-in of this account; the tokens in use stay.
    ForgetAccount {
        /// Account name.
        user: String,
    },
    /// Forget the tokens here; the kept sign-in stays.
    LeaveAccount,
    /// Revoke every sign-in of the account, and forget the tokens.
    SignOutEverywhere,
    /// [`Outcome::Staff`].
    Staff(StaffAsk),
    /// Show packets, if the coordinator takes the account for staff: [`Outcome::Inspecting`] and
    /// [`Outcome::Packets`], or [`Outcome::Failed`]. Or show them no longer.
    Inspect {
        /// Which.
        on: bool,
    },
    /// More in the log, or less.
    SetDebug(bool),
    /// Everything is closed: end the loop.
    End,
}

/// What became of an effect, or what happened by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Signed in.
    SignedIn {
        /// Of which attempt.
        attempt: u64,
        /// Who.
        account: AccountView,
        /// Where the refresh token is.
        kept: TokenStore,
        /// The public key of this device and where it is kept; `None`: it is not certified.
        device: Option<(String, TokenStore)>,
    },
    /// Not signed in.
    SignInFailed {
        /// By which attempt.
        attempt: u64,
        /// Why.
        problem: Problem,
    },
    /// The tokens were refused meanwhile.
    SignedOut(Problem),
    /// The zones.
    Zones(Vec<ZoneView>),
    /// Something failed that nothing waits for.
    Failed(Problem),
    /// The coordinator granted a session.
    Joined {
        /// For which link.
        link: LinkId,
        /// The session.
        grant: Box<SessionGrant>,
    },
    /// The link is connected; that of the chosen zone over the preferred path if that came in time.
    LinkReady {
        /// Which.
        link: LinkId,
    },
    /// There is no session, or no path of it could be opened.
    LinkFailed {
        /// Which.
        link: LinkId,
        /// Why.
        problem: Problem,
    },
    /// Something happened on a link.
    Link {
        /// Which.
        link: LinkId,
        /// What.
        event: LinkEvent,
    },
    /// A closed link is gone, and its session was given back.
    LinkLeft {
        /// Which.
        link: LinkId,
    },
    /// The zones of a map, best first.
    ZonesFound {
        /// The map.
        map: String,
        /// Enabled zones that have it; none: the map has no zone.
        zones: Vec<ZoneView>,
    },
    /// The coordinator could not be asked.
    LookupFailed {
        /// The map.
        map: String,
        /// Why.
        problem: Problem,
    },
    /// A step of Play failed.
    PlayFailed(Problem),
    /// The bridge listens.
    BridgeReady(SocketAddr),
    /// The numbers of the last second.
    Metrics(Box<Metrics>),
    /// The numbers as they are now.
    Measured {
        /// For whom.
        asked: Asked,
        /// The link that paths and state are of.
        link: LinkId,
        /// Them.
        metrics: Box<Metrics>,
    },
    /// The coordinator told something that a person is to see.
    Told(Event),
    /// An event of the bridge that is told as it is.
    Bridge(Event),
    /// A server sent a client to a map.
    MapChanged {
        /// Which client, where that is known.
        client: Option<u64>,
        /// The map, without `.gat`.
        map: String,
    },
    /// A client has no connection any more, or is another that was seen before.
    ClientGone {
        /// Which.
        client: u64,
    },
    /// None of the chosen zone's game servers takes a client that is signed in again; said again and again
    /// while that is so.
    ServersAway {
        /// Which client, where that is known.
        client: Option<u64>,
    },
    /// A player typed a `/p2p` line in the game's chat.
    GameCommand {
        /// On which connection.
        connection: u64,
        /// In which client, where that is known.
        client: Option<u64>,
        /// As it was typed.
        line: String,
    },
    /// A connection of the game was refused.
    ConnectionRefused {
        /// Which server it wanted.
        role: ServerRole,
        /// Its address.
        target: SocketAddr,
        /// Why.
        code: ProblemCode,
    },
    /// A game client runs.
    GameStarted {
        /// Its number.
        game: u64,
        /// Process id.
        pid: u32,
        /// The program.
        program: String,
    },
    /// A game client ended.
    GameExited {
        /// Its number.
        game: u64,
        /// Exit code, `None` for a signal.
        code: Option<i32>,
        /// It ended well, or because somebody asked it to.
        ok: bool,
        /// How it ended, in words: `exit code 3`, `ended by signal 11 (SIGSEGV)`.
        how: String,
        /// The last that it said.
        last_lines: Vec<String>,
    },
    /// A game client could not be started.
    GameFailed {
        /// Its number.
        game: u64,
        /// Why.
        problem: Problem,
    },
    /// The configuration names no game to start.
    NoGame {
        /// The number that it would have had.
        game: u64,
    },
    /// The answer to a console line.
    Answered {
        /// For whom.
        asked: Asked,
        /// The answer.
        answer: ConsoleAnswer,
    },
    /// The numbers of the chosen zone's link while nothing is played.
    Prepared {
        /// The best path.
        path: Option<PathKind>,
        /// Its round trip, ms.
        rtt_ms: Option<f64>,
        /// How good it is.
        quality: Option<Quality>,
    },
    /// What the coordinator answered.
    Staff {
        /// What was asked.
        ask: StaffAsk,
        /// The answer.
        answer: Box<StaffAnswer>,
    },
    /// Whether packets are shown.
    Inspecting(bool),
    /// The coordinator does not take the account for staff, or does not answer.
    NotInspecting(Problem),
    /// Packets that passed.
    Packets {
        /// Them.
        packets: Vec<PacketView>,
        /// Those that were not kept.
        dropped: u64,
    },
    /// How hosting goes.
    HostState(Box<HostStatusView>),
    /// What a look at this machine and its network found.
    Diagnosed {
        /// All of it.
        diagnosis: Box<Diagnosis>,
        /// The same as JSON that names nobody.
        export: String,
    },
}
