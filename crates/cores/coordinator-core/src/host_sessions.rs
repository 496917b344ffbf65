//! Sessions of the contract: one host serves one zone. A player's own session is another thing; see
//! [`crate::sessions`].
//!
//! Rules:
//! * There is at most one open session per host and zone. To make it again gives the one that there is.
//! * It changes as [`next`] says and never otherwise:
//!
//! | from | activate | pause | end | fail |
//! |---|---|---|---|---|
//! | pending | active | | ended | failed |
//! | active | | paused | ended | failed |
//! | paused | active | | ended | failed |
//! | ended, failed | | | | |
//!
//! * The fleet drives it too. The first player that a host carries in a zone makes a pending session
//!   active, and makes one where there is none. A lease that ends in good order ends it; one that
//!   members' reports or the host's silence end fails it. A paused one has no lease, so only the loss
//!   of its host ends it.
//! * Its players are those that the host carries in the zone, each once, whichever of their two ways
//!   leads over it.
//! * One that has no player and nothing happened to for the given time fails. A busy one never does,
//!   however old, and neither does a paused one.
//! * Only open sessions are kept here. What changed, and what it adds to the zones' counters, is taken
//!   out with [`HostSessions::take_changes`] and given back where it could not be stored.
//!
//! Times are microseconds since 1970; ids are made from randomness by the caller.

use std::collections::{BTreeMap, HashMap};

use warp_protocol::contract::{SessionMetrics, SessionStatus};

use crate::fleet::LeaseEnd;

/// Sessions that are stored at once: few enough to be done within a database's time limit.
pub const MOST_CHANGES: usize = 100;

/// What is done to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// The host serves the zone, from now on or again.
    Activate,
    /// Not for a while.
    Pause,
    /// Over, in good order.
    End,
    /// Over, because something went wrong.
    Fail,
}

impl Change {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Activate, Self::Pause, Self::End, Self::Fail];

    fn verb(self) -> &'static str {
        match self {
            Self::Activate => "activated",
            Self::Pause => "paused",
            Self::End => "ended",
            Self::Fail => "failed",
        }
    }
}

/// What becomes of a session; none: that is not allowed.
pub fn next(from: SessionStatus, change: Change) -> Option<SessionStatus> {
    use SessionStatus::{Active, Ended, Failed, Paused, Pending};
    match (from, change) {
        (Pending | Paused, Change::Activate) => Some(Active),
        (Active, Change::Pause) => Some(Paused),
        (Pending | Active | Paused, Change::End) => Some(Ended),
        (Pending | Active | Paused, Change::Fail) => Some(Failed),
        _ => None,
    }
}

/// A change that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session that is {} cannot be {}", .from.name(), .change.verb())]
pub struct IllegalChange {
    /// What the session is.
    pub from: SessionStatus,
    /// What was asked for.
    pub change: Change,
}

/// Names of a new session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionIds {
    /// Row id, above 0.
    pub id: i64,
    /// `session-` and 16 hex digits.
    pub session_id: String,
}

/// A host and a zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// The host.
    pub host_id: String,
    /// The zone.
    pub zone_id: String,
}

/// One session.
#[derive(Debug, Clone, PartialEq)]
pub struct HostSession {
    /// Its names.
    pub ids: SessionIds,
    /// Who serves what.
    pub pair: Pair,
    /// Where it is in its life.
    pub status: SessionStatus,
    /// Why it is paused or over.
    pub reason: Option<String>,
    /// Players at most.
    pub max_players: u32,
    /// As it was told.
    pub metrics: SessionMetrics,
    /// When it was made.
    pub created_at: i64,
    /// When it last changed.
    pub updated_at: i64,
    /// When it was first active.
    pub started_at: Option<i64>,
    /// When it was over.
    pub ended_at: Option<i64>,
    /// Each player that is carried, with the number of ways.
    players: BTreeMap<String, u32>,
    /// Since when nothing happens.
    idle_since: i64,
}

impl HostSession {
    /// Names of the players that are carried.
    pub fn players(&self) -> impl Iterator<Item = &str> {
        self.players.keys().map(String::as_str)
    }

    /// How many those are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.players.len()).unwrap_or(u32::MAX)
    }

    fn change(
        &mut self,
        change: Change,
        reason: Option<String>,
        at: i64,
    ) -> Result<(), IllegalChange> {
        let from = self.status;
        self.status = next(from, change).ok_or(IllegalChange { from, change })?;
        self.updated_at = at;
        self.idle_since = at;
        self.reason = reason;
        if change == Change::Activate {
            self.started_at.get_or_insert(at);
        }
        if !self.status.is_open() {
            self.ended_at = Some(at);
            self.players.clear();
        }
        Ok(())
    }
}

/// What is added to a zone's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZoneAdded {
    /// Sessions that were made.
    pub sessions: u64,
    /// Players that came.
    pub players: u64,
}

/// What is to be stored.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// Sessions as they are now.
    pub sessions: Vec<HostSession>,
    /// What is added to the counters of each zone.
    pub zones: BTreeMap<String, ZoneAdded>,
}

impl Changes {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.zones.is_empty()
    }
}

/// All open sessions.
#[derive(Debug, Default)]
pub struct HostSessions {
    open: BTreeMap<Pair, HostSession>,
    /// By row id and by text id.
    pairs: HashMap<i64, Pair>,
    by_name: HashMap<String, Pair>,
    /// Who is carried in which slot of a host's room, and in which session.
    slots: HashMap<(String, u32), (i64, String)>,
    changed: BTreeMap<i64, HostSession>,
    added: BTreeMap<String, ZoneAdded>,
}

impl HostSessions {
    /// Makes a session; true: it is new. The limit of one that there is already follows.
    pub fn open(
        &mut self,
        ids: SessionIds,
        pair: Pair,
        max_players: u32,
        at: i64,
    ) -> (&HostSession, bool) {
        let is_new = !self.open.contains_key(&pair);
        if is_new {
            self.pairs.insert(ids.id, pair.clone());
            self.by_name.insert(ids.session_id.clone(), pair.clone());
            self.added.entry(pair.zone_id.clone()).or_default().sessions += 1;
        }
        let session = self.open.entry(pair.clone()).or_insert(HostSession {
            ids,
            pair,
            status: SessionStatus::Pending,
            reason: None,
            max_players,
            metrics: SessionMetrics::default(),
            created_at: at,
            updated_at: at,
            started_at: None,
            ended_at: None,
            players: BTreeMap::new(),
            idle_since: at,
        });
        if is_new || session.max_players != max_players {
            session.max_players = max_players;
            session.updated_at = at;
            self.changed.insert(session.ids.id, session.clone());
        }
        (session, is_new)
    }

    /// An open session, by either id.
    pub fn get(&self, id: &str) -> Option<&HostSession> {
        let by_row = || id.parse().ok().and_then(|id: i64| self.pairs.get(&id));
        let pair = self.by_name.get(id).or_else(by_row)?;
        self.open.get(pair)
    }

    /// The open session of a host in a zone.
    pub fn of(&self, pair: &Pair) -> Option<&HostSession> {
        self.open.get(pair)
    }

    /// All open sessions.
    pub fn all(&self) -> impl Iterator<Item = &HostSession> {
        self.open.values()
    }

    /// How many are active in a zone.
    pub fn active_in(&self, zone_id: &str) -> u64 {
        let active =
            |s: &&HostSession| s.pair.zone_id == zone_id && s.status == SessionStatus::Active;
        self.open.values().filter(active).count() as u64
    }

    /// Changes a session. None: there is no such open one.
    pub fn change(
        &mut self,
        pair: &Pair,
        change: Change,
        reason: Option<String>,
        at: i64,
    ) -> Option<Result<HostSession, IllegalChange>> {
        let session = self.open.get_mut(pair)?;
        if let Err(illegal) = session.change(change, reason, at) {
            return Some(Err(illegal));
        }
        let session = session.clone();
        self.changed.insert(session.ids.id, session.clone());
        if !session.status.is_open() {
            self.open.remove(pair);
            self.pairs.remove(&session.ids.id);
            self.by_name.remove(&session.ids.session_id);
            self.slots.retain(|_, (id, _)| *id != session.ids.id);
        }
        Some(Ok(session))
    }

    /// Enters what a session is told of its quality. None: there is no such open one.
    pub fn measured(&mut self, pair: &Pair, told: SessionMetrics, at: i64) -> Option<&HostSession> {
        let session = self.open.get_mut(pair)?;
        let metrics = &mut session.metrics;
        for (kept, told) in [
            (&mut metrics.avg_latency_ms, told.avg_latency_ms),
            (&mut metrics.packet_loss_percent, told.packet_loss_percent),
            (&mut metrics.bandwidth_usage_mbps, told.bandwidth_usage_mbps),
        ] {
            *kept = told.or(*kept);
        }
        session.updated_at = at;
        session.idle_since = at;
        self.changed.insert(session.ids.id, session.clone());
        Some(session)
    }

    /// A host begins to carry a player in a slot of its room.
    pub fn carried(
        &mut self,
        slot: (String, u32),
        player: &str,
        (ids, pair, max_players): (SessionIds, Pair, u32),
        at: i64,
    ) {
        self.open(ids, pair.clone(), max_players, at);
        let Some(session) = self.open.get_mut(&pair) else {
            return;
        };
        if session.status == SessionStatus::Pending {
            // Pending to active is in the table.
            let _ = session.change(Change::Activate, None, at);
        }
        let ways = session.players.entry(player.to_owned()).or_default();
        *ways += 1;
        if *ways == 1 {
            self.added.entry(pair.zone_id.clone()).or_default().players += 1;
        }
        session.updated_at = at;
        session.idle_since = at;
        let id = session.ids.id;
        self.changed.insert(id, session.clone());
        self.slots.insert(slot, (id, player.to_owned()));
    }

    /// A host carries nobody in that slot any more.
    pub fn let_go(&mut self, slot: &(String, u32), at: i64) {
        let Some((id, player)) = self.slots.remove(slot) else {
            return;
        };
        let pair = self.pairs.get(&id);
        let Some(session) = pair.and_then(|pair| self.open.get_mut(pair)) else {
            return;
        };
        if let Some(ways) = session.players.get_mut(&player) {
            *ways = ways.saturating_sub(1);
            if *ways == 0 {
                session.players.remove(&player);
            }
        }
        session.updated_at = at;
        session.idle_since = at;
        self.changed.insert(id, session.clone());
    }

    /// A host's lease in a zone has ended.
    pub fn lease_ended(&mut self, pair: &Pair, why: LeaseEnd, at: i64) {
        let open = self.open.get(pair);
        if open.is_none_or(|session| session.status == SessionStatus::Paused) {
            return;
        }
        let (change, reason) = match why {
            LeaseEnd::Silent => (Change::Fail, "the host was not heard of any more"),
            LeaseEnd::Reported => (Change::Fail, "its players found the host bad"),
            LeaseEnd::Draining => (Change::End, "the host gave its players away"),
            LeaseEnd::Removed => (Change::End, "the host was taken out of the zone"),
            LeaseEnd::Policy => (Change::End, "the zone has no peer-to-peer paths any more"),
        };
        self.change(pair, change, Some(reason.to_owned()), at);
    }

    /// A host is not heard of: all of its sessions fail.
    pub fn host_lost(&mut self, host_id: &str, at: i64) {
        self.all_of(
            host_id,
            Change::Fail,
            "the host was not heard of any more",
            at,
        );
    }

    /// A host is gone: all of its sessions end.
    pub fn host_gone(&mut self, host_id: &str, at: i64) {
        self.all_of(host_id, Change::End, "the host is gone", at);
    }

    fn all_of(&mut self, host_id: &str, change: Change, reason: &str, at: i64) {
        let pairs = self.open.keys().filter(|pair| pair.host_id == host_id);
        let pairs: Vec<Pair> = pairs.cloned().collect();
        for pair in pairs {
            self.change(&pair, change, Some(reason.to_owned()), at);
        }
    }

    /// Fails what nobody is in and nothing happened to for `idle` microseconds. Gives how many.
    pub fn fail_idle(&mut self, idle: i64, at: i64) -> usize {
        let stale = self.open.values().filter(|session| {
            session.status != SessionStatus::Paused
                && session.players.is_empty()
                && at.saturating_sub(session.idle_since) >= idle
        });
        let stale: Vec<Pair> = stale.map(|session| session.pair.clone()).collect();
        for pair in &stale {
            let reason = "nobody was there for too long".to_owned();
            self.change(pair, Change::Fail, Some(reason), at);
        }
        stale.len()
    }

    /// Whether there is anything to be stored.
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty() || !self.added.is_empty()
    }

    /// What is to be stored next, [`MOST_CHANGES`] sessions at most; it counts as stored from now on.
    pub fn take_changes(&mut self) -> Changes {
        let some = std::iter::from_fn(|| self.changed.pop_first());
        let some = some.map(|(_, session)| session).take(MOST_CHANGES);
        Changes {
            sessions: some.collect(),
            zones: std::mem::take(&mut self.added),
        }
    }

    /// What could not be stored. What has changed since goes before it.
    pub fn give_back(&mut self, changes: Changes) {
        for session in changes.sessions {
            self.changed.entry(session.ids.id).or_insert(session);
        }
        for (zone_id, added) in changes.zones {
            let entry = self.added.entry(zone_id).or_default();
            entry.sessions += added.sessions;
            entry.players += added.players;
        }
    }
}

#[cfg(test)]
mod tests;
