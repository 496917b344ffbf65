//! The control socket of remote endpoints, with an endpoint of this file's own: what a coordinator
//! believes, and what it does not.

use std::path::Path;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use warp_coordinator::{Coordinator, CoordinatorConfig, EndpointMode, Running};
use warp_protocol::{
    endpoint::{VERSION, endpoint_message},
    identity::PublicKey,
};

use crate::common::{
    Client, Server, Socket, config, identity, next_of, refused, send, send_text, start_with, text,
    within, zone,
};

const PATH: &str = "endpoints/ws?nonce=00112233445566778899aabbccddeeff";

fn remote(config: &mut CoordinatorConfig) {
    config.endpoint_mode = EndpointMode::Remote;
}

fn token(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("endpoint-token")).unwrap()
}

/// Opens a control socket and says hello with the key of `device`, signed by `signer`.
async fn hello(client: &Client, dir: &Path, device: u8, signer: u8) -> Socket {
    hello_with(client, &token(dir), device, signer).await
}

async fn hello_with(client: &Client, token: &str, device: u8, signer: u8) -> Socket {
    let mut socket = client.socket(PATH, Some(token)).await.unwrap();
    let challenge = next_of(&mut socket, "challenge").await;
    let coordinator = text(&challenge["proof"]["public_key"]);
    let coordinator = PublicKey::from_hex(&coordinator).unwrap();
    let mut nonce = [0; 16];
    hex::decode_to_slice(text(&challenge["nonce"]), &mut nonce).unwrap();
    let proof = identity(signer).sign(&endpoint_message(&coordinator, &nonce, "test"));
    let hello = json!({
        "type": "hello",
        "version": VERSION,
        "name": "test",
        "key": identity(device).key(),
        "proof": hex::encode(proof.unwrap()),
    });
    send(&mut socket, hello).await;
    socket
}

/// One that serves, and holds these sessions.
async fn serving(client: &Client, dir: &Path, held: &[Value]) -> (Socket, Value) {
    let mut socket = hello(client, dir, 200, 200).await;
    next_of(&mut socket, "welcome").await;
    for session in held {
        send(&mut socket, json!({"type": "held", "session": session})).await;
    }
    send(&mut socket, json!({"type": "ready"})).await;
    let adopted = next_of(&mut socket, "adopted").await;
    (socket, adopted)
}

/// A join that the endpoint takes; gives the grant, and whose session it is, as the endpoint was told.
async fn joined(client: &Client, socket: &mut Socket, token: &str, device: u8) -> (Value, Value) {
    let answer = async {
        let grant = next_of(socket, "grant").await;
        let who = grant["spec"]["who"].clone();
        let granted = json!({"type": "granted", "room": who["session_id"]});
        send(socket, granted).await;
        who
    };
    tokio::join!(client.granted(token, device), answer)
}

async fn with_zone() -> (Server, String) {
    let server = start_with(remote).await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let token = server.client.player("alice").await;
    (server, token)
}

/// Ends the coordinator and starts it again on its data.
async fn again(server: Server) -> (Running, tempfile::TempDir, Client) {
    let Server { running, dir, .. } = server;
    running.shutdown().await;
    let mut config = config(dir.path());
    remote(&mut config);
    let running = Coordinator::start(config).await.unwrap();
    let client = Client::new(&running.url);
    (running, dir, client)
}

async fn ends(socket: &mut Socket) {
    use futures_util::StreamExt;
    while let Some(Ok(message)) = within(socket.next()).await {
        if matches!(message, Message::Close(_)) {
            return;
        }
    }
}

#[tokio::test]
async fn only_who_has_the_token_and_the_key_gets_in() {
    let (server, account) = with_zone().await;
    let (client, dir) = (&server.client, server.dir.path());
    for (shown, status, code) in [
        (None, 401, "not-signed-in"),
        (Some("00"), 401, "token-expired"),
    ] {
        let (got, body) = client.socket(PATH, shown).await.expect_err("a refusal");
        assert_eq!((got, &body["code"]), (status, &json!(code)));
    }
    // An account's token is for the endpoint of a hosted zone, and this is none.
    let mut socket = hello_with(client, &account, 1, 1).await;
    assert_eq!(next_of(&mut socket, "refused").await["code"], "forbidden");
    // Somebody else's key, under a proof of one's own.
    let mut socket = hello(client, dir, 1, 2).await;
    ends(&mut socket).await;
    refused(
        &client.join("prontera", &account, 1).await,
        503,
        "endpoint-unreachable",
    );
    // What is no message at all.
    for bad in ["{}", "[", r#"{"type":"ready"}"#] {
        let mut socket = client.socket(PATH, Some(&token(dir))).await.unwrap();
        next_of(&mut socket, "challenge").await;
        send_text(&mut socket, bad).await;
        ends(&mut socket).await;
    }
    // Once one serves, another key does not take its place.
    let (_first, _) = serving(client, dir, &[]).await;
    let mut other = hello(client, dir, 3, 3).await;
    assert_eq!(next_of(&mut other, "refused").await["code"], "forbidden");
    server.running.shutdown().await;
}

#[tokio::test]
async fn an_embedded_endpoint_leaves_no_room_for_another() {
    let server = start_with(|_| {}).await;
    let refused = server.client.socket(PATH, Some("00")).await;
    assert_eq!(refused.expect_err("a refusal").0, 401);
}

#[tokio::test]
async fn a_refused_grant_is_the_players_answer() {
    let (server, account) = with_zone().await;
    let (mut endpoint, _) = serving(&server.client, server.dir.path(), &[]).await;
    let answer = async {
        let grant = next_of(&mut endpoint, "grant").await;
        let room = grant["spec"]["who"]["session_id"].clone();
        let refused = json!({"type": "grant-refused", "room": room,
            "untrusted": "certificate-expired", "message": "expired"});
        send(&mut endpoint, refused).await;
    };
    let (asked, ()) = tokio::join!(server.client.join("prontera", &account, 1), answer);
    refused(&asked, 403, "certificate-expired");
    // And one that says nothing is not waited for for ever.
    let asked = server.client.join("prontera", &account, 1).await;
    refused(&asked, 503, "endpoint-unreachable");
}

#[tokio::test]
async fn a_restarted_coordinator_adopts_what_it_granted_and_nothing_else() {
    let (server, account) = with_zone().await;
    let client = server.client.clone();
    let bob = client.player("bob").await;
    let (mut endpoint, _) = serving(&client, server.dir.path(), &[]).await;
    let (grant, alice) = joined(&client, &mut endpoint, &account, 1).await;
    let (_, bobs) = joined(&client, &mut endpoint, &bob, 2).await;
    assert_eq!(alice["session_id"], grant["session_id"]);
    assert_eq!(alice["peer_id"], grant["peer_id"]);

    let (running, dir, client) = again(server).await;
    // Before the endpoint is back nobody is told that there is no such session.
    let early = client.link(&grant, &account).await.expect_err("a refusal");
    assert_eq!(
        (early.0, &early.1["code"]),
        (503, &json!("coordinator-fault"))
    );
    let held = |who: &Value| json!({"who": who, "up": true});
    let changed = |key: &str, value: Value| {
        let mut who = bobs.clone();
        who[key] = value;
        held(&who)
    };
    let forged = [
        // Bob's session under alice's name, with another device, without and with a foreign certificate.
        changed("account", alice["account"].clone()),
        changed("device_key", alice["device_key"].clone()),
        changed("certificate", Value::Null),
        changed("certificate", alice["certificate"].clone()),
        changed("certificate", json!("00")),
        changed("account", json!(999)),
        changed("zone_id", json!("atlantis")),
    ];
    let all: Vec<Value> = std::iter::once(held(&alice)).chain(forged).collect();
    let (mut endpoint, adopted) = serving(&client, dir.path(), &all).await;
    assert_eq!(adopted["accepted"], 1, "{adopted}");
    assert_eq!(adopted["revoked"], all.len() - 1, "{adopted}");
    // Alice's sockets find their session again; bob's session is not there.
    let mut signaling = client.signaling(&grant, &account).await;
    let entered = next_of(&mut signaling, "session-joined").await;
    assert_eq!(entered["peers"], json!(["endpoint"]));
    let offer = json!({"type": "offer", "to": "endpoint", "sdp": {"type": "offer"}});
    send(&mut signaling, offer).await;
    let signal = loop {
        let signal = next_of(&mut endpoint, "signal").await;
        if signal["signal"]["type"] == "offer" {
            break signal;
        }
    };
    assert_eq!(signal["room"], grant["session_id"]);
    assert_eq!(signal["signal"]["from"], grant["peer_id"]);
    let _link = client.link(&grant, &account).await.unwrap();
    let opened = next_of(&mut endpoint, "carrier-open").await;
    assert_eq!(opened["room"], grant["session_id"]);
    let gone = client
        .link(&json!({"session_id": bobs["session_id"]}), &bob)
        .await;
    assert_eq!(gone.expect_err("a refusal").0, 404);
    running.shutdown().await;
}

#[tokio::test]
async fn what_ends_while_the_endpoint_is_away_is_told_at_its_return() {
    let (server, account) = with_zone().await;
    let (client, dir) = (&server.client, server.dir.path());
    let (mut endpoint, _) = serving(client, dir, &[]).await;
    let (grant, who) = joined(client, &mut endpoint, &account, 1).await;
    drop(endpoint);
    // The session stays while its endpoint is away; its carrier has to wait.
    let away = loop {
        match client.link(&grant, &account).await {
            Ok(socket) => drop(socket),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(
        (away.0, &away.1["code"]),
        (503, &json!("endpoint-unreachable"))
    );
    let path = format!("links/{}", text(&grant["session_id"]));
    let (status, _) = client
        .call(reqwest::Method::DELETE, &path, Some(&account), None)
        .await;
    assert_eq!(status.as_u16(), 204);
    let mut socket = hello(client, dir, 200, 200).await;
    next_of(&mut socket, "welcome").await;
    let held = json!({"type": "held", "session": {"who": who, "up": true}});
    send(&mut socket, held).await;
    send(&mut socket, json!({"type": "ready"})).await;
    let revoke = next_of(&mut socket, "revoke").await;
    assert_eq!(revoke["session_id"], grant["session_id"]);
    let adopted = next_of(&mut socket, "adopted").await;
    assert_eq!(
        (&adopted["accepted"], &adopted["revoked"]),
        (&json!(0), &json!(1))
    );
}
