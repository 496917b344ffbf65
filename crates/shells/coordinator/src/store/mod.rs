//! The database: one SQLite file, `coordinator.sqlite` in the data directory.
//!
//! * WAL, so that `warp-coordinator user add` and `zone put` work while the server runs.
//! * Every call ends within [`QUERY_TIME`]: a database that is locked or gone makes requests fail
//!   with `coordinator-fault`, it never makes them hang.
//! * Nothing is cached: what another process writes counts at once.

mod accounts;
mod audit;
mod bans;
mod devices;
mod orders;
mod refresh;
mod settings;
mod zones;

use std::{path::Path, time::Duration};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub(crate) use accounts::Account;
pub(crate) use bans::{BansVersion, NewBan};
pub use devices::DeviceView;
pub(crate) use refresh::{NewRefresh, Rotation};

/// Name of the file in the data directory.
pub(crate) const DATABASE: &str = "coordinator.sqlite";

/// Longest that a call may take in all, the wait for a connection included.
const QUERY_TIME: Duration = Duration::from_secs(5);

/// How long SQLite waits for another writer; well below [`QUERY_TIME`].
const BUSY_TIME: Duration = Duration::from_secs(2);

/// Connections; SQLite has one writer, the others read.
const CONNECTIONS: u32 = 4;

/// The database did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer in time.
    #[error("the database did not answer within {QUERY_TIME:?}; is another program holding it?")]
    Slow,
    /// It refused.
    #[error("the database failed: {0}")]
    Failed(#[from] sqlx::Error),
    /// Its file could not be made.
    #[error(transparent)]
    File(#[from] crate::DataDirError),
    /// Its layout could not be brought up to date.
    #[error(
        "the database's layout could not be brought up to date: {0}; was it made by a newer version?"
    )]
    Migration(#[from] sqlx::migrate::MigrateError),
}

/// A handle on the database; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the database in `data_dir`, making and migrating it where that is needed.
    pub(crate) async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let file = data_dir.join(DATABASE);
        crate::data_dir::prepare_database(&file)?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            // WAL with FULL: what was answered survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIME);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(QUERY_TIME)
            .connect_with(options)
            .await?;
        let migrator = sqlx::migrate!();
        // Two processes may start on a new directory at once; the one that comes second finds the
        // tables made and succeeds when it looks again.
        if migrator.run(&pool).await.is_err() {
            migrator.run(&pool).await?;
        }
        Ok(Self { pool })
    }

    /// Asks the database for something small, within `limit`.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), StoreError> {
        let ask = sqlx::query("SELECT count(*) FROM zones").execute(&self.pool);
        tokio::time::timeout(limit, ask)
            .await
            .map_err(|_| StoreError::Slow)??;
        Ok(())
    }

    /// Waits for running calls and closes the file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Runs a call within [`QUERY_TIME`].
async fn bounded<T>(call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(QUERY_TIME, call).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(StoreError::Slow),
    }
}

/// A column holds what no version of ours writes.
fn corrupt(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}
