//! Settings of a host.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use warp_host_core::Network;
use warp_protocol::hosting::MAX_MEMBERS;
use warp_protocol::rest::IceServer;

/// How a host is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct HostConfig {
    /// Its stable id: 1 to 64 of `A-Z a-z 0-9 - _ .`.
    pub host_id: String,
    /// Zones that it offers itself for, at least one.
    pub zones: Vec<String>,
    /// Members at once, 1 to [`MAX_MEMBERS`].
    pub max_players: u32,
    /// Upload that it gives, 10^6 bits a second, at least 1. It is what the coordinator is told of the
    /// network: nothing here measures what the line could do.
    pub upload_mbps: u32,
    /// It takes no new members while this machine is elsewhere.
    pub only_on_network: Option<Network>,
    /// STUN and TURN servers beside the coordinator's.
    pub ice_servers: Vec<IceServer>,
    /// Also offer the loopback address, for peers on the same machine.
    pub include_loopback: bool,
    /// Addresses to bind; empty means every usable address of this machine.
    pub bind: Vec<IpAddr>,
    /// How long a WebRTC connection may take to open.
    pub connect_timeout: Duration,
    /// How long members may take to be moved away before it ends.
    pub drain_limit: Duration,
}

impl HostConfig {
    /// With the defaults for everything else.
    pub fn new(host_id: impl Into<String>, zones: Vec<String>) -> Self {
        Self {
            host_id: host_id.into(),
            zones,
            max_players: 50,
            upload_mbps: 10,
            only_on_network: None,
            ice_servers: Vec::new(),
            include_loopback: false,
            bind: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            drain_limit: Duration::from_secs(20),
        }
    }

    /// Members at once, within what may be offered.
    pub(crate) fn members(&self) -> u32 {
        self.max_players.clamp(1, MAX_MEMBERS)
    }
}

/// Whether this machine would reach others from an address of this network. Nothing is sent.
pub(crate) fn is_here(network: &Network) -> bool {
    let (any, somewhere): (IpAddr, IpAddr) = if network.is_ipv4() {
        // TEST-NET-1 (RFC 5737): only asks which way would be taken.
        ([0, 0, 0, 0].into(), [192, 0, 2, 1].into())
    } else {
        // Documentation prefix (RFC 3849).
        let somewhere: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1];
        ([0_u16; 8].into(), somewhere.into())
    };
    let ours = UdpSocket::bind((any, 0))
        .and_then(|socket| socket.connect((somewhere, 9)).map(|()| socket))
        .and_then(|socket| socket.local_addr());
    ours.is_ok_and(|ours| network.has(ours.ip()))
}
