//! What the login and char servers send.

use std::net::SocketAddrV4;

use super::{HP, SP};
use crate::game::{Account, Place};
use crate::wire::dialect::Announcing;
use crate::wire::{Dialect, Packet};

/// A pin state of the 08B9 packet: no pin is asked for, or it was right.
pub(crate) const PIN_OFF: u16 = 0;
/// The pin is asked for.
pub(crate) const PIN_ASKED: u16 = 1;
/// It was wrong.
pub(crate) const PIN_WRONG: u16 = 8;

/// Character slots of every account.
const SLOTS: u8 = 15;

/// Number of list pages that 09A0 announces; the client asks for each.
pub(crate) const LIST_PAGES: u32 = 5;

/// What an accepted login hands out: the session numbers that the char and map servers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoginIds {
    pub(crate) login_id1: u32,
    pub(crate) login_id2: u32,
    pub(crate) sex: u8,
}

/// 083E AC_REFUSE_LOGIN: 0 unknown account, 1 wrong password.
pub(crate) fn refuse_login(code: u32) -> Vec<u8> {
    Packet::new(0x083E).u32(code).zeros(20).done()
}

/// 0081 SC_NOTIFY_BAN.
pub(crate) fn notify_ban(code: u8) -> Vec<u8> {
    Packet::new(0x0081).u8(code).done()
}

/// 006C HC_REFUSE_ENTER.
pub(crate) fn refuse_char(code: u8) -> Vec<u8> {
    Packet::new(0x006C).u8(code).done()
}

/// 08B9: the pin state, with the seed of the keypad.
pub(crate) fn pin_state(account: Account, seed: u32, state: u16) -> Vec<u8> {
    Packet::new(0x08B9)
        .u32(seed)
        .u32(account.aid())
        .u16(state)
        .done()
}

/// The digits that a client sends for `pin`, four ASCII digits: each is the place of the digit on a
/// keypad that the seed arranges. Another pin than four digits is sent as it is.
pub(crate) fn pin_keys(seed: u32, pin: [u8; 4]) -> [u8; 4] {
    let mut pad: Vec<u8> = (b'0'..=b'9').collect();
    let mut random = u64::from(seed);
    for (place, count) in (1..10_usize).zip(2_u64..) {
        random = (random * 0x3498 + 0x88_1234) % (1 << 32);
        pad.swap(place, usize::try_from(random % count).unwrap_or(0));
    }
    pin.map(|digit| {
        let place = pad.iter().position(|key| *key == digit);
        place.map_or(digit, |place| b'0' + u8::try_from(place).unwrap_or(0))
    })
}

impl Dialect {
    /// AC_ACCEPT_LOGIN with one char server.
    pub(crate) fn accept_login(
        &self,
        account: Account,
        ids: LoginIds,
        char_server: SocketAddrV4,
    ) -> Vec<u8> {
        /// Up to the sex; newer versions have a web token behind it.
        const HEAD: usize = 47;
        let Announcing {
            login: (id, start),
            text,
            ..
        } = self.facts.announcing;
        Packet::sized(id)
            .u32(ids.login_id1)
            .u32(account.aid())
            .u32(ids.login_id2)
            .zeros(30) // last login, its time
            .u8(ids.sex)
            .zeros(start - HEAD)
            .bytes(&char_server.ip().octets())
            .u16(char_server.port())
            .text("Practice", 20)
            .zeros(6) // users, type, new
            .zeros(text)
            .finish()
    }

    /// A packet with one character record behind its header.
    fn with_character(&self, packet: Packet, account: Account) -> Vec<u8> {
        let facts = self.facts.character;
        let (hp, sp) = facts.points;
        let body = if facts.body { 2 } else { 0 };
        let packet = packet
            .u32(account.gid())
            .number(0, facts.experience)
            .u32(10_000) // zeny
            .number(0, facts.experience) // of the job
            .u32(10) // job level
            .zeros(20) // body, health, option, karma, manner
            .u16(48) // status points
            .number(HP, hp)
            .number(HP, hp)
            .number(SP, sp)
            .number(SP, sp)
            .u16(150) // speed
            .u16(0) // class
            .u16(account.hair())
            .zeros(body)
            .u16(0) // weapon
            .u16(10) // base level
            .zeros(14) // skill points to clothes colour
            .text(&account.character(), 24)
            .bytes(&[9; 6]) // str agi vit int dex luk
            .u8(0) // slot
            .u8(0) // hair colour
            .u16(1) // renamed
            .text(Place::HOME.map.name(), 16)
            .zeros(16); // delete date, robe, moves, renames
        if facts.body {
            packet.u8(account.sex()).finish()
        } else {
            packet.finish()
        }
    }

    /// The burst after the raw AID: 082D 006B 09A0 020D, and then the pin state.
    pub(crate) fn char_burst(&self, account: Account) -> Vec<u8> {
        let pages = Packet::new(0x09A0).u32(LIST_PAGES);
        [
            Packet::sized(0x082D)
                .bytes(&[SLOTS, 0, 0, SLOTS, SLOTS])
                .zeros(20)
                .finish(),
            self.with_character(Packet::sized(0x006B).bytes(&[SLOTS; 3]).zeros(20), account),
            if self.facts.slots_with_pages {
                pages.u32(SLOTS.into()).done()
            } else {
                pages.done()
            },
            Packet::sized(0x020D).finish(),
        ]
        .concat()
    }

    /// The whole character list, one answer per 09A1.
    pub(crate) fn list_page(&self, account: Account) -> Vec<u8> {
        self.with_character(Packet::sized(self.facts.list_page), account)
    }

    /// HC_NOTIFY_ZONESVR.
    pub(crate) fn go_to_map_server(
        &self,
        account: Account,
        map: &str,
        server: SocketAddrV4,
    ) -> Vec<u8> {
        Packet::new(self.facts.announcing.map_server)
            .u32(account.gid())
            .text(map, 16)
            .bytes(&server.ip().octets())
            .u16(server.port())
            .zeros(self.facts.announcing.text)
            .done()
    }
}
