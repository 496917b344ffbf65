//! What the three servers are told, and what their answers mean.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use warp_ro_packet::{Role, announced_addresses, map_name};

use super::{GaveUp, MAX_WELCOME, PIN_WAIT, ReEntry, Ticket, plain_map};
use crate::connection::{ACCEPT_ENTER, REFUSE_ENTER};
use crate::recall::{
    ACCEPT_LOGIN, NOTICE, PIN_ENTER, PIN_STATE, REFUSE_LOGIN, SELECT_CHAR, Sealed, SessionIds,
    u16_at, u32_at,
};

/// 0081: the account is still online.
const STILL_ONLINE: u8 = 8;
/// 0081 codes that pass: servers closed, not authenticated, timeout, full.
const PASSING: [u8; 4] = [1, 0, 3, 4];
/// HC_REFUSE_ENTER.
const REFUSE_CHAR: u16 = 0x006C;
/// HC_ACCEPT_ENTER, the list of characters.
const CHARACTERS: u16 = 0x006B;
/// HC_NOTIFY_ZONESVR, both generations.
const MAP_SERVER: [u16; 2] = [0x0071, 0x0AC5];
/// The map server of the character's map is away.
const MAP_AWAY: u16 = 0x0840;
/// Where the account's sex stands in 0069 and 0AC4, and in CH_ENTER.
const SEX: usize = 46;
const ENTER_SEX: usize = 16;

impl ReEntry {
    /// The first packets to a server.
    pub(super) fn greet(&mut self, role: Role) {
        match (role, self.ticket) {
            (Role::Login, _) => {
                if let Some(hash) = self.way.hash.clone() {
                    self.send(hash, false);
                }
                self.send(self.way.login.clone(), false);
            }
            (Role::Char, Some(Ticket { ids, sex })) => {
                let mut enter = self.way.char_enter.clone();
                enter.put(6, &ids.login_id1.to_le_bytes());
                enter.put(10, &ids.login_id2.to_le_bytes());
                enter.put(ENTER_SEX, &[sex]);
                self.send(enter, false);
            }
            (Role::Map, Some(Ticket { ids, .. })) => {
                let mut enter = self.way.map_enter.clone();
                enter.put(10, &ids.login_id1.to_le_bytes());
                self.send(enter, true);
            }
            (Role::Char | Role::Map, None) => {}
        }
    }

    pub(super) fn packet(&mut self, now: Duration, role: Role, id: u16, packet: &[u8]) {
        let code = packet.get(2).copied().unwrap_or_default();
        if id == NOTICE && code == STILL_ONLINE {
            return self.still_online(now);
        }
        if id == NOTICE && PASSING.contains(&code) {
            return self.again(now);
        }
        match role {
            Role::Login => self.login_packet(id, packet),
            Role::Char => self.char_packet(now, id, packet),
            Role::Map => self.map_packet(id, packet),
        }
    }

    fn login_packet(&mut self, id: u16, packet: &[u8]) {
        if ACCEPT_LOGIN.contains(&id) {
            return self.signed_in(packet);
        }
        let code = match id {
            0x083E => u32_at(packet, 2),
            NOTICE | 0x006A => packet.get(2).map(|code| u32::from(*code)),
            _ => return,
        };
        self.give_up(match code {
            // An account that is not known, or a password that is not its own.
            Some(0 | 1) if REFUSE_LOGIN.contains(&id) => GaveUp::WrongPassword,
            code => GaveUp::LoginRefused {
                code: code.unwrap_or_default(),
            },
        });
    }

    fn signed_in(&mut self, packet: &[u8]) {
        let numbers = (u32_at(packet, 4), u32_at(packet, 8), u32_at(packet, 12));
        let (Some(login_id1), Some(account), Some(login_id2)) = numbers else {
            return self.give_up(GaveUp::Unreadable);
        };
        if self.account() != Some(account) {
            return self.give_up(GaveUp::AnotherAccount);
        }
        self.ticket = Some(Ticket {
            ids: SessionIds {
                login_id1,
                login_id2,
            },
            sex: packet.get(SEX).copied().unwrap_or_default(),
        });
        // The one that the player chose, as long as it is there.
        let announced = || announced_addresses(packet).map(|one| SocketAddr::V4(one.address));
        let chosen = announced().find(|server| *server == self.way.char_server);
        match chosen.or_else(|| announced().next()) {
            Some(server) => self.on_to(Role::Char, server, None),
            None => self.give_up(GaveUp::Unreadable),
        }
    }

    fn char_packet(&mut self, now: Duration, id: u16, packet: &[u8]) {
        match id {
            NOTICE => self.give_up(GaveUp::CharRefused {
                code: packet.get(2).copied().unwrap_or_default(),
            }),
            REFUSE_CHAR | MAP_AWAY => self.again(now),
            CHARACTERS if !self.selected => self.select_at = Some(now + PIN_WAIT),
            PIN_STATE => self.pin_state(now, packet),
            id if MAP_SERVER.contains(&id) => self.way_to_map(packet),
            _ => {}
        }
    }

    fn pin_state(&mut self, now: Duration, packet: &[u8]) {
        self.select_at = None;
        let (seed, state) = (u32_at(packet, 2), u16_at(packet, 10));
        match (state.unwrap_or_default(), &self.way.pin) {
            // Not asked for, or found right (before 2018).
            (0 | 7, _) => self.select(now),
            (1, None) => self.give_up(GaveUp::PinUnknown),
            (1, Some(pin)) if !self.pin_sent => {
                let mut packet = Sealed::new(&[0; 10]);
                packet.put(0, &PIN_ENTER.to_le_bytes());
                packet.put(2, &self.account().unwrap_or_default().to_le_bytes());
                packet.put(6, &pin.to_send(seed.unwrap_or_default()));
                self.pin_sent = true;
                self.answer_by = now + self.limits.answer;
                self.send(packet, false);
            }
            (state, _) => self.give_up(GaveUp::PinRefused { state }),
        }
    }

    /// Selects the character, once.
    pub(super) fn select(&mut self, now: Duration) {
        self.select_at = None;
        if !std::mem::replace(&mut self.selected, true) {
            let mut packet = Sealed::new(&[0; 3]);
            packet.put(0, &SELECT_CHAR.to_le_bytes());
            packet.put(2, &[self.way.slot]);
            self.answer_by = now + self.limits.answer;
            self.send(packet, false);
        }
    }

    fn way_to_map(&mut self, packet: &[u8]) {
        if u32_at(packet, 2) != self.character() {
            return self.give_up(GaveUp::AnotherCharacter);
        }
        let server = announced_addresses(packet).next();
        match server {
            Some(server) => {
                let target = SocketAddr::V4(server.address);
                self.on_to(Role::Map, target, plain_map(packet));
            }
            None => self.give_up(GaveUp::Unreadable),
        }
    }

    fn map_packet(&mut self, id: u16, packet: &[u8]) {
        if id == NOTICE || (id == REFUSE_ENTER && self.welcome.is_none()) {
            let code = packet.get(2).copied().unwrap_or_default();
            return self.give_up(GaveUp::MapRefused { code });
        }
        let Some(mut welcome) = self.welcome.take() else {
            if ACCEPT_ENTER.contains(&id) {
                self.welcome = Some(BytesMut::new());
            }
            return;
        };
        if welcome.len() + packet.len() > MAX_WELCOME {
            return self.give_up(GaveUp::Unreadable);
        }
        welcome.extend_from_slice(packet);
        if map_name(packet).is_some() {
            self.ready(welcome);
        } else {
            self.welcome = Some(welcome);
        }
    }
}
