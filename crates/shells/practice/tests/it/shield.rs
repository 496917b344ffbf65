//! Map connections behind the stand-in for a game shield.

use std::time::Duration;

use warp_practice::client::{ClientConfig, DeviationCode};
use warp_practice::report::Role;
use warp_practice::server::{EventReceiver, Server, ServerConfig, ServerEvent};

use crate::raw::{Raw, logged_in, map_enter, selected};
use crate::relay::{Change, Way, relayed_with};
use crate::sessions::{config, played, server_streams};

fn shielded() -> ServerConfig {
    let mut config = ServerConfig::loopback();
    config.shield = true;
    config
}

fn with_shield(mut config: ClientConfig) -> ClientConfig {
    config.shield = true;
    config
}

/// Why the first map connection ended, by the server.
async fn map_reason(events: &mut EventReceiver) -> String {
    while let Some(event) = events.recv().await {
        if let ServerEvent::ConnectionClosed { report, .. } = event
            && report.role == Role::Map
        {
            return report.reason;
        }
    }
    panic!("no map connection has ended");
}

#[tokio::test]
async fn a_shielded_session_is_the_same_at_both_ends() {
    for (version, obfuscate) in [(20_211_103, false), (20_130_807, true)] {
        let mut speech = shielded();
        (speech.version, speech.obfuscate) = (version, obfuscate);
        let server = Server::start(speech).await.unwrap();
        let events = server.events();
        let player = |user| {
            let mut config = with_shield(config(&server, user));
            (config.version, config.obfuscate) = (version, obfuscate);
            played(config)
        };
        let (one, two) = tokio::join!(player("test1"), player("test2"));
        let mut both = one.1;
        both.extend(two.1);
        for summary in [one.0, two.0] {
            assert_eq!(summary.errors, []);
            assert!(summary.about_others > 10);
            assert_eq!((summary.map_changes, summary.server_changes), (2, 2));
        }
        assert_eq!(both.len(), 14);
        assert_eq!(server_streams(server, events).await, both);
    }
}

#[tokio::test]
async fn a_relay_that_keeps_the_writes_is_not_noticed() {
    let (server, login) = relayed_with(shielded(), Change::Nothing).await;
    let events = server.events();
    let mut config = with_shield(config(&server, "test1"));
    config.login = login;
    let (summary, streams) = played(config).await;
    assert_eq!(summary.errors, []);
    assert_eq!(server_streams(server, events).await, streams);
}

#[tokio::test]
async fn a_relay_that_cuts_a_write_is_noticed() {
    let (server, login) = relayed_with(shielded(), Change::Halve(Way::ToServer)).await;
    let mut events = server.events();
    let mut config = with_shield(config(&server, "test1"));
    config.login = login;
    let (summary, _) = played(config).await;
    assert_eq!(summary.errors[0].code, DeviationCode::ConnectionLost);
    assert_eq!(map_reason(&mut events).await, "split-record");
    server.shutdown().await;
}

#[tokio::test]
async fn what_a_client_gets_may_be_cut_anywhere() {
    let (server, login) = relayed_with(shielded(), Change::Halve(Way::ToClient)).await;
    let events = server.events();
    let mut config = with_shield(config(&server, "test1"));
    (config.login, config.rate) = (login, 10);
    config.play_for = Some(Duration::from_millis(300));
    let (summary, streams) = played(config).await;
    assert_eq!(summary.errors, []);
    assert_eq!(server_streams(server, events).await, streams);
}

#[tokio::test]
async fn who_has_no_shield_is_not_let_in() {
    let server = Server::start(shielded()).await.unwrap();
    let mut events = server.events();
    // Login and char stay plain; the map server does not understand the first packet.
    let (ids, char_server) = logged_in(&server, 1).await;
    let mut raw = Raw::to(selected(ids, char_server).await).await;
    raw.send(&map_enter(ids)).await;
    raw.closed().await;
    assert_eq!(map_reason(&mut events).await, "split-record");
    server.shutdown().await;
}
