//! `warp-node inspect`, as its user runs it.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod captures;
mod run;
mod streams;
mod texts;
mod wire;
