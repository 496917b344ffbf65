//! System packages: which a group needs, which are missing, how they are installed.
//!
//! Debian and its relatives only; elsewhere the message names what is needed.

use std::process::Command;

use anyhow::{Result, bail};

use crate::exec;

/// A Debian package, and the program that proves it is there where it has one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Package {
    name: &'static str,
    program: Option<&'static str>,
}

const fn library(name: &'static str) -> Package {
    Package {
        name,
        program: None,
    }
}

const fn tool(name: &'static str, program: &'static str) -> Package {
    Package {
        name,
        program: Some(program),
    }
}

/// For everything but the window.
pub(crate) const BUILD: &[Package] = &[
    tool("build-essential", "cc"),
    tool("pkg-config", "pkg-config"),
];
/// The databases that tests of the coordinator start; without one its tests skip themselves.
pub(crate) const DATABASES: &[Package] = &[
    tool("postgresql", "postgres"),
    tool("redis-server", "redis-server"),
    tool("mariadb-server", "mariadbd"),
    tool("procps", "pgrep"),
];
/// For building and starting the window.
pub(crate) const BUILD_WINDOW: &[Package] = &[
    tool("build-essential", "cc"),
    tool("pkg-config", "pkg-config"),
    library("libwebkit2gtk-4.1-dev"),
    library("libayatana-appindicator3-1"),
];
/// For the fuzzing targets: libFuzzer comes as C++ source.
pub(crate) const FUZZ: &[Package] = &[tool("build-essential", "c++")];
/// For the end-to-end group.
pub(crate) const E2E: &[Package] = &[
    tool("tcpdump", "tcpdump"),
    tool("gnome-keyring", "gnome-keyring-daemon"),
    tool("dbus-x11", "dbus-launch"),
    tool("redis-server", "redis-server"),
];
/// For the group with network namespaces, and for the benchmarks.
pub(crate) const NETLAB: &[Package] = &[
    tool("iproute2", "ip"),
    tool("nftables", "nft"),
    tool("coturn", "turnserver"),
    tool("miniupnpd-nftables", "miniupnpd"),
    tool("socat", "socat"),
    tool("tcpdump", "tcpdump"),
    tool("coturn", "turnserver"),
];
/// For the browser group.
pub(crate) const BROWSER: &[Package] = &[
    tool("chromium", "chromium"),
    // The window speaks Thai too, and boxes are wider than letters.
    library("fonts-tlwg-loma-otf"),
];
/// For the window group.
pub(crate) const WINDOW: &[Package] = &[
    tool("xvfb", "Xvfb"),
    tool("xdotool", "xdotool"),
    tool("xauth", "xauth"),
    tool("webkit2gtk-driver", "WebKitWebDriver"),
    tool("imagemagick", "import"),
    tool("gnome-keyring", "gnome-keyring-daemon"),
    tool("dbus-x11", "dbus-launch"),
];

/// For `cargo xtask windows`. `rustc-web` is the newest compiler that Debian has.
pub(crate) const WINDOWS: &[Package] = &[
    tool("build-essential", "cc"),
    library("rustc-web"),
    library("cargo-web"),
    library("rust-web-clippy"),
    library("rust-web-src"),
    tool("gcc-mingw-w64-x86-64-posix", "x86_64-w64-mingw32-gcc-posix"),
];
/// For Microsoft's own target: what compiles a program's icon and manifest, and archives C.
pub(crate) const MSVC: &[Package] = &[tool("llvm", "llvm-rc")];
/// For the tests under Wine. `wine` starts programs; that name may be there without the 64-bit part.
pub(crate) const WINE: &[Package] = &[tool("wine", "wine"), library("wine64")];
/// For the installer, and for its check under Wine.
pub(crate) const INSTALLER: &[Package] = &[
    tool("nsis", "makensis"),
    tool("zip", "zip"),
    tool("xvfb", "Xvfb"),
    tool("xdotool", "xdotool"),
];

/// Those of `wanted` that are not installed, each once.
pub(crate) fn missing(wanted: &[Package]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for package in wanted {
        if !is_installed(package) && !names.contains(&package.name) {
            names.push(package.name);
        }
    }
    names
}

fn is_installed(package: &Package) -> bool {
    if package
        .program
        .is_some_and(|name| exec::which(name).is_some() || is_of_postgres(name))
    {
        return true;
    }
    exec::capture(Command::new("dpkg-query").args(["-W", "-f", "${Status}", package.name]))
        .is_ok_and(|status| status.trim() == "install ok installed")
}

/// Debian keeps PostgreSQL's server where PATH does not lead.
fn is_of_postgres(program: &str) -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let mut versions = versions.into_iter().flatten().flatten();
    versions.any(|version| version.path().join("bin").join(program).is_file())
}

/// The command that installs `names`, as a person would type it.
pub(crate) fn command_line(names: &[&str]) -> String {
    format!(
        "sudo apt-get install -y --no-install-recommends {}",
        names.join(" ")
    )
}

/// Why packages could not be installed.
pub(crate) enum NotInstalled {
    /// We may not (no root and no sudo without a password), or there is no apt; holds what to do.
    MayNot(String),
    /// The installation was tried and failed.
    Failed(anyhow::Error),
}

/// Installs `names` if this may be done without asking anybody.
pub(crate) fn install(names: &[&str]) -> Result<(), NotInstalled> {
    if names.is_empty() {
        return Ok(());
    }
    if exec::which("apt-get").is_none() {
        return Err(NotInstalled::MayNot(format!(
            "this system has no apt-get; install what Debian calls {}",
            names.join(", ")
        )));
    }
    let is_root = exec::capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !is_root && !exec::succeeds(Command::new("sudo").args(["-n", "true"])) {
        return Err(NotInstalled::MayNot(format!(
            "missing: {}; run `{}`",
            names.join(", "),
            command_line(names)
        )));
    }
    println!(
        "installing {} (this may take a few minutes)",
        names.join(", ")
    );
    let apt = |arguments: &[&str]| {
        let mut command = Command::new(if is_root { "env" } else { "sudo" });
        if !is_root {
            command.args(["-n", "env"]);
        }
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
        command
            .args(arguments)
            .args(names_if_install(arguments, names));
        exec::run(&mut command)
    };
    // An old package list is the usual reason for a failing installation; a failing update
    // (one source of several is down) is not.
    if let Err(error) = apt(&["update"]) {
        eprintln!("warning: {error:#}");
    }
    apt(&["install", "-y", "--no-install-recommends"]).map_err(NotInstalled::Failed)
}

fn names_if_install<'a>(arguments: &[&str], names: &'a [&'a str]) -> &'a [&'a str] {
    if arguments.first() == Some(&"install") {
        names
    } else {
        &[]
    }
}

/// Installs what `wanted` lacks, or says what to do.
pub(crate) fn ensure(wanted: &[Package]) -> Result<()> {
    match install(&missing(wanted)) {
        Ok(()) => Ok(()),
        Err(NotInstalled::MayNot(what)) => bail!("system packages: {what}"),
        Err(NotInstalled::Failed(error)) => Err(error.context("system packages")),
    }
}
