//! Keeps a carrier of each kind open while a session lives.
//!
//! One task a kind: open, attach to the link, wait until it ends, is given up or has to be renewed;
//! then wait and open again. The wait doubles from the configured one up to 30 s with jitter, and
//! starts anew after a carrier that worked.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_engine_core::config::Config;
use warp_engine_core::view::LinkState;
use warp_link::CloseReason;
use warp_link::peer::PeerConfig;
use warp_link::websocket::{ConnectError, connect};
use warp_link_driver::{LinkHandle, LinkNotice};
use warp_protocol::carrier::PathKind;
use warp_protocol::identity::RefusedReason;
use warp_protocol::rest::SessionGrant;
use warp_protocol::{Problem, ProblemCode};

use crate::coordinator::Coordinator;
use crate::signaling::{SetupError, Signing, open_peer};

const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a carrier that is renewed by choice stays, so that what is on its way arrives.
const HANDOVER: Duration = Duration::from_millis(400);

/// What the tasks of one session share.
pub(crate) struct Paths {
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) config: Config,
    pub(crate) grant: SessionGrant,
    pub(crate) link: LinkHandle,
    /// How WebRTC descriptions are signed.
    pub(crate) signing: Signing,
    pub(crate) stop: CancellationToken,
    /// What still gives back a port of the router after `stop`.
    pub(crate) ports: TaskTracker,
    /// Asks for a new WebRTC carrier now.
    pub(crate) renew_direct: Notify,
    /// Why the last attempt failed, for the problem that names no path.
    pub(crate) last_failure: Mutex<Option<String>>,
    /// Tells a person that the coordinator is away, once per outage.
    pub(crate) report: Box<dyn Fn(Problem) + Send + Sync>,
    /// The coordinator does not know the session any more, and no path is left: the link is lost.
    pub(crate) forgotten: Box<dyn Fn() + Send + Sync>,
}

/// How a carrier's life ended.
enum Ended {
    /// By itself, or given up: open another after a wait.
    Lost,
    /// Somebody asked for another: open it at once.
    Renew,
    /// The session is over.
    Stopped,
}

impl Paths {
    fn backoff(&self) -> backon::ExponentialBackoff {
        ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(
                self.config.coordinator.reconnect_backoff_ms,
            ))
            .with_max_delay(LONGEST_WAIT)
            .without_max_times()
            .with_jitter()
            .build()
    }

    fn note(&self, kind: PathKind, error: &dyn std::fmt::Display) {
        tracing::info!(path = %kind, %error, "the path did not open");
        *self.last_failure.lock() = Some(format!("{kind}: {error}"));
    }

    /// Starts one task per kind in `kinds`.
    pub(crate) fn run(self: &Arc<Self>, kinds: &[PathKind]) {
        for kind in kinds {
            let paths = self.clone();
            match kind {
                PathKind::Direct => {
                    let ports = self.ports.clone();
                    drop(ports.spawn(async move { paths.keep_direct().await }));
                }
                PathKind::Wss => drop(tokio::spawn(async move { paths.keep_wss().await })),
                // Hosts are found by the coordinator; there are none yet.
                PathKind::Host => {}
            }
        }
    }

    async fn keep_direct(&self) {
        let mut backoff = self.backoff();
        loop {
            let attempt = open_peer(
                &self.coordinator,
                &self.grant,
                &self.signing,
                self.peer_config(),
                self.config.webrtc.port_mapping,
            );
            let opened = tokio::select! {
                opened = Box::pin(attempt) => opened,
                () = self.stop.cancelled() => return,
            };
            match opened {
                Ok(peer) => {
                    tracing::info!(path = "direct", "carrier open");
                    backoff = self.backoff();
                    let closed = peer.carrier.tx.clone();
                    let notices = self.link.notices();
                    self.link.attach(PathKind::Direct, peer.carrier);
                    let ended = self
                        .until_lost(PathKind::Direct, notices, closed.closed())
                        .await;
                    let in_use = self.link.status().path == Some(PathKind::Direct);
                    if in_use && matches!(ended, Ended::Renew) {
                        // Left by choice, not by a failure; there may be nowhere to go.
                        if self.link.fail_over().is_some() {
                            tokio::time::sleep(HANDOVER).await;
                        }
                    }
                    self.link.detach(PathKind::Direct);
                    peer.offerer.close().await;
                    if let Some(port) = peer.port {
                        port.close().await;
                    }
                    match ended {
                        Ended::Stopped => return,
                        Ended::Renew => continue,
                        Ended::Lost => {}
                    }
                }
                Err(error) => {
                    match error {
                        SetupError::Unauthorized => self.renew_token().await,
                        SetupError::Untrusted(reason) => self.untrusted(reason),
                        _ => {}
                    }
                    self.note(PathKind::Direct, &error);
                }
            }
            if !self.wait(PathKind::Direct, &mut backoff).await {
                return;
            }
        }
    }

    /// An answer was not believed: each is counted, and a person is told of the first.
    fn untrusted(&self, reason: RefusedReason) {
        let problem = self.coordinator.proof.refuse(reason, "WebRTC answer");
        if self.signing.is_first_refusal() {
            (self.report)(problem);
        }
    }

    async fn keep_wss(&self) {
        let mut backoff = self.backoff();
        let mut worked = false;
        loop {
            let opened = tokio::select! {
                opened = Box::pin(self.open_wss()) => opened,
                () = self.stop.cancelled() => return,
            };
            match opened {
                Ok(carrier) => {
                    tracing::info!(path = "wss", "carrier open");
                    backoff = self.backoff();
                    worked = true;
                    let closed = carrier.tx.clone();
                    let notices = self.link.notices();
                    self.link.attach(PathKind::Wss, carrier);
                    let ended = self
                        .until_lost(PathKind::Wss, notices, closed.closed())
                        .await;
                    self.link.detach(PathKind::Wss);
                    if matches!(ended, Ended::Stopped) {
                        return;
                    }
                }
                Err(error) => {
                    if error.needs_sign_in() {
                        self.renew_token().await;
                    }
                    self.note(PathKind::Wss, &error);
                    let away = self.link.status().state == LinkState::Reconnecting;
                    if away && problem_of(&error).code == ProblemCode::UnknownSession {
                        (self.forgotten)();
                    }
                    if std::mem::take(&mut worked) {
                        (self.report)(problem_of(&error));
                    }
                }
            }
            if !self.wait(PathKind::Wss, &mut backoff).await {
                return;
            }
        }
    }

    async fn open_wss(&self) -> Result<warp_link::Carrier, ConnectError> {
        let target = self.coordinator.link_target(&self.grant.session_id)?;
        connect(&target, self.stop.child_token()).await
    }

    /// A socket was refused for its token: get a new one before the next attempt.
    async fn renew_token(&self) {
        if let Some(stale) = self.coordinator.access_token()
            && let Err(problem) = self.coordinator.renew(&stale).await
        {
            tracing::warn!(code = ?problem.code, "the access token could not be renewed");
        }
    }

    async fn until_lost(
        &self,
        kind: PathKind,
        mut notices: warp_link_driver::LinkNotices,
        closed: impl Future<Output = CloseReason>,
    ) -> Ended {
        let mut closed = std::pin::pin!(closed);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ended::Stopped,
                reason = &mut closed => {
                    tracing::info!(path = %kind, ?reason, "carrier ended");
                    return Ended::Lost;
                }
                () = self.renew_direct.notified(), if kind == PathKind::Direct => {
                    return Ended::Renew;
                }
                notice = notices.recv() => match notice {
                    Some(LinkNotice::GivenUp(lost)) if lost == kind => {
                        tracing::info!(path = %kind, "silent for too long; its carrier is renewed");
                        return Ended::Lost;
                    }
                    Some(_) => {}
                    None => return Ended::Stopped,
                },
            }
        }
    }

    /// False when the session ended meanwhile.
    async fn wait(&self, kind: PathKind, backoff: &mut backon::ExponentialBackoff) -> bool {
        let wait = backoff.next().unwrap_or(LONGEST_WAIT);
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = self.renew_direct.notified(), if kind == PathKind::Direct => true,
            () = self.stop.cancelled() => false,
        }
    }

    fn peer_config(&self) -> PeerConfig {
        let mut ice_servers = self.grant.ice_servers.clone();
        ice_servers.extend(self.config.webrtc.ice_servers());
        PeerConfig {
            ice_servers,
            include_loopback: self.config.webrtc.loopback,
            bind: Vec::new(),
            connect_timeout: Duration::from_millis(self.config.webrtc.connection_timeout_ms),
            ..PeerConfig::default()
        }
    }
}

fn problem_of(error: &ConnectError) -> Problem {
    let code = match error {
        ConnectError::Tls { .. } => ProblemCode::CoordinatorUntrusted,
        ConnectError::Status { status: 401, .. } => ProblemCode::TokenExpired,
        ConnectError::Status {
            status: 403 | 404, ..
        } => ProblemCode::UnknownSession,
        ConnectError::ProxyUnreachable { .. } => ProblemCode::ProxyUnreachable,
        ConnectError::ProxyPassword { .. } => ProblemCode::ProxyPassword,
        ConnectError::ProxyRefused { .. }
        | ConnectError::ProxyUnsupported { .. }
        | ConnectError::ProxyProtocol { .. } => ProblemCode::ProxyRefused,
        _ => ProblemCode::CoordinatorUnreachable,
    };
    Problem::new(code, "link socket").with_detail(error.to_string())
}
