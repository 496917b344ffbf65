//! The keys of the coordinators that this launcher has met: `known_coordinators.json`, an object of
//! addresses and keys beside the configuration.
//!
//! A key is kept at the first meeting and asked for ever after. Keys are no secrets, so it is a plain
//! file, which a person may correct. One that cannot be read lets nobody in: it would be an easy way
//! to make the launcher forget.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use warp_protocol::identity::PublicKey;
use warp_protocol::{Problem, ProblemCode};

/// Longest file that is read, bytes: some hundreds of coordinators.
const MAX_FILE: u64 = 64 * 1024;

type Known = BTreeMap<String, PublicKey>;

/// Where keys are kept.
pub(crate) struct Pins {
    /// `None`: only in memory.
    file: Option<PathBuf>,
    /// What this engine has met, also where the file could not be written.
    met: Mutex<Known>,
}

impl Pins {
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            met: Mutex::default(),
        }
    }

    /// Where the key of a coordinator stands, for a person who has to change it.
    pub(crate) fn place(&self) -> String {
        match &self.file {
            Some(file) => file.display().to_string(),
            None => "the memory of this launcher".to_owned(),
        }
    }

    /// The key that the coordinator at `url` had when it was met first.
    ///
    /// # Errors
    /// `config-unreadable`: the file is there and cannot be understood.
    pub(crate) fn of(&self, url: &str) -> Result<Option<PublicKey>, Problem> {
        if let Some(file) = &self.file
            && let Some(key) = read(file)?.get(url)
        {
            return Ok(Some(*key));
        }
        Ok(self.met.lock().get(url).copied())
    }

    /// Keeps the key of a coordinator that is met for the first time.
    ///
    /// # Errors
    /// `config-unreadable`: the file is there and cannot be understood.
    pub(crate) fn keep(&self, url: &str, key: PublicKey) -> Result<(), Problem> {
        self.met.lock().insert(url.to_owned(), key);
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut known = read(file)?;
        known.insert(url.to_owned(), key);
        if let Err(error) = write(file, &known) {
            // It counts as long as this launcher runs, and is kept the next time.
            tracing::warn!(file = %file.display(), %error, "the coordinator's key could not be kept");
        }
        Ok(())
    }
}

fn read(file: &Path) -> Result<Known, Problem> {
    let unreadable = |why: String| {
        Problem::new(ProblemCode::ConfigUnreadable, file.display().to_string()).with_detail(why)
    };
    let mut text = String::new();
    match std::fs::File::open(file) {
        Ok(open) => {
            let read = open.take(MAX_FILE).read_to_string(&mut text);
            read.map_err(|error| unreadable(error.to_string()))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Known::new()),
        Err(error) => return Err(unreadable(error.to_string())),
    }
    serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))
}

/// Written beside and moved into place, so that no half file is ever read.
fn write(file: &Path, known: &Known) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(known).map_err(std::io::Error::other)?;
    let fresh = file.with_extension(format!("new{}", std::process::id()));
    std::fs::write(&fresh, text)?;
    std::fs::rename(&fresh, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://play.example/api/v1";

    fn key(number: u8) -> PublicKey {
        PublicKey::from_raw([number; 32])
    }

    #[test]
    fn a_key_is_kept_for_its_address_and_found_by_the_next_launcher() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_coordinators.json");
        let pins = Pins::new(Some(file.clone()));
        assert_eq!(pins.of(URL).unwrap(), None);
        pins.keep(URL, key(1)).unwrap();
        pins.keep("http://other", key(2)).unwrap();
        let next = Pins::new(Some(file.clone()));
        assert_eq!(next.of(URL).unwrap(), Some(key(1)));
        assert_eq!(next.of("http://other").unwrap(), Some(key(2)));
        assert_eq!(next.of("http://third").unwrap(), None);
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1, "nothing is left behind");
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_no_new_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_coordinators.json");
        for text in ["", "[]", r#"{"https://play.example/api/v1": "00"}"#] {
            std::fs::write(&file, text).unwrap();
            let pins = Pins::new(Some(file.clone()));
            let refused = pins.of(URL).unwrap_err();
            assert_eq!(refused.code, ProblemCode::ConfigUnreadable, "{text}");
            assert!(pins.keep(URL, key(1)).is_err());
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
    }

    #[test]
    fn without_a_file_a_key_counts_while_the_launcher_runs() {
        let pins = Pins::new(None);
        pins.keep(URL, key(1)).unwrap();
        assert_eq!(pins.of(URL).unwrap(), Some(key(1)));
    }
}
