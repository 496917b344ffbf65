//! The two directions of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};
use warp_bridge_core::{
    BridgeConnection, BridgeEvent, Level, Reading, StepDownReason, ToServer, Versions,
};
use warp_protocol::stream::{Decoder, MessageKind, encode_keep_alive, encode_message};
use warp_ro_packet::{Direction, Role};

use crate::bridge::Shared;
use crate::connection::{Connection, Early, packet_role};
use crate::doors::{Book, server_role};
use crate::notice::{BridgeNotice, Carried};
use crate::opener::{self, GameRead, GameReader, GameWriter, PathNow, WriteGone};
use crate::reads::Reads;
use crate::reentry::may_return;
use crate::watch::Watch;

/// Why a connection did not end in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The client's socket was reset.
    Client,
    /// The endpoint reset the stream with this code: the server's socket was, or the session ends.
    Server(u32),
    /// The server closed a map connection on which a player stood, without a word.
    ServerClosed,
    /// The session link has ended.
    Link,
    /// The endpoint broke the framing.
    Framing,
    /// The bridge is closed.
    Stopped,
}

impl Broken {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Broken::Client => "client-reset",
            Broken::Server(_) => "server-reset",
            Broken::ServerClosed => "server-closed",
            Broken::Link => "link-gone",
            Broken::Framing => "bad-framing",
            Broken::Stopped => "bridge-closed",
        }
    }
}

/// How the client's direction ended, if nothing broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpEnd {
    /// The client closed it, and all was passed on.
    Finished,
    /// The endpoint does not want more: the server's socket has gone. What the server had said
    /// before still goes to the client.
    Stopped,
}

/// Bytes and digest of one direction.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    bytes: u64,
    digest: Sha256,
}

impl Tally {
    pub(crate) fn add(&mut self, bytes: &[u8], live: &AtomicU64) {
        let more = bytes.len() as u64;
        self.bytes = self.bytes.saturating_add(more);
        self.digest.update(bytes);
        live.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn carried(self) -> Carried {
        Carried {
            bytes: self.bytes,
            sha256: hex::encode(self.digest.finalize()),
        }
    }
}

/// Since when a direction waits for the rest of a packet, and no whole one has come.
#[derive(Default)]
struct Stall {
    since: Option<Instant>,
}

impl Stall {
    fn note(&mut self, waiting: usize, moved: bool) {
        if waiting == 0 {
            self.since = None;
        } else if moved || self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    /// Counts anew.
    fn restart(&mut self) {
        self.since = Some(Instant::now());
    }

    async fn over(&self, after: Duration) {
        match self.since {
            Some(since) => sleep_until(since + after).await,
            None => std::future::pending().await,
        }
    }
}

/// How far the client's direction is; it outlives the server's connection.
pub(crate) struct UpState {
    reads: Reads,
    /// The packet table is chosen.
    decided: bool,
    stall: Stall,
    watch: Option<Watch>,
    settle: bool,
    ended: bool,
}

impl UpState {
    pub(crate) fn new(early: Early) -> Self {
        let Early { reads, decided } = early;
        Self {
            reads,
            decided,
            stall: Stall::default(),
            watch: None,
            settle: false,
            ended: false,
        }
    }
}

/// What both directions of a connection share.
pub(crate) struct Lanes<'a> {
    shared: &'a Arc<Shared>,
    connection: &'a Connection,
    path: PathNow,
}

impl<'a> Lanes<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>, connection: &'a Connection, path: PathNow) -> Self {
        let lanes = Self {
            shared,
            connection,
            path,
        };
        // A connection may have stepped down already: by the zone's level, or without a table.
        lanes.work(|_core| ());
        lanes
    }

    /// Does something with the core and tells what came of it.
    pub(crate) fn work<R>(&self, work: impl FnOnce(&mut BridgeConnection) -> R) -> R {
        let (mut events, mut recorded) = (Vec::new(), Vec::new());
        let (result, seen) = {
            let mut core = self.connection.core.lock();
            let result = work(&mut core);
            events.extend(std::iter::from_fn(|| core.poll_event()));
            recorded.extend(std::iter::from_fn(|| core.poll_recorded()));
            self.connection.ring(&core);
            (result, core.take_seen())
        };
        if !seen.0.is_empty() {
            let Connection { n, upstream, .. } = self.connection;
            let whose = (*n, self.shared.client_of(*n), upstream.role);
            self.shared.inspector.keep(self.shared.now(), whose, seen);
        }
        for event in events {
            self.on_event(event);
        }
        for one in recorded {
            let Connection { n, upstream, .. } = self.connection;
            self.shared
                .recalls
                .note(self.shared, *n, one, upstream.target);
        }
        result
    }

    /// Looks at the core; changes nothing.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&BridgeConnection) -> R) -> R {
        look(&self.connection.core.lock())
    }

    /// Asks about the packet version.
    pub(crate) fn versions<R>(&self, work: impl FnOnce(&mut Versions) -> R) -> R {
        self.shared.with_versions(work)
    }

    pub(crate) fn versions_certain(&self) -> bool {
        self.shared.versions_certain()
    }

    /// Reads on as `reading` says.
    pub(crate) fn choose(&self, reading: Reading) {
        self.work(|core| core.choose(reading));
    }

    fn role(&self) -> Role {
        packet_role(self.connection.upstream.role)
    }

    fn on_event(&self, event: BridgeEvent) {
        let n = self.connection.n;
        let shared = self.shared;
        let notice = match event {
            BridgeEvent::SteppedDown { from, to, reason } => {
                tracing::info!(n, ?from, ?to, %reason, "game connection stepped down");
                if to == Level::Opaque {
                    // What is held outside of the core waits for nothing now.
                    self.connection.due_up.notify_one();
                    self.connection.due_down.notify_one();
                }
                BridgeNotice::SteppedDown {
                    n,
                    from,
                    to,
                    reason,
                }
            }
            BridgeEvent::Account { account } => {
                shared.with_clients(|clients, _now| {
                    let before = clients.of(n);
                    let now = clients.account(n, account);
                    // Before the old number is told to be gone, and all of it forgotten.
                    shared.recalls.moved(before, now);
                });
                return;
            }
            BridgeEvent::Away => {
                self.connection.away.notify_one();
                return;
            }
            BridgeEvent::Resumed { kept, dropped } => {
                let Some(lost) = self.connection.lost.lock().take() else {
                    return;
                };
                BridgeNotice::ReEntryDone {
                    n,
                    client: shared.client_of(n),
                    took: lost.elapsed(),
                    kept,
                    dropped,
                }
            }
            BridgeEvent::ServerAnnounced {
                role,
                upstream,
                loopback,
                map,
            } => {
                let target = upstream.into();
                if role == Role::Map {
                    let map = map.as_deref();
                    shared.with_clients(|clients, _now| clients.announced(n, target, map));
                }
                BridgeNotice::ServerAnnounced {
                    n,
                    role: server_role(role),
                    target,
                    door: loopback.into(),
                }
            }
            BridgeEvent::Partial { direction, bytes } => BridgeNotice::Partial {
                n,
                direction,
                bytes,
            },
            BridgeEvent::MapChanged { map } => {
                let client = shared.with_clients(|clients, _now| {
                    clients.map_changed(n, &map);
                    clients.of(n)
                });
                BridgeNotice::MapChanged { n, client, map }
            }
            BridgeEvent::Command { line } => BridgeNotice::Command {
                n,
                client: shared.client_of(n),
                line,
            },
            BridgeEvent::AnswersDropped { lines } => {
                tracing::debug!(n, lines, "answers in the chat were dropped");
                return;
            }
        };
        shared.tell(notice);
    }

    /// `unread`: what waits outside of the core.
    fn stalled(&self, direction: Direction, unread: usize) {
        self.work(|core| {
            let waiting = core.waiting(direction) + unread;
            let reason = StepDownReason::Stalled { direction, waiting };
            core.step_down(Level::Opaque, reason)
        });
    }

    /// Chooses the packet table by what the client has said first. `false`: that is too little yet.
    fn decide(&self, head: &[u8], last: bool) -> bool {
        let role = self.role();
        let reading = self.versions(|all| all.on_client(role, head));
        let decided = reading.is_some();
        if let Some(reading) = reading {
            self.choose(reading);
        }
        decided || last
    }

    /// From the client to the stream. Safe to cancel: what it has not passed on is in `state`, except
    /// what `writer` had not taken, which is lost with the stream.
    pub(crate) async fn up(
        &self,
        mut client: ReadHalf<'_>,
        writer: &mut dyn GameWriter,
        state: &mut UpState,
        tally: &mut Tally,
    ) -> Result<UpEnd, Broken> {
        const UP: Direction = Direction::ClientToServer;
        let mut wire = BytesMut::new();
        loop {
            wire.clear();
            self.read_client(state, &mut wire, tally);
            let held = state.watch.as_ref().map_or(0, Watch::held);
            if !wire.is_empty() {
                match opener::write(writer, &wire).await {
                    Ok(()) => {}
                    Err(WriteGone::Stopped(_)) => return Ok(UpEnd::Stopped),
                    Err(WriteGone::Closed) => return Err(Broken::Link),
                }
            }
            if state.ended {
                writer.finish();
                return Ok(UpEnd::Finished);
            }
            tokio::select! {
                biased;
                code = opener::stopped(writer) => {
                    return code.map(|_| UpEnd::Stopped).ok_or(Broken::Link);
                }
                () = self.connection.due_up.notified() => {}
                read = state.reads.read(&mut client) => match read {
                    Ok(0) => state.ended = true,
                    Ok(_) => {}
                    Err(_) => return Err(Broken::Client),
                },
                () = settled(state.watch.as_ref()) => state.settle = true,
                () = state.stall.over(self.shared.limits.stall_after) => {
                    state.decided = true;
                    self.stalled(UP, held + state.reads.bytes().len());
                }
            }
        }
    }

    /// Gives the core what was read of the client, and puts what is for the endpoint into `wire`.
    fn read_client(&self, state: &mut UpState, wire: &mut BytesMut, tally: &mut Tally) {
        const UP: Direction = Direction::ClientToServer;
        let UpState { reads, ended, .. } = state;
        let ended = *ended;
        if !state.decided && !reads.is_empty() {
            state.decided = self.decide(reads.bytes(), ended || reads.is_full());
        }
        let path = (self.path)();
        let out = &mut |message: ToServer<'_>| {
            encode(wire, message, tally, &self.connection.up_bytes);
        };
        self.work(|core| core.release_to_server(path, out));
        if state.decided {
            let watch = &mut state.watch;
            let watch = watch.get_or_insert_with(|| Watch::new(self, self.role(), UP));
            for piece in reads.pieces() {
                let passed = watch.take(self, piece);
                let passed = passed.as_deref().unwrap_or(piece);
                self.work(|core| core.client_bytes(passed, path, out));
            }
            reads.clear();
            if std::mem::take(&mut state.settle) || ended {
                let passed = watch.settle(self);
                self.work(|core| core.client_bytes(&passed, path, out));
            }
            if ended || self.look(|core| core.level() == Level::Opaque) {
                let passed = watch.end();
                self.work(|core| core.client_bytes(&passed, path, out));
            }
        }
        let waiting = self.work(|core| {
            if ended {
                core.finish_client(path, out);
            }
            core.waiting(UP)
        });
        let held = state.watch.as_ref().map_or(0, Watch::held);
        let waiting = waiting + held + state.reads.bytes().len();
        state.stall.note(waiting, !wire.is_empty());
    }

    /// Gives the core what the server has said, and tells which servers have no door.
    pub(crate) fn server_bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        let path = (self.path)();
        let mut book = Book::new(self.shared);
        self.work(|core| {
            let push = &mut |bytes: &[u8]| out.extend_from_slice(bytes);
            core.server_bytes(bytes, path, &mut book, push);
        });
        book.tell();
    }

    /// From the stream to the client. `decoder`: what was read already.
    pub(crate) async fn down(
        &self,
        reader: &mut dyn GameReader,
        mut decoder: Decoder,
        mut client: WriteHalf<'_>,
        tally: &mut Tally,
    ) -> Result<(), Broken> {
        const DOWN: Direction = Direction::ServerToClient;
        let mut stall = Stall::default();
        let mut watch = Watch::new(self, self.role(), DOWN);
        let mut settle = false;
        let mut out = Vec::new();
        let mut ended = false;
        loop {
            // One write for each message: on an opaque connection it is one read of the server's.
            while let Some(message) = decoder.next_message().map_err(|_| Broken::Framing)? {
                if message.kind != MessageKind::Plain {
                    return Err(Broken::Framing);
                }
                tally.add(&message.body, &self.connection.down_bytes);
                let passed = watch.take(self, &message.body);
                self.server_bytes(passed.as_deref().unwrap_or(&message.body), &mut out);
                let waiting = self.look(|core| core.waiting(DOWN)) + watch.held();
                stall.note(waiting, !out.is_empty());
                write_out(&mut client, &mut out).await?;
            }
            if ended && decoder.buffered() > 0 {
                return Err(Broken::Framing);
            }
            if std::mem::take(&mut settle) || ended {
                let passed = watch.settle(self);
                self.server_bytes(&passed, &mut out);
            }
            if ended || self.look(|core| core.level() == Level::Opaque) {
                let passed = watch.end();
                self.server_bytes(&passed, &mut out);
            }
            let path = (self.path)();
            let waiting = self.work(|core| {
                let push = &mut |bytes: &[u8]| out.extend_from_slice(bytes);
                core.release_to_client(path, push);
                if ended {
                    core.finish_server(path, push);
                }
                core.waiting(DOWN)
            });
            if waiting + watch.held() == 0 {
                stall.note(0, false);
            }
            write_out(&mut client, &mut out).await?;
            if ended {
                // A client that has closed already needs no end.
                let _ = client.shutdown().await;
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.connection.due_down.notified() => {}
                read = opener::read(reader) => match read {
                    GameRead::Data(bytes) => decoder.push(&bytes),
                    // The client's socket stays as it is: another server may come behind it.
                    GameRead::Finished if may_return(self.shared, self.connection) => return Err(Broken::ServerClosed),
                    GameRead::Finished => ended = true,
                    GameRead::Reset(code) => return Err(Broken::Server(code)),
                    GameRead::Closed => return Err(Broken::Link),
                },
                () = watch.settled() => settle = true,
                () = stall.over(self.shared.limits.stall_after) => {
                    // While the link has no path the rest of a packet cannot come: that says
                    // nothing of the packet.
                    if (self.path)().is_some() {
                        self.stalled(DOWN, watch.held());
                    } else {
                        stall.restart();
                    }
                }
            }
        }
    }
}

/// Waits until a watch is to settle.
async fn settled(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.settled().await,
        None => std::future::pending().await,
    }
}

/// Writes what has come together, and keeps the room.
pub(crate) async fn write_out(client: &mut WriteHalf<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
    if !out.is_empty() {
        client.write_all(out).await.map_err(|_| Broken::Client)?;
        out.clear();
    }
    Ok(())
}

fn encode(wire: &mut BytesMut, message: ToServer<'_>, tally: &mut Tally, live: &AtomicU64) {
    match message.kind {
        MessageKind::KeepAlive => encode_keep_alive(wire, message.payload),
        MessageKind::Plain | MessageKind::Alone => {
            tally.add(message.payload, live);
            let alone = message.kind == MessageKind::Alone;
            encode_message(wire, message.payload, alone);
        }
    }
}
