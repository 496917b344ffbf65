//! One of several coordinators that serve the same players.
//!
//! * One node at a time owns the live state (sessions, rooms, hosts); which one is decided by a lease in
//!   Redis, whose rules are those of [`warp_coordinator_core::cluster`]. A node that becomes the owner is
//!   exactly like a coordinator that was restarted: it begins with nothing, the endpoint names what it
//!   holds, clients come back.
//! * Any node serves any client. What needs the live state is forwarded to its owner ([`forward`]), the
//!   rest is answered where it arrives. Redis is in the way of neither.
//! * An owner whose lease has run out stops granting by its own clock. What is open stays open, in case
//!   nobody else has owned it meanwhile; when somebody has, all its sockets are closed (1012).
//! * Whatever changes zones, the switch of P2P, revocations or bans says so to all; they look by
//!   themselves too, every few seconds.

mod config;
mod forward;
mod store;
mod tenure;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    http::Method,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use parking_lot::{Mutex, RwLock};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    time::{sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use warp_coordinator_core::cluster::{Answer, Ask, Change, Lease, LeaseTimes, ServedBy, served_by};
use warp_protocol::{ProblemCode, Secret};

pub use config::ClusterConfig;
pub(crate) use config::ClusterPart;
pub(crate) use tenure::Tenure;

use crate::{
    api::router,
    app::App,
    bans::enforce_bans,
    capacity::Capacity,
    gate::Gate,
    hosting::serving::persist,
    problem::Refused,
    running::{enforce_revocations, follow, sync_fleet, take_over},
    server::Server,
    tokens::random_hex,
};
use forward::{Forward, Peers};
use store::{ClusterStore, News, NodeView, Presence, StoreTrouble};

/// Shortest cluster secret, bytes.
const MIN_SECRET: usize = 32;

/// Largest file with one.
const MAX_SECRET: u64 = 4096;

/// How long a start waits for Redis.
const START_TIME: Duration = Duration::from_secs(5);

/// Pause before something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Longest that an owner that stops takes for storing the sessions of its hosts.
const STORE_TIME: Duration = Duration::from_millis(300);

/// A node cannot join its cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The secret cannot be read, or is too short.
    #[error("cluster.secret_file {file}: {why}")]
    Secret {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The endpoint is embedded.
    #[error("endpoint.mode has to be `remote` in a cluster: the endpoint outlives each node")]
    Embedded,
    /// Redis does not do what it should.
    #[error("cluster.redis: {0}; is Redis or DragonflyDB running there?")]
    Redis(String),
    /// Other nodes have other keys.
    #[error(
        "another node, {url}, has other keys: copy {} from its data directory (or its secret file)",
        files.join(" and ")
    )]
    Keys {
        /// The other node.
        url: String,
        /// Which files.
        files: Vec<String>,
    },
    /// The address for nodes.
    #[error("cluster.listen {0}")]
    Listen(String),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// The keys that all nodes have to have the same of: name of the file, and what is in it.
pub(crate) type SharedKeys<'a> = [(&'static str, &'a [u8]); 3];

/// What makes this node the owner's one.
struct Term {
    app: App,
    stop: CancellationToken,
    /// Once it has looked at the database.
    router: Option<Router>,
}

/// This node of the cluster.
pub(crate) struct Cluster {
    /// What answers that which needs no live state.
    base: App,
    anywhere: Router,
    store: ClusterStore,
    presence: Presence,
    peers: Peers,
    start: Instant,
    lease: Mutex<Lease>,
    tenure: Tenure,
    term: RwLock<Option<Term>>,
    /// Who owns the live state, as far as is known here.
    owner: watch::Sender<Option<NodeView>>,
    /// Redis has not answered the last call.
    is_alone: Arc<AtomicBool>,
    hurry: Notify,
}

/// Whether this node owns the live state.
enum Own {
    Yes(Router),
    /// It does, and cannot act just now.
    NotNow(Refused),
    No,
}

impl Cluster {
    /// Joins the cluster that the configuration names. Gives the router for clients.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub(crate) async fn join(
        base: &App,
        config: &ClusterConfig,
        keys: SharedKeys<'_>,
    ) -> Result<Router, ClusterError> {
        if base.live.endpoint.remote().is_none() {
            return Err(ClusterError::Embedded);
        }
        let peers = Peers::new(secret(config)?.reveal().as_bytes());
        let fingerprints = keys
            .iter()
            .map(|(file, key)| (*file, peers.fingerprint(file, key)));
        let own = ("cluster.secret_file", peers.fingerprint("secret", b""));
        let times = LeaseTimes {
            lease: config.lease,
        };
        let presence = Presence {
            view: NodeView {
                url: config.node_url.clone(),
                token: random_hex::<8>().map_err(|_| ClusterError::NoRandomness)?,
            },
            keys: fingerprints.chain([own]).collect(),
            times,
        };
        let store = ClusterStore::new(&config.redis);
        let store = store.map_err(|error| ClusterError::Redis(error.to_string()))?;
        look(&store, &presence).await?;
        let listener = TcpListener::bind(config.listen).await;
        let listener =
            listener.map_err(|e| ClusterError::Listen(format!("{}: {e}", config.listen)))?;
        let start = Instant::now();
        let cluster = Arc::new(Self {
            base: base.clone(),
            anywhere: router(base.clone()),
            store,
            presence,
            peers,
            start,
            lease: Mutex::new(Lease::new(times)),
            tenure: Tenure::of_node(start, config.lease),
            term: RwLock::default(),
            owner: watch::channel(None).0,
            is_alone: Arc::new(AtomicBool::new(false)),
            hurry: Notify::new(),
        });
        let is_alone = Arc::clone(&cluster.is_alone);
        base.health.add("redis", move || {
            let is_alone = is_alone.load(Ordering::SeqCst);
            std::future::ready(match is_alone {
                true => Err("the cluster's Redis does not answer".to_owned()),
                false => Ok(()),
            })
        });
        // Each node brings the connections of all its clients.
        let capacity = Capacity {
            connections_per_address: base.config.capacity.connections,
            ..base.config.capacity
        };
        let for_nodes = Server {
            listener,
            tls: None,
            gate: Gate::new(capacity, Arc::default(), base.metrics.clone()),
            metrics: base.metrics.clone(),
            // Whose request it is is sealed in it.
            trusted: Arc::default(),
            router: Router::new()
                .fallback(arrived)
                .with_state(Arc::clone(&cluster)),
            stop: base.stop.clone(),
            tasks: base.tasks.clone(),
        };
        base.tasks.spawn(for_nodes.run());
        base.tasks.spawn(Arc::clone(&cluster).keep_lease());
        base.tasks.spawn(Arc::clone(&cluster).follow_news());
        tracing::info!(node = config.node_url, "joined the cluster");
        Ok(Router::new().fallback(dispatch).with_state(cluster))
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Asks for the lease, or keeps it, until the node stops.
    async fn keep_lease(self: Arc<Self>) {
        let stop = self.base.stop.clone();
        loop {
            let (asked, next) = self.with_lease(|lease, now| {
                let changes = std::iter::from_fn(|| lease.tick(now)).collect();
                (changes, (lease.ask(now), lease.next()))
            });
            if let Some((number, ask)) = asked {
                let answer = tokio::select! {
                    () = stop.cancelled() => break,
                    answer = self.beat(ask) => answer,
                };
                self.with_lease(|lease, now| (lease.answered(now, number, answer), ()));
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.hurry.notified() => self.lease.lock().hurry(),
                () = sleep_until((self.start + next).into()) => {}
            }
        }
        if let Some(app) = self.end_term() {
            // While they are still this node's to write.
            let stored = tokio::time::timeout(STORE_TIME, persist(&app)).await;
            if !matches!(stored, Ok(Ok(()))) {
                tracing::info!("the last sessions of hosts could not be stored");
            }
        }
        self.tenure.set(None, None);
        if let Err(error) = self.store.leave(&self.presence).await {
            tracing::info!(%error, "the lease could not be given back; it runs out");
        }
    }

    /// Decides something about the lease, makes it count at once, and carries out what follows.
    fn with_lease<T>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut Lease, Duration) -> (Vec<Change>, T),
    ) -> T {
        let (changes, result) = {
            let mut lease = self.lease.lock();
            let now = self.now();
            let decided = decide(&mut lease, now);
            self.tenure.set(lease.until(), lease.may_act(now));
            decided
        };
        for change in changes {
            match change {
                Change::Gained { fence } => {
                    tracing::info!(fence, "this node owns the live state");
                    self.begin_term(fence);
                }
                Change::Suspended => {
                    tracing::warn!(
                        "the lease could not be renewed; nothing is granted until it is"
                    );
                }
                Change::Resumed { fence } => {
                    tracing::info!(fence, "this node owns the live state as before");
                }
                Change::Lost => {
                    tracing::warn!("this node no longer owns the live state");
                    drop(self.end_term());
                }
            }
        }
        result
    }

    async fn beat(&self, ask: Ask) -> Option<Answer> {
        match self.store.beat(&self.presence, ask).await {
            Ok(beat) => {
                if self.is_alone.swap(false, Ordering::SeqCst) {
                    self.base.health.outdated();
                    tracing::info!("Redis answers again");
                }
                self.owner.send_if_modified(|owner| {
                    let changed = *owner != beat.owner;
                    owner.clone_from(&beat.owner);
                    changed
                });
                Some(beat.answer)
            }
            Err(error) => {
                if !self.is_alone.swap(true, Ordering::SeqCst) {
                    self.base.health.outdated();
                    tracing::warn!(%error, "Redis does not do what it should");
                }
                None
            }
        }
    }

    fn begin_term(self: &Arc<Self>, fence: u64) {
        let stop = self.base.stop.child_token();
        let app = self.base.successor(stop.clone(), self.tenure.clone());
        let term = Term {
            app: app.clone(),
            stop: stop.clone(),
            router: None,
        };
        self.term.write().replace(term);
        let cluster = Arc::clone(self);
        self.base.tasks.spawn(async move {
            while let Err(error) = take_over(&app).await {
                tracing::warn!(%error, "the owner waits for the database");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(AGAIN) => {}
                }
            }
            let mut term = cluster.term.write();
            // The lease may have gone meanwhile.
            if let Some(term) = term.as_mut().filter(|_| !stop.is_cancelled()) {
                follow(&app);
                term.router = Some(router(app));
                tracing::info!(fence, "the owner lets clients in");
            }
        });
    }

    /// Gives what was owned.
    fn end_term(&self) -> Option<App> {
        let term = self.term.write().take()?;
        // Its sockets are closed with 1012; sessions stay at the endpoint.
        term.stop.cancel();
        term.app.live.end_all();
        Some(term.app)
    }

    /// What knows the figures of this process.
    fn with_figures(&self) -> Router {
        let term = self.term.read();
        let owner = term.as_ref().and_then(|term| term.router.as_ref());
        owner.unwrap_or(&self.anywhere).clone()
    }

    fn own(&self) -> Own {
        let term = self.term.read();
        match term.as_ref() {
            None => Own::No,
            Some(_) if !self.tenure.holds() => Own::NotNow(tenure::suspended()),
            Some(Term { router: None, .. }) => {
                let text = "this node has just taken over; try again in a moment";
                Own::NotNow(Refused::new(ProblemCode::CoordinatorFault, text).retry_after(1))
            }
            Some(Term {
                router: Some(router),
                ..
            }) => Own::Yes(router.clone()),
        }
    }

    fn nobody(&self) -> Refused {
        let text = if self.is_alone.load(Ordering::SeqCst) {
            "the cluster's Redis does not answer, so it is not known who owns the sessions"
        } else {
            "no node owns the sessions just now; one will in a moment, try again"
        };
        Refused::new(ProblemCode::CoordinatorFault, text).retry_after(1)
    }

    /// Hears what other nodes and the operator's commands say.
    async fn follow_news(self: Arc<Self>) {
        let stop = self.base.stop.clone();
        let hear = async {
            loop {
                match self.store.listen().await {
                    Ok(news) => {
                        let mut news = std::pin::pin!(news);
                        while let Some(news) = news.next().await {
                            self.heard(news).await;
                        }
                    }
                    Err(error) => tracing::debug!(%error, "the nodes' channel cannot be heard"),
                }
                sleep(AGAIN).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = hear => {}
        }
    }

    async fn heard(&self, news: News) {
        if news == News::Lease {
            return self.hurry.notify_one();
        }
        // What fails here is looked at again by itself.
        if let Err(error) = enforce_bans(&self.base).await {
            tracing::warn!(%error, "bans could not be looked up");
        }
        let app = self.term.read().as_ref().map(|term| term.app.clone());
        let Some(app) = app else { return };
        if let Err(error) = enforce_bans(&app).await {
            tracing::warn!(%error, "bans could not be looked up");
        }
        if let Err(error) = sync_fleet(&app).await {
            tracing::warn!(%error, "zones and the switch of P2P could not be looked up");
        }
        if let Err(error) = enforce_revocations(&app).await {
            tracing::warn!(%error, "revocations could not be looked up");
        }
    }
}

/// A client's request.
async fn dispatch(State(cluster): State<Arc<Cluster>>, request: Request) -> Response {
    match served_by(request.uri().path()) {
        _ if request.method() == Method::OPTIONS => {
            return call(cluster.anywhere.clone(), request).await;
        }
        ServedBy::AnyNode => return call(cluster.anywhere.clone(), request).await,
        ServedBy::ThisNode => return call(cluster.with_figures(), request).await,
        ServedBy::Owner => {}
    }
    match cluster.own() {
        Own::Yes(router) => call(router, request).await,
        Own::NotNow(refused) => refused.into_response(),
        Own::No => {
            let owner = cluster.owner.borrow().clone();
            let other = owner.filter(|owner| owner.token != cluster.presence.view.token);
            let Some(owner) = other else {
                return cluster.nobody().into_response();
            };
            let forward = Forward {
                peers: &cluster.peers,
                owner,
                owners: cluster.owner.subscribe(),
                stop: cluster.base.stop.clone(),
                tasks: cluster.base.tasks.clone(),
            };
            forward.pass(request).await.into_response()
        }
    }
}

/// A request that another node has passed on. It is not passed on again.
async fn arrived(State(cluster): State<Arc<Cluster>>, mut request: Request) -> Response {
    if let Err(refused) = cluster.peers.arrived(&mut request) {
        return refused.into_response();
    }
    match cluster.own() {
        Own::Yes(router) => call(router, request).await,
        Own::NotNow(refused) => refused.into_response(),
        Own::No => cluster.nobody().into_response(),
    }
}

async fn call(mut router: Router, request: Request) -> Response {
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Says that this node is there, and learns whether the others have the same keys.
async fn look(store: &ClusterStore, presence: &Presence) -> Result<(), ClusterError> {
    let end = Instant::now() + START_TIME;
    loop {
        match store.look(presence).await {
            Ok(()) => return Ok(()),
            Err(StoreTrouble::Keys { url, files }) => {
                return Err(ClusterError::Keys { url, files });
            }
            Err(error) if Instant::now() > end => {
                return Err(ClusterError::Redis(error.to_string()));
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}

fn secret(config: &ClusterConfig) -> Result<Secret, ClusterError> {
    let file = &config.secret_file;
    let refused = |why: String| ClusterError::Secret {
        file: file.clone(),
        why,
    };
    let length = std::fs::metadata(file).map_err(|e| refused(e.to_string()))?;
    if length.len() > MAX_SECRET {
        return Err(refused(format!("at most {MAX_SECRET} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(|e| refused(e.to_string()))?;
    let text = text.trim();
    if text.len() < MIN_SECRET {
        let why = format!("at least {MIN_SECRET} characters, such as `openssl rand -hex 32` gives");
        return Err(refused(why));
    }
    Ok(Secret::new(text))
}

/// Tells the cluster's nodes that zones, the switch of P2P, revocations or bans have changed in the
/// database.
/// Where that fails, they find out by themselves within some seconds.
pub async fn announce(config: &ClusterConfig) {
    let said = match ClusterStore::new(&config.redis) {
        Ok(store) => store.say(News::Changed).await,
        Err(error) => Err(error),
    };
    if let Err(error) = said {
        tracing::warn!(%error, "the nodes could not be told; they look by themselves");
    }
}

#[cfg(test)]
#[cfg(unix)]
mod store_tests;
