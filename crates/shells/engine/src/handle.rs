//! The engine as others hold it.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc};
use warp_engine_core::command::Command;
use warp_engine_core::config::Config;
use warp_engine_core::event::Event;
use warp_engine_core::snapshot::Snapshot;
use warp_link::WrapCarrier;
use warp_protocol::hosting::HostHeartbeat;
use warp_protocol::{Problem, ProblemCode};

use crate::run::Engine;

/// Commands that may wait. Full: the sender is told.
const COMMANDS: usize = 64;
/// Events that a slow listener may fall behind; then it loses the oldest and is told how many.
const EVENTS: usize = 4096;

/// Where an engine keeps what outlives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// Use the system's secret store; false: keep tokens and device key in memory only.
    pub keyring: bool,
    /// File of the coordinators' keys, usually [`KNOWN_COORDINATORS`] beside the configuration;
    /// `None`: each is met anew whenever the engine starts.
    pub known_coordinators: Option<PathBuf>,
}

impl Keeping {
    /// Nothing is kept.
    pub fn nothing() -> Self {
        Self {
            keyring: false,
            known_coordinators: None,
        }
    }
}

/// Name of the file of the coordinators' keys.
pub const KNOWN_COORDINATORS: &str = "known_coordinators.json";

/// Makes another heartbeat of a host's.
pub type AlterHeartbeat = Arc<dyn Fn(HostHeartbeat) -> HostHeartbeat + Send + Sync>;

/// What an engine is started with.
pub struct EngineOptions {
    /// The configuration.
    pub config: Config,
    /// Where it keeps what outlives it.
    pub keeping: Keeping,
    /// Where `warp-practice` lies; `None`: beside the running program.
    pub programs: Option<PathBuf>,
    /// Called with what `/p2p debug` asks for.
    pub set_debug: Box<dyn Fn(bool) + Send>,
    /// Put around each carrier of its links and of its host; `None`: nothing. For tests of launchers
    /// and hosts that do not keep to the rules.
    pub wrap_carriers: Option<WrapCarrier>,
    /// What becomes of what its host tells of itself; `None`: it is told as it is. For the same tests.
    pub alter_heartbeats: Option<AlterHeartbeat>,
}

impl EngineOptions {
    /// With the system's secret store, no file for coordinators' keys and no debug switch.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            keeping: Keeping {
                keyring: true,
                known_coordinators: None,
            },
            programs: None,
            set_debug: Box::new(|_| {}),
            wrap_carriers: None,
            alter_heartbeats: None,
        }
    }
}

/// A running engine. When the last handle is dropped, the engine quits.
#[derive(Clone)]
pub struct EngineHandle {
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<Event>,
    snapshot: Arc<Mutex<Snapshot>>,
}

impl EngineHandle {
    /// Starts an engine on the current tokio runtime.
    ///
    /// # Errors
    /// A CA file that cannot be read: [`ProblemCode::ConfigValue`].
    pub fn start(options: EngineOptions) -> Result<Self, Problem> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, _) = broadcast::channel(EVENTS);
        let snapshot = Arc::new(Mutex::new(Snapshot::default()));
        let engine = Engine::new(options, events.clone(), snapshot.clone())?;
        tokio::spawn(engine.run(inbox));
        Ok(Self {
            commands,
            events,
            snapshot,
        })
    }

    /// Gives a command. Its results come as events.
    ///
    /// # Errors
    /// [`ProblemCode::BadCommand`] when the engine has ended or is swamped with commands.
    pub fn send(&self, command: Command) -> Result<(), Problem> {
        self.commands.try_send(command).map_err(|error| {
            let why = match error {
                mpsc::error::TrySendError::Full(_) => "too many commands wait",
                mpsc::error::TrySendError::Closed(_) => "the engine has ended",
            };
            Problem::new(ProblemCode::BadCommand, "command").with_detail(why)
        })
    }

    /// All events from now on.
    pub fn subscribe(&self) -> EventStream {
        EventStream {
            receiver: self.events.subscribe(),
        }
    }

    /// The present state.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().clone()
    }
}

/// Events of an engine.
pub struct EventStream {
    receiver: broadcast::Receiver<Event>,
}

impl EventStream {
    /// The next event; `None` when the engine has ended.
    pub async fn recv(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    tracing::warn!(count, "a listener was too slow and lost events");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
