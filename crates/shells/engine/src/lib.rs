//! The engine: everything the launcher does, without a window.
//!
//! [`EngineHandle::start`] runs one loop that owns the state machine of `warp-engine-core`.
//! Commands and results go in, effects come out and are carried out here: the coordinator's REST
//! routes, the carriers, the session link, the loopback bridge, the game's process. The window,
//! `warp-node` and the tests drive the same two types: [`Command`] in, [`Event`] out.
//!
//! | module | does |
//! |---|---|
//! | `run` | the loop |
//! | `coordinator` | REST client with token refresh |
//! | `tokens` | refresh tokens in the system's secret store |
//! | `paths` | keeps a carrier of each kind open, with backoff |
//! | `signaling` | one WebRTC set-up through the coordinator |
//! | `play` | what one session holds: link, bridge, their events |
//! | `game` | the game's process |
//! | `doctor` | checks of what play needs |

mod coordinator;
mod doctor;
mod game;
mod handle;
mod opener;
mod paths;
mod play;
mod run;
mod signaling;
mod tokens;

pub use doctor::{Check, doctor};
pub use handle::{EngineHandle, EngineOptions, EventStream};
pub use warp_engine_core::command::Command;
pub use warp_engine_core::config;
pub use warp_engine_core::event::Event;
pub use warp_engine_core::snapshot::Snapshot;
