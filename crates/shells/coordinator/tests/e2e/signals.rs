//! What the coordinator tells of its own accord: the end of a session, and what staff says.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use warp_protocol::rest::AccountRole;

use crate::common::{Client, Server, close_code, next_of, refused, start, start_with, text, zone};
use crate::hosts::staff;

async fn server() -> Server {
    let server = start().await;
    for id in ["prontera", "geffen"] {
        server.running.put_zone(&zone(id)).await.unwrap();
    }
    server
}

async fn notify(client: &Client, token: &str, body: Value) -> (StatusCode, Value) {
    client
        .call(Method::POST, "notices", Some(token), Some(body))
        .await
}

#[tokio::test]
async fn a_session_that_ends_says_why_before_its_link_closes() {
    let server = server().await;
    let client = &server.client;
    let token = client.player("anna").await;
    let grant = client.granted(&token, 1).await;
    let mut signaling = client.signaling(&grant, &token).await;
    next_of(&mut signaling, "session-joined").await;
    let mut link = client.link(&grant, &token).await.unwrap();

    let newer = client.granted(&token, 1).await;
    let ended = next_of(&mut signaling, "session-ended").await;
    assert_eq!(ended["reason"], "replaced");
    assert_eq!(ended["code"], "unknown-session");
    next_of(&mut signaling, "session-left").await;
    assert_eq!(close_code(&mut link).await, 4003);

    let mut signaling = client.signaling(&newer, &token).await;
    next_of(&mut signaling, "session-joined").await;
    let path = format!("links/{}", text(&newer["session_id"]));
    client.call(Method::DELETE, &path, Some(&token), None).await;
    let ended = next_of(&mut signaling, "session-ended").await;
    assert_eq!(ended["reason"], "left");
}

#[tokio::test]
async fn a_session_of_a_revoked_device_says_so() {
    let server = server().await;
    let client = &server.client;
    let token = client.player("anna").await;
    let grant = client.granted(&token, 1).await;
    let mut signaling = client.signaling(&grant, &token).await;
    next_of(&mut signaling, "session-joined").await;
    let admin = staff(&server, "admin", AccountRole::Admin).await;
    let device = crate::common::identity(1).key();
    let body = json!({"device": device});
    let path = "devices/revoke";
    let revoked = client.call(Method::POST, path, Some(&admin), Some(body));
    let (status, body) = revoked.await;
    assert!(status.is_success(), "{body}");
    let ended = next_of(&mut signaling, "session-ended").await;
    assert_eq!(ended["reason"], "revoked");
    assert_eq!(ended["code"], "device-revoked");
}

#[tokio::test]
async fn a_session_that_nothing_attaches_to_says_so() {
    let server = start_with(|config| {
        config.unused_session = std::time::Duration::from_millis(300);
    })
    .await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let client = &server.client;
    let token = client.player("anna").await;
    let grant = client.granted(&token, 1).await;
    let mut signaling = client.signaling(&grant, &token).await;
    let ended = next_of(&mut signaling, "session-ended").await;
    assert_eq!(ended["reason"], "unused");
}

#[tokio::test]
async fn a_restart_is_no_end_of_a_session() {
    let server = server().await;
    let client = &server.client;
    let token = client.player("anna").await;
    let grant = client.granted(&token, 1).await;
    let mut signaling = client.signaling(&grant, &token).await;
    next_of(&mut signaling, "session-joined").await;
    let stopping = tokio::spawn(server.running.shutdown());
    // Passes over signals; one that said that the session has ended would fail here.
    loop {
        use futures_util::StreamExt;
        use tokio_tungstenite::tungstenite::Message;
        match crate::common::within(signaling.next()).await {
            Some(Ok(Message::Text(text))) => assert!(!text.contains("session-ended"), "{text}"),
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(u16::from(frame.code), 1012);
                break;
            }
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    stopping.await.unwrap();
}

#[tokio::test]
async fn notices_reach_a_zone_or_all_and_only_staff_sends_them() {
    let server = server().await;
    let client = &server.client;
    let (anna, berta) = (client.player("anna").await, client.player("berta").await);
    let here = client.granted(&anna, 1).await;
    let (_, there) = client.join("geffen", &berta, 2).await;
    let mut a = client.signaling(&here, &anna).await;
    let mut b = client.signaling(&there, &berta).await;
    next_of(&mut a, "session-joined").await;
    next_of(&mut b, "session-joined").await;

    refused(
        &notify(client, &anna, json!({"text": "hi"})).await,
        403,
        "forbidden",
    );
    let gm = staff(&server, "gm", AccountRole::Gm).await;
    let only_here = json!({"text": " Only here.\nReally. ", "zone_id": "prontera"});
    let sent = notify(client, &gm, only_here).await;
    assert_eq!(sent, (StatusCode::OK, json!({"told": 1})));
    let sent = notify(client, &gm, json!({"text": "For all."})).await;
    assert_eq!(sent, (StatusCode::OK, json!({"told": 2})));
    let notice = next_of(&mut a, "notice").await;
    assert_eq!(notice["text"], "Only here.\nReally.");
    assert_eq!(notice["from"], "gm");
    assert_eq!(notice["zone_id"], "prontera");
    assert!(text(&notice["timestamp"]).ends_with('Z'));
    for socket in [&mut a, &mut b] {
        // The first one that berta hears.
        let notice = next_of(socket, "notice").await;
        assert_eq!(notice["text"], "For all.");
        assert!(notice.get("zone_id").is_none());
    }

    for wrong in [
        json!({"text": "  "}),
        json!({"text": "x".repeat(501)}),
        json!({"text": "bell\u{7}"}),
        json!({"text": "\u{1b}[2J"}),
        json!({}),
    ] {
        refused(&notify(client, &gm, wrong).await, 400, "bad-request");
    }
    let nowhere = json!({"text": "hi", "zone_id": "nowhere"});
    refused(&notify(client, &gm, nowhere).await, 404, "unknown-zone");
}
