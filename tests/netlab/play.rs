//! Play over a network of our own: coordinator and game server in one namespace, launcher and
//! client in another, and between them a link of 10 ms each way whose parts are cut.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use warp_lab::{DropRule, LinkEmulator, Namespace, Profile};
use warp_tests::digests::compare_all;
use warp_tests::house::{House, NodePlan, Place, Plan, good_end, on_map};
use warp_tests::process::{PATIENCE, Process, is};
use warp_tests::relay::find;

/// How long the way back to a path may take: its carrier may have to be opened anew, and the wait
/// before a try doubles up to 30 s.
const BACK: Duration = Duration::from_secs(90);
/// What every chat line of the practice client contains.
const MARKER: &[u8] = b"practice line";

/// Two hosts with a link, a house on one of them and a launcher on the other.
struct Lab {
    // Processes end before the network that they use.
    client: Process,
    node: Process,
    house: House,
    link: LinkEmulator,
    servers: Arc<Namespace>,
    players: Arc<Namespace>,
    login: SocketAddr,
}

fn place(namespace: &Arc<Namespace>) -> Place {
    let namespace = Arc::clone(namespace);
    Arc::new(move |program: &Path| namespace.command(program))
}

impl Lab {
    /// In play over the direct path, at 20 requests a second, on one map. `None`: not possible here;
    /// the reason has been printed.
    fn new() -> Option<Self> {
        if let Err(reason) = warp_lab::available() {
            println!("SKIPPED: {reason}");
            return None;
        }
        let servers = Arc::new(Namespace::new("servers").unwrap());
        let players = Arc::new(Namespace::new("players").unwrap());
        let link = LinkEmulator::new(&servers, &players, Profile::delay_ms(10), 7).unwrap();
        let house = House::with(Plan {
            servers: place(&servers),
            players: place(&players),
            ip: link.address_a().into(),
            ..Plan::default()
        });
        let (node, login) = house.playing(&NodePlan::default());
        let arguments = ["--rate", "20", "--change-every", "0", "--seconds", "0"];
        let patient = ["--answer-timeout", "60"];
        let client = house.client(login, "test1", &[&arguments[..], &patient].concat());
        on_map(&client);
        let lab = Self {
            client,
            node,
            house,
            link,
            servers,
            players,
            login,
        };
        lab.seconds(0, "direct", 2);
        // The other path has proven itself.
        lab.node.event_from(0, "metrics", PATIENCE, |event| {
            let paths = event["metrics"]["paths"].as_array().unwrap();
            (paths.iter()).any(|path| path["kind"] == "wss" && path["phase"] == "standby")
        });
        Some(lab)
    }

    /// Waits until the game has gone on over `path` for about as many seconds: the launcher tells
    /// its numbers once a second, and each time the client has sent more.
    fn seconds(&self, from: usize, path: &str, seconds: usize) -> usize {
        let mut at = from;
        let mut bytes = 0;
        for _ in 0..seconds {
            let (next, event) = self.node.event_from(at, "metrics", PATIENCE, |event| {
                let metrics = &event["metrics"];
                metrics["path"] == path && metrics["bytes_up"].as_u64() > Some(bytes)
            });
            (at, bytes) = (next, event["metrics"]["bytes_up"].as_u64().unwrap());
        }
        at
    }

    /// Drops on both sides what `matchers` fit.
    fn drop_both(&self, at_servers: &str, at_players: &str) -> [DropRule; 2] {
        [
            self.servers.drop_incoming(at_servers).unwrap(),
            self.players.drop_incoming(at_players).unwrap(),
        ]
    }

    /// Ends the client: it has to have seen every byte it expected, over one map connection that
    /// nobody closed before it did, and both ends of every connection have seen the same. Gives the
    /// client's summary.
    fn finish(&mut self, what: &str) -> Value {
        self.client.terminate();
        let summary = good_end(&mut self.client, PATIENCE);
        let (server, coordinator) = (&self.house.server, &self.house.coordinator);
        let compared = compare_all(&[&self.client], &[&self.node], server, coordinator);
        assert_eq!(compared.maps, 1, "one map connection from beginning to end");
        assert_eq!(summary["login_retries"], 0);
        for (end, reason) in [(&self.client, "done"), (server, "client-closed")] {
            let reports = end.events("connection-closed");
            let map: Vec<&Value> = reports.iter().filter(|one| one["role"] == "map").collect();
            assert_eq!(map.len(), 1, "{reports:?}");
            assert_eq!(map[0]["reason"], reason, "{}", end.name());
        }
        println!(
            "{what}: largest gap {:.1} ms, round trip p50 {} us, p99 {} us, {} requests answered",
            summary["largest_gap_ms"].as_f64().unwrap(),
            summary["rtt_us"]["p50"],
            summary["rtt_us"]["p99"],
            summary["answered"],
        );
        summary
    }

    /// Events of this name at or after `from`.
    fn later(&self, from: usize, name: &str) -> Vec<Value> {
        let lines = self.node.lines().split_off(from);
        let events = lines.into_iter().filter_map(|line| line.event);
        events.filter(|event| is(event, name)).collect()
    }
}

#[test]
fn udp_dropped_moves_the_game_to_the_websocket_and_back() {
    let Some(mut lab) = Lab::new() else {
        return;
    };
    let from = lab.node.mark();
    let udp = lab.drop_both("meta l4proto udp", "meta l4proto udp");
    let (at, moved) = (lab.node).event_from(from, "moved", PATIENCE, |event| event["to"] == "wss");
    assert_eq!(moved["from"], "direct");
    assert_eq!(moved["reason"], "silence");
    let at = lab.seconds(at, "wss", 6);
    for rule in udp {
        assert!(rule.dropped().unwrap() > 0);
        rule.remove().unwrap();
    }
    let (at, back) = (lab.node).event_from(at, "moved", BACK, |event| event["to"] == "direct");
    assert_eq!(back["reason"], "better");
    lab.seconds(at, "direct", 2);
    println!(
        "moved after a silence of {:.0} ms",
        moved["silent_ms"].as_f64().unwrap()
    );
    lab.finish("UDP dropped for 6 s");
    assert_eq!(lab.later(0, "problem"), Vec::<Value>::new());
}

#[test]
fn tcp_dropped_is_nothing_to_a_game_on_the_direct_path() {
    let Some(mut lab) = Lab::new() else {
        return;
    };
    let from = lab.node.mark();
    let port = lab.house.address.port();
    let tcp = lab.drop_both(&format!("tcp dport {port}"), &format!("tcp sport {port}"));
    lab.seconds(from, "direct", 3);
    for rule in tcp {
        assert!(rule.dropped().unwrap() > 0);
        rule.remove().unwrap();
    }
    lab.seconds(lab.node.mark(), "direct", 2);
    lab.finish("TCP dropped for 3 s");
    for name in ["moved", "state", "problem"] {
        assert_eq!(lab.later(from, name), Vec::<Value>::new());
    }
}

#[test]
fn a_cut_of_everything_is_held_and_resumed() {
    let Some(mut lab) = Lab::new() else {
        return;
    };
    let from = lab.node.mark();
    lab.link.cut();
    let reconnecting = |event: &Value| event["state"] == "reconnecting";
    let (at, _) = lab.node.event_from(from, "state", PATIENCE, reconnecting);
    // Long enough for several attempts to fail, and shorter than streams are held.
    let at = lab.node.events_more(at, "metrics", 20, |event| {
        assert_eq!(event["metrics"]["state"], "reconnecting", "{event}");
        true
    });
    lab.link.restore();
    let connected = |event: &Value| event["state"] == "connected";
    let (at, state) = lab.node.event_from(at, "state", BACK, connected);
    let path = state["path"].as_str().unwrap();
    lab.seconds(at, path, 2);
    println!("resumed over {path}");
    let summary = lab.finish("everything cut for 20 s");
    assert!(
        summary["largest_gap_ms"].as_f64() > Some(19_000.0),
        "{summary}"
    );
}

#[test]
fn a_capture_of_the_direct_path_shows_no_chat_line() {
    let Some(mut lab) = Lab::new() else {
        return;
    };
    let file = lab.house.dir().join("direct.pcap");
    lab.link.capture_to(&file).unwrap();
    let before = lab.node.mark();
    lab.seconds(before, "direct", 4);
    lab.link.stop_capture().unwrap();
    let captured = std::fs::read(&file).unwrap();
    let packets = packets(&captured);
    let udp = packets.iter().filter(|packet| packet.get(9) == Some(&17));
    let (count, bytes) = udp.fold((0, 0), |(count, bytes), one| (count + 1, bytes + one.len()));
    // 20 requests a second and their answers, for at least three seconds.
    assert!(count > 100, "{count} UDP packets: the game went elsewhere");
    assert!(!find(&captured, MARKER), "a chat line in clear");
    println!(
        "{} packets, {count} of them UDP with {bytes} bytes: no chat line in clear",
        packets.len()
    );
    lab.finish("captured");

    // The same search finds the lines of a client that goes to the game server without us.
    let file = lab.house.dir().join("plain.pcap");
    lab.link.capture_to(&file).unwrap();
    let server = lab.house.listening["login"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_ne!(lab.login, server);
    let arguments = ["--rate", "20", "--change-every", "0", "--seconds", "2"];
    let mut plain = lab.house.client(server, "test2", &arguments);
    good_end(&mut plain, PATIENCE);
    lab.link.stop_capture().unwrap();
    let captured = std::fs::read(&file).unwrap();
    assert!(find(&captured, MARKER), "the search finds nothing anywhere");
}

/// The packets of a pcap file as the lab writes it: a header of 24 bytes, then for each packet 16
/// bytes, the third word of which is its length.
fn packets(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = &file[24..];
    let mut packets = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(head[8..12].try_into().unwrap());
        let (packet, tail) = tail.split_at(length as usize);
        packets.push(packet);
        rest = tail;
    }
    assert!(rest.is_empty());
    packets
}
