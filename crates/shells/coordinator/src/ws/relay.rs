//! The relay socket; its contract stands in [`warp_protocol::relay`].

use std::num::NonZeroU32;

use axum::{
    extract::{State, ws::WebSocket},
    response::Response,
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};
use warp_link::CarrierReceiver;

use super::{DATAGRAM_BUFFER, MAX_READ, close, link::carrier_over};
use crate::{
    app::App,
    extract::{Caller, QueryOf, Upgrade},
    live::{CarrierStop, unknown_session},
    monitoring::metrics::SocketKind,
    problem::Refused,
    relays::{Passed, Way},
};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// The session in whose room both are.
    session_id: String,
    /// The caller's peer id.
    peer_id: String,
    /// The other's peer id.
    to: String,
}

/// What the socket did, for its last line in the log. Datagrams unless it says bytes.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    passed_bytes: u64,
    away: u64,
    full: u64,
    over_rate: u64,
}

/// Whose socket it is.
struct Holder {
    account: i64,
    own_session: String,
}

pub(crate) async fn open(
    State(app): State<App>,
    caller: Caller,
    QueryOf(params): QueryOf<Params>,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Refused> {
    let Params {
        session_id,
        peer_id,
        to,
    } = params;
    let own = app.live.of_peer(&peer_id, caller.account);
    let own = own.ok_or_else(|| app.live.unknown())?;
    let hub = &app.live.hub;
    // Nobody learns which rooms there are, or who is in them.
    if peer_id == to || !hub.admits(&session_id, &peer_id) || !hub.admits(&session_id, &to) {
        return Err(unknown_session());
    }
    let holder = Holder {
        account: caller.account,
        own_session: own.grant.session_id,
    };
    let way = Way {
        session_id,
        from: peer_id,
        to,
    };
    let tasks = app.tasks.clone();
    let span = Span::current();
    let run = move |socket| tasks.track_future(run(app, socket, way, holder).instrument(span));
    Ok(upgrade
        .max_message_size(MAX_READ)
        .max_frame_size(MAX_READ)
        .read_buffer_size(DATAGRAM_BUFFER)
        .on_upgrade(run))
}

async fn run(app: App, socket: WebSocket, way: Way, holder: Holder) {
    let _counted = app.metrics.open(SocketKind::Relay);
    let (stop, gone) = (CarrierStop::new(), CancellationToken::new());
    let carrier = carrier_over(socket, &stop, &gone);
    let entered = app.live.relays.enter(
        way.clone(),
        holder.account,
        &holder.own_session,
        carrier.tx.clone(),
        stop.clone(),
    );
    let tally = match entered {
        Ok(())
            if app.live.relay_opens(&holder.own_session)
                && app.live.hub.admits(&way.session_id, &way.from) =>
        {
            tracing::info!(
                session = way.session_id,
                from = way.from,
                "relay socket open"
            );
            serve(&app, &way, holder.account, carrier.rx, &stop).await
        }
        // The session has ended since the handshake.
        Ok(()) => {
            stop.stop(close::gone(&app));
            Tally::default()
        }
        Err(refused) => {
            tracing::info!(why = refused.detail(), "relay socket refused");
            stop.stop(close::RESTART);
            Tally::default()
        }
    };
    app.live.relays.leave(&way, &stop);
    // The farewell is said by then.
    gone.cancelled().await;
    app.live.relay_closed(&holder.own_session);
    tracing::info!(
        session = way.session_id,
        from = way.from,
        passed = tally.passed,
        passed_bytes = tally.passed_bytes,
        away = tally.away,
        full = tally.full,
        over_rate = tally.over_rate,
        "relay socket closed"
    );
}

/// Passes datagrams on until the socket ends, is stopped, or has been silent for too long.
async fn serve(
    app: &App,
    way: &Way,
    account: i64,
    mut rx: CarrierReceiver,
    stop: &CarrierStop,
) -> Tally {
    let mut tally = Tally::default();
    loop {
        let next = tokio::time::timeout(app.config.idle_after, rx.recv());
        let datagram = tokio::select! {
            () = app.stop.cancelled() => {
                stop.stop(close::RESTART);
                return tally;
            }
            next = next => match next {
                Ok(Some(datagram)) => datagram,
                Ok(None) => return tally,
                Err(_) => {
                    stop.stop(close::KEEP_ALIVE);
                    return tally;
                }
            },
        };
        let length = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
        // An empty datagram counts as a byte: it costs no less than one.
        let charged = NonZeroU32::new(length).unwrap_or(NonZeroU32::MIN);
        if !app.relayed.takes(account, charged) {
            tally.over_rate += 1;
            app.metrics.datagram("over-rate", u64::from(length));
            continue;
        }
        let result = match app.live.relays.pass(way, datagram) {
            Passed::On => {
                tally.passed += 1;
                tally.passed_bytes += u64::from(length);
                "passed"
            }
            Passed::Away => {
                tally.away += 1;
                "away"
            }
            Passed::Full => {
                tally.full += 1;
                "full"
            }
        };
        app.metrics.datagram(result, u64::from(length));
    }
}
