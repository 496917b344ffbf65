//! The label in front of the datagrams on a carrier.

use warp_protocol::carrier::{LABEL_LEN, Label, MAX_QUIC_PACKET, PathKind};

/// A label that was read prints the bytes that it was read from.
pub fn run(data: &[u8]) {
    let Some((label, packet)) = Label::split(data) else {
        // Refused are exactly: unknown kinds, datagrams without a packet, and those too long.
        let known = |byte: &u8| PathKind::ALL.iter().any(|kind| *kind as u8 == *byte);
        let fits = (LABEL_LEN + 1..=LABEL_LEN + MAX_QUIC_PACKET).contains(&data.len());
        assert!(!(fits && data.first().is_some_and(known)));
        return;
    };
    assert!((1..=MAX_QUIC_PACKET).contains(&packet.len()));
    assert_eq!([&label.to_bytes(), packet].concat(), data);
}
