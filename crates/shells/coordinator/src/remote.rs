//! An endpoint that is a process of its own, as this coordinator keeps it.
//!
//! * One endpoint at a time serves. One with the same key takes its own place; one with another key is
//!   refused while the first is connected or was within the lease ([`LEASE`]).
//! * When the control socket is lost, sessions and hosts stay for the lease: the endpoint holds them,
//!   and names them when it is back. Grants are refused with `endpoint-unreachable`. After the lease
//!   they leave the tables; the endpoint still holds them, and they are entered again if it comes back.
//! * What ends while the endpoint is away is kept and told at its return, at most as many as there were
//!   sessions and hosts.
//! * Forwarded datagrams of an earlier lease pass nowhere, also after a restart: the endpoint says which
//!   slots and epochs a host has had, and they go on behind those (`Fleet::adopt`). What the fleet
//!   routed while the endpoint was away is said once it serves (`Hosting::say_routes`).
//!
//! Locks: [`Remote`]'s own is the last one; nothing else is taken inside it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use warp_endpoint::{HostRoute, HostTraffic, SIGNALS, SignalPort, control::Outbound};
use warp_link::{Carrier, CarrierSender};
use warp_protocol::{
    ProblemCode,
    endpoint::{
        FromEndpoint, HostSpec, LinkFigures, RELAYED_LEN, SessionSpec, ToEndpoint, carrier_of,
    },
    identity::{PublicKey, RefusedReason},
    signal::{ClientSignal, ServerSignal},
};

use crate::problem::Refused;

/// How long sessions stay in the tables while the endpoint is away.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// The same of a hosted zone: another endpoint can take its sessions over, so nobody is kept waiting.
pub(crate) const HOSTED_LEASE: Duration = Duration::from_secs(2);

/// After a start, sessions that nobody knows may be ones that the endpoint will name: for so long, or
/// until it has.
const ADOPTION: Duration = Duration::from_secs(10);

/// What a session or a host that the endpoint names is here.
pub(crate) enum Adoption {
    /// It ended here while the endpoint was away, which is told to it with [`Remote::serves`].
    Over,
    /// It is in the tables.
    There,
    /// It is not, and this is its place now.
    New(SignalPort),
}

/// Answer to a grant.
pub(crate) type Granted = Result<(), Refused>;

/// Whose device the endpoint of a hosted zone is.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) account: i64,
    pub(crate) device_key: Vec<u8>,
    /// When its certificate was issued, unix seconds.
    pub(crate) certified: u64,
}

/// A remote endpoint's place.
pub(crate) struct Remote {
    state: Mutex<State>,
    start: Instant,
    lease: Duration,
}

#[derive(Default)]
struct State {
    /// The endpoint that serves, or served last.
    key: Option<PublicKey>,
    /// The socket that it serves on.
    control: Option<(u64, Arc<Outbound>)>,
    /// One that is being looked at; it becomes the other.
    entering: Option<u64>,
    /// Sockets so far; numbers them.
    sockets: u64,
    lost_at: Option<Instant>,
    /// It has named its sessions at least once.
    adopted: bool,
    /// The coordinator stops: nothing is said any more, so that the sessions stay.
    stopping: bool,
    rooms: HashMap<String, Room>,
    /// What ended while it was away.
    owed: HashMap<String, Owed>,
    linked: HashSet<String>,
    carriers: HashMap<u32, (String, CarrierSender)>,
    next_carrier: u32,
    owner: Option<Owner>,
    refusals: Vec<(RefusedReason, u64)>,
    traffic: HashMap<String, HostTraffic>,
}

/// What is still to be told of a room that has ended.
enum Owed {
    /// A session, and what its link is closed with.
    Session(Option<u32>),
    Host,
}

struct Room {
    host: bool,
    from_endpoint: mpsc::Sender<ClientSignal>,
    /// Waits for the answer to the grant.
    asked: Option<oneshot::Sender<Granted>>,
    /// What the link of a session carries, since it was said last.
    link: Option<LinkFigures>,
}

impl State {
    /// Says something, if somebody is there to hear it.
    fn say(&self, message: &ToEndpoint) -> bool {
        match &self.control {
            Some((_, out)) if !self.stopping => {
                out.say(message);
                true
            }
            _ => false,
        }
    }

    fn enter(&mut self, room: &str, host: bool, asked: Option<oneshot::Sender<Granted>>) -> Ends {
        let (to_endpoint, inbox) = mpsc::channel(SIGNALS);
        let (from, from_endpoint) = mpsc::channel(SIGNALS);
        let entry = Room {
            host,
            from_endpoint: from,
            asked,
            link: None,
        };
        self.rooms.insert(room.to_owned(), entry);
        let port = SignalPort {
            to_endpoint,
            from_endpoint,
        };
        (port, inbox)
    }
}

type Ends = (SignalPort, mpsc::Receiver<ServerSignal>);

fn unreachable() -> Refused {
    let text = "the zone's endpoint is not connected just now; try again in a moment";
    Refused::new(ProblemCode::EndpointUnreachable, text).retry_after(1)
}

impl Remote {
    pub(crate) fn new(lease: Duration) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            start: Instant::now(),
            lease,
        })
    }

    /// How long sessions stay while it is away.
    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// Whether a session or a host's room is this endpoint's.
    pub(crate) fn has(&self, room: &str) -> bool {
        self.state.lock().rooms.contains_key(room)
    }

    /// Whether a room is a host's.
    pub(crate) fn is_host(&self, room: &str) -> bool {
        let state = self.state.lock();
        state.rooms.get(room).is_some_and(|room| room.host)
    }

    /// Whose device it is, and when its certificate was issued, of the endpoint of a hosted zone.
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.state.lock().owner.clone()
    }

    /// Whose device the endpoint of a hosted zone is, from now on.
    ///
    /// # Errors
    /// Another one serves.
    pub(crate) fn enters_as(&self, key: PublicKey, owner: Owner) -> Result<(), Refused> {
        let mut state = self.state.lock();
        self.check_place(&state, key)?;
        state.owner = Some(owner);
        Ok(())
    }

    fn check_place(&self, state: &State, key: PublicKey) -> Result<(), Refused> {
        let within = state.lost_at.is_some_and(|at| at.elapsed() < self.lease);
        let other = state.key.is_some_and(|known| known != key);
        if other && (state.control.is_some() || within) {
            let text = "another endpoint serves here; end it first";
            return Err(Refused::new(ProblemCode::Forbidden, text));
        }
        if state.entering.is_some() {
            let text = "another endpoint is just being taken in";
            return Err(Refused::new(ProblemCode::TooManyRequests, text));
        }
        Ok(())
    }

    /// It may serve no more: it is told to end its sessions, its socket ends, and its sessions leave the tables.
    pub(crate) fn dismiss(&self) {
        let mut state = self.state.lock();
        if let Some((_, out)) = state.control.take() {
            for session_id in state.rooms.keys().cloned() {
                out.say(&ToEndpoint::Revoke {
                    session_id,
                    code: None,
                });
            }
            out.finish();
        }
        // What is being looked at does not come to serve.
        state.entering = None;
        state.drop_socket();
        state.rooms.clear();
        state.owner = None;
    }

    /// The key that launchers know the endpoint by, if there is one.
    pub(crate) fn key(&self) -> Option<PublicKey> {
        self.state.lock().key
    }

    /// Whether sessions that are not known here may yet be named by the endpoint.
    pub(crate) fn awaits_adoption(&self) -> bool {
        !self.state.lock().adopted && self.start.elapsed() < ADOPTION
    }

    /// # Errors
    /// `endpoint-unreachable`.
    pub(crate) fn reachable(&self) -> Result<(), Refused> {
        let state = self.state.lock();
        state.control.as_ref().map(drop).ok_or_else(unreachable)
    }

    pub(crate) fn refusals(&self) -> Vec<(RefusedReason, u64)> {
        self.state.lock().refusals.clone()
    }

    /// What a session's link carries, where the endpoint has said so.
    pub(crate) fn link(&self, session_id: &str) -> Option<LinkFigures> {
        self.state.lock().rooms.get(session_id)?.link
    }

    pub(crate) fn traffic(&self) -> Vec<(String, HostTraffic)> {
        let state = self.state.lock();
        let traffic = state.traffic.iter();
        traffic.map(|(room, of)| (room.clone(), *of)).collect()
    }

    pub(crate) fn is_linked(&self, session_id: &str) -> bool {
        let state = self.state.lock();
        match state.control {
            Some(_) => state.linked.contains(session_id),
            // Nobody can tell; the lease says how long that lasts.
            None => state.rooms.contains_key(session_id),
        }
    }

    /// Asks for a session. The answer comes out of the receiver; a refusal also ends the port.
    pub(crate) fn grant(
        self: &Arc<Self>,
        spec: SessionSpec,
    ) -> Result<(SignalPort, oneshot::Receiver<Granted>), Refused> {
        let room = spec.who.session_id.clone();
        let (asked, answer) = oneshot::channel();
        let mut state = self.state.lock();
        if !state.say(&ToEndpoint::Grant { spec }) {
            return Err(unreachable());
        }
        let ends = state.enter(&room, false, Some(asked));
        drop(state);
        Ok((self.follow(room, ends), answer))
    }

    pub(crate) fn grant_host(self: &Arc<Self>, spec: HostSpec) -> Result<SignalPort, Refused> {
        let room = spec.room.clone();
        let mut state = self.state.lock();
        if !state.say(&ToEndpoint::GrantHost { spec }) {
            return Err(unreachable());
        }
        let ends = state.enter(&room, true, None);
        drop(state);
        Ok(self.follow(room, ends))
    }

    /// The place of a session that the endpoint names.
    pub(crate) fn adopt(self: &Arc<Self>, session_id: &str, up: bool) -> Adoption {
        let adoption = self.take_up(session_id, false);
        if up && !matches!(adoption, Adoption::Over) {
            self.state.lock().linked.insert(session_id.to_owned());
        }
        adoption
    }

    /// The place of a host that the endpoint names.
    pub(crate) fn adopt_host(self: &Arc<Self>, room: &str) -> Adoption {
        self.take_up(room, true)
    }

    fn take_up(self: &Arc<Self>, room: &str, host: bool) -> Adoption {
        let mut state = self.state.lock();
        if state.owed.contains_key(room) {
            return Adoption::Over;
        }
        if let Some(known) = state.rooms.get(room) {
            return if known.host == host {
                Adoption::There
            } else {
                Adoption::Over
            };
        }
        let ends = state.enter(room, host, None);
        drop(state);
        Adoption::New(self.follow(room.to_owned(), ends))
    }

    /// What was given a place by [`Adoption::New`] is not taken.
    pub(crate) fn not_taken(&self, room: &str) {
        let mut state = self.state.lock();
        state.rooms.remove(room);
        state.linked.remove(room);
    }

    /// A host has registered again: what the endpoint names of it from now on.
    pub(crate) fn renew_host(&self, spec: HostSpec) {
        self.state.lock().say(&ToEndpoint::RenewHost { spec });
    }

    /// Carries what is said in a room to the endpoint, until the room is closed; what is said while it
    /// is away is dropped.
    fn follow(self: &Arc<Self>, room: String, (port, mut inbox): Ends) -> SignalPort {
        let remote = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(signal) = inbox.recv().await {
                let room = room.clone();
                let said = ToEndpoint::Signal { room, signal };
                let state = remote.state.lock();
                if let Some((_, out)) = &state.control {
                    out.pass(&said);
                }
            }
        });
        port
    }

    /// Ends a session; with a code, the launcher is told it over the link, and the room ends when the
    /// endpoint says so.
    pub(crate) fn revoke(&self, session_id: &str, code: Option<u32>) {
        let mut state = self.state.lock();
        if state.stopping {
            // The endpoint keeps it; here what waits for it ends.
            state.rooms.remove(session_id);
            return;
        }
        if !state.rooms.contains_key(session_id) {
            return;
        }
        let session_id = session_id.to_owned();
        let told = state.say(&ToEndpoint::Revoke {
            session_id: session_id.clone(),
            code,
        });
        if !told {
            let owed = Owed::Session(code);
            state.owed.insert(session_id.clone(), owed);
        }
        if !told || code.is_none() {
            state.rooms.remove(&session_id);
            state.linked.remove(&session_id);
        }
    }

    pub(crate) fn route(&self, route: HostRoute) -> bool {
        let HostRoute {
            host,
            slot,
            epoch,
            session_id,
            way,
        } = route;
        self.state.lock().say(&ToEndpoint::Route {
            host,
            slot,
            epoch,
            session_id,
            way,
        })
    }

    pub(crate) fn unroute(&self, host: &str, slot: u32) {
        let host = host.to_owned();
        self.state.lock().say(&ToEndpoint::Unroute { host, slot });
    }

    pub(crate) fn end_host(&self, room: &str) {
        let mut state = self.state.lock();
        if state.rooms.remove(room).is_none() || state.stopping {
            return;
        }
        state.traffic.remove(room);
        let room = room.to_owned();
        if !state.say(&ToEndpoint::EndHost { room: room.clone() }) {
            state.owed.insert(room, Owed::Host);
        }
    }

    /// Relays a WebSocket carrier of a session, or of a host's room, until either side ends it.
    pub(crate) fn attach(
        self: &Arc<Self>,
        room: &str,
        host: bool,
        carrier: Carrier,
    ) -> Result<(), Refused> {
        let Carrier { tx, mut rx } = carrier;
        let mut state = self.state.lock();
        let out = match &state.control {
            Some((_, out)) => Arc::clone(out),
            None => return Err(unreachable()),
        };
        if !state.rooms.contains_key(room) {
            return Err(crate::live::unknown_session());
        }
        let number = state.next_carrier;
        state.next_carrier = number.wrapping_add(1);
        state.carriers.insert(number, (room.to_owned(), tx));
        out.say(&ToEndpoint::CarrierOpen {
            carrier: number,
            room: room.to_owned(),
            host,
        });
        drop(state);
        let remote = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(datagram) = rx.recv().await {
                // A datagram that finds no room is lost, as on every carrier.
                let _ = out.relay(number, &datagram);
            }
            // Numbers are the socket's own: one of a later socket is another carrier.
            out.say(&ToEndpoint::CarrierClose { carrier: number });
            let mut state = remote.state.lock();
            let same = state.control.as_ref();
            if same.is_some_and(|(_, now)| Arc::ptr_eq(now, &out)) {
                state.carriers.remove(&number);
            }
        });
        Ok(())
    }

    /// The coordinator stops: the endpoint keeps its sessions for the next run.
    pub(crate) fn let_go(&self) {
        self.state.lock().stopping = true;
    }

    /// An endpoint has proven its key, and may name what it holds. Gives the socket's number.
    ///
    /// # Errors
    /// Another one serves, or another socket of it is just being looked at.
    pub(crate) fn enters(&self, key: PublicKey) -> Result<u64, Refused> {
        let mut state = self.state.lock();
        self.check_place(&state, key)?;
        let other = state.key.is_some_and(|known| known != key);
        if let Some((older, out)) = state.control.take() {
            out.close();
            tracing::info!(older, "the endpoint has a newer control socket");
        }
        state.drop_socket();
        if other {
            state.rooms.clear();
            state.owed.clear();
        }
        state.key = Some(key);
        state.sockets += 1;
        state.entering = Some(state.sockets);
        state.linked.clear();
        Ok(state.sockets)
    }

    /// What the endpoint holds was looked at: it serves from now on. What it did not name is over; what
    /// ended while it was away is told. Gives how many sessions those were; none: a
    /// newer socket has taken its place.
    pub(crate) fn serves(
        &self,
        socket: u64,
        named: &HashSet<String>,
        out: &Arc<Outbound>,
    ) -> Option<u32> {
        let mut state = self.state.lock();
        if state.entering != Some(socket) {
            out.close();
            return None;
        }
        state.rooms.retain(|room, _| named.contains(room));
        let owed = std::mem::take(&mut state.owed);
        let mut told = 0;
        for (room, owed) in owed {
            out.say(&match owed {
                Owed::Session(code) => {
                    told += 1;
                    let session_id = room;
                    ToEndpoint::Revoke { session_id, code }
                }
                Owed::Host => ToEndpoint::EndHost { room },
            });
        }
        state.entering = None;
        state.adopted = true;
        state.lost_at = None;
        state.control = Some((socket, Arc::clone(out)));
        Some(told)
    }

    /// A control socket has ended. True when it was the one that counted: then [`Remote::expire`] is
    /// due after the lease.
    pub(crate) fn lost(&self, socket: u64) -> bool {
        let mut state = self.state.lock();
        if state.entering == Some(socket) {
            state.entering = None;
        } else if state.control.as_ref().is_none_or(|(now, _)| *now != socket) {
            return false;
        }
        state.control = None;
        state.drop_socket();
        true
    }

    /// Ends what the lease was for, unless the endpoint has come back since.
    pub(crate) fn expire(&self) {
        let mut state = self.state.lock();
        let over = state.lost_at.is_some_and(|at| at.elapsed() >= self.lease);
        if over && state.control.is_none() && !state.rooms.is_empty() {
            tracing::warn!(
                sessions = state.rooms.len(),
                "the endpoint was away for too long; it may name its sessions again"
            );
            // Their ports end by this, and they leave the tables.
            state.rooms.clear();
        }
    }

    /// Carries out what the endpoint says once it serves.
    ///
    /// # Errors
    /// Nothing that is said then.
    pub(crate) fn take(&self, socket: u64, message: FromEndpoint) -> Result<(), &'static str> {
        let mut state = self.state.lock();
        if state.control.as_ref().is_none_or(|(now, _)| *now != socket) {
            return Err("a newer socket has taken its place");
        }
        match message {
            FromEndpoint::Alive => {}
            FromEndpoint::Granted { room } => {
                let asked = state
                    .rooms
                    .get_mut(&room)
                    .and_then(|room| room.asked.take());
                if let Some(asked) = asked {
                    let _ = asked.send(Ok(()));
                }
            }
            FromEndpoint::GrantRefused {
                room,
                untrusted,
                message,
            } => {
                let refused = crate::endpoint_port::refused(&room, untrusted, &message);
                let asked = state.rooms.remove(&room).and_then(|room| room.asked);
                if let Some(asked) = asked {
                    let _ = asked.send(Err(refused));
                }
            }
            FromEndpoint::Signal { room, signal } => {
                let room = state.rooms.get(&room);
                if room.is_none_or(|room| room.from_endpoint.try_send(signal).is_err()) {
                    tracing::debug!("a signal of the endpoint was dropped");
                }
            }
            FromEndpoint::Ended { room } => {
                state.rooms.remove(&room);
                state.linked.remove(&room);
                state.traffic.remove(&room);
            }
            FromEndpoint::CarrierClosed { carrier } => {
                if let Some((_, tx)) = state.carriers.remove(&carrier) {
                    tx.close();
                }
            }
            FromEndpoint::Link {
                session_id,
                up,
                figures,
            } => {
                let Some(room) = state.rooms.get_mut(&session_id) else {
                    return Ok(());
                };
                room.link = figures;
                if up {
                    state.linked.insert(session_id);
                } else {
                    state.linked.remove(&session_id);
                }
            }
            FromEndpoint::Figures { refusals } => {
                // As many as there are reasons, whatever it sends.
                let mut counts: Vec<(RefusedReason, u64)> = Vec::new();
                for of in refusals {
                    if counts.iter().all(|(reason, _)| *reason != of.reason) {
                        counts.push((of.reason, of.count));
                    }
                }
                state.refusals = counts;
            }
            FromEndpoint::HostFigures { room, traffic } => {
                if state.rooms.get(&room).is_some_and(|room| room.host) {
                    state.traffic.insert(room, traffic);
                }
            }
            FromEndpoint::Hello { .. }
            | FromEndpoint::HeldHost { .. }
            | FromEndpoint::Held { .. }
            | FromEndpoint::Ready => {
                return Err("the beginning, once more");
            }
        }
        Ok(())
    }

    /// A relayed datagram from the endpoint.
    pub(crate) fn relayed(&self, socket: u64, frame: &Bytes) {
        let Some(number) = carrier_of(frame) else {
            return;
        };
        let state = self.state.lock();
        if state.control.as_ref().is_none_or(|(now, _)| *now != socket) {
            return;
        }
        if let Some((_, tx)) = state.carriers.get(&number) {
            // A datagram that finds no room is lost, as on every carrier.
            let _ = tx.try_send(frame.slice(RELAYED_LEN..));
        }
    }
}

impl State {
    /// What ends with a control socket: relayed carriers, and sessions whose grant was not answered.
    fn drop_socket(&mut self) {
        if self.lost_at.is_none() {
            self.lost_at = Some(Instant::now());
        }
        for (_, (_, tx)) in self.carriers.drain() {
            tx.close();
        }
        self.traffic.clear();
        let owed = &mut self.owed;
        self.rooms.retain(|id, room| {
            let unanswered = room.asked.is_some();
            if unanswered {
                // It may have been granted all the same.
                owed.insert(id.clone(), Owed::Session(None));
            }
            !unanswered
        });
    }
}
