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
mod updates;
