//! Three coordinators as one: what is lost, and for how long nothing passes, when a node, its Redis, its
//! database or its clients' way to it fails. Real processes, a real Redis, a real PostgreSQL.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

mod calm;
mod faults;
mod nodes;
mod operating;
mod pair;
mod talk;
