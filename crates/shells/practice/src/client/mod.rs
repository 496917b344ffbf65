//! The stand-in client: plays a whole session and compares every byte that it receives.
//!
//! # A session
//!
//! 1. Login (0064), character list (0065, five 09A1), selection (0066), map (0436, 007D). Then each
//!    line of [`ClientConfig::say`] is said and has to be answered.
//! 2. For [`ClientConfig::play_for`], at [`ClientConfig::rate`] requests a second: walk, chat,
//!    emote, sit, stand, time sync (with a look just before it, which has no answer), name.
//!    Every [`ClientConfig::change_every`] it changes maps instead: to izlude and back on the same
//!    server (0091), to geffen and back through the portals (0AC7 if there is a second map
//!    server): each round visits all three maps. Rounds of these four changes are always finished,
//!    and one is made even if the time is too short for it.
//! 3. Back to the character selection (00B2), onto the map once more with the same session
//!    numbers, quit (018A).
//!
//! Ids are those of 20211103; other versions have others for the same.
//!
//! In [`Mode::EchoProbe`] part 2 is only 20-byte chat lines, and part 3 only the quitting.
//!
//! # What is checked
//!
//! Everything is framed by the length table to the last byte. Answers to own requests have to come
//! in the order of the requests and to be right in every byte; where a byte cannot be known
//! beforehand it is checked otherwise: session numbers by using them, addresses by connecting to
//! them, ticks by their check byte and their order. Packets about other players are rebuilt from
//! the few fields that may vary and compared. A deviation ends the session.
//!
//! A server tick (007F) may come unasked at any time, since a bridge asks for it to keep the
//! connection of an absent client alive; it is counted. System lines (008E) may come unasked only
//! in answer to a command, `/p2p` or `@p2p`.
//!
//! # How it behaves on the wire
//!
//! `TCP_NODELAY`, one write for each packet (behind a shield: for each record), 0436 alone. It closes a connection by closing its
//! sending side and reading on to the end of the stream, so that both ends have seen the same
//! bytes when they compare digests.

mod announced;
mod expect;
mod plan;
mod play;
mod say;
mod session;
mod sights;
mod socket;
mod tally;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use warp_ro_packet::Role;
use zeroize::Zeroizing;

use crate::report::{ConnectionReport, role_name};
use crate::version::{DEFAULT_VERSION, VersionError};
use crate::wire::Dialect;
pub use say::{MAX_LINE_BYTES, MAX_LINES, check_line};
pub use tally::{RoundTrips, Summary};

/// How long the client may take to end after [`ClientConfig::stop`] was cancelled.
const STOP_LIMIT: Duration = Duration::from_millis(1_500);

/// What the client does while it plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The whole session of the module's description.
    #[default]
    Session,
    /// Only 20-byte chat lines, for measuring.
    EchoProbe,
}

/// A time in which the client sends nothing and keeps reading, as if its window were held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// How long after the beginning of play. It begins when all requests before it were answered
    /// and no change of map is under way.
    pub after: Duration,
    /// How long it lasts. It counts as play; play does not end before it does.
    pub length: Duration,
}

/// How the client is set up.
#[derive(Clone)]
pub struct ClientConfig {
    /// The login server's address.
    pub login: SocketAddr,
    /// The user name, `test1` to `test99`.
    pub user: String,
    /// The password.
    pub password: Zeroizing<String>,
    /// Requests per second while playing; 1 to 1000.
    pub rate: u32,
    /// How long to play; `None` plays until [`ClientConfig::stop`] is cancelled.
    pub play_for: Option<Duration>,
    /// Time between two changes of map, shortened if a round of changes would not fit into
    /// [`ClientConfig::play_for`]; `None` stays on the first one.
    pub change_every: Option<Duration>,
    /// How long an answer may take.
    pub answer_timeout: Duration,
    /// What to do while playing.
    pub mode: Mode,
    /// The packet version that is spoken: one of [`crate::version::versions`].
    pub version: u32,
    /// The ids of what is sent to a map server are enciphered with the version's keys.
    pub obfuscate: bool,
    /// Map connections are enciphered as if a game shield were there.
    pub shield: bool,
    /// Lines of public chat to say on the first map, at most [`MAX_LINES`], each as
    /// [`check_line`] wants it. See [`ClientEvent::Said`].
    pub say: Vec<String>,
    /// A pause in the middle of play.
    pub pause: Option<Pause>,
    /// The account's pin, four digits, for a char server that asks for it.
    pub pin: Option<[u8; 4]>,
    /// So many of the first emotions are attacks instead: then the character is in a fight for 10 s.
    pub attacks: u32,
    /// How long loading a map takes: the time between the end of a burst and 007D.
    pub load_time: Duration,
    /// A bridge may sign the client in again in the middle of play: see [`ClientEvent::Reentered`].
    pub reentry: bool,
    /// A bridge may show notices of the server's staff at any time: see [`ClientEvent::Notice`].
    pub notices: bool,
    /// Cancelled by whoever wants the client to end early: it quits properly, within 1.5 s.
    pub stop: CancellationToken,
}

impl ClientConfig {
    /// The usual set-up: 5 requests a second for 10 s, a change of map every 2 s.
    #[must_use]
    pub fn new(login: SocketAddr, user: &str, password: &str) -> Self {
        Self {
            login,
            user: user.to_owned(),
            password: Zeroizing::new(password.to_owned()),
            rate: 5,
            play_for: Some(Duration::from_secs(10)),
            change_every: Some(Duration::from_secs(2)),
            answer_timeout: Duration::from_secs(10),
            mode: Mode::Session,
            version: DEFAULT_VERSION,
            obfuscate: false,
            shield: false,
            say: Vec::new(),
            pause: None,
            pin: None,
            attacks: 0,
            load_time: Duration::ZERO,
            reentry: false,
            notices: false,
            stop: CancellationToken::new(),
        }
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("login", &self.login)
            .field("user", &self.user)
            .field("rate", &self.rate)
            .field("play_for", &self.play_for)
            .field("change_every", &self.change_every)
            .field("answer_timeout", &self.answer_timeout)
            .field("mode", &self.mode)
            .field("version", &self.version)
            .field("obfuscate", &self.obfuscate)
            .field("shield", &self.shield)
            .field("say", &self.say)
            .field("pause", &self.pause)
            .field("attacks", &self.attacks)
            .field("load_time", &self.load_time)
            .field("reentry", &self.reentry)
            .field("notices", &self.notices)
            .finish_non_exhaustive()
    }
}

/// Something that happened in the session.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum ClientEvent {
    /// A connection to a server is there.
    Connected {
        /// Which server.
        role: Role,
        /// Where.
        address: SocketAddr,
    },
    /// A connection has ended.
    ConnectionClosed(ConnectionReport),
    /// The character stands on a map.
    OnMap {
        /// The map, with `.gat`.
        map: &'static str,
        /// Column.
        x: u16,
        /// Row.
        y: u16,
    },
    /// A line of [`ClientConfig::say`] was answered.
    Said {
        /// The line.
        text: String,
        /// Milliseconds from the write to the arrival of the first line of the answer.
        answered_ms: f64,
        /// The answer: the server's one line, or a bridge's lines to a command.
        lines: Vec<String>,
    },
    /// A bridge shows a line of a notice.
    Notice {
        /// The line.
        line: String,
    },
    /// The pause begins.
    Paused {
        /// How long it lasts.
        seconds: f64,
    },
    /// The pause is over.
    Resumed,
    /// An attack of [`ClientConfig::attacks`] was answered.
    Attacked,
    /// A map is being loaded, for [`ClientConfig::load_time`]; not told if that is nothing.
    Loading,
    /// The burst of a new session came in the middle of play, and its map was loaded. Requests before
    /// it are not waited for; lines of chat among them may still be answered, in their order.
    Reentered {
        /// How many answers were given up.
        given_up: usize,
    },
    /// The session is over.
    Summary(Box<Summary>),
}

/// Why the client could not get into the game.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A value of the configuration is out of range.
    #[error("the rate is {rate} requests a second; it has to be 1 to 1000")]
    Rate {
        /// The value.
        rate: u32,
    },
    /// No connection.
    #[error("cannot connect to the {} server at {address}: {source}; check that it runs and that the address is right", role_name(*role))]
    Connect {
        /// Which server.
        role: Role,
        /// Its address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The login server does not know the user.
    #[error("the login server does not know this user; practice accounts are test1 to test99")]
    UnknownAccount,
    /// The password is wrong.
    #[error(
        "the login server says that the password is wrong; for a practice account it is the user's name"
    )]
    WrongPassword,
    /// The account is online and stayed so.
    #[error("the login server says that the account is still online; try again in 30 s")]
    StillOnline,
    /// The login server refused for another reason.
    #[error("the login server refuses the login with code {code}")]
    LoginRefused {
        /// The code of 083E or 0081.
        code: u32,
    },
    /// The char server refused the session numbers.
    #[error("the char server refuses the session numbers with code {code}; log in again")]
    CharRefused {
        /// The code of 006C.
        code: u8,
    },
    /// The map server refused the session numbers.
    #[error("the map server refuses the session numbers with code {code}; log in again")]
    MapRefused {
        /// The code of 0081 or 006A.
        code: u8,
    },
    /// Too many lines to say.
    #[error("there are {count} lines to say; at most {MAX_LINES} can be said")]
    Lines {
        /// How many.
        count: usize,
    },
    /// A line that cannot be said.
    #[error("{text:?} cannot be said: {wrong}")]
    Line {
        /// The line.
        text: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// The version cannot be spoken as configured.
    #[error(transparent)]
    Unsupported(#[from] VersionError),
}

impl ClientError {
    /// The stable code, in kebab case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ClientError::Rate { .. } => "rate-out-of-range",
            ClientError::Connect { .. } => "connect-failed",
            ClientError::UnknownAccount => "unknown-account",
            ClientError::WrongPassword => "wrong-password",
            ClientError::StillOnline => "still-online",
            ClientError::LoginRefused { .. } => "login-refused",
            ClientError::CharRefused { .. } => "char-refused",
            ClientError::MapRefused { .. } => "map-refused",
            ClientError::Lines { .. } => "too-many-lines",
            ClientError::Line { .. } => "line-refused",
            ClientError::Unsupported(_) => "unsupported-version",
        }
    }
}

/// How the server's bytes differed from what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviationCode {
    /// An expected answer with wrong bytes.
    WrongBytes,
    /// A packet that nothing called for.
    UnexpectedPacket,
    /// The last answer once more.
    DuplicateAnswer,
    /// An answer that should have come after another one.
    OutOfOrder,
    /// No answer in time.
    AnswerMissing,
    /// A packet id or length that the version does not have.
    BrokenFrame,
    /// The connection ended or broke before its time.
    ConnectionLost,
    /// The server ended the session with 0081.
    Kicked,
    /// The server did not close after the client had.
    NotClosed,
    /// The server answered a command that a bridge should have kept from it.
    ReachedServer,
    /// The server refused, or could not be reached, in the middle of the game.
    Refused,
}

/// A difference between what came and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// What kind.
    pub code: DeviationCode,
    /// What came where, and what was expected.
    pub message: String,
}

impl Deviation {
    fn new(code: DeviationCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Why a part of the session ends early.
enum Halt {
    Error(ClientError),
    Deviation(Deviation),
}

impl From<Deviation> for Halt {
    fn from(deviation: Deviation) -> Self {
        Halt::Deviation(deviation)
    }
}

impl From<ClientError> for Halt {
    fn from(error: ClientError) -> Self {
        Halt::Error(error)
    }
}

/// Plays a session. Dropping the future ends it at once; [`ClientConfig::stop`] ends it properly.
///
/// A session with deviations is a [`Summary`] that is not `ok`.
///
/// # Errors
///
/// If the client never got onto a map, for a reason that is no deviation.
pub async fn run(
    config: ClientConfig,
    on_event: impl FnMut(&ClientEvent) + Send,
) -> Result<Summary, ClientError> {
    if !(1..=1000).contains(&config.rate) {
        return Err(ClientError::Rate { rate: config.rate });
    }
    let count = config.say.len();
    if count > MAX_LINES {
        return Err(ClientError::Lines { count });
    }
    config.say.iter().try_for_each(|line| check_line(line))?;
    let dialect = Dialect::of(config.version, config.obfuscate)?;
    let stop = config.stop.clone();
    let mut session = session::Session::new(config, dialect, on_event);
    let halt = tokio::select! {
        outcome = session.run() => outcome.err(),
        () = async { stop.cancelled().await; tokio::time::sleep(STOP_LIMIT).await } => None,
    };
    session.finish(halt)
}
