//! Play over a volunteer's machine in a network of our own: launcher and client in one namespace,
//! hosts in a second, coordinator with the endpoint and game server in a third. The servers' machine
//! also passes packets between the other two, so that a player has one uplink for all its ways:
//!
//! ```text
//! players ── 10 ms ── servers ── hosts
//! ```
//!
//! What is dropped as it comes in at the servers is what players and endpoint say to each other; what
//! goes on to the hosts passes.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use warp_lab::{DropRule, LinkEmulator, Namespace, Profile};
use warp_tests::hosted::{
    Hosted, LONG, goes_on, host_id, later, plan, until_left, until_ready, until_told,
};
use warp_tests::house::{Place, Plan};
use warp_tests::process::{Process, Source};
use warp_tests::relay::find;

/// Play without the direct way, so that a host carries it.
const NOT_DIRECT: [&str; 2] = ["host", "wss"];
/// All ways.
const ALL: [&str; 3] = ["direct", "host", "wss"];
/// What every chat line of the practice client contains.
const MARKER: &[u8] = b"practice line";

struct Lab {
    // Processes end before the network that they use.
    all: Hosted,
    uplink: LinkEmulator,
    to_hosts: LinkEmulator,
    servers: Arc<Namespace>,
    players: Arc<Namespace>,
    hosts: Arc<Namespace>,
}

fn place(namespace: &Arc<Namespace>) -> Place {
    let namespace = Arc::clone(namespace);
    Arc::new(move |program: &Path| namespace.command(program))
}

fn ip(namespace: &Namespace, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    namespace.run("ip", &words).unwrap();
}

impl Lab {
    /// In play, with all of `paths` proven. `None`: not possible here; the reason has been printed.
    fn new(paths: &[&str]) -> Option<Self> {
        if let Err(reason) = warp_lab::available() {
            println!("SKIPPED: {reason}");
            return None;
        }
        let name = |hint| Arc::new(Namespace::new(hint).unwrap());
        let (servers, players, hosts) = (name("servers"), name("players"), name("hosts"));
        let uplink = LinkEmulator::new(&servers, &players, Profile::delay_ms(10), 7).unwrap();
        let to_hosts = LinkEmulator::new(&servers, &hosts, Profile::delay_ms(0), 8).unwrap();
        let forward = || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1");
        servers.within(forward).unwrap().unwrap();
        for (namespace, link) in [(&players, &uplink), (&hosts, &to_hosts)] {
            ip(
                namespace,
                &format!("route add default dev {}", link.interface_b()),
            );
        }
        let plan = Plan {
            servers: place(&servers),
            players: place(&players),
            ip: uplink.address_a().into(),
            ..plan()
        };
        let mut all = Hosted::new(plan, place(&hosts), 1, paths);
        if !paths.contains(&"direct") {
            all.use_hosts();
        }
        Some(Self {
            all,
            uplink,
            to_hosts,
            servers,
            players,
            hosts,
        })
    }

    fn node(&self) -> &Process {
        &self.all.nodes[0]
    }

    /// Drops UDP as it comes in at `places`, where it fits `matcher` too.
    fn no_udp(places: &[(&Namespace, String)]) -> Vec<DropRule> {
        let rules = places.iter().map(|(namespace, matcher)| {
            (namespace.drop_incoming(&format!("{matcher} meta l4proto udp"))).unwrap()
        });
        rules.collect()
    }

    /// Gives the machine behind `link` another address; its own is gone.
    fn readdress(&self, machine: &Namespace, link: &LinkEmulator) {
        let (own, other) = (link.address_b(), link.address_a());
        let [a, b, c, _] = own.octets();
        let new = Ipv4Addr::new(a, b, c, 77);
        let device = link.interface_b();
        ip(
            &self.servers,
            &format!("route add {new}/32 dev {}", link.interface_a()),
        );
        ip(
            machine,
            &format!("addr del {own} peer {other}/32 dev {device}"),
        );
        ip(
            machine,
            &format!("addr add {new}/32 peer {other} dev {device}"),
        );
        // Where the address goes, the routes through it go.
        ip(machine, &format!("route replace default dev {device}"));
    }

    fn pass(rules: Vec<DropRule>) {
        for rule in rules {
            assert!(rule.dropped().unwrap() > 0);
            rule.remove().unwrap();
        }
    }
}

#[test]
fn a_killed_host_is_left_for_another_way() {
    let Some(mut lab) = Lab::new(&NOT_DIRECT) else {
        return;
    };
    let (path, victim) = lab.all.host_in_use(lab.node());
    let gone = host_id(&lab.all.hosts[victim]);
    let from = lab.node().mark();
    lab.all.hosts[victim].kill();
    let (at, _) = until_left(lab.node(), from, &path);
    goes_on(lab.node(), at, |now| now != path);
    until_told(lab.node(), from, |ids| !ids.contains(&gone));
    lab.all.add_host();
    let next = host_id(&lab.all.hosts[2]);
    let at = until_told(lab.node(), from, |ids| {
        ids.contains(&next) && ids.len() == 2
    });
    until_ready(lab.node(), at, &lab.all.kinds);
    lab.all.finish("kill -9 of the host");
}

#[test]
fn a_host_that_hangs_is_left_for_another_way() {
    let Some(mut lab) = Lab::new(&NOT_DIRECT) else {
        return;
    };
    let (path, victim) = lab.all.host_in_use(lab.node());
    let hung = host_id(&lab.all.hosts[victim]);
    let from = lab.node().mark();
    lab.all.hosts[victim].freeze();
    let (at, moved) = until_left(lab.node(), from, &path);
    assert_eq!(moved["reason"], "silence");
    goes_on(lab.node(), at, |now| now != path);
    until_told(lab.node(), from, |ids| !ids.contains(&hung));
    lab.all.hosts[victim].thaw();
    lab.all.finish("SIGSTOP of the host");
}

#[test]
fn without_the_direct_way_a_host_carries_the_game() {
    let Some(mut lab) = Lab::new(&ALL) else {
        return;
    };
    goes_on(lab.node(), lab.node().mark(), |path| path == "direct");
    let from = lab.node().mark();
    let player = lab.uplink.address_b();
    let from_player = format!("ip saddr {player}");
    // The endpoint offers the addresses of both its cables.
    let one = format!("ip saddr {}", lab.uplink.address_a());
    let other = format!("ip saddr {}", lab.to_hosts.address_a());
    let rules = Lab::no_udp(&[
        (&lab.servers, from_player),
        (&lab.players, one),
        (&lab.players, other),
    ]);
    let (at, moved) = until_left(lab.node(), from, "direct");
    assert_eq!(moved["reason"], "silence");
    let to = moved["to"].as_str().unwrap().to_owned();
    assert!(to.starts_with("host"), "{moved}");
    // What the cut delayed may let the host look worse than the WebSocket for a while.
    let at = goes_on(lab.node(), at, |path| path != "direct");
    let dropped = |rule: &DropRule| rule.dropped().unwrap();
    assert!(dropped(&rules[0]) > 0);
    assert!(dropped(&rules[1]) + dropped(&rules[2]) > 0);
    drop(rules);
    let at = until_ready(lab.node(), at, &lab.all.kinds);
    goes_on(lab.node(), at, |_| true);
    lab.all.finish("the direct way was cut");
}

#[test]
fn without_udp_the_websocket_carries_the_game() {
    let Some(mut lab) = Lab::new(&ALL) else {
        return;
    };
    let from = lab.node().mark();
    let rules = Lab::no_udp(&[
        (&lab.players, String::new()),
        (&lab.servers, format!("ip saddr {}", lab.uplink.address_b())),
        (&lab.hosts, format!("ip saddr {}", lab.uplink.address_b())),
    ]);
    let to_socket = |event: &Value| event["to"] == "wss";
    let (at, moved) = lab.node().event_from(from, "moved", LONG, to_socket);
    println!("{moved}");
    assert_eq!(moved["reason"], "silence");
    let at = goes_on(lab.node(), at, |path| path == "wss");
    Lab::pass(rules);
    let (at, _) = (lab.node()).event_from(at, "moved", LONG, |event| event["from"] == "wss");
    goes_on(lab.node(), at, |path| path != "wss");
    lab.all.finish("UDP was blocked");
}

#[test]
fn another_address_has_all_carriers_made_anew_for_the_same_streams() {
    let Some(mut lab) = Lab::new(&ALL) else {
        return;
    };
    goes_on(lab.node(), lab.node().mark(), |path| path == "direct");
    let from = lab.node().mark();
    lab.readdress(&lab.players, &lab.uplink);
    let line = |what: &'static str, from: usize| {
        lab.node().wait_line(from, what, LONG, |line| {
            let fits = line.source == Source::Err && line.text.contains(what);
            fits.then_some(line.at)
        })
    };
    let (at, noticed) = line("the network changed", from);
    let (_, open) = line("carrier open", at);
    println!(
        "the first carrier was open {} ms after the change was noticed",
        (open - noticed).as_millis()
    );
    let at = until_ready(lab.node(), at, &lab.all.kinds);
    goes_on(lab.node(), at, |_| true);
    for moved in later(lab.node(), from, "moved") {
        println!("{moved}");
    }
    lab.all.finish("another uplink address");
}

#[test]
fn hosts_with_another_address_are_there_again() {
    let Some(mut lab) = Lab::new(&NOT_DIRECT) else {
        return;
    };
    let (path, _) = lab.all.host_in_use(lab.node());
    let from = lab.node().mark();
    let marks: Vec<usize> = lab.all.hosts.iter().map(Process::mark).collect();
    lab.readdress(&lab.hosts, &lab.to_hosts);
    let (at, _) = until_left(lab.node(), from, &path);
    goes_on(lab.node(), at, |now| now == "wss");
    for (host, from) in lab.all.hosts.iter().zip(marks) {
        let (mut at, mut ms) = (from, Vec::new());
        for what in [
            "the network is another one",
            "connected to the endpoint over",
        ] {
            let (next, (when, text)) = host.wait_line(at, what, LONG, |line| {
                let fits = line.text.contains(what);
                fits.then(|| (line.at, line.text.clone()))
            });
            ms.push(when);
            at = next;
            if what.starts_with("connected") {
                assert!(text.contains("over WebRTC"), "{text}");
            }
        }
        println!("connected again {} ms after", (ms[1] - ms[0]).as_millis());
    }
    lab.all.finish("another address of the hosts");
}

#[test]
fn loss_and_jitter_cost_no_byte() {
    let Some(mut lab) = Lab::new(&ALL) else {
        return;
    };
    let from = lab.node().mark();
    let bad = Profile::delay_ms(110).with_jitter_ms(100).with_loss(0.05);
    lab.uplink.set_both(bad);
    let at = goes_on(lab.node(), from, |_| true);
    let at = goes_on(lab.node(), at, |_| true);
    // The host dies in it.
    lab.all.hosts[0].kill();
    let at = goes_on(lab.node(), at, |_| true);
    lab.uplink.set_both(Profile::delay_ms(10));
    goes_on(lab.node(), at, |_| true);
    lab.all
        .finish("5 % loss and 100 ms jitter, a host killed in it");
}

#[test]
fn a_capture_of_a_hosts_cable_shows_no_chat_line() {
    let Some(mut lab) = Lab::new(&NOT_DIRECT) else {
        return;
    };
    let file = lab.all.house.dir().join("host.pcap");
    let before = lab.to_hosts.counters(warp_lab::Direction::AToB).udp;
    lab.to_hosts.capture_to(&file).unwrap();
    goes_on(lab.node(), lab.node().mark(), |path| {
        path.starts_with("host")
    });
    lab.to_hosts.stop_capture().unwrap();
    let after = lab.to_hosts.counters(warp_lab::Direction::AToB).udp;
    let captured = std::fs::read(&file).unwrap();
    let packets = after.packets - before.packets;
    assert!(packets > 100, "{packets} UDP packets: it went elsewhere");
    assert!(!find(&captured, MARKER), "a chat line in clear");
    println!("{packets} UDP packets to the hosts: no chat line in clear");
    lab.all.finish("captured");
}
