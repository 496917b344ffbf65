//! Looks at the network that this machine is in: what gets out, what comes back, what stands in
//! between. [`look`] sends and measures; `warp-reach-core` says what it means.
//!
//! | module | looks at |
//! |---|---|
//! | `look` | everything at once, within [`LIMIT`] |
//! | `stun` | one exchange with STUN servers over one socket |
//! | `udp` | addresses, mapping, filtering, hairpinning of one family |
//! | `turn` | a relay |
//! | `servers` | names of servers become addresses |
//! | `coordinator` | who answers at the coordinator's address, and its clock |
//! | `mapping` | ports that the router opens when asked |
//! | `machine` | loopback and proxies |
//!
//! Answers are taken from the address that was asked only (or, where the server was asked to answer
//! from another, from that one), and only with the transaction id of the question. Everything else
//! that arrives is counted against [`stun::MAX_DATAGRAMS`] and dropped: a server that floods costs
//! its own answer.

mod coordinator;
mod look;
mod machine;
pub mod mapping;
mod servers;
pub mod stun;
mod turn;
mod udp;

pub use look::{LIMIT, Plan, look};
pub use warp_reach_core as core;
