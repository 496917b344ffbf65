//! `cluster` of the configuration.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use warp_protocol::Secret;

use crate::config::{ConfigError, wrong};

/// Length of a lease where the configuration names none.
const DEFAULT_LEASE: Duration = Duration::from_secs(3);

/// One node of a cluster. All nodes have the same database, the same keys and the same secret.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// `redis://[user:password@]host:port/[number]`, of Redis or DragonflyDB. One for the cluster alone.
    pub redis: Secret,
    /// Where the other nodes reach this one: `http://10.0.0.1:8101`. It is also its name.
    pub node_url: String,
    /// Address that it listens on for other nodes, and for nobody else.
    pub listen: SocketAddr,
    /// File with the secret that nodes prove to each other: 32 characters or more.
    pub secret_file: PathBuf,
    /// After so long without a sign of life another node takes over.
    pub lease: Duration,
}

#[derive(Deserialize)]
pub(crate) struct ClusterPart {
    redis: Secret,
    node_url: String,
    listen: Option<SocketAddr>,
    secret_file: PathBuf,
    lease_seconds: Option<u64>,
}

impl ClusterPart {
    pub(crate) fn checked(
        self,
        json: &Value,
        base: &Path,
        remote_endpoint: bool,
    ) -> Result<ClusterConfig, ConfigError> {
        if !remote_endpoint {
            let why = "in a cluster it is `remote`: the endpoint is `warp-endpoint`, which outlives \
                       each node";
            return Err(wrong(json, "endpoint.mode", why));
        }
        if redis::Client::open(self.redis.reveal()).is_err() {
            return Err(ConfigError::Value {
                path: "cluster.redis".to_owned(),
                value: "[secret]".to_owned(),
                allowed: "allowed is redis://[user:password@]host:port/[number]".to_owned(),
            });
        }
        let Some(authority) = authority(&self.node_url) else {
            let why = "allowed is http://host:port, in a network of the nodes alone";
            return Err(wrong(json, "cluster.node_url", why));
        };
        let listen = match self.listen.or_else(|| authority.parse().ok()) {
            Some(listen) => listen,
            None => {
                let why = "wanted where cluster.node_url has a name instead of an address, such as \
                           0.0.0.0:8101";
                return Err(wrong(json, "cluster.listen", why));
            }
        };
        let lease = self.lease_seconds.map(Duration::from_secs);
        let lease = lease.unwrap_or(DEFAULT_LEASE);
        if !(2..=60).contains(&lease.as_secs()) {
            return Err(wrong(json, "cluster.lease_seconds", "allowed are 2 to 60"));
        }
        Ok(ClusterConfig {
            redis: self.redis,
            node_url: self.node_url.trim_end_matches('/').to_owned(),
            listen,
            secret_file: base.join(self.secret_file),
            lease,
        })
    }
}

/// Host and port of a node's URL.
pub(super) fn authority(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':')?;
    let plain = !host.is_empty()
        && host.is_ascii()
        && !host.contains(['/', '@', '?', '#', ' '])
        && !host.contains(char::is_control);
    (plain && port.parse().is_ok_and(|port: u16| port > 0)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::CoordinatorConfig;

    fn config(change: impl FnOnce(&mut Value)) -> Result<CoordinatorConfig, ConfigError> {
        let mut json = json!({
            "endpoint": {"mode": "remote"},
            "cluster": {
                "redis": "redis://:hunter2@127.0.0.1:6379/",
                "node_url": "http://10.0.0.1:8101",
                "secret_file": "cluster.secret",
            },
        });
        change(&mut json);
        let file = Path::new("/etc/warp/coordinator.json");
        CoordinatorConfig::from_json(&json.to_string(), file).map(|(config, _)| config)
    }

    #[test]
    fn a_cluster_is_read() {
        let cluster = config(|_| ()).unwrap().cluster.unwrap();
        assert_eq!(cluster.listen.to_string(), "10.0.0.1:8101");
        assert_eq!(cluster.lease, Duration::from_secs(3));
        assert_eq!(cluster.secret_file, Path::new("/etc/warp/cluster.secret"));
        assert!(!format!("{cluster:?}").contains("hunter2"));
    }

    #[test]
    fn wrong_values_are_named_and_no_password_is_shown() {
        let cases: [(&str, Value, &str); 6] = [
            ("redis", json!("http://:hunter2@x"), "cluster.redis"),
            ("redis", json!(["hunter2"]), "cluster.redis"),
            ("node_url", json!("https://a:1"), "cluster.node_url"),
            ("node_url", json!("http://node-a:8101"), "cluster.listen"),
            ("lease_seconds", json!(1), "cluster.lease_seconds"),
            ("secret_file", Value::Null, "cluster.secret_file"),
        ];
        for (key, value, path) in cases {
            let error = config(|json| json["cluster"][key] = value).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(path), "{key}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        let missing = |json: &mut Value| {
            json["cluster"].as_object_mut().unwrap().remove("node_url");
        };
        let text = config(missing).unwrap_err().to_string();
        assert!(
            text.contains("node_url") && !text.contains("hunter2"),
            "{text}"
        );
        let embedded = config(|json| json["endpoint"] = json!({})).unwrap_err();
        assert!(embedded.to_string().contains("endpoint.mode"), "{embedded}");
    }
}
