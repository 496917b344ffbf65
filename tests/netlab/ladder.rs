//! The ladder: two players, each behind every kind of network, meet whatever stands between them.
//!
//! Coordinator, TURN server (a real coturn) and an HTTP proxy stand in the internet; of each kind of
//! network there are two homes, so that a kind also meets its own. Every ordered pair of kinds meets
//! once: who offers differs, and with it who nominates.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use warp_lab::{Home, Internet, Namespace, NatKind, route_default, veth_pair};
use warp_tests::house::{House, Place, Plan, ZONE, api, program};
use warp_tests::process::{PATIENCE, Process};
use warp_tests::proxy::{ConnectProxy, ProxyPlan};

/// Coordinator and TURN server, and the proxy (TEST-NET-3, RFC 5737).
const SERVERS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const PROXY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 2), 443);
/// The TURN server's port; also STUN.
const TURN: u16 = 3478;
/// What TURN server and coordinator share.
const SECRET: &str = "a secret of this test";
/// Pairs that meet at the same time.
const AT_ONCE: usize = 4;

/// What stands between a player and the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Open,
    FullCone,
    Restricted,
    PortRestricted,
    Symmetric,
    Double,
    UdpBlocked,
    OnlyProxy,
}

const NETWORKS: [Network; 8] = [
    Network::Open,
    Network::FullCone,
    Network::Restricted,
    Network::PortRestricted,
    Network::Symmetric,
    Network::Double,
    Network::UdpBlocked,
    Network::OnlyProxy,
];

/// How two players may meet at best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Best {
    /// Without anybody between them.
    Direct,
    /// Over the TURN server.
    Relay,
    /// Over the coordinator.
    Wss,
}

impl Network {
    fn name(self) -> &'static str {
        match self {
            Network::Open => "none",
            Network::FullCone => "full cone",
            Network::Restricted => "restricted",
            Network::PortRestricted => "port-restr.",
            Network::Symmetric => "symmetric",
            Network::Double => "double NAT",
            Network::UdpBlocked => "UDP blocked",
            Network::OnlyProxy => "only proxy",
        }
    }

    /// From the player outwards.
    fn routers(self) -> Vec<NatKind> {
        match self {
            Network::Open => vec![],
            Network::FullCone => vec![NatKind::FullCone],
            Network::Restricted => vec![NatKind::RestrictedCone],
            Network::PortRestricted => vec![NatKind::PortRestrictedCone],
            Network::Symmetric => vec![NatKind::Symmetric],
            Network::Double => vec![NatKind::PortRestrictedCone; 2],
            Network::UdpBlocked => vec![NatKind::UdpBlocked],
            Network::OnlyProxy => vec![NatKind::OnlyTcpTo(PROXY)],
        }
    }

    fn has_udp(self) -> bool {
        !matches!(self, Network::UdpBlocked | Network::OnlyProxy)
    }

    /// Lets nobody in but the port that it sent to.
    fn by_port(self) -> bool {
        let networks = [Network::PortRestricted, Network::Symmetric, Network::Double];
        networks.contains(&self)
    }

    /// A port that is drawn anew for each destination cannot be guessed, so whoever lets nobody in
    /// but a port that it knows cannot be reached from there (RFC 5128, section 3.3.3).
    fn best_with(self, other: Self) -> Best {
        if !self.has_udp() || !other.has_udp() {
            Best::Wss
        } else if (self == Network::Symmetric && other.by_port())
            || (other == Network::Symmetric && self.by_port())
        {
            Best::Relay
        } else {
            Best::Direct
        }
    }
}

fn place(namespace: &Arc<Namespace>) -> Place {
    let namespace = Arc::clone(namespace);
    Arc::new(move |program: &Path| namespace.command(program))
}

/// The servers. Processes end before the network that they use.
struct Servers {
    house: House,
    _turn: Process,
    proxy: ConnectProxy,
}

impl Servers {
    fn start(internet: &Internet) -> Self {
        let namespace = internet.namespace();
        let plenty = json!({"burst": 10_000, "per_minute": 10_000});
        let house = House::with(Plan {
            servers: place(namespace),
            players: place(namespace),
            ip: IpAddr::V4(SERVERS),
            coordinator: json!({
                "ice_servers": [{"urls": [format!("stun:{SERVERS}:{TURN}")]}],
                "turn": {
                    "urls": [format!("turn:{SERVERS}:{TURN}")],
                    "shared_secret": SECRET,
                    "ttl_seconds": 600,
                },
                "limits": {"address": plenty, "account": plenty},
            }),
            ..Plan::default()
        });
        let plan = ProxyPlan {
            authorization: None,
            only: Some(vec![house.address]),
        };
        let start = || ConnectProxy::start(IpAddr::V4(*PROXY.ip()), PROXY.port(), plan);
        Self {
            _turn: coturn(namespace, house.dir()),
            proxy: namespace.within(start).unwrap(),
            house,
        }
    }
}

fn coturn(namespace: &Namespace, folder: &Path) -> Process {
    let file = folder.join("turnserver.conf");
    let lines = [
        format!("listening-ip={SERVERS}"),
        format!("relay-ip={SERVERS}"),
        format!("listening-port={TURN}"),
        "min-port=50000".into(),
        "max-port=59999".into(),
        "realm=warp.test".into(),
        "use-auth-secret".into(),
        format!("static-auth-secret={SECRET}"),
        "fingerprint".into(),
        "no-cli".into(),
        "no-tls".into(),
        "no-dtls".into(),
        "no-stdout-log".into(),
        "simple-log".into(),
        format!("log-file={}", folder.join("turnserver.log").display()),
        format!("pidfile={}", folder.join("turnserver.pid").display()),
        format!("userdb={}", folder.join("turndb").display()),
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let mut command = namespace.command("turnserver");
    command.arg("-c").arg(file);
    let process = Process::start("coturn", command);
    let socket = namespace.within(|| UdpSocket::bind((SERVERS, 0)));
    answers(&socket.unwrap().unwrap());
    process
}

/// Waits until the TURN server answers a STUN binding request (RFC 8489, section 5).
fn answers(socket: &UdpSocket) {
    let mut request = [0_u8; 20];
    request[1] = 1;
    request[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    let often = Duration::from_millis(100);
    socket.set_read_timeout(Some(often)).unwrap();
    let start = Instant::now();
    loop {
        // Refused while nobody listens.
        let _ = socket.send_to(&request, (SERVERS, TURN));
        let mut answer = [0_u8; 512];
        match socket.recv(&mut answer) {
            Ok(length) if length >= 20 && answer[..2] == [1, 1] => return,
            Ok(_) => {}
            Err(_) => std::thread::sleep(often),
        }
        assert!(start.elapsed() < PATIENCE, "coturn does not answer");
    }
}

/// A player at home.
struct Player {
    network: Network,
    probe: Mutex<Process>,
    home: Home,
}

impl Player {
    fn new(internet: &Internet, servers: &Servers, network: Network, copy: usize) -> Self {
        let home = internet.home(&network.routers()).unwrap();
        let mut command = home.player.command(program("warp-peer-probe"));
        let user = format!("{}-{copy}", network.name().replace([' ', '.'], "_"));
        command.args(["--coordinator", &api(servers.house.address)]);
        command.args(["--user", &user, "--zone", ZONE]);
        for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(variable);
            command.env_remove(variable.to_lowercase());
        }
        if network == Network::OnlyProxy {
            command.env("HTTP_PROXY", format!("http://{PROXY}"));
        }
        Self {
            network,
            probe: Mutex::new(Process::start(&user, command)),
            home,
        }
    }

    /// Gives this machine another address; its own is gone.
    fn readdress(&self) -> Ipv4Addr {
        let router = &self.home.routers[0];
        let (device, address) = (&router.inside.interface, self.home.address);
        let [a, b, c, _] = address.octets();
        let new = Ipv4Addr::new(a, b, c, 77);
        let run = |namespace: &Namespace, arguments: &str| {
            let arguments: Vec<&str> = arguments.split(' ').collect();
            namespace.run("ip", &arguments).unwrap();
        };
        let player = &self.home.player;
        let routes = player
            .run("ip", &["-o", "route", "show", "default"])
            .unwrap();
        let own = routes
            .split(' ')
            .skip_while(|word| *word != "dev")
            .nth(1)
            .unwrap();
        run(
            &router.namespace,
            &format!("route replace {new}/32 dev {device}"),
        );
        run(player, &format!("addr flush dev {own}"));
        let gateway = router.inside.own;
        run(
            player,
            &format!("addr add {new}/32 peer {gateway} dev {own}"),
        );
        run(
            player,
            &format!("route replace default via {gateway} dev {own}"),
        );
        new
    }

    fn tell(&self, line: &Value) -> usize {
        let mut probe = self.probe.lock().unwrap();
        let from = probe.mark();
        probe.line(&line.to_string());
        from
    }

    fn told(&self, from: usize, event: &str) -> Value {
        let probe = self.probe.lock().unwrap();
        probe.event_from(from, event, PATIENCE, |_| true).1
    }

    fn joined(&self) -> Value {
        let from = self.tell(&json!({"do": "join"}));
        self.told(from, "joined")
    }
}

/// Where the internet sends what is for an address that it does not know, such as the private ones
/// that peers tell each other: it vanishes. Without a route the system would refuse it to the TURN
/// server at once, which no real network does, and which ends coturn's session.
fn nowhere(internet: &Internet) -> Namespace {
    let nowhere = Namespace::new("nowhere").unwrap();
    let cable = veth_pair(internet.namespace(), &nowhere).unwrap();
    route_default(internet.namespace(), &cable.port_a()).unwrap();
    nowhere
}

/// One pair that met: the host's account of it.
struct Meeting {
    host: Network,
    guest: Network,
    met: Value,
}

fn meet(host: &Player, guest: &Player) -> Meeting {
    let (at_host, at_guest) = (host.joined(), guest.joined());
    let (peer, key) = (&at_guest["peer_id"], &at_guest["key"]);
    let host_from = host.tell(&json!({"do": "host", "guest": peer, "key": key}));
    host.told(host_from, "admitted");
    let guest_from = guest.tell(&json!({
        "do": "visit",
        "session_id": at_host["session_id"],
        "host": at_host["peer_id"],
        "key": at_host["key"],
    }));
    let (met, other) = (host.told(host_from, "met"), guest.told(guest_from, "met"));
    let names = format!("{} with {}", host.network.name(), guest.network.name());
    check(&names, &met, &other);
    Meeting {
        host: host.network,
        guest: guest.network,
        met,
    }
}

/// What one sent is what the other received.
fn check(names: &str, met: &Value, other: &Value) {
    assert_eq!(met["sent"], other["received"], "{names}: {met} {other}");
    assert_eq!(met["received"], other["sent"], "{names}: {met} {other}");
    assert_ne!(met["sent"], met["received"], "{names}");
}

/// All pairs of one round; no player is in two of them.
fn round(hosts: &[Player], guests: &[Player], shift: usize) -> Vec<Meeting> {
    let pairs: Vec<(&Player, &Player)> = (hosts.iter().enumerate())
        .map(|(at, host)| (host, &guests[(at + shift) % guests.len()]))
        .collect();
    let mut meetings = Vec::new();
    for some in pairs.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let meeting = |(host, guest)| scope.spawn(move || meet(host, guest));
            let running: Vec<_> = some.iter().copied().map(meeting).collect();
            meetings.extend(running.into_iter().map(|one| one.join().unwrap()));
        });
    }
    meetings
}

fn table(meetings: &[Meeting]) {
    print!("{:>12} |", "host \\ guest");
    for guest in NETWORKS {
        print!("{:>13}", guest.name());
    }
    println!();
    for host in NETWORKS {
        print!("{:>12} |", host.name());
        for guest in NETWORKS {
            let fits = |one: &&Meeting| one.host == host && one.guest == guest;
            let met = &meetings.iter().find(fits).unwrap().met;
            let cell = format!("{} {}", met["rung"].as_str().unwrap(), met["ready_ms"]);
            print!("{cell:>13}");
        }
        println!();
    }
    println!("rung and ms from both being in the room to the first answer over it");
    let wss = meetings
        .iter()
        .map(|one| one.met["wss_ms"].as_u64().unwrap());
    let mut wss: Vec<u64> = wss.collect();
    wss.sort_unstable();
    println!(
        "first contact, over the coordinator, whatever came after: median {} ms, longest {} ms",
        wss[wss.len() / 2],
        wss[wss.len() - 1]
    );
}

#[test]
fn every_pair_of_networks_meets_by_the_best_rung_that_there_is() {
    if let Err(reason) = warp_lab::available() {
        println!("SKIPPED: {reason}");
        return;
    }
    let internet = Internet::new(&[SERVERS, *PROXY.ip()]).unwrap();
    let _nowhere = nowhere(&internet);
    let servers = Servers::start(&internet);
    let players = |copy| -> Vec<Player> {
        let player = |network| Player::new(&internet, &servers, network, copy);
        NETWORKS.into_iter().map(player).collect()
    };
    let (hosts, guests) = (players(1), players(2));
    for player in hosts.iter().chain(&guests) {
        player.told(0, "ready");
    }
    let meetings: Vec<Meeting> = (0..NETWORKS.len())
        .flat_map(|shift| round(&hosts, &guests, shift))
        .collect();
    table(&meetings);
    for Meeting { host, guest, met } in &meetings {
        let best = match met["rung"].as_str().unwrap() {
            "host" | "srflx" | "prflx" => Best::Direct,
            "relay" => Best::Relay,
            "wss" => Best::Wss,
            other => panic!("{other}"),
        };
        let names = format!("{} with {}", host.name(), guest.name());
        assert_eq!(best, host.best_with(*guest), "{names}: {met}");
    }
    // What is behind the proxy came through it: REST and the sockets.
    let seen = servers.proxy.seen();
    let tunnels = seen.iter().filter(|one| one.method == "CONNECT").count();
    assert!(tunnels >= 2 * 2 * NETWORKS.len(), "{tunnels}");
    assert!(seen.iter().all(|one| one.status == 200), "{seen:?}");
}

/// A player whose machine gets another address meets the other one on the channels that there are:
/// first one who answered, then one who offered.
#[test]
fn channels_outlive_the_network_that_they_were_opened_on() {
    if let Err(reason) = warp_lab::available() {
        println!("SKIPPED: {reason}");
        return;
    }
    let internet = Internet::new(&[SERVERS, *PROXY.ip()]).unwrap();
    let _nowhere = nowhere(&internet);
    let servers = Servers::start(&internet);
    let networks = [
        (Network::FullCone, Network::Restricted),
        // Over the TURN server.
        (Network::PortRestricted, Network::Symmetric),
    ];
    for (copy, (host, guest)) in networks.into_iter().enumerate() {
        let host = Player::new(&internet, &servers, host, copy);
        let guest = Player::new(&internet, &servers, guest, copy + 2);
        host.told(0, "ready");
        guest.told(0, "ready");
        let met = meet(&host, &guest).met;
        let best = met["rung"].clone();
        for (mover, other) in [(&guest, &host), (&host, &guest)] {
            let address = mover.readdress();
            let other_from = other.tell(&json!({"do": "again", "moved": false}));
            let from = mover.tell(&json!({"do": "again", "moved": true}));
            let (met, theirs) = (mover.told(from, "met"), other.told(other_from, "met"));
            let names = format!(
                "{} moves, {} stays",
                mover.network.name(),
                other.network.name()
            );
            println!(
                "{names}: {} after {} ms, {best} before",
                met["rung"], met["ready_ms"]
            );
            check(&names, &met, &theirs);
            if met["rung"] != "relay" {
                assert_eq!(met["from"], address.to_string(), "{names}: {met}");
            }
            let relayed = |rung: &Value| rung == "relay";
            assert_eq!(relayed(&met["rung"]), relayed(&best), "{names}: {met}");
        }
    }
}
