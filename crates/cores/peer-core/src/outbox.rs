//! Everything that waits to be sent to one peer, and what of it goes next.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::bandwidth::Bandwidth;
use crate::bulk::{Bulk, MAX_BATCH, Next};
use crate::channel::{Channel, Class, Credited};
use crate::control::{Control, Credits};
use crate::pacer::Pacer;
use crate::packing;
use crate::unreliable::Unreliable;
use crate::wire::{self, BATCH_ENTRY, HEADER};
use crate::{MAX_BATCH_FRAMES, charge};

/// Bytes of control that may wait, overhead included. Full: the sender waits.
const CONTROL_QUEUE: usize = 256 * 1024;

/// How many messages of the peer layer itself may wait. They answer what the other side sends, and
/// newer ones say all that older ones said: full, the oldest goes.
const NOTICES: usize = 64;

/// What can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Bytes on reliable and file together from which on senders wait. A quarter of it belongs to
    /// reliable and the rest to file, so that a file that nobody takes does not stop reliable.
    pub high_water: usize,
    /// Bytes from which on they may go on, shared out alike.
    pub low_water: usize,
    /// How long a short frame may wait for company; zero: not at all.
    pub batch_hold: Duration,
    /// From how many bytes on a frame on reliable and file is compressed; `None`: never.
    pub compression_threshold: Option<usize>,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            high_water: 16 * 1024 * 1024,
            low_water: 1024 * 1024,
            batch_hold: Duration::from_millis(5),
            compression_threshold: Some(1024),
        }
    }
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// Longer than the channel takes: [`Channel::max_frame`].
    #[error("the frame is longer than the channel takes")]
    TooLong,
    /// The queue is full. On a reliable channel: wait. On the unreliable one it was dropped.
    #[error("the peer takes less than is sent, and the queue is full")]
    Full,
}

/// A message for the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it belongs.
    pub channel: Channel,
    /// The whole message.
    pub message: BytesMut,
}

/// Counts since the outbox was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxStats {
    /// Frames that left, in the order of [`Channel::ALL`].
    pub frames: [u64; 4],
    /// Messages that left.
    pub messages: [u64; 4],
    /// Bytes of those.
    pub bytes: [u64; 4],
    /// Frames dropped on the unreliable channel, in the order of [`Class::ALL`].
    pub dropped: [u64; 4],
    /// Bytes of the frames that were compressed, before.
    pub unpacked: u64,
    /// And after.
    pub packed: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Outbox {
    config: OutboxConfig,
    notices: VecDeque<Control>,
    probes: VecDeque<Control>,
    control: Bulk,
    unreliable: Unreliable,
    reliable: Bulk,
    file: Bulk,
    /// Senders wait, until low water.
    reliable_waits: bool,
    file_waits: bool,
    pacer: Pacer,
    bandwidth: Bandwidth,
    unreliable_sent: Option<Instant>,
    reliable_sent: Option<Instant>,
    wake: Option<Instant>,
    stats: OutboxStats,
}

impl Outbox {
    /// Empty, and without credit: only the unreliable channel and the peer layer's own messages go
    /// before the other side has said hello.
    pub fn new(config: OutboxConfig, now: Instant) -> Self {
        Self {
            config,
            notices: VecDeque::new(),
            probes: VecDeque::new(),
            control: Bulk::default(),
            unreliable: Unreliable::default(),
            reliable: Bulk::default(),
            file: Bulk::default(),
            reliable_waits: false,
            file_waits: false,
            pacer: Pacer::default(),
            bandwidth: Bandwidth::new(now),
            unreliable_sent: None,
            reliable_sent: None,
            wake: None,
            stats: OutboxStats::default(),
        }
    }

    /// Adds a frame. The class counts on the unreliable channel only.
    ///
    /// # Errors
    /// [`Refused`]; the frame was not taken.
    pub fn push(
        &mut self,
        channel: Channel,
        class: Class,
        frame: Bytes,
        now: Instant,
    ) -> Result<(), Refused> {
        if frame.len() > channel.max_frame() {
            return Err(Refused::TooLong);
        }
        if !self.takes(channel) {
            return Err(Refused::Full);
        }
        match channel {
            Channel::Unreliable => {
                if !self.unreliable.push(class, frame, now) {
                    return Err(Refused::Full);
                }
            }
            Channel::Control => self.control.push(frame, None),
            Channel::Reliable | Channel::File => self.push_bulk(channel, frame),
        }
        Ok(())
    }

    fn push_bulk(&mut self, channel: Channel, frame: Bytes) {
        let packed = self
            .config
            .compression_threshold
            .filter(|threshold| frame.len() >= *threshold)
            .and_then(|_| packing::pack(&frame));
        let unpacked = packed.as_ref().map(|_| frame.len());
        if let Some(packed) = &packed {
            self.stats.unpacked = self.stats.unpacked.saturating_add(frame.len() as u64);
            self.stats.packed = self.stats.packed.saturating_add(packed.len() as u64);
        }
        let body = packed.unwrap_or(frame);
        if channel == Channel::File {
            self.file.push(body, unpacked);
        } else {
            self.reliable.push(body, unpacked);
        }
        let high = self.config.high_water;
        self.reliable_waits |= self.reliable.queued() >= high / 4;
        self.file_waits |= self.file.queued() >= high - high / 4;
    }

    /// Whether a frame of at most the channel's length would be taken now.
    pub fn takes(&self, channel: Channel) -> bool {
        match channel {
            Channel::Control => {
                self.control.queued() + charge(channel.max_frame()) <= CONTROL_QUEUE
            }
            // It makes room by dropping.
            Channel::Unreliable => true,
            Channel::Reliable => !self.reliable_waits,
            Channel::File => !self.file_waits,
        }
    }

    /// Adds a message of the peer layer itself.
    pub fn notify(&mut self, control: Control) {
        let queue = if control.is_probe() {
            &mut self.probes
        } else {
            &mut self.notices
        };
        if queue.len() >= NOTICES {
            queue.pop_front();
        }
        queue.push_back(control);
    }

    /// What the other side allows in all.
    pub fn on_credits(&mut self, credits: Credits) {
        for credited in Credited::ALL {
            let credit = credits[credited.index()];
            match credited {
                Credited::Control => self.control.on_credit(credit),
                Credited::Reliable => self.reliable.on_credit(credit),
                Credited::File => self.file.on_credit(credit),
            }
        }
    }

    /// `outstanding` bytes of reliable and file lie in SCTP.
    pub fn on_outstanding(&mut self, outstanding: usize, now: Instant) {
        self.pacer.on_outstanding(outstanding, now);
    }

    /// The rate of the unreliable channel, to be told of reports and round trips.
    pub fn bandwidth_mut(&mut self) -> &mut Bandwidth {
        &mut self.bandwidth
    }

    /// The rate of the unreliable channel.
    pub fn bandwidth(&self) -> &Bandwidth {
        &self.bandwidth
    }

    /// The window of reliable and file.
    pub fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    /// Whether something waits on reliable or file for room in SCTP.
    pub fn wants_bulk(&self) -> bool {
        let piece = self.pacer.piece();
        self.reliable.next(piece) != Next::Nothing || self.file.next(piece) != Next::Nothing
    }

    /// Bytes that wait on reliable and file, overhead included.
    pub fn bulk_queued(&self) -> usize {
        self.reliable.queued() + self.file.queued()
    }

    /// Bytes that wait on all channels, overhead included.
    pub fn queued(&self) -> usize {
        self.bulk_queued() + self.control.queued() + self.unreliable.charged()
    }

    /// The counts so far.
    pub fn stats(&self) -> OutboxStats {
        OutboxStats {
            dropped: self.unreliable.dropped,
            ..self.stats
        }
    }

    /// When [`Outbox::poll`] has something that it has not now, other events aside.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wake
    }

    /// The next message. `unreliable` says whether SCTP takes one on the unreliable channel.
    pub fn poll(&mut self, unreliable: bool, now: Instant) -> Option<Outgoing> {
        self.wake = None;
        if let Some(notice) = self.notices.pop_front() {
            return Some(self.outgoing(Channel::Control, notice.encode(), 0));
        }
        if let Some((message, frames)) = self.control.cut(usize::MAX, false) {
            return Some(self.outgoing(Channel::Control, message, frames));
        }
        if unreliable {
            if let Some(probe) = self.probes.pop_front() {
                return Some(self.outgoing(Channel::Unreliable, probe.encode(), 0));
            }
            if let Some(message) = self.poll_unreliable(now) {
                return Some(message);
            }
        }
        self.poll_reliable(now).or_else(|| self.poll_file(now))
    }

    fn poll_unreliable(&mut self, now: Instant) -> Option<Outgoing> {
        let class = self.unreliable.next(now)?;
        if class != Class::Critical {
            if !self.bandwidth.allows(now) {
                let next = self.bandwidth.next(now);
                self.wake_at(next);
                return None;
            }
            if !self.unreliable.fills_a_batch(class)
                && let Some(wait) = self.held(self.unreliable_sent, now)
            {
                self.wake_at(wait);
                return None;
            }
        }
        self.unreliable_sent = Some(now);
        let first = self.unreliable.take(class)?;
        let (message, frames) = self.batch_unreliable(first, now);
        self.bandwidth.on_sent(message.len());
        Some(self.outgoing(Channel::Unreliable, message, frames))
    }

    /// `first` alone, or with what follows and fits.
    fn batch_unreliable(&mut self, first: Bytes, now: Instant) -> (BytesMut, usize) {
        let mut used = HEADER + BATCH_ENTRY + first.len();
        let mut frames = vec![first];
        while frames.len() < MAX_BATCH_FRAMES
            && let Some(class) = self.unreliable.next(now)
            && let Some(next) = self.unreliable.peek(class)
            && used + BATCH_ENTRY + next.len() <= MAX_BATCH
        {
            used += BATCH_ENTRY + next.len();
            frames.extend(self.unreliable.take(class));
        }
        if let [only] = frames.as_slice() {
            return (wire::whole(only), 1);
        }
        let mut batch = wire::begin_batch(used);
        for frame in &frames {
            wire::add_to_batch(&mut batch, frame);
        }
        (batch, frames.len())
    }

    fn poll_reliable(&mut self, now: Instant) -> Option<Outgoing> {
        let piece = self.pacer.piece();
        let bytes = match self.reliable.next(piece) {
            Next::Nothing => return None,
            Next::Short => {
                if let Some(wait) = self.held(self.reliable_sent, now) {
                    self.wake_at(wait);
                    return None;
                }
                MAX_BATCH
            }
            Next::Ready(bytes) => bytes,
        };
        // One piece more than file may: a reliable frame need not wait until file's are through.
        if self.pacer.room() + piece < bytes {
            return None;
        }
        let (message, frames) = self.reliable.cut(piece, true)?;
        self.reliable_sent = Some(now);
        Some(self.outgoing_bulk(Channel::Reliable, message, frames, now))
    }

    fn poll_file(&mut self, now: Instant) -> Option<Outgoing> {
        let piece = self.pacer.piece();
        let bytes = match self.file.next(piece) {
            Next::Nothing => return None,
            Next::Short => HEADER,
            Next::Ready(bytes) => bytes,
        };
        if self.pacer.room() < bytes {
            return None;
        }
        let (message, frames) = self.file.cut(piece, false)?;
        Some(self.outgoing_bulk(Channel::File, message, frames, now))
    }

    fn outgoing_bulk(
        &mut self,
        channel: Channel,
        message: BytesMut,
        frames: usize,
        now: Instant,
    ) -> Outgoing {
        self.pacer.on_sent(message.len(), now);
        let low = self.config.low_water;
        self.reliable_waits &= self.reliable.queued() > low / 4;
        self.file_waits &= self.file.queued() > low - low / 4;
        self.outgoing(channel, message, frames)
    }

    fn outgoing(&mut self, channel: Channel, message: BytesMut, frames: usize) -> Outgoing {
        let add = |count: &mut u64, by: usize| *count = count.saturating_add(by as u64);
        let at = channel as usize;
        add(&mut self.stats.messages[at], 1);
        add(&mut self.stats.frames[at], frames);
        add(&mut self.stats.bytes[at], message.len());
        Outgoing { channel, message }
    }

    /// Until when a short frame waits for company; `None`: it goes.
    fn held(&self, last: Option<Instant>, now: Instant) -> Option<Instant> {
        last.map(|last| last + self.config.batch_hold)
            .filter(|until| *until > now)
    }

    fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}
