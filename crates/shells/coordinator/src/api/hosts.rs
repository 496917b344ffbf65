//! Hosts. Everybody may look; a host belongs to the account that registered it first.

use std::time::SystemTime;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use warp_coordinator_core::fleet::{HostFilter, HostRecord};
use warp_protocol::{
    ProblemCode,
    hosting::{HostGrant, HostHeartbeat, HostRegister, HostStatus, HostView, MAX_ZONES},
    rest::AccountRole,
};

use super::{
    devices::revoked,
    zones::{find, is_revoked, prove_device},
};
use crate::{
    app::App,
    extract::{Body, Caller, PathId, QueryOf},
    hosting::Registering,
    live::ENDPOINT_PEER,
    problem::Refused,
};

/// Which hosts are asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    status: Option<String>,
    min_quality_score: Option<f64>,
}

/// For which zone.
#[derive(Debug, Deserialize)]
pub(crate) struct ForZone {
    zone_id: String,
}

pub(crate) async fn register(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<HostRegister>,
) -> Result<(StatusCode, Json<HostGrant>), Refused> {
    let key = request.device_key;
    let proven = prove_device(&app, &caller, &key, Some(&request.certificate)).await?;
    let Some((says, certificate)) = proven.filter(|(says, _)| says.may_host) else {
        let text = "this account may not host; ask the operator for the role";
        return Err(Refused::new(ProblemCode::Forbidden, text));
    };
    let hosting = &app.live.hosting;
    // So that a zone counts that was entered a moment ago.
    for zone_id in request.zones.iter().take(MAX_ZONES) {
        if let Some((zone, _)) = app.store.zone(zone_id).await? {
            hosting.put_zone(&zone);
        }
    }
    let now = SystemTime::now();
    let turn = app.config.turn.as_ref();
    // Each end has credentials of its own, as in a session.
    let servers = |whose: String| {
        let turn = turn.map(|turn| turn.server_for(&whose, now));
        app.config.ice_servers.iter().cloned().chain(turn).collect()
    };
    let ice_servers = servers(format!("host-{}", caller.name));
    let for_endpoint = servers(format!("endpoint-host-{}", caller.name));
    let endpoint_key = app.live.endpoint.key()?;
    let endpoint_certificate = app.authority.certify_endpoint(endpoint_key)?;
    let registered = hosting.register(Registering {
        record: HostRecord {
            host_id: request.host_id,
            account: caller.account,
            name: caller.name.clone(),
            device_key: key,
            certificate: request.certificate,
            valid_until: None,
            hardware: request.hardware,
            zones: request.zones,
            max_players: request.max_players,
            room: String::new(),
            peer_id: String::new(),
            hosted: request.hosted,
        },
        certificate,
        certified: says.issued,
        expires: says.expires,
        ice_servers: for_endpoint,
    })?;
    // What was revoked since the look above found no host to end.
    let issued = Some(says.issued);
    if is_revoked(&app, &caller, &key, issued).await? {
        hosting.remove(&registered.view.host_id);
        return Err(revoked(&app));
    }
    let grant = HostGrant {
        host: registered.view,
        session_id: registered.room,
        peer_id: registered.peer_id,
        endpoint_peer_id: ENDPOINT_PEER.to_owned(),
        endpoint_key,
        endpoint_certificate: hex::encode(endpoint_certificate),
        ice_servers,
        heartbeat_seconds: app.config.hosts.limits.heartbeat.as_secs().max(1),
        policies: registered.policies,
    };
    Ok((StatusCode::CREATED, Json(grant)))
}

pub(crate) async fn heartbeat(
    State(app): State<App>,
    caller: Caller,
    PathId(host_id): PathId,
    Body(beat): Body<HostHeartbeat>,
) -> Result<Json<HostView>, Refused> {
    let hosting = &app.live.hosting;
    hosting.heartbeat(&host_id, caller.account, beat).map(Json)
}

pub(crate) async fn one(
    State(app): State<App>,
    _: Caller,
    PathId(host_id): PathId,
) -> Result<Json<HostView>, Refused> {
    app.live.hosting.host(&host_id).map(Json)
}

pub(crate) async fn list(
    State(app): State<App>,
    _: Caller,
    QueryOf(wanted): QueryOf<Wanted>,
) -> Result<Json<Vec<HostView>>, Refused> {
    let status = wanted.status.as_deref().map(status_of).transpose()?;
    let min_score = wanted.min_quality_score;
    let filter = HostFilter { status, min_score };
    Ok(Json(app.live.hosting.hosts(filter)))
}

fn status_of(text: &str) -> Result<HostStatus, Refused> {
    use HostStatus::{Busy, Maintenance, Offline, Online};
    let all = [
        ("online", Online),
        ("offline", Offline),
        ("busy", Busy),
        ("maintenance", Maintenance),
    ];
    let mut all = all.into_iter();
    let known = all.find(|(name, _)| name.eq_ignore_ascii_case(text));
    known.map(|(_, status)| status).ok_or_else(|| {
        let text = "`status` is online, offline, busy or maintenance";
        Refused::new(ProblemCode::BadRequest, text)
    })
}

pub(crate) async fn available(
    State(app): State<App>,
    _: Caller,
) -> Result<Json<Vec<HostView>>, Refused> {
    Ok(Json(app.live.hosting.available()))
}

pub(crate) async fn best(
    State(app): State<App>,
    caller: Caller,
    QueryOf(ForZone { zone_id }): QueryOf<ForZone>,
) -> Result<Json<HostView>, Refused> {
    if zone_id.contains(char::is_control) {
        let text = "`zone_id` has a control character in it";
        return Err(Refused::new(ProblemCode::BadRequest, text));
    }
    let hosting = &app.live.hosting;
    // The fleet is brought in line with the database all the time; only a zone that was entered a
    // moment ago is looked for there.
    if !hosting.knows_zone(&zone_id) {
        let (zone, _) = find(&app, &zone_id).await?;
        hosting.put_zone(&zone);
    }
    let best = hosting.best(&zone_id, caller.account);
    best.map(Json).ok_or_else(|| {
        let text = "no host could carry a player of this zone now";
        Refused::new(ProblemCode::NoHost, text).with_status(StatusCode::NOT_FOUND)
    })
}

pub(crate) async fn drain(
    State(app): State<App>,
    caller: Caller,
    PathId(host_id): PathId,
) -> Result<Json<HostView>, Refused> {
    may_manage(&app, &caller, &host_id)?;
    app.live.hosting.drain(&host_id).map(Json)
}

pub(crate) async fn remove(
    State(app): State<App>,
    caller: Caller,
    PathId(host_id): PathId,
) -> Result<StatusCode, Refused> {
    may_manage(&app, &caller, &host_id)?;
    tracing::info!(host = host_id, by = caller.name, "host is removed");
    app.live.hosting.remove(&host_id);
    Ok(StatusCode::NO_CONTENT)
}

fn may_manage(app: &App, caller: &Caller, host_id: &str) -> Result<(), Refused> {
    let operator = caller.role == AccountRole::Admin;
    let hosting = &app.live.hosting;
    hosting.may_manage(host_id, caller.account, operator)
}
