//! The endpoint as its owner holds it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::Ed25519KeyPair;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_link::Carrier;
use warp_link::peer::PeerConfig;
use warp_link_core::{Holder, Link};
use warp_link_driver::RoomKeys;
use warp_protocol::carrier::PathKind;
use warp_protocol::identity::{PublicKey, Refusals, RefusedReason};
use warp_protocol::rest::IceServer;
use zeroize::Zeroizing;

use crate::config::{
    AttachRefused, EndpointConfig, GrantRefused, GrantSpec, SIGNALS, SessionView, SignalPort,
};
use crate::session::{self, Session};

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
    pub(crate) hosts: crate::hosts::Hosts,
    /// What was refused, by reason.
    refusals: Refusals,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    /// How connections of a grant with these servers are made.
    pub(crate) fn peer_config(&self, ice_servers: Vec<IceServer>) -> PeerConfig {
        let webrtc = &self.config.webrtc;
        PeerConfig {
            ice_servers,
            include_loopback: webrtc.include_loopback,
            bind: webrtc.bind.clone(),
            connect_timeout: webrtc.connect_timeout,
            ports: webrtc.ports.clone(),
            ..PeerConfig::default()
        }
    }

    /// Counts a refusal, and says so in the log.
    pub(crate) fn refuse(&self, session_id: &str, reason: RefusedReason) {
        let count = self.refusals.count(reason);
        tracing::warn!(
            session = session_id,
            reason = reason.name(),
            count,
            "refused at the endpoint"
        );
    }

    /// Checks the certificate of a grant.
    fn check_device(&self, spec: &GrantSpec, device: &PublicKey) -> Result<(), GrantRefused> {
        let Some(trust) = &self.config.trust else {
            return Ok(());
        };
        let checked = match &spec.certified {
            Some(certified) => {
                let holder = Holder::Device {
                    account: certified.account,
                };
                trust
                    .trust
                    .check(&certified.certificate, device, holder, unix_now())
                    .map(drop)
            }
            None if trust.require_certificates => Err(RefusedReason::CertificateMissing),
            None => Ok(()),
        };
        checked.map_err(|reason| {
            self.refuse(&spec.session_id, reason);
            GrantRefused::Untrusted(reason)
        })
    }
}

/// Unix seconds.
pub(crate) fn unix_now() -> u64 {
    // A clock before 1970 makes nothing expire; it would also break TLS to the coordinator.
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
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
                hosts: crate::hosts::Hosts::default(),
                refusals: Refusals::default(),
                stop: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The key that launchers know it by.
    pub fn key(&self) -> PublicKey {
        self.shared.config.identity.key()
    }

    /// What was refused since the start, by reason.
    pub fn refusals(&self) -> Vec<(RefusedReason, u64)> {
        self.shared.refusals.view()
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
        let device = PublicKey::from_spki(&spec.device_key).ok_or(GrantRefused::BadDeviceKey)?;
        shared.check_device(&spec, &device)?;
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
        let peer_config = shared.peer_config(spec.ice_servers.clone());
        let (handle, notices, incoming) = warp_link_driver::spawn(link);
        let keys = RoomKeys {
            ours: config.identity.clone(),
            theirs: device,
            // A launcher that has a certificate also signs: one that does not was tampered with.
            signed_offers: spec.certified.is_some()
                || config.trust.is_some_and(|trust| trust.require_certificates),
        };
        let stop = shared.stop.child_token();
        let session = Arc::new(Session::new(
            spec,
            keys,
            config.limits.clone(),
            handle,
            stop,
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
            session::run(&session, &owner, parts).await;
            owner.sessions.lock().remove(session.id());
            // After that, so that no route of it comes in between.
            owner.hosts.forget_session(session.id());
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

    /// Gives a session a carrier within this program ([`Carrier::pair`]): that of a launcher which dials the
    /// game servers itself.
    ///
    /// # Errors
    /// [`AttachRefused`]; the carrier is closed.
    pub fn attach_local(&self, session_id: &str, carrier: Carrier) -> Result<(), AttachRefused> {
        let session = self.shared.sessions.lock().get(session_id).cloned();
        let session = session.ok_or(AttachRefused::UnknownSession)?;
        session.link().attach(PathKind::Tcp, carrier);
        Ok(())
    }

    /// Ends a session: its connections to game servers are closed, and its link.
    pub fn revoke(&self, session_id: &str) {
        let session = self.shared.sessions.lock().get(session_id).cloned();
        if let Some(session) = session {
            session.stop();
        }
    }

    /// Ends a session, and closes its link with this code.
    pub fn end(&self, session_id: &str, code: u32) {
        let session = self.shared.sessions.lock().get(session_id).cloned();
        if let Some(session) = session {
            session.stop_with(code);
        }
    }

    /// One session, if there is such.
    pub fn session(&self, session_id: &str) -> Option<SessionView> {
        let sessions = self.shared.sessions.lock();
        sessions.get(session_id).map(|session| session.view())
    }

    /// The sessions, in no particular order.
    pub fn sessions(&self) -> Vec<SessionView> {
        let sessions = self.shared.sessions.lock();
        sessions.values().map(|session| session.view()).collect()
    }

    /// Ends all sessions and hosts and waits until they have ended. None is granted from now on.
    pub async fn shutdown(&self) {
        {
            // Under the locks, so that no session or host is granted and forgotten.
            let _hosts = self.shared.hosts.by_room.lock();
            let _sessions = self.shared.sessions.lock();
            self.shared.stop.cancel();
        }
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}
