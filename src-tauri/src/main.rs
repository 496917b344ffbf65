//! The launcher's window.
//!
//! It shows the front end in `ui/` and forwards: commands in, batches of events out. Whatever
//! it shows, the engine decides; nothing but this crate knows Tauri.
//!
//! ```text
//! main      the start: options, renderer, display, and the end (window closed, SIGTERM)
//! options   the command line, and which configuration file is meant
//! settings  that file
//! engine    starts the engine and, where no coordinator is configured, the embedded house
//! house     the commands' state: the engine that runs, and who listens to it
//! preferences  the settings page: keys of the configuration file, read and written
//! help      the log, and a report for whoever helps
//! batch     many events, few messages to the web view
//! ```
//!
//! Exit codes: 0 ended; 1 the window could not be opened; 2 the command line is wrong; 3 there is
//! no display.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]
#![allow(
    clippy::print_stderr,
    reason = "before the window is there, a terminal is the only place to say why it is not"
)]

mod batch;
mod engine;
mod help;
mod house;
mod options;
mod preferences;
mod settings;

use std::{process::ExitCode, sync::Arc};

use clap::Parser as _;
use tauri::{AppHandle, Manager as _, WindowEvent};
use warp_observe::{ObserveConfig, Recent};

use crate::{
    engine::DebugSwitch,
    house::House,
    options::{Options, Places},
};

fn main() -> ExitCode {
    let options = Options::parse();
    #[cfg(target_os = "linux")]
    {
        if no_display() {
            eprintln!(
                "warp-launcher: no display (neither WAYLAND_DISPLAY nor DISPLAY is set); \
                 without a window, play with: warp-node play"
            );
            return ExitCode::from(3);
        }
        // Comes back only if it could not; the window then opens with the renderer as it is.
        if let Err(error) = restart_without_dmabuf() {
            eprintln!("warp-launcher: WEBKIT_DISABLE_DMABUF_RENDERER could not be set: {error}");
        }
    }
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warp-launcher: the window could not be opened: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> tauri::Result<()> {
    let app = tauri::Builder::default()
        .invoke_handler(house::commands())
        .on_window_event(|window, event| {
            if let WindowEvent::CloseRequested { api, .. } = event {
                // The engine ends first: game, bridge and link are closed, not torn off.
                api.prevent_close();
                // A window that stays in sight for the last moment harms nobody.
                let _ = window.hide();
                end(window.app_handle().clone());
            }
        })
        .setup(move |app| {
            let data = app.path().app_data_dir()?;
            let places = options.resolve(data);
            let (debug, recent) = logging(&places);
            app.manage(recent);
            app.manage(House::new(places, debug));
            #[cfg(unix)]
            end_on_signal(app.handle().clone());
            Ok(())
        })
        .build(tauri::generate_context!())?;
    app.run(|_, _| {});
    Ok(())
}

/// Logs as the configuration says; where it says nothing that can be read, as it does by default.
/// Gives the switch for debug logging, and the last lines.
fn logging(places: &Places) -> (DebugSwitch, Recent) {
    let settings = settings::load(places.as_they_are().config.as_deref()).unwrap_or_default();
    let config = ObserveConfig {
        default_filter: settings.config.logging.level.name().into(),
        ..ObserveConfig::default()
    };
    match warp_observe::init(config) {
        Ok(observe) => {
            let recent = observe.recent().clone();
            let switch = Arc::new(move |on| {
                observe.set_debug(on);
            });
            (switch, recent)
        }
        Err(error) => {
            eprintln!("warp-launcher: nothing will be logged: {error}");
            (Arc::new(|_| {}), Recent::default())
        }
    }
}

/// Ends the engine, then the program.
fn end(app: AppHandle) {
    tauri::async_runtime::spawn(async move {
        app.state::<House>().end().await;
        app.exit(0);
    });
}

#[cfg(unix)]
fn end_on_signal(app: AppHandle) {
    use tokio::signal::unix::{SignalKind, signal};

    tauri::async_runtime::spawn(async move {
        let signals = signal(SignalKind::terminate()).and_then(|terminate| {
            signal(SignalKind::interrupt()).map(|interrupt| (terminate, interrupt))
        });
        match signals {
            Ok((mut terminate, mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                end(app);
            }
            Err(error) => tracing::warn!(%error, "signals will end the program without a goodbye"),
        }
    });
}

#[cfg(target_os = "linux")]
fn no_display() -> bool {
    let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    unset("WAYLAND_DISPLAY") && unset("DISPLAY")
}

/// WebKitGTK's DMA-BUF renderer shows blank windows on some drivers and takes more memory. The
/// variable that switches it off is read when GTK starts, and to change one's own environment is
/// not safe in a process that may have threads; so the program begins again with it set, under the
/// same process id. A person who has set it, to whatever, is left alone.
#[cfg(target_os = "linux")]
fn restart_without_dmabuf() -> std::io::Result<()> {
    use std::os::unix::process::CommandExt as _;

    const NAME: &str = "WEBKIT_DISABLE_DMABUF_RENDERER";
    if std::env::var_os(NAME).is_some() {
        return Ok(());
    }
    let mut again = std::process::Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).env(NAME, "1");
    Err(again.exec())
}
