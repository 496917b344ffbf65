//! Whose connections they are, and which version the clients speak.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::time::Duration;

use support::{
    House, accept_login, address, char_enter, config, connect, expect, login, map_enter, moved,
    notify_zone, packet, put_address,
};
use tokio::io::AsyncWriteExt;
use warp_bridge::{BridgeNotice, Direction, Level, Origin, PacketClass};
use warp_protocol::stream::ServerRole;
use warp_ro_packet::PacketLength;

const UP: Direction = Direction::ClientToServer;

/// Logs in, enters the char server and then the map: each connection as a client makes it. Returns
/// the map connection and the client's number.
async fn play(
    house: &mut House,
    account: u32,
    map: &str,
    server: &str,
) -> (tokio::net::TcpStream, support::Far, u64) {
    let (mut client, far) = house.connect(house.bridge.login_addr(), &login()).await;
    let number = far.origin.client.unwrap();
    far.say(&accept_login(account));
    expect(&mut client, &accept_login(account)).await;
    client.shutdown().await.unwrap();
    far.finish();
    let door = |role, target| house.bridge.door_of(role, target).unwrap();
    let char = door(ServerRole::Char, address("192.0.2.1:6121"));
    let map_door = door(ServerRole::Map, address(server));
    let (mut client, far) = house.connect(char, &char_enter(account)).await;
    let announced = notify_zone(map, address(server));
    far.say(&[&account.to_le_bytes()[..], &announced].concat());
    let mut rewritten = announced;
    put_address(&mut rewritten[22..28], map_door);
    expect(&mut client, &account.to_le_bytes()).await;
    expect(&mut client, &rewritten).await;
    client.shutdown().await.unwrap();
    far.finish();
    let (client, far) = house.connect(map_door, &map_enter(account)).await;
    (client, far, number)
}

#[tokio::test]
async fn login_char_and_map_are_one_client_and_the_map_is_known() {
    let mut house = House::start(config("127.0.0.1:0"));
    let (mut client, far, number) =
        play(&mut house, 2_000_000, "izlude.gat", "192.0.2.2:5121").await;
    assert_eq!(number, 1);
    let expected = Origin {
        client: Some(1),
        map: Some("izlude".to_owned()),
    };
    assert_eq!(far.origin, expected);
    // What was told of it, in order.
    let mut told = Vec::new();
    while told.len() < 5 {
        told.push(
            house
                .notice("the client", |notice| match notice {
                    BridgeNotice::ClientSeen { client } => Some(format!("seen {client}")),
                    BridgeNotice::Opened { role, client, .. } => {
                        Some(format!("{} {}", role.name(), client.unwrap()))
                    }
                    BridgeNotice::MapChanged { client, map, .. } => {
                        Some(format!("{map} {}", client.unwrap()))
                    }
                    BridgeNotice::ClientGone { .. } => panic!("{notice:?}"),
                    _ => None,
                })
                .await,
        );
    }
    let expected = ["seen 1", "login 1", "char 1", "izlude 1", "map 1"];
    assert_eq!(told, expected);
    // A move on this connection.
    let mut warped = packet(0x0091, 22, 0);
    warped[2..13].copy_from_slice(b"geffen.gat\0");
    far.say(&warped);
    expect(&mut client, &warped).await;
    let changed = house.notice("the move", |notice| match notice {
        BridgeNotice::MapChanged { client, map, .. } => Some((*client, map.clone())),
        _ => None,
    });
    assert_eq!(changed.await, (Some(1), "geffen".to_owned()));
    let view = house.bridge.clients().remove(0);
    assert_eq!((view.client, view.connections), (1, 1));
    assert_eq!(view.map.as_deref(), Some("geffen"));
    assert_eq!(
        (view.role, view.level),
        (Some(ServerRole::Map), Some(Level::Assist))
    );
    let connection = house.bridge.connections().remove(0);
    assert_eq!(connection.client, Some(1));
    house.shutdown().await;
}

#[tokio::test]
async fn eight_clients_at_once_have_their_own_connections_and_counters() {
    let mut house = House::start(config("127.0.0.1:0"));
    let mut playing = Vec::new();
    for nth in 0..8u32 {
        let server = ["192.0.2.1:5121", "192.0.2.2:5121"][nth as usize % 2];
        let map = format!("map{nth}.gat");
        playing.push(play(&mut house, 2_000_000 + nth, &map, server).await);
    }
    // Each walks as often as its number says.
    for (client, far, number) in &mut playing {
        assert_eq!(far.origin.client, Some(*number));
        let walk = packet(0x035F, 5, 9);
        assert_eq!(far.written().await[..2], [0x36, 0x04]);
        for _ in 0..*number {
            client.write_all(&walk).await.unwrap();
            assert_eq!(&far.written().await[..], &walk[..]);
        }
    }
    let clients = house.bridge.clients();
    let numbers: Vec<u64> = clients.iter().map(|client| client.client).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
    for client in &clients {
        assert_eq!(client.connections, 1);
        assert_eq!(client.map, Some(format!("map{}", client.client - 1)));
        let walks = client.counters.class(UP, PacketClass::Movement);
        assert_eq!(walks.packets, client.client);
        // Login, char and map connection.
        let all = client.counters.total(UP).packets;
        assert_eq!(all, 3 + client.client);
    }
    // The same doors served them all, and the sums are right.
    let sum: u64 = clients
        .iter()
        .map(|client| client.counters.total(UP).bytes)
        .sum();
    assert_eq!(house.bridge.counters().total(UP).bytes, sum);
    assert_eq!(house.bridge.counters().opened, 24);
    assert_eq!(house.bridge.counters().refused, 0);
    house.shutdown().await;
}

#[tokio::test]
async fn a_second_login_of_an_account_goes_on_as_the_older_client() {
    let mut house = House::start(config("127.0.0.1:0"));
    let (_client, _far, first) = play(&mut house, 7, "izlude.gat", "192.0.2.2:5121").await;
    let (_client, far) = house.connect(house.bridge.login_addr(), &login()).await;
    assert_eq!(far.origin.client, Some(2));
    far.say(&accept_login(7));
    let gone = house.notice("the merging", |notice| match notice {
        BridgeNotice::ClientGone { client } => Some(*client),
        _ => None,
    });
    assert_eq!(gone.await, 2);
    let clients = house.bridge.clients();
    assert_eq!(clients.len(), 1);
    assert_eq!((clients[0].client, clients[0].connections), (first, 2));
    house.shutdown().await;
}

#[tokio::test]
async fn a_client_that_stays_away_is_forgotten() {
    let mut zone = config("127.0.0.1:0");
    zone.limits.forget_after = Duration::from_millis(50);
    let mut house = House::start(zone);
    let (client, far, number) = play(&mut house, 7, "izlude.gat", "192.0.2.2:5121").await;
    client.set_zero_linger().unwrap();
    drop((client, far));
    let mut closed = 0;
    let gone = house.notice("the end", |notice| match notice {
        BridgeNotice::Closed { .. } => {
            closed += 1;
            None
        }
        BridgeNotice::ClientGone { client } => Some(*client),
        _ => None,
    });
    assert_eq!(gone.await, number);
    assert_eq!(closed, 3, "not before its last connection has ended");
    assert!(house.bridge.clients().is_empty());
    house.shutdown().await;
}

#[tokio::test]
async fn a_login_that_fails_is_forgotten_at_once() {
    let mut house = House::start(config("127.0.0.1:0"));
    let (mut client, far) = house.connect(house.bridge.login_addr(), &login()).await;
    let refused = packet(0x083E, 26, 0);
    far.say(&refused);
    expect(&mut client, &refused).await;
    drop(client);
    far.finish();
    let gone = house.notice("the end", |notice| match notice {
        BridgeNotice::ClientGone { client } => Some(*client),
        _ => None,
    });
    assert_eq!(gone.await, 1);
    house.shutdown().await;
}

#[tokio::test]
async fn the_version_is_found_out_by_the_first_packets() {
    let mut zone = config("127.0.0.1:0");
    zone.game.packet_version = 0;
    let mut house = House::start(zone);
    // AC_ACCEPT_LOGIN of clients before 2017-03-15.
    let (mut client, far) = house.connect(house.bridge.login_addr(), &login()).await;
    let mut accept = packet(0x0069, 47 + 32, 0);
    accept[2..4].copy_from_slice(&79u16.to_le_bytes());
    accept[8..12].copy_from_slice(&5u32.to_le_bytes());
    let char = address("192.0.2.1:6121");
    put_address(&mut accept[47..53], char);
    far.say(&accept);
    let char_door = house.bridge.door_of(ServerRole::Char, char).unwrap();
    put_address(&mut accept[47..53], char_door);
    expect(&mut client, &accept).await;
    let mut known = Vec::new();
    while known.last() != Some(&(20_151_029, false, false)) {
        known.push(version_known(&mut house).await);
    }
    // The map entry of 20130807 and 20151029 is 022D; ids hidden by the older one's keys tell.
    let table = warp_bridge::PacketTable::for_version(20_130_807).unwrap();
    let keys = table.cipher().unwrap();
    let mut cipher = warp_ro_packet::IdCipher::new(keys);
    let roles = *table.roles();
    let mut enter = packet(cipher.apply(roles.map_enter.unwrap()), 19, 0);
    enter[2..6].copy_from_slice(&5u32.to_le_bytes());
    let door = house
        .bridge
        .door_of(ServerRole::Map, address("192.0.2.1:5121"))
        .unwrap();
    let (mut client, mut far) = house.connect(door, &enter).await;
    assert_eq!(far.origin.client, Some(1));
    let message = far.next().await.unwrap();
    assert_eq!(&message.body[..], &enter[..]);
    assert_eq!(message.kind, warp_protocol::stream::MessageKind::Alone);
    assert_eq!(version_known(&mut house).await, (20_130_807, true, true));
    let walk = [cipher.apply(roles.map_loaded.unwrap()).to_le_bytes()].concat();
    client.write_all(&walk).await.unwrap();
    assert_eq!(&far.written().await[..], &walk[..]);
    assert_eq!(house.bridge.connections().len(), 2);
    for connection in house.bridge.connections() {
        assert_eq!(connection.level, Level::Assist, "{connection:?}");
    }
    house.shutdown().await;
}

async fn version_known(house: &mut House) -> (u32, bool, bool) {
    house
        .notice("the version", |notice| match notice {
            BridgeNotice::VersionKnown {
                version,
                ciphered,
                certain,
            } => Some((*version, *ciphered, *certain)),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn a_client_that_speaks_late_is_still_known() {
    let mut zone = config("127.0.0.1:0");
    zone.limits.first_packet = Duration::ZERO;
    let mut house = House::start(zone);
    let door = house
        .bridge
        .door_of(ServerRole::Map, address("192.0.2.1:5121"))
        .unwrap();
    let mut client = connect(door).await;
    let mut far = house.stream().await;
    assert_eq!(far.origin, Origin::default());
    let (n, known) = house.opened().await;
    assert_eq!((n, known), (1, None));
    // A server that speaks first goes on as well.
    far.say(&moved(1));
    expect(&mut client, &moved(1)).await;
    // In two pieces, of which the first says too little.
    let enter = map_enter(7);
    client.write_all(&enter[..1]).await.unwrap();
    client.write_all(&enter[1..]).await.unwrap();
    assert_eq!(&far.written().await[..], &enter[..]);
    let seen = house.notice("the client", |notice| match notice {
        BridgeNotice::ClientSeen { client } => Some(*client),
        _ => None,
    });
    assert_eq!(seen.await, 1);
    assert_eq!(house.bridge.connections()[0].client, Some(1));
    house.shutdown().await;
}

#[tokio::test]
async fn a_client_of_no_known_version_passes_and_is_nobodys() {
    let mut zone = config("127.0.0.1:0");
    zone.game.packet_version = 0;
    let mut house = House::start(zone);
    let door = house
        .bridge
        .door_of(ServerRole::Map, address("192.0.2.1:5121"))
        .unwrap();
    let hidden = packet(0x7AAB, 23, 0);
    for (door, reason) in [
        (door, "obfuscated-ids"),
        (house.bridge.login_addr(), "unknown-version"),
    ] {
        let (mut client, mut far) = house.connect(door, &hidden).await;
        assert_eq!(far.origin, Origin::default());
        let step = house.notice("the step", |notice| match notice {
            BridgeNotice::SteppedDown { to, reason, .. } => Some((*to, reason.code())),
            BridgeNotice::ClientSeen { .. } => panic!("{notice:?}"),
            _ => None,
        });
        assert_eq!(step.await, (Level::Opaque, reason));
        assert_eq!(&far.written().await[..], &hidden[..]);
        far.say(&[0xFF; 7]);
        expect(&mut client, &[0xFF; 7]).await;
    }
    house.shutdown().await;
}

/// 20180621 and 20200401 begin alike; an item on the floor has 17 bytes in one and 19 in the other.
#[tokio::test]
async fn what_versions_cut_differently_is_not_cut_wrongly() {
    for version in [20_180_621, 20_200_401] {
        let mut zone = config("127.0.0.1:0");
        zone.game.packet_version = 0;
        let mut house = House::start(zone);
        let table = warp_bridge::PacketTable::for_version(version).unwrap();
        let PacketLength::Fixed(length) = table.length_of(0x009D).unwrap() else {
            panic!("no fixed length");
        };
        let item = packet(0x009D, usize::from(length), 0);
        let mut enter = packet(table.roles().map_enter.unwrap(), 19, 0);
        enter[2..6].copy_from_slice(&2_000_001u32.to_le_bytes());
        let door = house
            .bridge
            .door_of(ServerRole::Map, address("192.0.2.1:5121"))
            .unwrap();
        let (mut client, far) = house.connect(door, &enter).await;
        assert_eq!(version_known(&mut house).await, (20_200_401, false, false));
        // Alone and in two pieces: it has to come out whole all the same.
        far.say(&item[..9]);
        far.say(&item[9..]);
        expect(&mut client, &item).await;
        assert_eq!(version_known(&mut house).await, (version, false, true));
        // Nothing is out of step: the address behind it is found.
        let server = address("192.0.2.2:5121");
        let mut change = packet(0x0AC7, 156, 0);
        change[2..10].copy_from_slice(b"town.gat");
        put_address(&mut change[22..28], server);
        far.say(&[&item[..], &change].concat());
        expect(&mut client, &item).await;
        let door = house.bridge.door_of(ServerRole::Map, server).unwrap();
        put_address(&mut change[22..28], door);
        expect(&mut client, &change).await;
        let level = house.bridge.connections()[0].level;
        assert_eq!(level, Level::Assist);
    }
}
