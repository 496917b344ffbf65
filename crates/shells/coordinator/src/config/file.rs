//! The file as it is written, and what is checked of it.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use warp_coordinator_core::fleet::FleetLimits;
use warp_protocol::{Secret, identity::MAX_VALIDITY, rest::IceServer};

use super::{ConfigError, CoordinatorConfig, EndpointMode, Registration, TlsFiles};
use crate::{
    capacity::CapacityPart,
    cluster::ClusterPart,
    game_accounts::GameAccountsConfig,
    hosts_config::HostsPart,
    limits::{Rate, RateLimits},
    log_config::LogPart,
    monitoring::config::MonitoringPart,
    npc::NpcPart,
    security_config::{ApiKeyPart, KeysPart, is_production, trusted_proxies},
    store::{DatabaseUrl, DatabaseUrlError},
    turn::{DEFAULT_TTL, TurnConfig},
};

#[derive(Deserialize)]
pub(super) struct File {
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

impl File {
    pub(super) fn checked(
        self,
        json: &Value,
        base: &Path,
    ) -> Result<CoordinatorConfig, ConfigError> {
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
    pub(super) fn checked(self, json: &Value, ttl: Duration) -> Result<TurnConfig, ConfigError> {
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
