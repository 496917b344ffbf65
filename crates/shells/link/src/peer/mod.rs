//! A WebRTC peer connection with four data channels, agreed beforehand on both sides. Its unreliable
//! channel is also the carrier of the session link.
//!
//! ```text
//! offering side                     signaling                     answering side
//! Offerer::new
//! create_offer          ── sdp ──────────────────────▶  Answerer::accept
//! accept_answer         ◀────────────────────── sdp ──
//! LocalCandidates::next ── candidate ────────────────▶  add_remote_candidate     (any time, any order)
//! add_remote_candidate  ◀──────────────── candidate ──  LocalCandidates::next
//! opened -> Carrier, channels -> Channels               opened -> Carrier, channels -> Channels
//! ```
//!
//! On another network the same two talk once more, and the channels stay (ICE restart, RFC 8445,
//! section 9): [`Offerer::restart`], [`Answerer::accept_restart`], [`Offerer::accept_answer`], and
//! candidates as above; [`Peer::found_way`] returns when another way is in use. Both sides bind new
//! sockets for it.
//!
//! Rules:
//! - Candidates trickle. A description already holds this machine's own addresses, which are known
//!   at once: a side that starts to check before it knows the other's addresses takes them for ones
//!   behind a NAT and loses time. An offerer keeps candidates that arrive before the answer.
//! - **Control comes first, and greets.** The library opens the stream of a channel a moment after the
//!   association; data of the other side that comes within that moment opens it too, reliable and
//!   ordered, and so it stays for as long as it lives. Control is just that. The other channels are
//!   made once the association is up, and used once the other side has said, on control, that it has
//!   made its own: hello until something is heard, and "heard" in answer to it.
//! - What goes first, how much, and in what form is decided by [`warp_peer_core`].
//! - All channels are read at once and all the time: the library stops all of them when one is full.
//! - There are four channels. One that the other side opens beside them breaks the protocol.
//! - A peer connection lives until [`Peer::close`], until its [`Peer`] *or* its [`Carrier`] is
//!   dropped, until the other side breaks the protocol, until the other side closes it, or until ICE
//!   gives it up. Then its tasks and sockets go, as they do when making it is cancelled.
//! - A session description and candidates come from the other side: they are limited in size and
//!   number, cannot make us open TCP connections, and have us send to addresses of single hosts only.
//!   We offer no more candidates than are taken.
//! - Behind this interface stands the crate `webrtc`; none of its types is part of the interface.

mod again;
mod channels;
mod config;
mod error;
mod mapped;
mod plain;
mod pump;
mod runtime;
mod signaling;
mod stats;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rtc::peer_connection::configuration::RTCOfferOptions;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use warp_peer_core::Channel;
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::{PeerConnection, PeerConnectionBuilder, RTCIceCandidateInit};

pub use channels::{
    ChannelReceiver, ChannelReceivers, ChannelSender, ChannelStats, Channels, SendError,
};
pub use config::{PeerConfig, SCTP_MTU};
pub use error::PeerError;
pub use mapped::{OpenedPort, PortOpener};
pub use pump::SILENT_AFTER;
pub use signaling::MAX_REMOTE_CANDIDATES;
pub use stats::{CandidateInfo, PeerState, SelectedPair};

use crate::carrier::{Carrier, CloseReason, Core};
use channels::Traffic;
use config::Addresses;
use mapped::Mapping;
use pump::{Handler, Pump};
use runtime::CarrierRuntime;
use signaling::Kind;

/// How many local candidates wait for a slow signaling; further ones are dropped with a warning.
const LOCAL_CANDIDATES: usize = 64;

/// How long a description waits for this machine's own addresses to be listed in it. The library
/// needs no network for that, only its turn.
const OWN_ADDRESSES: Duration = Duration::from_millis(50);

/// Our own candidates as they are found, for signaling: `{candidate, sdpMid, sdpMLineIndex}`.
#[derive(Debug)]
pub struct LocalCandidates {
    rx: mpsc::Receiver<Value>,
}

impl LocalCandidates {
    /// The next candidate; `None` when all are found or the peer connection is closed.
    pub async fn next(&mut self) -> Option<Value> {
        self.rx.recv().await
    }
}

/// The side that offers.
#[derive(Debug)]
pub struct Offerer {
    peer: Peer,
}

impl Offerer {
    /// Binds sockets and prepares the data channel. Nothing is sent yet. Safe to cancel.
    ///
    /// # Errors
    /// [`PeerError::NoLocalAddress`] or [`PeerError::Setup`].
    pub async fn new(config: PeerConfig) -> Result<(Self, LocalCandidates), PeerError> {
        let (peer, candidates) = Peer::new(config).await?;
        Ok((Self { peer }, candidates))
    }

    /// The description for the other side. Candidates are looked for from now on.
    ///
    /// # Errors
    /// [`PeerError::Closed`], or [`PeerError::Setup`] when called again after the answer.
    pub async fn create_offer(&self) -> Result<String, PeerError> {
        let pc = &self.peer.pc;
        let offer = pc
            .create_offer(None)
            .await
            .map_err(|error| self.peer.setup_error(&error))?;
        let bare = offer.sdp.clone();
        pc.set_local_description(offer)
            .await
            .map_err(|error| self.peer.setup_error(&error))?;
        Ok(self.peer.description_with_addresses(bare).await)
    }

    /// Binds the addresses that this machine has now, and looks for another way to the other side; the
    /// description is for [`Answerer::accept_restart`]. Until there is one nothing arrives. What the
    /// reliable channels have to say waits, and what is said on the unreliable one is lost.
    ///
    /// # Errors
    /// [`PeerError::NoLocalAddress`], and nothing has changed; [`PeerError::Closed`];
    /// [`PeerError::Setup`] before the first answer was taken. A restart that waits for its answer is
    /// given up for the next one.
    pub async fn restart(&self) -> Result<(String, LocalCandidates), PeerError> {
        let peer = &self.peer;
        let own = peer.config.local_addresses()?.len();
        let options = RTCOfferOptions { ice_restart: true };
        let offer = peer.pc.create_offer(Some(options)).await;
        let offer = offer.map_err(|error| peer.setup_error(&error))?;
        let bare = offer.sdp.clone();
        // From here on candidates of the other side are those of the answer to come.
        let mut remote = peer.remote.lock().await;
        let candidates = peer.begin_round(own);
        let set = peer.pc.set_local_description(offer).await;
        set.map_err(|error| peer.setup_error(&error))?;
        *remote = Remote::default();
        drop(remote);
        let text = peer.description_with_addresses(bare).await;
        Ok((text, candidates))
    }

    /// Takes the other side's answer, to the first offer or to that of a restart.
    ///
    /// # Errors
    /// [`PeerError::BadDescription`]; the connection cannot open then and should be closed.
    pub async fn accept_answer(&self, sdp: &str) -> Result<(), PeerError> {
        self.peer.accept_remote(Kind::Answer, sdp).await
    }
}

impl Deref for Offerer {
    type Target = Peer;
    fn deref(&self) -> &Peer {
        &self.peer
    }
}

/// The side that answers.
#[derive(Debug)]
pub struct Answerer {
    peer: Peer,
}

impl Answerer {
    /// Takes an offer and makes the answer. Candidates are looked for from now on. Safe to cancel.
    ///
    /// # Errors
    /// The offer cannot be used, or as [`Offerer::new`]. Nothing is left behind.
    pub async fn accept(
        config: PeerConfig,
        offer: &str,
    ) -> Result<(Self, String, LocalCandidates), PeerError> {
        // Before sockets are bound: most bad offers are noticed here.
        signaling::description(Kind::Offer, offer, config.include_loopback)?;
        let (peer, candidates) = Peer::new(config).await?;
        let answerer = Self { peer };
        match answerer.answer(offer).await {
            Ok(answer) => Ok((answerer, answer, candidates)),
            Err(error) => {
                answerer.peer.close().await;
                Err(error)
            }
        }
    }

    /// Takes the offer of a restart and makes the answer, as [`Offerer::restart`] on its side.
    ///
    /// # Errors
    /// [`PeerError::NoLocalAddress`], and nothing has changed; [`PeerError::BadDescription`];
    /// [`PeerError::Closed`].
    pub async fn accept_restart(
        &self,
        offer: &str,
    ) -> Result<(String, LocalCandidates), PeerError> {
        let peer = &self.peer;
        signaling::description(Kind::Offer, offer, peer.loopback)?;
        let own = peer.config.local_addresses()?.len();
        let mut remote = peer.remote.lock().await;
        *remote = Remote::default();
        let candidates = peer.begin_round(own);
        drop(remote);
        let answer = self.answer(offer).await?;
        Ok((answer, candidates))
    }

    async fn answer(&self, offer: &str) -> Result<String, PeerError> {
        let peer = &self.peer;
        peer.accept_remote(Kind::Offer, offer).await?;
        let bad = |error: webrtc::error::Error| PeerError::BadDescription {
            cause: error.to_string(),
        };
        let answer = peer.pc.create_answer(None).await.map_err(bad)?;
        let bare = answer.sdp.clone();
        peer.pc.set_local_description(answer).await.map_err(bad)?;
        Ok(peer.description_with_addresses(bare).await)
    }
}

impl Deref for Answerer {
    type Target = Peer;
    fn deref(&self) -> &Peer {
        &self.peer
    }
}

/// Candidates of the other side: the addresses taken, and the candidates that came too early.
#[derive(Debug, Default)]
struct Remote {
    described: bool,
    /// With `early` at most [`MAX_REMOTE_CANDIDATES`].
    addresses: HashSet<SocketAddr>,
    early: Vec<(SocketAddr, RTCIceCandidateInit)>,
}

/// What both sides can do.
pub struct Peer {
    pc: Arc<dyn PeerConnection>,
    control: Arc<dyn DataChannel>,
    core: Arc<Core>,
    carrier: Mutex<Option<Carrier>>,
    channels: Mutex<Option<Channels>>,
    /// Cancelled when the channels are handed out.
    attended: CancellationToken,
    remote: tokio::sync::Mutex<Remote>,
    handler: Arc<Handler>,
    traffic: Arc<Traffic>,
    config: PeerConfig,
    /// Whether candidates on the loopback are taken.
    loopback: bool,
    state: watch::Receiver<PeerState>,
    /// How many local candidates were found so far, in this round.
    found: watch::Receiver<usize>,
    own_addresses: AtomicUsize,
    /// Cancelled when what the round has opened at the router is of no use any more.
    round: Mutex<CancellationToken>,
    /// Cancelled when the carrier may be used.
    open: CancellationToken,
    /// Cancelled when everything is freed.
    gone: CancellationToken,
    /// What the router is asked with, once there is a description.
    mapping: Mutex<Option<Mapping>>,
    connect_timeout: Duration,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("state", &*self.state.borrow())
            .field("open", &self.open.is_cancelled())
            .field("close_reason", &self.core.reason())
            .finish_non_exhaustive()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}

impl Peer {
    async fn new(config: PeerConfig) -> Result<(Self, LocalCandidates), PeerError> {
        let addresses = config.local_addresses()?;
        let runtime = CarrierRuntime::new();
        // This future may be dropped at each of its awaits; the pump takes over at the end.
        let unattended = runtime.abandon_on_drop();
        let (candidates, rx) = mpsc::channel(LOCAL_CANDIDATES);
        let (state, state_rx) = watch::channel(PeerState::New);
        let (found, found_rx) = watch::channel(0);
        let own_addresses = AtomicUsize::new(addresses.len());
        let mapping = Mapping::wanted(&config, &candidates);
        let handler = Arc::new(Handler {
            candidates: Mutex::new(Some(candidates)),
            found,
            quota: Mutex::default(),
            state,
            uninvited: CancellationToken::new(),
        });
        let setup = |error: webrtc::error::Error| PeerError::Setup {
            cause: error.to_string(),
        };
        // Boxed: the builder's future is large.
        let built = Box::pin(
            PeerConnectionBuilder::new()
                .with_configuration(config.rtc_configuration())
                .with_setting_engine(config.settings())
                .with_handler(handler.clone())
                .with_runtime(runtime.clone())
                .with_udp_addrs(vec![Addresses(config.clone())])
                .with_data_channel_send_buffer_limit(config::LIBRARY_SEND_BUFFER)
                .build(),
        )
        .await
        .map_err(setup)?;
        let pc: Arc<dyn PeerConnection> = Arc::new(built);
        let core = Core::new(CancellationToken::new());
        let open = CancellationToken::new();
        let gone = CancellationToken::new();
        let init = Some(config::channel(Channel::Control));
        let made = pc.create_data_channel(Channel::Control.label(), init);
        let control = match made.await {
            Ok(control) => control,
            Err(error) => {
                runtime.settle();
                // Nothing was sent yet; the first error is the one to report.
                let _ = pc.close().await;
                return Err(setup(error));
            }
        };
        let carrier = Carrier::new(core.clone());
        let traffic = Arc::new(Traffic::new(config.outbox.clone()));
        let channels = Channels::new(traffic.clone(), core.clone());
        let attended = CancellationToken::new();
        let pump = Pump {
            pc: pc.clone(),
            control: control.clone(),
            runtime,
            handler: handler.clone(),
            traffic: traffic.clone(),
            open: open.clone(),
            attended: attended.clone(),
            given_up_after: config.given_up_after,
        };
        let (pumped, freed) = (core.clone(), gone.clone().drop_guard());
        tokio::spawn(async move {
            // The guards go last, the upper one at the very end, also when the pump panics.
            let _freed = freed;
            let _unattended = unattended;
            pump.run(pumped).await;
        });
        let peer = Self {
            pc,
            control,
            core,
            carrier: Mutex::new(Some(carrier)),
            channels: Mutex::new(Some(channels)),
            attended,
            remote: tokio::sync::Mutex::default(),
            handler,
            traffic,
            loopback: config.include_loopback,
            state: state_rx,
            found: found_rx,
            own_addresses,
            round: Mutex::new(gone.child_token()),
            open,
            gone,
            mapping: Mutex::new(mapping),
            connect_timeout: config.connect_timeout,
            config,
        };
        Ok((peer, LocalCandidates { rx }))
    }

    /// Adds one candidate of the other side, `{candidate, sdpMid, sdpMLineIndex}`; the empty
    /// candidate says that there are no more.
    ///
    /// # Errors
    /// The candidate was not taken: [`PeerError::BadCandidate`],
    /// [`PeerError::TooManyCandidates`]. The connection goes on with the others.
    pub async fn add_remote_candidate(&self, candidate: &Value) -> Result<(), PeerError> {
        let Some((address, candidate)) = signaling::remote_candidate(candidate, self.loopback)?
        else {
            return Ok(());
        };
        let mut remote = self.remote.lock().await;
        let mut early = remote.early.iter();
        if remote.addresses.contains(&address) || early.any(|(known, _)| *known == address) {
            // It stood in the description already.
            return Ok(());
        }
        if remote.addresses.len() + remote.early.len() >= MAX_REMOTE_CANDIDATES {
            return Err(PeerError::TooManyCandidates {
                limit: MAX_REMOTE_CANDIDATES,
            });
        }
        if remote.described {
            self.add_to_library(candidate).await?;
            remote.addresses.insert(address);
        } else {
            remote.early.push((address, candidate));
        }
        Ok(())
    }

    /// Waits until the channels are open, at most the configured time, and hands the carrier out.
    ///
    /// # Errors
    /// [`PeerError::Timeout`], [`PeerError::Unreachable`], [`PeerError::Closed`]; after each of them
    /// close the peer. [`PeerError::AlreadyTaken`] the second time. Safe to cancel.
    pub async fn opened(&self) -> Result<Carrier, PeerError> {
        self.wait_open().await?;
        self.carrier.lock().take().ok_or(PeerError::AlreadyTaken)
    }

    /// Waits until the channels are open, at most the configured time, and hands them out. From then
    /// on the other side is asked for signs of life.
    ///
    /// # Errors
    /// As [`Peer::opened`]. Safe to cancel.
    pub async fn channels(&self) -> Result<Channels, PeerError> {
        self.wait_open().await?;
        let channels = self.channels.lock().take();
        self.attended.cancel();
        let channels = channels.ok_or(PeerError::AlreadyTaken)?;
        channels.open();
        Ok(channels)
    }

    /// Waits until the channels are open, and has the other side asked for signs of life from then on,
    /// without taking what it sends but datagrams. What is measured by that is told by the sender.
    ///
    /// # Errors
    /// As [`Peer::opened`], and [`PeerError::AlreadyTaken`] after [`Peer::channels`]. Safe to cancel.
    pub async fn attended(&self) -> Result<ChannelSender, PeerError> {
        self.wait_open().await?;
        self.attended.cancel();
        let channels = self.channels.lock();
        let channels = channels.as_ref().ok_or(PeerError::AlreadyTaken)?;
        Ok(channels.tx.clone())
    }

    async fn wait_open(&self) -> Result<(), PeerError> {
        tokio::select! {
            biased;
            reason = self.core.wait_ended() => Err(match reason {
                CloseReason::Unreachable => PeerError::Unreachable,
                _ => PeerError::Closed,
            }),
            () = self.open.cancelled() => Ok(()),
            () = tokio::time::sleep(self.connect_timeout) => Err(PeerError::Timeout {
                after: self.connect_timeout,
            }),
        }
    }

    /// Closes the connection and waits until its tasks and sockets are gone. The carrier ends with
    /// [`CloseReason::Local`] if it had not ended before. Closing again does nothing.
    pub async fn close(&self) {
        self.core.stop.cancel();
        // There may have been no description to ask the router for.
        self.mapping.lock().take();
        self.gone.cancelled().await;
    }

    /// The state, and a notice of each change.
    pub fn states(&self) -> watch::Receiver<PeerState> {
        self.state.clone()
    }

    /// The pair of addresses in use; `None` before there is one.
    pub async fn selected_pair(&self) -> Option<SelectedPair> {
        stats::selected_pair(&*self.pc).await
    }

    /// Waits until a way is in use that was found after the last restart began, once both descriptions
    /// of it are there.
    ///
    /// # Errors
    /// [`PeerError::Unreachable`]: there is none; [`PeerError::Closed`]. Safe to cancel.
    pub async fn found_way(&self) -> Result<(), PeerError> {
        let mut states = self.state.clone();
        let known = |state: &PeerState| {
            use PeerState::{Closed, Connected, Failed};
            matches!(state, Connected | Failed | Closed)
        };
        let state = states.wait_for(known).await;
        match state.map_or(PeerState::Closed, |state| *state) {
            PeerState::Connected => {
                self.traffic.begin_round();
                Ok(())
            }
            PeerState::Failed => Err(PeerError::Unreachable),
            _ => Err(PeerError::Closed),
        }
    }

    /// Another way will be looked for, by this side or the other one: the connection is given up for its
    /// silence no sooner than if it began now.
    pub fn hold(&self) {
        self.traffic.begin_round();
    }

    /// Another round of candidates begins, with so many addresses of this machine.
    fn begin_round(&self, own_addresses: usize) -> LocalCandidates {
        let (candidates, rx) = mpsc::channel(LOCAL_CANDIDATES);
        self.own_addresses.store(own_addresses, Ordering::Relaxed);
        let round = std::mem::replace(&mut *self.round.lock(), self.gone.child_token());
        round.cancel();
        *self.mapping.lock() = Mapping::wanted(&self.config, &candidates);
        self.handler.begin_round(candidates);
        self.traffic.begin_round();
        LocalCandidates { rx }
    }

    /// Our description with this machine's own addresses in it, or `bare` should there be none. With
    /// the first one the router is asked for a port, where it may be.
    async fn description_with_addresses(&self, bare: String) -> String {
        let mut found = self.found.clone();
        let own = self.own_addresses.load(Ordering::Relaxed);
        let all = found.wait_for(|found| *found >= own);
        // Late addresses trickle like all others.
        let _ = tokio::time::timeout(OWN_ADDRESSES, all).await;
        let text = match self.pc.local_description().await {
            Some(description) => description.sdp,
            None => bare,
        };
        if let Some(mapping) = self.mapping.lock().take() {
            tokio::spawn(mapping.hold(text.clone(), self.round.lock().clone()));
        }
        text
    }

    async fn accept_remote(&self, kind: Kind, sdp: &str) -> Result<(), PeerError> {
        let (description, addresses) = signaling::description(kind, sdp, self.loopback)?;
        let mut remote = self.remote.lock().await;
        self.pc
            .set_remote_description(description)
            .await
            .map_err(|error| PeerError::BadDescription {
                cause: error.to_string(),
            })?;
        remote.described = true;
        remote.addresses.extend(addresses);
        for (address, candidate) in std::mem::take(&mut remote.early) {
            if remote.addresses.len() >= MAX_REMOTE_CANDIDATES || !remote.addresses.insert(address)
            {
                continue;
            }
            if let Err(error) = self.add_to_library(candidate).await {
                tracing::debug!(%error, "an early candidate was not taken");
            }
        }
        drop(remote);
        self.nudge().await;
        Ok(())
    }

    async fn add_to_library(&self, candidate: RTCIceCandidateInit) -> Result<(), PeerError> {
        self.pc
            .add_ice_candidate(candidate)
            .await
            .map_err(|error| PeerError::BadCandidate {
                cause: error.to_string(),
            })?;
        self.nudge().await;
        Ok(())
    }

    /// Wakes the library's driver, which does not wake up for a new candidate by itself.
    async fn nudge(&self) {
        // Setting a threshold that stays what it was wakes the driver; that the channel may be gone
        // is told by its events.
        let _ = self.control.set_buffered_amount_low_threshold(0).await;
    }

    fn setup_error(&self, error: &webrtc::error::Error) -> PeerError {
        if self.core.reason().is_some() || self.core.stop.is_cancelled() {
            PeerError::Closed
        } else {
            PeerError::Setup {
                cause: error.to_string(),
            }
        }
    }
}
