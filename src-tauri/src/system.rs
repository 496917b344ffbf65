//! What differs between the systems before and around the window: the same items twice.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::{can_have_tray, prepare, say, serves_pages_at, sign, when_painter_ends};
#[cfg(windows)]
pub(crate) use windows::{can_have_tray, prepare, say, serves_pages_at, sign, when_painter_ends};
