//! Opaque zones: fixed doors, untouched bytes, the client's own writes.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use support::{House, connect, expect, free_port, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use warp_bridge::{
    BridgeConfig, BridgeError, BridgeNotice, Direction, Level, Origin, StepDownReason,
};
use warp_protocol::ProblemCode;
use warp_protocol::stream::ServerRole;

fn free_ports<const N: usize>() -> [u16; N] {
    std::array::from_fn(|_| free_port())
}

fn upstream(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// An opaque zone at `login`, `char` and `map`.
fn config([login, char, map]: [u16; 3]) -> BridgeConfig {
    let mut config = support::config("127.0.0.1:0");
    config.game.level = Level::Opaque;
    config.game.packet_version = 0;
    config.game.login = upstream(login);
    config.game.char = vec![upstream(char)];
    config.game.map = vec![upstream(map), upstream(map)];
    config
}

#[tokio::test]
async fn each_server_is_found_at_its_own_port() {
    let ports = free_ports();
    let house = House::start(config(ports));
    let [login, char, map] = ports;
    assert_eq!(house.bridge.login_addr(), loopback(login));
    for (role, port) in [(ServerRole::Char, char), (ServerRole::Map, map)] {
        let door = house.bridge.door_of(role, upstream(port));
        assert_eq!(door, Some(loopback(port)));
    }
    house.shutdown().await;
    // The configuration says otherwise.
    let [elsewhere] = free_ports();
    let mut config = config(ports);
    config.login_listen = loopback(elsewhere);
    let house = House::start(config);
    assert_eq!(house.bridge.login_addr(), loopback(elsewhere));
    house.shutdown().await;
}

#[tokio::test]
async fn a_fixed_port_in_use_is_told() {
    let ports = free_ports();
    let taken = TcpListener::bind(loopback(ports[2])).unwrap();
    let error = House::try_start(config(ports)).err().unwrap();
    assert!(
        matches!(error, BridgeError::FixedPortInUse { address, target, .. }
            if address == taken.local_addr().unwrap() && target == upstream(ports[2])),
        "{error}"
    );
    assert_eq!(error.code(), ProblemCode::PortInUse);
    assert_eq!(error.address(), loopback(ports[2]));
}

#[tokio::test]
async fn a_server_in_two_roles_has_one_door() {
    let [login, map] = free_ports();
    let mut config = config([login, login, map]);
    config.game.char.push(upstream(map));
    let house = House::start(config);
    assert_eq!(house.bridge.login_addr(), loopback(login));
    let door = house.bridge.door_of(ServerRole::Map, upstream(map));
    assert_eq!(door, Some(loopback(map)));
    house.shutdown().await;
}

#[tokio::test]
async fn one_write_of_the_client_is_one_message() {
    let ports = free_ports();
    let mut house = House::start(config(ports));
    // The stream is opened without waiting for the client.
    let mut client = connect(loopback(ports[2])).await;
    let mut far = house.stream().await;
    assert_eq!(far.origin, Origin::default());
    let by_zone = house.notice("the step", |notice| match notice {
        BridgeNotice::SteppedDown {
            from, to, reason, ..
        } => Some((*from, *to, *reason)),
        _ => None,
    });
    let expected = (Level::Assist, Level::Opaque, StepDownReason::ByZone);
    assert_eq!(by_zone.await, expected);
    // What looks like packets and pieces of them stays as it was written: each is read by the
    // bridge before the next is written. The largest is longer than a socket's usual read.
    let writes = [
        vec![0x36],
        [support::map_enter(1), support::LOADED.to_vec()].concat(),
        support::chat("Ann : /p2p status"),
        vec![0xEE; 40_000],
        vec![0x7d, 0x00, 0x7d, 0x00, 0x7d],
    ];
    for write in &writes {
        client.write_all(write).await.unwrap();
        let mut written = far.written().await.to_vec();
        // Loopback hands over a long write in pieces when the reader is quick.
        while written.len() < write.len() {
            written.extend(far.written().await);
        }
        assert_eq!(&written, write);
    }
    let raw = (house.bridge.counters().traffic).raw_total(Direction::ClientToServer);
    let length: usize = writes.iter().map(Vec::len).sum();
    assert_eq!(raw.bytes, length as u64);
    house.shutdown().await;
}

#[tokio::test]
async fn one_read_of_the_server_is_one_write_to_the_client() {
    let ports = free_ports();
    let mut house = House::start(config(ports));
    let (mut client, far) = house.connect(loopback(ports[2]), &[1]).await;
    let mut buffer = vec![0; 100_000];
    for body in [&[0x87, 0x00][..], &[9; 5], &[0xFF; 1_000]] {
        far.say(body);
        let count = soon("a read", client.read(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..count], body);
    }
    // Nothing is lost where they come at once.
    far.say_all(&[b"one", b"two", b"three"]);
    expect(&mut client, b"onetwothree").await;
    // No client, no answers, nothing kept.
    assert!(house.bridge.clients().is_empty());
    let connection = house.bridge.connections().remove(0);
    assert_eq!((connection.level, connection.client), (Level::Opaque, None));
    assert!(!house.bridge.answer(connection.n, &["line".to_owned()]));
    house.shutdown().await;
}
