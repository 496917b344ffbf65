//! Connections: as many as can be had, and ones that take their time.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use warp_tests::house::{House, Plan};

use crate::bystander::Bystander;
use crate::site::{Client, PATIENCE, Site};

/// What a connection that was just opened is told.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Told {
    /// It is answered as it asked.
    Served,
    /// As many from this address as there may be.
    Address,
    /// As many as there may be.
    All,
    /// Nothing: closed.
    Closed,
}

/// Opens a connection and asks for `/` on it.
async fn ask(client: &Client) -> (Told, Option<TcpStream>) {
    let Ok(mut stream) = client.connect().await else {
        return (Told::Closed, None);
    };
    let request = b"GET / HTTP/1.1\r\nhost: c\r\n\r\n";
    let mut answer = [0; 1024];
    let exchange = async {
        // Its answer may stand there already, and the connection be closed.
        let _ = stream.write_all(request).await;
        stream.read(&mut answer).await.unwrap_or(0)
    };
    let length = tokio::time::timeout(PATIENCE, exchange).await;
    let answer = String::from_utf8_lossy(&answer[..length.expect("neither answered nor closed")]);
    let told = match answer.split(' ').nth(1) {
        Some("200") => Told::Served,
        Some("429") if answer.contains("too-many-requests") => Told::Address,
        Some("503") if answer.contains("coordinator-fault") => Told::All,
        _ => Told::Closed,
    };
    (told, (told == Told::Served).then_some(stream))
}

/// Opens so many connections; gives those that were served, and how the others fared.
async fn exhaust(client: &Client, count: usize) -> (Vec<TcpStream>, Vec<Told>) {
    let (mut served, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..count {
        match ask(client).await {
            (_, Some(stream)) => served.push(stream),
            (told, None) => refused.push(told),
        }
    }
    (served, refused)
}

#[tokio::test]
async fn one_address_cannot_take_all_connections_and_many_cannot_take_those_that_are_open() {
    let (all, each) = (300, 50);
    let capacity = json!({"connections": all, "connections_per_address": each});
    let site = Site::new(json!({"capacity": capacity}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let before = site.memory();
    let figures = site.figures().await;

    let (held, refused) = exhaust(&site.client(Ipv4Addr::new(127, 0, 0, 2)), 2 * each).await;
    assert_eq!((held.len(), refused.len()), (each, each));
    // Where nothing was read the answer may be lost in the reset; that it is there is shown by one.
    assert!(refused.contains(&Told::Address), "{refused:?}");
    assert!(!refused.contains(&Told::All), "{refused:?}");
    let elsewhere = site.client(Ipv4Addr::new(127, 0, 0, 3));
    assert_eq!(ask(&elsewhere).await.0, Told::Served);
    bystander.report("one address has all that it may have", from);

    let from = Instant::now();
    let mut crowd = Vec::new();
    let mut refused = Vec::new();
    for last in 10..20 {
        let (some, others) = exhaust(&site.client(Ipv4Addr::new(127, 0, 0, last)), each).await;
        crowd.extend(some);
        refused.extend(others);
    }
    assert!(crowd.len() + held.len() <= all && refused.len() > each);
    assert!(refused.contains(&Told::All), "{refused:?}");
    bystander.report("all connections are taken", from);
    site.logged(&["connections turned away", "full=Address"]);
    println!(
        "memory: {before} KiB before, {} KiB with {all} connections",
        site.memory()
    );
    assert!(site.memory() < before + 32 * 1024);

    let from = Instant::now();
    drop((held, crowd));
    let deadline = Instant::now() + PATIENCE;
    while ask(&elsewhere).await.0 != Told::Served {
        assert!(Instant::now() < deadline, "the places are not free again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    site.counted(
        &figures,
        r#"warp_connections_refused_total{reason="address"}"#,
        each,
    )
    .await;
    site.counted(
        &figures,
        r#"warp_connections_refused_total{reason="all"}"#,
        1,
    )
    .await;
    bystander.report("they are free again", from);
}

#[test]
fn the_limit_of_open_files_is_raised_or_warned_about() {
    for (limit, allowed) in [("-Sn", None), ("-n", Some("700"))] {
        let shell = format!("ulimit {limit} 700; exec \"$0\" \"$@\"");
        let site = Site {
            house: House::with(Plan {
                servers: Arc::new(move |program| {
                    let mut command = Command::new("sh");
                    command.args(["-c", &shell]).arg(program);
                    command
                }),
                coordinator: json!({"capacity": {"connections": 500}}),
                ..Plan::default()
            }),
        };
        let limits = format!("/proc/{}/limits", site.house.coordinator.pid());
        let limits = std::fs::read_to_string(limits).unwrap();
        let line = limits.lines().find(|l| l.starts_with("Max open files"));
        let now = line.unwrap().split_ascii_whitespace().nth(3).unwrap();
        match allowed {
            // Descriptors of its own come on top.
            None => assert_eq!(now, "756", "{limits}"),
            Some(allowed) => {
                assert_eq!(now, allowed, "{limits}");
                site.logged(&["fewer files than `capacity.connections` needs"]);
            }
        }
    }
}

/// Longest that a slow connection may be held; the limits are 30 s at most.
const LONGEST: Duration = Duration::from_secs(75);

/// A connection that takes its time.
enum Slow {
    /// Sends a byte of the head each second, for ever.
    Head,
    /// The same with the head of a WebSocket handshake.
    Handshake,
    /// Sends the head, and a byte of the body each second.
    Body,
    /// Says nothing.
    Mute,
    /// Asks many times and reads nothing.
    Deaf,
}

/// Runs it until it is closed by the other side; gives how long that took and what was said.
async fn slow(client: Client, kind: Slow, token: String) -> (Duration, String) {
    let begun = Instant::now();
    let (mut read, mut write) = client.connect().await.unwrap().into_split();
    let first = match kind {
        Slow::Head => "GET /health HTTP/1.1\r\nx: ".to_owned(),
        Slow::Handshake => "GET /api/v1/signaling/ws?peer_id=a HTTP/1.1\r\nhost: c\r\n\
             connection: upgrade\r\nupgrade: websocket\r\nx: "
            .to_owned(),
        Slow::Body => "POST /api/v1/auth/login HTTP/1.1\r\nhost: c\r\n\
             content-type: application/json\r\ncontent-length: 5000\r\n\r\n{"
            .to_owned(),
        Slow::Mute => String::new(),
        Slow::Deaf => {
            let head = "GET /api/v1/zones/ HTTP/1.1\r\nhost: c\r\nauthorization: Bearer ";
            format!("{head}{token}\r\n\r\n").repeat(100)
        }
    };
    // Ends when the other side has closed.
    let writing = async {
        let _ = write.write_all(first.as_bytes()).await;
        while matches!(kind, Slow::Mute) || write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let reading = async {
        if matches!(kind, Slow::Deaf) {
            std::future::pending::<()>().await;
        }
        let mut said = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = read.read(&mut piece).await {
            said.extend_from_slice(&piece[..length]);
        }
        String::from_utf8_lossy(&said).into_owned()
    };
    let closed = async {
        if matches!(kind, Slow::Deaf) {
            writing.await;
            return String::new();
        }
        tokio::select! {
            said = reading => said,
            // The answer may still be on its way when a write fails; nothing is waited for after it.
            () = async { writing.await; std::future::pending::<()>().await } => String::new(),
        }
    };
    let closed = tokio::time::timeout(LONGEST, closed).await;
    (begun.elapsed(), closed.unwrap_or_default())
}

#[tokio::test]
async fn whoever_takes_his_time_is_closed_and_holds_nobody_up() {
    let site = Site::new(json!({}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let before = site.memory();
    let client = site.client(Ipv4Addr::new(127, 0, 0, 2));
    let token = client.player("slow").await.token;
    let figures = site.figures().await;
    // So that few answers fill all buffers.
    let mut large = site.house.zone();
    large["zone_id"] = json!("large");
    large["description"] = json!("x".repeat(300_000));
    site.house.put_zone(&large, Some("disabled"));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (client, token) = (client.clone(), token.clone());
        tasks.spawn(async move {
            let kind = match number % 5 {
                0 => Slow::Head,
                1 => Slow::Handshake,
                2 => Slow::Body,
                3 => Slow::Mute,
                // A few are enough, each answer is large.
                _ if number < 50 => Slow::Deaf,
                _ => Slow::Mute,
            };
            let name = match kind {
                Slow::Head => "head",
                Slow::Handshake => "handshake",
                Slow::Body => "body",
                Slow::Mute => "mute",
                Slow::Deaf => "deaf",
            };
            (name, slow(client, kind, token).await)
        });
    }
    let mut most = 0;
    let mut longest = Duration::ZERO;
    let mut kinds = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (name, (took, said)) = done.unwrap();
        most = most.max(site.memory());
        longest = longest.max(took);
        assert!(took < LONGEST, "{name}: held for {took:?}");
        if name == "body" {
            // Told why, within the time that a request may take.
            let (head, body) = said.split_once("\r\n\r\n").unwrap_or_default();
            assert!(head.starts_with("HTTP/1.1 503"), "{name}: {said}");
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["code"], "coordinator-fault");
        }
        kinds.push(name);
    }
    assert_eq!(kinds.len(), 100);
    println!(
        "100 slow connections, the last closed after {:.1} s; memory {before} KiB before, {most} KiB at most",
        longest.as_secs_f64()
    );
    let of = |kind: &str| kinds.iter().filter(|name| **name == kind).count();
    for (series, least) in [
        (
            r#"warp_connections_cut_total{reason="no-request"}"#,
            of("head") + of("handshake") + of("mute"),
        ),
        (
            r#"warp_connections_cut_total{reason="not-reading"}"#,
            of("deaf"),
        ),
        (
            r#"warp_requests_refused_total{code="coordinator-fault"}"#,
            of("body"),
        ),
    ] {
        site.counted(&figures, series, least).await;
    }
    // Each that does not read holds one answer of 300 KB, and the queue of what it asked.
    assert!(most < before + 64 * 1024);
    bystander.report("slow connections", from);
}
