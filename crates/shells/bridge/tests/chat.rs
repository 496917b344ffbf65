//! Commands in the game's chat, and what keeps a session alive.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use bytes::BytesMut;
use support::{Far, House, LOADED, address, chat, config, expect, map_enter, moved, packet};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use warp_bridge::{BridgeNotice, Direction, PacketClass};
use warp_protocol::carrier::PathKind;
use warp_protocol::stream::{MessageKind, ServerRole};

const UP: Direction = Direction::ClientToServer;
const DOWN: Direction = Direction::ServerToClient;

/// A player on a map: connection 1 of client 1.
async fn on_a_map(house: &mut House) -> (TcpStream, Far) {
    let door = house
        .bridge
        .door_of(ServerRole::Map, address("192.0.2.1:5121"))
        .unwrap();
    let (mut client, mut far) = house.connect(door, &map_enter(7)).await;
    let enter = far.next().await.unwrap();
    assert_eq!(enter.kind, MessageKind::Alone);
    assert_eq!(house.opened().await, (1, Some(1)));
    far.say(&moved(1));
    expect(&mut client, &moved(1)).await;
    client.write_all(&LOADED).await.unwrap();
    assert_eq!(&far.written().await[..], LOADED);
    far.say(&moved(2));
    expect(&mut client, &moved(2)).await;
    (client, far)
}

fn lines(lines: &[&str]) -> (Vec<String>, Vec<u8>) {
    let mut packets = BytesMut::new();
    for line in lines {
        warp_ro_packet::chat::system_line(line, &mut packets);
    }
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    (lines, packets.to_vec())
}

#[tokio::test]
async fn packets_are_shown_while_somebody_looks_and_not_otherwise() {
    let mut house = House::start(config("127.0.0.1:0"));
    let (mut client, mut far) = on_a_map(&mut house).await;
    assert_eq!(house.bridge.take_inspected(100), (Vec::new(), 0));
    house.bridge.inspect(true);
    let said = chat("Ann : hello");
    client.write_all(&said).await.unwrap();
    assert_eq!(far.written().await, said);
    far.say(&moved(3));
    expect(&mut client, &moved(3)).await;
    let (packets, dropped) = house.bridge.take_inspected(100);
    assert_eq!(dropped, 0);
    let seen: Vec<_> = packets
        .iter()
        .map(|one| {
            (
                one.number,
                one.direction,
                one.role,
                one.client,
                one.packet.length,
            )
        })
        .collect();
    let map = ServerRole::Map;
    let lengths = (said.len(), moved(3).len());
    assert_eq!(
        seen,
        [
            (0, UP, map, Some(1), lengths.0),
            (1, DOWN, map, Some(1), lengths.1)
        ]
    );
    assert_eq!(packets[0].packet.class, PacketClass::Chat);
    assert!(
        packets[0]
            .packet
            .fields
            .iter()
            .any(|field| field.value.to_string().contains("hello"))
    );
    house.bridge.inspect(false);
    far.say(&moved(4));
    expect(&mut client, &moved(4)).await;
    assert_eq!(house.bridge.take_inspected(100), (Vec::new(), 0));
}

#[tokio::test]
async fn a_command_is_answered_while_the_server_is_silent() {
    let mut house = House::start(config("127.0.0.1:0"));
    let (mut client, mut far) = on_a_map(&mut house).await;
    let said = [
        chat("Ann : /p2p status"),
        chat("Ann : /p2px"),
        chat("Ann : hello"),
    ];
    client.write_all(&said.concat()).await.unwrap();
    let command = house.notice("the command", |notice| match notice {
        BridgeNotice::Command { n, client, line } => Some((*n, *client, line.clone())),
        _ => None,
    });
    let expected = (1, Some(1), "/p2p status".to_owned());
    assert_eq!(command.await, expected);
    // The server gets the rest, and says nothing.
    assert_eq!(&far.written().await[..], &said[1][..]);
    assert_eq!(&far.written().await[..], &said[2][..]);
    let (answer, packets) = lines(&["path: direct", "ping: 20 ms"]);
    assert!(house.bridge.answer(1, &answer));
    expect(&mut client, &packets).await;
    // Once more, in the middle of what the server says.
    far.say(&moved(3)[..4]);
    assert!(house.bridge.answer(1, &answer));
    expect(&mut client, &packets).await;
    far.say(&moved(3)[4..]);
    expect(&mut client, &moved(3)).await;
    assert!(!house.bridge.answer(2, &answer), "no such connection");
    house.shutdown().await;
}

#[tokio::test]
async fn commands_can_be_switched_off() {
    let mut zone = config("127.0.0.1:0");
    zone.commands = false;
    let mut house = House::start(zone);
    let (mut client, mut far) = on_a_map(&mut house).await;
    let said = chat("Ann : /p2p status");
    client.write_all(&said).await.unwrap();
    assert_eq!(&far.written().await[..], &said[..]);
    house.shutdown().await;
}

#[tokio::test]
async fn the_endpoint_is_given_a_packet_while_the_player_is_on_a_map() {
    let mut house = House::start(config("127.0.0.1:0"));
    let (mut client, mut far) = on_a_map(&mut house).await;
    assert_eq!(&far.kept().await[..], &packet(0x0360, 6, 0)[..]);
    // The client's own, written and kept.
    let sync = packet(0x0360, 6, 5);
    client.write_all(&sync).await.unwrap();
    let (written, kept) = (far.next().await.unwrap(), far.next().await.unwrap());
    assert_eq!(
        (written.kind, &written.body[..]),
        (MessageKind::Plain, &sync[..])
    );
    assert_eq!(
        (kept.kind, &kept.body[..]),
        (MessageKind::KeepAlive, &sync[..])
    );
    // Taken away while the client itself is silent: the server sends it to another map.
    let mut warped = packet(0x0091, 22, 0);
    warped[2..13].copy_from_slice(b"geffen.gat\0");
    far.say(&warped);
    assert!(far.kept().await.is_empty());
    expect(&mut client, &warped).await;
    client.write_all(&LOADED).await.unwrap();
    assert_eq!(&far.written().await[..], LOADED);
    far.say(&moved(1));
    assert_eq!(&far.kept().await[..], &sync[..]);
    // It is no part of what the client sent.
    drop(client);
    let up = house.notice("the end", |notice| match notice {
        BridgeNotice::Closed { up, .. } => Some(up.bytes),
        _ => None,
    });
    far.finish();
    assert_eq!(up.await, (23 + 2 + 6 + 2) as u64);
    house.shutdown().await;
}

#[tokio::test]
async fn packets_are_counted_by_the_path_that_carries_them() {
    let mut house = House::start(config("127.0.0.1:0"));
    house.path.set(Some(PathKind::Wss));
    let (mut client, mut far) = on_a_map(&mut house).await;
    let walk = packet(0x035F, 5, 9);
    for (path, walks) in [(PathKind::Wss, 1), (PathKind::Direct, 3)] {
        house.path.set(Some(path));
        for nth in 0..walks {
            client.write_all(&walk).await.unwrap();
            assert_eq!(&far.written().await[..], &walk[..]);
            far.say(&moved(nth));
            expect(&mut client, &moved(nth)).await;
        }
    }
    let counters = house.bridge.counters();
    let class = PacketClass::Movement;
    let packets = |direction, path| counters.counter(direction, class, Some(path)).packets;
    assert_eq!(packets(UP, PathKind::Wss), 1);
    assert_eq!(packets(UP, PathKind::Direct), 3);
    // Two moves of the beginning.
    assert_eq!(packets(DOWN, PathKind::Wss), 2 + 1);
    assert_eq!(packets(DOWN, PathKind::Direct), 3);
    let bytes = counters.counter(UP, class, Some(PathKind::Direct)).bytes;
    assert_eq!(bytes, 15);
    assert_eq!(counters.raw(UP, Some(PathKind::Wss)).packets, 0);
    // The same of the client.
    let client = house.bridge.clients().remove(0);
    assert_eq!(client.counters, counters.traffic);
    house.shutdown().await;
}
