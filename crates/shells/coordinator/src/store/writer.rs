//! SQLite's one writer.
//!
//! SQLite has one writer at a time, and a commit waits for the disk. So all that is written goes over
//! one connection, in the order in which it was asked for:
//!
//! * Whoever comes while the disk is written to shares the next commit. A group is one transaction of
//!   SQLite, and each of its members a savepoint in it; the commit of a group stands in the queue behind those
//!   who waited when it began. So hundreds of writers cost a few commits, and none waits for a
//!   turn that others take again and again.
//! * Nobody is told that something counts before the commit that holds it is on the disk.
//! * A member that fails, or whose caller goes away in the middle of a statement, is undone alone.
//! * A group that fails as a whole (a full disk) has failed for each of its members.
//!
//! What must not be left half done when a caller goes away runs in a task of its own.

use std::sync::Arc;

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    sync::{Mutex, OwnedMutexGuard, oneshot},
    time::{Instant, timeout_at},
};

use super::StoreError;

/// What became of a group, as its members are told.
type Outcome = Result<(), String>;

/// The queue of those who write.
#[derive(Clone)]
pub(crate) struct Writer {
    lane: Arc<Mutex<Lane>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

/// What whoever writes holds meanwhile.
struct Lane {
    options: SqliteConnectOptions,
    /// None: it failed, or is closed; made again when it is needed.
    connection: Option<SqliteConnection>,
    /// A group has begun, and its commit is in the queue.
    group: bool,
    /// A member has begun and has not ended. Where nobody holds the lane, it was given up.
    member: bool,
    /// Members that are done and wait for the commit.
    waiting: Vec<oneshot::Sender<Outcome>>,
    closed: bool,
    /// Groups that were committed.
    commits: u64,
}

/// Statements of one caller; dropped, they are undone.
pub(crate) struct Member(OwnedMutexGuard<Lane>);

/// Why a call of the writer did not succeed.
pub(crate) enum Trouble {
    /// Not within the time of the call.
    Late,
    /// SQLite refused.
    Failed(sqlx::Error),
}

impl From<tokio::time::error::Elapsed> for Trouble {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Self::Late
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<tokio::task::JoinError> for Trouble {
    /// The process ends.
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Failed(sqlx::Error::WorkerCrashed)
    }
}

impl Writer {
    /// Writes over `connection`, and over a new one with `options` should it fail.
    pub(super) fn new(connection: SqliteConnection, options: SqliteConnectOptions) -> Self {
        let lane = Lane {
            options,
            connection: Some(connection),
            group: false,
            member: false,
            waiting: Vec::new(),
            closed: false,
            commits: 0,
        };
        Self {
            lane: Arc::new(Mutex::new(lane)),
        }
    }

    /// Waits for the turn and begins.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Member, Trouble> {
        let mut lane = timeout_at(deadline, Arc::clone(&self.lane).lock_owned()).await?;
        let this = self.clone();
        let entering = tokio::spawn(async move {
            lane.enter(this).await?;
            Ok::<_, sqlx::Error>(Member(lane))
        });
        Ok(timeout_at(deadline, entering).await???)
    }

    /// The commit of a group, in its place in the queue.
    async fn commit_group(self) {
        self.lane.lock().await.commit().await;
    }

    /// Waits for all who are in the queue, and closes the connection.
    pub(super) async fn close(&self) {
        let mut lane = Arc::clone(&self.lane).lock_owned().await;
        let closing = tokio::spawn(async move {
            lane.commit().await;
            lane.closed = true;
            if let Some(connection) = lane.connection.take() {
                let _ = connection.close().await;
            }
        });
        let _ = closing.await;
    }

    /// Groups that were committed so far.
    #[cfg(test)]
    pub(super) async fn commits(&self) -> u64 {
        self.lane.lock().await.commits
    }
}

impl Member {
    /// The connection for its statements.
    pub(super) fn connection(&mut self) -> Option<&mut SqliteConnection> {
        self.0.connection.as_mut()
    }

    /// Ends, and waits until its group is on the disk.
    pub(super) async fn commit(self, deadline: Instant) -> Result<(), Trouble> {
        let Self(mut lane) = self;
        let leaving = tokio::spawn(async move { lane.leave().await });
        let told = timeout_at(deadline, leaving).await???;
        // Not told at all: the process ends.
        let outcome = timeout_at(deadline, told).await?;
        let outcome = outcome.map_err(|_| sqlx::Error::WorkerCrashed)?;
        Ok(outcome.map_err(sqlx::Error::Protocol)?)
    }
}

impl Lane {
    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        sqlx::query(statement).execute(connection).await.map(drop)
    }

    async fn enter(&mut self, writer: Writer) -> Result<(), sqlx::Error> {
        if self.closed {
            return Err(sqlx::Error::PoolClosed);
        }
        self.undo_what_was_given_up().await;
        if self.connection.is_none() {
            self.connection = Some(SqliteConnection::connect_with(&self.options).await?);
        }
        if !self.group {
            self.run("BEGIN IMMEDIATE").await?;
            self.group = true;
            tokio::spawn(writer.commit_group());
        }
        if let Err(error) = self.run("SAVEPOINT member").await {
            self.lose_group(&error).await;
            return Err(error);
        }
        self.member = true;
        Ok(())
    }

    /// The member is done. Gives where its group's outcome is told.
    async fn leave(&mut self) -> Result<oneshot::Receiver<Outcome>, sqlx::Error> {
        self.member = false;
        if let Err(error) = self.run("RELEASE member").await {
            self.lose_group(&error).await;
            return Err(error);
        }
        let (tell, told) = oneshot::channel();
        self.waiting.push(tell);
        Ok(told)
    }

    async fn undo_what_was_given_up(&mut self) {
        if !std::mem::take(&mut self.member) {
            return;
        }
        let undone = match self.run("ROLLBACK TO member").await {
            Ok(()) => self.run("RELEASE member").await,
            Err(error) => Err(error),
        };
        if let Err(error) = undone {
            // SQLite undoes the whole of a transaction where it cannot write.
            self.lose_group(&error).await;
        }
    }

    async fn commit(&mut self) {
        self.undo_what_was_given_up().await;
        if !self.group {
            return;
        }
        if let Err(error) = self.run("COMMIT").await {
            return self.lose_group(&error).await;
        }
        self.group = false;
        self.commits += 1;
        for member in self.waiting.drain(..) {
            let _ = member.send(Ok(()));
        }
    }

    /// Nothing of the group counts. Closing the connection undoes what is left of it.
    async fn lose_group(&mut self, why: &sqlx::Error) {
        tracing::warn!(error = %why, "a write to the database failed, with those that shared its commit");
        self.group = false;
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
        for member in self.waiting.drain(..) {
            let _ = member.send(Err(format!("the commit failed: {why}")));
        }
    }
}

impl Trouble {
    /// As the store's error, for a call that had `limit` in all; and how it is counted.
    pub(super) fn into_store(self, limit: std::time::Duration) -> (StoreError, &'static str) {
        match self {
            Self::Late => (StoreError::Slow(limit), "slow"),
            Self::Failed(error) => (StoreError::Failed(error), "failed"),
        }
    }
}
