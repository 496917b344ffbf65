//! An endpoint that is a process of its own, and serves a coordinator over a control socket
//! ([`warp_protocol::endpoint`]).
//!
//! Sessions and their connections to game servers, and hosts and their routes, belong to the endpoint,
//! not to the socket: when the socket ends, because the coordinator was restarted or the network
//! between was cut, they stay, and are named to the coordinator when the next socket is open. With each
//! host goes which slots and epochs it has had, so that a coordinator that was restarted gives none of
//! them again: no forwarded datagram of an earlier lease finds a route of a later one.
//!
//! The socket is opened again after 250 ms, doubling up to 5 s, with jitter. Where several addresses
//! are given, of the nodes of a cluster, the next one is tried each time, and the pause grows once all
//! were tried. A node whose tenure is older than one that the endpoint has served is refused.

mod conversation;
mod hosted;
mod outbound;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use warp_link::websocket::{ConnectError, WsTarget, ws_url};
use warp_link_core::Trust;
use warp_protocol::Secret;
use warp_protocol::endpoint::{
    EndpointCapacity, FromEndpoint, HostSpec, SessionHolder, SessionSpec,
};
use warp_protocol::hosting::ZonePolicy;
use warp_protocol::identity::PublicKey;
use warp_protocol::signal::ServerSignal;

use crate::{
    CertifiedDevice, Endpoint, EndpointConfig, EndpointLimits, EndpointTrust, GrantRefused,
    GrantSpec, HostGrantSpec, Identity, SignalPort, WebRtcOptions,
};
pub use conversation::Broken;
pub use hosted::{Hosted, HostedAccess};
pub use outbound::{CONTROL_BYTES, DATAGRAM_BYTES, Frame, Outbound};

/// Longest wait before the socket is opened again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Shortest.
const SHORTEST_WAIT: Duration = Duration::from_millis(250);

/// What a remote endpoint is started with.
#[derive(Debug)]
pub struct RemoteConfig {
    /// Where the coordinator is; the token in it is the enrolment token, and the query is added here.
    pub target: WsTarget,
    /// Bases of the coordinator's REST routes, at least one: `https://play.example/api/v1`. Several are
    /// nodes of one cluster.
    pub bases: Vec<String>,
    /// Its name in certificates and logs: 1 to 32 ASCII letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// Its key.
    pub identity: Identity,
    /// The coordinator's key. `None`: the first one that proves itself.
    pub coordinator_key: Option<PublicKey>,
    /// How WebRTC connections are made.
    pub webrtc: WebRtcOptions,
    /// It is the endpoint of one zone only.
    pub hosted: Option<Hosted>,
}

/// Serves a coordinator. Clones are the same one.
#[derive(Clone)]
pub struct Remote {
    inner: Arc<Inner>,
}

struct Held {
    who: SessionHolder,
    inbox: mpsc::Sender<ServerSignal>,
}

struct HeldRoom {
    /// Without its STUN and TURN servers.
    spec: HostSpec,
    inbox: mpsc::Sender<ServerSignal>,
}

#[derive(Default)]
struct Rooms {
    /// As many as the endpoint has sessions.
    sessions: HashMap<String, Held>,
    /// As many as the endpoint has hosts.
    hosts: HashMap<String, HeldRoom>,
    /// The socket, once all that is held was named on it.
    out: Option<Arc<Outbound>>,
}

struct Inner {
    config: RemoteConfig,
    /// The first coordinator that proved itself is the only one.
    coordinator: OnceLock<PublicKey>,
    /// Which of the bases is tried next.
    next: AtomicUsize,
    /// Largest fencing number that a node has told.
    fence: AtomicU64,
    /// Made when the coordinator has said how.
    endpoint: OnceLock<Endpoint>,
    rooms: Mutex<Rooms>,
    /// What the endpoint of a hosted zone may do.
    policy: Mutex<Option<ZonePolicy>>,
    /// The coordinator has adopted what is held, and the socket is up.
    serving: watch::Sender<bool>,
}

impl Rooms {
    fn say(&self, message: &FromEndpoint) {
        if let Some(out) = &self.out {
            out.say(message);
        }
    }
}

impl Remote {
    /// One that is not connected yet.
    pub fn new(config: RemoteConfig) -> Self {
        let coordinator = OnceLock::new();
        if let Some(key) = config.coordinator_key {
            let _ = coordinator.set(key);
        }
        Self {
            inner: Arc::new(Inner {
                config,
                coordinator,
                next: AtomicUsize::new(0),
                fence: AtomicU64::new(0),
                endpoint: OnceLock::new(),
                rooms: Mutex::default(),
                policy: Mutex::default(),
                serving: watch::channel(false).0,
            }),
        }
    }

    /// The coordinator's key, once it is known.
    pub fn coordinator_key(&self) -> Option<PublicKey> {
        self.inner.coordinator.get().copied()
    }

    /// Whether it serves now.
    pub fn serving(&self) -> watch::Receiver<bool> {
        self.inner.serving.subscribe()
    }

    /// Serves until `stop`; then all sessions end. `proven` is called when a coordinator has proven
    /// its key for the first time.
    pub async fn serve(&self, stop: CancellationToken, proven: impl Fn(&PublicKey)) {
        let backoff = || {
            ExponentialBuilder::default()
                .with_min_delay(SHORTEST_WAIT)
                .with_max_delay(LONGEST_WAIT)
                .without_max_times()
                .with_jitter()
                .build()
        };
        let mut pauses = backoff();
        while !stop.is_cancelled() {
            let mut served = false;
            let broken = tokio::select! {
                () = stop.cancelled() => break,
                broken = self.once(&mut served, &proven) => broken,
            };
            self.inner.serving.send_replace(false);
            self.renew_access(&broken).await;
            {
                let mut rooms = self.inner.rooms.lock();
                rooms.out = None;
                let (held, hosts) = (rooms.sessions.len(), rooms.hosts.len());
                tracing::warn!(why = %broken, held, hosts, "not connected to the coordinator");
            }
            if served {
                pauses = backoff();
            }
            let tried = self.inner.next.fetch_add(1, Ordering::Relaxed) + 1;
            let pause = if tried.is_multiple_of(self.inner.config.bases.len().max(1)) {
                pauses.next().unwrap_or(LONGEST_WAIT)
            } else {
                SHORTEST_WAIT
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Some(endpoint) = self.inner.endpoint.get() {
            endpoint.shutdown().await;
        }
    }

    fn target(&self, nonce: &[u8; 16]) -> Result<WsTarget, ConnectError> {
        let config = &self.inner.config;
        let path = format!("endpoints/ws?nonce={}", hex::encode(nonce));
        let next = self.inner.next.load(Ordering::Relaxed) % config.bases.len().max(1);
        let base = config.bases.get(next).map_or("", String::as_str);
        Ok(WsTarget {
            url: ws_url(base, &path)?,
            ..config.target.clone()
        })
    }

    /// The endpoint; made with these settings if there is none yet.
    fn endpoint(
        &self,
        require_certificates: bool,
        key_rotation: Duration,
        capacity: Option<EndpointCapacity>,
    ) -> Option<&Endpoint> {
        let inner = &self.inner;
        let trust = Trust::new(*inner.coordinator.get()?);
        let endpoint = inner.endpoint.get_or_init(|| {
            let mut limits = EndpointLimits::default();
            limits.link.key_interval = key_rotation;
            if let Some(EndpointCapacity { sessions, hosts }) = capacity {
                limits.sessions = usize::try_from(sessions).unwrap_or(usize::MAX);
                limits.hosts = usize::try_from(hosts).unwrap_or(usize::MAX);
            }
            Endpoint::start(EndpointConfig {
                identity: inner.config.identity.clone(),
                trust: Some(EndpointTrust {
                    trust,
                    require_certificates,
                }),
                limits,
                webrtc: inner.config.webrtc.clone(),
            })
        });
        Some(endpoint)
    }

    /// Grants a session, and carries what it says to whichever socket there is, until it ends.
    fn grant(&self, endpoint: &Endpoint, spec: SessionSpec) -> Result<(), GrantRefused> {
        self.check_hosted(&spec)?;
        let who = spec.who;
        let port = endpoint.grant(GrantSpec {
            session_id: who.session_id.clone(),
            device_key: who.device_key.spki(),
            certified: certified(who.account, who.certificate.as_deref()),
            game: spec.game,
            p2p_enabled: spec.p2p_enabled,
            ice_servers: spec.ice_servers,
        })?;
        let (room, inbox) = (who.session_id.clone(), port.to_endpoint.clone());
        let held = Held { who, inbox };
        self.inner.rooms.lock().sessions.insert(room.clone(), held);
        self.follow(room, port);
        Ok(())
    }

    fn grant_host(&self, endpoint: &Endpoint, mut spec: HostSpec) -> Result<(), GrantRefused> {
        let registered = &spec.registration;
        let port = endpoint.grant_host(HostGrantSpec {
            session_id: spec.room.clone(),
            device_key: registered.device_key.spki(),
            certified: CertifiedDevice {
                account: spec.account,
                certificate: hex::decode(&registered.certificate).unwrap_or_default(),
            },
            ice_servers: std::mem::take(&mut spec.ice_servers),
        })?;
        let (room, inbox) = (spec.room.clone(), port.to_endpoint.clone());
        let held = HeldRoom { spec, inbox };
        self.inner.rooms.lock().hosts.insert(room.clone(), held);
        self.follow(room, port);
        Ok(())
    }

    /// Names a host with other words from now on. Of another device it is another host's.
    fn renew_host(&self, mut spec: HostSpec) {
        spec.ice_servers.clear();
        let mut rooms = self.inner.rooms.lock();
        let held = rooms.hosts.get_mut(&spec.room);
        let key = spec.registration.device_key;
        if let Some(held) = held.filter(|held| held.spec.registration.device_key == key) {
            held.spec = spec;
        }
    }

    fn follow(&self, room: String, port: SignalPort) {
        let SignalPort {
            to_endpoint,
            mut from_endpoint,
        } = port;
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            while let Some(signal) = from_endpoint.recv().await {
                let room = room.clone();
                let said = FromEndpoint::Signal { room, signal };
                if let Some(out) = &inner.rooms.lock().out {
                    out.pass(&said);
                }
            }
            let mut rooms = inner.rooms.lock();
            rooms.sessions.remove(&room);
            // A host that was granted anew under the same room is another one.
            let same = |held: &HeldRoom| held.inbox.same_channel(&to_endpoint);
            if rooms.hosts.get(&room).is_some_and(same) {
                rooms.hosts.remove(&room);
            }
            rooms.say(&FromEndpoint::Ended { room });
        });
    }

    /// Hands a signal to its room; dropped when the room is gone or does not read, as in the
    /// coordinator's own rooms.
    fn signal(&self, room: &str, signal: ServerSignal) {
        let rooms = self.inner.rooms.lock();
        let session = rooms.sessions.get(room).map(|held| &held.inbox);
        let host = || rooms.hosts.get(room).map(|held| &held.inbox);
        let dropped = match session.or_else(host) {
            Some(inbox) => inbox.try_send(signal).is_err(),
            None => true,
        };
        if dropped {
            tracing::debug!(room, "a signal was dropped");
        }
    }
}

fn certified(account: u64, certificate: Option<&str>) -> Option<CertifiedDevice> {
    let certificate = hex::decode(certificate?).unwrap_or_default();
    Some(CertifiedDevice {
        account,
        certificate,
    })
}

fn random() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

/// The enrolment token out of its file's text.
pub fn token(text: &str) -> Secret {
    Secret::new(text.trim())
}
