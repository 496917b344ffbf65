//! The two directions of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use warp_bridge_core::{BridgeConnection, BridgeEvent, Level, StepDownReason, ToServer};
use warp_protocol::stream::{Decoder, MessageFlags, encode_message};
use warp_ro_packet::Direction;

use crate::bridge::Shared;
use crate::connection::{Connection, read_some};
use crate::doors::{Book, server_role};
use crate::notice::{BridgeNotice, Carried};
use crate::opener::{GameRead, GameReader, GameWriter, WriteGone};

/// Why a connection did not end in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The client's socket was reset.
    Client,
    /// The endpoint reset the stream: the server's socket was, or the session ends.
    Server,
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
            Broken::Server => "server-reset",
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
#[derive(Default)]
pub(crate) struct Tally {
    bytes: u64,
    digest: Sha256,
}

impl Tally {
    fn add(&mut self, bytes: &[u8], live: &AtomicU64) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.digest.update(bytes);
        live.store(self.bytes, Ordering::Relaxed);
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

    async fn over(&self, after: Duration) {
        match self.since {
            Some(since) => sleep_until(since + after).await,
            None => std::future::pending().await,
        }
    }
}

/// What both directions of a connection share.
pub(crate) struct Lanes<'a> {
    shared: &'a Arc<Shared>,
    connection: &'a Connection,
    /// Rings when bytes may be released, because the other direction made the connection opaque.
    release_up: Notify,
    release_down: Notify,
}

impl<'a> Lanes<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>, connection: &'a Connection) -> Self {
        let lanes = Self {
            shared,
            connection,
            release_up: Notify::new(),
            release_down: Notify::new(),
        };
        // A connection without a packet table has stepped down already.
        lanes.work(|_core| ());
        lanes
    }

    /// Does something with the core and tells what came of it.
    fn work<R>(&self, work: impl FnOnce(&mut BridgeConnection) -> R) -> R {
        let mut events = Vec::new();
        let result = {
            let mut core = self.connection.core.lock();
            let result = work(&mut core);
            events.extend(std::iter::from_fn(|| core.poll_event()));
            result
        };
        for event in events {
            self.on_event(event);
        }
        result
    }

    fn on_event(&self, event: BridgeEvent) {
        let n = self.connection.n;
        let notice = match event {
            BridgeEvent::SteppedDown { from, to, reason } => {
                if to == Level::Opaque {
                    self.release_up.notify_one();
                    self.release_down.notify_one();
                }
                tracing::info!(n, ?from, ?to, %reason, "game connection stepped down");
                BridgeNotice::SteppedDown {
                    n,
                    from,
                    to,
                    reason,
                }
            }
            BridgeEvent::ServerAnnounced {
                role,
                upstream,
                loopback,
            } => BridgeNotice::ServerAnnounced {
                n,
                role: server_role(role),
                target: upstream.into(),
                door: loopback.into(),
            },
            BridgeEvent::Partial { direction, bytes } => BridgeNotice::Partial {
                n,
                direction,
                bytes,
            },
            BridgeEvent::MapChanged { map } => BridgeNotice::MapChanged { n, map },
        };
        self.shared.tell(notice);
    }

    fn stalled(&self, direction: Direction) {
        self.work(|core| {
            let waiting = core.waiting(direction);
            let reason = StepDownReason::Stalled { direction, waiting };
            core.step_down(Level::Opaque, reason)
        });
    }

    /// From the client to the stream. `bytes`: what was read already.
    pub(crate) async fn up(
        &self,
        mut client: ReadHalf<'_>,
        writer: &mut dyn GameWriter,
        mut bytes: BytesMut,
        tally: &mut Tally,
    ) -> Result<UpEnd, Broken> {
        const UP: Direction = Direction::ClientToServer;
        let mut stall = Stall::default();
        let mut ended = false;
        loop {
            let input = bytes.split().freeze();
            let mut outbox = Outbox {
                wire: BytesMut::new(),
                tally,
                live: &self.connection.up_bytes,
            };
            let waiting = self.work(|core| {
                let out = &mut |message| outbox.add(&message);
                if input.is_empty() {
                    core.release_to_server(out);
                } else {
                    core.client_bytes(input, out);
                }
                if ended {
                    core.finish_client(out);
                }
                core.waiting(UP)
            });
            let wire = outbox.wire.freeze();
            stall.note(waiting, !wire.is_empty());
            if !wire.is_empty() {
                match writer.write(wire).await {
                    Ok(()) => {}
                    Err(WriteGone::Stopped(_)) => return Ok(UpEnd::Stopped),
                    Err(WriteGone::Closed) => return Err(Broken::Link),
                }
            }
            if ended {
                writer.finish();
                return Ok(UpEnd::Finished);
            }
            tokio::select! {
                biased;
                code = writer.stopped() => {
                    return code.map(|_| UpEnd::Stopped).ok_or(Broken::Link);
                }
                () = self.release_up.notified() => {}
                read = read_some(&mut client, &mut bytes) => match read {
                    Ok(0) => ended = true,
                    Ok(_) => {}
                    Err(_) => return Err(Broken::Client),
                },
                () = stall.over(self.shared.limits.stall_after) => self.stalled(UP),
            }
        }
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
        let mut ended = false;
        loop {
            let mut bodies = Vec::new();
            while let Some(message) = decoder.next_message().map_err(|_| Broken::Framing)? {
                tally.add(&message.body, &self.connection.down_bytes);
                bodies.push(message.body);
            }
            if ended && decoder.buffered() > 0 {
                return Err(Broken::Framing);
            }
            let mut out = Vec::new();
            let mut book = Book::new(self.shared);
            let waiting = self.work(|core| {
                let push = &mut |bytes: Bytes| out.push(bytes);
                core.release_to_client(push);
                for body in bodies {
                    core.server_bytes(body, &mut book, push);
                }
                if ended {
                    core.finish_server(push);
                }
                core.waiting(DOWN)
            });
            book.tell();
            stall.note(waiting, !out.is_empty());
            for bytes in out {
                client.write_all(&bytes).await.map_err(|_| Broken::Client)?;
            }
            if ended {
                // A client that has closed already needs no end.
                let _ = client.shutdown().await;
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.release_down.notified() => {}
                read = reader.read() => match read {
                    GameRead::Data(bytes) => decoder.push(&bytes),
                    GameRead::Finished => ended = true,
                    GameRead::Reset(_) => return Err(Broken::Server),
                    GameRead::Closed => return Err(Broken::Link),
                },
                () = stall.over(self.shared.limits.stall_after) => self.stalled(DOWN),
            }
        }
    }
}

/// Messages for the endpoint, encoded.
struct Outbox<'a> {
    wire: BytesMut,
    tally: &'a mut Tally,
    live: &'a AtomicU64,
}

impl Outbox<'_> {
    fn add(&mut self, message: &ToServer) {
        self.tally.add(&message.payload, self.live);
        let flags = MessageFlags {
            alone: message.alone,
        };
        encode_message(&mut self.wire, &message.payload, flags);
    }
}
