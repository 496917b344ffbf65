//! `/` and `/health`.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};
use warp_protocol::{ProblemCode, rest::IceServer};

use crate::{answer::Json, app::App, monitoring::health::Status};

pub(crate) async fn about() -> Json<Value> {
    Json(json!({
        "service": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// 200 `{"status":"healthy","checks":{"database":"healthy",...}}`, or 503 with the same shape and what
/// is wrong in `detail`; within two seconds, see [`crate::monitoring::health`]. What launchers compare
/// themselves with before anybody has signed in stands beside it: `time_ms`, this machine's clock,
/// and `stun`, the servers that tell a machine where it is seen from and want no credentials.
pub(crate) async fn health(State(app): State<App>) -> Response {
    let report = app.health.report().await;
    let wrong: Vec<String> = report
        .iter()
        .filter(|(_, status)| **status != Status::Healthy)
        .map(|(name, status)| format!("{name}: {}", status.text()))
        .collect();
    let healthy = |name| report.get(name) == Some(&Status::Healthy);
    let is_well = wrong.is_empty();
    let body = Health {
        status: if is_well { "healthy" } else { "unhealthy" },
        service: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        store: if healthy("database") {
            "connected"
        } else {
            "down"
        },
        checks: &report,
        time_ms: now_ms(),
        stun: open_stun(&app),
        detail: (!is_well).then(|| wrong.join("; ")),
        code: (!is_well).then_some(ProblemCode::CoordinatorFault),
    };
    let status = if is_well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body)).into_response()
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    store: &'static str,
    checks: &'a BTreeMap<&'static str, Status>,
    time_ms: u64,
    stun: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<ProblemCode>,
}

/// ms since 1970.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

fn open_stun(app: &App) -> Vec<&str> {
    let open = |server: &&IceServer| server.username.is_none() && server.credential.is_none();
    let servers = app.config.ice_servers.iter().filter(open);
    let urls = servers.flat_map(|server| &server.urls).map(String::as_str);
    urls.filter(|url| url.starts_with("stun:")).collect()
}
