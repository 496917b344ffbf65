//! Who may use hosts: switches of zones and of the whole fleet, and zones without fallback.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use warp_coordinator::{Coordinator, Offline};
use warp_link_core::verify;
use warp_protocol::{
    hosting::{SignedPolicy, ZonePolicy, policy_message},
    identity::{PublicKey, SIGNATURE},
    rest::AccountRole,
};

use crate::common::{Client, Server, Socket, close_code, config, next_of, refused, send, text};
use crate::hosts::{
    Volunteer, beat, beats, easy, ids, quick, register, registration, staff, volunteer,
};

/// A host, and bob with a session that goes over it; both have been told all there is.
struct Meeting {
    server: Server,
    alice: Volunteer,
    host: Socket,
    token: String,
    grant: Value,
    bob: Socket,
}

async fn meeting() -> Meeting {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let alice = volunteer(client, "alice", "a").await;
    let host = alice.attach(client).await;
    let token = client.player("bob").await;
    let grant = client.granted(&token, 1).await;
    let mut bob = client.signaling(&grant, &token).await;
    let told = next_of(&mut bob, "policy").await;
    let policy = read(&told, server.running.public_key());
    assert!(policy.p2p && policy.fallback);
    assert_eq!(policy.zone_id, "prontera");
    assert_eq!(policy.expires - policy.issued, 3600);
    assert_eq!(
        policy.endpoints[0].to_string(),
        text(&grant["endpoint_key"])
    );
    let told = next_of(&mut bob, "hosts").await;
    assert_eq!(told["hosts"][0]["host_id"], "a");
    Meeting {
        server,
        alice,
        host,
        token,
        grant,
        bob,
    }
}

/// The policy in a signal, whose signature is the coordinator's.
fn read(signal: &Value, key: PublicKey) -> ZonePolicy {
    let signed: SignedPolicy = serde_json::from_value(signal["policy"].clone()).unwrap();
    let mut signature = [0; SIGNATURE];
    hex::decode_to_slice(&signed.signature, &mut signature).unwrap();
    assert!(verify(&key, &policy_message(&signed.policy), &signature));
    serde_json::from_str(&signed.policy).unwrap()
}

impl Meeting {
    /// Both are told that P2P is over, and the endpoint goes on serving.
    async fn is_off(&mut self) {
        let key = self.server.running.public_key();
        let client = self.server.client.clone();
        for socket in [&mut self.host, &mut self.bob] {
            let told = next_of(socket, "policy").await;
            assert!(!read(&told, key).p2p);
        }
        let told = next_of(&mut self.bob, "hosts").await;
        assert_eq!(
            (&told["hosts"], &told["reason"]),
            (&json!([]), &json!("policy"))
        );
        let told = next_of(&mut self.host, "unserve").await;
        assert_eq!(told["peer_id"], self.grant["peer_id"]);
        for to in [&self.alice.grant["peer_id"], &json!("endpoint")] {
            send(
                &mut self.bob,
                json!({"type": "offer", "to": to, "sdp": "x"}),
            )
            .await;
            let refused = next_of(&mut self.bob, "error").await;
            assert_eq!(refused["code"], "forbidden", "{to}");
        }
        assert!(client.link(&self.grant, &self.token).await.is_ok());
        let guest = json!({"peer_id": "player-x"});
        let path = format!("links/{}/guests", text(&self.grant["session_id"]));
        let answer = client.call(Method::POST, &path, Some(&self.token), Some(guest));
        refused(&answer.await, 403, "forbidden");
        let carol = client.player(&format!("carol{}", self.host_epochs())).await;
        let (status, grant) = client.join("prontera", &carol, 2).await;
        assert_eq!(status, StatusCode::CREATED, "{grant}");
        assert_eq!(grant["zone"]["p2p_enabled"], false);
        assert_eq!(grant["ice_servers"], json!([]));
        let path = format!("links/{}", text(&grant["session_id"]));
        client.call(Method::DELETE, &path, Some(&carol), None).await;
        let best = client.get("hosts/available/best?zone_id=prontera", &carol);
        refused(&best.await, 404, "no-host");
        // The host itself stays registered.
        let beaten = beats(&client, &self.alice.token, "a", beat(1.0)).await;
        assert_eq!(beaten.0, StatusCode::OK);
    }

    /// Bob has its host again.
    async fn is_on(&mut self) {
        let key = self.server.running.public_key();
        for socket in [&mut self.host, &mut self.bob] {
            let told = next_of(socket, "policy").await;
            assert!(read(&told, key).p2p);
        }
        let told = next_of(&mut self.bob, "hosts").await;
        assert_eq!(told["hosts"][0]["host_id"], "a", "{told}");
        assert_eq!(told["hosts"][0]["epoch"], self.host_epochs());
    }

    fn host_epochs(&self) -> u64 {
        self.server.running.fleet_counters().leases_granted
    }
}

async fn switch(client: &Client, token: &str, enabled: bool) -> (StatusCode, Value) {
    let body = json!({"enabled": enabled});
    client
        .call(Method::POST, "fleet/p2p", Some(token), Some(body))
        .await
}

#[tokio::test]
async fn a_zones_p2p_is_switched_by_its_staff_and_reaches_everybody() {
    let mut m = meeting().await;
    let client = m.server.client.clone();
    let call =
        async |path: &str, token: &str| client.call(Method::POST, path, Some(token), None).await;
    let (off, on) = ("zones/prontera/disable-p2p", "zones/prontera/enable-p2p");
    refused(&call(off, &m.token).await, 403, "forbidden");
    let gm = staff(&m.server, "gina", AccountRole::Gm).await;
    refused(&call("zones/x/disable-p2p", &gm).await, 404, "unknown-zone");
    let (status, view) = call(off, &gm).await;
    assert_eq!(
        (status, &view["p2p_enabled"]),
        (StatusCode::OK, &json!(false))
    );
    m.is_off().await;
    let (_, view) = call(on, &gm).await;
    assert_eq!(view["p2p_enabled"], true);
    m.is_on().await;
    // What another process writes counts within seconds.
    let place = config(m.server.dir.path());
    let offline = Offline::open(&place);
    let offline = offline.await.unwrap();
    let mut changed = easy("prontera");
    changed.p2p_enabled = false;
    offline.put_zone(&changed, None).await.unwrap();
    m.is_off().await;
    offline.close().await;
}

#[tokio::test]
async fn a_zones_status_is_set_by_its_staff() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let bob = client.player("bob").await;
    let gm = staff(&server, "gina", AccountRole::Gm).await;
    let set = async |status: &str, token: &str| {
        let path = format!("zones/prontera/status?new_status={status}");
        client.call(Method::PATCH, &path, Some(token), None).await
    };
    refused(&set("disabled", &bob).await, 403, "forbidden");
    refused(&set("ajar", &gm).await, 422, "bad-request");
    let (status, view) = set("Maintenance", &gm).await;
    assert_eq!(
        (status, &view["status"]),
        (StatusCode::OK, &json!("maintenance"))
    );
    refused(&client.join("prontera", &bob, 1).await, 409, "zone-closed");
    set("enabled", &gm).await;
    client.granted(&bob, 1).await;
}

#[tokio::test]
async fn one_switch_sends_everybody_back_to_the_server_and_outlives_a_restart() {
    let mut m = meeting().await;
    let client = m.server.client.clone();
    let gm = staff(&m.server, "gina", AccountRole::Gm).await;
    let admin = staff(&m.server, "root", AccountRole::Admin).await;
    refused(&switch(&client, &gm, false).await, 403, "forbidden");
    let (status, body) = switch(&client, &admin, false).await;
    assert_eq!((status, body), (StatusCode::OK, json!({"enabled": false})));
    m.is_off().await;
    switch(&client, &admin, true).await;
    m.is_on().await;
    // By another process, as `warp-coordinator p2p off` does.
    let place = config(m.server.dir.path());
    let offline = Offline::open(&place);
    let offline = offline.await.unwrap();
    offline.set_p2p(false).await.unwrap();
    offline.close().await;
    m.is_off().await;

    let Server { running, dir, .. } = m.server;
    running.shutdown().await;
    let again = Coordinator::start(config(dir.path())).await.unwrap();
    let client = Client::new(&again.url);
    let (status, body) = client.login("bob", "sesame").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let token = text(&body["access_token"]);
    let (_, body) = client.get("fleet/p2p", &token).await;
    assert_eq!(body, json!({"enabled": false}));
    again.shutdown().await;
}

#[tokio::test]
async fn without_fallback_a_player_without_a_host_is_told_no() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let mut strict = easy("prontera");
    strict.fallback_enabled = false;
    server.running.put_zone(&strict).await.unwrap();
    let bob = client.player("bob").await;
    refused(&client.join("prontera", &bob, 1).await, 409, "no-host");
    let alice = volunteer(client, "alice", "a").await;
    let host = alice.attach(client).await;
    // Her own host is none for her.
    refused(
        &client.join("prontera", &alice.token, 1).await,
        409,
        "no-host",
    );
    let grant = client.granted(&bob, 1).await;
    let mut socket = client.signaling(&grant, &bob).await;
    let told = next_of(&mut socket, "policy").await;
    assert!(!read(&told, server.running.public_key()).fallback);
    assert_eq!(
        next_of(&mut socket, "hosts").await["hosts"][0]["host_id"],
        "a"
    );
    drop(host);
    let told = next_of(&mut socket, "hosts").await;
    assert_eq!(
        (&told["hosts"], &told["reason"]),
        (&json!([]), &json!("silent"))
    );
    // Without P2P the server carries the zone.
    strict.p2p_enabled = false;
    server.running.put_zone(&strict).await.unwrap();
    let carol = client.player("carol").await;
    client.granted(&carol, 1).await;
}

#[tokio::test]
async fn the_signaling_socket_of_a_banned_or_removed_host_is_closed_with_the_reason() {
    let server = quick(|config| config.ping_every = Duration::from_millis(200)).await;
    let client = &server.client;
    let admin = staff(&server, "boss", AccountRole::Admin).await;
    let hilda = volunteer(client, "hilda", "hilda").await;
    let horst = volunteer(client, "horst", "horst").await;
    let token = client.player("heidi").await;
    let body = registration(client, &token, 9, "heidi").await;
    let (status, grant) = register(client, &token, body).await;
    assert_eq!(status, StatusCode::CREATED, "{grant}");
    let mut sockets = Vec::new();
    for (grant, token) in [
        (&hilda.grant, &hilda.token),
        (&horst.grant, &horst.token),
        (&grant, &token),
    ] {
        let mut socket = client.signaling(grant, token).await;
        next_of(&mut socket, "policy").await;
        sockets.push(socket);
    }
    let [mut account, mut removed, mut device] = <[_; 3]>::try_from(sockets).unwrap();

    let ban = |body: Value| client.call(Method::POST, "bans", Some(&admin), Some(body));
    let (status, body) = ban(json!({"account": "hilda", "reason": "a test"})).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(close_code(&mut account).await, 4004);
    let key = crate::common::identity(9).key().to_string();
    let (status, body) = ban(json!({"device": key, "reason": "a test"})).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(close_code(&mut device).await, 4004);
    let gone = client.call(Method::DELETE, "hosts/horst", Some(&admin), None);
    assert_eq!(gone.await.0, StatusCode::NO_CONTENT);
    assert_eq!(close_code(&mut removed).await, 4003);
    assert!(ids(client, &admin, "hosts").await.is_empty());
    // The peer id of before opens nothing.
    let path = format!("signaling/ws?peer_id={}", text(&horst.grant["peer_id"]));
    let again = client.socket(&path, Some(&horst.token)).await;
    assert_eq!(again.unwrap_err().0, 403);

    // A player's as well, when the session is over and the launcher leaves it open.
    let alice = client.player("alice").await;
    let grant = client.granted(&alice, 1).await;
    let mut socket = client.signaling(&grant, &alice).await;
    next_of(&mut socket, "session-joined").await;
    let path = format!("links/{}", text(&grant["session_id"]));
    let ended = client.call(Method::DELETE, &path, Some(&alice), None);
    assert_eq!(ended.await.0, StatusCode::NO_CONTENT);
    next_of(&mut socket, "session-ended").await;
    assert_eq!(close_code(&mut socket).await, 4003);
}
