//! The digest of one direction of one connection, with announced addresses left out.
//!
//! A bridge rewrites the addresses in 0AC4, 0AC5 and 0AC7 (or 0069, 0071 and 0092, and nothing
//! else), so both ends zero exactly those fields before hashing: IPv4 and port (6 bytes) and the
//! text field that goes with them. Offsets: ro-protocol section 5.

use sha2::{Digest, Sha256};

use super::dialect::Announcing;
use super::{Cutter, Dialect, Head};
use crate::report::StreamReport;

/// Hashes a stream as it is sent or received, packet by packet.
///
/// Holds at most one incomplete packet (a packet's length is a `u16`). From the first bytes that
/// are no packet on, the stream is hashed as it is.
pub(crate) struct StreamDigest {
    /// `None`: the stream is not cut, or no longer.
    cutter: Option<Cutter>,
    announcing: Announcing,
    hasher: Sha256,
    bytes: u64,
    packets: u64,
    /// Raw bytes still to come before the first packet (the char server's account id).
    raw: usize,
    partial: Vec<u8>,
}

impl StreamDigest {
    /// `raw` is the number of bytes before the first packet: 4 for char server to client, else 0.
    pub(crate) fn new(dialect: &Dialect, cutter: Cutter, raw: usize) -> Self {
        Self {
            cutter: Some(cutter),
            raw,
            ..Self::of_records(dialect)
        }
    }

    /// For a stream behind a shield: it is hashed as it is, and its records are counted by
    /// [`StreamDigest::count`].
    pub(crate) fn of_records(dialect: &Dialect) -> Self {
        Self {
            cutter: None,
            announcing: dialect.facts.announcing,
            hasher: Sha256::new(),
            bytes: 0,
            packets: 0,
            raw: 0,
            partial: Vec::new(),
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
        let Some(cutter) = &mut self.cutter else {
            self.hasher.update(bytes);
            return;
        };
        self.partial.extend_from_slice(bytes);
        let mut start = 0;
        let framed = loop {
            let rest = self.partial.get(start..).unwrap_or(&[]);
            match cutter.head(rest) {
                Head::Whole(length) => {
                    let end = start + length;
                    if let Some(packet) = self.partial.get_mut(start..end) {
                        if let Some(id) = cutter.id(packet) {
                            blank_addresses(&self.announcing, id, packet);
                        }
                        cutter.pass(packet);
                        self.hasher.update(&*packet);
                    }
                    self.packets += 1;
                    start = end;
                }
                Head::Unsure | Head::Part(_) => break true,
                Head::Unknown(_) | Head::BadLength(_) => {
                    self.hasher.update(rest);
                    start = self.partial.len();
                    break false;
                }
            }
        };
        self.partial.drain(..start);
        if !framed {
            self.cutter = None;
        }
    }

    /// A record of a stream that is not cut.
    pub(crate) fn count(&mut self) {
        self.packets += 1;
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
fn blank_addresses(announcing: &Announcing, id: u16, packet: &mut [u8]) {
    let Some((mut address, mut text)) = announcing.places(id) else {
        return;
    };
    let record = text + announcing.text - address;
    let many = id == announcing.login.0;
    while address < packet.len() {
        for range in [address..address + 6, text..text + announcing.text] {
            let range = range.start.min(packet.len())..range.end.min(packet.len());
            if let Some(field) = packet.get_mut(range) {
                field.fill(0);
            }
        }
        if !many {
            return;
        }
        (address, text) = (address + record, text + record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Packet;
    use crate::wire::dialect::tests::{all, newest};
    use proptest::prelude::*;

    fn digest(raw: usize, chunks: &[&[u8]]) -> StreamReport {
        digest_of(&newest(), raw, chunks)
    }

    fn digest_of(dialect: &Dialect, raw: usize, chunks: &[&[u8]]) -> StreamReport {
        let mut digest = StreamDigest::new(dialect, dialect.cutter(), raw);
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
    fn addresses_of_every_version_do_not_show() {
        use crate::game::{Account, Map};
        use crate::wire::packets::LoginIds;
        let account = Account::numbered(1).unwrap();
        let ids = LoginIds {
            login_id1: 1,
            login_id2: 2,
            sex: 1,
        };
        let (here, there) = (
            "10.0.0.1:6121".parse().unwrap(),
            "127.0.0.1:40000".parse().unwrap(),
        );
        for dialect in all() {
            let to = Map::Geffen.landing();
            for (one, other) in [
                (
                    dialect.accept_login(account, ids, here),
                    dialect.accept_login(account, ids, there),
                ),
                (
                    dialect.go_to_map_server(account, "geffen.gat", here),
                    dialect.go_to_map_server(account, "geffen.gat", there),
                ),
                (
                    dialect.change_server(to, here),
                    dialect.change_server(to, there),
                ),
            ] {
                assert_ne!(one, other);
                let digest = |packet: &[u8]| digest_of(&dialect, 0, &[packet]);
                assert_eq!(digest(&one), digest(&other));
                let mut changed = one.clone();
                changed[21] ^= 1;
                assert_ne!(digest(&one).sha256, digest(&changed).sha256);
                // A second record of a login's answer.
                if one[..2] == dialect.facts.announcing.login.0.to_le_bytes() {
                    let two = |packet: &[u8]| {
                        let record = &packet[dialect.facts.announcing.login.1..];
                        let mut packet = [packet, record].concat();
                        let length = u16::try_from(packet.len()).unwrap();
                        packet[2..4].copy_from_slice(&length.to_le_bytes());
                        digest(&packet)
                    };
                    assert_eq!(two(&one), two(&other));
                }
            }
        }
    }

    #[test]
    fn enciphered_ids_are_hashed_as_they_travel() {
        let dialect = Dialect::of(20_130_807, true).unwrap();
        let mut cutter = dialect.map_cutter();
        let wire: Vec<u8> = [
            dialect.ask_time(1),
            dialect.chat("a : b"),
            dialect.ask_time(2),
        ]
        .iter()
        .flat_map(|packet| cutter.pass(packet).into_owned())
        .collect();
        let mut digest = StreamDigest::new(&dialect, dialect.map_cutter(), 0);
        for byte in &wire {
            digest.feed(&[*byte]);
        }
        let report = digest.finish();
        assert_eq!(report.packets, 3);
        assert_eq!(report.sha256, hex::encode(Sha256::digest(&wire)));
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
