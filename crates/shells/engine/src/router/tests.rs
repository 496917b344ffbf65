//! Tests of the router over links in memory.

use std::net::SocketAddr;

use warp_engine_core::view::LinkState;
use warp_link_core::LinkConfig;
use warp_link_driver::GameStream;
use warp_protocol::carrier::PathKind;
use warp_protocol::zone::ReadLevel;

use super::*;
use support::{Side, pair, soon, wire};

#[allow(
    dead_code,
    reason = "shared with the tests of the driver, which need more of it"
)]
#[path = "../../../link-driver/tests/support/mod.rs"]
mod support;

const MAP_SERVER: &str = "192.0.2.1:5121";
const CLIENT: u64 = 1;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn game(map: &str) -> GameServer {
    GameServer {
        packet_version: 0,
        level: ReadLevel::Rewrite,
        login: address("192.0.2.1:6900"),
        char: vec![address("192.0.2.1:6121")],
        map: vec![address(map)],
    }
}

fn request(role: ServerRole) -> OpenRequest {
    OpenRequest {
        target: address(MAP_SERVER),
        role,
    }
}

fn on(map: &str) -> Origin {
    Origin {
        client: Some(CLIENT),
        map: Some(map.into()),
    }
}

fn routes(map: &str, way: Way) -> Routes {
    let mut routes = Routes::default();
    routes.enter(CLIENT, map, way);
    routes
}

/// A link that is connected, and what comes out of it.
async fn link() -> (LinkHandle, Side) {
    let (engine, endpoint) = pair(&LinkConfig::default());
    let (left, right, _wire) = wire();
    engine.handle.attach(PathKind::Wss, left);
    endpoint.handle.attach(PathKind::Wss, right);
    let mut status = engine.handle.watch_status();
    let ready = status.wait_for(|status| status.state == LinkState::Connected);
    soon("the link", ready).await.unwrap();
    (engine.handle, endpoint)
}

struct House {
    router: Arc<Router>,
    rings: Arc<Notify>,
    /// The endpoint of the chosen zone.
    chosen: Side,
}

async fn house() -> House {
    let (handle, chosen) = link().await;
    let rings = Arc::new(Notify::new());
    let router = Router::new(handle, rings.clone());
    House {
        router,
        rings,
        chosen,
    }
}

/// Opens a stream and says something on it, so that the endpoint sees it.
async fn open(router: &Arc<Router>, role: ServerRole, origin: &Origin) -> OpenedStream {
    let opener = Opener(router.clone());
    let opened = soon("a stream", opener.open(&request(role), origin)).await;
    let mut stream = opened.unwrap();
    let mut word: &[u8] = b"word";
    soon(
        "a word",
        std::future::poll_fn(|cx| stream.writer.poll_write(cx, &mut word)),
    )
    .await
    .unwrap();
    stream
}

async fn arrives(endpoint: &mut Side) -> GameStream {
    let stream = soon("the stream at the endpoint", endpoint.incoming.recv()).await;
    stream.unwrap()
}

fn links(router: &Arc<Router>) -> Vec<LinkId> {
    let streams = router.streams();
    streams.iter().map(|stream| stream.link).collect()
}

#[tokio::test]
async fn login_and_char_go_over_the_chosen_link_and_are_not_counted() {
    let mut house = house().await;
    house
        .router
        .set_routes(routes("cave", Way::Visit(LinkId::visit(1))));
    for role in [ServerRole::Login, ServerRole::Char] {
        let stream = open(&house.router, role, &on("cave")).await;
        arrives(&mut house.chosen).await;
        assert_eq!((stream.path)(), Some(PathKind::Wss));
        assert_eq!(links(&house.router), []);
    }
}

#[tokio::test]
async fn a_map_connection_goes_over_the_link_of_its_zone_and_is_counted_while_it_lives() {
    let house = house().await;
    let (handle, mut zone) = link().await;
    let visit = LinkId::visit(1);
    house.router.add(visit, handle, game(MAP_SERVER));
    house.router.set_routes(routes("cave", Way::Visit(visit)));
    let stream = open(&house.router, ServerRole::Map, &on("cave")).await;
    soon("the bell", house.rings.notified()).await;
    arrives(&mut zone).await;
    assert_eq!(stream.at_most, ReadLevel::Rewrite, "what that zone allows");
    assert_eq!(house.router.streams()[0].client, Some(CLIENT));
    assert_eq!(links(&house.router), [visit]);
    // What changes now does not move it.
    house.router.set_routes(routes("town", Way::Chosen));
    let OpenedStream { writer, reader, .. } = stream;
    drop(writer);
    assert_eq!(links(&house.router), [visit], "it is still read");
    drop(reader);
    soon("the bell", house.rings.notified()).await;
    assert_eq!(links(&house.router), []);
}

#[tokio::test]
async fn a_server_that_the_zone_does_not_allow_is_reached_over_the_chosen_link() {
    let mut house = house().await;
    let (handle, _zone) = link().await;
    let visit = LinkId::visit(1);
    house.router.add(visit, handle, game("192.0.2.9:5121"));
    house.router.set_routes(routes("cave", Way::Visit(visit)));
    let _stream = open(&house.router, ServerRole::Map, &on("cave")).await;
    arrives(&mut house.chosen).await;
    assert_eq!(links(&house.router), [LinkId::CHOSEN]);
}

#[tokio::test]
async fn a_connection_waits_for_the_decision() {
    let house = house().await;
    let (handle, mut zone) = link().await;
    let visit = LinkId::visit(1);
    // The news of the map has not come, and then its zone is being joined.
    house.router.set_routes(routes("town", Way::Chosen));
    let router = house.router.clone();
    let opening = tokio::spawn(async move { open(&router, ServerRole::Map, &on("cave")).await });
    house.router.set_routes(routes("cave", Way::Wait));
    house.router.add(visit, handle, game(MAP_SERVER));
    house.router.set_routes(routes("cave", Way::Visit(visit)));
    let _stream = soon("the connection", opening).await.unwrap();
    arrives(&mut zone).await;
    assert_eq!(links(&house.router), [visit]);
}

#[tokio::test]
async fn what_is_not_decided_or_not_connected_in_time_goes_over_the_chosen_link() {
    let mut house = house().await;
    let (unconnected, _other) = pair(&LinkConfig::default());
    let visit = LinkId::visit(1);
    let handle = unconnected.handle.clone();
    house.router.add(visit, handle, game(MAP_SERVER));
    for way in [Way::Wait, Way::Visit(visit)] {
        house.router.set_routes(routes("cave", way));
        let start = Instant::now();
        let _stream = open(&house.router, ServerRole::Map, &on("cave")).await;
        assert!(start.elapsed() >= ROUTE_WAIT);
        arrives(&mut house.chosen).await;
        assert_eq!(links(&house.router), [LinkId::CHOSEN]);
    }
    // A link that has ended is not waited for.
    unconnected.handle.close(0);
    soon("its end", unconnected.handle.gone()).await;
    let start = Instant::now();
    let _stream = open(&house.router, ServerRole::Map, &on("cave")).await;
    assert!(start.elapsed() < ROUTE_WAIT);
    arrives(&mut house.chosen).await;
}

#[tokio::test]
async fn a_client_that_is_not_known_goes_over_the_chosen_link_at_once() {
    let mut house = house().await;
    for origin in [
        Origin::default(),
        Origin {
            client: None,
            ..on("cave")
        },
        Origin {
            map: None,
            ..on("cave")
        },
    ] {
        let start = Instant::now();
        let _stream = open(&house.router, ServerRole::Map, &origin).await;
        assert!(start.elapsed() < ROUTE_WAIT);
        arrives(&mut house.chosen).await;
    }
}
