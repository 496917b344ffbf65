//! The signaling hub: the pure rooms with a mailbox per connection.
//!
//! A mailbox holds at most [`MAILBOX`] signals, each of which came in a frame of at most 64 KiB:
//! 2 MiB per peer at the very worst, some KiB in practice; an empty one takes a word for each place. A socket whose mailbox is full does not
//! read: it is disconnected with [`Closing::TooSlow`]. For the endpoint's end of a room the signal
//! is dropped instead, because the session must not end with a peer that floods it; WebRTC
//! negotiation starts over by itself.
//!
//! A host's mailbox holds more ([`HOST_MAILBOX`]), because it may be told of a thousand members at
//! once, each in less than 1 KiB. What members send it goes into its first [`FORWARDED`] places only
//! and is dropped beyond, so members can fill 4 MiB of it at the very worst, and never push it out.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use warp_coordinator_core::{CloseReason, ConnId, Output, Rooms, RoomsLimits, rooms::RoomsRefused};
use warp_protocol::{
    hosting::MAX_MEMBERS,
    signal::{ClientSignal, ServerSignal},
};

use crate::{monitoring::metrics::SignalCounters, ws::close};

/// Signals that wait for one peer.
pub(crate) const MAILBOX: usize = 32;

/// Signals that wait for one host: two for each member, and some.
pub(crate) const HOST_MAILBOX: usize = 2 * MAX_MEMBERS as usize + 2 * FORWARDED;

/// Of those, places for what members send.
const FORWARDED: usize = 64;

/// Why the hub wants a socket closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// A newer socket has the same peer id.
    Replaced,
    /// It does not read what is sent to it.
    TooSlow,
    /// Its account or device was banned.
    Banned,
    /// Its session is over, or it is no host any more.
    Ended,
}

impl Closing {
    /// What it is closed with.
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Replaced => close::REPLACED,
            Self::TooSlow => close::TOO_SLOW,
            Self::Banned => close::BANNED,
            Self::Ended => close::SESSION_ENDED,
        }
    }
}

enum Mailbox {
    Socket {
        /// Boxed, because the places of a mailbox are there from its start.
        tx: mpsc::Sender<Box<Waiting>>,
        close: oneshot::Sender<Closing>,
    },
    Service {
        tx: mpsc::Sender<ServerSignal>,
    },
    /// A host's seat in a member's room: what that member sends it goes to the host's own socket.
    Forward {
        to: String,
        from: String,
    },
}

struct State {
    rooms: Rooms,
    mailboxes: HashMap<ConnId, Mailbox>,
    counters: SignalCounters,
}

/// All rooms of this process.
pub(crate) struct Hub {
    state: Mutex<State>,
}

/// A seat in the hub; dropping it leaves.
pub(crate) struct Seat {
    hub: Arc<Hub>,
    conn: ConnId,
}

/// A signal in a mailbox, and since when.
struct Waiting {
    signal: ServerSignal,
    since: Instant,
}

/// What a socket is sent; how long that waited is counted.
pub(crate) struct Inbox {
    rx: mpsc::Receiver<Box<Waiting>>,
    counters: SignalCounters,
}

impl Inbox {
    /// The next signal; none when the hub has let go of the socket.
    pub(crate) async fn recv(&mut self) -> Option<ServerSignal> {
        let waiting = self.rx.recv().await?;
        Some(self.take(*waiting))
    }

    /// One that waits already.
    pub(crate) fn waiting(&mut self) -> Option<ServerSignal> {
        let waiting = self.rx.try_recv().ok()?;
        Some(self.take(*waiting))
    }

    fn take(&self, Waiting { signal, since }: Waiting) -> ServerSignal {
        self.counters.taken(&signal, since.elapsed());
        signal
    }
}

/// A socket's side of its seat.
pub(crate) struct SocketSeat {
    pub(crate) seat: Seat,
    pub(crate) inbox: Inbox,
    pub(crate) closing: oneshot::Receiver<Closing>,
}

impl Hub {
    /// `counters`: what is counted here.
    pub(crate) fn new(limits: RoomsLimits, counters: SignalCounters) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                rooms: Rooms::new(limits),
                mailboxes: HashMap::new(),
                counters,
            }),
        })
    }

    /// Opens a room for the peers that a grant names.
    pub(crate) fn open(&self, session_id: &str, peers: &[&str]) -> Result<(), RoomsRefused> {
        self.state.lock().rooms.open(session_id, peers)
    }

    /// Lets a further peer into a room.
    pub(crate) fn admit(&self, session_id: &str, peer_id: &str) -> Result<(), RoomsRefused> {
        self.state.lock().rooms.admit(session_id, peer_id)
    }

    /// Whether a peer may enter a room.
    pub(crate) fn admits(&self, session_id: &str, peer_id: &str) -> bool {
        self.state.lock().rooms.admits(session_id, peer_id)
    }

    /// Closes a room.
    pub(crate) fn close(&self, session_id: &str) {
        let mut state = self.state.lock();
        let out = state.rooms.close(session_id);
        state.carry_out(out);
    }

    /// Seats a socket. Whoever calls has made sure that the peer id is the socket's own.
    pub(crate) fn connect(
        self: &Arc<Self>,
        peer_id: &str,
        mailbox: usize,
    ) -> Result<SocketSeat, RoomsRefused> {
        let (tx, rx) = mpsc::channel(mailbox);
        let (close, closing) = oneshot::channel();
        let mut state = self.state.lock();
        let (conn, out) = state.rooms.connect(peer_id)?;
        state.mailboxes.insert(conn, Mailbox::Socket { tx, close });
        state.carry_out(out);
        let counters = state.counters.clone();
        drop(state);
        Ok(SocketSeat {
            seat: self.seat(conn),
            inbox: Inbox { rx, counters },
            closing,
        })
    }

    /// Seats a service in a room; it is sent to through `tx`.
    pub(crate) fn connect_service(
        self: &Arc<Self>,
        session_id: &str,
        name: &str,
        tx: mpsc::Sender<ServerSignal>,
    ) -> Result<Seat, RoomsRefused> {
        let mut state = self.state.lock();
        let (conn, out) = state.rooms.connect_service(session_id, name)?;
        state.mailboxes.insert(conn, Mailbox::Service { tx });
        state.carry_out(out);
        drop(state);
        Ok(self.seat(conn))
    }

    /// Seats a host under its peer id in the room of a member's session: what `member` sends it
    /// there goes to the host's socket, and nothing else of that room does.
    pub(crate) fn connect_host(
        self: &Arc<Self>,
        session_id: &str,
        host_peer: &str,
        member: &str,
    ) -> Result<Seat, RoomsRefused> {
        let mut state = self.state.lock();
        let (conn, out) = state.rooms.connect_service(session_id, host_peer)?;
        let mailbox = Mailbox::Forward {
            to: host_peer.to_owned(),
            from: member.to_owned(),
        };
        state.mailboxes.insert(conn, mailbox);
        state.carry_out(out);
        drop(state);
        Ok(self.seat(conn))
    }

    /// Sends to the socket of a peer id, if there is one, whichever room it is in. Tells whether there
    /// was.
    pub(crate) fn send_to(&self, peer_id: &str, signal: ServerSignal) -> bool {
        let mut state = self.state.lock();
        let conn = state.rooms.conn_of(peer_id);
        if let Some(conn) = conn {
            state.carry_out(vec![Output::Deliver { conn, signal }]);
        }
        conn.is_some()
    }

    /// Closes the socket of a peer id, if there is one.
    pub(crate) fn expel(&self, peer_id: &str, why: Closing) {
        let mut state = self.state.lock();
        if let Some(conn) = state.rooms.conn_of(peer_id) {
            state.shut(conn, why);
            let out = state.rooms.disconnect(conn);
            state.carry_out(out);
        }
    }

    /// Whether a peer is in a room.
    pub(crate) fn is_in(&self, session_id: &str, peer_id: &str) -> bool {
        self.state.lock().rooms.is_in(session_id, peer_id)
    }

    /// Open sockets, and rooms that somebody may enter.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = self.state.lock();
        let socket = |mailbox: &&Mailbox| matches!(mailbox, Mailbox::Socket { .. });
        let sockets = state.mailboxes.values().filter(socket).count();
        let (_, rooms) = state.rooms.counts();
        (sockets as u64, rooms as u64)
    }

    fn seat(self: &Arc<Self>, conn: ConnId) -> Seat {
        Seat {
            hub: Arc::clone(self),
            conn,
        }
    }
}

impl Seat {
    /// Which connection it is.
    pub(crate) fn conn(&self) -> ConnId {
        self.conn
    }

    /// Carries out a message of this connection.
    pub(crate) fn handle(&self, signal: ClientSignal) {
        let timestamp = timestamp();
        let mut state = self.hub.state.lock();
        let out = state.rooms.handle(self.conn, signal, &timestamp);
        state.carry_out(out);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        state.mailboxes.remove(&self.conn);
        let out = state.rooms.disconnect(self.conn);
        state.carry_out(out);
    }
}

impl State {
    /// Never waits, so it may run under the lock; which is what keeps signals in order.
    fn carry_out(&mut self, out: Vec<Output>) {
        let mut todo = VecDeque::from(out);
        while let Some(output) = todo.pop_front() {
            match output {
                Output::Deliver { conn, signal } => {
                    if self.deliver(conn, signal) {
                        self.shut(conn, Closing::TooSlow);
                        todo.extend(self.rooms.disconnect(conn));
                    }
                }
                Output::Close {
                    conn,
                    reason: CloseReason::Replaced,
                } => self.shut(conn, Closing::Replaced),
            }
        }
    }

    /// Puts a signal into a mailbox. True when the socket has to go because it does not read.
    fn deliver(&self, conn: ConnId, signal: ServerSignal) -> bool {
        let waiting_now = |signal| {
            let since = Instant::now();
            Box::new(Waiting { signal, since })
        };
        let Some(mailbox) = self.mailboxes.get(&conn) else {
            return false;
        };
        let relayed = self.counters.of(&signal);
        let count = || {
            if let Some(counter) = relayed {
                counter.inc();
            }
        };
        match mailbox {
            Mailbox::Socket { tx, .. } => {
                let full = is_full(tx, waiting_now(signal));
                if !full {
                    count();
                }
                full
            }
            Mailbox::Service { tx } => {
                if !is_full(tx, signal) {
                    count();
                } else {
                    tracing::debug!(?conn, "a service's mailbox is full, signal dropped");
                }
                false
            }
            Mailbox::Forward { to, from } => {
                let host = self.rooms.conn_of(to).and_then(|c| self.mailboxes.get(&c));
                let Some(Mailbox::Socket { tx, .. }) = host else {
                    return false;
                };
                let waiting = tx.max_capacity() - tx.capacity();
                if !is_for_host(&signal, from) {
                    return false;
                }
                if waiting < FORWARDED && !is_full(tx, waiting_now(signal)) {
                    count();
                } else {
                    tracing::debug!(host = to, "a host's mailbox is full, signal dropped");
                }
                false
            }
        }
    }

    fn shut(&mut self, conn: ConnId, why: Closing) {
        if let Some(Mailbox::Socket { close, .. }) = self.mailboxes.remove(&conn) {
            let _ = close.send(why);
        }
    }
}

/// Puts something into a mailbox; true when it is full. A closed one is that of a seat which is
/// about to be dropped.
fn is_full<T>(tx: &mpsc::Sender<T>, signal: T) -> bool {
    matches!(tx.try_send(signal), Err(mpsc::error::TrySendError::Full(_)))
}

/// Whether a host is told of this out of a member's room.
fn is_for_host(signal: &ServerSignal, member: &str) -> bool {
    match signal {
        ServerSignal::Offer { from, .. }
        | ServerSignal::Answer { from, .. }
        | ServerSignal::IceCandidate { from, .. } => from == member,
        // What it sent there could not be carried out.
        ServerSignal::Error { .. } => true,
        _ => false,
    }
}

fn timestamp() -> String {
    time::OffsetDateTime::now_utc()
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn join() -> ClientSignal {
        ClientSignal::Join {
            session_id: "s".into(),
        }
    }

    fn offer(to: &str) -> ClientSignal {
        ClientSignal::Offer {
            to: to.into(),
            sdp: json!("v=0"),
        }
    }

    fn hub() -> Arc<Hub> {
        let hub = Hub::new(RoomsLimits::default(), SignalCounters::default());
        hub.open("s", &["a", "b"]).unwrap();
        hub
    }

    #[tokio::test]
    async fn two_peers_of_a_room_exchange_offers() {
        let hub = hub();
        let mut a = hub.connect("a", MAILBOX).unwrap();
        let mut b = hub.connect("b", MAILBOX).unwrap();
        a.seat.handle(join());
        b.seat.handle(join());
        a.seat.handle(offer("b"));
        assert!(matches!(
            b.inbox.recv().await.unwrap(),
            ServerSignal::SessionJoined { peers, .. } if peers == ["a"]
        ));
        let ServerSignal::Offer {
            from, timestamp, ..
        } = b.inbox.recv().await.unwrap()
        else {
            panic!("no offer");
        };
        assert_eq!(from, "a");
        assert!(
            timestamp.ends_with('Z') && timestamp.contains('T'),
            "{timestamp}"
        );
        drop(b);
        for expected in ["session-joined", "peer-joined", "peer-left"] {
            let signal = serde_json::to_value(a.inbox.recv().await.unwrap()).unwrap();
            assert_eq!(signal["type"], expected);
        }
    }

    #[tokio::test]
    async fn whoever_does_not_read_is_disconnected_and_the_others_are_told() {
        let hub = hub();
        let a = hub.connect("a", MAILBOX).unwrap();
        let mut b = hub.connect("b", MAILBOX).unwrap();
        a.seat.handle(join());
        b.seat.handle(join());
        let mut b_saw = Vec::new();
        for _ in 0..=MAILBOX {
            b.seat.handle(offer("a"));
            while let Some(signal) = b.inbox.waiting() {
                b_saw.push(serde_json::to_value(signal).unwrap()["type"].clone());
            }
        }
        assert_eq!(a.closing.await, Ok(Closing::TooSlow));
        assert!(b_saw.contains(&json!("peer-left")), "{b_saw:?}");
    }

    #[tokio::test]
    async fn the_older_socket_is_closed_and_its_end_harms_nothing() {
        let hub = hub();
        let old = hub.connect("a", MAILBOX).unwrap();
        old.seat.handle(join());
        let mut new = hub.connect("a", MAILBOX).unwrap();
        new.seat.handle(join());
        assert_eq!(old.closing.await, Ok(Closing::Replaced));
        drop(old.seat);
        let b = hub.connect("b", MAILBOX).unwrap();
        b.seat.handle(join());
        b.seat.handle(offer("a"));
        for expected in ["session-joined", "peer-joined", "offer"] {
            let signal = serde_json::to_value(new.inbox.recv().await.unwrap()).unwrap();
            assert_eq!(signal["type"], expected);
        }
    }

    #[tokio::test]
    async fn a_host_hears_its_member_and_nobody_else_of_the_room() {
        let hub = hub();
        hub.open("own", &["h"]).unwrap();
        let mut host = hub.connect("h", HOST_MAILBOX).unwrap();
        let seat = hub.connect_host("s", "h", "a").unwrap();
        let mut a = hub.connect("a", MAILBOX).unwrap();
        let b = hub.connect("b", MAILBOX).unwrap();
        a.seat.handle(join());
        b.seat.handle(join());
        b.seat.handle(offer("h"));
        a.seat.handle(offer("h"));
        let ServerSignal::Offer { from, .. } = host.inbox.recv().await.unwrap() else {
            panic!("no offer");
        };
        assert_eq!(from, "a");
        seat.handle(offer("a"));
        for expected in ["session-joined", "peer-joined", "offer"] {
            let signal = serde_json::to_value(a.inbox.recv().await.unwrap()).unwrap();
            assert_eq!(signal["type"], expected);
        }
        // A member that floods it takes the first places only, and the coordinator still gets through.
        for _ in 0..2 * FORWARDED {
            a.seat.handle(offer("h"));
        }
        hub.send_to("h", ServerSignal::Drained);
        let mut offers = 0;
        while let Some(signal) = host.inbox.waiting() {
            match signal {
                ServerSignal::Offer { .. } => offers += 1,
                other => assert_eq!(other, ServerSignal::Drained),
            }
        }
        assert_eq!(offers, FORWARDED);
        drop(seat);
        a.seat.handle(offer("h"));
        assert!(host.inbox.waiting().is_none());
    }

    #[tokio::test]
    async fn a_service_that_does_not_read_loses_signals_and_nothing_else() {
        let hub = hub();
        let (tx, mut to_service) = mpsc::channel(2);
        let service = hub.connect_service("s", "endpoint", tx).unwrap();
        let mut a = hub.connect("a", MAILBOX).unwrap();
        a.seat.handle(join());
        for _ in 0..5 {
            a.seat.handle(offer("endpoint"));
        }
        assert!(to_service.recv().await.is_some());
        service.handle(offer("a"));
        for expected in ["session-joined", "offer"] {
            let signal = serde_json::to_value(a.inbox.recv().await.unwrap()).unwrap();
            assert_eq!(signal["type"], expected);
        }
        drop(service);
        let signal = serde_json::to_value(a.inbox.recv().await.unwrap()).unwrap();
        assert_eq!(signal["type"], "peer-left");
    }
}
