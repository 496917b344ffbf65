//! Signing in again for a client that is still connected but has lost its server.
//!
//! Pure: time, and what three connections to servers in turn say, go in; [`Action`]s come out. The
//! rules are those of the servers (tickets work once; a fight holds an account for 10 s; one that was
//! lost while loading a map is locked for 30 s):
//!
//! ```text
//! loading ──007D──▶ login ──accepted──▶ char ──(pin)──▶ select ──▶ map ──let in, 0091──▶ ready
//!            ▲         │ still online, closed, silent: from the login on, after a pause │
//!            └─────────┴────────────────────────────────────────────────────────────────┘
//! ```
//!
//! * It does not begin while the client still loads a map ([`ReEntry::loaded`]).
//! * Every ticket works once, so whatever fails goes back to the login.
//! * "Still online" (0081 code 8) is asked again after 50 to 100 ms for as long as a fight can last, and
//!   every 250 ms after that, when it can only be the 30 s lock.
//! * What else may pass by itself, a server that is away or not ready, is tried again after 100 ms,
//!   doubling up to 1 s. A wrong password, another account or character, a wrong or unknown pin, and
//!   any other refusal end it. So does its time.
//! * Where other servers may take the client, it is told when none of these has been there for
//!   [`ReEntryLimits::away`] ([`Action::ServersAway`]), also while the endpoint still dials, and again with every
//!   later try. An address that the endpoint may not dial is told at once, and ends it when that time
//!   has passed since. Meanwhile it goes on trying; led elsewhere ([`ReEntry::moved`]), it begins anew there.
//! * What the login and char servers say is not for the client. Of the map server's welcome it is
//!   given what follows the packet that lets it in (02EB and its like): it has been let in before.
//!
//! Bounds: a server's packet, and [`MAX_WELCOME`] of the map server's welcome, are all that is held; a
//! server that says more than [`MAX_SAID`] without letting the client on is given up, and one that
//! says nothing for [`ReEntryLimits::answer`] is tried again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use warp_ro_packet::{Direction, FrameKind, Framer, PacketTable, Role, map_name};

use crate::recall::{Recall, Sealed, SessionIds, Unable, WayBack, u32_at};

mod servers;

/// How much of a welcome is held until its 0091 has come, bytes.
pub const MAX_WELCOME: usize = 65_536;
/// How much one server may say before it lets the client on, bytes. A list of characters is a few
/// thousand.
pub const MAX_SAID: usize = 262_144;

/// "Still online" is asked again after this long, and up to as much again.
const ONLINE_PAUSE: Duration = Duration::from_millis(50);
/// A fight holds an account for 10 s; what holds it longer is the lock of 30 s.
const FIGHT: Duration = Duration::from_secs(12);
/// From then on it is asked again this often.
const LOCK_PAUSE: Duration = Duration::from_millis(250);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a char server that has listed the characters may take to ask for the pin.
const PIN_WAIT: Duration = Duration::from_millis(250);

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReEntryLimits {
    /// All of it.
    pub timeout: Duration,
    /// One answer of a server.
    pub answer: Duration,
    /// How long none of the servers may be there before that is told ([`Action::ServersAway`]); `None`: there
    /// are no others that could take the client.
    pub away: Option<Duration>,
}

impl Default for ReEntryLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(45),
            answer: Duration::from_secs(5),
            away: None,
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReEntryStep {
    /// The client loads a map.
    Loading,
    /// At the login server.
    Login,
    /// The account is still online; it is asked again.
    StillOnline,
    /// At the char server.
    Character,
    /// At the map server.
    Map,
}

impl ReEntryStep {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ReEntryStep::Loading => "loading",
            ReEntryStep::Login => "login",
            ReEntryStep::StillOnline => "still-online",
            ReEntryStep::Character => "character",
            ReEntryStep::Map => "map",
        }
    }
}

/// Why a server was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOpened {
    /// There is no link to the endpoint, which says nothing of the server.
    NoLink,
    /// It may work later: the server is away.
    Away,
    /// The zone does not name the address.
    NotAllowed,
}

/// Why it ended without the client being back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    /// It took too long.
    #[error("it took too long")]
    TimedOut,
    /// The login server does not take the password any more.
    #[error("the login server does not take the password")]
    WrongPassword,
    /// The login server refuses, with this code.
    #[error("the login server refuses with code {code}")]
    LoginRefused {
        /// Of 083E, 006A or 0081.
        code: u32,
    },
    /// The char server refuses, with this code.
    #[error("the char server refuses with code {code}")]
    CharRefused {
        /// Of 0081.
        code: u8,
    },
    /// The char server asks for a pin that was not seen.
    #[error("the char server asks for a pin code that was not seen")]
    PinUnknown,
    /// The char server does not take the pin, or wants a new one.
    #[error("the char server does not take the pin code (state {state})")]
    PinRefused {
        /// Of 08B9.
        state: u16,
    },
    /// Another account was let in than before.
    #[error("the login server let another account in")]
    AnotherAccount,
    /// Another character is in the slot.
    #[error("another character is in the slot now")]
    AnotherCharacter,
    /// The map server refuses, with this code.
    #[error("the map server refuses with code {code}")]
    MapRefused {
        /// Of 0081 or 006A.
        code: u8,
    },
    /// A server is announced that the zone does not name.
    #[error("the zone does not name a server that was announced")]
    NotAllowed,
    /// A server's answer could not be read.
    #[error("the answer of a server could not be read")]
    Unreadable,
    /// The player left meanwhile.
    #[error("the player left")]
    ClientLeft,
    /// What the client says cannot be cut into packets any more.
    #[error("what the game says could not be read any more")]
    ClientUnreadable,
    /// The bridge closed.
    #[error("the bridge closed")]
    Stopped,
    /// The client's sign-in was not seen, or its password is salted.
    #[error("the sign-in of the client cannot be repeated ({})", .0.code())]
    Unable(Unable),
    /// It has lost its server too often in a short time.
    #[error("the server was lost again and again")]
    TooOften,
}

impl GaveUp {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            GaveUp::TimedOut => "timed-out",
            GaveUp::WrongPassword => "wrong-password",
            GaveUp::LoginRefused { .. } => "login-refused",
            GaveUp::CharRefused { .. } => "char-refused",
            GaveUp::PinUnknown => "pin-unknown",
            GaveUp::PinRefused { .. } => "pin-refused",
            GaveUp::AnotherAccount => "another-account",
            GaveUp::AnotherCharacter => "another-character",
            GaveUp::MapRefused { .. } => "map-refused",
            GaveUp::NotAllowed => "server-not-allowed",
            GaveUp::Unreadable => "answer-unreadable",
            GaveUp::ClientLeft => "client-left",
            GaveUp::ClientUnreadable => "client-unreadable",
            GaveUp::Stopped => "stopped",
            GaveUp::Unable(unable) => unable.code(),
            GaveUp::TooOften => "too-often",
        }
    }
}

/// What its owner has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tell how far it is.
    Step(ReEntryStep),
    /// Connect to a server, and say [`ReEntry::opened`] or [`ReEntry::not_opened`]; before that
    /// [`ReEntry::asked`], when the endpoint is known to dial it.
    Open {
        /// Which kind.
        role: Role,
        /// Where.
        target: SocketAddr,
        /// On the way to a map server: the map, without `.gat`.
        map: Option<String>,
    },
    /// Write to it, in one write. `alone`: nothing behind it before the server has answered. The packet that
    /// enters a map is plain; see [`crate::BridgeConnection::encipher_enter`].
    Send {
        /// A whole packet.
        packet: Sealed,
        /// It travels alone.
        alone: bool,
    },
    /// Close the connection; nothing more is wanted of it.
    Close,
    /// The connection that is open now is the client's. Its next bytes are these.
    Ready {
        /// What the map server has said behind the packet that lets the client in.
        welcome: Bytes,
        /// What the servers know the session by now.
        ids: SessionIds,
    },
    /// None of the zone's servers takes the client. Others are wanted; see [`ReEntry::moved`].
    ServersAway,
    /// The client cannot be kept.
    GiveUp(GaveUp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The client loads a map.
    Loading,
    /// Until then nothing is done.
    Pause(Duration),
    Opening(Role),
    At(Role),
    Over,
}

/// Where the char and the map server are, and what they are told.
#[derive(Debug, Clone, Copy)]
struct Ticket {
    ids: SessionIds,
    sex: u8,
}

/// See the module.
#[derive(Debug)]
pub struct ReEntry {
    way: WayBack,
    table: Arc<PacketTable>,
    limits: ReEntryLimits,
    began: Duration,
    /// First attempt to sign in.
    first: Option<Duration>,
    state: State,
    /// When the server that is asked has to have answered.
    answer_by: Duration,
    framer: Framer,
    /// Bytes of the server that is asked.
    said: usize,
    tries: u32,
    /// Since when the endpoint has been dialling, and none of the servers was there.
    unreached: Option<Duration>,
    /// When an address was not allowed first.
    refused: Option<Duration>,
    /// That the servers are away was told of this try.
    told_away: bool,
    online_tries: u32,
    told: Option<ReEntryStep>,
    ticket: Option<Ticket>,
    pin_sent: bool,
    selected: bool,
    /// When the character is selected if no pin is asked for.
    select_at: Option<Duration>,
    /// The map server has let the client in: what it has said since.
    welcome: Option<BytesMut>,
    actions: VecDeque<Action>,
}

impl ReEntry {
    /// For a client of which `recall` is known, whose packets are cut by `table`. `loading`: it still
    /// loads a map.
    ///
    /// # Errors
    /// [`Unable`]: too little is known.
    pub fn new(
        recall: &Recall,
        table: Arc<PacketTable>,
        limits: ReEntryLimits,
        loading: bool,
        now: Duration,
    ) -> Result<ReEntry, Unable> {
        let way = recall.way_back()?;
        let framer = Framer::new(Arc::clone(&table), Role::Login, Direction::ServerToClient);
        let mut machine = ReEntry {
            way,
            table,
            limits,
            began: now,
            first: None,
            state: State::Loading,
            answer_by: now,
            framer,
            said: 0,
            tries: 0,
            unreached: None,
            refused: None,
            told_away: false,
            online_tries: 0,
            told: None,
            ticket: None,
            pin_sent: false,
            selected: false,
            select_at: None,
            welcome: None,
            actions: VecDeque::new(),
        };
        if loading {
            machine.step(ReEntryStep::Loading);
        } else {
            machine.loaded(now);
        }
        Ok(machine)
    }

    /// What to do next; `None`: wait until [`ReEntry::next_time`].
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`ReEntry::time`] has something to do; `None` when it is over.
    #[must_use]
    pub fn next_time(&self) -> Option<Duration> {
        let next = match self.state {
            State::Over => return None,
            // Connecting has limits of its own: only the whole is limited here.
            State::Loading => None,
            State::Opening(_) => self.away_at().filter(|_| !self.told_away),
            State::Pause(until) => Some(until),
            State::At(_) => Some(self.select_at.unwrap_or(self.answer_by).min(self.answer_by)),
        };
        Some(next.map_or(self.end(), |next| next.min(self.end())))
    }

    fn end(&self) -> Duration {
        self.began + self.limits.timeout
    }

    /// Whether it has ended: from then on it takes nothing. What the map server says after
    /// [`Action::Ready`] is for the client.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The client has loaded its map.
    pub fn loaded(&mut self, now: Duration) {
        if self.state == State::Loading {
            self.first = Some(now);
            self.sign_in();
        }
    }

    /// The client wants to leave, or has gone.
    pub fn left(&mut self) {
        self.give_up(GaveUp::ClientLeft);
    }

    /// Time has passed.
    pub fn time(&mut self, now: Duration) {
        if now >= self.end() {
            return self.give_up(GaveUp::TimedOut);
        }
        match self.state {
            State::Pause(until) if now >= until => self.sign_in(),
            State::At(_) if self.select_at.is_some_and(|at| now >= at) => self.select(now),
            State::At(_) if now >= self.answer_by => self.again(now),
            State::Opening(_) => self.tell_away(now),
            _ => {}
        }
    }

    /// The zone is another one by now, or has other servers: from the login server on at `login`, with
    /// `away` as in [`ReEntryLimits`].
    pub fn moved(&mut self, now: Duration, login: SocketAddr, away: Option<Duration>) {
        if self.state == State::Over {
            return;
        }
        self.way.login_server = login;
        self.limits.away = away;
        (self.unreached, self.refused, self.tries) = (None, None, 0);
        if self.state == State::Loading {
            return;
        }
        if let State::At(_) = self.state {
            self.actions.push_back(Action::Close);
        }
        // Whether the account is still online is another question there.
        (self.first, self.told) = (Some(now), None);
        self.sign_in();
    }

    /// The endpoint dials the server that was asked for.
    pub fn asked(&mut self, now: Duration) {
        if let State::Opening(_) = self.state {
            self.unreached.get_or_insert(now);
        }
    }

    /// The connection that was asked for is there.
    pub fn opened(&mut self, now: Duration) {
        let State::Opening(role) = self.state else {
            return;
        };
        self.state = State::At(role);
        self.unreached = None;
        self.answer_by = now + self.limits.answer;
        self.framer = Framer::new(Arc::clone(&self.table), role, Direction::ServerToClient);
        (self.said, self.welcome) = (0, None);
        (self.pin_sent, self.selected, self.select_at) = (false, false, None);
        self.greet(role);
    }

    /// It is not.
    pub fn not_opened(&mut self, now: Duration, why: NotOpened) {
        if let State::Opening(_) = self.state {
            match why {
                NotOpened::NoLink => self.unreached = None,
                NotOpened::Away => {
                    self.unreached.get_or_insert(now);
                    self.tell_away(now);
                }
                NotOpened::NotAllowed => {
                    let refused = *self.refused.get_or_insert(now);
                    if (self.limits.away).is_none_or(|away| now >= refused + away) {
                        return self.give_up(GaveUp::NotAllowed);
                    }
                    self.actions.push_back(Action::ServersAway);
                }
            }
            self.pause(now);
        }
    }

    /// When the servers have been away for long enough to be told.
    fn away_at(&self) -> Option<Duration> {
        Some(self.unreached? + self.limits.away?)
    }

    fn tell_away(&mut self, now: Duration) {
        let due = self.away_at().is_some_and(|at| now >= at);
        if due && !std::mem::replace(&mut self.told_away, true) {
            self.actions.push_back(Action::ServersAway);
        }
    }

    /// The server has said something.
    pub fn bytes(&mut self, now: Duration, bytes: &[u8]) {
        let State::At(role) = self.state else {
            return;
        };
        self.said = self.said.saturating_add(bytes.len());
        self.framer.push(bytes);
        while self.state == State::At(role)
            && let Some(frame) = self.framer.next_frame()
        {
            match frame.kind {
                FrameKind::Raw => return self.give_up(GaveUp::Unreadable),
                FrameKind::RawAid => {}
                FrameKind::Packet(id) => self.packet(now, role, id, &frame.bytes),
            }
        }
        if self.state == State::At(role) && self.said > MAX_SAID {
            self.give_up(GaveUp::Unreadable);
        }
    }

    /// The server's connection has ended.
    pub fn ended(&mut self, now: Duration) {
        if let State::At(_) = self.state {
            self.again(now);
        }
    }

    fn step(&mut self, step: ReEntryStep) {
        if self.told.replace(step) != Some(step) {
            self.actions.push_back(Action::Step(step));
        }
    }

    fn sign_in(&mut self) {
        // Who waits for an account to be free is told that, not of each try.
        if self.told != Some(ReEntryStep::StillOnline) {
            self.step(ReEntryStep::Login);
        }
        self.ticket = None;
        self.open(Role::Login, self.way.login_server, None);
    }

    fn open(&mut self, role: Role, target: SocketAddr, map: Option<String>) {
        self.state = State::Opening(role);
        self.told_away = false;
        let open = Action::Open { role, target, map };
        self.actions.push_back(open);
    }

    /// The present connection has done its part.
    fn on_to(&mut self, role: Role, target: SocketAddr, map: Option<String>) {
        self.actions.push_back(Action::Close);
        self.step(match role {
            Role::Login => ReEntryStep::Login,
            Role::Char => ReEntryStep::Character,
            Role::Map => ReEntryStep::Map,
        });
        self.open(role, target, map);
    }

    fn send(&mut self, packet: Sealed, alone: bool) {
        self.actions.push_back(Action::Send { packet, alone });
    }

    fn give_up(&mut self, why: GaveUp) {
        if self.state != State::Over {
            self.state = State::Over;
            self.actions.push_back(Action::GiveUp(why));
        }
    }

    /// Back to the login, after a pause that grows.
    fn again(&mut self, now: Duration) {
        self.actions.push_back(Action::Close);
        self.pause(now);
    }

    fn pause(&mut self, now: Duration) {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.tries.min(8));
        self.tries = self.tries.saturating_add(1);
        self.state = State::Pause(now + doubled.min(LONGEST_PAUSE));
    }

    /// The account is held by what is left of the old session.
    fn still_online(&mut self, now: Duration) {
        self.actions.push_back(Action::Close);
        self.step(ReEntryStep::StillOnline);
        let since = now.saturating_sub(self.first.unwrap_or(now));
        let pause = if since < FIGHT {
            // Spread, so that many clients do not come in step.
            self.online_tries = self.online_tries.wrapping_add(1);
            ONLINE_PAUSE + Duration::from_millis(u64::from(self.online_tries.wrapping_mul(23) % 51))
        } else {
            LOCK_PAUSE
        };
        self.tries = 0;
        self.state = State::Pause(now + pause);
    }

    fn account(&self) -> Option<u32> {
        u32_at(self.way.map_enter.reveal(), 2)
    }

    fn character(&self) -> Option<u32> {
        u32_at(self.way.map_enter.reveal(), 6)
    }

    /// The welcome has its 0091: the client will load.
    fn ready(&mut self, mut welcome: BytesMut) {
        while let Some(frame) = self.framer.next_frame() {
            welcome.extend_from_slice(&frame.bytes);
        }
        if let Some(rest) = self.framer.finish() {
            welcome.extend_from_slice(&rest.bytes);
        }
        if let Some(Ticket { ids, .. }) = self.ticket {
            self.state = State::Over;
            let welcome = welcome.freeze();
            self.actions.push_back(Action::Ready { welcome, ids });
        }
    }
}

fn plain_map(packet: &[u8]) -> Option<String> {
    let name = map_name(packet)?;
    Some(name.strip_suffix(".gat").unwrap_or(name).to_owned())
}
