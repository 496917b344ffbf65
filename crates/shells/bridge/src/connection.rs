//! One connection of the client: opening its stream, and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, BytesMut};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use warp_bridge_core::{BridgeConnection, Counters, Level};
use warp_protocol::stream::{
    Decoder, OpenAnswer, OpenRequest, ServerRole, encode_open, reset as reset_code,
};
use warp_ro_packet::Role;

use crate::bridge::Shared;
use crate::doors::{Upstream, reset};
use crate::lanes::{Broken, Lanes, UpEnd};
use crate::notice::{BridgeNotice, RefusedReason};
use crate::opener::{GameRead, OpenedStream};

/// Bytes of the client that are read before the stream takes them.
pub(crate) const READ_SIZE: usize = 16 * 1024;

/// A connection that is open now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionView {
    /// Its number, from 1.
    pub n: u64,
    /// Which server.
    pub role: ServerRole,
    /// Where it really is.
    pub target: SocketAddr,
    /// The client's address.
    pub peer: SocketAddr,
    /// How far it is read.
    pub level: Level,
    /// The map that the server last sent the player to here.
    pub map: Option<String>,
    /// Bytes from the client.
    pub up_bytes: u64,
    /// Bytes to the client.
    pub down_bytes: u64,
}

/// What others can see of a connection.
pub(crate) struct Connection {
    pub(crate) n: u64,
    pub(crate) upstream: Upstream,
    pub(crate) peer: SocketAddr,
    /// Never held across an await.
    pub(crate) core: Mutex<BridgeConnection>,
    pub(crate) up_bytes: AtomicU64,
    pub(crate) down_bytes: AtomicU64,
}

impl Connection {
    pub(crate) fn counters(&self) -> Counters {
        *self.core.lock().counters()
    }

    pub(crate) fn view(&self) -> ConnectionView {
        let (level, map) = {
            let core = self.core.lock();
            (core.level(), core.map().map(str::to_owned))
        };
        ConnectionView {
            n: self.n,
            role: self.upstream.role,
            target: self.upstream.target,
            peer: self.peer,
            level,
            map,
            up_bytes: self.up_bytes.load(Ordering::Relaxed),
            down_bytes: self.down_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Why a connection was not opened.
enum NotOpened {
    Refused(RefusedReason),
    /// The client did not wait for it.
    ClientGone,
    /// The bridge is closed.
    Stopped,
}

/// A stream whose other end is the server.
struct Ready {
    stream: OpenedStream,
    /// What came behind the answer.
    decoder: Decoder,
}

/// From the first to the last byte.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    mut client: TcpStream,
    n: u64,
    peer: SocketAddr,
    upstream: Upstream,
) {
    let Upstream { role, target } = upstream;
    if let Err(error) = client.set_nodelay(true) {
        tracing::debug!(n, %error, "TCP_NODELAY is not possible");
    }
    let mut early = BytesMut::new();
    let opened = tokio::select! {
        biased;
        () = shared.stop.cancelled() => Err(NotOpened::Stopped),
        gone = client_gone(&mut client, &mut early) => Err(gone),
        opened = open(shared, upstream) => opened,
    };
    match opened {
        Ok(ready) => {
            tracing::info!(n, role = role.name(), server = %target, "game connection open");
            shared.tell(BridgeNotice::Opened {
                n,
                role,
                target,
                peer,
            });
            let connection = Arc::new(Connection {
                n,
                upstream,
                peer,
                core: Mutex::new(BridgeConnection::new(
                    packet_role(role),
                    shared.table,
                    shared.level,
                )),
                up_bytes: AtomicU64::new(0),
                down_bytes: AtomicU64::new(0),
            });
            shared.enter(&connection);
            carry(shared, &connection, client, early, ready).await;
            shared.leave(&connection);
        }
        Err(not_opened) => {
            reset(&client);
            drop(client);
            match not_opened {
                NotOpened::Refused(reason) => {
                    tracing::info!(n, role = role.name(), server = %target, ?reason, "game connection refused");
                    shared.tell(BridgeNotice::Refused {
                        n,
                        role,
                        target,
                        reason,
                    });
                }
                NotOpened::ClientGone | NotOpened::Stopped => {
                    tracing::debug!(n, "the client's connection ended before it was open");
                }
            }
        }
    }
}

async fn open(shared: &Shared, upstream: Upstream) -> Result<Ready, NotOpened> {
    let gone = |_| NotOpened::Refused(RefusedReason::LinkGone);
    let bad = NotOpened::Refused(RefusedReason::BadAnswer);
    let request = OpenRequest {
        target: upstream.target,
        role: upstream.role,
    };
    let mut stream = shared
        .opener
        .open(&request)
        .await
        .map_err(|_| NotOpened::Refused(RefusedReason::LinkGone))?;
    let mut wire = BytesMut::new();
    if encode_open(&mut wire, &request).is_err() {
        return Err(bad);
    }
    stream.writer.write(wire.freeze()).await.map_err(gone)?;
    let mut decoder = Decoder::default();
    loop {
        match decoder.next_open::<OpenAnswer>() {
            Ok(Some(OpenAnswer::Open)) => return Ok(Ready { stream, decoder }),
            Ok(Some(OpenAnswer::Refused { reason })) => {
                stream.writer.finish();
                return Err(NotOpened::Refused(RefusedReason::Endpoint(reason)));
            }
            Ok(None) => {}
            Err(_) => return Err(bad),
        }
        match stream.reader.read().await {
            GameRead::Data(bytes) => decoder.push(&bytes),
            GameRead::Closed | GameRead::Reset(reset_code::SESSION_END) => {
                return Err(NotOpened::Refused(RefusedReason::LinkGone));
            }
            GameRead::Finished | GameRead::Reset(_) => return Err(bad),
        }
    }
}

/// Reads the client's first bytes while its stream is opened, to notice when it gives up.
async fn client_gone(client: &mut TcpStream, early: &mut BytesMut) -> NotOpened {
    while early.len() < READ_SIZE {
        match read_some(client, early).await {
            Ok(0) if early.is_empty() => return NotOpened::ClientGone,
            // It said what it had to say; the end is read again later.
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return NotOpened::ClientGone,
        }
    }
    std::future::pending().await
}

/// Reads what is there, until `buffer` holds [`READ_SIZE`]. Safe to cancel.
pub(crate) async fn read_some(
    socket: &mut (impl AsyncReadExt + Unpin),
    buffer: &mut BytesMut,
) -> std::io::Result<usize> {
    let room = READ_SIZE.saturating_sub(buffer.len());
    buffer.reserve(room);
    socket.read_buf(&mut (&mut *buffer).limit(room)).await
}

/// Carries bytes both ways until both have ended.
async fn carry(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    mut client: TcpStream,
    early: BytesMut,
    ready: Ready,
) {
    let Ready {
        stream: OpenedStream {
            mut writer,
            mut reader,
        },
        decoder,
    } = ready;
    let lanes = Lanes::new(shared, connection);
    let (outcome, up, down) = {
        let (from_client, to_client) = client.split();
        let (mut up, mut down) = (Default::default(), Default::default());
        let both = async {
            tokio::try_join!(
                lanes.up(from_client, &mut *writer, early, &mut up),
                lanes.down(&mut *reader, decoder, to_client, &mut down),
            )
        };
        let outcome = tokio::select! {
            biased;
            () = shared.stop.cancelled() => Err(Broken::Stopped),
            outcome = both => outcome.map(|(up, ())| up),
        };
        (outcome, up, down)
    };
    let end = match outcome {
        Ok(UpEnd::Finished) => "clean",
        Ok(UpEnd::Stopped) => "server-gone",
        Err(broken) => broken.name(),
    };
    if let Err(broken) = outcome {
        let code = match broken {
            Broken::Stopped => reset_code::SESSION_END,
            Broken::Framing => reset_code::BAD_FRAMING,
            Broken::Client | Broken::Server | Broken::Link => reset_code::CONNECTION_RESET,
        };
        writer.reset(code);
        reader.stop(code);
        reset(&client);
    }
    // The socket is closed before it is told.
    drop(client);
    let (n, Upstream { role, target }) = (connection.n, connection.upstream);
    let (up, down) = (up.carried(), down.carried());
    tracing::info!(
        n,
        role = role.name(),
        server = %target,
        end,
        up_bytes = up.bytes,
        up_sha256 = up.sha256,
        down_bytes = down.bytes,
        down_sha256 = down.sha256,
        "game connection closed"
    );
    shared.tell(BridgeNotice::Closed {
        n,
        role,
        target,
        clean: outcome == Ok(UpEnd::Finished),
        up,
        down,
    });
}

fn packet_role(role: ServerRole) -> Role {
    match role {
        ServerRole::Login => Role::Login,
        ServerRole::Char => Role::Char,
        ServerRole::Map => Role::Map,
    }
}
