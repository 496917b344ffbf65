//! Which connections belong to the same game client.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::counters::Counters;

/// How long a client without connections is usually remembered: between two map servers it has none, and a
/// player may look at the character list for a while.
pub const FORGET_AFTER: Duration = Duration::from_secs(120);

/// How many clients are remembered. When another comes, the one that has been without connections
/// for longest is forgotten; while all have connections, the new one gets no number.
pub const MAX_CLIENTS: usize = 64;

/// A client came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientChange {
    /// A client was numbered.
    Seen(u64),
    /// A client was forgotten, or turned out to be an older one.
    Gone(u64),
}

/// What is known of a client.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// Account id (AID), once a packet has named it.
    pub account: Option<u32>,
    /// Its connections, oldest first.
    pub connections: Vec<u64>,
    /// The map that was last announced to it, without `.gat`.
    pub map: Option<String>,
    /// The map server that was announced with it.
    pub server: Option<SocketAddr>,
    /// What its connections carried that have ended.
    pub ended: Counters,
    /// Since when it has had no connection; time as the owner counts it.
    idle_since: Option<Duration>,
}

/// The game clients of a bridge, numbered from 1. A client is known by its account id (AID), which
/// the login server's acceptance and the first packet to a char or map server name. Times are since
/// any one moment of the owner's choice.
#[derive(Debug)]
pub struct Clients {
    forget_after: Duration,
    last: u64,
    /// At most [`MAX_CLIENTS`].
    clients: BTreeMap<u64, Client>,
    /// Each connection's client.
    of: HashMap<u64, u64>,
    changes: VecDeque<ClientChange>,
}

impl Clients {
    /// Nobody yet. `forget_after`: how long a client without connections is remembered.
    #[must_use]
    pub fn new(forget_after: Duration) -> Clients {
        Clients {
            forget_after,
            last: 0,
            clients: BTreeMap::new(),
            of: HashMap::new(),
            changes: VecDeque::new(),
        }
    }

    /// A connection to the login server: a new client, until its account is known. Returns the
    /// client; `None` when there are too many.
    pub fn begin(&mut self, connection: u64) -> Option<u64> {
        let client = self.number()?;
        self.attach(connection, client);
        Some(client)
    }

    /// The connection belongs to this account: to the client of that account, if there is one, else
    /// to the one that the connection began, else to a new one. Returns the client; `None` when there
    /// are too many.
    pub fn account(&mut self, connection: u64, account: u32) -> Option<u64> {
        let own = self.of(connection);
        let known = self.clients.iter();
        let mut known = known.filter(|(_, client)| client.account == Some(account));
        let client = match (known.next().map(|(number, _)| *number), own) {
            (Some(known), Some(own)) if known == own => known,
            (Some(known), Some(own)) => {
                self.leave(connection, own);
                known
            }
            (Some(known), None) => known,
            // Nobody else's account is overwritten: a connection names one account only.
            (None, Some(own)) => own,
            (None, None) => self.number()?,
        };
        self.attach(connection, client);
        if let Some(entry) = self.clients.get_mut(&client) {
            entry.account = Some(account);
        }
        Some(client)
    }

    /// The client of a connection.
    #[must_use]
    pub fn of(&self, connection: u64) -> Option<u64> {
        self.of.get(&connection).copied()
    }

    /// A connection's server announced a map server, and the map to enter there.
    pub fn announced(&mut self, connection: u64, server: SocketAddr, map: Option<&str>) {
        if let Some(client) = self.entry(connection) {
            client.server = Some(server);
            client.map = map.map(str::to_owned);
        }
    }

    /// The player was sent to a map, which lies where the connection goes unless a server was
    /// announced with it.
    pub fn map_changed(&mut self, connection: u64, map: &str) {
        if let Some(client) = self.entry(connection) {
            client.map = Some(map.to_owned());
        }
    }

    /// The map that a client goes to when it connects to `server`: the last one announced to it, if
    /// it was announced there.
    #[must_use]
    pub fn map_at(&self, client: u64, server: SocketAddr) -> Option<&str> {
        let client = self.clients.get(&client)?;
        let map = client.map.as_deref();
        map.filter(|_| client.server == Some(server))
    }

    /// A connection has ended. A client that never named an account is forgotten with its last one.
    pub fn ended(&mut self, connection: u64, carried: &Counters, now: Duration) {
        let Some(number) = self.of.remove(&connection) else {
            return;
        };
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        client.connections.retain(|other| *other != connection);
        client.ended.add(carried);
        if client.connections.is_empty() {
            client.idle_since = Some(now);
            if client.account.is_none() {
                self.forget(number);
            }
        }
    }

    /// Forgets the clients that have been without connections for too long.
    pub fn expire(&mut self, now: Duration) {
        let over = |client: &Client| {
            let since = client.idle_since;
            since.is_some_and(|since| now >= since + self.forget_after)
        };
        let clients = self.clients.iter();
        let gone: Vec<u64> = clients
            .filter(|(_, client)| over(client))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            self.forget(number);
        }
    }

    /// When [`Clients::expire`] will have something to forget, if nothing else happens.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        let idle = self.clients.values().filter_map(|client| client.idle_since);
        idle.min().map(|since| since + self.forget_after)
    }

    /// What came and went since this was asked last, oldest first; `None` when all is told.
    pub fn poll_change(&mut self) -> Option<ClientChange> {
        self.changes.pop_front()
    }

    /// Every client with its number, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Client)> {
        self.clients
            .iter()
            .map(|(number, client)| (*number, client))
    }

    fn entry(&mut self, connection: u64) -> Option<&mut Client> {
        let client = self.of.get(&connection)?;
        self.clients.get_mut(client)
    }

    /// A new client.
    fn number(&mut self) -> Option<u64> {
        if self.clients.len() >= MAX_CLIENTS {
            let idle = self.clients.iter();
            let (_, longest) = idle
                .filter_map(|(number, client)| Some((client.idle_since?, *number)))
                .min()?;
            self.forget(longest);
        }
        self.last += 1;
        self.clients.insert(self.last, Client::default());
        self.changes.push_back(ClientChange::Seen(self.last));
        Some(self.last)
    }

    fn attach(&mut self, connection: u64, client: u64) {
        self.of.insert(connection, client);
        if let Some(entry) = self.clients.get_mut(&client) {
            entry.idle_since = None;
            if !entry.connections.contains(&connection) {
                entry.connections.push(connection);
            }
        }
    }

    /// The connection moves on to another client. The one that it leaves was only begun by it.
    fn leave(&mut self, connection: u64, client: u64) {
        if let Some(entry) = self.clients.get_mut(&client) {
            entry.connections.retain(|other| *other != connection);
            if entry.connections.is_empty() {
                self.forget(client);
            }
        }
    }

    fn forget(&mut self, client: u64) {
        if self.clients.remove(&client).is_some() {
            self.changes.push_back(ClientChange::Gone(client));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientChange::{Gone, Seen};

    const START: Duration = Duration::from_secs(1_000);

    fn changes(clients: &mut Clients) -> Vec<ClientChange> {
        std::iter::from_fn(|| clients.poll_change()).collect()
    }

    fn end(clients: &mut Clients, connection: u64, now: Duration) {
        clients.ended(connection, &Counters::default(), now);
    }

    fn server(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn login_char_and_map_of_one_account_are_one_client() {
        let mut clients = Clients::new(FORGET_AFTER);
        assert_eq!(clients.begin(1), Some(1));
        assert_eq!(clients.account(1, 2_000_000), Some(1));
        end(&mut clients, 1, START);
        assert_eq!(clients.account(2, 2_000_000), Some(1));
        // Another client in between.
        assert_eq!(clients.begin(3), Some(2));
        assert_eq!(clients.account(3, 2_000_001), Some(2));
        end(&mut clients, 2, START);
        assert_eq!(clients.account(4, 2_000_000), Some(1));
        assert_eq!(clients.of(4), Some(1));
        assert_eq!(clients.of(2), None);
        assert_eq!(changes(&mut clients), [Seen(1), Seen(2)]);
    }

    #[test]
    fn a_second_login_of_an_account_is_the_older_client() {
        let mut clients = Clients::new(FORGET_AFTER);
        clients.begin(1);
        clients.account(1, 7);
        end(&mut clients, 1, START);
        assert_eq!(clients.begin(2), Some(2));
        assert_eq!(clients.account(2, 7), Some(1));
        assert_eq!(clients.of(2), Some(1));
        assert_eq!(changes(&mut clients), [Seen(1), Seen(2), Gone(2)]);
        // Said twice, it is no change.
        assert_eq!(clients.account(2, 7), Some(1));
        assert_eq!(clients.iter().count(), 1);
        assert_eq!(changes(&mut clients), []);
    }

    #[test]
    fn a_client_that_was_not_seen_at_login_is_numbered_later() {
        let mut clients = Clients::new(FORGET_AFTER);
        assert_eq!(clients.of(5), None);
        assert_eq!(clients.account(5, 9), Some(1));
        assert_eq!(changes(&mut clients), [Seen(1)]);
    }

    #[test]
    fn a_login_that_failed_is_forgotten_at_once() {
        let mut clients = Clients::new(FORGET_AFTER);
        clients.begin(1);
        end(&mut clients, 1, START);
        assert_eq!(changes(&mut clients), [Seen(1), Gone(1)]);
        assert_eq!(clients.next_expiry(), None);
    }

    #[test]
    fn a_client_without_connections_is_forgotten_after_two_minutes() {
        let mut clients = Clients::new(FORGET_AFTER);
        clients.account(1, 7);
        clients.account(2, 7);
        end(&mut clients, 1, START);
        assert_eq!(clients.next_expiry(), None, "it has another connection");
        end(&mut clients, 2, START);
        assert_eq!(clients.next_expiry(), Some(START + FORGET_AFTER));
        clients.expire(START + FORGET_AFTER - Duration::from_millis(1));
        assert_eq!(changes(&mut clients), [Seen(1)]);
        // Back in time, it is the same one, and its time begins anew.
        assert_eq!(clients.account(3, 7), Some(1));
        assert_eq!(clients.next_expiry(), None);
        end(&mut clients, 3, START + FORGET_AFTER);
        clients.expire(START + 2 * FORGET_AFTER);
        assert_eq!(changes(&mut clients), [Gone(1)]);
        assert_eq!(clients.account(4, 7), Some(2));
    }

    #[test]
    fn the_longest_unused_gives_way_to_a_new_one() {
        let mut clients = Clients::new(FORGET_AFTER);
        for number in 1..=MAX_CLIENTS as u64 {
            assert_eq!(clients.begin(number), Some(number));
            clients.account(number, u32::try_from(number).unwrap());
        }
        assert_eq!(clients.begin(1_000), None, "all have connections");
        assert_eq!(clients.account(1_001, 99_999), None);
        assert_eq!(clients.of(1_000), None);
        // One that has no number may end as well.
        end(&mut clients, 1_000, START);
        end(&mut clients, 9, START + Duration::from_secs(1));
        end(&mut clients, 5, START + Duration::from_secs(2));
        changes(&mut clients);
        assert_eq!(clients.begin(1_002), Some(65));
        assert_eq!(changes(&mut clients), [Gone(9), Seen(65)]);
        assert_eq!(clients.iter().count(), MAX_CLIENTS);
    }

    #[test]
    fn the_announced_map_goes_with_its_server() {
        let mut clients = Clients::new(FORGET_AFTER);
        let client = clients.account(1, 7).unwrap();
        assert_eq!(clients.map_at(client, server(5121)), None);
        clients.announced(1, server(5121), Some("prontera"));
        assert_eq!(clients.map_at(client, server(5121)), Some("prontera"));
        assert_eq!(clients.map_at(client, server(5122)), None);
        clients.map_changed(1, "izlude");
        assert_eq!(clients.map_at(client, server(5121)), Some("izlude"));
        // Whose connections nobody knows, nobody's map changes.
        clients.map_changed(2, "geffen");
        clients.announced(2, server(1), None);
        assert_eq!(clients.map_at(client, server(5121)), Some("izlude"));
        clients.announced(1, server(5122), None);
        assert_eq!(clients.map_at(client, server(5122)), None);
    }

    #[test]
    fn what_ended_connections_carried_adds_up() {
        let mut clients = Clients::new(FORGET_AFTER);
        let mut carried = Counters::default();
        carried.count_raw(warp_ro_packet::Direction::ClientToServer, None, 10);
        for connection in [1, 2] {
            clients.account(connection, 7);
            clients.ended(connection, &carried, START);
        }
        let (_, client) = clients.iter().next().unwrap();
        let total = client
            .ended
            .total(warp_ro_packet::Direction::ClientToServer);
        assert_eq!((total.packets, total.bytes), (2, 20));
    }
}
