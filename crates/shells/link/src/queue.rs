//! A queue of datagrams, bounded in bytes, between a caller who must never wait and one task that drains it.
//!
//! When it is full the *newest* datagram is refused: the caller counts it and drops it. QUIC sees the
//! loss and sends again; older datagrams are closer to the wire and would be lost for nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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

/// What is told of waiting is of this time, or of two or three times as long.
const WINDOW: Duration = Duration::from_secs(1);

/// The longest that something waited lately.
#[derive(Debug, Default)]
struct Longest {
    /// Since when [`Longest::now`] is counted.
    since: Option<Instant>,
    now: Duration,
    before: Duration,
}

impl Longest {
    fn turn(&mut self, at: Instant) {
        let passed = self.since.map(|since| at.saturating_duration_since(since));
        match passed {
            Some(passed) if passed < WINDOW => return,
            Some(passed) if passed < 2 * WINDOW => self.before = self.now,
            _ => self.before = Duration::ZERO,
        }
        (self.since, self.now) = (Some(at), Duration::ZERO);
    }

    fn note(&mut self, at: Instant, waited: Duration) {
        self.turn(at);
        self.now = self.now.max(waited);
    }
}

#[derive(Debug, Default)]
struct State {
    /// Each with the moment when it came.
    items: VecDeque<(Instant, Bytes)>,
    charged: usize,
    closed: bool,
    waited: Longest,
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
        let now = Instant::now();
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
            state.items.push_back((now, datagram));
        }
        self.ready.notify_one();
        Ok(())
    }

    /// Takes the oldest datagram if there is one.
    pub(crate) fn try_pop(&self) -> Option<Bytes> {
        let mut state = self.state.lock();
        let (came, datagram) = state.items.pop_front()?;
        let now = Instant::now();
        state.waited.note(now, now.saturating_duration_since(came));
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

    /// The longest that a datagram of the last second or two waited here, or has waited so far.
    pub(crate) fn waited(&self) -> Duration {
        let now = Instant::now();
        let state = &mut *self.state.lock();
        state.waited.turn(now);
        let oldest = state.items.front();
        let oldest = oldest.map(|(came, _)| now.saturating_duration_since(*came));
        let left = state.waited.now.max(state.waited.before);
        oldest.unwrap_or_default().max(left)
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

    #[test]
    fn the_longest_wait_is_remembered_for_a_second_or_two() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let told = |longest: &mut Longest, ms: u64| {
            longest.turn(at(ms));
            longest.now.max(longest.before).as_millis()
        };
        let mut longest = Longest::default();
        assert_eq!(told(&mut longest, 0), 0);
        longest.note(at(100), Duration::from_millis(30));
        longest.note(at(900), Duration::from_millis(5));
        assert_eq!(told(&mut longest, 999), 30);
        longest.note(at(1100), Duration::from_millis(7));
        assert_eq!(told(&mut longest, 1999), 30);
        assert_eq!(told(&mut longest, 2200), 7);
        // After a pause nothing of before counts.
        assert_eq!(told(&mut longest, 9000), 0);
    }

    #[test]
    fn what_waits_counts_before_it_has_left() {
        let queue = DatagramQueue::new(1024);
        assert_eq!(queue.waited(), Duration::ZERO);
        queue.push(Bytes::from_static(b"x")).unwrap();
        let came = queue.state.lock().items[0].0;
        // One that does not leave waits ever longer.
        let waited = queue.waited();
        assert!(waited <= came.elapsed());
        assert!(queue.waited() >= waited);
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
