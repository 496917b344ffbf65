//! A bridge whose streams end in the test.
#![allow(dead_code, reason = "not every test program uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test program")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use warp_bridge::{
    Bridge, BridgeConfig, BridgeError, BridgeLimits, BridgeNotice, GameRead, GameReader,
    GameWriter, Level, LinkGone, OpenedStream, Origin, StreamOpener, WriteGone,
};
use warp_protocol::carrier::PathKind;
use warp_protocol::stream::{
    Decoder, Message, MessageKind, OpenAnswer, OpenRequest, encode_message, encode_open,
};
use warp_protocol::zone::GameServer;

pub(crate) const VERSION: u32 = 20_211_103;

/// How long anything may take before a test counts as stuck.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("stuck: {what}"),
    }
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
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

/// A zone with two map servers.
pub(crate) fn game() -> GameServer {
    GameServer {
        packet_version: VERSION,
        level: Level::Assist,
        login: address("192.0.2.1:6900"),
        char: vec![address("192.0.2.1:6121")],
        map: vec![
            address("192.0.2.1:5121"),
            address("192.0.2.2:5121"),
            address("192.0.2.1:5121"),
        ],
    }
}

pub(crate) fn config(login: &str) -> BridgeConfig {
    BridgeConfig {
        reentry: true,
        login_listen: address(login),
        game: game(),
        tables: Vec::new(),
        commands: true,
        limits: BridgeLimits::default(),
    }
}

pub(crate) fn start(
    config: BridgeConfig,
    opener: impl StreamOpener,
) -> Result<(Bridge, mpsc::UnboundedReceiver<BridgeNotice>), BridgeError> {
    let (tell, notices) = mpsc::unbounded_channel();
    let notify = Arc::new(move |notice| {
        // The test may be over.
        let _ = tell.send(notice);
    });
    Ok((Bridge::start(config, Arc::new(opener), notify)?, notices))
}

/// Which path carries all streams, by [`PathKind`]'s number; 0: none.
#[derive(Clone, Default)]
pub(crate) struct PathSwitch(Arc<AtomicU8>);

impl PathSwitch {
    pub(crate) fn set(&self, path: Option<PathKind>) {
        self.0
            .store(path.map_or(0, |kind| kind as u8), Ordering::SeqCst);
    }

    fn get(&self) -> Option<PathKind> {
        let number = self.0.load(Ordering::SeqCst);
        PathKind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// Opens streams whose other end is a [`Far`].
struct ToTest {
    opened: mpsc::UnboundedSender<Far>,
    path: PathSwitch,
}

#[async_trait]
impl StreamOpener for ToTest {
    async fn open(&self, request: &OpenRequest, origin: &Origin) -> Result<OpenedStream, LinkGone> {
        let (write, from_bridge) = mpsc::unbounded_channel();
        let (to_bridge, read) = mpsc::unbounded_channel();
        let far = Far {
            request: request.clone(),
            origin: origin.clone(),
            from_bridge,
            decoder: Decoder::default(),
            to_bridge,
        };
        self.opened.send(far).map_err(|_| LinkGone)?;
        let path = self.path.clone();
        Ok(OpenedStream {
            writer: Box::new(Writer(Some(write))),
            reader: Box::new(Reader(read)),
            path: Arc::new(move || path.get()),
            at_most: Level::Assist,
        })
    }
}

struct Writer(Option<mpsc::UnboundedSender<Bytes>>);

impl GameWriter for Writer {
    fn poll_write(
        &mut self,
        _cx: &mut Context<'_>,
        data: &mut &[u8],
    ) -> Poll<Result<(), WriteGone>> {
        let taken = std::mem::take(data);
        let sender = self.0.as_ref().ok_or(WriteGone::Closed)?;
        let sent = sender.send(Bytes::copy_from_slice(taken));
        Poll::Ready(sent.map_err(|_| WriteGone::Closed))
    }

    fn poll_stopped(&mut self, _cx: &mut Context<'_>) -> Poll<Option<u32>> {
        Poll::Pending
    }

    fn finish(&mut self) {
        self.0 = None;
    }

    fn reset(&mut self, _code: u32) {
        self.0 = None;
    }
}

struct Reader(mpsc::UnboundedReceiver<GameRead>);

impl GameReader for Reader {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<GameRead> {
        self.0
            .poll_recv(cx)
            .map(|read| read.unwrap_or(GameRead::Closed))
    }

    fn stop(&mut self, _code: u32) {
        self.0.close();
    }
}

/// The endpoint's side of a stream.
pub(crate) struct Far {
    pub(crate) request: OpenRequest,
    pub(crate) origin: Origin,
    from_bridge: mpsc::UnboundedReceiver<Bytes>,
    decoder: Decoder,
    to_bridge: mpsc::UnboundedSender<GameRead>,
}

impl Far {
    /// Reads the request and says that the server is there.
    async fn answer(&mut self) {
        let request = loop {
            if let Some(request) = self.decoder.next_open::<OpenRequest>().unwrap() {
                break request;
            }
            let bytes = soon("the request", self.from_bridge.recv()).await;
            self.decoder.push(&bytes.unwrap());
        };
        assert_eq!(request, self.request);
        let mut wire = BytesMut::new();
        encode_open(&mut wire, &OpenAnswer::Open).unwrap();
        self.to_bridge.send(GameRead::Data(wire.freeze())).unwrap();
    }

    /// The next message, a packet to be kept included; `None` when the bridge ended the stream.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.decoder.next_message().unwrap() {
                return Some(message);
            }
            match soon("a message", self.from_bridge.recv()).await {
                Some(bytes) => self.decoder.push(&bytes),
                None => return None,
            }
        }
    }

    /// The next message that is written to the server.
    pub(crate) async fn written(&mut self) -> Bytes {
        loop {
            let message = self.next().await.unwrap();
            if message.kind != MessageKind::KeepAlive {
                return message.body;
            }
        }
    }

    /// The next packet that is to be kept.
    pub(crate) async fn kept(&mut self) -> Bytes {
        loop {
            let message = self.next().await.unwrap();
            if message.kind == MessageKind::KeepAlive {
                return message.body;
            }
        }
    }

    /// One read of the server's socket.
    pub(crate) fn say(&self, body: &[u8]) {
        self.say_all(&[body]);
    }

    /// Several reads, which come to the bridge at once.
    pub(crate) fn say_all(&self, bodies: &[&[u8]]) {
        let mut wire = BytesMut::new();
        for body in bodies {
            encode_message(&mut wire, body, false);
        }
        self.to_bridge.send(GameRead::Data(wire.freeze())).unwrap();
    }

    pub(crate) fn finish(&self) {
        self.to_bridge.send(GameRead::Finished).unwrap();
    }
}

/// A bridge and what comes out of it.
pub(crate) struct House {
    pub(crate) bridge: Bridge,
    pub(crate) notices: mpsc::UnboundedReceiver<BridgeNotice>,
    pub(crate) path: PathSwitch,
    opened: mpsc::UnboundedReceiver<Far>,
}

impl House {
    pub(crate) fn start(config: BridgeConfig) -> House {
        House::try_start(config).unwrap()
    }

    pub(crate) fn try_start(config: BridgeConfig) -> Result<House, BridgeError> {
        let (open, opened) = mpsc::unbounded_channel();
        let path = PathSwitch::default();
        let opener = ToTest {
            opened: open,
            path: path.clone(),
        };
        let (bridge, notices) = start(config, opener)?;
        Ok(House {
            bridge,
            notices,
            path,
            opened,
        })
    }

    /// The stream of the next connection, open.
    pub(crate) async fn stream(&mut self) -> Far {
        let mut far = soon("a stream", self.opened.recv()).await.unwrap();
        far.answer().await;
        far
    }

    /// Connects to a door and writes a first packet.
    pub(crate) async fn connect(&mut self, door: SocketAddr, first: &[u8]) -> (TcpStream, Far) {
        let mut client = connect(door).await;
        client.write_all(first).await.unwrap();
        let far = self.stream().await;
        (client, far)
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

    /// The number and the client of the next connection that is opened.
    pub(crate) async fn opened(&mut self) -> (u64, Option<u64>) {
        self.notice("the opening", |notice| match notice {
            BridgeNotice::Opened { n, client, .. } => Some((*n, *client)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn shutdown(self) {
        soon("the bridge", self.bridge.shutdown()).await;
    }
}

pub(crate) async fn connect(door: SocketAddr) -> TcpStream {
    let stream = soon("connecting", TcpStream::connect(door)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads exactly as much as is expected, and compares.
pub(crate) async fn expect(client: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    soon("bytes for the client", client.read_exact(&mut bytes))
        .await
        .unwrap();
    assert_eq!(bytes, expected);
}

/// A packet of fixed length.
pub(crate) fn packet(id: u16, length: usize, fill: u8) -> Vec<u8> {
    let mut packet = vec![fill; length];
    packet[..2].copy_from_slice(&id.to_le_bytes());
    packet
}

/// CA_LOGIN.
pub(crate) fn login() -> Vec<u8> {
    packet(0x0064, 55, 1)
}

/// AC_ACCEPT_LOGIN for `account`, without char servers.
pub(crate) fn accept_login(account: u32) -> Vec<u8> {
    let mut packet = packet(0x0AC4, 64, 0);
    packet[2..4].copy_from_slice(&64u16.to_le_bytes());
    packet[8..12].copy_from_slice(&account.to_le_bytes());
    packet
}

/// CH_ENTER.
pub(crate) fn char_enter(account: u32) -> Vec<u8> {
    let mut packet = packet(0x0065, 17, 0);
    packet[2..6].copy_from_slice(&account.to_le_bytes());
    packet
}

/// HC_NOTIFY_ZONESVR, for entering `map` at `server`.
pub(crate) fn notify_zone(map: &str, server: SocketAddr) -> Vec<u8> {
    let mut packet = packet(0x0AC5, 156, 0);
    packet[6..6 + map.len()].copy_from_slice(map.as_bytes());
    put_address(&mut packet[22..28], server);
    packet
}

/// Writes IPv4 in network order, and the port in little-endian.
pub(crate) fn put_address(field: &mut [u8], server: SocketAddr) {
    let SocketAddr::V4(server) = server else {
        panic!("{server}");
    };
    field[..4].copy_from_slice(&server.ip().octets());
    field[4..6].copy_from_slice(&server.port().to_le_bytes());
}

/// CZ_ENTER.
pub(crate) fn map_enter(account: u32) -> Vec<u8> {
    let mut packet = packet(0x0436, 23, 0);
    packet[2..6].copy_from_slice(&account.to_le_bytes());
    packet
}

/// CZ_NOTIFY_ACTORINIT: the map is loaded.
pub(crate) const LOADED: [u8; 2] = [0x7d, 0x00];

/// ZC_NOTIFY_PLAYERMOVE.
pub(crate) fn moved(fill: u8) -> Vec<u8> {
    packet(0x0087, 12, fill)
}

/// What the player says.
pub(crate) fn chat(text: &str) -> Vec<u8> {
    let mut packet = vec![0xf3, 0x00];
    packet.extend(u16::try_from(text.len() + 5).unwrap().to_le_bytes());
    packet.extend(text.as_bytes());
    packet.push(0);
    packet
}
