//! The launcher's log: where it is kept, and from which level on.

use std::path::Path;
use std::sync::Arc;

use warp_engine_core::config::LogLevel;
use warp_observe::{LogFile, Observe, ObserveConfig, Recent};

use crate::{options::Places, settings};

/// Days of which the log is kept.
const DAYS_KEPT: usize = 3;

/// The running log.
#[derive(Clone, Default)]
pub(crate) struct Logs {
    /// None: nothing is logged.
    observe: Option<Arc<Observe>>,
}

impl Logs {
    /// Logs as the configuration says; where it says nothing that can be read, as it does by default.
    /// Also to files in `folder`: who starts the program with a click has no terminal, and who has no
    /// page has nothing else.
    pub(crate) fn start(places: &Places, folder: &Path) -> Self {
        let config = |file| ObserveConfig {
            default_filter: level(places).name().into(),
            file,
            ..ObserveConfig::default()
        };
        // Names and addresses are in it. Where this fails, writing the log says why.
        let mut private = std::fs::DirBuilder::new();
        let _ = warp_platform::make_private_folder(private.recursive(true)).create(folder);
        let file = LogFile {
            path: folder.join("launcher.log"),
            keep: DAYS_KEPT,
        };
        let observe = warp_observe::init(config(Some(file))).or_else(|error| {
            let observe = warp_observe::init(config(None));
            tracing::warn!(%error, "the log is not written to a file");
            observe
        });
        let observe = observe.inspect_err(|error| {
            eprintln!("warp-launcher: nothing will be logged: {error}");
        });
        Self {
            observe: observe.ok().map(Arc::new),
        }
    }

    /// Goes by the configuration as it is now.
    pub(crate) fn follow(&self, places: &Places) {
        let Some(observe) = &self.observe else {
            return;
        };
        if let Err(error) = observe.set_default_filter(level(places).name()) {
            tracing::warn!(%error, "the level of the log");
        }
    }

    /// The last lines.
    pub(crate) fn recent(&self) -> Recent {
        let observe = self.observe.as_ref();
        observe.map_or_else(Recent::default, |observe| observe.recent().clone())
    }

    /// What switches debug logging, as `/p2p debug` asks.
    pub(crate) fn debug_switch(&self) -> Box<dyn Fn(bool) + Send> {
        let observe = self.observe.clone();
        Box::new(move |on| {
            if let Some(observe) = &observe {
                observe.set_debug(on);
            }
        })
    }
}

/// One line for each change of state at least: the log is looked at when something went wrong, and then
/// it must have been kept.
fn level(places: &Places) -> LogLevel {
    let settings = settings::load(places.config.as_deref()).unwrap_or_default();
    match settings.config.logging.level {
        LogLevel::Error | LogLevel::Warn => LogLevel::Info,
        level => level,
    }
}
