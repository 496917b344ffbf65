//! One connection: reads as the real server reads, cuts packets, sends what its outbox holds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use warp_ro_packet::{MAP_ENTER, PacketTable, Role};

use super::char_server::CharSide;
use super::login_server::LoginSide;
use super::map_server::MapSide;
use super::outbox::Outbox;
use super::{CloseReason, Door, ServerEvent, Shared};
use crate::report::{ConnectionReport, role_name};
use crate::wire::{Head, StreamDigest, head, id_of, packets};

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

pub(super) struct Connection {
    context: Context,
    door: Door,
    side: Side,
    stream: TcpStream,
    peer: SocketAddr,
    table: &'static PacketTable,
    c2s: StreamDigest,
    s2c: StreamDigest,
    /// Received and not yet handled: at most one packet's part beside the last read.
    received: Vec<u8>,
    /// Taken from the outbox and not yet sent.
    pending: Vec<u8>,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        door: Door,
        stream: TcpStream,
        peer: SocketAddr,
        table: &'static PacketTable,
    ) -> Self {
        let reached = stream
            .local_addr()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |local| local.ip());
        let id = shared.world.next_connection();
        let (side, raw) = match door {
            Door::Login => (Side::Login(LoginSide::default()), 0),
            Door::Char => (Side::Char(CharSide::default()), 4),
            Door::Map(server) => (Side::Map(MapSide::new(server)), 0),
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
            table,
            c2s: StreamDigest::new(table, 0),
            s2c: StreamDigest::new(table, raw),
            received: Vec::new(),
            pending: Vec::new(),
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
            if self.pending.is_empty() {
                closing = self.context.outbox.drain_into(&mut self.pending);
                last_sent = Instant::now();
            }
            match self.send_pending() {
                Ok(true) => last_sent = Instant::now(),
                Ok(false) => {}
                Err(reason) => return reason,
            }
            let idle = self.pending.is_empty();
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
                            self.c2s.feed(bytes);
                            self.received.extend_from_slice(bytes);
                            if let Err(reason) = self.handle_received() {
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
        while !self.pending.is_empty() {
            match self.stream.try_write(&self.pending) {
                Ok(0) => return Err(CloseReason::ClientReset),
                Ok(count) => {
                    self.s2c.feed(self.pending.get(..count).unwrap_or(&[]));
                    self.pending.drain(..count);
                    progress = true;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(CloseReason::ClientReset),
            }
        }
        Ok(progress)
    }

    /// Handles the whole packets in the buffer; the table in the module doc of `server` says what
    /// happens to the rest.
    fn handle_received(&mut self) -> Result<(), CloseReason> {
        let received = std::mem::take(&mut self.received);
        if let Side::Map(side) = &self.side
            && !side.entered()
        {
            match id_of(&received) {
                None => {
                    self.received = received;
                    return Ok(());
                }
                Some(MAP_ENTER) if head(self.table, &received) == Head::Whole(received.len()) => {}
                Some(MAP_ENTER) => {
                    self.context.outbox.push(&packets::malformed_enter(1));
                    return Err(CloseReason::MalformedEnter);
                }
                Some(id) if self.table.length_of(id).is_none() => {
                    return Err(CloseReason::UnknownPacket);
                }
                Some(_) => return Err(CloseReason::NotEntered),
            }
        }
        let mut rest = received.as_slice();
        loop {
            match head(self.table, rest) {
                Head::Whole(length) => {
                    let (frame, tail) = rest.split_at(length);
                    rest = tail;
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
