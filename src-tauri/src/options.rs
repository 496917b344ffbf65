//! The command line, and which files are meant.

use std::path::{Path, PathBuf};

/// Name of the configuration file that lies beside the program.
pub(crate) const CONFIG_NAME: &str = "p2p_config.json";

/// Folder of the embedded server, beside what the web view keeps.
const SERVER_DATA: &str = "server";

/// Sign in, choose a zone, play: the launcher's window.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Parser)]
#[command(name = "warp-launcher", version)]
pub(crate) struct Options {
    /// Configuration file; without it p2p_config.json beside this program, if there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for what the embedded server keeps; without it the system's folder for such data.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// The configuration file; `None`: there is none, and every key has its default.
    pub(crate) config: Option<PathBuf>,
    /// Where the embedded server keeps its accounts.
    pub(crate) data: PathBuf,
}

impl Options {
    /// Fills in what was not said. `default_data` is the system's folder for this program's data.
    pub(crate) fn resolve(self, default_data: PathBuf) -> Places {
        let beside = std::env::current_exe()
            .ok()
            .and_then(|program| beside(&program));
        Places {
            config: self.config.or(beside),
            data: self.data.unwrap_or_else(|| default_data.join(SERVER_DATA)),
        }
    }
}

/// The configuration file beside `program`, if there is one.
fn beside(program: &Path) -> Option<PathBuf> {
    let file = program.parent()?.join(CONFIG_NAME);
    file.is_file().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn what_was_said_wins_even_if_it_is_not_there() {
        let said =
            Options::parse_from(["warp-launcher", "--config", "missing.json", "--data", "d"]);
        let places = said.resolve("default".into());
        assert_eq!(places.config, Some("missing.json".into()));
        assert_eq!(places.data, PathBuf::from("d"));
        let silent = Options::parse_from(["warp-launcher"]).resolve("default".into());
        assert_eq!(silent.data, PathBuf::from("default").join("server"));
    }

    #[test]
    fn without_a_word_it_is_the_file_beside_the_program_if_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("warp-launcher");
        assert_eq!(beside(&program), None);
        let file = folder.path().join(CONFIG_NAME);
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(beside(&program), Some(file));
    }
}
