//! What the endpoint logs of each stream is what the bridge counted.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Setup, VERSION, World, soon};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use warp_bridge::BridgeNotice;
use warp_practice::client::{self, ClientConfig};
use warp_practice::server::{Server, ServerConfig};
use warp_protocol::zone::{GameServer, ReadLevel};

type Fields = BTreeMap<&'static str, String>;

/// Keeps the fields of every `stream closed`.
#[derive(Clone, Default)]
struct Closed(Arc<Mutex<Vec<Fields>>>);

struct Reading(Fields);

impl Visit for Reading {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Closed {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let mut reading = Reading(Fields::new());
        event.record(&mut reading);
        let Reading(fields) = reading;
        if fields.get("message").map(String::as_str) == Some("stream closed") {
            self.0.lock().unwrap().push(fields);
        }
    }
}

/// Target, bytes and digest up, bytes and digest down.
type Carried = (String, [String; 4]);

// The only test of this program: the subscriber is the whole process's.
#[tokio::test(flavor = "multi_thread")]
async fn both_ends_of_every_stream_have_the_same_digests() {
    let closed = Closed::default();
    let subscriber = tracing_subscriber::registry().with(closed.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let server = Server::start(ServerConfig::loopback()).await.unwrap();
    let game = GameServer {
        packet_version: VERSION,
        level: ReadLevel::Assist,
        login: server.login_addr(),
        char: vec![server.char_addr()],
        map: vec![server.map_addr(), server.map2_addr().unwrap()],
    };
    let mut world = World::start(Setup::new(game)).await;
    let mut config = ClientConfig::new(world.bridge.login_addr(), "test1", "test1");
    config.rate = 100;
    config.play_for = Some(Duration::from_millis(300));
    config.change_every = Some(Duration::from_millis(50));
    let summary = soon("a session", client::run(config, |_event| ()))
        .await
        .unwrap();
    assert!(summary.ok, "{summary:?}");
    // Both ends have closed everything once the endpoint holds no connection and the bridge none.
    soon("the end of all streams", async {
        while world.endpoint.sessions()[0].streams > 0 || !world.bridge.connections().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let link = world.link.clone();
    soon("endpoint", world.endpoint.shutdown()).await;
    soon("link", link.closed()).await;
    let mut of_bridge = Vec::<Carried>::new();
    while let Ok(notice) = world.notices.try_recv() {
        if let BridgeNotice::Closed {
            target,
            clean,
            up,
            down,
            ..
        } = notice
        {
            assert!(clean, "{target} {up:?} {down:?}");
            let carried = [
                up.bytes.to_string(),
                up.sha256,
                down.bytes.to_string(),
                down.sha256,
            ];
            of_bridge.push((target.to_string(), carried));
        }
    }
    let mut of_endpoint: Vec<Carried> = closed
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|fields| {
            assert_eq!(fields["session"], support::SESSION);
            let carried = ["up_bytes", "up_sha256", "down_bytes", "down_sha256"];
            (
                fields["target"].clone(),
                carried.map(|name| fields[name].clone()),
            )
        })
        .collect();
    // Two connections may be the same in every byte.
    of_bridge.sort();
    of_endpoint.sort();
    assert!(of_bridge.len() >= 6, "{of_bridge:?}");
    assert_eq!(of_bridge, of_endpoint);
    server.shutdown().await;
}
