//! Framing of a game stream: one TCP connection of the game client on one bidirectional QUIC stream.
//!
//! ```text
//! engine → endpoint   open request, then messages, then FIN (half-close) or RESET
//! endpoint → engine   open answer, then messages, then FIN or RESET
//!
//! open request  u16 LE length, JSON OpenRequest
//! open answer   u16 LE length, JSON OpenAnswer
//! message       u16 LE length n (1..=65535), u8 flags, n bytes
//! ```
//!
//! One message towards the server is one write of the client: a whole game packet when the bridge
//! frames the stream. The endpoint makes one socket write of it, because rAthena closes a
//! connection whose packet arrives in two pieces.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Bytes in front of each message.
pub const MESSAGE_HEADER: usize = 3;
/// Longest message body, bytes; what the length field can say.
pub const MAX_MESSAGE: usize = u16::MAX as usize;
/// Longest open request or answer, bytes. They are small JSON objects.
pub const MAX_OPEN: usize = 1024;

/// Reset and stop codes of a game stream on the wire.
pub mod reset {
    /// The TCP connection behind it was reset.
    pub const CONNECTION_RESET: u32 = 1;
    /// The side that sends it is ending the whole session.
    pub const SESSION_END: u32 = 2;
    /// The other side broke the framing.
    pub const BAD_FRAMING: u32 = 3;
}

/// Which of the three servers a connection goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum ServerRole {
    /// Login server.
    Login,
    /// Character server.
    Char,
    /// Map server.
    Map,
}

impl ServerRole {
    /// The name used in events and logs.
    pub fn name(self) -> &'static str {
        match self {
            ServerRole::Login => "login",
            ServerRole::Char => "char",
            ServerRole::Map => "map",
        }
    }
}

/// First thing on a game stream: what to dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// Address of the game server as the zone names it.
    pub target: SocketAddr,
    /// Which server it is.
    pub role: ServerRole,
}

/// The endpoint's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum OpenAnswer {
    /// The server's socket is open.
    Open,
    /// Not opened, and why.
    Refused {
        /// The reason.
        reason: OpenRefused,
    },
}

/// Why the endpoint did not open a connection to the game server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum OpenRefused {
    /// The zone's allow-list does not name the address.
    NotAllowed,
    /// The game server refused the connection.
    ServerRefused,
    /// The game server did not answer in time.
    ServerTimeout,
    /// The address cannot be reached from the endpoint.
    Unreachable,
    /// The session has as many connections as it may have.
    TooManyConnections,
    /// The request could not be read.
    BadRequest,
}

/// What a message carries beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageFlags {
    /// It must be the only thing in its TCP segment: write nothing more until the server answered.
    pub alone: bool,
}

impl MessageFlags {
    const ALONE: u8 = 1;

    fn to_byte(self) -> u8 {
        if self.alone { Self::ALONE } else { 0 }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self { alone: false }),
            Self::ALONE => Some(Self { alone: true }),
            _ => None,
        }
    }
}

/// One write of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The bytes, 1..=65535 of them.
    pub body: Bytes,
    /// How to hand them on.
    pub flags: MessageFlags,
}

/// Appends `body` to `out`; a body over [`MAX_MESSAGE`] becomes several messages, an empty one none.
pub fn encode_message(out: &mut BytesMut, body: &[u8], flags: MessageFlags) {
    for part in body.chunks(MAX_MESSAGE) {
        out.reserve(MESSAGE_HEADER + part.len());
        // `chunks` bounds the length to what a u16 holds.
        out.put_u16_le(part.len() as u16);
        out.put_u8(flags.to_byte());
        out.put_slice(part);
    }
}

/// Appends a length-prefixed JSON object: an open request or answer.
pub fn encode_open<T: Serialize>(out: &mut BytesMut, value: &T) -> Result<(), FramingError> {
    let json = serde_json::to_vec(value).map_err(|_| FramingError::BadOpen)?;
    if json.len() > MAX_OPEN {
        return Err(FramingError::BadOpen);
    }
    out.put_u16_le(json.len() as u16);
    out.put_slice(&json);
    Ok(())
}

/// The other side broke the framing; the stream cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A message of length zero.
    #[error("empty message on a game stream")]
    EmptyMessage,
    /// Flag bits that this version does not know.
    #[error("unknown message flags {0:#04x} on a game stream")]
    UnknownFlags(u8),
    /// An open request or answer that is too long or not the JSON expected.
    #[error("unreadable open request or answer on a game stream")]
    BadOpen,
}

/// Cuts a game stream into its parts. Holds at most one message (64 KiB) plus what was pushed last.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes held that do not make a whole part yet.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The open request or answer, when all of it has come.
    pub fn next_open<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>, FramingError> {
        let Some(length) = self.length() else {
            return Ok(None);
        };
        if length > MAX_OPEN {
            return Err(FramingError::BadOpen);
        }
        if self.buffer.len() < 2 + length {
            return Ok(None);
        }
        self.buffer.advance(2);
        let json = self.buffer.split_to(length);
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|_| FramingError::BadOpen)
    }

    /// The next message, when all of it has come.
    pub fn next_message(&mut self) -> Result<Option<Message>, FramingError> {
        let Some(length) = self.length() else {
            return Ok(None);
        };
        if length == 0 {
            return Err(FramingError::EmptyMessage);
        }
        let Some(&flag_byte) = self.buffer.get(2) else {
            return Ok(None);
        };
        let flags =
            MessageFlags::from_byte(flag_byte).ok_or(FramingError::UnknownFlags(flag_byte))?;
        if self.buffer.len() < MESSAGE_HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(MESSAGE_HEADER);
        let body = self.buffer.split_to(length).freeze();
        Ok(Some(Message { body, flags }))
    }

    fn length(&self) -> Option<usize> {
        let bytes: [u8; 2] = self.buffer.get(..2)?.try_into().ok()?;
        Some(usize::from(u16::from_le_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_survive_any_segmentation(
            bodies in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..300), any::<bool>()), 1..20),
            cut in 1usize..50,
        ) {
            let mut wire = BytesMut::new();
            for (body, alone) in &bodies {
                encode_message(&mut wire, body, MessageFlags { alone: *alone });
            }
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in wire.chunks(cut) {
                decoder.push(piece);
                while let Some(message) = decoder.next_message().unwrap() {
                    seen.push((message.body.to_vec(), message.flags.alone));
                }
            }
            prop_assert_eq!(seen, bodies);
            prop_assert_eq!(decoder.buffered(), 0);
        }

        #[test]
        fn any_bytes_are_refused_or_waited_for_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            let _ = decoder.next_open::<OpenRequest>();
            while let Ok(Some(message)) = decoder.next_message() {
                prop_assert!(!message.body.is_empty());
            }
        }
    }

    #[test]
    fn a_long_write_becomes_several_messages_and_no_byte_is_lost() {
        let body = vec![5u8; MAX_MESSAGE + 10];
        let mut wire = BytesMut::new();
        encode_message(&mut wire, &body, MessageFlags::default());
        let mut decoder = Decoder::default();
        decoder.push(&wire);
        let first = decoder.next_message().unwrap().unwrap();
        let second = decoder.next_message().unwrap().unwrap();
        assert_eq!((first.body.len(), second.body.len()), (MAX_MESSAGE, 10));
    }

    #[test]
    fn open_request_round_trips() {
        let request = OpenRequest {
            target: "127.0.0.1:6900".parse().unwrap(),
            role: ServerRole::Login,
        };
        let mut wire = BytesMut::new();
        encode_open(&mut wire, &request).unwrap();
        let mut decoder = Decoder::default();
        decoder.push(&wire[..3]);
        assert_eq!(decoder.next_open::<OpenRequest>(), Ok(None));
        decoder.push(&wire[3..]);
        assert_eq!(decoder.next_open(), Ok(Some(request)));
    }
}
