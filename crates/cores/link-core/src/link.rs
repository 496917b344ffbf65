//! The link itself: QUIC in the middle, datagrams with labels on one side, streams on the other.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use noq_proto::crypto::rustls::QuicClientConfig;
use noq_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint, FourTuple, PathId,
    ServerConfig, StreamId, VarInt,
};
use warp_protocol::carrier::{LABEL_LEN, Label, MAX_QUIC_PACKET, PathKind, PathLabel};
use warp_protocol::report::CopyWish;

use crate::books::{Book, all_frames, asking_frames};
use crate::choice::Costs;
use crate::copies::{COPY_DELAY, COPY_MAX, Copies};
use crate::flow::Flow;
use crate::keys::{Counting, KeyPolicy};
use crate::kinds::ByKind;
use crate::policy::Policy;
use crate::recent::{Again, Recent};
use crate::setup::{address_label, endpoint_config, label_address, transport};
use crate::view::SwitchReason;
use crate::{Identity, LinkConfig, Redundancy, State, tls};

/// How long a path that was left for silence still travels over other carriers too, so that what
/// was in flight on it is found and sent again.
pub(crate) const REROUTE_AFTER: Duration = Duration::from_secs(2);

/// A link cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The TLS configuration was refused by the library.
    #[error("the TLS configuration of the session link was refused")]
    Tls,
    /// A number in the configuration is out of range.
    #[error("a number in the link configuration is out of range")]
    Config,
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// This side closed it.
    Local,
    /// The other side closed it, with this code.
    Peer(u64),
    /// Nothing was heard for the hold time.
    Lost,
    /// The other side could not prove its key, or speaks another version.
    Untrusted,
    /// The other side broke the protocol.
    Protocol,
}

/// What happened on a link.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkEvent {
    /// The state or the path in use changed.
    State {
        /// The state.
        state: State,
        /// The path in use.
        path: Option<PathKind>,
        /// Why that path.
        reason: Option<SwitchReason>,
    },
    /// The game moved.
    Moved {
        /// From.
        from: PathKind,
        /// To.
        to: PathKind,
        /// Why.
        reason: SwitchReason,
        /// Silence on the old path before; zero when it had not failed.
        silent: Duration,
        /// What both paths cost by what was measured, where both are known.
        costs: Option<Costs>,
    },
    /// A path is ready to take the game, or carries it.
    Proven(PathKind),
    /// A path was silent for too long: open its carrier anew.
    GivenUp(PathKind),
    /// Over this path comes what was altered or replayed on the way; it is not used for a while.
    Tampered(PathKind),
    /// The other side opened a stream.
    StreamOpened(StreamId),
    /// A stream may have something to read.
    Readable(StreamId),
    /// A blocked stream may take more.
    Writable(StreamId),
    /// The other side does not want more of a stream.
    Stopped(StreamId, u64),
    /// The link has ended; nothing follows.
    Closed(CloseReason),
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Over which carrier.
    pub carrier: PathKind,
    /// Label and QUIC packet.
    pub datagram: Bytes,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Carrier {
    pub(crate) up: bool,
    pub(crate) generation: u8,
    /// The endpoint's side: the generation was heard over this carrier, and not over the one before.
    learnt: bool,
}

/// A datagram whose label is written when it leaves: the packet, behind room for it.
pub(crate) struct Unlabelled {
    pub(crate) carrier: PathKind,
    pub(crate) path: PathLabel,
    pub(crate) datagram: BytesMut,
}

/// A session link. See the crate's documentation.
pub struct Link {
    pub(crate) config: LinkConfig,
    pub(crate) endpoint: Endpoint,
    pub(crate) connection: Option<(ConnectionHandle, Connection)>,
    pub(crate) client: Option<ClientConfig>,
    pub(crate) carriers: ByKind<Carrier>,
    pub(crate) books: BTreeMap<PathId, Book>,
    pub(crate) policy: Policy,
    pub(crate) keys: KeyPolicy,
    pub(crate) events: VecDeque<LinkEvent>,
    out: VecDeque<Unlabelled>,
    copies: Copies,
    scratch: Vec<u8>,
    recent: Recent,
    /// QUIC has said that there is nothing to send, and nothing was done with it since. What pacing holds
    /// back leaves at its timer.
    pub(crate) quiet: bool,
    /// Packets that QUIC has sent; those of the handshake that share a datagram count as one.
    pub(crate) sent: u64,
    /// Frames that were heard so far, over all paths.
    heard: u64,
    pub(crate) refused: u64,
    pub(crate) duplicated: u64,
    /// The same of the other side, as it told last.
    pub(crate) sent_twice_there: u64,
    /// When the engine wishes small packets to be sent twice.
    pub(crate) wished: CopyWish,
    pub(crate) closed: bool,
    /// What is measured of each carrier.
    pub(crate) flows: ByKind<Flow>,
    /// The moment that the told clock counts from: the first datagram.
    pub(crate) clock: Option<Instant>,
    /// When losses were looked at, and how many there were.
    pub(crate) loss_look: Option<(Instant, u64)>,
    /// The endpoint's side, once connected: when to tell the engine what was heard.
    pub(crate) next_report: Option<Instant>,
}

impl Link {
    /// The engine's side. It connects when the first carrier comes up.
    ///
    /// `peer` is the endpoint's public key (SubjectPublicKeyInfo, DER); `seed` is random.
    pub fn client(
        config: LinkConfig,
        identity: &Identity,
        peer: &[u8],
        seed: [u8; 32],
    ) -> Result<Self, LinkError> {
        Self::client_with(config, tls::client(identity, peer)?, seed)
    }

    pub(crate) fn client_with(
        config: LinkConfig,
        tls: QuicClientConfig,
        seed: [u8; 32],
    ) -> Result<Self, LinkError> {
        let keys = KeyPolicy::default();
        let tls = Counting::new(tls, &keys);
        let mut client = ClientConfig::new(tls);
        client.transport_config(Arc::new(transport(&config, false, keys.told())?));
        let endpoint = Endpoint::new(Arc::new(endpoint_config(seed)?), None, false);
        Ok(Self::with(config, endpoint, Some(client), keys))
    }

    /// The endpoint's side: accepts one connection, from the holder of `peer`.
    pub fn server(
        config: LinkConfig,
        identity: &Identity,
        peer: &[u8],
        seed: [u8; 32],
    ) -> Result<Self, LinkError> {
        let keys = KeyPolicy::default();
        let tls = Counting::new(tls::server(identity, peer)?, &keys);
        let mut server = ServerConfig::with_crypto(tls);
        server.transport_config(Arc::new(transport(&config, true, keys.told())?));
        server.max_incoming(1);
        // A path's address is its label, which stays; a host could write another.
        server.migration(false);
        let endpoint = Endpoint::new(
            Arc::new(endpoint_config(seed)?),
            Some(Arc::new(server)),
            false,
        );
        Ok(Self::with(config, endpoint, None, keys))
    }

    fn with(
        config: LinkConfig,
        endpoint: Endpoint,
        client: Option<ClientConfig>,
        keys: KeyPolicy,
    ) -> Self {
        let policy = Policy::new(client.is_some());
        Self {
            config,
            endpoint,
            connection: None,
            client,
            carriers: ByKind::default(),
            books: BTreeMap::new(),
            policy,
            keys,
            events: VecDeque::new(),
            out: VecDeque::new(),
            copies: Copies::default(),
            scratch: Vec::with_capacity(MAX_QUIC_PACKET),
            recent: Recent::default(),
            quiet: false,
            sent: 0,
            heard: 0,
            refused: 0,
            duplicated: 0,
            sent_twice_there: 0,
            wished: CopyWish::default(),
            closed: false,
            flows: ByKind::default(),
            clock: None,
            loss_look: None,
            next_report: None,
        }
    }

    /// True on the engine's side.
    pub(crate) fn is_client(&self) -> bool {
        self.client.is_some()
    }

    // ---- carriers and datagrams

    /// A carrier can be used from now on; for the engine's side this opens a path over it.
    pub fn carrier_up(&mut self, kind: PathKind, now: Instant) {
        if self.closed || !self.config.preference.contains(&kind) {
            return;
        }
        let carrier = self.carriers.or_default(kind);
        carrier.up = true;
        // Labels are not sealed: what the host of before made up ends with its carrier.
        carrier.learnt = false;
        if self.client.is_some() {
            carrier.generation = carrier.generation.wrapping_add(1);
            self.flow(kind).reopen();
            self.open_path(kind, now);
            // Whatever waits on paths that were cut off gets a probe at once.
            self.ping_all();
        }
        self.drive(now);
    }

    /// A carrier is gone.
    pub fn carrier_down(&mut self, kind: PathKind, now: Instant) {
        if let Some(carrier) = self.carriers.get_mut(kind) {
            carrier.up = false;
        }
        self.drive(now);
    }

    /// True when a carrier of that kind is up.
    pub fn has_carrier(&self, kind: PathKind) -> bool {
        self.carriers.get(kind).is_some_and(|carrier| carrier.up)
    }

    /// A datagram came over `carrier`.
    pub fn handle_datagram(&mut self, carrier: PathKind, datagram: &[u8], now: Instant) {
        let Some((label, packet)) = Label::split(datagram) else {
            self.refused += 1;
            return;
        };
        if self.closed {
            return;
        }
        self.quiet = false;
        self.scratch.clear();
        let network_path = FourTuple::from_remote(label_address(label.path));
        let event = self.endpoint.handle(
            now,
            network_path,
            None,
            BytesMut::from(packet),
            &mut self.scratch,
        );
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some((ours, connection)) = &mut self.connection
                    && *ours == handle
                {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.accept(incoming, now),
            // Stateless answers would tell strangers that somebody is here.
            Some(DatagramEvent::Response(_)) | None => {}
        }
        self.pump_endpoint();
        if self.has_heard(label.path) {
            self.recent.remember(carrier, label.stamp.number, packet);
            self.on_heard(carrier, label.path, now);
        } else {
            match self.recent.judge(carrier, label.stamp.number, packet) {
                Again::OtherCarrier => self.on_heard(carrier, label.path, now),
                Again::OwnCopy => {}
                Again::Refused => {
                    self.refused += 1;
                    self.suspect_tampering(carrier, now);
                }
            }
        }
        self.measure(carrier, label, datagram.len(), now);
        self.drive(now);
    }

    fn accept(&mut self, incoming: noq_proto::Incoming, now: Instant) {
        if self.connection.is_some() {
            self.endpoint.ignore(incoming);
            return;
        }
        self.scratch.clear();
        match self.endpoint.accept(incoming, now, &mut self.scratch, None) {
            Ok(connection) => {
                self.connection = Some(connection);
                self.quiet = false;
                self.policy.authenticating();
            }
            Err(_refused) => self.refused += 1,
        }
    }

    /// Whether the datagram that was just handled, labelled as of this path, brought frames that were
    /// authentic and new. They are looked for on that path first: sums over all paths take long.
    fn has_heard(&mut self, label: PathLabel) -> bool {
        let Some((_, connection)) = &mut self.connection else {
            return false;
        };
        let book = self.books.values_mut().find(|book| book.label == label);
        let frames = book.and_then(|book| {
            let stats = connection.path_stats(book.id)?;
            let now = all_frames(&stats.frame_rx);
            let before = book.frames.replace(now)?;
            (now > before).then(|| now - before)
        });
        if let Some(more) = frames {
            self.heard += more;
            return true;
        }
        let before = self.heard;
        self.heard = all_frames(&connection.stats().frame_rx);
        self.heard > before
    }

    fn on_heard(&mut self, carrier: PathKind, label: PathLabel, now: Instant) {
        if self.client.is_none() && carrier == label.kind {
            // The endpoint's side learns the generation from what it hears.
            let known = self.carriers.or_default(label.kind);
            let newest = if std::mem::replace(&mut known.learnt, true) {
                known_or_newer(known.generation, label.generation)
            } else {
                label.generation
            };
            if std::mem::replace(&mut known.generation, newest) != newest {
                self.flow(label.kind).reopen();
            }
        }
        let native = self
            .carriers
            .get(label.kind)
            .is_some_and(|known| known.generation == label.generation);
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        let answered = self.keys.has_new_acks();
        for book in self.books.values_mut() {
            if answered
                && let Some(smoothed) = connection.rtt(book.id)
                && book.established
                && book.trips.observe(smoothed)
                && let Some(leaving) = &mut book.leaving
            {
                leaving.on_answer(now);
            }
            if book.label != label {
                continue;
            }
            if carrier == label.kind && native {
                book.on_heard(now);
            } else if let Some(leaving) = &mut book.leaving {
                leaving.on_heard(now);
            }
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing> {
        loop {
            if let Some(datagram) = self.out.pop_front() {
                return Some(self.labelled(datagram, now));
            }
            if let Some(datagram) = self.copies.pop(now) {
                self.duplicated += 1;
                return Some(self.labelled(datagram, now));
            }
            // Asking takes as long with nothing to send as with something.
            if self.quiet {
                return None;
            }
            self.scratch.clear();
            let (_, connection) = self.connection.as_mut()?;
            let transmit = connection.poll_transmit(now, NonZeroUsize::MIN, &mut self.scratch);
            self.quiet = transmit.is_none();
            let transmit = transmit?;
            self.sent += 1;
            let label = address_label(transmit.destination)?;
            self.route(label, now);
        }
    }

    /// Writes the label, which says when the datagram leaves.
    fn labelled(&mut self, datagram: Unlabelled, now: Instant) -> Outgoing {
        let Unlabelled {
            carrier,
            path,
            mut datagram,
        } = datagram;
        let label = self.label(carrier, path, datagram.len(), now);
        for (place, byte) in datagram.iter_mut().zip(label.to_bytes()) {
            *place = byte;
        }
        Outgoing {
            carrier,
            datagram: datagram.freeze(),
        }
    }

    /// Puts the packet in `scratch` on the carriers that should take it.
    fn route(&mut self, label: PathLabel, now: Instant) {
        let mut datagram = BytesMut::with_capacity(LABEL_LEN + self.scratch.len());
        datagram.put_bytes(0, LABEL_LEN);
        datagram.put_slice(&self.scratch);
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        let handshaking = connection.is_handshaking();
        let native_up = self
            .carriers
            .get(label.kind)
            .is_some_and(|carrier| carrier.up && carrier.generation == label.generation);
        let book = self.books.values_mut().find(|book| book.label == label);
        let mut elsewhere = handshaking || !native_up;
        let mut twice = false;
        if let Some(book) = book {
            let stats = connection.path_stats(book.id);
            let asks = stats.is_some_and(|stats| book.has_asked(asking_frames(&stats.frame_tx)));
            let in_use = self.policy.in_use == Some(book.id);
            if asks && native_up && in_use {
                book.on_asked(now);
            }
            let leaving = book.reroute_until.is_some_and(|until| now < until);
            elsewhere |= (in_use && book.suspect(now)) || leaving;
            twice = in_use && asks && book.redundant_until.is_some_and(|until| now < until);
        }
        if elsewhere {
            let others: Vec<PathKind> = self
                .carriers
                .iter()
                .filter(|(kind, carrier)| carrier.up && !(native_up && *kind == label.kind))
                .map(|(kind, _)| kind)
                .collect();
            for kind in others {
                if native_up {
                    self.duplicated += 1;
                }
                self.push(kind, label, datagram.clone());
            }
        } else if twice && datagram.len() <= COPY_MAX {
            self.push_copy(label, datagram.clone(), now);
        }
        if native_up {
            self.push(label.kind, label, datagram);
        }
    }

    fn push(&mut self, carrier: PathKind, path: PathLabel, datagram: BytesMut) {
        self.out.push_back(Unlabelled {
            carrier,
            path,
            datagram,
        });
    }

    /// Sends it a second time: at once over the next best path, where that is about as quick, else
    /// on the same one a little later.
    fn push_copy(&mut self, path: PathLabel, datagram: BytesMut, now: Instant) {
        let beside = self.copy_way(path.kind, now);
        let datagram = Unlabelled {
            carrier: beside.unwrap_or(path.kind),
            path,
            datagram,
        };
        let due = if beside.is_some() {
            now
        } else {
            now + COPY_DELAY
        };
        self.copies.push(due, datagram, self.config.copy_rate, now);
    }

    /// A carrier beside `used` that loses no more and answers hardly later.
    fn copy_way(&self, used: PathKind, now: Instant) -> Option<PathKind> {
        let trip = |kind: PathKind| self.flows.get(kind)?.trip(now);
        let limit = trip(used)? + COPY_DELAY;
        let ready = self
            .books
            .values()
            .filter(|book| book.label.kind != used && self.is_standby(book, now));
        ready
            .filter_map(|book| Some((book.label.kind, trip(book.label.kind)?)))
            .filter(|(_, trip)| *trip <= limit)
            .min_by_key(|(_, trip)| *trip)
            .map(|(kind, _)| kind)
    }

    // ---- time and events

    /// When to call [`Link::handle_timeout`] next, and why.
    pub fn poll_timeout(&mut self, now: Instant) -> Option<(Instant, &'static str)> {
        let quic = self
            .connection
            .as_ref()
            .and_then(|(_, connection)| connection.poll_timeout())
            .map(|at| (at, "quic"));
        let copy = self.copies.deadline().map(|at| (at, "copy"));
        let policy = self.policy_deadline(now).map(|at| (at, "path policy"));
        let keys = self.key_deadline().map(|at| (at, "key update"));
        let report = self.report_deadline().map(|at| (at, "report"));
        [quic, copy, policy, keys, report]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// The deadline of [`Link::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, connection)) = &mut self.connection
            && connection.poll_timeout().is_some_and(|at| at <= now)
        {
            connection.handle_timeout(now);
            self.quiet = false;
        }
        self.pump_endpoint();
        self.drive(now);
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    fn pump_endpoint(&mut self) {
        let Some((handle, connection)) = &mut self.connection else {
            return;
        };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
                self.quiet = false;
            }
        }
    }

    /// After any input: take QUIC's events, then let the policy look at the paths.
    pub(crate) fn drive(&mut self, now: Instant) {
        self.pump_endpoint();
        while let Some(event) = self
            .connection
            .as_mut()
            .and_then(|(_, connection)| connection.poll())
        {
            self.on_quic_event(event, now);
        }
        if !self.closed {
            self.beat(now);
            self.renew_keys(now);
            self.run_policy(now);
            self.sample_loss(now);
            self.report(now);
        }
        self.pump_endpoint();
    }

    pub(crate) fn end(&mut self, reason: CloseReason) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.copies.clear();
        self.set_state(State::Disconnected, None, None);
        self.events.push_back(LinkEvent::Closed(reason));
    }

    // ---- commands

    /// Moves the game to the best other path now. `None`: there is none.
    pub fn fail_over(&mut self, now: Instant) -> Option<(PathKind, PathKind)> {
        let moved = self.leave_current(SwitchReason::Asked, now);
        self.drive(now);
        moved
    }

    /// Moves the game off the path in use, which is about to be closed on purpose. `None`: there is no
    /// other.
    pub fn withdraw(&mut self, now: Instant) -> Option<(PathKind, PathKind)> {
        let moved = self.leave_current(SwitchReason::Withdrawn, now);
        self.drive(now);
        moved
    }

    /// Moves the game to the path of this kind now, and keeps it there for ten times
    /// [`LinkConfig::bench`] as long as it is usable: every other path counts as left by choice. From
    /// where to where; both are `kind` when it is in use already. `None`: there is no usable path of it.
    pub fn use_path(&mut self, kind: PathKind, now: Instant) -> Option<(PathKind, PathKind)> {
        let moved = self.take_by_hand(kind, now);
        self.drive(now);
        moved
    }

    /// When small packets are sent twice from now on.
    pub fn set_redundancy(&mut self, redundancy: Redundancy, now: Instant) {
        if std::mem::replace(&mut self.config.redundancy, redundancy) != redundancy {
            self.forget_copies();
            // The other side hears of it now.
            self.next_report = self.next_report.map(|_| now);
            self.drive(now);
        }
    }

    /// When small packets are sent twice.
    pub fn redundancy(&self) -> Redundancy {
        self.config.redundancy
    }

    /// Hosts with a longer round trip are not used while there is another path; `None`: any may be.
    pub fn set_host_max_rtt(&mut self, limit: Option<Duration>) {
        self.config.host_max_rtt = limit;
    }

    /// Forgets that paths were left by choice, so that the best may come back.
    pub fn unbench(&mut self, now: Instant) {
        self.forget_benches();
        self.drive(now);
    }

    /// Ends the link and tells the other side.
    pub fn close(&mut self, code: u32, now: Instant) {
        if let Some((_, connection)) = &mut self.connection {
            connection.close(now, VarInt::from_u32(code), Bytes::new());
            self.quiet = false;
        }
        self.end(CloseReason::Local);
    }

    pub(crate) fn reroute_after(now: Instant) -> Instant {
        now + REROUTE_AFTER
    }
}

/// The newer of two generations, which count up and wrap: an old path's datagrams also travel over
/// its successor's carrier.
fn known_or_newer(known: u8, seen: u8) -> u8 {
    if seen.wrapping_sub(known) < 128 {
        seen
    } else {
        known
    }
}

#[cfg(test)]
mod tests;
