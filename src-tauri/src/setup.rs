//! What a person chooses before playing: the server, and where the game is.

use serde::Deserialize;
use tauri::{AppHandle, Manager as _, Runtime};
use tauri_plugin_dialog::DialogExt as _;
use tokio::sync::oneshot;
use warp_protocol::Problem;

use crate::{
    house::House,
    profile::{self, Applied, EXTENSION},
};

/// What was chosen.
#[derive(Debug, Deserialize)]
#[serde(tag = "choose", rename_all = "kebab-case")]
pub(crate) enum Choice {
    /// A profile, in a dialog of the system.
    Profile,
    /// The address of a server, as it was typed.
    Address { url: String },
    /// The game's program, in a dialog of the system.
    Game,
}

/// What came of it.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Chosen {
    /// False: the person thought otherwise, and nothing was changed.
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Applied>,
}

/// Takes a choice. After one that changed something the engine has ended, and the page starts it anew.
#[tauri::command]
pub(crate) async fn profile<R: Runtime>(
    app: AppHandle<R>,
    choice: Choice,
) -> Result<Chosen, Problem> {
    let house = app.state::<House>();
    let changed = Chosen {
        changed: true,
        profile: None,
    };
    match choice {
        Choice::Profile => {
            let Some(file) = pick(&app, Some(EXTENSION)).await else {
                return Ok(Chosen::default());
            };
            Ok(Chosen {
                profile: Some(house.open_profile(&file).await?),
                ..changed
            })
        }
        Choice::Address { url } => {
            profile::apply_address(&url, &house.places().write)?;
            house.configured().await;
            Ok(changed)
        }
        Choice::Game => {
            let Some(file) = pick(&app, None).await else {
                return Ok(Chosen::default());
            };
            profile::apply_game(&file, &house.places().write)?;
            house.configured().await;
            Ok(changed)
        }
    }
}

async fn pick<R: Runtime>(
    app: &AppHandle<R>,
    extension: Option<&str>,
) -> Option<std::path::PathBuf> {
    let (answer, answered) = oneshot::channel();
    let mut dialog = app.dialog().file();
    if let Some(extension) = extension {
        dialog = dialog.add_filter(app.package_info().name.clone(), &[extension]);
    }
    dialog.pick_file(move |file| {
        // Nobody waits any more when the program ends meanwhile.
        let _ = answer.send(file);
    });
    answered.await.ok()??.into_path().ok()
}
