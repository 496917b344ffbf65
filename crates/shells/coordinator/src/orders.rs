//! Commands of this program that need the live state, which another process has.
//!
//! The command enters an order in the database and waits for its answer. The process that serves looks
//! for orders every [`LOOK_EVERY`], carries them out, and enters the answer. One that nobody has
//! answered within [`WAIT`] is taken back, so that it is not carried out when nobody thinks of it any
//! more.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use warp_protocol::{
    ProblemCode,
    admin::{MoveRequest, SessionInfo},
    rest::ErrorBody,
};

use crate::{
    admin,
    app::App,
    audit::{Done, Who, audited},
    problem::Refused,
    store::Store,
    tokens::unix_now,
};

/// How often it is looked for orders.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long an answer is waited for.
const WAIT: Duration = Duration::from_secs(10);

/// How often it is looked for the answer.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// What is wanted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wanted {
    Sessions,
    EndSession(String),
    MoveSession(String, MoveRequest),
    DrainHost(String),
    RemoveHost(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    who: Who,
    wanted: Wanted,
}

/// Has an order carried out.
///
/// # Errors
/// What the process refused; `coordinator-unreachable` where none answers.
pub(crate) async fn order<T: DeserializeOwned>(
    store: &Store,
    who: Who,
    wanted: Wanted,
) -> Result<T, Refused> {
    let body = serde_json::to_string(&Order { who, wanted }).map_err(|_| fault())?;
    let id = store.add_order(&body, unix_now()).await?;
    let answered = tokio::time::timeout(WAIT, async {
        loop {
            if let Some(answer) = store.order_answer(id).await? {
                return Ok::<_, Refused>(answer);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    });
    let answered = answered.await;
    let hour_ago = unix_now().saturating_sub(3600);
    store.forget_orders(id, hour_ago).await?;
    let text = "no coordinator that serves has answered; this needs one on the same database";
    let answer =
        answered.map_err(|_| Refused::new(ProblemCode::CoordinatorUnreachable, text))??;
    let answer: Result<Value, ErrorBody> = serde_json::from_str(&answer).map_err(|_| fault())?;
    let value = answer.map_err(|body| Refused::new(body.code, body.detail))?;
    serde_json::from_value(value).map_err(|_| fault())
}

fn fault() -> Refused {
    crate::problem::internal("an order of another version of this program")
}

/// Carries out orders, until the stop.
pub(crate) async fn follow_orders(app: App) {
    let waits = i64::try_from(WAIT.as_secs()).unwrap_or(0);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if !app.tenure.holds() {
            // In a cluster another node may own the live state by now.
            continue;
        }
        let orders = match app.store.open_orders(unix_now() - waits).await {
            Ok(orders) => orders,
            Err(error) => {
                tracing::warn!(%error, "orders could not be looked up");
                continue;
            }
        };
        for (id, body) in orders {
            let done = match serde_json::from_str(&body) {
                Ok(order) => carry_out(&app, order).await,
                Err(_) => Err(fault()),
            };
            let done = done.map_err(|refused| ErrorBody {
                code: refused.code(),
                detail: refused.detail().to_owned(),
            });
            let Ok(answer) = serde_json::to_string(&done) else {
                continue;
            };
            if let Err(error) = app.store.answer_order(id, &answer).await {
                tracing::warn!(%error, "an order's answer could not be entered");
            }
        }
    }
}

async fn carry_out(app: &App, Order { who, wanted }: Order) -> Result<Value, Refused> {
    let hosting = &app.live.hosting;
    let done = match wanted {
        Wanted::Sessions => {
            let (sessions, _): (Vec<SessionInfo>, _) = admin::sessions(app, usize::MAX, 0).await?;
            serde_json::to_value(sessions)
        }
        Wanted::EndSession(id) => {
            admin::end_session(app, &who, &id).await?;
            Ok(Value::Null)
        }
        Wanted::MoveSession(id, request) => {
            serde_json::to_value(admin::move_session(app, &who, &id, &request).await?)
        }
        Wanted::DrainHost(id) => {
            let target = format!("host {}", admin::short(&id));
            let act = async { hosting.drain(&id).map(Done::new) };
            serde_json::to_value(audited(&app.store, &who, ("host-drain", target), act).await?)
        }
        Wanted::RemoveHost(id) => {
            let target = format!("host {}", admin::short(&id));
            let act = async {
                hosting.host(&id)?;
                hosting.remove(&id);
                Ok(Done::new(()))
            };
            audited(&app.store, &who, ("host-remove", target), act).await?;
            Ok(Value::Null)
        }
    };
    done.map_err(|_| fault())
}
