//! `warp-coordinator doctor`: looks whether everything is as it has to be, from the configuration to a
//! character on a map, and says at each step what was tried, what came, and what to change.
//!
//! No key is made and nothing is configured; the database is opened as by every other command. The game
//! servers are dialled by the endpoint of the coordinator that serves, through a session of a player's
//! account (`session.rs`), where one is named; else from this process, with the endpoint's rule that only
//! addresses which the zone names are dialled.

mod game;
mod line;
mod place;
mod session;

use std::path::PathBuf;

use serde::Serialize;
use warp_protocol::Secret;

use crate::{CoordinatorConfig, store::Store};
use session::Session;

/// What is to be tried beside the coordinator itself.
#[derive(Debug, Clone)]
pub struct GameTrial {
    /// The zone whose game servers are tried.
    pub zone: String,
    /// An account of the game, made for this.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The slot of a character that enters the map.
    pub slot: u8,
    /// An account of the launcher, whose session carries the trial; none: this process dials.
    pub player: Option<String>,
    /// Where launchers find the coordinator, if that is not where it listens on this machine.
    pub url: Option<String>,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it has to be.
    Good,
    /// It works, and should be changed.
    Warning,
    /// It does not work.
    Bad,
    /// It could not be tried, because an earlier step failed.
    Skipped,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: `configuration`, `database`, `login` and so on.
    pub step: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What was tried.
    pub tried: String,
    /// What came.
    pub came: String,
    /// What to change; none where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

impl Finding {
    fn good(step: &'static str, tried: impl Into<String>, came: impl Into<String>) -> Self {
        Self {
            step,
            outcome: Outcome::Good,
            tried: tried.into(),
            came: came.into(),
            change: None,
        }
    }

    fn not_good(
        outcome: Outcome,
        step: &'static str,
        tried: impl Into<String>,
        came: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self {
            outcome,
            change: Some(change.into()),
            ..Self::good(step, tried, came)
        }
    }

    fn bad(
        step: &'static str,
        tried: impl Into<String>,
        came: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self::not_good(Outcome::Bad, step, tried, came, change)
    }
}

/// Tries everything. The configuration was read before; its file is named where there is one.
pub async fn doctor(
    config: &CoordinatorConfig,
    file: Option<PathBuf>,
    trial: Option<&GameTrial>,
) -> Vec<Finding> {
    let mut found = place::configuration(config, file);
    found.push(place::data_dir(&config.data_dir));
    let (finding, store) = place::database(config).await;
    found.push(finding);
    found.push(place::clock(store.as_ref()).await);
    let (finding, serves) = place::listener(config).await;
    found.push(finding);
    found.extend(place::certificate(config));
    found.push(place::endpoint(config, serves));
    if let Some(trial) = trial {
        found.extend(try_game(config, store.as_ref(), trial).await);
    }
    if let Some(store) = store {
        store.close().await;
    }
    found
}

async fn try_game(
    config: &CoordinatorConfig,
    store: Option<&Store>,
    trial: &GameTrial,
) -> Vec<Finding> {
    let tried = format!("look the zone `{}` up", trial.zone);
    let Some(store) = store else {
        let skipped = Outcome::Skipped;
        let change = "mend the database first";
        return vec![Finding::not_good(
            skipped,
            "zone",
            tried,
            "there is no database",
            change,
        )];
    };
    match store.zone(&trial.zone).await {
        Err(error) => vec![Finding::bad(
            "zone",
            tried,
            error.to_string(),
            "mend the database first",
        )],
        Ok(None) => {
            let change =
                "enter it with `warp-coordinator zone put FILE`; `zone list` shows those that are";
            vec![Finding::bad("zone", tried, "there is no such zone", change)]
        }
        Ok(Some((zone, status))) => {
            let came = format!("it is {}", format!("{status:?}").to_lowercase());
            let mut found = vec![Finding::good("zone", tried, came)];
            let opened = match &trial.player {
                Some(player) => {
                    let opening = Session::open(config, store, trial, player);
                    Some(Box::pin(opening).await)
                }
                None => None,
            };
            let mut session = None;
            match opened {
                Some(Ok((opened, finding))) => {
                    found.push(finding);
                    session = Some(opened);
                }
                Some(Err(finding)) => found.push(finding),
                None => {}
            }
            found.extend(game::play(&zone.game, trial, session.as_ref()).await);
            if let Some(session) = session {
                session.end().await;
            }
            found
        }
    }
}
