//! What the launcher asks in dialogs of the system, and what starts it a second time.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use warp_tests::{
    house::{House, program},
    process::Process,
    window::{Bus, Display, Home, PATIENCE, Window, no_window},
};

use crate::until;

/// A launcher that nobody drives, on a display of its own.
struct Alone {
    launcher: Process,
    display: Display,
    home: Home,
    _bus: Bus,
}

impl Alone {
    fn start(home: Home, program: &Path) -> Self {
        let (bus, display) = (Bus::start(), Display::start());
        let mut command = Command::new(program);
        command.arg("--config").arg(home.path("p2p_config.json"));
        home.give_to(&mut command, &bus);
        display.give_to(&mut command);
        Self {
            launcher: Process::start("launcher", command),
            display,
            home,
            _bus: bus,
        }
    }

    /// The processes that draw its page.
    fn painters(&self) -> Vec<u32> {
        let parent = self.launcher.pid().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let ours = |pid: &u32| {
            let about = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let (_, rest) = about.split_once("(WebKitWebProces) ").unwrap_or_default();
            rest.split(' ').nth(1) == Some(&parent)
        };
        processes
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(ours)
            .collect()
    }

    /// Whether the page has come: it tells its words for dialogs then.
    fn has_page(&self) -> bool {
        self.home
            .path("data/io.warplauncher.desktop/face.json")
            .is_file()
    }
}

/// Whether a page's process is connected: it has the threads for that.
fn has_begun(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads.into_iter().flatten().flatten().any(|thread| {
        let name = fs::read_to_string(thread.path().join("comm"));
        name.is_ok_and(|name| name.trim() == "gdbus")
    })
}

/// A launcher whose page hangs before it has come.
async fn without_page() -> Alone {
    for _ in 0..10 {
        let home = Home::new(&json!({}));
        let alone = Alone::start(home, &program("warp-launcher"));
        // Before it is connected to the launcher, the web engine's library would wait for it without end.
        let connected = || alone.painters().into_iter().any(has_begun);
        until("the page's process", connected).await;
        for pid in alone.painters() {
            signal(pid, "STOP");
        }
        if !alone.has_page() {
            return alone;
        }
        println!("the page was quicker");
    }
    panic!("the page was quicker each time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_does_not_come_is_told_and_loaded_anew() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let alone = without_page().await;
    // The window, and the question.
    let windows = alone.display.windows("warp-launcher", 2).await;
    // What hangs does not answer a request to load anew either.
    for pid in alone.painters() {
        signal(pid, "KILL");
    }
    let question = windows.last().unwrap();
    alone.display.press(question, &["Return"]);
    until("the page", || alone.has_page()).await;
    alone.display.windows("warp-launcher", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_process_dies_is_loaded_anew() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let alone = Alone::start(Home::new(&json!({})), &program("warp-launcher"));
    let pages = || {
        let lines = alone.launcher.lines();
        let pages = lines
            .iter()
            .filter(|line| line.text.contains("the page is there"));
        pages.count()
    };
    until("the page", || pages() == 1).await;
    for pid in alone.painters() {
        signal(pid, "KILL");
    }
    until("the page anew", || pages() == 2).await;
    alone.display.windows("warp-launcher", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_has_failed_to_start_is_gone_back_from_without_its_window() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let home = Home::new(&json!({}));
    let installed = home.install(&program("warp-launcher"));
    // As an installer leaves it that starts the new version itself: nobody has seen it fail twice.
    let updates = home.path("data/io.warplauncher.desktop/updates");
    fs::create_dir_all(updates.join("kept")).unwrap();
    fs::copy("/bin/true", updates.join("kept/0.0.9.bin")).unwrap();
    let state = json!({
        "kept": { "version": "0.0.9", "file": "0.0.9.bin", "offer": null },
        "trial": { "version": env!("CARGO_PKG_VERSION"), "starts": 2 },
    });
    fs::write(updates.join("state.json"), state.to_string()).unwrap();
    let mut alone = Alone::start(home, &installed);
    // The question alone.
    let windows = alone.display.windows("warp-launcher", 1).await;
    assert!(!alone.has_page());
    alone.display.press(&windows[0], &["Return"]);
    assert_eq!(alone.launcher.exit(PATIENCE).code, Some(0));
    assert_eq!(
        fs::read(&installed).unwrap(),
        fs::read("/bin/true").unwrap()
    );
    let state = alone.home.update_state();
    assert_eq!(state["trial"], Value::Null);
    assert_eq!(state["refused"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_hands_its_link_over_and_ends() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let house = tokio::task::spawn_blocking(House::new).await.unwrap();
    house.put_other_zone("elsewhere", "enabled");
    let home = Home::new(&house.node_config());
    let launcher = program("warp-launcher");
    let window = Window::open(&home, &launcher, &[]).await;
    window.sign_in().await;
    let mut again = Command::new(&launcher);
    again.arg("--config").arg(home.path("p2p_config.json"));
    again.arg("warp://zone/elsewhere");
    home.give_to(&mut again, window.bus());
    let mut again = Process::start("second launcher", again);
    assert_eq!(again.exit(PATIENCE).code, Some(0));
    window
        .shows(r#"[data-testid="zone-elsewhere"] input:checked"#)
        .await;
    window.close().await;
    tokio::task::spawn_blocking(move || drop(house))
        .await
        .unwrap();
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "kill {pid}");
}
