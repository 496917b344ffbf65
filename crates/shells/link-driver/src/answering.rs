//! Answers WebRTC offers that come through signaling.
//!
//! A signed offer is believed from the holder of one key only, in its session, once; its answer is
//! signed. One without a signature is answered in kind where signatures are not required. The newest
//! offer counts: a connection that is still being made is given up for it, one that works is closed
//! when the new one is open. The endpoint answers launchers and hosts so, a host its members.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_link::Carrier;
use warp_link::peer::{Answerer, LocalCandidates, PeerConfig, PeerError, PeerState};
use warp_link_core::Identity;
use warp_link_core::descriptions::{Offered, check_offer, sign_answer};
use warp_protocol::identity::{PublicKey, RefusedReason};
use warp_protocol::signal::{ClientSignal, ServerSignal, SignedDescription};

/// Candidates of the other side that wait while a connection is made. Full: the candidate is dropped;
/// one of the others will do.
const CANDIDATES: usize = 64;

/// Who signs what in a room.
#[derive(Debug)]
pub struct RoomKeys {
    /// Ours, which signs answers.
    pub ours: Identity,
    /// The other side's, which signs offers.
    pub theirs: PublicKey,
    /// An offer without a signature is refused.
    pub signed_offers: bool,
}

/// The room that offers come from, and what becomes of them.
pub trait Room: Send + Sync + 'static {
    /// The session that is named in what is signed.
    fn id(&self) -> &str;
    /// Who signs what.
    fn keys(&self) -> &RoomKeys;
    /// Whether offers are answered at all.
    fn takes_offers(&self) -> bool;
    /// Cancelled: everything ends.
    fn stop(&self) -> &CancellationToken;
    /// A connection is open. Closed by whoever holds the carrier, or by a newer one.
    fn attach(&self, carrier: Carrier);
    /// Somebody was not believed.
    fn refuse(&self, reason: RefusedReason);
}

/// The offers of one room.
pub struct Answering {
    context: Arc<Context>,
    tasks: TaskTracker,
    newest: Option<Attempt>,
    /// Number of the last offer that was believed.
    last_offer: u64,
}

struct Context {
    room: Arc<dyn Room>,
    outbox: mpsc::Sender<ClientSignal>,
    config: PeerConfig,
    /// Ends the connection that is open.
    open: Mutex<Option<CancellationToken>>,
}

/// A connection that is being made, or was.
struct Attempt {
    from: String,
    /// Full: the candidate is dropped; one of the others will do.
    candidates: mpsc::Sender<Value>,
    opened: Arc<AtomicBool>,
    stop: CancellationToken,
}

/// What an attempt's task works with.
struct Work {
    context: Arc<Context>,
    from: String,
    candidates: mpsc::Receiver<Value>,
    opened: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answering")
            .field("room", &self.context.room.id())
            .finish_non_exhaustive()
    }
}

impl Answering {
    /// Answers in `room`; `tasks` runs the connections, `outbox` takes what is said to the other
    /// side.
    pub fn new(
        room: Arc<dyn Room>,
        tasks: TaskTracker,
        outbox: mpsc::Sender<ClientSignal>,
        config: PeerConfig,
    ) -> Self {
        Self {
            context: Arc::new(Context {
                room,
                outbox,
                config,
                open: Mutex::new(None),
            }),
            tasks,
            newest: None,
            last_offer: 0,
        }
    }

    /// A message of the room. Never waits.
    pub fn on_signal(&mut self, signal: ServerSignal) {
        let id = self.context.room.id();
        match signal {
            ServerSignal::Offer { from, sdp, .. } => self.on_offer(from, sdp),
            ServerSignal::IceCandidate {
                from, candidate, ..
            } => match &self.newest {
                Some(attempt) if attempt.from == from => {
                    if attempt.candidates.try_send(candidate).is_err() {
                        tracing::debug!(session = id, "a candidate was dropped");
                    }
                }
                _ => tracing::debug!(session = id, from, "a candidate without an offer"),
            },
            ServerSignal::Error { code, message, .. } => {
                tracing::debug!(session = id, ?code, message, "signaling refused a message");
            }
            ServerSignal::SessionJoined { .. }
            | ServerSignal::PeerJoined { .. }
            | ServerSignal::PeerLeft { .. }
            | ServerSignal::SessionLeft { .. }
            | ServerSignal::Answer { .. }
            | ServerSignal::Hosts { .. }
            | ServerSignal::Policy { .. }
            | ServerSignal::SessionEnded { .. }
            | ServerSignal::Notice { .. }
            | ServerSignal::NpcState { .. }
            | ServerSignal::Serve { .. }
            | ServerSignal::Unserve { .. }
            | ServerSignal::Drained => {}
        }
    }

    fn on_offer(&mut self, from: String, sdp: Value) {
        let room = &self.context.room;
        if !room.takes_offers() {
            tracing::info!(
                session = room.id(),
                from,
                "offer ignored: the zone is without P2P"
            );
            return;
        }
        let offer = match self.believed(&sdp) {
            Ok(offer) => offer,
            Err(reason) => return self.context.room.refuse(reason),
        };
        if let Some(older) = self.newest.take()
            && !older.opened.load(Ordering::Acquire)
        {
            older.stop.cancel();
        }
        let (candidates, inbox) = mpsc::channel(CANDIDATES);
        let attempt = Attempt {
            from: from.clone(),
            candidates,
            opened: Arc::new(AtomicBool::new(false)),
            stop: CancellationToken::new(),
        };
        let work = Work {
            context: Arc::clone(&self.context),
            from,
            candidates: inbox,
            opened: Arc::clone(&attempt.opened),
            stop: attempt.stop.clone(),
        };
        self.newest = Some(attempt);
        self.tasks.spawn(answer(work, offer));
    }

    /// Reads an offer, and checks who made it.
    fn believed(&mut self, sdp: &Value) -> Result<Offer, RefusedReason> {
        let room = &self.context.room;
        let keys = room.keys();
        let signed = match SignedDescription::read(sdp) {
            Ok(signed) => signed,
            // Without a signature, and none is asked for.
            Err(_) if !keys.signed_offers && sdp.get("signature").is_none() => {
                return Ok(Offer {
                    text: description_text(sdp).map(str::to_owned),
                    reply: match sdp {
                        Value::String(_) => Reply::Text,
                        _ => Reply::Object,
                    },
                });
            }
            Err(reason) => return Err(reason),
        };
        let offered = check_offer(&keys.theirs, room.id(), self.last_offer, &signed)?;
        self.last_offer = offered.nonce();
        Ok(Offer {
            text: Some(signed.sdp),
            reply: Reply::Signed(offered),
        })
    }
}

/// An offer that may be answered.
struct Offer {
    /// `None`: it has none.
    text: Option<String>,
    reply: Reply,
}

/// How it is answered.
enum Reply {
    Text,
    Object,
    Signed(Offered),
}

/// From the offer to the end of the connection.
async fn answer(work: Work, offer: Offer) {
    let (context, from, stop) = (
        Arc::clone(&work.context),
        work.from.clone(),
        work.stop.clone(),
    );
    let room = Arc::clone(&context.room);
    // Dropping the work drops the peer connection, which closes it.
    let result = tokio::select! {
        biased;
        () = room.stop().cancelled() => return,
        () = stop.cancelled() => return,
        result = Box::pin(connect(work, offer)) => result,
    };
    match result {
        Ok(()) => tracing::debug!(session = room.id(), from, "peer connection ended"),
        Err(error) => {
            tracing::info!(session = room.id(), from, code = error.code(), %error, "no peer connection");
        }
    }
}

async fn connect(mut work: Work, offer: Offer) -> Result<(), PeerError> {
    let context = Arc::clone(&work.context);
    let room = &context.room;
    let from = work.from.clone();
    let Some(text) = offer.text.as_deref() else {
        return Err(PeerError::BadDescription {
            cause: "it is neither text nor an object with a text under \"sdp\"".to_owned(),
        });
    };
    let (peer, answer, mut found) = Answerer::accept(context.config.clone(), text).await?;
    let answer = match &offer.reply {
        Reply::Text => Value::String(answer),
        Reply::Object => json!({"type": "answer", "sdp": answer}),
        Reply::Signed(offered) => {
            sign_answer(&room.keys().ours, room.id(), offered, answer).to_value()
        }
    };
    let message = ClientSignal::Answer {
        to: from.clone(),
        sdp: answer,
    };
    send(&context, message).await;
    let mut states = peer.states();
    let mut opened = Box::pin(peer.opened());
    let mut local = true;
    let carrier = loop {
        tokio::select! {
            biased;
            result = &mut opened => break result?,
            more = next_candidate(&mut found, &from), if local => match more {
                Some(candidate) => send(&context, candidate).await,
                None => local = false,
            },
            Some(candidate) = work.candidates.recv() => add(&peer, &**room, candidate).await,
        }
    };
    work.opened.store(true, Ordering::Release);
    let older = context.open.lock().replace(work.stop.clone());
    room.attach(carrier);
    tracing::info!(
        session = room.id(),
        from = work.from,
        "peer connection open"
    );
    if let Some(older) = older {
        older.cancel();
    }
    // Candidates may still find a better way.
    loop {
        tokio::select! {
            biased;
            () = closed(&mut states) => return Ok(()),
            more = next_candidate(&mut found, &from), if local => match more {
                Some(candidate) => send(&context, candidate).await,
                None => local = false,
            },
            Some(candidate) = work.candidates.recv() => add(&peer, &**room, candidate).await,
        }
    }
}

async fn closed(states: &mut watch::Receiver<PeerState>) {
    // A state that is not told any more is the last one.
    let _ = states.wait_for(|state| *state == PeerState::Closed).await;
}

async fn next_candidate(found: &mut LocalCandidates, to: &str) -> Option<ClientSignal> {
    let candidate = found.next().await?;
    Some(ClientSignal::IceCandidate {
        to: to.to_owned(),
        candidate,
    })
}

async fn send(context: &Context, signal: ClientSignal) {
    // Without a room nobody waits for it.
    let _ = context.outbox.send(signal).await;
}

async fn add(peer: &Answerer, room: &dyn Room, candidate: Value) {
    if let Err(error) = peer.add_remote_candidate(&candidate).await {
        tracing::debug!(session = room.id(), %error, "a candidate was not taken");
    }
}

/// Text, or an object as browsers write it.
fn description_text(sdp: &Value) -> Option<&str> {
    sdp.as_str()
        .or_else(|| sdp.get("sdp").and_then(Value::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_text_or_objects_with_text() {
        assert_eq!(description_text(&json!("v=0")), Some("v=0"));
        assert_eq!(
            description_text(&json!({"type": "offer", "sdp": "v=0"})),
            Some("v=0")
        );
        for bad in [json!(null), json!(7), json!({"sdp": 7}), json!(["v=0"])] {
            assert_eq!(description_text(&bad), None);
        }
    }
}
