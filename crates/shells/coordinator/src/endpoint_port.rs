//! The embedded endpoint, as the rest of this crate sees it: the one place that knows its API.

use std::time::Duration;

pub(crate) use warp_endpoint::SignalPort;
use warp_endpoint::{
    CertifiedDevice, Endpoint, EndpointConfig, EndpointLimits, EndpointTrust, GrantRefused,
    GrantSpec, HostGrantSpec, HostRoute, HostTraffic, Identity, RouteRefused, WebRtcOptions,
};
use warp_link::Carrier;
use warp_link_core::State;
use warp_protocol::{
    ProblemCode,
    identity::{PublicKey, RefusedReason},
    rest::IceServer,
    stream::reset,
    zone::ZoneFile,
};
use zeroize::Zeroizing;

use crate::problem::Refused;

/// The endpoint that ends the session links of this coordinator's zones.
#[derive(Clone)]
pub(crate) struct EndpointPort {
    endpoint: Endpoint,
}

/// The stored key is not one.
pub(crate) struct NotAKey;

impl EndpointPort {
    /// A new key, PKCS#8 DER.
    pub(crate) fn new_identity() -> Zeroizing<Vec<u8>> {
        warp_endpoint::generate_identity_der()
    }

    /// `loopback`: launchers of this machine only, perhaps without any network. `key_interval`: after
    /// so long the keys of a session link are renewed.
    pub(crate) fn start(
        identity_der: &[u8],
        loopback: bool,
        key_interval: Duration,
        trust: EndpointTrust,
    ) -> Result<Self, NotAKey> {
        let identity = Identity::from_pkcs8_der(identity_der).map_err(|_| NotAKey)?;
        let mut limits = EndpointLimits::default();
        limits.link.key_interval = key_interval;
        let endpoint = Endpoint::start(EndpointConfig {
            identity,
            trust: Some(trust),
            limits,
            webrtc: WebRtcOptions {
                include_loopback: loopback,
                ..WebRtcOptions::default()
            },
        });
        Ok(Self { endpoint })
    }

    /// What launchers check the endpoint by.
    pub(crate) fn key(&self) -> PublicKey {
        self.endpoint.key()
    }

    /// What the endpoint refused, by reason.
    pub(crate) fn refusals(&self) -> Vec<(RefusedReason, u64)> {
        self.endpoint.refusals()
    }

    pub(crate) fn grant(
        &self,
        session_id: &str,
        device_key: Vec<u8>,
        holder: Option<(i64, Vec<u8>)>,
        zone: &ZoneFile,
        ice_servers: Vec<IceServer>,
    ) -> Result<SignalPort, Refused> {
        let spec = GrantSpec {
            session_id: session_id.to_owned(),
            device_key,
            certified: holder.map(|(account, certificate)| CertifiedDevice {
                account: u64::try_from(account).unwrap_or(0),
                certificate,
            }),
            game: zone.game.clone(),
            p2p_enabled: zone.p2p_enabled,
            ice_servers,
        };
        self.endpoint
            .grant(spec)
            .map_err(|error| refuse(session_id, error))
    }

    /// Lets a host connect in its own room.
    pub(crate) fn grant_host(
        &self,
        room: &str,
        device_key: PublicKey,
        (account, certificate): (i64, Vec<u8>),
        ice_servers: Vec<IceServer>,
    ) -> Result<SignalPort, Refused> {
        let spec = HostGrantSpec {
            session_id: room.to_owned(),
            device_key: device_key.spki(),
            certified: CertifiedDevice {
                account: u64::try_from(account).unwrap_or(0),
                certificate,
            },
            ice_servers,
        };
        self.endpoint
            .grant_host(spec)
            .map_err(|error| refuse(room, error))
    }

    pub(crate) fn attach_host(&self, room: &str, carrier: Carrier) -> Result<(), Refused> {
        self.endpoint
            .attach_host_wss(room, carrier)
            .map_err(|error| Refused::new(ProblemCode::UnknownSession, error.to_string()))
    }

    pub(crate) fn route(&self, route: HostRoute) -> Result<(), RouteRefused> {
        self.endpoint.route(route)
    }

    pub(crate) fn unroute(&self, room: &str, slot: u32) {
        self.endpoint.unroute(room, slot);
    }

    pub(crate) fn end_host(&self, room: &str) {
        self.endpoint.end_host(room);
    }

    /// What each host has brought and taken, by its room.
    pub(crate) fn host_traffic(&self) -> Vec<(String, HostTraffic)> {
        self.endpoint.host_traffic()
    }

    pub(crate) fn attach(&self, session_id: &str, carrier: Carrier) -> Result<(), Refused> {
        self.endpoint
            .attach_wss(session_id, carrier)
            .map_err(|error| Refused::new(ProblemCode::UnknownSession, error.to_string()))
    }

    pub(crate) fn revoke(&self, session_id: &str) {
        self.endpoint.revoke(session_id);
    }

    /// Ends a session because its device was revoked.
    pub(crate) fn revoke_device(&self, session_id: &str) {
        self.endpoint.end(session_id, reset::DEVICE_REVOKED);
    }

    /// True while the session has a link, over whichever carrier, or holds one that is coming back.
    pub(crate) fn is_linked(&self, session_id: &str) -> bool {
        self.endpoint
            .sessions()
            .iter()
            .any(|s| s.session_id == session_id && is_up(s.state))
    }

    pub(crate) async fn shutdown(&self) {
        self.endpoint.shutdown().await;
    }
}

fn refuse(room: &str, error: GrantRefused) -> Refused {
    tracing::warn!(session = room, %error, "the endpoint refused a session");
    let code = match error {
        GrantRefused::Untrusted(reason) => reason.problem(),
        _ => ProblemCode::CoordinatorFault,
    };
    Refused::new(code, format!("the endpoint takes no session: {error}"))
}

fn is_up(state: State) -> bool {
    match state {
        State::Connected | State::Reconnecting | State::FailingOver => true,
        State::Disconnected | State::Connecting | State::Authenticating => false,
    }
}
