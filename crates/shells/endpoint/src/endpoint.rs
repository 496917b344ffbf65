//! The endpoint as its owner holds it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::Ed25519KeyPair;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_link::Carrier;
use warp_link::peer::PeerConfig;
use warp_link_core::Link;
use warp_protocol::carrier::PathKind;
use zeroize::Zeroizing;

use crate::config::{
    AttachRefused, EndpointConfig, GrantRefused, GrantSpec, SIGNALS, SessionView, SignalPort,
};
use crate::session::{self, Session};

/// SubjectPublicKeyInfo of an Ed25519 key in DER: this, then the 32 bytes of the key (RFC 8410,
/// sections 3 and 4).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A new key for an endpoint: Ed25519, PKCS#8 v2 DER, from the system's random numbers.
///
/// # Panics
/// If the system has no random numbers: nothing here could be safe then.
pub fn generate_identity_der() -> Zeroizing<Vec<u8>> {
    match Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()) {
        Ok(document) => Zeroizing::new(document.as_ref().to_vec()),
        Err(_) => panic!("the operating system gives no random numbers"),
    }
}

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) config: EndpointConfig,
    /// At most [`crate::EndpointLimits::sessions`].
    pub(crate) sessions: Mutex<HashMap<String, Arc<Session>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// An endpoint. Clones are the same one.
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("sessions", &self.shared.sessions.lock().len())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint without sessions. Grant them within a tokio runtime.
    pub fn start(config: EndpointConfig) -> Endpoint {
        Endpoint {
            shared: Arc::new(Shared {
                config,
                sessions: Mutex::new(HashMap::new()),
                stop: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// The key that launchers know it by: SubjectPublicKeyInfo in DER.
    pub fn public_key(&self) -> Vec<u8> {
        self.shared.config.identity.public_key().to_vec()
    }

    /// Lets the holder of the device key open one session link. Returns the endpoint's place in the
    /// signaling room.
    ///
    /// # Errors
    /// [`GrantRefused`]; nothing has changed then.
    pub fn grant(&self, spec: GrantSpec) -> Result<SignalPort, GrantRefused> {
        let shared = &self.shared;
        let key = spec.device_key.strip_prefix(&ED25519_SPKI);
        if key.is_none_or(|key| key.len() != 32) {
            return Err(GrantRefused::BadDeviceKey);
        }
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| GrantRefused::LinkSetup)?;
        let mut sessions = shared.sessions.lock();
        if shared.stop.is_cancelled() {
            return Err(GrantRefused::ShuttingDown);
        }
        if sessions.contains_key(&spec.session_id) {
            return Err(GrantRefused::SessionExists);
        }
        if sessions.len() >= shared.config.limits.sessions {
            return Err(GrantRefused::TooManySessions);
        }
        let config = &shared.config;
        let link = Link::server(
            config.limits.link.clone(),
            &config.identity,
            &spec.device_key,
            seed,
        )
        .map_err(|_| GrantRefused::LinkSetup)?;
        let (to_endpoint, inbox) = mpsc::channel(SIGNALS);
        let (outbox, from_endpoint) = mpsc::channel(SIGNALS);
        let peer_config = PeerConfig {
            ice_servers: spec.ice_servers.clone(),
            include_loopback: config.webrtc.include_loopback,
            bind: config.webrtc.bind.clone(),
            connect_timeout: config.webrtc.connect_timeout,
            ..PeerConfig::default()
        };
        let (handle, notices, incoming) = warp_link_driver::spawn(link);
        let session = Arc::new(Session::new(
            spec,
            config.limits.clone(),
            handle,
            shared.stop.child_token(),
        ));
        sessions.insert(session.id().to_owned(), Arc::clone(&session));
        drop(sessions);
        tracing::info!(session = session.id(), "session granted");
        let parts = session::Parts {
            notices,
            incoming,
            inbox,
            outbox,
            peer_config,
        };
        let owner = Arc::clone(shared);
        shared.tasks.spawn(async move {
            session::run(&session, parts).await;
            let mut sessions = owner.sessions.lock();
            sessions.remove(session.id());
        });
        Ok(SignalPort {
            to_endpoint,
            from_endpoint,
        })
    }

    /// Gives a session a carrier over a WebSocket, which must have proven whose it is. An older one
    /// is replaced.
    ///
    /// # Errors
    /// [`AttachRefused`]; the carrier is closed.
    pub fn attach_wss(&self, session_id: &str, carrier: Carrier) -> Result<(), AttachRefused> {
        let session = self.shared.sessions.lock().get(session_id).cloned();
        let session = session.ok_or(AttachRefused::UnknownSession)?;
        session.link().attach(PathKind::Wss, carrier);
        Ok(())
    }

    /// Ends a session: its connections to game servers are closed, and its link.
    pub fn revoke(&self, session_id: &str) {
        let session = self.shared.sessions.lock().get(session_id).cloned();
        if let Some(session) = session {
            session.stop();
        }
    }

    /// The sessions, in no particular order.
    pub fn sessions(&self) -> Vec<SessionView> {
        let sessions = self.shared.sessions.lock();
        sessions.values().map(|session| session.view()).collect()
    }

    /// Ends all sessions and waits until they have ended. No session is granted from now on.
    pub async fn shutdown(&self) {
        {
            // Under the lock, so that no session is granted and forgotten.
            let _sessions = self.shared.sessions.lock();
            self.shared.stop.cancel();
        }
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}
