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
//! | `outbox` | how outcomes come to the loop |
//! | `account` | signing in |
//! | `coordinator` | REST client with token refresh |
//! | `proof` | who is who: the coordinator's key, our certificate, the endpoint's |
//! | `device` | the device key |
//! | `pins` | the keys of the coordinators that were met |
//! | `tokens` | refresh tokens and the device key in the system's secret store |
//! | `links` | the session links of a play: the chosen zone's, and those of visits to others |
//! | `session` | one of them with its carriers |
//! | `paths` | keeps a carrier of each kind open, with backoff |
//! | `ports` | ports that the router opens |
//! | `signaling` | one WebRTC set-up through the coordinator |
//! | `router` | which link carries a connection of the game |
//! | `opener` | the streams of a link as the bridge takes them |
//! | `profile` | an operator's profile |
//! | `play` | the bridge, its events and its numbers |
//! | `staff` | what game masters and operators ask |
//! | `packets` | packets of the game for the inspector |
//! | `tables` | the operator's packet tables |
//! | `instances` | the game clients that were started here |
//! | `game` | one game's process |
//! | `hosting` | being a host for others |
//! | `doctor` | checks of what play needs |

mod account;
mod coordinator;
mod device;
mod doctor;
pub mod game;
mod handle;
mod hosting;
mod hosts;
mod instances;
mod links;
mod network;
mod news;
mod opener;
mod outbox;
mod packets;
mod paths;
mod pins;
mod plain;
mod play;
mod ports;
mod profile;
mod proof;
mod room;
mod router;
mod run;
mod session;
mod signaling;
mod staff;
mod tables;
mod tokens;

pub use coordinator::coordinator_http;
pub use doctor::{InPlay, doctor, export};
pub use handle::{
    AlterHeartbeat, EngineHandle, EngineOptions, EventStream, KNOWN_COORDINATORS, Keeping,
};
pub use news::{NewsEntry, news};
pub use profile::open_profile;
pub use warp_engine_core::command::Command;
pub use warp_engine_core::config;
pub use warp_engine_core::event::Event;
pub use warp_engine_core::snapshot::Snapshot;
