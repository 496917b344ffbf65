//! Abuse of a coordinator, over real sockets, while a bystander plays: a client with two accounts that
//! polls and exchanges signals throughout, on a thread of its own. Whatever is attacked, the bystander
//! is answered, the refusals have their codes, and the coordinator's memory stays bounded. What is
//! refused how stands in docs/abuse.md.
//!
//! Attackers have addresses of their own out of 127.0.0.0/8, as Linux lets every process have them.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

mod bystander;
mod connections;
mod owners;
mod requests;
mod sign_in;
mod site;
mod sockets;
mod tricks;
