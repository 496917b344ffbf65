//! States of NPCs, with an AI service of this file's own: a small HTTP server that answers what a test
//! wants.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use warp_coordinator::NpcConfig;
use warp_protocol::Secret;

use crate::common::{Client, Server, Socket, next_of, refused, send, start_with, within, zone};

/// How the service behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Not a word.
    Mute,
    Garbage,
    /// Megabytes.
    Huge,
    Redirects,
    Fails,
    Closes,
}

#[derive(Debug)]
struct Script {
    mood: Mood,
    states: HashMap<String, Value>,
    /// Heads of requests.
    asked: Vec<String>,
}

#[derive(Clone)]
struct Ai {
    url: String,
    script: Arc<Mutex<Script>>,
}

impl Ai {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script = Script {
            mood: Mood::Well,
            states: HashMap::new(),
            asked: Vec::new(),
        };
        let ai = Self {
            url,
            script: Arc::new(Mutex::new(script)),
        };
        let serving = ai.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.answer(stream).await });
            }
        });
        ai
    }

    fn is(&self, mood: Mood) {
        self.script.lock().unwrap().mood = mood;
    }

    fn says(&self, npc: &str, state: Value) {
        let mut script = self.script.lock().unwrap();
        script.states.insert(npc.to_owned(), state);
    }

    fn forgets(&self, npc: &str) {
        self.script.lock().unwrap().states.remove(npc);
    }

    fn asked(&self) -> Vec<String> {
        self.script.lock().unwrap().asked.clone()
    }

    async fn answer(&self, mut stream: TcpStream) {
        let mut head = String::new();
        while !head.contains("\r\n\r\n") {
            let mut buffer = [0; 2048];
            match stream.read(&mut buffer).await {
                Ok(read) if read > 0 => head.push_str(&String::from_utf8_lossy(&buffer[..read])),
                _ => return,
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let npc = path
            .strip_prefix("/ai/npc/")
            .and_then(|p| p.strip_suffix("/state"));
        let (mood, state) = {
            let mut script = self.script.lock().unwrap();
            script.asked.push(head.clone());
            (
                script.mood,
                npc.and_then(|npc| script.states.get(npc).cloned()),
            )
        };
        let (status, more, body) = match (mood, state) {
            (Mood::Mute, _) => return std::future::pending().await,
            (Mood::Closes, _) => return,
            (Mood::Garbage, _) => ("200 OK", String::new(), "<html>hello".to_owned()),
            (Mood::Huge, _) => ("200 OK", String::new(), "x".repeat(4_000_000)),
            (Mood::Redirects, _) => {
                let to = format!("location: {}/elsewhere\r\n", self.url);
                ("302 Found", to, String::new())
            }
            (Mood::Fails, _) => ("500 Oh", String::new(), "{}".to_owned()),
            (Mood::Well, None) => ("404 Not Found", String::new(), "{}".to_owned()),
            (Mood::Well, Some(state)) => {
                let etag = format!("\"{state}\"").replace(['{', '}'], "");
                let etag = etag.replace("\"\"", "'").replace('"', "'");
                let etag = format!("\"{}\"", etag.trim_matches('\''));
                if head.contains(&format!("if-none-match: {etag}")) {
                    ("304 Not Modified", String::new(), String::new())
                } else {
                    let said = json!({
                        "npc_id": npc, "state": state, "source": "cache",
                        "timestamp": format!("{:?}", Instant::now()),
                    });
                    let more = format!("etag: {etag}\r\n");
                    ("200 OK", more, said.to_string())
                }
            }
        };
        let head = format!(
            "HTTP/1.1 {status}\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body.as_bytes()).await;
    }
}

/// A coordinator that asks for two NPCs of `prontera`.
async fn asking(ai: &Ai) -> Server {
    let server = start_with(|config| {
        config.npc = NpcConfig {
            url: Some(ai.url.clone()),
            api_key: Some(Secret::new("the key of the AI service")),
            poll: Duration::from_millis(100),
            zones: [(
                "prontera".to_owned(),
                vec!["smith".to_owned(), "cook".to_owned()],
            )]
            .into(),
            push_token: Some(Secret::new("the token for pushing")),
        };
    })
    .await;
    for id in ["prontera", "geffen"] {
        server.running.put_zone(&zone(id)).await.unwrap();
    }
    server
}

async fn player(client: &Client, name: &str, device: u8, zone: &str) -> Socket {
    let token = client.player(name).await;
    let (status, grant) = client.join(zone, &token, device).await;
    assert_eq!(status, StatusCode::CREATED, "{grant}");
    client.signaling(&grant, &token).await
}

/// Reads until this NPC is told; gives what was said of it.
async fn told(socket: &mut Socket, npc: &str) -> Value {
    loop {
        let signal = next_of(socket, "npc-state").await;
        assert_eq!(signal["zone_id"], "prontera");
        let npcs = signal["npcs"].as_array().unwrap();
        if let Some(found) = npcs.iter().find(|one| one["npc_id"] == npc) {
            return found["state"].clone();
        }
    }
}

#[tokio::test]
async fn changes_reach_the_members_of_the_zone_and_newcomers_get_all() {
    let ai = Ai::start().await;
    ai.says("smith", json!({"x": "10", "movement_mode": "idle"}));
    let server = asking(&ai).await;
    let client = &server.client;
    let mut anna = player(client, "anna", 1, "prontera").await;
    let mut elsewhere = player(client, "berta", 2, "geffen").await;
    assert_eq!(told(&mut anna, "smith").await["x"], "10");
    let changed = Instant::now();
    ai.says("smith", json!({"x": "11", "movement_mode": "walk"}));
    assert_eq!(told(&mut anna, "smith").await["x"], "11");
    assert!(changed.elapsed() < Duration::from_secs(5));
    ai.says("cook", json!({"x": "1"}));
    assert_eq!(told(&mut anna, "cook").await["x"], "1");

    let mut newcomer = player(client, "carla", 3, "prontera").await;
    let all = next_of(&mut newcomer, "npc-state").await;
    let ids: Vec<&Value> = all["npcs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| &n["npc_id"])
        .collect();
    assert_eq!(ids, ["cook", "smith"]);

    ai.forgets("smith");
    assert_eq!(told(&mut anna, "smith").await, Value::Null);

    // Nothing of that was for the other zone: the first thing that it hears is its own.
    let push = json!({"npcs": [{"npc_id": "own", "state": {"x": 1}}]});
    let token = "the token for pushing";
    let path = "npc/geffen/states";
    let pushed = client
        .call(Method::POST, path, Some(token), Some(push))
        .await;
    assert_eq!(pushed, (StatusCode::OK, json!({"changed": 1})));
    let signal = next_of(&mut elsewhere, "npc-state").await;
    assert_eq!(signal["npcs"][0]["npc_id"], "own");

    // An unchanged state is not sent again, neither by the service nor to the players.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked = ai.asked();
    assert!(asked.iter().any(|head| head.contains("if-none-match: ")));
    assert!(
        asked
            .iter()
            .all(|head| head.contains("x-api-key: the key of the AI service"))
    );
    send(&mut anna, json!({"type": "offer"})).await;
    let after = crate::common::next(&mut anna).await;
    assert_eq!(after["type"], "error", "{after}");
}

#[tokio::test]
async fn a_service_that_misbehaves_harms_nothing_and_is_heard_again() {
    let ai = Ai::start().await;
    ai.says("smith", json!({"x": "0"}));
    let server = asking(&ai).await;
    let client = &server.client;
    let mut anna = player(client, "anna", 1, "prontera").await;
    assert_eq!(told(&mut anna, "smith").await["x"], "0");
    let moods = [
        Mood::Garbage,
        Mood::Huge,
        Mood::Redirects,
        Mood::Fails,
        Mood::Closes,
        Mood::Mute,
    ];
    for (n, mood) in moods.into_iter().enumerate() {
        ai.is(mood);
        let before = ai.asked().len();
        within(async {
            while ai.asked().len() < before + 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        // Players play on meanwhile, and what was known stays known.
        let name = format!("guest{n}");
        let mut guest = player(client, &name, 10 + n as u8, "prontera").await;
        assert_eq!(
            told(&mut guest, "smith").await["x"],
            n.to_string(),
            "{mood:?}"
        );
        ai.says("smith", json!({"x": (n + 1).to_string()}));
        ai.is(Mood::Well);
        assert_eq!(
            told(&mut anna, "smith").await["x"],
            (n + 1).to_string(),
            "{mood:?}"
        );
    }
    assert!(ai.asked().iter().all(|head| !head.contains("/elsewhere")));
    let metrics = client
        .request(Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    for result in ["state", "unknown", "wrong", "none"] {
        let series = format!("warp_npc_answers_total{{result=\"{result}\"}}");
        assert!(metrics.contains(&series), "{result}: {metrics}");
    }
}

#[tokio::test]
async fn only_the_ai_service_pushes_and_only_what_can_be() {
    let ai = Ai::start().await;
    let server = asking(&ai).await;
    let client = &server.client;
    let mut anna = player(client, "anna", 1, "prontera").await;
    next_of(&mut anna, "session-joined").await;
    let push = |token: Option<&'static str>, zone: &'static str, body: Value| async move {
        let path = format!("npc/{zone}/states");
        client.call(Method::POST, &path, token, Some(body)).await
    };
    let token = Some("the token for pushing");
    let one = json!({"npcs": [{"npc_id": "guard", "state": {"x": 1}, "timestamp": "now"}]});
    refused(
        &push(None, "prontera", one.clone()).await,
        401,
        "not-signed-in",
    );
    let wrong = push(Some("another token"), "prontera", one.clone()).await;
    refused(&wrong, 403, "forbidden");
    refused(
        &push(token, "nowhere", one.clone()).await,
        404,
        "unknown-zone",
    );
    for wrong in [
        json!({"npcs": [{"npc_id": "", "state": {}}]}),
        json!({"npcs": [{"npc_id": "a", "state": [1]}]}),
        json!({"npcs": [{"npc_id": "a", "state": {"x": "y".repeat(9000)}}]}),
        json!({"npcs": "all"}),
    ] {
        refused(&push(token, "prontera", wrong).await, 400, "bad-request");
    }
    let pushed = push(token, "prontera", one.clone()).await;
    assert_eq!(pushed, (StatusCode::OK, json!({"changed": 1})));
    let signal = next_of(&mut anna, "npc-state").await;
    let told = json!([{"npc_id": "guard", "state": {"x": 1}, "timestamp": "now"}]);
    assert_eq!(signal["npcs"], told);
    let again = push(token, "prontera", one).await;
    assert_eq!(again, (StatusCode::OK, json!({"changed": 0})));

    let closed = start_with(|_| {}).await;
    closed.running.put_zone(&zone("prontera")).await.unwrap();
    let nothing = json!({"npcs": []});
    let path = "npc/prontera/states";
    let pushed = closed.client.call(Method::POST, path, token, Some(nothing));
    let (status, _) = pushed.await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}
