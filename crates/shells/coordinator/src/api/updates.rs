//! Updates of the launcher, from the operator's folder. Nobody has to be signed in: a launcher that
//! cannot sign in any more may need one most.

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use semver::Version;
use serde::Deserialize;
use tower_http::services::ServeFile;
use warp_protocol::{
    ProblemCode,
    update::{Bundle, Channel, MAX_INSTALL, Platform},
};

use crate::{
    answer::Json,
    app::App,
    extract::QueryOf,
    problem::{Refused, internal, invalid},
    releases::{self, Question},
};

/// Who asks.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asker {
    /// How the launcher is packed.
    #[param(inline)]
    bundle: Bundle,
    /// Whose releases it follows.
    #[serde(default)]
    #[param(inline)]
    channel: Channel,
    /// A random id that the install made for this; at most 64 bytes.
    #[serde(default)]
    install: String,
    /// Exactly the version that asks is wanted.
    #[serde(default)]
    same: bool,
}

/// What a launcher of that version is offered: 204 where there is nothing.
pub(crate) async fn offer(
    State(app): State<App>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    QueryOf(asker): QueryOf<Asker>,
) -> Result<Response, Refused> {
    let Path((target, arch, version)) = path.map_err(not_utf8)?;
    let platform = format!("{target}-{arch}-{}", asker.bundle.name());
    let platform: Platform = platform.parse().map_err(not_one)?;
    let current: Version = version.parse().map_err(not_one)?;
    if asker.install.len() > MAX_INSTALL {
        return Err(invalid("`install` is at most 64 bytes"));
    }
    let Some(folder) = app.config.updates.clone() else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let offer = tokio::task::spawn_blocking(move || {
        let question = Question {
            channel: asker.channel,
            platform: &platform,
            current: &current,
            install: &asker.install,
            same: asker.same,
        };
        releases::offer(&folder, &question)
    })
    .await;
    Ok(match offer.map_err(|_| fault())? {
        Some(offer) => Json(offer).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// A package, or the part of it that the request asks for.
pub(crate) async fn file(
    State(app): State<App>,
    path: Result<Path<(String, String, String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Refused> {
    let Path((channel, platform, version, file)) = path.map_err(not_utf8)?;
    let channel: Channel = channel.parse().map_err(not_one)?;
    let platform: Platform = platform.parse().map_err(not_one)?;
    let version: Version = version.parse().map_err(not_one)?;
    let folder = app.config.updates.clone().ok_or_else(none)?;
    let found = tokio::task::spawn_blocking(move || {
        releases::package(&folder, channel, &platform, &version, &file)
    });
    let found = found.await.map_err(|_| fault())?.ok_or_else(none)?;
    let served = ServeFile::new(found).try_call(request).await;
    let mut response = served.map_err(|_| fault())?.into_response();
    // Whatever it is: no browser is to show it.
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, octets);
    Ok(response)
}

fn not_utf8(_: PathRejection) -> Refused {
    Refused::new(ProblemCode::BadRequest, "the path is not valid UTF-8")
}

fn not_one<E>(_: E) -> Refused {
    none()
}

fn none() -> Refused {
    Refused::new(ProblemCode::NotFound, "there is no such release")
}

fn fault() -> Refused {
    internal("the release could not be read; the coordinator's log says more")
}
