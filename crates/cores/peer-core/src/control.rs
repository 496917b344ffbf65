//! The messages that the two sides' peer layers send each other.
//!
//! The first byte names the message; numbers follow, big-endian.
//!
//! | byte | message | numbers |
//! |---|---|---|
//! | 0 | hello | heard (1 byte, 0 or 1), then the credit of control, reliable, file (8 each) |
//! | 1 | credit | control, reliable, file (8 each) |
//! | 2 | ping | token (4) |
//! | 3 | pong | token (4) |
//! | 4 | report | messages and bytes that arrived on the unreliable channel so far (8 each) |
//!
//! Ping and pong travel on the unreliable channel, where no retransmission falsifies the time; all
//! others on the control channel.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::violation::Violation;
use crate::wire;

const HELLO: u8 = 0;
const CREDIT: u8 = 1;
const PING: u8 = 2;
const PONG: u8 = 3;
const REPORT: u8 = 4;

/// How much a side may send in all since the connection was made, in the order of
/// [`Credited::ALL`](crate::Credited::ALL). A frame costs its length (unpacked) and
/// [`FRAME_OVERHEAD`](crate::FRAME_OVERHEAD).
pub type Credits = [u64; 3];

/// A message between the two peer layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// All channels of the sender are made.
    Hello {
        /// The sender has heard the receiver's hello.
        heard: bool,
        /// What the receiver may send to begin with.
        credits: Credits,
    },
    /// What the receiver may send in all; never less than before.
    Credit(Credits),
    /// To be answered at once.
    Ping(u32),
    /// The answer.
    Pong(u32),
    /// What arrived on the unreliable channel so far.
    Report {
        /// Messages.
        messages: u64,
        /// Bytes of those.
        bytes: u64,
    },
}

impl Control {
    /// The whole message, ready for the channel.
    pub fn encode(self) -> BytesMut {
        let mut body = BytesMut::with_capacity(32);
        match self {
            Control::Hello { heard, credits } => {
                body.put_u8(HELLO);
                body.put_u8(u8::from(heard));
                credits.iter().for_each(|credit| body.put_u64(*credit));
            }
            Control::Credit(credits) => {
                body.put_u8(CREDIT);
                credits.iter().for_each(|credit| body.put_u64(*credit));
            }
            Control::Ping(token) => {
                body.put_u8(PING);
                body.put_u32(token);
            }
            Control::Pong(token) => {
                body.put_u8(PONG);
                body.put_u32(token);
            }
            Control::Report { messages, bytes } => {
                body.put_u8(REPORT);
                body.put_u64(messages);
                body.put_u64(bytes);
            }
        }
        wire::control(&body)
    }

    /// Reads the body of a message of kind *control*.
    ///
    /// # Errors
    /// [`Violation::Control`].
    pub fn decode(mut body: Bytes) -> Result<Self, Violation> {
        let control = read(&mut body).ok_or(Violation::Control)?;
        if body.has_remaining() {
            return Err(Violation::Control);
        }
        Ok(control)
    }

    /// Whether it travels on the unreliable channel.
    pub(crate) fn is_probe(self) -> bool {
        matches!(self, Control::Ping(_) | Control::Pong(_))
    }
}

fn read(body: &mut Bytes) -> Option<Control> {
    Some(match body.try_get_u8().ok()? {
        HELLO => Control::Hello {
            heard: match body.try_get_u8().ok()? {
                0 => false,
                1 => true,
                _ => return None,
            },
            credits: read_credits(body)?,
        },
        CREDIT => Control::Credit(read_credits(body)?),
        PING => Control::Ping(body.try_get_u32().ok()?),
        PONG => Control::Pong(body.try_get_u32().ok()?),
        REPORT => Control::Report {
            messages: body.try_get_u64().ok()?,
            bytes: body.try_get_u64().ok()?,
        },
        _ => return None,
    })
}

fn read_credits(body: &mut Bytes) -> Option<Credits> {
    let mut credits = [0; 3];
    for credit in &mut credits {
        *credit = body.try_get_u64().ok()?;
    }
    Some(credits)
}
