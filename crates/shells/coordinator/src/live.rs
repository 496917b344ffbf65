//! Sessions as they live: the table, the signaling room, the endpoint's grant and the WebSocket
//! carrier of each, made together and ended together.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warp_coordinator_core::{
    NewSession, Revoked, Session, Sessions, SessionsFull, bans::Banned, fleet::HeldPlace,
};
use warp_protocol::{
    ProblemCode,
    identity::PublicKey,
    rest::IceServer,
    signal::{EndedReason, ServerSignal},
    stream::reset,
    zone::ZoneFile,
};

use crate::{
    CoordinatorConfig,
    authority::Authority,
    cluster::Tenure,
    endpoint_port::{EndpointPort, Grantee, Granting, SignalPort},
    hosting::Hosting,
    hub::{Closing, Hub, Seat},
    monitoring::metrics::Metrics,
    problem::{Refused, internal},
    relays::Relays,
    remote::{HOSTED_LEASE, Owner, Remote},
    ws::close,
};

/// Peer id of the endpoint, in every room.
pub(crate) const ENDPOINT_PEER: &str = "endpoint";

/// The peer id of a player in its session's room; `random` makes it one of a kind.
pub(crate) fn peer_id_of(player: &str, random: &str) -> String {
    format!("player-{player}-{random}")
}

/// The player that a peer id of [`peer_id_of`] belongs to.
pub(crate) fn player_of(peer_id: &str) -> &str {
    let named = peer_id.strip_prefix("player-").unwrap_or(peer_id);
    named.rsplit_once('-').map_or(named, |(player, _)| player)
}

/// Stops the WebSocket carrier of a session, with the close code to send.
#[derive(Clone)]
pub(crate) struct CarrierStop {
    token: CancellationToken,
    /// The first reason counts: what follows from it must not hide it.
    code: Arc<OnceLock<u16>>,
}

impl CarrierStop {
    pub(crate) fn new() -> Self {
        Self {
            token: CancellationToken::new(),
            code: Arc::new(OnceLock::new()),
        }
    }

    /// Sets what the carrier will be closed with, whoever closes it.
    fn close_with(&self, code: u16) {
        let _ = self.code.set(code);
    }

    /// Ends the carrier.
    pub(crate) fn stop(&self, code: u16) {
        self.close_with(code);
        self.token.cancel();
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The close code to send; shared with the socket.
    pub(crate) fn code(&self) -> Arc<OnceLock<u16>> {
        Arc::clone(&self.code)
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.code, &other.code)
    }
}

/// All live sessions of this process.
pub(crate) struct Live {
    pub(crate) hub: Arc<Hub>,
    pub(crate) endpoint: EndpointPort,
    /// Endpoints of hosted zones, by zone; one for each such zone that is stored.
    hosted: Mutex<HashMap<String, Arc<Remote>>>,
    sessions: Mutex<Sessions>,
    carriers: Mutex<HashMap<String, CarrierStop>>,
    pub(crate) relays: Relays,
    pub(crate) hosting: Arc<Hosting>,
    tenure: Tenure,
    pub(crate) metrics: Metrics,
    /// Why a session ends whose end has begun elsewhere.
    endings: Mutex<HashMap<String, EndedReason>>,
    /// Start of the time that the table counts in.
    start: Instant,
    deadlines_changed: Notify,
    tasks: TaskTracker,
}

impl Live {
    pub(crate) fn new(
        endpoint: EndpointPort,
        authority: Arc<Authority>,
        tenure: Tenure,
        config: &CoordinatorConfig,
        tasks: TaskTracker,
        metrics: Metrics,
    ) -> Arc<Self> {
        let hub = Hub::new(config.capacity.rooms(), metrics.signals());
        let hosting = Hosting::new(
            Arc::clone(&hub),
            endpoint.clone(),
            authority,
            config.hosts,
            tasks.clone(),
        );
        Arc::new(Self {
            metrics,
            endings: Mutex::default(),
            hub,
            endpoint,
            hosted: Mutex::default(),
            hosting,
            tenure,
            sessions: Mutex::new(Sessions::new(config.capacity.table(config.unused_session))),
            carriers: Mutex::new(HashMap::new()),
            relays: Relays::default(),
            start: Instant::now(),
            deadlines_changed: Notify::new(),
            tasks,
        })
    }

    /// The endpoint that new sessions of a zone are granted to: its host, or the coordinator's own while
    /// none is there.
    pub(crate) fn endpoint_for(&self, zone_id: &str) -> EndpointPort {
        let hosted = self.hosted.lock().get(zone_id).cloned();
        match hosted.filter(|remote| remote.reachable().is_ok()) {
            Some(remote) => EndpointPort::Remote(remote),
            None => self.endpoint.clone(),
        }
    }

    /// The endpoint that has a session or a host's room.
    pub(crate) fn endpoint_of(&self, room: &str) -> EndpointPort {
        let hosted = self.hosted.lock();
        match hosted.values().find(|remote| remote.has(room)) {
            Some(remote) => EndpointPort::Remote(Arc::clone(remote)),
            None => self.endpoint.clone(),
        }
    }

    /// The place of the endpoint of a hosted zone; none: the zone is not hosted.
    pub(crate) fn hosted(&self, zone_id: &str) -> Option<Arc<Remote>> {
        self.hosted.lock().get(zone_id).cloned()
    }

    /// Brings the places of hosted zones' endpoints in line with what is stored.
    pub(crate) fn sync_hosted(&self, zones: &[&ZoneFile]) {
        let wanted = |id: &str| {
            let mut zones = zones.iter();
            zones.any(|zone| zone.zone_id == id && zone.hosted.is_some())
        };
        let mut hosted = self.hosted.lock();
        let gone: Vec<String> = hosted.keys().filter(|id| !wanted(id)).cloned().collect();
        let gone: Vec<_> = gone.iter().filter_map(|id| hosted.remove(id)).collect();
        for zone in zones.iter().filter(|zone| zone.hosted.is_some()) {
            let entry = hosted.entry(zone.zone_id.clone());
            entry.or_insert_with(|| Remote::new(HOSTED_LEASE));
        }
        drop(hosted);
        for remote in gone {
            remote.dismiss();
        }
    }

    /// Whether an endpoint may yet name sessions that are not known here.
    pub(crate) fn awaits_adoption(&self) -> bool {
        let hosted = self.hosted.lock();
        self.endpoint.awaits_adoption() || hosted.values().any(|remote| remote.awaits_adoption())
    }

    /// Makes a session: room, grant and the endpoint's seat in the room. An older session of the
    /// same account and device ends. The endpoint's answer is for the caller to wait for.
    pub(crate) fn grant(
        self: &Arc<Self>,
        new: NewSession,
        certificate: Option<Vec<u8>>,
        endpoint: &EndpointPort,
        zone: &ZoneFile,
        ice_servers: Vec<IceServer>,
    ) -> Result<Granting, Refused> {
        let key = PublicKey::from_spki(&new.device_key);
        let device_key = key.ok_or_else(|| internal("a device key that is none"))?;
        let mut granting = Granting::default();
        self.enter(new, &[], |new| {
            let grantee = Grantee {
                session_id: &new.session_id,
                peer_id: &new.peer_id,
                account: new.account,
                device_key,
                certificate,
            };
            let (port, answer) = endpoint.grant(grantee, zone, ice_servers)?;
            granting = answer;
            Ok(port)
        })?;
        Ok(granting)
    }

    /// Enters a session that the endpoint holds; `port` is its place there, and `held` are the hosts'
    /// routes that lead to it.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        new: NewSession,
        port: SignalPort,
        up: bool,
        held: &[HeldPlace],
    ) -> Result<(), Refused> {
        let session_id = new.session_id.clone();
        self.enter(new, held, |_| Ok(port))?;
        if up {
            self.sessions.lock().mark_live(&session_id);
        }
        Ok(())
    }

    /// Enters a session in the tables, with its room and the endpoint's seat there.
    fn enter(
        self: &Arc<Self>,
        new: NewSession,
        held: &[HeldPlace],
        port: impl FnOnce(&NewSession) -> Result<SignalPort, Refused>,
    ) -> Result<(), Refused> {
        self.tenure.check()?;
        let (session_id, account) = (new.session_id.clone(), new.account);
        let replaced = {
            let mut sessions = self.sessions.lock();
            sessions
                .grant(self.start.elapsed(), new.clone())
                .map_err(|full| refuse_full(&full))?
        };
        if let Some(older) = replaced {
            let why = "replaced by a newer one of the same device";
            let reason = EndedReason::Replaced;
            self.tear_down(&older, reason, why, close::SESSION_ENDED);
        }
        let made = self
            .hub
            .open(&session_id, &[&new.peer_id])
            .map_err(|error| {
                tracing::warn!(%error, "no room for a session");
                Refused::new(ProblemCode::CoordinatorFault, error.to_string())
            });
        let made = made.and_then(|()| port(&new));
        let made = made.and_then(|port| self.seat_endpoint(&session_id, port));
        if let Err(refused) = made {
            self.end_for(&session_id, EndedReason::Fault, "it could not be made");
            return Err(refused);
        }
        tracing::info!(
            session = session_id,
            account,
            zone = new.zone_id,
            "session granted"
        );
        if self.endpoint_of(&session_id).is_hosted() {
            // Hosts forward to the coordinator's own endpoint only.
            self.deadlines_changed.notify_one();
            return Ok(());
        }
        self.hosting.join(&new, held);
        // One that the endpoint has ended since is not to stay there.
        if self.owned(&session_id, account).is_err() {
            self.hosting.leave(&session_id);
        }
        self.deadlines_changed.notify_one();
        Ok(())
    }

    fn seat_endpoint(self: &Arc<Self>, session_id: &str, port: SignalPort) -> Result<(), Refused> {
        let SignalPort {
            to_endpoint,
            from_endpoint,
        } = port;
        let seat = self
            .hub
            .connect_service(session_id, ENDPOINT_PEER, to_endpoint)
            .map_err(|_| internal("the endpoint could not enter the session's room"))?;
        let (live, id) = (Arc::clone(self), session_id.to_owned());
        self.tasks.spawn(async move {
            pump(seat, from_endpoint).await;
            live.end_for(&id, EndedReason::Endpoint, "the endpoint ended it");
        });
        Ok(())
    }

    /// The session, if it is that account's.
    pub(crate) fn owned(&self, session_id: &str, account: i64) -> Result<Session, Refused> {
        let sessions = self.sessions.lock();
        sessions
            .owned(session_id, account)
            .cloned()
            .ok_or_else(|| self.unknown())
    }

    /// What is answered for a session that is not in the tables: that there is none, or, while the
    /// endpoint may yet name it after a restart, that it is too early to say.
    pub(crate) fn unknown(&self) -> Refused {
        if self.awaits_adoption() {
            let text = "the coordinator has just started and waits for its endpoint; try again";
            return Refused::new(ProblemCode::CoordinatorFault, text).retry_after(1);
        }
        unknown_session()
    }

    /// All sessions, by their ids.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        self.sessions.lock().all()
    }

    /// A session, whoever has it.
    pub(crate) fn session(&self, session_id: &str) -> Option<Session> {
        self.sessions.lock().get(session_id).cloned()
    }

    /// Whether another session of the same device stands where this one stood.
    pub(crate) fn is_replaced(
        &self,
        session_id: &str,
        account: i64,
        device_key: &PublicKey,
        zone_id: &str,
    ) -> bool {
        let sessions = self.sessions.lock();
        sessions
            .of_device(account, &device_key.spki(), zone_id)
            .is_some_and(|other| other != session_id)
    }

    /// The session that a peer id belongs to, if it is that account's.
    pub(crate) fn of_peer(&self, peer_id: &str, account: i64) -> Option<Session> {
        self.sessions.lock().of_peer(peer_id, account).cloned()
    }

    /// Lets the holder of another session of the same zone into a session's room.
    pub(crate) fn admit(&self, session_id: &str, peer_id: &str) -> Result<(), Refused> {
        if !self.sessions.lock().share_zone(session_id, peer_id) {
            return Err(Refused::new(
                ProblemCode::PeerUnreachable,
                "no session of this zone has that peer id",
            )
            .with_status(StatusCode::NOT_FOUND));
        }
        self.hub
            .admit(session_id, peer_id)
            .map_err(|error| Refused::new(ProblemCode::TooManyRequests, error.to_string()))
    }

    /// Players in a zone beside this account's own on this device.
    pub(crate) fn others_in(&self, zone_id: &str, account: i64, device_key: &[u8]) -> u32 {
        let sessions = self.sessions.lock();
        sessions.others_in(zone_id, account, device_key)
    }

    pub(crate) fn players_in(&self, zone_id: &str) -> u32 {
        self.sessions.lock().players_in(zone_id)
    }

    /// How many sessions there are, and how many of them something has attached to.
    pub(crate) fn tally(&self) -> (usize, usize) {
        self.sessions.lock().tally()
    }

    /// Sessions of each zone that has any.
    pub(crate) fn by_zone(&self) -> BTreeMap<String, u32> {
        self.sessions.lock().by_zone()
    }

    /// Sends to the launchers in a zone, or to all. Gives to how many.
    pub(crate) fn tell(&self, zone_id: Option<&str>, signal: &ServerSignal) -> usize {
        let peers = self.sessions.lock().peers(zone_id);
        let told = peers
            .iter()
            .filter(|peer| self.hub.send_to(peer, signal.clone()));
        told.count()
    }

    /// Ends a session. Does nothing if it has ended.
    pub(crate) fn end(&self, session_id: &str, why: &str) {
        self.end_for(session_id, EndedReason::Ended, why);
    }

    /// The same with what its launcher is told.
    pub(crate) fn end_for(&self, session_id: &str, reason: EndedReason, why: &str) {
        self.end_with(session_id, reason, why, close::SESSION_ENDED);
    }

    /// Ends what a revocation ends. Gives how many.
    ///
    /// The endpoint goes first, so that the launcher hears the reason over the link; when it has
    /// let go of the session, everything else follows.
    pub(crate) fn end_revoked(&self, by: &Revoked) -> usize {
        let (why, code) = (EndedReason::Revoked, reset::DEVICE_REVOKED);
        self.end_those(by, why, code, Closing::Ended)
    }

    /// Ends what a ban ends: sessions, hosts and sockets of the account or device. Gives how many
    /// sessions.
    pub(crate) fn end_banned(&self, whom: &Banned) -> usize {
        let by = match whom {
            Banned::Device(key) => Revoked::Device(key.clone()),
            Banned::Account(account) => Revoked::Account {
                account: *account,
                at: u64::MAX,
            },
        };
        for peer in self.sessions.lock().peers_of(&by) {
            self.hub.expel(&peer, Closing::Banned);
        }
        self.end_those(&by, EndedReason::Banned, reset::BANNED, Closing::Banned)
    }

    fn end_those(&self, by: &Revoked, reason: EndedReason, code: u32, closing: Closing) -> usize {
        let ids = self.sessions.lock().revoked(by);
        for id in &ids {
            tracing::info!(session = %id, code, "session ends: its device or account was revoked or banned");
            if let Some(carrier) = self.carriers.lock().get(id) {
                carrier.close_with(closing.code());
            }
            let mut endings = self.endings.lock();
            endings.insert(id.clone(), reason);
            drop(endings);
            self.endpoint_of(id).end_with(id, code);
        }
        self.hosting.end_revoked(by, closing);
        let hosted: Vec<_> = self.hosted.lock().values().cloned().collect();
        let owned = |owner: &Owner| match by {
            Revoked::Device(key) => owner.device_key == *key,
            Revoked::Account { account, at } => owner.account == *account && owner.certified <= *at,
        };
        for remote in hosted {
            if remote.owner().as_ref().is_some_and(owned) {
                tracing::info!("the endpoint of a hosted zone ends: its device was revoked");
                remote.dismiss();
            }
        }
        ids.len()
    }

    fn end_with(&self, session_id: &str, reason: EndedReason, why: &str, code: u16) {
        let session = self.sessions.lock().remove(session_id);
        if let Some(session) = session {
            self.tear_down(&session, reason, why, code);
        }
    }

    /// Ends all that belongs to a session which is out of the table.
    fn tear_down(&self, session: &Session, reason: EndedReason, why: &str, code: u16) {
        let id = &session.grant.session_id;
        let begun = self.endings.lock().remove(id);
        let reason = begun.unwrap_or(reason);
        tracing::info!(session = %id, why, "session ended");
        self.metrics.session_ended(reason);
        // While the coordinator stops the session may go on at a remote endpoint; the sockets close with
        // a code of their own then.
        if code != close::RESTART {
            let signal = ServerSignal::SessionEnded {
                code: reason.code(),
                reason,
            };
            self.hub.send_to(&session.grant.peer_id, signal);
        }
        // Before the endpoint lets go of it, so that it is closed with this code.
        let carrier = self.carriers.lock().remove(id);
        if let Some(carrier) = carrier {
            carrier.stop(code);
        }
        self.relays.end_session(id, code);
        self.hosting.leave(id);
        self.endpoint_of(id).revoke(id);
        self.hub.close(id);
        self.deadlines_changed.notify_one();
    }

    /// A WebSocket carrier is about to attach; an older one of the session is closed.
    pub(crate) fn carrier_opens(&self, session_id: &str) -> Result<CarrierStop, Refused> {
        let stop = CarrierStop::new();
        if !self.sessions.lock().mark_live(session_id) {
            return Err(unknown_session());
        }
        let older = self
            .carriers
            .lock()
            .insert(session_id.to_owned(), stop.clone());
        if let Some(older) = older {
            older.stop(close::REPLACED);
        }
        Ok(stop)
    }

    /// A WebSocket carrier has ended. Without it the session falls due again, unless its link
    /// stands on another carrier by then.
    pub(crate) fn carrier_closed(&self, session_id: &str, stop: &CarrierStop) {
        let mut carriers = self.carriers.lock();
        if !carriers.get(session_id).is_some_and(|c| c.is(stop)) {
            return;
        }
        carriers.remove(session_id);
        drop(carriers);
        let now = self.start.elapsed();
        self.sessions.lock().mark_unused(now, session_id);
        self.deadlines_changed.notify_one();
    }

    /// A relay socket of a session has opened. False if the session is gone.
    pub(crate) fn relay_opens(&self, own_session: &str) -> bool {
        self.sessions.lock().mark_live(own_session)
    }

    /// A relay socket of a session has ended; the session falls due unless something else of it is
    /// up by then.
    pub(crate) fn relay_closed(&self, own_session: &str) {
        let now = self.start.elapsed();
        if !self.carriers.lock().contains_key(own_session) {
            self.sessions.lock().mark_unused(now, own_session);
            self.deadlines_changed.notify_one();
        }
    }

    /// Ends sessions that nothing has attached to in time; runs until `stop`.
    pub(crate) async fn expire(&self, stop: CancellationToken) {
        loop {
            let next = self.sessions.lock().next_due();
            let deadline = async {
                match next {
                    Some(at) => tokio::time::sleep_until((self.start + at).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.deadlines_changed.notified() => continue,
                () = deadline => {}
            }
            let due = self.sessions.lock().due(self.start.elapsed());
            for id in due {
                if self.endpoint_of(&id).is_linked(&id) || self.relays.serve(&id) {
                    self.sessions.lock().mark_live(&id);
                } else {
                    let why = "nothing attached to it in time";
                    self.end_for(&id, EndedReason::Unused, why);
                }
            }
        }
    }

    /// Ends all sessions and hosts.
    pub(crate) fn end_all(&self) {
        self.endpoint.let_go();
        for remote in self.hosted.lock().values() {
            remote.let_go();
        }
        self.hosting.end_all();
        let ids = self.sessions.lock().ids();
        for id in ids {
            let why = "the coordinator stops";
            self.end_with(&id, EndedReason::Stopped, why, close::RESTART);
        }
    }
}

/// Carries what the endpoint says into the room, until the session ends.
async fn pump(
    seat: Seat,
    mut from_endpoint: tokio::sync::mpsc::Receiver<warp_protocol::signal::ClientSignal>,
) {
    while let Some(signal) = from_endpoint.recv().await {
        seat.handle(signal);
    }
}

pub(crate) fn unknown_session() -> Refused {
    Refused::new(
        ProblemCode::UnknownSession,
        "there is no such session of yours; join the zone again",
    )
}

fn refuse_full(full: &SessionsFull) -> Refused {
    let code = match full {
        SessionsFull::Total => ProblemCode::CoordinatorFault,
        SessionsFull::Account => ProblemCode::TooManyRequests,
    };
    Refused::new(code, full.to_string()).retry_after(30)
}
