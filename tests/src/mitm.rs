//! Somebody in the middle: between launchers and coordinator, reading and changing what they say.
//!
//! It understands HTTP/1.1 with bodies of told length, and WebSockets without fragments. Every JSON
//! body and text frame goes through a function of the test, which passes it on, changes it, drops it
//! or adds to it. Binary frames pass as they are.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::relay::{Frame, head_end};

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    /// From the launcher.
    Coordinator,
    /// To the launcher.
    Launcher,
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The path that was asked for, with its query.
    pub path: String,
    /// Which way.
    pub towards: Towards,
    /// What it says.
    pub json: Value,
}

/// What becomes of a message: none, it, or more. Of a body only the first counts, and a body that is
/// dropped makes an answer 404.
pub type Meddle = Arc<dyn Fn(&Message) -> Vec<Value> + Send + Sync>;

struct Shared {
    target: SocketAddr,
    meddle: Mutex<Meddle>,
    seen: Mutex<Vec<Message>>,
    sockets: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
}

/// The man in the middle. Ends with its value.
pub struct Mitm {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Mitm {
    /// Stands before `target`, on a free port of the loopback, and only listens.
    pub fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            target,
            meddle: Mutex::new(Arc::new(|message| vec![message.json.clone()])),
            seen: Mutex::default(),
            sockets: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || {
                    if let Ok(server) = TcpStream::connect(shared.target) {
                        shared.keep(&client);
                        shared.keep(&server);
                        // A connection that breaks is one that ended.
                        let _ = converse(&shared, Wire::of(&client), Wire::of(&server));
                        let _ = client.shutdown(Shutdown::Both);
                        let _ = server.shutdown(Shutdown::Both);
                    }
                });
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this to every message from now on.
    pub fn meddle(&self, with: impl Fn(&Message) -> Vec<Value> + Send + Sync + 'static) {
        *lock(&self.shared.meddle) = Arc::new(with);
    }

    /// Changes the messages of one kind of path and direction, and passes on all others.
    pub fn change(
        &self,
        part: &'static str,
        towards: Towards,
        with: impl Fn(&mut Value) + Send + Sync + 'static,
    ) {
        self.meddle(move |message| {
            let mut json = message.json.clone();
            if message.towards == towards && message.path.contains(part) {
                with(&mut json);
            }
            vec![json]
        });
    }

    /// What came by so far, as it was before anything was done to it.
    pub fn seen(&self) -> Vec<Message> {
        lock(&self.shared.seen).clone()
    }
}

impl Drop for Mitm {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for socket in lock(&self.shared.sockets).drain(..) {
            // Gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts; it sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn keep(&self, socket: &TcpStream) {
        socket.set_nodelay(true).expect("an option of every socket");
        lock(&self.sockets).push(socket.try_clone().expect("a second handle"));
    }

    fn pass(&self, path: &str, towards: Towards, json: Value) -> Vec<Value> {
        let message = Message {
            path: path.to_owned(),
            towards,
            json,
        };
        lock(&self.seen).push(message.clone());
        let meddle = Arc::clone(&lock(&self.meddle));
        meddle(&message)
    }

    /// The body as it is passed on; `None`: it was dropped.
    fn body(&self, path: &str, towards: Towards, body: Vec<u8>) -> Option<Vec<u8>> {
        match serde_json::from_slice(&body) {
            Ok(json) => {
                let passed = self.pass(path, towards, json).into_iter().next();
                passed.map(|json| json.to_string().into_bytes())
            }
            Err(_) => Some(body),
        }
    }
}

/// A socket with what was read of it and not yet used.
struct Wire {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    fn of(socket: &TcpStream) -> Self {
        Self {
            socket: socket.try_clone().expect("a second handle"),
            buffer: Vec::new(),
        }
    }

    /// Reads more; `None` at the end.
    fn more(&mut self) -> Option<()> {
        let mut piece = [0; 16_384];
        let length = self.socket.read(&mut piece).ok().filter(|read| *read > 0)?;
        self.buffer.extend_from_slice(&piece[..length]);
        Some(())
    }

    fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = head_end(&self.buffer) {
                let head = self.buffer.drain(..end).collect();
                return String::from_utf8(head).ok();
            }
            self.more()?;
        }
    }

    fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.more()?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// The next frame: its first byte, and its payload without a mask.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(frame) = Frame::read(&self.buffer) {
                let bytes: Vec<u8> = self.buffer.drain(..frame.end).collect();
                let mask = frame.mask.unwrap_or_default();
                let masked = bytes[frame.payload..].iter().zip(mask.iter().cycle());
                return Some((bytes[0], masked.map(|(byte, mask)| byte ^ mask).collect()));
            }
            self.more()?;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.socket.write_all(bytes).ok()
    }
}

/// Requests and answers in turn, until one of them is an upgrade.
fn converse(shared: &Arc<Shared>, mut client: Wire, mut server: Wire) -> Option<()> {
    loop {
        let head = client.head()?;
        let path = head.split(' ').nth(1)?.to_owned();
        let body = client.exactly(length(&head))?;
        let body = shared.body(&path, Towards::Coordinator, body);
        server.write(&with_length(&head, &body.unwrap_or_default()))?;
        let head = server.head()?;
        if head.starts_with("HTTP/1.1 101") {
            client.write(head.as_bytes())?;
            return frames(shared, &path, client, server);
        }
        let body = server.exactly(length(&head))?;
        match shared.body(&path, Towards::Launcher, body) {
            Some(body) => client.write(&with_length(&head, &body))?,
            None => {
                let body = br#"{"detail":"there is no such route","code":"not-found"}"#;
                let head = "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\n\
                            content-length: 0\r\n\r\n";
                client.write(&with_length(head, body))?;
            }
        }
    }
}

/// Frames in both directions, until one of them ends.
fn frames(shared: &Arc<Shared>, path: &str, client: Wire, server: Wire) -> Option<()> {
    let (mut from_client, mut from_server) = (client, server);
    let (mut to_client, mut to_server) =
        (Wire::of(&from_client.socket), Wire::of(&from_server.socket));
    let (down, asked) = (Arc::clone(shared), path.to_owned());
    std::thread::spawn(move || {
        while let Some(frame) = from_server.frame() {
            for frame in pass_frame(&down, &asked, Towards::Launcher, frame) {
                if to_client.write(&written(&frame, false)).is_none() {
                    return;
                }
            }
        }
        let _ = to_client.socket.shutdown(Shutdown::Both);
    });
    loop {
        let frame = from_client.frame()?;
        for frame in pass_frame(shared, path, Towards::Coordinator, frame) {
            to_server.write(&written(&frame, true))?;
        }
    }
}

type Opened = (u8, Vec<u8>);

fn pass_frame(shared: &Shared, path: &str, towards: Towards, frame: Opened) -> Vec<Opened> {
    let json = (frame.0 & 0x0f == 1).then(|| serde_json::from_slice(&frame.1).ok());
    match json.flatten() {
        Some(json) => {
            let passed = shared.pass(path, towards, json).into_iter();
            passed
                .map(|json| (frame.0, json.to_string().into_bytes()))
                .collect()
        }
        None => vec![frame],
    }
}

/// A frame in bytes; a client's with a mask, which is of zeros.
fn written((first, payload): &Opened, masked: bool) -> Vec<u8> {
    let flag = if masked { 0x80 } else { 0 };
    let mut bytes = vec![*first];
    match payload.len() {
        short @ 0..126 => bytes.push(flag | short as u8),
        long => {
            let long = u16::try_from(long).expect("no frame here is longer");
            bytes.push(flag | 126);
            bytes.extend(long.to_be_bytes());
        }
    }
    if masked {
        bytes.extend([0; 4]);
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// The length that a head tells of its body.
fn length(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths
        .next()
        .map_or(0, |(_, length)| length.trim().parse().expect("a length"))
}

/// The head with the length of this body, and the body.
fn with_length(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in head.split_inclusive("\r\n") {
        let name = line.split(':').next().unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            bytes.extend(format!("content-length: {}\r\n", body.len()).bytes());
        } else {
            bytes.extend(line.bytes());
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
