//! What the fuzzing targets do with their input; `targets/` holds one program per module.
//!
//! A target takes any bytes, hands them to a decoder and panics where a promise does not hold: the
//! decoder panics, loses bytes, or understands pieces otherwise than the whole. Settings come from
//! the first bytes of the input, so that the rest is exactly what comes over the wire: seeds and
//! dictionaries can be read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a target finds by panicking"
)]

pub mod addresses;
pub mod bridge_connection;
pub mod carrier;
pub mod certificate;
pub mod config;
pub mod decode;
pub mod detector;
pub mod framer;
mod input;
mod json;
pub mod peer_messages;
pub mod recording;
pub mod recvpackets;
pub mod report;
pub mod scout;
pub mod sealing;
pub mod signal;
pub mod stream_messages;
