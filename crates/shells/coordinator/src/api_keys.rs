//! Keys of an operator's own services.
//!
//! * A key is read at start from a file or the environment; what is kept of it is a keyed hash, under a
//!   key that is made anew with each start.
//! * A key that is shown is compared with all of them in constant time.
//! * It is shown in a header ([`ApiKeysConfig::header`]) or, because a browser's WebSocket can send no
//!   header, as a subprotocol `warp-api-key.KEY` beside `warp`. Never in the query, which ends up in
//!   logs.
//! * With `require_api_key` every route wants one of scope `client`, but for those that are for
//!   everybody ([`is_public`]) and the endpoint's socket, which has a token of its own.

use std::path::PathBuf;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, header},
};
use ring::hmac;
use serde::Deserialize;
use warp_protocol::{ProblemCode, Secret};

use crate::{app::App, problem::Refused, tokens::random};

/// The subprotocol that stands for ours beside the one with the key.
pub(crate) const SUBPROTOCOL: &str = "warp";

/// What the subprotocol with a key begins with.
const KEY_PROTOCOL: &str = "warp-api-key.";

/// Longest key that is looked at, bytes.
const MAX_KEY: usize = 512;

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiScope {
    /// Using the coordinator at all, where `require_api_key` is set.
    Client,
    /// Tokens of any account without its password: `POST auth/token`.
    Tokens,
}

/// One key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// What it is called in logs.
    pub name: String,
    /// The key.
    pub key: Secret,
    /// The file that it was read from.
    pub file: Option<PathBuf>,
    /// What it is good for.
    pub scopes: Vec<ApiScope>,
}

/// All keys.
#[derive(Debug, Clone)]
pub struct ApiKeysConfig {
    /// Name of the header.
    pub header: HeaderName,
    /// Every client has to show one.
    pub required: bool,
    /// The keys.
    pub keys: Vec<ApiKey>,
}

impl Default for ApiKeysConfig {
    fn default() -> Self {
        Self {
            header: HeaderName::from_static("x-api-key"),
            required: false,
            keys: Vec::new(),
        }
    }
}

/// The keys as they are compared.
pub(crate) struct ApiKeys {
    hash: hmac::Key,
    header: HeaderName,
    pub(crate) required: bool,
    known: Vec<Known>,
}

struct Known {
    name: String,
    tag: hmac::Tag,
    scopes: Vec<ApiScope>,
}

impl ApiKeys {
    pub(crate) fn new(config: &ApiKeysConfig) -> Result<Self, Refused> {
        let hash = hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()?);
        let known = config.keys.iter().map(|key| Known {
            name: key.name.clone(),
            tag: hmac::sign(&hash, key.key.reveal().as_bytes()),
            scopes: key.scopes.clone(),
        });
        Ok(Self {
            header: config.header.clone(),
            required: config.required,
            known: known.collect(),
            hash,
        })
    }

    /// The name of the key, if it is one and good for that. All are compared, whichever it is.
    pub(crate) fn name_of(&self, key: &Secret, scope: ApiScope) -> Option<&str> {
        let shown = key.reveal().as_bytes();
        if shown.len() > MAX_KEY {
            return None;
        }
        let mut found = None;
        for known in &self.known {
            let same = hmac::verify(&self.hash, shown, known.tag.as_ref()).is_ok();
            if same && known.scopes.contains(&scope) {
                found = Some(known.name.as_str());
            }
        }
        found
    }

    /// The key that a request shows.
    pub(crate) fn shown(&self, headers: &HeaderMap) -> Option<Secret> {
        if let Some(value) = headers.get(&self.header) {
            return value.to_str().ok().map(|key| Secret::new(key.trim()));
        }
        let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
        let mut offered = offered
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        offered.find_map(|name| Some(Secret::new(name.trim().strip_prefix(KEY_PROTOCOL)?)))
    }

    pub(crate) fn refuse(&self, shown: bool) -> Refused {
        let header = &self.header;
        let text = if shown {
            format!("the API key in `{header}` is not valid here")
        } else {
            format!("this coordinator wants an API key in `{header}`")
        };
        Refused::new(ProblemCode::NotSignedIn, text)
    }
}

/// Routes that want no key, whatever is configured: what monitors and people look at without being
/// a client.
fn is_public(path: &str) -> bool {
    let path = path
        .strip_suffix('/')
        .filter(|p| !p.is_empty() && *p != "/")
        .unwrap_or(path);
    let open = [
        "/",
        "/health",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/metrics",
        "/dashboard",
    ];
    let under = ["monitoring/health", "monitoring/dashboard", "endpoints/ws"];
    let bare = path
        .strip_prefix("/api/v1/")
        .or_else(|| path.strip_prefix("/api/"));
    open.contains(&path) || bare.is_some_and(|path| under.contains(&path))
}

/// Lets a request through if it needs no key, or shows one.
pub(crate) fn check(app: &App, request: &Request) -> Result<(), Refused> {
    let keys = &app.api_keys;
    if !keys.required || is_public(request.uri().path()) {
        return Ok(());
    }
    let shown = keys.shown(request.headers());
    let is_good = |key| keys.name_of(key, ApiScope::Client).is_some();
    if shown.as_ref().is_some_and(is_good) {
        return Ok(());
    }
    Err(keys.refuse(shown.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn keys() -> ApiKeys {
        let key = |name: &str, key: &str, scopes: &[ApiScope]| ApiKey {
            name: name.into(),
            key: Secret::new(key),
            file: None,
            scopes: scopes.to_vec(),
        };
        let config = ApiKeysConfig {
            keys: vec![
                key("shop", "one", &[ApiScope::Tokens]),
                key("site", "two", &[ApiScope::Client, ApiScope::Tokens]),
            ],
            ..ApiKeysConfig::default()
        };
        ApiKeys::new(&config).unwrap()
    }

    #[test]
    fn a_key_is_good_for_its_scopes_only() {
        let keys = keys();
        let name = |key: &str, scope| keys.name_of(&Secret::new(key), scope);
        assert_eq!(name("one", ApiScope::Tokens), Some("shop"));
        assert_eq!(name("one", ApiScope::Client), None);
        assert_eq!(name("two", ApiScope::Client), Some("site"));
        for wrong in ["", "on", "onee", "ONE", &"x".repeat(MAX_KEY + 1)] {
            assert_eq!(name(wrong, ApiScope::Tokens), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_is_taken_from_the_header_or_a_subprotocol() {
        let keys = keys();
        let shown = |name: HeaderName, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            keys.shown(&headers).map(|key| key.reveal().to_owned())
        };
        let header = HeaderName::from_static("x-api-key");
        assert_eq!(shown(header, " one "), Some("one".into()));
        let protocol = header::SEC_WEBSOCKET_PROTOCOL;
        let offered = shown(protocol.clone(), "warp, warp-api-key.two");
        assert_eq!(offered, Some("two".into()));
        assert_eq!(shown(protocol, "warp"), None);
        assert_eq!(shown(header::AUTHORIZATION, "Bearer one"), None);
    }

    #[test]
    fn few_routes_are_public() {
        for open in [
            "/",
            "/health",
            "/api/v1/monitoring/health",
            "/api/endpoints/ws",
        ] {
            assert!(is_public(open), "{open}");
        }
        for closed in [
            "/api/v1/zones",
            "/api/v1/auth/login",
            "/healthy",
            "/health//",
            "//",
            "/api/v1/link/ws",
        ] {
            assert!(!is_public(closed), "{closed}");
        }
    }
}
