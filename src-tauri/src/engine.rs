//! The one place that knows the engine's crate: starts it, and hands it on as [`Engine`].

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::task::AbortHandle;
use warp_engine::{EngineHandle, EngineOptions, EventStream};
use warp_engine_core::{command::Command, event::Event, snapshot::Snapshot};
use warp_protocol::Problem;

use crate::{batch, options::Places, settings};

/// Takes a batch of events; false: nobody listens any more.
pub(crate) type Sink = Box<dyn Fn(Vec<Event>) -> bool + Send + Sync>;

/// Switches debug logging, as `/p2p debug` asks.
pub(crate) type DebugSwitch = Arc<dyn Fn(bool) + Send + Sync>;

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
}

/// The server behind the sign-in form.
pub(crate) struct Server {
    /// Address of the coordinator's REST interface.
    pub(crate) coordinator: String,
    /// It runs inside this program, with the practice game behind it.
    pub(crate) embedded: bool,
}

/// Starts the engine as `places` say.
///
/// # Errors
/// The configuration is not readable or not allowed, or the engine refused it.
pub(crate) async fn start(places: &Places, debug: DebugSwitch) -> Result<Running, Problem> {
    let settings = settings::load(places.config.as_deref())?;
    for warning in &settings.warnings {
        tracing::warn!(%warning, "configuration");
    }
    let server = Server {
        coordinator: settings.config.coordinator.rest_api_url.clone(),
        embedded: false,
    };
    let handle = EngineHandle::start(EngineOptions {
        set_debug: Box::new(move |on| debug(on)),
        ..EngineOptions::new(settings.config)
    })?;
    Ok(Running {
        engine: Arc::new(handle),
        server,
    })
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
