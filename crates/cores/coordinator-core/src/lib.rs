//! What the coordinator decides, without a socket, a clock or a database.
//!
//! * [`frame`]: a signaling frame from outside becomes a message or an `error` signal.
//! * [`rooms`]: who is in which signaling room, and who gets what.
//! * [`sessions`]: which account holds which session, and until when an unused one lasts.
//! * [`fleet`]: volunteer hosts, their leases, and which session goes over which host.
//! * [`game_account`]: an account of a game server's table, and whether it may sign in.
//! * [`npcs`]: what is known of NPCs, and what of it is to be told.
//! * [`host_sessions`]: which host serves which zone, from when to when.
//! * [`bans`]: who is banned now.
//! * [`client_address`]: whose request came over a reverse proxy.
//! * [`secrets`]: which secrets are too weak to be used in production.
//! * [`access`]: who may join a zone, and what names and passwords look like.
//!
//! Time is an argument (a `Duration` since any fixed start); randomness too: ids come in as text.

pub mod access;
pub mod bans;
pub mod client_address;
pub mod fleet;
pub mod frame;
pub mod game_account;
pub mod host_sessions;
pub mod npcs;
pub mod rooms;
pub mod secrets;
pub mod sessions;

pub use access::{check_name, check_password, may_join};
pub use fleet::{Fleet, FleetLimits, FleetOutput};
pub use frame::parse_frame;
pub use game_account::GameAccount;
pub use host_sessions::{HostSession, HostSessions};
pub use rooms::{CloseReason, ConnId, Output, Rooms, RoomsLimits};
pub use sessions::{NewSession, Revoked, Session, Sessions, SessionsFull, SessionsLimits};
