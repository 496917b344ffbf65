//! Sessions of the contract: a host serves a zone.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use warp_coordinator::Coordinator;
use warp_protocol::rest::AccountRole;

use crate::common::{Client, Server, Socket, config, next_of, refused, send, text, within};
use crate::hosts::{
    Volunteer, beat, beats, easy, quick, register, registration, staff, until, volunteer,
    volunteer_with,
};

/// A host in `prontera` that can be chosen, a game master, and a player who is not there yet.
struct Scene {
    server: Server,
    host: Volunteer,
    _socket: Socket,
    gm: String,
    bob: String,
}

async fn scene() -> Scene {
    let server = quick(|_| {}).await;
    let host = volunteer(&server.client, "alice", "a").await;
    let socket = host.attach(&server.client).await;
    beats(&server.client, &host.token, "a", beat(5.0)).await;
    let gm = staff(&server, "gina", AccountRole::Gm).await;
    let bob = server.client.player("bob").await;
    Scene {
        server,
        host,
        _socket: socket,
        gm,
        bob,
    }
}

impl Scene {
    fn client(&self) -> &Client {
        &self.server.client
    }

    async fn post(&self, path: &str, token: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.client()
            .call(Method::POST, path, Some(token), body)
            .await
    }

    async fn create(&self, token: &str) -> (StatusCode, Value) {
        let body = json!({"host_id": "a", "zone_id": "prontera", "player_ids": []});
        self.post("sessions/", token, Some(body)).await
    }

    async fn session(&self, id: &str) -> Value {
        let (status, body) = self
            .client()
            .get(&format!("sessions/{id}"), &self.bob)
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    async fn active(&self) -> Vec<Value> {
        let path = "sessions/host/a/active";
        let (status, body) = self.client().get(path, &self.bob).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body.as_array().unwrap().clone()
    }
}

async fn hosts_of(socket: &mut Socket) -> Vec<String> {
    let told = next_of(socket, "hosts").await;
    let hosts = told["hosts"].as_array().unwrap().iter();
    hosts.map(|host| text(&host["host_id"])).collect()
}

/// A10, A11.
#[tokio::test]
async fn a_session_goes_from_pending_over_active_to_ended_under_both_ids() {
    let scene = scene().await;
    let (status, made) = scene.create(&scene.host.token).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(made["status"], "pending");
    assert_eq!(
        (&made["host_id"], &made["zone_id"]),
        (&json!("a"), &json!("prontera"))
    );
    assert_eq!(made["max_players"], 20, "the host's own limit");
    let name = text(&made["session_id"]);
    assert!(name.len() == 24 && name.starts_with("session-"), "{name}");
    let row = made["id"].as_i64().unwrap().to_string();
    // The same pair again is the same session.
    let (status, again) = scene.create(&scene.gm).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &made["id"]));
    for id in [&row, &name] {
        assert_eq!(scene.session(id).await["id"], made["id"]);
    }
    let act = async |id: &str, what: &str, token: &str| {
        scene
            .post(&format!("sessions/{id}/{what}"), token, None)
            .await
    };
    refused(&act(&row, "pause", &scene.gm).await, 409, "conflict");
    let (status, body) = act(&row, "activate", &scene.host.token).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let active = scene.session(&name).await;
    assert_eq!(active["status"], "active");
    assert!(text(&active["started_at"]).ends_with("+00:00"), "{active}");
    refused(&act(&name, "activate", &scene.gm).await, 409, "conflict");
    let (status, _) = act(&name, "end?reason=enough", &scene.gm).await;
    assert_eq!(status, StatusCode::OK);
    let ended = scene.session(&row).await;
    assert_eq!(
        (&ended["status"], &ended["reason"]),
        (&json!("ended"), &json!("enough"))
    );
    assert!(ended["ended_at"].is_string());
    for what in ["activate", "pause", "end"] {
        refused(&act(&row, what, &scene.gm).await, 409, "conflict");
    }
    // Another one of the same pair is new.
    let (status, next) = scene.create(&scene.gm).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_ne!(next["id"], made["id"]);
}

#[tokio::test]
async fn only_the_owner_and_staff_decide_over_a_session() {
    let scene = scene().await;
    let (_, made) = scene.create(&scene.gm).await;
    let id = text(&made["session_id"]);
    refused(&scene.create(&scene.bob).await, 403, "host-not-yours");
    for what in ["activate", "pause", "end"] {
        let answer = scene
            .post(&format!("sessions/{id}/{what}"), &scene.bob, None)
            .await;
        refused(&answer, 403, "host-not-yours");
    }
    let path = format!("sessions/{id}/metrics");
    let told = Some(json!({"avg_latency_ms": 1.0}));
    let answer = scene
        .client()
        .call(Method::PATCH, &path, Some(&scene.bob), told);
    refused(&answer.await, 403, "host-not-yours");
    let named = json!({"host_id": "a", "zone_id": "prontera", "player_ids": ["bob"]});
    let answer = scene
        .post("sessions/", &scene.host.token, Some(named))
        .await;
    refused(&answer, 403, "forbidden");
    let answer = scene
        .post("sessions/cleanup", &scene.host.token, None)
        .await;
    refused(&answer, 403, "forbidden");
    let other = json!({"player_id": "carol"});
    let answer = scene
        .post(&format!("sessions/{id}/players"), &scene.bob, Some(other))
        .await;
    refused(&answer, 403, "forbidden");
}

/// A10.
#[tokio::test]
async fn what_cannot_serve_is_refused_with_the_reason() {
    let scene = scene().await;
    let create = async |host: &str, zone: &str| {
        let body = json!({"host_id": host, "zone_id": zone});
        scene.post("sessions/", &scene.gm, Some(body)).await
    };
    scene
        .server
        .running
        .put_zone(&easy("geffen"))
        .await
        .unwrap();
    refused(&create("nobody", "prontera").await, 404, "not-found");
    refused(&create("a", "nowhere").await, 404, "unknown-zone");
    let other = create("a", "geffen").await;
    refused(&other, 422, "host-refused");
    assert!(
        text(&other.1["detail"]).contains("did not register"),
        "{}",
        other.1
    );
    let mut strict = easy("prontera");
    strict.min_host_quality_score = 99.9;
    scene.server.running.put_zone(&strict).await.unwrap();
    let low = create("a", "prontera").await;
    refused(&low, 422, "host-refused");
    assert!(text(&low.1["detail"]).contains("99.9"), "{}", low.1);
    scene
        .server
        .running
        .put_zone(&easy("prontera"))
        .await
        .unwrap();
    let mut paused = beat(5.0);
    paused["paused"] = json!(true);
    beats(scene.client(), &scene.host.token, "a", paused).await;
    refused(&create("a", "prontera").await, 409, "conflict");
    beats(scene.client(), &scene.host.token, "a", beat(5.0)).await;
    let off = scene
        .post("zones/prontera/disable-p2p", &scene.gm, None)
        .await;
    assert_eq!(off.0, StatusCode::OK);
    refused(&create("a", "prontera").await, 409, "zone-closed");
    scene
        .post("zones/prontera/enable-p2p", &scene.gm, None)
        .await;
    // A33: the switch of all zones.
    let root = staff(&scene.server, "root", AccountRole::Admin).await;
    scene
        .post("fleet/p2p", &root, Some(json!({"enabled": false})))
        .await;
    refused(&create("a", "prontera").await, 409, "zone-closed");
    scene
        .post("fleet/p2p", &root, Some(json!({"enabled": true})))
        .await;
    let path = "zones/prontera/status?new_status=maintenance";
    scene
        .client()
        .call(Method::PATCH, path, Some(&scene.gm), None)
        .await;
    refused(&create("a", "prontera").await, 409, "zone-closed");
}

/// A12, A9: the fleet itself drives it.
#[tokio::test]
async fn players_that_a_host_carries_are_its_session_and_are_counted() {
    let scene = scene().await;
    let client = scene.client();
    assert!(scene.active().await.is_empty());
    let grant = client.granted(&scene.bob, 1).await;
    let mut socket = client.signaling(&grant, &scene.bob).await;
    assert_eq!(hosts_of(&mut socket).await, ["a"]);
    let active = scene.active().await;
    assert_eq!(active.len(), 1, "{active:?}");
    assert_eq!(active[0]["connected_players"], json!(["bob"]));
    assert_eq!(
        (&active[0]["current_players"], &active[0]["status"]),
        (&json!(1), &json!("active"))
    );
    let (_, in_zone) = client
        .get("sessions/zone/prontera/active", &scene.bob)
        .await;
    assert_eq!(in_zone, json!(active));
    let (_, zone) = client.get("zones/prontera", &scene.bob).await;
    let counters = ["total_sessions", "active_sessions", "total_players_served"];
    assert_eq!(
        counters.map(|name| zone[name].as_u64()),
        [Some(1); 3],
        "{zone}"
    );

    // He is moved off, and comes back when he asks.
    let id = text(&active[0]["session_id"]);
    let player = format!("sessions/{id}/players/bob");
    let gone = client
        .call(Method::DELETE, &player, Some(&scene.bob), None)
        .await;
    assert_eq!(gone.0, StatusCode::OK, "{}", gone.1);
    assert!(hosts_of(&mut socket).await.is_empty());
    until(async || scene.session(&id).await["current_players"] == 0).await;
    let again = client
        .call(Method::DELETE, &player, Some(&scene.bob), None)
        .await;
    refused(&again, 404, "not-found");
    let add = format!("sessions/{id}/players");
    let (status, body) = scene
        .post(&add, &scene.bob, Some(json!({"player_id": "bob"})))
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(hosts_of(&mut socket).await, ["a"]);
    assert_eq!(scene.session(&id).await["current_players"], 1);
    // Who does not play there cannot be carried, and nobody is by a host of their own.
    let add_as_gm = async |who: &str| {
        scene
            .post(&add, &scene.gm, Some(json!({"player_id": who})))
            .await
    };
    refused(&add_as_gm("nobody").await, 404, "not-found");
    client.granted(&scene.host.token, 7).await;
    refused(&add_as_gm("alice").await, 422, "host-refused");
    let (_, zone) = client.get("zones/prontera", &scene.bob).await;
    assert_eq!(
        counters.map(|name| zone[name].as_u64()),
        [Some(1), Some(1), Some(2)],
        "{zone}"
    );

    // Metrics: as told, until members measure.
    let told =
        json!({"avg_latency_ms": 80.0, "packet_loss_percent": 1.5, "bandwidth_usage_mbps": 2.0});
    let path = format!("sessions/{id}/metrics");
    let done = client
        .call(Method::PATCH, &path, Some(&scene.host.token), Some(told))
        .await;
    assert_eq!(done.0, StatusCode::OK, "{}", done.1);
    let seen = scene.session(&id).await;
    assert_eq!(seen["average_latency_ms"], 80.0);
    assert_eq!(
        (
            &seen["average_packet_loss_percent"],
            &seen["bandwidth_usage_mbps"]
        ),
        (&json!(1.5), &json!(2.0))
    );
    send(&mut socket, json!({"type": "host-report", "host_id": "a", "epoch": 1, "verdict": "good", "rtt_ms": 33.0, "loss_percent": 0.5})).await;
    until(async || scene.session(&id).await["average_latency_ms"] == 33.0).await;
    for wrong in [
        json!({"avg_latency_ms": -1}),
        json!({"packet_loss_percent": 101}),
        json!({"bandwidth_usage_mbps": "x"}),
        json!({"speed": 1}),
    ] {
        let answer = client
            .call(Method::PATCH, &path, Some(&scene.host.token), Some(wrong))
            .await;
        refused(&answer, 422, "bad-request");
    }
    // He leaves the zone: nobody is there any more.
    let left = format!("links/{}", text(&grant["session_id"]));
    client
        .call(Method::DELETE, &left, Some(&scene.bob), None)
        .await;
    until(async || scene.session(&id).await["current_players"] == 0).await;
}

/// A12: a full session refuses one more.
#[tokio::test]
async fn a_full_session_takes_nobody_else() {
    let scene = scene().await;
    let client = scene.client();
    let mut small = registration(client, &scene.host.token, 7, "a").await;
    small["max_players"] = json!(1);
    assert_eq!(
        register(client, &scene.host.token, small).await.0,
        StatusCode::CREATED
    );
    client.granted(&scene.bob, 1).await;
    let carol = client.player("carol").await;
    client.granted(&carol, 2).await;
    let active = scene.active().await;
    assert_eq!(active[0]["connected_players"], json!(["bob"]));
    let add = format!("sessions/{}/players", active[0]["id"]);
    let answer = scene
        .post(&add, &scene.gm, Some(json!({"player_id": "carol"})))
        .await;
    refused(&answer, 409, "conflict");
    let again = scene
        .post(&add, &scene.gm, Some(json!({"player_id": "bob"})))
        .await;
    assert_eq!(again.0, StatusCode::OK, "he is there already");
}

/// What is paused or ended over REST has its effect on those who play.
#[tokio::test]
async fn pausing_and_ending_move_the_players_off_and_keep_others_away() {
    let scene = scene().await;
    let client = scene.client();
    let grant = client.granted(&scene.bob, 1).await;
    let mut bob = client.signaling(&grant, &scene.bob).await;
    assert_eq!(hosts_of(&mut bob).await, ["a"]);
    let id = text(&scene.active().await[0]["session_id"]);
    let act = async |what: &str| {
        let (status, body) = scene
            .post(&format!("sessions/{id}/{what}"), &scene.gm, None)
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
    };
    act("pause").await;
    assert!(hosts_of(&mut bob).await.is_empty());
    let carol = client.player("carol").await;
    let theirs = client.granted(&carol, 2).await;
    let mut carol_socket = client.signaling(&theirs, &carol).await;
    assert!(
        hosts_of(&mut carol_socket).await.is_empty(),
        "no new ones come"
    );
    assert_eq!(scene.session(&id).await["status"], "paused");
    // Registered anew it is still paused.
    let same = registration(client, &scene.host.token, 7, "a").await;
    register(client, &scene.host.token, same).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(scene.session(&id).await["current_players"], 0);
    act("activate").await;
    assert_eq!(hosts_of(&mut bob).await, ["a"]);
    assert_eq!(hosts_of(&mut carol_socket).await, ["a"]);
    assert_eq!(
        scene.session(&id).await["connected_players"],
        json!(["bob", "carol"])
    );
    act("end").await;
    for socket in [&mut bob, &mut carol_socket] {
        assert!(hosts_of(socket).await.is_empty());
    }
    assert_eq!(scene.session(&id).await["status"], "ended");
    assert!(scene.active().await.is_empty());
    // Until somebody makes another session.
    let (status, next) = scene.create(&scene.host.token).await;
    assert_eq!(status, StatusCode::CREATED, "{next}");
    assert_eq!(hosts_of(&mut bob).await, ["a"]);
    until(async || scene.active().await.len() == 1).await;
    assert_eq!(scene.active().await[0]["id"], next["id"]);
}

/// A3, A7.
#[tokio::test]
async fn a_lost_host_fails_its_session_and_a_closed_zone_ends_it() {
    let server = quick(|config| config.hosts.limits.silent = Duration::from_millis(1500)).await;
    let client = &server.client;
    let alice = volunteer(client, "alice", "a").await;
    let _host = alice.attach(client).await;
    let bob = client.player("bob").await;
    client.granted(&bob, 1).await;
    let of = async |status: &str| {
        let (_, list) = client
            .get(&format!("sessions/?status={status}"), &bob)
            .await;
        list.as_array().unwrap().len()
    };
    assert_eq!(of("ACTIVE").await, 1);
    // No heartbeat from here on.
    until(async || of("failed").await == 1).await;
    beats(client, &alice.token, "a", beat(1.0)).await;
    until(async || of("active").await == 1).await;
    let gm = staff(&server, "gina", AccountRole::Gm).await;
    client
        .call(Method::POST, "zones/prontera/disable-p2p", Some(&gm), None)
        .await;
    assert_eq!((of("active").await, of("ended").await), (0, 1));
    let (_, zone) = client.get("zones/prontera", &bob).await;
    assert_eq!(
        (&zone["total_sessions"], &zone["active_sessions"]),
        (&json!(2), &json!(0))
    );
}

/// A13.
#[tokio::test]
async fn an_idle_session_fails_by_cleanup_and_a_busy_one_stays() {
    let scene = scene().await;
    scene.create(&scene.gm).await;
    for wrong in ["0", "-1", "x", "10081", "99999999999"] {
        let path = format!("sessions/cleanup?timeout_minutes={wrong}");
        refused(
            &scene.post(&path, &scene.gm, None).await,
            422,
            "bad-request",
        );
    }
    let path = "sessions/cleanup?timeout_minutes=1";
    let (_, done) = scene.post(path, &scene.gm, None).await;
    assert_eq!(done["message"], "0 idle sessions have failed", "too young");

    // Where no time is left at all, only who plays keeps a session.
    let server = quick(|config| config.hosts.session_idle = Duration::ZERO).await;
    server.running.put_zone(&easy("geffen")).await.unwrap();
    let client = &server.client;
    let gm = staff(&server, "gina", AccountRole::Gm).await;
    let both = |body: &mut Value| body["zones"] = json!(["prontera", "geffen"]);
    let host = volunteer_with(client, "alice", "a", both).await;
    let _socket = host.attach(client).await;
    let bob = client.player("bob").await;
    client.granted(&bob, 1).await;
    let idle = json!({"host_id": "a", "zone_id": "geffen"});
    let made = client
        .call(Method::POST, "sessions/", Some(&gm), Some(idle))
        .await;
    assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    let done = client
        .call(Method::POST, "sessions/cleanup", Some(&gm), None)
        .await;
    assert_eq!(done.1["message"], "1 idle sessions have failed");
    let (_, all) = client.get("sessions/", &bob).await;
    let seen = |n: usize| (text(&all[n]["zone_id"]), text(&all[n]["status"]));
    assert_eq!(seen(0), ("geffen".into(), "failed".into()));
    assert_eq!(seen(1), ("prontera".into(), "active".into()));
}

/// A14.
#[tokio::test]
async fn a_host_that_loses_a_fifth_is_left_and_the_player_is_told() {
    let scene = scene().await;
    let client = scene.client();
    let grant = client.granted(&scene.bob, 1).await;
    let mut socket = client.signaling(&grant, &scene.bob).await;
    assert_eq!(hosts_of(&mut socket).await, ["a"]);
    send(&mut socket, json!({"type": "host-report", "host_id": "a", "epoch": 1, "verdict": "good", "rtt_ms": 20.0, "loss_percent": 20.0})).await;
    let told = next_of(&mut socket, "hosts").await;
    assert_eq!(
        (&told["hosts"], &told["reason"]),
        (&json!([]), &json!("reported")),
        "{told}"
    );
}

/// What was counted and stored is there after a new start; what was open has failed.
#[tokio::test]
async fn counters_and_sessions_survive_a_new_start() {
    let scene = scene().await;
    scene.server.client.granted(&scene.bob, 1).await;
    let id = text(&scene.active().await[0]["session_id"]);
    let Scene { server, bob, .. } = scene;
    let Server { running, dir, .. } = server;
    running.shutdown().await;
    let running = Coordinator::start(config(dir.path())).await.unwrap();
    let client = Client::new(&running.url);
    let (status, seen) = client.get(&format!("sessions/{id}"), &bob).await;
    assert_eq!(status, StatusCode::OK, "{seen}");
    // It ended with the coordinator that stopped in good order.
    assert_eq!(
        (&seen["status"], &seen["current_players"]),
        (&json!("ended"), &json!(0))
    );
    let (_, zone) = client.get("zones/prontera", &bob).await;
    assert_eq!(
        (&zone["total_sessions"], &zone["active_sessions"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(zone["total_players_served"], 1);
    within(running.shutdown()).await;
}
