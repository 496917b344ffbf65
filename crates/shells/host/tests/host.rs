//! A host between a real endpoint and members, over WebRTC on the loopback. Of the coordinator there is
//! what the host needs: a grant, and a signaling socket that passes messages on.
#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a test program; the error is the library's"
)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, sink};
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use warp_endpoint::{
    CertifiedDevice, Endpoint, EndpointConfig, EndpointLimits, EndpointTrust, GrantSpec,
    HostGrantSpec, HostRoute, HostTraffic, SignalPort, Trust, WebRtcOptions,
};
use warp_host::{Access, Certified, HostConfig, HostHandle};
use warp_host_core::{HostState, HostStatusView, UpstreamKind};
use warp_link::peer::{Offerer, PeerConfig, PortOpener};
use warp_link::proxy::ProxyPolicy;
use warp_link::websocket::{ConnectError, WsTarget};
use warp_link::{Carrier, Inbound};
use warp_link_core::descriptions::{check_answer, sign_offer};
use warp_link_core::{Identity, Link, LinkConfig, State};
use warp_link_driver::{LinkHandle, spawn};
use warp_protocol::carrier::PathKind;
use warp_protocol::hosting::{
    HostGrant, HostHardware, HostHeartbeat, HostRegister, HostStatus, HostView, HostsReason,
    Member, SignedPolicy, ZonePolicy, policy_message,
};
use warp_protocol::identity::{Certificate, CertificateRole, PublicKey, Serial};
use warp_protocol::signal::{ClientSignal, ServerSignal, SignedDescription};
use warp_protocol::zone::{GameServer, ReadLevel, ZoneFile, ZoneStatus, ZoneView};
use warp_protocol::{Problem, ProblemCode};

const ZONE: &str = "prontera";
const ROOM: &str = "host-room";
const STUCK: Duration = Duration::from_secs(60);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(STUCK, future).await {
        Ok(value) => value,
        Err(_) => panic!("stuck: {what}"),
    }
}

fn identity() -> Identity {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Identity::from_pkcs8_der(der.as_ref()).unwrap()
}

fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn game() -> GameServer {
    let at = |port| std::net::SocketAddr::from(([127, 0, 0, 2], port));
    GameServer {
        packet_version: 20_211_103,
        level: ReadLevel::Assist,
        login: at(1),
        char: vec![at(2)],
        map: vec![at(3)],
    }
}

/// What the coordinator would be.
struct House {
    coordinator: Identity,
    device: Identity,
    endpoint: Endpoint,
    /// Signaling messages to the host's socket, and from it to members.
    to_host: broadcast::Sender<ServerSignal>,
    from_host: Mutex<mpsc::UnboundedReceiver<ClientSignal>>,
    port: watch::Sender<u16>,
    /// Ends the socket that is open.
    cut: Mutex<CancellationToken>,
    sockets: watch::Sender<usize>,
    /// Keys that the policy names; none: the endpoint's.
    named: Option<PublicKey>,
    /// Signaling reaches the endpoint.
    answers: bool,
    heartbeats: watch::Sender<Vec<HostHeartbeat>>,
    drains: watch::Sender<usize>,
    left: watch::Sender<usize>,
    registered: watch::Sender<usize>,
    /// Makes the certificate another one.
    renewals: watch::Sender<u8>,
    min_bandwidth: u32,
}

impl House {
    async fn build(change: impl FnOnce(&mut House)) -> Arc<Self> {
        let coordinator = identity();
        let endpoint = Endpoint::start(EndpointConfig {
            identity: identity(),
            trust: Some(EndpointTrust {
                trust: Trust::new(coordinator.key()),
                require_certificates: true,
            }),
            limits: EndpointLimits::default(),
            webrtc: WebRtcOptions {
                include_loopback: true,
                ..WebRtcOptions::default()
            },
        });
        let (said, from_host) = mpsc::unbounded_channel();
        let mut house = Self {
            coordinator,
            device: identity(),
            endpoint,
            to_host: broadcast::channel(256).0,
            from_host: Mutex::new(from_host),
            port: watch::channel(0).0,
            cut: Mutex::default(),
            sockets: watch::channel(0).0,
            named: None,
            answers: true,
            heartbeats: watch::channel(Vec::new()).0,
            drains: watch::channel(0).0,
            left: watch::channel(0).0,
            registered: watch::channel(0).0,
            renewals: watch::channel(1).0,
            min_bandwidth: 1,
        };
        change(&mut house);
        let house = Arc::new(house);
        let port = house.grant_host();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        house
            .port
            .send_replace(listener.local_addr().unwrap().port());
        tokio::spawn(Arc::clone(&house).serve(listener, port, said));
        house
    }

    fn certificate(&self, key: PublicKey, role: CertificateRole) -> Vec<u8> {
        let endpoint = role == CertificateRole::Endpoint;
        // Whole minutes: it is the same one for as long as nobody wants another.
        let now = unix_now() / 60 * 60;
        let says = Certificate {
            serial: Serial([*self.renewals.borrow(); 16]),
            account: u64::from(!endpoint),
            name: "somebody".into(),
            key,
            role,
            may_host: !endpoint,
            issued: now,
            expires: now + 600,
            issuer: self.coordinator.key().id(),
        };
        self.coordinator.certify(&says).unwrap()
    }

    fn certified(&self, key: PublicKey) -> CertifiedDevice {
        CertifiedDevice {
            account: 1,
            certificate: self.certificate(key, CertificateRole::Player),
        }
    }

    fn grant_host(&self) -> SignalPort {
        let granted = self.endpoint.grant_host(HostGrantSpec {
            session_id: ROOM.into(),
            device_key: self.device.public_key().to_vec(),
            certified: self.certified(self.device.key()),
            ice_servers: Vec::new(),
        });
        granted.unwrap()
    }

    fn policy(&self, p2p: bool, issued: u64) -> SignedPolicy {
        let policy = ZonePolicy {
            zone_id: ZONE.into(),
            p2p,
            fallback: true,
            min_host_score: 0.0,
            max_latency_ms: 100,
            endpoints: vec![self.named.unwrap_or(self.endpoint.key())],
            upstreams: Vec::new(),
            issued,
            expires: unix_now() + 600,
        };
        let policy = serde_json::to_string(&policy).unwrap();
        let signature = self.coordinator.sign(&policy_message(&policy)).unwrap();
        SignedPolicy {
            policy,
            signature: hex::encode(signature),
        }
    }

    /// The sockets: `/signaling` passes messages on, `/link` is a carrier.
    async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        mut port: SignalPort,
        said: mpsc::UnboundedSender<ClientSignal>,
    ) {
        let to_endpoint = port.to_endpoint.clone();
        let house = Arc::clone(&self);
        tokio::spawn(async move {
            while let Some(signal) = port.from_endpoint.recv().await {
                let from = "endpoint".to_owned();
                // Nobody is there: lost, as in a room.
                let _ = house.to_host.send(relayed(signal, from).1);
            }
        });
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut link = false;
            let look = |request: &tokio_tungstenite::tungstenite::handshake::server::Request,
                        response| {
                link = request.uri().path() == "/link";
                Ok(response)
            };
            let accepted = tokio_tungstenite::accept_hdr_async(tcp, look).await;
            let mut socket = accepted.unwrap();
            if link {
                self.attach_link(socket);
                continue;
            }
            let cut = CancellationToken::new();
            *self.cut.lock() = cut.clone();
            let mut inbox = self.to_host.subscribe();
            self.sockets.send_modify(|count| *count += 1);
            let (to_endpoint, said, answers) = (to_endpoint.clone(), said.clone(), self.answers);
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        () = cut.cancelled() => return,
                        signal = inbox.recv() => {
                            let text = serde_json::to_string(&signal.unwrap()).unwrap();
                            if socket.send(Message::text(text)).await.is_err() {
                                return;
                            }
                        }
                        message = socket.next() => {
                            let text = match message {
                                Some(Ok(Message::Text(text))) => text,
                                // It answers itself.
                                Some(Ok(Message::Ping(_))) => continue,
                                _ => return,
                            };
                            let signal: ClientSignal = serde_json::from_str(&text).unwrap();
                            match relayed(signal.clone(), "host".into()) {
                                (to, signal) if to == "endpoint" => {
                                    if answers {
                                        to_endpoint.send(signal).await.unwrap();
                                    }
                                }
                                _ => said.send(signal).unwrap(),
                            }
                        }
                    }
                }
            });
        }
    }

    fn attach_link(&self, socket: tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>) {
        let (out, stream) = socket.split();
        let out = sink::unfold(out, |mut out, datagram: Bytes| async move {
            out.send(Message::binary(datagram)).await.map(|()| out)
        });
        let stream = stream.map(|message| match message {
            Ok(Message::Binary(datagram)) => Inbound::Datagram(datagram),
            _ => Inbound::Other,
        });
        let carrier = Carrier::from_parts(out, stream, CancellationToken::new());
        self.endpoint.attach_host_wss(ROOM, carrier).unwrap();
    }

    fn traffic(&self) -> HostTraffic {
        let of = self.endpoint.host_traffic();
        of.into_iter().find(|(room, _)| room == ROOM).unwrap().1
    }

    fn tell_host(&self, signal: ServerSignal) {
        self.to_host.send(signal).unwrap();
    }

    /// A session that this host carries: its link, once it plays through the host.
    async fn member(&self, number: u32) -> Player {
        let device = identity();
        let session_id = format!("session-{number}");
        let name = format!("member-{number}");
        let granted = self.endpoint.grant(GrantSpec {
            session_id: session_id.clone(),
            device_key: device.public_key().to_vec(),
            certified: Some(self.certified(device.key())),
            game: game(),
            p2p_enabled: true,
            ice_servers: Vec::new(),
        });
        let port = granted.unwrap();
        let routed = self.endpoint.route(HostRoute {
            host: ROOM.into(),
            slot: number,
            epoch: 1,
            session_id: session_id.clone(),
            way: PathKind::Host,
        });
        routed.unwrap();
        self.tell_host(ServerSignal::Serve {
            member: Member {
                peer_id: name.clone(),
                session_id: session_id.clone(),
                zone_id: ZONE.into(),
                epoch: 1,
                slot: number,
                device_key: device.key(),
            },
        });
        let (offerer, _candidates) = Offerer::new(PeerConfig {
            include_loopback: true,
            ..PeerConfig::default()
        })
        .await
        .unwrap();
        let sdp = offerer.create_offer().await.unwrap();
        let offer = |sdp| ServerSignal::Offer {
            from: name.clone(),
            sdp,
            timestamp: String::new(),
        };
        // One that the member did not sign is not answered.
        let (forged, _) = sign_offer(&identity(), &session_id, 1, sdp.clone());
        self.tell_host(offer(forged.to_value()));
        let (signed, made) = sign_offer(&device, &session_id, 1, sdp);
        self.tell_host(offer(signed.to_value()));
        let answer = soon("the host's answer", async {
            loop {
                let next = self.from_host.lock().try_recv();
                match next {
                    Ok(ClientSignal::Answer { to, sdp }) if to == name => {
                        return SignedDescription::read(&sdp).unwrap();
                    }
                    Ok(_) => {}
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        let ours = self.device.key();
        assert_eq!(check_answer(&ours, &session_id, &made, &answer), Ok(()));
        offerer.accept_answer(&answer.sdp).await.unwrap();
        let carrier = soon("the carrier", offerer.opened()).await.unwrap();
        let key = self.endpoint.public_key();
        let link = Link::client(LinkConfig::default(), &device, &key, [7; 32]).unwrap();
        let (link, _notices, _incoming) = spawn(link);
        link.attach(PathKind::Host, carrier);
        let mut status = link.watch_status();
        let connected = status.wait_for(|status| {
            status.state == State::Connected && status.path == Some(PathKind::Host)
        });
        soon("the link", connected).await.unwrap();
        Player {
            name,
            link,
            _offerer: offerer,
            _port: port,
        }
    }

    /// Both directions go on from now.
    async fn goes_on(&self) {
        let before = self.traffic();
        soon("traffic", async {
            loop {
                let now = self.traffic();
                if now.up > before.up + 2 && now.down > before.down + 2 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

struct Player {
    name: String,
    link: LinkHandle,
    _offerer: Offerer,
    _port: SignalPort,
}

/// To whom a message goes, and as what it arrives there.
fn relayed(signal: ClientSignal, from: String) -> (String, ServerSignal) {
    let timestamp = String::new();
    match signal {
        ClientSignal::Offer { to, sdp } => (
            to,
            ServerSignal::Offer {
                from,
                sdp,
                timestamp,
            },
        ),
        ClientSignal::Answer { to, sdp } => (
            to,
            ServerSignal::Answer {
                from,
                sdp,
                timestamp,
            },
        ),
        ClientSignal::IceCandidate { to, candidate } => (
            to,
            ServerSignal::IceCandidate {
                from,
                candidate,
                timestamp,
            },
        ),
        other => panic!("{other:?}"),
    }
}

struct Ours(Arc<House>);

impl Ours {
    fn target(&self, path: &str) -> WsTarget {
        WsTarget {
            url: format!("ws://127.0.0.1:{}/{path}", *self.0.port.borrow()),
            bearer_token: None,
            tls: warp_link::tls::client_config(None).unwrap(),
            proxy: ProxyPolicy::none(),
            timeout: Duration::from_secs(10),
        }
    }
}

#[async_trait]
impl Access for Ours {
    async fn certified(&self) -> Result<Certified, Problem> {
        let house = &self.0;
        let certificate = house.certificate(house.device.key(), CertificateRole::Player);
        Ok(Certified {
            identity: house.device.clone(),
            certificate: hex::encode(certificate),
            trust: Trust::new(house.coordinator.key()),
            now: unix_now(),
        })
    }

    fn unix_now(&self) -> Option<u64> {
        Some(unix_now())
    }

    async fn zones(&self) -> Result<Vec<ZoneView>, Problem> {
        Ok(vec![ZoneView {
            zone: ZoneFile {
                zone_id: ZONE.into(),
                zone_name: ZONE.into(),
                zone_display_name: ZONE.into(),
                map_name: ZONE.into(),
                maps: Vec::new(),
                max_players: 100,
                recommended_players: 50,
                p2p_enabled: true,
                p2p_priority: 1,
                fallback_enabled: true,
                min_host_quality_score: 0.0,
                min_bandwidth_mbps: self.0.min_bandwidth,
                max_latency_ms: 100,
                description: None,
                fallback_zone: None,
                plain_tcp: None,
                hosted: None,
                game: game(),
            },
            status: ZoneStatus::Enabled,
            players: 0,
        }])
    }

    async fn register(&self, body: &HostRegister) -> Result<HostGrant, Problem> {
        let house = &self.0;
        let endpoint_key = house.endpoint.key();
        let certificate = house.certificate(endpoint_key, CertificateRole::Endpoint);
        assert_eq!(body.device_key, house.device.key());
        house.registered.send_modify(|count| *count += 1);
        Ok(HostGrant {
            host: HostView {
                host_id: body.host_id.clone(),
                player_name: "somebody".into(),
                status: HostStatus::Online,
                zones: body.zones.clone(),
                hardware: HostHardware { ..body.hardware },
                max_players: body.max_players,
                current_players: 0,
                latency_ms: None,
                packet_loss_percent: None,
                bandwidth_usage_mbps: 0.0,
                quality_score: None,
            },
            session_id: ROOM.into(),
            peer_id: "host".into(),
            endpoint_peer_id: "endpoint".into(),
            endpoint_key,
            endpoint_certificate: hex::encode(certificate),
            ice_servers: Vec::new(),
            heartbeat_seconds: 1,
            policies: vec![house.policy(true, unix_now())],
        })
    }

    async fn heartbeat(&self, _host_id: &str, body: &HostHeartbeat) -> Result<(), Problem> {
        self.0.heartbeats.send_modify(|all| all.push(*body));
        Ok(())
    }

    async fn drain(&self, _host_id: &str) -> Result<(), Problem> {
        self.0.drains.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn leave(&self, _host_id: &str) -> Result<(), Problem> {
        self.0.left.send_modify(|count| *count += 1);
        Ok(())
    }

    fn signaling_target(&self, _peer_id: &str, _session_id: &str) -> WsTarget {
        self.target("signaling")
    }

    fn link_target(&self, _session_id: &str) -> Result<WsTarget, ConnectError> {
        Ok(self.target("link"))
    }

    fn network(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    fn ports(&self) -> Option<Arc<dyn PortOpener>> {
        None
    }

    async fn renew_token(&self) -> Result<(), Problem> {
        Ok(())
    }
}

fn start(house: &Arc<House>, connect_timeout: Duration) -> HostHandle {
    let config = HostConfig {
        include_loopback: true,
        connect_timeout,
        max_players: 5,
        ..HostConfig::new("my-host", vec![ZONE.into()])
    };
    HostHandle::start(Arc::new(Ours(Arc::clone(house))), config)
}

async fn until(host: &HostHandle, what: &str, holds: impl Fn(&HostStatusView) -> bool) {
    let mut view = host.view();
    let holds = view.wait_for(|view| holds(view));
    soon(what, holds).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn members_play_through_a_host_that_outlives_its_signaling_and_drains() {
    let house = House::build(|_| {}).await;
    let host = start(&house, Duration::from_secs(10));
    until(&host, "the endpoint", |view| {
        view.state == HostState::Serving && view.upstream == Some(UpstreamKind::Webrtc)
    })
    .await;
    let first = house.member(1).await;
    let second = house.member(2).await;
    until(&host, "both members", |view| {
        view.members.len() == 2
            && view.members.iter().all(|member| member.connected)
            && view.uploaded_bytes > 0
            && view.latency_ms.is_some()
    })
    .await;
    let mut heartbeats = house.heartbeats.subscribe();
    let told = heartbeats.wait_for(|all| {
        all.last().is_some_and(|last| {
            last.current_players == 2
                && last.current_zones == 1
                && last.latency_ms.is_some_and(|ms| ms < 1000.0)
                && last.packet_loss_percent.is_some()
                && last.bandwidth_usage_mbps > 0.0
        })
    });
    soon("a heartbeat with figures", told).await.unwrap();

    // The signaling socket goes: what is forwarded goes on, and the socket comes again.
    house.cut.lock().cancel();
    let mut sockets = house.sockets.subscribe();
    house.goes_on().await;
    soon("another socket", sockets.wait_for(|count| *count == 2))
        .await
        .unwrap();
    let third = house.member(3).await;

    // A newer certificate: registered again, in the same place, and nobody notices.
    let before = *house.registered.borrow();
    house.renewals.send_replace(2);
    let mut registered = house.registered.subscribe();
    let again = registered.wait_for(|count| *count > before);
    soon("registering again", again).await.unwrap();
    house.goes_on().await;
    until(&host, "all three", |view| {
        view.members.len() == 3 && view.members.iter().all(|member| member.connected)
    })
    .await;

    // One is carried no longer: nothing of it comes through, and the others play on.
    house.tell_host(ServerSignal::Unserve {
        peer_id: first.name.clone(),
        reason: HostsReason::Better,
    });
    until(&host, "two left", |view| view.members.len() == 2).await;
    house.goes_on().await;
    for player in [&second, &third] {
        assert_eq!(player.link.status().path, Some(PathKind::Host));
    }

    host.pause(true);
    until(&host, "paused", |view| view.state == HostState::Paused).await;
    let told = heartbeats.wait_for(|all| all.last().is_some_and(|last| last.paused));
    soon("a heartbeat that says so", told).await.unwrap();
    host.pause(false);

    host.drain();
    let mut drains = house.drains.subscribe();
    soon("the question", drains.wait_for(|count| *count == 1))
        .await
        .unwrap();
    until(&host, "draining", |view| view.state == HostState::Draining).await;
    house.goes_on().await;
    house.tell_host(ServerSignal::Drained);
    soon("the host's end", host.gone()).await;
    let view = host.view().borrow().clone();
    assert_eq!((view.state, view.problem), (HostState::Stopped, None));
    assert_eq!(*house.left.borrow(), 1);
    soon("the endpoint's end", house.endpoint.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_zone_is_left_and_a_forged_policy_is_not_believed() {
    let house = House::build(|_| {}).await;
    let host = start(&house, Duration::from_secs(10));
    until(&host, "the endpoint", |view| view.upstream.is_some()).await;
    let _player = house.member(1).await;
    let mut forged = house.policy(false, unix_now() + 5);
    let signature = identity().sign(&policy_message(&forged.policy)).unwrap();
    forged.signature = hex::encode(signature);
    house.tell_host(ServerSignal::Policy { policy: forged });
    house.goes_on().await;
    let policy = house.policy(false, unix_now() + 5);
    house.tell_host(ServerSignal::Policy { policy });
    until(&host, "nobody", |view| {
        let told = view.problem.as_ref().map(|problem| problem.code);
        view.members.is_empty() && view.allowed.is_empty() && told == Some(ProblemCode::ZoneClosed)
    })
    .await;
    drop(host);
    soon("the endpoint's end", house.endpoint.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_no_policy_names_is_not_connected_to() {
    let house = House::build(|house| house.named = Some(identity().key())).await;
    let host = start(&house, Duration::from_secs(10));
    soon("the host's end", host.gone()).await;
    let problem = host.view().borrow().problem.clone().unwrap();
    assert_eq!(problem.code, ProblemCode::EndpointUntrusted);
    assert_eq!(problem.detail.as_deref(), Some("policy-other-endpoint"));
    assert_eq!(*house.sockets.borrow(), 0, "not even a signaling socket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_too_little_for_the_zone_is_told_of_what() {
    let house = House::build(|house| house.min_bandwidth = 50).await;
    let host = start(&house, Duration::from_secs(10));
    soon("the host's end", host.gone()).await;
    let problem = host.view().borrow().problem.clone().unwrap();
    assert_eq!(problem.code, ProblemCode::Forbidden);
    assert_eq!(problem.subject, ZONE);
    let detail = "10 Mbit/s of upload where 50 are wanted";
    assert_eq!(problem.detail.as_deref(), Some(detail));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_webrtc_does_not_come_about_a_websocket_carries() {
    let house = House::build(|house| house.answers = false).await;
    let host = start(&house, Duration::from_millis(500));
    until(&host, "the endpoint", |view| {
        view.upstream == Some(UpstreamKind::Wss)
    })
    .await;
    let _player = house.member(1).await;
    house.goes_on().await;
    let view = host.view().borrow().clone();
    assert_eq!(view.latency_ms, None, "not measured over a WebSocket");
    drop(host);
    soon("the endpoint's end", house.endpoint.shutdown()).await;
}
