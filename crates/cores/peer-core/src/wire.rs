//! What one message of a channel looks like.
//!
//! The first byte holds the version of the layout (upper four bits, 1) and the kind (lower four).
//! Numbers are big-endian.
//!
//! | kind | what follows | channels |
//! |---|---|---|
//! | 0 datagram | one datagram of the session link | unreliable |
//! | 1 frame | one frame | all |
//! | 2 batch | 2 to 32 times: length (2 bytes), frame | unreliable, reliable |
//! | 3 first | transfer length (4), the first piece | reliable, file |
//! | 4 more | the next piece | reliable, file |
//! | 5 packed | unpacked length (4), one frame as an LZ4 block | reliable, file |
//! | 6 first packed | transfer length (4), unpacked length (4), the first piece of an LZ4 block | reliable, file |
//! | 7 control | a [control message](crate::control) | control, unreliable |

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::channel::Channel;
use crate::violation::Violation;
use crate::{MAX_BATCH_FRAMES, MAX_FRAME};

/// Version of the layout.
pub const VERSION: u8 = 1;

/// Bytes in front of a single frame and of a datagram.
pub const HEADER: usize = 1;

/// Most bytes in front of a piece of a frame: the first one of a compressed frame.
pub(crate) const LONGEST_HEADER: usize = HEADER + 4 + 4;

/// Bytes in front of each frame of a batch.
pub(crate) const BATCH_ENTRY: usize = 2;

const DATAGRAM: u8 = 0;
const FRAME: u8 = 1;
const BATCH: u8 = 2;
const FIRST: u8 = 3;
const MORE: u8 = 4;
const PACKED: u8 = 5;
const FIRST_PACKED: u8 = 6;
const CONTROL: u8 = 7;

/// One message, taken apart. Lengths are checked against what may be; a batch is checked whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A datagram of the session link.
    Datagram(Bytes),
    /// One frame.
    Frame(Bytes),
    /// Several frames.
    Batch(Batch),
    /// The beginning of a frame.
    First {
        /// Length of all pieces together, bytes.
        transfer: usize,
        /// Length once unpacked, bytes; `None`: not compressed.
        unpacked: Option<usize>,
        /// The first piece.
        piece: Bytes,
    },
    /// The next piece of a frame.
    More(Bytes),
    /// One compressed frame.
    Packed {
        /// Length once unpacked, bytes.
        unpacked: usize,
        /// LZ4 block.
        block: Bytes,
    },
    /// A control message, not read yet.
    Control(Bytes),
}

/// The frames of a batch; an iterator that cannot fail, because the batch was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch(Bytes);

impl Iterator for Batch {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let len = usize::from(self.0.try_get_u16().ok()?);
        (len <= self.0.len()).then(|| self.0.split_to(len))
    }
}

/// Takes a message of `channel` apart.
///
/// # Errors
/// Everything but [`Violation::Pieces`], [`Violation::Packed`], [`Violation::Credit`].
pub fn decode(channel: Channel, mut message: Bytes) -> Result<Message, Violation> {
    let first = message.try_get_u8().map_err(|_| Violation::Length)?;
    if first >> 4 != VERSION {
        return Err(Violation::Version);
    }
    let kind = first & 0x0f;
    if kind > CONTROL {
        return Err(Violation::Kind);
    }
    if !travels(kind, channel) {
        return Err(Violation::WrongChannel);
    }
    match kind {
        DATAGRAM => Ok(Message::Datagram(message)),
        FRAME => frame(channel, message),
        BATCH => batch(channel, message),
        FIRST => {
            let transfer = length(&mut message)?;
            first_piece(transfer, None, message)
        }
        MORE if message.is_empty() => Err(Violation::Length),
        MORE => Ok(Message::More(message)),
        PACKED => {
            let unpacked = length(&mut message)?;
            if message.is_empty() {
                return Err(Violation::Length);
            }
            Ok(Message::Packed {
                unpacked,
                block: message,
            })
        }
        FIRST_PACKED => {
            let transfer = length(&mut message)?;
            let unpacked = length(&mut message)?;
            first_piece(transfer, Some(unpacked), message)
        }
        _ => Ok(Message::Control(message)),
    }
}

fn travels(kind: u8, channel: Channel) -> bool {
    match kind {
        DATAGRAM => channel == Channel::Unreliable,
        FRAME => true,
        BATCH => matches!(channel, Channel::Unreliable | Channel::Reliable),
        CONTROL => matches!(channel, Channel::Control | Channel::Unreliable),
        _ => matches!(channel, Channel::Reliable | Channel::File),
    }
}

fn frame(channel: Channel, frame: Bytes) -> Result<Message, Violation> {
    if frame.len() > channel.max_frame() {
        return Err(Violation::FrameTooLong);
    }
    Ok(Message::Frame(frame))
}

/// A length of a frame, packed or not. A compressed frame is never longer than the frame.
fn length(message: &mut Bytes) -> Result<usize, Violation> {
    let length = message.try_get_u32().map_err(|_| Violation::Length)?;
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_FRAME)
        .ok_or(Violation::FrameTooLong)
}

fn first_piece(
    transfer: usize,
    unpacked: Option<usize>,
    piece: Bytes,
) -> Result<Message, Violation> {
    // What is whole travels as a whole, so a first piece always leaves something to come.
    if piece.is_empty() || piece.len() >= transfer {
        return Err(Violation::Length);
    }
    Ok(Message::First {
        transfer,
        unpacked,
        piece,
    })
}

fn batch(channel: Channel, message: Bytes) -> Result<Message, Violation> {
    let mut rest = message.clone();
    let mut frames = 0;
    while rest.has_remaining() {
        let len = usize::from(rest.try_get_u16().map_err(|_| Violation::Length)?);
        if len > rest.len() {
            return Err(Violation::Length);
        }
        if len > channel.max_frame() {
            return Err(Violation::FrameTooLong);
        }
        rest.advance(len);
        frames += 1;
        if frames > MAX_BATCH_FRAMES {
            return Err(Violation::Batch);
        }
    }
    if frames < 2 {
        return Err(Violation::Batch);
    }
    Ok(Message::Batch(Batch(message)))
}

fn begin(kind: u8, room: usize) -> BytesMut {
    let mut message = BytesMut::with_capacity(room.saturating_add(LONGEST_HEADER));
    message.put_u8(VERSION << 4 | kind);
    message
}

fn single(kind: u8, body: &[u8]) -> BytesMut {
    let mut message = begin(kind, body.len());
    message.put_slice(body);
    message
}

/// A datagram of the session link.
pub fn datagram(datagram: &[u8]) -> BytesMut {
    single(DATAGRAM, datagram)
}

/// One frame.
pub(crate) fn whole(frame: &[u8]) -> BytesMut {
    single(FRAME, frame)
}

/// A control message.
pub(crate) fn control(body: &[u8]) -> BytesMut {
    single(CONTROL, body)
}

/// The next piece of a frame.
pub(crate) fn more(piece: &[u8]) -> BytesMut {
    single(MORE, piece)
}

/// An empty batch, to be filled with [`add_to_batch`].
pub(crate) fn begin_batch(room: usize) -> BytesMut {
    begin(BATCH, room)
}

/// Adds a frame of less than 64 KiB.
pub(crate) fn add_to_batch(batch: &mut BytesMut, frame: &[u8]) {
    batch.put_u16(u16::try_from(frame.len()).unwrap_or(u16::MAX));
    batch.put_slice(frame);
}

/// A whole frame or its first piece, compressed (`unpacked`) or not. Lengths fit four bytes, because
/// no frame is longer than [`MAX_FRAME`].
pub(crate) fn beginning(body: &[u8], unpacked: Option<usize>, piece: usize) -> BytesMut {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let whole = piece >= body.len();
    let mut message = match (whole, unpacked) {
        (true, None) => return single(FRAME, body),
        (true, Some(_)) => begin(PACKED, body.len()),
        (false, None) => begin(FIRST, piece),
        (false, Some(_)) => begin(FIRST_PACKED, piece),
    };
    if !whole {
        message.put_u32(number(body.len()));
    }
    if let Some(unpacked) = unpacked {
        message.put_u32(number(unpacked));
    }
    message.put_slice(body.get(..piece).unwrap_or(body));
    message
}
