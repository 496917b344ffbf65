//! Captures: pcap and pcapng files, down to TCP segments.
//!
//! Reads classic pcap in both byte orders with micro- or nanoseconds, and pcapng. Of link types:
//! Ethernet (with VLAN tags), raw IP, the loopback of BSD, Linux "cooked" 1 and 2. IP fragments
//! are not put together: a segment in fragments is missing, and told as a gap.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use pcap_parser::pcapng::Block;
use pcap_parser::traits::PcapNGPacketBlock as _;
use pcap_parser::{PcapBlockOwned, PcapError, create_reader};
use warp_ro_packet::Role;

use super::stream::{Sink, Trouble};
use super::tcp::{Connections, Segment};
use super::unreadable;

/// Room for records: grows once to [`MAX_RECORD`] when a record does not fit.
const BUFFER: usize = 512 * 1024;
/// Longest record of a capture in bytes. tcpdump and Wireshark stay below 256 KiB.
const MAX_RECORD: usize = 16 * 1024 * 1024;
/// Most interfaces of one pcapng section.
const MAX_INTERFACES: usize = 4096;

/// Whether a file that begins with `head` is a capture: classic pcap of either byte order and
/// resolution, or pcapng.
pub(super) fn is_capture(head: &[u8]) -> bool {
    matches!(
        head,
        [0xD4, 0xC3, 0xB2, 0xA1]
            | [0xA1, 0xB2, 0xC3, 0xD4]
            | [0x4D, 0x3C, 0xB2, 0xA1]
            | [0xA1, 0xB2, 0x3C, 0x4D]
            | [0x0A, 0x0D, 0x0D, 0x0A]
    )
}

/// How an interface stamps and wraps its packets.
#[derive(Clone, Copy)]
struct Interface {
    link: i32,
    ticks_per_second: u64,
    offset_seconds: i64,
}

/// What to do after a block.
enum Step {
    Consume(usize),
    Refill,
    Grow,
}

/// Reads the capture at `path` into `sink`: the connections to the `ports`. `tell` hears what was
/// passed over. `alone`: no other file is read.
pub(super) fn read(
    path: &Path,
    alone: bool,
    ports: &[(Role, u16)],
    sink: &mut dyn Sink,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Trouble> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let session = path.file_stem().filter(|_| !alone);
    let session = session.map(|stem| stem.to_string_lossy().into());
    let connections = Connections::new(name.as_str().into(), session, ports);
    read_from(&name, file, connections, sink, tell)
}

fn read_from(
    name: &str,
    input: impl Read + Send,
    connections: Connections,
    sink: &mut dyn Sink,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Trouble> {
    let problem = |what: &str| Trouble::Input(format!("{name}: {what}"));
    let mut reader = create_reader(BUFFER, input).map_err(|_| problem("its head is damaged"))?;
    let mut capture = Capture {
        connections,
        interfaces: Vec::new(),
        first_us: None,
        time_us: 0,
        read: 0,
        passed_over: None,
    };
    let mut room = BUFFER;
    let ending = loop {
        let step = match reader.next() {
            Ok((size, block)) => {
                if !capture.block(block, sink)? {
                    break Err("a packet names an interface that is not described");
                }
                Step::Consume(size)
            }
            Err(PcapError::Eof) => break Ok(()),
            Err(PcapError::Incomplete(_)) => Step::Refill,
            Err(PcapError::BufferTooSmall) if room < MAX_RECORD => Step::Grow,
            Err(PcapError::BufferTooSmall) => break Err("a record is longer than 16 MiB"),
            Err(PcapError::UnexpectedEof) => break Err("it ends in the middle of a record"),
            Err(PcapError::ReadError) => break Err("it cannot be read to its end"),
            Err(_) => break Err("it is damaged; what stands behind the damage is not shown"),
        };
        match step {
            Step::Consume(size) => reader.consume(size),
            Step::Refill => {
                if reader.refill().is_err() {
                    break Err("it cannot be read to its end");
                }
            }
            Step::Grow => {
                room = MAX_RECORD;
                reader.grow(room);
                if reader.refill().is_err() {
                    break Err("it cannot be read to its end");
                }
            }
        }
    };
    capture.connections.finish(capture.time_us, sink)?;
    ending.map_err(problem)?;
    if let Some(link) = capture.passed_over {
        let what = format!("packets of link type {link} cannot be read");
        if capture.read == 0 {
            return Err(problem(&what));
        }
        tell(&format!("{name}: {what} and were passed over"));
    }
    if capture.connections.opened() == 0 {
        tell(&format!(
            "{name}: no data to or from a game server; --ports names their ports"
        ));
    }
    Ok(())
}

struct Capture {
    connections: Connections,
    interfaces: Vec<Interface>,
    /// The clock of the output begins at the first packet.
    first_us: Option<u64>,
    /// Time of the newest packet on that clock.
    time_us: u64,
    /// Packets of link types that can be read.
    read: u64,
    /// A link type that cannot.
    passed_over: Option<i32>,
}

impl Capture {
    /// `false`: the block is about an interface that no block described.
    fn block(&mut self, block: PcapBlockOwned<'_>, sink: &mut dyn Sink) -> Result<bool, Trouble> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let nanoseconds = header.is_nanosecond_precision();
                self.interfaces = vec![Interface {
                    // The upper bits say whether frames carry their checksum.
                    link: header.network.0 & 0xFFFF,
                    ticks_per_second: if nanoseconds {
                        1_000_000_000
                    } else {
                        1_000_000
                    },
                    offset_seconds: 0,
                }];
            }
            PcapBlockOwned::Legacy(record) => {
                let Some(interface) = self.interfaces.first().copied() else {
                    return Ok(false);
                };
                let ticks = u64::from(record.ts_sec)
                    .saturating_mul(interface.ticks_per_second)
                    .saturating_add(u64::from(record.ts_usec));
                self.clock(&interface, ticks);
                self.packet(interface.link, record.data, sink)?;
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => self.interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
                if self.interfaces.len() < MAX_INTERFACES {
                    self.interfaces.push(Interface {
                        link: description.linktype.0,
                        ticks_per_second: ticks_per_second(description.if_tsresol),
                        offset_seconds: description.if_tsoffset,
                    });
                }
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let place = usize::try_from(packet.if_id).unwrap_or(usize::MAX);
                let Some(interface) = self.interfaces.get(place).copied() else {
                    return Ok(false);
                };
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                self.clock(&interface, ticks);
                self.packet(interface.link, packet.packet_data(), sink)?;
            }
            // A simple packet has no time of its own: it keeps that of the packet before.
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let Some(interface) = self.interfaces.first().copied() else {
                    return Ok(false);
                };
                self.packet(interface.link, packet.packet_data(), sink)?;
            }
            PcapBlockOwned::NG(_) => {}
        }
        Ok(true)
    }

    fn clock(&mut self, interface: &Interface, ticks: u64) {
        let us = u128::from(ticks) * 1_000_000 / u128::from(interface.ticks_per_second);
        let us = u64::try_from(us).unwrap_or(u64::MAX);
        let us = us.saturating_add_signed(interface.offset_seconds.saturating_mul(1_000_000));
        let first = *self.first_us.get_or_insert(us);
        // Packets of several interfaces may stand a little out of order.
        self.time_us = us.saturating_sub(first);
    }

    fn packet(&mut self, link: i32, data: &[u8], sink: &mut dyn Sink) -> Result<(), Trouble> {
        let Some(packet) = network(link, data) else {
            self.passed_over = Some(link);
            return Ok(());
        };
        self.read += 1;
        match packet.as_ref().and_then(segment) {
            Some(segment) => self.connections.segment(self.time_us, &segment, sink),
            None => Ok(()),
        }
    }
}

/// Units of a pcapng clock: a power of ten, or of two with the upper bit set.
fn ticks_per_second(resolution: u8) -> u64 {
    let exponent = u32::from(resolution & 0x7F);
    let units = if resolution & 0x80 == 0 {
        10u64.checked_pow(exponent)
    } else {
        1u64.checked_shl(exponent)
    };
    units.unwrap_or(u64::MAX)
}

/// The IP packet in a link-layer frame. The outer `None`: the link type is not known; the inner
/// one: there is no IP packet in it.
fn network(link: i32, data: &[u8]) -> Option<Option<LaxSlicedPacket<'_>>> {
    /// An Ethernet type, and where the packet of this type begins.
    fn typed(data: &[u8], at: usize, payload: usize) -> Option<LaxSlicedPacket<'_>> {
        let kind = u16::from_be_bytes(*data.get(at..)?.first_chunk()?);
        Some(LaxSlicedPacket::from_ether_type(
            EtherType(kind),
            data.get(payload..)?,
        ))
    }
    let ip = |data| LaxSlicedPacket::from_ip(data).ok();
    Some(match link {
        // LINKTYPE_ETHERNET
        1 => LaxSlicedPacket::from_ethernet(data).ok(),
        // LINKTYPE_RAW and what systems call so, LINKTYPE_IPV4, LINKTYPE_IPV6
        12 | 14 | 101 | 228 | 229 => ip(data),
        // LINKTYPE_NULL, LINKTYPE_LOOP: an address family, which the IP version repeats
        0 | 108 => data.get(4..).and_then(ip),
        // LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2
        113 => typed(data, 14, 16),
        276 => typed(data, 0, 20),
        _ => return None,
    })
}

fn segment<'a>(packet: &LaxSlicedPacket<'a>) -> Option<Segment<'a>> {
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
        return None;
    };
    let (source, destination) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        Some(LaxNetSlice::Ipv6(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        _ => return None,
    };
    Some(Segment {
        source: SocketAddr::new(source, tcp.source_port()),
        destination: SocketAddr::new(destination, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        payload: tcp.payload(),
    })
}

#[cfg(test)]
mod tests;
