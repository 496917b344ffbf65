//! What waits to be written to a control socket, the same at both of its ends.
//!
//! * Control messages: at most [`CONTROL_BYTES`]. None may be lost, so when there is no room the
//!   socket ends ([`Outbound::next`] gives `None`), and the next one begins with what is held.
//! * Signaling messages are what launchers send, and stand among the former in their order. They may
//!   fill the first half of that room; beyond it they are dropped, so that no launcher ends the socket.
//! * Relayed datagrams: at most [`DATAGRAM_BYTES`]; beyond that the newest is refused. They are
//!   written when no control message waits.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use warp_link::SendRefused;
use warp_protocol::endpoint::relayed;

/// Bytes of control messages that wait at most.
pub const CONTROL_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of relayed datagrams that wait at most.
pub const DATAGRAM_BYTES: usize = 1024 * 1024;

/// A frame to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A control message.
    Text(String),
    /// A relayed datagram.
    Binary(Bytes),
}

#[derive(Debug, Default)]
struct Waiting {
    control: VecDeque<String>,
    control_bytes: usize,
    datagrams: VecDeque<Bytes>,
    datagram_bytes: usize,
    closed: bool,
    /// Ends when it is empty.
    finishing: bool,
}

/// The way out of one control socket. Whoever writes takes with [`Outbound::next`].
#[derive(Debug, Default)]
pub struct Outbound {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

impl Outbound {
    /// Puts a message behind the others. After the end it goes nowhere.
    pub fn say(&self, message: &impl Serialize) {
        self.put(message, false);
    }

    /// The same for a signaling message, which may be dropped.
    pub fn pass(&self, message: &impl Serialize) {
        self.put(message, true);
    }

    fn put(&self, message: &impl Serialize, may_drop: bool) {
        let Ok(text) = serde_json::to_string(message) else {
            return;
        };
        let mut waiting = self.waiting.lock();
        if waiting.closed || waiting.finishing {
            return;
        }
        let after = waiting.control_bytes + text.len();
        if may_drop && after > CONTROL_BYTES / 2 {
            tracing::debug!("a signal was dropped: the control socket is slow");
            return;
        }
        if after > CONTROL_BYTES {
            tracing::warn!("the control socket does not take what it has to; it ends");
            waiting.closed = true;
        } else {
            waiting.control_bytes += text.len();
            waiting.control.push_back(text);
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Puts a datagram of a relayed carrier behind the others.
    ///
    /// # Errors
    /// There is no room, or the socket has ended.
    pub fn relay(&self, carrier: u32, datagram: &[u8]) -> Result<(), SendRefused> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(SendRefused::Closed);
        }
        let frame = Bytes::from(relayed(carrier, datagram));
        if waiting.datagram_bytes + frame.len() > DATAGRAM_BYTES {
            return Err(SendRefused::Full);
        }
        waiting.datagram_bytes += frame.len();
        waiting.datagrams.push_back(frame);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Ends it when what waits is written.
    pub fn finish(&self) {
        self.waiting.lock().finishing = true;
        self.changed.notify_one();
    }

    /// Ends it: nothing more is taken or given.
    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_one();
    }

    /// The next frame; `None` at the end. For one caller. Safe to cancel.
    pub async fn next(&self) -> Option<Frame> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if waiting.closed {
                    return None;
                }
                if let Some(text) = waiting.control.pop_front() {
                    waiting.control_bytes -= text.len();
                    return Some(Frame::Text(text));
                }
                if let Some(datagram) = waiting.datagrams.pop_front() {
                    waiting.datagram_bytes -= datagram.len();
                    return Some(Frame::Binary(datagram));
                }
                if waiting.finishing {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_protocol::endpoint::FromEndpoint;

    #[tokio::test]
    async fn control_goes_first_and_a_full_queue_drops_datagrams_only() {
        let out = Outbound::default();
        let datagram = [7; 1000];
        let taken = (0..).take_while(|_| out.relay(1, &datagram).is_ok());
        assert_eq!(taken.count(), DATAGRAM_BYTES / 1004);
        assert_eq!(out.relay(1, &datagram), Err(SendRefused::Full));
        out.say(&FromEndpoint::Alive);
        assert!(matches!(out.next().await, Some(Frame::Text(_))));
        assert!(matches!(out.next().await, Some(Frame::Binary(_))));
        assert_eq!(out.relay(1, &datagram), Ok(()));
        out.close();
        assert_eq!(out.next().await, None);
        assert_eq!(out.relay(1, &datagram), Err(SendRefused::Closed));
    }

    #[tokio::test]
    async fn too_much_control_ends_it() {
        let out = Outbound::default();
        let message = "x".repeat(CONTROL_BYTES / 4);
        for _ in 0..8 {
            // Signals alone do not.
            out.pass(&message);
        }
        assert!(matches!(out.next().await, Some(Frame::Text(_))));
        for _ in 0..5 {
            out.say(&message);
        }
        assert_eq!(out.next().await, None);
    }
}
