//! A map server: entering, playing, leaving.

use warp_ro_packet::MAP_ENTER;
use warp_ro_packet::coords::unpack_pos;

use super::connection::Context;
use super::login_server::STILL_ONLINE;
use super::state::{Entry, MapClaim, MapTicket, Seat, State};
use super::{CloseReason, reachable};
use crate::game::{Account, GREETING, MAP_SIZE, Place, WALK_RANGE, go_target};
use crate::report::Role;
use crate::wire::bytes::until_zero;
use crate::wire::units::{Looks, Posture};
use crate::wire::{Fields, id_of, packets};

/// 0081: the ids are wrong or used up.
const NOT_AUTHENTICATED: u8 = 0;

/// The highest direction: 7, north-east.
const DIRECTIONS: u8 = 8;

/// One map connection.
pub(super) struct MapSide {
    server: usize,
    key: Option<String>,
    account: Option<Account>,
}

impl MapSide {
    pub(super) fn new(server: usize) -> Self {
        Self {
            server,
            key: None,
            account: None,
        }
    }

    /// Whether the first packet has come.
    pub(super) fn entered(&self) -> bool {
        self.account.is_some()
    }

    /// The connection has ended; its key.
    pub(super) fn leave(&mut self, context: &Context) -> Option<String> {
        if let Some(account) = self.account.take() {
            context.shared.world.leave_map(account, context.id);
        }
        self.key.take()
    }

    pub(super) fn handle(&mut self, context: &Context, frame: &[u8]) -> Result<(), CloseReason> {
        let fields = Fields(frame);
        match (self.account, id_of(frame)) {
            (None, Some(MAP_ENTER)) => self.enter(context, fields),
            (None, _) => Err(CloseReason::NotEntered),
            (Some(account), id) => {
                if let Some(id) = id {
                    Player { context, account }.handle(id, fields);
                }
                Ok(())
            }
        }
    }

    fn enter(&mut self, context: &Context, fields: Fields<'_>) -> Result<(), CloseReason> {
        let world = &context.shared.world;
        let aid = fields.u32(2);
        let claim = MapClaim {
            gid: fields.u32(6),
            login_id1: fields.u32(10),
            sex: fields.u8(22),
            server: self.server,
        };
        // First the account id, before anything is checked.
        context.outbox.push(&packets::map_aid(aid));
        let refuse = |code| context.outbox.push(&packets::notify_ban(code));
        let Some(account) = Account::by_aid(aid) else {
            refuse(NOT_AUTHENTICATED);
            return Err(CloseReason::Refused);
        };
        self.key = Some(world.count_connection(Role::Map, account, claim.login_id1));
        match world.enter_map(account, &claim, Seat::new(context.id, &context.outbox)) {
            Entry::Accepted(ticket) => {
                self.account = Some(account);
                context.outbox.push(&welcome(world.tick(), ticket));
                Ok(())
            }
            Entry::StillOnline => {
                refuse(STILL_ONLINE);
                Err(CloseReason::StillOnline)
            }
            Entry::Refused => {
                refuse(NOT_AUTHENTICATED);
                Err(CloseReason::Refused)
            }
        }
    }
}

/// The burst after an accepted 0436. After a change of map server it lacks greeting and 0091.
fn welcome(tick: u32, ticket: MapTicket) -> Vec<u8> {
    let mut burst = packets::bag_slots();
    burst.extend(packets::accept_enter(tick, ticket.place));
    burst.extend(packets::friends());
    if ticket.fresh {
        burst.extend(packets::own_line(GREETING));
        burst.extend(packets::load_map(ticket.place));
    }
    burst.extend(packets::entry_status());
    burst
}

/// A player that has entered, for the length of one packet.
struct Player<'a> {
    context: &'a Context,
    account: Account,
}

impl Player<'_> {
    /// Until 007D has come nothing else is heard; then what the practice game does not have is
    /// ignored.
    fn handle(&self, id: u16, fields: Fields<'_>) {
        let mut state = self.context.shared.world.lock();
        let Some(unit) = state.unit(self.account, self.context.id) else {
            return; // handed over to another server, or kicked
        };
        match (unit.loaded, id) {
            (false, 0x007D) => self.load(&mut state),
            (false, _) => {}
            (true, 0x0447) => self.tell(&packets::load_confirmed()),
            (true, 0x0360) => self.tell(&packets::server_time(self.context.shared.world.tick())),
            (true, 0x035F) => self.walk(&mut state, fields),
            (true, 0x00F3) => self.chat(&mut state, fields.rest(4)),
            (true, 0x00BF) => {
                self.tell_all(
                    &state,
                    &packets::unit_emote(self.account.aid(), fields.u8(2)),
                );
            }
            (true, 0x0437) => self.act(&mut state, fields.u8(6)),
            (true, 0x0361) => self.look(&mut state, fields.u16(2), fields.u8(4)),
            (true, 0x0368) => self.name(&state, fields.u32(2)),
            (true, 0x00B2) if fields.u8(2) == 1 => {
                state.renew_char_ticket(self.account);
                self.tell(&packets::char_select_granted());
            }
            (true, 0x018A) => self.tell(&packets::quit_granted()),
            (true, _) => {}
        }
    }

    fn tell(&self, packets: &[u8]) {
        self.context.outbox.push(packets);
    }

    fn tell_all(&self, state: &State, packets: &[u8]) {
        self.tell(packets);
        if let Some(map) = state.map_of(self.account) {
            state.tell_others(self.account, map, packets);
        }
    }

    /// 007D: the unit appears, and sees who is there.
    fn load(&self, state: &mut State) {
        let Some(unit) = state.unit(self.account, self.context.id) else {
            return;
        };
        unit.loaded = true;
        let (place, direction) = (unit.place, unit.direction);
        let portal = place.map.portal();
        let mut burst = packets::load_head(self.account);
        let at = portal.at;
        burst.extend(Looks::portal(portal).standing(at.x, at.y, 0, Posture::Standing));
        for other in state.others(self.account, place.map) {
            burst.extend(other.standing());
        }
        burst.extend(packets::load_tail());
        self.tell(&burst);
        let arrival = [
            packets::looks_changed(self.account.aid()),
            Looks::player(self.account).arriving(place.x, place.y, direction),
        ];
        state.tell_others(self.account, place.map, &arrival.concat());
    }

    /// 035F: out of reach, off the map or sitting, the request has no answer. Else the walker
    /// stands on its target at once, and may have walked onto a portal.
    fn walk(&self, state: &mut State, fields: Fields<'_>) {
        let (x, y, _) = unpack_pos(fields.array(2));
        let Some(unit) = state.unit(self.account, self.context.id) else {
            return;
        };
        let from = (unit.place.x, unit.place.y);
        let near = from.0.abs_diff(x) <= WALK_RANGE && from.1.abs_diff(y) <= WALK_RANGE;
        if !near || x >= MAP_SIZE || y >= MAP_SIZE || unit.posture == Posture::Sitting {
            return;
        }
        unit.direction = direction_to(from, (x, y)).unwrap_or(unit.direction);
        (unit.place.x, unit.place.y) = (x, y);
        let place = unit.place;
        let tick = self.context.shared.world.tick();
        self.tell(&packets::own_walk(tick, from, (x, y)));
        let seen = Looks::player(self.account).walking(tick, from, (x, y));
        state.tell_others(self.account, place.map, &seen);
        let portal = place.map.portal();
        if place == portal.at {
            self.go(state, portal.to, None);
        }
    }

    /// Leads to another place: 0091 on the same server (with a line of chat), 0AC7 on the other.
    fn go(&self, state: &mut State, to: Place, line: Option<&str>) {
        let world = &self.context.shared.world;
        let Some(here) = state.map_of(self.account) else {
            return;
        };
        let server = world.server_of(to.map);
        if server == world.server_of(here) {
            state.move_unit(self.account, to);
            self.tell(&packets::load_map(to));
            if let Some(line) = line {
                self.tell(&packets::own_line(line));
            }
        } else {
            state.hand_over(
                self.account,
                MapTicket {
                    server,
                    place: to,
                    fresh: false,
                },
            );
            let address = reachable(world.map_server(server), self.context.reached);
            self.tell(&packets::change_server(to, address));
        }
    }

    /// 00F3: `Name : message` and a zero. A wrong name has no answer.
    fn chat(&self, state: &mut State, text: &[u8]) {
        let line = until_zero(text);
        if line.len() + 1 != text.len() {
            return; // not ended by its only zero
        }
        let prefix = format!("{} : ", self.account.character());
        let (Some(message), Ok(line)) = (
            line.strip_prefix(prefix.as_bytes()),
            std::str::from_utf8(line),
        ) else {
            return;
        };
        let message = String::from_utf8_lossy(message);
        match go_target(&message) {
            Some(map) => self.go(state, map.landing(), Some("Warped.")),
            None if message.starts_with('@') => {
                self.tell(&packets::own_line(&format!(
                    "{message} is Unknown Command."
                )));
            }
            None => {
                self.tell(&packets::own_line(line));
                let others = packets::others_line(self.account.aid(), line.as_bytes());
                if let Some(map) = state.map_of(self.account) {
                    state.tell_others(self.account, map, &others);
                }
            }
        }
    }

    /// 0437: 2 sits down, 3 stands up; doing it twice has no answer.
    fn act(&self, state: &mut State, action: u8) {
        let (posture, packets) = match action {
            2 => (Posture::Sitting, packets::unit_sits(self.account.aid())),
            3 => (Posture::Standing, packets::unit_stands(self.account.aid())),
            _ => return,
        };
        match state.unit(self.account, self.context.id) {
            Some(unit) if unit.posture != posture => unit.posture = posture,
            _ => return,
        }
        self.tell_all(state, &packets);
    }

    /// 0361: only the others are told.
    fn look(&self, state: &mut State, head: u16, direction: u8) {
        let Some(unit) = state.unit(self.account, self.context.id) else {
            return;
        };
        if direction >= DIRECTIONS {
            return;
        }
        unit.direction = direction;
        let map = unit.place.map;
        let packet = packets::unit_looks(self.account.aid(), head, direction);
        state.tell_others(self.account, map, &packet);
    }

    /// 0368: a player or the portal of this map; anybody else has no answer.
    fn name(&self, state: &State, id: u32) {
        let Some(map) = state.map_of(self.account) else {
            return;
        };
        let portal = map.portal();
        if id == portal.id {
            self.tell(&packets::npc_name(portal));
        } else if let Some(account) = Account::by_aid(id)
            && state.stands_on(account, map)
        {
            self.tell(&packets::player_name(account));
        }
    }
}

/// The direction of a walk, counter-clockwise from north; `None` for no way at all.
fn direction_to(from: (u16, u16), to: (u16, u16)) -> Option<u8> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    Some(match (to.0.cmp(&from.0), to.1.cmp(&from.1)) {
        (Equal, Greater) => 0,
        (Less, Greater) => 1,
        (Less, Equal) => 2,
        (Less, Less) => 3,
        (Equal, Less) => 4,
        (Greater, Less) => 5,
        (Greater, Equal) => 6,
        (Greater, Greater) => 7,
        (Equal, Equal) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_go_counter_clockwise_from_north() {
        let around = [
            (5, 6),
            (4, 6),
            (4, 5),
            (4, 4),
            (5, 4),
            (6, 4),
            (6, 5),
            (6, 6),
        ];
        for (direction, to) in (0..).zip(around) {
            assert_eq!(direction_to((5, 5), to), Some(direction));
        }
        assert_eq!(direction_to((5, 5), (5, 5)), None);
    }
}
