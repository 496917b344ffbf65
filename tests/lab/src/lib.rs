//! A network on one Linux machine: namespaces as hosts, and links between them with delay, jitter,
//! loss and cuts, for the tests of the group `netlab` and for the benchmarks.
//!
//! - [`Namespace`]: a host with its own interfaces, ports and firewall; it ends with its value, and
//!   what is left of a killed run is removed by the next one.
//! - [`veth_pair`]: a plain cable between two namespaces, as fast as the machine.
//! - [`Nat`]: a router that translates addresses, of each of the usual kinds; [`Internet`] and
//!   [`Home`] put players behind them.
//! - [`LinkEmulator`]: a cable with properties, in user space, for TCP and UDP alike, because
//!   kernels without the `netem` module have no other.
//!
//! Beside it: real database servers, [`Postgres`] and [`MariaDb`], which need neither root nor
//! namespaces.
//!
//! The network needs root, `ip` and (for [`Namespace::drop_incoming`]) `nft`. A test asks
//! [`available`] first and prints `SKIPPED: reason` where it says no:
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use warp_lab::{Direction, LinkEmulator, Namespace, Profile};
//!
//! if let Err(reason) = warp_lab::available() {
//!     println!("SKIPPED: {reason}");
//!     return Ok(());
//! }
//! let player = Namespace::new("player")?;
//! let server = Namespace::new("server")?;
//! let link = LinkEmulator::new(&player, &server, Profile::delay_ms(20), 1)?;
//! let mut ping = player.command("ping").arg("-c3").arg(link.address_b().to_string()).spawn()?;
//! link.set(Direction::AToB, Profile::delay_ms(20).with_loss(0.02));
//! link.cut();
//! link.restore();
//! ping.wait()?;
//! # Ok(())
//! # }
//! ```
#![cfg(target_os = "linux")]

mod capture;
mod databases;
mod emulator;
mod namespace;
mod nat;
mod profile;
mod queue;
mod veth;

pub use databases::{MariaDb, Postgres};
pub use emulator::{Count, Counters, Direction, LinkEmulator};
pub use namespace::{CONGESTION_CONTROL, DropRule, Namespace, available};
pub use nat::{Home, Internet, Nat, NatKind, Port, Router, route, route_default};
pub use profile::Profile;
pub use veth::{VethPair, veth_pair};
