//! What a host needs of the coordinator, and of who it is there.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use warp_link::peer::PortOpener;
use warp_link::websocket::{ConnectError, WsTarget};
use warp_link_core::{Identity, Trust};
use warp_protocol::Problem;
use warp_protocol::hosting::{HostGrant, HostHeartbeat, HostRegister};
use warp_protocol::zone::ZoneView;

/// The device key with its certificate, and whom to believe.
#[derive(Debug, Clone)]
pub struct Certified {
    /// The key.
    pub identity: Identity,
    /// Its certificate, hex.
    pub certificate: String,
    /// Belief in the coordinator's key.
    pub trust: Trust,
    /// The coordinator's clock, unix seconds.
    pub now: u64,
}

/// The coordinator, as one account sees it. Access tokens are renewed behind it.
#[async_trait]
pub trait Access: Send + Sync + 'static {
    /// The device key with a certificate that is good now.
    async fn certified(&self) -> Result<Certified, Problem>;
    /// The coordinator's clock, unix seconds; `None` before it has proven itself.
    fn unix_now(&self) -> Option<u64>;
    /// GET zones/.
    async fn zones(&self) -> Result<Vec<ZoneView>, Problem>;
    /// POST hosts/register.
    async fn register(&self, body: &HostRegister) -> Result<HostGrant, Problem>;
    /// POST hosts/{host_id}/heartbeat.
    async fn heartbeat(&self, host_id: &str, body: &HostHeartbeat) -> Result<(), Problem>;
    /// POST hosts/{host_id}/drain.
    async fn drain(&self, host_id: &str) -> Result<(), Problem>;
    /// DELETE hosts/{host_id}: it goes, whatever it carries.
    async fn leave(&self, host_id: &str) -> Result<(), Problem>;
    /// The signaling socket of a place.
    fn signaling_target(&self, peer_id: &str, session_id: &str) -> WsTarget;
    /// The link socket of a place.
    fn link_target(&self, session_id: &str) -> Result<WsTarget, ConnectError>;
    /// Counts up when this machine is on another network, or has slept: sockets of before may be dead
    /// without a word.
    fn network(&self) -> watch::Receiver<u64>;
    /// Who has the router open ports for members; none: nobody is asked.
    fn ports(&self) -> Option<Arc<dyn PortOpener>>;
    /// A socket was refused for its token: gets a new one.
    async fn renew_token(&self) -> Result<(), Problem>;
}

/// Waits until the network is another one.
pub(crate) async fn changed(network: &mut watch::Receiver<u64>) {
    if network.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
