//! One granted session.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_link::Carrier;
use warp_link::peer::PeerConfig;
use warp_link_core::{CloseReason, State};
use warp_link_driver::{
    Answering, IncomingStreams, LinkEnd, LinkHandle, LinkNotice, LinkNotices, Room, RoomKeys,
};
use warp_protocol::carrier::PathKind;
use warp_protocol::identity::RefusedReason;
use warp_protocol::signal::{ClientSignal, ServerSignal};
use warp_protocol::stream::reset;
use warp_protocol::zone::GameServer;

use crate::config::{EndpointLimits, GrantSpec, SessionView};
use crate::endpoint::Shared;
use crate::game;

/// How long carriers stay up after the link was closed with a code, so that it arrives: some round
/// trips of a slow one.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long the streams of a session may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A session, as its streams and the endpoint see it.
pub(crate) struct Session {
    id: String,
    keys: RoomKeys,
    pub(crate) game: GameServer,
    p2p_enabled: bool,
    pub(crate) limits: EndpointLimits,
    link: LinkHandle,
    stop: CancellationToken,
    /// Asks to tell the launcher why before everything ends.
    telling: CancellationToken,
    /// What the link is closed with.
    close_code: AtomicU32,
    /// One for each connection to a game server.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) up_bytes: AtomicU64,
    pub(crate) down_bytes: AtomicU64,
    /// Number of the newest route of a host that has carried each way over one.
    pub(crate) newest_route: [AtomicU64; 2],
}

impl Session {
    pub(crate) fn new(
        spec: GrantSpec,
        keys: RoomKeys,
        limits: EndpointLimits,
        link: LinkHandle,
        stop: CancellationToken,
    ) -> Self {
        Self {
            id: spec.session_id,
            keys,
            game: spec.game,
            p2p_enabled: spec.p2p_enabled,
            places: Arc::new(Semaphore::new(limits.connections)),
            limits,
            link,
            stop,
            telling: CancellationToken::new(),
            close_code: AtomicU32::new(reset::SESSION_END),
            up_bytes: AtomicU64::new(0),
            down_bytes: AtomicU64::new(0),
            newest_route: Default::default(),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn link(&self) -> &LinkHandle {
        &self.link
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends it with this code. The launcher is told over carriers that are still up.
    pub(crate) fn stop_with(&self, code: u32) {
        self.close_code.store(code, Ordering::Release);
        self.telling.cancel();
    }

    /// Closes the link, and gives its last datagrams time to leave.
    async fn tell_why(&self) {
        // Before the handshake is over no code can be told (RFC 9000, 10.2.3).
        let mut status = self.link.watch_status();
        let connected = status.wait_for(|status| status.state == State::Connected);
        let _ = tokio::time::timeout(FAREWELL, connected).await;
        self.link.close(self.close_code.load(Ordering::Acquire));
        let farewell = async {
            self.link.gone().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            () = self.stopped() => {}
            _ = tokio::time::timeout(2 * FAREWELL, farewell) => {}
        }
    }

    /// Waits until the session is to end.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    pub(crate) fn view(&self) -> SessionView {
        let status = self.link.status();
        let free = self.places.available_permits();
        SessionView {
            session_id: self.id.clone(),
            state: status.state,
            path: status.path,
            streams: self.limits.connections.saturating_sub(free),
            up_bytes: self.up_bytes.load(Ordering::Relaxed),
            down_bytes: self.down_bytes.load(Ordering::Relaxed),
        }
    }
}

/// The session's signaling room.
struct SessionRoom {
    session: Arc<Session>,
    owner: Arc<Shared>,
}

impl Room for SessionRoom {
    fn id(&self) -> &str {
        self.session.id()
    }

    fn keys(&self) -> &RoomKeys {
        &self.session.keys
    }

    fn takes_offers(&self) -> bool {
        self.session.p2p_enabled
    }

    fn stop(&self) -> &CancellationToken {
        &self.session.stop
    }

    fn attach(&self, carrier: Carrier) {
        self.session.link().attach(PathKind::Direct, carrier);
    }

    fn refuse(&self, reason: RefusedReason) {
        self.owner.refuse(self.session.id(), reason);
    }
}

/// What the session's task alone holds.
pub(crate) struct Parts {
    pub(crate) notices: LinkNotices,
    pub(crate) incoming: IncomingStreams,
    pub(crate) inbox: mpsc::Receiver<ServerSignal>,
    pub(crate) outbox: mpsc::Sender<ClientSignal>,
    pub(crate) peer_config: PeerConfig,
}

/// From the grant to the end.
pub(crate) async fn run(session: &Arc<Session>, owner: &Arc<Shared>, parts: Parts) {
    let Parts {
        mut notices,
        mut incoming,
        mut inbox,
        outbox,
        peer_config,
    } = parts;
    let tasks = TaskTracker::new();
    let room = SessionRoom {
        session: Arc::clone(session),
        owner: Arc::clone(owner),
    };
    let mut answering = Answering::new(Arc::new(room), tasks.clone(), outbox, peer_config);
    let unused_at = Instant::now() + session.limits.unused;
    let mut used = false;
    let mut signaling = true;
    let why = loop {
        tokio::select! {
            biased;
            () = session.stopped() => break "revoked",
            () = session.telling.cancelled() => {
                session.tell_why().await;
                break "ended with a code";
            }
            notice = notices.recv() => match notice {
                Some(LinkNotice::Closed(_)) | None => break session.link.closed().await.code(),
                Some(notice) => used |= note(session, &notice),
            },
            stream = incoming.recv() => match stream {
                Some(stream) => {
                    let session = Arc::clone(session);
                    tasks.spawn(async move { game::serve(&session, stream).await });
                }
                None => break session.link.closed().await.code(),
            },
            signal = inbox.recv(), if signaling => match signal {
                Some(signal) => answering.on_signal(signal),
                // The room is gone; carriers that are open stay.
                None => signaling = false,
            },
            () = sleep_until(unused_at), if !used => break "unused",
        }
    };
    let refused = session.link.counters().refused;
    // Notices and streams both tell of the link's end, and either may be the first.
    let unproven = session.link.end() == Some(LinkEnd::Closed(CloseReason::Untrusted));
    // A launcher of another protocol or cipher comes to no handshake: its first datagram is refused.
    if unproven || (!used && refused > 0) {
        owner.refuse(session.id(), RefusedReason::LinkUnproven);
    }
    // Streams and WebRTC connections end by this.
    session.stop();
    drop(answering);
    tasks.close();
    if tokio::time::timeout(GOODBYE, tasks.wait()).await.is_err() {
        tracing::warn!(session = session.id(), "streams did not end in time");
    }
    session
        .link
        .close(session.close_code.load(Ordering::Acquire));
    session.link.gone().await;
    tracing::info!(session = session.id(), why, refused, "session ended");
}

/// Logs what a person may want to know. True when the link has been connected.
fn note(session: &Session, notice: &LinkNotice) -> bool {
    let id = session.id();
    match notice {
        LinkNotice::State(status) => {
            let path = status.path.map(|path| path.name());
            tracing::info!(session = id, state = ?status.state, path, "session link");
            status.state == State::Connected
        }
        LinkNotice::CarrierEnded { kind, reason } => {
            tracing::info!(session = id, carrier = %kind, why = reason.code(), "carrier ended");
            false
        }
        other => {
            tracing::debug!(session = id, notice = ?other, "session link");
            false
        }
    }
}
