//! Windows. The program has no terminal there, so what ends it before its page is shown is said in a
//! dialog.

use rfd::{MessageButtons, MessageDialog, MessageDialogResult, MessageLevel};

/// Microsoft's small installer of the runtime, which fetches the rest.
const RUNTIME: &str = "https://go.microsoft.com/fwlink/p/?LinkId=2124703";

/// The WebView2 runtime is missing.
const NO_WEBVIEW: u8 = 4;

/// What must be so before there can be a window; the error is the program's exit code.
pub(crate) fn prepare() -> Result<(), u8> {
    say_panics();
    if has_webview() {
        Ok(())
    } else {
        Err(NO_WEBVIEW)
    }
}

/// Whether there is a place for a tray.
pub(crate) fn can_have_tray() -> bool {
    true
}

/// Who a notification is from: the installer has registered the name and icon for this identifier. From
/// one that was not installed Windows shows it as another program's.
pub(crate) fn sign(notification: &mut notify_rust::Notification, identifier: &str) {
    if tauri::utils::platform::bundle_type().is_some() {
        notification.app_id(identifier);
    }
}

/// Nothing: WebView2 puts a page of its own into the window then, which offers to load anew.
pub(crate) fn when_painter_ends(
    _: &tauri::WebviewWindow,
    _: impl Fn() + Send + Sync + 'static,
) -> tauri::Result<()> {
    Ok(())
}

/// Whether the web view asks for the launcher's own pages like this: the scheme is taken, so it is a host.
pub(crate) fn serves_pages_at(url: &tauri::Url) -> bool {
    url.host_str() == Some("tauri.localhost")
}

/// Whether the WebView2 runtime, which draws the page, is there. Where it is not: says so, and offers to
/// download it.
fn has_webview() -> bool {
    let Err(error) = tauri::webview_version() else {
        return true;
    };
    eprintln!("warp-launcher: no WebView2 runtime ({error}); it is at {RUNTIME}");
    let answer = dialog("Warp Launcher needs WebView2")
        .set_description(format!(
            "To show its window, Warp Launcher needs Microsoft's WebView2 runtime, which this computer \
             does not have.\n\nDownload it from Microsoft now? Run what is downloaded, then start Warp \
             Launcher again.\n\n{RUNTIME}"
        ))
        .set_buttons(MessageButtons::YesNo)
        .show();
    if answer == MessageDialogResult::Yes
        && let Err(error) = open::that_detached(RUNTIME)
    {
        say(
            "The download could not be opened",
            &format!("{error}\n\nOpen this in a browser: {RUNTIME}"),
        );
    }
    false
}

/// From now on, what ends the main thread is said as well: Tauri ends it where the window cannot be made.
fn say_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        // Of another thread it ends a task, which is told where the task is waited for.
        if std::thread::current().name() == Some("main") {
            say(
                "Warp Launcher cannot go on",
                &format!(
                    "{panic}\n\nRestart Windows, or install Warp Launcher again. If that does not help, \
                     send this message to the people who run your server."
                ),
            );
        }
    }));
}

/// Says why the program ends, and waits until that is read.
pub(crate) fn say(title: &str, text: &str) {
    dialog(title).set_description(text).show();
}

fn dialog(title: &str) -> MessageDialog {
    MessageDialog::new()
        .set_level(MessageLevel::Error)
        .set_title(title)
}
