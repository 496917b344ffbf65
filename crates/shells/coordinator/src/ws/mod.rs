//! The WebSockets: signaling (JSON text frames), link and relay (binary datagrams).

pub mod close;
pub(crate) mod endpoint;
pub(crate) mod link;
pub(crate) mod relay;
pub(crate) mod signaling;

use axum::extract::ws::{CloseFrame, Message};

/// Largest message that the WebSocket code reads at all, bytes. Above the limits of all sockets,
/// so that a message beyond those is read and answered with close 1009; beyond this one the rest of
/// the message is not read any more.
const MAX_READ: usize = 256 * 1024;

/// Bytes that a socket of datagrams reads at once, held for as long as it lives: two or three of the
/// largest.
const DATAGRAM_BUFFER: usize = 4 * 1024;

fn close_message(code: u16) -> Message {
    Message::Close(Some(CloseFrame {
        code,
        reason: close::reason(code).into(),
    }))
}

/// True when reading failed because a message was beyond [`MAX_READ`].
fn is_too_big(error: &axum::Error) -> bool {
    use tokio_tungstenite::tungstenite::Error;
    std::error::Error::source(error)
        .and_then(|inner| inner.downcast_ref::<Error>())
        .is_some_and(|e| matches!(e, Error::Capacity(_)))
}
