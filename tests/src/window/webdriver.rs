//! The few commands of WebDriver (W3C) that the window's tests use, as JSON over HTTP. A whole client
//! brings features of common crates with it that would have most of the workspace built twice.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

/// Key under which an element's id is told (W3C WebDriver, section 12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An open session: one window.
pub(crate) struct Session {
    http: reqwest::Client,
    url: String,
}

impl Session {
    /// Has the driver at `driver` start a program.
    pub(crate) async fn new(driver: &str, capabilities: Value) -> Result<Self, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| error.to_string())?;
        let mut session = Self {
            http,
            url: format!("{driver}/session"),
        };
        let wanted = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let made = session.call(Method::POST, "", Some(wanted)).await?;
        let id = made["sessionId"].as_str().ok_or_else(|| made.to_string())?;
        session.url = format!("{}/{id}", session.url);
        Ok(session)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let good = answer.status().is_success();
        let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        match good {
            true => Ok(answer["value"].clone()),
            false => Err(answer["value"]["message"].to_string()),
        }
    }

    /// Runs a script in the page; what it returns.
    pub(crate) async fn execute(&self, script: &str, args: Value) -> Result<Value, String> {
        let body = json!({ "script": script, "args": args });
        self.call(Method::POST, "/execute/sync", Some(body)).await
    }

    /// Types into the element that fits `css`, as from a keyboard.
    pub(crate) async fn type_into(&self, css: &str, text: &str) -> Result<(), String> {
        let body = json!({ "using": "css selector", "value": css });
        let found = self.call(Method::POST, "/element", Some(body)).await?;
        let id = found[ELEMENT].as_str().ok_or_else(|| found.to_string())?;
        let path = format!("/element/{id}/value");
        self.call(Method::POST, &path, Some(json!({ "text": text })))
            .await
            .map(|_| ())
    }

    /// Ends the program.
    pub(crate) async fn close(&self) {
        // It may have ended by itself.
        let _ = self.call(Method::DELETE, "", None).await;
    }
}
