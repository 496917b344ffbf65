//! Numbers of the older contract about hosts and signaling.

use axum::extract::State;
use warp_coordinator_core::fleet::HostFilter;
use warp_protocol::{
    contract::{HostStats, QualityDistribution, SignalingStats},
    hosting::HostStatus,
};

use crate::{answer::Json, app::App, extract::Caller};

pub(crate) async fn signaling(State(app): State<App>, _: Caller) -> Json<SignalingStats> {
    let (active_connections, active_sessions) = app.live.hub.counts();
    Json(SignalingStats {
        active_connections,
        active_sessions,
    })
}

pub(crate) async fn hosts(State(app): State<App>, _: Caller) -> Json<HostStats> {
    let hosts = app.live.hosting.hosts(HostFilter::default());
    let mut quality = QualityDistribution::default();
    let mut total_online = 0;
    for host in hosts
        .iter()
        .filter(|host| host.status != HostStatus::Offline)
    {
        total_online += 1;
        let class = match host.quality_score {
            None => &mut quality.unknown,
            Some(score) if score >= 90.0 => &mut quality.excellent,
            Some(score) if score >= 70.0 => &mut quality.good,
            Some(score) if score >= 50.0 => &mut quality.fair,
            Some(_) => &mut quality.poor,
        };
        *class += 1;
    }
    Json(HostStats {
        total_online,
        quality_distribution: quality,
    })
}
