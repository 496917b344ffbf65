//! A whole session in the window.

use warp_tests::{
    house::{ZONE, program},
    window::{Window, no_window},
};

use crate::with_two_hosts;

#[tokio::test(flavor = "multi_thread")]
async fn a_player_signs_in_plays_over_webrtc_and_the_window_follows_a_killed_path() {
    if let Some(why) = no_window() {
        return println!("SKIPPED: {why}");
    }
    let (mut all, home) = with_two_hosts().await;
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
