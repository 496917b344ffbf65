//! What fails under load: nodes, Redis, the database.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt, future::join_all};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use warp_tests::process::PATIENCE;

use crate::calm::Calm;
use crate::nodes::{Cluster, LEASE, NODES, logged};
use crate::pair::{Player, Socket, health};
use crate::talk::{Pair, plays, unharmed};

/// Within this `/health` tells the truth.
const TRUTH: Duration = Duration::from_secs(2);

/// So long Redis is away: two leases.
const MISSED: Duration = Duration::from_secs(2 * LEASE.as_secs());

/// Probes these nodes, all at once, until each has said once what is expected: its status (0: no answer
/// within 2 s), and one check of its body that is not healthy.
fn probes(runtime: &Runtime, nodes: &[SocketAddr], status: u16, down: Option<&'static str>) {
    let mut tasks = JoinSet::new();
    for node in nodes.iter().copied() {
        let until = async move {
            loop {
                let (got, body) = health(node).await;
                let check = |name: &str| body["checks"][name] != json!("healthy");
                if got == status && down.is_none_or(check) {
                    return;
                }
            }
        };
        let until = async move { tokio::time::timeout(PATIENCE, until).await };
        tasks.spawn_on(until, runtime.handle());
    }
    for said in runtime.block_on(tasks.join_all()) {
        said.expect("/health does not say so");
    }
}

/// Lets somebody into the pair's room, at this node.
fn guest(runtime: &Runtime, cluster: &Cluster, pair: &Pair, node: usize) -> (Player, Socket) {
    let ghost = runtime.block_on(Player::join(&cluster.addresses, node, "alice"));
    let socket = runtime.block_on(async {
        let room = &pair.players[0];
        assert!(room.admit(cluster.addresses[node], &ghost.peer_id).await);
        let mut socket = ghost.socket(cluster.addresses[node]).await.unwrap();
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
    (ghost, socket)
}

/// Nobody sees a peer any more whose socket ended with its node.
fn no_ghost(pair: &Pair, ghost: &Player) {
    for player in &pair.players {
        let present = player.seen().present.clone();
        assert!(!present.contains(&ghost.peer_id), "{present:?}");
    }
}

#[test]
fn under_load_the_owner_is_killed_then_frozen_and_no_game_notices() {
    let Some(mut cluster) = Cluster::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let runtime = Runtime::new().unwrap();
    let calm = Calm::watch();
    let (node, mut client) = plays(&cluster);
    let pair = Pair::start(&runtime, &cluster);
    pair.goes_on(20);

    // Undisturbed, over three nodes: everything arrives.
    let before = pair.begin();
    pair.goes_on(100);
    assert_eq!(pair.cost("undisturbed", before).lost, 0);

    // The owner is killed. Somebody who was in the room there does not come back.
    let (ghost, ghosts_socket) = guest(&runtime, &cluster, &pair, 0);
    let (before, marks, endpoint) = (pair.begin(), cluster.marks(), cluster.endpoint_mark());
    let killed = calm.begin();
    cluster.kill(0);
    drop(ghosts_socket);
    probes(&runtime, &cluster.addresses[..1], 0, None);
    probes(&runtime, &cluster.addresses[1..], 200, None);
    calm.took("kill -9: /health of all nodes was true", killed, TRUTH);
    let second = cluster.next_owner(marks, 0);
    let most = LEASE + Duration::from_millis(2500);
    calm.took("kill -9: another node owned the sessions", killed, most);
    cluster.endpoint_serves(endpoint);
    pair.goes_on(60);
    pair.cost("owner killed", before);
    no_ghost(&pair, &ghost);
    cluster.restart(0);

    // The next owner stands still, with a client of its own, and wakes up.
    let witness = runtime.block_on(Player::join(&cluster.addresses, second, "bob"));
    let mut socket = runtime
        .block_on(witness.socket(cluster.addresses[second]))
        .unwrap();
    let (ghost, ghosts_socket) = guest(&runtime, &cluster, &pair, second);
    let (before, marks, endpoint) = (pair.begin(), cluster.marks(), cluster.endpoint_mark());
    let frozen = calm.begin();
    cluster.node(second).freeze();
    let third = cluster.next_owner(marks, second);
    calm.took("SIGSTOP: another node owned the sessions", frozen, most);
    // A probe with a limit of 2 s finds it out.
    probes(&runtime, &[cluster.addresses[second]], 0, None);
    cluster.endpoint_serves(endpoint);
    pair.goes_on(60);
    pair.cost("owner frozen", before);
    no_ghost(&pair, &ghost);
    drop(ghosts_socket);
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
    pair.end(&runtime, &cluster);
    unharmed(&cluster, &node, &mut client);
}

#[test]
fn under_load_redis_is_emptied_killed_and_frozen_and_no_game_notices() {
    let Some(mut cluster) = Cluster::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let runtime = Runtime::new().unwrap();
    let calm = Calm::watch();
    let (node, mut client) = plays(&cluster);
    let pair = Pair::start(&runtime, &cluster);
    pair.goes_on(20);

    let (before, marks) = (pair.begin(), cluster.marks());
    let ended = calm.begin();
    cluster.redis.kill();
    cluster.redis.start_empty();
    let down = ended.elapsed();
    pair.goes_on(100);
    let cost = pair.cost("Redis killed and started again with nothing", before);
    // A machine on which Redis needs a lease to start is another trial, which follows.
    if down < LEASE / 2 {
        assert_eq!((cost.lost, cost.sockets), (0, 0));
    }

    // Frozen for more than a lease: nothing is granted any more, and everything open stays open.
    let before = pair.begin();
    let frozen = calm.begin();
    cluster.redis.freeze();
    probes(&runtime, &cluster.addresses, 503, Some("redis"));
    calm.took("Redis frozen: /health of all nodes said so", frozen, TRUTH);
    std::thread::sleep(MISSED.saturating_sub(frozen.elapsed()));
    logged(cluster.node(0), marks[0], "the lease could not be renewed");
    let back = calm.begin();
    cluster.redis.thaw();
    logged(
        cluster.node(0),
        marks[0],
        "this node owns the live state as before",
    );
    calm.took("the owner went on after Redis did", back, PATIENCE);
    pair.goes_on(60);
    let cost = pair.cost("Redis frozen for 6 s", before);
    assert_eq!(cost.sockets, 0, "a socket was closed");
    for (number, mark) in marks.into_iter().enumerate().take(NODES).skip(1) {
        let lines = cluster.node(number).lines();
        let owns = |text: &str| text.contains("owns the live state");
        assert!(!lines[mark..].iter().any(|line| owns(&line.text)));
    }

    // Gone until all have noticed, and then empty: whoever may own it next, all goes on.
    let before = pair.begin();
    let ended = calm.begin();
    cluster.redis.kill();
    probes(&runtime, &cluster.addresses, 503, Some("redis"));
    calm.took("Redis killed: /health of all nodes said so", ended, TRUTH);
    std::thread::sleep(MISSED.saturating_sub(ended.elapsed()));
    cluster.redis.start_empty();
    let back = calm.begin();
    probes(&runtime, &cluster.addresses, 200, None);
    calm.took("all was well again after its start", back, PATIENCE);
    pair.goes_on(60);
    pair.cost("Redis gone for 6 s, and then empty", before);
    pair.end(&runtime, &cluster);
    unharmed(&cluster, &node, &mut client);
}

#[test]
fn under_load_the_database_is_frozen_and_stopped_and_what_is_open_goes_on() {
    let Some(mut cluster) = Cluster::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    if cluster.database.is_none() {
        // Said by the cluster.
        return;
    }
    let runtime = Runtime::new().unwrap();
    let calm = Calm::watch();
    let (node, mut client) = plays(&cluster);
    let pair = Pair::start(&runtime, &cluster);
    pair.goes_on(20);
    let marks = cluster.marks();
    for (what, stops) in [("PostgreSQL frozen", false), ("PostgreSQL stopped", true)] {
        // What needs the database is refused, and says so; what is open does not notice.
        let before = pair.begin();
        let began = calm.begin();
        let database = cluster.database.as_mut().unwrap();
        match stops {
            true => database.stop(),
            false => database.freeze().unwrap(),
        }
        probes(&runtime, &cluster.addresses, 503, Some("database"));
        let told = format!("{what}: /health of all nodes said so");
        calm.took(&told, began, TRUTH);
        let asked = calm.begin();
        let player = &pair.players[0];
        let joins = cluster.addresses.map(|node| player.joins_again(node));
        for (status, body) in runtime.block_on(join_all(joins)) {
            assert_eq!(status, 503, "{body}");
            assert_eq!(body["code"], "coordinator-fault", "{body}");
        }
        calm.took("a join at each node was refused", asked, TRUTH);
        pair.goes_on(100);
        let database = cluster.database.as_mut().unwrap();
        match stops {
            true => database.start_again().unwrap(),
            false => database.thaw().unwrap(),
        }
        let back = calm.begin();
        probes(&runtime, &cluster.addresses, 200, None);
        calm.took("it was in use again", back, PATIENCE);
        let cost = pair.cost(what, before);
        assert_eq!((cost.lost, cost.sockets), (0, 0));
    }
    for (number, mark) in marks.into_iter().enumerate() {
        let lines = cluster.node(number).lines();
        let owns = |text: &str| text.contains("owns the live state");
        assert!(!lines[mark..].iter().any(|line| owns(&line.text)));
    }
    pair.end(&runtime, &cluster);
    unharmed(&cluster, &node, &mut client);
}
