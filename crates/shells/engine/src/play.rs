//! What one session of play holds: the link with its carriers, the bridge, and their events.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warp_bridge::{Bridge, BridgeConfig, BridgeLimits, BridgeNotice};
use warp_bridge_core::Level;
use warp_engine_core::config::Config;
use warp_engine_core::event::Event;
use warp_engine_core::machine::Outcome;
use warp_engine_core::view::{LinkState, Metrics, StreamDigest};
use warp_link_core::{CloseReason, Identity, Link, LinkEvent};
use warp_link_driver::{LinkEnd, LinkHandle, LinkNotice, LinkNotices};
use warp_protocol::carrier::PathKind;
use warp_protocol::rest::SessionGrant;
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode};

use crate::coordinator::Coordinator;
use crate::opener::LinkOpener;
use crate::paths::Paths;

/// How long a closing link may take to tell the endpoint.
const FAREWELL: Duration = Duration::from_millis(500);

/// An outcome with the number of the play that it belongs to.
pub(crate) type Tagged = (u64, Outcome);

/// Sends outcomes of one play.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) play: u64,
    pub(crate) sender: mpsc::Sender<Tagged>,
}

impl Outbox {
    pub(crate) async fn send(&self, outcome: Outcome) {
        // The loop has ended: nobody is left to tell.
        let _ = self.sender.send((self.play, outcome)).await;
    }

    /// For callers that cannot wait; a full queue drops it, with a line in the log.
    fn offer(&self, outcome: Outcome) {
        if let Err(mpsc::error::TrySendError::Full((_, outcome))) =
            self.sender.try_send((self.play, outcome))
        {
            tracing::warn!(?outcome, "the engine is swamped; an event was dropped");
        }
    }
}

/// Link and carriers.
pub(crate) struct Session {
    pub(crate) paths: Arc<Paths>,
    kinds: Vec<PathKind>,
}

/// A key pair that lives as long as the session, and its public half in hex.
pub(crate) fn device_key() -> Result<(Identity, String), Problem> {
    let fault = |why: &str| Problem::new(ProblemCode::Internal, "device key").with_detail(why);
    let rng = ring::rand::SystemRandom::new();
    let der = ring::signature::Ed25519KeyPair::generate_pkcs8(&rng)
        .map_err(|_| fault("the system gave no random numbers"))?;
    let identity =
        Identity::from_pkcs8_der(der.as_ref()).map_err(|error| fault(&error.to_string()))?;
    let public = hex::encode(identity.public_key());
    Ok((identity, public))
}

impl Session {
    /// Starts link and carriers; tells `outbox` what happens to them.
    pub(crate) fn open(
        coordinator: Arc<Coordinator>,
        config: &Config,
        grant: SessionGrant,
        identity: &Identity,
        outbox: &Outbox,
    ) -> Result<Self, Problem> {
        let refused = |why: String| {
            Problem::new(ProblemCode::CoordinatorProtocol, &grant.session_id).with_detail(why)
        };
        let endpoint_key = hex::decode(&grant.endpoint_key)
            .map_err(|error| refused(format!("endpoint key: {error}")))?;
        let mut link_config = config.link();
        if !grant.zone.zone.p2p_enabled {
            link_config.preference.retain(|kind| *kind == PathKind::Wss);
        }
        let kinds = link_config.preference.clone();
        if kinds.is_empty() {
            return Err(Problem::new(ProblemCode::NoPath, &grant.zone.zone.zone_id)
                .with_detail("the configuration leaves no path: p2p.paths needs wss here"));
        }
        let link = Link::client(link_config, identity, &endpoint_key, seed()?)
            .map_err(|error| refused(error.to_string()))?;
        let (link, notices, _incoming) = warp_link_driver::spawn(link);
        let reporter = outbox.clone();
        let paths = Arc::new(Paths {
            coordinator,
            config: config.clone(),
            grant,
            link,
            stop: CancellationToken::new(),
            renew_direct: Notify::new(),
            last_failure: Mutex::new(None),
            report: Box::new(move |problem| reporter.offer(Outcome::Failed(problem))),
        });
        paths.run(&kinds);
        let session = Self { paths, kinds };
        session.forward(notices, outbox.clone());
        Ok(session)
    }

    /// Passes on what happens to the link, and tells when Play may go on: the preferred path is in
    /// use, or any path after the configured wait.
    fn forward(&self, notices: LinkNotices, outbox: Outbox) {
        let start = Instant::now();
        let config = &self.paths.config;
        let settle = Duration::from_millis(config.p2p.prefer_wait_ms);
        let opening = Duration::from_millis(config.webrtc.connection_timeout_ms) + FAREWELL;
        let opening = Opening {
            preferred: self.kinds.first().copied(),
            settle: start + settle,
            give_up: start + opening,
        };
        let paths = self.paths.clone();
        tokio::spawn(async move {
            if let Some(notices) = opening.run(&paths, notices, &outbox).await {
                pass_on(notices, &outbox).await;
            }
        });
    }

    /// Ends link and carriers, and gives the session back.
    pub(crate) async fn close(self) {
        let paths = self.paths;
        paths.link.close(0);
        if tokio::time::timeout(FAREWELL, paths.link.gone())
            .await
            .is_err()
        {
            tracing::debug!("the link did not end in time");
        }
        paths.stop.cancel();
        paths.coordinator.leave(&paths.grant.session_id).await;
    }
}

/// The time until Play may go on.
struct Opening {
    preferred: Option<PathKind>,
    /// From then on any path will do.
    settle: Instant,
    /// Without any path by then Play has failed.
    give_up: Instant,
}

impl Opening {
    /// Done when Play may go on; `None` when it may not.
    async fn run(
        self,
        paths: &Paths,
        mut notices: LinkNotices,
        outbox: &Outbox,
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
                    if !tell(notice, outbox).await {
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
                    outbox.send(Outcome::PlayFailed(problem)).await;
                    return None;
                }
                () = paths.stop.cancelled() => return None,
            }
        }
        outbox.send(Outcome::LinkReady).await;
        Some(notices)
    }
}

async fn pass_on(mut notices: LinkNotices, outbox: &Outbox) {
    while let Some(notice) = notices.recv().await {
        if !tell(notice, outbox).await {
            return;
        }
    }
}

/// False when nothing can follow.
async fn tell(notice: LinkNotice, outbox: &Outbox) -> bool {
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
        } => LinkEvent::Moved {
            from,
            to,
            reason,
            silent,
        },
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
    outbox.send(Outcome::Link(event)).await;
    true
}

fn seed() -> Result<[u8; 32], Problem> {
    let rng = ring::rand::SystemRandom::new();
    let random: ring::rand::Random<[u8; 32]> = ring::rand::generate(&rng).map_err(|_| {
        Problem::new(ProblemCode::Internal, "random numbers").with_detail("the system gave none")
    })?;
    Ok(random.expose())
}

/// Opens the loopback side.
pub(crate) fn open_bridge(
    config: &Config,
    zone: &ZoneView,
    link: LinkHandle,
    outbox: &Outbox,
) -> Result<Bridge, Problem> {
    let bridge = BridgeConfig {
        login_listen: config.bridge.login_listen,
        game: zone.zone.game.clone(),
        level: Level::Assist,
        packet_version: zone.zone.game.packet_version,
        limits: BridgeLimits::default(),
    };
    let teller = outbox.clone();
    let notify = Arc::new(move |notice| {
        if let Some(outcome) = bridge_outcome(notice) {
            teller.offer(outcome);
        }
    });
    Bridge::start(bridge, Arc::new(LinkOpener(link)), notify).map_err(|error| {
        Problem::new(error.code(), error.address().to_string()).with_detail(error.to_string())
    })
}

fn bridge_outcome(notice: BridgeNotice) -> Option<Outcome> {
    let digest = |carried: warp_bridge::Carried| StreamDigest {
        bytes: carried.bytes,
        sha256: carried.sha256,
    };
    let event = match notice {
        BridgeNotice::Opened {
            n, role, target, ..
        } => Event::StreamOpened {
            stream: n,
            role,
            target,
        },
        BridgeNotice::Closed {
            n,
            role,
            clean,
            up,
            down,
            ..
        } => Event::StreamClosed {
            stream: n,
            role,
            clean,
            up: digest(up),
            down: digest(down),
        },
        BridgeNotice::SteppedDown { n, to, reason, .. } => Event::SteppedDown {
            stream: n,
            level: to.name().to_owned(),
            reason: reason.code().to_owned(),
        },
        BridgeNotice::Refused {
            role,
            target,
            reason,
            ..
        } => {
            return Some(Outcome::ConnectionRefused {
                role,
                target,
                code: reason.code(),
            });
        }
        BridgeNotice::DoorMissing { target, cause, .. } => {
            let problem = Problem::new(ProblemCode::PortRefused, format!("loopback for {target}"));
            return Some(Outcome::Failed(match cause {
                Some(cause) => problem.with_detail(cause),
                None => problem,
            }));
        }
        BridgeNotice::ServerAnnounced { .. }
        | BridgeNotice::MapChanged { .. }
        | BridgeNotice::Partial { .. } => return None,
    };
    Some(Outcome::Bridge(event))
}

/// The numbers of a session; `at_ms` since Play.
pub(crate) fn metrics(link: &LinkHandle, bridge: &Bridge, at_ms: u64, failovers: u32) -> Metrics {
    let status = link.status();
    let paths = link.paths();
    let counters = link.counters();
    let game = bridge.counters();
    let current = paths
        .iter()
        .find(|path| Some(path.kind) == status.path && path.phase.carries_game());
    Metrics {
        at_ms,
        state: status.state,
        path: status.path,
        rtt_ms: current.and_then(|path| path.rtt_ms),
        jitter_ms: current.and_then(|path| path.jitter_ms),
        loss_percent: current.map(|path| path.loss_percent),
        streams: u32::try_from(bridge.connections().len()).unwrap_or(u32::MAX),
        bytes_up: game.up.total().bytes,
        bytes_down: game.down.total().bytes,
        failovers,
        refused: counters.refused,
        duplicated: counters.duplicated,
        paths,
    }
}
