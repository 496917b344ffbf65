//! Zones, and the sessions that are joined in them.

use std::time::SystemTime;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use warp_coordinator_core::{NewSession, may_join};
use warp_protocol::{
    ProblemCode,
    identity::{Certificate, PublicKey},
    rest::{AccountRole, GuestRequest, IceServer, JoinRequest, SessionGrant},
    zone::{ZoneFile, ZoneStatus, ZoneView, is_map_name},
};

use super::devices::revoked;
use crate::{
    admin,
    app::App,
    audit::Who,
    bans::check_now,
    extract::{Body, Caller, PathId, QueryOf},
    live::ENDPOINT_PEER,
    problem::Refused,
    tokens::random_hex,
};

/// Which zones are asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    /// Only enabled zones that have this map.
    map: Option<String>,
}

pub(crate) async fn list(
    State(app): State<App>,
    _: Caller,
    QueryOf(Wanted { map }): QueryOf<Wanted>,
) -> Result<Json<Vec<ZoneView>>, Refused> {
    if map.as_deref().is_some_and(|map| !is_map_name(map)) {
        return Err(Refused::new(
            ProblemCode::BadRequest,
            "`map` is a map's name without `.gat`, 1 to 24 printable ASCII characters",
        ));
    }
    let wanted = |zone: &ZoneFile, status| {
        map.as_deref()
            .is_none_or(|map| status == ZoneStatus::Enabled && zone.has_map(map))
    };
    let zones = app.store.zones().await?;
    Ok(Json(
        zones
            .into_iter()
            .filter(|(zone, status)| wanted(zone, *status))
            .map(|(zone, status)| view(&app, zone, status))
            .collect(),
    ))
}

pub(crate) async fn one(
    State(app): State<App>,
    _: Caller,
    PathId(zone_id): PathId,
) -> Result<Json<ZoneView>, Refused> {
    let (zone, status) = find(&app, &zone_id).await?;
    Ok(Json(view(&app, zone, status)))
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
    // With the switch of all zones: what this session may use.
    zone.p2p_enabled = hosting.is_p2p(&zone_id);
    let session_id = format!("session-{}", random_hex::<8>()?);
    let peer_id = format!("player-{}-{}", caller.name, random_hex::<4>()?);
    let now = SystemTime::now();
    // Each end has credentials of its own, so that a TURN server's log tells who relayed.
    let for_endpoint = ice_servers(&app, &zone, &format!("endpoint-{session_id}"), now);
    let ice_servers = ice_servers(&app, &zone, &peer_id, now);
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
        app.live.end(&session_id, "the endpoint did not take it");
        return Err(refused);
    }
    // What was revoked since the look above found no session to end.
    if is_revoked(&app, &caller, &key, issued).await? {
        app.live.end(&session_id, "its device was revoked");
        return Err(revoked(&app));
    }
    if let Err(refused) = check_now(&app, caller.account, Some(&key)).await {
        app.live
            .end(&session_id, "its account or device was banned");
        return Err(refused);
    }
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
    app.live.end(&session_id, "its player left");
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
fn ice_servers(app: &App, zone: &ZoneFile, whose: &str, now: SystemTime) -> Vec<IceServer> {
    if !zone.p2p_enabled {
        // Without P2P there is nothing to gather candidates for.
        return Vec::new();
    }
    let turn = app.config.turn.as_ref();
    let turn = turn.map(|turn| turn.server_for(whose, now));
    app.config.ice_servers.iter().cloned().chain(turn).collect()
}

pub(crate) fn view(app: &App, zone: ZoneFile, status: ZoneStatus) -> ZoneView {
    let players = app.live.players_in(&zone.zone_id);
    ZoneView {
        zone,
        status,
        players,
    }
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
        Refused::new(
            ProblemCode::BadRequest,
            "`device_key` is an Ed25519 SubjectPublicKeyInfo in DER, 88 hex digits",
        )
    })
}
