//! The OpenAPI document, and what the coordinator does.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::Method;
use serde_json::{Value, json};
use warp_protocol::rest::AccountRole;

use crate::common::{Client, answer, text};
use crate::hosts::{beat, beats, quick, staff, volunteer};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The version that findings were mended with.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

async fn document(client: &Client) -> Value {
    let (status, document) = answer(client.request(Method::GET, "/openapi.json")).await;
    assert_eq!(status, 200);
    document
}

/// Asks without a token: whatever the route says, it is not that there is none.
async fn is_served(client: &Client, method: &str, path: &str) -> bool {
    let method: Method = method.to_uppercase().parse().unwrap();
    let response = client.request(method, path).send().await.unwrap();
    let (status, body) = (response.status(), response.text().await.unwrap());
    status != 405 && !body.contains("there is no such route")
}

#[tokio::test]
async fn the_router_and_the_document_know_the_same_routes() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let document = document(client).await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 40, "{}", paths.len());
    for (path, item) in paths {
        let path = path.replace(['{', '}'], "");
        // The older form, and a collection without its slash, are the same routes.
        let mut all = vec![path.clone(), path.replacen("/api/v1/", "/api/", 1)];
        all.extend(
            path.strip_suffix('/')
                .filter(|p| !p.is_empty())
                .map(str::to_owned),
        );
        for path in all {
            for method in METHODS {
                let described = item.get(method).is_some();
                assert_eq!(
                    is_served(client, method, &path).await,
                    described,
                    "{method} {path}"
                );
            }
        }
    }
    for (method, path) in [
        ("post", "/api/v1/hosts"),
        ("get", "/api/v1/nothing"),
        ("get", "/v1/zones/"),
    ] {
        assert!(!is_served(client, method, path).await, "{path}");
    }
}

#[tokio::test]
async fn the_page_for_people_has_every_route_and_nothing_from_elsewhere() {
    let server = quick(|_| {}).await;
    let client = &server.client;
    let document = document(client).await;
    let response = client.request(Method::GET, "/docs").send().await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "text/html; charset=utf-8"
    );
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = response.text().await.unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
    }
    for foreign in ["http://", "https://", "<script", "src=", "url(", "@import"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for link in page.split("href=\"#").skip(1) {
        let id = link.split('"').next().unwrap();
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
}

/// The program, in an environment of its own below the target directory; none: it cannot be had here.
fn schemathesis() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SCHEMATHESIS);
    let program = home.join("bin/schemathesis");
    if program.exists() {
        return Ok(program);
    }
    let run = |program: &Path, args: &[&str]| {
        let done = Command::new(program).args(args).output();
        let done = done.map_err(|error| format!("{}: {error}", program.display()))?;
        if done.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&done.stderr)
            .lines()
            .last()
            .unwrap_or("failed")
            .to_owned())
    };
    run(
        Path::new("python3"),
        &["-m", "venv", &home.to_string_lossy()],
    )?;
    let pip = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        SCHEMATHESIS,
    ];
    run(&home.join("bin/pip"), &pip)?;
    Ok(program)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing() {
    let program = match tokio::task::spawn_blocking(schemathesis).await.unwrap() {
        Ok(program) => program,
        Err(why) => return println!("SKIPPED: schemathesis cannot be had: {why}"),
    };
    let server = quick(|_| {}).await;
    let client = &server.client;
    let host = volunteer(client, "alice", "a").await;
    let _socket = host.attach(client).await;
    beats(client, &host.token, "a", beat(5.0)).await;
    let root = staff(&server, "root", AccountRole::Admin).await;
    let made = json!({"host_id": "a", "zone_id": "prontera"});
    client
        .call(Method::POST, "sessions/", Some(&root), Some(made))
        .await;
    let url = format!("{}/openapi.json", client.url);
    let report = tempfile::tempdir().unwrap();
    let out = report.path().to_owned();
    let done = tokio::task::spawn_blocking(move || {
        Command::new(program)
            .current_dir(&out)
            .env("NO_COLOR", "1")
            .args([
                "run",
                &url,
                "--header",
                &format!("Authorization: Bearer {root}"),
            ])
            // WebSockets are no requests.
            .args(["--exclude-path-regex", "/ws$"])
            // A schema cannot say which keys and certificates are good ones, nor what is there.
            .args([
                "--checks",
                "all",
                "--exclude-checks",
                "positive_data_acceptance",
            ])
            .args([
                "--phases",
                "examples,coverage,fuzzing",
                "--max-examples",
                "12",
            ])
            .args(["--seed", "1", "--continue-on-failure", "--warnings", "off"])
            .output()
    });
    let done = done.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let summary = said
        .lines()
        .filter(|line| line.contains("generated"))
        .collect::<Vec<_>>();
    println!("schemathesis: {}", summary.join(" "));
    assert!(text(&json!(said)).contains("Tested: "), "{said}");
}
