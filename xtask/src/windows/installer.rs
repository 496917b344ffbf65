//! The installer, the portable archive and their checksums; and whether they work, under Wine.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};

use super::step;
use super::toolchain::{DATE, Toolchain};
use super::wine::Wine;
use crate::exec;

/// What players get.
const PLAYERS: [&str; 3] = ["warp-launcher", "warp-node", "warp-practice"];
/// What operators get, in an archive of their own.
const OPERATORS: [&str; 2] = ["warp-coordinator", "warp-endpoint"];
/// The launcher loads it when it starts.
const LOADER: &str = "WebView2Loader.dll";
const LICENCES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];
/// How a launcher knows how it was packed; tauri's own bundler writes the same.
const UNPACKED: &[u8] = b"__TAURI_BUNDLE_TYPE_VAR_UNK";
const INSTALLED: &[u8] = b"__TAURI_BUNDLE_TYPE_VAR_NSS";
/// Title of the launcher's message where there is no WebView2: src-tauri/src/system/windows.rs.
const MESSAGE: &str = "Warp Launcher needs WebView2";
/// The longest that one program of the check may take, in seconds.
const LIMIT: u32 = 120;

/// What is packed.
pub(crate) struct Release {
    /// The launcher's version.
    pub(crate) version: String,
    /// The public key that its updates are checked with; `None`: it takes none.
    pub(crate) key: Option<String>,
    /// Cargo's profile.
    pub(crate) profile: String,
    /// Signs the file that is its argument (Authenticode).
    pub(crate) sign: Option<PathBuf>,
}

impl Release {
    fn sign(&self, file: &Path) -> Result<()> {
        match &self.sign {
            Some(program) => exec::run(Command::new(program).arg(file)),
            None => Ok(()),
        }
    }
}

/// What was made.
pub(crate) struct Made {
    /// Each file, with the platform that it is an update for, if it is one.
    pub(crate) files: Vec<(PathBuf, Option<&'static str>)>,
}

/// All programs that are shipped.
pub(super) fn programs() -> impl Iterator<Item = &'static str> {
    PLAYERS.into_iter().chain(OPERATORS)
}

/// Makes everything in `windows/packages` of the build directory, and checks it under Wine.
pub(super) fn make(tools: &Toolchain<'_>, release: &Release) -> Result<Made> {
    step("programs", || build(tools, release))?;
    let packages = tools.root.join("packages");
    let _ = std::fs::remove_dir_all(&packages);
    let made = step("packages", || pack(tools, &packages, release))?;
    let installer = &made.files[0].0;
    step("packages under Wine", || {
        check(tools, installer, &release.version)
    })?;
    write_sums(&packages, made.files.iter().map(|(file, _)| file.as_path()))?;
    Ok(made)
}

/// Writes `SHA256SUMS` of files in `folder`, as `sha256sum --check` reads it.
pub(crate) fn write_sums<'a>(folder: &Path, files: impl Iterator<Item = &'a Path>) -> Result<()> {
    let mut sums = Command::new("sha256sum");
    sums.current_dir(folder);
    for file in files {
        sums.arg(file.strip_prefix(folder)?);
    }
    let sums = exec::capture(&mut sums)?;
    Ok(std::fs::write(folder.join("SHA256SUMS"), sums)?)
}

fn build(tools: &Toolchain<'_>, release: &Release) -> Result<()> {
    if tools.is_dev() {
        // What the tests have is taken as it is.
        return super::checks::compile(tools).map(|_| ());
    }
    let mut cargo = tools.cargo(&["build"]);
    cargo.env("WARP_VERSION", &release.version);
    if let Some(key) = &release.key {
        cargo.env("WARP_UPDATE_KEY", key);
    }
    for name in programs() {
        cargo.args(["--bin", name]);
    }
    exec::run(&mut cargo)
}

fn pack(tools: &Toolchain<'_>, packages: &Path, release: &Release) -> Result<Made> {
    let version = &release.version;
    let named = |rest: &str| packages.join(format!("warp-launcher_{version}_{rest}"));
    let installer = named("x64-setup.exe");
    let portable = named("x64-portable.zip");
    let bare = named("x64.exe");
    let server = packages.join(format!("warp-server_{version}_x64.zip"));
    let (players, operators) = (packages.join("players"), packages.join("operators"));
    lay_out(tools, &players, &PLAYERS)?;
    lay_out(tools, &operators, &OPERATORS)?;
    std::fs::copy(loader(tools)?, players.join(LOADER))?;
    // Before anything is signed: a signature is over the final bytes.
    let launcher = players.join("warp-launcher.exe");
    let installed = packages.join("installed.exe");
    std::fs::copy(&launcher, &installed)?;
    mark_installed(&installed)?;
    for (folder, programs) in [(&players, &PLAYERS[..]), (&operators, &OPERATORS[..])] {
        for name in programs {
            release.sign(&folder.join(format!("{name}.exe")))?;
        }
    }
    zip(&players, &portable)?;
    zip(&operators, &server)?;
    std::fs::copy(&launcher, &bare)?;
    std::fs::rename(&installed, &launcher)?;
    release.sign(&launcher)?;
    make_installer(tools, &players, &installer, release)?;
    release.sign(&installer)?;
    for folder in [&players, &operators] {
        std::fs::remove_dir_all(folder)?;
    }
    let files = vec![
        (installer, Some("windows-x86_64-nsis")),
        (bare, Some("windows-x86_64-portable")),
        (portable, None),
        (server, None),
    ];
    Ok(Made { files })
}

fn lay_out(tools: &Toolchain<'_>, folder: &Path, programs: &[&str]) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for name in programs {
        let name = format!("{name}.exe");
        let (from, to) = (tools.programs().join(&name), folder.join(&name));
        let mut strip = Command::new("x86_64-w64-mingw32-strip");
        // Otherwise it writes the time of now into the file.
        strip.arg("--preserve-dates").env("SOURCE_DATE_EPOCH", DATE);
        exec::run(strip.arg(&from).arg("-o").arg(&to))?;
    }
    for name in LICENCES {
        let from = tools.workspace.root.join(name);
        std::fs::copy(from, folder.join(format!("{name}.txt")))?;
    }
    Ok(())
}

/// The names of a folder's files, in their order.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    let mut names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    names.sort();
    Ok(names)
}

/// Where the build of webview2-com put it.
fn loader(tools: &Toolchain<'_>) -> Result<PathBuf> {
    let build = tools.programs().join("build");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&build)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.to_string_lossy().contains("webview2-com-sys-"))
        .map(|folder| folder.join("out/x64").join(LOADER))
        .filter(|file| file.is_file())
        .collect();
    // Of several builds any: the file is the same as long as the lock file is.
    found.sort();
    found
        .pop()
        .with_context(|| format!("no {LOADER} in {}", build.display()))
}

/// Makes an archive that is the same whenever and wherever it is made of the same files.
fn zip(folder: &Path, archive: &Path) -> Result<()> {
    let names = names(folder)?;
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(DATE.parse()?);
    for name in &names {
        std::fs::File::options()
            .append(true)
            .open(folder.join(name))?
            .set_modified(date)?;
    }
    let mut zip = Command::new("zip");
    zip.current_dir(folder).env("TZ", "UTC");
    exec::run(zip.args(["-q", "-X"]).arg(archive).args(&names))
}

/// Tells the launcher that an installer put it there, so that it asks for installers when it updates.
fn mark_installed(program: &Path) -> Result<()> {
    let mut bytes = std::fs::read(program)?;
    let mut marked = 0;
    let mut at = 0;
    while let Some(found) = (bytes[at..].windows(UNPACKED.len())).position(|one| one == UNPACKED) {
        let place = at + found;
        bytes[place..place + INSTALLED.len()].copy_from_slice(INSTALLED);
        at = place + INSTALLED.len();
        marked += 1;
    }
    if marked == 0 {
        bail!("{} has no place for how it is packed", program.display());
    }
    Ok(std::fs::write(program, bytes)?)
}

fn make_installer(
    tools: &Toolchain<'_>,
    files: &Path,
    out: &Path,
    release: &Release,
) -> Result<()> {
    let version = release.version.as_str();
    let root = &tools.workspace.root;
    // The uninstaller removes what was installed, and nothing else.
    let (mut install, mut remove) = (String::new(), String::new());
    for name in names(files)? {
        install += &format!("File \"{}\"\n", files.join(&name).display());
        remove += &format!("Delete \"$INSTDIR\\{name}\"\n");
    }
    let lists = ["install.nsh", "remove.nsh"].map(|name| files.with_file_name(name));
    std::fs::write(&lists[0], install)?;
    std::fs::write(&lists[1], remove)?;
    let mut nsis = Command::new("makensis");
    nsis.args(["-V2", "-WX"]);
    // Of a version such as 1.2.3-rc.1 the file's own version has the numbers.
    let numbers = version.split(['-', '+']).next().unwrap_or(version);
    nsis.arg(format!("-DVERSION={version}"));
    nsis.arg(format!("-DNUMBERS={numbers}"));
    nsis.arg(format!("-DINSTALL={}", lists[0].display()));
    nsis.arg(format!("-DREMOVE={}", lists[1].display()));
    nsis.arg(format!("-DICON={}", root.join("icons/icon.ico").display()));
    nsis.arg(format!("-DOUT={}", out.display()));
    if let Some(sign) = &release.sign {
        nsis.arg(format!("-DSIGN={}", sign.display()));
    }
    exec::run(nsis.arg(root.join("packaging/windows/installer.nsi")))?;
    for list in &lists {
        std::fs::remove_file(list)?;
    }
    Ok(())
}

/// Installs, starts, plays, installs again over the running launcher, and uninstalls.
fn check(tools: &Toolchain<'_>, installer: &Path, version: &str) -> Result<()> {
    let wine = Wine::prepare(tools)?;
    let checked = Installed::new(&wine, version).and_then(|installed| {
        installed.install(installer, &[])?;
        installed.is_complete()?;
        installed.plays()?;
        // Whether Wine has a display is settled by the first program of a session.
        wine.end()?;
        let display = Display::start()?;
        let launcher = installed.starts(&display)?;
        installed.upgrades(&display, installer, launcher)?;
        wine.end()?;
        installed.uninstalls(installer)
    });
    wine.end()?;
    checked
}

/// The launcher as it is installed.
struct Installed<'a> {
    wine: &'a Wine,
    version: &'a str,
    user: PathBuf,
    folder: PathBuf,
}

impl<'a> Installed<'a> {
    fn new(wine: &'a Wine, version: &'a str) -> Result<Self> {
        let users = wine.drive().join("users");
        let mut user = std::fs::read_dir(&users)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|user| user.join("AppData").is_dir() && !user.ends_with("Public"));
        let user = user.next().context("the prefix has no user")?;
        let folder = user.join("AppData/Local/Programs/Warp Launcher");
        if folder.exists() {
            // Of a run that was broken off.
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(Self {
            wine,
            version,
            user,
            folder,
        })
    }

    fn settings(&self) -> PathBuf {
        self.user.join("AppData/Roaming/io.warplauncher.desktop")
    }

    fn shortcut(&self) -> PathBuf {
        let menu = "AppData/Roaming/Microsoft/Windows/Start Menu/Programs";
        self.user.join(menu).join("Warp Launcher.lnk")
    }

    /// An installed program, under the name that Windows has for it.
    fn program(&self, name: &str) -> PathBuf {
        let below = self.folder.strip_prefix(self.wine.drive());
        let below = below.unwrap_or(&self.folder).join(name);
        PathBuf::from(format!("C:/{}", below.display()).replace('/', "\\"))
    }

    fn install(&self, installer: &Path, arguments: &[&str]) -> Result<()> {
        let mut install = self.wine.start(&self.user, LIMIT, installer);
        exec::run(install.arg("/S").args(arguments)).context("installing")
    }

    /// What the registry has under `key`; empty: nothing.
    fn registry(&self, key: &str) -> String {
        let mut query = self.wine.start(&self.user, LIMIT, Path::new("reg"));
        exec::capture(query.args(["query", key, "/s"])).unwrap_or_default()
    }

    fn link(&self) -> String {
        self.registry(r"HKCU\Software\Classes\warp")
    }

    fn listed(&self) -> String {
        self.registry(r"HKCU\Software\Microsoft\Windows\CurrentVersion\Uninstall\Warp Launcher")
    }

    fn is_complete(&self) -> Result<()> {
        let programs = PLAYERS.map(|name| format!("{name}.exe"));
        let files = programs.iter().map(String::as_str);
        for name in files.chain([LOADER, "uninstall.exe", "LICENSE-MIT.txt"]) {
            if !self.folder.join(name).is_file() {
                bail!("{name} was not installed in {}", self.folder.display());
            }
        }
        if !self.shortcut().is_file() {
            bail!("{} is missing", self.shortcut().display());
        }
        let link = self.link();
        if !link.contains(r#"warp-launcher.exe" "%1""#) {
            bail!("warp:// links do not lead to the launcher: {link}");
        }
        let listed = self.listed();
        if !listed.contains(self.version) || !listed.contains("uninstall.exe") {
            bail!("the launcher is not listed among the installed programs: {listed}");
        }
        Ok(())
    }

    /// `warp-node` plays a session of a few seconds, all of it from what was installed.
    fn plays(&self) -> Result<()> {
        let program = self.program("warp-node.exe");
        let mut play = self.wine.start(&self.user, LIMIT, &program);
        play.args(["try", "--json", "--seconds", "8"]);
        play.stdin(Stdio::piped());
        let (mut webrtc, mut well) = (false, false);
        exec::run_lines(&mut play, |line| {
            let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
                return;
            };
            webrtc |= event["metrics"]["path"] == "direct";
            well |= event["event"] == "game-exited" && event["ok"] == true;
        })?;
        if !webrtc || !well {
            bail!("the session over WebRTC: used {webrtc}, the game ended well {well}");
        }
        Ok(())
    }

    fn launcher(&self, display: &Display) -> Command {
        let program = self.program("warp-launcher.exe");
        let mut launcher = self.wine.start(&self.user, LIMIT, &program);
        launcher.env("DISPLAY", &display.name);
        launcher
    }

    /// Wine has no WebView2: the launcher says so in a window, and waits for an answer.
    fn starts(&self, display: &Display) -> Result<std::process::Child> {
        let mut launcher = self.launcher(display);
        println!("$ {}", exec::shown(&launcher));
        let mut launcher = launcher.spawn()?;
        display.wait_for(MESSAGE)?;
        if let Some(status) = launcher.try_wait()? {
            bail!("the launcher did not wait for an answer: {status}");
        }
        Ok(launcher)
    }

    /// Installs over the launcher and a host that run. Both are ended, and the launcher is started anew
    /// with what it was started with.
    fn upgrades(
        &self,
        display: &Display,
        installer: &Path,
        mut running: std::process::Child,
    ) -> Result<()> {
        let program = self.program("warp-node.exe");
        let mut node = self.wine.start(&self.user, LIMIT, &program);
        // It plays until its input ends.
        node.args(["try", "--json", "--seconds", "100"]);
        let mut node = (node.stdin(Stdio::piped()).stdout(Stdio::piped())).spawn()?;
        let out = node.stdout.take().context("no output of warp-node")?;
        let mut lines = BufReader::new(out).lines();
        if lines.next().is_none() {
            bail!("warp-node ended at once");
        }
        // Nobody may wait for a reader.
        std::thread::spawn(move || lines.count());

        // With a space, so that it is quoted.
        let config = format!("--config={}\\once more.json", self.user_name());
        let mut install = self.wine.start(&self.user, LIMIT, installer);
        install.env("DISPLAY", &display.name);
        install.args(["/P", "/R", "/UPDATE", "/ARGS", &config]);
        exec::run(&mut install).context("installing over it")?;
        for (name, program) in [("the launcher", &mut running), ("warp-node", &mut node)] {
            let began = Instant::now();
            while program.try_wait()?.is_none() {
                if began.elapsed() > Duration::from_secs(20) {
                    bail!("{name} still runs after another was installed over it");
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        self.is_complete()?;
        display.wait_for(MESSAGE)?;
        if !started_with(&config)? {
            bail!("the launcher was not started again with {config}");
        }
        Ok(())
    }

    /// The person's folder, under the name that Windows has for it.
    fn user_name(&self) -> String {
        let below = self.user.strip_prefix(self.wine.drive());
        format!("C:/{}", below.unwrap_or(&self.user).display()).replace('/', "\\")
    }

    /// The uninstaller keeps settings unless it is asked, and leaves nothing else.
    fn uninstalls(&self, installer: &Path) -> Result<()> {
        let kept = self.settings().join("p2p_config.json");
        std::fs::create_dir_all(self.settings())?;
        std::fs::write(&kept, "{}")?;
        self.uninstall(&[])?;
        if !kept.is_file() {
            bail!("the uninstaller removed settings without being asked");
        }
        self.install(installer, &[])?;
        self.uninstall(&["/REMOVE_SETTINGS"])?;
        if self.settings().exists() {
            bail!("the uninstaller left {}", self.settings().display());
        }
        Ok(())
    }

    fn uninstall(&self, arguments: &[&str]) -> Result<()> {
        let program = self.program("uninstall.exe");
        let mut uninstall = self.wine.start(&self.user, LIMIT, &program);
        exec::run(uninstall.arg("/S").args(arguments)).context("uninstalling")?;
        // It goes on as a copy of itself, which can remove the original.
        let began = Instant::now();
        while self.folder.exists() && began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(100));
        }
        let left = [self.folder.clone(), self.shortcut()];
        if let Some(left) = left.iter().find(|left| left.exists()) {
            bail!("the uninstaller left {}", left.display());
        }
        let notifier =
            self.registry(r"HKCU\Software\Classes\AppUserModelId\io.warplauncher.desktop");
        if !self.link().is_empty() || !self.listed().is_empty() || !notifier.is_empty() {
            bail!("the uninstaller left something in the registry");
        }
        Ok(())
    }
}

/// Whether a launcher runs that was given this argument.
fn started_with(argument: &str) -> Result<bool> {
    for process in std::fs::read_dir("/proc")? {
        // It has ended meanwhile, or is another person's.
        let Ok(line) = std::fs::read(process?.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split('\0');
        if words.any(|word| word.ends_with("warp-launcher.exe"))
            && words.any(|word| word == argument)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A display of its own.
struct Display {
    server: std::process::Child,
    name: String,
}

impl Display {
    fn start() -> Result<Self> {
        let mut server = Command::new("Xvfb");
        // It chooses a free number, and tells it.
        server.args(["-displayfd", "1", "-screen", "0", "1024x768x24"]);
        let mut server = server
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut number = String::new();
        if let Some(out) = server.stdout.take() {
            BufReader::new(out).read_line(&mut number)?;
        }
        let name = format!(":{}", number.trim());
        Ok(Self { server, name })
    }

    /// Waits for a window with this title.
    fn wait_for(&self, title: &str) -> Result<()> {
        let mut search = Command::new("xdotool");
        search.env("DISPLAY", &self.name);
        search.args(["search", "--onlyvisible", "--name", title]);
        let began = Instant::now();
        while !exec::succeeds(&mut search) {
            if began.elapsed() > Duration::from_secs(60) {
                bail!("no window {title:?} was shown");
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        Ok(())
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
