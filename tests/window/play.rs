//! A whole session in the window.

use serde_json::json;
use warp_tests::{
    hosted::{Hosted, plan},
    house::{ZONE, here, merge, program},
};

use warp_tests::window::{Home, Window, no_window};

#[tokio::test(flavor = "multi_thread")]
async fn a_player_signs_in_plays_over_webrtc_and_the_window_follows_a_killed_path() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    // Two volunteers carry the game over WebRTC; the WebSocket stands by.
    let paths = ["host", "wss"];
    let mut all = tokio::task::spawn_blocking(move || Hosted::new(plan(), here(), 0, &paths))
        .await
        .unwrap();
    let mut config = all.house.node_config();
    let own = json!({ "p2p": { "paths": paths }, "game": { "practice": { "seconds": 600 } } });
    merge(&mut config, &own);
    let home = Home::new(&config);
    let link = format!("warp://zone/{ZONE}");
    let window = Window::open(&home, &program("warp-launcher"), &[&link]).await;
    window.sign_in().await;
    // The link that the launcher was started with names the zone.
    window
        .shows(&format!(r#"[data-testid="zone-{ZONE}"]"#))
        .await;
    window.press(r#"[data-testid="play"]"#).await;
    let live = r#"[data-testid="live"]"#;
    window
        .shows(&format!(
            r#"{live}[data-state="connected"][data-path^="host"]"#
        ))
        .await;
    // The practice game runs and its connections are counted.
    window.shows(r#"[data-testid="stream-list"] li"#).await;
    window
        .shows(r#"[data-testid="graph"]:not([data-points="0"]):not([data-points="1"])"#)
        .await;
    // Play may have begun over the WebSocket: that move is in the graph already.
    let moves = window
        .attribute(r#"[data-testid="graph"]"#, "data-moves")
        .await;
    for host in &mut all.hosts {
        host.kill();
    }
    window
        .shows(&format!(
            r#"{live}[data-state="connected"][data-path="wss"]"#
        ))
        .await;
    window
        .shows(&format!(
            r#"[data-testid="graph"]:not([data-moves="{moves}"])"#
        ))
        .await;
    // The game went on: it is the same one, and nothing was told of a problem with it.
    window.shows(r#"[data-testid="stream-list"] li"#).await;
    window.press(r#"[data-testid="stop"]"#).await;
    window.shows(r#"[data-testid="play"]"#).await;
    window.close().await;
    tokio::task::spawn_blocking(move || drop(all))
        .await
        .unwrap();
}
