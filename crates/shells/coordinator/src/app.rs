//! What every handler has at hand.

use std::{net::IpAddr, ops::Deref, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warp_protocol::Secret;

use crate::{
    api_keys::ApiKeys,
    authority::Authority,
    bans::Bans,
    cluster::Tenure,
    config::CoordinatorConfig,
    endpoint_port::EndpointPort,
    game_accounts::GameAccounts,
    limits::KeyedLimit,
    live::Live,
    monitoring::{
        health::Health,
        metrics::Metrics,
        snapshot::{LastFigures, Rates},
        viewers::Viewers,
    },
    npc::Npcs,
    passwords::Hasher,
    rate_limits::{RequestLimits, SignalLimits},
    running::health,
    store::Store,
    tokens::AccessTokens,
};

/// Shared state; clones are cheap.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) config: CoordinatorConfig,
    pub(crate) store: Store,
    pub(crate) hasher: Hasher,
    /// The account table of a game server, if accounts of one may sign in.
    pub(crate) game_accounts: Option<Arc<GameAccounts>>,
    pub(crate) tokens: Arc<AccessTokens>,
    pub(crate) authority: Arc<Authority>,
    /// What a remote endpoint has to show; none: the endpoint is embedded.
    pub(crate) endpoint_token: Option<Secret>,
    /// Id of the last revocation that was carried out here.
    pub(crate) revoked_up_to: tokio::sync::Mutex<i64>,
    pub(crate) bans: Bans,
    pub(crate) api_keys: Arc<ApiKeys>,
    pub(crate) requests: Arc<RequestLimits>,
    pub(crate) signals: Arc<SignalLimits>,
    /// Held while the fleet is brought in line with the database.
    pub(crate) syncing: tokio::sync::Mutex<()>,
    pub(crate) live: Arc<Live>,
    /// Whether this process may act on it.
    pub(crate) tenure: Tenure,
    pub(crate) metrics: Metrics,
    /// What `/health` looks at; whoever needs a further store adds it.
    pub(crate) health: Health,
    pub(crate) rates: Rates,
    pub(crate) figures: LastFigures,
    pub(crate) viewers: Viewers,
    /// What the AI service said of the NPCs of each zone.
    pub(crate) npcs: Npcs,
    pub(crate) by_address: KeyedLimit<IpAddr>,
    pub(crate) by_account: KeyedLimit<String>,
    /// Bytes on the relay.
    pub(crate) relayed: KeyedLimit<i64>,
    /// Cancelled when the coordinator stops.
    pub(crate) stop: CancellationToken,
    /// Everything that runs; awaited at the end.
    pub(crate) tasks: TaskTracker,
}

impl App {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// The same with nothing live yet and its own end: what a node of a cluster works with while it
    /// owns the live state. Limits and figures are those of the process.
    pub(crate) fn successor(&self, stop: CancellationToken, tenure: Tenure) -> Self {
        let config = self.config.clone();
        let live = Live::new(
            EndpointPort::away(),
            Arc::clone(&self.authority),
            tenure.clone(),
            &config,
            self.tasks.clone(),
            self.metrics.clone(),
        );
        Self::new(Shared {
            store: self.store.clone(),
            hasher: self.hasher.clone(),
            tokens: Arc::clone(&self.tokens),
            authority: Arc::clone(&self.authority),
            endpoint_token: self.endpoint_token.clone(),
            revoked_up_to: tokio::sync::Mutex::new(0),
            // Read anew, so that what is banned is ended among what is live.
            bans: Bans::default(),
            api_keys: Arc::clone(&self.api_keys),
            requests: Arc::clone(&self.requests),
            signals: Arc::clone(&self.signals),
            syncing: tokio::sync::Mutex::new(()),
            metrics: self.metrics.clone(),
            health: health(&self.store, &live, true),
            rates: Rates::default(),
            figures: LastFigures::default(),
            viewers: Viewers::default(),
            npcs: Npcs::default(),
            game_accounts: self.game_accounts.clone(),
            live,
            tenure,
            by_address: KeyedLimit::new(config.limits.address),
            by_account: KeyedLimit::new(config.limits.account),
            relayed: KeyedLimit::new(config.limits.relay_bytes),
            stop,
            tasks: self.tasks.clone(),
            config,
        })
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
