//! Sign-ins that are remembered, in a real secret service of a session bus of its own.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says why it was skipped"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use warp_tests::house::{House, PASSWORD, Place, Plan, ZONE, program};
use warp_tests::process::{PATIENCE, Process, Source};

/// How often the bus is asked whether the service is there.
const LOOK: Duration = Duration::from_millis(50);
/// Opens the test's own keyring.
const KEYRING_PASSWORD: &str = "opens it";

/// A person's desktop, as far as secrets go.
struct Desktop {
    // The service goes before its bus.
    _service: Process,
    _bus: Process,
    address: String,
    home: TempDir,
}

impl Desktop {
    /// `None`: not possible here; the reason has been printed.
    fn new() -> Option<Self> {
        for name in ["dbus-daemon", "dbus-send", "gnome-keyring-daemon"] {
            let path = std::env::var_os("PATH").unwrap_or_default();
            if !std::env::split_paths(&path).any(|folder| folder.join(name).is_file()) {
                println!("SKIPPED: {name} is not installed");
                return None;
            }
        }
        let home = tempfile::tempdir().unwrap();
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--session", "--nofork", "--print-address"]);
        let bus = Process::start("dbus-daemon", bus);
        let (_, address) = bus.wait_line(0, "its address", PATIENCE, |line| {
            (line.source == Source::Out).then(|| line.text.clone())
        });
        let secret = home.path().join("secret");
        std::fs::write(&secret, KEYRING_PASSWORD).unwrap();
        // It reads the password to the end of its input, so that this must have one.
        let mut service = Command::new("sh");
        service.args(["-c", r#"exec gnome-keyring-daemon "$@" < "$SECRET""#, "sh"]);
        service.args(["--foreground", "--unlock", "--components=secrets"]);
        service.arg(format!("--control-directory={}", home.path().display()));
        service.env("SECRET", &secret);
        at_home(&mut service, home.path(), &address);
        let service = Process::start("gnome-keyring-daemon", service);
        let until = Instant::now() + PATIENCE;
        while !owned(&address) {
            assert!(Instant::now() < until, "no secret service on the bus");
            std::thread::sleep(LOOK);
        }
        Some(Self {
            _service: service,
            _bus: bus,
            address,
            home,
        })
    }

    /// Where this person's programs run.
    fn place(&self) -> Place {
        let (home, address) = (self.home.path().to_owned(), self.address.clone());
        Arc::new(move |program: &Path| {
            let mut command = Command::new(program);
            at_home(&mut command, &home, &address);
            command
        })
    }
}

fn at_home(command: &mut Command, home: &Path, bus: &str) {
    for name in [
        "HOME",
        "XDG_DATA_HOME",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "XDG_RUNTIME_DIR",
    ] {
        command.env(name, home);
    }
    command.env("DBUS_SESSION_BUS_ADDRESS", bus);
}

/// Whether somebody keeps secrets on the bus.
fn owned(bus: &str) -> bool {
    let mut ask = Command::new("dbus-send");
    ask.args([
        "--session",
        "--print-reply",
        "--dest=org.freedesktop.DBus",
        "/",
    ]);
    ask.args([
        "org.freedesktop.DBus.NameHasOwner",
        "string:org.freedesktop.secrets",
    ]);
    ask.env("DBUS_SESSION_BUS_ADDRESS", bus)
        .stderr(Stdio::null());
    let answer = ask.output().unwrap();
    String::from_utf8_lossy(&answer.stdout).contains("boolean true")
}

/// Starts a launcher of the person, with a password that is to be remembered or with what was kept.
fn launcher(house: &House, desktop: &Desktop, user: &str, password: Option<&str>) -> Process {
    let file = house.dir().join("remembers.json");
    std::fs::write(&file, house.node_config().to_string()).unwrap();
    let mut command = desktop.place()(&program("warp-node"));
    command.args(["play", "--json", "--no-game", "--user", user]);
    command.args(["--zone", ZONE, "--config"]).arg(file);
    command.env("WARP_LOG", "info");
    if password.is_some() {
        command.args(["--password-stdin", "--remember"]);
    }
    let mut node = Process::start(&format!("launcher of {user}"), command);
    if let Some(password) = password {
        node.password(password);
    }
    node
}

/// Signs in and ends; the key of the device.
fn signs_in(house: &House, desktop: &Desktop, user: &str, password: Option<&str>) -> String {
    let mut node = launcher(house, desktop, user, password);
    let signed_in = node.event("signed-in");
    assert_eq!(signed_in["account"]["name"], user, "{signed_in}");
    assert_eq!(signed_in["kept"], "keyring", "{signed_in}");
    let device = node.event("device");
    assert_eq!(device["kept"], "keyring", "{device}");
    node.event("bridge-ready");
    node.line("/quit");
    assert_eq!(node.exit(PATIENCE).code, Some(0));
    device["key"].as_str().unwrap().to_owned()
}

#[test]
fn two_accounts_are_remembered_and_signed_in_again_without_their_passwords() {
    let Some(desktop) = Desktop::new() else {
        return;
    };
    let house = House::with(Plan::default());
    house.add_user("bob");
    let mut devices = Vec::new();
    for user in ["alice", "bob"] {
        devices.push(signs_in(&house, &desktop, user, Some(PASSWORD)));
    }
    // Twice: each sign-in uses the kept token up, and keeps the one that takes its place.
    for user in ["alice", "bob", "bob", "alice"] {
        devices.push(signs_in(&house, &desktop, user, None));
    }
    // One install has one device key, whoever plays.
    devices.dedup();
    assert_eq!(devices.len(), 1, "{devices:?}");
    // Somebody who was never remembered is told so.
    let mut nobody = launcher(&house, &desktop, "carol", None);
    let problem = nobody.event("problem");
    assert_eq!(problem["problem"]["code"], "not-signed-in", "{problem}");
    assert_eq!(nobody.exit(PATIENCE).code, Some(3));
    // No file of the person holds the password that was typed.
    let mut folders = vec![desktop.home.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() => {
                    let bytes = std::fs::read(&path).unwrap_or_default();
                    let found = bytes
                        .windows(PASSWORD.len())
                        .any(|part| part == PASSWORD.as_bytes());
                    assert!(!found, "{} holds the password", path.display());
                }
                _ => {}
            }
        }
    }
}
