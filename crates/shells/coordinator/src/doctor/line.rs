//! One connection to a game server: packets out, frames in, over whoever dials.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use warp_link_driver::{ReadEvent, StreamReader, StreamWriter};
use warp_protocol::stream::{Decoder, OpenRefused, ServerRole, encode_message};
use warp_ro_packet::{Direction, Frame, FrameKind, Framer, PacketTable, Role};

use super::{
    Finding,
    session::{NotDialled, Session},
};

/// Longest that a server may take to be connected to, and for each answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Most packets that are looked at for an answer.
const MAX_FRAMES: usize = 512;

/// Where a step is.
pub(super) struct At<'a> {
    pub(super) step: &'static str,
    pub(super) tried: &'a str,
    pub(super) server: &'static str,
    /// Where its address was taken from.
    pub(super) place: &'static str,
    /// Who dials; none: this process.
    pub(super) session: Option<&'a Session>,
}

impl At<'_> {
    pub(super) fn bad(&self, came: impl Into<String>, change: impl Into<String>) -> Finding {
        Finding::bad(self.step, self.tried, came, change)
    }

    /// Whose address the game servers see.
    fn from(&self) -> &'static str {
        match self.session {
            Some(_) => "the endpoint's machine",
            None => "this machine",
        }
    }
}

/// One connection to a game server.
pub(super) struct Line {
    stream: Stream,
    framer: Framer,
}

impl Line {
    pub(super) async fn open(
        at: &At<'_>,
        role: Role,
        address: SocketAddr,
        table: &Arc<PacketTable>,
    ) -> Result<Self, Finding> {
        let stream = match at.session {
            Some(session) => {
                let dialled = session.dial(address, server_role(role)).await;
                dialled.map_err(|why| not_dialled(at, address, &why))?
            }
            None => dial(at, address).await?,
        };
        let framer = Framer::new(Arc::clone(table), role, Direction::ServerToClient);
        Ok(Self { stream, framer })
    }

    pub(super) async fn send(&mut self, at: &At<'_>, packet: &[u8]) -> Result<(), Finding> {
        match timeout(ANSWER, self.stream.write(packet)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(closed(at, &error)),
            Err(_) => Err(closed(at, "it does not read")),
        }
    }

    /// The next packet with such an id; others are passed over.
    pub(super) async fn until(
        &mut self,
        at: &At<'_>,
        wanted: impl Fn(u16) -> bool,
    ) -> Result<(u16, Vec<u8>), Finding> {
        let deadline = Instant::now() + ANSWER;
        let mut buffer = [0; 4096];
        for _ in 0..MAX_FRAMES {
            while let Some(Frame { kind, bytes }) = self.framer.next_frame() {
                match kind {
                    FrameKind::Packet(id) if wanted(id) => return Ok((id, bytes.to_vec())),
                    FrameKind::Packet(_) | FrameKind::RawAid => {}
                    FrameKind::Raw => {
                        let change = format!(
                            "is `game.packet_version` right, and is it a Ragnarok {} without a game shield?",
                            at.server
                        );
                        return Err(at.bad("it answers with bytes that are no packets", change));
                    }
                }
            }
            let read = tokio::time::timeout_at(deadline, self.stream.read(&mut buffer)).await;
            match read {
                Ok(Ok(0)) => return Err(closed(at, "it closed the connection")),
                Ok(Ok(count)) => self.framer.push(buffer.get(..count).unwrap_or_default()),
                Ok(Err(error)) => return Err(closed(at, &error)),
                Err(_) => {
                    let change = format!("look into the log of the {}", at.server);
                    return Err(at.bad("no answer within 5 s", change));
                }
            }
        }
        Err(at.bad(
            "it answers with much, and not with what is due",
            "look into its log",
        ))
    }
}

fn server_role(role: Role) -> ServerRole {
    match role {
        Role::Login => ServerRole::Login,
        Role::Char => ServerRole::Char,
        Role::Map => ServerRole::Map,
    }
}

/// Connects from this process.
async fn dial(at: &At<'_>, address: SocketAddr) -> Result<Stream, Finding> {
    match timeout(ANSWER, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            Ok(Stream::Tcp(stream))
        }
        Ok(Err(error)) => Err(at.bad(error.to_string(), start_it(at, address))),
        Err(_) => Err(at.bad("no connection within 5 s", let_through(at, address))),
    }
}

fn start_it(at: &At<'_>, address: SocketAddr) -> String {
    let (server, place, from) = (at.server, at.place, at.from());
    format!("start the {server}, or correct {place}; from {from} nothing listens at {address}")
}

fn let_through(at: &At<'_>, address: SocketAddr) -> String {
    let (place, from) = (at.place, at.from());
    format!("let {from} through the firewall of {address}, or correct {place}")
}

/// The endpoint has no connection.
fn not_dialled(at: &At<'_>, address: SocketAddr, why: &NotDialled) -> Finding {
    let (came, change) = match why {
        NotDialled::Refused(OpenRefused::ServerRefused) => {
            ("the connection was refused", start_it(at, address))
        }
        NotDialled::Refused(OpenRefused::ServerTimeout) => (
            "the endpoint got no connection in time",
            let_through(at, address),
        ),
        NotDialled::Refused(OpenRefused::Unreachable) => {
            ("the endpoint cannot reach it", let_through(at, address))
        }
        NotDialled::Refused(OpenRefused::NotAllowed) => (
            "the endpoint may not dial it",
            format!("name {address} in the zone file, and put the zone again"),
        ),
        NotDialled::Refused(OpenRefused::TooManyConnections | OpenRefused::BadRequest)
        | NotDialled::Link => (
            "the link to the endpoint does not carry it",
            "look into the log of the endpoint, which is the coordinator's where it is embedded"
                .to_owned(),
        ),
    };
    at.bad(came, change)
}

fn closed(at: &At<'_>, what: &str) -> Finding {
    let change = format!(
        "look into the log of the {}; its protection against floods or its list of banned addresses may \
         hold the address of {}: allow it there (rAthena: ip rules in conf/packet_athena.conf, \
         ipban in the login server's configuration)",
        at.server,
        at.from()
    );
    at.bad(what, change)
}

/// A connection to a game server.
pub(super) enum Stream {
    /// From this process.
    Tcp(TcpStream),
    /// From the endpoint.
    Link {
        writer: StreamWriter,
        reader: StreamReader,
        decoder: Decoder,
        /// Of a message that was not read to its end.
        ready: Bytes,
    },
}

impl Stream {
    pub(super) async fn write(&mut self, packet: &[u8]) -> Result<(), String> {
        match self {
            Self::Tcp(stream) => stream.write_all(packet).await.map_err(|e| e.to_string()),
            Self::Link { writer, .. } => {
                let mut message = BytesMut::new();
                encode_message(&mut message, packet, false);
                writer
                    .write(message.freeze())
                    .await
                    .map_err(|e| e.to_string())
            }
        }
    }

    /// Reads something; 0: the other side has closed.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, String> {
        match self {
            Self::Tcp(stream) => stream.read(buffer).await.map_err(|e| e.to_string()),
            Self::Link {
                reader,
                decoder,
                ready,
                ..
            } => {
                while ready.is_empty() {
                    if let Some(message) = decoder.next_message().map_err(|e| e.to_string())? {
                        *ready = message.body;
                        continue;
                    }
                    match reader.read().await {
                        ReadEvent::Data(bytes) => decoder.push(&bytes),
                        ReadEvent::Finished => return Ok(0),
                        ReadEvent::Reset(_) => return Err("connection reset".to_owned()),
                        ReadEvent::Closed => return Err("the link has ended".to_owned()),
                    }
                }
                let count = ready.len().min(buffer.len());
                let taken = ready.split_to(count);
                if let Some(place) = buffer.get_mut(..count) {
                    place.copy_from_slice(&taken);
                }
                Ok(count)
            }
        }
    }
}
