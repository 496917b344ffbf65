//! The coordinator: accounts, zones, signaling, and the endpoint that ends the session links of
//! its zones. The binary `warp-coordinator` runs it; a launcher embeds it with
//! [`Coordinator::start`].
//!
//! * The routes are those of [`warp_protocol::rest`], under `/api/v1/` and under `/api/`, with
//!   `GET /health` and `GET /` beside them. Every refusal is an
//!   [`ErrorBody`](warp_protocol::rest::ErrorBody).
//! * Data lives in one directory: a SQLite file and three key files (see [`config`] for where). With
//!   `database.url` the SQLite file is a PostgreSQL database instead.
//! * Access tokens say who somebody is for 15 minutes; refresh tokens work once and last 7 days.
//!   A refresh token that comes a second time ends its sign-in on all its copies.
//! * Devices are certified by the identity key for an hour; a session needs such a certificate,
//!   unless the configuration says otherwise. What is revoked, here or by another process, ends its
//!   sessions within 10 s and is certified no more.
//! * A session belongs to the account and device key that joined; there is one per zone and pair. It
//!   ends when the endpoint ends it, when its owner asks, when its device is revoked, or when nothing
//!   attaches to it for 60 s.
//! * The routes are one table, of which the router and the OpenAPI document (`/openapi.json`, `/docs`)
//!   are made.
//! * What is banned, here or by another process, is out within some seconds; see [`warp_protocol::admin`]
//!   for what operators and game masters do. Each of their actions is a line of the audit log, and
//!   their role is the database's at that moment, whatever their token says.
//! * A host belongs to the account that registered it first. Which session goes over which host is
//!   decided by [`warp_coordinator_core::fleet`]; see docs/hosting-operator.md.
//! * Logs never hold a password, a token, a query or a header.

mod admin;
mod answer;
mod api;
mod api_keys;
mod app;
mod audit;
mod authority;
mod bans;
mod capacity;
mod cluster;
pub mod config;
mod data_dir;
pub mod doctor;
mod endpoint_port;
mod extract;
mod game_accounts;
mod gate;
mod hosting;
mod hosts_config;
mod hub;
mod limits;
mod live;
mod log_config;
mod monitoring;
mod npc;
mod offline;
mod orders;
mod passwords;
mod problem;
mod production;
mod rate_limits;
mod relays;
mod releases;
mod remote;
mod running;
mod security_config;
mod server;
mod storage;
mod store;
mod tls;
mod tokens;
mod turn;
mod ws;

pub use api_keys::{ApiKey, ApiKeysConfig, ApiScope};
pub use capacity::{Capacity, raise_descriptor_limit};
pub use cluster::{ClusterConfig, ClusterError, announce};
pub use config::{ConfigError, CoordinatorConfig, EndpointMode, Registration, TlsFiles};
pub use data_dir::DataDirError;
pub use game_accounts::GameAccountsConfig;
pub use hosts_config::{HostsConfig, HostsWho};
pub use limits::{Rate, RateLimits};
pub use log_config::{LogConfig, LogFormat};
pub use monitoring::config::MonitoringConfig;
pub use npc::NpcConfig;
pub use offline::{AdminError, Offline};
pub use passwords::PasswordCost;
pub use running::{Coordinator, Running, StartError, public_key, sign_profile};
pub use storage::{back_up, migrate, restore};
pub use store::{BackupError, CopyError, DatabaseUrl, DatabaseUrlError, DeviceView, StoreError};
pub use tls::TlsError;
pub use turn::TurnConfig;
pub use warp_coordinator_core::client_address::Network;
pub use warp_coordinator_core::fleet::{FleetCounters, FleetLimits, HostMinimum};
pub use warp_endpoint::HostTraffic;
pub use ws::close as close_codes;
