//! The task of a peer connection: greets, moves datagrams and frames, and frees everything at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use warp_peer_core::{Channel, Control, Outgoing, wire};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionEventHandler, RTCIceCandidateType, RTCIceGatheringState,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState,
};

use super::channels::{EndOnDrop, Traffic};
use super::config::{self, SEND_BUFFER};
use super::runtime::CarrierRuntime;
use super::signaling;
use super::stats::PeerState;
use crate::carrier::{CloseReason, Core, FinishOnDrop};

/// How often the greeting is repeated until it is answered: what the other side sends before its
/// channels are made may be lost.
const HELLO_EVERY: Duration = Duration::from_millis(20);

/// How often the other side is asked for a sign of life, where the application uses the channels and
/// nothing has come in that time.
const PING_EVERY: Duration = Duration::from_millis(250);

/// And how often where something comes all the time: for the round trip alone.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// How often it is told what arrived on the unreliable channel, if enough did.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// And how often if anything did: fewer messages than [`warp_peer_core::MIN_REPORT`] say little, and at
/// 30 a second a report would come with every third of them.
const REPORT_AT_LEAST: Duration = Duration::from_secs(1);

/// After this long without anything from the other side it counts as silent: three pings.
pub const SILENT_AFTER: Duration = Duration::from_millis(800);

/// How long the writer waits for the library to say that it sent something. It says so by an event;
/// this only bounds the loss of one.
const BACKSTOP: Duration = Duration::from_millis(5);

/// How many messages leave before the library is asked again how much it holds.
const BURST: usize = 32;

/// How long the library's tasks may take to end after the connection is closed.
const TEARDOWN: Duration = Duration::from_secs(2);

/// Moves datagrams and frames between the queues and the channels, and frees everything at the end.
pub(super) struct Pump {
    pub(super) pc: Arc<dyn PeerConnection>,
    pub(super) control: Arc<dyn DataChannel>,
    pub(super) runtime: Arc<CarrierRuntime>,
    pub(super) handler: Arc<Handler>,
    pub(super) traffic: Arc<Traffic>,
    /// Cancelled when the other side was heard, and the channels may be used.
    pub(super) open: CancellationToken,
    /// Cancelled when the application uses the channels, and not only the carrier, whose user asks
    /// for signs of life itself.
    pub(super) attended: CancellationToken,
    /// See [`super::PeerConfig::given_up_after`].
    pub(super) given_up_after: Duration,
}

/// The channels in the order of [`Channel::ALL`].
type Handles = [Arc<dyn DataChannel>; 4];

impl Pump {
    pub(super) async fn run(self, core: Arc<Core>) {
        let guard = FinishOnDrop(core);
        let core = &guard.0;
        let _channels = EndOnDrop(self.traffic.clone());
        let mut state = self.handler.state.subscribe();
        let reason = tokio::select! {
            () = core.stop.cancelled() => CloseReason::Local,
            reason = Box::pin(self.work(core)) => reason,
            () = self.handler.uninvited.cancelled() => {
                tracing::info!("the peer opened a channel that is none of the four");
                CloseReason::Violation
            }
            () = self.runtime.driver_gone.cancelled() => CloseReason::Broken,
            _ = state.wait_for(|state| *state == PeerState::Failed) => CloseReason::Unreachable,
        };
        core.finish(reason);
        tracing::debug!(code = reason.code(), "peer connection ends");
        // The library's farewell is timed, and must not be cut short.
        self.runtime.settle();
        if let Err(error) = self.pc.close().await {
            tracing::debug!(%error, "closing the peer connection");
        }
        self.handler.end();
        let tasks = &self.runtime.tasks;
        if tokio::time::timeout(TEARDOWN, tasks.wait()).await.is_err() {
            tracing::warn!(tasks = tasks.len(), "a peer connection left tasks behind");
        }
    }

    async fn work(&self, core: &Core) -> CloseReason {
        loop {
            match self.control.poll().await {
                Some(DataChannelEvent::OnOpen) => break,
                Some(event) if ends(&event) => return CloseReason::Remote,
                Some(_) => {}
                None => return CloseReason::Broken,
            }
        }
        let mut handles: Vec<Arc<dyn DataChannel>> = vec![self.control.clone()];
        for channel in &Channel::ALL[1..] {
            let init = Some(config::channel(*channel));
            match self.pc.create_data_channel(channel.label(), init).await {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    tracing::warn!(%error, channel = channel.label(), "a data channel could not be made");
                    return CloseReason::Broken;
                }
            }
        }
        let Ok(handles) = Handles::try_from(handles) else {
            return CloseReason::Broken;
        };
        let released = Notify::new();
        let read = |channel: Channel| {
            let handle = &handles[channel as usize];
            self.read(core, channel, &**handle, &released)
        };
        tokio::select! {
            reason = read(Channel::Control) => reason,
            reason = read(Channel::Unreliable) => reason,
            reason = read(Channel::Reliable) => reason,
            reason = read(Channel::File) => reason,
            reason = self.write_datagrams(core, &*handles[Channel::Unreliable as usize]) => reason,
            reason = self.write_frames(&handles, &released) => reason,
            reason = self.watch() => reason,
        }
    }

    fn heard(&self) {
        if !self.open.is_cancelled() {
            self.runtime.settle();
            self.open.cancel();
        }
    }

    async fn read(
        &self,
        core: &Core,
        channel: Channel,
        handle: &dyn DataChannel,
        released: &Notify,
    ) -> CloseReason {
        while let Some(event) = handle.poll().await {
            match event {
                DataChannelEvent::OnMessage(message) if message.is_string => core.ignore(),
                DataChannelEvent::OnMessage(message) => {
                    let message = message.data.freeze();
                    let hello = match self.traffic.on_message(core, channel, message) {
                        Ok(hello) => hello,
                        Err(violation) => {
                            let (code, channel) = (violation.code(), channel.label());
                            tracing::info!(code, channel, "the peer broke the protocol");
                            return CloseReason::Violation;
                        }
                    };
                    // The other side sends only after it has made its channels.
                    self.heard();
                    if hello == Some(false) {
                        self.traffic.notify(self.traffic.hello(true));
                    }
                }
                DataChannelEvent::OnBufferedAmountLow => released.notify_one(),
                event if ends(&event) => return CloseReason::Remote,
                _ => {}
            }
        }
        // The stream of events ends without a farewell when the driver stops by itself.
        CloseReason::Broken
    }

    /// Greets until the other side is heard; then asks it for signs of life.
    async fn watch(&self) -> CloseReason {
        let mut clock = tokio::time::interval(HELLO_EVERY);
        while !self.open.is_cancelled() {
            tokio::select! {
                () = self.open.cancelled() => {}
                _ = clock.tick() => self.traffic.notify(self.traffic.hello(false)),
            }
        }
        self.attended.cancelled().await;
        let mut clock = tokio::time::interval(REPORT_EVERY);
        let mut reported = self.traffic.arrived();
        let (mut told, mut pinged) = (Instant::now(), Instant::now());
        self.traffic.ping(PING_EVERY);
        loop {
            clock.tick().await;
            let arrived = self.traffic.arrived();
            let enough = arrived.0 - reported.0 >= warp_peer_core::MIN_REPORT
                || told.elapsed() >= REPORT_AT_LEAST;
            if arrived != reported && enough {
                (reported, told) = (arrived, Instant::now());
                let (messages, bytes) = arrived;
                self.traffic.notify(Control::Report { messages, bytes });
            }
            let silence = self.traffic.silence();
            // A side that is heard but does not hear is asked by the other one.
            let every = if silence < PING_EVERY {
                MEASURE_EVERY
            } else {
                PING_EVERY
            };
            if pinged.elapsed() >= every {
                pinged = Instant::now();
                self.traffic.ping(PING_EVERY);
            }
            if silence >= self.given_up_after {
                return CloseReason::Unreachable;
            }
            if silence >= SILENT_AFTER {
                self.traffic
                    .silent
                    .send_if_modified(|silent| !std::mem::replace(silent, true));
            }
        }
    }

    async fn write_datagrams(&self, core: &Core, handle: &dyn DataChannel) -> CloseReason {
        self.open.cancelled().await;
        while let Some(datagram) = core.outbound.pop().await {
            let bytes = datagram.len();
            // While SCTP holds as much as it may, our queue fills, and then drops.
            while handle
                .outstanding_bytes()
                .await
                .is_ok_and(|outstanding| outstanding >= SEND_BUFFER)
            {
                tokio::time::sleep(BACKSTOP).await;
            }
            if let Err(error) = handle.send(wire::datagram(&datagram)).await {
                // Whether the channel has ended, and why, its events tell.
                tracing::trace!(%error, bytes, "the data channel did not take a datagram");
                core.count_refused();
                continue;
            }
            core.count_sent(bytes);
        }
        CloseReason::Local
    }

    async fn write_frames(&self, handles: &Handles, released: &Notify) -> CloseReason {
        let of = |channel: Channel| &handles[channel as usize];
        let (reliable, file) = (of(Channel::Reliable), of(Channel::File));
        let mut threshold = 0;
        loop {
            let wants_bulk = self.traffic.with_outbox(|outbox| outbox.wants_bulk());
            if wants_bulk {
                let outstanding = outstanding(reliable).await + outstanding(file).await;
                let window = self.traffic.with_outbox(|outbox| {
                    outbox.on_outstanding(outstanding, Instant::now());
                    outbox.pacer().window()
                });
                // Half of what may lie there, and not told anew for every byte.
                let wanted = window / 2;
                if wanted.abs_diff(threshold) > threshold / 4 {
                    threshold = wanted;
                    let threshold = u32::try_from(threshold).unwrap_or(u32::MAX);
                    let _ = file.set_buffered_amount_low_threshold(threshold).await;
                    let _ = reliable.set_buffered_amount_low_threshold(threshold).await;
                }
            }
            let free = outstanding(of(Channel::Unreliable)).await < SEND_BUFFER;
            let mut sent = 0;
            while sent < BURST
                && let Some(Outgoing { channel, message }) = self
                    .traffic
                    .with_outbox(|outbox| outbox.poll(free, Instant::now()))
            {
                sent += 1;
                match of(channel).try_send(message).await {
                    Ok(()) => {}
                    Err(webrtc::error::Error::ErrSendBufferFull) if channel.is_reliable() => {
                        // Nothing may be missing in between.
                        tracing::warn!(channel = channel.label(), "a data channel is full");
                        return CloseReason::Broken;
                    }
                    // Whether the channel has ended, and why, its events tell.
                    Err(error) => {
                        let channel = channel.label();
                        tracing::debug!(%error, channel, "a data channel did not take a message");
                    }
                }
            }
            if sent == BURST {
                continue;
            }
            let (wake, queued) = self
                .traffic
                .with_outbox(|outbox| (outbox.poll_timeout(), outbox.queued() > 0));
            let mut until = wake.unwrap_or_else(|| Instant::now() + PING_EVERY);
            if queued {
                until = until.min(Instant::now() + BACKSTOP);
            }
            tokio::select! {
                () = self.traffic.outgoing.notified() => {}
                () = released.notified() => {}
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
    }
}

/// Bytes that SCTP holds for a channel; of one that is gone none.
async fn outstanding(handle: &Arc<dyn DataChannel>) -> usize {
    handle.outstanding_bytes().await.unwrap_or(0)
}

/// Whether the other side closes the channel with this event.
fn ends(event: &DataChannelEvent) -> bool {
    matches!(
        event,
        DataChannelEvent::OnClosing | DataChannelEvent::OnClose
    )
}

/// How many candidates may still be offered of the kinds of which a socket may have several.
pub(super) struct Quota {
    reflexive: usize,
    relayed: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            reflexive: config::MAX_REFLEXIVE,
            relayed: config::MAX_RELAYED,
        }
    }
}

impl Quota {
    fn take(&mut self, kind: RTCIceCandidateType) -> bool {
        let left = match kind {
            RTCIceCandidateType::Srflx | RTCIceCandidateType::Prflx => &mut self.reflexive,
            RTCIceCandidateType::Relay => &mut self.relayed,
            // Bounded by the sockets.
            _ => return true,
        };
        let granted = *left > 0;
        *left = left.saturating_sub(1);
        granted
    }
}

/// Takes the library's events. Runs on the driver's task, so it must not wait.
pub(super) struct Handler {
    pub(super) candidates: Mutex<Option<mpsc::Sender<Value>>>,
    pub(super) found: watch::Sender<usize>,
    pub(super) quota: Mutex<Quota>,
    pub(super) state: watch::Sender<PeerState>,
    /// Cancelled when the other side opens a channel of its own. The library would keep what comes on
    /// it, of each channel 256 messages of any length, for a reader that there is not.
    pub(super) uninvited: CancellationToken,
}

impl Handler {
    /// Candidates go here from now on, and whether there is a way is not known.
    pub(super) fn begin_round(&self, candidates: mpsc::Sender<Value>) {
        *self.candidates.lock() = Some(candidates);
        *self.quota.lock() = Quota::default();
        self.found.send_replace(0);
        self.state.send_replace(PeerState::Connecting);
    }

    fn end(&self) {
        self.candidates.lock().take();
        self.state.send_replace(PeerState::Closed);
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        self.found
            .send_modify(|found| *found = found.saturating_add(1));
        if !self.quota.lock().take(event.candidate.typ) {
            tracing::debug!(kind = %event.candidate.typ, "a local candidate too many is not offered");
            return;
        }
        let Some(candidate) = signaling::local_candidate(&event.candidate) else {
            return;
        };
        if let Some(sender) = &*self.candidates.lock()
            && let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(candidate)
        {
            tracing::warn!("signaling takes no local candidates, one was dropped");
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        // Before the first candidate of a round it is the end of the one before.
        if state == RTCIceGatheringState::Complete && *self.found.borrow() > 0 {
            self.candidates.lock().take();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(PeerState::from_rtc(state));
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        // One of the four comes here when it opens in the moment before it is registered.
        if !matches!(channel.negotiated().await, Ok(true)) {
            self.uninvited.cancel();
        }
    }
}
