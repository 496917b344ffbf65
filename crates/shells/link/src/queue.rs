//! A queue of datagrams, bounded in bytes, between a caller who must never wait and one task that drains it.
//!
//! When it is full the *newest* datagram is refused: the caller counts it and drops it. QUIC sees the
//! loss and sends again; older datagrams are closer to the wire and would be lost for nothing.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What each entry is charged beside its bytes, so that empty datagrams cannot fill the memory.
/// The size of a `Bytes` handle and its reference-counted header, rounded up.
pub(crate) const ENTRY_OVERHEAD: usize = 64;

/// Why a datagram was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The byte budget is used up.
    Full,
    /// The queue was closed.
    Closed,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Bytes>,
    charged: usize,
    closed: bool,
}

/// Many producers, one consumer (a second consumer could miss a wake-up).
#[derive(Debug)]
pub(crate) struct DatagramQueue {
    state: Mutex<State>,
    /// Stores one permit, so a push between the consumer's look and its wait is not missed.
    ready: Notify,
    capacity: usize,
}

impl DatagramQueue {
    /// An empty queue that takes `capacity` bytes, 64 bytes of overhead per datagram included.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State::default()),
            ready: Notify::new(),
            capacity,
        }
    }

    /// Adds `datagram`, or refuses it at once.
    pub(crate) fn push(&self, datagram: Bytes) -> Result<(), Refused> {
        let charge = datagram.len().saturating_add(ENTRY_OVERHEAD);
        {
            let mut state = self.state.lock();
            if state.closed {
                return Err(Refused::Closed);
            }
            let charged = state.charged.saturating_add(charge);
            if charged > self.capacity {
                return Err(Refused::Full);
            }
            state.charged = charged;
            state.items.push_back(datagram);
        }
        self.ready.notify_one();
        Ok(())
    }

    /// Takes the oldest datagram if there is one.
    pub(crate) fn try_pop(&self) -> Option<Bytes> {
        let mut state = self.state.lock();
        let datagram = state.items.pop_front()?;
        state.charged = state
            .charged
            .saturating_sub(datagram.len().saturating_add(ENTRY_OVERHEAD));
        Some(datagram)
    }

    /// Waits for the oldest datagram; `None` once the queue is closed and empty. Safe to cancel.
    pub(crate) async fn pop(&self) -> Option<Bytes> {
        loop {
            if let Some(datagram) = self.try_pop() {
                return Some(datagram);
            }
            if self.state.lock().closed {
                // Closing and pushing exclude each other, so nothing can have come in between.
                return self.try_pop();
            }
            self.ready.notified().await;
        }
    }

    /// Refuses what comes from now on; what is queued can still be taken.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_one();
    }

    /// Bytes waiting, overhead included.
    pub(crate) fn charged(&self) -> usize {
        self.state.lock().charged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[tokio::test]
    async fn what_is_queued_survives_the_close() {
        let queue = DatagramQueue::new(1024);
        queue.push(Bytes::from_static(b"a")).unwrap();
        queue.close();
        assert_eq!(queue.push(Bytes::from_static(b"b")), Err(Refused::Closed));
        assert_eq!(queue.pop().await.as_deref(), Some(&b"a"[..]));
        assert_eq!(queue.pop().await, None);
        assert_eq!(queue.pop().await, None);
    }

    #[tokio::test]
    async fn a_waiting_consumer_is_woken() {
        let queue = std::sync::Arc::new(DatagramQueue::new(1024));
        let consumer = tokio::spawn({
            let queue = queue.clone();
            async move { (queue.pop().await, queue.pop().await) }
        });
        queue.push(Bytes::from_static(b"x")).unwrap();
        tokio::task::yield_now().await;
        queue.close();
        let (first, second) = consumer.await.unwrap();
        assert_eq!(first.as_deref(), Some(&b"x"[..]));
        assert_eq!(second, None);
    }

    proptest! {
        #[test]
        fn the_budget_is_never_exceeded_and_order_is_kept(
            sizes in proptest::collection::vec(0_usize..400, 0..200),
            takes in proptest::collection::vec(any::<bool>(), 0..200),
        ) {
            let queue = DatagramQueue::new(2048);
            let mut model: VecDeque<usize> = VecDeque::new();
            for (index, size) in sizes.iter().enumerate() {
                let held: usize = model.iter().map(|held| held + ENTRY_OVERHEAD).sum();
                let fits = held + size + ENTRY_OVERHEAD <= 2048;
                let outcome = queue.push(Bytes::from(vec![0; *size]));
                prop_assert_eq!(outcome.is_ok(), fits);
                if fits {
                    model.push_back(*size);
                }
                prop_assert!(queue.charged() <= 2048);
                if takes.get(index).copied().unwrap_or(false) {
                    prop_assert_eq!(queue.try_pop().map(|datagram| datagram.len()), model.pop_front());
                }
            }
            while let Some(expected) = model.pop_front() {
                prop_assert_eq!(queue.try_pop().map(|datagram| datagram.len()), Some(expected));
            }
            prop_assert_eq!(queue.charged(), 0);
        }
    }
}
