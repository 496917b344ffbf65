//! One of two players who meet: signs in at a coordinator, joins a zone, and for each line on
//! standard input meets another probe by every rung of the ladder: WebRTC with what STUN and TURN
//! give, and the coordinator's relay. Then the two exchange chunks over the best way that opened.
//!
//! Lines in and out are JSON:
//!
//! | in | out |
//! |---|---|
//! | | `{"event": "ready"}`: signed in |
//! | `{"do": "join"}` | `{"event": "joined", "session_id", "peer_id"}` |
//! | `{"do": "host", "guest": peer id}` | `{"event": "admitted"}`, then as below |
//! | `{"do": "visit", "session_id", "host": peer id}` | `{"event": "met", ...}`: see `Met` |
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
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;
use warp_link::Carrier;
use warp_link::peer::{Answerer, LocalCandidates, Offerer, Peer, PeerConfig, PeerError};
use warp_link::proxy::ProxyPolicy;
use warp_link::websocket::{Socket, WsTarget, connect, connect_socket, ws_url};
use warp_link_core::Identity;
use warp_protocol::Secret;
use warp_protocol::identity::device_message;
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
    Host { guest: String },
    Visit { session_id: String, host: String },
}

/// How a meeting went.
#[derive(Serialize)]
struct Met {
    event: &'static str,
    /// `host`, `srflx`, `prflx`, `relay` or `wss`.
    rung: String,
    /// Kinds of the candidates in use, ours first.
    pair: Option<[String; 2]>,
    /// From both being in the room to the first answer over the relay, ms. The host's only.
    wss_ms: Option<u64>,
    /// The same over the way that was taken.
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
                let signal = serde_json::from_str(&text).unwrap();
                if let ServerSignal::Error { code, message, .. } = signal {
                    panic!("the coordinator refused a message: {code:?}: {message}");
                }
                return signal;
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
                _ => {}
            }
        }
    }

    async fn candidate(&mut self, to: &str, candidate: Value) {
        let to = to.to_owned();
        self.say(ClientSignal::IceCandidate { to, candidate }).await;
    }
}

/// A WebRTC connection; it ends with this value.
enum Way {
    Offered(Offerer),
    Answered(Answerer),
}

impl Way {
    fn peer(&self) -> &Peer {
        match self {
            Way::Offered(peer) => peer,
            Way::Answered(peer) => peer,
        }
    }
}

async fn offer(house: &House, room: &mut Room, guest: &str) -> Result<(Way, Carrier), PeerError> {
    let (peer, candidates) = Offerer::new(house.peer_config()).await?;
    let sdp = Value::String(peer.create_offer().await?);
    let to = guest.to_owned();
    room.say(ClientSignal::Offer { to, sdp }).await;
    let way = Way::Offered(peer);
    let carrier = negotiate(room, guest, &way, candidates).await?;
    Ok((way, carrier))
}

async fn answer(house: &House, room: &mut Room, host: &str) -> Result<(Way, Carrier), PeerError> {
    let offer = loop {
        match room.hear().await {
            ServerSignal::Offer { from, sdp, .. } if from == host => break sdp,
            _ => {}
        }
    };
    let offer = offer.as_str().expect("text");
    let (peer, sdp, candidates) = Answerer::accept(house.peer_config(), offer).await?;
    let (to, sdp) = (host.to_owned(), Value::String(sdp));
    room.say(ClientSignal::Answer { to, sdp }).await;
    let way = Way::Answered(peer);
    let carrier = negotiate(room, host, &way, candidates).await?;
    Ok((way, carrier))
}

async fn negotiate(
    room: &mut Room,
    other: &str,
    way: &Way,
    mut candidates: LocalCandidates,
) -> Result<Carrier, PeerError> {
    let mut opened = std::pin::pin!(way.peer().opened());
    let mut more = true;
    loop {
        tokio::select! {
            carrier = &mut opened => return carrier,
            candidate = candidates.next(), if more => match candidate {
                Some(candidate) => room.candidate(other, candidate).await,
                None => more = false,
            },
            signal = room.hear() => match (signal, way) {
                (ServerSignal::Answer { sdp, .. }, Way::Offered(peer)) => {
                    peer.accept_answer(sdp.as_str().expect("text")).await?;
                }
                (ServerSignal::IceCandidate { candidate, .. }, _) => {
                    way.peer().add_remote_candidate(&candidate).await?;
                }
                _ => {}
            },
        }
    }
}

/// First byte of a datagram.
const PING: u8 = 0;
const PONG: u8 = 1;
const DATA: u8 = 2;
const ACK: u8 = 3;
const DONE: u8 = 4;

fn say(carrier: &Carrier, kind: u8, number: u32, rest: &[u8]) {
    let mut datagram = vec![kind];
    datagram.extend_from_slice(&number.to_be_bytes());
    datagram.extend_from_slice(rest);
    // What is refused is said again.
    let _ = carrier.tx.try_send(Bytes::from(datagram));
}

fn read(datagram: &[u8]) -> (u8, u32, &[u8]) {
    let number = datagram[1..5].try_into().expect("four bytes");
    (datagram[0], u32::from_be_bytes(number), &datagram[5..])
}

/// Until the first answer.
async fn ping(carrier: &mut Carrier) {
    let mut again = tokio::time::interval(AGAIN);
    loop {
        tokio::select! {
            _ = again.tick() => say(carrier, PING, 0, &[]),
            datagram = carrier.rx.recv() => {
                if read(&datagram.expect("the carrier lives")).0 == PONG {
                    return;
                }
            }
        }
    }
}

/// What `peer` sends: nobody can guess it who has not read it.
fn chunk(peer: &str, number: u32) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(CHUNK + 32);
    let mut block = Sha256::digest(format!("{peer} {number}"));
    while chunk.len() < CHUNK {
        chunk.extend_from_slice(&block);
        block = Sha256::digest(block);
    }
    chunk.truncate(CHUNK);
    chunk
}

/// Sends all chunks of `own` and takes as many; gives the digests of both.
async fn exchange(carrier: &mut Carrier, own: &str) -> (String, String) {
    let mine: Vec<Vec<u8>> = (0..CHUNKS).map(|number| chunk(own, number)).collect();
    let mut acknowledged = vec![false; mine.len()];
    let mut theirs: Vec<Option<Vec<u8>>> = vec![None; mine.len()];
    let mut again = tokio::time::interval(AGAIN);
    let mut over = false;
    while !over {
        tokio::select! {
            _ = again.tick() => {
                let left = (0..CHUNKS).filter(|number| !acknowledged[*number as usize]);
                for number in left.take(16) {
                    say(carrier, DATA, number, &mine[number as usize]);
                }
            }
            datagram = carrier.rx.recv() => {
                let datagram = datagram.expect("the carrier lives");
                let (kind, number, rest) = read(&datagram);
                match kind {
                    PING => say(carrier, PONG, 0, &[]),
                    DATA => {
                        theirs[number as usize] = Some(rest.to_vec());
                        say(carrier, ACK, number, &[]);
                    }
                    ACK => acknowledged[number as usize] = true,
                    DONE => over = true,
                    _ => {}
                }
            }
        }
        if acknowledged.iter().all(|one| *one) && theirs.iter().all(Option::is_some) {
            say(carrier, DONE, 0, &[]);
        }
    }
    // The other side is done; it may have missed that this one is too.
    for _ in 0..3 {
        say(carrier, DONE, 0, &[]);
        tokio::time::sleep(AGAIN).await;
    }
    let sent = Sha256::digest(mine.concat());
    let received: Vec<u8> = theirs.into_iter().flatten().flatten().collect();
    (hex::encode(sent), hex::encode(Sha256::digest(received)))
}

async fn rung(way: &Way) -> (String, Option<[String; 2]>) {
    let pair = way.peer().selected_pair().await.expect("it is open");
    let kinds = [pair.local.kind, pair.remote.kind];
    let worst = ["relay", "prflx", "srflx"].into_iter();
    let mut worst = worst.filter(|kind| kinds.iter().any(|one| one == kind));
    (worst.next().unwrap_or("host").to_owned(), Some(kinds))
}

async fn host(house: &House, guest: &str) -> Met {
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
        let mut relay = house.relay(&session, guest).await;
        ping(&mut relay).await;
        (relay, elapsed())
    };
    let direct = tokio::time::timeout(WEBRTC, offer(house, &mut room, guest));
    let (direct, (mut relay, wss_ms)) = tokio::join!(Box::pin(direct), by_relay);
    let own = &house.grant().peer_id;
    match direct {
        Ok(Ok((way, mut carrier))) => {
            ping(&mut carrier).await;
            let ready_ms = elapsed();
            // Before the other side may close it.
            let (rung, pair) = rung(&way).await;
            let (sent, received) = exchange(&mut carrier, own).await;
            way.peer().close().await;
            met(rung, pair, [wss_ms, ready_ms], [sent, received])
        }
        _ => {
            let digests = exchange(&mut relay, own).await;
            met("wss".into(), None, [wss_ms; 2], digests.into())
        }
    }
}

fn met(
    rung: String,
    pair: Option<[String; 2]>,
    [wss_ms, ready_ms]: [Option<u64>; 2],
    [sent, received]: [String; 2],
) -> Met {
    Met {
        event: "met",
        rung,
        pair,
        wss_ms,
        ready_ms,
        sent,
        received,
    }
}

/// The next datagram over a way that may not be there.
async fn next_of(direct: &mut Option<(Way, Carrier)>) -> Option<Bytes> {
    match direct {
        Some((_, carrier)) => carrier.rx.recv().await,
        None => std::future::pending().await,
    }
}

/// Answers over whichever way something comes, and exchanges over the one that the host takes.
async fn visit(house: &House, session: &str, other: &str) -> Met {
    let mut relay = house.relay(session, other).await;
    let mut room = house.room(session).await;
    let mut answering = Box::pin(tokio::time::timeout(
        WEBRTC,
        answer(house, &mut room, other),
    ));
    let mut looking = true;
    let mut direct = None;
    let own = &house.grant().peer_id;
    loop {
        tokio::select! {
            outcome = &mut answering, if looking => {
                looking = false;
                direct = outcome.ok().and_then(Result::ok);
            }
            datagram = relay.rx.recv() => {
                match read(&datagram.expect("the relay lives")).0 {
                    PING => say(&relay, PONG, 0, &[]),
                    DATA => {
                        let digests = exchange(&mut relay, own).await;
                        return met("wss".into(), None, [None; 2], digests.into());
                    }
                    _ => {}
                }
            }
            datagram = next_of(&mut direct) => {
                let Some((way, mut carrier)) = direct.take() else { continue };
                match read(&datagram.expect("the way lives")).0 {
                    PING => say(&carrier, PONG, 0, &[]),
                    DATA => {
                        let (rung, pair) = rung(&way).await;
                        let digests = exchange(&mut carrier, own).await;
                        way.peer().close().await;
                        return met(rung, pair, [None; 2], digests.into());
                    }
                    _ => {}
                }
                direct = Some((way, carrier));
            }
        }
    }
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
    while let Some(line) = lines.next_line().await.unwrap() {
        let met = match serde_json::from_str(&line).unwrap() {
            Line::Join => {
                house.join().await;
                let SessionGrant {
                    session_id,
                    peer_id,
                    ..
                } = house.grant();
                let joined =
                    json!({"event": "joined", "session_id": session_id, "peer_id": peer_id});
                println!("{joined}");
                continue;
            }
            Line::Host { guest } => Box::pin(host(&house, &guest)).await,
            Line::Visit { session_id, host } => Box::pin(visit(&house, &session_id, &host)).await,
        };
        println!("{}", serde_json::to_string(&met).unwrap());
    }
}
