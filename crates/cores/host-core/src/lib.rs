//! What a host decides: what it forwards for whom and how much, what it may, and how its life goes.
//!
//! A host is a volunteer's machine between launchers and an endpoint. It forwards sealed datagrams and
//! reads nothing of them but their label, which is not sealed.
//!
//! | module | does |
//! |---|---|
//! | [`forwarder`] | members and slots, rates, the shared upload, counters |
//! | [`routes`] | the endpoint's side: whose each slot is |
//! | [`policy`] | what the coordinator's policies allow |
//! | [`hardware`] | what a machine has beside what a zone wants |
//! | [`life`] | registering, serving, draining, stopped; when the next heartbeat is due |
//! | [`view`] | what the volunteer is shown |
//!
//! # Bounds
//! | what | bound | when full |
//! |---|---|---|
//! | members | [`ForwarderConfig::max_members`] | [`ServeRefused::Full`] |
//! | what a member sends | 300 datagrams and 96 KiB a second, a burst of one second | its newest are dropped, and reported once in 5 s |
//! | upload, both directions | [`ForwarderConfig::upload_mbps`] | what is beyond a member's fair share is dropped first |
//! | routes of a host | [`routes::MAX_ROUTES`] | [`routes::Full`] |
//! | policies | one of each zone, [`warp_protocol::hosting::MAX_ZONES`] | others are not taken |

mod bucket;
pub mod forwarder;
pub mod hardware;
pub mod life;
mod loss;
mod network;
pub mod policy;
pub mod routes;
pub mod view;

pub use forwarder::{
    Flood, Forwarder, ForwarderConfig, MemberCounts, ServeRefused, Totals, WIRE_OVERHEAD,
};
pub use hardware::{Lack, Minimums, Resource};
pub use life::{Act, Life, Phase};
pub use network::Network;
pub use policy::{Policies, PolicyRefused};
pub use routes::{Routes, Unrouted};
pub use view::{HostState, HostStatusView, MemberView, UpstreamKind};
