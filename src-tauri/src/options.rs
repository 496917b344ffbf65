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
    /// What the system hands over: a link such as warp://zone/ID, or a server's profile.
    #[arg(value_name = "LINK or FILE")]
    pub(crate) open: Option<String>,
}

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// The configuration file; `None`: there is none, and every key has its default.
    pub(crate) config: Option<PathBuf>,
    /// The configuration file that is written when something is chosen.
    pub(crate) write: PathBuf,
    /// That file is the launcher's own: none was named, and none lies beside the program.
    pub(crate) own: bool,
    /// Where the embedded server keeps its accounts.
    pub(crate) data: PathBuf,
}

impl Options {
    /// Fills in what was not said. `default_data` and `default_config` are the system's folders for
    /// this program's data and configuration.
    pub(crate) fn resolve(&self, default_data: &Path, default_config: &Path) -> Places {
        let beside = std::env::current_exe()
            .ok()
            .and_then(|program| beside(&program));
        let own = default_config.join(CONFIG_NAME);
        let own_if_there = own.is_file().then(|| own.clone());
        let given = self.config.clone().or(beside);
        let is_own = given.is_none();
        let config = given.or(own_if_there);
        Places {
            write: config.clone().unwrap_or(own),
            config,
            own: is_own,
            data: match &self.data {
                Some(data) => data.clone(),
                None => default_data.join(SERVER_DATA),
            },
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
        let folder = tempfile::tempdir().unwrap();
        let places = said.resolve("default".as_ref(), folder.path());
        assert_eq!(places.config, Some("missing.json".into()));
        assert_eq!(places.write, PathBuf::from("missing.json"));
        assert_eq!(places.data, PathBuf::from("d"));
        assert!(!places.own);
        let silent = Options::parse_from(["warp-launcher"]);
        let places = silent.resolve("default".as_ref(), folder.path());
        assert_eq!(places.data, PathBuf::from("default").join("server"));
    }

    #[test]
    fn what_was_chosen_in_the_window_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(CONFIG_NAME);
        let resolve = || {
            let silent = Options::parse_from(["warp-launcher"]);
            silent.resolve("default".as_ref(), folder.path())
        };
        assert_eq!((resolve().config, resolve().write), (None, own.clone()));
        assert!(resolve().own);
        std::fs::write(&own, "{}").unwrap();
        assert_eq!(
            (resolve().config, resolve().write),
            (Some(own.clone()), own)
        );
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
