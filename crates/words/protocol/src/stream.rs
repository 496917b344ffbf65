//! Framing of a game stream: one TCP connection of the game client on one bidirectional QUIC stream.
//!
//! ```text
//! engine → endpoint   open request, then messages, then FIN (half-close) or RESET
//! endpoint → engine   open answer, then messages, then FIN or RESET
//!
//! open request  u16 LE length, JSON OpenRequest
//! open answer   u16 LE length, JSON OpenAnswer
//! message       u16 LE length n (0..=65535), u8 flags, n bytes
//! ```
//!
//! | flag | name | meaning |
//! |---|---|---|
//! | bit 0 | alone | nothing may be written behind it before the server has answered |
//! | bit 1 | keep-alive | not to be written now, see below |
//!
//! One message towards the server is one write of the client: a whole game packet when the bridge
//! frames the stream. The endpoint makes one socket write of it, because rAthena closes a
//! connection whose packet arrives in two pieces.
//!
//! # Keep-alive
//! A game server closes a map connection that has been silent for 60 s. The body of a message with
//! the keep-alive flag is one whole packet that the endpoint keeps (one for each stream, the newest;
//! an empty body takes it away) and writes itself whenever nothing was written to the server for
//! [`KEEP_ALIVE_AFTER`], at most until [`KEEP_ALIVE_LIMIT`] after the client's last message. So a
//! held session survives a client or a path that is away. Only with this flag may a body be empty.
//! The endpoint knows no packet ids.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Bytes in front of each message.
pub const MESSAGE_HEADER: usize = 3;
/// Longest message body, bytes; what the length field can say.
pub const MAX_MESSAGE: usize = u16::MAX as usize;
/// Longest open request or answer, bytes. They are small JSON objects.
pub const MAX_OPEN: usize = 1024;

/// How long nothing is written to a game server before the endpoint writes the kept packet. The
/// server closes after 60 s.
pub const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(45);
/// How long after the client's last message the endpoint goes on writing the kept packet.
pub const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(600);

/// Reset and stop codes of a game stream on the wire.
pub mod reset {
    /// The TCP connection behind it was reset.
    pub const CONNECTION_RESET: u32 = 1;
    /// The side that sends it is ending the whole session.
    pub const SESSION_END: u32 = 2;
    /// The other side broke the framing.
    pub const BAD_FRAMING: u32 = 3;
    /// The session ends because its device was revoked.
    pub const DEVICE_REVOKED: u32 = 4;
    /// The session ends because its account or device was banned.
    pub const BANNED: u32 = 5;
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

    /// Which streams of a link are sent first when not everything fits; the higher. Who is on a map
    /// plays: movement, chat and combat wait for nobody who chooses a character or signs in. Inside
    /// a stream nothing can overtake, because it is one TCP connection.
    pub fn priority(self) -> i32 {
        match self {
            ServerRole::Login => 0,
            ServerRole::Char => 1,
            ServerRole::Map => 2,
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

/// What is done with the bytes of a message. What is kept is not written in its turn, so it cannot
/// be alone: both bits together are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MessageKind {
    /// It is written.
    #[default]
    Plain,
    /// It is written, and must be the only thing in its TCP segment: nothing more is written before
    /// the server has answered.
    Alone,
    /// It is kept, and written when the client is silent; see the module's rules.
    KeepAlive,
}

impl MessageKind {
    fn to_flags(self) -> u8 {
        match self {
            MessageKind::Plain => 0,
            MessageKind::Alone => 1,
            MessageKind::KeepAlive => 2,
        }
    }

    fn from_flags(flags: u8) -> Option<Self> {
        match flags {
            0 => Some(MessageKind::Plain),
            1 => Some(MessageKind::Alone),
            2 => Some(MessageKind::KeepAlive),
            _ => None,
        }
    }
}

/// One write of one side, or a packet to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The bytes, 1..=65535 of them; none only where the kept packet is taken away.
    pub body: Bytes,
    /// What is done with them.
    pub kind: MessageKind,
}

/// Appends `body` to `out`, to be written; a body over [`MAX_MESSAGE`] becomes several messages, an
/// empty one none. `alone`: see [`MessageKind::Alone`].
pub fn encode_message(out: &mut BytesMut, body: &[u8], alone: bool) {
    let kind = if alone {
        MessageKind::Alone
    } else {
        MessageKind::Plain
    };
    for part in body.chunks(MAX_MESSAGE) {
        put_message(out, part, kind);
    }
}

/// Appends the packet that the endpoint is to keep from now on. An empty one takes the kept one
/// away, and so does one that does not fit in a message.
pub fn encode_keep_alive(out: &mut BytesMut, packet: &[u8]) {
    let packet = if packet.len() > MAX_MESSAGE {
        &[]
    } else {
        packet
    };
    put_message(out, packet, MessageKind::KeepAlive);
}

/// `body` is at most [`MAX_MESSAGE`] long.
fn put_message(out: &mut BytesMut, body: &[u8], kind: MessageKind) {
    out.reserve(MESSAGE_HEADER + body.len());
    out.put_u16_le(body.len() as u16);
    out.put_u8(kind.to_flags());
    out.put_slice(body);
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
    /// A message of length zero that is not a keep-alive.
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
        let Some(&flag_byte) = self.buffer.get(2) else {
            return Ok(None);
        };
        let kind =
            MessageKind::from_flags(flag_byte).ok_or(FramingError::UnknownFlags(flag_byte))?;
        if length == 0 && kind != MessageKind::KeepAlive {
            return Err(FramingError::EmptyMessage);
        }
        if self.buffer.len() < MESSAGE_HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(MESSAGE_HEADER);
        let body = self.buffer.split_to(length).freeze();
        Ok(Some(Message { body, kind }))
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

    fn any_kind() -> impl Strategy<Value = MessageKind> {
        prop_oneof![
            Just(MessageKind::Plain),
            Just(MessageKind::Alone),
            Just(MessageKind::KeepAlive)
        ]
    }

    fn encode(out: &mut BytesMut, body: &[u8], kind: MessageKind) {
        match kind {
            MessageKind::Plain => encode_message(out, body, false),
            MessageKind::Alone => encode_message(out, body, true),
            MessageKind::KeepAlive => encode_keep_alive(out, body),
        }
    }

    proptest! {
        #[test]
        fn messages_survive_any_segmentation(
            bodies in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..300), any_kind()), 1..20),
            cut in 1usize..50,
        ) {
            let mut wire = BytesMut::new();
            for (body, kind) in &bodies {
                encode(&mut wire, body, *kind);
            }
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in wire.chunks(cut) {
                decoder.push(piece);
                while let Some(message) = decoder.next_message().unwrap() {
                    seen.push((message.body.to_vec(), message.kind));
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
                prop_assert!(!message.body.is_empty() || message.kind == MessageKind::KeepAlive);
            }
        }
    }

    #[test]
    fn a_long_write_becomes_several_messages_and_no_byte_is_lost() {
        let body = vec![5u8; MAX_MESSAGE + 10];
        let mut wire = BytesMut::new();
        encode_message(&mut wire, &body, false);
        let mut decoder = Decoder::default();
        decoder.push(&wire);
        let first = decoder.next_message().unwrap().unwrap();
        let second = decoder.next_message().unwrap().unwrap();
        assert_eq!((first.body.len(), second.body.len()), (MAX_MESSAGE, 10));
    }

    #[test]
    fn only_a_kept_packet_may_be_empty() {
        let mut wire = BytesMut::new();
        encode_keep_alive(&mut wire, &[]);
        assert_eq!(&wire[..], &[0, 0, 2]);
        // What is too long to be kept whole is not kept at all.
        encode_keep_alive(&mut wire, &[7; MAX_MESSAGE + 1]);
        assert_eq!(&wire[..], &[0, 0, 2, 0, 0, 2]);
        let mut decoder = Decoder::default();
        decoder.push(&wire);
        for _ in 0..2 {
            let taken_away = decoder.next_message().unwrap().unwrap();
            assert_eq!(taken_away.kind, MessageKind::KeepAlive);
            assert!(taken_away.body.is_empty());
        }
        assert_eq!(decoder.next_message(), Ok(None));
        for flags in [0, 1] {
            let mut decoder = Decoder::default();
            decoder.push(&[0, 0, flags]);
            assert_eq!(decoder.next_message(), Err(FramingError::EmptyMessage));
        }
    }

    #[test]
    fn unknown_flags_and_both_together_are_refused() {
        for flags in [3, 4, 0x80, 0xff] {
            let mut decoder = Decoder::default();
            decoder.push(&[1, 0, flags, 9]);
            assert_eq!(
                decoder.next_message(),
                Err(FramingError::UnknownFlags(flags))
            );
        }
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
