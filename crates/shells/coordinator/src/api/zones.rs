//! Zones, and the sessions that are joined in them.

use std::{collections::HashMap, time::SystemTime};

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use warp_coordinator_core::{NewSession, may_join};
use warp_protocol::{
    ProblemCode,
    contract::{ZoneCreate, ZoneResponse},
    identity::{Certificate, PublicKey},
    rest::{AccountRole, GuestRequest, IceServer, JoinRequest, SessionGrant},
    signal::EndedReason,
    zone::{ZoneFile, ZoneStatus, ZoneView, is_map_name},
};

use super::{
    devices::{operators_only, revoked},
    operate::zone_status_of,
    paging::{Page, Paging},
};
use crate::{
    admin,
    answer::Json,
    app::App,
    audit::Who,
    bans::check_now,
    extract::{Body, Caller, PathId, QueryOf},
    hosting::serving::{number_of, persist},
    live::{ENDPOINT_PEER, peer_id_of},
    problem::{Refused, invalid},
    running::sync_fleet,
    store::ZoneTotals,
    tokens::{random_hex, unix_now},
};

/// Which zones are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only enabled zones that have this map.
    map: Option<String>,
    /// Only those whose own switch of P2P is so.
    p2p_enabled: Option<bool>,
    /// Only those with this status, in whatever case.
    status_filter: Option<String>,
}

pub(crate) async fn list(
    State(app): State<App>,
    _: Caller,
    QueryOf(wanted): QueryOf<Wanted>,
    paging: Paging,
) -> Result<Page<ZoneResponse>, Refused> {
    let Wanted {
        map,
        p2p_enabled,
        status_filter,
    } = wanted;
    if map.as_deref().is_some_and(|map| !is_map_name(map)) {
        return Err(invalid(
            "`map` is a map's name without `.gat`, 1 to 24 printable ASCII characters",
        ));
    }
    let only = status_filter.map(|name| {
        let text = "`status_filter` is enabled, disabled or maintenance";
        zone_status_of(&name).ok_or_else(|| invalid(text))
    });
    let only = only.transpose()?;
    let fits = |zone: &ZoneFile, status| {
        let has_map = map
            .as_deref()
            .is_none_or(|map| status == ZoneStatus::Enabled && zone.has_map(map));
        has_map
            && p2p_enabled.is_none_or(|p2p| zone.p2p_enabled == p2p)
            && only.is_none_or(|only| status == only)
    };
    some(&app, fits, paging).await
}

/// Zones that are open and in which peer-to-peer paths may be used now.
pub(crate) async fn with_p2p(
    State(app): State<App>,
    _: Caller,
    paging: Paging,
) -> Result<Page<ZoneResponse>, Refused> {
    let on = app.live.hosting.is_on();
    let fits = |zone: &ZoneFile, status| on && zone.p2p_enabled && status == ZoneStatus::Enabled;
    some(&app, fits, paging).await
}

async fn some(
    app: &App,
    fits: impl Fn(&ZoneFile, ZoneStatus) -> bool,
    paging: Paging,
) -> Result<Page<ZoneResponse>, Refused> {
    let mut zones = app.store.zones().await?;
    zones.retain(|(zone, status)| fits(zone, *status));
    let totals = totals(app).await?;
    Ok(paging.of(zones).map(|zones| {
        let zones = zones.into_iter();
        let zones = zones.map(|(zone, status)| response(app, &totals, zone, status));
        zones.collect()
    }))
}

pub(crate) async fn one(
    State(app): State<App>,
    _: Caller,
    PathId(zone_id): PathId,
) -> Result<Json<ZoneResponse>, Refused> {
    let (zone, status) = find(&app, &zone_id).await?;
    respond(&app, zone, status).await.map(Json)
}

pub(crate) async fn put(
    State(app): State<App>,
    caller: Caller,
    Body(create): Body<ZoneCreate>,
) -> Result<(StatusCode, Json<ZoneResponse>), Refused> {
    operators_only(&caller)?;
    let before = app.store.zone(&create.zone_id).await?;
    let zone = create.onto(before.map(|(zone, _)| zone));
    let zone = zone.map_err(|rule| invalid(rule.to_string()))?;
    let zone_id = zone.zone_id.clone();
    app.store.put_zone(&zone, None, unix_now()).await?;
    tracing::info!(zone = zone_id, by = caller.name, "zone put");
    sync_fleet(&app).await?;
    let (zone, status) = find(&app, &zone_id).await?;
    let zone = respond(&app, zone, status).await?;
    Ok((StatusCode::CREATED, Json(zone)))
}

pub(crate) async fn join(
    State(app): State<App>,
    caller: Caller,
    PathId(zone_id): PathId,
    Body(request): Body<JoinRequest>,
) -> Result<(StatusCode, Json<SessionGrant>), Refused> {
    let key = device_key(&request.device_key)?;
    let proven = prove_device(&app, &caller, &key, request.certificate.as_deref()).await?;
    let (mut zone, status) = find(&app, &zone_id).await?;
    let device_key = key.spki();
    let players = app.live.others_in(&zone_id, caller.account, &device_key);
    may_join(caller.role, status, players, zone.max_players)?;
    let hosting = &app.live.hosting;
    // So that a zone counts that was entered a moment ago.
    hosting.put_zone(&zone);
    if !hosting.can_carry(&zone_id, caller.account) {
        let text =
            "only players' computers carry this zone, and none can just now; try again later";
        return Err(Refused::new(ProblemCode::NoHost, text).retry_after(10));
    }
    let session_id = format!("session-{}", random_hex::<8>()?);
    let peer_id = peer_id_of(&caller.name, &random_hex::<4>()?);
    let now = SystemTime::now();
    // Each end has credentials of its own, so that a TURN server's log tells who relayed.
    let for_endpoint = ice_servers(&app, &format!("endpoint-{session_id}"), now);
    let ice_servers = ice_servers(&app, &peer_id, now);
    // Either switch may be on while the session lasts: there is something to gather candidates with
    // then. Until then the launcher makes no offer, and none would be passed on.
    let p2p = hosting.is_p2p(&zone_id);
    let new = NewSession {
        session_id: session_id.clone(),
        peer_id: peer_id.clone(),
        account: caller.account,
        device_key,
        certified: proven.as_ref().map_or(0, |(says, _)| says.issued),
        zone_id,
    };
    let issued = proven.as_ref().map(|(says, _)| says.issued);
    let certificate = proven.map(|(_, bytes)| bytes);
    let endpoint = app.live.endpoint_for(&new.zone_id);
    let endpoint_key = endpoint.key()?;
    let endpoint_certificate = app.authority.certify_endpoint(endpoint_key)?;
    let granting = app
        .live
        .grant(new, certificate, &endpoint, &zone, for_endpoint)?;
    if let Err(refused) = granting.done().await {
        let why = "the endpoint did not take it";
        app.live.end_for(&session_id, EndedReason::Fault, why);
        return Err(refused);
    }
    // What was revoked since the look above found no session to end.
    if is_revoked(&app, &caller, &key, issued).await? {
        let why = "its device was revoked";
        app.live.end_for(&session_id, EndedReason::Revoked, why);
        return Err(revoked(&app));
    }
    if let Err(refused) = check_now(&app, caller.account, Some(&key)).await {
        app.live
            .end(&session_id, "its account or device was banned");
        return Err(refused);
    }
    zone.p2p_enabled = p2p;
    let grant = SessionGrant {
        session_id,
        peer_id,
        endpoint_peer_id: ENDPOINT_PEER.to_owned(),
        endpoint_key: endpoint_key.to_string(),
        endpoint_certificate: Some(hex::encode(endpoint_certificate)),
        zone: view(&app, zone, status),
        ice_servers,
    };
    Ok((StatusCode::CREATED, Json(grant)))
}

pub(crate) async fn end_session(
    State(app): State<App>,
    caller: Caller,
    PathId(session_id): PathId,
) -> Result<StatusCode, Refused> {
    let owned = app.live.owned(&session_id, caller.account);
    if owned.is_err() && caller.role >= AccountRole::Gm {
        admin::end_session(&app, &Who::from(&caller), &session_id).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    owned?;
    let why = "its player left";
    app.live.end_for(&session_id, EndedReason::Left, why);
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn admit(
    State(app): State<App>,
    caller: Caller,
    PathId(session_id): PathId,
    Body(request): Body<GuestRequest>,
) -> Result<StatusCode, Refused> {
    let session = app.live.owned(&session_id, caller.account)?;
    let (zone, _) = find(&app, &session.grant.zone_id).await?;
    app.live.hosting.put_zone(&zone);
    if !app.live.hosting.is_p2p(&zone.zone_id) {
        return Err(Refused::new(
            ProblemCode::Forbidden,
            "this zone has no P2P, so its players do not meet",
        ));
    }
    app.live.admit(&session_id, &request.peer_id)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn find(app: &App, zone_id: &str) -> Result<(ZoneFile, ZoneStatus), Refused> {
    app.store.zone(zone_id).await?.ok_or_else(|| {
        Refused::new(
            ProblemCode::UnknownZone,
            "there is no such zone; ask for the list of zones",
        )
    })
}

/// STUN and TURN servers for one end of a session, with credentials where the server is ours.
fn ice_servers(app: &App, whose: &str, now: SystemTime) -> Vec<IceServer> {
    let turn = app.config.turn.as_ref();
    let turn = turn.map(|turn| turn.server_for(whose, now));
    app.config.ice_servers.iter().cloned().chain(turn).collect()
}

fn view(app: &App, zone: ZoneFile, status: ZoneStatus) -> ZoneView {
    let players = app.live.players_in(&zone.zone_id);
    ZoneView {
        zone,
        status,
        players,
    }
}

type Totals = HashMap<String, ZoneTotals>;

/// What zones had of hosts' sessions; what has happened by now included.
async fn totals(app: &App) -> Result<Totals, Refused> {
    persist(app).await?;
    Ok(app.store.zone_totals().await?)
}

fn response(app: &App, totals: &Totals, zone: ZoneFile, status: ZoneStatus) -> ZoneResponse {
    let had = totals.get(&zone.zone_id).copied().unwrap_or_default();
    ZoneResponse {
        id: number_of("zone", &zone.zone_id),
        total_sessions: had.sessions,
        active_sessions: app.live.hosting.active_sessions(&zone.zone_id),
        total_players_served: had.players,
        zone: view(app, zone, status),
    }
}

/// A zone with its counters.
pub(crate) async fn respond(
    app: &App,
    zone: ZoneFile,
    status: ZoneStatus,
) -> Result<ZoneResponse, Refused> {
    let totals = totals(app).await?;
    Ok(response(app, &totals, zone, status))
}

/// Looks whether the device may play: certified where that is required, and not revoked.
pub(crate) async fn prove_device(
    app: &App,
    caller: &Caller,
    key: &PublicKey,
    certificate: Option<&str>,
) -> Result<Option<(Certificate, Vec<u8>)>, Refused> {
    check_now(app, caller.account, Some(key)).await?;
    let proven = app
        .authority
        .check_certificate(certificate, key, caller.account)?;
    let issued = proven.as_ref().map(|(says, _)| says.issued);
    if is_revoked(app, caller, key, issued).await? {
        return Err(revoked(app));
    }
    Ok(proven)
}

pub(crate) async fn is_revoked(
    app: &App,
    caller: &Caller,
    key: &PublicKey,
    issued: Option<u64>,
) -> Result<bool, Refused> {
    if app.store.is_device_revoked(key).await? {
        return Ok(true);
    }
    match issued {
        Some(issued) => Ok(app.store.is_account_revoked(caller.account, issued).await?),
        None => Ok(false),
    }
}

fn device_key(text: &str) -> Result<PublicKey, Refused> {
    PublicKey::from_hex(text).ok_or_else(|| {
        invalid("`device_key` is an Ed25519 SubjectPublicKeyInfo in DER, 88 hex digits")
    })
}
