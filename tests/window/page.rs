//! What the page may not do, whatever script runs in it, and whatever it shows.

use std::{
    io::{ErrorKind, Read as _},
    net::TcpListener,
};

use serde_json::json;
use warp_tests::house::House;

use warp_tests::window::{Home, Window, no_window};

/// Ways out of a page.
const WAYS: [&str; 5] = [
    "location.href = arguments[0]",
    "location.replace(arguments[0])",
    "window.open(arguments[0])",
    "const a = document.createElement('a'); a.href = arguments[0]; document.body.append(a); a.click()",
    "const a = document.createElement('a'); a.href = arguments[0]; a.target = '_blank'; \
     document.body.append(a); a.click()",
];

/// Commands of Tauri's and of its plugins that would reach files, programs or other windows.
const COMMANDS: [&str; 6] = [
    "plugin:fs|read_text_file",
    "plugin:shell|execute",
    "plugin:opener|open_url",
    "plugin:webview|create_webview_window",
    "plugin:updater|check",
    "plugin:dialog|open",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_script_in_the_page_reaches_no_other_host_and_no_command_that_is_not_granted() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let address = elsewhere.local_addr().unwrap();
    let house = tokio::task::spawn_blocking(House::new).await.unwrap();
    let home = Home::new(&house.node_config());
    let window = Window::open(&home, &warp_tests::house::program("warp-launcher"), &[]).await;
    window.shows(r#"[data-testid="submit"]"#).await;
    for way in WAYS {
        let url = format!("http://{address}/?what=it-knows");
        // What is refused may be an error there, or nothing at all.
        let _ = window.script(way, json!([url])).await;
        assert!(window.has(r#"[data-testid="submit"]"#).await, "{way}");
    }
    let fetched = "return fetch(arguments[0]).then(() => 'reached', () => 'refused')";
    let url = format!("http://{address}/");
    let fetched = window.script(fetched, json!([url])).await;
    assert_eq!(fetched, Ok(json!("refused")));
    for command in COMMANDS {
        let invoke = "return window.__TAURI_INTERNALS__.invoke(arguments[0], {}) \
                      .then(() => 'done', (error) => String(error))";
        let answer = window.script(invoke, json!([command])).await.unwrap();
        let answer = answer.as_str().unwrap();
        assert!(answer.contains("not allowed"), "{command}: {answer}");
    }
    // The page is the same one.
    assert!(window.has(r#"[data-testid="submit"]"#).await);
    window.close().await;
    // The web engine may have opened a connection in advance, before it asked; nothing was said on it.
    while let Ok((mut stream, _)) = elsewhere.accept() {
        stream.set_nonblocking(true).unwrap();
        let said = stream.read(&mut [0; 64]);
        let silent = match &said {
            Ok(bytes) => *bytes == 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        assert!(silent, "{said:?}");
    }
    tokio::task::spawn_blocking(move || drop(house))
        .await
        .unwrap();
}

/// Lists and dialogs are drawn by the system's toolkit. The page hears which theme that has.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_system_draws_has_the_theme_that_was_chosen_also_after_a_start() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    const DARK: &str = "const dark = matchMedia('(prefers-color-scheme: dark)'); \
        return new Promise((there) => { \
            if (dark.matches === arguments[0]) there(dark.matches); \
            else dark.addEventListener('change', () => there(dark.matches), { once: true }); \
        })";
    let home = Home::new(&json!({}));
    let program = warp_tests::house::program("warp-launcher");
    let window = Window::open(&home, &program, &[]).await;
    let open = async |window: &Window| {
        window.shows(r#"[data-testid="submit"]"#).await;
        window.press(r#"[data-testid="settings-toggle"]"#).await;
        window.shows(r#"[data-testid="settings-theme-dark"]"#).await;
    };
    open(&window).await;
    for (theme, dark) in [("dark", true), ("light", false), ("dark", true)] {
        let choice = format!(r#"[data-testid="settings-theme-{theme}"]"#);
        window.press(&choice).await;
        let is = window.script(DARK, json!([dark])).await;
        assert_eq!(is, Ok(json!(dark)), "{theme}");
    }
    window.close().await;
    let window = Window::open(&home, &program, &[]).await;
    open(&window).await;
    assert_eq!(window.script(DARK, json!([true])).await, Ok(json!(true)));
    window
        .press(r#"[data-testid="settings-theme-system"]"#)
        .await;
    // There is no portal here that would say otherwise.
    assert_eq!(window.script(DARK, json!([false])).await, Ok(json!(false)));
    window.close().await;
}

/// What a game master may is decided at the coordinator: the panel of one who is none any more shows a
/// refusal, although the page still believes.
#[tokio::test(flavor = "multi_thread")]
async fn a_game_master_sees_the_sessions_and_a_player_is_refused() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let house = tokio::task::spawn_blocking(House::new).await.unwrap();
    let toggle = r#"[data-testid="staff-toggle"]"#;
    let sign_in = async |home: &Home| {
        let launcher = warp_tests::house::program("warp-launcher");
        let window = Window::open(home, &launcher, &[]).await;
        window.sign_in().await;
        window.shows(r#"[data-testid="play"]"#).await;
        window
    };
    let home = Home::new(&house.node_config());
    let window = sign_in(&home).await;
    assert!(!window.has(toggle).await, "a player has no panel");
    window.close().await;

    house.admin(&["user", "role", "alice", "gm"]);
    let home = Home::new(&house.node_config());
    let window = sign_in(&home).await;
    window.press(toggle).await;
    window.press(r#"[data-testid="staff-tab-sessions"]"#).await;
    window.shows(r#"[data-testid="no-sessions"]"#).await;

    house.admin(&["user", "role", "alice", "player"]);
    window.press(r#"[data-testid="staff-tab-bans"]"#).await;
    window.shows(r#"[data-testid="staff-problem"]"#).await;
    window.close().await;
    tokio::task::spawn_blocking(move || drop(house))
        .await
        .unwrap();
}
