//! What game masters and operators ask of the coordinator.

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use warp_engine_core::machine::Outcome;
use warp_engine_core::staff::{LISTED, StaffAnswer, StaffAsk};
use warp_protocol::Problem;
use warp_protocol::admin::{BanRequest, BanView, MoveRequest, SessionInfo};
use warp_protocol::rest::FleetSwitch;
use warp_protocol::zone::{ZoneStatus, ZoneView};

use crate::coordinator::{Coordinator, percent_encoded};

/// Asks, and puts a refusal into the answer.
pub(crate) async fn ask(coordinator: &Coordinator, ask: StaffAsk) -> Outcome {
    let answer = answer(coordinator, &ask).await;
    let answer = answer.unwrap_or_else(|problem| StaffAnswer::Refused { problem });
    Outcome::Staff {
        ask,
        answer: Box::new(answer),
    }
}

/// Whether the coordinator takes the account for a game master's or an operator's.
pub(crate) async fn is_staff(coordinator: &Coordinator) -> Result<(), Problem> {
    get::<Vec<SessionInfo>>(coordinator, "links/?limit=1")
        .await
        .map(drop)
}

async fn answer(coordinator: &Coordinator, ask: &StaffAsk) -> Result<StaffAnswer, Problem> {
    let id = |text: &str| percent_encoded(text);
    let list = |route: &str| format!("{route}/?limit={LISTED}");
    Ok(match ask {
        StaffAsk::Sessions => StaffAnswer::Sessions {
            sessions: get(coordinator, &list("links")).await?,
        },
        StaffAsk::Hosts => StaffAnswer::Hosts {
            hosts: get(coordinator, &list("hosts")).await?,
        },
        StaffAsk::Bans => StaffAnswer::Bans {
            bans: get(coordinator, &list("bans")).await?,
        },
        StaffAsk::Refusals => StaffAnswer::Refusals {
            refusals: get(coordinator, "devices/refusals").await?,
        },
        StaffAsk::Audit => StaffAnswer::Audit {
            entries: get(coordinator, &list("audit")).await?,
        },
        StaffAsk::Fleet => {
            let switch: FleetSwitch = get(coordinator, "fleet/p2p").await?;
            StaffAnswer::Fleet { on: switch.enabled }
        }
        StaffAsk::EndSession { session_id } => {
            let route = format!("links/{}", id(session_id));
            done(coordinator, Method::DELETE, &route).await?
        }
        StaffAsk::MoveSession { session_id, to } => {
            let route = format!("links/{}/move", id(session_id));
            let body = MoveRequest {
                to: *to,
                host_id: None,
            };
            let _: SessionInfo = post(coordinator, &route, &body).await?;
            StaffAnswer::Done
        }
        StaffAsk::DrainHost { host_id } => {
            let route = format!("hosts/{}/drain", id(host_id));
            done(coordinator, Method::POST, &route).await?
        }
        StaffAsk::Ban {
            account,
            device,
            reason,
            until,
        } => {
            let body = BanRequest {
                account: account.clone(),
                device: device.clone(),
                reason: reason.clone(),
                until: *until,
            };
            let _: BanView = post(coordinator, "bans/", &body).await?;
            StaffAnswer::Done
        }
        StaffAsk::LiftBan { id } => {
            done(coordinator, Method::DELETE, &format!("bans/{id}")).await?
        }
        StaffAsk::ZoneStatus { zone, status } => {
            let status = match status {
                ZoneStatus::Enabled => "enabled",
                ZoneStatus::Disabled => "disabled",
                ZoneStatus::Maintenance => "maintenance",
            };
            let route = format!("zones/{}/status?new_status={status}", id(zone));
            let _: ZoneView = coordinator
                .authorised(Method::PATCH, &route, None::<&()>)
                .await?;
            StaffAnswer::Done
        }
        StaffAsk::ZoneP2p { zone, on } => {
            let word = if *on { "enable-p2p" } else { "disable-p2p" };
            let route = format!("zones/{}/{word}", id(zone));
            done(coordinator, Method::POST, &route).await?
        }
        StaffAsk::SetFleet { on } => {
            let body = FleetSwitch { enabled: *on };
            let switch: FleetSwitch = post(coordinator, "fleet/p2p", &body).await?;
            StaffAnswer::Fleet { on: switch.enabled }
        }
    })
}

async fn get<T: DeserializeOwned>(coordinator: &Coordinator, route: &str) -> Result<T, Problem> {
    coordinator
        .authorised(Method::GET, route, None::<&()>)
        .await
}

async fn post<T: DeserializeOwned>(
    coordinator: &Coordinator,
    route: &str,
    body: &impl Serialize,
) -> Result<T, Problem> {
    coordinator
        .authorised(Method::POST, route, Some(body))
        .await
}

async fn done(
    coordinator: &Coordinator,
    method: Method,
    route: &str,
) -> Result<StaffAnswer, Problem> {
    coordinator.tell(method, route, None::<&()>).await?;
    Ok(StaffAnswer::Done)
}
