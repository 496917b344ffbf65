//! Whole sessions in every client version, with plain and with enciphered ids.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use warp_practice::client::{self, ClientConfig, ClientEvent, DeviationCode};
use warp_practice::server::{Server, ServerConfig};
use warp_practice::version::{self, DEFAULT_VERSION, VersionError, versions};

use crate::raw::PATIENCE;
use crate::relay::{Change, relayed_with};
use crate::sessions::{played, server_streams};

/// What both ends are told to speak.
#[derive(Debug, Clone, Copy)]
struct Speech {
    version: u32,
    obfuscate: bool,
}

impl Speech {
    async fn server(self) -> Server {
        Server::start(self.server_config()).await.unwrap()
    }

    fn server_config(self) -> ServerConfig {
        let mut config = ServerConfig::loopback();
        (config.version, config.obfuscate) = (self.version, self.obfuscate);
        config
    }

    fn client(self, login: std::net::SocketAddr, user: &str) -> ClientConfig {
        let mut config = ClientConfig::new(login, user, user);
        config.rate = 50;
        config.play_for = Some(Duration::from_millis(1_500));
        (config.version, config.obfuscate) = (self.version, self.obfuscate);
        config
    }
}

/// Two players who see each other, on all maps of both map servers, and the same digests at both
/// ends.
async fn two_play(speech: Speech) {
    let server = speech.server().await;
    let events = server.events();
    let (one, two) = tokio::join!(
        played(speech.client(server.login_addr(), "test1")),
        played(speech.client(server.login_addr(), "test12"))
    );
    let mut both = BTreeMap::new();
    for (summary, streams) in [one, two] {
        assert_eq!(summary.errors, [], "{speech:?}");
        assert!(summary.ok && summary.entered);
        assert!(summary.about_others > 10, "{speech:?}: {summary:?}");
        assert_eq!((summary.map_changes, summary.server_changes), (2, 2));
        assert_eq!((summary.connections, summary.extra_time), (7, 0));
        assert!(summary.answered > 20);
        both.extend(streams);
    }
    assert_eq!(server_streams(server, events).await, both, "{speech:?}");
}

/// All of them at the same time: they wait most of it.
async fn all_play(speeches: impl Iterator<Item = Speech>) -> usize {
    let mut playing: JoinSet<()> = speeches.map(two_play).collect();
    let count = playing.len();
    while let Some(played) = playing.join_next().await {
        played.unwrap();
    }
    count
}

#[tokio::test]
async fn every_version_plays_on_both_map_servers() {
    let obfuscate = false;
    let played = all_play(versions().map(|version| Speech { version, obfuscate })).await;
    assert_eq!(played, 6);
}

#[tokio::test]
async fn every_version_with_keys_plays_with_enciphered_ids() {
    let obfuscate = true;
    let with_keys = versions().filter(|version| version::check(*version, obfuscate).is_ok());
    let played = all_play(with_keys.map(|version| Speech { version, obfuscate })).await;
    assert!(played > 0);
}

#[tokio::test]
async fn a_round_of_changes_visits_all_three_maps() {
    for version in versions() {
        let speech = Speech {
            version,
            obfuscate: false,
        };
        let server = speech.server().await;
        let mut config = speech.client(server.login_addr(), "test1");
        config.play_for = Some(Duration::from_millis(300));
        let mut maps = Vec::new();
        let playing = client::run(config, |event| {
            if let ClientEvent::OnMap { map, .. } = event {
                maps.push(*map);
            }
        });
        let summary = timeout(PATIENCE, playing).await.expect("in time").unwrap();
        assert_eq!(summary.errors, [], "{version}");
        let round = [
            "prontera.gat",
            "izlude.gat",
            "prontera.gat",
            "geffen.gat",
            "prontera.gat",
        ];
        assert_eq!(maps[..5], round);
        server.shutdown().await;
    }
}

/// A bridge that rewrites addresses in old packets: here a relay that is announced in them.
#[tokio::test]
async fn old_address_packets_lead_through_a_relay() {
    let speech = Speech {
        version: 20_130_807,
        obfuscate: true,
    };
    let (server, login) = relayed_with(speech.server_config(), Change::Nothing).await;
    let events = server.events();
    let mut connected = Vec::new();
    let mut reports = Vec::new();
    let playing = client::run(speech.client(login, "test4"), |event| match event {
        ClientEvent::Connected { address, .. } => connected.push(*address),
        ClientEvent::ConnectionClosed(report) => reports.push(report.clone()),
        _ => {}
    });
    let summary = timeout(PATIENCE, playing).await.expect("in time").unwrap();
    assert_eq!(summary.errors, []);
    let servers = [
        server.login_addr(),
        server.char_addr(),
        server.map_addr(),
        server.map2_addr().unwrap(),
    ];
    assert!(connected.iter().all(|address| !servers.contains(address)));
    let ours = crate::sessions::streams(reports);
    assert_eq!(server_streams(server, events).await, ours);
}

#[tokio::test]
async fn ends_that_speak_differently_do_not_get_on() {
    let plain = Speech {
        version: 20_130_807,
        obfuscate: false,
    };
    let newest = Speech {
        version: DEFAULT_VERSION,
        ..plain
    };
    let enciphered = Speech {
        obfuscate: true,
        ..plain
    };
    for (server, client, code) in [
        (plain, newest, DeviationCode::WrongBytes),
        (newest, plain, DeviationCode::BrokenFrame),
        (plain, enciphered, DeviationCode::ConnectionLost),
        (enciphered, plain, DeviationCode::ConnectionLost),
    ] {
        let running = server.server().await;
        let (summary, _) = played(client.client(running.login_addr(), "test1")).await;
        assert!(!summary.ok && !summary.entered, "{server:?} {client:?}");
        assert_eq!(summary.errors[0].code, code, "{:?}", summary.errors);
        running.shutdown().await;
    }
}

#[tokio::test]
async fn keys_that_nobody_knows_are_told() {
    let speech = Speech {
        version: DEFAULT_VERSION,
        obfuscate: true,
    };
    let version = speech.version;
    let Err(error) = Server::start(speech.server_config()).await else {
        panic!("it has no keys");
    };
    assert_eq!(
        error.to_string(),
        VersionError::NoKeys { version }.to_string()
    );
    let config = speech.client("127.0.0.1:1".parse().unwrap(), "test1");
    let error = client::run(config, |_event| {}).await.unwrap_err();
    assert_eq!(error.code(), "unsupported-version");
}
