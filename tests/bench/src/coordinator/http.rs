//! Requests over kept connections, with as little of its own cost as can be: the bytes of a request
//! are made once, and of an answer only its status and its length are looked at.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stats::Spread;

/// Asked before what is counted, so that everything is warm: a share of the time.
const WARM: u32 = 5;

/// A request as it is sent.
#[derive(Clone)]
pub(crate) struct Request {
    method: &'static str,
    token: String,
    body: String,
    bytes: Vec<u8>,
}

impl Request {
    pub(crate) fn get(path: &str, token: &str) -> Self {
        Self::new("GET", path, token, String::new())
    }

    pub(crate) fn post(path: &str, token: &str, body: &Value) -> Self {
        Self::new("POST", path, token, body.to_string())
    }

    fn new(method: &'static str, path: &str, token: &str, body: String) -> Self {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n");
        if !token.is_empty() {
            head += &format!("authorization: Bearer {token}\r\n");
        }
        if method == "POST" {
            let length = body.len();
            head += &format!("content-type: application/json\r\ncontent-length: {length}\r\n");
        }
        Self {
            method,
            token: token.to_owned(),
            bytes: (head + "\r\n" + &body).into_bytes(),
            body,
        }
    }

    /// The same for another path.
    pub(crate) fn at(&self, path: &str) -> Self {
        Self::new(self.method, path, &self.token, self.body.clone())
    }
}

/// A kept connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    /// Asks, and gives the status and the body.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<(u16, &[u8])> {
        self.stream.write_all(&request.bytes).await?;
        self.buffer.clear();
        let (mut head, mut length) = (None, 0);
        loop {
            if head.is_none()
                && let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n")
            {
                head = Some(at + 4);
                length = length_of(&self.buffer[..at])?;
            }
            if let Some(head) = head
                && self.buffer.len() >= head + length
            {
                let status = std::str::from_utf8(&self.buffer[9..12])?.parse()?;
                return Ok((status, &self.buffer[head..]));
            }
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the connection was closed");
        }
    }
}

/// The length of the body, by the head.
fn length_of(head: &[u8]) -> Result<usize> {
    let head = std::str::from_utf8(head)?;
    if head.starts_with("HTTP/1.1 204") {
        return Ok(0);
    }
    let field = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then_some(value.trim())
    });
    Ok(field.context("an answer without a length")?.parse()?)
}

/// Asks once, over a connection of its own.
pub(crate) async fn once(to: SocketAddr, request: &Request) -> Result<(u16, Value)> {
    let mut connection = Connection::open(to).await?;
    let (status, body) = connection.ask(request).await?;
    Ok((status, serde_json::from_slice(body).unwrap_or_default()))
}

/// What was measured.
pub(crate) struct Rate {
    pub(crate) per_s: f64,
    pub(crate) ms: Spread,
    /// Bytes of one answer's body.
    pub(crate) bytes: usize,
    /// All that were asked, those before the counted time too.
    pub(crate) asked: usize,
}

/// One connection for each request, each of which asks it over and over.
pub(crate) async fn measure(
    to: SocketAddr,
    requests: Vec<Request>,
    span: Duration,
) -> Result<Rate> {
    measure_with(to, requests, span, |_, _| Ok(None)).await
}

/// The same, where each answer may give the next request of its connection: `next` is given the number of
/// the connection and the body.
pub(crate) async fn measure_with(
    to: SocketAddr,
    requests: Vec<Request>,
    span: Duration,
    next: impl Fn(usize, &[u8]) -> Result<Option<Request>> + Clone + 'static,
) -> Result<Rate> {
    let local = tokio::task::LocalSet::new();
    let begin = Instant::now() + span / WARM;
    let end = begin + span;
    let mut tasks = Vec::new();
    for (number, mut request) in requests.into_iter().enumerate() {
        let next = next.clone();
        tasks.push(local.spawn_local(async move {
            let mut connection = Connection::open(to).await?;
            let (mut times, mut bytes, mut asked) = (Vec::new(), 0, 0);
            loop {
                let sent = Instant::now();
                if sent >= end {
                    return anyhow::Ok((times, bytes, asked));
                }
                let (status, body) = connection.ask(&request).await?;
                let took = sent.elapsed();
                ensure!(
                    (200..300).contains(&status),
                    "answered with {status}: {}",
                    String::from_utf8_lossy(body)
                );
                if sent >= begin {
                    times.push(took);
                }
                bytes = body.len();
                asked += 1;
                if let Some(other) = next(number, body)? {
                    request = other;
                }
            }
        }));
    }
    local.await;
    let (mut all, mut bytes, mut asked) = (Vec::new(), 0, 0);
    for task in tasks {
        let (times, length, count) = task.await??;
        all.extend(times);
        bytes = length;
        asked += count;
    }
    Ok(Rate {
        per_s: all.len() as f64 / span.as_secs_f64(),
        ms: Spread::of(&all),
        bytes,
        asked,
    })
}
