//! Three coordinators on one database, a Redis, an endpoint that knows all three.
//!
//! The database is a PostgreSQL and each node has a data directory of its own, with copies of the keys;
//! where PostgreSQL is not installed it is the SQLite file of one directory.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use warp_lab::Postgres;
use warp_tests::house::{House, Plan, program};
use warp_tests::process::{PATIENCE, Process, Source};

/// How many nodes.
pub(crate) const NODES: usize = 3;

/// Length of the lease in these tests.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// A Redis that keeps nothing.
pub(crate) struct Redis {
    process: Process,
    port: u16,
}

impl Redis {
    /// `None`: the program is not installed.
    pub(crate) fn start() -> Option<Self> {
        let found = Command::new("redis-server").arg("--version").output();
        found.ok()?;
        let port = free_port();
        let process = Self::process(port);
        Some(Self { process, port })
    }

    fn process(port: u16) -> Process {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no"]);
        let process = Process::start("redis", command);
        process.wait_line(0, "connections", PATIENCE, |line| {
            line.text.contains("Ready to accept").then_some(())
        });
        process
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
        self.process.exit(PATIENCE);
    }

    /// Starts it again with nothing in it.
    pub(crate) fn start_empty(&mut self) {
        self.process = Self::process(self.port);
    }

    pub(crate) fn freeze(&self) {
        self.process.freeze();
    }

    pub(crate) fn thaw(&self) {
        self.process.thaw();
    }
}

/// The whole. Dropped in this order.
pub(crate) struct Cluster {
    more: Vec<Process>,
    /// Its coordinator is the node 0.
    pub(crate) house: House,
    pub(crate) redis: Redis,
    /// Where clients find each node.
    pub(crate) addresses: [SocketAddr; NODES],
    pub(crate) database: Option<Postgres>,
    base: Base,
    _secrets: tempfile::TempDir,
}

/// What a node is started with beside its own configuration.
#[derive(Clone)]
pub(crate) struct Base {
    dir: PathBuf,
    database: Option<String>,
}

impl Base {
    /// `warp-coordinator` with this command of it, on the data of a node.
    pub(crate) fn command(&self, number: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("warp-coordinator"));
        command.args(arguments);
        command.arg("--config").arg(self.file(number));
        command.arg("--data").arg(self.data(number));
        if let Some(url) = &self.database {
            command.env("WARP_DATABASE_URL", url);
        }
        command.env("WARP_LOG", "info");
        command
    }

    pub(crate) fn file(&self, number: usize) -> PathBuf {
        self.dir.join(format!("coordinator-{number}.json"))
    }

    fn data(&self, number: usize) -> PathBuf {
        match number {
            1.. if self.database.is_some() || number >= NODES => {
                self.dir.join(format!("data-{number}"))
            }
            _ => self.dir.join("data"),
        }
    }

    fn node(&self, number: usize, listen: SocketAddr) -> (Process, SocketAddr) {
        let command = self.command(number, &["serve", "--listen", &listen.to_string()]);
        let process = Process::start(&format!("coordinator {number}"), command);
        let (_, url) = process.wait_line(0, "its address", PATIENCE, |line| {
            (line.source == Source::Out).then(|| line.text.clone())
        });
        let bare = url.strip_prefix("http://").expect("plain HTTP");
        (process, bare.parse().expect("an address"))
    }
}

impl Cluster {
    /// `None`: there is no Redis here.
    pub(crate) fn start() -> Option<Self> {
        let redis = Redis::start()?;
        let database = Postgres::start();
        if let Err(reason) = &database {
            println!("SKIPPED: PostgreSQL ({reason}); SQLite instead");
        }
        let database = database.ok();
        let url = database.as_ref().map(Postgres::database);
        let secrets = tempfile::tempdir().unwrap();
        // Beside the house's folder, which is made with the first node.
        let secret = secrets.path().join("cluster.secret");
        std::fs::write(&secret, "0123456789abcdef".repeat(4)).unwrap();
        let config = config(redis.port, free_port(), &secret.display().to_string());
        let for_all = url.clone();
        let house = House::with(Plan {
            coordinator: config.clone(),
            servers: Arc::new(move |program| {
                let mut command = Command::new(program);
                if let Some(url) = &for_all {
                    command.env("WARP_DATABASE_URL", url);
                }
                command
            }),
            ..Plan::default()
        });
        let base = Base {
            dir: house.dir().to_owned(),
            database: url,
        };
        let mut more = Vec::new();
        let mut addresses = [house.address; NODES];
        for (number, place) in addresses.iter_mut().enumerate().skip(1) {
            let data = base.data(number);
            if data != house.data() {
                std::fs::create_dir(&data).unwrap();
                for key in ["identity.key", "jwt.key", "endpoint-token"] {
                    std::fs::copy(house.data().join(key), data.join(key)).unwrap();
                }
            }
            let mut config = config.clone();
            config["cluster"]["node_url"] = json!(format!("http://127.0.0.1:{}", free_port()));
            std::fs::write(base.file(number), config.to_string()).unwrap();
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let (process, address) = base.node(number, any);
            more.push(process);
            *place = address;
        }
        let mut cluster = Self {
            more,
            house,
            redis,
            addresses,
            database,
            base,
            _secrets: secrets,
        };
        cluster.restart_endpoint();
        Some(cluster)
    }

    /// An endpoint that knows all nodes, in place of the house's own, which knows one.
    fn restart_endpoint(&mut self) {
        drop(self.house.endpoint.take());
        let from = self.node(0).mark();
        let mut command = Command::new(program("warp-endpoint"));
        // The owner last: it is found through the others.
        for address in self.addresses.iter().rev() {
            command.args(["--coordinator", &format!("http://{address}")]);
        }
        command.arg("--data").arg(self.house.dir().join("endpoint"));
        command
            .arg("--token-file")
            .arg(self.house.data().join("endpoint-token"));
        command.args(["--name", "practice", "--bind", "127.0.0.1"]);
        command.env("WARP_LOG", "info");
        self.house.endpoint = Some(Process::start("endpoint", command));
        self.house.endpoint_serves(from);
    }

    pub(crate) fn node(&self, number: usize) -> &Process {
        match number.checked_sub(1) {
            None => &self.house.coordinator,
            Some(number) => &self.more[number],
        }
    }

    pub(crate) fn kill(&mut self, number: usize) {
        let process = match number.checked_sub(1) {
            None => &mut self.house.coordinator,
            Some(number) => &mut self.more[number],
        };
        process.kill();
        process.exit(PATIENCE);
    }

    /// Waits for the good end of a node that was asked to end.
    pub(crate) fn ended(&mut self, number: usize) {
        let process = match number.checked_sub(1) {
            None => &mut self.house.coordinator,
            Some(number) => &mut self.more[number],
        };
        assert_eq!(process.exit(PATIENCE).code, Some(0));
    }

    /// Starts a node again at its address.
    pub(crate) fn restart(&mut self, number: usize) {
        match number.checked_sub(1) {
            None => self.house.restart_coordinator(),
            Some(place) => {
                let (process, address) = self.base.node(number, self.addresses[number]);
                assert_eq!(address, self.addresses[number]);
                self.more[place] = process;
            }
        }
    }

    /// What nodes are started with.
    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    /// Runs a command of the operator to its end.
    pub(crate) fn operate(&self, arguments: &[&str]) {
        let command = self.base.command(1, arguments);
        let mut process = Process::start(&arguments.join(" "), command);
        assert_eq!(process.exit(PATIENCE).code, Some(0), "{arguments:?}");
    }

    /// A place in the transcript of each node from which to look.
    pub(crate) fn marks(&self) -> [usize; NODES] {
        std::array::from_fn(|number| self.node(number).mark())
    }

    /// Waits until a node other than `before` owns the live state and lets clients in.
    pub(crate) fn next_owner(&self, from: [usize; NODES], before: usize) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            for number in (0..NODES).filter(|number| *number != before) {
                let lines = self.node(number).lines();
                let mut new = lines.iter().skip(from[number]);
                if new.any(|line| line.text.contains("the owner lets clients in")) {
                    return number;
                }
            }
            assert!(Instant::now() < end, "nobody took over");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the endpoint serves the owner, as a line of it after `from` says.
    pub(crate) fn endpoint_serves(&self, from: usize) {
        let endpoint = self.house.endpoint.as_ref().unwrap();
        logged(endpoint, from, "serving the coordinator");
    }

    pub(crate) fn endpoint_mark(&self) -> usize {
        self.house.endpoint.as_ref().unwrap().mark()
    }
}

/// Waits until a program has logged this; gives the place behind it.
pub(crate) fn logged(process: &Process, from: usize, text: &str) -> usize {
    let waited = process.wait_line(from, text, PATIENCE, |line| {
        (line.source == Source::Err && line.text.contains(text)).then_some(())
    });
    waited.0
}

fn config(redis: u16, port: u16, secret: &str) -> Value {
    let plenty = json!({"burst": 100_000, "per_minute": 100_000});
    json!({
        "endpoint": {"mode": "remote"},
        "require_certificates": false,
        "limits": {
            "address": plenty, "account": plenty, "signals": plenty,
            "requests": plenty, "address_requests": plenty,
        },
        "trusted_proxies": ["127.0.0.0/8"],
        "cluster": {
            "redis": format!("redis://127.0.0.1:{redis}/"),
            "node_url": format!("http://127.0.0.1:{port}"),
            "secret_file": secret,
            "lease_seconds": LEASE.as_secs(),
        },
    })
}

pub(crate) fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap().port()
}
