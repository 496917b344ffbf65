//! The server addresses that packets announce, and rewriting them in place.
//!
//! | packet | announces | record | IPv4 | port | text |
//! |---|---|---|---|---|---|
//! | 0AC4 AC_ACCEPT_LOGIN | char servers | 160 bytes each from 64 | +0 | +4 | +32, 128 bytes |
//! | 0AC5 HC_NOTIFY_ZONESVR | map server | from 22 | +0 | +4 | +6, 128 bytes |
//! | 0AC7 ZC_NPCACK_SERVERMOVE | map server | from 22 | +0 | +4 | +6, 128 bytes |
//! | 0069 AC_ACCEPT_LOGIN | char servers | 32 bytes each from 47 | +0 | +4 | none |
//! | 0071 HC_NOTIFY_ZONESVR | map server | from 22 | +0 | +4 | none |
//! | 0092 ZC_NPCACK_SERVERMOVE | map server | from 22 | +0 | +4 | none |
//!
//! The last three are the generation before 2017-03-15 (rAthena and Hercules switch at that
//! client date). The id alone decides, not the client's version: one that sends both is served.
//!
//! The IPv4 address lies in network order, the port beside it is little-endian. The text field
//! is zero in rAthena's packets; some servers write `host:port` there, and OpenKore then uses
//! it instead of the binary address. So:
//!
//! - text that reads `a.b.c.d:port` *is* the announced address; otherwise the binary one is;
//! - a changed address is written to the binary field, and to the text field too if that held
//!   `a.b.c.d:port` or `name:port` (zero-padded to its end): whichever the client reads, it
//!   reads the new one. Any other text stays as it is;
//! - an address that the map leaves as it is changes no byte. Rewriting twice therefore equals
//!   rewriting once, if the map leaves its own results alone.
//!
//! An address with port 0 is not one: nothing can connect to it, it is passed over. A name in
//! the text field is not resolved; the binary address is taken as the server that it stands for.
//! Records that the packet cuts short are passed over; the text field may be cut short.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::Role;

/// Bytes of a binary address: IPv4 and port.
const BINARY: usize = 6;

/// Where one kind of packet keeps its addresses.
struct Layout {
    id: u16,
    announces: Role,
    /// Offset of the first record.
    first: usize,
    /// Distance of the records, or `None` if there is one.
    stride: Option<usize>,
    /// Offset of the text field in the record, or `None` if records have none.
    text_at: Option<usize>,
}

/// Bytes of a text field.
const TEXT: usize = 128;

/// One row per packet that announces addresses, generation by generation.
const LAYOUTS: [Layout; 6] = [
    Layout {
        id: 0x0AC4,
        announces: Role::Char,
        first: 64,
        stride: Some(160),
        text_at: Some(32),
    },
    Layout {
        id: 0x0AC5,
        announces: Role::Map,
        first: 22,
        stride: None,
        text_at: Some(6),
    },
    Layout {
        id: 0x0AC7,
        announces: Role::Map,
        first: 22,
        stride: None,
        text_at: Some(6),
    },
    Layout {
        id: 0x0069,
        announces: Role::Char,
        first: 47,
        stride: Some(32),
        text_at: None,
    },
    Layout {
        id: 0x0071,
        announces: Role::Map,
        first: 22,
        stride: None,
        text_at: None,
    },
    Layout {
        id: 0x0092,
        announces: Role::Map,
        first: 22,
        stride: None,
        text_at: None,
    },
];

/// One server address that a packet announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced<'a> {
    /// Which server is reached there.
    pub role: Role,
    /// Where: from the text field if it holds an IPv4 address and port, else the binary one.
    pub address: SocketAddrV4,
    /// The `host:port` in the text field, if there is one.
    pub text: Option<&'a str>,
}

/// Whether packets of this id announce addresses, so that [`rewrite_addresses`] may change them.
#[must_use]
pub fn announces_addresses(id: u16) -> bool {
    LAYOUTS.iter().any(|layout| layout.id == id)
}

/// The addresses that the whole packet `frame` (its id included) announces, in their order.
/// Empty for packets that announce none.
pub fn announced_addresses(frame: &[u8]) -> impl Iterator<Item = Announced<'_>> {
    let layout = layout_of(frame);
    let records = layout.map_or(0, |layout| record_count(layout, frame.len()));
    (0..records).filter_map(move |index| {
        let layout = layout?;
        let record = frame.get(record_range(layout, index, frame.len()))?;
        let (address, text) = read(layout, record)?;
        Some(Announced {
            role: layout.announces,
            address,
            text: text.map(|text| text.whole),
        })
    })
}

/// Replaces every address that the whole packet `frame` announces by what `map` makes of it, and
/// returns how many changed. The packet keeps its length; see the module's rules for the text fields.
///
/// Packets that announce no address are left alone, and odd ones are rewritten as far as they go.
pub fn rewrite_addresses(
    frame: &mut [u8],
    map: &mut dyn FnMut(Role, SocketAddrV4) -> SocketAddrV4,
) -> usize {
    let Some(layout) = layout_of(frame) else {
        return 0;
    };
    let length = frame.len();
    let mut changed = 0;
    for index in 0..record_count(layout, length) {
        let Some(record) = frame.get_mut(record_range(layout, index, length)) else {
            break;
        };
        let Some((address, text)) = read(layout, record) else {
            continue;
        };
        let new = map(layout.announces, address);
        if new == address {
            continue;
        }
        let has_text = text.is_some();
        write(layout, record, new, has_text);
        changed += 1;
    }
    changed
}

fn layout_of(frame: &[u8]) -> Option<&'static Layout> {
    let id = u16::from_le_bytes(*frame.first_chunk()?);
    LAYOUTS.iter().find(|layout| layout.id == id)
}

/// How many whole records a packet of `length` bytes holds.
fn record_count(layout: &Layout, length: usize) -> usize {
    let room = length.saturating_sub(layout.first);
    match layout.stride {
        Some(stride) => room / stride,
        None => usize::from(room >= BINARY),
    }
}

/// Where record `index` lies as far as addresses go; ends with the text field, if there is one, or the packet. `index` is below [`record_count`].
fn record_range(layout: &Layout, index: usize, length: usize) -> std::ops::Range<usize> {
    let start = layout.first + index * layout.stride.unwrap_or(0);
    let bytes = layout.text_at.map_or(BINARY, |text_at| text_at + TEXT);
    start..length.min(start + bytes)
}

/// A `host:port` in a text field.
struct HostPort<'a> {
    whole: &'a str,
    /// Present if the host is an IPv4 address.
    address: Option<SocketAddrV4>,
}

fn read<'a>(layout: &Layout, record: &'a [u8]) -> Option<(SocketAddrV4, Option<HostPort<'a>>)> {
    let &[a, b, c, d, low, high] = record.first_chunk::<BINARY>()?;
    let binary = SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_le_bytes([low, high]));
    let text = layout
        .text_at
        .and_then(|text_at| record.get(text_at..))
        .and_then(host_port);
    let address = text
        .as_ref()
        .and_then(|text| text.address)
        .unwrap_or(binary);
    (address.port() != 0).then_some((address, text))
}

fn host_port(field: &[u8]) -> Option<HostPort<'_>> {
    let text = field.split(|byte| *byte == 0).next()?;
    if !text.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let whole = std::str::from_utf8(text).ok()?;
    let (host, port) = whole.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    if host.is_empty() || port == 0 {
        return None;
    }
    let address = host
        .parse()
        .ok()
        .map(|address| SocketAddrV4::new(address, port));
    Some(HostPort { whole, address })
}

fn write(layout: &Layout, record: &mut [u8], new: SocketAddrV4, with_text: bool) {
    if let Some(binary) = record.first_chunk_mut::<BINARY>() {
        let [a, b, c, d] = new.ip().octets();
        let [low, high] = new.port().to_le_bytes();
        *binary = [a, b, c, d, low, high];
    }
    if !with_text {
        return;
    }
    let Some(field) = (layout.text_at).and_then(|text_at| record.get_mut(text_at..)) else {
        return;
    };
    field.fill(0);
    let mut room = &mut *field;
    // 21 bytes at most. A field that the packet cut shorter than that stays empty, which makes
    // clients take the binary address.
    if write!(room, "{new}").is_err() {
        field.fill(0);
    }
}

#[cfg(test)]
mod tests;
