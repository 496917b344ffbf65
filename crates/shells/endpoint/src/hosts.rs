//! Hosts at the endpoint: who may bring forwarded datagrams, and which member's they are.
//!
//! A host has one carrier to the endpoint, over WebRTC or, where no UDP passes, a WebSocket. What comes
//! over it begins with the epoch of a lease and a slot ([`warp_protocol::hosting`]); the route of that
//! slot says which session's link takes it, and as which way. What has no route, or another epoch than
//! its route, is dropped and counted.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde::Serialize;
use warp_protocol::carrier::PathKind;
use warp_protocol::rest::IceServer;

use warp_link::Carrier;

use crate::config::{AttachRefused, CertifiedDevice, GrantRefused, SignalPort};
use crate::endpoint::Endpoint;

/// Routes of one host at most; as many members as a host may offer to carry, twice, because an old
/// route may stay a moment beside the new one.
const MAX_ROUTES: usize = 2 * warp_protocol::hosting::MAX_MEMBERS as usize;

/// A host that may connect.
#[derive(Debug, Clone)]
pub struct HostGrantSpec {
    /// The host's own room, as the coordinator names it.
    pub session_id: String,
    /// Public key of the host: Ed25519 SubjectPublicKeyInfo in DER.
    pub device_key: Vec<u8>,
    /// The certificate of that key, with the right to host.
    pub certified: CertifiedDevice,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
}

/// Which session a host's slot belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// The host's own room.
    pub host: String,
    /// The slot.
    pub slot: u32,
    /// Epoch of the lease; a datagram of another is refused.
    pub epoch: u32,
    /// The member's session.
    pub session_id: String,
    /// As which way of the session.
    pub way: PathKind,
}

/// A route was not taken; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteRefused {
    /// The host was not granted.
    #[error("the endpoint knows no such host")]
    UnknownHost,
    /// The session was not granted.
    #[error("the endpoint has no such session")]
    UnknownSession,
    /// The way is not a host's.
    #[error("that way does not lead over a host")]
    NotAHostWay,
    /// The host has as many routes as it may have.
    #[error("the host has as many members as it may have")]
    TooManyRoutes,
}

/// What a host has brought and taken, since it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct HostTraffic {
    /// Datagrams from members.
    pub up: u64,
    /// Bytes of those, without the heads.
    pub up_bytes: u64,
    /// Datagrams to members.
    pub down: u64,
    /// Bytes of those, without the heads.
    pub down_bytes: u64,
    /// Refused: the slot has no route.
    pub unrouted: u64,
    /// Refused: of another epoch than its route.
    pub stale: u64,
    /// Refused: not a forwarded datagram.
    pub malformed: u64,
}

/// One host: what may pass, by slot.
#[derive(Debug, Default)]
struct Host {
    routes: HashMap<u32, HostRoute>,
    traffic: HostTraffic,
}

/// All hosts of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    by_room: Mutex<HashMap<String, Host>>,
}

impl Endpoint {
    /// Lets a host connect. Returns the endpoint's place in the host's signaling room.
    ///
    /// # Errors
    /// [`GrantRefused`]; nothing has changed then.
    pub fn grant_host(&self, spec: HostGrantSpec) -> Result<SignalPort, GrantRefused> {
        let _ = spec;
        Err(GrantRefused::ShuttingDown)
    }

    /// Gives a host a carrier over a WebSocket, which must have proven whose it is.
    ///
    /// # Errors
    /// [`AttachRefused`]; the carrier is closed.
    pub fn attach_host_wss(&self, host: &str, carrier: Carrier) -> Result<(), AttachRefused> {
        let _ = (host, carrier);
        Err(AttachRefused::UnknownSession)
    }

    /// Routes a slot of a host to a session. The same slot again replaces its route, which is how an
    /// epoch changes.
    ///
    /// # Errors
    /// [`RouteRefused`]; nothing has changed then.
    pub fn route(&self, route: HostRoute) -> Result<(), RouteRefused> {
        let mut hosts = self.hosts().by_room.lock();
        let host = hosts
            .get_mut(&route.host)
            .ok_or(RouteRefused::UnknownHost)?;
        if host.routes.len() >= MAX_ROUTES {
            return Err(RouteRefused::TooManyRoutes);
        }
        host.routes.insert(route.slot, route);
        Ok(())
    }

    /// Takes a route away: what still comes is refused.
    pub fn unroute(&self, host: &str, slot: u32) {
        if let Some(host) = self.hosts().by_room.lock().get_mut(host) {
            host.routes.remove(&slot);
        }
    }

    /// Ends a host: its routes and its carriers.
    pub fn end_host(&self, host: &str) {
        self.hosts().by_room.lock().remove(host);
    }

    /// What each host has brought and taken, in no order.
    pub fn host_traffic(&self) -> Vec<(String, HostTraffic)> {
        let hosts = self.hosts().by_room.lock();
        hosts
            .iter()
            .map(|(room, host)| (room.clone(), host.traffic))
            .collect()
    }
}
