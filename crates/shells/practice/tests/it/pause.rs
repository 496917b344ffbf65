//! A client whose window is held.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use warp_practice::client::{self, ClientConfig, ClientEvent, DeviationCode, Pause, Summary};
use warp_practice::server::{Server, ServerConfig};

use crate::raw::PATIENCE;

/// The server closes after this much silence.
const IDLE: Duration = Duration::from_secs(3);

async fn paused(length: Duration) -> (Server, Summary, Vec<(&'static str, Instant)>) {
    let mut config = ServerConfig::loopback();
    config.idle_limit = IDLE;
    let server = Server::start(config).await.unwrap();
    let mut config = ClientConfig::new(server.login_addr(), "test1", "test1");
    config.rate = 100;
    config.change_every = Some(Duration::from_millis(100));
    config.play_for = Some(Duration::from_millis(400));
    config.pause = Some(Pause {
        after: Duration::from_millis(200),
        length,
    });
    let mut seen = Vec::new();
    let playing = client::run(config, |event| match event {
        ClientEvent::Paused { seconds } => {
            assert_eq!(*seconds, length.as_secs_f64());
            seen.push(("paused", Instant::now()));
        }
        ClientEvent::Resumed => seen.push(("resumed", Instant::now())),
        _ => {}
    });
    let summary = timeout(PATIENCE, playing).await.expect("in time").unwrap();
    (server, summary, seen)
}

#[tokio::test]
async fn after_a_pause_the_session_goes_on_to_its_end() {
    let length = IDLE / 2;
    let (server, summary, seen) = paused(length).await;
    assert_eq!(summary.errors, []);
    assert!(summary.ok);
    assert_eq!((summary.map_changes, summary.server_changes), (2, 2));
    let [("paused", began), ("resumed", ended)] = seen[..] else {
        panic!("{seen:?}");
    };
    assert!(ended - began >= length);
    assert!(summary.largest_gap_ms < length.as_secs_f64() * 1e3);
    server.shutdown().await;
}

/// The server hears nothing for so long that it closes: nothing is sent in a pause.
#[tokio::test]
async fn in_a_pause_nothing_is_sent_and_the_end_of_the_connection_is_seen() {
    let (server, summary, seen) = paused(IDLE * 10).await;
    assert_eq!(summary.errors[0].code, DeviationCode::ConnectionLost);
    assert!(matches!(seen[..], [("paused", _)]), "{seen:?}");
    server.shutdown().await;
}

/// Whoever stops the client does not wait for the pause.
#[tokio::test]
async fn a_pause_ends_when_the_client_is_stopped() {
    let server = Server::start(ServerConfig::loopback()).await.unwrap();
    let mut config = ClientConfig::new(server.login_addr(), "test1", "test1");
    config.pause = Some(Pause {
        after: Duration::ZERO,
        length: Duration::from_secs(600),
    });
    let stop = config.stop.clone();
    let playing = client::run(config, |event| {
        if matches!(event, ClientEvent::Paused { .. }) {
            stop.cancel();
        }
    });
    let summary = timeout(PATIENCE, playing).await.expect("in time").unwrap();
    assert_eq!(summary.errors, []);
    assert!(summary.ok && summary.interrupted);
    server.shutdown().await;
}
