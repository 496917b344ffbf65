//! Bridge, session link and endpoint in one process, joined by a carrier in memory.
#![allow(dead_code, reason = "not every test program uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test program")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{sink, stream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use warp_bridge::{
    Bridge, BridgeConfig, BridgeLimits, BridgeNotice, GameRead, GameReader, GameWriter, LinkGone,
    OpenedStream, Origin, StreamOpener, WriteGone,
};
use warp_endpoint::{
    Endpoint, EndpointConfig, EndpointLimits, GrantSpec, Identity, SignalPort, WebRtcOptions,
    generate_identity_der,
};
use warp_link::{Carrier, Inbound};
use warp_link_core::{Link, LinkConfig};
use warp_link_driver::{LinkHandle, ReadEvent, StreamReader, StreamWriter, WriteError, spawn};
use warp_protocol::carrier::PathKind;
use warp_protocol::stream::OpenRequest;
use warp_protocol::zone::{GameServer, ReadLevel};

/// How long anything may take before a test counts as stuck.
const STUCK: Duration = Duration::from_secs(60);

pub(crate) const SESSION: &str = "session-1";
pub(crate) const VERSION: u32 = 20_211_103;

/// Waits for something, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(STUCK, future).await {
        Ok(value) => value,
        Err(_) => panic!("stuck: {what}"),
    }
}

/// Two carriers, each the other's other end, until `cut`.
pub(crate) fn wire(cut: &CancellationToken) -> (Carrier, Carrier) {
    let (left_tx, left_rx) = mpsc::channel(512);
    let (right_tx, right_rx) = mpsc::channel(512);
    (
        end_of_wire(left_tx, right_rx, cut),
        end_of_wire(right_tx, left_rx, cut),
    )
}

fn end_of_wire(
    tx: mpsc::Sender<Bytes>,
    rx: mpsc::Receiver<Bytes>,
    cut: &CancellationToken,
) -> Carrier {
    let sink = sink::unfold(tx, |tx, datagram: Bytes| async move {
        // A full pipe loses the datagram, as a network does.
        let _ = tx.try_send(datagram);
        Ok::<_, std::convert::Infallible>(tx)
    });
    let stream = stream::unfold(rx, |mut rx| async move {
        let datagram = rx.recv().await?;
        Some((Inbound::Datagram(datagram), rx))
    });
    Carrier::from_parts(sink, stream, cut.child_token())
}

/// The bridge's streams over the session link.
pub(crate) struct OverLink(pub(crate) LinkHandle);

#[async_trait]
impl StreamOpener for OverLink {
    async fn open(
        &self,
        _request: &OpenRequest,
        _origin: &Origin,
    ) -> Result<OpenedStream, LinkGone> {
        let stream = self.0.open_stream().await.map_err(|_| LinkGone)?;
        let (writer, reader) = stream.split();
        let link = self.0.clone();
        Ok(OpenedStream {
            writer: Box::new(Writer(writer)),
            reader: Box::new(Reader(reader)),
            path: Arc::new(move || link.status().path),
            at_most: warp_bridge_core::Level::Assist,
        })
    }
}

struct Writer(StreamWriter);

impl GameWriter for Writer {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut &[u8],
    ) -> Poll<Result<(), WriteGone>> {
        let written = self.0.poll_write(cx, data);
        written.map_err(|error| match error {
            WriteError::Stopped(code) => WriteGone::Stopped(code),
            WriteError::Closed => WriteGone::Closed,
        })
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        self.0.poll_stopped(cx)
    }

    fn finish(&mut self) {
        self.0.finish();
    }

    fn reset(&mut self, code: u32) {
        self.0.reset(code);
    }
}

struct Reader(StreamReader);

impl GameReader for Reader {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<GameRead> {
        self.0.poll_read(cx).map(|event| match event {
            ReadEvent::Data(bytes) => GameRead::Data(bytes),
            ReadEvent::Finished => GameRead::Finished,
            ReadEvent::Reset(code) => GameRead::Reset(code),
            ReadEvent::Closed => GameRead::Closed,
        })
    }

    fn stop(&mut self, code: u32) {
        self.0.stop(code);
    }
}

/// What differs from test to test.
pub(crate) struct Setup {
    /// What the bridge is told of the zone.
    pub(crate) bridge_game: GameServer,
    /// What the endpoint may dial.
    pub(crate) endpoint_game: GameServer,
    pub(crate) endpoint: EndpointLimits,
    pub(crate) bridge: BridgeLimits,
    pub(crate) login_listen: SocketAddr,
    pub(crate) p2p_enabled: bool,
}

impl Setup {
    pub(crate) fn new(game: GameServer) -> Self {
        Self {
            bridge_game: game.clone(),
            endpoint_game: game,
            endpoint: EndpointLimits::default(),
            bridge: BridgeLimits::default(),
            login_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            p2p_enabled: true,
        }
    }
}

/// Everything from the client's door to the server's.
pub(crate) struct World {
    pub(crate) endpoint: Endpoint,
    pub(crate) link: LinkHandle,
    pub(crate) bridge: Bridge,
    pub(crate) notices: mpsc::UnboundedReceiver<BridgeNotice>,
    pub(crate) signals: SignalPort,
    pub(crate) cut: CancellationToken,
}

impl World {
    pub(crate) async fn start(setup: Setup) -> World {
        let identity = Identity::from_pkcs8_der(&generate_identity_der()).unwrap();
        let device = Identity::from_pkcs8_der(&generate_identity_der()).unwrap();
        let endpoint = Endpoint::start(EndpointConfig {
            identity,
            trust: None,
            limits: setup.endpoint,
            webrtc: WebRtcOptions {
                include_loopback: true,
                ..WebRtcOptions::default()
            },
        });
        let signals = endpoint
            .grant(GrantSpec {
                session_id: SESSION.to_owned(),
                device_key: device.public_key().to_vec(),
                certified: None,
                game: setup.endpoint_game,
                p2p_enabled: setup.p2p_enabled,
                ice_servers: Vec::new(),
            })
            .unwrap();
        let link = Link::client(
            LinkConfig::default(),
            &device,
            &endpoint.public_key(),
            [7; 32],
        )
        .unwrap();
        let (link, _notices, _incoming) = spawn(link);
        let cut = CancellationToken::new();
        let (ours, theirs) = wire(&cut);
        endpoint.attach_wss(SESSION, theirs).unwrap();
        link.attach(PathKind::Wss, ours);
        let (tell, notices) = mpsc::unbounded_channel();
        let bridge = Bridge::start(
            BridgeConfig {
                reentry: false,
                login_listen: setup.login_listen,
                game: setup.bridge_game,
                tables: Vec::new(),
                commands: true,
                limits: setup.bridge,
            },
            Arc::new(OverLink(link.clone())),
            Arc::new(move |notice| {
                // The test may be over.
                let _ = tell.send(notice);
            }),
        )
        .unwrap();
        World {
            endpoint,
            link,
            bridge,
            notices,
            signals,
            cut,
        }
    }

    /// The next notice that `pick` takes.
    pub(crate) async fn notice<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&BridgeNotice) -> Option<T>,
    ) -> T {
        soon(what, async {
            loop {
                let notice = self.notices.recv().await.unwrap();
                if let Some(picked) = pick(&notice) {
                    return picked;
                }
            }
        })
        .await
    }

    /// Whether the next connection that ends ended in good order.
    pub(crate) async fn closed_clean(&mut self) -> bool {
        self.notice("the end of a connection", |notice| match notice {
            BridgeNotice::Closed { clean, .. } => Some(*clean),
            _ => None,
        })
        .await
    }

    pub(crate) async fn shutdown(self) {
        soon("bridge", self.bridge.shutdown()).await;
        soon("endpoint", self.endpoint.shutdown()).await;
        assert!(self.endpoint.sessions().is_empty());
    }
}

/// A zone with one server of each kind, all at `address`.
pub(crate) fn game_at(address: SocketAddr) -> GameServer {
    let other = |port| SocketAddr::from(([127, 0, 0, 2], port));
    GameServer {
        packet_version: VERSION,
        level: ReadLevel::Assist,
        login: address,
        char: vec![other(1)],
        map: vec![other(2)],
    }
}

/// A port of 127.0.0.1 that is free, below those that the system gives away by itself, so that no
/// other connection takes it before it is listened on. Each process looks in a part of its own.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let part = (std::process::id() % 312) as u16 * 64;
    loop {
        let port = 10_000 + part + NEXT.fetch_add(1, Ordering::SeqCst) % 64;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    soon("a connection", listener.accept()).await.unwrap().0
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    let stream = soon("connecting", TcpStream::connect(address))
        .await
        .unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
