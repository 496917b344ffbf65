//! Compiles the window's configuration and capabilities. Naming our commands here makes each of
//! them ask for a permission: what `capabilities/main.json` does not grant, no page can call.

use std::path::Path;

/// What `npm run build` makes, as tauri.conf.json names it.
const FRONT_END: &str = "../ui/dist";

fn main() {
    println!("cargo::rerun-if-changed={FRONT_END}");
    if !Path::new(FRONT_END).join("index.html").is_file() {
        println!("cargo::error=the front end is not built; in ui/ run: npm ci && npm run build");
        std::process::exit(1);
    }
    let manifest = tauri_build::AppManifest::new().commands(&[
        "start",
        "about",
        "snapshot",
        "subscribe",
        "command",
        "desktop",
        "update",
        "profile",
        "settings_read",
        "settings_write",
        "settings_import",
        "restart",
        "log_lines",
        "save_report",
        "save_packets",
        "news",
        "open_news",
    ]);
    let attributes = tauri_build::Attributes::new().app_manifest(manifest);
    if let Err(error) = tauri_build::try_build(attributes) {
        println!("cargo::error={error:#}");
        std::process::exit(1);
    }
}
