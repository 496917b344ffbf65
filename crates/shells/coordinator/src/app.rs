//! What every handler has at hand.

use std::{net::IpAddr, ops::Deref, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warp_protocol::Secret;

use crate::{
    api_keys::ApiKeys,
    authority::Authority,
    bans::Bans,
    config::CoordinatorConfig,
    game_accounts::GameAccounts,
    limits::KeyedLimit,
    live::Live,
    monitoring::{health::Health, metrics::Metrics, snapshot::Rates, viewers::Viewers},
    npc::Npcs,
    passwords::Hasher,
    rate_limits::{RequestLimits, SignalLimits},
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
    pub(crate) game_accounts: Option<GameAccounts>,
    pub(crate) tokens: AccessTokens,
    pub(crate) authority: Arc<Authority>,
    /// What a remote endpoint has to show; none: the endpoint is embedded.
    pub(crate) endpoint_token: Option<Secret>,
    /// Id of the last revocation that was carried out here.
    pub(crate) revoked_up_to: tokio::sync::Mutex<i64>,
    pub(crate) bans: Bans,
    pub(crate) api_keys: ApiKeys,
    pub(crate) requests: RequestLimits,
    pub(crate) signals: SignalLimits,
    /// Held while the fleet is brought in line with the database.
    pub(crate) syncing: tokio::sync::Mutex<()>,
    pub(crate) live: Arc<Live>,
    pub(crate) metrics: Metrics,
    /// What `/health` looks at; whoever needs a further store adds it.
    pub(crate) health: Health,
    pub(crate) rates: Rates,
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
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
