//! What a peer connection is made with, and the numbers that were tuned.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rtc::ice::mdns::MulticastDnsMode;
use warp_peer_core::{Channel, OutboxConfig, wire};
use warp_protocol::rest::IceServer;
use webrtc::data_channel::RTCDataChannelInit;
use webrtc::peer_connection::{
    RTCConfiguration, RTCConfigurationBuilder, RTCIceServer, SettingEngine, SettingEngineBuilder,
};

use super::error::PeerError;
use super::mapped::PortOpener;
use super::signaling::MAX_REMOTE_CANDIDATES;
use crate::carrier::MAX_DATAGRAM;

/// SCTP packet size: a datagram of [`MAX_DATAGRAM`] bytes with the peer layer's header (1 byte), the
/// common header (12 bytes) and the DATA chunk header (16 bytes; RFC 9260, sections 3.1 and 3.3.1) in
/// one packet. SCTP pads to four bytes. With DTLS (37), UDP (8) and IPv6 (40) around it, 1,397 bytes
/// are the most that goes on the wire, and 1,321 for the 1,202 bytes that the session link really
/// sends.
pub const SCTP_MTU: u32 = (MAX_DATAGRAM + wire::HEADER).next_multiple_of(4) as u32 + 28;

/// What of the unreliable channel may wait inside SCTP, bytes. Beyond it our own queues fill, and then
/// drop.
pub(super) const SEND_BUFFER: usize = 128 * 1024;

/// What of one channel may wait inside SCTP by the library's own count, bytes. Never reached: reliable
/// and file are held at the pacer's window (4 MiB), control at its credit.
pub(super) const LIBRARY_SEND_BUFFER: usize = 8 * 1024 * 1024;

/// SCTP's receive window, bytes; memory is used by what arrives only. Larger than all credit that a
/// peer has (6.3 MiB), because the library tells nobody when a window that was used up is free again:
/// its peer would wait for a probe, up to a minute. This is what made bulk from a browser hang.
const RECEIVE_BUFFER: u32 = 8 * 1024 * 1024;

/// Size asked for each UDP socket's kernel buffers, bytes; the kernel may grant less.
pub(super) const SOCKET_BUFFER: usize = 2 * 1024 * 1024;

/// Connectivity checks while connecting: how often each pair is tried, and how many times. How many
/// pairs there are is bounded by [`MAX_LOCAL_ADDRESSES`] and [`MAX_REMOTE_CANDIDATES`]. The
/// library does not answer to events by itself here, so the interval bounds the set-up time; the
/// product (3 s) bounds how late the other side may start to answer, for instance behind a NAT that
/// only lets answers in.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);
const CHECKS_PER_PAIR: u16 = 300;

/// How long better ways are waited for before a worse one is taken: one through a NAT, one that
/// was learnt from a check, one over a relay. The library waits 0.5, 1 and 2 seconds.
const SRFLX_WAIT: Duration = Duration::from_millis(150);
const PRFLX_WAIT: Duration = Duration::from_millis(50);
const RELAY_WAIT: Duration = Duration::from_millis(500);

/// ICE's own view of a silent peer. The session link judges silence far earlier; this only decides
/// when the connection is given up and freed.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
const FAILED_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE: Duration = Duration::from_secs(2);

/// See [`PeerConfig::given_up_after`]. SCTP backs off when it loses what it sends again: two of its
/// timeouts in a row are 3 s of silence on a way that works, three are 7 s.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10);

/// How many local addresses are used at most; each costs a socket and a candidate.
const MAX_LOCAL_ADDRESSES: usize = 10;

/// How many of them are offered as a NAT shows them, and over how many relays, so that none of them
/// is crowded out at the other side.
pub(super) const MAX_REFLEXIVE: usize = 3;
pub(super) const MAX_RELAYED: usize = 2;

/// One more is a port that was mapped at the router.
const _: () = assert!(MAX_LOCAL_ADDRESSES + MAX_REFLEXIVE + MAX_RELAYED < MAX_REMOTE_CANDIDATES);

/// What a peer connection is made with.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// STUN and TURN servers. TURN works over UDP only; other URLs are passed over.
    pub ice_servers: Vec<IceServer>,
    /// Also offer the loopback address, for two peers on one machine.
    pub include_loopback: bool,
    /// Addresses to bind; empty means every usable address of this machine.
    pub bind: Vec<IpAddr>,
    /// How long [`super::Peer::opened`] and [`super::Peer::channels`] wait.
    pub connect_timeout: Duration,
    /// After this long without anything from the other side a connection whose channels are used is
    /// given up.
    pub given_up_after: Duration,
    /// Queues, batching and compression of the four channels.
    pub outbox: OutboxConfig,
    /// Has the router open a port for it; none: nobody is asked.
    pub ports: Option<Arc<dyn PortOpener>>,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            ice_servers: Vec::new(),
            include_loopback: false,
            bind: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            given_up_after: GIVEN_UP_AFTER,
            outbox: OutboxConfig::default(),
            ports: None,
        }
    }
}

impl PeerConfig {
    /// The addresses to bind, each with port 0, at least one.
    pub(super) fn local_addresses(&self) -> Result<Vec<SocketAddr>, PeerError> {
        let mut addresses = if self.bind.is_empty() {
            self.interface_addresses()
        } else {
            self.bind.clone()
        };
        if self.include_loopback {
            addresses.insert(0, IpAddr::from([127, 0, 0, 1]));
        }
        let mut usable: Vec<SocketAddr> = Vec::new();
        for address in addresses {
            let address = SocketAddr::new(address, 0);
            // An address may be listed and still not be usable (IPv6 being checked for duplicates).
            if !usable.contains(&address) && UdpSocket::bind(address).is_ok() {
                usable.push(address);
            }
        }
        usable.truncate(MAX_LOCAL_ADDRESSES);
        if usable.is_empty() {
            return Err(PeerError::NoLocalAddress);
        }
        Ok(usable)
    }

    fn interface_addresses(&self) -> Vec<IpAddr> {
        let interfaces = rtc::shared::ifaces::ifaces().unwrap_or_else(|error| {
            tracing::warn!(%error, "the machine's addresses cannot be listed");
            Vec::new()
        });
        interfaces
            .into_iter()
            .filter_map(|interface| interface.addr)
            .map(|address| address.ip())
            .filter(|ip| !ip.is_loopback() && !ip.is_unspecified() && !is_link_local(*ip))
            .collect()
    }

    pub(super) fn rtc_configuration(&self) -> RTCConfiguration {
        let servers = self
            .ice_servers
            .iter()
            .map(|server| RTCIceServer {
                urls: server.urls.clone(),
                username: server.username.clone().unwrap_or_default(),
                credential: server
                    .credential
                    .as_ref()
                    .map(|credential| credential.reveal().to_owned())
                    .unwrap_or_default(),
            })
            .collect();
        RTCConfigurationBuilder::default()
            .with_ice_servers(servers)
            .build()
    }

    pub(super) fn settings(&self) -> SettingEngine {
        SettingEngineBuilder::new()
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_include_loopback_candidate(self.include_loopback)
            .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS_PER_PAIR))
            .with_ice_timeouts(
                Some(DISCONNECTED_AFTER),
                Some(FAILED_AFTER),
                Some(KEEPALIVE),
            )
            .with_srflx_acceptance_min_wait(Some(SRFLX_WAIT))
            .with_prflx_acceptance_min_wait(Some(PRFLX_WAIT))
            .with_relay_acceptance_min_wait(Some(RELAY_WAIT))
            // A restart is for another network: the sockets of the old one are of no use.
            .with_discard_local_candidates_during_ice_restart(true)
            .with_sctp_mtu(SCTP_MTU)
            .with_sctp_max_receive_buffer_size(RECEIVE_BUFFER)
            .build()
    }
}

/// The addresses to bind as they are at each time that the library binds: when it begins, and when ICE
/// is restarted.
pub(super) struct Addresses(pub(super) PeerConfig);

impl ToSocketAddrs for Addresses {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let addresses = self.0.local_addresses().map_err(io::Error::other)?;
        Ok(addresses.into_iter())
    }
}

/// How the library makes a channel; the other side makes it in the same way.
pub(super) fn channel(channel: Channel) -> RTCDataChannelInit {
    RTCDataChannelInit {
        ordered: channel.is_reliable(),
        max_packet_life_time: None,
        max_retransmits: (!channel.is_reliable()).then_some(0),
        protocol: String::new(),
        negotiated: Some(channel.id()),
    }
}

/// `169.254/16` (RFC 3927) and `fe80::/10` (RFC 4291): an IPv6 one needs a scope, which a candidate
/// cannot carry.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_bound_only_when_asked_for() {
        let with = PeerConfig {
            include_loopback: true,
            ..PeerConfig::default()
        };
        let addresses = with.local_addresses().unwrap();
        assert_eq!(addresses[0], SocketAddr::from(([127, 0, 0, 1], 0)));
        let without = PeerConfig::default().local_addresses().unwrap_or_default();
        assert!(without.iter().all(|address| !address.ip().is_loopback()));
    }

    #[test]
    fn an_address_of_somebody_else_is_no_local_address() {
        let config = PeerConfig {
            // TEST-NET-1 (RFC 5737), never assigned.
            bind: vec![IpAddr::from([192, 0, 2, 1])],
            ..PeerConfig::default()
        };
        let error = config.local_addresses().unwrap_err();
        assert_eq!(error.code(), "p2p-no-local-address");
    }
}
