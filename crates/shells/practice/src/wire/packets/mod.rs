//! What the servers send beside units. Layouts: ro-protocol sections 2 to 5; what differs between
//! versions comes from the `Dialect`.
//!
//! The server sends them and the client builds the same bytes to compare with. Fixed parts that
//! mean nothing to either end (status, hotkeys) are as recorded (`s1-006`, `s1-007`).

mod entry;
mod map;
#[cfg(test)]
mod tests;

pub(crate) use entry::*;
pub(crate) use map::*;

/// Hit points and spell points of every practice character.
const HP: u32 = 93;
const SP: u32 = 22;
