//! Keeps a carrier of each kind open while a session lives.
//!
//! One task a kind: open, attach to the link, wait until it ends, is given up or has to be renewed;
//! then wait and open again. On another network the next one is opened at once and takes the place of
//! the old one when it is open; what is just being opened then begins anew. The wait doubles from the
//! configured one up to 30 s, each with up to a second more, and starts anew after a carrier that
//! worked. While no path
//! carries the game it is two seconds at most: the streams are held for a limited time.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use warp_engine_core::config::Config;
use warp_engine_core::event::Event;
use warp_engine_core::view::{LinkState, PathPhase};
use warp_link::peer::{Offerer, PeerConfig, PortOpener};
use warp_link::websocket::{ConnectError, connect};
use warp_link::{Carrier, CarrierUse, CloseReason, WrapCarrier};
use warp_link_driver::{LinkHandle, LinkNotice};
use warp_protocol::carrier::PathKind;
use warp_protocol::identity::RefusedReason;
use warp_protocol::rest::SessionGrant;
use warp_protocol::{Problem, ProblemCode};

use crate::coordinator::Coordinator;
use crate::hosts::chance;
use crate::ports::RouterPorts;
use crate::room::Room;
use crate::signaling::{SetupError, Signing, open_peer};

const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// And as much more at most, by chance.
const MORE_WAIT: Duration = Duration::from_secs(1);
/// And the longest while no path carries the game, of which half is by chance: everybody whose endpoint
/// starts anew waits for the same moment.
const URGENT_WAIT: Duration = Duration::from_secs(2);
/// How long a carrier that is renewed by choice stays, so that what is on its way arrives.
const HANDOVER: Duration = Duration::from_millis(400);

/// What the tasks of one session share.
pub(crate) struct Paths {
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) config: Config,
    /// Put around each carrier.
    pub(crate) wrap: Option<WrapCarrier>,
    pub(crate) grant: SessionGrant,
    pub(crate) link: LinkHandle,
    /// The session's signaling socket.
    pub(crate) room: Room,
    /// Counts up when the network is another one.
    pub(crate) network: watch::Receiver<u64>,
    /// Whether the zone's policy allows WebRTC now.
    pub(crate) p2p: watch::Sender<bool>,
    /// How descriptions for the endpoint are signed.
    pub(crate) signing: Signing,
    pub(crate) stop: CancellationToken,
    /// The router, where it may be asked for ports.
    pub(crate) ports: Option<Arc<RouterPorts>>,
    /// Asks for a new WebRTC carrier now.
    pub(crate) renew_direct: Notify,
    /// Why the last attempt failed, for the problem that names no path.
    pub(crate) last_failure: Mutex<Option<String>>,
    /// Tells a person that the coordinator is away, once per outage.
    pub(crate) report: Box<dyn Fn(Problem) + Send + Sync>,
    /// Tells a person what the coordinator told.
    pub(crate) tell: Box<dyn Fn(Event) + Send + Sync>,
    /// The coordinator does not know the session any more, and no path is left: the link is lost.
    pub(crate) forgotten: Box<dyn Fn() + Send + Sync>,
}

/// What has to be closed when a carrier is.
enum Opened {
    Peer(Box<Offerer>),
    /// A socket ends with its carrier.
    Socket,
}

impl Opened {
    async fn close(self) {
        if let Self::Peer(peer) = self {
            peer.close().await;
        }
    }
}

/// Why a carrier did not open.
#[derive(Debug, thiserror::Error)]
enum NotOpened {
    #[error(transparent)]
    Peer(#[from] SetupError),
    #[error(transparent)]
    Socket(#[from] ConnectError),
}

/// Waits until the network is another one.
pub(crate) async fn changed(network: &mut watch::Receiver<u64>) {
    if network.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until the zone's policy allows no WebRTC.
async fn forbidden(p2p: &mut watch::Receiver<bool>) {
    // What is awaited holds a lock: it ends here.
    let gone = p2p.wait_for(|allowed| !*allowed).await.is_err();
    if gone {
        std::future::pending::<()>().await;
    }
}

/// How a carrier's life ended.
enum Ended {
    /// By itself, or given up: open another after a wait.
    Lost,
    /// Somebody asked for another: open it at once.
    Renew,
    /// The zone's policy allows it no more.
    Forbidden,
    /// The network is another one: open another at once, and keep this one until then.
    Network,
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
            .build()
    }

    pub(crate) fn attach(&self, kind: PathKind, carrier: Carrier) {
        let carrier = match &self.wrap {
            Some(wrap) => wrap(CarrierUse::Link(kind), carrier),
            None => carrier,
        };
        self.link.attach(kind, carrier);
    }

    pub(crate) fn note(&self, kind: PathKind, error: &dyn std::fmt::Display) {
        tracing::info!(path = %kind, %error, "the path did not open");
        *self.last_failure.lock() = Some(format!("{kind}: {error}"));
    }

    /// Starts one task per kind in `kinds`; the ways over hosts wait for the coordinator to name one.
    pub(crate) fn run(self: &Arc<Self>, kinds: &[PathKind]) {
        for kind in kinds.iter().copied() {
            let paths = self.clone();
            match kind {
                PathKind::Direct | PathKind::Wss => {
                    tokio::spawn(async move { paths.keep(kind).await });
                }
                // That one leads past the endpoint; see [`crate::plain`].
                PathKind::Host | PathKind::Host2 | PathKind::Tcp => {}
            }
        }
    }

    /// Keeps the carrier of a kind open until the session ends.
    async fn keep(&self, kind: PathKind) {
        let mut backoff = self.backoff();
        let mut network = self.network.clone();
        let mut worked = false;
        // A carrier of before the network changed: it stays until the next one is open.
        let mut older: Option<Opened> = None;
        let mut p2p = self.p2p.subscribe();
        let mut policy = self.p2p.subscribe();
        loop {
            let opened = tokio::select! {
                opened = Box::pin(self.open_allowed(kind, &mut p2p)) => opened,
                () = changed(&mut network) => {
                    tracing::debug!(path = %kind, "the network changed while it was opened");
                    backoff = self.backoff();
                    continue;
                }
                // The game has been moved away already; it must not come back over this one.
                () = forbidden(&mut policy),
                    if older.is_some() && kind != PathKind::Wss =>
                {
                    tokio::time::sleep(HANDOVER).await;
                    self.link.detach(kind);
                    if let Some(older) = older.take() {
                        older.close().await;
                    }
                    continue;
                }
                () = self.stop.cancelled() => {
                    if let Some(older) = older {
                        older.close().await;
                    }
                    return;
                }
            };
            match opened {
                Ok((carrier, opened)) => {
                    tracing::info!(path = %kind, "carrier open");
                    backoff = self.backoff();
                    worked = true;
                    let closed = carrier.tx.clone();
                    let notices = self.link.notices();
                    self.attach(kind, carrier);
                    if let Some(older) = older.take() {
                        older.close().await;
                    }
                    network.mark_unchanged();
                    let ended = self
                        .until_lost(kind, notices, closed.closed(), (&mut network, &mut p2p))
                        .await;
                    match ended {
                        Ended::Network => {
                            older = Some(opened);
                            continue;
                        }
                        Ended::Renew => self.leave(kind).await,
                        // The game has been moved away already.
                        Ended::Forbidden => tokio::time::sleep(HANDOVER).await,
                        Ended::Lost | Ended::Stopped => {}
                    }
                    self.link.detach(kind);
                    opened.close().await;
                    match ended {
                        Ended::Stopped => return,
                        Ended::Renew | Ended::Network | Ended::Forbidden => continue,
                        Ended::Lost => {}
                    }
                }
                Err(error) => self.not_opened(kind, &error, &mut worked).await,
            }
            let waited = self.wait(kind, &mut backoff, &mut network);
            tokio::select! {
                goes_on = waited => if !goes_on {
                    return;
                },
                // The older one goes at once: see above.
                () = forbidden(&mut policy), if older.is_some() && kind != PathKind::Wss => {}
            }
        }
    }

    /// Moves the game off a path that is to be closed and has not failed; there may be nowhere to go.
    pub(crate) async fn leave(&self, kind: PathKind) {
        if self.link.status().path == Some(kind) && self.link.withdraw().is_some() {
            tokio::time::sleep(HANDOVER).await;
        }
    }

    /// Opens a carrier once the zone's policy allows its kind.
    async fn open_allowed(
        &self,
        kind: PathKind,
        p2p: &mut watch::Receiver<bool>,
    ) -> Result<(Carrier, Opened), NotOpened> {
        if kind == PathKind::Wss {
            return self.open(kind).await;
        }
        loop {
            // The sender lives as long as this does.
            let _ = p2p.wait_for(|allowed| *allowed).await;
            tokio::select! {
                opened = Box::pin(self.open(kind)) => return opened,
                () = forbidden(p2p) => {}
            }
        }
    }

    async fn open(&self, kind: PathKind) -> Result<(Carrier, Opened), NotOpened> {
        if kind == PathKind::Wss {
            let target = self.coordinator.link_target(&self.grant.session_id)?;
            let carrier = connect(&target, self.stop.child_token()).await?;
            return Ok((carrier, Opened::Socket));
        }
        let peer = &self.grant.endpoint_peer_id;
        let config = self.peer_config();
        let opening = open_peer(&self.room, peer, &self.signing, config);
        let (carrier, peer) = opening.await?;
        Ok((carrier, Opened::Peer(Box::new(peer))))
    }

    /// Notes why a carrier did not open, and does what may help the next attempt.
    async fn not_opened(&self, kind: PathKind, error: &NotOpened, worked: &mut bool) {
        match error {
            NotOpened::Peer(SetupError::Unauthorized) => self.renew_token().await,
            NotOpened::Peer(SetupError::Untrusted(reason)) => {
                self.untrusted(*reason, &self.signing);
            }
            NotOpened::Socket(error) => {
                if error.needs_sign_in() {
                    self.renew_token().await;
                }
                let away = self.link.status().state == LinkState::Reconnecting;
                if away && problem_of(error).code == ProblemCode::UnknownSession {
                    (self.forgotten)();
                }
                if std::mem::take(worked) {
                    (self.report)(problem_of(error));
                }
            }
            NotOpened::Peer(_) => {}
        }
        self.note(kind, error);
    }

    /// An answer was not believed: each is counted, and a person is told of the first.
    pub(crate) fn untrusted(&self, reason: RefusedReason, signing: &Signing) {
        let problem = self.coordinator.proof.refuse(reason, "WebRTC answer");
        if signing.is_first_refusal() {
            (self.report)(problem);
        }
    }

    /// A socket was refused for its token: get a new one before the next attempt.
    pub(crate) async fn renew_token(&self) {
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
        (network, p2p): (&mut watch::Receiver<u64>, &mut watch::Receiver<bool>),
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
                () = changed(network) => return Ended::Network,
                _ = p2p.wait_for(|allowed| !allowed), if kind != PathKind::Wss => {
                    return Ended::Forbidden;
                }
                notice = notices.recv() => match notice {
                    Some(LinkNotice::GivenUp(lost)) if lost == kind => {
                        tracing::info!(path = %kind, "silent for too long; its carrier is renewed");
                        return Ended::Lost;
                    }
                    // What was missed may have been that.
                    Some(LinkNotice::Missed(_)) if self.is_given_up(kind) => return Ended::Lost,
                    Some(_) => {}
                    None => return Ended::Stopped,
                },
            }
        }
    }

    /// Whether the link has given its path of this kind up.
    pub(crate) fn is_given_up(&self, kind: PathKind) -> bool {
        let paths = self.link.paths();
        let mut of_kind = paths.iter().filter(|path| path.kind == kind).peekable();
        of_kind.peek().is_some() && of_kind.all(|path| path.phase == PathPhase::Down)
    }

    /// False when the session ended meanwhile.
    async fn wait(
        &self,
        kind: PathKind,
        backoff: &mut backon::ExponentialBackoff,
        network: &mut watch::Receiver<u64>,
    ) -> bool {
        // Not everybody who lost a carrier at the same moment comes back at the same moment.
        let wait = backoff.next().unwrap_or(LONGEST_WAIT) + MORE_WAIT.mul_f64(chance());
        let urgent = wait.min(URGENT_WAIT.mul_f64(chance().midpoint(1.0)));
        let mut status = self.link.watch_status();
        let began = tokio::time::Instant::now();
        let nothing_carries = async {
            let gone = status.wait_for(|status| status.state == LinkState::Reconnecting);
            // What is awaited holds a lock: it ends here.
            let gone = gone.await.is_ok();
            match gone {
                true => tokio::time::sleep_until(began + urgent).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = nothing_carries => true,
            () = changed(network) => {
                *backoff = self.backoff();
                true
            }
            () = self.renew_direct.notified(), if kind == PathKind::Direct => true,
            () = self.stop.cancelled() => false,
        }
    }

    pub(crate) fn peer_config(&self) -> PeerConfig {
        let mut ice_servers = self.grant.ice_servers.clone();
        ice_servers.extend(self.config.webrtc.ice_servers());
        PeerConfig {
            ice_servers,
            include_loopback: self.config.webrtc.loopback,
            bind: Vec::new(),
            connect_timeout: Duration::from_millis(self.config.webrtc.connection_timeout_ms),
            ports: (self.ports.clone()).map(|ports| ports as Arc<dyn PortOpener>),
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
