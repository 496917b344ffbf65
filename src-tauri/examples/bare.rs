//! A window with one line of text and nothing behind it: what `cargo xtask bench launcher` measures the
//! launcher beside. Prints a line when its page is loaded.
#![allow(clippy::print_stdout, reason = "the line is what is waited for")]

use std::borrow::Cow;

use tauri::{
    Assets, Context,
    utils::{
        assets::{AssetKey, AssetsIter, CspHash},
        config::Csp,
    },
    webview::PageLoadEvent,
};

const PAGE: &str = "<!doctype html><title>bare</title><p>A bare window.</p>";

struct OnePage;

impl Assets<tauri::Wry> for OnePage {
    fn get(&self, _: &AssetKey) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(PAGE.as_bytes()))
    }

    fn iter(&self) -> Box<AssetsIter<'_>> {
        Box::new(std::iter::empty())
    }

    fn csp_hashes(&self, _: &AssetKey) -> Box<dyn Iterator<Item = CspHash<'_>> + '_> {
        Box::new(std::iter::empty())
    }
}

fn main() -> tauri::Result<()> {
    let mut context: Context<tauri::Wry> = tauri::generate_context!();
    context.set_assets(Box::new(OnePage));
    context.config_mut().app.security.csp = Some(Csp::Policy("default-src 'self'".into()));
    tauri::Builder::default()
        .on_page_load(|_, payload| {
            if payload.event() == PageLoadEvent::Finished {
                println!("the page is there");
            }
        })
        .setup(|app| {
            for window in &app.config().app.windows {
                tauri::WebviewWindowBuilder::from_config(app, window)?.build()?;
            }
            Ok(())
        })
        .run(context)
}
