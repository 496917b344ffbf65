//! Hosts register, tell how they are doing, are chosen, drain and go.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use warp_coordinator::{CoordinatorConfig, FleetLimits, HostsWho};
use warp_protocol::{Secret, rest::AccountRole, zone::ZoneFile};

use crate::common::{Client, Server, Socket, next_of, refused, start_with, text, within, zone};

/// A zone that takes nearly every host.
pub(crate) fn easy(id: &str) -> ZoneFile {
    let mut zone = zone(id);
    zone.min_host_quality_score = 7.0;
    zone.min_bandwidth_mbps = 20;
    zone.max_latency_ms = 100;
    zone
}

/// A coordinator that decides within moments, with the zone `prontera`.
pub(crate) async fn quick(change: impl FnOnce(&mut CoordinatorConfig)) -> Server {
    let server = start_with(|config| {
        config.hosts.limits = FleetLimits {
            evaluate: Duration::from_millis(100),
            grace: Duration::from_millis(300),
            ..FleetLimits::default()
        };
        change(config);
    })
    .await;
    server.running.put_zone(&easy("prontera")).await.unwrap();
    server
}

/// A host, as its owner sees it.
pub(crate) struct Volunteer {
    pub(crate) token: String,
    pub(crate) id: String,
    pub(crate) grant: Value,
}

pub(crate) fn beat(latency: f64) -> Value {
    json!({
        "latency_ms": latency, "packet_loss_percent": 0.0, "bandwidth_usage_mbps": 1.5,
        "current_players": 0, "current_zones": 1,
    })
}

pub(crate) async fn registration(client: &Client, token: &str, device: u8, id: &str) -> Value {
    let (status, body) = client.certify(token, device).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    json!({
        "host_id": id, "zones": ["prontera"], "cpu_cores": 4, "cpu_frequency_mhz": 3000,
        "memory_mb": 8192, "network_speed_mbps": 100, "max_players": 20,
        "device_key": crate::common::identity(device).key().to_string(),
        "certificate": body["certificate"],
    })
}

pub(crate) async fn register(client: &Client, token: &str, body: Value) -> (StatusCode, Value) {
    client
        .call(Method::POST, "hosts/register", Some(token), Some(body))
        .await
}

pub(crate) async fn beats(
    client: &Client,
    token: &str,
    id: &str,
    beat: Value,
) -> (StatusCode, Value) {
    let path = format!("hosts/{id}/heartbeat");
    client
        .call(Method::POST, &path, Some(token), Some(beat))
        .await
}

/// A new player whose device hosts `id` after these changes.
pub(crate) async fn volunteer_with(
    client: &Client,
    name: &str,
    id: &str,
    change: impl FnOnce(&mut Value),
) -> Volunteer {
    let token = client.player(name).await;
    let mut body = registration(client, &token, 7, id).await;
    change(&mut body);
    let (status, grant) = register(client, &token, body).await;
    assert_eq!(status, StatusCode::CREATED, "{grant}");
    let (status, body) = beats(client, &token, id, beat(10.0)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    Volunteer {
        token,
        id: id.to_owned(),
        grant,
    }
}

pub(crate) async fn volunteer(client: &Client, name: &str, id: &str) -> Volunteer {
    volunteer_with(client, name, id, |_| {}).await
}

impl Volunteer {
    /// Opens its signaling socket, and waits until the coordinator counts on it.
    pub(crate) async fn attach(&self, client: &Client) -> Socket {
        let mut socket = client.signaling(&self.grant, &self.token).await;
        // Told when it is attached, or refused nothing.
        next_of(&mut socket, "policy").await;
        socket
    }
}

pub(crate) async fn ids(client: &Client, token: &str, path: &str) -> Vec<String> {
    let (status, body) = client.get(path, token).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let list = body.as_array().unwrap();
    list.iter().map(|host| text(&host["host_id"])).collect()
}

/// Asks until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(mut so: impl FnMut() -> F) {
    within(async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

pub(crate) async fn staff(server: &Server, name: &str, role: AccountRole) -> String {
    let made = server
        .running
        .ensure_user(name, Secret::new("sesame"), role);
    made.await.unwrap();
    let (status, body) = server.client.login(name, "sesame").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    text(&body["access_token"])
}

#[tokio::test]
async fn a_host_is_registered_and_belongs_to_its_account() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let alice = volunteer(client, "alice", "alice-pc").await;
    assert_eq!(alice.grant["heartbeat_seconds"], 5);
    assert_eq!(alice.grant["host"]["status"], "online");
    assert_eq!(alice.grant["host"]["player_name"], "alice");
    assert_eq!(alice.grant["endpoint_peer_id"], "endpoint");
    let shown = alice.grant["host"].to_string();
    assert!(!shown.contains("127.0.0.1"), "no address");
    assert_eq!(ids(client, &alice.token, "hosts/").await, ["alice-pc"]);
    let traffic = server.running.host_traffic();
    let room = text(&alice.grant["session_id"]);
    assert!(traffic.iter().any(|(host, _)| *host == room), "{traffic:?}");

    // The same again, with other hardware: it keeps its place.
    let mut again = registration(client, &alice.token, 7, "alice-pc").await;
    again["cpu_cores"] = json!(16);
    let (status, grant) = register(client, &alice.token, again).await;
    assert_eq!(status, StatusCode::CREATED, "{grant}");
    assert_eq!(grant["session_id"], alice.grant["session_id"]);
    assert_eq!(grant["host"]["cpu_cores"], 16);
    // With another device it has another one.
    let other = registration(client, &alice.token, 8, "alice-pc").await;
    let (status, grant) = register(client, &alice.token, other).await;
    assert_eq!(status, StatusCode::CREATED, "{grant}");
    assert_ne!(grant["session_id"], alice.grant["session_id"]);
    let rooms: Vec<String> = server
        .running
        .host_traffic()
        .into_iter()
        .map(|t| t.0)
        .collect();
    assert_eq!(rooms, [text(&grant["session_id"])]);

    // Nobody else gets at it.
    let bob = client.player("bob").await;
    let body = registration(client, &bob, 9, "alice-pc").await;
    refused(&register(client, &bob, body).await, 403, "host-not-yours");
    let beaten = beats(client, &bob, "alice-pc", beat(1.0)).await;
    refused(&beaten, 403, "host-not-yours");
    for (method, path) in [
        (Method::DELETE, "hosts/alice-pc"),
        (Method::POST, "hosts/alice-pc/drain"),
    ] {
        let answer = client.call(method, path, Some(&bob), None).await;
        refused(&answer, 403, "host-not-yours");
    }
    let gm = staff(&server, "gina", AccountRole::Gm).await;
    let answer = client.call(Method::DELETE, "hosts/alice-pc", Some(&gm), None);
    refused(&answer.await, 403, "host-not-yours");
    // Its own account, and an operator.
    let drained = client.call(
        Method::POST,
        "hosts/alice-pc/drain",
        Some(&alice.token),
        None,
    );
    assert_eq!(drained.await.1["status"], "maintenance");
    let admin = staff(&server, "root", AccountRole::Admin).await;
    let gone = client.call(Method::DELETE, "hosts/alice-pc", Some(&admin), None);
    assert_eq!(gone.await.0, StatusCode::NO_CONTENT);
    assert!(server.running.host_traffic().is_empty());
    refused(&client.get("hosts/alice-pc", &bob).await, 404, "not-found");
}

#[tokio::test]
async fn what_a_zone_wants_and_who_may_host_is_checked() {
    let server = quick(|config| {
        config.hosts.minimum.cpu_cores = 2;
    })
    .await;
    let client = &server.client;
    let alice = client.player("alice").await;
    let with = async |change: fn(&mut Value)| {
        let mut body = registration(client, &alice, 7, "a").await;
        change(&mut body);
        register(client, &alice, body).await
    };
    let weak = with(|b| b["network_speed_mbps"] = json!(5)).await;
    refused(&weak, 422, "host-refused");
    let detail = text(&weak.1["detail"]);
    assert!(
        detail.contains("20 Mbit/s") && detail.contains("15 Mbit/s too little"),
        "{detail}"
    );
    let weak = with(|b| b["cpu_cores"] = json!(1)).await;
    refused(&weak, 422, "host-refused");
    assert!(text(&weak.1["detail"]).contains("2 of processor cores"));
    for change in [
        (|b| b["zones"] = json!(["nowhere"])) as fn(&mut Value),
        |b| b["zones"] = json!([]),
        |b| b["max_players"] = json!(0),
        |b| b["host_id"] = json!("a b"),
        |b| b["hosted"] = json!({"upstream": "192.0.2.1:5121"}),
    ] {
        refused(&with(change).await, 422, "host-refused");
    }
    refused(
        &with(|b| b["cpu_cores"] = json!(-1)).await,
        422,
        "bad-request",
    );
    let forged = with(|b| b["certificate"] = json!("00")).await;
    refused(&forged, 403, "certificate-invalid");
    let other_key = with(|b| {
        b["device_key"] = json!(crate::common::identity(9).key().to_string());
    })
    .await;
    refused(&other_key, 403, "certificate-invalid");
    let (status, body) = client.post("hosts/register", json!({})).await;
    refused(&(status, body), 401, "not-signed-in");
    assert!(ids(client, &alice, "hosts").await.is_empty());

    // Where the operator wants it, only accounts with a role.
    let server = quick(|config| config.hosts.who = HostsWho::Role).await;
    let client = &server.client;
    let alice = client.player("alice").await;
    let body = registration(client, &alice, 7, "a").await;
    refused(&register(client, &alice, body).await, 403, "forbidden");
    let hugo = staff(&server, "hugo", AccountRole::Host).await;
    let body = registration(client, &hugo, 7, "a").await;
    assert_eq!(register(client, &hugo, body).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn a_heartbeat_is_seen_and_an_impossible_one_refused() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let alice = volunteer(client, "alice", "a").await;
    let mut said = beat(25.5);
    said["packet_loss_percent"] = json!(0.1);
    let (status, view) = beats(client, &alice.token, "a", said).await;
    assert_eq!(status, StatusCode::OK, "{view}");
    let (_, seen) = client.get("hosts/a", &alice.token).await;
    assert_eq!(seen, view);
    assert_eq!(seen["latency_ms"], 25.5);
    assert_eq!(seen["packet_loss_percent"], 0.1);
    assert_eq!(seen["bandwidth_usage_mbps"], 1.5);
    // 27.45 + 19.8 + 25 + 10 + 10 + 5, of what is documented.
    assert_eq!(seen["quality_score"], 97.25);
    for (field, value) in [
        ("latency_ms", json!(-1)),
        ("packet_loss_percent", json!(101)),
        ("bandwidth_usage_mbps", json!(-0.5)),
    ] {
        let mut wrong = beat(1.0);
        wrong[field] = value;
        let answer = beats(client, &alice.token, "a", wrong).await;
        refused(&answer, 422, "host-refused");
        assert!(text(&answer.1["detail"]).contains(field));
    }
    let unknown = beats(client, &alice.token, "b", beat(1.0)).await;
    refused(&unknown, 404, "not-found");
    let (_, seen) = client.get("hosts/a", &alice.token).await;
    assert_eq!(seen["latency_ms"], 25.5, "refused ones change nothing");
}

#[tokio::test]
async fn a_host_whose_heartbeats_stop_is_offline_and_its_members_are_told() {
    let server = quick(|config| config.hosts.limits.silent = Duration::from_millis(1500)).await;
    let client = &server.client;
    let alice = volunteer(client, "alice", "a").await;
    let _host = alice.attach(client).await;
    let bob = client.player("bob").await;
    let grant = client.granted(&bob, 1).await;
    let mut member = client.signaling(&grant, &bob).await;
    let told = next_of(&mut member, "hosts").await;
    assert_eq!(told["hosts"][0]["host_id"], "a", "{told}");
    assert_eq!(told["reason"], "first");
    // No heartbeat from here on, while its socket stays open.
    let told = next_of(&mut member, "hosts").await;
    assert_eq!(
        (&told["hosts"], &told["reason"]),
        (&json!([]), &json!("silent"))
    );
    let (_, seen) = client.get("hosts/a", &bob).await;
    assert_eq!(seen["status"], "offline");
    assert_eq!(seen["current_players"], 0);
    assert!(ids(client, &bob, "hosts/available/list").await.is_empty());
    let best = client
        .get("hosts/available/best?zone_id=prontera", &bob)
        .await;
    refused(&best, 404, "no-host");
    // The session goes on, and so does the host when it is heard of again.
    let (status, _) = beats(client, &alice.token, "a", beat(1.0)).await;
    assert_eq!(status, StatusCode::OK);
    let told = next_of(&mut member, "hosts").await;
    assert_eq!(told["hosts"][0]["epoch"], 2, "{told}");
}

#[tokio::test]
async fn the_best_host_of_a_zone_is_alive_free_good_enough_and_not_ones_own() {
    let server = quick(|_| {}).await;
    let mut strict = easy("geffen");
    strict.min_host_quality_score = 95.0;
    server.running.put_zone(&strict).await.unwrap();
    let client = &server.client;
    let asker = client.player("asker").await;
    let best = async |zone: &str, token: &str| {
        let path = format!("hosts/available/best?zone_id={zone}");
        let (status, body) = client.get(&path, token).await;
        match status {
            StatusCode::OK => Some(text(&body["host_id"])),
            _ => {
                refused(&(status, body), 404, "no-host");
                None
            }
        }
    };
    assert_eq!(best("prontera", &asker).await, None);
    let both = |b: &mut Value| b["zones"] = json!(["prontera", "geffen"]);
    let near = volunteer_with(client, "near", "near", both).await;
    assert_eq!(best("prontera", &asker).await, None, "its socket is not up");
    let _near = near.attach(client).await;
    let far = volunteer(client, "far", "far").await;
    let _far = far.attach(client).await;
    let one = volunteer_with(client, "one", "one", |b| {
        b["max_players"] = json!(1);
        b["network_speed_mbps"] = json!(10_000);
    })
    .await;
    let one_socket = one.attach(client).await;
    beats(client, &near.token, "near", beat(99.0)).await;
    beats(client, &far.token, "far", beat(90.0)).await;
    beats(client, &one.token, "one", beat(0.0)).await;

    assert_eq!(
        best("geffen", &asker).await,
        None,
        "nobody has 95 points there"
    );
    beats(client, &near.token, "near", beat(5.0)).await;
    assert_eq!(best("geffen", &asker).await.as_deref(), Some("near"));
    assert_eq!(best("prontera", &asker).await.as_deref(), Some("near"));
    let own = best("prontera", &near.token).await;
    assert_eq!(own.as_deref(), Some("far"));
    // Too slow for the zone.
    beats(client, &near.token, "near", beat(101.0)).await;
    assert_eq!(best("prontera", &asker).await.as_deref(), Some("far"));
    beats(client, &far.token, "far", beat(101.0)).await;
    assert_eq!(best("prontera", &asker).await.as_deref(), Some("one"));
    // Full, by the only member that it takes.
    client.granted(&asker, 1).await;
    let (_, view) = client.get("hosts/one", &asker).await;
    assert_eq!(
        (&view["current_players"], &view["status"]),
        (&json!(1), &json!("busy"))
    );
    assert_eq!(best("prontera", &asker).await, None);
    beats(client, &far.token, "far", beat(50.0)).await;
    assert_eq!(best("prontera", &asker).await.as_deref(), Some("far"));
    // Paused by its owner.
    let mut paused = beat(50.0);
    paused["paused"] = json!(true);
    beats(client, &far.token, "far", paused).await;
    assert_eq!(best("prontera", &asker).await, None);
    drop(one_socket);
    let unknown = client.get("hosts/available/best?zone_id=x", &asker).await;
    refused(&unknown, 404, "unknown-zone");
}

#[tokio::test]
async fn lists_are_filtered_in_whatever_case() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let a = volunteer(client, "alice", "a").await;
    let b = volunteer(client, "bob", "b").await;
    let token = &a.token;
    let mut paused = beat(300.0);
    paused["paused"] = json!(true);
    beats(client, &b.token, "b", paused).await;
    for status in ["online", "Online", "ONLINE"] {
        let path = format!("hosts/?status={status}");
        assert_eq!(ids(client, token, &path).await, ["a"], "{status}");
    }
    assert_eq!(ids(client, token, "hosts?status=Busy").await, ["b"]);
    assert!(ids(client, token, "hosts/?status=offline").await.is_empty());
    assert_eq!(ids(client, token, "hosts/").await, ["a", "b"]);
    assert_eq!(
        ids(client, token, "hosts/?min_quality_score=80").await,
        ["a"]
    );
    let busy = "hosts/?status=busy&min_quality_score=80";
    assert!(ids(client, token, busy).await.is_empty());
    refused(
        &client.get("hosts/?status=asleep", token).await,
        422,
        "bad-request",
    );
}

#[tokio::test]
async fn a_revoked_device_hosts_no_more() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let alice = volunteer(client, "alice", "a").await;
    let admin = staff(&server, "root", AccountRole::Admin).await;
    let body = json!({"account": "alice"});
    let done = client.call(Method::POST, "devices/revoke", Some(&admin), Some(body));
    assert_eq!(done.await.0, StatusCode::OK);
    refused(&client.get("hosts/a", &admin).await, 404, "not-found");
    let beaten = beats(client, &alice.token, "a", beat(1.0)).await;
    refused(&beaten, 404, "not-found");
}
