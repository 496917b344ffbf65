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
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HostsConfig {
    /// Who may.
    pub who: HostsWho,
    /// What a machine needs in every zone.
    pub minimum: HostMinimum,
    /// Times and bounds.
    pub limits: FleetLimits,
}

/// `hosts` in the file.
#[derive(Default, Deserialize)]
pub(crate) struct HostsPart {
    #[serde(default)]
    who: HostsWho,
    pub(crate) heartbeat_seconds: Option<u64>,
    pub(crate) silent_seconds: Option<u64>,
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
    /// With times that were checked.
    pub(crate) fn with_times(self, heartbeat: Duration, silent: Duration) -> HostsConfig {
        let HostMinimum {
            cpu_cores,
            cpu_frequency_mhz,
            memory_mb,
        } = HostMinimum::default();
        let minimum = self.minimum;
        HostsConfig {
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
        }
    }
}
