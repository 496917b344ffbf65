//! Sockets that are abused once they are open: floods, frames that are too large, compression, and
//! signals to those whom they do not concern.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::bystander::{Bystander, until};
use crate::site::{Client, Grant, PATIENCE, Player, Site, Socket, ZONES, path_of};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// By how much the coordinator's memory may grow, KiB.
const GROWTH: u64 = 64 * 1024;

/// Reads until the socket ends; gives the close code where there was one.
async fn ended(socket: &mut Socket) -> Option<u16> {
    let reading = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, reading).await;
    ended.expect("the socket stays open")
}

#[tokio::test]
async fn floods_of_messages_are_refused_one_by_one_and_cost_nobody_else() {
    let site = Site::new(json!({}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let before = site.memory();
    let client = site.client(ATTACKER);
    let player = client.player("flooder").await;
    let figures = site.figures().await;
    let grant = player.join(ZONES[0]).await;
    let flood = 20_000;
    for (what, message) in [
        (
            "offers",
            Message::text(json!({"type": "offer", "to": "endpoint", "sdp": "x"}).to_string()),
        ),
        ("no JSON", Message::text("{".repeat(1000))),
        ("binary frames", Message::binary(vec![0; 1000])),
    ] {
        let socket = player.signaling(&grant).await;
        let (mut sink, mut stream) = socket.split();
        let sending = tokio::spawn(async move {
            for _ in 0..flood {
                if sink.feed(message.clone()).await.is_err() {
                    return;
                }
            }
            let _ = sink.flush().await;
            // Open until everything has been read.
            std::future::pending::<()>().await;
        });
        let mut refused = 0;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && refused < flood / 2 {
            match tokio::time::timeout(PATIENCE, stream.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => {
                    let signal: Value = serde_json::from_str(&text).unwrap();
                    refused += usize::from(signal["code"] == "too-many-requests");
                }
                Ok(Some(Ok(_))) => {}
                other => panic!("{what}: {other:?}"),
            }
        }
        assert!(refused >= flood / 2, "{what}: {refused} of {flood} refused");
        println!(
            "{what}: {refused} refused in {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        sending.abort();
    }
    let series = r#"warp_rate_limited_total{what="signal"}"#;
    site.counted(&figures, series, 3 * flood / 2).await;
    let after = site.memory();
    println!("memory: {before} KiB before, {after} KiB after");
    assert!(after < before + GROWTH);
    bystander.report("floods of messages", from);
}

#[tokio::test]
async fn a_flooder_who_does_not_read_is_closed() {
    let site = Site::new(json!({}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let before = site.memory();
    let client = site.client(ATTACKER);
    let player = client.player("deaf").await;
    let figures = site.figures().await;
    let grant = player.join(ZONES[0]).await;
    let mut socket = player.signaling(&grant).await;
    let begun = Instant::now();
    // Every message is answered, and no answer is read: the socket's own buffers fill, then a write
    // waits, then it is over. Nothing that reads stands behind `feed` and `flush`.
    let closed = async {
        loop {
            if socket.send(Message::text("[]")).await.is_err() {
                return;
            }
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(60), closed).await;
    assert!(closed.is_ok(), "a socket that reads nothing stays open");
    println!(
        "closed after {:.1} s; memory {before} KiB before, {} KiB after",
        begun.elapsed().as_secs_f64(),
        site.memory()
    );
    assert!(site.memory() < before + GROWTH);
    let series = r#"warp_sockets_closed_total{kind="signaling",code="4002"}"#;
    site.counted(&figures, series, 1).await;
    bystander.report("a flooder who does not read", from);
}

#[tokio::test]
async fn floods_of_sockets_take_one_place_each_and_leave_none_behind() {
    let site = Site::new(json!({}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let before = site.memory();
    let client = site.client(ATTACKER);
    let player = client.player("opener").await;
    let figures = site.figures().await;
    let grant = player.join(ZONES[0]).await;
    // Each takes the place of the one before it. A socket takes its own a moment after the handshake, and
    // says so: of two that are open and not seated yet either may be the first.
    let mut last: Option<Socket> = None;
    for _ in 0..500 {
        let mut newer = player.signaling(&grant).await;
        until(&mut newer, |signal| signal["type"] == "session-joined").await;
        if let Some(mut older) = last.replace(newer) {
            assert_eq!(ended(&mut older).await, Some(4001));
        }
    }
    // Handshakes without a right to them.
    for number in 0..500 {
        let path = format!("signaling/ws?peer_id=somebody{number}");
        let refused = client.socket(&path, &player.token).await;
        let (status, body) = refused.expect_err("refused");
        assert_eq!(
            (status, &body["code"]),
            (403, &json!("forbidden")),
            "{body}"
        );
        let (status, body) = client.socket(&path, "").await.expect_err("refused");
        assert_eq!(status, 401, "{body}");
    }
    let after = site.memory();
    println!("memory: {before} KiB before, {after} KiB after");
    assert!(after < before + GROWTH);
    for (series, least) in [
        (
            r#"warp_sockets_closed_total{kind="signaling",code="4001"}"#,
            499,
        ),
        (r#"warp_requests_refused_total{code="forbidden"}"#, 500),
        (r#"warp_requests_refused_total{code="not-signed-in"}"#, 500),
    ] {
        site.counted(&figures, series, least).await;
    }
    bystander.report("floods of sockets", from);
}

/// A player's open socket as bytes, so that frames can be sent that no library sends.
async fn raw(client: &Client, player: &Player, grant: &Grant) -> (tokio::net::TcpStream, String) {
    let mut stream = client.connect().await.unwrap();
    let head = format!(
        "GET /api/v1/{} HTTP/1.1\r\nhost: c\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\
         authorization: Bearer {}\r\n\r\n",
        path_of(grant),
        player.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("a whole head"));
    }
    (stream, String::from_utf8(answer).unwrap())
}

/// Reads until the end; true when a close frame with this code was there.
async fn closes_with(stream: &mut tokio::net::TcpStream, code: u16) -> bool {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    let reading = async {
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            all.extend_from_slice(&piece[..length]);
        }
    };
    let ended = tokio::time::timeout(PATIENCE, reading).await;
    ended.expect("the socket stays open");
    all.windows(2).any(|two| two == code.to_be_bytes())
}

#[tokio::test]
async fn frames_that_are_too_large_are_not_read_whole() {
    let site = Site::new(json!({}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let before = site.memory();
    let client = site.client(ATTACKER);
    let player = client.player("large").await;
    let figures = site.figures().await;
    let grant = player.join(ZONES[0]).await;
    let size: u64 = 15_000_000;
    let whole = {
        let mut frame = vec![0x81, 0xff];
        frame.extend(size.to_be_bytes());
        frame.extend([0; 4]);
        frame.resize(frame.len() + size as usize, b'x');
        frame
    };
    // In pieces of 16 KiB: the first is text, none is the last.
    let pieces = {
        let mut all = Vec::new();
        for number in 0..size / 16_384 {
            all.extend([if number == 0 { 0x01 } else { 0x00 }, 0xfe]);
            all.extend(16_384_u16.to_be_bytes());
            all.extend([0; 4]);
            all.resize(all.len() + 16_384, b'x');
        }
        all
    };
    // Says that it is of 2^63 bytes, and one beyond what fits.
    let huge = {
        let mut frame = vec![0x81, 0xff];
        frame.extend(u64::MAX.to_be_bytes());
        frame.extend([0; 4]);
        frame.resize(frame.len() + 100_000, b'x');
        frame
    };
    // As if compression had been agreed on.
    let deflated = vec![0xc1, 0x85, 0, 0, 0, 0, 1, 2, 3, 4, 5];
    for (what, bytes) in [
        ("15 MB in one frame", whole),
        ("15 MB in fragments", pieces),
        ("a length beyond all", huge),
        ("a compressed frame", deflated),
    ] {
        let mut most = 0;
        let mut codes = 0;
        for _ in 0..10 {
            let (mut stream, head) = raw(&client, &player, &grant).await;
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            // Nothing that is compressed is ever read: there are no bombs.
            assert!(!head.contains("sec-websocket-extensions"), "{head}");
            // It is closed on the way.
            let _ = stream.write_all(&bytes).await;
            most = most.max(site.memory());
            codes += usize::from(closes_with(&mut stream, 1009).await);
        }
        println!("{what}: closed, {codes} of 10 times the code 1009 arrived; memory {most} KiB");
        assert!(most < before + GROWTH, "{before} KiB before");
    }
    // One that is just too large is answered with its code for certain.
    let mut socket = player.signaling(&grant).await;
    socket
        .send(Message::text("x".repeat(65 * 1024)))
        .await
        .unwrap();
    assert_eq!(ended(&mut socket).await, Some(1009));
    let series = r#"warp_sockets_closed_total{kind="signaling",code="1009"}"#;
    site.counted(&figures, series, 21).await;
    bystander.report("large frames", from);
}

#[tokio::test]
async fn signals_reach_nobody_outside_of_the_session() {
    let site = Site::new(json!({}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let client = site.client(ATTACKER);
    let attacker = client.player("attacker").await;
    let victim = client.player("victim").await;
    let figures = site.figures().await;
    let (own, same_zone) = (attacker.join(ZONES[0]).await, victim.join(ZONES[0]).await);
    let other_zone = victim.join(ZONES[1]).await;
    let mut socket = attacker.signaling(&own).await;
    let mut victims = [
        victim.signaling(&same_zone).await,
        victim.signaling(&other_zone).await,
    ];
    for (grant, victim) in [&same_zone, &other_zone].into_iter().zip(&mut victims) {
        for kind in ["offer", "answer", "ice-candidate"] {
            let signal = json!({"type": kind, "to": grant.peer, "from": "endpoint",
                                "session_id": grant.session, "sdp": "x", "candidate": "x"});
            socket
                .send(Message::text(signal.to_string()))
                .await
                .unwrap();
            refused(&mut socket, "peer-unreachable").await;
        }
        let join = json!({"type": "join", "session_id": grant.session});
        socket.send(Message::text(join.to_string())).await.unwrap();
        refused(&mut socket, "unknown-session").await;
        // Nothing of all that arrived: the next that comes is what the victim asks for itself.
        let leave = json!({"type": "leave"});
        victim.send(Message::text(leave.to_string())).await.unwrap();
        let seen = until(victim, |signal| {
            !["session-joined", "hosts", "policy"].contains(&signal["type"].as_str().unwrap())
        });
        assert_eq!(seen.await["type"], "session-left");
    }
    // Of another zone nobody is let in either.
    let path = format!("links/{}/guests", own.session);
    let guest = json!({"peer_id": other_zone.peer});
    let (status, body) = client.post(&path, &attacker.token, guest).await;
    assert_eq!(
        (status, &body["code"]),
        (404, &json!("peer-unreachable")),
        "{body}"
    );
    for (code, least) in [("peer-unreachable", 6), ("unknown-session", 2)] {
        let series = format!(r#"warp_signals_refused_total{{code="{code}"}}"#);
        site.counted(&figures, &series, least).await;
    }
    bystander.report("signals across sessions", from);
}

/// Reads up to the next error, which has this code.
async fn refused(socket: &mut Socket, code: &str) {
    let reading = async {
        loop {
            if let Some(Ok(Message::Text(text))) = socket.next().await {
                let signal: Value = serde_json::from_str(&text).unwrap();
                if signal["type"] == "error" {
                    return signal;
                }
            }
        }
    };
    let signal = tokio::time::timeout(PATIENCE, reading).await.unwrap();
    assert_eq!(signal["code"], code, "{signal}");
}
