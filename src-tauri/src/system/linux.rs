//! Linux. Who starts the program from a terminal reads there what ends it; who does not finds it in the
//! journal of the session.

use std::path::PathBuf;

/// There is no display.
const NO_DISPLAY: u8 = 3;

/// What must be so before there can be a window; the error is the program's exit code.
pub(crate) fn prepare() -> Result<(), u8> {
    if no_display() {
        eprintln!(
            "warp-launcher: no display (neither WAYLAND_DISPLAY nor DISPLAY is set); \
             without a window, play with: warp-node play"
        );
        return Err(NO_DISPLAY);
    }
    // The window opens with the renderer as it is, then.
    if let Err(error) = without_dmabuf() {
        eprintln!("warp-launcher: WEBKIT_DISABLE_DMABUF_RENDERER could not be set: {error}");
    }
    Ok(())
}

/// Nothing beside what is printed.
pub(crate) fn say(_: &str, _: &str) {}

/// Who a notification is from. Here it is known by the program's name.
pub(crate) fn sign(_: &mut notify_rust::Notification, _: &str) {}

/// Whether the web view asks for the launcher's own pages like this. They have a scheme of their own.
pub(crate) fn serves_pages_at(_: &tauri::Url) -> bool {
    false
}

/// The tray's library is loaded when the tray is made, and ends the program where it is missing. So it
/// is looked for first, where the loader looks.
pub(crate) fn can_have_tray() -> bool {
    const NAMES: [&str; 2] = ["libayatana-appindicator3.so.1", "libappindicator3.so.1"];
    let given = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&given).collect();
    for base in ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib"] {
        folders.push(base.into());
        // Debian's, such as /usr/lib/x86_64-linux-gnu.
        folders.push(PathBuf::from(base).join(format!("{}-linux-gnu", std::env::consts::ARCH)));
    }
    let has = |folder: &PathBuf| NAMES.iter().any(|name| folder.join(name).exists());
    folders.iter().any(has)
}

/// Calls `ended` whenever the process that draws the window's page has ended: the window stays empty then.
pub(crate) fn when_painter_ends(
    window: &tauri::WebviewWindow,
    ended: impl Fn() + Send + Sync + 'static,
) -> tauri::Result<()> {
    use glib::prelude::ObjectExt as _;
    window.with_webview(move |webview| {
        let view = webview.inner();
        view.connect("web-process-terminated", false, move |_| {
            ended();
            None
        });
    })
}

fn no_display() -> bool {
    let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    unset("WAYLAND_DISPLAY") && unset("DISPLAY")
}

/// WebKitGTK's DMA-BUF renderer shows blank windows on some drivers and takes more memory. The
/// variable that switches it off is read when GTK starts, and is set while there is no other thread yet
/// that could read the environment. A person who has set it, to whatever, is left alone.
fn without_dmabuf() -> Result<(), glib::BoolError> {
    glib::setenv("WEBKIT_DISABLE_DMABUF_RENDERER", "1", false)
}
