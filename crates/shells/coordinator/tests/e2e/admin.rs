//! Bans, roles, sessions and the audit log, by routes and by commands of the program.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use warp_coordinator::Offline;
use warp_protocol::{
    admin::{BanRequest, MoveRequest, MoveTo},
    rest::AccountRole,
};

use crate::{
    common::{Server, close_code, config, next, next_of, refused, start, text, within, zone},
    hosts::{quick, staff, volunteer},
};

/// Longest that what another process did may take to be in force here.
const IN_FORCE: Duration = Duration::from_secs(10);

/// What a command of this program opens beside the server.
async fn command(server: &Server) -> Offline {
    Offline::open(&config(server.dir.path())).await.unwrap()
}

async fn audit(server: &Server, admin: &str) -> Vec<Value> {
    let (status, body) = server.client.get("audit", admin).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body.as_array().unwrap().clone()
}

fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_secs()).unwrap()
}

#[tokio::test]
async fn a_banned_account_is_out_everywhere_at_once_and_back_when_it_is_lifted() {
    let server = start().await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let client = &server.client;
    let admin = staff(&server, "boss", AccountRole::Admin).await;
    let alice = client.register("alice").await;
    let (token, refresh) = (text(&alice["access_token"]), text(&alice["refresh_token"]));
    let bob = client.player("bob").await;
    let grant = client.granted(&token, 1).await;
    let bobs = client.granted(&bob, 2).await;
    let mut socket = client.signaling(&grant, &token).await;
    assert_eq!(next(&mut socket).await["type"], "session-joined");
    let mut link = client.link(&grant, &token).await.unwrap();

    let ban = json!({"account": "ALICE", "reason": "botting in the payon cave"});
    let answer = client.call(Method::POST, "bans", Some(&admin), Some(ban));
    let (status, ban) = answer.await;
    assert_eq!(status, StatusCode::CREATED, "{ban}");
    assert_eq!(
        (&ban["account"], &ban["by"]),
        (&json!("alice"), &json!("boss"))
    );

    assert_eq!(close_code(&mut socket).await, 4004);
    assert_eq!(close_code(&mut link).await, 4004);
    let banned = |answer: &(StatusCode, Value)| {
        refused(answer, 403, "banned");
        assert!(text(&answer.1["detail"]).contains("botting in the payon cave"));
    };
    banned(&client.login("alice", "sesame").await);
    let kept = json!({"refresh_token": refresh});
    banned(&client.post("auth/refresh", kept.clone()).await);
    banned(&client.certify(&token, 1).await);
    banned(&client.get("zones", &token).await);
    let path = format!("signaling/ws?peer_id={}", text(&grant["peer_id"]));
    let (status, body) = client.socket(&path, Some(&token)).await.unwrap_err();
    assert_eq!((status, &body["code"]), (403, &json!("banned")));
    // The password still has to be right before anything is told.
    refused(
        &client.login("alice", "wrong!").await,
        401,
        "wrong-password",
    );
    // Nobody else notices.
    assert_eq!(client.get("zones", &bob).await.0, StatusCode::OK);
    client.signaling(&bobs, &bob).await;

    let path = format!("bans/{}", ban["id"]);
    let lifted = client.call(Method::DELETE, &path, Some(&admin), None).await;
    assert_eq!(lifted.0, StatusCode::OK, "{}", lifted.1);
    assert!(lifted.1["lifted"].is_i64());
    refused(
        &client.call(Method::DELETE, &path, Some(&admin), None).await,
        404,
        "not-found",
    );
    // The kept sign-in was not used up by the refusal.
    let (status, body) = client.post("auth/refresh", kept).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    client.granted(&text(&body["access_token"]), 1).await;

    let lines = audit(&server, &admin).await;
    let what: Vec<_> = lines
        .iter()
        .map(|l| (&l["action"], &l["outcome"]))
        .collect();
    let (unban, ban, done) = (json!("unban"), json!("ban"), json!("done"));
    assert_eq!(
        what,
        [
            (&unban, &json!("not-found")),
            (&unban, &done),
            (&ban, &done)
        ]
    );
    assert_eq!(lines[2]["who"], "boss");
    assert_eq!(lines[2]["target"], "account ALICE");
    assert_eq!(lines[2]["address"], "127.0.0.1");
    assert_eq!(lines[2]["after"]["reason"], "botting in the payon cave");
    assert!(lines[1]["before"]["lifted"].is_null() && lines[1]["after"]["lifted"].is_i64());
}

#[tokio::test]
async fn a_ban_by_a_command_is_in_force_within_seconds_and_ends_by_itself() {
    let server = start().await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let client = &server.client;
    let alice = client.player("alice").await;
    let bob = client.player("bob").await;
    let grant = client.granted(&alice, 1).await;
    let mut socket = client.signaling(&grant, &alice).await;
    assert_eq!(next(&mut socket).await["type"], "session-joined");
    let bobs = client.granted(&bob, 1).await;
    let mut bobs_socket = client.signaling(&bobs, &bob).await;
    assert_eq!(next(&mut bobs_socket).await["type"], "session-joined");

    // The device that both play on, for a while.
    let offline = command(&server).await;
    let device = crate::common::identity(1).key().to_string();
    let began = Instant::now();
    let until = unix_now() + 6;
    let ban = BanRequest {
        account: None,
        device: Some(device),
        reason: "a stolen computer".into(),
        until: Some(until),
    };
    offline.ban(&ban).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 4004);
    assert_eq!(close_code(&mut bobs_socket).await, 4004);
    assert!(began.elapsed() < IN_FORCE, "{:?}", began.elapsed());
    refused(&client.certify(&alice, 1).await, 403, "banned");
    refused(&client.join("prontera", &bob, 1).await, 403, "banned");
    // Other devices of the same accounts are free.
    client.granted(&alice, 3).await;

    while unix_now() <= until {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.granted(&alice, 1).await;
    let entries = offline.audit(0).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert!(
        entries[0].who.starts_with("command line as "),
        "{entries:?}"
    );
    assert_eq!(entries[0].address, None);
    offline.close().await;
}

#[tokio::test]
async fn wrong_bans_are_refused() {
    let server = start().await;
    let client = &server.client;
    let admin = staff(&server, "boss", AccountRole::Admin).await;
    let gm = staff(&server, "keeper", AccountRole::Gm).await;
    let player = client.player("alice").await;
    let ban = |token: &str, body: Value| {
        let (client, token) = (client.clone(), token.to_owned());
        async move {
            let asked = client.call(Method::POST, "bans/", Some(&token), Some(body));
            asked.await
        }
    };
    let good = json!({"account": "alice", "reason": "x"});
    refused(&ban(&player, good.clone()).await, 403, "forbidden");
    refused(&ban(&gm, good).await, 403, "forbidden");
    for bad in [
        json!({"reason": "x"}),
        json!({"account": "alice", "device": "00", "reason": "x"}),
        json!({"account": "alice", "reason": " "}),
        json!({"account": "alice", "reason": "x".repeat(401)}),
        json!({"account": "alice", "reason": "two\nlines"}),
        json!({"account": "alice", "reason": "x", "until": 5}),
        json!({"account": "alice", "reason": "x", "until": i64::MIN}),
        json!({"device": "zz", "reason": "x"}),
    ] {
        refused(&ban(&admin, bad).await, 422, "bad-request");
    }
    refused(
        &ban(&admin, json!({"account": "nobody", "reason": "x"})).await,
        404,
        "not-found",
    );
    // An end that no calendar has is one that never comes.
    let far = json!({"account": "alice", "reason": "x", "until": i64::MAX});
    assert_eq!(ban(&admin, far).await.0, StatusCode::CREATED);
    refused(&client.login("alice", "sesame").await, 403, "banned");
    let (status, page) = client.get("bans?limit=1", &gm).await;
    assert_eq!(
        (status, page.as_array().unwrap().len()),
        (StatusCode::OK, 1)
    );
    refused(&client.get("bans?limit=0", &gm).await, 422, "bad-request");
    refused(&client.get("audit", &gm).await, 403, "forbidden");
    // What the game master and the player tried fills no table.
    let who = audit(&server, &admin).await;
    assert!(who.iter().all(|line| line["who"] == "boss"), "{who:?}");
}

#[tokio::test]
async fn roles_are_those_of_the_database_at_that_moment() {
    let server = start().await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let client = &server.client;
    let admin = staff(&server, "boss", AccountRole::Admin).await;
    let second = staff(&server, "second", AccountRole::Admin).await;
    assert_eq!(client.get("accounts", &second).await.0, StatusCode::OK);
    let patch = |name: &str, role: &str| {
        let (client, admin) = (client.clone(), admin.clone());
        let (path, body) = (format!("accounts/{name}/role"), json!({"role": role}));
        async move {
            let method = Method::PATCH;
            client.call(method, &path, Some(&admin), Some(body)).await
        }
    };
    let (status, body) = patch("second", "gm").await;
    assert_eq!((status, &body["role"]), (StatusCode::OK, &json!("gm")));
    // The token still says admin.
    refused(&client.get("accounts", &second).await, 403, "forbidden");
    assert_eq!(client.get("links", &second).await.0, StatusCode::OK);
    assert_eq!(patch("second", "player").await.0, StatusCode::OK);
    refused(&client.get("links", &second).await, 403, "forbidden");
    let method = Method::PATCH;
    let path = "zones/prontera/status?new_status=disabled";
    let tried = client.call(method, path, Some(&second), None).await;
    refused(&tried, 403, "forbidden");
    refused(&patch("nobody", "gm").await, 404, "not-found");
    refused(&patch("second", "king").await, 422, "bad-request");

    let (_, accounts) = client.get("accounts", &admin).await;
    let names: Vec<_> = accounts
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["name"])
        .collect();
    assert_eq!(names, ["boss", "second"]);
    let lines = audit(&server, &admin).await;
    let role = |line: &Value| {
        (
            line["before"]["role"].clone(),
            line["after"]["role"].clone(),
        )
    };
    assert_eq!(role(&lines[2]), (json!("admin"), json!("gm")));
    assert_eq!(role(&lines[1]), (json!("gm"), json!("player")));
    assert_eq!(lines[0]["outcome"], "not-found");
}

#[tokio::test]
async fn sessions_are_listed_moved_and_ended_by_game_masters_and_by_commands() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let gm = staff(&server, "keeper", AccountRole::Gm).await;
    let admin = staff(&server, "boss", AccountRole::Admin).await;
    let mut hosts = Vec::new();
    for name in ["hilda", "horst"] {
        let host = volunteer(client, name, name).await;
        let socket = host.attach(client).await;
        hosts.push((host, socket));
    }
    let alice = client.player("alice").await;
    let grant = client.granted(&alice, 1).await;
    let mut socket = client.signaling(&grant, &alice).await;
    let session = text(&grant["session_id"]);
    // Both hosts carry her.
    loop {
        let signal = next_of(&mut socket, "hosts").await;
        if signal["hosts"].as_array().unwrap().len() == 2 {
            break;
        }
    }
    let (_, list) = client.get("links", &gm).await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(
        (&list[0]["account"], &list[0]["zone_id"]),
        (&json!("alice"), &json!("prontera"))
    );
    assert_eq!(list[0]["hosts"].as_array().unwrap().len(), 2);
    refused(&client.get("links", &alice).await, 403, "forbidden");

    let path = format!("links/{session}/move");
    let to = json!({"to": "endpoint"});
    let moved = client.call(Method::POST, &path, Some(&gm), Some(to)).await;
    assert_eq!((moved.0, &moved.1["hosts"]), (StatusCode::OK, &json!([])));
    let signal = next_of(&mut socket, "hosts").await;
    assert_eq!(
        (&signal["hosts"], &signal["reason"]),
        (&json!([]), &json!("policy"))
    );

    // The same by commands, which run in another process.
    let offline = command(&server).await;
    let sessions = offline.sessions().await.unwrap();
    assert_eq!((sessions.len(), sessions[0].hosts.len()), (1, 0));
    // To one of a name, and to one that cannot.
    let to = |host_id: &str| MoveRequest {
        to: MoveTo::Host,
        host_id: Some(host_id.to_owned()),
    };
    let horst = &hosts[1].0.id;
    let moved = offline.move_session(&session, &to(horst)).await.unwrap();
    assert_eq!(&moved.hosts[0], horst);
    let signal = next_of(&mut socket, "hosts").await;
    assert_eq!(&signal["hosts"][0]["host_id"], horst.as_str());
    let cannot = offline.move_session(&session, &to("nobody")).await;
    assert_eq!(cannot.unwrap_err().code().name(), "not-found");
    let both = json!({"to": "endpoint", "host_id": horst});
    let asked = client.call(Method::POST, &path, Some(&gm), Some(both));
    refused(&asked.await, 422, "bad-request");
    let id = hosts[0].0.id.clone();
    assert_eq!(offline.drain_host(&id).await.unwrap().host_id, id);
    offline.remove_host(&id).await.unwrap();
    let gone = offline.drain_host(&id).await.unwrap_err();
    assert_eq!(gone.code().name(), "not-found");
    let unknown = offline.end_session("session-0").await.unwrap_err();
    assert_eq!(unknown.code().name(), "unknown-session");
    offline.end_session(&session).await.unwrap();
    assert!(offline.sessions().await.unwrap().is_empty());
    offline.close().await;

    let lines = audit(&server, &admin).await;
    let actions: Vec<_> = lines.iter().rev().map(|l| text(&l["action"])).collect();
    assert_eq!(
        actions,
        [
            "session-move",
            "session-move",
            "session-move",
            "session-move",
            "host-drain",
            "host-remove",
            "host-drain",
            "session-end",
            "session-end"
        ]
    );
    assert_eq!(lines.last().unwrap()["who"], "keeper");
    assert_eq!(
        lines.last().unwrap()["before"]["hosts"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    // A game master ends one by the route.
    let grant = client.granted(&alice, 1).await;
    let path = format!("links/{}", text(&grant["session_id"]));
    let other = client.player("mallory").await;
    let tried = client.call(Method::DELETE, &path, Some(&other), None).await;
    refused(&tried, 404, "unknown-session");
    let ended = client.call(Method::DELETE, &path, Some(&gm), None).await;
    assert_eq!(ended.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_order_that_nobody_serves_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let offline = Offline::open(&config(dir.path())).await.unwrap();
    let unanswered = within(offline.sessions()).await.unwrap_err();
    assert_eq!(unanswered.code().name(), "coordinator-unreachable");
    offline.close().await;
}

#[tokio::test]
async fn what_game_masters_and_operators_switch_is_in_the_audit_log() {
    let server = start().await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let client = &server.client;
    let admin = staff(&server, "boss", AccountRole::Admin).await;
    client.player("alice").await;
    let calls = [
        (
            Method::PATCH,
            "zones/prontera/status?new_status=maintenance",
            None,
        ),
        (Method::POST, "zones/prontera/disable-p2p", None),
        (Method::POST, "fleet/p2p", Some(json!({"enabled": false}))),
        (
            Method::POST,
            "devices/revoke",
            Some(json!({"account": "alice"})),
        ),
        (
            Method::PATCH,
            "zones/nowhere/status?new_status=enabled",
            None,
        ),
    ];
    for (method, path, body) in calls {
        client.call(method, path, Some(&admin), body).await;
    }
    let lines = audit(&server, &admin).await;
    let lines: Vec<_> = lines
        .iter()
        .rev()
        .map(|l| {
            let change = format!("{} {}", l["before"], l["after"]);
            (
                text(&l["action"]),
                text(&l["target"]),
                text(&l["outcome"]),
                change,
            )
        })
        .collect();
    let expected = [
        (
            "zone-status",
            "zone prontera",
            "done",
            r#"{"status":"enabled"} {"status":"maintenance"}"#,
        ),
        (
            "zone-p2p",
            "zone prontera",
            "done",
            r#"{"p2p_enabled":true} {"p2p_enabled":false}"#,
        ),
        (
            "fleet-p2p",
            "all zones",
            "done",
            r#"{"enabled":true} {"enabled":false}"#,
        ),
        (
            "revoke",
            "account alice",
            "done",
            r#"null {"accounts":["alice"]}"#,
        ),
        ("zone-status", "zone nowhere", "unknown-zone", "null null"),
    ];
    let expected = expected.map(|(a, b, c, d)| (a.into(), b.into(), c.into(), d.into()));
    assert_eq!(lines, expected);
}
