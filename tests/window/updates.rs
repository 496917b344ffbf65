//! Updates of the real program: from the one that runs to one that was built with another version, and
//! what is refused.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use warp_protocol::update::Channel;
use warp_tests::house::{House, Plan, merge, program};
use warp_updates::publish::{Publication, new_key, read_key};

use warp_tests::window::{Home, PATIENCE, Window, no_window, strip};

const PLATFORM: &str = "linux-x86_64-portable";
/// The version that `cargo xtask test` builds `warp-launcher-next` with.
const NEXT: &str = "0.99.0";

/// An operator with a key and a folder of releases, and a launcher that is there to be replaced.
struct Operator {
    _house: House,
    home: Home,
    folder: tempfile::TempDir,
}

impl Operator {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = new_key(&folder.path().join("key"), None).unwrap();
        let house = House::with(Plan {
            coordinator: json!({ "updates": { "directory": folder.path().join("updates") } }),
            ..Plan::default()
        });
        let mut config = house.node_config();
        merge(&mut config, &json!({ "updates": { "public_key": key } }));
        let home = Home::new(&config);
        let operator = Self {
            _house: house,
            home,
            folder,
        };
        operator.home.install(&program("warp-launcher"));
        operator
    }

    fn launcher(&self) -> PathBuf {
        self.home.path("warp-launcher")
    }

    fn publish(&self, package: &Path, version: &str, channel: Channel) -> PathBuf {
        let publication = Publication {
            package,
            version: version.parse().unwrap(),
            channel,
            platform: PLATFORM.parse().unwrap(),
            percentage: 100,
            notes: format!("What is new in {version}."),
            date: std::time::SystemTime::now(),
        };
        let key = read_key(&self.folder.path().join("key"), None).unwrap();
        publication
            .publish(&self.folder.path().join("updates"), &key)
            .unwrap()
    }

    async fn open(&self) -> Window {
        Window::open(&self.home, &self.launcher(), &[]).await
    }

    /// Takes all releases away.
    fn withdraw(&self) {
        let _ = fs::remove_dir_all(self.folder.path().join("updates"));
    }
}

/// Asks for updates until `state` is shown: in what the page says, or in the problem's code.
async fn asked(window: &Window, css: &str) {
    window.press(r#"[data-testid="settings-toggle"]"#).await;
    window
        .press(r#"[data-testid="update-ask"]:not([disabled])"#)
        .await;
    window.shows(css).await;
    window.press(r#"[data-testid="settings-toggle"]"#).await;
}

const OFFERED: &str = r#"[data-testid="update"][data-state="offered"]"#;

/// The processes that run the launcher of this home as it lies there now.
fn running(launcher: &Path) -> Vec<u32> {
    let name = launcher.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let fits = |pid: &u32| {
        let exe = fs::read_link(format!("/proc/{pid}/exe"));
        exe.is_ok_and(|exe| exe.display().to_string() == name)
    };
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(fits)
        .collect()
}

/// Waits for what a launcher that is out of sight keeps.
async fn until(what: &str, test: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !test() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_downloaded_installed_and_started() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let next = program("warp-launcher-next");
    if !next.is_file() {
        return println!(
            "SKIPPED: no warp-launcher-next; `cargo xtask test --only window` builds it"
        );
    }
    let operator = tokio::task::spawn_blocking(Operator::new).await.unwrap();
    let package = operator.folder.path().join("warp-launcher");
    strip(&next, &package);
    let window = operator.open().await;
    operator.publish(&package, NEXT, Channel::Stable);
    asked(&window, OFFERED).await;
    assert!(window.text().await.contains(NEXT));
    window.press(r#"[data-testid="update-load"]"#).await;
    window.press(r#"[data-testid="update-install"]"#).await;
    // The new program shows its page, and says so by ending its trial.
    let state = || operator.home.update_state();
    until("the trial's begin", || {
        state()["kept"]["version"].is_string()
    })
    .await;
    let kept = state()["kept"]["version"].clone();
    assert_eq!(kept, env!("CARGO_PKG_VERSION"));
    let is_new = || fs::read(operator.launcher()).ok() == fs::read(&package).ok();
    until("the new program", || {
        is_new() && state()["trial"] == Value::Null
    })
    .await;
    // What runs from the launcher's file is the new one; the old one's file has gone.
    let launcher = operator.launcher();
    until("the new one at work", || running(&launcher).len() == 1).await;
    for pid in running(&launcher) {
        let _ = std::process::Command::new("kill")
            .arg(pid.to_string())
            .status();
    }
    until("the new one's end", || running(&launcher).is_empty()).await;
    tokio::task::spawn_blocking(move || drop(operator))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_older_or_damaged_is_refused_and_said() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let operator = tokio::task::spawn_blocking(Operator::new).await.unwrap();
    let package = operator.folder.path().join("warp-launcher");
    fs::write(&package, vec![7_u8; 300_000]).unwrap();
    let before = fs::read(operator.launcher()).unwrap();
    let window = operator.open().await;
    let refused = async |code: &str| {
        asked(&window, OFFERED).await;
        window.press(r#"[data-testid="update-load"]"#).await;
        window
            .shows(&format!(
                r#"[data-testid="update-problem"][data-code="{code}"]"#
            ))
            .await;
        operator.withdraw();
    };

    let release = operator.publish(&package, "0.99.1", Channel::Stable);
    let mut changed = fs::read(release.join("warp-launcher")).unwrap();
    changed[1000] ^= 1;
    fs::write(release.join("warp-launcher"), changed).unwrap();
    refused("update-forged").await;

    // An old release under a new number.
    let release = operator.publish(&package, "0.0.1", Channel::Stable);
    let text = fs::read_to_string(release.join("release.json")).unwrap();
    fs::write(
        release.join("release.json"),
        text.replace("\"0.0.1\"", "\"0.99.2\""),
    )
    .unwrap();
    fs::rename(&release, release.with_file_name("0.99.2")).unwrap();
    refused("update-swapped").await;

    // Canary in the place of stable.
    let release = operator.publish(&package, "0.99.3", Channel::Canary);
    let stable = operator.folder.path().join("updates/stable").join(PLATFORM);
    fs::create_dir_all(&stable).unwrap();
    fs::rename(&release, stable.join("0.99.3")).unwrap();
    refused("update-swapped").await;

    // Shorter than it was when it was signed.
    let release = operator.publish(&package, "0.99.4", Channel::Stable);
    fs::write(release.join("warp-launcher"), vec![7_u8; 200_000]).unwrap();
    let text = fs::read_to_string(release.join("release.json")).unwrap();
    fs::write(
        release.join("release.json"),
        text.replace("300000", "200000"),
    )
    .unwrap();
    refused("update-forged").await;

    assert!(
        fs::read(operator.launcher()).unwrap() == before,
        "nothing was installed"
    );
    assert_eq!(operator.home.update_state()["trial"], Value::Null);
    window.close().await;
    tokio::task::spawn_blocking(move || drop(operator))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_start_twice_is_gone_back_from() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let operator = tokio::task::spawn_blocking(Operator::new).await.unwrap();
    // A program of this system that ends at once: signed in good faith, and broken.
    let package = operator.folder.path().join("warp-launcher");
    fs::copy("/bin/false", &package).unwrap();
    let before = fs::read(operator.launcher()).unwrap();
    let window = operator.open().await;
    operator.publish(&package, NEXT, Channel::Stable);
    asked(&window, OFFERED).await;
    window.press(r#"[data-testid="update-load"]"#).await;
    window.press(r#"[data-testid="update-install"]"#).await;
    window
        .shows(r#"[data-testid="update"][data-state="did-not-start"]"#)
        .await;
    assert!(fs::read(operator.launcher()).unwrap() != before);
    window.press(r#"[data-testid="update-go-back"]"#).await;
    until("the program of before", || {
        fs::read(operator.launcher()).is_ok_and(|now| now == before)
    })
    .await;
    let mode = fs::metadata(operator.launcher())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o111, 0o111, "it can be started");
    // The launcher of before is at work again, and the broken version is offered to who asks alone.
    window.sign_in().await;
    assert_eq!(operator.home.update_state()["refused"], NEXT);
    assert!(!window.has(OFFERED).await, "it is offered again");
    asked(&window, OFFERED).await;
    window.close().await;
    tokio::task::spawn_blocking(move || drop(operator))
        .await
        .unwrap();
}
