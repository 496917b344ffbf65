//! The real window, driven by WebKitWebDriver: what a person would press, against real programs.
//!
//! Every wait is for what the page shows. Each test has a home folder and a session bus of its own, so
//! that neither a keyring nor another launcher of this user is met.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

mod dialogs;
mod first_run;
mod page;
mod play;
mod tray;
mod updates;

use std::time::{Duration, Instant};

use serde_json::json;
use warp_tests::{
    hosted::{Hosted, plan},
    house::{here, merge},
    window::{Home, PATIENCE},
};

/// Waits for what is not of the page.
async fn until(what: &str, test: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !test() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A house whose game two volunteers carry over WebRTC, the WebSocket standing by, and the home of a player
/// with the practice game.
async fn with_two_hosts() -> (Hosted, Home) {
    let paths = ["host", "wss"];
    let all = tokio::task::spawn_blocking(move || Hosted::new(plan(), here(), 0, &paths));
    let all = all.await.unwrap();
    let mut config = all.house.node_config();
    let own = json!({ "p2p": { "paths": paths }, "game": { "practice": { "seconds": 600 } } });
    merge(&mut config, &own);
    let home = Home::new(&config);
    (all, home)
}
