//! What stands behind the page's commands: the engine that runs, and who listens to it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError},
    time::Duration,
};

use tauri::{AppHandle, Manager as _, State, ipc::Channel, ipc::Invoke};
use tokio::{sync::Mutex, task::AbortHandle};
use warp_engine_core::import::{self, Imported};
use warp_engine_core::{
    command::Command,
    event::Event,
    snapshot::{About, Snapshot},
};
use warp_observe::Recent;
use warp_protocol::{Problem, ProblemCode, profile::Profile};

use crate::{
    engine::{self, Engine, Running},
    help,
    logs::Logs,
    options::Places,
    preferences::{self, Change, Shown},
    profile::{self, Applied},
};

/// Told of each engine that starts.
pub(crate) type OnStart = Box<dyn Fn(&Running) + Send + Sync>;

/// Time that the engine has to close game, bridge and link before the program ends anyway.
const END_WITHIN: Duration = Duration::from_secs(4);

/// The state of the window.
pub(crate) struct House {
    places: StdMutex<Places>,
    logs: Logs,
    on_start: OnceLock<OnStart>,
    running: Mutex<Option<Running>>,
    /// One listener at a time: a page that was loaded anew replaces the one before.
    listener: Mutex<Option<AbortHandle>>,
}

impl House {
    /// Nothing runs yet.
    pub(crate) fn new(places: Places, logs: Logs) -> Self {
        Self {
            places: StdMutex::new(places),
            logs,
            on_start: OnceLock::new(),
            running: Mutex::new(None),
            listener: Mutex::new(None),
        }
    }

    /// `told` hears of each engine that starts from now on; only the first one counts.
    pub(crate) fn on_start(&self, told: OnStart) {
        let _ = self.on_start.set(told);
    }

    pub(crate) fn places(&self) -> Places {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.clone()
    }

    /// How many games run, also such as somebody started without the launcher.
    pub(crate) async fn games(&self) -> usize {
        let engine = self.engine().await;
        engine.map_or(0, |engine| {
            let snapshot = engine.snapshot();
            snapshot.games.len().max(snapshot.clients.len())
        })
    }

    /// Hands the engine a command from outside of the page.
    pub(crate) async fn send(&self, command: Command) -> Result<(), Problem> {
        self.engine().await?.send(command)
    }

    /// Makes this launcher one for the server of a profile. The engine ends; the page starts it anew.
    pub(crate) async fn open_profile(&self, file: &Path) -> Result<Applied, Problem> {
        self.take_profile(&profile::read(file)?).await
    }

    /// The same with one that was read.
    pub(crate) async fn take_profile(&self, opened: &Profile) -> Result<Applied, Problem> {
        let applied = profile::apply(opened, &self.places().write)?;
        self.configured().await;
        Ok(applied)
    }

    /// The configuration was written: the log takes it at once, the engine at its next start.
    fn written(&self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.config = Some(places.write.clone());
        self.logs.follow(&places);
    }

    /// The configuration is another one: the engine ends, and the page starts it anew.
    pub(crate) async fn configured(&self) {
        self.written();
        self.end().await;
    }

    /// The engine.
    ///
    /// # Errors
    /// `bad-command` before it was started.
    async fn engine(&self) -> Result<Arc<dyn Engine>, Problem> {
        match &*self.running.lock().await {
            Some(running) => Ok(Arc::clone(&running.engine)),
            None => Err(Problem::new(ProblemCode::BadCommand, "engine")
                .with_detail("the engine has not been started")),
        }
    }

    /// Starts the engine if it does not run. One that failed to start is tried again.
    async fn start(&self) -> Result<(), Problem> {
        let mut running = self.running.lock().await;
        if running.is_none() {
            let started = engine::start(&self.places(), &self.logs).await?;
            if let Some(told) = self.on_start.get() {
                told(&started);
            }
            *running = Some(started);
        }
        Ok(())
    }

    /// Ends the engine and starts it with the settings as they are now.
    ///
    /// # Errors
    /// A zone is being played, or the engine does not start with these settings.
    async fn restart(&self) -> Result<(), Problem> {
        if let Ok(engine) = self.engine().await
            && engine.snapshot().zone.is_some()
        {
            return Err(Problem::new(ProblemCode::BadCommand, "restart")
                .with_detail("a zone is being played; stop it first"));
        }
        self.end().await;
        self.start().await
    }

    /// Sends events to `channel` from now on, and to no one else any more.
    async fn listen(&self, channel: Channel<Vec<Event>>) -> Result<(), Problem> {
        let engine = self.engine().await?;
        let mut listener = self.listener.lock().await;
        if let Some(before) = listener.take() {
            before.abort();
        }
        *listener = Some(engine.forward(Box::new(move |batch| channel.send(batch).is_ok())));
        Ok(())
    }

    /// Ends the engine, in [`END_WITHIN`] or not at all.
    pub(crate) async fn end(&self) {
        let Some(running) = self.running.lock().await.take() else {
            return;
        };
        if tokio::time::timeout(END_WITHIN, running.end())
            .await
            .is_err()
        {
            tracing::warn!("the engine did not end in time");
        }
    }
}

/// What the window says of itself: the engine's part, and what only the one that read the
/// configuration knows.
#[derive(serde::Serialize)]
struct WindowAbout {
    #[serde(flatten)]
    about: About,
    /// Game clients that may run at once; 0: there is no program to start.
    max_games: u32,
    /// Name, news and colour of the server, where it came with a profile.
    look: Option<serde_json::Value>,
}

/// The commands that `capabilities/main.json` grants.
pub(crate) fn commands<R: tauri::Runtime>() -> impl Fn(Invoke<R>) -> bool + Send + Sync + 'static {
    tauri::generate_handler![
        start,
        about,
        snapshot,
        subscribe,
        command,
        crate::desktop::desktop,
        crate::updates::update,
        crate::setup::profile,
        settings_read,
        settings_write,
        settings_import,
        restart,
        log_lines,
        save_report,
        save_packets,
        crate::news::news,
        crate::news::open_news,
    ]
}

#[tauri::command]
async fn start(house: State<'_, House>) -> Result<(), Problem> {
    house.start().await
}

#[tauri::command]
async fn about(house: State<'_, House>) -> Result<WindowAbout, Problem> {
    let running = house.running.lock().await;
    let server = running.as_ref().map(|running| &running.server);
    let places = house.places();
    let about = About {
        version: crate::VERSION.into(),
        webview: tauri::webview_version().ok(),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        coordinator: server.map(|server| server.coordinator.clone()),
        embedded: server.is_some_and(|server| server.embedded),
        config: places
            .config
            .as_ref()
            .map(|file| file.display().to_string()),
    };
    Ok(WindowAbout {
        about,
        max_games: running.as_ref().map_or(0, |running| running.max_games),
        look: profile::look(places.config.as_deref()),
    })
}

#[tauri::command]
async fn snapshot(house: State<'_, House>) -> Result<Snapshot, Problem> {
    Ok(house.engine().await?.snapshot())
}

#[tauri::command]
async fn subscribe(house: State<'_, House>, channel: Channel<Vec<Event>>) -> Result<(), Problem> {
    house.listen(channel).await
}

#[tauri::command]
async fn command(house: State<'_, House>, cmd: Command) -> Result<(), Problem> {
    house.engine().await?.send(cmd)
}

#[tauri::command]
async fn settings_read(house: State<'_, House>) -> Result<Shown, Problem> {
    preferences::read(&house.places().write)
}

#[tauri::command]
async fn settings_write(house: State<'_, House>, changes: Vec<Change>) -> Result<Shown, Problem> {
    let shown = preferences::write(&house.places().write, changes)?;
    house.written();
    Ok(shown)
}

#[tauri::command]
fn settings_import(name: &str, text: &str) -> Result<Imported, Problem> {
    import::read(name, text)
}

#[tauri::command]
async fn restart(house: State<'_, House>) -> Result<(), Problem> {
    house.restart().await
}

#[tauri::command]
fn log_lines(recent: State<'_, Recent>, after: u64) -> Vec<help::Line> {
    help::lines(&recent, after)
}

/// Into the person's folder for downloads; where there is none, beside the settings.
#[tauri::command]
async fn save_report<R: tauri::Runtime>(
    app: AppHandle<R>,
    house: State<'_, House>,
    recent: State<'_, Recent>,
    diagnosis: String,
) -> Result<String, Problem> {
    let file = help::save(&downloads(&app, &house), &recent, &diagnosis)?;
    Ok(file.display().to_string())
}

/// The packets that staff looked at, one JSON object a line; to where reports go.
#[tauri::command]
async fn save_packets<R: tauri::Runtime>(
    app: AppHandle<R>,
    house: State<'_, House>,
    packets: String,
) -> Result<String, Problem> {
    let file = help::save_packets(&downloads(&app, &house), &packets)?;
    Ok(file.display().to_string())
}

fn downloads<R: tauri::Runtime>(app: &AppHandle<R>, house: &House) -> PathBuf {
    let own = house.places().write;
    let folder = app.path().download_dir().ok();
    let folder = folder.or_else(|| own.parent().map(Path::to_path_buf));
    folder.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::Future, pin::Pin, sync::Mutex as StdMutex};
    use tauri::{
        ipc::{CallbackFn, InvokeBody, InvokeResponseBody},
        test::{INVOKE_KEY, get_ipc_response, mock_builder, mock_context, noop_assets},
        webview::InvokeRequest,
    };
    use tokio::sync::{broadcast, mpsc, watch};
    use warp_engine_core::config::Config;

    use crate::engine::{Server, Sink};

    /// Stands in for the engine: notes what it is told, and says what a test lets it say.
    struct Scripted {
        told: StdMutex<Vec<Command>>,
        events: broadcast::Sender<Event>,
        quit: watch::Sender<bool>,
    }

    impl Engine for Scripted {
        fn send(&self, command: Command) -> Result<(), Problem> {
            let refused = matches!(command, Command::Stop);
            self.told.lock().unwrap().push(command);
            if refused {
                return Err(
                    Problem::new(ProblemCode::BadCommand, "stop").with_detail("not playing")
                );
            }
            Ok(())
        }

        fn snapshot(&self) -> Snapshot {
            Snapshot {
                zone: Some("prontera".into()),
                ..Snapshot::default()
            }
        }

        fn forward(&self, sink: Sink) -> AbortHandle {
            let mut events = self.events.subscribe();
            let task = tokio::spawn(async move {
                while let Ok(event) = events.recv().await {
                    if !sink(vec![event]) {
                        return;
                    }
                }
            });
            task.abort_handle()
        }

        fn quit(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            self.quit.send_replace(true);
            Box::pin(async {})
        }
    }

    fn scripted() -> (Arc<Scripted>, House) {
        let engine = Arc::new(Scripted {
            told: StdMutex::default(),
            events: broadcast::channel(8).0,
            quit: watch::channel(false).0,
        });
        let house = nothing_runs();
        let running = Running {
            engine: Arc::clone(&engine) as Arc<dyn Engine>,
            server: Server {
                coordinator: "http://127.0.0.1:8001/api/v1".into(),
                embedded: true,
            },
            max_games: 8,
            config: Config::default(),
            embedded: None,
        };
        *house.running.try_lock().unwrap() = Some(running);
        (engine, house)
    }

    fn nothing_runs() -> House {
        let nowhere = Places {
            config: None,
            write: "p2p_config.json".into(),
            own: false,
            data: "data".into(),
        };
        House::new(nowhere, Logs::default())
    }

    #[test]
    fn the_log_goes_by_the_level_that_was_just_saved() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            config: None,
            write: folder.path().join("p2p_config.json"),
            own: false,
            data: folder.path().into(),
        };
        let logs = Logs::start(&places, folder.path());
        let house = House::new(places, logs);
        assert!(!tracing::enabled!(tracing::Level::TRACE));
        let level = serde_json::json!({"changes": [{"key": "logging.level", "value": "trace"}]});
        call(house, "settings_write", level).unwrap();
        assert!(tracing::enabled!(tracing::Level::TRACE));
    }

    /// Calls a command as the page does, over the whole way from JSON to JSON.
    fn call(
        house: House,
        name: &str,
        body: serde_json::Value,
    ) -> Result<serde_json::Value, serde_json::Value> {
        let app = mock_builder()
            .invoke_handler(commands())
            .manage(house)
            .build(mock_context(noop_assets()))
            .unwrap();
        let webview = tauri::WebviewWindowBuilder::new(&app, "main", Default::default())
            .build()
            .unwrap();
        let request = InvokeRequest {
            cmd: name.into(),
            callback: CallbackFn(0),
            error: CallbackFn(1),
            url: "tauri://localhost".parse().unwrap(),
            body: InvokeBody::Json(body),
            headers: Default::default(),
            invoke_key: INVOKE_KEY.into(),
        };
        get_ipc_response(&webview, request).map(|answer| answer.deserialize().unwrap())
    }

    #[test]
    fn a_command_reaches_the_engine_as_the_page_wrote_it() {
        let (engine, house) = scripted();
        let cmd = serde_json::json!({ "command": "play", "zone": "prontera", "launch": true });
        call(house, "command", serde_json::json!({ "cmd": cmd })).unwrap();
        let play = Command::Play {
            zone: "prontera".into(),
            launch: true,
        };
        assert_eq!(*engine.told.lock().unwrap(), [play]);
        let (engine, house) = scripted();
        let cmd = serde_json::json!({ "command": "stop-game", "game": 3 });
        call(house, "command", serde_json::json!({ "cmd": cmd })).unwrap();
        assert_eq!(
            *engine.told.lock().unwrap(),
            [Command::StopGame { game: 3 }]
        );
    }

    #[test]
    fn a_refusal_comes_back_whole() {
        let (_, house) = scripted();
        let answer = call(
            house,
            "command",
            serde_json::json!({ "cmd": { "command": "stop" } }),
        );
        let expected = serde_json::json!({ "code": "bad-command", "subject": "stop", "detail": "not playing" });
        assert_eq!(answer.unwrap_err(), expected);
    }

    #[test]
    fn the_page_sees_state_and_server() {
        let (_, house) = scripted();
        let answer = call(house, "snapshot", serde_json::json!({})).unwrap();
        assert_eq!(answer["zone"], "prontera");
        let (_, house) = scripted();
        let answer = call(house, "about", serde_json::json!({})).unwrap();
        assert_eq!(answer["embedded"], true);
        assert_eq!(answer["max_games"], 8);
        assert_eq!(answer["coordinator"], "http://127.0.0.1:8001/api/v1");
        assert_eq!(answer["version"], crate::VERSION);
    }

    #[test]
    fn before_the_start_there_is_a_code_and_no_panic() {
        for name in ["snapshot", "command"] {
            let body = serde_json::json!({ "cmd": { "command": "quit" } });
            let answer = call(nothing_runs(), name, body);
            assert_eq!(answer.unwrap_err()["code"], "bad-command", "{name}");
        }
    }

    #[tokio::test]
    async fn a_page_that_is_loaded_anew_replaces_the_one_before() {
        let (engine, house) = scripted();
        let listen = || {
            let (sender, receiver) = mpsc::unbounded_channel();
            let channel = Channel::new(move |body| {
                // A page that is gone takes nothing; the forwarding then ends by itself.
                let _ = sender.send(body);
                Ok(())
            });
            (channel, receiver)
        };
        let (first, mut at_first) = listen();
        house.listen(first).await.unwrap();
        let (second, mut at_second) = listen();
        house.listen(second).await.unwrap();
        engine.events.send(Event::SignedOut).unwrap();
        let Some(InvokeResponseBody::Json(text)) = at_second.recv().await else {
            panic!("events travel as JSON");
        };
        assert_eq!(text, r#"[{"event":"signed-out"}]"#);
        // The first one's task is gone, and its sender with it.
        assert!(at_first.recv().await.is_none());
    }

    #[tokio::test]
    async fn the_end_asks_the_engine_first() {
        let (engine, house) = scripted();
        house.end().await;
        assert!(*engine.quit.borrow());
        assert!(house.running.lock().await.is_none());
    }

    #[test]
    fn the_window_is_granted_its_own_commands_and_nothing_else() {
        let text = include_str!("../capabilities/main.json");
        let capability: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(capability["windows"], serde_json::json!(["main"]));
        assert!(capability.get("remote").is_none());
        let granted = [
            "start",
            "about",
            "snapshot",
            "subscribe",
            "command",
            "desktop",
            "update",
            "profile",
            "settings-read",
            "settings-write",
            "settings-import",
            "restart",
            "log-lines",
            "save-report",
            "save-packets",
            "news",
            "open-news",
        ]
        .map(|name| format!("allow-{name}"));
        assert_eq!(capability["permissions"], serde_json::json!(granted));
    }
}
