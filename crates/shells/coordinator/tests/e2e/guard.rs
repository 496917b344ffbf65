//! Who is let in how often: rate limits, proxies, API keys, and what production refuses.

use std::process::Command;

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};
use warp_coordinator::{ApiKey, ApiKeysConfig, ApiScope, Rate};
use warp_protocol::{Secret, rest::AccountRole};

use crate::{
    common::{Client, answer, next, next_error, refused, send, start_with, text, zone},
    hosts::staff,
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn usual() -> Rate {
    Rate::new(100, 100)
}

fn number(response: &reqwest::Response, name: &str) -> u64 {
    let value = response.headers().get(name).expect(name);
    value.to_str().unwrap().parse().unwrap()
}

fn get(client: &Client, path: &str, token: Option<&str>) -> reqwest::RequestBuilder {
    let request = client.request(Method::GET, path);
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

#[tokio::test]
async fn the_101st_request_is_refused_and_another_class_of_route_is_not() {
    let server = start_with(|c| c.limits.requests = usual()).await;
    let client = &server.client;
    let token = client.player("alice").await;
    let first = get(client, "/api/v1/hosts/", Some(&token))
        .send()
        .await
        .unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(number(&first, "x-ratelimit-limit"), 100);
    assert_eq!(number(&first, "x-ratelimit-remaining"), 99);
    let mut passed = 1;
    let refused = loop {
        let path = format!("/api/v1/hosts/made-up-{passed}");
        let response = get(client, &path, Some(&token)).send().await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            break response;
        }
        passed += 1;
    };
    // One comes back in 0.6 s, so a slow machine may get a few more.
    assert!((100..150).contains(&passed), "{passed}");
    assert_eq!(number(&refused, "x-ratelimit-remaining"), 0);
    assert!((1..=2).contains(&number(&refused, "retry-after")));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let left = number(&refused, "x-ratelimit-reset") - now.unwrap().as_secs();
    assert!((50..=62).contains(&left), "{left}");
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "too-many-requests");
    assert!(text(&body["detail"]).contains("try again"));

    assert_eq!(client.get("zones", &token).await.0, StatusCode::OK);
    // What is for everybody is not limited.
    for _ in 0..110 {
        let health = get(client, "/health", None).send().await.unwrap();
        assert_eq!(health.status(), StatusCode::OK);
        assert!(health.headers().get("x-ratelimit-limit").is_none());
    }
}

#[tokio::test]
async fn players_of_one_cybercafe_do_not_lock_one_another_out() {
    let server = start_with(|c| c.limits.requests = usual()).await;
    let client = &server.client;
    let mut tokens = Vec::new();
    for n in 0..101 {
        let name = format!("guest{n}");
        let made = server
            .running
            .ensure_user(&name, Secret::new("sesame"), AccountRole::Player);
        made.await.unwrap();
        // Sign-ins without a token share the address's bucket of the class `auth`.
        let token = loop {
            let (status, body) = client.login(&name, "sesame").await;
            if status == StatusCode::OK {
                break text(&body["access_token"]);
            }
            assert_eq!(body["code"], "too-many-requests", "{body}");
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        };
        tokens.push(token);
    }
    for round in 0..3 {
        for (n, token) in tokens.iter().enumerate() {
            let (status, body) = client.get("hosts/", token).await;
            assert_eq!(status, StatusCode::OK, "round {round}, guest {n}: {body}");
        }
    }
    // One of them who floods is alone with it.
    let mut refusals = 0;
    for _ in 0..150 {
        refusals += u32::from(client.get("hosts/", &tokens[0]).await.0 != StatusCode::OK);
    }
    assert!(refusals > 10, "{refusals}");
    assert_eq!(client.get("hosts/", &tokens[1]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn signaling_messages_count_over_all_sockets_of_an_account() {
    let server = start_with(|c| c.limits.signals = Rate::new(1000, 1)).await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let client = &server.client;
    let (alice, bob) = (client.player("alice").await, client.player("bob").await);
    let grants = [
        client.granted(&alice, 1).await,
        client.granted(&alice, 2).await,
    ];
    let mut sockets = Vec::new();
    for grant in &grants {
        let mut socket = client.signaling(grant, &alice).await;
        assert_eq!(next(&mut socket).await["type"], "session-joined");
        sockets.push(socket);
    }
    // Each is answered, so that none waits in a buffer.
    for n in 0..1000 {
        send(&mut sockets[n % 2], json!({"type": "nonsense"})).await;
        assert_eq!(
            next_error(&mut sockets[n % 2]).await,
            "bad-request",
            "message {n}"
        );
    }
    for socket in &mut sockets {
        send(socket, json!({"type": "nonsense"})).await;
        assert_eq!(next_error(socket).await, "too-many-requests");
    }
    let grant = client.granted(&bob, 3).await;
    let mut socket = client.signaling(&grant, &bob).await;
    assert_eq!(next(&mut socket).await["type"], "session-joined");
    send(&mut socket, json!({"type": "nonsense"})).await;
    assert_eq!(next_error(&mut socket).await, "bad-request");
}

async fn from(client: &Client, header: &str, value: &str) -> StatusCode {
    let login = client.request(Method::POST, "/api/v1/auth/login");
    let body = json!({"username": "nobody", "password": "sesame"});
    let login = login.header(header, value).json(&body);
    login.send().await.unwrap().status()
}

#[tokio::test]
async fn a_spoofed_address_is_ignored_and_a_trusted_proxys_is_believed() {
    // Nobody is trusted: everything counts for the loopback.
    let server = start_with(|c| c.limits.address = Rate::new(2, 1)).await;
    let client = &server.client;
    for n in 0..2 {
        let status = from(client, "x-forwarded-for", &format!("198.51.100.{n}")).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    for (header, value) in [
        ("x-forwarded-for", "198.51.100.9"),
        ("forwarded", "for=198.51.100.9"),
        ("x-real-ip", "198.51.100.9"),
    ] {
        let status = from(client, header, value).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{header}");
    }

    let server = start_with(|c| {
        c.limits.address = Rate::new(2, 1);
        c.trusted_proxies = vec![
            "127.0.0.0/8".parse().unwrap(),
            "10.0.0.0/8".parse().unwrap(),
        ];
    })
    .await;
    let client = &server.client;
    for n in 0..6 {
        // What the client claims stands on the left, and the inner proxy on the right.
        let value = format!("203.0.113.{n}, 198.51.100.7, 10.0.0.5");
        let expected = if n < 2 { 401 } else { 429 };
        assert_eq!(
            from(client, "x-forwarded-for", &value).await,
            expected,
            "{n}"
        );
    }
    assert_eq!(from(client, "x-forwarded-for", "198.51.100.8").await, 401);
    // One IPv6 customer has a /64 and is one.
    for n in 0..4 {
        let value = format!("for=\"[2001:db8::{n}]:4711\"");
        let expected = if n < 2 { 401 } else { 429 };
        assert_eq!(from(client, "forwarded", &value).await, expected, "{n}");
    }
    assert_eq!(
        from(client, "forwarded", "for=\"[2001:db8:0:1::1]\"").await,
        401
    );
    // What an operator does from behind the proxy is entered under the address that it names.
    let admin = staff(&server, "boss", AccountRole::Admin).await;
    client.player("alice").await;
    let ban = client
        .request(Method::POST, "/api/v1/bans/")
        .bearer_auth(&admin);
    let ban = ban.header("x-forwarded-for", "198.51.100.77");
    let (status, body) = answer(ban.json(&json!({"account": "alice", "reason": "x"}))).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let (_, lines) = client.get("audit", &admin).await;
    assert_eq!(lines[0]["address"], "198.51.100.77");
}

fn with_keys(required: bool) -> ApiKeysConfig {
    let key = |name: &str, key: &str, scopes: &[ApiScope]| ApiKey {
        name: name.into(),
        key: Secret::new(key),
        file: None,
        scopes: scopes.to_vec(),
    };
    ApiKeysConfig {
        required,
        keys: vec![
            key("site", KEY, &[ApiScope::Client]),
            key(
                "shop",
                "fedcba9876543210fedcba9876543210",
                &[ApiScope::Tokens],
            ),
        ],
        ..ApiKeysConfig::default()
    }
}

#[tokio::test]
async fn with_keys_required_every_route_and_socket_wants_one_and_preflights_pass() {
    let server = start_with(|c| {
        c.api_keys = with_keys(true);
        c.cors_origins = vec!["https://play.example".into()];
    })
    .await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let client = &server.client;
    let body = json!({"username": "alice", "password": "sesame"});
    let register = || {
        client
            .request(Method::POST, "/api/v1/auth/register")
            .json(&body)
    };
    refused(&answer(register()).await, 401, "not-signed-in");
    let wrong = register().header("x-api-key", "wrong");
    refused(&answer(wrong).await, 401, "not-signed-in");
    // Good for something else.
    let other = register().header("x-api-key", "fedcba9876543210fedcba9876543210");
    refused(&answer(other).await, 401, "not-signed-in");
    // Not in the query, which ends up in logs.
    let path = format!("/api/v1/auth/register?x-api-key={KEY}&api_key={KEY}");
    let query = client.request(Method::POST, &path).json(&body);
    refused(&answer(query).await, 401, "not-signed-in");
    let (status, tokens) = answer(register().header("X-API-KEY", KEY)).await;
    assert_eq!(status, StatusCode::CREATED, "{tokens}");
    let token = text(&tokens["access_token"]);

    let health = get(client, "/health", None).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    let preflight = client
        .request(Method::OPTIONS, "/api/v1/zones/")
        .header(header::ORIGIN, "https://play.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET")
        .header(
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            "x-api-key,authorization",
        );
    let preflight = preflight.send().await.unwrap();
    assert!(preflight.status().is_success());
    let headers = preflight.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://play.example"
    );
    let allowed = headers["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.to_lowercase().contains("x-api-key"), "{allowed}");

    // A client whose every request shows the key, to get a session.
    let mut with_key = client.clone();
    let headers =
        header::HeaderMap::from_iter([("x-api-key".parse().unwrap(), KEY.parse().unwrap())]);
    let http = reqwest::Client::builder()
        .no_proxy()
        .default_headers(headers);
    with_key.http = http.build().unwrap();
    let grant = with_key.granted(&token, 1).await;
    let path = format!("signaling/ws?peer_id={}", text(&grant["peer_id"]));
    let (status, body) = client.socket(&path, Some(&token)).await.unwrap_err();
    assert_eq!((status, &body["code"]), (401, &json!("not-signed-in")));
    let url = format!("{}/api/v1/{path}", client.url.replacen("http", "ws", 1));
    let open = |name: &'static str, value: String| {
        let mut request = url.as_str().into_client_request().unwrap();
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        request.headers_mut().insert(name, value.parse().unwrap());
        tokio_tungstenite::connect_async(request)
    };
    open("x-api-key", KEY.into()).await.unwrap();
    let protocols = format!("warp, warp-api-key.{KEY}");
    let (_, response) = open("sec-websocket-protocol", protocols).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "warp");
    let protocols = "warp, warp-api-key.wrong".to_owned();
    let error = open("sec-websocket-protocol", protocols).await.unwrap_err();
    let tungstenite::Error::Http(response) = error else {
        panic!("{error}");
    };
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn tokens_of_the_older_contract_want_the_password_or_a_key_that_is_good_for_them() {
    let server = start_with(|c| c.api_keys = with_keys(false)).await;
    let client = &server.client;
    client.player("alice").await;
    staff(&server, "boss", AccountRole::Admin).await;
    let token = |body: Value| client.post("auth/token", body);
    let shop = "fedcba9876543210fedcba9876543210";

    let (status, tokens) = token(json!({"player_id": "alice", "password": "sesame"})).await;
    assert_eq!(
        (status, &tokens["token_type"]),
        (StatusCode::OK, &json!("Bearer"))
    );
    refused(
        &token(json!({"player_id": "alice", "password": "wrong!"})).await,
        401,
        "wrong-password",
    );
    refused(
        &token(json!({"player_id": "alice"})).await,
        401,
        "not-signed-in",
    );
    for key in ["", "wrong", KEY] {
        let body = json!({"player_id": "alice", "api_key": key});
        refused(&token(body).await, 401, "not-signed-in");
    }
    let body = json!({"player_id": "alice", "user_id": "7", "api_key": shop});
    let (status, tokens) = token(body).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    let access = text(&tokens["access_token"]);
    assert_eq!(client.get("zones", &access).await.0, StatusCode::OK);
    let again = json!({"refresh_token": tokens["refresh_token"]});
    assert_eq!(client.post("auth/refresh", again).await.0, StatusCode::OK);
    let in_header = client.request(Method::POST, "/api/v1/auth/token");
    let in_header = in_header
        .header("x-api-key", shop)
        .json(&json!({"player_id": "ALICE"}));
    assert_eq!(answer(in_header).await.0, StatusCode::OK);
    for (name, status, code) in [("nobody", 404, "not-found"), ("boss", 403, "forbidden")] {
        refused(
            &token(json!({"player_id": name, "api_key": shop})).await,
            status,
            code,
        );
    }
}

#[test]
fn production_refuses_weak_secrets_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.json");
    let key = dir.path().join("shop.key");
    let start = |json: Value, production: bool| {
        std::fs::write(&config, json.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_warp-coordinator"));
        command.args(["serve", "--config"]).arg(&config);
        command.arg("--data").arg(dir.path().join("data"));
        if production {
            command.env("WARP_ENV", "production");
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code(),
            text.lines().last().unwrap_or_default().to_owned(),
        )
    };
    std::fs::write(&key, "short-key\n").unwrap();
    let mut json = json!({
        "listen": "0.0.0.0:0",
        "api_keys": [{"name": "shop", "key_file": "shop.key"}],
        "turn": {"urls": ["turn:t.example:3478"], "shared_secret": "CHANGE_THIS"},
    });
    let (code, said) = start(json.clone(), true);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.starts_with("warp-coordinator: config-value: not fit for production: "),
        "{said}"
    );
    for named in [
        "`shop`",
        "shorter than 32",
        "turn.shared_secret",
        "listen 0.0.0.0:0",
    ] {
        assert!(said.contains(named), "{named}: {said}");
    }
    assert!(
        !said.contains("short-key") && !said.contains("CHANGE_THIS"),
        "{said}"
    );
    // The file says it as well as the environment.
    json["production"] = json!(true);
    assert_eq!(start(json, false).0, Some(1));
    // A key that cannot be read is an error of the file, wherever it is.
    let missing = json!({"api_keys": [{"name": "shop", "key_file": "none.key"}]});
    let (code, said) = start(missing, false);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("api_keys[0].key_file"), "{said}");
}

/// The certificate that a new connection is shown.
async fn shown(address: std::net::SocketAddr) -> Vec<u8> {
    use tokio_rustls::rustls;
    // Whom to trust is not the question here: what is shown is compared.
    #[derive(Debug)]
    struct Anyone;
    impl rustls::client::danger::ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            let provider = rustls::crypto::ring::default_provider();
            provider
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
    let config = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(Anyone))
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::from(address.ip());
    let stream = connector.connect(name, stream).await.unwrap();
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    certificates[0].to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_open_connections_live_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    crate::common::provider();
    let files = tempfile::tempdir().unwrap();
    let (cert, key) = (files.path().join("c.pem"), files.path().join("k.pem"));
    let make = || rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let put = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
    };
    let (first, second, third) = (make(), make(), make());
    put(&first);
    let tls = warp_coordinator::TlsFiles {
        cert: cert.clone(),
        key: key.clone(),
    };
    let server = start_with(|c| c.tls = Some(tls)).await;
    let address = server.running.addr;
    assert_eq!(shown(address).await, first.cert.der().to_vec());

    // A connection that stays: one request before the change, one behind it.
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    roots.add(first.cert.der().clone()).unwrap();
    let config = tokio_rustls::rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut open = connector
        .connect(address.ip().into(), stream)
        .await
        .unwrap();
    let mut ask = async || {
        let request = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
        open.write_all(request).await.unwrap();
        let mut answer = [0; 4096];
        let read = open.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{read}");
    };
    ask().await;

    put(&second);
    crate::hosts::until(|| async { shown(address).await == second.cert.der().to_vec() }).await;
    ask().await;

    // What cannot be used is not served, and does not end what is.
    std::fs::write(&cert, "half a certificate").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(shown(address).await, second.cert.der().to_vec());
    put(&third);
    // At SIGHUP at once, and not when it is looked next.
    let pid = std::process::id().to_string();
    let hup = Command::new("kill").args(["-HUP", &pid]).status();
    assert!(hup.unwrap().success());
    crate::hosts::until(|| async { shown(address).await == third.cert.der().to_vec() }).await;
    ask().await;
}
