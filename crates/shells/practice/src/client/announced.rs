//! The server addresses that packets announce.

use std::net::{SocketAddr, SocketAddrV4};

use crate::wire::{Dialect, Fields, id_of};

/// A server address that a packet announces.
pub(super) struct Announced {
    /// The IPv4 and port fields.
    pub(super) binary: SocketAddrV4,
    /// Where to go: the text field if there is one and it is filled, else the binary ones.
    pub(super) address: SocketAddr,
    /// The packet with its text field zeroed.
    pub(super) plain: Vec<u8>,
}

impl Announced {
    /// The first address of a packet. `None` if it announces none or is too short for it, or if
    /// the text field is filled with anything but `host:port` and zeros.
    pub(super) fn of(dialect: &Dialect, frame: &[u8]) -> Option<Self> {
        let announcing = &dialect.facts.announcing;
        let (at, text) = announcing.places(id_of(frame)?)?;
        let fields = Fields(frame);
        let mut plain = frame.to_vec();
        let field = plain.get_mut(text..text + announcing.text)?;
        let written = fields.text(text, announcing.text);
        let binary = SocketAddrV4::new(fields.array::<4>(at).into(), fields.u16(at + 4));
        if field.iter().skip(written.len()).any(|byte| *byte != 0) {
            return None;
        }
        let address = if written.is_empty() {
            binary.into()
        } else {
            std::str::from_utf8(written).ok()?.parse().ok()?
        };
        field.fill(0);
        Some(Self {
            binary,
            address,
            plain,
        })
    }
}
