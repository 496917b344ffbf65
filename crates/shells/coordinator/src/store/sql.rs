//! One set of queries for both databases.
//!
//! * A query is written once, in standard SQL with `$1` parameters ([`sql`]); its values are
//!   integers, floats, texts (without NUL) and bytes ([`Value`]); its rows come as tuples ([`Row`]).
//! * A [`Connection`] is borrowed from the pool for one call and has a deadline. What is not done
//!   by then has failed with [`StoreError::Slow`].
//! * A connection goes back to the pool only when nothing is under way on it. One that was given
//!   up in the middle of a statement, by its deadline or because its request went away, is closed
//!   at once, which also ends its transaction. So a server that is frozen keeps no place of the
//!   pool, and the pool is whole again as soon as the server is.
//! * A [`Transaction`] is one writer's on SQLite, and shares its commit with others ([`Writer`]). On
//!   PostgreSQL writers run beside one another, so a transaction that reads before it writes takes the
//!   lock that its rule needs: [`Transaction::hold_account`], [`Transaction::hold_revocations`].
//! * What is borrowed of SQLite otherwise only reads; a statement that writes is refused there.

use std::time::Duration;

use sqlx::{
    FromRow, PgPool, Postgres, Sqlite, SqlitePool, pool::PoolConnection, postgres::PgRow,
    sqlite::SqliteRow,
};
use tokio::time::Instant;

use super::{
    StoreError,
    writer::{Member, Trouble, Writer},
};
use crate::monitoring::database_call;

/// How long a healthy connection may take on its way back to the pool before it is closed.
const RETURN_TIME: Duration = Duration::from_secs(1);

/// A value of a parameter. NULL has the type of its column.
#[derive(Debug)]
pub(crate) enum Value {
    Integer(Option<i64>),
    Real(Option<f64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(Some(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(text(value)))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(text(&value)))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(text))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value.as_deref().map(text))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(value: Option<Vec<u8>>) -> Self {
        Self::Bytes(value)
    }
}

/// PostgreSQL's text holds no NUL, and a client may ask for a name with one: it is looked for as
/// U+FFFD, and not found.
fn text(value: &str) -> String {
    value.replace('\0', "\u{fffd}")
}

/// A statement with its values.
#[derive(Debug)]
#[must_use = "a statement does nothing until it is run"]
pub(crate) struct Sql {
    text: &'static str,
    values: Vec<Value>,
}

/// A statement; `$1` is what is bound first.
pub(crate) fn sql(text: &'static str) -> Sql {
    Sql {
        text,
        values: Vec::new(),
    }
}

impl Sql {
    /// Binds the next parameter.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
}

/// What a row can be read as, from either database: a tuple of `i64` (a column of integers or
/// `count`), `String`, `Vec<u8>`, `bool` (an expression such as `EXISTS`), and `Option` of these.
pub(crate) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{}

/// The connections to the database.
#[derive(Debug, Clone)]
pub(crate) enum Pool {
    Sqlite { readers: SqlitePool, writer: Writer },
    Postgres(PgPool),
}

impl Pool {
    /// Borrows a connection, on SQLite one for reading; it and all that is done with it have to be
    /// done within `limit`.
    pub(crate) async fn connection(&self, limit: Duration) -> Result<Connection, StoreError> {
        let asked = Instant::now();
        let deadline = asked + limit;
        let acquired = tokio::time::timeout_at(deadline, async {
            Ok(match self {
                Self::Sqlite { readers, .. } => Link::Sqlite(readers.acquire().await?),
                Self::Postgres(pool) => Link::Postgres(pool.acquire().await?),
            })
        });
        let link = match acquired.await {
            Ok(Ok(link)) => link,
            Err(_) | Ok(Err(sqlx::Error::PoolTimedOut)) => {
                database_call(asked.into_std(), "slow");
                return Err(StoreError::Slow(limit));
            }
            Ok(Err(error)) => {
                database_call(asked.into_std(), "failed");
                return Err(StoreError::Failed(error));
            }
        };
        Ok(Connection {
            link: Some(link),
            state: State::Whole,
            deadline,
            limit,
            started: Some(asked),
        })
    }

    /// Begins a transaction that has to be done within `limit`.
    pub(crate) async fn begin(&self, limit: Duration) -> Result<Transaction, StoreError> {
        let mut connection = match self {
            Self::Postgres(_) => {
                let mut connection = self.connection(limit).await?;
                connection.execute(sql("BEGIN")).await?;
                connection
            }
            Self::Sqlite { writer, .. } => {
                let asked = Instant::now();
                let deadline = asked + limit;
                let member = writer.enter(deadline).await;
                let member = member.map_err(|trouble| failed(trouble, limit, asked))?;
                Connection {
                    link: Some(Link::Writer(member)),
                    state: State::Whole,
                    deadline,
                    limit,
                    started: Some(asked),
                }
            }
        };
        connection.state = State::Begun;
        Ok(Transaction(connection))
    }

    /// Runs a statement that writes. Gives how many rows it changed.
    pub(crate) async fn execute(&self, limit: Duration, statement: Sql) -> Result<u64, StoreError> {
        if let Self::Postgres(_) = self {
            return self.connection(limit).await?.execute(statement).await;
        }
        let mut tx = self.begin(limit).await?;
        let changed = tx.execute(statement).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Runs a statement that writes. Gives the row that it returns, if it does.
    pub(crate) async fn returning<T: Row>(
        &self,
        limit: Duration,
        statement: Sql,
    ) -> Result<Option<T>, StoreError> {
        if let Self::Postgres(_) = self {
            return self.connection(limit).await?.optional(statement).await;
        }
        let mut tx = self.begin(limit).await?;
        let row = tx.optional(statement).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Waits for running calls and closes all connections.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { readers, writer } => {
                readers.close().await;
                // Last: whoever closes a file as the last one brings it in order.
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Counts a call of SQLite's writer that did not succeed, and gives its error.
fn failed(trouble: Trouble, limit: Duration, asked: Instant) -> StoreError {
    let (error, result) = trouble.into_store(limit);
    database_call(asked.into_std(), result);
    error
}

enum Link {
    Sqlite(PoolConnection<Sqlite>),
    /// SQLite's writer.
    Writer(Member),
    Postgres(PoolConnection<Postgres>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is under way.
    Whole,
    /// A transaction has begun.
    Begun,
    /// A statement is under way, or its connection is not fit for another one.
    Spoiled,
}

/// A connection that was borrowed for one call.
pub(crate) struct Connection {
    /// There until the end.
    link: Option<Link>,
    state: State,
    deadline: Instant,
    limit: Duration,
    /// When the statement under way was asked for; the first one with the wait for the connection.
    started: Option<Instant>,
}

/// Runs a statement on whichever database it is: `$query` is bound, `$link` is the connection.
macro_rules! on_either {
    ($connection:expr, $sql:expr, $make:path, |$query:ident, $link:ident| $run:expr) => {{
        let Sql { text, values } = $sql;
        match &mut $connection.link {
            Some(Link::Sqlite(pooled)) => {
                let ($query, $link) = (bound!($make(text), values), &mut **pooled);
                $run.await
            }
            Some(Link::Writer(member)) => match member.connection() {
                Some($link) => {
                    let $query = bound!($make(text), values);
                    $run.await
                }
                None => Err(sqlx::Error::PoolClosed),
            },
            Some(Link::Postgres(pooled)) => {
                let ($query, $link) = (bound!($make(text), values), &mut **pooled);
                $run.await
            }
            None => Err(sqlx::Error::PoolClosed),
        }
    }};
}

/// Binds `$values` to `$query`.
macro_rules! bound {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Value::Integer(value) => query.bind(value),
                Value::Real(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}

impl Connection {
    /// Runs a statement. Gives how many rows it changed.
    pub(crate) async fn execute(&mut self, statement: Sql) -> Result<u64, StoreError> {
        let (before, deadline) = (self.begin_statement(), self.deadline);
        let done = tokio::time::timeout_at(deadline, async {
            on_either!(self, statement, sqlx::query, |query, link| async {
                let done = query.execute(&mut *link).await?;
                Ok::<_, sqlx::Error>(done.rows_affected())
            })
        });
        let done = done.await;
        self.end_statement(before, done)
    }

    /// Gives the first row, if there is one.
    pub(crate) async fn optional<T: Row>(&mut self, query: Sql) -> Result<Option<T>, StoreError> {
        let (before, deadline) = (self.begin_statement(), self.deadline);
        let done = tokio::time::timeout_at(deadline, async {
            on_either!(self, query, sqlx::query_as::<_, T>, |query, link| query
                .fetch_optional(&mut *link))
        });
        let done = done.await;
        self.end_statement(before, done)
    }

    /// Gives all rows.
    pub(crate) async fn all<T: Row>(&mut self, query: Sql) -> Result<Vec<T>, StoreError> {
        let (before, deadline) = (self.begin_statement(), self.deadline);
        let done = tokio::time::timeout_at(deadline, async {
            on_either!(self, query, sqlx::query_as::<_, T>, |query, link| query
                .fetch_all(&mut *link))
        });
        let done = done.await;
        self.end_statement(before, done)
    }

    /// Until [`Connection::end_statement`] the connection counts as spoiled, so that it does when
    /// the caller is dropped in between.
    fn begin_statement(&mut self) -> State {
        self.started.get_or_insert_with(Instant::now);
        std::mem::replace(&mut self.state, State::Spoiled)
    }

    fn end_statement<T>(
        &mut self,
        before: State,
        done: Result<Result<T, sqlx::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, StoreError> {
        if let Some(started) = self.started.take() {
            let result = match &done {
                Ok(Ok(_)) => "ok",
                Ok(Err(_)) => "failed",
                Err(_) => "slow",
            };
            database_call(started.into_std(), result);
        }
        match done {
            Ok(Ok(done)) => {
                self.state = before;
                Ok(done)
            }
            Ok(Err(error)) => {
                // A statement that was refused leaves the connection as it was; a transaction is
                // over with its first error.
                if matches!(error, sqlx::Error::Database(_)) && before == State::Whole {
                    self.state = before;
                }
                Err(StoreError::Failed(error))
            }
            Err(_) => Err(StoreError::Slow(self.limit)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let whole = self.state == State::Whole;
        match self.link.take() {
            Some(Link::Sqlite(link)) if !whole => drop(link.detach()),
            Some(Link::Postgres(link)) if !whole => drop(link.detach()),
            // What it did is undone by whoever writes next.
            Some(Link::Writer(member)) => drop(member),
            // The pool asks a connection that comes back whether it is well, without a limit of
            // its own.
            Some(Link::Sqlite(mut link)) => give_back(link.return_to_pool()),
            Some(Link::Postgres(mut link)) => give_back(link.return_to_pool()),
            None => {}
        }
    }
}

fn give_back(returned: impl Future<Output = ()> + Send + 'static) {
    // Without a runtime there is nothing to go back to; the connection is closed.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(tokio::time::timeout(RETURN_TIME, returned));
    }
}

/// Statements that take effect together at [`Transaction::commit`], or not at all.
pub(crate) struct Transaction(Connection);

impl Transaction {
    /// Until the end nobody else that asks for it holds this account, so what it was issued and
    /// what is revoked of it do not change side by side.
    pub(crate) async fn hold_account(&mut self, account: i64) -> Result<(), StoreError> {
        if let Some(Link::Postgres(_)) = self.0.link {
            let hold = sql("SELECT id FROM accounts WHERE id = $1 FOR NO KEY UPDATE");
            self.0.execute(hold.bind(account)).await?;
        }
        Ok(())
    }

    /// Until the end nobody else adds a revocation, so that their ids come into sight in their
    /// order. Taken before accounts are held.
    pub(crate) async fn hold_revocations(&mut self) -> Result<(), StoreError> {
        if let Some(Link::Postgres(_)) = self.0.link {
            let hold = sql("LOCK TABLE revocations IN SHARE ROW EXCLUSIVE MODE");
            self.0.execute(hold).await?;
        }
        Ok(())
    }

    /// Runs a statement. Gives how many rows it changed.
    pub(crate) async fn execute(&mut self, statement: Sql) -> Result<u64, StoreError> {
        self.0.execute(statement).await
    }

    /// Gives the first row, if there is one.
    pub(crate) async fn optional<T: Row>(&mut self, query: Sql) -> Result<Option<T>, StoreError> {
        self.0.optional(query).await
    }

    /// Gives all rows.
    pub(crate) async fn all<T: Row>(&mut self, query: Sql) -> Result<Vec<T>, StoreError> {
        self.0.all(query).await
    }

    /// Makes all of it count.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        // PostgreSQL would answer a COMMIT after an error by rolling back, and call that done.
        if self.0.state != State::Begun {
            return Err(StoreError::Failed(sqlx::Error::Protocol(
                "a statement of the transaction had failed".into(),
            )));
        }
        match self.0.link.take() {
            Some(Link::Writer(member)) => {
                let asked = Instant::now();
                let done = member.commit(self.0.deadline).await;
                done.map_err(|trouble| failed(trouble, self.0.limit, asked))?;
                database_call(asked.into_std(), "ok");
            }
            link => {
                self.0.link = link;
                self.0.execute(sql("COMMIT")).await?;
                self.0.state = State::Whole;
            }
        }
        Ok(())
    }
}
