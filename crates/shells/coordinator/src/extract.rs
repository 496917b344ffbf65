//! What handlers take from a request. Each refuses with an [`warp_protocol::rest::ErrorBody`].

use std::net::SocketAddr;

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::{header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use warp_protocol::{ProblemCode, Secret, rest::AccountRole};

use crate::{app::App, problem::Refused};

/// Where a request comes from; the server puts it into every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddr(pub(crate) SocketAddr);

impl<S: Sync> FromRequestParts<S> for ClientAddr {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        parts
            .extensions
            .get()
            .copied()
            .ok_or_else(|| crate::problem::internal("the client's address is not known"))
    }
}

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refuse_json(&rejection)),
        }
    }
}

fn refuse_json(rejection: &JsonRejection) -> Refused {
    let status = rejection.status();
    let bad = |text: &str| Refused::new(ProblemCode::BadRequest, text);
    match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            bad("the request wants `content-type: application/json`").with_status(status)
        }
        // serde's words may repeat a value, and a value here may be a password.
        JsonRejection::JsonDataError(_) => {
            bad("the request's JSON does not have the fields that this route wants")
        }
        JsonRejection::JsonSyntaxError(_) => bad("the request's body is not valid JSON"),
        _ if status.as_u16() == 413 => bad("the request's body is too large").with_status(status),
        _ => bad("the request's body could not be read"),
    }
}

/// A part of the path.
pub(crate) struct PathId(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let Path(id) = <Path<String> as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map_err(|_| Refused::new(ProblemCode::BadRequest, "the path is not valid UTF-8"))?;
        // No id has one, and not every database takes them.
        if id.contains(char::is_control) {
            let text = "the path has a control character in it";
            return Err(Refused::new(ProblemCode::BadRequest, text));
        }
        Ok(Self(id))
    }
}

/// The query.
pub(crate) struct QueryOf<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let Query(query) = <Query<T> as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map_err(|_| {
                let text = "the query lacks a parameter, or one of them is not understood";
                Refused::new(ProblemCode::BadRequest, text)
            })?;
        Ok(Self(query))
    }
}

/// Who is asking, by the access token in `Authorization: Bearer`.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) account: i64,
    pub(crate) name: String,
    pub(crate) role: AccountRole,
    /// When the access token was issued, unix seconds.
    pub(crate) issued: i64,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let token = bearer(parts)?.ok_or_else(not_signed_in)?;
        caller_of(app, &token)
    }
}

/// A token that is not an account's.
pub(crate) struct Bearer(pub(crate) Secret);

impl<S: Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        bearer(parts)?.map(Self).ok_or_else(not_signed_in)
    }
}

/// Who is asking, by `Authorization: Bearer` or, as in the older contract, by `?token=`.
pub(crate) struct SocketCaller(pub(crate) Caller);

#[derive(Deserialize)]
struct TokenQuery {
    token: Option<Secret>,
}

impl FromRequestParts<App> for SocketCaller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let token = match bearer(parts)? {
            Some(token) => token,
            None => {
                let QueryOf(query) = QueryOf::<TokenQuery>::from_request_parts(parts, app).await?;
                query.token.ok_or_else(not_signed_in)?
            }
        };
        caller_of(app, &token).map(Self)
    }
}

fn bearer(parts: &Parts) -> Result<Option<Secret>, Refused> {
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| Some(Secret::new(token.trim())))
        .ok_or_else(not_signed_in)
}

/// Whose access token it is.
pub(crate) fn caller_of(app: &App, token: &Secret) -> Result<Caller, Refused> {
    let (account, claims) = app.tokens.check(token.reveal())?;
    Ok(Caller {
        account,
        name: claims.name,
        role: claims.role,
        issued: claims.iat,
    })
}

fn not_signed_in() -> Refused {
    Refused::new(
        ProblemCode::NotSignedIn,
        "sign in first and send the access token as `Authorization: Bearer`",
    )
}

/// The WebSocket handshake.
pub(crate) struct Upgrade(pub(crate) axum::extract::ws::WebSocketUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        use axum::extract::ws::WebSocketUpgrade;
        <WebSocketUpgrade as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map(Self)
            .map_err(|rejection| {
                let text = "this route is a WebSocket; ask for an upgrade";
                let status = axum::response::IntoResponse::into_response(rejection).status();
                Refused::new(ProblemCode::BadRequest, text).with_status(status)
            })
    }
}
