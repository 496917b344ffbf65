//! Checks of what play needs, for `warp-node doctor`.

use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use warp_engine_core::config::Config;

use crate::coordinator::Coordinator;
use crate::handle::Keeping;
use crate::tokens;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it is as play needs it; `None`: play works without.
    pub ok: Option<bool>,
    /// What was found, and what to do about it.
    pub detail: String,
}

/// Runs all checks; none of them changes anything.
pub async fn doctor(config: &Config, programs: Option<&Path>) -> Vec<Check> {
    vec![
        coordinator(config).await,
        login_port(config),
        secret_store().await,
        game(config, programs),
    ]
}

async fn coordinator(config: &Config) -> Check {
    let name = "coordinator";
    let start = Instant::now();
    let health = match Coordinator::new(config, &Keeping::nothing()) {
        Ok(coordinator) => coordinator.health().await,
        Err(problem) => Err(problem),
    };
    match health {
        Ok(()) => Check {
            name,
            ok: Some(true),
            detail: format!(
                "{} answers in {:.1} ms (with connecting)",
                config.coordinator.rest_api_url,
                start.elapsed().as_secs_f64() * 1000.0
            ),
        },
        Err(problem) => Check {
            name,
            ok: Some(false),
            detail: format!(
                "{}: {}; check coordinator.rest_api_url and that it runs",
                problem.subject,
                problem.detail.unwrap_or_default()
            ),
        },
    }
}

fn login_port(config: &Config) -> Check {
    let address = config.bridge.login_listen;
    let name = "loopback login port";
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
        name: "secret store",
        ok,
        detail,
    }
}

fn game(config: &Config, programs: Option<&Path>) -> Check {
    let name = "game";
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
