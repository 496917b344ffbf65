//! What an operator does to the database, whether or not a coordinator runs on it.

use tokio::sync::OnceCell;
use warp_protocol::{
    ProblemCode, Secret,
    rest::{AccountRole, RevokeRequest},
    zone::{ZoneFile, ZoneRule, ZoneStatus},
};

use crate::{
    CoordinatorConfig,
    api::{NewAccount, make_account, revoke_in},
    data_dir::{self, DataDirError},
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
        let store = Store::open(&config.data_dir, config.database.as_ref()).await?;
        Ok(Self {
            store,
            cost: config.password_cost,
            hasher: OnceCell::new(),
        })
    }

    /// The same for a coordinator of this process, whose hasher is bounded with its sign-ins.
    pub(crate) fn over(store: Store, cost: PasswordCost, hasher: Hasher) -> Self {
        Self {
            store,
            cost,
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
        make_account(&self.store, self.hasher().await?, new).await?;
        Ok(())
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
        let stored = Some(account.password);
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
        self.store.put_zone(zone, status, unix_now()).await?;
        Ok(())
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
        Ok(self.store.set_p2p(on).await?)
    }

    /// Revokes a device for ever, by its key or a certificate's serial, or what an account was issued.
    /// A coordinator that runs ends the sessions within 10 s. Gives the accounts whose kept sign-ins
    /// ended.
    ///
    /// # Errors
    /// `not-found`, `bad-request`, or the database.
    pub async fn revoke(&self, request: &RevokeRequest) -> Result<Vec<String>, AdminError> {
        Ok(revoke_in(&self.store, request).await?)
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
