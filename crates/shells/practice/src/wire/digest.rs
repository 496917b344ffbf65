//! The digest of one direction of one connection, with announced addresses left out.
//!
//! A bridge rewrites the addresses in 0AC4, 0AC5 and 0AC7 (and nothing else), so both ends zero
//! exactly those fields before hashing: IPv4 and port (6 bytes) and the 128-byte text field beside
//! them. Offsets: ro-protocol section 5.

use sha2::{Digest, Sha256};
use warp_ro_packet::PacketTable;

use super::{Head, head, id_of};
use crate::report::StreamReport;

/// Hashes a stream as it is sent or received, packet by packet.
///
/// Holds at most one incomplete packet (a packet's length is a `u16`). From the first bytes that
/// are no packet on, the stream is hashed as it is.
pub(crate) struct StreamDigest {
    table: &'static PacketTable,
    hasher: Sha256,
    bytes: u64,
    packets: u64,
    /// Raw bytes still to come before the first packet (the char server's account id).
    raw: usize,
    partial: Vec<u8>,
    unframed: bool,
}

impl StreamDigest {
    /// `raw` is the number of bytes before the first packet: 4 for char server to client, else 0.
    pub(crate) fn new(table: &'static PacketTable, raw: usize) -> Self {
        Self {
            table,
            hasher: Sha256::new(),
            bytes: 0,
            packets: 0,
            raw,
            partial: Vec::new(),
            unframed: false,
        }
    }

    /// Takes the next bytes of the stream, cut anywhere.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.raw > 0 {
            let (raw, rest) = bytes.split_at(self.raw.min(bytes.len()));
            self.hasher.update(raw);
            self.raw -= raw.len();
            bytes = rest;
        }
        if self.unframed {
            self.hasher.update(bytes);
            return;
        }
        self.partial.extend_from_slice(bytes);
        let mut start = 0;
        loop {
            let rest = self.partial.get(start..).unwrap_or(&[]);
            match head(self.table, rest) {
                Head::Whole(length) => {
                    let end = start + length;
                    if let Some(packet) = self.partial.get_mut(start..end) {
                        blank_addresses(packet);
                        self.hasher.update(&*packet);
                    }
                    self.packets += 1;
                    start = end;
                }
                Head::Unsure | Head::Part(_) => break,
                Head::Unknown(_) | Head::BadLength(_) => {
                    self.unframed = true;
                    self.hasher.update(rest);
                    start = self.partial.len();
                    break;
                }
            }
        }
        self.partial.drain(..start);
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The report; an incomplete packet at the end is hashed as it is.
    pub(crate) fn finish(mut self) -> StreamReport {
        self.hasher.update(&self.partial);
        StreamReport {
            bytes: self.bytes,
            packets: self.packets,
            sha256: hex::encode(self.hasher.finalize()),
        }
    }
}

/// Zeroes the address fields of a whole packet, if it has any.
fn blank_addresses(packet: &mut [u8]) {
    /// IPv4 (4), port (2), and for 0AC5/0AC7 the text (128) right behind them.
    const ZONE: std::ops::Range<usize> = 22..156;
    match id_of(packet) {
        Some(0x0AC4) => {
            for server in packet.get_mut(64..).unwrap_or(&mut []).chunks_mut(160) {
                for range in [0..6, 32..160] {
                    if let Some(field) = server.get_mut(range) {
                        field.fill(0);
                    }
                }
            }
        }
        Some(0x0AC5 | 0x0AC7) => {
            if let Some(field) = packet.get_mut(ZONE) {
                field.fill(0);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Packet, table};
    use proptest::prelude::*;

    fn digest(raw: usize, chunks: &[&[u8]]) -> StreamReport {
        let mut digest = StreamDigest::new(table().unwrap(), raw);
        for chunk in chunks {
            digest.feed(chunk);
        }
        digest.finish()
    }

    fn zone(id: u16, address: [u8; 4], port: u16, text: &str) -> Vec<u8> {
        Packet::new(id)
            .u32(1)
            .text("prontera.gat", 16)
            .bytes(&address)
            .u16(port)
            .text(text, 128)
            .done()
    }

    fn login(address: [u8; 4], port: u16, text: &str, users: u16) -> Vec<u8> {
        Packet::sized(0x0AC4)
            .zeros(60)
            .bytes(&address)
            .u16(port)
            .text("Practice", 20)
            .u16(users)
            .zeros(4)
            .text(text, 128)
            .finish()
    }

    #[test]
    fn rewritten_addresses_do_not_show_and_everything_else_does() {
        for id in [0x0AC5, 0x0AC7] {
            let here = zone(id, [10, 0, 0, 1], 5121, "");
            let there = zone(id, [127, 0, 0, 1], 40_000, "127.0.0.1:40000");
            assert_eq!(digest(0, &[&here]), digest(0, &[&there]));
            let mut other = here.clone();
            other[6] ^= 1;
            assert_ne!(digest(0, &[&here]).sha256, digest(0, &[&other]).sha256);
        }
        let here = login([10, 0, 0, 1], 6121, "", 3);
        assert_eq!(
            digest(0, &[&here]),
            digest(0, &[&login([127, 0, 0, 1], 9, "127.0.0.1:9", 3)])
        );
        assert_ne!(
            digest(0, &[&here]).sha256,
            digest(0, &[&login([10, 0, 0, 1], 6121, "", 4)]).sha256
        );
    }

    #[test]
    fn bytes_that_are_no_packet_are_hashed_as_they_are() {
        let report = digest(0, &[&[0x7d, 0x00, 0xff, 0xff, 1], &[2, 3]]);
        assert_eq!((report.bytes, report.packets), (7, 1));
        assert_eq!(
            report.sha256,
            hex::encode(Sha256::digest([0x7d, 0, 0xff, 0xff, 1, 2, 3]))
        );
        let report = digest(0, &[&[0x5f, 0x03, 1]]);
        assert_eq!((report.bytes, report.packets), (3, 0));
        assert_eq!(report.sha256, hex::encode(Sha256::digest([0x5f, 0x03, 1])));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(cuts in proptest::collection::vec(1usize..60, 0..40)) {
            let mut stream = vec![0x81, 0x84, 0x1e, 0x00];
            stream.extend(login([1, 2, 3, 4], 5, "x", 0));
            stream.extend(zone(0x0AC5, [1, 2, 3, 4], 5, "y"));
            stream.extend([0x7d, 0x00]);
            let whole = digest(4, &[&stream]);
            prop_assert_eq!(whole.packets, 3);
            let mut chunks = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts {
                let (chunk, tail) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            chunks.push(rest);
            prop_assert_eq!(digest(4, &chunks), whole);
        }
    }
}
