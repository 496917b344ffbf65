//! Who is where: session numbers, tickets, seats and units, behind one lock.
//!
//! The lock is never held across an await; queueing a packet in somebody's outbox under it is
//! what makes the order of packets the same for everybody.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::CloseReason;
use super::outbox::Outbox;
use crate::game::{Account, Map, Place};
use crate::report::{Role, role_name, session_key};
use crate::wire::Dialect;
use crate::wire::packets::{self, LoginIds, Vanish};
use crate::wire::tick::tick_at;
use crate::wire::units::{Looks, Posture};

/// How long a fight keeps its unit on the map after the last blow.
const FIGHT: Duration = Duration::from_secs(10);
/// How long an account is locked whose connection ended while it loaded its first map.
const LOCK: Duration = Duration::from_secs(30);

/// 0081: somebody else logged in with this account.
const LOGGED_IN_ELSEWHERE: u8 = 2;

/// A connection that an account sits on.
pub(super) struct Seat {
    connection: u64,
    outbox: Arc<Outbox>,
}

impl Seat {
    pub(super) fn new(connection: u64, outbox: &Arc<Outbox>) -> Self {
        Self {
            connection,
            outbox: Arc::clone(outbox),
        }
    }

    fn kick(&self) {
        self.outbox.push(&packets::notify_ban(LOGGED_IN_ELSEWHERE));
        self.outbox.close(CloseReason::Kicked);
    }
}

/// Good for entering one map server once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MapTicket {
    pub(super) server: usize,
    pub(super) place: Place,
    /// From the character selection (and not from another map server).
    pub(super) fresh: bool,
}

/// What somebody shows who enters a map server.
pub(super) struct MapClaim {
    pub(super) gid: u32,
    pub(super) login_id1: u32,
    pub(super) sex: u8,
    pub(super) server: usize,
}

/// The answer to that.
pub(super) enum Entry {
    Accepted(MapTicket),
    /// The same ids are on the map already.
    StillOnline,
    Refused,
}

#[derive(Default)]
struct AccountState {
    /// The session numbers of the last login.
    ids: Option<LoginIds>,
    /// They are good for one 0065.
    char_ticket: bool,
    map_ticket: Option<MapTicket>,
    char_seat: Option<Seat>,
    map_seat: Option<Seat>,
    /// Between two servers, with a ticket in hand.
    in_transit: bool,
    /// What is left of a connection that has ended keeps the account online until then.
    held_until: Option<Instant>,
    /// The pin was right in this login session.
    pin_shown: bool,
    /// Connections of this login session, for their keys.
    char_connections: u32,
    map_connections: u32,
    /// Connections that no login session answers for.
    refused: u32,
}

impl AccountState {
    fn held(&self) -> bool {
        self.held_until.is_some_and(|until| Instant::now() < until)
    }

    /// Keeps the account online at least for so long.
    fn hold(&mut self, length: Duration) {
        let until = Some(Instant::now() + length);
        self.held_until = self.held_until.max(until);
    }

    fn online(&self) -> bool {
        self.held() || self.char_seat.is_some() || self.map_seat.is_some() || self.in_transit
    }
}

/// A player on a map server.
pub(super) struct Unit {
    pub(super) account: Account,
    connection: u64,
    outbox: Arc<Outbox>,
    pub(super) place: Place,
    pub(super) direction: u8,
    pub(super) posture: Posture,
    /// 007D has come: the unit stands on the map.
    pub(super) loaded: bool,
    /// It was loaded at least once: before, whoever leaves locks the account.
    settled: bool,
    /// In a fight until then.
    fight_until: Option<Instant>,
}

impl Unit {
    /// It attacks somebody.
    pub(super) fn attack(&mut self) {
        self.fight_until = Some(Instant::now() + FIGHT);
    }

    /// How long its fight still lasts.
    pub(super) fn fights(&self) -> Option<Duration> {
        let left = self.fight_until?.checked_duration_since(Instant::now())?;
        Some(left).filter(|left| !left.is_zero())
    }

    /// 007D has come.
    pub(super) fn load(&mut self) {
        (self.loaded, self.settled) = (true, true);
    }

    pub(super) fn standing(&self, dialect: &Dialect) -> Vec<u8> {
        let at = (self.place.x, self.place.y);
        let looks = Looks::player(self.account);
        dialect.standing(&looks, at, self.direction, self.posture)
    }
}

/// Everything behind the lock.
#[derive(Default)]
pub(super) struct State {
    /// At most one entry for each of the 99 accounts.
    accounts: HashMap<Account, AccountState>,
    /// By account: at most 99.
    units: BTreeMap<Account, Unit>,
}

impl State {
    /// The unit of `account` if it still belongs to `connection`.
    pub(super) fn unit(&mut self, account: Account, connection: u64) -> Option<&mut Unit> {
        self.units
            .get_mut(&account)
            .filter(|unit| unit.connection == connection)
    }

    /// The map that the account's unit is on, loaded or not.
    pub(super) fn map_of(&self, account: Account) -> Option<Map> {
        self.units.get(&account).map(|unit| unit.place.map)
    }

    /// Whether the account's unit stands on `map`.
    pub(super) fn stands_on(&self, account: Account, map: Map) -> bool {
        self.units
            .get(&account)
            .is_some_and(|unit| unit.loaded && unit.place.map == map)
    }

    /// Everybody else who stands on `map`.
    pub(super) fn others(&self, account: Account, map: Map) -> impl Iterator<Item = &Unit> {
        self.units
            .values()
            .filter(move |unit| unit.account != account && unit.loaded && unit.place.map == map)
    }

    /// Queues packets for everybody else on `map`.
    pub(super) fn tell_others(&self, account: Account, map: Map, packets: &[u8]) {
        for unit in self.others(account, map) {
            unit.outbox.push(packets);
        }
    }

    /// Takes the unit off the map and tells who saw it.
    fn remove_unit(&mut self, account: Account, why: Vanish) {
        if let Some(unit) = self.units.remove(&account)
            && unit.loaded
        {
            self.tell_others(
                account,
                unit.place.map,
                &packets::vanish(account.aid(), why),
            );
        }
    }

    /// Moves the unit to another map of the same server; it has to load (007D) there.
    pub(super) fn move_unit(&mut self, account: Account, to: Place) {
        let Some(unit) = self.units.get_mut(&account) else {
            return;
        };
        let from = std::mem::replace(&mut unit.place, to).map;
        unit.direction = 0;
        unit.posture = Posture::Standing;
        if std::mem::replace(&mut unit.loaded, false) {
            self.tell_others(
                account,
                from,
                &packets::vanish(account.aid(), Vanish::Teleported),
            );
        }
    }

    /// Drops the unit for its journey to the other map server.
    pub(super) fn hand_over(&mut self, account: Account, ticket: MapTicket) {
        self.remove_unit(account, Vanish::OutOfSight);
        let state = self.accounts.entry(account).or_default();
        state.map_seat = None;
        state.map_ticket = Some(ticket);
        state.in_transit = true;
    }

    /// The login's ids are good for the char server once more (00B2).
    pub(super) fn renew_char_ticket(&mut self, account: Account) {
        let state = self.accounts.entry(account).or_default();
        state.char_ticket = true;
        state.in_transit = true;
    }
}

/// The state and what does not change while the server runs.
pub(super) struct World {
    state: Mutex<State>,
    started: Instant,
    connections: AtomicU64,
    char_server: SocketAddrV4,
    map_server: SocketAddrV4,
    second_map_server: Option<SocketAddrV4>,
}

impl World {
    pub(super) fn new(
        char_server: SocketAddrV4,
        map_server: SocketAddrV4,
        second_map_server: Option<SocketAddrV4>,
    ) -> Self {
        Self {
            state: Mutex::default(),
            started: Instant::now(),
            connections: AtomicU64::new(0),
            char_server,
            map_server,
            second_map_server,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The server tick: see `wire::tick`.
    pub(super) fn tick(&self) -> u32 {
        tick_at(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn char_server(&self) -> SocketAddrV4 {
        self.char_server
    }

    /// The address of map server 0 or 1; without a second one both are the first.
    pub(super) fn map_server(&self, server: usize) -> SocketAddrV4 {
        match server {
            0 => self.map_server,
            _ => self.second_map_server.unwrap_or(self.map_server),
        }
    }

    /// Which map server holds a map.
    pub(super) fn server_of(&self, map: Map) -> usize {
        usize::from(map == Map::Geffen && self.second_map_server.is_some())
    }

    pub(super) fn players_online(&self) -> usize {
        self.lock()
            .units
            .values()
            .filter(|unit| unit.loaded)
            .count()
    }

    /// The key of a connection that no login session answers for.
    pub(super) fn refused_key(&self, role: Role, account: Account) -> String {
        let mut state = self.lock();
        let refused = &mut state.accounts.entry(account).or_default().refused;
        *refused = refused.saturating_add(1);
        format!("{}:{}:refused-{refused}", role_name(role), account.user())
    }

    /// Counts a char or map connection that showed `login_id1`; its key.
    pub(super) fn count_connection(&self, role: Role, account: Account, login_id1: u32) -> String {
        {
            let mut state = self.lock();
            let state = state.accounts.entry(account).or_default();
            if state.ids.is_some_and(|ids| ids.login_id1 == login_id1) {
                let count = match role {
                    Role::Map => &mut state.map_connections,
                    Role::Char | Role::Login => &mut state.char_connections,
                };
                *count = count.saturating_add(1);
                return session_key(role, &account.user(), login_id1, *count);
            }
        }
        self.refused_key(role, account)
    }

    /// A right password: new session numbers, or `None` if the account is online; in that case
    /// its connections are told and closed, so that the next try succeeds.
    pub(super) fn login(&self, account: Account) -> Option<LoginIds> {
        let mut guard = self.lock();
        let fights = guard.units.get(&account).and_then(Unit::fights);
        let state = guard.accounts.entry(account).or_default();
        if state.online() {
            if let Some(left) = fights {
                state.hold(left);
            }
            for seat in [state.char_seat.take(), state.map_seat.take()]
                .into_iter()
                .flatten()
            {
                seat.kick();
            }
            state.in_transit = false;
            state.char_ticket = false;
            state.map_ticket = None;
            if !state.held() {
                guard.remove_unit(account, Vanish::LoggedOff);
            }
            return None;
        }
        guard.remove_unit(account, Vanish::LoggedOff);
        let state = guard.accounts.entry(account).or_default();
        let ids = LoginIds {
            login_id1: rand::random(),
            login_id2: rand::random(),
            sex: account.sex(),
        };
        *state = AccountState {
            ids: Some(ids),
            char_ticket: true,
            refused: state.refused,
            ..AccountState::default()
        };
        Some(ids)
    }

    /// 0065: takes the login's ticket if the ids are right.
    pub(super) fn enter_char(&self, account: Account, ids: LoginIds, seat: Seat) -> bool {
        let mut guard = self.lock();
        let state = guard.accounts.entry(account).or_default();
        if !state.char_ticket || state.ids != Some(ids) {
            return false;
        }
        state.char_ticket = false;
        state.in_transit = false;
        // After 00B2 the map connection may still be there: the player has left it.
        state.map_seat = None;
        if let Some(old) = state.char_seat.replace(seat) {
            old.kick();
        }
        guard.remove_unit(account, Vanish::LoggedOff);
        true
    }

    /// 0066: makes the ticket for the map server, if this is still the account's session.
    pub(super) fn select_character(&self, account: Account, ids: LoginIds) -> bool {
        let mut guard = self.lock();
        let state = guard.accounts.entry(account).or_default();
        if state.ids != Some(ids) || state.char_seat.is_none() {
            return false;
        }
        state.map_ticket = Some(MapTicket {
            server: 0,
            place: Place::HOME,
            fresh: true,
        });
        state.in_transit = true;
        true
    }

    pub(super) fn leave_char(&self, account: Account, connection: u64) {
        let mut guard = self.lock();
        let state = guard.accounts.entry(account).or_default();
        state
            .char_seat
            .take_if(|seat| seat.connection == connection);
    }

    /// Takes the map ticket if everything is right.
    pub(super) fn enter_map(&self, account: Account, claim: &MapClaim, seat: Seat) -> Entry {
        let mut guard = self.lock();
        let state = guard.accounts.entry(account).or_default();
        let right = state.ids.is_some_and(|ids| {
            ids.login_id1 == claim.login_id1 && ids.sex == claim.sex && account.gid() == claim.gid
        });
        if !right {
            return Entry::Refused;
        }
        if state.map_seat.is_some() {
            return Entry::StillOnline;
        }
        let Some(ticket) = state
            .map_ticket
            .take_if(|ticket| ticket.server == claim.server)
        else {
            return Entry::Refused;
        };
        state.in_transit = false;
        let unit = Unit {
            account,
            connection: seat.connection,
            outbox: Arc::clone(&seat.outbox),
            place: ticket.place,
            direction: 0,
            posture: Posture::Standing,
            loaded: false,
            settled: !ticket.fresh,
            fight_until: None,
        };
        state.map_seat = Some(seat);
        guard.units.insert(account, unit);
        Entry::Accepted(ticket)
    }

    pub(super) fn leave_map(&self, account: Account, connection: u64) {
        let mut guard = self.lock();
        let state = guard.accounts.entry(account).or_default();
        if state
            .map_seat
            .take_if(|seat| seat.connection == connection)
            .is_none()
        {
            return;
        }
        let unit = guard.units.get(&account);
        let (settled, fights) = unit.map_or((true, None), |unit| (unit.settled, unit.fights()));
        let state = guard.accounts.entry(account).or_default();
        match fights {
            Some(left) => state.hold(left),
            None if !settled => state.hold(LOCK),
            None => {}
        }
        if fights.is_none() {
            guard.remove_unit(account, Vanish::LoggedOff);
        }
    }

    /// Whether the pin was right in this login session.
    pub(super) fn pin_shown(&self, account: Account) -> bool {
        let state = self.lock();
        let account = state.accounts.get(&account);
        account.is_some_and(|account| account.pin_shown)
    }

    pub(super) fn show_pin(&self, account: Account) {
        let mut state = self.lock();
        state.accounts.entry(account).or_default().pin_shown = true;
    }
}
