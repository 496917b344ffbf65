//! One game stream: what it asks for, and dialling the server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use warp_link_driver::{GameStream, ReadEvent, StreamReader, StreamWriter};
use warp_protocol::stream::{
    Decoder, OpenAnswer, OpenRefused, OpenRequest, encode_open, reset as reset_code,
};

use crate::lanes::{self, Broken, Lanes, UpEnd};
use crate::session::Session;

/// Send buffer asked for each socket to a game server, bytes. Linux doubles it and keeps it from
/// shrinking, and caps it at `net.core.wmem_max`; with the usual cap of 212,992 the buffer has
/// 425,984 bytes, a third of which holds two of the longest messages.
pub const SEND_BUFFER: u32 = 256 * 1024;

/// From the request to the last byte.
pub(crate) async fn serve(session: &Arc<Session>, stream: GameStream) {
    let number = stream.number();
    let (mut writer, mut reader) = stream.split();
    let mut decoder = Decoder::default();
    let opened = tokio::select! {
        biased;
        () = session.stopped() => {
            end(&mut writer, &mut reader, reset_code::SESSION_END);
            return;
        }
        opened = open(session, &mut reader, &mut decoder) => opened,
    };
    let (request, socket, place) = match opened {
        Ok(opened) => opened,
        Err(NotOpened { reason, request }) => {
            let target = request.map(|request| request.target.to_string());
            tracing::info!(
                session = session.id(),
                stream = number,
                target,
                ?reason,
                "stream refused"
            );
            let refusal = OpenAnswer::Refused { reason };
            tokio::select! {
                () = session.stopped() => {}
                () = answer(&mut writer, &refusal) => writer.finish(),
            }
            return;
        }
    };
    tracing::info!(
        session = session.id(),
        stream = number,
        role = request.role.name(),
        target = %request.target,
        "stream opened"
    );
    writer.prioritise(request.role.priority());
    let carried = carry(session, socket, (&mut writer, &mut reader), decoder).await;
    drop(place);
    let Carried {
        end,
        up,
        down,
        split,
        kept_alive,
    } = carried;
    let (up_bytes, up_sha256) = up.finish();
    let (down_bytes, down_sha256) = down.finish();
    tracing::info!(
        session = session.id(),
        stream = number,
        role = request.role.name(),
        target = %request.target,
        end,
        up_bytes,
        up_sha256,
        down_bytes,
        down_sha256,
        kept_alive,
        "stream closed"
    );
    if split > 0 {
        tracing::warn!(
            session = session.id(),
            stream = number,
            writes = split,
            "packets had to be written in two pieces; the game server may have closed the connection"
        );
    }
}

/// Nothing was dialled, or nobody answered.
struct NotOpened {
    reason: OpenRefused,
    request: Option<OpenRequest>,
}

type Opened = (OpenRequest, TcpStream, tokio::sync::OwnedSemaphorePermit);

async fn open(
    session: &Session,
    reader: &mut StreamReader,
    decoder: &mut Decoder,
) -> Result<Opened, NotOpened> {
    let refuse = |reason, request| NotOpened { reason, request };
    let place = Arc::clone(&session.places)
        .try_acquire_owned()
        .map_err(|_| refuse(OpenRefused::TooManyConnections, None))?;
    let request = timeout(session.limits.request, read_request(reader, decoder))
        .await
        .ok()
        .flatten()
        .ok_or_else(|| refuse(OpenRefused::BadRequest, None))?;
    if !session.game.allows(request.target) {
        return Err(refuse(OpenRefused::NotAllowed, Some(request)));
    }
    match timeout(session.limits.dial, dial(request.target)).await {
        Ok(Ok(socket)) => Ok((request, socket, place)),
        Ok(Err(error)) => {
            tracing::debug!(target = %request.target, %error, "cannot dial");
            let reason = match error.kind() {
                io::ErrorKind::ConnectionRefused => OpenRefused::ServerRefused,
                io::ErrorKind::TimedOut => OpenRefused::ServerTimeout,
                _ => OpenRefused::Unreachable,
            };
            Err(refuse(reason, Some(request)))
        }
        Err(_elapsed) => Err(refuse(OpenRefused::ServerTimeout, Some(request))),
    }
}

/// `None`: it did not come, or is not one.
async fn read_request(reader: &mut StreamReader, decoder: &mut Decoder) -> Option<OpenRequest> {
    loop {
        // Its length is checked before its bytes are waited for.
        if let Some(request) = decoder.next_open::<OpenRequest>().ok()? {
            return Some(request);
        }
        match reader.read().await {
            ReadEvent::Data(bytes) => decoder.push(&bytes),
            ReadEvent::Finished | ReadEvent::Reset(_) | ReadEvent::Closed => return None,
        }
    }
}

async fn dial(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Err(error) = socket.set_send_buffer_size(SEND_BUFFER) {
        tracing::debug!(%error, "the send buffer keeps its size");
    }
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn answer(writer: &mut StreamWriter, answer: &OpenAnswer) {
    let mut wire = BytesMut::new();
    if encode_open(&mut wire, answer).is_ok() {
        // Whoever is not there any more needs no answer.
        let _ = writer.write(wire.freeze()).await;
    }
}

fn end(writer: &mut StreamWriter, reader: &mut StreamReader, code: u32) {
    writer.reset(code);
    reader.stop(code);
}

/// What became of a stream.
struct Carried<'a> {
    end: &'static str,
    up: lanes::Tally<'a>,
    down: lanes::Tally<'a>,
    split: u64,
    kept_alive: u64,
}

/// Carries bytes both ways until both have ended.
async fn carry<'a>(
    session: &'a Session,
    mut socket: TcpStream,
    (writer, reader): (&mut StreamWriter, &mut StreamReader),
    decoder: Decoder,
) -> Carried<'a> {
    let (mut up, mut down) = (
        lanes::Tally::new(&session.up_bytes),
        lanes::Tally::new(&session.down_bytes),
    );
    let lanes = Lanes::new(&session.limits);
    let outcome = {
        let (from_server, to_server) = socket.split();
        let both = async {
            answer(writer, &OpenAnswer::Open).await;
            tokio::try_join!(
                lanes.up(reader, decoder, to_server, &mut up),
                lanes.down(from_server, writer, &mut down),
            )
        };
        tokio::select! {
            biased;
            () = session.stopped() => Err(Broken::SessionEnd),
            outcome = both => outcome.map(|(up, ())| up),
        }
    };
    let name = match outcome {
        Ok(UpEnd::Finished) => "clean",
        Ok(UpEnd::ServerGone) => "server-gone",
        Err(broken) => broken.name(),
    };
    if let Err(broken) = outcome {
        let code = match broken {
            Broken::SessionEnd | Broken::Link => reset_code::SESSION_END,
            Broken::Framing => reset_code::BAD_FRAMING,
            Broken::Client | Broken::Server => reset_code::CONNECTION_RESET,
        };
        end(writer, reader, code);
        // A client's reset becomes one; a session that ends closes its connections in good order.
        if matches!(broken, Broken::Client | Broken::Framing)
            && let Err(error) = socket.set_zero_linger()
        {
            tracing::debug!(%error, "a socket cannot be reset, only closed");
        }
    }
    drop(socket);
    Carried {
        end: name,
        up,
        down,
        split: lanes.split_writes(),
        kept_alive: lanes.kept_alive(),
    }
}
