//! One session: the link with its carriers, and what happens to them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warp_engine_core::config::Config;
use warp_engine_core::machine::{LinkId, Outcome};
use warp_engine_core::view::LinkState;
use warp_link::WrapCarrier;
use warp_link_core::{CloseReason, Link, LinkEvent};
use warp_link_driver::{LinkEnd, LinkHandle, LinkNotice, LinkNotices};
use warp_protocol::carrier::PathKind;
use warp_protocol::rest::{IceServer, SessionGrant};
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode};

use crate::coordinator::Coordinator;
use crate::hosts;
use crate::outbox::Outbox;
use crate::paths::Paths;
use crate::plain::Plain;
use crate::ports::RouterPorts;
use crate::room::Room;
use crate::signaling::Signing;

/// How long a closing link may take to tell the endpoint.
const FAREWELL: Duration = Duration::from_millis(500);

/// A link with what it goes over.
pub(crate) struct Session {
    link: LinkHandle,
    ways: Ways,
}

enum Ways {
    /// Carriers to the zone's endpoint.
    Endpoint(Arc<Paths>),
    /// An endpoint of our own.
    Plain(Plain),
}

impl Session {
    /// Starts link and carriers; tells `outbox` what happens to them.
    pub(crate) fn open(
        id: LinkId,
        coordinator: Arc<Coordinator>,
        config: &Config,
        grant: SessionGrant,
        wrap: Option<WrapCarrier>,
        (outbox, network): (&Outbox, watch::Receiver<u64>),
    ) -> Result<Self, Problem> {
        let refused = |why: String| {
            Problem::new(ProblemCode::CoordinatorProtocol, &grant.session_id).with_detail(why)
        };
        let endpoint = coordinator.check_endpoint(&grant)?;
        let device = coordinator
            .proof
            .device()
            .ok_or_else(|| Problem::new(ProblemCode::Internal, "device key"))?;
        let mut link_config = config.link();
        let zone = &grant.zone.zone;
        link_config.host_max_rtt = Some(Duration::from_millis(zone.max_latency_ms.into()));
        let zone_p2p = zone.p2p_enabled;
        let kinds = link_config.preference.clone();
        if kinds.is_empty() || (!zone.p2p_enabled && !kinds.contains(&PathKind::Wss)) {
            return Err(Problem::new(ProblemCode::NoPath, &grant.zone.zone.zone_id)
                .with_detail("the configuration leaves no path: p2p.paths needs wss here"));
        }
        let link = Link::client(link_config, &device, &endpoint.spki(), seed()?)
            .map_err(|error| refused(error.to_string()))?;
        let (link, notices, _incoming) = warp_link_driver::spawn(link);
        let teller = Teller {
            link: id,
            outbox: outbox.clone(),
        };
        let reporter = outbox.clone();
        let forgetter = outbox.clone();
        let teller_of_events = outbox.clone();
        // An endpoint that has a certificate also signs: an answer without was tampered with.
        let signs = coordinator.proof.required || grant.endpoint_certificate.is_some();
        let signing = Signing::new(&grant.session_id, device, endpoint, signs);
        let stop = CancellationToken::new();
        let (room, told) = Room::open(
            coordinator.clone(),
            &grant,
            network.clone(),
            stop.child_token(),
        );
        let (p2p, _) = watch::channel(zone_p2p);
        let mapping = config.webrtc.port_mapping;
        let ports = mapping.then(|| Arc::new(RouterPorts::new(network.clone())));
        let paths = Arc::new(Paths {
            coordinator,
            signing,
            room,
            network,
            p2p,
            wrap,
            config: config.clone(),
            grant,
            link,
            ports,
            stop,
            renew_direct: Notify::new(),
            last_failure: Mutex::new(None),
            report: Box::new(move |problem| reporter.offer(Outcome::Failed(problem))),
            tell: Box::new(move |event| teller_of_events.offer(Outcome::Told(event))),
            forgotten: Box::new(move || {
                let event = LinkEvent::Closed(CloseReason::Lost);
                forgetter.offer(Outcome::Link { link: id, event });
            }),
        });
        paths.run(&kinds);
        let first = kinds.first().copied();
        tokio::spawn(hosts::follow(paths.clone(), kinds, told));
        forward(paths.clone(), first, notices, teller);
        Ok(Self {
            link: paths.link.clone(),
            ways: Ways::Endpoint(paths),
        })
    }

    /// Starts the link to an endpoint of our own, which dials the game servers that `zone` names; tells
    /// `outbox` what happens to it.
    pub(crate) fn plain(
        id: LinkId,
        config: &Config,
        zone: &ZoneView,
        outbox: &Outbox,
    ) -> Result<Self, Problem> {
        let (plain, link, notices) = Plain::open(config, zone)?;
        let teller = Teller {
            link: id,
            outbox: outbox.clone(),
        };
        let handle = link.clone();
        tokio::spawn(async move {
            let mut status = handle.watch_status();
            let connected = status.wait_for(|status| status.state == LinkState::Connected);
            if connected.await.is_ok() {
                let ready = Outcome::LinkReady { link: id };
                teller.outbox.send(ready).await;
            }
            teller.pass_on(notices).await;
        });
        Ok(Self {
            link,
            ways: Ways::Plain(plain),
        })
    }

    pub(crate) fn link(&self) -> &LinkHandle {
        &self.link
    }

    /// STUN and TURN servers that the coordinator named.
    pub(crate) fn ice_servers(&self) -> &[IceServer] {
        match &self.ways {
            Ways::Endpoint(paths) => &paths.grant.ice_servers,
            Ways::Plain(_) => &[],
        }
    }

    /// Opens the WebRTC carrier to the endpoint anew; `false`: this session has none, by its
    /// configuration or by the zone's policy.
    pub(crate) fn renew_direct(&self) -> bool {
        let Ways::Endpoint(paths) = &self.ways else {
            return false;
        };
        let has = paths.config.paths().contains(&PathKind::Direct) && *paths.p2p.borrow();
        if has {
            paths.renew_direct.notify_one();
        }
        has
    }

    /// Ends link and carriers, and gives the session back.
    pub(crate) async fn close(self) {
        self.link.close(0);
        if tokio::time::timeout(FAREWELL, self.link.gone())
            .await
            .is_err()
        {
            tracing::debug!("the link did not end in time");
        }
        let paths = match self.ways {
            Ways::Endpoint(paths) => paths,
            Ways::Plain(plain) => return plain.close().await,
        };
        paths.stop.cancel();
        paths.coordinator.leave(&paths.grant.session_id).await;
        if let Some(ports) = &paths.ports {
            ports.give_back().await;
        }
    }
}

/// Passes on what happens to the link, and tells when it may be used: the chosen zone's when the
/// preferred path is in use, or any path after the configured wait; that of a visit at once,
/// because a player is on the way to it.
fn forward(paths: Arc<Paths>, first: Option<PathKind>, notices: LinkNotices, teller: Teller) {
    let start = Instant::now();
    let config = &paths.config;
    let settle = if teller.link.is_chosen() {
        Duration::from_millis(config.p2p.prefer_wait_ms)
    } else {
        Duration::ZERO
    };
    let opening = Duration::from_millis(config.webrtc.connection_timeout_ms) + FAREWELL;
    let opening = Opening {
        // Without WebRTC there is nothing to wait for but the WebSocket.
        preferred: if *paths.p2p.borrow() {
            first
        } else {
            Some(PathKind::Wss)
        },
        settle: start + settle,
        give_up: start + opening,
    };
    tokio::spawn(async move {
        if let Some(notices) = opening.run(&paths, notices, &teller).await {
            teller.pass_on(notices).await;
        }
    });
}

/// The time until the link may be used.
struct Opening {
    preferred: Option<PathKind>,
    /// From then on any path will do.
    settle: Instant,
    /// Without any path by then it has failed.
    give_up: Instant,
}

impl Opening {
    /// Done when the link may be used; `None` when it may not.
    async fn run(
        self,
        paths: &Paths,
        mut notices: LinkNotices,
        teller: &Teller,
    ) -> Option<LinkNotices> {
        loop {
            let status = paths.link.status();
            let connected = status.state == LinkState::Connected;
            let deadline = if connected { self.settle } else { self.give_up };
            tokio::select! {
                notice = notices.recv() => {
                    let notice = notice?;
                    let arrived = matches!(&notice, LinkNotice::State(status)
                        if status.state == LinkState::Connected && status.path == self.preferred);
                    if !teller.tell(notice).await {
                        return None;
                    }
                    if arrived {
                        break;
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    if connected {
                        break;
                    }
                    let zone = &paths.grant.zone.zone.zone_id;
                    let mut problem = Problem::new(ProblemCode::NoPath, zone);
                    problem.detail = paths.last_failure.lock().take();
                    let link = teller.link;
                    teller.outbox.send(Outcome::LinkFailed { link, problem }).await;
                    return None;
                }
                () = paths.stop.cancelled() => return None,
            }
        }
        let link = teller.link;
        teller.outbox.send(Outcome::LinkReady { link }).await;
        Some(notices)
    }
}

/// Tells the engine what happens to one link.
struct Teller {
    link: LinkId,
    outbox: Outbox,
}

impl Teller {
    async fn pass_on(&self, mut notices: LinkNotices) {
        while let Some(notice) = notices.recv().await {
            if !self.tell(notice).await {
                return;
            }
        }
    }

    /// False when nothing can follow.
    async fn tell(&self, notice: LinkNotice) -> bool {
        let event = match notice {
            LinkNotice::State(status) => LinkEvent::State {
                state: status.state,
                path: status.path,
                reason: status.reason,
            },
            LinkNotice::Moved {
                from,
                to,
                reason,
                silent,
                costs,
            } => LinkEvent::Moved {
                from,
                to,
                reason,
                silent,
                costs,
            },
            LinkNotice::Tampered(kind) => LinkEvent::Tampered(kind),
            LinkNotice::Closed(LinkEnd::Closed(CloseReason::Local)) => return false,
            LinkNotice::Closed(LinkEnd::Closed(reason)) => LinkEvent::Closed(reason),
            LinkNotice::Closed(LinkEnd::Fault) => LinkEvent::Closed(CloseReason::Protocol),
            LinkNotice::Missed(count) => {
                tracing::warn!(count, "link events were lost");
                return true;
            }
            LinkNotice::Proven(_) | LinkNotice::GivenUp(_) | LinkNotice::CarrierEnded { .. } => {
                return true;
            }
        };
        let link = self.link;
        self.outbox.send(Outcome::Link { link, event }).await;
        true
    }
}

pub(crate) fn seed() -> Result<[u8; 32], Problem> {
    let rng = ring::rand::SystemRandom::new();
    let random: ring::rand::Random<[u8; 32]> = ring::rand::generate(&rng).map_err(|_| {
        Problem::new(ProblemCode::Internal, "random numbers").with_detail("the system gave none")
    })?;
    Ok(random.expose())
}
