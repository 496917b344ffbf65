//! A TCP relay that records what passes, holds it back, or breaks it off.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::process::PATIENCE;

/// What passed one connection.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// Bytes towards the server.
    pub to_server: Vec<u8>,
    /// Bytes towards the client.
    pub to_client: Vec<u8>,
}

/// Something done to single frames of WebSockets, on their way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tamper {
    /// Every frame passes as it is.
    No,
    /// In every n-th frame one bit of the last byte is turned over.
    FlipEvery(usize),
    /// Every n-th frame is sent twice.
    RepeatEvery(usize),
}

struct Hold {
    /// What is waited for, until it is let through.
    marker: Option<Vec<u8>>,
    /// How many pieces with it were held.
    held: usize,
}

struct Shared {
    target: Mutex<Option<SocketAddr>>,
    recordings: Mutex<Vec<Recording>>,
    sockets: Mutex<Vec<TcpStream>>,
    hold: Mutex<Hold>,
    hold_changed: Condvar,
    tamper: Mutex<Tamper>,
    /// Frames that were tampered with.
    tampered: AtomicUsize,
    cut: AtomicBool,
    ended: AtomicBool,
}

/// The relay. Ends with its value.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    /// Listens on a free port of the loopback; connections wait for [`set_target`](Self::set_target).
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            target: Mutex::new(None),
            recordings: Mutex::default(),
            sockets: Mutex::default(),
            hold: Mutex::new(Hold {
                marker: None,
                held: 0,
            }),
            hold_changed: Condvar::new(),
            tamper: Mutex::new(Tamper::No),
            tampered: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(client) = client
                    && !accepting.cut.load(Ordering::SeqCst)
                {
                    let shared = Arc::clone(&accepting);
                    std::thread::spawn(move || serve(&shared, client));
                }
            }
        });
        Self { address, shared }
    }

    /// A relay to `target`.
    pub fn to(target: SocketAddr) -> Self {
        let relay = Self::new();
        relay.set_target(target);
        relay
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it leads.
    pub fn set_target(&self, target: SocketAddr) {
        *lock(&self.shared.target) = Some(target);
    }

    /// What has passed so far, one entry per connection.
    pub fn recordings(&self) -> Vec<Recording> {
        lock(&self.shared.recordings).clone()
    }

    /// Holds back every piece towards the server that has `marker` in it.
    pub fn hold(&self, marker: &str) {
        lock(&self.shared.hold).marker = Some(marker.as_bytes().to_vec());
    }

    /// Waits until a piece is held back.
    pub fn until_held(&self) {
        let hold = lock(&self.shared.hold);
        let (hold, _) = self
            .shared
            .hold_changed
            .wait_timeout_while(hold, PATIENCE, |hold| hold.held == 0)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            hold.held > 0,
            "nothing came to the relay that was to be held"
        );
    }

    /// Lets through what is held back, and holds nothing any more.
    pub fn release(&self) {
        lock(&self.shared.hold).marker = None;
        self.shared.hold_changed.notify_all();
    }

    /// Does this to frames from now on.
    pub fn tamper(&self, tamper: Tamper) {
        *lock(&self.shared.tamper) = tamper;
    }

    /// How many frames were tampered with.
    pub fn tampered(&self) -> usize {
        self.shared.tampered.load(Ordering::SeqCst)
    }

    /// Breaks all connections off, and every new one, until [`restore`](Self::restore).
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        self.shared.break_off();
    }

    /// Takes connections again.
    pub fn restore(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.release();
        self.shared.break_off();
        // Wakes the thread that accepts; it sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn break_off(&self) {
        for socket in lock(&self.sockets).drain(..) {
            // Gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Waits while `piece` is to be held back; true if it was.
    fn held(&self, piece: &[u8]) -> bool {
        let holds = |hold: &Hold| {
            let marker = hold.marker.as_deref();
            marker.is_some_and(|marker| find(piece, marker))
        };
        let mut hold = lock(&self.hold);
        if !holds(&hold) {
            return false;
        }
        hold.held += 1;
        self.hold_changed.notify_all();
        let waited = self.hold_changed.wait_while(hold, |hold| holds(hold));
        drop(waited);
        true
    }

    /// A connection to the target.
    fn dial(&self) -> Option<TcpStream> {
        let target = *lock(&self.target);
        let target = target.expect("a relay is told where it leads before anybody comes");
        let server = TcpStream::connect(target).ok()?;
        self.keep(&server);
        Some(server)
    }

    fn keep(&self, socket: &TcpStream) {
        socket.set_nodelay(true).expect("an option of every socket");
        lock(&self.sockets).push(again(socket));
    }
}

/// A second handle of a socket.
fn again(socket: &TcpStream) -> TcpStream {
    socket.try_clone().expect("a second handle")
}

fn serve(shared: &Arc<Shared>, client: TcpStream) {
    shared.keep(&client);
    // The client sees that its connection ends.
    let Some(mut server) = shared.dial() else {
        return;
    };
    let number = {
        let mut recordings = lock(&shared.recordings);
        recordings.push(Recording::default());
        recordings.len() - 1
    };
    let mut left = down(shared, number, again(&server), again(&client));
    let mut buffer = vec![0; 65_536];
    let mut from = client;
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let piece = &buffer[..length];
        lock(&shared.recordings)[number]
            .to_server
            .extend_from_slice(piece);
        if shared.held(piece) {
            // The server may have given this connection up meanwhile: the piece goes over a new one.
            left.store(true, Ordering::SeqCst);
            let _ = server.shutdown(Shutdown::Both);
            let Some(fresh) = shared.dial() else {
                break;
            };
            server = fresh;
            left = down(shared, number, again(&server), again(&from));
        }
        if server.write_all(piece).is_err() {
            break;
        }
    }
    // Both ways lead to the end of the connection.
    let _ = server.shutdown(Shutdown::Write);
}

/// Passes on what the server sends, until it ends or the flag says that it was left.
fn down(
    shared: &Arc<Shared>,
    number: usize,
    mut server: TcpStream,
    mut client: TcpStream,
) -> Arc<AtomicBool> {
    let left = Arc::new(AtomicBool::new(false));
    let (was_left, shared) = (Arc::clone(&left), Arc::clone(shared));
    std::thread::spawn(move || {
        let mut frames = Frames::default();
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = server.read(&mut buffer) {
            let piece = &buffer[..length];
            lock(&shared.recordings)[number]
                .to_client
                .extend_from_slice(piece);
            if client.write_all(&frames.pass(piece, &shared)).is_err() {
                break;
            }
        }
        // While something is held back the server's end is nothing to the client.
        let waits = lock(&shared.hold).marker.is_some();
        if !waits && !was_left.load(Ordering::SeqCst) {
            let _ = client.shutdown(Shutdown::Write);
        }
    });
    left
}

/// Splits what a server sends into WebSocket frames, once it has switched to them.
#[derive(Default)]
struct Frames {
    buffer: Vec<u8>,
    switched: bool,
    count: usize,
}

impl Frames {
    /// What is passed on for `piece`: everything, or whole frames.
    fn pass(&mut self, piece: &[u8], shared: &Shared) -> Vec<u8> {
        if !self.switched && self.buffer.is_empty() && !piece.starts_with(b"HTTP/1.1 101") {
            return piece.to_vec();
        }
        self.buffer.extend_from_slice(piece);
        let mut out = Vec::new();
        if !self.switched {
            let Some(end) = head_end(&self.buffer) else {
                return out;
            };
            out.extend(self.buffer.drain(..end));
            self.switched = true;
        }
        while let Some(frame) = Frame::read(&self.buffer) {
            let mut bytes: Vec<u8> = self.buffer.drain(..frame.end).collect();
            self.count += 1;
            let due = |every: usize| frame.binary && self.count.is_multiple_of(every);
            let tamper = *lock(&shared.tamper);
            let again = match tamper {
                Tamper::FlipEvery(every) if due(every) => {
                    if let Some(last) = bytes.last_mut() {
                        *last ^= 1;
                    }
                    shared.tampered.fetch_add(1, Ordering::SeqCst);
                    false
                }
                Tamper::RepeatEvery(every) if due(every) => {
                    shared.tampered.fetch_add(1, Ordering::SeqCst);
                    true
                }
                _ => false,
            };
            out.extend_from_slice(&bytes);
            if again {
                out.extend_from_slice(&bytes);
            }
        }
        out
    }
}

/// Where a frame's parts lie (RFC 6455, section 5.2).
pub(crate) struct Frame {
    binary: bool,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) payload: usize,
    pub(crate) end: usize,
}

impl Frame {
    /// The frame at the beginning of `bytes`, if it is whole.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let (length, mut at) = match second & 0x7f {
            126 => {
                let field = bytes.get(2..4)?.try_into().ok()?;
                (usize::from(u16::from_be_bytes(field)), 4)
            }
            127 => {
                let field = bytes.get(2..10)?.try_into().ok()?;
                (usize::try_from(u64::from_be_bytes(field)).ok()?, 10)
            }
            short => (usize::from(short), 2),
        };
        let mask = if second & 0x80 == 0 {
            None
        } else {
            at += 4;
            bytes.get(at - 4..at)?.try_into().ok()
        };
        let end = at.checked_add(length)?;
        (end <= bytes.len()).then_some(Self {
            binary: first & 0x0f == 2,
            mask,
            payload: at,
            end,
        })
    }
}

/// What the frames of one direction of a WebSocket carry, one after the other, without their masks.
pub fn websocket_payload(recorded: &[u8]) -> Vec<u8> {
    let mut rest = &recorded[head_end(recorded).unwrap_or(recorded.len())..];
    let mut payload = Vec::new();
    while let Some(frame) = Frame::read(rest) {
        let mask = frame.mask.unwrap_or_default();
        let masked = rest[frame.payload..frame.end].iter();
        payload.extend(
            masked
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        rest = &rest[frame.end..];
    }
    payload
}

/// Where the head of an HTTP message ends.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at + 4)
}

/// True when `needle` is in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle)
}

/// One HTTP request on a connection of its own. Gives status and body.
pub fn http(
    server: SocketAddr,
    method: &str,
    path: &str,
    bearer: &str,
    body: &str,
) -> (u16, String) {
    let mut socket = TcpStream::connect(server).expect("the server is there");
    let limit = Some(Duration::from_secs(10));
    socket
        .set_read_timeout(limit)
        .expect("an option of every socket");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nAuthorization: Bearer {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("it answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    (status.expect("a status"), body.expect("a body"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = vec![0x82];
        let flag = if mask.is_some() { 0x80 } else { 0 };
        if payload.len() < 126 {
            bytes.push(flag | payload.len() as u8);
        } else {
            bytes.push(flag | 126);
            bytes.extend((payload.len() as u16).to_be_bytes());
        }
        bytes.extend(mask.iter().flatten());
        let mask = mask.unwrap_or_default();
        let masked = payload.iter().zip(mask.iter().cycle());
        bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
        bytes
    }

    #[test]
    fn payloads_are_found_behind_their_masks() {
        let mut recorded = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n".to_vec();
        recorded.extend(frame(b"a practice ", Some([7, 9, 200, 3])));
        recorded.extend(frame(&[b'l'; 300], Some([1, 2, 3, 4])));
        recorded.extend(frame(b"plain", None));
        assert!(!find(&recorded, b"practice"));
        let payload = websocket_payload(&recorded);
        assert_eq!(payload.len(), 11 + 300 + 5);
        assert!(payload.starts_with(b"a practice lll") && payload.ends_with(b"lplain"));
    }

    #[test]
    fn every_other_frame_is_changed_or_repeated() {
        let relay = Relay::new();
        let stream: Vec<u8> = (0..4).flat_map(|_| frame(&[0; 130], None)).collect();
        for (tamper, length, ones) in [
            (Tamper::No, stream.len(), 0),
            (Tamper::FlipEvery(2), stream.len(), 2),
            (Tamper::RepeatEvery(2), stream.len() / 2 * 3, 0),
        ] {
            relay.tamper(tamper);
            let mut frames = Frames::default();
            let mut out = frames.pass(b"HTTP/1.1 101 S\r\n\r\n", &relay.shared);
            assert_eq!(out.len(), 18);
            out.clear();
            // In pieces that do not end where frames do.
            for piece in stream.chunks(77) {
                out.extend(frames.pass(piece, &relay.shared));
            }
            assert_eq!(out.len(), length, "{tamper:?}");
            let last = out.iter().filter(|byte| **byte == 1).count();
            assert_eq!(last, ones, "{tamper:?}");
        }
        assert_eq!(relay.tampered(), 4);
    }
}
