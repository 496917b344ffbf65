//! The packet that is measured.
//!
//! 20 bytes that frame in the table of client version 20211103: a chat line (id 00F3, variable, its
//! length at offset 2), so that the bridge reads the connection at its highest level. Behind the
//! head stand the packet's number and twelve bytes that follow from it.

use anyhow::{Result, ensure};

/// Bytes of a packet.
pub(crate) const SIZE: usize = 20;

/// The bytes of a packet.
pub(crate) type Packet = [u8; SIZE];

/// The packet with this number.
pub(crate) fn make(number: u32) -> Packet {
    let mut packet = [0; SIZE];
    packet[0..2].copy_from_slice(&0x00F3_u16.to_le_bytes());
    packet[2..4].copy_from_slice(&(SIZE as u16).to_le_bytes());
    packet[4..8].copy_from_slice(&number.to_le_bytes());
    // Any bytes will do that differ from packet to packet (the constant: Knuth's, 2^32 / phi).
    let mut word = number;
    for place in packet[8..].chunks_exact_mut(4) {
        word = word.wrapping_mul(0x9E37_79B1).wrapping_add(1);
        place.copy_from_slice(&word.to_le_bytes());
    }
    packet
}

/// Checks that `packet` is the one with this number, whole.
///
/// # Errors
/// It is another one, or damaged.
pub(crate) fn check(packet: &Packet, number: u32) -> Result<()> {
    ensure!(
        *packet == make(number),
        "packet {number} was expected and something else came: lost, doubled, out of order or damaged"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_differ_and_say_their_length() {
        let packet = make(7);
        assert_eq!(packet[..4], [0xF3, 0, 20, 0]);
        assert!(check(&packet, 7).is_ok());
        assert!(check(&packet, 8).is_err());
        let mut damaged = packet;
        damaged[19] ^= 1;
        assert!(check(&damaged, 7).is_err());
    }
}
