//! Guests, the relay between two players, and the credentials of a TURN server.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use warp_coordinator::{CoordinatorConfig, Rate, TurnConfig};
use warp_protocol::Secret;

use crate::common::{
    Client, Server, Socket, close_code, next, refused, send, start_with, text, within, zone,
};

/// Two players in one zone, and a third in another.
struct Players {
    server: Server,
    alice: (String, Value),
    bob: (String, Value),
    carol: (String, Value),
}

async fn players(change: impl FnOnce(&mut CoordinatorConfig)) -> Players {
    let server = start_with(change).await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    server.running.put_zone(&zone("geffen")).await.unwrap();
    let mut joined = Vec::new();
    for (name, zone) in [
        ("alice", "prontera"),
        ("bob", "prontera"),
        ("carol", "geffen"),
    ] {
        let token = server.client.player(name).await;
        let (status, grant) = server.client.join(zone, &token, 1).await;
        assert_eq!(status, StatusCode::CREATED, "{grant}");
        joined.push((token, grant));
    }
    let [alice, bob, carol] = joined.try_into().unwrap();
    Players {
        server,
        alice,
        bob,
        carol,
    }
}

async fn admit(
    client: &Client,
    (token, grant): &(String, Value),
    guest: &Value,
) -> (StatusCode, Value) {
    let path = format!("links/{}/guests", text(&grant["session_id"]));
    let body = json!({"peer_id": guest["peer_id"]});
    client
        .call(Method::POST, &path, Some(token), Some(body))
        .await
}

fn path(room: &Value, own: &Value, other: &Value) -> String {
    let [room, own, other] = [&room["session_id"], &own["peer_id"], &other["peer_id"]].map(text);
    warp_protocol::relay::path(&room, &own, &other)
}

impl Players {
    /// Bob is alice's guest.
    async fn met(&self) {
        let (status, body) = admit(&self.server.client, &self.alice, &self.bob.1).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    }

    /// Both ends of the relay.
    async fn relay(&self) -> (Socket, Socket) {
        let client = &self.server.client;
        let (alice, bob) = (&self.alice, &self.bob);
        let a = client
            .socket(&path(&alice.1, &alice.1, &bob.1), Some(&alice.0))
            .await;
        let b = client
            .socket(&path(&alice.1, &bob.1, &alice.1), Some(&bob.0))
            .await;
        (a.unwrap(), b.unwrap())
    }
}

async fn datagram(socket: &mut Socket) -> Vec<u8> {
    match within(socket.next()).await {
        Some(Ok(Message::Binary(datagram))) => datagram.to_vec(),
        other => panic!("{other:?} instead of a datagram"),
    }
}

async fn push(socket: &mut Socket, bytes: Vec<u8>) {
    socket.send(Message::binary(bytes)).await.unwrap();
}

/// Sends until it arrives: the other socket may not be entered yet.
async fn through(from: &mut Socket, to: &mut Socket, bytes: &[u8]) {
    let arrived = async {
        loop {
            push(from, bytes.to_vec()).await;
            let wait = tokio::time::timeout(Duration::from_millis(50), to.next());
            match wait.await {
                Ok(Some(Ok(Message::Binary(datagram)))) => return datagram,
                Ok(other) => panic!("{other:?} instead of a datagram"),
                Err(_) => {}
            }
        }
    };
    assert_eq!(within(arrived).await, bytes);
}

#[tokio::test]
async fn only_the_owner_lets_players_of_its_zone_in() {
    let p = players(|_| {}).await;
    let client = &p.server.client;
    let own = (p.bob.0.clone(), p.alice.1.clone());
    refused(&admit(client, &own, &p.bob.1).await, 404, "unknown-session");
    for guest in [
        &p.carol.1,
        &json!({"peer_id": "endpoint"}),
        &json!({"peer_id": ""}),
    ] {
        refused(
            &admit(client, &p.alice, guest).await,
            404,
            "peer-unreachable",
        );
    }
    p.met().await;

    // The guest enters the owner's room and is offered something there.
    let mut bob = client
        .socket(
            &format!("signaling/ws?peer_id={}", text(&p.bob.1["peer_id"])),
            Some(&p.bob.0),
        )
        .await
        .unwrap();
    let session = &p.alice.1["session_id"];
    send(&mut bob, json!({"type": "join", "session_id": session})).await;
    assert_eq!(next(&mut bob).await["type"], "session-joined");
    let mut alice = client.signaling(&p.alice.1, &p.alice.0).await;
    let joined = next(&mut alice).await;
    assert!(
        joined["peers"]
            .as_array()
            .unwrap()
            .contains(&p.bob.1["peer_id"])
    );
    send(
        &mut alice,
        json!({"type": "offer", "to": p.bob.1["peer_id"], "sdp": "v=0"}),
    )
    .await;
    assert_eq!(next(&mut bob).await["type"], "peer-joined");
    let offer = next(&mut bob).await;
    assert_eq!(
        (&offer["type"], &offer["from"]),
        (&json!("offer"), &p.alice.1["peer_id"])
    );
}

#[tokio::test]
async fn a_zone_without_p2p_has_no_guests() {
    let p = players(|_| {}).await;
    let mut closed = zone("prontera");
    closed.p2p_enabled = false;
    p.server.running.put_zone(&closed).await.unwrap();
    refused(
        &admit(&p.server.client, &p.alice, &p.bob.1).await,
        403,
        "forbidden",
    );
}

#[tokio::test]
async fn the_relay_carries_datagrams_both_ways_between_the_two_and_nobody_else() {
    let p = players(|_| {}).await;
    let client = &p.server.client;
    let (alice, bob, carol) = (&p.alice, &p.bob, &p.carol);
    let early = client
        .socket(&path(&alice.1, &alice.1, &bob.1), Some(&alice.0))
        .await;
    assert_eq!(early.unwrap_err().0, 404, "bob was not let in yet");
    p.met().await;
    for (what, path, token) in [
        (
            "another's peer id",
            path(&alice.1, &alice.1, &bob.1),
            &bob.0,
        ),
        ("no member", path(&alice.1, &carol.1, &alice.1), &carol.0),
        ("to no member", path(&alice.1, &alice.1, &carol.1), &alice.0),
        ("to itself", path(&alice.1, &alice.1, &alice.1), &alice.0),
        ("another room", path(&bob.1, &bob.1, &alice.1), &bob.0),
        (
            "to the endpoint",
            path(&alice.1, &alice.1, &json!({"peer_id": "endpoint"})),
            &alice.0,
        ),
    ] {
        let (status, body) = client.socket(&path, Some(token)).await.expect_err(what);
        assert_eq!(
            (status, &body["code"]),
            (404, &json!("unknown-session")),
            "{what}"
        );
    }
    let (mut a, mut b) = p.relay().await;
    through(&mut a, &mut b, b"from alice").await;
    through(&mut b, &mut a, &[7; 1280]).await;
    // Between a datagram and the largest message: dropped; beyond it: closed.
    push(&mut a, vec![1; 1281]).await;
    through(&mut a, &mut b, b"still here").await;
    push(&mut a, vec![1; 2049]).await;
    assert_eq!(close_code(&mut a).await, 1009);

    // A newer socket takes the older one's place.
    let (_a, mut newer) = p.relay().await;
    assert_eq!(close_code(&mut b).await, 4001);
    // With the room's session its relay ends, also for the guest.
    let links = format!("links/{}", text(&alice.1["session_id"]));
    let (status, _) = client
        .call(Method::DELETE, &links, Some(&alice.0), None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(close_code(&mut newer).await, 4003);
}

#[tokio::test]
async fn beyond_the_accounts_bytes_datagrams_are_dropped_and_the_socket_lives_on() {
    let p = players(|config| config.limits.relay_bytes = Rate::new(5_000, 1)).await;
    p.met().await;
    let (mut a, mut b) = p.relay().await;
    through(&mut b, &mut a, b"x").await;
    // Four fit into 5,000 bytes, whatever `through` has used before.
    for number in 0..50_u8 {
        push(&mut a, vec![number; 1000]).await;
    }
    // Bob's own bytes are counted apart; by the time they are there, alice's are all looked at.
    let mut got = 0;
    while let Ok(Some(Ok(Message::Binary(datagram)))) =
        tokio::time::timeout(Duration::from_millis(500), b.next()).await
    {
        assert_eq!(datagram.len(), 1000);
        got += 1;
    }
    assert_eq!(got, 5);
    through(&mut b, &mut a, b"alive").await;
    push(&mut a, Vec::new()).await;
}

#[tokio::test]
async fn a_socket_that_nobody_reads_costs_a_bounded_queue() {
    let p = players(|config| config.limits.relay_bytes = Rate::new(u32::MAX, u32::MAX)).await;
    p.met().await;
    let (mut a, mut b) = p.relay().await;
    through(&mut a, &mut b, b"first").await;
    // Far more than two sockets' kernel buffers and a queue hold, and bob reads none of it.
    for _ in 0..40_000 {
        push(&mut a, vec![9; 1280]).await;
    }
    // Alice was never held up, and the other direction works.
    through(&mut b, &mut a, b"back").await;
    let mut got = 0_u32;
    while let Ok(Some(Ok(Message::Binary(_)))) =
        tokio::time::timeout(Duration::from_millis(500), b.next()).await
    {
        got += 1;
    }
    assert!(got > 100 && got < 39_000, "{got} of 40000");
    assert_eq!(
        {
            push(&mut a, b"last".to_vec()).await;
            datagram(&mut b).await
        },
        b"last"
    );
}

#[tokio::test]
async fn a_silent_socket_is_closed_and_a_session_with_a_relay_lives() {
    let p = players(|config| {
        config.idle_after = Duration::from_secs(2);
        config.unused_session = Duration::from_secs(2);
    })
    .await;
    p.met().await;
    let (mut a, mut b) = p.relay().await;
    // Longer than a session lives that nothing is attached to.
    for _ in 0..12 {
        through(&mut a, &mut b, b"on").await;
        through(&mut b, &mut a, b"off").await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(close_code(&mut a).await, 1011);
}

#[tokio::test]
async fn each_grant_has_credentials_of_its_own_that_expire() {
    let turn = TurnConfig {
        urls: vec!["turn:192.0.2.1:3478".into()],
        shared_secret: Secret::new("north"),
        ttl: Duration::from_secs(600),
    };
    let p = players(|config| config.turn = Some(turn.clone())).await;
    let server = |grant: &Value| grant["ice_servers"][0].clone();
    let (alice, bob) = (server(&p.alice.1), server(&p.bob.1));
    assert_eq!(alice["urls"], json!(["turn:192.0.2.1:3478"]));
    assert_ne!(alice["credential"], bob["credential"]);
    let name = text(&alice["username"]);
    let (expiry, whose) = name.split_once(':').unwrap();
    assert_eq!(whose, text(&p.alice.1["peer_id"]));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let left = expiry.parse::<u64>().unwrap() - now;
    assert!((500..=600).contains(&left), "{left}");
    assert!(!p.alice.1.to_string().contains("north"));
}
