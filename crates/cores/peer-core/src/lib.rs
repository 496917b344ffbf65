//! What lies between an application and the data channels of one peer connection, and between two
//! peers that want one: four channels, what is sent first, how much, and who offers to whom.
//!
//! # Rules
//! * No IO and no clock. [`Outbox`] takes frames and yields messages; [`Inbox`] takes messages and
//!   yields frames; [`Machine`] takes signals and yields actions. After every call that changes one,
//!   drain it, then sleep until its `poll_timeout`.
//! * **Strict priority**: control, then unreliable, then reliable, then file. Inside SCTP there is no
//!   priority, so as little as possible may lie there: [`Pacer`] keeps what is in flight on reliable
//!   and file so small that it delays nothing by more than a few milliseconds.
//! * **Credit.** SCTP has one receive window for all channels: a reader that stops on one of them
//!   would stop all. So the receiver hands out credit per reliable channel, takes everything from
//!   SCTP at once, and a sender never has more under way than its peer's application will hold. Who
//!   sends more breaks the protocol.
//! * **The unreliable channel drops.** Its queue is bounded; when it is full the oldest frame of the
//!   lowest class goes. [`Bandwidth`] limits what is sent to what arrives; critical frames are neither
//!   dropped nor limited.
//! * **Batching**: frames that come within [`OutboxConfig::batch_hold`] of the last message leave
//!   together, as soon as that time is over or a message is full. A frame after a pause leaves at
//!   once, and neither control nor critical frames wait.
//! * **Compression** of frames on reliable and file from [`OutboxConfig::compression_threshold`] on,
//!   never if it does not pay. A receiver checks the named length before it unpacks.
//! * What a peer sends is never trusted: see [`Violation`].
//!
//! # Numbers
//! | what | value | why |
//! |---|---|---|
//! | queue of reliable and file | 16 MiB high, 1 MiB low water | bounded memory per peer; above, senders wait, until below |
//! | queue of control / unreliable | 256 KiB each | short messages only |
//! | credit: control, reliable, file | 256 KiB, 2 MiB, 4 MiB | what a peer may make us hold; two of the longest frames at least |
//! | longest frame: control, unreliable, reliable and file | 16 KiB, 1,279 bytes, 1 MiB | one message; one packet; a bounded reassembly |
//! | piece of a long frame | 4 to 32 KiB, an eighth of the pacer's window, on long ways a sixteenth | a message in SCTP cannot be interrupted, and none may be longer than 64 KiB |
//! | batch | 32 frames, 1,279 bytes, 5 ms | one packet |
//! | compression | from 1,024 bytes on | below, the header of a block eats the gain |

mod backoff;
mod bandwidth;
mod bulk;
mod channel;
pub mod control;
mod inbox;
mod machine;
mod outbox;
mod pacer;
mod packing;
mod unreliable;
mod violation;
pub mod wire;

pub use backoff::{ReconnectConfig, Reconnects};
pub use bandwidth::{Bandwidth, MIN_REPORT};
pub use channel::{Channel, Class, Credited};
pub use control::{Control, Credits};
pub use inbox::{Inbound, Inbox};
pub use machine::{
    Action, AttemptId, GaveUp, Machine, MachineConfig, PeerState, RefusalCode, Signal,
};
pub use outbox::{Outbox, OutboxConfig, OutboxStats, Outgoing, Refused};
pub use pacer::Pacer;
pub use violation::Violation;

/// Longest message, bytes, header included: what a side that names no other length takes
/// (RFC 8841, 6.1: `max-message-size`). A longer one is refused by the library, and what was to follow it
/// makes no sense any more.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Longest frame on reliable and file, bytes.
pub const MAX_FRAME: usize = 1024 * 1024;

/// Longest frame on control, bytes: one message that goes out in one piece.
pub const MAX_CONTROL_FRAME: usize = 16 * 1024;

/// Longest frame on the unreliable channel, bytes; with its header one SCTP packet.
pub const MAX_UNRELIABLE_FRAME: usize = 1279;

/// Most frames in one message.
pub const MAX_BATCH_FRAMES: usize = 32;

/// What a frame is charged beside its bytes, so that empty frames cannot fill the memory: the size
/// of a handle and its reference-counted header, rounded up.
pub const FRAME_OVERHEAD: usize = 64;

/// What a peer may make us hold, in the order of [`Credited::ALL`], bytes with overhead.
pub const WINDOWS: [usize; 3] = [256 * 1024, 2 * 1024 * 1024, 4 * 1024 * 1024];

const _: () = assert!(MAX_CONTROL_FRAME + wire::HEADER <= MAX_MESSAGE);
const _: () = assert!(WINDOWS[0] >= 2 * (MAX_CONTROL_FRAME + FRAME_OVERHEAD));
const _: () = assert!(WINDOWS[1] > MAX_FRAME + FRAME_OVERHEAD);
const _: () = assert!(WINDOWS[2] > 2 * (MAX_FRAME + FRAME_OVERHEAD));

/// What a frame of `length` bytes costs.
pub fn charge(length: usize) -> usize {
    length.saturating_add(FRAME_OVERHEAD)
}
