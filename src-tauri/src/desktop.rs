//! Manners of a program on a desktop: tray, notifications, links, the question before quitting, and a
//! word when the page does not come.
//!
//! Nothing here is needed to play. What a desktop has not (a tray, a notification service, a session
//! bus) is left out, and that is logged.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde::Serialize;
use tauri::{
    AppHandle, Manager as _, Runtime,
    ipc::Channel,
    menu::{Menu, MenuItem, PredefinedMenuItem},
    tray::TrayIconBuilder,
};
use tauri_plugin_dialog::{DialogExt as _, MessageDialogButtons, MessageDialogResult};
use tokio::sync::{oneshot, watch};
use warp_engine_core::{
    command::Command,
    event::Event,
    view::{LinkState, SwitchReason},
};
use warp_protocol::Problem;

use crate::{
    face::{Face, Words},
    house::House,
    profile::Applied,
    updates::{UpdateState, Updates},
};

/// Time in which the page has to say that it is there.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// What is told before the page listens waits for it, so many of them.
const MOST_WAITING: usize = 8;
/// Time between two notifications of failovers at least: a bad line fails over often.
const FAILOVERS_TOLD: Duration = Duration::from_secs(60);
/// Label of the one window.
pub(crate) const WINDOW: &str = "main";

/// What the page is told beside the engine's events.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub(crate) enum Told {
    /// How updates are.
    Update { update: UpdateState },
    /// A link names a zone.
    Zone { zone: String },
    /// A profile was opened from outside of the page, and the launcher is for another server now.
    Profile { applied: Applied },
    /// Something that was asked for from outside of the page did not work.
    Problem { problem: Problem },
}

/// Sets the texts of the tray's menu: in these words, for a connection in this state.
type SetWords = Arc<dyn Fn(&Words, &str) + Send + Sync>;

/// The state of it all.
pub(crate) struct Desktop {
    face: Mutex<Face>,
    folder: PathBuf,
    ready: watch::Sender<bool>,
    page: Mutex<Page>,
    tray: Mutex<Option<SetWords>>,
    /// Stable code of the connection's state.
    state: Mutex<String>,
    failover_told: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Page {
    channel: Option<Channel<Told>>,
    waiting: Vec<Told>,
    /// Where it is.
    address: Option<tauri::Url>,
}

impl Desktop {
    /// Keeps the page's words in `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            face: Mutex::new(Face::load(&folder)),
            folder,
            ready: watch::channel(false).0,
            page: Mutex::default(),
            tray: Mutex::default(),
            state: Mutex::new(code_of(LinkState::Disconnected)),
            failover_told: Mutex::default(),
        }
    }

    pub(crate) fn face(&self) -> Face {
        lock(&self.face).clone()
    }

    /// Tells the page, now or as soon as it listens.
    pub(crate) fn tell(&self, told: Told) {
        let mut page = lock(&self.page);
        if let Some(channel) = &page.channel
            && channel.send(told.clone()).is_ok()
        {
            return;
        }
        if page.waiting.len() < MOST_WAITING {
            page.waiting.push(told);
        }
    }

    /// The page is there, with these words and choices, and listens on `channel`.
    fn listens(&self, face: Face, channel: Channel<Told>) {
        let face = face.bounded();
        face.keep(&self.folder);
        *lock(&self.face) = face;
        self.word_tray();
        let mut page = lock(&self.page);
        for told in page.waiting.drain(..) {
            // A page that is gone already is not waited for.
            let _ = channel.send(told);
        }
        page.channel = Some(channel);
        drop(page);
        self.ready.send_replace(true);
    }

    /// The tray, where there is one, says what is so in the page's language.
    fn word_tray(&self) {
        let (words, state) = (self.face().words, lock(&self.state).clone());
        // It waits for the main thread, which may wait for a lock meanwhile: none is held.
        let set = lock(&self.tray).clone();
        if let Some(set) = set {
            set(&words, &state);
        }
    }

    /// Whether the person is to be told now that the connection failed over.
    fn tells_failover(&self, reason: SwitchReason, now: Instant) -> bool {
        use SwitchReason as R;
        // A better path that takes over is no failure, nor is a move that somebody asked for.
        let failed = matches!(reason, R::Silence | R::CarrierClosed | R::Tampering);
        let mut told = lock(&self.failover_told);
        let lately = |at: Instant| now.saturating_duration_since(at) < FAILOVERS_TOLD;
        if !failed || !self.face().notify_failover || told.is_some_and(lately) {
            return false;
        }
        *told = Some(now);
        true
    }

    /// The window was opened, and loads the page from here.
    pub(crate) fn page_is_at(&self, address: tauri::Url) {
        lock(&self.page).address = Some(address);
    }

    /// The page is loaded anew: it is waited for again.
    pub(crate) fn forget_page(&self) {
        lock(&self.page).channel = None;
        self.ready.send_replace(false);
    }

    pub(crate) fn page_is_there(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }
}

/// As it is written in events.
fn code_of(state: LinkState) -> String {
    let code = serde_json::to_value(state).unwrap_or_default();
    code.as_str().unwrap_or_default().to_owned()
}

/// A poisoned lock guards nothing that could be half done here.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The page says that it is there.
#[tauri::command]
pub(crate) fn desktop<R: Runtime>(app: AppHandle<R>, face: Face, channel: Channel<Told>) {
    let desktop = app.state::<Desktop>();
    if !*desktop.page_is_there().borrow() {
        // `cargo xtask bench launcher` waits for this line.
        tracing::info!("the page is there");
    }
    let (before, now) = (desktop.face().theme, face.theme);
    desktop.listens(face, channel);
    if now != before {
        follow_theme(&app, now);
    }
    let updates = app.state::<Updates>();
    updates.page_came(&app);
    desktop.tell(Told::Update {
        update: updates.state(),
    });
}

/// What the system draws for the page (lists, title bar, dialogs) has the page's theme.
pub(crate) fn follow_theme<R: Runtime>(app: &AppHandle<R>, theme: Option<tauri::Theme>) {
    // On Linux no theme would be the light one, whatever the system's is.
    let system = || app.get_webview_window(WINDOW)?.theme().ok();
    let theme = match cfg!(target_os = "linux") {
        true => theme.or_else(system),
        false => theme,
    };
    app.set_theme(theme);
}

/// Brings the window to the front.
pub(crate) fn show<R: Runtime>(app: &AppHandle<R>) {
    if let Some(window) = app.get_webview_window(WINDOW) {
        let shown = window
            .unminimize()
            .and_then(|()| window.show())
            .and_then(|()| window.set_focus());
        if let Err(error) = shown {
            tracing::debug!(%error, "the window does not come to the front");
        }
    }
}

/// Loads the page anew; it starts the engine if that does not run.
pub(crate) fn reload<R: Runtime>(app: &AppHandle<R>) {
    let Some(window) = app.get_webview_window(WINDOW) else {
        return;
    };
    let desktop = app.state::<Desktop>();
    desktop.forget_page();
    // Where the process that draws it ended before the page was there, there is nothing to reload.
    let address = lock(&desktop.page).address.clone();
    let loading = match address {
        Some(address) => window.navigate(address),
        None => window.reload(),
    };
    if let Err(error) = loading {
        tracing::warn!(%error, "the page cannot be loaded anew");
    }
    watch_page(app.clone());
}

/// This version has not come to its page before: asks whether the one before is put back. Opens the window
/// with `open` unless it is.
pub(crate) fn ask_before_window<R: Runtime>(
    app: AppHandle<R>,
    open: impl FnOnce(&AppHandle<R>) -> tauri::Result<()> + Send + 'static,
) {
    tauri::async_runtime::spawn(async move {
        let words = app.state::<Desktop>().face().words;
        let buttons =
            MessageDialogButtons::OkCancelCustom(words.go_back.clone(), words.start.clone());
        let back = match ask(&app, &words.did_not_start, buttons).await {
            Some(MessageDialogResult::Custom(text)) => text == words.go_back,
            Some(MessageDialogResult::Ok) => true,
            _ => false,
        };
        if back && crate::updates::go_back(&app).await {
            return;
        }
        if let Err(error) = open(&app) {
            crate::not_opened(&error);
            app.state::<House>().end().await;
            app.exit(1);
        }
    });
}

/// The process that draws the page has ended. One that had come is loaded anew; the other case is
/// [`watch_page`]'s.
pub(crate) fn painter_ended<R: Runtime>(app: &AppHandle<R>) {
    tracing::warn!("the process that draws the page has ended");
    if *app.state::<Desktop>().page_is_there().borrow() {
        reload(app);
    }
}

/// Says so when the page does not come, and what can be done.
pub(crate) fn watch_page<R: Runtime>(app: AppHandle<R>) {
    tauri::async_runtime::spawn(async move {
        let mut ready = app.state::<Desktop>().page_is_there();
        // What is awaited holds a lock: it ends here.
        let came = tokio::time::timeout(READY_WITHIN, ready.wait_for(|ready| *ready))
            .await
            .is_ok();
        if came {
            return;
        }
        tracing::warn!("the page has not shown within 10 s");
        let words = app.state::<Desktop>().face().words;
        let back = app.state::<Updates>().can_go_back();
        let buttons = match back {
            true => MessageDialogButtons::YesNoCancelCustom(
                words.reload.clone(),
                words.go_back.clone(),
                words.quit.clone(),
            ),
            false => MessageDialogButtons::OkCancelCustom(words.reload.clone(), words.quit.clone()),
        };
        let answer = ask(&app, &words.blank, buttons).await;
        // It may have come while the question stood there.
        if *ready.borrow() {
            return;
        }
        match answer {
            Some(MessageDialogResult::Custom(text)) if text == words.reload => reload(&app),
            Some(MessageDialogResult::Yes | MessageDialogResult::Ok) => reload(&app),
            Some(MessageDialogResult::Custom(text)) if back && text == words.go_back => {
                crate::updates::go_back(&app).await;
            }
            Some(MessageDialogResult::No) if back => {
                crate::updates::go_back(&app).await;
            }
            _ => crate::end(app),
        }
    });
}

/// Asks in a dialog of the system; `None`: it could not be shown.
async fn ask<R: Runtime>(
    app: &AppHandle<R>,
    text: &str,
    buttons: MessageDialogButtons,
) -> Option<MessageDialogResult> {
    let (answer, answered) = oneshot::channel();
    app.dialog()
        .message(text)
        .title(app.package_info().name.clone())
        .buttons(buttons)
        .show_with_result(move |result| {
            // Nobody waits any more when the program ends meanwhile.
            let _ = answer.send(result);
        });
    answered.await.ok()
}

/// Ends the launcher, and asks first while a game runs.
pub(crate) fn quit<R: Runtime>(app: AppHandle<R>) {
    tauri::async_runtime::spawn(async move {
        if app.state::<House>().games().await > 0 {
            let words = app.state::<Desktop>().face().words;
            let buttons =
                MessageDialogButtons::OkCancelCustom(words.quit.clone(), words.stay.clone());
            show(&app);
            match ask(&app, &words.game_runs, buttons).await {
                Some(MessageDialogResult::Ok | MessageDialogResult::Yes) => {}
                Some(MessageDialogResult::Custom(text)) if text == words.quit => {}
                // Where no question can be asked the person's word stands.
                None => {}
                Some(_) => return,
            }
        }
        if let Some(window) = app.get_webview_window(WINDOW) {
            // A window that stays in sight for the last moment harms nobody.
            let _ = window.hide();
        }
        crate::end(app);
    });
}

/// What the engine tells, as far as it is shown outside of the page.
pub(crate) fn engine_told<R: Runtime>(app: &AppHandle<R>, events: &[Event]) {
    let desktop = app.state::<Desktop>();
    for event in events {
        match event {
            Event::State { state, .. } => {
                *lock(&desktop.state) = code_of(*state);
                desktop.word_tray();
            }
            Event::Moved { reason, .. } if desktop.tells_failover(*reason, Instant::now()) => {
                notify(app, desktop.face().words.moved);
            }
            _ => {}
        }
    }
}

/// Notifies, unless the person looks at the window anyway.
pub(crate) fn notify<R: Runtime>(app: &AppHandle<R>, text: String) {
    let window = app.get_webview_window(WINDOW);
    if window.is_some_and(|window| window.is_focused().unwrap_or(false)) {
        return;
    }
    let app = app.clone();
    // A notification service may take its time to answer.
    tauri::async_runtime::spawn_blocking(move || {
        let mut notification = notify_rust::Notification::new();
        notification.summary(&app.package_info().name).body(&text);
        crate::system::sign(&mut notification, &app.config().identifier);
        // What Linux and macOS give back could be used to close it, and Windows gives nothing.
        let shown = notification.show().map(|_| ());
        if let Err(error) = shown {
            tracing::debug!(%error, "no notification is shown");
        }
    });
}

/// A link or a file that the system hands over; a file without a whole path is in `folder`.
pub(crate) fn opened<R: Runtime>(app: &AppHandle<R>, what: &str, folder: &Path) {
    if let Some(zone) = zone_of(what) {
        show(app);
        app.state::<Desktop>().tell(Told::Zone { zone });
    } else if is_profile(what) {
        let (app, file) = (app.clone(), folder.join(what));
        tauri::async_runtime::spawn(async move {
            show(&app);
            let told = match profile_opened(&app, &file).await {
                Ok(Some(applied)) => Told::Profile { applied },
                Ok(None) => return,
                Err(problem) => Told::Problem { problem },
            };
            app.state::<Desktop>().tell(told);
        });
    } else {
        tracing::debug!("what was opened is neither a zone's link nor a profile");
    }
}

/// A profile's file. No link is one: any page can have a link opened.
fn is_profile(what: &str) -> bool {
    let link = what
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("warp:"));
    !link && what.ends_with(&format!(".{}", crate::profile::EXTENSION))
}

/// Takes a profile that was opened from outside of the page. Where there is a server already, the person
/// is asked: it would be replaced, and a game ended. `None`: not wanted.
async fn profile_opened<R: Runtime>(
    app: &AppHandle<R>,
    file: &Path,
) -> Result<Option<Applied>, Problem> {
    let profile = crate::profile::read(file)?;
    let house = app.state::<House>();
    if house.places().config.is_some() || house.games().await > 0 {
        let question = app.state::<Desktop>().face().words.profile;
        let text = format!("{question}\n\n{}\n{}", profile.name, profile.rest_api_url);
        match ask(app, &text, MessageDialogButtons::OkCancel).await {
            Some(MessageDialogResult::Ok | MessageDialogResult::Yes) => {}
            _ => return Ok(None),
        }
    }
    house.take_profile(&profile).await.map(Some)
}

/// The zone that `warp://zone/ID` names.
fn zone_of(link: &str) -> Option<String> {
    let zone = link.strip_prefix("warp://zone/")?.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ((1..=64).contains(&zone.len()) && zone.chars().all(plain)).then(|| zone.to_owned())
}

/// Puts the icon into the tray, where there is one.
pub(crate) fn tray<R: Runtime>(app: &AppHandle<R>) -> tauri::Result<()> {
    if !crate::system::can_have_tray() {
        tracing::info!("no tray: libayatana-appindicator3 is not installed");
        return Ok(());
    }
    let item = |id: &str, enabled| MenuItem::with_id(app, id, id, enabled, None::<&str>);
    let state = item("state", false)?;
    let line = PredefinedMenuItem::separator(app)?;
    let (open, fail_over, quit_item) = (
        item("open", true)?,
        item("fail-over", true)?,
        item("quit", true)?,
    );
    let menu = Menu::with_items(app, &[&state, &line, &open, &fail_over, &quit_item])?;
    let mut tray = TrayIconBuilder::with_id("tray")
        .menu(&menu)
        .tooltip(&app.package_info().name)
        .on_menu_event(|app, event| match event.id().as_ref() {
            "open" => show(app),
            "fail-over" => fail_over_now(app),
            "quit" => quit(app.clone()),
            _ => {}
        });
    if let Some(icon) = app.default_window_icon() {
        tray = tray.icon(icon.clone());
    }
    tray.build(app)?;
    let desktop = app.state::<Desktop>();
    *lock(&desktop.tray) = Some(Arc::new(move |words, code| {
        let name = words.state.get(code).map_or(code, String::as_str);
        let texts = [name, &words.open, &words.fail_over, &words.quit];
        for (item, text) in [&state, &open, &fail_over, &quit_item]
            .into_iter()
            .zip(texts)
        {
            // The tray may be gone; then nobody reads it.
            let _ = item.set_text(text);
        }
    }));
    desktop.word_tray();
    Ok(())
}

fn fail_over_now<R: Runtime>(app: &AppHandle<R>) {
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let line = "/p2p failover".to_owned();
        let asked = app.state::<House>().send(Command::Console { line }).await;
        if let Err(problem) = asked {
            tracing::info!(code = ?problem.code, "no failover from the tray");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use tauri::ipc::InvokeResponseBody;
    use tokio::sync::mpsc;

    #[test]
    fn a_link_names_a_zone_and_nothing_else() {
        assert_eq!(zone_of("warp://zone/prontera").as_deref(), Some("prontera"));
        assert_eq!(zone_of("warp://zone/prt-1/").as_deref(), Some("prt-1"));
        let long = format!("warp://zone/{}", "a".repeat(65));
        for bad in [
            "warp://zone/",
            "warp://zone/a/b",
            "warp://zone/../x",
            "warp://zone/<b>",
            "warp://admin/x",
            "https://zone/prontera",
            &long,
        ] {
            assert_eq!(zone_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_profile_is_a_file_and_never_a_link() {
        for file in [
            "server.warp",
            "/home/poring/server.warp",
            "C:\\x\\server.warp",
        ] {
            assert!(is_profile(file), "{file}");
        }
        for other in [
            "warp://zone/../../Downloads/server.warp",
            "WARP:..\\Downloads\\server.warp",
            "server.json",
        ] {
            assert!(!is_profile(other), "{other}");
        }
    }

    #[test]
    fn failures_are_notified_and_not_every_one_of_a_bad_line() {
        let folder = tempfile::tempdir().unwrap();
        let desktop = Desktop::new(folder.path().to_owned());
        let now = Instant::now();
        use SwitchReason as R;
        for no_failure in [R::First, R::Better, R::Asked, R::Measured, R::Withdrawn] {
            assert!(!desktop.tells_failover(no_failure, now), "{no_failure:?}");
        }
        assert!(desktop.tells_failover(R::Silence, now));
        assert!(!desktop.tells_failover(R::CarrierClosed, now + Duration::from_secs(59)));
        assert!(desktop.tells_failover(R::Tampering, now + FAILOVERS_TOLD));
        lock(&desktop.face).notify_failover = false;
        assert!(!desktop.tells_failover(R::Silence, now + FAILOVERS_TOLD * 2));
    }

    #[test]
    fn what_is_told_before_the_page_listens_waits_for_it_and_no_more_than_that() {
        let folder = tempfile::tempdir().unwrap();
        let desktop = Desktop::new(folder.path().to_owned());
        for number in 0..2 * MOST_WAITING {
            desktop.tell(Told::Zone {
                zone: number.to_string(),
            });
        }
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let channel = Channel::new(move |body| {
            let InvokeResponseBody::Json(text) = body else {
                panic!("it travels as JSON");
            };
            let _ = sender.send(text);
            Ok(())
        });
        assert!(!*desktop.page_is_there().borrow());
        desktop.listens(Face::default(), channel);
        assert!(*desktop.page_is_there().borrow());
        desktop.tell(Told::Zone {
            zone: "last".into(),
        });
        let mut all = Vec::new();
        while let Ok(text) = receiver.try_recv() {
            all.push(text);
        }
        assert_eq!(all.len(), MOST_WAITING + 1);
        assert_eq!(all[0], r#"{"told":"zone","zone":"0"}"#);
        assert_eq!(all[MOST_WAITING], r#"{"told":"zone","zone":"last"}"#);
    }
}
