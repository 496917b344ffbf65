//! A coordinator on a free port with its own data directory, and a client for it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest},
};
use warp_coordinator::{
    Coordinator, CoordinatorConfig, DatabaseUrl, PasswordCost, Rate, RateLimits, Running,
};
use warp_link_core::Identity;
use warp_protocol::{
    identity::device_message,
    rest::{CertificateRequest, IdentityProof, JoinRequest},
    zone::ZoneFile,
};

/// Longest that anything here is waited for; reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) client: Client,
}

/// Calls one coordinator.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
}

/// The database of a coordinator whose data is in `dir`: SQLite, or with `WARP_TEST_DATABASE=postgres`
/// a PostgreSQL database of its own.
fn database(dir: &Path) -> Option<DatabaseUrl> {
    if std::env::var_os("WARP_TEST_DATABASE").is_none_or(|which| which != "postgres") {
        return None;
    }
    static MADE: Mutex<BTreeMap<PathBuf, DatabaseUrl>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    let url = made.entry(dir.to_owned()).or_insert_with(new_postgres);
    Some(url.clone())
}

#[cfg(target_os = "linux")]
fn new_postgres() -> DatabaseUrl {
    let server = warp_lab::Postgres::shared().expect("WARP_TEST_DATABASE=postgres");
    server.database().parse().unwrap()
}

#[cfg(not(target_os = "linux"))]
fn new_postgres() -> DatabaseUrl {
    panic!("the tests start PostgreSQL on Linux only")
}

/// A free port, cheap hashes, and limits that tests do not meet unless they lower them.
pub(crate) fn config(dir: &Path) -> CoordinatorConfig {
    let plenty = Rate::new(100_000, 100_000);
    CoordinatorConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: dir.to_owned(),
        database: database(dir),
        password_cost: PasswordCost::TestOnly,
        limits: RateLimits {
            address: plenty,
            account: plenty,
            signals: plenty,
            requests: plenty,
            address_requests: plenty,
            relay_bytes: plenty,
        },
        ..CoordinatorConfig::default()
    }
}

pub(crate) async fn start() -> Server {
    start_with(|_| {}).await
}

pub(crate) async fn start_with(change: impl FnOnce(&mut CoordinatorConfig)) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    change(&mut config);
    let running = Coordinator::start(config).await.unwrap();
    let client = Client::new(&running.url);
    Server {
        running,
        dir,
        client,
    }
}

/// Makes ring the TLS provider of this process, for reqwest.
pub(crate) fn provider() {
    // Fails when another test was first, which is as good.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        provider();
        Self {
            url: url.to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.request(method, &format!("/api/v1/{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, None, Some(body)).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, Some(token), None).await
    }

    /// Asks for an account with password `sesame`.
    pub(crate) async fn register_as(&self, name: &str) -> (StatusCode, Value) {
        let body = json!({"username": name, "password": "sesame"});
        self.post("auth/register", body).await
    }

    /// Registers a player with password `sesame`; gives the answer.
    pub(crate) async fn register(&self, name: &str) -> Value {
        let (status, body) = self.register_as(name).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body
    }

    /// Registers a player; gives the access token.
    pub(crate) async fn player(&self, name: &str) -> String {
        text(&self.register(name).await["access_token"])
    }

    pub(crate) async fn login(&self, name: &str, password: &str) -> (StatusCode, Value) {
        self.post(
            "auth/login",
            json!({"username": name, "password": password}),
        )
        .await
    }

    /// The coordinator's key and time.
    pub(crate) async fn identity(&self) -> IdentityProof {
        let path = format!("identity?nonce={}", "00".repeat(16));
        let (status, body) = self.call(Method::GET, &path, None, None).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_value(body).unwrap()
    }

    /// Asks for a certificate of a device for the account of the token.
    pub(crate) async fn certify(&self, token: &str, device: u8) -> (StatusCode, Value) {
        let coordinator = self.identity().await;
        let device = identity(device);
        let (key, time) = (device.key(), coordinator.time);
        let message = device_message(&coordinator.public_key, &account_of(token), &key, time);
        let request = CertificateRequest {
            device_key: key,
            time,
            proof: hex::encode(device.sign(&message).unwrap()),
        };
        let body = serde_json::to_value(request).unwrap();
        let method = Method::POST;
        let asked = self.call(method, "devices/certificate", Some(token), Some(body));
        asked.await
    }

    pub(crate) async fn join(&self, zone: &str, token: &str, device: u8) -> (StatusCode, Value) {
        let (status, body) = self.certify(token, device).await;
        if status != StatusCode::OK {
            return (status, body);
        }
        let certificate = text(&body["certificate"]);
        self.join_with(zone, token, device, Some(&certificate))
            .await
    }

    pub(crate) async fn join_with(
        &self,
        zone: &str,
        token: &str,
        device: u8,
        certificate: Option<&str>,
    ) -> (StatusCode, Value) {
        let request = JoinRequest {
            device_key: identity(device).key().to_string(),
            certificate: certificate.map(str::to_owned),
        };
        let body = serde_json::to_value(request).unwrap();
        let path = format!("zones/{zone}/join");
        self.call(Method::POST, &path, Some(token), Some(body))
            .await
    }

    /// Joins the zone `prontera`; gives the grant.
    pub(crate) async fn granted(&self, token: &str, device: u8) -> Value {
        let (status, grant) = self.join("prontera", token, device).await;
        assert_eq!(status, StatusCode::CREATED, "{grant}");
        grant
    }

    pub(crate) async fn socket(
        &self,
        path: &str,
        token: Option<&str>,
    ) -> Result<Socket, (u16, Value)> {
        let url = format!("{}/api/v1/{path}", self.url.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => Ok(socket),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let body = serde_json::from_slice(body).unwrap_or_default();
                Err((response.status().as_u16(), body))
            }
            Err(other) => panic!("{other}"),
        }
    }

    pub(crate) async fn signaling(&self, grant: &Value, token: &str) -> Socket {
        let path = format!(
            "signaling/ws?peer_id={}&session_id={}",
            text(&grant["peer_id"]),
            text(&grant["session_id"])
        );
        self.socket(&path, Some(token)).await.unwrap()
    }

    pub(crate) async fn link(&self, grant: &Value, token: &str) -> Result<Socket, (u16, Value)> {
        let path = format!("link/ws?session_id={}", text(&grant["session_id"]));
        self.socket(&path, Some(token)).await
    }
}

/// The key of a device: PKCS#8 v1 (RFC 8410, section 7) around a seed.
pub(crate) fn identity(device: u8) -> Identity {
    let mut der = hex::decode("302e020100300506032b657004220420").unwrap();
    der.extend([device; 32]);
    Identity::from_pkcs8_der(&der).unwrap()
}

/// Whose access token it is: the name in its second part, base64url (RFC 7515).
fn account_of(token: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for digit in token.split('.').nth(1).unwrap().bytes() {
        let value = DIGITS.iter().position(|known| *known == digit).unwrap();
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    let claims: Value = serde_json::from_slice(&bytes).unwrap();
    text(&claims["name"])
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let body = response.bytes().await.unwrap();
    if body.is_empty() {
        return (status, Value::Null);
    }
    (status, serde_json::from_slice(&body).expect("a JSON body"))
}

/// Asserts an error body with this status and code.
#[track_caller]
pub(crate) fn refused((status, body): &(StatusCode, Value), expected: u16, code: &str) {
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (expected, &json!(code)),
        "{body}"
    );
    assert!(body["detail"].as_str().is_some_and(|d| !d.is_empty()));
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

pub(crate) fn zone(id: &str) -> ZoneFile {
    let mut zone: ZoneFile =
        serde_json::from_str(include_str!("../../../../../docs/examples/zone.json")).unwrap();
    zone.zone_id = id.to_owned();
    zone
}

pub(crate) async fn send(socket: &mut Socket, signal: Value) {
    send_text(socket, &signal.to_string()).await;
}

pub(crate) async fn send_text(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
}

/// The next signal that is not about hosts; those come when they come.
pub(crate) async fn next(socket: &mut Socket) -> Value {
    loop {
        let signal = next_of_all(socket).await;
        if signal["type"] != "hosts" && signal["type"] != "policy" {
            return signal;
        }
    }
}

/// The next signal of this type; others are passed over.
pub(crate) async fn next_of(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let signal = next_of_all(socket).await;
        if signal["type"] == kind {
            return signal;
        }
    }
}

/// The next signal.
pub(crate) async fn next_of_all(socket: &mut Socket) -> Value {
    loop {
        match within(socket.next()).await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("{other:?} instead of a signal"),
        }
    }
}

/// The next signal, which is an error; gives its code.
pub(crate) async fn next_error(socket: &mut Socket) -> String {
    let signal = next(socket).await;
    assert_eq!(signal["type"], "error", "{signal}");
    assert!(!text(&signal["message"]).is_empty());
    text(&signal["code"])
}

/// Reads until the server closes; gives the code.
pub(crate) async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        match within(socket.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(Message::Close(None))) | None => panic!("closed without a code"),
            Some(Ok(_)) => {}
            Some(Err(error)) => panic!("{error} instead of a close frame"),
        }
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing happened")
}
