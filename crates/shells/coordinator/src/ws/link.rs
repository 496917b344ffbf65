//! The link socket, `link/ws?session_id=`: one binary message per datagram of the session link.
//!
//! A host's own room is such a session too; its datagrams are those of its members, each with the head
//! of [`warp_protocol::hosting`].
//!
//! It is a carrier of the endpoint: nothing here reads what it carries. Only the session's owner
//! may open it; a second one for the same session takes the first one's place (close 4001).

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use axum::{
    extract::{
        State,
        ws::{Message, WebSocket},
    },
    response::Response,
};
use bytes::Bytes;
use futures_util::{Sink, Stream, StreamExt, stream::SplitSink};
use serde::Deserialize;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, Span};
use warp_link::{Carrier, CloseReason, Inbound};
use warp_protocol::ProblemCode;

use super::{DATAGRAM_BUFFER, MAX_READ, close, close_message, is_too_big};
use crate::{
    app::App,
    extract::{Caller, QueryOf, Upgrade},
    live::CarrierStop,
    monitoring::metrics::SocketKind,
    problem::Refused,
};

/// Largest message, bytes. Datagrams are at most [`warp_link::MAX_DATAGRAM`] long.
const MAX_MESSAGE: usize = 2048;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// The session, or a host's own room.
    session_id: String,
}

pub(crate) async fn open(
    State(app): State<App>,
    caller: Caller,
    QueryOf(params): QueryOf<Params>,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Refused> {
    let hosting = &app.live.hosting;
    let is_host = hosting.owns_room(&params.session_id, caller.account);
    if !is_host {
        app.live.owned(&params.session_id, caller.account)?;
    }
    app.live.endpoint_of(&params.session_id).reachable()?;
    let tasks = app.tasks.clone();
    let span = Span::current();
    let run = move |socket| {
        let session_id = params.session_id;
        let served = async move {
            if is_host {
                let _counted = app.metrics.open(SocketKind::HostLink);
                run_host(app.clone(), socket, session_id).await;
            } else {
                let _counted = app.metrics.open(SocketKind::Link);
                run(app.clone(), socket, session_id).await;
            }
        };
        tasks.track_future(served.instrument(span))
    };
    Ok(upgrade
        .max_message_size(MAX_READ)
        .max_frame_size(MAX_READ)
        .read_buffer_size(DATAGRAM_BUFFER)
        .on_upgrade(run))
}

async fn run(app: App, socket: WebSocket, session_id: String) {
    // The session may have ended since the handshake; then the socket just closes.
    let Ok(stop) = app.live.carrier_opens(&session_id) else {
        return;
    };
    let gone = CancellationToken::new();
    let carrier = carrier_over(socket, &stop, &gone);
    match app
        .live
        .endpoint_of(&session_id)
        .attach(&session_id, carrier)
    {
        Ok(()) => tracing::info!(session = session_id, "link socket attached"),
        Err(refused) => {
            tracing::info!(
                session = session_id,
                why = refused.detail(),
                "link socket refused"
            );
            stop.stop(close_code(&app, &refused));
        }
    }
    tokio::select! {
        () = app.stop.cancelled() => {
            stop.stop(close::RESTART);
            gone.cancelled().await;
        }
        () = gone.cancelled() => {}
    }
    app.live.carrier_closed(&session_id, &stop);
    tracing::info!(session = session_id, "link socket closed");
}

async fn run_host(app: App, socket: WebSocket, room: String) {
    let hosting = &app.live.hosting;
    // The host may have gone since the handshake; then the socket just closes.
    let Some(stop) = hosting.carrier_opens(&room) else {
        return;
    };
    let gone = CancellationToken::new();
    let carrier = carrier_over(socket, &stop, &gone);
    match app.live.endpoint.attach_host(&room, carrier) {
        Ok(()) => tracing::info!(room, "a host's link socket attached"),
        Err(refused) => {
            tracing::info!(room, why = refused.detail(), "a host's link socket refused");
            stop.stop(close_code(&app, &refused));
        }
    }
    tokio::select! {
        () = app.stop.cancelled() => {
            stop.stop(close::RESTART);
            gone.cancelled().await;
        }
        () = gone.cancelled() => {}
    }
    hosting.carrier_closed(&room, &stop);
    tracing::info!(room, "a host's link socket closed");
}

/// What a carrier that was refused is closed with.
fn close_code(app: &App, refused: &Refused) -> u16 {
    match refused.code() {
        ProblemCode::EndpointUnreachable => close::RESTART,
        _ => close::gone(app),
    }
}

/// `gone` is cancelled when the carrier has let go of the socket.
pub(super) fn carrier_over(
    socket: WebSocket,
    stop: &CarrierStop,
    gone: &CancellationToken,
) -> Carrier {
    let (sink, stream) = socket.split();
    let sink = Farewell {
        inner: sink,
        code: stop.code(),
        said: false,
        _gone: gone.clone().drop_guard(),
    };
    Carrier::from_parts(
        sink,
        inbound(stream, stop.code()),
        stop.token().child_token(),
    )
}

fn inbound<S>(stream: S, code: Arc<OnceLock<u16>>) -> impl Stream<Item = Inbound>
where
    S: Stream<Item = Result<Message, axum::Error>>,
{
    let violation = move || {
        let _ = code.set(close::TOO_BIG);
        Inbound::Closed(CloseReason::Violation)
    };
    stream.map(move |message| match message {
        Ok(Message::Binary(datagram)) if datagram.len() <= MAX_MESSAGE => {
            Inbound::Datagram(datagram)
        }
        Ok(Message::Binary(_)) => violation(),
        Ok(Message::Text(text)) if text.len() > MAX_MESSAGE => violation(),
        Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_)) => Inbound::Other,
        Ok(Message::Close(_)) => Inbound::Closed(CloseReason::Remote),
        Err(error) if is_too_big(&error) => violation(),
        Err(_) => Inbound::Closed(CloseReason::Broken),
    })
}

/// The socket's sink, which says why when it is closed.
struct Farewell {
    inner: SplitSink<WebSocket, Message>,
    code: Arc<OnceLock<u16>>,
    said: bool,
    _gone: DropGuard,
}

impl Sink<Bytes> for Farewell {
    type Error = axum::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Pin::new(&mut self.inner).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, datagram: Bytes) -> Result<(), axum::Error> {
        Pin::new(&mut self.inner).start_send(Message::Binary(datagram))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        if !self.said {
            ready!(Pin::new(&mut self.inner).poll_ready(cx))?;
            self.said = true;
            let code = *self.code.get_or_init(|| close::NORMAL);
            Pin::new(&mut self.inner).start_send(close_message(code))?;
        }
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
