//! A page in Chromium, with libwebrtc's own data channels, as a peer of ours: it opens the four channels,
//! and both sides send 10 MB over file and short frames over the others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test program")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use warp_link::peer::{Answerer, ChannelReceiver, Channels, PeerConfig};
use warp_peer_core::Channel;

const BYTES: usize = 10_000_000;
const FRAME: usize = 250_000;
const SMALL: usize = 200;

/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The browser's usual places; `$CHROMIUM` first.
fn chromium() -> Option<String> {
    let places = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ];
    std::env::var("CHROMIUM")
        .ok()
        .into_iter()
        .chain(places.map(str::to_owned))
        .find(|place| Path::new(place).is_file())
}

/// Ends the browser with the test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Browser {
    fn open(program: &str, profile: &Path, url: &str) -> Self {
        let child = Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-features=WebRtcHideLocalIpsWithMdns",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Chromium starts");
        Self(child)
    }
}

/// One request: method and path, body.
async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream
            .read(&mut buffer)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, length)| length.trim().parse().unwrap_or(0));
        if body.len() >= length {
            let path = head.split(' ').nth(1)?.to_owned();
            return Some((path, body.to_owned()));
        }
    }
}

async fn respond(stream: &mut TcpStream, kind: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // A browser that has gone away is noticed by the missing result.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

/// Serves the page, answers its offer, and passes its result on.
async fn serve(listener: TcpListener, peers: mpsc::Sender<Answerer>, results: mpsc::Sender<Value>) {
    let page = include_str!("peer.html");
    let plan = json!({"bytes": BYTES, "frame": FRAME, "small": SMALL}).to_string();
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            return;
        };
        let (peers, results, plan) = (peers.clone(), results.clone(), plan.clone());
        tokio::spawn(async move {
            let Some((path, body)) = request(&mut stream).await else {
                return;
            };
            match path.as_str() {
                "/" => respond(&mut stream, "text/html", page).await,
                "/plan" => respond(&mut stream, "application/json", &plan).await,
                "/offer" => {
                    let config = PeerConfig {
                        include_loopback: true,
                        connect_timeout: PATIENCE,
                        ..PeerConfig::default()
                    };
                    // The answer holds our addresses; no more come.
                    let accepted = Box::pin(Answerer::accept(config, &body)).await;
                    let (answerer, answer, _candidates) = accepted.unwrap();
                    respond(&mut stream, "application/sdp", &answer).await;
                    peers.send(answerer).await.unwrap();
                }
                "/done" => {
                    results
                        .send(serde_json::from_str(&body).unwrap())
                        .await
                        .unwrap();
                    respond(&mut stream, "text/plain", "").await;
                }
                "/failed" => {
                    results.send(Value::String(body)).await.unwrap();
                    respond(&mut stream, "text/plain", "").await;
                }
                _ => respond(&mut stream, "text/plain", "").await,
            }
        });
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn sha(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

async fn receive(rx: &mut ChannelReceiver, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < bytes {
        all.extend_from_slice(&rx.recv().await.expect("the page is there"));
    }
    all
}

/// The 10 MB that we send, what the page sent, and how many of its unreliable frames came.
async fn exchange(channels: Channels) -> (String, String, usize) {
    let (tx, mut rx) = (channels.tx, channels.rx);
    let payload = noise(BYTES);
    let sent = sha(&payload);
    let file = tokio::spawn({
        let tx = tx.clone();
        async move {
            for frame in payload.chunks(FRAME) {
                let frame = Bytes::copy_from_slice(frame);
                tx.send(Channel::File, frame).await.unwrap();
            }
        }
    });
    for number in 0..SMALL as u32 {
        let frame = Bytes::copy_from_slice(&number.to_be_bytes());
        for channel in [Channel::Control, Channel::Reliable, Channel::Unreliable] {
            tx.send(channel, frame.clone()).await.unwrap();
        }
    }
    let small: Vec<u8> = (0..SMALL as u32).flat_map(u32::to_be_bytes).collect();
    let got = receive(&mut rx.file, BYTES).await;
    assert_eq!(receive(&mut rx.control, small.len()).await, small);
    assert_eq!(receive(&mut rx.reliable, small.len()).await, small);
    file.await.unwrap();
    let mut unreliable = 0;
    let wait = Duration::from_secs(1);
    while unreliable < SMALL
        && tokio::time::timeout(wait, rx.unreliable.recv())
            .await
            .is_ok()
    {
        unreliable += 1;
    }
    (sent, sha(&got), unreliable)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chromium_page_opens_the_four_channels_and_exchanges_ten_megabytes_both_ways() {
    let Some(program) = chromium() else {
        println!("SKIPPED: chromium is not installed");
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (peers, mut peer) = mpsc::channel(1);
    let (results, mut result) = mpsc::channel(1);
    let server = tokio::spawn(serve(listener, peers, results));
    let profile = tempfile::tempdir().unwrap();
    let _browser = Browser::open(&program, profile.path(), &url);

    let work = async {
        let answerer = tokio::select! {
            answerer = peer.recv() => answerer.expect("the page offers"),
            failed = result.recv() => panic!("the page failed: {failed:?}"),
        };
        let channels = answerer.channels().await.unwrap();
        let page = async {
            match result.recv().await.expect("the page is done") {
                Value::String(failed) => panic!("the page failed: {failed}"),
                page => page,
            }
        };
        let (exchanged, page) = tokio::join!(exchange(channels), page);
        (exchanged, page, answerer)
    };
    let ((sent, got, unreliable), page, answerer) = tokio::time::timeout(PATIENCE, Box::pin(work))
        .await
        .expect("in time");
    println!("{page}, and {unreliable} of its unreliable frames came");
    assert_eq!(page["received"], sent);
    assert_eq!(page["sent"], got);
    let small: Vec<u8> = (0..SMALL as u32).flat_map(u32::to_be_bytes).collect();
    for channel in ["control", "reliable"] {
        assert_eq!(page["small"][channel], sha(&small));
    }
    assert!(unreliable > 0 && page["unreliable"].as_u64() > Some(0));
    answerer.close().await;
    server.abort();
}
