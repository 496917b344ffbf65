//! The queue of the unreliable channel.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::bulk::MAX_BATCH;
use crate::channel::Class;
use crate::wire::{BATCH_ENTRY, HEADER};
use crate::{FRAME_OVERHEAD, MAX_BATCH_FRAMES, charge};

/// Bytes that may wait, overhead included. Full: the oldest frame of the lowest class goes, if it
/// is no higher than the new one's; otherwise the new one does. Critical frames never go: a critical
/// one that finds nothing but critical ones is refused, and its sender knows.
const CAPACITY: usize = 256 * 1024;

/// A frame below *critical* that has waited for so long is of no use to anybody.
const STALE: Duration = Duration::from_millis(500);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Unreliable {
    lanes: [VecDeque<(Bytes, Instant)>; 4],
    charged: usize,
    /// Dropped because the queue was full or they were stale, in the order of [`Class::ALL`].
    pub(crate) dropped: [u64; 4],
}

impl Unreliable {
    /// Whether the frame was taken.
    pub(crate) fn push(&mut self, class: Class, frame: Bytes, now: Instant) -> bool {
        let charge = charge(frame.len());
        while self.charged.saturating_add(charge) > CAPACITY {
            let lowest = Class::ALL
                .into_iter()
                .rev()
                .find(|lowest| !self.lanes[lowest.index()].is_empty());
            match lowest {
                Some(lowest) if lowest >= class && lowest != Class::Critical => {
                    self.take(lowest);
                    self.count(lowest);
                }
                _ => {
                    if class != Class::Critical {
                        self.count(class);
                    }
                    return false;
                }
            }
        }
        self.charged += charge;
        self.lanes[class.index()].push_back((frame, now));
        true
    }

    /// Drops what is stale, and names the highest class that has something.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Class> {
        for class in [Class::High, Class::Normal, Class::Low] {
            while self.lanes[class.index()]
                .front()
                .is_some_and(|(_, since)| now.saturating_duration_since(*since) >= STALE)
            {
                self.take(class);
                self.count(class);
            }
        }
        Class::ALL
            .into_iter()
            .find(|class| !self.lanes[class.index()].is_empty())
    }

    /// The oldest frame of a class.
    pub(crate) fn peek(&self, class: Class) -> Option<&Bytes> {
        self.lanes[class.index()].front().map(|(frame, _)| frame)
    }

    /// Takes the oldest frame of a class.
    pub(crate) fn take(&mut self, class: Class) -> Option<Bytes> {
        let (frame, _) = self.lanes[class.index()].pop_front()?;
        self.charged = self.charged.saturating_sub(charge(frame.len()));
        Some(frame)
    }

    /// Frames that wait.
    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Whether waiting for company would gain nothing: a batch is full, or the next frame alone takes
    /// more than half of one.
    pub(crate) fn fills_a_batch(&self, next: Class) -> bool {
        let frames = self.len();
        let overhead = frames * (FRAME_OVERHEAD - BATCH_ENTRY);
        let bytes = HEADER + self.charged.saturating_sub(overhead);
        let long = self
            .peek(next)
            .is_some_and(|frame| frame.len() > MAX_BATCH / 2);
        frames >= MAX_BATCH_FRAMES || bytes >= MAX_BATCH || long
    }

    /// Bytes that wait, overhead included.
    pub(crate) fn charged(&self) -> usize {
        self.charged
    }

    fn count(&mut self, class: Class) {
        let dropped = &mut self.dropped[class.index()];
        *dropped = dropped.saturating_add(1);
    }
}
