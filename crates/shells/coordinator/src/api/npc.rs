//! What the AI service pushes.

use axum::extract::State;
use warp_protocol::{
    ProblemCode,
    rest::{NpcStates, NpcStatesTaken},
};

use super::zones::find;
use crate::{
    answer::Json,
    app::App,
    extract::{Bearer, Body, PathId},
    monitoring::access::is_same,
    problem::{Refused, invalid},
};

/// Takes states of NPCs of a zone, with the token that is configured for that.
pub(crate) async fn put(
    State(app): State<App>,
    Bearer(shown): Bearer,
    PathId(zone_id): PathId,
    Body(NpcStates { npcs }): Body<NpcStates>,
) -> Result<Json<NpcStatesTaken>, Refused> {
    let wanted = app.config.npc.push_token.as_ref();
    if !wanted.is_some_and(|wanted| is_same(wanted, &shown)) {
        let text = "that is not the token of `npc.push_token` of this coordinator";
        return Err(Refused::new(ProblemCode::Forbidden, text));
    }
    find(&app, &zone_id).await?;
    let taken = app.npcs.put(&app, &zone_id, npcs);
    let changed = taken.map_err(|refused| invalid(refused.to_string()))?;
    Ok(Json(NpcStatesTaken {
        changed: u64::try_from(changed).unwrap_or(u64::MAX),
    }))
}
