//! What a link tells its listeners.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use warp_link_core::choice::Costs;
use warp_link_core::view::SwitchReason;
use warp_link_core::{CloseReason, State};
use warp_protocol::carrier::PathKind;

/// Notices that wait for a slow listener. When so many wait the oldest are lost, and
/// [`LinkNotice::Missed`] tells how many. A notice takes less than 100 bytes.
pub const NOTICES: usize = 256;

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEnd {
    /// The link's own reason.
    Closed(CloseReason),
    /// The driver failed: a fault of ours.
    Fault,
}

impl LinkEnd {
    /// Stable code for events and logs.
    pub fn code(&self) -> &'static str {
        match self {
            LinkEnd::Closed(CloseReason::Local) => "link-closed",
            LinkEnd::Closed(CloseReason::Peer(_)) => "link-closed-by-peer",
            LinkEnd::Closed(CloseReason::Lost) => "link-lost",
            LinkEnd::Closed(CloseReason::Untrusted) => "link-untrusted",
            LinkEnd::Closed(CloseReason::Protocol) => "link-protocol",
            LinkEnd::Fault => "link-fault",
        }
    }
}

/// The present state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStatus {
    /// The state.
    pub state: State,
    /// The path in use.
    pub path: Option<PathKind>,
    /// Why that path.
    pub reason: Option<SwitchReason>,
}

/// What happened on a link. Stream events go to the streams and are not among them.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkNotice {
    /// The state or the path in use changed.
    State(LinkStatus),
    /// The game moved.
    Moved {
        /// From.
        from: PathKind,
        /// To.
        to: PathKind,
        /// Why.
        reason: SwitchReason,
        /// Silence on the old path before.
        silent: Duration,
        /// What both paths cost by what was measured, where both are known.
        costs: Option<Costs>,
    },
    /// A path is ready to take the game, or carries it.
    Proven(PathKind),
    /// A path was silent for too long: open its carrier anew.
    GivenUp(PathKind),
    /// Over this path comes what was altered or replayed on the way.
    Tampered(PathKind),
    /// A carrier ended by itself; one that was replaced or detached is not told.
    CarrierEnded {
        /// Which.
        kind: PathKind,
        /// Why.
        reason: warp_link::CloseReason,
    },
    /// The link has ended; nothing follows.
    Closed(LinkEnd),
    /// The listener was slow: so many notices are lost. [`crate::LinkHandle::status`] is right.
    Missed(u64),
}

/// A listener.
#[derive(Debug)]
pub struct LinkNotices {
    rx: broadcast::Receiver<LinkNotice>,
    over: bool,
}

impl LinkNotices {
    /// `over`: the link has ended already.
    pub(crate) fn new(rx: broadcast::Receiver<LinkNotice>, over: bool) -> Self {
        // What came in between is still told.
        let over = over && rx.is_empty();
        Self { rx, over }
    }

    /// The next notice; `None` after the link's end. Safe to cancel.
    pub async fn recv(&mut self) -> Option<LinkNotice> {
        if self.over {
            return None;
        }
        match self.rx.recv().await {
            Ok(notice) => {
                // The last notice is never among the lost ones, which are the oldest.
                self.over = matches!(notice, LinkNotice::Closed(_));
                Some(notice)
            }
            Err(RecvError::Lagged(count)) => Some(LinkNotice::Missed(count)),
            Err(RecvError::Closed) => None,
        }
    }
}
