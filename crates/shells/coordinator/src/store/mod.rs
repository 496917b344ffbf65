//! The database: one SQLite file, `coordinator.sqlite` in the data directory, or a PostgreSQL
//! database, where the configuration names one.
//!
//! * One set of queries for both, see [`sql`]; a set of migrations for each, with the same numbers,
//!   tables and columns.
//! * Several processes may work on it at once: SQLite's file is in WAL mode, so that
//!   `warp-coordinator user add` and `zone put` work while the server runs; several coordinators
//!   may share a PostgreSQL database.
//! * Every call ends within [`SQLITE_TIME`], [`POSTGRES_TIME`] or [`COMMAND_TIME`]: a database that is locked, frozen
//!   or gone makes requests fail with `coordinator-fault`, it never makes them hang. When it is
//!   back it is used again, without a restart.
//! * Nothing is cached: what another process writes counts at once.

mod accounts;
mod audit;
mod backup;
mod bans;
mod copy;
mod devices;
mod orders;
mod refresh;
mod sessions;
mod settings;
pub(crate) mod sql;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod url;
mod writer;
mod zones;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    SqliteConnection,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub(crate) use accounts::Account;
pub use backup::BackupError;
pub(crate) use backup::{Hold, restore};
pub(crate) use bans::{BansVersion, NewBan};
pub use copy::CopyError;
pub(crate) use copy::copy;
pub use devices::DeviceView;
pub(crate) use refresh::{NewRefresh, Rotation};
pub(crate) use sessions::{SessionFilter, ZoneTotals};
use sql::{Connection, Pool, Row, Sql, Transaction, sql};
pub use url::{DatabaseUrl, DatabaseUrlError};
use writer::Writer;

/// Name of the file in the data directory.
pub(crate) const DATABASE: &str = "coordinator.sqlite";

/// Longest that a call to SQLite may take in all, the wait for a connection included.
const SQLITE_TIME: Duration = Duration::from_secs(5);

/// How long SQLite waits for a program that writes to the file as well; well below [`SQLITE_TIME`].
const BUSY_TIME: Duration = Duration::from_secs(2);

/// The same for a command; well below [`COMMAND_TIME`].
const COMMAND_BUSY_TIME: Duration = Duration::from_secs(10);

/// Connections to SQLite that read, beside the one that writes.
const SQLITE_READERS: u32 = 3;

/// Longest that a call to PostgreSQL may take in all, the wait for a connection included. Whoever
/// asks is told within 2 s that it does not answer.
const POSTGRES_TIME: Duration = Duration::from_millis(1500);

/// The same for a command, for whose end a person waits: a busy machine may take longer.
const COMMAND_TIME: Duration = Duration::from_secs(15);

/// By how much sooner PostgreSQL itself ends statements and waits for locks, so that what nobody waits
/// for any more does not go on there.
const STATEMENT_SPARE: Duration = Duration::from_millis(100);

/// What PostgreSQL ends a transaction after whose coordinator has gone silent, ms.
const IDLE_TRANSACTION_TIME: &str = "5000";

/// Connections to PostgreSQL from one coordinator; its default is to take 100 in all.
const POSTGRES_CONNECTIONS: u32 = 10;

/// Longest that it may take to connect at the start.
const START_TIME: Duration = Duration::from_secs(10);

/// Longest that bringing PostgreSQL's tables up to date may take.
const MIGRATION_TIME: Duration = Duration::from_secs(300);

/// Longest that a health check waits.
const PING_TIME: Duration = Duration::from_secs(1);

/// SQLite's migrations.
static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// PostgreSQL's.
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// The database did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer in time.
    #[error(
        "the database did not answer within {0:?}; is it down, or is another program holding it?"
    )]
    Slow(Duration),
    /// In a cluster: what would be written is another node's.
    #[error("this node does not own the sessions just now")]
    NotOwner,
    /// It refused.
    #[error("the database failed: {0}")]
    Failed(#[from] sqlx::Error),
    /// The SQLite file is being replaced.
    #[error("the database is being restored from a backup; try again when that is done")]
    Restoring,
    /// Its file could not be made.
    #[error(transparent)]
    File(#[from] crate::DataDirError),
    /// Its layout could not be brought up to date.
    #[error(
        "the database's layout could not be brought up to date: {0}; was it made by a newer version?"
    )]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// It took too long, as seen from here or by the database itself.
    fn is_slow(&self) -> bool {
        /// `query_canceled`, `lock_not_available`.
        const TIMED_OUT: [&str; 2] = ["57014", "55P03"];
        match self {
            Self::Slow(_) => true,
            Self::Failed(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| TIMED_OUT.contains(&&*code))
            }
            _ => false,
        }
    }
}

/// A handle on the database; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: Pool,
    limit: Duration,
    /// Nobody replaces the SQLite file meanwhile.
    _hold: Option<Arc<Hold>>,
}

impl Store {
    /// Opens the PostgreSQL database `url`, or without it the SQLite file in `data_dir`, making the
    /// file and bringing the tables up to date where that is needed.
    pub(crate) async fn open(
        data_dir: &Path,
        url: Option<&DatabaseUrl>,
    ) -> Result<Self, StoreError> {
        match url {
            None => Self::open_sqlite(data_dir, SQLITE_TIME, BUSY_TIME).await,
            Some(url) => Self::open_postgres(url, POSTGRES_TIME).await,
        }
    }

    /// The same for a command: what it asks may take longer.
    pub(crate) async fn open_for_command(
        data_dir: &Path,
        url: Option<&DatabaseUrl>,
    ) -> Result<Self, StoreError> {
        match url {
            None => Self::open_sqlite(data_dir, COMMAND_TIME, COMMAND_BUSY_TIME).await,
            Some(url) => Self::open_postgres(url, COMMAND_TIME).await,
        }
    }

    async fn open_sqlite(
        data_dir: &Path,
        limit: Duration,
        busy: Duration,
    ) -> Result<Self, StoreError> {
        let hold = Hold::shared(data_dir)?;
        let file = data_dir.join(DATABASE);
        crate::data_dir::prepare_database(&file)?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            // WAL with FULL: what was answered survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(busy);
        let first = migrate_sqlite(options.clone()).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS)
            .acquire_timeout(limit)
            // A connection to a file does not go away by itself.
            .test_before_acquire(false)
            .connect_lazy_with(options.clone().pragma("query_only", "ON"));
        let writer = Writer::new(first, options);
        Ok(Self {
            pool: Pool::Sqlite { readers, writer },
            limit,
            _hold: Some(Arc::new(hold)),
        })
    }

    async fn open_postgres(url: &DatabaseUrl, limit: Duration) -> Result<Self, StoreError> {
        let options = url.options().application_name("warp-coordinator");
        migrate_postgres(options.clone()).await?;
        let statements = limit
            .saturating_sub(STATEMENT_SPARE)
            .as_millis()
            .to_string();
        let options = options.options([
            ("statement_timeout", statements.as_str()),
            ("lock_timeout", statements.as_str()),
            ("idle_in_transaction_session_timeout", IDLE_TRANSACTION_TIME),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(limit)
            .connect_lazy_with(options);
        Ok(Self {
            pool: Pool::Postgres(pool),
            limit,
            _hold: None,
        })
    }

    /// Asks the database for something small, within 1 s.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.connection(PING_TIME).await?;
        let ask = sql("SELECT count(*) FROM zones");
        connection.optional::<(i64,)>(ask).await.map(drop)
    }

    /// Waits for running calls and closes the database.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// A connection for several queries of one call.
    async fn connection(&self) -> Result<Connection, StoreError> {
        self.pool.connection(self.limit).await
    }

    /// Begins a transaction.
    async fn begin(&self) -> Result<Transaction, StoreError> {
        self.pool.begin(self.limit).await
    }

    /// Runs a statement that writes. Gives how many rows it changed.
    async fn execute(&self, statement: Sql) -> Result<u64, StoreError> {
        self.pool.execute(self.limit, statement).await
    }

    /// Runs a statement that writes. Gives the row that it returns, if it does.
    async fn returning<T: Row>(&self, statement: Sql) -> Result<Option<T>, StoreError> {
        self.pool.returning(self.limit, statement).await
    }

    /// Gives the first row, if there is one.
    async fn optional<T: Row>(&self, query: Sql) -> Result<Option<T>, StoreError> {
        self.connection().await?.optional(query).await
    }

    /// Gives the number that a query counts.
    async fn count(&self, query: Sql) -> Result<i64, StoreError> {
        let row = self.optional::<(i64,)>(query).await?;
        Ok(row.map_or(0, |(count,)| count))
    }

    /// Gives all rows.
    async fn all<T: Row>(&self, query: Sql) -> Result<Vec<T>, StoreError> {
        self.connection().await?.all(query).await
    }
}

/// What a coordinator asks at its start: a database that has just been started as well may take longer
/// than a request may.
///
/// # Errors
/// Those of the call; [`StoreError::Slow`] after [`START_TIME`].
pub(crate) async fn at_start<T, F>(call: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let began = Instant::now();
    loop {
        match call().await {
            Err(error) if error.is_slow() && began.elapsed() < START_TIME => {
                tracing::info!("the database is slow; asked again");
            }
            done => return done,
        }
    }
}

/// Opens the file, and brings its tables up to date.
async fn migrate_sqlite(options: SqliteConnectOptions) -> Result<SqliteConnection, StoreError> {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect_with(options).await?;
    // Two processes may start on a new directory at once; the one that comes second finds the
    // tables made and succeeds when it looks again.
    if SQLITE_MIGRATIONS.run(&pool).await.is_err() {
        SQLITE_MIGRATIONS.run(&pool).await?;
    }
    Ok(pool.acquire().await?.detach())
}

/// Brings the tables up to date. Of several coordinators that start at once one does it and the
/// others wait.
async fn migrate_postgres(options: PgConnectOptions) -> Result<(), StoreError> {
    // A pool of its own: without the time limits of the other one.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(START_TIME)
        .connect_with(options)
        .await
        .map_err(|error| match error {
            sqlx::Error::PoolTimedOut => StoreError::Slow(START_TIME),
            error => StoreError::Failed(error),
        })?;
    let migrated = tokio::time::timeout(MIGRATION_TIME, POSTGRES_MIGRATIONS.run(&pool));
    let migrated = migrated.await.map_err(|_| StoreError::Slow(MIGRATION_TIME));
    let _ = tokio::time::timeout(PING_TIME, pool.close()).await;
    Ok(migrated??)
}

/// A column holds what no version of ours writes.
fn corrupt(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}
