//! Writing packets to a pcap file that tcpdump, tshark and Wireshark read.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The pcap variant whose time stamps are in nanoseconds (draft-ietf-opsawg-pcap, section 4).
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// `LINKTYPE_RAW`: packets begin with their IPv4 or IPv6 header.
const LINKTYPE_RAW: u32 = 101;
/// No packet is cut: an IP packet is never longer.
const SNAP_LENGTH: u32 = 65_535;

/// A capture file that is being written.
pub(crate) struct Capture {
    file: BufWriter<File>,
}

impl Capture {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&header())?;
        file.flush()?;
        Ok(Self { file })
    }

    pub(crate) fn write(&mut self, packet: &[u8]) -> io::Result<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.file.write_all(&record_header(now, packet.len()))?;
        self.file.write_all(packet)
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn header() -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[0..4].copy_from_slice(&MAGIC_NANOSECONDS.to_le_bytes());
    bytes[4..6].copy_from_slice(&2_u16.to_le_bytes());
    bytes[6..8].copy_from_slice(&4_u16.to_le_bytes());
    bytes[16..20].copy_from_slice(&SNAP_LENGTH.to_le_bytes());
    bytes[20..24].copy_from_slice(&LINKTYPE_RAW.to_le_bytes());
    bytes
}

fn record_header(time: Duration, length: usize) -> [u8; 16] {
    let length = u32::try_from(length).unwrap_or(SNAP_LENGTH);
    // The format has 32 bits for the seconds; it wraps in 2106 for every program.
    let seconds = time.as_secs() as u32;
    let mut bytes = [0; 16];
    for (at, field) in [seconds, time.subsec_nanos(), length, length]
        .into_iter()
        .enumerate()
    {
        bytes[at * 4..at * 4 + 4].copy_from_slice(&field.to_le_bytes());
    }
    bytes
}
