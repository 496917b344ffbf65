//! How QUIC is set up, and how its addresses and errors translate.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use noq_proto::{ConnectionError, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use warp_protocol::carrier::{MAX_QUIC_PACKET, PathKind, PathLabel};

use crate::LinkConfig;
use crate::acks::{Acks, Listening};
use crate::link::{CloseReason, LinkError};

/// Paths that may be open or draining at once.
const MAX_PATHS: u32 = 16;

pub(crate) fn endpoint_config(seed: [u8; 32]) -> Result<EndpointConfig, LinkError> {
    let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &seed);
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.rng_seed(Some(seed));
    config
        .max_udp_payload_size(MAX_QUIC_PACKET as u16)
        .map_err(|_| LinkError::Config)?;
    Ok(config)
}

/// Bytes of reports that wait to be sent or read: eight of the longest.
const REPORT_BUFFER: usize = 8 * warp_protocol::report::MAX_REPORT;

/// QUIC's numbers for one side.
pub(crate) fn transport(
    config: &LinkConfig,
    server: bool,
    acks: Acks,
) -> Result<TransportConfig, LinkError> {
    let hold = IdleTimeout::try_from(config.hold).map_err(|_| LinkError::Config)?;
    let streams = if server { config.max_streams } else { 0 };
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(hold))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(config.stream_window))
        .receive_window(VarInt::from_u32(config.session_window))
        .send_window(u64::from(config.session_window))
        // For the reports, one a second; a full buffer drops the oldest, which is old news.
        .datagram_receive_buffer_size(Some(REPORT_BUFFER))
        .datagram_send_buffer_size(REPORT_BUFFER)
        .initial_mtu(MAX_QUIC_PACKET as u16)
        .min_mtu(MAX_QUIC_PACKET as u16)
        .mtu_discovery_config(None)
        .enable_segmentation_offload(false)
        .max_concurrent_multipath_paths(MAX_PATHS)
        // Heartbeats are ours: QUIC's keep-alive is silenced by what is heard, and the answer to it
        // may come over another path.
        .default_path_keep_alive_interval(None)
        .default_path_max_idle_timeout(None)
        // A game sends so little that the two packets more of RFC 9002, 6.1.1 come late: the first later
        // acknowledgement counts as a loss. What was merely overtaken is sent twice; it counts as no loss
        // of the path (`packets`).
        .packet_threshold(1)
        .time_threshold(1.0)
        .congestion_controller_factory(Listening::new(acks))
        .initial_rtt(Duration::from_millis(100));
    Ok(transport)
}

/// fd57:4152:50::KIND, port 1024 + generation: unique local addresses that no interface has.
pub(crate) fn label_address(label: PathLabel) -> SocketAddr {
    let ip = Ipv6Addr::new(0xfd57, 0x4152, 0x50, 0, 0, 0, 0, label.kind as u16);
    SocketAddr::V6(SocketAddrV6::new(
        ip,
        1024 + u16::from(label.generation),
        0,
        0,
    ))
}

pub(crate) fn address_label(address: SocketAddr) -> Option<PathLabel> {
    let SocketAddr::V6(address) = address else {
        return None;
    };
    let kind = address.ip().segments()[7];
    let kind = PathKind::ALL
        .into_iter()
        .find(|known| *known as u16 == kind)?;
    let generation = u8::try_from(address.port().checked_sub(1024)?).ok()?;
    Some(PathLabel { kind, generation })
}

/// What QUIC's end of a connection means here.
pub(crate) fn close_reason(error: &ConnectionError) -> CloseReason {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            CloseReason::Peer(close.error_code.into_inner())
        }
        ConnectionError::LocallyClosed => CloseReason::Local,
        ConnectionError::TimedOut | ConnectionError::Reset => CloseReason::Lost,
        ConnectionError::TransportError(error) if is_crypto(u64::from(error.code)) => {
            CloseReason::Untrusted
        }
        ConnectionError::ConnectionClosed(close) if is_crypto(u64::from(close.error_code)) => {
            CloseReason::Untrusted
        }
        _ => CloseReason::Protocol,
    }
}

/// RFC 9000 20.1: CRYPTO_ERROR is 0x0100..=0x01ff.
fn is_crypto(code: u64) -> bool {
    (0x100..0x200).contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_addresses_round_trip() {
        for kind in PathKind::ALL {
            for generation in [0, 1, 255] {
                let label = PathLabel { kind, generation };
                assert_eq!(address_label(label_address(label)), Some(label));
            }
        }
    }
}
