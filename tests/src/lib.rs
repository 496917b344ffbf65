//! What the tests of the whole share.
//!
//! - [`sim`]: two session links in virtual time.
//! - [`house`]: coordinator, practice server, launchers and clients as real processes;
//!   [`process`] runs one of them, [`transcript`] is what it writes, [`digests`] compares what both ends of a connection saw.
//! - [`hosted`]: players whose sessions are carried by hosts, and what a test waits for there.
//! - [`watch`]: what is waited for while a launcher plays.
//! - [`proxy`]: an HTTP proxy.
//! - [`window`]: the launcher's window, driven by WebKitWebDriver.
//! - [`relay`]: a TCP relay that records, holds or breaks what passes; [`mitm`]: one that reads and
//!   changes what launcher and coordinator say.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test tool fails by panicking, and says why on its output"
)]

pub mod digests;
pub mod fleet;
#[cfg(unix)]
pub mod hosted;
pub mod house;
pub mod mitm;
pub mod process;
pub mod proxy;
pub mod relay;
pub mod sim;
pub mod transcript;
pub mod watch;
#[cfg(target_os = "linux")]
pub mod window;
