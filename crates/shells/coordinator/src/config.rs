//! Configuration: what the library is given, and the operator's JSON file for it.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `listen` | address to listen on | `127.0.0.1:8001` |
//! | `data_dir` | database and keys, relative to the file | `warp-coordinator-data` in the current directory |
//! | `database.url` | `postgres://USER:PASSWORD@HOST/DATABASE?sslmode=...`; the environment variable `WARP_DATABASE_URL` wins over it | none: SQLite in `data_dir` |
//! | `accounts.rathena` | accounts of a game server's table may sign in: `url` (`mysql://USER:PASSWORD@HOST/DATABASE`), `table` (`login`), `md5` (`false`), `roles` (`{"99": "admin"}`); see docs/accounts.md | none |
//! | `tls.cert`, `tls.key` | PEM files, relative to the file | none: plain HTTP |
//! | `ice_servers` | `[{"urls": ["stun:host:3478"], "username"?, "credential"?}]` | `[]` |
//! | `turn.urls`, `turn.shared_secret` | a coturn with `use-auth-secret`: `["turn:host:3478"]` and its `static-auth-secret` | none |
//! | `turn.ttl_seconds` | how long the credentials of one grant are good for, 300 to 604800 | 86400 |
//! | `tokens.access_seconds` | 60 to 86400 | 900 |
//! | `tokens.refresh_seconds` | 300 to 31536000, at least `access_seconds` | 604800 |
//! | `require_certificates` | a session needs a device certificate; `false` lets older launchers in | `true` |
//! | `certificates.lifetime_seconds` | 10 to 604800 | 3600 |
//! | `hosts.who` | whose devices may host: `everyone`, or `role` (accounts with role host, gm or admin) | `everyone` |
//! | `hosts.minimum` | what a host needs in every zone: `cpu_cores`, `cpu_frequency_mhz`, `memory_mb` | 1 each |
//! | `hosts.heartbeat_seconds` | how often a host says that it is there, 1 to 60 | 5 |
//! | `hosts.silent_seconds` | without a heartbeat for so long it is not there; at least twice `heartbeat_seconds`, at most 600 | 15 |
//! | `endpoint.mode` | `embedded`: the endpoint lives in the coordinator; `remote`: it is `warp-endpoint`, which outlives it | `embedded` |
//! | `endpoint.key_rotation_interval_seconds` | after so long the endpoint renews the keys of a session link, 60 to 86400 | 3600 |
//! | `cluster.redis` | `redis://[user:password@]host:port/[number]` of a cluster; see docs/cluster.md | none: one machine |
//! | `cluster.node_url`, `cluster.listen` | where other nodes reach this one, `http://host:port`; address to listen on for them | `listen`: that of `node_url` |
//! | `cluster.secret_file` | file with the secret of all nodes, relative to the file | |
//! | `cluster.lease_seconds` | after so long without a sign of life another node takes over, 2 to 60 | 3 |
//! | `capacity.sessions` | sessions at once, 1 to 1000000 | 10000 |
//! | `capacity.sessions_per_account` | over all devices of the account | 8 |
//! | `capacity.hosts`, `capacity.hosts_per_account` | hosts that are remembered | 1000, 8 |
//! | `capacity.connections` | TCP connections at once, sockets included | 32768, at least 3 for each session |
//! | `capacity.connections_per_address` | of these, from one address (IPv6: one /64); `trusted_proxies` are exempt | 1024 |
//! | `cors_origins` | origins of browser clients, such as `https://play.example` | `[]` |
//! | `trusted_proxies` | reverse proxies whose `X-Forwarded-For` or `Forwarded` counts: `["10.0.0.0/8", "::1"]` | `[]`: nobody's |
//! | `api_keys` | keys of your own services: `[{"name", "key_file" or "env", "scopes": ["client", "tokens"]}]` | `[]` |
//! | `api_key_header` | the header that a key is shown in | `X-API-Key` |
//! | `require_api_key` | every client has to show a key of scope `client` | `false` |
//! | `production` | refuse to start with weak or readable secrets; `WARP_ENV=production` does the same | `false` |
//! | `registration` | `open` or `closed` | `open` |
//! | `keep_alive.ping_seconds` | 1 to 300 | 20 |
//! | `keep_alive.idle_seconds` | at least twice `ping_seconds`, at most 3600 | 45 |
//! | `limits.requests` | requests of one account, or of one address without a sign-in, per class of route: `{"burst", "per_minute"}` | 100/100 |
//! | `limits.address_requests` | requests of one address in all | 6000/6000 |
//! | `limits.address`, `limits.account` | sign-ins from one address, to one account | 60/120, 10/10 |
//! | `limits.signals` | signaling messages of one account, over all its sockets; ten times as many of a host | 1000/1000 |
//! | `limits.relay_bytes` | the same, bytes | 262144/3932160 |
//! | `monitoring.token` | who shows it may read `/metrics`; at least 16 characters | none |
//! | `monitoring.allow` | addresses that may read `/metrics` | `[]`: this machine only |
//! | `monitoring.open_on_loopback` | the dashboard without a sign-in, for this machine | `false` |
//! | `npc.url`, `npc.api_key` | AI service that is asked for states of NPCs | none |
//! | `npc.poll_seconds` | how often, 1 to 3600 | 5 |
//! | `npc.zones` | `{"zone": ["npc-id"]}`, at most 64 for each zone | `{}` |
//! | `npc.push_token` | what the AI service shows when it pushes states; at least 16 characters | none |
//! | `updates.directory` | folder with releases of the launcher, relative to the file; see docs/updates.md | none |
//! | `log.format` | `text` or `json` | `text` |
//! | `log.file` | file that `serve` logs to instead of standard error, relative to the file; the day is added to its name, which ends with `.log` | none |
//! | `log.keep` | how many days' files are kept, 1 to 365 | 14 |
//!
//! Unknown keys are warned about by name. A wrong value is refused with its path, the value and
//! what is allowed.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use warp_coordinator_core::{client_address::Network, fleet::FleetLimits};
use warp_protocol::{Secret, identity::MAX_VALIDITY, rest::IceServer};

use crate::{
    api_keys::ApiKeysConfig,
    capacity::{Capacity, CapacityPart},
    cluster::{ClusterConfig, ClusterPart},
    game_accounts::GameAccountsConfig,
    hosts_config::{HostsConfig, HostsPart},
    limits::{Rate, RateLimits},
    log_config::{LogConfig, LogPart},
    monitoring::config::{MonitoringConfig, MonitoringPart},
    npc::{NpcConfig, NpcPart},
    passwords::PasswordCost,
    security_config::{ApiKeyPart, KeysPart, is_production, trusted_proxies},
    store::{DatabaseUrl, DatabaseUrlError},
    turn::{DEFAULT_TTL, TurnConfig},
};

/// Name of the default data directory.
pub const DEFAULT_DATA_DIR: &str = "warp-coordinator-data";

/// Port that the coordinator listens on by default.
pub const DEFAULT_PORT: u16 = 8001;

/// May people make accounts themselves?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Yes.
    #[default]
    Open,
    /// Only the operator makes accounts: `warp-coordinator user add`.
    Closed,
}

/// Where the endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointMode {
    /// In the coordinator's process.
    #[default]
    Embedded,
    /// A process of its own, `warp-endpoint`, which connects to the coordinator.
    Remote,
}

/// Certificate and key, PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TlsFiles {
    /// Certificate chain, the server's own first.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Everything that a coordinator is started with.
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Database and keys; made with mode 0700 where it is missing.
    pub data_dir: PathBuf,
    /// A PostgreSQL database; without it data is in a SQLite file in `data_dir`.
    pub database: Option<DatabaseUrl>,
    /// Accounts of a game server's table may sign in.
    pub game_accounts: Option<GameAccountsConfig>,
    /// TLS, or plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Handed to launchers of zones with P2P, and used by the endpoint.
    pub ice_servers: Vec<IceServer>,
    /// A TURN server for which each grant gets credentials of its own.
    pub turn: Option<TurnConfig>,
    /// How long an access token lives.
    pub access_lifetime: Duration,
    /// How long a refresh token lives, counted anew at each refresh.
    pub refresh_lifetime: Duration,
    /// A session needs a device certificate, and WebRTC descriptions their signatures.
    pub require_certificates: bool,
    /// How long a certificate is valid.
    pub certificate_lifetime: Duration,
    /// Where the endpoint is.
    pub endpoint_mode: EndpointMode,
    /// After so long the endpoint renews the keys of a session link.
    pub key_rotation_interval: Duration,
    /// One of several nodes; `None`: it stands alone.
    pub cluster: Option<ClusterConfig>,
    /// Origins that browsers may call from.
    pub cors_origins: Vec<String>,
    /// Reverse proxies that are believed when they say whose request it is.
    pub trusted_proxies: Vec<Network>,
    /// Keys of the operator's own services.
    pub api_keys: ApiKeysConfig,
    /// Weak secrets are refused at the start.
    pub production: bool,
    /// May people make accounts themselves?
    pub registration: Registration,
    /// How much it holds at once.
    pub capacity: Capacity,
    /// Who may host, and when a host is dead.
    pub hosts: HostsConfig,
    /// How often an open signaling socket is pinged.
    pub ping_every: Duration,
    /// A signaling socket that has said nothing for so long, not even a pong, is closed.
    pub idle_after: Duration,
    /// A session that nothing has attached to for so long ends.
    pub unused_session: Duration,
    /// Rate limits.
    pub limits: RateLimits,
    /// Who may see the figures.
    pub monitoring: MonitoringConfig,
    /// Where states of NPCs come from.
    pub npc: NpcConfig,
    /// Folder with releases of the launcher.
    pub updates: Option<PathBuf>,
    /// How the program logs; a launcher that embeds the coordinator logs as it likes.
    pub log: LogConfig,
    /// Password hashing; anything but the default is for tests.
    pub password_cost: PasswordCost,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            data_dir: PathBuf::from(DEFAULT_DATA_DIR),
            database: None,
            game_accounts: None,
            tls: None,
            ice_servers: Vec::new(),
            turn: None,
            access_lifetime: Duration::from_secs(15 * 60),
            refresh_lifetime: Duration::from_secs(7 * 24 * 3600),
            require_certificates: true,
            certificate_lifetime: Duration::from_secs(3600),
            endpoint_mode: EndpointMode::default(),
            key_rotation_interval: Duration::from_secs(3600),
            cluster: None,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            api_keys: ApiKeysConfig::default(),
            production: false,
            registration: Registration::Open,
            capacity: Capacity::default(),
            hosts: HostsConfig::default(),
            ping_every: Duration::from_secs(20),
            idle_after: Duration::from_secs(45),
            unused_session: Duration::from_secs(60),
            limits: RateLimits::default(),
            monitoring: MonitoringConfig::default(),
            npc: NpcConfig::default(),
            updates: None,
            log: LogConfig::default(),
            password_cost: PasswordCost::Standard,
        }
    }
}

/// The configuration file cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read, or is not JSON.
    #[error("{file}: {why}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's or the parser's words.
        why: String,
    },
    /// A value is wrong.
    #[error("{path} = {value}: {allowed}")]
    Value {
        /// Path of the key, such as `tls.cert`.
        path: String,
        /// The value, as JSON; `[secret]` where it may be one.
        value: String,
        /// What is wrong, or what is allowed.
        allowed: String,
    },
}

#[derive(Deserialize)]
struct File {
    listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    #[serde(default)]
    database: DatabasePart,
    #[serde(default)]
    accounts: AccountsPart,
    tls: Option<TlsFiles>,
    #[serde(default)]
    ice_servers: Vec<IceServer>,
    turn: Option<TurnPart>,
    #[serde(default)]
    tokens: TokensPart,
    require_certificates: Option<bool>,
    #[serde(default)]
    certificates: CertificatesPart,
    #[serde(default)]
    endpoint: EndpointPart,
    cluster: Option<ClusterPart>,
    #[serde(default)]
    cors_origins: Vec<String>,
    #[serde(default)]
    trusted_proxies: Vec<String>,
    #[serde(default)]
    api_keys: Vec<ApiKeyPart>,
    api_key_header: Option<String>,
    #[serde(default)]
    require_api_key: bool,
    #[serde(default)]
    production: bool,
    #[serde(default)]
    registration: Registration,
    #[serde(default)]
    capacity: CapacityPart,
    #[serde(default)]
    hosts: HostsPart,
    #[serde(default)]
    keep_alive: KeepAlivePart,
    #[serde(default)]
    limits: LimitsPart,
    #[serde(default)]
    monitoring: MonitoringPart,
    #[serde(default)]
    npc: NpcPart,
    #[serde(default)]
    updates: UpdatesPart,
    #[serde(default)]
    log: LogPart,
}

#[derive(Default, Deserialize)]
struct UpdatesPart {
    directory: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
struct DatabasePart {
    url: Option<DatabaseUrl>,
}

#[derive(Default, Deserialize)]
struct AccountsPart {
    rathena: Option<GameAccountsConfig>,
}

#[derive(Default, Deserialize)]
struct TokensPart {
    access_seconds: Option<u64>,
    refresh_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct TurnPart {
    urls: Vec<String>,
    shared_secret: Secret,
    ttl_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
struct CertificatesPart {
    lifetime_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
struct EndpointPart {
    #[serde(default)]
    mode: EndpointMode,
    key_rotation_interval_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
struct KeepAlivePart {
    ping_seconds: Option<u64>,
    idle_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
struct LimitsPart {
    address: Option<Rate>,
    account: Option<Rate>,
    signals: Option<Rate>,
    relay_bytes: Option<Rate>,
    requests: Option<Rate>,
    address_requests: Option<Rate>,
}

impl CoordinatorConfig {
    /// Reads a configuration file. Gives the unknown keys beside it, to be warned about.
    ///
    /// # Errors
    /// The file is not readable or a value is not allowed.
    pub fn from_file(file: &Path) -> Result<(Self, Vec<String>), ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|e| ConfigError::Unreadable {
            file: file.to_owned(),
            why: e.to_string(),
        })?;
        Self::from_json(&text, file)
    }

    /// Reads the text of a configuration file; `file` is what relative paths are relative to, and
    /// its name in errors.
    ///
    /// # Errors
    /// The text is not JSON or a value is not allowed.
    pub fn from_json(text: &str, file: &Path) -> Result<(Self, Vec<String>), ConfigError> {
        let json: Value = serde_json::from_str(text).map_err(|e| ConfigError::Unreadable {
            file: file.to_owned(),
            why: format!("not valid JSON: {e}"),
        })?;
        let mut unknown = Vec::new();
        let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
        let watched = serde_ignored::Deserializer::new(&json, &mut note);
        let parsed: File = serde_path_to_error::deserialize(watched)
            .map_err(|e| wrong(&json, &e.path().to_string(), e.inner()))?;
        let base = file.parent().unwrap_or(Path::new(""));
        let config = parsed.checked(&json, base)?;
        Ok((config, unknown))
    }
}

impl File {
    fn checked(self, json: &Value, base: &Path) -> Result<CoordinatorConfig, ConfigError> {
        let mut config = CoordinatorConfig::default();
        let seconds = |path, value: Option<u64>, default: Duration, low, high| match value {
            None => Ok(default),
            Some(n) if (low..=high).contains(&n) => Ok(Duration::from_secs(n)),
            Some(_) => Err(wrong(json, path, format!("allowed are {low} to {high}"))),
        };
        config.access_lifetime = seconds(
            "tokens.access_seconds",
            self.tokens.access_seconds,
            config.access_lifetime,
            60,
            86_400,
        )?;
        let least = config.access_lifetime.as_secs().max(300);
        config.refresh_lifetime = seconds(
            "tokens.refresh_seconds",
            self.tokens.refresh_seconds,
            config.refresh_lifetime,
            least,
            31_536_000,
        )?;
        config.certificate_lifetime = seconds(
            "certificates.lifetime_seconds",
            self.certificates.lifetime_seconds,
            config.certificate_lifetime,
            10,
            MAX_VALIDITY,
        )?;
        config.endpoint_mode = self.endpoint.mode;
        config.key_rotation_interval = seconds(
            "endpoint.key_rotation_interval_seconds",
            self.endpoint.key_rotation_interval_seconds,
            config.key_rotation_interval,
            60,
            86_400,
        )?;
        config.ping_every = seconds(
            "keep_alive.ping_seconds",
            self.keep_alive.ping_seconds,
            config.ping_every,
            1,
            300,
        )?;
        let least = config.ping_every.as_secs() * 2;
        config.idle_after = seconds(
            "keep_alive.idle_seconds",
            self.keep_alive.idle_seconds,
            config.idle_after.max(Duration::from_secs(least)),
            least,
            3600,
        )?;
        config.capacity = self.capacity.checked(|path, why| wrong(json, path, why))?;
        config.hosts = self.hosts.checked(&seconds)?;
        config.hosts.limits = FleetLimits {
            sessions: config.capacity.sessions,
            hosts: config.capacity.hosts,
            hosts_per_account: config.capacity.hosts_per_account,
            ..config.hosts.limits
        };
        let refuse = |path: &str, allowed: String| match wrong(json, path, &allowed) {
            // Our own words repeat no value.
            ConfigError::Value { path, value, .. } => ConfigError::Value {
                path,
                value,
                allowed,
            },
            other => other,
        };
        let monitoring = self.monitoring.checked();
        config.monitoring = monitoring.map_err(|(path, allowed)| refuse(path, allowed))?;
        config.npc = self.npc.checked(&seconds, &refuse)?;
        let log = self.log.checked(base);
        config.log = log.map_err(|(path, allowed)| refuse(path, allowed))?;
        for (i, origin) in self.cors_origins.iter().enumerate() {
            if !origin_ok(origin) {
                let path = format!("cors_origins[{i}]");
                let allowed = "allowed is a scheme and a host, such as https://play.example";
                return Err(wrong(json, &path, allowed));
            }
        }
        for (i, server) in self.ice_servers.iter().enumerate() {
            check_ice(json, i, server)?;
        }
        if let Some(turn) = self.turn {
            let ttl = seconds(
                "turn.ttl_seconds",
                turn.ttl_seconds,
                DEFAULT_TTL,
                300,
                604_800,
            )?;
            config.turn = Some(turn.checked(json, ttl)?);
        }
        if let Some(cluster) = self.cluster {
            let remote = config.endpoint_mode == EndpointMode::Remote;
            config.cluster = Some(cluster.checked(json, base, remote)?);
        }
        config.updates = self.updates.directory.map(|folder| base.join(folder));
        config.listen = self.listen.unwrap_or(config.listen);
        config.data_dir = self.data_dir.map_or(config.data_dir, |p| base.join(p));
        config.database = self.database.url;
        config.game_accounts = self.accounts.rathena;
        config.tls = self.tls.map(|tls| TlsFiles {
            cert: base.join(tls.cert),
            key: base.join(tls.key),
        });
        config.ice_servers = self.ice_servers;
        config.require_certificates = self
            .require_certificates
            .unwrap_or(config.require_certificates);
        config.cors_origins = self.cors_origins;
        let refuse = |path: &str, why: String| wrong(json, path, why);
        config.trusted_proxies = trusted_proxies(&self.trusted_proxies, &refuse)?;
        let keys = KeysPart {
            keys: self.api_keys,
            header: self.api_key_header,
            required: self.require_api_key,
        };
        config.api_keys = keys.checked(base, &refuse)?;
        config.production = self.production || is_production();
        config.registration = self.registration;
        config.limits = RateLimits {
            address: self.limits.address.unwrap_or(config.limits.address),
            account: self.limits.account.unwrap_or(config.limits.account),
            signals: self.limits.signals.unwrap_or(config.limits.signals),
            relay_bytes: self.limits.relay_bytes.unwrap_or(config.limits.relay_bytes),
            requests: self.limits.requests.unwrap_or(config.limits.requests),
            address_requests: self
                .limits
                .address_requests
                .unwrap_or(config.limits.address_requests),
        };
        Ok(config)
    }
}

impl TurnPart {
    fn checked(self, json: &Value, ttl: Duration) -> Result<TurnConfig, ConfigError> {
        if self.urls.is_empty() {
            return Err(wrong(json, "turn.urls", "at least one address"));
        }
        for (n, url) in self.urls.iter().enumerate() {
            if !url.starts_with("turn:") && !url.starts_with("turns:") {
                let allowed = "allowed are turn:host:port and turns:host:port";
                return Err(wrong(json, &format!("turn.urls[{n}]"), allowed));
            }
        }
        if self.shared_secret.is_empty() {
            let allowed = "the TURN server's `static-auth-secret`";
            return Err(wrong(json, "turn.shared_secret", allowed));
        }
        Ok(TurnConfig {
            urls: self.urls,
            shared_secret: self.shared_secret,
            ttl,
        })
    }
}

fn origin_ok(origin: &str) -> bool {
    let host = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"));
    host.is_some_and(|h| {
        !h.is_empty()
            && h.is_ascii()
            && !h.contains(['/', '*', ' '])
            && !h.contains(char::is_control)
    })
}

fn check_ice(json: &Value, i: usize, server: &IceServer) -> Result<(), ConfigError> {
    let path = format!("ice_servers[{i}]");
    if server.urls.is_empty() {
        return Err(wrong(json, &format!("{path}.urls"), "at least one address"));
    }
    for (n, url) in server.urls.iter().enumerate() {
        let known = ["stun:", "stuns:", "turn:", "turns:"];
        if !known.iter().any(|scheme| url.starts_with(scheme)) {
            let path = format!("{path}.urls[{n}]");
            let allowed = "allowed are stun:host:port, turn:host:port, stuns: and turns:";
            return Err(wrong(json, &path, allowed));
        }
        if url.starts_with("turn") && (server.username.is_none() || server.credential.is_none()) {
            return Err(wrong(
                json,
                &format!("{path}.urls[{n}]"),
                "a TURN server needs `username` and `credential` beside it",
            ));
        }
    }
    Ok(())
}

/// A refusal of the value at `path`.
pub(crate) fn wrong(json: &Value, path: &str, why: impl fmt::Display) -> ConfigError {
    // serde's words repeat the value, so they are kept back as well.
    let holds_secrets = matches!(path, "turn" | "monitoring" | "npc" | "cluster");
    let bare = holds_secrets && look_up(json, path).is_some_and(|v| !v.is_object());
    let names = [
        "credential",
        "secret",
        "api_key",
        "push_token",
        "monitoring.token",
    ];
    let database = path.starts_with("database");
    let accounts = path.starts_with("accounts");
    let cluster = path == "cluster.redis";
    let secret =
        bare || database || accounts || cluster || names.iter().any(|name| path.contains(name));
    let value = match look_up(json, path) {
        None => "missing".to_owned(),
        // The whole of a server stands here when one of its keys is missing.
        Some(value)
            if value
                .get("credential")
                .or(value.get("shared_secret"))
                .or(value.get("redis"))
                .is_some() =>
        {
            "[secret]".to_owned()
        }
        Some(value) => value.to_string(),
    };
    let hint = match path {
        "listen" => "; allowed is an address with a port, such as 127.0.0.1:8001",
        "limits"
        | "limits.address"
        | "limits.account"
        | "limits.signals"
        | "limits.relay_bytes"
        | "limits.requests"
        | "limits.address_requests" => {
            "; allowed is {\"burst\": 1 or more, \"per_minute\": 1 or more}"
        }
        _ => "",
    };
    ConfigError::Value {
        path: path.to_owned(),
        value: if secret { "[secret]".into() } else { value },
        allowed: if database {
            DatabaseUrlError.to_string()
        } else if accounts {
            GameAccountsConfig::allowed(&why)
        } else if secret {
            "allowed is text".into()
        } else {
            format!("{why}{hint}")
        },
    }
}

/// The value at a path such as `a.b[2].c`; `.` is the whole.
fn look_up<'a>(json: &'a Value, path: &str) -> Option<&'a Value> {
    if path == "." {
        return Some(json);
    }
    let mut at = json;
    for part in path.split(['.', '[', ']']).filter(|p| !p.is_empty()) {
        at = match at {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            other => other.get(part)?,
        };
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_protocol::rest::AccountRole;

    fn read(text: &str) -> Result<(CoordinatorConfig, Vec<String>), ConfigError> {
        CoordinatorConfig::from_json(text, Path::new("/etc/warp/c.json"))
    }

    #[test]
    fn an_empty_file_is_the_default_and_all_keys_are_read() {
        let (config, unknown) = read("{}").unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8001");
        assert!(config.require_certificates);
        assert_eq!(config.key_rotation_interval.as_secs(), 3600);
        assert!(unknown.is_empty());

        let (config, unknown) = read(
            r#"{"listen": "0.0.0.0:443", "data_dir": "data", "tls": {"cert": "c.pem", "key": "/k.pem"},
                "ice_servers": [{"urls": ["stun:a:1"]},
                                {"urls": ["turn:a:1"], "username": "u", "credential": "p"}],
                "turn": {"urls": ["turn:a:1"], "shared_secret": "s", "ttl_seconds": 300},
                "tokens": {"access_seconds": 60, "refresh_seconds": 300},
                "require_certificates": false, "certificates": {"lifetime_seconds": 10},
                "endpoint": {"key_rotation_interval_seconds": 60},
                "cors_origins": ["https://play.example"], "registration": "closed",
                "capacity": {"sessions": 7, "hosts": 5},
                "hosts": {"who": "role", "heartbeat_seconds": 2, "silent_seconds": 4, "minimum": {"cpu_cores": 4}},
                "keep_alive": {"ping_seconds": 5, "idle_seconds": 10},
                "limits": {"account": {"burst": 3, "per_minute": 4}},
                "monitoring": {"token": "sixteen letters!", "allow": ["192.0.2.9", "2001:db8::9"],
                               "open_on_loopback": true},
                "npc": {"url": "http://127.0.0.1:8000", "api_key": "k", "poll_seconds": 7,
                        "zones": {"prontera": ["smith"]}, "push_token": "sixteen letters!"},
                "log": {"format": "json", "file": "logs/warp.log", "keep": 30}}"#,
        )
        .unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert_eq!(config.data_dir, Path::new("/etc/warp/data"));
        let tls = config.tls.unwrap();
        assert_eq!(tls.cert, Path::new("/etc/warp/c.pem"));
        assert_eq!(tls.key, Path::new("/k.pem"));
        assert_eq!(config.ice_servers.len(), 2);
        let turn = config.turn.unwrap();
        assert_eq!((turn.urls.len(), turn.ttl.as_secs()), (1, 300));
        assert_eq!(config.access_lifetime.as_secs(), 60);
        assert!(!config.require_certificates);
        assert_eq!(config.certificate_lifetime.as_secs(), 10);
        assert!(!config.hosts.who.lets(AccountRole::Player));
        assert_eq!(config.hosts.minimum.cpu_cores, 4);
        assert_eq!(config.hosts.minimum.memory_mb, 1);
        assert_eq!(config.hosts.limits.silent.as_secs(), 4);
        assert_eq!(config.key_rotation_interval.as_secs(), 60);
        assert_eq!(config.registration, Registration::Closed);
        assert_eq!(config.idle_after.as_secs(), 10);
        assert_eq!(config.limits.account, Rate::new(3, 4));
        assert_eq!(config.limits.address, RateLimits::default().address);
        assert_eq!(config.monitoring.allow.len(), 2);
        assert!(config.monitoring.token.is_some() && config.monitoring.open_on_loopback);
        assert_eq!(config.npc.poll.as_secs(), 7);
        assert_eq!(config.npc.zones["prontera"], ["smith"]);
        let file = Path::new("/etc/warp/logs/warp.log");
        assert_eq!(config.log.file.as_deref(), Some(file));
        assert_eq!(config.log.keep, 30);
    }

    #[test]
    fn the_example_is_understood() {
        let text = include_str!("../../../../docs/examples/coordinator.json");
        let (_, unknown) = read(text).unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn unknown_keys_are_named() {
        let (_, unknown) = read(
            r#"{"lisen": "x", "tokens": {"acess_seconds": 5}, "ice_servers": [{"urls": ["stun:a"], "url": ""}]}"#,
        )
        .unwrap();
        assert_eq!(
            unknown,
            ["ice_servers.0.url", "lisen", "tokens.acess_seconds"]
        );
    }

    #[test]
    fn wrong_values_are_refused_with_path_value_and_what_is_allowed() {
        for (text, path, value, allowed) in [
            (
                r#"{"listen": "here"}"#,
                "listen",
                "\"here\"",
                "127.0.0.1:8001",
            ),
            (
                r#"{"endpoint": {"key_rotation_interval_seconds": 59}}"#,
                "endpoint.key_rotation_interval_seconds",
                "59",
                "60 to 86400",
            ),
            (r#"{"listen": 8001}"#, "listen", "8001", "127.0.0.1:8001"),
            (
                r#"{"registration": "ajar"}"#,
                "registration",
                "\"ajar\"",
                "`open` or `closed`",
            ),
            (
                r#"{"tls": {"cert": "c"}}"#,
                "tls",
                r#"{"cert":"c"}"#,
                "`key`",
            ),
            (
                r#"{"tokens": {"access_seconds": -1}}"#,
                "tokens.access_seconds",
                "-1",
                "u64",
            ),
            (
                r#"{"tokens": {"access_seconds": 5}}"#,
                "tokens.access_seconds",
                "5",
                "60 to 86400",
            ),
            (
                r#"{"tokens": {"access_seconds": 7200, "refresh_seconds": 3600}}"#,
                "tokens.refresh_seconds",
                "3600",
                "7200 to 31536000",
            ),
            (
                r#"{"keep_alive": {"ping_seconds": 60, "idle_seconds": 60}}"#,
                "keep_alive.idle_seconds",
                "60",
                "120 to 3600",
            ),
            (
                r#"{"hosts": {"heartbeat_seconds": 10, "silent_seconds": 15}}"#,
                "hosts.silent_seconds",
                "15",
                "20 to 600",
            ),
            (
                r#"{"hosts": {"who": "me"}}"#,
                "hosts.who",
                "\"me\"",
                "`everyone` or `role`",
            ),
            (
                r#"{"cors_origins": ["*"]}"#,
                "cors_origins[0]",
                "\"*\"",
                "https://",
            ),
            (
                r#"{"ice_servers": [{"urls": []}]}"#,
                "ice_servers[0].urls",
                "[]",
                "at least one",
            ),
            (
                r#"{"ice_servers": [{"urls": ["http://a"]}]}"#,
                "ice_servers[0].urls[0]",
                "\"http://a\"",
                "stun:",
            ),
            (
                r#"{"ice_servers": [{"urls": ["turn:a"]}]}"#,
                "ice_servers[0].urls[0]",
                "\"turn:a\"",
                "credential",
            ),
            (
                r#"{"limits": {"account": {"burst": 0, "per_minute": 1}}}"#,
                "limits.account.burst",
                "0",
                "nonzero",
            ),
            (
                r#"{"monitoring": {"token": "too short"}}"#,
                "monitoring.token",
                "[secret]",
                "at least 16",
            ),
            (
                r#"{"npc": {"push_token": "too short"}}"#,
                "npc.push_token",
                "[secret]",
                "at least 16",
            ),
            (
                r#"{"npc": {"url": "ftp://a"}}"#,
                "npc.url",
                "\"ftp://a\"",
                "http://",
            ),
            (
                r#"{"npc": {"zones": {"z": [""]}}}"#,
                "npc.zones.z",
                r#"[""]"#,
                "at most 64 ids",
            ),
            (
                r#"{"log": {"file": "coordinator"}}"#,
                "log.file",
                "\"coordinator\"",
                ".log",
            ),
            (r#"{"log": {"keep": 0}}"#, "log.keep", "0", "1 to 365"),
            (r#"[]"#, ".", "[]", "struct"),
        ] {
            match read(text) {
                Err(ConfigError::Value {
                    path: p,
                    value: v,
                    allowed: a,
                }) => {
                    assert_eq!((p.as_str(), v.as_str()), (path, value), "{text}");
                    assert!(a.contains(allowed), "{text}: {a}");
                }
                other => panic!("{text} gave {other:?}"),
            }
        }
        assert!(matches!(read("{"), Err(ConfigError::Unreadable { .. })));
    }

    #[test]
    fn a_wrong_secret_is_not_repeated() {
        let text =
            r#"{"ice_servers": [{"urls": ["turn:a"], "username": "u", "credential": 918273}]}"#;
        let error = read(text).unwrap_err().to_string();
        assert!(!error.contains("918273"), "{error}");
        assert!(error.contains("ice_servers[0].credential"), "{error}");
    }
}
