//! Wine, in a prefix of its own: nothing of the person's is touched.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::toolchain::Toolchain;
use crate::exec;
use crate::workspace::program_in;

/// Rust's standard library takes random numbers from this library, which Wine 8 does not have.
const RANDOM: (&str, &str) = (
    "bcryptprimitives.dll",
    include_str!("wine/bcryptprimitives.c"),
);
/// Version of what a prefix is made of; raised when that changes.
const MADE: &str = "1";

/// A prefix.
pub(super) struct Wine {
    prefix: PathBuf,
}

impl Wine {
    /// Makes the prefix if it is not there.
    pub(super) fn prepare(tools: &Toolchain<'_>) -> Result<Self> {
        let wine = Self {
            prefix: tools.root.join("prefix"),
        };
        let made = wine.prefix.join("made");
        if std::fs::read_to_string(&made).is_ok_and(|version| version == MADE) {
            return Ok(wine);
        }
        let _ = std::fs::remove_dir_all(&wine.prefix);
        std::fs::create_dir_all(&wine.prefix)?;
        let folder = tools.root.as_path();
        let mut boot = wine.program(folder, "wine");
        exec::run(boot.args(["wineboot", "--init"])).context("making a prefix")?;
        exec::run(wine.program(folder, "wineserver").arg("--wait"))?;
        let source = tools.root.join("bcryptprimitives.c");
        std::fs::write(&source, RANDOM.1)?;
        let mut compile = Command::new("x86_64-w64-mingw32-gcc");
        compile.args(["-shared", "-O2", "-o"]);
        compile.arg(wine.drive().join("windows/system32").join(RANDOM.0));
        exec::run(compile.arg(&source).arg("-ladvapi32"))
            .context("compiling a library for Wine")?;
        std::fs::write(made, MADE)?;
        Ok(wine)
    }

    /// Drive C.
    pub(super) fn drive(&self) -> PathBuf {
        self.prefix.join("drive_c")
    }

    /// A program of Wine's, started in `folder`. Without the offers to download .NET and a browser.
    fn program(&self, folder: &Path, name: &str) -> Command {
        // Debian keeps the server where PATH does not lead.
        let hidden = Path::new("/usr/lib/wine").join(format!("{name}64"));
        let mut command = match hidden.is_file() {
            true => program_in(folder, hidden),
            false => program_in(folder, name),
        };
        command.env("WINEPREFIX", &self.prefix);
        command.env("WINEDEBUG", "-all");
        command.env("WINEDLLOVERRIDES", "mscoree,mshtml=");
        // How names of files are written.
        command.env("LC_ALL", "C.UTF-8");
        command.env_remove("DISPLAY");
        command
    }

    /// A Windows program, started in `folder`, ended after `seconds`.
    pub(super) fn start(&self, folder: &Path, seconds: u32, program: &Path) -> Command {
        let wine = self.program(folder, "wine");
        let mut command = program_in(folder, "timeout");
        command.args(["--kill-after=10", &seconds.to_string()]);
        command.arg(wine.get_program()).arg(program);
        for (name, value) in wine.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Ends what still runs in the prefix.
    pub(super) fn end(&self) -> Result<()> {
        // The server tells that there was none with its code.
        exec::succeeds(self.program(&self.prefix, "wineserver").arg("--kill"));
        exec::run(self.program(&self.prefix, "wineserver").arg("--wait"))
    }
}

/// The path as Windows programs see it.
pub(super) fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.display()).replace('/', "\\")
}
