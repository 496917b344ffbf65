//! Hosts. Everybody may look; a host belongs to the account that registered it first.

use std::time::SystemTime;

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use warp_coordinator_core::fleet::{HostFilter, HostRecord};
use warp_protocol::{
    ProblemCode,
    contract::{HostRegistered, HostResponse},
    hosting::{HostGrant, HostHeartbeat, HostRegister, HostStatus, HostView, MAX_ZONES},
    rest::AccountRole,
};

use super::{
    devices::revoked,
    paging::{Page, Paging},
    zones::{find, is_revoked, prove_device},
};
use crate::{
    admin::short,
    answer::Json,
    app::App,
    audit::{Done, Who, audited},
    bans::check_now,
    extract::{Body, Caller, ClientAddr, PathId, QueryOf},
    hosting::{Registering, serving::Viewer},
    live::ENDPOINT_PEER,
    problem::{Refused, invalid},
};

/// Which hosts are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only those with this status, in whatever case.
    status: Option<String>,
    /// The same under its older name.
    status_filter: Option<String>,
    /// Only those whose score is known and at least this.
    min_quality_score: Option<f64>,
}

/// How good at least.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Good {
    /// Only those whose score is known and at least this.
    min_quality_score: Option<f64>,
}

/// For which zone.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ForZone {
    /// The zone; without one: the best of all that are available and not the caller's own.
    zone_id: Option<String>,
    /// Only one whose score is known and at least this.
    min_quality_score: Option<f64>,
}

pub(crate) async fn register(
    State(app): State<App>,
    caller: Caller,
    ClientAddr(from): ClientAddr,
    Body(request): Body<HostRegister>,
) -> Result<(StatusCode, Json<HostRegistered>), Refused> {
    let key = request.device_key;
    let proven = prove_device(&app, &caller, &key, Some(&request.certificate)).await?;
    let Some((says, _)) = proven.filter(|(says, _)| says.may_host) else {
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
    app.tenure.check()?;
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
        certified: says.issued,
        expires: says.expires,
        ice_servers: for_endpoint,
        from,
    })?;
    // What was revoked since the look above found no host to end.
    let issued = Some(says.issued);
    if is_revoked(&app, &caller, &key, issued).await? {
        hosting.remove(&registered.view.host_id);
        return Err(revoked(&app));
    }
    if let Err(refused) = check_now(&app, caller.account, Some(&key)).await {
        hosting.remove(&registered.view.host_id);
        return Err(refused);
    }
    let shown = shown(&app, &caller, registered.view.clone());
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
    let registered = HostRegistered { grant, shown };
    Ok((StatusCode::CREATED, Json(registered)))
}

pub(crate) async fn heartbeat(
    State(app): State<App>,
    caller: Caller,
    PathId(host_id): PathId,
    Body(beat): Body<HostHeartbeat>,
) -> Result<Json<HostResponse>, Refused> {
    let hosting = &app.live.hosting;
    // Registered anew it would lose those that it carries.
    may_be_named(&app, &host_id)?;
    let view = hosting.heartbeat(&host_id, caller.account, beat)?;
    Ok(Json(shown(&app, &caller, view)))
}

pub(crate) async fn one(
    State(app): State<App>,
    caller: Caller,
    PathId(host_id): PathId,
) -> Result<Json<HostResponse>, Refused> {
    let view = app.live.hosting.host(&host_id)?;
    Ok(Json(shown(&app, &caller, view)))
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    QueryOf(wanted): QueryOf<Wanted>,
    paging: Paging,
) -> Result<Page<HostResponse>, Refused> {
    let status = wanted.status.or(wanted.status_filter);
    let status = status.as_deref().map(status_of).transpose()?;
    let min_score = wanted.min_quality_score;
    let filter = HostFilter { status, min_score };
    let hosting = &app.live.hosting;
    Ok(hosting.best_hosts(filter, paging, viewer(&caller)))
}

fn page(app: &App, caller: &Caller, paging: Paging, hosts: Vec<HostView>) -> Page<HostResponse> {
    let hosting = &app.live.hosting;
    paging
        .of(hosts)
        .map(|hosts| hosting.shown(hosts, viewer(caller)))
}

fn viewer(caller: &Caller) -> Viewer {
    Viewer {
        account: caller.account,
        staff: caller.role >= AccountRole::Gm,
    }
}

/// A host as the caller may see it.
fn shown(app: &App, caller: &Caller, host: HostView) -> HostResponse {
    app.live.hosting.shown_one(host, viewer(caller))
}

/// Whether a host has a known score of at least this, where one is asked for.
fn is_good(host: &HostView, least: Option<f64>) -> bool {
    least.is_none_or(|least| host.quality_score.is_some_and(|score| score >= least))
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
    known
        .map(|(_, status)| status)
        .ok_or_else(|| invalid("`status` is online, offline, busy or maintenance"))
}

pub(crate) async fn available(
    State(app): State<App>,
    caller: Caller,
    QueryOf(good): QueryOf<Good>,
    paging: Paging,
) -> Result<Page<HostResponse>, Refused> {
    let mut hosts = app.live.hosting.available();
    hosts.retain(|host| is_good(host, good.min_quality_score));
    Ok(page(&app, &caller, paging, hosts))
}

pub(crate) async fn best(
    State(app): State<App>,
    caller: Caller,
    QueryOf(wanted): QueryOf<ForZone>,
) -> Result<Json<HostResponse>, Refused> {
    let hosting = &app.live.hosting;
    let best = match wanted.zone_id {
        Some(zone_id) => {
            if zone_id.contains(char::is_control) {
                let text = "`zone_id` has a control character in it";
                return Err(Refused::new(ProblemCode::BadRequest, text));
            }
            // The fleet is brought in line with the database all the time; only a zone that was
            // entered a moment ago is looked for there.
            if !hosting.knows_zone(&zone_id) {
                let (zone, _) = find(&app, &zone_id).await?;
                hosting.put_zone(&zone);
            }
            hosting.best(&zone_id, caller.account)
        }
        None => {
            let mut hosts = hosting.available().into_iter();
            hosts.find(|host| !hosting.is_owner(&host.host_id, caller.account))
        }
    };
    let best = best.filter(|host| is_good(host, wanted.min_quality_score));
    let best = best.ok_or_else(|| {
        let text = "no host could carry a player of this zone now";
        Refused::new(ProblemCode::NoHost, text).with_status(StatusCode::NOT_FOUND)
    })?;
    Ok(Json(shown(&app, &caller, best)))
}

pub(crate) async fn drain(
    State(app): State<App>,
    caller: Caller,
    PathId(host_id): PathId,
) -> Result<Json<HostResponse>, Refused> {
    may_manage(&app, &caller, &host_id)?;
    let hosting = &app.live.hosting;
    let view = if is_owner(&app, &caller, &host_id) {
        hosting.drain(&host_id)?
    } else {
        let act = ("host-drain", format!("host {}", short(&host_id)));
        let drained = async { hosting.drain(&host_id).map(Done::new) };
        audited(&app.store, &Who::from(&caller), act, drained).await?
    };
    Ok(Json(shown(&app, &caller, view)))
}

pub(crate) async fn remove(
    State(app): State<App>,
    caller: Caller,
    PathId(host_id): PathId,
) -> Result<StatusCode, Refused> {
    may_manage(&app, &caller, &host_id)?;
    tracing::info!(host = host_id, by = caller.name, "host is removed");
    if is_owner(&app, &caller, &host_id) {
        app.live.hosting.remove(&host_id);
        return Ok(StatusCode::NO_CONTENT);
    }
    let act = ("host-remove", format!("host {}", short(&host_id)));
    let removed = async {
        app.live.hosting.remove(&host_id);
        Ok(Done::new(()))
    };
    audited(&app.store, &Who::from(&caller), act, removed).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether it is the caller's own host, so that nobody's rights are used.
fn is_owner(app: &App, caller: &Caller, host_id: &str) -> bool {
    let hosting = &app.live.hosting;
    hosting.may_manage(host_id, caller.account, false).is_ok()
}

/// Whether a host that is not known may yet be named by the endpoint: then it is too early to say.
fn may_be_named(app: &App, host_id: &str) -> Result<(), Refused> {
    if !app.live.hosting.knows_host(host_id) && app.live.endpoint.awaits_adoption() {
        return Err(app.live.unknown());
    }
    Ok(())
}

fn may_manage(app: &App, caller: &Caller, host_id: &str) -> Result<(), Refused> {
    may_be_named(app, host_id)?;
    let operator = caller.role == AccountRole::Admin;
    let hosting = &app.live.hosting;
    hosting.may_manage(host_id, caller.account, operator)
}
