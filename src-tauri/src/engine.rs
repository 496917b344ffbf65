//! The one place that knows the engine's crate: starts it, and hands it on as [`Engine`].

use std::{future::Future, path::Path, pin::Pin, sync::Arc};

use tokio::task::AbortHandle;
use warp_embedded::Embedded;
use warp_engine::{EngineHandle, EngineOptions, EventStream, KNOWN_COORDINATORS};
use warp_engine_core::{
    command::Command,
    config::{Config, GameSection, PracticeSection},
    event::Event,
    snapshot::Snapshot,
};
use warp_protocol::{Problem, ProblemCode};

use crate::{batch, logs::Logs, options::Places, settings};

/// Takes a batch of events; false: nobody listens any more.
pub(crate) type Sink = Box<dyn Fn(Vec<Event>) -> bool + Send + Sync>;

/// An engine, as the window sees it.
pub(crate) trait Engine: Send + Sync {
    /// Hands over a command; what comes of it arrives as events.
    ///
    /// # Errors
    /// A command that does not fit the present state.
    fn send(&self, command: Command) -> Result<(), Problem>;
    /// Everything at once.
    fn snapshot(&self) -> Snapshot;
    /// Events from now on, in batches, until `sink` says no, the engine ends or it is aborted.
    fn forward(&self, sink: Sink) -> AbortHandle;
    /// Asks the engine to end, and is done when it has.
    fn quit(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// An engine that runs, and which server it speaks to.
pub(crate) struct Running {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) server: Server,
    /// Game clients that may run at once; 0: there is no program to start.
    pub(crate) max_games: u32,
    /// What it was started with.
    pub(crate) config: Config,
    /// The coordinator and the practice game inside this program, where no other was configured.
    pub(crate) embedded: Option<Embedded>,
}

impl Running {
    /// Ends the engine, then what stands behind it.
    pub(crate) async fn end(self) {
        self.engine.quit().await;
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
    }
}

/// The server behind the sign-in form.
pub(crate) struct Server {
    /// Address of the coordinator's REST interface.
    pub(crate) coordinator: String,
    /// It runs inside this program, with the practice game behind it.
    pub(crate) embedded: bool,
}

/// Starts the engine as `places` say; where no coordinator is configured, the embedded one first.
///
/// # Errors
/// The configuration is not readable or not allowed, the embedded coordinator could not be opened,
/// or the engine refused the configuration.
pub(crate) async fn start(places: &Places, logs: &Logs) -> Result<Running, Problem> {
    let settings = settings::load(places.config.as_deref())?;
    for warning in &settings.warnings {
        tracing::warn!(%warning, "configuration");
    }
    let mut config = settings.config;
    let embedded = if settings.names_coordinator {
        None
    } else {
        Some(move_in(places, &mut config).await?)
    };
    let server = Server {
        coordinator: config.coordinator.rest_api_url.clone(),
        embedded: embedded.is_some(),
    };
    let max_games = max_games(&config.game);
    let mut options = EngineOptions::new(config.clone());
    options.set_debug = logs.debug_switch();
    // The embedded coordinator is met anew at another port each time; its key is configured.
    if embedded.is_none() {
        let folder = places.config.as_deref().and_then(Path::parent);
        let folder = folder.unwrap_or(&places.data);
        options.keeping.known_coordinators = Some(folder.join(KNOWN_COORDINATORS));
    }
    let handle = EngineHandle::start(options)?;
    Ok(Running {
        engine: Arc::new(handle),
        server,
        max_games,
        config,
        embedded,
    })
}

fn max_games(game: &GameSection) -> u32 {
    if game.executable.is_empty() && game.practice.is_none() {
        return 0;
    }
    game.max_instances
}

/// Opens the embedded coordinator and points `config` at it. Where no game is configured either,
/// Play starts the practice game.
async fn move_in(places: &Places, config: &mut Config) -> Result<Embedded, Problem> {
    let embedded = Embedded::start(&places.data).await.map_err(|error| {
        Problem::new(ProblemCode::Internal, places.data.display().to_string())
            .with_detail(error.to_string())
    })?;
    config.coordinator.rest_api_url = embedded.rest_api_url();
    config.coordinator.public_key = embedded.coordinator().public_key().to_string();
    // An address of another coordinator's socket would be the wrong one here.
    config.coordinator.websocket_url.clear();
    if config.game.executable.is_empty() && config.game.practice.is_none() {
        config.game.practice = Some(PracticeSection::default());
    }
    Ok(embedded)
}

impl batch::Source for EventStream {
    async fn next(&mut self) -> Option<Event> {
        self.recv().await
    }
}

impl Engine for EngineHandle {
    fn send(&self, command: Command) -> Result<(), Problem> {
        Self::send(self, command)
    }

    fn snapshot(&self) -> Snapshot {
        Self::snapshot(self)
    }

    fn forward(&self, sink: Sink) -> AbortHandle {
        // Subscribed here and not in the task: what happens from now on must not be missed.
        tokio::spawn(batch::forward(self.subscribe(), sink)).abort_handle()
    }

    fn quit(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let mut events = self.subscribe();
            if Self::send(self, Command::Quit).is_err() {
                // It has ended already, or is swamped; then it ends when its handle is dropped.
                return;
            }
            while events
                .recv()
                .await
                .is_some_and(|event| event != Event::Ended)
            {}
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_configuration_the_embedded_coordinator_is_there_and_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            config: None,
            write: folder.path().join("p2p_config.json"),
            own: false,
            data: folder.path().join("data"),
        };
        let running = start(&places, &Logs::default()).await.unwrap();
        assert!(running.server.embedded);
        assert!(running.server.coordinator.starts_with("http://127.0.0.1:"));
        assert_eq!(running.engine.snapshot(), Snapshot::default());
        // The practice game is there to be started.
        assert_eq!(running.max_games, GameSection::default().max_instances);
        running.end().await;
    }

    #[tokio::test]
    async fn a_configured_coordinator_is_taken_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let url = "http://127.0.0.1:9/api/v1";
        let file = folder.path().join("p2p_config.json");
        std::fs::write(
            &file,
            format!(r#"{{"coordinator":{{"rest_api_url":"{url}"}}}}"#),
        )
        .unwrap();
        let places = Places {
            config: Some(file.clone()),
            write: file,
            own: false,
            data: folder.path().join("data"),
        };
        let running = start(&places, &Logs::default()).await.unwrap();
        assert_eq!(running.server.coordinator, url);
        assert!(!running.server.embedded);
        assert_eq!(running.max_games, 0, "nothing to start was written");
        assert!(
            !places.data.exists(),
            "nothing is kept for a house that was not opened"
        );
        running.end().await;
    }
}
