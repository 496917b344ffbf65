//! Carries out what [`warp_engine_core::hosts`] decides for the two ways over hosts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use warp_engine_core::event::Event;
use warp_engine_core::hosts::{HostWay, Tries, WayAction};
use warp_link::peer::Offerer;
use warp_link::{Carrier, CarrierSender};
use warp_link_driver::{LinkNotice, LinkNotices};
use warp_protocol::ProblemCode;
use warp_protocol::carrier::PathKind;
use warp_protocol::hosting::{HostOffer, HostVerdict};
use warp_protocol::signal::{ClientSignal, EndedReason};

use crate::paths::{Paths, changed};
use crate::room::RoomEvent;
use crate::signaling::{SetupError, Signing, open_peer};

/// The hosts that the coordinator names, by way.
type Named = [Option<HostOffer>; 2];

/// Reads what the coordinator tells in the room, and keeps the ways over hosts in `kinds` by it.
pub(crate) async fn follow(
    paths: Arc<Paths>,
    kinds: Vec<PathKind>,
    mut told: mpsc::Receiver<RoomEvent>,
) {
    let (names, named) = watch::channel(Named::default());
    for kind in kinds.into_iter().filter(|kind| kind.is_host()) {
        let (paths, named) = (paths.clone(), named.clone());
        tokio::spawn(async move { Way::new(paths, kind).keep(named).await });
    }
    // When the newest policy was signed: an older one is old news, or somebody's replay.
    let mut newest = 0;
    loop {
        let event = tokio::select! {
            event = told.recv() => event,
            () = paths.stop.cancelled() => return,
        };
        match event {
            Some(RoomEvent::Hosts { hosts, reason }) => {
                let of = |way| hosts.iter().find(|host| host.way == way).cloned();
                let now = [of(PathKind::Host), of(PathKind::Host2)];
                let ids: Vec<&str> = hosts.iter().map(|host| host.host_id.as_str()).collect();
                tracing::info!(?ids, ?reason, "hosts of the session");
                names.send_replace(now);
            }
            Some(RoomEvent::Policy(policy)) => paths.on_policy(&policy, &mut newest),
            Some(RoomEvent::Ended(reason, code)) => paths.on_ended(reason, code),
            Some(RoomEvent::Notice(event)) => (paths.tell)(event),
            None => return,
        }
    }
}

fn place(kind: PathKind) -> usize {
    usize::from(kind == PathKind::Host2)
}

/// Of an attempt to connect.
type Outcome = Result<Box<(Carrier, Offerer)>, SetupError>;

/// A connection to a host.
struct Open {
    peer: Offerer,
    carrier: CarrierSender,
    /// It still carries, as far as is known.
    works: bool,
}

/// What ends a wait.
enum Woken {
    Named,
    Time,
    Network,
    Opened(Outcome),
    CarrierEnded,
    Notice(LinkNotice),
    Stopped,
}

/// One way.
struct Way {
    paths: Arc<Paths>,
    kind: PathKind,
    core: HostWay,
    start: Instant,
    open: Option<Open>,
    /// The host that is connected to, or being connected to, and how its answers are signed.
    signing: Option<Arc<Signing>>,
    opening: Option<tokio::task::JoinHandle<Outcome>>,
}

impl Way {
    fn new(paths: Arc<Paths>, kind: PathKind) -> Self {
        let p2p = &paths.config.p2p;
        let tries = Tries {
            attempts: p2p.reconnect_attempts,
            delay: Duration::from_millis(p2p.reconnect_delay_ms),
        };
        Self {
            paths,
            kind,
            core: HostWay::new(tries),
            start: Instant::now(),
            open: None,
            signing: None,
            opening: None,
        }
    }

    async fn keep(mut self, mut named: watch::Receiver<Named>) {
        let mut network = self.paths.network.clone();
        network.mark_unchanged();
        let mut notices = self.paths.link.notices();
        loop {
            let woken = self.wait(&mut named, &mut network, &mut notices).await;
            let now = self.start.elapsed();
            match woken {
                Woken::Stopped => break,
                Woken::Named => {
                    let offer = named.borrow_and_update()[place(self.kind)].clone();
                    let known = offer.filter(|offer| self.is_certified(offer));
                    self.core.told(now, known, chance());
                }
                Woken::Network => self.core.network_changed(now),
                Woken::Time => self.core.on_time(now),
                Woken::Opened(outcome) => self.on_opened(now, outcome),
                Woken::CarrierEnded => self.lost(now),
                Woken::Notice(LinkNotice::GivenUp(kind)) if kind == self.kind => self.lost(now),
                // What was missed may have been that.
                Woken::Notice(LinkNotice::Missed(_)) if self.paths.is_given_up(self.kind) => {
                    self.lost(now);
                }
                Woken::Notice(LinkNotice::Tampered(kind)) if kind == self.kind => {
                    self.core.tampered(now);
                }
                Woken::Notice(_) => {}
            }
            for action in self.core.drain() {
                self.carry_out(action).await;
            }
        }
        // With the session over there is nothing to wait for.
        if let Some(open) = &mut self.open {
            open.works = false;
        }
        self.disconnect().await;
    }

    async fn wait(
        &mut self,
        named: &mut watch::Receiver<Named>,
        network: &mut watch::Receiver<u64>,
        notices: &mut LinkNotices,
    ) -> Woken {
        let deadline = self.core.deadline().map(|at| self.start + at);
        let time = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let opened = async {
            match &mut self.opening {
                Some(opening) => opening.await.unwrap_or(Err(SetupError::Ended)),
                None => std::future::pending().await,
            }
        };
        let ended = async {
            match &self.open {
                Some(open) => open.carrier.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.paths.stop.cancelled() => Woken::Stopped,
            told = named.changed() => match told {
                Ok(()) => Woken::Named,
                Err(_) => Woken::Stopped,
            },
            () = changed(network) => Woken::Network,
            outcome = opened => Woken::Opened(outcome),
            _ = ended => Woken::CarrierEnded,
            notice = notices.recv() => notice.map_or(Woken::Stopped, Woken::Notice),
            () = time => Woken::Time,
        }
    }

    /// A host that the coordinator did not certify is none.
    fn is_certified(&self, offer: &HostOffer) -> bool {
        match self.paths.coordinator.check_host(offer) {
            Ok(()) => true,
            Err(problem) => {
                (self.paths.report)(problem);
                false
            }
        }
    }

    fn on_opened(&mut self, now: Duration, outcome: Outcome) {
        self.opening = None;
        match outcome {
            Ok(opened) => {
                let (carrier, peer) = *opened;
                tracing::info!(path = %self.kind, "carrier open");
                let sender = carrier.tx.clone();
                self.paths.attach(self.kind, carrier);
                self.open = Some(Open {
                    peer,
                    carrier: sender,
                    works: true,
                });
                self.core.opened(now);
            }
            Err(error) => {
                if let (SetupError::Untrusted(reason), Some(signing)) = (&error, &self.signing) {
                    self.paths.untrusted(*reason, signing);
                }
                self.paths.note(self.kind, &error);
                self.core.failed(now);
            }
        }
    }

    async fn carry_out(&mut self, action: WayAction) {
        match action {
            WayAction::Connect(offer) => self.connect(&offer),
            WayAction::Disconnect => self.disconnect().await,
            WayAction::Report {
                host_id,
                epoch,
                verdict,
            } => self.report(host_id, epoch, verdict),
        }
    }

    fn connect(&mut self, offer: &HostOffer) {
        let Some(device) = self.paths.coordinator.proof.device() else {
            // Forgotten with a revocation: there is nothing to sign an offer with.
            self.core.failed(self.start.elapsed());
            return;
        };
        let session_id = &self.paths.grant.session_id;
        let signing = Arc::new(Signing::new(session_id, device, offer.device_key, true));
        self.signing = Some(signing.clone());
        let (room, peer) = (self.paths.room.clone(), offer.peer_id.clone());
        let config = self.paths.peer_config();
        self.opening = Some(tokio::spawn(async move {
            let opening = open_peer(&room, &peer, &signing, config);
            Box::pin(opening).await.map(Box::new)
        }));
    }

    fn lost(&mut self, now: Duration) {
        if let Some(open) = &mut self.open {
            open.works = false;
        }
        let others = crate::opener::carries(self.paths.link.status().state);
        self.core.lost(now, others);
    }

    async fn disconnect(&mut self) {
        if let Some(opening) = self.opening.take() {
            opening.abort();
        }
        if let Some(open) = self.open.take() {
            // A host that drains or is no longer wanted still forwards: what is on its way arrives.
            if open.works {
                self.paths.leave(self.kind).await;
            }
            self.paths.link.detach(self.kind);
            open.peer.close().await;
        }
    }

    fn report(&self, host_id: String, epoch: u32, verdict: HostVerdict) {
        let paths = self.paths.link.paths();
        let good = verdict == HostVerdict::Good;
        let measured = paths.iter().find(|path| good && path.kind == self.kind);
        self.paths.room.tell(ClientSignal::HostReport {
            host_id,
            epoch,
            verdict,
            rtt_ms: measured.and_then(|path| path.rtt_ms),
            jitter_ms: measured.and_then(|path| path.jitter_ms),
            loss_percent: measured.and_then(|path| path.loss_percent),
        });
    }
}

/// Of 0 to 1.
pub(crate) fn chance() -> f64 {
    let rng = ring::rand::SystemRandom::new();
    let random = ring::rand::generate::<[u8; 4]>(&rng);
    // Without randomness everybody comes at once, which is all that the pause prevents.
    let value = random.map_or(0, |random| u32::from_be_bytes(random.expose()));
    f64::from(value) / f64::from(u32::MAX)
}

impl Paths {
    /// What is allowed in the zone from now on. The ways follow by the hosts that are named.
    /// `newest`: when the newest policy was signed, unix seconds.
    fn on_policy(&self, policy: &warp_protocol::hosting::SignedPolicy, newest: &mut u64) {
        match self
            .coordinator
            .check_policy(policy, &self.grant.zone.zone.zone_id)
        {
            Ok(policy) if policy.issued < *newest => {
                tracing::warn!(
                    zone = policy.zone_id,
                    "an older policy came after a newer one"
                );
            }
            Ok(policy) => {
                *newest = policy.issued;
                let limit = Duration::from_millis(policy.max_latency_ms.into());
                self.link.set_host_max_rtt(Some(limit));
                let p2p = policy.p2p;
                if !p2p && *self.p2p.borrow() {
                    self.leave_peers();
                }
                if self.p2p.send_replace(p2p) != p2p {
                    tracing::info!(p2p, zone = policy.zone_id, "the zone's policy changed");
                }
            }
            Err(problem) => (self.report)(problem),
        }
    }

    /// WebRTC is allowed no more: all of its ways go at once, so the game must not move to another of
    /// them. Each that it is moved off is its last choice then.
    fn leave_peers(&self) {
        let mut path = self.link.status().path;
        for _ in PathKind::ALL {
            if path.is_none_or(|path| path == PathKind::Wss) {
                return;
            }
            path = self.link.withdraw().map(|(_, to)| to);
        }
    }

    /// The link says by itself when it is lost; this says why.
    fn on_ended(&self, reason: EndedReason, code: ProblemCode) {
        tracing::info!(?reason, ?code, "the coordinator ended the session");
        // Of its own doings a launcher is not told.
        if !matches!(reason, EndedReason::Left | EndedReason::Replaced) {
            let zone = self.grant.zone.zone.zone_id.clone();
            (self.tell)(Event::SessionEnded { zone, reason, code });
        }
    }
}
