//! Hosting: runs `warp-host` with this account's access to the coordinator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use reqwest::Method;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use warp_endpoint::WebRtcOptions;
use warp_endpoint::control::{Hosted, HostedAccess, Remote, RemoteConfig};
use warp_engine_core::config::Config;
use warp_engine_core::machine::Outcome;
use warp_host::{Access, Certified, HostConfig, HostHandle};
use warp_host_core::{HostState, HostStatusView};
use warp_link::WrapCarrier;
use warp_link::peer::PortOpener;
use warp_link::websocket::{ConnectError, WsTarget};
use warp_protocol::hosting::{HostGrant, HostHeartbeat, HostRegister};
use warp_protocol::identity::RefusedReason;
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode, Secret};

use crate::coordinator::Coordinator;
use crate::handle::AlterHeartbeat;
use crate::network;
use crate::outbox::Outbox;
use crate::ports::RouterPorts;

/// How long a host whose launcher ends waits for its members to be moved away.
const FAREWELL: Duration = Duration::from_secs(2);
/// Digits of the device key in a host's id.
const ID_DIGITS: usize = 16;

/// The host of this engine, if it is one.
pub(crate) struct Hosting {
    coordinator: Arc<Coordinator>,
    config: Config,
    wrap: Option<WrapCarrier>,
    alter: Option<AlterHeartbeat>,
    running: Option<Running>,
    /// The endpoint of a hosted zone, if this engine is one.
    endpoint: Option<Served>,
}

/// The endpoint of a hosted zone.
struct Served {
    _stop: DropGuard,
    /// The router, where it may be asked for ports.
    ports: Option<Arc<RouterPorts>>,
}

struct Running {
    host: HostHandle,
    telling: AbortHandle,
    /// The router, where it may be asked for ports.
    ports: Option<Arc<RouterPorts>>,
}

impl Hosting {
    pub(crate) fn new(
        coordinator: Arc<Coordinator>,
        config: Config,
        wrap: Option<WrapCarrier>,
        alter: Option<AlterHeartbeat>,
    ) -> Self {
        Self {
            coordinator,
            config,
            wrap,
            alter,
            running: None,
            endpoint: None,
        }
    }

    /// Becomes a host; one that still runs is ended.
    pub(crate) fn start(
        &mut self,
        zones: Vec<String>,
        max_players: Option<u32>,
        upload_mbps: Option<u32>,
        outbox: Outbox,
    ) {
        if let Some(before) = self.running.take() {
            before.telling.abort();
        }
        let Some(device) = self.coordinator.proof.device() else {
            let problem = Problem::new(ProblemCode::CertificateMissing, "hosting")
                .with_detail("the coordinator certifies no devices");
            let view = HostStatusView {
                state: HostState::Stopped,
                zones,
                problem: Some(problem),
                ..HostStatusView::default()
            };
            outbox.offer(Outcome::HostState(Box::new(view)));
            return;
        };
        // One host on each device; the id stays as long as the key does.
        let mut host_id = format!("host-{}", hex::encode(device.key().raw()));
        host_id.truncate("host-".len() + ID_DIGITS);
        let section = &self.config.hosting;
        let webrtc = &self.config.webrtc;
        let (players, peers) = (max_players.unwrap_or(section.max_players), webrtc.max_peers);
        if players > peers {
            tracing::warn!(players, peers, "webrtc.max_peers allows fewer players");
        }
        let config = HostConfig {
            max_players: players.min(peers),
            upload_mbps: upload_mbps.unwrap_or(section.upload_mbps),
            only_on_network: section.network(),
            ice_servers: webrtc.ice_servers(),
            include_loopback: webrtc.loopback,
            connect_timeout: Duration::from_millis(webrtc.connection_timeout_ms),
            ..HostConfig::new(host_id, zones)
        };
        let access = Arc::new(OverCoordinator {
            alter: self.alter.clone(),
            ..self.access()
        });
        let ports = access.ports.clone();
        let host = HostHandle::start_wrapped(access, config, self.wrap.clone());
        let mut view = host.view();
        let telling = tokio::spawn(async move {
            loop {
                let now = view.borrow_and_update().clone();
                let stopped = now.state == HostState::Stopped;
                outbox.send(Outcome::HostState(Box::new(now))).await;
                if stopped {
                    return;
                }
                if view.changed().await.is_err() {
                    // It ended without a word: told as what it is.
                    let now = HostStatusView {
                        state: HostState::Stopped,
                        ..view.borrow().clone()
                    };
                    outbox.send(Outcome::HostState(Box::new(now))).await;
                    return;
                }
            }
        });
        self.running = Some(Running {
            host,
            telling: telling.abort_handle(),
            ports,
        });
    }

    /// Becomes the endpoint of a hosted zone; one that still runs is ended.
    pub(crate) fn start_endpoint(
        &mut self,
        zone: &str,
        upstreams: Vec<SocketAddr>,
        outbox: Outbox,
    ) {
        self.endpoint = None;
        let view = HostStatusView {
            zones: vec![zone.to_owned()],
            ..HostStatusView::default()
        };
        let access = self.access();
        let ports = access.ports.clone();
        let remote = match self.remote(access, zone, upstreams) {
            Ok(remote) => remote,
            Err(problem) => {
                let view = HostStatusView {
                    state: HostState::Stopped,
                    problem: Some(problem),
                    ..view
                };
                outbox.offer(Outcome::HostState(Box::new(view)));
                return;
            }
        };
        let stop = CancellationToken::new();
        self.endpoint = Some(Served {
            _stop: stop.clone().drop_guard(),
            ports,
        });
        tokio::spawn(async move {
            let mut serving = remote.serving();
            let tell = |state, problem| {
                let view = HostStatusView {
                    state,
                    problem,
                    ..view.clone()
                };
                outbox.send(Outcome::HostState(Box::new(view)))
            };
            let telling = async {
                loop {
                    let state = if *serving.borrow_and_update() {
                        HostState::Serving
                    } else {
                        HostState::Registering
                    };
                    tell(state, None).await;
                    if serving.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                () = remote.serve(stop, |_| {}) => {}
                () = telling => {}
            }
            tell(HostState::Stopped, None).await;
        });
    }

    fn remote(
        &self,
        access: OverCoordinator,
        zone: &str,
        upstreams: Vec<SocketAddr>,
    ) -> Result<Remote, Problem> {
        let missing = || {
            Problem::new(ProblemCode::CertificateMissing, "hosting")
                .with_detail("the coordinator certifies no devices")
        };
        let identity = self.coordinator.proof.device().ok_or_else(missing)?;
        let (trust, _) = self.coordinator.trust().ok_or_else(missing)?;
        let webrtc = &self.config.webrtc;
        Ok(Remote::new(RemoteConfig {
            target: self.coordinator.bare_target(),
            bases: vec![self.coordinator.base().to_owned()],
            name: "hosted".to_owned(),
            identity,
            coordinator_key: Some(*trust.coordinator()),
            webrtc: WebRtcOptions {
                include_loopback: webrtc.loopback,
                connect_timeout: Duration::from_millis(webrtc.connection_timeout_ms),
                ports: access.opener(),
                ..WebRtcOptions::default()
            },
            hosted: Some(Hosted {
                zone_id: zone.to_owned(),
                upstreams,
                access: Arc::new(access),
            }),
        }))
    }

    fn access(&self) -> OverCoordinator {
        let port_mapping = self.config.webrtc.port_mapping;
        OverCoordinator::new(self.coordinator.clone(), port_mapping)
    }

    pub(crate) fn pause(&self, on: bool) {
        if let Some(Running { host, .. }) = &self.running {
            host.pause(on);
        }
    }

    /// Ends it, when all its members have been moved away.
    pub(crate) fn drain(&mut self) {
        self.endpoint = None;
        if let Some(Running { host, .. }) = &self.running {
            host.drain();
        }
    }

    /// Ends it at once. Its end is still told.
    pub(crate) fn end(&mut self) {
        self.endpoint = None;
        self.running = None;
    }

    /// Ends it soon: its members are moved away as far as that is done in [`FAREWELL`]. What is given back
    /// is done then. Its end is still told.
    pub(crate) fn leave(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let served = self.endpoint.take().and_then(|served| served.ports);
        let running = self.running.take();
        async move {
            let ports_of_host = match running {
                Some(Running { host, ports, .. }) => {
                    host.drain();
                    if tokio::time::timeout(FAREWELL, host.gone()).await.is_err() {
                        tracing::info!("the host goes before all of its members have gone");
                    }
                    ports
                }
                None => None,
            };
            let ports = [served, ports_of_host].into_iter().flatten();
            join_all(ports.map(|ports| async move { ports.give_back().await })).await;
        }
    }
}

struct OverCoordinator {
    coordinator: Arc<Coordinator>,
    network: watch::Receiver<u64>,
    ports: Option<Arc<RouterPorts>>,
    alter: Option<AlterHeartbeat>,
}

impl OverCoordinator {
    fn new(coordinator: Arc<Coordinator>, port_mapping: bool) -> Self {
        let network = network::watch(coordinator.clone());
        Self {
            ports: port_mapping.then(|| Arc::new(RouterPorts::new(network.clone()))),
            network,
            coordinator,
            alter: None,
        }
    }

    fn opener(&self) -> Option<Arc<dyn PortOpener>> {
        let ports = self.ports.clone()?;
        Some(ports)
    }
}

#[async_trait]
impl HostedAccess for OverCoordinator {
    fn token(&self) -> Option<Secret> {
        self.coordinator.access_token()
    }

    async fn renew(&self) {
        if let Err(problem) = Access::renew_token(self).await {
            tracing::warn!(code = ?problem.code, "the access token could not be renewed");
        }
    }

    async fn certificate(&self) -> Option<String> {
        self.coordinator.certificate().await.ok().flatten()
    }
}

#[async_trait]
impl Access for OverCoordinator {
    async fn certified(&self) -> Result<Certified, Problem> {
        let missing = || {
            let reason = RefusedReason::CertificateMissing;
            self.coordinator.proof.refuse(reason, "hosting")
        };
        let certificate = self.coordinator.certificate().await?.ok_or_else(missing)?;
        let identity = self.coordinator.proof.device().ok_or_else(missing)?;
        let (trust, now) = self.coordinator.trust().ok_or_else(missing)?;
        Ok(Certified {
            identity,
            certificate,
            trust,
            now,
        })
    }

    fn unix_now(&self) -> Option<u64> {
        self.coordinator.trust().map(|(_, now)| now)
    }

    async fn zones(&self) -> Result<Vec<ZoneView>, Problem> {
        self.coordinator.zones().await
    }

    async fn register(&self, body: &HostRegister) -> Result<HostGrant, Problem> {
        let route = "hosts/register";
        self.coordinator
            .authorised(Method::POST, route, Some(body))
            .await
    }

    async fn heartbeat(&self, host_id: &str, body: &HostHeartbeat) -> Result<(), Problem> {
        let route = format!("hosts/{host_id}/heartbeat");
        let said = self.alter.as_ref().map_or(*body, |alter| alter(*body));
        self.coordinator
            .tell(Method::POST, &route, Some(&said))
            .await
    }

    async fn drain(&self, host_id: &str) -> Result<(), Problem> {
        let route = format!("hosts/{host_id}/drain");
        self.coordinator
            .tell(Method::POST, &route, None::<&()>)
            .await
    }

    async fn leave(&self, host_id: &str) -> Result<(), Problem> {
        let route = format!("hosts/{host_id}");
        self.coordinator
            .tell(Method::DELETE, &route, None::<&()>)
            .await
    }

    fn signaling_target(&self, peer_id: &str, session_id: &str) -> WsTarget {
        self.coordinator.seat_target(peer_id, session_id)
    }

    fn link_target(&self, session_id: &str) -> Result<WsTarget, ConnectError> {
        self.coordinator.link_target(session_id)
    }

    fn network(&self) -> watch::Receiver<u64> {
        self.network.clone()
    }

    fn ports(&self) -> Option<Arc<dyn PortOpener>> {
        self.opener()
    }

    async fn renew_token(&self) -> Result<(), Problem> {
        let stale = self.coordinator.access_token();
        let stale = stale.ok_or_else(|| Problem::new(ProblemCode::NotSignedIn, "hosting"))?;
        self.coordinator.renew(&stale).await.map(drop)
    }
}
