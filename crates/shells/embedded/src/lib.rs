//! A whole house on this machine: coordinator with its endpoint, one zone, and the practice game.
//!
//! What a launcher starts when it was given no coordinator, so that Play works before anybody has
//! set anything up. Everything listens on the loopback, on free ports;
//! the coordinator on the one of last time.

use std::path::Path;

use warp_coordinator::{Coordinator, CoordinatorConfig, Running};
use warp_practice::server::{Server, ServerConfig};
use warp_protocol::zone::{GameServer, ZoneFile};

/// File of the data folder with the port of last time.
const PORT_FILE: &str = "port";

/// Id of the one zone.
pub const ZONE_ID: &str = "practice";

/// The house cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The practice game server did not start.
    #[error("the practice game server did not start: {0}")]
    Practice(#[source] std::io::Error),
    /// The coordinator did not start.
    #[error("the embedded coordinator did not start: {0}")]
    Coordinator(#[from] warp_coordinator::StartError),
    /// The zone could not be stored.
    #[error("the practice zone could not be stored: {0}")]
    Zone(#[from] warp_coordinator::AdminError),
}

/// The running house.
pub struct Embedded {
    running: Running,
    practice: Server,
}

impl Embedded {
    /// Opens it; accounts are kept in `data_dir`.
    ///
    /// # Errors
    /// See [`EmbeddedError`].
    pub async fn start(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let practice = Server::start(ServerConfig::loopback())
            .await
            .map_err(EmbeddedError::Practice)?;
        let config = |port| CoordinatorConfig {
            listen: ([127, 0, 0, 1], port).into(),
            data_dir: data_dir.to_owned(),
            ..CoordinatorConfig::default()
        };
        // Kept sign-ins are filed under its address: it is the one of last time, where that is free.
        let file = data_dir.join(PORT_FILE);
        let last = std::fs::read_to_string(&file).unwrap_or_default();
        let last = last.trim().parse().unwrap_or(0);
        let running = match Coordinator::start(config(last)).await {
            Err(error) if last != 0 => {
                tracing::info!(port = last, %error, "the embedded coordinator takes another port");
                Coordinator::start(config(0)).await?
            }
            started => started?,
        };
        if let Err(error) = std::fs::write(&file, running.addr.port().to_string()) {
            tracing::warn!(file = %file.display(), %error, "the port is not kept");
        }
        running.put_zone(&zone(&practice)).await?;
        Ok(Self { running, practice })
    }

    /// Base of the coordinator's REST routes.
    pub fn rest_api_url(&self) -> String {
        format!("{}/api/v1", self.running.url)
    }

    /// The coordinator, for accounts and further zones.
    pub fn coordinator(&self) -> &Running {
        &self.running
    }

    /// Closes everything.
    pub async fn shutdown(self) {
        self.running.shutdown().await;
        self.practice.shutdown().await;
    }
}

fn zone(practice: &Server) -> ZoneFile {
    let mut map = vec![practice.map_addr()];
    map.extend(practice.map2_addr());
    ZoneFile {
        zone_id: ZONE_ID.into(),
        zone_name: "Practice".into(),
        zone_display_name: "Practice grounds".into(),
        map_name: "prontera".into(),
        maps: vec!["prontera".into(), "izlude".into(), "geffen".into()],
        max_players: 100,
        recommended_players: 50,
        p2p_enabled: true,
        p2p_priority: 1,
        fallback_enabled: true,
        min_host_quality_score: 7.0,
        min_bandwidth_mbps: 5,
        max_latency_ms: 100,
        description: Some(
            "A small game world on this machine, for trying the launcher without a server.".into(),
        ),
        fallback_zone: None,
        plain_tcp: None,
        hosted: None,
        game: GameServer {
            packet_version: 20211103,
            level: Default::default(),
            login: practice.login_addr(),
            char: vec![practice.char_addr()],
            map,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_its_address_from_start_to_start_where_that_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let house = Embedded::start(folder.path()).await.unwrap();
            assert!(house.rest_api_url().starts_with("http://127.0.0.1:"));
            addresses.push(house.running.addr);
            house.shutdown().await;
        }
        assert_eq!(addresses[0], addresses[1]);
        let _taken = std::net::TcpListener::bind(addresses[0]).unwrap();
        let house = Embedded::start(folder.path()).await.unwrap();
        assert_ne!(house.running.addr, addresses[0]);
        house.shutdown().await;
    }
}
