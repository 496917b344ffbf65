//! What a client sends: built by the client, read by the server. Layouts: ro-protocol sections 2
//! to 4; what differs between versions comes from the [`Dialect`].

use warp_ro_packet::coords::{pack_pos, unpack_pos};

use super::bytes::until_zero;
use super::{Dialect, Fields, Packet, id_of};

/// 0064 CA_LOGIN.
pub(crate) const LOGIN: u16 = 0x0064;
/// 0065 CH_ENTER.
pub(crate) const CHAR_ENTER: u16 = 0x0065;
/// 0066 CH_SELECT_CHAR.
pub(crate) const SELECT_CHAR: u16 = 0x0066;
/// 09A1: ask for a page of the character list.
pub(crate) const LIST_PAGE: u16 = 0x09A1;
/// 08B8: the pin code.
pub(crate) const ENTER_PIN: u16 = 0x08B8;
/// Who is at the char server may say these before the right pin.
pub(crate) const BEFORE_PIN: [u16; 6] = [CHAR_ENTER, 0x0187, ENTER_PIN, 0x08BE, 0x08C5, LIST_PAGE];
const MAP_LOADED: u16 = 0x007D;
const CLIENT_READY: u16 = 0x0447;
const CHAT: u16 = 0x00F3;
const EMOTE: u16 = 0x00BF;
const RESTART: u16 = 0x00B2;
const QUIT: u16 = 0x018A;

// ---- to the login and char servers: the same in every version ----

/// 0064 CA_LOGIN. Cut to fit: names and passwords of the practice game are short.
pub(crate) fn login(user: &str, password: &str) -> Vec<u8> {
    Packet::new(LOGIN)
        .u32(20)
        .text(user, 24)
        .text(password, 24)
        .u8(1)
        .done()
}

/// 0065 CH_ENTER.
pub(crate) fn char_enter(aid: u32, login_id1: u32, login_id2: u32, sex: u8) -> Vec<u8> {
    Packet::new(CHAR_ENTER)
        .u32(aid)
        .u32(login_id1)
        .u32(login_id2)
        .u16(0)
        .u8(sex)
        .done()
}

/// 08B8: the pin, as keys of the keypad.
pub(crate) fn enter_pin(aid: u32, keys: [u8; 4]) -> Vec<u8> {
    Packet::new(ENTER_PIN).u32(aid).bytes(&keys).done()
}

/// 09A1: ask for a page of the character list.
pub(crate) fn ask_list_page() -> Vec<u8> {
    Packet::new(LIST_PAGE).done()
}

/// 0066 CH_SELECT_CHAR.
pub(crate) fn select_char(slot: u8) -> Vec<u8> {
    Packet::new(SELECT_CHAR).u8(slot).done()
}

// ---- to a map server: the same in every version ----

/// 007D CZ_NOTIFY_ACTORINIT.
pub(crate) fn map_loaded() -> Vec<u8> {
    Packet::new(MAP_LOADED).done()
}

/// 0447: the client is ready.
pub(crate) fn client_ready() -> Vec<u8> {
    Packet::new(CLIENT_READY).done()
}

/// 00BF: emotion.
pub(crate) fn emote(kind: u8) -> Vec<u8> {
    Packet::new(EMOTE).u8(kind).done()
}

/// 018A: quit.
pub(crate) fn quit() -> Vec<u8> {
    Packet::new(QUIT).u16(0).done()
}

/// 00B2 type 1: back to the character selection.
pub(crate) fn to_char_select() -> Vec<u8> {
    Packet::new(RESTART).u8(1).done()
}

// ---- to a map server: different ----

impl Dialect {
    /// CZ_ENTER: the first packet to a map server.
    pub(crate) fn map_enter(
        &self,
        aid: u32,
        gid: u32,
        login_id1: u32,
        tick: u32,
        sex: u8,
    ) -> Vec<u8> {
        Packet::new(self.facts.enter)
            .u32(aid)
            .u32(gid)
            .u32(login_id1)
            .u32(tick)
            .zeros(self.facts.enter_gap)
            .u8(sex)
            .done()
    }

    /// Time sync.
    pub(crate) fn ask_time(&self, tick: u32) -> Vec<u8> {
        Packet::new(self.facts.time).u32(tick).done()
    }

    /// CZ_REQUEST_MOVE.
    pub(crate) fn walk_to(&self, x: u16, y: u16) -> Vec<u8> {
        Packet::new(self.facts.walk)
            .bytes(&pack_pos(x, y, 0))
            .done()
    }

    /// 00F3: public chat, `Name : message`.
    pub(crate) fn chat(&self, text: &str) -> Vec<u8> {
        let zero: &[u8] = if self.facts.chat_zero { &[0] } else { &[] };
        Packet::sized(CHAT)
            .bytes(text.as_bytes())
            .bytes(zero)
            .finish()
    }

    /// Action 2 sit, 3 stand.
    pub(crate) fn action(&self, action: u8) -> Vec<u8> {
        Packet::new(self.facts.act).u32(0).u8(action).done()
    }

    /// Turn.
    pub(crate) fn look(&self, head: u16, direction: u8) -> Vec<u8> {
        Packet::new(self.facts.turn).u16(head).u8(direction).done()
    }

    /// Who is that?
    pub(crate) fn ask_name(&self, id: u32) -> Vec<u8> {
        Packet::new(self.facts.name).u32(id).done()
    }

    /// Reads a whole packet that came to a map server; `None` for what the practice game does
    /// not have.
    pub(crate) fn request<'a>(&self, packet: &'a [u8]) -> Option<Request<'a>> {
        let facts = self.facts;
        let fields = Fields(packet);
        let id = id_of(packet)?;
        Some(if id == facts.enter {
            Request::Enter(MapEnter {
                aid: fields.u32(2),
                gid: fields.u32(6),
                login_id1: fields.u32(10),
                sex: fields.u8(18 + facts.enter_gap),
            })
        } else if id == facts.time {
            Request::Time
        } else if id == facts.walk {
            let (x, y, _) = unpack_pos(fields.array(2));
            Request::Walk { x, y }
        } else if id == facts.act {
            Request::Act(fields.u8(6))
        } else if id == facts.turn {
            let (head, direction) = (fields.u16(2), fields.u8(4));
            Request::Turn { head, direction }
        } else if id == facts.name {
            Request::Name(fields.u32(2))
        } else {
            match id {
                MAP_LOADED => Request::Loaded,
                CLIENT_READY => Request::Ready,
                CHAT => Request::Chat(fields.rest(4)),
                EMOTE => Request::Emote(fields.u8(2)),
                RESTART if fields.u8(2) == 1 => Request::CharSelect,
                QUIT => Request::Quit,
                _ => return None,
            }
        })
    }

    /// The line that [`Request::Chat`] carries, if it ends as it has to.
    pub(crate) fn chat_line<'a>(&self, text: &'a [u8]) -> Option<&'a str> {
        let line = until_zero(text);
        let zeros = usize::from(self.facts.chat_zero);
        if line.len() + zeros != text.len() {
            return None;
        }
        std::str::from_utf8(line).ok()
    }
}

/// What a packet that enters a map shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MapEnter {
    pub(crate) aid: u32,
    pub(crate) gid: u32,
    pub(crate) login_id1: u32,
    pub(crate) sex: u8,
}

/// What a client wants of a map server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    Enter(MapEnter),
    /// The map is loaded: the unit may appear.
    Loaded,
    Ready,
    Time,
    Walk {
        x: u16,
        y: u16,
    },
    /// Everything behind the packet's header.
    Chat(&'a [u8]),
    Emote(u8),
    Act(u8),
    Turn {
        head: u16,
        direction: u8,
    },
    Name(u32),
    CharSelect,
    Quit,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dialect::tests::all;

    #[test]
    fn what_a_client_sends_is_what_the_server_reads() {
        for dialect in all() {
            let enter = MapEnter {
                aid: 2_000_001,
                gid: 150_001,
                login_id1: 0x0102_0304,
                sex: 1,
            };
            let line: &[u8] = if dialect.facts.chat_zero {
                b"a : b\0"
            } else {
                b"a : b"
            };
            let (head, direction) = (3, 5);
            for (packet, request) in [
                (
                    dialect.map_enter(enter.aid, enter.gid, enter.login_id1, 7, enter.sex),
                    Request::Enter(enter),
                ),
                (map_loaded(), Request::Loaded),
                (client_ready(), Request::Ready),
                (dialect.ask_time(9), Request::Time),
                (dialect.walk_to(7, 300), Request::Walk { x: 7, y: 300 }),
                (dialect.chat("a : b"), Request::Chat(line)),
                (emote(3), Request::Emote(3)),
                (dialect.action(2), Request::Act(2)),
                (
                    dialect.look(head, direction),
                    Request::Turn { head, direction },
                ),
                (dialect.ask_name(99), Request::Name(99)),
                (to_char_select(), Request::CharSelect),
                (quit(), Request::Quit),
            ] {
                let version = dialect.facts.version;
                assert_eq!(dialect.request(&packet), Some(request), "{version}");
            }
            assert_eq!(dialect.chat_line(line), Some("a : b"));
            assert_eq!(dialect.chat_line(b"a\0 : b\0"), None);
            assert_eq!(dialect.chat_line(b"\xff\0"), None);
            let other = if dialect.facts.chat_zero {
                &b"a"[..]
            } else {
                b"a\0"
            };
            assert_eq!(dialect.chat_line(other), None);
            assert_eq!(dialect.request(&[0xb2, 0, 0]), None);
            assert_eq!(dialect.request(&[0x4f, 0x01, 0, 0, 0, 0]), None);
        }
    }
}
