//! Tests of the configuration.

use super::*;

#[test]
fn an_empty_object_is_a_whole_configuration() {
    let loaded = parse("p2p_config.json", "{}").unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.warnings.is_empty());
}

#[test]
fn unknown_and_retired_keys_are_named() {
    let text = r#"{"p2p": {"max_perrs": 5}, "webrtc": {"enable_dtls": true},
                   "performance": {"worker_threads": 4}, "overlay": {}}"#;
    let warnings = parse("c.json", text).unwrap().warnings;
    assert!(
        warnings
            .iter()
            .any(|line| line.starts_with("p2p.max_perrs: unknown key"))
    );
    assert!(
        warnings
            .iter()
            .any(|line| line.starts_with("webrtc.enable_dtls: no longer"))
    );
    assert!(
        warnings
            .iter()
            .any(|line| line.starts_with("performance: no longer"))
    );
    assert!(
        warnings
            .iter()
            .any(|line| line.starts_with("overlay: unknown key"))
    );
}

#[test]
fn peers_are_limited_and_fewer_of_them_than_players_is_told() {
    let warned = |text: &str| parse("c.json", text).unwrap().warnings;
    let text = r#"{"webrtc": {"max_peers": 30}, "hosting": {"max_players": 31}}"#;
    let [line] = &warned(text)[..] else {
        panic!("one line")
    };
    assert!(line.starts_with("hosting.max_players: of 31 players 30 are"));
    let text = r#"{"webrtc": {"max_peers": 200}, "hosting": {"max_players": 200}}"#;
    assert!(warned(text).is_empty());
    for peers in [0, 1001] {
        let text = format!(r#"{{"webrtc": {{"max_peers": {peers}}}}}"#);
        let problem = parse("c.json", &text).unwrap_err();
        assert_eq!(problem.code, ProblemCode::ConfigValue);
        assert!(problem.subject.contains("webrtc.max_peers"));
    }
}

#[test]
fn a_wrong_value_is_refused_with_its_path_the_value_and_what_is_allowed() {
    for (text, path, value) in [
        (r#"{"p2p": {"heartbeat_ms": 1}}"#, "p2p.heartbeat_ms", "1 "),
        (
            r#"{"p2p": {"heartbeat_ms": "soon"}}"#,
            "p2p.heartbeat_ms",
            "soon",
        ),
        (
            r#"{"p2p": {"paths": ["tunnel"]}}"#,
            "p2p.paths[0]",
            "tunnel",
        ),
        (r#"{"p2p": {"paths": []}}"#, "p2p.paths", "[]"),
        (
            r#"{"coordinator": {"public_key": "302a"}}"#,
            "coordinator.public_key",
            "302a",
        ),
        (
            r#"{"security": {"require_certificates": 1}}"#,
            "security.require_certificates",
            "1",
        ),
        (
            r#"{"bridge": {"login_listen": "0.0.0.0:6900"}}"#,
            "bridge.login_listen",
            "0.0.0.0",
        ),
        (
            r#"{"coordinator": {"rest_api_url": "ftp://x"}}"#,
            "coordinator.rest_api_url",
            "ftp://x",
        ),
        (
            r#"{"coordinator": {"proxy": "proxy:3128"}}"#,
            "coordinator.proxy",
            "proxy:3128 ",
        ),
        (
            r#"{"coordinator": {"proxy_user": "a:b"}}"#,
            "coordinator.proxy_user",
            "a:b ",
        ),
        (
            r#"{"p2p": {"packet_types": ["chat", "chatter"]}}"#,
            "p2p.packet_types[1]",
            "chatter",
        ),
        (
            r#"{"p2p": {"metrics_interval_ms": 999}}"#,
            "p2p.metrics_interval_ms",
            "999",
        ),
        (
            r#"{"p2p": {"thresholds": {"rtt_ms": {"fair": 300, "poor": 200}}}}"#,
            "p2p.thresholds.rtt_ms",
            "fair 300, poor 200",
        ),
        (
            r#"{"p2p": {"thresholds": {"quality": {"fair": 50, "poor": 80}}}}"#,
            "p2p.thresholds.quality",
            "fair 50, poor 80",
        ),
        (
            r#"{"p2p": {"zone_linger_seconds": 601}}"#,
            "p2p.zone_linger_seconds",
            "601",
        ),
        (
            r#"{"bridge": {"packet_tables": [{"version": 20180621}]}}"#,
            "bridge.packet_tables[0]",
            "file",
        ),
        (
            r#"{"bridge": {"packet_tables": [{"version": 20190605, "file": "a"}, {"version": 20190605, "file": "b"}]}}"#,
            "bridge.packet_tables[1].version",
            "20190605 ",
        ),
        (
            r#"{"bridge": {"packet_tables": [{"version": 0, "file": "a"}]}}"#,
            "bridge.packet_tables[0].version",
            "0 ",
        ),
        (
            r#"{"security": {"key_rotation_interval_seconds": 59}}"#,
            "security.key_rotation_interval_seconds",
            "59 ",
        ),
        (
            r#"{"game": {"max_instances": 0}}"#,
            "game.max_instances",
            "0 ",
        ),
    ] {
        let problem = parse("c.json", text).unwrap_err();
        assert_eq!(problem.code, ProblemCode::ConfigValue, "{text}");
        assert_eq!(problem.subject, format!("c.json: {path}"));
        let detail = problem.detail.unwrap();
        assert!(detail.contains(value), "{detail}");
    }
}

#[test]
fn the_password_of_a_proxy_is_kept_back() {
    for (text, path) in [
        (
            r#"{"coordinator": {"proxy": "http://u:hunter2@p:1"}}"#,
            "coordinator.proxy",
        ),
        (
            r#"{"coordinator": {"proxy_user": "u", "proxy_password": ["hunter2"]}}"#,
            "coordinator.proxy_password",
        ),
        (
            r#"{"coordinator": {"proxy_password": "hunter2"}}"#,
            "coordinator.proxy_user",
        ),
    ] {
        let problem = parse("c.json", text).unwrap_err();
        assert_eq!(problem.subject, format!("c.json: {path}"));
        assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
    }
    let text = r#"{"coordinator": {"proxy": "https://p", "proxy_user": "u",
                                   "proxy_password": "hunter2"}}"#;
    let config = parse("c.json", text).unwrap().config;
    assert_eq!(config.coordinator.proxy_password.reveal(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn relays_need_credentials_which_no_refusal_repeats() {
    let whole = r#"{"webrtc": {"stun_servers": ["stun:a"], "port_mapping": true, "turn_servers":
        [{"urls": ["turn:b"], "username": "name", "credential": "hunter2"}]}}"#;
    let webrtc = parse("c", whole).unwrap().config.webrtc;
    assert!(webrtc.port_mapping && !Config::default().webrtc.port_mapping);
    let urls: Vec<String> = (webrtc.ice_servers().into_iter().flat_map(|one| one.urls)).collect();
    assert_eq!(urls, ["turn:b", "stun:a"]);
    for wrong in [
        r#"["turn:name:hunter2@b"]"#,
        r#"[{"urls": ["turn:b"], "username": "hunter2"}]"#,
        r#"[{"urls": ["turn:b"], "username": "n", "credential": ["hunter2"]}]"#,
        r#"[{"urls": ["stun:b"], "username": "n", "credential": "hunter2"}]"#,
    ] {
        let text = format!(r#"{{"webrtc": {{"turn_servers": {wrong}}}}}"#);
        let problem = parse("c", &text).unwrap_err();
        assert_eq!(problem.code, ProblemCode::ConfigValue, "{wrong}");
        assert!(
            problem.subject.starts_with("c: webrtc.turn_servers[0]"),
            "{problem:?}"
        );
        assert!(!problem.detail.unwrap().contains("hunter2"), "{wrong}");
    }
}

#[test]
fn what_is_not_json_is_refused_with_the_place() {
    for text in ["", "{", "[] x", "{} {}"] {
        let problem = parse("c.json", text).unwrap_err();
        assert!(problem.detail.unwrap().contains("line"), "{text}");
    }
}

#[test]
fn p2p_off_leaves_the_websocket() {
    let config = parse("c", r#"{"p2p": {"enabled": false}}"#).unwrap().config;
    assert_eq!(config.link().preference, vec![PathKind::Wss]);
    assert_eq!(config.paths(), vec![PathKind::Wss, PathKind::Tcp]);
}

#[test]
fn the_interval_of_new_keys_is_read_under_its_old_name_too() {
    for key in ["key_rotation_interval_seconds", "KeyRotationInterval"] {
        let loaded = parse("c", &format!(r#"{{"security": {{"{key}": 600}}}}"#)).unwrap();
        assert_eq!(loaded.config.link().key_interval.as_secs(), 600);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
    let interval = Config::default().link().key_interval;
    assert_eq!(interval, LinkConfig::default().key_interval);
}

#[test]
fn every_class_of_packets_may_use_the_lane() {
    let text = r#"{"p2p": {"packet_types": ["movement", "chat", "emote", "skill", "item", "npc",
                  "party-guild", "system", "other"]}}"#;
    assert_eq!(parse("c", text).unwrap().config.p2p.packet_types.len(), 9);
    let default = Config::default().p2p.packet_types;
    assert_eq!(default, ["movement", "chat", "emote"]);
}

#[test]
fn practice_clients_play_one_account_each() {
    let section = |account: &str| PracticeSection {
        account: account.into(),
        ..PracticeSection::default()
    };
    for (account, slot, expected) in [
        ("test1", 0, "test1"),
        ("test1", 3, "test4"),
        ("test9", 1, "test10"),
        ("poring", 0, "poring"),
        ("poring", 1, "poring2"),
    ] {
        assert_eq!(section(account).account_of(slot), expected);
    }
}
