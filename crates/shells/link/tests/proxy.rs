//! WebSocket carriers through a real HTTP proxy, over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "../../../../tests/src/proxy.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the tests of the whole, which use all of it"
)]
mod proxy;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proxy::{ConnectProxy, ProxyPlan, Seen};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use warp_link::proxy::{ProxyCredentials, ProxyPolicy};
use warp_link::tls::client_config_with_pem;
use warp_link::websocket::{ConnectError, WsTarget, carrier_over, connect};
use warp_link::{Carrier, CloseReason};
use warp_protocol::Secret;

/// "walter:p:w d" in base64.
const AUTHORIZATION: &str = "Basic d2FsdGVyOnA6dyBk";

/// An echo behind TLS, or behind plain TCP, for one carrier after another.
struct Echo {
    address: SocketAddr,
    pem: String,
}

impl Echo {
    async fn start(tls: bool) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
        let pem = made.cert.pem();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if tls {
                        if let Ok(tls) = acceptor.accept(tcp).await {
                            echo(tls).await;
                        }
                    } else {
                        echo(tcp).await;
                    }
                });
            }
        });
        Self { address, pem }
    }

    fn target(&self, scheme: &str, proxy: ProxyPolicy) -> WsTarget {
        WsTarget {
            url: format!("{scheme}://{}/link", self.address),
            bearer_token: Some(Secret::new("token-1")),
            tls: client_config_with_pem(Some(self.pem.as_bytes())).unwrap(),
            proxy,
            timeout: Duration::from_secs(10),
        }
    }
}

async fn echo<S>(stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else {
        return;
    };
    let Carrier { tx, mut rx } = carrier_over(socket, CancellationToken::new());
    while let Some(datagram) = rx.recv().await {
        tx.try_send(datagram).unwrap();
    }
}

fn start(plan: ProxyPlan) -> ConnectProxy {
    ConnectProxy::start(Ipv4Addr::LOCALHOST.into(), 0, plan)
}

fn through(proxy: &ConnectProxy) -> ProxyPolicy {
    ProxyPolicy::fixed(&format!("http://{}", proxy.address()), None).unwrap()
}

fn with_password(proxy: &ConnectProxy, password: &str) -> ProxyPolicy {
    let credentials = ProxyCredentials {
        user: "walter".into(),
        password: Secret::new(password),
    };
    ProxyPolicy::fixed(&format!("http://{}", proxy.address()), Some(&credentials)).unwrap()
}

async fn attempt(target: &WsTarget) -> Result<Carrier, ConnectError> {
    connect(target, CancellationToken::new()).await
}

fn seen(method: &str, target: SocketAddr, status: u16) -> Seen {
    Seen {
        method: method.into(),
        target: target.to_string(),
        status,
    }
}

async fn carries(carrier: &mut Carrier) {
    for number in 0..100_u8 {
        let datagram = Bytes::from(vec![number; 1000]);
        carrier.tx.try_send(datagram.clone()).unwrap();
        assert_eq!(carrier.rx.recv().await, Some(datagram));
    }
}

#[tokio::test]
async fn a_carrier_over_tls_goes_through_a_proxy_that_wants_a_password() {
    let echo = Echo::start(true).await;
    let proxy = start(ProxyPlan {
        authorization: Some(AUTHORIZATION),
        only: Some(vec![echo.address]),
    });
    let target = echo.target("wss", with_password(&proxy, "p:w d"));
    let mut carrier = attempt(&target).await.unwrap();
    carries(&mut carrier).await;
    assert_eq!(proxy.seen(), [seen("CONNECT", echo.address, 200)]);
    carrier.tx.close();
    assert_eq!(carrier.tx.closed().await, CloseReason::Local);
}

#[tokio::test]
async fn a_carrier_without_tls_goes_through_a_tunnel_too() {
    let echo = Echo::start(false).await;
    let proxy = start(ProxyPlan::default());
    let mut carrier = attempt(&echo.target("ws", through(&proxy))).await.unwrap();
    carries(&mut carrier).await;
    assert_eq!(proxy.seen(), [seen("CONNECT", echo.address, 200)]);
}

#[tokio::test]
async fn each_way_that_a_proxy_says_no_has_its_code() {
    let echo = Echo::start(true).await;
    let closed = start(ProxyPlan {
        authorization: Some(AUTHORIZATION),
        only: None,
    });
    let strict = start(ProxyPlan {
        authorization: None,
        only: Some(Vec::new()),
    });
    let open = start(ProxyPlan::default());
    let nobody = free_address().await;
    let absent = ProxyPolicy::fixed(&format!("http://{nobody}"), None).unwrap();
    for (what, proxy, code, transient) in [
        ("no password", through(&closed), "ws-proxy-password", false),
        (
            "a wrong one",
            with_password(&closed, "hunter2"),
            "ws-proxy-password",
            false,
        ),
        ("forbidden", through(&strict), "ws-proxy-forbidden", false),
        ("nobody there", absent, "ws-proxy-unreachable", true),
    ] {
        let error = attempt(&echo.target("wss", proxy)).await.expect_err(what);
        assert_eq!(
            (error.code(), error.is_transient()),
            (code, transient),
            "{error}"
        );
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("hunter2") && !text.contains("Basic"),
            "{text}"
        );
    }
    assert_eq!(
        closed.seen(),
        [
            seen("CONNECT", echo.address, 407),
            seen("CONNECT", echo.address, 407)
        ]
    );
    assert_eq!(strict.seen(), [seen("CONNECT", echo.address, 403)]);

    // The proxy is there, the server behind it is not.
    let mut target = echo.target("wss", through(&open));
    target.url = format!("wss://{nobody}/link");
    let error = attempt(&target).await.expect_err("nobody behind it");
    assert_eq!(
        (error.code(), error.is_transient()),
        ("ws-proxy-no-way", true)
    );

    // Behind the tunnel certificates are checked as ever.
    let other = Echo::start(true).await;
    let mut target = echo.target("wss", through(&open));
    target.url = format!("wss://{}/link", other.address);
    let error = attempt(&target).await.expect_err("another certificate");
    assert_eq!(error.code(), "ws-tls-untrusted");
}

#[tokio::test]
async fn what_is_no_proxy_is_told_from_one_that_is_silent() {
    let echo = Echo::start(true).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let policy = ProxyPolicy::fixed(&format!("http://{address}"), None).unwrap();
    let target = echo.target("wss", policy.clone());
    let (outcome, ()) = tokio::join!(attempt(&target), async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        assert!(tcp.read(&mut [0; 1024]).await.unwrap() > 0);
        tcp.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
    });
    assert_eq!(outcome.expect_err("mail").code(), "ws-proxy-protocol");

    let (outcome, ()) = tokio::join!(attempt(&target), async {
        let (tcp, _) = listener.accept().await.unwrap();
        drop(tcp);
    });
    assert_eq!(outcome.expect_err("hung up").code(), "ws-proxy-protocol");

    let mut target = echo.target("wss", policy);
    target.timeout = Duration::from_millis(200);
    let (outcome, held) = tokio::join!(attempt(&target), listener.accept());
    assert_eq!(outcome.expect_err("silence").code(), "ws-timeout");
    // The attempt has hung up.
    let mut rest = Vec::new();
    let (mut tcp, _) = held.unwrap();
    tcp.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"CONNECT "));
}

/// An address at which nobody listens.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}
