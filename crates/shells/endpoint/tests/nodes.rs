//! An endpoint between the nodes of a cluster: which one it serves, and which one no more. The test plays
//! the coordinators' side of the control socket.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use tokio_util::sync::CancellationToken;
use warp_endpoint::control::{Remote, RemoteConfig, token};
use warp_endpoint::{Identity, WebRtcOptions, generate_identity_der};
use warp_link::proxy::ProxyPolicy;
use warp_link::tls::client_config;
use warp_link::websocket::WsTarget;
use warp_protocol::endpoint::{FromEndpoint, ToEndpoint};
use warp_protocol::identity::{Certificate, CertificateRole, Serial, identity_message};
use warp_protocol::rest::IdentityProof;

const PATIENCE: Duration = Duration::from_secs(20);

fn identity() -> Identity {
    Identity::from_pkcs8_der(&generate_identity_der()).unwrap()
}

/// One address of the cluster.
struct Node<'a> {
    listener: TcpListener,
    coordinator: &'a Identity,
}

type Socket = WebSocketStream<TcpStream>;

impl Node<'_> {
    /// Waits for the endpoint, and lets it in as the node whose tenure has this number.
    async fn lets_in(&self, fence: u64, silent_after_ms: Option<u64>) -> Socket {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.unwrap().unwrap();
        let mut nonce = [0; 16];
        #[allow(clippy::result_large_err, reason = "what the library wants")]
        let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            let query = request.uri().query().unwrap();
            hex::decode_to_slice(query.strip_prefix("nonce=").unwrap(), &mut nonce).unwrap();
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, look).await.unwrap();
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let key = self.coordinator.key();
        let signature = self.coordinator.sign(&identity_message(&key, &nonce, time));
        let challenge = ToEndpoint::Challenge {
            proof: IdentityProof {
                public_key: key,
                time,
                signature: hex::encode(signature.unwrap()),
            },
            nonce: "00".repeat(16),
        };
        say(&mut socket, &challenge).await;
        let Some(FromEndpoint::Hello { name, key, .. }) = heard(&mut socket).await else {
            panic!("no hello");
        };
        let certificate = Certificate {
            serial: Serial([1; 16]),
            account: 0,
            name,
            key,
            role: CertificateRole::Endpoint,
            may_host: false,
            issued: time,
            expires: time + 600,
            issuer: self.coordinator.key().id(),
        };
        let certificate = hex::encode(self.coordinator.certify(&certificate).unwrap());
        let welcome = ToEndpoint::Welcome {
            certificate,
            require_certificates: false,
            key_rotation_seconds: 3600,
            capacity: None,
            policy: None,
            fence: Some(fence),
            silent_after_ms,
        };
        say(&mut socket, &welcome).await;
        socket
    }
}

async fn say(socket: &mut Socket, message: &ToEndpoint) {
    let text = serde_json::to_string(message).unwrap();
    socket.send(Message::text(text)).await.unwrap();
}

/// The next message; none: the endpoint has ended the socket.
async fn heard(socket: &mut Socket) -> Option<FromEndpoint> {
    let next = timeout(PATIENCE, socket.next()).await.unwrap();
    match next? {
        Ok(Message::Text(text)) => Some(serde_json::from_str(&text).unwrap()),
        _ => None,
    }
}

#[tokio::test]
async fn an_endpoint_goes_from_node_to_node_and_never_back_in_time() {
    let coordinator = identity();
    let node = async || Node {
        listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        coordinator: &coordinator,
    };
    let (one, other) = (node().await, node().await);
    let base = |node: &Node<'_>| format!("http://{}/api/v1", node.listener.local_addr().unwrap());
    let endpoint = Remote::new(RemoteConfig {
        target: WsTarget {
            url: String::new(),
            bearer_token: Some(token("00")),
            tls: client_config(None).unwrap(),
            proxy: ProxyPolicy::none(),
            timeout: PATIENCE,
        },
        bases: vec![base(&one), base(&other)],
        name: "endpoint".to_owned(),
        identity: identity(),
        coordinator_key: Some(coordinator.key()),
        webrtc: WebRtcOptions {
            include_loopback: true,
            ..WebRtcOptions::default()
        },
        hosted: None,
    });
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (endpoint, stop) = (endpoint.clone(), stop.clone());
        async move { endpoint.serve(stop, |_| ()).await }
    });
    // It serves the first, which then stands still: it goes to the other one.
    let mut first = one.lets_in(5, Some(2000)).await;
    assert_eq!(heard(&mut first).await, Some(FromEndpoint::Ready));
    let mut second = other.lets_in(7, None).await;
    assert_eq!(heard(&mut second).await, Some(FromEndpoint::Ready));
    // The first one wakes up, and is not served: the endpoint names nothing to it.
    drop(second);
    let mut late = one.lets_in(5, None).await;
    assert_eq!(heard(&mut late).await, None);
    // The same tenure again, or a newer one, is.
    let mut again = other.lets_in(7, None).await;
    assert_eq!(heard(&mut again).await, Some(FromEndpoint::Ready));
    drop(again);
    let mut newer = one.lets_in(8, None).await;
    assert_eq!(heard(&mut newer).await, Some(FromEndpoint::Ready));
    stop.cancel();
    serving.await.unwrap();
}
