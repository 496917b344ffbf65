//! The signaling socket of one session: one socket for as long as the session lives, over which
//! WebRTC set-ups with the endpoint and with hosts are talked about, and the coordinator tells what
//! changes.
//!
//! * Lost, it is opened again with backoff and jitter; what was being talked about then fails, and
//!   whoever talked tries again. Paths that are open need the socket no more.
//! * It is pinged, and opened anew when nothing was heard for [`QUIET`]: what the coordinator has to say
//!   of its own accord, as that P2P is switched off, reaches the launcher within a minute.
//! * On another network it is opened anew at once: one of an address that is gone fails silently, and
//!   nothing could be talked about until the system gives it up, which takes a quarter of an hour.
//! * Who talks with whom is told apart by the sender's peer id, which the coordinator vouches for.
//! * A talk whose reader lags loses candidates, never the order of what it gets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;
use warp_engine_core::event::Event;
use warp_link::websocket::{Beat, Pulse, Socket, connect_socket};
use warp_protocol::ProblemCode;
use warp_protocol::hosting::{HostOffer, HostsReason, SignedPolicy};
use warp_protocol::rest::SessionGrant;
use warp_protocol::signal::{ClientSignal, EndedReason, MAX_NOTICE, MAX_SIGNAL, ServerSignal};

use crate::coordinator::Coordinator;
use crate::paths::changed;
use crate::signaling::SetupError;

/// Messages that wait for one talk, or for the socket.
const WAITING: usize = 64;
/// Longest wait before the socket is opened again.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Nothing was heard for so long, not even an answer to a ping: the socket is dead. With the longest wait
/// before the next one it is less than the minute in which the switch has to arrive.
const QUIET: Duration = Duration::from_secs(30);

/// What the coordinator tells of its own accord.
#[derive(Debug)]
pub(crate) enum RoomEvent {
    /// The hosts of the session from now on.
    Hosts {
        hosts: Vec<HostOffer>,
        reason: HostsReason,
    },
    /// What is allowed in the zone from now on.
    Policy(SignedPolicy),
    /// The session has ended at the coordinator.
    Ended(EndedReason, ProblemCode),
    /// Staff says something.
    Notice(Event),
}

#[derive(Debug, Default)]
struct Talks {
    /// By peer id; a handful.
    by_peer: HashMap<String, (u64, mpsc::Sender<ServerSignal>)>,
    next: u64,
}

/// A handle; clones are the same room.
#[derive(Clone)]
pub(crate) struct Room {
    talks: Arc<Mutex<Talks>>,
    out: mpsc::Sender<ClientSignal>,
    joined: watch::Receiver<bool>,
}

/// A set-up that is being talked about with one peer. Dropping it ends it.
pub(crate) struct Talk {
    pub(crate) peer: String,
    number: u64,
    talks: Arc<Mutex<Talks>>,
    inbox: mpsc::Receiver<ServerSignal>,
    out: mpsc::Sender<ClientSignal>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        let mut talks = self.talks.lock();
        let mine = talks.by_peer.get(&self.peer);
        if mine.is_some_and(|(number, _)| *number == self.number) {
            talks.by_peer.remove(&self.peer);
        }
    }
}

impl Talk {
    /// What the peer, or the coordinator about it, says next.
    ///
    /// # Errors
    /// The socket was lost, or a newer talk with this peer has begun.
    pub(crate) async fn next(&mut self) -> Result<ServerSignal, SetupError> {
        self.inbox.recv().await.ok_or(SetupError::Ended)
    }

    /// Says something.
    ///
    /// # Errors
    /// The room is closed.
    pub(crate) async fn say(&self, signal: ClientSignal) -> Result<(), SetupError> {
        self.out.send(signal).await.map_err(|_| SetupError::Ended)
    }
}

impl Room {
    /// Opens the room of a session, and keeps it until `stop`. What the coordinator tells comes out of
    /// the receiver; `network` counts up when the network is another one.
    pub(crate) fn open(
        coordinator: Arc<Coordinator>,
        grant: &SessionGrant,
        network: watch::Receiver<u64>,
        stop: CancellationToken,
    ) -> (Self, mpsc::Receiver<RoomEvent>) {
        let talks = Arc::new(Mutex::new(Talks::default()));
        let (out, waiting) = mpsc::channel(WAITING);
        let (events, told) = mpsc::channel(WAITING);
        let (is_joined, joined) = watch::channel(false);
        let keeper = Keeper {
            coordinator,
            grant: grant.clone(),
            talks: talks.clone(),
            waiting,
            events,
            is_joined,
            network,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = Box::pin(keeper.run()) => {}
                () = stop.cancelled() => {}
            }
        });
        let room = Self { talks, out, joined };
        (room, told)
    }

    /// Begins to talk with a peer, once the room has been entered. An older talk with it ends.
    ///
    /// # Errors
    /// The room is closed.
    pub(crate) async fn talk(&self, peer: &str) -> Result<Talk, SetupError> {
        let mut joined = self.joined.clone();
        joined
            .wait_for(|joined| *joined)
            .await
            .map_err(|_| SetupError::Ended)?;
        let (tx, inbox) = mpsc::channel(WAITING);
        let mut talks = self.talks.lock();
        talks.next += 1;
        let number = talks.next;
        talks.by_peer.insert(peer.to_owned(), (number, tx));
        drop(talks);
        Ok(Talk {
            peer: peer.to_owned(),
            number,
            talks: self.talks.clone(),
            inbox,
            out: self.out.clone(),
        })
    }

    /// Tells the coordinator something, if the socket is there to take it.
    pub(crate) fn tell(&self, signal: ClientSignal) {
        if !*self.joined.borrow() || self.out.try_send(signal).is_err() {
            tracing::debug!("a report was not told: signaling is away or slow");
        }
    }
}

/// Keeps the socket.
struct Keeper {
    coordinator: Arc<Coordinator>,
    grant: SessionGrant,
    talks: Arc<Mutex<Talks>>,
    waiting: mpsc::Receiver<ClientSignal>,
    events: mpsc::Sender<RoomEvent>,
    is_joined: watch::Sender<bool>,
    network: watch::Receiver<u64>,
}

/// How a socket's life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    /// Before the room had been entered.
    Refused,
    /// After that.
    Lost,
    /// The network is another one.
    Moved,
}

impl Keeper {
    async fn run(mut self) {
        let backoff = || {
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(250))
                .with_max_delay(LONGEST_WAIT)
                .without_max_times()
                .with_jitter()
                .build()
        };
        let mut pauses = backoff();
        loop {
            let mut served = Served::Refused;
            self.network.mark_unchanged();
            match self.connect().await {
                Ok(socket) => {
                    served = self.serve(socket).await;
                    if served != Served::Refused {
                        pauses = backoff();
                    }
                    self.is_joined.send_replace(false);
                    // Whoever talked finds the end of its inbox, and begins anew.
                    self.talks.lock().by_peer.clear();
                    while self.waiting.try_recv().is_ok() {}
                }
                Err(SetupError::Unauthorized) => self.renew_token().await,
                Err(error) => tracing::debug!(%error, "the signaling socket did not open"),
            }
            if self.events.is_closed() {
                return;
            }
            if served == Served::Moved {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(pauses.next().unwrap_or(LONGEST_WAIT)) => {}
                () = changed(&mut self.network) => pauses = backoff(),
            }
        }
    }

    async fn connect(&self) -> Result<Socket, SetupError> {
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_SIGNAL))
            .max_frame_size(Some(MAX_SIGNAL));
        let target = self.coordinator.signaling_target(&self.grant);
        Ok(connect_socket(&target, limits).await?)
    }

    async fn renew_token(&self) {
        if let Some(stale) = self.coordinator.access_token()
            && let Err(problem) = self.coordinator.renew(&stale).await
        {
            tracing::warn!(code = ?problem.code, "the access token could not be renewed");
        }
    }

    /// Runs the socket until it ends, or another one is to take its place.
    async fn serve(&mut self, mut socket: Socket) -> Served {
        let mut entered = false;
        let lost = |entered| {
            if entered {
                Served::Lost
            } else {
                Served::Refused
            }
        };
        let mut pulse = Pulse::new(PING_EVERY, QUIET);
        loop {
            tokio::select! {
                () = changed(&mut self.network) => {
                    tracing::info!("the signaling socket is opened anew");
                    return Served::Moved;
                }
                beat = pulse.next() => {
                    if beat == Beat::Dead {
                        tracing::info!("nothing was heard on the signaling socket: it is opened anew");
                        return Served::Moved;
                    }
                    if socket.send(Message::Ping(Bytes::new())).await.is_err() {
                        return lost(entered);
                    }
                }
                signal = self.waiting.recv(), if entered => {
                    let Some(signal) = signal else { return lost(entered) };
                    let Ok(text) = serde_json::to_string(&signal) else { continue };
                    if socket.send(Message::text(text)).await.is_err() {
                        return lost(entered);
                    }
                }
                message = socket.next() => {
                    let Some(Ok(message)) = message else { return lost(entered) };
                    pulse.heard();
                    let Some(signal) = read(&message) else { continue };
                    if matches!(signal, ServerSignal::SessionJoined { .. }) {
                        entered = true;
                        self.is_joined.send_replace(true);
                    } else if !self.take(signal) {
                        return lost(entered);
                    }
                }
            }
        }
    }

    /// Hands on what came. False: whoever should take it is gone, or so slow that what it missed has
    /// to be told anew.
    fn take(&self, signal: ServerSignal) -> bool {
        let event = match signal {
            ServerSignal::Hosts { hosts, reason } => RoomEvent::Hosts { hosts, reason },
            ServerSignal::Policy { policy } => RoomEvent::Policy(policy),
            ServerSignal::SessionEnded { code, reason } => RoomEvent::Ended(reason, code),
            ServerSignal::Notice {
                text,
                from,
                zone_id,
                timestamp,
            } => RoomEvent::Notice(Event::Notice {
                text: text.chars().take(MAX_NOTICE).collect(),
                from,
                zone: zone_id,
                timestamp,
            }),
            signal => {
                self.pass(signal);
                return true;
            }
        };
        self.events.try_send(event).is_ok()
    }

    /// Gives a signal to the talk that it belongs to.
    fn pass(&self, signal: ServerSignal) {
        let from = match &signal {
            ServerSignal::Offer { from, .. }
            | ServerSignal::Answer { from, .. }
            | ServerSignal::IceCandidate { from, .. } => Some(from.clone()),
            ServerSignal::PeerLeft { peer_id } => Some(peer_id.clone()),
            // Without a name it may be about any of them.
            ServerSignal::Error { to, .. } => to.clone(),
            _ => return,
        };
        let talks = self.talks.lock();
        let addressed = |peer: &String| from.as_ref().is_none_or(|from| from == peer);
        for (_, (_, talk)) in talks.by_peer.iter().filter(|(peer, _)| addressed(peer)) {
            if talk.try_send(signal.clone()).is_err() {
                tracing::debug!("a signaling message was dropped: its reader is gone or slow");
            }
        }
    }
}

/// `None` for what is no signaling message; pings answer themselves.
fn read(message: &Message) -> Option<ServerSignal> {
    let Message::Text(text) = message else {
        return None;
    };
    serde_json::from_str(text)
        .inspect_err(|error| tracing::debug!(%error, "an unknown signaling message"))
        .ok()
}
