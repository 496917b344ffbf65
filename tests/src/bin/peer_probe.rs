//! One of two players who meet: signs in at a coordinator, joins a zone, and for each line on
//! standard input meets another probe by every rung of the ladder: a peer manager, with what STUN and
//! TURN give it, and the coordinator's relay. Then the two exchange chunks over the best way that opened.
//!
//! Lines in and out are JSON:
//!
//! | in | out |
//! |---|---|
//! | | `{"event": "ready"}`: signed in |
//! | `{"do": "join"}` | `{"event": "joined", "session_id", "peer_id", "key"}` |
//! | `{"do": "host", "guest": peer id, "key"}` | `{"event": "admitted"}`, then as below |
//! | `{"do": "visit", "session_id", "host": peer id, "key"}` | `{"event": "met", ...}`: see `Met` |
//! | `{"do": "again", "moved": bool}` | `{"event": "met", ...}`, of the meeting that there is: with `moved` this machine has another address now |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test program: it fails by panicking, and its output is its result"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;
use warp_link::Carrier;
use warp_link::manager::trust::Trust;
use warp_link::manager::{ManagerConfig, NamedSignal, PeerEvent, PeerManager, signal};
use warp_link::peer::{Channels, PeerConfig, SelectedPair};
use warp_link::proxy::ProxyPolicy;
use warp_link::websocket::{Socket, WsTarget, connect, connect_socket, ws_url};
use warp_link_core::Identity;
use warp_peer_core::{Channel, Class};
use warp_protocol::Secret;
use warp_protocol::identity::{PublicKey, device_message};
use warp_protocol::rest::{CertificateAnswer, IdentityProof, SessionGrant, Tokens};
use warp_protocol::signal::{ClientSignal, MAX_SIGNAL, ServerSignal};

/// How long WebRTC may take before the relay is taken for good. Connectivity checks go on for 3 s
/// after both sides know each other's candidates.
const WEBRTC: Duration = Duration::from_secs(6);
/// The longest that anything else may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Chunks that each side sends to the other.
const CHUNKS: u32 = 150;
/// Bytes of a chunk.
const CHUNK: usize = 1000;
/// How often what was not answered is said again.
const AGAIN: Duration = Duration::from_millis(40);

/// A player to be met.
#[derive(Parser)]
struct Args {
    /// Base of the coordinator's REST routes.
    #[arg(long)]
    coordinator: String,
    /// Account; made if it is new.
    #[arg(long)]
    user: String,
    /// Zone id.
    #[arg(long)]
    zone: String,
    /// `http://host:port`; without: what the environment says.
    #[arg(long)]
    proxy: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Line {
    Join,
    Host {
        guest: String,
        key: PublicKey,
    },
    Visit {
        session_id: String,
        host: String,
        key: PublicKey,
    },
    Again {
        moved: bool,
    },
}

/// How a meeting went.
#[derive(Serialize)]
struct Met {
    event: &'static str,
    /// `host`, `srflx`, `prflx`, `relay` or `wss`.
    rung: String,
    /// Kinds of the candidates in use, ours first.
    pair: Option<[String; 2]>,
    /// The address that this side sends from.
    from: Option<String>,
    /// From both being in the room to the first answer over the relay, ms. The host's only.
    wss_ms: Option<u64>,
    /// The same over the way that was taken; of `again` from the line to the first answer.
    ready_ms: Option<u64>,
    /// Of the chunks that were sent, and of those that came.
    sent: String,
    received: String,
}

/// The coordinator, as this player sees it.
struct House {
    args: Args,
    http: reqwest::Client,
    proxy: ProxyPolicy,
    token: Secret,
    device: Identity,
    grant: Option<SessionGrant>,
}

impl House {
    async fn enter(args: Args) -> Self {
        let proxy = match &args.proxy {
            Some(url) => ProxyPolicy::fixed(url, None).unwrap(),
            None => ProxyPolicy::system(None).unwrap(),
        };
        let mut builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        if let Some(via) = proxy.proxy_for(&args.coordinator) {
            builder = builder.proxy(reqwest::Proxy::all(via.url()).unwrap());
        }
        let mut house = Self {
            http: builder.build().unwrap(),
            proxy,
            token: Secret::new(""),
            device: device(),
            grant: None,
            args,
        };
        let body = json!({"username": house.args.user, "password": "correct horse"});
        let tokens: Tokens = house.post("auth/register", &body).await.unwrap();
        house.token = tokens.access_token;
        house
    }

    /// `None`: the answer has no body.
    async fn post<T: DeserializeOwned>(&self, route: &str, body: &Value) -> Option<T> {
        let url = format!("{}/{route}", self.args.coordinator);
        let request = self.http.post(url).bearer_auth(self.token.reveal());
        let answer = request.json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{route}: {}", answer.status());
        let body = answer.bytes().await.unwrap();
        (!body.is_empty()).then(|| serde_json::from_slice(&body).unwrap())
    }

    async fn join(&mut self) {
        let certificate = self.certify().await;
        let body = json!({"device_key": self.device.key(), "certificate": certificate});
        let route = format!("zones/{}/join", self.args.zone);
        self.grant = self.post(&route, &body).await;
    }

    /// A certificate of this device's key, by the coordinator's clock.
    async fn certify(&self) -> String {
        let url = format!(
            "{}/identity?nonce={}",
            self.args.coordinator,
            "ab".repeat(16)
        );
        let answer = self.http.get(url).send().await.unwrap();
        let coordinator: IdentityProof = answer.json().await.unwrap();
        let (key, time) = (self.device.key(), coordinator.time);
        let message = device_message(&coordinator.public_key, &self.args.user, &key, time);
        let body = json!({
            "device_key": key,
            "time": time,
            "proof": hex::encode(self.device.sign(&message).unwrap()),
        });
        let answer: CertificateAnswer = self.post("devices/certificate", &body).await.unwrap();
        answer.certificate
    }

    fn grant(&self) -> &SessionGrant {
        self.grant.as_ref().expect("joined before")
    }

    fn target(&self, path: &str) -> WsTarget {
        WsTarget {
            url: ws_url(&self.args.coordinator, path).unwrap(),
            bearer_token: Some(self.token.clone()),
            tls: no_tls(),
            proxy: self.proxy.clone(),
            timeout: PATIENCE,
        }
    }

    /// The signaling socket, in the room of `session_id`.
    async fn room(&self, session_id: &str) -> Room {
        let path = format!("signaling/ws?peer_id={}", self.grant().peer_id);
        let limits = WebSocketConfig::default().max_message_size(Some(MAX_SIGNAL));
        let socket = connect_socket(&self.target(&path), limits).await.unwrap();
        let mut room = Room { socket };
        let session_id = session_id.to_owned();
        room.say(ClientSignal::Join { session_id }).await;
        room
    }

    async fn relay(&self, session_id: &str, other: &str) -> Carrier {
        let path = warp_protocol::relay::path(session_id, &self.grant().peer_id, other);
        connect(&self.target(&path), CancellationToken::new())
            .await
            .unwrap()
    }

    fn peer_config(&self) -> PeerConfig {
        PeerConfig {
            ice_servers: self.grant().ice_servers.clone(),
            connect_timeout: WEBRTC,
            ..PeerConfig::default()
        }
    }
}

/// A key of its own for each player.
fn device() -> Identity {
    let random = ring::rand::SystemRandom::new();
    let document = ring::signature::Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    Identity::from_pkcs8_der(document.as_ref()).unwrap()
}

/// The test's coordinator speaks plain HTTP.
fn no_tls() -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Arc::new(config)
}

struct Room {
    socket: Socket,
}

impl Room {
    async fn say(&mut self, signal: ClientSignal) {
        let text = serde_json::to_string(&signal).unwrap();
        self.socket.send(Message::text(text)).await.unwrap();
    }

    async fn hear(&mut self) -> ServerSignal {
        loop {
            if let Message::Text(text) = self.socket.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Until `other` is in the room too.
    async fn both(&mut self, other: &str) {
        loop {
            match self.hear().await {
                ServerSignal::SessionJoined { peers, .. } if peers.iter().any(|p| p == other) => {
                    return;
                }
                ServerSignal::PeerJoined { peer_id } if peer_id == other => return,
                ServerSignal::Error { code, message, .. } => {
                    panic!("the coordinator refused a message: {code:?}: {message}");
                }
                _ => {}
            }
        }
    }
}

/// The two who meet, as one of them knows them.
#[derive(Debug)]
struct Two {
    session: String,
    identity: Identity,
    other: String,
    key: PublicKey,
}

impl Trust for Two {
    fn session(&self) -> &str {
        &self.session
    }
    fn identity(&self) -> &Identity {
        &self.identity
    }
    fn key(&self, peer: &str) -> Option<PublicKey> {
        (peer == self.other).then_some(self.key)
    }
}

/// A peer manager in the room of a session.
struct Meeting {
    session: String,
    manager: PeerManager,
    events: mpsc::Receiver<PeerEvent>,
    /// Takes a signaling socket in place of the one before.
    sockets: mpsc::Sender<Room>,
}

impl Meeting {
    fn begin(house: &House, session: &str, (other, key): (&str, PublicKey), room: Room) -> Self {
        let trust = Two {
            session: session.to_owned(),
            identity: house.device.clone(),
            other: other.to_owned(),
            key,
        };
        let config = ManagerConfig {
            peer: house.peer_config(),
            trust: Some(Arc::new(trust)),
            ..ManagerConfig::new(&house.grant().peer_id)
        };
        let ((inbound, signals), (outbound, said)) = (mpsc::channel(256), mpsc::channel(256));
        let (manager, events) = PeerManager::start(config, signals, outbound);
        let (sockets, more) = mpsc::channel(1);
        tokio::spawn(carry(room, more, inbound, said));
        Self {
            session: session.to_owned(),
            manager,
            events,
            sockets,
        }
    }

    async fn open(&mut self) -> Pipe {
        loop {
            if let PeerEvent::Open { channels, way, .. } = self.event().await {
                return Pipe::Peer(channels, way.expect("it is in use"));
            }
        }
    }

    async fn moved(&mut self) -> SelectedPair {
        loop {
            match self.event().await {
                PeerEvent::Moved { way, .. } => return way.expect("it is in use"),
                PeerEvent::Open { .. } => panic!("another connection"),
                PeerEvent::State { .. } | PeerEvent::Refused { .. } => {}
            }
        }
    }

    async fn event(&mut self) -> PeerEvent {
        self.events.recv().await.expect("the manager runs")
    }
}

/// Carries signals between a manager and the room, over one socket after the other.
async fn carry(
    mut room: Room,
    mut sockets: mpsc::Receiver<Room>,
    inbound: mpsc::Sender<NamedSignal>,
    mut said: mpsc::Receiver<NamedSignal>,
) {
    loop {
        tokio::select! {
            another = sockets.recv() => match another {
                Some(another) => room = another,
                None => return,
            },
            said = said.recv() => match said {
                Some((to, said)) => room.say(signal::to_room(to, said)).await,
                None => return,
            },
            // That the other one has left, as it may do first, is nothing to a manager.
            heard = room.hear() => if let Some(heard) = signal::from_room(heard) {
                // A manager that is closed wants none.
                let _ = inbound.send(heard).await;
            },
        }
    }
}

/// What the two talk over.
enum Pipe {
    Relay(Carrier),
    Peer(Channels, SelectedPair),
}

impl Pipe {
    /// What is refused is said again.
    fn say(&self, datagram: Bytes) {
        match self {
            Pipe::Relay(carrier) => {
                let _ = carrier.tx.try_send(datagram);
            }
            Pipe::Peer(channels, _) => {
                let to = Channel::Unreliable;
                let _ = channels.tx.try_send(to, Class::Normal, datagram);
            }
        }
    }

    /// `None`: it has ended.
    async fn next(&mut self) -> Option<Bytes> {
        match self {
            Pipe::Relay(carrier) => carrier.rx.recv().await,
            Pipe::Peer(channels, _) => channels.rx.unreliable.recv().await,
        }
    }

    async fn hear(&mut self) -> Bytes {
        self.next().await.expect("it lives")
    }

    fn met(&self, wss_ms: Option<u64>, ready_ms: Option<u64>, digests: (String, String)) -> Met {
        let (rung, pair, from) = match self {
            Pipe::Relay(_) => ("wss".to_owned(), None, None),
            Pipe::Peer(_, way) => {
                let kinds = [way.local.kind.clone(), way.remote.kind.clone()];
                let worst = ["relay", "prflx", "srflx"].into_iter();
                let mut worst = worst.filter(|kind| kinds.iter().any(|one| one == kind));
                let rung = worst.next().unwrap_or("host").to_owned();
                (rung, Some(kinds), Some(way.local.address.clone()))
            }
        };
        let (sent, received) = digests;
        Met {
            event: "met",
            rung,
            pair,
            from,
            wss_ms,
            ready_ms,
            sent,
            received,
        }
    }
}

/// First byte of a datagram.
const PING: u8 = 0;
const PONG: u8 = 1;
const DATA: u8 = 2;
const ACK: u8 = 3;
const DONE: u8 = 4;

/// Which exchange of a meeting it is, what it is, a number, and what it carries.
fn say(pipe: &Pipe, time: u8, kind: u8, number: u32, rest: &[u8]) {
    let mut datagram = vec![time, kind];
    datagram.extend_from_slice(&number.to_be_bytes());
    datagram.extend_from_slice(rest);
    pipe.say(Bytes::from(datagram));
}

fn read(datagram: &[u8]) -> (u8, u8, u32, &[u8]) {
    let number = datagram[2..6].try_into().expect("four bytes");
    let number = u32::from_be_bytes(number);
    (datagram[0], datagram[1], number, &datagram[6..])
}

/// Until the first answer.
async fn ping(pipe: &mut Pipe, time: u8) {
    let mut again = tokio::time::interval(AGAIN);
    loop {
        tokio::select! {
            _ = again.tick() => say(pipe, time, PING, 0, &[]),
            datagram = pipe.hear() => match read(&datagram) {
                (of, PONG, ..) if of == time => return,
                (of, PING, ..) if of == time => say(pipe, time, PONG, 0, &[]),
                _ => {}
            }
        }
    }
}

/// What `peer` sends: nobody can guess it who has not read it.
fn chunk(peer: &str, time: u8, number: u32) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(CHUNK + 32);
    let mut block = Sha256::digest(format!("{peer} {time} {number}"));
    while chunk.len() < CHUNK {
        chunk.extend_from_slice(&block);
        block = Sha256::digest(block);
    }
    chunk.truncate(CHUNK);
    chunk
}

/// Sends all chunks of `own` and takes as many; gives the digests of both.
async fn exchange(pipe: &mut Pipe, time: u8, own: &str) -> (String, String) {
    let mine: Vec<Vec<u8>> = (0..CHUNKS).map(|number| chunk(own, time, number)).collect();
    let mut acknowledged = vec![false; mine.len()];
    let mut theirs: Vec<Option<Vec<u8>>> = vec![None; mine.len()];
    let mut again = tokio::time::interval(AGAIN);
    let mut over = false;
    while !over {
        tokio::select! {
            _ = again.tick() => {
                let left = (0..CHUNKS).filter(|number| !acknowledged[*number as usize]);
                for number in left.take(16) {
                    say(pipe, time, DATA, number, &mine[number as usize]);
                }
            }
            datagram = pipe.hear() => {
                let (of, kind, number, rest) = read(&datagram);
                match kind {
                    _ if of != time => {}
                    PING => say(pipe, time, PONG, 0, &[]),
                    DATA => {
                        theirs[number as usize] = Some(rest.to_vec());
                        say(pipe, time, ACK, number, &[]);
                    }
                    ACK => acknowledged[number as usize] = true,
                    DONE => over = true,
                    _ => {}
                }
            }
        }
        if acknowledged.iter().all(|one| *one) && theirs.iter().all(Option::is_some) {
            say(pipe, time, DONE, 0, &[]);
        }
    }
    // The other side is done; it may have missed that this one is too.
    for _ in 0..3 {
        say(pipe, time, DONE, 0, &[]);
        tokio::time::sleep(AGAIN).await;
    }
    let sent = Sha256::digest(mine.concat());
    let received: Vec<u8> = theirs.into_iter().flatten().flatten().collect();
    (hex::encode(sent), hex::encode(Sha256::digest(received)))
}

/// A meeting, and what its two talk over.
type Encounter = (Met, Meeting, Pipe);

async fn host(house: &House, guest: &str, key: PublicKey) -> Encounter {
    let body = json!({"peer_id": guest});
    let session = house.grant().session_id.clone();
    let route = format!("links/{session}/guests");
    house.post::<Value>(&route, &body).await;
    let mut room = house.room(&session).await;
    println!("{}", json!({"event": "admitted"}));
    room.both(guest).await;
    let start = Instant::now();
    let elapsed = || u64::try_from(start.elapsed().as_millis()).ok();
    let by_relay = async {
        let mut relay = Pipe::Relay(house.relay(&session, guest).await);
        ping(&mut relay, 0).await;
        (relay, elapsed())
    };
    let mut meeting = Meeting::begin(house, &session, (guest, key), room);
    meeting.manager.connect(guest).await.unwrap();
    let direct = tokio::time::timeout(WEBRTC, meeting.open());
    let (direct, (mut relay, wss_ms)) = tokio::join!(Box::pin(direct), by_relay);
    let own = &house.grant().peer_id;
    let (pipe, met) = match direct {
        Ok(mut pipe) => {
            ping(&mut pipe, 0).await;
            let ready_ms = elapsed();
            let digests = exchange(&mut pipe, 0, own).await;
            let met = pipe.met(wss_ms, ready_ms, digests);
            (pipe, met)
        }
        Err(_) => {
            meeting.manager.close().await;
            let digests = exchange(&mut relay, 0, own).await;
            let met = relay.met(wss_ms, wss_ms, digests);
            (relay, met)
        }
    };
    (met, meeting, pipe)
}

/// The next datagram over a pipe that may not be there.
async fn next_of(pipe: &mut Option<Pipe>) -> Option<Bytes> {
    match pipe {
        Some(pipe) => pipe.next().await,
        None => std::future::pending().await,
    }
}

/// Answers over whichever way something comes, and exchanges over the one that the host takes.
async fn visit(house: &House, session: &str, host: (&str, PublicKey)) -> Encounter {
    let mut relay = Pipe::Relay(house.relay(session, host.0).await);
    let room = house.room(session).await;
    let mut meeting = Meeting::begin(house, session, host, room);
    let mut direct = None;
    let own = &house.grant().peer_id;
    let mut pipe = loop {
        tokio::select! {
            pipe = meeting.open(), if direct.is_none() => direct = Some(pipe),
            datagram = relay.hear() => match read(&datagram) {
                (_, PING, ..) => say(&relay, 0, PONG, 0, &[]),
                (_, DATA, ..) => break relay,
                _ => {}
            },
            datagram = next_of(&mut direct) => {
                // The host may have given it up as it opened; then it takes the relay, or another one.
                let (Some(pipe), Some(datagram)) = (direct.take(), datagram) else { continue };
                match read(&datagram) {
                    (_, PING, ..) => say(&pipe, 0, PONG, 0, &[]),
                    (_, DATA, ..) => break pipe,
                    _ => {}
                }
                direct = Some(pipe);
            }
        }
    };
    let digests = exchange(&mut pipe, 0, own).await;
    (pipe.met(None, None, digests), meeting, pipe)
}

/// The same two once more, on another network.
async fn again(
    house: &House,
    meeting: &mut Meeting,
    pipe: &mut Pipe,
    time: u8,
    moved: bool,
) -> Met {
    let start = Instant::now();
    if moved {
        // The socket of the address that is gone says nothing any more.
        let room = house.room(&meeting.session).await;
        let _ = meeting.sockets.send(room).await;
        meeting.manager.network_changed().await.unwrap();
    }
    let way = meeting.moved().await;
    ping(pipe, time).await;
    let ready_ms = u64::try_from(start.elapsed().as_millis()).ok();
    if let Pipe::Peer(_, taken) = pipe {
        *taken = way;
    }
    let digests = exchange(pipe, time, &house.grant().peer_id).await;
    pipe.met(None, ready_ms, digests)
}

#[tokio::main]
async fn main() {
    // A second provider would be a fault of this program.
    rustls::crypto::ring::default_provider()
        .install_default()
        .unwrap();
    let mut house = House::enter(Args::parse()).await;
    println!("{}", json!({"event": "ready"}));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut now: Option<(Meeting, Pipe)> = None;
    let mut time = 0;
    while let Some(line) = lines.next_line().await.unwrap() {
        let line = serde_json::from_str(&line).unwrap();
        if !matches!(line, Line::Again { .. })
            && let Some((meeting, pipe)) = now.take()
        {
            drop(pipe);
            meeting.manager.close().await;
        }
        let met = match line {
            Line::Join => {
                house.join().await;
                let SessionGrant {
                    session_id,
                    peer_id,
                    ..
                } = house.grant();
                let joined = json!({
                    "event": "joined",
                    "session_id": session_id,
                    "peer_id": peer_id,
                    "key": house.device.key(),
                });
                println!("{joined}");
                continue;
            }
            Line::Host { guest, key } => Box::pin(host(&house, &guest, key)).await,
            Line::Visit {
                session_id,
                host,
                key,
            } => Box::pin(visit(&house, &session_id, (&host, key))).await,
            Line::Again { moved } => {
                time += 1;
                let (mut meeting, mut pipe) = now.take().expect("met before");
                let met = Box::pin(again(&house, &mut meeting, &mut pipe, time, moved)).await;
                (met, meeting, pipe)
            }
        };
        let (met, meeting, pipe) = met;
        now = Some((meeting, pipe));
        println!("{}", serde_json::to_string(&met).unwrap());
    }
}
