//! A player who has the launcher, the server's profile and the game, and has never played.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Instant};

use serde_json::{Value, json};
use warp_tests::house::{House, PASSWORD, api, program};

use warp_tests::window::{Home, Window, no_window};

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_start_with_a_profile_to_playing() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let house = tokio::task::spawn_blocking(House::new).await.unwrap();
    let home = Home::new(&json!({}));
    let launcher = home.install(&program("warp-launcher"));
    home.install(&program("warp-keeper"));
    let game = home.path("game/ragexe");
    fs::create_dir(home.path("game")).unwrap();
    // A client that knows of its server only what a client information file says.
    let practice = program("warp-practice").display().to_string();
    let client = format!(
        r#"#!/bin/sh
file="$(dirname "$0")/${{1#/account:}}"
value() {{ sed -n "s:.*<$1>\(.*\)</$1>.*:\1:p" "$file"; }}
echo test1 | exec '{practice}' client --user test1 --password-stdin \
    --login "$(value address):$(value port)" --seconds 600
"#
    );
    fs::write(&game, client).unwrap();
    fs::set_permissions(&game, fs::Permissions::from_mode(0o755)).unwrap();
    // What an operator ships beside the launcher.
    fs::remove_file(home.path("p2p_config.json")).unwrap();
    let folder = home.path("game").display().to_string();
    let profile = house.admin(&[
        "profile",
        "--name",
        "The practice server",
        "--url",
        &api(house.address),
        "--accent",
        "#3366cc",
        "--executable",
        "ragexe",
        "--game-folder",
        "/nowhere",
        "--game-folder",
        &folder,
        "--game-argument",
        "/account:{clientinfo}",
        "--clientinfo",
    ]);
    fs::write(home.path("server.warp"), profile).unwrap();

    let began = Instant::now();
    let step = |what: &str| println!("first run: {:.1} s: {what}", began.elapsed().as_secs_f64());
    let window = Window::start(&home, &launcher, &[]).await;
    window.shows(r#"[data-testid="submit"]"#).await;
    step("the sign-in page of the operator's server");
    assert!(window.text().await.contains("The practice server"));
    window.press(r#"[data-testid="mode-register"]"#).await;
    window
        .type_into(r#"[data-testid="user"]"#, "newcomer")
        .await;
    window
        .type_into(r#"[data-testid="password"]"#, PASSWORD)
        .await;
    window.press(r#"[data-testid="submit"]"#).await;
    window.shows(r#"[data-testid="play"]"#).await;
    step("an account was made, the zones are there");
    window.press(r#"[data-testid="play"]"#).await;
    window
        .shows(r#"[data-testid="live"][data-state="connected"]"#)
        .await;
    window.shows(r#"[data-testid="bridge"]"#).await;
    step("connected, the game was started");
    window.shows(r#"[data-testid="stream-list"] li"#).await;
    step("playing: the game has found the launcher");
    let file = home.path("config/io.warplauncher.desktop/p2p_config.json");
    let config: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(config["game"]["executable"], game.display().to_string());
    assert!(
        config["coordinator"]["public_key"].is_string(),
        "the key is pinned"
    );
    window.press(r#"[data-testid="stop"]"#).await;
    window.shows(r#"[data-testid="play"]"#).await;
    window.close().await;
    tokio::task::spawn_blocking(move || drop(house))
        .await
        .unwrap();
}
