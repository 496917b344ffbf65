//! Where the bridge listens, and what it does without a link.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::io::ErrorKind;
use std::net::SocketAddr;

use async_trait::async_trait;
use support::{House, address, config, login, soon, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use warp_bridge::{
    BridgeError, BridgeNotice, LinkGone, OpenedStream, Origin, RefusedReason, StreamOpener,
};
use warp_protocol::ProblemCode;
use warp_protocol::stream::{OpenRequest, ServerRole};

/// A link that has ended.
struct Gone;

#[async_trait]
impl StreamOpener for Gone {
    async fn open(&self, _: &OpenRequest, _: &Origin) -> Result<OpenedStream, LinkGone> {
        Err(LinkGone)
    }
}

/// A link that has no path now. Tells when an attempt begins, and, by the sender's end, when it is
/// given up.
struct Held(mpsc::UnboundedSender<mpsc::Sender<()>>, mpsc::Sender<()>);

#[async_trait]
impl StreamOpener for Held {
    async fn open(&self, _: &OpenRequest, _: &Origin) -> Result<OpenedStream, LinkGone> {
        let held = self.1.clone();
        self.0.send(held.clone()).unwrap();
        std::future::pending::<()>().await;
        drop(held);
        Err(LinkGone)
    }
}

/// Whether a connection is reset. That may come before the client's system has told it that it is
/// connected.
async fn is_reset(address: SocketAddr) -> bool {
    let read = soon("a reset", async {
        let mut stream = TcpStream::connect(address).await?;
        stream.read(&mut [0; 8]).await
    });
    read.await
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn a_port_in_use_and_an_address_for_all_the_world_are_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = start(config(&address.to_string()), Gone).unwrap_err();
    assert!(matches!(error, BridgeError::PortInUse { address: named } if named == address));
    assert_eq!(error.code(), ProblemCode::PortInUse);
    for world in ["0.0.0.0:0", "192.0.2.1:6900", "[::]:0"] {
        let error = start(config(world), Gone).unwrap_err();
        assert!(matches!(error, BridgeError::NotLoopback { .. }), "{error}");
        assert_eq!(error.code(), ProblemCode::PortRefused);
    }
}

#[tokio::test]
async fn every_server_that_the_zone_names_has_a_door_of_its_own() {
    let (bridge, _notices) = start(config("127.0.0.1:0"), Gone).unwrap();
    let of = |role, target: &str| bridge.door_of(role, target.parse().unwrap());
    let doors = [
        of(ServerRole::Login, "192.0.2.1:6900"),
        of(ServerRole::Char, "192.0.2.1:6121"),
        of(ServerRole::Map, "192.0.2.1:5121"),
        of(ServerRole::Map, "192.0.2.2:5121"),
    ];
    let mut ports: Vec<u16> = doors
        .iter()
        .map(|door: &Option<SocketAddr>| {
            let door = door.unwrap();
            assert!(door.ip().is_loopback());
            door.port()
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4);
    assert_eq!(of(ServerRole::Map, "192.0.2.9:1"), None);
    let login = bridge.login_addr();
    soon("the bridge", bridge.shutdown()).await;
    let refused = soon("connecting", TcpStream::connect(login))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn without_a_link_the_client_is_reset_and_the_owner_told() {
    let (bridge, mut notices) = start(config("127.0.0.1:0"), Gone).unwrap();
    assert!(is_reset(bridge.login_addr()).await);
    let notice = soon("a notice", notices.recv()).await.unwrap();
    let expected = BridgeNotice::Refused {
        n: 1,
        role: ServerRole::Login,
        target: "192.0.2.1:6900".parse().unwrap(),
        reason: RefusedReason::LinkGone,
    };
    assert_eq!(notice, expected);
    assert_eq!(RefusedReason::LinkGone.code(), ProblemCode::LinkLost);
    assert_eq!(bridge.counters().refused, 1);
    soon("the bridge", bridge.shutdown()).await;
}

#[tokio::test]
async fn a_client_that_gives_up_ends_its_attempt_and_frees_its_place() {
    let (begun, mut attempts) = mpsc::unbounded_channel();
    let (held, mut given_up) = mpsc::channel(1);
    let mut config = config("127.0.0.1:0");
    config.limits.connections = 1;
    let (bridge, mut notices) = start(config, Held(begun, held)).unwrap();
    let mut first = TcpStream::connect(bridge.login_addr()).await.unwrap();
    // What it has said already does not hide that it is gone.
    first.write_all(&[0x64, 0x00]).await.unwrap();
    drop(soon("an attempt", attempts.recv()).await.unwrap());
    assert!(is_reset(bridge.login_addr()).await);
    let reason = loop {
        match soon("a notice", notices.recv()).await.unwrap() {
            BridgeNotice::Refused { reason, .. } => break reason,
            // The first one, which has said something.
            BridgeNotice::ClientSeen { client: 1 } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason, RefusedReason::TooManyConnections);
    first.set_zero_linger().unwrap();
    drop(first);
    // Its place is free: somebody else's attempt begins.
    soon("a free place", async {
        loop {
            // Reset at once as long as the place is taken.
            let _third = TcpStream::connect(bridge.login_addr()).await;
            tokio::select! {
                _attempt = attempts.recv() => return,
                _refused = notices.recv() => {}
            }
        }
    })
    .await;
    // The bridge gives up what is left when it closes, and the opener with it.
    soon("the bridge", bridge.shutdown()).await;
    assert_eq!(soon("the end", given_up.recv()).await, None);
}

/// Whether `address` is listened on; `None` if this machine has no such address.
async fn is_listened_on(address: SocketAddr) -> Option<bool> {
    match TcpListener::bind(address).await {
        Ok(_free) => Some(false),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Some(true),
        Err(_) => None,
    }
}

#[tokio::test]
async fn only_loopback_is_ever_listened_on() {
    let mut house = House::start(config("127.0.0.1:0"));
    // One that the zone does not name, announced.
    let (_client, far) = house.connect(house.bridge.login_addr(), &login()).await;
    let mut accept = support::accept_login(2_000_000);
    accept.resize(64 + 160, 0);
    accept[2..4].copy_from_slice(&224u16.to_le_bytes());
    let other = address("192.0.2.77:6121");
    support::put_address(&mut accept[64..70], other);
    far.say(&accept);
    let door = house.notice("the announcement", |notice| match notice {
        BridgeNotice::ServerAnnounced { target, door, .. } if *target == other => Some(*door),
        _ => None,
    });
    let door = door.await;
    let game = support::game();
    let named = [
        (ServerRole::Char, game.char[0]),
        (ServerRole::Map, game.map[0]),
        (ServerRole::Map, game.map[1]),
    ];
    let mut doors = vec![house.bridge.login_addr(), door];
    doors.extend(named.map(|(role, target)| house.bridge.door_of(role, target).unwrap()));
    assert_eq!(house.bridge.door_of(ServerRole::Char, other), Some(door));
    for door in doors {
        assert_eq!(door.ip(), std::net::Ipv4Addr::LOCALHOST);
        assert_eq!(is_listened_on(door).await, Some(true), "{door}");
        // Neither at any address nor at another loopback address of the machine.
        let elsewhere = address(&format!("127.0.0.9:{}", door.port()));
        assert_ne!(is_listened_on(elsewhere).await, Some(true), "{door}");
    }
    house.shutdown().await;
}

#[tokio::test]
async fn the_same_server_has_the_same_door_for_every_client() {
    let mut house = House::start(config("127.0.0.1:0"));
    let other = address("192.0.2.77:5121");
    let char = house
        .bridge
        .door_of(ServerRole::Char, address("192.0.2.1:6121"))
        .unwrap();
    let mut doors = Vec::new();
    for account in 1..=3 {
        let (mut client, far) = house.connect(char, &support::char_enter(account)).await;
        // Behind the raw account id.
        let announced = support::notify_zone("prontera.gat", other);
        far.say(&[&account.to_le_bytes()[..], &announced].concat());
        let mut packet = [0; 4 + 156];
        soon("0AC5", client.read_exact(&mut packet)).await.unwrap();
        doors.push(packet[4 + 22..4 + 28].to_vec());
    }
    let door = house.bridge.door_of(ServerRole::Map, other).unwrap();
    let mut expected = [0; 6];
    support::put_address(&mut expected, door);
    assert_eq!(doors, [expected; 3]);
    house.shutdown().await;
}
