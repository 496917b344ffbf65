//! Hosts at the endpoint: who may bring forwarded datagrams, and which member's they are.
//!
//! A host has one carrier to the endpoint, over WebRTC or, where no UDP passes, a WebSocket. What comes
//! over it begins with the epoch of a lease and a slot ([`warp_protocol::hosting`]); the route of that
//! slot says which session's link takes it, and as which way. What has no route, or another epoch than
//! its route, is dropped and counted.
//!
//! A route becomes a carrier of the session's link with the first datagram that comes over it
//! ([`Carrier::through`]): until then the member is not there, and another host that has carried that
//! way so far goes on. It has no task and no queue on the way to the host, whose own carrier drops when
//! it is full. One task for each carrier of a host reads what comes. When the host connects anew while
//! it is connected, its newest carrier counts and the links notice nothing; when its carrier ends and
//! there is no newer one, those of the routes end with it, and come again with the next.
//!
//! Locks are taken in the order hosts, routes of a host, sessions, a session's link, uplink of a host.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_host_core::{Routes, Unrouted};
use warp_link::peer::PeerConfig;
use warp_link::{Carrier, CarrierFeed, CarrierReceiver, CarrierSender, CloseReason, SendRefused};
use warp_link_core::Holder;
use warp_link_driver::{Answering, Room, RoomKeys};
use warp_protocol::carrier::PathKind;
pub use warp_protocol::endpoint::HostTraffic;
use warp_protocol::hosting::{FORWARD_LEN, Forwarded};
use warp_protocol::identity::{PublicKey, RefusedReason};
use warp_protocol::rest::IceServer;
use warp_protocol::signal::{ClientSignal, ServerSignal};

use crate::config::{AttachRefused, CertifiedDevice, GrantRefused, SIGNALS, SignalPort};
use crate::endpoint::{Endpoint, Shared, unix_now};
use crate::session::Session;

/// Datagrams of a host that are sorted with one look at its routes.
const BATCH: usize = 32;

/// A host that may connect.
#[derive(Debug, Clone)]
pub struct HostGrantSpec {
    /// The host's own room, as the coordinator names it.
    pub session_id: String,
    /// Public key of the host: Ed25519 SubjectPublicKeyInfo in DER.
    pub device_key: Vec<u8>,
    /// The certificate of that key, with the right to host.
    pub certified: CertifiedDevice,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
}

/// Which session a host's slot belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// The host's own room.
    pub host: String,
    /// The slot.
    pub slot: u32,
    /// Epoch of the lease; a datagram of another is refused.
    pub epoch: u32,
    /// The member's session.
    pub session_id: String,
    /// As which way of the session.
    pub way: PathKind,
}

/// A host, as the endpoint has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoutes {
    /// The host's own room.
    pub host: String,
    /// Every slot that ever had a route is below this.
    pub next_slot: u32,
    /// The highest epoch that a route ever had.
    pub last_epoch: u32,
    /// Its routes, and whether each carries: the host is connected, and no other one has taken over
    /// that way of the session.
    pub routes: Vec<(HostRoute, bool)>,
}

/// A route was not taken; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteRefused {
    /// The host was not granted.
    #[error("the endpoint knows no such host")]
    UnknownHost,
    /// The session was not granted.
    #[error("the endpoint has no such session")]
    UnknownSession,
    /// The way is not a host's.
    #[error("that way does not lead over a host")]
    NotAHostWay,
    /// The host has as many routes as it may have.
    #[error("the host has as many members as it may have")]
    TooManyRoutes,
}

/// The way to a host, as the carriers of its members share it.
#[derive(Default)]
struct Uplink {
    /// The newest carrier of the host, and its number.
    carrier: Mutex<Option<(u64, CarrierSender)>>,
    down: AtomicU64,
    down_bytes: AtomicU64,
}

impl Uplink {
    /// A member's datagram, with its head, to the host.
    fn send(&self, head: Forwarded, datagram: &[u8]) -> Result<(), SendRefused> {
        let mut framed = BytesMut::with_capacity(FORWARD_LEN + datagram.len());
        framed.extend_from_slice(&head.to_bytes());
        framed.extend_from_slice(datagram);
        match &*self.carrier.lock() {
            Some((_, carrier)) => carrier.try_send(framed.freeze())?,
            None => return Err(SendRefused::Closed),
        }
        self.down.fetch_add(1, Ordering::Relaxed);
        let bytes = datagram.len() as u64;
        self.down_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// A route, and the carrier that it is of the session's link.
struct Routed {
    route: HostRoute,
    session: Arc<Session>,
    /// As the carrier puts it in front; changes with the route.
    epoch: Arc<AtomicU32>,
    /// Grows with each route of the endpoint.
    number: u64,
    /// The member has sent something this way.
    used: bool,
    /// `None` while it is not used, or the host is not connected.
    feed: Option<CarrierFeed>,
}

impl Routed {
    fn carries(&self) -> bool {
        self.feed.as_ref().is_some_and(|feed| !feed.is_ended())
    }

    /// Gives the session's link a carrier over `uplink`, unless it has one, or a later route carries
    /// that way: one that is about to go does not take it back.
    fn connect(&mut self, uplink: &Arc<Uplink>) {
        let [host, host2] = &self.session.newest_route;
        let newest = match self.route.way {
            PathKind::Host2 => host2,
            _ => host,
        };
        let newest = newest.fetch_max(self.number, Ordering::Relaxed);
        if self.carries() || newest > self.number {
            return;
        }
        let (uplink, epoch) = (Arc::clone(uplink), Arc::clone(&self.epoch));
        let slot = self.route.slot;
        let (carrier, feed) = Carrier::through(move |datagram| {
            let epoch = epoch.load(Ordering::Relaxed);
            uplink.send(Forwarded { epoch, slot }, &datagram)
        });
        self.session.link().attach(self.route.way, carrier);
        self.feed = Some(feed);
    }
}

/// Counts of what a host brought.
#[derive(Default)]
struct Brought {
    up: AtomicU64,
    up_bytes: AtomicU64,
    unrouted: AtomicU64,
    stale: AtomicU64,
    malformed: AtomicU64,
}

/// One host: what may pass, by slot.
pub(crate) struct Host {
    id: String,
    keys: RoomKeys,
    stop: CancellationToken,
    owner: Arc<Shared>,
    uplink: Arc<Uplink>,
    routes: Mutex<Routes<Routed>>,
    /// See [`HostRoutes`].
    next_slot: AtomicU32,
    last_epoch: AtomicU32,
    /// Carriers so far; numbers them.
    carriers: AtomicU64,
    brought: Brought,
}

/// All hosts of an endpoint.
#[derive(Default)]
pub(crate) struct Hosts {
    /// At most [`crate::EndpointLimits::hosts`].
    pub(crate) by_room: Mutex<HashMap<String, Arc<Host>>>,
    /// Routes so far; numbers them.
    routes: AtomicU64,
}

impl Hosts {
    fn get(&self, host: &str) -> Option<Arc<Host>> {
        self.by_room.lock().get(host).cloned()
    }

    /// Takes away the routes of a session that has ended.
    pub(crate) fn forget_session(&self, session_id: &str) {
        let hosts: Vec<Arc<Host>> = self.by_room.lock().values().cloned().collect();
        for host in hosts {
            let mut routes = host.routes.lock();
            routes.retain(|routed| routed.route.session_id != session_id);
        }
    }
}

/// The host's signaling room.
struct HostRoom(Arc<Host>);

impl Room for HostRoom {
    fn id(&self) -> &str {
        &self.0.id
    }

    fn keys(&self) -> &RoomKeys {
        &self.0.keys
    }

    fn takes_offers(&self) -> bool {
        true
    }

    fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    fn attach(&self, carrier: Carrier) {
        self.0.attach(carrier);
    }

    fn refuse(&self, reason: RefusedReason) {
        self.0.owner.refuse(&self.0.id, reason);
    }
}

impl Host {
    /// Takes a carrier of the host in place of the one before.
    fn attach(self: &Arc<Self>, Carrier { tx, rx }: Carrier) {
        let number = self.carriers.fetch_add(1, Ordering::Relaxed);
        let older = self.uplink.carrier.lock().replace((number, tx));
        if let Some((_, older)) = older {
            older.close();
        }
        for routed in self.routes.lock().iter_mut().filter(|one| one.used) {
            routed.connect(&self.uplink);
        }
        tracing::info!(host = self.id, "host connected");
        let host = Arc::clone(self);
        self.owner.tasks.spawn(host.read(number, rx));
    }

    /// Sorts what comes over a carrier until it ends.
    async fn read(self: Arc<Self>, number: u64, mut rx: CarrierReceiver) {
        loop {
            // A busy host must let the other tasks of this thread run.
            tokio::task::coop::consume_budget().await;
            let first = tokio::select! {
                biased;
                () = self.stop.cancelled() => None,
                datagram = rx.recv() => datagram,
            };
            let Some(first) = first else { break };
            let routes = &mut *self.routes.lock();
            self.sort(routes, first);
            for _ in 1..BATCH {
                let Some(datagram) = rx.try_recv() else { break };
                self.sort(routes, datagram);
            }
        }
        self.lost(number, rx.close_reason());
    }

    /// Gives one datagram to the link that it is for.
    fn sort(&self, routes: &mut Routes<Routed>, datagram: Bytes) {
        let brought = &self.brought;
        let first = matches!(routes.find(&datagram), Ok((Routed { used: false, .. }, _)));
        if first
            && let Some((head, _)) = Forwarded::split(&datagram)
            && let Some(routed) = routes.get_mut(head.slot)
        {
            routed.used = true;
            routed.connect(&self.uplink);
        }
        let counter = match routes.find(&datagram) {
            Err(Unrouted::Malformed) => &brought.malformed,
            Err(Unrouted::Stale) => &brought.stale,
            Ok((
                Routed {
                    feed: Some(feed), ..
                },
                inner,
            )) => {
                let bytes = inner.len() as u64;
                if feed.deliver(datagram.slice(FORWARD_LEN..)) {
                    brought.up_bytes.fetch_add(bytes, Ordering::Relaxed);
                    &brought.up
                } else {
                    // Another host has taken over that way of the session.
                    &brought.unrouted
                }
            }
            Ok(_) | Err(Unrouted::Nobody) => &brought.unrouted,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A carrier has ended; if there is no newer one, so do those of the members.
    fn lost(&self, number: u64, reason: Option<CloseReason>) {
        let mut routes = self.routes.lock();
        {
            let mut carrier = self.uplink.carrier.lock();
            if carrier.as_ref().is_none_or(|(newest, _)| *newest != number) {
                return;
            }
            *carrier = None;
        }
        let reason = reason.unwrap_or(CloseReason::Remote);
        for routed in routes.iter_mut() {
            if let Some(feed) = routed.feed.take() {
                feed.end(reason);
            }
        }
        tracing::info!(host = self.id, why = reason.code(), "host disconnected");
    }

    fn is_connected(&self) -> bool {
        self.uplink.carrier.lock().is_some()
    }

    fn traffic(&self) -> HostTraffic {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HostTraffic {
            up: of(&self.brought.up),
            up_bytes: of(&self.brought.up_bytes),
            down: of(&self.uplink.down),
            down_bytes: of(&self.uplink.down_bytes),
            unrouted: of(&self.brought.unrouted),
            stale: of(&self.brought.stale),
            malformed: of(&self.brought.malformed),
        }
    }
}

/// From the grant of a host to its end: answers its offers.
async fn run(
    host: Arc<Host>,
    mut inbox: mpsc::Receiver<ServerSignal>,
    outbox: mpsc::Sender<ClientSignal>,
    config: PeerConfig,
) {
    let tasks = TaskTracker::new();
    let room = Arc::new(HostRoom(Arc::clone(&host)));
    let mut answering = Answering::new(room, tasks.clone(), outbox, config);
    let mut signaling = true;
    loop {
        tokio::select! {
            biased;
            () = host.stop.cancelled() => break,
            signal = inbox.recv(), if signaling => match signal {
                Some(signal) => answering.on_signal(signal),
                // The room is gone; carriers that are open stay.
                None => signaling = false,
            },
        }
    }
    drop(answering);
    tasks.close();
    tasks.wait().await;
    // Reading ended by the same token; what was routed goes with the host.
    host.routes.lock().clear();
    host.uplink.carrier.lock().take();
    tracing::info!(host = host.id, "host ended");
}

impl Shared {
    /// Checks the certificate of a host.
    fn check_host(&self, spec: &HostGrantSpec, device: &PublicKey) -> Result<(), GrantRefused> {
        let Some(trust) = &self.config.trust else {
            return Ok(());
        };
        let CertifiedDevice {
            account,
            certificate,
        } = &spec.certified;
        let holder = Holder::Device { account: *account };
        let checked = trust
            .trust
            .check(certificate, device, holder, unix_now())
            .and_then(|says| {
                if says.may_host {
                    Ok(())
                } else {
                    Err(RefusedReason::CertificateMisused)
                }
            });
        checked.map_err(|reason| {
            self.refuse(&spec.session_id, reason);
            GrantRefused::Untrusted(reason)
        })
    }
}

impl Endpoint {
    /// Lets a host connect. Returns the endpoint's place in the host's signaling room.
    ///
    /// # Errors
    /// [`GrantRefused`]; nothing has changed then.
    pub fn grant_host(&self, spec: HostGrantSpec) -> Result<SignalPort, GrantRefused> {
        let shared = self.shared();
        let device = PublicKey::from_spki(&spec.device_key).ok_or(GrantRefused::BadDeviceKey)?;
        shared.check_host(&spec, &device)?;
        let mut hosts = shared.hosts.by_room.lock();
        if shared.stop.is_cancelled() {
            return Err(GrantRefused::ShuttingDown);
        }
        if hosts.contains_key(&spec.session_id) {
            return Err(GrantRefused::SessionExists);
        }
        if hosts.len() >= shared.config.limits.hosts {
            return Err(GrantRefused::TooManySessions);
        }
        let (to_endpoint, inbox) = mpsc::channel(SIGNALS);
        let (outbox, from_endpoint) = mpsc::channel(SIGNALS);
        let host = Arc::new(Host {
            keys: RoomKeys {
                ours: shared.config.identity.clone(),
                theirs: device,
                signed_offers: true,
            },
            stop: shared.stop.child_token(),
            owner: Arc::clone(shared),
            uplink: Arc::default(),
            routes: Mutex::default(),
            next_slot: AtomicU32::new(0),
            last_epoch: AtomicU32::new(0),
            carriers: AtomicU64::new(0),
            brought: Brought::default(),
            id: spec.session_id.clone(),
        });
        hosts.insert(spec.session_id, Arc::clone(&host));
        drop(hosts);
        tracing::info!(host = host.id, "host granted");
        let config = shared.peer_config(spec.ice_servers);
        shared.tasks.spawn(run(host, inbox, outbox, config));
        Ok(SignalPort {
            to_endpoint,
            from_endpoint,
        })
    }

    /// Gives a host a carrier over a WebSocket, which must have proven whose it is. An older carrier,
    /// of whichever kind, is replaced.
    ///
    /// # Errors
    /// [`AttachRefused`]; the carrier is closed.
    pub fn attach_host_wss(&self, host: &str, carrier: Carrier) -> Result<(), AttachRefused> {
        let host = self.shared().hosts.get(host);
        host.ok_or(AttachRefused::UnknownSession)?.attach(carrier);
        Ok(())
    }

    /// Routes a slot of a host to a session. The same slot again replaces its route, which is how an
    /// epoch changes: of the same session and way, its carrier stays.
    ///
    /// # Errors
    /// [`RouteRefused`]; nothing has changed then.
    pub fn route(&self, route: HostRoute) -> Result<(), RouteRefused> {
        if !route.way.is_host() {
            return Err(RouteRefused::NotAHostWay);
        }
        let shared = self.shared();
        let host = shared.hosts.get(&route.host);
        let host = host.ok_or(RouteRefused::UnknownHost)?;
        let mut routes = host.routes.lock();
        // Under the lock: the routes of a session that ends are taken away after it is not found here
        // any more.
        let session = shared.sessions.lock().get(&route.session_id).cloned();
        let session = session.ok_or(RouteRefused::UnknownSession)?;
        let slot = route.slot;
        let epoch = route.epoch;
        let full = |_| RouteRefused::TooManyRoutes;
        routes.admit(slot).map_err(full)?;
        let routed = match routes.remove(slot) {
            Some(older)
                if Arc::ptr_eq(&older.session, &session) && older.route.way == route.way =>
            {
                older.epoch.store(epoch, Ordering::Relaxed);
                Routed { route, ..older }
            }
            _ => Routed {
                route,
                session,
                epoch: Arc::new(AtomicU32::new(epoch)),
                number: shared.hosts.routes.fetch_add(1, Ordering::Relaxed),
                used: false,
                feed: None,
            },
        };
        let routed = routes.put(slot, epoch, routed).map_err(full)?;
        let after = slot.saturating_add(1);
        host.next_slot.fetch_max(after, Ordering::Relaxed);
        host.last_epoch.fetch_max(epoch, Ordering::Relaxed);
        if routed.used && host.is_connected() {
            routed.connect(&host.uplink);
        }
        Ok(())
    }

    /// Takes a route away: what still comes is refused, and its carrier ends.
    pub fn unroute(&self, host: &str, slot: u32) {
        if let Some(host) = self.shared().hosts.get(host) {
            host.routes.lock().remove(slot);
        }
    }

    /// Ends a host: its routes and its carriers.
    pub fn end_host(&self, host: &str) {
        let host = self.shared().hosts.by_room.lock().remove(host);
        if let Some(host) = host {
            host.stop.cancel();
            host.routes.lock().clear();
            if let Some((_, carrier)) = host.uplink.carrier.lock().take() {
                carrier.close();
            }
        }
    }

    /// Each host and its routes, in no order.
    pub fn host_routes(&self) -> Vec<HostRoutes> {
        let hosts: Vec<Arc<Host>> = {
            let hosts = self.shared().hosts.by_room.lock();
            hosts.values().cloned().collect()
        };
        let hosts = hosts.into_iter().map(|host| {
            let routes = {
                let mut routes = host.routes.lock();
                let routes = routes.iter_mut();
                routes
                    .map(|one| (one.route.clone(), one.carries()))
                    .collect()
            };
            HostRoutes {
                host: host.id.clone(),
                next_slot: host.next_slot.load(Ordering::Relaxed),
                last_epoch: host.last_epoch.load(Ordering::Relaxed),
                routes,
            }
        });
        hosts.collect()
    }

    /// What each host has brought and taken, in no order.
    pub fn host_traffic(&self) -> Vec<(String, HostTraffic)> {
        let hosts = self.shared().hosts.by_room.lock();
        hosts
            .iter()
            .map(|(room, host)| (room.clone(), host.traffic()))
            .collect()
    }
}
