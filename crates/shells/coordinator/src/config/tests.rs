use super::*;
use crate::limits::Rate;
use warp_protocol::rest::AccountRole;

fn read(text: &str) -> Result<(CoordinatorConfig, Vec<String>), ConfigError> {
    CoordinatorConfig::from_json(text, Path::new("/etc/warp/c.json"))
}

#[test]
fn an_empty_file_is_the_default_and_all_keys_are_read() {
    let (config, unknown) = read("{}").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8001");
    assert!(config.require_certificates);
    assert_eq!(config.key_rotation_interval.as_secs(), 3600);
    assert!(unknown.is_empty());

    let (config, unknown) = read(
        r#"{"listen": "0.0.0.0:443", "data_dir": "data", "tls": {"cert": "c.pem", "key": "/k.pem"},
            "ice_servers": [{"urls": ["stun:a:1"]},
                            {"urls": ["turn:a:1"], "username": "u", "credential": "p"}],
            "turn": {"urls": ["turn:a:1"], "shared_secret": "s", "ttl_seconds": 300},
            "tokens": {"access_seconds": 60, "refresh_seconds": 300},
            "require_certificates": false, "certificates": {"lifetime_seconds": 10},
            "endpoint": {"key_rotation_interval_seconds": 60},
            "cors_origins": ["https://play.example"], "registration": "closed",
            "capacity": {"sessions": 7, "hosts": 5},
            "hosts": {"who": "role", "heartbeat_seconds": 2, "silent_seconds": 4, "minimum": {"cpu_cores": 4}},
            "keep_alive": {"ping_seconds": 5, "idle_seconds": 10},
            "limits": {"account": {"burst": 3, "per_minute": 4}},
            "monitoring": {"token": "sixteen letters!", "allow": ["192.0.2.9", "2001:db8::9"],
                           "open_on_loopback": true},
            "npc": {"url": "http://127.0.0.1:8000", "api_key": "k", "poll_seconds": 7,
                    "zones": {"prontera": ["smith"]}, "push_token": "sixteen letters!"},
            "log": {"format": "json", "file": "logs/warp.log", "keep": 30}}"#,
    )
    .unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_eq!(config.data_dir, Path::new("/etc/warp/data"));
    let tls = config.tls.unwrap();
    assert_eq!(tls.cert, Path::new("/etc/warp/c.pem"));
    assert_eq!(tls.key, Path::new("/k.pem"));
    assert_eq!(config.ice_servers.len(), 2);
    let turn = config.turn.unwrap();
    assert_eq!((turn.urls.len(), turn.ttl.as_secs()), (1, 300));
    assert_eq!(config.access_lifetime.as_secs(), 60);
    assert!(!config.require_certificates);
    assert_eq!(config.certificate_lifetime.as_secs(), 10);
    assert!(!config.hosts.who.lets(AccountRole::Player));
    assert_eq!(config.hosts.minimum.cpu_cores, 4);
    assert_eq!(config.hosts.minimum.memory_mb, 1);
    assert_eq!(config.hosts.limits.silent.as_secs(), 4);
    assert_eq!(config.key_rotation_interval.as_secs(), 60);
    assert_eq!(config.registration, Registration::Closed);
    assert_eq!(config.idle_after.as_secs(), 10);
    assert_eq!(config.limits.account, Rate::new(3, 4));
    assert_eq!(config.limits.address, RateLimits::default().address);
    assert_eq!(config.monitoring.allow.len(), 2);
    assert!(config.monitoring.token.is_some() && config.monitoring.open_on_loopback);
    assert_eq!(config.npc.poll.as_secs(), 7);
    assert_eq!(config.npc.zones["prontera"], ["smith"]);
    let file = Path::new("/etc/warp/logs/warp.log");
    assert_eq!(config.log.file.as_deref(), Some(file));
    assert_eq!(config.log.keep, 30);
}

#[test]
fn the_example_is_understood() {
    let text = include_str!("../../../../../docs/examples/coordinator.json");
    let (_, unknown) = read(text).unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn unknown_keys_are_named() {
    let (_, unknown) = read(
        r#"{"lisen": "x", "tokens": {"acess_seconds": 5}, "ice_servers": [{"urls": ["stun:a"], "url": ""}]}"#,
    )
    .unwrap();
    assert_eq!(
        unknown,
        ["ice_servers.0.url", "lisen", "tokens.acess_seconds"]
    );
}

#[test]
fn wrong_values_are_refused_with_path_value_and_what_is_allowed() {
    for (text, path, value, allowed) in [
        (
            r#"{"listen": "here"}"#,
            "listen",
            "\"here\"",
            "127.0.0.1:8001",
        ),
        (
            r#"{"endpoint": {"key_rotation_interval_seconds": 59}}"#,
            "endpoint.key_rotation_interval_seconds",
            "59",
            "60 to 86400",
        ),
        (r#"{"listen": 8001}"#, "listen", "8001", "127.0.0.1:8001"),
        (
            r#"{"registration": "ajar"}"#,
            "registration",
            "\"ajar\"",
            "`open` or `closed`",
        ),
        (
            r#"{"tls": {"cert": "c"}}"#,
            "tls",
            r#"{"cert":"c"}"#,
            "`key`",
        ),
        (
            r#"{"tokens": {"access_seconds": -1}}"#,
            "tokens.access_seconds",
            "-1",
            "u64",
        ),
        (
            r#"{"tokens": {"access_seconds": 5}}"#,
            "tokens.access_seconds",
            "5",
            "60 to 86400",
        ),
        (
            r#"{"tokens": {"access_seconds": 7200, "refresh_seconds": 3600}}"#,
            "tokens.refresh_seconds",
            "3600",
            "7200 to 31536000",
        ),
        (
            r#"{"keep_alive": {"ping_seconds": 60, "idle_seconds": 60}}"#,
            "keep_alive.idle_seconds",
            "60",
            "120 to 3600",
        ),
        (
            r#"{"hosts": {"heartbeat_seconds": 10, "silent_seconds": 15}}"#,
            "hosts.silent_seconds",
            "15",
            "20 to 600",
        ),
        (
            r#"{"hosts": {"who": "me"}}"#,
            "hosts.who",
            "\"me\"",
            "`everyone` or `role`",
        ),
        (
            r#"{"cors_origins": ["*"]}"#,
            "cors_origins[0]",
            "\"*\"",
            "https://",
        ),
        (
            r#"{"ice_servers": [{"urls": []}]}"#,
            "ice_servers[0].urls",
            "[]",
            "at least one",
        ),
        (
            r#"{"ice_servers": [{"urls": ["http://a"]}]}"#,
            "ice_servers[0].urls[0]",
            "\"http://a\"",
            "stun:",
        ),
        (
            r#"{"ice_servers": [{"urls": ["turn:a"]}]}"#,
            "ice_servers[0].urls[0]",
            "\"turn:a\"",
            "credential",
        ),
        (
            r#"{"limits": {"account": {"burst": 0, "per_minute": 1}}}"#,
            "limits.account.burst",
            "0",
            "nonzero",
        ),
        (
            r#"{"monitoring": {"token": "too short"}}"#,
            "monitoring.token",
            "[secret]",
            "at least 16",
        ),
        (
            r#"{"npc": {"push_token": "too short"}}"#,
            "npc.push_token",
            "[secret]",
            "at least 16",
        ),
        (
            r#"{"npc": {"url": "ftp://a"}}"#,
            "npc.url",
            "\"ftp://a\"",
            "http://",
        ),
        (
            r#"{"npc": {"zones": {"z": [""]}}}"#,
            "npc.zones.z",
            r#"[""]"#,
            "at most 64 ids",
        ),
        (
            r#"{"log": {"file": "coordinator"}}"#,
            "log.file",
            "\"coordinator\"",
            ".log",
        ),
        (r#"{"log": {"keep": 0}}"#, "log.keep", "0", "1 to 365"),
        (r#"[]"#, ".", "[]", "struct"),
    ] {
        match read(text) {
            Err(ConfigError::Value {
                path: p,
                value: v,
                allowed: a,
            }) => {
                assert_eq!((p.as_str(), v.as_str()), (path, value), "{text}");
                assert!(a.contains(allowed), "{text}: {a}");
            }
            other => panic!("{text} gave {other:?}"),
        }
    }
    assert!(matches!(read("{"), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn a_wrong_secret_is_not_repeated() {
    let text = r#"{"ice_servers": [{"urls": ["turn:a"], "username": "u", "credential": 918273}]}"#;
    let error = read(text).unwrap_err().to_string();
    assert!(!error.contains("918273"), "{error}");
    assert!(error.contains("ice_servers[0].credential"), "{error}");
}
