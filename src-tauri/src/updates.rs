//! Updates, from the question to the first start of the new version.
//!
//! `warp-updates` asks, downloads and checks; Tauri's updater installs, and checks signature and signed
//! version once more. In between this module keeps the version that runs, ends the engine, and looks
//! after the new version's first start:
//!
//! - On Linux and macOS this process starts the new version itself, out of sight, and waits until it
//!   has shown its page. If it ends before that twice, this window comes back and offers the version
//!   before.
//! - On Windows the installer ends this process. There, and whenever this process is gone, the new
//!   version counts its own starts, and a start that brings no page offers the version before.

use std::{path::PathBuf, sync::Mutex, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use semver::Version;
use serde::{Deserialize, Serialize};
use tauri::{
    AppHandle, Manager as _, Runtime,
    utils::{config::BundleType, platform::bundle_type},
};
use tauri_plugin_updater::UpdaterExt as _;
use warp_engine_core::config::Config;
use warp_protocol::{
    Problem, ProblemCode,
    update::{Bundle, Offer},
};
use warp_updates::{Asker, Checked, Store};

use crate::{
    desktop::{self, Desktop, Told, WINDOW},
    house::House,
};

/// The key that updates of this build are signed with; `cargo xtask release` sets it.
const BUILT_IN_KEY: Option<&str> = option_env!("WARP_UPDATE_KEY");
/// After the page came, the first question waits so long: signing in goes first.
const FIRST_QUESTION: Duration = Duration::from_secs(8);
/// Time between two questions.
const QUESTIONS: Duration = Duration::from_secs(6 * 3600);
/// A new version that neither ends nor shows its page in this time is left to itself: it has a dialog
/// of its own for that.
const TRIAL: Duration = Duration::from_secs(90);
/// How often the process on trial is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How updates are, for the page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(crate) enum UpdateState {
    /// Nothing has been asked.
    #[default]
    Idle,
    /// The coordinator is being asked.
    Asking,
    /// This is the newest version.
    Newest,
    /// A newer one is there.
    Offered {
        version: String,
        notes: String,
        size: u64,
    },
    /// It is being downloaded.
    Loading {
        version: String,
        received: u64,
        size: u64,
    },
    /// It is here and was checked.
    Ready { version: String },
    /// It is being installed; the engine has ended.
    Installing { version: String },
    /// It did not start. The version before can be put back.
    DidNotStart { version: String, kept: String },
    /// Something did not work, or an update was refused; the version that runs stays.
    Failed { problem: Problem },
}

/// What the page asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Ask the coordinator.
    Ask,
    /// Download what was offered.
    Load,
    /// Install what was downloaded, and start it.
    Install,
    /// Put the version before back.
    GoBack,
}

/// Everything about updates.
pub(crate) struct Updates {
    store: Store,
    current: Version,
    /// The program's own file.
    program: std::io::Result<PathBuf>,
    inner: Mutex<Inner>,
    /// One thing at a time.
    busy: tokio::sync::Mutex<()>,
    asking: std::sync::atomic::AtomicBool,
    /// The starts before this one did not come to their page.
    has_failed: bool,
}

/// What a package is installed for.
#[derive(Clone, Copy)]
enum Purpose<'a> {
    /// This newer version is tried.
    Trial(&'a str),
    /// It is the version before `from`, which did not do.
    Back { from: &'a str },
}

#[derive(Default)]
struct Inner {
    state: UpdateState,
    asker: Option<Asker>,
    offer: Option<Offer>,
    checked: Option<Checked>,
}

/// An update ends the engine, and every game with it.
async fn no_game<R: Runtime>(app: &AppHandle<R>) -> Result<(), Problem> {
    match app.state::<House>().games().await {
        0 => Ok(()),
        _ => Err(Problem::new(ProblemCode::BadCommand, "update")
            .with_detail("a game is running; it would end")),
    }
}

impl Updates {
    /// Keeps what it keeps in `folder`. Counts this start, if this version is on trial.
    pub(crate) fn new(folder: PathBuf, current: Version, env: &tauri::Env) -> Self {
        let store = Store::new(folder);
        let has_failed = store
            .started(&current.to_string())
            .unwrap_or_else(|problem| {
                tracing::warn!(%problem, "updates cannot keep anything");
                false
            });
        if has_failed {
            tracing::warn!(%current, "this version has failed to start before");
        }
        let program = tauri::process::current_binary(env);
        if let Ok(program) = &program {
            warp_updates::remove_replaced(program);
        }
        Self {
            store,
            current,
            program,
            inner: Mutex::default(),
            busy: tokio::sync::Mutex::default(),
            asking: std::sync::atomic::AtomicBool::new(false),
            has_failed,
        }
    }

    pub(crate) fn state(&self) -> UpdateState {
        self.inner().state.clone()
    }

    /// There is a version that this one can be gone back from.
    pub(crate) fn can_go_back(&self) -> bool {
        let on_trial = self
            .store
            .trial()
            .is_some_and(|trial| trial.version == self.current.to_string() && trial.starts > 1);
        on_trial && self.store.kept().is_some()
    }

    /// Whether this version has failed to start so often that the one before is offered without a page.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed && self.store.kept().is_some()
    }

    /// The page came: this version starts well. From now on newer ones are asked for.
    pub(crate) fn page_came<R: Runtime>(&self, app: &AppHandle<R>) {
        if let Err(problem) = self.store.passed(&self.current.to_string()) {
            tracing::warn!(%problem, "that this version started is not kept");
        }
        if self.asking.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return;
        }
        let app = app.clone();
        tauri::async_runtime::spawn(async move {
            tokio::time::sleep(FIRST_QUESTION).await;
            loop {
                let updates = app.state::<Updates>();
                // Without a key there is nothing to ask for, and nothing to say about it.
                if updates.asker().is_ok() {
                    updates.ask(&app, false).await;
                }
                tokio::time::sleep(QUESTIONS).await;
            }
        });
    }

    /// The engine runs with this configuration.
    pub(crate) fn follow(&self, config: &Config) {
        let asker = self.asker_of(config);
        if let Err(problem) = &asker {
            tracing::info!(code = ?problem.code, detail = problem.detail, "no updates");
        }
        self.inner().asker = asker.ok();
    }

    /// Without an engine, as when its page never came, the settings tell whom to ask.
    fn follow_settings<R: Runtime>(&self, app: &AppHandle<R>) {
        if self.asker().is_ok() {
            return;
        }
        let config = app.state::<House>().places().config;
        match crate::settings::load(config.as_deref()) {
            Ok(settings) => self.follow(&settings.config),
            Err(problem) => tracing::warn!(%problem, "the settings cannot be read"),
        }
    }

    fn asker_of(&self, config: &Config) -> Result<Asker, Problem> {
        let section = &config.updates;
        let key = match section.public_key.as_str() {
            "" => BUILT_IN_KEY.unwrap_or_default(),
            key => key,
        };
        if key.is_empty() {
            return Err(Problem::new(ProblemCode::UpdatesOff, "updates.public_key"));
        }
        let (base, http) = warp_engine::coordinator_http(config)?;
        Ok(Asker {
            base,
            http,
            key: key.to_owned(),
            channel: section.channel,
            platform: warp_updates::platform(bundle()),
            current: self.current.clone(),
            install: self.store.install()?,
        })
    }

    fn asker(&self) -> Result<Asker, Problem> {
        let asker = self.inner().asker.clone();
        asker.ok_or_else(|| Problem::new(ProblemCode::UpdatesOff, "updates.public_key"))
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        // What a panic left behind is a state and a package: both are checked again.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn set<R: Runtime>(&self, app: &AppHandle<R>, state: UpdateState) {
        self.inner().state = state.clone();
        app.state::<Desktop>().tell(Told::Update { update: state });
    }

    fn failed<R: Runtime>(&self, app: &AppHandle<R>, problem: Problem) {
        tracing::warn!(code = ?problem.code, subject = problem.subject, detail = problem.detail, "update");
        self.set(app, UpdateState::Failed { problem });
    }

    /// A version that was gone back from is offered to somebody who asks, and to nobody else.
    async fn ask<R: Runtime>(&self, app: &AppHandle<R>, by_hand: bool) {
        let _busy = self.busy.lock().await;
        // What is already here is not thrown away for a question.
        if matches!(
            self.state(),
            UpdateState::Ready { .. } | UpdateState::DidNotStart { .. }
        ) {
            return;
        }
        self.set(app, UpdateState::Asking);
        let asked = match self.asker() {
            Ok(asker) => asker.ask().await,
            Err(problem) => Err(problem),
        };
        match asked {
            Ok(Some(offer)) if by_hand || self.store.refused().as_ref() != Some(&offer.version) => {
                let state = UpdateState::Offered {
                    version: offer.version.clone(),
                    notes: offer.notes.clone(),
                    size: offer.size,
                };
                let known = self.inner().offer.replace(offer);
                if known.is_none() {
                    let face = app.state::<Desktop>().face();
                    if face.notify_update {
                        desktop::notify(app, face.words.update);
                    }
                }
                self.set(app, state);
            }
            Ok(_) => self.set(app, UpdateState::Newest),
            Err(problem) => self.failed(app, problem),
        }
    }

    async fn load<R: Runtime>(&self, app: &AppHandle<R>) {
        let _busy = self.busy.lock().await;
        if !matches!(self.state(), UpdateState::Offered { .. }) {
            return;
        }
        let offer = self.inner().offer.clone();
        let (Ok(asker), Some(offer)) = (self.asker(), offer) else {
            return;
        };
        let loading = |received| UpdateState::Loading {
            version: offer.version.clone(),
            received,
            size: offer.size,
        };
        self.set(app, loading(0));
        let shown = std::sync::atomic::AtomicU64::new(0);
        let progress = |received: u64, size: u64| {
            // A hundred steps are enough for a bar.
            let percent = received * 100 / size.max(1);
            if shown.swap(percent, std::sync::atomic::Ordering::Relaxed) != percent {
                self.set(app, loading(received));
            }
        };
        let parts = self.store.parts();
        match asker.fetch(&offer, &parts, false, progress).await {
            Ok(checked) => {
                let version = checked.version.to_string();
                self.inner().checked = Some(checked);
                self.set(app, UpdateState::Ready { version });
            }
            Err(problem) => {
                self.inner().offer = None;
                self.failed(app, problem);
            }
        }
    }

    async fn install<R: Runtime>(&self, app: &AppHandle<R>) {
        let _busy = self.busy.lock().await;
        if let Err(problem) = no_game(app).await {
            return app.state::<Desktop>().tell(Told::Problem { problem });
        }
        let (offer, checked) = {
            let mut inner = self.inner();
            (inner.offer.take(), inner.checked.take())
        };
        let (Some(offer), Some(checked)) = (offer, checked) else {
            return;
        };
        let version = checked.version.to_string();
        self.set(
            app,
            UpdateState::Installing {
                version: version.clone(),
            },
        );
        // Without the one before there is no way back; the person may still want the new version, but then
        // by hand and knowingly. And keeping it may have taken long enough for a game to be started.
        let ready = match self.keep().await {
            Ok(()) => no_game(app).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = ready {
            // What was downloaded is not thrown away for that.
            {
                let mut inner = self.inner();
                (inner.offer, inner.checked) = (Some(offer), Some(checked));
            }
            self.set(app, UpdateState::Ready { version });
            return app.state::<Desktop>().tell(Told::Problem { problem });
        }
        let installed = match self.asker() {
            Ok(asker) => {
                app.state::<House>().end().await;
                self.put(
                    app,
                    &asker.key,
                    &offer,
                    checked.bytes,
                    Purpose::Trial(&version),
                )
                .await
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = installed {
            self.failed(app, problem);
            return desktop::reload(app);
        }
        self.try_out(app, &version).await;
    }

    /// Keeps the version that runs.
    async fn keep(&self) -> Result<(), Problem> {
        let current = self.current.to_string();
        if self
            .store
            .kept()
            .is_some_and(|kept| kept.version == current)
        {
            return Ok(());
        }
        if bundle() == Bundle::Portable {
            let program = self.program()?;
            let store = self.store.clone();
            let kept = tokio::task::spawn_blocking(move || {
                let bytes = std::fs::read(&program).map_err(|error| no_file(&program, &error))?;
                store.keep(&current, &bytes, None)
            });
            return kept.await.unwrap_or_else(|error| {
                Err(Problem::new(ProblemCode::Internal, error.to_string()))
            });
        }
        let asker = self.asker()?;
        match asker.ask_same().await? {
            Some(offer) => {
                let parts = self.store.parts();
                let checked = asker.fetch(&offer, &parts, true, |_, _| {}).await?;
                self.store.keep(&current, &checked.bytes, Some(offer))
            }
            None => {
                tracing::warn!(
                    current,
                    "this version is not published any more, and is not kept"
                );
                Ok(())
            }
        }
    }

    /// Has a package installed. Tauri's updater does it,
    /// which on Windows knows installers only: a bare program is replaced here.
    async fn put<R: Runtime>(
        &self,
        app: &AppHandle<R>,
        key: &str,
        offer: &Offer,
        bytes: Vec<u8>,
        purpose: Purpose<'_>,
    ) -> Result<(), Problem> {
        if !(cfg!(windows) && bundle() == Bundle::Portable) {
            return self.hand_over(app, key, offer, bytes, purpose).await;
        }
        if let Purpose::Trial(version) = purpose {
            self.store.begin_trial(version)?;
        }
        let program = self.program()?;
        let replaced = tokio::task::spawn_blocking({
            let program = program.clone();
            move || warp_updates::replace_program(&program, &bytes)
        });
        let replaced = replaced.await.unwrap_or_else(|error| Err(error.into()));
        replaced.map_err(|error| {
            if let Purpose::Trial(version) = purpose {
                // That there is no trial is what counts; why is told below.
                let _ = self.store.passed(version);
            }
            no_file(&program, &error)
        })
    }

    /// Has a package installed by Tauri's updater. On Windows this process ends in it.
    async fn hand_over<R: Runtime>(
        &self,
        app: &AppHandle<R>,
        key: &str,
        offer: &Offer,
        bytes: Vec<u8>,
        purpose: Purpose<'_>,
    ) -> Result<(), Problem> {
        let fault = |error: String| {
            Problem::new(ProblemCode::UpdateNotInstalled, &offer.version).with_detail(error)
        };
        let manifest = serde_json::json!({
            "version": offer.version,
            "url": "https://localhost/",
            "signature": offer.signature,
            "notes": offer.notes,
            "pub_date": offer.pub_date,
        });
        // The form in which the updater wants the key: minisign's file, in base64.
        let key = BASE64_STANDARD.encode(format!("untrusted comment: updates\n{key}\n"));
        let endpoint = tauri::Url::parse("https://localhost/").map_err(|e| fault(e.to_string()))?;
        let mut builder = app
            .updater_builder()
            .pubkey(key)
            .endpoints(vec![endpoint])
            .map_err(|error| fault(error.to_string()))?;
        if let Purpose::Back { from } = purpose {
            let (store, from, app) = (self.store.clone(), from.to_owned(), app.clone());
            builder = builder
                // Going back is what was asked for.
                .version_comparator(|_, _| true)
                // Nothing after the installer's start is done by this process.
                .on_before_exit(move || {
                    if let Err(problem) = store.went_back(&from) {
                        tracing::warn!(%problem, "that it was gone back from is not kept");
                    }
                    app.cleanup_before_exit();
                });
        }
        let update = builder
            .build()
            .and_then(|updater| updater.restore_update(manifest))
            .map_err(|error| fault(error.to_string()))?
            .ok_or_else(|| fault("it is no newer version".into()))?;
        if let Purpose::Trial(version) = purpose {
            self.store.begin_trial(version)?;
        }
        let installed = tokio::task::spawn_blocking(move || update.install(bytes)).await;
        let installed = installed
            .map_err(|error| error.to_string())
            .and_then(|result| result.map_err(|error| error.to_string()));
        if let Err(error) = installed {
            if let Purpose::Trial(version) = purpose {
                self.store.passed(version)?;
            }
            return Err(fault(error));
        }
        Ok(())
    }

    /// Starts the new version and waits until it has shown its page; then this one is done.
    async fn try_out<R: Runtime>(&self, app: &AppHandle<R>, version: &str) {
        // The new one would hand itself over to this one otherwise.
        tauri_plugin_single_instance::destroy(app);
        if let Some(window) = app.get_webview_window(WINDOW) {
            // That it stays in sight harms nobody.
            let _ = window.hide();
        }
        for attempt in 1..=warp_updates::MAX_FAILED_STARTS {
            match self.one_start().await {
                Ok(true) => {
                    tracing::info!(version, "the new version has started");
                    return app.exit(0);
                }
                Ok(false) => tracing::warn!(version, attempt, "the new version has ended"),
                Err(problem) => {
                    tracing::warn!(version, attempt, %problem, "the new version cannot be started");
                }
            }
        }
        let kept = self
            .store
            .kept()
            .map_or_else(String::new, |kept| kept.version);
        self.set(
            app,
            UpdateState::DidNotStart {
                version: version.to_owned(),
                kept,
            },
        );
        desktop::reload(app);
        desktop::show(app);
    }

    /// True: the page of the new version came, or it is left to itself.
    async fn one_start(&self) -> Result<bool, Problem> {
        let program = self.program()?;
        let mut child = tokio::process::Command::new(&program)
            .args(std::env::args_os().skip(1))
            .env_remove("TAURI_WEBVIEW_AUTOMATION")
            .spawn()
            .map_err(|error| no_file(&program, &error))?;
        let end = tokio::time::Instant::now() + TRIAL;
        while tokio::time::Instant::now() < end {
            if self.store.trial().is_none() {
                return Ok(true);
            }
            if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                // It may have passed and been closed at once.
                return Ok(self.store.trial().is_none());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(true)
    }

    /// True: the version before is started, and this process ends.
    async fn go_back<R: Runtime>(&self, app: &AppHandle<R>) -> bool {
        let _busy = self.busy.lock().await;
        let Some(kept) = self.store.kept() else {
            return false;
        };
        if let Err(problem) = no_game(app).await {
            app.state::<Desktop>().tell(Told::Problem { problem });
            return false;
        }
        self.follow_settings(app);
        let before = self.state();
        let from = match before.clone() {
            UpdateState::DidNotStart { version, .. } => version,
            _ => self.current.to_string(),
        };
        let put_back = async {
            let file = self.store.kept_file(&kept);
            let bytes = tokio::fs::read(&file)
                .await
                .map_err(|error| no_file(&file, &error))?;
            match &kept.offer {
                Some(offer) => {
                    let asker = self.asker()?;
                    app.state::<House>().end().await;
                    self.put(app, &asker.key, offer, bytes, Purpose::Back { from: &from })
                        .await?;
                }
                None => {
                    let program = self.program()?;
                    warp_updates::replace_program(&program, &bytes)
                        .map_err(|error| no_file(&program, &error))?;
                }
            }
            self.store.went_back(&from)
        };
        // The engine may have ended: the page starts it again.
        if let Err(problem) = put_back.await {
            tracing::warn!(code = ?problem.code, subject = problem.subject, detail = problem.detail, "going back");
            self.set(app, before);
            // Told to the page that comes, not to the one that goes.
            let desktop = app.state::<Desktop>();
            desktop.forget_page();
            desktop.tell(Told::Problem { problem });
            desktop::reload(app);
            return false;
        }
        tracing::info!(from, to = kept.version, "the version before is back");
        if kept.version == self.current.to_string() {
            // This is the process of before, whose program is in its place again.
            self.set(app, UpdateState::Idle);
            desktop::reload(app);
            return false;
        }
        tauri_plugin_single_instance::destroy(app);
        app.state::<House>().end().await;
        let started = self.program().and_then(|program| {
            let mut again = std::process::Command::new(&program);
            again.args(std::env::args_os().skip(1));
            again.spawn().map_err(|error| no_file(&program, &error))
        });
        if let Err(problem) = started {
            tracing::error!(%problem, "the version before is back, and cannot be started");
        }
        app.exit(0);
        true
    }

    fn program(&self) -> Result<PathBuf, Problem> {
        match &self.program {
            Ok(program) => Ok(program.clone()),
            Err(error) => Err(Problem::new(
                ProblemCode::UpdateNotInstalled,
                "the program's own file",
            )
            .with_detail(error.to_string())),
        }
    }
}

/// The page asks for something.
#[tauri::command]
pub(crate) async fn update<R: Runtime>(app: AppHandle<R>, action: Action) -> Result<(), Problem> {
    let updates = app.state::<Updates>();
    match action {
        Action::Ask => updates.ask(&app, true).await,
        Action::Load => updates.load(&app).await,
        Action::Install => Box::pin(updates.install(&app)).await,
        Action::GoBack => {
            Box::pin(updates.go_back(&app)).await;
        }
    }
    Ok(())
}

/// The same from a dialog. True: this process ends.
pub(crate) async fn go_back<R: Runtime>(app: &AppHandle<R>) -> bool {
    Box::pin(app.state::<Updates>().go_back(app)).await
}

/// How this program was packed.
fn bundle() -> Bundle {
    match bundle_type() {
        Some(BundleType::Deb) => Bundle::Deb,
        Some(BundleType::Rpm) => Bundle::Rpm,
        Some(BundleType::AppImage) => Bundle::Appimage,
        Some(BundleType::Nsis) => Bundle::Nsis,
        Some(BundleType::Msi) => Bundle::Msi,
        Some(BundleType::App | BundleType::Dmg) => Bundle::App,
        _ => Bundle::Portable,
    }
}

fn no_file(file: &std::path::Path, error: &std::io::Error) -> Problem {
    Problem::new(ProblemCode::UpdateNotInstalled, file.display().to_string())
        .with_detail(error.to_string())
}
