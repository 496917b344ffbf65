//! The server addresses that packets announce, and rewriting them in place.
//!
//! | packet | announces | record | IPv4 | port | text |
//! |---|---|---|---|---|---|
//! | 0AC4 AC_ACCEPT_LOGIN | char servers | 160 bytes each from 64 | +0 | +4 | +32, 128 bytes |
//! | 0AC5 HC_NOTIFY_ZONESVR | map server | from 22 | +0 | +4 | +6, 128 bytes |
//! | 0AC7 ZC_NPCACK_SERVERMOVE | map server | from 22 | +0 | +4 | +6, 128 bytes |
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
    /// Offset of the text field in the record.
    text_at: usize,
}

/// Bytes of a text field.
const TEXT: usize = 128;

/// One row per packet that announces addresses; other generations of these packets are other rows.
const LAYOUTS: [Layout; 3] = [
    Layout {
        id: 0x0AC4,
        announces: Role::Char,
        first: 64,
        stride: Some(160),
        text_at: 32,
    },
    Layout {
        id: 0x0AC5,
        announces: Role::Map,
        first: 22,
        stride: None,
        text_at: 6,
    },
    Layout {
        id: 0x0AC7,
        announces: Role::Map,
        first: 22,
        stride: None,
        text_at: 6,
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

/// Where record `index` lies; ends with the text field or the packet. `index` is below [`record_count`].
fn record_range(layout: &Layout, index: usize, length: usize) -> std::ops::Range<usize> {
    let start = layout.first + index * layout.stride.unwrap_or(0);
    start..length.min(start + layout.text_at + TEXT)
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
    let text = record.get(layout.text_at..).and_then(host_port);
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
    let Some(field) = record.get_mut(layout.text_at..) else {
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHAR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 7), 6121);
    const LOOPBACK: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 40_000);

    fn accept_login(servers: &[(SocketAddrV4, &str)]) -> Vec<u8> {
        let length = 64 + 160 * servers.len();
        let mut packet = vec![0u8; length];
        packet[..2].copy_from_slice(&[0xC4, 0x0A]);
        packet[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
        for (index, (address, text)) in servers.iter().enumerate() {
            let at = 64 + 160 * index;
            packet[at..at + 4].copy_from_slice(&address.ip().octets());
            packet[at + 4..at + 6].copy_from_slice(&address.port().to_le_bytes());
            packet[at + 6..at + 10].copy_from_slice(b"Name");
            packet[at + 32..at + 32 + text.len()].copy_from_slice(text.as_bytes());
        }
        packet
    }

    fn zone_server(id: u16, address: SocketAddrV4, text: &str) -> Vec<u8> {
        let mut packet = vec![0u8; 156];
        packet[..2].copy_from_slice(&id.to_le_bytes());
        packet[22..26].copy_from_slice(&address.ip().octets());
        packet[26..28].copy_from_slice(&address.port().to_le_bytes());
        packet[28..28 + text.len()].copy_from_slice(text.as_bytes());
        packet
    }

    fn seen(frame: &[u8]) -> Vec<(Role, SocketAddrV4, Option<String>)> {
        announced_addresses(frame)
            .map(|one| (one.role, one.address, one.text.map(str::to_owned)))
            .collect()
    }

    #[test]
    fn several_char_servers_are_listed_and_rewritten_each() {
        let second = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 9), 16_121);
        let mut packet = accept_login(&[(CHAR, ""), (second, "")]);
        assert_eq!(
            seen(&packet),
            [(Role::Char, CHAR, None), (Role::Char, second, None)]
        );
        let before = packet.clone();
        let mut port = 50_000;
        let changed = rewrite_addresses(&mut packet, &mut |role, _| {
            assert_eq!(role, Role::Char);
            port += 1;
            SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
        });
        assert_eq!(changed, 2);
        assert_eq!(
            seen(&packet),
            [
                (
                    Role::Char,
                    SocketAddrV4::new(Ipv4Addr::LOCALHOST, 50_001),
                    None
                ),
                (
                    Role::Char,
                    SocketAddrV4::new(Ipv4Addr::LOCALHOST, 50_002),
                    None
                ),
            ]
        );
        for (at, (old, new)) in before.iter().zip(&packet).enumerate() {
            let in_address = (64..70).contains(&at) || (224..230).contains(&at);
            assert!(old == new || in_address, "byte {at} changed");
        }
    }

    #[test]
    fn the_port_is_little_endian_and_the_address_in_network_order() {
        let mut packet = zone_server(0x0AC5, CHAR, "");
        rewrite_addresses(&mut packet, &mut |_, _| LOOPBACK);
        assert_eq!(&packet[22..28], &[127, 0, 0, 1, 0x40, 0x9C]);
    }

    #[test]
    fn text_with_an_address_is_the_authority_and_is_rewritten_too() {
        for (packet, text_at) in [
            (zone_server(0x0AC5, CHAR, "192.0.2.1:5121"), 28),
            (zone_server(0x0AC7, CHAR, "192.0.2.1:5121"), 28),
            (accept_login(&[(CHAR, "192.0.2.1:5121")]), 96),
        ] {
            let mut packet = packet;
            let mut asked = Vec::new();
            let changed = rewrite_addresses(&mut packet, &mut |_, address| {
                asked.push(address);
                LOOPBACK
            });
            assert_eq!(changed, 1);
            assert_eq!(asked, ["192.0.2.1:5121".parse().unwrap()]);
            let text = &packet[text_at..text_at + 128];
            assert_eq!(&text[..15], b"127.0.0.1:40000");
            assert!(text[15..].iter().all(|byte| *byte == 0));
            let announced = seen(&packet);
            assert_eq!(announced[0].1, LOOPBACK);
            assert_eq!(announced[0].2.as_deref(), Some("127.0.0.1:40000"));
        }
    }

    #[test]
    fn shorter_text_leaves_no_rest_of_the_longer_one() {
        let mut packet = zone_server(0x0AC5, CHAR, "255.255.255.255:65535");
        rewrite_addresses(&mut packet, &mut |_, _| {
            SocketAddrV4::new(Ipv4Addr::new(1, 1, 1, 1), 1)
        });
        assert_eq!(&packet[28..37], b"1.1.1.1:1");
        assert!(packet[37..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_name_in_the_text_gives_way_to_the_new_address() {
        let mut packet = zone_server(0x0AC5, CHAR, "map.example.org:5121");
        assert_eq!(
            seen(&packet),
            [(Role::Map, CHAR, Some("map.example.org:5121".to_owned()))]
        );
        rewrite_addresses(&mut packet, &mut |_, address| {
            assert_eq!(address, CHAR);
            LOOPBACK
        });
        assert_eq!(
            seen(&packet),
            [(Role::Map, LOOPBACK, Some("127.0.0.1:40000".to_owned()))]
        );
    }

    #[test]
    fn other_text_stays() {
        for text in [
            "hello",
            "hello:",
            ":5121",
            "host:0",
            "host:70000",
            "a b:5121",
        ] {
            let mut packet = zone_server(0x0AC5, CHAR, text);
            rewrite_addresses(&mut packet, &mut |_, _| LOOPBACK);
            assert_eq!(&packet[28..28 + text.len()], text.as_bytes());
            assert_eq!(seen(&packet), [(Role::Map, LOOPBACK, None)]);
        }
    }

    #[test]
    fn port_zero_is_no_address() {
        let nowhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let mut packet = accept_login(&[(nowhere, ""), (CHAR, "")]);
        assert_eq!(seen(&packet), [(Role::Char, CHAR, None)]);
        let changed = rewrite_addresses(&mut packet, &mut |_, _| LOOPBACK);
        assert_eq!(changed, 1);
        assert_eq!(&packet[64..70], &[0; 6]);
    }

    #[test]
    fn packets_cut_short_are_rewritten_as_far_as_they_go() {
        let whole = zone_server(0x0AC7, CHAR, "192.0.2.1:5121");
        for length in 0..whole.len() {
            let mut packet = whole[..length].to_vec();
            let changed = rewrite_addresses(&mut packet, &mut |_, _| LOOPBACK);
            assert_eq!(changed, usize::from(length >= 28), "{length} bytes");
            assert_eq!(packet.len(), length);
            if length >= 28 {
                assert_eq!(seen(&packet)[0].1, LOOPBACK, "{length} bytes");
            }
        }
    }

    #[test]
    fn other_packets_announce_nothing() {
        let mut packet = zone_server(0x0091, CHAR, "");
        let before = packet.clone();
        assert_eq!(seen(&packet), []);
        assert_eq!(rewrite_addresses(&mut packet, &mut |_, _| LOOPBACK), 0);
        assert_eq!(packet, before);
        assert!(!announces_addresses(0x0091));
        assert!(announces_addresses(0x0AC7));
    }

    fn odd_packet() -> impl Strategy<Value = Vec<u8>> {
        let text = prop_oneof![
            Just(String::new()),
            "[0-9.]{1,20}:[0-9]{1,6}",
            "[a-z.]{1,20}:[0-9]{1,5}",
            any::<SocketAddrV4>().prop_map(|address| address.to_string()),
        ];
        (
            prop_oneof![Just(0x0AC4u16), Just(0x0AC5), Just(0x0AC7), any::<u16>()],
            proptest::collection::vec(any::<u8>(), 0..420),
            text,
        )
            .prop_map(|(id, body, text)| {
                let mut packet = id.to_le_bytes().to_vec();
                packet.extend(body);
                for at in [28usize, 96, 256] {
                    if let Some(field) = packet.get_mut(at..at + text.len()) {
                        field.copy_from_slice(text.as_bytes());
                    }
                    if let Some(end) = packet.get_mut(at + text.len()) {
                        *end = 0;
                    }
                }
                packet
            })
    }

    proptest! {
        #[test]
        fn mapping_to_itself_changes_no_byte(packet in odd_packet()) {
            let mut rewritten = packet.clone();
            prop_assert_eq!(rewrite_addresses(&mut rewritten, &mut |_, address| address), 0);
            prop_assert_eq!(rewritten, packet);
        }

        #[test]
        fn rewriting_twice_equals_rewriting_once(packet in odd_packet()) {
            let mut once = packet.clone();
            let mut to_loopback = |_: Role, address: SocketAddrV4| {
                if address.ip().is_loopback() { address } else { LOOPBACK }
            };
            rewrite_addresses(&mut once, &mut to_loopback);
            let mut twice = once.clone();
            prop_assert_eq!(rewrite_addresses(&mut twice, &mut to_loopback), 0);
            prop_assert_eq!(twice, once);
        }

        #[test]
        fn after_rewriting_only_the_new_address_is_announced(packet in odd_packet()) {
            let announced = announced_addresses(&packet).count();
            let mut rewritten = packet.clone();
            let mut asked = 0;
            rewrite_addresses(&mut rewritten, &mut |_, _| { asked += 1; LOOPBACK });
            prop_assert_eq!(asked, announced);
            prop_assert_eq!(rewritten.len(), packet.len());
            prop_assert!(announced_addresses(&rewritten).all(|one| one.address == LOOPBACK));
            prop_assert_eq!(announced_addresses(&rewritten).count(), announced);
        }
    }
}
