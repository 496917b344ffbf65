//! The task of a link.

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{Instant as TokioInstant, sleep_until};
use warp_link::{Carrier, CarrierReceiver};
use warp_link_core::LinkEvent;
use warp_protocol::carrier::PathKind;

use crate::notice::{LinkEnd, LinkNotice, LinkStatus};
use crate::shared::{Inner, Shared};

/// Datagrams that one turn takes from each carrier before it answers: enough to share an
/// acknowledgement, few enough that no answer waits for long.
pub const BATCH: usize = 32;

/// How long the task stays after the link's end so that its farewell can leave.
pub const LINGER: Duration = Duration::from_secs(1);

/// Turns in a row whose deadline is already past, before the task stops believing it.
const RUSH: u32 = 1_000;

/// What came in while the task slept.
enum Input {
    /// A handle did something, or a deadline has come.
    Woken,
    /// A carrier brought this, or has ended.
    Carrier(PathKind, Option<Bytes>),
}

/// What to do after a turn.
enum Next {
    /// Sleep until then, or until somebody calls.
    Sleep(Option<Instant>),
    /// The link is over and so is the task.
    Leave,
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    receivers: BTreeMap<PathKind, CarrierReceiver>,
    wake: Vec<Waker>,
    leave_at: Option<Instant>,
    rushed: u32,
}

/// Tells everybody when the task is gone, also after a panic.
struct GoneOnDrop(Arc<Shared>);

impl Drop for GoneOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
        self.0.finish(LinkEnd::Fault);
        self.0.gone.cancel();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // After a panic in the middle of a turn these are not with their streams any more.
        for waker in self.wake.drain(..) {
            waker.wake();
        }
    }
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            receivers: BTreeMap::new(),
            wake: Vec::new(),
            leave_at: None,
            rushed: 0,
        }
    }

    pub(crate) async fn run(mut self) {
        let guard = GoneOnDrop(Arc::clone(&self.shared));
        let mut input = Input::Woken;
        let mut sleep = pin!(sleep_until(TokioInstant::now()));
        loop {
            // A busy link must let the other tasks of its thread run.
            tokio::task::coop::consume_budget().await;
            let now = Instant::now();
            let Some(next) = self.turn(input, now) else {
                break;
            };
            for waker in self.wake.drain(..) {
                waker.wake();
            }
            let deadline = match next {
                Next::Sleep(deadline) => deadline,
                Next::Leave => break,
            };
            let deadline = self.believable(deadline, now);
            if let Some(at) = deadline {
                if at <= now {
                    input = Input::Woken;
                    continue;
                }
                let at = TokioInstant::from_std(at);
                if sleep.deadline() != at {
                    sleep.as_mut().reset(at);
                }
            }
            let shared = Arc::clone(&self.shared);
            input = tokio::select! {
                biased;
                () = shared.work.notified() => Input::Woken,
                input = receive(&mut self.receivers) => input,
                () = &mut sleep, if deadline.is_some() => Input::Woken,
            };
        }
        // Carriers close when their receivers go.
        drop(self);
        drop(guard);
    }

    /// A deadline that stays in the past would spin: after [`RUSH`] turns it has to wait.
    fn believable(&mut self, deadline: Option<Instant>, now: Instant) -> Option<Instant> {
        if deadline.is_none_or(|at| at > now) {
            self.rushed = 0;
            return deadline;
        }
        self.rushed = self.rushed.saturating_add(1);
        if self.rushed < RUSH {
            return deadline;
        }
        if self.rushed == RUSH {
            tracing::warn!("the session link's deadline does not move; slowed down");
        }
        Some(now + Duration::from_millis(1))
    }

    /// One turn; `None` when the link cannot be used any more.
    fn turn(&mut self, input: Input, now: Instant) -> Option<Next> {
        let shared = Arc::clone(&self.shared);
        shared.with(|inner| {
            self.take_orders(inner, now);
            self.take_datagrams(inner, input, now);
            if inner
                .link
                .poll_timeout(now)
                .is_some_and(|(at, _why)| at <= now)
            {
                inner.link.handle_timeout(now);
            }
            self.drain(inner, now);
            if inner.openers > 0 {
                self.shared.may_open.notify_waiters();
            }
            self.next(inner, now)
        })
    }

    fn take_orders(&mut self, inner: &mut Inner, now: Instant) {
        while let Some((kind, carrier)) = inner.orders.pop_first() {
            if self.receivers.remove(&kind).is_some() {
                inner.senders.remove(&kind);
                inner.link.carrier_down(kind, now);
            }
            if let Some(Carrier { tx, rx }) = carrier {
                inner.senders.insert(kind, tx);
                self.receivers.insert(kind, rx);
                inner.link.carrier_up(kind, now);
            }
        }
    }

    fn take_datagrams(&mut self, inner: &mut Inner, input: Input, now: Instant) {
        let mut gone = None;
        match input {
            Input::Woken => {}
            Input::Carrier(kind, Some(datagram)) => {
                // The carrier may have been replaced in the meantime; a datagram is still good.
                inner.link.handle_datagram(kind, &datagram, now);
            }
            Input::Carrier(kind, None) => gone = Some(kind),
        }
        for (kind, receiver) in &mut self.receivers {
            for _ in 0..BATCH {
                let Some(datagram) = receiver.try_recv() else {
                    break;
                };
                inner.link.handle_datagram(*kind, &datagram, now);
            }
        }
        if let Some(kind) = gone {
            self.on_carrier_end(inner, kind, now);
        }
    }

    fn on_carrier_end(&mut self, inner: &mut Inner, kind: PathKind, now: Instant) {
        // A carrier that was replaced in the same turn is not the one that ended.
        let reason = match self.receivers.get(&kind) {
            Some(receiver) => receiver.close_reason(),
            None => return,
        };
        let Some(reason) = reason else {
            return;
        };
        self.receivers.remove(&kind);
        inner.senders.remove(&kind);
        inner.link.carrier_down(kind, now);
        self.tell(LinkNotice::CarrierEnded { kind, reason });
    }

    /// Sends and tells everything that the link has to send and to tell.
    fn drain(&mut self, inner: &mut Inner, now: Instant) {
        loop {
            let mut quiet = true;
            while let Some(outgoing) = inner.link.poll_transmit(now) {
                if let Some(sender) = inner.senders.get(&outgoing.carrier) {
                    // A datagram that a carrier does not take is lost: QUIC sends it again.
                    if let Err(refused) = sender.try_send(outgoing.datagram) {
                        tracing::trace!(carrier = %outgoing.carrier, %refused, "datagram lost");
                    }
                }
            }
            while let Some(event) = inner.link.poll_event() {
                quiet = false;
                self.on_event(inner, event);
            }
            if quiet {
                return;
            }
        }
    }

    fn on_event(&mut self, inner: &mut Inner, event: LinkEvent) {
        match event {
            LinkEvent::State {
                state,
                path,
                reason,
            } => {
                let status = LinkStatus {
                    state,
                    path,
                    reason,
                };
                self.shared.status.send_replace(status);
                self.tell(LinkNotice::State(status));
            }
            LinkEvent::Moved {
                from,
                to,
                reason,
                silent,
                costs,
            } => self.tell(LinkNotice::Moved {
                from,
                to,
                reason,
                silent,
                costs,
            }),
            LinkEvent::Proven(kind) => self.tell(LinkNotice::Proven(kind)),
            LinkEvent::GivenUp(kind) => self.tell(LinkNotice::GivenUp(kind)),
            LinkEvent::Tampered(kind) => self.tell(LinkNotice::Tampered(kind)),
            LinkEvent::StreamOpened(id) => {
                inner.add_stream(id);
                inner.incoming.push_back(id);
                self.shared.arrived.notify_one();
            }
            LinkEvent::Readable(_) | LinkEvent::Writable(_) | LinkEvent::Stopped(..) => {
                inner.on_stream_event(&event, &mut self.wake);
            }
            LinkEvent::Closed(reason) => {
                inner.ended = true;
                inner.wake_all(&mut self.wake);
                self.shared.finish(LinkEnd::Closed(reason));
            }
        }
    }

    fn tell(&self, notice: LinkNotice) {
        // Nobody may be listening.
        let _ = self.shared.notices.send(notice);
    }

    fn next(&mut self, inner: &mut Inner, now: Instant) -> Next {
        let deadline = inner.link.poll_timeout(now).map(|(at, _why)| at);
        if !inner.link.is_closed() {
            return Next::Sleep(deadline);
        }
        let leave_at = *self.leave_at.get_or_insert(now + LINGER);
        if inner.link.is_drained() || now >= leave_at {
            return Next::Leave;
        }
        Next::Sleep(Some(deadline.map_or(leave_at, |at| at.min(leave_at))))
    }
}

/// The next datagram or end of any carrier. Safe to cancel.
async fn receive(receivers: &mut BTreeMap<PathKind, CarrierReceiver>) -> Input {
    let [mut first, mut second, mut third, mut fourth, mut fifth] = [None, None, None, None, None];
    let places = [&mut first, &mut second, &mut third, &mut fourth, &mut fifth];
    for ((kind, receiver), place) in receivers.iter_mut().zip(places) {
        *place = Some((*kind, receiver));
    }
    tokio::select! {
        input = receive_from(first) => input,
        input = receive_from(second) => input,
        input = receive_from(third) => input,
        input = receive_from(fourth) => input,
        input = receive_from(fifth) => input,
    }
}

async fn receive_from(source: Option<(PathKind, &mut CarrierReceiver)>) -> Input {
    match source {
        Some((kind, receiver)) => Input::Carrier(kind, receiver.recv().await),
        None => pending().await,
    }
}

// One place for each kind in `receive`.
const _: () = assert!(PathKind::ALL.len() == 5);
