//! Members and hosts meet in the members' rooms, and nowhere else.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{Client, Socket, close_code, next_of, next_of_all, send, text};
use crate::hosts::{Volunteer, ids, quick, until, volunteer, volunteer_with};

/// A player in the zone with an open signaling socket, and what it is told of hosts.
async fn member(client: &Client, name: &str) -> (String, Value, Socket, Value) {
    let token = client.player(name).await;
    let grant = client.granted(&token, 1).await;
    let mut socket = client.signaling(&grant, &token).await;
    assert_eq!(next_of_all(&mut socket).await["type"], "session-joined");
    let told = next_of(&mut socket, "hosts").await;
    (token, grant, socket, told)
}

/// The code of the next error.
async fn error(socket: &mut Socket) -> String {
    text(&next_of(socket, "error").await["code"])
}

fn names(told: &Value) -> Vec<String> {
    let hosts = told["hosts"].as_array().unwrap();
    hosts.iter().map(|host| text(&host["host_id"])).collect()
}

async fn remove(client: &Client, host: &Volunteer) -> StatusCode {
    let path = format!("hosts/{}", host.id);
    let done = client.call(Method::DELETE, &path, Some(&host.token), None);
    done.await.0
}

#[tokio::test]
async fn a_member_and_its_host_exchange_descriptions_in_the_members_room() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let alice = volunteer(client, "alice", "a").await;
    let mut host = alice.attach(client).await;
    let (token, grant, mut bob, told) = member(client, "bob").await;
    let offer = &told["hosts"][0];
    assert_eq!(offer["host_id"], "a");
    assert_eq!(offer["way"], "host");
    assert_eq!(offer["peer_id"], alice.grant["peer_id"]);
    assert_eq!(
        offer["device_key"],
        crate::common::identity(7).key().to_string()
    );
    let serve = next_of(&mut host, "serve").await;
    let served = &serve["member"];
    assert_eq!(served["peer_id"], grant["peer_id"]);
    assert_eq!(served["session_id"], grant["session_id"]);
    assert_eq!(served["epoch"], offer["epoch"]);

    let to_host = json!({"type": "offer", "to": offer["peer_id"], "sdp": {"from": "bob"}});
    send(&mut bob, to_host).await;
    let got = next_of(&mut host, "offer").await;
    assert_eq!(
        (&got["from"], &got["sdp"]),
        (&grant["peer_id"], &json!({"from": "bob"}))
    );
    let answer = json!({"type": "answer", "to": grant["peer_id"], "sdp": {"from": "a"}});
    send(&mut host, answer).await;
    let got = next_of(&mut bob, "answer").await;
    assert_eq!(
        (&got["from"], &got["sdp"]),
        (&offer["peer_id"], &json!({"from": "a"}))
    );
    for socket in [
        (&mut bob, &offer["peer_id"]),
        (&mut host, &grant["peer_id"]),
    ] {
        let (socket, to) = socket;
        let candidate = json!({"type": "ice-candidate", "to": to, "candidate": "c"});
        send(socket, candidate).await;
    }
    assert_eq!(
        next_of(&mut host, "ice-candidate").await["from"],
        grant["peer_id"]
    );
    assert_eq!(
        next_of(&mut bob, "ice-candidate").await["from"],
        offer["peer_id"]
    );

    // When the launcher comes back it is told again.
    drop(bob);
    let mut bob = client.signaling(&grant, &token).await;
    assert_eq!(next_of_all(&mut bob).await["type"], "session-joined");
    assert_eq!(next_of_all(&mut bob).await["type"], "policy");
    let again = next_of_all(&mut bob).await;
    assert_eq!(again["hosts"], told["hosts"]);

    // Its session ends: the host is told.
    let path = format!("links/{}", text(&grant["session_id"]));
    client.call(Method::DELETE, &path, Some(&token), None).await;
    let unserve = next_of(&mut host, "unserve").await;
    assert_eq!(
        (&unserve["peer_id"], &unserve["reason"]),
        (&grant["peer_id"], &json!("gone"))
    );
    send(
        &mut host,
        json!({"type": "answer", "to": grant["peer_id"], "sdp": "x"}),
    )
    .await;
    assert_eq!(error(&mut host).await, "peer-unreachable");
}

#[tokio::test]
async fn a_host_reaches_its_members_and_nobody_else() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    // A place for one: bob has it, carol has none.
    let one = |b: &mut Value| b["max_players"] = json!(1);
    let alice = volunteer_with(client, "alice", "a", one).await;
    let mut host = alice.attach(client).await;
    let (_, bobs, mut bob, told) = member(client, "bob").await;
    assert_eq!(names(&told), ["a"]);
    let (_, carols, mut carol, told) = member(client, "carol").await;
    assert!(names(&told).is_empty());
    assert_eq!(told["reason"], "first");
    let to_carol = json!({"type": "offer", "to": carols["peer_id"], "sdp": "x"});
    send(&mut host, to_carol).await;
    assert_eq!(error(&mut host).await, "peer-unreachable");
    let to_host = json!({"type": "offer", "to": alice.grant["peer_id"], "sdp": "x"});
    send(&mut carol, to_host.clone()).await;
    assert_eq!(error(&mut carol).await, "peer-unreachable");
    for room in [&bobs["session_id"], &carols["session_id"]] {
        send(&mut host, json!({"type": "join", "session_id": room})).await;
        assert_eq!(error(&mut host).await, "unknown-session");
    }
    // A guest of the room is not the member either.
    let path = format!("links/{}/guests", text(&bobs["session_id"]));
    let (bobs_token, carols_token) = (
        client.login("bob", "sesame").await.1,
        client.login("carol", "sesame").await.1,
    );
    let (bobs_token, carols_token) = (
        text(&bobs_token["access_token"]),
        text(&carols_token["access_token"]),
    );
    let guest = json!({"peer_id": carols["peer_id"]});
    let (status, _) = client
        .call(Method::POST, &path, Some(&bobs_token), Some(guest))
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let own = format!("signaling/ws?peer_id={}", text(&carols["peer_id"]));
    let mut carol = client.socket(&own, Some(&carols_token)).await.unwrap();
    send(
        &mut carol,
        json!({"type": "join", "session_id": bobs["session_id"]}),
    )
    .await;
    assert_eq!(next_of_all(&mut carol).await["type"], "session-joined");
    send(&mut carol, to_host.clone()).await;
    send(&mut bob, to_host).await;
    assert_eq!(next_of(&mut host, "offer").await["from"], bobs["peer_id"]);
    send(
        &mut host,
        json!({"type": "offer", "to": carols["peer_id"], "sdp": "x"}),
    )
    .await;
    assert_eq!(error(&mut host).await, "peer-unreachable");

    // Sockets of a host are its account's.
    let signaling = format!("signaling/ws?peer_id={}", text(&alice.grant["peer_id"]));
    let refused = client
        .socket(&signaling, Some(&bobs_token))
        .await
        .unwrap_err();
    assert_eq!((refused.0, &refused.1["code"]), (403, &json!("forbidden")));
    let link = format!("link/ws?session_id={}", text(&alice.grant["session_id"]));
    let refused = client.socket(&link, Some(&bobs_token)).await.unwrap_err();
    assert_eq!(
        (refused.0, &refused.1["code"]),
        (404, &json!("unknown-session"))
    );
    let mut link = client.socket(&link, Some(&alice.token)).await.unwrap();
    // Each kind of peer has reports of its own.
    let report = json!({"type": "member-report", "peer_id": bobs["peer_id"], "verdict": "flooding", "dropped": 3});
    send(&mut bob, report.clone()).await;
    assert_eq!(error(&mut bob).await, "bad-request");
    send(&mut host, report).await;
    until(async || server.running.fleet_counters().flooded == 3).await;
    // With the host its link socket goes.
    assert_eq!(remove(client, &alice).await, StatusCode::NO_CONTENT);
    assert_eq!(close_code(&mut link).await, 4003);
}

#[tokio::test]
async fn a_host_that_drains_gives_its_members_away_first() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let alice = volunteer(client, "alice", "a").await;
    let mut old = alice.attach(client).await;
    let (_, grant, mut bob, told) = member(client, "bob").await;
    assert_eq!(names(&told), ["a"]);
    // Of the same account as bob: not for him. Of dora: for him, beside the other.
    let dora = volunteer(client, "dora", "d").await;
    let mut new = dora.attach(client).await;
    let told = next_of(&mut bob, "hosts").await;
    assert_eq!(names(&told), ["a", "d"]);
    assert_eq!(told["reason"], "better");
    next_of(&mut new, "serve").await;
    next_of(&mut old, "serve").await;
    let eve = volunteer(client, "eve", "e").await;
    let mut third = eve.attach(client).await;

    let drained = client.call(Method::POST, "hosts/a/drain", Some(&alice.token), None);
    assert_eq!(drained.await.1["status"], "maintenance");
    // The next one is ready before bob is told; the old one carries on until it is told.
    let serve = next_of(&mut third, "serve").await;
    assert_eq!(serve["member"]["peer_id"], grant["peer_id"]);
    let told = next_of(&mut bob, "hosts").await;
    assert_eq!(names(&told), ["e", "d"], "the one that stays keeps its way");
    assert_eq!(told["reason"], "draining");
    assert_eq!(next_of_all(&mut old).await["type"], "unserve");
    assert_eq!(next_of_all(&mut old).await["type"], "drained");
    assert!(
        !ids(client, &alice.token, "hosts/available/list")
            .await
            .contains(&"a".to_owned())
    );
}

#[tokio::test]
async fn a_host_that_is_gone_or_reported_is_replaced() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let hosts = [
        volunteer(client, "alice", "a").await,
        volunteer(client, "dora", "d").await,
        volunteer(client, "eve", "e").await,
    ];
    let mut sockets = Vec::new();
    for host in &hosts {
        sockets.push(host.attach(client).await);
    }
    let (_, _, mut bob, told) = member(client, "bob").await;
    assert_eq!(names(&told), ["a", "d"]);
    // Silent, says its only member.
    let epoch = &told["hosts"][0]["epoch"];
    let report =
        json!({"type": "host-report", "host_id": "a", "epoch": epoch, "verdict": "silent"});
    send(&mut bob, report.clone()).await;
    let told = next_of(&mut bob, "hosts").await;
    assert_eq!(
        (names(&told), &told["reason"]),
        (vec!["e".into(), "d".into()], &json!("reported"))
    );
    send(&mut bob, report).await;
    until(async || server.running.fleet_counters().stale_reports == 1).await;
    // What members of two accounts measure is what others see.
    let good = |told: &Value| {
        let hosts = told["hosts"].as_array().unwrap();
        let host = hosts.iter().find(|host| host["host_id"] == "d").unwrap();
        json!({
            "type": "host-report", "host_id": "d", "epoch": host["epoch"], "verdict": "good",
            "rtt_ms": 44.5, "loss_percent": 1.5,
        })
    };
    send(&mut bob, good(&told)).await;
    let (_, _, mut carol, carols) = member(client, "carol").await;
    send(&mut carol, good(&carols)).await;
    until(async || client.get("hosts/d", &hosts[0].token).await.1["latency_ms"] == 44.5).await;
    // Gone.
    assert_eq!(remove(client, &hosts[1]).await, StatusCode::NO_CONTENT);
    let told = next_of(&mut bob, "hosts").await;
    assert_eq!(
        (names(&told), &told["reason"]),
        (vec!["e".into()], &json!("gone"))
    );
    assert_eq!(close_code(&mut sockets[1]).await, 4003);
    // Its socket breaks, and stays away.
    sockets.remove(2);
    let told = next_of(&mut bob, "hosts").await;
    assert_eq!(
        (names(&told), &told["reason"]),
        (Vec::<String>::new(), &json!("silent"))
    );
}
