//! Where the bridge listens, and what it does without a link.
#![allow(clippy::unwrap_used, reason = "a test program")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use warp_bridge::{
    Bridge, BridgeConfig, BridgeError, BridgeLimits, BridgeNotice, LinkGone, OpenedStream,
    RefusedReason, StreamOpener,
};
use warp_bridge_core::Level;
use warp_protocol::ProblemCode;
use warp_protocol::stream::{OpenRequest, ServerRole};
use warp_protocol::zone::GameServer;

/// A link that has ended.
struct Gone;

#[async_trait]
impl StreamOpener for Gone {
    async fn open(&self, _request: &OpenRequest) -> Result<OpenedStream, LinkGone> {
        Err(LinkGone)
    }
}

/// A link that has no path now. Tells when an attempt begins, and, by the sender's end, when it is
/// given up.
struct Held(mpsc::UnboundedSender<mpsc::Sender<()>>, mpsc::Sender<()>);

#[async_trait]
impl StreamOpener for Held {
    async fn open(&self, _request: &OpenRequest) -> Result<OpenedStream, LinkGone> {
        let held = self.1.clone();
        self.0.send(held.clone()).unwrap();
        std::future::pending::<()>().await;
        drop(held);
        Err(LinkGone)
    }
}

fn config(login: &str) -> BridgeConfig {
    BridgeConfig {
        login_listen: login.parse().unwrap(),
        game: GameServer {
            packet_version: 20_211_103,
            login: "192.0.2.1:6900".parse().unwrap(),
            char: vec!["192.0.2.1:6121".parse().unwrap()],
            map: vec![
                "192.0.2.1:5121".parse().unwrap(),
                "192.0.2.2:5121".parse().unwrap(),
                "192.0.2.1:5121".parse().unwrap(),
            ],
        },
        level: Level::Rewrite,
        packet_version: 20_211_103,
        limits: BridgeLimits::default(),
    }
}

fn start(
    config: BridgeConfig,
    opener: impl StreamOpener,
) -> Result<(Bridge, mpsc::UnboundedReceiver<BridgeNotice>), BridgeError> {
    let (tell, notices) = mpsc::unbounded_channel();
    let notify = Arc::new(move |notice| {
        // The test may be over.
        let _ = tell.send(notice);
    });
    Ok((Bridge::start(config, Arc::new(opener), notify)?, notices))
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .unwrap()
}

/// Whether a connection is reset. That may come before the client's system has told it that it is
/// connected.
async fn is_reset(address: SocketAddr) -> bool {
    let read = soon(async {
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
    soon(bridge.shutdown()).await;
    let refused = soon(TcpStream::connect(login)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn without_a_link_the_client_is_reset_and_the_owner_told() {
    let (bridge, mut notices) = start(config("127.0.0.1:0"), Gone).unwrap();
    assert!(is_reset(bridge.login_addr()).await);
    let notice = soon(notices.recv()).await.unwrap();
    let expected = BridgeNotice::Refused {
        n: 1,
        role: ServerRole::Login,
        target: "192.0.2.1:6900".parse().unwrap(),
        reason: RefusedReason::LinkGone,
    };
    assert_eq!(notice, expected);
    assert_eq!(RefusedReason::LinkGone.code(), ProblemCode::LinkLost);
    assert_eq!(bridge.counters().refused, 1);
    soon(bridge.shutdown()).await;
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
    drop(soon(attempts.recv()).await.unwrap());
    assert!(is_reset(bridge.login_addr()).await);
    let reason = match soon(notices.recv()).await.unwrap() {
        BridgeNotice::Refused { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason, RefusedReason::TooManyConnections);
    first.set_zero_linger().unwrap();
    drop(first);
    // Its place is free: somebody else's attempt begins.
    soon(async {
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
    soon(bridge.shutdown()).await;
    assert_eq!(soon(given_up.recv()).await, None);
}
