//! A whole house on one machine: a coordinator with one zone, a practice server behind it, and the
//! launchers and clients that a test adds. All are real processes of the programs that are shipped.
//!
//! The programs are looked for in the folder that the environment variable `WARP_BIN_DIR` names,
//! else in the folder that the test's own executable was built into.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{PATIENCE, Process, Source};
use crate::relay::Relay;

/// The launcher in a terminal.
pub const NODE: &str = "warp-node";
/// Id of the zone.
pub const ZONE: &str = "practice";
/// Password of every account that [`House::add_user`] makes.
pub const PASSWORD: &str = "correct horse";

/// Packet version of the practice game, where a plan says no other.
pub const PACKET_VERSION: u32 = 20_211_103;

/// Where programs run: makes the command for one.
pub type Place = Arc<dyn Fn(&Path) -> Command + Send + Sync>;

/// This machine as it is.
pub fn here() -> Place {
    Arc::new(|program| Command::new(program))
}

/// A program that is shipped.
pub fn program(name: &str) -> PathBuf {
    let folder = match std::env::var_os("WARP_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let test = std::env::current_exe().expect("a test has an executable");
            let deps = test.parent().expect("it lies in a folder");
            deps.parent().unwrap_or(deps).to_path_buf()
        }
    };
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// How a house is built.
pub struct Plan<'a> {
    /// Where coordinator and game server run.
    pub servers: Place,
    /// Where launchers and clients run.
    pub players: Place,
    /// Address that the servers listen on.
    pub ip: IpAddr,
    /// The zone names the second map server.
    pub second_map_in_zone: bool,
    /// Stands between the endpoint and the first map server.
    pub map_relay: Option<&'a Relay>,
    /// Configuration of the coordinator.
    pub coordinator: Value,
    /// Packet version that the game server speaks.
    pub packet_version: u32,
    /// Further arguments of the practice server.
    pub server_arguments: &'a [&'a str],
    /// The game servers listen on this address, and announce the same ports on 127.0.0.1: what an
    /// operator sets up for a zone in which nothing is rewritten.
    pub announced_on_loopback: Option<IpAddr>,
    /// Keys of the zone that differ from [`House::zone`].
    pub zone: Value,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            servers: here(),
            players: here(),
            ip: Ipv4Addr::LOCALHOST.into(),
            second_map_in_zone: true,
            map_relay: None,
            coordinator: json!({}),
            packet_version: PACKET_VERSION,
            server_arguments: &[],
            announced_on_loopback: None,
            zone: json!({}),
        }
    }
}

/// How a launcher is started.
pub struct NodePlan<'a> {
    /// Account.
    pub user: &'a str,
    /// Its password.
    pub password: &'a str,
    /// Zone id.
    pub zone: &'a str,
    /// The coordinator's address, if it is not the house's own.
    pub coordinator: Option<SocketAddr>,
    /// Keys of `p2p_config.json` that differ from [`House::node_config`].
    pub config: Value,
    /// Start the game that the configuration names.
    pub game: bool,
    /// So many of them.
    pub clients: u32,
    /// What is started: `warp-node`, or what takes its arguments.
    pub program: &'a str,
}

impl Default for NodePlan<'_> {
    fn default() -> Self {
        Self {
            user: "alice",
            password: PASSWORD,
            zone: ZONE,
            coordinator: None,
            config: json!({}),
            game: false,
            clients: 1,
            program: NODE,
        }
    }
}

/// The house. Its processes end with it.
pub struct House {
    // Dropped in this order: what depends on another goes first.
    /// `warp-coordinator serve`.
    pub coordinator: Process,
    /// `warp-endpoint`, where the coordinator's configuration says that the endpoint is remote.
    pub endpoint: Option<Process>,
    /// `warp-practice server`.
    pub server: Process,
    /// Where the coordinator listens.
    pub address: SocketAddr,
    /// The practice server's first line.
    pub listening: Value,
    servers: Place,
    players: Place,
    nodes: std::cell::Cell<u32>,
    packet_version: u32,
    zone: Value,
    dir: TempDir,
}

impl House {
    /// Starts coordinator and practice server on the loopback, with an account `alice`.
    pub fn new() -> Self {
        Self::with(Plan::default())
    }

    /// Starts coordinator and practice server, with an account `alice`.
    pub fn with(plan: Plan<'_>) -> Self {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let server = practice_server(&plan);
        let listening = server.event("listening");
        if let Some(relay) = plan.map_relay {
            relay.set_target(address(&listening["map"]));
        }
        let file = dir.path().join("coordinator.json");
        std::fs::write(&file, plan.coordinator.to_string()).expect("a file can be written");
        let listen = SocketAddr::new(plan.ip, 0);
        let (coordinator, address) = coordinator(&plan.servers, dir.path(), listen);
        let mut zone = first_zone(&plan, &listening);
        merge(&mut zone, &plan.zone);
        let mut house = Self {
            coordinator,
            endpoint: None,
            server,
            address,
            listening,
            servers: plan.servers,
            players: plan.players,
            nodes: std::cell::Cell::new(0),
            packet_version: plan.packet_version,
            zone,
            dir,
        };
        house.put_zone(&house.zone(), None);
        house.add_user("alice");
        if plan.coordinator["endpoint"]["mode"] == "remote" {
            house.start_endpoint();
        }
        house
    }

    /// Starts `warp-endpoint`, perhaps again with the key of before, and waits until it serves.
    pub fn start_endpoint(&mut self) {
        let from = self.coordinator.mark();
        let mut command = (self.servers)(&program("warp-endpoint"));
        command.args(["--coordinator", &format!("http://{}", self.address)]);
        command.arg("--data").arg(self.dir.path().join("endpoint"));
        command
            .arg("--token-file")
            .arg(self.data().join("endpoint-token"));
        command.args([
            "--name",
            "practice",
            "--bind",
            &self.address.ip().to_string(),
        ]);
        command.env("WARP_LOG", "info");
        self.endpoint = Some(Process::start("endpoint", command));
        self.endpoint_serves(from);
    }

    /// Waits until the coordinator has logged, at or after `from`, that its endpoint is connected; gives
    /// how many sessions were accepted and revoked.
    pub fn endpoint_serves(&self, from: usize) -> (u32, u32) {
        let what = "its endpoint";
        let picked = self.coordinator.wait_line(from, what, PATIENCE, |line| {
            let log = line.source == Source::Err && line.text.contains("endpoint connected");
            let number = |name: &str| {
                let mut words = line.text.split(' ');
                let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
                value?.parse().ok()
            };
            log.then(|| Some((number("accepted")?, number("revoked")?)))?
        });
        picked.1
    }

    /// Starts the coordinator again, which has ended, with its data and at its address. It knows no
    /// session of before.
    pub fn restart_coordinator(&mut self) {
        let (coordinator, address) = coordinator(&self.servers, self.dir.path(), self.address);
        assert_eq!(address, self.address);
        self.coordinator = coordinator;
    }

    /// Starts the practice server again, which has ended, at its addresses. It knows nobody.
    pub fn restart_server(&mut self, arguments: &[&str]) {
        let mut command = (self.servers)(&program("warp-practice"));
        command.arg("server");
        for server in ["login", "char", "map", "map2"] {
            let address = address(&self.listening[server]).to_string();
            command.args([format!("--{server}"), address]);
        }
        command.args(arguments);
        self.server = Process::start("practice server again", command);
        self.server.event("listening");
    }

    /// The zone that the house began with, as the operator wrote it.
    pub fn zone(&self) -> Value {
        self.zone.clone()
    }

    /// `warp-coordinator zone put`, with the status if there is one.
    pub fn put_zone(&self, zone: &Value, status: Option<&str>) {
        let file = self.dir.path().join("zone.json");
        std::fs::write(&file, zone.to_string()).expect("a file can be written");
        let mut command = (self.servers)(&program("warp-coordinator"));
        command.args(["zone", "put"]).arg(file);
        command.arg("--data").arg(self.dir.path().join("data"));
        if let Some(status) = status {
            command.args(["--status", status]);
        }
        let mut process = Process::start("zone put", command);
        assert_eq!(process.exit(PATIENCE).code, Some(0), "zone put");
    }

    /// Lets hosts be the zone's endpoint; gives its game servers, as arguments of such a host.
    pub fn make_hosted(&mut self) -> Vec<String> {
        let game = &self.zone["game"];
        let several = [&game["char"], &game["map"]].into_iter();
        let several = several.flat_map(|list| list.as_array().cloned().unwrap_or_default());
        let all: Vec<Value> = std::iter::once(game["login"].clone())
            .chain(several)
            .collect();
        let named = all.iter().filter_map(Value::as_str);
        let arguments = named.flat_map(|one| ["--upstream".to_owned(), one.to_owned()]);
        let arguments = arguments.collect();
        self.zone["hosted"] = json!({ "upstreams": all });
        self.put_zone(&self.zone(), None);
        arguments
    }

    /// Puts a zone under another id, with a status.
    pub fn put_other_zone(&self, id: &str, status: &str) {
        let mut zone = self.zone();
        zone["zone_id"] = json!(id);
        self.put_zone(&zone, Some(status));
    }

    /// Starts another practice server, and puts a zone that leads to it: like the house's own, with other keys
    /// where `keys` has them.
    pub fn zone_elsewhere(&self, id: &str, keys: &Value) -> Process {
        let plan = Plan {
            servers: Arc::clone(&self.servers),
            ip: self.address.ip(),
            packet_version: self.packet_version,
            ..Plan::default()
        };
        let server = practice_server(&plan);
        let mut zone = first_zone(&plan, &server.event("listening"));
        zone["zone_id"] = json!(id);
        merge(&mut zone, keys);
        self.put_zone(&zone, None);
        server
    }

    /// `warp-coordinator user add`, with the password of all tests.
    pub fn add_user(&self, name: &str) {
        let mut command = (self.servers)(&program("warp-coordinator"));
        command.args(["user", "add", name, "--password-stdin"]);
        command.arg("--data").arg(self.dir.path().join("data"));
        let mut process = Process::start("user add", command);
        process.password(PASSWORD);
        assert_eq!(process.exit(PATIENCE).code, Some(0), "user add {name}");
    }

    /// Runs `warp-coordinator` on the house's data to its end, and gives what it printed.
    pub fn admin(&self, arguments: &[&str]) -> String {
        let mut command = (self.servers)(&program("warp-coordinator"));
        command.args(arguments);
        command.arg("--data").arg(self.data());
        let mut process = Process::start(&arguments.join(" "), command);
        assert_eq!(process.exit(PATIENCE).code, Some(0), "{arguments:?}");
        let lines = process.lines().into_iter();
        let out = lines.filter(|line| line.source == Source::Out);
        out.map(|line| line.text + "\n").collect()
    }

    /// The coordinator's data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The configuration that launchers start with.
    pub fn node_config(&self) -> Value {
        json!({
            "coordinator": { "rest_api_url": api(self.address), "reconnect_backoff_ms": 200 },
            "bridge": { "login_listen": "127.0.0.1:0" },
            // The numbers are what many tests wait for.
            "p2p": { "prefer_wait_ms": 15_000, "metrics_interval_ms": 1000 },
        })
    }

    /// A folder that ends with the house.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts `warp-node play --json`.
    pub fn node(&self, plan: &NodePlan<'_>) -> Process {
        let mut config = self.node_config();
        if let Some(address) = plan.coordinator {
            config["coordinator"]["rest_api_url"] = json!(api(address));
        }
        merge(&mut config, &plan.config);
        self.node_with(plan, &config.to_string())
    }

    /// The same with the text of the configuration file.
    pub fn node_with(&self, plan: &NodePlan<'_>, config: &str) -> Process {
        let number = self.nodes.get() + 1;
        self.nodes.set(number);
        let file = self.dir.path().join(format!("p2p_config-{number}.json"));
        std::fs::write(&file, config).expect("a file can be written");
        let mut command = (self.players)(&program(plan.program));
        command.args(["play", "--json", "--user", plan.user, "--zone", plan.zone]);
        command.arg("--password-stdin").arg("--config").arg(file);
        if !plan.game {
            command.arg("--no-game");
        }
        if plan.clients != 1 {
            command.args(["--clients", &plan.clients.to_string()]);
        }
        command.env("WARP_LOG", "info");
        let mut process = Process::start(&format!("node {number} ({})", plan.user), command);
        process.password(plan.password);
        process
    }

    /// Starts `warp-node host --json` for the zone, beside the servers, with these arguments too.
    pub fn host_with(&self, user: &str, more: &[String]) -> Process {
        let file = self.dir.path().join(format!("host_config-{user}.json"));
        std::fs::write(&file, self.node_config().to_string()).expect("a file can be written");
        let mut command = (self.servers)(&program(NODE));
        command.args(["host", "--json", "--user", user, "--zone", ZONE]);
        command.args(["--upload-mbps", "1000", "--password-stdin", "--config"]);
        command.arg(file).args(more).env("WARP_LOG", "info");
        let mut process = Process::start(&format!("host ({user})"), command);
        process.password(PASSWORD);
        process
    }

    /// Starts `warp-node host --json`, or a program that takes its arguments, for the house's zone in
    /// `place`, with an upload of 100 Mbit/s. `config`: keys that differ from [`House::node_config`].
    pub fn host(&self, user: &str, place: &Place, started: &str, config: &Value) -> Process {
        let file = self.dir.path().join(format!("host-{user}.json"));
        let mut keys = self.node_config();
        merge(&mut keys, config);
        std::fs::write(&file, keys.to_string()).expect("a file can be written");
        let mut command = place(&program(started));
        command.args(["host", "--json", "--user", user, "--zone", ZONE]);
        command.args(["--password-stdin", "--upload-mbps", "100", "--config"]);
        command.arg(file).env("WARP_LOG", "info");
        let mut process = Process::start(&format!("host ({user})"), command);
        process.password(PASSWORD);
        process
    }

    /// Starts a launcher for `alice`, waits until the bridge listens, and tells where.
    pub fn playing(&self, plan: &NodePlan<'_>) -> (Process, SocketAddr) {
        let node = self.node(plan);
        let login = bridge(&node);
        (node, login)
    }

    /// Starts `warp-practice client --json` with account `testN`, whose password is its name.
    pub fn client(&self, login: SocketAddr, account: &str, arguments: &[&str]) -> Process {
        let mut command = (self.players)(&program("warp-practice"));
        command.args(["client", "--json", "--user", account, "--password-stdin"]);
        command
            .args(["--login", &login.to_string()])
            .args(arguments);
        if self.packet_version != PACKET_VERSION {
            command.args(["--packetver", &self.packet_version.to_string()]);
        }
        let mut process = Process::start(&format!("client {account}"), command);
        process.password(account);
        process
    }
}

impl Default for House {
    fn default() -> Self {
        Self::new()
    }
}

/// Starts a coordinator on the data in `dir`; where it listens.
fn coordinator(servers: &Place, dir: &Path, listen: SocketAddr) -> (Process, SocketAddr) {
    let mut command = servers(&program("warp-coordinator"));
    command.arg("serve").arg("--config");
    command.arg(dir.join("coordinator.json"));
    command.arg("--data").arg(dir.join("data"));
    command.args(["--listen", &listen.to_string()]);
    command.env("WARP_LOG", "info");
    let coordinator = Process::start("coordinator", command);
    let (_, url) = coordinator.wait_line(0, "its address", PATIENCE, |line| {
        (line.source == Source::Out).then(|| line.text.clone())
    });
    let bare = url.strip_prefix("http://").expect("plain HTTP");
    (coordinator, bare.parse().expect("an address"))
}

fn practice_server(plan: &Plan<'_>) -> Process {
    let mut command = (plan.servers)(&program("warp-practice"));
    command.arg("server");
    match plan.announced_on_loopback {
        None => {
            let any = format!("{}:0", plan.ip);
            for server in ["--login", "--char", "--map", "--map2"] {
                command.args([server, &any]);
            }
        }
        Some(ip) => {
            for (server, port) in ["--login", "--char", "--map", "--map2"]
                .into_iter()
                .zip(free_ports(ip))
            {
                command.args([server, &format!("{ip}:{port}")]);
                if server != "--login" {
                    let announce = server.replace("--", "--announce-");
                    command.args([announce, format!("127.0.0.1:{port}")]);
                }
            }
        }
    }
    if let Some(relay) = plan.map_relay {
        command.args(["--announce-map", &relay.address().to_string()]);
    }
    if plan.packet_version != PACKET_VERSION {
        command.args(["--packetver", &plan.packet_version.to_string()]);
    }
    command.args(plan.server_arguments);
    Process::start("practice server", command)
}

/// Four ports that are free on `ip` and on 127.0.0.1 now.
fn free_ports(ip: IpAddr) -> [u16; 4] {
    let free = || loop {
        let here = TcpListener::bind((ip, 0)).expect("a port is free");
        let port = here.local_addr().expect("it has an address").port();
        if let Ok(there) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return (port, here, there);
        }
    };
    // All are held until the last is found, so that they differ.
    [free(), free(), free(), free()].map(|(port, ..)| port)
}

/// The zone before [`Plan::zone`] is merged in.
fn first_zone(plan: &Plan<'_>, listening: &Value) -> Value {
    let mut map = vec![match plan.map_relay {
        Some(relay) => json!(relay.address()),
        None => listening["map"].clone(),
    }];
    if plan.second_map_in_zone {
        map.push(listening["map2"].clone());
    }
    json!({
        "zone_id": ZONE,
        "zone_name": "Practice",
        "zone_display_name": "The practice game",
        "map_name": "prontera",
        "maps": ["prontera", "izlude", "geffen"],
        "game": {
            "packet_version": plan.packet_version,
            "login": listening["login"],
            "char": [listening["char"]],
            "map": map,
        },
    })
}

/// Where a launcher's bridge listens, once it does.
pub fn bridge(node: &Process) -> SocketAddr {
    address(&node.event("bridge-ready")["login"])
}

/// Waits until a client stands on a map.
pub fn on_map(client: &Process) {
    client.event("on-map");
}

/// Waits for a client's end; it has to have gone well. Gives its summary.
pub fn good_end(client: &mut Process, limit: Duration) -> Value {
    let exit = client.exit(limit);
    assert_eq!(exit.code, Some(0), "{} failed", client.name());
    let summary = client.event("summary");
    assert_eq!(summary["ok"], true, "{summary}");
    summary
}

/// Base of the REST routes of a coordinator.
pub fn api(coordinator: SocketAddr) -> String {
    format!("http://{coordinator}/api/v1")
}

/// An address in an event.
pub fn address(value: &Value) -> SocketAddr {
    let text = value.as_str().unwrap_or_default();
    (text.parse()).unwrap_or_else(|_| panic!("{value} is no address"))
}

/// Puts the keys of `from` into `into`, object by object.
pub fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
