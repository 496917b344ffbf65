//! Sessions of the contract: one host serves one zone. Everybody may look. The host's owner, game
//! masters and operators make, activate, pause and end them; what the fleet does is seen in them too.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use warp_coordinator_core::{fleet::CannotServe, host_sessions::Change};
use warp_protocol::{
    ProblemCode,
    contract::{
        Done, MAX_NAMED, SessionCreate, SessionMetrics, SessionPlayer, SessionResponse,
        SessionStatus,
    },
    rest::AccountRole,
    zone::ZoneStatus,
};

use super::{
    operate::staff_only,
    paging::{Page, Paging},
    zones::find,
};
use crate::{
    answer::Json,
    app::App,
    extract::{Body, Caller, PathId, PathIds, QueryOf},
    hosting::serving::{NoSession, persist},
    problem::{Refused, internal, invalid},
    store::SessionFilter,
};

/// Longest reason that is kept, characters.
const MAX_REASON: usize = 200;

/// Longest idle time that may be asked for, minutes: a week.
const MAX_IDLE: u32 = 7 * 24 * 60;

/// Which sessions are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only those with this status, in whatever case.
    status: Option<String>,
    /// Only those of this host.
    host_id: Option<String>,
    /// Only those in this zone.
    zone_id: Option<String>,
}

/// Why.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Why {
    /// Text that is kept with the session; its first 200 characters.
    reason: Option<String>,
}

/// How long.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Idle {
    /// Minutes without a player and without a change, 1 to 10080; default: as configured, 30.
    #[param(minimum = 1, maximum = 10080)]
    timeout_minutes: Option<u32>,
}

pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<SessionCreate>,
) -> Result<(StatusCode, Json<SessionResponse>), Refused> {
    let SessionCreate {
        host_id,
        zone_id,
        mut player_ids,
    } = request;
    if player_ids.len() > MAX_NAMED {
        return Err(invalid("`player_ids` names at most 1000 players"));
    }
    may_serve(&app, &caller, &host_id)?;
    if !player_ids.is_empty() {
        staff_only(&caller)?;
    }
    let (zone, status) = find(&app, &zone_id).await?;
    app.live.hosting.put_zone(&zone);
    if status != ZoneStatus::Enabled {
        return Err(Refused::new(ProblemCode::ZoneClosed, "the zone is closed"));
    }
    player_ids.sort_unstable();
    player_ids.dedup();
    let opened = app
        .live
        .hosting
        .open_session(&host_id, &zone_id, &player_ids);
    let (session, is_new) = opened.map_err(refuse)?;
    persist(&app).await?;
    if is_new {
        let by = caller.name;
        tracing::info!(
            session = session.session_id,
            host = host_id,
            zone = zone_id,
            by,
            "host's session made"
        );
        return Ok((StatusCode::CREATED, Json(session)));
    }
    Ok((StatusCode::OK, Json(session)))
}

pub(crate) async fn list(
    State(app): State<App>,
    _: Caller,
    QueryOf(wanted): QueryOf<Wanted>,
    paging: Paging,
) -> Result<Page<SessionResponse>, Refused> {
    let filter = SessionFilter {
        status: wanted.status.as_deref().map(status_of).transpose()?,
        host_id: wanted.host_id,
        zone_id: wanted.zone_id,
    };
    listed(&app, &filter, paging).await
}

pub(crate) async fn active_of_host(
    State(app): State<App>,
    _: Caller,
    PathId(host_id): PathId,
    paging: Paging,
) -> Result<Page<SessionResponse>, Refused> {
    let filter = SessionFilter {
        status: Some(SessionStatus::Active),
        host_id: Some(host_id),
        zone_id: None,
    };
    listed(&app, &filter, paging).await
}

pub(crate) async fn active_in_zone(
    State(app): State<App>,
    _: Caller,
    PathId(zone_id): PathId,
    paging: Paging,
) -> Result<Page<SessionResponse>, Refused> {
    let filter = SessionFilter {
        status: Some(SessionStatus::Active),
        host_id: None,
        zone_id: Some(zone_id),
    };
    listed(&app, &filter, paging).await
}

async fn listed(
    app: &App,
    filter: &SessionFilter,
    paging: Paging,
) -> Result<Page<SessionResponse>, Refused> {
    persist(app).await?;
    let stored = app.store.sessions(filter, paging.limit, paging.offset);
    let (mut items, total) = stored.await?;
    app.live.hosting.freshen(&mut items);
    Ok(Page { items, total })
}

pub(crate) async fn one(
    State(app): State<App>,
    _: Caller,
    PathId(id): PathId,
) -> Result<Json<SessionResponse>, Refused> {
    find_session(&app, &id).await.map(Json)
}

/// A session by either id: as it lives, or as it was when it was over.
async fn find_session(app: &App, id: &str) -> Result<SessionResponse, Refused> {
    if let Some(open) = app.live.hosting.open_session_of(id) {
        return Ok(open);
    }
    persist(app).await?;
    app.store.session(id).await?.ok_or_else(unknown)
}

pub(crate) async fn activate(
    app: State<App>,
    caller: Caller,
    id: PathId,
) -> Result<Json<Done>, Refused> {
    change(app, caller, id, Change::Activate, None).await
}

pub(crate) async fn pause(
    app: State<App>,
    caller: Caller,
    id: PathId,
    QueryOf(why): QueryOf<Why>,
) -> Result<Json<Done>, Refused> {
    change(app, caller, id, Change::Pause, why.reason).await
}

pub(crate) async fn end(
    app: State<App>,
    caller: Caller,
    id: PathId,
    QueryOf(why): QueryOf<Why>,
) -> Result<Json<Done>, Refused> {
    change(app, caller, id, Change::End, why.reason).await
}

async fn change(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    change: Change,
    reason: Option<String>,
) -> Result<Json<Done>, Refused> {
    let session = find_session(&app, &id).await?;
    may_serve(&app, &caller, &session.host_id)?;
    let reason = reason.map(|text| text.chars().take(MAX_REASON).collect());
    let changed = app.live.hosting.change_session(&id, change, reason);
    let status = match changed {
        Some(changed) => {
            changed.map_err(|illegal| Refused::new(ProblemCode::Conflict, illegal.to_string()))?
        }
        None => return Err(over(session.status)),
    };
    persist(&app).await?;
    let status = status.name();
    tracing::info!(
        session = session.session_id,
        by = caller.name,
        status,
        "host's session changed"
    );
    Ok(done(format!("session {id} is {status}")))
}

pub(crate) async fn metrics(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    Body(told): Body<SessionMetrics>,
) -> Result<Json<Done>, Refused> {
    let negative = |number: Option<f64>| number.is_some_and(|number| number < 0.0);
    let loss = told.packet_loss_percent;
    if negative(told.avg_latency_ms)
        || negative(told.bandwidth_usage_mbps)
        || loss.is_some_and(|percent| !(0.0..=100.0).contains(&percent))
    {
        let text = "`avg_latency_ms` and `bandwidth_usage_mbps` are at least 0, `packet_loss_percent` is 0 to 100";
        return Err(invalid(text));
    }
    let session = find_session(&app, &id).await?;
    may_serve(&app, &caller, &session.host_id)?;
    if !app.live.hosting.tell_session(&id, told) {
        return Err(over(session.status));
    }
    persist(&app).await?;
    Ok(done(format!("metrics of session {id} updated")))
}

pub(crate) async fn add_player(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    Body(SessionPlayer { player_id }): Body<SessionPlayer>,
) -> Result<Json<Done>, Refused> {
    if caller.name != player_id {
        staff_only(&caller)?;
    }
    let session = find_session(&app, &id).await?;
    match app.live.hosting.add_player(&id, &player_id) {
        Err(NoSession::Unknown) => return Err(over(session.status)),
        added => added.map_err(refuse)?,
    }
    persist(&app).await?;
    Ok(done(format!("{player_id} is in session {id}")))
}

pub(crate) async fn remove_player(
    State(app): State<App>,
    caller: Caller,
    PathIds(id, player_id): PathIds,
) -> Result<Json<Done>, Refused> {
    let session = find_session(&app, &id).await?;
    if caller.name != player_id {
        may_serve(&app, &caller, &session.host_id)?;
    }
    let removed = match app.live.hosting.remove_player(&id, &player_id) {
        Err(NoSession::Unknown) => return Err(over(session.status)),
        removed => removed.map_err(refuse)?,
    };
    if !removed {
        let text = "that player is not in the session";
        return Err(Refused::new(ProblemCode::NotFound, text));
    }
    persist(&app).await?;
    Ok(done(format!("{player_id} is moved off session {id}")))
}

pub(crate) async fn cleanup(
    State(app): State<App>,
    caller: Caller,
    QueryOf(Idle { timeout_minutes }): QueryOf<Idle>,
) -> Result<Json<Done>, Refused> {
    staff_only(&caller)?;
    let idle = match timeout_minutes {
        None => app.config.hosts.session_idle,
        Some(minutes @ 1..=MAX_IDLE) => std::time::Duration::from_secs(60 * u64::from(minutes)),
        Some(_) => return Err(invalid("`timeout_minutes` is 1 to 10080")),
    };
    let count = app.live.hosting.fail_idle_sessions(idle);
    persist(&app).await?;
    tracing::info!(by = caller.name, count, "idle sessions of hosts failed");
    Ok(done(format!("{count} idle sessions have failed")))
}

fn done(message: String) -> Json<Done> {
    Json(Done { message })
}

/// Whether the caller may say what a host serves: its owner, game masters and operators.
fn may_serve(app: &App, caller: &Caller, host_id: &str) -> Result<(), Refused> {
    let staff = caller.role >= AccountRole::Gm;
    let managed = app.live.hosting.may_manage(host_id, caller.account, staff);
    match managed {
        // A host that is gone leaves its sessions behind.
        Err(refused) if refused.code() == ProblemCode::NotFound && staff => Ok(()),
        managed => managed,
    }
}

fn unknown() -> Refused {
    Refused::new(ProblemCode::UnknownSession, "there is no such session")
}

fn over(status: SessionStatus) -> Refused {
    let status = match status {
        // It was open when it was looked up.
        open if open.is_open() => "over",
        over => over.name(),
    };
    Refused::new(ProblemCode::Conflict, format!("the session is {status}"))
}

fn status_of(text: &str) -> Result<SessionStatus, Refused> {
    let mut all = SessionStatus::ALL.into_iter();
    let known = all.find(|status| status.name().eq_ignore_ascii_case(text));
    known.ok_or_else(|| invalid("`status` is pending, active, paused, ended or failed"))
}

fn refuse(why: NoSession) -> Refused {
    let why = match why {
        NoSession::Cannot(why) => why,
        NoSession::Unknown => return unknown(),
        NoSession::Paused => {
            return Refused::new(
                ProblemCode::Conflict,
                "the session is paused; activate it first",
            );
        }
        NoSession::NoRandomness => return internal("the system gives no randomness"),
    };
    cannot_serve(why)
}

/// The refusal of a host that cannot serve a zone or carry a player.
pub(crate) fn cannot_serve(why: CannotServe) -> Refused {
    let code = match why {
        CannotServe::UnknownHost | CannotServe::NoPlayer => ProblemCode::NotFound,
        CannotServe::NoP2p => ProblemCode::ZoneClosed,
        CannotServe::Held => ProblemCode::Conflict,
        _ if why.is_full() => ProblemCode::Conflict,
        _ => ProblemCode::HostRefused,
    };
    Refused::new(code, why.to_string())
}
