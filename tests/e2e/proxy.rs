//! Launchers that reach the coordinator through a real HTTP proxy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::net::{Ipv4Addr, TcpListener};

use serde_json::json;
use warp_tests::house::{House, NodePlan, good_end, on_map};
use warp_tests::process::PATIENCE;
use warp_tests::proxy::{ConnectProxy, ProxyPlan};

/// "walter:hunter2" in base64.
const AUTHORIZATION: &str = "Basic d2FsdGVyOmh1bnRlcjI=";

fn proxy(house: &House) -> ConnectProxy {
    let plan = ProxyPlan {
        authorization: Some(AUTHORIZATION),
        only: Some(vec![house.address]),
    };
    ConnectProxy::start(Ipv4Addr::LOCALHOST.into(), 0, plan)
}

fn plan(proxy: &str, password: &str) -> NodePlan<'static> {
    NodePlan {
        config: json!({"coordinator": {
            "proxy": proxy,
            "proxy_user": "walter",
            "proxy_password": password,
        }}),
        ..NodePlan::default()
    }
}

#[test]
fn a_game_is_played_through_a_proxy_that_wants_a_password() {
    let house = House::new();
    let proxy = proxy(&house);
    let mut plan = plan(&format!("http://{}", proxy.address()), "hunter2");
    plan.config["p2p"] = json!({"paths": ["wss"], "prefer_wait_ms": 0});
    let (node, login) = house.playing(&plan);
    let mut client = house.client(login, "test1", &["--seconds", "3"]);
    on_map(&client);
    good_end(&mut client, PATIENCE);
    let seen = proxy.seen();
    let of = |method: &str| seen.iter().filter(|one| one.method == method).count();
    // REST by requests in absolute form, the link socket and the signaling socket by a tunnel each.
    assert!(of("POST") >= 2 && of("CONNECT") == 2, "{seen:?}");
    let target = house.address.to_string();
    assert!(
        seen.iter()
            .all(|one| one.status == 200 && one.target == target),
        "{seen:?}"
    );
    for line in node.lines() {
        assert!(
            !line.text.contains("hunter2") && !line.text.contains("d2Fs"),
            "{}",
            line.text
        );
    }
}

#[test]
fn the_direct_path_is_set_up_through_the_proxy_too() {
    let house = House::new();
    let proxy = proxy(&house);
    let node = house.node(&plan(&format!("http://{}", proxy.address()), "hunter2"));
    node.event_from(0, "metrics", PATIENCE, |event| {
        let metrics = &event["metrics"];
        let paths = metrics["paths"].as_array().unwrap();
        metrics["path"] == "direct"
            && (paths.iter()).any(|path| path["kind"] == "wss" && path["phase"] == "standby")
    });
    // The signaling socket and the link socket.
    let seen = proxy.seen();
    let tunnels = seen.iter().filter(|one| one.method == "CONNECT").count();
    assert_eq!(tunnels, 2, "{seen:?}");
}

#[test]
fn each_way_that_a_proxy_fails_has_its_problem() {
    let house = House::new();
    let proxy = proxy(&house);
    let url = format!("http://{}", proxy.address());
    let mut node = house.node(&plan(&url, "letmein"));
    node.problem("proxy-password");
    assert_eq!(node.exit(PATIENCE).code, Some(4));

    let strict = ConnectProxy::start(
        Ipv4Addr::LOCALHOST.into(),
        0,
        ProxyPlan {
            authorization: None,
            only: Some(Vec::new()),
        },
    );
    let mut node = house.node(&plan(&format!("http://{}", strict.address()), "x"));
    node.problem("proxy-refused");
    assert_eq!(node.exit(PATIENCE).code, Some(4));

    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let mut node = house.node(&plan(&format!("http://{nobody}"), "x"));
    node.problem("proxy-unreachable");
    assert_eq!(node.exit(PATIENCE).code, Some(4));
}

#[test]
fn a_secret_in_the_proxys_address_is_refused_and_not_repeated() {
    let house = House::new();
    let mut node = house.node(&plan("http://walter:hunter2@127.0.0.1:1", "x"));
    let problem = node.problem("config-value");
    assert!(
        problem["subject"]
            .as_str()
            .unwrap()
            .ends_with("coordinator.proxy")
    );
    node.exit(PATIENCE);
    for line in node.lines() {
        assert!(!line.text.contains("hunter2"), "{}", line.text);
    }
}
