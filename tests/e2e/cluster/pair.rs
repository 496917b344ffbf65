//! Two players who send each other numbered messages through whichever node they reach, all the time,
//! and come back when they are cut off: what a launcher does, without the launcher.
//!
//! The coordinator does not acknowledge a relayed message. Here the other player does: each number that
//! arrives is sent back. *Acknowledged* is a message whose number came back.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;
use warp_tests::house::{PASSWORD, ZONE, api};
use warp_tests::process::PATIENCE;

/// Pause between two messages of one player.
const EVERY: Duration = Duration::from_millis(25);

/// After so long without a word a player tries another node. Long enough for a busy machine.
const SILENCE: Duration = Duration::from_secs(4);

/// A signaling socket.
pub(crate) type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// What one player has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sent: u32,
    /// Numbers of the other player's messages, in the order in which they came.
    pub(crate) received: Vec<u32>,
    pub(crate) acknowledged: BTreeSet<u32>,
    /// `error` signals in answer to messages, and sockets and calls that were refused.
    pub(crate) refused: u32,
    pub(crate) sockets: u32,
    /// Whom the coordinator named as present when the room was entered last.
    pub(crate) present: Vec<String>,
    /// Longest time without a message of the other player, and since when.
    pub(crate) gap: Duration,
    heard: Option<Instant>,
}

impl Seen {
    fn take(&mut self, number: u32) {
        let now = Instant::now();
        if let Some(before) = self.heard {
            self.gap = self.gap.max(now - before);
        }
        self.heard = Some(now);
        self.received.push(number);
    }
}

/// One player.
pub(crate) struct Player {
    http: reqwest::Client,
    nodes: Vec<SocketAddr>,
    token: String,
    pub(crate) peer_id: String,
    pub(crate) session_id: String,
    seen: Arc<Mutex<Seen>>,
    first: usize,
}

impl Player {
    /// Signs in at the node `first`, and joins the zone there.
    pub(crate) async fn join(nodes: &[SocketAddr], first: usize, user: &str) -> Self {
        let http = client();
        let base = api(nodes[first]);
        let body = credentials(user);
        let (_, signed_in) = again(|| post(&http, &base, "auth/login", None, &body)).await;
        let token = signed_in["access_token"]
            .as_str()
            .expect("a token")
            .to_owned();
        let (path, body) = (format!("zones/{ZONE}/join"), new_device());
        let (status, grant) = again(|| post(&http, &base, &path, Some(&token), &body)).await;
        assert_eq!(status, 201, "{grant}");
        let text = |key: &str| grant[key].as_str().unwrap().to_owned();
        Self {
            http,
            nodes: nodes.to_vec(),
            token,
            peer_id: text("peer_id"),
            session_id: text("session_id"),
            seen: Arc::default(),
            first,
        }
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Joins once more with another device, at a node; status and answer.
    pub(crate) async fn joins_again(&self, node: SocketAddr) -> (u16, Value) {
        let (path, body) = (format!("zones/{ZONE}/join"), new_device());
        post(&self.http, &api(node), &path, Some(&self.token), &body).await
    }

    /// Opens a signaling socket at a node.
    pub(crate) async fn socket(&self, node: SocketAddr) -> Result<Socket, String> {
        let url = format!("ws://{node}/api/v1/signaling/ws?peer_id={}", self.peer_id);
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {}", self.token).parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        match timeout(SILENCE, connect_async(request)).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("silence".to_owned()),
        }
    }

    /// Lets the other player into this one's room.
    pub(crate) async fn admit(&self, node: SocketAddr, guest: &str) -> bool {
        let path = format!("links/{}/guests", self.session_id);
        let body = json!({"peer_id": guest});
        let base = api(node);
        let asked = post(&self.http, &base, &path, Some(&self.token), &body);
        timeout(SILENCE, asked)
            .await
            .is_ok_and(|(status, _)| status == 204)
    }

    /// Asks for a route at a node, as a proxy passes on what `client` asks for. Without a body: GET.
    pub(crate) async fn asks(
        &self,
        node: SocketAddr,
        path: &str,
        client: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let url = format!("{}/{path}", api(node));
        let ask = || async {
            let request = match body {
                None => self.http.get(&url),
                Some(body) => self.http.post(&url).json(body),
            };
            let request = request.header("x-forwarded-for", client);
            let response = request.bearer_auth(&self.token).send().await.unwrap();
            let status = response.status().as_u16();
            (status, response.json().await.unwrap_or_default())
        };
        again(ask).await
    }

    /// Whether P2P is on in all zones, as a node says.
    pub(crate) async fn is_p2p(&self, node: SocketAddr) -> Option<bool> {
        let request = self.http.get(format!("{}/fleet/p2p", api(node)));
        let answer = request.bearer_auth(&self.token).send().await.ok()?;
        answer.json::<Value>().await.ok()?["enabled"].as_bool()
    }

    /// Talks with `other` in `room` until `stop`.
    pub(crate) async fn talk(
        self: Arc<Self>,
        other: String,
        room: String,
        numbers: Arc<AtomicU32>,
        stop: CancellationToken,
    ) {
        let mut at = self.first;
        while !stop.is_cancelled() {
            let node = self.nodes[at % self.nodes.len()];
            at += 1;
            let own = room == self.session_id;
            if own && !self.admit(node, &other).await {
                self.seen().refused += 1;
            } else if let Ok(socket) = self.socket(node).await {
                self.seen().sockets += 1;
                self.run(socket, &other, &room, &numbers, &stop).await;
            } else {
                self.seen().refused += 1;
            }
            sleep(Duration::from_millis(150)).await;
        }
    }

    async fn run<S>(
        &self,
        mut socket: S,
        other: &str,
        room: &str,
        numbers: &AtomicU32,
        stop: &CancellationToken,
    ) where
        S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>>
            + SinkExt<Message>
            + Unpin,
    {
        let text = |value: Value| Message::text(value.to_string());
        let join = json!({"type": "join", "session_id": room});
        let mut joined = false;
        let mut heard = Instant::now();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tries = 0_u32;
        loop {
            let out = tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {
                    if heard.elapsed() > SILENCE {
                        return;
                    }
                    if joined {
                        let number = numbers.fetch_add(1, Ordering::SeqCst);
                        self.seen().sent = number + 1;
                        json!({"type": "offer", "to": other, "sdp": number.to_string()})
                    } else {
                        tries += 1;
                        if tries % 8 != 1 {
                            continue;
                        }
                        join.clone()
                    }
                }
                message = socket.next() => {
                    let Some(Ok(message)) = message else { return };
                    heard = Instant::now();
                    let Message::Text(message) = message else { continue };
                    let signal: Value = serde_json::from_str(&message).unwrap();
                    let number = || signal["sdp"].as_str().unwrap_or_default().parse().ok();
                    let from_other = signal["from"] == other;
                    match signal["type"].as_str().unwrap_or_default() {
                        "session-joined" => {
                            joined = true;
                            let present = signal["peers"].as_array().unwrap().iter();
                            let present = present.filter_map(Value::as_str).map(str::to_owned);
                            self.seen().present = present.collect();
                            continue;
                        }
                        "offer" if from_other => {
                            let Some(number) = number() else { continue };
                            self.seen().take(number);
                            json!({"type": "answer", "to": other, "sdp": number.to_string()})
                        }
                        "answer" if from_other => {
                            self.seen().acknowledged.extend(number());
                            continue;
                        }
                        "error" => {
                            self.seen().refused += 1;
                            continue;
                        }
                        _ => continue,
                    }
                }
            };
            if socket.send(text(out)).await.is_err() {
                return;
            }
        }
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn credentials(user: &str) -> Value {
    json!({"username": user, "password": PASSWORD})
}

/// Status and answer of a call; status 0: there was none.
async fn post(
    http: &reqwest::Client,
    base: &str,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> (u16, Value) {
    let mut request = http.post(format!("{base}/{path}")).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    match request.send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            (status, response.json().await.unwrap_or_default())
        }
        Err(_) => (0, Value::Null),
    }
}

/// Makes accounts at all nodes in turn, one after another; gives the names that were acknowledged
/// (201), and how many calls were not.
pub(crate) async fn register(
    nodes: Vec<SocketAddr>,
    stop: CancellationToken,
) -> (Vec<String>, u32) {
    let http = client();
    let (mut made, mut refused) = (Vec::new(), 0);
    for n in 0.. {
        if stop.is_cancelled() {
            break;
        }
        let name = format!("player{n}");
        let base = api(nodes[n % nodes.len()]);
        let credentials = credentials(&name);
        let asked = post(&http, &base, "auth/register", None, &credentials);
        match timeout(Duration::from_secs(8), asked).await {
            Ok((201, _)) => made.push(name),
            _ => refused += 1,
        }
        sleep(Duration::from_millis(500)).await;
    }
    (made, refused)
}

/// Whether an account can sign in.
pub(crate) async fn signs_in(node: SocketAddr, user: &str) -> bool {
    let (http, base, body) = (client(), api(node), credentials(user));
    let (status, _) = again(|| post(&http, &base, "auth/login", None, &body)).await;
    status == 200
}

/// Asks again while it is answered that this is not the moment (429, 503): the machine may be busy with
/// other things than the coordinator.
async fn again<F: Future<Output = (u16, Value)>>(ask: impl Fn() -> F) -> (u16, Value) {
    let began = Instant::now();
    loop {
        let (status, body) = ask().await;
        if !matches!(status, 429 | 503) || began.elapsed() > PATIENCE {
            return (status, body);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The body of a join with a device that nobody has seen.
fn new_device() -> Value {
    let random = ring::rand::SystemRandom::new();
    let key = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
    let key = [
        &hex::decode("302a300506032b6570032100").unwrap(),
        key.public_key().as_ref(),
    ]
    .concat();
    json!({"device_key": hex::encode(key)})
}

/// Status and body of `/health`, as a probe with a limit of 2 s sees it.
pub(crate) async fn health(node: SocketAddr) -> (u16, Value) {
    let asked = client().get(format!("http://{node}/health")).send();
    match timeout(Duration::from_secs(2), asked).await {
        Ok(Ok(response)) => {
            let status = response.status().as_u16();
            (status, response.json().await.unwrap_or_default())
        }
        _ => (0, Value::Null),
    }
}

/// Whether `/health` says that all is well, within some seconds.
pub(crate) async fn healthy(node: SocketAddr) -> bool {
    again(|| health(node)).await.0 == 200
}
