//! A launcher that a test can kill: `launcher PROGRAMS SECTION` starts the game of the JSON text
//! SECTION with the engine's own code, and lives until it is killed or the game has ended.
#![allow(clippy::print_stderr, clippy::expect_used)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;
use warp_engine::game::Games;
use warp_engine_core::config::GameSection;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let programs = arguments.next().map(PathBuf::from);
    let section = arguments.next().expect("a section");
    let section: GameSection = serde_json::from_str(&section).expect("a section");
    let login = SocketAddr::from(([127, 0, 0, 1], 6900));
    let program = Path::new(&section.executable);
    match Games::new(programs).start(&section, program, login).await {
        Ok(game) => {
            let ended = game.watch(CancellationToken::new()).await;
            eprintln!("{ended:?}");
        }
        Err(problem) => eprintln!("{problem:?}"),
    }
}
