//! Sessions: which account plays in which zone, by which device.
//!
//! Rules:
//! * one live session per (account, device key, zone): a newer one takes the place of the older one;
//! * a session that nothing has attached to by its deadline (60 s by default), or for so long since
//!   the last carrier went away, is due; the caller looks whether its link is up after all and then calls [`Sessions::mark_live`] or
//!   [`Sessions::remove`];
//! * a session and its peer id belong to the account that it was granted to, and to nobody else;
//! * the numbers of sessions, in all and per account, are bounded; a full table refuses.
//!
//! What is asked at each join (whose place it takes, how many are in the zone, what falls due next) is
//! kept beside the sessions, so that a join costs the same in a full table as in an empty one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// Bounds. A session costs well below 1 KiB here.
#[derive(Debug, Clone, Copy)]
pub struct SessionsLimits {
    /// Sessions in all.
    pub total: usize,
    /// Sessions of one account, over all its devices.
    pub per_account: usize,
    /// How long a session waits for its first carrier.
    pub unused: Duration,
}

impl Default for SessionsLimits {
    fn default() -> Self {
        Self {
            total: 4096,
            per_account: 8,
            unused: Duration::from_secs(60),
        }
    }
}

/// A session to be entered in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Its id, made from randomness by the caller.
    pub session_id: String,
    /// The player's peer id in the signaling room.
    pub peer_id: String,
    /// Row id of the account.
    pub account: i64,
    /// The launcher's public key.
    pub device_key: Vec<u8>,
    /// When the certificate of that key was issued, unix seconds; 0 without one.
    pub certified: u64,
    /// The zone.
    pub zone_id: String,
}

/// Whose sessions a revocation ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// Those of this device, whoever plays on it.
    Device(Vec<u8>),
    /// Those of the account whose certificates were issued at this time (unix seconds) or before.
    Account {
        /// Row id of the account.
        account: i64,
        /// When it was revoked.
        at: u64,
    },
}

impl Revoked {
    /// True when it ends such a session.
    pub fn ends(&self, session: &NewSession) -> bool {
        match self {
            Self::Device(key) => session.device_key == *key,
            Self::Account { account, at } => {
                session.account == *account && session.certified <= *at
            }
        }
    }
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What was granted.
    pub grant: NewSession,
    /// When it is due; none once something has attached.
    pub due: Option<Duration>,
}

/// There is no room for another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionsFull {
    /// The coordinator holds as many as it may.
    #[error("the coordinator holds as many sessions as it may; try again later")]
    Total,
    /// The account holds as many as it may.
    #[error("the account has sessions on too many devices; end one of them")]
    Account,
}

/// The table of sessions.
#[derive(Debug)]
pub struct Sessions {
    limits: SessionsLimits,
    by_id: HashMap<String, Session>,
    by_peer: HashMap<String, String>,
    by_account: HashMap<i64, BTreeSet<String>>,
    by_device: HashMap<Device, String>,
    in_zone: HashMap<String, u32>,
    by_due: BTreeSet<(Duration, String)>,
}

/// Account, device key, zone: of each there is at most one session.
type Device = (i64, Vec<u8>, String);

fn device_of(grant: &NewSession) -> Device {
    (
        grant.account,
        grant.device_key.clone(),
        grant.zone_id.clone(),
    )
}

impl Sessions {
    /// An empty table.
    pub fn new(limits: SessionsLimits) -> Self {
        Self {
            limits,
            by_id: HashMap::new(),
            by_peer: HashMap::new(),
            by_account: HashMap::new(),
            by_device: HashMap::new(),
            in_zone: HashMap::new(),
            by_due: BTreeSet::new(),
        }
    }

    /// Enters a session. Gives the one whose place it takes, which is no longer in the table: the
    /// caller revokes it.
    ///
    /// # Errors
    /// A bound is reached; the table is unchanged.
    pub fn grant(
        &mut self,
        now: Duration,
        new: NewSession,
    ) -> Result<Option<Session>, SessionsFull> {
        let device = device_of(&new);
        let older = self.by_device.get(&device).cloned();
        let freed = usize::from(older.is_some());
        let mine = self.by_account.get(&new.account).map_or(0, BTreeSet::len);
        if mine - freed >= self.limits.per_account {
            return Err(SessionsFull::Account);
        }
        if self.by_id.len() - freed >= self.limits.total {
            return Err(SessionsFull::Total);
        }
        let replaced = older.and_then(|id| self.remove(&id));
        let id = new.session_id.clone();
        self.by_peer.insert(new.peer_id.clone(), id.clone());
        self.by_account
            .entry(new.account)
            .or_default()
            .insert(id.clone());
        self.by_device.insert(device, id.clone());
        *self.in_zone.entry(new.zone_id.clone()).or_default() += 1;
        let due = now + self.limits.unused;
        self.by_due.insert((due, id.clone()));
        let due = Some(due);
        self.by_id.insert(id, Session { grant: new, due });
        Ok(replaced)
    }

    /// The session, if it is that account's.
    pub fn owned(&self, session_id: &str, account: i64) -> Option<&Session> {
        self.by_id
            .get(session_id)
            .filter(|s| s.grant.account == account)
    }

    /// The session that a peer id belongs to, if it is that account's.
    pub fn of_peer(&self, peer_id: &str, account: i64) -> Option<&Session> {
        self.owned(self.by_peer.get(peer_id)?, account)
    }

    /// The session of an account, device and zone, if there is one.
    pub fn of_device(&self, account: i64, device_key: &[u8], zone_id: &str) -> Option<&str> {
        let device = (account, device_key.to_vec(), zone_id.to_owned());
        self.by_device.get(&device).map(String::as_str)
    }

    /// Whether two peers' sessions are in one zone; false where either is gone.
    pub fn share_zone(&self, session_id: &str, peer_id: &str) -> bool {
        let zone = |id: &str| self.by_id.get(id).map(|s| s.grant.zone_id.as_str());
        let other = self.by_peer.get(peer_id).and_then(|id| zone(id));
        other.is_some() && other == zone(session_id)
    }

    /// Something has attached: the session no longer falls due. False if there is no such session.
    pub fn mark_live(&mut self, session_id: &str) -> bool {
        self.set_due(session_id, None)
    }

    /// What had attached is gone: the session waits anew. Does nothing without such a session.
    pub fn mark_unused(&mut self, now: Duration, session_id: &str) {
        self.set_due(session_id, Some(now + self.limits.unused));
    }

    /// False if there is no such session.
    fn set_due(&mut self, session_id: &str, due: Option<Duration>) -> bool {
        let Some(session) = self.by_id.get_mut(session_id) else {
            return false;
        };
        if let Some(older) = std::mem::replace(&mut session.due, due) {
            self.by_due.remove(&(older, session_id.to_owned()));
        }
        if let Some(due) = due {
            self.by_due.insert((due, session_id.to_owned()));
        }
        true
    }

    /// Takes a session out.
    pub fn remove(&mut self, session_id: &str) -> Option<Session> {
        let session = self.by_id.remove(session_id)?;
        self.by_peer.remove(&session.grant.peer_id);
        self.by_device.remove(&device_of(&session.grant));
        if let Some(due) = session.due {
            self.by_due.remove(&(due, session_id.to_owned()));
        }
        let zone_id = &session.grant.zone_id;
        if let Some(players) = self.in_zone.get_mut(zone_id) {
            *players -= 1;
            if *players == 0 {
                self.in_zone.remove(zone_id);
            }
        }
        if let Some(ids) = self.by_account.get_mut(&session.grant.account) {
            ids.remove(session_id);
            if ids.is_empty() {
                self.by_account.remove(&session.grant.account);
            }
        }
        Some(session)
    }

    /// Sessions that nothing had attached to by their deadline.
    pub fn due(&self, now: Duration) -> Vec<String> {
        let due = self.by_due.iter().take_while(|(due, _)| *due <= now);
        due.map(|(_, id)| id.clone()).collect()
    }

    /// When the next session falls due.
    pub fn next_due(&self) -> Option<Duration> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// Sessions in a zone.
    pub fn players_in(&self, zone_id: &str) -> u32 {
        self.in_zone.get(zone_id).copied().unwrap_or(0)
    }

    /// Sessions in a zone beside the one that this account and device would replace.
    pub fn others_in(&self, zone_id: &str, account: i64, device_key: &[u8]) -> u32 {
        let own = self.of_device(account, device_key, zone_id).is_some();
        self.players_in(zone_id) - u32::from(own)
    }

    /// Ids of the sessions that a revocation ends.
    pub fn revoked(&self, by: &Revoked) -> Vec<String> {
        let ended = self.by_id.values().filter(|s| by.ends(&s.grant));
        ended.map(|s| s.grant.session_id.clone()).collect()
    }

    /// How many sessions there are, and how many of them something has attached to.
    pub fn tally(&self) -> (usize, usize) {
        let used = self.by_id.values().filter(|s| s.due.is_none()).count();
        (self.by_id.len(), used)
    }

    /// Sessions of each zone that has any.
    pub fn by_zone(&self) -> BTreeMap<String, u32> {
        let mut zones = BTreeMap::new();
        for session in self.by_id.values() {
            let count = zones.entry(session.grant.zone_id.clone()).or_insert(0_u32);
            *count = count.saturating_add(1);
        }
        zones
    }

    /// Peer ids of the sessions of a zone, or of all.
    pub fn peers(&self, zone_id: Option<&str>) -> Vec<String> {
        let sessions = self.by_id.values();
        let wanted = sessions.filter(|s| zone_id.is_none_or(|zone| s.grant.zone_id == zone));
        wanted.map(|s| s.grant.peer_id.clone()).collect()
    }

    /// Peer ids of the same.
    pub fn peers_of(&self, by: &Revoked) -> Vec<String> {
        let ended = self.by_id.values().filter(|s| by.ends(&s.grant));
        ended.map(|s| s.grant.peer_id.clone()).collect()
    }

    /// The session, whoever has it.
    pub fn get(&self, session_id: &str) -> Option<&Session> {
        self.by_id.get(session_id)
    }

    /// All sessions, by their ids.
    pub fn all(&self) -> Vec<Session> {
        let mut all: Vec<Session> = self.by_id.values().cloned().collect();
        all.sort_by(|a, b| a.grant.session_id.cmp(&b.grant.session_id));
        all
    }

    /// Ids of all sessions, in no order.
    pub fn ids(&self) -> Vec<String> {
        self.by_id.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Duration = Duration::from_secs(100);

    fn new(id: &str, account: i64, device: u8) -> NewSession {
        NewSession {
            session_id: id.into(),
            peer_id: format!("player-{id}"),
            account,
            device_key: vec![device],
            certified: 1_000,
            zone_id: "prontera".into(),
        }
    }

    #[test]
    fn a_newer_session_of_a_device_takes_the_place_of_the_older() {
        let mut sessions = Sessions::new(SessionsLimits::default());
        assert_eq!(sessions.grant(T0, new("a", 1, 1)), Ok(None));
        assert_eq!(sessions.grant(T0, new("b", 1, 2)), Ok(None));
        assert_eq!(sessions.grant(T0, new("c", 2, 1)), Ok(None));
        let replaced = sessions.grant(T0, new("d", 1, 1)).unwrap().unwrap();
        assert_eq!(replaced.grant.session_id, "a");
        assert!(sessions.owned("a", 1).is_none());
        assert!(sessions.of_peer("player-a", 1).is_none());
        assert_eq!(sessions.players_in("prontera"), 3);
        assert_eq!(sessions.others_in("prontera", 1, &[1]), 2);
        assert_eq!(sessions.others_in("prontera", 3, &[1]), 3);
        assert_eq!(sessions.players_in("geffen"), 0);
        // A session in another zone stands beside it.
        let elsewhere = NewSession {
            zone_id: "geffen".into(),
            ..new("e", 1, 1)
        };
        assert_eq!(sessions.grant(T0, elsewhere), Ok(None));
        assert!(sessions.owned("d", 1).is_some());
    }

    #[test]
    fn a_revocation_ends_the_devices_sessions_or_the_accounts_older_ones() {
        let mut sessions = Sessions::new(SessionsLimits::default());
        for (id, account, device) in [("a", 1, 1), ("b", 1, 2), ("c", 2, 1), ("d", 2, 3)] {
            sessions.grant(T0, new(id, account, device)).unwrap();
        }
        let sorted = |by| {
            let mut ids = sessions.revoked(&by);
            ids.sort();
            ids
        };
        assert_eq!(sorted(Revoked::Device(vec![1])), ["a", "c"]);
        let account = |at| Revoked::Account { account: 2, at };
        assert_eq!(sorted(account(1_000)), ["c", "d"]);
        assert!(sorted(account(999)).is_empty(), "certified again since");
        assert!(sorted(Revoked::Device(vec![9])).is_empty());
    }

    #[test]
    fn a_session_belongs_to_its_account() {
        let mut sessions = Sessions::new(SessionsLimits::default());
        sessions.grant(T0, new("a", 1, 1)).unwrap();
        assert!(sessions.owned("a", 1).is_some());
        assert!(sessions.owned("a", 2).is_none());
        assert!(sessions.of_peer("player-a", 1).is_some());
        assert!(sessions.of_peer("player-a", 2).is_none());
        assert!(sessions.of_peer("player-x", 1).is_none());
        let mut elsewhere = new("b", 2, 2);
        elsewhere.zone_id = "geffen".into();
        sessions.grant(T0, elsewhere).unwrap();
        sessions.grant(T0, new("c", 3, 3)).unwrap();
        assert!(sessions.share_zone("a", "player-c"));
        assert!(!sessions.share_zone("a", "player-b"));
        assert!(!sessions.share_zone("a", "player-x"));
        assert!(!sessions.share_zone("x", "player-x"));
    }

    #[test]
    fn an_unused_session_falls_due_and_a_live_one_does_not() {
        let mut sessions = Sessions::new(SessionsLimits::default());
        sessions.grant(T0, new("a", 1, 1)).unwrap();
        sessions.grant(T0, new("b", 1, 2)).unwrap();
        let deadline = T0 + Duration::from_secs(60);
        assert_eq!(sessions.next_due(), Some(deadline));
        assert!(sessions.due(deadline - Duration::from_nanos(1)).is_empty());
        assert!(sessions.mark_live("b"));
        assert_eq!(sessions.due(deadline), ["a"]);
        assert!(sessions.remove("a").is_some());
        assert_eq!(sessions.next_due(), None);
        sessions.mark_unused(deadline, "b");
        sessions.mark_unused(deadline, "a");
        assert_eq!(
            sessions.next_due(),
            Some(deadline + Duration::from_secs(60))
        );
        assert!(!sessions.mark_live("a"));
    }

    #[test]
    fn bounds_refuse_and_change_nothing() {
        let mut sessions = Sessions::new(SessionsLimits {
            total: 3,
            per_account: 2,
            ..SessionsLimits::default()
        });
        sessions.grant(T0, new("a", 1, 1)).unwrap();
        sessions.grant(T0, new("b", 1, 2)).unwrap();
        assert_eq!(
            sessions.grant(T0, new("c", 1, 3)),
            Err(SessionsFull::Account)
        );
        sessions.grant(T0, new("d", 2, 1)).unwrap();
        assert_eq!(sessions.grant(T0, new("e", 3, 1)), Err(SessionsFull::Total));
        // A replacement needs no room of its own.
        assert!(sessions.grant(T0, new("f", 1, 1)).unwrap().is_some());
        assert_eq!(sessions.ids().len(), 3);
    }

    proptest::proptest! {
        /// What is kept beside the sessions is what counting them would give.
        #[test]
        fn what_is_kept_beside_is_true(
            steps in proptest::collection::vec((0_u8..5, 0_i64..3, 0_u8..3, 0_u64..50), 1..80),
        ) {
            let mut sessions = Sessions::new(SessionsLimits::default());
            let zones = ["prontera", "payon"];
            let mut names = Vec::new();
            for (number, (step, account, device, at)) in steps.into_iter().enumerate() {
                let now = T0 + Duration::from_secs(at);
                let id = format!("s{number}");
                let any = names.get(usize::from(device)).unwrap_or(&id).clone();
                match step {
                    0 | 1 => {
                        let mut new = new(&id, account, device);
                        new.zone_id = zones[usize::from(step)].into();
                        if sessions.grant(now, new).is_ok() {
                            names.insert(0, id);
                        }
                    }
                    2 => drop(sessions.remove(&any)),
                    3 => drop(sessions.mark_live(&any)),
                    _ => sessions.mark_unused(now, &any),
                }
                let all: Vec<Session> = sessions.by_id.values().cloned().collect();
                proptest::prop_assert_eq!(sessions.next_due(), all.iter().filter_map(|s| s.due).min());
                let late = |s: &&Session| s.due.is_some_and(|due| due <= now + Duration::from_secs(60));
                let mut due: Vec<_> = all.iter().filter(late).map(|s| s.grant.session_id.clone()).collect();
                let mut told = sessions.due(now + Duration::from_secs(60));
                due.sort();
                told.sort();
                proptest::prop_assert_eq!(told, due);
                for zone in zones {
                    let here = |s: &&Session| s.grant.zone_id == zone;
                    let count = |wanted: &dyn Fn(&&Session) -> bool| {
                        all.iter().filter(|s| here(s) && wanted(s)).count() as u32
                    };
                    proptest::prop_assert_eq!(sessions.players_in(zone), count(&|_| true));
                    let other = |s: &&Session| {
                        s.grant.account != account || s.grant.device_key != [device]
                    };
                    proptest::prop_assert_eq!(sessions.others_in(zone, account, &[device]), count(&other));
                }
            }
        }
    }
}
