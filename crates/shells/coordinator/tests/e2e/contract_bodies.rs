//! Whatever a client sends: a refusal with a code, never a fault, never a mute socket.

use std::sync::{Arc, OnceLock};

use futures_util::SinkExt;
use proptest::prelude::*;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;
use warp_protocol::rest::AccountRole;

use crate::common::{
    Client, Server, Socket, answer, next_error, next_of, refused, send, send_text, text,
};
use crate::hosts::{beat, beats, quick, staff, volunteer};

/// Every route with a body, and a body that is right in form.
fn bodies() -> Vec<(Method, &'static str, Value)> {
    let register = json!({
        "host_id": "x", "zones": ["prontera"], "cpu_cores": 4, "cpu_frequency_mhz": 3000,
        "memory_mb": 8192, "network_speed_mbps": 100, "max_players": 20,
        "device_key": crate::common::identity(1).key().to_string(), "certificate": "00",
    });
    let zone = json!({
        "zone_id": "z", "zone_name": "Z", "zone_display_name": "Z", "map_name": "z",
        "game": serde_json::to_value(crate::common::zone("x").game).unwrap(),
    });
    let key = register["device_key"].clone();
    vec![
        (
            Method::POST,
            "auth/register",
            json!({"username": "n", "password": "123456"}),
        ),
        (
            Method::POST,
            "auth/login",
            json!({"username": "n", "password": "123456"}),
        ),
        (Method::POST, "auth/refresh", json!({"refresh_token": "x"})),
        (Method::POST, "auth/logout", json!({"refresh_token": "x"})),
        (
            Method::POST,
            "devices/certificate",
            json!({"device_key": key, "time": 0, "proof": ""}),
        ),
        (Method::POST, "devices/revoke", json!({"account": "nobody"})),
        (Method::POST, "zones/", zone),
        (
            Method::POST,
            "zones/prontera/join",
            json!({"device_key": key}),
        ),
        (Method::POST, "fleet/p2p", json!({"enabled": true})),
        (Method::POST, "links/x/guests", json!({"peer_id": "x"})),
        (Method::POST, "hosts/register", register),
        (Method::POST, "hosts/a/heartbeat", beat(1.0)),
        (
            Method::POST,
            "sessions/",
            json!({"host_id": "a", "zone_id": "prontera"}),
        ),
        (
            Method::PATCH,
            "sessions/1/metrics",
            json!({"avg_latency_ms": 1.0}),
        ),
        (
            Method::POST,
            "sessions/1/players",
            json!({"player_id": "x"}),
        ),
    ]
}

/// Fields that may be left out.
const OPTIONAL: [&str; 5] = [
    "game",
    "avg_latency_ms",
    "latency_ms",
    "packet_loss_percent",
    "account",
];

#[tokio::test]
async fn each_field_of_each_body_is_checked() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let root = staff(&server, "root", AccountRole::Admin).await;
    let raw = async |method: &Method, path: &str, kind: &str, body: String| {
        let request = client.request(method.clone(), &format!("/api/v1/{path}"));
        let request = request
            .bearer_auth(&root)
            .header(header::CONTENT_TYPE, kind);
        answer(request.body(body)).await
    };
    const JSON: &str = "application/json";
    for (method, path, body) in bodies() {
        let send = async |body: Value| raw(&method, path, JSON, body.to_string()).await;
        refused(
            &raw(&method, path, JSON, "{".into()).await,
            400,
            "bad-request",
        );
        refused(
            &raw(&method, path, JSON, String::new()).await,
            400,
            "bad-request",
        );
        refused(
            &raw(&method, path, "text/plain", body.to_string()).await,
            415,
            "bad-request",
        );
        let huge = json!({"x": "y".repeat(70_000)}).to_string();
        refused(&raw(&method, path, JSON, huge).await, 413, "bad-request");
        for wrong in [json!([]), json!("x"), json!(7), Value::Null] {
            refused(&send(wrong).await, 422, "bad-request");
        }
        for (field, right) in body.as_object().unwrap() {
            let with = |value: Option<Value>| {
                let mut body = body.clone();
                let object = body.as_object_mut().unwrap();
                match value {
                    Some(value) => object.insert(field.clone(), value),
                    None => object.remove(field),
                };
                body
            };
            if !OPTIONAL.contains(&field.as_str()) {
                let (status, answer) = send(with(None)).await;
                assert_eq!(status, 422, "{path} without {field}: {answer}");
            }
            let other_type = if right.is_string() {
                json!(5)
            } else {
                json!("five")
            };
            let (status, answer) = send(with(Some(other_type))).await;
            assert_eq!(status, 422, "{path} with another {field}: {answer}");
            for strange in [
                json!("x".repeat(10_000)),
                json!(1e300),
                json!(-1),
                json!({}),
                json!("\u{0}' OR 1=1 --"),
            ] {
                let (status, answer) = send(with(Some(strange.clone()))).await;
                assert!(status.as_u16() < 500, "{path} {field} {strange}: {answer}");
                if status.is_client_error() {
                    assert!(answer["code"].is_string(), "{path}: {answer}");
                }
            }
        }
    }
}

#[tokio::test]
async fn unknown_ids_and_those_of_others_are_told_apart_from_nothing() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let alice = volunteer(client, "alice", "a").await;
    let bob = client.player("bob").await;
    let carol = client.player("carol").await;
    let grant = client.granted(&carol, 3).await;
    let link = format!("links/{}", text(&grant["session_id"]));
    for (method, path, body, status, code) in [
        (Method::GET, "hosts/nobody", None, 404, "not-found"),
        (Method::DELETE, "hosts/nobody", None, 404, "not-found"),
        (Method::POST, "hosts/nobody/drain", None, 404, "not-found"),
        (
            Method::POST,
            "hosts/nobody/heartbeat",
            Some(beat(1.0)),
            404,
            "not-found",
        ),
        (
            Method::POST,
            "hosts/a/heartbeat",
            Some(beat(1.0)),
            403,
            "host-not-yours",
        ),
        (Method::DELETE, "hosts/a", None, 403, "host-not-yours"),
        (Method::GET, "zones/nowhere", None, 404, "unknown-zone"),
        (
            Method::POST,
            "zones/prontera/enable-p2p",
            None,
            403,
            "forbidden",
        ),
        (
            Method::PATCH,
            "zones/prontera/status?new_status=disabled",
            None,
            403,
            "forbidden",
        ),
        (
            Method::PATCH,
            "zones/prontera/status",
            None,
            422,
            "bad-request",
        ),
        (
            Method::POST,
            "fleet/p2p",
            Some(json!({"enabled": false})),
            403,
            "forbidden",
        ),
        (
            Method::POST,
            "devices/revoke",
            Some(json!({"account": "alice"})),
            403,
            "forbidden",
        ),
        (Method::GET, "devices/refusals", None, 403, "forbidden"),
        (Method::DELETE, &link, None, 404, "unknown-session"),
        (Method::GET, "sessions/1", None, 404, "unknown-session"),
        (
            Method::GET,
            "sessions/session-0000000000000000",
            None,
            404,
            "unknown-session",
        ),
        (
            Method::GET,
            "sessions/99999999999999999999999",
            None,
            404,
            "unknown-session",
        ),
        (Method::GET, "sessions/%00", None, 400, "bad-request"),
        (Method::GET, "hosts/%ff", None, 400, "bad-request"),
        (
            Method::POST,
            "sessions/1/activate",
            None,
            404,
            "unknown-session",
        ),
        (Method::POST, "sessions/1/end", None, 404, "unknown-session"),
        (
            Method::DELETE,
            "sessions/1/players/bob",
            None,
            404,
            "unknown-session",
        ),
        (
            Method::POST,
            "sessions/1/players",
            Some(json!({"player_id": "bob"})),
            404,
            "unknown-session",
        ),
        (
            Method::PATCH,
            "sessions/1/metrics",
            Some(json!({})),
            404,
            "unknown-session",
        ),
    ] {
        let answer = client.call(method.clone(), path, Some(&bob), body).await;
        assert_eq!(
            (answer.0.as_u16(), &answer.1["code"]),
            (status, &json!(code)),
            "{method} {path}: {}",
            answer.1
        );
    }
    let (status, _) = client.get("hosts/a", &alice.token).await;
    assert_eq!(status, StatusCode::OK, "nothing has happened to it");
}

/// A socket in its session's room.
async fn in_room(client: &Client, name: &str) -> (Socket, Value) {
    let token = client.player(name).await;
    let grant = client.granted(&token, 1).await;
    let mut socket = client.signaling(&grant, &token).await;
    next_of(&mut socket, "session-joined").await;
    (socket, grant)
}

/// Each message of the contract, wrong in each way, is answered; the socket lives on.
#[tokio::test]
async fn every_signaling_message_is_checked_and_none_silences_the_socket() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let (mut socket, grant) = in_room(client, "bob").await;
    let (_, others) = in_room(client, "carol").await;
    let peer = text(&others["peer_id"]);
    for (frame, code) in [
        (json!({"type": "join"}), "bad-request"),
        (json!({"type": "join", "session_id": 7}), "bad-request"),
        (json!({"type": "join", "session_id": {}}), "bad-request"),
        (
            json!({"type": "join", "session_id": others["session_id"]}),
            "unknown-session",
        ),
        (json!({"type": "offer", "sdp": "x"}), "bad-request"),
        (json!({"type": "offer", "to": peer}), "bad-request"),
        (
            json!({"type": "offer", "to": peer, "sdp": ""}),
            "bad-request",
        ),
        (json!({"type": "offer", "to": 5, "sdp": "x"}), "bad-request"),
        // Somebody of another session, and nobody.
        (
            json!({"type": "offer", "to": peer, "sdp": "x"}),
            "peer-unreachable",
        ),
        (
            json!({"type": "answer", "to": peer, "sdp": "x"}),
            "peer-unreachable",
        ),
        (
            json!({"type": "ice-candidate", "to": peer, "candidate": ""}),
            "peer-unreachable",
        ),
        (
            json!({"type": "offer", "to": "nobody", "sdp": "x"}),
            "peer-unreachable",
        ),
        (json!({"type": "answer", "to": "endpoint"}), "bad-request"),
        (
            json!({"type": "ice-candidate", "to": "endpoint"}),
            "bad-request",
        ),
        (
            json!({"type": "host-report", "host_id": "a"}),
            "bad-request",
        ),
        (
            json!({"type": "host-report", "host_id": "a", "epoch": -1, "verdict": "good"}),
            "bad-request",
        ),
        (
            json!({"type": "host-report", "host_id": "a", "epoch": 1, "verdict": "fine"}),
            "bad-request",
        ),
        (
            json!({"type": "member-report", "peer_id": "x", "verdict": "flooding", "dropped": 1}),
            "bad-request",
        ),
        (json!({"type": "dance"}), "bad-request"),
        (json!({"type": null}), "bad-request"),
        (json!({}), "bad-request"),
        (json!([]), "bad-request"),
        (json!(7), "bad-request"),
        (json!(null), "bad-request"),
    ] {
        send(&mut socket, frame.clone()).await;
        assert_eq!(next_error(&mut socket).await, code, "{frame}");
    }
    for text in ["", "{", "\u{0}", "{\"type\":\"join\",\"session_id\":1e999}"] {
        send_text(&mut socket, text).await;
        assert_eq!(next_error(&mut socket).await, "bad-request", "{text}");
    }
    socket.send(Message::binary(vec![0; 10])).await.unwrap();
    assert_eq!(next_error(&mut socket).await, "bad-request");
    // It still does what it should.
    send(&mut socket, json!({"type": "leave"})).await;
    next_of(&mut socket, "session-left").await;
    send(&mut socket, json!({"type": "leave"})).await;
    assert!(
        !next_error(&mut socket).await.is_empty(),
        "answered, not ignored"
    );
    send(
        &mut socket,
        json!({"type": "join", "session_id": grant["session_id"]}),
    )
    .await;
    next_of(&mut socket, "session-joined").await;
}

/// One coordinator for all cases of the property tests.
struct Shared {
    runtime: Runtime,
    server: Server,
    token: String,
    bob: String,
    grant: Value,
}

fn shared() -> Arc<Shared> {
    static SHARED: OnceLock<Arc<Shared>> = OnceLock::new();
    let make = || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (server, token, bob, grant) = runtime.block_on(async {
            let server = quick(|_| {}).await;
            let token = staff(&server, "root", AccountRole::Admin).await;
            let host = volunteer(&server.client, "alice", "a").await;
            beats(&server.client, &host.token, "a", beat(1.0)).await;
            let bob = server.client.player("bob").await;
            let grant = server.client.granted(&bob, 1).await;
            (server, token, bob, grant)
        });
        Arc::new(Shared {
            runtime,
            server,
            token,
            bob,
            grant,
        })
    };
    Arc::clone(SHARED.get_or_init(make))
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        ".{0,40}".prop_map(Value::from),
        prop::sample::select(vec![
            "a",
            "prontera",
            "endpoint",
            "bob",
            "good",
            "'; DROP TABLE zones; --",
            "\u{0}",
            "../.."
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// A right body with some fields replaced by anything, or anything at all.
    #[test]
    fn no_body_makes_a_fault(which in 0..15_usize, anything in any_json(), fields in prop::collection::vec((0..12_usize, any_json()), 0..3)) {
        let shared = shared();
        let (method, path, mut body) = bodies().swap_remove(which);
        if fields.is_empty() {
            body = anything;
        } else if let Some(object) = body.as_object_mut() {
            let names: Vec<String> = object.keys().cloned().collect();
            for (n, value) in fields {
                object.insert(names[n % names.len()].clone(), value);
            }
        }
        let call = shared.server.client.call(method, path, Some(&shared.token), Some(body.clone()));
        let (status, answer) = shared.runtime.block_on(call);
        prop_assert!(status.as_u16() < 500, "{path} {body}: {status} {answer}");
        prop_assert!(status.is_success() || answer["code"].is_string(), "{path} {body}: {answer}");
    }

    /// Whatever text comes, the next message is heard.
    #[test]
    fn no_frame_silences_a_socket(frames in prop::collection::vec((0..8_usize, any_json(), ".{0,60}"), 1..6)) {
        let shared = shared();
        let kinds = ["join", "leave", "offer", "answer", "ice-candidate", "host-report", "member-report"];
        shared.runtime.block_on(async {
            let client = &shared.server.client;
            let mut socket = client.signaling(&shared.grant, &shared.bob).await;
            for (kind, anything, raw) in frames {
                let frame = match kinds.get(kind) {
                    Some(kind) => json!({"type": kind, "to": anything, "sdp": anything, "candidate": anything, "session_id": anything, "host_id": "a", "epoch": anything, "verdict": anything}).to_string(),
                    None => raw,
                };
                send_text(&mut socket, &frame).await;
            }
            send(&mut socket, json!({"type": "nonsense-at-the-end"})).await;
            loop {
                let error = next_of(&mut socket, "error").await;
                if text(&error["message"]).contains("nonsense-at-the-end") {
                    break;
                }
            }
        });
    }
}
