//! Whole sessions: the client against the server.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;
use warp_practice::client::{self, ClientConfig, ClientError, ClientEvent, Mode, Summary};
use warp_practice::report::{ConnectionReport, StreamReport};
use warp_practice::server::{EventReceiver, Server, ServerConfig, ServerEvent};

use crate::raw::{PATIENCE, server};

pub(crate) fn config(server: &Server, user: &str) -> ClientConfig {
    let mut config = ClientConfig::new(server.login_addr(), user, user);
    config.rate = 50;
    config.play_for = Some(Duration::from_millis(1_500));
    config
}

pub(crate) type Streams = BTreeMap<String, (StreamReport, StreamReport)>;

pub(crate) fn streams(reports: impl IntoIterator<Item = ConnectionReport>) -> Streams {
    reports
        .into_iter()
        .map(|report| (report.key, (report.c2s, report.s2c)))
        .collect()
}

pub(crate) async fn played(config: ClientConfig) -> (Summary, Streams) {
    let mut reports = Vec::new();
    let playing = client::run(config, |event| {
        if let ClientEvent::ConnectionClosed(report) = event {
            reports.push(report.clone());
        }
    });
    let summary = timeout(PATIENCE, playing).await.expect("in time").unwrap();
    (summary, streams(reports))
}

pub(crate) async fn server_streams(server: Server, mut events: EventReceiver) -> Streams {
    server.shutdown().await;
    let mut reports = Vec::new();
    while let Some(event) = events.recv().await {
        match event {
            ServerEvent::ConnectionClosed { report, .. } => reports.push(report),
            ServerEvent::ConnectionOpened { .. } | ServerEvent::Chat { .. } => {}
            ServerEvent::EventsMissed { count } => panic!("{count} events missed"),
        }
    }
    streams(reports)
}

#[tokio::test]
async fn two_players_see_each_other_and_every_byte_is_right() {
    let server = server().await;
    let events = server.events();
    let (one, two) = tokio::join!(
        played(config(&server, "test1")),
        played(config(&server, "test12"))
    );
    let mut both = BTreeMap::new();
    for (summary, streams) in [one, two] {
        assert_eq!(summary.errors, []);
        assert!(summary.ok && !summary.interrupted);
        assert!(summary.about_others > 10, "{summary:?}");
        assert_eq!((summary.map_changes, summary.server_changes), (2, 2));
        assert_eq!(summary.connections, 7);
        assert!(summary.answered > 20);
        assert_eq!(summary.rtt_us.samples, summary.answered);
        assert!(
            summary.rtt_us.p50 <= summary.rtt_us.p99 && summary.rtt_us.p99 <= summary.rtt_us.max
        );
        assert!(summary.largest_gap_ms > 0.0);
        let sent: u64 = streams.values().map(|(c2s, _)| c2s.packets).sum();
        assert_eq!(sent, summary.packets_sent);
        both.extend(streams);
    }
    assert_eq!(both.len(), 14);
    assert_eq!(server_streams(server, events).await, both);
}

#[tokio::test]
async fn the_same_account_twice_in_a_row_has_other_keys() {
    let server = server().await;
    let events = server.events();
    let mut all = Streams::new();
    for _ in 0..2 {
        let mut config = config(&server, "test3");
        config.play_for = Some(Duration::from_millis(200));
        let (summary, streams) = played(config).await;
        assert_eq!(summary.errors, []);
        all.extend(streams);
    }
    assert_eq!(all.len(), 14);
    assert_eq!(server_streams(server, events).await, all);
}

#[tokio::test]
async fn without_a_second_map_server_everything_is_one_server() {
    let mut on_one = ServerConfig::loopback();
    on_one.map2 = None;
    let server = Server::start(on_one).await.unwrap();
    assert_eq!(server.map2_addr(), None);
    let (summary, _) = played(config(&server, "test1")).await;
    assert_eq!(summary.errors, []);
    assert_eq!((summary.map_changes, summary.server_changes), (4, 0));
    server.shutdown().await;
}

#[tokio::test]
async fn the_echo_probe_measures_twenty_byte_packets() {
    let server = server().await;
    let events = server.events();
    let mut probe = config(&server, "test99");
    probe.mode = Mode::EchoProbe;
    probe.rate = 200;
    probe.play_for = Some(Duration::from_millis(500));
    let (summary, streams) = played(probe).await;
    assert_eq!(summary.errors, []);
    assert_eq!(
        (
            summary.map_changes,
            summary.server_changes,
            summary.connections
        ),
        (0, 0, 3)
    );
    let (c2s, _) = streams
        .iter()
        .find(|(key, _)| key.starts_with("map:"))
        .unwrap()
        .1;
    // 0436, 007D and 018A beside the probes.
    let probes = c2s.packets - 3;
    assert_eq!(c2s.bytes, 23 + 2 + 4 + probes * 20);
    assert_eq!(summary.answered, probes + 1);
    assert_eq!(server_streams(server, events).await, streams);
}

#[tokio::test]
async fn stopping_ends_the_session_properly() {
    let server = server().await;
    let events = server.events();
    let mut endless = config(&server, "test1");
    endless.play_for = None;
    endless.change_every = Some(Duration::from_millis(100));
    let stop = endless.stop.clone();
    let mut reports = Vec::new();
    let playing = client::run(endless, |event| match event {
        ClientEvent::OnMap { map, .. } if *map == "geffen.gat" => stop.cancel(),
        ClientEvent::ConnectionClosed(report) => reports.push(report.clone()),
        _ => {}
    });
    let summary = timeout(PATIENCE, playing).await.expect("in time").unwrap();
    assert_eq!(summary.errors, []);
    assert!(summary.ok && summary.interrupted);
    assert_eq!(server_streams(server, events).await, streams(reports));
}

#[tokio::test]
async fn who_cannot_enter_is_told_why() {
    let server = server().await;
    let code = async |config: ClientConfig| {
        let playing = timeout(PATIENCE, client::run(config, |_event| {}));
        playing
            .await
            .expect("in time")
            .map(|summary| summary.ok)
            .map_err(|error| {
                let code = error.code();
                assert!(!error.to_string().is_empty());
                code
            })
    };
    let mut wrong = config(&server, "test1");
    wrong.password = String::from("secret-password").into();
    assert!(!format!("{wrong:?}").contains("secret-password"));
    assert_eq!(code(wrong).await, Err("wrong-password"));
    assert_eq!(
        code(config(&server, "somebody")).await,
        Err("unknown-account")
    );
    let mut fast = config(&server, "test1");
    fast.rate = 0;
    assert_eq!(code(fast).await, Err("rate-out-of-range"));
    let gone = config(&server, "test1");
    server.shutdown().await;
    let error = client::run(gone.clone(), |_event| {}).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }));
    assert!(error.to_string().contains(&gone.login.to_string()));
}

#[tokio::test]
async fn a_server_that_goes_away_in_play_is_a_deviation() {
    let server = server().await;
    let mut endless = config(&server, "test1");
    endless.play_for = None;
    let (on_map, loaded) = tokio::sync::oneshot::channel();
    let mut on_map = Some(on_map);
    let playing = client::run(endless, move |event| {
        if matches!(event, ClientEvent::OnMap { .. })
            && let Some(on_map) = on_map.take()
        {
            on_map.send(()).unwrap();
        }
    });
    let ending = async {
        loaded.await.unwrap();
        server.shutdown().await;
    };
    let (summary, ()) = timeout(PATIENCE, async { tokio::join!(playing, ending) })
        .await
        .expect("in time");
    let summary = summary.unwrap();
    assert!(!summary.ok);
    assert_eq!(summary.errors.len(), 1);
}
