//! Everything that looks into one packet: addresses, accounts, maps, chat.
//!
//! Input: version, connection, then the packet.

use std::net::{Ipv4Addr, SocketAddrV4};

use bytes::BytesMut;
use warp_ro_packet::{
    Role, account_of, announced_addresses, announces_addresses, chat, map_name, rewrite_addresses,
};

use crate::input::Input;

/// Where the client is told to find a server: a port of its own for each, chosen by its address
/// (any two may share one here); addresses that are loopback already stay.
pub(crate) fn loopback(role: Role, upstream: SocketAddrV4) -> SocketAddrV4 {
    if upstream.ip().is_loopback() {
        return upstream;
    }
    let mixed = upstream
        .ip()
        .octets()
        .iter()
        .fold(upstream.port(), |mixed, octet| {
            mixed.rotate_left(3) ^ u16::from(*octet)
        });
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1 + mixed % 60_000 + role as u16)
}

/// Rewriting twice changes what rewriting once changes, announces what it wrote, and keeps lengths.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let table = input.table();
    let (role, direction, _) = input.connection();
    let packet = input.rest();

    let mut once = packet.to_vec();
    let mut asked = Vec::new();
    rewrite_addresses(&mut once, &mut |role, upstream| {
        asked.push((role, upstream));
        loopback(role, upstream)
    });
    let announced: Vec<_> = announced_addresses(packet)
        .map(|announced| (announced.role, announced.address))
        .collect();
    assert_eq!(asked, announced, "not asked about what was announced");
    let id = packet.first_chunk().map(|id| u16::from_le_bytes(*id));
    if !id.is_some_and(announces_addresses) {
        assert_eq!(once, packet, "rewritten, though it announces nothing");
    }
    let told: Vec<_> = announced_addresses(&once)
        .map(|announced| (announced.role, announced.address))
        .collect();
    let meant: Vec<_> = (announced.iter())
        .map(|(role, upstream)| (*role, loopback(*role, *upstream)))
        .collect();
    assert_eq!(told, meant, "the client is told something else");
    let mut twice = once.clone();
    rewrite_addresses(&mut twice, &mut loopback);
    assert_eq!(once, twice, "rewriting twice");

    let _ = account_of(&table, role, direction, packet);
    if let Some(map) = map_name(packet) {
        assert!(
            map.len() <= 16 && map.bytes().all(|byte| byte.is_ascii_graphic()),
            "{map:?}"
        );
    }
    if let Some(message) = chat::message(packet) {
        let text = String::from_utf8_lossy(message);
        let mut line = BytesMut::new();
        chat::system_line(&text, &mut line);
        let length = u16::from_le_bytes([line[2], line[3]]);
        assert_eq!(usize::from(length), line.len());
        assert!(line.len() <= chat::MAX_LINE + 5);
    }
}
