//! Who answers where the coordinator should be.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use warp_reach::Plan;
use warp_reach::core::report::{Reached, Report, ServerAnswer};
use warp_reach::core::{Advice, Item, lines};

/// An HTTP client that knows no certificate authority.
fn http() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = reqwest::Client::builder().no_proxy();
    builder.tls_backend_preconfigured(tls).build().unwrap()
}

/// Somebody who answers every request with what `body` makes, and where.
async fn somebody(body: impl Fn() -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            while let Ok(1..) = connection.read(&mut request).await {
                let body = body();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                if connection
                    .write_all((head + &body).as_bytes())
                    .await
                    .is_err()
                {
                    break;
                }
            }
        }
    });
    address
}

async fn look(address: SocketAddr) -> Report {
    warp_reach::look(Plan {
        ice_servers: Vec::new(),
        health_url: format!("http://user:hunter2@{address}/health"),
        http: http(),
        proxy: None,
        port_mapping: false,
    })
    .await
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

#[tokio::test]
async fn a_clock_an_hour_ahead_is_measured_and_its_stun_server_asked() {
    let stun = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("stun:{}", stun.local_addr().unwrap());
    let address = somebody(move || {
        let time = now_ms() - 3_600_000;
        format!(
            r#"{{"status":"healthy","service":"warp-coordinator","time_ms":{time},"stun":["{url}"]}}"#
        )
    })
    .await;
    let report = look(address).await;
    assert_eq!(report.coordinator.reached, Reached::Coordinator);
    assert!(!report.coordinator.url.contains("hunter2"), "{report:?}");
    let ahead = report.coordinator.clock_ahead_ms.unwrap();
    let within = i64::try_from(report.coordinator.clock_within_ms.unwrap()).unwrap();
    assert!(
        (ahead - 3_600_000).abs() <= within,
        "{ahead} within {within}"
    );
    let clock = lines(&report)
        .into_iter()
        .find(|line| line.item == Item::Clock);
    assert_eq!(clock.unwrap().advice, Some(Advice::SetClock));
    // The server that the coordinator named was asked; it is one that says nothing.
    assert_eq!(report.servers[0].answer, ServerAnswer::Silent);
    assert!(stun.try_recv_from(&mut [0; 64]).is_ok());
    assert_eq!(
        report.udp,
        Some(false),
        "the coordinator answers, and no STUN server does"
    );
}

#[tokio::test]
async fn a_sign_in_page_however_long_is_something_else() {
    for page in ["<html>sign in</html>".to_owned(), "x".repeat(100_000)] {
        let address = somebody(move || page.clone()).await;
        let report = look(address).await;
        assert_eq!(report.coordinator.reached, Reached::SomethingElse);
        assert_eq!(report.coordinator.clock_ahead_ms, None);
        assert_eq!(report.udp, None, "nobody was asked");
    }
}

#[tokio::test]
async fn a_certificate_that_proves_nothing_is_told_from_silence() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            // The client breaks it off.
            let _ = acceptor.accept(connection).await;
        }
    });
    let report = warp_reach::look(Plan {
        ice_servers: Vec::new(),
        health_url: format!("https://{address}/health"),
        http: http(),
        proxy: None,
        port_mapping: false,
    })
    .await;
    assert_eq!(report.coordinator.reached, Reached::Untrusted);
}
