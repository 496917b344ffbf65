//! The carrier to the endpoint: WebRTC, or a WebSocket where that does not come about.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use warp_host_core::UpstreamKind;
use warp_link::peer::{ChannelSender, LocalCandidates, Offerer, PeerConfig, PeerError, PeerState};
use warp_link::websocket::{ConnectError, connect};
use warp_link::{Carrier, CarrierSender};
use warp_link_core::Identity;
use warp_link_core::descriptions::{Offered, check_answer, sign_offer};
use warp_protocol::identity::{PublicKey, RefusedReason};
use warp_protocol::signal::{ClientSignal, ServerSignal, SignedDescription};

use crate::access::{Access, changed};
use crate::plane::Plane;
use crate::seat::chance;

/// First wait after both ways failed; it doubles up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(30);
/// While the WebSocket carries, WebRTC is tried again after this time; it doubles up to
/// [`BETTER_LAST`].
const BETTER_FIRST: Duration = Duration::from_secs(5);
const BETTER_LAST: Duration = Duration::from_secs(60);

/// Why there is no WebRTC connection.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error("the signaling socket is away")]
    NoSignaling,
    #[error("the signaling socket ended before there was an answer")]
    Unseated,
    #[error("the network is another one")]
    Elsewhere,
    #[error("the WebSocket that carried meanwhile has ended")]
    Alone,
    #[error("no answer in time")]
    NoAnswer,
    #[error("the endpoint's answer is not believed: {0}")]
    Untrusted(RefusedReason),
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// What is known of the way to the endpoint.
#[derive(Default)]
pub(crate) struct UpstreamStatus {
    kind: Option<UpstreamKind>,
    /// Measures, while it is WebRTC.
    control: Option<ChannelSender>,
}

impl UpstreamStatus {
    /// Which it is now.
    pub(crate) fn kind(&self) -> Option<UpstreamKind> {
        self.kind
    }

    /// To the endpoint and back, by pings on the unreliable channel; `None`: not measured, as over a
    /// WebSocket.
    pub(crate) fn latency(&self) -> Option<Duration> {
        self.control.as_ref()?.stats().round_trip
    }
}

/// Keeps a carrier to the endpoint open.
pub(crate) struct Upstream {
    pub(crate) access: Arc<dyn Access>,
    pub(crate) plane: Arc<Plane>,
    pub(crate) status: Arc<Mutex<UpstreamStatus>>,
    pub(crate) ours: Identity,
    pub(crate) session_id: String,
    pub(crate) endpoint_peer_id: String,
    pub(crate) endpoint_key: PublicKey,
    pub(crate) config: PeerConfig,
    pub(crate) outbox: mpsc::Sender<ClientSignal>,
    pub(crate) seated: watch::Receiver<bool>,
    /// Messages of the endpoint.
    pub(crate) inbox: mpsc::Receiver<ServerSignal>,
    /// Number of the last offer; grows over all places of this program's life.
    pub(crate) offers: u64,
    /// The WebSocket, while WebRTC is tried again beside it.
    pub(crate) wss: Option<CarrierSender>,
    pub(crate) stop: CancellationToken,
}

/// How the WebSocket's turn ended.
enum Carried {
    /// It is time to try the better way; it carries meanwhile.
    InTime,
    UntilItsEnd,
    /// The network is another one.
    Elsewhere,
}

/// An open WebRTC connection.
struct Open {
    offerer: Offerer,
    carrier: Carrier,
    /// Measures: the other side is asked for signs of life.
    control: ChannelSender,
    candidates: LocalCandidates,
}

impl Upstream {
    /// Until it is stopped.
    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = Box::pin(self.keep()) => {}
        }
        *self.status.lock() = UpstreamStatus::default();
    }

    async fn keep(&mut self) {
        let (mut wait, mut better) = (FIRST_WAIT, BETTER_FIRST);
        let mut network = self.access.network();
        network.mark_unchanged();
        // Once: where signaling never lasts as long as a set-up takes, the WebSocket has its turn too.
        let mut may_repeat = true;
        loop {
            let beside = self.wss.clone();
            let opened = tokio::select! {
                opened = Box::pin(self.open_webrtc()) => opened,
                () = changed(&mut network) => Err(SetupError::Elsewhere),
                () = ended(beside) => {
                    self.leave_websocket();
                    Err(SetupError::Alone)
                }
            };
            match opened {
                Err(SetupError::Elsewhere) => {
                    self.leave_websocket();
                    (wait, better) = (FIRST_WAIT, BETTER_FIRST);
                    continue;
                }
                // What was said has not arrived: said again on the next one.
                Err(SetupError::Unseated) if may_repeat && self.wss.is_none() => {
                    may_repeat = false;
                    continue;
                }
                Ok(open) => {
                    (wait, better) = (FIRST_WAIT, BETTER_FIRST);
                    may_repeat = true;
                    // The plane closes it as the better one takes its place.
                    self.wss = None;
                    let elsewhere = Box::pin(self.stay(open, &mut network)).await;
                    tracing::info!(elsewhere, "the WebRTC connection to the endpoint ended");
                    if elsewhere {
                        continue;
                    }
                }
                Err(error) => {
                    may_repeat = true;
                    tracing::info!(%error, "no WebRTC connection to the endpoint");
                    match self.over_websocket(&mut network, better).await {
                        Ok(Carried::InTime) => {
                            wait = FIRST_WAIT;
                            better = (better * 2).min(BETTER_LAST);
                        }
                        Ok(Carried::UntilItsEnd) => wait = FIRST_WAIT,
                        Ok(Carried::Elsewhere) => {
                            (wait, better) = (FIRST_WAIT, BETTER_FIRST);
                            continue;
                        }
                        Err(error) => {
                            tracing::info!(code = error.code(), %error, "no link socket either");
                            if error.needs_sign_in() {
                                // Told by whoever asks the coordinator next.
                                let _ = self.access.renew_token().await;
                            }
                        }
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait.mul_f64(1.0 - chance() / 4.0)) => {}
                () = changed(&mut network) => {
                    self.leave_websocket();
                    (wait, better) = (FIRST_WAIT, BETTER_FIRST);
                }
            }
            wait = (wait * 2).min(LAST_WAIT);
        }
    }

    /// The WebSocket that carries beside an attempt is of no use any more: it ended, or leaves from an
    /// address that is gone, and would not say so for minutes.
    fn leave_websocket(&mut self) {
        if let Some(tx) = self.wss.take() {
            tx.close();
            self.tell(None, None);
        }
    }

    fn tell(&self, kind: Option<UpstreamKind>, control: Option<ChannelSender>) {
        *self.status.lock() = UpstreamStatus { kind, control };
    }

    /// Has an open connection carry until it ends. Gives whether the network is another one.
    async fn stay(&mut self, open: Open, network: &mut watch::Receiver<u64>) -> bool {
        let Open {
            offerer,
            carrier,
            control,
            mut candidates,
        } = open;
        self.tell(Some(UpstreamKind::Webrtc), Some(control));
        self.plane.attach_upstream(carrier, self.stop.child_token());
        tracing::info!("connected to the endpoint over WebRTC");
        let mut states = offerer.states();
        let mut local = true;
        let elsewhere = loop {
            tokio::select! {
                () = closed(&mut states) => break false,
                // ICE would take half a minute to find out.
                () = changed(network) => break true,
                more = candidates.next(), if local => match more {
                    Some(candidate) => self.say(candidate),
                    None => local = false,
                },
                Some(signal) = self.inbox.recv() => {
                    if let ServerSignal::IceCandidate { candidate, .. } = signal {
                        add(&offerer, &candidate).await;
                    }
                }
            }
        };
        self.tell(None, None);
        offerer.close().await;
        elsewhere
    }

    /// Has a WebSocket carry until it ends, until it is time to try the `better` way again, or until the
    /// network is another one.
    async fn over_websocket(
        &mut self,
        network: &mut watch::Receiver<u64>,
        better: Duration,
    ) -> Result<Carried, ConnectError> {
        let open = self.wss.take_if(|tx| tx.close_reason().is_none());
        let tx = if let Some(tx) = open {
            tx
        } else {
            let target = self.access.link_target(&self.session_id)?;
            let stop = self.stop.child_token();
            let carrier = connect(&target, stop.clone()).await?;
            let tx = carrier.tx.clone();
            self.tell(Some(UpstreamKind::Wss), None);
            self.plane.attach_upstream(carrier, stop);
            tracing::info!("connected to the endpoint over a WebSocket");
            tx
        };
        Ok(tokio::select! {
            _ = tx.closed() => {
                self.tell(None, None);
                Carried::UntilItsEnd
            }
            () = changed(network) => {
                tx.close();
                self.tell(None, None);
                Carried::Elsewhere
            }
            () = tokio::time::sleep(better) => {
                self.wss = Some(tx);
                Carried::InTime
            }
        })
    }

    async fn open_webrtc(&mut self) -> Result<Open, SetupError> {
        let limit = self.config.connect_timeout;
        let mut seated = self.seated.clone();
        let open = seated.wait_for(|open| *open);
        match tokio::time::timeout(limit, open).await {
            Ok(Ok(_)) => {}
            _ => return Err(SetupError::NoSignaling),
        }
        // What is left of an older one is not for this.
        while self.inbox.try_recv().is_ok() {}
        let (offerer, candidates) = Offerer::new(self.config.clone()).await?;
        let made = Box::pin(self.negotiate(&offerer, candidates));
        let outcome = tokio::select! {
            made = tokio::time::timeout(limit, made) => {
                made.unwrap_or(Err(SetupError::NoAnswer))
            }
            // It is open again perhaps: what it was given before may be lost.
            changed = seated.changed() => Err(match changed {
                Ok(()) => SetupError::Unseated,
                Err(_) => SetupError::NoSignaling,
            }),
        };
        match outcome {
            Ok((carrier, control, candidates)) => Ok(Open {
                offerer,
                carrier,
                control,
                candidates,
            }),
            Err(error) => {
                offerer.close().await;
                Err(error)
            }
        }
    }

    async fn negotiate(
        &mut self,
        offerer: &Offerer,
        mut candidates: LocalCandidates,
    ) -> Result<(Carrier, ChannelSender, LocalCandidates), SetupError> {
        let sdp = offerer.create_offer().await?;
        self.offers += 1;
        let (offer, offered) = sign_offer(&self.ours, &self.session_id, self.offers, sdp);
        let offer = ClientSignal::Offer {
            to: self.endpoint_peer_id.clone(),
            sdp: offer.to_value(),
        };
        let said = self.outbox.send(offer).await;
        said.map_err(|_| SetupError::NoSignaling)?;
        let mut local = true;
        loop {
            tokio::select! {
                carrier = offerer.opened() => {
                    let carrier = carrier?;
                    return Ok((carrier, offerer.attended().await?, candidates));
                }
                more = candidates.next(), if local => match more {
                    Some(candidate) => self.say(candidate),
                    None => local = false,
                },
                signal = self.inbox.recv() => match signal {
                    Some(ServerSignal::Answer { sdp, .. }) => {
                        let answer = self.believe(&offered, &sdp)?;
                        offerer.accept_answer(&answer).await?;
                    }
                    Some(ServerSignal::IceCandidate { candidate, .. }) => {
                        add(offerer, &candidate).await;
                    }
                    Some(_) => {}
                    None => return Err(SetupError::NoSignaling),
                },
            }
        }
    }

    /// The text of an answer that is the endpoint's.
    fn believe(&self, offered: &Offered, answer: &Value) -> Result<String, SetupError> {
        let signed = SignedDescription::read(answer).map_err(SetupError::Untrusted)?;
        check_answer(&self.endpoint_key, &self.session_id, offered, &signed)
            .map_err(SetupError::Untrusted)?;
        Ok(signed.sdp)
    }

    fn say(&self, candidate: Value) {
        let signal = ClientSignal::IceCandidate {
            to: self.endpoint_peer_id.clone(),
            candidate,
        };
        if self.outbox.try_send(signal).is_err() {
            tracing::debug!("a candidate was dropped");
        }
    }
}

/// Waits for the end of a carrier that there may not be.
async fn ended(carrier: Option<CarrierSender>) {
    match carrier {
        Some(tx) => {
            tx.closed().await;
        }
        None => std::future::pending().await,
    }
}

async fn closed(states: &mut watch::Receiver<PeerState>) {
    // A state that is not told any more is the last one.
    let _ = states.wait_for(|state| *state == PeerState::Closed).await;
}

async fn add(offerer: &Offerer, candidate: &Value) {
    if let Err(error) = offerer.add_remote_candidate(candidate).await {
        tracing::debug!(%error, "a candidate of the endpoint was not taken");
    }
}
