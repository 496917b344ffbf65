//! Backup and restore of the SQLite file.
//!
//! * A backup is a copy as of one moment (`VACUUM INTO` in a read transaction): a coordinator may
//!   run and write meanwhile, and everything that it has answered before the beginning is in it.
//!   It is written beside its place, synced and then moved there, so a name stands for a whole
//!   backup or for none. Mode 0600: it holds password hashes.
//! * A restore wants the data directory for itself: whoever works on the file holds a shared lock
//!   on `coordinator.lock` (see [`Hold`]), the restore asks for the only one.
//! * What is restored is checked before anything is moved: SQLite's own integrity check, that it
//!   is a coordinator's file, and that its layout is known; an older layout is brought up to date.
//! * The file of before is kept beside the new one.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use super::{DATABASE, SQLITE_MIGRATIONS, Store, StoreError, sql::sql};
use crate::data_dir::{self, DataDirError};

/// Longest that a backup may take.
const BACKUP_TIME: Duration = Duration::from_secs(600);

/// Name of the file that is locked by whoever works on the database.
const LOCK: &str = "coordinator.lock";

/// What SQLite keeps beside a database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// A backup or a restore was refused.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a file of that name.
    #[error("{0} exists; choose another name, or say --force to replace it")]
    Exists(PathBuf),
    /// The data directory is in use.
    #[error("{0} is in use; stop the coordinator that runs on it first")]
    InUse(PathBuf),
    /// The file is not a coordinator's database, is damaged, or is of a newer version.
    #[error("{file}: {why}; nothing was changed")]
    Unfit {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Files could not be written or moved.
    #[error(transparent)]
    File(#[from] DataDirError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A hold on the SQLite file of a data directory; it ends with the value, and with the process.
#[derive(Debug)]
pub(crate) struct Hold {
    _file: File,
}

impl Hold {
    /// Works on the file beside others. Refused while somebody restores it.
    pub(super) fn shared(data_dir: &Path) -> Result<Self, StoreError> {
        Self::locked(data_dir, File::try_lock_shared)?.ok_or(StoreError::Restoring)
    }

    /// Wants the file alone. `None` when somebody works on it.
    pub(crate) fn alone(data_dir: &Path) -> Result<Option<Self>, StoreError> {
        Self::locked(data_dir, File::try_lock)
    }

    fn locked(
        data_dir: &Path,
        lock: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Option<Self>, StoreError> {
        let path = data_dir.join(LOCK);
        let file = data_dir::lock_file(&path)?;
        match lock(&file) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(data_dir::io_at(&path)(e).into()),
        }
    }
}

impl Store {
    /// Writes all of the SQLite database as of now to `file`; replaces it with `force` only.
    pub(crate) async fn back_up(&self, file: &Path, force: bool) -> Result<(), BackupError> {
        if !force && file.exists() {
            return Err(BackupError::Exists(file.to_owned()));
        }
        let fresh = beside(file, &format!(".new{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        // Made first, so that it is private from its first byte.
        data_dir::prepare_database(&fresh)?;
        let written = self.write_copy(&fresh).await;
        let placed = written.and_then(|()| place(&fresh, file, force));
        let _ = fs::remove_file(&fresh);
        placed
    }

    async fn write_copy(&self, fresh: &Path) -> Result<(), BackupError> {
        let name = fresh.to_str().ok_or_else(|| BackupError::Unfit {
            file: fresh.to_owned(),
            why: "its name is not UTF-8".to_owned(),
        })?;
        let mut connection = self.pool.connection(BACKUP_TIME).await?;
        // It writes, though not to this database.
        connection.execute(sql("PRAGMA query_only = OFF")).await?;
        let copied = connection.execute(sql("VACUUM INTO $1").bind(name)).await;
        // Also after a copy that failed: the connection goes back to those that read.
        let readable = connection.execute(sql("PRAGMA query_only = ON")).await;
        copied.and(readable)?;
        let synced = File::open(fresh).and_then(|file| file.sync_all());
        synced.map_err(data_dir::io_at(fresh))?;
        Ok(())
    }
}

/// Moves a whole backup to its name.
fn place(fresh: &Path, file: &Path, force: bool) -> Result<(), BackupError> {
    let placed = if force {
        fs::rename(fresh, file)
    } else {
        // Refused where a file has come meanwhile.
        fs::hard_link(fresh, file)
    };
    match placed {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(BackupError::Exists(file.to_owned()))
        }
        placed => {
            placed.map_err(data_dir::io_at(file))?;
            sync_directory_of(file);
            Ok(())
        }
    }
}

/// Makes `backup` the database of `data_dir`. Gives where the file of before is kept, if there was
/// one.
pub(crate) async fn restore(
    data_dir: &Path,
    backup: &Path,
    now: i64,
) -> Result<Option<PathBuf>, BackupError> {
    let Some(_hold) = Hold::alone(data_dir)? else {
        return Err(BackupError::InUse(data_dir.to_owned()));
    };
    let file = data_dir.join(DATABASE);
    let fresh = beside(&file, ".restoring");
    let prepared = prepare(backup, &fresh).await;
    let placed = match prepared {
        Ok(()) => swap(&file, &fresh, now).await,
        Err(error) => Err(error),
    };
    let _ = fs::remove_file(&fresh);
    placed
}

/// Copies `backup` to `fresh`, checks it and brings its layout up to date.
async fn prepare(backup: &Path, fresh: &Path) -> Result<(), BackupError> {
    let unfit = |why: String| BackupError::Unfit {
        file: backup.to_owned(),
        why,
    };
    for file in std::iter::once(fresh.to_owned()).chain(BESIDE.map(|end| beside(fresh, end))) {
        let _ = fs::remove_file(file);
    }
    let mut from = File::open(backup).map_err(data_dir::io_at(backup))?;
    data_dir::prepare_database(fresh)?;
    let copied = File::options().write(true).open(fresh).and_then(|mut to| {
        io::copy(&mut from, &mut to)?;
        to.sync_all()
    });
    copied.map_err(data_dir::io_at(fresh))?;
    let options = SqliteConnectOptions::new()
        .filename(fresh)
        // Everything in the one file that is going to be moved.
        .journal_mode(SqliteJournalMode::Delete)
        .foreign_keys(true);
    let failed = |e: sqlx::Error| unfit(format!("it cannot be read: {e}"));
    let mut connection = SqliteConnection::connect_with(&options)
        .await
        .map_err(failed)?;
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    if found != "ok" {
        let found: Vec<&str> = found.lines().collect();
        return Err(unfit(format!("it is damaged: {}", found.join(" "))));
    }
    let ours: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sqlite_master WHERE name IN ('_sqlx_migrations', 'accounts', 'zones')",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(failed)?;
    if ours != 3 {
        return Err(unfit("it is not a coordinator's database".to_owned()));
    }
    let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection);
    if !broken.await.map_err(failed)?.is_empty() {
        return Err(unfit(
            "it is damaged: rows refer to rows that are gone".to_owned(),
        ));
    }
    if let Err(error) = SQLITE_MIGRATIONS.run(&mut connection).await {
        let text = "its layout cannot be brought up to date; was it made by a newer version?";
        return Err(unfit(format!("{text} ({error})")));
    }
    connection.close().await.map_err(failed)
}

/// Moves `file` aside and `fresh` into its place.
async fn swap(file: &Path, fresh: &Path, now: i64) -> Result<Option<PathBuf>, BackupError> {
    // Two within a second are two.
    let names = (now..now + 60).map(|at| beside(file, &format!(".before-{at}")));
    let free = names.into_iter().find(|kept| !kept.exists());
    let Some(kept) = free else {
        return Err(BackupError::Exists(beside(file, &format!(".before-{now}"))));
    };
    let existed = file.exists();
    if existed {
        // The last one that closes a file in good order leaves nothing beside it; one that is too
        // damaged to be opened is moved with what there is.
        let options = SqliteConnectOptions::new().filename(file);
        if let Ok(old) = SqliteConnection::connect_with(&options).await {
            let _ = old.close().await;
        }
    }
    // What is beside the old file goes first: it must never be found beside the new one.
    for end in BESIDE {
        let (from, to) = (beside(file, end), beside(&kept, end));
        if from.exists() {
            fs::rename(&from, &to).map_err(data_dir::io_at(&from))?;
        }
    }
    if existed {
        fs::rename(file, &kept).map_err(data_dir::io_at(file))?;
    }
    fs::rename(fresh, file).map_err(data_dir::io_at(file))?;
    sync_directory_of(file);
    Ok(existed.then_some(kept))
}

/// `file` with something added to its name.
fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Makes a new name survive a power cut, where the system can.
fn sync_directory_of(file: &Path) {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}
