//! The practice server and client over real loopback sockets.
// Helpers of tests are tests: what cannot happen may panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod commands;
mod fuzz;
mod pause;
mod program;
mod raw;
mod relay;
mod sessions;
mod shield;
mod strict;
mod versions;
mod world;
