//! One control socket, from its opening to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use warp_link::websocket::{ConnectError, Socket, connect_socket};
use warp_link::{Carrier, CarrierFeed, CloseReason};
use warp_link_core::{Holder, State, Trust, verify};
use warp_protocol::ProblemCode;
use warp_protocol::endpoint::{
    ALIVE_EVERY, BadControl, FromEndpoint, HeldHost, HeldSession, HeldWay, HostedClaim,
    LinkFigures, MAX_CONTROL, MAX_HELD_WAYS, RELAYED_LEN, SILENT_AFTER, STEP_TIME, ToEndpoint,
    VERSION, carrier_of, endpoint_message, read,
};
use warp_protocol::identity::{PublicKey, RefusedReason, SIGNATURE, identity_message};
use warp_protocol::rest::{IdentityProof, RefusalCount};

use super::{Frame, Outbound, Remote, random};
use crate::endpoint::unix_now;
use crate::{Endpoint, GrantRefused, HostRoute, SessionView};

/// Longest that one frame may take to be written.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Shortest silence after which a node is taken to be gone, whatever it says.
const SHORTEST_SILENCE: Duration = Duration::from_secs(2);
/// How often it is looked which links are up.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a control socket is no more.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It did not open.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It ended.
    #[error("the control socket has ended")]
    Ended,
    /// Nothing was heard for too long.
    #[error("nothing was heard from the coordinator for too long")]
    Silent,
    /// What came is nothing that a coordinator says there.
    #[error("the coordinator said something unexpected: {0}")]
    Unexpected(&'static str),
    /// What came is no control message.
    #[error(transparent)]
    Bad(#[from] BadControl),
    /// The coordinator did not prove its key.
    #[error("the coordinator did not prove the key that it has to have")]
    Unproven,
    /// The certificate is not believed.
    #[error("the certificate from the coordinator is not believed: {0}")]
    Certificate(RefusedReason),
    /// The coordinator does not want this endpoint.
    #[error("the coordinator refused this endpoint: {message} ({})", code.name())]
    Refused {
        /// Why.
        code: ProblemCode,
        /// Its words.
        message: String,
    },
    /// Nobody is signed in, or the device has no certificate.
    #[error("nobody is signed in here, or this device has no certificate")]
    NotSignedIn,
    /// Another node of the cluster has owned the sessions since this one did.
    #[error("the node's tenure is over, another one has been served since")]
    Superseded,
    /// No random numbers, or no signature.
    #[error("the system gives no random numbers, or the key does not sign")]
    Local,
}

type Sink = SplitSink<Socket, Message>;
type Stream = SplitStream<Socket>;

impl Remote {
    /// Connects and serves until it is over. `served` becomes true once the coordinator has adopted
    /// what is held.
    pub(super) async fn once(&self, served: &mut bool, proven: &impl Fn(&PublicKey)) -> Broken {
        match self.converse(served, proven).await {
            Ok(never) => match never {},
            Err(broken) => broken,
        }
    }

    async fn converse(
        &self,
        served: &mut bool,
        proven: &impl Fn(&PublicKey),
    ) -> Result<std::convert::Infallible, Broken> {
        let nonce = random().ok_or(Broken::Local)?;
        let mut target = self.target(&nonce)?;
        if let Some(hosted) = &self.inner.config.hosted {
            target.bearer_token = hosted.access.token();
        }
        let claim = self.claim().await?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_CONTROL))
            .max_frame_size(Some(MAX_CONTROL));
        let socket = connect_socket(&target, limits).await?;
        let (mut sink, mut stream) = socket.split();
        let step = next_control(&mut stream, STEP_TIME);
        let ToEndpoint::Challenge { proof, nonce: ask } = step.await? else {
            return Err(Broken::Unexpected("no challenge"));
        };
        let key = self.check_coordinator(&proof, &nonce)?;
        let hello = self.hello(&key, &ask, claim)?;
        send(&mut sink, Message::text(hello)).await?;
        let (certificate, required, rotation, capacity, policy, fence, silence) =
            match next_control(&mut stream, STEP_TIME).await? {
                ToEndpoint::Welcome {
                    certificate,
                    require_certificates,
                    key_rotation_seconds,
                    capacity,
                    policy,
                    fence,
                    silent_after_ms,
                } => (
                    certificate,
                    require_certificates,
                    key_rotation_seconds,
                    capacity,
                    policy,
                    fence.unwrap_or(0),
                    silent_after_ms.map_or(SILENT_AFTER, Duration::from_millis),
                ),
                ToEndpoint::Refused { code, message } => {
                    return Err(Broken::Refused { code, message });
                }
                _ => return Err(Broken::Unexpected("no welcome")),
            };
        self.check_certificate(&key, &certificate)?;
        if self.inner.coordinator.get_or_init(|| key) != &key {
            return Err(Broken::Unproven);
        }
        // Only what has proven its key counts.
        if self.inner.fence.fetch_max(fence, Ordering::SeqCst) > fence {
            return Err(Broken::Superseded);
        }
        proven(&key);
        self.take_policy(&key, policy.as_ref())?;
        let rotation = Duration::from_secs(rotation.clamp(60, 86_400));
        let endpoint = self
            .endpoint(required, rotation, capacity)
            .ok_or(Broken::Local)?;
        let out = Arc::new(Outbound::default());
        let serving = Serving {
            remote: self,
            endpoint,
            out: &out,
            key,
            silence: silence.clamp(SHORTEST_SILENCE, SILENT_AFTER),
            feeds: HashMap::new(),
            links: HashMap::new(),
        };
        tokio::select! {
            broken = write(&mut sink, &out) => Err(broken),
            broken = serving.run(&mut stream, served) => Err(broken),
        }
    }

    fn check_coordinator(
        &self,
        proof: &IdentityProof,
        nonce: &[u8; 16],
    ) -> Result<PublicKey, Broken> {
        let key = proof.public_key;
        let known = self.inner.coordinator.get();
        let mut signature = [0; SIGNATURE];
        let decoded = hex::decode_to_slice(&proof.signature, &mut signature).is_ok();
        let message = identity_message(&key, nonce, proof.time);
        if known.is_some_and(|known| *known != key)
            || !decoded
            || !verify(&key, &message, &signature)
        {
            return Err(Broken::Unproven);
        }
        Ok(key)
    }

    fn hello(
        &self,
        coordinator: &PublicKey,
        ask: &str,
        hosted: Option<HostedClaim>,
    ) -> Result<String, Broken> {
        let mut nonce = [0; 16];
        hex::decode_to_slice(ask, &mut nonce)
            .map_err(|_| Broken::Unexpected("a challenge without its bytes"))?;
        let config = &self.inner.config;
        let message = endpoint_message(coordinator, &nonce, &config.name);
        let proof = config.identity.sign(&message).ok_or(Broken::Local)?;
        let hello = FromEndpoint::Hello {
            version: VERSION,
            name: config.name.clone(),
            key: config.identity.key(),
            proof: hex::encode(proof),
            hosted,
        };
        serde_json::to_string(&hello).map_err(|_| Broken::Local)
    }

    fn check_certificate(&self, coordinator: &PublicKey, text: &str) -> Result<(), Broken> {
        let bytes = hex::decode(text).unwrap_or_default();
        let own = self.inner.config.identity.key();
        let now = unix_now();
        Trust::new(*coordinator)
            .check(&bytes, &own, Holder::Endpoint, now)
            .map(drop)
            .map_err(Broken::Certificate)
    }

    /// Names all hosts and sessions, and from then on says on this socket what happens to them.
    fn name_held(&self, endpoint: &Endpoint, out: &Arc<Outbound>) -> HashMap<String, Link> {
        let mut links = links(endpoint);
        // What routes there are changes by what a coordinator says here, and where something ends.
        let hosts = endpoint.host_routes();
        let mut rooms = self.inner.rooms.lock();
        let mut ways: HashMap<String, Vec<(bool, HeldWay)>> = HashMap::new();
        for host in hosts {
            let Some(held) = rooms.hosts.get(&host.host) else {
                continue;
            };
            for (route, carries) in host.routes {
                let way = HeldWay {
                    host: route.host,
                    slot: route.slot,
                    epoch: route.epoch,
                    way: route.way,
                };
                let of = ways.entry(route.session_id).or_default();
                of.push((carries, way));
            }
            let host = HeldHost {
                spec: held.spec.clone(),
                next_slot: host.next_slot,
                last_epoch: host.last_epoch,
            };
            out.say(&FromEndpoint::HeldHost { host });
        }
        for held in rooms.sessions.values() {
            let who = held.who.clone();
            let up = links.get(&who.session_id).is_some_and(|link| link.up);
            let mut ways = ways.remove(&who.session_id).unwrap_or_default();
            ways.sort_by_key(|(carries, _)| !carries);
            let ways = ways.into_iter().map(|(_, way)| way);
            let ways = ways.take(MAX_HELD_WAYS).collect();
            let session = HeldSession { who, up, ways };
            out.say(&FromEndpoint::Held { session });
        }
        out.say(&FromEndpoint::Ready);
        rooms.out = Some(Arc::clone(out));
        for link in links.values_mut() {
            link.figures = None;
        }
        links
    }
}

/// What a socket has beside the sessions.
struct Serving<'a> {
    remote: &'a Remote,
    endpoint: &'a Endpoint,
    out: &'a Arc<Outbound>,
    key: PublicKey,
    /// The node is gone when nothing was heard for so long.
    silence: Duration,
    /// Relayed carriers; they end with the socket.
    feeds: HashMap<u32, CarrierFeed>,
    /// What was said of links.
    links: HashMap<String, Link>,
}

/// What is said of a session's link.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link {
    up: bool,
    figures: Option<LinkFigures>,
}

impl Serving<'_> {
    async fn run(mut self, stream: &mut Stream, served: &mut bool) -> Broken {
        self.links = self.remote.name_held(self.endpoint, self.out);
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alive = tokio::time::interval(ALIVE_EVERY.min(self.silence / 4));
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = tokio::time::Instant::now();
        loop {
            let message = tokio::select! {
                _ = look.tick() => {
                    self.say_links(false);
                    self.end_feeds();
                    continue;
                }
                _ = alive.tick() => {
                    if heard.elapsed() >= self.silence {
                        return Broken::Silent;
                    }
                    self.say_figures();
                    continue;
                }
                message = stream.next() => message,
            };
            heard = tokio::time::Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => match read::<ToEndpoint>(&text) {
                    Ok(ToEndpoint::Adopted { accepted, revoked }) => {
                        tracing::info!(accepted, revoked, "serving the coordinator");
                        *served = true;
                        self.remote.inner.serving.send_replace(true);
                    }
                    Ok(message) => {
                        if let Err(broken) = self.take(message) {
                            return broken;
                        }
                    }
                    Err(bad) => return bad.into(),
                },
                Some(Ok(Message::Binary(frame))) => self.relayed(&frame),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Broken::Ended,
                Some(Ok(_)) => {}
            }
        }
    }

    fn take(&mut self, message: ToEndpoint) -> Result<(), Broken> {
        let (remote, endpoint) = (self.remote, self.endpoint);
        match message {
            ToEndpoint::Grant { spec } => {
                let room = spec.who.session_id.clone();
                self.answer(room, remote.grant(endpoint, spec));
            }
            ToEndpoint::GrantHost { spec } => {
                let room = spec.room.clone();
                self.answer(room, remote.grant_host(endpoint, spec));
            }
            ToEndpoint::Revoke { session_id, code } => match code {
                Some(code) => endpoint.end(&session_id, code),
                None => endpoint.revoke(&session_id),
            },
            ToEndpoint::Signal { room, signal } => remote.signal(&room, signal),
            ToEndpoint::RenewHost { spec } => remote.renew_host(spec),
            ToEndpoint::EndHost { room } => endpoint.end_host(&room),
            ToEndpoint::Route {
                host,
                slot,
                epoch,
                session_id,
                way,
            } => {
                let route = HostRoute {
                    host,
                    slot,
                    epoch,
                    session_id,
                    way,
                };
                if let Err(error) = endpoint.route(route) {
                    // The member finds that nothing comes through, reports it, and is given another.
                    tracing::warn!(%error, "a route was not taken");
                }
            }
            ToEndpoint::Unroute { host, slot } => endpoint.unroute(&host, slot),
            ToEndpoint::CarrierOpen {
                carrier,
                room,
                host,
            } => self.open(carrier, &room, host),
            ToEndpoint::CarrierClose { carrier } => {
                if let Some(feed) = self.feeds.remove(&carrier) {
                    feed.end(CloseReason::Remote);
                }
            }
            ToEndpoint::Certificate { certificate } => {
                remote.check_certificate(&self.key, &certificate)?;
            }
            ToEndpoint::Policy { policy } => remote.take_policy(&self.key, Some(&policy))?,
            ToEndpoint::Alive | ToEndpoint::Adopted { .. } => {}
            ToEndpoint::Refused { code, message } => {
                return Err(Broken::Refused { code, message });
            }
            ToEndpoint::Challenge { .. } | ToEndpoint::Welcome { .. } => {
                return Err(Broken::Unexpected("the beginning, once more"));
            }
        }
        Ok(())
    }

    fn answer(&self, room: String, granted: Result<(), GrantRefused>) {
        self.out.say(&match granted {
            Ok(()) => FromEndpoint::Granted { room },
            Err(refused) => FromEndpoint::GrantRefused {
                room,
                untrusted: match refused {
                    GrantRefused::Untrusted(reason) => Some(reason),
                    _ => None,
                },
                message: refused.to_string(),
            },
        });
    }

    /// A carrier at the coordinator becomes one of the session's link.
    fn open(&mut self, number: u32, room: &str, host: bool) {
        let out = Arc::clone(self.out);
        let (carrier, feed): (Carrier, _) =
            Carrier::through(move |datagram| out.relay(number, &datagram));
        let attached = if host {
            self.endpoint.attach_host_wss(room, carrier)
        } else {
            self.endpoint.attach_wss(room, carrier)
        };
        match attached {
            Ok(()) => drop(self.feeds.insert(number, feed)),
            Err(refused) => {
                tracing::info!(room, why = %refused, "a relayed carrier was refused");
                self.out
                    .say(&FromEndpoint::CarrierClosed { carrier: number });
            }
        }
    }

    fn relayed(&mut self, frame: &Bytes) {
        let Some(carrier) = carrier_of(frame) else {
            return;
        };
        let Some(feed) = self.feeds.get(&carrier) else {
            return;
        };
        if !feed.deliver(frame.slice(RELAYED_LEN..)) {
            self.feeds.remove(&carrier);
            self.out.say(&FromEndpoint::CarrierClosed { carrier });
        }
    }

    /// Says which links are up that were not, and the other way; with `figures` also of which those
    /// have changed.
    fn say_links(&mut self, figures: bool) {
        let mut now = links(self.endpoint);
        for (session_id, link) in &mut now {
            let said = self.links.get(session_id);
            match said {
                Some(said) if said == link => {}
                // What was not said is still to be said.
                Some(said) if said.up == link.up && !figures => *link = *said,
                _ => self.out.say(&FromEndpoint::Link {
                    session_id: session_id.clone(),
                    up: link.up,
                    figures: link.figures,
                }),
            }
        }
        self.links = now;
    }

    /// Ends carriers that their links gave up.
    fn end_feeds(&mut self) {
        let out = self.out;
        self.feeds.retain(|carrier, feed| {
            let ended = feed.is_ended();
            if ended {
                out.say(&FromEndpoint::CarrierClosed { carrier: *carrier });
            }
            !ended
        });
    }

    fn say_figures(&mut self) {
        self.out.say(&FromEndpoint::Alive);
        self.say_links(true);
        let refusals = self.endpoint.refusals().into_iter();
        let refusals = refusals.map(|(reason, count)| RefusalCount { reason, count });
        let refusals = refusals.collect();
        self.out.say(&FromEndpoint::Figures { refusals });
        for (room, traffic) in self.endpoint.host_traffic() {
            self.out.say(&FromEndpoint::HostFigures { room, traffic });
        }
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        // Nothing is said on a socket that is no more, and no carrier waits for it.
        self.remote.inner.rooms.lock().out = None;
        self.out.close();
    }
}

/// Whether the link of each session is up, or waits for a path to come back.
fn links(endpoint: &Endpoint) -> HashMap<String, Link> {
    let link = |session: &SessionView| Link {
        up: is_up(session.state),
        figures: Some(session.figures()),
    };
    let sessions = endpoint.sessions().into_iter();
    sessions
        .map(|session| (session.session_id.clone(), link(&session)))
        .collect()
}

/// Whether a link in this state is a session's life: up, or waiting for a path to come back.
pub(crate) fn is_up(state: State) -> bool {
    match state {
        State::Connected | State::Reconnecting | State::FailingOver => true,
        State::Disconnected | State::Connecting | State::Authenticating => false,
    }
}

async fn next_control(stream: &mut Stream, limit: Duration) -> Result<ToEndpoint, Broken> {
    let text = async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Err(Broken::Ended),
            }
        }
    };
    let text = timeout(limit, text).await.map_err(|_| Broken::Silent)??;
    Ok(read(&text)?)
}

async fn send(sink: &mut Sink, message: Message) -> Result<(), Broken> {
    match timeout(WRITE_TIME, sink.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Broken::Ended),
        Err(_) => Err(Broken::Silent),
    }
}

/// Writes what waits until the socket ends.
async fn write(sink: &mut Sink, out: &Outbound) -> Broken {
    while let Some(frame) = out.next().await {
        let message = match frame {
            Frame::Text(text) => Message::text(text),
            Frame::Binary(bytes) => Message::Binary(bytes),
        };
        if let Err(broken) = send(sink, message).await {
            return broken;
        }
    }
    Broken::Ended
}
