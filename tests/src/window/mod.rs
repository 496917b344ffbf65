//! A launcher's window and what drives it.

mod tray;
mod webdriver;

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::process::{Process, Source};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use tray::Tray;
use webdriver::Session;

/// The longest that anything in the page is waited for; reached only when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often the page is looked at.
const LOOK: Duration = Duration::from_millis(100);
const DRIVER: &str = "WebKitWebDriver";
const BUS: &str = "dbus-daemon";

/// Why there can be no window here.
pub fn no_window() -> Option<String> {
    if std::env::var_os("DISPLAY").is_none_or(|display| display.is_empty()) {
        return Some("no display; `cargo xtask test --only window` brings one".into());
    }
    let has = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    let missing = [DRIVER, BUS, "Xvfb", "xdotool"]
        .into_iter()
        .find(|name| !has(name));
    missing.map(|name| format!("{name} is not installed"))
}

/// A folder for one person's launcher: its home, its configuration.
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// A new folder with this configuration and nothing else.
    pub fn new(config: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("p2p_config.json"), config.to_string()).unwrap();
        for folder in ["data", "config", "cache"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Self { dir }
    }

    /// Where the file or folder `name` of the home is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A copy of a program, without symbols: a hundred megabytes of them are no part of it.
    pub fn install(&self, from: &Path) -> PathBuf {
        let to = self.path(&from.file_name().unwrap().to_string_lossy());
        strip(from, &to);
        to
    }

    /// Has a program live here, on this session bus, with English words.
    pub fn give_to(&self, command: &mut Command, bus: &Bus) {
        command
            .env("DBUS_SESSION_BUS_ADDRESS", &bus.address)
            .env("HOME", self.dir.path())
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("LANG", "en_US.UTF-8")
            .env("LANGUAGE", "en")
            .env("NO_AT_BRIDGE", "1")
            .env("WARP_LOG", "info");
    }

    /// What the launcher keeps about its updates.
    pub fn update_state(&self) -> Value {
        let file = self.path("data/io.warplauncher.desktop/updates/state.json");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// A session bus of its own.
pub struct Bus {
    address: String,
    _daemon: Process,
}

impl Bus {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let mut command = Command::new(BUS);
        command.args(["--session", "--nofork", "--print-address"]);
        let daemon = Process::start(BUS, command);
        let (_, address) = daemon.wait_line(0, "its address", PATIENCE, |line| {
            (line.source == Source::Out).then(|| line.text.clone())
        });
        Self {
            address,
            _daemon: daemon,
        }
    }
}

/// A display of its own, for what is answered by keys: they go to whatever has the focus.
pub struct Display {
    name: String,
    _server: Process,
}

impl Display {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let mut command = Command::new("Xvfb");
        // It chooses a free number, and tells it.
        command.args(["-displayfd", "1", "-screen", "0", "1280x900x24"]);
        let server = Process::start("Xvfb", command);
        let (_, number) = server.wait_line(0, "its number", PATIENCE, |line| {
            (line.source == Source::Out).then(|| line.text.clone())
        });
        Self {
            name: format!(":{}", number.trim()),
            _server: server,
        }
    }

    /// Has a program show its windows here.
    pub fn give_to(&self, command: &mut Command) {
        command.env("DISPLAY", &self.name);
        command.env_remove("WAYLAND_DISPLAY");
    }

    fn xdotool(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("xdotool");
        self.give_to(&mut command);
        let output = command.args(arguments).output().expect("xdotool runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(said)
    }

    /// Waits until as many windows of the program are in sight, and gives them.
    pub async fn windows(&self, program: &str, count: usize) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = self.xdotool(&["search", "--onlyvisible", "--class", program]);
            let windows: Vec<String> = said.unwrap_or_default().lines().map(Into::into).collect();
            if windows.len() == count {
                return windows;
            }
            assert!(
                Instant::now() < until,
                "{count} windows are waited for, there are {windows:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Gives the keys to no window.
    pub fn leave(&self) {
        let root = self.xdotool(&["search", "--maxdepth", "0", ""]);
        let root = root.expect("a display has a root window");
        let left = self.xdotool(&["windowfocus", root.trim()]);
        assert!(left.is_some(), "the root window takes no focus");
    }

    /// Presses keys, one after the other, in a window.
    pub fn press(&self, window: &str, keys: &[&str]) {
        let focused = self.xdotool(&["windowfocus", "--sync", window]);
        assert!(focused.is_some(), "the window takes no focus");
        let pressed = self.xdotool(&[&["key", "--delay", "100"], keys].concat());
        assert!(pressed.is_some(), "{keys:?} were not pressed");
    }
}

/// The window.
pub struct Window {
    page: Session,
    driver: Process,
    bus: Bus,
}

impl Window {
    /// Starts `program` with the home's configuration and `arguments`, and waits until its page is there.
    pub async fn open(home: &Home, program: &Path, arguments: &[&str]) -> Self {
        let config = home.path("p2p_config.json").display().to_string();
        let all = [&["--config", &config], arguments].concat();
        Self::start(home, program, &all).await
    }

    /// Starts `program` with `arguments` alone.
    pub async fn start(home: &Home, program: &Path, arguments: &[&str]) -> Self {
        Self::start_on(Bus::start(), None, home, program, arguments).await
    }

    /// The same on this session bus and, where it is given, this display.
    pub async fn start_on(
        bus: Bus,
        display: Option<&Display>,
        home: &Home,
        program: &Path,
        arguments: &[&str],
    ) -> Self {
        let port = free_port();
        let mut command = Command::new(DRIVER);
        command.arg("--host=127.0.0.1");
        command.arg(format!("--port={port}"));
        home.give_to(&mut command, &bus);
        command.env("TAURI_WEBVIEW_AUTOMATION", "true");
        if let Some(display) = display {
            display.give_to(&mut command);
        }
        let driver = Process::start(DRIVER, command);
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < until, "{DRIVER} does not listen");
            tokio::time::sleep(LOOK).await;
        }
        let options = json!({ "binary": program, "args": arguments });
        let capabilities = json!({ "webkitgtk:browserOptions": options });
        let page = Session::new(&format!("http://127.0.0.1:{port}"), capabilities)
            .await
            .expect("the window opens");
        let window = Self { page, driver, bus };
        window.shows(r#"[data-testid="app"]"#).await;
        window
    }

    /// Whether something of the page fits `css` now.
    pub async fn has(&self, css: &str) -> bool {
        let script = "return document.querySelector(arguments[0]) !== null";
        // While a page is loaded anew there is none that could answer.
        self.page.execute(script, json!([css])).await == Ok(json!(true))
    }

    /// Waits until something of the page fits `css`.
    pub async fn shows(&self, css: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.has(css).await {
            if Instant::now() > until {
                let text = self.text().await;
                let lines = self.driver.lines();
                let last: Vec<_> = lines
                    .iter()
                    .rev()
                    .take(25)
                    .rev()
                    .map(|line| &line.text)
                    .collect();
                panic!("waited in vain for {css}\nthe page says: {text}\nlog: {last:#?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Runs a script in the page, as one would that got in; what a promise of its becomes is waited for.
    ///
    /// # Errors
    /// What it threw.
    pub async fn script(&self, script: &str, args: Value) -> Result<Value, String> {
        self.page.execute(script, args).await
    }

    /// Everything that the page says.
    pub async fn text(&self) -> String {
        let text = self
            .page
            .execute("return document.body.innerText", json!([]))
            .await;
        text.map_or_else(|error| error, |text| text.to_string())
    }

    /// The value of an attribute of the first element that fits.
    pub async fn attribute(&self, css: &str, name: &str) -> String {
        let script = "return document.querySelector(arguments[0]).getAttribute(arguments[1])";
        let value = self
            .page
            .execute(script, json!([css, name]))
            .await
            .expect(css);
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Waits for the first element that fits and clicks it.
    pub async fn press(&self, css: &str) {
        self.shows(css).await;
        // A click by script: what lies over a button for a moment is not what is tested here.
        let script = "document.querySelector(arguments[0]).click()";
        self.page.execute(script, json!([css])).await.expect(css);
    }

    /// Waits for the first element that fits and types into it.
    pub async fn type_into(&self, css: &str, text: &str) {
        self.shows(css).await;
        self.page.type_into(css, text).await.expect(css);
    }

    /// Signs in as `alice` with the password of all tests.
    pub async fn sign_in(&self) {
        self.type_into(r#"[data-testid="user"]"#, "alice").await;
        self.type_into(r#"[data-testid="password"]"#, crate::house::PASSWORD)
            .await;
        self.press(r#"[data-testid="submit"]"#).await;
        self.shows(r#"[data-testid="account"]"#).await;
    }

    /// The session bus that it is on.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The driver's process; those of the window are below it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.driver.pid()
    }

    /// Ends the window.
    pub async fn close(self) {
        self.page.close().await;
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

/// Copies a program without its symbols.
pub fn strip(from: &Path, to: &Path) {
    let status = Command::new("strip").arg("-o").arg(to).arg(from).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "strip {}",
        from.display()
    );
}
