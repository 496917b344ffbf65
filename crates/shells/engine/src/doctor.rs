//! Checks of what play needs, for `warp-node doctor` and the window.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use warp_engine_core::config::Config;
use warp_protocol::rest::IceServer;
use warp_reach_core::report::Report;
use warp_reach_core::scrub::Private;
use warp_reach_core::{Check, CheckName, Diagnosis};

use crate::coordinator::Coordinator;
use crate::handle::Keeping;
use crate::tokens;

/// What a play that goes on brings along; nothing where none does.
#[derive(Debug, Clone, Default)]
pub struct InPlay {
    /// The login port is in use by this very program.
    pub bridge_open: bool,
    /// STUN and TURN servers of the sessions, with their credentials.
    pub ice_servers: Vec<IceServer>,
}

/// Longest wait for the coordinator to prove its key.
const KEY_TIME: Duration = Duration::from_secs(4);

/// Runs all checks. None of them changes anything, except that with `webrtc.port_mapping` the
/// router is asked to open a port, which is given back. `keeping`: where the coordinators' keys are.
/// `programs`: where `warp-practice` lies, if not beside the running program.
pub async fn doctor(
    config: &Config,
    keeping: &Keeping,
    programs: Option<&Path>,
    now: &InPlay,
) -> Diagnosis {
    let mut checks = vec![login_port(config, now.bridge_open), game(config, programs)];
    let network = match Coordinator::new(config, keeping) {
        Ok(coordinator) => {
            let looking = Box::pin(network(&coordinator, config, now));
            let key = coordinator.look_at_key(KEY_TIME);
            let (network, (ok, detail), secrets) = tokio::join!(looking, key, secret_store());
            let name = CheckName::CoordinatorKey;
            checks.insert(0, Check { name, ok, detail });
            checks.insert(2, secrets);
            network
        }
        // The configuration is such that nobody can be asked.
        Err(problem) => {
            let why = problem.detail.unwrap_or_default();
            checks.insert(
                0,
                Check {
                    name: CheckName::Settings,
                    ok: Some(false),
                    detail: format!("{}: {why}", problem.subject),
                },
            );
            checks.insert(2, secret_store().await);
            Report::default()
        }
    };
    Diagnosis::new(checks, network)
}

/// All of it as JSON that may be given to others: whatever names a person of this machine, or is a
/// secret of `config` or of the play that goes on, is taken out of every text.
pub fn export(diagnosis: &Diagnosis, config: &Config, now: &InPlay) -> Value {
    let mut export = json!({
        "program": concat!("warp-engine ", env!("CARGO_PKG_VERSION")),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "diagnosis": diagnosis,
    });
    scrub(&mut export, &private(config, now));
    export
}

fn scrub(value: &mut Value, private: &Private) {
    match value {
        Value::String(text) => *text = private.scrub(text),
        Value::Array(list) => list.iter_mut().for_each(|one| scrub(one, private)),
        Value::Object(map) => map.values_mut().for_each(|one| scrub(one, private)),
        _ => {}
    }
}

/// What the environment and the configuration name of a person.
fn private(config: &Config, now: &InPlay) -> Private {
    let set = |names: &[&str]| -> Vec<String> {
        let values = names.iter().filter_map(|name| std::env::var(name).ok());
        values.filter(|value| value.len() > 1).collect()
    };
    let relays = (config.webrtc.turn_servers.iter()).chain(&now.ice_servers);
    let secrets = relays.flat_map(|server| {
        let password = server
            .credential
            .as_ref()
            .map(|one| one.reveal().to_owned());
        server.username.clone().into_iter().chain(password)
    });
    let proxy = [
        config.coordinator.proxy_user.clone(),
        config.coordinator.proxy_password.reveal().to_owned(),
    ];
    Private {
        folders: set(&["HOME", "USERPROFILE"]),
        names: set(&["USER", "LOGNAME", "USERNAME"]),
        secrets: secrets.chain(proxy).collect(),
    }
}

async fn network(coordinator: &Coordinator, config: &Config, now: &InPlay) -> Report {
    let mut ice_servers = now.ice_servers.clone();
    ice_servers.extend(config.webrtc.ice_servers());
    let plan = warp_reach::Plan {
        ice_servers,
        health_url: coordinator.health_url(),
        http: coordinator.http(),
        proxy: coordinator.proxy_used(),
        port_mapping: config.webrtc.port_mapping,
    };
    Box::pin(warp_reach::look(plan)).await
}

fn login_port(config: &Config, bridge_open: bool) -> Check {
    let address = config.bridge.login_listen;
    let name = CheckName::LoginPort;
    if bridge_open {
        return Check {
            name,
            ok: Some(true),
            detail: format!("{address} is in use by the bridge, as it should be"),
        };
    }
    match TcpListener::bind(address) {
        Ok(_free) => Check {
            name,
            ok: Some(true),
            detail: format!("{address} is free"),
        },
        Err(error) => Check {
            name,
            ok: Some(false),
            detail: format!(
                "{address}: {error}; close what uses it, or choose another bridge.login_listen"
            ),
        },
    }
}

async fn secret_store() -> Check {
    let (ok, detail) = match tokens::probe().await {
        Ok(()) => (
            Some(true),
            "works: sign-ins can be remembered, and the device key is kept there".to_owned(),
        ),
        Err(problem) => (
            None,
            format!(
                "none that works ({}); sign-ins and the device key are kept in memory only",
                problem.detail.unwrap_or_default()
            ),
        ),
    };
    Check {
        name: CheckName::SecretStore,
        ok,
        detail,
    }
}

fn game(config: &Config, programs: Option<&Path>) -> Check {
    let name = CheckName::Game;
    match crate::game::program(&config.game, programs) {
        None => Check {
            name,
            ok: None,
            detail: "none configured: Play only opens the bridge (game.executable)".into(),
        },
        Some(program) if program.is_file() => Check {
            name,
            ok: Some(true),
            detail: program.display().to_string(),
        },
        Some(program) => Check {
            name,
            ok: Some(false),
            detail: format!("{} is missing; check game.executable", program.display()),
        },
    }
}

#[cfg(test)]
mod tests {
    use warp_protocol::Secret;
    use warp_reach_core::Play;
    use warp_reach_core::report::Reached;

    use super::*;

    #[test]
    fn an_export_names_nobody() {
        let mut config = Config::default();
        config.webrtc.turn_servers = vec![IceServer {
            urls: vec!["turn:relay.example".into()],
            username: Some("relay-name".into()),
            credential: Some(Secret::new("relay-password")),
        }];
        let home = std::env::var("HOME").unwrap_or_else(|_| "/home/nobody".into());
        let check = Check {
            name: CheckName::Game,
            ok: Some(true),
            detail: format!("{home}/games/ro.exe for relay-name with RELAY-PASSWORD"),
        };
        let diagnosis = Diagnosis::new(vec![check], Report::default());
        let export = export(&diagnosis, &config, &InPlay::default()).to_string();
        assert!(
            export.contains("/games/ro.exe for [secret] with [secret]"),
            "{export}"
        );
        assert!(
            std::env::var("HOME").is_err() || !export.contains(&home),
            "{export}"
        );
    }

    #[tokio::test]
    async fn an_engine_looks_when_it_is_asked_and_passes_on_what_it_found() {
        let closed = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let nobody = closed.local_addr().unwrap();
        drop(closed);
        let mut config = Config::default();
        config.coordinator.rest_api_url = format!("http://{nobody}/api/v1");
        config.bridge.login_listen = ([127, 0, 0, 1], 0).into();
        let options = crate::EngineOptions {
            keeping: Keeping::nothing(),
            ..crate::EngineOptions::new(config)
        };
        let engine = crate::EngineHandle::start(options).unwrap();
        let mut events = engine.subscribe();
        engine.send(crate::Command::Diagnose).unwrap();
        let (diagnosis, export) = match events.recv().await.unwrap() {
            crate::Event::Diagnosed { diagnosis, export } => (diagnosis, export),
            other => panic!("{other:?}"),
        };
        assert_eq!(diagnosis.play, Play::Impossible, "there is no coordinator");
        assert_eq!(diagnosis.network.coordinator.reached, Reached::Nobody);
        assert_eq!(diagnosis.network.loopback, Some(true));
        let key = (diagnosis.checks.iter())
            .find(|check| check.name == CheckName::CoordinatorKey)
            .unwrap();
        assert_eq!((key.ok, key.detail.as_str()), (None, "not met yet"));
        let export: Value = serde_json::from_str(&export).unwrap();
        assert_eq!(export["diagnosis"]["play"], "impossible");
    }
}
