//! A coordinator that is attacked, and players of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest};
use warp_link_core::Identity;
use warp_protocol::identity::device_message;
use warp_protocol::rest::{CertificateRequest, IdentityProof};
use warp_tests::house::{House, Plan, merge};
use warp_tests::sim::identity;

/// Longest that anything is waited for; reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Zone of all players, and one beside it.
pub(crate) const ZONES: [&str; 2] = [warp_tests::house::ZONE, "beside"];
/// Password of all players.
const PASSWORD: &str = "sesame open";

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// How often each answer came: the status and the code of its body.
pub(crate) type Answers = BTreeMap<(u16, String), usize>;

/// The coordinator.
pub(crate) struct Site {
    pub(crate) house: House,
}

impl Site {
    /// With these keys in its configuration. How many requests an account or an address may send is
    /// no matter unless they say so: the bystander asks more often than a player does, and what an
    /// attacker is refused for is to be the attack.
    pub(crate) fn new(config: Value) -> Self {
        let plenty = json!({"burst": 1_000_000, "per_minute": 1_000_000});
        let mut all = json!({
            "keep_alive": {"ping_seconds": 1, "idle_seconds": 5},
            "limits": {"requests": plenty, "address_requests": plenty},
        });
        merge(&mut all, &config);
        let house = House::with(Plan {
            coordinator: all,
            ..Plan::default()
        });
        house.put_other_zone(ZONES[1], "enabled");
        Self { house }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.house.address
    }

    pub(crate) fn client(&self, from: Ipv4Addr) -> Client {
        Client::new(self.address(), from)
    }

    /// Resident memory of the coordinator, KiB.
    pub(crate) fn memory(&self) -> u64 {
        let file = format!("/proc/{}/status", self.house.coordinator.pid());
        let status = std::fs::read_to_string(file).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_ascii_whitespace().nth(1));
        number.unwrap().parse().unwrap()
    }

    /// What the coordinator has counted so far.
    pub(crate) async fn figures(&self) -> Figures {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let asked = http.build().unwrap();
        let asked = asked.get(format!("http://{}/metrics", self.address()));
        let response = asked.send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        Figures(response.text().await.expect("a whole answer"))
    }

    /// Waits until a series of `/metrics` has grown by so much since `before`.
    pub(crate) async fn counted(&self, before: &Figures, series: &str, least: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let grown = self.figures().await.of(series) - before.of(series);
            if grown >= least as f64 {
                println!("counted: {series} +{grown}");
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{series} has grown by {grown}, not {least}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the coordinator's log has a line with all of this.
    pub(crate) fn logged(&self, parts: &[&str]) {
        let what = parts.join(" ");
        self.house
            .coordinator
            .wait_line(0, &what, PATIENCE, |line| {
                parts
                    .iter()
                    .all(|part| line.text.contains(part))
                    .then_some(())
            });
    }
}

/// A text of `/metrics`.
pub(crate) struct Figures(String);

impl Figures {
    /// The value of a series, such as `warp_hosts{status="online"}`; 0 while it has none.
    fn of(&self, series: &str) -> f64 {
        let lines = self.0.lines().filter_map(|line| line.rsplit_once(' '));
        let value = lines.into_iter().find(|(name, _)| *name == series);
        value.map_or(0.0, |(_, value)| value.parse().unwrap())
    }
}

/// Calls the coordinator from an address.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) to: SocketAddr,
    pub(crate) from: Ipv4Addr,
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn new(to: SocketAddr, from: Ipv4Addr) -> Self {
        // Fails when another client was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .local_address(IpAddr::from(from))
            .timeout(PATIENCE)
            .build();
        Self {
            to,
            from,
            http: http.unwrap(),
        }
    }

    /// Status and body of an answer; the body is null where it is no JSON.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let url = format!("http://{}/api/v1/{path}", self.to);
        let mut request = self.http.request(method, url);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let bytes = response.bytes().await.expect("a whole answer");
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, token, Some(&body)).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        self.call(Method::GET, path, token, None).await
    }

    pub(crate) async fn sign_in(&self, name: &str) -> (u16, Value) {
        let body = json!({"username": name, "password": PASSWORD});
        self.post("auth/login", "", body).await
    }

    /// A new player with a certified device.
    pub(crate) async fn player(&self, name: &str) -> Player {
        let body = json!({"username": name, "password": PASSWORD});
        let (status, tokens) = self.post("auth/register", "", body).await;
        assert_eq!(status, 201, "{tokens}");
        let token = text(&tokens["access_token"]);
        let (_, proof) = self
            .get(&format!("identity?nonce={}", "00".repeat(16)), "")
            .await;
        let proof: IdentityProof = serde_json::from_value(proof).unwrap();
        let device = identity();
        let key = device.key();
        let message = device_message(&proof.public_key, name, &key, proof.time);
        let request = CertificateRequest {
            device_key: key,
            time: proof.time,
            proof: hex::encode(device.sign(&message).unwrap()),
        };
        let request = serde_json::to_value(request).unwrap();
        let (status, body) = self.post("devices/certificate", &token, request).await;
        assert_eq!(status, 200, "{body}");
        Player {
            client: self.clone(),
            name: name.to_owned(),
            token,
            refresh: text(&tokens["refresh_token"]),
            device,
            certificate: text(&body["certificate"]),
        }
    }

    /// A TCP connection from this client's address.
    pub(crate) async fn connect(&self) -> std::io::Result<TcpStream> {
        self.connect_with(None).await
    }

    /// The same with this receive buffer, bytes.
    pub(crate) async fn connect_with(&self, buffer: Option<u32>) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(buffer) = buffer {
            socket.set_recv_buffer_size(buffer)?;
        }
        socket.bind((self.from, 0).into())?;
        socket.connect(self.to).await
    }

    /// A WebSocket, or the status and the body of the refusal.
    pub(crate) async fn socket(&self, path: &str, token: &str) -> Result<Socket, (u16, Value)> {
        let url = format!("ws://{}/api/v1/{path}", self.to);
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let stream = self.connect().await.expect("a connection");
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let body = serde_json::from_slice(body).unwrap_or_default();
                Err((response.status().as_u16(), body))
            }
            Err(other) => panic!("{path}: {other}"),
        }
    }
}

/// A player who has signed in.
pub(crate) struct Player {
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) refresh: String,
    pub(crate) device: Identity,
    pub(crate) certificate: String,
}

/// Where a player may send signals.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) session: String,
    pub(crate) peer: String,
}

impl Player {
    /// Joins a zone.
    pub(crate) async fn join(&self, zone: &str) -> Grant {
        let body = json!({
            "device_key": self.device.key().to_string(),
            "certificate": self.certificate,
        });
        let path = format!("zones/{zone}/join");
        let (status, grant) = self.client.post(&path, &self.token, body).await;
        assert_eq!(status, 201, "{grant}");
        Grant {
            session: text(&grant["session_id"]),
            peer: text(&grant["peer_id"]),
        }
    }

    /// Opens the signaling socket of a grant.
    pub(crate) async fn signaling(&self, grant: &Grant) -> Socket {
        let path = path_of(grant);
        let opened = self.client.socket(&path, &self.token).await;
        opened.unwrap_or_else(|refused| panic!("{path}: {refused:?}"))
    }

    /// What this player registers a host of this name with.
    pub(crate) fn host(&self, id: &str) -> Value {
        json!({
            "host_id": id, "zones": [ZONES[0]], "cpu_cores": 4, "cpu_frequency_mhz": 3000,
            "memory_mb": 8192, "network_speed_mbps": 100, "max_players": 20,
            "device_key": self.device.key().to_string(), "certificate": self.certificate,
        })
    }
}

/// The signaling socket of a grant.
pub(crate) fn path_of(grant: &Grant) -> String {
    let Grant { session, peer } = grant;
    format!("signaling/ws?peer_id={peer}&session_id={session}")
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// Counts an answer.
pub(crate) fn count(answers: &mut Answers, (status, body): &(u16, Value)) {
    let code = body["code"].as_str().unwrap_or("-").to_owned();
    *answers.entry((*status, code)).or_default() += 1;
}
