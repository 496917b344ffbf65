//! What this work tree holds: where it lies, its packages and targets, its build directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The work tree, read from `cargo metadata`.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target_dir: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<Target>,
    /// `[package.metadata]`.
    #[serde(default)]
    pub(crate) metadata: serde_json::Value,
}

/// A library, program or integration test of a package.
#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

impl Package {
    /// The names of its programs, sorted.
    pub(crate) fn programs(&self) -> Vec<&str> {
        let programs = self.targets.iter().filter(|target| target.is("bin"));
        let mut names: Vec<&str> = programs.map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

impl Target {
    fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|own| own == kind)
    }
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

impl Workspace {
    /// Reads the work tree that this xtask belongs to.
    pub(crate) fn find() -> Result<Self> {
        // The variable at run time comes first: several clones may share one build directory.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        Self::read(manifest.parent().unwrap_or(&manifest))
    }

    /// Reads the work tree whose root manifest lies in `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let text = crate::exec::capture(program_in(root, "cargo").args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
        ]))?;
        let metadata: Metadata =
            serde_json::from_str(&text).context("cannot read the answer of `cargo metadata`")?;
        Ok(Self {
            root: metadata.workspace_root,
            target_dir: metadata.target_directory,
            packages: metadata.packages,
        })
    }

    /// The version that the packages share.
    pub(crate) fn version(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.root.join("Cargo.toml"))?;
        let section = text.split("[workspace.package]").nth(1).unwrap_or_default();
        let line = section
            .lines()
            .find_map(|line| line.strip_prefix("version = "));
        let version = line.map(|version| version.trim_matches('"').to_owned());
        version.context("Cargo.toml has no workspace.package.version")
    }

    /// Cargo, started in the root of the work tree.
    pub(crate) fn cargo(&self) -> Command {
        self.program("cargo")
    }

    /// A program that is cargo, or calls it, started in the root of the work tree.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        program_in(&self.root, program)
    }

    /// The names of all integration tests, sorted, each once.
    pub(crate) fn integration_tests(&self) -> Vec<&str> {
        let mut names: Vec<&str> = (self.packages.iter())
            .flat_map(|package| &package.targets)
            .filter(|target| target.is("test"))
            .map(|target| target.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether `package` has the program `name`.
    pub(crate) fn has_example(&self, package: &str, name: &str) -> bool {
        (self.packages.iter())
            .filter(|own| own.name == package)
            .flat_map(|own| &own.targets)
            .any(|target| target.is("example") && target.name == name)
    }

    /// Where the programs of a profile lie (`debug` for the profile `dev`).
    pub(crate) fn programs(&self, profile_folder: &str) -> PathBuf {
        self.target_dir.join(profile_folder)
    }
}

/// A program without the variables that `cargo run` gave to this xtask: build scripts that watch
/// them (ring's does) would otherwise run again at every change between `cargo` and `cargo xtask`.
pub(crate) fn program_in(folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let ours = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ];
        if text == "CARGO" || ours.iter().any(|start| text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command
}
