//! The game clients that were started here, each with a stop of its own.
//!
//! They are started one after the other, in the order they were asked for, because some need a file
//! beside the game to be written first. Their ends matter also after Stop, so their outcomes belong
//! to no play.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use warp_engine_core::config::GameSection;
use warp_engine_core::machine::Outcome;

use crate::game::{self, Games};
use crate::outbox::Outbox;

/// Starts that may wait; more than `game.max_instances` can be.
const WAITING: usize = 64;

/// One that is to be started.
struct Start {
    game: u64,
    slot: u32,
    login: SocketAddr,
    stop: CancellationToken,
}

/// At most `game.max_instances`, which the machine sees to.
pub(crate) struct Instances {
    starts: mpsc::Sender<Start>,
    stops: BTreeMap<u64, CancellationToken>,
}

impl Instances {
    /// Starts the task that starts games. It ends with the last reference to its queue.
    pub(crate) fn new(section: GameSection, programs: Option<PathBuf>, outbox: Outbox) -> Self {
        let (starts, mut queue) = mpsc::channel::<Start>(WAITING);
        tokio::spawn(async move {
            let games = Games::new(programs.clone());
            games.recover(&section).await;
            while let Some(start) = queue.recv().await {
                launch(&games, &section, programs.as_deref(), &outbox, start).await;
            }
        });
        Self {
            starts,
            stops: BTreeMap::new(),
        }
    }

    pub(crate) fn start(&mut self, game: u64, slot: u32, login: SocketAddr) {
        let stop = CancellationToken::new();
        self.stops.insert(game, stop.clone());
        let start = Start {
            game,
            slot,
            login,
            stop,
        };
        if self.starts.try_send(start).is_err() {
            tracing::error!(game, "too many games wait to be started");
        }
    }

    /// Ends one. Others are not touched.
    pub(crate) fn stop(&self, game: u64) {
        if let Some(stop) = self.stops.get(&game) {
            stop.cancel();
        }
    }

    /// One is gone.
    pub(crate) fn forget(&mut self, game: u64) {
        self.stops.remove(&game);
    }
}

/// Starts one game, and leaves it to a task that watches it.
async fn launch(
    games: &Games,
    section: &GameSection,
    programs: Option<&Path>,
    outbox: &Outbox,
    start: Start,
) {
    let Start {
        game,
        slot,
        login,
        stop,
    } = start;
    let section = section.for_slot(slot);
    let program = game::program(&section, programs).filter(|_| !stop.is_cancelled());
    let Some(program) = program else {
        return outbox.send(Outcome::NoGame { game }).await;
    };
    match games.start(&section, &program, login).await {
        Ok(process) => {
            let (pid, program) = (process.pid, process.program.clone());
            outbox
                .send(Outcome::GameStarted { game, pid, program })
                .await;
            let outbox = outbox.clone();
            tokio::spawn(async move {
                let ended = process.watch(stop).await;
                let exited = Outcome::GameExited {
                    game,
                    code: ended.code,
                    ok: ended.is_ok(),
                    how: ended.how(),
                    last_lines: ended.last_lines,
                };
                outbox.send(exited).await;
            });
        }
        Err(problem) => outbox.send(Outcome::GameFailed { game, problem }).await,
    }
}
