//! What handlers take from a request. Each refuses with an [`warp_protocol::rest::ErrorBody`]: 400 for
//! what is not well formed, 422 for fields that are missing or hold what they cannot.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderValue, StatusCode, header, request::Parts},
};
use bytes::Bytes;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use warp_coordinator_core::bans::Banned;
use warp_protocol::{ProblemCode, Secret, rest::AccountRole};

use crate::{
    app::App,
    problem::{Refused, invalid},
};

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

/// A JSON body: an object.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(is_json);
        if !is_json {
            let text = "the request wants `content-type: application/json`";
            return Err(bad(text).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|rejection| match rejection.status() {
            status @ StatusCode::PAYLOAD_TOO_LARGE => {
                bad("the request's body is too large").with_status(status)
            }
            _ => bad("the request's body could not be read"),
        })?;
        // To serde an array can be an object, field by field.
        let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let read = serde_json::from_slice(&body).ok().filter(|_| is_object);
        read.map(Self).ok_or_else(|| {
            // serde's words may repeat a value, and a value here may be a password. Nor is its
            // own distinction used: to it an object without its only key is not JSON.
            match serde_json::from_slice::<IgnoredAny>(&body) {
                Ok(_) => {
                    invalid("the request's JSON does not have the fields that this route wants")
                }
                Err(_) => bad("the request's body is not valid JSON"),
            }
        })
    }
}

/// `application/json` or `application/...+json`, with whatever parameters.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

fn bad(text: &str) -> Refused {
    Refused::new(ProblemCode::BadRequest, text)
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

/// Two parts of the path.
pub(crate) struct PathIds(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for PathIds {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let Path((first, second)) =
            <Path<(String, String)> as FromRequestParts<S>>::from_request_parts(parts, state)
                .await
                .map_err(|_| {
                    Refused::new(ProblemCode::BadRequest, "the path is not valid UTF-8")
                })?;
        Ok(Self(first, second))
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
                invalid(text)
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
    /// Where the request comes from.
    pub(crate) from: Option<IpAddr>,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let caller = match parts.extensions.get::<Self>() {
            Some(checked) => checked.clone(),
            None => caller_of(app, &bearer(parts)?.ok_or_else(not_signed_in)?)?,
        };
        present(app, parts, caller).await
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
        present(app, parts, caller_of(app, &token)?).await.map(Self)
    }
}

fn bearer(parts: &Parts) -> Result<Option<Secret>, Refused> {
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    bearer_of(value).map(Some).ok_or_else(not_signed_in)
}

/// The account of a request's access token, if it is a valid one. The check of a token in the header is
/// kept for the handler.
pub(crate) fn signed_in(app: &App, request: &mut Request) -> Option<i64> {
    let value = request.headers().get(header::AUTHORIZATION);
    if let Some(token) = value.and_then(bearer_of) {
        let caller = caller_of(app, &token).ok()?;
        let account = caller.account;
        request.extensions_mut().insert(caller);
        return Some(account);
    }
    let in_query = Query::<TokenQuery>::try_from_uri(request.uri()).ok()?;
    let caller = caller_of(app, &in_query.0.token?).ok()?;
    Some(caller.account)
}

fn bearer_of(value: &HeaderValue) -> Option<Secret> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| Secret::new(token))
}

/// The caller as of now: from where, and where the token says that it is somebody with rights, with
/// those that the database says.
async fn present(app: &App, parts: &Parts, mut caller: Caller) -> Result<Caller, Refused> {
    let address: Option<&ClientAddr> = parts.extensions.get();
    caller.from = address.map(|ClientAddr(address)| address.ip());
    if caller.role < AccountRole::Gm {
        return Ok(caller);
    }
    match app.store.standing(caller.account).await? {
        Some((role, from)) if from == 0 || caller.issued > from => {
            caller.role = caller.role.min(role);
            Ok(caller)
        }
        _ => {
            let text = "the account's sign-ins were revoked; sign in again with the password";
            Err(Refused::new(ProblemCode::TokenExpired, text))
        }
    }
}

/// Whose access token it is.
///
/// # Errors
/// `token-expired`, or `banned`.
pub(crate) fn caller_of(app: &App, token: &Secret) -> Result<Caller, Refused> {
    let (account, claims) = app.tokens.check(token.reveal())?;
    app.bans.check(&Banned::Account(account))?;
    Ok(Caller {
        account,
        name: claims.name,
        role: claims.role,
        issued: claims.iat,
        from: None,
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
            // Chosen where it is offered: beside it an API key may stand, which is not said back.
            .map(|upgrade| Self(upgrade.protocols([crate::api_keys::SUBPROTOCOL])))
            .map_err(|rejection| {
                let text = "this route is a WebSocket; ask for an upgrade";
                let status = axum::response::IntoResponse::into_response(rejection).status();
                Refused::new(ProblemCode::BadRequest, text).with_status(status)
            })
    }
}
