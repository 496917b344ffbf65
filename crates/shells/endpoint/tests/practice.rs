//! Whole sessions of the practice game through bridge, session link and endpoint.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::time::Duration;

use support::{Setup, VERSION, World, soon, wire};
use warp_bridge::{BridgeNotice, Direction};
use warp_practice::client::{self, ClientConfig, Summary};
use warp_practice::server::{Server, ServerConfig};
use warp_protocol::carrier::PathKind;
use warp_protocol::stream::ServerRole;
use warp_protocol::zone::{GameServer, ReadLevel};

fn game_of(server: &Server) -> GameServer {
    GameServer {
        packet_version: VERSION,
        level: ReadLevel::Assist,
        login: server.login_addr(),
        char: vec![server.char_addr()],
        map: server
            .map2_addr()
            .into_iter()
            .chain([server.map_addr()])
            .collect(),
    }
}

async fn play(world: &World) -> Summary {
    let mut config = ClientConfig::new(world.bridge.login_addr(), "test1", "test1");
    config.rate = 40;
    config.play_for = Some(Duration::from_millis(500));
    config.change_every = Some(Duration::from_millis(100));
    soon("a session", client::run(config, |_event| ()))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_session_is_right_in_every_byte() {
    let server = Server::start(ServerConfig::loopback()).await.unwrap();
    let mut world = World::start(Setup::new(game_of(&server))).await;
    let summary = play(&world).await;
    assert!(summary.ok, "{summary:?}");
    // Login, char, map, then map changes with another map server, char and map again.
    let mut closed = Vec::new();
    while closed.len() < 6 {
        let connection = world.notice("connections", |notice| match notice {
            BridgeNotice::Closed {
                role,
                clean,
                up,
                down,
                ..
            } => Some((*role, *clean, up.clone(), down.clone())),
            BridgeNotice::Refused { .. }
            | BridgeNotice::SteppedDown { .. }
            | BridgeNotice::Partial { .. }
            | BridgeNotice::DoorMissing { .. } => panic!("{notice:?}"),
            _ => None,
        });
        closed.push(connection.await);
    }
    assert!(closed.iter().all(|(_, clean, ..)| *clean), "{closed:?}");
    for role in [ServerRole::Login, ServerRole::Char, ServerRole::Map] {
        assert!(closed.iter().any(|(of, ..)| *of == role), "{role:?}");
    }
    // What the bridge took is what the endpoint handed on, and the other way round.
    let counters = world.bridge.counters();
    let view = world.endpoint.sessions().remove(0);
    assert_eq!(
        counters.total(Direction::ClientToServer).bytes,
        view.up_bytes
    );
    assert_eq!(
        counters.total(Direction::ServerToClient).bytes,
        view.down_bytes
    );
    assert_eq!(
        counters
            .raw(Direction::ClientToServer, Some(PathKind::Wss))
            .bytes,
        0
    );
    assert_eq!(counters.refused, 0);
    world.shutdown().await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_the_zone_does_not_name_get_doors_when_they_are_announced() {
    let server = Server::start(ServerConfig::loopback()).await.unwrap();
    let mut setup = Setup::new(game_of(&server));
    setup.bridge_game = support::game_at(server.login_addr());
    let mut world = World::start(setup).await;
    assert_eq!(
        world.bridge.door_of(ServerRole::Char, server.char_addr()),
        None
    );
    let summary = play(&world).await;
    assert!(summary.ok, "{summary:?}");
    let door = world
        .bridge
        .door_of(ServerRole::Char, server.char_addr())
        .unwrap();
    assert!(door.ip().is_loopback());
    let announced = world.notice("the announcement", |notice| match notice {
        BridgeNotice::ServerAnnounced { target, door, .. } if *target == server.char_addr() => {
            Some(*door)
        }
        _ => None,
    });
    assert_eq!(announced.await, door);
    // A second session finds the same doors.
    let summary = play(&world).await;
    assert!(summary.ok, "{summary:?}");
    assert_eq!(
        world.bridge.door_of(ServerRole::Char, server.char_addr()),
        Some(door)
    );
    world.shutdown().await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_does_not_notice_that_its_carrier_is_replaced() {
    let server = Server::start(ServerConfig::loopback()).await.unwrap();
    let mut world = World::start(Setup::new(game_of(&server))).await;
    let link = world.link.clone();
    let endpoint = world.endpoint.clone();
    let old = world.cut.clone();
    let on_map = std::sync::Arc::new(tokio::sync::Notify::new());
    let bell = on_map.clone();
    let mut config = ClientConfig::new(world.bridge.login_addr(), "test2", "test2");
    config.rate = 100;
    config.play_for = Some(Duration::from_millis(1_000));
    config.change_every = Some(Duration::from_millis(200));
    let playing = tokio::spawn(client::run(config, move |event| {
        if matches!(event, client::ClientEvent::OnMap { .. }) {
            bell.notify_one();
        }
    }));
    soon("the first map", on_map.notified()).await;
    old.cancel();
    world.cut = tokio_util::sync::CancellationToken::new();
    let (ours, theirs) = wire(&world.cut);
    endpoint.attach_wss(support::SESSION, theirs).unwrap();
    link.attach(PathKind::Wss, ours);
    let summary = soon("the session", playing).await.unwrap().unwrap();
    assert!(summary.ok, "{summary:?}");
    world.shutdown().await;
    server.shutdown().await;
}
