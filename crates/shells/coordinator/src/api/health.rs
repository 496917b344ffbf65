//! `/` and `/health`.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use warp_protocol::{ProblemCode, rest::IceServer};

use crate::app::App;

pub(crate) async fn about() -> Json<Value> {
    Json(json!({
        "service": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// 200 `{"status":"healthy","store":"connected"}`, or 503 with what is down. What launchers compare
/// themselves with before anybody has signed in stands beside it: `time_ms`, this machine's clock,
/// and `stun`, the servers that tell a machine where it is seen from and want no credentials.
pub(crate) async fn health(State(app): State<App>) -> Response {
    match app.store.ping().await {
        Ok(()) => Json(json!({
            "status": "healthy",
            "service": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "store": "connected",
            "time_ms": now_ms(),
            "stun": open_stun(&app),
        }))
        .into_response(),
        Err(error) => {
            tracing::warn!(%error, "health: store is down");
            let body = json!({
                "status": "unhealthy",
                "store": "down",
                "detail": "the database does not answer",
                "code": ProblemCode::CoordinatorFault,
            });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
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
