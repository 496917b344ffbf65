//! One connection: reads as the real server reads, cuts packets, sends what its outbox holds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use warp_ro_packet::Role;

use super::char_server::CharSide;
use super::login_server::LoginSide;
use super::map_server::MapSide;
use super::outbox::Outbox;
use super::{CloseReason, Door, ServerEvent, Shared};
use crate::report::{ConnectionReport, role_name};
use crate::wire::shield::{Opener, Sealer, Way};
use crate::wire::{Cutter, Head, StreamDigest, packets};

/// The largest read in bytes. A client that sends more at once can have a packet cut by it, as
/// with the real server's buffer.
pub const READ_BUFFER: usize = 64 * 1024;

/// How long a closing connection may take to send its last bytes, and then to be closed by the
/// client, before it is dropped.
const LINGER: Duration = Duration::from_secs(1);

/// What the handlers of all three servers have at hand.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    /// The connection's number, unique in this server.
    pub(super) id: u64,
    pub(super) outbox: Arc<Outbox>,
    /// The address that the client reached us at.
    pub(super) reached: IpAddr,
}

/// The server behind the connection's door.
enum Side {
    Login(LoginSide),
    Char(CharSide),
    Map(MapSide),
}

/// What was taken from the outbox and is not yet sent.
struct Outgoing {
    /// Not yet begun.
    plain: Vec<u8>,
    /// As it travels: behind a shield one record, which is one write unless the system takes only
    /// a part of it.
    wire: Vec<u8>,
    sealer: Option<Sealer>,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.wire.is_empty()
    }

    /// What to write next.
    fn next(&mut self) -> &[u8] {
        if self.wire.is_empty() && !self.plain.is_empty() {
            self.wire = match &mut self.sealer {
                Some(sealer) => sealer.seal(&mut self.plain),
                None => std::mem::take(&mut self.plain),
            };
        }
        &self.wire
    }

    /// Counts and takes off what was written.
    fn written(&mut self, count: usize, digest: &mut StreamDigest) {
        digest.feed(self.wire.get(..count).unwrap_or(&[]));
        self.wire.drain(..count);
        if self.sealer.is_some() && self.wire.is_empty() {
            digest.count();
        }
    }
}

pub(super) struct Connection {
    context: Context,
    door: Door,
    side: Side,
    stream: TcpStream,
    peer: SocketAddr,
    cutter: Cutter,
    /// What opens the records of the client's shield.
    opener: Option<Opener>,
    c2s: StreamDigest,
    s2c: StreamDigest,
    /// Received and not yet handled: at most one packet's part beside the last read.
    received: Vec<u8>,
    outgoing: Outgoing,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        door: Door,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Self {
        let reached = stream
            .local_addr()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |local| local.ip());
        let id = shared.world.next_connection();
        let dialect = &shared.dialect;
        let (side, raw, cutter) = match door {
            Door::Login => (Side::Login(LoginSide::default()), 0, dialect.cutter()),
            Door::Char => (Side::Char(CharSide::default()), 4, dialect.cutter()),
            Door::Map(server) => (Side::Map(MapSide::new(server)), 0, dialect.map_cutter()),
        };
        let shield = shared.shield && door.role() == Role::Map;
        let (c2s, s2c) = if shield {
            (
                StreamDigest::of_records(dialect),
                StreamDigest::of_records(dialect),
            )
        } else {
            (
                StreamDigest::new(dialect, cutter.clone(), 0),
                StreamDigest::new(dialect, dialect.cutter(), raw),
            )
        };
        Self {
            context: Context {
                shared,
                id,
                outbox: Arc::default(),
                reached,
            },
            door,
            side,
            stream,
            peer,
            cutter,
            opener: shield.then(|| Opener::new(Way::ToServer)),
            c2s,
            s2c,
            received: Vec::new(),
            outgoing: Outgoing {
                plain: Vec::new(),
                wire: Vec::new(),
                sealer: shield.then(|| Sealer::new(Way::ToClient)),
            },
        }
    }

    /// Serves the connection to its end and reports it.
    pub(super) async fn run(mut self) {
        let (role, id) = (self.door.role(), self.context.id);
        let opened = ServerEvent::ConnectionOpened {
            role,
            id,
            peer: self.peer,
        };
        self.context.shared.events.send(opened);
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::debug!(id, %error, "cannot set TCP_NODELAY");
        }
        let reason = self.serve().await;
        // Leave before the socket closes: who sees the end of this connection can rely on the
        // account being free.
        let key = match &mut self.side {
            Side::Login(side) => side.key(),
            Side::Char(side) => side.leave(&self.context),
            Side::Map(side) => side.leave(&self.context),
        };
        let report = ConnectionReport {
            role,
            key: key.unwrap_or_else(|| format!("{}:unknown:{id}", role_name(role))),
            reason: reason.as_str().to_owned(),
            c2s: self.c2s.finish(),
            s2c: self.s2c.finish(),
        };
        tracing::info!(key = %report.key, reason = %report.reason, "connection ends");
        if !matches!(reason, CloseReason::ClientClosed | CloseReason::ClientReset) {
            tokio::select! {
                () = linger(self.stream) => {}
                () = self.context.shared.stop.cancelled() => {}
            }
        } else {
            drop(self.stream);
        }
        let closed = ServerEvent::ConnectionClosed { id, report };
        self.context.shared.events.send(closed);
    }

    async fn serve(&mut self) -> CloseReason {
        let mut chunk = vec![0; READ_BUFFER];
        let mut last_data = Instant::now();
        let mut last_sent = Instant::now();
        let mut closing = None;
        loop {
            if self.outgoing.is_empty() {
                closing = self.context.outbox.drain_into(&mut self.outgoing.plain);
                last_sent = Instant::now();
            }
            match self.send_pending() {
                Ok(true) => last_sent = Instant::now(),
                Ok(false) => {}
                Err(reason) => return reason,
            }
            let idle = self.outgoing.is_empty();
            if idle && let Some(reason) = closing {
                return reason;
            }
            let limit = self.context.shared.idle_limit;
            let (deadline, late) = match (idle, closing) {
                (true, _) if self.door.role() == Role::Map => {
                    (Some(last_data + limit), CloseReason::Idle)
                }
                (true, _) => (None, CloseReason::Idle),
                (false, None) => (Some(last_sent + limit), CloseReason::SlowReader),
                (false, Some(reason)) => (Some(last_sent + LINGER), reason),
            };
            tokio::select! {
                () = self.context.shared.stop.cancelled() => return CloseReason::Shutdown,
                _ready = self.stream.readable(), if idle => {
                    match self.stream.try_read(&mut chunk) {
                        Ok(0) => return CloseReason::ClientClosed,
                        Ok(count) => {
                            last_data = Instant::now();
                            let bytes = chunk.get(..count).unwrap_or(&[]);
                            if let Err(reason) = self.receive(bytes) {
                                self.context.outbox.close(reason);
                            }
                        }
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => return CloseReason::ClientReset,
                    }
                }
                _ready = self.stream.writable(), if !idle => {}
                () = self.context.outbox.changed(), if idle => {}
                () = sleep_until(deadline) => return late,
            }
        }
    }

    /// Sends as much as the socket takes; whether that was anything.
    fn send_pending(&mut self) -> Result<bool, CloseReason> {
        let mut progress = false;
        while !self.outgoing.is_empty() {
            match self.stream.try_write(self.outgoing.next()) {
                Ok(0) => return Err(CloseReason::ClientReset),
                Ok(count) => {
                    self.outgoing.written(count, &mut self.s2c);
                    progress = true;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(CloseReason::ClientReset),
            }
        }
        Ok(progress)
    }

    /// Takes the bytes of one read. Behind a shield it has to be whole records: what a client
    /// wrote at once has to arrive at once.
    fn receive(&mut self, bytes: &[u8]) -> Result<(), CloseReason> {
        self.c2s.feed(bytes);
        let Some(mut opener) = self.opener.take() else {
            self.received.extend_from_slice(bytes);
            return self.handle_received();
        };
        opener.read(bytes);
        let mut outcome = Ok(());
        while outcome.is_ok()
            && let Some(record) = opener.record()
        {
            self.c2s.count();
            self.received.extend_from_slice(&record);
            outcome = match record.is_empty() {
                true => Err(CloseReason::BadLength),
                false => self.handle_received(),
            };
        }
        if outcome.is_ok() && !opener.at_border() {
            outcome = Err(CloseReason::SplitRecord);
        }
        self.opener = Some(opener);
        outcome
    }

    /// Handles the whole packets in the buffer; the table in the module doc of `server` says what
    /// happens to the rest.
    fn handle_received(&mut self) -> Result<(), CloseReason> {
        let received = std::mem::take(&mut self.received);
        if let Side::Map(side) = &self.side
            && !side.entered()
        {
            let head = self.cutter.head(&received);
            match self.cutter.id(&received) {
                None => {
                    self.received = received;
                    return Ok(());
                }
                Some(id) if id == self.context.shared.dialect.facts.enter => {
                    if head != Head::Whole(received.len()) {
                        self.context.outbox.push(&packets::malformed_enter(1));
                        return Err(CloseReason::MalformedEnter);
                    }
                }
                Some(_) if matches!(head, Head::Unknown(_)) => {
                    return Err(CloseReason::UnknownPacket);
                }
                Some(_) => return Err(CloseReason::NotEntered),
            }
        }
        let mut rest = received.as_slice();
        loop {
            match self.cutter.head(rest) {
                Head::Whole(length) => {
                    let (frame, tail) = rest.split_at(length);
                    rest = tail;
                    let frame = &*self.cutter.pass(frame);
                    match &mut self.side {
                        Side::Login(side) => side.handle(&self.context, frame),
                        Side::Char(side) => side.handle(&self.context, frame),
                        Side::Map(side) => side.handle(&self.context, frame)?,
                    }
                }
                Head::Unsure => break,
                Head::Part(_) if self.door == Door::Char => break,
                Head::Part(_) => return Err(CloseReason::SplitPacket),
                Head::Unknown(id) => {
                    tracing::info!(id = %format_args!("{id:04X}"), "unknown packet id");
                    return Err(CloseReason::UnknownPacket);
                }
                Head::BadLength(_) => return Err(CloseReason::BadLength),
            }
        }
        self.received = rest.to_vec();
        Ok(())
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Closes our side, then takes what the client still sends until it closes too: data unread at
/// the close would make the system reset the connection and lose our last packet.
async fn linger(mut stream: TcpStream) {
    let closing = async {
        stream.shutdown().await?;
        let mut sink = [0; 4096];
        while tokio::io::AsyncReadExt::read(&mut stream, &mut sink).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whatever the outcome, the socket is dropped.
    let _outcome = tokio::time::timeout(LINGER, closing).await;
}
