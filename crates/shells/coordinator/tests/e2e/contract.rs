//! The older coordinator's contract over real sockets: its shapes, its lists, and what it got wrong.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use warp_protocol::rest::AccountRole;

use crate::common::{answer, refused, start_with, text, zone};
use crate::hosts::{beat, beats, easy, ids, quick, register, registration, staff, volunteer};

/// Names that an object has to have.
#[track_caller]
fn has(object: &Value, names: &[&str]) {
    let object = object.as_object().expect("an object");
    for name in names {
        assert!(
            object.contains_key(*name),
            "{name} is missing in {object:?}"
        );
    }
}

/// A1, A2: the names of the contract, and addresses for those alone whom they concern.
#[tokio::test]
async fn a_host_is_shown_with_the_contracts_fields_and_its_address_to_few() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let alice = volunteer(client, "alice", "a").await;
    let names = [
        "id",
        "host_id",
        "player_id",
        "player_name",
        "cpu_cores",
        "cpu_frequency_mhz",
        "memory_mb",
        "network_speed_mbps",
        "latency_ms",
        "packet_loss_percent",
        "bandwidth_usage_mbps",
        "status",
        "max_players",
        "current_players",
        "max_zones",
        "current_zones",
        "quality_score",
        "last_heartbeat",
    ];
    has(&alice.grant, &names);
    assert_eq!(
        alice.grant["quality_score"],
        Value::Null,
        "unknown, not perfect"
    );
    let bob = client.player("bob").await;
    let gm = staff(&server, "gina", AccountRole::Gm).await;
    for (token, sees) in [(&alice.token, true), (&gm, true), (&bob, false)] {
        for path in ["hosts/a", "hosts/"] {
            let (_, mut seen) = client.get(path, token).await;
            if seen.is_array() {
                seen = seen[0].take();
            }
            has(&seen, &names);
            assert_eq!(seen["ip_address"] == "127.0.0.1", sees, "{path} {seen}");
            assert_eq!(seen["port"].is_number(), sees);
            assert!(
                seen.get("public_ip").is_none(),
                "loopback is no public address"
            );
        }
    }
    let (_, before) = client.get("hosts/a", &bob).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    beats(client, &alice.token, "a", beat(5.0)).await;
    let (_, after) = client.get("hosts/a", &bob).await;
    assert!(text(&after["last_heartbeat"]) > text(&before["last_heartbeat"]));
    assert_eq!(after["id"], before["id"]);
}

/// A6, and paging.
#[tokio::test]
async fn lists_come_in_pages_with_their_total() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let gm = staff(&server, "gina", AccountRole::Gm).await;
    for n in 0..5 {
        server
            .running
            .put_zone(&easy(&format!("zone-{n}")))
            .await
            .unwrap();
        let host = volunteer(client, &format!("owner{n}"), &format!("host-{n}")).await;
        beats(
            client,
            &host.token,
            &format!("host-{n}"),
            beat(f64::from(n) * 10.0),
        )
        .await;
    }
    let page = async |path: &str| {
        let request = client
            .request(Method::GET, &format!("/api/{path}"))
            .bearer_auth(&gm);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let total = response.headers()["x-total-count"]
            .to_str()
            .unwrap()
            .to_owned();
        let list: Vec<Value> = response.json().await.unwrap();
        (list, total)
    };
    for (path, key, total) in [("hosts", "host_id", "5"), ("zones", "zone_id", "6")] {
        let (all, count) = page(&format!("{path}/")).await;
        assert_eq!(count, total);
        let (first, count) = page(&format!("{path}?limit=2")).await;
        let (second, _) = page(&format!("{path}?limit=2&offset=2")).await;
        let (rest, _) = page(&format!("{path}/?offset=4")).await;
        assert_eq!(count, total, "of all, not of the page");
        let joined: Vec<_> = [first, second, rest].concat();
        assert_eq!(joined, all, "{path}");
        assert!(all.iter().all(|one| one[key].is_string()));
        assert_eq!(
            page(&format!("{path}?offset=100")).await,
            (vec![], total.to_owned())
        );
    }
    let (best_first, _) = page("hosts/").await;
    let order: Vec<_> = best_first
        .iter()
        .map(|host| text(&host["host_id"]))
        .collect();
    assert_eq!(order, ["host-0", "host-1", "host-2", "host-3", "host-4"]);
    let old = "hosts/?status_filter=ONLINE&min_quality_score=98";
    assert_eq!(ids(client, &gm, old).await, ["host-0", "host-1", "host-2"]);
    for list in [
        "hosts/",
        "zones/",
        "sessions/",
        "hosts/available/list",
        "zones/p2p/enabled",
        "sessions/host/a/active",
    ] {
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=x",
            "offset=-1",
            "offset=99999999999",
        ] {
            let answer = client.get(&format!("{list}?{wrong}"), &gm).await;
            refused(&answer, 422, "bad-request");
        }
    }
}

/// A7, A8, A34.
#[tokio::test]
async fn zones_are_made_changed_and_listed() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let root = staff(&server, "root", AccountRole::Admin).await;
    let gm = staff(&server, "gina", AccountRole::Gm).await;
    let put = async |token: &str, body: Value| {
        client
            .call(Method::POST, "zones/", Some(token), Some(body))
            .await
    };
    let create = |more: Value| {
        let mut body = json!({
            "zone_id": "izlude", "zone_name": "Izlude", "zone_display_name": "Izlude town",
            "map_name": "izlude", "game": serde_json::to_value(zone("x").game).unwrap(),
        });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    refused(&put(&gm, create(json!({}))).await, 403, "forbidden");
    let (status, made) = put(&root, create(json!({"p2p_priority": 10}))).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    has(
        &made,
        &[
            "id",
            "zone_id",
            "zone_name",
            "zone_display_name",
            "map_name",
            "max_players",
            "recommended_players",
            "p2p_enabled",
            "p2p_priority",
            "fallback_enabled",
            "min_host_quality_score",
            "min_bandwidth_mbps",
            "max_latency_ms",
            "description",
            "status",
            "total_sessions",
            "active_sessions",
            "total_players_served",
        ],
    );
    assert_eq!(
        (&made["status"], &made["max_players"]),
        (&json!("enabled"), &json!(100))
    );
    for wrong in [
        json!({"p2p_priority": 0}),
        json!({"p2p_priority": 11}),
        json!({"max_players": 0}),
        json!({"max_players": -1}),
        json!({"max_players": 99_999_999_999_u64}),
        json!({"zone_id": "A B"}),
        json!({"zone_name": ""}),
        json!({"zone_name": "x".repeat(65)}),
        json!({"zone_name": 5}),
        json!({"min_host_quality_score": 101}),
        json!({"fallback_zone": "izlude"}),
        json!({"colour": "red"}),
        json!({"zone_id": "new", "game": null}),
    ] {
        refused(&put(&root, create(wrong.clone())).await, 422, "bad-request");
    }
    let list = async |path: &str| {
        let (status, list) = client.get(path, &gm).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        let list = list.as_array().unwrap().clone();
        list.iter()
            .map(|zone| text(&zone["zone_id"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        list("zones/").await,
        ["izlude", "prontera"],
        "higher priority first"
    );
    // The status is as it was when a zone is put again, and so is what the contract does not know.
    let path = "zones/izlude/status?new_status=MAINTENANCE";
    let (status, _) = client.call(Method::PATCH, path, Some(&gm), None).await;
    assert_eq!(status, StatusCode::OK);
    let mut again = create(json!({"max_players": 7}));
    again.as_object_mut().unwrap().remove("game");
    let (status, zone) = put(&root, again).await;
    assert_eq!(status, StatusCode::CREATED, "{zone}");
    assert_eq!(
        (&zone["status"], &zone["max_players"]),
        (&json!("maintenance"), &json!(7))
    );
    assert_eq!(zone["game"], made["game"]);
    assert_eq!(list("zones/?status_filter=Maintenance").await, ["izlude"]);
    assert_eq!(list("zones/p2p/enabled").await, ["prontera"]);
    client
        .call(Method::POST, "zones/prontera/disable-p2p", Some(&gm), None)
        .await;
    assert_eq!(list("zones/?p2p_enabled=false").await, ["prontera"]);
    assert!(list("zones/p2p/enabled").await.is_empty());
    for wrong in ["zones/?p2p_enabled=perhaps", "zones/?status_filter=ajar"] {
        refused(&client.get(wrong, &gm).await, 422, "bad-request");
    }
}

#[tokio::test]
async fn the_numbers_of_hosts_and_signaling_are_those_of_the_scene() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    for (n, latency) in [(0, 0.0), (1, 250.0), (2, 300.0)] {
        let host = volunteer(client, &format!("owner{n}"), &format!("host-{n}")).await;
        beats(client, &host.token, &format!("host-{n}"), beat(latency)).await;
    }
    // One that says nothing of itself.
    let token = client.player("owner3").await;
    let body = registration(client, &token, 7, "host-3").await;
    assert_eq!(register(client, &token, body).await.0, StatusCode::CREATED);
    let bob = client.player("bob").await;
    let (_, stats) = client.get("monitoring/hosts/stats", &bob).await;
    assert_eq!(stats["total_online"], 4);
    let expected = json!({"excellent": 1, "good": 2, "fair": 0, "poor": 0, "unknown": 1});
    assert_eq!(stats["quality_distribution"], expected);
    let grant = client.granted(&bob, 1).await;
    let (_, before) = client.get("signaling/stats", &bob).await;
    let _socket = client.signaling(&grant, &bob).await;
    let (_, after) = client.get("signaling/stats", &bob).await;
    let count = |stats: &Value| stats["active_connections"].as_u64().unwrap();
    assert_eq!(count(&after), count(&before) + 1);
    // One room for each host, and bob's.
    assert_eq!(after["active_sessions"], 5);
}

/// A19: a token that is missing, forged or too old is refused on every route that wants one.
#[tokio::test]
async fn every_route_that_wants_a_token_refuses_to_go_without() {
    let server =
        start_with(|config| config.access_lifetime = std::time::Duration::from_secs(1)).await;
    let client = &server.client;
    let old = client.player("alice").await;
    let (_, document) = answer(client.request(Method::GET, "/openapi.json")).await;
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(wanted) = operation["security"][0].as_object() else {
                continue;
            };
            if !wanted.contains_key("access_token") {
                continue;
            }
            routes += 1;
            let path = path.replace(['{', '}'], "");
            let method: Method = method.to_uppercase().parse().unwrap();
            let ask = || client.request(method.clone(), &path).json(&json!({}));
            refused(&answer(ask()).await, 401, "not-signed-in");
            refused(
                &answer(ask().bearer_auth("a.b.c")).await,
                401,
                "token-expired",
            );
            refused(&answer(ask().bearer_auth(&old)).await, 401, "token-expired");
        }
    }
    assert!(routes > 35, "{routes}");
}
