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

use warp_tests::window::PATIENCE;

/// Waits for what is not of the page.
async fn until(what: &str, test: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !test() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
