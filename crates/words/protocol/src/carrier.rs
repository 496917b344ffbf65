//! The label in front of every datagram on a carrier.
//!
//! To QUIC each path is a made-up socket address; which carrier takes a datagram is decided by the
//! session link, and it may be another carrier than the path's own, or two at once. So each
//! datagram says which path it belongs to:
//!
//! ```text
//! byte 0   path kind (PathKind as u8)
//! byte 1   generation: counts up, wrapping, each time a path of that kind is opened anew
//! byte 2.. one QUIC packet, at most 1200 bytes
//! ```

use serde::{Deserialize, Serialize};

/// Bytes in front of the QUIC packet.
pub const LABEL_LEN: usize = 2;
/// Largest QUIC packet that a carrier is asked to take, bytes.
pub const MAX_QUIC_PACKET: usize = 1200;
/// Largest datagram on a carrier, bytes.
pub const MAX_CARRIER_DATAGRAM: usize = LABEL_LEN + MAX_QUIC_PACKET;

/// The ways from engine to endpoint.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ts_rs::TS,
)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum PathKind {
    /// WebRTC data channel straight to the endpoint.
    Direct = 1,
    /// WebRTC data channel to the zone's host, which forwards.
    Host = 2,
    /// WebSocket to the endpoint.
    Wss = 3,
}

impl PathKind {
    /// Every kind, best first when nothing is known yet.
    pub const ALL: [PathKind; 3] = [PathKind::Direct, PathKind::Host, PathKind::Wss];

    /// The name used in events, configuration and the console.
    pub fn name(self) -> &'static str {
        match self {
            PathKind::Direct => "direct",
            PathKind::Host => "host",
            PathKind::Wss => "wss",
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

impl std::fmt::Display for PathKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Which path a datagram belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathLabel {
    /// The way.
    pub kind: PathKind,
    /// Which opening of that way.
    pub generation: u8,
}

impl PathLabel {
    /// The two bytes in front of a datagram.
    pub fn to_bytes(self) -> [u8; LABEL_LEN] {
        [self.kind as u8, self.generation]
    }

    /// Splits a carrier datagram into its label and the QUIC packet.
    ///
    /// `None` for an unknown kind, for a datagram without a packet, and for one that is too long.
    pub fn split(datagram: &[u8]) -> Option<(Self, &[u8])> {
        if datagram.len() > MAX_CARRIER_DATAGRAM {
            return None;
        }
        let (label, packet) = datagram.split_at_checked(LABEL_LEN)?;
        if packet.is_empty() {
            return None;
        }
        let kind = PathKind::from_byte(*label.first()?)?;
        let generation = *label.get(1)?;
        Some((Self { kind, generation }, packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_round_trips_and_refuses_what_it_does_not_know() {
        for kind in PathKind::ALL {
            let label = PathLabel {
                kind,
                generation: 7,
            };
            let mut datagram = label.to_bytes().to_vec();
            datagram.extend_from_slice(b"quic");
            assert_eq!(PathLabel::split(&datagram), Some((label, &b"quic"[..])));
        }
        assert_eq!(PathLabel::split(&[9, 0, 1]), None);
        assert_eq!(PathLabel::split(&[1, 0]), None);
        assert_eq!(PathLabel::split(&[1]), None);
        assert_eq!(PathLabel::split(&[1; MAX_CARRIER_DATAGRAM + 1]), None);
    }
}
