//! The launcher's window.
//!
//! It shows the front end in `ui/` and forwards: commands in, batches of events out. Whatever it
//! shows, the engine decides; nothing but this crate knows Tauri.
//!
//! ```text
//! main      the start: options, renderer, display, plugins, and the end (window closed, SIGTERM)
//! options   the command line, and which configuration file is meant
//! settings  that file
//! engine    starts the engine and, where no coordinator is configured, the embedded house
//! house     the commands' state: the engine that runs, and who listens to it
//! preferences  the settings page: keys of the configuration file, read and written
//! help      the log, and a report for whoever helps
//! batch     many events, few messages to the web view
//! setup     what is chosen before playing: the server, the game
//! profile   a server's profile, and the configuration that it is written into
//! servers   what belongs to a server, and is there again when one comes back to it
//! logs      the launcher's log: where, and from which level on
//! desktop   tray, notifications, links, questions in dialogs of the system
//! face      the page's words for these
//! updates   from the question for a newer version to its first start
//! system    what differs between Linux and Windows before there is a window
//! ```
//!
//! Exit codes: 0 ended; 1 the window could not be opened; 2 the command line is wrong; 3 there is
//! no display; 4 the WebView2 runtime is missing (Windows).
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]
#![allow(
    clippy::print_stderr,
    reason = "before the window is there, a terminal is the only place to say why it is not"
)]

mod batch;
mod desktop;
mod engine;
mod face;
mod help;
mod house;
mod logs;
mod news;
mod options;
mod preferences;
mod profile;
mod servers;
mod settings;
mod setup;
mod system;
mod updates;

use std::{path::Path, process::ExitCode};

use clap::Parser as _;
use tauri::{AppHandle, Manager as _, Runtime, WindowEvent};
use tauri_plugin_deep_link::DeepLinkExt as _;
use tauri_plugin_window_state::StateFlags;

use crate::{
    desktop::{Desktop, Told},
    house::House,
    logs::Logs,
    options::Options,
    updates::Updates,
};

/// The version of this build. A release may be given one of its own when it is built.
pub(crate) const VERSION: &str = match option_env!("WARP_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

fn main() -> ExitCode {
    let options = Options::try_parse().unwrap_or_else(|error| {
        system::say("Warp Launcher", &error.to_string());
        error.exit()
    });
    if let Err(code) = system::prepare() {
        return ExitCode::from(code);
    }
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            not_opened(&error);
            ExitCode::FAILURE
        }
    }
}

/// Says that there is no window, and what to do.
pub(crate) fn not_opened(error: &tauri::Error) {
    eprintln!("warp-launcher: the window could not be opened: {error}");
    system::say(
        "The window of Warp Launcher could not be opened",
        &format!(
            "{error}\n\nRestart Windows, or install Warp Launcher again. If that does not help, \
             send this message to the people who run your server."
        ),
    );
}

fn run(options: Options) -> tauri::Result<()> {
    let mut context = tauri::generate_context!();
    if let Ok(version) = VERSION.parse() {
        context.package_info_mut().version = version;
    }
    let app = tauri::Builder::default()
        // First, so that a second instance goes no further than here.
        .plugin(tauri_plugin_single_instance::init(
            |app, arguments, folder| {
                desktop::show(app);
                if let Some(what) = arguments.get(1..).and_then(<[String]>::last) {
                    desktop::opened(app, what, Path::new(&folder));
                }
            },
        ))
        .plugin(
            tauri_plugin_window_state::Builder::default()
                // Not whether it is in sight: it is hidden while the launcher ends.
                .with_state_flags(StateFlags::SIZE | StateFlags::POSITION | StateFlags::MAXIMIZED)
                .build(),
        )
        .plugin(tauri_plugin_deep_link::init())
        .plugin(tauri_plugin_dialog::init())
        .plugin(tauri_plugin_updater::Builder::new().build())
        .invoke_handler(house::commands())
        .on_window_event(|window, event| {
            if let WindowEvent::CloseRequested { api, .. } = event {
                // The engine ends first: game, bridge and link are closed, not torn off.
                api.prevent_close();
                desktop::quit(window.app_handle().clone());
            }
        })
        .setup(move |app| Ok(set_up(app.handle(), &options)?))
        .build(context)?;
    app.run(|_, _| {});
    Ok(())
}

fn set_up(app: &AppHandle, options: &Options) -> tauri::Result<()> {
    let data = app.path().app_data_dir()?;
    let mut places = options.resolve(&data, &app.path().app_config_dir()?);
    let logs = Logs::start(&places, &app.path().app_log_dir()?);
    app.manage(logs.recent());
    let shipped = std::env::current_exe().map_or(Ok(()), |program| {
        profile::take_shipped(&mut places, &program)
    });
    let updates = data.join("updates");
    app.manage(Desktop::new(data));
    let version = app.package_info().version.clone();
    app.manage(Updates::new(updates, version, &app.env()));
    let house = House::new(places, logs);
    let handle = app.clone();
    house.on_start(Box::new(move |running| {
        handle.state::<Updates>().follow(&running.config);
        let told = handle.clone();
        running.engine.forward(Box::new(move |events| {
            desktop::engine_told(&told, &events);
            true
        }));
    }));
    app.manage(news::Links::default());
    app.manage(house);
    if let Err(error) = desktop::tray(app) {
        tracing::warn!(%error, "no tray");
    }
    let handle = app.clone();
    app.deep_link().on_open_url(move |event| {
        for url in event.urls() {
            desktop::opened(&handle, url.as_str(), Path::new(""));
        }
    });
    if let Err(problem) = shipped {
        app.state::<Desktop>().tell(Told::Problem { problem });
    }
    if let Some(what) = &options.open {
        desktop::opened(app, what, Path::new(""));
    }
    if app.state::<Updates>().has_failed() {
        desktop::ask_before_window(app.clone(), open_window);
    } else {
        open_window(app)?;
    }
    end_on_signal(app.clone());
    Ok(())
}

/// Opens the window, which shows the launcher's own pages and nothing else: a content policy does not
/// keep a script from leading it somewhere, with what it knows in the address.
fn open_window(app: &AppHandle) -> tauri::Result<()> {
    if let Some(theme) = app.state::<Desktop>().face().theme {
        app.set_theme(Some(theme));
    }
    for window in &app.config().app.windows {
        let window = tauri::WebviewWindowBuilder::from_config(app, window)?
            .on_navigation(|url| {
                let ours = is_ours(url);
                if !ours {
                    tracing::warn!(host = url.host_str(), "the page is not led elsewhere");
                }
                ours
            })
            .on_new_window(|_, _| tauri::webview::NewWindowResponse::Deny)
            .build()?;
        app.state::<Desktop>().page_is_at(window.url()?);
        let app = app.clone();
        system::when_painter_ends(&window, move || desktop::painter_ended(&app))?;
    }
    desktop::watch_page(app.clone());
    Ok(())
}

/// Whether Tauri serves the page itself: under a scheme of its own, or, on Windows, a host of its own.
fn is_ours(url: &tauri::Url) -> bool {
    match url.scheme() {
        "tauri" => true,
        "http" | "https" => system::serves_pages_at(url),
        "about" => url.path() == "blank",
        _ => false,
    }
}

/// Ends the engine, then the program.
pub(crate) fn end<R: Runtime>(app: AppHandle<R>) {
    tauri::async_runtime::spawn(async move {
        app.state::<House>().end().await;
        app.exit(0);
    });
}

fn end_on_signal(app: AppHandle) {
    tauri::async_runtime::spawn(async move {
        match warp_platform::Signals::listen() {
            Ok(mut signals) => {
                signals.next().await;
                end(app);
            }
            Err(error) => tracing::warn!(%error, "signals will end the program without a goodbye"),
        }
    });
}
