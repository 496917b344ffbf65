//! Captures made by hand: TCP segments in IP packets in link-layer frames in a file.

use std::net::IpAddr;

use etherparse::{IpHeaders, LinuxSllPacketType, PacketBuilder, TcpHeader};

/// How frames are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Ethernet,
    Vlan,
    Raw,
    /// Loopback of BSD, the address family in little-endian order.
    Null,
    Cooked,
    Cooked2,
}

impl Link {
    pub(crate) const ALL: [Link; 6] = [
        Link::Ethernet,
        Link::Vlan,
        Link::Raw,
        Link::Null,
        Link::Cooked,
        Link::Cooked2,
    ];

    fn number(self) -> u32 {
        match self {
            Link::Ethernet | Link::Vlan => 1,
            Link::Raw => 101,
            Link::Null => 0,
            Link::Cooked => 113,
            Link::Cooked2 => 276,
        }
    }
}

/// How files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum File {
    /// Classic, little-endian, microseconds.
    Classic,
    /// Classic, big-endian, nanoseconds.
    ClassicBigNano,
    /// pcapng, little-endian, microseconds.
    Next,
    /// pcapng, big-endian, nanoseconds.
    NextBigNano,
}

impl File {
    pub(crate) const ALL: [File; 4] = [
        File::Classic,
        File::ClassicBigNano,
        File::Next,
        File::NextBigNano,
    ];

    fn big(self) -> bool {
        matches!(self, File::ClassicBigNano | File::NextBigNano)
    }

    fn u32(self, number: u32) -> [u8; 4] {
        if self.big() {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        }
    }

    fn u16(self, number: u16) -> [u8; 2] {
        if self.big() {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        }
    }
}

/// One TCP segment and when it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) time_us: u64,
    pub(crate) source: (IpAddr, u16),
    pub(crate) destination: (IpAddr, u16),
    pub(crate) sequence: u32,
    pub(crate) acknowledged: Option<u32>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) payload: Vec<u8>,
}

/// One connection that is being made up: both sides count their sequence numbers.
pub(crate) struct Talk {
    client: (IpAddr, u16),
    server: (IpAddr, u16),
    next: [u32; 2],
    pub(crate) segments: Vec<Segment>,
}

impl Talk {
    /// A connection to `port` with its handshake.
    pub(crate) fn open(ip: IpAddr, from: u16, port: u16, time_us: u64) -> Talk {
        let mut talk = Talk::middle(ip, from, port);
        talk.push(time_us, true, &[], |segment| {
            segment.syn = true;
            segment.acknowledged = None;
        });
        talk.push(time_us, false, &[], |segment| segment.syn = true);
        talk
    }

    /// A connection whose beginning nobody saw.
    pub(crate) fn middle(ip: IpAddr, from: u16, port: u16) -> Talk {
        Talk {
            client: (ip, from),
            server: (ip, port),
            // Near the end, so that they wrap.
            next: [u32::MAX - 40, 7],
            segments: Vec::new(),
        }
    }

    pub(crate) fn say(&mut self, time_us: u64, client: bool, payload: &[u8]) {
        self.push(time_us, client, payload, |_| {});
    }

    pub(crate) fn close(&mut self, time_us: u64) {
        for client in [true, false] {
            self.push(time_us, client, &[], |segment| segment.fin = true);
        }
    }

    fn push(&mut self, time_us: u64, client: bool, payload: &[u8], more: impl Fn(&mut Segment)) {
        let (source, destination, own, other) = if client {
            (self.client, self.server, 0, 1)
        } else {
            (self.server, self.client, 1, 0)
        };
        let mut segment = Segment {
            time_us,
            source,
            destination,
            sequence: self.next[own],
            acknowledged: Some(self.next[other]),
            syn: false,
            fin: false,
            payload: payload.to_vec(),
        };
        more(&mut segment);
        let takes = payload.len() + usize::from(segment.syn) + usize::from(segment.fin);
        self.next[own] = self.next[own].wrapping_add(u32::try_from(takes).unwrap());
        self.segments.push(segment);
    }
}

/// A capture of `segments` in this order.
pub(crate) fn capture(file: File, link: Link, segments: &[Segment]) -> Vec<u8> {
    let mut out = Vec::new();
    begin(&mut out, file, link);
    for segment in segments {
        record(&mut out, file, segment.time_us, &frame(link, segment));
    }
    out
}

fn begin(out: &mut Vec<u8>, file: File, link: Link) {
    match file {
        File::Classic | File::ClassicBigNano => {
            let nano = file == File::ClassicBigNano;
            out.extend(file.u32(if nano { 0xA1B2_3C4D } else { 0xA1B2_C3D4 }));
            out.extend(file.u16(2));
            out.extend(file.u16(4));
            out.extend([0; 8]);
            out.extend(file.u32(262_144));
            out.extend(file.u32(link.number()));
        }
        File::Next | File::NextBigNano => {
            let mut section = file.u32(0x1A2B_3C4D).to_vec();
            section.extend(file.u16(1));
            section.extend(file.u16(0));
            section.extend([0xFF; 8]);
            block(out, file, 0x0A0D_0D0A, &section);
            let mut interface = file.u16(u16::try_from(link.number()).unwrap()).to_vec();
            interface.extend(file.u16(0));
            interface.extend(file.u32(262_144));
            if file == File::NextBigNano {
                // if_tsresol: ten to the power of minus nine; then the end of the options.
                interface.extend(file.u16(9));
                interface.extend(file.u16(1));
                interface.extend([9, 0, 0, 0]);
                interface.extend([0; 4]);
            }
            block(out, file, 1, &interface);
        }
    }
}

fn record(out: &mut Vec<u8>, file: File, time_us: u64, data: &[u8]) {
    // Some day, not the beginning of time.
    let us = 1_700_000_000_000_000 + time_us;
    let length = file.u32(u32::try_from(data.len()).unwrap());
    let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap();
    match file {
        File::Classic | File::ClassicBigNano => {
            let scale = if file == File::ClassicBigNano {
                1000
            } else {
                1
            };
            out.extend(file.u32(low(us / 1_000_000)));
            out.extend(file.u32(low(us % 1_000_000 * scale)));
            out.extend(length);
            out.extend(length);
            out.extend_from_slice(data);
        }
        File::Next | File::NextBigNano => {
            let ticks = if file == File::NextBigNano {
                us * 1000
            } else {
                us
            };
            let mut packet = file.u32(0).to_vec();
            packet.extend(file.u32(low(ticks >> 32)));
            packet.extend(file.u32(low(ticks)));
            packet.extend(length);
            packet.extend(length);
            packet.extend_from_slice(data);
            packet.resize(packet.len().next_multiple_of(4), 0);
            block(out, file, 6, &packet);
        }
    }
}

fn block(out: &mut Vec<u8>, file: File, kind: u32, body: &[u8]) {
    let length = file.u32(u32::try_from(body.len() + 12).unwrap());
    out.extend(file.u32(kind));
    out.extend(length);
    out.extend_from_slice(body);
    out.extend(length);
}

fn frame(link: Link, segment: &Segment) -> Vec<u8> {
    let mut tcp = TcpHeader::new(
        segment.source.1,
        segment.destination.1,
        segment.sequence,
        65_000,
    );
    tcp.syn = segment.syn;
    tcp.fin = segment.fin;
    if let Some(acknowledged) = segment.acknowledged {
        tcp.ack = true;
        tcp.acknowledgment_number = acknowledged;
    }
    let v6 = segment.source.0.is_ipv6();
    let ip = || -> IpHeaders {
        match (segment.source.0, segment.destination.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => IpHeaders::Ipv4(
                etherparse::Ipv4Header {
                    source: source.octets(),
                    destination: destination.octets(),
                    time_to_live: 64,
                    ..Default::default()
                },
                Default::default(),
            ),
            (IpAddr::V6(source), IpAddr::V6(destination)) => IpHeaders::Ipv6(
                etherparse::Ipv6Header {
                    source: source.octets(),
                    destination: destination.octets(),
                    hop_limit: 64,
                    ..Default::default()
                },
                Default::default(),
            ),
            _ => panic!("one family"),
        }
    };
    let payload = &segment.payload;
    let mut frame = Vec::new();
    match link {
        Link::Ethernet => {
            let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ip(ip());
            builder.tcp_header(tcp).write(&mut frame, payload).unwrap();
            // Short frames are padded on the wire.
            frame.resize(frame.len().max(60), 0);
        }
        Link::Vlan => {
            let vlan = 7u16.try_into().unwrap();
            let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
                .single_vlan(vlan)
                .ip(ip());
            builder.tcp_header(tcp).write(&mut frame, payload).unwrap();
        }
        Link::Cooked => {
            let builder = PacketBuilder::linux_sll(LinuxSllPacketType::HOST, 6, [2; 8]).ip(ip());
            builder.tcp_header(tcp).write(&mut frame, payload).unwrap();
        }
        Link::Raw | Link::Null | Link::Cooked2 => {
            match link {
                Link::Null => frame.extend(if v6 { 30u32 } else { 2 }.to_le_bytes()),
                Link::Cooked2 => {
                    frame.extend(if v6 { [0x86, 0xDD] } else { [0x08, 0x00] });
                    frame.extend([0; 18]);
                }
                _ => {}
            }
            let builder = PacketBuilder::ip(ip());
            builder.tcp_header(tcp).write(&mut frame, payload).unwrap();
        }
    }
    frame
}
