//! The queue of one reliable channel, cut into messages.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::wire::{self, BATCH_ENTRY, HEADER};
use crate::{MAX_BATCH_FRAMES, charge};

/// Longest batch, bytes: with SCTP's header one packet.
pub(crate) const MAX_BATCH: usize = crate::MAX_UNRELIABLE_FRAME + HEADER;

#[derive(Debug)]
struct Frame {
    /// As it travels.
    body: Bytes,
    /// Its length if the body is compressed.
    unpacked: Option<usize>,
}

impl Frame {
    fn cost(&self) -> usize {
        charge(self.unpacked.unwrap_or(self.body.len()))
    }

    fn fits_batch(&self, used: usize) -> bool {
        self.unpacked.is_none() && used + BATCH_ENTRY + self.body.len() <= MAX_BATCH
    }
}

/// What the queue would send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing waits, or nothing may go for want of credit.
    Nothing,
    /// Short frames only, which may wait for company.
    Short,
    /// A message that waits for nothing; about this many bytes.
    Ready(usize),
}

/// Frames of one channel, the credit that they need, and the frame that is being cut.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    frames: VecDeque<Frame>,
    /// Bytes that wait, as they travel, with overhead; the rest of the frame being cut included.
    queued: usize,
    cutting: Option<Bytes>,
    spent: u64,
    credit: u64,
}

impl Bulk {
    /// Adds a frame as it travels.
    pub(crate) fn push(&mut self, body: Bytes, unpacked: Option<usize>) {
        self.queued = self.queued.saturating_add(charge(body.len()));
        self.frames.push_back(Frame { body, unpacked });
    }

    /// Bytes that wait, overhead included.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// What may be sent in all; less than before is not believed.
    pub(crate) fn on_credit(&mut self, credit: u64) {
        self.credit = self.credit.max(credit);
    }

    fn affordable(&self, frame: &Frame, beside: usize) -> bool {
        let cost = (frame.cost() + beside) as u64;
        self.spent.saturating_add(cost) <= self.credit
    }

    /// What comes next, in pieces of `piece` bytes.
    pub(crate) fn next(&self, piece: usize) -> Next {
        if let Some(rest) = &self.cutting {
            return Next::Ready(rest.len().min(piece));
        }
        let Some(first) = self.frames.front() else {
            return Next::Nothing;
        };
        if !self.affordable(first, 0) {
            return Next::Nothing;
        }
        if !first.fits_batch(HEADER) {
            return Next::Ready(first.body.len().min(piece));
        }
        let (mut used, mut cost) = (HEADER, 0);
        for (index, frame) in self.frames.iter().enumerate() {
            if index == MAX_BATCH_FRAMES || !frame.fits_batch(used) || !self.affordable(frame, cost)
            {
                return Next::Ready(used);
            }
            used += BATCH_ENTRY + frame.body.len();
            cost += frame.cost();
        }
        if self.frames.len() >= MAX_BATCH_FRAMES {
            Next::Ready(used)
        } else {
            Next::Short
        }
    }

    /// The next message; call it only when [`Bulk::next`] names one. `batched` allows a batch.
    pub(crate) fn cut(&mut self, piece: usize, batched: bool) -> Option<(BytesMut, usize)> {
        if let Some(mut rest) = self.cutting.take() {
            let part = rest.split_to(rest.len().min(piece));
            self.queued = self.queued.saturating_sub(part.len());
            if !rest.is_empty() {
                self.cutting = Some(rest);
            }
            return Some((wire::more(&part), 0));
        }
        if batched && let Some(batch) = self.cut_batch() {
            return Some(batch);
        }
        let frame = self.take()?;
        let message = wire::beginning(&frame.body, frame.unpacked, piece);
        if frame.body.len() > piece {
            let rest = frame.body.slice(piece..);
            self.queued = self.queued.saturating_add(rest.len());
            self.cutting = Some(rest);
        }
        Some((message, 1))
    }

    fn take(&mut self) -> Option<Frame> {
        let front = self.frames.front()?;
        if !self.affordable(front, 0) {
            return None;
        }
        let frame = self.frames.pop_front()?;
        self.spent = self.spent.saturating_add(frame.cost() as u64);
        self.queued = self.queued.saturating_sub(charge(frame.body.len()));
        Some(frame)
    }

    /// A batch of at least two frames.
    fn cut_batch(&mut self) -> Option<(BytesMut, usize)> {
        let first = self
            .frames
            .front()
            .filter(|first| first.fits_batch(HEADER))?;
        let used = HEADER + BATCH_ENTRY + first.body.len();
        let second = self.frames.get(1).filter(|next| next.fits_batch(used))?;
        if !self.affordable(second, first.cost()) {
            return None;
        }
        let mut batch = wire::begin_batch(MAX_BATCH);
        let mut count = 0;
        while count < MAX_BATCH_FRAMES
            && self
                .frames
                .front()
                .is_some_and(|frame| frame.fits_batch(batch.len()))
            && let Some(frame) = self.take()
        {
            wire::add_to_batch(&mut batch, &frame.body);
            count += 1;
        }
        Some((batch, count))
    }
}
