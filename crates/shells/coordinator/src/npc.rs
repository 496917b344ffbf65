//! States of NPCs: asked of the AI service, or pushed by it, and told to the members of a zone.
//!
//! * `GET {url}/ai/npc/{id}/state` for each configured NPC every [`NpcConfig::poll`], at most [`AT_ONCE`]
//!   at a time, each within [`ASK_TIME`] and [`MAX_ANSWER`] bytes; no redirect is followed. An answer
//!   counts when it is an object with an object `state`; 404 says that the NPC is gone.
//! * A round in which the service answered nothing that counts is a failed one: the next waits twice as
//!   long, [`LONGEST_WAIT`] at most. What was known stays known. The log has a line when the service
//!   begins and when it ceases to fail.
//! * Only changes are told; a newcomer is told all that is known.

use std::{collections::BTreeMap, collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use reqwest::{StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use warp_coordinator_core::npcs::{MAX_NPC_ID, MAX_NPCS, NpcRefused, NpcTable, signals};
use warp_protocol::{Secret, signal::NpcView};

use crate::{app::App, hub::Hub, monitoring::config::MIN_TOKEN};

/// Questions at a time.
const AT_ONCE: usize = 8;

/// Longest that an answer may take, its body included.
const ASK_TIME: Duration = Duration::from_secs(2);

/// Longest answer, bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// Longest wait after failed rounds.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where states of NPCs come from.
#[derive(Debug, Clone, Default)]
pub struct NpcConfig {
    /// The AI service, such as `http://127.0.0.1:8000`; none: it is not asked.
    pub url: Option<String>,
    /// Sent to it as `X-API-Key`.
    pub api_key: Option<Secret>,
    /// How often it is asked.
    pub poll: Duration,
    /// NPCs of each zone that it is asked for.
    pub zones: BTreeMap<String, Vec<String>>,
    /// What the AI service shows when it pushes; none: it may not.
    pub push_token: Option<Secret>,
}

/// `npc` in the file.
#[derive(Default, Deserialize)]
pub(crate) struct NpcPart {
    url: Option<String>,
    api_key: Option<Secret>,
    poll_seconds: Option<u64>,
    #[serde(default)]
    zones: BTreeMap<String, Vec<String>>,
    push_token: Option<Secret>,
}

impl NpcPart {
    /// `seconds` checks the time at a path: its value, the default, and what is allowed. `wrong` makes
    /// the error for a path and what is allowed there.
    pub(crate) fn checked<E>(
        self,
        seconds: &impl Fn(&'static str, Option<u64>, Duration, u64, u64) -> Result<Duration, E>,
        wrong: &impl Fn(&str, String) -> E,
    ) -> Result<NpcConfig, E> {
        let default = Duration::from_secs(5);
        let poll = seconds("npc.poll_seconds", self.poll_seconds, default, 1, 3600)?;
        if let Some(url) = &self.url {
            let parsed = reqwest::Url::parse(url).ok();
            let http = parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https"));
            if !http {
                let allowed = "allowed is an address such as http://127.0.0.1:8000";
                return Err(wrong("npc.url", allowed.to_owned()));
            }
        }
        let short = |token: &Secret| token.reveal().len() < MIN_TOKEN;
        if self.push_token.as_ref().is_some_and(short) {
            let allowed = format!("a token has at least {MIN_TOKEN} characters");
            return Err(wrong("npc.push_token", allowed));
        }
        for (zone, ids) in &self.zones {
            let id_ok = |id: &String| {
                (1..=MAX_NPC_ID).contains(&id.len()) && !id.chars().any(char::is_control)
            };
            if ids.len() > MAX_NPCS || !ids.iter().all(id_ok) {
                let allowed = format!("at most {MAX_NPCS} ids of 1 to {MAX_NPC_ID} bytes");
                return Err(wrong(&format!("npc.zones.{zone}"), allowed));
            }
        }
        Ok(NpcConfig {
            url: self.url,
            api_key: self.api_key,
            poll,
            zones: self.zones,
            push_token: self.push_token,
        })
    }
}

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Npcs(Mutex<NpcTable>);

impl Npcs {
    /// Takes states of NPCs of a zone, and tells its members what has changed. Gives how much that was.
    ///
    /// # Errors
    /// One of them cannot be; none is taken then.
    pub(crate) fn put(
        &self,
        app: &App,
        zone_id: &str,
        npcs: Vec<NpcView>,
    ) -> Result<usize, NpcRefused> {
        // Held while it is told, so that nobody is told an older state after a newer one.
        let mut table = self.0.lock();
        let changed = table.put(zone_id, npcs)?;
        let count = changed.len();
        app.metrics.npc_changes(count);
        for signal in signals(zone_id, changed) {
            app.live.tell(Some(zone_id), &signal);
        }
        drop(table);
        Ok(count)
    }

    /// Tells somebody who has just entered all that is known of the zone.
    pub(crate) fn tell_newcomer(&self, hub: &Hub, zone_id: &str, peer_id: &str) {
        let table = self.0.lock();
        for signal in signals(zone_id, table.all(zone_id)) {
            hub.send_to(peer_id, signal);
        }
    }
}

/// Begins to ask, if there is anybody to be asked.
pub(crate) fn start(app: &App) {
    let config = &app.config.npc;
    let Some(url) = config.url.clone().filter(|_| !config.zones.is_empty()) else {
        return;
    };
    match client() {
        Ok(http) => {
            let asker = Asker {
                app: app.clone(),
                http,
                url: url.trim_end_matches('/').to_owned(),
                etags: Mutex::default(),
            };
            app.tasks.spawn(asker.run());
        }
        Err(why) => tracing::warn!(why, "the AI service cannot be asked for NPCs"),
    }
}

fn client() -> Result<reqwest::Client, String> {
    let tls = warp_link::tls::client_config(None).map_err(|error| error.to_string())?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(Arc::unwrap_or_clone(tls))
        .timeout(ASK_TIME)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("warp-coordinator/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .build()
        .map_err(|error| error.to_string())
}

struct Asker {
    app: App,
    http: reqwest::Client,
    url: String,
    /// What the service marked the last answers with, by NPC.
    etags: Mutex<HashMap<String, header::HeaderValue>>,
}

/// What came of one question.
enum Answer {
    State(NpcView),
    Unchanged,
    Unknown,
    /// The service says something else than a state.
    Wrong(String),
    /// It says nothing.
    None(String),
}

impl Asker {
    async fn run(self) {
        let (mut wait, mut failing) = (self.app.config.npc.poll, false);
        loop {
            let round = tokio::select! {
                () = self.app.stop.cancelled() => return,
                round = self.round() => round,
            };
            match round {
                Ok(()) => {
                    if failing {
                        tracing::info!("the AI service answers again");
                    }
                    (wait, failing) = (self.app.config.npc.poll, false);
                }
                Err(why) => {
                    if !failing {
                        tracing::warn!(why, "the AI service says nothing about NPCs");
                    }
                    let longest = LONGEST_WAIT.max(self.app.config.npc.poll);
                    (wait, failing) = ((wait * 2).min(longest), true);
                }
            }
            tokio::select! {
                () = self.app.stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Asks for all. `Err` says why nothing that counts was answered.
    async fn round(&self) -> Result<(), String> {
        let mut all: Vec<(String, String)> = Vec::new();
        for (zone, ids) in &self.app.config.npc.zones {
            all.extend(ids.iter().map(|id| (zone.clone(), id.clone())));
        }
        let answers = stream::iter(all).map(|(zone, id)| async move {
            let answer = self.ask(&id).await;
            (zone, id, answer)
        });
        let mut answers = answers.buffer_unordered(AT_ONCE);
        let (mut good, mut bad) = (0, None);
        while let Some((zone, id, answer)) = answers.next().await {
            match self.take(&zone, &id, answer) {
                Ok(()) => good += 1,
                Err(why) => bad = Some(why),
            }
        }
        match bad {
            Some(why) if good == 0 => Err(why),
            _ => Ok(()),
        }
    }

    /// Takes an answer; `Err` says why it does not count.
    fn take(&self, zone: &str, id: &str, answer: Answer) -> Result<(), String> {
        let gone = |id: &str| NpcView {
            npc_id: id.to_owned(),
            state: Value::Null,
            timestamp: None,
        };
        let (result, npc) = match answer {
            Answer::State(npc) => ("state", Some(npc)),
            Answer::Unchanged => ("unchanged", None),
            Answer::Unknown => ("unknown", Some(gone(id))),
            Answer::Wrong(why) => {
                self.app.metrics.npc_answer("wrong");
                return Err(why);
            }
            Answer::None(why) => {
                self.app.metrics.npc_answer("none");
                return Err(why);
            }
        };
        let taken = npc.map(|npc| self.app.npcs.put(&self.app, zone, vec![npc]));
        if let Some(Err(refused)) = taken {
            self.app.metrics.npc_answer("wrong");
            return Err(refused.to_string());
        }
        self.app.metrics.npc_answer(result);
        Ok(())
    }

    async fn ask(&self, id: &str) -> Answer {
        let Ok(mut url) = reqwest::Url::parse(&self.url) else {
            return Answer::Wrong("its address is not one".to_owned());
        };
        // As a segment: an id cannot lead elsewhere.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["ai", "npc", id, "state"]);
        }
        let mut request = self.http.get(url);
        if let Some(key) = &self.app.config.npc.api_key {
            request = request.header("X-API-Key", key.reveal());
        }
        if let Some(etag) = self.etags.lock().get(id) {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        // Without the address: it may hold a password.
        let none = |error: reqwest::Error| Answer::None(error.without_url().to_string());
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return none(error),
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Answer::Unchanged,
            StatusCode::NOT_FOUND => {
                self.etags.lock().remove(id);
                return Answer::Unknown;
            }
            status if status.is_server_error() => return Answer::None(format!("status {status}")),
            status => return Answer::Wrong(format!("status {status}")),
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER => {
                    return Answer::Wrong(format!("an answer of more than {MAX_ANSWER} bytes"));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return none(error),
            }
        }
        let Some(npc) = read(id, &body) else {
            return Answer::Wrong("an answer without a state".to_owned());
        };
        if let Some(etag) = response.headers().get(header::ETAG) {
            self.etags.lock().insert(id.to_owned(), etag.clone());
        }
        Answer::State(npc)
    }
}

/// `{"npc_id", "state": {...}, "source", "timestamp"}` as the AI service answers it.
fn read(id: &str, body: &[u8]) -> Option<NpcView> {
    #[derive(Deserialize)]
    struct Said {
        npc_id: Option<String>,
        state: serde_json::Map<String, Value>,
        timestamp: Option<String>,
    }
    let said: Said = serde_json::from_slice(body).ok()?;
    said.npc_id.is_none_or(|of| of == id).then(|| NpcView {
        npc_id: id.to_owned(),
        state: Value::Object(said.state),
        timestamp: said.timestamp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_state_of_the_npc_that_was_asked_for_counts() {
        let is = |body: &str| read("a", body.as_bytes()).is_some();
        assert!(is(
            r#"{"npc_id":"a","state":{"x":"1"},"source":"cache","timestamp":"t"}"#
        ));
        assert!(is(r#"{"state":{}}"#));
        for wrong in [
            "",
            "<html>",
            "[]",
            r#"{"npc_id":"a"}"#,
            r#"{"state":null}"#,
            r#"{"state":[1]}"#,
            r#"{"npc_id":"b","state":{}}"#,
        ] {
            assert!(!is(wrong), "{wrong}");
        }
    }
}
