//! What the tests of the whole share.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test tool fails by panicking"
)]

pub mod sim;
