//! What of the launcher is outside of its window: the tray, notifications, the question before it ends.

use std::fs;

use warp_tests::{
    house::program,
    window::{Bus, Display, Home, Tray, Window, no_window},
};

use crate::{until, with_two_hosts};

/// Whether a practice game runs that was started in this home.
fn plays(home: &Home) -> bool {
    let data = format!("XDG_DATA_HOME={}", home.path("data").display());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| {
        let read = |name: &str| fs::read(process.path().join(name)).unwrap_or_default();
        let here = (read("environ").split(|byte| *byte == 0)).any(|one| one == data.as_bytes());
        here && read("comm").starts_with(b"warp-practice")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tray_shows_the_state_fails_over_and_quits_but_asks_while_a_game_runs() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let (mut all, home) = with_two_hosts().await;
    let (bus, display) = (Bus::start(), Display::start());
    let tray = Tray::start(&bus).await;
    let file = home.path("p2p_config.json").display().to_string();
    let arguments = ["--config", file.as_str()];
    let launcher = program("warp-launcher");
    let window = Window::start_on(bus, Some(&display), &home, &launcher, &arguments).await;

    assert!(
        !tray.shows("Disconnected").await.enabled,
        "it is there to be read"
    );
    window.sign_in().await;
    window.press(r#"[data-testid="play"]"#).await;
    let live = r#"[data-testid="live"]"#;
    let on = |path: &str| format!(r#"{live}[data-state="connected"][data-path{path}]"#);
    window.shows(&on(r#"^="host""#)).await;
    let standby = r#"[data-testid^="path-host"][data-phase="standby"]"#;
    window.shows(standby).await;
    tray.shows("Connected").await;
    // Who looks at the window is not notified.
    display.leave();
    let before = window.attribute(live, "data-path").await;
    tray.choose("Fail over").await;
    window
        .shows(&format!(r#"{live}:not([data-path="{before}"])"#))
        .await;
    window.shows(&on(r#"^="host""#)).await;
    for host in &mut all.hosts {
        host.kill();
    }
    window.shows(&on(r#"="wss""#)).await;
    until("a notification", || !tray.notifications().is_empty()).await;
    // Of the failure, and not of what was asked for.
    let moved = "The connection has moved to another path.";
    assert_eq!(tray.notifications(), [moved]);
    window.shows(r#"[data-testid="stream-list"] li"#).await;

    tray.choose("Quit").await;
    let windows = display.windows("warp-launcher", 2).await;
    assert!(plays(&home));
    display.press(windows.last().unwrap(), &["Escape"]);
    display.windows("warp-launcher", 1).await;
    window.shows(r#"[data-testid="stream-list"] li"#).await;
    assert!(plays(&home));

    tray.choose("Quit").await;
    let windows = display.windows("warp-launcher", 2).await;
    display.press(windows.last().unwrap(), &["Return"]);
    display.windows("warp-launcher", 0).await;
    until("the game's end", || !plays(&home)).await;
    window.close().await;
    tokio::task::spawn_blocking(move || drop(all))
        .await
        .unwrap();
}
