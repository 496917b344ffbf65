//! The game's process: started, watched, ended.
//!
//! A game never outlives its launcher, also when that is killed, and nothing else ends it:
//! `warp-keeper` sees to that on Unix, a Job Object on Windows (`warp_platform::game`). Programs of the
//! launcher are looked for beside the running one, or in the folder that [`Games::new`] gets. Where
//! `warp-keeper` is missing, the game is started all the same, with a warning in the log.
//!
//! No password, and nothing else of the sign-in, is put on a command line: whoever may list the
//! machine's processes can read it there. The practice client gets its password on its standard
//! input, a Ragnarok client asks its player.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;
use warp_engine_core::config::GameSection;
use warp_platform::game::Process;
use warp_protocol::{Problem, ProblemCode};

use self::files::{Files, Lease};
use self::output::{ErrorOutput, LogFile};
use self::plan::Plan;

mod clientinfo;
mod files;
mod output;
mod plan;

pub use plan::check;

const KEEPER: &str = "warp-keeper";
const PRACTICE: &str = "warp-practice";

/// What Play starts: the configured program, else the practice client. `None`: nothing.
///
/// `programs`: folder of the launcher's own programs; `None`: beside the running one.
pub fn program(section: &GameSection, programs: Option<&Path>) -> Option<PathBuf> {
    if !section.executable.is_empty() {
        return Some(PathBuf::from(&section.executable));
    }
    section.practice.as_ref()?;
    Some(own(PRACTICE, programs))
}

fn own(name: &str, programs: Option<&Path>) -> PathBuf {
    let folder = match programs {
        Some(folder) => folder.to_path_buf(),
        None => std::env::current_exe()
            .ok()
            .and_then(|program| program.parent().map(Path::to_path_buf))
            .unwrap_or_default(),
    };
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Starts games. One per engine: games that run at the same time share the clientinfo file through
/// it, and the last one takes it away. Clones are the same.
#[derive(Clone)]
pub struct Games {
    programs: Option<PathBuf>,
    files: Files,
}

impl Games {
    /// `programs`: folder of `warp-keeper`; `None`: beside the running program.
    pub fn new(programs: Option<PathBuf>) -> Self {
        let files = Files::default();
        Self { programs, files }
    }

    /// Puts right what a launcher that crashed left in the game's folder. For the start of the
    /// engine; every start of a game does it too.
    pub async fn recover(&self, section: &GameSection) {
        let (files, section) = (self.files.clone(), section.clone());
        let recover = move || match &section.clientinfo {
            Some(clientinfo) if !section.executable.is_empty() => {
                files.recover(clientinfo, Path::new(&section.executable))
            }
            _ => Ok(()),
        };
        if let Ok(Err(problem)) = tokio::task::spawn_blocking(recover).await {
            tracing::info!(%problem, detail = ?problem.detail, "the game's folder stays as it is");
        }
    }

    /// Starts `program`, which [`program`] named, so that it finds the bridge at `login`.
    ///
    /// # Errors
    /// Those of [`check`]; [`ProblemCode::GameFiles`] when the clientinfo file cannot be put in its
    /// place; [`ProblemCode::GameNotStarted`] with the system's words for everything else.
    pub async fn start(
        &self,
        section: &GameSection,
        program: &Path,
        login: SocketAddr,
    ) -> Result<Game, Problem> {
        let prepare = {
            let (games, section, program) = (self.clone(), section.clone(), program.to_owned());
            move || games.prepare(&section, &program, login)
        };
        let prepared = tokio::task::spawn_blocking(prepare).await.map_err(|error| {
            Problem::new(ProblemCode::Internal, "game").with_detail(error.to_string())
        });
        let Prepared {
            plan,
            lease,
            log,
            keeper,
        } = prepared??;
        let mut process = Process::start(&plan.launch, keeper.as_deref())
            .await
            .map_err(|error| plan::not_started(&plan.subject, &error.0))?;
        Ok(Game {
            pid: process.pid(),
            program: program.display().to_string(),
            output: process.take_stderr().map(ErrorOutput::read),
            process,
            log,
            lease,
        })
    }

    fn prepare(
        &self,
        section: &GameSection,
        program: &Path,
        login: SocketAddr,
    ) -> Result<Prepared, Problem> {
        check(section, program)?;
        let keeper = Some(own(KEEPER, self.programs.as_deref())).filter(|keeper| keeper.is_file());
        let mut lease = None;
        let mut log = None;
        let plan = match &section.practice {
            Some(practice) if section.executable.is_empty() => {
                plan::practice(practice, program, login)
            }
            _ => {
                let clientinfo = section.clientinfo.as_ref();
                if let Some(clientinfo) = clientinfo {
                    lease = Some(self.files.lease(clientinfo, program, login)?);
                }
                let name = clientinfo.map_or("", |clientinfo| &clientinfo.file);
                let plan = plan::configured(section, program, login, name);
                if !section.log_file.is_empty() {
                    let folder = plan.launch.folder.as_deref().unwrap_or(Path::new(""));
                    log = Some(LogFile::before_start(folder.join(&section.log_file)));
                }
                plan
            }
        };
        Ok(Prepared {
            plan,
            lease,
            log,
            keeper,
        })
    }
}

struct Prepared {
    plan: Plan,
    lease: Option<Lease>,
    log: Option<LogFile>,
    keeper: Option<PathBuf>,
}

/// A game that runs. Dropped without [`Game::watch`], it is ended.
pub struct Game {
    /// Number of the process that was started; on Unix of its process group too.
    pub pid: u32,
    /// The game's path, as configured.
    pub program: String,
    process: Process,
    output: Option<ErrorOutput>,
    log: Option<LogFile>,
    /// Given back after the process has ended.
    lease: Option<Lease>,
}

/// How a game ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; `None`: a signal ended it, or it is not known.
    pub code: Option<i32>,
    /// Unix signal that ended it.
    pub signal: Option<i32>,
    /// Its end was asked for: no failure, whatever the code.
    pub asked: bool,
    /// The last that it said: up to 8 lines of its error output, up to 8 of its log file (with the
    /// file's name in front), each at most 400 bytes of its own, and a line when the keeper failed.
    pub last_lines: Vec<String>,
}

impl Ended {
    /// Exit code 0, or an end that was asked for.
    pub fn is_ok(&self) -> bool {
        self.asked || self.code == Some(0)
    }

    /// In words: `exit code 3`, `exit code 0xC0000005`, `ended by signal 11 (SIGSEGV)`.
    pub fn how(&self) -> String {
        match (self.code, self.signal) {
            // Windows' own failures, which are known by their hexadecimal form.
            (Some(code), _) if code < 0 => format!("exit code {code:#010X}").replace("0X", "0x"),
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => match warp_platform::signal_name(signal) {
                Some(name) => format!("ended by signal {signal} ({name})"),
                None => format!("ended by signal {signal}"),
            },
            (None, None) => "ended in an unknown way".into(),
        }
    }
}

impl Game {
    /// Waits until the game ends, or ends it when `stop` is cancelled: on Unix asked first and
    /// killed after 2 s, with all that it started and that stayed in its process group.
    pub async fn watch(self, stop: CancellationToken) -> Ended {
        let Self {
            mut process,
            output,
            log,
            lease,
            ..
        } = self;
        let exit = tokio::select! {
            exit = process.wait() => exit,
            () = stop.cancelled() => process.end().await,
        };
        // What is left of the group goes now, and with it who might hold the error output open.
        drop(process);
        let mut last_lines = match output {
            Some(output) => output.last().await,
            None => Vec::new(),
        };
        let after = tokio::task::spawn_blocking(move || {
            drop(lease);
            log.map_or_else(Vec::new, |log| log.last())
        });
        last_lines.extend(after.await.unwrap_or_default());
        last_lines.extend(exit.note.map(str::to_owned));
        Ended {
            code: exit.code,
            signal: exit.signal,
            asked: exit.asked,
            last_lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        let ended = |code, signal| Ended {
            code,
            signal,
            ..Ended::default()
        };
        assert_eq!(ended(Some(3), None).how(), "exit code 3");
        assert_eq!(ended(Some(-1073741819), None).how(), "exit code 0xC0000005");
        assert_eq!(ended(None, None).how(), "ended in an unknown way");
        #[cfg(unix)]
        assert_eq!(ended(None, Some(11)).how(), "ended by signal 11 (SIGSEGV)");
        assert!(ended(Some(0), None).is_ok() && !ended(Some(1), None).is_ok());
    }
}
