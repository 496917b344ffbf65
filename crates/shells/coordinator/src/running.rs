//! Starting and stopping.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warp_coordinator_core::{client_address::Network, fleet::FleetCounters};
use warp_endpoint::{EndpointLimits, EndpointTrust, HostTraffic, Identity};
use warp_protocol::{
    ProblemCode, Secret,
    identity::PublicKey,
    profile::{Profile, SignedProfile, profile_message},
    rest::AccountRole,
    zone::{ZoneFile, ZoneStatus},
};

use crate::{
    AdminError, CoordinatorConfig, EndpointMode, Offline,
    api::router,
    api_keys::ApiKeys,
    app::{App, Shared},
    authority::Authority,
    bans::{Bans, enforce_bans, follow_bans},
    cluster::{Cluster, ClusterError, Tenure},
    data_dir::{self, DataDirError},
    endpoint_port::EndpointPort,
    game_accounts::GameAccounts,
    gate::Gate,
    hosting::serving::{keep_stored, persist},
    limits::KeyedLimit,
    live::Live,
    monitoring::{
        health::Health,
        metrics::Metrics,
        snapshot::{LastFigures, Rates},
        viewers::{self, Viewers},
    },
    npc::{self, Npcs},
    orders::follow_orders,
    passwords::Hasher,
    production::weaknesses,
    rate_limits::{RequestLimits, SignalLimits},
    server::Server,
    store::{Store, StoreError, at_start},
    tls::{TlsError, tls},
    tokens::{AccessTokens, unix_micros, unix_now},
};

/// Longest that the end may take; what still runs then is dropped.
const STOP_TIME: Duration = Duration::from_millis(1500);

/// How often expired refresh tokens are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// How often it is looked whether another process has revoked something. A revocation is in force
/// within this time and the time that closing takes.
const REVOKED_EVERY: Duration = Duration::from_secs(10);

/// How often it is looked whether another process has changed a zone or the switch of P2P.
pub(crate) const SYNC_EVERY: Duration = Duration::from_secs(2);

/// How long certificates are remembered after they expired, so that a serial in an old log still
/// names its device: as long as a refresh token can live by default.
const REMEMBER_CERTIFICATES: i64 = 7 * 24 * 3600;

/// How long sessions of hosts are remembered after they were over, microseconds: 90 days.
const REMEMBER_SESSIONS: i64 = 90 * 24 * 3600 * 1_000_000;

/// The coordinator could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory or a key in it.
    #[error("data directory: {0}")]
    DataDir(#[from] DataDirError),
    /// A key file, the endpoint's or the coordinator's own, holds something else.
    #[error("{file}: not an Ed25519 key in PKCS#8 DER; move it away to have a new one made")]
    KeyFile {
        /// The file.
        file: PathBuf,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Certificate or key.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// This is production, and secrets are weak; each is named, with what to do.
    #[error("not fit for production: {}", .0.join("; "))]
    Weak(Vec<String>),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
    /// The cluster that the configuration names.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Something of our own.
    #[error("{0}")]
    Internal(String),
}

impl StartError {
    /// Stable code.
    pub fn code(&self) -> ProblemCode {
        match self {
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                ProblemCode::PortInUse
            }
            Self::Listen { .. } => ProblemCode::PortRefused,
            Self::Tls(_) | Self::Weak(_) => ProblemCode::ConfigValue,
            Self::DataDir(_) | Self::KeyFile { .. } | Self::Store(_) => {
                ProblemCode::CoordinatorFault
            }
            Self::Cluster(ClusterError::Redis(_) | ClusterError::NoRandomness) => {
                ProblemCode::CoordinatorFault
            }
            Self::Cluster(ClusterError::Listen(_)) => ProblemCode::PortRefused,
            Self::Cluster(_) => ProblemCode::ConfigValue,
            Self::Internal(_) => ProblemCode::Internal,
        }
    }
}

/// Starts coordinators.
pub struct Coordinator;

/// A coordinator that runs in this process. Dropping it stops it at once; [`Running::shutdown`]
/// stops it in good order.
pub struct Running {
    /// The address that it listens on.
    pub addr: SocketAddr,
    /// What clients call: `http://127.0.0.1:8001`, or `https://...` with TLS. Where it listens on
    /// all addresses this names the loopback.
    pub url: String,
    app: App,
    admin: Offline,
}

impl Coordinator {
    /// Starts one.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: CoordinatorConfig) -> Result<Running, StartError> {
        // Boxed, so that the futures of those who embed a coordinator stay small.
        Box::pin(Self::begin(config)).await
    }

    async fn begin(config: CoordinatorConfig) -> Result<Running, StartError> {
        data_dir::prepare(&config.data_dir)?;
        if config.production {
            let weak = weaknesses(&config);
            if !weak.is_empty() {
                return Err(StartError::Weak(weak));
            }
        }
        let tls = config.tls.as_ref().map(tls).transpose()?;
        let (tls, certificate) = tls.unzip();
        let signing = data_dir::jwt_key(&config.data_dir)?;
        let authority = Arc::new(authority(&config)?);
        let endpoint_token = match config.endpoint_mode {
            EndpointMode::Embedded => None,
            EndpointMode::Remote => Some(data_dir::endpoint_token(&config.data_dir)?),
        };
        let endpoint = endpoint(&config, &authority)?;
        let store = Store::open(&config.data_dir, config.database.as_ref()).await?;
        let internal =
            |refused: crate::problem::Refused| StartError::Internal(refused.detail().to_owned());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let hasher = Hasher::new(config.password_cost, (cores / 2).max(1))
            .await
            .map_err(internal)?;
        let api_keys = ApiKeys::new(&config.api_keys).map_err(internal)?;
        let trusted: Arc<[Network]> = config.trusted_proxies.clone().into();
        let (listen, cost) = (config.listen, config.password_cost);
        let at = |source| StartError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(at)?;
        let addr = listener.local_addr().map_err(at)?;
        let url = url_of(addr, tls.is_some());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let metrics = Metrics::new();
        let gate = Gate::new(config.capacity, Arc::clone(&trusted), metrics.clone());
        let live = Live::new(
            endpoint,
            Arc::clone(&authority),
            Tenure::default(),
            &config,
            tasks.clone(),
            metrics.clone(),
        );
        let app = App::new(Shared {
            metrics: metrics.clone(),
            health: health(&store, &live, config.cluster.is_none()),
            rates: Rates::default(),
            figures: LastFigures::default(),
            viewers: Viewers::default(),
            npcs: Npcs::default(),
            tokens: Arc::new(AccessTokens::new(&signing, config.access_lifetime)),
            game_accounts: (config.game_accounts.as_ref())
                .map(|accounts| Arc::new(GameAccounts::new(accounts, &signing))),
            authority,
            endpoint_token,
            revoked_up_to: tokio::sync::Mutex::new(0),
            bans: Bans::default(),
            api_keys: Arc::new(api_keys),
            requests: Arc::new(RequestLimits::new(
                config.limits.requests,
                config.limits.address_requests,
            )),
            signals: Arc::new(SignalLimits::new(config.limits.signals)),
            syncing: tokio::sync::Mutex::new(()),
            by_address: KeyedLimit::new(config.limits.address),
            by_account: KeyedLimit::new(config.limits.account),
            relayed: KeyedLimit::new(config.limits.relay_bytes),
            store: store.clone(),
            hasher: hasher.clone(),
            live,
            tenure: Tenure::default(),
            stop: stop.clone(),
            tasks: tasks.clone(),
            config,
        });
        let router = match &app.config.cluster {
            None => {
                at_start(|| take_over(&app)).await?;
                follow(&app);
                router(app.clone())
            }
            Some(cluster) => {
                // Tokens are looked at on every node, whoever owns the live state.
                at_start(|| enforce_bans(&app)).await?;
                tasks.spawn(follow_bans(app.clone()));
                let token = app.endpoint_token.as_ref().map_or("", Secret::reveal);
                let identity = app.authority.key();
                let keys = [
                    ("identity.key", identity.raw().as_slice()),
                    ("jwt.key", signing.as_slice()),
                    ("endpoint-token", token.as_bytes()),
                ];
                Cluster::join(&app, cluster, keys).await?
            }
        };
        let server = Server {
            listener,
            tls,
            router,
            gate,
            metrics,
            trusted,
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(server.run());
        if let Some(certificate) = certificate {
            tasks.spawn(certificate.follow(stop.clone()));
        }
        tasks.spawn(forget_expired(app.clone()));
        tracing::info!(url, key = %app.authority.key(), "coordinator started");
        Ok(Running {
            addr,
            url,
            app,
            admin: Offline::over(store, cost, hasher),
        })
    }
}

impl Running {
    /// The key that launchers pin.
    pub fn public_key(&self) -> PublicKey {
        self.app.authority.key()
    }

    /// Enters a zone or replaces it; a new one is open.
    ///
    /// # Errors
    /// The zone breaks a rule, or the database.
    pub async fn put_zone(&self, zone: &ZoneFile) -> Result<(), AdminError> {
        Box::pin(self.admin.put_zone(zone, None)).await
    }

    /// Enters a zone or replaces it, with this status.
    ///
    /// # Errors
    /// The zone breaks a rule, or the database.
    pub async fn put_zone_with_status(
        &self,
        zone: &ZoneFile,
        status: ZoneStatus,
    ) -> Result<(), AdminError> {
        Box::pin(self.admin.put_zone(zone, Some(status))).await
    }

    /// Sees to it that the account exists with this password and role.
    ///
    /// # Errors
    /// `bad-name`, `bad-password`, or the database.
    pub async fn ensure_user(
        &self,
        name: &str,
        password: Secret,
        role: AccountRole,
    ) -> Result<(), AdminError> {
        Box::pin(self.admin.ensure_user(name, password, role)).await
    }

    /// What each host has brought to the endpoint and taken, by its room.
    pub fn host_traffic(&self) -> Vec<(String, HostTraffic)> {
        self.app.live.endpoint.host_traffic()
    }

    /// What has happened to hosts since the start.
    pub fn fleet_counters(&self) -> FleetCounters {
        self.app.live.hosting.counters()
    }

    /// Stops: no new connections, running requests finish, sockets are closed with 1012, sessions
    /// and links end, the database is closed. Takes at most about 2 s.
    pub async fn shutdown(self) {
        let app = self.app.clone();
        app.stop.cancel();
        app.tasks.close();
        if tokio::time::timeout(STOP_TIME / 2, async {
            app.live.end_all();
            app.live.endpoint.shutdown().await;
        })
        .await
        .is_err()
        {
            tracing::info!("the endpoint did not stop in time");
        }
        if tokio::time::timeout(STOP_TIME / 2, app.tasks.wait())
            .await
            .is_err()
        {
            tracing::info!("some connections did not end in time");
        }
        if !matches!(
            tokio::time::timeout(STOP_TIME / 4, persist(&app)).await,
            Ok(Ok(()))
        ) {
            tracing::info!("the last sessions of hosts could not be stored");
        }
        let _ = tokio::time::timeout(STOP_TIME / 4, app.store.close()).await;
        tracing::info!("coordinator stopped");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.app.stop.cancel();
        self.app.live.end_all();
    }
}

/// The key of the coordinator whose data is in `data_dir`, which launchers pin; made where there is
/// none yet.
///
/// # Errors
/// The directory or the key cannot be used.
pub fn public_key(data_dir: &Path) -> Result<PublicKey, StartError> {
    data_dir::prepare(data_dir)?;
    Ok(identity(data_dir)?.key())
}

/// The text of a profile's file, signed with the key of the coordinator whose data is in `data_dir`.
///
/// # Errors
/// The directory or the key cannot be used.
pub fn sign_profile(data_dir: &Path, profile: &Profile) -> Result<String, StartError> {
    data_dir::prepare(data_dir)?;
    let identity = identity(data_dir)?;
    let signed = serde_json::to_string(profile).ok().and_then(|profile| {
        let signature = hex::encode(identity.sign(&profile_message(&profile))?);
        serde_json::to_string_pretty(&SignedProfile { profile, signature }).ok()
    });
    signed
        .map(|text| text + "\n")
        .ok_or_else(|| StartError::KeyFile {
            file: data_dir.to_owned(),
        })
}

fn identity(data_dir: &Path) -> Result<Identity, StartError> {
    let (file, der) = data_dir::identity_key(data_dir, EndpointPort::new_identity)?;
    Identity::from_pkcs8_der(&der).map_err(|_| StartError::KeyFile { file })
}

fn authority(config: &CoordinatorConfig) -> Result<Authority, StartError> {
    let identity = identity(&config.data_dir)?;
    let (lifetime, required) = (config.certificate_lifetime, config.require_certificates);
    let hosts = config.hosts.who;
    Ok(Authority::new(identity, lifetime, required, hosts))
}

fn endpoint(config: &CoordinatorConfig, authority: &Authority) -> Result<EndpointPort, StartError> {
    if config.endpoint_mode == EndpointMode::Remote {
        return Ok(EndpointPort::away());
    }
    let (file, der) = data_dir::endpoint_key(&config.data_dir, EndpointPort::new_identity)?;
    let loopback = config.listen.ip().is_loopback();
    let trust = EndpointTrust {
        trust: authority.trust(),
        require_certificates: authority.required,
    };
    let mut limits = EndpointLimits {
        sessions: config.capacity.sessions,
        hosts: config.capacity.hosts,
        ..EndpointLimits::default()
    };
    limits.link.key_interval = config.key_rotation_interval;
    EndpointPort::start(&der, loopback, limits, trust).map_err(|_| StartError::KeyFile { file })
}

/// What the coordinator needs in order to work.
/// `endpoint`: it is one of this process; in a cluster it is the owner's.
pub(crate) fn health(store: &Store, live: &Arc<Live>, endpoint: bool) -> Health {
    let health = Health::default();
    let store = store.clone();
    health.add("database", move || {
        let store = store.clone();
        async move { store.ping().await.map_err(|error| error.to_string()) }
    });
    if !endpoint {
        return health;
    }
    let endpoint = live.endpoint.clone();
    health.add("endpoint", move || {
        let reachable = endpoint.reachable();
        async move { reachable.map_err(|refused| refused.detail().to_owned()) }
    });
    health
}

async fn forget_expired(app: App) {
    loop {
        let remembered = unix_now().saturating_sub(REMEMBER_CERTIFICATES);
        if let Err(error) = app.store.forget_certificates(remembered).await {
            tracing::warn!(%error, "old certificates could not be forgotten");
        }
        let remembered = unix_micros().saturating_sub(REMEMBER_SESSIONS);
        if let Err(error) = app.store.forget_sessions(remembered).await {
            tracing::warn!(%error, "old sessions of hosts could not be forgotten");
        }
        match app.store.forget_expired(unix_now()).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "expired refresh tokens forgotten"),
            Err(error) => tracing::warn!(%error, "expired refresh tokens could not be forgotten"),
        }
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(FORGET_EVERY) => {}
        }
    }
}

/// Readies the database and what is known of it for a live state that begins with nothing. Before
/// anybody is let in: what is switched off stays off, and who is banned stays out.
///
/// # Errors
/// The database.
pub(crate) async fn take_over(app: &App) -> Result<(), StoreError> {
    // Sessions that hosts had with the process of before are over; those that go on are others.
    app.store.fail_open_sessions(unix_micros()).await?;
    sync_fleet(app).await?;
    enforce_bans(app).await?;
    Ok(())
}

/// Starts what looks after the live state until the end.
pub(crate) fn follow(app: &App) {
    let (hosting, live) = (Arc::clone(&app.live.hosting), Arc::clone(&app.live));
    let (watched, expiring) = (app.stop.clone(), app.stop.clone());
    app.tasks.spawn(async move { hosting.watch(watched).await });
    app.tasks.spawn(async move { live.expire(expiring).await });
    app.tasks.spawn(follow_revocations(app.clone()));
    app.tasks.spawn(follow_fleet(app.clone()));
    app.tasks.spawn(follow_bans(app.clone()));
    app.tasks.spawn(follow_orders(app.clone()));
    app.tasks.spawn(keep_stored(app.clone()));
    app.tasks.spawn(viewers::watch(app.clone()));
    npc::start(app);
}

/// Ends what was revoked since the last look. Gives how many sessions.
///
/// # Errors
/// The database.
pub(crate) async fn enforce_revocations(app: &App) -> Result<usize, StoreError> {
    let mut up_to = app.revoked_up_to.lock().await;
    let mut ended = 0;
    loop {
        let some = app.store.revocations_after(*up_to).await?;
        let Some((last, _)) = some.last() else {
            return Ok(ended);
        };
        *up_to = *last;
        ended += some
            .iter()
            .map(|(_, by)| app.live.end_revoked(by))
            .sum::<usize>();
    }
}

async fn follow_revocations(app: App) {
    loop {
        match enforce_revocations(&app).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "sessions of revoked devices ended"),
            Err(error) => tracing::warn!(%error, "revocations could not be looked up"),
        }
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(REVOKED_EVERY) => {}
        }
    }
}

/// Brings the fleet in line with the stored zones and the switch of P2P.
///
/// # Errors
/// The database.
pub(crate) async fn sync_fleet(app: &App) -> Result<(), StoreError> {
    // One at a time, so that an older look never comes after a newer one.
    let _one = app.syncing.lock().await;
    let p2p_on = app.store.p2p().await?;
    let zones = app.store.zones().await?;
    let zones: Vec<&ZoneFile> = zones.iter().map(|(zone, _)| zone).collect();
    app.live.hosting.sync(&zones, p2p_on);
    app.live.sync_hosted(&zones);
    Ok(())
}

async fn follow_fleet(app: App) {
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(SYNC_EVERY) => {}
        }
        if let Err(error) = sync_fleet(&app).await {
            tracing::warn!(%error, "zones and the switch of P2P could not be looked up");
        }
    }
}

fn url_of(addr: SocketAddr, tls: bool) -> String {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(ip, addr.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_an_address_that_can_be_called() {
        let url = |addr: &str, tls| url_of(addr.parse().unwrap(), tls);
        assert_eq!(url("127.0.0.1:80", false), "http://127.0.0.1:80");
        assert_eq!(url("0.0.0.0:443", true), "https://127.0.0.1:443");
        assert_eq!(url("[::]:1", false), "http://[::1]:1");
        assert_eq!(url("192.0.2.1:1", false), "http://192.0.2.1:1");
    }
    #[tokio::test]
    async fn health_names_what_is_down() {
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let config = CoordinatorConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: dir.path().to_owned(),
            password_cost: crate::PasswordCost::TestOnly,
            ..CoordinatorConfig::default()
        };
        let running = Coordinator::start(config).await.unwrap();
        running.app.store.close().await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let health = http.get(format!("{}/health", running.url));
        let response = health.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 503);
        let body: serde_json::Value = response.json().await.unwrap();
        assert_eq!(body["store"], "down");
        assert_eq!(body["code"], "coordinator-fault");
        // A route that needs the database says so, at once.
        let login = http
            .post(format!("{}/api/v1/auth/login", running.url))
            .json(&serde_json::json!({"username": "a", "password": "sesame"}));
        let response = login.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 503);
        let body: serde_json::Value = response.json().await.unwrap();
        assert_eq!(body["code"], "coordinator-fault");
        running.shutdown().await;
    }
}
