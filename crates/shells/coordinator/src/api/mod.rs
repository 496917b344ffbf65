//! The routes. Those of [`warp_protocol::rest`] stand under `/api/v1/` and, as in the older
//! documents, under `/api/`; `/` and `/health` stand at the top.

mod admin;
mod auth;
mod devices;
mod health;
mod hosts;
mod operate;
mod zones;

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post},
};
use tower_http::{catch_panic::CatchPanicLayer, cors::CorsLayer, trace::TraceLayer};
use warp_protocol::ProblemCode;

pub(crate) use auth::{NewAccount, make_account};
pub(crate) use devices::{device as device_in, revoke_in, revoked_target};
pub(crate) use zones::{find, prove_device};

use crate::{
    CoordinatorConfig, api_keys,
    app::App,
    problem::{Refused, internal},
    rate_limits, ws,
};

/// Largest request body, bytes.
const MAX_BODY: usize = 64 * 1024;

/// Longest that a request may take. Sockets are not requests: theirs ends with the handshake.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// All routes.
pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new()
        .route("/", get(health::about))
        .route("/health", get(health::health));
    for base in ["/api/v1", "/api"] {
        let at = |path: &str| format!("{base}/{path}");
        router = router
            .route(&at("auth/register"), post(auth::register))
            .route(&at("auth/login"), post(auth::login))
            .route(&at("auth/refresh"), post(auth::refresh))
            .route(&at("auth/token"), post(auth::token))
            .route(&at("auth/logout"), post(auth::logout))
            .route(&at("identity"), get(devices::identity))
            .route(&at("devices/certificate"), post(devices::certificate))
            .route(&at("devices/revoke"), post(devices::revoke))
            .route(&at("devices/refusals"), get(devices::refusals))
            .route(&at("zones/"), get(zones::list))
            .route(&at("zones"), get(zones::list))
            .route(&at("zones/{zone_id}"), get(zones::one))
            .route(&at("zones/{zone_id}/join"), post(zones::join))
            .route(&at("zones/{zone_id}/status"), patch(operate::zone_status))
            .route(&at("zones/{zone_id}/enable-p2p"), post(operate::enable_p2p))
            .route(
                &at("zones/{zone_id}/disable-p2p"),
                post(operate::disable_p2p),
            )
            .route(
                &at("fleet/p2p"),
                get(operate::fleet).post(operate::set_fleet),
            )
            .route(&at("hosts/"), get(hosts::list))
            .route(&at("hosts"), get(hosts::list))
            .route(&at("hosts/register"), post(hosts::register))
            .route(&at("hosts/available/list"), get(hosts::available))
            .route(&at("hosts/available/best"), get(hosts::best))
            .route(
                &at("hosts/{host_id}"),
                get(hosts::one).delete(hosts::remove),
            )
            .route(&at("hosts/{host_id}/heartbeat"), post(hosts::heartbeat))
            .route(&at("hosts/{host_id}/drain"), post(hosts::drain))
            .route(&at("bans/"), get(admin::bans).post(admin::ban))
            .route(&at("bans"), get(admin::bans).post(admin::ban))
            .route(&at("bans/{id}"), delete(admin::unban))
            .route(&at("accounts/"), get(admin::accounts))
            .route(&at("accounts"), get(admin::accounts))
            .route(&at("accounts/{name}/role"), patch(admin::role))
            .route(&at("accounts/{name}/devices"), get(admin::devices_of))
            .route(&at("audit/"), get(admin::audit))
            .route(&at("audit"), get(admin::audit))
            .route(&at("links/"), get(admin::sessions))
            .route(&at("links"), get(admin::sessions))
            .route(&at("links/{session_id}/move"), post(admin::move_session))
            .route(&at("links/{session_id}"), delete(zones::end_session))
            .route(&at("links/{session_id}/guests"), post(zones::admit))
            .route(&at("relay/ws"), get(ws::relay::open))
            .route(&at("signaling/ws"), get(ws::signaling::open))
            .route(&at("endpoints/ws"), get(ws::endpoint::open))
            .route(&at("link/ws"), get(ws::link::open));
    }
    let cors = cors(&app.config);
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(app.clone(), api_keys::check))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            rate_limits::limit,
        ))
        .layer(cors)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(
            TraceLayer::new_for_http()
                // Neither the query nor a header: both may hold a token.
                .make_span_with(|request: &Request<Body>| {
                    tracing::debug_span!(
                        "request",
                        method = %request.method(),
                        path = request.uri().path(),
                    )
                })
                .on_failure(()),
        )
        .with_state(app)
}

fn cors(config: &CoordinatorConfig) -> CorsLayer {
    let origins = config.cors_origins.iter();
    let origins: Vec<HeaderValue> = origins.filter_map(|o| o.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            config.api_keys.header.clone(),
        ])
        .expose_headers(rate_limits::HEADERS)
        .max_age(Duration::from_secs(600))
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refused::new(
            ProblemCode::CoordinatorFault,
            "the coordinator could not answer in time; try again later",
        )
        .into_response(),
    }
}

fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    tracing::error!("a request handler panicked");
    internal("the coordinator has a fault; its log says more").into_response()
}

async fn not_found() -> Refused {
    Refused::new(ProblemCode::NotFound, "there is no such route")
}

async fn method_not_allowed() -> Refused {
    Refused::new(
        ProblemCode::BadRequest,
        "the route does not have this method",
    )
    .with_status(StatusCode::METHOD_NOT_ALLOWED)
}
