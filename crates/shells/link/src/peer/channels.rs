//! The four channels of an open peer connection, as the application sees them.
//!
//! | channel | [`ChannelSender::send`] on a full queue | lost |
//! |---|---|---|
//! | control, reliable, file | waits until the other side takes more | with the connection only |
//! | unreliable | drops the oldest of the lowest class | on the way, and by a receiver that lags |
//!
//! What the other side sends is held until it is taken, within the credit that it was given
//! ([`warp_peer_core::WINDOWS`]); one channel that nobody reads holds up no other. As long as nobody has
//! asked for the channels there is no credit, and what comes on the unreliable one is dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use warp_peer_core::{
    Channel, Class, Control, Credited, FRAME_OVERHEAD, Inbound, Inbox, Outbox, OutboxConfig,
    OutboxStats, Refused, Violation, WINDOWS,
};

use crate::carrier::{CloseReason, Core, QUEUE_BYTES};
use crate::queue::DatagramQueue;

/// Why a frame was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SendError {
    /// The frame was not taken.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The connection has ended.
    #[error("the peer connection has ended")]
    Closed,
}

/// Counts and measurements of a connection. What was not measured is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelStats {
    /// What left.
    pub sent: OutboxStats,
    /// Bytes that wait to be sent, overhead included.
    pub queued: usize,
    /// Frames that arrived and that nobody took in time, on the unreliable channel.
    pub lagged: u64,
    /// Messages and bytes that arrived on the unreliable channel.
    pub arrived: (u64, u64),
    /// The last round trip of a ping.
    pub round_trip: Option<Duration>,
    /// Share of our messages on the unreliable channel that was lost, by the other side's reports.
    pub loss: Option<f64>,
    /// What may lie in SCTP of reliable and file, bytes.
    pub bulk_window: usize,
    /// What may leave on the unreliable channel below class *critical*, bytes a second.
    pub unreliable_rate: f64,
}

#[derive(Debug)]
struct Boxes {
    outbox: Outbox,
    inbox: Inbox,
    heard_at: Instant,
    lagged: u64,
    /// The ping on its way, and when it left.
    ping: Option<(u32, Instant)>,
    pings: u32,
}

/// What the application's handles and the pump share.
#[derive(Debug)]
pub(super) struct Traffic {
    boxes: Mutex<Boxes>,
    /// Frames for the application, per channel in the order of [`Channel::ALL`].
    inbound: [DatagramQueue; 4],
    /// Something can be sent that could not before.
    pub(super) outgoing: Notify,
    /// A reliable channel takes frames again.
    room: Notify,
    pub(super) silent: watch::Sender<bool>,
}

impl Traffic {
    pub(super) fn new(config: OutboxConfig) -> Self {
        let now = Instant::now();
        // Credit is counted with the same overhead as the queue, so those of the reliable channels
        // are never full; the one of the unreliable channel drops what comes last.
        let [control, reliable, file] = WINDOWS;
        Self {
            boxes: Mutex::new(Boxes {
                outbox: Outbox::new(config, now),
                inbox: Inbox::default(),
                heard_at: now,
                lagged: 0,
                ping: None,
                pings: 0,
            }),
            inbound: [control, QUEUE_BYTES, reliable, file].map(DatagramQueue::new),
            outgoing: Notify::new(),
            room: Notify::new(),
            silent: watch::channel(false).0,
        }
    }

    /// No frame goes in or out any more; what has arrived can still be taken.
    pub(super) fn end(&self) {
        self.inbound.iter().for_each(DatagramQueue::close);
        self.room.notify_waiters();
    }

    /// A message came. Datagrams go to `core`. Says whether it was a hello, and which.
    pub(super) fn on_message(
        &self,
        core: &Core,
        channel: Channel,
        message: Bytes,
    ) -> Result<Option<bool>, Violation> {
        let now = Instant::now();
        let mut hello = None;
        let mut boxes = self.boxes.lock();
        let Boxes {
            outbox,
            inbox,
            heard_at,
            lagged,
            ping,
            ..
        } = &mut *boxes;
        *heard_at = now;
        let mut wake = false;
        let taken_by_somebody = inbox.is_open();
        let taken = inbox.on_message(channel, message, |inbound| match inbound {
            Inbound::Datagram(datagram) => core.deliver(datagram),
            Inbound::Frame(channel, frame) => {
                if !taken_by_somebody || self.inbound[channel as usize].push(frame).is_err() {
                    *lagged = lagged.saturating_add(1);
                }
            }
            Inbound::Control(control) => {
                wake = true;
                match control {
                    Control::Hello { heard, credits } => {
                        hello = Some(heard);
                        outbox.on_credits(credits);
                    }
                    Control::Credit(credits) => outbox.on_credits(credits),
                    Control::Ping(token) => outbox.notify(Control::Pong(token)),
                    Control::Pong(token) => {
                        // An answer to an older one says nothing.
                        if let Some((_, at)) = ping.take_if(|(sent, _)| *sent == token) {
                            outbox.bandwidth_mut().on_round_trip(now - at);
                        }
                    }
                    Control::Report { messages, bytes } => {
                        outbox.bandwidth_mut().on_report(messages, bytes, now);
                    }
                }
            }
        });
        drop(boxes);
        if wake {
            self.outgoing.notify_one();
        }
        if *self.silent.borrow() {
            self.silent.send_replace(false);
        }
        taken.map(|()| hello)
    }

    /// Somebody takes frames from now on.
    pub(super) fn open(&self) {
        let boxes = &mut *self.boxes.lock();
        let credit = boxes.inbox.open();
        boxes.outbox.notify(credit);
        self.outgoing.notify_one();
    }

    /// Our hello, with the credit that the other side has.
    pub(super) fn hello(&self, heard: bool) -> Control {
        Control::Hello {
            heard,
            credits: self.boxes.lock().inbox.credits(),
        }
    }

    pub(super) fn notify(&self, control: Control) {
        self.boxes.lock().outbox.notify(control);
        self.outgoing.notify_one();
    }

    /// Sends a ping, unless the last one is younger than `patience` and not answered.
    pub(super) fn ping(&self, patience: Duration) {
        let now = Instant::now();
        {
            let boxes = &mut *self.boxes.lock();
            if boxes.ping.is_some_and(|(_, at)| now - at < patience) {
                return;
            }
            boxes.pings = boxes.pings.wrapping_add(1);
            boxes.ping = Some((boxes.pings, now));
            boxes.outbox.notify(Control::Ping(boxes.pings));
        }
        self.outgoing.notify_one();
    }

    /// The silence counts from now: another way is looked for, or in use.
    pub(super) fn begin_round(&self) {
        self.boxes.lock().heard_at = Instant::now();
    }

    /// For how long nothing has come.
    pub(super) fn silence(&self) -> Duration {
        self.boxes.lock().heard_at.elapsed()
    }

    pub(super) fn arrived(&self) -> (u64, u64) {
        self.boxes.lock().inbox.arrived()
    }

    /// Runs `act` on the outbox, and wakes who waits for room if there is any.
    pub(super) fn with_outbox<T>(&self, act: impl FnOnce(&mut Outbox) -> T) -> T {
        let outbox = &mut self.boxes.lock().outbox;
        let takes =
            |outbox: &Outbox| Credited::ALL.map(|credited| outbox.takes(credited.channel()));
        let before = takes(outbox);
        let outcome = act(outbox);
        if takes(outbox) != before {
            self.room.notify_waiters();
        }
        outcome
    }

    async fn recv(&self, channel: Channel) -> Option<Bytes> {
        let frame = self.inbound[channel as usize].pop().await?;
        if let Some(credited) = Credited::of(channel) {
            let boxes = &mut *self.boxes.lock();
            if let Some(credit) = boxes.inbox.consumed(credited, frame.len()) {
                boxes.outbox.notify(credit);
                self.outgoing.notify_one();
            }
        }
        Some(frame)
    }
}

/// Ends the channels when the pump is gone, also when it panicked.
pub(super) struct EndOnDrop(pub(super) Arc<Traffic>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The four channels; take it apart to send and receive in different tasks.
#[derive(Debug)]
pub struct Channels {
    /// The way out.
    pub tx: ChannelSender,
    /// The way in, one for each channel.
    pub rx: ChannelReceivers,
}

impl Channels {
    /// Has the other side send.
    pub(super) fn open(&self) {
        self.tx.traffic.open();
    }

    pub(super) fn new(traffic: Arc<Traffic>, core: Arc<Core>) -> Self {
        let rx = |channel| ChannelReceiver {
            traffic: traffic.clone(),
            channel,
        };
        Self {
            rx: ChannelReceivers {
                control: rx(Channel::Control),
                unreliable: rx(Channel::Unreliable),
                reliable: rx(Channel::Reliable),
                file: rx(Channel::File),
            },
            tx: ChannelSender { traffic, core },
        }
    }
}

/// The sending side of all four channels; clones send into the same ones. Dropping it closes nothing.
#[derive(Debug, Clone)]
pub struct ChannelSender {
    traffic: Arc<Traffic>,
    core: Arc<Core>,
}

impl ChannelSender {
    /// Sends a frame; on the unreliable channel in class *normal*. Waits while the queue of a
    /// reliable channel is full. Safe to cancel: the frame was sent whole or not at all.
    ///
    /// # Errors
    /// [`SendError`]; [`Refused::Full`] on the unreliable channel only.
    pub async fn send(&self, channel: Channel, frame: Bytes) -> Result<(), SendError> {
        loop {
            // Before the look: what comes between look and wait is not missed.
            let room = self.traffic.room.notified();
            match self.try_send(channel, Class::Normal, frame.clone()) {
                Err(SendError::Refused(Refused::Full)) if channel.is_reliable() => {}
                outcome => return outcome,
            }
            tokio::select! {
                () = room => {}
                _ = self.core.wait_ended() => return Err(SendError::Closed),
            }
        }
    }

    /// Sends a frame at once, or not. The class counts on the unreliable channel only.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn try_send(&self, channel: Channel, class: Class, frame: Bytes) -> Result<(), SendError> {
        if self.core.reason().is_some() {
            return Err(SendError::Closed);
        }
        let now = Instant::now();
        let push = |outbox: &mut Outbox| outbox.push(channel, class, frame, now);
        self.traffic.with_outbox(push)?;
        self.traffic.outgoing.notify_one();
        Ok(())
    }

    /// Closes the connection.
    pub fn close(&self) {
        self.core.stop.cancel();
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> CloseReason {
        self.core.wait_ended().await
    }

    /// Whether the other side says nothing: nothing came for [`super::SILENT_AFTER`].
    pub fn silent(&self) -> watch::Receiver<bool> {
        self.traffic.silent.subscribe()
    }

    /// The counts so far.
    pub fn stats(&self) -> ChannelStats {
        let boxes = self.traffic.boxes.lock();
        ChannelStats {
            sent: boxes.outbox.stats(),
            queued: boxes.outbox.queued(),
            lagged: boxes.lagged,
            arrived: boxes.inbox.arrived(),
            round_trip: boxes.outbox.bandwidth().round_trip(),
            loss: boxes.outbox.bandwidth().loss(),
            bulk_window: boxes.outbox.pacer().window(),
            unreliable_rate: boxes.outbox.bandwidth().rate(),
        }
    }
}

/// The receiving sides.
#[derive(Debug)]
pub struct ChannelReceivers {
    /// Of the control channel.
    pub control: ChannelReceiver,
    /// Of the unreliable channel.
    pub unreliable: ChannelReceiver,
    /// Of the reliable channel.
    pub reliable: ChannelReceiver,
    /// Of the file channel.
    pub file: ChannelReceiver,
}

/// The receiving side of one channel.
#[derive(Debug)]
pub struct ChannelReceiver {
    traffic: Arc<Traffic>,
    channel: Channel,
}

impl ChannelReceiver {
    /// The next frame; `None` when the connection has ended and everything that had arrived was
    /// taken. Safe to cancel.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.traffic.recv(self.channel).await
    }
}

// The queues charge what credit charges.
const _: () = assert!(FRAME_OVERHEAD == crate::queue::ENTRY_OVERHEAD);
