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

impl Places {
    /// The file that settings are written to: the one in use, or one of this person's own.
    pub(crate) fn settings(&self) -> PathBuf {
        match &self.config {
            Some(file) => file.clone(),
            None => {
                let folder = self.data.parent().unwrap_or(&self.data);
                folder.join(CONFIG_NAME)
            }
        }
    }

    /// The same with the person's own file where there is no other and that one is there.
    pub(crate) fn as_they_are(&self) -> Self {
        let own = Some(self.settings()).filter(|file| file.is_file());
        Self {
            config: self.config.clone().or(own),
            data: self.data.clone(),
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
    fn settings_go_to_the_file_in_use_or_to_one_of_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let silent = Places {
            config: None,
            data: folder.path().join("server"),
        };
        assert_eq!(silent.as_they_are().config, None);
        let own = folder.path().join(CONFIG_NAME);
        assert_eq!(silent.settings(), own);
        std::fs::write(&own, "{}").unwrap();
        assert_eq!(silent.as_they_are().config, Some(own));
        let said = Places {
            config: Some("said.json".into()),
            ..silent
        };
        assert_eq!(said.settings(), PathBuf::from("said.json"));
        assert_eq!(said.as_they_are(), said);
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
