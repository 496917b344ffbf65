//! What an operator does to the database as a whole: backup, restore, and the move to PostgreSQL.

use std::path::{Path, PathBuf};

use warp_protocol::ProblemCode;

use crate::{
    AdminError, CoordinatorConfig, data_dir,
    problem::Refused,
    store::{self, BackupError, CopyError, DATABASE, Hold, Store},
    tokens::unix_now,
};

/// Writes all of the SQLite database as of now to `file`, with mode 0600. A coordinator may run on
/// it meanwhile. Replaces an existing file with `force` only.
///
/// # Errors
/// `bad-request`: the file exists, or the database is PostgreSQL. Or the database.
pub async fn back_up(
    config: &CoordinatorConfig,
    file: &Path,
    force: bool,
) -> Result<(), AdminError> {
    only_sqlite(config)?;
    if !config.data_dir.join(DATABASE).exists() {
        return Err(nothing_in(&config.data_dir));
    }
    let store = Store::open_for_command(&config.data_dir, None).await?;
    let done = store.back_up(file, force).await;
    store.close().await;
    Ok(done?)
}

/// Makes the backup `file` the SQLite database. Gives where the one of before is kept, if there was
/// one.
///
/// # Errors
/// `bad-request`: a coordinator runs on it, the file is no whole backup or of a newer version, or the
/// database is PostgreSQL. Nothing is changed then. Or the database.
pub async fn restore(
    config: &CoordinatorConfig,
    file: &Path,
) -> Result<Option<PathBuf>, AdminError> {
    only_sqlite(config)?;
    data_dir::prepare(&config.data_dir)?;
    Ok(store::restore(&config.data_dir, file, unix_now()).await?)
}

/// Copies all of the SQLite database in the data directory to the configured PostgreSQL database,
/// which has to be empty. Gives each table and its number of rows. The SQLite database stays as it
/// is.
///
/// # Errors
/// `bad-request`: no PostgreSQL database is configured, it is not empty, there is no SQLite database,
/// or a coordinator runs on it. Or one of the databases.
pub async fn migrate(config: &CoordinatorConfig) -> Result<Vec<(String, i64)>, AdminError> {
    let Some(url) = &config.database else {
        let text = "no PostgreSQL database is configured: name one with database.url or \
                    WARP_DATABASE_URL";
        return Err(Refused::new(ProblemCode::BadRequest, text).into());
    };
    if !config.data_dir.join(DATABASE).exists() {
        return Err(nothing_in(&config.data_dir));
    }
    if Hold::alone(&config.data_dir)?.is_none() {
        return Err(BackupError::InUse(config.data_dir.clone()).into());
    }
    let from = Store::open_for_command(&config.data_dir, None).await?;
    let to = Store::open_for_command(&config.data_dir, Some(url)).await?;
    let copied = store::copy(&from, &to).await;
    from.close().await;
    to.close().await;
    Ok(copied?)
}

fn only_sqlite(config: &CoordinatorConfig) -> Result<(), AdminError> {
    match &config.database {
        None => Ok(()),
        Some(url) => {
            let text =
                format!("the database is {url}; use PostgreSQL's own pg_dump and pg_restore");
            Err(Refused::new(ProblemCode::BadRequest, text).into())
        }
    }
}

fn nothing_in(data_dir: &Path) -> AdminError {
    let text = format!("there is no {DATABASE} in {}", data_dir.display());
    Refused::new(ProblemCode::BadRequest, text).into()
}

impl From<BackupError> for AdminError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::File(error) => Self::DataDir(error),
            BackupError::Store(error) => Self::Store(error),
            refused => Refused::new(ProblemCode::BadRequest, refused.to_string()).into(),
        }
    }
}

impl From<CopyError> for AdminError {
    fn from(error: CopyError) -> Self {
        let code = match error {
            CopyError::Store(error) => return Self::Store(error),
            CopyError::NotEmpty(_) => ProblemCode::BadRequest,
            CopyError::Count { .. } => ProblemCode::CoordinatorFault,
        };
        Refused::new(code, error.to_string()).into()
    }
}
