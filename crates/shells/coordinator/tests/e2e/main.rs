//! The coordinator over real sockets, and its binary as a real process.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod common;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod contract_bodies;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod game_accounts;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod hosts_policy;
#[cfg(test)]
mod hosts_rooms;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod npcs;
#[cfg(test)]
mod openapi;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod postgres;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod storage;
