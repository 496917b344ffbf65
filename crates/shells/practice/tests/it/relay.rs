//! Relays between client and server that change what passes: a byte, or where writes are cut.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use warp_practice::client::{self, ClientConfig, ClientEvent, Mode};
use warp_practice::server::{Server, ServerConfig};

use crate::raw::PATIENCE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// The byte to change: in every connection through one of the doors (login, char, map, map2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flip {
    pub(crate) door: usize,
    pub(crate) way: Way,
    pub(crate) at: usize,
}

/// What a relay does to what it passes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Nothing,
    Flip(Flip),
    /// What one read brought goes on with two writes, one way, at map servers.
    Halve(Way),
}

impl Change {
    fn at(self, door: usize, way: Way) -> Pumping {
        match self {
            Change::Flip(flip) if flip.door == door && flip.way == way => Pumping::Flip(flip.at),
            Change::Halve(halved) if door >= 2 && halved == way => Pumping::Halve,
            _ => Pumping::Plain,
        }
    }
}

/// The same for one direction of one connection.
#[derive(Debug, Clone, Copy)]
enum Pumping {
    Plain,
    Flip(usize),
    Halve,
}

/// Starts a server whose announced addresses, and whose returned login address, are a relay's.
pub(crate) async fn relayed(flip: Option<Flip>) -> (Server, SocketAddr) {
    let change = flip.map_or(Change::Nothing, Change::Flip);
    relayed_with(ServerConfig::loopback(), change).await
}

/// The same for a server with this configuration.
pub(crate) async fn relayed_with(mut config: ServerConfig, change: Change) -> (Server, SocketAddr) {
    let mut listeners = Vec::new();
    for _ in 0..4 {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let address = |listener: &TcpListener| match listener.local_addr().unwrap() {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => unreachable!("bound to IPv4"),
    };
    config.announce_char = Some(address(&listeners[1]));
    config.announce_map = Some(address(&listeners[2]));
    config.announce_map2 = Some(address(&listeners[3]));
    let login = address(&listeners[0]);
    let server = Server::start(config).await.unwrap();
    let doors = [
        server.login_addr(),
        server.char_addr(),
        server.map_addr(),
        server.map2_addr().unwrap(),
    ];
    for (door, (listener, target)) in listeners.into_iter().zip(doors).enumerate() {
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(target).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (up, down) = (
                    change.at(door, Way::ToServer),
                    change.at(door, Way::ToClient),
                );
                tokio::spawn(pump(from_client, to_server, up));
                tokio::spawn(pump(from_server, to_client, down));
            }
        });
    }
    (server, login.into())
}

/// One write per read, so that packets stay whole, unless they are to be halved.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, pumping: Pumping) {
    let mut buffer = vec![0; 64 * 1024];
    let mut position = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let mut cut = count;
        match pumping {
            Pumping::Plain => {}
            Pumping::Flip(at) => {
                if let Some(at) = at.checked_sub(position)
                    && at < count
                {
                    buffer[at] ^= 0x01;
                }
            }
            Pumping::Halve => cut = count / 2,
        }
        position += count;
        if to.write_all(&buffer[..cut]).await.is_err() {
            return;
        }
        if cut < count {
            // Long enough for the other end to read the first half by itself.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if to.write_all(&buffer[cut..count]).await.is_err() {
                return;
            }
        }
    }
    let _gone = to.shutdown().await;
}

async fn every_byte_was_right(flip: Option<Flip>, answer_timeout: Duration) -> bool {
    let (server, login) = relayed(flip).await;
    let mut config = ClientConfig::new(login, "test1", "test1");
    config.rate = 200;
    config.play_for = Some(Duration::from_millis(300));
    config.answer_timeout = answer_timeout;
    let playing = client::run(config, |_event| {});
    let outcome = timeout(PATIENCE, playing).await.expect("in time");
    server.shutdown().await;
    outcome.is_ok_and(|summary| summary.ok)
}

#[tokio::test]
async fn a_relay_that_changes_nothing_is_not_noticed() {
    assert!(every_byte_was_right(None, Duration::from_secs(10)).await);
}

#[tokio::test]
async fn one_changed_byte_is_noticed_wherever_it_is() {
    // Every kind of field: ids, lengths, session numbers, addresses, names, padding, ticks.
    // 127.0.0.1 becomes another loopback address, where nobody listens.
    let login = [
        0, 2, 4, 8, 12, 16, 30, 46, 50, 67, 69, 70, 92, 95, 96, 150, 223,
    ];
    let char = [
        0, 3, 4, 6, 8, 33, 40, 60, 120, 170, 208, 235, 239, 241, 245, 246, 247, 252, 300, 1140,
        1152, 1156, 1178, 1180, 1200, 1307,
    ];
    let map = (0..640).step_by(17);
    let map2 = (0..300).step_by(31);
    let flips = (login.into_iter().map(|at| (0, at)))
        .chain(char.into_iter().map(|at| (1, at)))
        .chain(map.map(|at| (2, at)))
        .chain(map2.map(|at| (3, at)))
        .map(|(door, at)| Flip {
            door,
            way: Way::ToClient,
            at,
        })
        // A chat line: 0436, 007D, 0447, 0360, 0368, 035F lie before it.
        .chain([Flip {
            door: 2,
            way: Way::ToServer,
            at: 23 + 2 + 2 + 6 + 6 + 5 + 30,
        }]);
    let mut running: JoinSet<(bool, Flip)> = JoinSet::new();
    for flip in flips {
        if running.len() >= 8 {
            let (unnoticed, flip) = running.join_next().await.unwrap().unwrap();
            assert!(!unnoticed, "{flip:?}");
        }
        running.spawn(async move {
            (
                every_byte_was_right(Some(flip), Duration::from_secs(1)).await,
                flip,
            )
        });
    }
    while let Some(finished) = running.join_next().await {
        let (unnoticed, flip) = finished.unwrap();
        assert!(!unnoticed, "{flip:?}");
    }
}

/// A bridge that rewrites addresses leaves the digests equal at both ends; here the relay stands
/// for it by being announced instead of the server.
#[tokio::test]
async fn both_ends_report_the_same_through_a_relay() {
    let (server, login) = relayed(None).await;
    let mut events = server.events();
    let mut config = ClientConfig::new(login, "test5", "test5");
    config.mode = Mode::EchoProbe;
    config.rate = 100;
    config.play_for = Some(Duration::from_millis(200));
    let mut seen = Vec::new();
    let summary = client::run(config, |event| {
        if let ClientEvent::ConnectionClosed(report) = event {
            seen.push((report.key.clone(), report.c2s.clone(), report.s2c.clone()));
        }
    })
    .await
    .unwrap();
    assert_eq!(summary.errors, []);
    server.shutdown().await;
    let mut served = Vec::new();
    while let Some(event) = events.recv().await {
        if let warp_practice::server::ServerEvent::ConnectionClosed { report, .. } = event {
            served.push((report.key, report.c2s, report.s2c));
        }
    }
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    served.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(seen, served);
}
