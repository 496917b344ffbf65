//! The words that every room shares: ids, REST bodies, signaling messages, framing of game
//! streams, carrier labels, and the closed set of problem codes.
//!
//! Rules of this crate:
//! * no IO, no clock, no randomness; only types and their encodings;
//! * everything that crosses a process border is defined here once, for both sides;
//! * decoders take hostile bytes: they refuse, they never panic, and they never allocate a size
//!   that the other side names.

pub mod admin;
pub mod carrier;
pub mod contract;
pub mod endpoint;
pub mod hosting;
pub mod identity;
#[cfg(feature = "openapi")]
mod openapi;
pub mod problem;
pub mod profile;
pub mod relay;
pub mod report;
pub mod rest;
pub mod secret;
pub mod signal;
pub mod stream;
pub mod update;
pub mod zone;

pub use problem::{Problem, ProblemCode};
pub use secret::Secret;

/// Version of the wire contract between launcher, coordinator and endpoint.
///
/// It is the ALPN protocol of the session link, so two sides of different major versions refuse
/// each other in the TLS handshake instead of misreading frames.
pub const LINK_ALPN: &[u8] = b"warp-link/1";
