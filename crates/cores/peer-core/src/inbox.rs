//! What arrives from one peer: messages in, frames out.

use bytes::{Bytes, BytesMut};

use crate::channel::{Channel, Credited};
use crate::control::{Control, Credits};
use crate::violation::Violation;
use crate::wire::{self, Message};
use crate::{MAX_FRAME, WINDOWS, charge, packing};

/// What a message held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// A frame for the application. On a channel with credit, say [`Inbox::consumed`] once it was
    /// taken.
    Frame(Channel, Bytes),
    /// A datagram of the session link.
    Datagram(Bytes),
    /// A message for the peer layer.
    Control(Control),
}

/// A frame of which pieces are missing.
#[derive(Debug)]
struct Partial {
    transfer: usize,
    unpacked: Option<usize>,
    /// Grows with what arrives, not with what is announced.
    pieces: BytesMut,
}

/// What one channel with credit has used.
#[derive(Debug, Default)]
struct Account {
    arrived: u64,
    consumed: u64,
    granted: u64,
    partial: Option<Partial>,
}

/// See the module's documentation. It begins without credit, as nobody takes frames yet.
#[derive(Debug, Default)]
pub struct Inbox {
    accounts: [Account; 3],
    open: bool,
    messages: u64,
    bytes: u64,
}

impl Inbox {
    /// Somebody takes frames from now on: what to tell the other side.
    pub fn open(&mut self) -> Control {
        if !std::mem::replace(&mut self.open, true) {
            for (account, window) in self.accounts.iter_mut().zip(WINDOWS) {
                account.granted = window as u64;
            }
        }
        Control::Credit(self.credits())
    }

    /// Whether somebody takes frames.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// What the other side may send in all.
    pub fn credits(&self) -> Credits {
        [0, 1, 2].map(|index: usize| self.accounts[index].granted)
    }

    /// Messages and bytes that arrived on the unreliable channel.
    pub fn arrived(&self) -> (u64, u64) {
        (self.messages, self.bytes)
    }

    /// Takes a message and hands its contents to `sink`.
    ///
    /// # Errors
    /// [`Violation`]: close the connection. What `sink` was handed before still counts.
    pub fn on_message(
        &mut self,
        channel: Channel,
        message: Bytes,
        mut sink: impl FnMut(Inbound),
    ) -> Result<(), Violation> {
        let length = message.len();
        let decoded = wire::decode(channel, message)?;
        if let Message::Control(body) = decoded {
            let control = Control::decode(body)?;
            if control.is_probe() != (channel == Channel::Unreliable) {
                return Err(Violation::WrongChannel);
            }
            sink(Inbound::Control(control));
            return Ok(());
        }
        let Some(credited) = Credited::of(channel) else {
            return self.on_unreliable(decoded, length, sink);
        };
        let account = &mut self.accounts[credited.index()];
        let mut frame = |frame| sink(Inbound::Frame(channel, frame));
        match decoded {
            Message::Frame(body) => {
                account.begin(body.len())?;
                frame(body);
            }
            Message::Batch(batch) => {
                for body in batch {
                    account.begin(body.len())?;
                    frame(body);
                }
            }
            Message::Packed { unpacked, block } => {
                account.begin(unpacked)?;
                frame(packing::unpack(&block, unpacked)?);
            }
            Message::First {
                transfer,
                unpacked,
                piece,
            } => {
                account.begin(unpacked.unwrap_or(transfer))?;
                account.partial = Some(Partial {
                    transfer,
                    unpacked,
                    pieces: BytesMut::from(piece),
                });
            }
            Message::More(piece) => {
                if let Some(body) = account.more(&piece)? {
                    frame(body);
                }
            }
            // `decode` lets neither through on these channels, and control was taken above.
            Message::Datagram(_) | Message::Control(_) => return Err(Violation::WrongChannel),
        }
        Ok(())
    }

    fn on_unreliable(
        &mut self,
        decoded: Message,
        length: usize,
        mut sink: impl FnMut(Inbound),
    ) -> Result<(), Violation> {
        let mut frame = |frame| sink(Inbound::Frame(Channel::Unreliable, frame));
        match decoded {
            Message::Datagram(datagram) => {
                // The session link counts its own.
                sink(Inbound::Datagram(datagram));
                return Ok(());
            }
            Message::Frame(body) => frame(body),
            Message::Batch(batch) => batch.for_each(&mut frame),
            _ => return Err(Violation::WrongChannel),
        }
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(length as u64);
        Ok(())
    }

    /// The application took a frame of `length` bytes. Says what to tell the other side, once a
    /// quarter of the window is free again.
    pub fn consumed(&mut self, credited: Credited, length: usize) -> Option<Control> {
        let window = WINDOWS[credited.index()] as u64;
        let account = &mut self.accounts[credited.index()];
        account.consumed = account.consumed.saturating_add(charge(length) as u64);
        let granted = account.consumed.saturating_add(window);
        if granted.saturating_sub(account.granted) < window / 4 {
            return None;
        }
        account.granted = granted;
        Some(Control::Credit(self.credits()))
    }
}

impl Account {
    /// A frame that will be `length` bytes long begins.
    fn begin(&mut self, length: usize) -> Result<(), Violation> {
        if self.partial.is_some() {
            return Err(Violation::Pieces);
        }
        let arrived = self.arrived.saturating_add(charge(length) as u64);
        if arrived > self.granted {
            return Err(Violation::Credit);
        }
        self.arrived = arrived;
        Ok(())
    }

    fn more(&mut self, piece: &[u8]) -> Result<Option<Bytes>, Violation> {
        let partial = self.partial.as_mut().ok_or(Violation::Pieces)?;
        let length = partial.pieces.len() + piece.len();
        if length > partial.transfer || length > MAX_FRAME {
            return Err(Violation::Length);
        }
        partial.pieces.extend_from_slice(piece);
        if length < partial.transfer {
            return Ok(None);
        }
        let Some(Partial {
            unpacked, pieces, ..
        }) = self.partial.take()
        else {
            return Err(Violation::Pieces);
        };
        match unpacked {
            Some(unpacked) => packing::unpack(&pieces, unpacked).map(Some),
            None => Ok(Some(pieces.freeze())),
        }
    }
}
