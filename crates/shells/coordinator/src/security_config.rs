//! The operator's settings for keys, proxies and production.

use std::path::{Path, PathBuf};

use axum::http::HeaderName;
use serde::Deserialize;
use warp_coordinator_core::client_address::Network;
use warp_protocol::Secret;

use crate::api_keys::{ApiKey, ApiKeysConfig, ApiScope};

/// Largest key file that is read, bytes.
const MAX_KEY_FILE: u64 = 4096;

/// One entry of `api_keys`.
#[derive(Deserialize)]
pub(crate) struct ApiKeyPart {
    name: String,
    key_file: Option<PathBuf>,
    env: Option<String>,
    #[serde(default = "usual_scopes")]
    scopes: Vec<ApiScope>,
}

fn usual_scopes() -> Vec<ApiScope> {
    vec![ApiScope::Client]
}

/// What of the file is about keys.
pub(crate) struct KeysPart {
    pub(crate) keys: Vec<ApiKeyPart>,
    pub(crate) header: Option<String>,
    pub(crate) required: bool,
}

impl KeysPart {
    /// Reads the keys; `base` is what their files are relative to, `wrong` makes a refusal of a path.
    pub(crate) fn checked<E>(
        self,
        base: &Path,
        wrong: &impl Fn(&str, String) -> E,
    ) -> Result<ApiKeysConfig, E> {
        let mut config = ApiKeysConfig {
            required: self.required,
            ..ApiKeysConfig::default()
        };
        if let Some(name) = self.header {
            let taken = ["authorization", "cookie", "host", "content-type"];
            config.header = HeaderName::from_bytes(name.as_bytes())
                .ok()
                .filter(|name| !taken.contains(&name.as_str()))
                .ok_or_else(|| {
                    let allowed = "allowed is the name of a header, such as X-API-Key";
                    wrong("api_key_header", allowed.to_owned())
                })?;
        }
        for (n, part) in self.keys.into_iter().enumerate() {
            let at = |key: &str| format!("api_keys[{n}]{key}");
            if part.name.is_empty() || config.keys.iter().any(|known| known.name == part.name) {
                let allowed = "each key has a name of its own";
                return Err(wrong(&at(".name"), allowed.to_owned()));
            }
            let (key, file) = match (part.key_file, part.env) {
                (Some(file), None) => {
                    let file = base.join(file);
                    let text = read(&file).map_err(|e| wrong(&at(".key_file"), e.to_string()))?;
                    (text, Some(file))
                }
                (None, Some(name)) => {
                    let text = std::env::var(&name);
                    let text = text.map_err(|e| wrong(&at(".env"), e.to_string()))?;
                    (text, None)
                }
                _ => {
                    let allowed = "a key is read from `key_file` or from `env`, one of them";
                    return Err(wrong(&at(""), allowed.to_owned()));
                }
            };
            let key = Secret::new(key.trim());
            if key.is_empty() || !key.reveal().bytes().all(|b| b.is_ascii_graphic()) {
                let allowed = "a key is printable ASCII without spaces, best 32 characters or more";
                return Err(wrong(&at(""), allowed.to_owned()));
            }
            config.keys.push(ApiKey {
                name: part.name,
                key,
                file,
                scopes: part.scopes,
            });
        }
        if config.required
            && !config
                .keys
                .iter()
                .any(|k| k.scopes.contains(&ApiScope::Client))
        {
            let allowed = "it needs a key of scope `client` in `api_keys`";
            return Err(wrong("require_api_key", allowed.to_owned()));
        }
        Ok(config)
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let opened = std::fs::File::open(file)?;
    opened.take(MAX_KEY_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// `trusted_proxies` of the file.
pub(crate) fn trusted_proxies<E>(
    texts: &[String],
    wrong: &impl Fn(&str, String) -> E,
) -> Result<Vec<Network>, E> {
    let read = |(n, text): (usize, &String)| {
        let parsed = text.parse::<Network>();
        parsed.map_err(|e| wrong(&format!("trusted_proxies[{n}]"), e.to_string()))
    };
    texts.iter().enumerate().map(read).collect()
}

/// Whether the environment says that this is production.
pub(crate) fn is_production() -> bool {
    std::env::var("WARP_ENV").is_ok_and(|value| value.eq_ignore_ascii_case("production"))
}
