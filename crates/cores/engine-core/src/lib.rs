//! The launcher's engine without IO: commands and results in, events and effects out.

pub mod command;
pub mod config;
mod effect;
pub mod event;
mod games;
pub mod hosts;
pub mod import;
pub mod levels;
pub mod machine;
pub mod roaming;
pub mod snapshot;
pub mod staff;
pub mod text;
pub mod view;
