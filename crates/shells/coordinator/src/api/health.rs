//! `/` and `/health`.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use warp_protocol::{ProblemCode, rest::IceServer};

use crate::{app::App, monitoring::health::Status};

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
    let checks: BTreeMap<&str, &str> = report
        .iter()
        .map(|(name, status)| (*name, status.text()))
        .collect();
    let wrong: Vec<String> = report
        .iter()
        .filter(|(_, status)| **status != Status::Healthy)
        .map(|(name, status)| format!("{name}: {}", status.text()))
        .collect();
    let healthy = |name| report.get(name) == Some(&Status::Healthy);
    let mut body = json!({
        "status": if wrong.is_empty() { "healthy" } else { "unhealthy" },
        "service": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "store": if healthy("database") { "connected" } else { "down" },
        "checks": checks,
        "time_ms": now_ms(),
        "stun": open_stun(&app),
    });
    if wrong.is_empty() {
        return Json(body).into_response();
    }
    if let Some(body) = body.as_object_mut() {
        body.insert("detail".to_owned(), wrong.join("; ").into());
        body.insert("code".to_owned(), json!(ProblemCode::CoordinatorFault));
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
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
