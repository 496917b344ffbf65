//! The routes of [`warp_protocol::admin`].

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use warp_protocol::{
    ProblemCode,
    admin::{
        AccountInfo, AuditEntry, BanRequest, BanView, DeviceInfo, MoveRequest, RoleRequest,
        SessionInfo,
    },
};

use super::{
    devices::operators_only,
    operate::staff_only,
    paging::{Page, Paging},
};
use crate::{
    admin,
    answer::Json,
    app::App,
    audit::Who,
    bans::enforce_bans,
    extract::{Body, Caller, PathId, QueryOf},
    problem::Refused,
};

/// From when on.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Since {
    /// Unix seconds.
    #[serde(default)]
    #[param(required = false)]
    since: i64,
}

/// A page of what the database holds.
fn page<T>(items: Vec<T>, total: i64) -> Page<T> {
    Page {
        items,
        total: total.unsigned_abs(),
    }
}

pub(crate) async fn bans(
    State(app): State<App>,
    caller: Caller,
    Paging { limit, offset }: Paging,
) -> Result<Page<BanView>, Refused> {
    staff_only(&caller)?;
    let (limit, offset) = (limit.into(), offset.into());
    let (bans, total) = app.store.bans(limit, offset).await?;
    Ok(page(bans, total))
}

pub(crate) async fn ban(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<BanRequest>,
) -> Result<(StatusCode, Json<BanView>), Refused> {
    operators_only(&caller)?;
    let view = admin::ban(&app.store, &Who::from(&caller), &request).await?;
    enforce_bans(&app).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

pub(crate) async fn unban(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
) -> Result<Json<BanView>, Refused> {
    operators_only(&caller)?;
    let unknown = || Refused::new(ProblemCode::NotFound, "there is no ban of that number");
    let id = id.parse().map_err(|_| unknown())?;
    let view = admin::unban(&app.store, &Who::from(&caller), id).await?;
    enforce_bans(&app).await?;
    Ok(Json(view))
}

pub(crate) async fn accounts(
    State(app): State<App>,
    caller: Caller,
    Paging { limit, offset }: Paging,
) -> Result<Page<AccountInfo>, Refused> {
    operators_only(&caller)?;
    let (limit, offset) = (limit.into(), offset.into());
    let (accounts, total) = admin::accounts(&app.store, limit, offset).await?;
    Ok(page(accounts, total))
}

pub(crate) async fn role(
    State(app): State<App>,
    caller: Caller,
    PathId(name): PathId,
    Body(RoleRequest { role }): Body<RoleRequest>,
) -> Result<Json<AccountInfo>, Refused> {
    operators_only(&caller)?;
    let who = Who::from(&caller);
    let set = admin::set_role(&app.store, &who, &name, role);
    set.await.map(Json)
}

pub(crate) async fn devices_of(
    State(app): State<App>,
    caller: Caller,
    PathId(name): PathId,
) -> Result<Json<Vec<DeviceInfo>>, Refused> {
    operators_only(&caller)?;
    admin::devices(&app.store, &name).await.map(Json)
}

pub(crate) async fn sessions(
    State(app): State<App>,
    caller: Caller,
    Paging { limit, offset }: Paging,
) -> Result<Page<SessionInfo>, Refused> {
    staff_only(&caller)?;
    let (limit, offset) = (limit as usize, offset as usize);
    let (sessions, total) = admin::sessions(&app, limit, offset).await?;
    Ok(Page {
        items: sessions,
        total: total as u64,
    })
}

pub(crate) async fn move_session(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    Body(request): Body<MoveRequest>,
) -> Result<Json<SessionInfo>, Refused> {
    staff_only(&caller)?;
    let who = Who::from(&caller);
    let moved = admin::move_session(&app, &who, &id, &request);
    moved.await.map(Json)
}

pub(crate) async fn audit(
    State(app): State<App>,
    caller: Caller,
    Paging { limit, offset }: Paging,
    QueryOf(Since { since }): QueryOf<Since>,
) -> Result<Page<AuditEntry>, Refused> {
    operators_only(&caller)?;
    let (limit, offset) = (limit.into(), offset.into());
    let (entries, total) = app.store.audit(since, limit, offset).await?;
    Ok(page(entries, total))
}
