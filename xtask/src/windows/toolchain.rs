//! Debian's compiler, and the standard library for Windows built with it.
//!
//! Debian has the sources of the standard library and no build of it for Windows. Building it takes
//! nightly's `-Zbuild-std`, so a crate without content is built that way, once per compiler; the
//! project itself is then compiled as ever, with the result as its sysroot.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::exec;
use crate::workspace::{Workspace, program_in};

/// What players get is compiled for this.
const GNU: &str = "x86_64-pc-windows-gnu";
/// Microsoft's own; linking for it takes what only Microsoft has.
const MSVC: &str = "x86_64-pc-windows-msvc";
/// Cargo's profile for what is tested: quick to build.
const DEV: &str = "dev";
/// The time that is written into programs and archives (2020-01-01), so that they are the same whenever
/// they are made.
pub(crate) const DATE: &str = "1577836800";
/// A compiler of another origin, for instance rustup's, has another standard library.
const CARGO: &str = "/usr/bin/cargo";
const RUSTC: &str = "/usr/bin/rustc";
const CLIPPY: &str = "/usr/bin/clippy-driver";
/// The standard library brings its bitcode, as that of rustup does: without it nothing can be linked with
/// link-time optimisation, and so no release.
const STD_FLAGS: &str = "-Cembed-bitcode=yes";
/// Names the compiler that the sysroot belongs to, with [`STD_FLAGS`].
const MADE_WITH: &str = "made-with";

/// Names the compiler that tests, and with them all dependencies, were compiled with before.
const TESTED_WITH: &str = "tested-with";

/// What compiles for Windows.
pub(super) struct Toolchain<'a> {
    pub(super) workspace: &'a Workspace,
    /// Everything that is made.
    pub(super) root: PathBuf,
    target: &'static str,
    profile: String,
}

fn root(workspace: &Workspace) -> PathBuf {
    workspace.target_dir.join("windows")
}

/// Where standard libraries are: beside what several clones share, or in the person's cache, where they
/// outlive a clone.
fn libraries(workspace: &Workspace) -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = (variable("XDG_CACHE_HOME").map(PathBuf::from))
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    match cache {
        Some(cache) if workspace.target_dir.starts_with(&workspace.root) => {
            cache.join("warp-launcher/windows")
        }
        _ => root(workspace),
    }
}

/// The compiler, and how its standard library is built: what was compiled with others cannot be used.
fn compiler() -> Result<String> {
    let compiler = exec::capture(Command::new(RUSTC).arg("-vV"))?;
    Ok(format!("{compiler}{STD_FLAGS}\n"))
}

impl<'a> Toolchain<'a> {
    /// Whether tests were compiled already, by whatever compiler.
    pub(super) fn was_used(workspace: &Workspace) -> bool {
        root(workspace).join(TESTED_WITH).is_file()
    }

    /// Whether they were compiled by this one.
    pub(super) fn is_warm(workspace: &Workspace) -> bool {
        let warm = std::fs::read_to_string(root(workspace).join(TESTED_WITH));
        matches!((warm, compiler()), (Ok(warm), Ok(compiler)) if warm == compiler)
    }

    /// Notes that they are.
    pub(super) fn set_warm(&self) -> Result<()> {
        Ok(std::fs::write(self.root.join(TESTED_WITH), compiler()?)?)
    }

    /// Builds the standard library, if it is not there for this compiler.
    pub(super) fn prepare(workspace: &'a Workspace) -> Result<Self> {
        Self::of(workspace, GNU)
    }

    /// The same for Microsoft's target.
    pub(super) fn prepare_msvc(workspace: &'a Workspace) -> Result<Self> {
        Self::of(workspace, MSVC)
    }

    fn of(workspace: &'a Workspace, target: &'static str) -> Result<Self> {
        let tools = Self {
            workspace,
            root: root(workspace),
            target,
            profile: DEV.to_owned(),
        };
        let compiler = compiler()?;
        let sysroot = tools.sysroot();
        let made_with = std::fs::read_to_string(sysroot.join(MADE_WITH));
        if made_with.is_ok_and(|made_with| made_with == compiler) {
            return Ok(tools);
        }
        let _ = std::fs::remove_dir_all(&sysroot);
        // It was compiled with another standard library.
        let _ = std::fs::remove_dir_all(tools.target_dir().join(target));
        let here = libraries(workspace);
        let build = here.join("std-build");
        let built = build_std(target, &here.join("std"), &build)?;
        let libraries = sysroot.join("lib/rustlib").join(target).join("lib");
        std::fs::create_dir_all(&libraries)?;
        for entry in std::fs::read_dir(&built).with_context(|| built.display().to_string())? {
            let file = entry?.path();
            if file.extension().is_some_and(|end| end == "rlib")
                && let Some(name) = file.file_name()
            {
                std::fs::copy(&file, libraries.join(name))?;
            }
        }
        std::fs::remove_dir_all(&build)?;
        std::fs::write(sysroot.join(MADE_WITH), compiler)?;
        Ok(tools)
    }

    fn sysroot(&self) -> PathBuf {
        libraries(self.workspace).join(match self.target {
            MSVC => "sysroot-msvc",
            _ => "sysroot",
        })
    }

    fn target_dir(&self) -> PathBuf {
        self.root.join("target")
    }

    /// The same, which builds with another profile.
    pub(super) fn with_profile(self, profile: &str) -> Self {
        let profile = profile.to_owned();
        Self { profile, ..self }
    }

    /// Whether it builds what is tested.
    pub(super) fn is_dev(&self) -> bool {
        self.profile == DEV
    }

    /// Where the programs are.
    pub(super) fn programs(&self) -> PathBuf {
        let folder = match self.profile.as_str() {
            DEV => "debug",
            other => other,
        };
        self.target_dir().join(self.target).join(folder)
    }

    /// `cargo WHAT --workspace --target ...`, with the front end in the launcher itself. The whole
    /// workspace always: cargo unites the features of what is selected.
    pub(super) fn cargo(&self, what: &[&str]) -> Command {
        let mut cargo = debian_cargo(&self.workspace.root);
        cargo.args(what);
        cargo.args(["--workspace", "--locked", "--target", self.target]);
        cargo.args(["--profile", &self.profile]);
        // What names lines in the source makes Windows programs several times as large.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "false");
        cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "false");
        cargo.args(["--features", "warp-launcher/custom-protocol"]);
        cargo.env("CARGO_TARGET_DIR", self.target_dir());
        cargo.env(self.variable("RUSTFLAGS"), self.flags());
        cargo.env("SOURCE_DATE_EPOCH", DATE);
        if self.target == GNU {
            // Debian has two of it, which differ in their threads.
            cargo.env(self.variable("LINKER"), "x86_64-w64-mingw32-gcc-posix");
        } else {
            // Some dependencies bring C, which nothing is linked with; it is put into archives with the
            // options of Microsoft's `lib`.
            let programs = [("CC", "x86_64-w64-mingw32-gcc-posix"), ("AR", "llvm-lib")];
            for (name, program) in programs {
                let name = format!("{name}_{}", self.target.replace('-', "_"));
                cargo.env(name, program);
            }
        }
        cargo
    }

    /// The same, in which a warning of the compiler or of clippy is an error. `cargo clippy` would only check,
    /// so everything would have to be compiled once more for the tests.
    pub(super) fn strict_cargo(&self, what: &[&str]) -> Command {
        let mut cargo = self.cargo(what);
        cargo.env("RUSTC_WORKSPACE_WRAPPER", CLIPPY);
        cargo.env(
            self.variable("RUSTFLAGS"),
            format!("{} -Dwarnings", self.flags()),
        );
        cargo
    }

    fn flags(&self) -> String {
        format!("--sysroot={}", self.sysroot().display())
    }

    /// Cargo's variable for this target.
    fn variable(&self, name: &str) -> String {
        let target = self.target.replace('-', "_").to_uppercase();
        format!("CARGO_TARGET_{target}_{name}")
    }
}

/// Debian's cargo with Debian's compiler, whatever toolchain started us.
fn debian_cargo(folder: &Path) -> Command {
    let mut cargo = program_in(folder, CARGO);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::iter::once(PathBuf::from("/usr/bin"));
    if let Ok(path) = std::env::join_paths(first.chain(std::env::split_paths(&path))) {
        cargo.env("PATH", path);
    }
    cargo.env("RUSTC", RUSTC);
    // Of the toolchain that started us; `RUSTFLAGS` would take the sysroot's place.
    for name in ["RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH", "RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    cargo
}

/// Builds the standard library; gives the folder of its parts.
fn build_std(target: &str, source: &Path, build: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(source.join("src"))?;
    std::fs::write(
        source.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n",
    )?;
    std::fs::write(source.join("src/lib.rs"), "")?;
    let mut cargo = debian_cargo(source);
    cargo.args(["build", "--release", "--target", target]);
    cargo.arg("-Zbuild-std=std,panic_unwind,panic_abort,test");
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.env("RUSTFLAGS", STD_FLAGS);
    cargo.env("CARGO_TARGET_DIR", build);
    exec::run(&mut cargo).context("building the standard library for Windows")?;
    let built = build.join(target).join("release/deps");
    if !built.is_dir() {
        bail!("{} was not made", built.display());
    }
    Ok(built)
}
