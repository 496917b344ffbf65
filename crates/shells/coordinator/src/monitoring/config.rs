//! `monitoring` in the configuration.

use std::net::IpAddr;

use serde::Deserialize;
use warp_protocol::Secret;

/// Shortest token that is taken, bytes.
pub(crate) const MIN_TOKEN: usize = 16;

/// Who may see the figures.
#[derive(Debug, Clone, Default)]
pub struct MonitoringConfig {
    /// Who shows it as `Authorization: Bearer` may read the metrics, from anywhere. At least 16 bytes.
    pub token: Option<Secret>,
    /// Who calls from one of these addresses may read the metrics.
    pub allow: Vec<IpAddr>,
    /// Who calls from this machine may see the dashboard without signing in.
    pub open_on_loopback: bool,
}

/// `monitoring` in the file.
#[derive(Default, Deserialize)]
pub(crate) struct MonitoringPart {
    token: Option<Secret>,
    #[serde(default)]
    allow: Vec<IpAddr>,
    #[serde(default)]
    open_on_loopback: bool,
}

impl MonitoringPart {
    /// # Errors
    /// The path of what is wrong, and what is allowed.
    pub(crate) fn checked(self) -> Result<MonitoringConfig, (&'static str, String)> {
        let token = self.token.as_ref().map(|token| token.reveal().len());
        if token.is_some_and(|length| length < MIN_TOKEN) {
            let allowed = format!("a token has at least {MIN_TOKEN} characters");
            return Err(("monitoring.token", allowed));
        }
        Ok(MonitoringConfig {
            token: self.token,
            allow: self.allow,
            open_on_loopback: self.open_on_loopback,
        })
    }
}
