//! The last resort: an endpoint of our own, which dials the game servers from here.
//!
//! The bridge speaks with it as with any other, over a link whose only carrier stays in this program; so
//! what it does with streams, packets and digests is the same. The link costs some processor time and no
//! network. What lies behind it is plain TCP: not sealed, and not held when the network fails.

use warp_endpoint::{
    Endpoint, EndpointConfig, EndpointLimits, GrantSpec, WebRtcOptions, generate_identity_der,
};
use warp_engine_core::config::Config;
use warp_link::Carrier;
use warp_link_core::{Identity, Link, LinkConfig};
use warp_link_driver::{LinkHandle, LinkNotices};
use warp_protocol::carrier::PathKind;
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode};

use crate::session::seed;

/// Name of the only session.
const SESSION: &str = "plain-tcp";

pub(crate) struct Plain {
    endpoint: Endpoint,
}

impl Plain {
    /// Starts the endpoint, and the link to it.
    pub(crate) fn open(
        config: &Config,
        zone: &ZoneView,
    ) -> Result<(Self, LinkHandle, LinkNotices), Problem> {
        let fault = |error: &dyn std::fmt::Display| {
            let id = &zone.zone.zone_id;
            Problem::new(ProblemCode::Internal, id).with_detail(error.to_string())
        };
        // Keys for this once: nobody else ever sees either end.
        let identity = || Identity::from_pkcs8_der(&generate_identity_der());
        let ours = identity().map_err(|error| fault(&error))?;
        let endpoint = Endpoint::start(EndpointConfig {
            identity: identity().map_err(|error| fault(&error))?,
            trust: None,
            limits: EndpointLimits::default(),
            webrtc: WebRtcOptions::default(),
        });
        let link_config = LinkConfig {
            preference: vec![PathKind::Tcp],
            ..config.link()
        };
        let link = Link::client(link_config, &ours, &endpoint.public_key(), seed()?)
            .map_err(|error| fault(&error))?;
        // There is no signaling to this session.
        let _port = endpoint
            .grant(GrantSpec {
                session_id: SESSION.to_owned(),
                device_key: ours.public_key().to_vec(),
                certified: None,
                game: zone.zone.game.clone(),
                p2p_enabled: false,
                ice_servers: Vec::new(),
            })
            .map_err(|error| fault(&error))?;
        let (here, there) = Carrier::pair();
        endpoint
            .attach_local(SESSION, there)
            .map_err(|error| fault(&error))?;
        let (link, notices, _incoming) = warp_link_driver::spawn(link);
        link.attach(PathKind::Tcp, here);
        tracing::warn!(
            zone = zone.zone.zone_id,
            "the game servers are dialled from here, in plain TCP"
        );
        Ok((Self { endpoint }, link, notices))
    }

    pub(crate) async fn close(self) {
        self.endpoint.shutdown().await;
    }
}
