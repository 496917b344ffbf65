//! Lanes among each other: what is read, what is refused, and when keys change.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and needs some instant to start from"
)]

mod changes;
mod party;
mod refusals;
