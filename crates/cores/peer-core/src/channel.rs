//! The four channels of a peer connection, and the classes of what travels unreliably.

/// One of the four channels. The order is the order of sending: the first that has something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// Reliable and ordered, for short messages that decide something. Opened first.
    Control,
    /// Unordered, never sent again: what is late is worthless.
    Unreliable,
    /// Reliable and ordered.
    Reliable,
    /// Reliable and ordered, for bulk; yields to all others.
    File,
}

impl Channel {
    /// All channels in the order of sending.
    pub const ALL: [Channel; 4] = [
        Channel::Control,
        Channel::Unreliable,
        Channel::Reliable,
        Channel::File,
    ];

    /// The stream id that both sides use without asking (WebRTC: `negotiated`). Opened in band
    /// instead, the accepting side of the `webrtc` crate would send reliably.
    pub fn id(self) -> u16 {
        match self {
            Channel::Control => 0,
            Channel::Unreliable => 1,
            Channel::Reliable => 2,
            Channel::File => 3,
        }
    }

    /// The name of the channel in both sides' WebRTC stacks, and in logs.
    pub fn label(self) -> &'static str {
        match self {
            Channel::Control => "control",
            Channel::Unreliable => "unreliable",
            Channel::Reliable => "reliable",
            Channel::File => "file",
        }
    }

    /// Whether everything arrives, in order.
    pub fn is_reliable(self) -> bool {
        self != Channel::Unreliable
    }

    /// Longest frame, bytes.
    pub fn max_frame(self) -> usize {
        match self {
            Channel::Control => crate::MAX_CONTROL_FRAME,
            Channel::Unreliable => crate::MAX_UNRELIABLE_FRAME,
            Channel::Reliable | Channel::File => crate::MAX_FRAME,
        }
    }
}

/// One of the channels on which the receiver hands out credit; the unreliable one drops instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credited {
    /// [`Channel::Control`].
    Control,
    /// [`Channel::Reliable`].
    Reliable,
    /// [`Channel::File`].
    File,
}

impl Credited {
    /// All of them, in the order in which credits are written.
    pub const ALL: [Credited; 3] = [Credited::Control, Credited::Reliable, Credited::File];

    /// The channel.
    pub fn channel(self) -> Channel {
        match self {
            Credited::Control => Channel::Control,
            Credited::Reliable => Channel::Reliable,
            Credited::File => Channel::File,
        }
    }

    /// `None` for the unreliable channel.
    pub fn of(channel: Channel) -> Option<Self> {
        match channel {
            Channel::Control => Some(Credited::Control),
            Channel::Unreliable => None,
            Channel::Reliable => Some(Credited::Reliable),
            Channel::File => Some(Credited::File),
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// How much a frame on the unreliable channel matters. The order is the order of sending, and the
/// reverse of the order of dropping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Never dropped on our side, never held back for a batch, not limited by the rate.
    Critical,
    /// Dropped after everything below.
    High,
    /// The usual.
    Normal,
    /// Dropped first.
    Low,
}

impl Class {
    /// All classes in the order of sending.
    pub const ALL: [Class; 4] = [Class::Critical, Class::High, Class::Normal, Class::Low];

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}
