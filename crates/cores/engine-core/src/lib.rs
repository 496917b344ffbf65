//! The launcher's engine without IO: commands and results in, events and effects out.

pub mod command;
pub mod config;
pub mod event;
pub mod machine;
pub mod snapshot;
pub mod view;
