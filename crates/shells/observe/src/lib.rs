//! Set-up of logging, once per process.
//!
//! * Lines go to standard error, so that standard output stays free for what a program answers; or to a
//!   file of the day ([`LogFile`]), of which the oldest go. A file is written at once and by whoever
//!   logs: a line that was logged is there after a crash.
//! * The filter is the environment variable `WARP_LOG` where it is set, otherwise the caller's
//!   default. Its syntax is that of `tracing_subscriber::EnvFilter`: `info,warp_link=trace`.
//! * [`Observe::set_default_filter`] exchanges that default at run time.
//! * [`Observe::set_debug`] raises our own crates (all targets that begin with `warp`) to `debug`
//!   at run time and takes them back; what is already finer stays as it is.
//! * The last lines are kept in memory too ([`Observe::recent`]), where what looks like a secret is
//!   taken out.
//! * Nothing else is redacted here: secrets have a type of their own that prints as `[secret]`.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, registry::LookupSpan, reload,
    util::SubscriberInitExt,
};

mod recent;

pub use recent::{LogLine, MAX_LINE, MAX_LINES, Recent, without_secrets};

/// Environment variable with the filter.
pub const FILTER_VARIABLE: &str = "WARP_LOG";

/// Filter that most of our programs start with.
pub const DEFAULT_FILTER: &str = "info";

/// What debug logging adds to the filter: all crates of ours, none of other people's.
const DEBUG_DIRECTIVE: &str = "warp=debug";

/// How to log.
#[derive(Debug, Clone)]
pub struct ObserveConfig {
    /// Filter where `WARP_LOG` is not set.
    pub default_filter: String,
    /// One JSON object per line instead of text.
    pub json: bool,
    /// Write to standard error. False: nothing is written, for a program whose standard error
    /// nobody can see.
    pub stderr: bool,
    /// Write here too.
    pub file: Option<LogFile>,
}

/// Files with the lines of one day (UTC) each: `coordinator.log.2026-01-31` for `coordinator.log`.
#[derive(Debug, Clone)]
pub struct LogFile {
    /// Directory and name without the day.
    pub path: PathBuf,
    /// How many are kept, that of today included.
    pub keep: usize,
}

impl Default for ObserveConfig {
    fn default() -> Self {
        Self {
            default_filter: DEFAULT_FILTER.to_owned(),
            json: false,
            stderr: true,
            file: None,
        }
    }
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The filter is not well formed.
    #[error(
        "log filter {filter:?} is not understood: {why}; write for instance `info` or `info,warp_link=trace`"
    )]
    Filter {
        /// The filter as it was given, by `WARP_LOG` or by the caller.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// The log file cannot be written.
    #[error("log file {path}: {why}")]
    File {
        /// Its path, without the day.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The process logs already.
    #[error("logging is already set up in this process; set it up once, in main")]
    Twice,
}

/// Hold on the running set-up.
#[derive(Debug)]
pub struct Observe {
    handle: reload::Handle<EnvFilter, Registry>,
    /// `WARP_LOG` is set: the caller's default does not count.
    by_variable: bool,
    filter: Mutex<Filter>,
    recent: Recent,
}

/// What is let through.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Filter {
    base: String,
    debug: bool,
}

impl Filter {
    fn text(&self) -> String {
        match self.debug {
            true => format!("{},{DEBUG_DIRECTIVE}", self.base),
            false => self.base.clone(),
        }
    }
}

/// Sets up logging for the whole process.
///
/// # Errors
/// A filter that is not well formed, a file that cannot be written, or a second call in one process.
pub fn init(config: ObserveConfig) -> Result<Observe, ObserveError> {
    let variable = std::env::var(FILTER_VARIABLE).ok();
    let variable = variable.filter(|filter| !filter.trim().is_empty());
    let by_variable = variable.is_some();
    let base = variable.unwrap_or(config.default_filter);
    let (filter, handle) = reload::Layer::new(parse(&base)?);
    let json = config.json;
    let file = match &config.file {
        Some(file) => Some(to_file(file, json)?),
        None => None,
    };
    let stderr = config.stderr.then(|| to_stderr(json));
    let recent = Recent::default();
    // The filter lies directly on the registry, so that its handle has a type that can be named.
    tracing_subscriber::registry()
        .with(filter)
        .with(recent.clone())
        .with(file)
        .with(stderr)
        .try_init()
        .map_err(|_| ObserveError::Twice)?;
    Ok(Observe {
        handle,
        by_variable,
        filter: Mutex::new(Filter { base, debug: false }),
        recent,
    })
}

impl Observe {
    /// Switches debug logging of our own crates on or off. Gives the state that is now in force:
    /// the old one if the filter could not be exchanged.
    pub fn set_debug(&self, on: bool) -> bool {
        if let Err(error) = self.exchange(|filter| filter.debug = on) {
            tracing::warn!(%error, "debug logging");
        }
        self.debug()
    }

    /// Logs by this filter from now on; debug logging stays as it is. `WARP_LOG` wins where it is set.
    ///
    /// # Errors
    /// A filter that is not well formed; the old one stays.
    pub fn set_default_filter(&self, filter: &str) -> Result<(), ObserveError> {
        if self.by_variable {
            return Ok(());
        }
        self.exchange(|now| filter.clone_into(&mut now.base))
    }

    fn exchange(&self, change: impl FnOnce(&mut Filter)) -> Result<(), ObserveError> {
        let mut now = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = now.clone();
        change(&mut new);
        let text = new.text();
        // It fails only where nothing logs any more.
        let exchanged = self.handle.reload(parse(&text)?);
        exchanged.map_err(|error| ObserveError::Filter {
            filter: text,
            why: error.to_string(),
        })?;
        *now = new;
        Ok(())
    }

    /// The last lines of the log.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// True while debug logging is switched on.
    pub fn debug(&self) -> bool {
        let filter = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        filter.debug
    }
}

fn parse(filter: &str) -> Result<EnvFilter, ObserveError> {
    EnvFilter::try_new(filter).map_err(|e| ObserveError::Filter {
        filter: filter.to_owned(),
        why: e.to_string(),
    })
}

type Lines<S> = Box<dyn Layer<S> + Send + Sync>;

fn to_stderr<S>(json: bool) -> Lines<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if json {
        layer.json().boxed()
    } else {
        let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
        layer.with_ansi(colour).boxed()
    }
}

fn to_file<S>(file: &LogFile, json: bool) -> Result<Lines<S>, ObserveError>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let refused = |why: String| ObserveError::File {
        path: file.path.clone(),
        why,
    };
    let name = file.path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| refused("it has no name".to_owned()))?;
    let directory = file.path.parent().unwrap_or(Path::new(""));
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    // It would make the directory itself, and complain on standard error that it was not there.
    std::fs::create_dir_all(directory).map_err(|error| refused(error.to_string()))?;
    let files = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(name)
        .max_log_files(file.keep.max(1))
        .build(directory)
        .map_err(|error| refused(error.to_string()))?;
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(files)
        .with_ansi(false);
    Ok(if json {
        layer.json().boxed()
    } else {
        layer.boxed()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test, because a process can be set up only once.
    #[test]
    fn filters_switch_at_run_time_and_wrong_ones_are_refused() {
        let wrong = init(ObserveConfig {
            default_filter: "info,warp=loudest".to_owned(),
            ..ObserveConfig::default()
        });
        assert!(matches!(wrong, Err(ObserveError::Filter { .. })));

        let observe = init(ObserveConfig {
            default_filter: "warn,warp_fine=trace".to_owned(),
            json: false,
            stderr: false,
            file: None,
        })
        .unwrap();
        let ours = || tracing::enabled!(target: "warp_link::x", tracing::Level::DEBUG);
        let theirs = || tracing::enabled!(target: "hyper", tracing::Level::DEBUG);
        let finer = || tracing::enabled!(target: "warp_fine", tracing::Level::TRACE);
        assert!(!ours() && !theirs() && finer());

        assert!(observe.set_debug(true));
        assert!(ours() && !theirs() && finer());

        assert!(!observe.set_debug(false));
        assert!(!ours() && !theirs() && finer());
        assert!(!observe.debug());

        observe.set_debug(true);
        observe.set_default_filter("error").unwrap();
        assert!(ours() && !theirs() && !finer());
        observe.set_default_filter("loudest=x").unwrap_err();
        observe.set_debug(false);
        assert!(!ours() && !tracing::enabled!(tracing::Level::WARN));
        observe.set_default_filter("debug").unwrap();
        assert!(ours() && theirs());

        assert!(matches!(
            init(ObserveConfig::default()),
            Err(ObserveError::Twice)
        ));
    }
}
