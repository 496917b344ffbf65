//! `warp-node doctor` behind each kind of router, with a real coturn and a real coordinator outside,
//! and a real miniupnpd in the router where ports are opened.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use warp_lab::{Home, Internet, Namespace, NatKind};
use warp_tests::house::{House, NODE, NodePlan, Place, Plan, program};
use warp_tests::process::{PATIENCE, Process};

/// The two addresses of the STUN server (TEST-NET-3, RFC 5737).
const ONE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// Its relay's user.
const RELAY_USER: &str = "relay-user";
const RELAY_PASSWORD: &str = "relay-password-17";
/// A report takes no longer, ms.
const LIMIT_MS: u64 = 5000;

/// A program that ends with its value.
struct Server(Child);

impl Server {
    fn start(namespace: &Namespace, program: &str, arguments: &[&str]) -> Self {
        let mut command = namespace.command(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Whether a program is there to be started.
fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.any(|folder| folder.join(program).is_file())
}

fn place(namespace: &Arc<Namespace>) -> Place {
    let namespace = Arc::clone(namespace);
    Arc::new(move |program: &Path| namespace.command(program))
}

/// The internet with a coturn and a house, and a home behind routers.
struct Lab {
    // Processes end before the network that they use.
    house: House,
    _turn: Server,
    home: Home,
    internet: Internet,
}

impl Lab {
    /// `None`: not possible here; the reason has been printed.
    fn new(kinds: &[NatKind]) -> Option<Self> {
        Self::with(|internet| internet.home(kinds).unwrap())
    }

    fn with(home: impl FnOnce(&Internet) -> Home) -> Option<Self> {
        Self::placed(home, |home, _| &home.player)
    }

    /// With players in the namespace that `players` chooses.
    fn placed(
        home: impl FnOnce(&Internet) -> Home,
        players: impl for<'a> FnOnce(&'a Home, &'a Arc<Namespace>) -> &'a Arc<Namespace>,
    ) -> Option<Self> {
        let missing = (!has("turnserver")).then(|| "there is no turnserver (coturn)".to_owned());
        if let Some(reason) = warp_lab::available().err().or(missing) {
            println!("SKIPPED: {reason}");
            return None;
        }
        let internet = Internet::new(&[ONE, TWO]).unwrap();
        let turn = coturn(internet.namespace());
        let home = home(&internet);
        let house = House::with(Plan {
            servers: place(internet.namespace()),
            players: place(players(&home, internet.namespace())),
            ip: ONE.into(),
            coordinator: json!({"ice_servers": [{"urls": [format!("stun:{ONE}:3478")]}]}),
            ..Plan::default()
        });
        Some(Self {
            house,
            _turn: turn,
            home,
            internet,
        })
    }

    /// `p2p_config.json` of a launcher here, with `more` keys of `webrtc`.
    fn config(&self, name: &str, more: &[(&str, Value)]) -> std::path::PathBuf {
        let mut config = self.house.node_config();
        config["webrtc"] = json!({"turn_servers": [
            {"urls": [format!("turn:{ONE}:3478")], "username": RELAY_USER, "credential": RELAY_PASSWORD},
            {"urls": [format!("turn:{TWO}:3478")], "username": RELAY_USER, "credential": "wrong"},
        ]});
        for (key, value) in more {
            config["webrtc"][key] = value.clone();
        }
        let file = self.house.dir().join(format!("{name}.json"));
        std::fs::write(&file, config.to_string()).unwrap();
        file
    }

    /// What `warp-node doctor --json` says at home, and its exit code.
    fn doctor(&self, config: &Path, more: &[&str]) -> (Value, Option<i32>) {
        Self::doctor_at(&self.home, config, more)
    }

    fn doctor_at(home: &Home, config: &Path, more: &[&str]) -> (Value, Option<i32>) {
        let mut command = home.player.command(program("warp-node"));
        command
            .args(["doctor", "--json", "--config"])
            .arg(config)
            .args(more);
        command
            .env("HOME", "/home/poring-the-second")
            .env("USER", "poring-the-second");
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command
                .env_remove(name)
                .env_remove(name.to_ascii_uppercase());
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let found = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text:?} {said}"));
        (found, output.status.code())
    }
}

/// A coturn that answers from both addresses and ports.
fn coturn(namespace: &Namespace) -> Server {
    let user = format!("{RELAY_USER}:{RELAY_PASSWORD}");
    let (one, two) = (ONE.to_string(), TWO.to_string());
    let server = Server::start(
        namespace,
        "turnserver",
        &[
            "-n",
            "-L",
            &one,
            "-L",
            &two,
            "-E",
            &one,
            "-p",
            "3478",
            "--alt-listening-port",
            "3479",
            "--lt-cred-mech",
            "-u",
            &user,
            "-r",
            "lab",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--log-file",
            "/dev/null",
            "--pidfile",
            "/dev/null",
        ],
    );
    // Each listener opens by itself, so all four are waited for.
    for (ip, port) in [(ONE, 3478), (ONE, 3479), (TWO, 3478), (TWO, 3479)] {
        answers(namespace, (ip, port).into());
    }
    server
}

/// Waits until a STUN server answers a binding request.
fn answers(namespace: &Namespace, server: SocketAddr) {
    let any: std::net::IpAddr = match server {
        SocketAddr::V4(_) => ONE.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = namespace
        .within(|| UdpSocket::bind((any, 0)))
        .unwrap()
        .unwrap();
    socket.connect(server).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend([7; 12]);
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        // Refused while nobody listens yet.
        if socket.send(&request).is_ok() && socket.recv(&mut [0; 512]).is_ok() {
            return;
        }
    }
    panic!("{server} does not answer");
}

#[test]
fn each_router_is_named_right_within_five_seconds() {
    let Some(lab) = Lab::new(&[]) else {
        return;
    };
    let config = lab.config("plain", &[]);
    use NatKind as K;
    let rows: [(&str, &[NatKind], [&str; 3]); 9] = [
        ("none", &[], ["open", "none", "endpoint-independent"]),
        (
            "full cone",
            &[K::FullCone],
            ["full-cone", "endpoint-independent", "endpoint-independent"],
        ),
        (
            "restricted cone",
            &[K::RestrictedCone],
            [
                "restricted-cone",
                "endpoint-independent",
                "address-dependent",
            ],
        ),
        (
            "port-restricted cone",
            &[K::PortRestrictedCone],
            [
                "port-restricted-cone",
                "endpoint-independent",
                "address-and-port-dependent",
            ],
        ),
        (
            "symmetric",
            &[K::Symmetric],
            [
                "symmetric",
                "address-and-port-dependent",
                "address-and-port-dependent",
            ],
        ),
        (
            "double, full in restricted",
            &[K::FullCone, K::RestrictedCone],
            [
                "restricted-cone",
                "endpoint-independent",
                "address-dependent",
            ],
        ),
        (
            "double, port-restricted twice",
            &[K::PortRestrictedCone, K::PortRestrictedCone],
            [
                "port-restricted-cone",
                "endpoint-independent",
                "address-and-port-dependent",
            ],
        ),
        (
            "double, symmetric in full",
            &[K::Symmetric, K::FullCone],
            [
                "symmetric",
                "address-and-port-dependent",
                "address-and-port-dependent",
            ],
        ),
        (
            "UDP blocked",
            &[K::UdpBlocked],
            ["udp-blocked", "unknown", "unknown"],
        ),
    ];
    println!(
        "{:<30} {:<22} {:<28} {:<28} {:>7}",
        "router", "type", "mapping", "filtering", "ms"
    );
    for (name, kinds, expected) in rows {
        let home = lab.internet.home(kinds).unwrap();
        let (found, code) = Lab::doctor_at(&home, &config, &[]);
        let network = &found["network"];
        let nat = &network["nat"];
        let said = ["kind", "mapping", "filtering"].map(|key| nat[key].as_str().unwrap());
        let took = network["took_ms"].as_u64().unwrap();
        println!(
            "{name:<30} {:<22} {:<28} {:<28} {took:>7}",
            said[0], said[1], said[2]
        );
        assert_eq!(said, expected, "{name}: {found:#}");
        assert!(took < LIMIT_MS, "{name}: {took} ms");
        assert_eq!(
            code,
            Some(0),
            "{name}: play works, by the WebSocket if by nothing else"
        );

        let udp = !kinds.contains(&K::UdpBlocked);
        assert_eq!(network["udp"], udp, "{name}");
        assert_eq!(network["ipv4"]["local"], home.address.to_string(), "{name}");
        assert_eq!(network["ipv6"]["local"], Value::Null, "{name}");
        assert_eq!(network["coordinator"]["reached"], "coordinator", "{name}");
        assert!(
            network["coordinator"]["rtt_ms"].as_f64().unwrap() > 0.0,
            "{name}"
        );
        let ahead = network["coordinator"]["clock_ahead_ms"].as_i64().unwrap();
        assert!(
            ahead.abs() < 1000,
            "{name}: one machine has one clock: {ahead}"
        );
        assert_eq!(network["loopback"], true, "{name}");
        assert_eq!(network["proxy"]["used"], Value::Null, "{name}");
        let answers: Vec<&str> = (network["servers"].as_array().unwrap().iter())
            .map(|server| server["answer"].as_str().unwrap())
            .collect();
        // The relay of the configuration, the same with a wrong password, and the coordinator's.
        let silent = ["silent"; 3];
        let expected = if udp {
            ["good", "refused", "good"]
        } else {
            silent
        };
        assert_eq!(answers, expected, "{name}");
        if udp {
            let seen: SocketAddr = network["ipv4"]["seen"].as_str().unwrap().parse().unwrap();
            assert_eq!(seen.ip(), home.public, "{name}");
            let translated = home.public != home.address;
            let hairpinning = if translated {
                json!(false)
            } else {
                Value::Null
            };
            assert_eq!(nat["hairpinning"], hairpinning, "{name}");
        }
        let mapping = &network["port_mapping"];
        assert_eq!(mapping["enabled"], false, "{name}");
        assert_eq!(mapping["external"], Value::Null, "{name}");
    }
}

#[test]
fn a_router_that_hairpins_is_seen_to() {
    let kinds = [NatKind::RestrictedCone];
    let Some(lab) = Lab::with(|internet| internet.hairpinning_home(&kinds).unwrap()) else {
        return;
    };
    let (found, _) = lab.doctor(&lab.config("hairpin", &[]), &[]);
    assert_eq!(found["network"]["nat"]["hairpinning"], true, "{found:#}");
    assert_eq!(
        found["network"]["nat"]["kind"], "restricted-cone",
        "{found:#}"
    );
}

#[test]
fn an_export_holds_no_secret_and_names_nobody() {
    let Some(lab) = Lab::new(&[NatKind::FullCone]) else {
        return;
    };
    let file = lab.house.dir().join("export.json");
    let config = lab.config("export", &[]);
    let mut whole: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    whole["game"] = json!({"executable": "/home/poring-the-second/ragnarok/ro.exe"});
    std::fs::write(&config, whole.to_string()).unwrap();
    let (found, code) = lab.doctor(&config, &["--export", file.to_str().unwrap()]);
    assert_eq!(code, Some(1), "the game is not there");
    assert_eq!(found["play"], "impossible");
    let export = std::fs::read_to_string(&file).unwrap();
    let read: Value = serde_json::from_str(&export).unwrap();
    assert_eq!(read["diagnosis"]["network"]["nat"]["kind"], "full-cone");
    assert!(export.contains("~/ragnarok/ro.exe"), "{export}");
    for secret in [
        RELAY_USER,
        RELAY_PASSWORD,
        "wrong\"",
        "poring-the-second",
        "/home/",
    ] {
        assert!(!export.contains(secret), "{secret} in {export}");
    }
}

#[test]
fn a_page_that_is_not_the_coordinator_is_told() {
    let Some(lab) = Lab::new(&[NatKind::FullCone]) else {
        return;
    };
    // A network's sign-in page, where the coordinator should be.
    let listener = lab
        .internet
        .namespace()
        .within(|| TcpListener::bind((TWO, 80)));
    let listener = listener.unwrap().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 2048]);
            let page = "<html>Welcome to the airport. Please sign in.</html>";
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
            let text = format!("{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
            let _ = connection.write_all(text.as_bytes());
        }
    });
    let config = lab.config("portal", &[]);
    let mut whole: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    whole["coordinator"]["rest_api_url"] = json!(format!("http://{TWO}/api/v1"));
    std::fs::write(&config, whole.to_string()).unwrap();
    let (found, code) = lab.doctor(&config, &[]);
    assert_eq!(code, Some(1));
    assert_eq!(found["network"]["coordinator"]["reached"], "something-else");
    let lines = found["lines"].as_array().unwrap();
    let portal = lines
        .iter()
        .find(|line| line["item"] == "captive-portal")
        .unwrap();
    assert_eq!(portal["value"], "likely");
    assert_eq!(portal["advice"], "sign-in-to-network");
}

/// The tables and chains that miniupnpd writes its rules to.
const UPNP_TABLE: &str = "\
table inet miniupnpd {
 chain forward {
  type filter hook forward priority 0; policy accept;
  jump miniupnpd
 }
 chain miniupnpd {
 }
 chain prerouting {
  type nat hook prerouting priority -110; policy accept;
  jump prerouting_miniupnpd
 }
 chain prerouting_miniupnpd {
 }
 chain postrouting_miniupnpd {
 }
}
";

/// A miniupnpd in the router next to the player: UPnP-IGD, NAT-PMP and PCP.
fn upnp(lab: &Lab, more: &str) -> Server {
    let router = &lab.home.routers[0];
    router.namespace.nft(UPNP_TABLE).unwrap();
    let config = format!(
        "ext_ifname={}\nlistening_ip={}/24\nport=0\nenable_natpmp=yes\nenable_upnp=yes\n\
         secure_mode=yes\nupnp_table_name=miniupnpd\nupnp_nat_table_name=miniupnpd\n\
         upnp_forward_chain=miniupnpd\nupnp_nat_chain=prerouting_miniupnpd\n\
         upnp_nat_postrouting_chain=postrouting_miniupnpd\n\
         uuid=73a9cb68-a00b-4d1f-8412-75bc989f0c6d\nallow 1024-65535 0.0.0.0/0 1024-65535\n{more}",
        router.outside.interface, router.inside.own
    );
    let file = lab.house.dir().join("miniupnpd.conf");
    std::fs::write(&file, config).unwrap();
    let pid = lab.house.dir().join("miniupnpd.pid");
    let arguments = [
        "-d",
        "-f",
        file.to_str().unwrap(),
        "-P",
        pid.to_str().unwrap(),
    ];
    let server = Server::start(&router.namespace, "miniupnpd", &arguments);
    // It answers the question for the address outside (RFC 6886, section 3.2).
    let address = lab.home.address;
    let player = lab.home.player.within(|| UdpSocket::bind((address, 0)));
    let player = player.unwrap().unwrap();
    player.connect((router.inside.own, 5351)).unwrap();
    player
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let start = Instant::now();
    while player.send(&[0, 0]).is_err() || player.recv(&mut [0; 64]).is_err() {
        assert!(start.elapsed() < PATIENCE, "miniupnpd does not answer");
    }
    server
}

/// Ports that the router forwards now.
fn forwarded(lab: &Lab) -> usize {
    let arguments = ["list", "chain", "inet", "miniupnpd", "prerouting_miniupnpd"];
    let rules = lab.home.routers[0]
        .namespace
        .run("nft", &arguments)
        .unwrap();
    rules.matches("dnat").count()
}

#[test]
fn a_port_is_opened_only_with_leave_and_given_back() {
    let Some(lab) = with_upnp(&[NatKind::PortRestrictedCone]) else {
        return;
    };
    let _upnp = upnp(&lab, "");
    let (found, _) = lab.doctor(&lab.config("off", &[]), &[]);
    let mapping = &found["network"]["port_mapping"];
    let said = ["upnp", "nat_pmp", "pcp"].map(|protocol| mapping[protocol].clone());
    let only_a_request_tells = Value::Null;
    assert_eq!(
        said,
        [json!(true), json!(true), only_a_request_tells],
        "{found:#}"
    );
    assert_eq!(mapping["external"], Value::Null);
    assert_eq!(mapping["router"], lab.home.public.to_string());
    assert_eq!(found["network"]["nat"]["double"], false, "{found:#}");

    let on = lab.config("on", &[("port_mapping", json!(true))]);
    let (found, _) = lab.doctor(&on, &[]);
    let network = &found["network"];
    let external = network["port_mapping"]["external"].as_str().unwrap();
    let external: SocketAddr = external.parse().unwrap();
    assert_eq!(external.ip(), lab.home.public);
    assert_eq!(network["port_mapping"]["pcp"], true, "{found:#}");
    assert_eq!(network["nat"]["kind"], "port-restricted-cone");
    assert!(network["took_ms"].as_u64().unwrap() < LIMIT_MS, "{found:#}");
    assert_eq!(forwarded(&lab), 0, "it was given back");
    println!(
        "opened {external} and gave it back in {} ms",
        network["took_ms"]
    );
}

#[test]
fn a_second_router_is_seen_by_what_the_first_says_of_itself() {
    let kinds = [NatKind::FullCone, NatKind::PortRestrictedCone];
    let Some(lab) = with_upnp(&kinds) else {
        return;
    };
    // A provider's network between the routers has addresses of its own, which the first router
    // takes for public ones.
    let _upnp = upnp(&lab, "ext_ip=11.99.0.1\n");
    let (found, _) = lab.doctor(&lab.config("double", &[]), &[]);
    let network = &found["network"];
    assert_eq!(network["port_mapping"]["router"], "11.99.0.1", "{found:#}");
    assert_eq!(network["nat"]["double"], true, "{found:#}");
    assert_eq!(network["nat"]["kind"], "port-restricted-cone", "{found:#}");
    let lines = found["lines"].as_array().unwrap();
    let line = lines
        .iter()
        .find(|line| line["item"] == "double-nat")
        .unwrap();
    assert_eq!(line["advice"], "one-router-too-many");
}

/// Gives the interface of `port` in `namespace` an IPv6 address, with a route to everything.
fn six(namespace: &Namespace, interface: &str, own: &str, other: &str) {
    let ip = |arguments: &[&str]| namespace.run("ip", arguments).unwrap();
    ip(&[
        "-6", "addr", "add", own, "peer", other, "dev", interface, "nodad",
    ]);
    ip(&["-6", "route", "add", "2001:db8:1::/48", "dev", interface]);
}

#[test]
fn ipv6_is_looked_at_beside_ipv4() {
    let Some(lab) = Lab::new(&[NatKind::Symmetric]) else {
        return;
    };
    // A second cable to the internet that speaks IPv6 alone, and a STUN server there.
    let (player, internet) = (&lab.home.player, lab.internet.namespace());
    let cable = warp_lab::veth_pair(player, internet).unwrap();
    let (near, far) = ("2001:db8:1::1", "2001:db8:1::2");
    six(player, &cable.interface_a, near, far);
    six(internet, &cable.interface_b, far, near);
    let arguments = [
        "-n",
        "-L",
        far,
        "-p",
        "3478",
        "--no-cli",
        "--no-tls",
        "--no-dtls",
    ];
    let quiet = [
        "--stun-only",
        "--log-file",
        "/dev/null",
        "--pidfile",
        "/dev/null",
    ];
    let _stun = Server::start(
        internet,
        "turnserver",
        &[&arguments[..], &quiet[..]].concat(),
    );
    let server: SocketAddr = format!("[{far}]:3478").parse().unwrap();
    answers(player, server);
    let servers = json!([format!("stun:{server}")]);
    let (found, _) = lab.doctor(&lab.config("six", &[("stun_servers", servers)]), &[]);
    let six = &found["network"]["ipv6"];
    assert_eq!(six["local"], near, "{found:#}");
    assert_eq!(six["udp"], true, "{found:#}");
    assert!(
        six["seen"]
            .as_str()
            .unwrap()
            .starts_with("[2001:db8:1::1]:"),
        "{found:#}"
    );
    assert_eq!(
        found["network"]["nat"]["kind"], "symmetric",
        "as IPv4 has it: {found:#}"
    );
}

/// Whether there is a miniupnpd.
fn upnp_possible() -> bool {
    let possible = has("miniupnpd");
    if !possible {
        println!("SKIPPED: there is no miniupnpd");
    }
    possible
}

/// As [`Lab::new`], where there is a miniupnpd as well.
fn with_upnp(kinds: &[NatKind]) -> Option<Lab> {
    upnp_possible().then(|| Lab::new(kinds)).flatten()
}

/// No datagram begins a way outwards here; what came in by a mapping is answered.
fn only_answers(lab: &Lab) {
    let router = &lab.home.routers[0];
    let rule = format!(
        "table ip outwards {{\n chain pass {{\n type filter hook forward priority -5; policy accept;\n \
         iifname {:?} meta l4proto udp ct state new drop\n }}\n}}\n",
        router.inside.interface
    );
    router.namespace.nft(&rule).unwrap();
}

#[test]
fn play_comes_in_through_a_mapped_port_where_nothing_gets_out() {
    let Some(lab) = with_upnp(&[NatKind::Symmetric]) else {
        return;
    };
    let _upnp = upnp(&lab, "");
    only_answers(&lab);
    let plan = |mapping: bool| NodePlan {
        config: json!({
            "webrtc": {"port_mapping": mapping, "connection_timeout_ms": 6000},
            "p2p": {"paths": ["direct", "wss"]},
        }),
        ..NodePlan::default()
    };
    let (node, _) = lab.house.playing(&plan(true));
    let direct = |event: &Value| event["state"] == "connected" && event["path"] == "direct";
    node.event_from(0, "state", PATIENCE * 2, direct);
    assert_eq!(forwarded(&lab), 1, "by the router's port");
    end(node);
    assert_eq!(forwarded(&lab), 0, "it was given back");

    // Without the mapping it is the WebSocket that carries the game.
    let (node, _) = lab.house.playing(&plan(false));
    let connected = |event: &Value| event["state"] == "connected";
    let (_, state) = node.event_from(0, "state", PATIENCE * 2, connected);
    assert_eq!(state["path"], "wss");
    end(node);
}

#[test]
fn a_host_is_met_through_its_routers_port() {
    let home = |internet: &Internet| internet.home(&[NatKind::Symmetric]).unwrap();
    let lab = upnp_possible().then(|| Lab::placed(home, |_, outside| outside));
    let Some(lab) = lab.flatten() else {
        return;
    };
    let _upnp = upnp(&lab, "");
    only_answers(&lab);
    lab.house.add_user("carol");
    let config = json!({"webrtc": {"port_mapping": true, "connection_timeout_ms": 3000}});
    let at_home = place(&lab.home.player);
    let mut host = lab.house.host("carol", &at_home, NODE, &config);
    // It does not get out, so its own way to the endpoint is the WebSocket.
    host.event_from(0, "host-state", PATIENCE, |event| {
        let host = &event["host"];
        host["state"] == "serving" && host["upstream"] == "wss"
    });
    assert_eq!(forwarded(&lab), 0, "nobody has come");
    let (node, _) = lab.house.playing(&NodePlan {
        config: json!({"p2p": {"paths": ["host", "wss"]}}),
        ..NodePlan::default()
    });
    node.event_from(0, "metrics", PATIENCE * 2, |event| {
        let paths = event["metrics"]["paths"].as_array();
        let is_ready = |path: &Value| {
            path["kind"] == "host" && (path["phase"] == "standby" || path["phase"] == "in-use")
        };
        paths.is_some_and(|paths| paths.iter().any(is_ready))
    });
    // One of an attempt before this may be on its way back.
    let start = Instant::now();
    while forwarded(&lab) != 1 {
        assert!(start.elapsed() < PATIENCE, "not by the port of the router");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The member is still there.
    host.terminate();
    assert_eq!(host.exit(PATIENCE).code, Some(0));
    assert_eq!(forwarded(&lab), 0, "it was given back");
    end(node);
}

fn end(mut node: Process) {
    node.line("/quit");
    assert_eq!(node.exit(PATIENCE).code, Some(0));
}
