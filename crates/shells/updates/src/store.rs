//! What an install keeps about its updates, in a folder of its own:
//!
//! ```text
//! state.json    [`State`]
//! kept/         the last version that started well: its package, or the program itself
//! parts/        packages that are arriving
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use warp_protocol::{Problem, ProblemCode, update::Offer};

/// Starts that a new version may fail before the one before is offered.
pub const MAX_FAILED_STARTS: u32 = 2;

/// The last good version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its version.
    pub version: String,
    /// Its file in `kept/`.
    pub file: String,
    /// What was announced of it, where it is a package; `None`: it is the program itself.
    pub offer: Option<Offer>,
}

/// A version that was installed and has not shown a page yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Its version.
    pub version: String,
    /// How often it was started.
    pub starts: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct State {
    install: String,
    kept: Option<Kept>,
    trial: Option<Trial>,
    /// A version that was gone back from: it is not offered again.
    refused: Option<String>,
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// In `folder`, which is made when something is written.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where packages arrive.
    pub fn parts(&self) -> PathBuf {
        self.folder.join("parts")
    }

    /// Random id of this install, made at the first call.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn install(&self) -> Result<String, Problem> {
        let mut state = self.state();
        if state.install.is_empty() {
            let mut id = [0; 16];
            SystemRandom::new()
                .fill(&mut id)
                .map_err(|_| Problem::new(ProblemCode::Internal, "random numbers"))?;
            state.install = hex::encode(id);
            self.write(&state)?;
        }
        Ok(state.install)
    }

    /// The last good version, if one is kept.
    pub fn kept(&self) -> Option<Kept> {
        self.state().kept
    }

    /// The version on trial.
    pub fn trial(&self) -> Option<Trial> {
        self.state().trial
    }

    /// The version that was gone back from.
    pub fn refused(&self) -> Option<String> {
        self.state().refused
    }

    /// The kept version's file.
    pub fn kept_file(&self, kept: &Kept) -> PathBuf {
        self.folder.join("kept").join(&kept.file)
    }

    /// Keeps `bytes` as the last good version, in the place of what was kept before.
    ///
    /// # Errors
    /// The folder cannot be written to; what was kept before is there still.
    pub fn keep(&self, version: &str, bytes: &[u8], offer: Option<Offer>) -> Result<(), Problem> {
        let kept = Kept {
            version: version.to_owned(),
            file: format!("{version}.bin"),
            offer,
        };
        let file = self.kept_file(&kept);
        let folder = self.folder.join("kept");
        let written = fs::create_dir_all(&folder).and_then(|()| replace(&file, bytes));
        written.map_err(|error| no_file(&file, &error))?;
        let mut state = self.state();
        let before = state.kept.replace(kept);
        self.write(&state)?;
        // Only now: a state that names a missing file would be worse than a file too many.
        if let Some(before) = before.filter(|before| before.version != version) {
            let _ = fs::remove_file(self.kept_file(&before));
        }
        Ok(())
    }

    /// `version` is being installed.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn begin_trial(&self, version: &str) -> Result<(), Problem> {
        let mut state = self.state();
        state.trial = Some(Trial {
            version: version.to_owned(),
            starts: 0,
        });
        self.write(&state)
    }

    /// `version` was started. True: it has failed so often that the one before is to be offered.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn started(&self, version: &str) -> Result<bool, Problem> {
        let mut state = self.state();
        let Some(trial) = &mut state.trial else {
            return Ok(false);
        };
        if trial.version != version {
            // Another version was put in its place by hand.
            state.trial = None;
            self.write(&state)?;
            return Ok(false);
        }
        let failed = trial.starts >= MAX_FAILED_STARTS;
        trial.starts = trial.starts.saturating_add(1);
        self.write(&state)?;
        Ok(failed)
    }

    /// `version` showed its page: the trial is over.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn passed(&self, version: &str) -> Result<(), Problem> {
        let mut state = self.state();
        if state
            .trial
            .as_ref()
            .is_none_or(|trial| trial.version != version)
        {
            return Ok(());
        }
        state.trial = None;
        self.write(&state)
    }

    /// The kept version was put back: `version` is not offered again.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn went_back(&self, version: &str) -> Result<(), Problem> {
        let mut state = self.state();
        state.trial = None;
        state.refused = Some(version.to_owned());
        self.write(&state)
    }

    /// What cannot be read is as if there were nothing: an update must not fail for it.
    fn state(&self) -> State {
        let text = fs::read_to_string(self.folder.join("state.json"));
        let state = text.ok().and_then(|text| serde_json::from_str(&text).ok());
        state.unwrap_or_default()
    }

    fn write(&self, state: &State) -> Result<(), Problem> {
        let file = self.folder.join("state.json");
        let text = serde_json::to_vec_pretty(state)
            .map_err(|error| Problem::new(ProblemCode::Internal, error.to_string()))?;
        fs::create_dir_all(&self.folder)
            .and_then(|()| replace(&file, &text))
            .map_err(|error| no_file(&file, &error))
    }
}

/// Writes beside, then renames: half a file is never there.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    fs::write(&new, bytes)?;
    fs::rename(&new, file)
}

fn no_file(file: &Path, error: &io::Error) -> Problem {
    Problem::new(ProblemCode::UpdateNotInstalled, file.display().to_string())
        .with_detail(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_fails_its_first_start_twice_is_told_of_at_the_third() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("updates"));
        assert!(!store.started("0.1.0").unwrap(), "nothing is on trial");
        store.begin_trial("0.2.0").unwrap();
        assert!(!store.started("0.2.0").unwrap());
        assert!(!store.started("0.2.0").unwrap());
        assert!(store.started("0.2.0").unwrap());
        store.passed("0.2.0").unwrap();
        assert!(!store.started("0.2.0").unwrap(), "it showed its page");
    }

    #[test]
    fn another_version_ends_a_trial() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        store.begin_trial("0.2.0").unwrap();
        assert!(!store.started("0.1.0").unwrap());
        assert_eq!(store.trial(), None);
    }

    #[test]
    fn one_version_is_kept_and_the_id_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let install = store.install().unwrap();
        assert_eq!(install.len(), 32);
        store.keep("0.1.0", b"one", None).unwrap();
        store.keep("0.2.0", b"two", None).unwrap();
        let kept = store.kept().unwrap();
        assert_eq!(kept.version, "0.2.0");
        assert_eq!(fs::read(store.kept_file(&kept)).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path().join("kept")).unwrap().count(), 1);
        assert_eq!(store.install().unwrap(), install);
    }

    #[test]
    fn a_state_that_cannot_be_read_is_no_state() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        fs::write(folder.path().join("state.json"), "{").unwrap();
        assert_eq!(store.kept(), None);
        store.begin_trial("0.2.0").unwrap();
        assert_eq!(store.trial().unwrap().starts, 0);
    }
}
