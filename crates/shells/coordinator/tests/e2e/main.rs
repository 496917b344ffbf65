//! The coordinator over real sockets, and its binary as a real process.

#[cfg(test)]
mod binary;
#[cfg(test)]
mod common;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod hosts_policy;
#[cfg(test)]
mod hosts_rooms;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod postgres;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod sockets;
