//! What an operator does to the database, whether or not a coordinator runs on it.

use serde_json::json;
use tokio::sync::OnceCell;
use warp_protocol::{
    ProblemCode, Secret,
    admin::{AccountInfo, AuditEntry, BanRequest, BanView, MoveRequest, SessionInfo},
    hosting::HostView,
    rest::{AccountRole, RevokeRequest},
    zone::{ZoneFile, ZoneRule, ZoneStatus},
};

use crate::{
    CoordinatorConfig,
    admin::{self, short},
    api::{NewAccount, make_account, revoke_in, revoked_target},
    audit::{Done, Who, audited},
    data_dir::{self, DataDirError},
    orders::{Wanted, order},
    passwords::{Hasher, PasswordCost},
    problem::Refused,
    store::{DeviceView, Store, StoreError},
    tokens::unix_now,
};

/// An operator's command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// It was refused, with a stable code.
    #[error("{detail}")]
    Refused {
        /// Stable code.
        code: ProblemCode,
        /// What happened and what is allowed.
        detail: String,
    },
    /// The zone breaks a rule.
    #[error("{0}")]
    Zone(#[from] ZoneRule),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AdminError {
    /// Stable code.
    pub fn code(&self) -> ProblemCode {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Zone(_) => ProblemCode::ConfigValue,
            Self::DataDir(_) | Self::Store(_) => ProblemCode::CoordinatorFault,
        }
    }
}

impl From<Refused> for AdminError {
    fn from(refused: Refused) -> Self {
        Self::Refused {
            code: refused.code(),
            detail: refused.detail().to_owned(),
        }
    }
}

/// The database of a coordinator, opened for an operator's commands. A coordinator may be
/// running on it: it sees the changes at once.
pub struct Offline {
    store: Store,
    cost: PasswordCost,
    /// Whoever runs the command; none: it is this process's own doing, which no log is kept of.
    who: Option<Who>,
    /// Made when it is needed: zones need none, and making it takes a hash.
    hasher: OnceCell<Hasher>,
}

impl Offline {
    /// Opens the database of a configuration, making the data directory where it is missing.
    ///
    /// # Errors
    /// The directory or the database cannot be used.
    pub async fn open(config: &CoordinatorConfig) -> Result<Self, AdminError> {
        data_dir::prepare(&config.data_dir)?;
        let store = Store::open_for_command(&config.data_dir, config.database.as_ref()).await?;
        Ok(Self {
            store,
            cost: config.password_cost,
            who: Some(Who::command_line()),
            hasher: OnceCell::new(),
        })
    }

    /// The same for a coordinator of this process, whose hasher is bounded with its sign-ins.
    pub(crate) fn over(store: Store, cost: PasswordCost, hasher: Hasher) -> Self {
        Self {
            store,
            cost,
            who: None,
            hasher: OnceCell::new_with(Some(hasher)),
        }
    }

    async fn hasher(&self) -> Result<&Hasher, Refused> {
        let make = || Hasher::new(self.cost, 1);
        self.hasher.get_or_try_init(make).await
    }

    /// Makes an account.
    ///
    /// # Errors
    /// `bad-name`, `bad-password`, `name-taken`, or the database.
    pub async fn add_user(
        &self,
        name: &str,
        password: Secret,
        role: AccountRole,
    ) -> Result<(), AdminError> {
        let new = NewAccount {
            name,
            password,
            role,
        };
        let act = ("account-add", format!("account {}", short(name)));
        self.audited(act, async {
            make_account(&self.store, self.hasher().await?, new).await?;
            Ok(Done::changed((), (), json!({"role": role})))
        })
        .await
    }

    /// Acts, and enters it in the audit log where somebody has asked for it.
    async fn audited<T>(
        &self,
        act: (&'static str, String),
        work: impl Future<Output = Result<Done<T>, Refused>>,
    ) -> Result<T, AdminError> {
        match &self.who {
            Some(who) => Ok(audited(&self.store, who, act, work).await?),
            None => Ok(work.await?.answer),
        }
    }

    fn who(&self) -> Who {
        self.who.clone().unwrap_or_else(Who::command_line)
    }

    /// Sees to it that the account exists with this password and role. Where something changes,
    /// its refresh tokens are revoked.
    ///
    /// # Errors
    /// `bad-name`, `bad-password`, or the database.
    pub async fn ensure_user(
        &self,
        name: &str,
        password: Secret,
        role: AccountRole,
    ) -> Result<(), AdminError> {
        let Some(account) = self.store.account(name).await? else {
            return self.add_user(name, password, role).await;
        };
        warp_coordinator_core::check_password(&password).map_err(Refused::from)?;
        let stored = account.password;
        let hasher = self.hasher().await?;
        let same = hasher.verify(password.clone(), stored).await?;
        if same && account.role == role {
            return Ok(());
        }
        let hash = hasher.hash(password).await?;
        self.store.change_account(account.id, role, &hash).await?;
        Ok(())
    }

    /// Enters a zone or replaces it. Without `status` a new zone is open and an old one stays as
    /// it is.
    ///
    /// # Errors
    /// The zone breaks a rule, or the database.
    pub async fn put_zone(
        &self,
        zone: &ZoneFile,
        status: Option<ZoneStatus>,
    ) -> Result<(), AdminError> {
        zone.check()?;
        let act = ("zone-put", format!("zone {}", short(&zone.zone_id)));
        self.audited(act, async {
            let view = |(zone, status)| json!({"zone": zone, "status": status});
            let before = self.store.zone(&zone.zone_id).await?.map(view);
            self.store.put_zone(zone, status, unix_now()).await?;
            let after = self.store.zone(&zone.zone_id).await?.map(view);
            Ok(Done::changed((), before, after))
        })
        .await
    }

    /// All zones: higher `p2p_priority` first, then by name.
    ///
    /// # Errors
    /// The database.
    pub async fn zones(&self) -> Result<Vec<(ZoneFile, ZoneStatus)>, AdminError> {
        Ok(self.store.zones().await?)
    }

    /// Switches peer-to-peer paths of all zones on or off. A coordinator that runs tells its launchers
    /// and hosts within some seconds.
    ///
    /// # Errors
    /// The database.
    pub async fn set_p2p(&self, on: bool) -> Result<(), AdminError> {
        self.audited(("fleet-p2p", "all zones".to_owned()), async {
            let before = json!({"enabled": self.store.p2p().await?});
            self.store.set_p2p(on).await?;
            Ok(Done::changed((), before, json!({"enabled": on})))
        })
        .await
    }

    /// Revokes a device for ever, by its key or a certificate's serial, or what an account was issued.
    /// A coordinator that runs ends the sessions within 10 s. Gives the accounts whose kept sign-ins
    /// ended.
    ///
    /// # Errors
    /// `not-found`, `bad-request`, or the database.
    pub async fn revoke(&self, request: &RevokeRequest) -> Result<Vec<String>, AdminError> {
        self.audited(("revoke", revoked_target(request)), async {
            let accounts = revoke_in(&self.store, request).await?;
            let after = json!({"accounts": accounts});
            Ok(Done::changed(accounts, (), after))
        })
        .await
    }

    /// Bans an account or a device. In force within some seconds, wherever a coordinator runs on this
    /// database.
    ///
    /// # Errors
    /// `bad-request`, `not-found`, or the database.
    pub async fn ban(&self, request: &BanRequest) -> Result<BanView, AdminError> {
        Ok(admin::ban(&self.store, &self.who(), request).await?)
    }

    /// Lifts a ban, by its number.
    ///
    /// # Errors
    /// `not-found`, or the database.
    pub async fn unban(&self, id: i64) -> Result<BanView, AdminError> {
        Ok(admin::unban(&self.store, &self.who(), id).await?)
    }

    /// All bans that ever were, the newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn bans(&self) -> Result<Vec<BanView>, AdminError> {
        Ok(self.store.bans(i64::MAX, 0).await?.0)
    }

    /// All accounts by name.
    ///
    /// # Errors
    /// The database.
    pub async fn accounts(&self) -> Result<Vec<AccountInfo>, AdminError> {
        Ok(admin::accounts(&self.store, i64::MAX, 0).await?.0)
    }

    /// Changes a role.
    ///
    /// # Errors
    /// `not-found`, or the database.
    pub async fn set_role(&self, name: &str, role: AccountRole) -> Result<AccountInfo, AdminError> {
        Ok(admin::set_role(&self.store, &self.who(), name, role).await?)
    }

    /// The audit log from `since` (unix seconds) on, the oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn audit(&self, since: i64) -> Result<Vec<AuditEntry>, AdminError> {
        let (mut entries, _) = self.store.audit(since, i64::MAX, 0).await?;
        entries.reverse();
        Ok(entries)
    }

    /// The sessions of the coordinator that runs on this database.
    ///
    /// # Errors
    /// `coordinator-unreachable` where none answers within 10 s.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, AdminError> {
        Ok(order(&self.store, self.who(), Wanted::Sessions).await?)
    }

    /// Ends a session there.
    ///
    /// # Errors
    /// `unknown-session`, `coordinator-unreachable`.
    pub async fn end_session(&self, session_id: &str) -> Result<(), AdminError> {
        let wanted = Wanted::EndSession(session_id.to_owned());
        Ok(order(&self.store, self.who(), wanted).await?)
    }

    /// Moves a session there to the endpoint, to other hosts, or to one host.
    ///
    /// # Errors
    /// `unknown-session`, `no-host`, `coordinator-unreachable`; why the named host cannot carry it.
    pub async fn move_session(
        &self,
        session_id: &str,
        request: &MoveRequest,
    ) -> Result<SessionInfo, AdminError> {
        let wanted = Wanted::MoveSession(session_id.to_owned(), request.clone());
        Ok(order(&self.store, self.who(), wanted).await?)
    }

    /// Has a host give its members away.
    ///
    /// # Errors
    /// `not-found`, `coordinator-unreachable`.
    pub async fn drain_host(&self, host_id: &str) -> Result<HostView, AdminError> {
        let wanted = Wanted::DrainHost(host_id.to_owned());
        Ok(order(&self.store, self.who(), wanted).await?)
    }

    /// Takes a host out.
    ///
    /// # Errors
    /// `not-found`, `coordinator-unreachable`.
    pub async fn remove_host(&self, host_id: &str) -> Result<(), AdminError> {
        let wanted = Wanted::RemoveHost(host_id.to_owned());
        Ok(order(&self.store, self.who(), wanted).await?)
    }

    /// The devices that were certified for an account in the last week or so, the newest first.
    ///
    /// # Errors
    /// `not-found`, or the database.
    pub async fn devices(&self, name: &str) -> Result<Vec<DeviceView>, AdminError> {
        let account = self.store.account(name).await?.ok_or_else(|| {
            Refused::new(ProblemCode::NotFound, "there is no account of that name")
        })?;
        Ok(self.store.devices_of(account.id).await?)
    }

    /// Closes the database.
    pub async fn close(self) {
        self.store.close().await;
    }
}
