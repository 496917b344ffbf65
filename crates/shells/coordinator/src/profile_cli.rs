//! `warp-coordinator profile`: the file that tells a launcher which server it is for.

use std::{io::Write as _, path::PathBuf};

use clap::Args;
use warp_protocol::{
    ProblemCode,
    profile::{ClientInfoHints, GameHints, Profile},
};

use crate::{Failure, Place, configuration};

#[derive(Args)]
pub(crate) struct ProfileArgs {
    /// The server's name, as players read it.
    #[arg(long)]
    name: String,
    /// Where players reach this coordinator, such as `https://play.example/api/v1`.
    #[arg(long, value_name = "URL")]
    url: String,
    /// Where the server's news are, `https://...`.
    #[arg(long, value_name = "URL")]
    news: Option<String>,
    /// Colour of buttons and marks, `#rrggbb`.
    #[arg(long, value_name = "COLOUR")]
    accent: Option<String>,
    /// File name of the game's program.
    #[arg(long, value_name = "NAME")]
    executable: Option<String>,
    /// A folder where the game may be; may be given several times, best first.
    #[arg(long, value_name = "DIR")]
    game_folder: Vec<String>,
    /// What the game's program is started with; may be given several times. `{clientinfo}` becomes the
    /// name of the file that `--clientinfo` asks for, `{login}` the address to connect to.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    game_argument: Vec<String>,
    /// Have the launcher write a client information file with its own address beside the program.
    #[arg(long)]
    clientinfo: bool,
    /// `<version>` in that file.
    #[arg(long, value_name = "NUMBER", requires = "clientinfo")]
    clientinfo_version: Option<u32>,
    /// `<langtype>` in that file.
    #[arg(long, value_name = "NUMBER", requires = "clientinfo")]
    clientinfo_langtype: Option<u32>,
    /// Port of 127.0.0.1 at which the program looks for its login server, where that is built into it.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    login_port: Option<u16>,
    /// The file to write; without it, standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(arguments: ProfileArgs) -> Result<(), Failure> {
    let config = configuration(&arguments.place)?;
    let key = warp_coordinator::public_key(&config.data_dir)
        .map_err(|error| Failure::new(error.code(), error))?;
    let profile = Profile {
        name: arguments.name,
        rest_api_url: arguments.url.trim_end_matches('/').to_owned(),
        public_key: key,
        news_url: arguments.news,
        accent: arguments.accent,
        game: GameHints {
            executable: arguments.executable,
            folders: arguments.game_folder,
            arguments: arguments.game_argument,
            clientinfo: arguments.clientinfo.then_some(ClientInfoHints {
                version: arguments.clientinfo_version,
                langtype: arguments.clientinfo_langtype,
            }),
            login_port: arguments.login_port,
        },
    };
    profile
        .check()
        .map_err(|why| Failure::of_configuration(ProblemCode::ConfigValue, why))?;
    let text = warp_coordinator::sign_profile(&config.data_dir, &profile)
        .map_err(|error| Failure::new(error.code(), error))?;
    let written = match &arguments.out {
        Some(file) => std::fs::write(file, &text).map_err(|e| format!("{}: {e}", file.display())),
        None => std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|e| e.to_string()),
    };
    written.map_err(|why| Failure::new(ProblemCode::Internal, why))
}
