//! The endpoint, as the rest of this crate sees it: embedded in this process, or a process of its own.

use std::sync::Arc;

use tokio::sync::oneshot;
pub(crate) use warp_endpoint::SignalPort;
use warp_endpoint::{
    CertifiedDevice, Endpoint, EndpointConfig, EndpointLimits, EndpointTrust, GrantRefused,
    GrantSpec, HostGrantSpec, HostRoute, HostTraffic, Identity, WebRtcOptions,
};
use warp_link::Carrier;
use warp_link_core::State;
use warp_protocol::{
    ProblemCode,
    endpoint::{GRANT_TIME, HostSpec, LinkFigures, SessionHolder, SessionSpec},
    identity::{PublicKey, RefusedReason},
    rest::IceServer,
    zone::ZoneFile,
};
use zeroize::Zeroizing;

use crate::{
    problem::Refused,
    remote::{Granted, LEASE, Remote},
};

/// The endpoint that ends the session links of this coordinator's zones.
#[derive(Clone)]
pub(crate) enum EndpointPort {
    /// It lives and dies with this process.
    Embedded(Endpoint),
    /// It outlives this process.
    Remote(Arc<Remote>),
}

/// The stored key is not one.
pub(crate) struct NotAKey;

/// A session that is being granted.
#[derive(Default)]
pub(crate) struct Granting(Option<oneshot::Receiver<Granted>>);

impl Granting {
    /// Waits for the endpoint's answer.
    ///
    /// # Errors
    /// It refused, or did not answer in time.
    pub(crate) async fn done(self) -> Granted {
        let Some(answer) = self.0 else {
            return Ok(());
        };
        match tokio::time::timeout(GRANT_TIME, answer).await {
            Ok(Ok(granted)) => granted,
            _ => Err(Refused::new(
                ProblemCode::EndpointUnreachable,
                "the zone's endpoint did not answer; try again in a moment",
            )
            .retry_after(1)),
        }
    }
}

/// Whose session is to be granted.
pub(crate) struct Grantee<'a> {
    pub(crate) session_id: &'a str,
    pub(crate) peer_id: &'a str,
    pub(crate) account: i64,
    pub(crate) device_key: PublicKey,
    pub(crate) certificate: Option<Vec<u8>>,
}

impl EndpointPort {
    /// A new key, PKCS#8 DER.
    pub(crate) fn new_identity() -> Zeroizing<Vec<u8>> {
        warp_endpoint::generate_identity_der()
    }

    /// The embedded one. `loopback`: launchers of this machine only, perhaps without any network.
    pub(crate) fn start(
        identity_der: &[u8],
        loopback: bool,
        limits: EndpointLimits,
        trust: EndpointTrust,
    ) -> Result<Self, NotAKey> {
        let identity = Identity::from_pkcs8_der(identity_der).map_err(|_| NotAKey)?;
        let endpoint = Endpoint::start(EndpointConfig {
            identity,
            trust: Some(trust),
            limits,
            webrtc: WebRtcOptions {
                include_loopback: loopback,
                ..WebRtcOptions::default()
            },
        });
        Ok(Self::Embedded(endpoint))
    }

    /// The place of a remote one that has not come yet.
    pub(crate) fn away() -> Self {
        Self::Remote(Remote::new(LEASE))
    }

    /// The place of a remote one, if that is what this is.
    pub(crate) fn remote(&self) -> Option<&Arc<Remote>> {
        match self {
            Self::Embedded(_) => None,
            Self::Remote(remote) => Some(remote),
        }
    }

    /// What launchers check the endpoint by; none: it has not been there yet.
    pub(crate) fn known_key(&self) -> Option<PublicKey> {
        match self {
            Self::Embedded(endpoint) => Some(endpoint.key()),
            Self::Remote(remote) => remote.key(),
        }
    }

    /// What launchers check the endpoint by.
    ///
    /// # Errors
    /// `endpoint-unreachable`.
    pub(crate) fn key(&self) -> Result<PublicKey, Refused> {
        self.reachable()?;
        self.known_key().ok_or_else(|| {
            let text = "the zone's endpoint has not been connected yet";
            Refused::new(ProblemCode::EndpointUnreachable, text)
        })
    }

    /// # Errors
    /// `endpoint-unreachable`.
    pub(crate) fn reachable(&self) -> Result<(), Refused> {
        self.remote().map_or(Ok(()), |remote| remote.reachable())
    }

    /// Whether it is the endpoint of a hosted zone.
    pub(crate) fn is_hosted(&self) -> bool {
        self.remote().is_some_and(|remote| remote.owner().is_some())
    }

    /// Whether sessions that are not known here may yet be named by the endpoint.
    pub(crate) fn awaits_adoption(&self) -> bool {
        self.remote().is_some_and(|remote| remote.awaits_adoption())
    }

    /// What the endpoint refused, by reason.
    pub(crate) fn refusals(&self) -> Vec<(RefusedReason, u64)> {
        match self {
            Self::Embedded(endpoint) => endpoint.refusals(),
            Self::Remote(remote) => remote.refusals(),
        }
    }

    /// What a session's link carries, as far as that is known here.
    pub(crate) fn link(&self, session_id: &str) -> Option<LinkFigures> {
        match self {
            Self::Embedded(endpoint) => endpoint.session(session_id).map(|one| one.figures()),
            Self::Remote(remote) => remote.link(session_id),
        }
    }

    pub(crate) fn grant(
        &self,
        grantee: Grantee<'_>,
        zone: &ZoneFile,
        ice_servers: Vec<IceServer>,
    ) -> Result<(SignalPort, Granting), Refused> {
        let Grantee {
            session_id,
            peer_id,
            account,
            device_key,
            certificate,
        } = grantee;
        let account = u64::try_from(account).unwrap_or(0);
        let game = zone.game.clone();
        // Whether an offer gets there is decided when it comes: see the signaling socket.
        let p2p_enabled = true;
        match self {
            Self::Embedded(endpoint) => {
                let granted = endpoint.grant(GrantSpec {
                    session_id: session_id.to_owned(),
                    device_key: device_key.spki(),
                    certified: certificate.map(|certificate| CertifiedDevice {
                        account,
                        certificate,
                    }),
                    game,
                    p2p_enabled,
                    ice_servers,
                });
                let port = granted.map_err(|error| refuse(session_id, error))?;
                Ok((port, Granting::default()))
            }
            Self::Remote(remote) => {
                let who = SessionHolder {
                    session_id: session_id.to_owned(),
                    peer_id: peer_id.to_owned(),
                    zone_id: zone.zone_id.clone(),
                    account,
                    device_key,
                    certificate: certificate.map(hex::encode),
                };
                let (port, answer) = remote.grant(SessionSpec {
                    who,
                    game,
                    p2p_enabled,
                    ice_servers,
                })?;
                Ok((port, Granting(Some(answer))))
            }
        }
    }

    /// Lets a host connect in its own room. A remote endpoint's refusal ends the port.
    pub(crate) fn grant_host(&self, spec: HostSpec) -> Result<SignalPort, Refused> {
        match self {
            Self::Embedded(endpoint) => {
                let registered = &spec.registration;
                endpoint
                    .grant_host(HostGrantSpec {
                        session_id: spec.room.clone(),
                        device_key: registered.device_key.spki(),
                        certified: CertifiedDevice {
                            account: spec.account,
                            certificate: hex::decode(&registered.certificate).unwrap_or_default(),
                        },
                        ice_servers: spec.ice_servers,
                    })
                    .map_err(|error| refuse(&spec.room, error))
            }
            Self::Remote(remote) => remote.grant_host(spec),
        }
    }

    /// A host has registered again: what a remote endpoint names of it after a restart.
    pub(crate) fn renew_host(&self, spec: HostSpec) {
        if let Self::Remote(remote) = self {
            remote.renew_host(spec);
        }
    }

    pub(crate) fn attach_host(&self, room: &str, carrier: Carrier) -> Result<(), Refused> {
        match self {
            Self::Embedded(endpoint) => endpoint
                .attach_host_wss(room, carrier)
                .map_err(|error| Refused::new(ProblemCode::UnknownSession, error.to_string())),
            Self::Remote(remote) => remote.attach(room, true, carrier),
        }
    }

    /// # Errors
    /// Why the endpoint did not take it. A remote one logs that by itself.
    pub(crate) fn route(&self, route: HostRoute) -> Result<(), String> {
        match self {
            Self::Embedded(endpoint) => endpoint.route(route).map_err(|error| error.to_string()),
            Self::Remote(remote) if remote.route(route) => Ok(()),
            Self::Remote(_) => Err("the endpoint is away".to_owned()),
        }
    }

    pub(crate) fn unroute(&self, room: &str, slot: u32) {
        match self {
            Self::Embedded(endpoint) => endpoint.unroute(room, slot),
            Self::Remote(remote) => remote.unroute(room, slot),
        }
    }

    pub(crate) fn end_host(&self, room: &str) {
        match self {
            Self::Embedded(endpoint) => endpoint.end_host(room),
            Self::Remote(remote) => remote.end_host(room),
        }
    }

    /// What each host has brought and taken, by its room.
    pub(crate) fn host_traffic(&self) -> Vec<(String, HostTraffic)> {
        match self {
            Self::Embedded(endpoint) => endpoint.host_traffic(),
            Self::Remote(remote) => remote.traffic(),
        }
    }

    pub(crate) fn attach(&self, session_id: &str, carrier: Carrier) -> Result<(), Refused> {
        match self {
            Self::Embedded(endpoint) => endpoint
                .attach_wss(session_id, carrier)
                .map_err(|error| Refused::new(ProblemCode::UnknownSession, error.to_string())),
            Self::Remote(remote) => remote.attach(session_id, false, carrier),
        }
    }

    pub(crate) fn revoke(&self, session_id: &str) {
        match self {
            Self::Embedded(endpoint) => endpoint.revoke(session_id),
            Self::Remote(remote) => remote.revoke(session_id, None),
        }
    }

    /// Ends a session with a code of [`warp_protocol::stream::reset`] that tells the launcher why.
    pub(crate) fn end_with(&self, session_id: &str, code: u32) {
        match self {
            Self::Embedded(endpoint) => endpoint.end(session_id, code),
            Self::Remote(remote) => remote.revoke(session_id, Some(code)),
        }
    }

    /// True while the session has a link, over whichever carrier, or holds one that is coming back.
    pub(crate) fn is_linked(&self, session_id: &str) -> bool {
        match self {
            Self::Embedded(endpoint) => {
                (endpoint.session(session_id)).is_some_and(|session| is_up(session.state))
            }
            Self::Remote(remote) => remote.is_linked(session_id),
        }
    }

    /// The coordinator is about to end all sessions, because it stops. A remote endpoint keeps them.
    pub(crate) fn let_go(&self) {
        if let Self::Remote(remote) = self {
            remote.let_go();
        }
    }

    pub(crate) async fn shutdown(&self) {
        if let Self::Embedded(endpoint) = self {
            endpoint.shutdown().await;
        }
    }
}

fn refuse(room: &str, error: GrantRefused) -> Refused {
    let untrusted = match error {
        GrantRefused::Untrusted(reason) => Some(reason),
        _ => None,
    };
    refused(room, untrusted, &error.to_string())
}

/// What a launcher is told when the endpoint refuses a grant.
pub(crate) fn refused(room: &str, untrusted: Option<RefusedReason>, message: &str) -> Refused {
    tracing::warn!(
        session = room,
        why = message,
        "the endpoint refused a session"
    );
    let code = untrusted.map_or(ProblemCode::CoordinatorFault, RefusedReason::problem);
    Refused::new(code, format!("the endpoint takes no session: {message}"))
}

fn is_up(state: State) -> bool {
    match state {
        State::Connected | State::Reconnecting | State::FailingOver => true,
        State::Disconnected | State::Connecting | State::Authenticating => false,
    }
}
