//! What of the launcher is outside of its window: the tray, notifications, the question before it ends.

use std::fs;

use serde_json::json;
use warp_tests::{
    house::{House, merge, program},
    window::{Bus, Display, Home, Tray, Window, no_window},
};

use crate::until;

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
    let house = tokio::task::spawn_blocking(House::new).await.unwrap();
    let mut config = house.node_config();
    let own = json!({
        "p2p": { "paths": ["direct", "wss"] },
        "game": { "practice": { "seconds": 600 } },
    });
    merge(&mut config, &own);
    let home = Home::new(&config);
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
    let live =
        |path: &str| format!(r#"[data-testid="live"][data-state="connected"][data-path="{path}"]"#);
    window.shows(&live("direct")).await;
    tray.shows("Connected").await;
    // Who looks at the window is not notified.
    display.leave();
    let told = tray.notifications().len();
    tray.choose("Fail over").await;
    window.shows(&live("wss")).await;
    let moved = "The connection has moved to another path.";
    let notified = || {
        tray.notifications()[told..]
            .iter()
            .any(|text| text == moved)
    };
    until("a notification", notified).await;
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
    tokio::task::spawn_blocking(move || drop(house))
        .await
        .unwrap();
}
