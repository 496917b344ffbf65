//! The label in front of every datagram on a carrier.
//!
//! To QUIC each path is a made-up socket address; which carrier takes a datagram is decided by the
//! session link, and it may be another carrier than the path's own, or two at once. So each
//! datagram says which path it belongs to. And because QUIC sees of a carrier only what it did not
//! send twice, the datagram also carries what both ends need to measure the carrier itself:
//!
//! ```text
//! byte 0     path kind (PathKind as u8)
//! byte 1     generation: counts up, wrapping, each time a path of that kind is opened anew
//! byte 2..4  number: counts the datagrams of this carrier and direction, copies too, wrapping
//! byte 4..7  sent: the sender's clock, microseconds, wrapping at 2^24 (16.8 s)
//! byte 7..10 echo: the newest `sent` that came the other way, plus how long it has been held;
//!            0: none, or it was told before
//! byte 10..  one QUIC packet, at most 1200 bytes
//! ```
//!
//! Integers are big-endian. The label is not sealed: whoever forwards a carrier can falsify what is
//! measured of it, and nothing else.

use serde::{Deserialize, Serialize};

/// Bytes in front of the QUIC packet.
pub const LABEL_LEN: usize = 10;
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PathKind {
    /// WebRTC data channel straight to the endpoint.
    Direct = 1,
    /// WebRTC data channel to the zone's host, which forwards.
    Host = 2,
    /// WebSocket to the endpoint.
    Wss = 3,
    /// As `Host`, by the way of another host: a session may be given two.
    #[serde(rename = "host-2")]
    Host2 = 4,
    /// TCP from this machine to the game servers themselves, without the endpoint: the last resort. It is
    /// the path of a link within the launcher, and no datagram of it leaves the machine.
    Tcp = 5,
}

impl PathKind {
    /// Every kind, best first when nothing is known yet.
    pub const ALL: [PathKind; 5] = [
        PathKind::Direct,
        PathKind::Host,
        PathKind::Host2,
        PathKind::Wss,
        PathKind::Tcp,
    ];

    /// The name used in events, configuration and the console.
    pub fn name(self) -> &'static str {
        match self {
            PathKind::Direct => "direct",
            PathKind::Host => "host",
            PathKind::Host2 => "host-2",
            PathKind::Wss => "wss",
            PathKind::Tcp => "tcp",
        }
    }

    /// Whether the way leads through a volunteer.
    pub fn is_host(self) -> bool {
        matches!(self, PathKind::Host | PathKind::Host2)
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
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

/// Microseconds are counted modulo this.
pub const CLOCK_WRAP: u32 = 1 << 24;

/// What a datagram says for measuring its carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Counts the datagrams of the carrier and direction, wrapping.
    pub number: u16,
    /// The sender's clock, microseconds, below [`CLOCK_WRAP`].
    pub sent: u32,
    /// The other side's clock as it must be now by what was heard last, microseconds, 1 to
    /// [`CLOCK_WRAP`]` - 1`; `None`: nothing new was heard.
    pub echo: Option<u32>,
}

/// The label: which path, and the stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Which path.
    pub path: PathLabel,
    /// For measuring.
    pub stamp: Stamp,
}

impl Label {
    /// The bytes in front of a datagram. Of the clocks only the lower 24 bits are told.
    pub fn to_bytes(self) -> [u8; LABEL_LEN] {
        let Self { path, stamp } = self;
        let [n0, n1] = stamp.number.to_be_bytes();
        let [_, s0, s1, s2] = stamp.sent.to_be_bytes();
        let [_, e0, e1, e2] = stamp.echo.unwrap_or_default().to_be_bytes();
        let kind = path.kind as u8;
        [kind, path.generation, n0, n1, s0, s1, s2, e0, e1, e2]
    }

    /// Splits a carrier datagram into its label and the QUIC packet.
    ///
    /// `None` for an unknown kind, for a datagram without a packet, and for one that is too long.
    pub fn split(datagram: &[u8]) -> Option<(Self, &[u8])> {
        if datagram.len() > MAX_CARRIER_DATAGRAM {
            return None;
        }
        let (label, packet) = datagram.split_first_chunk::<LABEL_LEN>()?;
        if packet.is_empty() {
            return None;
        }
        let [kind, generation, n0, n1, s0, s1, s2, e0, e1, e2] = *label;
        let kind = PathKind::from_byte(kind)?;
        let echo = u32::from_be_bytes([0, e0, e1, e2]);
        let stamp = Stamp {
            number: u16::from_be_bytes([n0, n1]),
            sent: u32::from_be_bytes([0, s0, s1, s2]),
            echo: (echo != 0).then_some(echo),
        };
        let path = PathLabel { kind, generation };
        Some((Self { path, stamp }, packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_round_trips_and_refuses_what_it_does_not_know() {
        for kind in PathKind::ALL {
            let path = PathLabel {
                kind,
                generation: 7,
            };
            for echo in [None, Some(1), Some(CLOCK_WRAP - 1)] {
                let stamp = Stamp {
                    number: 0xa1b2,
                    sent: 0x00c3_d4e5,
                    echo,
                };
                let label = Label { path, stamp };
                let mut datagram = label.to_bytes().to_vec();
                datagram.extend_from_slice(b"quic");
                assert_eq!(Label::split(&datagram), Some((label, &b"quic"[..])));
            }
        }
        assert_eq!(Label::split(&[9; LABEL_LEN + 1]), None, "kind");
        assert_eq!(Label::split(&[1; LABEL_LEN]), None, "no packet");
        assert_eq!(Label::split(&[1]), None, "too short");
        assert_eq!(Label::split(&[1; MAX_CARRIER_DATAGRAM + 1]), None);
    }
}
