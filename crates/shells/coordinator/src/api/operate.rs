//! What operators and game masters switch while the coordinator runs. Each takes effect at once; what
//! another process writes does within [`crate::running::SYNC_EVERY`].

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use warp_protocol::{
    ProblemCode,
    contract::ZoneResponse,
    rest::{AccountRole, FleetSwitch},
    zone::ZoneStatus,
};

use super::{
    devices::operators_only,
    zones::{find, respond},
};
use crate::{
    admin::short,
    answer::Json,
    app::App,
    audit::{Done, Who, audited},
    extract::{Body, Caller, PathId, QueryOf},
    problem::{Refused, invalid},
    running::sync_fleet,
};

/// What a zone is to be.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct NewStatus {
    /// `enabled`, `disabled` or `maintenance`, in whatever case.
    new_status: String,
}

pub(crate) async fn zone_status(
    State(app): State<App>,
    caller: Caller,
    PathId(zone_id): PathId,
    QueryOf(NewStatus { new_status }): QueryOf<NewStatus>,
) -> Result<Json<ZoneResponse>, Refused> {
    staff_only(&caller)?;
    let Some(status) = zone_status_of(&new_status) else {
        let text = "`new_status` is enabled, disabled or maintenance";
        return Err(invalid(text));
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

/// The status of that name, in whatever case.
pub(super) fn zone_status_of(name: &str) -> Option<ZoneStatus> {
    let all = [
        ("enabled", ZoneStatus::Enabled),
        ("disabled", ZoneStatus::Disabled),
        ("maintenance", ZoneStatus::Maintenance),
    ];
    let mut all = all.into_iter();
    let known = all.find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, status)| status)
}

pub(crate) async fn enable_p2p(
    app: State<App>,
    caller: Caller,
    zone: PathId,
) -> Result<Json<ZoneResponse>, Refused> {
    set_p2p(app, caller, zone, true).await
}

pub(crate) async fn disable_p2p(
    app: State<App>,
    caller: Caller,
    zone: PathId,
) -> Result<Json<ZoneResponse>, Refused> {
    set_p2p(app, caller, zone, false).await
}

async fn set_p2p(
    State(app): State<App>,
    caller: Caller,
    PathId(zone_id): PathId,
    enabled: bool,
) -> Result<Json<ZoneResponse>, Refused> {
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

async fn after(app: &App, zone_id: &str) -> Result<Json<ZoneResponse>, Refused> {
    sync_fleet(app).await?;
    let (zone, status) = find(app, zone_id).await?;
    respond(app, zone, status).await.map(Json)
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
