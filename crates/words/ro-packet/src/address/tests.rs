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

/// 0069 for `servers`.
fn old_accept_login(servers: &[SocketAddrV4]) -> Vec<u8> {
    let length = 47 + 32 * servers.len();
    let mut packet = vec![0u8; length];
    packet[..2].copy_from_slice(&[0x69, 0x00]);
    packet[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
    for (index, address) in servers.iter().enumerate() {
        let at = 47 + 32 * index;
        packet[at..at + 4].copy_from_slice(&address.ip().octets());
        packet[at + 4..at + 6].copy_from_slice(&address.port().to_le_bytes());
        // A name that looks like an address is no text field.
        packet[at + 6..at + 20].copy_from_slice(b"192.0.2.1:5121");
    }
    packet
}

/// 0071 or 0092.
fn old_zone_server(id: u16, address: SocketAddrV4) -> Vec<u8> {
    let mut packet = zone_server(id, address, "");
    packet.truncate(28);
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
fn the_older_generation_is_rewritten_too() {
    let second = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 9), 16_121);
    let zone: Vec<_> = std::iter::once(22..28).collect();
    for (packet, role, fields) in [
        (
            old_accept_login(&[CHAR, second]),
            Role::Char,
            vec![47..53, 79..85],
        ),
        (old_accept_login(&[]), Role::Char, vec![]),
        (old_zone_server(0x0071, CHAR), Role::Map, zone.clone()),
        (old_zone_server(0x0092, CHAR), Role::Map, zone),
    ] {
        let announced = seen(&packet);
        assert_eq!(announced.len(), fields.len());
        assert!(
            announced
                .iter()
                .all(|(of, _, text)| *of == role && text.is_none())
        );
        let mut rewritten = packet.clone();
        let changed = rewrite_addresses(&mut rewritten, &mut |_, _| LOOPBACK);
        assert_eq!(changed, fields.len());
        for (at, (old, new)) in packet.iter().zip(&rewritten).enumerate() {
            let inside = fields.iter().any(|field| field.contains(&at));
            assert!(old == new || inside, "byte {at} changed");
        }
        for field in fields {
            assert_eq!(rewritten[field], [127, 0, 0, 1, 0x40, 0x9C]);
        }
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
        prop_oneof![
            Just(0x0AC4u16),
            Just(0x0AC5),
            Just(0x0AC7),
            Just(0x0069),
            Just(0x0071),
            Just(0x0092),
            any::<u16>()
        ],
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

/// A well-formed packet of either generation with any number of servers, and that number.
fn whole_packet() -> impl Strategy<Value = (Vec<u8>, usize)> {
    let address =
        (any::<Ipv4Addr>(), 1..u16::MAX).prop_map(|(ip, port)| SocketAddrV4::new(ip, port));
    let text = prop_oneof![
        Just(String::new()),
        Just("map.example.org:5121".to_owned()),
        (any::<Ipv4Addr>(), 1..u16::MAX).prop_map(|(ip, port)| format!("{ip}:{port}")),
    ];
    let server = (address, text);
    prop_oneof![
        proptest::collection::vec(server.clone(), 0..40).prop_map(|servers| {
            let few: Vec<_> = (servers
                .iter()
                .map(|(address, text)| (*address, text.as_str())))
            .collect();
            (accept_login(&few), servers.len())
        }),
        proptest::collection::vec(server.clone(), 0..120).prop_map(|servers| {
            let addresses: Vec<_> = servers.iter().map(|(address, _)| *address).collect();
            (old_accept_login(&addresses), servers.len())
        }),
        (prop_oneof![Just(0x0AC5u16), Just(0x0AC7)], server.clone())
            .prop_map(|(id, (address, text))| (zone_server(id, address, &text), 1)),
        (prop_oneof![Just(0x0071u16), Just(0x0092)], server)
            .prop_map(|(id, (address, _))| (old_zone_server(id, address), 1)),
    ]
}

proptest! {
    #[test]
    fn whole_packets_of_both_generations_are_rewritten_once_and_for_all(
        (packet, servers) in whole_packet(),
    ) {
        prop_assert_eq!(announced_addresses(&packet).count(), servers);
        let mut once = packet.clone();
        // A port for each server; addresses of its own it leaves alone.
        let mut port = 40_000u16;
        let mut to_loopback = |_: Role, address: SocketAddrV4| {
            if address.ip().is_loopback() {
                return address;
            }
            port += 1;
            SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
        };
        let foreign = (announced_addresses(&packet))
            .filter(|one| !one.address.ip().is_loopback())
            .count();
        prop_assert_eq!(rewrite_addresses(&mut once, &mut to_loopback), foreign);
        prop_assert!(announced_addresses(&once).all(|one| one.address.ip().is_loopback()));
        prop_assert_eq!(announced_addresses(&once).count(), servers);
        let mut twice = once.clone();
        prop_assert_eq!(rewrite_addresses(&mut twice, &mut to_loopback), 0);
        prop_assert_eq!(twice, once);
    }

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
