//! `cargo xtask release`: the launcher's packages, from sources to what players are offered.
//!
//! 1. Build everything, the launcher with its version, the operator's public key and the front end in
//!    it.
//! 2. Bundle the Debian package with the programs that the launcher starts.
//! 3. The same for Windows, installer and archives, where what it takes is installed (docs/windows.md).
//! 4. Sign all that launchers update to, and put it into the folder that the coordinator serves
//!    (docs/updates.md). Everything that people download lies beside, with signed checksums.
//! 5. Serve that folder with the coordinator of this build, and ask, download and verify as a launcher
//!    of version 0.0.0 would.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::workspace::Workspace;
use crate::{exec, packages, ui, windows};

/// What the launcher starts, and so what lies beside it.
const BESIDE: [&str; 2] = ["warp-keeper", "warp-practice"];
/// Version of the launcher that the window's tests update to.
const NEXT_VERSION: &str = "0.99.0";

/// Tauri's command line, of the front end's lock file.
const TAURI_CLI: &str = "ui/node_modules/.bin/tauri";

/// What is released.
#[derive(Args)]
pub(crate) struct Options {
    /// Version of the release; without it, the one in Cargo.toml.
    #[arg(long)]
    version: Option<String>,
    /// The secret key, made with `warp-release key`; the public key lies beside it as FILE.pub.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// File with the secret key's password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Folder that the coordinator serves.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// `stable` or `canary`.
    #[arg(long, default_value = "stable")]
    channel: String,
    /// Share of the channel's installs that are offered it.
    #[arg(long, default_value_t = 100)]
    percentage: u8,
    /// What is new.
    #[arg(long, default_value = "")]
    notes: String,
    /// Cargo's profile; another one than `release` is for trying this command.
    #[arg(long, default_value = "release")]
    profile: String,
    /// Nothing for Windows, even where it can be built.
    #[arg(long)]
    without_windows: bool,
    /// Cargo's profile for Windows, if it is another one; for trying.
    #[arg(long)]
    windows_profile: Option<String>,
    /// Program that signs the file that is its argument (Authenticode), for Windows.
    #[arg(long, value_name = "PROGRAM")]
    sign: Option<PathBuf>,
}

/// Builds, signs, publishes and checks.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("packages are built on Linux so far; docs/updates.md says how others are published");
    }
    let here = std::env::current_dir()?;
    let (key, to) = (here.join(&options.key), here.join(&options.to));
    let public = with_suffix(&key, ".pub");
    let public = std::fs::read_to_string(&public)
        .with_context(|| format!("{}: `warp-release key` makes it", public.display()))?;
    let public = public.trim();
    packages::ensure(packages::BUILD_WINDOW)?;
    ui::build(workspace)?;
    let version = match &options.version {
        Some(version) => version.clone(),
        None => workspace.version()?,
    };
    build(workspace, &options.profile, &version, public)?;
    let programs = workspace.programs(&options.profile);
    let package = debian_package(workspace, &programs, &version)?;
    let bare = bare_program(&programs, &version)?;
    let arch = std::env::consts::ARCH;
    let mut made = vec![
        (package, Some(format!("linux-{arch}-deb"))),
        (bare, Some(format!("linux-{arch}-portable"))),
    ];
    made.extend(for_windows(workspace, options, &version, public)?);
    let tool = Tool {
        program: programs.join("warp-release"),
        key,
        password: options.password_file.as_ref().map(|file| here.join(file)),
    };
    download(&tool, &made, &to.join("downloads").join(&version), public)?;
    let published: Vec<(&Path, &str)> = (made.iter())
        .filter_map(|(file, platform)| Some((file.as_path(), platform.as_deref()?)))
        .collect();
    for (file, platform) in &published {
        let mut publish = tool.with_key("publish");
        publish.arg(file).arg("--to").arg(&to);
        publish.args(["--version", &version]);
        publish.args(["--platform", platform, "--channel", &options.channel]);
        publish.args(["--percentage", &options.percentage.to_string()]);
        exec::run(publish.args(["--notes", &options.notes]))?;
        let release = to.join(&options.channel).join(platform).join(&version);
        let mut verify = Command::new(&tool.program);
        exec::run(
            verify
                .arg("verify")
                .arg(release)
                .args(["--public-key", public]),
        )?;
    }
    if options.percentage < 100 {
        println!(
            "the coordinator is not asked: a share of {} %",
            options.percentage
        );
        return Ok(());
    }
    let served = Served::start(&programs, &to)?;
    for (_, platform) in &published {
        let mut verify = Command::new(&tool.program);
        verify.args(["verify", "--from", &format!("{}/api/v1", served.url)]);
        verify.args(["--public-key", public, "--platform", platform]);
        exec::run(verify.args(["--channel", &options.channel]))?;
    }
    println!(
        "published and verified: version {version} in {}",
        to.display()
    );
    Ok(())
}

/// `warp-release` with the operator's key.
struct Tool {
    program: PathBuf,
    key: PathBuf,
    password: Option<PathBuf>,
}

impl Tool {
    fn with_key(&self, what: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(what).arg("--key").arg(&self.key);
        if let Some(password) = &self.password {
            command.arg("--password-file").arg(password);
        }
        command
    }
}

/// What is made for Windows, and which of it launchers update to; nothing where that cannot be built.
fn for_windows(
    workspace: &Workspace,
    options: &Options,
    version: &str,
    public: &str,
) -> Result<Vec<(PathBuf, Option<String>)>> {
    if options.without_windows {
        return Ok(Vec::new());
    }
    let missing = windows::missing();
    if !missing.is_empty() {
        println!(
            "nothing for Windows: missing {}; `{}` installs that",
            missing.join(", "),
            packages::command_line(&missing)
        );
        return Ok(Vec::new());
    }
    let release = windows::Release {
        version: version.to_owned(),
        key: Some(public.to_owned()),
        profile: (options.windows_profile.as_ref())
            .unwrap_or(&options.profile)
            .clone(),
        sign: windows::whole(options.sign.as_deref())?,
    };
    let made = windows::packed(workspace, &release)?.files.into_iter();
    Ok(made
        .map(|(file, platform)| (file, platform.map(str::to_owned)))
        .collect())
}

/// Puts everything where people find it, with checksums that are signed.
fn download(
    tool: &Tool,
    made: &[(PathBuf, Option<String>)],
    folder: &Path,
    public: &str,
) -> Result<()> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder)?;
    let mut copies = Vec::new();
    for (file, _) in made {
        let copy = folder.join(file.file_name().context("a file has a name")?);
        std::fs::copy(file, &copy)?;
        copies.push(copy);
    }
    windows::write_sums(folder, copies.iter().map(PathBuf::as_path))?;
    let sums = folder.join("SHA256SUMS");
    exec::run(tool.with_key("sign").arg(&sums))?;
    let mut check = Command::new(&tool.program);
    exec::run(check.arg("check").arg(&sums).args(["--public-key", public]))?;
    let mut check = Command::new("sha256sum");
    exec::run(
        check
            .args(["--check", "--strict", "SHA256SUMS"])
            .current_dir(folder),
    )
}

/// Builds the launcher under [`NEXT_VERSION`] as `warp-launcher-next`, beside the other programs.
pub(crate) fn next_launcher(workspace: &Workspace) -> Result<()> {
    let mut build = workspace.cargo();
    build.args(["build", "--workspace", "--bins"]);
    exec::run(build.env("WARP_VERSION", NEXT_VERSION)).context("building the next launcher")?;
    let programs = workspace.programs("debug");
    let (from, to) = (
        programs.join("warp-launcher"),
        programs.join("warp-launcher-next"),
    );
    // Removed first: what cargo built may be linked to another name, which must not be written to.
    let _ = std::fs::remove_file(&to);
    std::fs::copy(&from, &to).with_context(|| format!("copying to {}", to.display()))?;
    // The program under its own name is the one of this version again.
    let mut again = workspace.cargo();
    exec::run(again.args(["build", "--workspace", "--bins"])).context("building the programs")
}

fn build(workspace: &Workspace, profile: &str, version: &str, public: &str) -> Result<()> {
    let mut build = workspace.cargo();
    build.args(["build", "--workspace", "--bins", "--profile", profile]);
    build.args(["--features", "warp-launcher/custom-protocol"]);
    build
        .env("WARP_VERSION", version)
        .env("WARP_UPDATE_KEY", public);
    exec::run(&mut build)
}

/// Bundles with Tauri's command line, which writes into the program how it is packed.
fn debian_package(workspace: &Workspace, programs: &Path, version: &str) -> Result<PathBuf> {
    let bundling = workspace.target_dir.join("bundling");
    let _ = std::fs::remove_dir_all(&bundling);
    let release = bundling.join("release");
    std::fs::create_dir_all(&release)?;
    let mut files = serde_json::Map::new();
    for name in ["warp-launcher"].iter().chain(&BESIDE) {
        let (from, to) = (programs.join(name), release.join(name));
        std::fs::copy(&from, &to).with_context(|| format!("{}", from.display()))?;
        exec::run(Command::new("strip").arg(&to))?;
        if *name != "warp-launcher" {
            files.insert(format!("/usr/bin/{name}"), to.display().to_string().into());
        }
    }
    let config = serde_json::json!({
        "version": version,
        "build": { "beforeBuildCommand": null, "beforeBundleCommand": null },
        "bundle": { "linux": { "deb": { "files": files } } },
    });
    let mut bundle = workspace.program(workspace.root.join(TAURI_CLI));
    bundle.current_dir(workspace.root.join("src-tauri"));
    bundle.args([
        "bundle",
        "--bundles",
        "deb",
        "--no-sign",
        "--ci",
        "--config",
    ]);
    bundle.arg(config.to_string());
    // It looks for `release/warp-launcher` there.
    exec::run(bundle.env("CARGO_TARGET_DIR", &bundling))?;
    let folder = release.join("bundle/deb");
    let made = std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
    let deb = made
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|file| file.extension().is_some_and(|end| end == "deb"));
    let deb = deb.with_context(|| format!("no .deb in {}", folder.display()))?;
    // The product's name has a space, and a release's file has none. Tauri writes the time of bundling
    // into the package, and so the same sources would make another one each time: it is packed again with
    // one time for all.
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let named = folder.join(format!("warp-launcher_{version}_{arch}.deb"));
    let content = folder.join("content");
    exec::run(
        Command::new("dpkg-deb")
            .arg("--raw-extract")
            .args([&deb, &content]),
    )?;
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", "-Zxz", "--build"]);
    exec::run(
        pack.args([&content, &named])
            .env("SOURCE_DATE_EPOCH", windows::DATE),
    )?;
    std::fs::remove_file(&deb)?;
    Ok(named)
}

/// The program alone, for those who run it without a package.
fn bare_program(programs: &Path, version: &str) -> Result<PathBuf> {
    let name = format!("warp-launcher_{version}_linux_{}", std::env::consts::ARCH);
    let bare = programs.join(name);
    let mut strip = Command::new("strip");
    exec::run(
        strip
            .arg("-o")
            .arg(&bare)
            .arg(programs.join("warp-launcher")),
    )?;
    Ok(bare)
}

/// The coordinator of this build, which serves the releases on the loopback.
struct Served {
    coordinator: Child,
    data: PathBuf,
    url: String,
}

impl Served {
    fn start(programs: &Path, releases: &Path) -> Result<Self> {
        let data = std::env::temp_dir().join(format!("warp-release-{}", std::process::id()));
        std::fs::create_dir_all(&data)?;
        let file = data.join("coordinator.json");
        let config = serde_json::json!({ "updates": { "directory": releases } });
        std::fs::write(&file, config.to_string())?;
        let mut serve = Command::new(programs.join("warp-coordinator"));
        serve
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file);
        serve.arg("--data").arg(data.join("data"));
        println!("$ {}", exec::shown(&serve));
        let mut coordinator = serve.stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        if let Some(out) = coordinator.stdout.take() {
            BufReader::new(out).read_line(&mut url)?;
        }
        let served = Self {
            coordinator,
            data,
            url: url.trim().to_owned(),
        };
        if !served.url.starts_with("http") {
            bail!("the coordinator did not start");
        }
        Ok(served)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.coordinator.kill();
        let _ = self.coordinator.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
