//! `warp-coordinator doctor`.

use std::{io::Write, path::PathBuf};

use clap::Args;
use warp_coordinator::doctor::{Finding, GameTrial, Outcome, doctor};
use warp_protocol::{ProblemCode, Secret};

use crate::{Failure, Place, configuration};

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// Try the game servers of this zone as well, from login to a map.
    #[arg(long, requires = "user")]
    zone: Option<String>,
    /// An account of the game that nobody plays with.
    #[arg(long, requires_all = ["zone", "password_file"])]
    user: Option<String>,
    /// A file whose first line is its password.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// The slot of the character that enters the map.
    #[arg(long, default_value_t = 0)]
    slot: u8,
    /// An account of the launcher: the game servers are tried through a session of it, so that the
    /// endpoint dials them as for players. Its password is not needed.
    #[arg(long, value_name = "NAME", requires = "zone")]
    player: Option<String>,
    /// With --player: where launchers find the coordinator, if not where it listens on this machine.
    #[arg(long, requires = "player")]
    url: Option<String>,
    /// One JSON array instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Prints what was found. Gives whether all is well; warnings are.
pub(crate) async fn run(arguments: DoctorArgs) -> Result<bool, Failure> {
    let config = configuration(&arguments.place)?;
    let trial = match (arguments.zone, arguments.user, arguments.password_file) {
        (Some(zone), Some(user), Some(file)) => {
            let text = std::fs::read_to_string(&file).map_err(|e| {
                let text = format!("{}: {e}", file.display());
                Failure::of_configuration(ProblemCode::ConfigUnreadable, text)
            })?;
            let password = Secret::new(text.lines().next().unwrap_or_default());
            let slot = arguments.slot;
            Some(GameTrial {
                zone,
                user,
                password,
                slot,
                player: arguments.player,
                url: arguments.url,
            })
        }
        _ => None,
    };
    let found = doctor(&config, arguments.place.config.clone(), trial.as_ref()).await;
    let text = if arguments.json {
        let json = serde_json::to_string_pretty(&found);
        json.map_err(|e| Failure::new(ProblemCode::Internal, e))? + "\n"
    } else {
        found.iter().map(text_of).collect()
    };
    // A reader that has gone away (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(found.iter().all(|finding| finding.outcome != Outcome::Bad))
}

fn text_of(finding: &Finding) -> String {
    let Finding {
        step,
        outcome,
        tried,
        came,
        change,
    } = finding;
    let sign = match outcome {
        Outcome::Good => "good   ",
        Outcome::Warning => "warning",
        Outcome::Bad => "BAD    ",
        Outcome::Skipped => "skipped",
    };
    let change = change.as_ref();
    let change = change.map_or_else(String::new, |change| format!("        to do: {change}\n"));
    format!("{sign} {step}: {tried}\n        came: {came}\n{change}")
}
