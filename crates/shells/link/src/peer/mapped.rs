//! A port that the router opened, as a candidate for the other side.
//!
//! The library knows nothing of it: to it, what comes in through that port comes to the socket that
//! it bound. So the candidate is only told to the other side, which then has one more address to
//! try, and one that answers whatever the router's filtering is.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use serde_json::{Value, json};

/// Priority of a server-reflexive candidate with the best local preference: type preference 100,
/// component 1 (RFC 8445, section 5.1.2).
const PRIORITY: u32 = (100 << 24) | (65_535 << 8) | 255;

/// The port of the host candidate that `description` lists for `address` over UDP.
pub(crate) fn local_port(description: &str, address: Ipv4Addr) -> Option<(Ipv4Addr, NonZeroU16)> {
    let candidates = description
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("a=candidate:"));
    for candidate in candidates {
        // foundation, component, transport, priority, address, port, "typ", type (RFC 8839, 5.1)
        let fields: Vec<&str> = candidate.split_ascii_whitespace().take(8).collect();
        if let [_, _, transport, _, host, port, "typ", "host"] = fields[..]
            && transport.eq_ignore_ascii_case("udp")
            && host.parse() == Ok(address)
            && let Ok(port) = port.parse()
        {
            return Some((address, port));
        }
    }
    None
}

/// What is told to the other side: `outside` leads to `local`.
pub(crate) fn candidate(outside: SocketAddr, local: (Ipv4Addr, NonZeroU16)) -> Value {
    let (ip, port) = (outside.ip(), outside.port());
    let (local_ip, local_port) = local;
    json!({
        "candidate": format!(
            "candidate:mapped 1 udp {PRIORITY} {ip} {port} typ srflx raddr {local_ip} rport {local_port}"
        ),
        "sdpMid": "0",
        "sdpMLineIndex": 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_address_towards_the_router_is_taken() {
        let offer = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
                     a=candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host\r\n\
                     a=candidate:2 1 tcp 2130706431 10.0.0.2 4001 typ host tcptype passive\r\n\
                     a=candidate:3 1 udp 1694498815 10.0.0.2 4002 typ srflx raddr 10.0.0.2 rport 1\r\n\
                     a=candidate:4 1 udp 2130706431 fd00::1 4003 typ host\r\n\
                     a=candidate:5 1 UDP 2130706431 10.0.0.2 4004 typ host\r\n";
        let address = Ipv4Addr::new(10, 0, 0, 2);
        let found = local_port(offer, address).unwrap();
        assert_eq!((found.0, found.1.get()), (address, 4004));
        assert_eq!(local_port(offer, Ipv4Addr::new(10, 0, 0, 3)), None);
        assert_eq!(local_port("a=candidate:", address), None);
    }

    #[tokio::test]
    async fn the_other_side_takes_it() {
        let outside = "198.51.100.7:40000".parse().unwrap();
        let port = NonZeroU16::new(4004).unwrap();
        let candidate = candidate(outside, (Ipv4Addr::new(10, 0, 0, 2), port));
        let config = warp_link::peer::PeerConfig {
            include_loopback: true,
            ..Default::default()
        };
        let (offerer, _candidates) = warp_link::peer::Offerer::new(config).await.unwrap();
        offerer.create_offer().await.unwrap();
        // Kept until the answer, but read at once.
        offerer.add_remote_candidate(&candidate).await.unwrap();
        offerer.close().await;
    }
}
