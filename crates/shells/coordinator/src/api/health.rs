//! `/` and `/health`.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use warp_protocol::ProblemCode;

use crate::app::App;

/// Longest that the database may take to answer.
const PING_TIME: Duration = Duration::from_secs(1);

pub(crate) async fn about() -> Json<Value> {
    Json(json!({
        "service": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// 200 `{"status":"healthy","store":"connected"}`, or 503 with what is down.
pub(crate) async fn health(State(app): State<App>) -> Response {
    match app.store.ping(PING_TIME).await {
        Ok(()) => Json(json!({
            "status": "healthy",
            "service": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "store": "connected",
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
