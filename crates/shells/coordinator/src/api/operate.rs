//! What operators and game masters switch while the coordinator runs. Each takes effect at once; what
//! another process writes does within [`crate::running::SYNC_EVERY`].

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::json;
use warp_protocol::{
    ProblemCode,
    rest::{AccountRole, FleetSwitch},
    zone::{ZoneStatus, ZoneView},
};

use super::{
    devices::operators_only,
    zones::{find, view},
};
use crate::{
    admin::short,
    app::App,
    audit::{Done, Who, audited},
    extract::{Body, Caller, PathId, QueryOf},
    problem::Refused,
    running::sync_fleet,
};

/// What a zone is to be.
#[derive(Debug, Deserialize)]
pub(crate) struct NewStatus {
    new_status: String,
}

pub(crate) async fn zone_status(
    State(app): State<App>,
    caller: Caller,
    PathId(zone_id): PathId,
    QueryOf(NewStatus { new_status }): QueryOf<NewStatus>,
) -> Result<Json<ZoneView>, Refused> {
    staff_only(&caller)?;
    let all = [
        ("enabled", ZoneStatus::Enabled),
        ("disabled", ZoneStatus::Disabled),
        ("maintenance", ZoneStatus::Maintenance),
    ];
    let mut all = all.into_iter();
    let known = all.find(|(name, _)| name.eq_ignore_ascii_case(&new_status));
    let Some((_, status)) = known else {
        let text = "`new_status` is enabled, disabled or maintenance";
        return Err(Refused::new(ProblemCode::BadRequest, text));
    };
    let act = ("zone-status", format!("zone {}", short(&zone_id)));
    audited(&app.store, &Who::from(&caller), act, async {
        let (zone, before) = find(&app, &zone_id).await?;
        let now = crate::tokens::unix_now();
        app.store.put_zone(&zone, Some(status), now).await?;
        let (before, after) = (json!({"status": before}), json!({"status": status}));
        Ok(Done::changed((), before, after))
    })
    .await?;
    after(&app, &zone_id).await
}

pub(crate) async fn enable_p2p(
    app: State<App>,
    caller: Caller,
    zone: PathId,
) -> Result<Json<ZoneView>, Refused> {
    set_p2p(app, caller, zone, true).await
}

pub(crate) async fn disable_p2p(
    app: State<App>,
    caller: Caller,
    zone: PathId,
) -> Result<Json<ZoneView>, Refused> {
    set_p2p(app, caller, zone, false).await
}

async fn set_p2p(
    State(app): State<App>,
    caller: Caller,
    PathId(zone_id): PathId,
    enabled: bool,
) -> Result<Json<ZoneView>, Refused> {
    staff_only(&caller)?;
    let act = ("zone-p2p", format!("zone {}", short(&zone_id)));
    audited(&app.store, &Who::from(&caller), act, async {
        let (mut zone, _) = find(&app, &zone_id).await?;
        let before = json!({"p2p_enabled": zone.p2p_enabled});
        zone.p2p_enabled = enabled;
        let now = crate::tokens::unix_now();
        app.store.put_zone(&zone, None, now).await?;
        Ok(Done::changed((), before, json!({"p2p_enabled": enabled})))
    })
    .await?;
    after(&app, &zone_id).await
}

async fn after(app: &App, zone_id: &str) -> Result<Json<ZoneView>, Refused> {
    sync_fleet(app).await?;
    let (zone, status) = find(app, zone_id).await?;
    Ok(Json(view(app, zone, status)))
}

pub(crate) async fn fleet(State(app): State<App>, _: Caller) -> Json<FleetSwitch> {
    let enabled = app.live.hosting.is_on();
    Json(FleetSwitch { enabled })
}

pub(crate) async fn set_fleet(
    State(app): State<App>,
    caller: Caller,
    Body(FleetSwitch { enabled }): Body<FleetSwitch>,
) -> Result<Json<FleetSwitch>, Refused> {
    operators_only(&caller)?;
    let act = ("fleet-p2p", "all zones".to_owned());
    audited(&app.store, &Who::from(&caller), act, async {
        let before = json!({"enabled": app.store.p2p().await?});
        app.store.set_p2p(enabled).await?;
        Ok(Done::changed((), before, json!({"enabled": enabled})))
    })
    .await?;
    sync_fleet(&app).await?;
    let enabled = app.live.hosting.is_on();
    Ok(Json(FleetSwitch { enabled }))
}

pub(crate) fn staff_only(caller: &Caller) -> Result<(), Refused> {
    if caller.role >= AccountRole::Gm {
        return Ok(());
    }
    let text = "only game masters and operators (roles gm and admin) may do that";
    Err(Refused::new(ProblemCode::Forbidden, text))
}
