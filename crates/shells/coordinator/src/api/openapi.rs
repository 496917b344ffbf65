//! `/openapi.json`, and `/docs`: the same for people, in one page without scripts and outside assets.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{Html, IntoResponse},
};
use serde_json::Value;

use super::{routes, table::document};

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| serde_json::to_string(&document(routes())).unwrap_or_default());

static PAGE: LazyLock<String> =
    LazyLock::new(|| page(&serde_json::from_str(&DOCUMENT).unwrap_or_default()));

pub(crate) async fn json() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        DOCUMENT.as_str(),
    )
}

pub(crate) async fn docs() -> impl IntoResponse {
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    (
        [(header::CONTENT_SECURITY_POLICY, policy)],
        Html(PAGE.as_str()),
    )
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Warp coordinator</title><style>\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h2{margin:2rem 0 .5rem}code{font-family:ui-monospace,monospace}details{border-top:1px solid #8884;padding:.4rem 0}\
summary{cursor:pointer}summary b{display:inline-block;min-width:4.5rem}table{border-collapse:collapse;margin:.5rem 0}\
td,th{text-align:left;padding:.1rem 1rem .1rem 0;vertical-align:top}pre{overflow:auto;background:#8881;padding:.6rem}\
</style><h1>Warp coordinator</h1>";

fn page(document: &Value) -> String {
    let mut html = HEAD.to_owned();
    let text = |value: &Value| escape(value.as_str().unwrap_or_default());
    html += &format!(
        "<p>{} <p>Version {}; for machines: <a href=\"/openapi.json\">openapi.json</a>.<h2>Routes</h2>",
        text(&document["info"]["description"]),
        text(&document["info"]["version"]),
    );
    let empty = serde_json::Map::new();
    let of = |value: &Value| value.as_object().unwrap_or(&empty).clone();
    for (path, item) in of(&document["paths"]) {
        for (method, operation) in of(&item) {
            html += &format!(
                "<details><summary><b>{}</b> <code>{}</code> {}</summary><table>",
                method.to_ascii_uppercase(),
                escape(&path),
                text(&operation["summary"]),
            );
            let none = Vec::new();
            for parameter in operation["parameters"].as_array().unwrap_or(&none) {
                html += &format!(
                    "<tr><td><code>{}</code><td>{}<td>{}",
                    text(&parameter["name"]),
                    text(&parameter["in"]),
                    text(&parameter["description"]),
                );
            }
            if let Some(body) = operation.pointer("/requestBody/content/application~1json/schema") {
                html += &format!("<tr><td>body<td><td>{}", link(body));
            }
            for (status, response) in of(&operation["responses"]) {
                let schema = response.pointer("/content/application~1json/schema");
                html += &format!(
                    "<tr><td>{}<td>{}<td>{}",
                    escape(&status),
                    schema.map(link).unwrap_or_default(),
                    text(&response["description"]),
                );
            }
            html += "</table></details>";
        }
    }
    html += "<h2>Bodies</h2>";
    for (name, schema) in of(&document["components"]["schemas"]) {
        let shape = serde_json::to_string_pretty(&schema).unwrap_or_default();
        html += &format!(
            "<details id=\"{0}\"><summary><code>{0}</code> {1}</summary><pre>{2}</pre></details>",
            escape(&name),
            text(&schema["description"]),
            escape(&shape),
        );
    }
    html
}

/// Leads to the shape of a body.
fn link(schema: &Value) -> String {
    let (schema, many) = match schema.get("items") {
        Some(items) => (items, "array of "),
        None => (schema, ""),
    };
    let name = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next());
    name.map_or_else(String::new, |name| {
        let name = escape(name);
        format!("{many}<a href=\"#{name}\">{name}</a>")
    })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
