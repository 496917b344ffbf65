use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use warp_coordinator::{CoordinatorConfig, Rate};

use crate::common::{
    Server, close_code, next, next_error, send, send_text, start_with, text, within, zone,
};

/// A coordinator with the zone `prontera` and a player in it.
async fn with_session(change: impl FnOnce(&mut CoordinatorConfig)) -> (Server, String, Value) {
    let server = start_with(change).await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let token = server.client.player("alice").await;
    let grant = server.client.granted(&token, 1).await;
    (server, token, grant)
}

fn joined(grant: &Value) -> Value {
    json!({"type": "session-joined", "session_id": grant["session_id"], "peers": ["endpoint"]})
}

#[tokio::test]
async fn only_the_granted_peer_gets_a_signaling_socket() {
    let (server, token, grant) = with_session(|_| {}).await;
    let client = &server.client;
    let bob = client.player("bob").await;
    let own = format!("signaling/ws?peer_id={}", text(&grant["peer_id"]));
    for (path, token, status, code) in [
        (own.as_str(), None, 401, "not-signed-in"),
        (&own, Some("a.b.c"), 401, "token-expired"),
        (&own, Some(bob.as_str()), 403, "forbidden"),
        (
            "signaling/ws?peer_id=endpoint",
            Some(&token),
            403,
            "forbidden",
        ),
        ("signaling/ws", Some(&token), 422, "bad-request"),
        (
            &format!("{own}&session_id=other"),
            Some(&token),
            404,
            "unknown-session",
        ),
    ] {
        let (got, body) = client.socket(path, token).await.expect_err("a refusal");
        assert_eq!((got, &body["code"]), (status, &json!(code)), "{path}");
    }
    // The older contract: the token in the query, and entering the room by message.
    let mut socket = client
        .socket(&format!("{own}&token={token}"), None)
        .await
        .unwrap();
    send(
        &mut socket,
        json!({"type": "join", "session_id": grant["session_id"]}),
    )
    .await;
    assert_eq!(next(&mut socket).await, joined(&grant));
}

#[tokio::test]
async fn garbage_is_answered_and_the_socket_lives_on() {
    let (server, token, grant) = with_session(|_| {}).await;
    let mut socket = server.client.signaling(&grant, &token).await;
    assert_eq!(next(&mut socket).await, joined(&grant));
    for frame in [
        "",
        "nonsense",
        "[]",
        "7",
        "null",
        "{}",
        r#"{"type":"dance"}"#,
        r#"{"type":"join","session_id":{"a":1}}"#,
        r#"{"type":"offer","to":"endpoint"}"#,
        r#"{"type":"offer","to":"endpoint","sdp":""}"#,
        &"[".repeat(60_000),
    ] {
        send_text(&mut socket, frame).await;
        assert_eq!(next_error(&mut socket).await, "bad-request", "{frame}");
    }
    socket.send(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(next_error(&mut socket).await, "bad-request");
    send(
        &mut socket,
        json!({"type": "offer", "to": "nobody", "sdp": "v=0"}),
    )
    .await;
    assert_eq!(next_error(&mut socket).await, "peer-unreachable");
    send(&mut socket, json!({"type": "join", "session_id": "other"})).await;
    assert_eq!(next_error(&mut socket).await, "unknown-session");
    send(&mut socket, json!({"type": "leave"})).await;
    assert_eq!(next(&mut socket).await["type"], "session-left");
}

#[tokio::test]
async fn a_message_beyond_the_limit_closes_with_1009() {
    let (server, token, grant) = with_session(|_| {}).await;
    let mut socket = server.client.signaling(&grant, &token).await;
    assert_eq!(next(&mut socket).await, joined(&grant));
    socket
        .send(Message::text("x".repeat(70_000)))
        .await
        .unwrap();
    assert_eq!(close_code(&mut socket).await, 1009);

    // What is not even read to its end: the code, or a reset when it overtakes the code.
    let mut socket = server.client.signaling(&grant, &token).await;
    assert_eq!(next(&mut socket).await, joined(&grant));
    let _ = socket.send(Message::text("x".repeat(300_000))).await;
    let end = within(async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|f| u16::from(f.code)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    })
    .await;
    assert!(matches!(end, None | Some(1009)), "{end:?}");
    let mut socket = server.client.signaling(&grant, &token).await;
    assert_eq!(next(&mut socket).await, joined(&grant));
}

#[tokio::test]
async fn a_second_socket_of_a_peer_takes_over() {
    let (server, token, grant) = with_session(|_| {}).await;
    let mut first = server.client.signaling(&grant, &token).await;
    assert_eq!(next(&mut first).await, joined(&grant));
    let mut second = server.client.signaling(&grant, &token).await;
    assert_eq!(next(&mut second).await, joined(&grant));
    assert_eq!(close_code(&mut first).await, 4001);
    assert!(within(first.next()).await.is_none(), "the first is gone");
    // It still has its seat after the first one's end.
    send(
        &mut second,
        json!({"type": "join", "session_id": grant["session_id"]}),
    )
    .await;
    assert_eq!(next(&mut second).await, joined(&grant));
}

#[tokio::test]
async fn messages_beyond_the_rate_are_refused_and_the_socket_lives_on() {
    let (server, token, grant) = with_session(|c| c.limits.signals = Rate::new(3, 1)).await;
    let mut socket = server.client.signaling(&grant, &token).await;
    assert_eq!(next(&mut socket).await["type"], "session-joined");
    for expected in [
        "session-left",
        "session-joined",
        "session-left",
        "error",
        "error",
    ] {
        let signal = if expected == "session-joined" {
            json!({"type": "join", "session_id": grant["session_id"]})
        } else {
            json!({"type": "leave"})
        };
        send(&mut socket, signal).await;
        let answer = next(&mut socket).await;
        assert_eq!(answer["type"], expected);
        if expected == "error" {
            assert_eq!(answer["code"], "too-many-requests");
        }
    }
}

#[tokio::test]
async fn a_socket_that_does_not_answer_pings_is_closed_with_1011() {
    let (server, token, grant) = with_session(|c| {
        c.ping_every = Duration::from_millis(20);
        c.idle_after = Duration::from_millis(60);
    })
    .await;
    let peer = text(&grant["peer_id"]);
    let url = format!(
        "ws://{}/api/v1/signaling/ws?peer_id={peer}",
        server.running.addr
    );
    let mut request = url.into_client_request().unwrap();
    let value = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    let stream = tokio::net::TcpStream::connect(server.running.addr)
        .await
        .unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    // Read below the WebSocket code, which would answer the pings.
    let mut bytes = Vec::new();
    within(socket.get_mut().read_to_end(&mut bytes))
        .await
        .unwrap();
    let ping = [0x89, 0x00];
    assert!(bytes.starts_with(&ping), "{bytes:?}");
    let close = bytes
        .iter()
        .position(|b| *b == 0x88)
        .expect("a close frame");
    assert_eq!(bytes[close + 2..close + 4], 1011_u16.to_be_bytes());
}

#[tokio::test]
async fn the_end_of_a_session_reaches_its_sockets() {
    let (server, token, grant) = with_session(|_| {}).await;
    let client = &server.client;
    let mut signaling = client.signaling(&grant, &token).await;
    assert_eq!(next(&mut signaling).await, joined(&grant));
    let mut link = client.link(&grant, &token).await.unwrap();
    let path = format!("links/{}", text(&grant["session_id"]));
    let (status, _) = client.call(Method::DELETE, &path, Some(&token), None).await;
    assert_eq!(status, 204);
    let mut left = Vec::new();
    while left.len() < 2 {
        let signal = next(&mut signaling).await;
        if signal["type"] != "peer-left" {
            left.push(signal["type"].clone());
        }
    }
    assert_eq!(left, ["session-ended", "session-left"]);
    assert_eq!(close_code(&mut link).await, 4003);
    let (status, body) = client.link(&grant, &token).await.err().unwrap();
    assert_eq!((status, &body["code"]), (404, &json!("unknown-session")));
}

#[tokio::test]
async fn the_link_socket_is_its_owners_and_there_is_one() {
    let (server, token, grant) = with_session(|_| {}).await;
    let client = &server.client;
    let bob = client.player("bob").await;
    let (status, body) = client.link(&grant, &bob).await.err().unwrap();
    assert_eq!((status, &body["code"]), (404, &json!("unknown-session")));
    let mut first = client.link(&grant, &token).await.unwrap();
    let mut second = client.link(&grant, &token).await.unwrap();
    assert_eq!(close_code(&mut first).await, 4001);
    // Text and pings carry nothing and do no harm; a message beyond 2 KiB does.
    second.send(Message::text("hello")).await.unwrap();
    second.send(Message::binary(vec![0; 1200])).await.unwrap();
    second
        .send(Message::Ping(b"x".to_vec().into()))
        .await
        .unwrap();
    let pong = loop {
        match within(second.next()).await {
            Some(Ok(Message::Binary(_))) => {}
            other => break other,
        }
    };
    assert!(matches!(pong, Some(Ok(Message::Pong(_)))), "{pong:?}");
    second.send(Message::binary(vec![0; 2049])).await.unwrap();
    assert_eq!(close_code(&mut second).await, 1009);
}

#[tokio::test]
async fn a_shutdown_closes_sockets_with_1012() {
    let (server, token, grant) = with_session(|_| {}).await;
    let mut signaling = server.client.signaling(&grant, &token).await;
    assert_eq!(next(&mut signaling).await, joined(&grant));
    let mut link = server.client.link(&grant, &token).await.unwrap();
    let (signal, carrier, ()) = tokio::join!(
        close_code(&mut signaling),
        close_code(&mut link),
        within(server.running.shutdown()),
    );
    assert_eq!((signal, carrier), (1012, 1012));
}
