//! Health, metrics, the dashboard and its events, and request ids.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use warp_coordinator::{EndpointMode, Rate};
use warp_protocol::{Secret, rest::AccountRole};

use crate::common::{
    Client, PATIENCE, answer, next, next_error, next_of, refused, send, send_text, start,
    start_with, text, within, zone,
};
use crate::hosts::{quick, staff, volunteer};

/// The value of a series, such as `warp_hosts{status="online"}`; 0 while it has none.
async fn figure(client: &Client, series: &str) -> f64 {
    value_in(&exposition(client).await, series)
}

fn value_in(exposition: &str, series: &str) -> f64 {
    exposition
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .find(|(name, _)| *name == series)
        .map_or(0.0, |(_, value)| value.parse().unwrap())
}

async fn exposition(client: &Client) -> String {
    let answer = client
        .request(Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let kind = answer.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    answer.text().await.unwrap()
}

/// Waits until a series has this value.
async fn becomes(client: &Client, series: &str, wanted: f64) {
    let start = Instant::now();
    loop {
        let is = figure(client, series).await;
        if is == wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{series} is {is}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_figures_move_when_players_do() {
    let server = start_with(|config| config.limits.signals = Rate::new(3, 1)).await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let client = &server.client;
    for series in [
        r#"warp_sockets{kind="signaling"}"#,
        r#"warp_sessions{zone="prontera"}"#,
        r#"warp_signals_relayed_total{kind="offer"}"#,
        r#"warp_joins_total{zone="prontera",result="ok"}"#,
    ] {
        assert_eq!(figure(client, series).await, 0.0, "{series}");
    }
    let token = client.player("anna").await;
    let grant = client.granted(&token, 1).await;
    let mut socket = client.signaling(&grant, &token).await;
    next_of(&mut socket, "session-joined").await;
    becomes(client, r#"warp_sockets{kind="signaling"}"#, 1.0).await;
    becomes(client, r#"warp_sessions{zone="prontera"}"#, 1.0).await;

    // Handed to the endpoint, which is a peer of the room.
    let offer = json!({"type": "offer", "to": "endpoint", "sdp": "v=0"});
    send(&mut socket, offer.clone()).await;
    becomes(client, r#"warp_signals_relayed_total{kind="offer"}"#, 1.0).await;
    send_text(&mut socket, "nonsense").await;
    assert_eq!(next_error(&mut socket).await, "bad-request");
    becomes(
        client,
        r#"warp_signals_refused_total{code="bad-request"}"#,
        1.0,
    )
    .await;
    for _ in 0..3 {
        send(&mut socket, offer.clone()).await;
    }
    while next(&mut socket).await["code"] != "too-many-requests" {}
    let all = exposition(client).await;
    let at_least = |series: &str, least: f64| {
        let is = value_in(&all, series);
        assert!(is >= least, "{series} is {is}\n{all}");
    };
    at_least(r#"warp_rate_limited_total{what="signal"}"#, 1.0);
    at_least(
        r#"warp_signal_messages_total{direction="in",kind="offer"}"#,
        1.0,
    );
    let bytes = offer.to_string().len() as f64;
    at_least(
        r#"warp_signal_bytes_total{direction="in",kind="offer"}"#,
        bytes,
    );
    at_least(
        r#"warp_signal_messages_total{direction="in",kind="invalid"}"#,
        1.0,
    );
    at_least(r#"warp_joins_total{zone="prontera",result="ok"}"#, 1.0);
    at_least(r#"warp_sign_ins_total{how="register",result="ok"}"#, 1.0);
    at_least(
        r#"warp_database_call_duration_seconds_count{result="ok"}"#,
        3.0,
    );
    let join = r#"route="/api/v1/zones/{zone_id}/join",method="POST",status="2xx""#;
    at_least(
        &format!("warp_request_duration_seconds_count{{{join}}}"),
        1.0,
    );
    at_least("process_resident_memory_bytes", 1_000_000.0);
    at_least("process_start_time_seconds", 1_700_000_000.0);
    assert!(all.contains("warp_build_info{version=\""), "{all}");
    assert!(all.ends_with("# EOF\n"));

    let path = format!("links/{}", text(&grant["session_id"]));
    let ended = client.call(Method::DELETE, &path, Some(&token), None).await;
    assert_eq!(ended.0, StatusCode::NO_CONTENT);
    becomes(client, r#"warp_sessions_ended_total{reason="left"}"#, 1.0).await;
    becomes(client, r#"warp_sessions{zone="prontera"}"#, 0.0).await;
    drop(socket);
    becomes(client, r#"warp_sockets{kind="signaling"}"#, 0.0).await;
}

#[tokio::test]
async fn a_message_between_players_is_counted_with_its_wait() {
    let server = start().await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let client = &server.client;
    let (anna, berta) = (client.player("anna").await, client.player("berta").await);
    let (of_anna, of_berta) = (
        client.granted(&anna, 1).await,
        client.granted(&berta, 2).await,
    );
    let path = format!("links/{}/guests", text(&of_anna["session_id"]));
    let guest = json!({"peer_id": of_berta["peer_id"]});
    let let_in = client.call(Method::POST, &path, Some(&anna), Some(guest));
    assert_eq!(let_in.await.0, StatusCode::NO_CONTENT);
    let mut a = client.signaling(&of_anna, &anna).await;
    let mut b = client.signaling(&of_berta, &berta).await;
    send(
        &mut b,
        json!({"type": "join", "session_id": of_anna["session_id"]}),
    )
    .await;
    next_of(&mut a, "peer-joined").await;
    let candidate = json!({"type": "ice-candidate", "to": of_anna["peer_id"], "candidate": "x"});
    send(&mut b, candidate).await;
    next_of(&mut a, "ice-candidate").await;
    let count = "warp_signal_relay_latency_seconds_count";
    becomes(client, count, 1.0).await;
    let relayed = r#"warp_signals_relayed_total{kind="ice-candidate"}"#;
    becomes(client, relayed, 1.0).await;
}

#[tokio::test]
async fn labels_cannot_be_made_up_by_clients() {
    let server = start().await;
    let client = &server.client;
    let token = client.player("anna").await;
    for n in 0..5 {
        let answer = client.join(&format!("made-up-{n}"), &token, 1).await;
        refused(&answer, 404, "unknown-zone");
        let path = format!("/api/v1/nowhere/{n}");
        let method = Method::from_bytes(format!("MADE{n}").as_bytes()).unwrap();
        let sent = client.request(method, &path).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::NOT_FOUND);
    }
    let all = exposition(client).await;
    assert!(!all.contains("made-up") && !all.contains("MADE"), "{all}");
    let joins = r#"warp_joins_total{zone="unknown",result="unknown-zone"}"#;
    assert_eq!(value_in(&all, joins), 5.0, "{all}");
    let nowhere =
        r#"warp_request_duration_seconds_count{route="none",method="other",status="4xx"}"#;
    assert_eq!(value_in(&all, nowhere), 5.0, "{all}");
}

#[tokio::test]
async fn metrics_want_a_token_unless_somebody_on_this_machine_asks() {
    let server = start_with(|config| {
        config.monitoring.token = Some(Secret::new("a token for the scraper"));
    })
    .await;
    let client = &server.client;
    for path in ["/metrics", "/api/v1/monitoring/metrics"] {
        // What came through a proxy is somebody else's request.
        let proxied = || {
            let request = client.request(Method::GET, path);
            request.header("x-forwarded-for", "192.0.2.1")
        };
        refused(&answer(proxied()).await, 401, "not-signed-in");
        let wrong = answer(proxied().bearer_auth("another token")).await;
        refused(&wrong, 401, "token-expired");
        let player = client.player(&format!("anna{}", path.len())).await;
        refused(
            &answer(proxied().bearer_auth(player)).await,
            403,
            "forbidden",
        );
        let gm = staff(&server, "gm", AccountRole::Gm).await;
        for token in ["a token for the scraper", &gm] {
            let sent = proxied().bearer_auth(token).send().await.unwrap();
            assert_eq!(sent.status(), StatusCode::OK);
        }
        let rebound = client
            .request(Method::GET, path)
            .header("host", "evil.example");
        refused(&answer(rebound).await, 401, "not-signed-in");
    }
}

#[tokio::test]
async fn the_old_names_stand_beside_the_new_ones() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let _host = volunteer(client, "harry", "pc").await;
    let token = client.player("anna").await;
    client.granted(&token, 1).await;
    let request = client.request(Method::GET, "/api/v1/monitoring/metrics");
    let all = request.send().await.unwrap().text().await.unwrap();
    for (name, value) in [
        ("p2p_hosts_total", 1.0),
        ("p2p_hosts_online", 1.0),
        ("p2p_zones_total", 1.0),
        ("p2p_zones_enabled", 1.0),
        ("p2p_sessions_total", 1.0),
        ("p2p_sessions_active", 0.0),
        ("p2p_coordinator_up", 1.0),
        (r#"warp_hosts{status="online"}"#, 1.0),
    ] {
        assert_eq!(value_in(&all, name), value, "{name}\n{all}");
    }
    assert!(value_in(&all, "p2p_host_quality_score_avg") > 0.0, "{all}");
}

#[tokio::test]
async fn the_dashboard_is_true_and_for_staff() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let token = client.player("anna").await;
    let asked = client
        .call(Method::GET, "monitoring/dashboard", None, None)
        .await;
    refused(&asked, 401, "not-signed-in");
    refused(
        &client.get("monitoring/dashboard", &token).await,
        403,
        "forbidden",
    );
    let gm = staff(&server, "gm", AccountRole::Gm).await;
    let host = volunteer(client, "harry", "pc").await;
    let _attached = host.attach(client).await;
    let grant = client.granted(&token, 1).await;
    let mut link = client.link(&grant, &token).await.unwrap();
    let other = client.player("berta").await;
    client.granted(&other, 2).await;
    let start = Instant::now();
    let now = loop {
        let (status, now) = client.get("monitoring/dashboard", &gm).await;
        assert_eq!(status, StatusCode::OK, "{now}");
        if now["sessions"]["active"] == 1 || start.elapsed() > PATIENCE {
            break now;
        }
    };
    assert_eq!(now["sessions"]["total"], 2, "{now}");
    assert_eq!(now["sessions"]["active"], 1, "{now}");
    assert_eq!(now["sessions"]["inactive"], 1);
    assert_eq!(now["hosts"]["total"], 1);
    assert_eq!(now["hosts"]["online"], 1);
    assert_eq!(
        now["zones"],
        json!({"total": 1, "enabled": 1, "disabled": 0, "maintenance": 0})
    );
    assert_eq!(now["sockets"]["link"], 1);
    assert_eq!(now["sockets"]["host-signaling"], 1);
    assert_eq!(
        now["system"],
        json!({"database": "healthy", "endpoint": "healthy"})
    );
    assert_eq!(now["zone_list"][0]["players"], 2);
    assert_eq!(now["failovers"]["total"], 0);
    link.close(None).await.unwrap();
}

#[tokio::test]
async fn a_host_that_goes_silent_is_a_failover_that_the_live_events_show() {
    let server = quick(|config| {
        config.hosts.limits.silent = Duration::from_millis(400);
        config.monitoring.open_on_loopback = true;
    })
    .await;
    let client = &server.client;
    let host = volunteer(client, "harry", "pc").await;
    let attached = host.attach(client).await;
    let token = client.player("anna").await;
    let grant = client.granted(&token, 1).await;
    let mut socket = client.signaling(&grant, &token).await;
    // It has the host.
    while next_of(&mut socket, "hosts").await["hosts"] == json!([]) {}
    let mut events = events(client).await;
    let now = next_event(&mut events).await;
    assert_eq!(now["figures"]["sessions"]["total"], 1, "{now}");
    let before = now["figures"]["failovers"]["total"].as_u64().unwrap();
    // It sends no heartbeat any more.
    let event = loop {
        let event = next_event(&mut events).await;
        let total = event["figures"]["failovers"]["total"].as_u64().unwrap();
        let happened = event["happened"].as_array().unwrap();
        if total > before && happened.iter().any(|one| one["kind"] == "failover") {
            break event;
        }
    };
    assert_eq!(event["history"].as_array().unwrap().len(), 1, "{event}");
    assert!(!event.to_string().contains(&text(&grant["session_id"])));
    drop(attached);
    let failed = r#"warp_failovers_total{reason="silent"}"#;
    assert!(figure(client, failed).await >= 1.0);
}

type Events = std::pin::Pin<Box<dyn futures_util::Stream<Item = Value> + Send>>;

/// What the stream of events brings, each as JSON.
async fn events(client: &Client) -> Events {
    let request = client.request(Method::GET, "/api/v1/monitoring/events");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Box::pin(futures_util::stream::unfold(
        (response, String::new()),
        move |(mut response, mut text)| async move {
            loop {
                if let Some((event, rest)) = text.split_once("\n\n") {
                    let data = event.strip_prefix("data: ").expect("data");
                    let value = serde_json::from_str(data).unwrap();
                    let rest = rest.to_owned();
                    return Some((value, (response, rest)));
                }
                let chunk = response.chunk().await.ok()??;
                text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        },
    ))
}

async fn next_event(events: &mut Events) -> Value {
    within(events.next()).await.expect("an event")
}

#[tokio::test]
async fn viewers_are_bounded_and_end_with_the_coordinator() {
    let server = start_with(|config| config.monitoring.open_on_loopback = true).await;
    let client = &server.client;
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(events(client).await);
    }
    becomes(client, "warp_dashboard_viewers", 64.0).await;
    let request = client.request(Method::GET, "/api/v1/monitoring/events");
    refused(&answer(request).await, 429, "too-many-requests");
    // Whoever goes makes room.
    drop(open.pop());
    becomes(client, "warp_dashboard_viewers", 63.0).await;
    open.push(events(client).await);
    server.running.shutdown().await;
    for events in &mut open {
        while within(events.next()).await.is_some() {}
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let server = start().await;
    let client = &server.client;
    let page = client
        .request(Method::GET, "/dashboard")
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
    let body = page.text().await.unwrap();
    for outside in [
        "src=\"http",
        "href=\"http",
        "@import",
        "url(",
        " style=\"",
        " onclick",
    ] {
        assert!(!body.contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn health_names_the_endpoint_that_is_away() {
    let server = start_with(|config| config.endpoint_mode = EndpointMode::Remote).await;
    let started = Instant::now();
    let (status, body) = answer(server.client.request(Method::GET, "/health")).await;
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert_eq!(
        body["checks"],
        json!({"database": "healthy", "endpoint": "down"})
    );
    assert_eq!(body["detail"], "endpoint: down");
    assert_eq!(body["code"], "coordinator-fault");
    // Launchers compare their clocks with it all the same.
    assert!(body["time_ms"].is_u64() && body["stun"].is_array());
}

#[tokio::test]
async fn requests_have_ids() {
    let server = start().await;
    let get = |id: Option<&str>| {
        let request = server.client.request(Method::GET, "/health");
        let request = match id {
            Some(id) => request.header("x-request-id", id),
            None => request,
        };
        async move {
            let response = request.send().await.unwrap();
            response.headers()["x-request-id"]
                .to_str()
                .unwrap()
                .to_owned()
        }
    };
    assert_eq!(get(Some("abc-1.2_3")).await, "abc-1.2_3");
    let made = get(None).await;
    assert_eq!(made.len(), 16);
    assert_ne!(made, get(None).await);
    for wrong in ["a b", "a\"b", &"x".repeat(65)] {
        let id = get(Some(wrong)).await;
        assert_ne!(id, wrong);
        assert_eq!(id.len(), 16);
    }
}
