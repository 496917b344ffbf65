//! `log` in the configuration.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// How many days' files are kept by default.
const DEFAULT_KEEP: usize = 14;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How `warp-coordinator serve` logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Where lines go; none: standard error. A new file begins each day (UTC), and the day is added to
    /// this name.
    pub file: Option<PathBuf>,
    /// How many days' files are kept.
    pub keep: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            file: None,
            keep: DEFAULT_KEEP,
        }
    }
}

/// `log` in the file.
#[derive(Default, Deserialize)]
pub(crate) struct LogPart {
    #[serde(default)]
    format: LogFormat,
    file: Option<PathBuf>,
    keep: Option<usize>,
}

impl LogPart {
    /// `base` is what relative paths are relative to.
    ///
    /// # Errors
    /// The path of what is wrong, and what is allowed.
    pub(crate) fn checked(self, base: &Path) -> Result<LogConfig, (&'static str, String)> {
        let keep = self.keep.unwrap_or(DEFAULT_KEEP);
        if !(1..=365).contains(&keep) {
            return Err(("log.keep", "allowed are 1 to 365".to_owned()));
        }
        // Old files are found by their beginning, which must not be that of a file of another kind.
        let named = |file: &PathBuf| {
            let name = file.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.len() > 4 && name.ends_with(".log"))
        };
        if self.file.as_ref().is_some_and(|file| !named(file)) {
            let allowed = "allowed is the path of a file whose name ends with .log";
            return Err(("log.file", allowed.to_owned()));
        }
        Ok(LogConfig {
            format: self.format,
            file: self.file.map(|file| base.join(file)),
            keep,
        })
    }
}
