//! What a connection still has to send, and whether it shall end.

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::CloseReason;

/// How many unsent bytes a connection may pile up. Full: the connection is closed with
/// [`CloseReason::SlowReader`]; what was queued before is still sent, nothing after.
pub const OUTBOX_BUDGET: usize = 1 << 20;

/// The outgoing queue of one connection. Other connections put packets in, its own task sends.
#[derive(Default)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    closing: Option<CloseReason>,
}

impl Outbox {
    /// Queues whole packets. Does nothing once the connection is closing.
    pub(super) fn push(&self, packets: &[u8]) {
        let mut inner = self.inner.lock();
        if inner.closing.is_some() {
            return;
        }
        if inner.bytes.len() + packets.len() > OUTBOX_BUDGET {
            inner.closing = Some(CloseReason::SlowReader);
        } else {
            inner.bytes.extend_from_slice(packets);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Asks the connection to send what is queued and end. The first reason stays.
    pub(super) fn close(&self, reason: CloseReason) {
        self.inner.lock().closing.get_or_insert(reason);
        self.changed.notify_one();
    }

    /// Moves what is queued to `pending`, and tells whether to end after it.
    pub(super) fn drain_into(&self, pending: &mut Vec<u8>) -> Option<CloseReason> {
        let mut inner = self.inner.lock();
        pending.append(&mut inner.bytes);
        inner.closing
    }

    /// Returns once something was queued or the connection was asked to end.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_never_reads_is_closed_and_costs_no_more_than_the_budget() {
        let outbox = Outbox::default();
        let packet = vec![1; 1000];
        for _ in 0..OUTBOX_BUDGET / 1000 + 5 {
            outbox.push(&packet);
        }
        let mut pending = Vec::new();
        assert_eq!(
            outbox.drain_into(&mut pending),
            Some(CloseReason::SlowReader)
        );
        assert!(pending.len() <= OUTBOX_BUDGET);
        assert_eq!(pending.len() % 1000, 0, "packets are queued whole");
    }

    #[test]
    fn the_first_reason_stays_and_nothing_follows_it() {
        let outbox = Outbox::default();
        outbox.push(&[1]);
        outbox.close(CloseReason::Kicked);
        outbox.close(CloseReason::Idle);
        outbox.push(&[2]);
        let mut pending = Vec::new();
        assert_eq!(outbox.drain_into(&mut pending), Some(CloseReason::Kicked));
        assert_eq!(pending, [1]);
    }
}
