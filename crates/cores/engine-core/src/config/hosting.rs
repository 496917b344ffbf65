//! `hosting`.

use serde::{Deserialize, Serialize};
use warp_host_core::Network;
use warp_protocol::hosting::{MAX_MEMBERS, MAX_ZONES};

use super::Wrong;

/// `hosting`: forwarding sealed datagrams of other players.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostingSection {
    /// Become a host with each sign-in.
    pub enabled: bool,
    /// Zones to serve, at most 16; empty: the one that is played.
    pub zones: Vec<String>,
    /// Players to carry at once, 1..=1000.
    pub max_players: u32,
    /// Upload to give, 1..=100000 Mbit/s. It is also what the coordinator is told that this machine
    /// has; nothing measures the line.
    pub upload_mbps: u32,
    /// Take no new players while a game runs here.
    pub not_while_playing: bool,
    /// Take new players only while this machine's address is of this network, `192.168.1.0/24`;
    /// empty: anywhere.
    pub only_on_network: String,
}

impl Default for HostingSection {
    fn default() -> Self {
        Self {
            enabled: false,
            zones: Vec::new(),
            max_players: 50,
            upload_mbps: 10,
            not_while_playing: false,
            only_on_network: String::new(),
        }
    }
}

impl HostingSection {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        let zones = self.zones.len() as u64;
        Wrong::unless_in("hosting.zones", zones, 0..=MAX_ZONES as u64)?;
        let players = u64::from(self.max_players);
        Wrong::unless_in("hosting.max_players", players, 1..=u64::from(MAX_MEMBERS))?;
        let upload = u64::from(self.upload_mbps);
        Wrong::unless_in("hosting.upload_mbps", upload, 1..=100_000)?;
        let network = &self.only_on_network;
        if !network.is_empty() && Network::parse(network).is_none() {
            let allowed = "an address and a length such as 192.168.1.0/24, or empty";
            return Err(Wrong::new("hosting.only_on_network", network, allowed));
        }
        Ok(())
    }

    /// `only_on_network`.
    pub fn network(&self) -> Option<Network> {
        Network::parse(&self.only_on_network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_networks_are_checked() {
        let good = HostingSection::default();
        assert!(good.check().is_ok());
        let wrong = |section: HostingSection| section.check().unwrap_err().key;
        let with = |change: &dyn Fn(&mut HostingSection)| {
            let mut section = good.clone();
            change(&mut section);
            section
        };
        assert!(
            with(&|it| it.only_on_network = "10.0.0.0/8".into())
                .check()
                .is_ok()
        );
        for (section, key) in [
            (with(&|it| it.max_players = 0), "hosting.max_players"),
            (with(&|it| it.max_players = 1001), "hosting.max_players"),
            (with(&|it| it.upload_mbps = 0), "hosting.upload_mbps"),
            (with(&|it| it.zones = vec!["z".into(); 17]), "hosting.zones"),
            (
                with(&|it| it.only_on_network = "home".into()),
                "hosting.only_on_network",
            ),
        ] {
            assert_eq!(wrong(section), key);
        }
    }
}
