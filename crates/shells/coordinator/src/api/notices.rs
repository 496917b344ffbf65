//! What staff says to the players.

use axum::extract::State;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use warp_protocol::{
    rest::{NoticeRequest, NoticeSent},
    signal::{MAX_NOTICE, ServerSignal},
};

use super::{operate::staff_only, zones::find};
use crate::{
    answer::Json,
    app::App,
    extract::{Body, Caller},
    problem::{Refused, invalid},
};

/// Sends a notice to the launchers of a zone, or to all.
pub(crate) async fn send(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<NoticeRequest>,
) -> Result<Json<NoticeSent>, Refused> {
    staff_only(&caller)?;
    let NoticeRequest { text, zone_id } = request;
    let text = text.trim();
    let length = text.chars().count();
    let odd = |c: char| c.is_control() && c != '\n';
    if !(1..=MAX_NOTICE).contains(&length) || text.contains(odd) {
        let text = format!(
            "`text` is 1 to {MAX_NOTICE} characters; line breaks are the only control characters"
        );
        return Err(invalid(text));
    }
    if let Some(zone_id) = &zone_id {
        find(&app, zone_id).await?;
    }
    let now = OffsetDateTime::now_utc().format(&Rfc3339);
    let signal = ServerSignal::Notice {
        text: text.to_owned(),
        from: caller.name.clone(),
        zone_id: zone_id.clone(),
        timestamp: now.unwrap_or_default(),
    };
    let told = app.live.tell(zone_id.as_deref(), &signal);
    app.metrics.notice();
    tracing::info!(by = caller.name, zone = zone_id, text, told, "notice sent");
    Ok(Json(NoticeSent {
        told: u64::try_from(told).unwrap_or(u64::MAX),
    }))
}
