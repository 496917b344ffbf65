//! How connections are opened, carried and ended, with servers and clients of the test's own.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::{Setup, World, accept, connect, free_port, game_at, listener, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use warp_bridge::{BridgeNotice, Direction, Level, RefusedReason, StepDownReason};
use warp_protocol::stream::{OpenRefused, ServerRole};

/// CA_LOGIN, 55 bytes.
fn login_packet() -> Vec<u8> {
    let mut packet = vec![0x64, 0x00];
    packet.resize(55, 7);
    packet
}

/// CZ_ENTER (23 bytes) and CZ_NOTIFY_ACTORINIT (2 bytes) in one piece.
fn enter_and_loaded() -> Vec<u8> {
    let mut bytes = vec![0x36, 0x04];
    bytes.resize(23, 7);
    bytes.extend_from_slice(&[0x7d, 0x00]);
    bytes
}

/// CZ_REQUEST_MOVE.
const WALK: [u8; 5] = [0x5f, 0x03, 1, 2, 3];
/// ZC_NOTIFY_PLAYERMOVE.
const MOVED: [u8; 12] = [0x87, 0x00, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

/// CZ_REQUEST_TIME.
fn sync(tick: u8) -> [u8; 6] {
    [0x60, 0x03, tick, tick, tick, tick]
}

/// Makes the zone opaque. Its servers are on this machine, where their own ports are taken.
fn opaque(setup: &mut Setup) {
    setup.bridge_game.level = Level::Opaque;
    setup.bridge_game.char = vec![([127, 0, 0, 2], free_port()).into()];
    setup.bridge_game.map = vec![([127, 0, 0, 2], free_port()).into()];
    setup.login_listen = ([127, 0, 0, 1], free_port()).into();
}

/// A zone whose map server is at `address`.
fn map_at(address: SocketAddr) -> Setup {
    let mut setup = Setup::new(game_at("127.0.0.2:3".parse().unwrap()));
    setup.bridge_game.map = vec![address];
    setup.endpoint_game.map = vec![address];
    setup
}

/// Reads to the end; the error's kind if there is one.
async fn read_all(stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = Vec::new();
    match soon("the end of a socket", stream.read_to_end(&mut bytes)).await {
        Ok(_) => Ok(bytes),
        Err(error) => Err(error.kind()),
    }
}

/// Connects and reads to the end. A reset may come before the client's system has told it that it
/// is connected.
async fn try_connection(address: SocketAddr) -> Result<Vec<u8>, ErrorKind> {
    match soon("connecting", TcpStream::connect(address)).await {
        Ok(mut stream) => read_all(&mut stream).await,
        Err(error) => Err(error.kind()),
    }
}

/// A connection that is used as a clock: each round goes through the whole way and back.
struct Rounds {
    client: TcpStream,
    server: TcpStream,
}

impl Rounds {
    async fn open(door: SocketAddr, listener: &TcpListener) -> Rounds {
        let mut client = connect(door).await;
        client.write_all(&WALK).await.unwrap();
        let mut server = accept(listener).await;
        server.read_exact(&mut [0; WALK.len()]).await.unwrap();
        Rounds { client, server }
    }

    async fn run(&mut self, rounds: usize) {
        soon("rounds", async {
            for _ in 0..rounds {
                self.client.write_all(&WALK).await.unwrap();
                let mut walk = [0; WALK.len()];
                self.server.read_exact(&mut walk).await.unwrap();
                self.server.write_all(&MOVED).await.unwrap();
                let mut moved = [0; MOVED.len()];
                self.client.read_exact(&mut moved).await.unwrap();
            }
        })
        .await;
    }
}

async fn refused(world: &mut World) -> RefusedReason {
    world
        .notice("a refusal", |notice| match notice {
            BridgeNotice::Refused { reason, .. } => Some(*reason),
            BridgeNotice::Opened { .. } => panic!("{notice:?}"),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn half_closing_passes_in_both_directions() {
    let (listener, address) = listener().await;
    let mut world = World::start(Setup::new(game_at(address))).await;
    let mut client = connect(world.bridge.login_addr()).await;
    client.write_all(&login_packet()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut server = accept(&listener).await;
    assert_eq!(read_all(&mut server).await.unwrap(), login_packet());
    // AC_REFUSE_LOGIN of this version is 083E, 26 bytes.
    let mut answer = vec![0x3e, 0x08];
    answer.resize(26, 1);
    server.write_all(&answer).await.unwrap();
    drop(server);
    assert_eq!(read_all(&mut client).await.unwrap(), answer);
    assert!(world.closed_clean().await);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_first_ends_the_connection_in_good_order() {
    let (listener, address) = listener().await;
    let mut world = World::start(Setup::new(game_at(address))).await;
    let mut client = connect(world.bridge.login_addr()).await;
    drop(accept(&listener).await);
    assert_eq!(read_all(&mut client).await.unwrap(), Vec::<u8>::new());
    drop(client);
    assert!(world.closed_clean().await);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_reset_reaches_the_client() {
    let (listener, address) = listener().await;
    let mut world = World::start(Setup::new(game_at(address))).await;
    let mut client = connect(world.bridge.login_addr()).await;
    client.write_all(&login_packet()).await.unwrap();
    let mut server = accept(&listener).await;
    server.read_exact(&mut [0; 55]).await.unwrap();
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(read_all(&mut client).await, Err(ErrorKind::ConnectionReset));
    assert!(!world.closed_clean().await);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_reset_reaches_the_server() {
    let (listener, address) = listener().await;
    let mut world = World::start(Setup::new(game_at(address))).await;
    let mut client = connect(world.bridge.login_addr()).await;
    client.write_all(&login_packet()).await.unwrap();
    let mut server = accept(&listener).await;
    server.read_exact(&mut [0; 55]).await.unwrap();
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(read_all(&mut server).await, Err(ErrorKind::ConnectionReset));
    assert!(!world.closed_clean().await);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_the_zone_does_not_name_is_not_dialled() {
    let (listener, address) = listener().await;
    let mut setup = Setup::new(game_at(address));
    setup.endpoint_game.login = "127.0.0.3:1".parse().unwrap();
    let mut world = World::start(setup).await;
    let client = try_connection(world.bridge.login_addr()).await;
    assert_eq!(client, Err(ErrorKind::ConnectionReset));
    assert_eq!(
        refused(&mut world).await,
        RefusedReason::Endpoint(OpenRefused::NotAllowed)
    );
    assert_eq!(world.bridge.counters().refused, 1);
    world.shutdown().await;
    // The listener would hold the connection: nothing has come.
    let nothing = std::pin::pin!(listener.accept());
    assert!(futures_util::FutureExt::now_or_never(nothing).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_is_told() {
    let (listener, address) = listener().await;
    drop(listener);
    let mut world = World::start(Setup::new(game_at(address))).await;
    let client = try_connection(world.bridge.login_addr()).await;
    assert_eq!(client, Err(ErrorKind::ConnectionReset));
    let reason = refused(&mut world).await;
    assert_eq!(reason, RefusedReason::Endpoint(OpenRefused::ServerRefused));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_only_so_many_connections() {
    let (listener, address) = listener().await;
    let mut setup = Setup::new(game_at(address));
    setup.endpoint.connections = 1;
    let mut world = World::start(setup).await;
    let first = connect(world.bridge.login_addr()).await;
    let server = accept(&listener).await;
    let opened = world.notice("the first", |notice| match notice {
        BridgeNotice::Opened { n, .. } => Some(*n),
        _ => None,
    });
    assert_eq!(opened.await, 1);
    assert_eq!(world.endpoint.sessions()[0].streams, 1);
    let second = try_connection(world.bridge.login_addr()).await;
    assert_eq!(second, Err(ErrorKind::ConnectionReset));
    assert_eq!(
        refused(&mut world).await,
        RefusedReason::Endpoint(OpenRefused::TooManyConnections)
    );
    // The place is free again when the first connection has ended.
    drop((first, server));
    world.closed_clean().await;
    soon("a free place", async {
        while world.endpoint.sessions()[0].streams > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let _third = connect(world.bridge.login_addr()).await;
    accept(&listener).await;
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_the_packet_that_wants_to_be_alone_before_the_answer() {
    let (listener, address) = listener().await;
    let mut setup = map_at(address);
    setup.endpoint.alone = Duration::from_secs(3600);
    let world = World::start(setup).await;
    let door = world.bridge.door_of(ServerRole::Map, address).unwrap();
    let mut client = connect(door).await;
    client.write_all(&enter_and_loaded()).await.unwrap();
    let mut server = accept(&listener).await;
    let mut buffer = [0; 64];
    assert_eq!(soon("0436", server.read(&mut buffer)).await.unwrap(), 23);
    soon("both packets in the bridge", async {
        while (world.bridge.counters().total(Direction::ClientToServer)).packets < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The second has had time enough to arrive.
    let mut rounds = Rounds::open(door, &listener).await;
    rounds.run(50).await;
    let early = server.try_read(&mut buffer).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    // ZC_AID, 6 bytes.
    server.write_all(&[0x83, 0x02, 1, 2, 3, 4]).await.unwrap();
    assert_eq!(soon("007D", server.read(&mut buffer)).await.unwrap(), 2);
    let mut answer = [0; 6];
    soon("the answer", client.read_exact(&mut answer))
        .await
        .unwrap();
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_come_is_not_waited_for_for_ever() {
    let (listener, address) = listener().await;
    let mut setup = map_at(address);
    setup.endpoint.alone = Duration::from_millis(10);
    let world = World::start(setup).await;
    let door = world.bridge.door_of(ServerRole::Map, address).unwrap();
    let mut client = connect(door).await;
    client.write_all(&enter_and_loaded()).await.unwrap();
    let mut server = accept(&listener).await;
    soon("both packets", server.read_exact(&mut [0; 25]))
        .await
        .unwrap();
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_steps_the_connection_down_and_passes() {
    let (listener, address) = listener().await;
    let mut world = World::start(Setup::new(game_at(address))).await;
    let mut client = connect(world.bridge.login_addr()).await;
    let garbage: Vec<u8> = (0..5_000_u32).map(|at| (at % 251) as u8 | 0xf0).collect();
    client.write_all(&garbage).await.unwrap();
    client.shutdown().await.unwrap();
    let mut server = accept(&listener).await;
    assert_eq!(read_all(&mut server).await.unwrap(), garbage);
    let step = world.notice("the step", |notice| match notice {
        BridgeNotice::SteppedDown { to, reason, .. } => Some((*to, *reason)),
        _ => None,
    });
    let (to, reason) = step.await;
    assert_eq!(to, Level::Opaque);
    assert!(
        matches!(reason, StepDownReason::UnknownPacketId { .. }),
        "{reason:?}"
    );
    server.write_all(&garbage).await.unwrap();
    drop(server);
    assert_eq!(read_all(&mut client).await.unwrap(), garbage);
    assert!(world.closed_clean().await);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_wait_too_long_for_their_packet_are_passed_on() {
    let (listener, address) = listener().await;
    let mut setup = Setup::new(game_at(address));
    setup.bridge.stall_after = Duration::from_millis(20);
    let mut world = World::start(setup).await;
    let mut client = connect(world.bridge.login_addr()).await;
    // The beginning of CA_LOGIN, and, the other way, of a variable packet (0AC4).
    client.write_all(&[0x64, 0x00, 9]).await.unwrap();
    let mut server = accept(&listener).await;
    let mut buffer = [0; 3];
    soon("the beginning", server.read_exact(&mut buffer))
        .await
        .unwrap();
    assert_eq!(buffer, [0x64, 0x00, 9]);
    let reason = world.notice("the step", |notice| match notice {
        BridgeNotice::SteppedDown { reason, .. } => Some(*reason),
        _ => None,
    });
    assert!(matches!(
        reason.await,
        StepDownReason::Stalled { waiting: 3, .. }
    ));
    server.write_all(&[0xc4, 0x0a, 0xff]).await.unwrap();
    soon("the other way", client.read_exact(&mut buffer))
        .await
        .unwrap();
    assert_eq!(buffer, [0xc4, 0x0a, 0xff]);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_direction_held_back_is_released_when_the_other_cannot_be_framed() {
    let (listener, address) = listener().await;
    let mut world = World::start(Setup::new(game_at(address))).await;
    let mut client = connect(world.bridge.login_addr()).await;
    let mut server = accept(&listener).await;
    // The beginning of 0AC4 waits in the bridge...
    server.write_all(&[0xc4, 0x0a, 0xff]).await.unwrap();
    soon("the beginning in the bridge", async {
        while world.endpoint.sessions()[0].down_bytes < 3
            // The server may write before the bridge has heard that the connection is open.
            || (world.bridge.connections().first()).is_none_or(|open| open.down_bytes < 3)
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // ... until the client writes what is no packet.
    client.write_all(&[0xff; 40]).await.unwrap();
    let mut buffer = [0; 3];
    soon("what was held back", client.read_exact(&mut buffer))
        .await
        .unwrap();
    assert_eq!(buffer, [0xc4, 0x0a, 0xff]);
    let mut garbage = [0; 40];
    soon("the garbage", server.read_exact(&mut garbage))
        .await
        .unwrap();
    drop((client, server));
    world.closed_clean().await;
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_read_holds_the_client_back_and_loses_nothing() {
    const TOTAL: usize = 24 * 1024 * 1024;
    let (listener, address) = listener().await;
    let mut setup = Setup::new(game_at(address));
    opaque(&mut setup);
    let mut world = World::start(setup).await;
    let mut client = connect(world.bridge.login_addr()).await;
    let mut server = accept(&listener).await;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let piece: Vec<u8> = (0..64 * 1024_u32).map(|at| (at % 253) as u8).collect();
    let expected = piece.clone();
    let writing = tokio::spawn(async move {
        while count.load(Ordering::Relaxed) < TOTAL {
            client.write_all(&piece).await.unwrap();
            count.fetch_add(piece.len(), Ordering::Relaxed);
        }
        client.shutdown().await.unwrap();
        client
    });
    // Everybody else goes on. At a standstill nothing more is written meanwhile.
    let mut rounds = Rounds::open(world.bridge.login_addr(), &listener).await;
    let mut before = usize::MAX;
    while before != written.load(Ordering::Relaxed) {
        before = written.load(Ordering::Relaxed);
        rounds.run(200).await;
    }
    assert!(
        written.load(Ordering::Relaxed) < TOTAL,
        "nobody held it back"
    );
    let mut buffer = vec![0; expected.len()];
    for _ in 0..TOTAL / expected.len() {
        soon("the rest", server.read_exact(&mut buffer))
            .await
            .unwrap();
        assert!(buffer == expected);
    }
    assert_eq!(read_all(&mut server).await.unwrap(), Vec::<u8>::new());
    drop((server, rounds));
    drop(soon("the writer", writing).await.unwrap());
    assert!(world.closed_clean().await);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_clients_session_is_kept_alive_on_a_map() {
    let (listener, address) = listener().await;
    let mut setup = map_at(address);
    setup.endpoint.keep_alive_after = Duration::from_millis(30);
    let world = World::start(setup).await;
    let door = world.bridge.door_of(ServerRole::Map, address).unwrap();
    let mut client = connect(door).await;
    let mut enter_and_loaded = enter_and_loaded();
    client.write_all(&enter_and_loaded).await.unwrap();
    let mut server = accept(&listener).await;
    soon("0436", server.read_exact(&mut enter_and_loaded[..23]))
        .await
        .unwrap();
    server.write_all(&MOVED).await.unwrap();
    soon("007D", server.read_exact(&mut enter_and_loaded[23..]))
        .await
        .unwrap();
    // Loading ends by this; both say nothing more.
    server.write_all(&MOVED).await.unwrap();
    let mut packet = [0; 6];
    for _ in 0..3 {
        soon("a kept packet", server.read_exact(&mut packet))
            .await
            .unwrap();
        assert_eq!(packet, sync(0));
    }
    // Loading again. The packet is taken away until the server has answered the client's 007D.
    let mut warped = vec![0x91, 0x00];
    warped.extend(b"izlude.gat");
    warped.resize(22, 0);
    server.write_all(&warped).await.unwrap();
    let mut to_client = vec![0; 2 * MOVED.len() + warped.len()];
    soon("0091", client.read_exact(&mut to_client))
        .await
        .unwrap();
    assert!(to_client.ends_with(&warped));
    client.write_all(&[0x7d, 0x00]).await.unwrap();
    client.write_all(&sync(7)).await.unwrap();
    let mut head = [0; 2];
    loop {
        soon("007D", server.read_exact(&mut head)).await.unwrap();
        if head == [0x7d, 0x00] {
            break;
        }
        // One that was on its way.
        assert_eq!(head, [0x60, 0x03]);
        server.read_exact(&mut packet[2..]).await.unwrap();
        assert_eq!(packet, sync(0));
    }
    soon("0360", server.read_exact(&mut packet)).await.unwrap();
    assert_eq!(packet, sync(7));
    server.write_all(&MOVED).await.unwrap();
    // From now on it is the client's own.
    soon("a kept packet", server.read_exact(&mut packet))
        .await
        .unwrap();
    assert_eq!(packet, sync(7));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_opaque_connection_each_sides_writes_stay_apart() {
    let (listener, address) = listener().await;
    let mut setup = Setup::new(game_at(address));
    opaque(&mut setup);
    let mut world = World::start(setup).await;
    let mut client = connect(world.bridge.login_addr()).await;
    let mut server = accept(&listener).await;
    let mut buffer = vec![0; 100_000];
    // Encrypted, say: now and then it looks like a packet, or like the beginning of one.
    let mut noise: u32 = 7;
    for length in [1, 2, 23, 25, 700, 3, 9_000] {
        let write: Vec<u8> = (0..length)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        client.write_all(&write).await.unwrap();
        let count = soon("a write", server.read(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..count], &write[..], "up, {length} bytes");
        server.write_all(&write).await.unwrap();
        let count = soon("a write", client.read(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..count], &write[..], "down, {length} bytes");
    }
    drop((client, server));
    assert!(world.closed_clean().await);
    world.shutdown().await;
}
