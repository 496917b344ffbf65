//! Sessions of the contract as they live: the table, driven by what the fleet decides and by what
//! people ask for, and the way into the database.
//!
//! What is asked for is stored before it is answered ([`persist`]); what the fleet decides follows
//! within moments ([`keep_stored`]). What could not be stored stays and is tried again.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use sha2::{Digest, Sha256};
use warp_coordinator_core::{
    FleetOutput, HostSession,
    fleet::{CannotServe, FleetEvent, HostFilter, Routed},
    host_sessions::{Change, IllegalChange, Pair, SessionIds},
};
use warp_protocol::{
    contract::{HostResponse, SessionMetrics, SessionResponse, SessionStatus},
    hosting::{HostView, MAX_ZONES},
};

use super::{Hosting, State};
use crate::{
    api::{Page, Paging},
    app::App,
    live::player_of,
    store::StoreError,
    tokens::{random, rfc3339, unix_micros},
};

/// How long the writer waits after each write, so that what comes at once is written at once.
const WRITE_PAUSE: Duration = Duration::from_millis(100);

/// How often idle sessions are looked for.
const IDLE_EVERY: Duration = Duration::from_secs(30);

/// Who looks at a host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Viewer {
    pub(crate) account: i64,
    /// A game master or operator.
    pub(crate) staff: bool,
}

/// Why a session could not be made, or a player moved.
#[derive(Debug)]
pub(crate) enum NoSession {
    /// The host cannot.
    Cannot(CannotServe),
    /// There is no such open session.
    Unknown,
    /// It is paused.
    Paused,
    /// There are no ids; the system gives no randomness.
    NoRandomness,
}

impl From<CannotServe> for NoSession {
    fn from(why: CannotServe) -> Self {
        Self::Cannot(why)
    }
}

impl State {
    /// Enters what the fleet decided in the table of sessions.
    pub(super) fn follow(&mut self, output: &FleetOutput) {
        let at = unix_micros();
        match output {
            FleetOutput::Route(routed) | FleetOutput::Held(routed) => self.carried(routed, at),
            FleetOutput::Unroute(routed) => {
                let slot = (routed.room.clone(), routed.slot);
                self.sessions.let_go(&slot, at);
            }
            FleetOutput::EndHost { host_id, .. } => self.sessions.host_gone(host_id, at),
            FleetOutput::Event(FleetEvent::LeaseEnded {
                zone_id,
                host_id,
                reason,
                ..
            }) => self
                .sessions
                .lease_ended(&pair(host_id, zone_id), *reason, at),
            FleetOutput::Event(FleetEvent::HostOffline { host_id }) => {
                self.sessions.host_lost(host_id, at);
            }
            _ => {}
        }
    }

    fn carried(&mut self, routed: &Routed, at: i64) {
        let pair = pair(&routed.host_id, &routed.zone_id);
        let known = self.sessions.of(&pair).map(|session| session.ids.clone());
        let Some(ids) = known.or_else(new_ids) else {
            tracing::warn!("no randomness: a host's session is not listed");
            return;
        };
        let most = self.most(&pair);
        let slot = (routed.room.clone(), routed.slot);
        let player = player_of(&routed.peer_id).to_owned();
        self.sessions.carried(slot, &player, (ids, pair, most), at);
    }

    /// Players that a host may carry in a zone.
    fn most(&self, pair: &Pair) -> u32 {
        let zone = self.zone_limits.get(&pair.zone_id).copied();
        let host = self.fleet.record(&pair.host_id);
        let host = host.map(|record| record.max_players);
        zone.unwrap_or(u32::MAX).min(host.unwrap_or(u32::MAX))
    }

    /// Sessions of a player in a zone, as the fleet knows them.
    fn sessions_of(&self, player: &str, zone_id: &str) -> Vec<String> {
        let sessions = self.fleet.sessions_in(zone_id);
        let theirs = sessions.filter(|who| player_of(&who.peer_id) == player);
        theirs.map(|who| who.session_id.clone()).collect()
    }

    fn shown(&self, session: &HostSession, now: Duration) -> SessionResponse {
        let Pair { host_id, zone_id } = &session.pair;
        let (latency, loss) = self.fleet.measured_in(now, host_id, zone_id);
        let told = session.metrics;
        SessionResponse {
            id: session.ids.id,
            session_id: session.ids.session_id.clone(),
            host_id: host_id.clone(),
            zone_id: zone_id.clone(),
            connected_players: session.players().map(str::to_owned).collect(),
            current_players: session.count(),
            max_players: session.max_players,
            status: session.status,
            average_latency_ms: latency.or(told.avg_latency_ms),
            average_packet_loss_percent: loss.or(told.packet_loss_percent),
            bandwidth_usage_mbps: told.bandwidth_usage_mbps,
            reason: session.reason.clone(),
            started_at: session.started_at.map(rfc3339),
            ended_at: session.ended_at.map(rfc3339),
            created_at: rfc3339(session.created_at),
            updated_at: rfc3339(session.updated_at),
        }
    }
}

impl Hosting {
    /// Makes a session, or gives the open one that there is; true: it is new. Named players are
    /// moved to the host.
    pub(crate) fn open_session(
        &self,
        host_id: &str,
        zone_id: &str,
        players: &[String],
    ) -> Result<(SessionResponse, bool), NoSession> {
        self.with(|state, now| {
            let pair = pair(host_id, zone_id);
            let most = state.most(&pair);
            if let Some(session) = state.sessions.of(&pair) {
                return Ok((state.shown(session, now), false));
            }
            state.fleet.may_serve(now, host_id, zone_id)?;
            let mut named = Vec::new();
            for player in players {
                let theirs = state.sessions_of(player, zone_id).into_iter().next();
                named.push(theirs.ok_or(CannotServe::NoPlayer)?);
            }
            let free = state.fleet.host(host_id);
            let free = free.map_or(0, |host| most.saturating_sub(host.current_players));
            if u32::try_from(named.len()).is_ok_and(|wanted| wanted > free) {
                return Err(CannotServe::Full.into());
            }
            let ids = new_ids().ok_or(NoSession::NoRandomness)?;
            state.sessions.open(ids, pair.clone(), most, unix_micros());
            state.fleet.let_in(now, host_id, zone_id);
            for session_id in named {
                if let Err(why) = state.fleet.carry(now, &session_id, host_id) {
                    tracing::info!(session = session_id, host = host_id, %why, "not moved");
                }
            }
            self.carry_out(state);
            let session = state.sessions.of(&pair).ok_or(NoSession::Unknown)?;
            Ok((state.shown(session, now), true))
        })
    }

    /// Changes an open session, with its effect on the fleet. None: there is no such open one.
    pub(crate) fn change_session(
        &self,
        id: &str,
        change: Change,
        reason: Option<String>,
    ) -> Option<Result<SessionStatus, IllegalChange>> {
        self.with(|state, now| {
            let pair = state.sessions.get(id)?.pair.clone();
            let changed = state
                .sessions
                .change(&pair, change, reason, unix_micros())?;
            if changed.is_ok() {
                let Pair { host_id, zone_id } = &pair;
                match change {
                    Change::Activate => state.fleet.let_in(now, host_id, zone_id),
                    Change::Pause | Change::End | Change::Fail => {
                        state.fleet.hold(now, host_id, zone_id);
                    }
                }
            }
            Some(changed.map(|session| session.status))
        })
    }

    /// Enters what an open session is told of its quality. False: there is no such one.
    pub(crate) fn tell_session(&self, id: &str, told: SessionMetrics) -> bool {
        self.with(|state, _| {
            let pair = state.sessions.get(id).map(|session| session.pair.clone());
            pair.is_some_and(|pair| {
                state
                    .sessions
                    .measured(&pair, told, unix_micros())
                    .is_some()
            })
        })
    }

    /// Moves a player of the zone to the session's host.
    pub(crate) fn add_player(&self, id: &str, player: &str) -> Result<(), NoSession> {
        self.with(|state, now| {
            let session = state.sessions.get(id).ok_or(NoSession::Unknown)?;
            let Pair { host_id, zone_id } = session.pair.clone();
            if session.status == SessionStatus::Paused {
                return Err(NoSession::Paused);
            }
            if session.players().any(|there| there == player) {
                return Ok(());
            }
            let full = session.count() >= session.max_players;
            let theirs = state.sessions_of(player, &zone_id);
            let session_id = theirs.first().ok_or(CannotServe::NoPlayer)?;
            if full {
                return Err(CannotServe::Full.into());
            }
            Ok(state.fleet.carry(now, session_id, &host_id)?)
        })
    }

    /// Moves a player off the session's host. False: it is not there.
    pub(crate) fn remove_player(&self, id: &str, player: &str) -> Result<bool, NoSession> {
        self.with(|state, now| {
            let session = state.sessions.get(id).ok_or(NoSession::Unknown)?;
            let Pair { host_id, zone_id } = session.pair.clone();
            let mut was_there = false;
            for session_id in state.sessions_of(player, &zone_id) {
                was_there |= state.fleet.take_off(now, &session_id, &host_id);
            }
            Ok(was_there)
        })
    }

    /// Fails what nobody is in and nothing happened to for so long. Gives how many.
    pub(crate) fn fail_idle_sessions(&self, idle: Duration) -> usize {
        let idle = i64::try_from(idle.as_micros()).unwrap_or(i64::MAX);
        self.with(|state, _| state.sessions.fail_idle(idle, unix_micros()))
    }

    /// An open session as it is now.
    pub(crate) fn open_session_of(&self, id: &str) -> Option<SessionResponse> {
        let now = self.start.elapsed();
        let state = self.state.lock();
        let session = state.sessions.get(id)?;
        Some(state.shown(session, now))
    }

    /// Puts what is known of open sessions in the place of what is stored of them.
    pub(crate) fn freshen(&self, stored: &mut [SessionResponse]) {
        let now = self.start.elapsed();
        let state = self.state.lock();
        for one in stored.iter_mut().filter(|one| one.status.is_open()) {
            if let Some(session) = state.sessions.get(&one.session_id) {
                *one = state.shown(session, now);
            }
        }
    }

    /// How many sessions are active in a zone.
    pub(crate) fn active_sessions(&self, zone_id: &str) -> u64 {
        self.state.lock().sessions.active_in(zone_id)
    }

    /// A page of the hosts, the best first, and how many there are in all.
    pub(crate) fn best_hosts(
        &self,
        filter: HostFilter,
        paging: Paging,
        viewer: Viewer,
    ) -> Page<HostResponse> {
        let state = self.state.lock();
        let (offset, limit) = paging.range();
        let (hosts, total) = state.fleet.best_hosts(filter, offset, limit);
        let hosts = hosts.into_iter();
        Page {
            items: hosts.map(|host| self.seen(&state, host, viewer)).collect(),
            total: total as u64,
        }
    }

    /// Hosts with all that somebody may see of them.
    pub(crate) fn shown(&self, hosts: Vec<HostView>, viewer: Viewer) -> Vec<HostResponse> {
        let state = self.state.lock();
        let hosts = hosts.into_iter();
        hosts.map(|host| self.seen(&state, host, viewer)).collect()
    }

    /// One of them.
    pub(crate) fn shown_one(&self, host: HostView, viewer: Viewer) -> HostResponse {
        self.seen(&self.state.lock(), host, viewer)
    }

    fn seen(&self, state: &State, host: HostView, viewer: Viewer) -> HostResponse {
        let id = &host.host_id;
        let place = state.places.get(id);
        let from = place
            .filter(|place| viewer.staff || place.account == viewer.account)
            .and_then(|place| place.from);
        let heard = state.fleet.heard(id).unwrap_or_default();
        // Of one clock, so that it is the same whenever somebody asks.
        let heard = self.started_at + heard;
        HostResponse {
            id: place.map_or_else(|| number_of("host", id), |place| place.number),
            player_id: host.player_name.clone(),
            ip_address: from.map(|from| from.ip().to_string()),
            port: from.map(|from| from.port()),
            public_ip: from.and_then(public).map(|ip| ip.to_string()),
            max_zones: u32::try_from(MAX_ZONES).unwrap_or(u32::MAX),
            current_zones: state.fleet.zones_carried(id),
            last_heartbeat: rfc3339(crate::tokens::micros_of(heard)),
            host,
        }
    }

    /// Whether a host is that account's.
    pub(crate) fn is_owner(&self, host_id: &str, account: i64) -> bool {
        self.state.lock().fleet.owner(host_id) == Some(account)
    }
}

/// Stores what has changed. Goes on to its end even where the caller does not wait for it.
///
/// # Errors
/// The database; what it did not take is kept and tried again.
pub(crate) async fn persist(app: &App) -> Result<(), StoreError> {
    if !app.live.hosting.state.lock().sessions.has_changes()
        && app.live.hosting.storing.try_lock().is_ok()
    {
        return Ok(());
    }
    let run = app.tasks.spawn(store_changes(app.clone()));
    let crashed = |_| Err(StoreError::Failed(sqlx::Error::WorkerCrashed));
    run.await.unwrap_or_else(crashed)
}

async fn store_changes(app: App) -> Result<(), StoreError> {
    let hosting = &app.live.hosting;
    // One at a time, so that an older state never overwrites a newer one.
    let _one = hosting.storing.lock().await;
    loop {
        if !app.tenure.holds() {
            // Another node may have failed these sessions, and they are not to come back. Where none
            // has, they are stored when this one may act again.
            return Err(StoreError::NotOwner);
        }
        let changes = hosting.state.lock().sessions.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        if let Err(error) = app.store.put_sessions(&changes).await {
            hosting.state.lock().sessions.give_back(changes);
            return Err(error);
        }
    }
}

/// Stores what the fleet decides, and fails idle sessions; runs until the coordinator stops.
pub(crate) async fn keep_stored(app: App) {
    let hosting = &app.live.hosting;
    let mut idle = tokio::time::interval(IDLE_EVERY);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = hosting.sessions_changed.notified() => {}
            _ = idle.tick() => match hosting.fail_idle_sessions(app.config.hosts.session_idle) {
                0 => {}
                count => tracing::info!(count, "idle sessions failed"),
            },
        }
        if let Err(error) = persist(&app).await {
            if !matches!(error, StoreError::NotOwner) {
                tracing::warn!(%error, "sessions could not be stored; it is tried again");
            }
            hosting.sessions_changed.notify_one();
        }
        tokio::time::sleep(WRITE_PAUSE).await;
    }
}

fn pair(host_id: &str, zone_id: &str) -> Pair {
    Pair {
        host_id: host_id.to_owned(),
        zone_id: zone_id.to_owned(),
    }
}

/// New ids; the row id has 53 bits, so that JavaScript can hold it.
fn new_ids() -> Option<SessionIds> {
    let bytes = random::<8>().ok()?;
    let id = i64::from_be_bytes(bytes) & ((1 << 53) - 1);
    Some(SessionIds {
        id: id.max(1),
        session_id: format!("session-{}", hex::encode(bytes)),
    })
}

/// A number for something that has a name; always the same, above 0, with 53 bits at most.
pub(crate) fn number_of(kind: &str, name: &str) -> i64 {
    let digest = Sha256::digest(format!("{kind}\0{name}"));
    let bytes = digest.first_chunk::<8>().copied().unwrap_or_default();
    (i64::from_be_bytes(bytes) & ((1 << 53) - 1)).max(1)
}

/// The address, if it is one of the internet.
fn public(from: SocketAddr) -> Option<IpAddr> {
    let ip = from.ip().to_canonical();
    let private = match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    };
    (!private && !ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_positive_and_fit_in_javascript() {
        assert_eq!(number_of("host", "a"), number_of("host", "a"));
        assert_ne!(number_of("host", "a"), number_of("zone", "a"));
        for n in 0..1000 {
            let number = number_of("zone", &n.to_string());
            assert!((1..1 << 53).contains(&number), "{number}");
        }
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        let of = |text: &str| public(text.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(of("203.0.113.7:1").as_deref(), Some("203.0.113.7"));
        assert_eq!(of("[::ffff:203.0.113.7]:1").as_deref(), Some("203.0.113.7"));
        for private in [
            "127.0.0.1:1",
            "10.0.0.1:1",
            "192.168.1.1:1",
            "[::1]:1",
            "[fd00::1]:1",
            "[fe80::1]:1",
        ] {
            assert_eq!(of(private), None, "{private}");
        }
    }
}
