//! Where the systems differ: the same items twice, once in `unix` and once in `windows`, so that
//! nothing else in the shells asks which system it runs on.
//!
//! | item | Unix | Windows |
//! |---|---|---|
//! | [`game::Process`] | `warp-keeper` and a process group | a Job Object |
//! | [`Signals`] | SIGTERM, Ctrl-C | of programs without a window: Ctrl-C, Ctrl-Break, the console's closing, signing out, shutdown |
//! | [`Hangup`] | SIGHUP | never |
//! | [`make_private`], [`make_private_folder`], [`open_to_others`] | modes 0600 and 0700 | what the folder allows: a person's own folders are hers alone |
//! | [`is_executable`] | a bit of the mode | every file |
//! | [`keep_name`], [`has_name`], [`remove_locked`] | an open file may lose its name | it keeps it while it is open |
//! | [`raise_open_files`] | the limit of open files | there is none |
//! | [`signal_name`], [`signal_of`] | what ended a program | there are none |
//! | [`default_gateway`] | the kernel's table | unknown |
//! | [`FIREWALL_ASKS`] | no | at a program's first listening |
//!
//! What a library sees to is not here: secret stores (`keyring`), folders of configuration and logs
//! (Tauri). Neither is what is about the window: renderer, tray and dialogs are in `src-tauri`.

pub mod game;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub use system::{
    FIREWALL_ASKS, Hangup, Signals, default_gateway, has_name, is_executable, keep_name,
    make_private, make_private_folder, open_to_others, raise_open_files, remove_locked,
    signal_name, signal_of,
};
