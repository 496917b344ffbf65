//! Three coordinators as one: what is lost, and for how long nothing passes, when a node, its Redis or
//! its clients' way to it fails. Real processes, a real Redis.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

mod nodes;
mod pair;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use warp_tests::digests::compare_all;
use warp_tests::house::{NodePlan, good_end, on_map};
use warp_tests::process::{PATIENCE, Process, Source};

use nodes::{Cluster, LEASE, NODES, free_port, logged};
use pair::{Player, health, register, signs_in};

/// Two players who talk, and what was counted when it was looked last.
struct Pair {
    players: [Arc<Player>; 2],
    numbers: [Arc<AtomicU32>; 2],
    stop: CancellationToken,
}

impl Pair {
    fn start(runtime: &Runtime, cluster: &Cluster) -> Self {
        let join = |first, user: &'static str| {
            let joined = Player::join(&cluster.addresses, first, user);
            Arc::new(runtime.block_on(joined))
        };
        cluster.house.add_user("bob");
        // Neither is at the owner at first.
        let players = [join(1, "alice"), join(2, "bob")];
        let numbers: [Arc<AtomicU32>; 2] = Default::default();
        let stop = CancellationToken::new();
        let room = players[0].session_id.clone();
        for (own, other) in [(0, 1), (1, 0)] {
            let player = Arc::clone(&players[own]);
            let other = players[other].peer_id.clone();
            let numbers = Arc::clone(&numbers[own]);
            runtime.spawn(player.talk(other, room.clone(), numbers, stop.clone()));
        }
        Self {
            players,
            numbers,
            stop,
        }
    }

    /// Waits until so many further messages of each player have arrived and were acknowledged.
    fn goes_on(&self, count: usize) {
        let arrived = || self.players.each_ref().map(|p| p.seen().acknowledged.len());
        let before = arrived();
        let end = Instant::now() + PATIENCE;
        while arrived()
            .iter()
            .zip(before)
            .any(|(now, before)| *now < before + count)
        {
            assert!(
                Instant::now() < end,
                "{:?}",
                self.players.each_ref().map(|p| format!("{:?}", p.seen()))
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn begin(&self) -> [(u32, u32, u32); 2] {
        self.players.each_ref().map(|player| {
            let mut seen = player.seen();
            seen.gap = Duration::ZERO;
            (seen.sent, seen.refused, seen.sockets)
        })
    }

    /// Prints what a fault has cost since `from`; gives how long no message passed at most, and how many
    /// were lost.
    fn cost(&self, what: &str, from: [(u32, u32, u32); 2]) -> (Duration, usize) {
        let mut worst = Duration::ZERO;
        let (mut lost, mut refused, mut sent, mut sockets) = (0, 0, 0, 0);
        for (own, other) in [(0, 1), (1, 0)] {
            let (before, refused_before, sockets_before) = from[own];
            let seen = self.players[own].seen();
            let theirs: BTreeSet<u32> = self.players[other]
                .seen()
                .received
                .iter()
                .copied()
                .collect();
            // The last ones are on their way.
            let until = seen.sent.saturating_sub(20);
            lost += (before..until)
                .filter(|number| !theirs.contains(number))
                .count();
            sent += until.saturating_sub(before);
            refused += seen.refused - refused_before;
            sockets += seen.sockets - sockets_before;
            worst = worst.max(seen.gap);
        }
        println!(
            "{what}: no message passed for {} ms at most; of {sent} sent {lost} did not arrive, {refused} \
             refusals, {sockets} new sockets",
            worst.as_millis()
        );
        (worst, lost)
    }

    /// What was acknowledged has arrived, once, in its order.
    fn check(&self) {
        for (own, other) in [(0, 1), (1, 0)] {
            let received = self.players[other].seen().received.clone();
            assert!(received.windows(2).all(|two| two[0] < two[1]), "order");
            let received: BTreeSet<u32> = received.into_iter().collect();
            let acknowledged = self.players[own].seen().acknowledged.clone();
            assert!(acknowledged.is_subset(&received));
            assert!(
                received
                    .iter()
                    .all(|n| *n < self.numbers[own].load(Ordering::SeqCst))
            );
        }
    }
}

/// The game went on: nothing lost, no connection closed, nobody signed in again.
fn unharmed(cluster: &Cluster, node: &Process, client: &mut Process) {
    let summary = good_end(client, Duration::from_secs(180));
    assert_eq!(summary["reentries"], 0, "{summary}");
    assert_eq!(summary["connections"], 5, "{summary}");
    let house = &cluster.house;
    compare_all(
        &[client],
        &[node],
        &house.server,
        house.endpoint.as_ref().unwrap(),
    );
    println!(
        "the game's largest gap between answers: {} ms",
        summary["largest_gap_ms"]
    );
}

fn plays(cluster: &Cluster, seconds: &str) -> (Process, Process) {
    let (node, login) = cluster.house.playing(&NodePlan {
        coordinator: Some(cluster.addresses[1]),
        ..NodePlan::default()
    });
    let plays = [
        "--rate",
        "10",
        "--change-every",
        "0",
        "--answer-timeout",
        "100",
    ];
    let more = ["--seconds", seconds];
    let client = cluster
        .house
        .client(login, "test1", &[&plays[..], &more].concat());
    on_map(&client);
    (node, client)
}

#[test]
fn under_load_the_owner_is_killed_then_frozen_and_no_game_notices() {
    let Some(mut cluster) = Cluster::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let runtime = Runtime::new().unwrap();
    let (node, mut client) = plays(&cluster, "75");
    let pair = Pair::start(&runtime, &cluster);
    let stop = CancellationToken::new();
    let registering = runtime.spawn(register(cluster.addresses.to_vec(), stop.clone()));
    pair.goes_on(20);

    // Undisturbed, over three nodes: everything arrives.
    let before = pair.begin();
    pair.goes_on(200);
    let (_, lost) = pair.cost("undisturbed", before);
    assert_eq!(lost, 0);

    // The owner is killed. Somebody who was in the room there does not come back.
    let ghost = runtime.block_on(Player::join(&cluster.addresses, 0, "alice"));
    let ghosts_socket = runtime.block_on(async {
        let room = &pair.players[0];
        assert!(room.admit(cluster.addresses[0], &ghost.peer_id).await);
        let mut socket = ghost.socket(cluster.addresses[0]).await.unwrap();
        let join = json!({"type": "join", "session_id": room.session_id}).to_string();
        socket.send(Message::text(join)).await.unwrap();
        let joined = loop {
            if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
                break text;
            }
        };
        assert!(
            joined.contains("session-joined") && joined.contains(&room.peer_id),
            "{joined}"
        );
        socket
    });
    let (before, marks, endpoint) = (pair.begin(), cluster.marks(), cluster.endpoint_mark());
    cluster.kill(0);
    let killed = Instant::now();
    drop(ghosts_socket);
    let second = cluster.next_owner(marks, 0);
    let took = killed.elapsed();
    println!(
        "kill -9: another node owned the sessions after {} ms",
        took.as_millis()
    );
    assert!(took < LEASE + Duration::from_millis(2500), "{took:?}");
    cluster.endpoint_serves(endpoint);
    pair.goes_on(60);
    pair.cost("owner killed", before);
    for player in &pair.players {
        let present = player.seen().present.clone();
        assert!(!present.contains(&ghost.peer_id), "{present:?}");
    }
    cluster.restart(0);

    // The next owner stands still, with a client of its own, and wakes up.
    let witness = Arc::new(runtime.block_on(Player::join(&cluster.addresses, second, "bob")));
    let mut socket = runtime
        .block_on(witness.socket(cluster.addresses[second]))
        .unwrap();
    let (before, marks, endpoint) = (pair.begin(), cluster.marks(), cluster.endpoint_mark());
    cluster.node(second).freeze();
    let frozen = Instant::now();
    let third = cluster.next_owner(marks, second);
    println!(
        "SIGSTOP: another node owned the sessions after {} ms",
        frozen.elapsed().as_millis()
    );
    cluster.endpoint_serves(endpoint);
    pair.goes_on(60);
    pair.cost("owner frozen", before);
    let mark = cluster.node(second).mark();
    cluster.node(second).thaw();
    logged(
        cluster.node(second),
        mark,
        "this node no longer owns the live state",
    );
    let code = runtime.block_on(async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(Some(frame)) = message {
                return Some(u16::from(frame.code));
            }
        }
        None
    });
    assert_eq!(code, Some(1012));
    let lines = cluster.node(second).lines();
    let acts = |text: &str| text.contains("session granted") || text.contains("endpoint connected");
    assert!(!lines[mark..].iter().any(|line| acts(&line.text)));
    assert_ne!(third, second);
    pair.goes_on(60);
    pair.check();

    // Accounts that were acknowledged are there, whichever node made them.
    stop.cancel();
    let (made, refused) = runtime.block_on(registering).unwrap();
    println!("{} accounts acknowledged, {refused} calls not", made.len());
    assert!(!made.is_empty());
    for name in &made {
        assert!(
            runtime.block_on(signs_in(cluster.addresses[third], name)),
            "{name}"
        );
    }
    pair.stop.cancel();
    unharmed(&cluster, &node, &mut client);
}

#[test]
fn under_load_redis_is_emptied_and_frozen_and_the_owner_stays() {
    let Some(mut cluster) = Cluster::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let runtime = Runtime::new().unwrap();
    let (node, mut client) = plays(&cluster, "50");
    let pair = Pair::start(&runtime, &cluster);
    pair.goes_on(20);

    let (before, marks) = (pair.begin(), cluster.marks());
    cluster.redis.restart_empty();
    pair.goes_on(200);
    let (gap, lost) = pair.cost("Redis killed and started again with nothing", before);
    assert_eq!(lost, 0);
    assert!(gap < Duration::from_secs(2), "{gap:?}");

    // Frozen for two leases: nothing is granted any more, and everything open stays open.
    let before = pair.begin();
    cluster.redis.freeze();
    let frozen = Instant::now();
    for address in cluster.addresses {
        loop {
            let (status, body) = runtime.block_on(health(address));
            if status == 503 {
                assert_eq!(body["checks"]["redis"], json!("down"), "{body}");
                break;
            }
            assert!(frozen.elapsed() < Duration::from_secs(3), "{status} {body}");
        }
    }
    println!(
        "/health of all nodes said so after {} ms",
        frozen.elapsed().as_millis()
    );
    assert!(frozen.elapsed() < Duration::from_secs(2));
    std::thread::sleep((2 * LEASE).saturating_sub(frozen.elapsed()));
    logged(cluster.node(0), marks[0], "the lease could not be renewed");
    cluster.redis.thaw();
    let back = Instant::now();
    logged(
        cluster.node(0),
        marks[0],
        "this node owns the live state as before",
    );
    println!(
        "the owner went on {} ms after Redis did",
        back.elapsed().as_millis()
    );
    pair.goes_on(60);
    let sockets = |now: [(u32, u32, u32); 2]| now.map(|(_, _, sockets)| sockets);
    pair.cost("Redis frozen for 6 s", before);
    assert_eq!(
        sockets(before),
        sockets(pair.begin()),
        "a socket was closed"
    );
    if let Some(database) = cluster.database {
        // What needs the database is refused, and says so; what is open does not notice.
        let before = pair.begin();
        database.freeze().unwrap();
        let frozen = Instant::now();
        while runtime.block_on(health(cluster.addresses[1])).0 != 503 {
            assert!(frozen.elapsed() < Duration::from_secs(3));
        }
        println!("/health said so after {} ms", frozen.elapsed().as_millis());
        pair.goes_on(150);
        database.thaw().unwrap();
        let (gap, lost) = pair.cost("PostgreSQL frozen", before);
        assert_eq!(lost, 0);
        assert!(gap < Duration::from_secs(1), "{gap:?}");
        let back = Instant::now();
        while runtime.block_on(health(cluster.addresses[1])).0 != 200 {
            assert!(back.elapsed() < PATIENCE);
        }
        println!(
            "it was in use again after {} ms",
            back.elapsed().as_millis()
        );
    }
    for (number, mark) in marks.into_iter().enumerate().take(NODES).skip(1) {
        let lines = cluster.node(number).lines();
        assert!(
            !lines[mark..]
                .iter()
                .any(|line| line.text.contains("owns the live state"))
        );
    }
    pair.check();
    pair.stop.cancel();
    unharmed(&cluster, &node, &mut client);
}

#[test]
fn what_the_operator_does_counts_at_once_and_an_owner_that_ends_hands_over() {
    let Some(mut cluster) = Cluster::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let runtime = Runtime::new().unwrap();
    let player = runtime.block_on(Player::join(&cluster.addresses, 1, "alice"));
    // Several times, because each node also looks by itself every two seconds.
    for (n, on) in [false, true, false, true, false].into_iter().enumerate() {
        cluster.operate(&["p2p", if on { "on" } else { "off" }]);
        let done = Instant::now();
        while runtime.block_on(player.is_p2p(cluster.addresses[n % NODES])) != Some(on) {
            std::thread::sleep(Duration::from_millis(10));
        }
        println!(
            "the switch was in force after {} ms",
            done.elapsed().as_millis()
        );
        assert!(done.elapsed() < Duration::from_millis(600));
    }
    // The owner is asked to end: nobody waits for its lease.
    let marks = cluster.marks();
    let mut socket = runtime
        .block_on(player.socket(cluster.addresses[0]))
        .unwrap();
    let asked = Instant::now();
    cluster.node(0).terminate();
    let closed = runtime.block_on(async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(Some(frame)) = message {
                return Some(u16::from(frame.code));
            }
        }
        None
    });
    assert_eq!(closed, Some(1012));
    let next = cluster.next_owner(marks, 0);
    println!(
        "another node owned the sessions {} ms after SIGTERM",
        asked.elapsed().as_millis()
    );
    assert!(asked.elapsed() < LEASE);
    cluster.ended(0);
    // And the session is the same there.
    let again = loop {
        match runtime.block_on(player.socket(cluster.addresses[next])) {
            Ok(socket) => break socket,
            Err(_) if asked.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(100)),
            Err(why) => panic!("{why}"),
        }
    };
    drop(again);
}

#[test]
fn a_ban_counts_on_all_nodes_and_a_request_that_is_passed_on_is_still_its_clients() {
    let Some(cluster) = Cluster::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let runtime = Runtime::new().unwrap();
    for name in ["bob", "carol"] {
        cluster.house.add_user(name);
    }
    let [owner, second, third] = cluster.addresses;
    let join = |user| runtime.block_on(Player::join(&cluster.addresses, 1, user));
    let ends = |socket: &mut pair::Socket| {
        let end = async { while let Some(Ok(_)) = socket.next().await {} };
        let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, end).await });
        assert!(ended.is_ok(), "the socket stays open");
    };
    // From the command line: its socket at a node that owns nothing ends.
    let bob = join("bob");
    let mut socket = runtime.block_on(bob.socket(third)).unwrap();
    cluster.operate(&["ban", "add", "--account", "bob", "--reason", "a test"]);
    let done = Instant::now();
    ends(&mut socket);
    println!(
        "the ban was in force after {} ms",
        done.elapsed().as_millis()
    );
    assert!(done.elapsed() < Duration::from_millis(600));
    for address in cluster.addresses {
        assert!(!runtime.block_on(signs_in(address, "bob")));
        let (status, body) = runtime.block_on(bob.asks(address, "zones", "203.0.113.9", None));
        assert_eq!((status, &body["code"]), (403, &json!("banned")), "{body}");
    }
    // Over a node that owns nothing: it ends at the owner.
    cluster.operate(&["user", "role", "carol", "admin"]);
    let carol = join("carol");
    let alice = join("alice");
    let mut socket = runtime.block_on(alice.socket(second)).unwrap();
    let request = json!({"account": "alice", "reason": "a test"});
    let asked = carol.asks(second, "bans/", "203.0.113.9", Some(&request));
    let (status, ban) = runtime.block_on(asked);
    assert_eq!(status, 201, "{ban}");
    ends(&mut socket);
    // The session is over when the endpoint has ended it.
    let asked = Instant::now();
    loop {
        let (_, links) = runtime.block_on(carol.asks(third, "links/", "203.0.113.9", None));
        let mut links = links.as_array().unwrap().iter();
        if links.all(|link| link["account"] != "alice") {
            break;
        }
        assert!(asked.elapsed() < Duration::from_secs(2));
        std::thread::sleep(Duration::from_millis(10));
    }
    // The audit log, which any node reads, names the client and not the node in between.
    for address in [owner, third] {
        let audit = runtime.block_on(carol.asks(address, "audit/", "203.0.113.9", None));
        let entries = audit.1.as_array().unwrap().clone();
        let banned = |entry: &&serde_json::Value| {
            entry["action"] == "ban" && entry["target"] == "account alice"
        };
        let entry = entries.iter().find(banned).unwrap();
        assert_eq!(entry["address"], "203.0.113.9", "{entry}");
        assert_eq!(entry["who"], "carol", "{entry}");
    }
}

#[test]
fn a_node_with_other_keys_or_without_redis_does_not_start() {
    let Some(cluster) = Cluster::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let base = cluster.base();
    let text = std::fs::read_to_string(base.file(1)).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["cluster"]["node_url"] = json!(format!("http://127.0.0.1:{}", free_port()));
    let refused = |config: &serde_json::Value, number: usize| {
        std::fs::write(base.file(number), config.to_string()).unwrap();
        let command = base.command(number, &["serve", "--listen", "127.0.0.1:0"]);
        let mut process = Process::start("a node that is refused", command);
        assert_eq!(process.exit(PATIENCE).code, Some(1));
        let lines = process.lines().into_iter();
        let said = lines.filter(|line| line.source == Source::Err);
        said.map(|line| line.text + "\n").collect::<String>()
    };
    // One that makes its own keys.
    let said = refused(&config, NODES);
    for file in ["identity.key", "jwt.key", "endpoint-token"] {
        assert!(said.contains(file), "{said}");
    }
    config["cluster"]["redis"] = json!(format!("redis://:hunter2@127.0.0.1:{}/", free_port()));
    let said = refused(&config, 1);
    assert!(
        said.contains("cluster.redis") && !said.contains("hunter2"),
        "{said}"
    );
    // The others have not noticed.
    let runtime = Runtime::new().unwrap();
    for address in cluster.addresses {
        assert_eq!(runtime.block_on(health(address)).0, 200);
    }
}
