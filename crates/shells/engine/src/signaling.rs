//! One WebRTC set-up with the endpoint, through the coordinator's signaling socket.
//!
//! The offer is signed with the device key, and the answer has to be signed with the key that the
//! endpoint was certified for: whoever carries signaling can hinder the set-up, and not stand in the
//! middle of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::{CancellationToken, DropGuard};
use warp_link::Carrier;
use warp_link::peer::{LocalCandidates, Offerer, PeerConfig, PeerError};
use warp_link::websocket::{ConnectError, Socket, connect_socket};
use warp_link_core::Identity;
use warp_link_core::descriptions::{Offered, check_answer, sign_offer};
use warp_protocol::identity::{PublicKey, RefusedReason};
use warp_protocol::rest::SessionGrant;
use warp_protocol::signal::{ClientSignal, MAX_SIGNAL, ServerSignal, SignedDescription};
use warp_reach::mapping::{OpenPort, Router, local_address};

use crate::coordinator::Coordinator;
use crate::mapped;

/// Why a WebRTC path did not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("signaling socket: {0}")]
    Connect(ConnectError),
    #[error("signaling socket: {0}")]
    Socket(Box<tungstenite::Error>),
    #[error("the access token was refused")]
    Unauthorized,
    #[error("signaling ended before the path was open")]
    Ended,
    #[error("the coordinator refused a message: {0}")]
    Refused(String),
    #[error("the endpoint's answer is not believed: {0}")]
    Untrusted(RefusedReason),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl From<tungstenite::Error> for SetupError {
    fn from(error: tungstenite::Error) -> Self {
        Self::Socket(Box::new(error))
    }
}

impl From<ConnectError> for SetupError {
    fn from(error: ConnectError) -> Self {
        if error.needs_sign_in() {
            Self::Unauthorized
        } else {
            Self::Connect(error)
        }
    }
}

/// The keys of a session's descriptions.
pub(crate) struct Signing {
    device: Identity,
    endpoint: PublicKey,
    /// An answer without a signature is refused.
    required: bool,
    /// Number of the last offer.
    offers: AtomicU64,
    refused: AtomicBool,
}

impl Signing {
    pub(crate) fn new(device: Identity, endpoint: PublicKey, required: bool) -> Self {
        Self {
            device,
            endpoint,
            required,
            offers: AtomicU64::new(0),
            refused: AtomicBool::new(false),
        }
    }

    /// True the first time.
    pub(crate) fn is_first_refusal(&self) -> bool {
        !self.refused.swap(true, Ordering::Relaxed)
    }

    fn sign(&self, session_id: &str, offer: String) -> (SignedDescription, Offered) {
        let number = self.offers.fetch_add(1, Ordering::Relaxed) + 1;
        sign_offer(&self.device, session_id, number, offer)
    }

    /// The text of an answer that is believed.
    fn believe(
        &self,
        session_id: &str,
        offered: &Offered,
        answer: &Value,
    ) -> Result<String, RefusedReason> {
        match SignedDescription::read(answer) {
            Ok(signed) => {
                check_answer(&self.endpoint, session_id, offered, &signed)?;
                Ok(signed.sdp)
            }
            Err(reason) if self.required || answer.get("signature").is_some() => Err(reason),
            // An endpoint that does not sign yet: text, or an object as browsers write it.
            Err(reason) => answer
                .as_str()
                .or_else(|| answer.get("sdp").and_then(Value::as_str))
                .map(str::to_owned)
                .ok_or(reason),
        }
    }
}

/// An open path with what has to live as long as it.
pub(crate) struct OpenPeer {
    pub(crate) offerer: Offerer,
    pub(crate) carrier: Carrier,
    /// The router's port, where it opened one; to be closed after the offerer.
    pub(crate) port: Option<OpenPort>,
    /// Keeps the socket answering pings, and with it the place in the room.
    _room: DropGuard,
}

/// Joins the session's room, offers to the endpoint and waits until the data channel is open.
/// `port_mapping`: the router is asked for a port, which is offered as one more candidate.
pub(crate) async fn open_peer(
    coordinator: &Coordinator,
    grant: &SessionGrant,
    signing: &Signing,
    config: PeerConfig,
    port_mapping: bool,
) -> Result<OpenPeer, SetupError> {
    let limit = config.connect_timeout;
    let mut socket = tokio::time::timeout(limit, connect(coordinator, grant))
        .await
        .map_err(|_| SetupError::Timeout(limit))??;
    let (offerer, candidates) = Offerer::new(config).await?;
    let outcome = tokio::time::timeout(
        limit,
        Box::pin(negotiate(
            &mut socket,
            &offerer,
            candidates,
            grant,
            signing,
            port_mapping,
        )),
    )
    .await
    .unwrap_or(Err(SetupError::Timeout(limit)));
    match outcome {
        Ok((carrier, port)) => Ok(OpenPeer {
            offerer,
            carrier,
            port,
            _room: stay(socket),
        }),
        Err(error) => {
            offerer.close().await;
            Err(error)
        }
    }
}

/// Reads the socket until the guard is dropped or the socket ends; the open path needs it no more.
fn stay(mut socket: Socket) -> DropGuard {
    let leave = CancellationToken::new();
    let guard = leave.clone().drop_guard();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = leave.cancelled() => break,
                message = socket.next() => match message {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
            }
        }
        // Gone already, or the coordinator is: nothing to say goodbye to.
        let _ = socket.close(None).await;
    });
    guard
}

async fn connect(coordinator: &Coordinator, grant: &SessionGrant) -> Result<Socket, SetupError> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_SIGNAL))
        .max_frame_size(Some(MAX_SIGNAL));
    let target = coordinator.signaling_target(grant);
    Ok(connect_socket(&target, limits).await?)
}

async fn negotiate(
    socket: &mut Socket,
    offerer: &Offerer,
    mut candidates: LocalCandidates,
    grant: &SessionGrant,
    signing: &Signing,
    mut port_mapping: bool,
) -> Result<(Carrier, Option<OpenPort>), SetupError> {
    let endpoint = &grant.endpoint_peer_id;
    let session_id = &grant.session_id;
    let (offer, offered) = signing.sign(session_id, offerer.create_offer().await?);
    let mut joined = false;
    let mut more = true;
    let mut mapped = Box::pin(mapped(&offer.sdp));
    let mut port = None;
    loop {
        tokio::select! {
            carrier = offerer.opened() => return Ok((carrier?, port)),
            opened = &mut mapped, if joined && port_mapping => {
                port_mapping = false;
                if let Some((opened, candidate)) = opened {
                    port = Some(opened);
                    send(socket, &ClientSignal::IceCandidate {
                        to: endpoint.clone(),
                        candidate,
                    }).await?;
                }
            }
            candidate = candidates.next(), if joined && more => match candidate {
                Some(candidate) => send(socket, &ClientSignal::IceCandidate {
                    to: endpoint.clone(),
                    candidate,
                }).await?,
                None => more = false,
            },
            message = socket.next() => {
                let message = message.ok_or(SetupError::Ended)??;
                let Some(signal) = read(&message) else { continue };
                match signal {
                    ServerSignal::SessionJoined { .. } if !joined => {
                        joined = true;
                        send(socket, &ClientSignal::Offer {
                            to: endpoint.clone(),
                            sdp: offer.to_value(),
                        }).await?;
                    }
                    ServerSignal::Answer { from, sdp, .. } if from == *endpoint => {
                        let answer = signing
                            .believe(session_id, &offered, &sdp)
                            .map_err(SetupError::Untrusted)?;
                        offerer.accept_answer(&answer).await?;
                    }
                    ServerSignal::IceCandidate { from, candidate, .. } if from == *endpoint => {
                        if let Err(error) = offerer.add_remote_candidate(&candidate).await {
                            tracing::debug!(%error, "a candidate of the endpoint was not taken");
                        }
                    }
                    ServerSignal::Error { code, message } => {
                        return Err(SetupError::Refused(format!("{code:?}: {message}")));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A port that the router opens for the socket in `offer`, and its candidate.
async fn mapped(offer: &str) -> Option<(OpenPort, Value)> {
    let local = mapped::local_port(offer, local_address().await?)?;
    let port = Router::find().await.open(local.0, local.1).await?;
    tracing::info!(outside = %port.outside(), "the router opened a port");
    let candidate = mapped::candidate(port.outside(), local);
    Some((port, candidate))
}

async fn send(socket: &mut Socket, signal: &ClientSignal) -> Result<(), SetupError> {
    let text = serde_json::to_string(signal).map_err(|_| SetupError::Ended)?;
    socket.send(Message::text(text)).await?;
    Ok(())
}

/// `None` for what is no signaling message; pings answer themselves.
fn read(message: &Message) -> Option<ServerSignal> {
    let Message::Text(text) = message else {
        return None;
    };
    serde_json::from_str(text)
        .inspect_err(|error| tracing::debug!(%error, "an unknown signaling message"))
        .ok()
}
