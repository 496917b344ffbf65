//! Updates of the launcher.
//!
//! | module | does |
//! |---|---|
//! | `check` | asks the coordinator, and whether a package is what was announced |
//! | `fetch` | downloads a package, going on where an earlier try ended |
//! | `program` | replaces the program's own file while it runs |
//! | `store` | what is kept: this install's id, the last good version, the version on trial |
//! | `publish` | the operator's side: keys, signatures, the folder that the coordinator serves |
//!
//! What is believed: the key that the launcher was built with, and what that key signed. Neither the
//! coordinator nor the way to it is. A package is installed when its signature fits *and* the signed
//! note names the announced version, this launcher's channel and its platform, and the version is
//! newer than the one that runs.
//!
//! Installing is the window's part: Tauri's updater does it, and checks signature and signed
//! version once more.

mod check;
mod fetch;
mod program;
pub mod publish;
mod store;

pub use check::{Asker, Checked};
pub use program::{remove_replaced, replace_program};
pub use store::{Kept, MAX_FAILED_STARTS, Store, Trial};

use semver::Version;
use warp_protocol::{
    Problem, ProblemCode,
    update::{Bundle, Platform},
};

/// The platform of this program, packed as `bundle` says.
pub fn platform(bundle: Bundle) -> Platform {
    Platform {
        target: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        bundle,
    }
}

/// A version.
///
/// # Errors
/// `update-swapped`: it is not written as semantic versioning wants it.
pub fn version(text: &str) -> Result<Version, Problem> {
    text.parse().map_err(|error: semver::Error| {
        Problem::new(ProblemCode::UpdateSwapped, text).with_detail(error.to_string())
    })
}
