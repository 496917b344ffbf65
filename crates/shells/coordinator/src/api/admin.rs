//! The routes of [`warp_protocol::admin`].

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use warp_protocol::{
    ProblemCode,
    admin::{AccountInfo, BanRequest, BanView, DeviceInfo, MoveRequest, RoleRequest, SessionInfo},
};

use super::{devices::operators_only, operate::staff_only};
use crate::{
    admin,
    app::App,
    audit::Who,
    bans::enforce_bans,
    extract::{Body, Caller, PathId, QueryOf},
    problem::Refused,
};

/// How many there are in all, beside a page of them.
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");

/// Most entries of one page.
const MAX_PAGE: u32 = 1000;

/// Which part of a list is wanted.
#[derive(Debug, Deserialize)]
pub(crate) struct PageOf {
    #[serde(default = "usual_page")]
    limit: u32,
    #[serde(default)]
    offset: u32,
}

/// The same, from a time on.
#[derive(Debug, Deserialize)]
pub(crate) struct Since {
    #[serde(default = "usual_page")]
    limit: u32,
    #[serde(default)]
    offset: u32,
    /// Unix seconds.
    #[serde(default)]
    since: i64,
}

fn usual_page() -> u32 {
    100
}

fn page_of(limit: u32, offset: u32) -> Result<(i64, i64), Refused> {
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok((limit.into(), offset.into()));
    }
    let text = "`limit` is 1 to 1000";
    Err(Refused::new(ProblemCode::BadRequest, text))
}

/// A page, and how many there are in all.
fn page<T: Serialize>(some: Vec<T>, total: impl ToString) -> Response {
    let mut response = Json(some).into_response();
    if let Ok(total) = HeaderValue::from_str(&total.to_string()) {
        response.headers_mut().insert(TOTAL, total);
    }
    response
}

pub(crate) async fn bans(
    State(app): State<App>,
    caller: Caller,
    QueryOf(PageOf { limit, offset }): QueryOf<PageOf>,
) -> Result<Response, Refused> {
    staff_only(&caller)?;
    let (limit, offset) = page_of(limit, offset)?;
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
    QueryOf(PageOf { limit, offset }): QueryOf<PageOf>,
) -> Result<Response, Refused> {
    operators_only(&caller)?;
    let (limit, offset) = page_of(limit, offset)?;
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
    QueryOf(PageOf { limit, offset }): QueryOf<PageOf>,
) -> Result<Response, Refused> {
    staff_only(&caller)?;
    page_of(limit, offset)?;
    let (limit, offset) = (limit as usize, offset as usize);
    let (sessions, total) = admin::sessions(&app, limit, offset).await?;
    Ok(page(sessions, total))
}

pub(crate) async fn move_session(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    Body(MoveRequest { to }): Body<MoveRequest>,
) -> Result<Json<SessionInfo>, Refused> {
    staff_only(&caller)?;
    let who = Who::from(&caller);
    let moved = admin::move_session(&app, &who, &id, to);
    moved.await.map(Json)
}

pub(crate) async fn audit(
    State(app): State<App>,
    caller: Caller,
    QueryOf(Since {
        limit,
        offset,
        since,
    }): QueryOf<Since>,
) -> Result<Response, Refused> {
    operators_only(&caller)?;
    let (limit, offset) = page_of(limit, offset)?;
    let (entries, total) = app.store.audit(since, limit, offset).await?;
    Ok(page(entries, total))
}
