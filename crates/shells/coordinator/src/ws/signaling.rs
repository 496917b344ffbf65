//! The signaling socket, `signaling/ws?peer_id=&session_id=`.
//!
//! * `peer_id` is one that a grant named for the caller's account; `session_id`, where it is given,
//!   is that grant's session, and its room is entered at once.
//! * Or it is the peer id of a registered host. Its socket has a larger mailbox and ten times the rate,
//!   because it speaks with all its members. What it sends to a member goes out in that member's room,
//!   under the host's peer id; all else stays in the host's own room.
//! * A launcher that enters its session's room is told its zone's policy and its hosts.
//! * Text frames are JSON objects. Whatever else comes is answered with an `error` signal, and the
//!   socket lives on; only a message above 64 KiB closes it (1009). One above 256 KiB is not read to
//!   its end, so its sender may see a reset instead of the code.
//! * Messages beyond the rate, which an account has for all its sockets together, are not carried out; each is answered with `too-many-requests`.
//! * A socket whose session or host is no more, or whose account was banned, is closed at the next ping
//!   at the latest.
//! * A socket that has said nothing for the idle time, not even a pong, is closed (1011).

use std::{ops::ControlFlow, time::Duration};

use axum::{
    extract::{
        State,
        ws::{Message, WebSocket},
    },
    response::Response,
};
use futures_util::StreamExt;
use governor::DefaultDirectRateLimiter;
use serde::Deserialize;
use tokio::{
    sync::oneshot::error::RecvError,
    time::{Instant, MissedTickBehavior},
};
use tracing::{Instrument, Span};
use warp_coordinator_core::{
    bans::Banned,
    fleet::Report,
    frame::{bad_request, error},
    parse_frame,
};
use warp_protocol::{
    ProblemCode,
    signal::{ClientSignal, MAX_SIGNAL, ServerSignal},
};

use super::{MAX_READ, close, close_message, is_too_big};
use crate::{
    app::App,
    extract::{QueryOf, SocketCaller, Upgrade},
    hub::{Closing, HOST_MAILBOX, MAILBOX, Seat, SocketSeat},
    live::unknown_session,
    monitoring::metrics::SocketKind,
    problem::Refused,
};

/// Bytes that a socket reads at once, held for as long as it lives: enough for a pong, which is what most
/// sockets send most of the time. Of a longer message the rest is read in one go, because its length is
/// known then.
const READ_BUFFER: usize = 128;

/// Longest that one frame may take to be written.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// How long the client's answer to a close frame is waited for.
const CLOSE_TIME: Duration = Duration::from_millis(500);

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// The caller's peer id, as a grant named it.
    peer_id: String,
    /// The room to enter at once.
    session_id: Option<String>,
}

pub(crate) async fn open(
    State(app): State<App>,
    SocketCaller(caller): SocketCaller,
    QueryOf(params): QueryOf<Params>,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Refused> {
    let who = Who::of(&app, &params.peer_id, caller.account).ok_or_else(|| {
        if app.live.awaits_adoption() {
            return app.live.unknown();
        }
        Refused::new(
            ProblemCode::Forbidden,
            "that peer id was not granted to you; join a zone and use the one of the answer",
        )
    })?;
    if params
        .session_id
        .as_ref()
        .is_some_and(|id| id != who.room())
    {
        return Err(unknown_session());
    }
    // Not yet seated: a client that asks and never finishes the handshake takes no seat.
    let tasks = app.tasks.clone();
    let span = Span::current();
    let account = caller.account;
    // In a task of its own: that of the handshake ends, and with it the memory that only it needed.
    let run = move |socket| {
        // Boxed, because a future has room for each place that a value is moved to.
        let socket = Box::new(socket);
        tasks.spawn(run(app, socket, params, who, account).instrument(span));
        std::future::ready(())
    };
    Ok(upgrade
        .max_message_size(MAX_READ)
        .max_frame_size(MAX_READ)
        .read_buffer_size(READ_BUFFER)
        .on_upgrade(run))
}

/// Whose socket it is.
enum Who {
    Launcher {
        session_id: String,
        peer_id: String,
        zone_id: String,
    },
    Host {
        host_id: String,
        room: String,
    },
}

impl Who {
    fn of(app: &App, peer_id: &str, account: i64) -> Option<Self> {
        if let Some(session) = app.live.of_peer(peer_id, account) {
            return Some(Self::Launcher {
                session_id: session.grant.session_id,
                peer_id: session.grant.peer_id,
                zone_id: session.grant.zone_id,
            });
        }
        let (host_id, room) = app.live.hosting.of_peer(peer_id, account)?;
        Some(Self::Host { host_id, room })
    }

    fn room(&self) -> &str {
        match self {
            Self::Launcher { session_id, .. } => session_id,
            Self::Host { room, .. } => room,
        }
    }

    /// Carries out a signal. Gives an answer where it is nothing that this peer may send.
    fn handle(&self, app: &App, seat: &Seat, signal: ClientSignal) -> Option<ServerSignal> {
        let hosting = &app.live.hosting;
        match (self, signal) {
            (
                Self::Launcher { session_id, .. },
                ClientSignal::HostReport {
                    host_id,
                    epoch,
                    verdict,
                    rtt_ms,
                    loss_percent,
                    ..
                },
            ) => {
                let report = Report {
                    host_id,
                    epoch,
                    verdict,
                    rtt_ms,
                    loss_percent,
                };
                hosting.report(session_id, &report);
            }
            (
                Self::Host { host_id, .. },
                ClientSignal::MemberReport {
                    peer_id,
                    verdict,
                    dropped,
                },
            ) => hosting.member_report(host_id, &peer_id, verdict, dropped),
            (Self::Launcher { .. }, ClientSignal::MemberReport { .. }) => {
                return Some(bad_request("only a host reports members"));
            }
            (Self::Host { .. }, ClientSignal::HostReport { .. }) => {
                return Some(bad_request("only a launcher reports hosts"));
            }
            (Self::Launcher { zone_id, .. }, ClientSignal::Offer { .. })
                if hosting.knows_zone(zone_id) && !hosting.is_p2p(zone_id) =>
            {
                return Some(error(ProblemCode::Forbidden, "P2P is off in this zone"));
            }
            (Self::Host { host_id, .. }, signal) => {
                if let Some(signal) = hosting.relay(host_id, signal) {
                    seat.handle(signal);
                }
            }
            (
                Self::Launcher {
                    session_id,
                    peer_id,
                    zone_id,
                },
                signal,
            ) => {
                let joins =
                    matches!(&signal, ClientSignal::Join { session_id: to } if to == session_id);
                seat.handle(signal);
                if joins {
                    hosting.entered(session_id, peer_id);
                    if app.live.hub.is_in(session_id, peer_id) {
                        app.npcs.tell_newcomer(&app.live.hub, zone_id, peer_id);
                    }
                }
            }
        }
        None
    }
}

async fn run(app: App, mut socket: Box<WebSocket>, params: Params, who: Who, account: i64) {
    let Params {
        peer_id,
        session_id,
    } = params;
    let mailbox = match who {
        Who::Launcher { .. } => MAILBOX,
        Who::Host { .. } => HOST_MAILBOX,
    };
    let seat = match app.live.hub.connect(&peer_id, mailbox) {
        Ok(seat) => seat,
        Err(refused) => {
            let signal = error(ProblemCode::CoordinatorFault, refused.to_string());
            let _ = write(&mut socket, text(&signal)).await;
            finish(socket, close::RESTART).await;
            return;
        }
    };
    let kind = match who {
        Who::Launcher { .. } => SocketKind::Signaling,
        Who::Host { .. } => SocketKind::HostSignaling,
    };
    let _counted = app.metrics.open(kind);
    tracing::info!(peer = peer_id, "signaling socket open");
    if let Some(session_id) = session_id {
        who.handle(&app, &seat.seat, ClientSignal::Join { session_id });
    }
    let socket_of_host = seat.seat.conn();
    if let Who::Host { host_id, .. } = &who {
        app.live.hosting.attached(host_id, &peer_id, socket_of_host);
    }
    let code = converse(&app, &mut socket, seat, (&who, &peer_id, account)).await;
    if let Who::Host { host_id, .. } = &who {
        app.live.hosting.detached(host_id, socket_of_host);
    }
    tracing::info!(peer = peer_id, ?code, "signaling socket closed");
    if let Some(code) = code {
        app.metrics.closed(kind, code);
        finish(socket, code).await;
    }
}

/// Runs the socket. Gives the code to close it with, or none if it is gone already.
async fn converse(
    app: &App,
    socket: &mut WebSocket,
    mut seat: SocketSeat,
    who: (&Who, &str, i64),
) -> Option<u16> {
    let code = talk(app, socket, &mut seat, who).await;
    if matches!(code, Some(close::SESSION_ENDED | close::BANNED)) {
        // What waits says why: the end may have been seen before it was written.
        let rest = async {
            while let Some(signal) = seat.inbox.waiting() {
                if write(socket, counted(app, &signal)).await.is_err() {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIME, rest).await;
    }
    code
}

/// The same, until there is a reason to close.
async fn talk(
    app: &App,
    socket: &mut WebSocket,
    SocketSeat {
        seat,
        inbox,
        closing,
    }: &mut SocketSeat,
    (who, peer_id, account): (&Who, &str, i64),
) -> Option<u16> {
    let limit = app.signals.of(account, matches!(who, Who::Host { .. }));
    let mut pings = tokio::time::interval(app.config.ping_every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let outgoing = tokio::select! {
            () = app.stop.cancelled() => return Some(close::RESTART),
            why = &mut *closing => return code_of(app, why),
            signal = inbox.recv() => match signal {
                Some(signal) => counted(app, &signal),
                // The hub has let go of the socket; it says why.
                None => return code_of(app, closing.await),
            },
            _ = pings.tick() => {
                if heard.elapsed() >= app.config.idle_after {
                    return Some(close::KEEP_ALIVE);
                }
                if app.bans.check(&Banned::Account(account)).is_err() {
                    return Some(close::BANNED);
                }
                if Who::of(app, peer_id, account).is_none() {
                    return Some(close::gone(app));
                }
                Message::Ping(Vec::new().into())
            }
            incoming = socket.next() => {
                heard = Instant::now();
                let handle = |signal| match app.tenure.check() {
                    Ok(()) => who.handle(app, seat, signal),
                    Err(refused) => Some(error(refused.code(), refused.detail())),
                };
                match take(app, &limit, incoming, handle) {
                    ControlFlow::Continue(None) => continue,
                    ControlFlow::Continue(Some(answer)) => counted(app, &answer),
                    ControlFlow::Break(code) => return code,
                }
            }
        };
        // A client that does not read must still be closed when somebody says so.
        let written = tokio::select! {
            () = app.stop.cancelled() => return Some(close::RESTART),
            why = &mut *closing => return code_of(app, why),
            written = write(socket, outgoing) => written,
        };
        if let Err(code) = written {
            return code;
        }
    }
}

/// Takes what came. Gives an answer to send, or breaks with the code to close with.
fn take(
    app: &App,
    limit: &DefaultDirectRateLimiter,
    incoming: Option<Result<Message, axum::Error>>,
    handle: impl FnOnce(ClientSignal) -> Option<ServerSignal>,
) -> ControlFlow<Option<u16>, Option<ServerSignal>> {
    let frame = match incoming {
        None | Some(Ok(Message::Close(_))) => return ControlFlow::Break(None),
        Some(Err(error)) => {
            return ControlFlow::Break(is_too_big(&error).then_some(close::TOO_BIG));
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => return ControlFlow::Continue(None),
        Some(Ok(frame)) => frame,
    };
    let frame = match &frame {
        Message::Text(text) => Some(text.as_bytes()),
        _ => None,
    };
    if frame.is_some_and(|f| f.len() > MAX_SIGNAL) {
        return ControlFlow::Break(Some(close::TOO_BIG));
    }
    if limit.check().is_err() {
        let text = "too many messages; this one was not carried out, wait a little";
        return ControlFlow::Continue(Some(error(ProblemCode::TooManyRequests, text)));
    }
    let Some(frame) = frame else {
        let answer = bad_request("signaling messages are text frames, this one was binary");
        return ControlFlow::Continue(Some(answer));
    };
    let parsed = parse_frame(frame);
    app.metrics.received(parsed.as_ref().ok(), frame.len());
    match parsed {
        Ok(signal) => ControlFlow::Continue(handle(signal)),
        Err(answer) => ControlFlow::Continue(Some(answer)),
    }
}

/// Writes one frame. `Err`: the socket is gone, or has taken nothing for too long, with the code for that.
async fn write(socket: &mut WebSocket, message: Message) -> Result<(), Option<u16>> {
    match tokio::time::timeout(WRITE_TIME, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(None),
        Err(_) => Err(Some(close::TOO_SLOW)),
    }
}

/// Says why, and waits a moment for the client to take notice.
async fn finish(mut socket: Box<WebSocket>, code: u16) {
    let farewell = async {
        if socket.send(close_message(code)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = tokio::time::timeout(CLOSE_TIME, farewell).await;
}

/// As text that is about to be written.
fn counted(app: &App, signal: &ServerSignal) -> Message {
    let message = text(signal);
    if let Message::Text(text) = &message {
        app.metrics.sent(signal, text.len());
    }
    message
}

fn text(signal: &ServerSignal) -> Message {
    // A signal always has a JSON form; an empty object would be its own kind of answer.
    Message::Text(
        serde_json::to_string(signal)
            .unwrap_or_else(|_| "{}".to_owned())
            .into(),
    )
}

/// What to close with. At the end of the coordinator all rooms are closed, which is not what the client
/// is to be told.
fn code_of(app: &App, why: Result<Closing, RecvError>) -> Option<u16> {
    if app.stop.is_cancelled() {
        return Some(close::RESTART);
    }
    why.ok().map(Closing::code)
}
