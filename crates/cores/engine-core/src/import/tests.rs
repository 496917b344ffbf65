use super::*;
use crate::config::Config;

fn values(text: &str) -> Vec<(String, Value)> {
    let imported = read("file", text).unwrap();
    let pairs = imported.values.into_iter();
    pairs.map(|one| (one.key, one.value)).collect()
}

fn has(values: &[(String, Value)], key: &str, value: Value) -> bool {
    values.contains(&(key.to_owned(), value))
}

#[test]
fn config_ini_says_what_still_has_a_meaning() {
    let text = "[P2P]\r\nEnableP2P=1\r\nCoordinatorURL=wss://play.example:8443/api/signaling/ws\r\n\
                ConnectionTimeout=5000 ; ms\r\nMinCPUCores=4\r\nMaxRetries=300\r\n\r\n\
                [P2P_SECURITY]\r\nRequireCertificates=0\r\n[DEBUG]\r\nLogLevel=INFO\r\n\
                [STUN]\r\nServer1=stun.example:3478\r\nServer2=stun:two.example:3478\r\n";
    let imported = read("config.ini", text).unwrap();
    let found = values(text);
    assert!(has(&found, "p2p.enabled", json!(true)));
    let url = json!("https://play.example:8443/api/v1");
    assert!(has(&found, "coordinator.rest_api_url", url));
    assert!(has(&found, "webrtc.connection_timeout_ms", json!(5000)));
    assert!(has(&found, "security.require_certificates", json!(false)));
    assert!(has(&found, "logging.level", json!("info")));
    let servers = json!(["stun:stun.example:3478", "stun:two.example:3478"]);
    assert!(has(&found, "webrtc.stun_servers", servers));
    let left: Vec<&str> = imported.left.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(left, ["P2P.MinCPUCores", "P2P.MaxRetries"]);
    assert!(
        imported.left[1].why.contains("1 to 20"),
        "{:?}",
        imported.left
    );
}

#[test]
fn resourceinfo_ini_names_the_coordinator() {
    let text = "[CONNECTION]\nServerIP=127.0.0.1\n[P2P_HOSTS]\n0=ws://localhost:8001/api/signaling/ws\n\
                1=ws://other:8001/api/signaling/ws\n[P2P_ZONES]\nprontera=1\n";
    let found = values(text);
    let url = json!("http://localhost:8001/api/v1");
    assert_eq!(found, [("coordinator.rest_api_url".to_owned(), url)]);
    assert_eq!(read("resourceinfo.ini", text).unwrap().left.len(), 3);
}

#[test]
fn an_older_p2p_config_keeps_what_is_known_and_tells_the_rest() {
    let text = r#"{"coordinator":{"rest_api_url":"http://play.example:8001/api/v1","quic_port":9},
        "webrtc":{"stun_servers":["stun:one.example:3478"]},"p2p":{"enabled":true,"max_peers":50},
        "game":{"executable":"/bin/sh"},"logging":{"level":"loud"}}"#;
    let imported = read("p2p_config.json", text).unwrap();
    let mut keys: Vec<&str> = imported.values.iter().map(|one| one.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "coordinator.rest_api_url",
            "p2p.enabled",
            "webrtc.max_peers",
            "webrtc.stun_servers"
        ]
    );
    let left: Vec<&str> = imported.left.iter().map(|one| one.key.as_str()).collect();
    // A program is never taken from a file, and a wrong level is told.
    assert!(
        left.contains(&"game.executable") && left.contains(&"logging.level"),
        "{left:?}"
    );
    assert!(left.contains(&"coordinator.quic_port"));
}

#[test]
fn what_is_none_of_them_is_refused() {
    for text in [
        "",
        "hello",
        "{\"p2p\":",
        "MZ\u{0}\u{1}",
        "[P2P]\nno equals sign",
    ] {
        let problem = read("file", text).unwrap_err();
        assert_eq!(problem.code, ProblemCode::ConfigUnreadable, "{text:?}");
    }
    assert!(read("file", &" ".repeat(MAX_FILE + 1)).is_err());
}

#[test]
fn every_importable_key_exists_with_its_default() {
    let defaults = serde_json::to_value(Config::default()).unwrap();
    for key in IMPORTABLE {
        let place = format!("/{}", key.replace('.', "/"));
        let value = defaults.pointer(&place);
        assert!(value.is_some(), "{key} is no key of the configuration");
        check(key, value.unwrap()).unwrap();
    }
}

#[test]
fn a_value_is_put_in_its_place_and_taken_away_again() {
    let mut file = json!({"p2p": {"hold_seconds": 9}, "mine": 1});
    set(&mut file, "p2p.enabled", Some(json!(false)));
    set(&mut file, "coordinator.rest_api_url", Some(json!("x")));
    assert_eq!(file["p2p"], json!({"hold_seconds": 9, "enabled": false}));
    set(&mut file, "coordinator.rest_api_url", None);
    set(&mut file, "p2p.enabled", None);
    set(&mut file, "never.there", None);
    assert_eq!(file, json!({"p2p": {"hold_seconds": 9}, "mine": 1}));
}

proptest::proptest! {
    #[test]
    fn no_text_panics_and_what_is_taken_is_allowed(
        text in "(\\[P2P\\]\n|\\[STUN\\]\n|\\{)?(EnableP2P|MaxRetries|Server1|CoordinatorURL|\"p2p\")?[=:]?\\PC{0,60}\n?\\PC{0,40}"
    ) {
        if let Ok(imported) = read("file", &text) {
            for one in imported.values {
                proptest::prop_assert!(IMPORTABLE.contains(&one.key.as_str()));
                proptest::prop_assert!(check(&one.key, &one.value).is_ok());
            }
        }
    }
}
