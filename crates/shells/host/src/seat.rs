//! The signaling socket of a place, opened again whenever it ends, and when the network is another one.
//!
//! A socket whose address is gone says nothing, not even that it broke. So it is pinged, and one on
//! which nothing was heard for [`QUIET`] has ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;
use warp_link::websocket::{Beat, ConnectError, Pulse, Socket, connect_socket};
use warp_protocol::signal::{ClientSignal, MAX_SIGNAL, ServerSignal};

use crate::access::{Access, changed};

/// Messages that wait each way: a member's connection takes about ten, and twenty members may come at
/// once.
pub(crate) const SIGNALS: usize = 256;
/// First wait before the socket is opened again; it doubles up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(30);
/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Nothing was heard for so long, not even an answer to a ping: the socket is dead.
const QUIET: Duration = Duration::from_secs(45);

/// What a seat tells.
#[derive(Debug)]
pub(crate) enum SeatEvent {
    /// The signaling socket is open, again perhaps; what comes now is of it.
    Open,
    /// A message.
    Signal(ServerSignal),
    /// The coordinator does not know the place any more.
    Lost,
}

/// A place in the signaling room.
pub(crate) struct Seat {
    /// What is said to others. What waits while the socket is away is dropped when it is open again.
    pub(crate) outbox: mpsc::Sender<ClientSignal>,
    /// Whether the socket is open.
    pub(crate) open: watch::Receiver<bool>,
}

impl Seat {
    /// Keeps a socket open until `stop` is cancelled.
    pub(crate) fn take(
        access: Arc<dyn Access>,
        (peer_id, session_id): (String, String),
        events: mpsc::Sender<SeatEvent>,
        stop: CancellationToken,
    ) -> Self {
        let (outbox, said) = mpsc::channel(SIGNALS);
        let (told, open) = watch::channel(false);
        let work = Work {
            access,
            peer_id,
            session_id,
            events,
            said,
            open: told,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = Box::pin(work.run()) => {}
            }
        });
        Self { outbox, open }
    }
}

struct Work {
    access: Arc<dyn Access>,
    peer_id: String,
    session_id: String,
    events: mpsc::Sender<SeatEvent>,
    said: mpsc::Receiver<ClientSignal>,
    open: watch::Sender<bool>,
}

impl Work {
    async fn run(mut self) {
        let mut wait = FIRST_WAIT;
        let mut network = self.access.network();
        loop {
            network.mark_unchanged();
            match self.connect().await {
                Ok(mut socket) => {
                    wait = FIRST_WAIT;
                    while self.said.try_recv().is_ok() {}
                    self.open.send_replace(true);
                    if self.events.send(SeatEvent::Open).await.is_err() {
                        return;
                    }
                    let why = tokio::select! {
                        why = self.sit(&mut socket) => Some(why),
                        () = changed(&mut network) => None,
                    };
                    self.open.send_replace(false);
                    let Some(why) = why else {
                        tracing::info!("the network is another one, so is the signaling socket");
                        continue;
                    };
                    tracing::info!(why, "the signaling socket ended");
                }
                Err(error) => {
                    tracing::debug!(code = error.code(), %error, "no signaling socket");
                    if error.needs_sign_in()
                        && let Err(problem) = self.access.renew_token().await
                    {
                        tracing::info!(code = ?problem.code, "no new access token");
                    }
                    let lost = matches!(
                        error,
                        ConnectError::Status {
                            status: 403 | 404,
                            ..
                        }
                    );
                    if lost && self.events.send(SeatEvent::Lost).await.is_err() {
                        return;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait.mul_f64(1.0 - chance() / 4.0)) => {}
                () = changed(&mut network) => wait = FIRST_WAIT,
            }
            wait = (wait * 2).min(LAST_WAIT);
        }
    }

    async fn connect(&self) -> Result<Socket, ConnectError> {
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_SIGNAL))
            .max_frame_size(Some(MAX_SIGNAL));
        let target = self
            .access
            .signaling_target(&self.peer_id, &self.session_id);
        connect_socket(&target, limits).await
    }

    /// Until the socket ends; gives why.
    async fn sit(&mut self, socket: &mut Socket) -> &'static str {
        let mut pulse = Pulse::new(PING_EVERY, QUIET);
        loop {
            tokio::select! {
                beat = pulse.next() => {
                    if beat == Beat::Dead {
                        return "nothing was heard on it";
                    }
                    if socket.send(Message::Ping(Bytes::new())).await.is_err() {
                        return "it broke";
                    }
                }
                signal = self.said.recv() => {
                    let Some(signal) = signal else { return "nobody says anything any more" };
                    // A message of texts and numbers always has a JSON form.
                    let text = serde_json::to_string(&signal).unwrap_or_default();
                    if socket.send(Message::text(text)).await.is_err() {
                        return "it broke";
                    }
                }
                message = socket.next() => {
                    pulse.heard();
                    let signal = match message {
                        Some(Ok(message)) => read(&message),
                        Some(Err(_)) => return "it broke",
                        None => return "it was closed",
                    };
                    if let Some(signal) = signal
                        && self.events.send(SeatEvent::Signal(signal)).await.is_err()
                    {
                        return "nobody listens any more";
                    }
                }
            }
        }
    }
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

/// 0 to 1 by chance; 0 should the system have none.
pub(crate) fn chance() -> f64 {
    let mut byte = [0];
    // Without it the waits are only less spread.
    let _ = SystemRandom::new().fill(&mut byte);
    let [byte] = byte;
    f64::from(byte) / 255.0
}
