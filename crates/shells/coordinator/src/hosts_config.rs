//! The operator's settings for hosts: `hosts` in the configuration file.

use std::time::Duration;

use serde::Deserialize;
use warp_coordinator_core::fleet::{FleetLimits, HostMinimum};
use warp_protocol::rest::AccountRole;

/// Whose devices may host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostsWho {
    /// Everyone's, so that volunteers need nothing but an account.
    #[default]
    Everyone,
    /// Those of accounts with the role `host`, `gm` or `admin`.
    Role,
}

impl HostsWho {
    /// Whether an account of this role may host.
    pub fn lets(self, role: AccountRole) -> bool {
        self == Self::Everyone || role >= AccountRole::Host
    }
}

/// Hosts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostsConfig {
    /// Who may.
    pub who: HostsWho,
    /// What a machine needs in every zone.
    pub minimum: HostMinimum,
    /// Times and bounds.
    pub limits: FleetLimits,
    /// A session of the contract that nobody is in and nothing happens to fails after so long.
    pub session_idle: Duration,
}

impl Default for HostsConfig {
    fn default() -> Self {
        Self {
            who: HostsWho::default(),
            minimum: HostMinimum::default(),
            limits: FleetLimits::default(),
            session_idle: Duration::from_secs(30 * 60),
        }
    }
}

/// `hosts` in the file.
#[derive(Default, Deserialize)]
pub(crate) struct HostsPart {
    #[serde(default)]
    who: HostsWho,
    heartbeat_seconds: Option<u64>,
    silent_seconds: Option<u64>,
    session_idle_seconds: Option<u64>,
    #[serde(default)]
    minimum: MinimumPart,
}

#[derive(Default, Deserialize)]
struct MinimumPart {
    cpu_cores: Option<u32>,
    cpu_frequency_mhz: Option<u32>,
    memory_mb: Option<u32>,
}

impl HostsPart {
    /// `seconds` checks the time at a path: its value, the default, and what is allowed.
    pub(crate) fn checked<E>(
        self,
        seconds: &impl Fn(&'static str, Option<u64>, Duration, u64, u64) -> Result<Duration, E>,
    ) -> Result<HostsConfig, E> {
        let default = FleetLimits::default().heartbeat;
        let path = "hosts.heartbeat_seconds";
        let heartbeat = seconds(path, self.heartbeat_seconds, default, 1, 60)?;
        let (path, least) = ("hosts.silent_seconds", heartbeat.as_secs() * 2);
        let silent = seconds(path, self.silent_seconds, heartbeat * 3, least, 600)?;
        let (path, default) = (
            "hosts.session_idle_seconds",
            HostsConfig::default().session_idle,
        );
        let session_idle = seconds(path, self.session_idle_seconds, default, 60, 7 * 24 * 3600)?;
        let HostMinimum {
            cpu_cores,
            cpu_frequency_mhz,
            memory_mb,
        } = HostMinimum::default();
        let minimum = self.minimum;
        Ok(HostsConfig {
            who: self.who,
            minimum: HostMinimum {
                cpu_cores: minimum.cpu_cores.unwrap_or(cpu_cores),
                cpu_frequency_mhz: minimum.cpu_frequency_mhz.unwrap_or(cpu_frequency_mhz),
                memory_mb: minimum.memory_mb.unwrap_or(memory_mb),
            },
            limits: FleetLimits {
                heartbeat,
                silent,
                ..FleetLimits::default()
            },
            session_idle,
        })
    }
}
