//! A map server: entering, playing, leaving.

use super::connection::Context;
use super::login_server::STILL_ONLINE;
use super::state::{Entry, MapClaim, MapTicket, Seat, State};
use super::{CloseReason, reachable};
use crate::game::{Account, GREETING, MAP_SIZE, Place, WALK_RANGE, go_target, unknown_command};
use crate::report::Role;
use crate::wire::requests::{MapEnter, Request};
use crate::wire::units::{Looks, Posture};
use crate::wire::{Dialect, packets};

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
        match (self.account, context.shared.dialect.request(frame)) {
            (None, Some(Request::Enter(enter))) => self.enter(context, enter),
            (None, _) => Err(CloseReason::NotEntered),
            (Some(account), request) => {
                if let Some(request) = request {
                    Player { context, account }.handle(request);
                }
                Ok(())
            }
        }
    }

    fn enter(&mut self, context: &Context, enter: MapEnter) -> Result<(), CloseReason> {
        let world = &context.shared.world;
        let MapEnter {
            aid,
            gid,
            login_id1,
            sex,
        } = enter;
        let claim = MapClaim {
            gid,
            login_id1,
            sex,
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
                let dialect = &context.shared.dialect;
                let burst = welcome(dialect, world.tick(), ticket, account);
                context.outbox.push(&burst);
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

/// The burst for who may enter. After a change of map server it lacks greeting and 0091.
fn welcome(dialect: &Dialect, tick: u32, ticket: MapTicket, account: Account) -> Vec<u8> {
    let mut burst = dialect.bag_slots();
    burst.extend(dialect.accept_enter(tick, ticket.place, account.sex()));
    burst.extend(packets::friends());
    if ticket.fresh {
        burst.extend(packets::own_line(GREETING));
        burst.extend(packets::load_map(ticket.place));
    }
    burst.extend(dialect.entry_status());
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
    fn handle(&self, request: Request<'_>) {
        let mut state = self.context.shared.world.lock();
        let Some(unit) = state.unit(self.account, self.context.id) else {
            return; // handed over to another server, or kicked
        };
        match (unit.loaded, request) {
            (false, Request::Loaded) => self.load(&mut state),
            (false, _) => {}
            (true, Request::Ready) => {
                if let Some(confirmed) = self.dialect().load_confirmed() {
                    self.tell(&confirmed);
                }
            }
            (true, Request::Time) => {
                self.tell(&packets::server_time(self.context.shared.world.tick()));
            }
            (true, Request::Walk { x, y }) => self.walk(&mut state, (x, y)),
            (true, Request::Chat(text)) => self.chat(&mut state, text),
            (true, Request::Emote(kind)) => {
                self.tell_all(&state, &packets::unit_emote(self.account.aid(), kind));
            }
            (true, Request::Act(action)) => self.act(&mut state, action),
            (true, Request::Turn { head, direction }) => self.look(&mut state, head, direction),
            (true, Request::Name(id)) => self.name(&state, id),
            (true, Request::CharSelect | Request::Quit) if unit.fights().is_some() => {
                self.tell(&packets::quit_refused());
            }
            (true, Request::CharSelect) => {
                state.renew_char_ticket(self.account);
                self.tell(&packets::char_select_granted());
            }
            (true, Request::Quit) => self.tell(&packets::quit_granted()),
            (true, Request::Enter(_) | Request::Loaded) => {}
        }
    }

    fn dialect(&self) -> &Dialect {
        &self.context.shared.dialect
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
        unit.load();
        let (place, direction) = (unit.place, unit.direction);
        let portal = place.map.portal();
        let dialect = self.dialect();
        let mut burst = dialect.load_head(self.account);
        let (gate, at) = (Looks::portal(portal), (portal.at.x, portal.at.y));
        burst.extend(dialect.standing(&gate, at, 0, Posture::Standing));
        for other in state.others(self.account, place.map) {
            burst.extend(other.standing(dialect));
        }
        burst.extend(dialect.load_tail());
        self.tell(&burst);
        let looks = Looks::player(self.account);
        let arrival = [
            dialect.looks_changed(self.account.aid()),
            dialect.arriving(&looks, (place.x, place.y), direction),
        ];
        state.tell_others(self.account, place.map, &arrival.concat());
    }

    /// Out of reach, off the map or sitting, the request has no answer. Else the walker stands on
    /// its target at once, and may have walked onto a portal.
    fn walk(&self, state: &mut State, (x, y): (u16, u16)) {
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
        let looks = Looks::player(self.account);
        let seen = self.dialect().walking(&looks, tick, from, (x, y));
        state.tell_others(self.account, place.map, &seen);
        let portal = place.map.portal();
        if place == portal.at {
            self.go(state, portal.to, None);
        }
    }

    /// Leads to another place: 0091 on the same server (with a line of chat), the other server's
    /// address if it lies there.
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
            self.tell(&self.dialect().change_server(to, address));
        }
    }

    /// 00F3: `Name : message`. A wrong name has no answer.
    fn chat(&self, state: &mut State, text: &[u8]) {
        self.context.shared.count_line(self.account, text);
        let prefix = format!("{} : ", self.account.character());
        let Some(line) = self.dialect().chat_line(text) else {
            return;
        };
        let Some(message) = line.strip_prefix(&prefix) else {
            return;
        };
        if let Some(map) = go_target(message) {
            self.go(state, map.landing(), Some("Warped."));
        } else if let Some(unknown) = unknown_command(message) {
            self.tell(&packets::own_line(&unknown));
        } else {
            self.tell(&packets::own_line(line));
            let others = packets::others_line(self.account.aid(), line.as_bytes());
            if let Some(map) = state.map_of(self.account) {
                state.tell_others(self.account, map, &others);
            }
        }
    }

    /// 0 and 7 attack, 2 sits down, 3 stands up; sitting or standing twice has no answer.
    fn act(&self, state: &mut State, action: u8) {
        let aid = self.account.aid();
        if matches!(action, 0 | 7) {
            if let Some(unit) = state.unit(self.account, self.context.id) {
                unit.attack();
            }
            return self.tell(&self.dialect().unit_hits(aid));
        }
        let (posture, packets) = match action {
            2 => (Posture::Sitting, self.dialect().unit_sits(aid)),
            3 => (Posture::Standing, self.dialect().unit_stands(aid)),
            _ => return,
        };
        match state.unit(self.account, self.context.id) {
            Some(unit) if unit.posture != posture => unit.posture = posture,
            _ => return,
        }
        self.tell_all(state, &packets.concat());
    }

    /// Only the others are told.
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

    /// A player or the portal of this map; anybody else has no answer.
    fn name(&self, state: &State, id: u32) {
        let Some(map) = state.map_of(self.account) else {
            return;
        };
        let portal = map.portal();
        if id == portal.id {
            self.tell(&self.dialect().npc_name(portal));
        } else if let Some(account) = Account::by_aid(id)
            && state.stands_on(account, map)
        {
            self.tell(&self.dialect().player_name(account));
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
