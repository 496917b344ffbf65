//! What a client said to sign in, kept so that it can be said again ([`crate::ReEntry`]).
//!
//! Each connection at *assist* watches its own packets ([`Recorded`]); one [`Recall`] for each client
//! puts them together. Nothing is recorded below *assist*. Passwords, tokens, pins and session
//! numbers lie in memory only, are shown by no `Debug`, and are wiped when they are forgotten: with
//! the client, when it quits, when it signs in anew, and when the server refuses the sign-in.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use warp_ro_packet::{Role, Roles};
use zeroize::Zeroizing;

use crate::pin::Pin;

/// CA_LOGIN in all its forms: plain, with the client's addresses, with a token, with an MD5.
const LOGIN: [u16; 4] = [0x0064, 0x0277, 0x02B0, 0x0825];
/// The forms with an MD5 of the password, salted if the client asked for a salt.
const LOGIN_MD5: [u16; 3] = [0x01DD, 0x01FA, 0x027C];
/// The client asks for a salt.
const ASK_SALT: u16 = 0x01DB;
/// The hash of the client's program, in front of the login.
const CLIENT_HASH: u16 = 0x0204;
/// The login server's acceptance, both generations.
pub(crate) const ACCEPT_LOGIN: [u16; 2] = [0x0069, 0x0AC4];
/// Its refusals.
pub(crate) const REFUSE_LOGIN: [u16; 2] = [0x006A, 0x083E];
/// Any server: the session ends, and why.
pub(crate) const NOTICE: u16 = 0x0081;
/// CH_SELECT_CHAR.
pub(crate) const SELECT_CHAR: u16 = 0x0066;
/// The pin code's state, with the seed.
pub(crate) const PIN_STATE: u16 = 0x08B9;
/// The client enters, makes and changes its pin.
pub(crate) const PIN_ENTER: u16 = 0x08B8;
const PIN_MAKE: u16 = 0x08BA;
const PIN_CHANGE: u16 = 0x08BE;
/// The map server lets the client quit.
const QUIT_GRANTED: u16 = 0x018B;
/// Longest packet that is kept, bytes; login packets with tokens are a few hundred.
const MAX_KEPT: usize = 4096;
/// How much waits for the owner of a connection. It polls after each call, so a few.
const MAX_RECORDED: usize = 16;

/// Bytes that no `Debug` shows and that are wiped when dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Sealed(Zeroizing<Vec<u8>>);

impl Sealed {
    pub(crate) fn new(bytes: &[u8]) -> Sealed {
        Sealed(Zeroizing::new(bytes.to_vec()))
    }

    /// The bytes. Named where they leave.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be changed in place.
    pub fn reveal_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Writes over what stands at `at`; what does not fit stays as it is.
    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} secret bytes]", self.0.len())
    }
}

/// The session numbers of a login: random, from the login server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionIds {
    /// The number that char and map servers ask for.
    pub(crate) login_id1: u32,
    /// The one that only the char server asks for.
    pub(crate) login_id2: u32,
}

impl fmt::Debug for SessionIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// One thing that a connection saw of signing in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded(What);

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Login(Sealed),
    /// The password was mixed with a salt that was good for that connection alone.
    SaltedLogin,
    Hash(Sealed),
    LoginAccepted,
    LoginRefused,
    CharEnter(Sealed),
    Slot(u8),
    Pin(Pin),
    MapEnter(Sealed),
    Quit,
}

/// Watches one connection.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    waiting: VecDeque<Recorded>,
    salted: bool,
    seed: u32,
    /// Sent, and not yet found right.
    pin: Option<Pin>,
}

impl Recorder {
    fn push(&mut self, what: What) {
        if self.waiting.len() < MAX_RECORDED {
            self.waiting.push_back(Recorded(what));
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Recorded> {
        self.waiting.pop_front()
    }

    /// Forgets what was not taken yet: the connection is not to be read so far any more.
    pub(crate) fn clear(&mut self) {
        *self = Recorder::default();
    }

    /// `id` is the plain one.
    pub(crate) fn client(&mut self, role: Role, roles: &Roles, id: u16, packet: &[u8]) {
        if packet.len() > MAX_KEPT {
            return;
        }
        match role {
            Role::Login if id == ASK_SALT => self.salted = true,
            Role::Login if id == CLIENT_HASH => self.push(What::Hash(Sealed::new(packet))),
            Role::Login if LOGIN_MD5.contains(&id) && self.salted => self.push(What::SaltedLogin),
            Role::Login if LOGIN.contains(&id) || LOGIN_MD5.contains(&id) => {
                self.push(What::Login(Sealed::new(packet)));
            }
            Role::Char if roles.char_enter == Some(id) => {
                self.push(What::CharEnter(Sealed::new(packet)));
            }
            Role::Char if id == SELECT_CHAR => {
                if let Some(slot) = packet.get(2) {
                    self.push(What::Slot(*slot));
                }
            }
            Role::Char if id == PIN_ENTER || id == PIN_MAKE => self.read_pin(packet, 6),
            Role::Char if id == PIN_CHANGE => self.read_pin(packet, 10),
            Role::Map if roles.map_enter == Some(id) => {
                self.push(What::MapEnter(Sealed::new(packet)));
            }
            _ => {}
        }
    }

    fn read_pin(&mut self, packet: &[u8], at: usize) {
        self.pin = Pin::read(self.seed, packet.get(at..).unwrap_or_default());
    }

    pub(crate) fn server(&mut self, role: Role, id: u16, packet: &[u8]) {
        match role {
            Role::Login if ACCEPT_LOGIN.contains(&id) => self.push(What::LoginAccepted),
            Role::Login if REFUSE_LOGIN.contains(&id) || id == NOTICE => {
                self.push(What::LoginRefused);
            }
            Role::Char if id == PIN_STATE => {
                self.seed = u32_at(packet, 2).unwrap_or(0);
                let pin = self.pin.take();
                if let (Some(pin), Some(0 | 7)) = (pin, u16_at(packet, 10)) {
                    self.push(What::Pin(pin));
                }
            }
            Role::Map if id == QUIT_GRANTED && u16_at(packet, 2) == Some(0) => {
                self.push(What::Quit);
            }
            _ => {}
        }
    }
}

/// Why a client cannot be signed in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unable {
    /// Its sign-in was not seen: it happened before the bridge, or below *assist*.
    NotSeen,
    /// Its password went out mixed with a salt that the server will not use again.
    Salted,
}

impl Unable {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Unable::NotSeen => "sign-in-not-seen",
            Unable::Salted => "salted-password",
        }
    }
}

/// What is known of one client's way into the game. See the module's rules.
#[derive(Debug, Default)]
pub struct Recall {
    login: Option<(Sealed, SocketAddr)>,
    hash: Option<Sealed>,
    salted: bool,
    accepted: bool,
    char_enter: Option<(Sealed, SocketAddr)>,
    slot: Option<u8>,
    pin: Option<Pin>,
    map_enter: Option<Sealed>,
    /// Of a later sign-in than the client's own.
    ids: Option<SessionIds>,
}

/// What [`Recall`] amounts to, to be said again.
#[derive(Debug, Clone)]
pub(crate) struct WayBack {
    pub(crate) login: Sealed,
    pub(crate) login_server: SocketAddr,
    pub(crate) hash: Option<Sealed>,
    pub(crate) char_enter: Sealed,
    pub(crate) char_server: SocketAddr,
    pub(crate) slot: u8,
    pub(crate) pin: Option<Pin>,
    pub(crate) map_enter: Sealed,
}

impl Recall {
    /// Takes what a connection to `server` recorded.
    pub fn note(&mut self, recorded: Recorded, server: SocketAddr) {
        match recorded.0 {
            What::Hash(packet) => {
                *self = Recall {
                    hash: Some(packet),
                    ..Recall::default()
                };
            }
            What::Login(packet) => {
                *self = Recall {
                    login: Some((packet, server)),
                    hash: self.hash.take().filter(|_| self.login.is_none()),
                    ..Recall::default()
                };
            }
            What::SaltedLogin => {
                *self = Recall {
                    salted: true,
                    ..Recall::default()
                };
            }
            What::LoginAccepted => self.accepted = true,
            What::LoginRefused | What::Quit => *self = Recall::default(),
            What::CharEnter(packet) => self.char_enter = Some((packet, server)),
            What::Slot(slot) => self.slot = Some(slot),
            What::Pin(pin) => self.pin = Some(pin),
            What::MapEnter(packet) => self.map_enter = Some(packet),
        }
    }

    /// The session numbers that the servers know, where they are not the client's own any more: its
    /// packets have to carry these instead ([`crate::BridgeConnection::set_ids`]).
    #[must_use]
    pub fn ids(&self) -> Option<SessionIds> {
        self.ids
    }

    /// The client was signed in again, with these numbers.
    pub fn signed_in(&mut self, ids: SessionIds) {
        self.ids = Some(ids);
    }

    /// The login server is at `server` now.
    pub fn login_at(&mut self, server: SocketAddr) {
        if let Some((_, at)) = &mut self.login {
            *at = server;
        }
    }

    pub(crate) fn way_back(&self) -> Result<WayBack, Unable> {
        let seen = || {
            Some(WayBack {
                login: self.login.as_ref().filter(|_| self.accepted)?.0.clone(),
                login_server: self.login.as_ref()?.1,
                hash: self.hash.clone(),
                char_enter: self.char_enter.as_ref()?.0.clone(),
                char_server: self.char_enter.as_ref()?.1,
                slot: self.slot?,
                pin: self.pin.clone(),
                map_enter: self.map_enter.clone()?,
            })
        };
        if self.salted {
            return Err(Unable::Salted);
        }
        seen().ok_or(Unable::NotSeen)
    }
}

pub(crate) fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*packet.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(packet: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*packet.get(at..)?.first_chunk()?))
}
