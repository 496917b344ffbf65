//! Cuts one direction of one TCP connection into whole packets.
//!
//! ```text
//! push(bytes) ... next_frame() until None ... push(bytes) ... finish()
//! ```
//!
//! The frames of one framer, put behind one another, are exactly the bytes pushed.
//!
//! Memory: between a drain and the next push the buffer holds less than one packet, so less
//! than [`crate::MAX_PACKET`] bytes; it never reserves room for a length that a packet names.
//! A caller that pushes without draining decides for itself how much it piles up.
//!
//! Cost: a frame is a slice of the pushed bytes; cutting one allocates nothing.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::cipher::IdCipher;
use crate::table::{PacketLength, PacketTable};
use crate::{Direction, Role};

/// The raw account id that the char server sends before its first packet.
const RAW_AID: usize = 4;

/// Shortest packet with a length field: the id and the field.
const VARIABLE_HEAD: usize = 4;

/// Why bytes can no longer be cut into packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpaqueReason {
    /// The id is not in the table of the client's version.
    #[error("packet id {0:04X} is not known for this client version")]
    UnknownId(u16),
    /// The length field of a variable packet is shorter than its own head.
    #[error("packet {id:04X} says that it is {length} bytes long, which is less than its head")]
    BadLength {
        /// The packet's id.
        id: u16,
        /// What its length field says; at least 4 would be right.
        length: u16,
    },
}

impl OpaqueReason {
    /// The stable code for events and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            OpaqueReason::UnknownId(_) => "unknown-packet-id",
            OpaqueReason::BadLength { .. } => "bad-packet-length",
        }
    }
}

/// What a [`Frame`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// One whole packet with this id.
    Packet(u16),
    /// The four raw bytes that a char server sends first: the account id, without a packet id.
    RawAid,
    /// Bytes without known borders: the framer is opaque.
    Raw,
}

/// One piece of a stream, in order.
///
/// Consecutive frames of one push lie behind one another in memory, so that
/// [`BytesMut::unsplit`] joins them without copying.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the bytes are.
    pub kind: FrameKind,
    /// The bytes as they came, the packet id included; never empty.
    pub bytes: BytesMut,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("kind", &self.kind)
            .field("len", &self.bytes.len())
            .finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The raw account id has not come yet.
    RawAid,
    Framing,
    /// The reason is absent when the caller asked for it.
    Opaque(Option<OpaqueReason>),
}

/// What stands at the front of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// A packet that is there with its last byte; the id is the plain one.
    Whole {
        id: u16,
        length: usize,
    },
    /// Too little to say, or the beginning of a packet.
    Incomplete,
    Unframeable(OpaqueReason),
}

/// Cuts one direction of one TCP connection into whole packets; see the module's rules.
pub struct Framer {
    table: Arc<PacketTable>,
    state: State,
    /// In front of the next packet.
    cipher: Option<IdCipher>,
    buffer: BytesMut,
}

impl fmt::Debug for Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framer")
            .field("version", &self.table.version())
            .field("state", &self.state)
            .field("pending", &self.buffer.len())
            .finish()
    }
}

impl Framer {
    /// A framer for one direction of a new connection to the server `role`.
    #[must_use]
    pub fn new(table: Arc<PacketTable>, role: Role, direction: Direction) -> Framer {
        let state = match (role, direction) {
            (Role::Char, Direction::ServerToClient) => State::RawAid,
            _ => State::Framing,
        };
        Framer {
            table,
            state,
            cipher: None,
            buffer: BytesMut::new(),
        }
    }

    /// Like [`Framer::new`], for a connection whose ids `cipher` hides from its first packet on.
    #[must_use]
    pub fn with_cipher(
        table: Arc<PacketTable>,
        role: Role,
        direction: Direction,
        cipher: IdCipher,
    ) -> Framer {
        let mut framer = Framer::new(table, role, direction);
        framer.set_cipher(cipher);
        framer
    }

    /// From the next packet on, ids are read through `cipher`. [`FrameKind::Packet`] then carries
    /// the plain id, [`Frame::bytes`] stay as they came.
    pub fn set_cipher(&mut self, cipher: IdCipher) {
        self.cipher = Some(cipher);
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Like [`Framer::push`], without a copy when nothing is pending and nobody else holds `bytes`.
    pub fn push_owned(&mut self, bytes: Bytes) {
        if self.buffer.is_empty() {
            match bytes.try_into_mut() {
                Ok(own) => self.buffer = own,
                Err(shared) => self.buffer.extend_from_slice(&shared),
            }
        } else {
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// The next frame, or `None` until more bytes are pushed.
    ///
    /// Once the framer is opaque, everything that it holds comes out as one
    /// [`FrameKind::Raw`] frame, and so does everything pushed later.
    pub fn next_frame(&mut self) -> Option<Frame> {
        if self.buffer.is_empty() {
            return None;
        }
        if self.state == State::RawAid {
            if self.buffer.len() < RAW_AID {
                return None;
            }
            self.state = State::Framing;
            return Some(self.cut(FrameKind::RawAid, RAW_AID));
        }
        if self.state == State::Framing {
            match head(&self.table, self.cipher.as_ref(), &self.buffer) {
                Head::Whole { id, length } => {
                    if let Some(cipher) = &mut self.cipher {
                        cipher.advance();
                    }
                    return Some(self.cut(FrameKind::Packet(id), length));
                }
                Head::Incomplete => return None,
                Head::Unframeable(reason) => self.state = State::Opaque(Some(reason)),
            }
        }
        Some(self.cut(FrameKind::Raw, self.buffer.len()))
    }

    fn cut(&mut self, kind: FrameKind, length: usize) -> Frame {
        Frame {
            kind,
            bytes: self.buffer.split_to(length),
        }
    }

    /// Stops framing at the caller's wish: all that is pending and all that comes is raw.
    pub fn make_opaque(&mut self) {
        if !self.is_opaque() {
            self.state = State::Opaque(None);
        }
    }

    /// Whether bytes come out raw from now on. There is no way back.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        matches!(self.state, State::Opaque(_))
    }

    /// Why the stream cannot be framed, if that is so.
    #[must_use]
    pub fn opaque_reason(&self) -> Option<OpaqueReason> {
        match self.state {
            State::Opaque(reason) => reason,
            State::RawAid | State::Framing => None,
        }
    }

    /// How many bytes wait for the rest of their packet (or for being drained).
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Takes what is left at the end of the stream: the beginning of a packet whose rest
    /// never came, or nothing.
    pub fn finish(&mut self) -> Option<Frame> {
        if self.buffer.is_empty() {
            return None;
        }
        Some(self.cut(FrameKind::Raw, self.buffer.len()))
    }
}

/// Reads the head of the packet at the front of `bytes`, whose id is hidden by the present key of `cipher`.
pub(crate) fn head(table: &PacketTable, cipher: Option<&IdCipher>, bytes: &[u8]) -> Head {
    let Some(&[low, high]) = bytes.first_chunk() else {
        return Head::Incomplete;
    };
    let id = u16::from_le_bytes([low, high]);
    let id = cipher.map_or(id, |cipher| cipher.peek(id));
    let length = match table.length_of(id) {
        None => return Head::Unframeable(OpaqueReason::UnknownId(id)),
        Some(PacketLength::Fixed(length)) => usize::from(length),
        Some(PacketLength::Variable) => {
            let Some(&[_, _, low, high]) = bytes.first_chunk::<VARIABLE_HEAD>() else {
                return Head::Incomplete;
            };
            let length = u16::from_le_bytes([low, high]);
            if usize::from(length) < VARIABLE_HEAD {
                return Head::Unframeable(OpaqueReason::BadLength { id, length });
            }
            usize::from(length)
        }
    };
    if bytes.len() < length {
        return Head::Incomplete;
    }
    Head::Whole { id, length }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framer(role: Role, direction: Direction) -> Framer {
        Framer::new(
            PacketTable::for_version(20_211_103).unwrap(),
            role,
            direction,
        )
    }

    fn kinds(framer: &mut Framer) -> Vec<(FrameKind, usize)> {
        std::iter::from_fn(|| framer.next_frame())
            .map(|frame| (frame.kind, frame.bytes.len()))
            .collect()
    }

    #[test]
    fn a_partial_packet_waits() {
        let mut framer = framer(Role::Map, Direction::ClientToServer);
        framer.push(&[0x5F]);
        assert!(framer.next_frame().is_none());
        framer.push(&[0x03, 1, 2]);
        assert!(framer.next_frame().is_none());
        assert_eq!(framer.pending(), 4);
        framer.push(&[3, 0x7D]);
        assert_eq!(kinds(&mut framer), [(FrameKind::Packet(0x035F), 5)]);
        framer.push(&[0x00]);
        assert_eq!(kinds(&mut framer), [(FrameKind::Packet(0x007D), 2)]);
    }

    #[test]
    fn a_variable_packet_waits_for_its_length_and_its_end() {
        let mut framer = framer(Role::Map, Direction::ClientToServer);
        framer.push(&[0xF3, 0x00, 6]);
        assert!(framer.next_frame().is_none());
        framer.push(&[0, b'a']);
        assert!(framer.next_frame().is_none());
        framer.push(&[0]);
        assert_eq!(kinds(&mut framer), [(FrameKind::Packet(0x00F3), 6)]);
    }

    #[test]
    fn the_longest_packet_is_framed() {
        let mut framer = framer(Role::Map, Direction::ClientToServer);
        let mut packet = vec![0u8; crate::MAX_PACKET];
        packet[..4].copy_from_slice(&[0xF3, 0x00, 0xFF, 0xFF]);
        framer.push(&packet[..60_000]);
        assert!(framer.next_frame().is_none());
        framer.push(&packet[60_000..]);
        assert_eq!(kinds(&mut framer), [(FrameKind::Packet(0x00F3), 65_535)]);
    }

    #[test]
    fn the_char_server_says_a_raw_account_id_first() {
        let mut framer = framer(Role::Char, Direction::ServerToClient);
        framer.push(&[0x81, 0x84, 0x1E]);
        assert!(framer.next_frame().is_none());
        // A refusal right behind the account id.
        framer.push(&[0x00, 0x6C, 0x00, 0x00]);
        assert_eq!(
            kinds(&mut framer),
            [(FrameKind::RawAid, 4), (FrameKind::Packet(0x006C), 3)]
        );
    }

    #[test]
    fn only_the_char_servers_answers_begin_raw() {
        for (role, direction) in [
            (Role::Login, Direction::ServerToClient),
            (Role::Map, Direction::ServerToClient),
            (Role::Char, Direction::ClientToServer),
        ] {
            let mut framer = framer(role, direction);
            framer.push(&[0x81, 0x00, 0x08, 0x81, 0x00, 0x08]);
            assert_eq!(kinds(&mut framer).len(), 2, "{role:?} {direction:?}");
        }
    }

    #[test]
    fn an_unknown_id_makes_everything_behind_it_raw() {
        let mut framer = framer(Role::Map, Direction::ClientToServer);
        framer.push(&[0x7D, 0x00, 0xFF, 0xFF, 0x7D, 0x00]);
        assert_eq!(
            kinds(&mut framer),
            [(FrameKind::Packet(0x007D), 2), (FrameKind::Raw, 4)]
        );
        assert_eq!(
            framer.opaque_reason(),
            Some(OpaqueReason::UnknownId(0xFFFF))
        );
        framer.push(&[0x7D]);
        assert_eq!(kinds(&mut framer), [(FrameKind::Raw, 1)]);
    }

    #[test]
    fn a_length_shorter_than_its_head_makes_it_raw() {
        let mut framer = framer(Role::Map, Direction::ServerToClient);
        framer.push(&[0x8E, 0x00, 3, 0, 9]);
        assert_eq!(kinds(&mut framer), [(FrameKind::Raw, 5)]);
        let reason = framer.opaque_reason().unwrap();
        assert_eq!(
            reason,
            OpaqueReason::BadLength {
                id: 0x008E,
                length: 3
            }
        );
        assert_eq!(reason.code(), "bad-packet-length");
    }

    #[test]
    fn made_opaque_at_will_lets_go_of_what_waited() {
        let mut framer = framer(Role::Char, Direction::ServerToClient);
        framer.push(&[1, 2]);
        assert!(framer.next_frame().is_none());
        framer.make_opaque();
        assert_eq!(kinds(&mut framer), [(FrameKind::Raw, 2)]);
        assert_eq!(framer.opaque_reason(), None);
    }

    #[test]
    fn the_end_gives_back_the_beginning_of_a_packet() {
        let mut framer = framer(Role::Map, Direction::ClientToServer);
        framer.push(&[0x5F, 0x03, 1]);
        assert!(framer.next_frame().is_none());
        let rest = framer.finish().unwrap();
        assert_eq!(&rest.bytes[..], &[0x5F, 0x03, 1]);
        assert_eq!(framer.finish(), None);
    }

    #[test]
    fn debug_output_shows_no_bytes() {
        let mut framer = framer(Role::Login, Direction::ClientToServer);
        let mut packet = vec![0x64, 0x00];
        packet.resize(55, b'x');
        framer.push(&packet);
        assert!(!format!("{framer:?}").contains("xx"));
        let frame = framer.next_frame().unwrap();
        assert!(!format!("{frame:?}").contains("xx"));
    }
}
