//! One connection of the client: opening its stream, and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use warp_bridge_core::{BridgeConnection, Counters, FirstPacket, Level, Reading};
use warp_protocol::stream::{
    Decoder, OpenAnswer, OpenRequest, ServerRole, encode_open, reset as reset_code,
};
use warp_ro_packet::{Direction, Role};

use crate::bridge::Shared;
use crate::doors::{Upstream, reset};
use crate::lanes::{Broken, Lanes, Tally, UpEnd, UpState};
use crate::notice::{BridgeNotice, Carried, RefusedReason};
use crate::opener::{self, GameRead, OpenedStream, Origin};
use crate::reads::Reads;
use crate::reentry::{self, Again};

/// A connection that is open now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionView {
    /// Its number, from 1.
    pub n: u64,
    /// Whose it is.
    pub client: Option<u64>,
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
    /// Ring when something is due in a direction that nothing came in.
    pub(crate) due_up: Notify,
    pub(crate) due_down: Notify,
    /// Rings when a client without a server has loaded or wants to leave.
    pub(crate) away: Notify,
    /// Since when it has been without a server, until it has loaded the map of another.
    pub(crate) lost: Mutex<Option<Instant>>,
    /// The server behind it now, where that is not `upstream` any more.
    pub(crate) moved_to: Mutex<Option<SocketAddr>>,
}

impl Connection {
    pub(crate) fn counters(&self) -> Counters {
        *self.core.lock().counters()
    }

    pub(crate) fn view(&self, client: Option<u64>) -> ConnectionView {
        let (level, map) = {
            let core = self.core.lock();
            (core.level(), core.map().map(str::to_owned))
        };
        ConnectionView {
            n: self.n,
            client,
            role: self.upstream.role,
            target: self.target(),
            peer: self.peer,
            level,
            map,
            up_bytes: self.up_bytes.load(Ordering::Relaxed),
            down_bytes: self.down_bytes.load(Ordering::Relaxed),
        }
    }

    /// The server behind it.
    pub(crate) fn target(&self) -> SocketAddr {
        self.moved_to.lock().unwrap_or(self.upstream.target)
    }

    pub(crate) fn answer(&self, lines: &[String]) -> bool {
        let mut core = self.core.lock();
        let taken = core.answer(lines);
        self.ring(&core);
        taken
    }

    /// Wakes the directions in which something is due.
    pub(crate) fn ring(&self, core: &BridgeConnection) {
        if core.due(Direction::ClientToServer) {
            self.due_up.notify_one();
        }
        if core.due(Direction::ServerToClient) {
            self.due_down.notify_one();
        }
    }
}

/// Why a connection was not opened.
pub(crate) enum NotOpened {
    Refused(RefusedReason),
    /// The client did not wait for it.
    ClientGone,
    /// The bridge is closed.
    Stopped,
}

/// A stream whose other end is the server.
pub(crate) struct Ready {
    pub(crate) stream: OpenedStream,
    /// What came behind the answer.
    pub(crate) decoder: Decoder,
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
    let mut early = Reads::default();
    let opened = tokio::select! {
        biased;
        () = shared.stop.cancelled() => Err(NotOpened::Stopped),
        opened = first_packet_and_open(shared, &mut client, &mut early, n, upstream) => opened,
    };
    match opened {
        Ok((reading, ready)) => {
            tracing::info!(n, role = role.name(), server = %target, "game connection open");
            shared.tell(BridgeNotice::Opened {
                n,
                role,
                target,
                peer,
                client: shared.client_of(n),
            });
            let at_most = ready.stream.at_most;
            let level = if at_most.is_below(shared.level) {
                at_most
            } else {
                shared.level
            };
            let decided = reading.is_some() || level == Level::Opaque;
            let reading = reading.unwrap_or_else(|| shared.with_versions(|all| all.guess()));
            let mut core =
                BridgeConnection::new(packet_role(role), level, reading, shared.commands);
            if let Some(ids) = shared.recalls.ids(shared.client_of(n)) {
                core.set_ids(ids);
            }
            let connection = Arc::new(Connection {
                n,
                upstream,
                peer,
                core: Mutex::new(core),
                up_bytes: AtomicU64::new(0),
                down_bytes: AtomicU64::new(0),
                due_up: Notify::new(),
                due_down: Notify::new(),
                away: Notify::new(),
                lost: Mutex::new(None),
                moved_to: Mutex::new(None),
            });
            shared.enter(&connection);
            let early = Early {
                reads: early,
                decided,
            };
            carry(shared, &connection, client, early, ready).await;
            shared.leave(&connection);
        }
        Err(not_opened) => {
            reset(&client);
            drop(client);
            shared.with_clients(|clients, now| clients.ended(n, &Counters::default(), now));
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

/// What came before the stream was open.
pub(crate) struct Early {
    pub(crate) reads: Reads,
    /// The packet table is chosen.
    pub(crate) decided: bool,
}

async fn first_packet_and_open(
    shared: &Shared,
    client: &mut TcpStream,
    early: &mut Reads,
    n: u64,
    upstream: Upstream,
) -> Result<(Option<Reading>, Ready), NotOpened> {
    let (reading, account) = first_packet(shared, client, early, upstream.role).await?;
    // One that has said nothing, or nothing that can be read, is nobody's.
    let origin = match reading {
        Some(Reading::Framed { .. }) => origin(shared, n, upstream, account),
        Some(Reading::Opaque(_)) | None => Origin::default(),
    };
    tokio::select! {
        biased;
        gone = client_gone(client, early) => Err(gone),
        opened = open(shared, upstream, &origin, || ()) => Ok((reading, opened?)),
    }
}

/// Waits for the client's first packet, but not for long. Returns how the connection is to be read
/// and whose it is, as far as the packet says. Does not wait on opaque connections.
async fn first_packet(
    shared: &Shared,
    client: &mut TcpStream,
    early: &mut Reads,
    role: ServerRole,
) -> Result<(Option<Reading>, Option<u32>), NotOpened> {
    if shared.level == Level::Opaque {
        return Ok((None, None));
    }
    let role = packet_role(role);
    let until = Instant::now() + shared.limits.first_packet;
    let mut reading: Option<Reading> = None;
    while !early.is_full() {
        tokio::select! {
            biased;
            read = early.read(client) => match read {
                Ok(0) if early.is_empty() => return Err(NotOpened::ClientGone),
                // It said what it had to say.
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => return Err(NotOpened::ClientGone),
            },
            () = sleep_until(until) => break,
        }
        if reading.is_none() {
            reading = shared.with_versions(|all| all.on_client(role, early.bytes()));
        }
        match reading
            .as_ref()
            .map(|by| by.first_packet(role, early.bytes()))
        {
            Some(FirstPacket::Account(account)) => return Ok((reading, Some(account))),
            Some(FirstPacket::Other) => break,
            Some(FirstPacket::Unfinished) | None => {}
        }
    }
    Ok((reading, None))
}

/// Whose connection it is. One to the login server begins a new client.
fn origin(shared: &Shared, n: u64, upstream: Upstream, account: Option<u32>) -> Origin {
    shared.with_clients(|clients, _now| {
        let client = match (upstream.role, account) {
            (ServerRole::Login, _) => clients.begin(n),
            (ServerRole::Char | ServerRole::Map, Some(account)) => clients.account(n, account),
            (ServerRole::Char | ServerRole::Map, None) => None,
        };
        let map = match upstream.role {
            ServerRole::Map => client.and_then(|client| clients.map_at(client, upstream.target)),
            ServerRole::Login | ServerRole::Char => None,
        };
        Origin {
            client,
            map: map.map(str::to_owned),
        }
    })
}

/// `asked`: is called when the endpoint has been asked to dial.
pub(crate) async fn open(
    shared: &Shared,
    upstream: Upstream,
    origin: &Origin,
    asked: impl FnOnce(),
) -> Result<Ready, NotOpened> {
    let gone = |_| NotOpened::Refused(RefusedReason::LinkGone);
    let bad = NotOpened::Refused(RefusedReason::BadAnswer);
    let request = OpenRequest {
        target: upstream.target,
        role: upstream.role,
    };
    let mut stream = shared
        .opener
        .open(&request, origin)
        .await
        .map_err(|_| NotOpened::Refused(RefusedReason::LinkGone))?;
    let mut wire = BytesMut::new();
    if encode_open(&mut wire, &request).is_err() {
        return Err(bad);
    }
    opener::write(&mut *stream.writer, &wire)
        .await
        .map_err(gone)?;
    asked();
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
        match opener::read(&mut *stream.reader).await {
            GameRead::Data(bytes) => decoder.push(&bytes),
            GameRead::Closed | GameRead::Reset(reset_code::SESSION_END) => {
                return Err(NotOpened::Refused(RefusedReason::LinkGone));
            }
            GameRead::Finished | GameRead::Reset(_) => return Err(bad),
        }
    }
}

/// Reads the client's first bytes while its stream is opened, to notice when it gives up.
async fn client_gone(client: &mut TcpStream, early: &mut Reads) -> NotOpened {
    while !early.is_full() {
        match early.read(client).await {
            Ok(0) if early.is_empty() => return NotOpened::ClientGone,
            // It said what it had to say; the end is read again later.
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return NotOpened::ClientGone,
        }
    }
    std::future::pending().await
}

/// A stream with what it has carried.
pub(crate) struct Leg {
    pub(crate) ready: Ready,
    pub(crate) up: Tally,
    pub(crate) down: Tally,
}

/// Carries bytes both ways until both have ended, over one stream after the other if it has to.
async fn carry(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    mut client: TcpStream,
    early: Early,
    ready: Ready,
) {
    let mut state = UpState::new(early);
    let mut again = Again::default();
    let mut leg = Leg {
        ready,
        up: Tally::default(),
        down: Tally::default(),
    };
    loop {
        let target = connection.target();
        let (outcome, carried) = carry_leg(shared, connection, &mut client, &mut state, leg).await;
        let returns = again.wanted(shared, connection, outcome);
        let clean = outcome == Ok(UpEnd::Finished);
        if !returns {
            if outcome.is_err() {
                reset(&client);
            }
            // The socket is closed before it is told.
            drop(client);
            return tell_closed(shared, connection, target, clean, carried);
        }
        tell_closed(shared, connection, target, clean, carried);
        match reentry::run(shared, connection, &mut client, &mut state).await {
            Some(next) => {
                again.is_back(Instant::now());
                leg = next;
            }
            None => return reset(&client),
        }
    }
}

/// Carries bytes both ways over one stream, and ends it.
async fn carry_leg(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    client: &mut TcpStream,
    state: &mut UpState,
    leg: Leg,
) -> (Result<UpEnd, Broken>, (Carried, Carried)) {
    let Leg {
        ready,
        mut up,
        mut down,
    } = leg;
    let Ready {
        stream:
            OpenedStream {
                mut writer,
                mut reader,
                path,
                at_most: _,
            },
        decoder,
    } = ready;
    let lanes = Lanes::new(shared, connection, path);
    let outcome = {
        let (from_client, to_client) = client.split();
        let both = async {
            tokio::try_join!(
                lanes.up(from_client, &mut *writer, state, &mut up),
                lanes.down(&mut *reader, decoder, to_client, &mut down),
            )
        };
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => Err(Broken::Stopped),
            outcome = both => outcome.map(|(up, ())| up),
        }
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
            Broken::Client | Broken::Server(_) | Broken::ServerClosed | Broken::Link => {
                reset_code::CONNECTION_RESET
            }
        };
        writer.reset(code);
        reader.stop(code);
    }
    let (up, down) = (up.carried(), down.carried());
    tracing::info!(
        n = connection.n,
        role = connection.upstream.role.name(),
        server = %connection.target(),
        end,
        up_bytes = up.bytes,
        up_sha256 = up.sha256,
        down_bytes = down.bytes,
        down_sha256 = down.sha256,
        "game connection closed"
    );
    (outcome, (up, down))
}

fn tell_closed(
    shared: &Shared,
    connection: &Connection,
    target: SocketAddr,
    clean: bool,
    (up, down): (Carried, Carried),
) {
    shared.tell(BridgeNotice::Closed {
        n: connection.n,
        role: connection.upstream.role,
        target,
        clean,
        up,
        down,
    });
}

pub(crate) fn packet_role(role: ServerRole) -> Role {
    match role {
        ServerRole::Login => Role::Login,
        ServerRole::Char => Role::Char,
        ServerRole::Map => Role::Map,
    }
}
