//! Metrics, the dashboard's figures, and its page.

use std::{convert::Infallible, sync::LazyLock};

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{
        Html, IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::stream;
use sha2::{Digest, Sha256};

use crate::{
    app::App,
    monitoring::{
        access::{Scraper, Viewer},
        scrape,
    },
    problem::Refused,
};

const PAGE: &str = include_str!("../monitoring/dashboard.html");

/// Nothing but what the page itself holds, and calls of this coordinator.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let (style, script) = (hash_of(PAGE, "style"), hash_of(PAGE, "script"));
    format!(
        "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The figures, for Prometheus.
pub(crate) async fn metrics(State(app): State<App>, _: Scraper) -> Response {
    exposition(scrape::exposition(&app))
}

/// The same after those with the names of the older coordinator.
pub(crate) async fn metrics_with_old_names(
    State(app): State<App>,
    _: Scraper,
) -> Result<Response, Refused> {
    let zones = app.store.zones().await?;
    let p2p = zones.iter().filter(|(zone, _)| zone.p2p_enabled).count();
    let old = scrape::old_names(&app, zones.len(), p2p);
    Ok(exposition(old + &scrape::exposition(&app)))
}

fn exposition(text: String) -> Response {
    let media_type = HeaderValue::from_static(scrape::MEDIA_TYPE);
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}

/// What the page shows, once.
pub(crate) async fn dashboard(State(app): State<App>, _: Viewer) -> Result<Response, Refused> {
    let text = app.figures.text(&app).await?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], text).into_response())
}

/// The same again and again, as server-sent events; see [`crate::monitoring::viewers`].
pub(crate) async fn events(State(app): State<App>, _: Viewer) -> Result<Response, Refused> {
    let events = app.viewers.enter(&app).await?;
    let stream = stream::unfold(events, |mut events| async move {
        let event = events.recv().await?;
        Some((Ok::<_, Infallible>(Event::default().data(&*event)), events))
    });
    let mut response = Sse::new(stream).into_response();
    // A proxy that collects answers would show nothing for minutes.
    let unbuffered = HeaderValue::from_static("no");
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", unbuffered);
    Ok(response)
}

/// The page. It holds no figures, so anybody may have it; what it shows is for [`Viewer`]s.
pub(crate) async fn page() -> Response {
    let mut response = Html(PAGE).into_response();
    let headers = response.headers_mut();
    let value = HeaderValue::from_static;
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, value("nosniff"));
    headers.insert(header::REFERRER_POLICY, value("no-referrer"));
    headers.insert(header::CACHE_CONTROL, value("no-cache"));
    response
}

/// The source expression (CSP level 3) of the only element of that name.
fn hash_of(page: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let inside = page
        .split_once(&open)
        .and_then(|(_, rest)| rest.split_once(&close))
        .map_or("", |(inside, _)| inside);
    let digest = Sha256::digest(inside.as_bytes());
    format!("sha256-{}", BASE64_STANDARD.encode(digest))
}
