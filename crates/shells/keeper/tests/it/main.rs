//! Supervision with real processes: the keeper, the engine's game module that uses it, a stand-in
//! for a game (`examples/game.rs`) and a launcher that can be killed (`examples/launcher.rs`).
#![cfg(unix)]
// Helpers of tests are tests: what cannot happen may panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clientinfo;
mod engine;
mod protocol;
mod stage;
