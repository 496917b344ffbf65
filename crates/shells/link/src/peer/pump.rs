//! The task of a peer connection: greets, moves datagrams, and frees everything at the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionEventHandler, RTCIceGatheringState, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState,
};

use super::config::{self, CHANNEL_LABEL};
use super::runtime::CarrierRuntime;
use super::signaling;
use super::stats::PeerState;
use crate::carrier::{CloseReason, Core, FinishOnDrop};

/// Greeting: my end is ready, and I have not heard you.
const HELLO: &str = "hello";

/// Greeting: my end is ready, and I have heard you.
const HEARD: &str = "heard";

/// How often the greeting is repeated: it may be lost.
const HELLO_EVERY: Duration = Duration::from_millis(20);

/// How long the library's tasks may take to end after the connection is closed.
const TEARDOWN: Duration = Duration::from_secs(2);

/// Moves datagrams between the queues and the channel, and frees everything at the end.
pub(super) struct Pump {
    pub(super) pc: Arc<dyn PeerConnection>,
    pub(super) greeting: Arc<dyn DataChannel>,
    pub(super) runtime: Arc<CarrierRuntime>,
    pub(super) handler: Arc<Handler>,
    /// Cancelled when the other side was heard, and the carrier may be used.
    pub(super) open: CancellationToken,
}

impl Pump {
    pub(super) async fn run(self, core: Arc<Core>) {
        let guard = FinishOnDrop(core);
        let core = &guard.0;
        let mut state = self.handler.state.subscribe();
        let reason = tokio::select! {
            () = core.stop.cancelled() => CloseReason::Local,
            reason = self.work(core) => reason,
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
            match self.greeting.poll().await {
                Some(DataChannelEvent::OnOpen) => break,
                Some(event) if ends(&event) => return CloseReason::Remote,
                Some(_) => {}
                None => return CloseReason::Broken,
            }
        }
        let init = Some(config::link_channel());
        let link = match self.pc.create_data_channel(CHANNEL_LABEL, init).await {
            Ok(link) => link,
            Err(error) => {
                tracing::warn!(%error, "the data channel could not be made");
                return CloseReason::Broken;
            }
        };
        tokio::select! {
            reason = self.greet() => reason,
            reason = self.read(core, &*link) => reason,
            reason = self.write(core, &*link) => reason,
        }
    }

    fn heard(&self) {
        if !self.open.is_cancelled() {
            self.runtime.settle();
            self.open.cancel();
        }
    }

    async fn greet(&self) -> CloseReason {
        let mut clock = tokio::time::interval(HELLO_EVERY);
        loop {
            // What the channel does not take is said again; its end is told by its events.
            tokio::select! {
                _ = clock.tick(), if !self.open.is_cancelled() => {
                    let _ = self.greeting.try_send_text(HELLO).await;
                }
                event = self.greeting.poll() => match event {
                    Some(DataChannelEvent::OnMessage(message)) => {
                        self.heard();
                        if message.data == HELLO.as_bytes() {
                            let _ = self.greeting.try_send_text(HEARD).await;
                        }
                    }
                    Some(event) if ends(&event) => return CloseReason::Remote,
                    Some(_) => {}
                    None => return CloseReason::Broken,
                }
            }
        }
    }

    async fn read(&self, core: &Core, link: &dyn DataChannel) -> CloseReason {
        while let Some(event) = link.poll().await {
            match event {
                DataChannelEvent::OnMessage(message) => {
                    // The other side sends here only after it has heard this one.
                    self.heard();
                    if message.is_string {
                        core.ignore();
                    } else {
                        core.deliver(message.data.freeze());
                    }
                }
                event if ends(&event) => return CloseReason::Remote,
                _ => {}
            }
        }
        // The stream of events ends without a farewell when the driver stops by itself.
        CloseReason::Broken
    }

    async fn write(&self, core: &Core, link: &dyn DataChannel) -> CloseReason {
        self.open.cancelled().await;
        while let Some(datagram) = core.outbound.pop().await {
            let bytes = datagram.len();
            // Waits while SCTP holds SEND_BUFFER; our queue then fills and drops.
            if let Err(error) = link.send(BytesMut::from(datagram)).await {
                // Whether the channel has ended, and why, its events tell.
                tracing::trace!(%error, bytes, "the data channel did not take a datagram");
                core.count_refused();
                continue;
            }
            core.count_sent(bytes);
        }
        CloseReason::Local
    }
}

/// Whether the other side closes the channel with this event.
fn ends(event: &DataChannelEvent) -> bool {
    matches!(
        event,
        DataChannelEvent::OnClosing | DataChannelEvent::OnClose
    )
}

/// Takes the library's events. Runs on the driver's task, so it must not wait.
pub(super) struct Handler {
    pub(super) candidates: Mutex<Option<mpsc::Sender<Value>>>,
    pub(super) found: watch::Sender<usize>,
    pub(super) state: watch::Sender<PeerState>,
}

impl Handler {
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
        if state == RTCIceGatheringState::Complete {
            self.candidates.lock().take();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(PeerState::from_rtc(state));
    }
}
