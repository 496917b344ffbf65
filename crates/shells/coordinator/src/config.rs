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

mod file;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use warp_coordinator_core::client_address::Network;
use warp_protocol::rest::IceServer;

pub(crate) use file::wrong;

use crate::{
    api_keys::ApiKeysConfig, capacity::Capacity, cluster::ClusterConfig,
    game_accounts::GameAccountsConfig, hosts_config::HostsConfig, limits::RateLimits,
    log_config::LogConfig, monitoring::config::MonitoringConfig, npc::NpcConfig,
    passwords::PasswordCost, store::DatabaseUrl, turn::TurnConfig,
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
        let parsed: file::File = serde_path_to_error::deserialize(watched)
            .map_err(|e| wrong(&json, &e.path().to_string(), e.inner()))?;
        let base = file.parent().unwrap_or(Path::new(""));
        let config = parsed.checked(&json, base)?;
        Ok((config, unknown))
    }
}

#[cfg(test)]
mod tests;
