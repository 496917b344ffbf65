//! The carrier itself: two bounded queues, counters, and one reason why it ended.
//!
//! A carrier is a datagram pipe. It keeps message borders, may lose, duplicate or reorder what it
//! carries, and never makes its user wait: a full queue refuses the newest datagram.
//!
//! - **Sending** never blocks. A datagram longer than [`MAX_DATAGRAM`] is refused.
//! - **Receiving** yields whole datagrams of at most [`MAX_DATAGRAM`] bytes; longer ones are dropped
//!   and counted, as is what arrives while the receiver lags [`QUEUE_BYTES`] behind.
//! - **The end** comes once, with one [`CloseReason`], to every handle. What had arrived before can
//!   still be received.
//! - **Dropping** the receiver and all senders closes the carrier, as [`CarrierSender::close`] does.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use warp_protocol::carrier::PathKind;

use crate::queue::{DatagramQueue, Refused};

/// Longest datagram that a carrier takes, bytes. Our own are at most
/// [`warp_protocol::carrier::MAX_CARRIER_DATAGRAM`] (1,210) long; the rest is headroom.
pub const MAX_DATAGRAM: usize = 1280;

/// Byte budget of the queue of each direction, 64 bytes of overhead per datagram included.
pub const QUEUE_BYTES: usize = 256 * 1024;

const _: () = assert!(warp_protocol::carrier::MAX_CARRIER_DATAGRAM <= MAX_DATAGRAM);
const _: () = assert!(MAX_DATAGRAM < QUEUE_BYTES);

/// Why a carrier ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CloseReason {
    /// This side closed it, or dropped all its handles.
    #[error("closed by this side")]
    Local,
    /// The other side closed it in good order.
    #[error("closed by the other side")]
    Remote,
    /// ICE found no working way to the other side any more.
    #[error("the other side cannot be reached any more")]
    Unreachable,
    /// The connection under it broke: reset, cut off, or stopped by a fault of the library.
    #[error("the connection broke")]
    Broken,
    /// The other side broke the rules of the transport, for instance with a frame beyond the limit.
    #[error("the other side broke the protocol")]
    Violation,
}

impl CloseReason {
    /// Stable code for events and logs.
    pub fn code(self) -> &'static str {
        match self {
            CloseReason::Local => "closed-locally",
            CloseReason::Remote => "closed-by-peer",
            CloseReason::Unreachable => "peer-unreachable",
            CloseReason::Broken => "connection-broken",
            CloseReason::Violation => "protocol-violation",
        }
    }
}

/// Why a datagram was not taken. It is lost; nothing else happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SendRefused {
    /// [`QUEUE_BYTES`] are waiting already: the way is slower than its user.
    #[error("the carrier's queue is full, the datagram was dropped")]
    Full,
    /// Longer than [`MAX_DATAGRAM`].
    #[error("the datagram is longer than {MAX_DATAGRAM} bytes")]
    TooLong,
    /// The carrier has ended.
    #[error("the carrier has ended")]
    Closed,
}

/// Counts since the carrier was made. Datagrams unless it says bytes. A datagram is counted a moment
/// after it was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct CarrierStats {
    /// Handed to the transport.
    pub sent: u64,
    /// Bytes of those, without any framing.
    pub sent_bytes: u64,
    /// Taken from the transport and queued for the receiver.
    pub received: u64,
    /// Bytes of those, without any framing.
    pub received_bytes: u64,
    /// Refused by a full queue on the way out.
    pub dropped_full: u64,
    /// Refused by the transport, which was about to end.
    pub refused: u64,
    /// Dropped on the way in, because the receiver lagged.
    pub dropped_lagging: u64,
    /// Arrived but is no datagram of ours: text, or too long.
    pub ignored: u64,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    dropped_full: AtomicU64,
    refused: AtomicU64,
    dropped_lagging: AtomicU64,
    ignored: AtomicU64,
}

/// Where the datagrams of a carrier without a pump go at once.
struct Through(Box<dyn Fn(Bytes) -> Result<(), SendRefused> + Send + Sync>);

impl std::fmt::Debug for Through {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Through")
    }
}

/// What the handles and the pump share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) outbound: DatagramQueue,
    /// Set in a carrier that runs inside another: nothing is queued on the way out, and no pump runs.
    through: Option<Through>,
    inbound: DatagramQueue,
    counters: Counters,
    reason: OnceLock<CloseReason>,
    ended: CancellationToken,
    /// Asks the pump to close; cancelled by the handles and by whoever owns the connection.
    pub(crate) stop: CancellationToken,
}

impl Core {
    /// `stop` ends the pump when cancelled.
    pub(crate) fn new(stop: CancellationToken) -> Arc<Self> {
        Self::with(stop, None)
    }

    fn with(stop: CancellationToken, through: Option<Through>) -> Arc<Self> {
        Arc::new(Self {
            outbound: DatagramQueue::new(QUEUE_BYTES),
            through,
            inbound: DatagramQueue::new(QUEUE_BYTES),
            counters: Counters::default(),
            reason: OnceLock::new(),
            ended: CancellationToken::new(),
            stop,
        })
    }

    /// A datagram came from the transport.
    pub(crate) fn deliver(&self, datagram: Bytes) {
        if datagram.len() > MAX_DATAGRAM {
            self.ignore();
            return;
        }
        let bytes = datagram.len() as u64;
        match self.inbound.push(datagram) {
            Ok(()) => {
                self.counters.received.fetch_add(1, Ordering::Relaxed);
                self.counters
                    .received_bytes
                    .fetch_add(bytes, Ordering::Relaxed);
            }
            Err(Refused::Full | Refused::Closed) => {
                self.counters
                    .dropped_lagging
                    .fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Asks for the end: of the pump, or where there is none, at once.
    fn close(&self) {
        if self.through.is_some() {
            self.finish(CloseReason::Local);
        }
        self.stop.cancel();
    }

    /// Something came from the transport that is no datagram of ours.
    pub(crate) fn ignore(&self) {
        self.counters.ignored.fetch_add(1, Ordering::Relaxed);
    }

    /// A datagram of `bytes` bytes was handed to the transport.
    pub(crate) fn count_sent(&self, bytes: usize) {
        self.counters.sent.fetch_add(1, Ordering::Relaxed);
        self.counters
            .sent_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The transport did not take a datagram.
    pub(crate) fn count_refused(&self) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the carrier for every handle; the first reason stays.
    pub(crate) fn finish(&self, reason: CloseReason) {
        // A second call has nothing to add.
        let _ = self.reason.set(reason);
        self.outbound.close();
        self.inbound.close();
        self.ended.cancel();
    }

    pub(crate) fn reason(&self) -> Option<CloseReason> {
        self.reason.get().copied()
    }

    pub(crate) async fn wait_ended(&self) -> CloseReason {
        self.ended.cancelled().await;
        // `finish` sets the reason before it cancels.
        self.reason().unwrap_or(CloseReason::Broken)
    }

    pub(crate) fn stats(&self) -> CarrierStats {
        let counters = &self.counters;
        CarrierStats {
            sent: counters.sent.load(Ordering::Relaxed),
            sent_bytes: counters.sent_bytes.load(Ordering::Relaxed),
            received: counters.received.load(Ordering::Relaxed),
            received_bytes: counters.received_bytes.load(Ordering::Relaxed),
            dropped_full: counters.dropped_full.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            dropped_lagging: counters.dropped_lagging.load(Ordering::Relaxed),
            ignored: counters.ignored.load(Ordering::Relaxed),
        }
    }
}

/// Ends the carrier when its pump is gone, also when the pump panicked or its runtime was shut down.
pub(crate) struct FinishOnDrop(pub(crate) Arc<Core>);

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        self.0.finish(CloseReason::Broken);
    }
}

/// Held by every handle; closes the carrier when the last one goes.
#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.close();
    }
}

/// A datagram pipe; take it apart to send and receive in different tasks.
#[derive(Debug)]
pub struct Carrier {
    /// The way out.
    pub tx: CarrierSender,
    /// The way in.
    pub rx: CarrierReceiver,
}

impl Carrier {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let handle = Arc::new(Handle { core });
        Self {
            tx: CarrierSender {
                handle: handle.clone(),
            },
            rx: CarrierReceiver { handle },
        }
    }
}

impl Carrier {
    /// A carrier inside something else, for instance one of many that share another carrier. It has
    /// no task: each datagram goes to `send` at once, from the task that sends it, so `send` must
    /// neither wait nor call back into the carrier; what comes the other way is given to the
    /// [`CarrierFeed`]. `send` is given at most [`MAX_DATAGRAM`] bytes.
    pub fn through(
        send: impl Fn(Bytes) -> Result<(), SendRefused> + Send + Sync + 'static,
    ) -> (Carrier, CarrierFeed) {
        let core = Core::with(CancellationToken::new(), Some(Through(Box::new(send))));
        (Carrier::new(core.clone()), CarrierFeed { core })
    }
}

/// What a carrier is for, at the end that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarrierUse {
    /// A way of a session link, at the launcher.
    Link(PathKind),
    /// From and to a member, at a host.
    Member,
    /// From and to the endpoint, at a host.
    Endpoint,
}

/// Puts something around each new carrier of a program. Ours put nothing around them; a tester who
/// wants a launcher or a host that does not keep to the rules does it here, where the datagrams are
/// as somebody has them who changed the program.
pub type WrapCarrier = Arc<dyn Fn(CarrierUse, Carrier) -> Carrier + Send + Sync>;

/// The other end of [`Carrier::through`]. Dropping it ends the carrier with [`CloseReason::Remote`].
#[derive(Debug)]
pub struct CarrierFeed {
    core: Arc<Core>,
}

impl CarrierFeed {
    /// Queues `datagram` for the carrier's receiver, at once; dropped and counted there when the
    /// receiver lags [`QUEUE_BYTES`] behind. False: the carrier has ended.
    pub fn deliver(&self, datagram: Bytes) -> bool {
        if self.is_ended() {
            return false;
        }
        self.core.deliver(datagram);
        true
    }

    /// Ends the carrier; the first reason stays.
    pub fn end(&self, reason: CloseReason) {
        self.core.finish(reason);
    }

    /// Whether the carrier has ended, by either side.
    pub fn is_ended(&self) -> bool {
        self.core.reason().is_some()
    }
}

impl Drop for CarrierFeed {
    fn drop(&mut self) {
        self.core.finish(CloseReason::Remote);
    }
}

/// The sending half; clones send into the same pipe.
#[derive(Debug, Clone)]
pub struct CarrierSender {
    handle: Arc<Handle>,
}

impl CarrierSender {
    /// Queues `datagram` for sending, at once.
    ///
    /// # Errors
    /// The datagram was dropped: see [`SendRefused`]. A full queue is counted in
    /// [`CarrierStats::dropped_full`].
    pub fn try_send(&self, datagram: Bytes) -> Result<(), SendRefused> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(SendRefused::TooLong);
        }
        let core = &self.handle.core;
        if let Some(Through(send)) = &core.through {
            if core.reason().is_some() {
                return Err(SendRefused::Closed);
            }
            let bytes = datagram.len();
            return send(datagram)
                .inspect(|()| core.count_sent(bytes))
                .inspect_err(|refused| match refused {
                    SendRefused::Full => {
                        core.counters.dropped_full.fetch_add(1, Ordering::Relaxed);
                    }
                    SendRefused::TooLong | SendRefused::Closed => core.count_refused(),
                });
        }
        core.outbound
            .push(datagram)
            .map_err(|refused| match refused {
                Refused::Full => {
                    core.counters.dropped_full.fetch_add(1, Ordering::Relaxed);
                    SendRefused::Full
                }
                Refused::Closed => SendRefused::Closed,
            })
    }

    /// Bytes that wait to be sent, 64 of overhead per datagram included.
    pub fn queued_bytes(&self) -> usize {
        self.handle.core.outbound.charged()
    }

    /// The longest that a datagram of the last second or two waited until it left for the socket or, of
    /// WebRTC, for SCTP, which holds 128 KiB more at most; or has waited so far.
    pub fn queue_time(&self) -> Duration {
        self.handle.core.outbound.waited()
    }

    /// Closes the carrier for both sides. What is still queued is dropped.
    pub fn close(&self) {
        self.handle.core.close();
    }

    /// Waits for the end.
    pub async fn closed(&self) -> CloseReason {
        self.handle.core.wait_ended().await
    }

    /// Why the carrier ended; `None` while it works.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.handle.core.reason()
    }

    /// The counts so far.
    pub fn stats(&self) -> CarrierStats {
        self.handle.core.stats()
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct CarrierReceiver {
    handle: Arc<Handle>,
}

impl CarrierReceiver {
    /// The next datagram; `None` when the carrier has ended and everything that had arrived was
    /// taken. Safe to cancel.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.handle.core.inbound.pop().await
    }

    /// The next datagram if one has arrived.
    pub fn try_recv(&mut self) -> Option<Bytes> {
        self.handle.core.inbound.try_pop()
    }

    /// Waits for the end.
    pub async fn closed(&self) -> CloseReason {
        self.handle.core.wait_ended().await
    }

    /// Why the carrier ended; `None` while it works.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.handle.core.reason()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_the_newest_and_counts_it() {
        let core = Core::new(CancellationToken::new());
        let carrier = Carrier::new(core.clone());
        let datagram = Bytes::from(vec![1; 1000]);
        let mut taken = 0_u64;
        while carrier.tx.try_send(datagram.clone()).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, (QUEUE_BYTES / 1064) as u64);
        assert_eq!(carrier.tx.try_send(datagram), Err(SendRefused::Full));
        assert_eq!(carrier.tx.stats().dropped_full, 2);
        assert_eq!(
            carrier.tx.try_send(Bytes::from(vec![0; MAX_DATAGRAM + 1])),
            Err(SendRefused::TooLong)
        );
    }

    #[tokio::test]
    async fn a_lagging_receiver_costs_bounded_memory() {
        let core = Core::new(CancellationToken::new());
        let mut carrier = Carrier::new(core.clone());
        for _ in 0..1000 {
            core.deliver(Bytes::from(vec![1; 1000]));
        }
        core.deliver(Bytes::from(vec![1; MAX_DATAGRAM + 1]));
        let stats = carrier.tx.stats();
        assert_eq!(stats.received, (QUEUE_BYTES / 1064) as u64);
        assert_eq!(stats.received + stats.dropped_lagging, 1000);
        assert_eq!(stats.ignored, 1);
        assert!(carrier.rx.recv().await.is_some());
    }

    #[tokio::test]
    async fn the_first_reason_stays_and_reaches_every_handle() {
        let core = Core::new(CancellationToken::new());
        let mut carrier = Carrier::new(core.clone());
        core.deliver(Bytes::from_static(b"last words"));
        core.finish(CloseReason::Remote);
        drop(FinishOnDrop(core));
        assert_eq!(carrier.rx.recv().await.as_deref(), Some(&b"last words"[..]));
        assert_eq!(carrier.rx.recv().await, None);
        assert_eq!(carrier.tx.closed().await, CloseReason::Remote);
        assert_eq!(carrier.rx.close_reason(), Some(CloseReason::Remote));
        assert_eq!(carrier.tx.try_send(Bytes::new()), Err(SendRefused::Closed));
    }

    #[tokio::test]
    async fn dropping_all_handles_asks_the_pump_to_stop() {
        let stop = CancellationToken::new();
        let carrier = Carrier::new(Core::new(stop.clone()));
        let Carrier { tx, rx } = carrier;
        let second = tx.clone();
        drop(tx);
        drop(rx);
        assert!(!stop.is_cancelled());
        drop(second);
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_carrier_through_another_sends_at_once_and_takes_what_it_is_fed() {
        let (tx, mut sent) = tokio::sync::mpsc::channel(1);
        let (mut carrier, feed) =
            Carrier::through(move |datagram| tx.try_send(datagram).map_err(|_| SendRefused::Full));
        carrier.tx.try_send(Bytes::from_static(b"out")).unwrap();
        let full = carrier.tx.try_send(Bytes::from_static(b"more"));
        assert_eq!(full, Err(SendRefused::Full));
        assert_eq!(sent.recv().await.as_deref(), Some(&b"out"[..]));
        assert!(feed.deliver(Bytes::from_static(b"in")));
        assert_eq!(carrier.rx.recv().await.as_deref(), Some(&b"in"[..]));
        let stats = carrier.tx.stats();
        assert_eq!((stats.sent, stats.dropped_full), (1, 1));
        assert_eq!((stats.received, stats.received_bytes), (1, 2));
        for _ in 0..1000 {
            assert!(feed.deliver(Bytes::from(vec![1; 1000])));
        }
        let stats = carrier.tx.stats();
        assert_eq!(stats.received, 1 + (QUEUE_BYTES / 1064) as u64);
        assert_eq!(stats.received + stats.dropped_lagging, 1001);
    }

    #[tokio::test]
    async fn a_carrier_through_another_ends_from_both_sides() {
        let (mut carrier, feed) = Carrier::through(|_| Ok(()));
        assert!(feed.deliver(Bytes::from_static(b"last words")));
        drop(feed);
        assert_eq!(carrier.rx.recv().await.as_deref(), Some(&b"last words"[..]));
        assert_eq!(carrier.rx.recv().await, None);
        assert_eq!(carrier.tx.closed().await, CloseReason::Remote);
        let refused = carrier.tx.try_send(Bytes::from_static(b"x"));
        assert_eq!(refused, Err(SendRefused::Closed));

        let (carrier, feed) = Carrier::through(|_| Ok(()));
        feed.end(CloseReason::Broken);
        assert_eq!(carrier.tx.closed().await, CloseReason::Broken);

        let (carrier, feed) = Carrier::through(|_| Ok(()));
        let Carrier { tx, rx } = carrier;
        drop(rx);
        assert!(!feed.is_ended(), "a sender is left");
        drop(tx);
        assert!(feed.is_ended());
        assert!(!feed.deliver(Bytes::from_static(b"nobody")));
    }
}
