//! `warp-bench`: the measurements: of the whole over real processes, and of the bridge alone.
//!
//! - `latency`: the round trip of a 20-byte packet beside plain TCP's, on the loopback and over
//!   links with delay and loss.
//! - `failover`: how long the game hears nothing when its path dies, or its host.
//! - `paths`: the round trip over each path beside plain TCP's, by delay and loss.
//! - `bridge`: what a packet costs in the bridge, without processes and network.
//! - `p2p`: what a peer connection costs, between two peers in this process.
//! - `coordinator`: requests a second, signals, memory of a socket.
//! - `launcher`: start, memory and idle cost of the window, beside a bare one.
//! - `host`: what a host costs and adds, for 10, 50 and 200 members.
//!
//! `cargo xtask bench NAME` builds everything with optimisation and runs this. What is measured, and
//! how, is written in `docs/bench/README.md`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program's output"
)]

#[cfg(target_os = "linux")]
mod bridge;
#[cfg(target_os = "linux")]
mod cli;
#[cfg(target_os = "linux")]
mod coordinator;
#[cfg(target_os = "linux")]
mod echo;
#[cfg(target_os = "linux")]
mod failover;
#[cfg(target_os = "linux")]
mod flow;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod hosts;
#[cfg(target_os = "linux")]
mod house;
#[cfg(target_os = "linux")]
mod latency;
#[cfg(target_os = "linux")]
mod launcher;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod p2p;
#[cfg(target_os = "linux")]
mod packet;
#[cfg(target_os = "linux")]
mod paths;
#[cfg(target_os = "linux")]
mod place;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod stats;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    cli::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("warp-bench: the measurements need Linux (network namespaces, nftables, TUN)");
    std::process::ExitCode::FAILURE
}
