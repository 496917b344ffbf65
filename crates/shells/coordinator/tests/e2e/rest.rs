use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use warp_coordinator::{Coordinator, Rate, Registration, TlsFiles};
use warp_protocol::{
    Secret,
    rest::{AccountRole, IceServer, SessionGrant, Tokens},
    zone::{ZoneStatus, ZoneView},
};

use crate::common::{
    Client, PATIENCE, answer, config, refused, start, start_with, text, within, zone,
};

#[tokio::test]
async fn accounts_are_made_once_and_entered_with_the_right_password_only() {
    let server = start().await;
    let client = &server.client;
    let tokens: Tokens = serde_json::from_value(client.register("Alice").await).unwrap();
    assert_eq!(tokens.token_type, "Bearer");
    assert_eq!(tokens.expires_in, 900);
    assert_eq!(tokens.account.name, "Alice");
    assert_eq!(tokens.account.role, AccountRole::Player);

    let again = json!({"username": "aLICE", "password": "other password"});
    refused(
        &client.post("auth/register", again).await,
        409,
        "name-taken",
    );
    let (status, body) = client.login("alice", "sesame").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["account"]["name"], "Alice");

    let wrong = client.login("alice", "sesamo").await;
    refused(&wrong, 401, "wrong-password");
    // Nobody learns which names exist.
    assert_eq!(client.login("bob", "sesame").await, wrong);
    assert_eq!(client.login("not a name", "sesame").await, wrong);
    assert_eq!(client.login("alice", &"x".repeat(129)).await, wrong);

    for (name, password, code) in [
        ("a b", "sesame", "bad-name"),
        ("", "sesame", "bad-name"),
        ("bob", "12345", "bad-password"),
        ("bob", &"x".repeat(129), "bad-password"),
    ] {
        let body = json!({"username": name, "password": password});
        refused(&client.post("auth/register", body).await, 422, code);
    }
}

#[tokio::test]
async fn every_refusal_is_an_error_body() {
    let server = start().await;
    let client = &server.client;
    let login = || client.request(Method::POST, "/api/v1/auth/login");
    let json_type = (header::CONTENT_TYPE, "application/json");
    for (request, status, code) in [
        (
            login().header(json_type.0, json_type.1).body("{"),
            400,
            "bad-request",
        ),
        (login().json(&json!([])), 422, "bad-request"),
        (login().json(&json!({"username": "a"})), 422, "bad-request"),
        (login().body("username=a"), 415, "bad-request"),
        (
            login().json(&json!({"username": "a", "password": "x".repeat(70_000)})),
            413,
            "bad-request",
        ),
        (client.request(Method::GET, "/nowhere"), 404, "not-found"),
        (
            client.request(Method::GET, "/api/v1/nowhere"),
            404,
            "not-found",
        ),
        (
            client.request(Method::PUT, "/api/v1/auth/login"),
            405,
            "bad-request",
        ),
        (
            client.request(Method::GET, "/api/v1/zones/"),
            401,
            "not-signed-in",
        ),
        (
            client
                .request(Method::GET, "/api/v1/zones/")
                .basic_auth("a", Some("b")),
            401,
            "not-signed-in",
        ),
        (
            client
                .request(Method::GET, "/api/v1/zones/")
                .bearer_auth("a.b.c"),
            401,
            "token-expired",
        ),
    ] {
        refused(&answer(request).await, status, code);
    }
    let token = client.player("alice").await;
    for path in [
        "signaling/ws?peer_id=x",
        "signaling/ws",
        "link/ws?session_id=x",
    ] {
        // Not an upgrade, or not enough of a query; whichever is found first.
        let (status, body) = client.get(path, &token).await;
        assert!(status.is_client_error(), "{path}");
        assert!(body["code"].is_string(), "{path}: {body}");
    }
    let (_, body) = answer(login().json(&json!({"username": 5, "password": "hunter22"}))).await;
    assert!(!body.to_string().contains("hunter22"), "{body}");
}

#[tokio::test]
async fn health_tells_everybody_the_time_and_the_open_stun_servers_alone() {
    let server = |url: &str, user: Option<&str>| IceServer {
        urls: vec![url.to_owned()],
        username: user.map(str::to_owned),
        credential: user.map(|_| Secret::new("hunter2")),
    };
    let server = start_with(|config| {
        config.ice_servers = vec![
            server("stun:open.example", None),
            server("turn:relay.example", Some("name")),
            server("stun:closed.example", Some("name")),
        ];
    })
    .await;
    let before = since_epoch_ms();
    let (status, health) = answer(server.client.request(Method::GET, "/health")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(health["stun"], json!(["stun:open.example"]));
    let time = health["time_ms"].as_u64().unwrap();
    assert!((before..=since_epoch_ms()).contains(&time), "{health}");
}

fn since_epoch_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap().as_millis()).unwrap()
}

#[tokio::test]
async fn the_service_names_itself_and_old_paths_work() {
    let server = start().await;
    let client = &server.client;
    let (status, about) = answer(client.request(Method::GET, "/")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(about["service"], "warp-coordinator");
    assert!(about["version"].is_string());
    let (status, health) = answer(client.request(Method::GET, "/health")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(health["store"], "connected");
    assert_eq!(health["stun"], json!([]));
    let token = client.player("alice").await;
    for path in ["/api/zones/", "/api/zones", "/api/v1/zones"] {
        let request = client.request(Method::GET, path).bearer_auth(&token);
        assert_eq!(answer(request).await, (StatusCode::OK, json!([])), "{path}");
    }
}

#[tokio::test]
async fn refresh_tokens_work_once_and_a_copy_ends_the_sign_in() {
    let server = start().await;
    let client = &server.client;
    let refresh = async |token: &str| {
        client
            .post("auth/refresh", json!({"refresh_token": token}))
            .await
    };
    let first = text(&client.register("alice").await["refresh_token"]);
    let (status, body) = refresh(&first).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let second = text(&body["refresh_token"]);
    assert_ne!(first, second);
    assert_eq!(
        client.get("zones/", &text(&body["access_token"])).await.0,
        StatusCode::OK
    );

    refused(&refresh(&first).await, 401, "token-expired");
    refused(&refresh(&second).await, 401, "token-expired");
    refused(&refresh("nonsense").await, 401, "token-expired");

    // Another sign-in is another family; signing out ends it.
    let (_, body) = client.login("alice", "sesame").await;
    let third = text(&body["refresh_token"]);
    let logout = json!({"refresh_token": third});
    let without = client.post("auth/logout", logout.clone()).await;
    refused(&without, 401, "not-signed-in");
    let token = text(&body["access_token"]);
    let (status, _) = client
        .call(Method::POST, "auth/logout", Some(&token), Some(logout))
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    refused(&refresh(&third).await, 401, "token-expired");

    // Everywhere ends the families of all machines, and nobody else's.
    let mut kept = Vec::new();
    for _ in 0..2 {
        let (_, body) = client.login("alice", "sesame").await;
        kept.push((text(&body["access_token"]), text(&body["refresh_token"])));
    }
    client.player("bob").await;
    let (_, bob) = client.login("bob", "sesame").await;
    let (status, _) = client
        .call(
            Method::POST,
            "auth/logout/everywhere",
            Some(&kept[0].0),
            None,
        )
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    for (_, token) in &kept {
        refused(&refresh(token).await, 401, "token-expired");
    }
    let (status, _) = refresh(&text(&bob["refresh_token"])).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn an_access_token_expires() {
    let server = start_with(|c| c.access_lifetime = Duration::from_secs(1)).await;
    let token = server.client.player("alice").await;
    within(async {
        loop {
            let answer = server.client.get("zones/", &token).await;
            if answer.0 != StatusCode::OK {
                return refused(&answer, 401, "token-expired");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn zones_are_listed_joined_and_left() {
    let server = start().await;
    let client = &server.client;
    let (alice, bob) = (client.player("alice").await, client.player("bob").await);
    let mut low = zone("aldebaran");
    low.p2p_priority = 1;
    server.running.put_zone(&low).await.unwrap();
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let mut bad = zone("geffen");
    bad.game.map.clear();
    assert!(server.running.put_zone(&bad).await.is_err());

    let (_, list) = client.get("zones/", &alice).await;
    let list: Vec<ZoneView> = serde_json::from_value(list).unwrap();
    let ids: Vec<_> = list.iter().map(|z| z.zone.zone_id.as_str()).collect();
    assert_eq!(ids, ["prontera", "aldebaran"], "by priority");
    assert_eq!(list[1].zone, low);
    assert_eq!(list[0].status, ZoneStatus::Enabled);

    refused(
        &client.get("zones/geffen", &alice).await,
        404,
        "unknown-zone",
    );
    refused(&client.join("geffen", &alice, 1).await, 404, "unknown-zone");
    let (status, body) = client
        .call(
            Method::POST,
            "zones/prontera/join",
            Some(&alice),
            Some(json!({"device_key": "00"})),
        )
        .await;
    refused(&(status, body), 422, "bad-request");

    let grant = client.granted(&alice, 1).await;
    let read: SessionGrant = serde_json::from_value(grant.clone()).unwrap();
    let hex = read.session_id.strip_prefix("session-").unwrap();
    assert!(hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    assert!(read.peer_id.starts_with("player-alice-"));
    assert_eq!(read.endpoint_peer_id, "endpoint");
    assert!(read.endpoint_key.starts_with("302a300506032b6570032100"));
    assert_eq!(read.zone.players, 1);

    let session = format!("links/{}", read.session_id);
    let end = async |token: &str| {
        client
            .call(Method::DELETE, &session, Some(token), None)
            .await
    };
    refused(&end(&bob).await, 404, "unknown-session");
    assert_eq!(end(&alice).await.0, StatusCode::NO_CONTENT);
    refused(&end(&alice).await, 404, "unknown-session");
    assert_eq!(client.get("zones/prontera", &alice).await.1["players"], 0);
}

#[tokio::test]
async fn the_zones_of_a_map_are_found() {
    let server = start().await;
    let client = &server.client;
    let alice = client.player("alice").await;
    let mut town = zone("town");
    town.maps = vec!["prontera".into(), "prt_in".into()];
    town.p2p_priority = 2;
    let mut field = zone("field");
    field.maps = Vec::new();
    field.map_name = "prt_in".into();
    field.p2p_priority = 9;
    for zone in [&town, &field] {
        server.running.put_zone(zone).await.unwrap();
    }
    for (map, found) in [
        ("prontera", &["town"][..]),
        ("prt_in", &["field", "town"]),
        ("geffen", &[]),
        ("PRONTERA", &[]),
    ] {
        let (status, list) = client.get(&format!("zones/?map={map}"), &alice).await;
        assert_eq!(status, StatusCode::OK);
        let list: Vec<ZoneView> = serde_json::from_value(list).unwrap();
        let ids: Vec<_> = list.iter().map(|z| z.zone.zone_id.as_str()).collect();
        assert_eq!(ids, found, "{map}");
    }
    for bad in ["", "a%20b", "0123456789012345678901234"] {
        let answer = client.get(&format!("zones/?map={bad}"), &alice).await;
        refused(&answer, 422, "bad-request");
    }
}

#[tokio::test]
async fn one_session_per_device_and_a_newer_one_wins() {
    let server = start().await;
    let client = &server.client;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let alice = client.player("alice").await;
    let older = client.granted(&alice, 1).await;
    let other_device = client.granted(&alice, 2).await;
    let newer = client.granted(&alice, 1).await;
    assert_eq!(newer["zone"]["players"], 2);
    for (grant, status) in [(&older, 404), (&other_device, 204), (&newer, 204)] {
        let path = format!("links/{}", text(&grant["session_id"]));
        let answer = client.call(Method::DELETE, &path, Some(&alice), None).await;
        assert_eq!(answer.0.as_u16(), status);
    }
}

#[tokio::test]
async fn status_role_and_population_decide_who_joins() {
    let server = start().await;
    let client = &server.client;
    server
        .running
        .ensure_user("gm", Secret::new("sesame"), AccountRole::Gm)
        .await
        .unwrap();
    let (_, body) = client.login("gm", "sesame").await;
    assert_eq!(body["account"]["role"], "gm");
    let gm = text(&body["access_token"]);
    let (alice, bob) = (client.player("alice").await, client.player("bob").await);
    let mut small = zone("prontera");
    small.max_players = 1;
    server.running.put_zone(&small).await.unwrap();
    assert_eq!(
        client.join("prontera", &alice, 1).await.0,
        StatusCode::CREATED
    );
    refused(&client.join("prontera", &bob, 2).await, 409, "zone-closed");
    // Whoever is in it comes back into it.
    assert_eq!(
        client.join("prontera", &alice, 1).await.0,
        StatusCode::CREATED
    );
    assert_eq!(client.join("prontera", &gm, 3).await.0, StatusCode::CREATED);

    for (status, player_joins) in [
        (ZoneStatus::Maintenance, false),
        (ZoneStatus::Enabled, true),
    ] {
        let zone = zone("geffen");
        let put = server.running.put_zone_with_status(&zone, status);
        put.await.unwrap();
        let joined = client.join("geffen", &bob, 2).await.0 == StatusCode::CREATED;
        assert_eq!(joined, player_joins, "{status:?}");
        assert_eq!(client.join("geffen", &gm, 3).await.0, StatusCode::CREATED);
        // A zone file that is put again does not open or close the zone.
        server.running.put_zone(&zone).await.unwrap();
        let (_, view) = client.get("zones/geffen", &bob).await;
        assert_eq!(view["status"], json!(status));
    }
}

#[tokio::test]
async fn a_password_that_is_changed_ends_older_sign_ins() {
    let server = start().await;
    let client = &server.client;
    let ensure = async |password: &str, role| {
        let done = server
            .running
            .ensure_user("op", Secret::new(password), role);
        done.await.unwrap();
    };
    ensure("sesame", AccountRole::Admin).await;
    let (_, body) = client.login("op", "sesame").await;
    let token = json!({"refresh_token": body["refresh_token"]});
    // The same again changes nothing.
    ensure("sesame", AccountRole::Admin).await;
    let (status, body) = client.post("auth/refresh", token).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    ensure("sesame2", AccountRole::Admin).await;
    let token = json!({"refresh_token": body["refresh_token"]});
    refused(
        &client.post("auth/refresh", token).await,
        401,
        "token-expired",
    );
    refused(&client.login("op", "sesame").await, 401, "wrong-password");
    assert_eq!(client.login("op", "sesame2").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_session_that_nothing_attaches_to_ends() {
    let server = start_with(|c| c.unused_session = Duration::from_millis(50)).await;
    let client = &server.client;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let alice = client.player("alice").await;
    let grant = client.granted(&alice, 1).await;
    within(async { while client.get("zones/prontera", &alice).await.1["players"] != 0 {} }).await;
    let path = format!("links/{}", text(&grant["session_id"]));
    let gone = client.call(Method::DELETE, &path, Some(&alice), None).await;
    refused(&gone, 404, "unknown-session");
}

#[tokio::test]
async fn closed_registration_and_rate_limits() {
    let server = start_with(|c| c.registration = Registration::Closed).await;
    let body = json!({"username": "alice", "password": "sesame"});
    let answer = server.client.post("auth/register", body.clone()).await;
    refused(&answer, 403, "forbidden");

    let server = start_with(|c| c.limits.account = Rate::new(2, 1)).await;
    let client = &server.client;
    for _ in 0..2 {
        refused(&client.login("alice", "guess").await, 401, "wrong-password");
    }
    // In whatever case the name is written; another account is not touched.
    refused(
        &client.login("ALICE", "guess").await,
        429,
        "too-many-requests",
    );
    refused(&client.login("bob", "guess").await, 401, "wrong-password");

    let server = start_with(|c| c.limits.address = Rate::new(2, 1)).await;
    let client = &server.client;
    client.register("alice").await;
    assert_eq!(client.login("alice", "sesame").await.0, StatusCode::OK);
    let response = client
        .request(Method::POST, "/api/v1/auth/login")
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_restart_keeps_accounts_zones_and_tokens() {
    let server = start().await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let tokens = server.client.register("alice").await;
    let access = text(&tokens["access_token"]);
    let key = server.client.granted(&access, 1).await["endpoint_key"].clone();
    let dir = server.dir;
    server.running.shutdown().await;

    let running = Coordinator::start(config(dir.path())).await.unwrap();
    let client = Client::new(&running.url);
    assert_eq!(client.login("alice", "sesame").await.0, StatusCode::OK);
    assert_eq!(
        client.get("zones/prontera", &access).await.0,
        StatusCode::OK
    );
    assert_eq!(client.granted(&access, 1).await["endpoint_key"], key);
    let body = json!({"refresh_token": tokens["refresh_token"]});
    let (status, body) = client.post("auth/refresh", body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

#[tokio::test]
async fn a_database_that_another_program_holds_is_a_fault_and_not_a_hang() {
    use sqlx::{Connection, SqliteConnection};
    // The file itself is looked at.
    let server = start_with(|config| config.database = None).await;
    let client = &server.client;
    let token = client.player("alice").await;
    let file = server.dir.path().join("coordinator.sqlite");
    let mut other = SqliteConnection::connect(file.to_str().unwrap())
        .await
        .unwrap();
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let login = within(client.login("alice", "sesame")).await;
    refused(&login, 503, "coordinator-fault");
    // Whoever only reads does not notice.
    assert_eq!(client.get("zones/", &token).await.0, StatusCode::OK);
    drop(held);
    other.close().await.unwrap();
    assert_eq!(client.login("alice", "sesame").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_who_write_at_once_are_all_answered_while_other_programs_write_too() {
    let server = start_with(|config| config.database = None).await;
    let client = &server.client;
    let token = client.player("alice").await;
    let mut writing = tokio::task::JoinSet::new();
    // Each is stored before it is handed out.
    for device in 0..400_u16 {
        let (client, token) = (client.clone(), token.clone());
        writing.spawn(async move {
            client
                .certify(&token, u8::try_from(device % 250).unwrap())
                .await
        });
    }
    let dir = server.dir.path().to_owned();
    let commands = tokio::task::spawn_blocking(move || {
        for on in ["off", "on", "off"] {
            let mut switch = std::process::Command::new(env!("CARGO_BIN_EXE_warp-coordinator"));
            let done = switch
                .args(["p2p", on, "--data"])
                .arg(&dir)
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
        }
    });
    while let Some(done) = writing.join_next().await {
        let (status, body) = done.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    commands.await.unwrap();
}

#[tokio::test]
async fn browsers_of_listed_origins_may_call() {
    let server = start_with(|c| c.cors_origins = vec!["https://play.example".into()]).await;
    for (origin, allowed) in [
        ("https://play.example", true),
        ("https://evil.example", false),
    ] {
        let response = server
            .client
            .request(Method::OPTIONS, "/api/v1/auth/login")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .send()
            .await
            .unwrap();
        let header = response.headers().get("access-control-allow-origin");
        assert_eq!(header.is_some_and(|h| h == origin), allowed, "{origin}");
    }
}

#[tokio::test]
async fn tls_serves_those_who_trust_the_certificate() {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (cert, key) = (files.path().join("c.pem"), files.path().join("k.pem"));
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let tls = TlsFiles {
        cert,
        key: key.clone(),
    };
    let server = start_with(|c| c.tls = Some(tls.clone())).await;
    assert!(server.running.url.starts_with("https://127.0.0.1:"));
    // Somebody who never says anything.
    let mut mute = tokio::net::TcpStream::connect(server.running.addr)
        .await
        .unwrap();
    let root = reqwest::Certificate::from_pem(certified.cert.pem().as_bytes()).unwrap();
    let trusting = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .build()
        .unwrap();
    let health = format!("{}/health", server.running.url);
    let response = trusting.get(&health).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let stranger = server.client.http.get(&health).timeout(PATIENCE).send();
    assert!(stranger.await.is_err(), "an unknown certificate is refused");
    let mut byte = [0];
    let closed = tokio::io::AsyncReadExt::read(&mut mute, &mut byte);
    assert_eq!(within(closed).await.unwrap(), 0);
    let metrics = format!("{}/metrics", server.running.url);
    let metrics = trusting.get(&metrics).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let counted = r#"warp_connections_cut_total{reason="handshake"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");

    let bad = TlsFiles {
        cert: key.clone(),
        key,
    };
    let mut config = config(files.path());
    config.tls = Some(bad);
    let refused = Coordinator::start(config).await;
    assert!(matches!(refused, Err(warp_coordinator::StartError::Tls(_))));
}

#[tokio::test]
async fn secrets_are_not_in_the_database() {
    // The file itself is looked at.
    let server = start_with(|config| config.database = None).await;
    let tokens = server.client.register("alice").await;
    let dir = server.dir;
    server.running.shutdown().await;
    #[cfg(unix)]
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
    }
    let database = std::fs::read(dir.path().join("coordinator.sqlite")).unwrap();
    let holds = |needle: &[u8]| database.windows(needle.len()).any(|w| w == needle);
    assert!(holds(b"alice") && holds(b"$argon2id$"));
    for secret in [
        &json!("sesame"),
        &tokens["refresh_token"],
        &tokens["access_token"],
    ] {
        let secret: &Value = secret;
        assert!(!holds(text(secret).as_bytes()));
    }
}
