//! What is done for every request: an id, a span for its log lines, and its figures.
//!
//! The id is the one that came as `X-Request-Id`, if it is 1 to 64 letters, digits, `-`, `_` and `.`;
//! else one is made. It is answered in the same header and stands in every line that is logged for the
//! request; a socket has the id of its handshake for as long as it lives.

use std::{borrow::Cow, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;
use warp_protocol::ProblemCode;

use crate::app::App;

/// The header with the id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from a client.
const MAX_ID: usize = 64;

/// What a refusal leaves on its response, for the figures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusedWith(pub(crate) ProblemCode);

pub(crate) async fn observed(State(app): State<App>, request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).cloned();
    let id = given.filter(is_sane).or_else(made);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or(Cow::Borrowed("none"), |matched| template(matched.as_str()));
    // At this level it is there whatever the filter lets through. Neither the query nor a header but
    // this one: both may hold a token.
    let span = tracing::error_span!(
        "request",
        request_id = id.as_ref().and_then(|id| id.to_str().ok()),
        %method,
        path,
    );
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = started.elapsed();
    let status = response.status();
    span.in_scope(|| tracing::debug!(status = status.as_u16(), ?took, "answered"));
    let code = response.extensions().get().copied();
    let code = code.map(|RefusedWith(code)| code);
    count(&app, &route, &path, code);
    let metrics = &app.metrics;
    if status == StatusCode::TOO_MANY_REQUESTS {
        metrics.rate_limited("request");
    }
    metrics.answered(route, method_label(&method), class(status), took);
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The figures of single routes.
fn count(app: &App, route: &str, path: &str, code: Option<ProblemCode>) {
    let result = || code.map_or_else(|| "ok".to_owned(), ProblemCode::name);
    if code.is_some() {
        app.metrics.refused(result());
    }
    match route {
        "/api/v1/auth/login" => app.metrics.signed_in("login", result()),
        "/api/v1/auth/register" => app.metrics.signed_in("register", result()),
        "/api/v1/auth/refresh" => app.metrics.signed_in("refresh", result()),
        "/api/v1/zones/{zone_id}/join" => {
            let zone = path.rsplit('/').nth(1).unwrap_or_default();
            // What is no zone has no label: anybody may make names up.
            let known = app.live.hosting.has_zone(zone);
            app.metrics.joined(known.then_some(zone), result());
        }
        _ => {}
    }
}

/// Of the alias too the figures are those of the route.
fn template(matched: &str) -> Cow<'static, str> {
    let rest = matched.strip_prefix("/api/");
    Cow::Owned(match rest {
        Some(rest) if !rest.starts_with("v1/") => format!("/api/v1/{rest}"),
        _ => matched.to_owned(),
    })
}

fn is_sane(id: &HeaderValue) -> bool {
    let ok = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let bytes = id.as_bytes();
    (1..=MAX_ID).contains(&bytes.len()) && bytes.iter().all(ok)
}

/// Nothing rests on nobody guessing it, so it needs no call of the system.
fn made() -> Option<HeaderValue> {
    let id = format!("{:016x}", rand::random::<u64>());
    HeaderValue::from_str(&id).ok()
}

/// Methods are text that a client chooses.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_clients_are_taken_only_when_they_are_harmless_in_a_log() {
        let sane = |id: &str| HeaderValue::from_bytes(id.as_bytes()).is_ok_and(|id| is_sane(&id));
        assert!(sane("a") && sane("0af7651916cd43dd-1.2_3"));
        assert!(sane(&"x".repeat(MAX_ID)) && !sane(&"x".repeat(MAX_ID + 1)));
        for wrong in ["", "a b", "a\tb", "a\"b", "é", "a=b", "a,b", "[31m"] {
            assert!(!sane(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn both_bases_count_as_one_route() {
        assert_eq!(template("/api/zones/{zone_id}"), "/api/v1/zones/{zone_id}");
        assert_eq!(template("/api/v1/zones"), "/api/v1/zones");
        assert_eq!(template("/health"), "/health");
    }
}
