//! A host: forwards the sealed datagrams of session links between members and the endpoint.
//!
//! # How it works
//! * It registers with the coordinator ([`Access`]), keeps a signaling socket open, and tells how it is
//!   doing. The socket's loss, and the coordinator's, do not stop what is forwarded.
//! * It has one carrier to the endpoint, over WebRTC, or a WebSocket where that does not come about. It
//!   offers with its device key's signature, to an endpoint whose certificate is the coordinator's and
//!   whose key the coordinator's signed policy names. Nothing else is ever dialled.
//! * Members offer to it, each in its own session. An offer has to be signed by the device that the
//!   coordinator named for the member; the answer is signed by the host's.
//! * [`Plane`] passes datagrams on, by the rules of `warp-host-core`: no task and no queue of its own for
//!   a datagram; a carrier that is full drops the newest.
//!
//! # Bounds
//! | what | bound | when full |
//! |---|---|---|
//! | members | [`HostConfig::max_players`] | not served, with a line in the log |
//! | datagrams to the endpoint, of all members | 256 KiB | the newest is dropped |
//! | datagrams to a member | 256 KiB | the newest is dropped |
//! | signaling messages each way | 256 | who sends waits; candidates are dropped |
//! | WebRTC connections of a member | one open, one being made | the newest offer counts |
//!
//! | module | does |
//! |---|---|
//! | `host` | the loop: one owner of the life, the place, the members |
//! | `access` | what it needs of the coordinator |
//! | `place` | asks for a place, and checks what was granted |
//! | `seat` | the signaling socket |
//! | `upstream` | the carrier to the endpoint |
//! | `members` | their offers |
//! | `plane` | their datagrams |
//! | `figures` | rates, for the view and for heartbeats |
//! | `hardware` | what this machine has |
//! | `config` | its settings |

mod access;
mod config;
mod figures;
mod hardware;
mod host;
mod members;
mod place;
mod plane;
mod seat;
mod upstream;

pub use access::{Access, Certified};
pub use config::HostConfig;
pub use hardware::read_hardware;
pub use host::HostHandle;
pub use plane::Plane;
