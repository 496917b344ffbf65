//! The control socket of remote endpoints, with an endpoint of this file's own: what a coordinator
//! believes, and what it does not.

use std::path::Path;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use warp_coordinator::{Coordinator, CoordinatorConfig, EndpointMode, Running};
use warp_protocol::{
    endpoint::{VERSION, endpoint_message},
    hosting::MAX_MEMBERS,
    identity::PublicKey,
};

use crate::common::{
    Client, Server, Socket, config, identity, next_of, next_of_all, refused, send, send_text,
    start_with, text, within, zone,
};
use crate::hosts::{Volunteer, beat, beats, easy, register, registration, volunteer};

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

/// One that serves, and holds these hosts and sessions; gives what it was told up to having adopted them.
async fn serving_with(
    client: &Client,
    dir: &Path,
    hosts: &[Value],
    held: &[Value],
) -> (Socket, Vec<Value>) {
    let mut socket = hello(client, dir, 200, 200).await;
    next_of(&mut socket, "welcome").await;
    for host in hosts {
        send(&mut socket, json!({"type": "held-host", "host": host})).await;
    }
    for session in held {
        send(&mut socket, json!({"type": "held", "session": session})).await;
    }
    send(&mut socket, json!({"type": "ready"})).await;
    let told = until(&mut socket, "adopted").await;
    (socket, told)
}

/// What comes up to a message of that type.
async fn until(socket: &mut Socket, kind: &str) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let message = next_of_all(socket).await;
        let last = message["type"] == kind;
        all.push(message);
        if last {
            return all;
        }
    }
}

/// What comes up to the end.
async fn rest(socket: &mut Socket) -> Vec<Value> {
    use futures_util::StreamExt;
    let mut all = Vec::new();
    while let Some(Ok(message)) = within(socket.next()).await {
        match message {
            Message::Text(text) => all.push(serde_json::from_str(&text).unwrap()),
            Message::Close(_) => break,
            _ => {}
        }
    }
    all
}

fn kinds(messages: &[Value]) -> Vec<&str> {
    let kinds = messages.iter().map(|message| &message["type"]);
    kinds.map(|kind| kind.as_str().unwrap()).collect()
}

/// A host that bob runs, a session of alice's on it, and what the endpoint has of both.
struct Carried {
    endpoint: Socket,
    bob: Volunteer,
    bobs: Socket,
    alice: String,
    grant: Value,
    route: Value,
    host: Value,
    session: Value,
}

async fn carried(server: &Server) -> Carried {
    let (client, dir) = (&server.client, server.dir.path());
    server.running.put_zone(&easy("prontera")).await.unwrap();
    let alice = client.player("alice").await;
    let (mut endpoint, _) = serving(client, dir, &[]).await;
    let bob = volunteer(client, "bob", "bobs").await;
    let bobs = bob.attach(client).await;
    let granted = next_of(&mut endpoint, "grant-host").await;
    let mut spec = granted["spec"].clone();
    spec["ice_servers"] = json!([]);
    assert_eq!(spec["room"], bob.grant["session_id"]);
    assert_eq!(spec["peer_id"], bob.grant["peer_id"]);
    let (grant, who) = joined(client, &mut endpoint, &alice, 1).await;
    let route = next_of(&mut endpoint, "route").await;
    let way = json!({
        "host": route["host"], "slot": route["slot"], "epoch": route["epoch"], "way": route["way"],
    });
    Carried {
        endpoint,
        bob,
        bobs,
        alice,
        grant,
        host: json!({"spec": spec, "next_slot": 40, "last_epoch": route["epoch"]}),
        session: json!({"who": who, "up": true, "ways": [way]}),
        route,
    }
}

#[tokio::test]
async fn a_restarted_coordinator_takes_hosts_over_with_all_whom_they_carry() {
    let server = start_with(remote).await;
    let Carried {
        mut endpoint,
        bob,
        mut bobs,
        alice,
        grant,
        route,
        host,
        session,
    } = Box::pin(carried(&server)).await;
    let mut signaling = server.client.signaling(&grant, &alice).await;
    let before = next_of(&mut signaling, "hosts").await["hosts"].clone();
    assert_eq!(before[0]["host_id"], "bobs");

    // One that stops says nothing that would end what goes on without it.
    let (running, dir, client) = again(server).await;
    let said = [rest(&mut endpoint).await, rest(&mut bobs).await].concat();
    for ends in ["revoke", "unroute", "end-host", "unserve", "session-ended"] {
        assert!(!kinds(&said).contains(&ends), "{said:?}");
    }
    let said = rest(&mut signaling).await;
    assert!(!kinds(&said).contains(&"hosts"), "{said:?}");

    // Before the endpoint is back a host is not told that it is not known.
    let (status, body) = beats(&client, &bob.token, &bob.id, beat(10.0)).await;
    refused(&(status, body), 503, "coordinator-fault");
    let path = format!("hosts/{}", bob.id);
    let goes = client.call(reqwest::Method::DELETE, &path, Some(&bob.token), None);
    refused(&goes.await, 503, "coordinator-fault");
    let (mut endpoint, told) = serving_with(&client, dir.path(), &[host], &[session]).await;
    assert_eq!(kinds(&told), ["adopted"]);
    assert_eq!(
        (&told[0]["accepted"], &told[0]["revoked"]),
        (&json!(1), &json!(0))
    );
    // All that is to be from now on is said: what there is already.
    assert_eq!(next_of(&mut endpoint, "route").await, route);

    // Both find their places as they were.
    let (status, body) = beats(&client, &bob.token, &bob.id, beat(10.0)).await;
    assert_eq!(status.as_u16(), 200, "{body}");
    let mut bobs = client.signaling(&bob.grant, &bob.token).await;
    let member = next_of(&mut bobs, "serve").await["member"].clone();
    assert_eq!(member["session_id"], grant["session_id"]);
    assert_eq!(
        (&member["slot"], &member["epoch"]),
        (&route["slot"], &route["epoch"])
    );
    let mut signaling = client.signaling(&grant, &alice).await;
    assert_eq!(next_of(&mut signaling, "hosts").await["hosts"], before);

    // Who registers again has the same place, and the endpoint hears what to name from now on.
    let mut body = registration(&client, &bob.token, 7, &bob.id).await;
    body["max_players"] = json!(11);
    let (status, anew) = register(&client, &bob.token, body).await;
    assert_eq!(status.as_u16(), 201, "{anew}");
    for same in ["session_id", "peer_id"] {
        assert_eq!(anew[same], bob.grant[same]);
    }
    let renewed = next_of(&mut endpoint, "renew-host").await;
    assert_eq!(renewed["spec"]["room"], bob.grant["session_id"]);
    assert_eq!(renewed["spec"]["registration"]["max_players"], 11);

    // Somebody new comes behind all slots that there ever were or were about to be, in the same lease.
    let carol = client.player("carol").await;
    joined(&client, &mut endpoint, &carol, 3).await;
    let next = next_of(&mut endpoint, "route").await;
    assert_eq!(
        (&next["slot"], &next["epoch"]),
        (&json!(40 + 2 * MAX_MEMBERS), &route["epoch"])
    );
    running.shutdown().await;
}

#[tokio::test]
async fn hosts_that_nobody_registered_are_let_go() {
    let server = start_with(remote).await;
    let there = Box::pin(carried(&server)).await;
    let (running, dir, client) = again(server).await;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut host = there.host.clone();
        change(&mut host["spec"]);
        host
    };
    let certificate = there.session["who"]["certificate"].clone();
    let forged = [
        changed(&|spec| spec["account"] = json!(999)),
        changed(&|spec| spec["account"] = there.session["who"]["account"].clone()),
        changed(&|spec| spec["registration"]["certificate"] = json!("00")),
        changed(&|spec| spec["registration"]["certificate"] = certificate.clone()),
        changed(&|spec| spec["registration"]["device_key"] = json!(identity(9).key())),
        changed(&|spec| spec["registration"]["zones"] = json!(["atlantis"])),
        changed(&|spec| spec["registration"]["host_id"] = json!("a b")),
    ];
    let mut session = there.session.clone();
    let (endpoint, told) =
        serving_with(&client, dir.path(), &forged, std::slice::from_ref(&session)).await;
    let mut wanted = vec!["end-host"; forged.len()];
    wanted.push("adopted");
    assert_eq!(kinds(&told), wanted);
    // The session is alice's, and nobody carries it.
    assert_eq!(told.last().unwrap()["accepted"], 1);
    let mut signaling = client.signaling(&there.grant, &there.alice).await;
    assert_eq!(next_of(&mut signaling, "hosts").await["hosts"], json!([]));
    drop(endpoint);

    // A route that cannot be is taken away; the rest is what it was.
    session["ways"][0]["slot"] = json!(41);
    let (mut endpoint, told) = serving_with(
        &client,
        dir.path(),
        std::slice::from_ref(&there.host),
        &[session],
    )
    .await;
    assert_eq!(kinds(&told), ["adopted"]);
    let unroute = next_of(&mut endpoint, "unroute").await;
    assert_eq!(
        (&unroute["host"], &unroute["slot"]),
        (&there.route["host"], &json!(41))
    );
    running.shutdown().await;
}

#[tokio::test]
async fn hosts_stay_while_the_control_socket_is_cut() {
    let server = start_with(remote).await;
    let mut there = Box::pin(carried(&server)).await;
    let (client, dir) = (&server.client, server.dir.path());
    let mut signaling = client.signaling(&there.grant, &there.alice).await;
    let before = next_of(&mut signaling, "hosts").await["hosts"].clone();
    drop(there.endpoint);
    let hosts = [there.host.clone()];
    let (mut endpoint, told) =
        serving_with(client, dir, &hosts, std::slice::from_ref(&there.session)).await;
    assert_eq!(kinds(&told), ["adopted"]);
    assert_eq!(next_of(&mut endpoint, "route").await, there.route);
    // Nobody was told anything, and what is said to the host arrives.
    let path = format!("hosts/{}", there.bob.id);
    let call = async |method, path: &str| {
        let token = Some(there.bob.token.as_str());
        client.call(method, path, token, None).await
    };
    let (status, view) = call(reqwest::Method::GET, &path).await;
    assert_eq!(
        (status.as_u16(), &view["current_players"]),
        (200, &json!(1))
    );

    // One that is taken out while it is away ends at its return.
    drop(endpoint);
    while let Ok(socket) = client.link(&there.grant, &there.alice).await {
        drop(socket);
    }
    let (status, _) = call(reqwest::Method::DELETE, &path).await;
    assert_eq!(status.as_u16(), 204);
    let told = until(&mut there.bobs, "unserve").await;
    assert!(!kinds(&told).contains(&"policy"), "{told:?}");
    let hosts_now = next_of(&mut signaling, "hosts").await["hosts"].clone();
    assert_ne!(hosts_now, before);
    assert_eq!(hosts_now, json!([]));
    let (_endpoint, told) = serving_with(client, dir, &hosts, &[there.session]).await;
    assert_eq!(kinds(&told), ["end-host", "adopted"]);
    assert_eq!(told[0]["room"], there.bob.grant["session_id"]);
    server.running.shutdown().await;
}
