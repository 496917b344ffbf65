//! Paths, queries, heads and bodies that no client sends: refused, and never a fault of the
//! coordinator's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bystander::Bystander;
use crate::site::{Answers, Client, Figures, PATIENCE, Site, ZONES, count};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Sends bytes as they are; gives the status and the body of the first answer, status 0 where the
/// connection was closed without one.
async fn send(client: &Client, bytes: &[u8]) -> (u16, Value) {
    let mut stream = client.connect().await.unwrap();
    let exchange = async {
        // It may be refused before all of it was sent.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        all
    };
    let all = tokio::time::timeout(PATIENCE, exchange).await;
    let all = all.expect("neither answered nor closed");
    let text = String::from_utf8_lossy(&all);
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = text.split_once("\r\n\r\n").unwrap_or_default().1;
    (
        status.unwrap_or(0),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

/// Fails where something else than a refusal of the asker's fault was answered.
fn all_refused(what: &str, answers: &Answers) {
    println!("{what}: {answers:?}");
    for (status, code) in answers.keys() {
        // The HTTP library itself refuses what is no HTTP: without a body.
        let by_library = code == "-" && matches!(status, 0 | 400 | 414 | 431);
        let by_us = code != "-" && (400..500).contains(status);
        assert!(by_library || by_us, "{what}: {status} {code}");
    }
}

/// Fails where a refusal with a code was not counted.
async fn all_counted(site: &Site, before: &Figures, answers: &Answers) {
    let mut by_code = BTreeMap::<&str, usize>::new();
    let counted = |code: &str| !["-", NOTHING].contains(&code);
    for ((_, code), times) in answers.iter().filter(|((_, code), _)| counted(code)) {
        *by_code.entry(code).or_default() += times;
    }
    for (code, times) in by_code {
        let series = format!(r#"warp_requests_refused_total{{code="{code}"}}"#);
        site.counted(before, &series, times).await;
    }
}

#[tokio::test]
async fn odd_paths_lead_nowhere() {
    let site = Site::new(json!({}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let client = site.client(ATTACKER);
    let player = client.player("walker").await;
    let bearer = &player.token;
    let figures = site.figures().await;
    let mut answers = Answers::new();
    let long = "a".repeat(9000);
    for id in [
        "..",
        ".",
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e",
        "%2e%2e%2f",
        "....//",
        "practice%00",
        "%00",
        "a%00.json",
        "%c0%ae%c0%ae%c0%af",
        "%e0%80%ae",
        "%ff%fe",
        "%ed%a0%80",
        "practice%2f",
        "practice%5c",
        "\\..\\",
        "practice;x=1",
        "practice%20",
        "%0d%0aset-cookie:%20a=1",
        "practice'--",
        "%25%32%65",
        "*",
        "%",
        "%zz",
        &long,
    ] {
        for (method, path) in [
            ("GET", format!("/api/v1/zones/{id}")),
            ("GET", format!("/api/v1/hosts/{id}")),
            ("DELETE", format!("/api/v1/hosts/{id}")),
            ("DELETE", format!("/api/v1/links/{id}")),
            ("POST", format!("/api/v1/zones/{id}/enable-p2p")),
            ("GET", format!("/api/v1/hosts/available/best?zone_id={id}")),
            ("GET", format!("/{id}")),
        ] {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: c\r\nconnection: close\r\n\
                 authorization: Bearer {bearer}\r\ncontent-length: 0\r\n\r\n"
            );
            // The dot alone names the collection in no router of ours, and so does the empty path.
            let answer = send(&client, head.as_bytes()).await;
            assert!(answer.0 < 500, "{method} {path}: {answer:?}");
            assert!(
                answer.0 >= 400 || answer.0 == 0,
                "{method} {path}: {answer:?}"
            );
            count(&mut answers, &answer);
        }
    }
    all_refused("odd paths", &answers);
    all_counted(&site, &figures, &answers).await;
    bystander.report("odd paths", from);
}

#[tokio::test]
async fn texts_for_a_database_are_only_texts() {
    let site = Site::new(
        json!({"limits": {"address": {"burst": 100_000, "per_minute": 100_000},
                                           "account": {"burst": 100_000, "per_minute": 100_000}}}),
    );
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let client = site.client(ATTACKER);
    let player = client.player("injector").await;
    let token = &player.token;
    let figures = site.figures().await;
    let mut answers = Answers::new();
    for trick in [
        "' OR '1'='1",
        "'; DROP TABLE accounts; --",
        "\" OR \"\"=\"",
        "1; SELECT pg_sleep(9)",
        "') UNION SELECT password FROM accounts --",
        "$1",
        "?1",
        "\\'; --",
        "%",
        "injector\u{0}",
        "\u{0}",
        "\u{202e}injector",
        "ınjector",
        "x' AND randomblob(999999999)--",
    ] {
        let named = json!({"username": trick, "password": "sesame open"});
        let with_password = json!({"username": "injector", "password": trick});
        let key = json!({"device_key": trick, "certificate": trick});
        let mut host = player.host(trick);
        host["zones"] = json!([trick]);
        let bodies = [
            ("auth/login", named.clone()),
            ("auth/login", with_password),
            ("auth/register", named),
            ("auth/refresh", json!({"refresh_token": trick})),
            ("zones/practice/join", key),
            ("hosts/register", host),
            ("links/session-0/guests", json!({"peer_id": trick})),
            (
                "devices/certificate",
                json!({"device_key": trick, "time": 1, "proof": trick}),
            ),
            ("devices/revoke", json!({"account": trick})),
        ];
        for (path, body) in bodies {
            let answer = client.post(path, token, body).await;
            assert!(answer.0 < 500, "{path} {trick:?}: {answer:?}");
            count(&mut answers, &answer);
        }
        // As a token, in the header and in the query.
        let shown: String = trick
            .chars()
            .filter(|c| c.is_ascii() && !c.is_control())
            .collect();
        count(
            &mut answers,
            &client.get("zones/", &format!("x{shown}")).await,
        );
        let path = format!("zones/?map={}", hex_escaped(trick));
        count(&mut answers, &lists_nothing(client.get(&path, token).await));
    }
    all_refused("texts for a database", &answers);
    all_counted(&site, &figures, &answers).await;
    // Everything is where it was.
    let (status, zones) = client.get("zones/", token).await;
    assert_eq!(
        (status, zones.as_array().unwrap().len()),
        (200, ZONES.len())
    );
    assert_eq!(client.sign_in("injector").await.0, 200);
    bystander.report("texts for a database", from);
}

/// Stands for an answer that is no refusal, and gives nothing away.
const NOTHING: &str = "nothing";

/// A list without anything in it is as good as a refusal.
fn lists_nothing(answer: (u16, Value)) -> (u16, Value) {
    match answer {
        (200, Value::Array(list)) if list.is_empty() => (404, json!({"code": NOTHING})),
        other => other,
    }
}

fn hex_escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test]
async fn bodies_and_heads_beyond_reason_are_refused() {
    let site = Site::new(json!({}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let before = site.memory();
    let client = site.client(ATTACKER);
    let player = client.player("bomber").await;
    let (status, host) = client
        .post("hosts/register", &player.token, player.host("bomb"))
        .await;
    assert_eq!(status, 201, "{host}");
    let post = |path: &str, kind: &str, more: &str, body: &str| {
        let head = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nhost: c\r\nconnection: close\r\n\
             content-type: {kind}\r\nauthorization: Bearer {}\r\n{more}",
            player.token
        );
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let json_kind = "application/json";
    let beat = "hosts/bomb/heartbeat";
    let numbers = |number: &str| {
        format!(
            "{{\"latency_ms\": {number}, \"packet_loss_percent\": 0, \"bandwidth_usage_mbps\": 0, \
             \"current_players\": {number}, \"current_zones\": {number}}}"
        )
    };
    let fields: String = (0..150).map(|n| format!("x{n}: y\r\n")).collect();
    let long_field = format!("x: {}\r\n", "y".repeat(100_000));
    let mut all = vec![
        post("auth/login", json_kind, "", &"[".repeat(60_000)),
        post("auth/login", json_kind, "", &"{\"a\":".repeat(12_000)),
        post("auth/login", json_kind, "", &"x".repeat(70_000)),
        post("auth/login", json_kind, "", &"x".repeat(5_000_000)),
        post("auth/login", json_kind, "", ""),
        post(
            "auth/login",
            json_kind,
            "",
            "{\"username\":\"\\ud800\",\"password\":\"x\"}",
        ),
        post("auth/login", "text/plain", "", "{}"),
        post(
            "auth/login",
            json_kind,
            "content-encoding: gzip\r\n",
            "\u{1f}\u{8b}",
        ),
        post("auth/login", json_kind, &fields, "{}"),
        post("auth/login", json_kind, &long_field, "{}"),
        post(
            "auth/login",
            json_kind,
            "transfer-encoding: chunked\r\n",
            "ffffffffffffffff\r\nx",
        ),
        post("auth/login", json_kind, "content-length: 3\r\n", "{}"),
        b"GET /health HTTP/9.9\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        [0; 4096].to_vec(),
    ];
    for number in [
        "-1",
        "4294967296",
        "18446744073709551616",
        "1e999",
        "-1e999",
        "1.5",
        "NaN",
        "\"1\"",
        "9223372036854775808",
        "1e-999999",
    ] {
        all.push(post(beat, json_kind, "", &numbers(number)));
        let mut registration = player.host("bomb").to_string();
        registration =
            registration.replace("\"max_players\":20", &format!("\"max_players\":{number}"));
        all.push(post("hosts/register", json_kind, "", &registration));
    }
    let figures = site.figures().await;
    let mut answers = Answers::new();
    for bytes in &all {
        let answer = send(&client, bytes).await;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        assert!(answer.0 < 500, "{shown}: {answer:?}");
        // Numbers that are some other number's way of writing are no harm.
        if answer.0 >= 300 || answer.0 == 0 {
            count(&mut answers, &answer);
        } else {
            println!("taken: {} bytes, {answer:?}", bytes.len());
        }
    }
    all_refused("bodies and heads", &answers);
    all_counted(&site, &figures, &answers).await;
    site.counted(
        &figures,
        r#"warp_connections_cut_total{reason="no-http"}"#,
        5,
    )
    .await;
    assert!(
        answers.values().sum::<usize>() >= all.len() - 2,
        "{answers:?}"
    );
    let after = site.memory();
    println!("memory: {before} KiB before, {after} KiB after");
    assert!(after < before + 32 * 1024);
    bystander.report("bodies and heads", from);
}
