//! The WebSocket carrier against real servers on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test program")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_util::sync::CancellationToken;
use warp_link::proxy::ProxyPolicy;
use warp_link::tls::client_config_with_pem;
use warp_link::websocket::{ConnectError, WsTarget, carrier_over, connect, ws_url};
use warp_link::{Carrier, CloseReason, MAX_DATAGRAM};
use warp_protocol::Secret;

/// A certificate authority of our own and a server certificate signed by it.
struct Authority {
    pem: String,
    acceptor: TlsAcceptor,
}

fn authority(name: &str, server_name: &str) -> Authority {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, name);
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![server_name.to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
    Authority {
        pem,
        acceptor: TlsAcceptor::from(Arc::new(config)),
    }
}

fn target(url: String, ca: Option<&str>) -> WsTarget {
    // Without system certificates a CA is needed even where no TLS is spoken.
    let spare = authority("spare", "spare.example").pem;
    WsTarget {
        url,
        bearer_token: Some(Secret::new("token-1")),
        tls: client_config_with_pem(Some(ca.unwrap_or(&spare).as_bytes())).unwrap(),
        proxy: ProxyPolicy::none(),
        timeout: Duration::from_secs(10),
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server that turns its one connection into a carrier, and says which token it was shown.
async fn serve(listener: TcpListener) -> (Carrier, String) {
    let (tcp, _) = listener.accept().await.unwrap();
    let mut shown = String::new();
    // The signature of the callback, with its large error, is the library's.
    #[allow(clippy::result_large_err)]
    let look = |request: &Request, response: Response| {
        shown = request.headers()["authorization"]
            .to_str()
            .unwrap()
            .to_owned();
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(tcp, look)
        .await
        .unwrap();
    (carrier_over(socket, CancellationToken::new()), shown)
}

async fn pair() -> (Carrier, Carrier, String) {
    let (listener, address) = listen().await;
    let url = ws_url(&format!("http://{address}/"), "/v1/carrier").unwrap();
    let target = target(url, None);
    let (client, (server, shown)) =
        tokio::join!(connect(&target, CancellationToken::new()), serve(listener));
    (client.unwrap(), server, shown)
}

fn datagram(number: u32) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(4 + number as usize * 7 % 1200, number as u8);
    Bytes::from(bytes)
}

#[tokio::test]
async fn datagrams_go_both_ways_in_order_and_the_token_is_shown() {
    let (mut client, mut server, shown) = pair().await;
    assert_eq!(shown, "Bearer token-1");
    for number in 0..100 {
        client.tx.try_send(datagram(number)).unwrap();
        server.tx.try_send(datagram(number)).unwrap();
    }
    for number in 0..100 {
        assert_eq!(client.rx.recv().await.unwrap(), datagram(number));
        assert_eq!(server.rx.recv().await.unwrap(), datagram(number));
    }
    let longest = Bytes::from(vec![1; MAX_DATAGRAM]);
    client.tx.try_send(longest.clone()).unwrap();
    assert_eq!(server.rx.recv().await.unwrap(), longest);
    assert_eq!(client.tx.stats().sent, 101);
    assert_eq!(server.tx.stats().received, 101);
}

#[tokio::test]
async fn each_side_hears_that_the_other_closed() {
    let (mut client, mut server, _) = pair().await;
    server.tx.close();
    assert_eq!(client.rx.recv().await, None);
    assert_eq!(client.tx.closed().await, CloseReason::Remote);
    assert_eq!(server.rx.recv().await, None);
    assert_eq!(server.rx.closed().await, CloseReason::Local);

    let (client, server, _) = pair().await;
    drop(client);
    assert_eq!(server.rx.closed().await, CloseReason::Remote);
}

/// A client carrier and the raw WebSocket of the server.
async fn client_and_raw_server() -> (Carrier, tokio_tungstenite::WebSocketStream<TcpStream>) {
    let (listener, address) = listen().await;
    let target = target(format!("ws://{address}/"), None);
    let (client, server) = tokio::join!(connect(&target, CancellationToken::new()), async {
        let (tcp, _) = listener.accept().await.unwrap();
        tokio_tungstenite::accept_async(tcp).await.unwrap()
    });
    (client.unwrap(), server)
}

#[tokio::test]
async fn what_is_no_datagram_is_counted_and_what_breaks_the_limit_ends_it() {
    let (mut client, mut server) = client_and_raw_server().await;
    for message in [
        Message::text("hello"),
        Message::Ping(Bytes::from_static(b"?")),
        Message::binary(vec![0; MAX_DATAGRAM + 1]),
        Message::binary("good"),
    ] {
        server.send(message).await.unwrap();
    }
    assert_eq!(client.rx.recv().await.as_deref(), Some(&b"good"[..]));
    assert_eq!(client.tx.stats().ignored, 3);
    // The ping was answered.
    client.tx.try_send(Bytes::from_static(b"up")).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.push(server.next().await.unwrap().unwrap());
    }
    assert!(seen.contains(&Message::Pong(Bytes::from_static(b"?"))));
    assert!(seen.contains(&Message::binary("up")));

    // Refused in the middle: whether all of it could be written does not matter.
    let _ = server.send(Message::binary(vec![0; 65 * 1024])).await;
    assert_eq!(client.rx.recv().await, None);
    assert_eq!(client.rx.closed().await, CloseReason::Violation);
}

#[tokio::test]
async fn a_cut_connection_is_told_from_a_farewell() {
    let (mut client, server) = client_and_raw_server().await;
    drop(server);
    assert_eq!(client.rx.recv().await, None);
    assert_eq!(client.rx.closed().await, CloseReason::Broken);
}

#[tokio::test]
async fn a_server_that_does_not_read_fills_the_queue_and_nobody_waits() {
    let (client, server) = client_and_raw_server().await;
    let datagram = Bytes::from(vec![0; 1200]);
    // The kernel's buffers take some megabytes first.
    while client.tx.stats().dropped_full == 0 {
        for _ in 0..64 {
            let _ = client.tx.try_send(datagram.clone());
        }
        tokio::task::yield_now().await;
    }
    assert!(client.tx.queued_bytes() <= warp_link::QUEUE_BYTES);
    client.tx.close();
    assert_eq!(client.tx.closed().await, CloseReason::Local);
    drop(server);
}

async fn connect_over_tls(server: &Authority, ca: &str, host: &str) -> Result<Bytes, ConnectError> {
    let (listener, address) = listen().await;
    let url = format!("wss://{host}:{}/c", address.port());
    let acceptor = server.acceptor.clone();
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(tls) = acceptor.accept(tcp).await else {
            return;
        };
        let socket = tokio_tungstenite::accept_async(tls).await.unwrap();
        let carrier = carrier_over(socket, CancellationToken::new());
        carrier.tx.try_send(Bytes::from_static(b"welcome")).unwrap();
        carrier.rx.closed().await;
    });
    let target = target(url, Some(ca));
    let outcome = match connect(&target, CancellationToken::new()).await {
        Ok(mut carrier) => Ok(carrier.rx.recv().await.unwrap()),
        Err(error) => Err(error),
    };
    server.await.unwrap();
    outcome
}

#[tokio::test]
async fn tls_takes_the_operators_authority_and_no_other() {
    let ours = authority("ours", "localhost");
    let theirs = authority("theirs", "localhost");
    let welcome = connect_over_tls(&ours, &ours.pem, "localhost")
        .await
        .unwrap();
    assert_eq!(welcome, Bytes::from_static(b"welcome"));

    let error = connect_over_tls(&ours, &theirs.pem, "localhost")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "ws-tls-untrusted");
    assert!(!error.is_transient());

    let error = connect_over_tls(&ours, &ours.pem, "127.0.0.1")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "ws-tls-wrong-name");
}

/// The error when the server answers with `answer` and hangs up.
async fn error_after(answer: &'static [u8]) -> ConnectError {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(tcp.read_u8().await.unwrap());
        }
        tcp.write_all(answer).await.unwrap();
    });
    let target = target(format!("ws://{address}/c"), None);
    let error = connect(&target, CancellationToken::new())
        .await
        .expect_err("no WebSocket was opened");
    server.await.unwrap();
    error
}

#[tokio::test]
async fn each_stage_has_its_own_error() {
    for (answer, code, sign_in) in [
        (
            &b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"[..],
            "ws-unauthorized",
            true,
        ),
        (
            b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            "ws-forbidden",
            false,
        ),
        (
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "ws-not-found",
            false,
        ),
        (
            b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n",
            "ws-server-error",
            false,
        ),
        (
            b"HTTP/1.1 301 Moved\r\nlocation: /x\r\n\r\n",
            "ws-http-status",
            false,
        ),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "ws-protocol", false),
        (b"", "ws-protocol", false),
    ] {
        let error = error_after(answer).await;
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(error.needs_sign_in(), sign_in, "{error}");
    }

    let stop = CancellationToken::new;
    let (listener, address) = listen().await;
    drop(listener);
    let url = format!("ws://{address}/c");
    let error = connect(&target(url, None), stop()).await.unwrap_err();
    assert_eq!(error.code(), "ws-refused");
    assert!(error.is_transient());

    // RFC 6761 reserves the name, so that it is never found.
    let url = "ws://nobody.invalid/c".to_owned();
    let error = connect(&target(url, None), stop()).await.unwrap_err();
    assert_eq!(error.code(), "ws-dns");

    // Accepts, and says nothing.
    let (_listener, address) = self::listen().await;
    let mut silent = target(format!("ws://{address}/c"), None);
    silent.timeout = Duration::from_millis(50);
    let error = connect(&silent, stop()).await.unwrap_err();
    assert_eq!(error.code(), "ws-timeout");

    let mut bad = target(format!("ws://{address}/c"), None);
    bad.bearer_token = Some(Secret::new("line\nbreak"));
    let error = connect(&bad, stop()).await.unwrap_err();
    assert_eq!(error.code(), "ws-bad-token");
    assert!(!format!("{error} {error:?}").contains("break"));
}

#[tokio::test]
async fn a_stop_ends_the_carrier() {
    let (listener, address) = listen().await;
    let target = target(format!("ws://{address}/"), None);
    let stop = CancellationToken::new();
    let (client, (server, _)) = tokio::join!(connect(&target, stop.clone()), serve(listener));
    stop.cancel();
    assert_eq!(client.unwrap().tx.closed().await, CloseReason::Local);
    assert_eq!(server.tx.closed().await, CloseReason::Remote);
}
