//! How a peer can break the protocol. Each ends the connection: the channels keep order and
//! integrity, so nothing of this happens by chance.

/// What is wrong with a message of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// The first byte names another version of the layout.
    #[error("a message of an unknown version of the layout")]
    Version,
    /// The first byte names no kind of message.
    #[error("a message of an unknown kind")]
    Kind,
    /// A kind of message that does not travel on this channel.
    #[error("a message on the wrong channel")]
    WrongChannel,
    /// Shorter than its kind needs, or with bytes left over.
    #[error("a message of the wrong length")]
    Length,
    /// A frame longer than the channel takes, or the announcement of one.
    #[error("a frame that is too long")]
    FrameTooLong,
    /// More frames in one message than may be, or an empty batch.
    #[error("a batch with too many frames")]
    Batch,
    /// A piece without a beginning, or a beginning within a frame.
    #[error("a piece of a frame that was not begun")]
    Pieces,
    /// It does not unpack to the length that it names.
    #[error("a compressed frame that cannot be unpacked")]
    Packed,
    /// More was sent than was allowed.
    #[error("more than the credit allowed")]
    Credit,
    /// A control message that cannot be read.
    #[error("a control message that cannot be read")]
    Control,
}

impl Violation {
    /// Stable code for events and logs.
    pub fn code(self) -> &'static str {
        match self {
            Violation::Version => "peer-version",
            Violation::Kind => "peer-kind",
            Violation::WrongChannel => "peer-wrong-channel",
            Violation::Length => "peer-length",
            Violation::FrameTooLong => "peer-frame-too-long",
            Violation::Batch => "peer-batch",
            Violation::Pieces => "peer-pieces",
            Violation::Packed => "peer-packed",
            Violation::Credit => "peer-credit",
            Violation::Control => "peer-control",
        }
    }
}
