//! Configuration and logging.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use warp_engine::{EngineOptions, KNOWN_COORDINATORS};
use warp_engine_core::config::{Config, parse};
use warp_observe::{Observe, ObserveConfig};
use warp_protocol::{Problem, ProblemCode};

/// Exit code for what cannot be used.
pub(crate) const USAGE: u8 = 2;

/// Reads the configuration and tells its warnings.
pub(crate) fn load(path: &Path) -> Result<Config, Problem> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problem::new(ProblemCode::ConfigUnreadable, &name).with_detail(error.to_string())
    })?;
    let mut loaded = parse(&name, &text)?;
    if let Some(folder) = path.parent() {
        loaded.config.relative_to(folder);
    }
    for warning in loaded.warnings {
        eprintln!("{name}: {warning}");
    }
    Ok(loaded.config)
}

/// Where the keys of coordinators are kept, beside the configuration in `folder`.
pub(crate) fn known_coordinators(folder: Option<&Path>) -> Option<PathBuf> {
    folder.map(|folder| folder.join(KNOWN_COORDINATORS))
}

/// Engine options whose debug switch is the log filter. Keys of coordinators are kept in `folder`.
pub(crate) fn options(config: Config, folder: Option<&Path>) -> Result<EngineOptions, Problem> {
    let observe = warp_observe::init(ObserveConfig {
        default_filter: config.logging.level.name().to_owned(),
        ..ObserveConfig::default()
    })
    .map_err(|error| {
        Problem::new(ProblemCode::ConfigValue, warp_observe::FILTER_VARIABLE)
            .with_detail(error.to_string())
    })?;
    let observe: Arc<Observe> = Arc::new(observe);
    let mut options = EngineOptions::new(config);
    options.keeping.known_coordinators = known_coordinators(folder);
    options.set_debug = Box::new(move |on| {
        observe.set_debug(on);
    });
    Ok(options)
}
