//! What operators do, on whichever node.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;
use warp_tests::process::{PATIENCE, Process, Source};

use crate::calm::Calm;
use crate::nodes::{Cluster, LEASE, NODES, free_port};
use crate::pair::{Player, Socket, healthy, signs_in};

/// Within this what is announced is in force, on a machine that is not busy; well below the two seconds
/// after which each node looks by itself.
const AT_ONCE: Duration = Duration::from_millis(600);

#[test]
fn what_the_operator_does_counts_at_once_and_an_owner_that_ends_hands_over() {
    let Some(mut cluster) = Cluster::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let runtime = Runtime::new().unwrap();
    let calm = Calm::watch();
    let player = runtime.block_on(Player::join(&cluster.addresses, 1, "alice"));
    // Several times, because each node also looks by itself every two seconds.
    for (n, on) in [false, true, false, true, false].into_iter().enumerate() {
        cluster.operate(&["p2p", if on { "on" } else { "off" }]);
        let done = calm.begin();
        while runtime.block_on(player.is_p2p(cluster.addresses[n % NODES])) != Some(on) {
            assert!(done.elapsed() < PATIENCE, "the switch is not in force");
            std::thread::sleep(Duration::from_millis(10));
        }
        calm.took("the switch was in force", done, AT_ONCE);
    }
    // The owner is asked to end: nobody waits for its lease.
    let marks = cluster.marks();
    let mut socket = runtime
        .block_on(player.socket(cluster.addresses[0]))
        .unwrap();
    let asked = calm.begin();
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
    calm.took("SIGTERM: another node owned the sessions", asked, LEASE);
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
    let calm = Calm::watch();
    for name in ["bob", "carol"] {
        cluster.house.add_user(name);
    }
    let [owner, second, third] = cluster.addresses;
    let join = |user| runtime.block_on(Player::join(&cluster.addresses, 1, user));
    let ends = |socket: &mut Socket| {
        let end = async { while let Some(Ok(_)) = socket.next().await {} };
        let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, end).await });
        assert!(ended.is_ok(), "the socket stays open");
    };
    // From the command line: its socket at a node that owns nothing ends.
    let bob = join("bob");
    let mut socket = runtime.block_on(bob.socket(third)).unwrap();
    cluster.operate(&["ban", "add", "--account", "bob", "--reason", "a test"]);
    let done = calm.begin();
    ends(&mut socket);
    calm.took("the ban was in force", done, AT_ONCE);
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
        assert!(asked.elapsed() < PATIENCE, "the session stays");
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
        assert!(runtime.block_on(healthy(address)));
    }
}
